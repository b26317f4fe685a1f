package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/postrider/postrider/internal/smpp"
	"github.com/postrider/postrider/internal/telemetry"
)

const (
	// ourSystemID is told in bind_resp.
	ourSystemID = "smscsim"
	// defaultResponseTimeout is that of a deliver_sm.
	defaultResponseTimeout = 10 * time.Second
	// unbindTimeout bounds how long an unbind waits for answers. Submits that are
	// never answered on purpose would hold it for ever.
	unbindTimeout = time.Second
	// stopTimeout bounds the unbinding and the HTTP requests at the end.
	stopTimeout = 3 * time.Second
	// maxAccounts bounds the system_ids that are remembered.
	maxAccounts = 10_000
)

// simulator is a running SMSC. It is safe for concurrent use.
type simulator struct {
	options options
	log     *slog.Logger
	config  atomic.Pointer[config]
	ids     *ids
	planner *planner
	ledger  *ledger
	stats   *stats
	later   *schedule

	listener, httpListener net.Listener
	http                   *http.Server
	failed                 chan error // a listener ended by itself; capacity 2

	ctx    context.Context // ends at stop
	cancel context.CancelFunc
	loops  sync.WaitGroup

	configMu      sync.Mutex // one change at a time
	configChanged chan struct{}
	reference     atomic.Uint32 // of concatenated inbound messages

	mu       sync.Mutex
	accounts map[string]*account
	peers    map[*peer]struct{}
	turn     int // picks the account of the next inbound message
	stopping bool
}

// start listens and serves. The caller calls stop.
func start(o options) (*simulator, error) {
	log, err := telemetry.NewLogger(os.Stderr, o.LogLevel, "text")
	if err != nil {
		return nil, err
	}
	s := &simulator{
		options: o, log: log, ids: newIDs(time.Now()), planner: newPlanner(o.Config.Seed),
		ledger: newLedger(o.MaxDestinations), stats: newStats(), later: newSchedule(),
		failed: make(chan error, 2), configChanged: make(chan struct{}),
		accounts: make(map[string]*account), peers: make(map[*peer]struct{}),
	}
	s.config.Store(&o.Config)
	if s.listener, err = net.Listen("tcp", o.Listen); err != nil {
		return nil, err
	}
	if s.httpListener, err = net.Listen("tcp", o.HTTP); err != nil {
		return nil, errors.Join(err, s.listener.Close())
	}
	s.http = newHTTPServer(s)
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.loops.Go(s.later.loop)
	s.loops.Go(s.accept)
	s.loops.Go(s.serveHTTP)
	s.loops.Go(s.sendInbound)
	return s, nil
}

func (s *simulator) ready() ready {
	return ready{SMPP: s.listener.Addr().String(), HTTP: s.httpListener.Addr().String(), PID: os.Getpid()}
}

// stop unbinds the peers and ends everything; it may be called once.
func (s *simulator) stop() {
	s.mu.Lock()
	s.stopping = true
	var peers []*peer
	for p := range s.peers {
		peers = append(peers, p)
	}
	s.mu.Unlock()
	_ = s.listener.Close()
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	var unbinding sync.WaitGroup
	for _, p := range peers {
		unbinding.Go(func() { p.leave(ctx) })
	}
	unbinding.Wait()
	s.cancel()
	s.later.stop()
	if s.http.Shutdown(ctx) != nil {
		_ = s.http.Close()
	}
	s.loops.Wait()
	s.log.Info("smscsim has stopped")
}

func (s *simulator) accept() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			s.ended(fmt.Errorf("smpp listener: %w", err))
			return
		}
		s.welcome(conn)
	}
}

// ended tells main that a listener has ended, unless stop wants it so.
func (s *simulator) ended(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.stopping {
		s.failed <- err
	}
}

// welcome runs a session on the connection.
func (s *simulator) welcome(conn net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping || s.config.Load().Away {
		_ = conn.Close()
		return
	}
	p := &peer{sim: s}
	s.peers[p] = struct{}{}
	p.session = smpp.NewServerSession(conn, smpp.ServerConfig{
		Config: smpp.Config{
			Handler: smpp.HandlerFunc(p.handle), Log: s.log,
			// The simulator bounds by itself: what it leaves unanswered on purpose
			// must not stop the reading.
			Inbound:         1 << 30,
			ResponseTimeout: time.Duration(s.options.ResponseTimeout), UnbindTimeout: unbindTimeout,
		},
		SystemID: ourSystemID,
		Bind:     func(_ context.Context, _ *smpp.Session, b *smpp.Bind) smpp.Decision { return s.decide(b) },
		Bound:    p.bound,
	})
	s.loops.Go(p.outlive)
}

// decide answers a bind.
func (s *simulator) decide(b *smpp.Bind) smpp.Decision {
	c := s.config.Load()
	switch {
	case c.SystemID != "" && b.SystemID != c.SystemID:
		return smpp.Decision{Status: smpp.StatusInvSystemID}
	case !c.Password.Empty() && b.Password != c.Password.Reveal():
		return smpp.Decision{Status: smpp.StatusInvPassword}
	case s.account(b.SystemID) == nil:
		return smpp.Decision{Status: smpp.StatusBindFail}
	}
	return smpp.Decision{Window: c.DeliverWindow}
}

// account is the one of a system_id, which is made when it is new; nil: there
// are too many.
func (s *simulator) account(systemID string) *account {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.accounts[systemID]
	if a == nil && len(s.accounts) < maxAccounts {
		a = newAccount(systemID)
		s.accounts[systemID] = a
	}
	return a
}

// configure replaces the behaviour by a changed copy.
func (s *simulator) configure(change func(c config) (config, error)) (config, error) {
	s.configMu.Lock()
	defer s.configMu.Unlock()
	was := *s.config.Load()
	c, err := change(was)
	if err != nil {
		return was, err
	}
	if c.Seed != was.Seed {
		s.planner.reseed(c.Seed)
	}
	s.config.Store(&c)
	close(s.configChanged)
	s.configChanged = make(chan struct{})
	if c.Away {
		s.disconnect("") // who connected before welcome knew
	}
	return c, nil
}

// behaviour is the config with a channel that is closed when it changes.
func (s *simulator) behaviour() (*config, <-chan struct{}) {
	s.configMu.Lock()
	defer s.configMu.Unlock()
	return s.config.Load(), s.configChanged
}

// reset forgets what was counted. Sessions live on, and what is pending stays.
func (s *simulator) reset() {
	s.stats.reset()
	s.ledger.reset()
	s.planner.reset()
	s.planner.reseed(s.config.Load().Seed)
}

// disconnect drops every connection, or those of one system_id, and tells how
// many.
func (s *simulator) disconnect(systemID string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for p := range s.peers {
		if systemID == "" || p.session.PeerID() == systemID {
			p.session.Close()
			n++
		}
	}
	return n
}
