package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/message"
)

// Nothing is asked of the database, which is not there, before all flags are right.
func TestAdminMM4PeerFlags(t *testing.T) {
	t.Setenv("POSTRIDER_KEYS", "")
	t.Setenv("POSTRIDER_KEY_FILE", "")
	id := message.NewID().String()
	create := []string{"mm4-peer", "create", "acme", "--account", id, "--addresses", "192.0.2.0/24"}
	for _, c := range []struct {
		words []string
		says  string
	}{
		{create, "POSTRIDER_KEYS"}, // all is right: what is missing is the keyring
		{[]string{"mm4-peer", "create", "acme", "--vendor", "v", "--addresses", "192.0.2.0/24"}, "POSTRIDER_KEYS"},
		{create[:2], "arg"},
		{create[:3], "[account vendor]"},
		{append(create[:5:5], "--vendor", "v"), "account vendor"},
		{create[:5], "--addresses: is required"},
		{[]string{"mm4-peer", "create", "a b", "--account", id, "--addresses", "192.0.2.0/24"}, "--name"},
		{append(create[:5:5], "--addresses", "0.0.0.0/0"), "--auth-username"},
		{append(create[:5:5], "--addresses", "192.0.2.1/24"), "192.0.2.0/24"},
		{append(create[:7:7], "--size-limit", "1"), "--size-limit"},
		{append(create[:7:7], "--auth-username", "u"), "--auth-password"},
		{append(create[:7:7], "--tls", "maybe"), "--tls"},
		{append(create[:7:7], "--secrets", filepath.Join(t.TempDir(), "none")), "--secrets"},
		{[]string{"mm4-peer", "create", "acme", "--vendor", "v", "--addresses", "192.0.2.0/24", "--host", "h.example"}, "--host"},
		{[]string{"mm4-peer", "set", "acme"}, "nothing to set"},
	} {
		if _, _, err := command(t, append([]string{"admin"}, c.words...)...); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%q: %v, want %q", c.words, err, c.says)
		}
	}
	if out, err := typed(t, `{"auth_password":"topsecret1234","x":1}`, append(create[:7:7], "--secrets", "-")...); err == nil || strings.Contains(err.Error()+out, "topsecret") {
		t.Errorf("%v %s", err, out)
	}
}

func TestAdminMM4Peer(t *testing.T) {
	s := startShell(t)
	var account struct{ ID string }
	s.admin(&account, "account", "create", "--name", "Acme")
	var made struct {
		ID   message.ID
		Name string
	}
	out, err := typed(t, `{"auth_password":"topsecret1234","send_password":"topsecret5678"}`, "mm4-peer", "create", "acme", "--account", account.ID, "--addresses", "192.0.2.0/24,198.51.100.7/32",
		"--auth-username", "acme", "--host", "mms.example", "--tls", "implicit", "--send-username", "us", "--secrets", "-")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(out), &made); err != nil || made.Name != "acme" {
		t.Fatal(err, out)
	}
	shown, _, err := command(t, "admin", "mm4-peer", "show", "acme")
	if err != nil || !strings.Contains(shown, `"auth_password_set": true`) || !strings.Contains(shown, `"send_password_set": true`) || strings.Contains(shown, "topsecret") || strings.Contains(shown, "$2") {
		t.Errorf("%v %s", err, shown)
	}
	if _, err := typed(t, "", "mm4-peer", "create", "other", "--account", account.ID, "--addresses", "192.0.2.7/32"); message.ReasonOf(err) != "" && message.ReasonOf(err) != message.ReasonConflict || err == nil || !strings.Contains(err.Error(), "acme") {
		t.Errorf("two that cannot be told apart: %v", err)
	}
	s.admin(nil, "mm4-peer", "set", made.ID.String(), "--mail-domains", "mms.example", "--rate", "5")
	s.admin(nil, "mm4-peer", "disable", "acme")
	const row = "select concat_ws(' ', enabled, rate, mail_domains, host, send_password is not null) from mm4_peers where name = 'acme'"
	if got := s.row(row); got != "f 5 {mms.example} mms.example t" {
		t.Errorf("the peer is %s", got)
	}
	s.admin(nil, "mm4-peer", "enable", "acme")
	list, _, err := command(t, "admin", "mm4-peer", "list", "--account", account.ID)
	if err != nil || !strings.Contains(list, "acme") || !strings.Contains(list, " on ") || !strings.Contains(list, "192.0.2.0/24,198.51.100.7/32") {
		t.Errorf("%v\n%s", err, list)
	}
	s.admin(nil, "mm4-peer", "delete", "acme")
	if n := s.row("select count(*)::text from mm4_peers"); n != "0" {
		t.Errorf("%s are left", n)
	}
	if n := s.row("select count(*)::text from audit_log where action like 'mm4_peer.%' and role = 'shell'"); n != "5" {
		t.Errorf("%s lines of the audit log", n)
	}
	if _, err := typed(t, "", "mm4-peer", "show", "acme"); message.ReasonOf(err) != message.ReasonNotFound {
		t.Errorf("%v", err)
	}
}
