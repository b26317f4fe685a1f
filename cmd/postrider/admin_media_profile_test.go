package main

import (
	"bytes"
	"context"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
	"github.com/postrider/postrider/internal/telemetry"
)

func TestAdminMediaProfile(t *testing.T) {
	s := startShell(t)
	file := filepath.Join(t.TempDir(), "profile.json")
	var shown map[string]any
	s.admin(&shown, "media-profile", "show", "att")
	if shown["message_bytes"] != 1_000_000.0 || shown["name"] != nil {
		t.Errorf("shown: %v", shown)
	}
	out, _, err := command(t, "admin", "media-profile", "show", "att")
	if err != nil {
		t.Fatal(err)
	}
	// What show prints is what set reads.
	if err := os.WriteFile(file, []byte(strings.Replace(out, `"message_bytes": 1000000`, `"message_bytes": 700000`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"att", "lean"} {
		s.admin(nil, "media-profile", "set", name, "--file", file)
		if s.admin(&shown, "media-profile", "show", name); shown["message_bytes"] != 700_000.0 {
			t.Errorf("%s: %v", name, shown)
		}
	}
	list, _, err := command(t, "admin", "media-profile", "list")
	if err != nil || strings.Count(list, "set here") != 2 || strings.Count(list, "of the release") != 9 {
		t.Errorf("%v:\n%s", err, list)
	}
	s.admin(nil, "vendor", "add", "north", "--provider-type", "smpp", "--host", "h", "--username", "u", "--media-profile", "lean")
	for _, c := range []struct {
		words []string
		says  string
	}{
		{[]string{"media-profile", "remove", "lean"}, "north"},
		{[]string{"media-profile", "remove", "rural"}, "nothing to take away"},
		{[]string{"media-profile", "remove", "none"}, "there is no media profile"},
		{[]string{"media-profile", "show", "none"}, "lean"},
		{[]string{"media-profile", "set", "LOUD", "--file", file}, "name"},
		{[]string{"vendor", "set", "north", "--media-profile", "none"}, "rural"},
		{[]string{"vendor", "add", "south", "--provider-type", "smpp", "--host", "h", "--username", "u", "--media-profile", "none"}, "media_profile"},
	} {
		if _, _, err := command(t, append([]string{"admin"}, c.words...)...); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%q: %v, want %q", c.words, err, c.says)
		}
	}
	s.admin(nil, "media-profile", "remove", "att")
	if s.admin(&shown, "media-profile", "show", "att"); shown["message_bytes"] != 1_000_000.0 {
		t.Errorf("after the row was removed: %v", shown)
	}
	s.admin(nil, "vendor", "set", "north", "--media-profile", "")
	s.admin(nil, "media-profile", "remove", "lean")
}

// fixed is a configuration that never changes.
type fixed struct{ *snapshot.Snapshot }

func (f fixed) RefreshSnapshot(context.Context, *snapshot.Snapshot) (*snapshot.Snapshot, error) {
	return f.Snapshot, nil
}
func (f fixed) ConfigVersion(context.Context) (int64, error) { return f.Version, nil }
func (f fixed) ListenConfig(ctx context.Context, _ func()) error {
	<-ctx.Done()
	return ctx.Err()
}

// A vendor whose profile is gone is served, and that is told.
func TestProfileThatIsGone(t *testing.T) {
	gone, named := message.NewID(), message.NewID()
	config := &snapshot.Snapshot{Vendors: map[message.ID]*snapshot.Vendor{
		gone:  {ID: gone, Name: "north", ProviderType: "smpp", MediaProfile: "gone"},
		named: {ID: named, Name: "south", ProviderType: "twilio"},
	}}
	var log bytes.Buffer
	g := &Gateway{Log: slog.New(slog.NewTextHandler(&log, nil)), metrics: telemetry.New(), config: snapshot.NewHolder(fixed{config}, slog.New(slog.DiscardHandler))}
	if err := g.config.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	for vendor, want := range map[message.ID]string{named: "twilio", message.NewID(): "default", gone: "default"} {
		if p := g.mediaProfile(vendor); p.Name != want {
			t.Errorf("%s: %s, want %s", vendor, p.Name, want)
		}
	}
	w := httptest.NewRecorder()
	g.metrics.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	if !strings.Contains(w.Body.String(), `media_profile_missing_total{vendor_id="`+gone.String()+`"} 1`) || strings.Count(w.Body.String(), "media_profile_missing_total{") != 1 {
		t.Error("it is not counted, or more than that is")
	}
	if strings.Count(log.String(), "\n") != 1 || !strings.Contains(log.String(), "vendor=north media_profile=gone") {
		t.Errorf("the log has %q", log.String())
	}
}
