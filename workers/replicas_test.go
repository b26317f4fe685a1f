package workers_test

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/edges/vendors"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/postgres"
	"github.com/postrider/postrider/internal/snapshot"
	"github.com/postrider/postrider/internal/stack/stacktest"
	"github.com/postrider/postrider/migrations"
	"github.com/postrider/postrider/workers"
)

var migrated = stacktest.NewTemplate(func(ctx context.Context, dsn string) error {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	_, err = migrations.Apply(ctx, conn)
	if cerr := conn.Close(ctx); err == nil {
		err = cerr
	}
	return err
})

// replica is a process of several that share a database.
type replica struct {
	*workers.Fleet
	db *postgres.DB
}

// fleets are processes on one database that serve one vendor.
type fleets struct {
	t      *testing.T
	dsn    string
	side   *vendorSide
	vendor snapshot.Vendor
}

func (f *fleets) begin(name string) *replica {
	f.t.Helper()
	c, err := pgx.ParseConfig(f.dsn)
	if err != nil {
		f.t.Fatal(err)
	}
	db, err := postgres.Open(stacktest.Context(f.t), postgres.Config{Host: c.Host, Port: int(c.Port), User: c.User, Password: c.Password, Database: c.Database, SSLMode: "disable", MaxConns: 4}, box(f.t))
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(db.Close)
	r := &replica{db: db, Fleet: &workers.Fleet{Log: slog.New(slog.DiscardHandler), Leases: db, Instance: name, Lease: 3 * time.Second,
		Kinds: map[string]vendors.Kind{"smpp": {New: func(*snapshot.Vendor) (vendors.Link, error) {
			l := &portLink{side: f.side, owner: name}
			f.side.mu.Lock()
			defer f.side.mu.Unlock()
			f.side.links[l] = true
			return l, nil
		}}}}}
	r.Start(f.t.Context())
	r.apply(f.vendor)
	f.t.Cleanup(func() {
		r.StopWorkers()
		r.Unbind(context.Background())
	})
	return r
}

func (r *replica) apply(v snapshot.Vendor) {
	r.Apply(&snapshot.Snapshot{Vendors: map[message.ID]*snapshot.Vendor{v.ID: &v}})
}

// has waits until the processes have so many binds each, and the rate that goes with them.
func (f *fleets) has(want map[string]int) {
	f.t.Helper()
	f.side.mu.Lock()
	defer f.side.mu.Unlock()
	for !f.fits(want) {
		f.side.moved.Wait()
	}
	if f.side.complaint != "" {
		f.t.Fatal(f.side.complaint)
	}
}

// all waits until two processes have all binds between them.
func (f *fleets) all(one, other string) {
	f.t.Helper()
	f.side.mu.Lock()
	defer f.side.mu.Unlock()
	for !f.fits(map[string]int{one: 1, other: f.vendor.MaxBinds - 1}) && !f.fits(map[string]int{one: f.vendor.MaxBinds - 1, other: 1}) {
		f.side.moved.Wait()
	}
}

func (f *fleets) fits(want map[string]int) bool {
	if f.side.complaint != "" {
		return true
	}
	binds, rates := map[string]int{}, map[string]float64{}
	for l := range f.side.links {
		binds[l.owner] += l.binds
		rates[l.owner] += l.share.Rate
	}
	for name, n := range want {
		rate := float64(f.vendor.Throughput*n) / float64(f.vendor.MaxBinds)
		if binds[name] != n || rates[name] < rate*0.999 || rates[name] > rate*1.001 {
			return false
		}
	}
	return true
}

// Processes that come, go, change their mind and lose the database share a vendor by
// what stands there, and have never more of it than there is.
func TestReplicasShareAVendor(t *testing.T) {
	t.Parallel()
	side := &vendorSide{links: map[*portLink]bool{}, most: 6, rate: 60}
	side.moved = sync.NewCond(&side.mu)
	f := &fleets{t: t, dsn: migrated.Database(t), side: side,
		vendor: snapshot.Vendor{ID: message.NewID(), Name: "shared", ProviderType: "smpp", Active: true, Paused: true, Version: 1, MaxBinds: 6, Throughput: 60}}
	a := f.begin("a")
	f.has(map[string]int{"a": 6})
	b := f.begin("b")
	f.has(map[string]int{"a": 3, "b": 3})
	c := f.begin("c")
	f.has(map[string]int{"a": 2, "b": 2, "c": 2})

	// A new throughput, and then other binds, without a new link.
	links := f.links()
	f.vendor.Throughput = 30
	for _, r := range []*replica{a, b, c} {
		r.apply(f.vendor)
	}
	f.has(map[string]int{"a": 2, "b": 2, "c": 2})
	f.vendor.MaxBinds = 3
	for _, r := range []*replica{a, b, c} {
		r.apply(f.vendor)
	}
	f.has(map[string]int{"a": 1, "b": 1, "c": 1})
	if f.links() != links {
		t.Error("there are new links")
	}

	// One that cannot reach the database lets go before others may take its part.
	b.db.Close()
	f.has(map[string]int{"b": 0})
	f.all("a", "c")
	c.StopWorkers()
	c.Unbind(t.Context())
	f.has(map[string]int{"a": 3, "b": 0, "c": 0})
}

func (f *fleets) links() int {
	f.side.mu.Lock()
	defer f.side.mu.Unlock()
	return len(f.side.links)
}
