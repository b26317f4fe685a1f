package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"time"
)

// result is what one phase came to. CPU and memory cover all of it, to the last
// message's end.
type result struct {
	Name        string         `json:"name"`
	Kind        string         `json:"kind"`               // idle, open, closed, accept, away or overload
	Offered     float64        `json:"offered_per_second"` // open, accept, overload: the schedule's rate
	Share       float64        `json:"share,omitempty"`    // open: of the capacity, per cent
	Connections int            `json:"connections"`
	Sent        int            `json:"sent"`
	Accepted    int            `json:"accepted"`
	Errors      map[string]int `json:"errors"` // answers other than 202, and none, by kind

	AcceptSeconds  float64   `json:"accept_seconds"`
	AcceptRate     float64   `json:"accepted_per_second"`
	Accept         quantiles `json:"accept"`     // due → 202
	EndToEnd       quantiles `json:"end_to_end"` // due → webhook of the end
	Lag            quantiles `json:"late_start"` // due → sent
	Ask            quantiles `json:"ask"`        // sent → 202
	Meanwhile      int       `json:"meanwhile"`  // at the vendor when the last 202 was there
	CompleteRate   float64   `json:"completed_per_second"`
	Backlog        int       `json:"backlog"`         // due and not ended when the last was due
	DrainSeconds   float64   `json:"drain_seconds"`   // from then to the last end
	Held           bool      `json:"held"`            // open: the backlog was below a second's arrivals, no errors
	Drained        bool      `json:"drained"`         // all ended in time
	TemporalWrites float64   `json:"temporal_writes"` // per message; 0: not known
	Use            usage     `json:"use"`
	AcceptUse      usage     `json:"accept_use"`              // not open: until the last 202 alone
	Kept           *kept     `json:"kept,omitempty"`          // over SMPP: what became of the answers
	FirstSeconds   float64   `json:"first_seconds,omitempty"` // away: from the vendor's return to the first end
	Flooded        *flooded  `json:"overload,omitempty"`

	// Filled in at the end of the run.
	Delivered int            `json:"delivered"`
	Otherwise map[string]int `json:"ended_otherwise"` // by status
	Missing   int            `json:"webhooks_missing"`
	Repeated  int            `json:"webhooks_repeated"`
	Lost      int            `json:"lost"`    // accepted, not at the simulator
	Doubled   int            `json:"doubled"` // submits beyond one of each
	Unasked   int            `json:"unanswered_but_submitted"`
	ToVendor  quantiles      `json:"to_vendor"` // due → at the vendor
	Order     *disorder      `json:"order,omitempty"`

	of span
}

// Names of phases that the report treats apart.
const (
	warmUp   = "warm-up"
	capacity = "capacity"
	burst    = "burst"
)

// runner goes through the phases.
type runner struct {
	load     *load
	records  *records
	meter    meter
	counter  string        // of temporald; empty: none
	log      *walLog       // of Postgres; nil: not known
	patience time.Duration // without any message ending, after which a backlog is given up
	out      io.Writer
	used     int // records that phases have
	results  []*result
}

// take gives a phase its messages.
func (r *runner) take(n int) span {
	s := span{records: r.records, first: r.used, last: r.used + n}
	r.used += n
	return s
}

// idle measures what the stack takes when nobody uses it.
func (r *runner) idle(ctx context.Context, d time.Duration) {
	fmt.Fprintf(r.out, "idle for %s\n", d)
	w := r.meter.watch(ctx)
	pause(ctx, d)
	r.results = append(r.results, &result{Name: "idle", Kind: "idle", Drained: true, Use: w.stop(), of: r.take(0)})
}

// steady offers a rate for a while, then waits until all have ended.
func (r *runner) steady(ctx context.Context, name string, rate float64, due schedule, connections int) *result {
	fmt.Fprintf(r.out, "%s: %d messages at %.0f/s\n", name, len(due), rate)
	x := &result{Name: name, Kind: "open", Offered: rate, Connections: connections, Sent: len(due), of: r.take(len(due))}
	r.results = append(r.results, x)
	w, before := r.begin(ctx)
	began := r.records.now()
	window := time.Duration(float64(len(due)) / rate * float64(time.Second))
	closing := make(chan int, 1) // how many had not ended when the last was due
	timer := time.AfterFunc(window, func() { closing <- x.of.unended() })
	x.Errors = r.load.open(ctx, x.of, due, r.load.over(connections))
	select {
	case x.Backlog = <-closing:
	case <-ctx.Done():
		timer.Stop()
	}
	x.AcceptSeconds = x.of.sinceBegin(began).Seconds()
	ended := 0
	for _, at := range x.of.ends() {
		if int64(at)-began <= int64(window) {
			ended++
		}
	}
	x.CompleteRate = float64(ended) / window.Seconds()
	r.finish(ctx, x, w, before, began+int64(window))
	x.Held = x.Drained && len(x.Errors) == 0 && float64(x.Backlog) <= math.Max(rate, 1)
	fmt.Fprintf(r.out, "  completed %.1f/s, backlog %d, accept p99 %.1f ms, end to end p99 %.0f ms\n", x.CompleteRate, x.Backlog, x.Accept.P99, x.EndToEnd.P99)
	return x
}

// flood sends as fast as answers come, then waits until all have ended.
func (r *runner) flood(ctx context.Context, name string, n, connections int) *result {
	return r.floodOver(ctx, name, n, connections, r.load.over(connections))
}

func (r *runner) floodOver(ctx context.Context, name string, n, connections int, over []poster) *result {
	fmt.Fprintf(r.out, "%s: %d messages, connections: %d\n", name, n, connections)
	x := &result{Name: name, Kind: "closed", Connections: connections, Sent: n, of: r.take(n)}
	return r.pour(ctx, x, func() { x.Errors = r.load.closed(ctx, x.of, over) })
}

// offer puts a rate to acceptance for a while, then waits until all have ended.
func (r *runner) offer(ctx context.Context, name string, rate float64, due schedule, over []poster) *result {
	fmt.Fprintf(r.out, "%s: %d messages at %.0f/s\n", name, len(due), rate)
	x := &result{Name: name, Kind: "accept", Offered: rate, Connections: len(over), Sent: len(due), of: r.take(len(due))}
	return r.pour(ctx, x, func() { x.Errors = r.load.open(ctx, x.of, due, over) })
}

// pour sends, and waits for the ends.
func (r *runner) pour(ctx context.Context, x *result, send func()) *result {
	r.results = append(r.results, x)
	w, before := r.begin(ctx)
	began := r.records.now()
	send()
	x.AcceptUse = w.soFar()
	x.AcceptSeconds = x.of.sinceBegin(began).Seconds()
	x.Backlog = x.of.waiting()
	accepted := x.of.count().accepted
	fmt.Fprintf(r.out, "  accepted %d in %.1f s\n", accepted, x.AcceptSeconds)
	r.finish(ctx, x, w, before, r.records.now())
	x.CompleteRate = middleRate(x.of.ends())
	fmt.Fprintf(r.out, "  completed %.1f/s, all after %.1f s\n", x.CompleteRate, x.AcceptSeconds+x.DrainSeconds)
	return x
}

// marks are what the servers have counted so far; 0: not known.
type marks struct{ writes, log int64 }

func (r *runner) marks(ctx context.Context) marks {
	writes, _ := temporalWrites(ctx, r.counter)
	return marks{writes: writes, log: r.log.octets(ctx)}
}

func (r *runner) begin(ctx context.Context) (*watch, marks) {
	if !r.meter.quiet(ctx) && ctx.Err() == nil {
		fmt.Fprintf(r.out, "  the stack is not at rest after %s: what it still does is measured among what follows\n", quietMost)
	}
	before := r.marks(ctx)
	return r.meter.watch(ctx), before
}

// finish waits for the ends and fills in what all kinds of phase tell.
func (r *runner) finish(ctx context.Context, x *result, w *watch, before marks, last int64) {
	x.Drained = r.drain(ctx, x.of)
	x.Use = w.stop()
	x.Accepted = x.of.count().accepted
	if x.AcceptSeconds > 0 {
		x.AcceptRate = float64(x.Accepted) / x.AcceptSeconds
	}
	x.Accept, x.EndToEnd, x.Lag = quantilesOf(x.of.acceptLatencies()), quantilesOf(x.of.endLatencies()), quantilesOf(x.of.lags())
	x.Ask = quantilesOf(x.of.askLatencies())
	for _, at := range x.of.ends() {
		x.DrainSeconds = max(x.DrainSeconds, (at - time.Duration(last)).Seconds())
	}
	after := r.marks(ctx)
	if after.writes > 0 && x.Accepted > 0 {
		x.TemporalWrites = float64(after.writes-before.writes) / float64(x.Accepted)
	}
	if before.log > 0 && after.log > 0 {
		x.Use.Log = after.log - before.log
	}
}

// drainLook is how often a drain looks whether all have ended.
const drainLook = 50 * time.Millisecond

// drain waits until all accepted messages have ended; false: they did not, and
// for r.patience none did.
func (r *runner) drain(ctx context.Context, s span) bool {
	tick := time.NewTicker(drainLook)
	defer tick.Stop()
	least, since := math.MaxInt, time.Now()
	for {
		n := s.waiting()
		if n == 0 {
			return true
		}
		if n < least {
			least, since = n, time.Now()
		}
		if time.Since(since) > r.patience {
			fmt.Fprintf(r.out, "  %d have not ended, and none did for %s\n", n, r.patience)
			return false
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false
		}
	}
}

// settle fills in what is known only at the end of the run.
func (r *runner) settle(arrived map[int]arrival) {
	for _, x := range r.results {
		c := x.of.count()
		x.Delivered, x.Otherwise, x.Missing, x.Repeated = c.delivered, c.others, c.accepted-c.ended, c.repeated
		x.Lost, x.Doubled, x.Unasked = x.of.fates(arrived)
		x.ToVendor = quantilesOf(x.of.vendorLatencies(arrived))
		x.Meanwhile = x.of.arrivedBy(x.of.lastAnswer(), arrived)
		if x.Kind == kindAway {
			x.Order = x.of.disorder(arrived)
		}
	}
}

// perMessage is the CPU time of a part in milliseconds for each accepted
// message.
func (x *result) perMessage(u usage, part string) float64 {
	if x.Accepted == 0 {
		return 0
	}
	return u.CPU[part] * 1000 / float64(x.Accepted)
}

// pause waits, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
