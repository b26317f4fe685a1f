package pace

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// plan is where a demand would go.
type plan struct {
	limits  []Limit
	room    []int // of each limit, for this demand
	slot    Slot
	day     string // of its second
	passed  []full // days that had no room
	rounded bool   // the slot is later than what was asked for because of its clock alone
	refusal *message.Error
}

// full is a day of a limit that had no room.
type full struct {
	limit Limit
	day   string
}

// plan looks for the place of a demand and changes nothing.
func (b *Book) plan(d Demand) (plan, error) {
	p := plan{limits: limitsOf(d.Limits), slot: Slot{At: d.NotBefore, Parts: max(d.Parts, 1), Limits: d.Limits}}
	if len(p.limits) == 0 {
		return p, nil
	}
	for _, lim := range p.limits {
		p.room = append(p.room, d.Room(lim))
		if lim.Window == PacificDay && p.slot.Parts > lim.Parts {
			p.refuse(RuleDailyCap, message.Refuse(message.ReasonDailyCapReached, "the message has %s parts, more than %s may send in a whole day (%s)",
				number(p.slot.Parts), lim.Name, number(lim.Parts)))
			return p, nil
		}
	}
	first := b.first(d.NotBefore)
	t, decides, err := b.search(&p, first, d.Instead)
	if err != nil {
		return plan{}, err
	}
	p.slot.Second, p.day = t, DayOf(time.Unix(t, 0))
	p.slot.At = time.Unix(t, 0).UTC()
	if decides < 0 {
		p.atOnce(d.NotBefore, first > b.now.Unix())
	}
	b.explain(&p, decides, d.Instead)
	if decides >= 0 && !d.NotAfter.IsZero() && p.slot.At.After(d.NotAfter) {
		p.refuse(p.slot.Hold.Rule, message.Refuse(message.ReasonDailyCapReached, "%s; the message is valid until %s only", p.slot.Hold.Detail, stamp(d.NotAfter)))
	}
	return p, nil
}

// first is the second at which the search begins: the one that it is now, also for
// a process whose clock is a little ahead; else the first whole one.
func (b *Book) first(wanted time.Time) int64 {
	if now := b.now.Unix(); !wanted.After(b.now.Add(2 * Skew)) {
		return now
	}
	return wanted.Add(time.Second - 1).Unix()
}

// atOnce sets the time of a slot that no limit keeps the message from. later: its
// second has not begun. When it has, a process whose clock is a little behind need
// not wait until it has by its own.
func (p *plan) atOnce(wanted time.Time, later bool) {
	if behind := p.slot.At.Sub(wanted); !later && behind > 0 && behind <= 2*Skew {
		p.slot.At = wanted.UTC()
	}
	if p.rounded = !wanted.IsZero() && p.slot.At.After(wanted); p.rounded {
		p.slot.Hold = message.Hold{Rule: rule(p.limits[0].Window), Until: p.slot.At, Detail: "a place begins with a whole second of the database's clock"}
	}
}

// refuse turns the plan into a refusal by a rule.
func (p *plan) refuse(rule string, why *message.Error) {
	p.refusal = why
	entry := message.TrailEntry{Rule: rule, Result: message.Refused, Detail: why.Detail}
	same := slices.IndexFunc(p.slot.Trail, func(e message.TrailEntry) bool { return e.Rule == rule })
	if same < 0 {
		p.slot.Trail = append(p.slot.Trail, entry)
		return
	}
	p.slot.Trail[same] = entry
}

func rule(w Window) string {
	if w == Minute {
		return RuleRate
	}
	return RuleDailyCap
}

// search is the first second from t on that every limit allows, and which of them
// keeps the demand longest, -1 for none. Each limit says where it has room next,
// and none has room before that: what all agree on is the earliest.
func (b *Book) search(p *plan, t int64, before *Slot) (second int64, decides int, err error) {
	moved := make([]int64, len(p.limits))
	for settled := false; !settled; {
		settled = true
		for i, lim := range p.limits {
			l, next := b.Line(lim.Key), t
			if lim.Window == Minute {
				if next, err = l.inMinute(p.room[i], p.slot.Parts, t); err != nil {
					return 0, 0, err
				}
			} else {
				next = l.inDay(max(p.room[i], p.slot.Parts), p.slot.Parts, t, before, func(day string) { p.passed = append(p.passed, full{lim, day}) })
			}
			if next > t {
				moved[i] += next - t
				t, settled = next, false
			}
		}
	}
	decides = -1
	for i, m := range moved {
		if m > 0 && (decides < 0 || m > moved[decides]) {
			decides = i
		}
	}
	return t, decides, nil
}

// explain writes the trail and the hold of a plan.
func (b *Book) explain(p *plan, decides int, before *Slot) {
	for _, w := range []Window{Minute, PacificDay} {
		entry := message.TrailEntry{Rule: rule(w), Result: message.Pass}
		var details []string
		for i, lim := range p.limits {
			if lim.Window != w {
				continue
			}
			if i != decides {
				details = append(details, b.taken(p, lim, before))
				continue
			}
			p.slot.Hold = message.Hold{Rule: rule(w), Until: p.slot.At, Detail: b.why(p, lim)}
			entry.Result = message.Holding
			details = append(details, p.slot.Hold.Detail)
		}
		if entry.Detail = strings.Join(details, "; "); entry.Detail != "" {
			p.slot.Trail = append(p.slot.Trail, entry)
		}
	}
}

// taken says how much of a limit is taken with the message.
func (b *Book) taken(p *plan, lim Limit, before *Slot) string {
	l := b.Line(lim.Key)
	if lim.Window == PacificDay {
		used := -before.counted(lim.Key, p.day)
		if d := l.days[p.day]; d != nil {
			used += d.Used
		}
		if lim.Parts == unbounded {
			return fmt.Sprintf("%s: part %s on %s in Los Angeles, without a cap", lim.Name, number(used+p.slot.Parts), p.day)
		}
		return fmt.Sprintf("%s: part %s of %s on %s in Los Angeles", lim.Name, number(used+p.slot.Parts), number(lim.Parts), p.day)
	}
	sum := p.slot.Parts
	for _, s := range l.Seconds {
		if s.At > p.slot.Second-Span && s.At <= p.slot.Second {
			sum += s.Parts
		}
	}
	return fmt.Sprintf("%s: part %s of %s in the minute", lim.Name, number(sum), number(lim.Parts))
}

// why says why a limit makes the message wait, and until when.
func (b *Book) why(p *plan, lim Limit) string {
	at := stamp(p.slot.At)
	if lim.Window == Minute {
		return fmt.Sprintf("%s may send %s parts a minute, and all until %s are given to messages before this one", lim.Name, number(lim.Parts), at)
	}
	for _, f := range p.passed {
		if d := b.Line(lim.Key).days[f.day]; f.limit.Key == lim.Key && d != nil {
			if d.Closed {
				return fmt.Sprintf("the carrier takes no more of %s on %s in Los Angeles; there is room at %s", lim.Name, f.day, at)
			}
			return fmt.Sprintf("%s has given out %s of its %s parts of %s in Los Angeles; there is room for %s more at %s",
				lim.Name, number(d.Used), number(lim.Parts), f.day, number(p.slot.Parts), at)
		}
	}
	return fmt.Sprintf("the day of %s in Los Angeles ends in this moment; the next begins for it at %s", lim.Name, at)
}

func stamp(t time.Time) string { return t.UTC().Truncate(time.Second).Format(time.RFC3339) }

// number writes n with its thousands apart.
func number(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
