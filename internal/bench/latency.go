package main

import (
	"math"
	"slices"
	"time"
)

// quantiles are what is told of a set of latencies, in milliseconds. They are
// exact: a run's latencies are kept whole, eight octets a message.
type quantiles struct {
	Count int     `json:"count"`
	P50   float64 `json:"p50_ms"`
	P95   float64 `json:"p95_ms"`
	P99   float64 `json:"p99_ms"`
	Max   float64 `json:"max_ms"`
}

// quantilesOf sorts the latencies. None give the zero value.
func quantilesOf(latencies []time.Duration) quantiles {
	slices.Sort(latencies)
	return quantiles{
		Count: len(latencies),
		P50:   milliseconds(quantile(latencies, 0.50)),
		P95:   milliseconds(quantile(latencies, 0.95)),
		P99:   milliseconds(quantile(latencies, 0.99)),
		Max:   milliseconds(quantile(latencies, 1)),
	}
}

// quantile is the smallest value that at least the share q of the sorted values
// does not exceed (the nearest rank); 0 for none.
func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	rank := int(math.Ceil(q * float64(len(sorted))))
	return sorted[min(max(rank, 1), len(sorted))-1]
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// middleRate is how many events a second happened between the 10th and the 90th
// of a hundred of them, so that neither a slow start nor a long tail counts; 0
// when there are too few to tell.
func middleRate(at []time.Duration) float64 {
	slices.Sort(at)
	low, high := len(at)/10, len(at)*9/10
	if high-low < 2 || at[high] <= at[low] {
		return 0
	}
	return float64(high-low) / (at[high] - at[low]).Seconds()
}
