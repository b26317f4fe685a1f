package redrive

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// store is a re-drive in memory, the messages that its filter finds, and a door before it.
type store struct {
	mu       sync.Mutex
	r        message.Redrive
	messages []*message.Message // newest first
	items    map[message.ID]*message.RedriveItem
	acts     map[message.ID]int
	paced    int
	wait     time.Duration
	searches []int
	say      func(i message.RedriveItem) message.RedriveItem // of the door; nil: it is done
	judge    func(m *message.Message) message.RedriveItemState
	onTake   func()
	fail     error
}

func (s *store) lock() func() { s.mu.Lock(); return s.mu.Unlock }

func (s *store) RedriveByID(context.Context, message.ID) (*message.Redrive, error) {
	defer s.lock()()
	r := s.r
	return &r, s.fail
}

func (s *store) SearchAllMessages(_ context.Context, q message.Search) (f message.Found, err error) {
	defer s.lock()()
	s.searches = append(s.searches, q.Limit)
	for i, m := range s.messages {
		if q.Before != (message.ID{}) && m.ID.String() >= q.Before.String() {
			continue
		}
		if f.Messages = append(f.Messages, m); len(f.Messages) == q.Limit {
			if i < len(s.messages)-1 {
				f.Next = m.ID
			}
			return f, nil
		}
	}
	return f, nil
}

func (s *store) PaceBatch(_ context.Context, _ []message.BatchPace, n int) (time.Duration, error) {
	defer s.lock()()
	s.paced += n
	return s.wait, nil
}

func (s *store) TakeRedrive(_ context.Context, _ message.ID, p message.RedrivePage) (*message.Redrive, bool, error) {
	if s.onTake != nil {
		s.onTake()
	}
	defer s.lock()()
	if s.r.Status != message.RedriveRunning || s.r.Position != p.From {
		r := s.r
		return &r, false, nil
	}
	s.r.Count(p)
	for _, i := range p.Items {
		s.items[i.MessageID] = &i
	}
	r := s.r
	return &r, true, nil
}

func (s *store) ClaimRedrive(context.Context, message.ID, int) (*message.Redrive, []message.RedriveItem, error) {
	defer s.lock()()
	var out []message.RedriveItem
	for _, i := range s.items {
		if i.State == message.ItemWaits {
			i.State = message.ItemClaimed
			out = append(out, *i)
		}
	}
	r := s.r
	return &r, out, nil
}

func (s *store) RecordRedrive(_ context.Context, _ message.ID, items []message.RedriveItem) (*message.Redrive, error) {
	defer s.lock()()
	for _, i := range items {
		s.items[i.MessageID].State = i.State
		s.r.Settle(i)
	}
	r := s.r
	return &r, nil
}

func (s *store) EndRedrive(context.Context, message.ID) (*message.Redrive, error) {
	defer s.lock()()
	if s.r.Open() == 0 || s.r.DryRun {
		switch s.r.Status {
		case message.RedriveRunning:
			s.r.Status = message.RedriveCompleted
		case message.RedriveStopping:
			s.r.Status = message.RedriveStopped
		}
	}
	r := s.r
	return &r, nil
}

func (s *store) JudgeRedrive(_ context.Context, _ *message.Redrive, m *message.Message) message.RedriveItem {
	i := message.RedriveItem{MessageID: m.ID, State: message.ItemDone}
	if s.judge != nil {
		i.State = s.judge(m)
	}
	if i.State != message.ItemDone {
		i.Error = message.Refuse(message.ReasonConflict, "it is delivered")
	}
	return i
}

func (s *store) ActRedrive(_ context.Context, _ *message.Redrive, i message.RedriveItem) message.RedriveItem {
	defer s.lock()()
	s.acts[i.MessageID]++
	if s.say != nil {
		return s.say(i)
	}
	i.State = message.ItemDone
	return i
}

func with(messages int, change func(*message.Redrive)) (*store, *Activities) {
	s := &store{r: message.Redrive{ID: message.NewID(), Action: message.RedriveRetry, Status: message.RedriveRunning, Limit: 1000, PerSecond: 40},
		items: map[message.ID]*message.RedriveItem{}, acts: map[message.ID]int{}}
	for range messages {
		s.messages = append([]*message.Message{{ID: message.NewID(), Status: message.StatusFailed}}, s.messages...)
	}
	if change != nil {
		change(&s.r)
	}
	return s, &Activities{Journal: s, Door: s, Now: time.Now}
}

func (s *store) run(t *testing.T, a *Activities, in Input) Result {
	t.Helper()
	r, err := a.WorkRedrive(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestEachMessageOnce(t *testing.T) {
	s, a := with(25, nil)
	counted := map[message.RedriveItemState]int{}
	a.Worked = func(_ message.RedriveAction, o message.RedriveItemState, n int) { counted[o] += n }
	s.judge = func(m *message.Message) message.RedriveItemState {
		if m == s.messages[3] {
			return message.ItemPassed
		}
		return message.ItemDone
	}
	if r := s.run(t, a, Input{}); !r.Ended || r.Status != message.RedriveCompleted || r.Looked != 25 || r.Done != 24 || r.Passed != 1 || counted[message.ItemDone] != 24 {
		t.Errorf("%+v, %v", r, counted)
	}
	ids := map[message.ID]bool{}
	for id, i := range s.items {
		if passed := id == s.messages[3].ID; s.acts[id] != 1 && !passed || s.acts[id] != 0 && passed {
			t.Errorf("done %d times", s.acts[id])
		}
		ids[i.NewMessageID] = true
	}
	if len(ids) != 25 { // one of them is none
		t.Errorf("%d ids of new messages", len(ids))
	}
	if s.searches[0] != 10 || s.paced < 25 {
		t.Errorf("searched for %v, paced %d", s.searches, s.paced)
	}
}

func TestLimit(t *testing.T) {
	s, a := with(25, func(r *message.Redrive) { r.Limit = 12 })
	if r := s.run(t, a, Input{}); r.Looked != 12 || !s.r.More || !r.Ended {
		t.Errorf("%+v", r)
	}
	s, a = with(12, func(r *message.Redrive) { r.Limit = 12 })
	if s.run(t, a, Input{}); s.r.More {
		t.Error("there are no more")
	}
}

func TestDryRunDoesNothing(t *testing.T) {
	s, a := with(1200, func(r *message.Redrive) { r.DryRun, r.Limit = true, 5000 })
	s.wait = time.Hour
	s.judge = func(m *message.Message) message.RedriveItemState {
		if m == s.messages[0] {
			return message.ItemRefused
		}
		return message.ItemDone
	}
	if r := s.run(t, a, Input{}); !r.Ended || r.Done != 1199 || r.Refused != 1 || len(s.acts) != 0 || s.paced != 0 || s.searches[0] != look || len(s.r.Tally.Sample) != message.RedriveSample {
		t.Errorf("%+v, searches %v, %d acts", r, s.searches, len(s.acts))
	}
}

func TestStops(t *testing.T) {
	s, a := with(25, nil)
	s.onTake = func() {
		if s.r.Looked > 0 {
			s.r.Status = message.RedriveStopping
		}
	}
	if r := s.run(t, a, Input{}); r.Status != message.RedriveStopped || r.Looked != 10 || r.Done != 10 || !r.Ended {
		t.Errorf("%+v", r)
	}
}

// What has to wait is tried again, after as long as it says, and what nobody knows of
// keeps the re-drive open.
func TestWaits(t *testing.T) {
	s, a := with(3, nil)
	full := true
	s.say = func(i message.RedriveItem) message.RedriveItem {
		i.State, i.Error = message.ItemDone, nil
		if full {
			i.State, i.Error = message.ItemWaits, &message.Error{Reason: message.ReasonQueueFull, After: 7 * time.Second}
		}
		return i
	}
	if r := s.run(t, a, Input{}); r.Ended || r.Wait != 7*time.Second || r.Why != message.ReasonQueueFull {
		t.Errorf("%+v", r)
	}
	full = false
	if r := s.run(t, a, Input{}); !r.Ended || r.Done != 3 {
		t.Errorf("%+v", r)
	}
	s, a = with(1, nil)
	s.say = func(i message.RedriveItem) message.RedriveItem {
		i.State, i.Error = message.ItemClaimed, &message.Error{Reason: message.ReasonUnavailable}
		return i
	}
	if r := s.run(t, a, Input{}); r.Ended || r.Wait != waitAgain {
		t.Errorf("%+v", r)
	}
	if r := s.run(t, a, Input{}); r.Ended || r.Wait != brokenOff {
		t.Errorf("%+v", r)
	}
}

// A moment that lies behind the chunk is given back, and taken up by the next.
func TestRate(t *testing.T) {
	s, a := with(5, nil)
	s.wait = time.Hour
	r := s.run(t, a, Input{})
	if r.Slot.Messages != 10 || len(s.acts) != 0 || time.Until(r.Slot.At) < 50*time.Minute {
		t.Fatalf("%+v", r)
	}
	r.Slot.At = time.Now()
	if r = s.run(t, a, Input{Slot: r.Slot}); s.r.Done != 5 {
		t.Errorf("%+v", r)
	}
}

func TestRecordAway(t *testing.T) {
	s, a := with(1, nil)
	s.fail = errors.New("away")
	if _, err := a.WorkRedrive(t.Context(), Input{}); err == nil {
		t.Error("no error")
	}
}
