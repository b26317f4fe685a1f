package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/stack/stacktest"
	"github.com/postrider/postrider/migrations"
)

// layout lists a table's partitions, and fails the test unless they follow each other
// from the beginning to the end of time and are made alike.
func (b *bundle) layout(t partitioned) []partition {
	b.tb.Helper()
	conn, err := b.pool.Acquire(b.ctx)
	if err != nil {
		b.tb.Fatal(err)
	}
	defer conn.Release()
	list, err := partitions(b.ctx, conn, t)
	if err != nil {
		b.tb.Fatal(err)
	}
	for i, p := range list {
		switch {
		case i == 0 && p.from != (message.ID{}):
			b.tb.Errorf("%s begins with %+v", t.table, p)
		case i > 0 && p.from != list[i-1].to:
			b.tb.Errorf("%s: %+v does not follow %+v", t.table, p, list[i-1])
		}
	}
	if last := list[len(list)-1]; last.to != (message.ID{}) {
		b.tb.Errorf("%s ends with %+v", t.table, last)
	}
	kinds := b.count(`
select count(distinct (
  c.reloptions,
  (select array_agg(a.attname || a.attoptions::text order by a.attname) from pg_attribute a where a.attrelid = c.oid and a.attoptions is not null),
  (select array_agg(k.conname || pg_get_constraintdef(k.oid) order by k.conname) from pg_constraint k where k.conrelid = c.oid and k.contype = 'c'),
  (select array_agg(o.relname order by o.relname)
   from pg_index x join pg_inherits h on h.inhrelid = x.indexrelid join pg_class o on o.oid = h.inhparent
   where x.indrelid = c.oid and x.indisvalid)))
from pg_inherits i join pg_class c on c.oid = i.inhrelid where i.inhparent = $1::text::regclass`, t.table)
	indexes := b.count("select count(*) from pg_index where indrelid = $1::text::regclass and not indisvalid", t.table)
	if kinds != 1 || indexes != 0 {
		b.tb.Errorf("the partitions of %s are of %d kinds; %d of its indexes are not valid", t.table, kinds, indexes)
	}
	return list
}

func names(list []partition) string {
	return strings.Join(pick(list, func(p partition) string { return p.name }), " ")
}

// home is the partition that the row of an id is in.
func (b *bundle) home(t partitioned, id message.ID) string {
	b.tb.Helper()
	return scalar[string](b, "select tableoid::regclass::text from "+t.table+" where "+t.key+" = $1 limit 1", id)
}

// at makes a draft as it was made at a time.
func (b *bundle) at(t time.Time) *message.Message {
	m := b.draft()
	id := idAt(t)
	copy(m.ID[:6], id[:6])
	m.CreatedAt = t.UTC().Truncate(time.Millisecond)
	return m
}

// made makes partitions as at a time.
func (b *bundle) made(now time.Time, ahead time.Duration) []string {
	b.tb.Helper()
	list, err := b.makePartitions(b.ctx, now, ahead)
	if err != nil {
		b.tb.Fatal(err)
	}
	return list
}

// whatever there was is readable, with all that belongs to it.
func (b *bundle) readable(m *message.Message) {
	b.tb.Helper()
	got, err := b.Message(b.ctx, m.ID)
	if err != nil || got.Body != m.Body {
		b.tb.Fatalf("message %s: %+v, %v", m.ID, got, err)
	}
	b.timeline(m)
}

// fresh is a database as the migrations leave it.
func fresh(t *testing.T) *bundle {
	t.Helper()
	return setupOn(t, unparted.Database(t))
}

var unparted = stacktest.NewTemplate(func(ctx context.Context, dsn string) error {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	_, err = migrations.Apply(ctx, conn)
	return joinClose(ctx, conn, err)
})

func TestMakePartitions(t *testing.T) {
	t.Parallel()
	b := fresh(t)
	for _, table := range partitionTables {
		if list := b.layout(table); len(list) != 1 || list[0].name != table.table+"_first" {
			t.Errorf("%s begins with %s", table.table, names(list))
		}
	}
	before := b.sent("a1")
	now := time.Now()
	made := b.made(now, partitionSpan)
	for _, table := range partitionTables {
		list := b.layout(table)
		first, last := list[0], list[len(list)-1]
		if first.name != table.table+"_first" || !timeOf(first.to).After(now.Add(partitionMargin)) || timeOf(first.to).After(now.Add(partitionMargin+partitionSpan)) {
			t.Errorf("%s: the first is %+v", table.table, first)
		}
		if timeOf(last.from).Before(now.Add(partitionSpan)) || timeOf(last.from).After(now.Add(2*partitionSpan+partitionMargin)) {
			t.Errorf("%s: the last is %+v", table.table, last)
		}
		for _, p := range list[1:] {
			if !slices.Contains(made, p.name) {
				t.Errorf("%s was not named: %v", p.name, made)
			}
		}
	}
	if again := b.made(now, partitionSpan); len(again) != 0 {
		t.Errorf("made again: %v", again)
	}
	// Later ones are made as the time comes nearer, one a span.
	for i := range 3 {
		later := now.Add(time.Duration(i+2) * partitionSpan)
		b.made(later.Add(-partitionSpan), partitionSpan)
		if more := b.made(later, partitionSpan); len(more) != len(partitionTables) {
			t.Errorf("a span later: %v", more)
		}
		m := b.at(later)
		b.store(m)
		for _, table := range []partitioned{messagesTable, ofMessages[0]} {
			if home := b.home(table, m.ID); strings.HasSuffix(home, "_first") {
				t.Errorf("a message of %s is in %s", later, home)
			}
		}
		b.readable(m)
	}
	for _, table := range partitionTables {
		b.layout(table)
	}
	b.readable(before)
	if b.received(b.receipt("a1", message.ReceiptDelivered)); b.progress(before).Settled != 1 {
		t.Error("a receipt did not find its part")
	}
}

func TestMakePartitionsTogether(t *testing.T) {
	t.Parallel()
	b := fresh(t)
	other := b.replica()
	var all sync.WaitGroup
	var mu sync.Mutex
	var made []string
	for i := range 6 {
		db := b.DB
		if i%2 == 0 {
			db = other
		}
		all.Go(func() {
			list, err := db.MakePartitions(b.ctx, partitionSpan)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			made = append(made, list...)
		})
	}
	all.Wait()
	slices.Sort(made)
	if one := slices.Compact(slices.Clone(made)); len(made) == 0 || len(one) != len(made) {
		t.Errorf("made by six at once: %v", made)
	}
	for _, table := range partitionTables {
		b.layout(table)
	}
}

// A message is accepted whatever its clock says, and comes to where it belongs.
func TestAcceptedOutsideOfPartitions(t *testing.T) {
	t.Parallel()
	b := fresh(t)
	now := time.Now()
	b.made(now.Add(-20*partitionSpan), partitionSpan)
	if _, err := b.DropPartitions(b.ctx, now.Add(-18*partitionSpan)); err != nil {
		t.Fatal(err)
	}
	// Nobody made partitions for long: what came is in the last one, up to today.
	var list []*message.Message
	for _, at := range []time.Duration{0, -10 * partitionSpan, 3 * partitionSpan, 30 * partitionSpan, -50 * partitionSpan} {
		m := b.at(now.Add(at))
		b.store(m)
		list = append(list, m)
	}
	last := b.home(messagesTable, list[0].ID)
	if ahead := b.home(messagesTable, list[2].ID); ahead != last {
		t.Fatalf("the message of now is in %s, that of a time ahead in %s", last, ahead)
	}
	if old := b.home(messagesTable, list[4].ID); old != "messages_floor" {
		t.Errorf("a message of a time that is over is in %s", old)
	}
	b.made(now, 5*partitionSpan)
	if home := b.home(messagesTable, list[0].ID); home != last {
		t.Errorf("the message of now was moved from %s to %s", last, home)
	}
	ahead := b.home(messagesTable, list[2].ID)
	if want := "messages_" + spanEnd(now.Add(2*partitionSpan)).Format("20060102"); ahead != want {
		t.Errorf("the message of a time ahead is in %s, not %s", ahead, want)
	}
	if home := b.home(ofMessages[0], list[2].ID); home != "message_events_"+strings.TrimPrefix(ahead, "messages_") {
		t.Errorf("its event is in %s", home)
	}
	for _, table := range partitionTables {
		b.layout(table)
	}
	for _, m := range list {
		b.readable(m)
	}
}

// Somebody who has the table for long keeps no partition from being made, and others
// from their work only for moments.
func TestMakePartitionsBehindReader(t *testing.T) {
	t.Parallel()
	b := fresh(t)
	reader, err := b.pool.Begin(b.ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = reader.Rollback(context.WithoutCancel(b.ctx)) }()
	if _, err := reader.Exec(b.ctx, "select count(*) from messages"); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1) // written once
	go func() {
		_, err := b.MakePartitions(b.ctx, partitionSpan)
		done <- err
	}()
	b.until("it looks who has the table", func() bool {
		return b.count("select count(*) from pg_stat_activity where datname = current_database() and query = $1 and state = 'idle'", selectBusy) > 0
	})
	db := b.impatient()
	for range 5 {
		if _, err := db.Accept(b.ctx, message.Acceptance{Message: b.draft()}); err != nil {
			t.Error(err)
		}
	}
	if err := reader.Commit(b.ctx); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	for _, table := range partitionTables {
		if len(b.layout(table)) < 2 {
			t.Errorf("%s has no more partitions", table.table)
		}
	}
}

// A database of the release before has every row where it was.
func TestMigratePartitions(t *testing.T) {
	t.Parallel()
	dsn := stacktest.Database(t)
	ctx := stacktest.Context(t)
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	all, err := migrations.All()
	if err != nil {
		t.Fatal(err)
	}
	run := func(sql string) {
		t.Helper()
		if _, err := conn.PgConn().Exec(ctx, sql).ReadAll(); err != nil {
			t.Fatal(err)
		}
	}
	run("create table schema_migrations (version integer primary key, name text not null, checksum text not null, applied_at timestamptz not null default now())")
	for _, m := range all[:30] {
		run(m.SQL)
		run(fmt.Sprintf("insert into schema_migrations values (%d, '%s', '%s')", m.Version, m.Name, m.Checksum))
	}
	pool, err := pgxpool.New(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	b := &bundle{DB: &DB{pool: pool}, tb: t, ctx: ctx, cfg: configOf(t, dsn), owner: message.NewID(), vendor: message.VendorRef{ID: message.NewID(), Name: "north"}}
	b.fill()
	// Of the columns that there were: later migrations add to them.
	columns := make(map[string]string)
	for _, table := range partitionTables {
		columns[table.table] = scalar[string](b, "select string_agg(quote_ident(attname), ',' order by attnum) from pg_attribute where attrelid = '"+table.table+"'::regclass and attnum > 0 and not attisdropped")
	}
	sums := func() string {
		var all []string
		for _, table := range partitionTables {
			all = append(all, scalar[string](b, "select count(*) || ' ' || sum(hashtext(row("+columns[table.table]+")::text)::bigint) from "+table.table))
		}
		return strings.Join(all, "; ")
	}
	files := func() string {
		return scalar[string](b, "select string_agg(relname || relfilenode, ' ' order by relfilenode) from pg_class where relfilenode <> 0 and relname ~ '^(messages|segments|message_events|webhook_deliveries)(_first)?$'")
	}
	were, on := sums(), strings.ReplaceAll(files(), "_first", "")
	id := scalar[message.ID](b, "select id from messages order by id limit 1 offset 1000")
	if _, err := Migrate(ctx, b.cfg); err != nil {
		t.Fatal(err)
	}
	if now := strings.ReplaceAll(files(), "_first", ""); now != on {
		t.Errorf("tables were rewritten: %s, now %s", on, now)
	}
	b.DB = b.replica()
	for range 2 {
		if now := sums(); now != were {
			t.Errorf("the rows were %s, are %s", were, now)
		}
		for _, table := range partitionTables {
			b.layout(table)
		}
		if events, err := b.Events(ctx, id, 0, 10); err != nil || len(events) != 5 {
			t.Errorf("%d events, %v", len(events), err)
		}
		b.made(time.Now(), partitionSpan)
	}
	b.readable(b.accepted(1))
}

// analyze does what autovacuum has done after a while. It never looks at a partition
// that nothing was written to, and of one that it has not looked at the planner expects
// some rows: were it told that there are none, any index would do, and the plan be kept.
const analyze = `
do $$
declare
  t text;
begin
  for t in
    select c.oid::regclass::text
    from pg_class c
    where c.relkind = 'r' and c.relnamespace = 'public'::regnamespace and not (c.relispartition and pg_relation_size(c.oid) = 0)
  loop
    execute 'analyze ' || t;
  end loop;
end $$`

func TestDividePartitions(t *testing.T) {
	t.Parallel()
	b := fresh(t)
	now := time.Now()
	var list []*message.Message
	for i := range 4 {
		m := b.at(now.Add(-time.Duration(i) * partitionSpan))
		b.store(m)
		list = append(list, m)
	}
	b.made(now, time.Hour)
	made, err := b.DividePartitions(b.ctx, now.Add(-2*partitionSpan))
	if spans := len(made) / len(partitionTables); err != nil || spans < 2 || spans > 3 || len(made)%len(partitionTables) != 0 {
		t.Fatalf("made %v, %v", made, err)
	}
	for _, table := range partitionTables {
		b.layout(table)
	}
	homes := map[string]bool{}
	for _, m := range list {
		b.readable(m)
		homes[b.home(messagesTable, m.ID)] = true
	}
	if len(homes) != 3 { // the oldest two are of before what was asked for, or of its span
		t.Errorf("they are in %v", homes)
	}
	if again, err := b.DividePartitions(b.ctx, now.Add(-2*partitionSpan)); err != nil || len(again) != 0 {
		t.Errorf("made again %v, %v", again, err)
	}
	all, err := b.Partitions(b.ctx)
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range all {
		if first := i == 0 || all[i-1].Table != p.Table; first != (p.From == nil) || !first && !p.From.Equal(*all[i-1].Until) || p.Bytes <= 0 {
			t.Errorf("%+v", p)
		}
	}
	b.exec("insert into messages (id, account_id, direction, kind, status, from_addr, to_addr, encoding, segments, message_class, delivery, edge, expires_at, created_at, updated_at) " +
		"select ('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, gen_random_uuid(), 'outbound', 'sms', 'sent', '', '', '', 1, '', '', '', now(), now(), now() from generate_series(1, 50001) n")
	if _, err := b.DividePartitions(b.ctx, now.Add(-20*partitionSpan)); message.ReasonOf(err) != message.ReasonConflict {
		t.Errorf("a large one: %v", err)
	}
}
