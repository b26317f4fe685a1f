package origin

import (
	"net"
	"net/netip"
	"testing"
)

func TestAddress(t *testing.T) {
	for _, tt := range []struct {
		addr net.Addr
		want string
	}{
		{&net.TCPAddr{IP: net.ParseIP("198.51.100.7"), Port: 9}, "198.51.100.7"},
		{&net.TCPAddr{IP: net.ParseIP("::ffff:198.51.100.7")}, "198.51.100.7"},
		{&net.TCPAddr{IP: net.ParseIP("fe80::1"), Zone: "eth0"}, "fe80::1"},
		{&net.UnixAddr{Name: "/socket"}, "invalid IP"},
		{nil, "invalid IP"},
	} {
		if got := Address(tt.addr).String(); got != tt.want {
			t.Errorf("address of %v is %s, want %s", tt.addr, got, tt.want)
		}
	}
}

func TestIn(t *testing.T) {
	networks := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")}
	for a, want := range map[string]bool{"10.9.8.7": true, "11.0.0.1": false, "2001:db8::1": true, "2001:db9::1": false} {
		if got := In(netip.MustParseAddr(a), networks); got != want {
			t.Errorf("%s in: %v", a, got)
		}
	}
	if In(netip.Addr{}, networks) || In(netip.MustParseAddr("10.0.0.1"), nil) {
		t.Error("no address, or no network, is in")
	}
}

func TestHost(t *testing.T) {
	for a, want := range map[string]string{"198.51.100.7": "198.51.100.7", "2001:db8:1:2:3:4:5:6": "2001:db8:1:2::"} {
		if got := Host(netip.MustParseAddr(a)).String(); got != want {
			t.Errorf("host of %s is %s, want %s", a, got, want)
		}
	}
}
