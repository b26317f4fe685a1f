package door

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

var (
	first  = netip.MustParseAddr("192.0.2.1")
	second = netip.MustParseAddr("192.0.2.2")
	now    = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
)

// enter takes a place and wants it, or its refusal.
func enter(t *testing.T, d *Door, a netip.Addr, proxied bool, want string) *Place {
	t.Helper()
	p, cause := d.Enter(a, proxied, now)
	if cause != want || (p == nil) != (want != "") {
		t.Fatalf("%s got %v, refused %q; want %q", a, p, cause, want)
	}
	return p
}

func TestPlacesInAll(t *testing.T) {
	d := New(Limits{Connections: 2, PerAddress: 10, ConnectRate: 10})
	p := enter(t, d, first, false, "")
	enter(t, d, second, true, "")
	enter(t, d, first, false, RefusedTotal)
	enter(t, d, first, true, RefusedTotal)
	p.Leave()
	enter(t, d, first, false, "")
}

func TestPlacesOfAnAddress(t *testing.T) {
	for name, a := range map[string][2]string{"an address": {"192.0.2.1", "192.0.2.1"}, "a network": {"2001:db8::1", "2001:db8::ffff:1"}} {
		t.Run(name, func(t *testing.T) {
			d := New(Limits{Connections: 3, PerAddress: 1, ConnectRate: 10})
			p := enter(t, d, netip.MustParseAddr(a[0]), false, "")
			for range 3 { // a refusal keeps nothing
				enter(t, d, netip.MustParseAddr(a[1]), false, RefusedAddress)
			}
			enter(t, d, second, false, "")
			p.Leave()
			enter(t, d, netip.MustParseAddr(a[1]), false, "")
		})
	}
}

func TestConnectRate(t *testing.T) {
	d := New(Limits{Connections: 10, PerAddress: 10, ConnectRate: 2})
	for range 2 {
		enter(t, d, first, false, "").Leave()
	}
	enter(t, d, first, false, RefusedRate)
	enter(t, d, second, false, "")
	if _, cause := d.Enter(first, false, now.Add(ConnectWindow)); cause != "" {
		t.Errorf("refused %q after the window", cause)
	}
}

// Behind a proxy it is the peer's address that counts, once it is known.
func TestBehindAProxy(t *testing.T) {
	for name, a := range map[string]netip.Addr{"an address": first, "none": {}} {
		t.Run(name, func(t *testing.T) { testBehindAProxy(t, a) })
	}
}

func testBehindAProxy(t *testing.T, peer netip.Addr) {
	d := New(Limits{Connections: 4, PerAddress: 1, ConnectRate: 10})
	proxy := netip.MustParseAddr("10.0.0.1")
	var behind []*Place
	for range 4 {
		behind = append(behind, enter(t, d, proxy, true, ""))
	}
	for i, want := range []string{"", RefusedAddress} {
		if cause := behind[i].From(peer, now); cause != want {
			t.Errorf("connection %d refused %q, want %q", i, cause, want)
		}
	}
	behind[1].Leave() // never counted with the address
	if cause := behind[2].From(peer, now); cause != RefusedAddress {
		t.Errorf("refused %q", cause)
	}
	behind[0].Leave()
	if cause := behind[3].From(peer, now); cause != "" {
		t.Errorf("refused %q", cause)
	}
	for _, p := range behind[2:] {
		p.Leave()
	}
	if d.open != 0 || len(d.from) != 0 {
		t.Error(fmt.Sprint("left over: ", d.open, d.from))
	}
}
