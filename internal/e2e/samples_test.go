package e2e

import (
	"net/url"
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/stack/stacktest"
)

// TestTextsArrive sends texts at the edges of what an SMS can hold, and reads at
// the simulator what a handset would show.
func TestTextsArrive(t *testing.T) {
	t.Parallel()
	s := start(t)
	samples := []struct {
		name, to, body, encoding string
		segments                 int
	}{
		{"160 septets", "+13105550101", strings.Repeat("0123456789", 16), "gsm7", 1},
		{"161 septets", "+13105550102", strings.Repeat("0123456789", 16) + "!", "gsm7", 2},
		{"extension characters", "+13105550103", "{}[]|~^\\€", "gsm7", 1},
		{"81 braces", "+13105550104", strings.Repeat("{", 81), "gsm7", 2},
		{"brace at the edge of a part", "+13105550105", strings.Repeat("a", 152) + "{" + strings.Repeat("b", 40), "gsm7", 2},
		{"Arabic", "+13105550106", "مرحبا، طلبك في الطريق", "ucs2", 1},
		{"Chinese", "+13105550107", "您的包裹已发出，预计明天送达。", "ucs2", 1},
		{"emoji at a surrogate edge", "+13105550108", strings.Repeat("ж", 66) + "😀 whole", "ucs2", 2},
		{"ten parts", "+13105550109", strings.Repeat("0123456789abcdefg", 90), "gsm7", 10},
	}
	ids := make([]string, len(samples))
	for i, c := range samples {
		r := s.post(map[string]any{"from": from, "to": c.to, "body": c.body, "webhook_url": s.hooks.server.URL})
		if r.Encoding != c.encoding || r.Segments != c.segments {
			t.Errorf("%s: answered %s in %d parts, want %s in %d", c.name, r.Encoding, r.Segments, c.encoding, c.segments)
		}
		ids[i] = r.ID
	}
	for i, c := range samples {
		if r := s.final(ids[i]); r.Status != "delivered" {
			t.Errorf("%s: ended as %s, want delivered", c.name, r.Status)
		}
		s.until("the customer is told of "+c.name, func() bool { return s.hooks.told(ids[i], "message.delivered") })
		if !s.hooks.told(ids[i], "message.sent") {
			t.Errorf("%s: message.sent did not come", c.name)
		}
		var seen []struct {
			Text string `json:"text"`
		}
		s.smscGet("/messages?destination="+url.QueryEscape(c.to), &seen)
		if len(seen) != 1 || seen[0].Text != c.body {
			t.Errorf("%s: the simulator has %d messages, the text arrived: %v", c.name, len(seen), len(seen) == 1 && seen[0].Text == c.body)
		}
		checkTimeline(t, s, c.name, ids[i])
	}
	if bad, forged := s.hooks.faults(); bad+forged > 0 {
		t.Errorf("%d events were signed wrongly, %d changed under their id", bad, forged)
	}
}

// checkTimeline wants the story told without gaps and in order.
func checkTimeline(t *testing.T, s *system, name, id string) {
	t.Helper()
	next := []string{"accepted", "admitted", "queued", "sending", "sent", "receipt", "delivered"}
	for i, e := range s.timeline(id).JSON200.Data {
		if e.Sequence != int64(i+1) {
			t.Errorf("%s: event %d has number %d", name, i+1, e.Sequence)
		}
		if len(next) > 0 && e.Type == next[0] {
			next = next[1:]
		}
	}
	if len(next) > 0 {
		t.Errorf("%s: the timeline lacks %v (in that order)", name, next)
	}
}

// TestSecondStartKeepsState restarts the gateway and finds what was sent before.
func TestSecondStartKeepsState(t *testing.T) {
	t.Parallel()
	s := start(t)
	r := s.post(map[string]any{"from": from, "to": "+13105550111", "body": "before the restart"})
	s.final(r.ID)
	if err := s.gateway.Stop(stacktest.Context(t)); err != nil {
		t.Fatal(err)
	}
	s.startGateway()
	if got := s.get(r.ID); got.Status != "delivered" || got.Body != "before the restart" {
		t.Errorf("after a restart it is %s with the text kept: %v", got.Status, got.Body == "before the restart")
	}
}
