package ingress

import (
	"context"
	"net/http"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/policy"
	"github.com/postrider/postrider/internal/snapshot"
)

// Meter is what ingress needs of the record for usage limits and balances, beside
// Accept, which reserves.
type Meter interface {
	// Fits says whether a message would fit into its account's limits and balance
	// now. Nothing is taken.
	Fits(ctx context.Context, m *message.Message) (message.Fit, error)
	// SettleUsage settles what has ended longer than age ago and nobody settled.
	SettleUsage(ctx context.Context, age time.Duration) error
}

// usageAge is how long what a message gives back may wait for the next reservation
// or look at its account before a sweep settles it.
const usageAge = 5 * time.Second

// usage settles accounts at which nobody looks.
func (s *sweeper) usage(ctx context.Context) error { return s.in.Journal.SettleUsage(ctx, usageAge) }

// metered reports whether a message takes of its account's limits or balance. What
// the gateway answers itself does not.
func metered(a *snapshot.Account, m *message.Message) bool {
	return a != nil && a.Metered() && m.Status == message.StatusAccepted && !m.Automatic
}

// rehearseUsage says whether the message would fit into its account's limits and
// balance.
func (in *Ingress) rehearseUsage(ctx context.Context, s *snapshot.Snapshot, m *message.Message, out *Outcome) error {
	if !metered(s.Accounts[m.AccountID], m) {
		return nil
	}
	fit, err := in.Journal.Fits(ctx, m)
	if err != nil {
		return err
	}
	out.Trail = fit.In(out.Trail)
	if fit.Refused != nil {
		return fit.Refused
	}
	return nil
}

// unfit makes the answer that is kept beside a message that did not fit. One that
// may pass later leaves its key free: the same request then gets another answer.
func (in *Ingress) unfit(r Request) func(*message.Message) (*message.Idempotency, []message.Notification, error) {
	if r.Key == nil {
		return nil
	}
	return func(m *message.Message) (*message.Idempotency, []message.Notification, error) {
		answer, err := in.answer(r, m, m.Error)
		if err != nil || answer.Status == http.StatusTooManyRequests {
			return nil, nil, err
		}
		return answer, nil, nil
	}
}

// unfit notes in the message and its decision that the journal has stored it as
// rejected, if it has.
func unfit(m *message.Message, d *policy.Decision, fit message.Fit) bool {
	if fit.Refused == nil {
		return false
	}
	m.Status, m.Error = message.StatusRejected, fit.Refused
	d.Error, d.Trail = fit.Refused, fit.In(d.Trail)
	return true
}
