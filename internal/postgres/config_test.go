package postgres

import (
	"context"
	"encoding/base64"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/quiet"
	"github.com/postrider/postrider/internal/secret"
	"github.com/postrider/postrider/internal/snapshot"
)

func TestLoadSnapshot(t *testing.T) {
	t.Parallel()
	b := setup(t)
	began := time.Now()
	s := b.configured()
	if s.Version != b.version() || s.LoadedAt.Before(began) {
		t.Errorf("version %d, loaded %s", s.Version, s.LoadedAt)
	}
	a := s.Accounts[b.owner]
	wantAccount := snapshot.Account{ID: b.owner, ExternalID: "acme-1", CompanyName: "Acme", Status: snapshot.AccountActive, TimeZone: "America/New_York",
		DefaultClass: message.ClassOTP, Delivery: message.AtLeastOnce, SmartEncoding: true, MaxParts: 6, ContentRetentionDays: 7, DefaultCountry: "US",
		AllowedSourceAddresses: []string{"ACME"}, ForceSourceAddress: "+12025550143", APIRateLimit: 25, WebhookSecret: "whsec_account",
		ConversationHold: snapshot.DefaultConversationHold, MaxBacklog: snapshot.DefaultMaxBacklog, MaxHeld: snapshot.DefaultMaxHeld,
		EncodingMismatchStatus: 0x104, OptedOutStatus: 0x45, OptOutScope: message.OptOutNumber, QuietHours: quiet.PolicyWait, MMSFallback: snapshot.MMSFallbackNone,
		MediaTranscoding: "auto"}
	if fmt.Sprint(*a) != fmt.Sprint(wantAccount) {
		t.Errorf("account\n%+v\nwant\n%+v", *a, wantAccount)
	}
	c := s.Credentials["key-"+b.owner.String()]
	if c == nil || s.CredentialByID(c.ID) != c || c.Name != "shop" || string(c.SecretHash) != "hash" || c.PreviousSecretHash != nil || fmt.Sprint(c.Scopes) != "[messages:write messages:read]" ||
		fmt.Sprint(c.AllowedNumbers) != "[+12025550143]" || fmt.Sprint(c.AllowedIPs) != "[192.0.2.0/24 2001:db8::/32]" || c.RateLimit != 5 || c.ExpiresAt.Before(began) || !c.PreviousUntil.IsZero() {
		t.Errorf("credential: %+v", c)
	}
	n := s.Numbers["+12025550143"]
	campaign := s.CampaignOf(n)
	if n == nil || n.AccountID != b.owner || n.VendorID != b.vendor.ID || n.Type != snapshot.LongCode || !n.SMSEnabled || n.MMSEnabled ||
		n.Verification != "unverified" || n.Tag != "support" || n.Group != "east" {
		t.Errorf("number: %+v", n)
	}
	if only, ok := s.OnlySender(b.owner); !ok || only != "+12025550143" || len(s.NumbersOf(b.owner)) != 1 {
		t.Errorf("only sender: %s, %v", only, ok)
	}
	if campaign == nil || campaign.CampaignID != "C8X2KQ1" || campaign.UseCase != "MIXED" || campaign.Status != snapshot.CampaignActive ||
		campaign.Throughput != 60 || campaign.DailyCap != 2000 || campaign.AccountID != b.owner {
		t.Errorf("campaign: %+v", campaign)
	}
	v := s.Vendors[b.vendor.ID]
	wantVendor := snapshot.Vendor{ID: b.vendor.ID, Name: "north", DisplayName: "North", ProviderType: "smpp", Active: true, Version: 1, Host: "127.0.0.1", Port: 2775,
		Username: "postrider", Password: "s3cr3t", UseTLS: true, ServerName: "smsc.example", BindType: "transceiver", Throughput: 50, Priority: 10, CostPerSMS: 3125,
		Window: 20, MaxBinds: 2, SupportsAlphanumeric: true, SupportsUnicode: true, IDFormat: "hex_to_dec", LongMessage: "sar", DefaultAlphabet: "latin1",
		CodeMap: map[string]message.Reason{"011": message.ReasonUnreachable}, EnquireLink: 15 * time.Second, ResponseTimeout: 10 * time.Second, ReceiptGrace: time.Minute,
		PassTLVs: []uint16{0x1403, 0x020A}, ReceiptID: "auto", ReceiptExpected: 5 * time.Minute}
	if fmt.Sprint(*v) != fmt.Sprint(wantVendor) {
		t.Errorf("vendor\n%+v\nwant\n%+v", *v, wantVendor)
	}
	if len(s.Routes) != 1 {
		t.Fatalf("%d routes", len(s.Routes))
	}
	r := s.Routes[0]
	if r.ID == 0 || r.Priority != 10 || r.DestPattern.String() != "^1" || r.SourcePattern.String() != "^1202" || r.VendorID != b.vendor.ID || r.AccountID != b.owner ||
		r.MessageType != message.SMS || r.RatePerMsg != 4500 || r.Weight != 3 {
		t.Errorf("route: %+v", r)
	}
	e := s.Endpoints[b.owner]
	if len(e) != 1 || e[0].URL != "https://shop.example/hooks" || e[0].FailoverURL != "https://shop.example/spare" || fmt.Sprint(e[0].EventTypes) != "[message.delivered]" ||
		e[0].Secret != "whsec_endpoint" || e[0].OldSecret != "" || e[0].Format != "event" {
		t.Errorf("endpoints: %+v", e)
	}
	if len(s.SigningKeys) != 1 || s.SigningKeys[0].KID != "k1" || string(s.SigningKeys[0].Secret) != "seed" || s.SigningKeys[0].Algorithm != "EdDSA" || !s.SigningKeys[0].RetiredAt.IsZero() {
		t.Errorf("signing keys: %+v", s.SigningKeys)
	}
	// Nothing secret lies readable in the database.
	for _, secret := range []string{"whsec_account", "whsec_endpoint", "s3cr3t", "seed"} {
		for _, table := range []string{"accounts", "webhook_endpoints", "vendors", "signing_keys", "audit_log"} {
			if n := b.count("select count(*) from "+table+" t where t::text like '%' || $1 || '%' or t::text like '%' || encode($1::bytea, 'hex') || '%'", secret); n != 0 {
				t.Errorf("%s holds a secret in clear", table)
			}
		}
	}
}

// Fields that are not given get the schema's defaults; nothing that is given is
// dropped.
func TestCreateDefaults(t *testing.T) {
	t.Parallel()
	b := setup(t)
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	one, two := message.NewID(), message.NewID()
	do(b.CreateAccount(b.ctx, actor, snapshot.Account{ID: one, CompanyName: "One", WebhookSecret: "x"}))
	do(b.CreateAccount(b.ctx, actor, snapshot.Account{ID: two, CompanyName: "Two", WebhookSecret: "x", OrderedConversations: new(true), InternalDelivery: true, DefaultCountry: "DE"}))
	do(b.CreateCredential(b.ctx, actor, snapshot.Credential{ID: message.NewID(), AccountID: one, Key: "k", SecretHash: []byte("h")}))
	do(b.CreateVendor(b.ctx, actor, snapshot.Vendor{ID: b.vendor.ID, Name: "v"}))
	do(b.CreateNumber(b.ctx, actor, snapshot.Number{Number: "12345", AccountID: one, Type: snapshot.ShortCode}))
	do(b.CreateEndpoint(b.ctx, actor, snapshot.Endpoint{ID: message.NewID(), AccountID: one, URL: "https://a.example", Secret: "x"}))
	route, err := b.CreateRoute(b.ctx, actor, snapshot.Route{VendorID: b.vendor.ID})
	do(err)
	s, err := b.LoadSnapshot(b.ctx)
	do(err)
	a := s.Accounts[one]
	if a.ExternalID != "" || a.DefaultClass != message.ClassConversation || a.Delivery != message.AtMostOnce || a.MaxParts != 10 || a.ContentRetentionDays != 30 ||
		a.DefaultCountry != "US" || a.APIRateLimit != 10 || a.TimeZone != "UTC" || a.OrderedConversations != nil || a.InternalDelivery ||
		a.EncodingMismatchStatus != 0x45 || a.OptedOutStatus != 0x0B {
		t.Errorf("account: %+v", a)
	}
	if a := s.Accounts[two]; a.OrderedConversations == nil || !*a.OrderedConversations || !a.InternalDelivery || a.DefaultCountry != "DE" {
		t.Errorf("account: %+v", a)
	}
	if c := s.Credentials["k"]; c == nil || len(c.Scopes)+len(c.AllowedIPs)+len(c.AllowedNumbers) != 0 || !c.ExpiresAt.IsZero() {
		t.Errorf("credential: %+v", c)
	}
	if v := s.Vendors[b.vendor.ID]; v.Active || v.Window != 10 || v.MaxBinds != 1 || v.ReceiptGrace != 15*time.Minute || v.EnquireLink != 30*time.Second || v.ResponseTimeout != 30*time.Second ||
		v.LongMessage != "udh" || v.IDFormat != "same" || v.DefaultAlphabet != "gsm7" || v.BindType != "transceiver" || v.ProviderType != "smpp" || v.Password != "" || v.Throughput != 0 || len(v.PassTLVs) != 0 {
		t.Errorf("vendor: %+v", v)
	}
	if r := s.Routes[0]; r.ID != route || r.DestPattern != nil || r.SourcePattern != nil || r.AccountID != (message.ID{}) || r.MessageType != "" || r.Weight != 1 {
		t.Errorf("route: %+v", r)
	}
	if _, ok := s.OnlySender(one); ok {
		t.Error("a number that is not enabled is the only sender")
	}
}

func (b *bundle) version() int64 {
	b.tb.Helper()
	v, err := b.ConfigVersion(b.ctx)
	if err != nil {
		b.tb.Fatal(err)
	}
	return v
}

// Each change of a table that the snapshot is made of raises the version; what
// the gateway itself notes while it works does not.
func TestConfigVersion(t *testing.T) {
	t.Parallel()
	b := setup(t)
	s := b.configured()
	credential := s.Credentials["key-"+b.owner.String()].ID
	before := b.version()
	if err := b.CredentialUsed(b.ctx, credential); err != nil {
		t.Fatal(err)
	}
	if err := b.VendorHealth(b.ctx, b.vendor.ID, message.HealthDown); err != nil {
		t.Fatal(err)
	}
	b.store(b.draft())
	if b.version() != before {
		t.Error("the gateway's own notes raised the version")
	}
	for _, sql := range []string{
		"update accounts set max_parts = 3", "update api_credentials set scopes = '{}'", "update api_credentials set revoked_at = now()",
		"update smpp_credentials set enabled = false", "update signing_keys set retired_at = now()", "update campaigns set status = 'suspended'",
		"insert into mm4_peers (account_id, name) select id, 'acme' from accounts", "update mm4_peers set enabled = false", "delete from mm4_peers",
		"update vendors set is_active = false", "update vendors set pass_tlvs = '{5123}'", "update vendors set vendor_replies = true", "update numbers set sms_enabled = false", "update routing_rules set is_active = false",
		"update webhook_endpoints set active = false",
		"delete from webhook_endpoints", "delete from routing_rules", "delete from numbers", "delete from campaigns", "delete from vendors",
		"delete from signing_keys", "delete from smpp_credentials", "delete from api_credentials", "delete from accounts",
	} {
		before = b.version()
		b.exec(sql)
		if b.version() <= before {
			t.Errorf("%s: the version stayed", sql)
		}
	}
}

// The version of a vendor grows with what its link depends on and nothing else.
func TestVendorVersion(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.configured()
	read := func() int64 { return scalar[int64](b, "select version from vendors where instance_name = 'north'") }
	for _, c := range []struct {
		sql   string
		grows bool
	}{
		{"update vendors set port = 2776", true},
		{"update vendors set port = 2776", false},
		{"update vendors set password = 'x' where instance_name = 'north'", true},
		{`update vendors set "window" = 5`, true},
		{"update vendors set max_binds = 3, throughput = 7, priority = 9, cost_per_sms = 1, receipt_percent = 9, receipt_grace_seconds = 9, display_name = 'x'", false},
		{"update vendors set paused = true, draining = true, supports_unicode = false, media_profile = 'x'", false},
		{"update vendors set restarts = restarts + 1", true},
		{"update vendors set source_ton = 5", true},
		{"update vendors set signing_keys = '{x}' where instance_name = 'north'", true},
		{"update vendors set is_active = false", true},
		{`update vendors set code_map = '{"1": "filtered"}'`, true},
		{"update vendors set health_status = 'unhealthy', last_bind_time = now()", false},
		{"update vendors set updated_at = now()", false},
		{"update vendors set vendor_replies = true", false},
		{"update vendors set pass_tlvs = '{5123}'", true},
	} {
		before := read()
		b.exec(c.sql)
		if got := read() - before; got != 0 != c.grows || got > 1 {
			t.Errorf("%s: grew by %d", c.sql, got)
		}
	}
	before := read()
	if err := b.VendorHealth(b.ctx, b.vendor.ID, "healthy"); err != nil || read() != before {
		t.Errorf("health: %v, version %d was %d", err, read(), before)
	}
	bound := time.Now().Add(time.Minute).Truncate(time.Second)
	for _, at := range []time.Time{bound, bound.Add(-time.Minute)} { // an older one comes late
		if err := b.VendorBound(b.ctx, b.vendor.ID, at); err != nil || read() != before {
			t.Errorf("bound: %v, version %d was %d", err, read(), before)
		}
	}
	if n := b.count("select count(*) from vendors where health_status = 'healthy' and last_bind_time = $1", bound); n != 1 {
		t.Error("the bind is not on record")
	}
}

// A snapshot is of one moment: a change made while it is read is in it whole or
// not at all.
func TestSnapshotConsistent(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.configured()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			// The version, an account and a vendor change together.
			b.exec("with a as (update accounts set api_rate_limit = $1) update vendors set throughput = $1", 1+i%1000)
		}
	})
	versions := map[int64]bool{}
	for i := 0; i < 100 || len(versions) < 5; i++ { // the writer may get its turn late
		s, err := b.LoadSnapshot(b.ctx)
		if err != nil {
			t.Fatal(err)
		}
		versions[s.Version] = true
		if a, v := s.Accounts[b.owner].APIRateLimit, s.Vendors[b.vendor.ID].Throughput; a != v && a != 25 {
			t.Fatalf("version %d: the account says %d, the vendor %d", s.Version, a, v)
		}
	}
	close(stop)
	wg.Wait()
}

// A row of a vendor or a route that cannot be used is left out and named; the rest
// counts. Staff see it, and take it away or, of a vendor, set anew what is wrong.
func TestSnapshotLeavesBrokenRowsOut(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ table, sql, want string }{
		"route":    {"routing_rules", "update routing_rules set dest_pattern = '^(1' where id = 1", "dest_pattern of route 1"},
		"source":   {"routing_rules", "update routing_rules set source_pattern = '[' where id = 1", "source_pattern of route 1"},
		"zone":     {"routing_rules", "update routing_rules set time_zone = 'Nowhere/At_All' where id = 1", "time_zone of route 1"},
		"vendor":   {"vendors", "update vendors set password = 'x' where instance_name = 'north'", "password of vendor north"},
		"code map": {"vendors", "update vendors set code_map = '[1]' where instance_name = 'north'", "code_map of vendor north"},
		"client":   {"vendors", "update vendors set tls_client_key = 'x' where instance_name = 'north'", "tls_client_key of vendor north"},
		"outbind":  {"vendors", "update vendors set outbind_password = 'x' where instance_name = 'north'", "outbind_password of vendor north"},
		"signing":  {"vendors", "update vendors set signing_keys = '{x}' where instance_name = 'north'", "signing_keys of vendor north"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			whole := b.configured()
			vendor := whole.Vendors[b.vendor.ID]
			b.exec(c.sql)
			s, err := b.RefreshSnapshot(b.ctx, whole)
			if err != nil {
				t.Fatal(err)
			}
			if p := s.Problems[c.table]; len(p) != 1 || !strings.Contains(p[0], c.want) {
				t.Errorf("problems %v", s.Problems)
			}
			lost := map[string]int{c.table: 1}
			if len(s.Vendors) != len(whole.Vendors)-lost["vendors"] || len(s.Routes) != len(whole.Routes)-lost["routing_rules"] || len(s.Accounts) != len(whole.Accounts) {
				t.Errorf("%d vendors, %d routes, %d accounts are left", len(s.Vendors), len(s.Routes), len(s.Accounts))
			}
			b.exec("update accounts set max_parts = 3")
			if kept, err := b.RefreshSnapshot(b.ctx, s); err != nil || len(kept.Problems[c.table]) != 1 {
				t.Errorf("%v, %v", kept.Problems, err)
			}
			if c.table == "routing_rules" {
				b.mendRoute(c.want)
			} else {
				b.mendVendor(vendor, c.want)
			}
			if s, err = b.LoadSnapshot(b.ctx); err != nil || len(s.Problems[c.table]) != 0 {
				t.Errorf("%v, %v", s.Problems, err)
			}
		})
	}
}

// mendRoute takes a broken route away, as staff do.
func (b *bundle) mendRoute(want string) {
	b.tb.Helper()
	list, err := b.Routes(b.ctx, snapshot.RouteFilter{}, -1, 0, 10)
	if err != nil || !slices.ContainsFunc(list, func(r snapshot.RouteState) bool { return r.ID == 1 && strings.Contains(r.Broken, want) }) {
		b.tb.Errorf("%+v, %v", list, err)
	}
	// What cannot be read must not become a pattern that matches everything.
	if _, err := b.ChangeRoute(b.ctx, actor, 1, func(r *snapshot.RouteState) error { r.Name = "x"; return nil }); message.ReasonOf(err) != message.ReasonConflict {
		b.tb.Errorf("%v", err)
	}
	if err := b.RemoveRoute(b.ctx, actor, 1, func(snapshot.RouteState) error { return nil }); err != nil {
		b.tb.Error(err)
	}
}

// mendVendor sets anew what cannot be read of a vendor, as staff do.
func (b *bundle) mendVendor(whole *snapshot.Vendor, want string) {
	b.tb.Helper()
	list, err := b.Vendors(b.ctx, snapshot.VendorFilter{}, message.ID{}, 10)
	if err != nil || !slices.ContainsFunc(list, func(v snapshot.VendorState) bool { return v.Name == "north" && strings.Contains(v.Broken, want) }) {
		b.tb.Errorf("%+v, %v", list, err)
	}
	v, err := b.ChangeVendor(b.ctx, actor, whole.ID, "vendor.update", func(v *snapshot.VendorState) error {
		v.Password, v.ClientKey, v.OutbindPassword, v.SigningKeys, v.CodeMap = "1", "2", "3", []string{"4"}, nil
		return nil
	})
	if err != nil || v.Broken != "" {
		b.tb.Errorf("%s, %v", v.Broken, err)
	}
}

// What concerns everybody stops the whole snapshot and is named, and so does a key that
// this process does not have.
func TestSnapshotNamesBrokenRows(t *testing.T) {
	t.Parallel()
	ring, err := secret.ParseKeyring("another:" + base64.StdEncoding.EncodeToString([]byte("another key of 32 octets, no more")[:32]))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ sql, want string }{
		"account":  {"update accounts set webhook_secret = 'x'", "webhook secret of account"},
		"endpoint": {"update webhook_endpoints set secret = 'x'", "secret of webhook endpoint"},
		"old":      {"update webhook_endpoints set old_secret = 'x'", "old secret of webhook endpoint"},
		"key":      {"update signing_keys set secret = 'x'", "signing key k1"},
		"ring":     {"", "password of vendor north"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.configured()
			if c.sql != "" {
				b.exec(c.sql)
			} else {
				sealed := ring.Box(secret.Content).Seal([]byte("x"), b.vendor.ID[:])
				b.exec("update vendors set password = $1 where instance_name = 'north'", sealed)
			}
			if _, err := b.LoadSnapshot(b.ctx); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %s", err, c.want)
			}
		})
	}
}

// What is switched off is not in the snapshot.
func TestSnapshotLeavesOut(t *testing.T) {
	t.Parallel()
	b := setup(t)
	s := b.configured()
	if err := b.RevokeCredential(b.ctx, actor, s.Credentials["key-"+b.owner.String()].ID); err != nil {
		t.Fatal(err)
	}
	b.exec("update routing_rules set is_active = false")
	b.exec("update webhook_endpoints set active = false")
	s, err := b.LoadSnapshot(b.ctx)
	if err != nil || len(s.Credentials)+len(s.Routes)+len(s.Endpoints) != 0 {
		t.Errorf("%+v, %v", s, err)
	}
}

// Changes reach a holder by notification, and by its poll after the notification
// was lost with its connection.
func TestHolderFollows(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.configured()
	seen := make(chan *snapshot.Snapshot, 100)
	h := snapshot.NewHolder(b.DB, slog.New(slog.DiscardHandler))
	h.OnChange(func(s *snapshot.Snapshot) { seen <- s })
	if err := h.Start(b.ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Stop)
	b.until("the holder listens", func() bool { return b.listeners() == 1 })
	await := func(limit int) {
		t.Helper()
		b.exec("update accounts set api_rate_limit = $1", limit)
		for {
			select {
			case s := <-seen:
				if s.Accounts[b.owner].APIRateLimit == limit {
					return
				}
			case <-b.ctx.Done():
				t.Fatalf("the change to %d never came", limit)
			}
		}
	}
	await(31)
	pid := b.count("select pid from pg_stat_activity where query = 'listen config' and datname = current_database()")
	b.exec("select pg_terminate_backend($1)", pid)
	b.until("the connection is gone", func() bool { return b.count("select count(*) from pg_stat_activity where pid = $1", pid) == 0 })
	await(32)
	if h.Current().Accounts[b.owner].APIRateLimit != 32 {
		t.Error("the holder shows an old snapshot")
	}
}

func (b *bundle) listeners() int {
	b.tb.Helper()
	return b.count("select count(*) from pg_stat_activity where query = 'listen config' and wait_event = 'ClientRead' and datname = current_database()")
}

func TestListenConfig(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx, cancel := context.WithCancel(b.ctx)
	defer cancel()
	changed := make(chan struct{}, 10)
	ended := make(chan error, 1)
	go func() { ended <- b.ListenConfig(ctx, func() { changed <- struct{}{} }) }()
	<-changed // once at the start
	b.configured()
	<-changed
	cancel()
	if err := <-ended; err == nil {
		t.Error("ended without saying why")
	}
	b.until("the connection is closed", func() bool { return b.listeners() == 0 })
}

func TestAudit(t *testing.T) {
	t.Parallel()
	b := setup(t)
	s := b.configured()
	if err := b.SetAccountStatus(b.ctx, actor, b.owner, snapshot.AccountClosed); err != nil {
		t.Fatal(err)
	}
	for id := range s.Campaigns {
		if err := b.SetCampaignStatus(b.ctx, Actor{Name: "<o&o>", Role: "compliance"}, id, snapshot.CampaignExpired); err != nil {
			t.Fatal(err)
		}
	}
	rows := b.count("select count(*) from audit_log")
	if rows != 11 {
		t.Errorf("%d rows", rows)
	}
	verify := func() int64 {
		t.Helper()
		broken, err := b.VerifyAudit(b.ctx)
		if err != nil {
			t.Fatal(err)
		}
		return broken
	}
	if n := verify(); n != 0 {
		t.Fatalf("row %d does not follow", n)
	}
	if n := b.count("select count(*) from audit_log where action = 'account.status' and actor = 'tester' and role = 'admin' and address = '127.0.0.1' and target = $1 and after = '{\"status\": \"closed\"}'", b.owner.String()); n != 1 {
		t.Error("the change is not described")
	}
	// A change that fails leaves no row, and a row no change.
	if err := b.SetAccountStatus(b.ctx, actor, message.NewID(), snapshot.AccountClosed); message.ReasonOf(err) != message.ReasonNotFound {
		t.Errorf("an account that does not exist: %v", err)
	}
	if err := b.CreateNumber(b.ctx, actor, snapshot.Number{Number: "+12025550143", AccountID: b.owner, Type: snapshot.LongCode}); err == nil {
		t.Error("a number was given twice")
	}
	if n := b.count("select count(*) from audit_log"); n != rows {
		t.Errorf("%d rows after failures", n)
	}
	for _, sql := range []string{
		"update audit_log set actor = 'nobody' where id = 5", "update audit_log set after = '{}' where id = 5", "update audit_log set before = '{}' where id = 5",
		"update audit_log set at = at + interval '1 second' where id = 5", "update audit_log set address = '' where id = 5",
		"update audit_log set target = action, action = target where id = 5", "update audit_log set hash = 'x' where id = 5",
	} {
		tampered := b.onCopy(sql)
		if tampered != 5 {
			t.Errorf("%s: found at row %d", sql, tampered)
		}
	}
	if n := b.onCopy("delete from audit_log where id = 5"); n != 6 {
		t.Errorf("a row taken out shows at %d", n)
	}
	if n := verify(); n != 0 {
		t.Errorf("row %d does not follow", n)
	}
}

// onCopy changes the audit log, verifies it, and puts it back.
func (b *bundle) onCopy(sql string) int64 {
	b.tb.Helper()
	b.exec("create table kept as select * from audit_log")
	b.exec(sql)
	broken, err := b.VerifyAudit(b.ctx)
	if err != nil {
		b.tb.Fatal(err)
	}
	b.exec("delete from audit_log")
	b.exec("insert into audit_log overriding system value select * from kept")
	b.exec("drop table kept")
	return broken
}

// Writers on two replicas keep one chain.
func TestAuditConcurrent(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.configured()
	replicas := []*DB{b.DB, b.replica()}
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			id := message.NewID()
			if err := replicas[i%2].CreateAccount(b.ctx, actor, snapshot.Account{ID: id, CompanyName: "A", WebhookSecret: "x"}); err != nil {
				t.Error(err)
			}
			if err := replicas[i%2].SetAccountStatus(b.ctx, actor, id, snapshot.AccountSuspended); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if broken, err := b.VerifyAudit(b.ctx); err != nil || broken != 0 {
		t.Errorf("row %d does not follow, %v", broken, err)
	}
}
