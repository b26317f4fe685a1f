package rest

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/go-chi/chi/v5"

	"github.com/postrider/postrider/edges/ingress"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// Door is the interface of another gateway, served beside this edge's own: paths and words
// are the other's, and who may do what, rates, idempotency and the record are ours.
type Door interface {
	// Mount registers its paths. Every operation asks the desk who its guest is before it
	// does anything for him.
	Mount(r chi.Router, d *Desk)
}

// Desk is where doors are served. It is safe for concurrent use.
type Desk struct {
	s         *Server
	byAccount atomic.Pointer[accountKeys]
	esmes     esmePasswords
}

// accountKeys are the credentials of each account in one configuration.
type accountKeys struct {
	of   *snapshot.Snapshot
	keys map[message.ID][]*snapshot.Credential
}

// Named gives a path its name in the measurements.
func (d *Desk) Named(operation string, h http.HandlerFunc) http.HandlerFunc {
	return named(operation, h)
}

// Context bounds the work for a request. What has begun is finished, whether or not the
// client still listens.
func (d *Desk) Context(r *http.Request) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(r.Context()), d.s.answerTimeout())
}

// Now is the time by the edge's clock.
func (d *Desk) Now() time.Time { return d.s.now() }

// Snapshot is the configuration; nil: it is not read yet, and nobody is admitted.
func (d *Desk) Snapshot() *snapshot.Snapshot { return d.s.Snapshot() }

// MediaURL is where anybody who has it finds a file.
func (d *Desk) MediaURL(f message.MediaFile) string { return d.s.mediaURL(f) }

// Credentials are those of an account.
func (d *Desk) Credentials(account message.ID) []*snapshot.Credential {
	snap := d.s.Snapshot()
	if snap == nil {
		return nil
	}
	index := d.byAccount.Load()
	if index == nil || index.of != snap {
		index = &accountKeys{of: snap, keys: make(map[message.ID][]*snapshot.Credential)}
		for _, c := range snap.Credentials {
			index.keys[c.AccountID] = append(index.keys[c.AccountID], c)
		}
		d.byAccount.Store(index)
	}
	return index.keys[account]
}

// CheckURL says whether a customer may name the URL of a webhook or of a file; nil: he may.
// The error is for him to read.
func (d *Desk) CheckURL(raw string) error {
	checked := decoder{}
	checked.url("url", raw, d.s.checkURL())
	if len(checked.list) == 0 {
		return nil
	}
	return errors.New(checked.list[0].Message)
}

// Text reports whether a text can be stored and shown: UTF-8 without control characters but
// those that end lines and columns.
func Text(s string) bool {
	_, at := control(s, lines)
	return at < 0 && utf8.ValidString(s)
}

// Refusal is an error as a door says it in its own words.
type Refusal struct {
	Status     int // as the catalogue has it
	Reason     message.Reason
	Detail     string
	Fields     []message.FieldError // named as those of POST /v1/messages
	RetryAfter time.Duration        // 0: nothing is known
}

// Refusal explains an error, and logs it if it is our fault.
func (d *Desk) Refusal(r *http.Request, err error) Refusal {
	p := d.s.problem(exchangeOf(r.Context()), late(r.Context(), err), 0)
	out := Refusal{Status: p.Status, Reason: message.Reason(p.Code), Detail: p.Detail, RetryAfter: p.retryAfter}
	for _, f := range p.Errors {
		out.Fields = append(out.Fields, message.FieldError{Location: f.Location, Message: f.Message})
	}
	return out
}

// Seconds writes how long to wait, rounded up.
func (r Refusal) Seconds() string { return seconds(r.RetryAfter) }

// Guest is who makes a request at a door, once he has proved it.
type Guest struct {
	s *Server
	x *exchange
}

// Admit lets in who has the secret of one of the credentials. None, and a wrong secret, take
// their time and count against the address, as at the edge itself.
func (d *Desk) Admit(r *http.Request, candidates []*snapshot.Credential, secret string) (*Guest, error) {
	s, x, now := d.s, exchangeOf(r.Context()), d.s.now()
	snap := s.Snapshot()
	if snap == nil {
		return nil, message.Because(message.ReasonUnavailable, errNoSnapshot, "the gateway is starting; repeat the request")
	}
	if err := s.holdBack(x, now); err != nil {
		return nil, err
	}
	if len(candidates) == 0 {
		candidates = []*snapshot.Credential{nil}
	}
	if len(secret) > maxSecret {
		candidates = nil
	}
	for _, c := range candidates[:min(len(candidates), maxCandidates)] {
		if !s.checkSecret(snap, c, secret, now) {
			continue
		}
		who, err := s.admit(x, snap, c, now)
		if err != nil {
			return nil, err
		}
		who.scopes = c.Scopes
		x.caller = who
		return &Guest{s, x}, nil
	}
	s.failed(x, now)
	return nil, message.Refuse(message.ReasonUnauthenticated, "the credential is not valid")
}

// maxCandidates bounds what one request can make us compute: an account has no more keys.
const maxCandidates = maxCredentials

// Account is the guest's.
func (g *Guest) Account() *snapshot.Account { return g.x.caller.account }

// Read lets the guest read what needs the scope, at the rate of the account's requests.
func (g *Guest) Read(scope string) error { return g.pass(access{scope: scope, rate: asRequest}) }

// Write lets the guest send a message, if its rates have room for one.
func (g *Guest) Write() error { return g.pass(access{scope: scopeMessagesWrite, rate: asMessage}) }

// Change lets the guest change a message.
func (g *Guest) Change() error { return g.pass(access{scope: scopeMessagesWrite, rate: asRequest}) }

func (g *Guest) pass(a access) error {
	if err := g.s.count(g.x, a.rate, g.s.now()); err != nil {
		return err
	}
	return g.x.caller.refuses(a)
}

// Request is the beginning of a new message of the guest's.
func (g *Guest) Request() ingress.Request {
	return ingress.Request{AccountID: g.x.caller.account.ID, Credential: g.x.caller.credential, Edge: edgeName, TraceParent: traceParent(g.x.request)}
}

// Key reads the Idempotency-Key of a request; nil: there is none. operation is what it
// belongs to, beside the account.
func (g *Guest) Key(operation string, body []byte, render func(*message.Message, *message.Error) (int, []byte, error)) (*ingress.Key, error) {
	key, err := g.s.idempotencyKey(g.x, body)
	if key != nil {
		key.Operation, key.Render = operation, render
	}
	return key, err
}

// Send takes a message, or with DryRun only tells what would become of it, after Write. A
// nil error means that it is on disk, now or since its key was first seen (Replay).
func (g *Guest) Send(ctx context.Context, r ingress.Request) (ingress.Outcome, error) {
	if len(r.Media) > 0 && g.s.Media == nil {
		return ingress.Outcome{}, message.Refuse(message.ReasonUnavailable, "this process has no media store, and takes no messages with media")
	}
	if err := g.s.takeMessage(g.x, &r); err != nil {
		return ingress.Outcome{}, err
	}
	r.MediaAsIs = len(r.Media) > 0 && g.x.caller.account.MediaTranscoding == mediaBypass
	out, err := g.s.Ingress.Accept(ctx, r)
	if err == nil || out.Message != nil || !lasting(err) {
		return out, late(ctx, err)
	}
	first, ferr := g.First(ctx, r.Key)
	if ferr != nil || first != nil {
		return ingress.Outcome{Replay: first}, ferr
	}
	return out, err
}

// First is the first answer of a key; nil: it is fresh, or there is none.
func (g *Guest) First(ctx context.Context, key *ingress.Key) (*message.Idempotency, error) {
	if key == nil {
		return nil, nil
	}
	return g.s.Journal.FirstAnswer(ctx, message.Idempotency{AccountID: g.x.caller.account.ID, Operation: key.Operation, Key: key.Value, BodyHash: key.BodyHash})
}

// Message reads a message of the guest's account; another's is ReasonNotFound.
func (g *Guest) Message(ctx context.Context, id message.ID) (*message.Message, error) {
	m, err := g.s.Journal.AccountMessage(ctx, g.x.caller.account.ID, id)
	if err == nil && m.AccountID != g.x.caller.account.ID { // nothing else stands between two customers
		return nil, message.Refuse(message.ReasonNotFound, "no message %s", id)
	}
	return m, err
}

// Search looks for messages of the guest's account, newest first, for as long as other lists
// do; Left of the search does not count.
func (g *Guest) Search(ctx context.Context, s message.Search) (message.Found, error) {
	s.Limit, s.Left = min(s.Limit, maxDoorPage), g.s.within(searchTime)
	return g.s.Journal.SearchMessages(ctx, g.x.caller.account.ID, s)
}

// maxDoorPage is the most messages that one request reads.
const maxDoorPage = 200

// Withdraw cancels a message of the guest's and gives it as it is then; ReasonConflict: it
// is too late.
func (g *Guest) Withdraw(ctx context.Context, m *message.Message) (*message.Message, error) {
	return g.s.withdraw(ctx, m)
}

// Balance is what the guest's account has.
func (g *Guest) Balance(ctx context.Context) (message.Balance, error) {
	return g.s.Journal.Balance(ctx, g.x.caller.account.ID)
}

// ReadBody reads the body of a request, of 1 MiB at most.
func ReadBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, message.Refuse(message.ReasonPayloadTooLarge, "the body is larger than %d octets", maxBody)
	case err != nil:
		return nil, message.Because(message.ReasonInvalidRequest, err, "the body could not be read to its end")
	}
	return body, nil
}

// ReadForm reads a form in the body, with the fields of the query before those of the body
// if query is true.
func ReadForm(w http.ResponseWriter, r *http.Request, query bool) (url.Values, []byte, error) {
	body, err := ReadBody(w, r)
	if err != nil {
		return nil, nil, err
	}
	if err := bodyType(r, []string{formType}); err != nil && len(body) > 0 {
		return nil, nil, err
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, nil, message.Refuse(message.ReasonInvalidRequest, "the body is no form (%s)", formType)
	}
	if !query {
		return form, body, nil
	}
	all, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, nil, message.Refuse(message.ReasonInvalidRequest, "the query cannot be read: percent signs, semicolons and the like are to be escaped")
	}
	for name, values := range form {
		all[name] = append(all[name], values...)
	}
	return all, body, nil
}

// mount opens the doors.
func (s *Server) mount(r chi.Router) {
	if len(s.Doors) == 0 {
		return
	}
	desk := &Desk{s: s}
	for _, d := range s.Doors {
		d.Mount(r, desk)
	}
}
