package main

import (
	"context"
	"math/rand/v2"
	"syscall"
	"time"
)

// postgresEvents are what happens to Postgres. Temporal keeps its state there as well.
func postgresEvents() []Event {
	event := func(name string, short bool, weight int, away span, end act) Event {
		return Event{Name: name, Promise: promisePostgres, Short: short, Weight: weight, alone: []string{peerPostgres}, Run: lasting(away, end, startPostgres)}
	}
	return []Event{
		event("kill -9 postgres", true, 6, exactly(0), func(_ context.Context, w *World, _ *rand.Rand) error { return w.Postgres.Kill() }),
		event("postgres restarted", true, 4, exactly(0), stopPostgres),
		event("postgres stopped in immediate mode", true, 6, exactly(0), func(ctx context.Context, w *World, _ *rand.Rand) error {
			return w.Postgres.StopImmediate(ctx)
		}),
		event("postgres away for 20 s", false, 2, exactly(20*time.Second), stopPostgres),
	}
}

func stopPostgres(ctx context.Context, w *World, _ *rand.Rand) error { return w.Postgres.Stop(ctx) }
func startPostgres(ctx context.Context, w *World, _ *rand.Rand) error {
	return w.Postgres.Restart(ctx)
}

// temporalEvents are what happens to the Temporal server.
func temporalEvents() []Event {
	event := func(name string, short bool, weight int, away span, end, back act) Event {
		return Event{Name: name, Promise: promiseTemporal, Short: short, Weight: weight, alone: []string{peerTemporal}, Run: lasting(away, end, back)}
	}
	return []Event{
		event("kill -9 temporal", true, 6, exactly(0), func(_ context.Context, w *World, _ *rand.Rand) error { return w.Temporal.Kill() }, startTemporal),
		event("temporal stopped for 5 s", true, 4, exactly(5*time.Second), stopTemporal, startTemporal),
		event("temporal stopped for 60 s", false, 2, exactly(time.Minute), stopTemporal, startTemporal),
		event("temporal suspended for 20 s", false, 2, exactly(20*time.Second), signalTemporal(syscall.SIGSTOP), signalTemporal(syscall.SIGCONT)),
	}
}

func stopTemporal(ctx context.Context, w *World, _ *rand.Rand) error { return w.Temporal.Stop(ctx) }
func startTemporal(ctx context.Context, w *World, _ *rand.Rand) error {
	return w.Temporal.Restart(ctx)
}

func signalTemporal(signal syscall.Signal) act {
	return func(_ context.Context, w *World, _ *rand.Rand) error {
		return signalTo(peerTemporal, w.Temporal.PID(), signal)
	}
}
