package workers

import (
	"context"
	"sync"

	"go.temporal.io/sdk/worker"

	"github.com/postrider/postrider/edges/vendors"
)

// linkSlots gives out an activity slot only while the vendor's link is bound
// and has room. A slot is taken before the poll, so a link that is down or full
// leaves its backlog in Temporal, where other processes can take it.
type linkSlots struct {
	link vendors.Link // nil: no slot waits for one

	mu    sync.Mutex
	limit int
	taken int
	freed chan struct{} // closed and replaced when a slot comes back, or the limit changes
}

var _ worker.SlotSupplier = (*linkSlots)(nil)

func newLinkSlots(link vendors.Link, limit int) *linkSlots {
	return &linkSlots{link: link, limit: limit, freed: make(chan struct{})}
}

// newOpenSlots gives slots whatever a link does: its tasks are handed back.
func newOpenSlots(limit int) *linkSlots { return newLinkSlots(nil, limit) }

// setLimit changes how many are given out at most. More that are out stay out.
func (s *linkSlots) setLimit(limit int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.link == nil || s.limit == limit {
		return
	}
	s.limit = limit
	s.wakeLocked()
}

func (s *linkSlots) wakeLocked() {
	close(s.freed)
	s.freed = make(chan struct{})
}

// ReserveSlot waits for room.
func (s *linkSlots) ReserveSlot(ctx context.Context, _ worker.SlotReservationInfo) (*worker.SlotPermit, error) {
	for {
		if s.link != nil {
			if err := s.link.WaitReady(ctx); err != nil {
				// The link was stopped, and never is ready again. Whoever asks would ask
				// at once anew, until its worker has stopped as well.
				<-ctx.Done()
				return nil, ctx.Err()
			}
		}
		permit, freed := s.take()
		if permit != nil {
			return permit, nil
		}
		select {
		case <-freed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (s *linkSlots) take() (*worker.SlotPermit, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken >= s.limit {
		return nil, s.freed
	}
	s.taken++
	return &worker.SlotPermit{}, nil
}

// TryReserveSlot never gives one: eager activities would pass by the queue's
// rate limit.
func (s *linkSlots) TryReserveSlot(worker.SlotReservationInfo) *worker.SlotPermit { return nil }

// MarkSlotUsed does nothing: a reserved slot counts whether used or not.
func (s *linkSlots) MarkSlotUsed(worker.SlotMarkUsedInfo) {}

// ReleaseSlot gives a slot back.
func (s *linkSlots) ReleaseSlot(worker.SlotReleaseInfo) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken--
	s.wakeLocked()
}

// MaxSlots is the most that are given out.
func (s *linkSlots) MaxSlots() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.limit
}

// linkTuner gives the link's slots to activities and one of each other kind,
// which a vendor's worker never uses.
type linkTuner struct{ link *linkSlots }

var _ worker.WorkerTuner = linkTuner{}

// GetWorkflowTaskSlotSupplier gives a single slot.
func (linkTuner) GetWorkflowTaskSlotSupplier() worker.SlotSupplier { return single() }

// GetActivityTaskSlotSupplier gives the link's slots.
func (t linkTuner) GetActivityTaskSlotSupplier() worker.SlotSupplier { return t.link }

// GetLocalActivitySlotSupplier gives a single slot.
func (linkTuner) GetLocalActivitySlotSupplier() worker.SlotSupplier { return single() }

// GetNexusSlotSupplier gives a single slot.
func (linkTuner) GetNexusSlotSupplier() worker.SlotSupplier { return single() }

// GetSessionActivitySlotSupplier gives a single slot.
func (linkTuner) GetSessionActivitySlotSupplier() worker.SlotSupplier { return single() }

func single() worker.SlotSupplier {
	s, err := worker.NewFixedSizeSlotSupplier(1)
	if err != nil {
		panic(err) // only for sizes below 1
	}
	return s
}
