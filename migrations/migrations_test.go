package migrations

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/stack/stacktest"
)

func TestMain(m *testing.M) { stacktest.Main(m) }

func connect(t *testing.T, ctx context.Context, dsn string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(ctx)) })
	return conn
}

// all are the migrations of this program.
func all(t *testing.T) []Migration {
	t.Helper()
	list, err := All()
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func pending(t *testing.T, ctx context.Context, conn *pgx.Conn) int {
	t.Helper()
	n, err := Pending(ctx, conn)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// unlocked fails the test when the lock on migrating is still held.
func unlocked(t *testing.T, ctx context.Context, conn *pgx.Conn) {
	t.Helper()
	n := 0
	if err := conn.QueryRow(ctx, "select count(*) from pg_locks where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())").Scan(&n); err != nil {
		t.Fatal(err)
	}
	if n != 0 {
		t.Error("the lock is still held")
	}
}

// Every file says which locks it takes.
func TestAll(t *testing.T) {
	for i, m := range all(t) {
		if m.Version != i+1 || !strings.HasPrefix(m.Name, fmt.Sprintf("%04d_", i+1)) || len(m.Checksum) != 64 {
			t.Errorf("%+v", m)
		}
		if !strings.Contains(m.SQL, "-- Locks: ") {
			t.Errorf("%s does not say which locks it takes", m.Name)
		}
	}
}

func TestApplyTwice(t *testing.T) {
	t.Parallel()
	ctx := stacktest.Context(t)
	conn := connect(t, ctx, stacktest.Database(t))
	known := all(t)
	if n := pending(t, ctx, conn); n != len(known) {
		t.Errorf("%d pending in an empty database", n)
	}
	applied, err := Apply(ctx, conn)
	if err != nil || len(applied) != len(known) {
		t.Fatalf("applied %d, %v", len(applied), err)
	}
	if n := pending(t, ctx, conn); n != 0 {
		t.Errorf("%d pending", n)
	}
	if applied, err = Apply(ctx, conn); err != nil || len(applied) != 0 {
		t.Errorf("applied again: %d, %v", len(applied), err)
	}
	unlocked(t, ctx, conn)
}

// A database that stopped half way is brought on from there.
func TestApplyRest(t *testing.T) {
	t.Parallel()
	ctx := stacktest.Context(t)
	conn := connect(t, ctx, stacktest.Database(t))
	known := all(t)
	if _, err := conn.Exec(ctx, createTable); err != nil {
		t.Fatal(err)
	}
	for _, m := range known[:2] {
		if err := applyOne(ctx, conn, m); err != nil {
			t.Fatal(err)
		}
	}
	if n := pending(t, ctx, conn); n != len(known)-2 {
		t.Errorf("%d pending", n)
	}
	applied, err := Apply(ctx, conn)
	if err != nil || len(applied) != len(known)-2 || applied[0].Name != known[2].Name {
		t.Errorf("applied %v, %v", pickNames(applied), err)
	}
}

func pickNames(list []Migration) (names []string) {
	for _, m := range list {
		names = append(names, m.Name)
	}
	return names
}

func TestApplyRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ sql, want string }{
		"changed file":   {"update schema_migrations set checksum = 'x' where version = 2", "0002_journal.sql was applied with another content"},
		"newer database": {"insert into schema_migrations (version, name, checksum) values (1000, '1000_x.sql', 'x')", "run a newer release"},
		"in the way":     {"delete from schema_migrations where version >= 3", "0003_audit.sql"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := stacktest.Context(t)
			conn := connect(t, ctx, stacktest.Database(t))
			if _, err := Apply(ctx, conn); err != nil {
				t.Fatal(err)
			}
			if _, err := conn.Exec(ctx, c.sql); err != nil {
				t.Fatal(err)
			}
			if applied, err := Apply(ctx, conn); err == nil || !strings.Contains(err.Error(), c.want) || len(applied) != 0 {
				t.Errorf("applied %d, %v, want %s", len(applied), err, c.want)
			}
			unlocked(t, ctx, conn)
		})
	}
}

// Two processes that start at once: one migrates, the other finds it done.
func TestApplyConcurrently(t *testing.T) {
	t.Parallel()
	ctx := stacktest.Context(t)
	dsn := stacktest.Database(t)
	const processes = 4
	type result struct {
		applied int
		err     error
	}
	results := make(chan result, processes)
	for range processes {
		conn := connect(t, ctx, dsn)
		go func() {
			applied, err := Apply(ctx, conn)
			results <- result{len(applied), err}
		}()
	}
	total := 0
	for range processes {
		r := <-results
		if r.err != nil {
			t.Error(r.err)
		}
		total += r.applied
	}
	if total != len(all(t)) {
		t.Errorf("%d files were applied, there are %d", total, len(all(t)))
	}
}

// Whoever waits for another process's migration can give up.
func TestApplyGivesUp(t *testing.T) {
	t.Parallel()
	ctx := stacktest.Context(t)
	dsn := stacktest.Database(t)
	holder, waiter := connect(t, ctx, dsn), connect(t, ctx, dsn)
	if _, err := holder.Exec(ctx, "select pg_advisory_lock($1)", int64(lockKey)); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() {
		_, err := Apply(short, waiter)
		done <- err
	}()
	for waits := false; !waits; {
		if err := holder.QueryRow(ctx, "select exists (select from pg_stat_activity where datname = current_database() and wait_event = 'advisory')").Scan(&waits); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	if err := <-done; err == nil {
		t.Error("applied without the lock")
	}
	if n := pending(t, ctx, holder); n != len(all(t)) {
		t.Errorf("%d pending", n)
	}
}
