package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/postrider/postrider/internal/client"
	"github.com/postrider/postrider/internal/client/api"
)

// gateway answers by method and path; what it was asked is kept. The whole of the API
// answers in internal/e2e.
type gateway struct {
	*httptest.Server
	mu     sync.Mutex
	routes map[string][]http.HandlerFunc // in turn, the last again and again
	asked  []*http.Request
	bodies []string
}

func startGateway(t *testing.T) *gateway {
	t.Helper()
	g := &gateway{routes: map[string][]http.HandlerFunc{}}
	g.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		g.mu.Lock()
		g.asked, g.bodies = append(g.asked, r), append(g.bodies, string(body))
		route := r.Method + " " + r.URL.Path
		answers := g.routes[route]
		if len(answers) > 1 {
			g.routes[route] = answers[1:]
		}
		g.mu.Unlock()
		if len(answers) == 0 {
			says(404, `{"code":"not_found","detail":"nothing at `+route+`","request_id":"r"}`)(w, r)
			return
		}
		answers[0](w, r)
	}))
	t.Cleanup(g.Close)
	return g
}

func (g *gateway) on(route string, answers ...http.HandlerFunc) { g.routes[route] = answers }

func says(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if status >= 400 {
			w.Header().Set("Content-Type", "application/problem+json")
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// shell runs commands for a user whose files are in a new place.
type shell struct {
	t     *testing.T
	url   string
	waits func(context.Context, time.Duration) error
	ctx   context.Context
	in    string
}

func newShell(t *testing.T, url string) *shell {
	t.Helper()
	for _, name := range []string{"POSTRIDER_API_URL", "POSTRIDER_STAFF_TOKEN", "POSTRIDER_WEBHOOK_SECRET"} {
		t.Setenv(name, "")
	}
	t.Setenv("POSTRIDER_CONFIG", filepath.Join(t.TempDir(), "own", "credentials.json"))
	t.Setenv("POSTRIDER_API_KEY", "key")
	t.Setenv("POSTRIDER_API_SECRET", "s3cret")
	return &shell{t: t, url: url, ctx: t.Context(), waits: func(ctx context.Context, _ time.Duration) error { return ctx.Err() }}
}

func (s *shell) run(words ...string) (out, says string, err error) {
	s.t.Helper()
	var stdout, stderr bytes.Buffer
	root := s.root()
	root.SetOut(&stdout)
	root.SetErr(&stderr)
	root.SetIn(strings.NewReader(s.in))
	root.SetArgs(words)
	err = root.ExecuteContext(s.ctx)
	if all := stdout.String() + stderr.String() + fmt.Sprint(err); strings.Contains(all, "s3cret") {
		s.t.Errorf("the secret shows: %s", all)
	}
	return stdout.String(), stderr.String(), err
}

func (s *shell) root() *cobra.Command {
	a := &app{location: time.FixedZone("here", 3600), wait: s.waits, rows: 10_000}
	root := &cobra.Command{Use: "postrider", SilenceUsage: true, SilenceErrors: true}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return Usage(err) })
	root.AddCommand(a.commands()...)
	if s.url != "" {
		for _, c := range root.Commands() {
			_ = c.PersistentFlags().Set("api-url", s.url)
		}
	}
	return root
}

const id = "01a1ffbf-8676-7d35-9c44-0f6f2f1b7e21"

func stored(status, more string) string {
	return `{"id":"` + id + `","status":"` + status + `","created_at":"2026-11-21T20:15:04.310Z","from":"+12025550143","to":"+13105550117"` + more + `}`
}

// Nothing is asked of the gateway before all words and flags are right.
func TestUsage(t *testing.T) {
	g := startGateway(t)
	s := newShell(t, g.URL)
	for _, c := range []struct{ line, says string }{
		{"message get", "arg"},
		{"message get a b", "arg"},
		{"message loose", `no command "loose"`},
		{"message list --limit 0", "--limit"},
		{"message list --limit 10001", "10000"},
		{"message list --after yesterday", "--after"},
		{"message list --color red", "--color"},
		{"message list -o yaml", "--output"},
		{"message send --body x", "--to"},
		{"message send --to x --send-at soon", "--send-at"},
		{"message send --to x --validity 1500ms", "--validity"},
		{"message send --to x --idempotency-key ü", "--idempotency-key"},
		{"message resolve x --as lost --reason y", "--as"},
		{"message resolve x --as sent", "--reason"},
		{"message resolve x --as sent --reason y", "POSTRIDER_STAFF_TOKEN"},
		{"batch send /nowhere.csv", "/nowhere.csv"},
		{"batch send - --format xml", "--format"},
		{"batch send -", "empty"},
		{"listen --retry", "--forward"},
		{"listen --forward localhost:3000", "--forward"},
		{"listen --since 1h --all", "--all"},
		{"message get x --api-url gw.example", "gw.example"},
	} {
		_, _, err := s.run(strings.Fields(c.line)...)
		if ExitCode(err) != ExitUsage || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, exit code %d", c.line, err, ExitCode(err))
		}
	}
	if len(g.asked) > 0 {
		t.Errorf("%d requests", len(g.asked))
	}
}

func TestExitCodes(t *testing.T) {
	for want, err := range map[int]error{
		0:               context.Canceled, // serve ends so
		ExitRefused:     &client.Error{Status: 422, Problem: &api.Problem{}},
		ExitUsage:       usage("x"),
		ExitUnavailable: &client.Error{Status: 503, Problem: &api.Problem{}},
		ExitUnwelcome:   unwelcome("x"),
		ExitInterrupted: &client.Error{Cause: context.Canceled},
	} {
		if got := ExitCode(err); got != want {
			t.Errorf("%v: %d, want %d", err, got, want)
		}
	}
	for _, err := range []error{&client.Error{Unanswered: true, Cause: errors.New("x")}, &client.Error{Status: 429}, &client.Error{Status: 500}} {
		if got := ExitCode(err); got != ExitUnavailable {
			t.Errorf("%+v: %d", err, got)
		}
	}
	if ExitCode(nil) != 0 || ExitCode(errors.New("x")) != ExitRefused {
		t.Error("plain errors")
	}
}

// Of a message that may have been taken the user learns how to find out.
func TestDoubtfulSend(t *testing.T) {
	g := startGateway(t)
	s := newShell(t, g.URL)
	ctx, cancel := context.WithCancel(t.Context())
	s.ctx = ctx
	g.on("POST /v1/messages", func(http.ResponseWriter, *http.Request) { cancel(); panic(http.ErrAbortHandler) })
	_, _, err := s.run("message", "send", "--to", "+13105550117", "--body", "x")
	if ExitCode(err) != ExitInterrupted || !strings.Contains(err.Error(), "--idempotency-key "+g.asked[0].Header.Get(client.HeaderKey)) || !strings.HasPrefix(err.Error(), "interrupted") {
		t.Errorf("%v", err)
	}
	s.ctx = t.Context()
	g.on("POST /v1/messages", says(503, `{"code":"unavailable","class":"retry","detail":"not now"}`))
	if _, _, err = s.run("message", "send", "--to", "x", "--body", "x", "--idempotency-key", "k"); ExitCode(err) != ExitUnavailable || !strings.Contains(err.Error(), "--idempotency-key k") {
		t.Errorf("%v", err)
	}
	g.on("POST /v1/messages", says(422, `{"code":"invalid_request","class":"permanent","detail":"no"}`))
	if _, _, err = s.run("message", "send", "--to", "x", "--body", "x"); ExitCode(err) != ExitRefused || strings.Contains(err.Error(), "idempotency") {
		t.Errorf("%v", err)
	}
}

func TestSendFlags(t *testing.T) {
	g := startGateway(t)
	s := newShell(t, g.URL)
	g.on("POST /v1/messages", says(202, stored("accepted", "")))
	s.in = "two\nlines\r\n"
	out, _, err := s.run(strings.Fields("message send --to +13105550117 --from +12025550143 --body - --media-url https://a.example/b --media-id i --subject s --send-at 2026-11-22T00:00:00Z --validity 10m " +
		"--class otp --delivery at_least_once --encoding gsm7 --smart-encoding --media-transcoding bypass --reference r --metadata a=b,c=d --webhook-url https://a.example/h --webhook-failover-url https://a.example/f --dry-run")...)
	if err != nil || out != id+" accepted\n" {
		t.Fatalf("%q, %v", out, err)
	}
	want := `{"body":"two\nlines","client_reference":"r","delivery":"at_least_once","dry_run":true,"encoding":"gsm7","from":"+12025550143","media_ids":["i"],"media_transcoding":"bypass","media_urls":["https://a.example/b"],"message_class":"otp","metadata":{"a":"b","c":"d"},"send_at":"2026-11-22T00:00:00Z","smart_encoding":true,"subject":"s","to":"+13105550117","validity_seconds":600,"webhook_failover_url":"https://a.example/f","webhook_url":"https://a.example/h"}`
	if strings.TrimSpace(g.bodies[0]) != want {
		t.Errorf("%s\nwant %s", g.bodies[0], want)
	}
}

// What others wrote does nothing to the terminal.
func TestTablesAreHarmless(t *testing.T) {
	g := startGateway(t)
	s := newShell(t, g.URL)
	evil := `,"body":"a\u001b[2Jb\u202e\tc\nd 👨\u200d👩"`
	g.on("GET /v1/messages", says(200, `{"data":[`+stored("delivered", evil)+`],"next_cursor":null}`))
	out, _, err := s.run("message", "list")
	if err != nil || strings.ContainsAny(out, "\x1b\u202e\t") || !strings.Contains(out, "👨\u200d👩") || strings.Count(out, "\n") != 2 || !strings.Contains(out, "2026-11-21 21:15:04") {
		t.Errorf("%q, %v", out, err)
	}
	out, _, err = s.run("message", "list", "-o", "json")
	if err != nil || strings.ContainsAny(out, "\x1b") || strings.Count(out, "\n") != 1 {
		t.Errorf("%q, %v", out, err)
	}
}

func TestListPages(t *testing.T) {
	g := startGateway(t)
	s := newShell(t, g.URL)
	one := stored("delivered", "")
	full := `[` + strings.Repeat(one+",", 199) + one + `]`
	g.on("GET /v1/messages", says(200, `{"data":`+full+`,"next_cursor":"c1"}`), says(200, `{"data":[`+one+`],"next_cursor":"c2"}`))
	out, complaints, err := s.run("message", "list", "--limit", "201", "--status", "delivered,failed")
	if err != nil || strings.Count(out, "\n") != 202 || !strings.Contains(complaints, "more") {
		t.Errorf("%d lines, %q, %v", strings.Count(out, "\n"), complaints, err)
	}
	first, second := g.asked[0].URL.Query(), g.asked[1].URL.Query()
	if first.Get("limit") != "200" || second.Get("limit") != "1" || second.Get("cursor") != "c1" || !slices.Equal(first["status"], []string{"delivered", "failed"}) {
		t.Errorf("%v, %v", first, second)
	}
}

// A list goes on over pages that are short or empty, as a search has them that stopped for
// the time.
func TestListOverEmptyPages(t *testing.T) {
	g := startGateway(t)
	s := newShell(t, g.URL)
	one, empty := stored("delivered", ""), `{"data":[],"next_cursor":"c","searched_until":"2026-11-21T20:15:04.310Z"}`
	g.on("GET /v1/messages", says(200, empty), says(200, `{"data":[`+one+`],"next_cursor":"c","searched_until":"2026-11-20T20:15:04.310Z"}`), says(200, empty), says(200, empty),
		says(200, `{"data":[`+one+`],"next_cursor":null,"searched_until":null}`))
	out, complaints, err := s.run("message", "list", "--campaign", "C8X2KQ1", "-o", "json")
	if err != nil || strings.Count(out, "\n") != 2 || complaints != "" || len(g.asked) != 5 {
		t.Errorf("%d lines, %q, %v, asked %d times", strings.Count(out, "\n"), complaints, err, len(g.asked))
	}
}

func TestWatchTimesOut(t *testing.T) {
	g := startGateway(t)
	s := newShell(t, g.URL)
	s.waits = func(ctx context.Context, _ time.Duration) error { <-ctx.Done(); return ctx.Err() }
	g.on("GET /v1/messages/"+id, says(200, stored("queued", "")))
	g.on("GET /v1/messages/"+id+"/events", says(200, `{"data":[{"sequence":1,"at":"2026-11-21T20:15:04.310Z","type":"accepted","detail":{}}],"next_cursor":null}`))
	out, _, err := s.run("message", "watch", id, "--timeout", "2s")
	if ExitCode(err) != ExitUnwelcome || !strings.Contains(err.Error(), "queued") || out != "21:15:04.310    1  accepted\n" {
		t.Errorf("%q, %v", out, err)
	}
}

// A message's lines are printed once each, also over pages, and the last ones before the end.
func TestWatch(t *testing.T) {
	g := startGateway(t)
	s := newShell(t, g.URL)
	event := func(n int) string {
		return fmt.Sprintf(`{"sequence":%d,"at":"2026-11-21T20:15:04.310Z","type":"t%d","detail":{}}`, n, n)
	}
	g.on("GET /v1/messages/"+id, says(200, stored("queued", "")), says(200, stored("queued", "")), says(200, stored("delivered", "")))
	g.on("GET /v1/messages/"+id+"/events",
		says(200, `{"data":[`+event(1)+`],"next_cursor":null}`),
		says(200, `{"data":[`+event(1)+`,`+event(2)+`],"next_cursor":"c"}`), says(200, `{"data":[`+event(3)+`],"next_cursor":null}`),
		says(200, `{"data":[`+event(3)+`,`+event(4)+`],"next_cursor":null}`))
	out, _, err := s.run("message", "watch", id, "-o", "json")
	if err != nil || strings.Count(out, "\n") != 4 || !strings.Contains(out, `"t4"`) {
		t.Errorf("%s, %v", out, err)
	}
	if last := g.asked[len(g.asked)-1].URL.Query(); last.Get("cursor") != "c" {
		t.Errorf("it begins anew: %v", last)
	}
}

func TestCompletions(t *testing.T) {
	s := newShell(t, "")
	for line, want := range map[string]string{
		"message list --status del":      "delivered",
		"listen --types opt":             "opt_out.created",
		"message resolve x --as not":     "not_sent",
		"batch send --format c":          "csv",
		"message get -o j":               "json",
		"message send --delivery at_mos": "at_most_once",
	} {
		out, _, err := s.run(append([]string{"__complete"}, strings.Fields(line)...)...)
		if err != nil || !strings.Contains(out, want+"\n") {
			t.Errorf("%s: %q, %v", line, out, err)
		}
	}
	for _, name := range []string{"bash", "zsh", "fish", "powershell"} {
		if out, _, err := s.run("completion", name); err != nil || !strings.Contains(out, "postrider") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

var flagForm = regexp.MustCompile(`(?m)^ {2,6}(-., )?--[a-z-]+`)

// docs/cli.md names every command with all its flags, and every exit code.
func TestPage(t *testing.T) {
	raw, err := os.ReadFile("../../docs/cli.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(raw)
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Runnable() && !c.HasSubCommands() && !strings.Contains(page, "`"+c.CommandPath()) {
			t.Errorf("%s is not on the page", c.CommandPath())
		}
		for _, f := range flagForm.FindAllString(c.LocalFlags().FlagUsages(), -1) {
			if f = f[strings.Index(f, "--"):]; !strings.Contains(page, f) {
				t.Errorf("%s of %s is not on the page", f, c.CommandPath())
			}
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(newShell(t, "").root())
	for _, code := range []int{ExitRefused, ExitUsage, ExitUnavailable, ExitUnwelcome, ExitInterrupted} {
		if !strings.Contains(page, fmt.Sprintf("| %d |", code)) {
			t.Errorf("exit code %d is not on the page", code)
		}
	}
}

func must[T any](t *testing.T, raw string) (v T) {
	t.Helper()
	if err := json.Unmarshal([]byte(raw), &v); err != nil {
		t.Fatal(err)
	}
	return v
}
