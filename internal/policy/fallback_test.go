package policy

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

func link(f message.MediaFile) string { return "https://gw.example/media/" + f.ContentType }

// falling is an MMS of an account that wants a text with links in its place.
func falling() (*snapshot.Snapshot, *message.Message) {
	s, m := world(), allowed()
	a := s.Accounts[account]
	a.MMSFallback, a.ContentRetentionDays, a.MaxParts = snapshot.MMSFallbackLink, 30, 10
	m.Kind, m.Body, m.CreatedAt = message.MMS, "look", time.Date(2026, 11, 21, 20, 0, 0, 0, time.UTC)
	m.ExpiresAt = m.CreatedAt.Add(4 * time.Hour)
	m.Media = []message.Media{{Position: 1, File: message.MediaFile{ID: message.NewID(), ContentType: "1.jpg"}}, {Position: 2, Source: "https://files.example/2.png"}}
	return s, m
}

func TestAsText(t *testing.T) {
	t.Parallel()
	s, m := falling()
	m.Status, m.Error = message.StatusRejected, message.Refuse(message.ReasonNoRoute, "no")
	was := *m
	got := AsText(s, m, link)
	if got == nil || got.Body != "look\nhttps://gw.example/media/1.jpg\nhttps://files.example/2.png" || got.Kind != message.SMS || got.Requested != message.MMS ||
		got.Segments != 1 || len(got.Parts) != 1 || got.Encoding != message.EncodingGSM7 || got.Status != message.StatusAccepted || got.Error != nil || len(got.Media) != 2 {
		t.Fatalf("%+v", got)
	}
	if m.Body != was.Body || m.Kind != message.MMS || m.Error == nil {
		t.Error("the message was changed")
	}
	m.Body = strings.Repeat("日本", 6)
	if got = AsText(s, m, link); got.Encoding != message.EncodingUCS2 || got.Segments != 2 || !slices.Equal([]int{got.Parts[0].Number, got.Parts[1].Number}, []int{1, 2}) {
		t.Errorf("%+v", got)
	}
	m.Body = ""
	if got = AsText(s, m, link); !strings.HasPrefix(got.Body, "https://") {
		t.Errorf("%q", got.Body)
	}
	m.Subject, m.Body, m.Media = "Lunch?", "at noon", nil
	if got = AsText(s, m, link); got.Body != "Lunch?\nat noon" {
		t.Errorf("%q", got.Body)
	}
}

// Only where it is wanted, where links can be made, and where they live long enough.
func TestNotAsText(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*snapshot.Account, *message.Message){
		"not wanted":        func(a *snapshot.Account, _ *message.Message) { a.MMSFallback = snapshot.MMSFallbackNone },
		"not said":          func(a *snapshot.Account, _ *message.Message) { a.MMSFallback = "" },
		"an SMS":            func(_ *snapshot.Account, m *message.Message) { m.Kind = message.SMS },
		"too many parts":    func(a *snapshot.Account, m *message.Message) { a.MaxParts, m.Body = 1, strings.Repeat("a", 160) },
		"too much text":     func(_ *snapshot.Account, m *message.Message) { m.Body = strings.Repeat("a", 1600) },
		"gone within hours": func(a *snapshot.Account, _ *message.Message) { a.ContentRetentionDays = 0 },
		"gone before a day": func(a *snapshot.Account, m *message.Message) {
			a.ContentRetentionDays, m.SendAt = 1, m.CreatedAt.Add(time.Minute)
		},
		"gone while it may wait": func(a *snapshot.Account, m *message.Message) {
			a.ContentRetentionDays, m.ExpiresAt = 2, m.CreatedAt.Add(49*time.Hour)
		},
	} {
		s, m := falling()
		change(s.Accounts[account], m)
		if got := AsText(s, m, link); got != nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
	s, m := falling()
	if AsText(s, m, nil) != nil {
		t.Error("there is nowhere to read it")
	}
	s.Accounts[account].ContentRetentionDays = 1
	if AsText(s, m, link) == nil {
		t.Error("a day is enough for what leaves at once")
	}
}
