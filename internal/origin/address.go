package origin

import (
	"net"
	"net/netip"
)

// Address is the address of a peer without its port; the zero Addr when it is
// no IP address. IPv4 within IPv6 is IPv4, and a zone is left out.
func Address(a net.Addr) netip.Addr {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap().WithZone("")
	}
	return netip.Addr{}
}

// In reports whether the address lies in one of the networks.
func In(a netip.Addr, networks []netip.Prefix) bool {
	for _, n := range networks {
		if n.Contains(a) {
			return true
		}
	}
	return false
}

// Host is what an address counts as: itself, or its /64 in IPv6, where one
// host has a whole network to choose from.
func Host(a netip.Addr) netip.Addr {
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return a
}
