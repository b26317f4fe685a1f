package mm4

import (
	"cmp"
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/postrider/postrider/internal/door"
	"github.com/postrider/postrider/internal/limit"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/mm4"
)

// DefaultSystemUser is who responses and reports are addressed to.
const DefaultSystemUser = "system-user"

// Server takes mails. Fill in the fields, then Serve. It is safe for concurrent use;
// the fields must not change once it serves.
type Server struct {
	Desk  Desk
	Spool Spool
	// Peers gives the peers that are in force. It is asked for each connection and each
	// mail, so a change counts from the next mail on.
	Peers func() *Directory

	// Rates counts the mails of each Peer with a Rate. Nil: this process counts for itself.
	Rates Rates

	Hostname string   // in the greeting; empty: the first of Domains
	Domains  []string // that recipients may be at; at least one
	// TLS is for STARTTLS; at least TLS 1.2 is spoken, whatever it says. Nil: it is
	// not offered.
	TLS *tls.Config
	// ProxyFrom are the proxies whose PROXY protocol header names the peer. Empty: none
	// is read.
	ProxyFrom []netip.Prefix
	// Registry tells all processes of the sessions, under Instance, and of those that are
	// to end. Nil: nobody else knows of them.
	Registry Registry
	Instance string
	Limits   Limits
	Metrics  Metrics
	Log      *slog.Logger     // nil: nothing is logged
	Now      func() time.Time // of rates; nil: time.Now

	prepared sync.Once // makes what follows
	log      *slog.Logger
	limits   Limits
	door     *door.Door
	room     room
	rates    Rates
	tries    *limit.Limiter // wrong passwords
	checks   chan struct{}  // a place for each password that is checked; never closed

	life  context.Context // ends when sessions are cut off
	cut   context.CancelFunc
	work  sync.WaitGroup // sessions; grows under mu only
	calls sync.WaitGroup // the roll call
	ended chan struct{}  // closed when Shutdown is through

	mu        sync.Mutex
	listeners map[net.Listener]bool
	sessions  map[uint64]*session
	perPeer   map[message.ID]int
	last      uint64 // id of a session
	draining  bool
	calling   bool // the roll call was begun
}

// Rates counts events per key over a window. *limit.Limiter and *limit.Shared do, the
// latter over all processes. It runs on a session and must not hold it up.
type Rates interface {
	Take(key string, limit int, window time.Duration, now time.Time) limit.Result
}

// Metrics are called when something happened; nil fields are not called. They must not
// block. Peers are named as in Peer.Name.
type Metrics struct {
	Sessions func(delta int)
	// Refused is told of a connection that was closed, or a mail that was not begun, by
	// one of the causes Refused….
	Refused func(cause string)
	// Mail is told of each DATA: the code of its reply, 0 when the connection was lost
	// before. Kind is empty when it could not be read.
	Mail func(peer string, kind mm4.Type, code int, octets int64, took time.Duration)
}

// The causes of Metrics.Refused.
const (
	RefusedTotal       = door.RefusedTotal   // Limits.Sessions
	RefusedAddress     = door.RefusedAddress // Limits.SessionsPerAddress
	RefusedConnects    = door.RefusedRate    // Limits.ConnectRate
	RefusedProxyHeader = "proxy_header"      // missing, late, or not to be understood
	RefusedStranger    = "unknown_peer"
	RefusedPeer        = "peer_too_many" // Peer.MaxSessions
	RefusedRate        = "peer_too_fast" // Peer.Rate
	RefusedPasswords   = "passwords"     // Limits.AuthFailures, or wrong ones in a session
	RefusedInjection   = "starttls_injection"
)

// State is what a session is at.
type State string

// The states of sessions.
const (
	StateOpening State = "opening" // before the greeting
	StateIdle    State = "idle"
	StateMail    State = "mail"   // between MAIL and DATA
	StateData    State = "data"   // a mail comes
	StateCommit  State = "commit" // the Desk has it
)

// SessionInfo is a session at one moment.
type SessionInfo struct {
	ID      uint64     // unique in this process
	Row     message.ID // unique over all processes, in the Registry
	PeerID  message.ID // zero: not known yet, see Directory
	Peer    string     // its name; empty: not known yet
	Address netip.Addr // zero: a PROXY header has not come yet
	Since   time.Time
	Mails   int // that were taken
	State   State
	TLS     bool
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
		if s.log = s.Log; s.log == nil {
			s.log = slog.New(slog.DiscardHandler)
		}
		s.limits = s.Limits.orDefault()
		s.door = door.New(door.Limits{Connections: s.limits.Sessions, PerAddress: s.limits.SessionsPerAddress, ConnectRate: s.limits.ConnectRate})
		s.room.most = s.limits.SpoolOctets
		if s.rates, s.tries = s.Rates, limit.New(maxHosts); s.rates == nil {
			s.rates = limit.New(maxHosts)
		}
		s.checks = make(chan struct{}, authChecks)
		s.life, s.cut = context.WithCancel(context.Background())
		s.ended = make(chan struct{})
		s.listeners = make(map[net.Listener]bool)
		s.sessions = make(map[uint64]*session)
		s.perPeer = make(map[message.ID]int)
	})
}

// hostname is what we call ourselves.
func (s *Server) hostname() string {
	if s.Hostname == "" && len(s.Domains) > 0 {
		return s.Domains[0]
	}
	return s.Hostname
}

// ours reports whether a domain is one of ours.
func (s *Server) ours(domain string) bool {
	return slices.ContainsFunc(s.Domains, func(d string) bool { return strings.EqualFold(d, domain) })
}

// tlsConfig is what STARTTLS is answered with; nil: it is not offered.
func (s *Server) tlsConfig() *tls.Config {
	if s.TLS == nil {
		return nil
	}
	return door.ServerTLS(s.TLS)
}

// Sessions lists the sessions, the oldest first.
func (s *Server) Sessions() []SessionInfo {
	s.prepare()
	var out []SessionInfo
	for _, c := range s.all() {
		out = append(out, c.snapshot())
	}
	slices.SortFunc(out, func(a, b SessionInfo) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// Kick ends a session, and reports whether there is one: with 421 when it waits for a
// command, in the midst of a mail by closing the connection. A mail that the Desk has
// is answered first.
func (s *Server) Kick(id uint64) bool {
	s.prepare()
	s.mu.Lock()
	c := s.sessions[id]
	s.mu.Unlock()
	if c == nil {
		return false
	}
	c.kick()
	return true
}

func (s *Server) all() []*session {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]*session, 0, len(s.sessions))
	for _, c := range s.sessions {
		out = append(out, c)
	}
	return out
}

// enterPeer takes one of a peer's places; leavePeer gives it back.
func (s *Server) enterPeer(p *Peer) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.perPeer[p.ID] >= p.MaxSessions {
		return false
	}
	s.perPeer[p.ID]++
	return true
}

func (s *Server) leavePeer(id message.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.perPeer[id]--; s.perPeer[id] <= 0 {
		delete(s.perPeer, id)
	}
}

// Shutdown stops accepting, says 421 to sessions that wait for a command, and lets mails
// whose DATA is under way finish until ctx ends. Then connections are closed; a mail
// that the Desk has at that time gets 5 s more. Its error is ctx's, when it ended before
// the sessions. Calling it again waits for the first call.
func (s *Server) Shutdown(ctx context.Context) error {
	s.prepare()
	s.mu.Lock()
	first := !s.draining
	s.draining = true
	for l := range s.listeners {
		_ = l.Close()
	}
	s.mu.Unlock()
	if !first {
		select {
		case <-s.ended:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	defer close(s.ended)
	defer s.calls.Wait()
	defer s.cut()
	for _, c := range s.all() {
		c.bid(say(codeBusy, "the server is shutting down"))
	}
	done := make(chan struct{})
	go func() {
		s.work.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	s.cut()
	left := s.all()
	for _, c := range left {
		c.cut()
	}
	s.log.Warn("mm4 sessions cut off", "count", len(left))
	t := time.NewTimer(lastTime)
	defer t.Stop()
	select {
	case <-done:
	case <-t.C:
		s.log.Error("mm4 mails still being committed; the journal does not answer")
	}
	return ctx.Err()
}
