package rest

import (
	"net/http"

	"github.com/danielgtaylor/huma/v2"
)

// registerRegistry adds the operations on brands and campaigns.
func (s *Server) registerRegistry(api huma.API) {
	read := access{scope: scopeRegistryRead, rate: asRequest}
	post := access{scope: scopeRegistryWrite, rate: asRequest, bodies: []string{jsonType}}
	patch := access{scope: scopeRegistryWrite, rate: asRequest, bodies: []string{jsonType, patchType}}
	s.registerBrands(api, read, post, patch)
	s.registerCampaigns(api, read, post, patch)
	s.registerNumbers(api, post)
}

// keyParam is the Idempotency-Key of a POST.
func keyParam() []*huma.Param {
	return []*huma.Param{{Name: "Idempotency-Key", In: "header",
		Description: "Makes the request safe to repeat for 72 hours.",
		Schema:      &huma.Schema{Type: "string", MinLength: new(1), MaxLength: new(255), Pattern: `^[A-Za-z0-9_:.\-]+$`}}}
}

// patchOf documents the body of a PATCH.
func patchOf[T any](r huma.Registry) *huma.RequestBody {
	body := bodyOf[T](r)
	body.Content[patchType] = body.Content[jsonType]
	return body
}

func (s *Server) registerBrands(api huma.API, read, post, patch access) {
	schemas := api.OpenAPI().Components.Schemas
	register(api, s.operation(huma.Operation{
		OperationID: "createBrand", Method: http.MethodPost, Path: "/v1/brands", Tags: []string{"10DLC"},
		Summary:       "Describe a brand",
		Description:   "A draft needs only its name. With `submit` everything must be there, and staff file it with the campaign registry. A company has one daily cap however many brands it has.",
		DefaultStatus: http.StatusCreated, Parameters: keyParam(),
		Responses: map[string]*huma.Response{"201": {Description: "Stored", Content: contentOf[brandResource](schemas)}},
		Extensions: example(`curl -sS ` + exampleHost + `/v1/brands -u "$API_KEY:$API_SECRET" \
  -H 'Content-Type: application/json' \
  -d '{"name":"Acme","entity_type":"PRIVATE_PROFIT","legal_name":"Acme Inc.","ein":"12-3456789","country":"US"}'`),
	}, post, 400, 409, 413, 415), s.createBrand, bodyOf[brandBody](schemas))
	register(api, s.operation(huma.Operation{
		OperationID: "listBrands", Method: http.MethodGet, Path: "/v1/brands", Tags: []string{"10DLC"},
		Summary: "List brands", Description: "Newest first.",
		Extensions: example(`curl -sS ` + exampleHost + `/v1/brands -u "$API_KEY:$API_SECRET"`),
	}, read), s.listBrands, nil)
	register(api, s.operation(huma.Operation{
		OperationID: "getBrand", Method: http.MethodGet, Path: "/v1/brands/{id}", Tags: []string{"10DLC"},
		Summary:    "Read a brand",
		Extensions: example(`curl -sS ` + exampleHost + `/v1/brands/01a1ffbf-8676-7d35-9c44-0f6f2f1b7e21 -u "$API_KEY:$API_SECRET"`),
	}, read, 404), s.getBrand, nil)
	register(api, s.operation(huma.Operation{
		OperationID: "changeBrand", Method: http.MethodPatch, Path: "/v1/brands/{id}", Tags: []string{"10DLC"},
		Summary: "Change a brand", Description: "While it is `unregistered`. A member that is left out stays as it is, `null` empties it.",
		Extensions: example(`curl -sS -X PATCH ` + exampleHost + `/v1/brands/01a1ffbf-8676-7d35-9c44-0f6f2f1b7e21 -u "$API_KEY:$API_SECRET" \
  -H 'Content-Type: application/json' -d '{"submit":true}'`),
	}, patch, 400, 404, 409, 412, 413, 415), s.changeBrand, patchOf[brandBody](schemas))
}

func (s *Server) registerCampaigns(api huma.API, read, post, patch access) {
	schemas := api.OpenAPI().Components.Schemas
	const one = "/v1/campaigns/01a1ffbf-8676-7d35-9c44-0f6f2f1b7e21"
	register(api, s.operation(huma.Operation{
		OperationID: "createCampaign", Method: http.MethodPost, Path: "/v1/campaigns", Tags: []string{"10DLC"},
		Summary:       "Describe a campaign",
		Description:   "A draft needs only its use case. With `submit` everything must be there, and staff file it once its brand is approved.",
		DefaultStatus: http.StatusCreated, Parameters: keyParam(),
		Responses: map[string]*huma.Response{"201": {Description: "Stored", Content: contentOf[campaignResource](schemas)}},
		Extensions: example(`curl -sS ` + exampleHost + `/v1/campaigns -u "$API_KEY:$API_SECRET" \
  -H 'Content-Type: application/json' \
  -d '{"use_case":"ACCOUNT_NOTIFICATION","description":"Tells customers of the shop what becomes of their orders."}'`),
	}, post, 400, 409, 413, 415), s.createCampaign, bodyOf[campaignBody](schemas))
	register(api, s.operation(huma.Operation{
		OperationID: "listCampaigns", Method: http.MethodGet, Path: "/v1/campaigns", Tags: []string{"10DLC"},
		Summary: "List campaigns", Description: "Newest first.",
		Extensions: example(`curl -sS ` + exampleHost + `/v1/campaigns -u "$API_KEY:$API_SECRET"`),
	}, read), s.listCampaigns, nil)
	register(api, s.operation(huma.Operation{
		OperationID: "getCampaign", Method: http.MethodGet, Path: "/v1/campaigns/{id}", Tags: []string{"10DLC"},
		Summary:    "Read a campaign",
		Extensions: example(`curl -sS ` + exampleHost + one + ` -u "$API_KEY:$API_SECRET"`),
	}, read, 404), s.getCampaign, nil)
	register(api, s.operation(huma.Operation{
		OperationID: "getCampaignStatus", Method: http.MethodGet, Path: "/v1/campaigns/{id}/status", Tags: []string{"10DLC"},
		Summary: "See whether a campaign may send", Description: "What registry and carriers say of it, and what is left of the day's cap.",
		Extensions: example(`curl -sS ` + exampleHost + one + `/status -u "$API_KEY:$API_SECRET"`),
	}, read, 404), s.getCampaignStatus, nil)
	register(api, s.operation(huma.Operation{
		OperationID: "changeCampaign", Method: http.MethodPatch, Path: "/v1/campaigns/{id}", Tags: []string{"10DLC"},
		Summary: "Change a campaign", Description: "While it is a `draft`; later only start_reply, stop_reply and help_reply. A member that is left out stays as it is, `null` empties it.",
		Extensions: example(`curl -sS -X PATCH ` + exampleHost + one + ` -u "$API_KEY:$API_SECRET" \
  -H 'Content-Type: application/json' -d '{"submit":true}'`),
	}, patch, 400, 404, 409, 412, 413, 415), s.changeCampaign, patchOf[campaignBody](schemas))
}

func (s *Server) registerNumbers(api huma.API, put access) {
	schemas := api.OpenAPI().Components.Schemas
	const one = "/v1/campaigns/01a1ffbf-8676-7d35-9c44-0f6f2f1b7e21/numbers"
	register(api, s.operation(huma.Operation{
		OperationID: "assignNumbers", Method: http.MethodPut, Path: "/v1/campaigns/{id}/numbers", Tags: []string{"10DLC"},
		Summary:     "Put numbers into a campaign",
		Description: "All of them or none. Numbers that are in it stay. A number is in one campaign; one that is in another is a 409. A campaign has at most 49 unless it is a number pool, that of a sole proprietor 1.",
		Extensions: example(`curl -sS -X PUT ` + exampleHost + one + ` -u "$API_KEY:$API_SECRET" \
  -H 'Content-Type: application/json' -d '{"numbers":["+12025550143"]}'`),
	}, put, 400, 404, 409, 413, 415), s.assignNumbers, bodyOf[numbersBody](schemas))
	register(api, s.operation(huma.Operation{
		OperationID: "releaseNumber", Method: http.MethodDelete, Path: "/v1/campaigns/{id}/numbers/{number}", Tags: []string{"10DLC"},
		Summary: "Take a number out of a campaign", Description: "It can send to the US again when it is in another one.",
		DefaultStatus: http.StatusNoContent,
		Extensions:    example(`curl -sS -X DELETE ` + exampleHost + one + `/12025550143 -u "$API_KEY:$API_SECRET"`),
	}, access{scope: scopeRegistryWrite, rate: asRequest}, 404), s.releaseNumber, nil)
}
