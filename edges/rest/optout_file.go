package rest

import (
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/optout"
)

const (
	csvType = "text/csv"
	// maxImport is the largest file: 10 MiB, as of a batch.
	maxImport = 10 << 20
	// fileTime is how long a file may take to come in and be recorded, and how long
	// each thousand rows of one that goes out may take.
	fileTime = 2 * time.Minute
	// importsPerMinute is how many files an account may send in: each may hold several
	// hundred thousand rows, which every process keeps in memory.
	importsPerMinute = 6
)

// optOutImport is what became of a file.
type optOutImport struct {
	_       struct{}       `json:"-" additionalProperties:"true"`
	Rows    int            `json:"rows" doc:"That were read, without the header"`
	Created int            `json:"created"`
	Already int            `json:"already" doc:"That were in force before, or stand in the file twice"`
	Invalid int            `json:"invalid" doc:"That were not taken"`
	Errors  []optOutBadRow `json:"errors" nullable:"false" doc:"Why: the first thousand"`
}

type optOutBadRow struct {
	_       struct{} `json:"-" additionalProperties:"true"`
	Line    int      `json:"line" doc:"Of the file, from 1"`
	Message string   `json:"message"`
}

// importOptOuts reads the body as it comes, so that a large file needs no memory. What
// was recorded before it broke off stays, and the file may be sent again.
func (s *Server) importOptOuts(ctx context.Context, _ *struct{}) (*output[optOutImport], error) {
	x := exchangeOf(ctx)
	if r := s.Limiter.Take("opt-out import "+x.caller.account.ID.String(), importsPerMinute, time.Minute, s.now()); !r.OK {
		return nil, s.problem(x, &limited{message.Refuse(message.ReasonRateLimitExceeded, "more than %d imports in a minute", importsPerMinute), r.Reset}, 0)
	}
	control := http.NewResponseController(x)
	deadline := time.Now().Add(fileTime)
	_ = control.SetReadDeadline(deadline) // where it cannot be set there is none
	_ = control.SetWriteDeadline(deadline.Add(DefaultWrite))
	ctx, cancel := context.WithTimeout(ctx, fileTime)
	defer cancel()
	if err := s.noteOptOuts(ctx, x, "opt_out.import", map[string]any{"state": "begun"}); err != nil {
		return nil, s.problem(x, err, 0)
	}
	in := optout.Import{Account: x.caller.account.ID, Actor: x.caller.name(), Now: s.now(), Check: s.campaignsOwned(x.caller.account.ID)}
	r, err := in.Read(ctx, http.MaxBytesReader(x.ResponseWriter, x.request.Body, maxImport), s.OptOuts)
	if nerr := s.noteOptOuts(context.WithoutCancel(ctx), x, "opt_out.import", map[string]any{"state": "ended", "created": r.Created, "already": r.Already, "invalid": r.Invalid}); err == nil {
		err = nerr
	}
	var large *http.MaxBytesError
	var refused *message.Error
	switch {
	case errors.As(err, &large):
		err = message.Refuse(message.ReasonPayloadTooLarge, "the file is larger than %d octets; %d rows of it are recorded", maxImport, r.Created+r.Already)
	case err != nil && !errors.As(err, &refused) && (errors.Is(err, io.ErrUnexpectedEOF) || x.request.Context().Err() != nil):
		err = message.Refuse(message.ReasonInvalidRequest, "the body could not be read to its end; %d rows of it are recorded", r.Created+r.Already)
	}
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	out := &output[optOutImport]{Body: optOutImport{Rows: r.Rows, Created: r.Created, Already: r.Already, Invalid: r.Invalid, Errors: []optOutBadRow{}}}
	for _, b := range r.Bad {
		out.Body.Errors = append(out.Body.Errors, optOutBadRow{Line: b.Line, Message: b.Error})
	}
	return out, nil
}

// noteOptOuts tells the audit log that staff import or export an account's opt-outs. What
// the account does itself is in its rows.
func (s *Server) noteOptOuts(ctx context.Context, x *exchange, action string, shown map[string]any) error {
	by := x.staffActor()
	if by == nil {
		return nil
	}
	return s.Admin.OptOuts.NoteOptOuts(ctx, *by, action, x.caller.account.ID, shown)
}

type exportOptOutsInput struct {
	OptOutFilter
}

// exportOptOuts writes the list page by page as it is read.
func (s *Server) exportOptOuts(ctx context.Context, in *exportOptOutsInput) (*huma.StreamResponse, error) {
	x := exchangeOf(ctx)
	filter, refusal := in.filter()
	if refusal != nil {
		return nil, s.problem(x, refusal, 0)
	}
	if err := s.noteOptOuts(ctx, x, "opt_out.export", map[string]any{"active": filter.Active}); err != nil {
		return nil, s.problem(x, err, 0)
	}
	return &huma.StreamResponse{Body: func(hctx huma.Context) {
		_, w := humachi.Unwrap(hctx)
		control := http.NewResponseController(x)
		h := w.Header()
		h.Set("Content-Type", csvType+"; charset=utf-8")
		h.Set("Content-Disposition", `attachment; filename="opt-outs.csv"`)
		err := optout.Export(ctx, s.OptOuts, x.caller.account.ID, filter, w, func() {
			_ = control.SetWriteDeadline(time.Now().Add(fileTime))
		})
		switch {
		case err == nil:
		case x.status == 0:
			h.Del("Content-Disposition")
			x.refuse(s.problem(x, err, 0))
		default:
			// Part of the list is out. Cutting the connection is the one way to tell
			// the client that it is not whole.
			s.log.Warn("an export of opt-outs broke off", "request_id", x.requestID, "error", err)
			panic(http.ErrAbortHandler)
		}
	}}, nil
}

// takes reports whether the client takes a type beside JSON.
func takes(accept []string, kind string) bool {
	family, _, _ := strings.Cut(kind, "/")
	for part := range strings.SplitSeq(strings.Join(accept, ","), ",") {
		given, params, err := mime.ParseMediaType(part)
		if err == nil && (given == kind || given == family+"/*") && params["q"] != "0" {
			return true
		}
	}
	return false
}

// registerOptOuts adds the operations on opt-outs.
func (s *Server) registerOptOuts(api huma.API) {
	doc := api.OpenAPI()
	schemas := doc.Components.Schemas
	doc.Tags = append(doc.Tags, &huma.Tag{Name: "Opt-outs", Description: "Who wants no more messages. A message to one of them is refused with `opted_out`."})
	tags := []string{"Opt-outs"}
	read, write := access{scope: scopeOptOutsRead, rate: asRequest}, access{scope: scopeOptOutsWrite, rate: asRequest, bodies: []string{jsonType}}
	text := &huma.Schema{Type: "string"}

	register(api, s.operation(huma.Operation{
		OperationID: "createOptOut", Method: http.MethodPost, Path: "/v1/opt-outs", Tags: tags,
		Summary:     "Record an opt-out",
		Description: "It is in force on every replica within two seconds. One that is in force already is left as it is and answered with 200.", DefaultStatus: http.StatusCreated,
		Parameters: []*huma.Param{idempotencyKeyParam()},
		Responses: map[string]*huma.Response{
			"201": {Description: "Recorded", Content: contentOf[optOutResource](schemas)},
			"200": {Description: "It was in force before", Content: contentOf[optOutResource](schemas)},
		},
		Extensions: example(`curl -sS ` + exampleHost + `/v1/opt-outs -u "$API_KEY:$API_SECRET" -H 'Content-Type: application/json' \
  -d '{"recipient":"+13105550117","sender":"+12025550143","reason":"asked by phone"}'`),
	}, write, 400, 409, 413, 415), s.createOptOut, &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{jsonType: {Schema: schemaOf[createOptOut](schemas)}}})

	register(api, s.operation(huma.Operation{
		OperationID: "listOptOuts", Method: http.MethodGet, Path: "/v1/opt-outs", Tags: tags,
		Summary: "List opt-outs", Description: "Newest first, those that have ended too. Filters narrow the list; all of them must hold.",
		Extensions: example(`curl -sS '` + exampleHost + `/v1/opt-outs?active=true&limit=20' -u "$API_KEY:$API_SECRET"`),
	}, read), s.listOptOuts, nil)

	register(api, s.operation(huma.Operation{
		OperationID: "checkOptOut", Method: http.MethodGet, Path: "/v1/opt-outs/check", Tags: tags,
		Summary:    "Ask whether a recipient has stopped a sender",
		Extensions: example(`curl -sS '` + exampleHost + `/v1/opt-outs/check?recipient=%2B13105550117&sender=%2B12025550143' -u "$API_KEY:$API_SECRET"`),
	}, read), s.checkOptOut, nil)

	export := read
	export.answers = csvType
	register(api, s.operation(huma.Operation{
		OperationID: "exportOptOuts", Method: http.MethodGet, Path: "/v1/opt-outs/export", Tags: tags,
		Summary: "Export opt-outs as CSV", Description: "Newest first, with the filters of the list. An answer that breaks off is not whole: ask again.",
		Responses:  map[string]*huma.Response{"200": {Description: "Columns: " + strings.Join(optout.Columns, ", "), Content: map[string]*huma.MediaType{csvType: {Schema: text}}}},
		Extensions: example(`curl -sS '` + exampleHost + `/v1/opt-outs/export?active=true' -u "$API_KEY:$API_SECRET" -o opt-outs.csv`),
	}, export), s.exportOptOuts, nil)

	imports := s.operation(huma.Operation{
		OperationID: "importOptOuts", Method: http.MethodPost, Path: "/v1/opt-outs/import", Tags: tags,
		Summary: "Import opt-outs from CSV",
		Description: "At most 10 MiB. The first line names the columns: `recipient` and any of `scope`, `sender`, `campaign_id`, `keyword`, `reason`, `created_at`; without scope, sender and campaign_id a row stops all of the account. " +
			"A row is one line. Rows that break a rule are left out and told; the others are recorded. Repeating a file is harmless, so an Idempotency-Key is not needed and not looked at. Webhooks are not told of imported opt-outs.",
		DefaultStatus: http.StatusOK,
		Extensions:    example(`curl -sS ` + exampleHost + `/v1/opt-outs/import -u "$API_KEY:$API_SECRET" -H 'Content-Type: text/csv' --data-binary @opt-outs.csv`),
	}, access{scope: scopeOptOutsWrite, rate: asRequest, bodies: []string{csvType}}, 400, 413, 415)
	imports.MaxBodyBytes = 0 // the operation reads the body itself
	register(api, imports, s.importOptOuts, &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{csvType: {Schema: text}}})

	register(api, s.operation(huma.Operation{
		OperationID: "getOptOut", Method: http.MethodGet, Path: "/v1/opt-outs/{id}", Tags: tags,
		Summary:    "Read an opt-out",
		Extensions: example(`curl -sS ` + exampleHost + `/v1/opt-outs/01a1ffbf-8676-7d35-9c44-0f6f2f1b7e21 -u "$API_KEY:$API_SECRET"`),
	}, read, 404), s.getOptOut, nil)

	register(api, s.operation(huma.Operation{
		OperationID: "endOptOut", Method: http.MethodDelete, Path: "/v1/opt-outs/{id}", Tags: tags,
		Summary:       "End an opt-out",
		Description:   "Only with the recipient's consent. The row is kept as history, with the reason, for at least five years; one that has ended stays as it is.",
		DefaultStatus: http.StatusOK,
		Extensions: example(`curl -sS -X DELETE ` + exampleHost + `/v1/opt-outs/01a1ffbf-8676-7d35-9c44-0f6f2f1b7e21 -u "$API_KEY:$API_SECRET" \
  -H 'Content-Type: application/json' -d '{"reason":"opted in again on the web form"}'`),
	}, write, 400, 404, 413, 415), s.endOptOut, &huma.RequestBody{Content: map[string]*huma.MediaType{jsonType: {Schema: schemaOf[endOptOutBody](schemas)}}})
}
