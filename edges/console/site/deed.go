package site

import (
	"slices"

	"github.com/postrider/postrider/edges/console/page"
)

// Deed is something that can be done with what a page shows. It stands closed under its
// summary with the words of its consequence; one that was tried and refused stands open.
type Deed struct {
	// Name is the last part of the path that its form is sent to.
	Name string
	// Summary is what is offered, Text its consequence. Without text and fields it is a
	// button of its own.
	Summary, Text string
	// Submit is what the button says, Danger colors it.
	Submit string
	Danger bool
	Fields []page.Field
	// Task is the request that it makes; its form is made of the rest.
	Task Task
}

// Tried is a deed that was refused, with its form. The zero Tried is none.
type Tried struct {
	Name string
	Form *page.Form
}

func (d *Deed) form(at string) *page.Form {
	f := &page.Form{Action: at + "/" + d.Name, Submit: d.Submit, Danger: d.Danger, Label: d.Submit, Fields: slices.Clone(d.Fields)}
	if d.Task.Once {
		f.Fields = append(f.Fields, Key())
	}
	return f
}

func (d *Deed) plain() bool { return d.Text == "" && len(d.Fields) == 0 }

// Deeds draws what can be done with the thing whose page is at a path. What was tried and is
// not among it, such as since it can be done no more, is said first.
func Deeds(at string, list []Deed, tried Tried) []page.Block {
	var out []page.Block
	if tried.Form != nil && !slices.ContainsFunc(list, func(d Deed) bool { return d.Name == tried.Name && !d.plain() }) {
		out = append(out, page.Notice{Tone: page.Bad, Title: "This was not done.", Text: tried.Form.Trouble, Lines: tried.Form.TroubleLines})
	}
	for i := range list {
		d := &list[i]
		form, open := d.form(at), false
		if tried.Form != nil && tried.Name == d.Name && !d.plain() {
			form, open = tried.Form, true
		}
		if d.plain() {
			out = append(out, form)
			continue
		}
		body := []page.Block{form}
		if d.Text != "" {
			body = []page.Block{page.Text(d.Text), form}
		}
		out = append(out, page.Disclosure{Summary: d.Summary, Danger: d.Danger, Open: open, Body: body})
	}
	return out
}

// Act does the deed of a name; show gives the page again when it is refused. A name that is
// not in the list is no page: it cannot be done, or not now.
func (v *Visit) Act(at string, list []Deed, name string, show func(Tried) (page.Page, error)) (page.Page, error) {
	i := slices.IndexFunc(list, func(d Deed) bool { return d.Name == name })
	if i < 0 {
		return v.Missing()
	}
	t := list[i].Task
	t.Form = list[i].form(at)
	return v.Submit(t, func() (page.Page, error) { return show(Tried{name, t.Form}) })
}
