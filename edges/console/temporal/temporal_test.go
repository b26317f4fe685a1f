package temporal

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/postrider/postrider/edges/console/call"
)

// setup is a UI before a server that tells what it was asked, and an API that opens payloads
// for everybody but those of the path "/refuse".
func setup(t *testing.T) (h http.Handler, asked *[]*http.Request) {
	t.Helper()
	asked = new([]*http.Request)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*asked = append(*asked, r)
		w.Header().Add("Set-Cookie", "_csrf=x; Path=/")
		w.Header().Add("Set-Cookie", "other=y; Path=/")
		w.Header().Set("Content-Security-Policy", "frame-src https://elsewhere.example")
		w.Header().Set("Access-Control-Allow-Origin", "*")
		_, _ = io.WriteString(w, "the UI")
	}))
	t.Cleanup(server.Close)
	at, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	api := &call.API{Visitor: func(ctx context.Context) context.Context { return ctx }, Address: func(context.Context) string { return "127.0.0.1:1" },
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			if r.Method != http.MethodPost || r.URL.Path != decode || strings.Contains(string(body), "refuse") {
				w.WriteHeader(http.StatusForbidden)
				_, _ = io.WriteString(w, `{"code":"forbidden","detail":"only support opens payloads"}`)
				return
			}
			_, _ = w.Write(body)
		})}
	return (&UI{Server: at, Namespace: "postrider", API: api, Log: slog.New(slog.DiscardHandler)}).Handler(), asked
}

func ask(h http.Handler, method, path, body string) *http.Response {
	r := httptest.NewRequest(method, "https://gw.example"+path, strings.NewReader(body))
	r.Header.Set("Cookie", "postrider_console=secret; _csrf=x")
	r.Header.Set("Authorization", "Bearer secret")
	w := httptest.NewRecorder()
	// As the gate does before it lets somebody through.
	w.Header().Set("Content-Security-Policy", "default-src 'none'")
	w.Header().Set("Cache-Control", "no-store")
	h.ServeHTTP(w, r)
	return w.Result()
}

// Nothing that changes a workflow is passed on, nor anything of another namespace.
func TestOnlyReading(t *testing.T) {
	h, asked := setup(t)
	for _, c := range []struct {
		method, path string
		passed       bool
	}{
		{"GET", "/console/temporal/namespaces/postrider/workflows", true},
		{"GET", "/console/temporal/_app/immutable/x.js", true},
		{"GET", "/console/temporal/api/v1/settings", true},
		{"GET", "/console/temporal/api/v1/namespaces/postrider/workflows/message%2Fx/history?a=b", true},
		{"POST", "/console/temporal/api/v1/namespaces/postrider/workflows/x/query/__temporal_workflow_metadata", true},
		{"POST", "/console/temporal/api/v1/namespaces/postrider/workflows/message%2Fx/query/__temporal_workflow_metadata", true},
		{"POST", "/console/temporal/api/v1/namespaces/postrider/workflows/x%2Fquery%2Fy/terminate", false},
		{"GET", "/console/temporal/api/v1/namespaces/theirs/workflows", false},
		{"POST", "/console/temporal/api/v1/namespaces/postrider/workflows/x/terminate", false},
		{"POST", "/console/temporal/api/v1/namespaces/postrider/workflows/x/signal/go", false},
		{"POST", "/console/temporal/api/v1/namespaces/postrider/workflows/query/query/terminate/x", false},
		{"POST", "/console/temporal/api/v1/namespaces/theirs/workflows/x/query/q", false},
		{"POST", "/console/temporal/api/v1/namespaces", false},
		{"DELETE", "/console/temporal/api/v1/namespaces/postrider/workflows/x", false},
		{"POST", "/console/temporal/auth/sso", false},
		{"PUT", "/console/temporal/x", false},
	} {
		*asked = nil
		got := ask(h, c.method, c.path, "{}")
		if passed := len(*asked) == 1; passed != c.passed || passed != (got.StatusCode == http.StatusOK) {
			t.Errorf("%s %s: passed on %t, %d", c.method, c.path, passed, got.StatusCode)
		}
		if !c.passed {
			continue
		}
		r := (*asked)[0]
		if r.RequestURI != c.path || r.Header.Get("Authorization") != "" || r.Header.Get("Cookie") != "_csrf=x" {
			t.Errorf("%s %s: it went as %s with %q", c.method, c.path, r.RequestURI, r.Header)
		}
		if set := got.Header.Values("Set-Cookie"); len(set) != 1 || set[0] != "_csrf=x; Path=/console/temporal; SameSite=Strict" {
			t.Errorf("cookies %q", set)
		}
		if p := got.Header.Values("Content-Security-Policy"); len(p) != 1 || p[0] != uiPolicy || got.Header.Get("Access-Control-Allow-Origin") != "" || got.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("headers %q", got.Header)
		}
	}
}

// Paths that try to leave the UI's part of its server reach nothing else.
func TestOddPaths(t *testing.T) {
	h, asked := setup(t)
	for _, path := range []string{"/console/temporal/../../api/v1/namespaces/theirs/workflows", "/console/temporal/x/../api/v1/namespaces/theirs/workflows", "/console/temporal//api/v1/namespaces/theirs/workflows",
		"/console/temporal/api/v1/namespaces//theirs", "/console/temporal/api/v1//namespaces/theirs/workflows", "/console/temporal/%61pi/v1/namespaces/theirs/workflows", "/console/temporal/api%2Fv1/namespaces/theirs/workflows",
		"/console/temporal/api/v1/namespaces/postrider%2F..%2Ftheirs/workflows"} {
		ask(h, "GET", path, "")
		for _, r := range *asked {
			t.Errorf("%s was passed on as %s", path, r.RequestURI)
		}
		*asked = nil
	}
}

func TestPayloadsAreOpenedByTheAPI(t *testing.T) {
	h, asked := setup(t)
	for _, c := range []struct {
		body   string
		status int
		says   string
	}{
		{`{"payloads":[{"data":"eA=="}]}`, http.StatusOK, `{"payloads":[{"data":"eA=="}]}`},
		{`{"payloads":"refuse"}`, http.StatusForbidden, `{"message":"only support opens payloads"}`},
		{`nonsense`, http.StatusBadRequest, "no list of payloads"},
	} {
		got := ask(h, "POST", CodecPath+"/decode", c.body)
		body, _ := io.ReadAll(got.Body)
		if got.StatusCode != c.status || !strings.Contains(string(body), c.says) {
			t.Errorf("%s: %d %s", c.body, got.StatusCode, body)
		}
	}
	if len(*asked) != 0 {
		t.Error("payloads went to the UI's server")
	}
}

func TestServes(t *testing.T) {
	for path, want := range map[string]bool{"/console/temporal": true, "/console/temporal/x": true, "/console/codec/decode": true, "/console/temporals": false, "/console": false, "/console/messages/x/cancel": false} {
		if Serves(path) != want {
			t.Error(path)
		}
	}
}

func TestAwayUI(t *testing.T) {
	ui := &UI{Server: &url.URL{Scheme: "http", Host: "127.0.0.1:1"}, Namespace: "postrider", Log: slog.New(slog.DiscardHandler)}
	if got := ask(ui.Handler(), "GET", "/console/temporal/x", ""); got.StatusCode != http.StatusBadGateway {
		t.Error(got.Status)
	}
}
