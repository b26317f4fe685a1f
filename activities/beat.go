package activities

import (
	"context"
	"sync"
	"time"

	"go.temporal.io/sdk/activity"
)

// beatEvery is how often an activity that waits for somebody else shows that its process
// lives: well below every heartbeat timeout, and never for what is answered at once, which
// so costs no write.
const beatEvery = 5 * time.Second

// Beat heartbeats until the returned function is called, which waits for its end. A local
// activity, or a plain call, has no heartbeat.
func Beat(ctx context.Context) (stop func()) {
	if !activity.IsActivity(ctx) || activity.GetInfo(ctx).IsLocalActivity {
		return func() {}
	}
	done := make(chan struct{}) // closed by stop
	var running sync.WaitGroup
	running.Go(func() {
		tick := time.NewTicker(beatEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				activity.RecordHeartbeat(ctx)
			case <-done:
				return
			}
		}
	})
	return func() {
		close(done)
		running.Wait()
	}
}
