package site

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/postrider/postrider/edges/console/page"
)

// thing is a page of one deed that takes a reason, and one that is a button.
func thing(v *Visit, asked *int) (page.Page, error) {
	list := []Deed{
		{Name: "end", Summary: "End it…", Text: "It cannot be undone.", Submit: "End it", Danger: true, Fields: []page.Field{{Name: "reason", Label: "Reason", Required: true}, {Name: "_name", Label: "Name"}},
			Task: Task{Path: "/v1/things/1/end", Then: To("/console/things"), Said: "It is ended.", Check: func(f *page.Form) {
				*asked++
				if f.Field("_name").Value != "thing" {
					f.Wrong("_name", "must be thing")
				}
			}}},
		{Name: "test", Submit: "Test it", Task: Task{Path: "/v1/things/1/test", Bare: true, Then: To("/console/things"), Said: "It was tested."}},
	}
	v.Around = func(p *page.Page) { p.Body = append([]page.Block{page.Text("above every page")}, p.Body...) }
	show := func(t Tried) (page.Page, error) {
		return page.Page{Title: "A thing", Body: Deeds("/console/things/1", list, t)}, nil
	}
	if v.Post() {
		_, name, _ := strings.Cut(v.R.URL.Path, "/things/1/")
		return v.Act("/console/things/1", list, name, show)
	}
	return show(Tried{})
}

func TestDeeds(t *testing.T) {
	var sent []string
	st := set(t, func(w http.ResponseWriter, r *http.Request) {
		sent = append(sent, r.URL.Path)
		if strings.HasSuffix(r.URL.Path, "/test") {
			refuse(w, http.StatusConflict, "conflict", "it is ended already")
		}
	})
	checks := 0
	show := func(v *Visit) (page.Page, error) { return thing(v, &checks) }
	if body := st.ask(show, get("/console/things/1")).Body.String(); !strings.Contains(body, "It cannot be undone.") || strings.Contains(body, "<details class=\"disclosure danger\" open>") || !strings.Contains(body, "above every page") {
		t.Error(body)
	}
	w := st.ask(show, post("/console/things/1/end", url.Values{"reason": {"old"}, "_name": {"another"}}))
	if body := w.Body.String(); w.Code != http.StatusUnprocessableEntity || len(sent) > 0 || !strings.Contains(body, "must be thing") || !strings.Contains(body, "disclosure danger\" open") || !strings.Contains(body, `value="old"`) || !strings.Contains(body, "above every page") {
		t.Errorf("%d %v %s", w.Code, sent, body)
	}
	if w := st.ask(show, post("/console/things/1/end", url.Values{"_name": {"thing"}})); w.Code != http.StatusUnprocessableEntity || checks != 1 {
		t.Errorf("without a reason: %d, looked at %d times", w.Code, checks)
	}
	if w := st.ask(show, post("/console/things/1/end", url.Values{"reason": {"old"}, "_name": {"thing"}})); w.Code != http.StatusSeeOther || len(sent) != 1 {
		t.Errorf("%d %v", w.Code, sent)
	}
	w = st.ask(show, post("/console/things/1/test", nil))
	if body := w.Body.String(); w.Code != http.StatusConflict || strings.Count(body, "it is ended already") != 1 {
		t.Errorf("a button that is refused: %d %s", w.Code, body)
	}
	if w := st.ask(show, post("/console/things/1/other", nil)); w.Code != http.StatusNotFound {
		t.Errorf("what is not offered: %d", w.Code)
	}
}
