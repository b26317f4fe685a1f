package ingress

import (
	"context"

	"github.com/postrider/postrider/internal/message"
)

// Reroute has a message routed anew, after staff have named another vendor for it:
// what waits for a vendor is taken back, what is on its way to one goes on. It is a
// hint, for every routing reads what was named, and a message that waits is routed
// anew sooner or later. One that has not begun, or has ended, is left alone.
func (in *Ingress) Reroute(ctx context.Context, id message.ID) error {
	err := in.Temporal.Reroute(ctx, id)
	if message.ReasonOf(err) == message.ReasonNotFound {
		return nil
	}
	return err
}
