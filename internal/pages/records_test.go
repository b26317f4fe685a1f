package pages

import (
	"testing"
)

// The pages of what an account has to send and receive with, in the portal.
func TestRecordsPages(t *testing.T) {
	t.Parallel()
	t.Run("lists", func(t *testing.T) {
		t.Parallel()
		judgeAll(t, asUser(t, "owner"), "/portal/numbers", "/portal/inbound-settings", "/portal/usage", "/portal/usage?by=status", "/portal/balance", "/portal/opt-outs", "/portal/opt-outs/check", "/portal/opt-outs/import", "/portal/registration")
	})
	t.Run("forms", func(t *testing.T) {
		t.Parallel()
		judgeAll(t, asUser(t, "owner"), "/portal/inbound-settings?change=1&slots=2", "/portal/opt-outs/new", "/portal/brands/new", "/portal/campaigns/new")
	})
	t.Run("read only", func(t *testing.T) {
		t.Parallel()
		judgeAll(t, asUser(t, "reader"), "/portal/numbers", "/portal/registration", "/portal/opt-outs")
	})
}
