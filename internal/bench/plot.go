package main

import (
	"fmt"
	"html"
	"math"
	"slices"
	"strings"
)

// plot is a picture of lines. It is drawn by hand, because a library for it weighs
// more than the bench; its colours follow the reader's light or dark scheme.
type plot struct {
	name, title string // the file's, and the picture's
	x, y        string // what the axes are
	log         bool   // the y axis, which then shows no value below 1
	lines       []plotLine
}

// plotLine is one line; points are in the order of x.
type plotLine struct {
	name   string
	colour int  // of the palette
	dashed bool // a line that is computed, or less of a thing than its sister
	dots   bool // each point is a measurement of its own
	points [][2]float64
}

// Sizes in the picture's own units.
const (
	plotWidth, plotHeight       = 760, 400
	plotLeft, plotRight         = 64, 188 // the legend is at the right
	plotTop, plotBottom         = 40, 48
	plotInnerWidth, plotInnerUp = plotWidth - plotLeft - plotRight, plotHeight - plotTop - plotBottom
)

// plotColours are told apart on white and on black, and by most who see fewer
// colours: blue, orange, green, violet, red, grey.
var plotColours = []struct{ light, dark string }{
	{"#1f6feb", "#58a6ff"}, {"#bc4c00", "#f0883e"}, {"#1a7f37", "#3fb950"}, {"#8250df", "#bc8cff"}, {"#cf222e", "#ff7b72"}, {"#6e7781", "#8b949e"},
}

// style gives the classes. Text and rules follow the scheme as well; the background
// is the reader's.
func plotStyle() string {
	var light, dark strings.Builder
	for i, c := range plotColours {
		fmt.Fprintf(&light, ".c%d{stroke:%s;fill:%s}", i, c.light, c.light)
		fmt.Fprintf(&dark, ".c%d{stroke:%s;fill:%s}", i, c.dark, c.dark)
	}
	return "text{font:12px system-ui,sans-serif;fill:#1f2328}.t{font-weight:600;font-size:14px}.g{stroke:#d1d9e0;stroke-width:1}" +
		".l{fill:none!important;stroke-width:2}.d{stroke-dasharray:5 4}" + light.String() +
		"@media (prefers-color-scheme:dark){text{fill:#f0f6fc}.g{stroke:#3d444d}" + dark.String() + "}"
}

// svg draws it.
func (p plot) svg() []byte {
	x, y := p.axis(0), p.axis(1)
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-label="%s">`+"\n<style>%s</style>\n",
		plotWidth, plotHeight, plotWidth, plotHeight, html.EscapeString(p.title), plotStyle())
	fmt.Fprintf(&b, `<text class="t" x="%d" y="22">%s</text>`+"\n", plotLeft, html.EscapeString(p.title))
	for _, v := range y.ticks {
		at := y.place(v)
		fmt.Fprintf(&b, `<line class="g" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/><text x="%d" y="%.1f" text-anchor="end">%s</text>`+"\n", plotLeft, plotLeft+plotInnerWidth, at, at, plotLeft-8, at+4, number(v))
	}
	for _, v := range x.ticks {
		at := x.place(v)
		fmt.Fprintf(&b, `<line class="g" x1="%.1f" x2="%.1f" y1="%d" y2="%d"/><text x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n", at, at, plotTop+plotInnerUp, plotTop+plotInnerUp+5, at, plotTop+plotInnerUp+19, number(v))
	}
	fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="middle">%s</text>`+"\n", plotLeft+plotInnerWidth/2, plotHeight-8, html.EscapeString(p.x))
	fmt.Fprintf(&b, `<text x="16" y="%d" text-anchor="middle" transform="rotate(-90 16 %d)">%s</text>`+"\n", plotTop+plotInnerUp/2, plotTop+plotInnerUp/2, html.EscapeString(p.y))
	for i, l := range p.lines {
		l.draw(&b, x, y)
		l.legend(&b, i)
	}
	b.WriteString("</svg>\n")
	return []byte(b.String())
}

func (l plotLine) class() string {
	class := fmt.Sprintf("c%d", l.colour%len(plotColours))
	if l.dashed {
		class += " d"
	}
	return class
}

func (l plotLine) draw(b *strings.Builder, x, y axis) {
	var path []string
	for _, p := range l.points {
		path = append(path, fmt.Sprintf("%.1f,%.1f", x.place(p[0]), y.place(p[1])))
		if l.dots {
			fmt.Fprintf(b, `<circle class="c%d" cx="%.1f" cy="%.1f" r="3"/>`+"\n", l.colour%len(plotColours), x.place(p[0]), y.place(p[1]))
		}
	}
	fmt.Fprintf(b, `<polyline class="l %s" points="%s"/>`+"\n", l.class(), strings.Join(path, " "))
}

func (l plotLine) legend(b *strings.Builder, n int) {
	left, at := plotLeft+plotInnerWidth+14, plotTop+8+20*n
	fmt.Fprintf(b, `<line class="l %s" x1="%d" x2="%d" y1="%d" y2="%d"/><text x="%d" y="%d">%s</text>`+"\n", l.class(), left, left+22, at, at, left+28, at+4, html.EscapeString(l.name))
}

// axis places values.
type axis struct {
	from, to float64
	log, up  bool // up: the y axis
	ticks    []float64
}

// place is where a value stands in the picture; values beyond the ends stand at them.
func (a axis) place(v float64) float64 {
	v = min(max(v, a.from), a.to)
	part := (v - a.from) / (a.to - a.from)
	if a.log {
		part = math.Log(v/a.from) / math.Log(a.to/a.from)
	}
	if a.up {
		return plotTop + plotInnerUp*(1-part)
	}
	return plotLeft + plotInnerWidth*part
}

// axis spans all points: x from 0, y from 0 or, if it is logarithmic, in decades
// from 1.
func (p plot) axis(of int) axis {
	most := 0.0
	for _, l := range p.lines {
		for _, point := range l.points {
			most = max(most, point[of])
		}
	}
	if of == 1 && p.log {
		a := axis{from: 1, to: 10, log: true, up: true, ticks: []float64{1, 10}}
		for a.to < most {
			a.to *= 10
			a.ticks = append(a.ticks, a.to)
		}
		return a
	}
	step := niceStep(most / 5)
	a := axis{to: max(step, math.Ceil(most/step)*step), up: of == 1}
	for v := 0.0; v <= a.to+step/2; v += step {
		a.ticks = append(a.ticks, v)
	}
	return a
}

// niceStep is 1, 2 or 5 times a power of ten, and at least v.
func niceStep(v float64) float64 {
	if !(v > 0) || math.IsInf(v, 0) {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, n := range []float64{1, 2, 5} {
		if n*power >= v*(1-1e-9) {
			return n * power
		}
	}
	return 10 * power
}

func number(v float64) string { return fmt.Sprintf("%.4g", v) }

// plots are those that the run has something for.
func (r *report) plots() []plot {
	var list []plot
	if p, ok := r.latencyPlot(); ok {
		list = append(list, p)
	}
	if p, ok := r.memoryPlot(); ok {
		list = append(list, p)
	}
	return list
}

// latencyPlot is how long messages take, by the rate at which they are sent.
func (r *report) latencyPlot() (plot, bool) {
	p := plot{name: "latency", title: "Latency by rate, from the scheduled time", x: "messages a second", y: "milliseconds", log: true}
	phases := slices.DeleteFunc(r.measured("open"), func(x *result) bool { return x.ToVendor.Count == 0 || strings.HasPrefix(x.Name, soakPhase) })
	if len(phases) < 2 {
		return p, false
	}
	slices.SortStableFunc(phases, func(a, b *result) int { return int(math.Copysign(1, a.Offered-b.Offered)) })
	for colour, end := range []struct {
		name string
		of   func(*result) quantiles
	}{{"202", func(x *result) quantiles { return x.Accept }}, {"at the vendor", func(x *result) quantiles { return x.ToVendor }}, {"webhook", func(x *result) quantiles { return x.EndToEnd }}} {
		for _, q := range []struct {
			name string
			of   func(quantiles) float64
		}{{"p50", func(q quantiles) float64 { return q.P50 }}, {"p99", func(q quantiles) float64 { return q.P99 }}} {
			l := plotLine{name: end.name + ", " + q.name, colour: colour, dashed: q.name == "p50", dots: true}
			for _, x := range phases {
				l.points = append(l.points, [2]float64{x.Offered, q.of(end.of(x))})
			}
			p.lines = append(p.lines, l)
		}
	}
	return p, true
}

// memoryPlot is memory over a soak, with the lines through it.
func (r *report) memoryPlot() (plot, bool) {
	p := plot{name: "memory", title: "Memory under a steady load", x: "minutes", y: "MB"}
	if r.Soak == nil || len(r.Soak.Samples) < 2 {
		return p, false
	}
	sizes := map[string]func(soakSample) float64{heapName: func(x soakSample) float64 { return float64(x.Heap) }}
	for _, part := range stackParts {
		sizes[part] = func(x soakSample) float64 { return float64(x.Memory[part]) }
	}
	last := r.Soak.Samples[len(r.Soak.Samples)-1].Seconds
	for colour, name := range append(slices.Clone(stackParts), heapName) {
		l := plotLine{name: name, colour: colour}
		for _, x := range r.Soak.Samples {
			if v := sizes[name](x); v > 0 {
				l.points = append(l.points, [2]float64{x.Seconds / 60, v / (1 << 20)})
			}
		}
		if len(l.points) == 0 {
			continue
		}
		p.lines = append(p.lines, l)
		for _, s := range r.Soak.Slopes {
			if s.Name == name {
				at := func(seconds float64) [2]float64 {
					return [2]float64{seconds / 60, (s.At + s.PerHour/3600*seconds) / (1 << 20)}
				}
				p.lines = append(p.lines, plotLine{name: fmt.Sprintf("%+.1f MB/h", s.PerHour/(1<<20)), colour: colour, dashed: true, points: [][2]float64{at(last * soakSettle), at(last)}})
			}
		}
	}
	return p, true
}
