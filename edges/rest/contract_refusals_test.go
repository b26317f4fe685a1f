package rest

import (
	"errors"
	"flag"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// wrongs are the requests that every operation refuses alike, for the same reason.
var wrongs = []struct {
	status int
	query  string
	with   []func(*http.Request)
	body   string
	bodied bool  // only operations that take a JSON body
	or     []int // is as good
}{
	{status: http.StatusUnauthorized, with: []func(*http.Request){bearer("e30.e30.e30")}},
	{status: http.StatusNotAcceptable, with: []func(*http.Request){header("Accept", "image/png")}},
	{status: http.StatusUnprocessableEntity, query: "?nothing_of_this_name=1", or: []int{404}},
	{status: http.StatusUnsupportedMediaType, with: []func(*http.Request){header("Content-Type", "text/x-nothing")}, body: "x", bodied: true},
	{status: http.StatusBadRequest, body: "{", bodied: true, or: []int{404, 422, 503}},
}

// Whatever the operation, what is wrong with the request itself is refused with its
// documented status, on both routers. The contract looks at the answers.
func TestRefusalsOfEveryOperation(t *testing.T) {
	t.Parallel()
	b := furnished(t)
	b.server.FailedPerMinute = 1 << 20
	o := open(t, func(o *office) { o.server.FailedPerMinute = 1 << 20 })
	try := func(at *bundle, op *huma.Operation, who func(*http.Request)) {
		a := op.Metadata["access"].(access)
		path := pathParameter.ReplaceAllString(op.Path, message.NewID().String())
		if strings.Contains(op.Path, "{account}") {
			path = pathParameter.ReplaceAllString(strings.Replace(op.Path, "{account}", o.customer.String(), 1), message.NewID().String())
		}
		for _, w := range wrongs {
			at.clock.advance(time.Second)
			if w.bodied && !(len(a.bodies) == 1 && a.bodies[0] == jsonType) || w.status == http.StatusUnauthorized && len(op.Security) == 0 {
				continue
			}
			body := w.body
			if body == "" && len(a.bodies) > 0 {
				body = "{}"
			}
			with := []func(*http.Request){who}
			if w.body == "" && slices.Contains(a.bodies, csvType) {
				with = append(with, header("Content-Type", csvType))
			}
			r := at.do(op.Method, path+w.query, body, append(with, w.with...)...)
			// The operation itself may find first that the thing is not there, or that its name can be none.
			if want := w.status; r.StatusCode != want && !slices.Contains(w.or, r.StatusCode) {
				t.Errorf("%s %s %s: %d, want %d: %s", op.Method, path, w.query, r.StatusCode, want, r.body)
			}
		}
	}
	for _, op := range customerOperations() {
		try(b, op, as("keyA"))
	}
	for _, item := range adminOperations(t).Paths {
		for _, op := range operationsOf(item) {
			delete(o.tokens, snapshot.RoleAdmin) // the clock goes on for longer than one lasts
			who := o.by(snapshot.RoleAdmin)
			if op.Metadata["access"].(access).service != "" && len(op.Metadata["access"].(access).roles) == 0 {
				who = bearer(o.serviceToken())
			}
			try(o.bundle, op, who)
		}
	}
}

// What is not there is refused in the form of RFC 9457 on both routers.
func TestProblemsOfBothRouters(t *testing.T) {
	t.Parallel()
	o := open(t, nil)
	for _, at := range []string{"/v1", adminPrefix} {
		wantProblem(t, o.do("GET", at+"/nothing", ""), 404, message.ReasonNotFound)
		r := o.do("DELETE", at+"/auth/token", "")
		wantProblem(t, r, 405, message.ReasonInvalidRequest)
		if r.Header.Get("Allow") == "" {
			t.Errorf("%s: no Allow", at)
		}
		wantProblem(t, o.do("POST", at+"/auth/token", "{}", header("Accept", "image/png")), 406, message.ReasonInvalidRequest)
		wantProblem(t, o.do("POST", at+"/auth/token", strings.Repeat(" ", maxBody+1)), 413, message.ReasonPayloadTooLarge)
		wantProblem(t, o.do("POST", at+"/auth/token", "x", header("Content-Type", "text/x-nothing")), 415, message.ReasonInvalidRequest)
	}
}

// The internal API answers a panic as the customers' does.
func TestPanicOfTheInternalAPIIsAnswered(t *testing.T) {
	t.Parallel()
	o := open(t, func(o *office) { o.server.Admin.Audit = nil })
	r := o.do("GET", adminPrefix+"/audit-log", "", o.by(snapshot.RoleAdmin))
	wantProblem(t, r, 500, message.ReasonInternal)
}

// everyOperationAnswered fails, after all tests, for operations that none of them has
// got a success from. It looks only when all tests have run.
func everyOperationAnswered() error {
	for _, name := range []string{"test.run", "test.skip", "test.list", "test.fuzz"} {
		if f := flag.Lookup(name); f != nil && f.Value.String() != "" {
			return nil
		}
	}
	list, err := documents()
	if err != nil {
		return err
	}
	var missing []string
	unseen := map[string]int{}
	for _, d := range list {
		for path, item := range d.paths {
			for method, op := range item {
				key := d.name + ": " + strings.ToUpper(method) + " " + path
				success := false
				for status := range answered.statuses[key] {
					success = success || status < 300
				}
				if !success {
					missing = append(missing, key)
				}
				for status := range op.(map[string]any)["responses"].(map[string]any) {
					var n int
					if _, err := fmt.Sscan(status, &n); err == nil && answered.statuses[key][n] == 0 {
						unseen[status]++
					}
				}
			}
		}
	}
	if testing.Verbose() {
		fmt.Println("contract: operations without a documented status in any test, by status:", unseen)
	}
	if len(missing) == 0 {
		return nil
	}
	slices.Sort(missing)
	return errors.New("no test of this package has had a success from:\n  " + strings.Join(missing, "\n  "))
}
