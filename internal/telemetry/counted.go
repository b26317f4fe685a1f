package telemetry

import (
	"context"
	"math"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Times of Counted.
const (
	countedFor     = 5 * time.Second
	countedTimeout = 2 * time.Second
)

// counted remembers a count for a while.
type counted struct {
	count func(context.Context) (int, error)
	mu    sync.Mutex
	at    time.Time
	last  float64
}

// read gives the count, or NaN when it could not be read: a gauge never shows a
// number that nobody counted.
func (c *counted) read() float64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.at) < countedFor {
		return c.last
	}
	ctx, cancel := context.WithTimeout(context.Background(), countedTimeout)
	defer cancel()
	n, err := c.count(ctx)
	c.at, c.last = time.Now(), float64(n)
	if err != nil {
		c.last = math.NaN()
	}
	return c.last
}

// countedBy is counted for a gauge with one label.
type countedBy struct {
	desc  *prometheus.Desc
	count func(context.Context) (map[string]int, error)
	mu    sync.Mutex
	at    time.Time
	last  map[string]int
}

// Describe names the series.
func (c *countedBy) Describe(out chan<- *prometheus.Desc) { out <- c.desc }

// Collect gives what was counted last, and nothing when it could not be.
func (c *countedBy) Collect(out chan<- prometheus.Metric) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.at) >= countedFor {
		ctx, cancel := context.WithTimeout(context.Background(), countedTimeout)
		defer cancel()
		var err error
		if c.last, err = c.count(ctx); err != nil {
			c.last = nil
		}
		c.at = time.Now()
	}
	for label, n := range c.last {
		out <- prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue, float64(n), label)
	}
}
