package ingress

import (
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
	"github.com/postrider/postrider/internal/text"
)

// setOctets is setText for what only SMPP vendors can take: octets that are no
// text, or a text behind a user data header of its own. The latter goes out in one
// part and as it is; behind a header there may also be nothing.
func setOctets(account *snapshot.Account, r Request, m *message.Message) error {
	if r.Encoding == message.EncodingBinary {
		if r.Body == "" && len(r.Header) == 0 {
			return field(message.Refuse(message.ReasonInvalidRequest, "body is required"), "body.body")
		}
		parts, err := text.SplitOctets(r.Body, r.DataCoding, r.Header, false)
		if err != nil {
			return field(err, "body.body")
		}
		return setParts(account, m, r.Body, message.EncodingBinary, len(parts))
	}
	layout, err := text.PlanBeside(r.Body, r.Encoding, r.Header)
	if err != nil {
		return field(err, "body.body")
	}
	return setParts(account, m, layout.Text, layout.Encoding, len(layout.Parts))
}

// setParts notes what is sent, and in how many parts.
func setParts(account *snapshot.Account, m *message.Message, body string, encoding message.Encoding, parts int) error {
	if parts > account.MaxParts {
		return field(message.Refuse(message.ReasonMessageTooLong, "the text makes %d parts, the account allows %d", parts, account.MaxParts), "body.body")
	}
	m.Body, m.Encoding, m.Segments = body, encoding, parts
	m.Parts = make([]message.Part, parts)
	for i := range m.Parts {
		m.Parts[i].Number = i + 1
	}
	return nil
}
