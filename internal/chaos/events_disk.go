package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// diskEvents are disks that are full: Postgres's, and that of the media with the folder in
// which files are worked on. Nothing else of the gateway is on one.
func diskEvents() []Event {
	return []Event{
		{
			Name: "the disk of postgres is full", Promise: promisePostgres, Missing: missingDisk, Weight: 3, alone: []string{peerPostgres},
			Run: lasting(exactly(10*time.Second), fillDisk, freeDisk),
		},
		{
			Name: "the disk of media is full", Promise: promiseMedia, Short: true, Missing: missingDisk, Weight: 3,
			Run: lasting(exactly(10*time.Second), fillMediaDisk, freeMediaDisk), Shows: mediaDiskWasFull, mediaDisk: true,
		},
	}
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

// heldMMS are accepted once the disk of media is full, and have to be converted then.
const heldMMS = 4

func fillMediaDisk(ctx context.Context, w *World, _ *rand.Rand) error {
	if w.MediaDisk == nil {
		return errors.New("this world's media have no disk of their own")
	}
	send := func() {}
	if load := w.Customer.load.Load(); load != nil {
		send = load.holdMMS(ctx, heldMMS)
	}
	if err := w.MediaDisk.Fill(); err != nil {
		return err
	}
	send()
	return nil
}

func freeMediaDisk(_ context.Context, w *World, _ *rand.Rand) error {
	if w.MediaDisk == nil {
		return nil
	}
	return w.MediaDisk.Free()
}

// mediaDiskWasFull wants uploads that were refused, text messages that were delivered
// meanwhile, and MMS that waited.
func mediaDiskWasFull(w *World, began, healed time.Time) (string, error) {
	load := w.Customer.load.Load()
	if load == nil {
		return "", errors.New("there is no load")
	}
	refused := load.ledger.Refusals(began, healed)
	texts, waiting := load.ledger.meanwhile(began, healed)
	var errs []error
	for _, of := range []struct {
		n    int
		what string
	}{{refused, "upload was answered 503"}, {texts, "text message was delivered"}, {waiting, "MMS had to wait"}} {
		if of.n == 0 {
			errs = append(errs, fmt.Errorf("no %s while the disk of media was full", of.what))
		}
	}
	return fmt.Sprintf("while the disk of media was full %d uploads were answered 503, %d text messages were delivered, %d MMS waited", refused, texts, waiting), errors.Join(errs...)
}
