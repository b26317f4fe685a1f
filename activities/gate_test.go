package activities_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/postrider/postrider/activities"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/pace"
	"github.com/postrider/postrider/internal/policy"
	"github.com/postrider/postrider/internal/snapshot"
)

var now = time.Date(2026, 11, 21, 20, 0, 0, 0, time.UTC)

// pacer gives out the moments that it was told.
type pacer struct {
	at       time.Time // of the next slot
	refuse   error
	trail    []message.TrailEntry // of a refusal
	demands  []pace.Demand
	released []pace.Slot
	closed   int
}

func (p *pacer) Reserve(_ context.Context, d pace.Demand) (pace.Slot, error) {
	p.demands = append(p.demands, d)
	if p.refuse != nil {
		return pace.Slot{Trail: p.trail}, p.refuse
	}
	s := pace.Slot{ID: message.NewID(), At: p.at, Parts: d.Parts, Limits: d.Limits, Trail: []message.TrailEntry{{Rule: policy.RuleRate, Result: message.Pass}}}
	if p.at.After(now) {
		s.Hold = message.Hold{Rule: policy.RuleRate, Until: p.at}
	}
	return s, nil
}

func (p *pacer) Release(_ context.Context, s pace.Slot) error {
	p.released = append(p.released, s)
	return nil
}

func (p *pacer) CloseDay(context.Context, []pace.Limit) error {
	p.closed++
	return nil
}

type world struct {
	activities.Gate
	config   *snapshot.Snapshot
	campaign *snapshot.Campaign
	pacer    *pacer
	m        message.Message
}

func setup(t testing.TB) *world {
	t.Helper()
	account, vendor := message.NewID(), message.NewID()
	w := &world{pacer: &pacer{at: now}}
	brand := &snapshot.Brand{ID: message.NewID(), AccountID: account, Name: "Acme", DailyCap: 2000, CapKey: "acme"}
	w.campaign = &snapshot.Campaign{ID: message.NewID(), AccountID: account, CampaignID: "C8X2KQ1", Status: snapshot.CampaignActive, Throughput: 240, Brand: brand.ID}
	w.config = &snapshot.Snapshot{
		Accounts:  map[message.ID]*snapshot.Account{account: {ID: account, Status: snapshot.AccountActive}},
		Numbers:   map[message.Address]*snapshot.Number{"+12025550143": {Number: "+12025550143", AccountID: account, SMSEnabled: true, Campaign: w.campaign.ID}},
		Campaigns: map[message.ID]*snapshot.Campaign{w.campaign.ID: w.campaign},
		Brands:    map[message.ID]*snapshot.Brand{brand.ID: brand},
		Vendors:   map[message.ID]*snapshot.Vendor{vendor: {ID: vendor, Name: "acme", Active: true, SupportsUnicode: true}},
		Routes:    []snapshot.Route{{ID: 1, VendorID: vendor}},
	}
	w.config.Index()
	w.Gate = activities.Gate{Snapshot: func() *snapshot.Snapshot { return w.config }, Pacer: w.pacer, Now: func() time.Time { return now }}
	w.m = message.Message{ID: message.NewID(), AccountID: account, Kind: message.SMS, From: "+12025550143", To: "+13105550117",
		Encoding: message.EncodingGSM7, Segments: 1, ExpiresAt: now.Add(4 * time.Hour)}
	return w
}

func (w *world) pass(t testing.TB, asked activities.Asked) activities.Passage {
	t.Helper()
	p, err := w.Pass(context.Background(), &w.m, asked)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestGatePaces(t *testing.T) {
	w := setup(t)
	p := w.pass(t, activities.Asked{})
	if p.Error != nil || p.Hold != nil || p.Slot == nil || len(w.pacer.demands) != 1 {
		t.Fatalf("%+v", p)
	}
	if d := w.pacer.demands[0]; len(d.Limits) == 0 || d.Parts != 1 || !d.NotBefore.Equal(now) || !d.NotAfter.Equal(w.m.ExpiresAt) || d.Instead != nil {
		t.Errorf("demanded %+v", d)
	}
	if i := slices.IndexFunc(p.Trail, func(e message.TrailEntry) bool { return e.Rule == policy.RuleRate }); i < 0 || p.Trail[i+1].Rule != policy.RuleRoute {
		t.Errorf("trail %+v", p.Trail)
	}
}

func TestGateHoldsForAMoment(t *testing.T) {
	w := setup(t)
	w.pacer.at = now.Add(time.Minute)
	p := w.pass(t, activities.Asked{})
	if p.Hold == nil || p.Hold.Rule != policy.RuleRate || !p.Hold.Until.Equal(w.pacer.at) {
		t.Fatalf("%+v", p)
	}
	// While the moment is good it is kept: before it, and a little after.
	for at, wait := range map[time.Time]bool{now.Add(time.Second): true, now.Add(time.Minute): false, now.Add(time.Minute + pace.Grace - 1): false} {
		w.Now = func() time.Time { return at }
		again := w.pass(t, activities.Asked{Slot: p.Slot})
		if again.Slot.ID != p.Slot.ID || (again.Hold != nil) != wait || len(w.pacer.demands) != 1 {
			t.Errorf("at %s: %+v", at, again)
		}
	}
	// Then another takes its place.
	w.Now = func() time.Time { return now.Add(time.Minute + pace.Grace) }
	w.pass(t, activities.Asked{Slot: p.Slot})
	if len(w.pacer.demands) != 2 || w.pacer.demands[1].Instead == nil || w.pacer.demands[1].Instead.ID != p.Slot.ID {
		t.Errorf("%+v", w.pacer.demands)
	}
}

// One that waits keeps its place when a company is renamed or may send more: behind
// it the line is long. When it may send less, it has none any more.
func TestGateSlotUnderOtherLimits(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(w *world, b *snapshot.Brand)
		kept   bool
	}{
		{"another name", func(_ *world, b *snapshot.Brand) { b.Name = "Acme & Sons" }, true},
		{"more a minute", func(w *world, _ *snapshot.Brand) { w.campaign.Throughput = 600 }, true},
		{"no limit a minute", func(w *world, _ *snapshot.Brand) { w.campaign.Throughput = 0 }, true},
		{"more a day", func(_ *world, b *snapshot.Brand) { b.DailyCap = 10_000 }, true},
		{"no cap", func(_ *world, b *snapshot.Brand) { b.DailyCap = 0 }, true},
		{"less a minute", func(w *world, _ *snapshot.Brand) { w.campaign.Throughput = 75 }, false},
		{"less a day", func(_ *world, b *snapshot.Brand) { b.DailyCap = 1000 }, false},
		{"one cap more", func(w *world, _ *snapshot.Brand) { w.campaign.DailyCap = 5000 }, false},
		{"of another company", func(_ *world, b *snapshot.Brand) { b.CapKey = "other" }, false},
	} {
		w := setup(t)
		p := w.pass(t, activities.Asked{})
		c.change(w, w.config.Brands[w.campaign.Brand])
		if w.pass(t, activities.Asked{Slot: p.Slot}); (len(w.pacer.demands) == 1) != c.kept {
			t.Errorf("%s: %d demands", c.name, len(w.pacer.demands))
		}
	}
}

// A message that has grown, or moved to another campaign, needs another moment.
func TestGateSlotOfAnother(t *testing.T) {
	w := setup(t)
	p := w.pass(t, activities.Asked{})
	w.m.Segments = 2
	w.pass(t, activities.Asked{Slot: p.Slot})
	w.m.Segments = 1
	w.campaign.Throughput = 75
	w.pass(t, activities.Asked{Slot: p.Slot})
	if len(w.pacer.demands) != 3 {
		t.Errorf("%d demands", len(w.pacer.demands))
	}
}

// Nothing is taken from the pacer for a message that may not go, or not now, and
// nothing is given back: whoever has the slot does that.
func TestGateRefuses(t *testing.T) {
	w := setup(t)
	slot := &pace.Slot{ID: message.NewID(), At: now, Parts: 1}
	w.campaign.Status = snapshot.CampaignSuspended
	for _, again := range []bool{false, true} {
		p := w.pass(t, activities.Asked{Again: again, Slot: slot})
		if message.ReasonOf(p.Error) != message.ReasonCampaignInactive || p.Slot != slot {
			t.Errorf("%+v", p)
		}
	}
	if len(w.pacer.demands)+len(w.pacer.released) > 0 {
		t.Error("the pacer was asked")
	}
}

// What has left in part is not refused any more; the pacer gives the rest its moment.
func TestGateDeparted(t *testing.T) {
	w := setup(t)
	w.config.Accounts[w.m.AccountID].Status = snapshot.AccountSuspended
	w.pacer.at = now.Add(time.Hour)
	p := w.pass(t, activities.Asked{Departed: true, CapReached: true})
	if p.Error != nil || p.Hold == nil || p.Slot == nil || w.pacer.closed != 1 {
		t.Errorf("%+v", p)
	}
}

func TestGateCapReached(t *testing.T) {
	w := setup(t)
	p := w.pass(t, activities.Asked{})
	w.pacer.at = pace.NextDay(now)
	again := w.pass(t, activities.Asked{Slot: p.Slot, CapReached: true})
	if w.pacer.closed != 1 || again.Hold == nil || len(w.pacer.demands) != 2 {
		t.Errorf("%+v", again)
	}
	w.pacer.refuse = message.Refuse(message.ReasonDailyCapReached, "not before tomorrow")
	late := w.pass(t, activities.Asked{CapReached: true})
	if message.ReasonOf(late.Error) != message.ReasonDailyCapReached || late.Trail[len(late.Trail)-1].Rule != policy.RuleRoute {
		t.Errorf("%+v", late)
	}
	w.pacer.trail = []message.TrailEntry{{Rule: policy.RuleRate, Result: message.Refused, Detail: "not before tomorrow"}}
	rate := w.pass(t, activities.Asked{})
	if message.ReasonOf(rate.Error) != message.ReasonDailyCapReached || rate.Trail[len(rate.Trail)-2] != w.pacer.trail[0] || slices.ContainsFunc(rate.Trail, func(e message.TrailEntry) bool { return e.Rule == policy.RuleDailyCap }) {
		t.Errorf("%+v", rate)
	}
	w.pacer.refuse = errors.New("the database is away")
	if _, err := w.Pass(t.Context(), &w.m, activities.Asked{}); err == nil {
		t.Error("passed without its pacer")
	}
}

// A process whose clock is behind the one that was given the moment waits for it, and
// not for somebody.
func TestGateClockBehind(t *testing.T) {
	w := setup(t)
	p := w.pass(t, activities.Asked{})
	w.Now = func() time.Time { return now.Add(-300 * time.Millisecond) }
	again := w.pass(t, activities.Asked{Slot: p.Slot})
	if again.Hold == nil || again.Hold.Rule != policy.RuleRate || !again.Hold.Until.Equal(p.Slot.At) || again.Hold.Detail == "" {
		t.Errorf("%+v", again)
	}
}

// A campaign that has a rate and no cap of ours does not come back at once.
func TestGateCapOfTheVendorAndARate(t *testing.T) {
	w := setup(t)
	w.campaign.Throughput, w.campaign.DailyCap, w.campaign.Brand = 75, 0, message.ID{}
	w.m.ExpiresAt = now.Add(24 * time.Hour)
	if p := w.pass(t, activities.Asked{CapReached: true}); p.Hold == nil || p.Hold.Rule != policy.RuleDailyCap || len(w.pacer.demands) > 0 {
		t.Errorf("%+v", p)
	}
}

// A brand without a cap of ours waits for the vendor's next day.
func TestGateCapOfTheVendorAlone(t *testing.T) {
	w := setup(t)
	w.campaign.Throughput, w.campaign.Brand = 0, message.ID{}
	p := w.pass(t, activities.Asked{CapReached: true})
	if message.ReasonOf(p.Error) != message.ReasonDailyCapReached {
		t.Errorf("validity ends before: %+v", p)
	}
	w.m.ExpiresAt = now.Add(24 * time.Hour)
	p = w.pass(t, activities.Asked{CapReached: true})
	// 2026-11-22 00:00 in Los Angeles, which is 8 h behind.
	if want := time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC); p.Hold == nil || !p.Hold.Until.Equal(want) || p.Hold.Rule != policy.RuleDailyCap {
		t.Errorf("%+v", p)
	}
}

// A cap that a vendor reports after it had taken the message closes the day for the
// others, unless it was yesterday's.
func TestGateCapReachedByReceipt(t *testing.T) {
	w := setup(t)
	for at, closed := range map[time.Time]int{now.Add(-time.Hour): 1, now.Add(-24 * time.Hour): 0, {}: 0} {
		w.pacer.closed, w.m.SubmittedAt = 0, at
		if err := w.Gate.CapReached(t.Context(), &w.m); err != nil || w.pacer.closed != closed {
			t.Errorf("submitted at %s: closed %d times, %v", at, w.pacer.closed, err)
		}
	}
	w.m.SubmittedAt, w.m.To, w.pacer.closed = now, "+447700900123", 0
	if err := w.Gate.CapReached(t.Context(), &w.m); err != nil || w.pacer.closed != 0 {
		t.Errorf("abroad: closed %d times, %v", w.pacer.closed, err)
	}
}
