package pages

import (
	"regexp"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/pages/browser"
	"github.com/postrider/postrider/internal/secret"
	"github.com/postrider/postrider/internal/snapshot"
)

// aLink is the path of a link that is good once, aKey what an authenticator app is given.
var (
	aLink = regexp.MustCompile(`/console/links/[A-Za-z0-9_-]+`)
	aKey  = regexp.MustCompile(`\b[A-Z2-7]{32}\b`)
	// aRecovery is a code for who has not got the app.
	aRecovery = regexp.MustCompile(`\b[a-z2-9]{5}-[a-z2-9]{5}\b`)
)

// codeAt is the code that an authenticator app shows at a time.
func codeAt(key string, at time.Time) string { return secret.TOTPCode(secret.Conceal(key), at) }

func signIn(tab *browser.Tab, email, password string) {
	tab.Open("/console/sign-in")
	tab.Fill("E-mail address", email)
	tab.Fill("Password", password)
	tab.Click("Sign in")
}

// Somebody is invited, chooses a password by the link, which is good once, turns on the second
// factor, and signs in with both, and without the app by a recovery code.
func TestFromInvitationToSecondFactor(t *testing.T) {
	t.Parallel()
	const email, password = "frank-of-signin@postrider.example", "a horse, a battery and a staple"
	admin := asStaff(t, snapshot.RoleAdmin)
	admin.Open("/console/staff/invite")
	form := admin.Within("Invite somebody")
	form.Fill("E-mail address", email)
	form.Choose("Role", "support")
	form.Submit("Invite")
	link := aLink.FindString(admin.Text())
	tab := browser.Open(t, demo(t).url)
	tab.Expect("401", "404", "410", "422")
	tab.Open(link)
	tab.Fill("New password", "short")
	tab.Fill("New password once more", "short")
	tab.Click("Set the password")
	tab.See("at least")
	tab.Fill("New password", password)
	tab.Fill("New password once more", password)
	tab.Click("Set the password")
	signIn(tab, email, "not "+password)
	tab.See("Sign in")
	tab.SeeNot("Sign out")
	signIn(tab, email, password)
	tab.See("Sign out", "support")
	tab.Open("/console/profile")
	factor := tab.Within("Turn the second factor on")
	factor.Fill("Present password", password)
	factor.Submit("Turn it on")
	key := aKey.FindString(tab.Text())
	tab.Fill("Code", "000000")
	tab.Submit("Turn it on")
	tab.See("Turn the second factor on")
	now := time.Now()
	tab.Fill("Code", codeAt(key, now))
	tab.Submit("Turn it on")
	tab.See("Recovery codes")
	recovery := aRecovery.FindString(tab.Text())
	tab.Open("/console/profile")
	tab.Click("Sign out")
	signIn(tab, email, password)
	tab.See("The password was right")
	tab.Fill("Code", codeAt(key, now)) // each is good once
	tab.Click("Go on")
	tab.SeeNot("Sign out")
	tab.Fill("Code", codeAt(key, now.Add(30*time.Second)))
	tab.Click("Go on")
	tab.See("Sign out")
	tab.Click("Sign out")
	signIn(tab, email, password)
	tab.Fill("Code", recovery)
	tab.Click("Go on")
	tab.See("Sign out")
	tab.Open(link)
	tab.SeeNot("Set the password")
}
