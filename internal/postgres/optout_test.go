package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
)

// optOut is one as the API makes it, of the number.
func (b *bundle) optOut(recipient message.Address) message.OptOut {
	return message.OptOut{ID: message.NewID(), AccountID: b.owner, Recipient: recipient, Scope: message.OptOutNumber, Sender: "+12025550143",
		Source: message.OptOutByAPI, Actor: "key", Reason: "asked"}
}

// telling gives an event with one delivery for each opt-out.
func telling(o message.OptOut) (message.AccountEvent, error) {
	kind := "opt_out.created"
	if !o.Active() {
		kind = "opt_out.removed"
	}
	e := message.AccountEvent{ID: message.NewID(), AccountID: o.AccountID, Type: kind, Payload: `{"data":{"id":"` + o.ID.String() + `"}}`}
	e.Deliveries = []message.Notification{{ID: message.NewID(), EventID: e.ID, AccountID: o.AccountID, EndpointID: message.NewID(), Type: kind,
		URL: "https://shop.example/hooks", Payload: `{"id":"` + o.ID.String() + `"}`}}
	return e, nil
}

func (b *bundle) recorded(o message.OptOut, tell message.OptOutTell) message.OptOutRecorded {
	b.tb.Helper()
	r, err := b.RecordOptOut(b.ctx, o, message.OptOutWrite{Tell: tell})
	if err != nil {
		b.tb.Fatal(err)
	}
	return r
}

func TestRecordOptOut(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var heard []message.OptOut
	b.OnOptOut(func(list []message.OptOut) { heard = append(heard, list...) })
	o := b.optOut("+13105550117")
	o.Keyword, o.MessageID = "STOP", message.NewID()
	first := b.recorded(o, telling)
	if is := first.OptOut; !first.Fresh || is.ID != o.ID || is.Version == 0 || is.At.IsZero() || !is.Active() || is.Keyword != "STOP" || is.MessageID != o.MessageID || is.Reason != "asked" {
		t.Fatalf("%+v", first)
	}
	// What is in force already comes back, and nobody is told of it.
	second := b.recorded(b.optOut("+13105550117"), telling)
	if second.Fresh || second.OptOut != first.OptOut {
		t.Errorf("%+v, want %+v", second, first)
	}
	for _, other := range []func(*message.OptOut){
		func(o *message.OptOut) { o.Sender = "12345" },
		func(o *message.OptOut) { o.Scope, o.Sender = message.OptOutAccount, "" },
		func(o *message.OptOut) { o.Scope, o.Sender, o.CampaignID = message.OptOutCampaign, "", "C8X2KQ1" },
		func(o *message.OptOut) { o.AccountID = message.NewID() },
	} {
		o := b.optOut("+13105550117")
		other(&o)
		if r := b.recorded(o, nil); !r.Fresh || r.OptOut.Version <= first.OptOut.Version {
			t.Errorf("%+v", r)
		}
	}
	if n := b.count("select count(*) from webhook_deliveries where type = 'opt_out.created' and message_id is null"); n != 1 {
		t.Errorf("%d events", n)
	}
	if len(heard) != 6 || heard[0] != first.OptOut {
		t.Errorf("heard %+v", heard)
	}
	if got, err := b.OptOut(b.ctx, b.owner, o.ID); err != nil || got != first.OptOut {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := b.OptOut(b.ctx, message.NewID(), o.ID); message.ReasonOf(err) != message.ReasonNotFound {
		t.Errorf("another account reads it: %v", err)
	}
}

func TestEndOptOut(t *testing.T) {
	t.Parallel()
	b := setup(t)
	o := b.recorded(b.optOut("+13105550117"), nil).OptOut
	end := message.OptOutEnd{Actor: "key", Reason: "opted in on the web form"}
	if _, err := b.EndOptOut(b.ctx, message.NewID(), o.ID, end, telling); message.ReasonOf(err) != message.ReasonNotFound {
		t.Fatalf("another account ends it: %v", err)
	}
	ended, err := b.EndOptOut(b.ctx, b.owner, o.ID, end, telling)
	if err != nil || ended.Active() || ended.Version <= o.Version || ended.Ended.Reason != end.Reason || ended.Ended.Actor != "key" || ended.At != o.At {
		t.Fatalf("%+v, %v", ended, err)
	}
	again, err := b.EndOptOut(b.ctx, b.owner, o.ID, message.OptOutEnd{Reason: "another"}, telling)
	if err != nil || again != ended {
		t.Errorf("%+v, %v", again, err)
	}
	if n := b.count("select count(*) from webhook_deliveries where type = 'opt_out.removed'"); n != 1 {
		t.Errorf("%d events", n)
	}
	// Stopped again, it is a row of its own: the history stays.
	if r := b.recorded(b.optOut("+13105550117"), nil); !r.Fresh || r.OptOut.ID == o.ID {
		t.Errorf("%+v", r)
	}
	list, err := b.OptOuts(b.ctx, b.owner, message.OptOutFilter{Recipient: "+13105550117"}, message.ID{}, 10)
	if err != nil || len(list) != 2 || !list[0].Active() || list[1] != ended {
		t.Errorf("%+v, %v", list, err)
	}
	if _, err := b.pool.Exec(b.ctx, "delete from opt_outs"); err == nil || !strings.Contains(err.Error(), "never deleted") {
		t.Errorf("history was deleted: %v", err)
	}
}

func TestStoppedBy(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const recipient = "+13105550117"
	ask := func(sender message.Address, campaign string) message.OptOutScope {
		t.Helper()
		o, ok, err := b.StoppedBy(b.ctx, b.owner, sender, recipient, campaign)
		if err != nil || ok != (o.ID != message.ID{}) {
			t.Fatal(ok, err)
		}
		return o.Scope
	}
	b.recorded(b.optOut(recipient), nil)
	if ask("+12025550143", "C8X2KQ1") != message.OptOutNumber || ask("12345", "C8X2KQ1") != "" {
		t.Error("number")
	}
	campaign := b.optOut(recipient)
	campaign.Scope, campaign.Sender, campaign.CampaignID = message.OptOutCampaign, "", "C8X2KQ1"
	b.recorded(campaign, nil)
	if ask("+12025550143", "C8X2KQ1") != message.OptOutCampaign || ask("12345", "C8X2KQ1") != message.OptOutCampaign || ask("12345", "") != "" {
		t.Error("campaign")
	}
	whole := b.optOut(recipient)
	whole.Scope, whole.Sender = message.OptOutAccount, ""
	b.recorded(whole, nil)
	if ask("+12025550143", "C8X2KQ1") != message.OptOutAccount || ask("12345", "") != message.OptOutAccount {
		t.Error("account")
	}
	if _, ok, err := b.StoppedBy(b.ctx, message.NewID(), "12345", recipient, ""); ok || err != nil {
		t.Error("another account's", ok, err)
	}
}

// A request with an Idempotency-Key gets its first answer again, also when two come at
// the same time.
func TestRecordOptOutWithKey(t *testing.T) {
	t.Parallel()
	b := setup(t)
	write := func(hash byte) message.OptOutWrite {
		return message.OptOutWrite{Tell: telling, Key: func(o message.OptOut, fresh bool) (message.Idempotency, error) {
			return message.Idempotency{AccountID: b.owner, Operation: "POST /v1/opt-outs", Key: "k", BodyHash: [32]byte{hash}, Status: 201, Response: fmt.Appendf(nil, "%s %v", o.ID, fresh)}, nil
		}}
	}
	var mu sync.Mutex
	var answers []string
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			o := b.optOut(message.Address(fmt.Sprintf("+1310555%04d", i)))
			r, err := b.RecordOptOut(b.ctx, o, write(1))
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil:
				t.Error(err)
			case r.Replay != nil:
				answers = append(answers, string(r.Replay.Response))
			default:
				answers = append(answers, fmt.Sprintf("%s %v", r.OptOut.ID, r.Fresh))
			}
		})
	}
	wg.Wait()
	if len(slices.Compact(slices.Clone(answers))) != 1 {
		t.Errorf("answers %v", answers)
	}
	if n := b.count("select count(*) from opt_outs"); n != 1 {
		t.Errorf("%d rows", n)
	}
	if _, err := b.RecordOptOut(b.ctx, b.optOut("+13105550199"), write(2)); message.ReasonOf(err) != message.ReasonIdempotencyMismatch {
		t.Errorf("another body: %v", err)
	}
	if n := b.count("select count(*) from opt_outs"); n != 1 {
		t.Errorf("%d rows", n)
	}
	if n := b.count("select count(*) from webhook_deliveries"); n != 1 {
		t.Errorf("%d events", n)
	}
}

// The event of an opt-out has no message and no workflow: the sweeper finds it due at
// once, and its tries are recorded.
func TestOptOutEventIsDue(t *testing.T) {
	t.Parallel()
	b := setup(t)
	o := b.recorded(b.optOut("+13105550117"), telling).OptOut
	due, err := b.OverdueNotifications(b.ctx, time.Minute, 10)
	if err != nil || len(due) != 1 {
		t.Fatalf("%v, %v", due, err)
	}
	n, state, err := b.Notification(b.ctx, due[0])
	if err != nil || state != message.NotificationPending || n.MessageID != (message.ID{}) || n.AccountID != b.owner || n.EndpointID == (message.ID{}) || !strings.Contains(n.Payload, o.ID.String()) {
		t.Fatalf("%+v, %v, %v", n, state, err)
	}
	if err := b.DeferNotifications(b.ctx, due, time.Hour); err != nil {
		t.Fatal(err)
	}
	if due, err = b.OverdueNotifications(b.ctx, time.Minute, 10); err != nil || len(due) != 0 {
		t.Errorf("%v, %v", due, err)
	}
	for number, state := range map[int]message.NotificationState{1: message.NotificationPending, 2: message.NotificationDelivered} {
		if err := b.RecordAttempt(b.ctx, message.NotificationAttempt{DeliveryID: n.ID, Type: n.Type, Number: number, HTTPStatus: 200, State: state, NextInSecs: 5}); err != nil {
			t.Fatal(err)
		}
	}
	if _, state, err = b.Notification(b.ctx, n.ID); err != nil || state != message.NotificationDelivered {
		t.Errorf("%v, %v", state, err)
	}
	if left := b.count("select count(*) from webhooks_due"); left != 0 {
		t.Errorf("%d are due", left)
	}
}

// A vendor's refusal is recorded with the answer that told of it, once, with its event.
func TestVendorBlockWithAnswer(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var heard []message.OptOut
	b.OnOptOut(func(list []message.OptOut) { heard = append(heard, list...) })
	refused := func(m *message.Message) message.OptOut {
		t.Helper()
		o := message.VendorBlock(m.AccountID, m.From, m.To, "north", m.ID)
		event, err := telling(o)
		if err != nil {
			t.Fatal(err)
		}
		c := message.Change{MessageID: m.ID, To: message.StatusQueued, OptOut: &o, OptOutEvent: &event,
			Answers: []message.Answer{{Part: 1, Attempt: 1, State: message.PartRefused, Reason: message.ReasonOptedOut, VendorCode: "21610"}},
			Events:  []message.Event{{Type: message.EventOptOutRecorded, Detail: map[string]any{"source": "vendor"}}}}
		b.must(c)
		if adv, err := b.Advance(b.ctx, c); err != nil || adv.Changed {
			t.Fatalf("again: %+v, %v", adv, err)
		}
		return o
	}
	m := b.sending(1)
	o := refused(m)
	is, err := b.OptOut(b.ctx, b.owner, o.ID)
	if err != nil || !is.Active() || is.Source != message.OptOutByVendor || is.MessageID != m.ID || is.Recipient != m.To || is.Sender != m.From || is.Actor != "north" || is.Version == 0 {
		t.Fatalf("%+v, %v", is, err)
	}
	if len(heard) != 1 || heard[0].ID != o.ID || heard[0].Version != is.Version || heard[0].At.IsZero() {
		t.Errorf("heard %+v", heard)
	}
	if due, err := b.OverdueNotifications(b.ctx, time.Minute, 10); err != nil || len(due) != 1 {
		t.Errorf("due %v, %v", due, err)
	}
	events := b.timeline(m)
	if !slices.ContainsFunc(events, func(e message.Event) bool { return e.Type == message.EventOptOutRecorded }) {
		t.Errorf("%+v", events)
	}
	// Another message hears the same: it is in force already.
	other := refused(b.sending(1))
	if _, err := b.OptOut(b.ctx, b.owner, other.ID); message.ReasonOf(err) != message.ReasonNotFound {
		t.Errorf("a second row: %v", err)
	}
	if n := b.count("select count(*) from webhook_deliveries"); n != 1 || len(heard) != 1 {
		t.Errorf("%d events, heard %d", n, len(heard))
	}
}

func TestImportOptOuts(t *testing.T) {
	t.Parallel()
	b := setup(t)
	before := b.recorded(b.optOut("+13105550001"), nil).OptOut
	long := time.Date(2019, 5, 6, 7, 8, 9, 0, time.UTC)
	var batch []message.OptOut
	for _, recipient := range []message.Address{"+13105550001", "+13105550002", "+13105550002", "+13105550003"} {
		o := b.optOut(recipient)
		o.Source, o.At = message.OptOutByImport, long
		batch = append(batch, o)
	}
	fresh, err := b.ImportOptOuts(b.ctx, batch)
	if err != nil || fresh != 2 {
		t.Fatal(fresh, err)
	}
	list, err := b.OptOuts(b.ctx, b.owner, message.OptOutFilter{}, message.ID{}, 10)
	if err != nil || len(list) != 3 || list[2] != before || !list[0].At.Equal(long) || list[0].Version != list[1].Version {
		t.Fatalf("%+v, %v", list, err)
	}
	if n := b.count("select count(*) from webhook_deliveries"); n != 0 {
		t.Errorf("%d events", n)
	}
}

// The filters, page by page, and nothing of another account.
func TestOptOutsFilters(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var all []message.OptOut
	for i := range 6 {
		o := b.optOut(message.Address(fmt.Sprintf("+1310555000%d", i%3)))
		switch i {
		case 1:
			o.Sender = "12345"
		case 3, 4:
			o.Scope, o.Sender, o.CampaignID = message.OptOutCampaign, "", "C8X2KQ1"
		case 5:
			o.Scope, o.Sender = message.OptOutAccount, ""
		}
		all = append(all, b.recorded(o, nil).OptOut)
	}
	for _, i := range []int{0, 3} {
		if _, err := b.EndOptOut(b.ctx, b.owner, all[i].ID, message.OptOutEnd{Reason: "x"}, nil); err != nil {
			t.Fatal(err)
		}
	}
	foreign := b.optOut("+13105550000")
	foreign.AccountID = message.NewID()
	b.recorded(foreign, nil)
	yes, no := true, false
	for _, c := range []struct {
		name string
		f    message.OptOutFilter
		want string
	}{
		{"all", message.OptOutFilter{}, "5 4 3 2 1 0"},
		{"recipient", message.OptOutFilter{Recipient: "+13105550000"}, "3 0"},
		{"sender", message.OptOutFilter{Sender: "+12025550143"}, "2 0"},
		{"campaign", message.OptOutFilter{CampaignID: "C8X2KQ1"}, "4 3"},
		{"active", message.OptOutFilter{Active: &yes}, "5 4 2 1"},
		{"ended", message.OptOutFilter{Active: &no}, "3 0"},
		{"all of it", message.OptOutFilter{Recipient: "+13105550001", CampaignID: "C8X2KQ1", Active: &yes}, "4"},
		{"nothing", message.OptOutFilter{Recipient: "+13105559999"}, ""},
	} {
		var got []string
		before := message.ID{}
		for {
			page, err := b.OptOuts(b.ctx, b.owner, c.f, before, 2)
			if err != nil {
				t.Fatal(err)
			}
			for _, o := range page {
				before = o.ID
				got = append(got, fmt.Sprint(slices.IndexFunc(all, func(is message.OptOut) bool { return is.ID == o.ID })))
			}
			if len(page) < 2 {
				break
			}
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: %v, want %s", c.name, got, c.want)
		}
	}
}

// Versions become visible in their order: a writer waits for the one before it, so that
// nobody sees a version and misses a smaller one.
func TestOptOutVersionsInOrder(t *testing.T) {
	t.Parallel()
	b := setup(t)
	tx, err := b.pool.Begin(b.ctx)
	if err != nil {
		t.Fatal(err)
	}
	slow, _, err := b.recordOptOut(b.ctx, tx, b.optOut("+13105550001"), nil)
	if err != nil {
		t.Fatal(err)
	}
	second := make(chan message.OptOut, 1)
	go func() {
		r, err := b.RecordOptOut(b.ctx, b.optOut("+13105550002"), message.OptOutWrite{})
		if err != nil {
			t.Error(err)
		}
		second <- r.OptOut
	}()
	b.until("the second writer waits", func() bool {
		return b.count("select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()") == 1
	})
	if v, err := b.OptOutVersion(b.ctx); err != nil || v != 0 {
		t.Errorf("version %d is visible, %v", v, err)
	}
	if err := tx.Commit(b.ctx); err != nil {
		t.Fatal(err)
	}
	fast := <-second
	if fast.Version <= slow.Version {
		t.Errorf("version %d after %d", fast.Version, slow.Version)
	}
	list, err := b.OptOutsSince(b.ctx, 0, message.ID{}, 10)
	if err != nil || len(list) != 2 || list[0].ID != slow.ID {
		t.Errorf("%+v, %v", list, err)
	}
	if list, err = b.OptOutsSince(b.ctx, slow.Version, slow.ID, 10); err != nil || len(list) != 1 || list[0].ID != fast.ID {
		t.Errorf("%+v, %v", list, err)
	}
	// Who has taken the turn sees what those before him have written, however early he
	// began.
	tx, err = b.pool.Begin(b.ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.recordOptOut(b.ctx, tx, b.optOut("+13105550003"), nil); err != nil {
		t.Fatal(err)
	}
	seen := make(chan int, 1)
	go func() {
		n := 0
		err := pgx.BeginFunc(b.ctx, b.pool, func(tx pgx.Tx) error {
			list, err := inForce(b.ctx, tx, b.optOut("+13105550003"))
			n = len(list)
			return err
		})
		if err != nil {
			t.Error(err)
		}
		seen <- n
	}()
	b.until("it waits", func() bool {
		return b.count("select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()") == 1
	})
	if err := tx.Commit(b.ctx); err != nil {
		t.Fatal(err)
	}
	if n := <-seen; n != 1 {
		t.Errorf("%d in force", n)
	}
}

// What was not committed was not recorded, and nobody hears of it.
func TestOptOutRolledBack(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.OnOptOut(func(list []message.OptOut) { t.Errorf("heard of %+v", list) })
	broken := errors.New("broken")
	if _, err := b.RecordOptOut(b.ctx, b.optOut("+13105550117"), message.OptOutWrite{Tell: func(message.OptOut) (message.AccountEvent, error) { return message.AccountEvent{}, broken }}); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
	if n := b.count("select count(*) from opt_outs"); n != 0 {
		t.Errorf("%d rows", n)
	}
}

func TestLoadOptOuts(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kept := b.recorded(b.optOut("+13105550117"), nil).OptOut
	gone := b.recorded(b.optOut("+13105550118"), nil).OptOut
	ended, err := b.EndOptOut(b.ctx, b.owner, gone.ID, message.OptOutEnd{Reason: "x"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var list []message.OptOut
	v, err := b.DB.LoadOptOuts(b.ctx, func(o message.OptOut) { list = append(list, o) })
	if err != nil || v != ended.Version || len(list) != 1 || list[0].ID != kept.ID || list[0].Recipient != kept.Recipient || list[0].At != kept.At {
		t.Errorf("%d, %+v, %v", v, list, err)
	}
	// The way that the session reads elsewhere is as before.
	if on := scalar[string](b, "select current_setting('enable_seqscan')"); on != "off" {
		t.Errorf("enable_seqscan is %s", on)
	}
}

// The audit log has what staff do, without numbers.
func TestOptOutsAudited(t *testing.T) {
	t.Parallel()
	b := setup(t)
	is, fresh, err := b.AddOptOut(b.ctx, actor, b.optOut("+13105550117"), telling)
	if err != nil || !fresh {
		t.Fatal(err)
	}
	if _, err := b.RemoveOptOut(b.ctx, actor, b.owner, is.ID, message.OptOutEnd{Actor: "tester", Reason: "came back"}, telling); err != nil {
		t.Fatal(err)
	}
	if _, err := b.RemoveOptOut(b.ctx, actor, message.NewID(), is.ID, message.OptOutEnd{Reason: "x"}, nil); message.ReasonOf(err) != message.ReasonNotFound {
		t.Errorf("another account's: %v", err)
	}
	if err := b.NoteOptOuts(b.ctx, actor, "opt_out.import", b.owner, map[string]any{"rows": 7}); err != nil {
		t.Fatal(err)
	}
	if got := scalar[string](b, "select string_agg(action, ' ' order by id) from audit_log"); got != "opt_out.create opt_out.end opt_out.import" {
		t.Error(got)
	}
	if n := b.count("select count(*) from audit_log where after::text like '%13105550117%'"); n != 0 {
		t.Error("the audit log holds the recipient's number")
	}
	if n := b.count("select count(*) from webhook_deliveries"); n != 2 {
		t.Errorf("%d events", n)
	}
	s := b.configured()
	if s.Accounts[b.owner].OptOutScope != message.OptOutNumber {
		t.Errorf("scope %q", s.Accounts[b.owner].OptOutScope)
	}
	if err := b.SetOptOutScope(b.ctx, actor, b.owner, message.OptOutAccount); err != nil {
		t.Fatal(err)
	}
	if s, err = b.LoadSnapshot(b.ctx); err != nil || s.Accounts[b.owner].OptOutScope != message.OptOutAccount {
		t.Error(err)
	}
	if err := b.SetOptOutScope(b.ctx, actor, message.NewID(), message.OptOutAccount); message.ReasonOf(err) != message.ReasonNotFound {
		t.Errorf("%v", err)
	}
}

// Every query goes by its index, among many opt-outs of one account.
func TestOptOutPlans(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec(`insert into opt_outs (id, account_id, recipient, scope, sender, campaign_id, source, active, ended_at)
		select ('00000000-' || lpad(to_hex(n), 4, '0') || '-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, ('00000000-0000-7000-9000-' || lpad(to_hex(case when n % 30 < 29 then 0 else n % 7 end), 12, '0'))::uuid,
		  '+1310' || lpad(n::text, 7, '0'), case when n % 2 = 0 then 'number' else 'campaign' end, case when n % 2 = 0 then '+1202555' || lpad((n % 50)::text, 4, '0') else '' end,
		  case when n % 2 = 1 then 'C' || n % 20 else '' end, 'import', n % 50 <> 0, case when n % 50 = 0 then now() end
		from generate_series(1, 30000) n`)
	b.exec(analyze)
	id, account := message.NewID(), message.NewID()
	type query struct {
		name, sql string
		params    int
		uses      string
	}
	queries := []query{
		{"OptOut", selectOptOut, 2, "opt_outs_pkey"},
		{"active", selectActive, 2, "opt_outs_"},
		{"end", endOptOuts, 4, "opt_outs_pkey"},
		{"since", selectOptOutsSince, 3, "opt_outs_version_order"},
	}
	yes, no := true, false
	for name, f := range map[string]struct {
		message.OptOutFilter
		uses string
	}{
		"none":      {message.OptOutFilter{}, "opt_outs_account"},
		"recipient": {message.OptOutFilter{Recipient: "+13100000001"}, "opt_outs_recipient"},
		"sender":    {message.OptOutFilter{Sender: "+12025550001"}, "opt_outs_sender"},
		"campaign":  {message.OptOutFilter{CampaignID: "C1"}, "opt_outs_campaign"},
		"active":    {message.OptOutFilter{Active: &yes}, "opt_outs_a"},
		"ended":     {message.OptOutFilter{Active: &no}, "opt_outs_ended"},
	} {
		for _, before := range []message.ID{{}, id} {
			sql, args := optOutsQuery(account, f.OptOutFilter, before, 50)
			queries = append(queries, query{"list by " + name, sql, len(args), f.uses})
		}
	}
	all, allArgs := optOutsQuery(message.ID{}, message.OptOutFilter{}, id, 50)
	to, toArgs := optOutsQuery(message.ID{}, message.OptOutFilter{Recipient: "+13100000001", Active: &yes}, id, 50)
	queries = append(queries, query{"list all", all, len(allArgs), "opt_outs_pkey"}, query{"list all of a recipient", to, len(toArgs), "opt_outs_recipient"},
		query{"AnyOptOut", selectAnyOptOut, 1, "opt_outs_pkey"})
	o := b.optOut("+13105550117")
	event, _ := telling(o)
	sql, args := advanceStatement(message.Change{MessageID: id, OptOut: &o, OptOutEvent: &event, Events: line(message.StatusQueued)})
	queries = append(queries, query{"Advance", sql, len(args), "opt_outs_active"})
	for _, q := range queries {
		for _, seqscan := range []string{"on", "off"} {
			plan := b.explain(q.sql, q.params, seqscan)
			for _, table := range endToEnd(plan) {
				if table == "opt_outs" {
					t.Errorf("%s, enable_seqscan %s, reads %s from end to end:\n%s", q.name, seqscan, table, plan)
				}
			}
			if !strings.Contains(plan, q.uses) {
				t.Errorf("%s, enable_seqscan %s, does not use %s:\n%s", q.name, seqscan, q.uses, plan)
			}
		}
	}
}

// Listening hears of every commit, and of nothing that was rolled back.
func TestListenOptOuts(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx, stop := context.WithCancel(b.ctx)
	changed := make(chan struct{}, 100)
	done := make(chan error, 1)
	go func() { done <- b.ListenOptOuts(ctx, func() { changed <- struct{}{} }) }()
	<-changed // it listens
	b.recorded(b.optOut("+13105550117"), nil)
	<-changed
	var list []message.OptOut
	if err := pgx.BeginFunc(b.ctx, b.pool, func(tx pgx.Tx) (err error) {
		_, _, err = b.recordOptOut(b.ctx, tx, b.optOut("+13105550118"), nil)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	<-changed
	list, err := b.OptOutsSince(b.ctx, 0, message.ID{}, 10)
	if err != nil || len(list) != 2 {
		t.Errorf("%+v, %v", list, err)
	}
	stop()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
