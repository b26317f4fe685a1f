package postgres

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
)

const aDay = 24 * time.Hour

var keeping = message.Retention{Messages: 400 * aDay, Strays: 30 * aDay}

// begun begins a round on db, which must be to be had.
func (b *bundle) begun(db *DB) *Upkeep {
	b.tb.Helper()
	return b.begunBy(db, keeping)
}

func (b *bundle) begunBy(db *DB, keep message.Retention) *Upkeep {
	b.tb.Helper()
	u, err := db.BeginUpkeep(b.ctx, "tester", keep, 0)
	if err != nil || u == nil {
		b.tb.Fatalf("no round begun: %v", err)
	}
	b.tb.Cleanup(func() { _ = u.End(b.ctx, false) }) // of a test that failed
	return u
}

// upkeep does a whole round and gives how many rows went of each table.
func (b *bundle) upkeep() map[string]int {
	b.tb.Helper()
	return b.upkeepBy(keeping)
}

func (b *bundle) upkeepBy(keep message.Retention) map[string]int {
	b.tb.Helper()
	u := b.begunBy(b.DB, keep)
	rows := make(map[string]int)
	for more := true; more; {
		table := u.Table()
		done, err := u.Step(b.ctx)
		if err != nil {
			b.tb.Fatal(err)
		}
		rows[table] += done.Rows
		more = done.More
	}
	if err := u.End(b.ctx, true); err != nil {
		b.tb.Fatal(err)
	}
	return rows
}

// Whoever adds a table says until when its rows stay.
func TestEveryTableHasARule(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kept, err := b.KeptTables(b.ctx, keeping)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range kept {
		n := 0
		for _, r := range tableRules {
			if r.table == k.Table {
				n++
			}
		}
		if n != 1 || k.Rule == "" {
			t.Errorf("table %s has %d rules in tableRules (%q): say until when its rows stay, or why they stay for ever", k.Table, n, k.Rule)
		}
	}
	for _, r := range tableRules {
		if !slices.ContainsFunc(kept, func(k message.KeptTable) bool { return k.Table == r.table }) {
			t.Errorf("there is a rule for %s, and no such table", r.table)
		}
	}
}

// Each statement finds what is due by an index, in its order, and so does not read what
// is not.
func TestUpkeepPlans(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.fill()
	b.fillSMPP()
	b.exec(`insert into inbound_messages (id, account_id, vendor_id, fingerprint, from_addr, to_addr, encoding, received_at, whole_id)
		select id, case when n % 100 > 0 then account_id end, account_id, '', 'x', 'y', 'gsm7', created_at, case when n % 50 = 0 then id end
		from (select *, row_number() over (order by id) n from messages) m`)
	b.exec("analyze")
	for _, r := range append(slices.Clone(strayRules), tableRules...) {
		if r.take == "" {
			continue
		}
		plan := b.explain(r.take, 2, "off")
		if strings.Contains(plan, "Seq Scan") || strings.Contains(plan, "Sort") {
			t.Errorf("%s:\n%s", r.table, plan)
		}
	}
	for name, q := range map[string]struct {
		sql    string
		params int
		uses   string
	}{
		"texts":     {selectTexts, 3, "messages"},
		"purge":     {purgeTexts, 2, "Index Cond: (id = ANY"},
		"parts":     {purgeInboundParts, 1, "inbound_messages_parts"},
		"inbound":   {purgeInbound, 1, "inbound_messages_pkey"},
		"payloads":  {selectTextPayloads, 2, "message"},
		"texts due": {selectTextsDue, 2, "text_purges_due_pkey"},
	} {
		plan := b.explain(q.sql, q.params, "off")
		if strings.Contains(plan, "Seq Scan") || !strings.Contains(plan, q.uses) {
			t.Errorf("%s:\n%s", name, plan)
		}
	}
}

// oldID is an id of a time.
func oldID(r *rand.Rand, at time.Time) message.ID {
	id := idAt(at)
	for i := 6; i < len(id); i++ {
		id[i] = byte(r.UintN(256))
	}
	return id
}

// aged is a table with rows of drawn ages.
type aged struct {
	table  string
	column string // gives the age
	limit  time.Duration
	insert string // $1: what column gets, id or time, and a number $2
	ids    bool
	where  string // tells these rows from others in the table
}

var agedTables = []aged{
	{"smpp_origins", "message_id", keeping.Messages, "insert into smpp_origins (message_id, account_id, credential_id, registered, source_ton, source_npi, source, dest_ton, dest_npi, dest) values ($1, $1, $1, 1, 1, 1, '', 1, 1, $2::text::bytea)", true, ""},
	{"smpp_deliveries", "message_id", keeping.Messages, "insert into smpp_deliveries (id, credential_id, account_id, message_id, kind, status, state, ordinal, expires_at) values (gen_random_uuid(), $1, $1, $1, 'receipt', 'delivered', 'delivered', $2::text::integer, now())", true, ""},
	{"mm4_origins", "message_id", keeping.Messages, "insert into mm4_origins (message_id, account_id, peer_id, reference, sender, recipient, system, delivery_report, read_report) values ($1, $1, $1, $2::text::bytea, '', '', '', true, true)", true, ""},
	{"mm4_answers", "message_id", keeping.Messages, "insert into mm4_answers (message_id, attempt, vendor_id, status) values ($1, $2::text::integer + 1, $1, 'Ok')", true, ""},
	{"mm4_mails", "expires_at", mailsKept, "insert into mm4_mails (id, peer_id, kind, transaction_id, expires_at) values (gen_random_uuid(), gen_random_uuid(), 'forward_res', $2::text::bytea, $1)", false, ""},
	{"inbound_deliveries", "message_id", keeping.Messages, "insert into inbound_deliveries (message_id, position, method, last_error) values ($1, 1, 'email', $2::text)", true, ""},
	{"reviews", "message_id", keeping.Messages, "insert into reviews (message_id, revision, verdict, actor) values ($1, 0, 'release', $2::text)", true, ""},
	{"route_overrides", "message_id", keeping.Messages, "insert into route_overrides (message_id, vendor_id, actor) values ($1, $1, $2::text)", true, ""},
	{"receipts", "id", keeping.Messages + idSkew, "insert into receipts (id, vendor_id, normalized_id, state, message_id) values ($1, $1, $2::text, 'DELIVRD', $1)", true, " and message_id is not null"},
	{"receipts", "id", keeping.Strays, "insert into receipts (id, vendor_id, normalized_id, state) values ($1, $1, $2::text, 'ENROUTE')", true, " and message_id is null"},
	{"inbound_messages", "id", keeping.Messages, "insert into inbound_messages (id, account_id, vendor_id, fingerprint, from_addr, to_addr, encoding, received_at) values ($1, $1, $1, $2::text::bytea, '', '', '', now())", true, " and account_id is not null"},
	{"inbound_messages", "id", keeping.Strays, "insert into inbound_messages (id, vendor_id, fingerprint, from_addr, to_addr, encoding, part, parts, received_at) values ($1, $1, $2::text::bytea, '', '', '', 1, 1 + $2::text::integer % 2, now())", true, " and account_id is null"},
	{"batch_paces", "next_at", pacesKept, "insert into batch_paces (of_id, next_at) select gen_random_uuid(), $1 where $2::text is not null", false, ""},
	{"batches", "id", keeping.Messages, "insert into batches (id, account_id, credential_id, name, total, status, completed_at, purged) values ($1, $1, $1, $2::text, 1, 'canceled', now(), true)", true, ""},
	{"redrives", "id", message.RedriveKept, "insert into redrives (id, actor, role, reason, action, filter, most, per_second, status, completed_at, created_at) values ($1, '', '', $2::text, 'retry', '{}', 1, 1, 'completed', now(), now())", true, ""},
	{"idempotency_keys", "created_at", idempotencyKept, "insert into idempotency_keys (account_id, operation, key, body_hash, http_status, response, created_at) values (gen_random_uuid(), '', $2::text, '', 202, '', $1)", false, ""},
	{"rate_refusals", "minute", refusalsKept, "insert into rate_refusals (account_id, minute, edge, scope, count) values (gen_random_uuid(), $1, 'rest', $2::text, 1)", false, ""},
	{"vendor_samples", "at", samplesKept, "insert into vendor_samples (at, vendor_id, instance, accepted, refused, other, silent, receipts) values ($1, gen_random_uuid(), $2::text, 0, 0, 0, 0, 0)", false, ""},
	{"pace_spent", "until", 0, "insert into pace_spent (id, turn, until) values (gen_random_uuid(), $2::text::integer, $1)", false, ""},
	{"pace_days", "(day + time '00:00')", paceDaysKept, "insert into pace_days (key, day) values ($2::text, ($1::timestamptz at time zone 'UTC')::date)", false, ""},
	{"pace_slots", "to_timestamp(second)", pacesKept, "with p as (insert into pacers (key) values ($2::text)) insert into pace_slots (key, second, parts) values ($2::text, extract(epoch from $1::timestamptz), 1)", false, ""},
	{"usage_counters", "ends_at", countersKept, "insert into usage_counters (limit_id, starts_at, ends_at, used) select id, $1::timestamptz - $2::text::integer * interval '1 microsecond', $1, 1 from usage_limits", false, ""},
}

// Rows of any age: those go that are due, and no others.
func TestUpkeepRemovesWhatIsDue(t *testing.T) {
	t.Parallel()
	b := setup(t)
	seed := rand.Uint64()
	t.Logf("drawn with seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	b.configured()
	b.exec("insert into usage_limits (account_id, kind, period, parts) values ($1, 'sms', 'month', 5)", b.owner)
	now := time.Now().UTC()
	stay := make([]int, len(agedTables))
	batch := &pgx.Batch{}
	for i, a := range agedTables {
		for n := range 2*upkeepBatch/10 + 7 { // some of them in several steps: see below
			age := a.limit + time.Duration(r.Int64N(int64(4*aDay))) - 2*aDay
			if a.table == "pace_days" {
				age = a.limit + []time.Duration{-2 * aDay, 2 * aDay}[r.IntN(2)]
			}
			// How long a round takes must not matter.
			if d := age - a.limit; d > -time.Hour && d < time.Hour {
				age += 2 * time.Hour
			}
			if age < a.limit {
				stay[i]++
			}
			var key any = now.Add(-age)
			if a.ids {
				key = oldID(r, now.Add(-age))
			}
			batch.Queue(a.insert, key, fmt.Sprint(n))
		}
	}
	if err := b.pool.SendBatch(b.ctx, batch).Close(); err != nil {
		t.Fatal(err)
	}
	rows := b.upkeep()
	left := make(map[string]int)
	for i, a := range agedTables {
		bound := any(now.Add(-a.limit))
		if a.ids {
			bound = idAt(now.Add(-a.limit))
		}
		if n := b.count("select count(*) from "+a.table+" where "+a.column+" < $1"+a.where, bound); n != 0 {
			t.Errorf("%s%s: %d rows are left that are due", a.table, a.where, n)
		}
		if n := b.count("select count(*) from "+a.table+" where "+a.column+" >= $1"+a.where, bound); n != stay[i] {
			t.Errorf("%s%s: %d rows are left that are not due, want %d", a.table, a.where, n, stay[i])
		}
		left[a.table] += 2*upkeepBatch/10 + 7 - stay[i]
	}
	for table, n := range left {
		if rows[table] != n {
			t.Errorf("%s: %d rows counted, %d went", table, rows[table], n)
		}
	}
	if again := b.upkeep(); allOf(again) != 0 {
		t.Errorf("a second round removes %v", again)
	}
}

func allOf(rows map[string]int) (n int) {
	for _, v := range rows {
		n += v
	}
	return n
}

// More than a step's rows are removed in several steps, each of which is bounded.
func TestUpkeepStepsAreSmall(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec("insert into idempotency_keys (account_id, operation, key, body_hash, http_status, response, created_at) select gen_random_uuid(), '', n::text, '', 202, '', now() - interval '100 hours' from generate_series(1, $1) n", 3*upkeepBatch+1)
	u := b.begun(b.DB)
	var steps []int
	for more := true; more; {
		table := u.Table()
		done, err := u.Step(b.ctx)
		if err != nil {
			t.Fatal(err)
		}
		if table == "idempotency_keys" {
			steps = append(steps, done.Rows)
		}
		more = done.More
	}
	if err := u.End(b.ctx, true); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(steps, []int{upkeepBatch, upkeepBatch, upkeepBatch, 1}) {
		t.Errorf("steps of %v rows", steps)
	}
}

// As long as an old message is not finished, all stays that may be its own; once its
// partition has gone, GET knows nothing of it, and what belonged to it goes.
func TestUpkeepWaitsForMessages(t *testing.T) {
	t.Parallel()
	b := setup(t)
	r := rand.New(rand.NewPCG(1, 1))
	m := b.draft()
	m.ID = oldID(r, time.Now().Add(-500*aDay))
	b.store(m)
	for _, a := range agedTables {
		if a.ids && a.limit >= keeping.Messages {
			b.exec(a.insert, m.ID, "1")
			b.exec(a.insert, oldID(r, time.Now().Add(-499*aDay)), "2") // of one that was made later
		}
	}
	if rows := b.upkeep(); allOf(rows) != 0 {
		t.Errorf("%v went", rows)
	}
	if _, err := b.Message(b.ctx, m.ID); err != nil {
		t.Error(err)
	}
	b.exec("delete from messages where id = $1", m.ID) // as its partition would go
	if _, err := b.Message(b.ctx, m.ID); message.ReasonOf(err) != message.ReasonNotFound {
		t.Errorf("%v", err)
	}
	b.upkeep()
	for _, a := range agedTables {
		if a.ids && a.limit >= keeping.Messages {
			if n := b.count("select count(*) from " + a.table); n != 0 {
				t.Errorf("%d rows of %s are left", n, a.table)
			}
		}
	}
}

// Messages go with their partitions, and in the same round what belonged to them in
// other tables; nothing of those that stay.
func TestUpkeepDropsPartitions(t *testing.T) {
	t.Parallel()
	b := fresh(t)
	list, _ := b.old(5)
	for _, m := range list {
		for _, a := range agedTables {
			if a.ids && a.limit >= keeping.Messages {
				b.exec(a.insert, m.ID, "1")
			}
		}
	}
	b.upkeepBy(message.Retention{Messages: 2*partitionSpan + aDay, Strays: 30 * aDay})
	gone := 0
	for _, m := range list {
		want := 1
		if _, err := b.Message(b.ctx, m.ID); message.ReasonOf(err) == message.ReasonNotFound {
			want = 0
			gone++
		} else if err != nil {
			t.Error(err)
		}
		for _, a := range agedTables {
			if a.ids && a.limit >= keeping.Messages {
				if n := b.count("select count(*) from "+a.table+" where "+a.column+" = $1", m.ID); n != want {
					t.Errorf("message of %s: %d rows of %s, want %d", m.CreatedAt, n, a.table, want)
				}
			}
		}
	}
	if gone == 0 || gone == len(list) {
		t.Errorf("%d of %d messages went", gone, len(list))
	}
	// And there is a place for those to come.
	last := b.layout(messagesTable)
	if from := timeOf(last[len(last)-1].from); time.Until(from) < partitionsAhead-partitionSpan {
		t.Errorf("the last partition begins at %s", from)
	}
}

// One process does it at a time; no other doubles a round that has ended, and one that
// died is taken over at once.
func TestUpkeepIsOneProcesss(t *testing.T) {
	t.Parallel()
	b := setup(t)
	other := b.replica()
	begin := func(db *DB, every time.Duration) *Upkeep {
		t.Helper()
		u, err := db.BeginUpkeep(b.ctx, "other", keeping, every)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	u := b.begun(b.DB)
	if second := begin(other, 0); second != nil {
		t.Fatal("two rounds at once")
	}
	for range 5 { // to the first that removes rows
		if _, err := u.Step(b.ctx); err != nil {
			t.Fatal(err)
		}
	}
	// Its session ends, as with the process.
	if n := b.count("with dead as (select pg_terminate_backend(pid, 10000) from pg_locks where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())) select count(*) from dead"); n != 1 {
		t.Fatalf("%d sessions have the lock", n)
	}
	next := begin(other, time.Hour)
	if next == nil {
		t.Fatal("a round that was not finished is not taken over")
	}
	if done, err := u.Step(b.ctx); err == nil || done.More {
		t.Errorf("it goes on without its lock: %+v, %v", done, err)
	}
	if err := u.End(b.ctx, false); err != nil {
		t.Error(err)
	}
	if begin(b.DB, 0) != nil {
		t.Error("the one whose session ended has given the other's lock away")
	}
	for more := true; more; {
		done, err := next.Step(b.ctx)
		if err != nil {
			t.Fatal(err)
		}
		more = done.More
	}
	if at, err := b.LastUpkeep(b.ctx); err != nil || at != 0 {
		t.Errorf("%d, %v", at, err)
	}
	if err := next.End(b.ctx, true); err != nil {
		t.Fatal(err)
	}
	if at, err := b.LastUpkeep(b.ctx); err != nil || at == 0 {
		t.Errorf("%d, %v", at, err)
	}
	if begin(b.DB, time.Hour) != nil || begin(other, time.Hour) != nil {
		t.Error("a round is done again that has just ended")
	}
	if u := begin(b.DB, 0); u == nil {
		t.Error("a round that is asked for is not begun")
	} else if err := u.End(b.ctx, true); err != nil {
		t.Error(err)
	}
}

// Traffic that has rows of its own is not waited for, and waits for nothing.
func TestUpkeepBlocksNobody(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.configured()
	r := rand.New(rand.NewPCG(2, 2))
	now := time.Now()
	b.exec("insert into usage_limits (account_id, kind, period, parts) values ($1, 'sms', 'month', 5)", b.owner)
	old := make(map[string]int) // those of each table that are due
	for _, a := range agedTables {
		for n := range 3 {
			var key any = now.Add(-a.limit - 3*aDay)
			if a.ids {
				key = oldID(r, now.Add(-a.limit-3*aDay))
			}
			b.exec(a.insert, key, fmt.Sprint(n))
		}
		old[a.table] += 3
	}
	// Somebody works on one row of each table.
	tx, err := b.pool.Begin(b.ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(b.ctx) }()
	for table := range old {
		if _, err := tx.Exec(b.ctx, "select from "+table+" where ctid = (select min(ctid) from "+table+") for update"); err != nil {
			t.Fatal(err)
		}
	}
	rows := b.upkeep()
	for table, n := range old {
		if rows[table] != n-1 || b.count("select count(*) from "+table) != 1 {
			t.Errorf("%s: %d of %d rows went", table, rows[table], n)
		}
	}
	if err := tx.Rollback(b.ctx); err != nil {
		t.Fatal(err)
	}

	// A step that has done its work and has not committed yet.
	u := b.begun(b.DB)
	err = u.within(b.ctx, func(tx pgx.Tx) error {
		if err := u.findFirst(b.ctx); err != nil {
			return err
		}
		for _, r := range append(slices.Clone(strayRules), tableRules...) {
			if r.take == "" {
				continue
			}
			if _, err := tx.Exec(b.ctx, r.take, r.before(&u.bounds), upkeepBatch); err != nil {
				return err
			}
		}
		// Whoever would have to wait fails.
		b.exec(fmt.Sprintf("alter database %s set lock_timeout = '1s'", pgx.Identifier{b.cfg.Database}.Sanitize()))
		busy := b.replica()
		return b.traffic(busy)
	})
	if err != nil {
		t.Errorf("traffic beside the upkeep: %v", err)
	}
	if err := u.End(b.ctx, true); err != nil {
		t.Error(err)
	}
}

// traffic does what goes on all the time, on another process's connections.
func (b *bundle) traffic(db *DB) error {
	var wg sync.WaitGroup
	errs := make([]error, 4)
	for i := range errs {
		wg.Go(func() {
			m := b.draft()
			if _, errs[i] = db.Accept(b.ctx, message.Acceptance{Message: m, Idempotency: &message.Idempotency{AccountID: b.owner, Operation: "POST /v1/messages", Key: fmt.Sprint(i), BodyHash: [32]byte{1}, Status: 202, Response: []byte("{}")}}); errs[i] != nil {
				return
			}
			if _, errs[i] = db.Receipt(b.ctx, b.receipt(fmt.Sprintf("ABC%d", i), message.ReceiptDelivered)); errs[i] != nil {
				return
			}
			errs[i] = db.AddRefusals(b.ctx, []message.RateRefusals{{AccountID: message.NewID(), Minute: time.Now().Truncate(time.Minute), Edge: "rest", Scope: "key", Count: 1}})
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// A database that does not answer ends the round, and the next one does all.
func TestUpkeepEndsWithItsContext(t *testing.T) {
	t.Parallel()
	b := setup(t)
	u := b.begun(b.DB)
	ctx, cancel := context.WithCancel(b.ctx)
	for u.Table() == "messages" { // partitions
		if _, err := u.Step(ctx); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	if _, err := u.Step(ctx); err == nil {
		t.Error("a step after the end")
	}
	if err := u.End(ctx, false); err != nil {
		t.Error(err)
	}
	// Its connection is closed, and with that the lock is given back as soon as the
	// database has seen it.
	again, err := b.BeginUpkeep(b.ctx, "tester", keeping, 0)
	for err == nil && again == nil && b.ctx.Err() == nil {
		again, err = b.BeginUpkeep(b.ctx, "tester", keeping, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := again.End(b.ctx, false); err != nil {
		t.Error(err)
	}
	b.upkeep()
}
