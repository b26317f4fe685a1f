package policy

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// routed is a configuration of routes written as "priority vendor/vendorPriority*weight".
func routed(rules ...string) *snapshot.Snapshot {
	s := &snapshot.Snapshot{Vendors: map[message.ID]*snapshot.Vendor{}}
	ids := map[string]message.ID{}
	for i, rule := range rules {
		var priority, vendorPriority, weight int
		var name string
		fields := strings.NewReplacer("/", " ", "*", " ").Replace(rule)
		if _, err := fmt.Sscan(fields, &priority, &name, &vendorPriority, &weight); err != nil {
			panic(rule)
		}
		if ids[name] == (message.ID{}) {
			ids[name] = uuid.NewSHA1(uuid.Nil, []byte(name))
			s.Vendors[ids[name]] = &snapshot.Vendor{ID: ids[name], Name: name, Active: true, Priority: vendorPriority}
		}
		s.Routes = append(s.Routes, snapshot.Route{ID: int64(i + 1), Priority: priority, VendorID: ids[name], Weight: weight, RatePerMsg: message.Micros(i + 1)})
	}
	s.Index()
	return s
}

func names(candidates []Candidate) string {
	var out []string
	for _, c := range candidates {
		out = append(out, c.Vendor.Name)
	}
	return strings.Join(out, " ")
}

func TestCandidatesOrder(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		rules []string
		want  string
	}{
		{"none", nil, ""},
		{"by the route's priority", []string{"20 a/1*1", "10 b/9*1", "30 c/0*1"}, "b a c"},
		{"then by the vendor's", []string{"10 a/3*1", "10 b/1*1", "10 c/2*1000"}, "b c a"},
		{"a vendor once, by its best route", []string{"30 a/1*1", "20 b/1*1", "10 a/1*1"}, "a b"},
	} {
		if got := names(Candidates(routed(c.rules...), allowed(), Ways{})); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	best := Candidates(routed("30 a/1*1", "10 a/1*1"), allowed(), Ways{})
	if len(best) != 1 || best[0].Route != 2 || best[0].Rate != 2 {
		t.Errorf("not the best route of the vendor: %+v", best)
	}
}

// The order of one message's candidates is the same whenever it is asked for,
// and holds every vendor once.
func TestCandidatesStable(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var rules []string
		vendors := map[string]bool{}
		for range rapid.IntRange(1, 12).Draw(t, "routes") {
			vendor := rapid.IntRange(0, 5).Draw(t, "vendor")
			rules = append(rules, fmt.Sprintf("%d v%d/%d*%d", rapid.IntRange(0, 2).Draw(t, "priority"), vendor, vendor%2, rapid.IntRange(0, 1000).Draw(t, "weight")))
			vendors[fmt.Sprintf("v%d", vendor)] = true
		}
		s, m := routed(rules...), allowed()
		first := Candidates(s, m, Ways{})
		if len(first) != len(vendors) {
			t.Fatalf("%d candidates of %d vendors", len(first), len(vendors))
		}
		slices.Reverse(s.Routes) // the order in which they were read does not matter
		if again := Candidates(s, m, Ways{}); names(again) != names(first) {
			t.Fatalf("%q, then %q", names(first), names(again))
		}
		for i := 1; i < len(first); i++ {
			a, b := routeOf(s, first[i-1]), routeOf(s, first[i])
			if a.Priority > b.Priority || a.Priority == b.Priority && first[i-1].Vendor.Priority > first[i].Vendor.Priority {
				t.Fatalf("%+v before %+v", a, b)
			}
		}
	})
}

func routeOf(s *snapshot.Snapshot, c Candidate) snapshot.Route {
	for _, r := range s.Routes {
		if r.ID == c.Route {
			return r
		}
	}
	return snapshot.Route{}
}

// Over many messages the first places are shared by weight, whatever the
// weights and the numbers of the routes, and so are the second places among
// what is left.
func TestCandidatesFollowWeights(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		const draws = 1500
		n := rapid.IntRange(2, 4).Draw(t, "routes")
		s := &snapshot.Snapshot{Vendors: map[message.ID]*snapshot.Vendor{}}
		weights := make([]float64, n)
		total := 0.0
		base := rapid.Int64Range(1, 1<<40).Draw(t, "first id")
		for i := range n {
			id := message.NewID()
			s.Vendors[id] = &snapshot.Vendor{ID: id, Name: fmt.Sprint(i), Active: true}
			w := rapid.IntRange(1, 20).Draw(t, "weight")
			weights[i] = float64(w)
			total += weights[i]
			s.Routes = append(s.Routes, snapshot.Route{ID: base + int64(i), VendorID: id, Weight: w})
		}
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		first := make([]float64, n)
		pairs := make([]float64, n) // how often route 0 comes before route i
		m := allowed()
		for d := range draws {
			// Version 7 ids of one millisecond, as a busy second makes them.
			for i := 8; i < 16; i++ {
				m.ID[i] = byte(r.Uint32())
			}
			m.ID[5] = byte(d >> 8)
			c := Candidates(s, m, Ways{})
			place := map[string]int{}
			for i := range c {
				place[c[i].Vendor.Name] = i
			}
			for i := range n {
				if place[fmt.Sprint(i)] == 0 {
					first[i]++
				}
				if place["0"] < place[fmt.Sprint(i)] {
					pairs[i]++
				}
			}
		}
		for i := range n {
			near(t, fmt.Sprintf("route %d of %v comes first", i, weights), first[i]/draws, weights[i]/total, draws)
			if i > 0 {
				near(t, fmt.Sprintf("route 0 of %v before route %d", weights, i), pairs[i]/draws, weights[0]/(weights[0]+weights[i]), draws)
			}
		}
	})
}

// near allows six standard deviations: over all the checks of a run one in
// millions of fair draws fails.
func near(t *rapid.T, what string, got, want float64, draws int) {
	t.Helper()
	if sd := math.Sqrt(want * (1 - want) / float64(draws)); math.Abs(got-want) > 6*sd {
		t.Fatalf("%s: %.3f, want %.3f ± %.3f", what, got, want, 6*sd)
	}
}
