package postgres

import (
	"slices"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// inbound owes the credential messages from a number, in this order.
func (b *bundle) inbound(credential message.ID, from string, n int) []*message.Message {
	b.tb.Helper()
	list := make([]*message.Message, n)
	for i := range list {
		m := b.accepted(1)
		b.exec("update messages set direction = 'inbound', from_addr = $2, to_addr = '+12025550143' where id = $1", m.ID, from)
		b.exec(`insert into smpp_deliveries (id, credential_id, account_id, message_id, kind, status, expires_at, conversation)
			select $3, $2, account_id, id, 'message', status, now() + interval '1 hour', smpp_conversation($2, from_addr, to_addr) from messages where id = $1`,
			m.ID, credential, message.NewID())
		list[i] = m
	}
	return list
}

func (b *bundle) tried(m *message.Message, number int, state message.NotificationState, again time.Duration) message.SMPPDelivered {
	b.tb.Helper()
	return message.SMPPDelivered{ID: b.delivery(m), MessageID: m.ID, Kind: message.DeliverMessage, Number: number, State: state, Again: again, Status: 0x64}
}

// wants claims and fails the test unless it gets the messages, in this order.
func (b *bundle) wants(what string, credential message.ID, limit int, want ...*message.Message) {
	b.tb.Helper()
	if got := b.claimed(credential, limit); !slices.Equal(got, ids(want...)) {
		b.tb.Errorf("%s: %v, want %v", what, got, ids(want...))
	}
}

func (b *bundle) comesDue(list ...*message.Message) {
	b.tb.Helper()
	b.exec("update smpp_deliveries set due_at = now() where message_id = any($1)", ids(list...))
}

// A message waits until the one before it in its conversation is done with, over all
// claims and processes; other conversations go on.
func TestInboundOrder(t *testing.T) {
	t.Parallel()
	b := setup(t)
	credential := b.esme(b.owner, "acme")
	a := b.inbound(credential, "+13105550117", 3)
	other := b.inbound(credential, "+13105550118", 2)
	receipt := b.owing(credential)

	b.wants("the first of each", credential, 10, a[0], other[0], receipt)
	if got := b.claim(b.replica(), "b", map[message.ID]int{credential: 10}); len(got) != 0 {
		t.Errorf("another process got %d", len(got))
	}
	// One is delivered: the next goes. The other waits for its retry, and what is
	// behind it waits too.
	b.record(b.tried(a[0], 1, message.NotificationDelivered, 0), b.tried(other[0], 1, message.NotificationPending, time.Minute))
	b.wants("behind the delivered", credential, 10, a[1])
	b.wants("nothing", credential, 10)
	if n := b.count("select count(*) from smpp_deliveries where parked and message_id = $1 and due_at > now() + interval '50 seconds'", other[1].ID); n != 1 {
		t.Error("what waits for a retry is not parked")
	}
	// Its turn comes: it goes, what is behind it does not, though it is looked at.
	b.comesDue(other...)
	b.wants("the retry", credential, 10, other[0])
	b.wants("behind the claimed retry", credential, 10)
	// It fails for good, which sets the next free at once, parked or not.
	b.record(b.tried(other[0], 2, message.NotificationFailed, 0), b.tried(a[1], 1, message.NotificationFailed, 0))
	b.wants("behind the failed", credential, 10, a[2], other[1])
}

// The time of one that waits for its retry may be over before.
func TestInboundAfterExpiry(t *testing.T) {
	t.Parallel()
	b := setup(t)
	credential := b.esme(b.owner, "acme")
	list := b.inbound(credential, "+13105550117", 3)
	b.wants("the first", credential, 10, list[0])
	b.exec("update smpp_deliveries set expires_at = now() + interval '40 seconds' where message_id = $1", list[0].ID)
	b.record(b.tried(list[0], 1, message.NotificationPending, 10*time.Minute))
	b.wants("behind the retry", credential, 10)
	if n := b.count("select count(*) from smpp_deliveries where parked and due_at between now() + interval '20 seconds' and now() + interval '40 seconds'"); n != 2 {
		t.Errorf("%d are parked until the time of the one before them is over", n)
	}
	b.exec("update smpp_deliveries set expires_at = now() where message_id = $1", list[0].ID)
	b.comesDue(list[1:]...)
	b.wants("behind the expired", credential, 10, list[1])
}

// However much waits behind one message, a claim does not go through all of it, and
// what is not behind it is found.
func TestInboundOfMany(t *testing.T) {
	t.Parallel()
	b := setup(t)
	credential := b.esme(b.owner, "acme")
	head := b.inbound(credential, "+13105550117", 1)[0]
	b.wants("the first", credential, 10, head)
	b.record(b.tried(head, 1, message.NotificationPending, 10*time.Minute))
	const many = 5000
	b.exec(`insert into smpp_deliveries (id, credential_id, account_id, message_id, kind, status, expires_at, conversation)
		select gen_random_uuid(), d.credential_id, d.account_id, d.message_id, 'message', 'accepted' || n, d.expires_at, d.conversation
		from smpp_deliveries d, generate_series(1, $2) n where d.message_id = $1`, head.ID, many)
	last := b.inbound(credential, "+13105550118", 1)[0]
	claims := 0
	for ; ; claims++ {
		if got := b.claimed(credential, 10); len(got) > 0 {
			if !slices.Equal(got, ids(last)) {
				t.Fatalf("got %v", got)
			}
			break
		}
	}
	if claims == 0 || claims > many/1000+1 {
		t.Errorf("found after %d claims of nothing", claims)
	}
	if n := b.count("select count(*) from smpp_deliveries where parked"); n != many {
		t.Errorf("%d are parked of %d", n, many)
	}
}

// What is put in without its conversation would go out of order.
func TestInboundHasAConversation(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m := b.accepted(1)
	_, err := b.pool.Exec(b.ctx, `insert into smpp_deliveries (id, credential_id, account_id, message_id, kind, status, expires_at)
		select id, id, account_id, id, 'message', status, now() from messages where id = $1`, m.ID)
	if sqlState(err) != "23514" {
		t.Errorf("inserted: %v", err)
	}
}

// A claim that lapsed and was taken over is its new owner's: the first one's late word
// ends neither it nor the delivery, unless the customer has it.
func TestClaimTakenOver(t *testing.T) {
	t.Parallel()
	b := setup(t)
	credential := b.esme(b.owner, "acme")
	m := b.owing(credential)
	b.wants("the first", credential, 1, m)
	lapse := func() {
		b.exec("update smpp_deliveries set claimed_until = now() - interval '1 second' where message_id = $1", m.ID)
	}
	claimedBy := func() string {
		return scalar[string](b, "select concat_ws(' ', state, attempts, claimed_by) from smpp_deliveries where message_id = $1", m.ID)
	}
	lapse()
	if got := b.claim(b.DB, "b", map[message.ID]int{credential: 1}); len(got) != 1 {
		t.Fatalf("taken over: %d", len(got))
	}
	late := b.try1(m, message.NotificationPending)
	late.Again = time.Minute
	b.record(late)
	b.record(b.try1(m, message.NotificationFailed))
	if err := b.ReleaseDeliveries(b.ctx, "a", []message.ID{b.delivery(m)}); err != nil {
		t.Fatal(err)
	}
	if got := claimedBy(); got != "pending 0 b" || len(b.attempts(m)) != 0 {
		t.Errorf("after the first one's late words: %q, %q", got, b.attempts(m))
	}
	// The customer took it from the first: there is nothing left to try.
	b.record(b.try1(m, message.NotificationDelivered))
	if got := claimedBy(); got != "delivered 1" {
		t.Errorf("after the first one's late delivery: %q", got)
	}
	if err := b.Delivered(b.ctx, "b", []message.SMPPDelivered{b.try1(m, message.NotificationDelivered)}); err != nil {
		t.Fatal(err)
	}
	if got := b.attempts(m); len(got) != 1 {
		t.Errorf("timeline %q", got)
	}
	// A claim that has lapsed and that nobody took over is still settled by its owner.
	m = b.owing(credential)
	b.wants("the next", credential, 1, m)
	lapse()
	late = b.try1(m, message.NotificationPending)
	late.Again = time.Minute
	b.record(late)
	if got := claimedBy(); got != "pending 1" {
		t.Errorf("late and not taken over: %q", got)
	}
}
