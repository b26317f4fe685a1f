package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/secret"
	"github.com/postrider/postrider/internal/stack/stacktest"
)

// typed runs an admin command with something on its standard input.
func typed(t *testing.T, input string, words ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	cmd := root()
	cmd.SetIn(strings.NewReader(input))
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SetArgs(append([]string{"admin"}, words...))
	err := cmd.ExecuteContext(stacktest.Context(t))
	return out.String(), err
}

func TestAdminStaff(t *testing.T) {
	s := startShell(t)
	for _, c := range []struct{ flags, input, says string }{
		{"staff create ada --role admin", "", "EMAIL"},
		{"staff create ada@gw.example", "", "role"},
		{"staff create ada@gw.example --role boss", "", "compliance"},
		{"staff create ada@gw.example --role admin --password-stdin", "eleven-char\n", "12"},
		{"staff create ada@gw.example --role admin --password-stdin", "", "12"},
		{"staff create ada@gw.example --role admin --password secret-secret-secret", "", "unknown flag"},
		{"staff password nobody@gw.example", "", "no member of staff"},
	} {
		if out, err := typed(t, c.input, strings.Fields(c.flags)...); err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(out, "eleven-char") {
			t.Errorf("%s: %v %s", c.flags, err, out)
		}
	}
	if n := s.row("select count(*)::text from staff"); n != "0" {
		t.Fatalf("%s of them were made", n)
	}

	var made struct{ ID, Email, Password string }
	s.admin(&made, "staff", "create", "Ada@GW.example", "--role", "admin", "--name", "Ada")
	fits := func(email, password string) {
		t.Helper()
		hash := s.row("select password_hash from staff where email = $1", email)
		if !(secret.Passwords{Fresh: true}).PasswordFits(hash, password) {
			t.Errorf("password of %s does not fit %s", email, hash)
		}
	}
	if made.Email != "ada@gw.example" || len(made.Password) != 20 {
		t.Errorf("%+v", made)
	}
	fits("ada@gw.example", made.Password)
	out, err := typed(t, "<& a long one >\r\nrest", "staff", "create", "bob@gw.example", "--role", "viewer", "--password-stdin")
	if err != nil || strings.Contains(out, "long one") || strings.Contains(out, "password") {
		t.Errorf("%v %s", err, out)
	}
	fits("bob@gw.example", "<& a long one >")
	if _, err := typed(t, "", "staff", "disable", "ada@gw.example"); err == nil || !strings.Contains(err.Error(), "last active admin") {
		t.Errorf("the last admin goes: %v", err)
	}
	if _, err := typed(t, "", "staff", "create", "ada@gw.example", "--role", "viewer"); err == nil || !strings.Contains(err.Error(), "already") {
		t.Errorf("an address twice: %v", err)
	}
	s.admin(nil, "staff", "disable", "bob@gw.example")
	if on := s.row("select active::text from staff where email = 'bob@gw.example'"); on != "false" {
		t.Error("bob may log in")
	}
	s.admin(nil, "staff", "enable", "bob@gw.example")
	was := made.Password
	s.admin(&made, "staff", "password", "ada@gw.example")
	if made.Password == was {
		t.Error("the same password")
	}
	fits("ada@gw.example", made.Password)
	var list []map[string]any
	s.admin(&list, "staff", "list")
	if len(list) != 2 || list[0]["email"] != "bob@gw.example" || list[0]["active"] != true || list[1]["role"] != "admin" || list[1]["name"] != "Ada" || list[1]["last_login_at"] != nil {
		t.Errorf("%v", list)
	}
	// Somebody invited chooses a password by the link, of which only the hash is kept.
	var invited struct{ ID, Email, Role, Link string }
	t.Setenv("PUBLIC_URL", "https://gw.example/")
	s.admin(&invited, "staff", "invite", "Eve@gw.example", "--role", "viewer", "--name", "Eve")
	token, ok := strings.CutPrefix(invited.Link, "https://gw.example/console/links/")
	if !ok || len(token) != 43 || invited.Email != "eve@gw.example" || invited.Role != "viewer" {
		t.Errorf("%+v", invited)
	}
	if n := s.row("select count(*)::text from sign_in_links l join staff s on s.id = l.staff_id where s.email = 'eve@gw.example' and s.password_hash = '' and l::text not like '%' || $1 || '%'", token); n != "1" {
		t.Errorf("%s links", n)
	}
	if _, err := typed(t, "", "staff", "invite", "ada@gw.example", "--role", "viewer"); err == nil || !strings.Contains(err.Error(), "has a password already") {
		t.Errorf("who has a password is invited: %v", err)
	}
	if _, err := typed(t, "", "staff", "invite", "eve@gw.example", "--role", "viewer", "--send"); err == nil || !strings.Contains(err.Error(), "EMAIL_RELAY") {
		t.Errorf("sent without a relay: %v", err)
	}
	if _, err := typed(t, "", "staff", "second-factor-off", "ada@gw.example"); err == nil {
		t.Error("a second factor was taken off that there was not")
	}
	s.row("insert into second_factors (staff_id, secret) select id, '' from staff where email = 'ada@gw.example' returning 'made'")
	s.admin(nil, "staff", "second-factor-off", "ada@gw.example")
	if n := s.row("select count(*)::text from second_factors"); n != "0" {
		t.Error("the second factor is still there")
	}
	if n := s.row("select count(*)::text from audit_log where action like 'staff.%' and role = 'shell'"); n != "7" {
		t.Errorf("%s lines of the audit log, want 5", n)
	}
}
