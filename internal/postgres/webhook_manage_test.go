package postgres

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/notification"
	"github.com/postrider/postrider/internal/snapshot"
)

var hookActor = Actor{Name: "credential x", Role: "customer"}

// hooked is a database with an account.
func hooked(t *testing.T) *bundle {
	t.Helper()
	b := setup(t)
	if err := b.CreateAccount(b.ctx, actor, snapshot.Account{ID: b.owner, CompanyName: "Acme", WebhookSecret: "whsec_account"}); err != nil {
		t.Fatal(err)
	}
	return b
}

// endpoint adds one that takes all events of the account.
func (b *bundle) endpoint(types ...string) message.WebhookEndpoint {
	b.tb.Helper()
	e := message.WebhookEndpoint{ID: message.NewID(), AccountID: b.owner, URL: "https://shop.example/" + message.NewID().String(), EventTypes: types, Format: "event",
		Active: true, Secret: "whsec_bmV3", CreatedAt: time.Now()}
	if err := b.AddWebhookEndpoint(b.ctx, hookActor, e, nil); err != nil {
		b.tb.Fatal(err)
	}
	return e
}

// sentTo is a delivery to an endpoint.
func (b *bundle) sentTo(e message.WebhookEndpoint) message.Notification {
	b.tb.Helper()
	m := b.accepted(1)
	n := b.notification(m, "message.canceled")
	n.EventID = message.EventID(m.ID, 2)
	n.AccountID, n.EndpointID, n.URL = e.AccountID, e.ID, e.URL
	b.must(message.Change{MessageID: m.ID, To: message.StatusCanceled, Events: line(message.StatusCanceled), Said: "{}", Started: true, Notifications: []message.Notification{n}})
	return n
}

func (b *bundle) attempted(n message.Notification, number, status int, state message.NotificationState) {
	b.tb.Helper()
	err := b.RecordAttempt(b.ctx, message.NotificationAttempt{DeliveryID: n.ID, MessageID: n.MessageID, EndpointID: n.EndpointID, AccountID: n.AccountID, Type: n.Type,
		Replay: n.Replays, Number: number, HTTPStatus: status, Millis: 84, State: state, NextInSecs: 300})
	if err != nil {
		b.tb.Fatal(err)
	}
}

func (b *bundle) webhook(id message.ID) message.WebhookDelivery {
	b.tb.Helper()
	d, err := b.WebhookDelivery(b.ctx, b.owner, id)
	if err != nil {
		b.tb.Fatal(err)
	}
	return d
}

func statuses(d message.WebhookDelivery) (list []int) {
	for _, t := range d.Tries {
		list = append(list, t.HTTPStatus)
	}
	return list
}

func TestWebhookEndpoints(t *testing.T) {
	t.Parallel()
	b := hooked(t)
	e := b.endpoint("message.failed")
	got, err := b.WebhookEndpoint(b.ctx, b.owner, e.ID)
	if err != nil || got.URL != e.URL || got.Secret != e.Secret || !got.Active || !slices.Equal(got.EventTypes, e.EventTypes) || got.OldSecret != "" {
		t.Errorf("%+v, %v", got, err)
	}
	other := message.NewID()
	for name, err := range map[string]error{
		"read": func() error { _, err := b.WebhookEndpoint(b.ctx, other, e.ID); return err }(),
		"change": func() error {
			_, err := b.ChangeWebhookEndpoint(b.ctx, hookActor, other, e.ID, func(*message.WebhookEndpoint) error { return nil })
			return err
		}(),
		"remove": b.RemoveWebhookEndpoint(b.ctx, hookActor, other, e.ID, func(message.WebhookEndpoint) error { return nil }),
		"rotate": b.RotateEndpointSecret(b.ctx, hookActor, other, e.ID, "s", 0, nil),
		"replay": func() error {
			_, err := b.ReplayDeliveries(b.ctx, hookActor, message.WebhookReplay{Account: other, Endpoint: e.ID, Before: time.Now()}, nil)
			return err
		}(),
	} {
		if message.ReasonOf(err) != message.ReasonNotFound {
			t.Errorf("%s by another account: %v", name, err)
		}
	}
	if err := b.RotateEndpointSecret(b.ctx, hookActor, b.owner, e.ID, "whsec_b3RoZXI=", time.Hour, nil); err != nil {
		t.Fatal(err)
	}
	if got, _ := b.WebhookEndpoint(b.ctx, b.owner, e.ID); got.Secret != "whsec_b3RoZXI=" || got.OldSecret != e.Secret || time.Until(got.OldUntil) < 59*time.Minute {
		t.Errorf("%+v", got)
	}
	if err := b.RotateEndpointSecret(b.ctx, hookActor, b.owner, e.ID, "whsec_bGFzdA==", 0, nil); err != nil {
		t.Fatal(err)
	}
	if got, _ := b.WebhookEndpoint(b.ctx, b.owner, e.ID); got.Secret != "whsec_bGFzdA==" || got.OldSecret != "" || !got.OldUntil.IsZero() {
		t.Errorf("%+v", got)
	}
	if err := b.RotateAccountSecret(b.ctx, hookActor, b.owner, "whsec_b3duZXI=", time.Hour, nil); err != nil {
		t.Fatal(err)
	}
	s, err := b.LoadSnapshot(b.ctx)
	if err != nil {
		t.Fatal(err)
	}
	if a := s.Accounts[b.owner]; a.WebhookSecret != "whsec_b3duZXI=" || a.WebhookOldSecret == "" || time.Until(a.WebhookOldUntil) < 59*time.Minute {
		t.Errorf("%+v", a)
	}
	if err := b.RemoveWebhookEndpoint(b.ctx, hookActor, b.owner, e.ID, func(message.WebhookEndpoint) error { return nil }); err != nil {
		t.Fatal(err)
	}
	for range message.MaxWebhookEndpoints {
		b.endpoint()
	}
	more := e
	more.ID = message.NewID()
	if err := b.AddWebhookEndpoint(b.ctx, hookActor, more, nil); message.ReasonOf(err) != message.ReasonConflict {
		t.Errorf("one too many: %v", err)
	}
	list, err := b.WebhookEndpoints(b.ctx, b.owner, message.ID{}, 10)
	if err != nil || len(list) != 10 || list[0].Secret != "" {
		t.Errorf("%d, %v", len(list), err)
	}
	rest, _ := b.WebhookEndpoints(b.ctx, b.owner, list[9].ID, 10)
	if len(rest) != message.MaxWebhookEndpoints-10 {
		t.Errorf("%d behind them", len(rest))
	}
}

// Each try in vain has a row, the one that succeeds none: it is told by the delivery's.
func TestTriesOfDelivery(t *testing.T) {
	t.Parallel()
	b := hooked(t)
	e := b.endpoint()
	first := b.sentTo(e)
	b.attempted(first, 1, 204, message.NotificationDelivered)
	if n := b.count("select count(*) from webhook_attempts"); n != 0 {
		t.Errorf("a try that succeeded wrote %d rows", n)
	}
	if d := b.webhook(first.ID); d.State != message.NotificationDelivered || !slices.Equal(statuses(d), []int{204}) || d.Tries[0].Millis != 84 || !d.NextAttemptAt.IsZero() {
		t.Errorf("%+v", d)
	}
	n := b.sentTo(e)
	b.attempted(n, 1, 503, message.NotificationPending)
	b.attempted(n, 1, 503, message.NotificationPending) // the same again
	b.attempted(n, 2, 0, message.NotificationPending)
	if d := b.webhook(n.ID); d.State != message.NotificationPending || !slices.Equal(statuses(d), []int{503, 0}) || d.NextAttemptAt.IsZero() {
		t.Errorf("%+v", d)
	}
	b.attempted(n, 3, 200, message.NotificationDelivered)
	if d := b.webhook(n.ID); !slices.Equal(statuses(d), []int{503, 0, 200}) {
		t.Errorf("%+v", d)
	}
	if _, err := b.WebhookDelivery(b.ctx, message.NewID(), n.ID); message.ReasonOf(err) != message.ReasonNotFound {
		t.Errorf("another account: %v", err)
	}
}

func (b *bundle) webhooks(f message.WebhookFilter, account message.ID, limit int) []message.ID {
	b.tb.Helper()
	var ids []message.ID
	var before message.ID
	for {
		list, behind, err := b.WebhookDeliveries(b.ctx, account, f, before, limit)
		if err != nil {
			b.tb.Fatal(err)
		}
		for _, d := range list {
			ids = append(ids, d.ID)
		}
		switch {
		case len(list) == limit:
			before = list[limit-1].ID
		case behind != (message.ID{}):
			before = behind
		default:
			return ids
		}
	}
}

func TestListDeliveries(t *testing.T) {
	t.Parallel()
	b := hooked(t)
	one, two := b.endpoint(), b.endpoint()
	arrived, failed, waits, fresh := b.sentTo(one), b.sentTo(one), b.sentTo(two), b.sentTo(two)
	b.attempted(arrived, 1, 200, message.NotificationDelivered)
	b.attempted(failed, 1, 500, message.NotificationFailed)
	b.attempted(waits, 1, 500, message.NotificationPending)
	all := []message.ID{fresh.ID, waits.ID, failed.ID, arrived.ID}
	for name, c := range map[string]struct {
		f    message.WebhookFilter
		want []message.ID
	}{
		"all":             {message.WebhookFilter{}, all},
		"failed":          {message.WebhookFilter{State: message.NotificationFailed}, all[2:3]},
		"pending":         {message.WebhookFilter{State: message.NotificationPending}, all[:2]},
		"delivered":       {message.WebhookFilter{State: message.NotificationDelivered}, all[3:]},
		"endpoint":        {message.WebhookFilter{Endpoint: one.ID}, all[2:]},
		"endpoint failed": {message.WebhookFilter{Endpoint: two.ID, State: message.NotificationFailed}, nil},
		"pending of one":  {message.WebhookFilter{Endpoint: two.ID, State: message.NotificationPending}, all[:2]},
		"message":         {message.WebhookFilter{Message: waits.MessageID}, all[1:2]},
		"message failed":  {message.WebhookFilter{Message: waits.MessageID, State: message.NotificationFailed}, nil},
	} {
		for _, account := range []message.ID{b.owner, {}} {
			for _, limit := range []int{1, 3, 50} {
				if got := b.webhooks(c.f, account, limit); !slices.Equal(got, c.want) {
					t.Errorf("%s of %s by %d: %v, want %v", name, account, limit, got, c.want)
				}
			}
		}
		if got := b.webhooks(c.f, message.NewID(), 50); len(got) != 0 {
			t.Errorf("%s of another account: %v", name, got)
		}
	}
}

func TestReplayDelivery(t *testing.T) {
	t.Parallel()
	b := hooked(t)
	e := b.endpoint()
	for _, was := range []message.NotificationState{message.NotificationFailed, message.NotificationDelivered} {
		n := b.sentTo(e)
		status := map[message.NotificationState]int{message.NotificationFailed: 500, message.NotificationDelivered: 200}[was]
		b.attempted(n, 1, status, was)
		for i, want := range []bool{true, false} { // asking twice does nothing twice
			if queued, err := b.ReplayDelivery(b.ctx, hookActor, b.owner, n.ID, nil); err != nil || queued != want {
				t.Errorf("%s, %d: %v, %v", was, i, queued, err)
			}
		}
		back, state, err := b.Notification(b.ctx, n.ID)
		if err != nil || state != message.NotificationPending || back.Attempts != 0 || back.Replays != 1 || !back.FirstTry.IsZero() || back.EventID != n.EventID || back.Payload == "" {
			t.Errorf("%+v, %s, %v", back, state, err)
		}
		if got := b.overdue(59 * time.Second); !slices.Contains(got, n.ID) {
			t.Errorf("the sweep does not find it: %v", got)
		}
		b.attempted(n, 9, 500, message.NotificationFailed) // a try from before: too late
		if d := b.webhook(n.ID); d.State != message.NotificationPending || !slices.Equal(statuses(d), []int{status}) {
			t.Errorf("%+v", d)
		}
		b.attempted(back, 1, 503, message.NotificationPending)
		b.attempted(back, 2, 201, message.NotificationDelivered)
		if d := b.webhook(n.ID); d.State != message.NotificationDelivered || !slices.Equal(statuses(d), []int{status, 503, 201}) {
			t.Errorf("%+v", d)
		}
	}
	if found, err := b.Violations(b.ctx, 0); err != nil || len(found) > 0 {
		t.Errorf("%+v, %v", found, err)
	}
	n := b.sentTo(e)
	b.attempted(n, 1, 500, message.NotificationFailed)
	if _, err := b.ReplayDelivery(b.ctx, hookActor, message.NewID(), n.ID, nil); message.ReasonOf(err) != message.ReasonNotFound {
		t.Errorf("another account: %v", err)
	}
	if _, err := b.DisableEndpoint(b.ctx, e.ID, "x"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.ReplayDelivery(b.ctx, hookActor, b.owner, n.ID, nil); message.ReasonOf(err) != message.ReasonConflict {
		t.Errorf("to an endpoint that is off: %v", err)
	}
}

func TestReplayRange(t *testing.T) {
	t.Parallel()
	b := hooked(t)
	one, two := b.endpoint(), b.endpoint()
	began := time.Now().Add(-time.Minute)
	var failed []message.Notification
	for range 3 {
		n := b.sentTo(one)
		b.attempted(n, 1, 500, message.NotificationFailed)
		failed = append(failed, n)
	}
	arrived, strange, waits := b.sentTo(one), b.sentTo(two), b.sentTo(one)
	b.attempted(arrived, 1, 200, message.NotificationDelivered)
	b.attempted(strange, 1, 500, message.NotificationFailed)
	r := message.WebhookReplay{Account: b.owner, Endpoint: one.ID, After: began, Before: time.Now().Add(time.Minute)}
	replay := func(r message.WebhookReplay, want int) {
		t.Helper()
		if got, err := b.ReplayDeliveries(b.ctx, hookActor, r, nil); err != nil || got.Queued != want || !got.NextAfter.IsZero() {
			t.Errorf("%+v: %+v, %v; want %d", r, got, err, want)
		}
	}
	types, past := r, r
	types.Types, past.Before = []string{"message.sent"}, began
	replay(types, 0)
	replay(past, 0)
	replay(r, 3)
	replay(r, 0)
	r.All = true
	replay(r, 1)
	replay(r, 0)
	r.Endpoint, r.All = message.ID{}, false
	replay(r, 1)
	for _, n := range append(failed, arrived, strange) {
		if d := b.webhook(n.ID); d.State != message.NotificationPending || d.Replays != 1 {
			t.Errorf("%+v", d)
		}
	}
	if d := b.webhook(waits.ID); d.Replays != 0 {
		t.Errorf("what was under way: %+v", d)
	}
	// It is paced, so that what others are owed comes in between.
	if n := b.count("select count(distinct due_at) from webhooks_due"); n < 3 {
		t.Errorf("due at %d times", n)
	}
}

// The answer of a keyed request is kept with what it did.
func TestReplayKeyed(t *testing.T) {
	t.Parallel()
	b := hooked(t)
	e := b.endpoint()
	n := b.sentTo(e)
	b.attempted(n, 1, 500, message.NotificationFailed)
	key := message.Idempotency{AccountID: b.owner, Operation: "POST x", Key: "k", Status: 202}
	r := message.WebhookReplay{Account: b.owner, Endpoint: e.ID, Before: time.Now().Add(time.Minute)}
	answer := func(done message.WebhookReplayed) (*message.Idempotency, error) {
		k := key
		k.Response = fmt.Append(nil, done.Queued)
		return &k, nil
	}
	if _, err := b.ReplayDeliveries(b.ctx, hookActor, r, answer); err != nil {
		t.Fatal(err)
	}
	first, err := b.FirstAnswer(b.ctx, key)
	if err != nil || first == nil || string(first.Response) != "1" {
		t.Errorf("%+v, %v", first, err)
	}
	if _, err := b.ReplayDeliveries(b.ctx, hookActor, r, answer); message.ReasonOf(err) != message.ReasonIdempotencyInProgress {
		t.Errorf("the same key at once: %v", err)
	}
}

// Five days and a hundred tries in vain, both; a success in between, or enabling it, and
// it begins anew. The account's other endpoints are told.
func TestEndpointIsDisabled(t *testing.T) {
	t.Parallel()
	b := hooked(t)
	if endpointDisabled != notification.EndpointDisabled {
		t.Error("two names of one event")
	}
	e, other := b.endpoint(), b.endpoint(endpointDisabled)
	b.endpoint("message.sent") // wants no such event
	fail := func() bool {
		t.Helper()
		disabled, err := b.EndpointFailed(b.ctx, e.ID, 3, 5*24*time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		return disabled
	}
	n := b.sentTo(e)
	for i := range 2 {
		b.attempted(n, i+1, 500, message.NotificationPending)
		fail()
	}
	old := func() {
		b.exec("update webhook_failing set since = since - interval '121 hours'")
	}
	old()
	if fail() {
		t.Error("disabled after two tries")
	}
	b.attempted(n, 3, 200, message.NotificationDelivered) // which sets it back
	if c := b.count("select count(*) from webhook_failing"); c != 0 {
		t.Error("it still counts as failing")
	}
	n = b.sentTo(e)
	for i := range 3 {
		b.attempted(n, i+1, 500, message.NotificationPending)
		if fail() {
			t.Error("disabled before five days are over")
		}
	}
	if got, _ := b.WebhookEndpoint(b.ctx, b.owner, e.ID); got.FailingSince.IsZero() {
		t.Errorf("%+v", got)
	}
	old()
	if !fail() {
		t.Fatal("not disabled")
	}
	if fail() { // it is off
		t.Error("disabled twice")
	}
	got, _ := b.WebhookEndpoint(b.ctx, b.owner, e.ID)
	if got.Active || got.DisabledReason == "" || !got.FailingSince.IsZero() {
		t.Errorf("%+v", got)
	}
	told := b.webhooks(message.WebhookFilter{Endpoint: other.ID}, b.owner, 50)
	if len(told) != 1 || b.webhook(told[0]).Type != endpointDisabled || b.count("select count(*) from webhook_deliveries where type = $1", endpointDisabled) != 1 {
		t.Errorf("told: %v", told)
	}
	if s, _ := b.LoadSnapshot(b.ctx); len(s.Endpoints[b.owner]) != 2 {
		t.Errorf("%+v", s.Endpoints)
	}
	got, err := b.ChangeWebhookEndpoint(b.ctx, hookActor, b.owner, e.ID, func(e *message.WebhookEndpoint) error { e.Active = true; return nil })
	if err != nil || !got.Active || got.DisabledReason != "" {
		t.Errorf("%+v, %v", got, err)
	}
	if fail() {
		t.Error("enabling it did not begin anew")
	}
}

func TestRecordTested(t *testing.T) {
	t.Parallel()
	b := hooked(t)
	e := b.endpoint()
	for _, state := range []message.NotificationState{message.NotificationDelivered, message.NotificationFailed} {
		n, err := notification.OfTest(e, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if err := b.RecordTested(b.ctx, n, message.NotificationAttempt{State: state, HTTPStatus: 418, Millis: 7, Answer: "a\x00b"}); err != nil {
			t.Fatal(err)
		}
		d := b.webhook(n.ID)
		if d.State != state || d.LastAnswer == "" || !slices.Equal(statuses(d), []int{418}) || d.Type != notification.EndpointTest {
			t.Errorf("%+v", d)
		}
	}
	if found, err := b.Violations(b.ctx, 0); err != nil || len(found) > 0 {
		t.Errorf("%+v, %v", found, err)
	}
}
