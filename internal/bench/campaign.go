package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// campaign is what one account's campaign does to another account's messages, which
// go to the same vendor. The vendor takes fewer parts a second than the campaign
// brings, so nearly all of it waits; the run ends before it is over.
type campaign struct {
	Class      message.Class `json:"class"`
	Throughput int           `json:"vendor_parts_per_second"`
	Seconds    float64       `json:"seconds"` // from the campaign's first message to the end

	Sent       int            `json:"sent"`
	Accepted   int            `json:"accepted"`
	AcceptRate float64        `json:"accepted_per_second"`
	Errors     map[string]int `json:"errors"`
	Arrived    int            `json:"arrived"` // of the campaign at the vendor
	Waiting    int            `json:"waiting"` // of it at the end
	Doubled    int            `json:"doubled"` // submits beyond one of each, of anything

	Rate  float64 `json:"arrived_per_second"`          // of the campaign, after its first ten seconds
	Least int     `json:"least_arrived_in_10_seconds"` // of everything
	Most  int     `json:"most_arrived_in_a_second"`    // of everything

	Delays []delay `json:"delays"`
	Use    usage   `json:"use"` // while it waits
}

// delay is how long messages of the other account took to the vendor.
type delay struct {
	Stage   string        `json:"stage"`
	Class   message.Class `json:"class"`
	Took    quantiles     `json:"took"` // due → at the vendor
	Refused int           `json:"refused"`
	Missing int           `json:"missing"` // accepted, and never at the vendor
}

// The stages of a campaign.
const (
	stageCalm    = "before it"
	stageAccept  = "while it is accepted"
	stageWaiting = "while it waits"
)

var stages = []string{stageCalm, stageAccept, stageWaiting}

// probeClasses are what the other account sends.
var probeClasses = []message.Class{message.ClassOTP, message.ClassConversation}

// rampSeconds are left out of the campaign's rate: its first messages find a vendor
// with nothing to do.
const rampSeconds = 10

// probes are the other account's messages of one class.
type probes struct {
	class message.Class
	of    span
}

// campaigner runs one campaign.
type campaigner struct {
	*runner
	o      *options
	sim    *simulator
	bulk   *load
	others map[message.Class]*load
}

// probeCount is how many messages of a class the other account sends.
func (o *options) probeCount() int { return arrivals(o.ProbeRate, o.CampaignCalm+o.CampaignFor) }

// run measures, and returns when the other account's messages have ended.
func (c *campaigner) run(ctx context.Context) (*campaign, error) {
	fmt.Fprintf(c.out, "campaign: %d messages, and the vendor takes %d parts a second\n", c.o.Campaign, c.o.CampaignRate)
	x := &campaign{Class: message.Class(c.o.CampaignClass), Throughput: c.o.CampaignRate, Sent: c.o.Campaign}
	began := c.records.now()
	whole, stop := context.WithTimeout(ctx, c.o.CampaignCalm+c.o.CampaignFor)
	defer stop()
	var sent []probes
	var sending sync.WaitGroup
	for _, class := range probeClasses {
		p := probes{class, c.take(c.o.probeCount())}
		sent = append(sent, p)
		sending.Go(func() {
			c.others[class].open(ctx, p.of, evenly(c.o.probeCount(), c.o.ProbeRate), c.others[class].links)
		})
	}
	pause(whole, c.o.CampaignCalm)
	flood := c.take(c.o.Campaign)
	first := c.records.now()
	x.Errors = c.bulk.closed(whole, flood, c.bulk.links)
	accepted := c.records.now()
	fmt.Fprintf(c.out, "  accepted %d in %.1f s\n", flood.count().accepted, time.Duration(accepted-first).Seconds())
	w := c.meter.watch(whole)
	<-whole.Done()
	end := c.records.now()
	x.Use = w.stop()
	sending.Wait()
	for _, p := range sent {
		c.drain(ctx, p.of)
	}
	quiet, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestTimeout)
	defer cancel()
	arrivals, err := c.sim.arrivals(quiet, c.load.numbers, c.records)
	if err != nil {
		return nil, err
	}
	x.tell(flood, arrivals, first, accepted, end)
	for _, stage := range stages {
		for _, p := range sent {
			x.Delays = append(x.Delays, delayIn(stage, p, arrivals, began, first, accepted, end))
		}
	}
	for _, d := range x.Delays {
		fmt.Fprintf(c.out, "  %s %s: p50 %.0f ms, max %.0f ms\n", d.Class, d.Stage, d.Took.P50, d.Took.Max)
	}
	return x, nil
}

// tell fills in what became of the campaign, in times of the run.
func (x *campaign) tell(flood span, arrived map[int]arrival, first, accepted, end int64) {
	x.Seconds = time.Duration(end - first).Seconds()
	x.Accepted = flood.count().accepted
	if took := time.Duration(accepted - first).Seconds(); took > 0 {
		x.AcceptRate = float64(x.Accepted) / took
	}
	ramp := first + int64(rampSeconds*time.Second)
	steady := 0
	var all []int64
	for i, a := range arrived {
		x.Doubled += a.count - 1
		if a.at < first || a.at > end {
			continue
		}
		all = append(all, a.at)
		if i < flood.first || i >= flood.last {
			continue
		}
		x.Arrived++
		if a.at >= ramp {
			steady++
		}
	}
	x.Waiting = x.Accepted - x.Arrived
	if took := time.Duration(end - ramp).Seconds(); took > 0 {
		x.Rate = float64(steady) / took
	}
	slices.Sort(all)
	_, x.Most = extremes(all, int64(time.Second), first, end)
	x.Least, _ = extremes(all, int64(10*time.Second), ramp, end)
}

// extremes are the least and the most of sorted times in a window that slides from
// one moment to another.
func extremes(at []int64, window, from, to int64) (least, most int) {
	if to-from < window {
		return len(at), len(at)
	}
	least = len(at)
	count := func(a int64) int {
		low, _ := slices.BinarySearch(at, a)
		high, _ := slices.BinarySearch(at, a+window)
		return high - low
	}
	for a := from; a+window <= to; a += window / 10 {
		least = min(least, count(a))
	}
	for _, a := range at {
		if a >= from && a+window <= to {
			most = max(most, count(a))
		}
	}
	return least, most
}

// delayIn is what became of the messages that were due in a stage.
func delayIn(stage string, p probes, arrived map[int]arrival, began, first, accepted, end int64) delay {
	from, to := began, first
	switch stage {
	case stageAccept:
		from, to = first, accepted
	case stageWaiting:
		from, to = accepted, end
	}
	d := delay{Stage: stage, Class: p.class}
	var took []time.Duration
	for i := p.of.first; i < p.of.last; i++ {
		m := &p.of.records.list[i]
		due := m.due.Load()
		a, there := arrived[i]
		switch {
		case due == 0 || due < from || due >= to:
		case there:
			took = append(took, time.Duration(a.at-due))
		case m.answered.Load() == 0:
			d.Refused++
		default:
			d.Missing++
		}
	}
	d.Took = quantilesOf(took)
	return d
}

// The most that a one-time password may take to the vendor while another account's
// campaign waits.
const wantedDelay = 2000 // milliseconds

// fault is an error if a message of the other account was lost, or one submitted
// twice. Delays are reported, not judged.
func (x *campaign) fault() error {
	missing := 0
	for _, d := range x.Delays {
		missing += d.Missing
	}
	if missing+x.Doubled == 0 {
		return nil
	}
	return fmt.Errorf("campaign: %d messages of the other account never arrived, %d submits were repeated", missing, x.Doubled)
}

func (r *report) campaign() section {
	x := r.Campaign
	if x == nil {
		return section{}
	}
	t := table{{"other account", "when", "messages", "to the vendor p50 ms", "p95", "p99", "max", "refused", "missing"}}
	worst := 0.0
	for _, d := range x.Delays {
		t = append(t, []string{string(d.Class), d.Stage, fmt.Sprint(d.Took.Count + d.Refused + d.Missing), whole(d.Took.P50), whole(d.Took.P95), whole(d.Took.P99), whole(d.Took.Max),
			fmt.Sprint(d.Refused), fmt.Sprint(d.Missing)})
		if d.Class == message.ClassOTP {
			worst = max(worst, d.Took.Max)
		}
	}
	note := fmt.Sprintf("Another account's campaign of %d messages (class %s): %d accepted at %.0f/s, and the vendor takes %d parts a second. After %.0f s %d had arrived, %.1f a second after the first %d s, and %d waited. Of everything, at most %d arrived within a second and at least %d within ten.",
		x.Sent, x.Class, x.Accepted, x.AcceptRate, x.Throughput, x.Seconds, x.Arrived, x.Rate, rampSeconds, x.Waiting, x.Most, x.Least)
	if len(x.Use.Memory) > 0 {
		note += " Most memory while it waited:"
		for i, part := range parts {
			if i > 0 {
				note += ","
			}
			note += fmt.Sprintf(" %s %.0f MB", part, float64(x.Use.Memory[part])/(1<<20))
		}
		note += fmt.Sprintf("; cores of others: %.2f.", x.Use.Others)
	}
	note += fmt.Sprintf(" To the vendor: from the scheduled time to the simulator. Wanted: below %d ms for one-time passwords (%s).", wantedDelay, reached(worst < wantedDelay))
	return section{"A campaign in the way", t, note}
}
