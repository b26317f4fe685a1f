package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLogin(t *testing.T) {
	g := startGateway(t)
	s := newShell(t, g.URL)
	t.Setenv("POSTRIDER_API_KEY", "")
	t.Setenv("POSTRIDER_API_SECRET", "")
	path := os.Getenv("POSTRIDER_CONFIG")
	if _, _, err := s.run("message", "get", id); ExitCode(err) != ExitUsage || !strings.Contains(err.Error(), "postrider login") {
		t.Fatal(err)
	}
	g.on("POST /v1/auth/token", says(401, `{"code":"unauthenticated","class":"permanent","detail":"key or secret is wrong"}`), says(200, `{"access_token":"jwt","expires_in":900,"scope":"","token_type":"Bearer"}`))
	s.in = "key-1\ns3cret\n"
	if _, _, err := s.run("login"); err == nil || !strings.Contains(err.Error(), "nothing is kept") {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Fatal("what was refused is kept")
	}
	if out, _, err := s.run("login"); err != nil || !strings.Contains(out, "key-1") {
		t.Fatal(out, err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatal(info, err)
	}
	if info, err := os.Stat(filepath.Dir(path)); err != nil || info.Mode().Perm() != 0o700 {
		t.Error(info, err)
	}
	g.on("GET /v1/messages", says(200, `{"data":[],"next_cursor":null}`))
	s.in = ""
	if _, _, err := s.run("message", "list"); err != nil {
		t.Error(err)
	}
	if key, secret, _ := g.asked[len(g.asked)-1].BasicAuth(); key != "key-1" || secret != "s3cret" {
		t.Errorf("%s is used", key)
	}

	// The key is for its gateway alone, and for its owner's eyes.
	if _, _, err := s.run("message", "list", "--api-url", "http://127.0.0.1:1"); ExitCode(err) != ExitUsage || !strings.Contains(err.Error(), "is not sent to http://127.0.0.1:1") {
		t.Error(err)
	}
	t.Setenv("POSTRIDER_STAFF_TOKEN", "jwt") // which needs no key, and brings none along
	if _, _, err := s.run("message", "list", "--api-url", "http://127.0.0.1:1"); ExitCode(err) != ExitUsage || !strings.Contains(err.Error(), "no API key") {
		t.Error(err)
	}
	t.Setenv("POSTRIDER_STAFF_TOKEN", "")
	t.Setenv("POSTRIDER_API_KEY", "key-2")
	if _, _, err := s.run("message", "list"); ExitCode(err) != ExitUsage || !strings.Contains(err.Error(), "belong together") {
		t.Error(err)
	}
	t.Setenv("POSTRIDER_API_KEY", "")
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.run("message", "list"); ExitCode(err) != ExitUsage || !strings.Contains(err.Error(), "chmod 600") {
		t.Error(err)
	}
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.run("message", "list"); ExitCode(err) != ExitUsage || !strings.Contains(err.Error(), "run it again") {
		t.Error(err)
	}
	s.in = "key\n"
	if _, _, err := s.run("login"); err == nil {
		t.Error("a key without its secret is kept")
	}
}

func TestInClear(t *testing.T) {
	for given, want := range map[string]bool{
		"https://gw.example": false, "http://localhost:8080": false, "http://127.0.0.1:8080": false, "http://[::1]": false, "http://gw.example": true, "http://10.0.0.1": true,
	} {
		if inClear(given) != want {
			t.Error(given)
		}
	}
}
