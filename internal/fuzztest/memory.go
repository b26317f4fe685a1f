// Package fuzztest bounds what the code under a fuzz target may take from the
// heap. It is for tests alone.
package fuzztest

import (
	"runtime"
	"runtime/metrics"
	"testing"
)

// Within runs fn and ends the test when it allocated more than most octets in
// all, kept or not: a decoder that takes a multiple of what a stranger sends is
// a way to use up memory. What other goroutines allocate meanwhile counts too.
//
// The first look is cheap and coarse: it misses what is in spans that are not
// full yet, some tens of KiB, and a garbage collection within fn counts what was
// allocated long before. When it is above the bound, fn runs again, up
// to three times, under the exact count, which stops the world; so fn must be
// one that can be repeated. The least counts.
func Within(t testing.TB, most int, fn func()) {
	t.Helper()
	before := coarse()
	fn()
	least := coarse() - before
	for range 3 {
		if least <= uint64(most) {
			return
		}
		least = min(least, exact(fn))
	}
	if least > uint64(most) {
		t.Fatalf("%d octets were allocated, want %d at most", least, most)
	}
}

func coarse() uint64 {
	s := [1]metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s[:])
	return s[0].Value.Uint64()
}

func exact(fn func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	fn()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}
