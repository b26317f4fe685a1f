// Command bench measures the running, real stack: it sends messages over REST,
// takes their webhooks, and asks the simulator what the vendor saw. `make bench`
// runs it; docs/performance.md holds its figures, docs/tuning.md what was tried.
// With --smpp it sends over one SMPP bind as well, takes receipts for the ends, and
// asks the gateway for each message that it answered; `make bench-smpp` does that
// alone.
//
// Load is open-loop: messages are sent on a schedule made beforehand, and
// latency runs from the scheduled time, so that a gateway that stalls cannot
// hide it by stalling its load as well. Only the floods (capacity, burst) send
// as fast as answers come.
//
// The bench shares the machine with what it measures, so the figures are those
// of a machine that also bears its load; its own share is in the report. It
// changes nothing of the stack: no setting is made for a measurement.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the bench at once
	o, err := readOptions(os.Args[1:], os.Stderr)
	if err == nil {
		err = bench(ctx, o, os.Args[1:])
	}
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// bench opens or starts a stack, measures it, and stops what it started.
func bench(ctx context.Context, o options, args []string) (err error) {
	var t *target
	if o.Env != "" {
		t, err = openTarget(o.Env)
	} else {
		t, err = startTarget(ctx, o.Dir, os.Stderr)
	}
	if err != nil {
		return err
	}
	defer func() {
		if stopErr := t.stop(); stopErr != nil {
			err = errors.Join(err, stopErr)
		}
		// What went wrong is in the logs.
		if t.own != nil && !o.Keep && (err == nil || errors.Is(err, context.Canceled)) {
			err = errors.Join(err, remove(t.dir))
		}
	}()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() { // ends with the bench, or with the stack
		select {
		case <-t.ended():
			cancel(errors.New("the stack ended while it was measured; its logs are in " + t.dir))
		case <-ctx.Done():
		}
	}()
	return measure(ctx, o, t, args)
}

// measure goes through all phases and reports, also of those that an interrupt
// leaves.
func measure(ctx context.Context, o options, t *target, args []string) error {
	report := &report{Setting: describe(ctx, t, args)}
	of := numbers{from: rand.Uint64N(planSize())}
	records := newRecords(o.messages(), strconv.FormatUint(rand.Uint64N(1<<32), 36))
	sim, err := openSimulator(ctx, t.env["POSTRIDER_SMSC_STATS"])
	if err != nil {
		return err
	}
	if err := sim.delayReceipts(ctx, o.ReceiptDelay); err != nil {
		return err
	}
	hooks, err := openConsumer(o, t, records)
	if err != nil {
		return err
	}
	defer func() { _ = hooks.stop() }()
	api, err := openAPI(ctx, o, t, hooks.url())
	if err != nil {
		return err
	}
	load := newLoad(api, of, records, max(o.Connections, o.BurstConns))
	defer load.close()
	r := &runner{load: load, records: records, meter: meter{proc: "/proc", root: t.pid, self: os.Getpid()},
		counter: temporalCounter(t.dir), patience: o.Patience, out: os.Stderr}
	if r.log, err = openLog(ctx, r.meter); err != nil {
		fmt.Fprintf(r.out, "octets of Postgres's log are not counted: %v\n", err)
	}
	defer r.log.close()
	if o.Auth == "token" {
		fresh, cancel := context.WithCancel(ctx)
		defer cancel()
		go keepToken(fresh, t, api)
	}
	p := &plan{runner: r, o: o, t: t, sim: sim, api: api, report: report}
	failed := p.phases(ctx)
	// An interrupted run is told of too: what was measured was measured.
	quiet, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestTimeout)
	defer cancel()
	arrived, err := sim.arrivals(quiet, of, records)
	if err == nil {
		r.settle(arrived)
	}
	report.Phases, report.Forged = r.results, int(hooks.forged.Load())
	if err := errors.Join(failed, err); err != nil {
		// What is known of the phases before is worth seeing; nothing is kept of it.
		return errors.Join(report.write(os.Stdout, options{}), err)
	}
	return errors.Join(report.write(os.Stdout, o), context.Cause(ctx), report.verdict())
}

func openConsumer(o options, t *target, r *records) (*consumer, error) {
	secret := ""
	if o.Verify {
		var err error
		if secret, err = t.webhookSecret(); err != nil {
			return nil, err
		}
	}
	return startConsumer(r, secret)
}

func openAPI(ctx context.Context, o options, t *target, hook string) (*api, error) {
	base, key, secret := t.env["POSTRIDER_URL"], t.env["POSTRIDER_API_KEY"], t.env["POSTRIDER_API_SECRET"]
	authorization := basic(key, secret)
	if o.Auth == "token" {
		var err error
		if authorization, err = bearer(ctx, base, key, secret); err != nil {
			return nil, err
		}
	}
	return newAPI(base, authorization, t.env["POSTRIDER_FROM"], hook)
}

// tokenLife is how long a token is used; it is good for fifteen minutes.
const tokenLife = 10 * time.Minute

// keepToken takes a new token in time, until ctx ends: a soak lasts longer than one.
func keepToken(ctx context.Context, t *target, a *api) {
	tick := time.NewTicker(tokenLife)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		// Without a new one the requests are refused, and the report says so.
		if authorization, err := bearer(ctx, t.env["POSTRIDER_URL"], t.env["POSTRIDER_API_KEY"], t.env["POSTRIDER_API_SECRET"]); err == nil {
			a.authorize(authorization)
		}
	}
}
