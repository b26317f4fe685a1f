package policy

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/quiet"
	"github.com/postrider/postrider/internal/snapshot"
)

func TestQuietHours(t *testing.T) {
	t.Parallel()
	night := time.Date(2026, 11, 22, 4, 15, 0, 0, time.UTC) // Saturday, 20:15 in Los Angeles
	late := night.Add(time.Hour)
	opens := time.Date(2026, 11, 22, 16, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name   string
		now    time.Time
		change func(*snapshot.Account, *message.Message)
		result message.Result
		detail string
	}{
		{"still open", night, nil, message.Pass, "inside the permitted hours"},
		{"it waits", late, nil, message.Holding, "21:15 in America/Los_Angeles is outside 08:00-21:00; opens 2026-11-22T16:00:00Z"},
		{"a state that closes earlier", night, func(_ *snapshot.Account, m *message.Message) { m.To = "+12065550100" }, message.Holding,
			"20:15 in America/Los_Angeles is outside 08:00-20:00; opens 2026-11-22T16:00:00Z"},
		{"conversations go", late, func(_ *snapshot.Account, m *message.Message) { m.Class = message.ClassConversation }, message.Pass, "it is not bulk"},
		{"codes go", late, func(_ *snapshot.Account, m *message.Message) { m.Class = message.ClassOTP }, message.Pass, "it is not bulk"},
		{"answers go", late, func(_ *snapshot.Account, m *message.Message) { m.Automatic = true }, message.Pass, "automatic"},
		{"the account has none", late, func(a *snapshot.Account, _ *message.Message) { a.QuietHours = quiet.PolicyOff }, message.Pass, "has none"},
		{"the account wants a refusal", late, func(a *snapshot.Account, _ *message.Message) { a.QuietHours = quiet.PolicyRefuse }, message.Refused, "21:15 in America/Los_Angeles"},
		{"it would wait too long", late, func(_ *snapshot.Account, m *message.Message) { m.ExpiresAt = opens }, message.Refused, "and the validity ends at 2026-11-22T16:00:00Z"},
		{"it would wait just long enough", late, func(_ *snapshot.Account, m *message.Message) { m.ExpiresAt = opens.Add(time.Millisecond) }, message.Holding, "opens 2026-11-22T16:00:00Z"},
		{"it leaves later, when it is open", late, func(_ *snapshot.Account, m *message.Message) { m.SendAt = opens.Add(time.Hour) }, message.Pass, ""},
		{"it leaves later, when it is not", night, func(_ *snapshot.Account, m *message.Message) { m.SendAt = late }, message.Holding, "21:15"},
		{"own windows", night, func(a *snapshot.Account, _ *message.Message) {
			a.QuietWindows = mustWindows(`{"windows": [{"days": "mon-fri", "from": "09:00", "to": "17:00"}]}`)
		}, message.Holding, "20:15 in America/Los_Angeles is on a day without permitted hours; opens 2026-11-23T17:00:00Z"},
		{"own windows on the account's clock", late, func(a *snapshot.Account, _ *message.Message) {
			a.TimeZone, a.QuietWindows = "Asia/Tokyo", mustWindows(`{"zone": "account", "windows": [{"days": "sun-sat", "from": "08:00", "to": "20:00"}]}`)
		}, message.Pass, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s, m := world(), allowed()
			m.Class, m.ExpiresAt = message.ClassBulk, c.now.Add(72*time.Hour)
			if c.change != nil {
				c.change(s.Accounts[account], m)
			}
			for name, ask := range map[string]func(*snapshot.Snapshot, Question) Decision{"Evaluate": Evaluate, "Gate": Gate} {
				d := ask(s, Question{Message: m, Now: c.now})
				e := entryOf(t, d, RuleQuietHours)
				if e.Result != c.result || !strings.Contains(e.Detail, c.detail) {
					t.Errorf("%s: %s: %s", name, e.Result, e.Detail)
				}
				if h := d.Hold(); (h != nil) != (c.result == message.Holding) || h != nil && (!h.Until.After(c.now) || !h.Until.Before(m.ExpiresAt) || h.Detail != e.Detail) {
					t.Errorf("%s: hold %+v", name, h)
				}
				if (message.ReasonOf(refusalOf(d)) == message.ReasonQuietHours) != (c.result == message.Refused) {
					t.Errorf("%s: %v", name, d.Error)
				}
			}
		})
	}
}

func refusalOf(d Decision) error {
	if d.Error == nil {
		return nil
	}
	return d.Error
}

func mustWindows(doc string) *quiet.Override {
	o, err := quiet.ParseOverride([]byte(doc))
	if err != nil {
		panic(err)
	}
	return o
}

// Messages that have waited for one opening do not all leave in its first second, and
// each knows its own moment.
func TestOpeningsAreSpread(t *testing.T) {
	t.Parallel()
	s := world()
	now := time.Date(2026, 11, 22, 6, 0, 0, 0, time.UTC)
	opens := time.Date(2026, 11, 22, 16, 0, 0, 0, time.UTC)
	minutes := map[int]int{}
	for i := range 1000 {
		m := allowed()
		m.To = message.Address(fmt.Sprintf("+1310555%04d", i))
		m.Class, m.ExpiresAt = message.ClassBulk, now.Add(24*time.Hour)
		d := Evaluate(s, Question{Message: m, Now: now})
		until := d.Hold().Until
		later := *m
		later.ID = message.NewID()
		if next := Evaluate(s, Question{Message: &later, Now: now}).Hold().Until; !next.Equal(until) {
			t.Fatalf("%s, and the next of its conversation %s", until, next)
		}
		if again := Evaluate(s, Question{Message: m, Now: now.Add(time.Hour)}).Hold().Until; !again.Equal(until) {
			t.Fatalf("%s, and an hour later %s", until, again)
		}
		if until.Before(opens) || !until.Before(opens.Add(openingSpread)) {
			t.Fatalf("it waits until %s", until)
		}
		minutes[int(until.Sub(opens)/time.Minute)]++
		if d := Evaluate(s, Question{Message: m, Now: until}); d.Hold() != nil || !d.Allowed() {
			t.Fatalf("at %s it waits again: %+v", until, d.Hold())
		}
	}
	for minute := range 10 {
		if minutes[minute] < 50 || minutes[minute] > 150 {
			t.Errorf("%d of 1,000 in minute %d", minutes[minute], minute)
		}
	}
}
