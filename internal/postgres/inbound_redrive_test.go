package postgres

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// found is a message that was nobody's, as ingress takes it in anew.
func (b *bundle) found(u message.Unrouted) message.Arrival {
	a := b.owned(message.Arrival{InboundMessage: u.InboundMessage, ID: u.ID, Sender: message.Address(u.From), Number: message.Address(u.To), Joined: u.Joined, Missing: u.Missing})
	return b.toRecord(a)
}

func TestRedrive(t *testing.T) {
	t.Parallel()
	b := setup(t)
	lost := b.arrival("where is it?")
	lost.Subject, lost.Kind, lost.Media = "a picture", message.MMS, []message.InboundMedia{{URL: "https://vendor.example/1", ContentType: "image/png", Size: 7, SHA256: "9b"}}
	other := b.arrival("hello?")
	other.Number = "+12025550199"
	stop := b.arrival("STOP")
	part := b.arrival("part")
	part.Raw, part.Part, part.Parts, part.Join, part.Wait = []byte("part"), 1, 2, b.joining, partsWait
	for _, a := range []message.Arrival{lost, other, stop, part} {
		b.came(a)
	}
	list, err := b.UnroutedMessages(b.ctx, "", message.ID{}, 10)
	if err != nil || len(list) != 3 || list[0].ID != lost.ID || list[1].ID != other.ID || list[2].Text != "STOP" {
		t.Fatalf("%+v, %v", list, err)
	}
	if one, err := b.UnroutedMessages(b.ctx, "+12025550199", message.ID{}, 10); err != nil || len(one) != 1 || one[0].ID != other.ID {
		t.Errorf("%+v, %v", one, err)
	}
	if behind, err := b.UnroutedMessages(b.ctx, "", other.ID, 10); err != nil || len(behind) != 1 || behind[0].ID != stop.ID {
		t.Errorf("%+v, %v", behind, err)
	}
	u, err := b.UnroutedMessage(b.ctx, lost.ID)
	if err != nil || u.Text != lost.Text || u.Subject != lost.Subject || !slices.Equal(u.Media, lost.Media) || u.Kind != message.MMS || u.From != string(handset) || u.To != string(ours) {
		t.Fatalf("%+v, %v", u, err)
	}
	// Several may try at once: one of them does it.
	var wg sync.WaitGroup
	var mu sync.Mutex
	done, conflicts := 0, 0
	for range 4 {
		wg.Go(func() {
			out, err := b.Redrive(b.ctx, actor, b.found(u))
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil && out.Start != nil:
				done++
			case message.ReasonOf(err) == message.ReasonConflict:
				conflicts++
			default:
				t.Errorf("%+v, %v", out, err)
			}
		})
	}
	wg.Wait()
	if done != 1 || conflicts != 3 {
		t.Errorf("%d done, %d conflicts", done, conflicts)
	}
	m, err := b.Message(b.ctx, lost.ID)
	if err != nil || m.Body != lost.Text || m.AccountID != b.owner || m.Kind != message.SMS && m.Kind != message.MMS || m.Status != message.StatusAccepted {
		t.Errorf("%+v, %v", m, err)
	}
	if got := b.story(lost.ID); got != "received staff_action" || len(b.timeline(m)) != 2 {
		t.Errorf("its story: %s", got)
	}
	if _, err := b.UnroutedMessage(b.ctx, lost.ID); message.ReasonOf(err) != message.ReasonNotFound {
		t.Errorf("%v", err)
	}
	if _, err := b.Redrive(b.ctx, actor, b.found(message.Unrouted{ID: message.NewID()})); message.ReasonOf(err) != message.ReasonNotFound {
		t.Errorf("of none: %v", err)
	}
	if n := b.count("select count(*) from audit_log where action = 'inbound.redrive' and target = $1", lost.ID.String()); n != 1 {
		t.Errorf("%d lines in the audit log", n)
	}
	subject, media, err := b.InboundExtras(b.ctx, lost.ID)
	if err != nil || subject != lost.Subject || !slices.Equal(media, lost.Media) {
		t.Errorf("%q, %+v, %v", subject, media, err)
	}
	// A word that stops does so late as well; one that starts does not.
	for action, opted := range map[message.KeywordAction]int{message.KeywordStop: 1, message.KeywordStart: 1} {
		w := b.arrival(string(action))
		b.came(w)
		a := b.toRecord(b.keyword(action))
		a.ID = w.ID
		if _, err := b.Redrive(b.ctx, actor, a); err != nil {
			t.Fatal(err)
		}
		if active, _ := b.opted(); action == message.KeywordStop && active != opted {
			t.Errorf("%s: %d opt-outs", action, active)
		}
	}
	if active, all := b.opted(); active != 1 || all != 1 {
		t.Errorf("%d of %d opt-outs", active, all)
	}
}

// Of each pair a number's own answers are few, whoever counts.
func TestOwnAnswersAreFew(t *testing.T) {
	t.Parallel()
	b := setup(t)
	say := func(from message.Address) bool {
		a := b.toRecord(b.owned(b.arrival("hello " + message.NewID().String())))
		a.Sender = from
		a.Act = &message.KeywordAct{Reply: &message.AutomaticReply{ID: message.NewID(), AccountID: b.owner, From: ours, To: from, Text: "we are closed"}}
		out := b.came(a)
		if out.Start == nil || out.Reply != nil && (out.Reply.Action != message.KeywordNone || out.Reply.InboundID != a.ID) {
			t.Errorf("%+v", out)
		}
		want := "received"
		if out.Reply != nil {
			want += " reply_owed"
		}
		if got := b.story(a.ID); got != want {
			t.Errorf("%s, want %s", got, want)
		}
		return out.Reply != nil
	}
	earlier := func(d time.Duration) {
		b.exec("update keyword_pairs set own_at = own_at - $1::interval", d)
	}
	answered := 0
	for range 10 {
		for range 3 {
			if say(handset) {
				answered++
			}
		}
		earlier(61 * time.Minute)
	}
	if answered != ownPerDay {
		t.Errorf("%d answers in a day", answered)
	}
	if !say("+13105550118") {
		t.Error("another pair is counted as this one")
	}
	// A day later there are more, and answers to words are counted apart.
	b.exec("update keyword_pairs set day = day - 1")
	if !say(handset) || b.count("select own from keyword_pairs where recipient = $1", string(handset)) != 1 {
		t.Error("none a day later")
	}
	help := b.keyword(message.KeywordHelp)
	if out := b.came(help); out.Reply == nil {
		t.Error("no answer to HELP")
	}
	if n := b.count("select own + 10 * answers from keyword_pairs where recipient = $1", string(handset)); n != 11 {
		t.Errorf("counted %d", n)
	}
	due, err := b.RepliesDue(b.ctx, 0, 100)
	if err != nil || len(due) != ownPerDay+3 {
		t.Errorf("%d due, %v", len(due), err)
	}
}

// The outbox gives each message to one at a time until it is started.
func TestInboundOutbox(t *testing.T) {
	t.Parallel()
	b := setup(t)
	a := b.toRecord(b.owned(b.arrival("hello")))
	out := b.came(a)
	if out.Start == nil || out.Start.MessageID != a.ID || out.Start.AccountID != b.owner {
		t.Fatalf("%+v", out)
	}
	b.came(b.arrival("of nobody's"))
	again := b.toRecord(b.owned(b.arrival("hello")))
	if out := b.came(again); out.Start == nil {
		t.Errorf("%+v", out) // people repeat themselves
	}
	if m, err := b.Message(b.ctx, again.ID); err != nil || !m.DuplicatePoss {
		t.Errorf("%+v, %v", m, err)
	}
	if due, err := b.InboundUnstarted(b.ctx, time.Minute, 10); err != nil || len(due) != 0 {
		t.Errorf("%+v, %v", due, err)
	}
	due, err := b.InboundUnstarted(b.ctx, 0, 10)
	if err != nil || len(due) != 2 || due[0] != *out.Start && due[1] != *out.Start {
		t.Errorf("%+v, %v", due, err)
	}
	if n, err := b.CountInboundUnstarted(b.ctx); err != nil || n != 2 {
		t.Errorf("%d, %v", n, err)
	}
	for _, s := range due {
		if err := b.InboundStarted(b.ctx, s.MessageID); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := b.CountInboundUnstarted(b.ctx); err != nil || n != 0 {
		t.Errorf("%d, %v", n, err)
	}
}

func TestMatchReceipt(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m := b.sent("a1", "a2")
	r := b.receipt("zz", message.ReceiptDelivered)
	if out := b.received(r); out.Known {
		t.Fatalf("%+v", out)
	}
	enroute := b.receipt("yy", message.ReceiptEnroute)
	b.received(enroute)
	list, err := b.UnmatchedReceipts(b.ctx, message.ID{}, 10)
	if err != nil || len(list) != 1 || list[0].ID != r.ID {
		t.Fatalf("%+v, %v", list, err)
	}
	for name, tt := range map[string]struct {
		receipt, message message.ID
		part             int
		want             message.Reason
	}{
		"no receipt":    {message.NewID(), m.ID, 1, message.ReasonNotFound},
		"no message":    {r.ID, message.NewID(), 1, message.ReasonNotFound},
		"no part":       {r.ID, m.ID, 3, message.ReasonNotFound},
		"nothing final": {enroute.ID, m.ID, 1, message.ReasonConflict},
	} {
		if _, err := b.MatchReceipt(b.ctx, actor, tt.receipt, tt.message, tt.part); message.ReasonOf(err) != tt.want {
			t.Errorf("%s: %v", name, err)
		}
	}
	out, err := b.MatchReceipt(b.ctx, actor, r.ID, m.ID, 2)
	if err != nil || !out.Applied || out.MessageID != m.ID || out.Part != 2 || out.Progress.Settled != 1 {
		t.Fatalf("%+v, %v", out, err)
	}
	if parts := b.parts(m); parts[1].State != message.PartDelivered || parts[0].State != message.PartSubmitted || parts[1].VendorMessageID != "a2" {
		t.Errorf("%+v", parts)
	}
	if _, err := b.MatchReceipt(b.ctx, actor, r.ID, m.ID, 1); message.ReasonOf(err) != message.ReasonConflict {
		t.Errorf("twice: %v", err)
	}
	events := b.timeline(m)
	if e := events[len(events)-2]; e.Type != message.EventStaffAction || e.Detail["action"] != "match_receipt" {
		t.Errorf("%+v", e)
	}
	second := b.receipt("xx", message.ReceiptUndeliverable)
	b.received(second)
	if _, err := b.MatchReceipt(b.ctx, actor, second.ID, m.ID, 2); message.ReasonOf(err) != message.ReasonConflict {
		t.Errorf("of a decided part: %v", err)
	}
	foreign := b.receipt("ww", message.ReceiptDelivered)
	foreign.VendorID = message.NewID()
	b.received(foreign)
	if _, err := b.MatchReceipt(b.ctx, actor, foreign.ID, m.ID, 1); message.ReasonOf(err) != message.ReasonConflict {
		t.Errorf("of another vendor: %v", err)
	}
	if n := b.count("select count(*) from audit_log where action = 'receipt.match'"); n != 1 {
		t.Errorf("%d lines in the audit log", n)
	}
}

func TestInboundSetPlans(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, sql := range []string{
		`insert into inbound_messages (id, account_id, vendor_id, fingerprint, from_addr, to_addr, encoding, reference, part, parts, whole_id, repeat_of, received_at)
		 select gen_random_uuid(), case when n % 10 > 0 then gen_random_uuid() end, gen_random_uuid(), sha256(n::text::bytea), '+1310', (n % 1000)::text, 'gsm7', n % 256, case when n % 2 = 0 then 1 else 0 end,
		   case when n % 2 = 0 then 2 else 0 end, case when n % 100 > 2 then gen_random_uuid() end, case when n % 100 = 2 then gen_random_uuid() end, now() from generate_series(1, 20000) n`,
		`insert into inbound_starts (message_id, account_id, taken_at) select gen_random_uuid(), gen_random_uuid(), now() - n * interval '1 second' from generate_series(1, 20000) n`,
		`insert into receipts (id, vendor_id, normalized_id, state) select gen_random_uuid(), gen_random_uuid(), n::text, 'DELIVRD' from generate_series(1, 20000) n`,
		analyze,
	} {
		b.exec(sql)
	}
	for _, q := range []struct {
		name, sql string
		params    int
		uses      string
	}{
		{"a part", insertInboundPart, 37, "inbound_messages_said_part"},
		{"the parts of a set", selectOpen, 5, "inbound_messages_open"},
		{"parts that waited", selectOver, 2, "inbound_messages_waiting"},
		{"parts that waited, the newest", selectOver, 2, "inbound_messages_open"},
		{"repetitions", forgetRepeated, 2, "inbound_messages_waiting"},
		{"joined parts", markJoined, 7, "inbound_messages_open"},
		{"unrouted", selectUnroutedFrom, 2, "inbound_messages_unrouted"},
		{"unrouted to one", selectUnroutedToFrom, 3, "inbound_messages_unrouted_to"},
		{"pile of unrouted", pileUnrouted, 2, "inbound_messages_unrouted"},
		{"newest unrouted to one", selectInboundUnroutedTo, 3, "inbound_messages_unrouted_to"},
		{"starts", takeInboundStarts, 2, "inbound_starts_taken"},
		{"strange receipts", selectStrangers, 2, "receipts_unmatched_id"},
	} {
		plan := b.explain(q.sql, q.params, "off")
		if !strings.Contains(plan, q.uses) || strings.Contains(plan, "Seq Scan") {
			t.Errorf("%s:\n%s", q.name, plan)
		}
	}
}

// Who polls from where they were finds a message that came long before, and found its
// owner only now.
func TestRedrivenIsFoundByWhoPolls(t *testing.T) {
	t.Parallel()
	b := setup(t)
	lost := b.arrival("where is it?")
	b.came(lost)
	newer := b.toRecord(b.owned(b.arrival("hello")))
	b.came(newer)
	poll := func(f message.ReceivedFilter, behind message.ID) []message.ID {
		t.Helper()
		got, err := b.ReceivedMessages(b.ctx, b.owner, f, behind, 10)
		if err != nil {
			t.Fatal(err)
		}
		return pick(got, func(r message.ReceivedState) message.ID { return r.ID })
	}
	if got := poll(message.ReceivedFilter{}, message.ID{}); !slices.Equal(got, []message.ID{newer.ID}) {
		t.Fatalf("%v, want %s", got, newer.ID)
	}
	u, err := b.UnroutedMessage(b.ctx, lost.ID)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Redrive(b.ctx, actor, b.found(u)); err != nil {
		t.Fatal(err)
	}
	for what, got := range map[string][]message.ID{
		"from behind the newest":     poll(message.ReceivedFilter{}, newer.ID),
		"from the newest one's time": poll(message.ReceivedFilter{After: newer.ReceivedAt.Add(time.Millisecond)}, newer.ID),
	} {
		if !slices.Equal(got, []message.ID{lost.ID}) {
			t.Errorf("%s: %v, want %s", what, got, lost.ID)
		}
	}
	one, err := b.ReceivedMessage(b.ctx, b.owner, lost.ID)
	if err != nil || !one.ReceivedAt.Before(newer.ReceivedAt) {
		t.Errorf("it came at %s, which is when it came in: %v", one.ReceivedAt, err)
	}
}
