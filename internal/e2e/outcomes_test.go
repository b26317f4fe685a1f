package e2e

import (
	"testing"

	"github.com/postrider/postrider/internal/message"
)

// TestOutcomes sends to numbers for which the simulator behaves like a vendor on
// a bad day, and wants each message to end, or wait, with the right word.
func TestOutcomes(t *testing.T) {
	t.Parallel()
	s := start(t, "--magic")
	cases := []struct {
		name, to string
		status   message.Status
		code     string
	}{
		{"receipt says undeliverable", "+13105550001", message.StatusUndelivered, "unreachable"},
		{"receipt says expired", "+13105550002", message.StatusExpired, "expired"},
		{"receipt says rejected", "+13105550003", message.StatusUndelivered, ""},
		{"no answer to the submit", "+13105550005", message.StatusInDoubt, ""},
		{"throttled once", "+13105550006", message.StatusDelivered, ""},
		{"refused for its recipient", "+13105550008", message.StatusFailed, "invalid_destination"},
		{"receipt before the answer", "+13105550009", message.StatusDelivered, ""},
		{"receipt twice", "+13105550010", message.StatusDelivered, ""},
	}
	ids := make([]string, len(cases))
	for i, c := range cases {
		ids[i] = s.post(map[string]any{"from": from, "to": c.to, "body": c.name, "webhook_url": s.hooks.server.URL}).ID
	}
	for i, c := range cases {
		var r resource
		s.until(c.name+" has come to something", func() bool {
			r = s.get(ids[i])
			return message.Status(r.Status).Final() || message.Status(r.Status) == c.status
		})
		if message.Status(r.Status) != c.status {
			t.Errorf("%s: it is %s, want %s", c.name, r.Status, c.status)
		}
		if c.code != "" && (r.Error == nil || r.Error.Code != c.code) {
			t.Errorf("%s: the error is %+v, want %s", c.name, r.Error, c.code)
		}
		s.until("the customer is told: "+c.name, func() bool { return s.hooks.told(ids[i], "message."+string(c.status)) })
	}
	seen := s.destinations()
	for _, c := range cases {
		if want := 1; c.status != message.StatusFailed && seen[c.to] != want {
			t.Errorf("%s: the vendor has it %d times", c.name, seen[c.to])
		}
	}
}
