package vendors

import (
	"context"
	"time"
)

// AwaitChange returns when changed is closed, or when d has passed if it is positive;
// ctx's error when that ends first. Links close and replace such a channel whenever
// something may have become possible.
func AwaitChange(ctx context.Context, changed <-chan struct{}, d time.Duration) error {
	var passed <-chan time.Time
	if d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		passed = t.C
	}
	select {
	case <-changed:
	case <-passed:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}
