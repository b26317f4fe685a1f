package smpp

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// State is where a session is in its life (SMPP 3.4 §2.2).
type State int

// The states of a session.
const (
	StateOpen State = iota
	StateBoundTX
	StateBoundRX
	StateBoundTRX
	StateUnbound // an unbind runs: outstanding requests end, new ones are refused
	StateClosed
)

// String is the state's name.
func (s State) String() string {
	return [...]string{"open", "boundTX", "boundRX", "boundTRX", "unbound", "closed"}[s]
}

func boundState(m Mode) State {
	switch m {
	case ModeTransmitter:
		return StateBoundTX
	case ModeReceiver:
		return StateBoundRX
	}
	return StateBoundTRX
}

// Defaults of Config.
const (
	DefaultWindow          = 10
	DefaultEnquireLink     = 30 * time.Second
	DefaultEnquireTimeout  = 10 * time.Second
	DefaultResponseTimeout = 30 * time.Second
	DefaultReadTimeout     = 10 * time.Second
	DefaultWriteTimeout    = 10 * time.Second
	DefaultUnbindTimeout   = 5 * time.Second
	DefaultSessionInit     = 10 * time.Second
)

// Config is what both roles of a session need. The zero Config works and
// refuses every request of the peer with RINVCMDID.
type Config struct {
	// Handler gets the peer's requests beside bind, unbind and enquire_link.
	Handler Handler
	// Log gets what a person may want to know; nil: nothing is logged.
	Log *slog.Logger

	// Window bounds our own unanswered requests; 0: 10.
	Window int
	// Inbound bounds the peer's unanswered requests; above it the socket is not
	// read. 0: 10.
	Inbound int

	EnquireLink     time.Duration // idle time before our enquire_link; 0: 30 s; negative: never
	EnquireTimeout  time.Duration // silence after it that closes; 0: 10 s
	ResponseTimeout time.Duration // request to response; 0: 30 s
	Inactivity      time.Duration // without any transaction, then unbind; 0: never
	ReadTimeout     time.Duration // first octet of a PDU to its last; 0: 10 s
	WriteTimeout    time.Duration // of one write; 0: 10 s
	UnbindTimeout   time.Duration // for outstanding requests when the peer unbinds; 0: 5 s
}

func (c *Config) setDefaults() {
	if c.Handler == nil {
		c.Handler = HandlerFunc(func(r *Request) { _ = r.Respond(StatusInvCmdID, nil) })
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Window <= 0 {
		c.Window = DefaultWindow
	}
	if c.Inbound <= 0 {
		c.Inbound = DefaultWindow
	}
	for _, d := range []struct {
		v   *time.Duration
		def time.Duration
	}{
		{&c.EnquireLink, DefaultEnquireLink}, {&c.EnquireTimeout, DefaultEnquireTimeout},
		{&c.ResponseTimeout, DefaultResponseTimeout}, {&c.ReadTimeout, DefaultReadTimeout},
		{&c.WriteTimeout, DefaultWriteTimeout}, {&c.UnbindTimeout, DefaultUnbindTimeout},
	} {
		if *d.v == 0 {
			*d.v = d.def
		}
	}
}

// Session is one SMPP session over one connection, in either role. It is safe
// for concurrent use.
//
// It owns a reader, a writer and a timer goroutine, and those started by
// Request.Go. They end when the session ends: after a loss, an unbind or Close.
// Wait waits for all of them.
type Session struct {
	conn   net.Conn
	cfg    Config
	server *ServerConfig // nil: we are the ESME
	frames *frameReader

	ctx      context.Context // of the peer's requests; ends with the session
	cancel   context.CancelFunc
	closing  chan struct{} // closed when the connection is given up
	refusing chan struct{} // closed when no new requests are taken: unbind or closing
	done     chan struct{} // closed when loops have ended and every request has its end
	loops    sync.WaitGroup
	handlers sync.WaitGroup

	lastRead  atomic.Int64 // since started, nanoseconds
	lastTrans atomic.Int64
	started   time.Time

	mu       sync.Mutex
	state    State
	mode     Mode
	binding  bool // the bind is being decided
	leaving  bool // server role: we unbind, and the peer's new requests are refused
	peerID   string
	version  byte // the peer's interface_version
	deliver  bool // server role: deliver_sm of the peer is taken, see Decision
	err      error
	sequence uint32
	calls    callList         // those with a response timer, oldest first
	pending  map[uint32]*Call // by sequence number
	enquire  *Call            // our enquire_link under way
	window   int              // of our own requests
	used     int              // places of it that are taken; above window after it was lowered
	waiters  []chan struct{}  // for a place, in order; one is closed when it has its place
	idle     chan struct{}    // closed when nothing is outstanding; nil: nobody waits

	inbound      int // the peer's requests without answer
	inboundLimit int
	inboundRoom  sync.Cond
	readPaused   bool

	responses, requests []outFrame
	writable            sync.Cond // something to write, or the end
	responseRoom        sync.Cond
	finishing           error // flush, then end with this error; nil: not finishing
	lingering           bool  // read deadline belongs to the end

	keeper   chan struct{} // wakes the timer goroutine; capacity 1
	nextWake time.Duration // since started; when the timer goroutine looks next
}

func newSession(conn net.Conn, cfg Config, server *ServerConfig) *Session {
	cfg.setDefaults()
	s := &Session{
		conn: conn, cfg: cfg, server: server,
		closing: make(chan struct{}), refusing: make(chan struct{}), done: make(chan struct{}),
		started: time.Now(),
		pending: make(map[uint32]*Call),
		window:  cfg.Window, inboundLimit: cfg.Inbound,
		keeper: make(chan struct{}, 1),
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.inboundRoom.L, s.writable.L, s.responseRoom.L = &s.mu, &s.mu, &s.mu
	s.frames = newFrameReader(conn, cfg.ReadTimeout, s.setReadDeadline)
	return s
}

// start runs the session's goroutines and one that ends it when they have.
func (s *Session) start() {
	for _, loop := range []func(){s.readLoop, s.writeLoop, s.keepLoop} {
		s.loops.Go(func() {
			defer s.catch("loop")
			loop()
		})
	}
	go func() {
		s.loops.Wait()
		s.endCalls()
		s.cancel()
		close(s.done)
	}()
}

// catch ends the session after a panic of ours or of a handler; the process
// lives on.
func (s *Session) catch(where string) {
	if v := recover(); v != nil {
		s.cfg.Log.Error("smpp session panic", "where", where, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
		s.fail(ErrPanic)
	}
}

// fail gives up the connection; the first cause stays. Requests end once the
// loops have.
func (s *Session) fail(cause error) {
	s.mu.Lock()
	if s.err != nil {
		s.mu.Unlock()
		return
	}
	if s.finishing != nil {
		cause = s.finishing
	}
	s.err = cause
	s.refuseLocked(StateClosed)
	close(s.closing)
	s.inboundRoom.Broadcast()
	s.writable.Broadcast()
	s.responseRoom.Broadcast()
	s.mu.Unlock()
	_ = s.conn.Close() // not under mu: TLS says goodbye, which may take its time
}

// refuseLocked stops new requests of ours and enters the state.
func (s *Session) refuseLocked(st State) {
	s.state = st
	select {
	case <-s.refusing:
	default:
		close(s.refusing)
	}
}

// finish writes what is queued, then ends the session with cause.
func (s *Session) finish(cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.finishing != nil || s.err != nil {
		return
	}
	s.finishing = cause
	s.refuseLocked(StateUnbound)
	s.writable.Broadcast()
}

// Close gives up the connection at once, without unbind. Unanswered requests
// end as RequestError. It does not wait: use Done or Wait.
func (s *Session) Close() { s.fail(ErrClosed) }

// Done is closed when the session has ended and every request has its result.
func (s *Session) Done() <-chan struct{} { return s.done }

// Wait waits for Done and for the goroutines of Request.Go. Not to be called
// from a Handler.
func (s *Session) Wait() {
	<-s.done
	s.handlers.Wait()
}

// Err is why the session ended: ErrUnbound after an unbind by either side,
// ErrClosed after Close, else the cause. It is nil while the session lives.
func (s *Session) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// State is the session's state now.
func (s *Session) State() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

// Mode is how the session was bound; ModeNone before.
func (s *Session) Mode() Mode {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mode
}

// PeerID is the peer's system_id; empty before the bind.
func (s *Session) PeerID() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.peerID
}

// PeerVersion is the peer's interface_version, as it said in its bind or by
// sc_interface_version; 0 when it said none.
func (s *Session) PeerVersion() byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.version
}

// RemoteAddr is the peer's network address.
func (s *Session) RemoteAddr() net.Addr { return s.conn.RemoteAddr() }

// Conn is the connection, for reading TLS state. Nothing may be read from or
// written to it.
func (s *Session) Conn() net.Conn { return s.conn }

// InFlight is the number of our requests that hold a place in the window.
func (s *Session) InFlight() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.used
}

// Window is the number of our requests that may be unanswered.
func (s *Session) Window() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.window
}

// setBound enters the bound state; the caller holds mu.
func (s *Session) setBoundLocked(m Mode) {
	if s.state != StateOpen {
		return
	}
	s.mode = m
	s.state = boundState(m)
	s.lastTrans.Store(int64(s.since()))
	s.wakeLocked(0)
}

func (s *Session) since() time.Duration { return time.Since(s.started) }

func (s *Session) setReadDeadline(t time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.lingering {
		_ = s.conn.SetReadDeadline(t)
	}
}

// Unbind ends the session in order: new requests are refused, outstanding ones
// of both sides end, unbind is exchanged, the connection is closed. When ctx
// ends first, the connection is closed at once and ctx's error returned. A
// session that has ended returns nil.
//
// An SMSC that unbinds answers new requests of the peer with RSYSERR, which says
// try later: a peer that keeps its window full would else never let it go, and be
// left with a window of requests of which it knows nothing. What an ESME is sent
// meanwhile it takes.
func (s *Session) Unbind(ctx context.Context) error {
	s.mu.Lock()
	if s.state == StateClosed {
		s.mu.Unlock()
		<-s.done
		return nil
	}
	first := s.state != StateUnbound
	if first {
		s.refuseLocked(StateUnbound)
		s.leaving = s.server != nil
	}
	idle := s.idleLocked()
	s.mu.Unlock()

	var err error
	if first {
		err = s.exchangeUnbind(ctx, idle)
	}
	select {
	case <-s.done:
	case <-ctx.Done():
		err = ctx.Err()
	}
	s.Close()
	<-s.done
	return err
}

func (s *Session) exchangeUnbind(ctx context.Context, idle <-chan struct{}) error {
	select {
	case <-idle:
	case <-s.closing:
		return nil
	case <-ctx.Done():
		s.Close()
		return ctx.Err()
	}
	result := make(chan error, 1)
	c, err := s.send(&Unbind{}, callOptions{done: func(_ Packet, err error) { result <- err }})
	if err != nil {
		return nil // it ended meanwhile
	}
	select {
	case <-result:
	case <-ctx.Done():
		s.abandon(c)
		s.Close()
		return ctx.Err()
	}
	// What crossed our unbind was taken and has its answer coming.
	s.mu.Lock()
	s.idle = nil
	idle = s.idleLocked()
	s.mu.Unlock()
	select {
	case <-idle:
		s.finish(ErrUnbound)
	case <-s.closing:
	case <-ctx.Done():
		s.Close()
		return ctx.Err()
	}
	return nil
}

// idleLocked gives a channel that is closed when nothing is outstanding on
// either side.
func (s *Session) idleLocked() <-chan struct{} {
	if s.idle == nil {
		s.idle = make(chan struct{})
		s.checkIdleLocked()
	}
	return s.idle
}

func (s *Session) checkIdleLocked() {
	if s.idle == nil || s.inbound > 0 || s.calls.n > 0 {
		return
	}
	select {
	case <-s.idle:
	default:
		close(s.idle)
	}
}
