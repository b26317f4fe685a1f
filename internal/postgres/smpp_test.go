package postgres

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
	"github.com/postrider/postrider/internal/stack/stacktest"
	"github.com/postrider/postrider/migrations"
)

// esme adds an SMPP credential to an account, and the account if need be.
func (b *bundle) esme(account message.ID, systemID string) message.ID {
	b.tb.Helper()
	if b.count("select count(*) from accounts where id = $1", account) == 0 {
		if err := b.CreateAccount(b.ctx, actor, snapshot.Account{ID: account, CompanyName: "Of " + systemID, WebhookSecret: "x"}); err != nil {
			b.tb.Fatal(err)
		}
	}
	id := message.NewID()
	if err := b.CreateSMPPCredential(b.ctx, actor, snapshot.SMPPCredential{ID: id, AccountID: account, SystemID: systemID, PasswordHash: "$2a$10$hash",
		Enabled: true, ReceiptTLVs: true}); err != nil {
		b.tb.Fatal(err)
	}
	return id
}

// submitted is a message as the SMPP edge hands it in, not yet accepted.
func (b *bundle) submitted(credential message.ID, registered byte) message.Acceptance {
	m := b.draft()
	m.Edge = message.EdgeSMPP
	return message.Acceptance{Message: m, Origin: &message.SMPPOrigin{CredentialID: credential, Registered: registered, Reference: []byte{0x12, 0x00},
		Source: message.SMPPAddress{TON: 5, Text: "ACME"}, Dest: message.SMPPAddress{TON: 1, NPI: 1, Text: "13105550117"}, AnswerID: message.Hex32(m.ID)}}
}

func (b *bundle) taken(a message.Acceptance) *message.Message {
	b.tb.Helper()
	if got, err := b.Accept(b.ctx, a); err != nil || got.Replay != nil {
		b.tb.Fatalf("%+v, %v", got, err)
	}
	return a.Message
}

// becomes takes a message, wherever it is, to a status that may owe something.
func (b *bundle) becomes(m *message.Message, to message.Status) {
	b.tb.Helper()
	from := message.Before(to)
	if !to.Final() { // so that it may still go on
		from = []message.Status{message.StatusSending}
	}
	if now := message.Status(scalar[string](b, "select status from messages where id = $1", m.ID)); !now.CanBecome(to) {
		b.exec("update messages set status = $2 where id = $1", m.ID, string(from[0]))
	}
	b.must(message.Change{MessageID: m.ID, To: to, Events: line(to), Owed: true})
}

// owing is a message whose sender is owed the receipt of its delivery.
func (b *bundle) owing(credential message.ID) *message.Message {
	b.tb.Helper()
	m := b.taken(b.submitted(credential, 1))
	b.becomes(m, message.StatusDelivered)
	return m
}

func TestSMPPCredentials(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id, other := b.esme(b.owner, "acme"), b.esme(message.NewID(), "other")
	read := func(systemID string) *snapshot.SMPPCredential {
		t.Helper()
		s, err := b.LoadSnapshot(b.ctx)
		if err != nil {
			t.Fatal(err)
		}
		c := s.SMPPCredentials[systemID]
		if c == nil || s.SMPPCredentialByID(c.ID) != c || len(s.SMPPCredentials) != 2 {
			t.Fatalf("%s is not among the %d credentials", systemID, len(s.SMPPCredentials))
		}
		return c
	}
	fresh := snapshot.SMPPCredential{ID: id, AccountID: b.owner, SystemID: "acme", PasswordHash: "$2a$10$hash", Enabled: true, AllowedIPs: []netip.Prefix{},
		MaxBinds: 2, Throughput: 100, Window: 10, Receiver: true, Transmitter: true, Transceiver: true, ReceiptTLVs: true, LongMO: "udh",
		MOLifetime: 72 * time.Hour, Alphabet: "gsm7"}
	if c := read("acme"); fmt.Sprint(*c) != fmt.Sprint(fresh) {
		t.Errorf("new\n%+v\nwant\n%+v", *c, fresh)
	}
	// Everything but who it is and its password.
	want := snapshot.SMPPCredential{ID: id, AccountID: b.owner, SystemID: "acme", PasswordHash: "$2a$10$hash",
		AllowedIPs: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32")},
		MaxBinds:   8, Throughput: 500, Window: 255, Transmitter: true, Transceiver: true, RequireTLS: true, LongMO: "sar", MOLifetime: time.Hour, Alphabet: "latin1"}
	given := want
	given.ID, given.AccountID, given.SystemID, given.PasswordHash = other, message.NewID(), "x", "y"
	version := b.version()
	if err := b.UpdateSMPPCredential(b.ctx, actor, id, given); err != nil {
		t.Fatal(err)
	}
	if c := read("acme"); fmt.Sprint(*c) != fmt.Sprint(want) {
		t.Errorf("changed\n%+v\nwant\n%+v", *c, want)
	}
	if c := read("other"); c.ID != other || c.MaxBinds != 2 || !c.Enabled {
		t.Errorf("another's has changed: %+v", *c)
	}
	if b.version() <= version {
		t.Error("the version stayed")
	}
	if n := b.count(`select count(*) from audit_log where action = 'smpp_credential.update' and target = $1 and actor = 'tester'
		and after @> '{"enabled": false, "max_binds": 8, "throughput": 500, "window": 255, "bind_types": ["transmitter", "transceiver"], "require_tls": true,
		"receipt_format": "text", "long_mo": "sar", "mo_lifetime_seconds": 3600, "alphabet": "latin1", "allowed_ips": ["192.0.2.0/24", "2001:db8::/32"]}'
		and after::text !~ 'hash|password'`, id.String()); n != 1 {
		t.Errorf("%d lines of the audit log describe it", n)
	}
	// Zero fields get the defaults.
	if err := b.UpdateSMPPCredential(b.ctx, actor, id, snapshot.SMPPCredential{Enabled: true, ReceiptTLVs: true}); err != nil {
		t.Fatal(err)
	}
	if c := read("acme"); fmt.Sprint(*c) != fmt.Sprint(fresh) {
		t.Errorf("zero\n%+v\nwant\n%+v", *c, fresh)
	}
}

func TestUpdateSMPPCredentialRefuses(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.esme(b.owner, "acme")
	before := b.count("select count(*) from audit_log")
	if err := b.UpdateSMPPCredential(b.ctx, actor, message.NewID(), snapshot.SMPPCredential{}); message.ReasonOf(err) != message.ReasonNotFound {
		t.Errorf("one that does not exist: %v", err)
	}
	for name, c := range map[string]snapshot.SMPPCredential{
		"window": {Window: 1001}, "binds": {MaxBinds: 1001}, "throughput": {Throughput: -1}, "long": {LongMO: "pigeon"}, "alphabet": {Alphabet: "ebcdic"},
		"short life": {MOLifetime: 59 * time.Second}, "long life": {MOLifetime: 31 * 24 * time.Hour},
	} {
		if err := b.UpdateSMPPCredential(b.ctx, actor, id, c); err == nil {
			t.Errorf("%s: %+v was taken", name, c)
		}
	}
	for _, sql := range []string{"bind_types = '{}'", "bind_types = '{outbind}'", "receipt_format = 'xml'"} {
		if _, err := b.pool.Exec(b.ctx, "update smpp_credentials set "+sql); err == nil {
			t.Errorf("%s was taken", sql)
		}
	}
	if n := b.count("select count(*) from audit_log"); n != before {
		t.Errorf("%d lines of what was refused", n-before)
	}
}

// A database of the release before goes on with what it holds, and takes what
// that release still writes.
func TestMigrationFrom0005(t *testing.T) {
	t.Parallel()
	dsn := stacktest.Database(t)
	ctx := stacktest.Context(t)
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	migratedBefore(t, ctx, conn, 6)
	b := &bundle{tb: t, ctx: ctx, cfg: configOf(t, dsn), owner: message.NewID(), vendor: message.VendorRef{ID: message.NewID(), Name: "north"}}
	old := []any{message.NewID(), b.owner}
	for _, c := range []struct {
		sql  string
		args []any
	}{
		{"insert into accounts (id, company_name, webhook_secret) values ($1, 'Acme', $2)", []any{b.owner, sealer(t).Seal([]byte("x"), b.owner[:])}},
		{"insert into smpp_credentials (id, account_id, system_id, password_hash, enabled, throughput) values ($1, $2, 'acme', 'hash', false, 500)", old},
		{`insert into messages (id, account_id, direction, kind, status, from_addr, to_addr, encoding, segments, message_class, delivery, edge, expires_at, created_at, updated_at)
			values ($1, $2, 'outbound', 'sms', 'sent', '+12025550143', '+13105550117', 'gsm7', 1, 'bulk', 'at_most_once', 'rest', now(), now(), now())`, old},
	} {
		if _, err := conn.Exec(ctx, c.sql, c.args...); err != nil {
			t.Fatal(err)
		}
	}
	if err := conn.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if names, err := Migrate(ctx, b.cfg); err != nil || len(names) == 0 || names[0] != "0006_smpp_edge.sql" {
		t.Fatalf("applied %v, %v", names, err)
	}
	b.DB = b.replica()
	b.exec("insert into smpp_credentials (id, account_id, system_id, password_hash) values ($1, $2, 'later', 'hash')", message.NewID(), b.owner)
	s, err := b.LoadSnapshot(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range s.SMPPCredentials {
		if c.AccountID != b.owner || c.Enabled != (name == "later") || !c.Receiver || !c.Transmitter || !c.Transceiver || c.RequireTLS || !c.ReceiptTLVs ||
			c.Window != 10 || c.LongMO != "udh" || c.Alphabet != "gsm7" || c.MOLifetime != 72*time.Hour {
			t.Errorf("%s: %+v", name, c)
		}
	}
	if len(s.SMPPCredentials) != 2 || s.SMPPCredentials["acme"].Throughput != 500 {
		t.Errorf("%d credentials", len(s.SMPPCredentials))
	}
	// A message of before is owed nothing, whatever is said of it.
	id := old[0].(message.ID)
	b.must(message.Change{MessageID: id, To: message.StatusDelivered, Events: line(message.StatusDelivered), Owed: true})
	if n := b.count("select count(*) from smpp_deliveries"); n != 0 {
		t.Errorf("%d deliveries", n)
	}
}

// migratedBefore applies the migrations that come before the given one.
func migratedBefore(t *testing.T, ctx context.Context, conn *pgx.Conn, version int) {
	t.Helper()
	all, err := migrations.All()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(ctx, "create table schema_migrations (version integer primary key, name text not null, checksum text not null, applied_at timestamptz not null default now())"); err != nil {
		t.Fatal(err)
	}
	for _, m := range all[:version-1] {
		if _, err := conn.PgConn().Exec(ctx, m.SQL).ReadAll(); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Exec(ctx, "insert into schema_migrations (version, name, checksum) values ($1, $2, $3)", m.Version, m.Name, m.Checksum); err != nil {
			t.Fatal(err)
		}
	}
}
