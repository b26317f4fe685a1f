package main

import (
	"context"
	"fmt"
	"strconv"
	"time"
)

// kindOverload is the kind of a phase that offers more than can be completed, to an
// account whose backlog has a cap.
const kindOverload = "overload"

const (
	// overloadSender is the number of the overload's account.
	overloadSender = "+12025550145"
	// overloadRamp is left out of what is told of an overload's steady state: the
	// backlog fills meanwhile.
	overloadRamp = 10 * time.Second
)

// flooded is what an overload came to while it lasted.
type flooded struct {
	Cap       int     `json:"cap"` // messages that the account may have on their way
	Seconds   float64 `json:"seconds"`
	Ramp      float64 `json:"ramp_seconds"`                   // left out of the next two
	Accepted  float64 `json:"accepted_per_second_after"`      // after the ramp
	Completed float64 `json:"completed_per_second_meanwhile"` // after the ramp
}

// overload offers it, and waits until what was accepted has ended.
func (p *plan) overload(ctx context.Context) error {
	due := p.draw(p.o.OverloadRate, p.o.Overload)
	if len(due) == 0 {
		return nil
	}
	op, err := openOperator(p.meter)
	if err != nil {
		return err
	}
	account, err := op.addSender(ctx, overloadSender, p.o.OverloadCap)
	if err != nil {
		return err
	}
	a, err := newAPI(p.t.env["POSTRIDER_URL"], basic(account.key, account.secret), account.from, p.api.webhook)
	if err != nil {
		return err
	}
	// Before the gateway knows the account, its requests count as guesses.
	if err := inForce(ctx, p.t.env["POSTRIDER_URL"], account); err != nil {
		return err
	}
	flood := newLoad(a, p.load.numbers, p.records, p.o.Connections)
	defer flood.close()
	fmt.Fprintf(p.out, "overload: %d messages at %.0f/s, of which %d may be on their way\n", len(due), p.o.OverloadRate, p.o.OverloadCap)
	x := &result{Name: fmt.Sprintf("overload %g/s", p.o.OverloadRate), Kind: kindOverload, Offered: p.o.OverloadRate, Connections: p.o.Connections, Sent: len(due), of: p.take(len(due))}
	began := p.records.now()
	p.pour(ctx, x, func() { x.Errors = flood.open(ctx, x.of, due, flood.links) })
	x.Flooded = x.of.flooded(began, p.o.Overload, p.o.OverloadCap)
	return nil
}

// inForce returns when the gateway knows an account that was just made. It asks
// seldom: who fails too often is shut out.
func inForce(ctx context.Context, base string, s sender) error {
	for tries := 0; ; tries++ {
		pause(ctx, time.Second)
		_, err := bearer(ctx, base, s.key, s.secret)
		if err == nil || tries == 5 || ctx.Err() != nil {
			return err
		}
	}
}

// flooded counts what happened from the end of the ramp to the end of the offer.
func (s span) flooded(began int64, d time.Duration, limit int) *flooded {
	ramp := min(overloadRamp, d/2)
	f := &flooded{Cap: limit, Seconds: d.Seconds(), Ramp: ramp.Seconds()}
	from, to := began+int64(ramp), began+int64(d)
	within := func(at int64) float64 {
		if at >= from && at < to {
			return 1 / (d - ramp).Seconds()
		}
		return 0
	}
	for i := s.first; i < s.last; i++ {
		m := &s.records.list[i]
		if m.answered.Load() == 0 {
			continue
		}
		f.Accepted += within(m.answered.Load())
		f.Completed += within(m.ended.Load())
	}
	return f
}

func (r *report) overload() section {
	t := table{{"offered/s", "for s", "cap", "accepted", "refused", "accept p50 ms", "p99", "max", "after the ramp: accepted/s", "completed/s", "of the capacity", "started late p99 ms"}}
	for _, x := range r.measured(kindOverload) {
		f := x.Flooded
		if f == nil {
			continue
		}
		part := "-"
		if r.Capacity > 0 {
			part = whole(100*f.Completed/r.Capacity) + " %"
		}
		t = append(t, []string{whole(x.Offered), one(f.Seconds), strconv.Itoa(f.Cap), strconv.Itoa(x.Accepted), list(x.Errors), one(x.Accept.P50), one(x.Accept.P99), one(x.Accept.Max),
			one(f.Accepted), one(f.Completed), part, one(x.Lag.P99)})
	}
	return section{"An overload", t, "More than can be completed, to one account that may have so many messages (the cap) on their way: what is over it is refused. Started late: by the bench, when all its connections waited."}
}
