// Package deliver takes an inbound message to its owner: it finds out where the
// message goes, sends e-mail and MM4, and writes what became of it. Webhooks are told by
// package notify, deliver_sm are worked on by the SMPP edge: this package only writes
// that they are owed.
//
// The rule not to break: where a message goes is decided once, in the transaction that
// writes all of it, so that a step that runs again, or a change of the settings
// meanwhile, neither doubles nor loses a delivery.
package deliver

import (
	"context"
	"errors"
	"time"

	"github.com/postrider/postrider/activities"
	"github.com/postrider/postrider/internal/email"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// Journal is what delivering needs of the record.
type Journal interface {
	Received(ctx context.Context, id message.ID) (message.Received, error)
	PlanInbound(ctx context.Context, id message.ID, plan []message.InboundPlanned, said string) ([]message.InboundOwed, error)
	FallBack(ctx context.Context, id message.ID, position int, to message.InboundPlanned) (*message.InboundOwed, error)
	InboundOutcomes(ctx context.Context, id message.ID) ([]message.InboundDelivery, error)
	RecordMail(ctx context.Context, id message.ID, position int, state message.InboundState, failure string) error
	SettleInbound(ctx context.Context, id message.ID) (message.Status, error)
	// MessageMedia lists the files that the message has.
	MessageMedia(ctx context.Context, id message.ID, profile string) ([]message.Media, error)
}

// Mailer sends an e-mail.
type Mailer interface {
	Send(ctx context.Context, m email.Mail) error
}

// Activities delivers inbound messages.
type Activities struct {
	Journal  Journal
	Snapshot func() *snapshot.Snapshot
	Mailer   Mailer // nil: there is no relay, and e-mail fails
	Peers    Peers  // nil: nothing goes over MM4, and such messages wait
	// MediaURL is where the owner reads a file.
	MediaURL func(f message.MediaFile) string
	Library  Library // of the files that go with e-mails; nil: they are links
	// MailBytes is the most octets that an e-mail may have as it is sent; files that do
	// not fit are links. 0: all are.
	MailBytes int64
	Now       func() time.Time
}

// Input names a message, and one of its destinations if there is one to name.
type Input struct {
	MessageID message.ID `json:"message_id"`
	Position  int        `json:"position,omitempty"`
	// Fetched: its files were fetched, as far as they can be.
	Fetched bool `json:"fetched,omitempty"`
}

// Planned is what is to be done for one destination of a message.
type Planned struct {
	Position int                   `json:"position"`
	Method   message.InboundMethod `json:"method"`
	Pending  bool                  `json:"pending,omitempty"`  // it is not done with
	Webhooks []message.ID          `json:"webhooks,omitempty"` // deliveries that are to be told
	Until    time.Time             `json:"until,omitzero"`     // when what waits for an ESME ends
	Fallback bool                  `json:"fallback,omitempty"`
	After    time.Time             `json:"after,omitzero"` // when the fall-back's turn comes; zero: when this one has failed
}

// Plan is where a message goes.
type Plan struct {
	Destinations []Planned `json:"destinations"`
	// Fetch: nothing is decided yet, its files are to be fetched first.
	Fetch bool `json:"fetch,omitempty"`
}

// PlanInbound decides where the message goes, and writes it. Running it twice writes
// nothing the second time, and returns what is still owed. A message whose files the
// gateway does not have yet is not planned unless they were fetched as far as they can be.
func (a *Activities) PlanInbound(ctx context.Context, in Input) (Plan, error) {
	m, err := a.received(ctx, in.MessageID)
	if err != nil {
		return Plan{}, activities.Fail(err)
	}
	if !in.Fetched && len(m.Files) < len(m.Media) && !m.Redacted {
		return Plan{Fetch: true}, nil
	}
	s := a.Snapshot()
	plan, err := planOf(s, m)
	if err != nil {
		return Plan{}, activities.Fail(err)
	}
	owed, err := a.Journal.PlanInbound(ctx, in.MessageID, plan, said(s, m))
	if err != nil {
		return Plan{}, activities.Fail(err)
	}
	var out Plan
	for _, o := range owed {
		if o.Position < message.FallbackPosition { // a fall-back's turn comes with FallBack
			out.Destinations = append(out.Destinations, planned(o))
		}
	}
	return out, nil
}

// received reads the message with its files, and where its owner reads them.
func (a *Activities) received(ctx context.Context, id message.ID) (message.Received, error) {
	m, err := a.Journal.Received(ctx, id)
	if err != nil || len(m.Media) == 0 {
		return m, err
	}
	if m.Files, err = a.Journal.MessageMedia(ctx, id, ""); err != nil {
		return m, err
	}
	days := 0
	if account := a.Snapshot().Accounts[m.AccountID]; account != nil {
		days = account.ContentRetentionDays
	}
	m.Linked(a.MediaURL, days)
	return m, nil
}

func planned(o message.InboundOwed) Planned {
	p := Planned{Position: o.Position, Method: o.Method, Pending: o.State == message.InboundPending, Webhooks: o.Notifications, Until: o.Until}
	if o.Fallback != nil {
		if p.Fallback = true; o.Fallback.AfterSeconds > 0 {
			p.After = o.CreatedAt.Add(time.Duration(o.Fallback.AfterSeconds) * time.Second)
		}
	}
	return p
}

// FallBack gives a destination up for its fall-back, unless the message has arrived
// there. Nothing comes back when it has. Running it twice changes nothing more.
func (a *Activities) FallBack(ctx context.Context, in Input) (*Planned, error) {
	list, err := a.Journal.InboundOutcomes(ctx, in.MessageID)
	if err != nil {
		return nil, activities.Fail(err)
	}
	for _, d := range list {
		if d.Position != in.Position || d.Fallback == nil {
			continue
		}
		m, err := a.received(ctx, in.MessageID)
		if err != nil {
			return nil, activities.Fail(err)
		}
		to, err := planOne(a.Snapshot(), m, message.Destination{ID: d.RouteID, AccountID: m.AccountID, Position: d.Position + message.FallbackPosition,
			Place: d.Fallback.Place, Active: true})
		if err != nil {
			return nil, activities.Fail(err)
		}
		owed, err := a.Journal.FallBack(ctx, in.MessageID, d.Position, to)
		if err != nil || owed == nil {
			return nil, activities.Fail(err)
		}
		p := planned(*owed)
		return &p, nil
	}
	return nil, nil
}

// Progress tells whether a destination is done with.
func (a *Activities) Progress(ctx context.Context, in Input) (message.InboundState, error) {
	d, err := a.delivery(ctx, in)
	return d.State, activities.Fail(err)
}

// delivery finds a destination of the message; one that is not there has failed.
func (a *Activities) delivery(ctx context.Context, in Input) (message.InboundDelivery, error) {
	list, err := a.Journal.InboundOutcomes(ctx, in.MessageID)
	for _, d := range list {
		if d.Position == in.Position {
			return d, err
		}
	}
	return message.InboundDelivery{State: message.InboundFailed}, err
}

// mailFor is how long an e-mail is tried.
const mailFor = 72 * time.Hour

// SendMail sends the message by e-mail, and fails while it should be tried again.
// Running it twice may send it twice, with the same Message-ID; what is done with is
// left alone.
func (a *Activities) SendMail(ctx context.Context, in Input) error {
	d, err := a.delivery(ctx, in)
	if err != nil || d.State != message.InboundPending {
		return activities.Fail(err)
	}
	m, err := a.received(ctx, in.MessageID)
	if err != nil {
		return activities.Fail(err)
	}
	sent := errors.New("no e-mail relay is configured")
	if a.Mailer != nil {
		sent = a.sendMail(ctx, m, d)
	}
	state, failure := message.InboundDelivered, ""
	if sent != nil {
		state, failure = message.InboundFailed, sent.Error()
		if email.Temporary(sent) && a.Now().Sub(d.CreatedAt) < mailFor {
			state = message.InboundPending
		}
	}
	// The try was made: it is recorded even if the caller's time is over.
	if err := a.Journal.RecordMail(context.WithoutCancel(ctx), in.MessageID, in.Position, state, failure); err != nil {
		return activities.Fail(err)
	}
	if state == message.InboundPending {
		return again(d.Attempts)
	}
	return nil
}

// sendMail makes one try. The text does not wait for a file that is lost: it goes with
// links then.
func (a *Activities) sendMail(ctx context.Context, m message.Received, d message.InboundDelivery) error {
	defer activities.Beat(ctx)()
	err := a.Mailer.Send(ctx, a.mail(m, d, a.MailBytes))
	var lost *email.FileError
	if errors.As(err, &lost) && message.ReasonOf(lost.Err) != message.ReasonUnavailable && ctx.Err() == nil {
		return a.Mailer.Send(ctx, a.mail(m, d, 0))
	}
	return err
}

// GiveUpMail ends an e-mail that was tried for as long as anything is.
func (a *Activities) GiveUpMail(ctx context.Context, in Input) error {
	return activities.Fail(a.Journal.RecordMail(ctx, in.MessageID, in.Position, message.InboundFailed, "tried for three days"))
}

// SettleInbound writes what has become of the message, and tells its status. Running
// it twice changes nothing more.
func (a *Activities) SettleInbound(ctx context.Context, in Input) (message.Status, error) {
	s, err := a.Journal.SettleInbound(ctx, in.MessageID)
	return s, activities.Fail(err)
}
