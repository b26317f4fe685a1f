package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/postrider/postrider/internal/client"
	"github.com/postrider/postrider/internal/client/api"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
	"github.com/postrider/postrider/internal/stack/stacktest"
)

// shell is the program as a customer has it: far from the database, with the key of an
// account.
type shell struct {
	s    *system
	env  []string
	home string
}

func (s *system) customer() *shell {
	home := stacktest.Folder(s.tb)
	return &shell{s: s, home: home, env: []string{
		"HOME=" + home, "XDG_CONFIG_HOME=" + filepath.Join(home, "config"), "PATH=" + os.Getenv("PATH"), "TZ=UTC",
		fmt.Sprintf("POSTRIDER_API_URL=http://127.0.0.1:%d", s.apiPort), "POSTRIDER_API_KEY=" + s.key, "POSTRIDER_API_SECRET=" + s.apiSecret,
	}}
}

func (h *shell) command(stdin string, words ...string) (cmd *exec.Cmd, out, says *bytes.Buffer) {
	h.s.tb.Helper()
	out, says = &bytes.Buffer{}, &bytes.Buffer{}
	cmd = exec.CommandContext(stacktest.Context(h.s.tb), stacktest.Postrider(h.s.tb), words...)
	cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = h.env, strings.NewReader(stdin), out, says
	return cmd, out, says
}

// run runs the program and expects its exit code.
func (h *shell) run(code int, stdin string, words ...string) (out, says string) {
	h.s.tb.Helper()
	cmd, o, e := h.command(stdin, words...)
	err := cmd.Run()
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) || cmd.ProcessState.ExitCode() != code {
		h.s.tb.Fatalf("postrider %q: %v, want exit code %d\n%s\n%s", words, err, code, o, e)
	}
	return o.String(), e.String()
}

func (h *shell) wants(text string, parts ...string) {
	h.s.tb.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			h.s.tb.Errorf("%q is missing in:\n%s", p, text)
		}
	}
}

// TestCommandLine does with the built program what docs/cli.md says.
func TestCommandLine(t *testing.T) {
	t.Parallel()
	s := start(t, "--magic")
	h := s.customer()

	out, _ := h.run(0, "from standard input\n", "message", "send", "--from", from, "--to", destination(101), "--body", "-", "--reference", "r-1", "--watch")
	h.wants(out, "accepted", "queued", "delivered")
	id := strings.Fields(out)[0]
	out, _ = h.run(0, "", "message", "get", id)
	h.wants(out, id, "delivered", destination(101), "from standard input", "r-1", "sending", "sender_owned=pass")
	out, _ = h.run(0, "", "message", "get", id, "-o", "json")
	h.wants(out, `"id": "`+id+`"`, `"client_reference": "r-1"`)
	out, _ = h.run(0, "", "message", "list", "--reference", "r-1", "--status", "delivered,failed", "-o", "json")
	if strings.Count(out, "\n") != 1 {
		t.Errorf("want one line: %s", out)
	}
	out, says := h.run(0, "", "message", "list", "--after", "1h", "--limit", "1")
	h.wants(out, "ID", "STATUS", id)
	if says != "" {
		t.Errorf("there are no more: %s", says)
	}

	// One key is one message.
	first, _ := h.run(0, "", "message", "send", "--from", from, "--to", destination(102), "--body", "x", "--idempotency-key", "k-1")
	second, _ := h.run(0, "", "message", "send", "--from", from, "--to", destination(102), "--body", "x", "--idempotency-key", "k-1")
	if strings.Fields(first)[0] != strings.Fields(second)[0] {
		t.Errorf("%s and %s", first, second)
	}

	out, _ = h.run(0, "", "message", "send", "--from", from, "--to", destination(103), "--body", "x", "--send-at", "1h", "--validity", "10m", "--class", "otp")
	scheduled := strings.Fields(out)[0]
	out, _ = h.run(0, "", "message", "cancel", scheduled)
	h.wants(out, scheduled, "canceled")
	_, says = h.run(4, "", "message", "watch", scheduled)
	h.wants(says, "canceled")

	const unknown = "+13105550008" // the simulator refuses it
	out, says = h.run(4, "", "message", "send", "--from", from, "--to", unknown, "--body", "x", "--watch")
	h.wants(says, "failed")
	out, _ = h.run(0, "", "message", "retry", strings.Fields(out)[0])
	h.wants(out, "accepted")

	out, _ = h.run(0, "", "message", "send", "--from", from, "--to", destination(104), "--body", "x", "--dry-run")
	h.wants(out, "allowed", "yes", "sender_owned", "pass")
	_, says = h.run(4, "", "message", "send", "--from", "+12025550199", "--to", destination(104), "--body", "x", "--dry-run")
	h.wants(says, "would be refused")

	// What is refused is said in one sentence.
	_, says = h.run(1, "", "message", "send", "--from", "+12025550199", "--to", destination(104), "--body", "x")
	h.wants(says, "unauthorized_sender", "request ")
	_, says = h.run(1, "", "message", "send", "--from", from, "--to", "12", "--body", "x")
	h.wants(says, "to: ", "invalid_destination")
	_, says = h.run(1, "", "message", "get", message.NewID().String())
	h.wants(says, "not_found")
	_, says = h.run(2, "", "message", "send", "--body", "x")
	h.wants(says, "--to is required")
	wrong := *h
	wrong.env = append(wrong.env, "POSTRIDER_API_SECRET=wrong")
	_, says = wrong.run(1, "", "message", "get", id)
	h.wants(says, "unauthenticated")

	t.Run("login", func(t *testing.T) {
		kept := &shell{s: s, home: h.home, env: h.env[:5]} // without key and secret
		_, says := kept.run(2, "", "message", "get", id)
		h.wants(says, "postrider login")
		_, says = kept.run(1, s.key+"\nwrong\n", "login")
		h.wants(says, "nothing is kept", "unauthenticated")
		out, _ := kept.run(0, s.key+"\n"+s.apiSecret+"\n", "login")
		if strings.Contains(out, s.apiSecret) {
			t.Error("the secret is printed")
		}
		kept.run(0, "", "message", "get", id)
	})
	t.Run("resolve", func(t *testing.T) { h.resolve() })
	t.Run("batch", func(t *testing.T) { h.batches() })
}

func (h *shell) resolve() {
	s := h.s
	doubtful := s.post(map[string]any{"from": from, "to": "+13105550005", "body": "doubtful"}).ID
	s.is(doubtful, message.StatusInDoubt)
	staff := *h
	_, says := staff.run(2, "", "message", "resolve", doubtful, "--as", "not_sent", "--reason", "their log")
	h.wants(says, "POSTRIDER_STAFF_TOKEN")
	staff.env = append(staff.env, "POSTRIDER_STAFF_TOKEN="+s.office(snapshot.RoleSupport).token)
	_, says = staff.run(2, "", "message", "resolve", doubtful, "--as", "lost", "--reason", "x")
	h.wants(says, "send_again")
	out, _ := staff.run(0, "", "message", "resolve", doubtful, "--as", "not_sent", "--reason", "their log")
	h.wants(out, doubtful, "failed")
	_, says = staff.run(1, "", "message", "resolve", doubtful, "--as", "sent", "--reason", "their log")
	h.wants(says, "conflict")
}

func (h *shell) batches() {
	t := h.s.tb
	t.Helper()
	csv := "phone;name\n" + destination(201) + ";Ada\n" + destination(202) + ";Bob\n"
	out, says := h.run(0, csv, "batch", "send", "-", "--from", from, "--body", "Hello {{name}}", "--name", "two", "--class", "otp")
	h.wants(out, "completed", "two", "rows")
	h.wants(says, "2 of 2 rows")
	id := strings.Fields(out)[1]
	out, _ = h.run(0, "", "batch", "rows", id)
	h.wants(out, destination(201), destination(202))
	out, _ = h.run(0, "", "batch", "list", "-o", "json")
	h.wants(out, id)
	out, _ = h.run(0, "", "batch", "get", id, "--watch", "-o", "json")
	h.wants(out, `"completed"`)

	// A row that is refused, of a file of JSON.
	file := filepath.Join(stacktest.Folder(t), "rows.json")
	if err := os.WriteFile(file, []byte(`[{"to":"`+destination(203)+`"},{"to":"`+destination(204)+`","from":"+12025550199"}]`), 0o600); err != nil {
		t.Fatal(err)
	}
	_, says = h.run(4, "", "batch", "check", file, "--from", from, "--body", "x")
	h.wants(says, "refused")
	out, says = h.run(4, "", "batch", "send", file, "--from", from, "--body", "x")
	h.wants(out, "unauthorized_sender")
	h.wants(says, "1 of 2 rows were refused")
	_, says = h.run(2, "{", "batch", "send", "-")
	h.wants(says, "is not JSON in line 1")
	_, says = h.run(1, "to\n"+destination(1)+"\n", "batch", "send", "-", "--from", from, "--throttle", "-1", "--body", "x")
	h.wants(says, "throttle_per_second")

	// One that is slow is paused, resumed and canceled; Ctrl-C ends the watching alone.
	var rows strings.Builder
	rows.WriteString("to\n")
	for i := range 50 {
		rows.WriteString(destination(300+i) + "\n")
	}
	out, _ = h.run(0, rows.String(), "batch", "send", "-", "--from", from, "--body", "x", "--throttle", "1", "--detach")
	id = strings.Fields(out)[1]
	out, _ = h.run(0, "", "batch", "pause", id)
	h.wants(out, "paused")
	out, _ = h.run(0, "", "batch", "resume", id)
	h.wants(out, "running")
	cmd, _, watched := h.command("", "batch", "get", id, "--watch")
	lines := &lockedBuffer{}
	cmd.Stderr = lines
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	h.s.until("it watches", func() bool { return strings.Contains(lines.String(), "of 50 rows") })
	_ = watched
	_ = cmd.Process.Signal(syscall.SIGINT)
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 130 || !strings.Contains(lines.String(), "goes on") {
		t.Errorf("exit code %d\n%s", code, lines)
	}
	h.run(0, "", "batch", "cancel", id)
	_, says = h.run(4, "", "batch", "get", id, "--watch")
	h.wants(says, "was canceled")
}

// lockedBuffer is written by a process while the test reads it.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// TestListen: what listen forwards is what webhooks bring, signed as they are, none left out
// and none twice, over a restart of listen and of the gateway.
func TestListen(t *testing.T) {
	t.Parallel()
	s := start(t)
	h := s.customer()
	secret := "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	h.env = append(h.env, "POSTRIDER_WEBHOOK_SECRET="+secret)
	verifier, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	got := map[string][]string{} // bodies by webhook-id
	faults, failing := 0, 1
	local := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		if failing > 0 {
			failing--
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		if verifier.Verify(body, r.Header) != nil {
			faults++
		}
		got[r.Header.Get("webhook-id")] = append(got[r.Header.Get("webhook-id")], string(body))
	}))
	t.Cleanup(local.Close)
	if err := s.db.CreateEndpoint(t.Context(), actor, snapshot.Endpoint{ID: message.NewID(), AccountID: s.account, URL: s.hooks.server.URL, Secret: s.hook, Format: "event"}); err != nil {
		t.Fatal(err)
	}
	s.current()

	listen := func() (stop func() string) {
		cmd, _, _ := h.command("", "listen", "--forward", local.URL, "--retry", "--types", "message.sent,message.delivered")
		out, says := &lockedBuffer{}, &lockedBuffer{}
		cmd.Stdout, cmd.Stderr = out, says
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return func() string {
			if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Wait(); err != nil {
				t.Errorf("listen: %v\n%s", err, says)
			}
			return out.String() + says.String()
		}
	}
	delivered := func(id string) bool {
		mu.Lock()
		defer mu.Unlock()
		for _, bodies := range got {
			if strings.Contains(bodies[0], id) && strings.Contains(bodies[0], `"message.delivered"`) {
				return true
			}
		}
		return false
	}
	place := func() bool {
		found, err := filepath.Glob(filepath.Join(h.home, "config", "postrider", "listen-*.json"))
		return err == nil && len(found) == 1
	}
	sent := []string{}
	send := func() {
		sent = append(sent, s.post(map[string]any{"from": from, "to": destination(101 + len(sent)), "body": "Käse & <Brot>"}).ID)
	}
	stop := listen()
	s.until("it listens", place)
	send()
	s.until("it is forwarded", func() bool { return delivered(sent[0]) })
	said := stop()
	h.wants(said, sent[0], "500 in", "again in", "200 in")
	send() // while nobody listens
	s.final(sent[1])
	stop = listen()
	s.until("it goes on where it was", func() bool { return delivered(sent[1]) })
	s.restartGateway()
	send()
	s.until("it goes on after the gateway's restart", func() bool { return delivered(sent[2]) })
	stop()
	mu.Lock()
	defer mu.Unlock()
	if len(got) != 6 || faults > 0 {
		t.Errorf("%d events, %d of them badly signed", len(got), faults)
	}
	for id, bodies := range got {
		if len(bodies) != 1 {
			t.Errorf("%s came %d times", id, len(bodies))
		}
		hook := ""
		s.until("its webhook is there", func() bool {
			s.hooks.mu.Lock()
			defer s.hooks.mu.Unlock()
			hook = s.hooks.ids[id]
			return hook != ""
		})
		if hook != bodies[0] {
			t.Errorf("forwarded\n%s\nthe webhook has\n%s", bodies[0], hook)
		}
	}
}

// TestGeneratedClient calls the gateway with the client that customers could generate: it
// sends, follows and lists, and refusals are problems.
func TestGeneratedClient(t *testing.T) {
	t.Parallel()
	s := start(t)
	c, err := client.New(client.Config{URL: fmt.Sprintf("http://127.0.0.1:%d", s.apiPort), Key: s.key, Secret: s.apiSecret})
	if err != nil {
		t.Fatal(err)
	}
	ctx := stacktest.Context(t)
	sender, text, key := from, "x", "k-1"
	create := api.CreateMessage{From: &sender, To: destination(101), Body: &text}
	first, err := c.SendMessageWithResponse(ctx, &api.SendMessageParams{IdempotencyKey: &key}, create)
	if err != nil {
		t.Fatal(err)
	}
	again, err := c.SendMessageWithResponse(ctx, &api.SendMessageParams{IdempotencyKey: &key}, create)
	if err != nil || again.JSON202.ID != first.JSON202.ID || again.HTTPResponse.Header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("%+v, %v", again, err)
	}
	s.final(first.JSON202.ID.String())
	statuses := []api.ListMessagesParamsStatus{"delivered", "failed"}
	list, err := c.ListMessagesWithResponse(ctx, &api.ListMessagesParams{Status: &statuses})
	if err != nil || len(list.JSON200.Data) != 1 || list.JSON200.Data[0].ID != first.JSON202.ID || list.JSON200.NextCursor != nil {
		t.Errorf("%+v, %v", list, err)
	}
	events, err := c.ListMessageEventsWithResponse(ctx, first.JSON202.ID.String(), nil)
	if err != nil || len(events.JSON200.Data) < 5 {
		t.Errorf("%+v, %v", events, err)
	}
	csv, err := c.ExportMessagesWithResponse(ctx, nil)
	if err != nil || !strings.Contains(string(csv.Body), first.JSON202.ID.String()) {
		t.Errorf("%+v, %v", csv, err)
	}
	create.To = "12"
	_, err = c.SendMessageWithResponse(ctx, nil, create)
	var refused *client.Error
	if !errors.As(err, &refused) || refused.Problem == nil || refused.Problem.Code != "invalid_destination" || refused.Retryable() {
		t.Errorf("%v", err)
	}
}
