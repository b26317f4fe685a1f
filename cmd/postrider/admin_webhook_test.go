package main

import (
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/message"
)

// Nothing is asked of the database, which is not there, before all flags are right.
func TestAdminWebhookFlags(t *testing.T) {
	t.Setenv("POSTRIDER_KEYS", "")
	t.Setenv("POSTRIDER_KEY_FILE", "")
	id := message.NewID().String()
	for _, c := range []struct{ words, says string }{
		{"endpoints acme", "id"},
		{"enable " + id, `"account"`},
		{"list --state lost", "--state"},
		{"list --limit 0", "limit"},
		{"show x", "id"},
		{"replay x", "id"},
		{"replay-range " + id, `"after"`},
		{"replay-range " + id + " --after yesterday", "--after"},
		{"replay-range " + id + " --after 2026-11-21T20:15:04Z --before x", "--before"},
		{"replay-range " + id + " --after 2026-11-21T20:15:04Z --state pending", "--state"},
		{"replay-range " + id + " --after 2026-11-21T20:15:04Z --types message.lost", "--types"},
		{"replay-range " + id + " --after 2026-11-21T20:15:04Z", "POSTRIDER_KEYS"}, // all right
	} {
		out, _, err := command(t, append([]string{"admin", "webhook"}, strings.Fields(c.words)...)...)
		if err == nil || out != "" || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, %q", c.words, err, out)
		}
	}
}

func TestAdminWebhook(t *testing.T) {
	s := startShell(t)
	var account, endpoint struct{ ID string }
	s.admin(&account, "account", "create", "--name", "Acme")
	s.admin(&endpoint, "endpoint", "add", "https://shop.example/hooks", "--account", account.ID)
	s.admin(nil, "opt-out", "add", "+13105550117", "--account", account.ID)
	delivery := s.row("select id::text from webhook_deliveries")
	run := func(want string, words ...string) {
		t.Helper()
		if out, _, err := command(t, append([]string{"admin", "webhook"}, words...)...); err != nil || !strings.Contains(out, want) {
			t.Errorf("%v: %v, %q; want %s", words, err, out, want)
		}
	}
	run("https://shop.example/hooks  all    active", "endpoints", account.ID)
	run("opt_out.created", "list", "--account", account.ID, "--endpoint", endpoint.ID)
	run("pending", "show", delivery)
	run("on its way already", "replay", delivery)
	s.row("with d as (delete from webhooks_due), f as (insert into webhook_failed select id, account_id, endpoint_id from webhook_deliveries) update webhook_deliveries set state = 'failed' returning id::text")
	run(delivery, "list", "--state", "failed")
	run("1 are on their way", "replay-range", account.ID, "--after", "2020-01-01T00:00:00Z", "--endpoint", endpoint.ID)
	run("pending", "show", delivery)
	s.row("update webhook_endpoints set active = false, disabled_reason = 'it answered 410 Gone' returning id::text")
	run("off: it answered 410 Gone", "endpoints", account.ID)
	run("", "enable", endpoint.ID, "--account", account.ID)
	run("active", "endpoints", account.ID)
	if got := s.row("select string_agg(action, ' ' order by id) from audit_log where action like 'webhook_%'"); got != "webhook_endpoint.create webhook_delivery.replay webhook_delivery.replay_range webhook_endpoint.update" {
		t.Error(got)
	}
}
