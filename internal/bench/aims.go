package main

import (
	"fmt"
	"slices"
	"strings"
)

// What the project asks of two cores that hold everything.
const (
	aimAccepts   = 4000 // a second, committed to disk
	aimAnswer    = 50   // milliseconds of acceptance's 99th percentile at that rate
	aimOfFloor   = 60   // per cent of what bare workflows reach in the same run
	aimCompletes = 150  // a second, where the floor allows it
	aimRate      = 50   // messages a second at which the next two are asked
	aimVendorP50 = 25   // milliseconds to the vendor
	aimVendorP99 = 100
	aimCPU       = 12 // CPU-ms a completed message, of gateway, Temporal and Postgres
)

// aim is one target with what this run says of it.
type aim struct {
	What     string `json:"what"`
	Wanted   string `json:"wanted"`
	Measured string `json:"measured"` // "not measured" and how, where this run has not
	Reached  *bool  `json:"reached"`  // nil: not measured
}

func said(what, wanted, measured string, ok bool) aim { return aim{what, wanted, measured, &ok} }

func unsaid(what, wanted, how string) aim { return aim{what, wanted, "not measured: " + how, nil} }

// aims says of each target whether this run reached it. Nothing fails by it.
func (r *report) aims() []aim {
	return slices.Concat(r.acceptAims(), []aim{r.floorAim(), r.completeAim()}, r.vendorAims(), []aim{r.costAim(), r.memoryAim()})
}

func (r *report) acceptAims() []aim {
	wanted := fmt.Sprintf("at least %d/s, p99 below %d ms", aimAccepts, aimAnswer)
	var list []aim
	for _, x := range r.measured("accept") {
		list = append(list, said("accepted, "+x.Name, wanted, fmt.Sprintf("%.0f/s, p99 %.1f ms, of %.0f/s offered", x.AcceptRate, x.Accept.P99, x.Offered), x.AcceptRate >= aimAccepts && x.Accept.P99 < aimAnswer))
	}
	if len(list) == 0 {
		return []aim{unsaid("accepted", wanted, "`make bench`")}
	}
	return list
}

// floorRate is the median of the bare workflows' rounds; 0: there were none.
func (r *report) floorRate(shape string) float64 {
	var rates []float64
	for _, x := range r.Floor {
		if x.Shape == shape {
			rates = append(rates, x.Rate)
		}
	}
	return median(rates)
}

func (r *report) floorAim() aim {
	const what = "completed, of what bare workflows reach"
	wanted := fmt.Sprintf("at least %d %%", aimOfFloor)
	bare, ours := r.floorRate(shapeBare), r.floorRate(shapeOurs)
	if bare == 0 || r.Capacity == 0 {
		return unsaid(what, wanted, "`make bench`")
	}
	part := 100 * r.Capacity / bare
	measured := fmt.Sprintf("%.0f %% (%.1f of %.1f/s)", part, r.Capacity, bare)
	if ours > 0 {
		measured += fmt.Sprintf("; %.0f %% of those with a message's history (%.1f/s)", 100*r.Capacity/ours, ours)
	}
	return said(what, wanted, measured, part >= aimOfFloor)
}

func (r *report) completeAim() aim {
	wanted := fmt.Sprintf("at least %d/s where the floor allows it", aimCompletes)
	if r.Capacity == 0 {
		return unsaid("completed", wanted, "`make bench`")
	}
	measured := fmt.Sprintf("%.1f/s, the median of %d", r.Capacity, len(r.Rounds))
	if bare := r.floorRate(shapeBare); bare > 0 && bare < aimCompletes*100/aimOfFloor {
		measured += fmt.Sprintf("; the floor, %.0f/s, does not allow it", bare)
	}
	return said("completed", wanted, measured, r.Capacity >= aimCompletes)
}

func (r *report) vendorAims() []aim {
	what := fmt.Sprintf("send to vendor at %d/s", aimRate)
	wanted := fmt.Sprintf("p50 below %d ms, p99 below %d ms", aimVendorP50, aimVendorP99)
	for _, x := range r.measured("open") {
		if x.Offered == aimRate && x.Share == 0 && x.ToVendor.Count > 0 {
			q := x.ToVendor
			return []aim{said(what, wanted, fmt.Sprintf("p50 %.1f ms, p99 %.1f ms", q.P50, q.P99), q.P50 < aimVendorP50 && q.P99 < aimVendorP99)}
		}
	}
	return []aim{unsaid(what, wanted, "`make bench`")}
}

// rounds are the phases of the capacity.
func (r *report) rounds() []*result {
	return slices.DeleteFunc(r.measured("closed"), func(x *result) bool { return !strings.HasPrefix(x.Name, capacity) })
}

// stackParts are the parts that a message pays for; the simulator and the bench are
// the world around.
var stackParts = []string{partGateway, partTemporal, partPostgres}

func (r *report) costAim() aim {
	const what = "CPU of a completed message (gateway, Temporal, Postgres)"
	wanted := fmt.Sprintf("at most %d ms", aimCPU)
	var all []float64
	for _, x := range r.rounds() {
		sum := 0.0
		for _, part := range stackParts {
			sum += x.perMessage(x.Use, part)
		}
		if sum > 0 {
			all = append(all, sum)
		}
	}
	if len(all) == 0 {
		return unsaid(what, wanted, "`make bench` on Linux")
	}
	ms := median(all)
	return said(what, wanted, fmt.Sprintf("%.1f ms, the median of %d", ms, len(all)), ms <= aimCPU)
}

func (r *report) memoryAim() aim {
	const what = "memory over an hour"
	if r.Soak == nil || len(r.Soak.Slopes) == 0 {
		return unsaid(what, "flat", "`make bench-soak`")
	}
	flat, words := true, []string(nil)
	for _, l := range r.Soak.Slopes {
		if slices.Contains(stackParts, l.Name) || l.Name == heapName {
			flat = flat && l.Flat
			words = append(words, fmt.Sprintf("%s %+.1f MB/h", l.Name, l.PerHour/(1<<20)))
		}
	}
	minutes := r.Soak.Samples[len(r.Soak.Samples)-1].Seconds / 60
	return said(what, "flat", fmt.Sprintf("%s, by a line through %.0f min", strings.Join(words, ", "), (1-soakSettle)*minutes), flat)
}

func (r *report) targets() section {
	t := table{{"target", "wanted", "measured", "reached"}}
	known := false
	for _, a := range r.aims() {
		answer := "-"
		if a.Reached != nil {
			answer, known = reached(*a.Reached), true
		}
		t = append(t, []string{a.What, a.Wanted, a.Measured, answer})
	}
	if !known { // a run of something else
		return section{}
	}
	return section{"Targets", t, "On 2 cores that hold everything, the bench among it."}
}

// floor tells of the bare workflows.
func (r *report) floor() section {
	t := table{{"workflows", "completed/s", "started/s", "CPU-ms each: temporald", "postgres", "bench", "all", "cores of others", "Temporal writes", "octets of log"}}
	for _, x := range r.Floor {
		each := func(v float64) float64 { return v / float64(max(x.Count, 1)) }
		all := 0.0
		cells := []string{x.Shape, one(x.Rate), one(x.Started)}
		for _, part := range []string{partTemporal, partPostgres, partBench} {
			ms := each(x.Use.CPU[part] * 1000)
			all += ms
			cells = append(cells, two(ms))
		}
		t = append(t, append(cells, two(all), two(x.Use.Others), two(x.Writes), octets(each(float64(x.Use.Log)))))
	}
	note := fmt.Sprintf("Workflows that do nothing, in the order in which they ran: before, between and after the rounds of the capacity phase. Started eagerly by as many starters as the gateway has, worked on under its worker's options, in the bench. \"%s\": with input, summary, search attributes and %d local activities, as a delivered message has. Completed/s: from the 10th to the 90th of a hundred.", shapeOurs, floorMarkers)
	if bare := r.floorRate(shapeBare); bare > 0 && r.Capacity > 0 {
		note += fmt.Sprintf(" Medians: %.1f/s bare, %.1f/s in the shape of a message, %.1f/s messages: %.0f and %.0f %%.",
			bare, r.floorRate(shapeOurs), r.Capacity, 100*r.Capacity/bare, 100*r.Capacity/max(r.floorRate(shapeOurs), 1e-9))
	}
	return section{"The floor", t, note}
}

// latency tells of steady loads how long messages took to either end.
func (r *report) latency() section {
	t := table{{"load", "offered/s", "to the vendor p50 ms", "p95", "p99", "max", "to the webhook p50 ms", "p95", "p99", "max"}}
	for _, x := range r.measured("open") {
		if x.ToVendor.Count == 0 {
			continue
		}
		row := []string{x.Name, one(x.Offered)}
		for _, q := range []quantiles{x.ToVendor, x.EndToEnd} {
			row = append(row, one(q.P50), one(q.P95), one(q.P99), one(q.Max))
		}
		t = append(t, row)
	}
	return section{"Latency", t, "From the scheduled time to the vendor's taking of the submit_sm, and to the webhook of the delivery, in which the receipt's delay at the simulator is included."}
}

// accepts tells of offers to acceptance.
func (r *report) accepts() section {
	t := table{{"over", "offered/s", "accepted/s", "accept p50 ms", "p95", "p99", "max", "started late p99 ms", "asked p50 ms", "p99", "at the vendor meanwhile", "errors", "completed/s afterwards"}}
	for _, x := range r.measured("accept") {
		t = append(t, []string{x.Name, whole(x.Offered), whole(x.AcceptRate), one(x.Accept.P50), one(x.Accept.P95), one(x.Accept.P99), one(x.Accept.Max), one(x.Lag.P99),
			one(x.Ask.P50), one(x.Ask.P99), fmt.Sprint(x.Meanwhile), fmt.Sprint(sum(x.Errors)), one(x.CompleteRate)})
	}
	return section{"Acceptance", t, "Open loop. Accept: from the scheduled time to the 202, or to submit_sm_resp, each of which comes after its commit. It has two parts: started late, " +
		"until a connection or a place of the window was free and the load had the processor, and asked, from then to the answer. A window holds what is offered " +
		"only while an answer takes less than window / offered: 22 ms for 100 at 4,500/s; what takes longer puts off all that follow. " +
		"At the vendor meanwhile: messages that had gone the whole way to it before the last was accepted."}
}

// written tells what each part gave to the disk.
func (r *report) written() section {
	t := table{append(append([]string{"octets a message"}, parts...), "all", "Postgres's log")}
	for _, x := range r.measured("open", "closed", "accept", kindAway, kindOverload) {
		if len(x.Use.Written) == 0 || x.Accepted == 0 {
			continue
		}
		cells, all := []string{x.Name}, 0.0
		for _, part := range parts {
			each := float64(x.Use.Written[part]) / float64(x.Accepted)
			all += each
			cells = append(cells, octets(each))
		}
		t = append(t, append(cells, octets(all), octets(float64(x.Use.Log)/float64(x.Accepted))))
	}
	return section{"Written", t, "Given to the disk (/proc/PID/io: write_bytes, but no more than wchar, since the kernel counts a whole folio of its cache for each piece written into one), logs of the programs among it. Postgres's log: what both databases, the journal and Temporal's, appended to it; Postgres cannot tell them apart, but bare workflows (The floor) write to Temporal's alone."}
}

// octets rounds to what can be read; "-" for none.
func octets(n float64) string {
	if n <= 0 {
		return "-"
	}
	return whole(n)
}
