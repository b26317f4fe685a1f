package main

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestSchedules(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 2000).Draw(t, "n")
		rate := rapid.Float64Range(0.5, 10_000).Draw(t, "rate")
		window := time.Duration(float64(n) / rate * float64(time.Second))
		for name, s := range map[string]schedule{"evenly": evenly(n, rate), "randomly": randomly(n, rate, rapid.Uint64().Draw(t, "seed"))} {
			if len(s) != n {
				t.Fatalf("%s: %d arrivals of %d", name, len(s), n)
			}
			if !slices.IsSorted(s) {
				t.Fatalf("%s: not in order", name)
			}
			if n > 0 && (s[0] < 0 || s[n-1] > window) {
				t.Fatalf("%s: from %s to %s, outside of %s", name, s[0], s[n-1], window)
			}
		}
	})
}

func TestEvenly(t *testing.T) {
	if got, want := evenly(3, 4), (schedule{0, 250 * time.Millisecond, 500 * time.Millisecond}); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestRandomlyRepeats(t *testing.T) {
	a, b, c := randomly(1000, 100, 7), randomly(1000, 100, 7), randomly(1000, 100, 8)
	if !slices.Equal(a, b) {
		t.Error("the same seed made another schedule")
	}
	if slices.Equal(a, c) {
		t.Error("another seed made the same schedule")
	}
	// Of independent arrivals, the share 1/e has no successor within the mean
	// gap; even ones have none at all below it.
	long := 0
	for i := 1; i < len(a); i++ {
		if a[i]-a[i-1] > 10*time.Millisecond {
			long++
		}
	}
	if long < 300 || long > 440 {
		t.Errorf("%d gaps of 1000 are longer than the mean; want about 368", long)
	}
}
