package postgres

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// A credential is there with all its settings, or not at all.
func TestCreateSMPPCredential(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.esme(b.owner, "taken")
	want := snapshot.SMPPCredential{ID: message.NewID(), AccountID: b.owner, SystemID: "acme", PasswordHash: "$2a$10$hash",
		AllowedIPs: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, MaxBinds: 8, Throughput: 500, Window: 255, Transmitter: true, Receiver: true,
		RequireTLS: true, LongMO: "sar", MOLifetime: time.Hour, Alphabet: "latin1"}
	if err := b.CreateSMPPCredential(b.ctx, actor, want); err != nil {
		t.Fatal(err)
	}
	s, err := b.LoadSnapshot(b.ctx)
	if err != nil {
		t.Fatal(err)
	}
	if got := s.SMPPCredentials["acme"]; got == nil || fmt.Sprint(*got) != fmt.Sprint(want) {
		t.Errorf("created\n%+v\nwant\n%+v", got, want)
	}
	if n := b.count(`select count(*) from audit_log where action like 'smpp_credential.%' and target = $1 and after @> jsonb_build_object('account_id', $2::text)
		and after @> '{"system_id": "acme", "enabled": false, "max_binds": 8, "bind_types": ["receiver", "transmitter"], "long_mo": "sar", "mo_lifetime_seconds": 3600}'
		and after::text !~ 'hash|password'`, want.ID.String(), b.owner.String()); n != 1 {
		t.Errorf("%d lines of the audit log describe it", n)
	}
	rows, lines := b.count("select count(*) from smpp_credentials"), b.count("select count(*) from audit_log")
	for name, c := range map[string]struct {
		edit   func(*snapshot.SMPPCredential)
		reason message.Reason
		says   string
	}{
		"taken":    {func(c *snapshot.SMPPCredential) { c.SystemID = "taken" }, message.ReasonConflict, "system_id taken is taken"},
		"account":  {func(c *snapshot.SMPPCredential) { c.AccountID = message.NewID() }, message.ReasonNotFound, "there is no account"},
		"long MO":  {func(c *snapshot.SMPPCredential) { c.LongMO = "pigeon" }, message.ReasonInternal, ""},
		"alphabet": {func(c *snapshot.SMPPCredential) { c.Alphabet = "ebcdic" }, message.ReasonInternal, ""},
		"window":   {func(c *snapshot.SMPPCredential) { c.Window = 1001 }, message.ReasonInternal, ""},
		"lifetime": {func(c *snapshot.SMPPCredential) { c.MOLifetime = time.Second }, message.ReasonInternal, ""},
		"long id":  {func(c *snapshot.SMPPCredential) { c.SystemID = strings.Repeat("a", 16) }, message.ReasonInternal, ""},
	} {
		wrong := want
		wrong.ID, wrong.SystemID = message.NewID(), "wrong"
		c.edit(&wrong)
		err := b.CreateSMPPCredential(b.ctx, actor, wrong)
		if err == nil || message.ReasonOf(err) != c.reason || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if r, l := b.count("select count(*) from smpp_credentials"), b.count("select count(*) from audit_log"); r != rows || l != lines {
		t.Errorf("of what was refused there are %d rows and %d lines", r-rows, l-lines)
	}
}

func TestSMPPCredentialOnAndOff(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id, other := b.esme(b.owner, "acme"), b.esme(message.NewID(), "other")
	if got, err := b.SMPPCredentialID(b.ctx, "acme"); err != nil || got != id {
		t.Errorf("acme is %s, %v", got, err)
	}
	for _, unknown := range []string{"ACME", "", "a\x00", "\xff"} {
		if _, err := b.SMPPCredentialID(b.ctx, unknown); message.ReasonOf(err) != message.ReasonNotFound {
			t.Errorf("%q: %v", unknown, err)
		}
	}
	lines := b.count("select count(*) from audit_log")
	version := b.version()
	moved := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		v := b.version()
		if v <= version {
			t.Errorf("%s: the version stayed", what)
		}
		version = v
	}
	is := func(hash string, enabled bool) {
		t.Helper()
		if n := b.count("select count(*) from smpp_credentials where id = $1 and password_hash = $2 and enabled = $3 and receipt_format = 'text_tlv'", id, hash, enabled); n != 1 {
			t.Errorf("it is not %s, enabled %v", hash, enabled)
		}
	}
	moved("disable", b.SetSMPPEnabled(b.ctx, actor, id, false))
	is("$2a$10$hash", false)
	moved("password", b.SetSMPPPassword(b.ctx, actor, id, "$2a$10$other"))
	is("$2a$10$other", false)
	moved("enable", b.SetSMPPEnabled(b.ctx, actor, id, true))
	is("$2a$10$other", true)
	if n := b.count("select count(*) from smpp_credentials where id = $1 and enabled and password_hash = '$2a$10$hash'", other); n != 1 {
		t.Error("another's has changed")
	}
	for action, after := range map[string]string{"enabled": `{"enabled": true}`, "regenerate": "null"} {
		if n := b.count("select count(*) from audit_log where action = 'smpp_credential.' || $1 and target = $2 and actor = 'tester' and after = $3::jsonb", action, id.String(), after); n != 1 {
			t.Errorf("%s: %d lines of the audit log", action, n)
		}
	}
	stranger := message.NewID()
	if err := b.SetSMPPEnabled(b.ctx, actor, stranger, false); message.ReasonOf(err) != message.ReasonNotFound {
		t.Errorf("disable what is not there: %v", err)
	}
	if err := b.SetSMPPPassword(b.ctx, actor, stranger, "x"); message.ReasonOf(err) != message.ReasonNotFound {
		t.Errorf("password of what is not there: %v", err)
	}
	if n := b.count("select count(*) from audit_log"); n != lines+3 {
		t.Errorf("%d lines of three changes", n-lines)
	}
}

func TestListSMPPCredentials(t *testing.T) {
	t.Parallel()
	b := setup(t)
	if list, err := b.SMPPCredentials(b.ctx, message.ID{}); err != nil || len(list) != 0 {
		t.Errorf("%+v, %v", list, err)
	}
	second := message.NewID()
	id, other := b.esme(b.owner, "bulk"), b.esme(second, "acme")
	for _, instance := range []string{"a", "a", "b"} {
		b.bind(b.DB, bindOf(id, instance), 10)
	}
	dead := bindOf(id, "c")
	b.bind(b.DB, dead, 10)
	b.exec("update smpp_binds set seen_at = now() - interval '31 seconds' where id = $1", dead.ID)
	list, err := b.SMPPCredentials(b.ctx, message.ID{})
	if err != nil || len(list) != 2 {
		t.Fatalf("%+v, %v", list, err)
	}
	want := SMPPState{Binds: 3, SMPPCredential: snapshot.SMPPCredential{ID: id, AccountID: b.owner, SystemID: "bulk", Enabled: true, AllowedIPs: []netip.Prefix{},
		MaxBinds: 2, Throughput: 100, Window: 10, Receiver: true, Transmitter: true, Transceiver: true, ReceiptTLVs: true, LongMO: "udh", MOLifetime: 72 * time.Hour, Alphabet: "gsm7"}}
	if list[0].ID != other || list[0].Binds != 0 || fmt.Sprint(list[1]) != fmt.Sprint(want) {
		t.Errorf("listed\n%+v\nwant acme and\n%+v", list, want)
	}
	if list, err = b.SMPPCredentials(b.ctx, second); err != nil || len(list) != 1 || list[0].ID != other {
		t.Errorf("of the second: %+v, %v", list, err)
	}
}

func TestChangeAccount(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.configured()
	read := func() snapshot.Account {
		t.Helper()
		s, err := b.LoadSnapshot(b.ctx)
		if err != nil {
			t.Fatal(err)
		}
		return *s.Accounts[b.owner]
	}
	want := read()
	lines := 0
	for _, c := range []struct {
		change AccountChange
		want   func(*snapshot.Account)
		shown  string
	}{
		{AccountChange{OrderedConversations: &Ordered{new(true)}}, func(a *snapshot.Account) { a.OrderedConversations = new(true) }, `{"ordered_conversations": true}`},
		{AccountChange{OrderedConversations: &Ordered{new(false)}}, func(a *snapshot.Account) { a.OrderedConversations = new(false) }, `{"ordered_conversations": false}`},
		{AccountChange{ConversationHold: time.Hour, MaxBacklog: 100_000_000}, func(a *snapshot.Account) { a.ConversationHold, a.MaxBacklog = time.Hour, 100_000_000 },
			`{"conversation_hold_seconds": 3600, "max_backlog": 100000000}`},
		{AccountChange{MaxHeld: 10_000_000}, func(a *snapshot.Account) { a.MaxHeld = 10_000_000 }, `{"smpp_max_held": 10000000}`},
		{AccountChange{EncodingMismatchStatus: 0x45, OptedOutStatus: 0x0B}, func(a *snapshot.Account) { a.EncodingMismatchStatus, a.OptedOutStatus = 0x45, 0x0B },
			`{"smpp_encoding_mismatch_status": 69, "smpp_opted_out_status": 11}`},
		{AccountChange{InternalDelivery: new(true), ResendAfter: new(time.Minute)}, func(a *snapshot.Account) { a.InternalDelivery, a.ResendAfter = true, time.Minute },
			`{"internal_delivery": true, "resend_after_seconds": 60}`},
		{AccountChange{InternalDelivery: new(false), ResendAfter: new(time.Duration)}, func(a *snapshot.Account) { a.InternalDelivery, a.ResendAfter = false, 0 },
			`{"internal_delivery": false, "resend_after_seconds": 0}`},
		{AccountChange{OrderedConversations: &Ordered{}}, func(a *snapshot.Account) { a.OrderedConversations = nil }, `{"ordered_conversations": null}`},
	} {
		if err := b.ChangeAccount(b.ctx, actor, b.owner, c.change); err != nil {
			t.Fatal(err)
		}
		c.want(&want)
		got := read()
		if (got.OrderedConversations == nil) != (want.OrderedConversations == nil) || got.OrderedConversations != nil && *got.OrderedConversations != *want.OrderedConversations {
			t.Errorf("%s: ordered conversations differ", c.shown)
		}
		got.OrderedConversations = want.OrderedConversations // a pointer
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s:\n%+v\nwant\n%+v", c.shown, got, want)
		}
		lines++
		if n := b.count("select count(*) from audit_log where action = 'account.update' and target = $1 and after = $2::jsonb", b.owner.String(), c.shown); n != 1 {
			t.Errorf("%s: %d lines of the audit log", c.shown, n)
		}
	}
	for _, c := range []AccountChange{{ConversationHold: 2 * time.Hour}, {MaxBacklog: -1}, {MaxHeld: 10_000_001}, {EncodingMismatchStatus: 0x0B}, {OptedOutStatus: 0x104}} {
		if err := b.ChangeAccount(b.ctx, actor, b.owner, c); err == nil {
			t.Errorf("%+v was taken", c)
		}
	}
	if err := b.ChangeAccount(b.ctx, actor, message.NewID(), AccountChange{MaxHeld: 1}); message.ReasonOf(err) != message.ReasonNotFound {
		t.Errorf("an account that does not exist: %v", err)
	}
	if n := b.count("select count(*) from audit_log where action = 'account.update'"); n != lines {
		t.Errorf("%d lines of %d changes", n, lines)
	}
}
