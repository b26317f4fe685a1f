package rest

import (
	"net/http"

	"github.com/danielgtaylor/huma/v2"
)

// registerWebhooks adds the operations on webhooks to customers.
func (s *Server) registerWebhooks(api huma.API) {
	read := access{scope: scopeWebhooksRead, rate: asRequest}
	act := access{scope: scopeWebhooksWrite, rate: asRequest}
	write := act.taking()
	s.registerEndpoints(api, read, act, write)
	s.registerDeliveries(api, read, act, write)
}

const (
	oneEndpoint = exampleHost + endpointPath + "/01a1ffbf-8676-7d35-9c44-0f6f2f1b7e21"
	withKey     = ` -u "$API_KEY:$API_SECRET"`
	withJSON    = withKey + ` -H 'Content-Type: application/json' -d `
)

func (s *Server) registerEndpoints(api huma.API, read, act, write access) {
	schemas := api.OpenAPI().Components.Schemas
	tags := []string{"Webhooks"}
	patch := write
	patch.bodies = []string{jsonType, patchType}
	register(api, s.operation(huma.Operation{
		OperationID: "createWebhookEndpoint", Method: http.MethodPost, Path: endpointPath, Tags: tags, Summary: "Add a webhook endpoint",
		Description: "The account's events go to each of its endpoints that wants them. Its secret is shown in this answer alone. An account has 16 at most.",
		Parameters:  keyParam(), DefaultStatus: http.StatusCreated,
		Responses:  map[string]*huma.Response{"201": {Description: "Stored", Content: contentOf[endpointResource](schemas)}},
		Extensions: example(`curl -sS ` + exampleHost + endpointPath + withJSON + `'{"url":"https://shop.example/hooks","event_types":["message.delivered","message.failed"]}'`),
	}, write, 400, 409, 413, 415), s.createEndpoint, bodyOf[endpointBody](schemas))
	register(api, s.operation(huma.Operation{
		OperationID: "listWebhookEndpoints", Method: http.MethodGet, Path: endpointPath, Tags: tags, Summary: "List webhook endpoints", Description: "Newest first.",
		Extensions: example(`curl -sS ` + exampleHost + endpointPath + withKey),
	}, read), s.listEndpoints, nil)
	register(api, s.operation(huma.Operation{
		OperationID: "getWebhookEndpoint", Method: http.MethodGet, Path: endpointPath + "/{id}", Tags: tags, Summary: "Read a webhook endpoint",
		Extensions: example(`curl -sS ` + oneEndpoint + withKey),
	}, read, 404), s.getEndpoint, nil)
	register(api, s.operation(huma.Operation{
		OperationID: "changeWebhookEndpoint", Method: http.MethodPatch, Path: endpointPath + "/{id}", Tags: tags, Summary: "Change a webhook endpoint",
		Description: "A member that is left out stays as it is. What is on its way goes to the new url at its next try. It holds on every process within 5 seconds.",
		Extensions:  example(`curl -sS -X PATCH ` + oneEndpoint + withJSON + `'{"url":"https://shop.example/hooks/v2"}'`),
	}, patch, 400, 404, 412, 413, 415), s.changeEndpoint, patchOf[endpointBody](schemas))
	register(api, s.operation(huma.Operation{
		OperationID: "removeWebhookEndpoint", Method: http.MethodDelete, Path: endpointPath + "/{id}", Tags: tags, Summary: "Take a webhook endpoint away",
		Description: "What is on its way to it fails at its next try and cannot be replayed; GET /v1/messages has what it told of.", DefaultStatus: http.StatusNoContent,
		Extensions: example(`curl -sS -X DELETE ` + oneEndpoint + withKey),
	}, act, 404, 412), s.removeEndpoint, nil)
	rotation := bodyOf[rotationBody](schemas)
	rotation.Required = false
	register(api, s.operation(huma.Operation{
		OperationID: "rotateWebhookEndpointSecret", Method: http.MethodPost, Path: endpointPath + "/{id}/rotate-secret", Tags: tags, Summary: "Rotate the secret of a webhook endpoint",
		Description: "Both sign for `overlap_seconds`: `webhook-signature` has two values then, `X-Signature` is the new one's. A secret before those two signs no more.",
		Parameters:  keyParam(), Responses: map[string]*huma.Response{"200": {Description: "The new secret", Content: contentOf[rotationResource](schemas)}},
		Extensions: example(`curl -sS ` + oneEndpoint + `/rotate-secret` + withJSON + `'{"overlap_seconds":3600}'`),
	}, write, 400, 404, 409, 413, 415), s.rotateEndpoint, rotation)
	register(api, s.operation(huma.Operation{
		OperationID: "rotateWebhookSecret", Method: http.MethodPost, Path: "/v1/webhook-secret/rotate", Tags: tags, Summary: "Rotate the account's webhook secret",
		Description: "It signs what goes to URLs without a secret of their own: those of messages (`webhook_url`), and of numbers.",
		Parameters:  keyParam(), Responses: map[string]*huma.Response{"200": {Description: "The new secret", Content: contentOf[rotationResource](schemas)}},
		Extensions: example(`curl -sS ` + exampleHost + `/v1/webhook-secret/rotate` + withJSON + `'{"overlap_seconds":3600}'`),
	}, write, 400, 409, 413, 415), s.rotateAccountSecret, rotation)
	register(api, s.operation(huma.Operation{
		OperationID: "testWebhookEndpoint", Method: http.MethodPost, Path: endpointPath + "/{id}/test", Tags: tags, Summary: "Send a test event",
		Description: "One try now with an event `endpoint.test`, also to an endpoint that is not active. It is listed as a delivery and not tried again; what is answered has no consequence for the endpoint.",
		Parameters:  keyParam(), Responses: map[string]*huma.Response{"200": {Description: "What came of the try", Content: contentOf[testedEndpoint](schemas)}},
		Extensions: example(`curl -sS -X POST ` + oneEndpoint + `/test` + withKey),
	}, act, 404, 409), s.testEndpoint, nil)
	register(api, s.operation(huma.Operation{
		OperationID: "enableWebhookEndpoint", Method: http.MethodPost, Path: endpointPath + "/{id}/enable", Tags: tags, Summary: "Enable a webhook endpoint",
		Description: "What it failed before counts no more. What was missed meanwhile can be replayed.",
		Parameters:  keyParam(), Responses: map[string]*huma.Response{"200": {Description: "As it is now", Content: contentOf[endpointResource](schemas)}},
		Extensions: example(`curl -sS -X POST ` + oneEndpoint + `/enable` + withKey),
	}, act, 404, 409), s.enableEndpoint, nil)
}

func (s *Server) registerDeliveries(api huma.API, read, act, write access) {
	schemas := api.OpenAPI().Components.Schemas
	tags := []string{"Webhooks"}
	queued := map[string]*huma.Response{"202": {Description: "On their way", Content: contentOf[replayedResource](schemas)}}
	const deliveries = "/v1/webhook-deliveries"
	const one = exampleHost + deliveries + "/01a1ffbf-8676-7d35-9c44-0f6f2f1b7e21"
	register(api, s.operation(huma.Operation{
		OperationID: "replayWebhookEndpoint", Method: http.MethodPost, Path: endpointPath + "/{id}/replay", Tags: tags, Summary: "Replay what an endpoint missed",
		Description: "Each is tried anew on the whole schedule, with the same webhook-id and body, fifty of an account a second. Asking twice does nothing twice while they are on their way.",
		Parameters:  keyParam(), DefaultStatus: http.StatusAccepted, Responses: queued,
		Extensions: example(`curl -sS ` + oneEndpoint + `/replay` + withJSON + `'{"after":"2026-11-21T00:00:00Z","state":"failed"}'`),
	}, write, 400, 404, 409, 413, 415), s.replayEndpoint, bodyOf[replayBody](schemas))
	register(api, s.operation(huma.Operation{
		OperationID: "listWebhookDeliveries", Method: http.MethodGet, Path: deliveries, Tags: tags, Summary: "List webhook deliveries",
		Description: "Newest first. With endpoint_id a page may be short or empty while next_cursor is not null: go on until it is.",
		Extensions:  example(`curl -sS '` + exampleHost + deliveries + `?state=failed'` + withKey),
	}, read), s.listWebhookDeliveries, nil)
	register(api, s.operation(huma.Operation{
		OperationID: "getWebhookDelivery", Method: http.MethodGet, Path: deliveries + "/{id}", Tags: tags, Summary: "Read a webhook delivery", Description: "With all its tries.",
		Extensions: example(`curl -sS ` + one + withKey),
	}, read, 404), s.getWebhookDelivery, nil)
	register(api, s.operation(huma.Operation{
		OperationID: "replayWebhookDelivery", Method: http.MethodPost, Path: deliveries + "/{id}/replay", Tags: tags, Summary: "Replay a webhook delivery",
		Description: "It is tried anew with the same webhook-id, also if it was delivered. One that is on its way stays as it is.",
		Parameters:  keyParam(), DefaultStatus: http.StatusAccepted, Responses: map[string]*huma.Response{"202": queued["202"]},
		Extensions: example(`curl -sS -X POST ` + one + `/replay` + withKey),
	}, act, 404, 409), s.replayWebhookDelivery, nil)
}
