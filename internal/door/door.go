// Package door takes connections in: it has the loop that accepts them and outlives a
// failure, the places that there are for them, in all and for one address, and the terms
// of TLS. It holds a connection back before anything is read from it, so before anybody
// has said who he is.
//
// The rule not to break: an address counts when it is the peer's own. That of a proxy
// stands for everybody behind it and never counts.
package door

import (
	"net/netip"
	"sync"
	"time"

	"github.com/postrider/postrider/internal/limit"
	"github.com/postrider/postrider/internal/origin"
)

const (
	// ConnectWindow is what Limits.ConnectRate counts over.
	ConnectWindow = 10 * time.Second
	// maxHosts bounds the addresses that it is counted for; the one that came
	// longest ago goes first.
	maxHosts = 20_000
)

// Limits are how many connections may come in. All are at least 1: of 0 or less, none
// may.
type Limits struct {
	Connections int // at a time
	PerAddress  int // the same for one peer address, a /64 in IPv6
	ConnectRate int // that one peer address may open in ConnectWindow
}

// The causes for which there is no place.
const (
	RefusedTotal   = "too_many"         // Limits.Connections
	RefusedAddress = "address_too_many" // Limits.PerAddress
	RefusedRate    = "address_too_fast" // Limits.ConnectRate
)

// Door counts connections. It is safe for concurrent use.
type Door struct {
	limits Limits

	mu     sync.Mutex
	open   int
	from   map[netip.Addr]int
	recent *limit.Limiter
}

// New makes a door that nobody has come through.
func New(l Limits) *Door {
	return &Door{limits: l, from: make(map[netip.Addr]int), recent: limit.New(maxHosts)}
}

// Place is what one connection takes. Its methods are for one goroutine at a time.
type Place struct {
	door    *Door
	address netip.Addr
	counted bool // with its address
}

// Enter takes a place for a connection from an address at the time now, or tells why
// there is none; the cause is empty if there is. One that is proxied takes a place of its
// address by Place.From, once the header tells who it is.
func (d *Door) Enter(a netip.Addr, proxied bool, now time.Time) (p *Place, cause string) {
	if !d.enter() {
		return nil, RefusedTotal
	}
	p = &Place{door: d}
	if proxied {
		return p, ""
	}
	if cause := p.From(a, now); cause != "" {
		p.Leave()
		return nil, cause
	}
	return p, ""
}

// From takes one of the address's places as well, once for each Place, or tells why there
// is none; the cause is empty if there is. The place among all stays taken either way.
func (p *Place) From(a netip.Addr, now time.Time) (cause string) {
	host := origin.Host(a)
	if cause := p.door.enterFrom(host, now); cause != "" {
		return cause
	}
	p.address, p.counted = host, true
	return ""
}

// Leave gives back what was taken. It is called once.
func (p *Place) Leave() {
	d := p.door
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open--
	if !p.counted {
		return
	}
	if d.from[p.address]--; d.from[p.address] <= 0 {
		delete(d.from, p.address)
	}
}

func (d *Door) enter() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open >= d.limits.Connections {
		return false
	}
	d.open++
	return true
}

func (d *Door) enterFrom(host netip.Addr, now time.Time) (cause string) {
	if !d.recent.Take(host.String(), d.limits.ConnectRate, ConnectWindow, now).OK {
		return RefusedRate
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.from[host] >= d.limits.PerAddress {
		return RefusedAddress
	}
	d.from[host]++
	return ""
}
