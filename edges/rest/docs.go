package rest

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-chi/chi/v5"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/notification"
)

// assets are the pages' templates and their one style sheet. Nothing is loaded
// from elsewhere and no script runs, so the pages' policy can forbid both.
//
//go:embed assets
var assets embed.FS

const pagePolicy = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// pages adds the document and the pages drawn from it. All of them are made
// here, once.
func (s *Server) pages(r chi.Router, doc *huma.OpenAPI) {
	templates := s.reference(r, doc, "")
	page := func(name string, data any) http.HandlerFunc {
		return drawn(templates, name, func() any { return data })
	}
	style, err := assets.ReadFile("assets/style.css")
	if err != nil {
		panic(err) // embedded
	}
	r.Get("/docs/style.css", named("docs", static("text/css; charset=utf-8", style)))
	r.Get("/docs/webhooks", page("webhooks.html", notification.Types()))
	r.Get("/docs/errors", page("errors.html", message.Catalogue()))
	byCode := make(map[string]http.HandlerFunc)
	for _, e := range message.Catalogue() {
		byCode[string(e.Reason)] = page("error.html", e)
	}
	r.Get("/docs/errors/{code}", func(w http.ResponseWriter, r *http.Request) {
		h := byCode[r.PathValue("code")]
		if h == nil {
			h = s.notFound
		}
		h(w, r)
	})
}

// reference adds a document and its page under a prefix, and gives the templates.
func (s *Server) reference(r chi.Router, doc *huma.OpenAPI, prefix string) *template.Template {
	at := s.publicURL()
	if prefix != "" {
		at = exampleHost // the internal API has no public place
	}
	written := func(contentType string, write func() ([]byte, error)) http.HandlerFunc {
		return named("openapi", onDemand(contentType, func() []byte {
			text, err := write()
			if err != nil {
				panic(fmt.Sprintf("rest: the OpenAPI document cannot be written: %v", err)) // our own types
			}
			return text
		}))
	}
	r.Get(prefix+"/openapi.json", written(jsonType, func() ([]byte, error) { return documentJSON(doc) }))
	r.Get(prefix+"/openapi.yaml", written("application/yaml", doc.YAML))

	templates := template.Must(template.New("").Funcs(template.FuncMap{
		"prose":     prose,
		"breakable": breakable,
		"hex":       func(v uint32) string { return fmt.Sprintf("0x%08X", v) },
	}).ParseFS(assets, "assets/*.html"))
	r.Get(prefix+"/docs", drawn(templates, "docs.html", func() any {
		view := viewOf(doc, at)
		view.Prefix = prefix
		return view
	}))
	return templates
}

// drawn serves a page of what data gives.
func drawn(templates *template.Template, name string, data func() any) http.HandlerFunc {
	return named("docs", onDemand("text/html; charset=utf-8", func() []byte {
		var b bytes.Buffer
		if err := templates.ExecuteTemplate(&b, name, data()); err != nil {
			panic(fmt.Sprintf("rest: page %s: %v", name, err)) // our own template
		}
		return b.Bytes()
	}))
}

// documentJSON is the OpenAPI document as it is stored beside this file.
func documentJSON(doc *huma.OpenAPI) ([]byte, error) {
	compact, err := doc.MarshalJSON()
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = json.Indent(&b, compact, "", "  ")
	b.WriteByte('\n')
	return b.Bytes(), err
}

// static serves what is at hand.
func static(contentType string, body []byte) http.HandlerFunc {
	return onDemand(contentType, func() []byte { return body })
}

// onDemand serves what make gives, which is asked once, when somebody wants it: all of it
// together takes longer than the rest of a server's start. Cache-Control lets a browser
// keep it and ask again after a release. It is sent compressed to who can read that: the
// reference is a tenth of its size then.
func onDemand(contentType string, make func() []byte) http.HandlerFunc {
	body := sync.OnceValue(make)
	compressed := sync.OnceValue(func() []byte { return gzipped(body()) })
	return func(w http.ResponseWriter, r *http.Request) {
		text := body()
		h := w.Header()
		h.Set("Vary", "Accept-Encoding")
		if takesGzip(r) {
			text = compressed()
			h.Set("Content-Encoding", "gzip")
		}
		h.Set("Content-Type", contentType)
		h.Set("Cache-Control", "public, max-age=300")
		if !strings.HasPrefix(contentType, jsonType) {
			h.Set("Content-Security-Policy", pagePolicy)
		}
		w.WriteHeader(http.StatusOK)
		if r.Method != http.MethodHead {
			_, _ = w.Write(text) // a peer that has gone needs no answer
		}
	}
}

func gzipped(text []byte) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err := z.Write(text)
	if err := errors.Join(err, z.Close()); err != nil {
		panic(fmt.Sprintf("rest: compress a page: %v", err)) // into memory
	}
	return b.Bytes()
}

// takesGzip reports whether Accept-Encoding names gzip without q=0 (RFC 9110, 12.5.3).
func takesGzip(r *http.Request) bool {
	for _, list := range r.Header.Values("Accept-Encoding") {
		for coding := range strings.SplitSeq(list, ",") {
			name, weight, _ := strings.Cut(coding, ";")
			_, q, weighted := strings.Cut(weight, "=")
			if strings.EqualFold(strings.TrimSpace(name), "gzip") && (!weighted || strings.Trim(q, " 0.") != "") {
				return true
			}
		}
	}
	return false
}

// What the page shows of the document.
type (
	docView struct {
		Title, Description, Base string
		Prefix                   string // of the document's own paths
		Tags                     []docTag
		Types                    []docType
	}
	docTag struct {
		Name, Description string
		Operations        []docOperation
	}
	docOperation struct {
		ID, Method, Path, Summary, Description, Scope, Example string
		Parameters, Body                                       []docField
		BodyTypes                                              []string
		Answers                                                []docAnswer
	}
	docField struct {
		Name, Where, Type, Link, Rule, Description string
		Required                                   bool
	}
	docAnswer struct{ Status, Description, Type, Link string }
	docType   struct {
		Name   string
		Fields []docField
	}
)

func viewOf(doc *huma.OpenAPI, base string) docView {
	v := docView{Title: doc.Info.Title, Description: doc.Info.Description, Base: base}
	for _, tag := range doc.Tags {
		t := docTag{Name: tag.Name, Description: tag.Description}
		for _, path := range slices.Sorted(maps.Keys(doc.Paths)) {
			item := doc.Paths[path]
			for _, op := range operationsOf(item) {
				if slices.Contains(op.Tags, tag.Name) {
					t.Operations = append(t.Operations, operationView(doc, op, base))
				}
			}
		}
		v.Tags = append(v.Tags, t)
	}
	schemas := doc.Components.Schemas.Map()
	for _, name := range slices.Sorted(maps.Keys(schemas)) {
		v.Types = append(v.Types, docType{Name: name, Fields: fieldsOf(doc, schemas[name])})
	}
	return v
}

func operationView(doc *huma.OpenAPI, op *huma.Operation, base string) docOperation {
	v := docOperation{ID: op.OperationID, Method: op.Method, Path: op.Path, Summary: op.Summary, Description: op.Description}
	for _, way := range op.Security {
		if scopes := way[bearerAuth]; len(scopes) > 0 {
			v.Scope = strings.Join(scopes, " ")
		}
	}
	for _, p := range op.Parameters {
		f := fieldView(p.Name, p.Schema, p.Required)
		f.Where, f.Description = p.In, p.Description
		v.Parameters = append(v.Parameters, f)
	}
	if op.RequestBody != nil {
		v.BodyTypes = slices.Sorted(maps.Keys(op.RequestBody.Content))
		if c := op.RequestBody.Content[jsonType]; c != nil {
			v.Body = fieldsOf(doc, c.Schema)
		}
	}
	for _, status := range slices.Sorted(maps.Keys(op.Responses)) {
		r := op.Responses[status]
		a := docAnswer{Status: status, Description: r.Description}
		for _, c := range r.Content {
			a.Type, a.Link = typeOf(c.Schema)
		}
		v.Answers = append(v.Answers, a)
	}
	if samples, ok := op.Extensions["x-codeSamples"].([]any); ok && len(samples) > 0 {
		source, _ := samples[0].(map[string]any)["source"].(string)
		v.Example = strings.ReplaceAll(source, exampleHost, base)
	}
	return v
}

func fieldsOf(doc *huma.OpenAPI, s *huma.Schema) []docField {
	if s.Ref != "" {
		s = doc.Components.Schemas.SchemaFromRef(s.Ref)
	}
	names := slices.Sorted(maps.Keys(s.Properties))
	slices.SortStableFunc(names, func(a, b string) int { // required ones first
		return cmp.Compare(index(s.Required, a), index(s.Required, b))
	})
	fields := make([]docField, 0, len(names))
	for _, name := range names {
		fields = append(fields, fieldView(name, s.Properties[name], slices.Contains(s.Required, name)))
	}
	return fields
}

func index(list []string, s string) int {
	if i := slices.Index(list, s); i >= 0 {
		return i
	}
	return len(list)
}

func fieldView(name string, s *huma.Schema, required bool) docField {
	f := docField{Name: name, Required: required, Description: s.Description, Rule: ruleOf(s)}
	f.Type, f.Link = typeOf(s)
	return f
}

// typeOf names a schema and, if the page describes it, where.
func typeOf(s *huma.Schema) (name, link string) {
	switch {
	case s == nil:
		return "", ""
	case s.Ref != "":
		name = s.Ref[strings.LastIndexByte(s.Ref, '/')+1:]
		return name, "#type-" + name
	case len(s.AnyOf) > 0:
		name, link = typeOf(s.AnyOf[0])
		return name + " or null", link
	case s.Type == huma.TypeArray:
		name, link = typeOf(s.Items)
		return "array of " + name, link
	}
	name = s.Type
	if s.Format != "" && s.Format != "int64" {
		name += " (" + s.Format + ")"
	}
	if s.Nullable {
		name += " or null"
	}
	return name, ""
}

func ruleOf(s *huma.Schema) string {
	var rules []string
	values := s.Enum
	if s.Items != nil {
		values = s.Items.Enum
	}
	if len(values) > 0 {
		words := make([]string, len(values))
		for i, v := range values {
			words[i] = fmt.Sprint(v)
		}
		rules = append(rules, strings.Join(words, ", "))
	}
	if s.Minimum != nil && s.Maximum != nil {
		rules = append(rules, fmt.Sprintf("%v to %v", *s.Minimum, *s.Maximum))
	}
	if s.MaxLength != nil {
		rules = append(rules, fmt.Sprintf("at most %d characters", *s.MaxLength))
	}
	if s.Default != nil {
		rules = append(rules, fmt.Sprintf("default %v", s.Default))
	}
	return strings.Join(rules, "; ")
}

// breakable shows a name that a narrow column breaks behind its underscores, not within a word.
func breakable(name any) template.HTML {
	return template.HTML(strings.ReplaceAll(template.HTMLEscapeString(fmt.Sprint(name)), "_", "_<wbr>"))
}

// prose shows the little Markdown that the document uses: paragraphs and code.
func prose(s string) template.HTML {
	var b strings.Builder
	for _, paragraph := range strings.Split(s, "\n\n") {
		b.WriteString("<p>")
		for i, piece := range strings.Split(paragraph, "`") {
			if i%2 == 1 {
				b.WriteString("<code>" + template.HTMLEscapeString(piece) + "</code>")
			} else {
				b.WriteString(template.HTMLEscapeString(piece))
			}
		}
		b.WriteString("</p>")
	}
	return template.HTML(b.String()) // every piece was escaped
}
