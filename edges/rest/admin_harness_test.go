package rest

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	commonpb "go.temporal.io/api/common/v1"
	"golang.org/x/crypto/bcrypt"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/postrider/postrider/activities/record"
	"github.com/postrider/postrider/edges/ingress"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/postgres"
	"github.com/postrider/postrider/internal/registry/registrytest"
	"github.com/postrider/postrider/internal/secret"
	"github.com/postrider/postrider/internal/snapshot"
	"github.com/postrider/postrider/internal/stack/stacktest"
	"github.com/postrider/postrider/migrations"
)

func TestMain(m *testing.M) { stacktest.Main(m, everyOperationAnswered) }

var migrated = stacktest.NewTemplate(func(ctx context.Context, dsn string) error {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	_, err = migrations.Apply(ctx, conn)
	if cerr := conn.Close(ctx); err == nil {
		err = cerr
	}
	return err
})

// office is a server with its internal API on a real database, one member of staff
// of each role, one service and one customer.
type office struct {
	*bundle
	db       *postgres.DB
	conn     *pgx.Conn // for looking
	ctx      context.Context
	ring     *secret.Keyring
	customer message.ID
	service  snapshot.ServiceCredential
	clerk    clerk
	fake     *registrytest.Fake // what clerk files with
	secret   string             // of the service
	staff    map[snapshot.Role]snapshot.StaffMember

	mu       sync.Mutex
	config   *snapshot.Snapshot // the newest that was read
	canceled []message.ID
	cancel   error        // what Cancel gives
	told     []message.ID // whose workflows were told to look again
	tries    []try
	tokens   map[snapshot.Role]string
	links    []message.VendorLinkState // what VendorLinks gives
	queued   map[string]int            // what QueueSize gives; one that is missing cannot be asked
	says     error                     // what TestVendor gives
}

// try is what LoggedIn was told.
type try struct {
	by    message.Actor
	staff message.ID
	in    bool
}

// cheap takes no time: these tests try many passwords.
var cheap = secret.Passwords{Cost: bcrypt.MinCost, Memory: 64, Passes: 1}

const staffPassword = "correct horse battery"

var shellActor = message.Actor{Name: "root", Role: "shell"}

// open starts it; change alters the server first.
func open(t testing.TB, change func(*office)) *office {
	t.Helper()
	o := &office{ctx: stacktest.Context(t), customer: message.NewID(), staff: map[snapshot.Role]snapshot.StaffMember{}, tokens: map[snapshot.Role]string{}}
	dsn := migrated.Database(t)
	c, err := pgx.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	if o.ring, err = secret.ParseKeyring("test:" + base64.StdEncoding.EncodeToString([]byte("0123456789abcdef0123456789abcdef"))); err != nil {
		t.Fatal(err)
	}
	o.db, err = postgres.Open(o.ctx, postgres.Config{Host: c.Host, Port: int(c.Port), User: c.User, Password: c.Password, Database: c.Database,
		SSLMode: "disable", MaxConns: 6}, o.ring.Box(secret.Content))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.db.Close)
	if o.conn, err = pgx.ConnectConfig(o.ctx, c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = o.conn.Close(context.WithoutCancel(o.ctx)) })
	o.fill(t)
	o.clerk, o.fake = newClerk(t, o.db, o.ring)
	o.bundle = setup(t, func(b *bundle) {
		o.bundle = b
		b.server.Secrets = o.ring.Hasher()
		b.server.Admin = &Admin{
			Audit: o.db, Cancel: o.withdraw, Content: o.db, Customers: o.db, HashSecret: o.ring.Hasher().HashSecret, MediaProfiles: o.db, Messages: o.db, MM4Peers: o.db,
			Passwords: cheap, Reconsider: o.tell, Reviews: o.db, Services: o.db, Staff: o.db, StaffLink: o.staffLink, LoggedIn: o.loggedIn,
			SendStaffLink: func(context.Context, string, string, time.Time) error { return nil },
			Strays:        o.db, Reclaim: o.door(), Redrives: o.db,
			Resolve: o.resolve,
			OptOuts: o.db, Numbers: o.db, SMPPUsers: o.db, Sessions: o.db, Traffic: o.db, Registry: o.clerk,
			CodecOrigin: "https://temporal.gw.example", Decode: func(body []byte) ([]byte, int, error) {
				var in commonpb.Payloads
				if err := protojson.Unmarshal(body, &in); err != nil {
					return nil, 0, message.Refuse(message.ReasonInvalidRequest, "no payloads")
				}
				out, err := protojson.Marshal(&in)
				return out, 1, err
			},
			Vendors: o.db, Routes: o.db, Routing: o, Reroute: o.reroute, TestVendor: o.testVendor, QueueSize: o.queueSize, VendorLinks: o.vendorLinks,
			VendorProfiles: map[string]snapshot.Vendor{"long": {ProviderType: "smpp", LongMessage: "sar", Window: 77}},
			WorkflowURL:    func(m *message.Message) string { return "https://temporal.gw.example/" + m.ID.String() },
		}
		b.server.Snapshot = o.snapshot
		b.server.Webhooks = o.db
		if change != nil {
			change(o)
		}
	})
	return o
}

// fill puts in whoever there is.
func (o *office) fill(t testing.TB) {
	t.Helper()
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	do(o.db.CreateAccount(o.ctx, shellActor, snapshot.Account{ID: o.customer, CompanyName: "Acme", ExternalID: "acme-1", WebhookSecret: "whsec_a"}))
	do(o.db.AddSigningKey(o.ctx, shellActor, snapshot.SigningKey{KID: "one", Algorithm: "EdDSA", Secret: keyOneSeed, SignsFrom: began.AddDate(0, 0, -1)}))
	do(o.db.CreateCredential(o.ctx, shellActor, snapshot.Credential{ID: message.NewID(), AccountID: o.customer, Key: "keyA",
		SecretHash: o.ring.Hasher().HashSecret("secretA"), Scopes: []string{scopeMessagesWrite, scopeMessagesRead}}))
	hash, err := cheap.HashPassword(staffPassword)
	do(err)
	for _, role := range snapshot.Roles() {
		m, err := o.db.CreateStaff(o.ctx, shellActor, snapshot.Staff{ID: message.NewID(), Email: string(role) + "@gw.example", Name: "A " + string(role),
			Role: role, PasswordHash: hash, Active: true})
		do(err)
		o.staff[role] = m
	}
	o.secret = secret.NewAPISecret().Reveal()
	o.service = snapshot.ServiceCredential{ID: message.NewID(), Name: "billing", Key: secret.NewAPIKey(), SecretHash: o.ring.Hasher().HashSecret(o.secret),
		Scopes: []string{snapshot.ScopeServiceMessages}, Active: true}
	_, err = o.db.CreateServiceCredential(o.ctx, shellActor, o.service)
	do(err)
}

// snapshot is the configuration as it is now.
func (o *office) snapshot() *snapshot.Snapshot {
	o.mu.Lock()
	defer o.mu.Unlock()
	version, err := o.db.ConfigVersion(o.ctx)
	if err == nil && (o.config == nil || o.config.Version != version) {
		o.config, err = o.db.LoadSnapshot(o.ctx)
	}
	if err != nil && o.ctx.Err() == nil { // servers ask until they have been stopped, which is after the test
		o.t.Error(err)
	}
	return o.config
}

// staffLink makes a link that leads nowhere, of a token that is not repeated.
func (o *office) staffLink() (string, []byte) {
	token := message.NewID().String()
	return "https://gw.example/console/links/" + token, o.ring.Hasher().HashSecret(token)
}

func (o *office) withdraw(ctx context.Context, id message.ID) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.canceled = append(o.canceled, id)
	if o.cancel == nil {
		_, err := o.conn.Exec(ctx, "update messages set status = 'canceled' where id = $1", id)
		return err
	}
	return o.cancel
}

func (o *office) tell(_ context.Context, id message.ID) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.told = append(o.told, id)
	return nil
}

// resolve does what ingress does, with the record alone.
func (o *office) resolve(ctx context.Context, r ingress.Resolution) error {
	steps := record.Activities{Journal: o.db, Snapshot: o.snapshot, Now: o.clock.now}
	_, err := steps.RecordOutcome(ctx, record.Input{MessageID: r.MessageID, Staff: &record.Finding{As: r.As, Actor: r.By.Name, Note: r.Note}})
	return err
}

func (o *office) loggedIn(by message.Actor, staff message.ID, in bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.tries = append(o.tries, try{by, staff, in})
}

// login asks for an access token.
func (o *office) login(body string, with ...func(*http.Request)) *reply {
	o.t.Helper()
	return o.do("POST", loginPath, body, with...)
}

// token logs a member of staff in, once.
func (o *office) token(role snapshot.Role) string {
	o.t.Helper()
	if o.tokens[role] == "" {
		o.tokens[role] = o.fresh(`{"email":"` + string(role) + `@gw.example","password":"` + staffPassword + `"}`)
	}
	return o.tokens[role]
}

// fresh logs in and gives the token.
func (o *office) fresh(body string) string {
	o.t.Helper()
	r := o.login(body)
	if r.StatusCode != http.StatusOK {
		o.t.Fatalf("login: %d %s", r.StatusCode, r.body)
	}
	return r.json(o.t)["access_token"].(string)
}

// by authenticates as somebody of a role.
func (o *office) by(role snapshot.Role) func(*http.Request) { return bearer(o.token(role)) }

// serviceToken logs the service in.
func (o *office) serviceToken() string {
	o.t.Helper()
	return o.fresh(`{"api_key":"` + o.service.Key + `","api_secret":"` + o.secret + `"}`)
}

// count is the first column of the only row.
func (o *office) count(sql string, args ...any) int {
	o.t.Helper()
	var n int
	if err := o.conn.QueryRow(o.ctx, sql, args...).Scan(&n); err != nil {
		o.t.Fatal(err)
	}
	return n
}

// message puts one into the journal.
func (o *office) message(change func(*message.Message)) *message.Message {
	o.t.Helper()
	m := o.ingress.make(ingress.Request{From: "+12025550143", To: "+13105550117", Body: "Your parcel is on its way", Edge: edgeName})
	m.AccountID = o.customer
	// Ids are in the order of time, and this server's time is its own.
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(m.CreatedAt.UnixMilli()))
	copy(m.ID[:6], ms[2:])
	if change != nil {
		change(m)
	}
	if _, err := o.db.Accept(o.ctx, message.Acceptance{Message: m}); err != nil {
		o.t.Fatal(err)
	}
	return m
}

// audited are the lines of the audit log about a target, oldest first, as
// "actor role action address".
func (o *office) audited(target string) []string {
	o.t.Helper()
	rows, err := o.conn.Query(o.ctx, "select actor || ' ' || role || ' ' || action || ' ' || address from audit_log where target = $1 and role <> 'shell' order by id", target)
	if err != nil {
		o.t.Fatal(err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		o.t.Fatal(err)
	}
	return lines
}

// last is the newest line of the audit log.
func (o *office) last() message.AuditEntry {
	o.t.Helper()
	lines, err := o.db.AuditLog(o.ctx, message.AuditFilter{}, 0, 1)
	if err != nil || len(lines) != 1 {
		o.t.Fatal(len(lines), err)
	}
	return lines[0]
}

// fields reads a document of the audit log.
func fields(t *testing.T, doc []byte) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(doc, &m); err != nil {
		t.Fatal(err, string(doc))
	}
	return m
}
