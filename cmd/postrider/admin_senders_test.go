package main

import (
	"testing"

	"github.com/postrider/postrider/internal/message"
)

func TestAdminSenders(t *testing.T) {
	s := startShell(t)
	var account, brand, campaign struct{ ID string }
	s.admin(&account, "account", "create", "--name", "Acme")
	s.admin(&brand, "brand", "add", "--account", account.ID, "--name", "Acme Inc", "--brand-id", "B123456", "--daily-cap", "2000", "--cap-key", "acme")
	s.admin(&campaign, "campaign", "add", "--account", account.ID, "--campaign-id", "C8X2KQ1", "--brand", brand.ID, "--status", "active")
	s.admin(nil, "number", "add", "+18005550199", "--account", account.ID)
	s.admin(nil, "number", "add", "12345", "--account", account.ID)
	is := func(want, sql string, args ...any) {
		t.Helper()
		if got := s.row(sql, args...); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	refused := func(args ...string) {
		t.Helper()
		if _, _, err := command(t, append([]string{"admin"}, args...)...); err == nil {
			t.Errorf("%v was taken", args)
		}
	}
	is("2000 acme approved", "select concat_ws(' ', daily_cap, cap_key, status) from brands where id = $1", brand.ID)
	is(brand.ID, "select brand::text from campaigns where id = $1", campaign.ID)

	s.admin(nil, "number", "set", "+18005550199", "--verification", "approved", "--mms")
	is("approved t t", "select concat_ws(' ', verification, sms_enabled, mms_enabled) from numbers where number = '+18005550199'")
	s.admin(nil, "number", "set", "12345", "--leased-until", "2027-03-31", "--sms=false")
	is("2027-04-01 00:00:00 f", "select concat_ws(' ', leased_until at time zone 'UTC', sms_enabled) from numbers where number = '12345'")
	s.admin(nil, "number", "set", "12345", "--leased-until", "none")
	is("t f", "select concat_ws(' ', leased_until is null, sms_enabled) from numbers where number = '12345'")
	var host struct{ ID string }
	s.admin(&host, "vendor", "add", "acme-1", "--host", "127.0.0.1", "--port", "1", "--system-id", "postrider", "--active=false")
	s.admin(nil, "number", "add", "+12025550143", "--account", account.ID, "--vendor", "acme-1")
	s.admin(nil, "number", "set", "12345", "--vendor", host.ID)
	is(host.ID+" "+host.ID, "select string_agg(vendor_id::text, ' ') from numbers where number in ('+12025550143', '12345')")
	s.admin(nil, "number", "set", "12345", "--vendor", "")
	is("false", "select (vendor_id is not null)::text from numbers where number = '12345'")
	refused("number", "set", "12345", "--vendor", "acme-2")
	refused("number", "set", "12345", "--vendor", message.NewID().String())
	refused("number", "set", "12345")
	refused("number", "set", "12345", "--leased-until", "tomorrow")
	refused("number", "set", "12345", "--verification", "yes")
	if _, _, err := command(t, "admin", "number", "set", "54321", "--mms"); message.ReasonOf(err) != message.ReasonNotFound {
		t.Errorf("a number that nobody has: %v", err)
	}

	s.admin(nil, "account", "destinations", account.ID, "1", "44")
	is("{1,44}", "select allowed_destinations::text from accounts where id = $1", account.ID)
	refused("account", "destinations", account.ID, "+44")
	refused("account", "destinations", account.ID, "any", "44")
	s.admin(nil, "account", "destinations", account.ID, "any")
	is("{}", "select allowed_destinations::text from accounts where id = $1", account.ID)

	s.admin(nil, "campaign", "pace", campaign.ID, "--throughput", "240", "--daily-cap", "500")
	s.admin(nil, "campaign", "pace", campaign.ID, "--mms-throughput", "150", "--per-number")
	is("240 150 t 500", "select concat_ws(' ', throughput_limit, mms_throughput, per_number, daily_cap) from campaigns where id = $1", campaign.ID)
	refused("campaign", "pace", campaign.ID)
	refused("campaign", "pace", campaign.ID, "--throughput", "-1")
	s.admin(nil, "brand", "cap", brand.ID, "--parts", "0")
	is("0", "select daily_cap::text from brands where id = $1", brand.ID)
	is("10", "select count(*)::text from audit_log where action in ('number.update', 'account.destinations', 'campaign.pace', 'brand.cap') and role = 'shell'")
}
