package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// vendorEvents are what vendors do on a bad day. Acme is everybody's first choice.
func vendorEvents() []Event {
	event := func(name, promise string, short bool, settings map[string]any) Event {
		lasts := span{10 * time.Second, 20 * time.Second}
		if short {
			lasts = exactly(6 * time.Second)
		}
		return Event{
			Name: name, Promise: promise, Short: short, Weight: 2, alone: []string{vendorAcme, vendorZeta},
			Run: lasting(lasts, configure(settings, vendorAcme), restore(vendorAcme)),
		}
	}
	both := event("both vendors refuse with temporary errors", promiseLink, false, nil)
	both.Run = lasting(exactly(15*time.Second), configure(map[string]any{"error_percent": 100, "error_statuses": "RSYSERR"}, vendorAcme, vendorZeta),
		restore(vendorAcme, vendorZeta))
	return []Event{
		{
			Name: "vendor flapping: the link is cut every second", Promise: promiseLink, Short: true, Weight: 4,
			alone: []string{wireName(allGateways, vendorAcme), vendorAcme, vendorZeta},
			Run:   again(8, flap(wireName(allGateways, vendorAcme)), healWires(wireName(allGateways, vendorAcme))),
		},
		event("a vendor has temporary errors", promiseLink, true, map[string]any{"error_percent": 60, "error_statuses": "RSYSERR,RMSGQFUL"}),
		event("a vendor throttles", promiseLink, true, map[string]any{"throttle_percent": 60}),
		event("a vendor takes and does not answer", promiseDoubt, true, map[string]any{"silent_percent": 30}),
		event("a vendor takes, does not answer and sends no receipt", promiseDoubt, false, map[string]any{"silent_percent": 30, "silent_receipts": false}),
		event("a vendor hangs up mid-window", promiseDoubt, true, map[string]any{"disconnect_percent": 10, "disconnect_recorded_percent": 50}),
		event("a vendor is slow to answer", promiseLink, false, map[string]any{"latency": "4s", "latency_jitter": "2s"}),
		event("receipts come before their answers, and twice", promiseDoubt, false, map[string]any{"early_receipt_percent": 50, "duplicate_receipt_percent": 50}),
		both,
	}
}

// configure changes the simulators' settings.
func configure(settings map[string]any, names ...string) act {
	return func(ctx context.Context, w *World, _ *rand.Rand) error {
		var errs []error
		for _, name := range names {
			errs = append(errs, w.Vendors[name].Configure(ctx, settings))
		}
		return errors.Join(errs...)
	}
}

func restore(names ...string) act {
	return func(ctx context.Context, w *World, _ *rand.Rand) error {
		var errs []error
		for _, name := range names {
			errs = append(errs, w.Vendors[name].Restore(ctx))
		}
		return errors.Join(errs...)
	}
}

// flap is one second of a link that does not stay up.
func flap(wire string) act {
	const half = 500 * time.Millisecond
	cut := lasting(exactly(half), func(_ context.Context, w *World, _ *rand.Rand) error { return w.Wires[wire].Cut() }, healWires(wire))
	return func(ctx context.Context, w *World, r *rand.Rand) error {
		if err := cut(ctx, w, r); err != nil {
			return err
		}
		return pause(ctx, half)
	}
}
