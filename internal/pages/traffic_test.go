package pages

import (
	"testing"

	"github.com/postrider/postrider/internal/snapshot"
)

// Every page of how messages go holds to what holds for all pages.
func TestTrafficPages(t *testing.T) {
	t.Parallel()
	number := demo(t).env["POSTRIDER_FROM"][1:]
	t.Run("operator", func(t *testing.T) {
		t.Parallel()
		judgeAll(t, asStaff(t, snapshot.RoleOperator), "/console", "/console/vendors", "/console/vendors/smscsim", "/console/vendors/smscsim/edit", "/console/vendors/internal", "/console/vendors/new", "/console/vendors/new?kind=mm4", "/console/vendors/new?kind=twilio", "/console/vendors/new?kind=telnyx",
			"/console/routes", "/console/routes/new", "/console/routes/1", "/console/routes/test", "/console/routes/what-if")
	})
	t.Run("operator, who is connected", func(t *testing.T) {
		t.Parallel()
		env := demo(t).env
		tab := asStaff(t, snapshot.RoleOperator)
		bind(t, env["POSTRIDER_SMPP_ADDR"], env["POSTRIDER_SMPP_SYSTEM_ID"], env["POSTRIDER_SMPP_PASSWORD"])
		tab.Open("/console/sessions")
		tab.WaitFor(env["POSTRIDER_SMPP_SYSTEM_ID"])
		peer := addPeer(tab)
		judgeAll(t, tab, "/console/sessions", "/console/sessions/00000000-0000-7000-8000-000000000001/end", "/console/smpp-users/"+env["POSTRIDER_SMPP_SYSTEM_ID"], "/console/mm4-peers/"+peer, "/console/numbers", "/console/numbers/new", "/console/numbers/import", "/console/numbers/"+number,
			"/console/mm4-peers", "/console/mm4-peers/new", "/console/smpp-users", "/console/smpp-users/new", "/console/media-profiles", "/console/media-profiles/new", "/console/media-profiles/att")
	})
	t.Run("viewer", func(t *testing.T) {
		t.Parallel()
		judgeAll(t, asStaff(t, snapshot.RoleViewer), "/console/vendors/smscsim", "/console/routes/1", "/console/numbers/"+number)
	})
}
