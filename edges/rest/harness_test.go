package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postrider/postrider/edges/ingress"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

var (
	accountA = message.NewID()
	accountB = message.NewID()
	began    = time.Date(2026, 11, 21, 20, 15, 4, 310e6, time.UTC)
)

// fakeIngress accepts into memory as ingress does: it renders the answer of a
// keyed request before it stores it, and gives it again.
type fakeIngress struct {
	waits   *message.Hold // of dry runs
	mu      sync.Mutex
	calls   []ingress.Request
	stored  []*message.Message
	answers map[string]message.Idempotency
	now     func() time.Time

	// refuse decides on a request; nil accepts. record says whether the refusal
	// is kept as a message.
	refuse func(ingress.Request) (e error, record bool)
	// hold is waited for before each answer, if it is not nil.
	hold chan struct{}
	// entered gets one element for each call, if it is not nil.
	entered chan struct{}

	revisions []ingress.Revision
	withdrawn []message.ID
	stop      error // what Revise and Cancel give
}

func (f *fakeIngress) Revise(_ context.Context, r ingress.Revision) (*message.Message, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.revisions = append(f.revisions, r)
	if f.stop != nil {
		return nil, f.stop
	}
	m := f.find(r.MessageID)
	was := *m
	if r.Body != "" {
		was.Body = r.Body
	}
	if !r.SendAt.IsZero() {
		was.SendAt = r.SendAt
	}
	*m = was
	return m, nil
}

func (f *fakeIngress) Cancel(_ context.Context, id message.ID) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.withdrawn = append(f.withdrawn, id)
	if f.stop == nil {
		f.find(id).Status = message.StatusCanceled
	}
	return f.stop
}

// find is the stored message; the caller has the lock.
func (f *fakeIngress) find(id message.ID) *message.Message {
	for _, m := range f.stored {
		if m.ID == id {
			return m
		}
	}
	return nil
}

// set changes a stored message.
func (f *fakeIngress) set(t testing.TB, id string, change func(*message.Message)) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f.find(uuidOf(t, id)))
}

func (f *fakeIngress) Accept(ctx context.Context, r ingress.Request) (ingress.Outcome, error) {
	if f.entered != nil {
		f.entered <- struct{}{}
	}
	if f.hold != nil {
		select {
		case <-f.hold:
		case <-ctx.Done():
			return ingress.Outcome{}, ctx.Err()
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, r)
	if r.Key != nil {
		if first, ok := f.answers[r.AccountID.String()+r.Key.Operation+r.Key.Value]; ok {
			if first.BodyHash != r.Key.BodyHash {
				return ingress.Outcome{}, message.Refuse(message.ReasonIdempotencyMismatch, "another body")
			}
			return ingress.Outcome{Replay: &first}, nil
		}
	}
	if r.Refused != nil {
		return ingress.Outcome{}, r.Refused
	}
	m := f.make(r)
	out := ingress.Outcome{Message: m, Trail: []message.TrailEntry{
		{Rule: "sender_owned", Result: message.Pass}, {Rule: "route", Result: message.Pass, Detail: "vendor acme-1"},
	}}
	var refusal *message.Error
	if f.refuse != nil {
		if err, record := f.refuse(r); err != nil {
			if !record {
				return ingress.Outcome{Trail: out.Trail}, err
			}
			refusal = message.AsError(err)
			m.Status, m.Error = message.StatusRejected, refusal
		}
	}
	if r.DryRun {
		if refusal != nil {
			return out, refusal
		}
		out.Route, out.Candidates, out.Hold = 7, 2, f.waits
		return out, nil
	}
	if r.Key != nil {
		status, body, err := r.Key.Render(m, refusal)
		if err != nil {
			return ingress.Outcome{}, err
		}
		f.answers[r.AccountID.String()+r.Key.Operation+r.Key.Value] = message.Idempotency{
			AccountID: r.AccountID, Operation: r.Key.Operation, Key: r.Key.Value, BodyHash: r.Key.BodyHash,
			Status: status, Response: bytes.Clone(body),
		}
	}
	f.stored = append(f.stored, m)
	if refusal != nil {
		return out, refusal
	}
	return out, nil
}

func (f *fakeIngress) make(r ingress.Request) *message.Message {
	m := &message.Message{
		ID: message.NewID(), AccountID: r.AccountID, Direction: message.Outbound, Kind: message.SMS, Status: message.StatusAccepted,
		Body: r.Body, Encoding: message.EncodingGSM7, Segments: 1, Class: r.Class, Delivery: r.Delivery,
		CampaignID: "C8X2KQ1", ClientReference: r.ClientReference, Metadata: r.Metadata, Edge: r.Edge,
		RetryOf: r.RetryOf, FailuresOnly: r.FailuresOnly, Subject: r.Subject, MediaAsIs: r.MediaAsIs,
		Price: message.Price{Amount: 4500, Currency: "USD", Estimated: true}, SendAt: r.SendAt,
		CreatedAt: f.now(), UpdatedAt: f.now(),
	}
	m.From, _ = message.ParseSender(r.From)
	m.To, _ = message.ParseRecipient(r.To)
	m.ExpiresAt = m.CreatedAt.Add(max(r.Validity, time.Minute))
	return m
}

// first is the journal's side of the same store.
func (f *fakeIngress) first(k message.Idempotency) (*message.Idempotency, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	first, ok := f.answers[k.AccountID.String()+k.Operation+k.Key]
	switch {
	case !ok:
		return nil, nil
	case first.BodyHash != k.BodyHash:
		return nil, message.Refuse(message.ReasonIdempotencyMismatch, "another body")
	}
	return &first, nil
}

func (f *fakeIngress) count() (calls, stored int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.calls), len(f.stored)
}

func (f *fakeIngress) last(t *testing.T) ingress.Request {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.calls) == 0 {
		t.Fatal("ingress was not called")
	}
	return f.calls[len(f.calls)-1]
}

// fakeJournal reads what a fakeIngress has stored.
type fakeJournal struct {
	ingress *fakeIngress

	mu      sync.Mutex
	events  map[message.ID][]message.Event
	filters []message.Filter
	err     error  // of every read
	looked  func() // if not nil, called for each message of a search that does not fit
	money
}

func (j *fakeJournal) AccountMessage(_ context.Context, account, id message.ID) (*message.Message, error) {
	if j.err != nil {
		return nil, j.err
	}
	j.ingress.mu.Lock()
	defer j.ingress.mu.Unlock()
	for _, m := range j.ingress.stored {
		if m.ID == id && m.AccountID == account {
			read := *m
			return &read, nil
		}
	}
	return nil, message.Refuse(message.ReasonNotFound, "no message %s", id)
}

// SearchMessages asks after each message of the account that does not fit whether it is to
// go on.
func (j *fakeJournal) SearchMessages(_ context.Context, account message.ID, s message.Search) (found message.Found, _ error) {
	f := s.Filter
	j.mu.Lock()
	j.filters = append(j.filters, f)
	j.mu.Unlock()
	if j.err != nil {
		return found, j.err
	}
	j.ingress.mu.Lock()
	defer j.ingress.mu.Unlock()
	for _, m := range slices.Backward(j.ingress.stored) {
		switch {
		case m.AccountID != account || s.Before != (message.ID{}) && bytes.Compare(m.ID[:], s.Before[:]) >= 0:
		case len(f.Statuses) > 0 && !slices.Contains(f.Statuses, m.Status) || f.To != "" && f.To != m.To:
			if j.looked != nil {
				j.looked()
			}
			if s.Left() <= 0 {
				if found.Next = m.ID; len(found.Messages) < s.Limit {
					found.Until = m.CreatedAt
				}
				return found, nil
			}
		case len(found.Messages) == s.Limit:
			found.Next = found.Messages[s.Limit-1].ID
			return found, nil
		default:
			found.Messages = append(found.Messages, m)
		}
	}
	return found, nil
}

func (j *fakeJournal) Events(_ context.Context, id message.ID, after, limit int) ([]message.Event, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	var list []message.Event
	for _, e := range j.events[id] {
		if e.Sequence > after && len(list) < limit {
			list = append(list, e)
		}
	}
	return list, j.err
}

func (j *fakeJournal) FirstAnswer(_ context.Context, k message.Idempotency) (*message.Idempotency, error) {
	return j.ingress.first(k)
}

func (j *fakeJournal) KeepAnswer(_ context.Context, k message.Idempotency) (*message.Idempotency, error) {
	if first, err := j.ingress.first(k); first != nil || err != nil {
		return first, err
	}
	j.ingress.mu.Lock()
	defer j.ingress.mu.Unlock()
	j.ingress.answers[k.AccountID.String()+k.Operation+k.Key] = k
	return nil, nil
}

// fakeSecrets compares in the clear and counts what would cost time.
type fakeSecrets struct {
	mu     sync.Mutex
	checks int
}

func (f *fakeSecrets) CheckSecret(secret string, hash []byte) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(hash) > 0 { // without one there is nothing to compute
		f.checks++
	}
	return len(hash) > 0 && "hash of "+secret == string(hash)
}

func (f *fakeSecrets) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.checks
}

// clock is set by hand.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// lockedBuffer is a log that is written and read concurrently.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// bundle is a server on a loopback socket with its fakes.
type bundle struct {
	t       testing.TB
	server  *Server
	ingress *fakeIngress
	journal *fakeJournal
	optOuts *fakeOptOuts
	secrets *fakeSecrets
	clock   *clock
	log     *lockedBuffer
	config  *snapshot.Snapshot
	mu      sync.Mutex // guards config
	base    string
	client  *http.Client
}

// setup starts a server; change alters it first.
func setup(t testing.TB, change func(*bundle)) *bundle {
	t.Helper()
	b := &bundle{t: t, clock: &clock{at: began}, secrets: &fakeSecrets{}, log: &lockedBuffer{}, config: configuration()}
	b.ingress = &fakeIngress{answers: map[string]message.Idempotency{}, now: b.clock.now}
	b.journal = &fakeJournal{ingress: b.ingress, events: map[message.ID][]message.Event{}}
	b.optOuts = &fakeOptOuts{ingress: b.ingress, now: b.clock.now}
	b.server = &Server{
		OptOuts: b.optOuts,
		Ingress: b.ingress, Journal: b.journal, Secrets: b.secrets, Now: b.clock.now,
		Snapshot: func() *snapshot.Snapshot { b.mu.Lock(); defer b.mu.Unlock(); return b.config },
		Log:      slog.New(slog.NewTextHandler(b.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	if change != nil {
		change(b)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- b.server.Serve(l) }()
	b.base = "http://" + l.Addr().String()
	b.client = &http.Client{Transport: judged(t, &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true})}
	t.Cleanup(func() {
		b.client.CloseIdleConnections()
		if err := b.server.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return b
}

// reconfigure publishes a changed copy of the configuration.
func (b *bundle) reconfigure(change func(*snapshot.Snapshot)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := configuration()
	change(s)
	s.Index()
	b.config = s
}

var (
	keyOneSeed   = bytes.Repeat([]byte{1}, 32)
	keyTwoSeed   = bytes.Repeat([]byte{2}, 32)
	keyHMAC      = bytes.Repeat([]byte{3}, 32)
	credentialA  = message.NewID()
	credentialRO = message.NewID()
	credentialB  = message.NewID()
)

func configuration() *snapshot.Snapshot {
	s := &snapshot.Snapshot{
		Version: 1,
		Accounts: map[message.ID]*snapshot.Account{
			accountA: {ID: accountA, Status: snapshot.AccountActive, APIRateLimit: 1000, CompanyName: "A"},
			accountB: {ID: accountB, Status: snapshot.AccountActive, APIRateLimit: 1000, CompanyName: "B"},
		},
		Credentials: map[string]*snapshot.Credential{
			"keyA":  {ID: credentialA, AccountID: accountA, Key: "keyA", SecretHash: []byte("hash of secretA"), Scopes: []string{scopeMessagesWrite, scopeMessagesRead}},
			"keyRO": {ID: credentialRO, AccountID: accountA, Key: "keyRO", SecretHash: []byte("hash of secretRO"), Scopes: []string{scopeMessagesRead}},
			"keyB":  {ID: credentialB, AccountID: accountB, Key: "keyB", SecretHash: []byte("hash of secretB"), Scopes: []string{scopeMessagesWrite, scopeMessagesRead}},
		},
		SigningKeys: []snapshot.SigningKey{{KID: "one", Algorithm: "EdDSA", Secret: keyOneSeed, SignsFrom: began.Add(-time.Hour)}},
	}
	s.Index()
	return s
}

// reply is an answer with its body read.
type reply struct {
	*http.Response
	body []byte
}

func (r *reply) json(t testing.TB) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(r.body, &m); err != nil {
		t.Fatalf("%d %s: %v in %q", r.StatusCode, r.Header.Get("Content-Type"), err, r.body)
	}
	return m
}

// as authenticates by HTTP Basic.
func as(key string) func(*http.Request) {
	return func(r *http.Request) { r.SetBasicAuth(key, strings.Replace(key, "key", "secret", 1)) }
}

func bearer(token string) func(*http.Request) { return header("Authorization", "Bearer "+token) }

func header(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

func (b *bundle) do(method, path, body string, with ...func(*http.Request)) *reply {
	b.t.Helper()
	var content io.Reader
	if body != "" {
		content = strings.NewReader(body)
	}
	r, err := http.NewRequest(method, b.base+path, content)
	if err != nil {
		b.t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", jsonType)
	}
	for _, f := range with {
		f(r)
	}
	answer, err := b.client.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer answer.Body.Close()
	got, err := io.ReadAll(answer.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return &reply{answer, got}
}

const parcel = `{"from":"+12025550143","to":"+13105550117","body":"Your parcel is on its way"}`

// send accepts one message and gives its id.
func (b *bundle) send(key string) string {
	b.t.Helper()
	r := b.do("POST", "/v1/messages", parcel, as(key))
	if r.StatusCode != http.StatusAccepted {
		b.t.Fatalf("send: %d %s", r.StatusCode, r.body)
	}
	return r.json(b.t)["id"].(string)
}

// wantProblem checks the shape that every refusal has.
func wantProblem(t testing.TB, r *reply, status int, code message.Reason) map[string]any {
	t.Helper()
	if r.StatusCode != status {
		t.Fatalf("status %d, want %d: %s", r.StatusCode, status, r.body)
	}
	if ct := r.Header.Get("Content-Type"); ct != problemType {
		t.Fatalf("content type %q", ct)
	}
	p := r.json(t)
	for name, want := range map[string]any{
		"type": "/docs/errors/" + string(code), "title": code.Entry().Title, "status": float64(status), "code": string(code),
		"class": string(code.Class()), "request_id": r.Header.Get("X-Request-Id"),
	} {
		if p[name] != want {
			t.Fatalf("%s is %v, want %v: %s", name, p[name], want, r.body)
		}
	}
	if d, _ := p["detail"].(string); d == "" {
		t.Fatalf("no detail: %s", r.body)
	}
	return p
}

func prefixes(s ...string) []netip.Prefix {
	var list []netip.Prefix
	for _, p := range s {
		list = append(list, netip.MustParsePrefix(p))
	}
	return list
}

// leakyJournal forgets to ask whose message it is.
type leakyJournal struct{ *fakeJournal }

func (j *leakyJournal) AccountMessage(ctx context.Context, _, id message.ID) (*message.Message, error) {
	return j.fakeJournal.AccountMessage(ctx, accountA, id)
}

func uuidOf(t testing.TB, s string) message.ID {
	t.Helper()
	id, err := message.ParseID(s)
	if err != nil {
		t.Fatal(err)
	}
	return id
}
