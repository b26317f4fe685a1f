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
	"maps"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/postrider/postrider/edges/vendors"
	"github.com/postrider/postrider/internal/message"
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
	// Bound is called with the number of live binds when it changes, in the order
	// of the changes and with the link locked: it must not call the link.
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
	// Now is the clock by which messages expire; nil: time.Now.
	Now func() time.Time
}

// Link is a vendors.Link over SMPP. Make one with New; it is safe for concurrent
// use. A vendor row with another Version needs a new Link.
type Link struct {
	cfg    Config
	vendor snapshot.Vendor
	mode   smpp.Mode
	tls    *tls.Config
	format smpp.IDFormat
	codes  map[smpp.Status]message.Reason // of the vendor's code map
	log    *slog.Logger
	bucket vendors.Bucket // of the share's rate
	desk   Desk           // for what it sends

	dialing  context.Context // of dial and backoff; ends with Stop
	stopDial context.CancelFunc
	commits  context.Context // of OnReceipt and OnInbound; ends when Stop gives up
	stopWork context.CancelFunc
	loops    sync.WaitGroup

	mu       sync.Mutex
	started  bool
	stopping bool
	stopped  chan struct{} // closed when Stop has ended; nil before Stop
	share    vendors.Share
	slots    []*slot            // as many as the share's binds
	leaving  map[*slot]struct{} // surplus ones, until their bind has ended
	binds    map[*bind]struct{} // live
	calls    int                // connections of the vendor's own that are being bound
	changed  chan struct{}      // closed and replaced when something may have become possible
	state    string             // of LinkStatus.Bind
	since    time.Time
	lastErr  string
	alarmed  bool // wrong credentials were logged

	pausedUntil time.Time
	pauses      int // consecutive; picks the length of the next
	answerMilli float64
	answered    vendors.Meter
}

// New checks the vendor's row. The error names the field; it never holds the
// password.
func New(cfg Config) (*Link, error) {
	v := cfg.Vendor
	l := &Link{
		cfg: cfg, vendor: v, format: smpp.IDFormat(v.IDFormat), log: cfg.Log,
		leaving: make(map[*slot]struct{}), binds: make(map[*bind]struct{}), changed: make(chan struct{}),
		state: stateDown, since: time.Now(),
	}
	if l.log == nil {
		l.log = slog.New(slog.DiscardHandler)
	}
	if l.cfg.Now == nil {
		l.cfg.Now = time.Now
	}
	l.desk.OnReceipt, l.desk.OnInbound, l.desk.Log, l.desk.Received = cfg.OnReceipt, cfg.OnInbound, l.log, cfg.Metrics.Received
	l.log = l.log.With("vendor", v.Name)
	l.codes = make(map[smpp.Status]message.Reason)
	for _, code := range slices.Sorted(maps.Keys(v.CodeMap)) { // of two for one status the same one wins always
		if st, ok := smpp.ParseStatus(code); ok && v.CodeMap[code].Known() {
			l.codes[st] = v.CodeMap[code]
		}
	}
	if cfg.OnReceipt == nil || cfg.OnInbound == nil {
		return nil, fmt.Errorf("vendor %s: receipts and inbound messages have nowhere to go", v.Name)
	}
	var err error
	if l.mode, err = modeOf(&v); err != nil {
		return nil, err
	}
	if l.tls, err = tlsConfig(&v); err != nil {
		return nil, err
	}
	l.dialing, l.stopDial = context.WithCancel(context.Background())
	l.commits, l.stopWork = context.WithCancel(context.Background())
	return l, nil
}

func modeOf(v *snapshot.Vendor) (smpp.Mode, error) {
	switch v.BindType {
	case "transmitter":
		return smpp.ModeTransmitter, nil
	case "receiver":
		return smpp.ModeReceiver, nil
	case "transceiver", "":
		return smpp.ModeTransceiver, nil
	}
	return 0, fmt.Errorf("vendor %s: bind type %q is none of transmitter, receiver, transceiver", v.Name, v.BindType)
}

// tlsConfig is nil for a vendor without TLS.
func tlsConfig(v *snapshot.Vendor) (*tls.Config, error) {
	if !v.UseTLS {
		return nil, nil
	}
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
	if v.ClientCert != "" || v.ClientKey != "" {
		own, err := tls.X509KeyPair([]byte(v.ClientCert), []byte(v.ClientKey))
		if err != nil { // it never quotes the key
			return nil, fmt.Errorf("vendor %s: tls_client_cert and tls_client_key: %w", v.Name, err)
		}
		c.Certificates = []tls.Certificate{own}
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
func (l *Link) dialConfig(mode smpp.Mode) smpp.DialConfig {
	cfg := dialConfig(&l.vendor, mode, l.tls)
	cfg.DialContext = l.cfg.DialContext
	cfg.Config = l.sessionConfig()
	return cfg
}

// sessionConfig is what all sessions of the link have.
func (l *Link) sessionConfig() smpp.Config {
	return smpp.Config{
		Handler: smpp.HandlerFunc(func(r *smpp.Request) { l.desk.Take(l.commits, &l.vendor, r) }), Log: l.log,
		Window: l.window(), Inbound: maxInbound,
		EnquireLink: l.vendor.EnquireLink, ResponseTimeout: l.responseTimeout(),
	}
}

// dialConfig is where a vendor is and how it knows us.
func dialConfig(v *snapshot.Vendor, mode smpp.Mode, t *tls.Config) smpp.DialConfig {
	return smpp.DialConfig{
		Address: net.JoinHostPort(v.Host, strconv.Itoa(v.Port)), TLS: t,
		Bind: smpp.Bind{
			Mode: mode, SystemID: v.Username, Password: v.Password, SystemType: v.SystemType,
			AddressTON: v.AddressTON, AddressNPI: v.AddressNPI, AddressRange: v.AddressRange,
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
	l.arrangeLocked()
}

// Stop takes no more submits, waits for outstanding answers and commits until
// ctx ends, unbinds, and closes. Of several calls the context that ends first counts.
func (l *Link) Stop(ctx context.Context) {
	l.mu.Lock()
	first := l.stopped == nil
	if first {
		l.stopped = make(chan struct{})
	}
	stopped := l.stopped
	l.stopping = true
	for b := range l.binds {
		b.callOff()
	}
	l.wakeLocked()
	l.mu.Unlock()
	if first {
		l.stopDial() // the loops unbind
		go func() {
			l.loops.Wait()
			l.stopWork()
			close(stopped)
		}()
	}
	select {
	case <-stopped:
	case <-ctx.Done():
		l.stopWork()
		l.closeBinds()
		<-stopped
	}
}

func (l *Link) closeBinds() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for b := range l.binds {
		b.session.Close()
	}
}

// Whole reports whether the vendor takes long texts whole, in message_payload.
func (l *Link) Whole() bool { return smpp.LongMessage(l.vendor.LongMessage) == smpp.LongPayload }

// Repeats is false: SMPP has no word for a submit_sm that comes twice.
func (l *Link) Repeats() bool { return false }

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

// Wait is how long a part of the class would wait for the share's rate.
func (l *Link) Wait(class message.Class) time.Duration { return l.bucket.Wait(class) }

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
	return func(ctx context.Context) error { return vendors.AwaitChange(ctx, changed, pause) }
}

// wakeLocked wakes whoever waits for a change.
func (l *Link) wakeLocked() {
	close(l.changed)
	l.changed = make(chan struct{})
}
