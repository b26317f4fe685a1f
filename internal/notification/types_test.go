package notification

import (
	"slices"
	"testing"
)

// The contract's list: an endpoint that asks for one of these by name gets it.
func TestTypes(t *testing.T) {
	t.Parallel()
	want := []string{"batch.completed", "campaign.cap_reached", "campaign.cap_warning", "campaign.status_changed", "endpoint.disabled", "endpoint.test",
		"message.accepted", "message.canceled", "message.delivered", "message.expired", "message.failed", "message.in_doubt", "message.received", "message.rejected",
		"message.sent", "message.unconfirmed", "message.undelivered", "opt_out.created", "opt_out.removed"}
	if got := Types(); !slices.Equal(got, want) {
		t.Errorf("%q\nwant %q", got, want)
	}
}
