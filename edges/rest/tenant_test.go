package rest

import (
	"context"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"
	"github.com/go-chi/chi/v5"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// customerOperations are the operations of the customers' API.
func customerOperations() []*huma.Operation {
	api := humachi.New(chi.NewRouter(), humaConfig())
	s := &Server{}
	s.register(api)
	var all []*huma.Operation
	for _, item := range api.OpenAPI().Paths {
		all = append(all, operationsOf(item)...)
	}
	return all
}

var pathParameter = regexp.MustCompile(`\{[^}]*\}`)

// things makes, for each path of the customers' API that names something, such a
// thing of account A, and gives its name as the path has it. The key is the path up
// to the name.
var things = map[string]func(b *bundle) string{
	"/v1/messages/": func(b *bundle) string {
		id := b.send("keyA")
		b.journal.events[uuidOf(b.t, id)] = []message.Event{{Sequence: 1, At: began, Type: "accepted"}}
		return id
	},
	"/v1/brands/": func(b *bundle) string {
		return b.do("POST", "/v1/brands", `{"name":"Acme"}`, as("keyA")).json(b.t)["id"].(string)
	},
	"/v1/campaigns/": func(b *bundle) string {
		id := b.do("POST", "/v1/campaigns", `{"use_case":"2FA"}`, as("keyA")).json(b.t)["id"].(string)
		b.do("PUT", "/v1/campaigns/"+id+"/numbers", `{"numbers":["+`+belongings["{number}"]+`"]}`, as("keyA"))
		return id
	},
	"/v1/numbers/": func(*bundle) string { return belongings["{number}"] },
	"/v1/inbound-messages/": func(b *bundle) string {
		f := b.server.Inbound.(*fakeInbound)
		f.mu.Lock()
		defer f.mu.Unlock()
		m := message.ReceivedState{Received: message.Received{Message: &message.Message{ID: message.NewID(), AccountID: accountA, Kind: message.SMS}}}
		f.messages = append(f.messages, m)
		return m.ID.String()
	},
	"/v1/media/": func(b *bundle) string {
		return b.do("POST", "/v1/media", dot, as("keyA")).json(b.t)["id"].(string)
	},
	"/v1/messages/batch/": func(b *bundle) string {
		return b.do("POST", "/v1/messages/batch", twoRows, as("keyA")).json(b.t)["id"].(string)
	},
	credentialPath + "/": func(b *bundle) string {
		return b.do("POST", credentialPath, `{"scopes":["messages:read"]}`, as("keyA")).json(b.t)["id"].(string)
	},
	esmePath + "/": func(b *bundle) string {
		return b.do("POST", esmePath, `{}`, as("keyA")).json(b.t)["id"].(string)
	},
	userPath + "/": func(b *bundle) string {
		return b.do("POST", userPath, `{"email":"ada@shop.example","scopes":["messages:read"]}`, as("keyA")).json(b.t)["id"].(string)
	},
	"/v1/webhook-endpoints/": (*bundle).hook,
	"/v1/webhook-deliveries/": func(b *bundle) string {
		f := b.server.Webhooks.(*fakeWebhooks)
		f.mu.Lock()
		defer f.mu.Unlock()
		d := message.WebhookDelivery{Notification: message.Notification{ID: message.NewID(), AccountID: accountA}, State: message.NotificationFailed}
		f.deliveries = append(f.deliveries, d)
		return d.ID.String()
	},
	"/v1/opt-outs/": func(b *bundle) string {
		return b.do("POST", "/v1/opt-outs", stopOne, as("keyA")).json(b.t)["id"].(string)
	},
}

// belongings are the names of what belongs to a thing, as they follow its own in a path.
var belongings = map[string]string{"{number}": "12025550143"}

// bodies are what operations with a name in their path are sent: one that would do.
// By operationId; without a row: nothing, or {} where there must be a body.
var bodies = map[string]string{
	"assignNumbers":         `{"numbers":["+12025550143"]}`,
	"changeBrand":           `{"name":"Other"}`,
	"changeCampaign":        `{"use_case":"MIXED"}`,
	"putNumberInbound":      `{"method":"storage"}`,
	"changeNumber":          `{"tag":"support"}`,
	"endOptOut":             `{"reason":"opted in again"}`,
	"changeMessage":         `{"body":"Other"}`,
	"replayWebhookEndpoint": `{"after":"2026-11-01T00:00:00Z"}`,
}

// furnished is a server with everything that customers' operations need, and credentials
// of every scope.
func furnished(t *testing.T) *bundle {
	t.Helper()
	b := setup(t, func(b *bundle) {
		(&shelf{owners: map[message.Address]message.ID{}}).keptBy(b)
		withMedia(b)
		withBatches(b)
		withOwn(b)
		withWebhooks(b)
		b.server.Feed = newFakeFeed()
		b.server.Inbound = &fakeInbound{sets: map[string]message.DestinationSet{}}
		b.server.TestInbound = func(context.Context, message.ID, message.Address) []message.DestinationTest { return nil }
		if b.config.Numbers == nil {
			b.config.Numbers = map[message.Address]*snapshot.Number{}
		}
		b.config.Numbers["+12025550143"] = &snapshot.Number{Number: "+12025550143", AccountID: accountA}
	})
	for name, c := range b.config.Credentials { // of every scope: the account alone must decide
		if name != "keyRO" {
			c.Scopes = everyScope()
		}
	}
	return b
}

// What another account has is not there: no operation that names a thing reads or
// changes it, or tells that it exists.
func TestEveryNamedThingIsItsTenants(t *testing.T) {
	found := 0
	for _, op := range customerOperations() {
		at := pathParameter.FindStringIndex(op.Path)
		if at == nil {
			continue
		}
		found++
		make, ok := things[op.Path[:at[0]]]
		if !ok {
			t.Errorf("%s %s: add a row to things, so that it is tried with another account's", op.Method, op.Path)
			continue
		}
		b := furnished(t)
		body := bodies[op.OperationID]
		if a := op.Metadata["access"].(access); body == "" && len(a.bodies) > 0 {
			body = "{}"
		}
		id := make(b)
		path := func(id string) string {
			return pathParameter.ReplaceAllStringFunc(op.Path, func(name string) string {
				if known, ok := belongings[name]; ok {
					return known
				}
				return id
			})
		}
		other := wantProblem(t, b.do(op.Method, path(id), body, as("keyB")), 404, message.ReasonNotFound)
		unknown := wantProblem(t, b.do(op.Method, path(message.NewID().String()), body, as("keyB")), 404, message.ReasonNotFound)
		for _, p := range []map[string]any{other, unknown} {
			delete(p, "request_id")
			p["detail"] = pathLike.ReplaceAllString(p["detail"].(string), "")
		}
		if other["detail"] != unknown["detail"] || len(other) != len(unknown) {
			t.Errorf("%s %s tells what is there: %v, %v", op.Method, op.Path, other, unknown)
		}
		// The owner gets something else, or the test is blind.
		b.clock.advance(time.Second)
		if r := b.do(op.Method, path(id), body, as("keyA")); r.StatusCode == 404 || r.StatusCode == 401 || r.StatusCode == 403 {
			t.Errorf("%s %s: its owner gets %d %s", op.Method, op.Path, r.StatusCode, r.body)
		}
	}
	if found < 2 {
		t.Errorf("%d operations name something: the test is blind", found)
	}
}

// pathLike is an id in a sentence.
var pathLike = regexp.MustCompile(`[0-9a-f-]{32,36}`)

// everyScope are the scopes that operations ask for.
func everyScope() []string {
	var all []string
	for _, op := range customerOperations() {
		if a := op.Metadata["access"].(access); a.scope != "" && !contains(all, a.scope) {
			all = append(all, a.scope)
		}
	}
	return all
}

// Every operation of the customers' API asks who it is, unless it is known to be for
// anybody; and none is where the internal API is.
func TestEveryCustomerOperationAsksWho(t *testing.T) {
	open := []string{"issueToken", "listErrors"}
	for _, op := range customerOperations() {
		a := op.Metadata["access"].(access)
		if (a.scope == "") != contains(open, op.OperationID) || a.internal() || !strings.HasPrefix(op.Path, "/v1/") && op.Path != keptSendPath {
			t.Errorf("%s %s: %+v", op.Method, op.Path, a)
		}
	}
}
