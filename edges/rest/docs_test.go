package rest

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"regexp"
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/message"
)

func TestOpenAPIIsServed(t *testing.T) {
	b := setup(t, nil)
	r := b.do("GET", "/openapi.json", "")
	if r.StatusCode != 200 || !bytes.Equal(r.body, generated(t)) || r.Header.Get("Content-Type") != jsonType {
		t.Errorf("%d %q", r.StatusCode, r.Header.Get("Content-Type"))
	}
	r = b.do("GET", "/openapi.yaml", "")
	if r.StatusCode != 200 || !strings.Contains(string(r.body), "openapi: 3.1.0") || r.Header.Get("Content-Type") != "application/yaml" {
		t.Errorf("%d %q %.200s", r.StatusCode, r.Header.Get("Content-Type"), r.body)
	}
}

// foreign finds what a page would load or run.
var foreign = regexp.MustCompile(`(?i)<script|<iframe|<img|style=|onload=|onclick=|(src|href)="(https?:)?//`)

func TestPages(t *testing.T) {
	b := setup(t, func(b *bundle) { b.server.PublicURL = "https://api.gw.example/" })
	r := b.do("GET", "/docs", "")
	page := string(r.body)
	for _, text := range []string{
		"curl -sS https://api.gw.example/v1/messages", `id="sendMessage"`, `id="type-Message"`, "client_reference", "Idempotency-Key", "messages:write", "/docs/errors",
	} {
		if !strings.Contains(page, text) {
			t.Errorf("/docs lacks %q", text)
		}
	}
	links := map[string]bool{"/docs": true, "/docs/errors": true}
	for _, m := range regexp.MustCompile(`(?:href)="([^"]+)"`).FindAllStringSubmatch(page, -1) {
		if target, here := strings.CutPrefix(m[1], "#"); here {
			if !strings.Contains(page, `id="`+target+`"`) {
				t.Errorf("/docs links to %s, which is not there", m[1])
			}
			continue
		}
		links[m[1]] = true
	}
	for path := range links {
		r := b.do("GET", path, "")
		if r.StatusCode != 200 {
			t.Errorf("%s: %d", path, r.StatusCode)
		}
		if strings.HasPrefix(r.Header.Get("Content-Type"), "text/html") {
			if csp := r.Header.Get("Content-Security-Policy"); csp != pagePolicy {
				t.Errorf("%s: policy %q", path, csp)
			}
			if found := foreign.Find(r.body); found != nil {
				t.Errorf("%s has %q", path, found)
			}
		}
	}
}

// Each code of the catalogue has a row in the list and a page, and the type of
// a problem leads there.
func TestEveryCodeIsExplained(t *testing.T) {
	b := setup(t, nil)
	r := b.do("GET", "/v1/errors", "")
	document(t).check("get", "/v1/errors", r)
	var list struct {
		Data       []codeResource
		NextCursor *string `json:"next_cursor"`
	}
	if err := json.Unmarshal(r.body, &list); err != nil || list.NextCursor != nil {
		t.Fatal(err, list.NextCursor)
	}
	catalogue := message.Catalogue()
	if len(list.Data) != len(catalogue) {
		t.Fatalf("%d codes, want %d", len(list.Data), len(catalogue))
	}
	index := string(b.do("GET", "/docs/errors", "").body)
	for i, e := range catalogue {
		got := list.Data[i]
		if got.Code != string(e.Reason) || got.Class != string(e.Class) || got.Help != e.Help || (got.HTTPStatus == nil) != (e.HTTP == 0) || got.HTTPStatus != nil && *got.HTTPStatus != e.HTTP {
			t.Errorf("row %+v of %+v", got, e)
		}
		p := problemOf(&message.Error{Reason: e.Reason}, 0, "")
		if e.HTTP != 0 && p.Type != got.Docs {
			t.Errorf("%s: the problem's type is %s, its page %s", e.Reason, p.Type, got.Docs)
		}
		page := b.do("GET", got.Docs, "")
		if page.StatusCode != 200 || !strings.Contains(string(page.body), string(e.Reason)) {
			t.Errorf("%s: %d", got.Docs, page.StatusCode)
		}
		if !strings.Contains(index, `href="`+got.Docs+`"`) {
			t.Errorf("the index lacks %s", e.Reason)
		}
	}
}

// Every reason that can be an answer keeps its code and gets a status; every
// other one is our fault.
func TestEveryReasonBecomesAProblem(t *testing.T) {
	for _, e := range message.Catalogue() {
		p := problemOf(&message.Error{Reason: e.Reason, Detail: "x"}, 0, "id")
		want, status := string(e.Reason), e.HTTP
		if e.HTTP == 0 {
			want, status = string(message.ReasonInternal), 500
		}
		if p.Code != want || p.Status != status || p.Title == "" || p.Detail == "" || p.RequestID != "id" {
			t.Errorf("%s: %+v", e.Reason, p)
		}
		if (p.Status == 429 || p.Status == 503) && p.retryAfter <= 0 {
			t.Errorf("%s: no Retry-After", e.Reason)
		}
	}
}

// The pages and documents come compressed to who can read that, and to nobody else.
func TestPagesAreCompressed(t *testing.T) {
	b := setup(t, nil)
	for _, path := range []string{"/docs", "/docs/style.css", "/openapi.json"} {
		plain := b.do("GET", path, "")
		if got := plain.Header.Get("Content-Encoding"); got != "" || plain.Header.Get("Vary") != "Accept-Encoding" {
			t.Errorf("%s, not asked for: encoding %q, Vary %q", path, got, plain.Header.Get("Vary"))
		}
		for accept, want := range map[string]bool{"gzip": true, "br, GZIP;q=0.5": true, "gzip;q=0": false, "gzip; q=0.000": false, "br": false, "identity, gzip": true, "x-gzip": false} {
			r := b.do("GET", path, "", header("Accept-Encoding", accept))
			if got := r.Header.Get("Content-Encoding") == "gzip"; got != want {
				t.Errorf("%s, Accept-Encoding %q: compressed %v; want %v", path, accept, got, want)
			} else if got {
				z, err := gzip.NewReader(bytes.NewReader(r.body))
				if err != nil {
					t.Fatal(err)
				}
				if text, err := io.ReadAll(z); err != nil || !bytes.Equal(text, plain.body) {
					t.Errorf("%s: it is another text compressed: %v", path, err)
				}
			}
		}
	}
}
