package postgres

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// Every pair of statuses: what CanBecome allows is written with all that belongs
// to it, what it does not allow leaves no trace.
func TestAdvanceTransitions(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, from := range message.Statuses() {
		for _, to := range message.Statuses() {
			m := b.accepted(1)
			b.exec("update messages set status = $2 where id = $1", m.ID, string(from))
			b.exec("insert into settlements_due (message_id) values ($1)", m.ID)
			before := b.traces(m)
			adv, err := b.Advance(b.ctx, message.Change{MessageID: m.ID, To: to, Events: append(line(message.StatusQueued), line(to)...), Vendor: b.vendor,
				Error: message.Refuse(message.ReasonFiltered, "spam"), VendorCode: "x", Price: &message.Price{Amount: 1}, MaybeDoubled: true, Submitted: true,
				Delivered: true, Receipt: &message.ReceiptSummary{Stat: "UNDELIV", Err: "1", At: m.CreatedAt},
				Attempts:      []message.Attempt{{Part: 1, Number: 1, Vendor: b.vendor, Instance: "a"}},
				Notifications: []message.Notification{b.notification(m, "message.x")}, Settled: true, Started: true})
			if err != nil {
				t.Fatalf("%s to %s: %v", from, to, err)
			}
			if adv.Changed != from.CanBecome(to) || !adv.Changed && adv.Was != from {
				t.Errorf("%s to %s: %+v", from, to, adv)
			}
			after := b.traces(m)
			switch {
			case !from.CanBecome(to) && (before != after || adv.Sequence != 1):
				t.Errorf("%s to %s is not legal, but wrote\n%s\nover\n%s", from, to, after, before)
			case from.CanBecome(to) && (before == after || adv.Sequence != 3):
				t.Errorf("%s to %s is legal, but wrote nothing: %+v", from, to, adv)
			}
		}
	}
}

// A change that passes through another status may be made before it only: not in
// it, and not on the way back.
func TestAdvanceVia(t *testing.T) {
	t.Parallel()
	b := setup(t)
	may := map[message.Status]bool{message.StatusAccepted: true, message.StatusScheduled: true}
	for _, from := range message.Statuses() {
		m := b.accepted(1)
		b.exec("update messages set status = $2 where id = $1", m.ID, string(from))
		before := b.traces(m)
		adv, err := b.Advance(b.ctx, message.Change{MessageID: m.ID, Via: message.StatusQueued, To: message.StatusSending,
			Events: append(line(message.StatusQueued), line(message.StatusSending)...)})
		if err != nil || adv.Changed != may[from] || !adv.Changed && (adv.Was != from || b.traces(m) != before) {
			t.Errorf("from %s: %+v, %v", from, adv, err)
		}
	}
}

// traces are all rows about a message, in one text.
func (b *bundle) traces(m *message.Message) string {
	b.tb.Helper()
	return scalar[string](b, `select concat_ws(E'\n',
  (select to_jsonb(m) from messages m where id = $1),
  (select jsonb_agg(e order by sequence) from message_events e where message_id = $1),
  (select jsonb_agg(s order by part, attempt) from segments s where message_id = $1),
  (select jsonb_agg(w) from webhook_deliveries w where message_id = $1),
  (select jsonb_agg(d) from webhooks_due d join webhook_deliveries w on w.id = d.delivery_id where message_id = $1),
  (select jsonb_agg(s) from starts s where message_id = $1),
  (select jsonb_agg(d) from settlements_due d where message_id = $1))`, m.ID)
}

func TestAdvanceWrites(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m := b.accepted(2)
	b.exec("insert into settlements_due (message_id) values ($1)", m.ID)

	note := b.notification(m, "message.queued")
	adv := b.must(message.Change{MessageID: m.ID, To: message.StatusQueued, Vendor: b.vendor, Notifications: []message.Notification{note},
		Events: []message.Event{{Type: message.EventAdmitted, Detail: map[string]any{"trail": []message.TrailEntry{{Rule: "route", Result: message.Pass}}}},
			{Type: message.StatusEvent(message.StatusQueued)}}})
	if !adv.Changed || adv.Sequence != 3 {
		t.Errorf("%+v", adv)
	}
	events := b.timeline(m)
	if len(events) != 3 || events[1].Type != message.EventAdmitted || events[2].Type != "queued" || events[2].Detail != nil {
		t.Errorf("timeline: %+v", events)
	}
	stored, state, err := b.Notification(b.ctx, note.ID)
	if err != nil || state != message.NotificationPending {
		t.Fatal(state, err)
	}
	note.EventID = message.EventID(m.ID, 3)
	note.Payload = strings.Replace(note.Payload, message.SequencePlaceholder, `"sequence":3`, 1)
	if fmt.Sprint(stored) != fmt.Sprint(note) {
		t.Errorf("stored %+v, want %+v", stored, note)
	}
	if due := b.count("select count(*) from webhooks_due where delivery_id = $1 and due_at between now() + interval '50 seconds' and now() + interval '60 seconds'", note.ID); due != 1 {
		t.Error("the notification is not due in a minute")
	}
	if b.count("select count(*) from starts") != 1 || b.count("select count(*) from settlements_due") != 1 {
		t.Error("work tables were cleared without being told to")
	}

	price := message.Price{Amount: 9000, Currency: "USD"}
	b.must(message.Change{MessageID: m.ID, To: message.StatusSending, Started: true, Settled: true, Submitted: true, MaybeDoubled: true, Price: &price,
		Receipt: &message.ReceiptSummary{Stat: "ENROUTE", Err: "000", At: m.CreatedAt}, Error: message.Refuse(message.ReasonVendorThrottled, "slow"), VendorCode: "58"})
	if b.count("select count(*) from starts") != 0 || b.count("select count(*) from settlements_due") != 0 {
		t.Error("work tables were not cleared")
	}
	got, err := b.Message(b.ctx, m.ID)
	if err != nil {
		t.Fatal(err)
	}
	if got.Price != price || got.Vendor != "north" || got.VendorID != b.vendor.ID || got.SubmittedAt.IsZero() || !got.DuplicatePoss ||
		got.Receipt.Stat != "ENROUTE" || !got.Receipt.At.Equal(m.CreatedAt) || got.Error.Reason != message.ReasonVendorThrottled {
		t.Errorf("%+v", got)
	}
	// What a later change does not name stays as it is.
	submitted := got.SubmittedAt
	b.must(message.Change{MessageID: m.ID, Submitted: true, Events: []message.Event{{Type: message.EventStaffAction}}})
	if got, _ = b.Message(b.ctx, m.ID); !got.SubmittedAt.Equal(submitted) || got.Vendor != "north" || got.Price != price || !got.DuplicatePoss || got.Error == nil {
		t.Errorf("an unrelated change altered the record: %+v", got)
	}
	// Delivery clears what went wrong on the way.
	b.must(message.Change{MessageID: m.ID, To: message.StatusDelivered, Delivered: true})
	if got, _ = b.Message(b.ctx, m.ID); got.Error != nil || got.DeliveredAt.IsZero() || b.count("select count(*) from messages where vendor_code <> ''") != 0 {
		t.Errorf("delivered with %v", got.Error)
	}
}

// A change that comes twice does nothing the second time.
func TestAdvanceTwice(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m := b.sending(2)
	doubt := message.Change{MessageID: m.ID, Events: []message.Event{{Type: message.EventSubmitUnknown}},
		Answers: []message.Answer{{Part: 1, Attempt: 1, State: message.PartInDoubt, Reason: message.ReasonSubmitInDoubt}}}
	b.must(doubt)
	sent := b.answered(m, "a1", "a2")
	sent.Notifications = []message.Notification{b.notification(m, "message.sent")}
	for _, c := range []message.Change{doubt, sent} {
		if c.To != "" {
			b.must(c)
		}
		before := b.traces(m)
		adv, err := b.Advance(b.ctx, c)
		if err != nil || adv.Changed {
			t.Errorf("%q again: %+v, %v", c.To, adv, err)
		}
		if after := b.traces(m); after != before {
			t.Errorf("%q again wrote\n%s\nover\n%s", c.To, after, before)
		}
	}
	if p := b.parts(m); p[0].State != message.PartSubmitted || p[0].VendorMessageID != "a1" || p[1].VendorMessageID != "a2" {
		t.Errorf("parts: %+v", p)
	}
}

func TestAdvanceUnknown(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := message.NewID()
	for _, to := range append(message.Statuses(), "") {
		_, err := b.Advance(b.ctx, message.Change{MessageID: id, To: to, Events: line(to), Notifications: []message.Notification{b.notification(&message.Message{ID: id}, "x")}})
		if message.ReasonOf(err) != message.ReasonNotFound {
			t.Errorf("advance to %q: %v", to, err)
		}
	}
	if n := b.count("select (select count(*) from message_events) + (select count(*) from webhook_deliveries) + (select count(*) from webhooks_due)"); n != 0 {
		t.Errorf("%d rows about a message that does not exist", n)
	}
	for what, err := range map[string]error{
		"Message":        second(b.Message(b.ctx, id)),
		"AccountMessage": second(b.AccountMessage(b.ctx, b.owner, id)),
		"Progress":       second(b.Progress(b.ctx, id)),
	} {
		if message.ReasonOf(err) != message.ReasonNotFound {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, _, err := b.Notification(b.ctx, id); message.ReasonOf(err) != message.ReasonNotFound {
		t.Errorf("Notification: %v", err)
	}
	if _, _, _, err := b.DecidingReceipt(b.ctx, id); message.ReasonOf(err) != message.ReasonNotFound {
		t.Errorf("DecidingReceipt: %v", err)
	}
}

func second[T any](_ T, err error) error { return err }

func TestParts(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m := b.sending(3)
	south := message.VendorRef{ID: message.NewID(), Name: "south"}
	b.must(message.Change{MessageID: m.ID, To: message.StatusQueued, VendorCode: "58", Answers: []message.Answer{
		{Part: 1, Attempt: 1, State: message.PartSubmitted, VendorMessageID: "00A1", NormalizedID: "a1"},
		{Part: 2, Attempt: 1, State: message.PartRefused, VendorCode: "58", Reason: message.ReasonVendorThrottled},
	}})
	b.must(message.Change{MessageID: m.ID, To: message.StatusSending, Vendor: south,
		Attempts: []message.Attempt{{Part: 2, Number: 2, Vendor: south, Instance: "two"}}})
	p := b.parts(m)
	if p[0].State != message.PartSubmitted || p[0].VendorMessageID != "00A1" || p[0].Vendor != "north" || p[0].SentAt.IsZero() {
		t.Errorf("part 1: %+v", p[0])
	}
	if p[1].Attempt != 2 || p[1].State != message.PartSending || p[1].Vendor != "south" || p[1].VendorCode != "" || p[1].Reason != "" {
		t.Errorf("part 2 does not show its newest attempt: %+v", p[1])
	}
	if p[2].Attempt != 1 || p[2].State != message.PartSending {
		t.Errorf("part 3: %+v", p[2])
	}
	if q := b.parts(b.accepted(2)); len(q) != 2 || q[1].Number != 2 || q[1].Attempt != 0 || q[1].State != "" {
		t.Errorf("parts never tried: %+v", q)
	}
}

// An attempt that is journalled already is nobody's to send, whichever process has
// journalled it: the run that did may have sent it.
func TestAttemptOfAnother(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m := b.sending(1)
	before := b.traces(m)
	for _, instance := range []string{"one", "two"} {
		again := message.Change{MessageID: m.ID, Events: line(message.StatusSending),
			Attempts: []message.Attempt{{Part: 1, Number: 1, Vendor: b.vendor, Instance: instance}}}
		if adv, err := b.replica().Advance(b.ctx, again); err == nil {
			t.Errorf("two runs have the same attempt: %+v", adv)
		}
	}
	if after := b.traces(m); after != before {
		t.Errorf("the refused attempt wrote\n%s\nover\n%s", after, before)
	}
}

// A run that was held up behind its first look comes to journal what another run of
// the same process has tried meanwhile. One part has left, the message is queued again:
// nothing of it may go a second time.
func TestAttemptOfARunHeldUp(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m := b.sending(2)
	b.must(message.Change{MessageID: m.ID, To: message.StatusQueued, Answers: []message.Answer{
		{Part: 1, Attempt: 1, State: message.PartSubmitted, VendorMessageID: "1", NormalizedID: "1"},
		{Part: 2, Attempt: 1, State: message.PartRefused, Reason: message.ReasonVendorThrottled},
	}})
	c := message.Change{MessageID: m.ID, To: message.StatusSending}
	for p := range 2 {
		c.Attempts = append(c.Attempts, message.Attempt{Part: p + 1, Number: 1, Vendor: b.vendor, Instance: "one"})
	}
	if adv, err := b.Advance(b.ctx, c); err == nil && adv.Changed {
		t.Errorf("it may send what was sent: %+v", adv)
	}
	if is, err := b.Message(b.ctx, m.ID); err != nil || is.Status != message.StatusQueued {
		t.Errorf("%s, %v", is.Status, err)
	}
}

// A race for the same attempts: one process may send, the other may not.
func TestAttemptRace(t *testing.T) {
	t.Parallel()
	b := setup(t)
	replicas := []*DB{b.DB, b.replica()}
	for range 30 {
		m := b.accepted(2)
		b.must(message.Change{MessageID: m.ID, To: message.StatusQueued, Started: true})
		b.must(message.Change{MessageID: m.ID, To: message.StatusSending})
		may := make([]bool, len(replicas))
		var wg sync.WaitGroup
		for i, db := range replicas {
			wg.Go(func() {
				c := message.Change{MessageID: m.ID}
				for p := range 2 {
					c.Attempts = append(c.Attempts, message.Attempt{Part: p + 1, Number: 1, Vendor: b.vendor, Instance: fmt.Sprint(i)})
				}
				adv, err := db.Advance(b.ctx, c)
				may[i] = err == nil && adv.Changed
			})
		}
		wg.Wait()
		if may[0] == may[1] {
			t.Fatalf("both or none may send: %v", may)
		}
	}
}

// The timeline has no gaps and no doubles, however many write to it.
func TestSequenceConcurrent(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m := b.accepted(1)
	replicas := []*DB{b.DB, b.replica()}
	const writers, each = 20, 5
	var wg sync.WaitGroup
	var mu sync.Mutex
	seen := map[int]bool{}
	for i := range writers {
		wg.Go(func() {
			for range each {
				note := b.notification(m, "message.x")
				adv, err := replicas[i%2].Advance(b.ctx, message.Change{MessageID: m.ID, Notifications: []message.Notification{note},
					Events: []message.Event{{Type: message.EventRead}, {Type: message.EventRead}}})
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				if seen[adv.Sequence] {
					t.Errorf("number %d was given twice", adv.Sequence)
				}
				seen[adv.Sequence] = true
				mu.Unlock()
				n, _, err := b.Notification(b.ctx, note.ID)
				if err != nil || !strings.Contains(n.Payload, fmt.Sprintf(`"sequence":%d}`, adv.Sequence)) {
					t.Errorf("payload %s for number %d, %v", n.Payload, adv.Sequence, err)
				}
			}
		})
	}
	wg.Wait()
	if events := b.timeline(m); len(events) != 1+2*writers*each {
		t.Errorf("%d events", len(events))
	}
}

// Who loses a race is told what the winner made of the message, not what it was
// before.
func TestAdvanceLosesRace(t *testing.T) {
	t.Parallel()
	b := setup(t)
	replicas := []*DB{b.DB, b.replica()}
	for range 40 {
		m := b.accepted(1)
		b.must(message.Change{MessageID: m.ID, To: message.StatusQueued})
		var wg sync.WaitGroup
		got := make([]message.Advanced, 2)
		to := []message.Status{message.StatusCanceled, message.StatusExpired}
		for i, db := range replicas {
			wg.Go(func() {
				var err error
				if got[i], err = db.Advance(b.ctx, message.Change{MessageID: m.ID, To: to[i], Events: line(to[i])}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if got[0].Changed == got[1].Changed {
			t.Fatalf("both or none made the change: %+v", got)
		}
		for i := range got {
			if !got[i].Changed && got[i].Was != to[1-i] {
				t.Fatalf("the loser was told %q, the record says %q", got[i].Was, to[1-i])
			}
		}
		b.timeline(m)
	}
}

// A statement that fails takes no other of its group with it.
func TestGroupPoison(t *testing.T) {
	t.Parallel()
	b := setup(t)
	good, bad, last := b.accepted(1), b.accepted(1), b.accepted(1)
	first := b.accepted(1)
	release := b.hold("messages")
	results := map[message.ID]chan error{}
	advance := func(c message.Change) {
		done := make(chan error, 1)
		results[c.MessageID] = done
		go func() {
			_, err := b.Advance(b.ctx, c)
			done <- err
		}()
	}
	advance(message.Change{MessageID: first.ID, To: message.StatusQueued})
	b.blocked() // by the group before the one that matters
	for _, c := range []message.Change{
		{MessageID: good.ID, To: message.StatusQueued, Events: line(message.StatusQueued)},
		{MessageID: bad.ID, To: message.StatusQueued, Events: line(message.StatusQueued), Vendor: message.VendorRef{ID: message.NewID(), Name: "a\x00b"}},
		{MessageID: last.ID, To: message.StatusQueued, Events: line(message.StatusQueued)},
	} {
		advance(c)
	}
	b.until("three wait", func() bool { return len(b.groups.lanes[0]) == 3 })
	release()
	for id, done := range results {
		if err := <-done; (err != nil) != (id == bad.ID) {
			t.Errorf("%s: %v", id, err)
		}
	}
	for _, m := range []*message.Message{good, bad, last} {
		want := 2
		if m == bad {
			want = 1
		}
		if n := len(b.timeline(m)); n != want {
			t.Errorf("%d events, want %d", n, want)
		}
	}
}

// The caller is told "done" only after the commit.
func TestAdvanceCommitFails(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m, other := b.accepted(1), b.accepted(1)
	b.failCommits("segments")
	before := b.traces(m)
	_, err := b.Advance(b.ctx, message.Change{MessageID: m.ID, To: message.StatusQueued, Events: line(message.StatusQueued),
		Attempts: []message.Attempt{{Part: 1, Number: 1, Vendor: b.vendor, Instance: "a"}}})
	if err == nil || !strings.Contains(err.Error(), "not at commit") {
		t.Errorf("done although the commit failed: %v", err)
	}
	if after := b.traces(m); after != before {
		t.Errorf("wrote\n%s\nover\n%s", after, before)
	}
	b.must(message.Change{MessageID: other.ID, To: message.StatusQueued, Events: line(message.StatusQueued)})
}

// What vendors write is stored, whatever octets are in it.
func TestStorable(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m := b.sending(1)
	const odd = "a\x00b\xffc"
	b.must(message.Change{MessageID: m.ID, To: message.StatusSent, VendorCode: odd, Error: message.Refuse(message.ReasonVendorRejected, "it said %s", odd),
		Events:  []message.Event{{Type: "sent", Detail: map[string]any{"said": odd, `back\u0000slash`: `\u0000` + "\x00"}}},
		Receipt: &message.ReceiptSummary{Stat: odd, Err: odd},
		Answers: []message.Answer{{Part: 1, Attempt: 1, State: message.PartSubmitted, VendorMessageID: odd, NormalizedID: odd, VendorCode: odd}}})
	const clean = "a\ufffdb\ufffdc"
	if p := b.parts(m); p[0].VendorMessageID != clean {
		t.Errorf("stored %q", p[0].VendorMessageID)
	}
	if e := b.timeline(m); e[len(e)-1].Detail["said"] != clean || e[len(e)-1].Detail[`back\u0000slash`] != `\u0000`+"\ufffd" {
		t.Errorf("stored %q", e[len(e)-1].Detail)
	}
	r := b.receipt("x", message.ReceiptDelivered)
	r.VendorMessageID, r.Err, r.Raw, r.Source, r.Destination = odd, odd, odd, odd, odd
	if got := b.received(r); !got.Applied || got.MessageID != m.ID {
		t.Errorf("the receipt does not match: %+v", got)
	}
}

// A page of the table keeps a message's updates to itself: no index is touched
// after acceptance, and of its parts only when the vendor's id comes.
func TestUpdatesStayHOT(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m := b.sent("h1", "h2")
	b.received(b.receipt("h1", message.ReceiptEnroute))
	b.received(b.receipt("h1", message.ReceiptDelivered))
	b.received(b.receipt("h2", message.ReceiptDelivered))
	b.must(message.Change{MessageID: m.ID, To: message.StatusDelivered, Delivered: true, Settled: true, Started: true})
	b.Close() // statistics are reported when a session ends
	b.DB = b.replica()
	for table, c := range map[string]struct{ updates, moved int }{
		"messages": {3 + 3 + 1, 0}, // queued, sending, sent, the receipts, delivered
		"segments": {2 + 3, 2},     // the answers, the receipts
	} {
		b.until("the statistics are in", func() bool {
			return b.count("select sum(n_tup_upd)::int from pg_stat_user_tables where relid in (select inhrelid from pg_inherits where inhparent = $1::text::regclass union all select $1::text::regclass)", table) >= c.updates
		})
		if moved := b.count("select sum(n_tup_upd - n_tup_hot_upd)::int from pg_stat_user_tables where relid in (select inhrelid from pg_inherits where inhparent = $1::text::regclass union all select $1::text::regclass)", table); moved != c.moved {
			t.Errorf("%s: %d of %d updates touched an index, want %d", table, moved, c.updates, c.moved)
		}
	}
}

func TestEventsPage(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m := b.accepted(1)
	for range 4 {
		b.must(message.Change{MessageID: m.ID, Events: []message.Event{{Type: message.EventRead, Detail: map[string]any{"n": 1.5, "s": "<&>"}}}})
	}
	page, err := b.Events(b.ctx, m.ID, 2, 2)
	if err != nil || len(page) != 2 || page[0].Sequence != 3 || page[1].Sequence != 4 || page[0].MessageID != m.ID {
		t.Errorf("%+v, %v", page, err)
	}
	if page[0].Detail["n"] != 1.5 || page[0].Detail["s"] != "<&>" || page[0].At.After(time.Now().Add(time.Minute)) {
		t.Errorf("%+v", page[0])
	}
}
