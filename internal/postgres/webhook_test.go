package postgres

import (
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// notified is a message with one notification under way.
func (b *bundle) notified() (*message.Message, message.Notification) {
	b.tb.Helper()
	m := b.accepted(1)
	n := b.notification(m, "message.queued")
	b.must(message.Change{MessageID: m.ID, To: message.StatusQueued, Events: line(message.StatusQueued), Notifications: []message.Notification{n}})
	return m, n
}

// try records one, and reads back what the delivery looks like.
func (b *bundle) try(n message.Notification, number int, state message.NotificationState) (attempts int, now message.NotificationState) {
	b.tb.Helper()
	err := b.RecordAttempt(b.ctx, message.NotificationAttempt{DeliveryID: n.ID, MessageID: n.MessageID, Type: n.Type, Number: number,
		HTTPStatus: 503, Millis: 84, Error: "busy\x00", Answer: "later\xff", State: state, NextInSecs: 300})
	if err != nil {
		b.tb.Fatal(err)
	}
	got, now, err := b.Notification(b.ctx, n.ID)
	if err != nil {
		b.tb.Fatal(err)
	}
	return got.Attempts, now
}

func (b *bundle) overdue(age time.Duration) []message.ID {
	b.tb.Helper()
	ids, err := b.OverdueNotifications(b.ctx, age, 10)
	if err != nil {
		b.tb.Fatal(err)
	}
	return ids
}

func TestRecordAttempt(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m, n := b.notified()
	if len(b.overdue(0)) != 0 {
		t.Error("overdue before its first minute is over")
	}
	if a, s := b.try(n, 1, message.NotificationPending); a != 1 || s != message.NotificationPending {
		t.Errorf("%d tries, %s", a, s)
	}
	if c := b.count("select count(*) from webhooks_due where due_at between now() + interval '410 seconds' and now() + interval '420 seconds'"); c != 1 {
		t.Error("not due two minutes after the next try")
	}
	if c := b.count(`select count(*) from webhook_deliveries where last_status = 503 and last_error = $1 and last_answer = $2 and first_attempt_at = last_attempt_at
		and next_attempt_at between now() + interval '290 seconds' and now() + interval '300 seconds'`, "busy\ufffd", "later\ufffd"); c != 1 {
		t.Error("the try is not on record")
	}
	before := b.traces(m)
	if a, s := b.try(n, 1, message.NotificationPending); a != 1 || s != message.NotificationPending || b.traces(m) != before {
		t.Errorf("the same try again: %d tries, %s", a, s)
	}
	// A try that came late and gave up does not end what goes on.
	if a, s := b.try(n, 1, message.NotificationFailed); a != 1 || s != message.NotificationPending || b.traces(m) != before {
		t.Errorf("a stale try: %d tries, %s\n%s\nbefore\n%s", a, s, b.traces(m), before)
	}
	if pending, err := b.PendingNotifications(b.ctx, m.ID); err != nil || len(pending) != 1 || pending[0] != n.ID {
		t.Errorf("pending: %v, %v", pending, err)
	}
	if a, s := b.try(n, 2, message.NotificationDelivered); a != 2 || s != message.NotificationDelivered {
		t.Errorf("%d tries, %s", a, s)
	}
	if c := b.count("select count(*) from webhooks_due"); c != 0 {
		t.Error("due although it is delivered")
	}
	if a, s := b.try(n, 3, message.NotificationFailed); a != 2 || s != message.NotificationDelivered {
		t.Errorf("after the end: %d tries, %s", a, s)
	}
	if pending, _ := b.PendingNotifications(b.ctx, m.ID); len(pending) != 0 {
		t.Errorf("pending: %v", pending)
	}
	events := b.timeline(m)
	if len(events) != 4 || events[2].Type != message.EventWebhookAttempt || events[2].Detail["attempt"] != 1.0 || events[2].Detail["http_status"] != 503.0 ||
		events[2].Detail["ms"] != 84.0 || events[2].Detail["type"] != "message.queued" || events[3].Detail["attempt"] != 2.0 {
		t.Errorf("timeline: %+v", events)
	}
}

// Two processes made a try of the same number: the one that delivered counts,
// whichever is recorded first.
func TestRecordAttemptRace(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, n := b.notified()
	b.try(n, 1, message.NotificationPending)
	if a, s := b.try(n, 1, message.NotificationDelivered); a != 1 || s != message.NotificationDelivered {
		t.Errorf("%d tries, %s", a, s)
	}
	if c := b.count("select count(*) from webhooks_due"); c != 0 {
		t.Error("due although it is delivered")
	}
}

func TestRecordAttemptFailed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, n := b.notified()
	if a, s := b.try(n, 10, message.NotificationFailed); a != 10 || s != message.NotificationFailed {
		t.Errorf("%d tries, %s", a, s)
	}
	if c := b.count("select count(*) from webhooks_due"); c != 0 {
		t.Error("due although it has failed")
	}
	// A delivery that nobody knows leaves nothing behind.
	if err := b.RecordAttempt(b.ctx, message.NotificationAttempt{DeliveryID: message.NewID(), Number: 1, State: message.NotificationDelivered}); err != nil {
		t.Error(err)
	}
}

func TestOverdueNotifications(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, one := b.notified()
	_, two := b.notified()
	if account, err := b.DeliveryAccount(b.ctx, one.ID); err != nil || account != one.AccountID {
		t.Errorf("%s, %v", account, err)
	}
	if _, err := b.DeliveryAccount(b.ctx, message.NewID()); message.ReasonOf(err) != message.ReasonNotFound {
		t.Errorf("of none: %v", err)
	}
	b.exec("update webhooks_due set due_at = now() - case when delivery_id = $1 then interval '3 minutes' else interval '2 minutes' end", one.ID)
	if got := b.overdue(time.Minute); len(got) != 2 || got[0] != one.ID || got[1] != two.ID {
		t.Errorf("overdue: %v", got)
	}
	if got := b.overdue(150 * time.Second); len(got) != 1 || got[0] != one.ID {
		t.Errorf("overdue by more: %v", got)
	}
	if err := b.DeferNotifications(b.ctx, []message.ID{one.ID}, time.Hour); err != nil {
		t.Fatal(err)
	}
	if got := b.overdue(time.Minute); len(got) != 1 || got[0] != two.ID {
		t.Errorf("after one was put off: %v", got)
	}
}
