package ingress

import (
	"slices"
	"strings"

	"github.com/postrider/postrider/internal/message"
)

// setGroup notes with which others the message was sent. A recipient of the group that
// cannot be one is left out: the request's own message for it is refused.
func setGroup(r Request, m *message.Message) {
	m.GroupID = r.GroupID
	if len(r.GroupRecipients) < 2 {
		return
	}
	for _, to := range r.GroupRecipients {
		if a, err := message.ParseRecipient(to); err == nil {
			m.GroupRecipients = append(m.GroupRecipients, a)
		}
	}
	m.GroupRecipients = distinct(m.GroupRecipients)
}

// recipients are those of an inbound group message, nil when it has one only. Numbers are
// those of the first of the countries in which they are ones; what is none stays as it was
// written.
func recipients(m message.InboundMessage, countries ...string) []message.Address {
	if len(m.Group) < 2 {
		return nil
	}
	out := make([]message.Address, 0, len(m.Group))
	for _, written := range m.Group {
		as := message.Address(strings.ReplaceAll(written, " ", ""))
		for _, c := range countries {
			if a, err := message.ParseSender(message.Dialable(0, written, c)); c != "" && err == nil {
				as = a
				break
			}
		}
		out = append(out, as)
	}
	return distinct(out)
}

// distinct keeps the first of what is there twice, and of all as many as are kept.
func distinct(list []message.Address) []message.Address {
	var out []message.Address
	for _, a := range list {
		if a != "" && !slices.Contains(out, a) && len(out) < message.MaxGroup {
			out = append(out, a)
		}
	}
	if len(out) < 2 {
		return nil
	}
	return out
}
