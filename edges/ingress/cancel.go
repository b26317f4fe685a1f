package ingress

import (
	"context"
	"time"

	"github.com/postrider/postrider/activities/record"
	"github.com/postrider/postrider/internal/message"
)

// cancelTimeout is how long a workflow may take to withdraw its message before the
// record is asked instead: longer than one workflow task with a customer's slow
// webhook in it, and well below what an ESME waits for its answer.
const cancelTimeout = 6 * time.Second

// awayFor is how long Temporal is not asked to withdraw anything after it did not
// answer: one request may withdraw hundreds of messages, and must not wait for each.
const awayFor = 5 * time.Second

// Cancel withdraws a message; one that is withdrawn already counts as done.
// ReasonConflict when it is too late, ReasonNotFound when there is no such message.
// The caller has checked whose message it is.
//
// The workflow does it, which then ends. Where there is none (Temporal is away, or
// the message has not had its turn yet), or it does not answer, the record alone
// decides: it is what every step asks before it takes the message on. A workflow
// that begins or goes on afterwards finds the message at its end, and says so.
func (in *Ingress) Cancel(ctx context.Context, id message.ID) error {
	answered, there, err := in.cancelWorkflow(ctx, id)
	if answered {
		return err
	}
	if m, err := in.Journal.Message(ctx, id); err == nil && m.Direction == message.Inbound {
		return message.Refuse(message.ReasonConflict, "what came from a handset cannot be withdrawn")
	}
	r, err := in.Outcome(ctx, record.Input{MessageID: id, To: message.StatusCanceled, Reason: message.ReasonCanceled})
	switch {
	case err != nil:
		return err
	case r.Status != message.StatusCanceled:
		return message.Refuse(message.ReasonConflict, "it is too late to withdraw the message: it is %s", r.Status)
	}
	if there {
		if err := in.post(ctx, "withdrawn", r.Notify); err != nil {
			in.Log.Debug("customer not told of a withdrawal, the sweep will", "message_id", id, "error", err)
		}
	}
	return nil
}

// cancelWorkflow asks the workflow to withdraw its message, and reports whether it
// has answered. There says that Temporal did, if not the workflow.
func (in *Ingress) cancelWorkflow(ctx context.Context, id message.ID) (answered, there bool, err error) {
	// More than awayFor is left only when the clock was set back.
	if left := time.Duration(in.away.Load() - in.Now().UnixNano()); left > 0 && left <= awayFor {
		return false, false, nil
	}
	short, cancel := context.WithTimeout(ctx, cancelTimeout)
	defer cancel()
	err = in.Temporal.Cancel(short, id)
	switch message.ReasonOf(err) {
	case "", message.ReasonConflict:
		return true, true, err
	case message.ReasonNotFound:
		return false, true, nil
	}
	in.away.Store(in.Now().Add(awayFor).UnixNano())
	in.Log.Debug("workflow not asked to withdraw its message, the record decides", "message_id", id, "error", err)
	return false, false, nil
}
