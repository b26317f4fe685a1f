package main

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/postrider/postrider/edges/rest"
	"github.com/postrider/postrider/internal/limit"
	"github.com/postrider/postrider/internal/message"
)

// joinLimits makes what the edges count rates with: together with all replicas if
// there is a Redis for it.
func (g *Gateway) joinLimits() {
	c := g.Config
	g.refusals = &limit.Refusals{Store: g.db, Log: g.Log.With("part", "limits")}
	if c.RedisHost == "" {
		g.alone = limit.New(0)
		return
	}
	g.shared = limit.NewShared(limit.SharedConfig{Host: c.RedisHost, Port: c.RedisPort, Password: c.RedisPassword, TLS: c.RedisTLS,
		Log: g.Log.With("part", "limits"), Alone: g.metrics.LimitsAlone.Inc})
}

// limiter is what all edges of this process count with.
func (g *Gateway) limiter() rest.Limiter {
	if g.shared == nil {
		return g.alone
	}
	return g.shared
}

// rateRefused notes what an edge has refused for a rate.
func (g *Gateway) rateRefused(account message.ID, edge, scope string, n int) {
	g.metrics.RateExceeded.WithLabelValues("customer").Add(float64(n))
	g.refusals.Add(account, edge, scope, n, time.Now())
}

var (
	descHeld = prometheus.NewDesc("smpp_deliveries_held", "Deliveries by deliver_sm that wait for a customer; counted at most 100,000 beyond the cap.", []string{"customer_id"}, nil)
	descCap  = prometheus.NewDesc("smpp_deliveries_held_max", "What may wait for a customer that something waits for; beyond it the oldest end as failed.", []string{"customer_id"}, nil)
)

// heldCollector shows what the SMPP edge last counted. The zero value is ready, and
// safe for concurrent use.
type heldCollector struct {
	mu   sync.Mutex
	last []message.SMPPHeld
}

func (c *heldCollector) set(held []message.SMPPHeld) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = held
}

func (c *heldCollector) Describe(out chan<- *prometheus.Desc) {
	out <- descHeld
	out <- descCap
}

func (c *heldCollector) Collect(out chan<- prometheus.Metric) {
	c.mu.Lock()
	held := c.last
	c.mu.Unlock()
	for _, h := range held {
		customer := h.AccountID.String()
		out <- prometheus.MustNewConstMetric(descHeld, prometheus.GaugeValue, float64(h.Pending), customer)
		out <- prometheus.MustNewConstMetric(descCap, prometheus.GaugeValue, float64(h.Cap), customer)
	}
}
