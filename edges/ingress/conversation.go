package ingress

import (
	"context"
	"sync/atomic"
	"time"
)

const (
	// turnsAtOnce bounds what one look takes. What it takes is fed to the starters at
	// their speed.
	turnsAtOnce = 256
	// watchEvery is how often turns are looked for while messages wait for theirs: it
	// bounds how long one waits for what another process has done. What happens in
	// this process is heard of at once. lookEvery is the same while none is known to
	// wait.
	watchEvery = 250 * time.Millisecond
	lookEvery  = 2 * time.Second
	// turnPace is the least time between two looks, and turnShare the part of its
	// time that looking may take when much waits.
	turnPace  = 5 * time.Millisecond
	turnShare = 5
)

// turnTaker starts the messages that have waited for their turn in their
// conversation. It knows nothing but whether some wait: which, and whose turn it
// is, the journal knows, so any process may do it for all, and none must.
type turnTaker struct {
	group
	in       *Ingress
	watching atomic.Bool   // some wait
	stir     chan struct{} // capacity 1, never closed, carries nothing: look now
}

func (t *turnTaker) make(in *Ingress) {
	t.in = in
	t.stir = make(chan struct{}, 1)
}

func (t *turnTaker) start(ctx context.Context) {
	ctx = t.own(ctx)
	t.wg.Go(func() { t.run(ctx) })
}

// watch says that a message waits. What it waits for may have gone before it was
// known to wait: hence the look at once.
func (t *turnTaker) watch() {
	t.watching.Store(true)
	t.poke()
}

// poke says that a message has made room behind it.
func (t *turnTaker) poke() {
	if !t.watching.Load() {
		return
	}
	select {
	case t.stir <- struct{}{}:
	default:
	}
}

func (t *turnTaker) run(ctx context.Context) {
	for ctx.Err() == nil { // the first look is at what an earlier process left
		began := time.Now()
		if err := t.look(ctx); err != nil && ctx.Err() == nil {
			t.in.Log.Warn("turns in conversations could not be taken, they will be", "error", err)
			rest(ctx, failPause)
		}
		rest(ctx, max(turnPace, turnShare*time.Since(began)))
		t.await(ctx)
	}
}

// await waits until it is time to look again.
func (t *turnTaker) await(ctx context.Context) {
	wait := lookEvery
	if t.watching.Load() {
		wait = watchEvery
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.stir:
	case <-ctx.Done():
	}
}

// look takes the turns that have come.
func (t *turnTaker) look(ctx context.Context) error {
	// Whoever begins to wait from here on says so again.
	t.watching.Store(false)
	free, waiting, err := t.in.Journal.TakeTurns(ctx, turnsAtOnce)
	if waiting || err != nil {
		t.watching.Store(true)
	}
	if err != nil {
		return err
	}
	for _, m := range free {
		t.in.starter.wait(ctx, m)
	}
	return nil
}
