// Package compattest serves a door for its tests: the REST edge on a loopback socket, over
// an ingress and a journal in memory. It is imported by tests alone.
package compattest

import (
	"bytes"
	"context"
	"log/slog"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/postrider/postrider/edges/ingress"
	"github.com/postrider/postrider/edges/rest"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// The accounts, with a key each; A has a second one that may only read, and an ESME.
var (
	A, B         = message.NewID(), message.NewID()
	KeyA, KeyB   = message.NewID(), message.NewID()
	ReadOnly     = message.NewID()
	Began        = time.Date(2026, 11, 21, 20, 15, 4, 310e6, time.UTC)
	SecretA      = "sk_secret-of_A"
	SecretB      = "sk_secret-of_B"
	SecretRO     = "sk_secret-RO"
	NameA, NameB = "pk_a", "pk_b"
)

// What A's ESME binds with.
const ESME, Password = "jasmin1", "s3cret!!"

// World is a served door.
type World struct {
	t    testing.TB
	URL  string
	Log  *Log
	Edge *rest.Server

	mu      sync.Mutex
	stored  []*message.Message
	asked   []ingress.Request
	answers map[string]message.Idempotency
	refuse  func(ingress.Request) error
	config  *snapshot.Snapshot
	prepaid bool
	stops   bool
}

// Serve starts it.
func Serve(t testing.TB, doors ...rest.Door) *World {
	t.Helper()
	w := &World{t: t, Log: &Log{}, answers: map[string]message.Idempotency{}, config: configuration(t)}
	w.Edge = &rest.Server{
		Ingress: w, Journal: w, Secrets: secrets{}, Doors: doors, Media: noMedia{}, FailedPerMinute: 10_000,
		Snapshot: func() *snapshot.Snapshot { w.mu.Lock(); defer w.mu.Unlock(); return w.config },
		Now:      func() time.Time { return Began },
		Log:      slog.New(slog.NewTextHandler(w.Log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	server := httptest.NewServer(w.Edge.Handler())
	t.Cleanup(server.Close)
	w.URL = server.URL
	return w
}

func configuration(t testing.TB) *snapshot.Snapshot {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(Password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	all := []string{"messages:write", "messages:read", "usage:read"}
	s := &snapshot.Snapshot{
		Version: 1,
		Accounts: map[message.ID]*snapshot.Account{
			A: {ID: A, Status: snapshot.AccountActive, APIRateLimit: 100_000, CompanyName: "A"},
			B: {ID: B, Status: snapshot.AccountActive, APIRateLimit: 100_000, CompanyName: "B"},
		},
		Credentials: map[string]*snapshot.Credential{
			NameA:   {ID: KeyA, AccountID: A, Key: NameA, SecretHash: []byte("hash of " + SecretA), Scopes: all},
			NameB:   {ID: KeyB, AccountID: B, Key: NameB, SecretHash: []byte("hash of " + SecretB), Scopes: all},
			"pk_ro": {ID: ReadOnly, AccountID: A, Key: "pk_ro", SecretHash: []byte("hash of " + SecretRO), Scopes: []string{"messages:read"}},
		},
		SMPPCredentials: map[string]*snapshot.SMPPCredential{
			ESME: {ID: message.NewID(), AccountID: A, SystemID: ESME, PasswordHash: string(hash), Enabled: true, Throughput: 1000, Transceiver: true},
		},
	}
	s.Index()
	return s
}

// Configure publishes a changed configuration.
func (w *World) Configure(change func(*snapshot.Snapshot)) {
	s := configuration(w.t)
	change(s)
	s.Index()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.config = s
}

// Refuse makes ingress refuse what it gives an error for; nil: nothing.
func (w *World) Refuse(of func(ingress.Request) error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.refuse = of
}

// Prepaid makes the accounts pay in advance.
func (w *World) Prepaid() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.prepaid = true
}

// Asked is what ingress was asked last; false: nothing yet.
func (w *World) Asked() (ingress.Request, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.asked) == 0 {
		return ingress.Request{}, false
	}
	return w.asked[len(w.asked)-1], true
}

// Stored is how many messages there are.
func (w *World) Stored() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.stored)
}

// Change changes a stored message.
func (w *World) Change(id message.ID, change func(*message.Message)) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range w.stored {
		if m.ID == id {
			change(m)
			return
		}
	}
	w.t.Fatalf("no message %s", id)
}

// Accept stores as ingress does: the answer of a key beside the message.
func (w *World) Accept(_ context.Context, r ingress.Request) (ingress.Outcome, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked = append(w.asked, r)
	m := &message.Message{ID: message.NewID(), AccountID: r.AccountID, Direction: message.Outbound, Kind: message.SMS, Status: message.StatusAccepted,
		Body: r.Body, Encoding: message.EncodingGSM7, Segments: 1 + len(r.Body)/154, SendAt: r.SendAt, WebhookURL: r.WebhookURL, Callback: r.Callback,
		Price: message.Price{Amount: 4500, Currency: "USD", Estimated: true}, CreatedAt: Began, UpdatedAt: Began, Media: r.Media}
	m.Price.Amount *= message.Micros(m.Segments)
	if len(r.Media) > 0 || r.MMS {
		m.Kind = message.MMS
	}
	var err error
	if m.To, err = message.ParseRecipient(r.To); err != nil {
		return ingress.Outcome{}, field(err, "body.to")
	}
	if m.From, err = message.ParseSender(r.From); err != nil {
		return ingress.Outcome{}, field(err, "body.from")
	}
	if r.Key != nil {
		if first, ok := w.answers[r.AccountID.String()+r.Key.Operation+r.Key.Value]; ok {
			if first.BodyHash != r.Key.BodyHash {
				return ingress.Outcome{}, message.Refuse(message.ReasonIdempotencyMismatch, "another body")
			}
			return ingress.Outcome{Replay: &first}, nil
		}
	}
	if w.refuse != nil {
		if err := w.refuse(r); err != nil {
			return ingress.Outcome{}, err
		}
	}
	if r.DryRun {
		return ingress.Outcome{Message: m}, nil
	}
	if r.Key != nil {
		status, body, err := r.Key.Render(m, nil)
		if err != nil {
			return ingress.Outcome{}, err
		}
		w.answers[r.AccountID.String()+r.Key.Operation+r.Key.Value] = message.Idempotency{AccountID: r.AccountID, Operation: r.Key.Operation, Key: r.Key.Value,
			BodyHash: r.Key.BodyHash, Status: status, Response: bytes.Clone(body)}
	}
	w.stored = append(w.stored, m)
	return ingress.Outcome{Message: m}, nil
}

func field(err error, location string) error {
	e := message.AsError(err)
	return &message.Error{Reason: e.Reason, Detail: e.Detail, Fields: []message.FieldError{{Location: location, Message: e.Detail}}}
}

// Revise is not for doors.
func (w *World) Revise(context.Context, ingress.Revision) (*message.Message, error) {
	return nil, message.Refuse(message.ReasonConflict, "no door revises")
}

// Cancel withdraws.
func (w *World) Cancel(_ context.Context, id message.ID) error {
	w.Change(id, func(m *message.Message) { m.Status = message.StatusCanceled })
	return nil
}

// AccountMessage reads a message of the account.
func (w *World) AccountMessage(_ context.Context, account, id message.ID) (*message.Message, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range w.stored {
		if m.ID == id && m.AccountID == account {
			read := *m
			return &read, nil
		}
	}
	return nil, message.Refuse(message.ReasonNotFound, "no message %s", id)
}

// Stop has each search of messages stop after one that does not fit.
func (w *World) Stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stops = true
}

// SearchMessages lists those of the account, newest first.
func (w *World) SearchMessages(_ context.Context, account message.ID, s message.Search) (found message.Found, _ error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f := s.Filter
	for _, m := range slices.Backward(w.stored) {
		if m.AccountID != account || s.Before != (message.ID{}) && bytes.Compare(m.ID[:], s.Before[:]) >= 0 || f.To != "" && f.To != m.To || f.From != "" && f.From != m.From ||
			!f.CreatedAfter.IsZero() && !m.CreatedAt.After(f.CreatedAfter) || !f.CreatedBefore.IsZero() && !m.CreatedAt.Before(f.CreatedBefore) {
			if w.stops && (s.Before == (message.ID{}) || bytes.Compare(m.ID[:], s.Before[:]) < 0) {
				found.Next, found.Until = m.ID, m.CreatedAt
				break
			}
			continue
		}
		if len(found.Messages) == s.Limit {
			found.Next = found.Messages[s.Limit-1].ID
			break
		}
		found.Messages = append(found.Messages, m)
	}
	return found, nil
}

// FirstAnswer finds the answer of a key.
func (w *World) FirstAnswer(_ context.Context, k message.Idempotency) (*message.Idempotency, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	first, ok := w.answers[k.AccountID.String()+k.Operation+k.Key]
	if !ok || first.BodyHash != k.BodyHash {
		return nil, nil
	}
	return &first, nil
}

// Balance is 12.5 with 0.5 reserved.
func (w *World) Balance(context.Context, message.ID) (message.Balance, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return message.Balance{Prepaid: w.prepaid, Amount: 12_500_000, Reserved: 500_000, Currency: "USD"}, nil
}

// Events, KeepAnswer and what follows are not for doors.
func (w *World) Events(context.Context, message.ID, int, int) ([]message.Event, error) {
	return nil, nil
}

// KeepAnswer is not for doors.
func (w *World) KeepAnswer(context.Context, message.Idempotency) (*message.Idempotency, error) {
	return nil, nil
}

// Limits is not for doors.
func (w *World) Limits(context.Context, message.ID, time.Time) ([]message.Usage, error) {
	return nil, nil
}

// BalanceEntries is not for doors.
func (w *World) BalanceEntries(context.Context, message.ID, int64, int) ([]message.BalanceEntry, error) {
	return nil, nil
}

// UsageReport is not for doors.
func (w *World) UsageReport(context.Context, message.ID, time.Time, time.Time, message.UsageBy, int, int) ([]message.UsageRow, error) {
	return nil, nil
}

// noMedia is a store that is there, and is not asked: the files of doors have URLs.
type noMedia struct{ rest.Media }

type secrets struct{}

func (secrets) CheckSecret(secret string, hash []byte) bool {
	return len(hash) > 0 && "hash of "+secret == string(hash)
}

// Log is what was logged. It is safe for concurrent use.
type Log struct {
	mu sync.Mutex
	b  strings.Builder
}

// Write appends.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// String is all of it.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
