package main

import (
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
)

func TestAdminRates(t *testing.T) {
	s := startShell(t)
	var account, key struct{ ID string }
	s.admin(&account, "account", "create", "--name", "Acme")
	s.admin(&key, "credential", "create", "--account", account.ID)
	s.admin(nil, "number", "add", "+12025550143", "--account", account.ID)
	is := func(want, sql string, args ...any) {
		t.Helper()
		if got := s.row(sql, args...); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	s.admin(nil, "account", "rate", account.ID, "--rate", "30", "--burst", "270")
	is("30 270", "select concat_ws(' ', api_rate_limit, api_burst) from accounts where id = $1", account.ID)
	s.admin(nil, "account", "rate", account.ID, "--rate", "20")
	is("20 0", "select concat_ws(' ', api_rate_limit, api_burst) from accounts where id = $1", account.ID)
	s.admin(nil, "credential", "rate", key.ID, "--rate", "5", "--burst", "1")
	is("5 1", "select concat_ws(' ', rate_limit, burst) from api_credentials where id = $1", key.ID)
	s.admin(nil, "number", "rate", "+12025550143", "--rate", "3")
	is("3", "select rate_limit::text from numbers where number = '+12025550143'")
	is("4", "select count(*)::text from audit_log where action like '%.rate' and role = 'shell'")
	if _, _, err := command(t, "admin", "number", "rate", "+12025550199", "--rate", "1"); message.ReasonOf(err) != message.ReasonNotFound {
		t.Errorf("a number that nobody has: %v", err)
	}

	var entries []struct {
		Minute      time.Time
		Edge, Scope string
		Count       int
	}
	s.admin(&entries, "account", "refusals", account.ID)
	if len(entries) != 0 {
		t.Errorf("%+v", entries)
	}
	is("2", "with n as (insert into rate_refusals values ($1, now(), 'rest', 'number', 7), ($1, now() - interval '2 hours', 'smpp', 'bind', 8) returning 1) select count(*)::text from n", account.ID)
	s.admin(&entries, "account", "refusals", account.ID, "--since", "1h")
	if len(entries) != 1 || entries[0].Edge != "rest" || entries[0].Scope != "number" || entries[0].Count != 7 || entries[0].Minute.IsZero() {
		t.Errorf("%+v", entries)
	}
	s.admin(&entries, "account", "refusals", account.ID)
	if len(entries) != 2 {
		t.Errorf("%+v", entries)
	}
}
