package smpp

import (
	"cmp"
	"container/list"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"time"

	"github.com/postrider/postrider/internal/door"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/origin"
	"github.com/postrider/postrider/internal/smpp"
)

// sessionInit bounds the time from connect to bind, with the PROXY header and
// the TLS handshake in it (SMPP 3.4 §7.2).
const sessionInit = smpp.DefaultSessionInit

// connection is one connection from accept to its end. Its own goroutine, run,
// opens it, makes the session and clears away after it; what the session calls
// (decide, onBound, Handle) runs on the session's reader.
type connection struct {
	server   *Server
	raw      net.Conn    // as accepted
	config   *tls.Config // nil: no TLS
	deadline time.Time   // of the bind
	proxied  bool        // a PROXY header comes first
	peer     netip.Addr  // the proxy's until the header is read
	place    *door.Place
	gone     chan struct{}

	life context.Context // ends with the server's, or when it has to make room
	end  context.CancelFunc

	unproved *list.Element // in unbound.list, guarded by unbound.mu; nil: not in it

	// Those of the reader; run looks at them once the session has ended.
	tried bool       // a bind was decided
	row   message.ID // in the journal's registry; zero: none
	own   *bound     // nil: not bound

	receiving  sync.Mutex // guards attachment, and is held while the deliverer is told
	attachment attachment

	// Guarded by registry.mu.
	session *smpp.Session
	bound   *bound
	cause   string // why we end the session
	// maxBinds is the credential's now, judgedBinds what it was when the session
	// was let in, or last judged.
	maxBinds, judgedBinds int
}

// attachment is what the deliverer knows of a connection. It only grows: a
// session that ends before it was attached never is.
type attachment byte

const (
	unattached attachment = iota
	attached
	detached
)

// run serves the connection until it has ended.
func (c *connection) run() {
	defer c.leave()
	conn, cause := c.open()
	if cause != "" {
		_ = c.raw.Close()
		if !c.server.registry.isDraining() {
			c.server.refusedConnection(c, cmp.Or(c.server.registry.causeOf(c, ""), cause))
		}
		return
	}
	config := c.server.timers
	config.Handler, config.Log, config.Inactivity = c, c.server.log, c.server.Inactivity
	session := smpp.NewServerSession(conn, smpp.ServerConfig{
		Config:      config,
		SystemID:    cmp.Or(c.server.SystemID, DefaultSystemID),
		Bind:        c.decide,
		Bound:       c.onBound,
		SessionInit: max(time.Until(c.deadline), time.Nanosecond), // 0 would be the default
	})
	c.server.registry.setSession(c, session)
	<-session.Done()
	c.settle(session)
	session.Wait()
}

// open reads the PROXY header and does the TLS handshake. A cause other than
// empty tells why the connection cannot be served.
func (c *connection) open() (conn net.Conn, cause string) {
	defer func() {
		if v := recover(); v != nil {
			c.server.log.Error("smpp connection panic", "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			cause = cmp.Or(cause, RefusedFraming)
		}
	}()
	conn = c.raw
	if c.proxied {
		behind, peer, err := origin.ReadProxyHeader(c.raw, c.deadline)
		if err != nil {
			return nil, RefusedProxyHeader
		}
		if cause := c.place.From(peer, c.server.now()); cause != "" {
			c.peer = peer
			return nil, cause
		}
		conn, c.peer = behind, peer
		c.server.awaitBind(c)
	}
	if c.config != nil {
		ctx, cancel := context.WithDeadline(c.server.life, c.deadline)
		defer cancel()
		secured := tls.Server(conn, c.config)
		if err := secured.HandshakeContext(ctx); err != nil {
			return nil, RefusedTLS
		}
		conn = secured
	}
	return conn, ""
}

// leave gives back what the connection had.
func (c *connection) leave() {
	s := c.server
	c.end()
	s.registry.remove(c)
	s.unbound.leave(c)
	c.place.Leave()
	if s.Metrics.Connections != nil {
		s.Metrics.Connections(-1)
	}
}

// Handle gives a request of the bound ESME to those who serve it.
func (c *connection) Handle(r *smpp.Request) {
	c.server.request(c.own, r)
}

// onBound makes the session one that is served, before anything of it is read.
func (c *connection) onBound(session *smpp.Session) {
	mode := session.Mode()
	if mode == smpp.ModeNone {
		return // it was lost while the bind was decided
	}
	b := c.own
	s := c.server
	s.registry.setBound(c, b)
	if s.Metrics.Binds != nil {
		s.Metrics.Binds(b.systemID, 1)
	}
	s.log.Info("smpp bound", "system_id", b.systemID, "mode", mode.String(), "address", c.peer.String(), "tls", c.config != nil)
	s.audits.session(auditLine{b.account, b.systemID, c.peer.String(), "smpp.bind", c.describe(mode, session.PeerVersion())}, s.now())
	if mode.CanDeliver() && b.vendor == (message.ID{}) {
		c.attach()
	}
	// It was decided by the configuration of then; a Recheck since has not seen it.
	c.recheck()
}

func (c *connection) describe(mode smpp.Mode, version byte) string {
	over := "plain"
	if c.config != nil {
		over = "tls"
	}
	return fmt.Sprintf("%s, %s, interface_version %02x", mode, over, version)
}

// settle clears away after the session: it has ended, if some handlers may
// still run.
func (c *connection) settle(session *smpp.Session) {
	defer close(c.gone)
	s := c.server
	c.detach()
	if c.row != (message.ID{}) {
		s.takeOut(c.row)
	}
	b := c.own
	if b == nil || session.Mode() == smpp.ModeNone {
		c.countUnbound(session.Err())
		return
	}
	if s.Metrics.Binds != nil {
		s.Metrics.Binds(b.systemID, -1)
	}
	end := cmp.Or(s.registry.causeOf(c, ""), endOf(session.Err()))
	s.log.Info("smpp unbound", "system_id", b.systemID, "address", c.peer.String(), "reason", end)
	s.audits.session(auditLine{b.account, b.systemID, c.peer.String(), "smpp.unbind", end}, s.now())
}

// attach begins deliveries by this session.
func (c *connection) attach() {
	c.receiving.Lock()
	defer c.receiving.Unlock()
	if c.attachment == unattached {
		c.attachment = attached
		c.server.deliverer.attach(c.own)
	}
}

// detach ends them: as soon as we unbind it, for nothing can be sent from then
// on, or when it has ended. Deliveries under way may still be answered.
func (c *connection) detach() {
	c.receiving.Lock()
	defer c.receiving.Unlock()
	if c.attachment == attached {
		c.server.deliverer.detach(c.own)
	}
	c.attachment = detached
}

// countUnbound counts a session that ended without a bind, and without one that
// was decided, or that had to make room for others.
func (c *connection) countUnbound(err error) {
	if c.server.registry.causeOf(c, "") == RefusedUnbound {
		c.server.refusedConnection(c, RefusedUnbound)
		return
	}
	if c.tried {
		return
	}
	var refused *smpp.BindError
	switch {
	case errors.Is(err, smpp.ErrSessionInit):
		c.server.refusedConnection(c, RefusedSessionInit)
	case errors.Is(err, smpp.ErrFraming):
		c.server.refusedConnection(c, RefusedFraming)
	case errors.As(err, &refused): // a bind that could not be read
		if c.server.Metrics.BindRefused != nil {
			c.server.Metrics.BindRefused(message.ReasonInvalidRequest)
		}
	}
}

// endOf says why a session has ended, without the addresses that an error of
// the network has in it.
func endOf(err error) string {
	for _, known := range []struct {
		err  error
		word string
	}{
		{smpp.ErrUnbound, "unbound"},
		{smpp.ErrEnquireTimeout, "no answer to enquire_link"},
		{smpp.ErrFraming, "framing lost"},
		{smpp.ErrInactive, "inactive"},
		{smpp.ErrPanic, "internal error"},
		{smpp.ErrClosed, "closed"},
	} {
		if errors.Is(err, known.err) {
			return known.word
		}
	}
	return "connection lost"
}

// unbind ends the session in order. It does not wait: a session that does not
// go is cut off after drainTime.
func (c *connection) unbind(cause string) {
	c.server.registry.leave(c, cause, &c.server.work, func() {
		ctx, cancel := context.WithTimeout(c.server.life, drainTime)
		defer cancel()
		c.detach()
		_ = c.own.session.Unbind(ctx)
	})
}

// shut ends the connection for Shutdown, within ctx.
func (c *connection) shut(ctx context.Context) {
	c.server.registry.causeOf(c, "shutting down")
	session := c.server.registry.sessionOf(c)
	switch {
	case session == nil:
		_ = c.raw.Close()
	case session.Mode() == smpp.ModeNone:
		session.Close()
	default:
		c.detach()
		_ = session.Unbind(ctx)
	}
}
