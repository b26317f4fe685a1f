package rest

import (
	"testing"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// Pages of the Temporal UI may call it from a browser, and those of no other origin; who
// may is asked all the same.
func TestCodecForPages(t *testing.T) {
	t.Parallel()
	o := open(t, nil)
	const path, ui = codecPath + "/decode", "https://temporal.gw.example"
	for origin, want := range map[string]string{ui: ui, "https://evil.example": "", "null": "", ui + ".evil.example": ""} {
		before := o.do("OPTIONS", path, "", header("Origin", origin), header("Access-Control-Request-Method", "POST"))
		r := o.do("POST", path, `{"payloads":[]}`, o.by(snapshot.RoleSupport), header("Origin", origin))
		for _, got := range []*reply{before, r} {
			if got.Header.Get("Access-Control-Allow-Origin") != want || got.Header.Get("Vary") != "Origin" {
				t.Errorf("%s: %v", origin, got.Header)
			}
		}
		if before.StatusCode != 204 || r.StatusCode != 200 || want != "" && before.Header.Get("Access-Control-Allow-Headers") != "authorization,content-type,x-namespace" {
			t.Errorf("%s: %d, %d %s", origin, before.StatusCode, r.StatusCode, r.body)
		}
	}
	r := o.do("POST", path, `{"payloads":[]}`, header("Origin", ui))
	wantProblem(t, r, 401, message.ReasonUnauthenticated)
	if r.Header.Get("Access-Control-Allow-Origin") != ui {
		t.Error("the page cannot read why it is refused")
	}
	if r := o.do("GET", adminPrefix+"/audit-log", "", o.by(snapshot.RoleAdmin), header("Origin", ui)); r.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Error("pages may read the rest of the internal API")
	}
	wantProblem(t, o.do("POST", path, `nonsense`, o.by(snapshot.RoleSupport)), 422, message.ReasonInvalidRequest)
}
