package twilio

import (
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
)

func TestSIDs(t *testing.T) {
	m := &message.Message{ID: message.NewID(), Kind: message.MMS}
	if id, ok := ParseSID(MessageSID(m), SMSPrefix, MMSPrefix); !ok || id != m.ID || !strings.HasPrefix(MessageSID(m), "MM") {
		t.Errorf("%s: %s", MessageSID(m), id)
	}
	for _, bad := range []string{"", "SM", "SM" + strings.Repeat("g", 32), "XX" + message.Hex32(m.ID), "SM{" + strings.Repeat("1", 30) + "}", "SM" + m.ID.String()} {
		if _, ok := ParseSID(bad, SMSPrefix, MMSPrefix); ok {
			t.Errorf("%q is a sid", bad)
		}
	}
	if got := Date(time.Date(2026, 11, 1, 1, 15, 9, 0, time.FixedZone("", 3600))); got != "Sun, 01 Nov 2026 00:15:09 +0000" {
		t.Error(got)
	}
}

// Every reason has a code, and every status a word.
func TestWords(t *testing.T) {
	for _, e := range message.Catalogue() {
		if codes[e.Reason] == 0 {
			t.Errorf("%s has no code", e.Reason)
		}
	}
	if Code("news") != CodeUnknown {
		t.Error("a reason of tomorrow has no code")
	}
	now := time.Now()
	for _, s := range message.Statuses() {
		m := &message.Message{Status: s, CreatedAt: now}
		failed := Status(m) == Failed || Status(m) == Undelivered
		if Status(m) == "" || failed != (ErrorCode(m) != 0) {
			t.Errorf("%s: %s, %d", s, Status(m), ErrorCode(m))
		}
		if failed && (s == message.StatusUnconfirmed || s == message.StatusInDoubt) {
			t.Errorf("%s is told as %s", s, Status(m))
		}
	}
	for want, m := range map[string]message.Message{
		Scheduled:   {Status: message.StatusAccepted, CreatedAt: now, SendAt: now.Add(time.Hour)},
		Received:    {Status: message.StatusAccepted, Direction: message.Inbound},
		Failed:      {Status: message.StatusExpired},
		Undelivered: {Status: message.StatusExpired, SubmittedAt: now},
	} {
		if got := Status(&m); got != want {
			t.Errorf("%s instead of %s", got, want)
		}
	}
}
