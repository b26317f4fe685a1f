package admit_test

import (
	"context"
	"errors"
	"testing"

	"github.com/postrider/postrider/activities/admit"
	"github.com/postrider/postrider/activities/route"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// What is admitted is routed at once for who asks for it, as it was admitted.
func TestAdmitAndRoute(t *testing.T) {
	b := setup(t)
	var asked []route.Input
	var failure error
	b.steps.Route = func(_ context.Context, in route.Input) (route.Result, error) {
		asked = append(asked, in)
		return route.Result{Candidates: []route.Candidate{{Name: "acme"}}}, failure
	}
	run := func(in admit.Input) admit.Result {
		t.Helper()
		in.MessageID = b.m.ID
		r, err := b.steps.Admit(context.Background(), in)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if r := run(admit.Input{}); !r.Allowed || r.Route != nil || len(asked) != 0 {
		t.Errorf("unasked: %+v", r)
	}
	r := run(admit.Input{Route: true})
	if r.Route == nil || len(r.Route.Candidates) != 1 || len(asked) != 1 {
		t.Fatalf("%+v, %+v", r, asked)
	}
	if in := asked[0]; in.MessageID != b.m.ID || in.Revision != r.Revision || len(in.Trail) != len(r.Trail) || in.Hold != r.Hold {
		t.Errorf("%+v of %+v", in, r)
	}
	failure = errors.New("the database is away")
	if r := run(admit.Input{Route: true}); !r.Allowed || r.Route != nil {
		t.Errorf("without a route: %+v", r)
	}
	b.config.Accounts[b.m.AccountID].Status = snapshot.AccountSuspended
	if r := run(admit.Input{Route: true}); r.Allowed || r.Route != nil || r.Status != message.StatusRejected || len(asked) != 2 {
		t.Errorf("refused: %+v, asked %d times", r, len(asked))
	}
}
