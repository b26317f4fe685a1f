package main

import (
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/message"
)

func TestAdminRetention(t *testing.T) {
	s := startShell(t)
	var account struct{ ID string }
	s.admin(&account, "account", "create", "--name", "Acme", "--content-retention-days", "0")
	days := func() string {
		return s.row("select content_retention_days::text from accounts where id = $1", account.ID)
	}
	if days() != "0" {
		t.Errorf("texts are kept for %s days", days())
	}
	s.admin(nil, "account", "set", account.ID, "--content-retention-days", "90")
	if days() != "90" {
		t.Errorf("texts are kept for %s days", days())
	}
	if after := s.row("select after->>'content_retention_days' from audit_log where action = 'account.update' order by id desc limit 1"); after != "90" {
		t.Errorf("the audit log has %q", after)
	}
	s.row("insert into idempotency_keys (account_id, operation, key, body_hash, http_status, response, created_at) select $1::uuid, '', n::text, '', 202, '', now() - n * interval '40 hours' from generate_series(1, 3) n returning key", account.ID)
	show := func(words ...string) string {
		t.Helper()
		out, _, err := command(t, append([]string{"admin", "retention"}, words...)...)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	rest := func() string { return s.row("select count(*)::text from idempotency_keys") }
	if out := show(); !strings.Contains(out, "messages ") || !strings.Contains(out, "400 days") || !strings.Contains(out, "opt_outs") || rest() != "3" {
		t.Errorf("it shows, and leaves %s rows:\n%s", rest(), out)
	}
	t.Setenv("RETENTION_DAYS", "90")
	for range 2 { // also when one has just ended
		if out := show("--run"); !strings.Contains(out, "90 days") || rest() != "1" {
			t.Errorf("it leaves %s rows:\n%s", rest(), out)
		}
	}
	t.Setenv("RETENTION_DAYS", "30")
	for words, says := range map[string]string{
		"retention": "RETENTION_DAYS is 30; want 40",
	} {
		if _, _, err := command(t, "admin", words); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", words, err)
		}
	}
	t.Setenv("RETENTION_DAYS", "400")
	for _, c := range []struct{ words, says string }{
		{"set " + account.ID + " --content-retention-days 3651", "--content-retention-days: want 0 to 3650"},
		{"set " + account.ID + " --content-retention-days -1", "--content-retention-days"},
		{"set " + message.NewID().String() + " --content-retention-days 1", "no such"},
	} {
		if _, _, err := command(t, append([]string{"admin", "account"}, strings.Fields(c.words)...)...); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", c.words, err)
		}
	}
}
