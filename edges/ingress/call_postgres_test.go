package ingress_test

import (
	"context"
	"encoding/base64"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/postgres"
	"github.com/postrider/postrider/internal/secret"
	"github.com/postrider/postrider/internal/stack"
	"github.com/postrider/postrider/internal/stack/stacktest"
)

func TestMain(m *testing.M) { stacktest.Main(m) }

// hearing is a journal that says when it is listened to.
type hearing struct {
	*postgres.DB
	began chan struct{}
}

func (h hearing) ListenStarts(ctx context.Context, began func(), called func([]message.Start, bool)) error {
	return h.DB.ListenStarts(ctx, func() { began(); h.began <- struct{}{} }, called)
}

// process is an ingress on the database that sweeps once an hour, which is never.
func process(t *testing.T, cfg postgres.Config, config *bundle, starts bool) (*bundle, hearing) {
	t.Helper()
	ring, err := secret.ParseKeyring("test:" + base64.StdEncoding.EncodeToString([]byte("0123456789abcdef0123456789abcdef")))
	if err != nil {
		t.Fatal(err)
	}
	db, err := postgres.Open(stacktest.Context(t), cfg, ring.Box(secret.Content))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	h := hearing{db, make(chan struct{}, 100)}
	b := setup(t)
	b.account, b.config = config.account, config.config
	b.Journal, b.Calls, b.SweepEvery, b.NoStarts = db, h, time.Hour, !starts
	return b, h
}

// One process accepts and starts nothing, two others start: a message is started by
// one of them because it is told of, as no sweep comes. Also after the database was
// away.
func TestCalledOverTheJournal(t *testing.T) {
	server := stacktest.StartPostgres(t, stack.PostgresConfig{Throwaway: true})
	ctx := stacktest.Context(t)
	if err := server.CreateDatabase(ctx, "journal"); err != nil {
		t.Fatal(err)
	}
	c, err := pgx.ParseConfig(server.DSN("journal"))
	if err != nil {
		t.Fatal(err)
	}
	cfg := postgres.Config{Host: c.Host, Port: int(c.Port), User: c.User, Password: c.Password, Database: c.Database, SSLMode: "disable", MaxConns: 6}
	if _, err := postgres.Migrate(ctx, cfg); err != nil {
		t.Fatal(err)
	}
	config := setup(t)
	door, _ := process(t, cfg, config, false)
	one, first := process(t, cfg, config, true)
	two, second := process(t, cfg, config, true)
	two.server = one.server // there is one Temporal
	two.Temporal = one.server
	heard := make(chan int, 100)
	one.Metrics.Heard = func(n int) { heard <- n }
	two.Metrics.Heard = one.Metrics.Heard
	for _, p := range []*bundle{door, one, two} {
		p.Start(ctx)
		t.Cleanup(p.Stop)
	}
	accepted := func(n int) (ids []message.ID) {
		for len(ids) < n {
			if out, err := door.Accept(ctx, door.request()); err == nil {
				ids = append(ids, out.Message.ID)
			} else if !postgres.Unavailable(err) && message.ReasonOf(err) != message.ReasonUnavailable {
				t.Fatal(err)
			}
		}
		return ids
	}
	started := func(ids []message.ID) {
		t.Helper()
		one.server.until(func() bool {
			n := 0
			for _, id := range ids {
				n += min(1, one.server.begun[id])
			}
			return n == len(ids)
		})
		for n := 0; n < len(ids); {
			n += <-heard
		}
	}
	<-first.began
	<-second.began
	all := accepted(20)
	started(all)
	if err := first.Started(ctx, all); err != nil { // as the workflows' first steps do
		t.Fatal(err)
	}
	if err := server.StopImmediate(ctx); err != nil {
		t.Fatal(err)
	}
	if err := server.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	<-first.began
	<-second.began
	started(accepted(20))
	if door.server.asked != 0 {
		t.Error("who accepts has started something")
	}
}
