package workflows_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/postrider/postrider/activities/submit"
	"github.com/postrider/postrider/internal/message"
)

// maxEvents is what Temporal lets a history hold (limit.historyCount.error).
const maxEvents = 51_200

// However many vendors an account's messages may go to, and whatever keeps all of them
// from taking one for as long as a message may be valid: its history has room.
func TestHistoryHasRoom(t *testing.T) {
	away := submit.Result{Outcome: submit.Busy, Reason: message.ReasonVendorUnreachable, RetryAfter: time.Second}
	for name, c := range map[string]struct {
		answer submit.Result
		reason message.Reason
	}{
		"throttled":  {throttle, message.ReasonVendorThrottled},
		"in trouble": {trouble, message.ReasonExpired},
		"no link":    {away, message.ReasonVendorUnreachable},
		"no bind":    {submit.Result{Outcome: down}, message.ReasonVendorUnreachable},
		"going":      {gone, message.ReasonVendorUnreachable},
	} {
		t.Run(name, func(t *testing.T) {
			b := setup(t)
			b.in.ExpiresAt = start.Add(72 * time.Hour)
			var names []string
			for i := range 20 {
				names = append(names, fmt.Sprintf("vendor-%d", i))
			}
			b.candidates = b.others(names...)
			b.vendor = answers(c.answer)
			b.run(expired, c.reason)
			// An offer is 3 events, its vendor in the search index 1, a pause 2, the task
			// after each of the two 3; a list is a marker and what the pause before it is.
			events := len(b.offers)*(3+1+2+2*3) + len(b.listedAt)*(1+2+3)
			if events > maxEvents/2 {
				t.Errorf("%d offers and %d lists make %d events", len(b.offers), len(b.listedAt), events)
			}
			for _, name := range names {
				if !slices.Contains(b.offers[len(b.offers)-100:], name) {
					t.Errorf("%s is asked no more", name)
				}
			}
		})
	}
}

// A one-time password that nobody else takes when no receipt comes is given up on some
// time: by then nobody waits for it.
func TestHistoryHasRoomForResends(t *testing.T) {
	b := password(t)
	b.in.ExpiresAt = start.Add(72 * time.Hour)
	names, list := []string{"acme"}, map[string]submit.Result{}
	for i := range 20 {
		names = append(names, fmt.Sprintf("vendor-%d", i))
		list[names[i+1]] = trouble
	}
	b.candidates, b.vendor = b.others(names...), says(list)
	b.run(unconfirmed, message.ReasonNoReceipt)
	if events := len(b.offers) * 12; events > maxEvents/2 || len(b.offers) < 60 {
		t.Errorf("%d offers make %d events", len(b.offers), events)
	}
}
