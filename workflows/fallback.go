package workflows

import (
	"go.temporal.io/sdk/workflow"

	"github.com/postrider/postrider/activities/admit"
	"github.com/postrider/postrider/activities/route"
	"github.com/postrider/postrider/activities/submit"
	"github.com/postrider/postrider/internal/message"
)

// fallBack has an MMS go as a text with links, if all vendors have refused it for its files
// and its account wants that; fell: it does, and is offered as any SMS is. A message of
// which a vendor may have something stays what it is.
//
// The text is admitted as one that comes in now: what holds for an SMS, and did not for an
// MMS, may still refuse it or have it wait.
func (o *outbound) fallBack(ctx workflow.Context, last submit.Result) (ended, fell bool, err error) {
	if o.in.Kind != message.MMS || last.Reason != message.ReasonMediaRejected || o.departed || !workflow.Now(ctx).Before(o.in.ExpiresAt) ||
		workflow.GetVersion(ctx, versionFallBack, workflow.DefaultVersion, 1) == workflow.DefaultVersion {
		return false, false, nil
	}
	in := route.FallBackInput{MessageID: o.in.MessageID, Revision: o.revision, Reason: last.Reason}
	if err = workflow.ExecuteLocalActivity(recordOptions(ctx, "send it as a text with links, if it may"), routing.FallBackToText, in).Get(ctx, &fell); err != nil || !fell {
		return false, false, err
	}
	o.in.Kind, o.again = "", true
	o.release(ctx)
	// Held: whatever it has to wait for now the admission notes itself.
	r, err := o.decide(ctx, admit.Input{Held: &message.Hold{}}, "check the policy of the text")
	if err != nil {
		return false, true, err
	}
	if !r.Allowed {
		return true, true, o.ended(ctx, r.Status, r.Reason, r.Notify)
	}
	o.revision = r.Revision
	ended, err = o.queuedAgain(ctx, r.Hold)
	return ended, true, err
}
