package mm4

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/postrider/postrider/internal/door"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/origin"
)

// ListenAndServe is Serve on a TCP address, such as ":2566".
func (s *Server) ListenAndServe(ctx context.Context, address string) error {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("mm4: listen: %w", err)
	}
	return s.Serve(ctx, l)
}

// Serve takes connections from l until Shutdown, or until ctx ends, and then shuts down
// within Limits.Drain. It closes l. It may run for several listeners at a time. Its error
// is that of a listener that cannot be used, or of a Shutdown that took too long.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	defer func() { _ = l.Close() }()
	s.prepare()
	if len(s.Domains) == 0 || s.Desk == nil || s.Spool == nil || s.Peers == nil {
		return errors.New("mm4: Desk, Spool, Peers and Domains must be set")
	}
	s.mu.Lock()
	draining := s.draining
	s.listeners[l] = true
	s.beginRollCall()
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.listeners, l)
		s.mu.Unlock()
	}()
	if draining {
		return nil
	}
	down := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.limits.Drain)
		defer cancel()
		down <- s.Shutdown(drain)
	})
	err := s.accept(l)
	if !stop() {
		err = errors.Join(err, <-down)
	}
	return err
}

func (s *Server) accept(l net.Listener) error {
	acceptor := door.Acceptor{
		Take:     s.admit,
		Draining: s.isDraining,
		Cut:      s.life.Done(),
		Failed:   func(err error, pause time.Duration) { s.log.Error("mm4 accept", "error", err, "pause", pause) },
	}
	if err := acceptor.Accept(l); err != nil {
		return fmt.Errorf("mm4: listener: %w", err)
	}
	return nil
}

func (s *Server) isDraining() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.draining
}

// admit runs a connection, or greets it with 421 and closes it at once.
func (s *Server) admit(conn net.Conn) {
	c := &session{server: s, raw: conn, address: origin.Address(conn.RemoteAddr()), since: time.Now()}
	c.proxied = origin.In(c.address, s.ProxyFrom)
	place, cause := s.door.Enter(c.address, c.proxied, s.now())
	if cause != "" {
		c.turnAway(cause)
		return
	}
	c.place = place
	if s.Metrics.Sessions != nil {
		s.Metrics.Sessions(1)
	}
	s.mu.Lock()
	draining := s.draining
	if !draining {
		s.last++
		c.id = s.last
		c.info = SessionInfo{ID: c.id, Row: message.NewID(), Since: c.since, State: StateOpening}
		s.sessions[c.id] = c
		s.work.Go(c.run)
	}
	s.mu.Unlock()
	if draining {
		_ = conn.Close()
		c.leave()
	}
}

// turnAwayTexts say why a connection is refused for now.
var turnAwayTexts = map[string]string{
	RefusedTotal:    "too many sessions; try again later",
	RefusedAddress:  "too many sessions from this address; close some",
	RefusedConnects: "too many connections from this address; keep sessions open",
	RefusedPeer:     "too many sessions of this peer; close some",
}

// turnAway greets with 421 and closes. The reply fits into the buffer of a new
// connection, so nobody is waited for.
func (c *session) turnAway(cause string) {
	c.refused(cause)
	_ = c.raw.SetWriteDeadline(time.Now().Add(lingerTime))
	_, _ = c.raw.Write([]byte(line(say(codeBusy, "%s", turnAwayTexts[cause]))))
	_ = c.raw.Close()
}

// run serves the connection until it has ended.
func (c *session) run() {
	defer c.leave()
	var l *link
	var refusal *smtp.SMTPError
	err := c.protect("the opening", func() error {
		l, refusal = c.open()
		return nil
	})
	if l == nil || err != nil {
		_ = c.raw.Close()
		return
	}
	if refusal != nil {
		l.finish(refusal)
		_ = l.Close()
		return
	}
	library := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return c, nil }))
	library.Domain = c.server.hostname()
	library.MaxLineLength = 0        // the link's
	library.AllowInsecureAuth = true // judgeAuth decides, and AuthMechanisms
	library.MaxMessageBytes = c.maxSize()
	library.ErrorLog = libraryLog{c.server.log}
	// A server of the library for each connection: what it offers differs by peer.
	_ = library.Serve(&single{conn: l})
	_ = library.Shutdown(context.Background()) // waits for the connection to end
}

// open reads the PROXY header and looks who it is. No link: there is nobody to talk to.
func (c *session) open() (*link, *smtp.SMTPError) {
	s := c.server
	conn := c.raw
	if c.proxied {
		behind, address, err := origin.ReadProxyHeader(c.raw, time.Now().Add(proxyTime))
		if err != nil {
			c.refused(RefusedProxyHeader)
			return nil, nil
		}
		conn, c.address = behind, address
	}
	l := newLink(conn, s.tlsConfig(), s.limits.Command)
	l.guard = c.judge
	c.mu.Lock()
	c.link, c.info.Address, c.info.State = l, c.address, StateIdle
	c.mu.Unlock()
	if s.isDraining() {
		return l, say(codeBusy, "the server is shutting down")
	}
	if c.proxied {
		if cause := c.place.From(c.address, s.now()); cause != "" {
			c.refused(cause)
			return l, say(codeBusy, "%s", turnAwayTexts[cause])
		}
	}
	c.candidates = s.Peers().At(c.address)
	switch len(c.candidates) {
	case 0:
		c.refused(RefusedStranger)
		return l, say(codeStranger, "no peer connects from this address")
	case 1:
		if !c.count(c.candidates[0]) {
			return l, say(codeBusy, "%s", turnAwayTexts[RefusedPeer])
		}
	}
	return l, nil
}

// leave gives back what the session had.
func (c *session) leave() {
	s := c.server
	if c.counted != nil {
		s.leavePeer(c.counted.ID)
	}
	c.place.Leave()
	s.mu.Lock()
	delete(s.sessions, c.id)
	s.mu.Unlock()
	if s.Metrics.Sessions != nil {
		s.Metrics.Sessions(-1)
	}
}

// single is a listener of one connection.
type single struct {
	conn *link
	done bool
}

// Accept gives the connection, and then none.
func (s *single) Accept() (net.Conn, error) {
	if s.done {
		return nil, net.ErrClosed
	}
	s.done = true
	return s.conn, nil
}

// Close does nothing: the library closes the connection itself.
func (s *single) Close() error   { return nil }
func (s *single) Addr() net.Addr { return s.conn.LocalAddr() }

// room counts octets of mails that are not committed yet. It is safe for concurrent use.
type room struct {
	most  int64
	taken atomic.Int64
}

// take reserves n octets, unless there would be too many; give gives them back.
func (r *room) take(n int64) bool {
	if r.taken.Add(n) > r.most {
		r.taken.Add(-n)
		return false
	}
	return true
}

func (r *room) give(n int64) { r.taken.Add(-n) }
