package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.temporal.io/sdk/client"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/postgres"
	"github.com/postrider/postrider/internal/secret"
	"github.com/postrider/postrider/internal/stack/stacktest"
	"github.com/postrider/postrider/workflows"
)

// court is a judge over rows, destinations and workflows that a test writes by hand.
type court struct {
	*Judge
	tb    testing.TB
	shell *pgx.Conn
	rows  []map[string]any // of GET /destinations
}

func convene(t *testing.T) *court {
	t.Helper()
	ctx := stacktest.Context(t)
	dsn := stacktest.Database(t)
	parsed, err := pgx.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	cfg := postgres.Config{Host: parsed.Host, Port: int(parsed.Port), User: parsed.User, Password: parsed.Password, Database: parsed.Database, SSLMode: "disable"}
	if _, err := postgres.Migrate(ctx, cfg); err != nil {
		t.Fatal(err)
	}
	ring, err := secret.ParseKeyring("test:" + base64.StdEncoding.EncodeToString([]byte("0123456789abcdef0123456789abcdef")))
	if err != nil {
		t.Fatal(err)
	}
	db, err := postgres.Open(ctx, cfg, ring.Box(secret.Content))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	c := &court{tb: t}
	if c.shell, err = pgx.Connect(ctx, dsn); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.shell.Close(context.Background()) })
	vendor := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(c.rows) }))
	t.Cleanup(vendor.Close)
	w := &World{DB: db, Temporal: stacktest.Temporal(t), Vendors: map[string]*Vendor{vendorAcme: {Name: vendorAcme, HTTP: vendor.URL}},
		Accounts: map[string]*Account{accountPrudent: {Name: accountPrudent, ID: message.NewID(), Delivery: message.AtMostOnce}}, Customer: &Customer{}, Log: t.Logf}
	c.Judge = NewJudge(w, NewLedger())
	c.patience, c.terms = 0, 0
	t.Cleanup(c.Close)
	return c
}

// message has one accepted, put into the record as it is given, taken by the vendor so
// often, and its end told.
func (c *court) message(s message.Status, copies int, told bool) message.ID {
	c.tb.Helper()
	ctx := stacktest.Context(c.tb)
	i, _ := c.ledger.Offer(Offer{Account: accountPrudent, Hook: true})
	now := time.Now()
	m := &message.Message{ID: message.NewID(), AccountID: c.w.Accounts[accountPrudent].ID, Direction: message.Outbound, Kind: message.SMS, Status: message.StatusAccepted,
		From: "+12025550143", To: message.Address(destination(i)), Body: "x", Encoding: message.EncodingGSM7, Segments: 1, Class: message.ClassOTP, Delivery: message.AtMostOnce,
		Edge: "rest", ExpiresAt: now.Add(time.Hour), CreatedAt: now, UpdatedAt: now}
	if _, err := c.w.DB.Accept(ctx, message.Acceptance{Message: m}); err != nil {
		c.tb.Fatal(err)
	}
	c.ledger.PartAccepted(i, 0, m.ID)
	c.exec("delete from starts where message_id = $1", m.ID[:])
	if s != message.StatusQueued {
		c.exec("delete from backlog where message_id = $1", m.ID[:])
	}
	if s.Final() {
		c.exec(`insert into segments (message_id, part, attempt, vendor_id, vendor_name, instance, state) values ($1, 1, 1, $1, 'acme', 'x', 'delivered')`, m.ID[:])
	}
	c.exec("update messages set status = $2, updated_at = now() - interval '1 hour' where id = $1", m.ID[:], string(s))
	if copies > 0 {
		c.rows = append(c.rows, map[string]any{"destination": strings.TrimPrefix(destination(i), "+"), "count": copies, "parts": copies, "duplicates": copies - 1})
	}
	if told {
		c.ledger.Event(accountPrudent, destination(i), string(s), m.ID, message.NewID(), nil)
	}
	return m.ID
}

func (c *court) exec(sql string, args ...any) {
	c.tb.Helper()
	if len(args) > 0 {
		if id, ok := args[0].([]byte); ok {
			args[0] = [16]byte(id)
		}
	}
	if _, err := c.shell.Exec(stacktest.Context(c.tb), sql, args...); err != nil {
		c.tb.Fatal(err)
	}
}

// workflow begins one for a message, on a queue that nobody serves.
func (c *court) workflow(id message.ID) {
	c.tb.Helper()
	temporal, err := c.temporal()
	if err != nil {
		c.tb.Fatal(err)
	}
	if _, err := temporal.ExecuteWorkflow(c.tb.Context(), client.StartWorkflowOptions{ID: workflows.OutboundID(id), TaskQueue: "nobody"}, workflows.OutboundType); err != nil {
		c.tb.Fatal(err)
	}
}

func (c *court) want(v Verdict, err error, wrong ...string) {
	c.tb.Helper()
	if err != nil || !slices.Equal(v.Wrong(), wrong) {
		c.tb.Errorf("%v, wrong %q, want %q: %q", err, v.Wrong(), wrong, v.Details)
	}
}

func TestJudge(t *testing.T) {
	c := convene(t)
	ctx := t.Context()
	c.message(message.StatusDelivered, 1, true)
	v, err := c.Whole(ctx)
	c.want(v, err)
	if v.Accepted != 1 || v.Final != 1 {
		t.Errorf("%+v", v)
	}
	from := time.Now()

	c.message(message.StatusDelivered, 0, true)         // lost
	c.message(message.StatusDelivered, 2, true)         // doubled
	c.message(message.StatusDelivered, 1, false)        // without a webhook
	over := c.message(message.StatusDelivered, 1, true) // its workflow stays
	idle := c.message(message.StatusQueued, 0, false)   // nobody works on it
	worked := c.message(message.StatusSent, 1, false)   // somebody does
	stray := message.NewID()                            // a hold of no message
	c.exec("insert into holds (message_id, account_id, rule, since) values ($1, $1, 'x', now() - interval '1 hour')", stray[:])
	c.workflow(over)
	c.workflow(worked)
	if err := wait(ctx, patience, func() (bool, string, error) { // the list is behind
		running, err := c.running(ctx)
		return running[over] && running[worked], "", err
	}); err != nil {
		t.Fatal(err)
	}
	c.exec("insert into segments (message_id, part, attempt, vendor_id, vendor_name, instance, state) values ($1, 1, 1, $1, 'acme', 'x', 'submitted')", worked[:])
	v, err = c.Window(ctx, from, time.Now())
	c.want(v, err, "2 not at their end", "1 lost", "1 doubled", "1 without a webhook", "2 workflows that stay", "1 orphan rows")
	if v.Accepted != 6 {
		t.Errorf("the window has %d messages", v.Accepted)
	}
	for _, word := range []string{"the workflow of " + over.String(), "nobody works on " + idle.String(), "row of holds", stray.String()} {
		if !strings.Contains(strings.Join(v.Details, "\n"), word) {
			t.Errorf("the details do not say %q: %q", word, v.Details)
		}
	}
	c.ledger.Forged()
	v, err = c.Whole(ctx)
	c.want(v, err, "2 not at their end", "1 lost", "1 doubled", "1 without a webhook", "1 webhooks or receipts that belong to no message", "2 workflows that stay", "1 orphan rows")
}

func TestJudgeAfterStop(t *testing.T) {
	c := convene(t)
	ctx := t.Context()
	v, err := c.AfterStop(ctx)
	c.want(v, err)
	account, vendor := message.NewID(), message.NewID()
	c.exec("insert into smpp_binds (id, credential_id, instance, mode, tls, version, seen_at) values ($1, $1, 'gone', 'receiver', false, 52, now())", account[:])
	c.exec("insert into vendor_leases (vendor_id, slot, instance, of_slots, until) select id, 0, $2, 1, now() + interval '1 minute' from vendors where id <> $1 limit 1", vendor[:], "gone")
	v, err = c.AfterStop(ctx)
	c.want(v, err, "2 leaked leases", "1 orphan rows") // the bind's credential does not exist
}

// What a vendor says is read once and then only what has changed.
func TestReadTaken(t *testing.T) {
	var asked []string
	rows := `[{"destination":"13102200100","count":1,"parts":3},{"destination":"13102200101","count":2,"parts":2,"duplicates":1},{"destination":"13105550117","count":1}]`
	vendor := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.FormValue("since"))
		fmt.Fprint(w, rows)
	}))
	defer vendor.Close()
	j := NewJudge(&World{Vendors: map[string]*Vendor{vendorAcme: {HTTP: vendor.URL}, vendorZeta: {HTTP: vendor.URL}}}, NewLedger())
	if err := j.askVendors(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := j.copiesOf(0); got != (copies{whole: 2, parts: 6}) {
		t.Errorf("of two vendors: %+v", got)
	}
	if got := j.copiesOf(1); !got.twice(1) {
		t.Errorf("%+v", got)
	}
	rows = `[]`
	if err := j.askVendors(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := j.copiesOf(1); !got.twice(1) {
		t.Errorf("it was forgotten: %+v", got)
	}
	if asked[0] != "" || asked[1] != "" || asked[2] == "" || asked[3] == "" {
		t.Errorf("asked since %q", asked)
	}
	vendor.Close()
	if err := j.askVendors(t.Context()); err == nil {
		t.Error("a vendor that is away has nothing")
	}
}
