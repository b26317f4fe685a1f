package notify

import (
	"context"
	"sync"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/notification"
	"github.com/postrider/postrider/internal/snapshot"
	"github.com/postrider/postrider/internal/webhook"
)

// When an endpoint that takes nothing is disabled (Standard Webhooks 1.0.0 leaves the
// numbers open): after so long, and so many tries, without one that succeeded.
const (
	DisableAfter = 5 * 24 * time.Hour
	DisableTries = 100
)

// Endpoints disables those that take nothing any more, as the journal does.
type Endpoints interface {
	// EndpointFailed is told of a try in vain that is on record; it disables the endpoint
	// when it has taken nothing for so long, in so many tries.
	EndpointFailed(ctx context.Context, id message.ID, tries int, within time.Duration) (disabled bool, err error)
	DisableEndpoint(ctx context.Context, id message.ID, reason string) (disabled bool, err error)
}

// failedEvery is how often the journal is told of an endpoint's tries in vain: each has a
// row of its own, so none is lost by that.
const failedEvery = 10 * time.Second

// lately remembers when the journal was told of an endpoint. The zero value is ready.
type lately struct {
	mu sync.Mutex
	at map[message.ID]time.Time
}

// maxLately bounds it; it is emptied then, which costs a statement for each.
const maxLately = 4096

func (l *lately) first(id message.ID, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if d := now.Sub(l.at[id]); d >= 0 && d < failedEvery {
		return false
	}
	if l.at == nil || len(l.at) >= maxLately {
		l.at = make(map[message.ID]time.Time)
	}
	l.at[id] = now
	return true
}

// judge disables the endpoint of a try in vain if that is its turn. gone: it said 410.
func (a *Activities) judge(ctx context.Context, n message.Notification, gone bool) {
	if a.Endpoints == nil || n.EndpointID == (message.ID{}) {
		return
	}
	// The try is on record whatever becomes of this; the next one in vain asks again.
	switch {
	case gone:
		_, _ = a.Endpoints.DisableEndpoint(ctx, n.EndpointID, "it answered 410 Gone")
	case a.failed.first(n.EndpointID, a.Now()):
		_, _ = a.Endpoints.EndpointFailed(ctx, n.EndpointID, DisableTries, DisableAfter)
	}
}

// endpointOf is the endpoint that a delivery goes to; nil: none, or it is not active.
func endpointOf(s *snapshot.Snapshot, n message.Notification) *snapshot.Endpoint {
	for i := range s.Endpoints[n.AccountID] {
		if e := &s.Endpoints[n.AccountID][i]; e.ID == n.EndpointID {
			return e
		}
	}
	return nil
}

// addressed is the delivery as it is to be sent now: to where its endpoint is by now.
func (a *Activities) addressed(n message.Notification) message.Notification {
	if n.EndpointID != (message.ID{}) {
		if e := endpointOf(a.Snapshot(), n); e != nil {
			n.URL, n.FailoverURL = e.URL, e.FailoverURL
		}
	}
	return n
}

// Tester sends test events to endpoints. Safe for concurrent use.
type Tester struct {
	Journal interface {
		WebhookEndpoint(ctx context.Context, account, id message.ID) (message.WebhookEndpoint, error)
		RecordTested(ctx context.Context, n message.Notification, a message.NotificationAttempt) error
	}
	Sender Sender
	Now    func() time.Time
}

// Test makes one try with a test event, also at an endpoint that is not active, and
// records it as a delivery that is not tried again. What the endpoint answers has no
// consequence for it.
func (t *Tester) Test(ctx context.Context, account, id message.ID) (message.WebhookTested, error) {
	e, err := t.Journal.WebhookEndpoint(ctx, account, id)
	if err != nil {
		return message.WebhookTested{}, err
	}
	n, err := notification.OfTest(e, t.Now())
	if err != nil {
		return message.WebhookTested{}, err
	}
	r := t.Sender.Send(ctx, webhook.Request{URL: e.URL, Body: []byte(n.Payload), EventID: n.EventID.String(), Secret: e.Secret, OldSecret: e.OldSecret})
	out := message.WebhookTested{DeliveryID: n.ID, EventID: n.EventID, OK: r.Outcome() == webhook.Delivered, HTTPStatus: r.HTTPStatus, Millis: r.Millis, Answer: r.Body}
	attempt := message.NotificationAttempt{State: message.NotificationFailed, HTTPStatus: r.HTTPStatus, Millis: r.Millis, Answer: r.Body}
	if r.Err != nil {
		out.Error = r.Err.Error()
		attempt.Error = out.Error
	}
	if out.OK {
		attempt.State = message.NotificationDelivered
	}
	// The try was made: it is recorded even if the caller's time is over.
	return out, t.Journal.RecordTested(context.WithoutCancel(ctx), n, attempt)
}
