package main

import (
	"math/rand/v2"
	"time"
)

// schedule says when each message of a phase is due, from the phase's
// beginning. It is fixed before the first one is sent: it cannot wait for
// answers, and a slow answer cannot thin out the load that follows it.
type schedule []time.Duration

// evenly spaces n arrivals equally.
func evenly(n int, rate float64) schedule {
	s := make(schedule, n)
	for i := range s {
		s[i] = time.Duration(float64(i) / rate * float64(time.Second))
	}
	return s
}

// randomly draws n arrivals as independent customers make them (a Poisson
// process), and stretches them so that the rate is met exactly: two runs with
// different seeds then offer the same load.
func randomly(n int, rate float64, seed uint64) schedule {
	random := rand.New(rand.NewPCG(seed, uint64(n)))
	at := make([]float64, n)
	sum := 0.0
	for i := range at {
		at[i] = sum
		sum += random.ExpFloat64()
	}
	s := make(schedule, n)
	if sum == 0 {
		return s
	}
	whole := float64(n) / rate * float64(time.Second)
	for i := range s {
		s[i] = time.Duration(at[i] / sum * whole)
	}
	return s
}
