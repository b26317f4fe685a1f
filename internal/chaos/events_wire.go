package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// allWires are the names of a world's wires; see wireName.
var allWires = func() []string {
	var list []string
	for _, peer := range []string{peerPostgres, peerTemporal} {
		for _, name := range allNodes {
			list = append(list, wireName(name, peer))
		}
	}
	return append(list,
		wireName(peerTemporal, peerPostgres),
		wireName(allGateways, vendorAcme), wireName(allGateways, vendorZeta), wireName(allGateways, peerCustomer),
		wireName(sideClient, nodeREST), wireName(sideClient, nodeAll), wireName(sideESME, nodeSMPP), wireName(sideESME, nodeAll),
	)
}()

// trouble is what may become of a wire.
type trouble struct {
	what   string
	lasts  span
	breaks func(*Wire, *rand.Rand) error
}

// The longest half-open wire is longer than any part waits for an answer before it asks
// whether the other side is there.
var (
	troubleCut      = trouble{"cut", span{3 * time.Second, 12 * time.Second}, func(w *Wire, _ *rand.Rand) error { return w.Cut() }}
	troubleSlow     = trouble{"slow", span{8 * time.Second, 15 * time.Second}, slow}
	troubleHalfOpen = trouble{"half open", span{10 * time.Second, 45 * time.Second}, func(w *Wire, _ *rand.Rand) error { return w.HalfOpen() }}
)

// slow is from a bad mobile network to the other side of the world with a full queue.
func slow(w *Wire, r *rand.Rand) error {
	latency := span{50 * time.Millisecond, 500 * time.Millisecond}.draw(r)
	return w.Slow(latency, latency/2)
}

// wireEvents are what happens between the parts. The short form has one wire for each
// trouble, which the seed draws.
func wireEvents() []Event {
	var list []Event
	for _, t := range []trouble{troubleCut, troubleSlow, troubleHalfOpen} {
		for _, name := range allWires {
			list = append(list, Event{
				Name: name + " " + t.what, Promise: promiseOfWire(name), Weight: 1, alone: []string{name}, Run: t.on(name),
			})
		}
		list = append(list, Event{Name: "three wires " + t.what, Promise: promiseLink, Weight: 3, Run: t.onAny(3)})
		short := t
		short.lasts = exactly(min(t.lasts.shortest, 8*time.Second))
		list = append(list, Event{Name: "a wire " + t.what + ", drawn by the seed", Promise: promiseLink, Short: true, Run: short.onAny(1)})
	}
	return list
}

func promiseOfWire(name string) string {
	switch name {
	case wireName(allGateways, peerCustomer):
		return promiseWebhook
	case wireName(sideESME, nodeSMPP), wireName(sideESME, nodeAll):
		return promiseESME
	case wireName(sideClient, nodeREST), wireName(sideClient, nodeAll):
		return promiseAccepted
	}
	return promiseLink
}

// on is the trouble on the named wires at once.
func (t trouble) on(names ...string) act {
	return lasting(t.lasts, func(_ context.Context, w *World, r *rand.Rand) error {
		for _, name := range names {
			if err := t.breaks(w.Wires[name], r); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
		return nil
	}, healWires(names...))
}

// onAny is the trouble on n wires that the seed draws.
func (t trouble) onAny(n int) act {
	return func(ctx context.Context, w *World, r *rand.Rand) error {
		var names []string
		for _, i := range r.Perm(len(allWires))[:n] {
			names = append(names, allWires[i])
		}
		w.Log("%s: %q", t.what, names)
		return t.on(names...)(ctx, w, r)
	}
}

func healWires(names ...string) act {
	return func(_ context.Context, w *World, _ *rand.Rand) error {
		var errs []error
		for _, name := range names {
			if err := w.Wires[name].Heal(); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", name, err))
			}
		}
		return errors.Join(errs...)
	}
}
