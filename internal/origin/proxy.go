package origin

import (
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/pires/go-proxyproto"
)

// ErrProxyHeader is every error of ReadProxyHeader. It does not say what is wrong with the header: whatever it is,
// the proxy's configuration or ours is.
var ErrProxyHeader = errors.New("no PROXY protocol header that names the peer")

// ReadProxyHeader reads the header that a proxy sends first, of version 1 or 2,
// until the deadline. It gives the connection behind the header and the address
// of the peer: the proxy's own when the header says that the connection is the
// proxy's (LOCAL, or UNKNOWN in version 1), as for its health checks.
//
// Call it for connections from a proxy only. A header of anybody else is then read as
// the protocol itself, where its first octets cannot be anything.
//
// The library by default would require a header from anybody, take the address
// of UDP and Unix peers as well, and read the header within the first Read,
// Write or RemoteAddr, in accept for the latter. It takes a header of version 1
// only when it comes in one read, as senders have to send it.
func ReadProxyHeader(conn net.Conn, deadline time.Time) (net.Conn, netip.Addr, error) {
	left := time.Until(deadline)
	if left <= 0 {
		return nil, netip.Addr{}, ErrProxyHeader // 0 is no limit to the library
	}
	p := proxyproto.NewConn(conn, proxyproto.WithPolicy(proxyproto.REQUIRE), proxyproto.SetReadHeaderTimeout(left))
	h := p.ProxyHeader()
	if h == nil {
		return nil, netip.Addr{}, ErrProxyHeader
	}
	if h.Command.IsLocal() {
		return &proxiedConn{p}, Address(conn.RemoteAddr()), nil
	}
	peer := Address(h.SourceAddr)
	if !peer.IsValid() {
		return nil, netip.Addr{}, ErrProxyHeader
	}
	return &proxiedConn{p}, peer, nil
}

// proxiedConn is a connection behind its PROXY header. It can be half-closed,
// as a session does after its last word.
type proxiedConn struct{ *proxyproto.Conn }

// CloseWrite ends our direction of the stream.
func (c *proxiedConn) CloseWrite() error {
	half, ok := c.Raw().(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	return half.CloseWrite()
}
