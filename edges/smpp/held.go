package smpp

import (
	"context"

	"github.com/postrider/postrider/internal/message"
)

const (
	// heldBatch is how many deliveries end in one statement because their account
	// has too many, and heldBatches how many such statements a look may take: an
	// account that is owed a thousand a second does not outgrow its cap by much.
	heldBatch   = 1000
	heldBatches = 20
)

// watchHeld tells what is held for the accounts, and ends what is beyond their
// caps.
func (s *Server) watchHeld() {
	ctx, cancel := context.WithTimeout(s.life, journalTime)
	defer cancel()
	held, err := s.Journal.HeldDeliveries(ctx)
	if err != nil {
		s.log.Error("smpp deliveries held: not counted", "error", err)
	}
	if s.Metrics.Held != nil {
		s.Metrics.Held(held)
	}
	batches := heldBatches
	for _, h := range held {
		for over := h.Pending - h.Cap; over > 0 && batches > 0; over -= heldBatch {
			batches--
			if !s.endHeld(ctx, h.AccountID, min(over, heldBatch)) {
				break
			}
		}
	}
}

// endHeld reports whether there may be more to end.
func (s *Server) endHeld(ctx context.Context, account message.ID, most int) bool {
	ended, err := s.Journal.EndHeld(ctx, account, most)
	if err != nil {
		s.log.Error("smpp deliveries over the account's cap not ended", "account", account, "error", err)
		return false
	}
	if ended > 0 {
		s.log.Warn("smpp deliveries ended: too many are held for the account", "account", account, "count", ended)
	}
	return ended == most
}
