package workers

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"go.temporal.io/sdk/worker"

	"github.com/postrider/postrider/edges/vendors"
	"github.com/postrider/postrider/internal/message"
)

// gatedLink is ready while its gate is open.
type gatedLink struct {
	vendors.Link
	gate chan struct{} // closed: ready
}

func (l *gatedLink) WaitReady(ctx context.Context) error {
	select {
	case <-l.gate:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l *gatedLink) Submit(context.Context, message.Submission) (message.SubmitResult, error) {
	return message.SubmitResult{}, nil
}

// While the link is down nobody polls; while it is up, no more do than the
// limit says; and what waits ends with its context.
func TestLinkSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link := &gatedLink{gate: make(chan struct{})}
		s := newLinkSlots(link, 2)
		given := make(chan *worker.SlotPermit, 10)
		ctx, cancel := context.WithCancel(t.Context())
		failed := make(chan error, 10)
		for range 4 {
			go func() {
				p, err := s.ReserveSlot(ctx, nil)
				if err != nil {
					failed <- err
					return
				}
				given <- p
			}()
		}
		synctest.Wait()
		if len(given) != 0 {
			t.Fatalf("%d slots without a bind", len(given))
		}
		close(link.gate)
		synctest.Wait()
		if len(given) != 2 {
			t.Fatalf("%d slots, the limit is 2", len(given))
		}
		s.ReleaseSlot(nil)
		synctest.Wait()
		if len(given) != 3 {
			t.Fatalf("%d slots after one came back", len(given))
		}
		if s.TryReserveSlot(nil) != nil {
			t.Error("a slot for an eager activity")
		}
		if s.MaxSlots() != 2 {
			t.Errorf("at most %d", s.MaxSlots())
		}
		cancel()
		if err := <-failed; !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
	})
}

// A link that was cut off is made anew with its worker, which asks for slots until then:
// it gets none, and no error that would have it ask again at once.
func TestLinkSlotsOfAStoppedLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newLinkSlots(stoppedLink{}, 1)
		ctx, cancel := context.WithCancel(t.Context())
		failed := make(chan error, 1)
		go func() {
			_, err := s.ReserveSlot(ctx, nil)
			failed <- err
		}()
		synctest.Wait()
		if len(failed) != 0 {
			t.Errorf("it did not wait: %v", <-failed)
		}
		cancel()
		if err := <-failed; !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
	})
}

// stoppedLink is never ready again, and says so at once.
type stoppedLink struct{ vendors.Link }

func (stoppedLink) WaitReady(context.Context) error { return errors.New("the link is stopped") }

// The limit follows the binds, and what is drained waits for no link.
func TestLinkSlotsChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		open := &gatedLink{gate: make(chan struct{})}
		close(open.gate)
		s := newLinkSlots(open, 1)
		given := make(chan *worker.SlotPermit, 10)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		for range 4 {
			go func() {
				if p, err := s.ReserveSlot(ctx, nil); err == nil {
					given <- p
				}
			}()
		}
		synctest.Wait()
		s.setLimit(3)
		synctest.Wait()
		if len(given) != 3 || s.MaxSlots() != 3 {
			t.Errorf("%d slots of %d", len(given), s.MaxSlots())
		}
		s.setLimit(1)
		s.ReleaseSlot(nil)
		synctest.Wait()
		if len(given) != 3 {
			t.Error("a slot above the limit was given out again")
		}
		drained := newOpenSlots(1)
		drained.setLimit(5)
		if p, err := drained.ReserveSlot(ctx, nil); p == nil || err != nil || drained.MaxSlots() != 1 {
			t.Errorf("%v, %v", p, err)
		}
	})
}
