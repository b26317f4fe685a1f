package rest

import (
	"context"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// codecPath is what a Temporal UI is given as its codec endpoint: it asks for /decode
// behind it.
const codecPath = adminPrefix + "/codec"

// payloadResource is a payload as the remote codec protocol of Temporal has it.
type payloadResource struct {
	_        struct{}          `json:"-" additionalProperties:"true"`
	Metadata map[string]string `json:"metadata,omitempty" doc:"Each value in base64"`
	Data     string            `json:"data,omitempty" doc:"In base64"`
}

type payloadsResource struct {
	_        struct{}          `json:"-" additionalProperties:"true"`
	Payloads []payloadResource `json:"payloads,omitempty" nullable:"false"`
}

func (s *Server) registerCodec(api huma.API) {
	schemas := api.OpenAPI().Components.Schemas
	register(api, s.operation(huma.Operation{
		OperationID: "decodePayloads", Method: http.MethodPost, Path: codecPath + "/decode", Tags: []string{"Codec"}, Summary: "Open payloads of workflows",
		Description: "The remote codec protocol of Temporal: in the Temporal UI, set `" + codecPath + "` at this host as the codec endpoint, and let it pass the access token. Payloads hold texts and numbers of customers, so each request is in the audit log. Pages of the origin of the configured UI may call it from a browser.",
		Responses:   map[string]*huma.Response{"200": {Description: "The same payloads, opened; those that were not sealed as they are", Content: contentOf[payloadsResource](schemas)}},
	}, staff(snapshot.RoleSupport).taking(), 400, 413, 415), s.decodePayloads, bodyOf[payloadsResource](schemas))
}

// payloadsOutput is the answer, which is encoded already.
type payloadsOutput struct {
	ContentType string `header:"Content-Type" hidden:"true"`
	Body        []byte
}

func (s *Server) decodePayloads(ctx context.Context, in *rawInput) (*payloadsOutput, error) {
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	x := exchangeOf(ctx)
	if s.Admin.Decode == nil {
		return nil, s.problem(x, message.Refuse(message.ReasonUnavailable, "payloads cannot be opened here"), 0)
	}
	opened, n, err := s.Admin.Decode(in.RawBody)
	if err == nil { // in the audit log before anybody sees it
		err = s.Admin.Audit.Audit(ctx, x.actor(), "payload.read", "", map[string]any{"payloads": n, "namespace": clip(x.request.Header.Get("X-Namespace"))})
	}
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	return &payloadsOutput{ContentType: jsonType, Body: opened}, nil
}

// allowOrigin lets the pages of the Temporal UI call the codec from a browser. It says so
// with each answer there, refusals and those to OPTIONS among them: without it the page
// could not tell what is wrong.
func (s *Server) allowOrigin(x *exchange) {
	if s.Admin == nil || s.Admin.CodecOrigin == "" || x.request.URL.Path != codecPath+"/decode" {
		return
	}
	h := x.Header()
	h.Set("Vary", "Origin")
	if !slices.Equal(x.request.Header.Values("Origin"), []string{s.Admin.CodecOrigin}) {
		return
	}
	h.Set("Access-Control-Allow-Origin", s.Admin.CodecOrigin)
	h.Set("Access-Control-Allow-Methods", "POST")
	h.Set("Access-Control-Allow-Headers", "authorization,content-type,x-namespace")
	h.Set("Access-Control-Max-Age", "600")
}
