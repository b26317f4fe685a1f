package activities_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"go.temporal.io/sdk/temporal"

	"github.com/postrider/postrider/activities"
	"github.com/postrider/postrider/internal/message"
)

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
