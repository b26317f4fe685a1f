package office

import (
	"encoding/json"
	"net/url"
	"strconv"
	"strings"

	"github.com/postrider/postrider/edges/console/call"
	"github.com/postrider/postrider/edges/console/page"
	"github.com/postrider/postrider/edges/console/site"
)

func (o *office) auditRoutes() shows {
	return shows{
		"GET /console/audit":        o.auditLog,
		"GET /console/audit/export": o.auditExport,
		"GET /console/audit/check":  o.auditCheck,
		"GET /console/audit/{id}":   o.auditLine,
	}
}

// auditView is a line of the audit log.
type auditView struct {
	ID                          int64
	At                          string
	Actor, Role, Action, Target string
	Before, After               json.RawMessage
	Address, Hash               string
}

func auditFilter() *page.Form {
	return &page.Form{Method: "get", Inline: true, Submit: "Search", Label: "Search the audit log", Fields: []page.Field{
		{Name: "actor", Label: "Who", Placeholder: "ada@gw.example"}, {Name: "action", Label: "What", Kind: page.Choice, Options: actionOptions()}, {Name: "target", Label: "To what", Placeholder: "an id"},
		{Name: "created_after", Label: "After", Kind: page.Moment}, {Name: "created_before", Label: "Before", Kind: page.Moment}}}
}

func (o *office) auditLog(v *site.Visit) (page.Page, error) {
	filter := auditFilter()
	rows, err := site.List[auditView](v, api+"/audit-log", filter, nil)
	if err != nil {
		return page.Page{}, err
	}
	export := v.At("/audit/export")
	if q := filter.Query(); len(q) > 0 {
		export += "?" + q.Encode()
	}
	table := page.Table{Caption: "Audit log", Empty: "No line fits.", EmptyHelp: "Leave out a part of the search.",
		Columns: []page.Column{{Title: "Line", Help: "They are numbered one after the other"}, {Title: "When"}, {Title: "Who", Help: "And in which role, from which address"}, {Title: "What"}, {Title: "To what"}, {Title: "What changed"}}}
	return page.Page{Title: "Audit log", Lead: "Who did what, newest first: each change, and each reading of a message's text. No line can be changed without the check showing it.",
		Actions: []page.Action{{Text: "Export as CSV", Href: export, Download: true}, {Text: "Check the chain", Href: v.At("/audit/check"), Main: true}},
		Body: []page.Block{filter, site.Table(v, rows, table, func(a auditView) page.Row {
			return page.Row{Cells: []page.Cell{page.To(strconv.FormatInt(a.ID, 10), v.At("/audit/"+strconv.FormatInt(a.ID, 10))), since(a.At), page.Str(a.Actor).WithSub(a.by()), page.Str(actionWords(a.Action)), auditTarget(v, &a), page.Str(a.summary())}}
		})}}, nil
}

// by is in which role, and from where.
func (a *auditView) by() string {
	if a.Address == "" {
		return a.Role
	}
	return a.Role + ", from " + a.Address
}

// auditTarget leads to what something was done to, where that stays.
func auditTarget(v *site.Visit, a *auditView) page.Cell {
	object, deed, _ := strings.Cut(a.Action, ".")
	at, ok := map[string]string{"account": "/customers/", "message": "/messages/", "brand": "/brands/", "campaign": "/campaigns/", "staff": "/staff/", "opt_out": "/opt-outs/", "service_credential": "/services/", "webhook_delivery": "/webhooks/"}[object]
	if a.Target == "" {
		return page.None("")
	}
	shown := a.Target
	if isID(a.Target) {
		shown = short(a.Target)
	}
	c := page.Mono(shown).WithHelp(a.Target)
	if ok && isID(a.Target) && deed != "replay_range" { // which names an account or an endpoint
		c.Href = v.At(at + url.PathEscape(a.Target))
	}
	return c
}

func (o *office) auditLine(v *site.Visit) (page.Page, error) {
	var a auditView
	if err := v.Get(api+"/audit-log/"+v.ID(), nil, &a); err != nil {
		return page.Page{}, err
	}
	line := strconv.FormatInt(a.ID, 10)
	p := page.Page{Title: "Line " + line + " of the audit log", Lead: actionWords(a.Action), Crumbs: []page.Link{{Text: "Audit log", Href: v.At("/audit")}, {Text: "Line " + line}}}
	changes := page.Table{Caption: "What changed", Empty: "Nothing but that it was done is noted.", Columns: []page.Column{{Title: "What"}, {Title: "Before"}, {Title: "After"}}}
	for _, c := range a.changes() {
		r := page.Row{Cells: []page.Cell{page.Str(spaced(c.name)), page.Str(firstOf(c.before, 2000)), page.Str(firstOf(c.after, 2000))}}
		changes.Rows = append(changes.Rows, r)
	}
	target := page.None("")
	if a.Target != "" {
		target = auditTarget(v, &a)
		target.Text, target.Help = a.Target, ""
	}
	p.Body = []page.Block{
		page.Facts{Title: "The line", Items: []page.Fact{{Label: "When", Value: since(a.At)}, {Label: "Who", Value: page.Str(a.Actor).WithSub(a.Role)}, {Label: "From", Value: page.Mono(a.Address)}, {Label: "What", Value: page.Str(actionWords(a.Action)).WithSub(a.Action)}, {Label: "To what", Value: target}}},
		page.Section{ID: "changes", Title: "What changed", Body: []page.Block{changes}},
		page.Section{ID: "hash", Title: "Its seal", Help: "SHA-256 over this line and the seal of the line before it.", Body: []page.Block{page.Code{Label: "Hash", Text: a.Hash}}},
	}
	return p, nil
}

func (o *office) auditExport(v *site.Visit) (page.Page, error) {
	filter := auditFilter()
	filter.From(v.R.URL.Query())
	if err := v.API.Pipe(v.W, v.R, api+"/audit-log/export", filter.Query(), "text/csv"); err != nil {
		return page.Page{}, err
	}
	return v.Answered()
}

// auditCheck checks the chain, and a hash that somebody has kept elsewhere.
func (o *office) auditCheck(v *site.Visit) (page.Page, error) {
	var r struct {
		Intact     bool
		BrokenID   *int64 `json:"broken_id"`
		NewestID   int64  `json:"newest_id"`
		NewestHash string `json:"newest_hash"`
	}
	if err := v.Get(api+"/audit-log/verify", nil, &r); err != nil {
		return page.Page{}, err
	}
	newest := strconv.FormatInt(r.NewestID, 10)
	p := page.Page{Title: "Check of the audit log", Lead: "Each line is sealed together with the one before it, so that one that was altered, put in or taken out shows.", Crumbs: []page.Link{{Text: "Audit log", Href: v.At("/audit")}, {Text: "Check"}}}
	if r.Intact {
		p.Body = append(p.Body, page.Notice{Tone: page.Good, Title: "The chain is whole", Text: "Every line up to " + newest + " follows from the one before it."})
	} else {
		broken := strconv.FormatInt(*r.BrokenID, 10)
		p.Body = append(p.Body, page.Notice{Tone: page.Bad, Title: "The chain is broken at line " + broken, Text: "This line does not follow from the one before it: one of the two was altered, or a line between them was taken out or put in, by somebody with access to the database.",
			Lines: []string{"Keep the database as it is, and compare with a backup from before " + broken + "."}, Link: page.Link{Text: "Look at line " + broken, Href: v.At("/audit/" + broken)}})
	}
	form := &page.Form{Method: "get", Inline: true, Submit: "Compare", Label: "Compare with a seal that was kept", Fields: []page.Field{{Name: "line", Label: "Line", Value: newest}, {Name: "hash", Label: "Hash that was kept", Required: true}}}
	form.From(v.R.URL.Query())
	compare := []page.Block{page.Text("Lines that were taken off the end do not show by the chain alone. Keep the newest hash somewhere else, and compare it here the next time."), page.Code{Label: "Hash of line " + newest + ", the newest", Text: r.NewestHash}, form}
	if kept := strings.TrimSpace(form.Field("hash").Value); kept != "" {
		n, err := o.compared(v, strings.TrimSpace(form.Field("line").Value), kept)
		if err != nil {
			return page.Page{}, err
		}
		p.Body = append(p.Body, n)
	}
	p.Body = append(p.Body, page.Section{ID: "kept", Title: "A hash that was kept", Body: compare})
	return p, nil
}

func (o *office) compared(v *site.Visit, line, kept string) (page.Block, error) {
	var a auditView
	err := v.Get(api+"/audit-log/"+url.PathEscape(line), nil, &a)
	switch {
	case call.StatusOf(err) == 404:
		return page.Notice{Tone: page.Bad, Title: "Line " + line + " is gone", Text: "There is no such line. If it was there when the hash was kept, lines were taken off the end."}, nil
	case err != nil:
		return nil, err
	case !strings.EqualFold(a.Hash, kept):
		return page.Notice{Tone: page.Bad, Title: "Line " + line + " has another hash", Text: "The log up to this line is not what it was when the hash was kept."}, nil
	}
	return page.Notice{Tone: page.Good, Title: "The hash is that of line " + line, Text: "The log up to this line is what it was when the hash was kept."}, nil
}
