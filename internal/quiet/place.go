package quiet

import (
	_ "embed"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	_ "time/tzdata" // a machine without zones of its own must not change the hours

	"github.com/nyaruka/phonenumbers"

	"github.com/postrider/postrider/internal/message"
)

//go:embed data/areas.txt
var areasText string

//go:embed data/hours.txt
var hoursText string

// Regions that hours.txt names beside the states.
const (
	regionAny     = "*"
	regionUnknown = "?"
)

// unknownZone is where the hours of an unknown area of +1 are read.
const unknownZone = "America/New_York"

// place is where a number's owner may be.
type place struct {
	region string
	zones  []*time.Location // none: not known
}

// placeOf finds where the owner of a number may be. Inside +1 by the area code;
// elsewhere in all zones of the country, since a mobile number says no more.
func placeOf(to message.Address) place {
	if to.Kind() != message.E164 {
		return place{region: regionAny}
	}
	if to[1] == '1' {
		if len(to) >= 5 {
			if p, ok := areas()[string(to[2:5])]; ok {
				return p
			}
		}
		zone, err := Zone(unknownZone)
		if err != nil {
			return place{region: regionUnknown}
		}
		return place{regionUnknown, []*time.Location{zone}}
	}
	return place{regionAny, countryZones(to)}
}

// countryZones are the zones of a number's country, none when they are not known.
func countryZones(to message.Address) []*time.Location {
	names, err := phonenumbers.GetTimezonesForPrefix(countryCode(to))
	if err != nil {
		return nil
	}
	var zones []*time.Location
	for _, name := range names {
		// One that the tables of zones do not have is "Etc/Unknown" or has been renamed.
		if zone, err := Zone(name); err == nil {
			zones = append(zones, zone)
		}
	}
	return zones
}

// countryCode is the country's part of a number, empty when no country has it. No
// code is the beginning of another one.
func countryCode(to message.Address) string {
	for n := 1; n <= 3 && n <= len(to)-1; n++ {
		if code, err := strconv.Atoi(string(to[1 : n+1])); err == nil && callingCodes()[code] {
			return string(to[1 : n+1])
		}
	}
	return ""
}

var callingCodes = sync.OnceValue(phonenumbers.GetSupportedCallingCodes)

// zones keeps what was loaded: time.LoadLocation reads a zone anew each time. It
// holds no more than there are zones.
var zones sync.Map // name to *time.Location

// Zone finds a time zone by its IANA name. It is safe for concurrent use.
func Zone(name string) (*time.Location, error) {
	if z, ok := zones.Load(name); ok {
		return z.(*time.Location), nil
	}
	z, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("time zone %.40q: %w", name, err)
	}
	if z == time.Local { // "Local" depends on the machine
		return nil, fmt.Errorf("time zone %q is not an IANA name", name)
	}
	zones.Store(name, z)
	return z, nil
}

// areas is the table of area codes. What cannot be read of it would be a mistake
// in the data, which a test finds; here it counts as unknown.
var areas = sync.OnceValue(func() map[string]place {
	table, _ := readAreas(areasText)
	return table
})

func readAreas(text string) (map[string]place, error) {
	table := map[string]place{}
	for i, line := range dataLines(text) {
		f := fields(line)
		if len(f) != 3 {
			return table, fmt.Errorf("entry %d: want region; zones; codes", i+1)
		}
		p := place{region: f[0]}
		if p.region == "-" {
			p.region = regionAny
		}
		for name := range strings.FieldsSeq(f[1]) {
			zone, err := Zone(name)
			if err != nil {
				return table, fmt.Errorf("entry %d: %w", i+1, err)
			}
			p.zones = append(p.zones, zone)
		}
		for code := range strings.FieldsSeq(f[2]) {
			if _, twice := table[code]; twice || len(code) != 3 {
				return table, fmt.Errorf("entry %d: area code %s", i+1, code)
			}
			table[code] = p
		}
	}
	return table, nil
}

// regionHours are a region's hours from a day on.
type regionHours struct {
	since    time.Time
	schedule Schedule
}

// hoursOf is what a region goes by at a time.
func hoursOf(region string, at time.Time) Schedule {
	table := hours()
	for _, r := range []string{region, regionAny} {
		for _, h := range table[r] { // newest first
			if !h.since.After(at) {
				return h.schedule
			}
		}
	}
	// Before the first date of the table the first hours hold.
	if all := table[regionAny]; len(all) > 0 {
		return all[len(all)-1].schedule
	}
	return Schedule{}
}

var hours = sync.OnceValue(func() map[string][]regionHours {
	table, _ := readHours(hoursText)
	return table
})

func readHours(text string) (map[string][]regionHours, error) {
	type key struct{ region, since string }
	windows := map[key][]Window{}
	for i, line := range dataLines(text) {
		f := fields(line)
		if len(f) != 5 {
			return nil, fmt.Errorf("entry %d: want since; region; days; from; to", i+1)
		}
		w, err := parseWindow(f[2], f[3], f[4])
		if err != nil {
			return nil, fmt.Errorf("entry %d: %w", i+1, err)
		}
		k := key{f[1], f[0]}
		windows[k] = append(windows[k], w)
	}
	table := map[string][]regionHours{}
	for k, list := range windows {
		since, err := time.Parse(time.DateOnly, k.since)
		if err != nil {
			return nil, err
		}
		s, err := NewSchedule(list)
		if err != nil {
			return nil, fmt.Errorf("hours of %s: %w", k.region, err)
		}
		table[k.region] = append(table[k.region], regionHours{since, s})
	}
	for _, list := range table {
		slices.SortFunc(list, func(a, b regionHours) int { return b.since.Compare(a.since) })
	}
	return table, nil
}

// dataLines are the lines that say something.
func dataLines(text string) []string {
	var lines []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			lines = append(lines, line)
		}
	}
	return lines
}

func fields(line string) []string {
	f := strings.Split(line, ";")
	for i := range f {
		f[i] = strings.TrimSpace(f[i])
	}
	return f
}
