package postgres

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/postrider/postrider/internal/message"
)

// slots names slots of a vendor.
func slots(vendor message.ID, of int, numbers ...int) []message.VendorLease {
	var out []message.VendorLease
	for _, n := range numbers {
		out = append(out, message.VendorLease{VendorID: vendor, Slot: n, Of: of})
	}
	return out
}

func (b *bundle) beat(db *DB, beat message.VendorBeat) []message.VendorLease {
	b.tb.Helper()
	held, err := db.VendorBeat(b.ctx, beat)
	if err != nil {
		b.tb.Fatal(err)
	}
	return held
}

// leases lists who holds which slot of the vendor, and who serves it.
func (b *bundle) leases(vendor message.ID) (map[int]message.VendorLease, []string) {
	b.tb.Helper()
	live, servers, err := b.VendorLeases(b.ctx, time.Minute)
	if err != nil {
		b.tb.Fatal(err)
	}
	held := map[int]message.VendorLease{}
	for _, l := range live {
		if l.VendorID == vendor {
			held[l.Slot] = l
		}
	}
	var names []string
	for _, s := range servers {
		if s.VendorID == vendor {
			names = append(names, s.Instance)
		}
	}
	return held, names
}

// A slot has one holder, who may keep it and change its part of the rate; others have
// it once it is given back, or has ended.
func TestVendorLeases(t *testing.T) {
	t.Parallel()
	b := setup(t)
	vendor, other := message.NewID(), message.NewID()
	const long = time.Hour
	link := message.VendorReport{VendorLinkState: message.VendorLinkState{VendorID: vendor, Bind: "connected"}, Serves: true}
	broken := message.VendorReport{VendorLinkState: message.VendorLinkState{VendorID: vendor, Bind: "disconnected", LastError: "no \x00 certificate"}}
	if held := b.beat(b.DB, message.VendorBeat{Instance: "a", Links: []message.VendorReport{link}, Hold: append(slots(vendor, 3, 2, 0), slots(other, 1, 0)...), Lease: long}); len(held) != 3 {
		t.Errorf("a holds %v", held)
	}
	if held := b.beat(b.DB, message.VendorBeat{Instance: "b", Links: []message.VendorReport{broken}, Hold: slots(vendor, 3, 0, 1), Lease: long}); len(held) != 1 || held[0].Slot != 1 || held[0].Instance != "b" || held[0].Of != 3 {
		t.Errorf("b holds %v", held)
	}
	if held := b.beat(b.DB, message.VendorBeat{Instance: "a", Links: []message.VendorReport{link}, Hold: slots(vendor, 5, 0, 2), Lease: long}); len(held) != 2 || held[0].Of != 5 {
		t.Errorf("a keeps %v", held)
	}
	held, servers := b.leases(vendor)
	if len(held) != 3 || held[0].Instance != "a" || held[1].Instance != "b" || held[2].Instance != "a" || held[2].Of != 5 {
		t.Errorf("held: %v", held)
	}
	if len(servers) != 1 || servers[0] != "a" {
		t.Errorf("served by %v: b has no link", servers)
	}

	// Only the holder gives a slot back.
	if err := b.LeaveVendors(b.ctx, "b", slots(vendor, 3, 0, 1)); err != nil {
		t.Fatal(err)
	}
	if held, _ := b.leases(vendor); len(held) != 2 || held[0].Instance != "a" {
		t.Errorf("held: %v", held)
	}
	b.exec("update vendor_leases set until = now() where vendor_id = $1 and slot = 2", vendor)
	if held, _ := b.leases(vendor); len(held) != 1 {
		t.Errorf("an ended lease holds: %v", held)
	}
	if held := b.beat(b.DB, message.VendorBeat{Instance: "b", Hold: slots(vendor, 3, 0, 2), Lease: long}); len(held) != 1 || held[0].Slot != 2 {
		t.Errorf("b holds %v", held)
	}
	if held := b.beat(b.DB, message.VendorBeat{Instance: "a", Hold: slots(vendor, 3, 2), Lease: long}); len(held) != 0 {
		t.Errorf("a holds %v again", held)
	}

	if err := b.EndVendors(b.ctx, "b"); err != nil {
		t.Fatal(err)
	}
	if held, _ := b.leases(vendor); len(held) != 1 || held[0].Instance != "a" {
		t.Errorf("after b has ended: %v", held)
	}
	b.exec("update vendor_leases set until = now() - interval '2 minutes'")
	b.beat(b.DB, message.VendorBeat{Instance: "c", Lease: long})
	if n := b.count("select count(*) from vendor_leases"); n != 0 {
		t.Errorf("%d old leases are left", n)
	}
}

// Processes that want everything at once do not wait for each other for ever, and no
// slot has two holders.
func TestVendorLeasesAtOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	vendors := []message.ID{message.NewID(), message.NewID(), message.NewID()}
	const each, rounds = 6, 20
	var mu sync.Mutex
	holders := map[message.VendorLease]string{}
	var wg sync.WaitGroup
	for _, name := range []string{"a", "b", "c", "d"} {
		db := b.replica()
		wg.Go(func() {
			for round := range rounds {
				var want []message.VendorLease
				for i := range each {
					for _, v := range vendors {
						if round%2 == 0 { // in no order
							v = vendors[2-i%3]
						}
						if s := slots(v, each, i); len(want) < each*3 && !has(want, s[0]) {
							want = append(want, s[0])
						}
					}
				}
				held, err := db.VendorBeat(b.ctx, message.VendorBeat{Instance: name, Hold: want, Lease: time.Hour})
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				for _, l := range held {
					l.Instance = ""
					if was := holders[l]; was != "" && was != name {
						t.Errorf("slot %d is held by %s and %s", l.Slot, was, name)
					}
					holders[l] = name
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(holders) != each*len(vendors) {
		t.Errorf("%d slots are held", len(holders))
	}
}

func has(list []message.VendorLease, l message.VendorLease) bool {
	for _, o := range list {
		if o.VendorID == l.VendorID && o.Slot == l.Slot {
			return true
		}
	}
	return false
}

// What a link looks like is there for everybody, until its process is not heard of.
func TestVendorLinks(t *testing.T) {
	t.Parallel()
	b := setup(t)
	vendor, gone := message.NewID(), message.NewID()
	since := time.Now().UTC().Add(-time.Minute).Truncate(time.Millisecond)
	state := message.VendorLinkState{VendorID: vendor, Instance: "a", Bind: "connected", Binds: 2, InFlight: 3, Throughput: 4.5, RateShare: 50, ErrorRate: 0.25,
		LatencyMillis: 70, LastError: "lost", Since: since}
	report := message.VendorReport{VendorLinkState: state, Serves: true}
	other := message.VendorReport{VendorLinkState: message.VendorLinkState{VendorID: gone, Bind: "connecting", Since: since}, Serves: true}
	b.beat(b.DB, message.VendorBeat{Instance: "a", Links: []message.VendorReport{report, other}})
	read := func() []message.VendorLinkState {
		t.Helper()
		links, err := b.VendorLinks(b.ctx)
		if err != nil {
			t.Fatal(err)
		}
		return links
	}
	if links := read(); len(links) != 2 {
		t.Errorf("%d links", len(links))
	}
	b.beat(b.DB, message.VendorBeat{Instance: "b", Links: []message.VendorReport{report}})
	b.beat(b.DB, message.VendorBeat{Instance: "a", Links: []message.VendorReport{report}})
	links := read()
	if len(links) != 2 {
		t.Fatalf("%d links, one of them is no more", len(links))
	}
	got := links[0]
	if seen := got.SeenAt; time.Since(seen) > time.Minute {
		t.Errorf("seen at %v", seen)
	}
	got.SeenAt, got.Since = time.Time{}, got.Since.UTC()
	if got != state {
		t.Errorf("read %+v", got)
	}
	b.exec("update vendor_links set seen_at = now() - interval '20 seconds' where instance = 'a'")
	if links := read(); len(links) != 1 || links[0].Instance != "b" {
		t.Errorf("links: %+v", links)
	}
	b.exec("update vendor_links set seen_at = now() - interval '2 minutes' where instance = 'a'")
	b.beat(b.DB, message.VendorBeat{Instance: "b", Links: []message.VendorReport{report}})
	if n := b.count("select count(*) from vendor_links"); n != 1 {
		t.Errorf("%d rows", n)
	}
}

// Samples are those of all processes together, and writing them twice adds nothing.
func TestVendorSamples(t *testing.T) {
	t.Parallel()
	b := setup(t)
	vendor := message.NewID()
	now := time.Now().UTC().Truncate(10 * time.Second)
	first := message.VendorSample{VendorID: vendor, At: now.Add(-20 * time.Second), Accepted: 5, Refused: 1, Other: 2, Silent: 3, Receipts: 4}
	second := message.VendorSample{VendorID: vendor, At: now.Add(-10 * time.Second), Accepted: 7}
	old := message.VendorSample{VendorID: vendor, At: now.Add(-2 * time.Hour), Accepted: 1}
	for instance, list := range map[string][]message.VendorSample{"a": {first, second}, "b": {first, old}} {
		for range 2 {
			if err := b.AddVendorSamples(b.ctx, instance, list); err != nil {
				t.Fatal(err)
			}
		}
	}
	second.Accepted = 8
	if err := b.AddVendorSamples(b.ctx, "a", []message.VendorSample{second}); err != nil {
		t.Fatal(err)
	}
	got, err := b.VendorSamples(b.ctx, now.Add(-time.Minute))
	if err != nil || len(got) != 2 {
		t.Fatalf("%+v, %v", got, err)
	}
	for i := range got {
		got[i].At = got[i].At.UTC()
	}
	want := first
	want.Accepted, want.Refused, want.Other, want.Silent, want.Receipts = 10, 2, 4, 6, 8
	if got[0] != want || got[1] != second {
		t.Errorf("%+v", got)
	}
	if got, err = b.VendorSamples(b.ctx, now.Add(-15*time.Second)); err != nil || len(got) != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	if n := b.count("select count(*) from vendor_samples where at < now() - interval '1 hour'"); n != 0 {
		t.Errorf("%d old samples", n)
	}
}

// The tables of the heartbeats refuse what cannot be.
func TestVendorLeaseBounds(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, l := range []message.VendorLease{{VendorID: message.NewID(), Slot: -1, Of: 1}, {VendorID: message.NewID(), Slot: 0, Of: 0}} {
		_, err := b.VendorBeat(b.ctx, message.VendorBeat{Instance: "a", Hold: []message.VendorLease{l}, Lease: time.Hour})
		var pg *pgconn.PgError
		if !errors.As(err, &pg) || pg.Code != "23514" {
			t.Errorf("%+v: %v", l, err)
		}
	}
}
