// Package temporal serves the Temporal UI to staff who are signed in to the console, for
// reading alone: support looks at the workflow of a message where it already is, with no
// second door to a server that can end workflows. The UI opens payloads through the
// console, too, in the name of whoever looks, so that the role and the audit log are those
// of POST /api/v1/admin/codec/decode.
package temporal

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/postrider/postrider/edges/console/call"
)

const (
	// Path is where the UI is served: its server must know it as its public path.
	Path = "/console/temporal"
	// CodecPath is what the UI has as its codec endpoint; it asks for /decode behind it.
	CodecPath = "/console/codec"
)

// decode is the operation that opens payloads, maxPayloads the most that one request of the
// UI holds: a page of a history with texts at their longest, in base64.
const (
	decode      = "/api/v1/admin/codec/decode"
	maxPayloads = 4 << 20
)

const policyHeader = "Content-Security-Policy"

// uiPolicy is the Content-Security-Policy of the UI's pages, which begin with a script of
// their own, style what they draw, and show words of workflows in frames.
const uiPolicy = "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; " +
	"connect-src 'self'; frame-src 'self'; frame-ancestors 'self'; base-uri 'self'; form-action 'self'"

// UI passes requests of staff on to the server of the Temporal UI. All fields must be set.
type UI struct {
	// Server is where it is, without the path.
	Server *url.URL
	// Namespace is the only one whose workflows are shown.
	Namespace string
	API       *call.API
	Log       *slog.Logger
}

// Handler serves what is below Path and CodecPath to whom it lets through, which must be
// staff that is signed in, with requests from pages of the same origin only.
func (u *UI) Handler() http.Handler {
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(u.Server)
			r.Out.Host = u.Server.Host
			only(r.Out)
		},
		ModifyResponse: func(r *http.Response) error {
			own(r.Header)
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			if !errors.Is(err, context.Canceled) {
				u.Log.Warn("the Temporal UI does not answer", "error", err)
			}
			http.Error(w, "The Temporal UI does not answer. Messages go on without it.", http.StatusBadGateway)
		},
		Transport: &http.Transport{ResponseHeaderTimeout: 30 * time.Second, MaxIdleConns: 20, MaxIdleConnsPerHost: 20, IdleConnTimeout: time.Minute},
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+CodecPath+"/decode", u.decode)
	mux.HandleFunc(Path+"/", func(w http.ResponseWriter, r *http.Request) {
		if why := u.refused(r.Method, strings.TrimPrefix(r.URL.EscapedPath(), Path)); why != "" {
			say(w, http.StatusForbidden, why)
			return
		}
		for _, name := range []string{"Cache-Control", "X-Frame-Options", policyHeader} { // of our own pages
			w.Header().Del(name)
		}
		proxy.ServeHTTP(w, r)
	})
	mux.Handle(Path, http.RedirectHandler(Path+"/namespaces/"+url.PathEscape(u.Namespace)+"/workflows", http.StatusSeeOther))
	return mux
}

// refused says why a request of an escaped path is not passed on; empty: it is. Whatever
// changes something is refused, and other namespaces, which may be those of others on the
// same cluster.
func (u *UI) refused(method, path string) string {
	parts := strings.Split(strings.TrimPrefix(path, "/"), "/")
	for i, part := range parts {
		word, err := url.PathUnescape(part)
		// Ids of workflows have slashes, escaped; what comes before them has none.
		if err != nil || word == "." || word == ".." || i < 4 && strings.Contains(word, "/") {
			return "There is nothing at this path."
		}
		parts[i] = word
	}
	reads := method == http.MethodGet || method == http.MethodHead
	switch { // api, version, "namespaces", namespace, "workflows", id, …
	case parts[0] == "api" && len(parts) > 3 && parts[2] == "namespaces" && parts[3] != u.Namespace:
		return "Only the namespace " + u.Namespace + " is shown here."
	case reads:
		return ""
	case method == http.MethodPost && len(parts) == 8 && parts[0] == "api" && parts[4] == "workflows" && parts[6] == "query": // a question to a workflow
		return ""
	}
	return "Workflows can only be read here. What can be done with a message is on its page in the console."
}

// csrfCookie is the one cookie of the UI's server that questions to workflows need.
const csrfCookie = "_csrf"

// only takes from a request what the server of the UI has no business with: our session.
func only(r *http.Request) {
	cookies := r.Cookies()
	r.Header.Del("Cookie")
	for _, c := range cookies {
		if c.Name == csrfCookie {
			r.AddCookie(c)
		}
	}
	r.Header.Del("Authorization")
}

// own makes headers of an answer those of a page of ours.
func own(h http.Header) {
	cookies := h.Values("Set-Cookie")
	h.Del("Set-Cookie")
	for _, c := range cookies {
		if set, err := http.ParseSetCookie(c); err == nil && set.Name == csrfCookie {
			set.Path, set.SameSite = Path, http.SameSiteStrictMode
			h.Add("Set-Cookie", set.String())
		}
	}
	for _, name := range []string{"Access-Control-Allow-Origin", "Access-Control-Allow-Credentials", "Server", "X-Frame-Options", "X-Content-Type-Options", "Referrer-Policy"} {
		h.Del(name) // ours stand there already
	}
	if h.Get("Cache-Control") == "" {
		h.Set("Cache-Control", "no-store")
	}
	h.Set(policyHeader, uiPolicy)
	h.Set("X-Frame-Options", "SAMEORIGIN")
}

// decode opens payloads in the name of who looks.
func (u *UI) decode(w http.ResponseWriter, r *http.Request) {
	var body map[string]any
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxPayloads)).Decode(&body); err != nil {
		say(w, http.StatusBadRequest, "The body is no list of payloads.")
		return
	}
	got, err := u.API.Do(r.Context(), call.Request{Method: http.MethodPost, Path: decode, Body: body})
	var problem *call.Problem
	switch {
	case errors.As(err, &problem):
		say(w, problem.Status, problem.Detail)
	case err != nil:
		u.Log.Error("payloads not opened", "error", err)
		say(w, http.StatusInternalServerError, "The payloads could not be opened.")
	default:
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(got.Body) // whoever asked is gone
	}
}

// say answers as the API of the UI's server does, which the UI shows.
func say(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"message": text})
}

// Serves reports whether a path is one of Handler's.
func Serves(path string) bool {
	return slices.ContainsFunc([]string{Path, CodecPath}, func(p string) bool { return path == p || strings.HasPrefix(path, p+"/") })
}
