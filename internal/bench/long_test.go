package main

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestOffer(t *testing.T) {
	s := startSystem(t, func(int) (int, []string, int) { return http.StatusAccepted, good, 1 })
	sim, err := openSimulator(t.Context(), s.server.URL+"/stats")
	if err != nil {
		t.Fatal(err)
	}
	r := s.bench(50, 4)
	x := r.offer(t.Context(), "REST", 1000, randomly(50, 1000, 1), r.load.over(4))
	arrived, err := sim.arrivals(t.Context(), s.of, r.records)
	if err != nil {
		t.Fatal(err)
	}
	r.settle(arrived)
	if x.Kind != "accept" || !x.Drained || x.Accepted != 50 || x.AcceptRate <= 0 || x.Lost != 0 || x.ToVendor.Count != 50 || x.Order != nil {
		t.Errorf("%+v", x)
	}
	// The vendor has a message before its sender has the answer here.
	if x.ToVendor.P50 <= 0 || x.ToVendor.Max > x.Accept.Max {
		t.Errorf("to the vendor %+v, accepted %+v", x.ToVendor, x.Accept)
	}
}

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{9, 1}, 5}, {[]float64{9, 1, 2}, 2}} {
		if got := median(c.values); got != c.want {
			t.Errorf("%v: %g", c.values, got)
		}
	}
}

func spanOf(answered, ended []int64) span {
	r := newRecords(len(answered), "test")
	for i := range answered {
		r.list[i].answered.Store(answered[i])
		r.list[i].ended.Store(ended[i])
	}
	return span{records: r, last: len(answered)}
}

func TestDisorder(t *testing.T) {
	// Accepted in the order 1, 0, 2, 3; 4 was refused and 5 never arrived.
	s := spanOf([]int64{20, 10, 30, 40, 0, 50}, make([]int64, 6))
	at := func(times ...int64) map[int]arrival {
		m := map[int]arrival{4: {at: 1, count: 1}}
		for i, v := range times {
			m[i] = arrival{at: v, count: 1}
		}
		return m
	}
	if d := s.disorder(at(2, 1, 3, 4)); d == nil || *d != (disorder{Count: 4}) {
		t.Errorf("%+v", d)
	}
	// 3 came first: it is three places off, the others one.
	if d := s.disorder(at(12, 11, 13, 10)); d == nil || *d != (disorder{Count: 4, P50: 1, P99: 3, Max: 3, Inverted: 100.0 / 3}) {
		t.Errorf("%+v", d)
	}
	if d := s.disorder(at(1)); d != nil {
		t.Errorf("%+v of one", d)
	}
}

func TestFlooded(t *testing.T) {
	second := int64(time.Second)
	s := spanOf([]int64{5 * second, 12 * second, 14 * second, 0, 21 * second}, []int64{13 * second, 15 * second, 30 * second, 16 * second, 0})
	f := s.flooded(second, 20*time.Second, 7)
	if *f != (flooded{Cap: 7, Seconds: 20, Ramp: 10, Accepted: 0.2, Completed: 0.2}) {
		t.Errorf("%+v", f)
	}
}

func TestLeastSquares(t *testing.T) {
	start, slope, spread := leastSquares([]float64{0, 1, 2, 3}, []float64{1, 3, 5, 7})
	if start != 1 || slope != 2 || spread > 1e-9 {
		t.Errorf("%g + %g x ± %g", start, slope, spread)
	}
	if _, slope, _ := leastSquares([]float64{1, 1, 1}, []float64{1, 2, 3}); slope != 0 {
		t.Errorf("slope %g of one moment", slope)
	}
}

// watched is a soak in which the gateway grows by 1 MB a minute after it has filled its
// caches, and Temporal stays.
func watched() *soak {
	s := &soak{Rate: 30}
	for i := range 61 {
		grown := max(0, i-15)
		s.Samples = append(s.Samples, soakSample{Seconds: float64(60 * i), Goroutines: 100 + i, Heap: 50 << 20,
			Memory: map[string]int64{partGateway: int64(min(i, 15)*10+100+grown) << 20, partTemporal: 800 << 20}})
	}
	s.fit()
	return s
}

func TestSoak(t *testing.T) {
	r := &report{Soak: watched()}
	if len(r.Soak.Slopes) != 3 {
		t.Fatalf("%+v", r.Soak.Slopes)
	}
	g, flat := r.Soak.Slopes[0], r.Soak.Slopes[1]
	if g.Name != partGateway || math.Abs(g.PerHour/(60<<20)-1) > 1e-6 || g.Flat || math.Abs(g.Change-100*45/272.5) > 0.01 || math.Abs(g.At/(1<<20)-235) > 0.01 {
		t.Errorf("%+v", g)
	}
	if flat.Name != partTemporal || flat.PerHour != 0 || !flat.Flat || r.Soak.Slopes[2].Name != heapName {
		t.Errorf("%+v", r.Soak.Slopes)
	}
	if a := r.memoryAim(); a.Reached == nil || *a.Reached || !strings.Contains(a.Measured, "gateway +60.0 MB/h") {
		t.Errorf("%+v", a)
	}
	if got := r.markdown(); !strings.Contains(got, "| gateway | 272.5 | +60.0 | 0.0 | +16.5 % | no |\n") || !strings.Contains(got, "100 at first, 160 at last") {
		t.Errorf("%s", got)
	}
}

func TestMetric(t *testing.T) {
	body := []byte("# HELP go_goroutines Number\ngo_goroutines 42\ngo_goroutines_more 7\ngo_memstats_heap_inuse_bytes 1.5e+07\nbad NaN\n")
	for name, want := range map[string]float64{"go_goroutines": 42, "go_memstats_heap_inuse_bytes": 15_000_000, "bad": 0, "none": 0} {
		if got := metric(body, name); got != want {
			t.Errorf("%s: %g", name, got)
		}
	}
}

func measuredRun() *report {
	r := example()
	cpu := map[string]float64{partGateway: 3, partTemporal: 3, partPostgres: 3, partSMSC: 9, partBench: 9}
	for _, name := range []string{"capacity, 1 of 2", "capacity, 2 of 2"} {
		r.Phases = append(r.Phases, &result{Name: name, Kind: "closed", Accepted: 1000, Use: usage{CPU: cpu, Written: map[string]int64{partPostgres: 40_000_000}, Log: 30_000_000}})
	}
	for i, rate := range []float64{20, 160} {
		v := quantiles{600, 12 + float64(i), 40, 90, 120}
		r.Phases = append(r.Phases, &result{Name: "part", Kind: "open", Share: 10, Offered: rate, ToVendor: v, EndToEnd: quantiles{600, 80, 120, 200, 300}, Accept: v})
	}
	r.Phases[2].ToVendor = quantiles{1000, 24.9, 50, 99.9, 150}
	r.Phases = append(r.Phases, &result{Name: "REST", Kind: "accept", Offered: 4500, AcceptRate: 4490, Accept: quantiles{18000, 10, 20, 50, 70}})
	r.Rounds, r.Capacity = []float64{140, 160}, 150
	r.Floor = []floorRound{{Shape: shapeBare, Count: 100, Rate: 240}, {Shape: shapeBare, Count: 100, Rate: 260}, {Shape: shapeOurs, Count: 100, Rate: 200, Writes: 2, Use: usage{Log: 100 * 9000, CPU: map[string]float64{partTemporal: 0.3}}}}
	r.Replicas = &replicas{Gateways: 2, One: []float64{100, 120}, Several: []float64{99, 99}}
	return r
}

func TestAims(t *testing.T) {
	r := measuredRun()
	yes, no := true, false
	want := []struct {
		measured string
		reached  *bool
	}{
		{"4490/s, p99 50.0 ms, of 4500/s offered", &no}, // below 50 is wanted
		{"60 % (150.0 of 250.0/s); 75 % of those with a message's history (200.0/s)", &yes},
		{"150.0/s, the median of 2", &yes},
		{"p50 24.9 ms, p99 99.9 ms", &yes},
		{"9.0 ms, the median of 2", &yes},
		{"not measured: `make bench-soak`", nil},
	}
	got := r.aims()
	if len(got) != len(want) {
		t.Fatalf("%+v", got)
	}
	for i, w := range want {
		if a := got[i]; a.Measured != w.measured || (a.Reached == nil) != (w.reached == nil) || a.Reached != nil && *a.Reached != *w.reached {
			t.Errorf("%+v, want %+v", a, w)
		}
	}
	r.Floor[0].Rate, r.Floor[1].Rate, r.Capacity = 200, 200, 130
	if a := r.completeAim(); *a.Reached || !strings.Contains(a.Measured, "the floor, 200/s, does not allow it") {
		t.Errorf("%+v", a)
	}
	for _, a := range (&report{}).aims() {
		if a.Reached != nil || !strings.HasPrefix(a.Measured, "not measured") {
			t.Errorf("%+v of nothing", a)
		}
	}
	if got := (&report{}).markdown(); strings.Contains(got, "Targets") {
		t.Errorf("tells of targets that it says nothing of:\n%s", got)
	}
}

func TestReportOfAWholeRun(t *testing.T) {
	r := measuredRun()
	r.Phases = append(r.Phases, &result{Name: "backlog", Kind: kindAway, Accepted: 500, AcceptRate: 3000, DrainSeconds: 4.5, FirstSeconds: 0.75, CompleteRate: 170, Drained: true, Order: &disorder{500, 3, 20, 44, 12.5}})
	r.Phases = append(r.Phases, &result{Name: "overload 4000/s", Kind: kindOverload, Offered: 4000, Accepted: 20500, Errors: map[string]int{"429 queue_full": 3}, Flooded: &flooded{20000, 60, 10, 111, 75}})
	got := r.markdown("![plot](x.svg)")
	for _, want := range []string{
		"\n![plot](x.svg)\n",
		"| part | 160.0 | 13.0 | 40.0 | 90.0 | 120.0 | 80.0 | 120.0 | 200.0 | 300.0 |\n",
		"| REST | 4500 | 4490 | 10.0 | 20.0 | 50.0 | 70.0 | 0.0 | 0.0 | 0.0 | 0 | 0 | 0.0 |\n",
		"| shape of a message | 200.0 | 0.0 | 3.00 | 0.00 | 0.00 | 3.00 | 0.00 | 2.00 | 9000 |\n",
		"Medians: 250.0/s bare, 200.0/s in the shape of a message, 150.0/s messages: 60 and 75 %.",
		"| capacity, 1 of 2 | - | - | 40000 | - | - | 40000 | 30000 |\n",
		"| 2 | 99.0, 99.0 | 99.0 |\n", "0.90 times as much",
		"| 500 | 3000 | 0.0 | 0.8 | 4.5 | 170.0 | 3 | 20 | 44 | 12.5 % |\n",
		"| 4000 | 60.0 | 20000 | 20500 | 429 queue_full 3 | 0.0 | 0.0 | 0.0 | 111.0 | 75.0 | 50 % | 0.0 |\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

func TestPlots(t *testing.T) {
	r := measuredRun()
	r.Soak = watched()
	r.Phases[5].Name = `"parts" & <more>`
	plots := r.plots()
	if len(plots) != 2 || len(plots[0].lines) != 6 || len(plots[1].lines) != 6 {
		t.Fatalf("%+v", plots)
	}
	if rates := plots[0].lines[0].points; len(rates) != 3 || rates[0][0] != 20 || rates[1][0] != 50 || rates[2][0] != 160 {
		t.Errorf("%v", rates)
	}
	for _, p := range append(plots, plot{name: "empty", title: `<"&`}) {
		d := xml.NewDecoder(strings.NewReader(string(p.svg())))
		for {
			_, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v\n%s", p.name, err, p.svg())
			}
		}
		if strings.Contains(string(p.svg()), "NaN") || strings.Contains(string(p.svg()), "Inf") {
			t.Errorf("%s has a point nowhere", p.name)
		}
	}
	if p := (&report{}).plots(); len(p) != 0 {
		t.Errorf("%d plots of nothing", len(p))
	}
}

func TestAxis(t *testing.T) {
	p := plot{log: true, lines: []plotLine{{points: [][2]float64{{0, 3}, {180, 450}}}}}
	x, y := p.axis(0), p.axis(1)
	if x.to != 200 || len(x.ticks) != 5 || x.place(0) != plotLeft || x.place(200) != plotLeft+plotInnerWidth || x.place(300) != x.place(200) {
		t.Errorf("%+v", x)
	}
	if y.to != 1000 || len(y.ticks) != 4 || y.place(0.1) != plotTop+plotInnerUp || y.place(1000) != plotTop || math.Abs(y.place(10)-(plotTop+plotInnerUp*2/3.0)) > 1e-9 {
		t.Errorf("%+v", y)
	}
	for v, want := range map[float64]float64{0: 1, math.NaN(): 1, 1: 1, 1.1: 2, 36: 50, 0.3: 0.5, 70: 100} {
		if got := niceStep(v); math.Abs(got-want) > 1e-9 {
			t.Errorf("step %g for %g", got, v)
		}
	}
}

func TestReportFiles(t *testing.T) {
	r := measuredRun()
	name := filepath.Join(t.TempDir(), "reports", "run")
	if err := r.write(io.Discard, options{Report: name}); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"run.json", "run.md", "run-latency.svg"} {
		if info, err := os.Stat(filepath.Join(filepath.Dir(name), file)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", file, err)
		}
	}
	body, err := os.ReadFile(name + ".md")
	if err != nil || !strings.Contains(string(body), "](run-latency.svg)") {
		t.Errorf("%v\n%s", err, body)
	}
	body, err = os.ReadFile(name + ".json")
	if err != nil || !strings.Contains(string(body), `"reached": true`) {
		t.Errorf("%v\n%s", err, body)
	}
}
