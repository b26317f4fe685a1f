package main

import (
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/message"
)

func TestAdminUsage(t *testing.T) {
	s := startShell(t)
	var account struct{ ID string }
	s.admin(&account, "account", "create", "--name", "Acme")
	id := account.ID
	s.admin(nil, "account", "limit", "set", id, "--period", "month", "--parts", "1000")
	s.admin(nil, "account", "limit", "set", id, "--number", "+12025550143", "--parts", "5")
	s.admin(nil, "account", "limit", "set", id, "--period", "month", "--parts", "900")
	s.admin(nil, "account", "limit", "set", id, "--type", "mms", "--period", "minute", "--parts", "0")
	s.admin(nil, "account", "limit", "remove", id, "--type", "mms", "--period", "minute")
	var limits []struct {
		Number, Type, Period string
		Limit, Used          int
	}
	s.admin(&limits, "account", "limit", "list", id)
	if len(limits) != 2 || limits[0].Limit != 900 || limits[0].Period != "month" || limits[1].Number != "+12025550143" || limits[1].Type != "sms" || limits[1].Period != "day" {
		t.Errorf("%+v", limits)
	}
	s.admin(nil, "account", "prepaid", id, "on")
	var booked struct{ ID, Amount, Balance, Currency string }
	for range 2 {
		s.admin(&booked, "account", "credit", id, "12.5", "--reference", "inv-1", "--reason", "paid")
	}
	s.admin(&booked, "account", "credit", "--kind", "adjustment", "--", id, "-0.25")
	if booked.Amount != "-0.25" || booked.Balance != "12.25" || booked.Currency != "USD" {
		t.Errorf("%+v", booked)
	}
	var balance struct {
		Prepaid                     bool
		Balance, Reserved, Currency string
	}
	s.admin(&balance, "account", "balance", id)
	if !balance.Prepaid || balance.Balance != "12.25" || balance.Reserved != "0.00" {
		t.Errorf("%+v", balance)
	}
	if n := s.row("select count(*)::text from audit_log where target = $1", id); n != "9" {
		t.Errorf("%s lines in the audit log", n)
	}
	for _, c := range []struct{ words, says string }{
		{"limit set " + id, "parts"},
		{"limit set " + id + " --parts -1", "--parts"},
		{"limit set " + id + " --parts 1 --period week", "--period"},
		{"limit set " + id + " --parts 1 --type fax", "--type"},
		{"limit set " + message.NewID().String() + " --parts 1", "no such account"},
		{"limit remove " + id + " --period minute", "no such row"},
		{"prepaid " + id + " perhaps", "on or off"},
		{"credit " + id + " 1.0000001", "six decimals"},
		{"credit " + id + " 0", "above 0"},
		{"credit " + id + " 1 --currency EUR", "another currency"},
		{"credit " + id + " 1 --reference inv-1", "inv-1"},
		{"credit " + id + " 1 --kind charge", "kind"},
	} {
		if _, _, err := command(t, append([]string{"admin", "account"}, strings.Fields(c.words)...)...); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", c.words, err)
		}
	}
}
