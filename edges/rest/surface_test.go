package rest

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/activities/record"
	"github.com/postrider/postrider/edges/ingress"
	"github.com/postrider/postrider/internal/limit"
	"github.com/postrider/postrider/internal/media"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/postgres"
	"github.com/postrider/postrider/internal/registry"
	"github.com/postrider/postrider/internal/snapshot"
)

// surface is both APIs on one real database, with everything wired that they need: no
// operation answers 503 for want of its store. Two customers have credentials of every
// scope: keyA is o.customer's, keyB is other's.
type surface struct {
	*office
	in    *ingress.Ingress
	other message.ID
}

// deaf is Temporal that has no workflow: whoever is told of something is not there.
type deaf struct{ ingress.Temporal }

func (deaf) Decided(context.Context, message.ID) error    { return errNoWorkflow }
func (deaf) Cancel(context.Context, message.ID) error     { return errNoWorkflow }
func (deaf) Revised(context.Context, message.ID) error    { return errNoWorkflow }
func (deaf) Reconsider(context.Context, message.ID) error { return errNoWorkflow }
func (deaf) Reroute(context.Context, message.ID) error    { return errNoWorkflow }
func (deaf) PostWebhook(context.Context, string, message.ID) error {
	return nil // it is in the database
}

var errNoWorkflow = message.Refuse(message.ReasonNotFound, "no workflow")

// batchesOf is the record of batches and the rules of ingress over them.
type batchesOf struct {
	*postgres.DB
	in *ingress.Ingress
}

func (b batchesOf) CheckBatch(ctx context.Context, batch *message.Batch, rows []message.BatchContent) (ingress.BatchCheck, error) {
	return b.in.CheckBatch(ctx, batch, rows)
}
func (b batchesOf) BatchRate(batch *message.Batch) int { return b.in.BatchRate(batch) }

// patient is a limiter that counts and never refuses: these tests ask much, from one
// address.
type patient struct{ *limit.Limiter }

const ample = 1 << 30

func (p patient) Take(key string, _ int, window time.Duration, now time.Time) limit.Result {
	return limit.Result{OK: true, Limit: ample, Remaining: ample}
}
func (p patient) Peek(key string, _ int, window time.Duration, now time.Time) limit.Result {
	return limit.Result{OK: true, Limit: ample, Remaining: ample}
}
func (p patient) TakeAll(asks []limit.Ask, now time.Time) []limit.Result { return p.PeekAll(asks, now) }
func (p patient) PeekAll(asks []limit.Ask, now time.Time) []limit.Result {
	all := make([]limit.Result, len(asks))
	for i := range all {
		all[i] = limit.Result{OK: true, Limit: ample, Remaining: ample}
	}
	return all
}

// openSurface starts it.
func openSurface(t testing.TB) *surface {
	t.Helper()
	s := &surface{other: message.NewID()}
	s.office = open(t, func(o *office) {
		// The context of the package's tests ends after two minutes; these ask for longer where machines are slow.
		o.ctx = t.Context()
		server := o.server
		in := &ingress.Ingress{Journal: o.db, Temporal: deaf{}, Snapshot: o.snapshot, Log: slog.New(slog.DiscardHandler), Now: o.clock.now, Currency: "USD",
			NoStarts: true, Outcome: (&record.Activities{Journal: o.db, Snapshot: o.snapshot, Now: o.clock.now}).RecordOutcome}
		s.in = in
		server.Log = slog.New(slog.NewTextHandler(o.log, &slog.HandlerOptions{Level: slog.LevelError})) // what must stay empty
		server.Limiter = patient{limit.New(0)}
		server.Accounts, server.Credentials, server.ESMEs, server.Users, server.Webhooks = o.db, o.db, o.db, o.db, o.db
		server.Journal, server.Inbound, server.OptOuts, server.Feed, server.Batches = o.db, o.db, o.db, o.db, batchesOf{o.db, in}
		server.Registry = registrarOf{&registry.Registrar{Store: o.db}, o.db}
		server.HashSecret = o.ring.Hasher().HashSecret
		server.Invite = func(context.Context, Invitation) error { return nil }
		server.TestEndpoint = func(ctx context.Context, account, id message.ID) (message.WebhookTested, error) {
			_, err := o.db.WebhookEndpoint(ctx, account, id)
			return message.WebhookTested{DeliveryID: message.NewID(), EventID: message.NewID(), HTTPStatus: 200}, err
		}
		server.TestInbound = func(context.Context, message.ID, message.Address) []message.DestinationTest { return nil }
		store, err := media.Open(t.Context(), t.TempDir(), media.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = store.Close() })
		server.Media, server.PublicURL = &media.Library{Store: store, Records: o.db}, "https://gw.example"
		server.Ingress = in
		server.Admin.Cancel, server.Admin.Resolve, server.Admin.Reconsider = in.Cancel, in.Resolve, in.Reconsider
	})
	aboutRoute("")(s.office) // so that messages go somewhere
	for _, n := range []struct {
		number message.Address
		of     message.ID
	}{{"+12025550143", s.customer}, {"+12025550199", s.other}} {
		if n.of == s.other {
			s.must(s.db.CreateAccount(s.ctx, shellActor, snapshot.Account{ID: s.other, CompanyName: "B", WebhookSecret: "whsec_b"}))
		}
		s.must(s.db.CreateNumber(s.ctx, shellActor, snapshot.Number{Number: n.number, AccountID: n.of, Type: snapshot.TollFree, Verification: "approved", SMSEnabled: true, MMSEnabled: true}))
	}
	s.credential("keyB", s.other)
	_, err := s.conn.Exec(s.ctx, "update api_credentials set scopes = $1 where key = 'keyA'", grantable())
	s.must(err)
	return s
}

func (s *surface) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// credential makes one of every scope, whose secret follows from its key as in as.
func (s *surface) credential(key string, account message.ID) message.ID {
	s.t.Helper()
	id := message.NewID()
	s.must(s.db.CreateCredential(s.ctx, shellActor, snapshot.Credential{ID: id, AccountID: account, Key: key,
		SecretHash: s.ring.Hasher().HashSecret(strings.Replace(key, "key", "secret", 1)), Scopes: grantable()}))
	return id
}

// asked is an operation as its document describes it.
type asked struct {
	name, method, path string
	internal           bool
	scopes             []string // of the public API one; of the internal one roles, or a service's scope; none: anybody may
	query              []string
	names              []string // in the path
	kinds              []string // of bodies; none: it takes none
	schema             map[string]any
	doc                spec
}

// everyOperation lists those of both documents, in a fixed order.
func everyOperation(t testing.TB) []asked {
	t.Helper()
	var all []asked
	for i, doc := range []spec{document(t), adminDocument(t)} {
		for path, item := range doc.at("paths").(map[string]any) {
			for method, op := range item.(map[string]any) {
				all = append(all, askedOf(doc, i == 1, method, path, op.(map[string]any)))
			}
		}
	}
	slices.SortFunc(all, func(a, b asked) int {
		return cmp.Or(strings.Compare(a.path, b.path), strings.Compare(a.method, b.method))
	})
	if len(all) < 200 {
		t.Errorf("%d operations: the documents were not read", len(all))
	}
	return all
}

func askedOf(doc spec, internal bool, method, path string, op map[string]any) asked {
	a := asked{name: op["operationId"].(string), method: strings.ToUpper(method), path: path, internal: internal, doc: doc}
	params, _ := op["parameters"].([]any)
	for _, p := range params {
		switch p := p.(map[string]any); p["in"] {
		case "query":
			a.query = append(a.query, p["name"].(string))
		case "path":
			a.names = append(a.names, p["name"].(string))
		}
	}
	security, _ := op["security"].([]any)
	for _, way := range security {
		scopes, _ := way.(map[string]any)[bearerAuth].([]any)
		for _, s := range scopes {
			a.scopes = append(a.scopes, s.(string))
		}
	}
	if body, ok := op["requestBody"].(map[string]any); ok {
		content := body["content"].(map[string]any)
		a.kinds = slices.Sorted(maps.Keys(content))
		if taken, ok := content[jsonType].(map[string]any); ok {
			a.schema, _ = taken["schema"].(map[string]any)
		}
	}
	return a
}

// at fills in the path: the names in it are those of nothing, but for the account for
// which staff act.
func (s *surface) at(a asked) string {
	return pathParameter.ReplaceAllStringFunc(a.path, func(name string) string {
		switch name {
		case "{account}":
			return s.customer.String()
		case "{number}":
			return "12025550000"
		}
		return message.NewID().String()
	})
}

// small is a body of the first kind that the operation takes, and its type.
func (a asked) small() (string, func(*http.Request)) {
	switch {
	case len(a.kinds) == 0:
		return "", func(*http.Request) {}
	case slices.Contains(a.kinds, jsonType):
		return "{}", func(*http.Request) {}
	case a.kinds[0] == "*/*":
		return dot, header("Content-Type", "image/gif")
	}
	return "a\n", header("Content-Type", a.kinds[0])
}
