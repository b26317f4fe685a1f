package telemetry

import (
	"context"
	"math"
	"sync"
	"time"
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
