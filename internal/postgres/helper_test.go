package postgres

import (
	"context"
	"encoding/base64"
	"net/netip"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/secret"
	"github.com/postrider/postrider/internal/snapshot"
	"github.com/postrider/postrider/internal/stack/stacktest"
	"github.com/postrider/postrider/migrations"
)

func TestMain(m *testing.M) { stacktest.Main(m) }

var migrated = stacktest.NewTemplate(func(ctx context.Context, dsn string) error {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	_, err = migrations.Apply(ctx, conn)
	if err = joinClose(ctx, conn, err); err != nil {
		return err
	}
	// As in a database that has been there for a while.
	pool, err := pgxpool.New(ctx, dsn)
	if err != nil {
		return err
	}
	defer pool.Close()
	_, err = (&DB{pool: pool}).makePartitions(ctx, time.Now().Add(-2*partitionSpan), 3*partitionSpan)
	return err
})

func joinClose(ctx context.Context, conn *pgx.Conn, err error) error {
	if cerr := conn.Close(ctx); err == nil {
		return cerr
	}
	return err
}

// sealer is the real thing with a key of the tests.
func sealer(tb testing.TB) Sealer {
	tb.Helper()
	key := base64.StdEncoding.EncodeToString([]byte("0123456789abcdef0123456789abcdef"))
	ring, err := secret.ParseKeyring("test:" + key)
	if err != nil {
		tb.Fatal(err)
	}
	return ring.Box(secret.Content)
}

// configOf reads a DSN of stacktest.
func configOf(tb testing.TB, dsn string) Config {
	tb.Helper()
	c, err := pgx.ParseConfig(dsn)
	if err != nil {
		tb.Fatal(err)
	}
	return Config{Host: c.Host, Port: int(c.Port), User: c.User, Password: c.Password, Database: c.Database, SSLMode: "disable", MaxConns: 6}
}

// bundle is a migrated database with one account and one vendor, and the DB under
// test on it.
type bundle struct {
	*DB
	tb     testing.TB
	ctx    context.Context
	cfg    Config
	vendor message.VendorRef
	owner  message.ID // the account of messages
}

var actor = Actor{Name: "tester", Role: "admin", Address: "127.0.0.1"}

func setup(tb testing.TB) *bundle {
	tb.Helper()
	return setupOn(tb, migrated.Database(tb))
}

func setupOn(tb testing.TB, dsn string) *bundle {
	tb.Helper()
	b := &bundle{tb: tb, ctx: stacktest.Context(tb), cfg: configOf(tb, dsn), owner: message.NewID(),
		vendor: message.VendorRef{ID: message.NewID(), Name: "north"}}
	b.DB = b.replica()
	return b
}

// replica opens the same database once more, as another process would.
func (b *bundle) replica() *DB {
	b.tb.Helper()
	db, err := Open(b.ctx, b.cfg, sealer(b.tb))
	if err != nil {
		b.tb.Fatal(err)
	}
	b.tb.Cleanup(db.Close)
	return db
}

// draft is a message as ingress makes it, not yet accepted.
func (b *bundle) draft() *message.Message {
	now := time.Now().UTC().Truncate(time.Millisecond)
	return &message.Message{ID: message.NewID(), AccountID: b.owner, Direction: message.Outbound, Kind: message.SMS,
		Status: message.StatusAccepted, From: "+12025550143", To: "+13105550117", Body: "Your parcel is on its way",
		Encoding: message.EncodingGSM7, Segments: 1, Class: message.ClassConversation, Delivery: message.AtMostOnce,
		CampaignID: "C8X2KQ1", ClientReference: "order-8812", Metadata: map[string]string{"shop": "7"},
		Price: message.Price{Amount: 4500, Currency: "USD", Estimated: true}, Edge: "rest",
		ExpiresAt: now.Add(4 * time.Hour), CreatedAt: now, UpdatedAt: now}
}

// accepted puts a message of so many parts into the journal.
func (b *bundle) accepted(segments int) *message.Message {
	b.tb.Helper()
	m := b.draft()
	m.Segments = segments
	b.store(m)
	return m
}

func (b *bundle) store(m *message.Message) {
	b.tb.Helper()
	if _, err := b.Accept(b.ctx, message.Acceptance{Message: m}); err != nil {
		b.tb.Fatal(err)
	}
}

// must advances and fails the test unless the change was made.
func (b *bundle) must(c message.Change) message.Advanced {
	b.tb.Helper()
	adv, err := b.Advance(b.ctx, c)
	if err != nil {
		b.tb.Fatal(err)
	}
	if !adv.Changed {
		b.tb.Fatalf("advance to %q: not changed, was %q", c.To, adv.Was)
	}
	return adv
}

func line(s message.Status) []message.Event {
	return []message.Event{{Type: message.StatusEvent(s), Detail: map[string]any{}}}
}

// sending takes an accepted message to where its parts are journalled.
func (b *bundle) sending(segments int) *message.Message {
	b.tb.Helper()
	m := b.accepted(segments)
	b.must(message.Change{MessageID: m.ID, To: message.StatusQueued, Events: line(message.StatusQueued), Vendor: b.vendor, Started: true})
	c := message.Change{MessageID: m.ID, To: message.StatusSending}
	for p := range segments {
		c.Attempts = append(c.Attempts, message.Attempt{Part: p + 1, Number: 1, Vendor: b.vendor, Instance: "one"})
		c.Events = append(c.Events, message.Event{Type: message.StatusEvent(message.StatusSending), Detail: map[string]any{"part": p + 1, "attempt": 1}})
	}
	b.must(c)
	return m
}

// answered is the change that stores the vendor's ids.
func (b *bundle) answered(m *message.Message, ids ...string) message.Change {
	c := message.Change{MessageID: m.ID, To: message.StatusSent, Submitted: true, Events: line(message.StatusSent)}
	for i, id := range ids {
		c.Answers = append(c.Answers, message.Answer{Part: i + 1, Attempt: 1, State: message.PartSubmitted,
			VendorMessageID: id, NormalizedID: message.NormalizeVendorID(id)})
	}
	return c
}

// sent is a message that the vendor took under these ids, one a part.
func (b *bundle) sent(ids ...string) *message.Message {
	b.tb.Helper()
	m := b.sending(len(ids))
	b.must(b.answered(m, ids...))
	return m
}

// receipt is one as a vendor link hands it up.
func (b *bundle) receipt(id string, state message.ReceiptState) message.Receipt {
	now := time.Now().UTC().Truncate(time.Millisecond)
	r := message.Receipt{ID: message.NewID(), VendorID: b.vendor.ID, VendorMessageID: message.NormalizeVendorID(id), State: state, Err: "000",
		Source: "13105550117", Destination: "12025550143", DoneAt: now, ReceivedAt: now, Raw: "id:" + id + " stat:" + string(state)}
	if p, ok := state.PartState(); ok && p != message.PartDelivered {
		r.Err, r.Reason = "011", message.ReasonUnreachable
	}
	return r
}

func (b *bundle) received(r message.Receipt) message.Matched {
	b.tb.Helper()
	m, err := b.Receipt(b.ctx, r)
	if err != nil {
		b.tb.Fatal(err)
	}
	return m
}

func (b *bundle) notification(m *message.Message, kind string) message.Notification {
	return message.Notification{ID: message.NewID(), EventID: message.NewID(), AccountID: m.AccountID, MessageID: m.ID, Type: kind,
		URL: "https://shop.example/hooks", FailoverURL: "https://shop.example/spare",
		Payload: `{"type":"` + kind + `","data":{"message_id":"` + m.ID.String() + `",` + message.SequencePlaceholder + `}}`}
}

// count runs a query that gives one number.
func (b *bundle) count(sql string, args ...any) int {
	b.tb.Helper()
	return scalar[int](b, sql, args...)
}

func scalar[T any](b *bundle, sql string, args ...any) T {
	b.tb.Helper()
	var v T
	if err := b.pool.QueryRow(b.ctx, sql, args...).Scan(&v); err != nil {
		b.tb.Fatal(err)
	}
	return v
}

func (b *bundle) exec(sql string, args ...any) {
	b.tb.Helper()
	if _, err := b.pool.Exec(b.ctx, sql, args...); err != nil {
		b.tb.Fatal(err)
	}
}

// parts reads where a message's parts are.
func (b *bundle) parts(m *message.Message) []message.Part {
	b.tb.Helper()
	parts, err := b.Parts(b.ctx, m.ID, m.Segments)
	if err != nil {
		b.tb.Fatal(err)
	}
	return parts
}

func (b *bundle) progress(m *message.Message) message.Progress {
	b.tb.Helper()
	p, err := b.Progress(b.ctx, m.ID)
	if err != nil {
		b.tb.Fatal(err)
	}
	return p
}

// timeline reads a message's events and fails the test when their numbers have
// gaps.
func (b *bundle) timeline(m *message.Message) []message.Event {
	b.tb.Helper()
	events, err := b.Events(b.ctx, m.ID, 0, 10_000)
	if err != nil {
		b.tb.Fatal(err)
	}
	for i, e := range events {
		if e.Sequence != i+1 {
			b.tb.Fatalf("event %d has number %d", i+1, e.Sequence)
		}
	}
	if n := b.count("select event_seq from messages where id = $1", m.ID); n != len(events) {
		b.tb.Fatalf("event_seq is %d, there are %d events", n, len(events))
	}
	return events
}

// configured adds one of everything that can be configured, and returns it.
func (b *bundle) configured() *snapshot.Snapshot {
	b.tb.Helper()
	do := func(err error) {
		b.tb.Helper()
		if err != nil {
			b.tb.Fatal(err)
		}
	}
	do(b.CreateAccount(b.ctx, actor, snapshot.Account{ID: b.owner, ExternalID: "acme-1", CompanyName: "Acme", DefaultClass: message.ClassOTP,
		Delivery: message.AtLeastOnce, SmartEncoding: true, MaxParts: 6, APIRateLimit: 25, AllowedSourceAddresses: []string{"ACME"},
		ForceSourceAddress: "+12025550143", WebhookSecret: "whsec_account", TimeZone: "America/New_York", ContentRetentionDays: 7,
		EncodingMismatchStatus: 0x104, OptedOutStatus: 0x45}))
	do(b.CreateCredential(b.ctx, actor, snapshot.Credential{ID: message.NewID(), AccountID: b.owner, Name: "shop", Key: "key-" + b.owner.String(),
		SecretHash: []byte("hash"), Scopes: []string{"messages:write", "messages:read"}, AllowedNumbers: []string{"+12025550143"},
		AllowedIPs: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32")}, RateLimit: 5,
		ExpiresAt: time.Now().Add(time.Hour)}))
	campaign := snapshot.Campaign{ID: message.NewID(), AccountID: b.owner, CampaignID: "C8X2KQ1", UseCase: "MIXED",
		Status: snapshot.CampaignActive, Throughput: 60, DailyCap: 2000}
	do(b.CreateCampaign(b.ctx, actor, campaign, "parcels"))
	do(b.CreateVendor(b.ctx, actor, snapshot.Vendor{ID: b.vendor.ID, Name: b.vendor.Name, DisplayName: "North", ProviderType: "smpp", Active: true,
		Host: "127.0.0.1", Port: 2775, Username: "postrider", Password: "s3cr3t", UseTLS: true, ServerName: "smsc.example", BindType: "transceiver",
		Throughput: 50, Priority: 10, CostPerSMS: 3125, Window: 20, MaxBinds: 2, SupportsAlphanumeric: true, SupportsUnicode: true,
		IDFormat: "hex_to_dec", LongMessage: "sar", DefaultAlphabet: "latin1", CodeMap: map[string]message.Reason{"011": message.ReasonUnreachable},
		EnquireLink: 15 * time.Second, ResponseTimeout: 10 * time.Second, ReceiptGrace: time.Minute, PassTLVs: []uint16{0x1403, 0x020A}}))
	do(b.CreateNumber(b.ctx, actor, snapshot.Number{Number: "+12025550143", AccountID: b.owner, VendorID: b.vendor.ID, Type: snapshot.LongCode,
		SMSEnabled: true, Campaign: campaign.ID, Tag: "support", Group: "east"}))
	_, err := b.CreateRoute(b.ctx, actor, snapshot.Route{Priority: 10, VendorID: b.vendor.ID, RatePerMsg: 4500, Weight: 3,
		DestPattern: mustCompile("^1"), SourcePattern: mustCompile("^1202"), AccountID: b.owner, MessageType: message.SMS})
	do(err)
	do(b.CreateEndpoint(b.ctx, actor, snapshot.Endpoint{ID: message.NewID(), AccountID: b.owner, URL: "https://shop.example/hooks",
		FailoverURL: "https://shop.example/spare", EventTypes: []string{"message.delivered"}, Secret: "whsec_endpoint"}))
	do(b.AddSigningKey(b.ctx, actor, snapshot.SigningKey{KID: "k1", Algorithm: "EdDSA", Secret: []byte("seed"), SignsFrom: time.Now()}))
	do(b.CreateSMPPCredential(b.ctx, actor, snapshot.SMPPCredential{ID: message.NewID(), AccountID: b.owner, SystemID: "acme", PasswordHash: "$2a$10$hash",
		Enabled: true, ReceiptTLVs: true}))
	s, err := b.LoadSnapshot(b.ctx)
	do(err)
	return s
}

// AllMessages lists messages of all accounts, or of the filter's, as far as it takes.
func (b *bundle) AllMessages(ctx context.Context, f message.Filter, before message.ID, limit int) ([]*message.Message, error) {
	found, err := b.SearchAllMessages(ctx, message.Search{Filter: f, Before: before, Limit: limit})
	return found.Messages, err
}

// listQuery is the search of an account, or of all, in one slice.
func listQuery(account message.ID, f message.Filter, before message.ID, limit int) (string, []any) {
	f.AccountID = account
	return searchQuery(f, spanOf(f).below(before), limit)
}
