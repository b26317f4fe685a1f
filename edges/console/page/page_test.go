package page

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// hostile is what a stranger would write where it is shown.
const hostile = `"><script>alert(1)</script><img src=x onerror=alert(2)>'` + "`{{.}}"

func everyBlock(s string) []Block {
	at := time.Date(2026, 11, 21, 20, 15, 4, 0, time.UTC)
	cells := []Cell{Str(s), To(s, "/x?q="+url.QueryEscape(s)), Mono(s).WithCopy(), Badge(s, Good, s), Time(at), Num(1234567), Money(s, s), None(s), YesNo(true), On(false), Str(s).WithHelp(s).WithSub(s), CodeTo(s, "/y"), Status(s)}
	form := &Form{Action: "/do", Submit: s, Label: s, ETag: s, Cancel: Link{Text: s, Href: "/"}, Trouble: s, TroubleLines: []string{s}}
	for kind := OneLine; kind <= Email; kind++ {
		form.Fields = append(form.Fields, Field{Name: "n" + string(rune('a'+int(kind))), Label: s, Help: s, Kind: kind, Value: s, Values: []string{s}, Options: []Option{{s, s}}, Suggest: []string{s}, Placeholder: s, Unit: s, Error: s, Group: s, Slider: 5})
	}
	cells = append(cells, Do(&Form{Action: "/press", Submit: s}))
	columns := make([]Column, len(cells))
	for i := range columns {
		columns[i] = Column{Title: s, Help: s, Right: i%2 == 0}
	}
	return []Block{
		Text(s), Notice{Tone: Bad, Title: s, Text: s, Lines: []string{s}, Link: Link{Text: s, Href: "/"}},
		Section{ID: "part", Title: s, Help: s, Actions: []Action{{Text: s, Href: "/"}}, Body: []Block{Text(s)}},
		Facts{Title: s, Items: []Fact{{Label: s, Help: s, Value: Str(s), More: []Cell{Str(s)}}}},
		Table{Caption: s, Columns: columns, Rows: []Row{{Cells: cells}}, Next: "?cursor=x", First: "?", Note: s}, Table{Empty: s, EmptyHelp: s},
		Stats{Title: s, Items: []Stat{{Label: s, Value: s, Unit: s, Help: s, Sub: s, Href: "/", Bar: true, Share: 0.4}}},
		Timeline{Items: []Event{{At: at, Title: s, Text: s, Lines: []string{s}, Details: []Block{Text(s)}}}}, Timeline{Empty: s},
		Code{Label: s, Text: s, Secret: true}, Tabs{Label: s, Items: []Link{{Text: s, Href: "/", Current: true}}},
		Disclosure{Summary: s, Body: []Block{Text(s)}}, Split{Left: []Block{Text(s)}, Right: []Block{Text(s)}},
		Live{Path: "/live", Label: s, Body: []Block{Text(s)}},
		Chart{Title: s, Help: s, At: []int64{at.Unix()}, Lines: []Line{{Name: s, Values: []float64{1.5}}}}, Chart{Title: s},
		Media{Kind: "image", URL: "/f", Name: s, Type: s, Size: s}, Media{Kind: "video", URL: "/f", Name: s}, Media{Kind: "audio", URL: "/f", Name: s}, Media{Name: s},
		Bullets{Str(s)}, Drawn{Label: s, SVG: []byte("<svg/>"), Size: 10}, form,
	}
}

func render(t *testing.T, f Frame, p Page) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	if err := New("/console").Render(w, httptest.NewRequest(http.MethodGet, "/console/messages/1", nil), http.StatusOK, f, p); err != nil {
		t.Fatal(err)
	}
	return w
}

func TestNothingOfAStrangerIsMarkup(t *testing.T) {
	s := hostile
	f := Frame{Product: s, Home: "/console", Nav: []NavGroup{{Title: s, Links: []Link{{Text: s, Href: "/console/messages"}}}}, Who: s, Role: s, Profile: "/p", SignOut: "/o", CSRF: s, Search: "/s", Note: s}
	page := render(t, f, Page{Title: s, Lead: s, Crumbs: []Link{{Text: s, Href: "/"}, {Text: s}}, Actions: []Action{{Text: s, Href: "/"}}, Flash: &Notice{Text: s}, Body: everyBlock(s), Charts: true}).Body.String()
	for _, bad := range []string{"<script>alert", "<img src=x", "onerror=alert(2)>'\"", `"><script`} {
		if i := strings.Index(page, bad); i >= 0 {
			t.Errorf("markup: …%s…", page[max(0, i-80):min(len(page), i+80)])
		}
	}
	if strings.Contains(page, "ZgotmplZ") {
		t.Error("a value stands where the template cannot have it")
	}
	for _, tag := range regexp.MustCompile(`<script[^>]*>`).FindAllString(page, -1) {
		if !strings.Contains(tag, ` src="/console/assets/`) {
			t.Errorf("an inline script, which the policy forbids: %s", tag)
		}
	}
	if regexp.MustCompile(`\sstyle="|<style`).MatchString(page) {
		t.Error("an inline style, which the policy forbids")
	}
}

// Whoever adds a block adds it to everyBlock.
func TestEveryBlockIsTried(t *testing.T) {
	seen := map[string]bool{}
	for _, b := range everyBlock("x") {
		seen[b.template()] = true
	}
	for _, tmpl := range New("/x").templates.Templates() {
		switch name := tmpl.Name(); name {
		case "", "layout", "actions", "cell", "field", "described", "below", "blocks.html", "form.html", "layout.html":
		default:
			if !seen[name] {
				t.Errorf("the block %s is not tried", name)
			}
		}
	}
}

func TestCurrentLinkIsTheNearest(t *testing.T) {
	nav := []NavGroup{{Links: []Link{{Text: "Overview", Href: "/console"}, {Text: "Messages", Href: "/console/messages"}, {Text: "Held", Href: "/console/messages/held"}}}}
	for path, want := range map[string]string{"/console": "Overview", "/console/messages/1": "Messages", "/console/messages/held": "Held", "/console/messagesX": "Overview", "/portal": ""} {
		got := ""
		for _, l := range current(nav, path)[0].Links {
			if l.Current {
				got += l.Text
			}
		}
		if got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}

func TestHeaders(t *testing.T) {
	h := render(t, Frame{Product: "Console"}, Page{Title: "x"}).Header()
	for name, want := range map[string]string{"Content-Security-Policy": policy, "X-Frame-Options": "DENY", "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Content-Type": "text/html; charset=utf-8"} {
		if h.Get(name) != want {
			t.Errorf("%s: %q", name, h.Get(name))
		}
	}
}

func TestAssets(t *testing.T) {
	k := New("/portal")
	ask := func(path string, header ...string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodGet, path, nil)
		if len(header) > 0 {
			r.Header.Set("Accept-Encoding", header[0])
		}
		w := httptest.NewRecorder()
		k.Assets().ServeHTTP(w, r)
		return w
	}
	for name := range k.assets {
		w := ask(k.AssetPath(name))
		if w.Code != http.StatusOK || w.Header().Get("Content-Type") == "" || !strings.Contains(w.Header().Get("Cache-Control"), "immutable") || w.Body.Len() == 0 {
			t.Errorf("%s: %d %v", name, w.Code, w.Header())
		}
		if z := ask(k.AssetPath(name), "gzip, br"); z.Header().Get("Content-Encoding") != "gzip" {
			t.Errorf("%s is not packed", name)
		}
	}
	for _, path := range []string{"/portal/assets/000000000000/style.css", "/portal/assets/style.css", "/portal/assets/../page.go", "/portal/assets/"} {
		if w := ask(path); w.Code != http.StatusNotFound {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
}

func TestEveryStatusHasItsWords(t *testing.T) {
	for _, s := range message.Statuses() {
		if w, ok := statuses[s]; !ok || w.help == "" {
			t.Errorf("%s is not explained", s)
		}
	}
	if len(statuses) != len(message.Statuses()) {
		t.Error("a status is explained that there is not")
	}
}

func example() *Form {
	return &Form{Fields: []Field{
		{Name: "name", Required: true}, {Name: "limits.per_second", Kind: Number}, {Name: "limits.share", Kind: Real}, {Name: "price.amount", Kind: Amount},
		{Name: "active", Kind: Check}, {Name: "type", Kind: Choice, Options: []Option{{"sms", "SMS"}, {"mms", "MMS"}}}, {Name: "scopes", Kind: Choices, Options: []Option{{"a", "A"}, {"b", "B"}}},
		{Name: "addresses", Kind: Lines}, {Name: "password", Kind: Secret}, {Name: "send_at", Kind: Moment}, {Name: "metadata", Kind: Pairs}, {Name: "note", Kind: Multiline},
	}}
}

func sent(values url.Values) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(values.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return r
}

func TestFormMakesTheBody(t *testing.T) {
	full := url.Values{"name": {" Ada "}, "limits.per_second": {"1,000"}, "limits.share": {"0.25"}, "price.amount": {"0.0045"}, "active": {"true"}, "type": {"mms"}, "scopes": {"a", "b"},
		"addresses": {"10.0.0.0/8\r\n\r\n 192.0.2.1 "}, "password": {" s "}, "send_at": {"2026-11-21T20:15"}, "metadata": {"shop: 7"}, "note": {"two\r\nlines"}}
	for _, c := range []struct {
		name  string
		patch bool
		sent  url.Values
		want  string
	}{
		{"all", false, full, `{"name":"Ada","limits":{"per_second":1000,"share":0.25},"price":{"amount":"0.0045"},"active":true,"type":"mms","scopes":["a","b"],"addresses":["10.0.0.0/8","192.0.2.1"],"password":" s ","send_at":"2026-11-21T20:15:00.000Z","metadata":{"shop":"7"},"note":"two\nlines"}`},
		{"little", false, url.Values{"name": {"Ada"}}, `{"name":"Ada","active":false,"scopes":[],"addresses":[]}`},
		{"a patch of little", true, url.Values{"name": {"Ada"}}, `{"name":"Ada","active":false,"scopes":[],"addresses":[],"limits":{"per_second":null,"share":null},"price":{"amount":null},"type":null,"send_at":null,"metadata":null,"note":null}`},
	} {
		f := example()
		f.Patch = c.patch
		body, ok := f.Read(sent(c.sent))
		if !ok {
			t.Errorf("%s: %+v", c.name, f.Fields)
			continue
		}
		got, _ := json.Marshal(body)
		var a, b any
		_ = json.Unmarshal(got, &a)
		_ = json.Unmarshal([]byte(c.want), &b)
		if !reflect.DeepEqual(a, b) {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
	}
}

func TestFormSaysWhatIsWrongWithIt(t *testing.T) {
	f := example()
	if _, ok := f.Read(sent(url.Values{"limits.per_second": {"many"}, "limits.share": {"half"}, "send_at": {"soon"}, "metadata": {"no colon"}})); ok {
		t.Fatal("taken")
	}
	for name, want := range map[string]string{"name": "is needed", "limits.per_second": "must be a whole number", "limits.share": "must be a number", "send_at": "must be a time", "metadata": "needs a colon"} {
		if got := f.Field(name).Error; !strings.HasPrefix(got, want) {
			t.Errorf("%s: %q", name, got)
		}
	}
	if f.Field("limits.per_second").Value != "many" {
		t.Error("what was typed is gone")
	}
}

func TestRefusalsStandAtTheirFields(t *testing.T) {
	f := example()
	f.Refuse("Not so.", []Fault{{"body.limits.per_second", "must be 1 to 1000"}, {"body.addresses[1]", "is no network"}, {"body.addresses[2]", "is none either"}, {"body.other", "is unknown"}, {"header.If-Match", "is stale"}})
	if f.Field("limits.per_second").Error != "must be 1 to 1000" || f.Field("addresses").Error != "is no network; is none either" || f.Field("limits.share").Error != "" {
		t.Errorf("%+v", f.Fields)
	}
	if want := []string{"other is unknown", "If-Match is stale"}; !reflect.DeepEqual(f.TroubleLines, want) || f.Trouble != "Not so." || !f.Failed() {
		t.Errorf("%q %q", f.Trouble, f.TroubleLines)
	}
}

func TestFormIsFilledFromAResource(t *testing.T) {
	f := example()
	const resource = `{"name":"Ada","limits":{"per_second":5,"share":0.5},"price":{"amount":"0.1"},"active":true,"type":"sms","scopes":["b"],"addresses":["10.0.0.0/8","::1/128"],"send_at":"2026-11-21T20:15:04.310Z","metadata":{"b":"2","a":"1"},"note":null}`
	if err := f.Fill([]byte(resource)); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"name": "Ada", "limits.per_second": "5", "limits.share": "0.5", "price.amount": "0.1", "active": "true", "type": "sms", "addresses": "10.0.0.0/8\n::1/128", "metadata": "a: 1\nb: 2", "note": ""} {
		if got := f.Field(name).Value; got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if got := f.Field("send_at").Shown(); got != "2026-11-21T20:15" {
		t.Errorf("send_at: %q", got)
	}
	if !f.Field("scopes").Has("b") || f.Field("scopes").Has("a") {
		t.Error("scopes")
	}
	f.Field("password").Value = "secret"
	if f.Field("password").Shown() != "" {
		t.Error("a secret is sent back")
	}
}

func TestFilterQuery(t *testing.T) {
	f := &Form{Method: "get", Fields: []Field{{Name: "status", Kind: Choices}, {Name: "to"}, {Name: "created_after", Kind: Moment}, {Name: "mine", Kind: Check}}}
	f.From(url.Values{"status": {"sent", "failed"}, "to": {" +1310 "}, "created_after": {"2026-11-21T20:15"}})
	if got := f.Query().Encode(); got != "created_after=2026-11-21T20%3A15%3A00.000Z&status=sent&status=failed&to=%2B1310" {
		t.Error(got)
	}
}

func TestWords(t *testing.T) {
	for d, want := range map[time.Duration]string{0: "0 ms", 1500 * time.Millisecond: "1 s", 90 * time.Second: "1 min 30 s", 26 * time.Hour: "1 d 2 h", time.Hour: "1 h", -time.Second: "0 ms", 25*time.Hour - 30*time.Minute: "1 d"} {
		if got := Duration(d); got != want {
			t.Errorf("%s: %q, want %q", d, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", -1234567: "-1,234,567"} {
		if got := Grouped(n); got != want {
			t.Errorf("%d: %q", n, got)
		}
	}
	for f, want := range map[float64]string{0: "0", 0.5: "0.5", 1234.567: "1,234.57", 12: "12", -0.25: "-0.25"} {
		if got := Decimal(f); got != want {
			t.Errorf("%v: %q", f, got)
		}
	}
}
