package smpp

import (
	"container/list"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/postrider/postrider/internal/limit"
	"github.com/postrider/postrider/internal/origin"
)

const (
	// connectWindow is what Server.ConnectRate counts over.
	connectWindow = 10 * time.Second
	// maxHosts bounds the addresses that it is counted for; the one that came
	// longest ago goes first.
	maxHosts = 20_000
)

// Pauses after an accept that failed, for want of file descriptors for example:
// trying at once would take the processor from those who could free some.
const (
	acceptPauseMin = 5 * time.Millisecond
	acceptPauseMax = time.Second
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
	return s.serve(l, serverTLS(s.TLS))
}

func (s *Server) serve(l net.Listener, config *tls.Config) error {
	defer func() { _ = l.Close() }()
	s.prepare()
	if !s.registry.listen(l, s.launch) {
		return nil
	}
	defer s.registry.unlisten(l)
	var pause time.Duration
	for {
		conn, err := l.Accept()
		switch {
		case err == nil:
			pause = 0
			s.admitConnection(conn, config)
		case s.registry.isDraining():
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("smpp: listener: %w", err)
		default:
			// Whatever it is, it may pass; giving the port up would not help.
			pause = min(max(2*pause, acceptPauseMin), acceptPauseMax)
			s.log.Error("smpp accept", "error", err, "pause", pause)
			s.rest(pause)
		}
	}
}

// rest waits, or until Shutdown cuts everything off.
func (s *Server) rest(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-s.life.Done():
	}
}

// admitConnection runs a connection, or closes it at once.
func (s *Server) admitConnection(conn net.Conn, config *tls.Config) {
	c := &connection{server: s, raw: conn, config: config, deadline: time.Now().Add(sessionInit), gone: make(chan struct{})}
	c.life, c.end = context.WithCancel(s.life)
	c.peer = origin.Address(conn.RemoteAddr())
	c.proxied = origin.In(c.peer, s.ProxyFrom)
	cause := ""
	if !s.door.enter() {
		cause = RefusedTotal
	} else if !c.proxied { // else the header tells who it is
		if cause = s.door.enterFrom(c.peer, s.now()); cause != "" {
			s.door.leave()
		}
	}
	if cause != "" {
		c.end()
		_ = conn.Close()
		s.refusedConnection(c, cause)
		return
	}
	if s.Metrics.Connections != nil {
		s.Metrics.Connections(1)
	}
	if c.entered = !c.proxied; c.entered {
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
	oldest := s.door.enterUnbound(c)
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

// door holds connections back before anything is read from them. It is safe for
// concurrent use.
type door struct {
	most, mostUnbound, mostFrom, rate int

	mu      sync.Mutex
	open    int
	unbound list.List // of *connection, the oldest first
	from    map[netip.Addr]int
	recent  *limit.Limiter
}

func newDoor(most, mostUnbound, mostFrom, rate int) *door {
	return &door{
		most: most, mostUnbound: max(1, min(mostUnbound, most-1)), mostFrom: mostFrom, rate: rate,
		from: make(map[netip.Addr]int), recent: limit.New(maxHosts),
	}
}

// enter takes one of all places; leave gives it back.
func (d *door) enter() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open >= d.most {
		return false
	}
	d.open++
	return true
}

func (d *door) leave() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open--
}

// enterUnbound adds a connection to those that have not proved a password. It
// takes out the oldest, for the caller to close, when they are too many; nil: none.
func (d *door) enterUnbound(c *connection) (oldest *connection) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c.unproved = d.unbound.PushBack(c)
	if d.unbound.Len() <= d.mostUnbound {
		return nil
	}
	oldest = d.unbound.Remove(d.unbound.Front()).(*connection)
	oldest.unproved = nil
	return oldest
}

// leaveUnbound takes a connection out; false: it is not there any more.
func (d *door) leaveUnbound(c *connection) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if c.unproved == nil {
		return false
	}
	d.unbound.Remove(c.unproved)
	c.unproved = nil
	return true
}

// enterFrom takes one of the address's places, or tells why not; leaveFrom
// gives it back.
func (d *door) enterFrom(a netip.Addr, now time.Time) (refused string) {
	host := origin.Host(a)
	if !d.recent.Take(host.String(), d.rate, connectWindow, now).OK {
		return RefusedRate
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.from[host] >= d.mostFrom {
		return RefusedAddress
	}
	d.from[host]++
	return ""
}

func (d *door) leaveFrom(a netip.Addr) {
	host := origin.Host(a)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.from[host]--; d.from[host] <= 0 {
		delete(d.from, host)
	}
}
