package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/activities"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/notification"
	"github.com/postrider/postrider/internal/snapshot"
)

// Ids of events are made twice: by the statement that writes a webhook, and by the feed.
func TestEventIDs(t *testing.T) {
	t.Parallel()
	b := setup(t)
	seen := map[message.ID]bool{}
	for i := range 50 {
		id, sequence := message.NewID(), []int{1, 2, 255, 1 << 20, 1<<31 - 1}[i%5]
		want := scalar[message.ID](b, "select event_id($1, $2)", id, sequence)
		got := message.EventID(id, sequence)
		if got != want {
			t.Fatalf("event %d of %s: %s in Go, %s in SQL", sequence, id, got, want)
		}
		if got.Version() != 7 || seen[got] || got == id || timeOf(got) != timeOf(id) {
			t.Errorf("event %d of %s: %s", sequence, id, got)
		}
		seen[got] = true
	}
}

// everything is the configuration of an account with an endpoint that wants all events.
func (b *bundle) everything() *snapshot.Snapshot {
	return &snapshot.Snapshot{Endpoints: map[message.ID][]snapshot.Endpoint{b.owner: {{ID: message.NewID(), AccountID: b.owner, URL: "https://shop.example/all", Format: "event"}}}}
}

// told is Accept as ingress does it.
func (b *bundle) told(s *snapshot.Snapshot, m *message.Message, owed bool) {
	b.tb.Helper()
	notes, err := notification.Of(s, m, false)
	if err != nil {
		b.tb.Fatal(err)
	}
	if _, err := b.Accept(b.ctx, message.Acceptance{Message: m, Notifications: notes, Owed: owed}); err != nil {
		b.tb.Fatal(err)
	}
}

// now is a transaction after all that have written what is committed.
func (b *bundle) now() uint64 {
	b.tb.Helper()
	return uint64(scalar[int64](b, "select pg_current_xact_id()::text::bigint"))
}

// feed reads on from a position to all that is committed. Transactions of other tests are
// transactions of the same server, and are waited for.
func (b *bundle) feed(q message.FeedQuery) (all []message.FeedEvent, at message.FeedPosition) {
	b.tb.Helper()
	for now := b.now(); ; {
		page, err := b.Feed(b.ctx, q)
		if err != nil {
			b.tb.Fatal(err)
		}
		all = append(all, page.Events...)
		if q.Behind = page.Next; !page.More && q.Behind.Transaction >= now {
			return all, q.Behind
		}
	}
}

func idOfEvent(e message.FeedEvent) message.ID { return e.ID }

// same compares the bodies of two events as JSON.
func same(t *testing.T, a, b string) bool {
	t.Helper()
	var x, y any
	if err := errors.Join(json.Unmarshal([]byte(a), &x), json.Unmarshal([]byte(b), &y)); err != nil {
		t.Fatalf("%v:\n%s\n%s", err, a, b)
	}
	return reflect.DeepEqual(x, y)
}

// What the feed says of many lives, read when they are over, is what the webhooks said
// while they were lived: the same events under the same ids with the same bodies.
func TestFeedSaysWhatWebhooksSaid(t *testing.T) {
	t.Parallel()
	b := setup(t)
	s := b.everything()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	kinds := map[string]int{}
	var kindsToSee []string
	for _, s := range message.Statuses() {
		if s.Told() {
			kindsToSee = append(kindsToSee, "message."+string(s))
		}
	}
	kindsToSee = append(kindsToSee, "opt_out.created")
	// Sixty lives, and as many more as it takes until each status was lived by one: one in
	// twenty is canceled.
	for lived := 0; lived < 60 || b.count("select count(distinct payload::json->>'type') from webhook_deliveries where account_id = $1 and payload::json->>'type' = any($2)", b.owner, kindsToSee) < len(kindsToSee); lived++ {
		if lived == 2000 {
			t.Fatal("some status is never lived")
		}
		b.live1(s, r)
	}
	events, _ := b.feed(message.FeedQuery{AccountID: b.owner, Limit: 7})
	webhooks := map[message.ID]string{}
	rows, err := b.pool.Query(b.ctx, "select event_id, payload from webhook_deliveries where account_id = $1", b.owner)
	if err != nil {
		t.Fatal(err)
	}
	var id message.ID
	var payload string
	if _, err := pgx.ForEachRow(rows, []any{&id, &payload}, func() error { webhooks[id] = payload; return nil }); err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		body, err := notification.Body(e)
		if err != nil {
			t.Fatal(err)
		}
		want, ok := webhooks[e.ID]
		switch {
		case !ok:
			t.Errorf("no webhook is about %s of the feed: %s", e.Type, body)
		case !same(t, body, want):
			t.Errorf("%s in the feed:\n%s\nby webhook:\n%s", e.Type, body, want)
		}
		kinds[e.Type]++
		delete(webhooks, e.ID)
	}
	for _, payload := range webhooks {
		t.Errorf("not in the feed, or twice: %s", payload)
	}
	for _, kind := range kindsToSee {
		if kinds[kind] == 0 {
			t.Errorf("the feed has no %s", kind)
		}
	}
}

// live1 is one message's life, as it happens to go.
func (b *bundle) live1(s *snapshot.Snapshot, r *rand.Rand) {
	b.tb.Helper()
	m := b.draft()
	m.Segments, m.Metadata = 1+r.IntN(3), map[string]string{"timestamp": "0", `"sequence":-1`: `"timestamp":0`}
	if r.IntN(4) == 0 {
		m.Kind = message.MMS
	}
	if r.IntN(4) == 0 {
		m.Price, m.ClientReference, m.Metadata = message.Price{}, "", nil
	}
	owed := r.IntN(8) == 0
	if owed { // its parts were answered before it was refused
		m.Status, m.Error = message.StatusRejected, message.Refuse(message.ReasonOptedOut, "said \"no\"")
		b.told(s, m, true)
		return
	}
	b.told(s, m, false)
	tell := func(c message.Change, late bool) {
		b.tb.Helper()
		is, err := b.Message(b.ctx, m.ID)
		if err != nil {
			b.tb.Fatal(err)
		}
		if c.Error != nil && r.IntN(3) == 0 {
			if c, err = activities.VendorBlock(c, s, is, "north", time.Now()); err != nil {
				b.tb.Fatal(err)
			}
			c.OptOut.Recipient = message.Address(fmt.Sprintf("+1310555%04d", r.IntN(10_000)))
		}
		if c.To.Final() && is.Price.Currency != "" {
			c.Price = &message.Price{Amount: is.Price.Amount * message.Micros(r.IntN(2)), Currency: is.Price.Currency}
		}
		told, err := activities.Tell(b.ctx, b.DB, s, *is, c, map[string]any{"n": r.IntN(9)}, late)
		if err != nil || !told.Changed {
			b.tb.Fatalf("%s to %s: %+v, %v", is.Status, c.To, told, err)
		}
	}
	failure := func() *message.Error {
		return message.Refuse(message.ReasonUnreachable, "the vendor reported %d", r.IntN(100))
	}
	receipt := func(stat string) *message.ReceiptSummary {
		return &message.ReceiptSummary{Stat: stat, Err: "000", At: time.Now().Add(-time.Duration(r.IntN(9_999_999)) * time.Microsecond)}
	}
	if r.IntN(6) == 0 {
		to := []message.Status{message.StatusCanceled, message.StatusExpired, message.StatusRejected}[r.IntN(3)]
		tell(message.Change{To: to, Error: failure()}, false)
		return
	}
	if r.IntN(3) == 0 { // revised before it left
		again := *m
		again.Body, again.Segments, again.Price.Amount = "other", m.Segments+1, m.Price.Amount*2
		if ok, err := b.Revise(b.ctx, message.Revision{Message: &again, Detail: map[string]any{}}); err != nil || !ok {
			b.tb.Fatal(ok, err)
		}
	}
	b.must(message.Change{MessageID: m.ID, To: message.StatusQueued, Events: line(message.StatusQueued), Vendor: b.vendor})
	sending := message.Change{MessageID: m.ID, To: message.StatusSending, Events: line(message.StatusSending)}
	b.must(sending)
	for range r.IntN(3) { // in doubt, and sent once more
		tell(message.Change{To: message.StatusInDoubt, Error: message.Refuse(message.ReasonSubmitInDoubt, "no answer")}, false)
		b.must(message.Change{MessageID: m.ID, To: message.StatusQueued, Events: line(message.StatusQueued)})
		sending.MaybeDoubled = true
		b.must(sending)
	}
	if r.IntN(6) == 0 {
		tell(message.Change{To: message.StatusFailed, Error: failure()}, false)
		return
	}
	tell(message.Change{To: message.StatusSent, Submitted: true}, false)
	late := r.IntN(3) == 0
	if late {
		tell(message.Change{To: message.StatusUnconfirmed, Error: message.Refuse(message.ReasonNoReceipt, "silence")}, false)
		if r.IntN(2) == 0 {
			return
		}
	}
	switch r.IntN(3) {
	case 0:
		tell(message.Change{To: message.StatusDelivered, Delivered: true, Receipt: receipt("DELIVRD")}, late)
	case 1:
		tell(message.Change{To: message.StatusUndelivered, Error: failure(), Receipt: receipt("UNDELIV")}, late)
	default:
		tell(message.Change{To: message.StatusExpired, Error: failure(), Receipt: receipt("EXPIRED")}, late)
	}
}

// Writers commit in any order, some of them long after others that began later; messages
// lie in several partitions. Who reads meanwhile gets each event once.
func TestFeedSkipsNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const writers, each = 6, 25
	var writing sync.WaitGroup
	var left atomic.Int32
	left.Store(writers)
	var mu sync.Mutex
	var want []message.ID
	fail := make(chan error, writers)
	for w := range writers {
		writing.Go(func() {
			defer left.Add(-1)
			for i := range each {
				id, err := b.writeSlowly(w*each + i)
				if err != nil {
					fail <- err
					return
				}
				mu.Lock()
				want = append(want, id...)
				mu.Unlock()
			}
		})
	}
	other := message.FeedQuery{AccountID: message.NewID(), Limit: 50}
	q := message.FeedQuery{AccountID: b.owner, Limit: 3}
	var got []message.ID
	for end := uint64(0); end == 0 || q.Behind.Transaction < end; {
		if end == 0 && left.Load() == 0 {
			end = b.now()
		}
		page, err := b.Feed(b.ctx, q)
		if err != nil {
			t.Fatal(err)
		}
		if len(page.Events) > q.Limit {
			t.Fatalf("%d events", len(page.Events))
		}
		got = append(got, pick(page.Events, idOfEvent)...)
		q.Behind = page.Next
	}
	writing.Wait()
	select {
	case err := <-fail:
		t.Fatal(err)
	default:
	}
	sort := func(list []message.ID) {
		slices.SortFunc(list, func(a, b message.ID) int { return slices.Compare(a[:], b[:]) })
	}
	sort(got)
	sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%d events were read, %d written", len(got), len(want))
	}
	if len(slices.Compact(got)) != len(want) {
		t.Error("an event was read twice")
	}
	if events, _ := b.feed(other); len(events) != 0 {
		t.Errorf("another account reads %d events", len(events))
	}
}

// writeSlowly writes an event in a transaction that stays open while others commit.
func (b *bundle) writeSlowly(n int) (ids []message.ID, err error) {
	if n%2 == 0 {
		m := b.draft()
		m.ID = agedID(m.ID, time.Duration(n%3)*partitionSpan)
		_, err := b.Accept(b.ctx, message.Acceptance{Message: m})
		return []message.ID{message.EventID(m.ID, 1)}, err
	}
	e := message.AccountEvent{ID: message.NewID(), AccountID: b.owner, Type: "opt_out.created", Payload: "{}"}
	err = pgx.BeginFunc(b.ctx, b.pool, func(tx pgx.Tx) error {
		if err := recordEvents(b.ctx, tx, e); err != nil {
			return err
		}
		_, err := tx.Exec(b.ctx, "select pg_sleep($1)", float64(n%7)/200)
		return err
	})
	return []message.ID{e.ID}, err
}

// agedID is an id as of so long ago.
func agedID(id message.ID, by time.Duration) message.ID {
	old := idAt(timeOf(id).Add(-by))
	copy(old[6:], id[6:])
	return old
}

// What was committed shows only when everything that lies before it has ended.
func TestFeedWaitsForThoseBefore(t *testing.T) {
	t.Parallel()
	b := setup(t)
	tx, err := b.pool.Begin(b.ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(b.ctx)) }()
	first := message.AccountEvent{ID: message.NewID(), AccountID: b.owner, Type: "opt_out.created", Payload: "{}"}
	if err := recordEvents(b.ctx, tx, first); err != nil {
		t.Fatal(err)
	}
	m := b.accepted(1)
	q := message.FeedQuery{AccountID: b.owner, Limit: 50}
	page, err := b.Feed(b.ctx, q)
	if err != nil {
		t.Fatal(err)
	}
	at := page.Next
	if len(page.Events) != 0 {
		t.Fatalf("%d events show although one before them may still come", len(page.Events))
	}
	grew := make(chan error, 1)
	go func() { grew <- b.FeedGrows(b.ctx, b.owner, at) }()
	if err := tx.Commit(b.ctx); err != nil {
		t.Fatal(err)
	}
	if err := <-grew; err != nil {
		t.Fatal(err)
	}
	q.Behind = at
	events, at := b.feed(q)
	if got := pick(events, idOfEvent); !slices.Equal(got, []message.ID{first.ID, message.EventID(m.ID, 1)}) {
		t.Errorf("%v", got)
	}
	ctx, cancel := context.WithCancel(b.ctx)
	cancel()
	if err := b.FeedGrows(ctx, b.owner, at); !errors.Is(err, context.Canceled) {
		t.Errorf("a client that has gone: %v", err)
	}
	if _, next := b.feed(message.FeedQuery{AccountID: b.owner, Behind: at, Limit: 1}); next.Transaction < at.Transaction {
		t.Error("the position went back")
	}
}

// A page of certain types goes on from where it has looked, whatever it has found.
func TestFeedTypes(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for range 5 {
		b.sent(message.NewID().String())
	}
	for _, c := range []struct {
		types []string
		want  int
	}{{nil, 10}, {[]string{"message.sent"}, 5}, {[]string{"message.sent", "message.accepted"}, 10}, {[]string{"message.failed"}, 0}} {
		for _, limit := range []int{1, 3, 200} {
			events, at := b.feed(message.FeedQuery{AccountID: b.owner, Types: c.types, Limit: limit})
			if len(events) != c.want || at == (message.FeedPosition{}) {
				t.Errorf("%v, %d at a time: %d events, at %+v", c.types, limit, len(events), at)
			}
		}
	}
}

// What is refused is not in the feed, and told of to nobody.
func TestFeedOfRefusals(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m := b.draft()
	m.Status, m.Error = message.StatusRejected, message.Refuse(message.ReasonOptedOut, "")
	b.store(m)
	if events, _ := b.feed(message.FeedQuery{AccountID: b.owner, Limit: 9}); len(events) != 0 {
		t.Errorf("%+v", events)
	}
}

// The feed begins where it began 30 days ago, and a cursor of before is refused.
func TestFeedKept(t *testing.T) {
	t.Parallel()
	b := setup(t)
	begin := message.FeedQuery{AccountID: b.owner, Limit: 1}
	b.accepted(1)
	b.accepted(1)
	_, at := b.feed(begin)
	b.exec("update feed_marks set at = at - interval '40 days'")
	b.exec("insert into feed_marks (at, xid) select now() - interval '31 days', pg_snapshot_xmax(pg_current_snapshot())")
	b.exec("insert into account_events (id, account_id, type, payload, at) values ($1, $2, 'opt_out.created', '{}', now() - interval '32 days')", message.NewID(), b.owner)
	round := b.upkeep()
	if round["account_events"] != 1 || round["feed_marks"] != 1 || b.count("select count(*) from account_events") != 0 || b.count("select count(*) from feed_marks") != 2 {
		t.Errorf("%v removed, %d marks left", round, b.count("select count(*) from feed_marks"))
	}
	begin.Behind = at
	if _, err := b.Feed(b.ctx, begin); message.ReasonOf(err) != message.ReasonInvalidRequest || !strings.Contains(err.Error(), "expired") {
		t.Errorf("a cursor of before: %v", err)
	}
	if events, _ := b.feed(message.FeedQuery{AccountID: b.owner, Limit: 9}); len(events) != 0 {
		t.Errorf("%d events of before", len(events))
	}
	begin.Behind = message.FeedPosition{Transaction: 1 << 62}
	if _, err := b.Feed(b.ctx, begin); message.ReasonOf(err) != message.ReasonInvalidRequest {
		t.Errorf("a cursor of another journal: %v", err)
	}
	b.accepted(1)
	if events, _ := b.feed(message.FeedQuery{AccountID: b.owner, Limit: 9}); len(events) != 1 {
		t.Errorf("%d events", len(events))
	}
}

// An inbound message is in the feed when it is decided where it goes, with what its number
// was called then; its text goes when it is gone.
func TestFeedOfReceived(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m := b.mo()
	r, err := b.Received(b.ctx, m.ID)
	if err != nil {
		t.Fatal(err)
	}
	p := b.to(m, 1, message.InboundWebhook)
	number := &snapshot.Number{Tag: "support", Group: "west"}
	n, err := notification.OfReceived(p.Notifications[0], r, number, "event")
	if err != nil {
		t.Fatal(err)
	}
	p.Notifications = []message.Notification{n}
	if _, err := b.PlanInbound(b.ctx, m.ID, []message.InboundPlanned{p}, message.SaidOfNumber(number.Tag, number.Group)); err != nil {
		t.Fatal(err)
	}
	read := func() string {
		t.Helper()
		events, _ := b.feed(message.FeedQuery{AccountID: m.AccountID, Types: []string{"message.received"}, Limit: 9})
		if len(events) != 1 || events[0].ID != m.ID {
			t.Fatalf("%+v", events)
		}
		body, err := notification.Body(events[0])
		if err != nil {
			t.Fatal(err)
		}
		return body
	}
	want := scalar[string](b, "select payload from webhook_deliveries where message_id = $1", m.ID)
	if got := read(); !same(t, got, want) || !strings.Contains(got, `"tag":"support"`) || strings.Contains(got, message.TimestampPlaceholder) {
		t.Errorf("in the feed:\n%s\nby webhook:\n%s", got, want)
	}
	b.exec("update messages set body = null where id = $1", m.ID)
	if got := read(); !strings.Contains(got, `"body":null`) {
		t.Error(got)
	}
}
