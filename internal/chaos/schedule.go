package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

const (
	// longestPause is the longest calm before an event at random; the shortest is none.
	longestPause = 8 * time.Second
	// togetherEvery is how seldom two events happen at the same time: one step of so many.
	togetherEvery = 6
)

// OneAtATime has each event once, in order. The seed is of what events draw for
// themselves, such as how long they last.
func OneAtATime(events []Event, seed uint64) Schedule {
	return func(yield func(Step) bool) {
		r := seeded(seed)
		for _, e := range events {
			if !yield(Step{Event: e, Seed: r.Uint64()}) {
				return
			}
		}
	}
}

// AtRandom draws events by their weights until the time is over, which begins with the
// first step. The same seed and the same events are the same steps, as far as the time
// goes. Now and then it is two events at once, which have nothing in common that either
// breaks or starts.
func AtRandom(events []Event, seed uint64, for_ time.Duration) Schedule {
	return atRandom(events, seed, untilOver(for_))
}

// untilOver is false from a span after its first call on.
func untilOver(span time.Duration) func() bool {
	var began time.Time
	return func() bool {
		if began.IsZero() {
			began = time.Now()
		}
		return time.Since(began) < span
	}
}

func atRandom(events []Event, seed uint64, goesOn func() bool) Schedule {
	return func(yield func(Step) bool) {
		r := seeded(seed)
		for goesOn() {
			e, ok := draw(events, r)
			if !ok {
				return
			}
			// The same numbers are drawn whatever is chosen, so that a seed's steps do
			// not depend on more than the list of events.
			pause, two, own := time.Duration(r.Int64N(int64(longestPause))), r.IntN(togetherEvery) == 0, r.Uint64()
			second, _ := draw(events, r)
			if two && apart(e, second) {
				e = together(e, second)
			}
			if !yield(Step{Event: e, Seed: own, Pause: pause}) {
				return
			}
		}
	}
}

// seeded is the randomness of a seed.
func seeded(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, seed)) }

// draw chooses by weight. False: none has any.
func draw(events []Event, r *rand.Rand) (Event, bool) {
	sum := 0
	for _, e := range events {
		sum += e.Weight
	}
	if sum == 0 {
		return Event{}, false
	}
	at := r.IntN(sum)
	for _, e := range events {
		if at -= e.Weight; at < 0 {
			return e, true
		}
	}
	return Event{}, false
}

// apart reports whether two events may happen at the same time.
func apart(a, b Event) bool {
	if len(a.alone) == 0 || len(b.alone) == 0 {
		return false
	}
	return !slices.ContainsFunc(a.alone, func(part string) bool { return slices.Contains(b.alone, part) })
}

// together is both events at the same time. It ends when both have healed.
func together(a, b Event) Event {
	return Event{
		Name: a.Name + " + " + b.Name, Promise: a.Promise + "; " + b.Promise,
		alone: slices.Concat(a.alone, b.alone), stepped: a.stepped || b.stepped,
		Run: func(ctx context.Context, w *World, r *rand.Rand) error {
			ra, rb := seeded(r.Uint64()), seeded(r.Uint64())
			var first error
			var running sync.WaitGroup
			running.Go(func() { first = a.Run(ctx, w, ra) })
			second := b.Run(ctx, w, rb)
			running.Wait()
			return errors.Join(first, second)
		},
	}
}
