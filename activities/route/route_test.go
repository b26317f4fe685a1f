package route_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/postrider/postrider/activities/journaltest"
	"github.com/postrider/postrider/activities/route"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

type room map[message.ID]int

func (r room) Room(vendor message.ID, _ message.Class) int { return r[vendor] }

type bundle struct {
	journal       *journaltest.Journal
	config        *snapshot.Snapshot
	steps         *route.Activities
	room          room
	first, second message.ID
	m             message.Message
}

func setup(t testing.TB) *bundle {
	t.Helper()
	b := &bundle{journal: &journaltest.Journal{}, room: room{}, first: message.NewID(), second: message.NewID()}
	b.config = &snapshot.Snapshot{
		Vendors: map[message.ID]*snapshot.Vendor{
			b.first:  {ID: b.first, Name: "acme", Active: true, Priority: 1, ReceiptGrace: time.Minute},
			b.second: {ID: b.second, Name: "zeta", Active: true, Priority: 2},
		},
		Routes: []snapshot.Route{{ID: 1, VendorID: b.first}, {ID: 2, VendorID: b.second}},
	}
	b.m = message.Message{ID: message.NewID(), Status: message.StatusAccepted, From: "+12025550143", To: "+13105550117", Segments: 2, Encoding: message.EncodingGSM7, WebhookURL: "https://shop.example/hook"}
	b.journal.Put(b.m)
	b.steps = &route.Activities{Journal: b.journal, Links: b.room, Snapshot: func() *snapshot.Snapshot { return b.config }, Now: time.Now}
	return b
}

func (b *bundle) choose(t testing.TB) route.Result {
	t.Helper()
	return b.ask(t, route.Input{})
}

func (b *bundle) ask(t testing.TB, in route.Input) route.Result {
	t.Helper()
	in.MessageID, in.Trail = b.m.ID, []message.TrailEntry{{Rule: "route", Result: message.Pass}}
	r, err := b.steps.ChooseRoute(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// shows checks what the record says, and whether its outbox row has gone, which
// is the same for all but accepted messages.
func (b *bundle) shows(t testing.TB, status message.Status, timeline ...message.EventType) {
	t.Helper()
	if s, started := b.journal.Status(b.m.ID), b.journal.Started(b.m.ID); s != status || started != (status != message.StatusAccepted) {
		t.Errorf("status %s, started %v, want %s", s, started, status)
	}
	if got := b.journal.Timeline(b.m.ID); !slices.Equal(got, timeline) {
		t.Errorf("timeline %v, want %v", got, timeline)
	}
	if i := b.journal.Illegal(); len(i) > 0 {
		t.Errorf("illegal changes: %v", i)
	}
}

func TestCandidates(t *testing.T) {
	b := setup(t)
	b.room[b.second] = 2
	b.room[b.first] = 1 // one place, two parts
	r := b.choose(t)
	want := []route.Candidate{{VendorID: b.first, Name: "acme", Grace: time.Minute}, {VendorID: b.second, Name: "zeta", Here: true, Grace: message.ReceiptGrace}}
	if !slices.Equal(r.Candidates, want) || r.Unrecorded || r.Status != "" {
		t.Errorf("%+v", r)
	}
	b.shows(t, message.StatusQueued, "admitted", "queued")
	again := b.choose(t)
	if !slices.Equal(again.Candidates, want) || again.Unrecorded {
		t.Errorf("again %+v", again)
	}
	b.shows(t, message.StatusQueued, "admitted", "queued")
}

// A vendor whose answers are mails is never submitted to inside a workflow's task, and its
// submit has its time.
func TestCandidateOverMM4(t *testing.T) {
	b := setup(t)
	v := b.config.Vendors[b.first]
	v.ProviderType, v.SupportsMMS = "mm4", true
	b.m.Kind, b.m.Segments = message.MMS, 1
	b.journal.Put(b.m)
	b.room[b.first] = 10
	r := b.choose(t)
	if len(r.Candidates) != 1 || r.Candidates[0].Here || r.Candidates[0].SubmitTime < 64*time.Minute || r.Unrecorded {
		t.Errorf("%+v", r)
	}
}

// A submit that runs here writes the queueing with its own first step: the
// choice writes nothing, however often it is made, until it is asked to.
func TestLeftToTheSubmit(t *testing.T) {
	b := setup(t)
	b.room[b.first] = 2
	want := []route.Candidate{{VendorID: b.first, Name: "acme", Here: true, Grace: time.Minute}, {VendorID: b.second, Name: "zeta", Grace: message.ReceiptGrace}}
	for range 2 {
		if r := b.choose(t); !slices.Equal(r.Candidates, want) || !r.Unrecorded {
			t.Errorf("%+v", r)
		}
		b.shows(t, message.StatusAccepted)
	}
	for range 2 {
		if r := b.ask(t, route.Input{Record: true}); !slices.Equal(r.Candidates, want) || r.Unrecorded {
			t.Errorf("%+v", r)
		}
		b.shows(t, message.StatusQueued, "admitted", "queued")
	}
	m, err := b.journal.Message(context.Background(), b.m.ID)
	if err != nil || m.VendorID != b.first || m.Vendor != "acme" {
		t.Errorf("vendor %q, %v", m.Vendor, err)
	}
}

// The link goes away between the choice and the note of it: that makes no
// difference to the note.
func TestNotedWhenTheLinkHasGone(t *testing.T) {
	b := setup(t)
	b.journal.Remembers = true
	b.room[b.first] = 2
	if r := b.choose(t); !r.Unrecorded {
		t.Errorf("%+v", r)
	}
	delete(b.room, b.first)
	if r := b.ask(t, route.Input{Record: true}); len(r.Candidates) != 2 || r.Candidates[0].Here || r.Unrecorded {
		t.Errorf("%+v", r)
	}
	b.shows(t, message.StatusQueued, "admitted", "queued")
}

func TestNoRoute(t *testing.T) {
	b := setup(t)
	b.config.Routes = nil
	r := b.choose(t)
	if len(r.Candidates) != 0 || r.Status != message.StatusRejected || r.Reason != message.ReasonNoRoute || len(r.Notify) != 1 || !b.journal.Started(b.m.ID) {
		t.Errorf("%+v", r)
	}
	if again := b.choose(t); again.Status != message.StatusRejected || !slices.Equal(again.Notify, r.Notify) {
		t.Errorf("again %+v", again)
	}
}

func TestWithdrawnMeanwhile(t *testing.T) {
	b := setup(t)
	b.journal.SetStatus(b.m.ID, message.StatusCanceled)
	if r := b.choose(t); len(r.Candidates) != 0 || r.Status != message.StatusCanceled {
		t.Errorf("%+v", r)
	}
}

// The submit finds out that the message was withdrawn, or else the note of the
// route does.
func TestWithdrawnUnrecorded(t *testing.T) {
	b := setup(t)
	b.journal.Remembers = true
	b.room[b.first] = 2
	b.journal.SetStatus(b.m.ID, message.StatusCanceled)
	if r := b.choose(t); len(r.Candidates) != 2 || !r.Unrecorded {
		t.Errorf("%+v", r)
	}
	if r := b.ask(t, route.Input{Record: true}); len(r.Candidates) != 0 || r.Status != message.StatusCanceled {
		t.Errorf("%+v", r)
	}
	if tl := b.journal.Timeline(b.m.ID); len(tl) != 0 || b.journal.Started(b.m.ID) {
		t.Errorf("written %v", tl)
	}
}

// A submit has begun, or is over, by the time the route is chosen again or noted
// (its process died, its answer was lost): the message is not called back, or it
// would be shown queued, and could be withdrawn, while a vendor has it.
func TestNotedAfterTheSubmit(t *testing.T) {
	for _, status := range []message.Status{message.StatusSending, message.StatusInDoubt, message.StatusSent} {
		for _, in := range []route.Input{{}, {Record: true}} {
			b := setup(t)
			b.journal.SetStatus(b.m.ID, status)
			if r := b.ask(t, in); len(r.Candidates) != 2 || r.Status != "" {
				t.Errorf("%+v", r)
			}
			if s := b.journal.Status(b.m.ID); s != status || len(b.journal.Timeline(b.m.ID)) != 0 {
				t.Errorf("%s became %s: %v", status, s, b.journal.Timeline(b.m.ID))
			}
		}
	}
}
