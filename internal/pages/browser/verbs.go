package browser

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/dom"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// longPatience is for what the gateway does by itself, such as the delivery of a message.
const longPatience = 2 * time.Minute

// field are the roles of what can be filled, for messages.
var field = []string{"textbox", "searchbox", "spinbutton", "combobox", "listbox", "checkbox", "radio", "switch", "slider", "Date", "DateTime", "InputTime", "ColorWell", "group", "radiogroup"}

// do carries out a verb and waits until the page has come to rest after it. A page that takes the
// element away in the middle of it is looked at again; act must therefore be safe to begin anew.
func (p *Part) do(what string, act func(ctx context.Context) (missing string, err error)) {
	p.tab.tb.Helper()
	err := p.tab.until(p.tab.patience, act)
	if err == nil {
		ctx, cancel := context.WithTimeout(p.tab.ctx, patience)
		defer cancel()
		_, err = p.tab.settle(ctx)
	}
	if err != nil {
		p.tab.fail("%s%s: %v", what, p.what, err)
	}
}

// Click clicks the button, link, tab or box of this accessible name, or, when nothing has it, of this
// text. It must be shown, enabled and not covered.
func (p *Part) Click(name string) {
	p.tab.tb.Helper()
	p.do(fmt.Sprintf("click %q", name), func(ctx context.Context) (string, error) {
		e, missing, err := p.one(ctx, "button or link", name, clickable)
		if err != nil || missing != "" {
			return missing, err
		}
		return p.tab.click(ctx, e)
	})
}

// click moves the mouse to the element and presses its button.
func (t *Tab) click(ctx context.Context, e runtime.RemoteObjectID) (missing string, err error) {
	var disabled bool
	if err := t.on(ctx, e, "disabled", &disabled); err != nil {
		return "", err
	}
	if disabled {
		return "it is disabled", nil
	}
	var at struct {
		X, Y float64
		Over string
	}
	if err := t.on(ctx, e, "spot", &at); err != nil {
		return "", err
	}
	if at.Over != "" {
		return "it cannot be met: " + at.Over, nil
	}
	for _, what := range []input.DispatchMouseEventType{input.DispatchMouseEventTypeMouseMoved, input.DispatchMouseEventTypeMousePressed, input.DispatchMouseEventTypeMouseReleased} {
		event := input.DispatchMouseEventParams{Type: what, X: at.X, Y: at.Y}
		if what != input.DispatchMouseEventTypeMouseMoved {
			event.Button, event.ClickCount = input.MouseButtonLeft, 1
		}
		_, err := chromedp.Call(ctx, input.DispatchMouseEvent, event)
		if what == input.DispatchMouseEventTypeMouseReleased && isGone(err) {
			return "", nil // it led away; a second click would meet the next page
		}
		if err != nil {
			return "", err
		}
	}
	return "", nil
}

// Submit clicks the button, and fails if nothing is sent then: the browser's own check of the fields
// stands in the message.
func (p *Part) Submit(name string) {
	p.tab.tb.Helper()
	_, _, before := p.tab.traffic.counts()
	p.do(fmt.Sprintf("submit with %q", name), func(ctx context.Context) (string, error) {
		e, missing, err := p.one(ctx, "button", name, button)
		if err != nil || missing != "" {
			return missing, err
		}
		return p.tab.click(ctx, e)
	})
	if _, _, after := p.tab.traffic.counts(); after == before {
		var invalid []string
		_ = p.tab.ask(&invalid, "postrider.invalid()") // none are named then
		p.tab.fail("submit with %q%s: nothing was sent; fields that the browser refuses: %s", name, p.what, strings.Join(invalid, "; "))
	}
}

// field is the one that the label names, and what kind it is of.
func (p *Part) field(ctx context.Context, label string, kinds ...string) (e runtime.RemoteObjectID, kind, missing string, err error) {
	root, missing, err := p.root(ctx)
	if err != nil || missing != "" {
		return "", "", missing, err
	}
	list, err := p.tab.named(ctx, root, label, nil)
	if err == nil && slices.Contains(kinds, "file") {
		list, err = p.tab.objects(ctx, root, "fileFields", label)
	}
	if err != nil {
		return "", "", "", err
	}
	var found []runtime.RemoteObjectID
	for _, o := range list {
		var k string
		if err := p.tab.on(ctx, o, "kind", &k); err != nil {
			// The text of a label is a node, but no element.
			if strings.Contains(err.Error(), "page.js") {
				continue
			}
			return "", "", "", err
		}
		if slices.Contains(kinds, k) {
			found, kind = append(found, o), k
		}
	}
	switch len(found) {
	case 1:
		var disabled bool
		if err := p.tab.on(ctx, found[0], "disabled", &disabled); err != nil || disabled {
			return "", "", "it is disabled", err
		}
		return found[0], kind, "", nil
	case 0:
		others, err := p.tab.names(ctx, root, field)
		return "", "", fmt.Sprintf("there is no such field labelled %q%s; there are %s", label, p.what, others), err
	}
	return "", "", fmt.Sprintf("there are %d fields labelled %q%s: use Row or Within", len(found), label, p.what), nil
}

// Fill replaces what is in the field of this label, as somebody who types does, and leaves the field.
// Values of date and time fields have the form of HTML: 2026-11-23, 14:05, 2026-11-23T14:05.
func (p *Part) Fill(label, value string) {
	p.tab.tb.Helper()
	p.do(fmt.Sprintf("fill %q", label), func(ctx context.Context) (string, error) {
		e, kind, missing, err := p.field(ctx, label, "text", "value")
		if err != nil || missing != "" {
			return missing, err
		}
		if kind == "value" {
			var got string
			if err := p.tab.on(ctx, e, "set", &got, value); err != nil || got == value {
				return "", err
			}
			return fmt.Sprintf("it takes %q as %q", value, got), nil
		}
		if err := p.tab.on(ctx, e, "select", nil); err != nil {
			return "", err
		}
		if value == "" {
			err = p.tab.press(ctx, "\b")
		} else {
			_, err = chromedp.Call(ctx, input.InsertText, input.InsertTextParams{Text: value})
		}
		if err != nil {
			return "", err
		}
		return "", p.tab.on(ctx, e, "blur", nil)
	})
}

// Choose chooses the option of a list, or of a group of radio buttons.
func (p *Part) Choose(label, option string) {
	p.tab.tb.Helper()
	p.do(fmt.Sprintf("choose %q of %q", option, label), func(ctx context.Context) (string, error) {
		e, kind, missing, err := p.field(ctx, label, "select", "group")
		if err != nil || missing != "" {
			return missing, err
		}
		if kind == "group" {
			in := &Part{tab: p.tab, of: p, what: fmt.Sprintf(" in the group %q", label), find: func(context.Context, runtime.RemoteObjectID) ([]runtime.RemoteObjectID, error) {
				return []runtime.RemoteObjectID{e}, nil
			}}
			return in.check(ctx, option, true)
		}
		var others []string
		if err := p.tab.on(ctx, e, "choose", &others, option); err != nil || others == nil {
			return "", err
		}
		return "its options are: " + strings.Join(others, ", "), nil
	})
}

// Check ticks the box or radio button of this label, if it is not ticked.
func (p *Part) Check(label string) {
	p.tab.tb.Helper()
	p.do(fmt.Sprintf("check %q", label), func(ctx context.Context) (string, error) { return p.check(ctx, label, true) })
}

// Uncheck takes the tick out of the box of this label, if there is one.
func (p *Part) Uncheck(label string) {
	p.tab.tb.Helper()
	p.do(fmt.Sprintf("uncheck %q", label), func(ctx context.Context) (string, error) { return p.check(ctx, label, false) })
}

func (p *Part) check(ctx context.Context, label string, want bool) (string, error) {
	e, missing, err := p.one(ctx, "box", label, box)
	if err != nil || missing != "" {
		return missing, err
	}
	var is bool
	if err := p.tab.on(ctx, e, "checked", &is); err != nil || is == want {
		return "", err
	}
	return p.tab.click(ctx, e)
}

// Attach puts a file of this machine into the file field of this label.
func (p *Part) Attach(label, path string) {
	p.tab.tb.Helper()
	p.do(fmt.Sprintf("attach to %q", label), func(ctx context.Context) (string, error) {
		e, _, missing, err := p.field(ctx, label, "file")
		if err != nil || missing != "" {
			return missing, err
		}
		_, err = chromedp.Call(ctx, dom.SetFileInputFiles, dom.SetFileInputFilesParams{ObjectID: e, Files: []string{path}})
		return "", err
	})
}

// Value is what the field of this label holds; of a list, the value of the option.
func (p *Part) Value(label string) string {
	p.tab.tb.Helper()
	var value string
	p.do(fmt.Sprintf("read %q", label), func(ctx context.Context) (string, error) {
		e, _, missing, err := p.field(ctx, label, "text", "value", "select")
		if err != nil || missing != "" {
			return missing, err
		}
		return "", p.tab.on(ctx, e, "value", &value)
	})
	return value
}

// Press presses a key where the focus is: a letter, or one of chromedp's package kb, such as
// kb.Escape or kb.Tab.
func (t *Tab) Press(key string) {
	t.tb.Helper()
	t.do("press a key", func(ctx context.Context) (string, error) { return "", t.press(ctx, key) })
}

func (t *Tab) press(ctx context.Context, key string) error {
	return chromedp.Do(ctx, chromedp.KeyEvent(key))
}

// See waits until each of the texts is shown, however its letters are capitalized and its lines are
// broken. What the server sends of itself is waited for as well.
func (p *Part) See(texts ...string) {
	p.tab.tb.Helper()
	for _, text := range texts {
		p.see(text, p.tab.patience)
	}
}

// WaitFor is See with two minutes' patience, for what the gateway takes its time for.
func (p *Part) WaitFor(text string) {
	p.tab.tb.Helper()
	p.see(text, longPatience)
}

func (p *Part) see(text string, within time.Duration) {
	p.tab.tb.Helper()
	p.look(within, func(ctx context.Context, root runtime.RemoteObjectID) (string, error) {
		var is bool
		err := p.tab.on(ctx, root, "sees", &is, text)
		return missingUnless(is, fmt.Sprintf("%q is not shown%s", text, p.what)), err
	})
}

// SeeNot waits until none of the texts is shown.
func (p *Part) SeeNot(texts ...string) {
	p.tab.tb.Helper()
	for _, text := range texts {
		p.look(p.tab.patience, func(ctx context.Context, root runtime.RemoteObjectID) (string, error) {
			var is bool
			err := p.tab.on(ctx, root, "sees", &is, text)
			return missingUnless(!is, fmt.Sprintf("%q is shown%s", text, p.what)), err
		})
	}
}

func missingUnless(is bool, missing string) string {
	if is {
		return ""
	}
	return missing
}

func (p *Part) look(within time.Duration, at func(context.Context, runtime.RemoteObjectID) (string, error)) {
	p.tab.tb.Helper()
	err := p.tab.until(within, func(ctx context.Context) (string, error) {
		root, missing, err := p.root(ctx)
		if err != nil || missing != "" {
			return missing, err
		}
		return at(ctx, root)
	})
	if err != nil {
		p.tab.fail("%v", err)
	}
}

// Text is all that is shown, in one line.
func (p *Part) Text() string {
	p.tab.tb.Helper()
	var shown string
	p.look(p.tab.patience, func(ctx context.Context, root runtime.RemoteObjectID) (string, error) {
		return "", p.tab.on(ctx, root, "text", &shown)
	})
	return shown
}

// Heading is the page's h1, of which there must be one.
func (t *Tab) Heading() string {
	t.tb.Helper()
	var list []string
	t.look(t.patience, func(ctx context.Context, _ runtime.RemoteObjectID) (string, error) {
		err := t.eval(ctx, "postrider.headings()", &list)
		return missingUnless(len(list) == 1, fmt.Sprintf("there are %d headings h1: %q", len(list), list)), err
	})
	return list[0]
}

// Download clicks what gives a file, and waits for the file: its name as the server wants it, and its
// content.
func (p *Part) Download(name string) (file string, content []byte) {
	p.tab.tb.Helper()
	t := p.tab
	p.Click(name)
	ctx, cancel := context.WithTimeout(t.ctx, patience)
	defer cancel()
	for {
		t.traffic.mu.Lock()
		changed := t.traffic.changed
		for guid, d := range t.traffic.downloads {
			if d.state != browser.DownloadProgressStateCompleted {
				continue
			}
			path := filepath.Join(t.folder, guid)
			delete(t.traffic.downloads, guid)
			t.traffic.mu.Unlock()
			content, err := os.ReadFile(path)
			if err != nil {
				t.fail("download %q: %v", name, err)
			}
			return d.name, content
		}
		t.traffic.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			t.fail("download %q%s: no file came", name, p.what)
		}
	}
}
