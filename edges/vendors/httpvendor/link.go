package httpvendor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/postrider/postrider/edges/vendors"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

const (
	// defaultWindow is how many requests run at once when the vendor's row says
	// nothing.
	defaultWindow = 10
	// faultsToOpen is how many failures in a row open the circuit. Each may be a
	// message of which nobody knows whether it was sent.
	faultsToOpen = 5
	// maxRetry is the longest gap between two looks at a vendor whose circuit is open.
	maxRetry = 5 * time.Minute
)

// The states of LinkStatus.Bind.
const (
	stateUp         = "connected"    // requests may be made
	stateConnecting = "connecting"   // one request shows whether the vendor is well again
	stateDown       = "disconnected" // no share, stopped, or the circuit is open
)

// Link is a vendors.Link over HTTP. Make one with New; it is safe for concurrent use.
// A changed vendor row needs a new Link.
//
// Its circuit opens after faultsToOpen failures in a row, or at once when the vendor
// says that the account is in no order. Then nothing is submitted, and the link looks
// whether the account can be read. Once it can, one message at a time is tried until
// the vendor answers it sanely.
type Link struct {
	spec   Spec
	vendor *snapshot.Vendor
	api    *api
	log    *slog.Logger
	status string // URL at which a message's status is reported, but for its attempt
	retry  time.Duration
	now    func() time.Time
	bucket vendors.Bucket // of the rate of the last share that was one

	looking context.Context // of the looks at an open circuit; ends with Stop
	endLook context.CancelFunc
	work    context.Context // of requests; ends when Stop gives up
	endWork context.CancelFunc
	looks   sync.WaitGroup

	mu       sync.Mutex
	started  bool
	stopping bool
	share    vendors.Share
	changed  chan struct{} // closed and replaced when something may have become possible
	off      chan struct{} // closed while nothing can leave, replaced when something can
	isOff    bool
	entered  int // submits that wait or run
	places   int // of the window, taken by those that wait for the rate or run
	flying   int // requests that run
	state    string
	since    time.Time
	lastErr  string

	open        bool // the circuit
	trying      bool // it was, and no message has got through since
	faults      int  // in a row
	gap         time.Duration
	pausedUntil time.Time
	pauses      int // in a row; picks the length of one for which the vendor gives none
	answerMilli float64
	answered    vendors.Meter
}

// New checks the vendor's row. The error names the field; it never holds a secret.
func New(spec Spec, cfg Config, v *snapshot.Vendor) (*Link, error) {
	if cfg.PublicURL == "" {
		return nil, fmt.Errorf("vendor %s: PUBLIC_URL is not set, so it has nowhere to report to", v.Name)
	}
	a, err := newAPI(spec, v)
	if err != nil {
		return nil, err
	}
	l := &Link{
		spec: spec, vendor: v, api: a, log: cfg.Log, retry: cfg.Retry, now: cfg.Now,
		status:  strings.TrimRight(cfg.PublicURL, "/") + "/status/" + v.ID.String() + "?" + attemptParam + "=",
		changed: make(chan struct{}), off: make(chan struct{}), state: stateDown, since: time.Now(),
	}
	if l.log == nil {
		l.log = slog.New(slog.DiscardHandler)
	}
	if l.retry <= 0 {
		l.retry = DefaultRetry
	}
	if l.now == nil {
		l.now = time.Now
	}
	l.log = l.log.With("vendor", v.Name)
	l.looking, l.endLook = context.WithCancel(context.Background())
	l.work, l.endWork = context.WithCancel(context.Background())
	return l, nil
}

func window(v *snapshot.Vendor) int {
	if v.Window > 0 {
		return v.Window
	}
	return defaultWindow
}

// Whole is true: the vendor cuts texts itself.
func (l *Link) Whole() bool { return true }

// Start lets submits through, as far as the share allows. It ends by Stop, not with
// ctx.
func (l *Link) Start(context.Context) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.started = true
	l.wakeLocked()
}

// SetShare says whether this process may use the vendor, and how fast.
func (l *Link) SetShare(s vendors.Share) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.Binds > 0 { // without a share the rate stays: none would be one without a limit
		l.bucket.SetRate(s.Rate)
	}
	l.share = s
	l.wakeLocked()
}

// Stop takes no more submits, waits for the answers under way until ctx ends, then
// gives them up. A second call waits as well.
func (l *Link) Stop(ctx context.Context) {
	l.mu.Lock()
	l.stopping = true
	l.endLook()
	l.wakeLocked()
	l.mu.Unlock()
	if l.waitIdle(ctx) != nil {
		l.endWork()
		_ = l.waitIdle(context.Background()) // requests end with their context
	}
	l.endWork()
	l.looks.Wait()
	l.api.close()
}

// waitIdle waits until no submit waits or runs.
func (l *Link) waitIdle(ctx context.Context) error {
	for {
		l.mu.Lock()
		idle, wait := l.entered == 0, l.waitLocked(0)
		l.mu.Unlock()
		if idle {
			return nil
		}
		if err := wait(ctx); err != nil {
			return err
		}
	}
}

// Room is the window without the submits that wait or run; 0 without a share, while
// paused or stopping, and with an open circuit.
func (l *Link) Room() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.roomLocked(time.Now())
}

// Wait is how long a message of the class would wait for the share's rate.
func (l *Link) Wait(class message.Class) time.Duration { return l.bucket.Wait(class) }

func (l *Link) roomLocked(now time.Time) int {
	if l.barredLocked() != "" || now.Before(l.pausedUntil) {
		return 0
	}
	return max(0, l.windowLocked()-l.entered)
}

// barredLocked says why nothing can leave until something other than time has
// changed; empty: it can.
func (l *Link) barredLocked() string {
	switch {
	case l.stopping:
		return "the link is stopped"
	case !l.started, l.share.Binds <= 0:
		return "this process has no share of the vendor"
	case l.open:
		return l.lastErr
	}
	return ""
}

func (l *Link) windowLocked() int {
	if l.trying {
		return 1
	}
	return window(l.vendor)
}

// errStopped is why a stopped link is not ready.
var errStopped = errors.New("the link is stopped")

// WaitReady blocks until Room is positive. It ends with ctx's error, or at once when
// the link is stopped.
func (l *Link) WaitReady(ctx context.Context) error {
	for {
		l.mu.Lock()
		room, stopping, wait := l.roomLocked(time.Now()), l.stopping, l.waitLocked(time.Until(l.pausedUntil))
		l.mu.Unlock()
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
func (l *Link) waitLocked(d time.Duration) func(ctx context.Context) error {
	changed := l.changed
	return func(ctx context.Context) error { return vendors.AwaitChange(ctx, changed, d) }
}

// wakeLocked wakes whoever waits for a change, and notes the state that it makes.
func (l *Link) wakeLocked() {
	close(l.changed)
	l.changed = make(chan struct{})
	barred := l.barredLocked() != ""
	if barred && !l.isOff {
		close(l.off)
	} else if !barred && l.isOff {
		l.off = make(chan struct{})
	}
	l.isOff = barred
	state := stateUp
	switch {
	case barred:
		state = stateDown
	case l.trying:
		state = stateConnecting
	}
	if state != l.state {
		l.state, l.since = state, time.Now()
	}
}

// Status is a snapshot of the link.
func (l *Link) Status() vendors.LinkStatus {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	st := vendors.LinkStatus{
		Bind: l.state, Since: l.since, InFlight: l.flying, Throughput: l.answered.Rate(now), Errors: l.answered.Faults(now),
		Share: l.share, SlowestMilli: int(l.answerMilli + 0.5), LastError: l.lastErr,
	}
	if l.state != stateDown {
		st.Binds = 1
	}
	return st
}
