package pages

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/pages/browser"
	"github.com/postrider/postrider/internal/webhook"
)

// receiver is a customer's server that takes webhooks.
type receiver struct {
	url string

	mu     sync.Mutex
	status int
	answer string
	got    []*http.Request
	bodies []string
}

func newReceiver(t *testing.T, status int, answer string) *receiver {
	t.Helper()
	r := &receiver{status: status, answer: answer}
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	r.url = server.URL + "/" + message.NewID().String()
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, _ := io.ReadAll(req.Body) // what is missing has no good signature
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got, r.bodies = append(r.got, req), append(r.bodies, string(body))
	w.WriteHeader(r.status)
	_, _ = io.WriteString(w, r.answer) // who does not read it needs none
}

// answers changes what it answers.
func (r *receiver) answers(status int, answer string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status, r.answer = status, answer
}

// signed reports whether the newest request is signed with the secret.
func (r *receiver) signed(t *testing.T, secret string) bool {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.got) == 0 {
		t.Fatal("nothing was received")
	}
	last, want := r.got[len(r.got)-1].Header, http.Header{}
	var at int64
	if _, err := fmt.Sscan(last.Get(webhook.HeaderTimestamp), &at); err != nil {
		t.Fatal(err)
	}
	if err := webhook.Sign(want, last.Get(webhook.HeaderID), time.Unix(at, 0), []byte(r.bodies[len(r.bodies)-1]), secret, ""); err != nil {
		t.Fatal(err)
	}
	return strings.Contains(last.Get(webhook.HeaderSignature), want.Get(webhook.HeaderSignature))
}

// shown is what a page shows that fits the pattern, such as a secret.
func shown(t *testing.T, tab *browser.Tab, pattern string) string {
	t.Helper()
	found := regexp.MustCompile(pattern).FindString(tab.Text())
	if found == "" {
		t.Fatalf("%s shows nothing like %s", tab.Path(), pattern)
	}
	return found
}

// eventually waits for what other processes learn of within seconds.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	end := time.After(patience)
	for !is() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("gave up waiting: %s", what)
		}
	}
}

// asked is the status of a request with an API credential.
func asked(t *testing.T, key, secret string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, demo(t).url+"/v1/messages?limit=1", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth(key, secret)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close() // its status is what is wanted
	return resp.StatusCode
}

// demoMessage is the id of a message that the demo has sent: what is told of it does not change
// while others test.
func demoMessage(t *testing.T) string {
	t.Helper()
	g := demo(t)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.url+"/v1/messages?limit=1&client_reference=demo", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth(g.env["POSTRIDER_API_KEY"], g.env["POSTRIDER_API_SECRET"])
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var list struct{ Data []struct{ ID string } }
	if err := json.NewDecoder(resp.Body).Decode(&list); err != nil || len(list.Data) != 1 {
		t.Fatalf("%d, %v: %+v", resp.StatusCode, err, list)
	}
	return list.Data[0].ID
}

func TestAccessPages(t *testing.T) {
	t.Parallel()
	t.Run("lists", func(t *testing.T) {
		t.Parallel()
		judgeAll(t, asUser(t, "owner"), "/portal/webhooks", "/portal/deliveries?message_id="+demoMessage(t), "/portal/deliveries?state=pending", "/portal/api-credentials", "/portal/smpp-credentials", "/portal/users")
	})
	t.Run("forms", func(t *testing.T) {
		t.Parallel()
		judgeAll(t, asUser(t, "owner"), "/portal/webhooks/new", "/portal/api-credentials/new", "/portal/smpp-credentials/new", "/portal/users/new", "/portal/settings", "/portal/limits", "/portal/connection")
	})
	t.Run("things", func(t *testing.T) {
		t.Parallel()
		r := newReceiver(t, http.StatusTeapot, `<script>alert("of a stranger")</script>`)
		tab := asUser(t, "owner")
		addWebhook(tab, r.url)
		tab.Click("I have kept it")
		endpoint := tab.Path()
		tab.Click("Send a test event")
		tab.See("The test event was not taken")
		tab.Click("endpoint.test")
		delivery := tab.Path()
		var paths []string
		for list, name := range map[string]string{"/portal/api-credentials": "", "/portal/smpp-credentials": demo(t).env["POSTRIDER_SMPP_SYSTEM_ID"], "/portal/users": "reader" + demo(t).env["POSTRIDER_PEOPLE_SUFFIX"]} {
			tab.Open(list)
			if name == "" {
				name = "demo"
			}
			tab.Click(name)
			paths = append(paths, tab.Path())
		}
		judgeAll(t, tab, append(paths, endpoint, delivery)...)
	})
	t.Run("for who may only look", func(t *testing.T) {
		t.Parallel()
		judgeAll(t, asUser(t, "reader"), "/portal/webhooks", "/portal/limits", "/portal/connection")
	})
}

func addWebhook(tab *browser.Tab, url string) {
	tab.Open("/portal/webhooks")
	tab.Click("Add an endpoint")
	tab.Fill("Address", url)
	tab.Submit("Add the endpoint")
	tab.See("The endpoint is added", "cannot be read again")
}

// A customer sets up a webhook, sees why it fails, mends the receiver, and replays.
func TestWebhookEndpointFromMakingToMending(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, http.StatusInternalServerError, `<b>no such order</b><script>alert(1)</script>`)
	tab := asUser(t, "owner")
	addWebhook(tab, r.url)
	secret := shown(t, tab, `whsec_\S+`)
	tab.Click("I have kept it")
	tab.SeeNot(secret)
	tab.Click("Send a test event")
	tab.See("The test event was not taken", "answered 500", "<b>no such order</b><script>alert(1)</script>")
	if !r.signed(t, secret) {
		t.Error("the event is not signed with the secret that was shown")
	}
	tab.Click("endpoint.test")
	tab.See("Tries", "500", "<b>no such order</b>")
	r.answers(http.StatusNoContent, "")
	tab.Click("Open the endpoint")
	tab.Click("Send a test event")
	tab.See("The test event was taken", "answered 204")

	tab.Click("Make a new secret…")
	tab.Choose("The secret before signs as well for", "no longer")
	tab.Submit("Make a new secret")
	second := shown(t, tab, `whsec_\S+`)
	tab.Click("I have kept it")
	tab.Click("Send a test event")
	tab.See("The test event was taken")
	if !r.signed(t, second) || r.signed(t, secret) {
		t.Error("the new secret does not sign, or the old one still does")
	}

	tab.Click("Replay what it missed…")
	tab.Within("Replay").Fill("From", "2026-01-01T00:00")
	tab.Within("Replay").Submit("Replay")
	tab.See("on their way again")
}

func TestWebhookEndpointIsChangedSwitchedOffAndTakenAway(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, http.StatusNoContent, "")
	tab := asUser(t, "owner")
	addWebhook(tab, r.url)
	tab.Click("I have kept it")
	tab.Click("Change it…")
	tab.Check("message.delivered: the network reports that the handset has it")
	tab.Submit("Save")
	tab.See("The endpoint is changed")
	tab.Expect("422")
	tab.Click("Change it…")
	tab.Fill("Address", "ftp://shop.example/hooks")
	tab.Submit("Save")
	tab.See("This was not done")
	tab.Open(tab.Path())
	tab.Click("Switch it off…")
	tab.Submit("Switch it off")
	tab.See("The endpoint is off")
	tab.Submit("Enable it")
	tab.See("The endpoint is enabled")
	tab.Click("Take it away…")
	tab.Submit("Take the endpoint away")
	tab.See("The endpoint is taken away")
	tab.SeeNot(r.url)
}

func TestAPICredentialFromMakingToRevoking(t *testing.T) {
	t.Parallel()
	tab := asUser(t, "owner")
	name := "shop " + message.NewID().String()
	tab.Open("/portal/api-credentials")
	tab.Click("Make a credential")
	tab.Fill("Name", name)
	tab.Submit("Make the credential")
	key, secret := shown(t, tab, `pk_\S+`), shown(t, tab, `sk_\S+`)
	eventually(t, "the credential is taken", func() bool { return asked(t, key, secret) == http.StatusOK })
	tab.Click("I have kept it")
	tab.SeeNot(secret)

	tab.Click("Make a new secret…")
	tab.Submit("Make a new secret")
	second := shown(t, tab, `sk_\S+`)
	eventually(t, "the new secret is taken", func() bool { return asked(t, key, second) == http.StatusOK })
	if got := asked(t, key, secret); got != http.StatusUnauthorized {
		t.Errorf("the old secret is answered %d", got)
	}
	tab.Click("I have kept it")
	tab.Expect("422")
	tab.Click("Change it…")
	tab.Fill("Addresses", "10.0.0.1/8")
	tab.Submit("Save")
	tab.See("This was not done", "10.0.0.0/8")

	tab.Click("Revoke it…")
	tab.Submit("Revoke the credential")
	tab.See("The credential is revoked")
	tab.SeeNot(name)
	eventually(t, "the key is refused", func() bool { return asked(t, key, second) == http.StatusUnauthorized })
}

func TestSMPPCredentialFromMakingToRemoving(t *testing.T) {
	t.Parallel()
	tab := asUser(t, "owner")
	id := "t" + strings.ReplaceAll(message.NewID().String(), "-", "")[20:32]
	tab.Open("/portal/smpp-credentials/new")
	tab.Expect("409", "422")
	tab.Fill("system_id", demo(t).env["POSTRIDER_SMPP_SYSTEM_ID"])
	tab.Submit("Make the credential")
	tab.See("This was not done")
	tab.Fill("system_id", id)
	tab.Fill("Length of the password", "20")
	tab.Submit("Make the credential")
	tab.See("The credential is made", "Password", id)
	tab.Click("I have kept it")
	tab.See("Nobody is bound now")
	tab.Click("Change it…")
	tab.Fill("Parts a second", "500")
	tab.Submit("Save")
	tab.See("by contract")
	tab.Fill("Parts a second", "50")
	tab.Submit("Save")
	tab.See("The credential is changed")
	tab.Click("Make a new password…")
	tab.Submit("Make a new password")
	tab.See("There is a new password")
	tab.Click("I have kept it")
	tab.Click("Take it away…")
	tab.Submit("Take the credential away")
	tab.See("The credential is taken away")
	tab.SeeNot(id)
}

func TestUserIsInvitedChangedAndRemoved(t *testing.T) {
	t.Parallel()
	tab := asUser(t, "owner")
	mail := message.NewID().String() + "@shop.example"
	tab.Open("/portal/users")
	tab.Click("Invite a user")
	tab.Expect("422")
	tab.Fill("E-mail address", "nobody at all")
	tab.Submit("Invite")
	tab.See("must be an e-mail address")
	tab.Fill("E-mail address", mail)
	tab.Fill("Name", `Eve <img src=x onerror=alert(1)>`)
	tab.Submit("Invite")
	tab.See("An invitation has gone to "+mail, "invited", `Eve <img src=x onerror=alert(1)>`)
	tab.Click("Change it…")
	tab.Check("messages:write: send messages, cancel and retry them")
	tab.Submit("Save")
	tab.See("The user is changed", "messages:write")
	tab.Click("Send a new link…")
	tab.Submit("Send a new link")
	tab.See("An invitation has gone to " + mail)
	tab.Click("Switch off…")
	tab.Submit("Switch the user off")
	tab.See("may not sign in any more")
	tab.Submit("Switch the user on")
	tab.See("may sign in again")
	tab.Click("Remove…")
	tab.Submit("Remove the user")
	tab.See("The user is removed")
	tab.SeeNot(mail)
}

func TestSettingsAreChanged(t *testing.T) {
	t.Parallel()
	tab := asUser(t, "owner")
	tab.Open("/portal/settings")
	tab.Expect("422")
	before := tab.Value("Most parts of a text")
	tab.Fill("Most parts of a text", "300")
	tab.Submit("Save")
	tab.See("must be 1 to 255")
	tab.Fill("Most parts of a text", before)
	tab.Submit("Save")
	tab.See("The settings are saved")
	if now := tab.Value("Most parts of a text"); now != before {
		t.Errorf("%s parts are %s now", before, now)
	}
}

// Who connects finds the account's own values, and no secret.
func TestConnectionIsFound(t *testing.T) {
	t.Parallel()
	g := demo(t)
	tab := asUser(t, "owner")
	tab.Open("/portal")
	tab.Click("Connect")
	tab.See("/v1/messages", "curl", "SMPP", "system_id")
	tab.SeeNot(g.env["POSTRIDER_API_SECRET"], g.env["POSTRIDER_SMPP_PASSWORD"])
	tab.Click("With Go")
	tab.See("http.NewRequest")
}

// A user who may only look is offered nothing else, and finds no way around it.
func TestReaderChangesNoAccess(t *testing.T) {
	t.Parallel()
	tab := asUser(t, "reader")
	tab.Open("/portal/webhooks")
	tab.See("You can read this")
	tab.SeeNot("Add an endpoint", "API credentials", "SMPP credentials")
	tab.Open("/portal/webhooks/new")
	tab.See("You can read this")
	tab.SeeNot("Add the endpoint")
	tab.Expect("403")
	for _, path := range []string{"/portal/api-credentials", "/portal/users", "/portal/settings"} {
		tab.Open(path)
		if got := tab.Status(); got != http.StatusForbidden {
			t.Errorf("%s is answered %d", path, got)
		}
	}
}
