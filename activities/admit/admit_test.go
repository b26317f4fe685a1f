package admit_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"go.temporal.io/sdk/temporal"

	"github.com/postrider/postrider/activities"
	"github.com/postrider/postrider/activities/admit"
	"github.com/postrider/postrider/activities/journaltest"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

var now = time.Date(2026, 11, 21, 20, 0, 0, 0, time.UTC)

type bundle struct {
	journal *journaltest.Journal
	config  *snapshot.Snapshot
	steps   *admit.Activities
	m       message.Message
}

func setup(t testing.TB) *bundle {
	t.Helper()
	account, campaign, vendor := message.NewID(), message.NewID(), message.NewID()
	b := &bundle{journal: &journaltest.Journal{}}
	b.config = &snapshot.Snapshot{
		Accounts:  map[message.ID]*snapshot.Account{account: {ID: account, Status: snapshot.AccountActive}},
		Campaigns: map[message.ID]*snapshot.Campaign{campaign: {ID: campaign, AccountID: account, CampaignID: "C1", Status: snapshot.CampaignActive}},
		Numbers:   map[message.Address]*snapshot.Number{"+12025550143": {Number: "+12025550143", AccountID: account, SMSEnabled: true, Campaign: campaign}},
		Vendors:   map[message.ID]*snapshot.Vendor{vendor: {ID: vendor, Name: "acme", Active: true, SupportsUnicode: true}},
		Routes:    []snapshot.Route{{ID: 1, VendorID: vendor}},
	}
	b.config.Index()
	b.m = message.Message{ID: message.NewID(), AccountID: account, Kind: message.SMS, Status: message.StatusAccepted, From: "+12025550143", To: "+13105550117",
		Encoding: message.EncodingGSM7, Segments: 1, ExpiresAt: now.Add(time.Hour), WebhookURL: "https://shop.example/hook"}
	b.journal.Put(b.m)
	b.steps = &admit.Activities{Journal: b.journal, Gate: activities.Gate{Snapshot: func() *snapshot.Snapshot { return b.config }, Reviews: b.journal, Now: func() time.Time { return now }}}
	return b
}

func (b *bundle) admit(t testing.TB) admit.Result {
	t.Helper()
	r, err := b.steps.Admit(context.Background(), admit.Input{MessageID: b.m.ID})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestAllowed(t *testing.T) {
	b := setup(t)
	r := b.admit(t)
	if !r.Allowed || len(r.Trail) == 0 || b.journal.Status(b.m.ID) != message.StatusAccepted || len(b.journal.Timeline(b.m.ID)) != 0 {
		t.Errorf("%+v", r)
	}
}

func TestRefused(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(b *bundle)
		status message.Status
		reason message.Reason
	}{
		{"suspended since", func(b *bundle) { b.config.Accounts[b.m.AccountID].Status = snapshot.AccountSuspended }, message.StatusRejected, message.ReasonAccountSuspended},
		{"number gone since", func(b *bundle) { delete(b.config.Numbers, b.m.From) }, message.StatusRejected, message.ReasonUnauthorizedSender},
		{"route gone since", func(b *bundle) { b.config.Routes = nil }, message.StatusRejected, message.ReasonNoRoute},
		{"validity over", func(b *bundle) { b.steps.Gate.Now = func() time.Time { return b.m.ExpiresAt } }, message.StatusExpired, message.ReasonExpired},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := setup(t)
			c.change(b)
			r := b.admit(t)
			if r.Allowed || r.Status != c.status || r.Reason != c.reason || len(r.Notify) != 1 || b.journal.Status(b.m.ID) != c.status || !b.journal.Started(b.m.ID) {
				t.Errorf("%+v, record %s", r, b.journal.Status(b.m.ID))
			}
			again := b.admit(t)
			if again.Status != c.status || again.Reason != c.reason || !slices.Equal(again.Notify, r.Notify) || len(b.journal.Timeline(b.m.ID)) != 1 {
				t.Errorf("again %+v", again)
			}
		})
	}
}

// A message that was withdrawn stays withdrawn, whatever the policy says by now.
func TestEndedBefore(t *testing.T) {
	b := setup(t)
	b.journal.SetStatus(b.m.ID, message.StatusCanceled)
	b.config.Routes = nil
	if r := b.admit(t); r.Allowed || r.Status != message.StatusCanceled || r.Reason != "" || len(b.journal.Illegal()) != 0 {
		t.Errorf("%+v", r)
	}
}

// Withdrawn while the policy is asked: the refusal has lost the race.
func TestEndedMeanwhile(t *testing.T) {
	b := setup(t)
	b.config.Routes = nil
	b.journal.Step = func(op string, done bool) error {
		if op == "message" && done {
			b.journal.SetStatus(b.m.ID, message.StatusCanceled)
		}
		return nil
	}
	if r := b.admit(t); r.Allowed || r.Status != message.StatusCanceled || r.Reason != "" {
		t.Errorf("%+v", r)
	}
}

func TestErrors(t *testing.T) {
	b := setup(t)
	var app *temporal.ApplicationError
	_, err := b.steps.Admit(context.Background(), admit.Input{MessageID: message.NewID()})
	if !errors.As(err, &app) || !app.NonRetryable() {
		t.Errorf("a missing row: %v", err)
	}
	b.journal.Step = func(string, bool) error { return journaltest.ErrDead }
	_, err = b.steps.Admit(context.Background(), admit.Input{MessageID: b.m.ID})
	if !errors.As(err, &app) || app.NonRetryable() {
		t.Errorf("an absent database: %v", err)
	}
}

// When what it has waited for is over, the record says so at once: until it leaves
// nobody is to review it, or to wake it.
func TestWaitsNoMore(t *testing.T) {
	b := setup(t)
	hold := message.Hold{Rule: "content"}
	b.m.Status, b.m.Hold = message.StatusQueued, &hold
	b.journal.Put(b.m)
	r, err := b.steps.Admit(t.Context(), admit.Input{MessageID: b.m.ID, Held: &hold})
	if err != nil || !r.Allowed || r.Hold != nil {
		t.Fatalf("%+v, %v", r, err)
	}
	if m, err := b.journal.Message(t.Context(), b.m.ID); err != nil || m.Hold != nil || m.Status != message.StatusQueued {
		t.Errorf("the record shows %+v, %v", m, err)
	}
}
