package page

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"net/http"
	"strings"
)

//go:embed templates/*.html
var templateFiles embed.FS

// policy is the Content-Security-Policy of every page: nothing but what this process
// serves, no inline script or style, no frame around it.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self'; " +
	"connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// Link leads somewhere. Without Href it is text.
type Link struct {
	Text, Href string
	// Current marks where the reader is.
	Current bool
}

// NavGroup is links of the navigation under a heading, which may be empty.
type NavGroup struct {
	Title string
	Links []Link
}

// Frame is what surrounds a page: whose it is, and the way to the others.
type Frame struct {
	// Product names the door: "Console", "Portal".
	Product string
	// Home is where the product's name leads.
	Home string
	// Nav is empty for somebody who has not signed in. The link with the longest Href that
	// begins the request's path is shown as current.
	Nav []NavGroup
	// Who is shown with the links of one's own, Role beside it; empty: nobody signed in.
	Who, Role string
	// Profile and SignOut are the paths of one's own settings, and of the form that ends
	// the session.
	Profile, SignOut string
	// CSRF goes with every form and request that changes something.
	CSRF string
	// Search is the path of the search field in the head; empty: there is none.
	Search string
	// Note is shown above every page, such as that this is a demo. Empty: none.
	Note string
}

// Page is one page.
type Page struct {
	Title string
	// Lead is a sentence below the title that says what the page is for.
	Lead string
	// Crumbs lead back, outermost first.
	Crumbs []Link
	// Actions stand beside the title.
	Actions []Action
	// Flash is shown above the body: what was just done. Nil: nothing was.
	Flash *Notice
	Body  []Block
	// Narrow is for a page of one form, such as signing in.
	Narrow bool
	// Charts says that the page has charts, for which a script is loaded.
	Charts bool
}

// Action is a link that looks like a button.
type Action struct {
	Text, Href string
	// Main is the one thing that most come for.
	Main bool
	// Download leaves the reader where he is.
	Download bool
}

// Block is a part of a page: the types of this package that end in a template's name.
type Block interface {
	// template is the name of the template that draws it.
	template() string
}

// Kit draws the pages of one door. Safe for concurrent use.
type Kit struct {
	templates *template.Template
	prefix    string
	assets    map[string]asset
}

// New makes the kit of the door whose paths begin with prefix, such as "/console".
func New(prefix string) *Kit {
	k := &Kit{prefix: strings.TrimSuffix(prefix, "/"), assets: loadAssets()}
	k.templates = template.New("")
	k.templates.Funcs(template.FuncMap{
		"render":        k.renderBlock,
		"asset":         k.AssetPath,
		"clock":         clock,
		"stamp":         stamp,
		"pairs":         pairs,
		"id":            fieldID,
		"right":         func(columns []Column, i int) bool { return i < len(columns) && columns[i].Right },
		"cellview":      func(f *Frame, c Cell) any { return cellView{f, c} },
		"fieldview":     func(f *Form, x Field) any { return fieldView{f, x} },
		"describedview": func(id string, x Field) any { return describedView{id, x} },
	})
	template.Must(k.templates.ParseFS(templateFiles, "templates/*.html"))
	return k
}

// view is what a template is given.
type view struct {
	F *Frame
	B any
}

// What the inner templates are given.
type (
	cellView struct {
		F *Frame
		C Cell
	}
	fieldView struct {
		Form  *Form
		Field Field
	}
	describedView struct {
		ID    string
		Field Field
	}
)

func (k *Kit) renderBlock(f *Frame, b Block) (template.HTML, error) {
	var out bytes.Buffer
	if err := k.templates.ExecuteTemplate(&out, b.template(), view{F: f, B: b}); err != nil {
		return "", err
	}
	return template.HTML(out.String()), nil //nolint:gosec // what a template has escaped
}

// Fragment draws blocks alone, as server-sent events and parts of a page need them.
func (k *Kit) Fragment(f *Frame, blocks ...Block) ([]byte, error) {
	var out bytes.Buffer
	for _, b := range blocks {
		part, err := k.renderBlock(f, b)
		if err != nil {
			return nil, fmt.Errorf("draw %s: %w", b.template(), err)
		}
		out.WriteString(string(part))
	}
	return out.Bytes(), nil
}

// Render answers a request with a page. Nothing is written when it cannot be drawn, which
// is a mistake of ours: the error is given back after a plain 500.
func (k *Kit) Render(w http.ResponseWriter, r *http.Request, status int, f Frame, p Page) error {
	f.Nav = current(f.Nav, r.URL.Path)
	var out bytes.Buffer
	err := k.templates.ExecuteTemplate(&out, "layout", struct {
		F *Frame
		P *Page
	}{&f, &p})
	Secure(w.Header())
	if err != nil {
		http.Error(w, "this page cannot be shown; the log says why", http.StatusInternalServerError)
		return fmt.Errorf("draw the page %q: %w", p.Title, err)
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(out.Bytes()) // a reader who has gone needs no answer
	}
	return nil
}

// Secure sets the headers that every answer of a door has: no framing, no sniffing, no
// referrer to other sites, nothing kept by caches.
func Secure(h http.Header) {
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
}

// current marks the link under which a path lies.
func current(nav []NavGroup, path string) []NavGroup {
	best := ""
	for _, g := range nav {
		for _, l := range g.Links {
			if len(l.Href) > len(best) && (path == l.Href || strings.HasPrefix(path, l.Href+"/")) {
				best = l.Href
			}
		}
	}
	out := make([]NavGroup, len(nav))
	for i, g := range nav {
		out[i] = NavGroup{Title: g.Title, Links: make([]Link, len(g.Links))}
		for j, l := range g.Links {
			l.Current = l.Href == best
			out[i].Links[j] = l
		}
	}
	return out
}
