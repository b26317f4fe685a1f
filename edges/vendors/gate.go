package vendors

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/postrider/postrider/internal/message"
)

const (
	// faultsToShut is how many failures in a row shut a gate. Each may be a message of
	// which nobody knows whether it was sent.
	faultsToShut = 5
	// maxRetry is the longest gap between two looks at a vendor whose gate is shut.
	maxRetry = 5 * time.Minute
	// ShutDelay is when a message may be offered again to a link that cannot send.
	ShutDelay = 5 * time.Second
	// pacedDelay is when a message may be offered again that our own rate or window has
	// kept.
	pacedDelay = time.Second
	// MaxPause bounds what a vendor may ask for.
	MaxPause = 5 * time.Minute
	// DefaultRetry is the first gap of a shut gate.
	DefaultRetry = 5 * time.Second
)

// pauses are the gaps of one that throttles, where it names none.
var pauses = []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second, 30 * time.Second}

// The states of LinkStatus.Bind.
const (
	stateUp         = "connected"    // submits may leave
	stateConnecting = "connecting"   // one submit shows whether the vendor is well again
	stateDown       = "disconnected" // no share, stopped, or shut
)

// GateConfig makes a Gate.
type GateConfig struct {
	Window int // submits that are not answered; at least 1
	// PlaceWait is how long a submit waits for a place in the window; 0: as long as its
	// caller does. It is for vendors whose answers take so long that others are asked
	// meanwhile.
	PlaceWait time.Duration
	// Retry is how long after the gate was shut the vendor is looked at first; each
	// further look comes twice as late, up to five minutes. 0: DefaultRetry.
	Retry time.Duration
	// Probe looks whether the vendor lets us in, without sending anything.
	Probe func(ctx context.Context) error
	Log   *slog.Logger // nil: nothing is logged
}

// Gate is what lets submits of a link out that holds no binds: it has the window, the
// share's rate, pauses and the circuit, and all of Link but Submit and Whole, for a link
// to embed. Make one with NewGate. Safe for concurrent use.
//
// It is shut after five failures in a row, or at once when the vendor does not let us in.
// Then nothing is submitted, and the vendor is looked at. Once it lets us in, one message
// at a time is tried until the vendor answers it sanely.
type Gate struct {
	cfg    GateConfig
	log    *slog.Logger
	retry  time.Duration
	bucket Bucket // of the rate of the last share that was one

	looking context.Context // of the looks at a vendor; ends with Stop
	endLook context.CancelFunc
	work    context.Context // of submits; ends when Stop gives up
	endWork context.CancelFunc
	looks   sync.WaitGroup

	mu       sync.Mutex
	started  bool
	stopping bool
	share    Share
	changed  chan struct{} // closed and replaced when something may have become possible
	off      chan struct{} // closed while nothing can leave, replaced when something can
	isOff    bool
	entered  int // submits that wait or run
	places   int // of the window, taken by those that wait for the rate or run
	flying   int // submits that run
	state    string
	since    time.Time
	lastErr  string

	shut        bool
	trying      bool // it was shut, and no message has got through since
	faults      int  // in a row
	gap         time.Duration
	pausedUntil time.Time
	pauses      int // in a row; picks the length of one for which the vendor gives none
	answerMilli float64
	answered    Meter
}

// NewGate makes a gate that lets nothing out before Start and SetShare.
func NewGate(cfg GateConfig) *Gate {
	g := &Gate{cfg: cfg, log: cfg.Log, retry: cmp.Or(max(0, cfg.Retry), DefaultRetry), changed: make(chan struct{}), off: make(chan struct{}), state: stateDown, since: time.Now()}
	g.cfg.Window = max(1, cfg.Window)
	if g.log == nil {
		g.log = slog.New(slog.DiscardHandler)
	}
	g.looking, g.endLook = context.WithCancel(context.Background())
	g.work, g.endWork = context.WithCancel(context.Background())
	return g
}

// Start lets submits through, as far as the share allows. It ends by Stop, not with
// ctx.
func (g *Gate) Start(context.Context) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.started = true
	g.wakeLocked()
}

// SetShare says whether this process may use the vendor, and how fast.
func (g *Gate) SetShare(s Share) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if s.Binds > 0 { // without a share the rate stays: none would be one without a limit
		g.bucket.SetRate(s.Rate)
	}
	g.share = s
	g.wakeLocked()
}

// Stop takes no more submits, waits for the answers under way until ctx ends, then gives
// them up: the context that Within makes ends. A second call waits as well.
func (g *Gate) Stop(ctx context.Context) {
	g.mu.Lock()
	g.stopping = true
	g.endLook()
	g.wakeLocked()
	g.mu.Unlock()
	if g.waitIdle(ctx) != nil {
		g.endWork()
		_ = g.waitIdle(context.Background()) // submits end with their context
	}
	g.endWork()
	g.looks.Wait()
}

// Within is ctx for a submit: it ends when Stop gives up, as well. Call done in the end.
func (g *Gate) Within(ctx context.Context) (work context.Context, done func()) {
	work, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(g.work, cancel)
	return work, func() {
		stop()
		cancel()
	}
}

// waitIdle waits until no submit waits or runs.
func (g *Gate) waitIdle(ctx context.Context) error {
	for {
		g.mu.Lock()
		idle, wait := g.entered == 0, g.waitLocked(0)
		g.mu.Unlock()
		if idle {
			return nil
		}
		if err := wait(ctx); err != nil {
			return err
		}
	}
}

// Room is the window without the submits that wait or run; 0 without a share, while
// paused or stopping, and when shut.
func (g *Gate) Room() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.roomLocked(time.Now())
}

// Wait is how long a message of the class would wait for the share's rate.
func (g *Gate) Wait(class message.Class) time.Duration { return g.bucket.Wait(class) }

func (g *Gate) roomLocked(now time.Time) int {
	if g.barredLocked() != "" || now.Before(g.pausedUntil) {
		return 0
	}
	return max(0, g.windowLocked()-g.entered)
}

// barredLocked says why nothing can leave until something other than time has
// changed; empty: it can.
func (g *Gate) barredLocked() string {
	switch {
	case g.stopping:
		return "the link is stopped"
	case !g.started, g.share.Binds <= 0:
		return "this process has no share of the vendor"
	case g.shut:
		return g.lastErr
	}
	return ""
}

func (g *Gate) windowLocked() int {
	if g.trying {
		return 1
	}
	return g.cfg.Window
}

// errStopped is why a stopped link is not ready.
var errStopped = errors.New("the link is stopped")

// WaitReady blocks until Room is positive. It ends with ctx's error, or at once when
// the link is stopped.
func (g *Gate) WaitReady(ctx context.Context) error {
	for {
		g.mu.Lock()
		room, stopping, wait := g.roomLocked(time.Now()), g.stopping, g.waitLocked(time.Until(g.pausedUntil))
		g.mu.Unlock()
		switch {
		case room > 0:
			return nil
		case stopping:
			return errStopped
		}
		if err := wait(ctx); err != nil {
			return err
		}
	}
}

// waitLocked gives a function that waits until something changes or the time has
// passed; 0 or less: until something changes.
func (g *Gate) waitLocked(d time.Duration) func(ctx context.Context) error {
	changed := g.changed
	return func(ctx context.Context) error { return AwaitChange(ctx, changed, d) }
}

// wakeLocked wakes whoever waits for a change, and notes the state that it makes.
func (g *Gate) wakeLocked() {
	close(g.changed)
	g.changed = make(chan struct{})
	barred := g.barredLocked() != ""
	if barred && !g.isOff {
		close(g.off)
	} else if !barred && g.isOff {
		g.off = make(chan struct{})
	}
	g.isOff = barred
	state := stateUp
	switch {
	case barred:
		state = stateDown
	case g.trying:
		state = stateConnecting
	}
	if state != g.state {
		g.state, g.since = state, time.Now()
	}
}

// Status is a snapshot of the link.
func (g *Gate) Status() LinkStatus {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	st := LinkStatus{
		Bind: g.state, Since: g.since, InFlight: g.flying, Throughput: g.answered.Rate(now), Errors: g.answered.Faults(now),
		Share: g.share, SlowestMilli: int(g.answerMilli + 0.5), LastError: g.lastErr,
	}
	if g.state != stateDown {
		st.Binds = 1
	}
	return st
}
