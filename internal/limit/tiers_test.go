package limit

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// Wrong passwords hold an address up where they came from, and in the end everywhere.
func TestWrongPasswords(t *testing.T) {
	l, now := New(0), time.Now()
	here, there := netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("2001:db8::7")
	const who = "ada@gw.example"
	for n := range WrongPerMinute {
		if r, held := WrongPasswords(who, here).Held(l, now); held {
			t.Fatalf("held after %d: %+v", n, r)
		}
		WrongPasswords(who, here).Count(l, now)
	}
	if r, held := WrongPasswords(who, here).Held(l, now); !held || r.Reset != time.Minute || r.Limit != WrongPerMinute {
		t.Errorf("%+v %v", r, held)
	}
	for _, free := range []Tiers{WrongPasswords(who, there), WrongPasswords("bob@gw.example", here)} {
		if r, held := free.Held(l, now); held {
			t.Errorf("another is held: %+v", r)
		}
	}
	// The longest of several counts.
	for range WrongPerHour {
		WrongPasswords("eve@gw.example", here).Count(l, now)
	}
	if r, held := WrongPasswords("eve@gw.example", here).Held(l, now); !held || r.Reset != time.Hour {
		t.Errorf("%+v %v", r, held)
	}
	for n := WrongPerMinute; n < WrongFromAnyHour; n++ {
		WrongPasswords(who, netip.AddrFrom4([4]byte{203, 0, 113, byte(n)})).Count(l, now)
	}
	if r, held := WrongPasswords(who, there).Held(l, now); !held || r.Reset != time.Hour {
		t.Errorf("guesses from everywhere: %+v %v", r, held)
	}
	for _, tier := range WrongPasswords(who, here) {
		if strings.Contains(tier.Key, "ada") {
			t.Errorf("the key %q can be read", tier.Key)
		}
	}
}

// Neighbours in a network of IPv6 are one place.
func TestNetwork(t *testing.T) {
	for address, want := range map[string]string{"192.0.2.7": "192.0.2.7", "2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64", "::1": "::/64"} {
		if got := Network(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s counts as %s, want %s", address, got, want)
		}
	}
}

func TestTurns(t *testing.T) {
	turns := NewTurns()
	for range cap(turns) {
		if err := turns.Take(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	waiting := make(chan error, 1)
	go func() { waiting <- turns.Take(t.Context()) }()
	turns.Give()
	if err := <-waiting; err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := turns.Take(ctx); message.ReasonOf(err) != message.ReasonUnavailable {
		t.Errorf("%v", err)
	}
}
