package e2e

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/stack"
	"github.com/postrider/postrider/internal/stack/stacktest"
)

// handset writes by MO and has what reaches it counted at the simulator.
const handset = "+13105559001"

// write sends a text from a handset and waits until a gateway has taken it: all its
// parts have a positive deliver_sm_resp.
func (s *system) write(from, text string) {
	s.tb.Helper()
	var stats struct {
		Acked int `json:"mo_acked"`
	}
	s.smscGet("/stats", &stats)
	before := stats.Acked
	body, err := json.Marshal(map[string]string{"from": from, "to": ours, "text": text})
	if err != nil {
		s.tb.Fatal(err)
	}
	resp, err := s.client.Post(s.smscStats+"/mo", "application/json", bytes.NewReader(body))
	if err != nil {
		s.tb.Fatal(err)
	}
	defer resp.Body.Close()
	var queued struct{ Parts int }
	if err := json.NewDecoder(resp.Body).Decode(&queued); err != nil || queued.Parts == 0 {
		s.tb.Fatalf("MO: %d, %v", resp.StatusCode, err)
	}
	s.until("the gateway has taken "+text, func() bool {
		s.smscGet("/stats", &stats)
		return stats.Acked == before+queued.Parts
	})
}

// ours is the account's number.
const ours = from

// send posts a message to the handset at one gateway. True: accepted; else it was
// refused as opted_out, and nothing else is an answer.
func (s *system) send(api int, to, text string) bool {
	s.tb.Helper()
	at := *s
	at.apiPort = api
	body, err := json.Marshal(map[string]any{"from": ours, "to": to, "body": text})
	if err != nil {
		s.tb.Fatal(err)
	}
	a, err := at.submit("", body)
	switch {
	case err != nil:
		s.tb.Fatal(err)
	case a.JSON202 != nil:
		return true
	case a.ApplicationProblemJSONDefault != nil && a.ApplicationProblemJSONDefault.Code == "opted_out":
		return false
	}
	s.tb.Fatalf("POST answered %s: %s", a.Status(), a.Body)
	return false
}

// door starts a gateway that has no vendor and no workflow: requests come in, and who
// has stopped it knows from the database alone. It gives its port.
func (s *system) door() int {
	s.tb.Helper()
	api, metrics := stacktest.FreePort(s.tb), stacktest.FreePort(s.tb)
	env := append(slices.Clone(s.env), "API_PORT="+strconv.Itoa(api), "METRICS_PORT="+strconv.Itoa(metrics))
	p := stacktest.StartProcess(s.tb, stack.ProcessConfig{Name: "door", Path: stacktest.Postrider(s.tb), Args: []string{"serve", "--roles", "rest"},
		Env: append(os.Environ(), env...), LogFile: filepath.Join(stacktest.Folder(s.tb), "door.log")})
	s.until("the door is ready", func() bool { return s.ready(p, metrics) })
	return api
}

// replies are the confirmations among what reached a handset, by how they go on after
// the company's name.
func (s *system) replies(to string) (got []string) {
	s.tb.Helper()
	for _, text := range s.arrived(to) {
		if rest, ok := strings.CutPrefix(text, "Test: You "); ok {
			got = append(got, strings.Join(strings.Fields(rest)[:3], " "))
		}
	}
	return got
}

// TestStopByHandset: STOP that comes in at one gateway closes the others, START opens
// them, and each is confirmed once.
func TestStopByHandset(t *testing.T) {
	t.Parallel()
	s := start(t)
	door := s.door()
	if !s.send(door, handset, "first") {
		t.Fatal("refused before anybody has stopped anything")
	}
	s.until("it has arrived", func() bool { return s.destinations()[handset] == 1 })

	s.write(handset, " “Stop.” ")
	// From here on it is a matter of how soon the other process hears of it: by
	// notification, or by its look at the version each second.
	s.until("the other gateway refuses", func() bool { return !s.send(door, handset, "after STOP") })
	s.until("the confirmation has arrived", func() bool { return len(s.replies(handset)) > 0 })

	s.write(handset, "STOP")
	s.write(handset, "stop texting me")
	s.write(handset, strings.Repeat("where do the buses stop? ", 20)+"STOP") // in parts
	if n := s.number("select count(*) from messages where automatic"); n != 1 {
		t.Errorf("%d confirmations of one STOP", n)
	}
	if !s.send(door, "+13105559002", "to somebody else") {
		t.Error("somebody else is refused")
	}
	if s.send(door, handset, "still") {
		t.Error("accepted")
	}

	s.write(handset, "start")
	s.until("the other gateway accepts", func() bool { return s.send(door, handset, "after START") })
	s.write(handset, "YES")
	// What the other gateway accepted before it heard of STOP is refused when it is admitted,
	// or leaves because START has come by then.
	wanted := func() int {
		return s.number("select count(*) from messages where direction = 'outbound' and to_addr = '" + handset + "' and status <> 'rejected'")
	}
	s.until("all has arrived", func() bool { return s.destinations()[handset] >= wanted() && len(s.replies(handset)) >= 2 })
	if got := strings.Join(s.replies(handset), ", "); got != "have been unsubscribed, are subscribed again." {
		t.Errorf("confirmations: %s", got)
	}
	if n, owed := s.number("select count(*) from messages where automatic"), s.number("select count(*) from automatic_replies"); n != 2 || owed != 0 {
		t.Errorf("%d confirmations, %d owed", n, owed)
	}
	if n, m := s.destinations()[handset], wanted(); n != m || m < 4 {
		t.Errorf("%d messages reached the handset, %d were to", n, m)
	}
	if n := s.number("select count(*) from inbound_messages where parts > 1 and keyword = ''"); n < 2 {
		t.Errorf("%d parts are kept", n)
	}
}

// TestStopSurvivesDeath: the gateway dies right after it has taken a STOP. The opt-out
// holds, and the confirmation is one message.
func TestStopSurvivesDeath(t *testing.T) {
	t.Parallel()
	s := start(t)
	for i := range 3 {
		from := destination(900 + i)
		s.write(from, "STOP")
		if err := s.gateway.Kill(); err != nil {
			t.Fatal(err)
		}
		s.startGateway()
		if s.send(s.apiPort, from, "after STOP") {
			t.Error("accepted after STOP")
		}
		// It may have been on the wire when the gateway died, as any message.
		doubtful := 0
		s.until("the confirmation has arrived", func() bool {
			doubtful = s.number("select count(*) from messages where automatic and to_addr = $1 and status = 'in_doubt'", from)
			return len(s.replies(from)) > 0 || doubtful > 0
		})
		s.until("nothing is owed", func() bool { return s.number("select count(*) from automatic_replies") == 0 })
		if n, kept := s.destinations()[from], s.number("select count(*) from messages where automatic and to_addr = $1", from); n > 1 || n+doubtful < 1 || kept != 1 {
			t.Errorf("%d messages reached the handset, %d are on record", n, kept)
		}
	}
}
