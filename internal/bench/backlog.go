package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"
)

// kindAway is the kind of a phase in which the vendor is away until all is accepted.
const kindAway = "away"

// awayPatience is how long a backlog may wait for its first message to end once the
// vendor is back: links dial at longer and longer distances, a minute at most.
const awayPatience = 2 * time.Minute

// disorder tells how far from their places messages arrived: the places that they
// have by the time of their 202.
type disorder struct {
	Count    int     `json:"count"`
	P50      int     `json:"places_p50"`
	P99      int     `json:"places_p99"`
	Max      int     `json:"places_max"`
	Inverted float64 `json:"inverted_percent"` // of neighbours at the vendor: the later one was accepted earlier
}

// backlog takes the vendor away, has messages accepted, brings it back, and waits
// until the last has ended.
func (p *plan) backlog(ctx context.Context) error {
	n := p.o.Backlog
	if n == 0 {
		return nil
	}
	fmt.Fprintf(p.out, "backlog: %d messages while the vendor is away\n", n)
	if err := p.sim.leave(ctx, true); err != nil {
		return err
	}
	x := &result{Name: "backlog", Kind: kindAway, Connections: p.o.BurstConns, Sent: n, of: p.take(n)}
	p.results = append(p.results, x)
	w, before := p.begin(ctx)
	began := p.records.now()
	x.Errors = p.load.closed(ctx, x.of, p.load.over(p.o.BurstConns))
	x.AcceptUse = w.stop()
	x.AcceptSeconds = x.of.sinceBegin(began).Seconds()
	x.Backlog = x.of.waiting()
	fmt.Fprintf(p.out, "  accepted %d in %.1f s; the vendor comes back\n", x.of.count().accepted, x.AcceptSeconds)
	// Also after an interrupt: a simulator that others use must not stay away.
	if err := p.sim.leave(context.WithoutCancel(ctx), false); err != nil {
		return err
	}
	back := p.records.now()
	w = p.meter.watch(ctx)
	patience := p.patience
	p.patience = max(patience, awayPatience)
	p.finish(ctx, x, w, before, back)
	p.patience = patience
	ends := x.of.ends()
	x.CompleteRate = middleRate(ends) // sorts them
	if len(ends) > 0 {
		x.FirstSeconds = (ends[0] - time.Duration(back)).Seconds()
	}
	fmt.Fprintf(p.out, "  completed %.1f/s, all %.1f s after the vendor's return\n", x.CompleteRate, x.DrainSeconds)
	return nil
}

// disorder compares the order at the vendor with that of the answers; nil: fewer than
// two have arrived.
func (s span) disorder(arrived map[int]arrival) *disorder {
	var list []int
	for i := s.first; i < s.last; i++ {
		if arrived[i].count > 0 && s.records.list[i].answered.Load() != 0 {
			list = append(list, i)
		}
	}
	if len(list) < 2 {
		return nil
	}
	answered := func(i int) int64 { return s.records.list[i].answered.Load() }
	slices.SortFunc(list, func(a, b int) int { return cmp.Compare(answered(a), answered(b)) })
	place := make(map[int]int, len(list))
	for n, i := range list {
		place[i] = n
	}
	slices.SortStableFunc(list, func(a, b int) int { return cmp.Compare(arrived[a].at, arrived[b].at) })
	d := &disorder{Count: len(list)}
	var off []time.Duration // places, for quantile's sake
	inverted := 0
	for n, i := range list {
		off = append(off, time.Duration(max(n-place[i], place[i]-n)))
		if n > 0 && place[list[n-1]] > place[i] {
			inverted++
		}
	}
	slices.Sort(off)
	d.P50, d.P99, d.Max = int(quantile(off, 0.5)), int(quantile(off, 0.99)), int(quantile(off, 1))
	d.Inverted = 100 * float64(inverted) / float64(len(list)-1)
	return d
}

func (r *report) backlog() section {
	t := table{{"messages", "accepted/s", "accept p99 ms", "first end after s", "all ended after s", "completed/s", "places off p50", "p99", "max", "neighbours turned round"}}
	for _, x := range r.measured(kindAway) {
		end := "not all"
		if x.Drained {
			end = one(x.DrainSeconds)
		}
		cells := []string{fmt.Sprint(x.Accepted), whole(x.AcceptRate), one(x.Accept.P99), one(x.FirstSeconds), end, one(x.CompleteRate)}
		if d := x.Order; d != nil {
			cells = append(cells, fmt.Sprint(d.P50), fmt.Sprint(d.P99), fmt.Sprint(d.Max), one(d.Inverted)+" %")
		} else {
			cells = append(cells, "-", "-", "-", "-")
		}
		t = append(t, cells)
	}
	return section{"A backlog drained", t, "Accepted while the vendor was away; seconds count from its return. Completed/s: from the 10th to the 90th of a hundred deliveries. Places off: how far from its place by the time of its 202 a message came to the vendor (no order was asked for: they are of one conversation each)."}
}
