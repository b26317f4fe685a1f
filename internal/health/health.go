// Package health says how well vendors do their work, from what all processes see of
// them together: answers, receipts, and links. Every process counts what it sees
// (Meter), reads back what all have counted, and judges it by the same limits (Board),
// so all come to the same within seconds.
//
// The rule not to break: health orders the candidates of a route and never removes one.
// A judgement may be wrong, and a message that has only one way takes it.
package health

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// Limits are what vendors are judged by. The zero value of a field means its default.
type Limits struct {
	// Bucket is the time that one sample counts. All processes have the same.
	Bucket time.Duration // default 10 s
	// Window is how far back answers are looked at; fewer than Answers in it say nothing.
	Window  time.Duration // default 1 min
	Answers int           // default 20
	// Degraded and Down are shares of the answers that tell of trouble, or did not come.
	Degraded float64 // default 0.2
	Down     float64 // default 0.6
	// Latency is the mean time of an answer above which a vendor is degraded.
	Latency time.Duration // default 10 s
	// Unbound is how long no process may have a live link before it is down.
	Unbound time.Duration // default 15 s
	// Good is how long a vendor must have looked well before it is better than it was.
	// It doubles each time that trouble is back within MostGood, up to MostGood: those
	// who look well again only because they get nothing to do are tried less and less.
	Good     time.Duration // default 2 min
	MostGood time.Duration // default 16 min
	// Receipts are judged when so many parts were accepted in ReceiptWindow, longer ago
	// than the vendor's ReceiptExpected.
	Receipts      int           // default 50
	ReceiptWindow time.Duration // default 5 min
	// Retry is how long after it was last seen so a vendor stays down for receipts
	// alone: nothing shows that they come again until it gets messages.
	Retry time.Duration // default 10 min
}

// mostExpected is the longest ReceiptExpected that is judged: samples are kept for an
// hour.
const mostExpected = 30 * time.Minute

// downReceipts is what part of ReceiptPercent a vendor must reach not to be down.
const downReceipts = 5

func (l Limits) filled() Limits {
	return Limits{
		Bucket: cmp.Or(l.Bucket, 10*time.Second),
		Window: cmp.Or(l.Window, time.Minute), Answers: cmp.Or(l.Answers, 20),
		Degraded: cmp.Or(l.Degraded, 0.2), Down: cmp.Or(l.Down, 0.6),
		Latency: cmp.Or(l.Latency, 10*time.Second), Unbound: cmp.Or(l.Unbound, 15*time.Second),
		Good: cmp.Or(l.Good, 2*time.Minute), MostGood: cmp.Or(l.MostGood, 16*time.Minute),
		Receipts: cmp.Or(l.Receipts, 50), ReceiptWindow: cmp.Or(l.ReceiptWindow, 5*time.Minute),
		Retry: cmp.Or(l.Retry, 10*time.Minute),
	}
}

// Verdict is what a vendor was judged to be, and from what.
type Verdict struct {
	Health message.VendorHealth
	Since  time.Time // of Health, as far as this process knows
	Why    string    // a sentence for staff; empty when healthy or unknown
	// Answers are the parts given to it within the window, ErrorRate the share of them
	// that tells of trouble or got no answer, 0-1.
	Answers   int
	ErrorRate float64
	Latency   time.Duration // of its links, the mean
	// Accepted are the parts that should have their receipts by now, Receipts those that
	// came since the first of them. Both are 0 for a vendor that is not judged by them.
	Accepted int
	Receipts int
	Bound    bool // some process has a live link
}

// Seen is what is known of a vendor at one moment.
type Seen struct {
	Samples []message.VendorSample // of all processes together, by time
	Bound   bool                   // some process has a live link
	Served  bool                   // some process has a link, live or not
	Latency time.Duration          // of the live links, the mean
	// The vendor's own row.
	ReceiptPercent  int
	ReceiptExpected time.Duration
}

// Judge keeps the judgement of one vendor. The zero value knows nothing of it. It is
// not safe for concurrent use.
type Judge struct {
	health  message.VendorHealth
	since   time.Time
	why     string
	whyDown string

	downUntil, badUntil time.Time
	hold                time.Duration // how long trouble counts after it was last seen
	wellSince           time.Time     // when trouble was over last; zero: there was none
	boundAt             time.Time     // when it was last seen bound, or since when it is looked at
	lookedAt            time.Time
	everBound           bool
}

// level is how bad something looks.
type level int

const (
	well level = iota
	degraded
	down
)

// sign is one thing that looks bad. It counts for hold after it was last seen: zero
// means as long as it lasts, and that it is degraded for the usual time after that.
type sign struct {
	level level
	why   string
	hold  time.Duration
}

// Look judges what is seen now. Calls must go forward in time.
func (j *Judge) Look(limits Limits, now time.Time, seen Seen) Verdict {
	l := limits.filled()
	v := Verdict{Latency: seen.Latency, Bound: seen.Bound}
	signs := []sign{l.answers(now, seen, &v), l.receipts(now, seen, &v), j.binds(l, now, seen)}
	if !j.ill() && slices.ContainsFunc(signs, func(s sign) bool { return s.level > well }) {
		j.relapse(l, now)
	}
	for _, s := range signs {
		j.note(now, s)
	}
	is, why := message.HealthHealthy, ""
	switch {
	case now.Before(j.downUntil):
		is, why = message.HealthDown, j.whyDown
	case now.Before(j.badUntil):
		is, why = message.HealthDegraded, j.why
	case !j.everBound && len(seen.Samples) == 0:
		is = message.HealthUnknown
	}
	if j.ill() && is == message.HealthHealthy {
		j.wellSince = now
	}
	if is != j.health {
		j.health, j.since = is, now
	}
	j.lookedAt = now
	v.Health, v.Since, v.Why = is, j.since, why
	return v
}

func (j *Judge) ill() bool {
	return j.health == message.HealthDegraded || j.health == message.HealthDown
}

// relapse says how long trouble will count that begins now.
func (j *Judge) relapse(l Limits, now time.Time) {
	if !j.wellSince.IsZero() && now.Sub(j.wellSince) < l.MostGood {
		j.hold = min(2*j.hold, l.MostGood)
	} else {
		j.hold = l.Good
	}
}

// note takes a sign in.
func (j *Judge) note(now time.Time, s sign) {
	if s.level == well {
		return
	}
	j.why = s.why
	if until := now.Add(max(j.hold, s.hold)); until.After(j.badUntil) {
		j.badUntil = until
	}
	if s.level < down {
		return
	}
	j.whyDown = s.why
	if until := now.Add(s.hold); until.After(j.downUntil) {
		j.downUntil = until
	}
}

// answers judges the answers within the window.
func (l Limits) answers(now time.Time, seen Seen, v *Verdict) sign {
	bad := 0
	for _, s := range between(seen.Samples, now.Add(-l.Window), now) {
		v.Answers += s.Accepted + s.Refused + s.Other + s.Silent
		bad += s.Refused + s.Silent
	}
	if v.Answers > 0 {
		v.ErrorRate = float64(bad) / float64(v.Answers)
	}
	if v.Answers < l.Answers {
		return sign{}
	}
	told := fmt.Sprintf("%d of %d parts met with trouble or silence", bad, v.Answers)
	switch {
	case v.ErrorRate >= l.Down:
		return sign{down, told, l.Good}
	case v.ErrorRate >= l.Degraded:
		return sign{degraded, told, 0}
	case seen.Latency >= l.Latency:
		return sign{degraded, fmt.Sprintf("answers take %v", seen.Latency.Round(100*time.Millisecond)), 0}
	}
	return sign{}
}

// receipts judges whether final receipts come for what was accepted. Those that came
// since the first of these parts are counted, so the later ones speak for the vendor
// too: that is slow to see a fall and never sees one where there is none, such as after
// a burst.
func (l Limits) receipts(now time.Time, seen Seen, v *Verdict) sign {
	if seen.ReceiptPercent <= 0 || seen.ReceiptExpected > mostExpected {
		return sign{}
	}
	end := now.Add(-seen.ReceiptExpected)
	begin := end.Add(-l.ReceiptWindow)
	for _, s := range between(seen.Samples, begin, end) {
		v.Accepted += s.Accepted
	}
	for _, s := range between(seen.Samples, begin, now) {
		v.Receipts += s.Receipts
	}
	if v.Accepted < l.Receipts {
		return sign{}
	}
	percent := float64(v.Receipts) / float64(v.Accepted) * 100
	told := fmt.Sprintf("%d receipts for %d parts that should have theirs", v.Receipts, v.Accepted)
	switch {
	case percent < float64(seen.ReceiptPercent)/downReceipts:
		return sign{down, told, l.Retry}
	case percent < float64(seen.ReceiptPercent):
		return sign{degraded, told, 0}
	}
	return sign{}
}

// binds judges whether the vendor can be reached at all.
func (j *Judge) binds(l Limits, now time.Time, seen Seen) sign {
	// Who could not look for a while does not know how long it was away.
	blind := now.Sub(j.lookedAt) >= l.Unbound
	if seen.Bound || blind {
		j.boundAt = now
		j.everBound = j.everBound || seen.Bound
		return sign{}
	}
	away := now.Sub(j.boundAt)
	if away < l.Unbound {
		return sign{}
	}
	why := "no process is connected to it"
	if !seen.Served {
		why = "no process has a link to it"
	}
	// It lasts for a moment more, so that the next look finds it lasting.
	return sign{down, why, time.Nanosecond}
}

// between gives the samples that began from begin on and before end.
func between(samples []message.VendorSample, begin, end time.Time) []message.VendorSample {
	i := 0
	for i < len(samples) && samples[i].At.Before(begin) {
		i++
	}
	k := i
	for k < len(samples) && samples[k].At.Before(end) {
		k++
	}
	return samples[i:k]
}
