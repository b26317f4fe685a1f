package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// soakEvery is how often memory is looked at.
	soakEvery = 10 * time.Second
	// soakSettle is the part of a soak, from its beginning, that the slopes leave out:
	// caches and pools fill in it.
	soakSettle = 0.25
	// soakFlat is how much of its mean a size may change over the rest of the soak, by
	// the slope, to be called flat.
	soakFlat = 0.05
)

// soak is memory over time under a steady load.
type soak struct {
	Rate    float64      `json:"rate_per_second"`
	Samples []soakSample `json:"samples"`
	Slopes  []slope      `json:"slopes"`
}

// soakSample is one look. Sizes are octets.
type soakSample struct {
	Seconds    float64          `json:"seconds"`
	Memory     map[string]int64 `json:"resident_bytes"`
	Heap       int64            `json:"gateway_heap_bytes"` // in use, of the Go heap; 0: not known
	Goroutines int              `json:"gateway_goroutines"` // 0: not known
}

// slope is a straight line through the samples of one size, by least squares.
type slope struct {
	Name    string  `json:"name"`
	Mean    float64 `json:"mean_bytes"`
	PerHour float64 `json:"bytes_per_hour"`
	Spread  float64 `json:"spread_bytes"`   // standard deviation around the line
	Change  float64 `json:"change_percent"` // of the mean, over the time that counts
	Flat    bool    `json:"flat"`
	At      float64 `json:"at_start_bytes"` // the line at second 0 of the soak
}

// soakPhase begins the name of its phase.
const soakPhase = "soak"

// heapName is the slope of the gateway's heap.
const heapName = "gateway, Go heap"

// soak watches.
func (p *plan) soak(ctx context.Context) error {
	due := p.draw(p.o.SoakRate, p.o.Soak)
	if len(due) == 0 {
		return nil
	}
	s := &soak{Rate: p.o.SoakRate}
	op, err := openOperator(p.meter)
	if err != nil {
		return err
	}
	watched, stop := context.WithCancel(ctx)
	var watching sync.WaitGroup
	watching.Go(func() { s.watch(watched, p.meter, op.metricsURL()) })
	p.steady(ctx, fmt.Sprintf("%s %g/s", soakPhase, p.o.SoakRate), p.o.SoakRate, due, p.o.Connections)
	stop()
	watching.Wait()
	s.fit()
	p.report.Soak = s
	return nil
}

// watch samples until ctx ends.
func (s *soak) watch(ctx context.Context, m meter, metrics string) {
	began := time.Now()
	tick := time.NewTicker(soakEvery)
	defer tick.Stop()
	for {
		sample := soakSample{Seconds: time.Since(began).Seconds(), Memory: m.resident()}
		if body, err := fetch(ctx, metrics); err == nil {
			sample.Heap, sample.Goroutines = int64(metric(body, "go_memstats_heap_inuse_bytes")), int(metric(body, "go_goroutines"))
		}
		s.Samples = append(s.Samples, sample)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func fetch(ctx context.Context, address string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return io.ReadAll(io.LimitReader(resp.Body, 16<<20))
}

// metric is the value of a metric without labels, in Prometheus's text; 0: it is not
// there.
func metric(body []byte, name string) float64 {
	for line := range bytes.Lines(body) {
		if value, ok := bytes.CutPrefix(line, []byte(name+" ")); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(string(value)), 64)
			if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
				return 0
			}
			return v
		}
	}
	return 0
}

// fit draws the lines.
func (s *soak) fit() {
	s.Slopes = nil
	for _, part := range parts {
		s.line(part, func(x soakSample) float64 { return float64(x.Memory[part]) })
	}
	s.line(heapName, func(x soakSample) float64 { return float64(x.Heap) })
}

// line adds one, unless there is nothing to draw it through.
func (s *soak) line(name string, of func(soakSample) float64) {
	if len(s.Samples) == 0 {
		return
	}
	whole := s.Samples[len(s.Samples)-1].Seconds
	var at, size []float64
	for _, x := range s.Samples {
		if v := of(x); x.Seconds >= whole*soakSettle && v > 0 {
			at, size = append(at, x.Seconds), append(size, v)
		}
	}
	if len(at) < 3 {
		return
	}
	start, perSecond, spread := leastSquares(at, size)
	l := slope{Name: name, Mean: mean(size), PerHour: perSecond * 3600, Spread: spread, At: start}
	l.Change = 100 * perSecond * (at[len(at)-1] - at[0]) / l.Mean
	l.Flat = math.Abs(l.Change) < 100*soakFlat
	s.Slopes = append(s.Slopes, l)
}

func mean(values []float64) float64 {
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}

// leastSquares is the line y = start + slope·x that fits best, and the standard
// deviation around it. It wants as many of both, three at least.
func leastSquares(x, y []float64) (start, slope, spread float64) {
	mx, my := mean(x), mean(y)
	var xx, xy float64
	for i := range x {
		xx += (x[i] - mx) * (x[i] - mx)
		xy += (x[i] - mx) * (y[i] - my)
	}
	if xx > 0 {
		slope = xy / xx
	}
	start = my - slope*mx
	rest := 0.0
	for i := range x {
		d := y[i] - start - slope*x[i]
		rest += d * d
	}
	return start, slope, math.Sqrt(rest / float64(len(x)-2))
}

func (r *report) soak() section {
	if r.Soak == nil {
		return section{}
	}
	t := table{{"memory", "mean MB", "slope MB/h", "around the line ± MB", "change over that time", "flat"}}
	for _, l := range r.Soak.Slopes {
		t = append(t, []string{l.Name, one(l.Mean / (1 << 20)), fmt.Sprintf("%+.1f", l.PerHour/(1<<20)), one(l.Spread / (1 << 20)), fmt.Sprintf("%+.1f %%", l.Change), yes(l.Flat)})
	}
	n := len(r.Soak.Samples)
	note := ""
	if n > 0 {
		first, last := r.Soak.Samples[0], r.Soak.Samples[n-1]
		note = fmt.Sprintf("%g messages a second for %.0f min, %d looks; resident memory, and what is in use of the gateway's Go heap. The lines (least squares) leave out the first %.0f %%. Flat: the line changes by less than %.0f %% of the mean over the rest. The gateway's goroutines: %d at first, %d at last.",
			r.Soak.Rate, last.Seconds/60, n, 100*soakSettle, 100*soakFlat, first.Goroutines, last.Goroutines)
	}
	return section{"Soak", t, note}
}
