package notify_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"go.temporal.io/sdk/temporal"

	"github.com/postrider/postrider/activities/journaltest"
	"github.com/postrider/postrider/activities/notify"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
	"github.com/postrider/postrider/internal/webhook"
)

const (
	mainURL  = "https://shop.example/hook"
	otherURL = "https://other.example/hook"
)

// sender answers by URL, in the order of its script; the last answer is
// repeated.
type sender struct {
	mu     sync.Mutex
	script map[string][]webhook.Result
	calls  []webhook.Request
}

func (s *sender) Send(_ context.Context, r webhook.Request) webhook.Result {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, r)
	list := s.script[r.URL]
	if len(list) == 0 {
		return webhook.Result{HTTPStatus: 200}
	}
	if len(list) > 1 {
		s.script[r.URL] = list[1:]
	}
	return list[0]
}

func (s *sender) urls() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, c := range s.calls {
		out = append(out, c.URL)
	}
	return out
}

// realBusy is what the real sender gives while a host rests: the field that
// says so is its own business, so a real one makes it.
func realBusy(t testing.TB) webhook.Result {
	t.Helper()
	host := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTooManyRequests) }))
	defer host.Close()
	real := webhook.NewSender(webhook.Config{Policy: webhook.Policy{AllowHTTP: true, AllowLoopback: true}})
	defer real.Close()
	request := webhook.Request{URL: host.URL, EventID: "e", Secret: "s", Body: []byte("{}")}
	first := real.Send(context.Background(), request)
	r := real.Send(context.Background(), request)
	if r.Outcome() != webhook.Busy {
		t.Fatalf("after %+v: %+v", first, r)
	}
	return r
}

type bundle struct {
	journal *journaltest.Journal
	sender  *sender
	config  *snapshot.Snapshot
	steps   *notify.Activities
	clock   time.Time
	n       message.Notification
}

func setup(t testing.TB) *bundle {
	t.Helper()
	b := &bundle{journal: &journaltest.Journal{}, sender: &sender{script: map[string][]webhook.Result{}}}
	endpoint := message.NewID()
	b.n = message.Notification{ID: message.NewID(), EventID: message.NewID(), AccountID: message.NewID(), EndpointID: endpoint, MessageID: message.NewID(), Type: "message.sent", URL: mainURL, Payload: `{"type":"message.sent"}`}
	// The delivery is older than any lag of configuration.
	b.clock = time.Unix(b.n.ID.Time().UnixTime()).Add(time.Hour)
	b.journal.Now = func() time.Time { return b.clock }
	b.config = &snapshot.Snapshot{
		Accounts:  map[message.ID]*snapshot.Account{b.n.AccountID: {ID: b.n.AccountID, WebhookSecret: "account's"}},
		Endpoints: map[message.ID][]snapshot.Endpoint{b.n.AccountID: {{ID: endpoint, AccountID: b.n.AccountID, URL: mainURL, Secret: "new", OldSecret: "old", OldUntil: b.clock.Add(time.Minute)}}},
	}
	b.journal.PutNotification(b.n)
	b.steps = &notify.Activities{Journal: b.journal, Sender: b.sender, Snapshot: func() *snapshot.Snapshot { return b.config }, Now: func() time.Time { return b.clock }}
	return b
}

func (b *bundle) state(t testing.TB) message.NotificationState {
	t.Helper()
	_, state, err := b.journal.Notification(context.Background(), b.n.ID)
	if err != nil {
		t.Fatal(err)
	}
	return state
}

func (b *bundle) first(t testing.TB) bool {
	t.Helper()
	done, err := b.steps.TryWebhook(context.Background(), notify.Input{DeliveryID: b.n.ID})
	if err != nil {
		t.Fatal(err)
	}
	return done
}

// post makes the next try and gives the pause that it asks for; 0: it is done.
func (b *bundle) post(t testing.TB) time.Duration {
	t.Helper()
	err := b.steps.PostWebhook(context.Background(), notify.Input{DeliveryID: b.n.ID})
	if err == nil {
		return 0
	}
	var app *temporal.ApplicationError
	if !errors.As(err, &app) || app.NonRetryable() || app.Category() != temporal.ApplicationErrorCategoryBenign || app.NextRetryDelay() <= 0 {
		t.Fatalf("PostWebhook: %v", err)
	}
	return app.NextRetryDelay()
}

func TestFirstTry(t *testing.T) {
	b := setup(t)
	if !b.first(t) || b.state(t) != message.NotificationDelivered {
		t.Fatalf("state %s", b.state(t))
	}
	want := webhook.Request{URL: mainURL, Body: []byte(b.n.Payload), EventID: b.n.EventID.String(), Secret: "new", OldSecret: "old"}
	if got := b.sender.calls[0]; got.URL != want.URL || string(got.Body) != string(want.Body) || got.EventID != want.EventID || got.Secret != want.Secret || got.OldSecret != want.OldSecret {
		t.Errorf("sent %+v", got)
	}
	if !b.first(t) || b.post(t) != 0 || len(b.sender.calls) != 1 {
		t.Errorf("called %d times", len(b.sender.calls))
	}
}

// Every try but the last is pending, the gaps follow the schedule, the second
// try waits for its gap though the workflow hands over at once, and the tenth
// is the last.
func TestSchedule(t *testing.T) {
	b := setup(t)
	b.sender.script[mainURL] = []webhook.Result{{HTTPStatus: 500}}
	start := b.clock
	if b.first(t) {
		t.Fatal("done after a failure")
	}
	if wait := b.post(t); wait < 3*time.Second || wait > 5*time.Second || len(b.sender.calls) != 1 {
		t.Fatalf("the second try waits %s after %d calls", wait, len(b.sender.calls))
	}
	b.clock = b.clock.Add(5 * time.Second)
	gaps := []time.Duration{5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour, 10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 20 * time.Hour}
	for i, gap := range gaps {
		wait := b.post(t)
		if wait > gap || wait < gap*8/10 {
			t.Fatalf("after try %d: %s, want %s", i+2, wait, gap)
		}
		b.clock = b.clock.Add(wait)
	}
	if wait := b.post(t); wait != 0 || b.state(t) != message.NotificationFailed || len(b.sender.calls) != webhook.MaxTries || b.clock.Sub(start) > webhook.Window {
		t.Errorf("wait %s, state %s, %d tries in %s", wait, b.state(t), len(b.sender.calls), b.clock.Sub(start))
	}
	for i, a := range b.journal.Tries(b.n.ID) {
		if a.Number != i+1 || a.HTTPStatus != 500 || (a.State == message.NotificationFailed) != (i == webhook.MaxTries-1) {
			t.Errorf("try %d: %+v", i+1, a)
		}
	}
}

func TestTheWindowEndsTheTries(t *testing.T) {
	b := setup(t)
	b.sender.script[mainURL] = []webhook.Result{{HTTPStatus: 500}}
	b.first(t)
	b.clock = b.clock.Add(webhook.Window)
	if wait := b.post(t); wait != 0 || b.state(t) != message.NotificationFailed {
		t.Errorf("wait %s, state %s", wait, b.state(t))
	}
}

func TestFailover(t *testing.T) {
	b := setup(t)
	b.n.FailoverURL = otherURL
	b.config.Endpoints[b.n.AccountID][0].FailoverURL = otherURL
	b.journal.PutNotification(b.n)
	b.sender.script[mainURL] = []webhook.Result{{HTTPStatus: 500}}
	b.sender.script[otherURL] = []webhook.Result{{Err: errors.New("refused")}}
	b.first(t)
	if got := b.sender.urls(); !slices.Equal(got, []string{mainURL}) {
		t.Fatalf("the first try went to %v", got)
	}
	b.clock = b.clock.Add(5 * time.Second)
	rounds := 1
	for wait := b.post(t); wait != 0; wait = b.post(t) {
		b.clock = b.clock.Add(wait)
		rounds++
	}
	// The failover has its turn in every round but the first, also in the last.
	if rounds != webhook.MaxTries-1 || len(b.sender.calls) != 1+2*rounds || b.sender.calls[len(b.sender.calls)-1].URL != otherURL || b.state(t) != message.NotificationFailed {
		t.Errorf("%d rounds, %d calls, %s", rounds, len(b.sender.calls), b.state(t))
	}
	ids := map[string]bool{}
	for _, c := range b.sender.calls {
		ids[c.EventID] = true
	}
	if len(ids) != 1 {
		t.Errorf("%d event ids", len(ids))
	}
}

func TestFailoverDelivers(t *testing.T) {
	b := setup(t)
	b.n.FailoverURL = otherURL
	b.config.Endpoints[b.n.AccountID][0].FailoverURL = otherURL
	b.journal.PutNotification(b.n)
	b.sender.script[mainURL] = []webhook.Result{{HTTPStatus: 503}}
	b.first(t)
	b.clock = b.clock.Add(5 * time.Second)
	if b.post(t) != 0 || b.state(t) != message.NotificationDelivered || !slices.Equal(b.sender.urls(), []string{mainURL, mainURL, otherURL}) {
		t.Errorf("%s, %v", b.state(t), b.sender.urls())
	}
}

func TestGone(t *testing.T) {
	b := setup(t)
	b.sender.script[mainURL] = []webhook.Result{{HTTPStatus: 410}}
	if !b.first(t) || b.state(t) != message.NotificationFailed {
		t.Errorf("%s", b.state(t))
	}
}

// A busy host is nobody's failure: no try is counted, until the window is over.
func TestBusy(t *testing.T) {
	b := setup(t)
	b.sender.script[mainURL] = []webhook.Result{realBusy(t)}
	if b.first(t) || len(b.journal.Tries(b.n.ID)) != 0 {
		t.Fatalf("%d tries", len(b.journal.Tries(b.n.ID)))
	}
	for range 20 {
		if b.post(t) == 0 {
			t.Fatal("done")
		}
	}
	if n := len(b.journal.Tries(b.n.ID)); n != 0 {
		t.Fatalf("%d tries", n)
	}
	b.clock = b.clock.Add(webhook.Window)
	if b.post(t) != 0 || b.state(t) != message.NotificationFailed {
		t.Errorf("%s", b.state(t))
	}
}

func TestRetryAfter(t *testing.T) {
	b := setup(t)
	b.sender.script[mainURL] = []webhook.Result{{HTTPStatus: 503}, {HTTPStatus: 503, RetryAfter: time.Hour}}
	b.first(t)
	b.clock = b.clock.Add(5 * time.Second)
	if wait := b.post(t); wait != time.Hour {
		t.Errorf("wait %s", wait)
	}
	if a := b.journal.Tries(b.n.ID)[1]; a.NextInSecs != 3600 {
		t.Errorf("recorded %+v", a)
	}
}

func TestSecrets(t *testing.T) {
	b := setup(t)
	b.clock = b.clock.Add(time.Minute) // the overlap is over
	b.first(t)
	if c := b.sender.calls[0]; c.Secret != "new" || c.OldSecret != "" {
		t.Errorf("signed with %q and %q", c.Secret, c.OldSecret)
	}
	own := setup(t)
	own.n.EndpointID = message.ID{}
	own.journal.PutNotification(own.n)
	own.first(t)
	if c := own.sender.calls[0]; c.Secret != "account's" || c.OldSecret != "" {
		t.Errorf("signed with %q and %q", c.Secret, c.OldSecret)
	}
}

// An endpoint that a replica does not know yet is not gone.
func TestUnknownEndpoint(t *testing.T) {
	b := setup(t)
	b.config.Endpoints = nil
	b.clock = time.Unix(b.n.ID.Time().UnixTime()).Add(time.Second)
	if b.first(t) || b.post(t) == 0 || b.state(t) != message.NotificationPending {
		t.Fatalf("%s", b.state(t))
	}
	b.clock = b.clock.Add(time.Minute)
	if b.post(t) != 0 || b.state(t) != message.NotificationFailed || len(b.sender.calls) != 0 {
		t.Errorf("%s, %d calls", b.state(t), len(b.sender.calls))
	}
}

// The caller gives up while the customer answers: the try is recorded all the
// same.
func TestRecordedAfterTheDeadline(t *testing.T) {
	b := setup(t)
	ctx, cancel := context.WithCancel(context.Background())
	b.steps.Sender = senderFunc(func(context.Context, webhook.Request) webhook.Result {
		cancel()
		return webhook.Result{HTTPStatus: 200}
	})
	b.steps.Journal = &strictJournal{Journal: b.journal}
	done, err := b.steps.TryWebhook(ctx, notify.Input{DeliveryID: b.n.ID})
	if err != nil || !done || b.state(t) != message.NotificationDelivered {
		t.Errorf("done %v, %v, %s", done, err, b.state(t))
	}
}

type senderFunc func(context.Context, webhook.Request) webhook.Result

func (f senderFunc) Send(ctx context.Context, r webhook.Request) webhook.Result { return f(ctx, r) }

// strictJournal does nothing for a caller whose time is over, as a database.
type strictJournal struct{ *journaltest.Journal }

func (j *strictJournal) RecordAttempt(ctx context.Context, a message.NotificationAttempt) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return j.Journal.RecordAttempt(ctx, a)
}

func TestObserved(t *testing.T) {
	b := setup(t)
	var seen []webhook.Outcome
	b.steps.Observe = func(o webhook.Outcome, _ time.Duration) { seen = append(seen, o) }
	b.first(t)
	if !slices.Equal(seen, []webhook.Outcome{webhook.Delivered}) {
		t.Errorf("%v", seen)
	}
}

func TestUnknownDelivery(t *testing.T) {
	b := setup(t)
	err := b.steps.PostWebhook(context.Background(), notify.Input{DeliveryID: uuid.New()})
	var app *temporal.ApplicationError
	if !errors.As(err, &app) || !app.NonRetryable() {
		t.Errorf("%v", err)
	}
}

// The first tries of several, one after the other: what was not taken needs more, and
// so does what nobody knows.
func TestFirstOfSeveral(t *testing.T) {
	b := setup(t)
	other, strange := b.n, message.NewID()
	other.ID, other.URL, other.EndpointID = message.NewID(), "https://away.example/hook", message.ID{}
	b.journal.PutNotification(other)
	b.sender.script[other.URL] = []webhook.Result{{HTTPStatus: 503}}
	tell := notify.First(b.steps)
	if left := tell(context.Background(), []message.ID{other.ID, b.n.ID, strange}); !slices.Equal(left, []message.ID{other.ID, strange}) {
		t.Errorf("%v", left)
	}
	if urls := b.sender.urls(); !slices.Equal(urls, []string{other.URL, mainURL}) {
		t.Errorf("%v", urls)
	}
	// Each is tried for the first time once.
	if left := tell(context.Background(), []message.ID{other.ID}); len(left) != 1 || len(b.sender.urls()) != 2 {
		t.Errorf("%v, %v", left, b.sender.urls())
	}
	if left := tell(context.Background(), nil); left != nil {
		t.Errorf("%v", left)
	}
}

// Endpoints that take their time do not hold the step up: the rest is for later.
func TestFirstTriesEndInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := setup(t)
		list := []message.ID{b.n.ID}
		for range 5 {
			n := b.n
			n.ID = message.NewID()
			b.journal.PutNotification(n)
			list = append(list, n.ID)
		}
		b.steps.Sender = slowSender{}
		began := time.Now()
		left := notify.First(b.steps)(context.Background(), list)
		if took := time.Since(began); took > 5*time.Second || len(left) != len(list) {
			t.Errorf("%s, %d left", took, len(left))
		}
	})
}

// slowSender answers when its caller has lost patience.
type slowSender struct{}

func (slowSender) Send(ctx context.Context, _ webhook.Request) webhook.Result {
	<-ctx.Done()
	return webhook.Result{Err: ctx.Err()}
}
