package pages

import (
	"testing"
)

// The pages of what an account sends and receives, in the portal.
func TestSendingPages(t *testing.T) {
	t.Parallel()
	judgeAll(t, asUser(t, "owner"), "/portal/messages", "/portal/inbound", "/portal/send", "/portal/batches", "/portal/batches/new")
}
