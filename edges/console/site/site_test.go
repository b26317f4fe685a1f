package site

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/edges/console/call"
	"github.com/postrider/postrider/edges/console/gate"
	"github.com/postrider/postrider/edges/console/page"
	"github.com/postrider/postrider/internal/snapshot"
)

// stage is a site over an API that a test plays.
type stage struct {
	*Site
	log     bytes.Buffer
	closing chan struct{}
}

func set(t *testing.T, api http.HandlerFunc) *stage {
	t.Helper()
	st := &stage{closing: make(chan struct{})}
	st.Site = &Site{
		Kit: page.New("/console"), Prefix: "/console", Log: slog.New(slog.NewTextHandler(&st.log, nil)),
		Frame:   func(gate.Person) page.Frame { return page.Frame{Product: "Console", CSRF: "token"} },
		Closing: func() <-chan struct{} { return st.closing },
		API:     &call.API{Handler: api, Visitor: func(ctx context.Context) context.Context { return ctx }, Address: func(context.Context) string { return "" }},
	}
	return st
}

func (st *stage) ask(show func(*Visit) (page.Page, error), r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	st.Page(show)(w, r)
	return w
}

func post(path string, form url.Values) *http.Request {
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return r
}

func get(path string) *http.Request { return httptest.NewRequest(http.MethodGet, path, nil) }

func refuse(w http.ResponseWriter, status int, code, detail string, faults ...call.Fault) {
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(call.Problem{Status: status, Code: code, Detail: detail, RequestID: "r1", Errors: faults})
}

func TestErrorsAreSaid(t *testing.T) {
	for status, title := range titles {
		st := set(t, func(w http.ResponseWriter, _ *http.Request) {
			refuse(w, status, "some_code", `because of <b>it</b>`, call.Fault{Location: "query.to", Message: "is none"})
		})
		w := st.ask(func(v *Visit) (page.Page, error) { return page.Page{}, v.Get("/x", nil, nil) }, get("/console/x"))
		body := w.Body.String()
		if w.Code != status || !strings.Contains(body, title) || !strings.Contains(body, "because of &lt;b&gt;it&lt;/b&gt;") || !strings.Contains(body, "query.to is none") || !strings.Contains(body, "r1") {
			t.Errorf("%d: %d %s", status, w.Code, body)
		}
	}
	st := set(t, nil)
	w := st.ask(func(*Visit) (page.Page, error) { return page.Page{}, errors.New("the secret cause") }, get("/console/x"))
	if w.Code != http.StatusInternalServerError || strings.Contains(w.Body.String(), "secret cause") || !strings.Contains(st.log.String(), "secret cause") {
		t.Errorf("%d %s, logged %s", w.Code, w.Body, &st.log)
	}
	if w := st.ask(func(v *Visit) (page.Page, error) { return v.Missing() }, get("/console/none")); w.Code != http.StatusNotFound {
		t.Errorf("a missing page: %d", w.Code)
	}
}

func TestWhatWasDoneIsSaidOnce(t *testing.T) {
	st := set(t, nil)
	w := st.ask(func(v *Visit) (page.Page, error) { return v.Done("/console/things", "The thing was <saved>.") }, post("/console/x", nil))
	if w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/console/things" {
		t.Fatal(w.Code, w.Header())
	}
	cookies := w.Result().Cookies()
	if len(cookies) != 1 || !cookies[0].HttpOnly || cookies[0].Path != "/console" {
		t.Fatalf("%+v", cookies)
	}
	r := get("/console/things")
	r.AddCookie(cookies[0])
	plain := func(*Visit) (page.Page, error) { return page.Page{Title: "Things"}, nil }
	w = st.ask(plain, r)
	if !strings.Contains(w.Body.String(), "The thing was &lt;saved&gt;.") {
		t.Error(w.Body)
	}
	if gone := w.Result().Cookies(); len(gone) != 1 || gone[0].MaxAge >= 0 {
		t.Errorf("it is said again: %+v", gone)
	}
	for _, value := range []string{"%%%", "e30x", strings.Repeat("A", 9000)} {
		r := get("/console/things")
		r.AddCookie(&http.Cookie{Name: flash, Value: value})
		if w := st.ask(plain, r); w.Code != http.StatusOK {
			t.Errorf("%.10s: %d", value, w.Code)
		}
	}
}

func form() *page.Form {
	return &page.Form{Submit: "Save", Fields: []page.Field{{Name: "name", Label: "Name", Required: true}, {Name: "port", Label: "Port", Kind: page.Number}, Key()}}
}

func TestSubmit(t *testing.T) {
	var asked *http.Request
	var body string
	st := set(t, func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		asked, body = r, string(text)
		if strings.Contains(body, "70000") {
			refuse(w, 422, "invalid_request", "A field is wrong.", call.Fault{Location: "body.port", Message: "must be 1 to 65535"})
			return
		}
		if r.Header.Get("If-Match") == `"old"` {
			refuse(w, 412, "conflict", "it has changed")
			return
		}
		_, _ = io.WriteString(w, `{"id":"7"}`)
	})
	edit := func(v *Visit) (page.Page, error) {
		f := form()
		return v.Submit(Task{Form: f, Path: "/api/v1/things", Once: true, Then: ToMade("/console/things"), Said: "Made."}, func() (page.Page, error) { return page.Page{Title: "A thing", Body: []page.Block{f}}, nil })
	}
	w := st.ask(edit, post("/console/things/new", url.Values{"name": {"Ada"}, "port": {"80"}, "_key": {"k1"}, "csrf": {"token"}}))
	if w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/console/things/7" {
		t.Fatal(w.Code, w.Header(), w.Body)
	}
	if asked.Method != http.MethodPost || body != `{"name":"Ada","port":80}` || asked.Header.Get("Idempotency-Key") != "k1" {
		t.Errorf("%s %s %v", asked.Method, body, asked.Header)
	}
	for name, c := range map[string]struct {
		sent   url.Values
		status int
		says   []string
	}{
		"refused at a field":    {url.Values{"name": {"Ada"}, "port": {"70000"}}, 422, []string{"A field is wrong.", "must be 1 to 65535", `value="Ada"`, `value="70000"`}},
		"not readable":          {url.Values{"name": {"Ada"}, "port": {"many"}}, 422, []string{"must be a whole number", `value="many"`}},
		"needed":                {url.Values{"port": {"1"}}, 422, []string{"is needed"}},
		"changed in the middle": {url.Values{"name": {"Ada"}, "_etag": {`"old"`}}, 412, []string{"Somebody changed this meanwhile."}},
	} {
		w := st.ask(edit, post("/console/things/new", c.sent))
		if w.Code != c.status {
			t.Errorf("%s: %d", name, w.Code)
		}
		for _, s := range c.says {
			if !strings.Contains(w.Body.String(), s) {
				t.Errorf("%s: the page does not say %q", name, s)
			}
		}
	}
}

func TestLists(t *testing.T) {
	var asked url.Values
	st := set(t, func(w http.ResponseWriter, r *http.Request) {
		asked = r.URL.Query()
		_, _ = io.WriteString(w, `{"data":[{"n":"a"},{"n":"b"}],"next_cursor":"c2"}`)
	})
	var table page.Table
	w := st.ask(func(v *Visit) (page.Page, error) {
		filter := &page.Form{Method: "get", Fields: []page.Field{{Name: "to"}}}
		rows, err := List[struct{ N string }](v, "/v1/things", filter, url.Values{"limit": {"20"}})
		if err != nil {
			return page.Page{}, err
		}
		table = Table(v, rows, page.Table{}, func(r struct{ N string }) page.Row { return page.Row{Cells: []page.Cell{page.Str(r.N)}} })
		return page.Page{Title: "Things", Body: []page.Block{table}}, nil
	}, get("/console/things?to=%2B1310&cursor=c1&other=x"))
	if w.Code != http.StatusOK || asked.Encode() != "cursor=c1&limit=20&to=%2B1310" {
		t.Errorf("%d, asked %s", w.Code, asked.Encode())
	}
	if len(table.Rows) != 2 || table.Next != "/console/things?cursor=c2&other=x&to=%2B1310" || table.First != "/console/things?other=x&to=%2B1310" {
		t.Errorf("%+v", table)
	}
}

func TestRolesAndScopes(t *testing.T) {
	v := &Visit{Person: gate.Person{Role: snapshot.RoleSupport, Scopes: []string{"messages:read"}}}
	if !v.May(snapshot.RoleSupport) || v.May(snapshot.RoleOperator) || !v.Has("messages:read") || v.Has("messages:write") {
		t.Error("support")
	}
	v.Person.Role = snapshot.RoleAdmin
	if !v.May() {
		t.Error("admin")
	}
}

// A stream says what there is at once, says again only what has changed, and ends with the
// process.
func TestStream(t *testing.T) {
	st := set(t, nil)
	n := make(chan string, 3)
	n <- "one"
	n <- "one"
	n <- "two"
	server := httptest.NewServer(st.Page(func(v *Visit) (page.Page, error) {
		return v.Stream(time.Millisecond, func(ctx context.Context) ([]page.Block, error) {
			select {
			case s := <-n:
				return []page.Block{page.Text(s + "\nline")}, nil
			case <-ctx.Done():
				return nil, ctx.Err()
			case <-st.closing:
				return nil, errors.New("closing")
			}
		})
	}))
	defer server.Close()
	r, err := http.Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if got := r.Header.Get("Content-Type"); got != "text/event-stream" {
		t.Error(got)
	}
	lines := bufio.NewScanner(r.Body)
	var got []string
	for len(got) < 6 && lines.Scan() {
		if lines.Text() != "" {
			got = append(got, lines.Text())
		}
		if strings.Contains(lines.Text(), "line</p>") && len(got) > 5 {
			break
		}
	}
	want := []string{"event: update", "data: <p>one", "data: line</p>", ": ", "event: update", "data: <p>two"}
	if strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("%q", got)
	}
	close(st.closing)
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		t.Error(err)
	}
}

func TestStreamThatCannotBeginIsAPage(t *testing.T) {
	st := set(t, func(w http.ResponseWriter, _ *http.Request) { refuse(w, 503, "unavailable", "Away.") })
	w := st.ask(func(v *Visit) (page.Page, error) {
		return v.Stream(time.Hour, func(context.Context) ([]page.Block, error) { return nil, v.Get("/x", nil, nil) })
	}, get("/console/live"))
	if w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "Away.") {
		t.Error(w.Code, w.Body)
	}
}
