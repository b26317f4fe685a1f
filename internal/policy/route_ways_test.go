package policy

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// house is a configuration of three vendors of one priority each, a, b and c, with a
// route to each, 1, 2 and 3, and the vendor inside.
func house() *snapshot.Snapshot {
	s := routed("10 a/1*1", "20 b/1*1", "30 c/1*1")
	s.Accounts = map[message.ID]*snapshot.Account{account: {ID: account, Status: snapshot.AccountActive}}
	s.Numbers = map[message.Address]*snapshot.Number{own: {Number: own, AccountID: account, SMSEnabled: true}}
	s.Vendors[message.InternalVendor] = &snapshot.Vendor{ID: message.InternalVendor, Name: "internal", ProviderType: message.ProviderInternal, Active: true}
	for _, v := range s.Vendors {
		v.SupportsUnicode = true
	}
	return s
}

func named(name string) message.ID { return uuid.NewSHA1(uuid.Nil, []byte(name)) }

// at is a vendor of house.
func at(s *snapshot.Snapshot, name string) *snapshot.Vendor { return s.Vendors[named(name)] }

// health judges the vendors that are named, as "b down".
func health(said ...string) func(message.ID) message.VendorHealth {
	of := map[message.ID]message.VendorHealth{}
	for _, s := range said {
		name, h, _ := strings.Cut(s, " ")
		of[named(name)] = message.VendorHealth(h)
	}
	return func(id message.ID) message.VendorHealth { return of[id] }
}

func TestWaysOrder(t *testing.T) {
	t.Parallel()
	type change func(s *snapshot.Snapshot, m *message.Message, w *Ways)
	both := func(list ...change) change {
		return func(s *snapshot.Snapshot, m *message.Message, w *Ways) {
			for _, c := range list {
				c(s, m, w)
			}
		}
	}
	level := func(s *snapshot.Snapshot, _ *message.Message, _ *Ways) {
		for i := range s.Routes {
			s.Routes[i].Priority = 10
		}
	}
	vendors := func(f func(a, b, c *snapshot.Vendor)) change {
		return func(s *snapshot.Snapshot, _ *message.Message, _ *Ways) { f(at(s, "a"), at(s, "b"), at(s, "c")) }
	}
	ways := func(w Ways) change { return func(_ *snapshot.Snapshot, _ *message.Message, to *Ways) { *to = w } }
	hosted := func(s *snapshot.Snapshot, _ *message.Message, _ *Ways) { s.Numbers[own].VendorID = named("c") }
	sticky := func(routes ...int) change {
		return func(s *snapshot.Snapshot, _ *message.Message, _ *Ways) {
			for _, i := range routes {
				s.Routes[i-1].Sticky = true
			}
		}
	}
	inside := func(s *snapshot.Snapshot, _ *message.Message, _ *Ways) {
		s.Accounts[account].InternalDelivery = true
		s.Numbers[to] = &snapshot.Number{Number: to, AccountID: stranger, SMSEnabled: true}
	}
	for _, c := range []struct {
		name   string
		change change
		want   string
		why    Why
	}{
		{"as the routes say", both(), "a b c", ""},
		{"degraded after healthy, down after degraded", ways(Ways{Health: health("a down", "b degraded", "c healthy")}), "c b a", WhyHealth},
		{"unknown is healthy", ways(Ways{Health: health("a unknown", "b healthy")}), "a b c", ""},
		{"health that changes nothing is not why", ways(Ways{Health: health("b down")}), "a c b", ""},
		{"paused after down", both(ways(Ways{Health: health("b down", "c degraded")}), vendors(func(a, _, _ *snapshot.Vendor) { a.Paused = true })), "c b a", WhyPaused},
		{"draining is out", vendors(func(a, _, _ *snapshot.Vendor) { a.Draining = true }), "b c", ""},
		{"inactive is out", vendors(func(a, _, _ *snapshot.Vendor) { a.Active = false }), "b c", ""},
		{"the host first", hosted, "c a b", WhyNumber},
		{"but not when it is down", both(hosted, ways(Ways{Health: health("c down")})), "a b c", ""},
		{"a host of another account's number is none", both(hosted, func(s *snapshot.Snapshot, _ *message.Message, _ *Ways) { s.Numbers[own].AccountID = stranger }), "a b c", ""},
		{"a host without a route is none", both(hosted, func(s *snapshot.Snapshot, _ *message.Message, _ *Ways) { s.Routes = s.Routes[:2] }), "a b", ""},
		{"the last of the conversation", both(level, sticky(1, 2, 3), vendors(func(a, b, c *snapshot.Vendor) { a.Priority, b.Priority, c.Priority = 1, 2, 3 }), ways(Ways{Last: named("c")})), "c a b", WhyConversation},
		{"not when its route does not say so", both(level, sticky(1, 2), vendors(func(a, b, c *snapshot.Vendor) { a.Priority, b.Priority, c.Priority = 1, 2, 3 }), ways(Ways{Last: named("c")})), "a b c", ""},
		{"not over the route's priority", both(sticky(1, 2, 3), ways(Ways{Last: named("c")})), "a b c", ""},
		{"not when it is in worse health", both(level, sticky(3), vendors(func(a, b, c *snapshot.Vendor) { a.Priority, b.Priority, c.Priority = 1, 2, 3 }), ways(Ways{Last: named("c"), Health: health("c degraded")})), "a b c", ""},
		{"least cost among a priority", both(level, func(s *snapshot.Snapshot, _ *message.Message, _ *Ways) { s.Routes[1].Selection = "least_cost" },
			vendors(func(a, b, c *snapshot.Vendor) { a.CostPerSMS, b.CostPerSMS, c.CostPerSMS, a.Priority = 3, 2, 1, -9 })), "c b a", ""},
		{"least cost among the healthy", both(level, func(s *snapshot.Snapshot, _ *message.Message, _ *Ways) { s.Routes[1].Selection = "least_cost" }, ways(Ways{Health: health("c degraded")}),
			vendors(func(a, b, c *snapshot.Vendor) { a.CostPerSMS, b.CostPerSMS, c.CostPerSMS = 3, 2, 1 })), "b a c", WhyHealth},
		{"not over the route's priority", both(func(s *snapshot.Snapshot, _ *message.Message, _ *Ways) { s.Routes[0].Selection = "least_cost" },
			vendors(func(a, b, c *snapshot.Vendor) { a.CostPerSMS, b.CostPerSMS, c.CostPerSMS = 3, 2, 1 })), "a b c", ""},
		{"the cost of an MMS", both(level, func(s *snapshot.Snapshot, m *message.Message, _ *Ways) {
			s.Routes[1].Selection, m.Kind = "least_cost", message.MMS
		},
			vendors(func(a, b, c *snapshot.Vendor) {
				a.CostPerSMS, b.CostPerSMS, c.CostPerSMS, a.CostPerMMS, b.CostPerMMS, c.CostPerMMS = 1, 2, 3, 3, 2, 1
				a.SupportsMMS, b.SupportsMMS, c.SupportsMMS = true, true, true
			})), "c b a", ""},
		{"weighted routes do not look at the cost", both(level, vendors(func(a, b, c *snapshot.Vendor) {
			a.CostPerSMS, b.CostPerSMS, c.CostPerSMS, a.Priority, b.Priority, c.Priority = 3, 2, 1, 1, 2, 3
		})), "a b c", ""},

		{"named by staff", ways(Ways{Override: named("c"), Health: health("c down")}), "c", WhyOverride},
		{"named by staff without a route", both(ways(Ways{Override: named("c")}), func(s *snapshot.Snapshot, _ *message.Message, _ *Ways) { s.Routes = nil }), "c", WhyOverride},
		{"named by staff and gone", ways(Ways{Override: named("z")}), "a b c", ""},
		{"named by staff and inactive", both(ways(Ways{Override: named("c")}), vendors(func(_, _, c *snapshot.Vendor) { c.Active = false })), "a b", ""},
		{"named by staff and drained", both(ways(Ways{Override: named("c")}), vendors(func(_, _, c *snapshot.Vendor) { c.Draining = true })), "a b", ""},
		{"named by staff and not capable", both(ways(Ways{Override: named("c")}), vendors(func(_, _, c *snapshot.Vendor) { c.BindType = "receiver" })), "a b", ""},
		{"named by staff and paused", both(ways(Ways{Override: named("c")}), vendors(func(_, _, c *snapshot.Vendor) { c.Paused = true })), "c", WhyOverride},

		{"inside", inside, "internal", WhyInside},
		{"inside, without a route", both(inside, func(s *snapshot.Snapshot, _ *message.Message, _ *Ways) { s.Routes = nil }), "internal", WhyInside},
		{"staff before inside", both(inside, ways(Ways{Override: named("b")})), "b", WhyOverride},
		{"staff name the vendor inside", both(inside, ways(Ways{Override: message.InternalVendor}), func(s *snapshot.Snapshot, _ *message.Message, _ *Ways) { s.Accounts[account].InternalDelivery = false }), "internal", WhyOverride},
		{"who is not inside does not go there", ways(Ways{Override: message.InternalVendor}), "a b c", ""},
		{"the account does not want it", both(inside, func(s *snapshot.Snapshot, _ *message.Message, _ *Ways) { s.Accounts[account].InternalDelivery = false }), "a b c", ""},
		{"the recipient's number is not enabled", both(inside, func(s *snapshot.Snapshot, _ *message.Message, _ *Ways) { s.Numbers[to].SMSEnabled = false }), "a b c", ""},
		{"the vendor inside is not active", both(inside, func(s *snapshot.Snapshot, _ *message.Message, _ *Ways) {
			s.Vendors[message.InternalVendor].Active = false
		}), "a b c", ""},
		{"octets do not go inside", both(inside, func(s *snapshot.Snapshot, m *message.Message, _ *Ways) {
			m.Encoding = message.EncodingBinary
			at(s, "b").ProviderType = "smpp"
		}), "b", ""},
		{"a route does not lead inside", func(s *snapshot.Snapshot, _ *message.Message, _ *Ways) {
			s.Routes[0].VendorID = message.InternalVendor
			s.Numbers[to] = &snapshot.Number{Number: to, AccountID: stranger, SMSEnabled: true}
		}, "b c", ""},
	} {
		s, m, w := house(), allowed(), Ways{}
		c.change(s, m, &w)
		got := Candidates(s, m, w)
		if names(got) != c.want {
			t.Errorf("%s: %q, want %q", c.name, names(got), c.want)
			continue
		}
		for i, k := range got {
			if why := k.Why; i == 0 && why != c.why || i > 0 && why != "" {
				t.Errorf("%s: %s is there for %q, want %q", c.name, k.Vendor.Name, why, c.why)
			}
		}
	}
}

// Who is alone costs the customer what a route to it says or, without one, what the
// best way would have cost.
func TestRateOfWhoIsAlone(t *testing.T) {
	t.Parallel()
	s, m := house(), allowed()
	rate := func(vendor message.ID) (message.Micros, int64) {
		t.Helper()
		c := Candidates(s, m, Ways{Override: vendor})
		if len(c) != 1 || c[0].Vendor.ID != vendor {
			t.Fatalf("%q", names(c))
		}
		return c[0].Rate, c[0].Route
	}
	if r, route := rate(named("c")); r != 3 || route != 3 {
		t.Errorf("its own route: %d by route %d", r, route)
	}
	s.Routes = s.Routes[:2]
	if r, route := rate(named("c")); r != 1 || route != 0 {
		t.Errorf("no route: %d by route %d", r, route)
	}
	s.Numbers[to] = &snapshot.Number{Number: to, AccountID: stranger, SMSEnabled: true}
	s.Routes = append(s.Routes, snapshot.Route{ID: 9, VendorID: message.InternalVendor, RatePerMsg: 77})
	if r, route := rate(message.InternalVendor); r != 77 || route != 9 {
		t.Errorf("inside: %d by route %d", r, route)
	}
	s.Routes = nil
	if r, _ := rate(message.InternalVendor); r != 0 {
		t.Errorf("no route at all: %d", r)
	}
}

// A vendor's worse route may be the one that asks for the conversation's last vendor.
func TestStickyByAnyRoute(t *testing.T) {
	t.Parallel()
	s, m := routed("10 a/1*1", "10 b/2*1", "10 b/2*1", "10 c/3*1"), allowed()
	s.Routes[2].Sticky = true
	c := Candidates(s, m, Ways{})
	if names(c) != "a b c" || c[0].Sticky || !c[1].Sticky || c[2].Sticky {
		t.Errorf("%q %+v", names(c), c)
	}
	s.Routes[1].Sticky, s.Routes[2].Sticky = true, false
	if c = Candidates(s, m, Ways{}); !c[1].Sticky {
		t.Errorf("%+v", c)
	}
	if c = Candidates(s, m, Ways{Last: c[1].Vendor.ID}); names(c) != "b a c" || c[0].Route != 2 || c[0].Why != WhyConversation {
		t.Errorf("%q %+v", names(c), c)
	}
}

// Every condition of a route, met and not met, and what is said of it.
func TestRouteConditions(t *testing.T) {
	t.Parallel()
	chicago, err := time.LoadLocation("America/Chicago")
	if err != nil {
		t.Fatal(err)
	}
	// A Saturday, 14:30 in Chicago.
	now := time.Date(2026, 11, 21, 20, 30, 0, 0, time.UTC)
	compile := regexp.MustCompile
	const weekend, weekdays, saturday, sunday = 0b1100000, 0b0011111, 0b0100000, 0b1000000
	for _, c := range []struct {
		name   string
		route  snapshot.Route
		change func(m *message.Message)
		now    time.Time
		lost   string // empty: it matches
	}{
		{"class", snapshot.Route{Class: message.ClassOTP}, func(m *message.Message) { m.Class = message.ClassOTP }, now, ""},
		{"another class", snapshot.Route{Class: message.ClassOTP}, func(m *message.Message) { m.Class = message.ClassBulk }, now, "for the class otp, and the message is bulk"},
		{"unicode", snapshot.Route{Capability: "unicode"}, func(m *message.Message) { m.Encoding = message.EncodingUCS2 }, now, ""},
		{"no unicode", snapshot.Route{Capability: "unicode"}, nil, now, "need unicode"},
		{"alphanumeric", snapshot.Route{Capability: "alphanumeric"}, func(m *message.Message) { m.From = "ACME" }, now, ""},
		{"not alphanumeric", snapshot.Route{Capability: "alphanumeric"}, nil, now, "need alphanumeric"},
		{"mms", snapshot.Route{Capability: "mms"}, func(m *message.Message) { m.Kind = message.MMS }, now, ""},
		{"no mms", snapshot.Route{Capability: "mms"}, nil, now, "need mms"},
		{"binary", snapshot.Route{Capability: "binary"}, func(m *message.Message) { m.Encoding = message.EncodingBinary }, now, ""},
		{"header", snapshot.Route{Capability: "binary"}, func(m *message.Message) { m.Header = []byte{4, 0} }, now, ""},
		{"no binary", snapshot.Route{Capability: "binary"}, nil, now, "need binary"},
		{"long", snapshot.Route{Capability: "long"}, func(m *message.Message) { m.Segments = 2 }, now, ""},
		{"not long", snapshot.Route{Capability: "long"}, nil, now, "need long"},
		{"unheard of", snapshot.Route{Capability: "telepathy"}, nil, now, "need telepathy"},

		{"in force", snapshot.Route{EffectiveFrom: now, EffectiveUntil: now.Add(1)}, nil, now, ""},
		{"too early", snapshot.Route{EffectiveFrom: now.Add(1)}, nil, now, "in force from 2026-11-21"},
		{"too late", snapshot.Route{EffectiveUntil: now}, nil, now, "in force until 2026-11-21T20:30"},

		{"every day", snapshot.Route{Days: 127}, nil, now, ""},
		{"weekend", snapshot.Route{Days: weekend}, nil, now, ""},
		{"weekdays", snapshot.Route{Days: weekdays}, nil, now, "other days than that of Sat 20:30 UTC"},
		{"in the zone it is still Saturday", snapshot.Route{Days: saturday, Zone: chicago}, nil, now.Add(5 * time.Hour), ""},
		{"in UTC it is not", snapshot.Route{Days: saturday}, nil, now.Add(5 * time.Hour), "Sun 01:30 UTC"},
		{"hours", snapshot.Route{FromMinute: 20 * 60, UntilMinute: 20*60 + 31}, nil, now, ""},
		{"at the first minute", snapshot.Route{FromMinute: 20*60 + 30, UntilMinute: 21 * 60}, nil, now, ""},
		{"at the end", snapshot.Route{FromMinute: 20 * 60, UntilMinute: 20*60 + 30}, nil, now, "open from 20:00 to 20:30, and it is Sat 20:30 UTC"},
		{"until midnight", snapshot.Route{FromMinute: 20 * 60, UntilMinute: 1440}, nil, now, ""},
		{"hours of the zone", snapshot.Route{FromMinute: 14 * 60, UntilMinute: 15 * 60, Zone: chicago}, nil, now, ""},
		{"hours of another zone", snapshot.Route{FromMinute: 20 * 60, UntilMinute: 21 * 60, Zone: chicago}, nil, now, "it is Sat 14:30 CST"},
		{"over midnight, in the evening", snapshot.Route{FromMinute: 20 * 60, UntilMinute: 6 * 60}, nil, now, ""},
		{"over midnight, in the morning", snapshot.Route{FromMinute: 22 * 60, UntilMinute: 6 * 60}, nil, now.Add(9 * time.Hour), ""},
		{"over midnight, by day", snapshot.Route{FromMinute: 22 * 60, UntilMinute: 6 * 60}, nil, now, "open from 22:00 to 06:00"},
		{"the night of Saturday goes on on Sunday", snapshot.Route{Days: saturday, FromMinute: 22 * 60, UntilMinute: 6 * 60}, nil, now.Add(9 * time.Hour), ""},
		{"that of Sunday does not begin on it", snapshot.Route{Days: sunday, FromMinute: 22 * 60, UntilMinute: 6 * 60}, nil, now.Add(9 * time.Hour), "other days"},

		{"dear, and allowed", snapshot.Route{MaxCost: 3125}, nil, now, ""},
		{"too dear", snapshot.Route{MaxCost: 3124}, nil, now, "vendor north costs 0.003125 a part, and the route allows 0.003124"},

		{"account", snapshot.Route{AccountID: stranger}, nil, now, "for account"},
		{"type", snapshot.Route{MessageType: message.MMS}, nil, now, "for MMS"},
		{"destination", snapshot.Route{DestPattern: compile("^44")}, nil, now, "destination pattern ^44 does not match"},
		{"source", snapshot.Route{SourcePattern: compile("^44")}, nil, now, "source pattern ^44 does not match"},
		{"no vendor", snapshot.Route{VendorID: stranger}, nil, now, "there is no vendor"},
	} {
		s, m := world(), allowed()
		if c.route.VendorID == (message.ID{}) {
			c.route.VendorID = north
		}
		v := s.Vendors[north]
		v.CostPerSMS, c.route.ID, c.route.Name = 3125, 12, "night"
		s.Routes = []snapshot.Route{c.route}
		if c.change != nil {
			c.change(m)
		}
		if m.Kind == message.MMS {
			v.ProviderType = "twilio"
		}
		w := Ways{Now: c.now}
		if got := len(Candidates(s, m, w)) == 1; got != (c.lost == "") {
			t.Errorf("%s: matches %v", c.name, got)
		}
		list, trail := Explain(s, m, w)
		if len(list) != 1 || len(trail) != 1 || trail[0].Rule != "route 12" || list[0].Name != "night" || list[0].Route != 12 {
			t.Errorf("%s: %+v, %+v", c.name, list, trail)
			continue
		}
		if lost := trail[0].Result == message.Refused; lost != (c.lost != "") || !strings.Contains(trail[0].Detail, c.lost) || lost && list[0].Reason != trail[0].Detail {
			t.Errorf("%s: %+v", c.name, trail[0])
		}
		for _, said := range []string{m.To.Digits(), m.From.Digits()} {
			if m.From.Kind() == message.E164 && strings.Contains(trail[0].Detail, said) {
				t.Errorf("%s: the trail names a number: %s", c.name, trail[0].Detail)
			}
		}
	}
}

// What is in the way of a vendor is said in words, each its own.
func TestExplainVendors(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for l := lostGone; l <= lostElsewhere; l++ {
		said := l.ofVendor(&snapshot.Vendor{Name: "north"})
		if said == "" || seen[said] || l != lostGone && !strings.Contains(said, "north") {
			t.Errorf("loss %d: %q", l, said)
		}
		seen[said] = true
	}
	for _, w := range []Why{WhyOverride, WhyInside, WhyPaused, WhyHealth, WhyNumber, WhyConversation} {
		if said := w.text(); said == "" || seen[said] {
			t.Errorf("%s: %q", w, said)
		}
		seen[w.text()] = true
	}
	s, m := house(), allowed()
	s.Vendors[named("c")].Active = false
	_, trail := Explain(s, m, Ways{Override: named("c")})
	if trail[0].Rule != RuleOverride || trail[0].Result != message.Refused || !strings.Contains(trail[0].Detail, "c is not active") {
		t.Errorf("%+v", trail)
	}
	s.Accounts[account].InternalDelivery = true
	s.Numbers[to] = &snapshot.Number{Number: to, AccountID: stranger, SMSEnabled: true}
	s.Vendors[message.InternalVendor].Draining = true
	if _, trail = Explain(s, m, Ways{}); trail[0].Rule != RuleInside || trail[0].Result != message.Refused || !strings.Contains(trail[0].Detail, "internal is being drained") {
		t.Errorf("%+v", trail)
	}
	s.Vendors[message.InternalVendor].Draining = false
	list, trail := Explain(s, m, Ways{})
	if trail[0].Result != message.Pass || list[0].Vendor != "internal" || list[0].Place != 1 || list[0].Route != 0 || !strings.Contains(list[1].Reason, "internal alone is asked") {
		t.Errorf("%+v, %+v", list, trail)
	}
}

// drawn is a configuration, a message and ways in which much is going on.
func drawn(t *rapid.T) (*snapshot.Snapshot, *message.Message, Ways) {
	s := house()
	s.Routes = nil
	vendors := []message.ID{named("a"), named("b"), named("c"), message.InternalVendor, named("gone")}
	bit := func(name string) bool { return rapid.IntRange(0, 3).Draw(t, name) == 0 }
	healths := map[message.ID]message.VendorHealth{}
	for _, id := range vendors {
		if v := s.Vendors[id]; v != nil {
			v.Active, v.Paused, v.Draining = !bit("inactive"), bit("paused"), bit("draining")
			v.Priority, v.CostPerSMS = rapid.IntRange(0, 1).Draw(t, "vendor priority"), message.Micros(rapid.IntRange(0, 2).Draw(t, "cost"))
			v.SupportsUnicode = !bit("no unicode")
		}
		healths[id] = rapid.SampledFrom([]message.VendorHealth{message.HealthUnknown, message.HealthHealthy, message.HealthDegraded, message.HealthDown}).Draw(t, "health")
	}
	for i := range rapid.IntRange(0, 12).Draw(t, "routes") {
		r := snapshot.Route{ID: int64(i + 1), VendorID: rapid.SampledFrom(vendors).Draw(t, "vendor"), Priority: rapid.IntRange(0, 2).Draw(t, "priority"),
			Weight: rapid.IntRange(0, 9).Draw(t, "weight"), Sticky: bit("sticky"), MaxCost: message.Micros(rapid.IntRange(0, 2).Draw(t, "max cost")),
			Selection: rapid.SampledFrom([]string{"", "weighted", "least_cost"}).Draw(t, "selection")}
		if bit("other destination") {
			r.DestPattern = regexp.MustCompile("^44")
		}
		if bit("closed") {
			r.FromMinute, r.UntilMinute = 60, 120
		}
		s.Routes = append(s.Routes, r)
	}
	s.Index()
	m := allowed()
	if bit("unicode") {
		m.Encoding = message.EncodingUCS2
	}
	if bit("ours") {
		s.Numbers[to] = &snapshot.Number{Number: to, AccountID: stranger, SMSEnabled: true}
		s.Accounts[account].InternalDelivery = !bit("not inside")
	}
	if bit("hosted") {
		s.Numbers[own].VendorID = rapid.SampledFrom(vendors).Draw(t, "host")
	}
	w := Ways{Now: time.Date(2026, 11, 21, 20, 30, 0, 0, time.UTC), Health: func(id message.ID) message.VendorHealth { return healths[id] }}
	if bit("conversation") {
		w.Last = rapid.SampledFrom(vendors).Draw(t, "last")
	}
	if bit("named") {
		w.Override = rapid.SampledFrom(vendors).Draw(t, "override")
	}
	return s, m, w
}

// What is explained is what is done: the candidates are those that have a place, in
// their order, by the same routes; each route is spoken of once, and who lost is told
// why.
func TestExplainAgrees(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s, m, w := drawn(t)
		candidates := Candidates(s, m, w)
		list, trail := Explain(s, m, w)
		told := map[int64]int{}
		for i, e := range list {
			if e.Route != 0 {
				told[e.Route]++
			}
			if i < len(candidates) {
				c := candidates[i]
				if e.Place != i+1 || e.VendorID != c.Vendor.ID || e.Vendor != c.Vendor.Name || e.Route != c.Route || e.Rate != c.Rate || e.Health != w.Health(c.Vendor.ID) || e.Reason == "" {
					t.Fatalf("place %d: %+v, want %+v", i+1, e, c)
				}
			} else if e.Place != 0 || e.Reason == "" || e.Route == 0 {
				t.Fatalf("lost: %+v", e)
			}
		}
		for i := range s.Routes {
			id := s.Routes[i].ID
			if told[id] != 1 {
				t.Fatalf("route %d is told of %d times: %+v", id, told[id], list)
			}
			at := len(trail) - len(s.Routes) + i
			won := slices.ContainsFunc(candidates, func(c Candidate) bool { return c.Route == id })
			if e := trail[at]; e.Rule != fmt.Sprint("route ", id) || (e.Result == message.Pass) != won || e.Detail == "" {
				t.Fatalf("trail of route %d: %+v", id, e)
			}
		}
	})
}

// Of two candidates that stand next to each other the former is better in the first
// thing in which they differ; who is out has no place, and nobody stands twice.
func TestCandidatesByTheirMerits(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s, m, w := drawn(t)
		w.Override, s.Accounts[account].InternalDelivery = message.ID{}, false
		least := map[int]bool{}
		for i := range s.Routes {
			if r := &s.Routes[i]; mismatch(r, m, w.Now) == fits && unfit(s, r, s.Vendors[r.VendorID], m) == fits && r.VendorID != message.InternalVendor {
				least[r.Priority] = least[r.Priority] || r.Selection == leastCost
			}
		}
		merits := func(c Candidate) []int {
			r, v := routeOf(s, c), c.Vendor
			yes := func(b bool) int {
				if b {
					return 0
				}
				return 1
			}
			cost := 0
			if least[r.Priority] {
				cost = int(v.CostPerSMS)
			}
			return []int{1 - yes(v.Paused), map[message.VendorHealth]int{message.HealthDegraded: 1, message.HealthDown: 2}[w.Health(v.ID)],
				yes(s.Numbers[own].VendorID == v.ID), r.Priority, yes(r.Sticky && w.Last == v.ID), cost, v.Priority}
		}
		list := Candidates(s, m, w)
		for i, c := range list {
			if !c.Vendor.Active || c.Vendor.Draining || c.Vendor.ID == message.InternalVendor {
				t.Fatalf("%+v", c.Vendor)
			}
			if i > 0 && slices.Compare(merits(list[i-1]), merits(c)) > 0 {
				t.Fatalf("%s %v before %s %v", list[i-1].Vendor.Name, merits(list[i-1]), c.Vendor.Name, merits(c))
			}
			for _, other := range list[:i] {
				if other.Vendor == c.Vendor {
					t.Fatalf("%s twice", c.Vendor.Name)
				}
			}
		}
	})
}

// One for later is routed by the clock of then.
func TestRouteOfLater(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 21, 20, 30, 0, 0, time.UTC)
	s, m := world(), allowed()
	s.Routes[0].EffectiveFrom = now.Add(time.Hour)
	if d := Evaluate(s, Question{Message: m, Now: now}); message.ReasonOf(asError(d.Error)) != message.ReasonNoRoute {
		t.Errorf("now: %v", d.Error)
	}
	m.SendAt = now.Add(time.Hour)
	if d := Evaluate(s, Question{Message: m, Now: now}); !d.Allowed() {
		t.Errorf("later: %v", d.Error)
	}
	// So is one that waits for the morning.
	s, m = world(), allowed()
	night := time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC) // one o'clock in Los Angeles
	m.Class, m.ExpiresAt = message.ClassBulk, night.Add(24*time.Hour)
	s.Routes[0].EffectiveFrom = night.Add(3 * time.Hour)
	if d := Evaluate(s, Question{Message: m, Now: night}); !d.Allowed() || d.Hold() == nil {
		t.Errorf("in the morning: %+v", d)
	}
	down := func(message.ID) message.VendorHealth { return message.HealthDown }
	if d := Evaluate(s, Question{Message: m, Now: now, Health: down}); !d.Allowed() || len(d.Candidates) != 1 {
		t.Errorf("the only one is down: %v", d.Error)
	}
}

func BenchmarkCandidates(b *testing.B) {
	s, m := world(), allowed()
	for i := range 50 {
		s.Routes = append(s.Routes, snapshot.Route{ID: int64(i + 2), Priority: 10, VendorID: north, DestPattern: regexp.MustCompile("^44")})
	}
	w := Ways{Now: time.Now()}
	b.ReportAllocs()
	for b.Loop() {
		Candidates(s, m, w)
	}
}
