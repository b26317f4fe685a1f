package smtpout

import (
	"io"
	"log/slog"
	"strings"

	"github.com/postrider/postrider/internal/message"
)

// Mail is a mail to one peer.
type Mail struct {
	// From and To are addresses without brackets, in ASCII, of 254 octets at most. An
	// empty From is the null path, to which nothing is returned (RFC 5321 §4.5.5).
	From string
	To   []string // at least one
	// Size is how many octets Write writes, with line ends and without the dots that SMTP
	// adds (RFC 1870 §3); 0: not known. It is told to a peer that offers SIZE, and gives
	// the content its time.
	Size int64
	// Body8Bit says that octets above 127 may stand in the content. It is refused to a
	// peer without 8BITMIME; nothing is converted.
	Body8Bit bool
	// Write writes header, empty line and body. It is called once at most, and not at
	// all when nobody takes the mail. Each CR, LF or CRLF ends a line and is sent as
	// CRLF; a missing last one is added. A line has 998 octets at most (RFC 5322
	// §2.1.1). Whatever error it returns ends the connection before the final dot.
	Write func(w io.Writer) error
}

// maxPath is the length of an address (RFC 5321 §4.5.3.1.3: 256 with its brackets).
const maxPath = 254

// check reports what makes a mail one that no peer would be given.
func (m *Mail) check() error {
	if m.Write == nil || m.Size < 0 {
		return message.Refuse(message.ReasonInternal, "the mail has no content, or a negative size")
	}
	if m.From != "" && !validPath(m.From) {
		return message.Refuse(message.ReasonInvalidRequest, "the sender's address cannot be written in SMTP")
	}
	if len(m.To) == 0 {
		return message.Refuse(message.ReasonInvalidDestination, "the mail has no recipient")
	}
	for _, to := range m.To {
		if !validPath(to) {
			return message.Refuse(message.ReasonInvalidDestination, "a recipient's address cannot be written in SMTP")
		}
	}
	return nil
}

// validPath keeps out what could end a path or add a parameter or a command to it.
func validPath(s string) bool {
	return s != "" && len(s) <= maxPath && !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r >= 0x7F || r == '<' || r == '>'
	})
}

// Outcome is what became of one recipient.
type Outcome struct {
	// Code is the peer's last word on the recipient: its answer to RCPT when that was no,
	// else to MAIL, DATA or the final dot. 0: it never said one.
	Code int
	// Enhanced is the enhanced status code, such as 5.1.1. Empty: none.
	Enhanced string
	// Text is what the peer said, in one line of 300 octets at most, without control
	// characters; it often holds the peer's id of the mail. It may also hold addresses:
	// it is for the record, not for logs.
	Text string
	// Err is why the recipient has not got the mail, or may not have got it. Nil: the
	// peer has taken the mail for it.
	Err *Error
}

// Taken reports whether the peer has taken the mail for the recipient.
func (o Outcome) Taken() bool { return o.Err == nil }

// LogValue shows the codes, without the text.
func (o Outcome) LogValue() slog.Value {
	a := []slog.Attr{slog.Int("code", o.Code), slog.String("enhanced", o.Enhanced)}
	if o.Err != nil {
		a = append(a, slog.String("reason", string(o.Err.reason)))
	}
	return slog.GroupValue(a...)
}

// masked shows an address in logs: the number or word before /TYPE= and domain, masked.
func masked(path string) string {
	local, _, _ := strings.Cut(path, "@")
	local, _, _ = strings.Cut(local, "/")
	a := message.Address(local)
	if a.Kind() == message.Alphanumeric && len(local) > 2 {
		return local[:1] + strings.Repeat("*", len(local)-2) + local[len(local)-1:]
	}
	return a.Masked()
}

// maskedList masks lazily: a record that is not written costs nothing.
type maskedList []string

// LogValue masks the addresses, the first ten of them.
func (l maskedList) LogValue() slog.Value {
	out := make([]string, 0, 10)
	for _, s := range l[:min(len(l), 10)] {
		out = append(out, masked(s))
	}
	return slog.AnyValue(out)
}
