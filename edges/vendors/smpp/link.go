// Package smpp is the link to a vendor that speaks SMPP 3.4: we are the ESME.
// It keeps the vendor's binds up, paces and submits parts, and hands receipts
// and inbound messages to functions given at construction.
//
// The rule not to break: the vendor gets a positive deliver_sm_resp only after
// the function has committed what came, and a submit whose answer is not known
// is reported as written.
package smpp

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/postrider/postrider/edges/vendors"
	"github.com/postrider/postrider/internal/smpp"
	"github.com/postrider/postrider/internal/snapshot"
)

const (
	// defaultWindow is the window of a vendor whose row says none: Sinch,
	// Genesys and ClickSend allow 10.
	defaultWindow = 10
	// maxInbound bounds the receipts and inbound messages of one bind that are
	// being committed; above it the socket is not read. Commits are grouped, so
	// many at once cost little more than one.
	maxInbound = 64
	// commitTimeout bounds one commit; vendors wait 10 to 60 s for an answer.
	commitTimeout = 20 * time.Second
	// defaultAnswer is the response timer of a vendor whose row says none.
	defaultAnswer = smpp.DefaultResponseTimeout
)

// Metrics are told what happens; each may be nil. They must not block.
type Metrics struct {
	// Answered is called for each submit that was written, with the status by
	// name, or "" when no answer came, and the time since the write was asked for.
	Answered func(vendor, status string, took time.Duration)
	// Received is called for each receipt or inbound message, with whether it
	// was committed.
	Received func(vendor, kind string, committed bool)
	// Bound is called with the number of live binds when it changes.
	Bound func(vendor string, binds int)
}

// Config makes a Link. Vendor, OnReceipt and OnInbound are needed.
type Config struct {
	Vendor    snapshot.Vendor
	OnReceipt vendors.OnReceipt
	OnInbound vendors.OnInbound
	Log       *slog.Logger // nil: nothing is logged
	Metrics   Metrics
	// DialContext connects; nil: net.Dialer.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)
}

// Link is a vendors.Link over SMPP. Make one with New; it is safe for concurrent
// use. A changed vendor row needs a new Link.
type Link struct {
	cfg     Config
	vendor  snapshot.Vendor
	mode    smpp.Mode
	tls     *tls.Config
	format  smpp.IDFormat
	log     *slog.Logger
	limiter *rate.Limiter // nil: unlimited
	line    line          // of inbound messages

	dialing  context.Context // of dial and backoff; ends with Stop
	stopDial context.CancelFunc
	commits  context.Context // of OnReceipt and OnInbound; ends when Stop gives up
	stopWork context.CancelFunc
	loops    sync.WaitGroup

	mu       sync.Mutex
	started  bool
	stopping bool
	stopped  chan struct{}      // closed when Stop has ended; nil before Stop
	binds    map[*bind]struct{} // live
	changed  chan struct{}      // closed and replaced when something may have become possible
	state    string             // of LinkStatus.Bind
	since    time.Time
	lastErr  string
	alarmed  bool // wrong credentials were logged

	unused      int // tokens of the rate whose parts were kept from the wire
	unusedUntil time.Time
	pausedUntil time.Time
	pauses      int // consecutive; picks the length of the next
	answerMilli float64
	answered    meter
	share       vendors.Share
}

// New checks the vendor's row. The error names the field; it never holds the
// password.
func New(cfg Config) (*Link, error) {
	v := cfg.Vendor
	l := &Link{
		cfg: cfg, vendor: v, format: smpp.IDFormat(v.IDFormat), log: cfg.Log,
		binds: make(map[*bind]struct{}), changed: make(chan struct{}),
		state: stateDown, since: time.Now(),
	}
	if l.log == nil {
		l.log = slog.New(slog.DiscardHandler)
	}
	l.log = l.log.With("vendor", v.Name)
	switch v.BindType {
	case "transmitter":
		l.mode = smpp.ModeTransmitter
	case "receiver":
		l.mode = smpp.ModeReceiver
	case "transceiver", "":
		l.mode = smpp.ModeTransceiver
	default:
		return nil, fmt.Errorf("vendor %s: bind type %q is none of transmitter, receiver, transceiver", v.Name, v.BindType)
	}
	if cfg.OnReceipt == nil || cfg.OnInbound == nil {
		return nil, fmt.Errorf("vendor %s: receipts and inbound messages have nowhere to go", v.Name)
	}
	if v.UseTLS {
		var err error
		if l.tls, err = tlsConfig(v); err != nil {
			return nil, err
		}
	}
	if v.Throughput > 0 {
		// A burst of 20 ms makes up for late timers without showing in any
		// vendor's count of a second.
		l.limiter = rate.NewLimiter(rate.Limit(v.Throughput), max(1, v.Throughput/50))
	}
	l.dialing, l.stopDial = context.WithCancel(context.Background())
	l.commits, l.stopWork = context.WithCancel(context.Background())
	return l, nil
}

func tlsConfig(v snapshot.Vendor) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: v.ServerName}
	if c.ServerName == "" {
		c.ServerName = v.Host
	}
	if v.TLSCA != "" {
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM([]byte(v.TLSCA)) {
			return nil, fmt.Errorf("vendor %s: tls_ca holds no PEM certificate", v.Name)
		}
	}
	return c, nil
}

func (l *Link) window() int {
	if l.vendor.Window > 0 {
		return l.vendor.Window
	}
	return defaultWindow
}

func (l *Link) responseTimeout() time.Duration {
	if l.vendor.ResponseTimeout > 0 {
		return l.vendor.ResponseTimeout
	}
	return defaultAnswer
}

// dialConfig is how one bind is made.
func (l *Link) dialConfig(b *bind) smpp.DialConfig {
	return smpp.DialConfig{
		Config: smpp.Config{
			Handler: smpp.HandlerFunc(l.handle), Log: l.log,
			Window: l.window(), Inbound: maxInbound,
			EnquireLink: l.vendor.EnquireLink, ResponseTimeout: l.responseTimeout(),
		},
		Address: net.JoinHostPort(l.vendor.Host, strconv.Itoa(l.vendor.Port)),
		TLS:     l.tls, DialContext: l.cfg.DialContext,
		Bind: smpp.Bind{
			Mode: l.mode, SystemID: l.vendor.Username, Password: l.vendor.Password, SystemType: l.vendor.SystemType,
		},
	}
}

// Start begins binding and rebinding. It ends by Stop, not with ctx.
func (l *Link) Start(context.Context) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.started || l.stopping {
		return
	}
	l.started = true
	l.setStateLocked(stateConnecting)
	for range max(1, l.vendor.MaxBinds) {
		l.loops.Go(l.keepBound)
	}
}

// Stop takes no more submits, waits for outstanding answers and commits until
// ctx ends, unbinds, and closes. A second call waits for the first.
func (l *Link) Stop(ctx context.Context) {
	l.mu.Lock()
	first := l.stopped == nil
	if first {
		l.stopped = make(chan struct{})
	}
	stopped := l.stopped
	l.stopping = true
	l.wakeLocked()
	l.mu.Unlock()
	if !first {
		<-stopped
		return
	}
	defer close(stopped)
	l.stopDial() // the loops unbind
	done := make(chan struct{})
	go func() {
		l.loops.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		l.stopWork()
		l.closeBinds()
		<-done
	}
	l.stopWork()
}

func (l *Link) closeBinds() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for b := range l.binds {
		b.session.Close()
	}
}

// Whole is false: parts go one by one.
func (l *Link) Whole() bool { return false }

// SetShare says what of the vendor this process may use.
func (l *Link) SetShare(s vendors.Share) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.share = s
	if l.limiter != nil && s.Rate > 0 {
		l.limiter.SetLimit(rate.Limit(s.Rate))
	}
}

// Room is the free window over the live binds; 0 while unbound, paused or
// stopping, and for a receiver bind.
func (l *Link) Room() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.roomLocked(time.Now())
}

func (l *Link) roomLocked(now time.Time) int {
	if l.stopping || now.Before(l.pausedUntil) {
		return 0
	}
	n := 0
	for b := range l.binds {
		n += b.room()
	}
	return n
}

// errStopped is why a stopped link is not ready.
var errStopped = errors.New("the link is stopped")

// WaitReady blocks until Room is positive. It ends with ctx's error, or at once
// when the link is stopped.
func (l *Link) WaitReady(ctx context.Context) error {
	for {
		l.mu.Lock()
		room, stopping, wait := l.roomLocked(time.Now()), l.stopping, l.waitLocked()
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

// waitLocked gives a function that waits until something changes or the pause
// ends.
func (l *Link) waitLocked() func(ctx context.Context) error {
	changed, pause := l.changed, time.Until(l.pausedUntil)
	return func(ctx context.Context) error {
		var resumed <-chan time.Time
		if pause > 0 {
			t := time.NewTimer(pause)
			defer t.Stop()
			resumed = t.C
		}
		select {
		case <-changed:
		case <-resumed:
		case <-ctx.Done():
			return ctx.Err()
		}
		return nil
	}
}

// wakeLocked wakes whoever waits for a change.
func (l *Link) wakeLocked() {
	close(l.changed)
	l.changed = make(chan struct{})
}
