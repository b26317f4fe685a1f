package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/message"
)

type optOutPrinted struct {
	ID        string `json:"id"`
	Recipient string `json:"recipient"`
	Scope     string `json:"scope"`
	Active    bool   `json:"active"`
	Fresh     bool   `json:"fresh"`
	Actor     string `json:"actor"`
	EndReason string `json:"end_reason"`
}

func TestAdminOptOut(t *testing.T) {
	s := startShell(t)
	var account, stranger, campaign struct{ ID string }
	s.admin(&account, "account", "create", "--name", "Acme")
	s.admin(&stranger, "account", "create", "--name", "Other")
	s.admin(&campaign, "campaign", "add", "--account", account.ID, "--campaign-id", "C8X2KQ1", "--status", "active")
	s.admin(nil, "number", "add", "+12025550143", "--account", account.ID, "--campaign", campaign.ID)
	s.admin(nil, "endpoint", "add", "https://shop.example/hooks", "--account", account.ID)

	var made, again, ended optOutPrinted
	add := []string{"opt-out", "add", "+1 310 555 0117", "--account", account.ID, "--campaign-id", "C8X2KQ1", "--reason", "asked by phone"}
	s.admin(&made, add...)
	s.admin(&again, add...)
	if made.Scope != "campaign" || made.Recipient != "+13105550117" || !made.Fresh || !made.Active || !strings.HasPrefix(made.Actor, "shell:") || again.Fresh || again.ID != made.ID {
		t.Errorf("%+v, %+v", made, again)
	}
	var check struct {
		Stopped bool          `json:"stopped"`
		OptOut  optOutPrinted `json:"opt_out"`
	}
	s.admin(&check, "opt-out", "check", "+13105550117", "+12025550143", "--account", account.ID)
	if !check.Stopped || check.OptOut.ID != made.ID {
		t.Errorf("%+v", check)
	}
	s.admin(&check, "opt-out", "check", "+13105550117", "+12025550143", "--account", stranger.ID)
	if check.Stopped {
		t.Error("another account's opt-out counts")
	}

	file := filepath.Join(t.TempDir(), "list.csv")
	if err := os.WriteFile(file, []byte("phone,sender\n+13105550118,12345\nnobody\n+13105550119\n+13105550118,12345\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var result struct{ Rows, Created, Already, Invalid int }
	s.admin(&result, "opt-out", "import", file, "--account", account.ID)
	if result.Rows != 4 || result.Created != 2 || result.Already != 1 || result.Invalid != 1 {
		t.Errorf("%+v", result)
	}

	if _, _, err := command(t, "admin", "opt-out", "end", made.ID, "--account", stranger.ID, "--reason", "x"); message.ReasonOf(err) != message.ReasonNotFound {
		t.Errorf("another account ends it: %v", err)
	}
	s.admin(&ended, "opt-out", "end", made.ID, "--account", account.ID, "--reason", "opted in again")
	if ended.Active || ended.EndReason != "opted in again" {
		t.Errorf("%+v", ended)
	}

	var list []optOutPrinted
	for flags, want := range map[string]int{"": 3, "--active": 2, "--ended": 1, "--recipient +13105550118": 1, "--sender 12345": 1, "--campaign-id C8X2KQ1": 1, "--limit 1": 1} {
		s.admin(&list, append([]string{"opt-out", "list", "--account", account.ID}, strings.Fields(flags)...)...)
		if len(list) != want {
			t.Errorf("%s: %+v", flags, list)
		}
	}
	s.admin(&list, "opt-out", "list", "--account", stranger.ID)
	if len(list) != 0 {
		t.Errorf("a stranger's: %+v", list)
	}
	out, _, err := command(t, "admin", "opt-out", "export", "--account", account.ID, "--active")
	if err != nil || strings.Count(out, "\n") != 3 || !strings.HasPrefix(out, "recipient,") {
		t.Errorf("%s, %v", out, err)
	}
	s.admin(nil, "opt-out", "scope", account.ID, "account")
	if scope := s.row("select opt_out_scope from accounts where id = $1", account.ID); scope != "account" {
		t.Error(scope)
	}

	if got := s.row("select string_agg(action, ' ' order by id) from audit_log where action like 'opt_out.%'"); got != "opt_out.create opt_out.create opt_out.import opt_out.import opt_out.end opt_out.export" {
		t.Error(got)
	}
	if n := s.row("select count(*)::text from audit_log where action like 'opt_out.%' and after::text like '%3105550117%'"); n != "0" {
		t.Error("the audit log holds numbers")
	}
	// The account's endpoint is told of what was recorded and ended, not of the import.
	if got := s.row("select string_agg(type, ' ' order by id) from webhook_deliveries"); got != "opt_out.created opt_out.removed" {
		t.Error(got)
	}
}

func TestAdminOptOutFlags(t *testing.T) {
	t.Setenv("POSTRIDER_KEYS", "")
	t.Setenv("POSTRIDER_KEY_FILE", "")
	id := message.NewID().String()
	for _, c := range []struct{ words, says string }{
		{"add +13105550117", `"account"`},
		{"add 3105550117 --account " + id, "recipient"},
		{"add +13105550117 --account " + id + " --scope everything", "scope"},
		{"add +13105550117 --account " + id + " --sender 12345 --scope account", "sender"},
		{"add +13105550117 --account " + id + " --reason " + strings.Repeat("r", 257), "reason"},
		{"end " + id + " --account " + id, `"reason"`},
		{"end acme --account " + id + " --reason x", "id"},
		{"end " + id + " --account " + id + " --reason=", "--reason"},
		{"list --account " + id + " --active --ended", "active"},
		{"list --account " + id + " --recipient x", "to must be"},
		{"check 0 12345 --account " + id, "to must be"},
		{"import /nowhere --account " + id, "nowhere"},
		{"scope " + id + " all", "number, campaign or account"},
		{"add +13105550117 --account " + id, "POSTRIDER_KEYS"}, // all right
	} {
		out, _, err := command(t, append([]string{"admin", "opt-out"}, strings.Fields(c.words)...)...)
		if err == nil || out != "" || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, %q", c.words, err, out)
		}
	}
}
