package workers

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// Leases share vendors out among processes.
type Leases interface {
	// VendorBeat keeps the leases that are named, takes those of them that are free, and
	// returns those that the instance has now. It enters what the links look like.
	VendorBeat(ctx context.Context, b message.VendorBeat) ([]message.VendorLease, error)
	// LeaveVendors gives leases back that are used no more.
	LeaveVendors(ctx context.Context, instance string, leases []message.VendorLease) error
	// EndVendors gives everything back: the instance ends.
	EndVendors(ctx context.Context, instance string) error
	// VendorLeases lists the leases that hold, and the processes that serve a vendor and
	// were heard of within lease, as committed by now.
	VendorLeases(ctx context.Context, lease time.Duration) ([]message.VendorLease, []message.VendorServer, error)
}

// DefaultLease is how long a lease holds without a word of its holder. The times below
// are parts of it.
const DefaultLease = 15 * time.Second

// Parts of a lease.
const (
	beatPart  = 7.5 // every 2 s something is heard of a process
	lookPart  = 60  // every 250 ms its links are looked at
	callPart  = 5   // a call that takes longer than 3 s is given up
	quietPart = 1.5 // after 10 s without a renewal nothing is sent any more
	cutPart   = 1.1 // after 13.6 s what is still bound is closed
)

// register keeps the leases of a process: what it may use of each vendor.
//
// What it holds is safe by this order: first the links use less, then the database
// hears of it; and first the database has it, then the links use more.
type register struct {
	fleet *Fleet
	lease time.Duration
	wake  chan struct{} // of one; never closed; a lost wake is one that already waits

	mu      sync.Mutex
	renewed time.Time // the begin of the last beat that went through; zero: there was none
	quieted bool      // the leases may end before they are renewed: nothing is used
	cutOff  bool      // what was still bound then was closed

	// The beating goroutine's own.
	berths   map[message.ID]*berth
	shown    map[message.ID]message.VendorReport // as last told
	lastBeat time.Time
	failing  bool

	cancel  context.CancelFunc
	running sync.WaitGroup
}

// berth is one vendor's leases as last read.
type berth struct {
	division
	leaving map[int]time.Time // own slots that are not used any more, since when
	grant   grant
}

func (r *register) start(f *Fleet) {
	r.fleet, r.lease = f, f.Lease
	if r.lease <= 0 {
		r.lease = DefaultLease
	}
	r.wake = make(chan struct{}, 1)
	r.berths = make(map[message.ID]*berth)
	run, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	r.running.Go(func() { r.keep(run) })
	r.running.Go(func() { r.watch(run) })
}

// stop gives everything back. The links are unbound by then.
func (r *register) stop(ctx context.Context) {
	if r.cancel == nil {
		return
	}
	r.cancel()
	r.running.Wait()
	r.cancel = nil
	short, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.part(callPart))
	defer cancel()
	if err := r.fleet.Leases.EndVendors(short, r.fleet.Instance); err != nil {
		r.fleet.Log.Warn("vendor leases not given back; they end by themselves", "error", err)
	}
}

func (r *register) stir() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

func (r *register) part(of float64) time.Duration { return time.Duration(float64(r.lease) / of) }

// keep beats until ctx ends: at the usual pace, and at once when something has changed.
func (r *register) keep(ctx context.Context) {
	tick := time.NewTicker(r.part(lookPart))
	defer tick.Stop()
	for {
		woken := false
		select {
		case <-ctx.Done():
			return
		case <-r.wake:
			woken = true
		case <-tick.C:
		}
		if !woken && !r.due() {
			continue
		}
		more, err := r.beat(ctx)
		if err == nil && more {
			_, err = r.beat(ctx)
		}
		r.tell(ctx, err)
	}
}

// tell logs the first error of several.
func (r *register) tell(ctx context.Context, err error) {
	if err != nil && !r.failing && ctx.Err() == nil {
		r.fleet.Log.Warn("vendor leases cannot be renewed", "error", err)
	}
	r.failing = err != nil
}

// due reports whether others should hear of this process now.
func (r *register) due() bool {
	ships := r.fleet.list()
	if len(ships) == 0 && len(r.berths) == 0 && len(r.shown) == 0 {
		return false // it serves nobody
	}
	since := time.Since(r.lastBeat)
	if r.failing {
		return since >= r.part(beatPart)/2
	}
	if since >= r.part(beatPart) {
		return true
	}
	for _, s := range ships {
		now := s.report()
		was, ok := r.shown[s.id]
		if !ok || now.Bind != was.Bind || now.Binds != was.Binds || now.Serves != was.Serves {
			return true
		}
		if b := r.berths[s.id]; b != nil && len(b.leaving) > 0 && s.live() < len(b.mine) {
			return true
		}
	}
	return false
}

// intent is what a beat is about.
type intent struct {
	hold, drop []message.VendorLease
	ships      map[message.ID]*ship
}

// beat agrees with the other processes on who has what. more: the next beat has
// something to take or to give back.
func (r *register) beat(ctx context.Context) (more bool, err error) {
	r.lastBeat = time.Now()
	in := r.intend()
	began := time.Now()
	reports := r.reports(in.ships)
	short, cancel := context.WithTimeout(ctx, r.part(callPart))
	defer cancel()
	if _, err := r.fleet.Leases.VendorBeat(short, message.VendorBeat{Instance: r.fleet.Instance, Links: reports, Hold: in.hold, Lease: r.lease}); err != nil {
		return false, err
	}
	r.mu.Lock()
	lapsed := !r.renewed.IsZero() && began.Sub(r.renewed) > r.lease
	r.renewed, r.cutOff = began, false
	r.mu.Unlock()
	if len(in.drop) > 0 {
		if err := r.fleet.Leases.LeaveVendors(short, r.fleet.Instance, in.drop); err != nil {
			return false, err
		}
	}
	leases, servers, err := r.fleet.Leases.VendorLeases(short, r.lease)
	if err != nil {
		return false, err
	}
	r.read(leases, servers)
	r.use(began, in.ships)
	if lapsed {
		return false, nil // the others come back as well: let them have theirs
	}
	for id, b := range r.berths {
		if in.ships[id] == nil {
			continue
		}
		more = more || b.unsettled()
	}
	return more, nil
}

// unsettled reports whether there is something to take or to give back.
func (b *berth) unsettled() bool {
	if b.slots == 0 {
		return false
	}
	_, leave, take := b.plan()
	return len(take) > 0 || slices.ContainsFunc(leave, func(slot int) bool { _, known := b.leaving[slot]; return !known })
}

// intend says what to hold and what to give back, and has the links use less where they
// will have less.
func (r *register) intend() intent {
	in := intent{ships: make(map[message.ID]*ship)}
	lapsed := r.sinceRenewal() > r.lease
	for _, s := range r.fleet.list() {
		in.ships[s.id] = s
		v := s.wanted()
		if v != nil && v.ProviderType == message.ProviderInternal {
			continue // every process has all of it
		}
		b := r.berths[s.id]
		if b == nil {
			b = &berth{division: division{me: r.fleet.Instance, vendor: s.id}}
			r.berths[s.id] = b
		}
		b.slots = 0
		if v != nil && s.report().Serves {
			b.slots = r.fleet.slots(v)
		}
		r.intendFor(s, b, lapsed, &in)
	}
	for id, b := range r.berths {
		if in.ships[id] == nil { // it is unbound
			in.drop = append(in.drop, b.mine...)
			if len(b.mine) == 0 {
				delete(r.berths, id)
			}
		}
	}
	return in
}

func (r *register) intendFor(s *ship, b *berth, lapsed bool, in *intent) {
	keep, leave, take := b.plan()
	if lapsed {
		take = nil // who is heard of again after an outage does not take everything
	}
	of := b.of(len(keep) + len(leave) + len(take))
	take = b.fitting(take, len(keep)+len(leave), of)
	r.allow(s, b, grant{min(b.grant.binds, len(keep)), min(b.grant.fraction, float64(len(keep))/float64(of))})
	b.leave(leave)
	stay := 0 // binds that are still there need their slots
	if v := s.wanted(); v == nil || r.fleet.bound(v) {
		stay = max(0, s.live()-len(keep))
	}
	for i, slot := range slices.Concat(keep, take, leave) {
		lease := message.VendorLease{VendorID: s.id, Slot: slot, Instance: r.fleet.Instance, Of: of}
		left := i >= len(keep)+len(take)
		if !left || i < len(keep)+len(take)+stay && time.Since(b.leaving[slot]) < leaveTimeout {
			in.hold = append(in.hold, lease)
		} else {
			in.drop = append(in.drop, lease)
		}
	}
}

// leaveTimeout is when a slot is given back though the link may not have let its bind
// go: longer than it waits for the answers that it needs for that.
const leaveTimeout = 2 * time.Minute

// leave notes which slots are not used any more.
func (b *berth) leave(slots []int) {
	was := b.leaving
	b.leaving = make(map[int]time.Time, len(slots))
	for _, slot := range slots {
		since, ok := was[slot]
		if !ok {
			since = time.Now()
		}
		b.leaving[slot] = since
	}
}

func (r *register) sinceRenewal() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.renewed.IsZero() {
		return 0
	}
	return time.Since(r.renewed)
}

// allow tells a ship what it may use, unless nothing may be used.
func (r *register) allow(s *ship, b *berth, g grant) {
	r.mu.Lock()
	defer r.mu.Unlock()
	b.grant = g
	if !r.quieted {
		s.allow(g)
	}
}

// reports says what the links look like.
func (r *register) reports(ships map[message.ID]*ship) []message.VendorReport {
	out := make([]message.VendorReport, 0, len(ships))
	r.shown = make(map[message.ID]message.VendorReport, len(ships))
	for id, s := range ships {
		report := s.report()
		r.shown[id] = report
		out = append(out, report)
	}
	slices.SortFunc(out, func(a, b message.VendorReport) int { return slices.Compare(a.VendorID[:], b.VendorID[:]) })
	return out
}

// read notes who has what.
func (r *register) read(leases []message.VendorLease, servers []message.VendorServer) {
	for _, b := range r.berths {
		b.mine, b.others, b.servers = nil, nil, nil
	}
	for _, l := range leases {
		b := r.berths[l.VendorID]
		switch {
		case b == nil:
		case l.Instance == r.fleet.Instance:
			b.mine = append(b.mine, l)
		default:
			b.others = append(b.others, l)
		}
	}
	for _, s := range servers {
		if b := r.berths[s.VendorID]; b != nil && s.Instance != r.fleet.Instance {
			b.servers = append(b.servers, s.Instance)
		}
	}
}

// use has the links use what is held now. Began is when the leases were asked for: they
// hold from then on at least.
func (r *register) use(began time.Time, ships map[message.ID]*ship) {
	r.mu.Lock()
	r.quieted = time.Since(began) >= r.part(quietPart)
	r.mu.Unlock()
	for id, b := range r.berths {
		s := ships[id]
		if s == nil {
			continue
		}
		active := 0
		for _, l := range b.mine {
			if _, left := b.leaving[l.Slot]; !left {
				active++
			}
		}
		r.allow(s, b, grant{active, b.fraction(active)})
	}
}

// watch stops what the leases do not cover for much longer, whatever the database does.
func (r *register) watch(ctx context.Context) {
	tick := time.NewTicker(r.part(lookPart))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		since := r.sinceRenewal()
		if since >= r.part(quietPart) {
			r.quiet()
		}
		if since >= r.part(cutPart) {
			r.cut()
		}
	}
}

// leased lists the ships that live by leases.
func (r *register) leased() []*ship {
	return slices.DeleteFunc(r.fleet.list(), func(s *ship) bool {
		v := s.wanted()
		return v != nil && v.ProviderType == message.ProviderInternal
	})
}

// quiet has the links use nothing: their binds are unbound when nothing is unanswered.
func (r *register) quiet() {
	r.mu.Lock()
	defer r.mu.Unlock()
	// A beat may have come between.
	if r.quieted || time.Since(r.renewed) < r.part(quietPart) {
		return
	}
	r.quieted = true
	for _, s := range r.leased() {
		s.allow(grant{})
	}
	r.fleet.Log.Warn("vendor leases are about to end; nothing is sent until they are renewed")
}

// cut closes what is still bound.
func (r *register) cut() {
	r.mu.Lock()
	done := r.cutOff || time.Since(r.renewed) < r.part(cutPart)
	if !done {
		r.cutOff = true
	}
	r.mu.Unlock()
	if done {
		return
	}
	for _, s := range r.leased() {
		v := s.wanted()
		if bound := v == nil || r.fleet.bound(v); bound && s.live() > 0 {
			r.running.Go(s.cutOff)
		}
	}
}
