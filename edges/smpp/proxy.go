package smpp

import (
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/pires/go-proxyproto"
)

// errProxyHeader does not say what is wrong with the header: whatever it is,
// the proxy's configuration or ours is.
var errProxyHeader = errors.New("no PROXY protocol header that names the peer")

// readProxyHeader reads the header that a proxy sends first, of version 1 or 2,
// until the deadline. It gives the connection behind the header and the address
// of the peer: the proxy's own when the header says that the connection is the
// proxy's (LOCAL, or UNKNOWN in version 1), as for its health checks.
//
// Only connections from a proxy come here. A header of anybody else is read as
// SMPP or TLS, where its first octets are a length or a record that cannot be.
//
// The library by default would require a header from anybody, take the address
// of UDP and Unix peers as well, and read the header within the first Read,
// Write or RemoteAddr, in accept for the latter. It takes a header of version 1
// only when it comes in one read, as senders have to send it.
func readProxyHeader(conn net.Conn, deadline time.Time) (net.Conn, netip.Addr, error) {
	left := time.Until(deadline)
	if left <= 0 {
		return nil, netip.Addr{}, errProxyHeader // 0 is no limit to the library
	}
	p := proxyproto.NewConn(conn, proxyproto.WithPolicy(proxyproto.REQUIRE), proxyproto.SetReadHeaderTimeout(left))
	h := p.ProxyHeader()
	if h == nil {
		return nil, netip.Addr{}, errProxyHeader
	}
	if h.Command.IsLocal() {
		return &proxiedConn{p}, addressOf(conn.RemoteAddr()), nil
	}
	peer := addressOf(h.SourceAddr)
	if !peer.IsValid() {
		return nil, netip.Addr{}, errProxyHeader
	}
	return &proxiedConn{p}, peer, nil
}

// proxiedConn is a connection behind its PROXY header. It can be half-closed,
// as a session does after its last PDU.
type proxiedConn struct{ *proxyproto.Conn }

// CloseWrite ends our direction of the stream.
func (c *proxiedConn) CloseWrite() error {
	half, ok := c.Raw().(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	return half.CloseWrite()
}
