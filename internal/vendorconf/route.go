package vendorconf

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/quiet"
	"github.com/postrider/postrider/internal/snapshot"
)

// Route is the settings of a routing rule.
type Route struct {
	Name           string  `json:"name" maxLength:"100" doc:"For people"`
	IsActive       bool    `json:"is_active" doc:"Whether it counts"`
	VendorID       string  `json:"vendor_id" format:"uuid" maxLength:"36" doc:"Where messages go that match"`
	Priority       int     `json:"priority" minimum:"0" maximum:"1000000" doc:"The smaller is asked first"`
	DestPattern    string  `json:"dest_pattern" maxLength:"1000" doc:"RE2 on the recipient's digits, without +; empty: any" example:"^1"`
	SourcePattern  string  `json:"source_pattern" maxLength:"1000" doc:"RE2 on the sender's digits without +, or its letters; empty: any"`
	AccountID      *string `json:"account_id" format:"uuid" maxLength:"36" doc:"Only messages of this account; null: of all"`
	MessageType    *string `json:"message_type" enum:"sms,mms" doc:"Only this type; null: both"`
	MessageClass   *string `json:"message_class" enum:"otp,conversation,bulk" doc:"Only this class; null: all"`
	Capability     *string `json:"capability" enum:"unicode,alphanumeric,mms,binary,long" doc:"Only messages that need this of a vendor; null: all"`
	RatePerMsg     string  `json:"rate_per_msg" maxLength:"11" doc:"What the customer pays a part, a decimal" example:"0.0045"`
	MaxCost        *string `json:"max_cost" maxLength:"11" doc:"The vendor is passed over when it takes more than this a part; null: never"`
	Selection      string  `json:"selection" enum:"weighted,least_cost" doc:"Who comes first among the routes of one priority"`
	Weight         int     `json:"weight" minimum:"1" maximum:"1000" doc:"Share among equals"`
	Sticky         bool    `json:"sticky" doc:"A conversation stays with the vendor that had it last"`
	Days           string  `json:"days" maxLength:"50" doc:"On these days of the week" example:"mon-fri,sun"`
	FromTime       string  `json:"from_time" maxLength:"5" doc:"From this time of the day" example:"08:00"`
	UntilTime      string  `json:"until_time" maxLength:"5" doc:"Until this time of the day. The same as from_time: the whole day; before it: over midnight" example:"20:00"`
	TimeZone       string  `json:"time_zone" maxLength:"64" doc:"Whose days and times these are" example:"America/New_York"`
	EffectiveFrom  *string `json:"effective_from" format:"date-time" maxLength:"40" doc:"Not before; null: always"`
	EffectiveUntil *string `json:"effective_until" format:"date-time" maxLength:"40" doc:"Not from then on; null: for ever"`
}

// NewRoute is the settings of a route when nothing else is said.
func NewRoute() Route {
	return Route{IsActive: true, Priority: 100, RatePerMsg: "0.00", Selection: "weighted", Weight: 1, Days: allDays, FromTime: "00:00", UntilTime: "00:00", TimeZone: "UTC"}
}

// allDays are the days of the week as they are written when none is left out.
const allDays = "mon-sun"

// RouteOf writes a route's settings down.
func RouteOf(r *snapshot.Route, active bool) Route {
	d := Route{
		Name: r.Name, IsActive: active, VendorID: r.VendorID.String(), Priority: r.Priority, DestPattern: patternText(r.DestPattern), SourcePattern: patternText(r.SourcePattern),
		MessageType: word(string(r.MessageType)), MessageClass: word(string(r.Class)), Capability: word(r.Capability), RatePerMsg: r.RatePerMsg.String(),
		Selection: r.Selection, Weight: max(1, r.Weight), Sticky: r.Sticky, Days: daysText(r.Days), FromTime: clock(r.FromMinute), UntilTime: clock(r.UntilMinute),
		TimeZone: "UTC", EffectiveFrom: instant(r.EffectiveFrom), EffectiveUntil: instant(r.EffectiveUntil),
	}
	if d.Selection == "" {
		d.Selection = "weighted"
	}
	if r.AccountID != (message.ID{}) {
		d.AccountID = word(r.AccountID.String())
	}
	if r.MaxCost > 0 {
		d.MaxCost = word(r.MaxCost.String())
	}
	if r.Zone != nil {
		d.TimeZone = r.Zone.String()
	}
	return d
}

func patternText(r *regexp.Regexp) string {
	if r == nil {
		return ""
	}
	return r.String()
}

func word(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func instant(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	return word(t.UTC().Format(time.RFC3339Nano))
}

// Into makes the route what the document says. Whether there is such a vendor and
// account is not known here.
func (d Route) Into(r *snapshot.Route) Faults {
	f := checkAll(&d)
	r.Name, r.Priority, r.Weight, r.Sticky, r.Selection = d.Name, d.Priority, d.Weight, d.Sticky, d.Selection
	if d.VendorID == "" {
		f.add("vendor_id", "is required")
	} else {
		r.VendorID = f.id("vendor_id", d.VendorID)
	}
	r.AccountID = message.ID{}
	if d.AccountID != nil {
		r.AccountID = f.id("account_id", *d.AccountID)
	}
	r.DestPattern, r.SourcePattern = f.pattern("dest_pattern", d.DestPattern), f.pattern("source_pattern", d.SourcePattern)
	r.MessageType, r.Class, r.Capability = message.Kind(text(d.MessageType)), message.Class(text(d.MessageClass)), text(d.Capability)
	r.RatePerMsg, r.MaxCost = f.amount("rate_per_msg", d.RatePerMsg), 0
	if d.MaxCost != nil {
		if r.MaxCost = f.amount("max_cost", *d.MaxCost); r.MaxCost == 0 && !f.has("max_cost") {
			f.add("max_cost", "must be more than 0; null is for any")
		}
	}
	r.Days, r.FromMinute, r.UntilMinute = f.days("days", d.Days), f.clock("from_time", d.FromTime), f.clock("until_time", d.UntilTime)
	if r.FromMinute == 24*60 { // it would be open on no minute, or on those of the day after
		f.add("from_time", "must be before 24:00; a day begins at 00:00")
	}
	var err error
	if r.Zone, err = time.LoadLocation(d.TimeZone); err != nil || d.TimeZone == "" || d.TimeZone == "Local" {
		f.add("time_zone", "must be the name of a time zone, such as America/New_York")
	}
	r.EffectiveFrom, r.EffectiveUntil = f.instant("effective_from", d.EffectiveFrom), f.instant("effective_until", d.EffectiveUntil)
	if !r.EffectiveFrom.IsZero() && !r.EffectiveUntil.IsZero() && !r.EffectiveFrom.Before(r.EffectiveUntil) {
		f.add("effective_until", "must be after effective_from")
	}
	return f
}

func (f *Faults) pattern(setting, s string) *regexp.Regexp {
	if s == "" {
		return nil
	}
	r, err := regexp.Compile(s)
	switch {
	case err != nil:
		f.add(setting, "must be a pattern in RE2: %v", err)
	case steps(s) > maxSteps:
		f.add(setting, "takes too long to match: it has too many repetitions")
	}
	return r
}

// maxSteps bounds how much there is to do at each digit of an address. All patterns are
// tried for every message: one of a thousand characters may make 400,000 steps, which
// take half a second.
const maxSteps = 5000

// steps is how many a pattern makes, at most, for each character that it looks at.
func steps(pattern string) int {
	parsed, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return 0 // it is refused anyway
	}
	prog, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return 0
	}
	return len(prog.Inst)
}

func (f *Faults) clock(setting, s string) int {
	n, err := quiet.ParseClock(s)
	if err != nil {
		f.add(setting, "must be a time of the day from 00:00 to 24:00")
	}
	return n
}

func (f *Faults) instant(setting string, s *string) time.Time {
	if s == nil {
		return time.Time{}
	}
	at, err := time.Parse(time.RFC3339Nano, *s)
	if err != nil || at.Year() < 1970 || at.Year() > 9999 {
		f.add(setting, "must be a time such as 2026-11-21T20:15:04Z (RFC 3339, with its offset)")
	}
	return at
}

// days are the bits of the days: bit 0 is Monday.
func (f *Faults) days(setting, s string) uint8 {
	list, err := quiet.ParseDays(s)
	if err != nil || len(list) == 0 {
		f.add(setting, "must be days such as mon-fri,sun")
		return 0
	}
	var bits uint8
	for _, d := range list {
		bits |= 1 << ((d + 6) % 7)
	}
	return bits
}

var dayNames = []string{"mon", "tue", "wed", "thu", "fri", "sat", "sun"}

// daysText writes the days of the week, 0 being all, with runs of three and more as
// first-last.
func daysText(bits uint8) string {
	if bits == 0 {
		return allDays
	}
	var out []string
	for i := 0; i < len(dayNames); i++ {
		if bits&(1<<i) == 0 {
			continue
		}
		last := i
		for last+1 < len(dayNames) && bits&(1<<(last+1)) != 0 {
			last++
		}
		if last-i >= 2 {
			out = append(out, dayNames[i]+"-"+dayNames[last])
			i = last
		} else {
			out = append(out, dayNames[i])
		}
	}
	return strings.Join(out, ",")
}

func clock(minutes int) string { return fmt.Sprintf("%02d:%02d", minutes/60, minutes%60) }
