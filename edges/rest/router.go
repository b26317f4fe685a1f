package rest

import (
	"encoding/json"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"
	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"

	"github.com/postrider/postrider/internal/message"
)

const jsonType = "application/json"

// router joins the paths to what serves them: the operations of the document,
// and the pages and probes beside it.
func (s *Server) router() http.Handler {
	r := chi.NewRouter()
	r.Use(middleware.GetHead)
	r.NotFound(s.notFound)
	r.MethodNotAllowed(s.methodNotAllowed(r))

	api := humachi.New(r, humaConfig())
	s.register(api)
	finish(api.OpenAPI())

	r.Get("/healthz", named("healthz", alive))
	r.Get("/health", named("healthz", alive))
	r.Get("/readyz", named("readyz", s.ready))
	r.Get("/.well-known/jwks.json", named("jwks", s.jwks))
	s.pages(r, api.OpenAPI())
	if s.Media != nil {
		r.Get("/media/{token}", named("readMedia", s.readMedia))
	}
	if s.Hooks != nil {
		r.Post("/inbound/{vendor}", named("vendorWebhook", s.vendorWebhook))
		r.Post("/status/{vendor}", named("vendorWebhook", s.vendorWebhook))
	}
	s.mount(r)
	for prefix, pages := range s.Pages {
		h := named("pages", s.page(pages))
		r.Handle(prefix, h)
		r.Handle(prefix+"/*", h)
	}
	if s.Admin != nil {
		internal := humachi.New(r, adminConfig())
		s.registerAdmin(internal)
		finish(internal.OpenAPI())
		s.reference(r, internal.OpenAPI(), internalPrefix)
	}
	return r
}

// named gives a route outside the document its name in the measurements.
func named(operation string, h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		exchangeOf(r.Context()).operation = operation
		h(w, r)
	}
}

// vendorWebhook hands a vendor's webhook on. It needs no credential of ours: its
// signature is one.
func (s *Server) vendorWebhook(w http.ResponseWriter, r *http.Request) {
	s.Hooks.ServeHTTP(w, ofClient(r))
}

// ofClient is the request with the client's address in the place of a proxy's.
func ofClient(r *http.Request) *http.Request {
	if client := exchangeOf(r.Context()).client; client.IsValid() {
		of := *r
		of.RemoteAddr = netip.AddrPortFrom(client, 0).String()
		return &of
	}
	return r
}

// page hands a request on to web pages, with the bound that bodies have. Who reads them is
// for the pages to find out.
func (s *Server) page(pages http.Handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		r = ofClient(r)
		r.Body = http.MaxBytesReader(w, r.Body, maxPageBody)
		pages.ServeHTTP(w, r)
	}
}

// maxPageBody is the largest form with files: as many as an upload of media may have, and
// what is around them.
const maxPageBody = 12 << 20

// shut answers what this process does not serve to others.
func (s *Server) shut(x *exchange) bool {
	if !s.PagesOnly {
		return false
	}
	if _, ours := x.visitor(); ours {
		return false
	}
	path := x.request.URL.Path
	for prefix := range s.Pages {
		if path == prefix || strings.HasPrefix(path, prefix+"/") {
			return false
		}
	}
	return !slices.Contains([]string{"/healthz", "/health", "/readyz"}, path)
}

// humaConfig leaves out what huma adds on its own: pages that load scripts from
// elsewhere, schema links, and $schema members.
func humaConfig() huma.Config {
	format := huma.Format{
		Marshal: func(w io.Writer, v any) error {
			body, err := encode(v)
			if err == nil {
				_, _ = w.Write(body) // a peer that has gone needs no answer
			}
			return err
		},
		Unmarshal: json.Unmarshal,
	}
	config := huma.DefaultConfig("Postrider", "1")
	config.OpenAPIPath, config.DocsPath, config.SchemasPath = "", "", ""
	config.CreateHooks = nil
	config.Formats = map[string]huma.Format{jsonType: format, "json": format}
	config.RejectUnknownQueryParameters = true
	config.Transformers = []huma.Transformer{ours}
	describeAPI(config.OpenAPI)
	return config
}

// notFound answers for every path that there is not.
func (s *Server) notFound(w http.ResponseWriter, r *http.Request) {
	x := exchangeOf(r.Context())
	if !s.open(x) {
		return
	}
	x.refuse(s.problem(x, message.Refuse(message.ReasonNotFound, "there is nothing at this path; see /docs"), 0))
}

// methodNotAllowed answers for a path that is there for other methods, and
// answers OPTIONS.
func (s *Server) methodNotAllowed(routes chi.Routes) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		x := exchangeOf(r.Context())
		if !s.open(x) {
			return
		}
		allow := []string{http.MethodOptions}
		for _, m := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
			if routes.Match(chi.NewRouteContext(), m, r.URL.Path) {
				allow = append(allow, m)
			}
		}
		if slices.Contains(allow, http.MethodGet) {
			allow = append(allow, http.MethodHead)
		}
		if len(allow) == 1 {
			s.notFound(w, r)
			return
		}
		slices.Sort(allow)
		x.Header().Set("Allow", strings.Join(allow, ", "))
		if r.Method == http.MethodOptions {
			x.WriteHeader(http.StatusNoContent)
			return
		}
		x.refuse(s.problem(x, message.Refuse(message.ReasonInvalidRequest, "this path takes %s", strings.Join(allow, ", ")), http.StatusMethodNotAllowed))
	}
}

// open counts a request that reached no operation, if it is for the API.
func (s *Server) open(x *exchange) bool {
	if x.status != 0 || !strings.HasPrefix(x.request.URL.Path, "/v1/") && !x.internal {
		return true
	}
	if err := s.count(x, byAddress, s.now()); err != nil {
		x.refuse(s.problem(x, err, 0))
		return false
	}
	return true
}
