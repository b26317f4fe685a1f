package main

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"
)

// plan is one run through all phases.
type plan struct {
	*runner
	o      options
	t      *target
	sim    *simulator
	api    *api
	report *report
	esme   *esme // nil until a phase needs it
}

// phases runs those that were asked for, in an order in which the small come
// before those that fill the databases. An interrupt leaves out the rest.
func (p *plan) phases(ctx context.Context) error {
	defer func() {
		if p.esme != nil {
			p.esme.session.Close()
		}
	}()
	if due := p.draw(p.o.WarmUpRate, p.o.WarmUp); len(due) > 0 {
		p.steady(ctx, warmUp, p.o.WarmUpRate, due, p.o.Connections)
	}
	for _, step := range []func(context.Context) error{p.rest, p.capacities, p.ladder, p.shares, p.accept, p.floods, p.gateways, p.further, p.backlog, p.soak, p.overload, p.campaign} {
		if ctx.Err() != nil {
			return nil
		}
		if err := step(ctx); err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

// draw makes the arrivals of a steady load.
func (p *plan) draw(rate float64, d time.Duration) schedule {
	if p.o.Even {
		return evenly(arrivals(rate, d), rate)
	}
	return randomly(arrivals(rate, d), rate, p.o.Seed)
}

// rest measures the stack that nobody uses.
func (p *plan) rest(ctx context.Context) error {
	if p.o.Idle > 0 {
		p.idle(ctx, p.o.Idle)
	}
	return nil
}

// capacities floods in rounds, with bare workflows before, between and after
// them: what the machine does to one it does to the other.
func (p *plan) capacities(ctx context.Context) error {
	if p.o.Floor > 0 {
		f, err := p.openFloor(ctx)
		if err != nil {
			return err
		}
		defer f.close()
		if err := f.round(ctx, p.o.Floor); err != nil {
			return err
		}
		return p.capacityRounds(ctx, func() error { return f.round(ctx, p.o.Floor) })
	}
	return p.capacityRounds(ctx, func() error { return nil })
}

func (p *plan) capacityRounds(ctx context.Context, between func() error) error {
	if p.o.Capacity == 0 {
		return nil
	}
	for i := range p.o.Rounds {
		if ctx.Err() != nil {
			break
		}
		name := capacity
		if p.o.Rounds > 1 {
			name = fmt.Sprintf("%s, %d of %d", capacity, i+1, p.o.Rounds)
		}
		x := p.flood(ctx, name, p.o.Capacity, p.o.BurstConns)
		p.report.Rounds = append(p.report.Rounds, x.CompleteRate)
		if err := between(); err != nil {
			return err
		}
	}
	p.report.Capacity = median(p.report.Rounds)
	return nil
}

// median is the middle of the values, or of the two in the middle; 0 for none.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}

// ladder offers the steady rates, up to one that is not held.
func (p *plan) ladder(ctx context.Context) error {
	for i, rate := range p.o.Rates {
		if ctx.Err() != nil {
			break
		}
		if x := p.steady(ctx, fmt.Sprintf("steady %g/s", rate), rate, p.draw(rate, p.o.SteadyFor), p.o.Connections); !x.Held {
			p.report.Skipped = p.o.Rates[i+1:]
			break
		}
	}
	return nil
}

// shares offers parts of the capacity, all of them: what happens at the limit is
// what is asked.
func (p *plan) shares(ctx context.Context) error {
	for _, share := range p.o.Shares {
		rate := math.Round(10*share/100*min(p.report.Capacity, fastest)) / 10
		if arrivals(rate, p.o.SteadyFor) == 0 || ctx.Err() != nil {
			break
		}
		x := p.steady(ctx, fmt.Sprintf("%g %% of capacity", share), rate, p.draw(rate, p.o.SteadyFor), p.o.Connections)
		x.Share = share
	}
	return nil
}

// acceptDrain bounds how long what an offer to acceptance leaves behind may take: on a
// slow machine less is offered.
const acceptDrain = 100 * time.Second

// accept offers more than can be completed, for as long as acceptance takes to
// show what it does.
func (p *plan) accept(ctx context.Context) error {
	d := p.o.AcceptFor
	if p.report.Capacity > 0 {
		d = min(d, time.Duration(p.report.Capacity/p.o.AcceptRate*float64(acceptDrain)))
	}
	due := p.draw(p.o.AcceptRate, d)
	if len(due) == 0 {
		return nil
	}
	if p.o.AcceptOver != "smpp" {
		p.offer(ctx, "REST, keep-alive", p.o.AcceptRate, due, p.load.over(p.o.Connections))
	}
	if ctx.Err() != nil || p.o.AcceptOver == "rest" {
		return nil
	}
	e, err := p.bound(ctx)
	if err != nil {
		return err
	}
	x := p.offer(ctx, fmt.Sprintf("SMPP, one bind, window %d", p.o.SMPPWindow), p.o.AcceptRate, due, e.posters(p.o.SMPPWindow))
	p.look(ctx, x)
	return nil
}

// bound is the ESME of the phases over SMPP.
func (p *plan) bound(ctx context.Context) (*esme, error) {
	if p.esme == nil {
		e, err := bindESME(ctx, p.t, p.records, p.o.SMPPWindow)
		if err != nil {
			return nil, err
		}
		p.esme = e
	}
	return p.esme, nil
}

// look asks the journal for what was answered over SMPP.
func (p *plan) look(ctx context.Context, x *result) {
	if x.Kept = p.esme.look(ctx, p.o.SMPPWindow); !x.Kept.whole() {
		fmt.Fprintf(p.out, "  of %d answers %d have an id of their own, and %d are in the journal\n", x.Kept.Answers, x.Kept.Distinct, x.Kept.Found)
	}
}

// floods sends as fast as answers come.
func (p *plan) floods(ctx context.Context) error {
	if p.o.Burst > 0 {
		p.flood(ctx, burst, p.o.Burst, p.o.BurstConns)
	}
	if p.o.SMPP == 0 || ctx.Err() != nil {
		return nil
	}
	e, err := p.bound(ctx)
	if err != nil {
		return err
	}
	x := p.floodOver(ctx, fmt.Sprintf("SMPP, window %d", p.o.SMPPWindow), p.o.SMPP, 1, e.posters(p.o.SMPPWindow))
	p.look(ctx, x)
	return nil
}

// further runs what other files bring along.
func (p *plan) further(ctx context.Context) error {
	for _, e := range extras {
		if ctx.Err() != nil {
			return nil
		}
		s, kept, err := e.run(ctx, p.runner)
		if err != nil {
			return err
		}
		if kept != nil {
			p.report.Extras = append(p.report.Extras, kept)
		}
		p.report.further = append(p.report.further, s)
	}
	return nil
}

// campaign measures what one account's campaign does to another account.
func (p *plan) campaign(ctx context.Context) (err error) {
	if p.o.Campaign > 0 {
		p.report.Campaign, err = campaignOf(ctx, p.o, p.t, p.runner, p.sim, p.api)
	}
	return err
}
