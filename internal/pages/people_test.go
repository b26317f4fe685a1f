package pages

import (
	"testing"

	"github.com/postrider/postrider/internal/pages/browser"
	"github.com/postrider/postrider/internal/snapshot"
)

// asStaff is a tab in which the demo's member of staff of a role has signed in to the console.
func asStaff(t *testing.T, role snapshot.Role) *browser.Tab {
	t.Helper()
	name := string(role)
	if role == snapshot.RoleAdmin {
		name = "demo"
	}
	return signedIn(t, snapshot.Console, name)
}

// asUser is a tab in which a user of the demo's account has signed in to the portal: "owner",
// who may do everything, or "reader", who may only look.
func asUser(t *testing.T, name string) *browser.Tab {
	t.Helper()
	return signedIn(t, snapshot.Portal, name)
}

func signedIn(t *testing.T, door snapshot.Door, name string) *browser.Tab {
	t.Helper()
	g := demo(t)
	tab := browser.Open(t, g.url)
	tab.Open("/" + string(door) + "/sign-in")
	tab.Fill("E-mail address", name+g.env["POSTRIDER_PEOPLE_SUFFIX"])
	tab.Fill("Password", g.env["POSTRIDER_ADMIN_PASSWORD"])
	tab.Click("Sign in")
	tab.See("Sign out")
	return tab
}

// judgeAll holds pages to what holds for all pages, and pictures them. The reports of axe that
// do not fail them are logged.
func judgeAll(t *testing.T, tab *browser.Tab, paths ...string) {
	t.Helper()
	var links browser.Links
	for _, path := range paths {
		judged := tab.Judge(path, &links)
		for _, fault := range judged.Faults {
			t.Errorf("%s: %s", path, fault)
		}
		for _, note := range judged.Notes {
			t.Logf("%s: %s", path, note)
		}
	}
}

// The first pages of both doors, and the sign-in before them.
func TestFirstPages(t *testing.T) {
	t.Parallel()
	t.Run("sign-in", func(t *testing.T) {
		t.Parallel()
		judgeAll(t, browser.Open(t, demo(t).url), "/console/sign-in", "/portal/sign-in", "/console/forgot")
	})
	t.Run("console", func(t *testing.T) {
		t.Parallel()
		judgeAll(t, asStaff(t, snapshot.RoleAdmin), "/console", "/console/messages", "/console/profile")
	})
	t.Run("portal", func(t *testing.T) {
		t.Parallel()
		judgeAll(t, asUser(t, "owner"), "/portal/profile")
	})
}
