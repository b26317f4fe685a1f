package main

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/postrider/postrider/internal/health"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// vendorHealth is what this process sees of vendors, and what all together make of it.
type vendorHealth struct {
	meter *health.Meter
	board *health.Board

	cancel  context.CancelFunc
	running sync.WaitGroup
	noted   map[message.ID]message.VendorHealth // in the vendors' rows, by this process
	bound   map[message.ID]time.Time            // likewise
}

func (g *Gateway) joinHealth() {
	log := g.Log.With("part", "health")
	g.health.meter = &health.Meter{Sink: g.db, Instance: g.instance(), Now: g.db.Now, Log: log}
	g.health.board = &health.Board{Source: g.db, Snapshot: g.config.Current, Now: g.db.Now, Log: log,
		Changed: func(v *snapshot.Vendor, _ message.VendorHealth, is health.Verdict) {
			g.metrics.HealthChanges.WithLabelValues(v.ID.String(), string(is.Health)).Inc()
		}}
}

// noteEvery is how often the vendors' rows are brought to what is known of them.
const noteEvery = 5 * time.Second

// start begins to count, to judge, and to note the judgements. The configuration is
// there by then.
func (h *vendorHealth) start(ctx context.Context, g *Gateway) {
	h.meter.Start(ctx)
	h.board.Start(ctx)
	run, cancel := context.WithCancel(context.Background())
	h.cancel = cancel
	h.noted, h.bound = map[message.ID]message.VendorHealth{}, map[message.ID]time.Time{}
	if !g.Roles["vendors"] {
		return
	}
	h.running.Go(func() {
		tick := time.NewTicker(noteEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
			case <-run.Done():
				return
			}
			g.noteBinds(run)
			g.noteHealth(run)
		}
	})
}

// stop ends it all. What was counted until then is written.
func (h *vendorHealth) stop() {
	if h.cancel == nil {
		return
	}
	h.cancel()
	h.running.Wait()
	h.board.Stop()
	h.meter.Stop()
}

// noteBinds writes since when the links of this process are bound.
func (g *Gateway) noteBinds(ctx context.Context) {
	for v, s := range g.fleet.Status() {
		if s.Bind != "connected" || s.Since.Equal(g.health.bound[v.ID]) {
			continue
		}
		if err := g.db.VendorBound(ctx, v.ID, s.Since); err == nil {
			g.health.bound[v.ID] = s.Since
		}
	}
}

// noteHealth writes the vendors' health into their rows, for staff. One process does:
// they may see a change some seconds apart, and would write over each other.
func (g *Gateway) noteHealth(ctx context.Context) {
	links, err := g.db.VendorLinks(ctx)
	if err != nil {
		return
	}
	first := ""
	for _, l := range links {
		if first == "" || l.Instance < first {
			first = l.Instance
		}
	}
	if first != g.instance() {
		clear(g.health.noted)
		return
	}
	for id, v := range g.health.board.All() {
		if g.health.noted[id] == v.Health {
			continue
		}
		if err := g.db.VendorHealth(ctx, id, v.Health); err == nil {
			g.health.noted[id] = v.Health
		}
	}
}

var (
	descConnections = prometheus.NewDesc("smpp_client_connections_total", "Links to vendors, by state: 1 for the state that a link is in.", []string{"vendor_id", "status"}, nil)
	descThroughput  = prometheus.NewDesc("smpp_client_throughput_current", "Parts a second over a vendor's link now.", []string{"vendor_id"}, nil)
	descBinds       = prometheus.NewDesc("smpp_client_binds", "Live binds of this process to a vendor.", []string{"vendor_id"}, nil)
	descInFlight    = prometheus.NewDesc("smpp_client_in_flight", "Parts that this process gave a vendor and that it has not answered.", []string{"vendor_id"}, nil)
	descShare       = prometheus.NewDesc("smpp_client_throughput_share", "Parts a second that this process may send to a vendor; 0: unlimited, or none without binds.", []string{"vendor_id"}, nil)
	descHealth      = prometheus.NewDesc("vendor_health", "Vendors by health, as seen over all processes: 1 for the one that a vendor has.", []string{"vendor_id", "health"}, nil)
	descErrors      = prometheus.NewDesc("vendor_error_rate", "Share of the parts given to a vendor in the last minute that met with trouble or silence, over all processes.", []string{"vendor_id"}, nil)
)

// linkCollector reads the links and the vendors' health at each scrape.
type linkCollector struct{ g *Gateway }

func (c linkCollector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descConnections, descThroughput, descBinds, descInFlight, descShare, descHealth, descErrors} {
		out <- d
	}
}

func (c linkCollector) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	one := func(is bool) float64 {
		if is {
			return 1
		}
		return 0
	}
	for v, s := range c.g.fleet.Status() {
		vendor := v.ID.String()
		for _, state := range []string{"connected", "connecting", "disconnected"} {
			gauge(descConnections, one(s.Bind == state), vendor, state)
		}
		gauge(descThroughput, s.Throughput, vendor)
		gauge(descBinds, float64(s.Binds), vendor)
		gauge(descInFlight, float64(s.InFlight), vendor)
		gauge(descShare, s.Share.Rate, vendor)
	}
	for id, v := range c.g.health.board.All() {
		for _, health := range []message.VendorHealth{message.HealthUnknown, message.HealthHealthy, message.HealthDegraded, message.HealthDown} {
			gauge(descHealth, one(v.Health == health), id.String(), string(health))
		}
		gauge(descErrors, v.ErrorRate, id.String())
	}
}
