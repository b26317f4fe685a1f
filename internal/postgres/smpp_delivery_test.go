package postgres

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/smpp"
)

const lease = 45 * time.Second

func (b *bundle) claim(db *DB, instance string, wanted map[message.ID]int) []message.SMPPDelivery {
	b.tb.Helper()
	list, err := db.ClaimDeliveries(b.ctx, instance, wanted, lease)
	if err != nil {
		b.tb.Fatal(err)
	}
	return list
}

// claimed gives the messages of a claim for one credential.
func (b *bundle) claimed(credential message.ID, limit int) []message.ID {
	b.tb.Helper()
	return pick(b.claim(b.DB, "a", map[message.ID]int{credential: limit}), func(d message.SMPPDelivery) message.ID { return d.Message.ID })
}

// delivery is the id of the only one about a message.
func (b *bundle) delivery(m *message.Message) message.ID {
	b.tb.Helper()
	return scalar[message.ID](b, "select id from smpp_deliveries where message_id = $1", m.ID)
}

func (b *bundle) record(tries ...message.SMPPDelivered) {
	b.tb.Helper()
	if err := b.Delivered(b.ctx, "a", tries); err != nil {
		b.tb.Fatal(err)
	}
}

func (b *bundle) try1(m *message.Message, state message.NotificationState) message.SMPPDelivered {
	b.tb.Helper()
	return message.SMPPDelivered{ID: b.delivery(m), MessageID: m.ID, Kind: message.DeliverReceipt, Number: 1, State: state}
}

func ids(list ...*message.Message) []message.ID {
	return pick(list, func(m *message.Message) message.ID { return m.ID })
}

// attempts gives the details of the timeline's lines about tries.
func (b *bundle) attempts(m *message.Message) []string {
	b.tb.Helper()
	var out []string
	for _, e := range b.timeline(m) {
		if e.Type == message.EventDeliverSM {
			out = append(out, fmt.Sprint(e.Detail))
		}
	}
	return out
}

func TestClaimDeliveries(t *testing.T) {
	t.Parallel()
	b := setup(t)
	credential := b.esme(b.owner, "acme")
	a := b.submitted(credential, 1)
	m := b.taken(a)
	b.exec("update messages set status = 'sent' where id = $1", m.ID)
	b.must(message.Change{MessageID: m.ID, To: message.StatusDelivered, Events: append(line(message.StatusDelivered), message.Event{Type: message.EventRead}),
		Delivered: true, Receipt: &message.ReceiptSummary{Stat: "DELIVRD", Err: "000", At: m.CreatedAt}, Owed: true})
	silent := b.taken(b.submitted(credential, 1))
	b.must(message.Change{MessageID: silent.ID, To: message.StatusFailed, Owed: true})

	list := b.claim(b.DB, "a", map[message.ID]int{credential: 10})
	if len(list) != 2 {
		t.Fatalf("%d deliveries", len(list))
	}
	got := list[0]
	record, err := b.Message(b.ctx, m.ID)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got.Message, *record) || got.Message.Body != m.Body || got.Message.Receipt == nil {
		t.Errorf("message\n%+v\nwant\n%+v", got.Message, *record)
	}
	if !reflect.DeepEqual(got.Origin, *a.Origin) {
		t.Errorf("origin %+v, want %+v", got.Origin, *a.Origin)
	}
	if got.ID != b.delivery(m) || got.CredentialID != credential || got.Kind != message.DeliverReceipt || got.Status != message.StatusDelivered || got.Attempts != 0 ||
		got.CreatedAt.IsZero() || got.ExpiresAt.Sub(got.CreatedAt) < 72*time.Hour-time.Minute || got.ExpiresAt.Sub(got.CreatedAt) > 72*time.Hour {
		t.Errorf("%+v", got)
	}
	events := b.timeline(m)
	if at := events[1].At; events[1].Type != "delivered" || !got.FinalAt.Equal(at) {
		t.Errorf("the status was reached at %s, the timeline says %s", got.FinalAt, at)
	}
	// Without a line in the timeline, when the record last changed.
	if !list[1].FinalAt.Equal(list[1].Message.UpdatedAt) || list[1].Message.ID != silent.ID {
		t.Errorf("%s, the record says %s", list[1].FinalAt, list[1].Message.UpdatedAt)
	}
	if n := b.count("select count(*) from smpp_deliveries where claimed_by = 'a' and claimed_until between now() + $1::interval - interval '20 seconds' and now() + $1::interval", lease); n != 2 {
		t.Error("the claim is not on record")
	}
	if again := b.claimed(credential, 10); len(again) != 0 {
		t.Errorf("claimed twice: %v", again)
	}
	// A claim lapses, and not before its time.
	b.exec("update smpp_deliveries set claimed_until = now() + interval '1 second' where message_id = $1", silent.ID)
	b.exec("update smpp_deliveries set claimed_until = now() where message_id = $1", m.ID)
	if list := b.claim(b.replica(), "b", map[message.ID]int{credential: 10}); len(list) != 1 || list[0].ID != got.ID || list[0].Attempts != 0 ||
		b.count("select count(*) from smpp_deliveries where claimed_by = 'b' and claimed_until > now()") != 1 {
		t.Errorf("after the lapse: %+v", list)
	}
}

// An inbound message has no origin.
func TestClaimInbound(t *testing.T) {
	t.Parallel()
	b := setup(t)
	credential := b.esme(b.owner, "acme")
	m := b.accepted(1)
	b.exec("update messages set direction = 'inbound' where id = $1", m.ID)
	b.exec(`insert into smpp_deliveries (id, credential_id, account_id, message_id, kind, status, expires_at, conversation)
		select gen_random_uuid(), $2, account_id, id, 'message', status, now() + interval '1 hour', smpp_conversation($2, from_addr, to_addr) from messages where id = $1`,
		m.ID, credential)
	list := b.claim(b.DB, "a", map[message.ID]int{credential: 1})
	if len(list) != 1 || list[0].Kind != message.DeliverMessage || !reflect.DeepEqual(list[0].Origin, message.SMPPOrigin{}) || list[0].Message.Body != m.Body ||
		list[0].Message.Direction != message.Inbound {
		t.Errorf("%+v", list)
	}
}

// Oldest first, each credential its share, and nobody another's.
func TestClaimOrder(t *testing.T) {
	t.Parallel()
	b := setup(t)
	one, two, other := b.esme(b.owner, "one"), b.esme(b.owner, "two"), b.esme(message.NewID(), "other")
	var of1, of2 []*message.Message
	for range 6 {
		of1, of2 = append(of1, b.owing(one)), append(of2, b.owing(two))
	}
	theirs := b.owing(other)
	// The second was tried, and is due again: it is still older than the third.
	b.record(message.SMPPDelivered{ID: b.delivery(of1[1]), Number: 1, State: message.NotificationPending, Error: "silence"})
	// What waits for its time stands in nobody's way.
	b.record(message.SMPPDelivered{ID: b.delivery(of1[0]), Number: 1, State: message.NotificationPending, Again: time.Hour, Error: "silence"})
	if got := b.claimed(message.NewID(), 10); len(got) != 0 {
		t.Errorf("an unknown credential gets %v", got)
	}
	list := b.claim(b.DB, "a", map[message.ID]int{one: 3, two: 2, other: 0})
	want := ids(of2[0], of1[1], of2[1], of1[2], of1[3])
	if got := pick(list, func(d message.SMPPDelivery) message.ID { return d.Message.ID }); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if list[1].Attempts != 1 || list[0].CredentialID != two {
		t.Errorf("%+v", list[1])
	}
	list = b.claim(b.DB, "a", map[message.ID]int{one: 10, two: 1})
	want = ids(of2[2], of1[4], of1[5])
	if got := pick(list, func(d message.SMPPDelivery) message.ID { return d.Message.ID }); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	b.exec("update smpp_deliveries set due_at = now() where attempts = 1")
	if got := b.claimed(one, 10); !slices.Equal(got, ids(of1[0])) {
		t.Errorf("%v is due again, got %v", of1[0].ID, got)
	}
	if got := b.claimed(other, 10); !slices.Equal(got, ids(theirs)) {
		t.Errorf("%v, want %v", got, theirs.ID)
	}
}

// Two processes that claim at once never get the same, and together get all.
func TestClaimAtOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const deliveries = 300
	credentials := []message.ID{b.esme(b.owner, "one"), b.esme(b.owner, "two"), b.esme(b.owner, "three")}
	var wg sync.WaitGroup
	for i := range deliveries {
		wg.Go(func() {
			a := b.submitted(credentials[i%3], 1)
			_, err := b.Accept(b.ctx, a)
			if err == nil {
				_, err = b.Advance(b.ctx, message.Change{MessageID: a.Message.ID, To: message.StatusExpired, Events: line(message.StatusExpired), Owed: true})
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	var mu sync.Mutex
	seen := map[message.ID]string{}
	left := func() int {
		mu.Lock()
		defer mu.Unlock()
		return deliveries - len(seen)
	}
	for i, db := range []*DB{b.DB, b.replica()} {
		instance := fmt.Sprint(i)
		for range 3 {
			wg.Go(func() {
				for left() > 0 && b.ctx.Err() == nil {
					list, err := db.ClaimDeliveries(b.ctx, instance, map[message.ID]int{credentials[0]: 3, credentials[1]: 5, credentials[2]: 2}, lease)
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					for _, d := range list {
						if by, twice := seen[d.ID]; twice {
							t.Errorf("%s was claimed by %s and by %s", d.ID, by, instance)
						}
						seen[d.ID] = instance
					}
					mu.Unlock()
					if !slices.IsSortedFunc(list, func(a, b message.SMPPDelivery) int { return a.CreatedAt.Compare(b.CreatedAt) }) || len(list) > 10 {
						t.Errorf("%d deliveries, or not oldest first", len(list))
					}
				}
			})
		}
	}
	wg.Wait()
	for id, instance := range seen {
		if n := b.count("select count(*) from smpp_deliveries where id = $1 and claimed_by = $2", id, instance); n != 1 {
			t.Errorf("%s was given to %s, the row says otherwise", id, instance)
		}
	}
}

// A row that somebody else is looking at is passed over, not waited for.
func TestClaimWaitsForNobody(t *testing.T) {
	t.Parallel()
	b := setup(t)
	credential := b.esme(b.owner, "acme")
	held, free, late, busy := b.owing(credential), b.owing(credential), b.owing(credential), b.owing(credential)
	b.exec("update smpp_deliveries set expires_at = now() where message_id = any($1)", ids(late, busy))
	tx, err := b.pool.Begin(b.ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(b.ctx) }()
	if _, err := tx.Exec(b.ctx, "select from smpp_deliveries where message_id = any($1) for update", ids(held, late)); err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(b.ctx, "select from messages where id = $1 for update", busy.ID); err != nil {
		t.Fatal(err)
	}
	if got := b.claimed(credential, 1); !slices.Equal(got, ids(free)) {
		t.Errorf("%v, want %v", got, free.ID)
	}
	if n := b.count("select count(*) from smpp_deliveries where state = 'expired'"); n != 0 {
		t.Errorf("%d ended under another's eyes", n)
	}
	if err := tx.Rollback(b.ctx); err != nil {
		t.Fatal(err)
	}
	if got := b.claimed(credential, 10); !slices.Equal(got, ids(held)) {
		t.Errorf("%v, want %v", got, held.ID)
	}
	if n := b.count("select count(*) from smpp_deliveries where state = 'expired'"); n != 2 {
		t.Errorf("%d ended", n)
	}
}

// A receipt waits for the notice of the same message, for as long as that may
// still go.
func TestClaimNoticeFirst(t *testing.T) {
	t.Parallel()
	b := setup(t)
	credential := b.esme(b.owner, "acme")
	told := func() *message.Message {
		m := b.taken(b.submitted(credential, 0x11))
		b.becomes(m, message.StatusSent)
		b.becomes(m, message.StatusUnconfirmed)
		b.becomes(m, message.StatusDelivered)
		return m
	}
	one, two := told(), told()
	next := func(want ...string) []message.SMPPDelivery {
		t.Helper()
		list := b.claim(b.DB, "a", map[message.ID]int{credential: 10})
		var got []string
		for _, d := range list {
			name := "one"
			if d.Message.ID == two.ID {
				name = "two"
			}
			got = append(got, fmt.Sprintf("%s %s %s", name, d.Kind, d.Status))
		}
		if !slices.Equal(got, want) {
			t.Errorf("claimed %v, want %v", got, want)
		}
		return list
	}
	first := next("one notice sent", "two notice sent")
	next() // both are on their way
	b.record(message.SMPPDelivered{ID: first[0].ID, MessageID: one.ID, Kind: message.DeliverNotice, Number: 1, State: message.NotificationPending, Again: time.Hour},
		message.SMPPDelivered{ID: first[1].ID, MessageID: two.ID, Kind: message.DeliverNotice, Number: 1, State: message.NotificationDelivered})
	next("two receipt unconfirmed")
	b.exec("update smpp_deliveries set expires_at = now() where id = $1", first[0].ID)
	next("one receipt unconfirmed") // its notice has just ended
	b.exec("update smpp_deliveries set claimed_until = null, state = 'failed', done_at = now() where status = 'unconfirmed'")
	next("one receipt delivered", "two receipt delivered")
}

// What nobody took in its time ends, for everybody and with a line in the
// timeline; so many a call. What is on the wire is not ended under its feet.
func TestClaimExpires(t *testing.T) {
	t.Parallel()
	b := setup(t)
	credential := b.esme(b.owner, "acme")
	wire, due := b.owing(credential), b.taken(b.submitted(credential, 0x11))
	if got := b.claimed(credential, 1); !slices.Equal(got, ids(wire)) {
		t.Fatal(got)
	}
	b.becomes(due, message.StatusSent)
	b.becomes(due, message.StatusDelivered)
	b.exec("update smpp_deliveries set expires_at = now()")
	if list := b.claim(b.DB, "a", map[message.ID]int{credential: 10}); len(list) != 0 {
		t.Errorf("%d deliveries after their time", len(list))
	}
	want := []string{"map[attempts:0 kind:notice state:expired]", "map[attempts:0 kind:receipt state:expired]"}
	if got := b.attempts(due); !slices.Equal(got, want) {
		t.Errorf("timeline %v, want %v", got, want)
	}
	if n := b.count("select count(*) from smpp_deliveries where state = 'expired' and done_at is not null and claimed_until is null"); n != 2 {
		t.Errorf("%d rows ended", n)
	}
	if len(b.attempts(wire)) != 0 {
		t.Error("a delivery ended while it was on the wire")
	}
	b.exec("update smpp_deliveries set claimed_until = now() where state = 'pending'")
	b.claim(b.DB, "a", nil)
	if got := b.attempts(wire); !slices.Equal(got, want[1:]) {
		t.Errorf("timeline %v, want %v", got, want[1:])
	}
	b.claim(b.DB, "a", nil)
	if n := len(b.attempts(wire)); n != 1 {
		t.Errorf("it ended %d times", n)
	}

	b.exec("insert into smpp_deliveries (id, credential_id, account_id, message_id, kind, status, expires_at) select gen_random_uuid(), $1, $1, $2, 'receipt', n::text, now() from generate_series(1, 130) n",
		message.NewID(), due.ID)
	for _, want := range []int{100, 130, 130} {
		b.claim(b.DB, "a", nil)
		if n := b.count("select count(*) from smpp_deliveries where state = 'expired' and status ~ '^[0-9]'"); n != want {
			t.Errorf("%d have ended, want %d", n, want)
		}
	}
	b.timeline(due)
}

// A text that cannot be opened holds nobody else's up.
func TestClaimUnreadable(t *testing.T) {
	t.Parallel()
	b := setup(t)
	credential := b.esme(b.owner, "acme")
	good, bad, last := b.owing(credential), b.owing(credential), b.owing(credential)
	b.exec("update messages set body = (select body from messages where id = $1) where id = $2", good.ID, bad.ID)
	list, err := b.ClaimDeliveries(b.ctx, "a", map[message.ID]int{credential: 10}, lease)
	if got := pick(list, func(d message.SMPPDelivery) message.ID { return d.Message.ID }); !slices.Equal(got, ids(good, last)) {
		t.Errorf("claimed %v", got)
	}
	if err == nil || !strings.Contains(err.Error(), b.delivery(bad).String()) || strings.Contains(err.Error(), string(bad.To)) {
		t.Errorf("%v", err)
	}
	b.exec("update messages set body = null")
	b.exec("update smpp_deliveries set claimed_until = null")
	for _, d := range b.claim(b.DB, "a", map[message.ID]int{credential: 10}) {
		if !d.Message.Redacted {
			t.Errorf("%+v", d.Message)
		}
	}
}

func TestDelivered(t *testing.T) {
	t.Parallel()
	b := setup(t)
	credential := b.esme(b.owner, "acme")
	m, other, failed := b.owing(credential), b.owing(credential), b.owing(credential)
	b.claimed(credential, 10)
	state := func(m *message.Message) string {
		t.Helper()
		return scalar[string](b, `select concat_ws(' ', state, attempts, last_status, last_error, case when due_at > now() + interval '50 seconds' then 'later' else 'due' end,
			case when claimed_until is not null or claimed_by is not null then 'claimed' end, case when done_at is not null then 'done' end) from smpp_deliveries where message_id = $1`, m.ID)
	}
	check := func(m *message.Message, want string, lines ...string) {
		t.Helper()
		if got := state(m); got != want {
			t.Errorf("%q, want %q", got, want)
		}
		if got := b.attempts(m); !slices.Equal(got, lines) {
			t.Errorf("timeline\n%q, want\n%q", got, lines)
		}
	}
	throttled := b.try1(m, message.NotificationPending)
	throttled.Status, throttled.Again = 0x58, time.Minute
	refused := b.try1(failed, message.NotificationFailed)
	refused.Status = 0x65
	b.record(throttled, refused)
	line1, lineF := "map[attempt:1 command_status:RTHROTTLED kind:receipt state:pending]", "map[attempt:1 command_status:RX_P_APPN kind:receipt state:failed]"
	check(m, "pending 1 88  later", line1)
	check(failed, "failed 1 101  due done", lineF)
	check(other, "pending 0 0  due claimed")
	// The same once more, and a failure of the same number, count for nothing.
	again := throttled
	again.State, again.Status, again.Again = message.NotificationFailed, 8, 0
	b.record(throttled, refused)
	b.record(again)
	check(m, "pending 1 88  later", line1)
	check(failed, "failed 1 101  due done", lineF)
	silent := throttled
	silent.Number, silent.Status, silent.Error, silent.Again = 2, 0, "no answer\x00", 0
	b.record(silent)
	line2 := "map[attempt:2 error:no answer\ufffd kind:receipt state:pending]"
	check(m, "pending 2 0 no answer\ufffd due", line1, line2)
	if got := b.claimed(credential, 10); !slices.Equal(got, ids(m)) {
		t.Errorf("due again: %v", got)
	}
	// Delivered counts, whatever number it has and whatever was thought of it.
	taken := b.try1(m, message.NotificationDelivered)
	b.record(taken, b.try1(other, message.NotificationDelivered))
	line3 := "map[attempt:1 command_status:ROK kind:receipt state:delivered]"
	check(m, "delivered 2 0  due done", line1, line2, line3)
	check(other, "delivered 1 0  due done", line3)
	b.record(taken, silent, again)
	check(m, "delivered 2 0  due done", line1, line2, line3)
	after := b.try1(failed, message.NotificationDelivered)
	b.record(after)
	check(failed, "delivered 1 0  due done", lineF, line3)
	// Nothing of it makes anything due.
	b.record()
	b.record(message.SMPPDelivered{ID: message.NewID(), MessageID: message.NewID(), Number: 1, State: message.NotificationDelivered})
	if got := b.claimed(credential, 10); len(got) != 0 {
		t.Errorf("due: %v", got)
	}
}

// Tries of one message, and several of one delivery, share a call and keep their
// order.
func TestDeliveredTogether(t *testing.T) {
	t.Parallel()
	b := setup(t)
	credential := b.esme(b.owner, "acme")
	m := b.taken(b.submitted(credential, 0x11))
	b.becomes(m, message.StatusSent)
	b.becomes(m, message.StatusDelivered)
	rows := scalar[[]message.ID](b, "select array_agg(id order by created_at) from smpp_deliveries")
	try := func(row, number int, state message.NotificationState) message.SMPPDelivered {
		return message.SMPPDelivered{ID: rows[row], MessageID: m.ID, Kind: []message.DeliveryKind{message.DeliverNotice, message.DeliverReceipt}[row], Number: number, State: state}
	}
	all := []message.SMPPDelivered{try(0, 1, message.NotificationPending), try(0, 2, message.NotificationDelivered), try(1, 1, message.NotificationPending),
		try(1, 2, message.NotificationPending), try(1, 3, message.NotificationDelivered)}
	for range 2 {
		b.record(all...)
		var got []string
		for _, e := range b.timeline(m) {
			if e.Type == message.EventDeliverSM {
				got = append(got, fmt.Sprint(e.Detail["kind"], e.Detail["attempt"], e.Detail["state"]))
			}
		}
		want := []string{"notice 1 pending", "notice 2 delivered", "receipt 1 pending", "receipt 2 pending", "receipt 3 delivered"}
		if len(got) != len(want) {
			t.Fatalf("%q", got)
		}
		for i := range want {
			if strings.Join(strings.Fields(want[i]), "") != strings.ReplaceAll(got[i], " ", "") {
				t.Errorf("%q, want %q", got, want)
			}
		}
	}
	if n := b.count("select count(*) from smpp_deliveries where state = 'delivered'"); n != 2 {
		t.Errorf("%d delivered", n)
	}
}

// A batch of any size is recorded whole, each message in one statement with many
// others.
func TestDeliveredMany(t *testing.T) {
	t.Parallel()
	b := setup(t)
	credential := b.esme(b.owner, "acme")
	m := b.owing(credential)
	const n = 2*maxTries + 10
	b.exec(`insert into smpp_deliveries (id, credential_id, account_id, message_id, kind, status, expires_at)
		select gen_random_uuid(), $1, $1, $2, 'receipt', n::text, now() + interval '1 hour' from generate_series(2, $3::int) n`, credential, m.ID, n)
	var tries []message.SMPPDelivered
	for _, id := range scalar[[]message.ID](b, "select array_agg(id) from smpp_deliveries") {
		tries = append(tries, message.SMPPDelivered{ID: id, MessageID: m.ID, Kind: message.DeliverReceipt, Number: 1, State: message.NotificationDelivered})
	}
	b.record(tries...)
	if got := len(b.attempts(m)); got != n {
		t.Errorf("%d lines, want %d", got, n)
	}
	if got := b.count("select count(distinct xmin::text) from smpp_deliveries where state = 'delivered'"); got != 3 {
		t.Errorf("%d transactions", got)
	}
}

// Two processes tell of the same tries at once, in another order: one line each,
// and nobody's statement is lost to the other.
func TestDeliveredAtOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	credential := b.esme(b.owner, "acme")
	replicas := []*DB{b.DB, b.replica()}
	var all []*message.Message
	var tries []message.SMPPDelivered
	for range 20 {
		m := b.owing(credential)
		all, tries = append(all, m), append(tries, b.try1(m, message.NotificationDelivered))
	}
	var wg sync.WaitGroup
	for i, db := range replicas {
		own := slices.Clone(tries)
		if i == 1 {
			slices.Reverse(own)
		}
		for range 4 {
			wg.Go(func() {
				if err := db.Delivered(b.ctx, "a", own); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	for _, m := range all {
		if got := b.attempts(m); len(got) != 1 {
			t.Errorf("%d lines", len(got))
		}
	}
}

func TestDeliveredCommitFails(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m := b.owing(b.esme(b.owner, "acme"))
	b.failCommits("message_events")
	before := b.traces(m)
	err := b.Delivered(b.ctx, "a", []message.SMPPDelivered{b.try1(m, message.NotificationDelivered)})
	if err == nil || b.traces(m) != before || b.count("select count(*) from smpp_deliveries where state = 'pending' and attempts = 0") != 1 {
		t.Errorf("half of it is written: %v", err)
	}
}

func TestReleaseDeliveries(t *testing.T) {
	t.Parallel()
	b := setup(t)
	credential := b.esme(b.owner, "acme")
	one, two, done := b.owing(credential), b.owing(credential), b.owing(credential)
	b.claimed(credential, 10)
	b.record(b.try1(done, message.NotificationDelivered))
	if err := b.ReleaseDeliveries(b.ctx, "a", []message.ID{b.delivery(one), b.delivery(done), message.NewID()}); err != nil {
		t.Fatal(err)
	}
	if err := b.ReleaseDeliveries(b.ctx, "a", nil); err != nil {
		t.Fatal(err)
	}
	list := b.claim(b.replica(), "b", map[message.ID]int{credential: 10})
	if len(list) != 1 || list[0].Message.ID != one.ID || list[0].Attempts != 0 || len(b.attempts(one)) != 0 {
		t.Errorf("%+v", list)
	}
	if n := b.count("select count(*) from smpp_deliveries where message_id = $1 and claimed_by = 'a'", two.ID); n != 1 {
		t.Error("another claim was given back")
	}
}

// The names are those of internal/smpp, which lies as high as this package.
func TestAnswerNames(t *testing.T) {
	t.Parallel()
	for status, name := range answerNames {
		if want := smpp.Status(status).String(); name != want {
			t.Errorf("%#x is %s here and %s there", status, name, want)
		}
	}
	for _, status := range []uint32{0x400, 0xFFFFFFFF} {
		if got, want := answerName(status), smpp.Status(status).String(); got != want {
			t.Errorf("%#x is %s here and %s there", status, got, want)
		}
	}
	// A status of 32 bits is stored as it is.
	b := setup(t)
	m := b.owing(b.esme(b.owner, "acme"))
	try := b.try1(m, message.NotificationFailed)
	try.Status = 0xFFFFFFFF
	b.record(try)
	if got := scalar[int64](b, "select last_status from smpp_deliveries"); got != 0xFFFFFFFF {
		t.Errorf("stored %#x", got)
	}
}
