package postgres

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// redrive stores a re-drive of the messages of an account.
func (b *bundle) redrive(change func(*message.Redrive)) *message.Redrive {
	b.tb.Helper()
	r := &message.Redrive{ID: message.NewID(), By: actor, Reason: "north was down", Action: message.RedriveRetry, Filter: message.Filter{AccountID: b.owner, CreatedBefore: time.Now()},
		Limit: 1000, PerSecond: 50, CreatedAt: time.Now().UTC().Truncate(time.Millisecond)}
	if change != nil {
		change(r)
	}
	if _, err := b.CreateRedrive(b.ctx, r, nil); err != nil {
		b.tb.Fatal(err)
	}
	return r
}

// finds is a page with messages, each of which is to be done.
func finds(r *message.Redrive, from message.ID, list ...*message.Message) message.RedrivePage {
	p := message.RedrivePage{From: from, Next: list[len(list)-1].ID, Messages: list}
	for _, m := range list {
		i := message.RedriveItem{MessageID: m.ID, State: message.ItemClaimed, Try: 1}
		if r.Action == message.RedriveRetry {
			i.NewMessageID = message.NewID()
		}
		p.Items = append(p.Items, i)
	}
	return p
}

func (b *bundle) took(r *message.Redrive, p message.RedrivePage) *message.Redrive {
	b.tb.Helper()
	out, taken, err := b.TakeRedrive(b.ctx, r.ID, p)
	if err != nil || !taken {
		b.tb.Fatalf("%v, %v", taken, err)
	}
	return out
}

func (b *bundle) again(r *message.Redrive) []message.RedriveItem {
	b.tb.Helper()
	_, items, err := b.ClaimRedrive(b.ctx, r.ID, 100)
	if err != nil {
		b.tb.Fatal(err)
	}
	return items
}

func (b *bundle) recordItems(r *message.Redrive, items ...message.RedriveItem) *message.Redrive {
	b.tb.Helper()
	out, err := b.RecordRedrive(b.ctx, r.ID, items)
	if err != nil {
		b.tb.Fatal(err)
	}
	return out
}

func ends(i message.RedriveItem, state message.RedriveItemState) message.RedriveItem {
	if i.State = state; state == message.ItemPassed || state == message.ItemRefused {
		i.Error = message.Refuse(message.ReasonOptedOut, "no")
	}
	return i
}

// sentAgain stores the message that a retry makes.
func (b *bundle) sentAgain(i message.RedriveItem, status message.Status) {
	b.tb.Helper()
	m := b.draft()
	m.ID, m.RetryOf = i.NewMessageID, i.MessageID
	if m.Status = status; status == message.StatusRejected {
		m.Error = message.Refuse(message.ReasonOptedOut, "they said stop")
	}
	b.store(m)
}

// older makes what was given out older.
func (b *bundle) older(d time.Duration) {
	b.exec("update redrive_items set claimed_at = claimed_at - $1::interval", d)
}

// A life from the first message to the last, with each thing that can become of one.
func TestRedriveLife(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var all []*message.Message
	for range 6 {
		all = append(all, b.accepted(1))
	}
	slices.Reverse(all)
	r := b.redrive(nil)
	if n := b.count("select count(*) from audit_log where action = 'redrive.create' and target = $1", r.ID.String()); n != 1 {
		t.Errorf("%d lines in the audit log", n)
	}
	due, err := b.BatchesToTell(b.ctx, -time.Minute, 10)
	if err != nil || len(due) != 1 || !due[0].Redrive || due[0].BatchID != r.ID || due[0].Total != 1000 {
		t.Fatalf("%+v, %v", due, err)
	}
	if tell, ok, err := b.BatchToTell(b.ctx, r.ID); err != nil || !ok || !tell.Redrive {
		t.Errorf("%+v, %v, %v", tell, ok, err)
	}
	if err := b.BatchTold(b.ctx, r.ID, due[0].Asked); err != nil {
		t.Fatal(err)
	}
	page := finds(r, message.ID{}, all[:4]...)
	page.Items[3] = ends(message.RedriveItem{MessageID: all[3].ID}, message.ItemPassed)
	if got := b.took(r, page); got.Looked != 4 || got.Passed != 1 || got.Open() != 3 || got.Tally.Passed["no"] != 1 || got.Tally.Statuses[message.StatusAccepted] != 4 || got.Tally.Accounts[b.owner.String()] != 4 {
		t.Fatalf("%+v", got)
	}
	if _, taken, err := b.TakeRedrive(b.ctx, r.ID, page); taken || err != nil {
		t.Errorf("a page was taken twice: %v, %v", taken, err)
	}
	// Two tries of one: the same id.
	first := b.again(r)
	if len(first) != 3 || first[0].NewMessageID != page.Items[0].NewMessageID || first[0].Try != 2 {
		t.Fatalf("%+v", first)
	}
	b.sentAgain(first[0], message.StatusAccepted)
	b.sentAgain(first[1], message.StatusRejected)
	second := b.again(r)
	if len(second) != 1 || second[0].MessageID != all[2].ID || second[0].Try != 3 {
		t.Fatalf("what is there is not seen: %+v", second)
	}
	// A later try was refused while an earlier one may still come to something.
	for range 2 { // noted twice
		if got := b.recordItems(r, ends(second[0], message.ItemRefused)); got.Done != 1 || got.Refused != 1 || got.Open() != 1 {
			t.Fatalf("%+v", got)
		}
	}
	if again := b.again(r); len(again) != 0 {
		t.Errorf("it was tried though it was refused: %+v", again)
	}
	if got, err := b.EndRedrive(b.ctx, r.ID); err != nil || got.Status != message.RedriveRunning {
		t.Errorf("it ended with something open: %+v, %v", got, err)
	}
	b.older(idLasts + time.Second)
	b.again(r)
	if got, err := b.RedriveByID(b.ctx, r.ID); err != nil || got.Refused != 2 || got.Tally.Refused[message.ReasonOptedOut] != 2 || got.Open() != 0 {
		t.Errorf("%+v, %v", got, err)
	}
	// One whose tries all broke off gets another id, once they cannot come to anything.
	last := finds(r, page.Next, all[4:]...)
	last.Searched = true
	b.took(r, last)
	b.older(claimLasts + time.Second)
	if again := b.again(r); len(again) != 0 {
		t.Errorf("given out while nobody knows: %+v", again)
	}
	b.older(idLasts)
	fresh := b.again(r)
	if len(fresh) != 2 || fresh[0].NewMessageID == last.Items[0].NewMessageID || fresh[0].Try != 1 {
		t.Fatalf("%+v", fresh)
	}
	b.sentAgain(fresh[0], message.StatusAccepted)
	b.recordItems(r, ends(fresh[0], message.ItemDone), ends(fresh[1], message.ItemWaits))
	waited := b.again(r)
	if len(waited) != 1 || waited[0].NewMessageID == fresh[1].NewMessageID || waited[0].Try != 1 {
		t.Fatalf("%+v", waited)
	}
	b.sentAgain(waited[0], message.StatusAccepted)
	b.recordItems(r, ends(waited[0], message.ItemDone))
	for range 2 {
		if got, err := b.EndRedrive(b.ctx, r.ID); err != nil || got.Status != message.RedriveCompleted || got.Done != 3 || got.Passed != 1 || got.Refused != 2 || got.CompletedAt.IsZero() {
			t.Fatalf("%+v, %v", got, err)
		}
	}
	items, err := b.RedriveItems(b.ctx, r.ID, "", message.ID{}, 10)
	if err != nil || len(items) != 6 || items[0].MessageID != all[0].ID || items[3].Error.Detail != "no" || items[1].Error == nil {
		t.Errorf("%+v, %v", items, err)
	}
	if items, err = b.RedriveItems(b.ctx, r.ID, message.ItemDone, all[0].ID, 1); err != nil || len(items) != 1 || items[0].MessageID != all[4].ID {
		t.Errorf("%+v, %v", items, err)
	}
	if _, err := b.StopRedrive(b.ctx, actor, r.ID); message.ReasonOf(err) != message.ReasonConflict {
		t.Errorf("stopped after its end: %v", err)
	}
	if list, err := b.Redrives(b.ctx, message.ID{}, 10); err != nil || len(list) != 1 || list[0].Reason != "north was down" || list[0].Filter.AccountID != b.owner {
		t.Errorf("%+v, %v", list, err)
	}
	b.unviolated()
}

// Actions that make no message are tried again only when the try before is over.
func TestRedriveOtherActions(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m := b.accepted(1)
	r := b.redrive(func(r *message.Redrive) { r.Action = message.RedriveReroute; r.Vendor = b.vendor.ID })
	page := finds(r, message.ID{}, m)
	b.took(r, page)
	if again := b.again(r); len(again) != 0 {
		t.Errorf("%+v", again)
	}
	b.older(actLasts + time.Second)
	again := b.again(r)
	if len(again) != 1 || again[0].Try != 2 {
		t.Fatalf("%+v", again)
	}
	if more := b.again(r); len(more) != 0 {
		t.Errorf("given out twice: %+v", more)
	}
	b.recordItems(r, ends(page.Items[0], message.ItemRefused)) // that of the first try, which is out no more
	if got := b.recordItems(r, ends(again[0], message.ItemRefused)); got.Refused != 1 || got.Open() != 0 {
		t.Errorf("%+v", got)
	}
	b.unviolated()
}

func TestRedriveStops(t *testing.T) {
	t.Parallel()
	b := setup(t)
	one, two := b.accepted(1), b.accepted(1)
	r := b.redrive(nil)
	page := finds(r, message.ID{}, two)
	b.took(r, page)
	for range 2 {
		if got, err := b.StopRedrive(b.ctx, actor, r.ID); err != nil || got.Status != message.RedriveStopping {
			t.Fatalf("%+v, %v", got, err)
		}
	}
	if n := b.count("select count(*) from audit_log where action = 'redrive.stop'"); n != 1 {
		t.Errorf("%d lines in the audit log", n)
	}
	if _, taken, err := b.TakeRedrive(b.ctx, r.ID, finds(r, two.ID, one)); taken || err != nil {
		t.Errorf("it takes more on: %v, %v", taken, err)
	}
	if got, err := b.EndRedrive(b.ctx, r.ID); err != nil || got.Status != message.RedriveStopping {
		t.Errorf("%+v, %v", got, err)
	}
	b.sentAgain(page.Items[0], message.StatusAccepted)
	b.recordItems(r, ends(page.Items[0], message.ItemDone))
	if got, err := b.EndRedrive(b.ctx, r.ID); err != nil || got.Status != message.RedriveStopped {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := b.StopRedrive(b.ctx, actor, message.NewID()); message.ReasonOf(err) != message.ReasonNotFound {
		t.Error(err)
	}
	b.unviolated()
}

// A dry run leaves nothing but counts.
func TestRedriveDryRun(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m := b.accepted(1)
	r := b.redrive(func(r *message.Redrive) { r.DryRun = true })
	page := finds(r, message.ID{}, m)
	page.Items[0], page.Searched = ends(page.Items[0], message.ItemDone), true
	got := b.took(r, page)
	if got.Done != 1 || len(got.Tally.Sample) != 1 || got.Tally.Sample[0].MessageID != m.ID || b.count("select count(*) from redrive_items") != 0 {
		t.Errorf("%+v", got)
	}
	if got, err := b.EndRedrive(b.ctx, r.ID); err != nil || got.Status != message.RedriveCompleted {
		t.Errorf("%+v, %v", got, err)
	}
	b.unviolated()
}

// A key makes one re-drive, and one whose workflow died is told again.
func TestRedriveKeyAndStalled(t *testing.T) {
	t.Parallel()
	b := setup(t)
	key := message.Idempotency{Operation: "POST redrives tester", Key: "k", Status: 202, Response: []byte(`{}`)}
	r := &message.Redrive{ID: message.NewID(), By: actor, Reason: "x", Action: message.RedriveCancel, Limit: 1, PerSecond: 1, CreatedAt: time.Now()}
	if first, err := b.CreateRedrive(b.ctx, r, &key); first != nil || err != nil {
		t.Fatal(first, err)
	}
	again := *r
	again.ID = message.NewID()
	if first, err := b.CreateRedrive(b.ctx, &again, &key); err != nil || first == nil || b.count("select count(*) from redrives") != 1 {
		t.Errorf("%+v, %v", first, err)
	}
	b.exec("delete from batch_tells")
	if n, err := b.TellStalledBatches(b.ctx, time.Minute, 10); n != 0 || err != nil {
		t.Error(n, err)
	}
	b.exec("update redrives set looked_at = now() - interval '1 hour'")
	for want := 1; want >= 0; want-- {
		if n, err := b.TellStalledBatches(b.ctx, time.Minute, 10); n != want || err != nil {
			t.Error(n, err)
		}
	}
	if n := b.count("select count(*) from batch_tells"); n != 1 {
		t.Error(n)
	}
}

// Many workers that die at any moment do each message once.
func TestRedriveManyWorkers(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const n = 60
	for range n {
		b.accepted(1)
	}
	r := b.redrive(nil)
	workers := []*DB{b.DB, b.replica(), b.replica()}
	var wg sync.WaitGroup
	for w, db := range workers {
		wg.Go(func() {
			for round := 0; ; round++ {
				over, err := b.step(db, r.ID, w, round)
				if err != nil {
					t.Error(err)
					return
				}
				if over {
					return
				}
			}
		})
	}
	wg.Wait()
	got, err := b.RedriveByID(b.ctx, r.ID)
	if err != nil || got.Status != message.RedriveCompleted || got.Done != n || got.Looked != n {
		t.Errorf("%+v, %v", got, err)
	}
	if made, of := b.count("select count(*) from messages where retry_of is not null"), b.count("select count(distinct retry_of) from messages"); made != n || of != n {
		t.Errorf("%d messages were made of %d", made, of)
	}
	b.unviolated()
}

// step is one round of a worker, which dies at another place each time.
func (b *bundle) step(db *DB, id message.ID, w, round int) (over bool, err error) {
	dies := func(place int) bool { return (w+round)%5 == place }
	r, items, err := db.ClaimRedrive(b.ctx, id, 10)
	if err != nil || r.Status.Final() {
		return true, err
	}
	if len(items) == 0 && !r.Searched {
		found, err := db.SearchAllMessages(b.ctx, message.Search{Filter: r.Filter, Before: r.Position, Limit: 7})
		if err != nil {
			return true, err
		}
		if len(found.Messages) > 0 {
			p := finds(r, r.Position, found.Messages...)
			if p.Next, p.Searched = found.Next, found.Next == (message.ID{}); dies(0) {
				return false, nil
			}
			_, taken, err := db.TakeRedrive(b.ctx, id, p)
			if err != nil || !taken || dies(1) {
				return err != nil, err
			}
			items = p.Items
		}
	}
	for i := range items {
		m := b.draft()
		m.ID, m.RetryOf = items[i].NewMessageID, items[i].MessageID
		if _, err := db.Accept(b.ctx, message.Acceptance{Message: m}); err != nil {
			return true, err
		}
		if items[i].State = message.ItemDone; dies(2) && i > 2 {
			return false, nil
		}
	}
	if dies(3) {
		return false, nil
	}
	if _, err := db.RecordRedrive(b.ctx, id, items); err != nil {
		return true, err
	}
	r, err = db.EndRedrive(b.ctx, id)
	return err != nil || r.Status.Final(), err
}

// What is asked of re-drives goes by an index.
func TestRedrivePlans(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.fill()
	for _, sql := range []string{
		`insert into redrives (id, actor, role, reason, action, filter, most, per_second, status, completed_at, created_at)
		 select id, '', '', '', 'retry', '{}', 1, 1, case when n % 100 = 0 then 'running' else 'completed' end, case when n % 100 > 0 then now() end, now()
		 from (select *, row_number() over (order by id) n from messages) m where n % 10 = 0`,
		`insert into redrive_items (redrive_id, message_id, state, new_message_id) select (select id from redrives r where r.id <= m.id order by id desc limit 1), id, case when n % 20 = 0 then 'claimed' else 'done' end, id
		 from (select *, row_number() over (order by id) n from messages) m where n >= 10`,
		analyze,
	} {
		b.exec(sql)
	}
	for _, q := range []struct {
		name, sql string
		params    int
		uses      string
	}{
		{"one", selectRedrive, 1, "redrives_pkey"},
		{"list", selectRedrives, 2, "redrives_pkey"},
		{"items", selectRedriveItems, 3, "redrive_items_pkey"},
		{"items by outcome", selectRedriveItemsIn, 4, "redrive_items_state"},
		{"open", selectOpenItems, 2, "redrive_items_state"},
		{"count open", countOpenItems, 1, "redrive_items_state"},
		{"claim", claimItems, 4, "redrive_items_"},
		{"settle", settleItems, 8, "redrive_items_"},
		{"made", selectMade, 3, "messages_"},
		{"stalled", tellStalledRedrives, 2, "redrives_unfinished"},
	} {
		plan := b.explain(q.sql, q.params, "off")
		if !strings.Contains(plan, q.uses) || strings.Contains(plan, "Seq Scan") {
			t.Errorf("%s:\n%s", q.name, plan)
		}
	}
}
