package smpp

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/smpp"
	"github.com/postrider/postrider/internal/snapshot"
)

const (
	// maxCallers bounds the connections that have not said yet whose they are.
	maxCallers = 32
	// outbindTimeout bounds the TLS handshake and the outbind after the connect.
	outbindTimeout = 10 * time.Second
	// acceptPause follows an accept that failed, as without a free file descriptor.
	acceptPause = 100 * time.Millisecond
)

// Adopter takes over a connection that its vendor has opened. *Link is one. It owns the
// connection from the call on, and returns when it serves it or has closed it.
type Adopter interface {
	// Adopt binds to the vendor as a receiver, as after an outbind.
	Adopt(conn net.Conn) error
}

// Door takes the connections of vendors that call us: a vendor sends an outbind (SMPP
// 3.4 §2.2.1), and we bind over its connection as a receiver. Its link here serves the
// connection as one more bind. A vendor that binds itself, as an ESME does, comes to the
// listener of the customers. Serve begins, Shutdown ends. Safe for concurrent use.
type Door struct {
	// Vendors are the vendors as they are now. One may come that has an
	// OutbindSystemID, and an OutbindPassword or addresses to come from.
	Vendors func() []*snapshot.Vendor
	// Link is the link of a vendor in this process; nil: there is none.
	Link func(vendor message.ID) Adopter
	TLS  *tls.Config  // nil: none
	Log  *slog.Logger // nil: nothing is logged

	mu       sync.Mutex
	listener net.Listener
	callers  map[net.Conn]struct{} // not adopted yet
	closed   bool
	running  sync.WaitGroup
}

// Serve takes connections until Shutdown, and returns nil then. It owns the listener.
func (d *Door) Serve(l net.Listener) error {
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return l.Close()
	}
	d.listener = l
	if d.callers == nil {
		d.callers = make(map[net.Conn]struct{})
	}
	d.mu.Unlock()
	for {
		conn, err := l.Accept()
		switch {
		case err == nil:
			d.take(conn)
		case errors.Is(err, net.ErrClosed):
			return nil
		default:
			d.log().Warn("listener for vendors", "error", err)
			<-time.After(acceptPause)
		}
	}
}

// Shutdown closes the listener and the connections that no link has taken over yet,
// and waits for their end or ctx. Those that links have are the links'.
func (d *Door) Shutdown(ctx context.Context) error {
	d.mu.Lock()
	d.closed = true
	if d.listener != nil {
		_ = d.listener.Close()
	}
	for conn := range d.callers {
		_ = conn.Close()
	}
	d.mu.Unlock()
	done := make(chan struct{})
	go func() {
		d.running.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (d *Door) log() *slog.Logger {
	if d.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return d.Log
}

func (d *Door) take(conn net.Conn) {
	// A place is for a vendor: who calls from anywhere else takes none.
	known := slices.ContainsFunc(d.Vendors(), func(v *snapshot.Vendor) bool { return mayCall(v, conn.RemoteAddr()) })
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed || !known || len(d.callers) >= maxCallers {
		_ = conn.Close()
		return
	}
	d.callers[conn] = struct{}{}
	d.running.Go(func() {
		if err := d.answer(conn); err != nil {
			d.log().Info("vendor turned away", "address", conn.RemoteAddr().String(), "error", err)
		}
	})
}

// answer finds out whose the connection is and hands it over.
func (d *Door) answer(raw net.Conn) error {
	conn, vendor, err := d.meet(raw)
	var link Adopter
	if err == nil {
		if link = d.Link(vendor.ID); link == nil {
			err = fmt.Errorf("vendor %s has no link here", vendor.Name)
		}
	}
	d.mu.Lock()
	delete(d.callers, raw)
	if err == nil && d.closed {
		err = net.ErrClosed
	}
	d.mu.Unlock()
	if err != nil {
		_ = raw.Close()
		return err
	}
	if err := link.Adopt(conn); err != nil {
		return fmt.Errorf("vendor %s: %w", vendor.Name, err)
	}
	return nil
}

// meet reads the first PDU, which must be an outbind, and says whose it is.
func (d *Door) meet(raw net.Conn) (net.Conn, *snapshot.Vendor, error) {
	_ = raw.SetDeadline(time.Now().Add(outbindTimeout))
	defer func() { _ = raw.SetDeadline(time.Time{}) }()
	conn := raw
	if d.TLS != nil {
		conn = tls.Server(raw, d.TLS)
	}
	p, err := smpp.ReadFirst(conn)
	if err != nil {
		return nil, nil, err
	}
	o, ok := p.Body.(*smpp.Outbind)
	if !ok {
		return nil, nil, errNoOutbind
	}
	v := callerOf(d.Vendors(), o.SystemID, o.Password, raw.RemoteAddr())
	if v == nil {
		return nil, nil, errStranger
	}
	return conn, v, nil
}

var errNoOutbind = errors.New("what came is no outbind")

// errStranger says neither who was named nor what was wrong with it.
var errStranger = errors.New("no vendor may call by this name and password from this address")

// callerOf finds the vendor that calls by a name and a password; nil: nobody's. How long it takes
// does not tell how much of it was right.
func callerOf(all []*snapshot.Vendor, systemID, password string, from net.Addr) *snapshot.Vendor {
	var found *snapshot.Vendor
	for _, v := range all {
		right := sameSecret(systemID, v.OutbindSystemID) & sameSecret(password, v.OutbindPassword)
		if mayCall(v, from) && right == 1 && found == nil {
			found = v
		}
	}
	return found
}

// mayCall reports whether the vendor may call from the address.
func mayCall(v *snapshot.Vendor, from net.Addr) bool {
	if !v.Active || v.OutbindSystemID == "" || v.OutbindPassword == "" && len(v.OutbindAllowed) == 0 {
		return false
	}
	at, err := netip.ParseAddrPort(from.String())
	return err == nil && allowed(v.OutbindAllowed, at.Addr().Unmap())
}

// sameSecret is 1 for equal strings, in a time that does not depend on them.
func sameSecret(a, b string) int {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:])
}

func allowed(list []netip.Prefix, from netip.Addr) bool {
	for _, p := range list {
		if p.Contains(from) {
			return true
		}
	}
	return len(list) == 0
}

// maxAdopted bounds the connections of the vendor's own that a link serves beside its
// binds.
const maxAdopted = 8

// Adopt binds as a receiver over a connection that the vendor has opened, with the
// vendor's credentials for us, and serves it as one more bind until it ends. It owns the
// connection from now on. It does not count against the share: the vendor has made it.
func (l *Link) Adopt(conn net.Conn) error {
	if err := l.call(); err != nil {
		_ = conn.Close()
		return err
	}
	defer l.loops.Done()
	session, err := smpp.BindOn(l.dialing, conn, l.dialConfig(smpp.ModeReceiver))
	return l.serveCall(session, err)
}

// serveCall serves what call has taken a place for, or gives the place back.
func (l *Link) serveCall(session *smpp.Session, err error) error {
	if err != nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.calls--
		l.wakeLocked()
		return err
	}
	b := l.newBind(nil, smpp.ModeReceiver)
	b.session = session
	l.bound(b)
	l.loops.Go(func() { l.serve(b) })
	return nil
}

// call takes the place of a connection of the vendor's, and holds Stop up until
// loops.Done.
func (l *Link) call() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.started || l.stopping {
		return errStopped
	}
	n := l.calls
	for b := range l.binds {
		if b.slot == nil {
			n++
		}
	}
	if n >= maxAdopted {
		return errors.New("too many connections of the vendor's own")
	}
	l.calls++
	l.loops.Add(1)
	return nil
}
