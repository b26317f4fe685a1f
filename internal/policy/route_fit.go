package policy

import (
	"fmt"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// providerSMPP is the provider_type of the vendors that take octets as they are.
const providerSMPP = "smpp"

// providerMM4 is the provider_type of the vendors that take MMS and nothing else.
const providerMM4 = "mm4"

// submitMM4 is how long a submit over MM4 may take: two dialogues of 12 min and two waits of 20 min for the
// answer, which is a mail of its own (see edges/vendors/mm4).
const submitMM4 = 70 * time.Minute

// SubmitTime is how long one submit to the vendor may take; 0: no longer than usual, which
// is two minutes.
func SubmitTime(v *snapshot.Vendor) time.Duration {
	if v.ProviderType == providerMM4 {
		return submitMM4
	}
	return 0
}

// leastCost is the selection of routes that goes by what vendors cost.
const leastCost = "least_cost"

// loss is why a route does not lead a message to its vendor.
type loss int

// What may be in the way: of the route, then of the vendor, then of others.
const (
	fits loss = iota
	lostAccount
	lostKind
	lostClass
	lostCapability
	lostEarly
	lostLate
	lostDay
	lostHour
	lostDest
	lostSource
	lostGone
	lostInactive
	lostDraining
	lostReceives
	lostAlphanumeric
	lostUnicode
	lostMMS
	lostOctets
	lostText
	lostElsewhere
	lostCost
	lostInside
)

// mismatch looks at whether a route is for the message at that time.
func mismatch(r *snapshot.Route, m *message.Message, now time.Time) loss {
	switch {
	case r.AccountID != (message.ID{}) && r.AccountID != m.AccountID:
		return lostAccount
	case r.MessageType != "" && r.MessageType != m.Kind:
		return lostKind
	case r.Class != "" && r.Class != m.Class:
		return lostClass
	case r.Capability != "" && !has(m, r.Capability):
		return lostCapability
	case !r.EffectiveFrom.IsZero() && now.Before(r.EffectiveFrom):
		return lostEarly
	case !r.EffectiveUntil.IsZero() && !now.Before(r.EffectiveUntil):
		return lostLate
	}
	if why := closed(r, now); why != fits {
		return why
	}
	switch {
	case r.DestPattern != nil && !r.DestPattern.MatchString(m.To.Digits()):
		return lostDest
	case r.SourcePattern != nil && !r.SourcePattern.MatchString(m.From.Digits()):
		return lostSource
	}
	return fits
}

// The capabilities that a route may be for.
const (
	capUnicode      = "unicode"
	capAlphanumeric = "alphanumeric"
	capMMS          = "mms"
	capBinary       = "binary"
	capLong         = "long"
)

// has reports whether the message asks for a capability. One that is not known no
// message asks for.
func has(m *message.Message, capability string) bool {
	switch capability {
	case capUnicode:
		return m.Encoding == message.EncodingUCS2
	case capAlphanumeric:
		return m.From.Kind() == message.Alphanumeric
	case capMMS:
		return m.Kind == message.MMS
	case capBinary:
		return m.SMPPOnly()
	case capLong:
		return m.Segments > 1
	}
	return false
}

// allDays has a bit for each day, Monday first; a route without any is for all.
const allDays = 127

// closed looks at the days and hours of a route, by the clocks of its zone. Hours
// that go over midnight belong to the day on which they begin.
func closed(r *snapshot.Route, now time.Time) loss {
	days := r.Days & allDays
	if days == 0 {
		days = allDays
	}
	if days == allDays && r.FromMinute == r.UntilMinute {
		return fits
	}
	zone := r.Zone
	if zone == nil {
		zone = time.UTC
	}
	local := now.In(zone)
	day, minute := local.Weekday(), local.Hour()*60+local.Minute()
	open := true
	switch {
	case r.FromMinute < r.UntilMinute:
		open = minute >= r.FromMinute && minute < r.UntilMinute
	case r.FromMinute > r.UntilMinute && minute < r.UntilMinute:
		day = (day + 6) % 7 // it began yesterday
	case r.FromMinute > r.UntilMinute:
		open = minute >= r.FromMinute
	}
	switch {
	case !open:
		return lostHour
	case days>>((day+6)%7)&1 == 0:
		return lostDay
	}
	return fits
}

// unfit looks at whether the vendor of a route can take the message for what the
// route allows.
func unfit(s *snapshot.Snapshot, r *snapshot.Route, v *snapshot.Vendor, m *message.Message) loss {
	if why := usable(s, v, m); why != fits {
		return why
	}
	if r.MaxCost > 0 && costOf(v, m) > r.MaxCost {
		return lostCost
	}
	return fits
}

// usable looks at whether a vendor can take the message at all; nil: there is none.
func usable(s *snapshot.Snapshot, v *snapshot.Vendor, m *message.Message) loss {
	switch {
	case v == nil:
		return lostGone
	case !v.Active:
		return lostInactive
	case v.Draining:
		return lostDraining
	case v.BindType == "receiver":
		return lostReceives
	case m.From.Kind() == message.Alphanumeric && !v.SupportsAlphanumeric:
		return lostAlphanumeric
	case m.Kind != message.MMS && m.Encoding == message.EncodingUCS2 && !v.SupportsUnicode: // the text of an MMS is a file
		return lostUnicode
	case m.Kind == message.MMS && (!v.SupportsMMS || v.ProviderType == providerSMPP): // SMPP carries no files, whatever its row says
		return lostMMS
	case m.SMPPOnly() && v.ProviderType != providerSMPP:
		return lostOctets
	case m.Kind != message.MMS && v.ProviderType == providerMM4:
		return lostText
	case v.ProviderType == message.ProviderInternal && !ours(s, m):
		return lostElsewhere
	}
	return fits
}

// text says what a loss is, in words that name the values that decided but for
// numbers of people.
func (l loss) text(r *snapshot.Route, v *snapshot.Vendor, m *message.Message, now time.Time) string {
	switch l {
	case lostAccount:
		return fmt.Sprintf("it is for account %s", r.AccountID)
	case lostKind:
		return fmt.Sprintf("it is for %s", strings.ToUpper(string(r.MessageType)))
	case lostClass:
		return fmt.Sprintf("it is for the class %s, and the message is %s", r.Class, m.Class)
	case lostCapability:
		return fmt.Sprintf("it is for messages that need %s", r.Capability)
	case lostEarly:
		return "it is in force from " + r.EffectiveFrom.UTC().Format(time.RFC3339)
	case lostLate:
		return "it was in force until " + r.EffectiveUntil.UTC().Format(time.RFC3339)
	case lostDay:
		return fmt.Sprintf("it is for other days than that of %s", clockOf(r, now))
	case lostHour:
		return fmt.Sprintf("it is open from %s to %s, and it is %s", hour(r.FromMinute), hour(r.UntilMinute), clockOf(r, now))
	case lostDest:
		return fmt.Sprintf("destination pattern %s does not match", r.DestPattern)
	case lostSource:
		return fmt.Sprintf("source pattern %s does not match", r.SourcePattern)
	case lostGone:
		return fmt.Sprintf("there is no vendor %s", r.VendorID)
	case lostCost:
		return fmt.Sprintf("vendor %s costs %s a part, and the route allows %s", v.Name, costOf(v, m), r.MaxCost)
	case lostInside:
		return "routes do not lead to vendor " + v.Name + ": what is delivered inside goes there by its recipient, where the account allows it"
	}
	return l.ofVendor(v)
}

// ofVendor says what is in the way of a vendor.
func (l loss) ofVendor(v *snapshot.Vendor) string {
	switch l {
	case lostGone:
		return "there is no such vendor"
	case lostInactive:
		return "vendor " + v.Name + " is not active"
	case lostDraining:
		return "vendor " + v.Name + " is being drained"
	case lostReceives:
		return "vendor " + v.Name + " is bound as a receiver"
	case lostAlphanumeric:
		return "vendor " + v.Name + " takes no alphanumeric senders"
	case lostUnicode:
		return "vendor " + v.Name + " takes no characters beyond the GSM alphabet"
	case lostMMS:
		return "vendor " + v.Name + " takes no MMS"
	case lostOctets:
		return "vendor " + v.Name + " takes no binary messages and user data headers"
	case lostText:
		return "vendor " + v.Name + " takes MMS only"
	case lostElsewhere:
		return "the recipient is no enabled number of ours, and vendor " + v.Name + " reaches no other"
	}
	return ""
}

// clockOf is the time by the clocks of the route.
func clockOf(r *snapshot.Route, now time.Time) string {
	zone := r.Zone
	if zone == nil {
		zone = time.UTC
	}
	return now.In(zone).Format("Mon 15:04 MST")
}

func hour(minute int) string { return fmt.Sprintf("%02d:%02d", minute/60, minute%60) }
