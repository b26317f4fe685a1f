package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// joined makes a message of a set, as ingress does, and takes its parts away.
func (b *bundle) joined(set *message.SMPPPartSet) *message.Message {
	b.tb.Helper()
	m := b.draft()
	m.ID, m.Edge = set.MessageID, message.EdgeSMPP
	a := message.Acceptance{Message: m, Owed: true}
	for i, p := range set.Parts {
		if p.ID == set.MessageID {
			a.Origin = &set.Parts[i].Origin
		} else {
			a.More = append(a.More, p.Origin)
		}
	}
	b.taken(a)
	if err := b.MarkJoined(b.ctx, m.ID); err != nil {
		b.tb.Fatal(err)
	}
	return m
}

// again is the same submit with another id, as after a lost answer.
func again(p message.SMPPPart) message.SMPPPart {
	p.ID = message.NewID()
	p.Origin.AnswerID = message.Hex32(p.ID)
	return p
}

// repeat calls RepeatParts and returns what it says.
func (b *bundle) repeat(set message.SMPPPartSet) bool {
	b.tb.Helper()
	done, err := b.RepeatParts(b.ctx, set)
	if err != nil {
		b.tb.Fatal(err)
	}
	return done
}

// Parts that come again lead to their message, and are owed its receipts: those
// that it has had, and those to come.
func TestRepeatParts(t *testing.T) {
	t.Parallel()
	b := setup(t)
	credential := b.esme(b.owner, "acme")
	one, two := b.part(credential, 1, 1, 2, "one"), b.part(credential, 1, 2, 2, "two")
	one.Origin.Registered, two.Origin.Registered = 0x11, 1
	b.add(one)
	first := b.add(two)
	known := []string{one.Origin.AnswerID, two.Origin.AnswerID}
	come := func() *message.SMPPPartSet {
		t.Helper()
		var set *message.SMPPPartSet
		for _, p := range []message.SMPPPart{two, one} {
			p = again(p)
			known = append(known, p.Origin.AnswerID)
			set = b.add(p)
		}
		if set == nil || set.Repeats != first.MessageID || len(set.Parts) != 2 {
			t.Fatalf("%+v, want a repetition of %s", set, first.MessageID)
		}
		return set
	}
	early := come()
	if b.repeat(*early) || b.count("select count(*) from smpp_parts where repeats is not null") != 2 {
		t.Fatal("done before the message is there")
	}
	m := b.joined(first)
	if b.repeat(*early) {
		t.Error("done at once: whoever looks at this moment may not see the answers")
	}
	b.becomes(m, message.StatusSent)
	if !b.repeat(*early) || b.repeat(*early) {
		t.Error("not done once")
	}
	b.becomes(m, message.StatusDelivered)
	late := come()
	for _, want := range []bool{false, true, false} {
		if got := b.repeat(*late); got != want {
			t.Errorf("done %v, want %v", got, want)
		}
	}
	if n := b.count("select count(*) from smpp_parts"); n != 0 {
		t.Errorf("%d parts stay", n)
	}
	for _, id := range known {
		list, _ := b.answeredAs(credential, id)
		if len(list) != 1 || list[0].ID != m.ID {
			t.Errorf("%s leads to %+v", id, list)
		}
	}
	// Of those with a notice, the last came after it; each is owed one receipt.
	receipts := scalar[[]string](b, `select array_agg(coalesce(o.answer_id, $2) order by o.ordinal) from smpp_deliveries d join smpp_origins o using (message_id, ordinal)
		where d.message_id = $1 and d.kind = 'receipt' and d.status = 'delivered'`, m.ID, message.Hex32(m.ID))
	slices.Sort(receipts)
	slices.Sort(known)
	if !slices.Equal(receipts, known) {
		t.Errorf("receipts for %v, answered %v", receipts, known)
	}
	if n := b.count("select count(*) from smpp_deliveries where message_id = $1 and kind = 'notice'", m.ID); n != 2 {
		t.Errorf("%d notices", n)
	}
}

// One of the parts alone waits for the others, and leads to the message when none
// comes. An advance that runs meanwhile owes each answer its receipt.
func TestRepeatOfOnePart(t *testing.T) {
	t.Parallel()
	b := setup(t)
	credential := b.esme(b.owner, "acme")
	one, two := b.part(credential, 1, 1, 2, "one"), b.part(credential, 1, 2, 2, "two")
	one.Origin.Registered, two.Origin.Registered = 1, 1
	b.add(one)
	m := b.joined(b.add(two))
	extra := again(two)
	if set := b.add(extra); set != nil {
		t.Fatalf("%+v", set)
	}
	if due := b.partsDue(0, time.Minute); len(due) != 0 {
		t.Fatalf("due %+v", due)
	}
	b.exec("update smpp_parts set created_at = created_at - interval '61 seconds'")
	due := b.partsDue(time.Hour, time.Minute)
	if len(due) != 1 || due[0].Repeats != m.ID || !slices.Equal(idsOf(&due[0]), []message.ID{extra.ID}) {
		t.Fatalf("%+v", due)
	}
	var wg sync.WaitGroup
	wg.Go(func() { b.becomes(m, message.StatusDelivered) })
	wg.Go(func() { b.repeat(due[0]) })
	wg.Wait()
	if !b.repeat(due[0]) {
		t.Error("not done")
	}
	if got := b.owedRows(m); len(got) != 3 {
		t.Errorf("owed %v", got)
	}
}

// Two processes that let the same parts lead to their message do it once.
func TestRepeatPartsAtOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	credential := b.esme(b.owner, "acme")
	parts := []message.SMPPPart{b.part(credential, 1, 1, 2, "one"), b.part(credential, 1, 2, 2, "two")}
	b.add(parts[0])
	m := b.joined(b.add(parts[1]))
	b.becomes(m, message.StatusDelivered)
	var sets []message.SMPPPartSet
	for range 5 {
		b.add(again(parts[1]))
		sets = append(sets, *b.add(again(parts[0])))
	}
	processes := []*DB{b.DB, b.replica()}
	var wg sync.WaitGroup
	for n := range 20 {
		wg.Go(func() {
			if _, err := processes[n%2].RepeatParts(b.ctx, sets[n/2%5]); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, set := range sets {
		b.repeat(set)
	}
	if n := b.count("select count(*) from smpp_origins where message_id = $1", m.ID); n != 12 {
		t.Errorf("%d answers lead to it, want 12", n)
	}
	if n := b.count("select count(*) from smpp_parts"); n != 0 {
		t.Errorf("%d parts stay", n)
	}
}

// What differs in anything that counts repeats nothing, and neither does what
// comes late, too often or under a key of its own.
func TestNoRepetition(t *testing.T) {
	t.Parallel()
	b := setup(t)
	credential, other := b.esme(b.owner, "acme"), b.esme(b.owner, "acme2")
	one, two := b.part(credential, 1, 1, 2, "one"), b.part(credential, 1, 2, 2, "two")
	b.add(one)
	m := b.joined(b.add(two))
	repeats := func(p message.SMPPPart, key *message.Idempotency) bool {
		t.Helper()
		if _, err := b.AddPart(b.ctx, p, key); err != nil {
			t.Fatal(err)
		}
		return b.count("select count(*) from smpp_parts where id = $1 and repeats = $2", p.ID, m.ID) == 1
	}
	if !repeats(again(one), nil) {
		t.Fatal("no repetition")
	}
	for name, spoil := range map[string]func(*message.SMPPPart){
		"credential": func(p *message.SMPPPart) { p.Origin.CredentialID = other }, "reference": func(p *message.SMPPPart) { p.Reference += 1 << 16 },
		"total": func(p *message.SMPPPart) { p.Total++ }, "number": func(p *message.SMPPPart) { p.Number++ },
		"source": func(p *message.SMPPPart) { p.Origin.Source.Text += "X" }, "source TON": func(p *message.SMPPPart) { p.Origin.Source.TON++ },
		"source NPI": func(p *message.SMPPPart) { p.Origin.Source.NPI++ }, "dest": func(p *message.SMPPPart) { p.Origin.Dest.Text += "0" },
		"dest TON": func(p *message.SMPPPart) { p.Origin.Dest.TON++ }, "dest NPI": func(p *message.SMPPPart) { p.Origin.Dest.NPI++ },
		"coding": func(p *message.SMPPPart) { p.Coding++ }, "octets": func(p *message.SMPPPart) { p.Octets = []byte("one ") },
		"registered": func(p *message.SMPPPart) { p.Origin.Registered++ }, "mark": func(p *message.SMPPPart) { p.Origin.Reference = nil },
	} {
		p := again(one)
		spoil(&p)
		if repeats(p, nil) {
			t.Errorf("%s differs", name)
		}
	}
	keyed := again(one)
	if repeats(keyed, &message.Idempotency{AccountID: b.owner, Operation: "submit_sm", Key: "k"}) {
		t.Error("a key of its own")
	}
	b.exec("update smpp_joined set joined_at = clock_timestamp() - interval '601 seconds' where message_id = $1", m.ID)
	if repeats(again(one), nil) {
		t.Error("after ten minutes")
	}
	b.exec("update smpp_joined set joined_at = clock_timestamp() - interval '599 seconds', repeated = 19 where message_id = $1", m.ID)
	if !repeats(again(two), nil) || repeats(again(two), nil) {
		t.Error("not twenty times")
	}
}

// Two messages that begin alike, with one reference: what the second shares with
// the first is its own when nothing else comes, and else stays out of it.
func TestMessagesThatBeginAlike(t *testing.T) {
	t.Parallel()
	b := setup(t)
	credential := b.esme(b.owner, "acme")
	part := func(reference, number int, octets string) message.SMPPPart {
		return b.part(credential, reference, number, 3, octets)
	}
	for reference := range 2 {
		b.add(part(reference, 1, "dear customer, "))
		b.add(part(reference, 2, "a2"))
		b.joined(b.add(part(reference, 3, "a3")))
	}
	alike, second, third := part(0, 1, "dear customer, "), part(0, 2, "b2"), part(0, 3, "b3")
	alike.Origin.Reference = []byte{0, 1}
	for _, p := range []message.SMPPPart{alike, second, third} {
		if set := b.add(p); set != nil {
			t.Fatalf("%+v", set)
		}
	}
	late := part(1, 3, "a3")
	for _, p := range []message.SMPPPart{part(1, 1, "else"), part(1, 2, "b2"), late} {
		if set := b.add(p); set != nil {
			t.Fatalf("joined with a part of another: %+v", set)
		}
	}
	if set := b.add(part(1, 3, "b3")); set == nil || set.Repeats != (message.ID{}) || len(set.Parts) != 3 || string(set.Parts[2].Octets) != "b3" {
		t.Errorf("%+v", set)
	}
	b.exec("update smpp_parts set created_at = created_at - interval '61 seconds' where message_id is null")
	due := b.partsDue(time.Hour, time.Minute)
	if len(due) != 2 {
		t.Fatalf("%+v", due)
	}
	slices.SortFunc(due, func(a, b message.SMPPPartSet) int { return len(a.Parts) - len(b.Parts) })
	if due[0].Repeats == (message.ID{}) || !slices.Equal(idsOf(&due[0]), []message.ID{late.ID}) {
		t.Errorf("%+v", due[0])
	}
	text, whole := due[1].Text()
	if !whole || due[1].Repeats != (message.ID{}) || string(text[0].Octets) != "dear customer, " || string(text[2].Octets) != "b3" {
		t.Errorf("%+v", due[1])
	}
}

// What is left of a set that nobody gave up is no part of the next: it is settled
// when that begins.
func TestLeftoverPart(t *testing.T) {
	t.Parallel()
	b := setup(t)
	credential := b.esme(b.owner, "acme")
	old := b.part(credential, 1, 1, 2, "old")
	b.add(old)
	b.exec("update smpp_parts set created_at = created_at - interval '61 seconds'")
	if set := b.add(b.part(credential, 1, 2, 2, "new")); set != nil {
		t.Fatalf("joined %+v", set)
	}
	due := b.partsDue(0, time.Minute)
	if len(due) != 1 || due[0].MessageID != old.ID || len(due[0].Parts) != 1 {
		t.Errorf("%+v", due)
	}
	if set := b.add(b.part(credential, 1, 1, 2, "brand")); set == nil || len(set.Parts) != 2 {
		t.Errorf("%+v", set)
	}
}

// A set does not grow for ever.
func TestPartSetIsBounded(t *testing.T) {
	t.Parallel()
	b := setup(t)
	credential := b.esme(b.owner, "acme")
	p := b.part(credential, 1, 1, 2, "one")
	b.add(p)
	b.exec(`insert into smpp_parts (id, account_id, credential_id, source_ton, source_npi, source, dest_ton, dest_npi, dest, reference, total, number, data_coding, octets, request, registered, answer_id)
		select gen_random_uuid(), account_id, credential_id, source_ton, source_npi, source, dest_ton, dest_npi, dest, reference, total, number, data_coding, octets, request, registered, n::text
		from smpp_parts, generate_series(1, 1018) n`)
	b.exec("delete from smpp_parts where id = $1", p.ID) // the others cannot be opened
	if _, err := b.AddPart(b.ctx, again(p), nil); err != nil {
		t.Fatal(err)
	}
	if n := b.count("select count(*) from smpp_parts where message_id is not null"); n != 0 {
		t.Fatalf("%d are settled too early", n)
	}
	if _, err := b.AddPart(b.ctx, again(p), nil); err == nil {
		t.Error("opened what was not sealed for it")
	}
	if n := b.count("select count(*) from smpp_parts where message_id is not null"); n != 1020 {
		t.Errorf("%d of 1020 are settled", n)
	}
}

// Sets that cannot be read stand before nobody, and two sweepers do not work on
// the same ones.
func TestSettledSetsAreTakenInTurn(t *testing.T) {
	t.Parallel()
	b := setup(t)
	credential := b.esme(b.owner, "acme")
	var sets []*message.SMPPPartSet
	for reference := range 3 {
		b.add(b.part(credential, reference, 1, 2, "one"))
		sets = append(sets, b.add(b.part(credential, reference, 2, 2, "two")))
	}
	b.exec("update smpp_parts set octets = 'x' where message_id = $1", sets[0].MessageID)
	b.exec("update smpp_parts set decided_at = decided_at - interval '1 minute' - reference * interval '-1 second'")
	take := func() []message.ID {
		t.Helper()
		due, err := b.PartsDue(b.ctx, 5*time.Second, time.Hour, 1)
		if len(due) == 0 && err == nil {
			return nil
		}
		if len(due) == 0 {
			return []message.ID{sets[0].MessageID} // named by the error
		}
		return []message.ID{due[0].MessageID}
	}
	for i := range 3 {
		if got := take(); !slices.Equal(got, []message.ID{sets[i].MessageID}) {
			t.Errorf("turn %d: %v", i, got)
		}
	}
	if got := take(); got != nil {
		t.Errorf("taken twice: %v", got)
	}
	// The rows of a set come together, whatever else is taken at that moment.
	b.exec("update smpp_parts set decided_at = decided_at - interval '1 minute'")
	b.exec("delete from smpp_parts where message_id = $1", sets[0].MessageID)
	processes := []*DB{b.DB, b.replica()}
	var wg sync.WaitGroup
	var mu sync.Mutex
	got := map[message.ID]int{}
	for n := range 8 {
		wg.Go(func() {
			due, err := processes[n%2].PartsDue(b.ctx, 5*time.Second, time.Hour, 10)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
			}
			for _, set := range due {
				if got[set.MessageID]++; len(set.Parts) != 2 {
					t.Errorf("%+v", set)
				}
			}
		})
	}
	wg.Wait()
	if len(got) != 2 || got[sets[1].MessageID] != 1 || got[sets[2].MessageID] != 1 {
		t.Errorf("taken %v", got)
	}
}

func TestForgetJoined(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec(`insert into smpp_joined (fingerprint, message_id, joined_at)
		select decode(md5(n::text), 'hex'), gen_random_uuid(), clock_timestamp() - n * interval '1 minute' from generate_series(1, 20) n`)
	for _, want := range []int{16, 12, 9, 9} {
		if err := b.ForgetJoined(b.ctx, 4); err != nil {
			t.Fatal(err)
		}
		if n := b.count("select count(*) from smpp_joined"); n != want {
			t.Errorf("%d are left, want %d", n, want)
		}
	}
}

// Parts take a few connections at a time and leave the others their own.
func TestPartsTakeTurns(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for range partTurns {
		if err := b.DB.parts.take(b.ctx); err != nil {
			t.Fatal(err)
		}
	}
	credential := b.esme(b.owner, "acme")
	ctx, cancel := context.WithCancel(b.ctx)
	cancel()
	if _, err := b.AddPart(ctx, b.part(credential, 1, 1, 2, "one"), nil); message.ReasonOf(err) != message.ReasonUnavailable {
		t.Errorf("%v", err)
	}
	done := make(chan error, 1)
	go func() { done <- second(b.AddPart(b.ctx, b.part(credential, 1, 1, 2, "one"), nil)) }()
	b.DB.parts.leave()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if n := len(b.DB.parts); n != partTurns-1 {
		t.Errorf("%d turns are taken", n)
	}
}

// A message that ends as it is stored tells the customer's webhooks in the same
// commit, once, and the next sweep finds that.
func TestAcceptTells(t *testing.T) {
	t.Parallel()
	b := setup(t)
	credential := b.esme(b.owner, "acme")
	a := b.inParts(credential, message.StatusFailed, 1, 1)
	a.Message.Error = message.Refuse(message.ReasonMissingPart, "1 of 2 parts came")
	for range 2 {
		n := b.notification(a.Message, "message.failed")
		n.Payload = `{"data":{` + message.SequencePlaceholder + `}}`
		a.Notifications = append(a.Notifications, n)
	}
	if got, err := b.Accept(b.ctx, a); err != nil || got.Repeated {
		t.Fatalf("%+v, %v", got, err)
	}
	other := a
	other.Notifications = []message.Notification{b.notification(a.Message, "message.rejected")}
	if got, err := b.Accept(b.ctx, other); err != nil || !got.Repeated {
		t.Errorf("again: %+v, %v", got, err)
	}
	due, err := b.OverdueNotifications(b.ctx, time.Minute, 10)
	if err != nil || len(due) != 2 {
		t.Fatalf("%d are due, %v", len(due), err)
	}
	for _, want := range a.Notifications {
		got, state, err := b.Notification(b.ctx, want.ID)
		want.EventID, want.Payload = message.EventID(a.Message.ID, 1), `{"data":{"sequence":1}}`
		if err != nil || state != message.NotificationPending || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%+v, %v, want %+v", got, err, want)
		}
	}
}

// What was stored by another is not remembered as this one would have it.
func TestRepeatedAcceptIsNotRemembered(t *testing.T) {
	t.Parallel()
	b := setup(t)
	credential := b.esme(b.owner, "acme")
	a := b.inParts(credential, message.StatusAccepted, 1)
	b.taken(a)
	other := b.replica()
	changed := *a.Message
	changed.From = "+12025550199"
	a.Message = &changed
	if got, err := other.Accept(b.ctx, a); err != nil || !got.Repeated {
		t.Fatalf("%+v, %v", got, err)
	}
	if m, err := other.Envelope(b.ctx, changed.ID); err != nil || m.From == changed.From {
		t.Errorf("%+v, %v", m, err)
	}
}

func TestRepeatStatements(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec(`insert into smpp_parts (id, account_id, credential_id, source_ton, source_npi, source, dest_ton, dest_npi, dest, reference, total, number, data_coding, octets, request, registered, answer_id, message_id, decided_at)
		select i.id, gen_random_uuid(), gen_random_uuid(), 0, 0, 'a', 0, 0, n::text::bytea, n % 256, 2, 1, 0, '', '{}', 0, n::text, case when n % 2 = 0 then i.id end, now()
		from generate_series(1, 20000) n, lateral (select gen_random_uuid() as id where n > 0) i`)
	b.exec("insert into smpp_joined (fingerprint, message_id) select decode(md5(n::text), 'hex'), gen_random_uuid() from generate_series(1, 20000) n")
	b.exec(analyze)
	for name, q := range map[string]struct {
		sql    string
		params int
		uses   []string
	}{
		"settled":  {takeSettledSets, 2, []string{"smpp_parts_settled", "smpp_parts_message"}},
		"open":     {selectOpenSets, 2, []string{"smpp_parts_open", "smpp_parts_set"}},
		"repeats":  {insertRepeats, 1, []string{"smpp_parts_message", "smpp_origins_pkey"}},
		"receipts": {settleRepeats, 5, []string{"smpp_parts_message", "smpp_origins_pkey"}},
		"forget":   {deleteJoined, 1, []string{"smpp_joined_age"}},
		"insert":   {insertPart, 25, []string{"smpp_joined_pkey"}},
	} {
		plan := b.explain(q.sql, q.params, "off") // as all run, lest a young table be read whole
		for _, index := range q.uses {
			if !strings.Contains(plan, index) {
				t.Errorf("%s does not use %s:\n%s", name, index, plan)
			}
		}
		if whole := endToEnd(plan); slices.Contains(whole, "smpp_parts") && name != "settled" || slices.Contains(whole, "smpp_origins") {
			t.Errorf("%s reads %v from end to end:\n%s", name, whole, plan)
		}
	}
}
