package workers_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/postrider/postrider/activities/submit"
	"github.com/postrider/postrider/edges/vendors"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
	"github.com/postrider/postrider/workers"
)

// ledger is the leases of all processes in memory, by the rules of the real one.
type ledger struct {
	mu     sync.Mutex
	leases map[place]entry
	seen   map[server]time.Time
	away   map[string]bool // instances that do not reach it
}

type place struct {
	vendor message.ID
	slot   int
}

type entry struct {
	message.VendorLease
	until time.Time
}

type server struct {
	vendor   message.ID
	instance string
}

func newLedger() *ledger {
	return &ledger{leases: map[place]entry{}, seen: map[server]time.Time{}, away: map[string]bool{}}
}

var errAway = errors.New("the database is away")

// reach fails for an instance that is cut off: after its context, as over a network.
func (l *ledger) reach(ctx context.Context, instance string) error {
	l.mu.Lock()
	away := l.away[instance]
	l.mu.Unlock()
	if away {
		<-ctx.Done()
		return errAway
	}
	return nil
}

func (l *ledger) VendorBeat(ctx context.Context, b message.VendorBeat) ([]message.VendorLease, error) {
	if err := l.reach(ctx, b.Instance); err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	for _, r := range b.Links {
		delete(l.seen, server{r.VendorID, b.Instance})
		if r.Serves {
			l.seen[server{r.VendorID, b.Instance}] = now
		}
	}
	var held []message.VendorLease
	for _, want := range b.Hold {
		p := place{want.VendorID, want.Slot}
		if e, ok := l.leases[p]; ok && e.Instance != b.Instance && e.until.After(now) {
			continue
		}
		want.Instance = b.Instance
		l.leases[p] = entry{want, now.Add(b.Lease)}
		held = append(held, want)
	}
	return held, nil
}

func (l *ledger) LeaveVendors(ctx context.Context, instance string, leases []message.VendorLease) error {
	if err := l.reach(ctx, instance); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, v := range leases {
		if p := (place{v.VendorID, v.Slot}); l.leases[p].Instance == instance {
			delete(l.leases, p)
		}
	}
	return nil
}

func (l *ledger) EndVendors(ctx context.Context, instance string) error {
	if err := l.reach(ctx, instance); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for p, e := range l.leases {
		if e.Instance == instance {
			delete(l.leases, p)
		}
	}
	for s := range l.seen {
		if s.instance == instance {
			delete(l.seen, s)
		}
	}
	return nil
}

func (l *ledger) VendorLeases(_ context.Context, lease time.Duration) ([]message.VendorLease, []message.VendorServer, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	var live []message.VendorLease
	for _, e := range l.leases {
		if e.until.After(now) {
			live = append(live, e.VendorLease)
		}
	}
	slices.SortFunc(live, func(a, b message.VendorLease) int { return a.Slot - b.Slot })
	var servers []message.VendorServer
	for s, at := range l.seen {
		if now.Sub(at) < lease {
			servers = append(servers, message.VendorServer{VendorID: s.vendor, Instance: s.instance})
		}
	}
	return live, servers, nil
}

// vendorSide is the vendor itself: it sees all binds and all that may be sent.
type vendorSide struct {
	mu        sync.Mutex
	moved     *sync.Cond // of mu; nil: nobody waits
	links     map[*portLink]bool
	most      int     // binds that it allows, the greatest of the configurations in force
	rate      float64 // likewise
	complaint string
}

// check notes the first breach. Called with the lock.
func (v *vendorSide) check(why string) {
	if v.moved != nil {
		v.moved.Broadcast()
	}
	binds, rate := 0, 0.0
	for l := range v.links {
		binds += l.binds
		if l.share.Binds > 0 {
			if l.share.Rate <= 0 {
				v.complain("%s: a rate without limit", why)
			}
			rate += l.share.Rate
		}
	}
	if binds > v.most {
		v.complain("%s: %d binds, %d are allowed", why, binds, v.most)
	}
	if rate > v.rate*(1+1e-6) {
		v.complain("%s: %v parts a second, %v are allowed", why, rate, v.rate)
	}
}

func (v *vendorSide) complain(format string, args ...any) {
	if v.complaint == "" {
		v.complaint = fmt.Sprintf(format, args...)
	}
}

// portLink is a link whose binds come and go some time after it was told.
type portLink struct {
	vendors.Link
	side  *vendorSide
	owner string        // the process
	delay time.Duration // until a bind is made, or its window is empty

	share   vendors.Share
	binds   int
	stopped bool
	timer   *time.Timer
	shares  int // how often it was told
}

func (l *portLink) Start(context.Context) {}

func (l *portLink) SetShare(s vendors.Share) {
	l.side.mu.Lock()
	defer l.side.mu.Unlock()
	if l.stopped {
		return
	}
	l.share = s
	l.shares++
	l.side.check("share")
	if l.timer == nil {
		l.timer = time.AfterFunc(l.delay, l.settle)
	} else {
		l.timer.Reset(l.delay)
	}
}

func (l *portLink) settle() {
	l.side.mu.Lock()
	defer l.side.mu.Unlock()
	if !l.stopped {
		l.binds = l.share.Binds
		l.side.check("bind")
	}
}

// Stop unbinds after the delay, or at once when ctx has ended.
func (l *portLink) Stop(ctx context.Context) {
	l.side.mu.Lock()
	was := l.stopped
	l.stopped, l.share = true, vendors.Share{}
	l.side.mu.Unlock()
	if !was {
		select {
		case <-time.After(l.delay):
		case <-ctx.Done():
		}
	}
	l.side.mu.Lock()
	defer l.side.mu.Unlock()
	l.binds = 0
	delete(l.side.links, l)
	l.side.check("stop")
}

func (l *portLink) Status() vendors.LinkStatus {
	l.side.mu.Lock()
	defer l.side.mu.Unlock()
	bind := "disconnected"
	if l.binds > 0 {
		bind = "connected"
	}
	return vendors.LinkStatus{Bind: bind, Binds: l.binds, Share: l.share}
}

// port is several processes that serve one vendor. The vendor is paused, so that no
// worker is needed.
type port struct {
	t      *rapid.T
	ledger *ledger
	side   *vendorSide
	vendor snapshot.Vendor
	fleets map[string]*workers.Fleet
	number int
}

func newPort(t *rapid.T, binds, throughput int) *port {
	p := &port{t: t, ledger: newLedger(), side: &vendorSide{links: map[*portLink]bool{}}, fleets: map[string]*workers.Fleet{}}
	p.vendor = snapshot.Vendor{ID: message.NewID(), Name: "shared", ProviderType: "smpp", Active: true, Paused: true, Version: 1, MaxBinds: binds, Throughput: throughput}
	p.side.most, p.side.rate = binds, float64(throughput)
	return p
}

func (p *port) config() *snapshot.Snapshot {
	v := p.vendor
	return &snapshot.Snapshot{Vendors: map[message.ID]*snapshot.Vendor{v.ID: &v}}
}

// begin starts a process.
func (p *port) begin() {
	p.number++
	name := fmt.Sprintf("process-%d", p.number)
	delay := time.Duration(rapid.IntRange(0, 9000).Draw(p.t, "delay")) * time.Millisecond
	f := &workers.Fleet{Submit: &submit.Activities{}, Log: slog.New(slog.DiscardHandler), Leases: p.ledger, Instance: name,
		Kinds: map[string]vendors.Kind{"smpp": {New: func(*snapshot.Vendor) (vendors.Link, error) {
			l := &portLink{side: p.side, delay: delay}
			p.side.mu.Lock()
			defer p.side.mu.Unlock()
			p.side.links[l] = true
			return l, nil
		}}}}
	f.Start(context.Background())
	f.Apply(p.config())
	p.fleets[name] = f
}

// end stops a process in order.
func (p *port) end(name string) {
	f := p.fleets[name]
	delete(p.fleets, name)
	f.StopWorkers()
	f.Unbind(context.Background())
}

func (p *port) pick() (string, bool) {
	if len(p.fleets) == 0 {
		return "", false
	}
	names := make([]string, 0, len(p.fleets))
	for name := range p.fleets {
		names = append(names, name)
	}
	slices.Sort(names)
	return rapid.SampledFrom(names).Draw(p.t, "process"), true
}

func (p *port) away(name string, is bool) {
	p.ledger.mu.Lock()
	defer p.ledger.mu.Unlock()
	p.ledger.away[name] = is
}

// change gives the processes another configuration, one after the other. While they
// differ, the greater of two limits counts.
func (p *port) change() {
	wasBinds, wasRate := p.vendor.MaxBinds, p.vendor.Throughput
	p.vendor.MaxBinds = rapid.IntRange(1, 6).Draw(p.t, "binds")
	if rapid.Bool().Draw(p.t, "another rate") {
		p.vendor.Throughput = rapid.IntRange(1, 100).Draw(p.t, "throughput")
	}
	if rapid.Bool().Draw(p.t, "new link") {
		p.vendor.Version++
	}
	p.limits(max(wasBinds, p.vendor.MaxBinds), max(wasRate, p.vendor.Throughput))
	for _, f := range p.fleets {
		time.Sleep(time.Duration(rapid.IntRange(0, 3000).Draw(p.t, "later")) * time.Millisecond)
		f.Apply(p.config())
	}
	time.Sleep(45 * time.Second) // the surplus is unbound
	p.limits(p.vendor.MaxBinds, p.vendor.Throughput)
}

func (p *port) limits(binds, rate int) {
	p.side.mu.Lock()
	defer p.side.mu.Unlock()
	p.side.most, p.side.rate = binds, float64(rate)
	p.side.check("limits")
}

// settled checks that everything is used, and shared evenly.
func (p *port) settled() {
	synctest.Wait()
	p.side.mu.Lock()
	defer p.side.mu.Unlock()
	if p.side.complaint != "" {
		p.t.Fatal(p.side.complaint)
	}
	binds, rate, links := 0, 0.0, 0
	for l := range p.side.links {
		links++
		binds += l.binds
		rate += l.share.Rate
		if least := p.vendor.MaxBinds / len(p.fleets); l.binds < least || l.binds > least+1 {
			p.t.Errorf("a process has %d of %d binds, there are %d", l.binds, p.vendor.MaxBinds, len(p.fleets))
		}
	}
	if links != len(p.fleets) || binds != p.vendor.MaxBinds || rate < float64(p.vendor.Throughput)*(1-1e-6) {
		p.t.Errorf("%d links of %d processes, %d of %d binds, %v of %d parts a second", links, len(p.fleets), binds, p.vendor.MaxBinds, rate, p.vendor.Throughput)
	}
}

// inBubble is a test whose deadline, which is of another time, is not asked for.
type inBubble struct{ rapid.TB }

// However processes come, go, stop hearing of the database and learn of changes at
// different times, they never have more binds than the vendor allows, nor send faster;
// and when all is quiet they use all of it. Time is that of the bubble.
func TestSharesNeverExceedTheVendor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rapid.Check(inBubble{t}, func(rt *rapid.T) {
			p := newPort(rt, rapid.IntRange(1, 6).Draw(rt, "binds"), rapid.IntRange(1, 100).Draw(rt, "throughput"))
			defer func() {
				for name := range p.fleets {
					p.away(name, false)
					p.end(name)
				}
			}()
			p.begin()
			for range rapid.IntRange(1, 8).Draw(rt, "steps") {
				switch rapid.SampledFrom([]string{"begin", "end", "away", "back", "change", "wait"}).Draw(rt, "step") {
				case "begin":
					if len(p.fleets) < 5 {
						p.begin()
					}
				case "end":
					if name, ok := p.pick(); ok {
						p.end(name)
					}
				case "away", "back":
					if name, ok := p.pick(); ok {
						p.away(name, rapid.Bool().Draw(rt, "away"))
					}
				case "change":
					p.change()
				case "wait":
				}
				time.Sleep(time.Duration(rapid.IntRange(0, 20_000).Draw(rt, "pause")) * time.Millisecond)
			}
			for name := range p.fleets {
				p.away(name, false)
			}
			if len(p.fleets) == 0 {
				p.begin()
			}
			time.Sleep(2 * time.Minute)
			p.settled()
		})
	})
}
