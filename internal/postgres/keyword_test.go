package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/postrider/postrider/internal/message"
)

// opted counts the opt-outs of the owner that are in force, and all.
func (b *bundle) opted() (active, all int) {
	b.tb.Helper()
	return b.count("select count(*) from opt_outs where active and account_id = $1", b.owner), b.count("select count(*) from opt_outs where account_id = $1", b.owner)
}

func TestStopStartHelp(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var told []string
	var wrote []message.OptOut
	b.OnOptOut(func(list []message.OptOut) { wrote = append(wrote, list...) })
	say := func(action message.KeywordAction) message.Arrival {
		a := b.keyword(action)
		a.VendorRef = a.ID.String() // or a second START may be the first once more
		a.Act.Tell = func(o message.OptOut) (message.AccountEvent, error) {
			told = append(told, fmt.Sprint(action, " ", o.Active()))
			return message.AccountEvent{ID: message.NewID(), AccountID: o.AccountID, Type: "opt_out.created", Payload: "{}"}, nil
		}
		return a
	}
	for i, step := range []struct {
		action  message.KeywordAction
		changed bool
		reply   bool
		story   string
	}{
		{message.KeywordStart, false, false, "received"},
		{message.KeywordStop, true, true, "received opt_out_recorded reply_owed"},
		{message.KeywordStop, false, false, "received"},
		{message.KeywordHelp, false, true, "received reply_owed"}, // also to who has stopped
		{message.KeywordHelp, false, false, "received"},           // within the minute
		{message.KeywordStart, true, true, "received opt_out_ended reply_owed"},
		{message.KeywordStart, false, false, "received"},
		{message.KeywordStop, true, true, "received opt_out_recorded reply_owed"},
	} {
		a := say(step.action)
		out := b.came(a)
		if out.Changed != step.changed || (out.Reply != nil) != step.reply || b.story(a.ID) != step.story {
			t.Errorf("step %d, %s: %+v, %s", i, step.action, out, b.story(a.ID))
		}
		if r := out.Reply; r != nil && (r.ID != a.Act.Reply.ID || r.InboundID != a.ID || r.Text != a.Act.Reply.Text) {
			t.Errorf("step %d: %+v", i, r)
		}
		if again := b.came(a); !again.Again || again.Changed || again.Reply != nil {
			t.Errorf("step %d once more: %+v", i, again)
		}
	}
	if got := fmt.Sprint(told); got != "[stop true start false stop true]" {
		t.Errorf("the account was told %s", got)
	}
	if len(wrote) != 3 || wrote[0].ID != wrote[1].ID || wrote[1].Active() || !wrote[2].Active() {
		t.Errorf("this process was told of %+v", wrote)
	}
	o := wrote[0]
	if o.Keyword != "STOP" || o.Source != message.OptOutByKeyword || o.Scope != message.OptOutNumber || o.Sender != ours || o.Recipient != handset || o.CampaignID != "" {
		t.Errorf("%+v", o)
	}
	if r := b.records()[1]; o.MessageID != r.ID || !r.Changed || r.Action != message.KeywordStop || r.Keyword != "STOP" {
		t.Errorf("%+v", r)
	}
	if n := b.count("select count(*) from automatic_replies"); n != 4 {
		t.Errorf("%d answers are owed", n)
	}
}

// YES starts again who has stopped, and else it is an answer to a question.
func TestYes(t *testing.T) {
	t.Parallel()
	b := setup(t)
	yes := func() message.Arrival {
		a := b.keyword(message.KeywordStart)
		a.Keyword, a.IfStopped, a.VendorRef = "YES", true, a.ID.String()
		return a
	}
	if out := b.came(yes()); !idle(out) {
		t.Errorf("before a stop: %+v", out)
	}
	b.came(b.keyword(message.KeywordStop))
	if out := b.came(yes()); !out.Changed || out.Reply == nil {
		t.Errorf("after a stop: %+v", out)
	}
	got := b.records()
	if got[0].Keyword != "" || got[0].Action != message.KeywordNone || got[2].Keyword != "YES" || !got[2].Changed {
		t.Errorf("%+v\n%+v", got[0], got[2])
	}
}

func TestScopes(t *testing.T) {
	t.Parallel()
	b := setup(t)
	in := func(action message.KeywordAction, scope message.OptOutScope) message.Arrived {
		a := b.keyword(action)
		a.Act.OptOut.Scope, a.VendorRef = scope, a.ID.String()
		return b.came(a)
	}
	for _, scope := range []message.OptOutScope{message.OptOutNumber, message.OptOutCampaign, message.OptOutAccount} {
		if out := in(message.KeywordStop, scope); !out.Changed || out.Reply == nil {
			t.Errorf("stop of %s: %+v", scope, out)
		}
		if n := b.count("select count(*) from opt_outs where active and scope = $1 and (sender = $2) = (scope = 'number') and (campaign_id = 'C8X2KQ1') = (scope = 'campaign')", string(scope), string(ours)); n != 1 {
			t.Errorf("stop of %s is not recorded as such", scope)
		}
		if out := in(message.KeywordStart, scope); !out.Changed || out.Reply == nil {
			t.Errorf("start of %s: %+v", scope, out)
		}
		if active, _ := b.opted(); active != 0 {
			t.Errorf("start of %s leaves %d", scope, active)
		}
	}
	// What the customer has entered for all of the account no word of the recipient to
	// one number ends, and nobody is told that messages go again.
	b.exec("insert into opt_outs (id, account_id, recipient, scope, source) values ($1, $2, $3, 'account', 'api')", message.NewID(), b.owner, string(handset))
	if out := in(message.KeywordStop, message.OptOutNumber); !out.Changed || out.Reply != nil {
		t.Errorf("stop of who is stopped: %+v", out)
	}
	if out := in(message.KeywordStart, message.OptOutNumber); !out.Changed || out.Reply != nil {
		t.Errorf("start of who stays stopped: %+v", out)
	}
	if active, _ := b.opted(); active != 1 {
		t.Errorf("%d in force", active)
	}
	if human, err := b.InboundForHuman(b.ctx, 10); err != nil || len(human) != 1 || human[0].Action != message.KeywordStart {
		t.Errorf("for a human: %+v, %v", human, err)
	}
	// Where a stop is one of the account, a start ends it.
	if out := in(message.KeywordStart, message.OptOutAccount); !out.Changed || out.Reply == nil {
		t.Errorf("start of the account: %+v", out)
	}
}

// Machines that answer each other come to an end; a person is answered again the
// next day, and others are not concerned.
// A number that is put into another campaign is not written from again to who had
// stopped it, until he starts again.
func TestStopOfACampaignHoldsWhenTheNumberMoves(t *testing.T) {
	t.Parallel()
	b := setup(t)
	in := func(action message.KeywordAction, campaign string) message.Arrived {
		a := b.keyword(action)
		a.Act.OptOut.Scope, a.Act.OptOut.CampaignID, a.VendorRef = message.OptOutCampaign, campaign, a.ID.String()
		return b.came(a)
	}
	stopped := func(campaign string) bool {
		_, is, err := b.StoppedBy(b.ctx, b.owner, ours, handset, campaign)
		if err != nil {
			t.Fatal(err)
		}
		return is
	}
	if out := in(message.KeywordStop, "C8X2KQ1"); !out.Changed || out.Reply == nil || !stopped("C8X2KQ1") {
		t.Errorf("%+v", out)
	}
	if !stopped("C9NEXT1") || !stopped("") {
		t.Error("in another campaign the number writes to who has stopped it")
	}
	if out := in(message.KeywordStop, "C8X2KQ1"); out.Changed || out.Reply != nil {
		t.Errorf("once more: %+v", out)
	}
	if out := in(message.KeywordStart, "C8X2KQ1"); !out.Changed || out.Reply == nil || stopped("C8X2KQ1") || stopped("C9NEXT1") {
		t.Errorf("start: %+v", out)
	}
}

func TestAnswersHaveAnEnd(t *testing.T) {
	t.Parallel()
	b := setup(t)
	answers := 0
	say := func(action message.KeywordAction, from message.Address) {
		a := b.keyword(action)
		a.VendorRef, a.Sender, a.Act.OptOut.Recipient = a.ID.String(), from, from
		if b.came(a).Reply != nil {
			answers++
		}
	}
	want := func(what string, n int) {
		t.Helper()
		if answers != n {
			t.Errorf("%s: %d answers, want %d", what, answers, n)
		}
	}
	for range repliesPerDay {
		say(message.KeywordStop, handset)
		say(message.KeywordStart, handset)
	}
	want("a loop", repliesPerDay)
	if active, all := b.opted(); active != 0 || all != repliesPerDay {
		t.Errorf("%d opt-outs, %d in force: an answer that is not given changes nothing else", all, active)
	}
	say(message.KeywordHelp, handset)
	want("the day is over for him", repliesPerDay)
	say(message.KeywordHelp, "12345")
	want("another", repliesPerDay+1)
	b.exec("update keyword_pairs set day = current_date - 1 where recipient = $1", string(handset))
	say(message.KeywordHelp, handset)
	want("the next day", repliesPerDay+2)
	b.exec("update keyword_pairs set helped_at = now() - interval '61 seconds'")
	say(message.KeywordHelp, handset)
	want("the next minute", repliesPerDay+3)
	b.exec("update keyword_pairs set day = current_date - 2 where recipient = '12345'")
	if err := b.ForgetPairs(b.ctx, 10); err != nil {
		t.Fatal(err)
	}
	if n := b.count("select count(*) from keyword_pairs"); n != 1 {
		t.Errorf("%d pairs are kept", n)
	}
}

func TestNoAnswerIsOwedWhereSomebodyElseGivesIt(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, action := range []message.KeywordAction{message.KeywordStop, message.KeywordStart, message.KeywordHelp} {
		a := b.keyword(action)
		a.Act.Reply = nil
		if out := b.came(a); out.Reply != nil || out.Changed == (action == message.KeywordHelp) {
			t.Errorf("%s: %+v", action, out)
		}
	}
	if n := b.count("select count(*) from automatic_replies") + b.count("select coalesce(sum(answers), 0) from keyword_pairs"); n != 0 {
		t.Errorf("%d answers", n)
	}
}

// However many say it at once, over however many processes: one opt-out, one answer.
func TestStopsAtOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	dbs := []*DB{b.DB, b.replica()}
	var wg sync.WaitGroup
	var mu sync.Mutex
	changed, answered := 0, 0
	for i := range 24 {
		a := b.keyword(message.KeywordStop)
		if i%2 == 0 {
			a.VendorRef = fmt.Sprint("mo-", i/4) // twice each
		}
		wg.Go(func() {
			out, err := dbs[i%len(dbs)].Inbound(b.ctx, a)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			if out.Changed {
				changed++
			}
			if out.Reply != nil {
				answered++
			}
		})
	}
	wg.Wait()
	if active, all := b.opted(); changed != 1 || answered != 1 || active != 1 || all != 1 || b.count("select count(*) from automatic_replies") != 1 {
		t.Errorf("%d changes, %d answers, %d opt-outs", changed, answered, all)
	}
}

// An answer is with one process at a time, and nobody loses it.
func TestRepliesDue(t *testing.T) {
	t.Parallel()
	b := setup(t)
	other := b.replica()
	stop := b.came(b.keyword(message.KeywordStop)).Reply
	help := b.came(b.keyword(message.KeywordHelp)).Reply
	due := func(db *DB, age time.Duration) []message.AutomaticReply {
		t.Helper()
		list, err := db.RepliesDue(b.ctx, age, 10)
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	if list := due(b.DB, time.Hour); len(list) != 0 {
		t.Errorf("due at once: %+v", list)
	}
	b.exec("update automatic_replies set taken_at = now() - interval '2 hours' where id = $1", stop.ID)
	list := due(b.DB, time.Hour)
	if len(list) != 1 || list[0].CreatedAt.IsZero() {
		t.Fatalf("due: %+v", list)
	}
	list[0].CreatedAt = stop.CreatedAt
	if list[0] != *stop {
		t.Errorf("%+v\nis not %+v", list[0], stop)
	}
	if list := due(other, time.Hour); len(list) != 0 {
		t.Errorf("taken on twice: %+v", list)
	}
	b.exec("update automatic_replies set taken_at = now() - interval '2 hours', body = case when id = $1 then 'x' else body end", stop.ID)
	list, err := b.RepliesDue(b.ctx, time.Hour, 10)
	if err == nil || len(list) != 1 || list[0].ID != help.ID {
		t.Errorf("beside one that cannot be read: %+v, %v", list, err)
	}
	if n, err := b.CountReplies(b.ctx); err != nil || n != 2 {
		t.Errorf("%d owed, %v", n, err)
	}
	for range 2 {
		if err := b.DropReply(b.ctx, help.ID); err != nil {
			t.Error(err)
		}
	}
	if n, err := b.CountReplies(b.ctx); err != nil || n != 1 {
		t.Errorf("%d owed, %v", n, err)
	}
}

// A commit that fails leaves nothing behind, and the vendor sends again.
func TestKeywordIsWholeOrNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	a := b.keyword(message.KeywordStop)
	a.Act.Tell = func(message.OptOut) (message.AccountEvent, error) {
		return message.AccountEvent{}, errors.New("no room")
	}
	if _, err := b.Inbound(b.ctx, a); err == nil {
		t.Fatal("committed")
	}
	if n := b.count("select (select count(*) from inbound_messages) + (select count(*) from opt_outs) + (select count(*) from automatic_replies) + (select count(*) from keyword_pairs)"); n != 0 {
		t.Errorf("%d rows stayed", n)
	}
	a.Act.Tell = nil
	if out := b.came(a); !out.Changed || out.Reply == nil {
		t.Errorf("%+v", out)
	}
	gone, cancel := context.WithCancel(b.ctx)
	cancel()
	if _, err := b.Inbound(gone, b.keyword(message.KeywordHelp)); err == nil {
		t.Error("committed without a caller")
	}
}

// Whatever order messages come in, however often, and whoever dies between a commit
// and its answer: one answer for each change, and who has stopped last is stopped.
func TestKeywordsProperty(t *testing.T) {
	t.Parallel()
	b := setup(t)
	dbs := []*DB{b.DB, b.replica()}
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		w := &keywordWorld{b: b, rt: rt, dbs: dbs, from: message.Address(fmt.Sprintf("+1310%07d", 5550000+n)), seen: map[message.ID]bool{}}
		w.rapid()
	})
}

// keywordWorld is one handset, the vendor that brings what it writes, and what must
// come of it.
type keywordWorld struct {
	b    *bundle
	rt   *rapid.T
	dbs  []*DB
	from message.Address

	waiting    []message.Arrival // whose answer the vendor did not get
	seen       map[message.ID]bool
	deliveries int
	started    bool // by a START without an id of the vendor's
	stopped    bool
	changes    int
	helped     bool
}

func (w *keywordWorld) rapid() {
	for range rapid.IntRange(1, 14).Draw(w.rt, "steps") {
		switch rapid.SampledFrom([]string{"write", "write", "again", "sweep"}).Draw(w.rt, "step") {
		case "write":
			a := w.b.keyword(rapid.SampledFrom([]message.KeywordAction{message.KeywordStop, message.KeywordStart, message.KeywordHelp}).Draw(w.rt, "word"))
			a.Sender, a.Act.OptOut.Recipient, a.Act.Reply.To = w.from, w.from, w.from
			if rapid.Bool().Draw(w.rt, "with an id") {
				a.VendorRef = a.ID.String()
			}
			w.deliver(a)
		case "again":
			if len(w.waiting) > 0 {
				i := rapid.IntRange(0, len(w.waiting)-1).Draw(w.rt, "which")
				a := w.waiting[i]
				w.waiting = append(w.waiting[:i:i], w.waiting[i+1:]...)
				w.deliver(a)
			}
		case "sweep":
			w.sweep(true)
		}
		w.check()
	}
	for len(w.waiting) > 0 {
		a := w.waiting[0]
		w.waiting = w.waiting[1:]
		w.deliver(a)
	}
	w.sweep(false)
	w.check()
	if got := w.b.count("select count(*) from automatic_replies where to_addr = $1", string(w.from)); got != 0 {
		w.rt.Fatalf("%d answers are still owed", got)
	}
}

// deliver brings a message as the vendor does, under a new id of ours each time. The
// process may die before its commit, or before its answer.
func (w *keywordWorld) deliver(a message.Arrival) {
	if w.deliveries >= repliesPerDay {
		return // beyond it there are no answers
	}
	w.deliveries++
	ref := a.ID
	fate := rapid.SampledFrom([]string{"answered", "answered", "no commit", "no answer"}).Draw(w.rt, "fate")
	if fate == "no commit" {
		w.waiting = append(w.waiting, a)
		return
	}
	now := a
	reply := *a.Act.Reply
	act := *a.Act
	now.ID, reply.ID, act.Reply, now.Act = message.NewID(), message.NewID(), &reply, &act
	if _, err := rapid.SampledFrom(w.dbs).Draw(w.rt, "process").Inbound(w.b.ctx, now); err != nil {
		w.rt.Fatal(err)
	}
	if fate == "no answer" {
		w.waiting = append(w.waiting, a)
	}
	if a.VendorRef != "" && w.seen[ref] {
		return
	}
	w.seen[ref] = true
	was := w.stopped
	switch a.Action {
	case message.KeywordStop:
		w.stopped = true
	case message.KeywordStart:
		if a.VendorRef != "" || !w.started {
			w.stopped = false
		}
		w.started = w.started || a.VendorRef == ""
	case message.KeywordHelp:
		w.helped = true
	}
	if was != w.stopped {
		w.changes++
	}
}

// sweep makes messages of the answers that are owed; the process may die before it
// has, or before it has said so.
func (w *keywordWorld) sweep(mayDie bool) {
	db := rapid.SampledFrom(w.dbs).Draw(w.rt, "process")
	due, err := db.RepliesDue(w.b.ctx, -time.Second, 100)
	if err != nil {
		w.rt.Fatal(err)
	}
	for _, r := range due {
		fate := "lives"
		if mayDie {
			fate = rapid.SampledFrom([]string{"lives", "dies", "dies late"}).Draw(w.rt, "fate of the answer")
		}
		if fate == "dies" {
			continue
		}
		m := w.b.draft()
		m.ID, m.From, m.To, m.Body, m.Automatic, m.Edge, m.ClientReference = r.ID, r.From, r.To, r.Text, true, message.EdgeAutomatic, string(r.Action)
		if _, err := db.Accept(w.b.ctx, message.Acceptance{Message: m}); err != nil {
			w.rt.Fatal(err)
		}
		if fate == "dies late" {
			continue
		}
		if err := db.DropReply(w.b.ctx, r.ID); err != nil {
			w.rt.Fatal(err)
		}
	}
}

func (w *keywordWorld) check() {
	helped := 0
	if w.helped {
		helped = 1
	}
	const owed = `select count(*) from (
	  select id from automatic_replies where to_addr = $1
	  union
	  select id from messages where automatic and to_addr = $1) r`
	if got := w.b.count(owed, string(w.from)); got != w.changes+helped {
		w.rt.Fatalf("%d answers to %d changes and %d calls for help", got, w.changes, helped)
	}
	active := w.b.count("select count(*) from opt_outs where recipient = $1 and active", string(w.from))
	if (active == 1) != w.stopped {
		w.rt.Fatalf("stopped: %v, %d in force", w.stopped, active)
	}
}
