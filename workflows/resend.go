package workflows

import (
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/postrider/postrider/activities/route"
	"github.com/postrider/postrider/activities/submit"
	"github.com/postrider/postrider/internal/message"
)

// resend is giving a message that a vendor has, or may have, to another one when no
// receipt comes: a password is worth more twice than late. Only what an account wants
// sent at least once is, and only if it asks for it.
type resend struct {
	after  time.Duration       // without a final receipt; 0: never
	took   time.Time           // when a vendor took it, or may have, the last time; zero: none has
	given  map[message.ID]bool // vendors that are not to be given it again
	pause  time.Time           // not before; after all were asked in vain
	rounds int                 // in vain, since one took it
	offers int                 // to others than the first, in all
}

// gave notes that the vendor has it, or may have.
func (r *resend) gave(vendor message.ID, now time.Time) {
	r.spare(vendor)
	r.took, r.pause, r.rounds = now, time.Time{}, 0
}

// spare notes that the vendor is not to be asked again.
func (r *resend) spare(vendor message.ID) {
	if r.given == nil {
		r.given = make(map[message.ID]bool)
	}
	r.given[vendor] = true
}

// due is when the next vendor is to be asked; false: none is before the end.
func (r *resend) due(end time.Time) (time.Time, bool) {
	at := r.took.Add(r.after)
	if at.Before(r.pause) {
		at = r.pause
	}
	return at, r.after > 0 && !r.took.IsZero() && at.Before(end)
}

// inVain puts the next round off, for longer each time.
func (r *resend) inVain(now time.Time) {
	r.pause = now.Add(min(max(r.after, listEvery)<<min(r.rounds, 10), maxListEvery))
	r.rounds++
}

// sendAgain offers the message to the vendors that do not have it yet, in turn, until
// one takes it or receipts decide it. What one of them says does not undo what the
// first one has said. It reports true when the message has ended.
func (o *outbound) sendAgain(ctx workflow.Context) (bool, error) {
	list, err := o.choose(ctx, route.Input{Trail: o.trail, Record: true, Again: true}, "list the vendors anew")
	if err != nil {
		return false, err
	}
	if list.Status.Final() {
		return true, o.ended(ctx, list.Status, list.Reason, list.Notify)
	}
	o.resend.after = list.ResendAfter
	left := 0
	for _, c := range list.Candidates {
		if o.resend.after == 0 || o.decided {
			break
		}
		if o.resend.offers == manyOffers { // nobody waits for it any more
			o.resend.after = 0
			break
		}
		if o.resend.given[c.VendorID] {
			continue
		}
		o.resend.offers++
		r, err := o.offerAgain(ctx, c)
		if err != nil {
			return false, err
		}
		switch r.Outcome {
		case submit.Sent, submit.InDoubt:
			return o.took(ctx, c, r)
		case submit.Refused:
			o.resend.spare(c.VendorID)
			if !r.Reason.FailsOver() {
				o.resend.after = 0
			}
		case submit.Busy, takenBack:
			left++
			o.decided = o.decided || r.Decided
		case submit.Ended:
			return true, o.ended(ctx, r.Status, r.Reason, r.Notify)
		default: // receipts are coming in, or it is not to be sent again
			o.resend.after = 0
			o.decided = o.decided || r.Decided
		}
	}
	if o.decided {
		return false, nil
	}
	if left == 0 { // the others have it, or do not want it
		o.resend.after = 0
	}
	o.resend.inVain(workflow.Now(ctx))
	return false, nil
}

// took goes on from the yes of another vendor, or its silence: then the message stays
// what the first one has made of it.
func (o *outbound) took(ctx workflow.Context, c route.Candidate, r submit.Result) (bool, error) {
	if err := o.turnTo(ctx, c.Name); err != nil {
		return false, err
	}
	if r.Outcome == submit.InDoubt && o.state.Status == message.StatusSent {
		r.Outcome = submit.Sent
	}
	return o.submitted(ctx, c, r)
}

// offerAgain asks one vendor once, over its queue, for as long as no receipt comes.
func (o *outbound) offerAgain(ctx workflow.Context, c route.Candidate) (submit.Result, error) {
	wait := min(noBindTimeout, o.in.ExpiresAt.Sub(workflow.Now(ctx)))
	if wait <= 0 {
		return submit.Result{Outcome: submit.Busy, Reason: message.ReasonExpired}, nil
	}
	v := &asked{Candidate: c}
	if r, ready, err := o.prepare(ctx, v); !ready || err != nil {
		return r, err
	}
	o.enter(ctx, string(o.state.Status), "vendor "+c.Name+", which is asked because no receipt has come", o.in.ExpiresAt)
	in := submit.Input{MessageID: o.in.MessageID, Vendor: message.VendorRef{ID: c.VendorID, Name: c.Name}, Revision: o.revision, Resend: true, Profile: v.profile}
	return o.submitThere(ctx, in, v, wait)
}
