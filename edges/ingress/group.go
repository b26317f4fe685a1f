package ingress

import (
	"context"
	"sync"
)

// group is the goroutines of a part of ingress. Embed it; the zero value has none and
// may be stopped. own and stop are called by one goroutine.
type group struct {
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// own gives the context of the goroutines, which ends with stop and not with ctx:
// what ingress owes its callers outlives the one that started it.
func (g *group) own(ctx context.Context) context.Context {
	ctx, g.cancel = context.WithCancel(context.WithoutCancel(ctx))
	return ctx
}

// stop ends the goroutines, and waits until they have ended.
func (g *group) stop() {
	if g.cancel != nil {
		g.cancel()
	}
	g.wg.Wait()
}
