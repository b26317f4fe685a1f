package workers

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/postrider/postrider/edges/vendors"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// hook makes a kind one of requests.
func hook(*snapshot.Vendor) (vendors.Hook, error) { return nil, nil }

// A process works on as many parts as fill the windows, and on no more than leave
// within half a second at the vendor's rate beside those that wait for their answers.
func TestAhead(t *testing.T) {
	f := &Fleet{Kinds: map[string]vendors.Kind{"twilio": {Hook: hook}}}
	for name, c := range map[string]struct {
		vendor snapshot.Vendor
		grant  grant
		milli  int
		want   int
	}{
		"unlimited":         {snapshot.Vendor{Window: 10}, grant{3, 1}, 0, 60},
		"window not said":   {snapshot.Vendor{}, grant{1, 1}, 0, 2},
		"slow vendor":       {snapshot.Vendor{Window: 100, Throughput: 10}, grant{1, 1}, 0, 7},
		"with slow answers": {snapshot.Vendor{Window: 100, Throughput: 10}, grant{1, 1}, 2000, 47},
		"a share of it":     {snapshot.Vendor{Window: 100, Throughput: 100}, grant{1, 0.5}, 0, 27},
		"fast vendor":       {snapshot.Vendor{Window: 10, Throughput: 10000}, grant{2, 1}, 100, 40},
		"by requests":       {snapshot.Vendor{ProviderType: "twilio", Window: 10}, grant{12, 1}, 0, 20},
	} {
		if got := f.ahead(&c.vendor, c.grant, vendors.LinkStatus{SlowestMilli: c.milli}); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

func TestSlots(t *testing.T) {
	f := &Fleet{Kinds: map[string]vendors.Kind{"smpp": {}, "twilio": {Hook: hook}}}
	for want, v := range map[int]snapshot.Vendor{
		1: {ProviderType: "smpp"}, 4: {ProviderType: "smpp", MaxBinds: 4},
		12: {ProviderType: "twilio", MaxBinds: 1}, 50: {ProviderType: "twilio", MaxBinds: 50},
	} {
		if got := f.slots(&v); got != want {
			t.Errorf("%+v: %d slots, want %d", v, got, want)
		}
	}
}

// lease is one of the vendor's.
func lease(instance string, slot, of int) message.VendorLease {
	return message.VendorLease{Instance: instance, Slot: slot, Of: of}
}

func TestDivision(t *testing.T) {
	a := func(slots ...int) (out []message.VendorLease) {
		for _, s := range slots {
			out = append(out, lease("a", s, 6))
		}
		return out
	}
	for name, c := range map[string]struct {
		division
		keep, leave, take []int
	}{
		"alone":                  {division{slots: 3}, nil, nil, []int{0, 1, 2}},
		"has all":                {division{slots: 3, mine: a(0, 1, 2)}, []int{0, 1, 2}, nil, nil},
		"another comes":          {division{slots: 4, mine: a(0, 1, 2, 3), servers: []string{"b"}}, []int{0, 1}, []int{2, 3}, nil},
		"the odd one stays":      {division{slots: 3, mine: a(0, 1, 2), servers: []string{"b"}}, []int{0, 1}, []int{2}, nil},
		"the other has more":     {division{slots: 3, mine: a(0), others: []message.VendorLease{lease("b", 1, 6), lease("b", 2, 6)}, servers: []string{"b"}}, []int{0}, nil, nil},
		"one slot for two":       {division{slots: 1, others: []message.VendorLease{lease("b", 0, 1)}, servers: []string{"b"}}, nil, nil, nil},
		"the other has died":     {division{slots: 2, mine: a(0), others: []message.VendorLease{lease("b", 1, 6)}}, []int{0}, nil, nil},
		"fewer slots":            {division{slots: 2, mine: a(1, 2, 3)}, []int{1}, []int{2, 3}, []int{0}},
		"none":                   {division{mine: a(0, 1)}, nil, []int{0, 1}, nil},
		"two have what is three": {division{slots: 4, mine: a(0, 1), others: []message.VendorLease{lease("b", 2, 6), lease("b", 3, 6)}, servers: []string{"b", "c"}}, nil, nil, nil},
	} {
		d := c.division
		d.me = "a"
		keep, leave, take := d.plan()
		if name == "two have what is three" { // one of the two that have more keeps it
			if len(keep) < 1 || len(keep)+len(leave) != 2 {
				t.Errorf("%s: keep %v, leave %v", name, keep, leave)
			}
			continue
		}
		if !slices.Equal(keep, c.keep) || !slices.Equal(leave, c.leave) || !slices.Equal(take, c.take) {
			t.Errorf("%s: keep %v, leave %v, take %v", name, keep, leave, take)
		}
	}
}

// Those who see the same come to the same: their targets are all slots, and nobody's
// differs by more than one.
func TestTargetsAddUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := []string{"a", "b", "c", "d", "e"}[:rapid.IntRange(1, 5).Draw(t, "servers")]
		slots := rapid.IntRange(0, 12).Draw(t, "slots")
		var held []message.VendorLease
		for slot := range slots {
			if who := rapid.IntRange(0, len(names)).Draw(t, "holder"); who < len(names) {
				held = append(held, lease(names[who], slot, slots))
			}
		}
		sum := 0
		for _, me := range names {
			d := division{me: me, slots: slots, servers: names}
			for _, l := range held {
				if l.Instance == me {
					d.mine = append(d.mine, l)
				} else {
					d.others = append(d.others, l)
				}
			}
			n := d.target()
			if n < slots/len(names) || n > slots/len(names)+1 {
				t.Fatalf("%s is to have %d of %d among %d", me, n, slots, len(names))
			}
			sum += n
		}
		if sum != slots {
			t.Fatalf("the targets are %d of %d slots", sum, slots)
		}
	})
}

// Nobody claims more of the rate while others claim it still, and nobody uses what
// others claim.
func TestClaims(t *testing.T) {
	others := []message.VendorLease{lease("b", 2, 4), lease("b", 3, 4)}
	d := division{me: "a", slots: 2, mine: []message.VendorLease{lease("a", 0, 4), lease("a", 1, 4)}, others: others}
	if of := d.of(2); of != 4 {
		t.Errorf("it claims halves while others have two quarters: %d", of)
	}
	if of := d.of(1); of != 2 {
		t.Errorf("a half is free, and it claims the %dth part", of)
	}
	d.others = nil
	if of := d.of(2); of != 2 {
		t.Errorf("all is free, and it claims %dth parts", of)
	}
	more := division{me: "c", slots: 4, others: []message.VendorLease{lease("a", 0, 2), lease("b", 1, 2)}}
	if take := more.fitting([]int{2, 3}, 0, 4); len(take) != 0 {
		t.Errorf("it takes %v though the others claim all", take)
	}
	more.others = []message.VendorLease{lease("a", 0, 4), lease("b", 1, 2)}
	if take := more.fitting([]int{2, 3}, 0, 4); len(take) != 1 {
		t.Errorf("it takes %v, a quarter is free", take)
	}
	more.mine = []message.VendorLease{lease("c", 2, 4), lease("c", 3, 4)}
	if f := more.fraction(2); f != 0.25 {
		t.Errorf("it uses %v of the rate, a quarter is free", f)
	}
	more.others = []message.VendorLease{lease("a", 0, 1)}
	if f := more.fraction(2); f != 0 {
		t.Errorf("it uses %v of the rate, nothing is free", f)
	}
}
