package workers

import (
	"context"
	"sync"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/worker"

	"github.com/postrider/postrider/edges/vendors"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
	"github.com/postrider/postrider/workflows"
)

// Times of a ship.
const (
	// replaceTimeout bounds the unbinding of a vendor that changed or went.
	replaceTimeout = 30 * time.Second
	// launchAgain is when a link that could not be made is tried again: what it lacks
	// may be outside of its row.
	launchAgain = 30 * time.Second
	// lookAgain is when a ship looks how long the vendor's answers take, and tells the
	// server a rate again that it did not take.
	lookAgain    = 2 * time.Second
	shapeTimeout = 5 * time.Second
)

// slotsPerWindow lets more parts wait at the link than its window takes, so
// that a slot's round trip to Temporal does not leave the window idle.
const slotsPerWindow = 2

// drainSlots is how many parts at once are handed back from a vendor that is drained.
const drainSlots = 100

// grant is what a process may use of a vendor.
type grant struct {
	binds    int
	fraction float64 // of the vendor's rate
}

// ship is a vendor's link with its worker, kept by a goroutine of its own.
type ship struct {
	fleet *Fleet
	id    message.ID
	wake  chan struct{} // of one; never closed; a lost wake is one that already waits

	mu     sync.Mutex
	want   *snapshot.Vendor // as configured; nil: it is to go
	vendor *snapshot.Vendor // what the link is made of, with what it was told since
	link   vendors.Link     // nil: there is none now
	ending vendors.Link     // stopping, and not unbound yet; nil: none
	grant  grant
	told   grant            // what the link was told,
	toldOf *snapshot.Vendor // as of this row; nil: it was told nothing
	fault  string           // why there is no link
	idle   time.Time        // since when there is none
	cut    bool             // the link was cut off, and must be made anew

	// The goroutine's own, and after its end StopWorkers'.
	worker *Keeper
	slots  *linkSlots
	drains bool // the worker hands everything back
	shaped int  // the rate that the server was told; -1: none yet
}

func newShip(f *Fleet, v *snapshot.Vendor) *ship {
	s := &ship{fleet: f, id: v.ID, wake: make(chan struct{}, 1), want: v, shaped: -1, idle: time.Now()}
	if f.Leases == nil || v.ProviderType == message.ProviderInternal {
		s.grant = grant{f.slots(v), 1}
	}
	return s
}

// steer says what the vendor is to be; nil: it is to go.
func (s *ship) steer(v *snapshot.Vendor) {
	s.mu.Lock()
	if v != nil && (s.fleet.Leases == nil || v.ProviderType == message.ProviderInternal) {
		s.grant = grant{s.fleet.slots(v), 1}
	}
	s.want = v
	s.mu.Unlock()
	s.stir()
}

func (s *ship) stir() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *ship) wanted() *snapshot.Vendor {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.want
}

// now is the link with its vendor's row; nil without a link.
func (s *ship) now() (vendors.Link, *snapshot.Vendor) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.link, s.vendor
}

// allow says what of the vendor the process may use from now on.
func (s *ship) allow(g grant) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.grant == g {
		return
	}
	s.grant = g
	s.shareLocked()
	s.stir() // the worker takes as much as it can send
}

// shareLocked tells the link what it may use.
func (s *ship) shareLocked() {
	if s.link == nil || s.vendor == s.toldOf && s.grant == s.told {
		return
	}
	s.told, s.toldOf = s.grant, s.vendor
	share := vendors.Share{Binds: s.grant.binds, Rate: s.grant.fraction * float64(s.vendor.Throughput)}
	if share.Binds == 0 || s.vendor.Throughput > 0 && share.Rate <= 0 {
		share = vendors.Share{}
	}
	s.link.SetShare(share)
}

// sail follows what is wanted until the vendor goes or ctx ends.
func (s *ship) sail(ctx context.Context) {
	for ctx.Err() == nil {
		again, gone := s.follow(ctx)
		if gone {
			return
		}
		select {
		case <-ctx.Done():
		case <-s.wake:
		case <-time.After(again):
		}
	}
}

// follow brings link and worker to what is wanted. It returns when to look again, and
// whether the ship is no more.
func (s *ship) follow(ctx context.Context) (again time.Duration, gone bool) {
	s.mu.Lock()
	want, old, cut := s.want, s.vendor, s.cut
	if s.link == nil {
		old = nil
	}
	s.mu.Unlock()
	if old != nil && (want == nil || want.Version != old.Version || cut) {
		s.end(ctx)
		old = nil
	}
	if want == nil {
		return 0, s.fleet.gone(s)
	}
	if old == nil && !s.launch(ctx, want) {
		return launchAgain, false
	}
	s.tell(want)
	s.work(ctx, want)
	s.shape(ctx, want)
	return lookAgain, false
}

// end stops the worker, lets the link's answers come, and unbinds.
func (s *ship) end(ctx context.Context) {
	s.mu.Lock()
	link, name := s.link, s.vendor.Name
	s.link, s.ending, s.cut = nil, s.link, false
	s.mu.Unlock()
	s.stopWorker()
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), replaceTimeout)
	link.Stop(stop)
	cancel()
	s.mu.Lock()
	s.ending, s.idle = nil, time.Now()
	s.mu.Unlock()
	s.fleet.register.stir()
	s.fleet.Log.Info("vendor link ended", "vendor", name)
}

func (s *ship) launch(ctx context.Context, v *snapshot.Vendor) bool {
	link, err := s.fleet.Kinds[v.ProviderType].New(v)
	if err != nil {
		s.mu.Lock()
		news := s.fault != err.Error()
		s.fault = err.Error()
		s.mu.Unlock()
		if news {
			s.fleet.Log.Error("vendor link cannot start", "vendor", v.Name, "error", err)
		}
		s.fleet.register.stir()
		return false
	}
	link.Start(ctx)
	s.mu.Lock()
	s.vendor, s.link, s.fault, s.toldOf = v, link, "", nil
	s.mu.Unlock()
	s.shaped = -1
	s.fleet.register.stir()
	s.fleet.Log.Info("vendor link started", "vendor", v.Name)
	return true
}

// tell gives the link what it can be told.
func (s *ship) tell(v *snapshot.Vendor) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.vendor = v
	s.shareLocked()
}

// work has the vendor's queue polled, unless the vendor is paused. What waits for one that
// is drained as well is handed back: nothing of it goes to the vendor.
func (s *ship) work(ctx context.Context, v *snapshot.Vendor) {
	paused := v.Paused && !v.Draining
	if s.worker != nil && (paused || v.Draining != s.drains) {
		s.stopWorker()
	}
	s.mu.Lock()
	link, g := s.link, s.grant
	s.mu.Unlock()
	limit := s.fleet.ahead(v, g, link.Status())
	switch {
	case s.worker != nil:
		s.slots.setLimit(limit)
	case !paused:
		s.drains = v.Draining
		if s.slots = newLinkSlots(link, limit); s.drains {
			s.slots = newOpenSlots(drainSlots)
		}
		slots := s.slots
		s.worker = &Keeper{Name: workflows.VendorQueue(v.Name), Log: s.fleet.Log, New: func() worker.Worker { return s.fleet.vendorWorker(v.Name, slots) }}
		s.worker.Started = func(context.Context) { s.stir() } // the rate can be set
		s.worker.Start(ctx)
	}
}

// mostAhead is how long a part may wait at a link for its turn in the vendor's rate. It
// has left the queue by then: what is more urgent may still pass it at the link, and what
// another account sends of its class does not.
const mostAhead = 500 * time.Millisecond

// ahead is how many parts of the vendor's queue are worked on at once: enough for its
// windows and its rate, as long as its answers take now.
func (f *Fleet) ahead(v *snapshot.Vendor, g grant, st vendors.LinkStatus) int {
	n := slotsPerWindow * max(1, v.Window)
	if f.bound(v) {
		n *= max(1, g.binds)
	}
	if v.Throughput > 0 {
		answer := time.Duration(st.SlowestMilli) * time.Millisecond
		n = min(n, 2+int(g.fraction*float64(v.Throughput)*(mostAhead+2*answer).Seconds()))
	}
	return n
}

// stopWorker takes no more work and lets what is under way finish.
func (s *ship) stopWorker() {
	if s.worker != nil {
		s.worker.Stop()
		s.worker = nil
	}
}

// shape tells the server the vendor's whole rate, once it can be reached. What is handed
// back by a vendor that is drained does not go over it, and is not held to its rate.
func (s *ship) shape(ctx context.Context, v *snapshot.Vendor) {
	rate := v.Throughput
	if v.Draining {
		rate = 0
	}
	if s.shaped == rate || s.worker == nil || !s.worker.Running() {
		return
	}
	short, cancel := context.WithTimeout(ctx, shapeTimeout)
	defer cancel()
	if err := SetVendorRate(short, s.fleet.Client, s.fleet.Namespace, v.Name, rate); err != nil {
		if ctx.Err() == nil {
			// The links' own buckets are the guarantee; the server's only shapes.
			s.fleet.Log.Warn("dispatch rate not set at the server", "vendor", v.Name, "error", err)
		}
		return
	}
	s.shaped = rate
}

// unbind ends the link for good.
func (s *ship) unbind(ctx context.Context) {
	if link, _ := s.now(); link != nil {
		link.Stop(ctx)
	}
}

// cutOff closes the link at once: its leases end. What is unanswered is in doubt. It is
// made anew when there are leases again.
func (s *ship) cutOff() {
	s.mu.Lock()
	link, ending := s.link, s.ending
	s.cut = link != nil
	s.mu.Unlock()
	now, cancel := context.WithCancel(context.Background())
	cancel()
	for _, l := range []vendors.Link{link, ending} {
		if l != nil {
			l.Stop(now)
		}
	}
	s.stir()
}

// live counts the binds that are not unbound yet.
func (s *ship) live() int {
	s.mu.Lock()
	link, ending := s.link, s.ending
	s.mu.Unlock()
	n := 0
	if link != nil {
		n += link.Status().Binds
	}
	if ending != nil {
		// A bind of it may be under way that is not counted yet.
		n += max(1, ending.Status().Binds)
	}
	return n
}

// report says what the ship looks like to others.
func (s *ship) report() message.VendorReport {
	s.mu.Lock()
	link, serves := s.link, s.fault == ""
	r := message.VendorReport{VendorLinkState: message.VendorLinkState{VendorID: s.id, Bind: "disconnected", Since: s.idle, LastError: s.fault}, Serves: serves}
	s.mu.Unlock()
	if link == nil {
		return r
	}
	st := link.Status()
	r.Bind, r.Binds, r.InFlight, r.Throughput, r.RateShare = st.Bind, st.Binds, st.InFlight, st.Throughput, st.Share.Rate
	r.ErrorRate, r.LatencyMillis, r.LastError, r.Since = st.Errors, st.SlowestMilli, st.LastError, st.Since
	return r
}

// bound reports whether the vendor is used over binds. One with webhooks is used by
// requests, and has none.
func (f *Fleet) bound(v *snapshot.Vendor) bool {
	kind := f.Kinds[v.ProviderType]
	return kind.Hook == nil && !kind.Requests && v.ProviderType != message.ProviderInternal
}

// requestSlots is into how many parts the rate of a vendor without binds is cut at
// least: so many processes can share it evenly.
const requestSlots = 12

// slots is how many slots the vendor has.
func (f *Fleet) slots(v *snapshot.Vendor) int {
	if f.bound(v) {
		return max(1, v.MaxBinds)
	}
	return max(requestSlots, v.MaxBinds)
}

// vendorWorker polls a vendor's queue while there are slots.
func (f *Fleet) vendorWorker(name string, slots *linkSlots) worker.Worker {
	w := worker.New(f.Client, workflows.VendorQueue(name), worker.Options{
		DisableWorkflowWorker: true,
		Tuner:                 linkTuner{slots},
		WorkerStopTimeout:     stopTimeout,
	})
	w.RegisterActivityWithOptions(f.Submit.Submit, activity.RegisterOptions{Name: "Submit"})
	return w
}
