package browser

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

//go:embed page.js
var pageScript string

// world is where the harness evaluates in a document: isolated from the page's scripts, and
// not under its Content-Security-Policy.
type world struct {
	document cdp.LoaderID
	id       runtime.ExecutionContextID
}

// enter is the world of today's document, made and prepared if it is new.
func (t *Tab) enter(ctx context.Context) (runtime.ExecutionContextID, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.traffic.mu.Lock()
	frame, document := t.traffic.frame, t.traffic.document
	t.traffic.mu.Unlock()
	if t.world.id != 0 && t.world.document == document {
		return t.world.id, nil
	}
	made, err := chromedp.Call(ctx, page.CreateIsolatedWorld, page.CreateIsolatedWorldParams{FrameID: frame, WorldName: "postrider"})
	if err != nil {
		return 0, err
	}
	if err := t.evaluate(ctx, made.ExecutionContextID, pageScript, nil); err != nil {
		return 0, err
	}
	t.world = world{document: document, id: made.ExecutionContextID}
	return made.ExecutionContextID, nil
}

// eval evaluates in the document, waits if the value is a promise, and decodes it.
func (t *Tab) eval(ctx context.Context, expression string, into any) error {
	id, err := t.enter(ctx)
	if err != nil {
		return err
	}
	err = t.evaluate(ctx, id, expression, into)
	if isGone(err) { // the world may be new although the document is not
		t.mu.Lock()
		if t.world.id == id {
			t.world = world{}
		}
		t.mu.Unlock()
	}
	return err
}

func (t *Tab) evaluate(ctx context.Context, id runtime.ExecutionContextID, expression string, into any) error {
	yes, byValue := true, into != nil
	got, err := chromedp.Call(ctx, runtime.Evaluate, runtime.EvaluateParams{Expression: expression, ContextID: id, AwaitPromise: &yes, ReturnByValue: &byValue})
	if err != nil {
		return err
	}
	return decode(got.Result, got.ExceptionDetails, into)
}

// ask is eval with the usual patience.
func (t *Tab) ask(into any, expression string, args ...any) error {
	ctx, cancel := context.WithTimeout(t.ctx, patience)
	defer cancel()
	return t.eval(ctx, fmt.Sprintf(expression, args...), into)
}

// on calls a function of page.js on an object of the page, with arguments after it.
func (t *Tab) on(ctx context.Context, object runtime.RemoteObjectID, name string, into any, args ...any) error {
	yes := true
	p := runtime.CallFunctionOnParams{ObjectID: object, AwaitPromise: &yes, ReturnByValue: &yes,
		FunctionDeclaration: "function(...args) { return postrider." + name + "(this, ...args); }"}
	for _, a := range args {
		b, err := json.Marshal(a)
		if err != nil {
			return err
		}
		p.Arguments = append(p.Arguments, &runtime.CallArgument{Value: b})
	}
	got, err := chromedp.Call(ctx, runtime.CallFunctionOn, p)
	if err != nil {
		return err
	}
	return decode(got.Result, got.ExceptionDetails, into)
}

func decode(value *runtime.RemoteObject, thrown *runtime.ExceptionDetails, into any) error {
	if thrown != nil {
		what := thrown.Text
		if thrown.Exception != nil {
			what = thrown.Exception.Description
		}
		return fmt.Errorf("page.js: %s", what)
	}
	if into == nil || len(value.Value) == 0 {
		return nil
	}
	return json.Unmarshal(value.Value, into)
}

// isGone reports whether a call failed because its document or element is there no longer. The
// protocol has one code for all its errors, so its words are what there is to go by.
func isGone(err error) bool {
	if err == nil {
		return false
	}
	for _, words := range []string{"Cannot find context", "context was destroyed", "navigated or closed", "Could not find object", "Could not find node",
		"No node with given id", "Node with given id does not belong", "Object id doesn't reference", "No frame for given id", "No frame with given id", "Cannot find default execution context"} {
		if strings.Contains(err.Error(), words) {
			return true
		}
	}
	return false
}

// seen is the state of a page that was looked at: what comes later is news.
type seen struct {
	changes int             // of the document
	news    <-chan struct{} // closed at the next event of the browser
}

// settle waits until the document has come with all that it asked for, htmx is done, and no
// navigation is on its way.
func (t *Tab) settle(ctx context.Context) (seen, error) {
	for {
		idle, news := t.traffic.idle(0)
		if idle && t.still {
			return seen{}, nil
		}
		if idle {
			var state struct {
				Changes, Leaves int
				Quiet           bool
			}
			err := t.eval(ctx, "postrider.state()", &state)
			if err != nil && !isGone(err) {
				return seen{}, err
			}
			if err == nil {
				idle, news = t.traffic.idle(state.Leaves)
				if idle && state.Quiet {
					return seen{state.Changes, news}, nil
				}
				if err := t.await(ctx, seen{state.Changes, news}); err != nil {
					return seen{}, err
				}
				continue
			}
		}
		select {
		case <-news:
		case <-ctx.Done():
			return seen{}, fmt.Errorf("the page did not come to rest: %w", ctx.Err())
		}
	}
}

// await waits for news of a page.
func (t *Tab) await(ctx context.Context, s seen) error {
	within, cancel := context.WithCancel(ctx)
	defer cancel()
	changed := make(chan error, 1)
	go func() { // ends with within
		changed <- t.eval(within, fmt.Sprintf("postrider.later(%d)", s.changes), nil)
	}()
	var err error
	select {
	case err = <-changed:
		if isGone(err) {
			err = nil
		}
	case <-s.news:
		cancel()
		<-changed
	case <-ctx.Done():
		cancel()
		<-changed
		err = ctx.Err()
	}
	return err
}

// until tries again and again, whenever the settled page changes, until the try tells nothing
// that is missing. It waits as long for a change to come; the page's own work has its own
// patience, so that at least one try is made however slow the machine is.
func (t *Tab) until(within time.Duration, try func(context.Context) (missing string, err error)) error {
	ctx, cancel := context.WithTimeout(t.ctx, within+patience)
	defer cancel()
	wait, cancel := context.WithTimeout(t.ctx, within)
	defer cancel()
	for {
		s, err := t.settle(ctx)
		if err != nil {
			return err
		}
		missing, err := try(ctx)
		switch {
		case isGone(err):
			continue
		case err != nil:
			return err
		case missing == "":
			return nil
		}
		if err := t.await(wait, s); wait.Err() != nil {
			return errors.New(missing)
		} else if err != nil {
			return err
		}
	}
}
