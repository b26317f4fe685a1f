package main

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestQuantiles(t *testing.T) {
	hundred := make([]time.Duration, 0, 100)
	for i := 100; i >= 1; i-- {
		hundred = append(hundred, time.Duration(i)*time.Millisecond)
	}
	for _, c := range []struct {
		name string
		in   []time.Duration
		want quantiles
	}{
		{"none", nil, quantiles{}},
		{"one", []time.Duration{1500 * time.Microsecond}, quantiles{1, 1.5, 1.5, 1.5, 1.5}},
		{"two", []time.Duration{2 * time.Millisecond, time.Millisecond}, quantiles{2, 1, 2, 2, 2}},
		{"hundred", hundred, quantiles{100, 50, 95, 99, 100}},
	} {
		if got := quantilesOf(c.in); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

func TestQuantileIsNearestRank(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list := rapid.SliceOfN(rapid.Int64Range(0, 1000), 1, 300).Draw(t, "list")
		var sorted []time.Duration
		for _, v := range list {
			sorted = append(sorted, time.Duration(v))
		}
		quantilesOf(sorted)
		q := rapid.Float64Range(0, 1).Draw(t, "q")
		got, below, notAbove := quantile(sorted, q), 0, 0
		for _, v := range sorted {
			if v < got {
				below++
			}
			if v <= got {
				notAbove++
			}
		}
		if n := float64(len(sorted)); float64(notAbove) < q*n || below > 0 && float64(below) >= q*n {
			t.Fatalf("quantile %g of %d values: %d are below, %d not above", q, len(sorted), below, notAbove)
		}
	})
}

func TestMiddleRate(t *testing.T) {
	var at []time.Duration
	for i := range 100 {
		at = append(at, time.Duration(i)*10*time.Millisecond)
	}
	at[0], at[99] = -time.Hour, time.Hour // neither start nor tail counts
	if got := middleRate(at); got < 99.9 || got > 100.1 {
		t.Errorf("100 a second became %g", got)
	}
	if got := middleRate(at[:2]); got != 0 {
		t.Errorf("two events became %g a second", got)
	}
	if got := middleRate(make([]time.Duration, 100)); got != 0 {
		t.Errorf("a hundred events at once became %g a second", got)
	}
}

// The two parts of an acceptance's latency, and what went the whole way meanwhile.
func TestAcceptanceInParts(t *testing.T) {
	r := newRecords(4, "test")
	for i, m := range [][3]int64{{10, 30, 50}, {20, 20, 90}, {30, 70, 80}, {40, 45, 0}} { // the last was refused
		r.list[i].due.Store(m[0])
		r.list[i].started.Store(m[1])
		r.list[i].answered.Store(m[2])
	}
	s := span{records: r, first: 0, last: 4}
	if got, want := s.lags(), []time.Duration{20, 0, 40}; !slices.Equal(got, want) {
		t.Errorf("late by %v, want %v", got, want)
	}
	if got, want := s.askLatencies(), []time.Duration{20, 70, 10}; !slices.Equal(got, want) {
		t.Errorf("asked for %v, want %v", got, want)
	}
	if got := s.lastAnswer(); got != 90 {
		t.Errorf("the last answer was at %d", got)
	}
	arrived := map[int]arrival{0: {at: 60, count: 1}, 1: {at: 90, count: 2}, 2: {at: 91, count: 1}, 7: {at: 1, count: 1}}
	if got := s.arrivedBy(90, arrived); got != 2 {
		t.Errorf("%d had arrived, want 2", got)
	}
}
