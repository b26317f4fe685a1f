package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
)

// report is all of a run.
type report struct {
	Setting setting   `json:"setting"`
	Phases  []*result `json:"phases"`
	Skipped []float64 `json:"rates_skipped"` // above one that was not held
	Forged  int       `json:"bad_signatures"`

	Floor    []floorRound `json:"floor,omitempty"`
	Rounds   []float64    `json:"capacity_rounds,omitempty"`     // completed a second
	Capacity float64      `json:"capacity_per_second,omitempty"` // their median
	Replicas *replicas    `json:"gateways,omitempty"`            // nil: not compared
	Soak     *soak        `json:"soak,omitempty"`                // nil: there was none
	Campaign *campaign    `json:"campaign,omitempty"`            // nil: there was none
	Targets  []aim        `json:"targets"`
	Extras   []any        `json:"extras,omitempty"`

	further []section // of the extras
}

// What the design asks of two cores with everything on them.
const (
	wantedAccepts   = 2000 // a second, in the burst
	wantedCompletes = 100  // a second
	wantedSubmits   = 500  // answered a second, over one SMPP bind of window 100
	wantedAnswer    = 100  // milliseconds of its 99th percentile
)

// write prints the report and makes the files that were asked for.
func (r *report) write(out io.Writer, o options) error {
	r.Targets = r.aims()
	r.text(out)
	files := map[string][]byte{}
	body, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	body = append(body, '\n')
	if o.JSON != "" {
		files[o.JSON] = body
	}
	if o.Markdown != "" {
		files[o.Markdown] = []byte(r.markdown())
	}
	if o.Report != "" {
		if err := os.MkdirAll(filepath.Dir(o.Report), 0o755); err != nil {
			return err
		}
		var plots []string
		for _, p := range r.plots() {
			name := o.Report + "-" + p.name + ".svg"
			files[name] = p.svg()
			plots = append(plots, fmt.Sprintf("![%s](%s)", p.title, filepath.Base(name)))
		}
		files[o.Report+".json"], files[o.Report+".md"] = body, []byte(r.markdown(plots...))
	}
	var errs []error
	for name, body := range files {
		errs = append(errs, os.WriteFile(name, body, 0o644))
	}
	return errors.Join(errs...)
}

// verdict is an error if a message was lost, doubled, or not told of, or if an
// answer over SMPP had no id of its own, or one of which the journal knows
// nothing. Speed is reported, not judged: the machine may be busy.
func (r *report) verdict() error {
	var lost, doubled, missing int
	for _, x := range r.Phases {
		lost, doubled, missing = lost+x.Lost, doubled+x.Doubled, missing+x.Missing
		if k := x.Kept; k != nil && !k.whole() {
			return fmt.Errorf("%s: of %d answers %d have an id of their own, and %d are in the journal", x.Name, k.Answers, k.Distinct, k.Found)
		}
	}
	if r.Campaign != nil {
		if err := r.Campaign.fault(); err != nil {
			return err
		}
	}
	if lost+doubled+missing+r.Forged == 0 {
		return nil
	}
	return fmt.Errorf("%d lost, %d doubled, %d webhooks missing, %d badly signed", lost, doubled, missing, r.Forged)
}

// table is rows of cells; the first row is the head.
type table [][]string

func (t table) text(out io.Writer) {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', tabwriter.AlignRight)
	for _, row := range t {
		fmt.Fprintln(w, strings.Join(row, "\t")+"\t")
	}
	_ = w.Flush()
}

func (t table) markdown() string {
	var b strings.Builder
	for i, row := range t {
		b.WriteString("| " + strings.Join(row, " | ") + " |\n")
		if i == 0 {
			b.WriteString("|---" + strings.Repeat("|---:", len(row)-1) + "|\n")
		}
	}
	return b.String()
}

// section is a table with what it says.
type section struct {
	title string
	table table
	note  string
}

func (r *report) text(out io.Writer) {
	fmt.Fprintf(out, "\n%s\n", r.Setting.text())
	for _, s := range r.sections() {
		fmt.Fprintf(out, "\n%s\n", s.title)
		s.table.text(out)
		if s.note != "" {
			fmt.Fprintln(out, s.note)
		}
	}
}

// markdown is the report with pictures, given as Markdown, before its tables.
func (r *report) markdown(pictures ...string) string {
	var b strings.Builder
	b.WriteString(r.Setting.text() + "\n")
	for _, picture := range pictures {
		b.WriteString("\n" + picture + "\n")
	}
	for _, s := range r.sections() {
		fmt.Fprintf(&b, "\n**%s**\n\n%s", s.title, s.table.markdown())
		if s.note != "" {
			b.WriteString("\n" + s.note + "\n")
		}
	}
	return b.String()
}

func (s setting) text() string {
	commit := s.Commit[:min(12, len(s.Commit))]
	if s.Dirty {
		commit += " with changes"
	}
	return fmt.Sprintf("%s, commit %s, `%s`, %s.\nEverything on one machine of %d cores (%s, %s), %.1f GB memory; %s, where keeping 8 kB takes %.2f ms. Postgres: %s.",
		s.Date.Format("2006-01-02 15:04 MST"), commit, s.Command, s.Go, s.Cores, s.CPU, s.System, float64(s.Memory)/(1<<30), s.Disk, s.Sync, s.Postgres)
}

func (r *report) sections() []section {
	all := []section{r.targets(), r.floor(), r.latency(), r.accepts(), r.steady(), r.floods(), r.smpp(), r.gateways(), r.backlog(), r.soak(), r.overload(), r.campaign()}
	all = slices.Concat(all, r.further, []section{r.cost(), r.written(), r.memory(), r.fates(), r.errors()})
	return slices.DeleteFunc(all, func(s section) bool { return len(s.table) < 2 })
}

// measured are the phases of a kind, without the warm-up.
func (r *report) measured(kinds ...string) []*result {
	var list []*result
	for _, x := range r.Phases {
		if slices.Contains(kinds, x.Kind) && x.Name != warmUp {
			list = append(list, x)
		}
	}
	return list
}

func (r *report) steady() section {
	t := table{{"offered/s", "completed/s", "held", "accept p50 ms", "p95", "p99", "max", "end to end p50 ms", "p95", "p99", "max", "backlog", "started late p99 ms"}}
	for _, x := range r.measured("open") {
		t = append(t, []string{fmt.Sprintf("%g", x.Offered), one(x.CompleteRate), yes(x.Held), one(x.Accept.P50), one(x.Accept.P95), one(x.Accept.P99), one(x.Accept.Max),
			whole(x.EndToEnd.P50), whole(x.EndToEnd.P95), whole(x.EndToEnd.P99), whole(x.EndToEnd.Max), fmt.Sprint(x.Backlog), one(x.Lag.P99)})
	}
	note := "Open loop. Accept: from the scheduled time to the 202; end to end: from the scheduled time to the webhook of the delivery. Backlog: due and not delivered at the end of the schedule."
	if len(r.Skipped) > 0 {
		list := rateList(r.Skipped)
		note += " Left out above a rate that was not held: " + list.String() + "."
	}
	return section{"Steady load", t, note}
}

func (r *report) floods() section {
	t := table{{"phase", "messages", "connections", "accepted/s", "accept p50 ms", "p95", "p99", "max", "completed/s", "all delivered after s", "errors"}}
	note := "As fast as answers come. Completed/s: from the 10th to the 90th of a hundred deliveries."
	for _, x := range r.measured("closed") {
		end := "not all"
		if x.Drained {
			end = one(x.AcceptSeconds + x.DrainSeconds)
		}
		t = append(t, []string{x.Name, fmt.Sprint(x.Sent), fmt.Sprint(x.Connections), whole(x.AcceptRate), one(x.Accept.P50), one(x.Accept.P95), one(x.Accept.P99), one(x.Accept.Max),
			one(x.CompleteRate), end, fmt.Sprint(sum(x.Errors))})
		if x.Name == burst {
			note += fmt.Sprintf(" Wanted: %d accepted/s in the burst (%s), %d completed/s (%s).", wantedAccepts, reached(x.AcceptRate >= wantedAccepts), wantedCompletes, reached(x.CompleteRate >= wantedCompletes))
		}
	}
	return section{"Floods", t, note}
}

// smpp tells of the phases over SMPP.
func (r *report) smpp() section {
	t := table{{"phase", "messages", "window", "answered/s", "answer p50 ms", "p95", "p99", "max", "answers", "distinct ids", "in the journal", "all receipts after s", "errors"}}
	note := "One transceiver, as fast as its window allows. Answer: from a free place in the window to submit_sm_resp. In the journal: found by query_sm under the id that was answered, when all was over."
	for _, x := range r.measured("closed") {
		if x.Kept == nil {
			continue
		}
		end := "not all"
		if x.Drained {
			end = one(x.AcceptSeconds + x.DrainSeconds)
		}
		t = append(t, []string{x.Name, fmt.Sprint(x.Sent), fmt.Sprint(x.Kept.Window), whole(x.AcceptRate), one(x.Accept.P50), one(x.Accept.P95), one(x.Accept.P99), one(x.Accept.Max),
			fmt.Sprint(x.Kept.Answers), fmt.Sprint(x.Kept.Distinct), fmt.Sprint(x.Kept.Found), end, fmt.Sprint(sum(x.Errors))})
		note += fmt.Sprintf(" Wanted: %d answered/s (%s), p99 below %d ms (%s).", wantedSubmits, reached(x.AcceptRate >= wantedSubmits), wantedAnswer, reached(x.Accept.P99 < wantedAnswer))
	}
	return section{"Over SMPP", t, note}
}

// cost tells CPU time by part.
func (r *report) cost() section {
	t := table{append(append([]string{"CPU-ms a message"}, parts...), "all", "cores of others", "Temporal writes")}
	row := func(name string, x *result, u usage, writes float64) {
		if len(u.CPU) == 0 {
			return
		}
		cells, all := []string{name}, 0.0
		for _, part := range parts {
			ms := x.perMessage(u, part)
			all += ms
			cells = append(cells, two(ms))
		}
		said := "-"
		if writes > 0 {
			said = two(writes)
		}
		t = append(t, append(cells, two(all), two(u.Others), said))
	}
	for _, x := range r.measured("open", "closed", "accept", kindAway, kindOverload) {
		if x.Kind != "open" {
			row(x.Name+", acceptance alone", x, x.AcceptUse, 0)
		}
		row(x.Name, x, x.Use, x.TemporalWrites)
	}
	note := "To each phase's last delivery. Cores of others: kept busy by other programs or taken by the host meanwhile."
	for _, x := range r.measured("idle") {
		if len(x.Use.CPU) > 0 && x.Use.Seconds > 0 {
			var said []string
			for _, part := range parts {
				said = append(said, fmt.Sprintf("%s %.1f %%", part, x.Use.CPU[part]/x.Use.Seconds*100))
			}
			note += " Idle, of one core: " + strings.Join(said, ", ") + "."
		}
	}
	return section{"Cost", t, note}
}

func (r *report) memory() section {
	t := table{append([]string{"most memory, MB"}, parts...)}
	for _, x := range r.measured("idle", "open", "closed", "accept", kindAway, kindOverload) {
		if len(x.Use.Memory) == 0 {
			continue
		}
		cells := []string{x.Name}
		for _, part := range parts {
			cells = append(cells, fmt.Sprintf("%.0f", float64(x.Use.Memory[part])/(1<<20)))
		}
		t = append(t, cells)
	}
	return section{"Memory", t, "Resident; what Postgres's processes share is counted once."}
}

func (r *report) fates() section {
	t := table{{"phase", "accepted", "delivered", "ended otherwise", "lost", "doubled", "webhooks missing", "webhooks repeated"}}
	for _, x := range r.Phases {
		if x.Kind == "idle" {
			continue
		}
		t = append(t, []string{x.Name, fmt.Sprint(x.Accepted), fmt.Sprint(x.Delivered), list(x.Otherwise), fmt.Sprint(x.Lost), fmt.Sprint(x.Doubled), fmt.Sprint(x.Missing), fmt.Sprint(x.Repeated)})
	}
	return section{"What became of them", t, "Lost: accepted, and the simulator never saw it. Doubled: submitted more than once."}
}

func (r *report) errors() section {
	t := table{{"phase", "errors"}}
	for _, x := range r.Phases {
		if len(x.Errors) > 0 {
			t = append(t, []string{x.Name, list(x.Errors)})
		}
	}
	return section{"Errors", t, ""}
}

// list names counts, the keys in order; "0" for none.
func list(counts map[string]int) string {
	var words []string
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		words = append(words, fmt.Sprintf("%s %d", name, counts[name]))
	}
	if len(words) == 0 {
		return "0"
	}
	return strings.Join(words, ", ")
}

func sum(counts map[string]int) int {
	n := 0
	for _, c := range counts {
		n += c
	}
	return n
}

func one(v float64) string   { return fmt.Sprintf("%.1f", v) }
func two(v float64) string   { return fmt.Sprintf("%.2f", v) }
func whole(v float64) string { return fmt.Sprintf("%.0f", v) }

func yes(v bool) string {
	if v {
		return "yes"
	}
	return "no"
}

func reached(v bool) string {
	if v {
		return "reached"
	}
	return "not reached"
}
