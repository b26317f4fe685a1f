package quiet

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nyaruka/phonenumbers"
	"pgregory.net/rapid"

	"github.com/postrider/postrider/internal/message"
)

func at(t *testing.T, s string) time.Time {
	t.Helper()
	when, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t.Fatal(err)
	}
	return when
}

func mustZone(t *testing.T, name string) *time.Location {
	t.Helper()
	z, err := Zone(name)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func TestDataCanBeRead(t *testing.T) {
	table, err := readAreas(areasText)
	if err != nil {
		t.Fatal(err)
	}
	hours, err := readHours(hoursText)
	if err != nil {
		t.Fatal(err)
	}
	if len(hours[regionAny]) == 0 || len(hours[regionUnknown]) == 0 {
		t.Error("hours.txt has nothing for everybody, or for unknown areas")
	}
	for code, p := range table {
		if len(p.zones) == 0 {
			t.Errorf("area %s has no zone", code)
		}
	}
	for region := range hours {
		if region != regionAny && region != regionUnknown && !slices.ContainsFunc(sorted(table), func(p place) bool { return p.region == region }) {
			t.Errorf("no area lies in %s", region)
		}
	}
}

func sorted(table map[string]place) []place {
	var list []place
	for _, p := range table {
		list = append(list, p)
	}
	return list
}

// Where the numbering library puts some number of an area is one of its zones, by
// the hours of the next years. Exceptions are the library's mistakes.
func TestAreasHaveTheZonesOfTheNumberingLibrary(t *testing.T) {
	mistaken := map[string]string{
		"689": "America/Chicago",  // Orlando
		"474": "America/Winnipeg", // Saskatchewan
	}
	table := areas()
	for area := 200; area < 1000; area++ {
		code := fmt.Sprint(area)
		seen := map[string]bool{}
		for exchange := 200; exchange < 1000; exchange++ {
			names, err := phonenumbers.GetTimezonesForPrefix(fmt.Sprintf("+1%d%d", area, exchange))
			if err != nil {
				t.Fatal(err)
			}
			if len(names) > 5 { // of all of +1: the library does not know
				continue
			}
			for _, name := range names {
				seen[name] = true
			}
		}
		for name := range seen {
			p, known := table[code]
			switch {
			case mistaken[code] == name:
			case !known:
				t.Errorf("area %s is not in the table; the library has it in %s", code, name)
			case !slices.ContainsFunc(p.zones, func(z *time.Location) bool { return sameClock(z, mustZone(t, name)) }):
				t.Errorf("area %s is not in %s, %v", code, name, p.zones)
			}
		}
	}
}

func sameClock(a, b *time.Location) bool {
	for t := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC); t.Year() < 2029; t = t.Add(12 * time.Hour) {
		_, x := t.In(a).Zone()
		if _, y := t.In(b).Zone(); x != y {
			return false
		}
	}
	return true
}

func TestAsk(t *testing.T) {
	override := func(doc string) *Override {
		o, err := ParseOverride([]byte(doc))
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	for _, c := range []struct {
		name  string
		q     Query
		opens string // empty: it is open
		said  string
	}{
		{"afternoon in Los Angeles", Query{To: "+13105550117", At: at(t, "2026-11-20T22:00:00Z")}, "", "inside the permitted hours"},
		{"evening in Los Angeles", Query{To: "+13105550117", At: at(t, "2026-11-21T05:15:00Z")}, "2026-11-21T16:00:00Z", "21:15 in America/Los_Angeles is outside 08:00-21:00; opens 2026-11-21T16:00:00Z"},
		{"the minute of closing", Query{To: "+13105550117", At: at(t, "2026-11-21T05:00:00Z")}, "2026-11-21T16:00:00Z", "21:00 in America/Los_Angeles is outside 08:00-21:00; opens 2026-11-21T16:00:00Z"},
		{"the last second", Query{To: "+13105550117", At: at(t, "2026-11-21T04:59:59Z")}, "", ""},
		{"the second of opening", Query{To: "+13105550117", At: at(t, "2026-11-21T16:00:00Z")}, "", ""},
		{"Florida closes at eight", Query{To: "+13055550100", At: at(t, "2026-11-21T01:30:00Z")}, "2026-11-21T13:00:00Z", "20:30 in America/New_York is outside 08:00-20:00; opens 2026-11-21T13:00:00Z"},
		{"New York does not", Query{To: "+12125550100", At: at(t, "2026-11-21T01:30:00Z")}, "", ""},
		{"the panhandle waits for its western end", Query{To: "+18505550100", At: at(t, "2026-11-20T13:30:00Z")}, "2026-11-20T14:00:00Z", "07:30 in America/Chicago is outside 08:00-20:00; opens 2026-11-20T14:00:00Z"},
		{"and closes by its eastern", Query{To: "+18505550100", At: at(t, "2026-11-21T01:30:00Z")}, "2026-11-21T14:00:00Z", ""},
		{"Texas on a Sunday morning", Query{To: "+12145550100", At: at(t, "2026-11-22T16:00:00Z")}, "2026-11-22T18:00:00Z", "10:00 in America/Chicago is outside 12:00-21:00; opens 2026-11-22T18:00:00Z"},
		{"Alabama on a Sunday", Query{To: "+12055550100", At: at(t, "2026-11-22T16:00:00Z")}, "2026-11-23T14:00:00Z", "10:00 in America/Chicago is on a day without permitted hours; opens 2026-11-23T14:00:00Z"},
		{"an unknown area before eleven Eastern", Query{To: "+12115550100", At: at(t, "2026-11-20T15:00:00Z")}, "2026-11-20T16:00:00Z", ""},
		{"a personal number counts as unknown", Query{To: "+15005550100", At: at(t, "2026-11-20T16:00:00Z")}, "", ""},
		{"Germany", Query{To: "+4915112345678", At: at(t, "2026-11-20T20:30:00Z")}, "2026-11-21T07:00:00Z", ""},
		{"Australia opens when its westernmost islands do", Query{To: "+61412345678", At: at(t, "2026-11-20T22:30:00Z")}, "2026-11-21T01:30:00Z", ""},
		{"no country: the account's clock", Query{To: "+883510000000", At: at(t, "2026-11-20T07:30:00Z"), Account: mustZone(t, "Asia/Tokyo")}, "", ""},
		{"a short code: the account's clock", Query{To: "88022", At: at(t, "2026-11-20T13:30:00Z"), Account: mustZone(t, "Asia/Tokyo")}, "2026-11-20T23:00:00Z", ""},
		{"own windows on the recipient's clock", Query{To: "+12125550100", At: at(t, "2026-11-20T23:30:00Z"),
			Override: override(`{"windows": [{"days": "mon-fri", "from": "09:00", "to": "18:00"}]}`)}, "2026-11-23T14:00:00Z", "18:30 in America/New_York is outside 09:00-18:00; opens 2026-11-23T14:00:00Z"},
		{"own windows on the account's clock", Query{To: "+12125550100", At: at(t, "2026-11-20T23:30:00Z"), Account: mustZone(t, "Europe/Berlin"),
			Override: override(`{"zone": "account", "windows": [{"days": "sun-sat", "from": "22:00", "to": "02:00"}]}`)}, "", ""},
		{"a window over midnight, after midnight", Query{To: "+12125550100", At: at(t, "2026-11-21T06:30:00Z"),
			Override: override(`{"windows": [{"days": "fri", "from": "22:00", "to": "02:00"}]}`)}, "", ""},
		{"a window over the week's end", Query{To: "+12125550100", At: at(t, "2026-11-22T06:30:00Z"),
			Override: override(`{"windows": [{"days": "sat", "from": "22:00", "to": "02:00"}]}`)}, "", ""},
		// New York leaves out 02:00 to 03:00 on 2026-03-08.
		{"a window that begins in the hour that is left out", Query{To: "+12125550100", At: at(t, "2026-03-08T06:00:00Z"),
			Override: override(`{"windows": [{"days": "sun-sat", "from": "02:30", "to": "04:00"}]}`)}, "2026-03-08T07:00:00Z", ""},
		{"a window that is left out whole", Query{To: "+12125550100", At: at(t, "2026-03-08T06:00:00Z"),
			Override: override(`{"windows": [{"days": "sun-sat", "from": "02:15", "to": "02:45"}]}`)}, "2026-03-09T06:15:00Z", ""},
		// And has 01:00 to 02:00 twice on 2026-11-01.
		{"the first time", Query{To: "+12125550100", At: at(t, "2026-11-01T05:20:00Z"),
			Override: override(`{"windows": [{"days": "sun-sat", "from": "01:15", "to": "01:30"}]}`)}, "", ""},
		{"between the two times", Query{To: "+12125550100", At: at(t, "2026-11-01T05:40:00Z"),
			Override: override(`{"windows": [{"days": "sun-sat", "from": "01:15", "to": "01:30"}]}`)}, "2026-11-01T06:15:00Z", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := Ask(c.q)
			switch {
			case c.opens == "" && (!a.Open || !a.Opens.Equal(c.q.At)):
				t.Errorf("not open: %s", a)
			case c.opens != "" && (a.Open || !a.Opens.Equal(at(t, c.opens))):
				t.Errorf("opens %s (%s), want %s", a.Opens, a, c.opens)
			}
			if c.said != "" && a.String() != c.said {
				t.Errorf("said %q, want %q", a, c.said)
			}
		})
	}
}

// The longest that countries without a common hour leave no answer.
func TestCountriesHaveACommonHour(t *testing.T) {
	for code := range phonenumbers.GetSupportedCallingCodes() {
		if code == 1 {
			continue
		}
		to := message.Address(fmt.Sprintf("+%d5550100", code))
		zones := countryZones(to)
		if len(zones) == 0 {
			continue // the account's clock
		}
		if _, ok := earliest(hoursOf(regionAny, time.Now()), at(t, "2026-06-01T00:00:00Z"), zones); !ok {
			t.Errorf("+%d: %v share no hour", code, zones)
		}
	}
}

// Whatever is asked, the answer lies in the hours of every zone, and no minute
// before it does. The wall clock is asked here minute by minute.
func TestOpeningIsTheEarliest(t *testing.T) {
	table := areas()
	var codes []string
	for code := range table {
		codes = append(codes, code)
	}
	slices.Sort(codes)
	start := at(t, "2026-01-01T00:00:00Z")
	window := rapid.Custom(func(r *rapid.T) Window {
		w := Window{From: rapid.IntRange(0, day-1).Draw(r, "from"), To: rapid.IntRange(1, day).Draw(r, "to")}
		for d := time.Sunday; d <= time.Saturday; d++ {
			if rapid.Bool().Draw(r, d.String()) {
				w.Days = append(w.Days, d)
			}
		}
		return w
	})
	changes := []string{"2026-03-08T05:00:00Z", "2026-11-01T04:00:00Z", "2027-03-14T06:30:00Z"}
	rapid.Check(t, func(r *rapid.T) {
		q := Query{To: message.Address("+1" + rapid.SampledFrom(codes).Draw(r, "area") + "5550100")}
		if rapid.Bool().Draw(r, "near a change") {
			q.At = at(t, rapid.SampledFrom(changes).Draw(r, "change")).Add(time.Duration(rapid.IntRange(-600, 600).Draw(r, "minutes")) * time.Minute)
		} else {
			q.At = start.Add(time.Duration(rapid.IntRange(0, 2*366*day).Draw(r, "minutes")) * time.Minute)
		}
		q.At = q.At.Add(time.Duration(rapid.IntRange(0, 59).Draw(r, "seconds")) * time.Second)
		if rapid.Bool().Draw(r, "own windows") {
			s, err := NewSchedule(rapid.SliceOfN(window, 1, 4).Draw(r, "windows"))
			if err != nil {
				r.Fatal(err)
			}
			q.Override = &Override{Zone: ZoneRecipient, Schedule: s}
		}
		schedule, zones := q.hours()
		permitted := func(t time.Time) bool {
			for _, z := range zones {
				if !clockInside(schedule.windows, t.In(z)) {
					return false
				}
			}
			return true
		}
		a := Ask(q)
		if _, shared := earliest(schedule, q.At, zones); !shared {
			if a.Open && len(zones) == 1 {
				r.Fatalf("open at %s though there is no hour", q.At)
			}
			return // on the account's clock
		}
		if !permitted(a.Opens) || a.Opens.Before(q.At) || a.Open != permitted(q.At) {
			r.Fatalf("%s from %s: %+v", q.To, q.At, a)
		}
		for t := q.At; t.Before(a.Opens); t = t.Add(time.Minute) {
			if permitted(t) {
				r.Fatalf("%s from %s: %s, but %s would do", q.To, q.At, a.Opens, t)
			}
		}
		if a.Opens.After(q.At) && permitted(a.Opens.Add(-time.Second)) {
			r.Fatalf("%s from %s: %s, but a second earlier would do", q.To, q.At, a.Opens)
		}
	})
}

// clockInside says the same as Schedule.open from the windows themselves.
func clockInside(windows []Window, local time.Time) bool {
	now := local.Hour()*60 + local.Minute()
	today, yesterday := local.Weekday(), (local.Weekday()+6)%7
	for _, w := range windows {
		over := w.To <= w.From
		if slices.Contains(w.Days, today) && now >= w.From && (over || now < w.To) {
			return true
		}
		if over && slices.Contains(w.Days, yesterday) && now < w.To {
			return true
		}
	}
	return false
}

func TestOverrideIsReadAndWritten(t *testing.T) {
	o, err := ParseOverride([]byte(`{"zone": "account", "windows": [{"days": "fri-mon", "from": "22:00", "to": "24:00"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"zone":"account","windows":[{"days":"sun,mon,fri,sat","from":"22:00","to":"24:00"}]}`; string(doc) != want {
		t.Errorf("written as %s", doc)
	}
	if again, err := ParseOverride(doc); err != nil || fmt.Sprint(again) != fmt.Sprint(o) {
		t.Errorf("read again as %v, %v", again, err)
	}
	for _, bad := range []string{
		``, `[]`, `{"windows": []}`, `{"windows": [{"days": "", "from": "08:00", "to": "09:00"}]}`, `{"windows": [{"days": "mon", "from": "8:00", "to": "09:00"}]}`,
		`{"windows": [{"days": "mon", "from": "08:00", "to": "24:01"}]}`, `{"windows": [{"days": "mon", "from": "24:00", "to": "09:00"}]}`,
		`{"windows": [{"days": "mon", "from": "08:60", "to": "09:00"}]}`, `{"windows": [{"days": "mon", "from": "08:00", "to": "00:00"}]}`,
		`{"zone": "mars", "windows": [{"days": "mon", "from": "08:00", "to": "09:00"}]}`, `{"hours": 3}`,
		`{"windows": [{"days": "mon", "from": "08:00", "to": "09:00"}]} {}`, `{"windows": [` + strings.Repeat(`{"days":"mon","from":"08:00","to":"09:00"},`, 40) + `{"days":"mon","from":"08:00","to":"09:00"}]}`,
	} {
		if o, err := ParseOverride([]byte(bad)); err == nil {
			t.Errorf("%s was read as %+v", bad, o)
		}
	}
}

func FuzzParseOverride(f *testing.F) {
	f.Add([]byte(`{"zone": "account", "windows": [{"days": "fri-mon", "from": "22:00", "to": "24:00"}]}`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		o, err := ParseOverride(doc)
		if err != nil {
			return
		}
		if a := Ask(Query{To: "+12125550100", At: time.Unix(1_800_000_000, 0), Override: o}); a.Opens.IsZero() && len(o.Schedule.spans) > 1 {
			t.Errorf("%s never opens", doc)
		}
	})
}
