package main

import (
	"context"
	"iter"
	"math/rand/v2"
	"time"
)

// Event is something that happens to the world.
type Event struct {
	Name    string // "kill -9 vendors-1"
	Promise string // what the contract (README) says of it
	Short   bool   // part of the short form, which `make test` runs
	Weight  int    // at random; 0: one at a time only
	// Missing says what this machine lacks for it; empty: nothing. Nil is the same. The
	// report names events that were left out.
	Missing func() string
	// Run breaks, lasts and heals. It heals also when it fails or ctx ends.
	Run func(ctx context.Context, w *World, r *rand.Rand) error
	// Shows says what was seen of it between two moments, and has an error when it had no
	// effect: the promise was not tried then. It is asked when the event came alone. Nil:
	// what it does shows by itself.
	Shows func(w *World, began, healed time.Time) (string, error)
	// alone names what the event must have to itself: the parts that it breaks or starts.
	// Events that share none may happen at the same time. Empty: it shares the world with
	// no other event.
	alone []string
	// stepped: it starts a program whose clock can be stepped, which takes minutes to
	// build the first time.
	stepped bool
	// mediaDisk: it needs the media on a disk of their own. A test that is killed would
	// leave one mounted, so a run without such an event has none.
	mediaDisk bool
}

// Step is an event in its turn.
type Step struct {
	Event Event
	Seed  uint64        // of its own randomness
	Pause time.Duration // of calm before it
}

// Schedule is what happens, one step after the other. It may look at the clock to
// find its end.
type Schedule iter.Seq[Step]
