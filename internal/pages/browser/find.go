package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/dom"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// Part is a part of a page: the whole, or what Row and Within give. It is found anew for each
// verb, so that it may be kept while the page changes.
type Part struct {
	tab  *Tab
	of   *Part  // nil: it is the whole page
	what string // for messages: ` in the row "…"`
	find func(ctx context.Context, root runtime.RemoteObjectID) (found []runtime.RemoteObjectID, err error)
}

// root is the part as an object of the document. missing says why there is none yet.
func (p *Part) root(ctx context.Context) (root runtime.RemoteObjectID, missing string, err error) {
	if p.of == nil {
		root, err := p.tab.object(ctx, "document")
		return root, "", err
	}
	above, missing, err := p.of.root(ctx)
	if err != nil || missing != "" {
		return "", missing, err
	}
	found, err := p.find(ctx, above)
	switch {
	case err != nil:
		return "", "", err
	case len(found) == 0:
		return "", "there is no " + p.name(), nil
	case len(found) > 1:
		return "", fmt.Sprintf("there are %d of %s: say more of it, or use Within", len(found), p.name()), nil
	}
	return found[0], "", nil
}

// name is the part's own, without what it is in.
func (p *Part) name() string { return strings.TrimPrefix(p.what, " in the ") + p.of.what }

// object evaluates to an object of the page that can be called upon.
func (t *Tab) object(ctx context.Context, expression string) (runtime.RemoteObjectID, error) {
	id, err := t.enter(ctx)
	if err != nil {
		return "", err
	}
	got, err := chromedp.Call(ctx, runtime.Evaluate, runtime.EvaluateParams{Expression: expression, ContextID: id})
	if err != nil {
		return "", err
	}
	return got.Result.ObjectID, decode(got.Result, got.ExceptionDetails, nil)
}

// objects calls a function of page.js that gives elements.
func (t *Tab) objects(ctx context.Context, root runtime.RemoteObjectID, name, argument string) ([]runtime.RemoteObjectID, error) {
	b, err := json.Marshal(argument)
	if err != nil {
		return nil, err
	}
	list, err := chromedp.Call(ctx, runtime.CallFunctionOn, runtime.CallFunctionOnParams{ObjectID: root,
		FunctionDeclaration: "function(argument) { return postrider." + name + "(this, argument); }", Arguments: []*runtime.CallArgument{{Value: b}}})
	if err != nil {
		return nil, err
	}
	if err := decode(list.Result, list.ExceptionDetails, nil); err != nil {
		return nil, err
	}
	yes := true
	members, err := chromedp.Call(ctx, runtime.GetProperties, runtime.GetPropertiesParams{ObjectID: list.Result.ObjectID, OwnProperties: &yes})
	if err != nil {
		return nil, err
	}
	var ids []runtime.RemoteObjectID
	for _, m := range members.Result {
		if m.Enumerable && m.Value != nil && m.Value.ObjectID != "" {
			ids = append(ids, m.Value.ObjectID)
		}
	}
	return ids, nil
}

// What a name may stand for. The roles are those of ARIA, and Chromium's for summary.
var (
	clickable = []string{"button", "link", "menuitem", "menuitemcheckbox", "menuitemradio", "tab", "option", "checkbox", "radio", "switch", "treeitem",
		"DisclosureTriangle", "DisclosureTriangleGrouped"}
	container = []string{"dialog", "alertdialog", "region", "form", "group", "radiogroup", "navigation", "main", "complementary", "search", "table", "grid", "list",
		"article", "tabpanel", "menu", "figure"}
	button = []string{"button"}
	box    = []string{"checkbox", "radio", "switch", "menuitemcheckbox", "menuitemradio"}
)

// named are the elements below the root that are shown and have the accessible name; of any of the
// roles, or of any role at all if there are none.
func (t *Tab) named(ctx context.Context, root runtime.RemoteObjectID, name string, roles []string) ([]runtime.RemoteObjectID, error) {
	world, err := t.enter(ctx)
	if err != nil {
		return nil, err
	}
	got, err := chromedp.Call(ctx, accessibility.QueryAXTree, accessibility.QueryAXTreeParams{ObjectID: root, AccessibleName: name})
	if err != nil {
		return nil, err
	}
	var found []runtime.RemoteObjectID
	var known []cdp.BackendNodeID
	for _, n := range got.Nodes {
		if n.Ignored || n.BackendDOMNodeID == 0 || slices.Contains(known, n.BackendDOMNodeID) || len(roles) > 0 && !slices.Contains(roles, text(n.Role)) {
			continue
		}
		known = append(known, n.BackendDOMNodeID)
		element, err := chromedp.Call(ctx, dom.ResolveNode, dom.ResolveNodeParams{BackendNodeID: n.BackendDOMNodeID, ExecutionContextID: world})
		if err != nil {
			return nil, err
		}
		found = append(found, element.Object.ObjectID)
	}
	return found, nil
}

func text(v *accessibility.Value) string {
	var s string
	if v != nil {
		_ = json.Unmarshal(v.Value, &s) // another type has no text
	}
	return s
}

// one is the only element of those kinds that has the name, or shows it. Several links to one place
// are one. missing says what there is instead.
func (p *Part) one(ctx context.Context, what, name string, roles []string) (found runtime.RemoteObjectID, missing string, err error) {
	root, missing, err := p.root(ctx)
	if err != nil || missing != "" {
		return "", missing, err
	}
	list, err := p.tab.named(ctx, root, name, roles)
	if err == nil && len(list) == 0 && slices.Contains(roles, "button") {
		list, err = p.tab.objects(ctx, root, "labelled", name)
	}
	if err != nil {
		return "", "", err
	}
	if len(list) > 1 {
		if list, err = p.tab.distinct(ctx, list); err != nil {
			return "", "", err
		}
	}
	switch len(list) {
	case 1:
		return list[0], "", nil
	case 0:
		others, err := p.tab.names(ctx, root, roles)
		return "", fmt.Sprintf("there is no %s %q%s; there are %s", what, name, p.what, others), err
	}
	return "", fmt.Sprintf("there are %d of %s %q%s: use Row or Within", len(list), what, name, p.what), nil
}

// distinct leaves one of several links to the same place.
func (t *Tab) distinct(ctx context.Context, list []runtime.RemoteObjectID) ([]runtime.RemoteObjectID, error) {
	var places []string
	var kept []runtime.RemoteObjectID
	for _, o := range list {
		var place string
		if err := t.on(ctx, o, "href", &place); err != nil {
			return nil, err
		}
		if place == "" || !slices.Contains(places, place) {
			kept = append(kept, o)
			places = append(places, place)
		}
	}
	return kept, nil
}

// names lists what there is of the roles, for a message.
func (t *Tab) names(ctx context.Context, root runtime.RemoteObjectID, roles []string) (string, error) {
	got, err := chromedp.Call(ctx, accessibility.QueryAXTree, accessibility.QueryAXTreeParams{ObjectID: root})
	if err != nil {
		return "", err
	}
	var list []string
	for _, n := range got.Nodes {
		if entry := fmt.Sprintf("%s %q", text(n.Role), text(n.Name)); !n.Ignored && slices.Contains(roles, text(n.Role)) && !slices.Contains(list, entry) {
			list = append(list, entry)
		}
	}
	if len(list) == 0 {
		return "none at all", nil
	}
	const most = 40 // more are not read
	if len(list) > most {
		list = append(list[:most], "…")
	}
	return strings.Join(list, ", "), nil
}

// Row is the innermost row, list item or article that shows the text; there must be one only.
func (p *Part) Row(text string) *Part {
	return &Part{tab: p.tab, of: p, what: fmt.Sprintf(" in the row %q", text), find: func(ctx context.Context, root runtime.RemoteObjectID) ([]runtime.RemoteObjectID, error) {
		return p.tab.objects(ctx, root, "rows", text)
	}}
}

// Within is the dialog, section, form, group, table or other part that has the accessible name.
func (p *Part) Within(name string) *Part {
	return &Part{tab: p.tab, of: p, what: fmt.Sprintf(" in the part %q", name), find: func(ctx context.Context, root runtime.RemoteObjectID) ([]runtime.RemoteObjectID, error) {
		return p.tab.named(ctx, root, name, container)
	}}
}
