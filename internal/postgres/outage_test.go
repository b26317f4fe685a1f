package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/stack"
	"github.com/postrider/postrider/internal/stack/stacktest"
	"github.com/postrider/postrider/migrations"
)

// own is a server that the test may stop, with a migrated database.
func own(tb testing.TB, cfg stack.PostgresConfig) (*stack.Postgres, *bundle) {
	tb.Helper()
	server := stacktest.StartPostgres(tb, cfg)
	ctx := stacktest.Context(tb)
	if err := server.CreateDatabase(ctx, "journal"); err != nil {
		tb.Fatal(err)
	}
	conn, err := pgx.Connect(ctx, server.DSN("journal"))
	if err != nil {
		tb.Fatal(err)
	}
	if _, err = migrations.Apply(ctx, conn); joinClose(ctx, conn, err) != nil {
		tb.Fatal(err)
	}
	return server, setupOn(tb, server.DSN("journal"))
}

// Postgres goes away in the middle and comes back: whoever got a yes is in the
// journal, whoever got a no was told that the journal is away, and nothing is
// half there.
func TestOutage(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(context.Context, *stack.Postgres) error{
		"stopped": func(ctx context.Context, p *stack.Postgres) error { return p.Stop(ctx) },
		"crashed": func(ctx context.Context, p *stack.Postgres) error { return p.StopImmediate(ctx) },
		"killed":  func(_ context.Context, p *stack.Postgres) error { return p.Kill() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, b := own(t, stack.PostgresConfig{Throwaway: true})
			type answer struct {
				id  message.ID
				err error
			}
			answers := make(chan answer)
			ctx, cancel := context.WithCancel(b.ctx)
			defer cancel()
			var callers sync.WaitGroup
			for i := range 16 {
				callers.Go(func() {
					for n := 0; ctx.Err() == nil; n++ {
						m := b.draft()
						_, err := b.Accept(context.WithoutCancel(ctx), keyed(m, fmt.Sprintf("%d-%d", i, n), 1))
						if err == nil {
							_, err = b.Advance(b.ctx, message.Change{MessageID: m.ID, To: message.StatusQueued, Events: line(message.StatusQueued)})
							if err != nil && !Unavailable(err) {
								t.Errorf("advance: %v", err)
							}
							err = nil
						}
						answers <- answer{m.ID, err}
					}
				})
			}
			go func() {
				callers.Wait()
				close(answers)
			}()
			var yes []message.ID
			await := func(what string, n int, want func(error) bool) {
				t.Helper()
				for got := 0; got < n; {
					a, open := <-answers
					if !open {
						t.Fatalf("%s: it never came", what)
					}
					if want(a.err) {
						got++
					}
					switch {
					case a.err == nil:
						yes = append(yes, a.id)
					case message.ReasonOf(a.err) != message.ReasonUnavailable:
						t.Errorf("refused with %v", a.err)
					}
				}
			}
			accepted := func(err error) bool { return err == nil }
			await("acceptance", 100, accepted)
			ended := make(chan error, 1)
			go func() { ended <- end(b.ctx, server) }()
			await("refusal", 20, func(err error) bool { return err != nil })
			if err := <-ended; err != nil {
				t.Fatal(err)
			}
			back := make(chan error, 1)
			go func() { back <- server.Restart(b.ctx) }()
			await("acceptance after the restart", 100, accepted)
			if err := <-back; err != nil {
				t.Fatal(err)
			}
			cancel()
			for a := range answers {
				if a.err == nil {
					yes = append(yes, a.id)
				}
			}
			if n := b.count("select count(*) from messages where id = any($1)", yes); n != len(yes) {
				t.Errorf("%d callers got a yes, %d of their messages are there", len(yes), n)
			}
			// Advance left some in queued; those are not to be started anew.
			b.exec("update messages set status = 'accepted'")
			b.whole()
			if n := b.count("select count(*) from (select m.id from messages m left join message_events e on e.message_id = m.id group by m.id having count(*) <> m.event_seq) x"); n != 0 {
				t.Errorf("%d messages have another number of events than they say", n)
			}
		})
	}
}

// Without a server, everyone is told at once and nobody waits in line for as
// many timeouts.
func TestOutageFailsTogether(t *testing.T) {
	t.Parallel()
	server, b := own(t, stack.PostgresConfig{Throwaway: true})
	b.hold("messages")
	done := make(chan error, 101)
	go func() { done <- second(b.Accept(b.ctx, message.Acceptance{Message: b.draft()})) }()
	go func() {
		done <- second(b.Advance(b.ctx, message.Change{MessageID: message.NewID(), To: message.StatusQueued}))
	}()
	b.until("both wait for the lock", func() bool {
		return b.count("select count(*) from pg_stat_activity where wait_event_type = 'Lock'") == 2
	})
	for range 100 {
		go func() {
			done <- second(b.Advance(b.ctx, message.Change{MessageID: message.NewID(), To: message.StatusQueued}))
		}()
	}
	b.until("the others wait", func() bool { return len(b.groups.lanes[0]) == 100 })
	if err := server.StopImmediate(b.ctx); err != nil {
		t.Fatal(err)
	}
	for range 102 {
		if err := <-done; !Unavailable(err) {
			t.Errorf("told %v", err)
		}
	}
	if err := server.Restart(b.ctx); err != nil {
		t.Fatal(err)
	}
	b.until("it works again", func() bool {
		_, err := b.Accept(b.ctx, message.Acceptance{Message: b.draft()})
		return err == nil
	})
}

func TestUnavailable(t *testing.T) {
	t.Parallel()
	pg := func(code string) error { return fmt.Errorf("x: %w", &pgconn.PgError{Code: code}) }
	for _, c := range []struct {
		err  error
		want bool
		sure bool // that nothing was done
	}{
		{nil, false, false},
		{errors.New("anything"), false, false},
		{pgx.ErrNoRows, false, false},
		{pg("23505"), false, true}, {pg("22021"), false, true}, {pg("40P01"), false, true}, {pg("42P01"), false, true},
		{pg("08006"), true, true}, {pg("53100"), true, true}, {pg("53300"), true, true}, {pg("57P01"), true, true}, {pg("57P03"), true, true},
		{pg("58030"), true, true}, {pg("25006"), true, true},
		{fmt.Errorf("x: %w", io.ErrUnexpectedEOF), true, false},
		{fmt.Errorf("x: %w", &net.OpError{Op: "read", Err: errors.New("connection reset by peer")}), true, false},
		{context.DeadlineExceeded, true, false},
		{context.Canceled, false, false},
		{fmt.Errorf("x: %w", errClosed), true, true},
	} {
		if Unavailable(c.err) != c.want {
			t.Errorf("%v: %v", c.err, !c.want)
		}
		if c.err != nil && nothingDone(c.err) != c.sure {
			t.Errorf("%v: nothing done %v", c.err, !c.sure)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err := Open(ctx, Config{Host: "127.0.0.1", Port: 1, Password: "hunter2"}, sealer(t))
	if !Unavailable(err) || !nothingDone(err) {
		t.Errorf("nobody listens: %v", err)
	}
}

func TestOpenWithoutSchema(t *testing.T) {
	t.Parallel()
	cfg := configOf(t, stacktest.Database(t))
	ctx := stacktest.Context(t)
	if _, err := Open(ctx, cfg, sealer(t)); err == nil {
		t.Fatal("opened a database without schema")
	}
	all, err := migrations.All()
	if err != nil {
		t.Fatal(err)
	}
	names, err := Migrate(ctx, cfg)
	if err != nil || len(names) != len(all) {
		t.Fatalf("applied %v, %v", names, err)
	}
	if names, err := Migrate(ctx, cfg); err != nil || len(names) != 0 {
		t.Errorf("applied again: %v, %v", names, err)
	}
	db, err := Open(ctx, cfg, sealer(t))
	if err != nil {
		t.Fatal(err)
	}
	db.Close()
}

// A schema of one's own keeps two installations in one database apart.
func TestSchema(t *testing.T) {
	t.Parallel()
	dsn := stacktest.Database(t)
	ctx := stacktest.Context(t)
	var opened []*bundle
	for _, schema := range []string{"east", "west"} {
		cfg := configOf(t, dsn)
		cfg.Schema = schema
		conn, err := pgx.Connect(ctx, dsn)
		if err != nil {
			t.Fatal(err)
		}
		_, err = conn.Exec(ctx, "create schema "+schema)
		if joinClose(ctx, conn, err) != nil {
			t.Fatal(err)
		}
		if _, err := Migrate(ctx, cfg); err != nil {
			t.Fatal(err)
		}
		b := &bundle{tb: t, ctx: ctx, cfg: cfg, owner: message.NewID(), vendor: message.VendorRef{ID: message.NewID(), Name: "north"}}
		b.DB = b.replica()
		opened = append(opened, b)
	}
	m := opened[0].accepted(1)
	if _, err := opened[1].Message(ctx, m.ID); message.ReasonOf(err) != message.ReasonNotFound {
		t.Errorf("the other installation has it: %v", err)
	}
	for name, want := range map[string]string{"plan_cache_mode": "force_generic_plan", "search_path": "east", "application_name": "postrider", "TimeZone": "UTC"} {
		if got := scalar[string](opened[0], "select current_setting($1)", name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}
