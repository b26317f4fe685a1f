package smpp

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postrider/postrider/edges/ingress"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/smpp"
	"github.com/postrider/postrider/internal/snapshot"
)

// crowd is a whole server: listeners, sessions, the real ingress and the
// deliverer. Only its journal is in memory. A message that asks for a receipt
// is owed it as soon as it is stored.
type crowd struct {
	*Server
	t       testing.TB
	events  *serverEvents // binds, connections, the audit log, rows taken out
	logged  *serverLog
	store   *crowdStore
	journal *crowdJournal
	config  *snapshot.Snapshot
}

// crowdJournal has the binds of one fake, the deliveries of another and the
// answers of a third.
type crowdJournal struct {
	*serverJournal
	deliveries *deliverJournal
	answers    reqJournal
	// hurry repeats a delivery at once instead of after its gap, for tests that
	// have no fake clock.
	hurry bool
}

func (j *crowdJournal) ClaimDeliveries(ctx context.Context, instance string, wanted map[message.ID]int, lease time.Duration) ([]message.SMPPDelivery, error) {
	return j.deliveries.ClaimDeliveries(ctx, instance, wanted, lease)
}

func (j *crowdJournal) Delivered(ctx context.Context, instance string, tries []message.SMPPDelivered) error {
	if j.hurry {
		tries = slices.Clone(tries)
		for i := range tries {
			tries[i].Again = min(tries[i].Again, time.Nanosecond)
		}
	}
	return j.deliveries.Delivered(ctx, instance, tries)
}

func (j *crowdJournal) Answered(ctx context.Context, credential message.ID, id string) ([]message.Message, []message.SMPPOrigin, error) {
	return j.answers.Answered(ctx, credential, id)
}

func (j *crowdJournal) Between(ctx context.Context, credential message.ID, source, dest message.SMPPAddress, limit int) ([]message.ID, error) {
	return j.answers.Between(ctx, credential, source, dest, limit)
}

func (j *crowdJournal) ReleaseDeliveries(ctx context.Context, instance string, ids []message.ID) error {
	return j.deliveries.ReleaseDeliveries(ctx, instance, ids)
}

// crowdStore is the journal behind ingress.
type crowdStore struct {
	*reqStore
	owe   func(message.Acceptance)
	flood atomic.Int64 // messages with the text floodText, which are not kept
}

const floodText = "one of very many"

func (j *crowdStore) floodTaken() int { return int(j.flood.Load()) }

// Enter is Accept in two halves.
func (j *crowdStore) Enter(a message.Acceptance) func(context.Context) (message.Accepted, error) {
	return func(ctx context.Context) (message.Accepted, error) { return j.Accept(ctx, a) }
}

func (j *crowdStore) Accept(ctx context.Context, a message.Acceptance) (message.Accepted, error) {
	if a.Message.Body == floodText {
		j.flood.Add(1)
		return message.Accepted{}, nil
	}
	out, err := j.reqStore.Accept(ctx, a)
	if err == nil && out.Replay == nil && a.Origin != nil && a.Origin.Registered != 0 && a.Message.Status == message.StatusAccepted {
		j.owe(a)
	}
	return out, err
}

// newCrowd makes a server with the credentials of these system_ids, all of one
// account and with serverPassword. Nothing listens yet.
func newCrowd(t testing.TB, systemIDs ...string) *crowd {
	t.Helper()
	e := newServerEvents()
	w := &crowd{t: t, events: e, logged: &serverLog{}}
	w.journal = &crowdJournal{serverJournal: &serverJournal{events: e, rows: map[message.ID]message.SMPPBind{}}, deliveries: &deliverJournal{}}
	account := &snapshot.Account{ID: message.NewID(), Status: snapshot.AccountActive, DefaultClass: message.ClassBulk, Delivery: message.AtMostOnce, MaxParts: 10, DefaultCountry: "US"}
	campaign, vendor := message.NewID(), message.NewID()
	w.config = &snapshot.Snapshot{
		Version:         1,
		Accounts:        map[message.ID]*snapshot.Account{account.ID: account},
		Campaigns:       map[message.ID]*snapshot.Campaign{campaign: {ID: campaign, AccountID: account.ID, CampaignID: "C1", Status: snapshot.CampaignActive}},
		Numbers:         map[message.Address]*snapshot.Number{"+12025550143": {Number: "+12025550143", AccountID: account.ID, SMSEnabled: true, Campaign: campaign}},
		Vendors:         map[message.ID]*snapshot.Vendor{vendor: {ID: vendor, Name: "v", Active: true, SupportsUnicode: true, SupportsAlphanumeric: true}},
		Routes:          []snapshot.Route{{ID: 1, VendorID: vendor}},
		SMPPCredentials: map[string]*snapshot.SMPPCredential{},
	}
	for _, id := range systemIDs {
		w.config.SMPPCredentials[id] = &snapshot.SMPPCredential{
			ID: message.NewID(), AccountID: account.ID, SystemID: id, PasswordHash: serverHash, Enabled: true, MaxBinds: 10000, Throughput: 1 << 20, Window: 10,
			Receiver: true, Transmitter: true, Transceiver: true, ReceiptTLVs: true, MOLifetime: time.Hour,
		}
	}
	w.config.Index()
	current := func() *snapshot.Snapshot { return w.config }
	w.store = &crowdStore{reqStore: &reqStore{keys: map[string]message.Idempotency{}}, owe: w.oweReceipt}
	in := &ingress.Ingress{Journal: w.store, NoStarts: true, Log: slog.New(slog.DiscardHandler), Now: time.Now, Snapshot: current}
	w.Server = &Server{
		Ingress: &reqIngress{Ingress: in, refuse: map[message.ID]error{}}, Journal: w.journal, Snapshot: current, Instance: "here",
		Log: slog.New(slog.NewTextHandler(w.logged, nil)), MaxPerAddress: 10000, ConnectRate: 1 << 20,
		Metrics: Metrics{
			Connections: func(d int) { e.add("connections %+d", d) },
			Binds:       func(id string, d int) { e.add("binds %s %+d", id, d) },
		},
	}
	return w
}

func (w *crowd) credential(systemID string) *snapshot.SMPPCredential {
	return w.config.SMPPCredentials[systemID]
}

// oweReceipt enters the receipt of a message that was stored.
func (w *crowd) oweReceipt(a message.Acceptance) {
	c := w.config.SMPPCredentialByID(a.Origin.CredentialID)
	d := deliverReceipt(c)
	d.Message.ID, d.Message.Body, d.Message.From, d.Message.To = a.Message.ID, a.Message.Body, a.Message.From, a.Message.To
	d.Origin = *a.Origin
	w.owe(d)
}

// owe enters deliveries and tells the deliverer.
func (w *crowd) owe(ds ...message.SMPPDelivery) []*deliverRow {
	rows := w.journal.deliveries.add(ds...)
	w.Poke()
	return rows
}

// listen serves on a loopback port until the test ends; with TLS when the
// server has a configuration for it.
func (w *crowd) listen() string {
	w.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	w.serve(l)
	return l.Addr().String()
}

func (w *crowd) serve(l net.Listener) {
	served := make(chan error, 1)
	serve := w.Serve
	if w.TLS != nil {
		serve = w.ServeTLS
	}
	go func() { served <- serve(l) }()
	w.t.Cleanup(func() {
		if err := w.Shutdown(context.Background()); err != nil {
			w.t.Errorf("shutdown: %v", err)
		}
		if err := <-served; err != nil {
			w.t.Errorf("serve: %v", err)
		}
		if rows := w.journal.row(); len(rows) > 0 {
			w.t.Errorf("%d binds were left in the registry", len(rows))
		}
		w.journal.deliveries.mu.Lock()
		defer w.journal.deliveries.mu.Unlock()
		for _, wrong := range w.journal.deliveries.wrong {
			w.t.Error(wrong)
		}
	})
}

// crowdESME is a customer that answers all it gets, unless told otherwise.
type crowdESME struct {
	w       *crowd
	session *smpp.Session

	mu      sync.Mutex
	got     map[string][]string // texts of deliver_sm by receipted_message_id
	order   []string            // the ids as they came
	changed chan struct{}       // closed and replaced when one comes
}

// crowdBind is how an ESME binds.
type crowdBind struct {
	systemID string
	mode     smpp.Mode // ModeNone: transceiver
	address  string
	dial     func(ctx context.Context, network, address string) (net.Conn, error)
	tls      *tls.Config
	mute     bool // leaves deliver_sm without an answer
}

func (w *crowd) bind(o crowdBind) *crowdESME {
	w.t.Helper()
	e := &crowdESME{w: w, got: map[string][]string{}, changed: make(chan struct{})}
	if o.mode == smpp.ModeNone {
		o.mode = smpp.ModeTransceiver
	}
	var err error
	e.session, err = smpp.Dial(context.Background(), smpp.DialConfig{
		Config:  smpp.Config{Handler: smpp.HandlerFunc(func(r *smpp.Request) { e.handle(r, o.mute) }), Window: 100, Inbound: 1000, EnquireLink: -1},
		Address: o.address, DialContext: o.dial, TLS: o.tls,
		Bind: smpp.Bind{Mode: o.mode, SystemID: o.systemID, Password: serverPassword},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		e.session.Close()
		e.session.Wait()
	})
	return e
}

func (e *crowdESME) handle(r *smpp.Request, mute bool) {
	m := deliverOf(r)
	id, _ := m.TLVs.Text(smpp.TagReceiptedMessageID)
	e.mu.Lock()
	e.got[id] = append(e.got[id], string(m.ShortMessage))
	e.order = append(e.order, id)
	close(e.changed)
	e.changed = make(chan struct{})
	e.mu.Unlock()
	if mute {
		_ = r.Ignore()
		return
	}
	_ = r.Respond(smpp.StatusOK, nil)
}

// await waits until the ESME has got what is wanted; ok runs under its lock.
func (e *crowdESME) await(ok func() bool) {
	for {
		e.mu.Lock()
		if ok() {
			e.mu.Unlock()
			return
		}
		ch := e.changed
		e.mu.Unlock()
		<-ch
	}
}

// received waits for so many deliver_sm and gives the ids of all.
func (e *crowdESME) received(n int) []string {
	e.await(func() bool { return len(e.order) >= n })
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.order)
}

// submit sends a message that asks for a receipt and gives its message_id.
func (e *crowdESME) submit(body string) string {
	e.w.t.Helper()
	resp, err := e.session.Submit(context.Background(), reqText(func(m *smpp.Message) { m.ShortMessage = []byte(body) }))
	if err != nil {
		e.w.t.Errorf("submit: %v", err)
		return ""
	}
	return resp.MessageID
}

// trade submits n messages one after the other and waits for all their
// receipts.
func (e *crowdESME) trade(n int) {
	e.w.t.Helper()
	ids := make([]string, 0, n)
	for i := range n {
		ids = append(ids, e.submit(fmt.Sprintf("message %d", i)))
	}
	e.await(func() bool {
		for _, id := range ids {
			if len(e.got[id]) == 0 {
				return false
			}
		}
		return true
	})
}
