// Package desk takes the mails of MM4 peers for the gateway: messages of customers and
// from vendors, reports of both, and responses to what we have sent (3GPP TS 23.140
// §8.4). It decides what becomes of a mail, has ingress and the journal commit it, and
// owes the peer a response where one is due.
//
// Read desk.go first, then customer.go and vendor.go for messages, and report.go for
// what is about them.
//
// The rule not to break: Accept returns nil only when all recipients of the mail, and
// the response to it, are committed. A mail that comes again finishes what was
// begun, and gets the same response.
package desk

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"time"

	server "github.com/postrider/postrider/edges/mm4"

	"github.com/postrider/postrider/edges/ingress"
	"github.com/postrider/postrider/internal/limit"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/mm4"
	"github.com/postrider/postrider/internal/mm4out"
	"github.com/postrider/postrider/internal/snapshot"
)

// Ingress is the door to the journal. *ingress.Ingress is one.
type Ingress interface {
	Accept(ctx context.Context, r ingress.Request) (ingress.Outcome, error)
	Inbound(ctx context.Context, m message.InboundMessage) error
	// Match commits a receipt and says whether its message is known.
	Match(ctx context.Context, r message.Receipt) (message.Matched, error)
}

// Journal is what the desk needs of the record beside ingress.
type Journal interface {
	// OweMM4 commits to sending responses. One that is owed already goes again.
	OweMM4(ctx context.Context, mails []message.MM4Mail) error
	// PutMM4Answer keeps a vendor's answer for who waits for it. The first counts.
	// ReasonNotFound: no such attempt was made at the vendor.
	PutMM4Answer(ctx context.Context, a message.MM4Answer) error
	// MM4Read notes that a message was read, or deleted unread, and tells its
	// originator over MM4 if that asked; ReasonNotFound when there is none.
	MM4Read(ctx context.Context, id message.ID, at time.Time, status string) error
	// Message finds a message; ReasonNotFound when there is none.
	Message(ctx context.Context, id message.ID) (*message.Message, error)
	// Note adds a line to a message's timeline.
	Note(ctx context.Context, id message.ID, line message.Event) error
}

// Metrics are called when something happened; nil fields are not called. They must not
// block.
type Metrics struct {
	// Taken is told of each mail that was understood: its type, and what it was answered,
	// or, of a response, what it says.
	Taken func(kind mm4.Type, status mm4.Status)
	// RateLimited is told of messages of an account that were refused for the rate of
	// their sender.
	RateLimited func(account message.ID, scope string, n int)
}

// Desk implements the Desk and the Refuser of package mm4's Server. Fill in the fields;
// they must not change then. It is safe for concurrent use.
type Desk struct {
	Ingress  Ingress
	Journal  Journal
	Snapshot func() *snapshot.Snapshot
	// Domains are ours, lower case: what claims to come from a system there is a loop.
	Domains []string
	// SystemUser is the local part of our system address; empty:
	// server.DefaultSystemUser.
	SystemUser string
	// Numbers counts the rates of senders; nil: they have none.
	Numbers limit.Many
	Metrics Metrics
	Log     *slog.Logger
	Now     func() time.Time
}

var (
	_ server.Desk    = (*Desk)(nil)
	_ server.Refuser = (*Desk)(nil)
)

// maxForwards is how often a message may have been forwarded before it is taken for one
// that goes in circles.
const maxForwards = 5

// Recipient refuses recipients that no mail of the peer could be for. A customer may
// write to any number; a vendor to those of our customers, and to whatever else they
// send from: its reports go there.
func (d *Desk) Recipient(_ context.Context, p *server.Peer, to mm4.Address) error {
	s := d.Snapshot()
	switch {
	case d.isSystem(to):
		return nil
	case p.VendorID != (message.ID{}):
		if _, n := ingress.Owner(s, to.Number()); n == nil && !isSender(s, to, country(s, p)) {
			return message.Refuse(message.ReasonNotFound, "the recipient is nobody here")
		}
		return nil
	case to.Number() == "":
		return message.Refuse(message.ReasonNotFound, "no such recipient; write +E164/TYPE=PLMN@domain")
	}
	_, err := message.ParseRecipient(message.Dialable(0, to.Number(), country(s, p)))
	return err
}

// isSender reports whether an account sends from an address beside its numbers, which may
// be a word.
func isSender(s *snapshot.Snapshot, to mm4.Address, country string) bool {
	number := message.Dialable(0, to.Number(), country)
	is := func(sender string) bool {
		a := mm4out.System{}.AddressOf(message.Address(sender))
		return a.Type == mm4.Email && to.Type == mm4.Email && strings.EqualFold(a.Local, to.Local) || number != "" && a.Number() == number
	}
	for _, a := range s.Accounts {
		if a.ForceSourceAddress != "" && is(string(a.ForceSourceAddress)) || slices.ContainsFunc(a.AllowedSourceAddresses, is) {
			return true
		}
	}
	return false
}

// Accept commits a mail. See package mm4's Desk.
func (d *Desk) Accept(ctx context.Context, m *server.Mail) (string, error) {
	h := &m.Header
	if h.Type.Request() {
		if err := d.looped(m); err != nil {
			return d.deny(ctx, m, err)
		}
	}
	fromVendor := m.Peer.VendorID != (message.ID{})
	switch h.Type {
	case mm4.ForwardREQ:
		if fromVendor {
			return d.arrived(ctx, m)
		}
		return d.submitted(ctx, m)
	case mm4.DeliveryReportREQ:
		return d.report(ctx, m, d.delivery)
	case mm4.ReadReplyReportREQ:
		return d.report(ctx, m, d.read)
	case mm4.ForwardRES:
		return d.answered(ctx, m)
	case mm4.DeliveryReportRES, mm4.ReadReplyReportRES:
		// Ours ask for no response, so there is nobody to tell.
		d.Log.Debug("mm4 response to a report", "peer", m.Peer.Name, "status", string(h.RequestStatus))
		d.taken(h.Type, h.RequestStatus)
		return message.Hex32(message.NewID()), nil
	}
	return "", &mm4.Fault{Status: mm4.StatusUnsupported, Header: "X-Mms-Message-Type", Detail: "the message type is not known; it is one of the six of MM4"}
}

// Refuse commits to the response to a request that could not be read. See package mm4's
// Refuser.
func (d *Desk) Refuse(ctx context.Context, m *server.Mail, cause error) (string, error) {
	status, text := statusOf(cause)
	return d.respond(ctx, m, message.ID{}, []verdict{{status: status, text: text}}, cause)
}

// looped tells a mail that we have sent ourselves, or that goes in circles.
func (d *Desk) looped(m *server.Mail) error {
	h := &m.Header
	own := func(a mm4.Address) bool { return a.Type == mm4.Email && d.ours(a.Domain) }
	system, _ := h.ResponseTo()
	switch {
	case d.ours(system.Domain), own(h.Sender), own(h.From), own(m.From):
		return denied("X-Mms-Originator-System", "the mail names a system of ours as where it comes from; it goes in a loop")
	case h.ForwardCounter > maxForwards:
		return denied("X-Mms-Forward-Counter", "the message was forwarded more than %d times; it goes in a loop", maxForwards)
	}
	return nil
}

// ours reports whether a domain is of ours. The empty one is nobody's.
func (d *Desk) ours(domain string) bool {
	for _, own := range d.Domains {
		if domain != "" && strings.EqualFold(domain, own) {
			return true
		}
	}
	return false
}

// isSystem reports whether an address is our system's.
func (d *Desk) isSystem(a mm4.Address) bool {
	user := d.SystemUser
	if user == "" {
		user = server.DefaultSystemUser
	}
	return a.Type == mm4.Email && strings.EqualFold(a.Local, user)
}

func (d *Desk) taken(kind mm4.Type, status mm4.Status) {
	if d.Metrics.Taken != nil {
		d.Metrics.Taken(kind, status)
	}
}

// defaultCountry is where national numbers are read when the account names no country.
const defaultCountry = "US"

// country is where the peer's national numbers are read.
func country(s *snapshot.Snapshot, p *server.Peer) string {
	if a := s.Accounts[p.AccountID]; a != nil && a.DefaultCountry != "" {
		return a.DefaultCountry
	}
	return defaultCountry
}
