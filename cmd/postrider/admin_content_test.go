package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/message"
)

// Nothing is asked of the database, which is not there, before all flags are right.
func TestAdminContentFlags(t *testing.T) {
	t.Setenv("POSTRIDER_KEYS", "")
	t.Setenv("POSTRIDER_KEY_FILE", "")
	add := []string{"content-rule", "add", "--name", "one"}
	for _, c := range []struct {
		words []string
		says  string
	}{
		{[]string{"content-rule", "add"}, `"name"`},
		{add, "pattern"},
		{append(add, "--pattern", "x", "--kind", "glob"), "kind"},
		{append(add, "--pattern", "x", "--action", "allow"), "allow"},
		{append(add, "--pattern", "(", "--kind", "regex"), "pattern"},
		{append(add, "--pattern", "x", "--class", "nonsense"), "class"},
		{append(add, "--pattern", "x", "--effective-from", "tomorrow"), "effective-from"},
		{append(add, "--pattern", "x", "--pattern-file", "y"), "not both"},
		{append(add, "--pattern-file", filepath.Join(t.TempDir(), "none")), "pattern-file"},
		{[]string{"content-rule", "test", "x", "--message-class", "loud"}, "message-class"},
		{[]string{"content-rule", "remove", "x"}, "id"},
		{[]string{"account", "set", message.NewID().String(), "--quiet-hours", "maybe"}, "quiet-hours"},
		{[]string{"account", "set", message.NewID().String(), "--quiet-windows", "9-5"}, "quiet-windows"},
	} {
		if _, _, err := command(t, append([]string{"admin"}, c.words...)...); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%q: %v, want %q", c.words, err, c.says)
		}
	}
	if _, _, err := command(t, "admin", "message", "refuse", message.NewID().String()); err == nil || !strings.Contains(err.Error(), `"reason"`) {
		t.Errorf("a refusal without a reason: %v", err)
	}
}

func TestAdminContent(t *testing.T) {
	s := startShell(t)
	var account, made struct{ ID string }
	s.admin(&account, "account", "create", "--name", "Acme", "--quiet-hours", "refuse")
	file := filepath.Join(t.TempDir(), "words")
	if err := os.WriteFile(file, []byte("casino*\nfree spins\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.admin(&made, "content-rule", "add", "--name", "games", "--class", "gambling", "--action", "hold", "--pattern-file", file)
	var tried struct {
		Action  string
		Matches []struct{ Name, Text string }
	}
	s.admin(&tried, "content-rule", "test", "our C4SINO", "--account", account.ID)
	if tried.Action != "hold" || len(tried.Matches) != 1 || tried.Matches[0].Text != "C4SINO" {
		t.Errorf("tried: %+v", tried)
	}
	s.admin(nil, "content-rule", "set", made.ID, "--active=false")
	s.admin(&tried, "content-rule", "test", "our casino")
	if tried.Action != "" {
		t.Errorf("tried: %+v", tried)
	}
	s.admin(&tried, "content-rule", "test", "--all", "our casino")
	if tried.Action != "hold" {
		t.Errorf("tried: %+v", tried)
	}
	if row := s.row("select concat_ws(' ', name, kind, class, action, active, pattern) from content_rules"); row != "games word gambling hold f casino*\nfree spins\n" {
		t.Errorf("the rule is %q", row)
	}
	var added struct{ Added int }
	s.admin(&added, "content-rule", "import-starter")
	if added.Added < 10 {
		t.Errorf("%d starter rules", added.Added)
	}
	out, _, err := command(t, "admin", "content-rule", "list")
	if err != nil || !strings.Contains(out, "games") || !strings.Contains(out, "starter: ") || strings.Contains(out, "LEFT OUT") {
		t.Errorf("%v\n%s", err, out)
	}
	s.admin(nil, "content-rule", "remove", made.ID)
	if n := s.row("select count(*)::text from audit_log where action like 'content_rule.%'"); n != "4" {
		t.Errorf("%s lines of the audit log", n)
	}
	const quiet = "select concat_ws(' ', quiet_hours, coalesce(quiet_windows->'windows'->0->>'days', 'none')) from accounts"
	if got := s.row(quiet); got != "refuse none" {
		t.Errorf("quiet hours %s", got)
	}
	s.admin(nil, "account", "set", account.ID, "--quiet-hours", "wait", "--quiet-windows", `{"windows": [{"days": "mon-tue", "from": "09:00", "to": "18:00"}]}`)
	if got := s.row(quiet); got != "wait mon,tue" {
		t.Errorf("quiet hours %s", got)
	}
	s.admin(nil, "account", "set", account.ID, "--quiet-windows", "none")
	if got := s.row(quiet); got != "wait none" {
		t.Errorf("quiet hours %s", got)
	}
	if out, _, err := command(t, "admin", "message", "held"); err != nil || !strings.Contains(out, "ID") {
		t.Errorf("%v\n%s", err, out)
	}
	if _, _, err := command(t, "admin", "message", "release", message.NewID().String()); message.ReasonOf(err) != message.ReasonNotFound {
		t.Errorf("a message that does not exist: %v", err)
	}
}
