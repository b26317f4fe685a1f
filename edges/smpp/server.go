package smpp

import (
	"cmp"
	"context"
	"crypto/tls"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/postrider/postrider/internal/door"
	"github.com/postrider/postrider/internal/limit"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/smpp"
	"github.com/postrider/postrider/internal/snapshot"
)

// Defaults of the fields of Server.
const (
	DefaultMaxConnections = 5000
	DefaultMaxUnbound     = 1000
	DefaultMaxPerAddress  = 50
	DefaultConnectRate    = 100
	DefaultSystemID       = "postrider"
)

const (
	// drainTime is how long sessions may take to end in order, by us or at
	// shutdown (api.md §8).
	drainTime = 15 * time.Second
	// lastTime is what the last lines of the audit log may take after that, and
	// the last word to the registry.
	lastTime = 5 * time.Second
	// journalTime bounds one statement about a bind. With a beat that waits for
	// the binds under way and then takes as long itself, rows are seen at least
	// every 20 s; they lapse after 30.
	journalTime = 5 * time.Second
	beatEvery   = 10 * time.Second
	// watchEvery is how soon a changed configuration reaches the sessions that
	// it ends.
	watchEvery = 2 * time.Second
	// heldEvery is how often it is looked at what is held for the accounts.
	heldEvery = 10 * time.Second
)

// Server is the SMSC. Fill in the fields, then Serve. It is safe for concurrent
// use; the fields must not change once it serves.
type Server struct {
	Ingress  Ingress
	Journal  Journal
	Snapshot func() *snapshot.Snapshot
	Log      *slog.Logger     // nil: nothing is logged
	Now      func() time.Time // of rates and back-off; nil: time.Now
	Instance string           // names this process in the registry; unique per start
	// MediaURL is where an ESME's owner reads a file of a message; nil: files are not told
	// of.
	MediaURL func(f message.MediaFile) string
	SystemID string      // ours, told in bind_resp; empty: DefaultSystemID
	TLS      *tls.Config // for ServeTLS; at least TLS 1.2 is spoken, whatever it says
	// ProxyFrom are the proxies whose PROXY protocol header names the peer; a
	// header from anywhere else ends the connection. Empty: none is read.
	ProxyFrom []netip.Prefix
	Metrics   Metrics
	// Rates are the credentials' rates over all replicas; nil: each process has its
	// own.
	Rates Rates
	// FromVendor takes and answers a request of a vendor that has bound to us. It runs on
	// the session's reader and must not wait. Nil: vendors may not bind.
	FromVendor func(v *snapshot.Vendor, r *smpp.Request)
	// Numbers counts the messages of senders that have a rate of their own, together
	// with the other edges; nil: this edge counts alone, in process.
	Numbers limit.Many

	// MaxConnections is how many connections there may be at a time, bound or
	// not; more are closed at once. 0: DefaultMaxConnections.
	MaxConnections int
	// MaxUnbound is how many of them may be there without having proved a password.
	// One more closes the oldest of these, so that strangers cannot take the places
	// of customers. One that comes by a proxy counts once its header is read. It is
	// kept below MaxConnections where that is more than 1. 0: DefaultMaxUnbound.
	MaxUnbound int
	// MaxPerAddress is the same for one peer address, a /64 in IPv6. 0:
	// DefaultMaxPerAddress.
	MaxPerAddress int
	// Inactivity unbinds a session after so long without any request but
	// enquire_link (SMPP 3.4 §7.2). 0: never.
	Inactivity time.Duration
	// ConnectRate is how many connections one address may open in ten seconds.
	// 0: DefaultConnectRate.
	ConnectRate int

	deliverer deliverer
	rates     rateBook
	numbers   limit.Many
	// request gets the requests of bound sessions; nil: handle.
	request func(*bound, *smpp.Request)
	// timers are those of the sessions; a zero one is its default of package smpp.
	timers smpp.Config

	prepared  sync.Once // makes what follows
	log       *slog.Logger
	door      *door.Door
	unbound   *unboundList
	passwords *passwords
	failures  *failures
	audits    *audits
	registry  *registry
	asking    chan struct{} // a place for each of askers; never closed

	life  context.Context // of what is done for sessions; ends when they are cut off
	cut   context.CancelFunc
	stop  chan struct{}  // closed by Shutdown, once no session is left: beat and watch end
	ended chan struct{}  // closed when Shutdown is through
	loops sync.WaitGroup // beat, watch
	work  sync.WaitGroup // connections and their unbinds; grows under registry.mu only
}

// Metrics are called when something happened; nil fields are not called. They
// must not block.
type Metrics struct {
	Connections func(delta int)
	Binds       func(systemID string, delta int)
	BindRefused func(reason message.Reason)
	Request     func(command string, status string, took time.Duration)
	// Throttled is told of messages that were refused with RTHROTTLED, and for whose
	// rate: limit.ScopeBind, ScopeNumber.
	Throttled func(account message.ID, scope string, messages int)
	Delivered func(kind message.DeliveryKind, state message.NotificationState)
	// Held is told every 10 s of all accounts that deliveries wait for; nil when
	// that cannot be said.
	Held func([]message.SMPPHeld)

	// ConnectionRefused is told of a connection that was closed before a bind was
	// decided, by one of the causes Refused….
	ConnectionRefused func(cause string)
	// AuditDropped is told of lines of the audit log that were lost because it
	// was not written fast enough, or not at all.
	AuditDropped func(lines int)
}

// The causes of Metrics.ConnectionRefused.
const (
	RefusedTotal       = door.RefusedTotal   // Server.MaxConnections
	RefusedUnbound     = "unbound_too_many"  // Server.MaxUnbound: it was the oldest
	RefusedAddress     = door.RefusedAddress // Server.MaxPerAddress
	RefusedRate        = door.RefusedRate    // Server.ConnectRate
	RefusedProxyHeader = "proxy_header"      // missing, late, or not to be understood
	RefusedTLS         = "tls"               // no handshake
	RefusedSessionInit = "session_init"      // no bind in time
	RefusedFraming     = "framing"           // not SMPP, such as a PROXY header of a stranger
)

// bound is one bound session of a customer, or of a vendor.
type bound struct {
	id         message.ID // of its row in the registry
	systemID   string
	credential message.ID
	account    message.ID // zero: a vendor's
	vendor     message.ID // zero: a customer's
	session    *smpp.Session
	password   string // its hash, as it was when it bound
	// legacy is a peer below version 3.4: it gets no optional parameters, and
	// message ids of 8 hex digits.
	legacy bool

	flood flood
	order order
	// unbind ends the session in order; it does not wait. Nil in tests.
	unbind func(cause string)
}

// settings are the credential's as they are now; nil when it is gone or
// disabled.
func (s *Server) settings(b *bound) *snapshot.SMPPCredential {
	c := s.Snapshot().SMPPCredentialByID(b.credential)
	if c == nil || !c.Enabled {
		return nil
	}
	return c
}

func (s *Server) now() time.Time {
	if s.Now != nil {
		return s.Now()
	}
	return time.Now()
}

// prepare makes the server's parts. Nothing runs yet.
func (s *Server) prepare() {
	s.prepared.Do(func() {
		s.log = quietLogger(s.Log)
		most := cmp.Or(s.MaxConnections, DefaultMaxConnections)
		s.door = door.New(door.Limits{
			Connections: most, PerAddress: cmp.Or(s.MaxPerAddress, DefaultMaxPerAddress), ConnectRate: cmp.Or(s.ConnectRate, DefaultConnectRate),
		})
		s.unbound = newUnboundList(most, cmp.Or(s.MaxUnbound, DefaultMaxUnbound))
		s.passwords = newPasswords()
		s.failures = newFailures()
		s.registry = newRegistry()
		s.asking = make(chan struct{}, askers)
		s.life, s.cut = context.WithCancel(context.Background())
		s.audits = newAudits(s.writeAudit, s.Metrics.AuditDropped)
		s.stop, s.ended = make(chan struct{}), make(chan struct{})
		if s.numbers = s.Numbers; s.numbers == nil {
			s.numbers = limit.New(0)
		}
		if s.request == nil {
			s.request = s.handle
		}
	})
}

// launch starts what runs beside the connections. Shutdown ends it.
func (s *Server) launch() {
	s.audits.start()
	s.deliverer.start(s)
	s.loops.Go(func() { s.every(beatEvery, s.beat) })
	var seen int64
	s.loops.Go(func() { s.every(watchEvery, func() { seen = s.watch(seen) }) })
	s.loops.Go(func() { s.every(heldEvery, s.watchHeld) })
}

func (s *Server) every(d time.Duration, do func()) {
	t := time.NewTicker(d)
	defer t.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-t.C:
			do()
		}
	}
}

// beat says that our binds live. No bind is entered meanwhile: one that was not
// yet among the ids would be taken out again.
func (s *Server) beat() {
	ctx, cancel := context.WithTimeout(s.life, 2*journalTime)
	defer cancel()
	if !s.registry.holdEntries(ctx) {
		s.log.Warn("smpp heartbeat held up by binds")
		return
	}
	defer s.registry.releaseEntries()
	ctx, cancelBeat := context.WithTimeout(s.life, journalTime)
	defer cancelBeat()
	missing, err := s.Journal.BindsAlive(ctx, s.Instance, s.registry.rowIDs())
	if lost := s.registry.lostRows(missing); err == nil && len(lost) > 0 {
		// Nobody has heard of us for minutes. Others may have bound in their place:
		// the sessions stay all the same, for they have done nothing wrong.
		s.log.Warn("smpp binds entered again after an outage; credentials may have more than max_binds", "count", len(lost))
		err = s.Journal.EnterAgain(ctx, lost)
	}
	if err != nil {
		s.log.Error("smpp heartbeat not written; binds lapse after 30 s", "error", err)
	}
}

// watch looks whether the configuration has changed, and tidies up. It gives
// the version that it saw.
func (s *Server) watch(seen int64) int64 {
	now := s.now()
	s.audits.flush(now)
	s.failures.tidy(now)
	s.rates.tidy(now)
	snap := s.Snapshot()
	if snap != nil && snap.Version != seen {
		s.Recheck()
		seen = snap.Version
	}
	s.endSurplus()
	s.endAsked()
	return seen
}

// Shutdown stops accepting, unbinds every session in order and waits until all
// have ended: their outstanding requests are answered, for up to 15 s or until
// ctx ends, then they are cut off. Binds leave the registry as they end. Its
// error is ctx's, or that of the 15 s, when they ended before the sessions; some
// seconds may pass after that for requests that the journal is at, and for the
// last words to it. Calling it again waits for the first call.
func (s *Server) Shutdown(ctx context.Context) error {
	s.prepare()
	connections, launched, first := s.registry.drain()
	if !first {
		select {
		case <-s.ended:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	defer close(s.ended)
	defer s.cut()
	patience, cancel := context.WithTimeout(ctx, drainTime)
	defer cancel()
	defer context.AfterFunc(patience, s.cut)()

	var unbinds sync.WaitGroup
	for _, c := range connections {
		unbinds.Go(func() { c.shut(patience) })
	}
	unbinds.Wait()
	err := s.awaitWork(patience, patience.Err())
	if launched {
		s.finish()
	}
	return err
}

// awaitWork waits for the connections to end, and after ctx for lastTime more.
// A request that the journal does not let go of even then is left to end with
// the process. The error is that of sessions that were cut off; err, when the
// caller knows of some.
func (s *Server) awaitWork(ctx context.Context, err error) error {
	done := make(chan struct{})
	go func() {
		s.work.Wait()
		close(done)
	}()
	if err == nil {
		select {
		case <-done:
			return nil
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	s.log.Warn("smpp sessions cut off", "error", err)
	t := time.NewTimer(lastTime)
	defer t.Stop()
	select {
	case <-done:
	case <-t.C:
		s.log.Error("smpp requests still under way; the journal does not answer")
	}
	return err
}

// finish ends what launch started.
func (s *Server) finish() {
	s.deliverer.stop()
	close(s.stop)
	s.loops.Wait()
	// In one statement what the sessions could not say themselves, or said in
	// vain: whoever is bound elsewhere by now must not be held against them.
	ctx, cancel := context.WithTimeout(context.Background(), lastTime)
	defer cancel()
	if _, err := s.Journal.BindsAlive(ctx, s.Instance, nil); err != nil {
		s.log.Warn("smpp binds not taken out of the registry; they lapse after 30 s", "error", err)
	}
	defer time.AfterFunc(lastTime, s.cut).Stop()
	s.audits.close(s.now())
}
