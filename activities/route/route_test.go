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

func (r room) Room(vendor message.ID) int { return r[vendor] }

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
	r, err := b.steps.ChooseRoute(context.Background(), route.Input{MessageID: b.m.ID, Trail: []message.TrailEntry{{Rule: "route", Result: message.Pass}}})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestCandidates(t *testing.T) {
	b := setup(t)
	b.room[b.second] = 1 // one place, two parts
	r := b.choose(t)
	want := []route.Candidate{{VendorID: b.first, Name: "acme", Grace: time.Minute}, {VendorID: b.second, Name: "zeta", Grace: message.ReceiptGrace}}
	if !slices.Equal(r.Candidates, want) {
		t.Errorf("%+v", r.Candidates)
	}
	if b.journal.Status(b.m.ID) != message.StatusQueued || !b.journal.Started(b.m.ID) || !slices.Equal(b.journal.Timeline(b.m.ID), []message.EventType{"admitted", "queued"}) {
		t.Errorf("status %s, timeline %v", b.journal.Status(b.m.ID), b.journal.Timeline(b.m.ID))
	}
	b.room[b.first] = 2
	again := b.choose(t)
	if len(again.Candidates) != 2 || !again.Candidates[0].Here || again.Candidates[1].Here || len(b.journal.Timeline(b.m.ID)) != 2 {
		t.Errorf("again %+v", again)
	}
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
