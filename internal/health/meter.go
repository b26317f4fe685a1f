package health

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// Sink keeps what a process has counted.
type Sink interface {
	// AddVendorSamples writes what the instance has counted; later counts of the same
	// vendor and time take the place of earlier ones.
	AddVendorSamples(ctx context.Context, instance string, samples []message.VendorSample) error
}

// Times of a Meter.
const (
	writeEvery   = 5 * time.Second
	writeTimeout = 5 * time.Second
	// keepUnwritten bounds what is kept while the sink is away.
	keepUnwritten = 10 * time.Minute
)

// Meter counts what this process sees of vendors and hands it to a sink every few
// seconds. Safe for concurrent use.
type Meter struct {
	Sink     Sink
	Instance string
	Bucket   time.Duration // as in Limits
	Now      func() time.Time
	Log      *slog.Logger

	mu     sync.Mutex
	counts map[place]*count

	cancel  context.CancelFunc
	running sync.WaitGroup
}

// place is a vendor at the begin of a bucket, in Unix nanoseconds.
type place struct {
	vendor message.ID
	at     int64
}

type count struct {
	message.VendorSample
	written message.VendorSample // what the sink has of it
}

// Answered counts how a submit to a vendor ended; err is nil, or what the connector
// said. What never left for reasons of our own is not counted.
func (m *Meter) Answered(vendor message.ID, err error) {
	var no *message.SubmitError
	switch {
	case err == nil:
		m.add(vendor, func(s *message.VendorSample) { s.Accepted++ })
	case !errors.As(err, &no), gaveUp(no):
	case no.Ambiguous():
		m.add(vendor, func(s *message.VendorSample) { s.Silent++ })
	case trouble(no):
		m.add(vendor, func(s *message.VendorSample) { s.Refused++ })
	case no.Answered:
		m.add(vendor, func(s *message.VendorSample) { s.Other++ })
	}
}

// gaveUp reports whether we ended the wait for the link, which says nothing of the
// vendor: the error is a context's own, and not a connection's that has timed out.
func gaveUp(no *message.SubmitError) bool {
	return !no.Written && (no.Err == context.Canceled || no.Err == context.DeadlineExceeded)
}

// trouble reports whether a refusal tells of the vendor rather than of the message. A
// vendor that asks for patience works, and so does one that refuses a message for good
// without saying why: it may be the text, and one customer's spam must not take the
// vendor from all. Such a message is offered to the next vendor anyway.
func trouble(no *message.SubmitError) bool {
	switch no.Reason {
	case message.ReasonVendorUnreachable:
		return true
	case message.ReasonVendorThrottled, message.ReasonDailyCapReached:
		return false
	}
	return no.Answered && no.Again
}

// Receipt counts a receipt of a vendor, if it decides a part.
func (m *Meter) Receipt(vendor message.ID, state message.ReceiptState) {
	if _, final := state.PartState(); final {
		m.add(vendor, func(s *message.VendorSample) { s.Receipts++ })
	}
}

func (m *Meter) add(vendor message.ID, f func(*message.VendorSample)) {
	at := m.Now().Truncate(Limits{Bucket: m.Bucket}.filled().Bucket)
	p := place{vendor, at.UnixNano()}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.counts == nil {
		m.counts = make(map[place]*count)
	}
	c := m.counts[p]
	if c == nil {
		c = &count{VendorSample: message.VendorSample{VendorID: vendor, At: at}}
		m.counts[p] = c
	}
	f(&c.VendorSample)
}

// Write hands the sink what it does not have yet.
func (m *Meter) Write(ctx context.Context) error {
	news := m.news()
	if len(news) == 0 {
		return nil
	}
	if err := m.Sink.AddVendorSamples(ctx, m.Instance, news); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range news {
		if c := m.counts[place{s.VendorID, s.At.UnixNano()}]; c != nil {
			c.written = s
		}
	}
	return nil
}

// news lists what the sink does not have, in a fixed order, and forgets what is over
// and written, or too old.
func (m *Meter) news() []message.VendorSample {
	now := m.Now()
	over := now.Add(-2 * Limits{Bucket: m.Bucket}.filled().Bucket)
	m.mu.Lock()
	defer m.mu.Unlock()
	var news []message.VendorSample
	for p, c := range m.counts {
		switch {
		case c.VendorSample != c.written && !c.At.Before(now.Add(-keepUnwritten)):
			news = append(news, c.VendorSample)
		case c.At.Before(over):
			delete(m.counts, p)
		}
	}
	slices.SortFunc(news, func(a, b message.VendorSample) int {
		if d := a.At.Compare(b.At); d != 0 {
			return d
		}
		return slices.Compare(a.VendorID[:], b.VendorID[:])
	})
	return news
}

// Start begins to write, until Stop.
func (m *Meter) Start(ctx context.Context) {
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	m.cancel = cancel
	m.running.Go(func() { every(run, writeEvery, m.write) })
}

// Stop ends the writing; what was counted until then is written.
func (m *Meter) Stop() {
	if m.cancel == nil {
		return
	}
	m.cancel()
	m.running.Wait()
	m.cancel = nil
	m.write(context.Background())
}

func (m *Meter) write(ctx context.Context) {
	short, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	if err := m.Write(short); err != nil && ctx.Err() == nil {
		m.Log.Warn("what was seen of vendors is not written yet", "error", err)
	}
}

// every calls f until ctx ends.
func every(ctx context.Context, pause time.Duration, f func(context.Context)) {
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for {
		f(ctx)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
