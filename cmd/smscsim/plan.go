package main

import (
	"math/rand/v2"
	"sync"
	"time"

	"github.com/postrider/postrider/internal/limit"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/smpp"
)

// plan is what becomes of one submit.
type plan struct {
	refuse     smpp.Status // not OK: refused with it, nothing is taken
	silent     bool        // taken, no answer
	disconnect bool        // the connection is dropped instead of the answer
	lost       bool        // with disconnect: nothing is taken
	receipts   int         // 0, 1 or 2
	early      bool        // the receipt comes before the answer
	state      message.ReceiptState
	err        string
	latency    time.Duration
	delay      time.Duration // from the answer to the receipt
}

// planner decides. Its choices repeat with the same seed when submits come in
// the same order.
type planner struct {
	rates *limit.Limiter

	mu      sync.Mutex
	random  *rand.Rand
	submits int
	once    map[string]struct{} // destinations that were refused once
}

// maxOnce bounds the destinations that magic remembers; above it they are taken
// at the first try.
const maxOnce = 100_000

func newPlanner(seed uint64) *planner {
	p := &planner{rates: limit.New(0)}
	p.reseed(seed)
	p.reset()
	return p
}

func (p *planner) reseed(seed uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if seed == 0 {
		seed = rand.Uint64()
	}
	p.random = rand.New(rand.NewPCG(seed, 0))
}

// reset forgets how many submits there were and who was refused once.
func (p *planner) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.submits = 0
	p.once = make(map[string]struct{})
}

// plan decides about a submit that is well formed.
func (p *planner) plan(c *config, systemID, destination string, now time.Time) plan {
	if c.ThrottleRate > 0 && !p.rates.Take(systemID, c.ThrottleRate, time.Second, now).OK {
		return plan{refuse: smpp.StatusThrottled}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.submits++
	o := p.chance(c)
	if c.Magic && len(destination) >= 4 {
		p.magic(&o, destination, destination[len(destination)-4:])
	}
	return o
}

// chance decides by the configured shares.
func (p *planner) chance(c *config) plan {
	o := plan{
		receipts: 1,
		latency:  p.vary(c.Latency, c.LatencyJitter),
		delay:    p.vary(c.ReceiptDelay, c.ReceiptDelayJitter),
	}
	o.state, o.err = c.ReceiptRateFinal.pick(p.random.Float64() * 100)
	switch {
	case c.DisconnectEvery > 0 && p.submits%c.DisconnectEvery == 0, p.happens(c.DisconnectPercent):
		o.disconnect, o.lost = true, !p.happens(c.DisconnectRecordedPercent)
	case p.happens(c.ThrottlePercent):
		o.refuse = smpp.StatusThrottled
	case p.happens(c.ErrorPercent):
		o.refuse = c.ErrorStatuses[p.random.IntN(len(c.ErrorStatuses))]
	case p.happens(c.SilentPercent):
		o.silent = true
		if !c.SilentReceipts {
			o.receipts = 0
		}
	}
	switch {
	case p.happens(c.NoReceiptPercent):
		o.receipts = 0
	case o.receipts > 0 && p.happens(c.DuplicateReceiptPercent):
		o.receipts = 2
	}
	o.early = p.happens(c.EarlyReceiptPercent)
	return o
}

// magic is what the last four digits of a destination ask for; the flags' help
// lists it.
func (p *planner) magic(o *plan, destination, digits string) {
	switch digits {
	case "0001":
		o.ends(message.ReceiptUndeliverable)
	case "0002":
		o.ends(message.ReceiptExpired)
	case "0003":
		o.ends(message.ReceiptRejected)
	case "0004":
		o.receipts = 0
	case "0005":
		o.silent = true
	case "0006":
		o.refuse = p.atFirst(destination, smpp.StatusThrottled)
	case "0007":
		o.refuse = smpp.StatusSystemError
	case "0008":
		o.refuse = smpp.StatusInvDest
	case "0009":
		o.early = true
	case "0010":
		o.receipts = 2
	case "0011":
		o.disconnect, o.lost = true, false
	case "0012":
		o.disconnect, o.lost = true, true
	case "0013":
		o.silent, o.receipts = true, 0
	case "0014":
		o.refuse = p.atFirst(destination, smpp.StatusMsgQueueFull)
	case "0015":
		o.refuse = smpp.StatusSubmitFail
	}
}

func (o *plan) ends(st message.ReceiptState) { o.state, o.err = st, usualErr(st) }

// atFirst is st for the first submit to a destination and success after it.
func (p *planner) atFirst(destination string, st smpp.Status) smpp.Status {
	if _, seen := p.once[destination]; seen || len(p.once) >= maxOnce {
		return smpp.StatusOK
	}
	p.once[destination] = struct{}{}
	return st
}

func (p *planner) happens(percent float64) bool {
	return percent > 0 && p.random.Float64()*100 < percent
}

// vary gives d within its jitter, never below 0.
func (p *planner) vary(d, jitter duration) time.Duration {
	v := time.Duration(d)
	if jitter > 0 {
		v += time.Duration((2*p.random.Float64() - 1) * float64(jitter))
	}
	return max(v, 0)
}
