package site

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"

	"github.com/postrider/postrider/edges/console/call"
	"github.com/postrider/postrider/edges/console/page"
	"github.com/postrider/postrider/internal/message"
)

// Task is a form that makes one request of an API.
type Task struct {
	Form *page.Form
	// Method is the request's; empty: POST. Path is the operation's.
	Method, Path string
	// Body changes the body that the form made, before it is sent. Nil: it is sent so. An
	// error of page.Form.Wrong may be put at the form, and nil returned.
	Body func(map[string]any) map[string]any
	// Check looks at a form that could be read, before it is sent; what it finds wrong it puts there.
	Check func(*page.Form)
	// Query is that of the request, made of the form's body. Nil: there is none.
	Query func(map[string]any) url.Values
	// Once makes a request with the same form and the same key be done once. It is for
	// what makes something.
	Once bool
	// Bare sends no body.
	Bare bool
	// Then is where it leads: it may look at the answer. Said is told there.
	Then func(*call.Answer) string
	Said string
	// Instead answers the request that was done; it takes the place of Then, such as for
	// a secret that is shown once.
	Instead func(*call.Answer) (page.Page, error)
}

// keyField is a hidden field that makes a form one that is done once.
const keyField = "_key"

// Key is the field of a form whose task is done once.
func Key() page.Field {
	return page.Field{Name: keyField, Kind: page.Hidden, Value: message.NewID().String()}
}

// Submit reads the form that was sent and makes its request. What the API refuses is put
// at the form, and show gives the page that it stands in, which is answered with the
// refusal's status.
func (v *Visit) Submit(t Task, show func() (page.Page, error)) (page.Page, error) {
	again := func(status int) (page.Page, error) {
		p, err := show()
		if err != nil {
			return p, err
		}
		v.Show(status, p)
		return p, nil
	}
	body, ok := t.Form.Read(v.R)
	if ok && t.Check != nil {
		t.Check(t.Form)
		ok = !t.Form.Failed()
	}
	if ok && t.Body != nil {
		body = t.Body(body)
		ok = !t.Form.Failed()
	}
	if !ok {
		return again(http.StatusUnprocessableEntity)
	}
	q := call.Request{Method: t.Method, Path: t.Path, Body: body, IfMatch: t.Form.ETag}
	if q.Method == "" {
		q.Method = http.MethodPost
	}
	if t.Bare || q.Method == http.MethodDelete {
		q.Body = nil
	}
	if t.Query != nil {
		q.Query = t.Query(body)
	}
	if t.Once {
		q.Key = v.R.PostForm.Get(keyField)
	}
	got, err := v.Do(q)
	var refused *call.Problem
	switch {
	case errors.As(err, &refused):
		t.Form.Refuse(Words(refused), faults(refused))
		return again(refused.Status)
	case err != nil:
		return page.Page{}, err
	case t.Instead != nil:
		return t.Instead(got)
	}
	return v.Done(t.Then(got), t.Said)
}

// Words is what a refusal says to whoever sent a form.
func Words(p *call.Problem) string {
	if p.Status == http.StatusPreconditionFailed {
		return "Somebody changed this meanwhile. Open it anew, look at what is there now, and make your change again."
	}
	return p.Detail
}

func faults(p *call.Problem) []page.Fault {
	out := make([]page.Fault, len(p.Errors))
	for i, f := range p.Errors {
		out[i] = page.Fault{Location: f.Location, Message: f.Message}
	}
	return out
}

// Loaded fills a form from the resource at a path, and notes its ETag.
func (v *Visit) Loaded(f *page.Form, path string, also any) error {
	got, err := v.Do(call.Request{Path: path})
	if err != nil {
		return err
	}
	if also != nil {
		if err := json.Unmarshal(got.Body, also); err != nil {
			return err
		}
	}
	f.ETag = got.ETag
	return f.Fill(got.Body)
}

// Post reports whether the request changes something: a form was sent.
func (v *Visit) Post() bool { return v.R.Method == http.MethodPost }

// To leads where a task has been done, whatever the answer.
func To(path string) func(*call.Answer) string { return func(*call.Answer) string { return path } }

// ToMade leads to what was made: its id behind the path.
func ToMade(path string) func(*call.Answer) string {
	return func(a *call.Answer) string {
		var made struct {
			ID string `json:"id"`
		}
		if a.Into(&made) != nil || made.ID == "" {
			return path
		}
		return path + "/" + url.PathEscape(made.ID)
	}
}
