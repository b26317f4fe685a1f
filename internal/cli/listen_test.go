package cli

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// feed answers GET /v1/events with these pages, at the time that is told by Date; once they
// are read it ends the listening as Ctrl-C does.
func (g *gateway) feed(s *shell, pages ...string) {
	ctx, cancel := context.WithCancel(s.t.Context())
	s.ctx = ctx
	var answers []http.HandlerFunc
	for _, page := range pages {
		answers = append(answers, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Date", "Sat, 21 Nov 2026 20:15:00 GMT")
			says(200, page)(w, r)
		})
	}
	g.on("GET /v1/events", append(answers, func(_ http.ResponseWriter, r *http.Request) { cancel(); <-r.Context().Done() })...)
}

// event is one with the number, so many seconds after the feed's Date.
func event(n, second int) string {
	return fmt.Sprintf(`{"id":"01a1ffbf-8676-7d35-9c44-%012d","type":"message.delivered","timestamp":%q,"data":{"message_id":%q,"b":1.50,"a":"<x>"}}`, n,
		time.Date(2026, 11, 21, 20, 15, second, 0, time.UTC).Format("2006-01-02T15:04:05.000Z"), fmt.Sprintf("m%d", n))
}

func pageOf(next string, events ...string) string {
	return `{"data":[` + strings.Join(events, ",") + `],"next_cursor":"` + next + `"}`
}

func places(t *testing.T) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(filepath.Dir(os.Getenv("POSTRIDER_CONFIG")), "listen-*.json"))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// It begins with what happens from now on by the gateway's clock, and goes on where it was.
func TestListenBegins(t *testing.T) {
	g := startGateway(t)
	s := newShell(t, g.URL)
	g.feed(s, pageOf("c1", event(1, -10), event(2, -1)), pageOf("c2", event(3, 0), event(4, 5)))
	out, complaints, err := s.run("listen", "--types", "message.delivered,message.failed")
	if err != nil || strings.Contains(out, "m1") || strings.Contains(out, "m2") || strings.Count(out, "\n") != 2 || !strings.Contains(out, "21:15:05.000  message.delivered") || !strings.Contains(complaints, "passed over") {
		t.Errorf("%s\n%s\n%v", out, complaints, err)
	}
	if q := g.asked[0].URL.Query(); q.Get("wait_seconds") != "0" || len(q["types"]) != 2 || q.Get("cursor") != "" {
		t.Errorf("first %v", q)
	}
	if q := g.asked[1].URL.Query(); q.Get("wait_seconds") != "30" || q.Get("cursor") != "c1" {
		t.Errorf("then %v", q)
	}
	if found := places(t); len(found) != 1 {
		t.Fatal(found)
	} else if info, err := os.Stat(found[0]); err != nil || info.Mode().Perm() != 0o600 {
		t.Error(info, err)
	}
	g.asked = nil
	g.feed(s, pageOf("c3", event(5, 6)))
	out, _, err = s.run("listen", "--types", "message.delivered,message.failed", "-o", "json")
	if err != nil || out != event(5, 6)+"\n" || g.asked[0].URL.Query().Get("cursor") != "c2" {
		t.Errorf("%s %v %v", out, g.asked[0].URL, err)
	}
	for _, from := range []string{"--all", "--since=1h"} {
		g.asked = nil
		g.feed(s, pageOf("c1", event(1, -10)))
		out, _, err = s.run("listen", from, "--types", "message.delivered,message.failed")
		if err != nil || !strings.Contains(out, "m1") || g.asked[0].URL.Query().Get("cursor") != "" {
			t.Errorf("%s: %s %v", from, out, err)
		}
	}
}

// What was handled of a page is not handled again after an interruption within it.
func TestListenInterruptedWithinAPage(t *testing.T) {
	g := startGateway(t)
	s := newShell(t, g.URL)
	ctx, cancel := context.WithCancel(t.Context())
	taken := 0
	local := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		if taken++; taken == 2 {
			cancel() // while the second is on its way: its answer is waited for
		}
	}))
	t.Cleanup(local.Close)
	page := pageOf("c1", event(1, 1), event(2, 2), event(3, 3))
	g.feed(s, page)
	s.ctx = ctx
	if _, _, err := s.run("listen", "--forward", local.URL, "--all"); err != nil {
		t.Fatal(err)
	}
	g.feed(s, page)
	out, _, err := s.run("listen", "--forward", local.URL)
	if err != nil || strings.Contains(out, "m1") || strings.Contains(out, "m2") || strings.Count(out, "\n") != 1 || taken != 3 {
		t.Errorf("%s\n%d taken, %v", out, taken, err)
	}
}

// What is forwarded is a webhook: its body, its headers, its signature.
func TestForward(t *testing.T) {
	g := startGateway(t)
	s := newShell(t, g.URL)
	var got []*http.Request
	var bodies []string
	status := []int{500, 302, 204}
	local := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got, bodies = append(got, r), append(bodies, string(body))
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(status[min(len(got), len(status))-1])
	}))
	t.Cleanup(local.Close)
	g.feed(s, pageOf("c1", event(1, 1)))
	out, complaints, err := s.run("listen", "--forward", local.URL+"/hooks", "--all", "--retry")
	if err != nil || len(got) != 3 || !strings.Contains(out, "-> 204 in") || strings.Count(complaints, "again in") != 2 {
		t.Fatalf("%s\n%s\n%d tries, %v", out, complaints, len(got), err)
	}
	_, after, _ := strings.Cut(complaints, "signed with ")
	secret, _, _ := strings.Cut(after, "\n")
	verifier, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range got {
		if err := verifier.Verify([]byte(bodies[i]), r.Header); err != nil || r.URL.Path != "/hooks" || r.Header.Get("Content-Type") != "application/json" || r.Header.Get("webhook-id") != "01a1ffbf-8676-7d35-9c44-000000000001" || r.Header.Get("X-Signature") == "" {
			t.Errorf("%v: %+v", err, r)
		}
		if want := `{"type":"message.delivered","timestamp":"2026-11-21T20:15:01.000Z","data":{"message_id":"m1","b":1.50,"a":"<x>"}}`; bodies[i] != want {
			t.Errorf("%s\nwant %s", bodies[i], want)
		}
	}
	// The secret stays; without --retry what fails is told and passed over.
	local.Close()
	g.feed(s, pageOf("c2", event(2, 2), event(3, 3)))
	out, complaints, err = s.run("listen", "--forward", local.URL+"/hooks", "--fresh", "--all", "-o", "json")
	if err != nil || !strings.Contains(complaints, secret) || strings.Count(complaints, "refused") != 2 || strings.Count(out, "\n") != 2 {
		t.Errorf("%s\n%s\n%v", out, complaints, err)
	}
	t.Setenv("POSTRIDER_WEBHOOK_SECRET", "whsec_")
	if _, _, err = s.run("listen", "--forward", local.URL); ExitCode(err) != ExitUsage || !strings.Contains(err.Error(), "POSTRIDER_WEBHOOK_SECRET") {
		t.Error(err)
	}
}

// A gateway that is away is waited for, however long; what it refuses ends the listening.
func TestListenGoesOn(t *testing.T) {
	g := startGateway(t)
	s := newShell(t, g.URL)
	g.feed(s, pageOf("c1", event(1, 1)))
	pages := g.routes["GET /v1/events"]
	var away []http.HandlerFunc
	for range 20 {
		away = append(away, says(503, `{"code":"unavailable","detail":"not now"}`))
	}
	g.on("GET /v1/events", append(append(away, says(500, `{"code":"internal","detail":"oops"}`)), pages...)...)
	out, complaints, err := s.run("listen", "--all")
	if err != nil || strings.Count(out, "\n") != 1 || !strings.Contains(complaints, "not now") || !strings.Contains(complaints, "oops") {
		t.Errorf("%s\n%s\n%v", out, complaints, err)
	}
	s.ctx = t.Context()
	g.on("GET /v1/events", says(422, `{"code":"invalid_request","detail":"this cursor has expired"}`))
	if _, _, err = s.run("listen"); ExitCode(err) != ExitRefused || !strings.Contains(err.Error(), "--fresh") {
		t.Error(err)
	}
}
