package call

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

type who struct{}

// api is an API whose handler echoes what it was asked.
func api(serve http.HandlerFunc) *API {
	return &API{Handler: serve,
		Visitor: func(ctx context.Context) context.Context { return context.WithValue(ctx, who{}, "ada") },
		Address: func(context.Context) string { return "192.0.2.7:1234" }}
}

func TestDo(t *testing.T) {
	a := api(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("ETag", `"7"`)
		w.Header().Set("Location", "/made/1")
		w.WriteHeader(http.StatusCreated)
		_ = json.NewEncoder(w).Encode(map[string]any{"method": r.Method, "path": r.URL.Path, "query": r.URL.RawQuery, "type": r.Header.Get("Content-Type"), "match": r.Header.Get("If-Match"),
			"key": r.Header.Get("Idempotency-Key"), "body": string(body), "from": r.RemoteAddr, "who": r.Context().Value(who{})})
	})
	got, err := a.Do(t.Context(), Request{Method: "PATCH", Path: "/v1/things/1", Query: url.Values{"a": {"b c"}}, Body: map[string]any{"n": 1}, IfMatch: `"6"`, Key: "k"})
	if err != nil {
		t.Fatal(err)
	}
	var said map[string]string
	if err := got.Into(&said); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"method": "PATCH", "path": "/v1/things/1", "query": "a=b+c", "type": "application/json", "match": `"6"`, "key": "k", "body": `{"n":1}`, "from": "192.0.2.7:1234", "who": "ada"} {
		if said[name] != want {
			t.Errorf("%s: %q, want %q", name, said[name], want)
		}
	}
	if got.Status != http.StatusCreated || got.ETag != `"7"` || got.Location != "/made/1" {
		t.Errorf("%+v", got)
	}
}

func TestRefusals(t *testing.T) {
	for body, want := range map[string]string{
		`{"status":422,"code":"invalid_request","detail":"Not so.","errors":[{"location":"body.n","message":"is no number"}]}`: "invalid_request",
		`oops`: "internal", `{}`: "internal",
	} {
		a := api(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(422); _, _ = io.WriteString(w, body) })
		err := a.Get(t.Context(), "/x", nil, nil)
		var p *Problem
		if !errors.As(err, &p) || p.Code != want || p.Status != 422 || StatusOf(err) != 422 {
			t.Errorf("%s: %v", body, err)
		}
		if want == "invalid_request" && (p.Detail != "Not so." || len(p.Errors) != 1 || p.Errors[0].Location != "body.n") {
			t.Errorf("%+v", p)
		}
		w := httptest.NewRecorder()
		if err := a.Pipe(w, httptest.NewRequest("GET", "/", nil), "/x", nil, "text/csv"); !errors.As(err, &p) || w.Body.Len() > 0 || len(w.Header()) > 0 {
			t.Errorf("piped: %v, %q", err, w.Body)
		}
	}
	if StatusOf(io.EOF) != 0 {
		t.Error("another error has a status")
	}
}

func TestEndedRequestIsNoAnswer(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	a := api(func(http.ResponseWriter, *http.Request) { cancel() })
	if _, err := a.Do(ctx, Request{Path: "/x"}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestPipe(t *testing.T) {
	a := api(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept") != "text/csv" || r.Header.Get("Range") != "bytes=0-1" || r.Header.Get("Cookie") != "" {
			t.Errorf("%v", r.Header)
		}
		w.Header().Set("Content-Type", "text/csv")
		w.Header().Set("Content-Disposition", "attachment")
		w.Header().Set("Content-Security-Policy", "default-src *")
		_, _ = io.WriteString(w, "a,b\n")
	})
	r := httptest.NewRequest("GET", "/", strings.NewReader(""))
	r.Header.Set("Range", "bytes=0-1")
	r.Header.Set("Cookie", "session=secret")
	w := httptest.NewRecorder()
	if err := a.Pipe(w, r, "/x", nil, "text/csv"); err != nil {
		t.Fatal(err)
	}
	if w.Body.String() != "a,b\n" || w.Header().Get("Content-Type") != "text/csv" || w.Header().Get("Content-Disposition") != "attachment" || w.Header().Get("Content-Security-Policy") != "" {
		t.Errorf("%q %v", w.Body, w.Header())
	}
}
