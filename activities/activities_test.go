package activities_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"go.temporal.io/sdk/temporal"

	"github.com/postrider/postrider/activities"
	"github.com/postrider/postrider/activities/journaltest"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// A sender over SMPP is owed what it may have asked to be told of: that its message
// was sent, and how it ended, once each. Other senders are told by webhooks alone.
func TestTellOwes(t *testing.T) {
	for _, edge := range []string{message.EdgeSMPP, message.EdgeMM4, "rest"} {
		for _, to := range message.Statuses() {
			for _, from := range message.Before(to) {
				j := &journaltest.Journal{}
				m := message.Message{ID: message.NewID(), Edge: edge, Status: from}
				j.Put(m)
				for range 2 {
					if _, err := activities.Tell(t.Context(), j, &snapshot.Snapshot{}, m, message.Change{To: to}, nil, false); err != nil {
						t.Fatal(err)
					}
				}
				var want []message.Status
				if o := (message.SMPPOrigin{Registered: 0x01}); edge == message.EdgeSMPP && (to == message.StatusSent || o.WantsReceipt(to)) {
					want = []message.Status{to}
				}
				if edge == message.EdgeMM4 && to.Final() {
					want = []message.Status{to}
				}
				if got := j.Owed(m.ID); !slices.Equal(got, want) {
					t.Errorf("over %s from %s to %s: owed %v, want %v", edge, from, to, got, want)
				}
			}
		}
	}
}

func TestFail(t *testing.T) {
	if activities.Fail(nil) != nil {
		t.Fatal("an error out of nothing")
	}
	for _, c := range []struct {
		name  string
		err   error
		kind  message.Reason
		final bool
		delay time.Duration
	}{
		{"the database is away", errors.New("connection refused"), message.ReasonInternal, false, 0},
		{"a permanent reason", fmt.Errorf("admit: %w", message.Refuse(message.ReasonNotFound, "no message")), message.ReasonNotFound, true, 0},
		{"a temporary reason", message.Refuse(message.ReasonUnavailable, "away"), message.ReasonUnavailable, false, 0},
		{"a hint", fmt.Errorf("submit: %w", &message.SubmitError{Reason: message.ReasonVendorThrottled, After: time.Minute}), message.ReasonInternal, false, time.Minute},
	} {
		var app *temporal.ApplicationError
		err := activities.Fail(c.err)
		if !errors.As(err, &app) || app.Type() != string(c.kind) || app.NonRetryable() != c.final || app.NextRetryDelay() != c.delay || !errors.Is(err, c.err) {
			t.Errorf("%s: %#v", c.name, err)
		}
		if again := activities.Fail(err); again != err {
			t.Errorf("%s: wrapped twice", c.name)
		}
	}
}
