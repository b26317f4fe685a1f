package batch

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// store is a batch in memory, and a door before it.
type store struct {
	mu      sync.Mutex
	b       message.Batch
	rows    []message.BatchRow
	perSec  int
	taken   int // rows that a moment was given to
	wait    time.Duration
	claims  []int
	accepts map[int]int
	say     func(row int) message.BatchRowState // of the door; nil: all are made
	onClaim func()
	rated   map[string]int
	told    int
	open    int // rows of a canceled batch that may still come
	ids     []message.ID
	late    map[message.ID]error
	gone    []message.ID
	ended   bool
}

func (s *store) lock() func() { s.mu.Lock(); return s.mu.Unlock }

func (s *store) BatchByID(context.Context, message.ID) (*message.Batch, error) {
	defer s.lock()()
	b := s.b
	return &b, nil
}

func (s *store) PaceBatch(_ context.Context, _ []message.BatchPace, n int) (time.Duration, error) {
	defer s.lock()()
	s.taken += n
	return s.wait, nil
}

func (s *store) ClaimBatch(_ context.Context, _ message.ID, limit int, held []string) (*message.Batch, []message.BatchRow, error) {
	if s.onClaim != nil {
		s.onClaim()
	}
	defer s.lock()()
	s.claims = append(s.claims, limit)
	b := s.b
	var out []message.BatchRow
	for i := range s.rows {
		if r := &s.rows[i]; !slices.Contains(held, r.Sender) && b.Status == message.BatchRunning && len(out) < limit && (r.State == message.RowPending || r.State == message.RowClaimed) {
			if r.State == message.RowPending {
				r.State, r.MessageID = message.RowClaimed, message.NewID()
			}
			out = append(out, *r)
		}
	}
	return &b, out, nil
}

func (s *store) RecordBatch(_ context.Context, _ message.ID, rows []message.BatchRow) (*message.Batch, error) {
	defer s.lock()()
	for _, r := range rows {
		s.rows[r.Row-1].State = r.State
		if r.State == message.RowMade || r.State == message.RowRefused {
			s.b.Worked++
		}
	}
	b := s.b
	return &b, nil
}

func (s *store) CompleteBatch(_ context.Context, _ message.ID, tell func(message.BatchProgress) (message.AccountEvent, error)) error {
	defer s.lock()()
	if s.b.Status == message.BatchCanceled {
		return nil
	}
	s.b.Status = message.BatchCompleted
	_, err := tell(message.BatchProgress{Batch: s.b})
	return err
}

func (s *store) DroppedBatch(context.Context, message.ID) (int, error) { return s.open, nil }

func (s *store) CancelableOfBatch(_ context.Context, _, after message.ID, limit int) ([]message.ID, error) {
	i := 0
	if after != (message.ID{}) {
		i = slices.Index(s.ids, after) + 1
	}
	return s.ids[i:min(i+limit, len(s.ids))], nil
}

func (s *store) EndCanceledBatch(context.Context, message.ID) error {
	s.ended = true
	return nil
}

func (s *store) OpenBatch(*message.Batch) ([]message.BatchPace, func(context.Context, message.BatchRow) message.BatchRow) {
	return []message.BatchPace{{PerSecond: s.perSec}}, func(_ context.Context, r message.BatchRow) message.BatchRow {
		defer s.lock()()
		s.accepts[r.Row]++
		r.State = message.RowMade
		if s.say != nil {
			r.State = s.say(r.Row)
		}
		if r.State == message.RowPending || r.State == message.RowClaimed {
			r.Error = &message.Error{Reason: message.ReasonQueueFull, After: 3 * time.Second}
		}
		if s.rated[r.Sender] > 0 { // so many of its rows have to wait
			s.rated[r.Sender]--
			r.State, r.Error = message.RowPending, &message.Error{Reason: message.ReasonRateLimitExceeded, After: 20 * time.Second}
		}
		return r
	}
}

func (s *store) Cancel(_ context.Context, id message.ID) error {
	defer s.lock()()
	s.gone = append(s.gone, id)
	return s.late[id]
}

func with(rows, perSecond int) (*store, *Activities) {
	s := &store{b: message.Batch{ID: message.NewID(), Status: message.BatchRunning, Total: rows}, perSec: perSecond, accepts: map[int]int{}, late: map[message.ID]error{}}
	for i := range rows {
		s.rows = append(s.rows, message.BatchRow{Row: i + 1, State: message.RowPending})
	}
	return s, &Activities{Journal: s, Door: s, Now: time.Now, Tell: func(message.BatchProgress, time.Time) (message.AccountEvent, error) {
		s.told++
		return message.AccountEvent{}, nil
	}}
}

// Rows that nobody may be given yet are waited for, not asked for without a pause.
func TestWorkBatchWaitsForBrokenTries(t *testing.T) {
	s, a := with(2, 100)
	s.rows[0].State, s.rows[1].State, s.b.Worked = message.RowMade, "kept back", 1
	r, err := a.WorkBatch(t.Context(), Input{BatchID: s.b.ID})
	if err != nil || r.Done || r.Wait != brokenOff || len(s.claims) != 1 {
		t.Errorf("%+v, %v, %d claims", r, err, len(s.claims))
	}
}

// Chunk after chunk to the end, none larger than it may be, each row once.
func TestWorkBatchToItsEnd(t *testing.T) {
	s, a := with(1000, 100_000)
	for n := 0; ; n++ {
		r, err := a.WorkBatch(t.Context(), Input{BatchID: s.b.ID, Slot: Slot{}})
		if err != nil {
			t.Fatal(err)
		}
		if r.Done {
			break
		}
		if r.Slot.Rows == 0 || r.Worked != chunkRows*(n+1) {
			t.Fatalf("chunk %d: %+v", n, r)
		}
	}
	if s.told != 1 || len(s.accepts) != 1000 || slices.Max(s.claims) > chunkRows {
		t.Errorf("told %d times, %d rows, %v", s.told, len(s.accepts), s.claims)
	}
	for row, n := range s.accepts {
		if n != 1 {
			t.Errorf("row %d was accepted %d times", row, n)
		}
	}
	if r, err := a.WorkBatch(t.Context(), Input{BatchID: s.b.ID}); err != nil || !r.Done && r.Status != message.BatchCompleted {
		t.Errorf("%+v, %v", r, err)
	}
}

// A moment that is far off is given back to be waited for, and used when it comes.
func TestWorkBatchWaitsForItsMoment(t *testing.T) {
	s, a := with(10, 8)
	s.wait = time.Hour
	r, err := a.WorkBatch(t.Context(), Input{BatchID: s.b.ID})
	if err != nil || r.Slot.Rows != 2 || time.Until(r.Slot.At) < 50*time.Minute || len(s.claims) != 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	again, err := a.WorkBatch(t.Context(), Input{BatchID: s.b.ID, Slot: r.Slot}) // woken too early
	if err != nil || again.Slot != r.Slot || s.taken != 2 {
		t.Fatalf("%+v, %v, %d taken", again, err, s.taken)
	}
	r, err = a.WorkBatch(t.Context(), Input{BatchID: s.b.ID, Slot: Slot{At: time.Now(), Rows: 2}})
	if err != nil || r.Worked != 2 || r.Slot.Rows != 2 || s.taken != 4 {
		t.Errorf("%+v, %v, %d taken", r, err, s.taken)
	}
}

// Rows that have to wait are worked again; those beside them are done.
func TestWorkBatchAgain(t *testing.T) {
	for _, state := range []message.BatchRowState{message.RowPending, message.RowClaimed} {
		s, a := with(4, 100)
		s.say = func(row int) message.BatchRowState {
			switch row {
			case 2:
				return state
			case 3:
				return message.RowRefused
			}
			return message.RowMade
		}
		r, err := a.WorkBatch(t.Context(), Input{BatchID: s.b.ID})
		if err != nil || r.Worked != 3 || r.Wait != 3*time.Second || r.Why != message.ReasonQueueFull || s.rows[1].State != state {
			t.Errorf("%+v, %v, %s", r, err, s.rows[1].State)
		}
		s.say = nil
		if r, err = a.WorkBatch(t.Context(), Input{BatchID: s.b.ID}); err != nil || !r.Done || s.accepts[1] != 1 || s.accepts[2] != 2 {
			t.Errorf("%+v, %v, %v", r, err, s.accepts)
		}
	}
}

// A pause and a cancellation are seen before the next rows are taken on.
// Rows at the head that wait for the rate of their number hold no row of another.
func TestHeldSenderHoldsNoOther(t *testing.T) {
	s, a := with(100, 1000)
	for i := range 60 {
		s.rows[i].Sender = "slow"
	}
	s.rated = map[string]int{"slow": 50}
	r, err := a.WorkBatch(t.Context(), Input{})
	if err != nil {
		t.Fatal(err)
	}
	made := 0
	for _, row := range s.rows {
		if row.State == message.RowMade && row.Sender == "" {
			made++
		}
	}
	if made != 40 || r.Done || r.Wait < 15*time.Second || r.Wait > 20*time.Second || r.Why != message.ReasonRateLimitExceeded || len(r.Held) != 1 {
		t.Errorf("%d rows of the other were made: %+v", made, r)
	}
	tried := len(s.accepts)
	if r, err = a.WorkBatch(t.Context(), Input{Held: r.Held}); err != nil || r.Worked == 100 || len(s.accepts) != tried {
		t.Errorf("the next chunk tries what is held: %+v, %v", r, err)
	}
	s.rated = nil
	if r, err = a.WorkBatch(t.Context(), Input{Held: Held{"slow": time.Now().Add(-time.Second)}}); err != nil || !r.Done || r.Held != nil {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestHeldIsBounded(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	var h Held
	for i := range 2 * maxHeld {
		h.hold(string(rune('a'+i)), now, time.Duration(i)*100*time.Millisecond)
	}
	if len(h) != maxHeld || h[string(rune('a'+2*maxHeld-1))].Sub(now) != 39900*time.Millisecond {
		t.Errorf("%d are held", len(h))
	}
	h.hold("longest", now, time.Hour)
	if left := h.at(now.Add(40 * time.Second)); len(left) != 1 || left[0] != "longest" || len(h) != 1 {
		t.Errorf("%v", left)
	}
}

func TestWorkBatchStops(t *testing.T) {
	for _, status := range []message.BatchStatus{message.BatchPaused, message.BatchCanceled} {
		s, a := with(100, 40)
		s.onClaim = func() {
			defer s.lock()()
			if len(s.claims) == 2 {
				s.b.Status = status
			}
		}
		r, err := a.WorkBatch(t.Context(), Input{BatchID: s.b.ID})
		if err != nil || r.Status != status || r.Done || r.Worked != 20 {
			t.Errorf("%+v, %v", r, err)
		}
	}
}

func TestWithdrawBatch(t *testing.T) {
	s, a := with(1, 1)
	s.b.Status = message.BatchCanceled
	for range cancelBatch + 5 {
		s.ids = append(s.ids, message.NewID())
	}
	s.late[s.ids[0]] = message.Refuse(message.ReasonConflict, "sent")
	r, err := a.WithdrawBatch(t.Context(), Input{BatchID: s.b.ID})
	if err != nil || r.Done || r.After != s.ids[cancelBatch-1] || len(s.gone) != cancelBatch {
		t.Fatalf("%+v, %v", r, err)
	}
	s.open = 1
	if r, err = a.WithdrawBatch(t.Context(), Input{BatchID: s.b.ID, After: r.After}); err != nil || r.Done || r.Wait == 0 || s.ended {
		t.Fatalf("%+v, %v", r, err)
	}
	s.open = 0
	s.late[s.ids[1]] = errors.New("away")
	if _, err = a.WithdrawBatch(t.Context(), Input{BatchID: s.b.ID}); err == nil {
		t.Error("a message that could not be withdrawn is forgotten")
	}
	s.ids = nil
	if r, err = a.WithdrawBatch(t.Context(), Input{BatchID: s.b.ID}); err != nil || !r.Done || !s.ended {
		t.Errorf("%+v, %v", r, err)
	}
}
