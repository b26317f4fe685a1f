// Package notify delivers events to customers' webhooks.
package notify

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"go.temporal.io/sdk/temporal"

	"github.com/postrider/postrider/activities"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
	"github.com/postrider/postrider/internal/webhook"
)

// Journal is what delivering needs of the record.
type Journal interface {
	Notification(ctx context.Context, id message.ID) (message.Notification, message.NotificationState, error)
	RecordAttempt(ctx context.Context, a message.NotificationAttempt) error
}

// Sender makes one try.
type Sender interface {
	Send(ctx context.Context, r webhook.Request) webhook.Result
}

// Activities delivers notifications.
type Activities struct {
	Journal  Journal
	Sender   Sender
	Snapshot func() *snapshot.Snapshot
	Now      func() time.Time
	// Observe is told of each try; nil: nobody is.
	Observe func(outcome webhook.Outcome, took time.Duration)
	// Endpoints disables those that take nothing any more; nil: none is.
	Endpoints Endpoints

	failed lately
}

// Input names the delivery.
type Input struct {
	DeliveryID message.ID `json:"delivery_id"`
}

// firstTry bounds the first try, which holds a workflow task open: who does not
// answer by then is told again from the notify queue.
const firstTry = 2500 * time.Millisecond

// TryWebhook makes the first try, quickly. It reports whether the delivery needs
// no further work. Running it twice may call the customer twice, with the same
// webhook-id.
func (a *Activities) TryWebhook(ctx context.Context, in Input) (bool, error) {
	n, state, err := a.Journal.Notification(ctx, in.DeliveryID)
	if err != nil {
		return false, activities.Fail(err)
	}
	if state != message.NotificationPending {
		return true, nil
	}
	if n.Attempts > 0 {
		return false, nil
	}
	n = a.addressed(n)
	short, cancel := context.WithTimeout(ctx, firstTry)
	defer cancel()
	t, err := a.try(short, n, webhook.Request{URL: n.URL, Quick: true}, false)
	return t.state != message.NotificationPending, activities.Fail(err)
}

// First makes the first try of each, one after the other, and gives those that need
// further work: those that were not taken, and all from the one on before which the
// time of one try was over. No activity, but a part of those that have something to
// tell. It takes 5 s at most.
func First(a *Activities) activities.Teller {
	return func(ctx context.Context, deliveries []message.ID) (left []message.ID) {
		began := time.Now()
		for i, id := range deliveries {
			if time.Since(began) > firstTry {
				return append(left, deliveries[i:]...)
			}
			if done, err := a.TryWebhook(ctx, Input{DeliveryID: id}); err != nil || !done {
				left = append(left, id)
			}
		}
		return left
	}
}

// PostWebhook makes the next try and, while the schedule has more, fails with
// the pause before the one after it. Running it twice may call the customer
// twice, with the same webhook-id; a delivery that is done is left alone.
func (a *Activities) PostWebhook(ctx context.Context, in Input) error {
	defer activities.Beat(ctx)()
	n, state, err := a.Journal.Notification(ctx, in.DeliveryID)
	if err != nil {
		return activities.Fail(err)
	}
	if state != message.NotificationPending {
		return nil
	}
	if early := a.untilSecond(n); early > 0 {
		return later(early)
	}
	n = a.addressed(n)
	failover := n.FailoverURL != "" && n.Attempts > 0
	t, err := a.try(ctx, n, webhook.Request{URL: n.URL}, failover)
	if err == nil && t.made && t.state == message.NotificationPending && failover {
		n.Attempts++
		t, err = a.try(ctx, n, webhook.Request{URL: n.FailoverURL}, false)
	}
	if err != nil {
		return activities.Fail(err)
	}
	if t.state != message.NotificationPending {
		return nil
	}
	return later(t.next)
}

// later asks for another run. The customer's endpoint being away is expected:
// no error of ours.
func later(d time.Duration) error {
	return temporal.NewApplicationErrorWithOptions("the endpoint did not take the event", "webhook_pending",
		temporal.ApplicationErrorOptions{NextRetryDelay: d, Category: temporal.ApplicationErrorCategoryBenign})
}

// untilSecond is how long the second try still has to wait: the first was made
// inside the workflow, which hands over at once.
func (a *Activities) untilSecond(n message.Notification) time.Duration {
	if n.Attempts != 1 || n.FirstTry.IsZero() {
		return 0
	}
	gap, _ := webhook.Next(1, 0, 0, rand.Float64())
	wait := gap - a.Now().Sub(n.FirstTry)
	if wait < atOnce {
		return 0
	}
	return min(wait, gap) // clocks differ
}

// atOnce is a wait that is not worth a round trip.
const atOnce = 250 * time.Millisecond

// tried is what came of one try.
type tried struct {
	state message.NotificationState
	made  bool          // false: the host was busy, and nothing was sent
	next  time.Duration // until the next try, while pending
}

// try makes and records one try, as r says. another says that the round's second URL
// follows, so that this one cannot be the last.
func (a *Activities) try(ctx context.Context, n message.Notification, r webhook.Request, another bool) (tried, error) {
	secret, old := a.secrets(n)
	if secret == "" {
		if age(n, a.Now()) < configurationLag {
			return tried{state: message.NotificationPending, next: configurationLag}, nil
		}
		return a.record(ctx, n, webhook.Result{Err: errors.New("the endpoint is disabled or gone")}, message.NotificationFailed, 0)
	}
	began := a.Now()
	r.Format, r.Method, r.Body, r.EventID, r.Secret, r.OldSecret = n.Format, n.Method, []byte(n.Payload), n.EventID.String(), secret, old
	result := a.Sender.Send(ctx, r)
	outcome := result.Outcome()
	if a.Observe != nil {
		a.Observe(outcome, a.Now().Sub(began))
	}
	switch outcome {
	case webhook.Busy:
		if age(n, began) >= webhook.Window {
			return a.record(ctx, n, result, message.NotificationFailed, 0)
		}
		return tried{state: message.NotificationPending, next: max(result.RetryAfter, time.Second)}, nil
	case webhook.Delivered:
		return a.record(ctx, n, result, message.NotificationDelivered, 0)
	}
	t, err := a.inVain(ctx, n, result, began, outcome == webhook.Gone && r.URL == n.URL, another)
	if err == nil {
		a.judge(context.WithoutCancel(ctx), n, outcome == webhook.Gone && r.URL == n.URL)
	}
	return t, err
}

// inVain records a try that was in vain. gone ends the delivery: its URL has answered 410,
// which of the failover URL is an answer as any other.
func (a *Activities) inVain(ctx context.Context, n message.Notification, result webhook.Result, began time.Time, gone, another bool) (tried, error) {
	if gone {
		return a.record(ctx, n, result, message.NotificationFailed, 0)
	}
	elapsed := time.Duration(0)
	if !n.FirstTry.IsZero() {
		elapsed = began.Sub(n.FirstTry)
	}
	gap, more := webhook.Next(rounds(n), elapsed, result.RetryAfter, rand.Float64())
	if n.Retries != nil && rounds(n) > *n.Retries {
		more = false
	}
	if !more && !another {
		return a.record(ctx, n, result, message.NotificationFailed, 0)
	}
	return a.record(ctx, n, result, message.NotificationPending, gap)
}

// configurationLag is how far a replica's configuration may lie behind the one
// that made a delivery: until then an endpoint that is not known is not gone.
const configurationLag = 30 * time.Second

// age is how long ago the delivery was made: its id carries the time.
func age(n message.Notification, now time.Time) time.Duration {
	if n.ID.Version() != 7 {
		return webhook.Window
	}
	return now.Sub(time.Unix(n.ID.Time().UnixTime()))
}

// rounds is how many rounds of the schedule the tries fill, with the one being
// made. From the second on a round may hold two tries: the URL and its
// failover.
func rounds(n message.Notification) int {
	made := n.Attempts + 1
	if n.FailoverURL == "" || made == 1 {
		return made
	}
	return 1 + made/2
}

func (a *Activities) record(ctx context.Context, n message.Notification, r webhook.Result, state message.NotificationState, next time.Duration) (tried, error) {
	attempt := message.NotificationAttempt{DeliveryID: n.ID, MessageID: n.MessageID, AccountID: n.AccountID, EndpointID: n.EndpointID, Type: n.Type, Replay: n.Replays, Number: n.Attempts + 1,
		HTTPStatus: r.HTTPStatus, Millis: r.Millis, Answer: r.Body, State: state, NextInSecs: int(next / time.Second)}
	if r.Err != nil {
		attempt.Error = r.Err.Error()
	}
	// The try was made: it is recorded even if the caller's time is over.
	err := a.Journal.RecordAttempt(context.WithoutCancel(ctx), attempt)
	return tried{state: state, made: true, next: next}, err
}

// secrets finds what signs: the endpoint's secret, with its predecessor while
// both hold, that of the destination of an inbound message, or the account's for a
// message's own URL and a destination without one.
func (a *Activities) secrets(n message.Notification) (newest, older string) {
	s := a.Snapshot()
	if n.EndpointID == (message.ID{}) {
		if n.InboundRoute != (message.ID{}) {
			d := s.Destinations.ByID(n.InboundRoute)
			if d == nil || d.AccountID != n.AccountID {
				return "", ""
			}
			if d.WebhookSecret != "" {
				return d.WebhookSecret, ""
			}
		}
		if account := s.Accounts[n.AccountID]; account != nil {
			if a.Now().Before(account.WebhookOldUntil) {
				return account.WebhookSecret, account.WebhookOldSecret
			}
			return account.WebhookSecret, ""
		}
		return "", ""
	}
	e := endpointOf(s, n)
	switch {
	case e == nil:
		return "", ""
	case a.Now().Before(e.OldUntil):
		return e.Secret, e.OldSecret
	}
	return e.Secret, ""
}
