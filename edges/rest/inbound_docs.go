package rest

import (
	"net/http"

	"github.com/danielgtaylor/huma/v2"
)

// registerInbound adds the operations on inbound messages.
func (s *Server) registerInbound(api huma.API) {
	schemas := api.OpenAPI().Components.Schemas
	tags := []string{"Inbound"}
	read, write := access{scope: scopeNumbersRead, rate: asRequest}, access{scope: scopeNumbersWrite, rate: asRequest, bodies: []string{jsonType}}
	const put = ` -u "$API_KEY:$API_SECRET" \
  -H 'Content-Type: application/json' -d '{"method":"webhook","webhook_url":"https://shop.example/sms","fallback":{"after_seconds":300,"method":"email","email_address":"inbox@shop.example"}}'`
	register(api, s.operation(huma.Operation{
		OperationID: "listInboundMessages", Method: http.MethodGet, Path: "/v1/inbound-messages", Tags: tags,
		Summary: "List inbound messages", Description: "In the order in which they were taken into the record, of every method of delivery. To poll, ask from a minute before the last time, and know by `message_id` what you have.",
		Extensions: example(`curl -sS '` + exampleHost + `/v1/inbound-messages?to=%2B12025550143&after=2026-11-21T00:00:00Z' -u "$API_KEY:$API_SECRET"`),
	}, access{scope: scopeMessagesRead, rate: asRequest}), s.listReceived, nil)
	register(api, s.operation(huma.Operation{
		OperationID: "getInboundMessage", Method: http.MethodGet, Path: "/v1/inbound-messages/{id}", Tags: tags,
		Summary:    "Read an inbound message",
		Extensions: example(`curl -sS ` + exampleHost + `/v1/inbound-messages/01a1ffc0-fcb6-7b0e-b1c9-6f0d2b8a3c55 -u "$API_KEY:$API_SECRET"`),
	}, access{scope: scopeMessagesRead, rate: asRequest}, 404), s.getReceived, nil)
	register(api, s.operation(huma.Operation{
		OperationID: "getInboundSettings", Method: http.MethodGet, Path: "/v1/inbound-settings", Tags: tags,
		Summary: "See where inbound messages go", Description: "Of the numbers that have nothing of their own.",
		Extensions: example(`curl -sS ` + exampleHost + `/v1/inbound-settings -u "$API_KEY:$API_SECRET"`),
	}, read), s.getInboundSettings, nil)
	register(api, s.operation(huma.Operation{
		OperationID: "putInboundSettings", Method: http.MethodPut, Path: "/v1/inbound-settings", Tags: tags,
		Summary: "Set where inbound messages go", Description: "Of the numbers that have nothing of their own. Messages that came before go where they were going.",
		Extensions: example(`curl -sS -X PUT ` + exampleHost + `/v1/inbound-settings` + put),
	}, write, 400, 412, 413, 415), s.putInboundSettings, bodyOf[inboundBody](schemas))
	const one = "/v1/numbers/12025550143/inbound"
	register(api, s.operation(huma.Operation{
		OperationID: "getNumberInbound", Method: http.MethodGet, Path: "/v1/numbers/{number}/inbound", Tags: tags,
		Summary:    "See where the messages to a number go",
		Extensions: example(`curl -sS ` + exampleHost + one + ` -u "$API_KEY:$API_SECRET"`),
	}, read, 404), s.getNumberInbound, nil)
	register(api, s.operation(huma.Operation{
		OperationID: "putNumberInbound", Method: http.MethodPut, Path: "/v1/numbers/{number}/inbound", Tags: tags,
		Summary: "Set where the messages to a number go", Description: "An empty list of destinations gives the number back to the account's default. Messages that came before go where they were going.",
		Extensions: example(`curl -sS -X PUT ` + exampleHost + one + put),
	}, write, 400, 404, 412, 413, 415), s.putNumberInbound, bodyOf[inboundBody](schemas))
	register(api, s.operation(huma.Operation{
		OperationID: "testNumberInbound", Method: http.MethodPost, Path: "/v1/numbers/{number}/inbound/test", Tags: tags,
		Summary: "Try the destinations of a number", Description: "Each gets a message that nobody sent, once, and nothing is stored. An SMPP destination is only looked at.",
		Extensions: example(`curl -sS -X POST ` + exampleHost + one + `/test -u "$API_KEY:$API_SECRET"`),
	}, access{scope: scopeNumbersWrite, rate: asRequest}, 404), s.testInbound, nil)
}
