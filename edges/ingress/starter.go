package ingress

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/workflows"
)

// Bounds of the starter.
const (
	// DefaultStarters is the number of workflow starts under way at once.
	DefaultStarters = 16
	// offered is how many accepted messages may wait in memory for a starter.
	// They are hints only: what does not fit waits in the outbox.
	offered = 256
	// startTimeout bounds one start.
	startTimeout = 5 * time.Second
)

// starter starts the workflows of accepted messages, a bounded number at once.
// It holds no only copy: every message that it knows of has a row in the
// outbox until its workflow has written to the record.
type starter struct {
	in     *Ingress
	queue  chan message.Start // never closed; what is in it at the end is in the outbox
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu       sync.Mutex
	underway map[message.ID]bool // waiting in the queue or being started
	hungry   chan struct{}       // a poke for the sweeper: the queue has run dry, or rows were left in the outbox
}

func (s *starter) start(ctx context.Context, in *Ingress) {
	s.in = in
	s.queue = make(chan message.Start, offered)
	s.underway = make(map[message.ID]bool)
	s.hungry = make(chan struct{}, 1)
	s.hungry = make(chan struct{}, 1)
	ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	n := in.Starters
	if n <= 0 {
		n = DefaultStarters
	}
	for range n {
		s.wg.Go(func() { s.run(ctx) })
	}
}

func (s *starter) stop() {
	if s.cancel != nil {
		s.cancel()
	}
	s.wg.Wait()
}

// offer hands a message to the starters if they have room for it. It never
// waits: without room the message stays in the outbox.
func (s *starter) offer(m message.Start) {
	if s.queue == nil || !s.claim(m.MessageID) {
		return
	}
	select {
	case s.queue <- m:
	default:
		s.release(m.MessageID)
		s.poke()
	}
}

// wait hands a message to the starters and waits for room.
func (s *starter) wait(ctx context.Context, m message.Start) {
	if !s.claim(m.MessageID) {
		return
	}
	select {
	case s.queue <- m:
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

func (s *starter) claimed() []message.ID {
	s.mu.Lock()
	defer s.mu.Unlock()
	ids := make([]message.ID, 0, len(s.underway))
	for id := range s.underway {
		ids = append(ids, id)
	}
	return ids
}

func (s *starter) poke() {
	select {
	case s.hungry <- struct{}{}:
	default:
	}
}

func (s *starter) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case m := <-s.queue:
			s.one(ctx, m)
			s.release(m.MessageID)
		}
	}
}

func (s *starter) one(ctx context.Context, m message.Start) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	already, err := s.in.Temporal.Start(ctx, m.MessageID, workflows.OutboundInput{MessageID: m.MessageID, AccountID: m.AccountID,
		Class: m.Class, SendAt: m.SendAt, ExpiresAt: m.ExpiresAt}, describe(m))
	if err != nil {
		// It waits in the outbox; one line a sweep says so, not one a message.
		s.in.Log.Debug("workflow not started, the message waits", "message_id", m.MessageID, "error", err)
		return
	}
	if !already {
		return // its first step takes the row out of the outbox
	}
	if err := s.in.Journal.Started(ctx, []message.ID{m.MessageID}); err != nil {
		s.in.Log.Debug("outbox row stays for the next sweep", "message_id", m.MessageID, "error", err)
	}
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
	return About{AccountID: m.AccountID, Campaign: m.CampaignID, Priority: m.Class.Priority(),
		Summary: fmt.Sprintf("%s %s → %s, %s, %s", m.Kind, m.From.Masked(), m.To.Masked(), m.Class, parts), Details: details}
}
