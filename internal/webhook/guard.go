package webhook

import (
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/postrider/postrider/internal/message"
)

// Policy says which URLs may be called. The zero Policy is the one for
// production: https to ports 443 and 8443 of public addresses. An installation
// widens it for its own network and for tests. Use it by value; safe for
// concurrent use.
type Policy struct {
	AllowHTTP     bool           // http as well, on port 80
	AllowLoopback bool           // 127.0.0.0/8 and ::1, on any port
	AllowPrefixes []netip.Prefix // addresses allowed although they are not public, such as the office network
	ExtraPorts    []int          // beside 443 and 8443
}

// maxURL bounds a stored URL; longer ones break proxies.
const maxURL = 2048

// denied are the special ranges within what looks like public address space:
// IANA's registries of special-purpose addresses (RFC 6890 and its updates),
// and the metadata address of a cloud that put it among public ones. IPv6 is
// allowed within 2000::/3 only, so that its other special ranges (mapped,
// NAT64, unique local, link-local, multicast, discard …) need no line.
var denied = prefixes(
	"0.0.0.0/8",        // this network
	"10.0.0.0/8",       // private
	"100.64.0.0/10",    // carrier-grade NAT; a cloud's metadata at 100.100.100.200
	"127.0.0.0/8",      // loopback
	"168.63.129.16/32", // a cloud's host agent
	"169.254.0.0/16",   // link-local; metadata of most clouds at 169.254.169.254
	"172.16.0.0/12",    // private
	"192.0.0.0/24",     // protocol assignments
	"192.0.2.0/24",     // documentation
	"192.88.99.0/24",   // 6to4 relays
	"192.168.0.0/16",   // private
	"198.18.0.0/15",    // benchmarking
	"198.51.100.0/24",  // documentation
	"203.0.113.0/24",   // documentation
	"224.0.0.0/4",      // multicast
	"240.0.0.0/4",      // reserved, broadcast
	"2001::/23",        // protocol assignments: Teredo, ORCHID
	"2001:db8::/32",    // documentation
	"2002::/16",        // 6to4: carries any IPv4 address
	"3fff::/20",        // documentation
)

var global6 = netip.MustParsePrefix("2000::/3")

func prefixes(list ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(list))
	for i, s := range list {
		out[i] = netip.MustParsePrefix(s)
	}
	return out
}

func unsafe(why string) error { return message.Refuse(message.ReasonUnsafeURL, "%s", why) }

// allowsAddr judges one address.
func (p Policy) allowsAddr(a netip.Addr) bool {
	if !a.IsValid() || a.Zone() != "" || a.Is4In6() {
		return false
	}
	if p.AllowLoopback && a.IsLoopback() {
		return true
	}
	in := func(n netip.Prefix) bool { return n.Contains(a) }
	if slices.ContainsFunc(p.AllowPrefixes, in) {
		return true
	}
	if a.Is6() && !global6.Contains(a) {
		return false
	}
	return !slices.ContainsFunc(denied, in)
}

func (p Policy) allowsPort(port int) bool {
	return port == 443 || port == 8443 || p.AllowHTTP && port == 80 || slices.Contains(p.ExtraPorts, port)
}

// Control refuses to dial what the policy does not allow. It is a net.Dialer's
// Control: it sees every address that a name was resolved to, at the moment it
// is used, so that a name which changes its mind gains nothing. The error is a
// *message.Error with ReasonUnsafeURL and does not show the address, which the
// customer may have no business to know.
func (p Policy) Control(network, address string, _ syscall.RawConn) error {
	if network != "tcp4" && network != "tcp6" {
		return unsafe("only TCP is dialled")
	}
	ap, err := netip.ParseAddrPort(address)
	if err != nil || !p.allowsAddr(ap.Addr()) {
		return unsafe("the host's address is not public")
	}
	if p.AllowLoopback && ap.Addr().IsLoopback() {
		return nil
	}
	if !p.allowsPort(int(ap.Port())) {
		return unsafe("the port is not allowed")
	}
	return nil
}

// ValidateURL judges a URL when a customer gives it, without looking its name
// up: scheme, form, port, and the address if it is one. What it lets pass is
// judged again when dialled. The error is a *message.Error with
// ReasonUnsafeURL and shows nothing of the URL.
func ValidateURL(raw string, p Policy) error {
	if len(raw) > maxURL {
		return unsafe("the URL is longer than " + strconv.Itoa(maxURL) + " characters")
	}
	u, err := url.Parse(raw)
	if err != nil || u.Opaque != "" || u.Hostname() == "" {
		return unsafe("the URL cannot be read; give it as https://host/path")
	}
	port := 443
	switch {
	case u.Scheme == "https":
	case u.Scheme == "http" && p.AllowHTTP:
		port = 80
	default:
		return unsafe("the URL must begin with https://")
	}
	if s := u.Port(); s != "" {
		if port, err = strconv.Atoi(s); err != nil || port < 1 || port > 65535 {
			return unsafe("the URL's port is not a number from 1 to 65535")
		}
	} else if strings.HasSuffix(u.Host, ":") {
		return unsafe("the URL has a colon and no port")
	}
	return p.allowsHost(u.Hostname(), port)
}

func (p Policy) allowsHost(host string, port int) error {
	if addr, err := netip.ParseAddr(host); err == nil {
		if !p.allowsAddr(addr) {
			return unsafe("the URL's address is not public")
		}
		if p.AllowLoopback && addr.IsLoopback() {
			return nil
		}
	} else {
		name := strings.ToLower(strings.TrimSuffix(host, "."))
		if p.AllowLoopback && (name == "localhost" || strings.HasSuffix(name, ".localhost")) {
			return nil
		}
		if !p.allowsName(name) {
			return unsafe("the URL's host is not a public name")
		}
	}
	if !p.allowsPort(port) {
		return unsafe("the URL's port is not allowed; use 443 or 8443")
	}
	return nil
}

// allowsName refuses names that only mean something inside a network, and the
// odd spellings of IPv4 addresses (127.1, 0x7f000001, 2130706433) that some
// resolvers read. Where private addresses are allowed, so are private names.
func (p Policy) allowsName(name string) bool {
	if len(name) > 253 || net.ParseIP(name) != nil || strings.ContainsAny(name, " %\\\"<>[]") {
		return false
	}
	labels := strings.Split(name, ".")
	if slices.Contains(labels, "") {
		return false
	}
	last := labels[len(labels)-1]
	if strings.HasPrefix(last, "0x") || strings.Trim(last, "0123456789") == "" {
		return false
	}
	if len(p.AllowPrefixes) > 0 {
		return true
	}
	switch last {
	case "localhost", "local", "internal", "localdomain", "lan", "intranet", "arpa", "invalid", "onion":
		return false
	}
	return len(labels) > 1
}
