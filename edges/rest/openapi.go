package rest

import (
	"context"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/postrider/postrider/internal/message"
)

// The scopes of the operations there are.
const (
	scopeMessagesWrite = "messages:write"
	scopeMessagesRead  = "messages:read"
	scopeRegistryRead  = "registry:read"
	scopeRegistryWrite = "registry:write"
)

// Names of the ways to authenticate, in the document.
const (
	bearerAuth = "bearer"
	basicAuth  = "basic"
)

// exampleHost stands in the examples of the document; PublicURL replaces it.
const exampleHost = "http://localhost:8080"

func describeAPI(doc *huma.OpenAPI) {
	doc.Info.Description = "Send text messages and follow them to their end.\n\n" +
		"Authenticate with an access token (`POST /v1/auth/token`) or with API key and secret by HTTP Basic. " +
		"A message is on disk before its 202 is written. " +
		"Send an `Idempotency-Key` with each POST and repeat it without fear."
	doc.Servers = []*huma.Server{{URL: "/"}}
	doc.Components.Schemas = huma.NewMapRegistry("#/components/schemas/", schemaName)
	doc.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		bearerAuth: {Type: "http", Scheme: "bearer", BearerFormat: "JWT", Description: "An access token from POST /v1/auth/token"},
		basicAuth:  {Type: "http", Scheme: "basic", Description: "API key and secret"},
	}
	doc.Tags = []*huma.Tag{
		{Name: "Messages", Description: "Send messages and see what became of them."},
		{Name: "Batches", Description: "Send many messages by one request, and see how far they are."},
		{Name: "Inbound", Description: "Where messages go that handsets send, and the messages."},
		{Name: "Webhooks", Description: "Where events go, what became of them, and how to get them again. How to verify them, and when they are tried again: see `/docs/webhooks`."},
		{Name: "Usage", Description: "What may be sent, what was, and what it cost."},
		{Name: "10DLC", Description: "Brands and campaigns of US long codes: describe them, ask for their registration, see what carriers say."},
		{Name: "Account", Description: "The account, its numbers and users, and where the gateway is reached."},
		{Name: "Access", Description: "Access tokens, API keys, and what ESMEs bind with."},
		{Name: "Reference", Description: "What the answers mean."},
	}
}

// operation fills in what all operations have.
func (s *Server) operation(op huma.Operation, a access, refusals ...int) huma.Operation {
	op.Middlewares = huma.Middlewares{s.guarded(a)}
	if len(a.bodies) > 0 {
		op.MaxBodyBytes = maxBody + 1 // huma refuses a body that reaches its limit
		op.SkipValidateBody = true    // the operation's own decoder does it
	}
	if a.scope != "" {
		op.Security = []map[string][]string{{bearerAuth: {a.scope}}, {basicAuth: {}}}
	}
	if a.internal() {
		op.Security = []map[string][]string{{bearerAuth: append(roleNames(a.roles), strings.Fields(a.service)...)}}
	}
	if len(op.Security) > 0 {
		refusals = append(refusals, http.StatusUnauthorized, http.StatusForbidden, http.StatusServiceUnavailable)
	}
	if strings.Contains(op.Path, "{") {
		refusals = append(refusals, http.StatusNotFound) // of a name that is no text
	}
	op.Metadata = map[string]any{"access": a, "refusals": append(refusals,
		http.StatusNotAcceptable, http.StatusUnprocessableEntity, http.StatusTooManyRequests, http.StatusInternalServerError)}
	return op
}

func (s *Server) register(api huma.API) {
	doc := api.OpenAPI()
	schemas := doc.Components.Schemas
	send := s.operation(huma.Operation{
		OperationID: "sendMessage", Method: http.MethodPost, Path: "/v1/messages", Tags: []string{"Messages"},
		Summary: "Send a message", Description: "The message is on disk before the 202. A refusal is answered at once with its code, and a refusal by a rule about the message is kept as a `rejected` message.",
		DefaultStatus: http.StatusAccepted,
		Parameters:    []*huma.Param{idempotencyKeyParam()},
		Responses: map[string]*huma.Response{
			"202": {Description: "Stored and under way", Content: contentOf[messageResource](schemas)},
			"200": {Description: "A dry run: what would happen", Content: contentOf[dryRunResource](schemas)},
		},
		Extensions: example(`curl -sS ` + exampleHost + `/v1/messages \
  -u "$API_KEY:$API_SECRET" \
  -H 'Content-Type: application/json' \
  -H 'Idempotency-Key: order-8812-shipped' \
  -d '{"from":"+12025550143","to":"+13105550117","body":"Your parcel is on its way","client_reference":"order-8812"}'`),
	}, access{scope: scopeMessagesWrite, rate: asMessage, bodies: []string{jsonType}}, 400, 402, 409, 413, 415)
	register(api, send, s.sendMessage, &huma.RequestBody{
		Required: true, Content: map[string]*huma.MediaType{jsonType: {Schema: schemaOf[createMessage](schemas)}},
	})

	register(api, s.operation(huma.Operation{
		OperationID: "listMessages", Method: http.MethodGet, Path: "/v1/messages", Tags: []string{"Messages"},
		Summary: "List messages", Description: "Newest first. Filters narrow the list; all of them must hold." + saysSearched,
		Extensions: example(`curl -sS '` + exampleHost + `/v1/messages?status=failed&status=undelivered&limit=20' -u "$API_KEY:$API_SECRET"`),
	}, access{scope: scopeMessagesRead, rate: asRequest}), s.listMessages, nil)

	register(api, s.operation(huma.Operation{
		OperationID: "getMessage", Method: http.MethodGet, Path: "/v1/messages/{id}", Tags: []string{"Messages"},
		Summary:    "Read a message",
		Extensions: example(`curl -sS ` + exampleHost + `/v1/messages/01a1ffbf-8676-7d35-9c44-0f6f2f1b7e21 -u "$API_KEY:$API_SECRET"`),
	}, access{scope: scopeMessagesRead, rate: asRequest}, 404), s.getMessage, nil)

	register(api, s.operation(huma.Operation{
		OperationID: "listMessageEvents", Method: http.MethodGet, Path: "/v1/messages/{id}/events", Tags: []string{"Messages"},
		Summary: "Read a message's timeline", Description: "Oldest first.",
		Extensions: example(`curl -sS ` + exampleHost + `/v1/messages/01a1ffbf-8676-7d35-9c44-0f6f2f1b7e21/events -u "$API_KEY:$API_SECRET"`),
	}, access{scope: scopeMessagesRead, rate: asRequest}, 404), s.listEvents, nil)

	s.registerFeed(api)
	s.registerMessageWork(api)
	s.registerKeptSend(api)
	s.registerExports(api)
	s.registerUsage(api)

	token := s.operation(huma.Operation{
		OperationID: "issueToken", Method: http.MethodPost, Path: "/v1/auth/token", Tags: []string{"Access"},
		Summary: "Get an access token", Description: "API key and secret come by HTTP Basic, as JSON, or as the form of OAuth's client credentials grant.",
		Extensions: example(`curl -sS -X POST ` + exampleHost + `/v1/auth/token -u "$API_KEY:$API_SECRET"`),
	}, access{rate: bySignOn, bodies: []string{jsonType, formType}}, 400, 401, 403, 413, 415, 503)
	register(api, token, s.issueToken, tokenBodies(schemas))

	register(api, s.operation(huma.Operation{
		OperationID: "listErrors", Method: http.MethodGet, Path: "/v1/errors", Tags: []string{"Reference"},
		Summary: "List the error codes", Description: "Every code that a refusal, a message, a receipt or an SMPP or MM4 answer can carry.",
		Extensions: example(`curl -sS ` + exampleHost + `/v1/errors`),
	}, access{rate: byAddress}), s.listErrors, nil)

	s.registerBatches(api)
	s.registerInbound(api)
	s.registerWebhooks(api)
	s.registerMedia(api)
	s.registerOptOuts(api)
	s.registerRegistry(api)
	s.registerOwn(api)
}

// idempotencyKeyParam describes the header of operations that honour it.
func idempotencyKeyParam() *huma.Param {
	return &huma.Param{
		Name: "Idempotency-Key", In: "header",
		Description: "Makes the request safe to repeat for 72 hours: the same key and body get the first answer again, another body is refused.",
		Schema:      &huma.Schema{Type: "string", MinLength: new(1), MaxLength: new(255), Pattern: `^[A-Za-z0-9_:.\-]+$`},
		Example:     "order-8812-shipped",
	}
}

// register adds an operation. body replaces what huma makes of a body that is
// handed over as it came.
func register[I, O any](api huma.API, op huma.Operation, h func(context.Context, *I) (*O, error), body *huma.RequestBody) {
	if staffed, ok := api.(*behalf); ok {
		if op, ok = staffed.take(op); !ok {
			return
		}
		api = staffed.API
	}
	refusals := op.Metadata["refusals"].([]int)
	schemas := api.OpenAPI().Components.Schemas
	if op.Responses == nil {
		op.Responses = map[string]*huma.Response{}
	}
	for _, status := range refusals {
		op.Responses[strconv.Itoa(status)] = &huma.Response{Description: refusalText(status), Content: map[string]*huma.MediaType{
			problemType: {Schema: schemas.Schema(reflect.TypeFor[problem](), true, "")},
		}}
	}
	path, method := op.Path, op.Method
	huma.Register(api, op, h)
	for _, made := range operationsOf(api.OpenAPI().Paths[path]) {
		if made.Method == method && body != nil {
			made.RequestBody = body
		}
	}
}

// operationsOf are the operations of a path, in the order in which the page shows
// them.
func operationsOf(item *huma.PathItem) []*huma.Operation {
	return slices.DeleteFunc([]*huma.Operation{item.Post, item.Get, item.Put, item.Patch, item.Delete}, func(op *huma.Operation) bool { return op == nil })
}

// bodyOf documents a JSON body that the operation decodes itself.
func bodyOf[T any](r huma.Registry) *huma.RequestBody {
	return &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{jsonType: {Schema: schemaOf[T](r)}}}
}

// refusalText describes the answers of a status by the codes they can carry.
func refusalText(status int) string {
	text := http.StatusText(status)
	var codes []string
	for _, e := range message.Catalogue() {
		if e.HTTP == status {
			codes = append(codes, string(e.Reason))
		}
	}
	switch {
	case status == http.StatusBadRequest, status == http.StatusUnsupportedMediaType, status == http.StatusNotAcceptable:
		codes = []string{string(message.ReasonInvalidRequest)}
	case len(codes) > 8:
		return text + ": see /docs/errors for the codes"
	}
	for i, c := range codes {
		sep := ", "
		if i == 0 {
			sep = ": "
		}
		text += sep + "`" + c + "`"
	}
	return text
}

// finish removes what huma adds for its own errors and what nothing refers to, and
// puts what every answer has.
func finish(doc *huma.OpenAPI) {
	prune(doc)
	for _, schema := range doc.Components.Schemas.Map() {
		nullEnums(schema)
	}
	doc.Components.Headers = map[string]*huma.Param{}
	for _, h := range everyHeader {
		doc.Components.Headers[h.component] = &huma.Param{Description: h.doc, Schema: &huma.Schema{Type: h.kind}}
	}
	for _, item := range doc.Paths {
		for _, op := range operationsOf(item) {
			for _, status := range slices.Sorted(maps.Keys(op.Responses)) {
				headers(op.Responses[status], status)
			}
		}
	}
}

// everyHeader is on each answer of the API.
var everyHeader = []struct{ name, component, doc, kind string }{
	{"X-Request-Id", "RequestId", "Names this request", "string"},
	{"x-ratelimit-limit", "RateLimit", "How many requests of this kind the window allows", "integer"},
	{"x-ratelimit-remaining", "RateRemaining", "How many are left in it", "integer"},
	{"x-ratelimit-reset", "RateReset", "Seconds until remaining grows", "integer"},
	{"Retry-After", "RetryAfter", "Seconds to wait before the next try", "integer"},
}

func headers(r *huma.Response, status string) {
	if r.Headers == nil {
		r.Headers = map[string]*huma.Param{}
	}
	for _, h := range everyHeader {
		if h.name != "Retry-After" || status == "429" || status == "503" {
			r.Headers[h.name] = &huma.Param{Ref: "#/components/headers/" + h.component}
		}
	}
}

func schemaOf[T any](r huma.Registry) *huma.Schema { return r.Schema(reflect.TypeFor[T](), true, "") }

func contentOf[T any](r huma.Registry) map[string]*huma.MediaType {
	return map[string]*huma.MediaType{jsonType: {Schema: schemaOf[T](r)}}
}

// example attaches a command that can be run as it is.
func example(source string) map[string]any {
	return map[string]any{"x-codeSamples": []any{map[string]any{"lang": "Shell", "label": "curl", "source": source}}}
}
