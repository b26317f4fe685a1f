package route_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/activities/route"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

func namesOf(r route.Result) string {
	var out []string
	for _, c := range r.Candidates {
		out = append(out, c.Name)
	}
	return strings.Join(out, " ")
}

// queued is the newest line of the timeline that says so.
func (b *bundle) queued(t testing.TB) map[string]any {
	t.Helper()
	lines := b.journal.Details(b.m.ID, "queued")
	if len(lines) == 0 {
		t.Fatal("it was not queued")
	}
	return lines[len(lines)-1]
}

// The worse vendor is asked after the better one, and the timeline says why.
func TestHealthDecides(t *testing.T) {
	b := setup(t)
	b.steps.Health = func(v message.ID) message.VendorHealth {
		if v == b.first {
			return message.HealthDown
		}
		return message.HealthHealthy
	}
	r := b.choose(t)
	if namesOf(r) != "zeta acme" || r.Why != "health" {
		t.Errorf("%+v", r)
	}
	if d := b.queued(t); d["vendor"] != "zeta" || d["why"] != "health" {
		t.Errorf("timeline %v", d)
	}
	b.steps.Health = nil
	if r := b.ask(t, route.Input{}); namesOf(r) != "acme zeta" || r.Why != "" {
		t.Errorf("in good health: %+v", r)
	}
}

// What the submit writes in the stead of the choice it has from the choice.
func TestWhyIsLeftToTheSubmit(t *testing.T) {
	b := setup(t)
	b.room[b.second] = 9
	b.steps.Health = func(v message.ID) message.VendorHealth {
		return map[bool]message.VendorHealth{true: message.HealthDegraded}[v == b.first]
	}
	if r := b.choose(t); !r.Unrecorded || r.Why != "health" || namesOf(r) != "zeta acme" {
		t.Errorf("%+v", r)
	}
}

// The record is asked for the conversation only when a route wants to know and there is
// a choice.
func TestConversationStays(t *testing.T) {
	for _, c := range []struct {
		name   string
		sticky bool
		used   bool
		only   bool
		want   string
		asked  int
	}{
		{"not sticky", false, true, false, "acme zeta", 0},
		{"sticky", true, true, false, "zeta acme", 1},
		{"sticky, a new conversation", true, false, false, "acme zeta", 1},
		{"sticky, no choice", true, true, true, "acme", 0},
	} {
		b := setup(t)
		for i := range b.config.Routes {
			b.config.Routes[i].Sticky = c.sticky
		}
		if c.only {
			b.config.Routes = b.config.Routes[:1]
		}
		if c.used {
			b.journal.Used(b.m.AccountID, b.m.From, b.m.To, b.second)
		}
		asked := 0
		b.journal.Step = func(op string, done bool) error {
			if op == "last vendor" && !done {
				asked++
			}
			return nil
		}
		b.config.Vendors[b.second].Priority = 1 // the weights decide, and then the conversation
		b.config.Vendors[b.first].Priority = 0
		if r := b.choose(t); namesOf(r) != c.want || asked != c.asked || (r.Why == "conversation") != (c.want == "zeta acme") {
			t.Errorf("%s: %+v, asked %d times", c.name, r, asked)
		}
	}
}

// A message that somebody has named a vendor for goes there, however its steps have
// come to know of it.
func TestNamedByStaff(t *testing.T) {
	for _, c := range []struct {
		name   string
		before func(b *bundle)
		in     route.Input
		want   string
		asked  int
	}{
		{"nobody has named one", func(*bundle) {}, route.Input{}, "acme zeta", 0},
		{"named before it was routed", func(b *bundle) { b.journal.Override(b.m.ID, b.second) }, route.Input{Revision: 1}, "zeta", 1},
		{"nobody has named one while it waited", func(b *bundle) { b.journal.SetStatus(b.m.ID, message.StatusQueued) }, route.Input{Waited: true}, "acme zeta", 1},
		{"named while it waited", func(b *bundle) {
			b.journal.SetStatus(b.m.ID, message.StatusQueued)
			b.journal.Override(b.m.ID, b.second)
		}, route.Input{Waited: true}, "zeta", 1},
		{"named, and asked again", func(b *bundle) {
			b.journal.SetStatus(b.m.ID, message.StatusQueued)
			b.journal.Override(b.m.ID, b.second)
		}, route.Input{Again: true}, "zeta", 1},
		{"named, and gone since", func(b *bundle) {
			b.journal.Override(b.m.ID, b.second)
			b.config.Vendors[b.second].Active = false
		}, route.Input{Revision: 1}, "acme", 1},
	} {
		b := setup(t)
		c.before(b)
		asked := 0
		b.journal.Step = func(op string, done bool) error {
			if op == "route override" && !done {
				asked++
			}
			return nil
		}
		r := b.ask(t, c.in)
		if namesOf(r) != c.want || asked != c.asked || (r.Why == "override") != (c.want == "zeta") {
			t.Errorf("%s: %+v, asked %d times", c.name, r, asked)
		}
	}
}

// Somebody names a vendor between the admission and the choice: what was admitted is no
// longer what is there, and the choice is made anew.
func TestNamedBetweenAdmissionAndRoute(t *testing.T) {
	b := setup(t)
	b.journal.Remembers = true
	b.journal.Override(b.m.ID, b.second)
	if r := b.choose(t); !r.Revised || len(r.Candidates) != 0 {
		t.Errorf("%+v", r)
	}
	if r := b.ask(t, route.Input{Revision: 1}); namesOf(r) != "zeta" {
		t.Errorf("%+v", r)
	}
}

// Asked again, a queued message gets the candidates of now, and its timeline a line
// when the first of them is another one, once.
func TestAgain(t *testing.T) {
	b := setup(t)
	b.journal.Remembers = true
	b.choose(t)
	b.shows(t, message.StatusQueued, "admitted", "queued")
	again := route.Input{Again: true}
	b.room[b.first] = 9 // it goes over the queue all the same
	if r := b.ask(t, again); namesOf(r) != "acme zeta" || r.Unrecorded {
		t.Errorf("nothing has changed: %+v", r)
	}
	b.shows(t, message.StatusQueued, "admitted", "queued")
	b.config.Vendors[b.first].Draining = true
	for range 2 {
		if r := b.ask(t, again); namesOf(r) != "zeta" {
			t.Errorf("%+v", r)
		}
		b.shows(t, message.StatusQueued, "admitted", "queued", "queued")
	}
	if d := b.queued(t); d["vendor"] != "zeta" || d["was"] != "acme" || d["rerouted"] != true || d["candidates"] != 1 {
		t.Errorf("timeline %v", d)
	}
	if m, err := b.journal.Message(context.Background(), b.m.ID); err != nil || m.Vendor != "zeta" {
		t.Errorf("%v, %v", m.Vendor, err)
	}
	// Nobody is left: it waits, for a vendor may come back.
	b.config.Vendors[b.second].Active = false
	if r := b.ask(t, again); len(r.Candidates) != 0 || r.Status != "" {
		t.Errorf("nobody is left: %+v", r)
	}
	b.shows(t, message.StatusQueued, "admitted", "queued", "queued")
	b.config.Vendors[b.first].Draining = false
	if r := b.ask(t, again); namesOf(r) != "acme" {
		t.Errorf("%+v", r)
	}
}

// The line is written of a queued message only: what becomes of one that is being sent
// its submit says, and one that has ended has no way to go.
func TestAgainIsNotedOfQueuedOnly(t *testing.T) {
	for _, status := range []message.Status{message.StatusSending, message.StatusSent, message.StatusInDoubt} {
		b := setup(t)
		b.journal.SetStatus(b.m.ID, status)
		if r := b.ask(t, route.Input{Again: true}); namesOf(r) != "acme zeta" {
			t.Errorf("%s: %+v", status, r)
		}
		if tl := b.journal.Timeline(b.m.ID); len(tl) != 0 {
			t.Errorf("%s: %v", status, tl)
		}
	}
	b := setup(t)
	b.journal.SetStatus(b.m.ID, message.StatusCanceled)
	if r := b.ask(t, route.Input{Again: true}); r.Status != message.StatusCanceled || len(r.Candidates) != 0 {
		t.Errorf("%+v", r)
	}
	// The record does not show the queueing yet: then it is written now.
	b = setup(t)
	b.room[b.first] = 9
	if r := b.ask(t, route.Input{Again: true}); namesOf(r) != "acme zeta" || r.Unrecorded {
		t.Errorf("%+v", r)
	}
	b.shows(t, message.StatusQueued, "admitted", "queued")
}

// A route that is not open yet will be when the message's wait is over.
func TestRouteOfTheTimeItLeavesAt(t *testing.T) {
	b := setup(t)
	opens := time.Now().Add(time.Hour)
	b.config.Routes = b.config.Routes[1:]
	b.config.Routes[0].EffectiveFrom = opens
	if r := b.ask(t, route.Input{Hold: &message.Hold{Rule: "quiet_hours", Until: opens}}); namesOf(r) != "zeta" {
		t.Errorf("%+v", r)
	}
	b = setup(t)
	b.config.Routes = b.config.Routes[1:]
	b.config.Routes[0].EffectiveFrom = opens
	if r := b.choose(t); r.Status != message.StatusRejected || r.Reason != message.ReasonNoRoute {
		t.Errorf("%+v", r)
	}
}

func TestResendAfter(t *testing.T) {
	for _, c := range []struct {
		class    message.Class
		delivery message.Delivery
		want     time.Duration
	}{
		{message.ClassOTP, message.AtLeastOnce, 20 * time.Second},
		{message.ClassOTP, message.AtMostOnce, 0},
		{message.ClassConversation, message.AtLeastOnce, 0},
	} {
		b := setup(t)
		b.m.AccountID, b.m.Class, b.m.Delivery = message.NewID(), c.class, c.delivery
		b.journal.Put(b.m)
		b.config.Accounts = map[message.ID]*snapshot.Account{b.m.AccountID: {ID: b.m.AccountID, ResendAfter: 20 * time.Second}}
		if r := b.choose(t); r.ResendAfter != c.want {
			t.Errorf("%s, %s: %s", c.class, c.delivery, r.ResendAfter)
		}
	}
}

// A record that cannot be asked is asked again, and nothing is chosen without it.
func TestRecordAwayFromTheChoice(t *testing.T) {
	for _, op := range []string{"route override", "last vendor", "message", "advance"} {
		b := setup(t)
		b.config.Routes[0].Sticky = true
		b.config.Vendors[b.first].Priority = 3
		b.journal.SetStatus(b.m.ID, message.StatusQueued)
		away := errors.New("the database is away")
		b.journal.Step = func(is string, done bool) error {
			if is == op && !done {
				return away
			}
			return nil
		}
		in := route.Input{MessageID: b.m.ID, Again: true}
		if r, err := b.steps.ChooseRoute(context.Background(), in); err == nil || !strings.Contains(fmt.Sprint(err), away.Error()) || len(r.Candidates) != 0 && op != "advance" {
			t.Errorf("%s: %+v, %v", op, r, err)
		}
	}
}
