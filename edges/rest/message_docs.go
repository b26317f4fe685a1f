package rest

import (
	"net/http"

	"github.com/danielgtaylor/huma/v2"
)

// registerMessageWork adds what is done with messages that were sent before.
func (s *Server) registerMessageWork(api huma.API) {
	schemas := api.OpenAPI().Components.Schemas
	tags := []string{"Messages"}
	const one = messagesPath + "/01a1ffbf-8676-7d35-9c44-0f6f2f1b7e21"
	write := access{scope: scopeMessagesWrite, rate: asRequest}
	shown := func() map[string]*huma.Response {
		return map[string]*huma.Response{"200": {Description: "The message as it is then", Content: contentOf[messageResource](schemas)}}
	}
	change := write
	change.bodies = []string{jsonType, patchType}
	register(api, s.operation(huma.Operation{
		OperationID: "changeMessage", Method: http.MethodPatch, Path: messagesPath + "/{id}", Tags: tags, Summary: "Change a message that has not left",
		Description: "While it is `accepted` or `scheduled`; later 409. A JSON merge patch: what is left out stays. `send_at: null` sends it now, `validity_seconds: null` gives it the validity of its class. " +
			"It is checked as a new message is; when it is refused, it stays as it was. Nothing but these three can be changed.",
		DefaultStatus: http.StatusOK, Responses: shown(),
		Extensions: example(`curl -sS -X PATCH ` + exampleHost + one + ` -u "$API_KEY:$API_SECRET" \
  -H 'Content-Type: application/json' -d '{"body":"Your parcel comes tomorrow"}'`),
	}, change, 400, 402, 404, 409, 413, 415), s.patchMessage, patchOf[changeMessage](schemas))

	const canceled = "From `accepted`, `scheduled` and `queued`; later 409. Repeated: 200 again."
	register(api, s.operation(huma.Operation{
		OperationID: "cancelMessage", Method: http.MethodDelete, Path: messagesPath + "/{id}", Tags: tags, Summary: "Withdraw a message",
		Description: canceled, DefaultStatus: http.StatusOK, Responses: shown(),
		Extensions: example(`curl -sS -X DELETE ` + exampleHost + one + ` -u "$API_KEY:$API_SECRET"`),
	}, write, 404, 409), s.cancelMessage, nil)
	register(api, s.operation(huma.Operation{
		OperationID: "cancelMessageByPost", Method: http.MethodPost, Path: messagesPath + "/{id}/cancel", Tags: tags, Summary: "Withdraw a message",
		Description: "As `DELETE /v1/messages/{id}`. " + canceled, DefaultStatus: http.StatusOK, Responses: shown(), Parameters: []*huma.Param{idempotencyKeyParam()},
		Extensions: example(`curl -sS -X POST ` + exampleHost + one + `/cancel -u "$API_KEY:$API_SECRET"`),
	}, write, 404, 409), s.postCancel, nil)

	body := bodyOf[retryBody](schemas)
	body.Required = false
	register(api, s.operation(huma.Operation{
		OperationID: "retryMessage", Method: http.MethodPost, Path: messagesPath + "/{id}/retry", Tags: tags, Summary: "Send a message again as a new one",
		Description: "From `undelivered`, `failed`, `expired` and `rejected`, and from `unconfirmed` with `accept_duplicate`; else 409. The new message names the old one in `retry_of`. " +
			"It has the same text, files, recipients of its group, class, delivery, webhook URLs, reference and metadata; its validity begins anew and is as long. It is checked and charged as any new message, and sent at once. " +
			"When the text is not kept any more: 409.",
		DefaultStatus: http.StatusAccepted, Parameters: []*huma.Param{idempotencyKeyParam()},
		Responses:  map[string]*huma.Response{"202": {Description: "The new message: stored and under way", Content: contentOf[messageResource](schemas)}},
		Extensions: example(`curl -sS -X POST ` + exampleHost + one + `/retry -u "$API_KEY:$API_SECRET" -H 'Idempotency-Key: order-8812-again'`),
	}, access{scope: scopeMessagesWrite, rate: asMessage, bodies: []string{jsonType}}, 400, 402, 404, 409, 413, 415), s.retryMessage, body)
}
