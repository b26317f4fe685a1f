package webhook

import (
	"testing"
	"time"
)

// slowed is a set of hosts of which one has answered too late so often.
func slowed(t *testing.T, key string, now time.Time, times int) *hosts {
	t.Helper()
	s := &hosts{limit: 16, byKey: map[string]*host{}}
	for range times {
		h, _, err := s.enter(t.Context(), key, now, 0, true)
		if h == nil || err != nil {
			t.Fatalf("turned away: %v", err)
		}
		s.leave(h, now, 2500*time.Millisecond, 0)
	}
	return s
}

// A host that answers too late holds one workflow's task at a time and nobody waits for
// its turns; another is served as before.
func TestSlowHostHoldsLittle(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	s := slowed(t, "dead", now, 13)
	first, _, _ := s.enter(t.Context(), "dead", now, time.Hour, true)
	if first == nil {
		t.Fatal("a slow host is never tried")
	}
	for range 100 {
		if h, again, err := s.enter(t.Context(), "dead", now, time.Hour, true); h != nil || again < time.Second || again > maxLine || err != nil {
			t.Fatalf("a second quick try: %v, %v, %v", h, again, err)
		}
	}
	var held []*turn
	for range 16 {
		h, _, _ := s.enter(t.Context(), "well", now, 0, true)
		if h == nil {
			t.Fatal("the other host is turned away")
		}
		held = append(held, h)
	}
	for _, h := range held {
		s.leave(h, now, time.Millisecond, 0)
	}
	// All its turns but the one are for what is not quick; then it is full at once.
	for range 15 {
		if h, _, _ := s.enter(t.Context(), "dead", now, time.Hour, false); h == nil {
			t.Fatal("turned away with turns left")
		}
	}
	if h, again, _ := s.enter(t.Context(), "dead", now, time.Hour, false); h != nil || again <= 0 {
		t.Error("it waits at a slow host")
	}
}

// However many hosts are slow, half of the slots stay free.
func TestManySlowHosts(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	s := &hosts{limit: 16, byKey: map[string]*host{}}
	in, quick := 0, 0
	for i := range 40 {
		key := string(rune('a' + i))
		s.byKey[key] = &host{turns: make(chan struct{}, 16), took: 14 * time.Second}
		for range 10 {
			if h, _, _ := s.enter(t.Context(), key, now, time.Hour, false); h != nil {
				in++
			}
			if h, _, _ := s.enter(t.Context(), key, now, time.Hour, true); h != nil {
				quick++
			}
		}
	}
	if in != maxSlow || quick != maxQuickSlow {
		t.Errorf("%d and %d quick tries run at slow hosts", in, quick)
	}
}

// A host that has become quick again is a host like others.
func TestSlowHostRecovers(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	s := slowed(t, "dead", now, 13)
	for range 20 {
		h, _, _ := s.enter(t.Context(), "dead", now, 0, true)
		if h == nil {
			t.Fatal("turned away")
		}
		s.leave(h, now, 10*time.Millisecond, 0)
	}
	for range 16 {
		if h, _, _ := s.enter(t.Context(), "dead", now, 0, true); h == nil {
			t.Fatal("it is still taken for slow")
		}
	}
}

// Who is turned away comes back in his turn, not all at once, and no later than maxLine.
func TestLine(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	h := &host{took: 14 * time.Second}
	last := time.Duration(0)
	for i := range 1000 {
		d := h.later(now, 16)
		if d < time.Second || d > maxLine || d < last || i > 0 && i < 300 && d-last != 875*time.Millisecond {
			t.Fatalf("%d: %s after %s", i, d, last)
		}
		last = d
	}
	if d := h.later(now.Add(time.Hour), 16); d != time.Second {
		t.Errorf("an hour later: %s", d)
	}
}
