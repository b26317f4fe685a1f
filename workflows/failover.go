package workflows

import (
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/postrider/postrider/activities/record"
	"github.com/postrider/postrider/activities/route"
	"github.com/postrider/postrider/activities/submit"
	"github.com/postrider/postrider/internal/message"
)

// Changes of the steps that messages under way must not see half-way: what began
// without one of them ends without it.
const (
	// versionFailover: budgets for throttling by class, vendors that go, listing the
	// vendors anew, and reasons that end the search.
	versionFailover = "failover"
	// versionReroute: staff may have a message routed anew.
	versionReroute = "reroute"
	// versionSmaller: who refuses the files is asked once more, with smaller ones.
	versionSmaller = "smaller"
	// versionFallBack: an MMS that all vendors have refused for its files may go as a text.
	versionFallBack = "fall_back"
)

// takenBack is the outcome of an offer that waited on a vendor's queue and was taken
// from it. No activity answers with it.
const takenBack submit.Outcome = "taken_back"

// search is the search for a vendor that takes the message.
type search struct {
	vendors []asked
	at      int           // whose turn it is; -1: nobody's
	last    submit.Result // what the message ends with when nobody takes it
	memory  map[message.ID]asked
	newer   bool // it began with versionFailover, as far as that has mattered

	listed time.Time // when the vendors were listed last
	listAt time.Time // they are not listed anew before
	lists  int       // how often they were listed anew

	offers int       // that were made in vain
	rest   time.Time // nobody is asked before
}

// asked is a candidate with what came of asking it.
type asked struct {
	route.Candidate
	refused bool           // for good
	gone    bool           // it goes: not to be asked until it is listed again
	inVain  bool           // asked since the vendors were listed
	tries   int            // answers that tell of trouble
	pauses  int            // answers that ask for a slower pace, or lost links
	paused  time.Duration  // all pauses for a slower pace
	waits   int            // offers in a row that nobody took from the queue
	next    time.Time      // not to be asked before; zero: at once
	profile string         // under which the record has the files made for it
	refusal *submit.Result // of the files: smaller ones are made since; nil: it has not refused them
}

func newSearch(candidates []route.Candidate, now time.Time) *search {
	s := &search{vendors: make([]asked, len(candidates)), memory: make(map[message.ID]asked), listed: now, listAt: now.Add(listEvery),
		last: submit.Result{Reason: message.ReasonVendorUnreachable, Detail: "no vendor could be reached within the validity"}}
	for i, c := range candidates {
		s.vendors[i].Candidate = c
	}
	if len(candidates) == 0 { // of a message that is offered again: another list may have some
		s.at, s.newer = -1, true
	}
	return s
}

// current is the vendor whose turn it is; nil when there is none to be asked.
func (s *search) current() *asked {
	if s.at < 0 {
		return nil
	}
	return &s.vendors[s.at]
}

// usable reports whether the vendor may be asked, if not now.
func (v *asked) usable() bool { return !v.refused && !v.gone }

// when is from when on the vendor may be asked.
func (s *search) when(v *asked) time.Time {
	if v.next.Before(s.rest) {
		return s.rest
	}
	return v.next
}

// tire notes an offer that was made in vain. After many of them there is a pause
// between any two, however many vendors there are, each with its own pauses: a history
// holds 51,200 events, and an offer makes a dozen.
func (s *search) tire(now time.Time) {
	if s.offers++; s.newer && s.offers >= manyOffers {
		s.rest = now.Add(offerEvery)
	}
}

// left counts the vendors that may be asked.
func (s *search) left() (n int) {
	for i := range s.vendors {
		if s.vendors[i].usable() {
			n++
		}
	}
	return n
}

// hopeful reports whether another list may bring a vendor, although this one has none
// left: some have gone, or there was none. Refusals alone are an answer.
func (s *search) hopeful() bool {
	gone := len(s.vendors) == 0
	for i := range s.vendors {
		gone = gone || s.vendors[i].gone && !s.vendors[i].refused
	}
	return s.newer && gone
}

// round reports whether all vendors were asked in vain since they were listed.
func (s *search) round() bool {
	for i := range s.vendors {
		if s.vendors[i].usable() && !s.vendors[i].inVain {
			return false
		}
	}
	return s.newer && (s.left() > 0 || s.hopeful())
}

// turn picks who is asked next: the next in the list that may be asked now, or else
// who may be asked soonest.
func (s *search) turn(now time.Time) {
	best := -1
	for i := range s.vendors {
		k := (s.at + 1 + i) % len(s.vendors)
		v := &s.vendors[k]
		if !v.usable() {
			continue
		}
		if !v.next.After(now) {
			s.at = k
			return
		}
		if best < 0 || v.next.Before(s.vendors[best].next) {
			best = k
		}
	}
	s.at = best
}

func (s *search) refuseAll() {
	for i := range s.vendors {
		s.vendors[i].refused = true
	}
}

// lose notes that a vendor goes. The next list comes sooner then, but no faster and
// faster: one that is listed although it goes would be asked for ever.
func (s *search) lose(v *asked) {
	v.gone = true
	if at := s.listed.Add(min(listAfterGone<<min(s.lists, 10), maxListEvery)); at.Before(s.listAt) {
		s.listAt = at
	}
}

// relist takes another list, best first, and keeps what is known of the vendors,
// unless it is to be forgotten.
func (s *search) relist(candidates []route.Candidate, now time.Time, forget bool) {
	for _, v := range s.vendors {
		s.memory[v.VendorID] = v
	}
	if forget {
		clear(s.memory)
		s.rest = time.Time{}
	}
	s.vendors = make([]asked, len(candidates))
	for i, c := range candidates {
		v, known := s.memory[c.VendorID]
		c.Here = c.Here && !known
		v.Candidate, v.inVain, v.gone = c, false, false
		s.vendors[i] = v
	}
	s.lists++
	s.listed, s.listAt = now, now.Add(min(listEvery<<min(s.lists, 10), maxListEvery))
	s.at = -1
	s.turn(now)
}

// look lists the vendors anew when all were asked in vain and it is time, or when
// staff want it. It reports true when the message has ended meanwhile.
func (o *outbound) look(ctx workflow.Context, s *search) (bool, error) {
	now := workflow.Now(ctx)
	if !o.rerouted && !(s.round() && !now.Before(s.listAt)) {
		return o.settleQueued(ctx, s)
	}
	// Who names a vendor knows more of it than what it said before.
	forget := o.rerouted
	o.rerouted = false
	r, err := o.choose(ctx, route.Input{Trail: o.trail, Record: true, Again: true}, "list the vendors anew")
	switch {
	case err != nil:
		return false, err
	case r.Revised:
		o.revised = true
		return false, nil
	case r.Status.Final():
		return true, o.ended(ctx, r.Status, r.Reason, r.Notify)
	}
	o.unrecorded, s.newer = false, true
	if len(r.Candidates) > 0 {
		o.resend.after = r.ResendAfter
	}
	s.relist(r.Candidates, workflow.Now(ctx), forget)
	return false, nil
}

// inVain notes what a vendor said that did not take the message, and whose turn it is
// now.
func (o *outbound) inVain(ctx workflow.Context, s *search, v *asked, r submit.Result) {
	now, stay := workflow.Now(ctx), false
	switch {
	case r.Outcome == submit.Refused && o.shrinks(ctx, v, r):
		v.refusal, s.last, stay = &r, r, true
	case r.Outcome == submit.Refused:
		v.refused, s.last = true, r
		// What one vendor knows of the recipient or the message holds for all.
		if r.Reason == message.ReasonOptedOut || s.left() > 0 && !r.Reason.FailsOver() && o.failsOver(ctx) {
			s.refuseAll()
		}
	default:
		s.newer = s.newer || o.failsOver(ctx)
		if r.Gone && s.newer {
			s.lose(v)
			break
		}
		s.last = r
		alone := s.left() == 1
		budget := noBudget
		if s.newer {
			budget = throttleBudget(o.in.Class)
		}
		stay = v.busy(r, now, budget, alone)
		v.inVain = v.inVain || !stay || alone
	}
	s.tire(now)
	if !stay {
		s.turn(now)
	}
}

// failsOver reports whether the message began with versionFailover. It is asked only
// where that matters, for it costs a marker in the history.
func (o *outbound) failsOver(ctx workflow.Context) bool {
	return workflow.GetVersion(ctx, versionFailover, workflow.DefaultVersion, 1) > workflow.DefaultVersion
}

// noBudget stands for the budget of messages from before there were any.
const noBudget time.Duration = -1

// busy notes when the vendor may be asked again, and reports whether the message
// rather stays with it than goes on to the next. budget is how long all pauses for a
// slower pace may be before that, if it is not the only vendor.
func (v *asked) busy(r submit.Result, now time.Time, budget time.Duration, alone bool) (stay bool) {
	var pause time.Duration
	switch {
	case r.Decided:
		stay = true // the next run of the submit says so
	case r.Throttled:
		pause = max(r.RetryAfter, doubling(v.pauses))
		v.pauses++
		rest := budget - v.paused
		switch {
		case budget == noBudget:
			stay = v.pauses <= pausesBeforeNext
		case !alone && rest > 0 && r.RetryAfter <= rest:
			pause, stay = min(pause, rest), true
		}
		v.paused += pause
	case v.waits > 0: // it has waited enough
	case r.Reason == message.ReasonVendorUnreachable:
		pause = max(r.RetryAfter, doubling(v.pauses))
		v.pauses++
	default:
		pause = max(r.RetryAfter, busyDelays[min(v.tries, len(busyDelays)-1)])
		v.tries++
		stay = v.tries <= triesBeforeNext
	}
	v.next = now.Add(pause)
	return stay
}

// doubling is 1, 2, 4 … seconds, up to maxPause.
func doubling(n int) time.Duration {
	return min(time.Second<<min(n, 20), maxPause)
}

// pause waits until the vendor may be asked again, or the vendors are to be listed
// anew, or the validity ends; v is nil when there is none to be asked. It ends early
// when the message is withdrawn or to be routed anew, and when receipts decide it
// although parts are still waiting: the next run of the submit says so. It reports
// whether the vendor may be asked now.
func (o *outbound) pause(ctx workflow.Context, s *search, v *asked) (bool, error) {
	until, what, why := o.in.ExpiresAt, "a vendor", "wait for a vendor"
	if v != nil {
		what, why = "the next turn of vendor "+v.Name, "pause before asking "+v.Name+" again"
		if at := s.when(v); at.Before(until) {
			until = at
		}
	}
	if s.round() && s.listAt.Before(until) {
		until = s.listAt
	}
	if d := until.Sub(workflow.Now(ctx)); d > 0 {
		o.enter(ctx, "submit", what, until)
		_, err := workflow.AwaitWithOptions(ctx, workflow.AwaitOptions{Timeout: d, TimerOptions: workflow.TimerOptions{Summary: why}},
			func() bool { return o.canceled || o.decided || o.rerouted })
		if err != nil {
			return false, err
		}
	}
	return v != nil && !o.rerouted && (o.decided || !s.when(v).After(workflow.Now(ctx))), nil
}

// settleQueued records what receipts have decided while parts wait and there is no
// vendor whose turn it is: else the next run of the submit does. It reports true when
// the message has ended.
func (o *outbound) settleQueued(ctx workflow.Context, s *search) (bool, error) {
	if !o.decided || s.current() != nil || !s.hopeful() {
		return false, nil
	}
	o.decided = false
	r, err := o.record(ctx, record.Input{Told: true}, "record the outcome")
	return r.Status.Final(), err
}

// hearReroute notes that staff want the message routed anew: it is then taken from
// the queue, or out of the pause, in which it waits. Once its submit is under way the
// answer counts.
func (o *outbound) hearReroute(ctx workflow.Context) {
	if workflow.GetVersion(ctx, versionReroute, workflow.DefaultVersion, 1) > workflow.DefaultVersion {
		o.rerouted = true
	}
}

// submitUnless submits over the vendor's queue, and takes the message from it when
// recall says so: takenBack then. If a process has it already, its answer is waited
// for and counts.
func (o *outbound) submitUnless(ctx workflow.Context, in submit.Input, wait, long time.Duration, recall func() bool) (submit.Result, error) {
	var r submit.Result
	offer, takeBack := workflow.WithCancel(ctx)
	f := workflow.ExecuteActivity(submitOptions(offer, in.Vendor.Name, o.in.Class, o.in.AccountID, wait, long), submitting.Submit, in)
	if err := workflow.Await(ctx, func() bool { return f.IsReady() || recall() }); err != nil {
		return r, err
	}
	if f.IsReady() {
		return r, f.Get(ctx, &r)
	}
	takeBack()
	if err := workflow.Await(ctx, f.IsReady); err != nil {
		return r, err
	}
	err := f.Get(ctx, &r)
	if temporal.IsCanceledError(err) {
		return submit.Result{Outcome: takenBack}, nil
	}
	return r, err
}
