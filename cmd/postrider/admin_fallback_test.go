package main

import (
	"strings"
	"testing"
)

// Links need somewhere to be read, which is said before an account promises them.
func TestAdminMMSFallback(t *testing.T) {
	s := startShell(t)
	var account struct{ ID string }
	s.admin(&account, "account", "create", "--name", "Acme")
	t.Setenv("PUBLIC_URL", "")
	for word, says := range map[string]string{"sms_link": "PUBLIC_URL is not set", "letter": "want none or sms_link"} {
		if _, _, err := command(t, "admin", "account", "set", account.ID, "--mms-fallback", word); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", word, err)
		}
	}
	t.Setenv("PUBLIC_URL", "https://gw.example")
	s.admin(nil, "account", "set", account.ID, "--mms-fallback", "sms_link")
	if got := s.row("select mms_fallback from accounts where id = $1", account.ID); got != "sms_link" {
		t.Errorf("it is %s", got)
	}
}
