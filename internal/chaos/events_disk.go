package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// diskEvents are a disk that is full. It is Postgres's alone: nothing else of the
// gateway is on disk until messages have media.
func diskEvents() []Event {
	return []Event{{
		Name: "the disk of postgres is full", Promise: promisePostgres, Missing: missingDisk, Weight: 3, alone: []string{peerPostgres},
		Run: lasting(exactly(10*time.Second), fillDisk, freeDisk),
	}}
}

func fillDisk(_ context.Context, w *World, _ *rand.Rand) error {
	if w.Disk == nil {
		return errors.New("this world's Postgres has no disk of its own")
	}
	return w.Disk.Fill()
}

// freeDisk also waits for Postgres: it may have ended, as it does when its log of
// changes has no room, or be about to.
func freeDisk(ctx context.Context, w *World, _ *rand.Rand) error {
	if w.Disk == nil {
		return nil
	}
	if err := w.Disk.Free(); err != nil {
		return err
	}
	for w.DB.Ping(ctx) != nil {
		if ended(w.Postgres.Done()) {
			w.Log("postgres ended on a full disk; started again")
			return w.Postgres.Restart(ctx)
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}
