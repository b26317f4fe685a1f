package ingress

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// Admission bounds what is accepted while more comes than can be worked on. What
// counts is the outbox: accepted messages, of all accounts, whose workflow has not
// begun. A message of a class is let in while those of its class and of more urgent
// ones are few, so bulk is refused first and a one-time password last. The zero value
// of a field is its default.
//
// Accepting a message costs a hundredth of what it costs to complete one, so below
// Busy nothing is bounded: a burst is taken as fast as it comes and worked on after it.
// From there on this process takes Rate a second, shared between the accounts that
// ask, and the processor belongs to what was accepted.
type Admission struct {
	Busy int // messages that wait from which their class is taken at Rate. Default: DefaultBusy
	Rate int // messages a second that this process then takes. Default: DefaultBusyRate
	Full int // messages that wait from which their class is refused. Default: DefaultFull
}

// Defaults of Admission.
const (
	DefaultBusy     = 50_000
	DefaultBusyRate = 200
	DefaultFull     = 250_000
)

// AdmissionState is how a class is taken.
type AdmissionState int

// The states, and the values of their metric.
const (
	AdmissionOpen   AdmissionState = iota // as it comes
	AdmissionBusy                         // at Admission.Rate
	AdmissionClosed                       // not at all
)

const (
	// urgentLate is how long the oldest one-time password or conversation message may
	// wait for its workflow before bulk counts as busy, however few wait.
	urgentLate = time.Minute
	// burstLasts is how long the oldest message may wait before it is no burst any more
	// that acceptance goes before workflows for.
	burstLasts = 5 * time.Second
	// openPause and closedPause are what refused customers are asked to wait: the next
	// second has a share for them; an outbox that is full takes longer.
	openPause   = time.Second
	closedPause = 30 * time.Second
	// windowSize is the time in which shares are given out.
	windowSize = time.Second
)

// gate decides who may come in, by what the journal said of the outbox within the
// last second. A process that cannot count keeps what it knew. Safe for concurrent use.
type gate struct {
	group
	in *Ingress

	mu     sync.Mutex
	state  map[int]AdmissionState // by priority; none: open
	ahead  map[int]int            // messages of that priority and more urgent ones that wait
	late   bool                   // the oldest urgent one waits too long
	oldest time.Duration          // how long the oldest of all has waited
	window time.Time              // when the running one began
	level  int                    // what each account may bring in the running window
	asked  map[message.ID]int     // by account, in the running window
}

func (g *gate) make(in *Ingress) {
	g.in = in
	g.state, g.ahead, g.asked = make(map[int]AdmissionState), make(map[int]int), make(map[message.ID]int)
	g.level = g.rate()
}

func (g *gate) busy() int { return cmp.Or(g.in.Admission.Busy, DefaultBusy) }
func (g *gate) rate() int { return cmp.Or(g.in.Admission.Rate, DefaultBusyRate) }
func (g *gate) full() int { return max(cmp.Or(g.in.Admission.Full, DefaultFull), g.busy()) }

func (g *gate) start(ctx context.Context) {
	ctx = g.own(ctx)
	g.wg.Go(func() { g.run(ctx) })
}

func (g *gate) run(ctx context.Context) {
	for ctx.Err() == nil {
		began := time.Now()
		if err := g.count(ctx); err != nil && ctx.Err() == nil {
			g.in.Log.Warn("the outbox could not be counted; admission stays as it is", "error", err)
		}
		rest(ctx, max(countEvery, countShare*time.Since(began)))
	}
}

// count asks what waits, and sets the states by it.
func (g *gate) count(ctx context.Context) error {
	rows, err := g.in.Journal.Waiting(ctx)
	if err != nil {
		return err
	}
	g.set(rows)
	if g.in.Metrics.Admission != nil {
		for _, c := range message.Classes() {
			g.in.Metrics.Admission(c, g.stateOf(c.Priority()), oldest(rows, c.Priority()))
		}
	}
	return nil
}

func oldest(rows []message.Waiting, priority int) time.Duration {
	for _, r := range rows {
		if r.Priority == priority {
			return r.Oldest
		}
	}
	return 0
}

// set is what a count says. A state ends well below the mark at which it begins, so
// that customers do not see it flicker: busy at half, closed at nine tenths.
func (g *gate) set(rows []message.Waiting) {
	g.mu.Lock()
	defer g.mu.Unlock()
	limit := urgentLate
	if g.late {
		limit /= 2
	}
	g.late, g.oldest = false, 0
	for _, r := range rows {
		g.oldest = max(g.oldest, r.Oldest)
		g.late = g.late || r.Priority != message.ClassBulk.Priority() && r.Oldest >= limit
	}
	urgent := AdmissionOpen // the state of the more urgent classes
	for _, c := range message.Classes() {
		p, n := c.Priority(), 0
		for _, r := range rows {
			if r.Priority <= p {
				n += r.Messages
			}
		}
		g.ahead[p] = n
		was, now := g.state[p], AdmissionOpen
		switch {
		case n >= g.full(), was == AdmissionClosed && n >= g.full()/10*9, urgent != AdmissionOpen:
			now = AdmissionClosed
		case n >= g.busy(), was != AdmissionOpen && n >= g.busy()/2, g.late && c == message.ClassBulk:
			now = AdmissionBusy
		}
		g.state[p] = now
		if now != was {
			g.in.Log.Warn("admission has changed with what waits for its workflow", "class", c, "was", was.String(), "now", now.String(), "waiting", n)
		}
		urgent = max(urgent, now)
	}
}

func (s AdmissionState) String() string {
	return [...]string{"open", "busy", "closed"}[s]
}

func (g *gate) stateOf(priority int) AdmissionState {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.state[priority]
}

// crowded reports whether so many messages wait, or one so long, that their workflows
// have the same right to the processor as acceptance.
func (g *gate) crowded() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.ahead[message.ClassBulk.Priority()] >= g.busy()/2 || g.oldest >= burstLasts
}

// admit lets a message in, or says when to come back. What the gateway answers
// itself always comes in.
func (g *gate) admit(m *message.Message, now time.Time) error {
	if m.Automatic {
		return nil
	}
	err := g.decide(m, now)
	if err != nil && g.in.Metrics.NotAdmitted != nil {
		g.in.Metrics.NotAdmitted(m.Class, message.ReasonOf(err))
	}
	return err
}

func (g *gate) decide(m *message.Message, now time.Time) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.turnLocked(now)
	g.asked[m.AccountID]++
	p := m.Class.Priority()
	switch state := g.state[p]; {
	case state == AdmissionClosed:
		return &notNow{message.Refuse(message.ReasonQueueFull, "the gateway has %d messages of this class or a more urgent one to begin with and takes no more of class %s for now; nothing was stored", g.ahead[p], m.Class), closedPause}
	case state == AdmissionBusy && g.asked[m.AccountID] > g.level:
		return &notNow{message.Refuse(message.ReasonRateLimitExceeded, "the gateway has %d messages to begin with and takes %d a second of class %s from each account for now; nothing was stored", g.ahead[p], g.level, m.Class), openPause}
	}
	return nil
}

// turnLocked begins a new window when the running one is over. Its shares follow from
// what the accounts asked for in the one before.
func (g *gate) turnLocked(now time.Time) {
	if since := now.Sub(g.window); since >= 0 && since < windowSize {
		return
	}
	g.level = fairLevel(g.asked, g.rate())
	g.window = now
	clear(g.asked)
}

// fairLevel is the most that each account may have so that all of them together have
// about rate: who asks for less gets it, and the rest is shared equally. At least 1.
func fairLevel(asked map[message.ID]int, rate int) int {
	level, left, open := rate, rate, len(asked)
	for open > 0 {
		level = left / open
		satisfied, taken := 0, 0
		for _, n := range asked {
			if n <= level {
				satisfied++
				taken += n
			}
		}
		next := len(asked) - satisfied
		if next == open || next == 0 {
			break
		}
		open, left = next, rate-taken
	}
	return max(level, 1)
}

// notNow is a refusal that knows when to come back.
type notNow struct {
	refusal *message.Error
	wait    time.Duration
}

func (n *notNow) Error() string { return fmt.Sprintf("%v; come back in %s", n.refusal, n.wait) }

// Unwrap gives the refusal itself.
func (n *notNow) Unwrap() error { return n.refusal }

// RetryAfter is when to come back.
func (n *notNow) RetryAfter() time.Duration { return n.wait }
