package rest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"
	"github.com/pb33f/libopenapi-validator/config"
	breaches "github.com/pb33f/libopenapi-validator/errors"
)

// contract holds every exchange of this package's tests against the OpenAPI
// documents: it is the transport of every client that setup gives out. The answer
// must be documented: its status, its type, its headers, each member of its body. A
// request that was taken (2xx) must be a valid one, too. What is outside the
// documents may refuse in the form of RFC 9457 alone.
type contract struct {
	t    testing.TB
	next http.RoundTripper
}

// judged is next under the contract. Benchmarks go without it, which costs time, and
// fuzz tests, which may not complain by the F that the server was made with.
func judged(t testing.TB, next http.RoundTripper) http.RoundTripper {
	switch t.(type) {
	case *testing.B, *testing.F:
		return next
	}
	return contract{t, next}
}

// CloseIdleConnections is for http.Client.
func (c contract) CloseIdleConnections() {
	c.next.(interface{ CloseIdleConnections() }).CloseIdleConnections()
}

// RoundTrip looks at the answer when its body has been read to its end.
func (c contract) RoundTrip(r *http.Request) (*http.Response, error) {
	sent := &tape{}
	asked := r
	if r.Body != nil && r.Body != http.NoBody {
		r = r.Clone(r.Context())
		r.Body = struct {
			io.Reader
			io.Closer
		}{io.TeeReader(asked.Body, sent), asked.Body}
	}
	answer, err := c.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	got := &tape{}
	answer.Body = &watched{ReadCloser: answer.Body, tape: got, end: func() { c.judge(asked, sent.octets(), answer, got.octets()) }}
	return answer, nil
}

// tape keeps what went by. The request's is written by the transport.
type tape struct {
	mu   sync.Mutex
	kept bytes.Buffer
}

func (t *tape) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.kept.Write(p)
}

func (t *tape) octets() []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	return bytes.Clone(t.kept.Bytes())
}

// watched is a body that calls end once, at its end. One that breaks off, or that
// nobody reads, is no answer to be judged.
type watched struct {
	io.ReadCloser
	tape *tape
	end  func()
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.ReadCloser.Read(p)
	_, _ = w.tape.Write(p[:n]) // a buffer
	if err == io.EOF && w.end != nil {
		w.end()
		w.end = nil
	}
	return n, err
}

// forced are answers that fakes make up, which no store gives there.
var forced = map[string]bool{
	"POST /v1/messages 404":        true, // TestRefusalsOfIngress: ingress gives every reason there is
	"GET /v1/inbound-settings 404": true, // TestInboundTenants: the fake has no account
	"GET /api/v1/admin/staff 404":  true, // TestInternalReference: a process without the internal API
}

func (c contract) judge(r *http.Request, sent []byte, answer *http.Response, got []byte) {
	c.t.Helper()
	complain := func(format string, args ...any) {
		c.t.Helper()
		c.t.Errorf("contract: %s %s: %d: %s\nanswer: %.600s", r.Method, r.URL.RequestURI(), answer.StatusCode, fmt.Sprintf(format, args...), got)
	}
	doc, path, ok := documented(r)
	if !ok {
		if answer.StatusCode >= 400 && answer.StatusCode != http.StatusNotImplemented {
			if err := refuses(r, answer, got); err != nil {
				complain("%v", err)
			}
		}
		return
	}
	times := answered.add(doc, r.Method, path, answer.StatusCode)
	if answer.StatusCode >= 400 && times > sameRefusals { // they are made in one place
		return
	}
	if raced || forced[fmt.Sprint(r.Method, " ", path, " ", answer.StatusCode)] {
		return
	}
	copied := *answer
	copied.Body = io.NopCloser(bytes.NewReader(got))
	if ok, list := doc.answers.ValidateHttpResponse(r, &copied); !ok {
		complain("the answer is not as documented: %s", said(list))
	}
	if answer.StatusCode >= 300 {
		return
	}
	asked := r.Clone(r.Context())
	asked.Body = io.NopCloser(bytes.NewReader(sent))
	if len(sent) == 0 {
		asked.Body = http.NoBody
	}
	kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	switch kinds := doc.bodies(path, r.Method); {
	case len(sent) == 0 || kinds[strings.ToLower(kind)] != nil:
	case kinds["*/*"] != nil, kinds["application/octet-stream"] != nil:
		asked.Header.Set("Content-Type", "application/octet-stream") // whatever they are called
	case kind == "":
		asked.Header.Set("Content-Type", jsonType) // what a body is that does not say
	}
	asked.URL.RawQuery = doc.query(path, r).Encode()
	ok, list := doc.requests.ValidateHttpRequestSync(asked)
	if kind, _, _ := strings.Cut(asked.Header.Get("Content-Type"), ";"); !ok && strings.EqualFold(kind, jsonType) {
		asked.Body = io.NopCloser(bytes.NewReader(withoutNulls(sent)))
		ok, list = doc.requests.ValidateHttpRequestSync(asked)
	}
	if !ok {
		complain("the request is not as documented, and was taken: %s\nrequest: %.300s", said(list), sent)
	}
}

// withoutNulls leaves out the members that are null: in requests that is as if they
// were left out, but for those of a merge patch, which are tested as they are changed.
func withoutNulls(text []byte) []byte {
	var v map[string]any
	if json.Unmarshal(text, &v) != nil {
		return text
	}
	for name, e := range v {
		if e == nil {
			delete(v, name)
		}
	}
	rest, err := json.Marshal(v)
	if err != nil {
		return text
	}
	return rest
}

// query is what a request has in its query, as the server reads it where OpenAPI has no
// word for that: of a parameter that is given again the first counts, and what is a list
// may be repeated as well as hold several with commas between.
func (d *documentedAPI) query(path string, r *http.Request) url.Values {
	query := r.URL.Query()
	op := d.paths[path][strings.ToLower(r.Method)].(map[string]any)
	list, _ := op["parameters"].([]any)
	for _, p := range list {
		p := p.(map[string]any)
		name, _ := p["name"].(string)
		if p["in"] != "query" || len(query[name]) == 0 {
			continue
		}
		if schema, _ := p["schema"].(map[string]any); schema["type"] != "array" {
			query[name] = query[name][:1]
			continue
		}
		var all []string
		for _, one := range strings.Split(strings.Join(query[name], ","), ",") {
			all = append(all, strings.TrimSpace(one))
		}
		query[name] = all
	}
	return query
}

// bodies are the types of body that an operation takes.
func (d *documentedAPI) bodies(path, method string) map[string]any {
	op := d.paths[path][strings.ToLower(method)].(map[string]any)
	body, _ := op["requestBody"].(map[string]any)
	kinds, _ := body["content"].(map[string]any)
	return kinds
}

func said(list []*breaches.ValidationError) string {
	var text strings.Builder
	for _, e := range list {
		fmt.Fprintf(&text, "\n  %s: %s", e.Message, e.Reason)
		for _, d := range e.SchemaValidationErrors {
			fmt.Fprintf(&text, "\n    %s: %s", strings.Join(d.InstancePath, "."), d.Reason)
		}
	}
	return text.String()
}

// refuses holds an answer without an operation against RFC 9457, as the documents
// tell it. Probes, media and vendors' webhooks have refusals of their own.
func refuses(r *http.Request, answer *http.Response, got []byte) error {
	for _, other := range []string{"/readyz", "/media/", "/inbound/", "/status/"} {
		if strings.HasPrefix(r.URL.Path, other) {
			return nil
		}
	}
	if kind := answer.Header.Get("Content-Type"); kind != problemType {
		return fmt.Errorf("a refusal of the type %q", kind)
	}
	if r.Method == http.MethodHead {
		return nil
	}
	var p problem
	if err := json.Unmarshal(got, &p); err != nil || p.Type == "" || p.Title == "" || p.Detail == "" || p.Status != answer.StatusCode || p.RequestID != answer.Header.Get("X-Request-Id") {
		return fmt.Errorf("no problem of RFC 9457: %v", err)
	}
	return nil
}

// documentedAPI is a document, ready to judge by.
type documentedAPI struct {
	name              string
	paths             map[string]map[string]any // path, method: operation
	answers, requests validator.Validator
}

var documents = sync.OnceValues(func() ([]*documentedAPI, error) {
	customers, err := generate()
	if err != nil {
		return nil, err
	}
	internal, err := generateAdmin()
	if err != nil {
		return nil, err
	}
	var list []*documentedAPI
	for name, text := range map[string][]byte{"openapi.json": customers, "openapi_admin.json": internal} {
		d, err := newDocumented(name, text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		list = append(list, d)
	}
	return list, nil
})

func newDocumented(name string, text []byte) (*documentedAPI, error) {
	var root struct {
		Paths map[string]map[string]any `json:"paths"`
	}
	if err := json.Unmarshal(text, &root); err != nil {
		return nil, err
	}
	d := &documentedAPI{name: name, paths: root.Paths}
	var err error
	if d.requests, err = judgeOf(text); err != nil {
		return nil, err
	}
	// Answers may grow, so their schemas are open; but what they have today is documented.
	var whole any
	if err := json.Unmarshal(text, &whole); err != nil {
		return nil, err
	}
	closeSchemas(whole)
	closed, err := json.Marshal(whole)
	if err != nil {
		return nil, err
	}
	d.answers, err = judgeOf(closed)
	return d, err
}

func judgeOf(text []byte) (validator.Validator, error) {
	if raced {
		return nil, nil
	}
	doc, err := libopenapi.NewDocument(text)
	if err != nil {
		return nil, err
	}
	v, errs := validator.NewValidator(doc, config.WithFormatAssertions())
	if len(errs) > 0 {
		return nil, errs[0]
	}
	return v, nil
}

// closeSchemas refuses members that a schema with members does not name.
func closeSchemas(v any) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			closeSchemas(e)
		}
	case map[string]any:
		if v["properties"] != nil && v["additionalProperties"] == true {
			v["additionalProperties"] = false
		}
		for _, e := range v {
			closeSchemas(e)
		}
	}
}

// documented finds the operation that a request is for.
func documented(r *http.Request) (*documentedAPI, string, bool) {
	list, err := documents()
	if err != nil {
		panic(err)
	}
	given := strings.Split(r.URL.EscapedPath(), "/")
	var found *documentedAPI
	best := ""
	for _, d := range list {
		for path, item := range d.paths {
			if item[strings.ToLower(r.Method)] != nil && fits(strings.Split(path, "/"), given) && (best == "" || strings.Count(path, "{") < strings.Count(best, "{")) {
				found, best = d, path
			}
		}
	}
	return found, best, found != nil
}

func fits(path, given []string) bool {
	if len(path) != len(given) {
		return false
	}
	for i, s := range path {
		if s != given[i] && (!strings.HasPrefix(s, "{") || given[i] == "") {
			return false
		}
	}
	return true
}

// answered is what the tests of this package have been answered.
var answered = &answers{statuses: map[string]map[int]int{}}

// sameRefusals is how often a refusal of one status by one operation is judged: thousands
// of requests are refused.
const sameRefusals = 3

type answers struct {
	mu       sync.Mutex
	statuses map[string]map[int]int // how often, by document, method and path
}

// add counts an answer, and reports how many there were of its kind with it.
func (a *answers) add(d *documentedAPI, method, path string, status int) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	key := d.name + ": " + strings.ToUpper(method) + " " + path
	if a.statuses[key] == nil {
		a.statuses[key] = map[int]int{}
	}
	a.statuses[key][status]++
	return a.statuses[key][status]
}
