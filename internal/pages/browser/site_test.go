package browser

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// policy is at least as strict as that of any page of ours.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// site serves pages for the verbs, by path. A name with a dot is a file of its kind.
type site map[string]string

func (s site) start(t *testing.T, more ...func(*http.ServeMux)) string {
	t.Helper()
	mux := http.NewServeMux()
	for path, body := range s {
		pattern := "GET " + path
		if path == "/" {
			pattern = "GET /{$}"
		}
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Security-Policy", policy)
			switch {
			case strings.HasSuffix(path, ".css"):
				w.Header().Set("Content-Type", "text/css")
				w.Header().Set("Cache-Control", "max-age=300")
			case strings.HasSuffix(path, ".js"):
				w.Header().Set("Content-Type", "text/javascript")
			default:
				w.Header().Set("Content-Type", "text/html; charset=utf-8")
			}
			fmt.Fprint(w, strings.ReplaceAll(body, "{query}", r.URL.Query().Encode()))
		})
	}
	mux.HandleFunc("GET /favicon.ico", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.HandleFunc("POST /sent", func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseMultipartForm(1 << 20); err != nil && err != http.ErrNotMultipart {
			t.Error(err)
		}
		http.Redirect(w, r, "/shown?"+r.Form.Encode(), http.StatusSeeOther)
	})
	mux.HandleFunc("GET /list.csv", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Disposition", `attachment; filename="numbers.csv"`)
		fmt.Fprint(w, "number\n+12025550143\n")
	})
	mux.HandleFunc("GET /in", func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "session", Value: "s1", Path: "/in", HttpOnly: true})
		http.Redirect(w, r, "/", http.StatusSeeOther)
	})
	mux.HandleFunc("GET /in/side", func(w http.ResponseWriter, r *http.Request) {
		if c, err := r.Cookie("session"); err != nil || c.Value != "s1" {
			w.WriteHeader(http.StatusUnauthorized)
		}
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, document("<h1>In side</h1>"))
	})
	mux.HandleFunc("GET /nothing", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	for _, add := range more {
		add(mux)
	}
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}

// document is a page that no judge finds fault with, around a body.
func document(body string) string {
	return `<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>A page</title></head>
<body><main>` + body + `</main></body></html>`
}
