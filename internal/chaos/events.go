package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"syscall"
	"time"
)

// Events are all that happens to a world, in the order of one at a time: processes,
// Postgres, Temporal, wires, vendors, customers, clocks, the disks.
var Events = slices.Concat(
	processEvents(), postgresEvents(), temporalEvents(), wireEvents(), vendorEvents(), customerEvents(), clockEvents(), diskEvents(),
)

// Promises, in the contract's words.
const (
	promiseAccepted = "what was accepted is on disk and reaches a final status"
	promiseKill     = "nothing accepted is lost, no receipt or webhook is lost, nothing is submitted twice under at_most_once"
	promiseTemporal = "every request is still answered 202; messages wait and go when it is back"
	promisePostgres = "requests are answered 503 and nothing is half-stored"
	promiseLink     = "messages wait within their validity or take another route; nothing expires silently"
	promiseDoubt    = "a submit without a known answer is in_doubt, and goes again only under at_least_once"
	promiseWebhook  = "webhooks are retried for 72 h, with one id"
	promiseESME     = "receipts wait while nobody is bound; one that was not answered goes again"
	promiseRolling  = "customers over SMPP hear nothing but try later, nothing is lost or doubled"
	promiseMedia    = "uploads are answered 503 and nothing is half-stored; MMS that need room wait, text messages go on"
	promiseClock    = "nothing expires, is lost or goes twice by a clock that is wrong"
)

// healPatience bounds the healing of one event; it measures nothing.
const healPatience = patience

// act is something that is done to a world. r is of the step.
type act func(ctx context.Context, w *World, r *rand.Rand) error

// span is how long an event lasts: from a shortest to a longest time, as its seed has it.
type span struct{ shortest, longest time.Duration }

// exactly is always the same time.
func exactly(d time.Duration) span { return span{d, d} }

func (s span) draw(r *rand.Rand) time.Duration {
	return s.shortest + time.Duration(r.Int64N(int64(s.longest-s.shortest)+1))
}

// lasting breaks something, lets it be broken for the span, and heals it. It heals
// whatever came before: what failed halfway may be broken as well, and the world goes on
// after ctx's end, so healing has a time of its own.
func lasting(s span, breaks, heals act) act {
	return func(ctx context.Context, w *World, r *rand.Rand) error {
		for_ := s.draw(r)
		err := breaks(ctx, w, r)
		if err == nil {
			err = pause(ctx, for_)
		}
		return errors.Join(err, healing(ctx, func(ctx context.Context) error { return heals(ctx, w, r) }))
	}
}

// healing runs heals with a context that outlives ctx by healPatience at most.
func healing(ctx context.Context, heals func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), healPatience)
	defer cancel()
	return heals(ctx)
}

// reviveServers starts Postgres and Temporal when they ended although nobody meant them
// to, as whatever watches over them would, and says so.
func (w *World) reviveServers(ctx context.Context) error {
	if ended(w.Postgres.Done()) {
		w.Log("postgres had ended by itself; started again")
		if err := w.Postgres.Restart(ctx); err != nil {
			return err
		}
	}
	if ended(w.Temporal.Done()) {
		w.Log("temporal had ended by itself; started again")
		return w.Temporal.Restart(ctx)
	}
	return nil
}

func ended(done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	default:
		return false
	}
}

// signalTo sends a signal to a process that is no node.
func signalTo(what string, pid int, signal syscall.Signal) error {
	if err := syscall.Kill(pid, signal); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}
