package postgres

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// shop adds an account.
func (b *bundle) shop(id message.ID) {
	b.tb.Helper()
	if err := b.CreateAccount(b.ctx, actor, snapshot.Account{ID: id, CompanyName: "Shop", WebhookSecret: "whsec_x"}); err != nil {
		b.tb.Fatal(err)
	}
}

// reason checks why something was refused.
func (b *bundle) reason(err error, want message.Reason) {
	b.tb.Helper()
	if message.ReasonOf(err) != want || err == nil {
		b.tb.Errorf("%v, want %s", err, want)
	}
}

// answered gives answers for a key.
func answered[T any](account message.ID, key string) func(T) (message.Idempotency, error) {
	return func(T) (message.Idempotency, error) {
		return message.Idempotency{AccountID: account, Operation: "POST /x", Key: key, Status: 201, Response: []byte(`{}`)}, nil
	}
}

func TestOwnAccountAndNumbers(t *testing.T) {
	t.Parallel()
	b := setup(t)
	other := message.NewID()
	b.shop(b.owner)
	b.shop(other)
	got, err := b.ChangeOwnAccount(b.ctx, actor, b.owner, func(c *snapshot.Customer) error {
		c.CompanyName, c.TimeZone, c.MediaTranscoding, c.MaxParts, c.OrderedConversations = "Other", "Asia/Tokyo", "bypass", 3, new(true)
		c.APIRateLimit, c.ForceSourceAddress = 9999, "EVIL" // not the customer's to change
		return nil
	})
	if err != nil || got.CompanyName != "Other" || got.TimeZone != "Asia/Tokyo" || got.MaxParts != 3 || got.APIRateLimit != 10 || got.ForceSourceAddress != "" {
		t.Errorf("%+v, %v", got, err)
	}
	if a := b.config().Accounts[b.owner]; a.MediaTranscoding != "bypass" || !*a.OrderedConversations {
		t.Errorf("%+v", a)
	}
	if n := b.count(`select count(*) from audit_log where action = 'account.update' and before ->> 'time_zone' = 'UTC' and after ->> 'time_zone' = 'Asia/Tokyo' and not after ? 'delivery'`); n != 1 {
		t.Errorf("%d lines", n)
	}
	_, err = b.ChangeOwnAccount(b.ctx, actor, b.owner, func(c *snapshot.Customer) error { c.TimeZone = "Mars/North"; return nil })
	b.reason(err, message.ReasonInvalidRequest)

	for number, of := range map[message.Address]message.ID{"+12025550143": b.owner, "+12025550144": b.owner, "+12025550145": other} {
		if err := b.CreateNumber(b.ctx, actor, snapshot.Number{Number: number, AccountID: of, Type: snapshot.LongCode, SMSEnabled: true}); err != nil {
			t.Fatal(err)
		}
	}
	n, err := b.ChangeOwnNumber(b.ctx, actor, b.owner, "+12025550143", func(n *snapshot.NumberState) error {
		n.Tag, n.Group, n.SMSEnabled = "support", "east", false
		return nil
	})
	if err != nil || n.Tag != "support" || n.Group != "east" || !n.SMSEnabled {
		t.Errorf("%+v, %v", n, err)
	}
	if c := b.config().Numbers["+12025550143"]; c.Tag != "support" {
		t.Errorf("%+v", c)
	}
	_, err = b.ChangeOwnNumber(b.ctx, actor, b.owner, "+12025550145", func(*snapshot.NumberState) error { return nil })
	b.reason(err, message.ReasonNotFound)
	list, err := b.OwnNumbers(b.ctx, b.owner, snapshot.NumberFilter{}, "+12025550143", 5)
	if err != nil || len(list) != 1 || list[0].Number.Number != "+12025550144" {
		t.Errorf("%+v, %v", list, err)
	}
	if list, err = b.OwnNumbers(b.ctx, b.owner, snapshot.NumberFilter{Tag: "support", Group: "east", Type: snapshot.LongCode}, "", 5); err != nil || len(list) != 1 {
		t.Errorf("%+v, %v", list, err)
	}
}

func TestOwnCredentials(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.shop(b.owner)
	fine := func(snapshot.CredentialState) error { return nil }
	c := snapshot.Credential{ID: message.NewID(), AccountID: b.owner, Name: "shop", Key: "pk_1", SecretHash: []byte("first-hash"), Scopes: []string{"messages:read"}}
	if _, replay, err := b.AddOwnCredential(b.ctx, actor, c, 2, answered[snapshot.CredentialState](b.owner, "k")); err != nil || replay != nil {
		t.Fatal(replay, err)
	}
	// The same request again, at the same time: nothing is made.
	twice := c
	twice.ID, twice.Key = message.NewID(), "pk_2"
	if _, replay, err := b.AddOwnCredential(b.ctx, actor, twice, 2, answered[snapshot.CredentialState](b.owner, "k")); err != nil || replay == nil || replay.Status != 201 {
		t.Errorf("%+v, %v", replay, err)
	}
	if n := b.count("select count(*) from api_credentials"); n != 1 {
		t.Errorf("%d credentials", n)
	}
	if _, _, err := b.AddOwnCredential(b.ctx, actor, twice, 2, nil); err != nil {
		t.Fatal(err)
	}
	third := c
	third.ID, third.Key = message.NewID(), "pk_3"
	_, _, err := b.AddOwnCredential(b.ctx, actor, third, 2, nil)
	b.reason(err, message.ReasonConflict)

	got, _, err := b.RegenerateOwnCredential(b.ctx, actor, b.owner, c.ID, []byte("two"), time.Hour, fine, nil)
	if s := b.config().Credentials["pk_1"]; err != nil || string(s.SecretHash) != "two" || string(s.PreviousSecretHash) != "first-hash" || time.Until(s.PreviousUntil) < 50*time.Minute || got.PreviousUntil.IsZero() {
		t.Errorf("%+v, %v", s, err)
	}
	if _, _, err = b.RegenerateOwnCredential(b.ctx, actor, b.owner, c.ID, []byte("three"), 0, fine, nil); err != nil {
		t.Error(err)
	}
	if s := b.config().Credentials["pk_1"]; string(s.SecretHash) != "three" || s.PreviousSecretHash != nil || !s.PreviousUntil.IsZero() {
		t.Errorf("%+v", s)
	}
	_, _, err = b.RegenerateOwnCredential(b.ctx, actor, b.owner, c.ID, []byte("four"), 0, func(snapshot.CredentialState) error { return message.Refuse(message.ReasonForbidden, "no") }, nil)
	b.reason(err, message.ReasonForbidden)
	stranger := message.NewID()
	_, err = b.ChangeOwnCredential(b.ctx, actor, stranger, c.ID, func(*snapshot.CredentialState) error { return nil })
	b.reason(err, message.ReasonNotFound)
	b.reason(b.RevokeOwnCredential(b.ctx, actor, stranger, c.ID, fine), message.ReasonNotFound)
	if err := b.RevokeOwnCredential(b.ctx, actor, b.owner, c.ID, fine); err != nil {
		t.Error(err)
	}
	if s := b.config(); s.Credentials["pk_1"] != nil || s.Credentials["pk_2"] == nil {
		t.Error("the wrong one is revoked, or none")
	}
	_, err = b.OwnCredential(b.ctx, b.owner, c.ID)
	b.reason(err, message.ReasonNotFound)
	list, err := b.OwnCredentials(b.ctx, b.owner, message.ID{}, 10)
	if err != nil || len(list) != 1 || list[0].ID != twice.ID {
		t.Errorf("%+v, %v", list, err)
	}
	if n := b.count("select count(*) from audit_log t where t::text like '%three%' or t::text like '%first-hash%'"); n != 0 {
		t.Error("the audit log holds a hash")
	}
	if n := b.count("select count(*) from audit_log where action like 'api_credential.%'"); n != 5 {
		t.Errorf("%d lines", n)
	}
}

func TestOwnSMPPCredentials(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.shop(b.owner)
	fine := func(snapshot.SMPPCredentialState) error { return nil }
	c := snapshot.SMPPCredential{ID: message.NewID(), AccountID: b.owner, SystemID: "acme", PasswordHash: "$2a$one", Enabled: true}
	made, _, err := b.AddOwnSMPPCredential(b.ctx, actor, c, 5, nil)
	if err != nil || made.MaxBinds != 2 || made.Throughput != 100 || !made.Receiver || made.MOLifetime != 72*time.Hour {
		t.Fatalf("%+v, %v", made, err)
	}
	again := c
	again.ID = message.NewID()
	_, _, err = b.AddOwnSMPPCredential(b.ctx, actor, again, 5, nil)
	b.reason(err, message.ReasonConflict)
	if got, err := b.ChangeOwnSMPPCredential(b.ctx, actor, b.owner, c.ID, func(c *snapshot.SMPPCredentialState) error { c.MaxBinds, c.SystemID = 7, "stolen"; return nil }); err != nil || got.MaxBinds != 7 || got.SystemID != "acme" {
		t.Errorf("%+v, %v", got, err)
	}
	bind := message.SMPPBind{ID: message.NewID(), CredentialID: c.ID, Instance: "one", Mode: "transceiver", Address: "192.0.2.7", TLS: true, Version: 0x34}
	if ok, err := b.Bind(b.ctx, bind, 7); err != nil || !ok {
		t.Fatal(ok, err)
	}
	other := bind
	other.ID, other.Instance = message.NewID(), "two"
	if ok, err := b.Bind(b.ctx, other, 7); err != nil || !ok {
		t.Fatal(ok, err)
	}
	b.exec("update smpp_binds set seen_at = now() - interval '1 minute' where id = $1", other.ID) // its process is gone
	if list, err := b.OwnSMPPSessions(b.ctx, b.owner, c.ID); err != nil || len(list) != 1 || list[0].ID != bind.ID || list[0].Address != "192.0.2.7" || !list[0].TLS || list[0].Version != 0x34 {
		t.Errorf("%+v, %v", list, err)
	}
	_, err = b.OwnSMPPSessions(b.ctx, message.NewID(), c.ID)
	b.reason(err, message.ReasonNotFound)
	if _, _, err := b.RegenerateOwnSMPPCredential(b.ctx, actor, b.owner, c.ID, "$2a$two", nil); err != nil || b.config().SMPPCredentials["acme"].PasswordHash != "$2a$two" {
		t.Error(err)
	}
	b.exec("insert into inbound_routes (id, account_id, position, method, smpp_system_id) values ($1, $2, 1, 'smpp', 'acme')", message.NewID(), b.owner)
	b.reason(b.RemoveOwnSMPPCredential(b.ctx, actor, b.owner, c.ID, fine), message.ReasonConflict)
	b.exec("delete from inbound_routes")
	if err := b.RemoveOwnSMPPCredential(b.ctx, actor, b.owner, c.ID, fine); err != nil {
		t.Fatal(err)
	}
	// Nobody binds with it, or gets its name; what is held has an owner still.
	if s := b.config().SMPPCredentials["acme"]; s == nil || s.Enabled {
		t.Errorf("%+v", s)
	}
	_, _, err = b.AddOwnSMPPCredential(b.ctx, actor, again, 5, nil)
	b.reason(err, message.ReasonConflict)
	_, err = b.OwnSMPPCredential(b.ctx, b.owner, c.ID)
	b.reason(err, message.ReasonNotFound)
	b.reason(b.SetSMPPEnabled(b.ctx, actor, c.ID, true), message.ReasonNotFound)
	if list, err := b.SMPPCredentials(b.ctx, message.ID{}); err != nil || len(list) != 0 {
		t.Errorf("%+v, %v", list, err)
	}
}

func TestPortalUsers(t *testing.T) {
	t.Parallel()
	b := setup(t)
	other := message.NewID()
	b.shop(b.owner)
	b.shop(other)
	invite := func(account message.ID, email, token string, good time.Duration, scopes ...string) snapshot.PortalUser {
		t.Helper()
		u, _, err := b.InvitePortalUser(b.ctx, actor, snapshot.PortalUser{ID: message.NewID(), AccountID: account, Email: email, Scopes: scopes}, 10, []byte(token), good, nil)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	redeem := func(token string) (snapshot.PortalUser, error) {
		p, err := b.RedeemLink(b.ctx, Actor{}, snapshot.Portal, [][]byte{[]byte("of another key"), []byte(token)}, "$argon2id$chosen")
		if err != nil {
			return snapshot.PortalUser{}, err
		}
		return b.PortalUser(b.ctx, p.Account, p.ID)
	}
	ada := invite(b.owner, "ada@shop.example", "one", time.Hour, "account:write", "messages:read")
	if ada.Joined || !ada.Active || ada.Invitation.ExpiresAt.IsZero() || !ada.Invitation.SentAt.IsZero() {
		t.Errorf("%+v", ada)
	}
	_, _, err := b.InvitePortalUser(b.ctx, actor, snapshot.PortalUser{ID: message.NewID(), AccountID: b.owner, Email: "ada@shop.example"}, 10, []byte("x"), time.Hour, nil)
	b.reason(err, message.ReasonConflict)
	invite(other, "ada@shop.example", "elsewhere", time.Hour) // the same person, of another account
	if err := b.InvitationSent(b.ctx, ada.ID, []byte("one")); err != nil {
		t.Error(err)
	}
	if list, err := b.PortalUsers(b.ctx, b.owner, message.ID{}, 10); err != nil || len(list) != 1 || list[0].Invitation.SentAt.IsZero() {
		t.Errorf("%+v, %v", list, err)
	}

	// A link is good once, until it expires or another takes its place.
	if _, err := b.InviteAgain(b.ctx, actor, b.owner, ada.ID, []byte("two"), time.Hour); err != nil {
		t.Fatal(err)
	}
	_, err = redeem("one")
	b.reason(err, message.ReasonNotFound)
	got, err := redeem("two")
	if err != nil || got.ID != ada.ID || !got.Joined || got.PasswordID == ada.PasswordID || !got.Invitation.ExpiresAt.IsZero() {
		t.Errorf("%+v, %v", got, err)
	}
	_, err = redeem("two")
	b.reason(err, message.ReasonNotFound)
	late := invite(b.owner, "late@shop.example", "late", -time.Second)
	_, err = redeem("late")
	b.reason(err, message.ReasonNotFound)
	if _, err = b.ChangePortalUser(b.ctx, actor, b.owner, late.ID, func(u *snapshot.PortalUser) error { u.Active = false; return nil }); err != nil {
		t.Error(err)
	}
	_, err = b.InviteAgain(b.ctx, actor, b.owner, late.ID, []byte("three"), time.Hour)
	b.reason(err, message.ReasonConflict)

	// Somebody who can let others in stays.
	without := func(u *snapshot.PortalUser) error { u.Scopes = []string{"messages:read"}; return nil }
	_, err = b.ChangePortalUser(b.ctx, actor, b.owner, ada.ID, without)
	b.reason(err, message.ReasonConflict)
	fine := func(snapshot.PortalUser) error { return nil }
	b.reason(b.RemovePortalUser(b.ctx, actor, b.owner, ada.ID, fine), message.ReasonConflict)
	b.reason(b.RemovePortalUser(b.ctx, actor, other, ada.ID, fine), message.ReasonNotFound)
	eve := invite(b.owner, "eve@shop.example", "eve", time.Hour, "account:write")
	_, err = b.ChangePortalUser(b.ctx, actor, b.owner, ada.ID, without) // eve has not come yet
	b.reason(err, message.ReasonConflict)
	if _, err = redeem("eve"); err != nil {
		t.Fatal(err)
	}
	if u, err := b.ChangePortalUser(b.ctx, actor, b.owner, ada.ID, without); err != nil || !slices.Equal(u.Scopes, []string{"messages:read"}) {
		t.Errorf("%+v, %v", u, err)
	}
	if err := b.RemovePortalUser(b.ctx, actor, b.owner, ada.ID, fine); err != nil {
		t.Error(err)
	}
	b.reason(b.RemovePortalUser(b.ctx, actor, b.owner, eve.ID, func(snapshot.PortalUser) error { return errors.Join(message.Refuse(message.ReasonConflict, "stale")) }), message.ReasonConflict)
	var log string
	if err := b.pool.QueryRow(b.ctx, "select string_agg(t::text, '') from audit_log t").Scan(&log); err != nil || strings.Contains(log, "$2a$") {
		t.Errorf("the audit log holds a hash, or %v", err)
	}
	if broken, err := b.VerifyAudit(b.ctx); err != nil || broken != 0 {
		t.Errorf("line %d does not follow, %v", broken, err)
	}
}
