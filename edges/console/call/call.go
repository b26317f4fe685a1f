// Package call lets the web pages use the operations of the HTTP APIs within the process:
// what a page may show and do is decided where it is for every other client, by the same
// code. There is no connection and no token between them; the context says for whom.
package call

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// API asks Handler. Safe for concurrent use.
type API struct {
	// Handler serves the operations.
	Handler http.Handler
	// Visitor adds to the context for whom the request is. It must be set.
	Visitor func(context.Context) context.Context
	// Address is the remote address of the request that a context belongs to, as
	// http.Request has it; it stands in the audit log, and rates are counted by it.
	Address func(context.Context) string
}

// Problem is a refusal of the API (RFC 9457).
type Problem struct {
	Status    int     `json:"status"`
	Code      string  `json:"code"`
	Title     string  `json:"title"`
	Detail    string  `json:"detail"`
	RequestID string  `json:"request_id"`
	MessageID string  `json:"message_id"`
	Errors    []Fault `json:"errors"`
}

// Fault is what is wrong with one member.
type Fault struct {
	Location string `json:"location"`
	Message  string `json:"message"`
}

// Error is for logs: without the faults, which may hold what somebody typed.
func (p *Problem) Error() string { return fmt.Sprintf("%d %s", p.Status, p.Code) }

// StatusOf is the HTTP status of a refusal, 0 for another error.
func StatusOf(err error) int {
	var p *Problem
	if errors.As(err, &p) {
		return p.Status
	}
	return 0
}

// Request is one request. The zero Method is GET.
type Request struct {
	Method, Path string
	Query        url.Values
	// Body is written as JSON; nil: there is none. RawBody goes as it is, of RawType.
	Body    any
	RawBody io.Reader
	RawType string
	// IfMatch is the ETag that the thing must still have; empty: any.
	IfMatch string
	// Key makes the request one that is done once, however often it is sent.
	Key string
}

// Answer is what came back of a request that was done.
type Answer struct {
	Status   int
	ETag     string
	Location string
	Body     []byte
}

// Get reads a resource into out.
func (a *API) Get(ctx context.Context, path string, query url.Values, out any) error {
	got, err := a.Do(ctx, Request{Path: path, Query: query})
	if err != nil {
		return err
	}
	return got.Into(out)
}

// Into reads the answer's body; nil: nobody wants it.
func (a *Answer) Into(out any) error {
	if out == nil || len(a.Body) == 0 {
		return nil
	}
	if err := json.Unmarshal(a.Body, out); err != nil {
		return fmt.Errorf("the answer cannot be read: %w", err)
	}
	return nil
}

// Do makes a request; a refusal is a *Problem.
func (a *API) Do(ctx context.Context, q Request) (*Answer, error) {
	r, err := a.request(ctx, q)
	if err != nil {
		return nil, err
	}
	w := &recorder{header: http.Header{}}
	a.Handler.ServeHTTP(w, r)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if w.status == 0 {
		w.status = http.StatusOK
	}
	if w.status >= http.StatusBadRequest {
		p := &Problem{}
		if json.Unmarshal(w.body.Bytes(), p) != nil || p.Code == "" {
			p = &Problem{Code: "internal", Detail: "The gateway could not do this."}
		}
		p.Status = w.status
		return nil, p
	}
	return &Answer{Status: w.status, ETag: w.header.Get("ETag"), Location: w.header.Get("Location"), Body: w.body.Bytes()}, nil
}

func (a *API) request(ctx context.Context, q Request) (*http.Request, error) {
	if q.Method == "" {
		q.Method = http.MethodGet
	}
	at := q.Path
	if len(q.Query) > 0 {
		at += "?" + q.Query.Encode()
	}
	body, kind := q.RawBody, q.RawType
	if q.Body != nil {
		text, err := json.Marshal(q.Body)
		if err != nil {
			return nil, fmt.Errorf("the request cannot be written: %w", err)
		}
		body, kind = bytes.NewReader(text), "application/json" // which stands for a merge patch as well
	}
	r, err := http.NewRequestWithContext(a.Visitor(ctx), q.Method, at, body)
	if err != nil {
		return nil, err
	}
	if !strings.HasPrefix(r.URL.Path, "/") {
		return nil, fmt.Errorf("no path of an operation: %q", q.Path)
	}
	r.RemoteAddr = a.Address(ctx)
	r.RequestURI = at
	if r.Body == nil {
		r.Body = http.NoBody
	}
	for name, value := range map[string]string{"Content-Type": kind, "If-Match": q.IfMatch, "Idempotency-Key": q.Key} {
		if value != "" {
			r.Header.Set(name, value)
		}
	}
	return r, nil
}

// passed are the headers of an answer that go to the reader of a file.
var passed = []string{"Content-Type", "Content-Disposition", "Content-Length", "Content-Range", "Accept-Ranges", "ETag", "Last-Modified"}

// Pipe answers w with what an operation answers, as it comes: for files. accept is the type
// that is asked for; Range and If-Range of from go with it.
func (a *API) Pipe(w http.ResponseWriter, from *http.Request, path string, query url.Values, accept string) error {
	r, err := a.request(from.Context(), Request{Path: path, Query: query})
	if err != nil {
		return err
	}
	r.Header.Set("Accept", accept)
	for _, name := range []string{"Range", "If-Range"} {
		if v := from.Header.Get(name); v != "" {
			r.Header.Set(name, v)
		}
	}
	p := &pipe{w: w, header: http.Header{}}
	a.Handler.ServeHTTP(p, r)
	if p.refusal != nil {
		problem := &Problem{}
		if json.Unmarshal(p.refusal.Bytes(), problem) != nil {
			problem.Code = "internal"
		}
		problem.Status = p.status
		return problem
	}
	return nil
}

// recorder keeps an answer.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (w *recorder) Header() http.Header { return w.header }
func (w *recorder) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
}

func (w *recorder) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(b)
}

// pipe hands an answer on, unless it is a refusal.
type pipe struct {
	w       http.ResponseWriter
	header  http.Header
	status  int
	refusal *bytes.Buffer
}

func (p *pipe) Header() http.Header { return p.header }

func (p *pipe) WriteHeader(status int) {
	if p.status != 0 {
		return
	}
	if p.status = status; status >= http.StatusBadRequest {
		p.refusal = &bytes.Buffer{}
		return
	}
	for _, name := range passed {
		if v := p.header.Values(name); len(v) > 0 {
			p.w.Header()[name] = v
		}
	}
	p.w.WriteHeader(status)
}

func (p *pipe) Write(b []byte) (int, error) {
	p.WriteHeader(http.StatusOK)
	if p.refusal != nil {
		return p.refusal.Write(b)
	}
	return p.w.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (p *pipe) Unwrap() http.ResponseWriter { return p.w }
