package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"time"
)

// clockStep is further than any lease lives and than most deadlines are away, and less
// than a message is valid for.
const clockStep = 10 * time.Minute

// clockEvents are clocks that are stepped while a process runs, and stepped back later,
// as by an administrator or a machine that finds its time server late.
func clockEvents() []Event {
	var list []Event
	for _, name := range allNodes {
		for _, ahead := range []time.Duration{clockStep, -clockStep} {
			list = append(list, Event{
				Name: fmt.Sprintf("clock of %s stepped by %+d min", name, ahead/time.Minute), Promise: promiseClock,
				Short: name == nodeAll && ahead > 0, Weight: 1, alone: []string{name}, stepped: true, Run: stepClock(name, ahead),
			})
		}
	}
	for _, ahead := range []time.Duration{clockStep, -clockStep} {
		list = append(list, Event{
			Name: fmt.Sprintf("clock of postgres stepped by %+d min", ahead/time.Minute), Promise: promiseClock,
			Missing: missingFakeTime, Weight: 1, alone: []string{peerPostgres},
			Run: lasting(clockLasts, stepPostgres(ahead), stepPostgres(0)),
		})
	}
	return list
}

// clockLasts is how long a clock is wrong, and how long the process runs before and after.
var (
	clockLasts  = span{8 * time.Second, 15 * time.Second}
	clockSettle = exactly(3 * time.Second)
)

func stepPostgres(ahead time.Duration) act {
	return func(_ context.Context, w *World, _ *rand.Rand) error { return w.PostgresClock.Step(ahead) }
}

// stepClock gives a node a program whose clock can be stepped, steps it while messages
// flow, steps it back while they do, and gives it the product's own program again.
func stepClock(name string, ahead time.Duration) act {
	return func(ctx context.Context, w *World, r *rand.Rand) error {
		if w.stepped == "" {
			return errors.New("this world has no gateway whose clock can be stepped")
		}
		clock, err := newClock(filepath.Join(w.Dir, name+".clock"))
		if err != nil {
			return err
		}
		n := w.Nodes[name]
		step := func(ahead time.Duration) act {
			return func(context.Context, *World, *rand.Rand) error { return clock.Step(ahead) }
		}
		wrong := lasting(clockLasts, step(ahead), step(0))
		settled := func(ctx context.Context) error { return pause(ctx, clockSettle.draw(r)) }
		err = n.Stop(ctx)
		if err == nil {
			n.Use(w.stepped, clock.Env())
			err = n.Start(ctx)
		}
		if err == nil {
			err = errors.Join(settled(ctx), wrong(ctx, w, r), settled(ctx))
		}
		return errors.Join(err, healing(ctx, func(ctx context.Context) error {
			err := n.Stop(ctx)
			n.Use(w.gateway, clockVariable+"=")
			return errors.Join(err, n.Start(ctx))
		}))
	}
}
