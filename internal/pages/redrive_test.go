package pages

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/pages/browser"
	"github.com/postrider/postrider/internal/snapshot"
)

// undelivered has so many messages of the demo's account, with a reference that no others
// have, that the simulator reports as undelivered.
func undelivered(t *testing.T, n int) (reference string) {
	t.Helper()
	g := demo(t)
	reference = fmt.Sprintf("redrive-%d", time.Now().UnixNano())
	type answer struct{ Data []struct{ Status string } }
	var call func(method, path, body string) answer
	call = func(method, path, body string) (got answer) {
		r, err := http.NewRequestWithContext(t.Context(), method, g.url+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.SetBasicAuth(g.env["POSTRIDER_API_KEY"], g.env["POSTRIDER_API_SECRET"])
		r.Header.Set("Content-Type", "application/json")
		a, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Body.Close()
		if a.StatusCode == http.StatusTooManyRequests { // other tests use the key, too
			<-time.After(time.Second)
			return call(method, path, body)
		}
		if a.StatusCode/100 != 2 {
			t.Fatalf("%s %s: %s", method, path, a.Status)
		}
		if err := json.NewDecoder(a.Body).Decode(&got); err != nil {
			t.Fatal(err)
		}
		return got
	}
	for range n {
		call("POST", "/v1/messages", fmt.Sprintf(`{"from":%q,"to":"+13105550001","body":"Not for anybody","client_reference":%q}`, g.env["POSTRIDER_FROM"], reference))
	}
	for deadline := time.Now().Add(patience); ; {
		ended := 0
		for _, m := range call("GET", "/v1/messages?limit=100&client_reference="+reference, "").Data {
			if m.Status == "undelivered" {
				ended++
			}
		}
		if ended == n {
			return reference
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d messages are undelivered", ended, n)
		}
	}
}

// dryRun goes from the message list to what would be done.
func dryRun(t *testing.T, tab *browser.Tab, reference string) {
	t.Helper()
	tab.Open("/console/messages?client_reference=" + reference)
	tab.Click("Re-drive these…")
	tab.Choose("Action", "Send again")
	tab.Fill("Reason", "The simulator was unkind")
	tab.Click("See what would be done")
}

// Support sends what was not delivered again: sees first what would be, then does it, and
// follows it to the new messages.
func TestStaffRedriveMessages(t *testing.T) {
	t.Parallel()
	reference := undelivered(t, 3)
	tab := asStaff(t, snapshot.RoleSupport)
	dryRun(t, tab, reference)
	tab.WaitFor("3 of 3 messages would be sent again. Nothing was done yet.")
	judgeAll(t, tab, tab.Path())
	tab.WaitFor("3 of 3 messages would be sent again.")
	tab.Click("Do it: send again for 3 messages…")
	tab.See("A new message is made of each")
	tab.Click("Do it")
	tab.WaitFor("Completed. 3 of 3 messages were sent again.")
	done := tab.Path()
	judgeAll(t, tab, done)
	tab.Open(done)
	tab.See("New message", "The simulator was unkind")
	tab.Choose("Outcome", "refused")
	tab.Click("Show")
	tab.See("No message has been worked yet, or none has this outcome.")
	tab.Open("/console/messages?client_reference=" + reference)
	if rows := strings.Count(tab.Text(), "+13105550001"); rows != 6 {
		t.Errorf("%d messages, want 6", rows)
	}
}

// Support stops a re-drive that it has begun at a slow pace. Alone: tests that follow all
// links of a page use up the requests a second of whom they share.
func TestStaffStopARedrive(t *testing.T) {
	reference := undelivered(t, 12)
	tab := asStaff(t, snapshot.RoleSupport)
	dryRun(t, tab, reference)
	tab.WaitFor("12 of 12 messages would be sent again.")
	tab.Click("Do it: send again for 12 messages…")
	tab.Fill("Pace", "1")
	tab.Click("Do it")
	tab.See("It has begun.")
	tab.Click("Stop…")
	tab.Click("Stop it")
	tab.WaitFor("Stopped.")
}

// What is asked for is refused at its field, and readers are offered nothing.
func TestRedriveOfEverythingIsRefused(t *testing.T) {
	t.Parallel()
	tab := asStaff(t, snapshot.RoleSupport)
	tab.Open("/console/redrives/new")
	tab.Choose("Action", "Send again")
	tab.Fill("Reason", "All of it")
	tab.Expect("422")
	tab.Click("See what would be done")
	tab.See("at least one condition")
	viewer := asStaff(t, snapshot.RoleViewer)
	viewer.Open("/console/redrives")
	viewer.SeeNot("New re-drive")
	viewer.Open("/console/redrives/new")
	viewer.See("your role is viewer")
}

func TestRedrivePages(t *testing.T) {
	t.Parallel()
	tab := asStaff(t, snapshot.RoleSupport)
	judgeAll(t, tab, "/console/redrives", "/console/redrives/new?status=failed&vendor=smscsim")
}
