package rest

import (
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/postrider/postrider/internal/message"
)

// registerBatches adds the operations on batches.
func (s *Server) registerBatches(api huma.API) {
	schemas := api.OpenAPI().Components.Schemas
	tags := []string{"Batches"}
	read := access{scope: scopeMessagesRead, rate: asRequest}
	write := access{scope: scopeMessagesWrite, rate: asMessage, bodies: []string{jsonType, multipartType}}
	form := &huma.MediaType{Schema: &huma.Schema{Type: "object", Required: []string{"file"}, Properties: map[string]*huma.Schema{
		"file":    {Type: "string", Format: "binary", Description: "A CSV in UTF-8 with a header row. Columns: `to`, `phone`, `number` or `destination`; `body`, `text` or `message`; `from`; `client_reference`. Every other column is a variable of its name. Fields are apart by commas or semicolons, as in the header."},
		"options": {Type: "string", Description: "The JSON body without `messages`"},
	}}}
	create := s.operation(huma.Operation{
		OperationID: "createBatch", Method: http.MethodPost, Path: batchPath, Tags: tags,
		Summary: "Send a batch",
		Description: "1 to 10,000 rows, at most 10 MiB, as JSON or as a form with a CSV. The rows are on disk before the 202, and then become messages one after another, at the account's rate and beside what it sends otherwise: each row one message, whatever happens meanwhile. " +
			"A row that is refused refuses no other; see the rows for what became of each. `{{name}}` in a text stands for the row's variable of that name: it is replaced as it is, and a row without it is refused.",
		DefaultStatus: http.StatusAccepted,
		Parameters:    []*huma.Param{idempotencyKeyParam()},
		Responses:     map[string]*huma.Response{"202": {Description: "Stored; its rows are worked", Content: contentOf[batchResource](schemas)}},
		Extensions: example(`curl -sS ` + exampleHost + `/v1/messages/batch \
  -u "$API_KEY:$API_SECRET" \
  -H 'Content-Type: application/json' \
  -H 'Idempotency-Key: spring-sale-1' \
  -d '{"name":"spring sale","from":"+12025550143","body":"Hello {{first_name}}","messages":[{"to":"+13105550117","variables":{"first_name":"Ann"}}]}'`),
	}, write, 400, 409, 413, 415)
	create.MaxBodyBytes = 0 // the operation reads the body itself
	register(api, create, s.createBatch, &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{jsonType: {Schema: schemaOf[createBatchBody](schemas)}, multipartType: form}})

	check := s.operation(huma.Operation{
		OperationID: "checkBatch", Method: http.MethodPost, Path: batchPath + "/check", Tags: tags,
		Summary:       "Check a batch",
		Description:   "What would become of a batch if it were sent now, or of a number of messages. Nothing is stored, so an Idempotency-Key is not needed and not looked at.",
		DefaultStatus: http.StatusOK,
		Extensions: example(`curl -sS ` + exampleHost + `/v1/messages/batch/check -u "$API_KEY:$API_SECRET" -H 'Content-Type: application/json' \
  -d '{"from":"+12025550143","message_count":5000,"segments_each":2}'`),
	}, write, 400, 413, 415)
	check.MaxBodyBytes = 0
	register(api, check, s.checkBatch, &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
		jsonType: {Schema: &huma.Schema{AnyOf: []*huma.Schema{schemaOf[createBatchBody](schemas), schemaOf[checkBatchBody](schemas)}}}, multipartType: form,
	}})

	register(api, s.operation(huma.Operation{
		OperationID: "listBatches", Method: http.MethodGet, Path: batchPath, Tags: tags,
		Summary: "List batches", Description: "Newest first.",
		Extensions: example(`curl -sS '` + exampleHost + `/v1/messages/batch?limit=10' -u "$API_KEY:$API_SECRET"`),
	}, read), s.listBatches, nil)

	register(api, s.operation(huma.Operation{
		OperationID: "getBatch", Method: http.MethodGet, Path: batchPath + "/{id}", Tags: tags,
		Summary:    "Read a batch",
		Extensions: example(`curl -sS ` + exampleHost + `/v1/messages/batch/01a1ffbf-8676-7d35-9c44-0f6f2f1b7e21 -u "$API_KEY:$API_SECRET"`),
	}, read, 404), s.getBatch, nil)

	register(api, s.operation(huma.Operation{
		OperationID: "listBatchRows", Method: http.MethodGet, Path: batchPath + "/{id}/messages", Tags: tags,
		Summary: "List the rows of a batch", Description: "In their order, with what became of each.",
		Extensions: example(`curl -sS '` + exampleHost + `/v1/messages/batch/01a1ffbf-8676-7d35-9c44-0f6f2f1b7e21/messages?status=rejected' -u "$API_KEY:$API_SECRET"`),
	}, read, 404), s.listBatchRows, nil)

	for _, op := range []struct {
		id, path, summary, description string
		to                             message.BatchStatus
	}{
		{"pauseBatch", "/pause", "Pause a batch", "No further rows become messages, within seconds; those there are go on. A batch that is paused already stays so.", message.BatchPaused},
		{"resumeBatch", "/resume", "Resume a batch", "One that is running already stays so.", message.BatchRunning},
		{"cancelBatch", "/cancel", "Cancel a batch", "Rows that are no messages yet are dropped. Messages that no vendor has are withdrawn within seconds, the others stay; `completed_at` says when that is done. One that is canceled already stays so.", message.BatchCanceled},
	} {
		register(api, s.operation(huma.Operation{
			OperationID: op.id, Method: http.MethodPost, Path: batchPath + "/{id}" + op.path, Tags: tags,
			Summary: op.summary, Description: op.description + " 409 `conflict` when it has ended otherwise.", DefaultStatus: http.StatusOK,
			Parameters: []*huma.Param{idempotencyKeyParam()},
			Responses:  map[string]*huma.Response{"200": {Description: "As it is now", Content: contentOf[batchResource](schemas)}},
			Extensions: example(`curl -sS -X POST ` + exampleHost + `/v1/messages/batch/01a1ffbf-8676-7d35-9c44-0f6f2f1b7e21` + op.path + ` -u "$API_KEY:$API_SECRET"`),
		}, access{scope: scopeMessagesWrite, rate: asRequest}, 404, 409), s.setBatch(op.path, op.to), nil)
	}
}
