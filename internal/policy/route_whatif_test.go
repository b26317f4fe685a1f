package policy

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

func TestWhatIf(t *testing.T) {
	t.Parallel()
	before := house()
	for i, name := range []string{"a", "b", "c"} {
		at(before, name).CostPerSMS = message.Micros(100 * (i + 1))
	}
	no := false
	after, err := Propose(before, Proposal{
		Remove:  []int64{1},
		Routes:  []snapshot.Route{{ID: 2, Priority: 20, VendorID: named("b"), RatePerMsg: 20, EffectiveFrom: time.Unix(2000, 0)}, {Priority: 5, VendorID: named("a"), Class: message.ClassOTP, RatePerMsg: 7}},
		Vendors: map[message.ID]VendorChange{named("c"): {Active: &no}},
	})
	if err != nil {
		t.Fatal(err)
	}
	sample := func(class message.Class, created int64, segments int, used string) *message.Message {
		m := allowed()
		m.Class, m.CreatedAt, m.Segments = class, time.Unix(created, 0), segments
		if used != "" {
			m.VendorID, m.Vendor = named(used), used
		}
		return m
	}
	w := NewWhatIf(before, after)
	later := sample(message.ClassBulk, 1000, 1, "a")
	later.SendAt = time.Unix(3000, 0)
	for _, m := range []*message.Message{
		sample(message.ClassOTP, 1000, 1, "a"),  // a stays, for another rate
		sample(message.ClassBulk, 2000, 3, "c"), // a to b
		sample(message.ClassBulk, 1000, 1, ""),
		later, // a to b, by the time it leaves at
	} {
		if err := w.Take(m); err != nil {
			t.Fatal(err)
		}
	}
	got := w.Forecast()
	want := Forecast{Messages: 4, Moved: 3,
		Before: Sums{Price: 6, Cost: 600}, After: Sums{NoRoute: 1, Price: 7 + 4*20, Cost: 100 + 4*200},
		Vendors: []VendorForecast{
			{ID: named("a"), Name: "a", Used: 2, First: Shift[int]{4, 1}, Parts: Shift[int]{6, 1}, Cost: Shift[message.Micros]{600, 100}},
			{ID: named("b"), Name: "b", First: Shift[int]{0, 2}, Parts: Shift[int]{0, 4}, Cost: Shift[message.Micros]{0, 800}},
			{ID: named("c"), Name: "c", Used: 1},
		}}
	if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
		t.Errorf("%+v\nwant\n%+v", got, want)
	}
}

// The sums add up, whatever the configurations are, and a configuration that is not
// changed moves nobody.
func TestWhatIfAddsUp(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		before, m, _ := drawn(t)
		after, _, _ := drawn(t)
		w, same := NewWhatIf(before, after), NewWhatIf(before, before)
		for range rapid.IntRange(0, 20).Draw(t, "messages") {
			m.ID, m.Segments = message.NewID(), rapid.IntRange(1, 5).Draw(t, "segments")
			_, _ = w.Take(m), same.Take(m)
		}
		f := w.Forecast()
		var before0, after0, parts int
		var cost message.Micros
		for _, v := range f.Vendors {
			before0, after0, parts, cost = before0+v.First.Before, after0+v.First.After, parts+v.Parts.After, cost+v.Cost.After
		}
		if before0+f.Before.NoRoute != f.Messages || after0+f.After.NoRoute != f.Messages || cost != f.After.Cost || parts < after0 {
			t.Fatalf("%+v", f)
		}
		if s := same.Forecast(); s.Moved != 0 || s.Before != s.After {
			t.Fatalf("nothing was changed: %+v", s)
		}
	})
}

// A proposal leaves the configuration that is in force alone, and names what there is.
func TestPropose(t *testing.T) {
	t.Parallel()
	s := house()
	yes := true
	priority, cost := -1, message.Micros(5)
	after, err := Propose(s, Proposal{Remove: []int64{3}, Routes: []snapshot.Route{{ID: 1, Priority: 99, VendorID: named("b")}, {Priority: 1, VendorID: named("c")}},
		Vendors: map[message.ID]VendorChange{named("a"): {Paused: &yes, Draining: &yes, Priority: &priority, CostPerSMS: &cost, CostPerMMS: &cost}}})
	if err != nil {
		t.Fatal(err)
	}
	if a := at(after, "a"); !a.Paused || !a.Draining || a.Priority != -1 || a.CostPerSMS != 5 || a.CostPerMMS != 5 || !a.Active {
		t.Errorf("%+v", a)
	}
	if got := names(Candidates(after, allowed(), Ways{})); got != "c b" || after.Routes[0].ID != 4 {
		t.Errorf("%q by %+v", got, after.Routes)
	}
	if got := names(Candidates(s, allowed(), Ways{})); got != "a b c" || len(s.Routes) != 3 || at(s, "a").Paused {
		t.Errorf("what is in force was changed: %q", got)
	}
	for name, p := range map[string]Proposal{
		"removes what is not there":   {Remove: []int64{9}},
		"removes it twice":            {Remove: []int64{1, 1}},
		"changes what is not there":   {Routes: []snapshot.Route{{ID: 9, VendorID: named("a")}}},
		"a route to nobody":           {Routes: []snapshot.Route{{VendorID: stranger}}},
		"changes a vendor of nowhere": {Vendors: map[message.ID]VendorChange{stranger: {}}},
	} {
		if _, err := Propose(s, p); message.ReasonOf(err) != message.ReasonInvalidRequest {
			t.Errorf("%s: %v", name, err)
		}
	}
}
