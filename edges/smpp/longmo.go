package smpp

import (
	"encoding/binary"
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/smpp"
	"github.com/postrider/postrider/internal/snapshot"
	"github.com/postrider/postrider/internal/text"
)

var (
	errTextGone = errors.New("the text is no longer kept")
	errTextLong = errors.New("the text has more than 255 parts")
)

// inboundSM makes the deliver_sm of an inbound message, several for a text that
// does not fit into one, as the credential's LongMO wants them. The text goes
// in data_coding 0 if the peer's default alphabet has all of it, else as UCS-2.
// A peer below version 3.4 knows no optional parameters: it gets user data
// headers.
func inboundSM(m *message.Message, c *snapshot.SMPPCredential, legacy bool) ([]*smpp.DeliverSM, error) {
	if m.Redacted {
		return nil, errTextGone
	}
	body := strings.ToValidUTF8(m.Body, string(utf8.RuneError))
	o := smpp.Outgoing{Encoding: message.EncodingUCS2, Alphabet: c.Alphabet, Long: smpp.LongMessage(c.LongMO), Ref: inboundReference(m.ID)}
	if hasText(c.Alphabet, body) {
		o.Encoding = message.EncodingGSM7
	}
	if legacy {
		o.Long = smpp.LongUDH
	}
	parts := []string{body}
	if o.Long != smpp.LongPayload {
		var err error
		if parts, err = cutText(body, o.Encoding, c.Alphabet); err != nil {
			return nil, err
		}
	}
	out := make([]*smpp.DeliverSM, len(parts))
	for i, part := range parts {
		o.Text, o.Part, o.Parts = part, i+1, len(parts)
		out[i] = &smpp.DeliverSM{Message: smpp.Message{Source: smpp.AddressOf(m.From), Dest: smpp.AddressOf(m.To)}}
		if err := out[i].SetText(o); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// withLinks is the text of a message with where its files are, which deliver_sm cannot
// carry: a line each, after the text.
func (s *Server) withLinks(m *message.Message) string {
	if m.Redacted || s.MediaURL == nil {
		return m.Body
	}
	lines := make([]string, 0, 1+len(m.Media))
	if m.Body != "" {
		lines = append(lines, m.Body)
	}
	for _, f := range m.Media {
		lines = append(lines, s.MediaURL(f.File))
	}
	return strings.Join(lines, "\n")
}

// inboundReference is the concatenation reference of a message: drawn from the
// random end of its id, so that a repetition has it too, from whatever process.
func inboundReference(id message.ID) uint16 { return binary.BigEndian.Uint16(id[len(id)-2:]) }

// hasText reports whether data_coding 0 has every character.
func hasText(alphabet, s string) bool {
	if alphabet != text.AlphabetLatin1 && alphabet != text.AlphabetASCII {
		return text.IsGSM7(s)
	}
	for _, r := range s {
		if !hasRune(alphabet, r) {
			return false
		}
	}
	return true
}

// cutText splits a text into the parts of short messages. In Latin-1 and ASCII a
// character counts as the septet that the network makes of it.
func cutText(s string, encoding message.Encoding, alphabet string) ([]string, error) {
	if encoding == message.EncodingUCS2 || alphabet != text.AlphabetLatin1 && alphabet != text.AlphabetASCII {
		return text.Split(s, encoding, false)
	}
	runes := []rune(s)
	if len(runes) <= text.SingleSeptets {
		return []string{s}, nil
	}
	if len(runes) > text.MaxParts*text.PartSeptets {
		return nil, errTextLong
	}
	var parts []string
	for len(runes) > 0 {
		n := min(len(runes), text.PartSeptets)
		parts = append(parts, string(runes[:n]))
		runes = runes[n:]
	}
	return parts, nil
}
