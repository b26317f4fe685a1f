package smpp

import (
	"container/list"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/postrider/postrider/internal/door"
	"github.com/postrider/postrider/internal/origin"
)

// Serve takes connections from l until Shutdown, then returns nil. It closes l.
// It may run for several listeners at a time.
func (s *Server) Serve(l net.Listener) error { return s.serve(l, nil) }

// ServeTLS is Serve for TLS, with Server.TLS.
func (s *Server) ServeTLS(l net.Listener) error {
	if s.TLS == nil {
		_ = l.Close()
		return errors.New("smpp: no TLS configuration")
	}
	return s.serve(l, door.ServerTLS(s.TLS))
}

func (s *Server) serve(l net.Listener, config *tls.Config) error {
	defer func() { _ = l.Close() }()
	s.prepare()
	if !s.registry.listen(l, s.launch) {
		return nil
	}
	defer s.registry.unlisten(l)
	acceptor := door.Acceptor{
		Take:     func(conn net.Conn) { s.admitConnection(conn, config) },
		Draining: s.registry.isDraining,
		Cut:      s.life.Done(),
		Failed:   func(err error, pause time.Duration) { s.log.Error("smpp accept", "error", err, "pause", pause) },
	}
	if err := acceptor.Accept(l); err != nil {
		return fmt.Errorf("smpp: listener: %w", err)
	}
	return nil
}

// admitConnection runs a connection, or closes it at once.
func (s *Server) admitConnection(conn net.Conn, config *tls.Config) {
	c := &connection{server: s, raw: conn, config: config, deadline: time.Now().Add(sessionInit), gone: make(chan struct{})}
	c.life, c.end = context.WithCancel(s.life)
	c.peer = origin.Address(conn.RemoteAddr())
	c.proxied = origin.In(c.peer, s.ProxyFrom)
	place, cause := s.door.Enter(c.peer, c.proxied, s.now())
	if cause != "" {
		c.end()
		_ = conn.Close()
		s.refusedConnection(c, cause)
		return
	}
	c.place = place
	if s.Metrics.Connections != nil {
		s.Metrics.Connections(1)
	}
	if !c.proxied {
		s.awaitBind(c)
	}
	if !s.registry.add(c, &s.work, c.run) {
		_ = conn.Close()
		c.leave()
	}
}

// awaitBind counts a connection as unbound. When there are too many of them it
// closes the oldest, whose own goroutine counts that.
func (s *Server) awaitBind(c *connection) {
	oldest := s.unbound.enter(c)
	if oldest == nil {
		return
	}
	s.registry.causeOf(oldest, RefusedUnbound)
	oldest.end() // its password may be waiting to be checked; nobody looks at the socket then
	_ = oldest.raw.Close()
}

func (s *Server) refusedConnection(c *connection, cause string) {
	if s.Metrics.ConnectionRefused != nil {
		s.Metrics.ConnectionRefused(cause)
	}
	s.log.Info("smpp connection refused", "reason", cause, "address", c.peer.String())
}

// unboundList is the connections that have not proved a password. It is safe for
// concurrent use.
type unboundList struct {
	most int

	mu   sync.Mutex
	list list.List // of *connection, the oldest first
}

// newUnboundList leaves room for one that is bound, where there is any.
func newUnboundList(most, mostUnbound int) *unboundList {
	return &unboundList{most: max(1, min(mostUnbound, most-1))}
}

// enter adds a connection. It takes out the oldest, for the caller to close, when they
// are too many; nil: none.
func (u *unboundList) enter(c *connection) (oldest *connection) {
	u.mu.Lock()
	defer u.mu.Unlock()
	c.unproved = u.list.PushBack(c)
	if u.list.Len() <= u.most {
		return nil
	}
	oldest = u.list.Remove(u.list.Front()).(*connection)
	oldest.unproved = nil
	return oldest
}

// leave takes a connection out; false: it is not there any more.
func (u *unboundList) leave(c *connection) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if c.unproved == nil {
		return false
	}
	u.list.Remove(c.unproved)
	c.unproved = nil
	return true
}
