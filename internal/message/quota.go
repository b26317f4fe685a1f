package message

import "time"

// Period is what a usage limit counts over.
type Period string

// The periods, shortest first.
const (
	PeriodMinute Period = "minute"
	PeriodDay    Period = "day"
	PeriodMonth  Period = "month"
)

// Periods lists every period once.
func Periods() []Period { return []Period{PeriodMinute, PeriodDay, PeriodMonth} }

// Valid reports whether p is one of the constants.
func (p Period) Valid() bool { return p == PeriodMinute || p == PeriodDay || p == PeriodMonth }

// Span is the period that at lies in: from start, until before end. Days and months
// are those of the time zone, as long or short as its changes of the clock make
// them; one ends where the next begins.
func (p Period) Span(at time.Time, zone *time.Location) (start, end time.Time) {
	if p != PeriodDay && p != PeriodMonth {
		start = at.UTC().Truncate(time.Minute)
		return start, start.Add(time.Minute)
	}
	y, m, d := at.In(zone).Date()
	begin := func(n int) time.Time { // of the n-th period from now
		if p == PeriodMonth {
			return midnight(y, m+time.Month(n), 1, zone)
		}
		return midnight(y, m, d+n, zone)
	}
	// A clock that is put back over midnight shows a date twice: the moment, not the
	// date, says which period it is.
	n := 0
	for at.Before(begin(n)) {
		n--
	}
	for !at.Before(begin(n + 1)) {
		n++
	}
	return begin(n).UTC(), begin(n + 1).UTC()
}

// midnight is the first moment of a day: 01:00 where the clock is put forward at
// midnight.
func midnight(y int, m time.Month, d int, zone *time.Location) time.Time {
	t := time.Date(y, m, d, 0, 0, 0, 0, zone)
	if h, min, s := t.Clock(); h >= 12 { // there is no midnight, and this is as long before it as the clock was put forward
		t = t.Add(24*time.Hour - time.Duration(h)*time.Hour - time.Duration(min)*time.Minute - time.Duration(s)*time.Second)
	}
	return t
}

// UsageLimit is how many parts may be sent in a period of the account's time zone.
// Several hold together.
type UsageLimit struct {
	AccountID ID
	Number    Address // only from this one; empty: from all of the account's together
	Kind      Kind
	Period    Period
	Parts     int64
}

// Usage is a limit with what is taken of it in the period that is now.
type Usage struct {
	UsageLimit
	Used     int64
	ResetsAt time.Time
}

// Balance is the money of an account.
type Balance struct {
	Prepaid  bool   // messages are charged, and refused when there is not enough
	Amount   Micros // without what is reserved: Amount - Reserved may be spent
	Reserved Micros // for messages on their way
	Currency string // empty: nothing was ever booked
}

// EntryKind is why an entry is in the ledger.
type EntryKind string

// The kinds of entries.
const (
	EntryCredit     EntryKind = "credit"     // the customer has paid
	EntryCharge     EntryKind = "charge"     // a message was sent
	EntryRefund     EntryKind = "refund"     // something is given back
	EntryAdjustment EntryKind = "adjustment" // staff set something right
)

// BalanceEntry is a line of an account's ledger.
type BalanceEntry struct {
	ID        ID
	Sequence  int64 // orders an account's entries
	AccountID ID
	Kind      EntryKind
	Amount    Micros // signed: charges are negative
	Currency  string
	MessageID ID // zero: of none
	After     Micros
	Actor     string // who booked it; empty: the gateway
	Reason    string
	Reference string // of a payment: no two entries of an account have the same; empty: none
	At        time.Time
}

// Fit is whether a message fits into its account's limits and balance.
type Fit struct {
	Trail   []TrailEntry // of the rules quota and balance, those that were looked at
	Refused *Error       // nil: it fits
}

// Names of the rules that are decided where their counters are.
const (
	RuleQuota   = "quota"
	RuleBalance = "balance"
)

// In is the trail with the entries of the fit, which stand before those of the daily
// cap and of the route.
func (f Fit) In(trail []TrailEntry) []TrailEntry {
	at := len(trail)
	for at > 0 && (trail[at-1].Rule == "route" || trail[at-1].Rule == "daily_cap") {
		at--
	}
	out := make([]TrailEntry, 0, len(trail)+len(f.Trail))
	return append(append(append(out, trail[:at]...), f.Trail...), trail[at:]...)
}
