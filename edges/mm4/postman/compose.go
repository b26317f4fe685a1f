package postman

import (
	"errors"
	"fmt"
	"strings"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/mm4"
	"github.com/postrider/postrider/internal/mm4out"
	"github.com/postrider/postrider/internal/smtpout"
)

// compose makes the header of a mail, which is all of it, and says whom it goes to. It
// is the same at each try. An error is for good: what cannot be written now never can.
func compose(m message.MM4Mail, own mm4out.System, version string) (h mm4.Header, to mm4.Address, err error) {
	transaction := m.TransactionID
	h = mm4.Header{Type: typeOf(m.Kind), Version: version, Sender: own.Address(), Date: m.At, MailID: own.MailID(message.Hex32(m.ID))}
	system := m.Origin.System
	if m.Kind.IsResponse() {
		system = m.Response.System
	}
	if to, err = mm4.ParseAddress(system); err != nil || to.Domain == "" {
		return h, to, errors.New("the peer's system has no address that mail can go to")
	}
	switch {
	case m.Kind.IsResponse():
		h.MessageID, h.From, h.To = m.Response.Reference, own.Address(), []mm4.Address{to}
		h.RequestStatus, h.StatusText = mm4.Status(m.Response.Status), m.Response.Text
		for _, r := range m.Response.Recipients {
			a, err := mm4.ParseAddress(r)
			if err != nil {
				return h, to, errors.New("a recipient of the response has no address")
			}
			h.RequestRecipients = append(h.RequestRecipients, a)
		}
	case h.Type != "":
		transaction = mm4.TransactionID(m.ID, h.Type, 1)
		err = about(&h, m, own)
	default:
		err = fmt.Errorf("a mail of kind %q is none of ours", m.Kind)
	}
	h.TransactionID = transaction
	return h, to, err
}

// about writes a report: its originator is the recipient of the message that it is about.
func about(h *mm4.Header, m message.MM4Mail, own mm4out.System) error {
	from, err := mm4.ParseAddress(m.Origin.Recipient)
	if err != nil {
		return errors.New("the message's recipient has no address that can be written")
	}
	to, err := mm4.ParseAddress(m.Origin.Sender)
	if err != nil {
		return errors.New("the message's sender has no address that can be written")
	}
	h.MessageID, h.From, h.To, h.OriginatorSystem, h.AckRequest = m.Origin.Reference, from, []mm4.Address{to}, own.Address().String(), mm4.No
	if m.Kind == message.MM4ReadReport {
		h.ReadStatus = mm4.Read
		if strings.EqualFold(m.ReadStatus, string(mm4.DeletedUnread)) {
			h.ReadStatus = mm4.DeletedUnread
		}
		return nil
	}
	h.MMStatus, h.MMStatusExtension = mm4.MMStatusOf(m.Status, m.Reason)
	return nil
}

// codeOf is the peer's codes, such as "250 2.0.0".
func codeOf(o smtpout.Outcome) string {
	if o.Code == 0 {
		return ""
	}
	return strings.TrimSpace(fmt.Sprintf("%d %s", o.Code, o.Enhanced))
}
