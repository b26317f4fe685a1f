package health

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// Source gives what all processes have seen.
type Source interface {
	// VendorSamples lists what was counted from then on, of all processes together.
	VendorSamples(ctx context.Context, since time.Time) ([]message.VendorSample, error)
	// VendorLinks lists the links of all processes that live.
	VendorLinks(ctx context.Context) ([]message.VendorLinkState, error)
}

// Times of a Board.
const (
	refreshEvery   = 2 * time.Second
	refreshTimeout = 5 * time.Second
	// keepSamples is how far back a board looks: for the longest receipts.
	keepSamples = 50 * time.Minute
	// rereadBuckets is how many of the last buckets are read again: their processes may
	// still write them.
	rereadBuckets = 3
)

// Board knows the health of all vendors. Health, Explain and All are safe for
// concurrent use; they never wait.
type Board struct {
	Source   Source
	Snapshot func() *snapshot.Snapshot
	Limits   Limits
	Now      func() time.Time
	Log      *slog.Logger
	// Changed is told of every change of a health; nil: nobody is. It must not block.
	Changed func(v *snapshot.Vendor, was message.VendorHealth, is Verdict)

	verdicts atomic.Pointer[map[message.ID]Verdict]

	mu      sync.Mutex // one refresh at a time
	judges  map[message.ID]*Judge
	samples map[message.ID][]message.VendorSample // by time
	read    time.Time                             // up to when samples were read; zero: never
	failing bool

	cancel  context.CancelFunc
	running sync.WaitGroup
}

// Health is how a vendor does; unknown before anything was seen of it.
func (b *Board) Health(vendor message.ID) message.VendorHealth {
	if v, ok := b.Explain(vendor); ok {
		return v.Health
	}
	return message.HealthUnknown
}

// Explain says what a vendor's health stands on; false when nothing was seen of it.
func (b *Board) Explain(vendor message.ID) (Verdict, bool) {
	all := b.verdicts.Load()
	if all == nil {
		return Verdict{}, false
	}
	v, ok := (*all)[vendor]
	return v, ok
}

// All lists the verdicts by vendor.
func (b *Board) All() map[message.ID]Verdict {
	if all := b.verdicts.Load(); all != nil {
		return maps.Clone(*all)
	}
	return map[message.ID]Verdict{}
}

// Start begins to refresh, until Stop.
func (b *Board) Start(ctx context.Context) {
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	b.cancel = cancel
	b.running.Go(func() { every(run, refreshEvery, b.refresh) })
}

// Stop ends the refreshing. The last verdicts stay readable.
func (b *Board) Stop() {
	if b.cancel != nil {
		b.cancel()
	}
	b.running.Wait()
}

func (b *Board) refresh(ctx context.Context) {
	short, cancel := context.WithTimeout(ctx, refreshTimeout)
	defer cancel()
	err := b.Refresh(short)
	if err != nil && !b.failing && ctx.Err() == nil {
		b.Log.Warn("health of vendors cannot be read; the last one holds", "error", err)
	}
	b.failing = err != nil
}

// Refresh reads what was seen and judges it. After an error the last verdicts hold.
func (b *Board) Refresh(ctx context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.Now()
	bucket := b.Limits.filled().Bucket
	first := b.read.IsZero()
	since := now.Add(-keepSamples)
	if !first {
		since = b.read.Add(-rereadBuckets * bucket)
	}
	since = since.Truncate(bucket)
	news, err := b.Source.VendorSamples(ctx, since)
	if err != nil {
		return err
	}
	links, err := b.Source.VendorLinks(ctx)
	if err != nil {
		return err
	}
	b.merge(since, now, news)
	b.read = now
	if first {
		b.judges = make(map[message.ID]*Judge)
		b.replay(now)
	}
	b.judge(now, links)
	return nil
}

// merge puts newly read samples in the place of older readings.
func (b *Board) merge(since, now time.Time, news []message.VendorSample) {
	kept := make(map[message.ID][]message.VendorSample, len(b.samples))
	for id, list := range b.samples {
		list = slices.DeleteFunc(list, func(s message.VendorSample) bool {
			return !s.At.Before(since) || s.At.Before(now.Add(-keepSamples))
		})
		if len(list) > 0 {
			kept[id] = list
		}
	}
	for _, s := range news {
		kept[s.VendorID] = append(kept[s.VendorID], s)
	}
	b.samples = kept
}

// replay judges the past bucket by bucket, so that a process that has just begun knows
// what the others have learned.
func (b *Board) replay(now time.Time) {
	bucket := b.Limits.filled().Bucket
	for _, v := range b.Snapshot().Vendors {
		samples := b.samples[v.ID]
		if !v.Active || len(samples) == 0 {
			continue
		}
		j := &Judge{}
		b.judges[v.ID] = j
		for at := samples[0].At.Add(bucket); at.Before(now); at = at.Add(bucket) {
			seen := b.seen(v)
			seen.Samples = between(samples, time.Time{}, at)
			seen.Bound, seen.Served = true, true // nobody knows any more
			j.Look(b.Limits, at, seen)
		}
		j.everBound, j.boundAt, j.lookedAt = false, time.Time{}, time.Time{}
	}
}

func (b *Board) seen(v *snapshot.Vendor) Seen {
	return Seen{Samples: b.samples[v.ID], ReceiptPercent: v.ReceiptPercent, ReceiptExpected: v.ReceiptExpected}
}

// judge looks at every active vendor.
func (b *Board) judge(now time.Time, links []message.VendorLinkState) {
	old := b.All()
	verdicts := make(map[message.ID]Verdict)
	for id, v := range b.Snapshot().Vendors {
		if !v.Active {
			delete(b.judges, id)
			continue
		}
		seen := b.seen(v)
		look(&seen, id, links)
		j := b.judges[id]
		if j == nil {
			j = &Judge{}
			b.judges[id] = j
		}
		verdicts[id] = j.Look(b.Limits, now, seen)
	}
	maps.DeleteFunc(b.judges, func(id message.ID, _ *Judge) bool { _, ok := verdicts[id]; return !ok })
	b.verdicts.Store(&verdicts)
	for id, is := range verdicts {
		was := message.HealthUnknown
		if o, ok := old[id]; ok {
			was = o.Health
		}
		if is.Health != was {
			b.tell(b.Snapshot().Vendors[id], was, is)
		}
	}
}

// look takes in what the links to a vendor look like.
func look(seen *Seen, vendor message.ID, links []message.VendorLinkState) {
	live := 0
	for _, l := range links {
		if l.VendorID != vendor {
			continue
		}
		seen.Served = true
		if l.Bind == "connected" {
			seen.Bound = true
			live++
			seen.Latency += time.Duration(l.LatencyMillis) * time.Millisecond
		}
	}
	if live > 0 {
		seen.Latency /= time.Duration(live)
	}
}

func (b *Board) tell(v *snapshot.Vendor, was message.VendorHealth, is Verdict) {
	if v == nil { // it has gone in this moment
		return
	}
	level := slog.LevelInfo
	if is.Health == message.HealthDegraded || is.Health == message.HealthDown {
		level = slog.LevelWarn
	}
	b.Log.Log(context.Background(), level, "health of a vendor", "vendor", v.Name, "health", string(is.Health), "was", string(was), "why", is.Why)
	if b.Changed != nil {
		b.Changed(v, was, is)
	}
}
