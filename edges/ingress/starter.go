package ingress

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/workflows"
)

// Bounds of the starter.
const (
	// DefaultStarters is the number of workflow starts under way at once.
	DefaultStarters = 16
	// bulkShare is the part of the starters that starts bulk: a campaign is started
	// faster than vendors take it all the same, and what it costs is not taken from
	// those who wait.
	bulkShare = 4
	// offered is how many accepted messages of a class may wait in memory for a
	// starter. They are hints only: what does not fit waits in the outbox.
	offered = 256
	// startTimeout bounds one start.
	startTimeout = 5 * time.Second
	// crowd is how many acceptances may be under way before starts make room for
	// them: acceptance costs a hundredth of what a workflow does, and a customer
	// waits for it. At a steady load a few are under way at most. See rush as well.
	crowd = 8
	// holdBack is how long a start makes room at least while acceptance needs it. Then
	// the starters pass one after another, all of them within a further holdBack,
	// so that a flood that does not end slows the messages down and never stops them.
	// If they all passed at once, acceptance would stand still once a second.
	holdBack = time.Second
	// holdLook is how often a start that makes room looks whether it still must.
	holdLook = 20 * time.Millisecond
	// failPause is how long a starter rests after a start that failed: Temporal is
	// away, and the outbox will still be there.
	failPause = time.Second
	// maxStarted bounds the outbox rows that are remembered as to be cleared. Those
	// forgotten are started again, which does nothing.
	maxStarted = 20_000
)

// starter starts the workflows of accepted messages, a bounded number at once.
// It holds no only copy: every message that it knows of has a row in the
// outbox until its workflow runs.
type starter struct {
	group
	in     *Ingress
	lanes  [3]chan message.Start // by class, the most urgent first; never closed; what is in them at the end is in the outbox
	hungry chan struct{}         // never closed; a poke for the sweeper: a message was left in the outbox

	mu       sync.Mutex
	underway map[message.ID]bool // waiting in the queue or being started
	started  []message.ID        // by us, and their outbox rows may still be there
	leftAt   time.Time           // when a message was last left in the outbox
	passes   time.Time           // when the next start may pass that has made room for long enough
	failed   int                 // starts since the last report
	failure  error               // the newest
}

func (s *starter) make(in *Ingress) {
	s.in = in
	for i := range s.lanes {
		s.lanes[i] = make(chan message.Start, offered)
	}
	s.hungry = make(chan struct{}, 1)
	s.underway = make(map[message.ID]bool)
}

func (s *starter) start(ctx context.Context) {
	ctx = s.own(ctx)
	n := s.many()
	for i := range n {
		lanes := s.lanes
		if i >= max(1, n/bulkShare) {
			lanes[2] = nil
		}
		s.wg.Go(func() { s.run(ctx, lanes) })
	}
}

// many is how many starters there are.
func (s *starter) many() int {
	if s.in.Starters > 0 {
		return s.in.Starters
	}
	return DefaultStarters
}

// lane is where messages of a class wait: a campaign that fills its own is in no
// one-time password's way. A class that is not known is a conversation's.
func (s *starter) lane(c message.Class) chan message.Start {
	switch c {
	case message.ClassOTP:
		return s.lanes[0]
	case message.ClassBulk:
		return s.lanes[2]
	}
	return s.lanes[1]
}

// offer hands a message to the starters if they have room for it. It never
// waits: without room the message stays in the outbox.
func (s *starter) offer(m message.Start) {
	if !s.claim(m.MessageID) {
		return
	}
	select {
	case s.lane(m.Class) <- m:
		return
	default:
	}
	now := s.in.Now()
	s.mu.Lock()
	delete(s.underway, m.MessageID)
	s.leftAt = now
	s.mu.Unlock()
	s.starve()
}

// starve has the sweeper look at the outbox soon.
func (s *starter) starve() {
	select {
	case s.hungry <- struct{}{}:
	default:
	}
}

// wait hands a message to the starters and waits for room.
func (s *starter) wait(ctx context.Context, m message.Start) {
	if !s.claim(m.MessageID) {
		return
	}
	select {
	case s.lane(m.Class) <- m:
	case <-ctx.Done():
		s.release(m.MessageID)
	}
}

func (s *starter) claim(id message.ID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.underway[id] {
		return false
	}
	s.underway[id] = true
	return true
}

func (s *starter) release(id message.ID) {
	s.mu.Lock()
	delete(s.underway, id)
	s.mu.Unlock()
}

// begun moves a message whose workflow exists from those under way to those
// whose row may go.
func (s *starter) begun(id message.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.underway, id)
	if len(s.started) < maxStarted {
		s.started = append(s.started, id)
	}
}

func (s *starter) claimed() []message.ID {
	s.mu.Lock()
	defer s.mu.Unlock()
	ids := make([]message.ID, 0, len(s.underway))
	for id := range s.underway {
		ids = append(ids, id)
	}
	return ids
}

// leftSince reports whether a message was left in the outbox after t.
func (s *starter) leftSince(t time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.leftAt.After(t)
}

// clear takes the rows of started workflows out of the outbox. Most are gone:
// the first step of a workflow takes its own. But a backlog's workflows may run
// long after they were started, and a row that is read again is work for
// nothing.
func (s *starter) clear(ctx context.Context) error {
	s.mu.Lock()
	ids := s.started
	s.started = nil
	s.mu.Unlock()
	if len(ids) == 0 {
		return nil
	}
	err := s.in.Journal.Started(ctx, ids)
	if err != nil {
		s.mu.Lock()
		s.started = append(ids, s.started...)
		s.mu.Unlock()
	}
	return err
}

// report says how many starts have failed since the last report: one line for
// all of them.
func (s *starter) report() {
	s.mu.Lock()
	n, err := s.failed, s.failure
	s.failed, s.failure = 0, nil
	s.mu.Unlock()
	if n > 0 {
		s.in.Log.Warn("workflows could not be started, their messages wait in the outbox", "count", n, "error", err)
	}
}

func (s *starter) run(ctx context.Context, lanes [3]chan message.Start) {
	for ctx.Err() == nil {
		if m, ok := next(ctx, lanes); ok {
			if m.Class != message.ClassOTP {
				s.makeRoom(ctx)
			}
			s.begin(ctx, m)
		}
	}
}

// next waits for a message of a lane that is not nil, and takes the most urgent one;
// false: ctx has ended.
func next(ctx context.Context, lanes [3]chan message.Start) (m message.Start, ok bool) {
	for _, lane := range lanes {
		select {
		case m = <-lane:
			return m, true
		default:
		}
	}
	select {
	case m = <-lanes[0]:
	case m = <-lanes[1]:
	case m = <-lanes[2]:
	case <-ctx.Done():
		return m, false
	}
	return m, true
}

// begin starts a message's workflow, and rests after a failure.
func (s *starter) begin(ctx context.Context, m message.Start) {
	err := s.one(ctx, m)
	if err == nil {
		s.begun(m.MessageID)
		return
	}
	if ctx.Err() == nil {
		s.mu.Lock()
		s.failed++
		s.failure = err
		s.mu.Unlock()
		rest(ctx, failPause)
	}
	s.release(m.MessageID)
}

// rest waits for d or the end of ctx.
func rest(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// makeRoom waits while many customers wait for their answers, or messages come in a
// rush, until its turn to pass all the same. One-time passwords make no room, and are
// started meanwhile. It is for bursts: when much waits already, or something for long,
// more of it helps nobody.
func (s *starter) makeRoom(ctx context.Context) {
	if !s.inTheWay() {
		return
	}
	until := s.in.Now().Add(holdBack)
	look := time.NewTicker(holdLook)
	defer look.Stop()
	for {
		select {
		case <-look.C:
			if !s.inTheWay() || s.pass(until) {
				return
			}
		case m := <-s.lane(message.ClassOTP):
			s.begin(ctx, m)
		case <-ctx.Done():
			return
		}
	}
}

// inTheWay reports whether a workflow that begins now takes the processor from
// acceptance.
func (s *starter) inTheWay() bool {
	return (s.in.accepting.Load() > crowd || s.in.rush.on(s.in.Now())) && !s.in.gate.crowded()
}

// pass lets a start that has made room until then go, if no other has gone just now.
func (s *starter) pass(until time.Time) bool {
	now := s.in.Now()
	if now.Before(until) {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Before(s.passes) {
		return false
	}
	s.passes = now.Add(holdBack / time.Duration(s.many()))
	return true
}

// one starts one workflow. Being started before counts as done.
func (s *starter) one(ctx context.Context, m message.Start) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	in := workflows.OutboundInput{MessageID: m.MessageID, AccountID: m.AccountID, Class: m.Class, Vendor: m.Vendor, SendAt: m.SendAt, ExpiresAt: m.ExpiresAt}
	if m.Kind == message.MMS {
		in.Kind = m.Kind
	}
	_, err := s.in.Temporal.Start(ctx, m.MessageID, in, describe(m))
	return err
}

// describe is what support staff read in the Temporal UI before they open
// anything.
func describe(m message.Start) About {
	parts := "1 part"
	if m.Segments != 1 {
		parts = fmt.Sprintf("%d parts", m.Segments)
	}
	details := fmt.Sprintf("- account `%s`\n- accepted %s over %s\n- valid until %s\n", m.AccountID, m.CreatedAt.UTC().Format(time.RFC3339), m.Edge, m.ExpiresAt.UTC().Format(time.RFC3339))
	if m.CampaignID != "" {
		details += "- campaign `" + m.CampaignID + "`\n"
	}
	if !m.SendAt.IsZero() {
		details += "- to be sent at " + m.SendAt.UTC().Format(time.RFC3339) + "\n"
	}
	return About{AccountID: m.AccountID, Campaign: m.CampaignID, Vendor: m.Vendor, Priority: m.Class.Priority(),
		Summary: fmt.Sprintf("%s %s → %s, %s, %s", m.Kind, dotted(m.From), dotted(m.To), m.Class, parts), Details: details}
}

// dotted is a masked address with dots: the Temporal UI reads stars as Markdown.
func dotted(a message.Address) string { return strings.ReplaceAll(a.Masked(), "*", "•") }

func startOf(m *message.Message, vendor string) message.Start {
	return message.Start{MessageID: m.ID, AccountID: m.AccountID, From: m.From, To: m.To, Kind: m.Kind, Class: m.Class, Edge: m.Edge,
		Segments: m.Segments, CampaignID: m.CampaignID, Vendor: vendor, SendAt: m.SendAt, ExpiresAt: m.ExpiresAt, CreatedAt: m.CreatedAt}
}
