package desk

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	server "github.com/postrider/postrider/edges/mm4"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/mm4"
	"github.com/postrider/postrider/internal/mm4out"
)

// verdict is what became of a mail for one recipient.
type verdict struct {
	recipient mm4.Address // zero: of all
	status    mm4.Status
	text      string     // for people; empty for StatusOK
	id        message.ID // of the message; zero: none was stored
	err       error      // why it was refused, to be said by SMTP; nil: it was not
}

// denied is what is refused because of how it came, and has no word in the catalogue.
func denied(header, format string, args ...any) error {
	return &mm4.Fault{Status: mm4.StatusServiceDenied, Header: header, Detail: fmt.Sprintf(format, args...)}
}

// maxStatusText bounds X-Mms-Status-Text, in octets: some peers keep one line.
const maxStatusText = 200

// statusOf is what a response says of a refusal.
func statusOf(err error) (mm4.Status, string) {
	var fault *mm4.Fault
	if errors.As(err, &fault) {
		return fault.Status, clip(fault.Detail)
	}
	refused := message.AsError(err)
	return mm4.StatusOf(refused.Reason), clip(cmp.Or(refused.Detail, refused.Reason.Entry().Title))
}

// clip makes a text fit into a header.
func clip(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c < ' ' || c > '~' {
			b[i] = '?'
		}
	}
	return string(b[:min(len(b), maxStatusText)])
}

// passing reports whether what is refused may pass when it comes again. It is said by
// SMTP, which makes the peer keep the mail.
func passing(err error) bool {
	var fault *mm4.Fault
	if errors.As(err, &fault) {
		return fault.Status.Retryable()
	}
	var refused *message.Error
	return !errors.As(err, &refused) || refused.Reason.Temporary()
}

// bySMTPAlone reports whether the catalogue gives a refusal a reply of SMTP, and no
// word for a response.
func bySMTPAlone(err error) bool {
	var fault *mm4.Fault
	if errors.As(err, &fault) {
		return false
	}
	word := message.ReasonOf(err).Entry().MM4
	return word != "" && word[0] >= '0' && word[0] <= '9'
}

// deny refuses a whole mail: by a response if one is due and has a word for it, else by
// SMTP.
func (d *Desk) deny(ctx context.Context, m *server.Mail, err error) (string, error) {
	status, text := statusOf(err)
	return d.settle(ctx, m, message.ID{}, []verdict{{status: status, text: text, err: err}})
}

// settle answers a mail by what became of it for its recipients, of which there is one
// at least. Nothing that may pass later is answered by a response: the peer sends the
// mail again, and those that were committed are not doubled by it.
func (d *Desk) settle(ctx context.Context, m *server.Mail, about message.ID, list []verdict) (string, error) {
	var refusal error
	refused, digits := 0, true
	for _, v := range list {
		if v.err == nil {
			continue
		}
		if passing(v.err) {
			d.taken(m.Header.Type, v.status)
			return "", v.err
		}
		if refused++; refusal == nil {
			refusal = v.err
		}
		digits = digits && bySMTPAlone(v.err)
	}
	if refused < len(list) {
		refusal = nil // by SMTP it would be refused for all
	}
	if m.Header.AckRequest != mm4.Yes || refusal != nil && digits {
		for _, v := range list {
			d.taken(m.Header.Type, v.status)
		}
		return idOf(list), refusal
	}
	return d.respond(ctx, m, about, list, refusal)
}

// idOf is what a reply of 250 names.
func idOf(list []verdict) string {
	for _, v := range list {
		if v.id != (message.ID{}) {
			return message.Hex32(v.id)
		}
	}
	return message.Hex32(message.NewID())
}

// respond commits to the responses that a mail is due, one a status. With no place to
// send them to, otherwise is said by SMTP.
func (d *Desk) respond(ctx context.Context, m *server.Mail, about message.ID, list []verdict, otherwise error) (string, error) {
	for _, v := range list {
		d.taken(m.Header.Type, v.status)
	}
	kind, ok := responses[m.Header.Type]
	system := d.systemOf(m)
	if !ok || system == "" {
		return idOf(list), otherwise
	}
	var mails []message.MM4Mail
	for _, group := range byStatus(list) {
		first := group[0]
		r := message.MM4Response{System: system, Reference: m.Header.MessageID, Status: string(first.status), Text: first.text}
		if len(group) < len(list) {
			for _, v := range group {
				r.Recipients = append(r.Recipients, v.recipient.String())
			}
		}
		now := d.Now()
		mails = append(mails, message.MM4Mail{ID: message.NewID(), PeerID: m.Peer.ID, Kind: kind, MessageID: cmp.Or(about, first.id), At: now,
			TransactionID: m.Header.TransactionID, Ordinal: len(mails), Response: r, ExpiresAt: now.Add(message.MM4ResponseLife)})
	}
	if err := d.Journal.OweMM4(ctx, mails); err != nil {
		return "", err
	}
	return idOf(list), nil
}

// responses are the mails that answer requests.
var responses = map[mm4.Type]message.MM4MailKind{
	mm4.ForwardREQ:         message.MM4ForwardRES,
	mm4.DeliveryReportREQ:  message.MM4DeliveryReportRES,
	mm4.ReadReplyReportREQ: message.MM4ReadReportRES,
}

// byStatus groups verdicts by their status, in an order that is the same whenever the
// mail comes again: that of mm4.RequestStatuses.
func byStatus(list []verdict) [][]verdict {
	var out [][]verdict
	for _, s := range mm4.RequestStatuses() {
		var group []verdict
		for _, v := range list {
			if v.status == s {
				group = append(group, v)
			}
		}
		if len(group) > 0 {
			out = append(out, group)
		}
	}
	return out
}

// systemOf is where the peer's responses and reports go: what its mail says, else who
// the envelope says has sent it, else its system's user. Empty: there is no such place,
// or nothing is sent to the peer. Never is it a place of ours.
func (d *Desk) systemOf(m *server.Mail) string {
	s := d.Snapshot()
	p := s.MM4Peers[m.Peer.ID]
	if p == nil {
		return ""
	}
	host := p.Host
	if v := s.Vendors[p.VendorID]; v != nil {
		host = v.Host
	}
	if host == "" {
		return ""
	}
	domain := mm4out.DomainOf(p.Domain, host)
	said, _ := m.Header.ResponseTo()
	for _, a := range []mm4.Address{said, m.From} {
		if a.IsZero() || d.ours(a.Domain) {
			continue
		}
		a.Name, a.Domain = "", cmp.Or(a.Domain, domain)
		if t := a.String(); sendable(t) {
			return t
		}
	}
	if t := cmp.Or(p.SystemUser, server.DefaultSystemUser) + "@" + domain; sendable(t) {
		return t
	}
	return ""
}

// maxPath is the longest address of an envelope (RFC 5321 §4.5.3.1.3).
const maxPath = 254

// sendable reports whether an address can stand in an envelope.
func sendable(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return len(s) <= maxPath
}
