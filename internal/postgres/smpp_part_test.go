package postgres

import (
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/stack/stacktest"
)

// part is one as ingress hands it in.
func (b *bundle) part(credential message.ID, reference, number, total int, octets string) message.SMPPPart {
	id := message.NewID()
	return message.SMPPPart{ID: id, AccountID: b.owner, Reference: reference, Number: number, Total: total, Coding: 0xF5, Octets: []byte(octets),
		Request: []byte(`{"to": "+13105550117"}`), Origin: message.SMPPOrigin{CredentialID: credential, Registered: 0xE1, Reference: []byte{0, byte(number)},
			Source: message.SMPPAddress{TON: 5, Text: "A\x00ME\xff"}, Dest: message.SMPPAddress{TON: 1, NPI: 1, Text: "13105550117"}, AnswerID: message.Hex32(id)}}
}

func (b *bundle) add(p message.SMPPPart) *message.SMPPPartSet {
	b.tb.Helper()
	added, err := b.AddPart(b.ctx, p, nil)
	if err != nil || added.Replay != nil {
		b.tb.Fatalf("%+v, %v", added, err)
	}
	return added.Set
}

func (b *bundle) partsDue(join, missing time.Duration) []message.SMPPPartSet {
	b.tb.Helper()
	due, err := b.PartsDue(b.ctx, join, missing, 100)
	if err != nil {
		b.tb.Fatal(err)
	}
	return due
}

func idsOf(set *message.SMPPPartSet) []message.ID {
	return pick(set.Parts, func(p message.SMPPPart) message.ID { return p.ID })
}

// What an ESME wrote comes back to the octet, and the set once.
func TestAddPart(t *testing.T) {
	t.Parallel()
	b := setup(t)
	credential := b.esme(b.owner, "acme")
	one, two := b.part(credential, 1<<17+7, 1, 2, "\x00one\xff"), b.part(credential, 1<<17+7, 2, 2, "two")
	two.Origin.Reference, two.Origin.AnswerID = nil, "0000a1b2"
	if set := b.add(two); set != nil {
		t.Fatalf("whole: %+v", set)
	}
	set := b.add(one)
	if set == nil || set.MessageID != one.ID || len(set.Parts) != 2 {
		t.Fatalf("%+v", set)
	}
	for i, want := range []message.SMPPPart{one, two} {
		got := set.Parts[i]
		if time.Since(got.CreatedAt).Abs() > time.Hour {
			t.Errorf("added at %s", got.CreatedAt)
		}
		got.CreatedAt = time.Time{}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
	if n := b.count("select count(*) from smpp_parts where octets::text like '%' || encode('two', 'hex') || '%'"); n != 0 {
		t.Error("the text is not sealed")
	}
	for _, p := range []message.SMPPPart{one, two} {
		if set := b.add(p); set != nil {
			t.Errorf("added again, the set comes again: %+v", set)
		}
	}
	if n := b.count("select count(*) from smpp_parts"); n != 2 {
		t.Errorf("%d rows", n)
	}
	if due := b.partsDue(time.Hour, time.Hour); len(due) != 0 {
		t.Errorf("due %+v", due)
	}
	if due := b.partsDue(0, time.Hour); len(due) != 1 || !reflect.DeepEqual(due[0], *set) {
		t.Errorf("due %+v, want %+v", due, set)
	}
	for range 2 {
		if err := b.MarkJoined(b.ctx, set.MessageID); err != nil {
			t.Fatal(err)
		}
	}
	if n := b.count("select count(*) from smpp_parts"); n != 0 || len(b.partsDue(0, 0)) != 0 {
		t.Errorf("%d rows stay", n)
	}
}

// Whatever differs in what the ESME wrote makes another set.
func TestPartSetsApart(t *testing.T) {
	t.Parallel()
	b := setup(t)
	credential, other := b.esme(b.owner, "acme"), b.esme(b.owner, "acme2")
	b.add(b.part(credential, 1, 1, 2, "one"))
	for name, spoil := range map[string]func(*message.SMPPPart){
		"credential": func(p *message.SMPPPart) { p.Origin.CredentialID = other }, "reference": func(p *message.SMPPPart) { p.Reference += 1 << 16 },
		"total": func(p *message.SMPPPart) { p.Total++ }, "source": func(p *message.SMPPPart) { p.Origin.Source.Text += "X" },
		"source TON": func(p *message.SMPPPart) { p.Origin.Source.TON++ }, "source NPI": func(p *message.SMPPPart) { p.Origin.Source.NPI++ },
		"dest": func(p *message.SMPPPart) { p.Origin.Dest.Text += "0" }, "dest TON": func(p *message.SMPPPart) { p.Origin.Dest.TON++ },
		"dest NPI": func(p *message.SMPPPart) { p.Origin.Dest.NPI++ },
	} {
		p := b.part(credential, 1, 2, 2, "two")
		spoil(&p)
		if set := b.add(p); set != nil {
			t.Errorf("%s: whole", name)
		}
	}
	if set := b.add(b.part(credential, 1, 2, 2, "two")); set == nil || len(set.Parts) != 2 {
		t.Errorf("%+v", set)
	}
}

// Of two with one number the newer counts; both belong to the message.
func TestPartTwice(t *testing.T) {
	t.Parallel()
	b := setup(t)
	credential := b.esme(b.owner, "acme")
	old, fresh, last := b.part(credential, 1, 1, 2, "old"), b.part(credential, 1, 1, 2, "new"), b.part(credential, 1, 2, 2, "two")
	b.add(old)
	b.add(fresh)
	set := b.add(last)
	if set == nil || set.MessageID != fresh.ID || !slices.Equal(idsOf(set), []message.ID{fresh.ID, old.ID, last.ID}) {
		t.Fatalf("%+v", set)
	}
	if parts, whole := set.Text(); !whole || len(parts) != 2 || string(parts[0].Octets) != "new" {
		t.Errorf("%+v", parts)
	}
}

// Parts that come at once over several processes make one set, and one of them
// gets it.
func TestPartsAtOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	credential := b.esme(b.owner, "acme")
	processes := []*DB{b.DB, b.replica()}
	for round := range 10 {
		var wg sync.WaitGroup
		var mu sync.Mutex
		var got []*message.SMPPPartSet
		for n := range 6 {
			wg.Go(func() {
				added, err := processes[n%2].AddPart(b.ctx, b.part(credential, round, n+1, 6, "x"), nil)
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					t.Error(err)
				}
				if added.Set != nil {
					got = append(got, added.Set)
				}
			})
		}
		wg.Go(func() { // a sweeper that finds nothing old
			if due, err := processes[0].PartsDue(b.ctx, time.Hour, time.Hour, 10); err != nil || len(due) != 0 {
				t.Errorf("%+v, %v", due, err)
			}
		})
		wg.Wait()
		if len(got) != 1 || len(got[0].Parts) != 6 {
			t.Fatalf("%d sets came", len(got))
		}
	}
}

// One at a time looks at a set, whether it adds a part or gives the set up.
func TestPartSetIsLocked(t *testing.T) {
	t.Parallel()
	b := setup(t)
	credential := b.esme(b.owner, "acme")
	b.add(b.part(credential, 1, 1, 2, "one"))
	for name, look := range map[string]func() error{
		"add":     func() error { return second(b.AddPart(b.ctx, b.part(credential, 1, 1, 2, "one"), nil)) },
		"give up": func() error { return second(b.PartsDue(b.ctx, time.Hour, 0, 10)) },
	} {
		tx, err := b.pool.Begin(b.ctx)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Exec(b.ctx, lockPartSet, lockOf(b.part(credential, 1, 2, 2, "two"))); err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- look() }()
		b.blocked()
		if err := tx.Rollback(b.ctx); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Errorf("%s: %v", name, err)
		}
		b.add(b.part(credential, 1, 1, 2, "one")) // there is an open set again
	}
}

// A set is given up once, 60 s after its newest part, whatever comes meanwhile.
func TestPartsMissing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	credential := b.esme(b.owner, "acme")
	three, two := b.part(credential, 1, 3, 3, "three"), b.part(credential, 1, 2, 3, "two")
	b.add(three)
	b.add(two)
	b.exec("update smpp_parts set created_at = created_at - interval '61 seconds' where id = $1", three.ID)
	if due := b.partsDue(time.Hour, time.Minute); len(due) != 0 {
		t.Fatalf("given up while parts come: %+v", due)
	}
	b.exec("update smpp_parts set created_at = created_at - interval '61 seconds'")
	due := b.partsDue(time.Hour, time.Minute)
	if len(due) != 1 || due[0].MessageID != two.ID || !slices.Equal(idsOf(&due[0]), []message.ID{two.ID, three.ID}) {
		t.Fatalf("%+v", due)
	}
	if _, whole := due[0].Text(); whole {
		t.Error("it is whole")
	}
	if again := b.partsDue(time.Hour, time.Minute); len(again) != 0 {
		t.Errorf("given up twice: %+v", again)
	}
	if again := b.partsDue(0, time.Minute); !reflect.DeepEqual(again, due) {
		t.Errorf("not marked, and not due: %+v", again)
	}
	if set := b.add(b.part(credential, 1, 1, 3, "one")); set != nil {
		t.Errorf("the late part is in %+v", set)
	}
}

func TestPartKey(t *testing.T) {
	t.Parallel()
	b := setup(t)
	credential := b.esme(b.owner, "acme")
	p, again := b.part(credential, 1, 1, 2, "one"), b.part(credential, 1, 1, 2, "one")
	key := message.Idempotency{AccountID: b.owner, Operation: "submit_sm", Key: "k", BodyHash: [32]byte{1}, Response: []byte(p.Origin.AnswerID)}
	if added, err := b.AddPart(b.ctx, p, &key); err != nil || added.Replay != nil {
		t.Fatalf("%+v, %v", added, err)
	}
	if added, err := b.AddPart(b.ctx, again, &key); err != nil || added.Replay == nil || string(added.Replay.Response) != p.Origin.AnswerID {
		t.Errorf("%+v, %v", added, err)
	}
	key.BodyHash[0]++
	if _, err := b.AddPart(b.ctx, again, &key); message.ReasonOf(err) != message.ReasonIdempotencyMismatch {
		t.Errorf("another body: %v", err)
	}
	if n := b.count("select count(*) from smpp_parts"); n != 1 {
		t.Errorf("%d rows", n)
	}
}

// Before its message is there a part is found by its id, afterwards the message
// is, by the ids of all parts.
func TestPartAnswered(t *testing.T) {
	t.Parallel()
	b := setup(t)
	credential, stranger := b.esme(b.owner, "acme"), b.esme(message.NewID(), "other")
	a := b.inParts(credential, message.StatusAccepted, 1, 0x11, 0)
	p := b.part(credential, 1, 1, 2, "one")
	b.add(p)
	p.Origin.Part = true
	list, origins := b.answeredAs(credential, p.Origin.AnswerID)
	if len(list) != 1 || list[0].ID != p.ID || list[0].Status != message.StatusAccepted || !reflect.DeepEqual(origins[0], p.Origin) {
		t.Errorf("%+v %+v", list, origins)
	}
	if _, _, err := b.Answered(b.ctx, stranger, p.Origin.AnswerID); message.ReasonOf(err) != message.ReasonNotFound {
		t.Errorf("a stranger finds it: %v", err)
	}
	b.taken(a)
	for _, want := range append([]message.SMPPOrigin{*a.Origin}, a.More...) {
		want.Part = true
		list, origins := b.answeredAs(credential, want.AnswerID)
		if len(list) != 1 || list[0].ID != a.Message.ID || !reflect.DeepEqual(origins[0], want) {
			t.Errorf("%s: %+v %+v", want.AnswerID, list, origins)
		}
	}
	if ids, err := b.Between(b.ctx, credential, a.Origin.Source, a.Origin.Dest, 10); err != nil || !slices.Equal(ids, []message.ID{a.Message.ID}) {
		t.Errorf("between: %v, %v", ids, err)
	}
}

// inParts is a message of several parts with these registered_delivery, as join
// hands it in.
func (b *bundle) inParts(credential message.ID, s message.Status, registered ...byte) message.Acceptance {
	a := b.submitted(credential, registered[0])
	a.Owed, a.Message.Status = true, s
	for _, r := range registered[1:] {
		o := *a.Origin
		o.Registered, o.AnswerID = r, message.Hex32(message.NewID())
		a.More = append(a.More, o)
	}
	return a
}

// Each part gets the receipts that its submit asked for, with its id.
func TestPartsOwed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	credential := b.esme(b.owner, "acme")
	a := b.inParts(credential, message.StatusAccepted, 0x11, 0, 2, 1)
	m := b.taken(a)
	b.becomes(m, message.StatusSent)
	b.becomes(m, message.StatusDelivered)
	if got := b.owedRows(m); len(got) != 3 || got[0] != "notice sent" {
		t.Fatalf("owed %v", got)
	}
	var got []string
	for range 2 { // the receipt of the first waits for its notice
		for _, d := range b.claim(b.DB, "a", map[message.ID]int{credential: 10}) {
			got = append(got, d.Origin.AnswerID+" "+string(d.Kind))
			b.record(message.SMPPDelivered{ID: d.ID, MessageID: m.ID, Kind: d.Kind, Number: 1, State: message.NotificationDelivered})
		}
	}
	slices.Sort(got)
	want := []string{a.Origin.AnswerID + " notice", a.Origin.AnswerID + " receipt", a.More[2].AnswerID + " receipt"}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// A set that ends when it is stored owes its receipts in the same commit, once.
func TestPartsOwedAtOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	credential := b.esme(b.owner, "acme")
	for _, s := range []message.Status{message.StatusFailed, message.StatusRejected} {
		a := b.inParts(credential, s, 1, 0, 2, 0x10, 0x11)
		a.Message.Error = message.Refuse(message.ReasonMissingPart, "1 of 2 parts came")
		whole := b.inParts(credential, message.StatusAccepted, 1, 1)
		for range 2 {
			b.taken(a)
			b.taken(whole)
		}
		kind := "receipt " + string(s)
		if got := b.owedRows(a.Message); !slices.Equal(got, []string{kind, kind, kind}) {
			t.Errorf("owed %v", got)
		}
		if got := b.owedRows(whole.Message); len(got) != 0 {
			t.Errorf("owed %v about a message on its way", got)
		}
		if n := b.count("select count(distinct o.answer_id) + count(*) filter (where o.answer_id is null) from smpp_deliveries d join smpp_origins o using (message_id, ordinal) where message_id = $1", a.Message.ID); n != 3 {
			t.Errorf("%d of the answers are owed theirs", n)
		}
		if n := b.count("select count(*) from starts where message_id = $1", a.Message.ID); n != 0 {
			t.Error("it would be started")
		}
		b.timeline(a.Message)
	}
}

func TestPartStatements(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec(`insert into smpp_parts (id, account_id, credential_id, source_ton, source_npi, source, dest_ton, dest_npi, dest, reference, total, number, data_coding, octets, request, registered, answer_id)
		select gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 0, 0, 'a', 0, 0, n::text::bytea, n % 256, 2, 1, 0, '', '{}', 0, n::text from generate_series(1, 20000) n`)
	b.exec(analyze)
	for _, q := range []struct {
		sql    string
		params int
		uses   string
	}{{decidePartSet, 10, "smpp_parts_set"}, {selectAnsweredPart, 2, "smpp_parts_answer"}} {
		if plan := b.explain(q.sql, q.params, "on"); !strings.Contains(plan, q.uses) || slices.Contains(endToEnd(plan), "smpp_parts") {
			t.Errorf("does not use %s:\n%s", q.uses, plan)
		}
	}
}

// The edge of the release before goes on writing while this one's schema is there.
func TestMigrationFrom0006(t *testing.T) {
	t.Parallel()
	dsn := stacktest.Database(t)
	ctx := stacktest.Context(t)
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	migratedBefore(t, ctx, conn, 7)
	before, after, credential := message.NewID(), message.NewID(), message.NewID()
	origin := `insert into smpp_origins (message_id, account_id, credential_id, registered, source_ton, source_npi, source, dest_ton, dest_npi, dest)
		values ($1, $2, $2, 1, 0, 0, 'a', 0, 0, 'b') on conflict do nothing`
	delivery := `insert into smpp_deliveries (id, credential_id, account_id, message_id, kind, status, expires_at)
		values (gen_random_uuid(), $2, $2, $1, 'receipt', 'delivered', now()) on conflict do nothing`
	write := func(id message.ID) {
		t.Helper()
		for _, sql := range []string{origin, delivery, origin, delivery} {
			if _, err := conn.Exec(ctx, sql, id, credential); err != nil {
				t.Fatal(err)
			}
		}
	}
	write(before)
	if _, err := Migrate(ctx, configOf(t, dsn)); err != nil {
		t.Fatal(err)
	}
	write(before)
	write(after)
	var n int
	if err := conn.QueryRow(ctx, "select (select count(*) from smpp_origins where ordinal = 0) * 10 + (select count(*) from smpp_deliveries where ordinal = 0)").Scan(&n); err != nil || n != 22 {
		t.Errorf("%d, %v", n, err)
	}
	if err := conn.Close(ctx); err != nil {
		t.Fatal(err)
	}
}
