package ingress

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/policy"
)

// RedriveRecord is what the actions of re-drives need of the record.
type RedriveRecord interface {
	// WholeMessage reads a message with its parts, files and what it waits for.
	WholeMessage(ctx context.Context, id message.ID) (*message.Message, error)
	// Events reads a timeline, oldest first, from after a sequence number.
	Events(ctx context.Context, id message.ID, after, limit int) ([]message.Event, error)
	// Review records a verdict; ReasonConflict when the message does not wait for one.
	Review(ctx context.Context, by message.Actor, id message.ID, verdict message.Verdict, reason string) error
}

// Redrives does to each message of a re-drive what staff could do to it. All fields must
// be set.
type Redrives struct {
	In     *Ingress
	Record RedriveRecord
	// Reroute names the vendor of a message, and tells its workflow.
	Reroute func(ctx context.Context, by message.Actor, id, vendor message.ID, reason string) error
}

// maxTimeline is how many events of a message are looked through for what an earlier try
// has done.
const maxTimeline = 1000

// JudgeRedrive says what would become of a message: ItemDone, or ItemPassed when the
// action is not for such a message. Of a dry run it asks the rules as well whether a new
// message would be taken, but for limits and money: ItemRefused when it would not.
func (d *Redrives) JudgeRedrive(ctx context.Context, r *message.Redrive, m *message.Message) message.RedriveItem {
	item := message.RedriveItem{MessageID: m.ID, State: message.ItemDone}
	if why := passedOver(r, m); why != "" {
		item.State, item.Error = message.ItemPassed, message.Refuse(message.ReasonConflict, "%s", why)
		return item
	}
	if !r.DryRun || r.Action != message.RedriveRetry {
		return item
	}
	if err := d.In.wouldTake(OnceMore(m, batchEdge)); err != nil {
		item.State, item.Error = message.ItemRefused, message.AsError(err)
	}
	return item
}

// wouldTake says why a request would be refused, but for limits and money. Nothing is
// stored or taken.
func (in *Ingress) wouldTake(r Request) error {
	in.ready()
	s := in.Snapshot()
	m, err := in.read(s, r, in.Now())
	if err != nil {
		return err
	}
	_, decision := in.decideAny(s, r, m)
	return refusal(decision)
}

// passedOver says in a few words why the action of a re-drive is not for a message; empty:
// it is. The words are counted by, so they hold nothing that is of one message alone.
func passedOver(r *message.Redrive, m *message.Message) string {
	is := "it is " + strings.ReplaceAll(string(m.Status), "_", " ")
	if m.Direction != message.Outbound {
		return "it came from a handset"
	}
	switch r.Action {
	case message.RedriveRetry:
		switch {
		case m.Status == message.StatusUnconfirmed && !r.AcceptDuplicate:
			return "it is unconfirmed: the recipient may have it"
		case Retryable(&message.Message{Direction: m.Direction, Status: m.Status, From: "x", To: "x"}, r.AcceptDuplicate) != nil:
			return is
		case m.Redacted:
			return "its text is no longer kept"
		case m.From == "" || m.To == "":
			return "its sender or recipient could not be read"
		}
	case message.RedriveCancel:
		if !m.Status.Cancelable() {
			return is
		}
	case message.RedriveRelease, message.RedriveRefuse:
		if m.Hold == nil || m.Hold.Rule != policy.RuleContent || !m.Hold.Until.IsZero() {
			return is + ", and no content rule holds it"
		}
	case message.RedriveReroute:
		if m.Status.Final() || m.Status == message.StatusSent {
			return is
		}
		if m.Status == message.StatusInDoubt && m.Delivery == message.AtMostOnce {
			return "it is in doubt, and may be sent once only"
		}
	case message.RedriveResolve:
		if m.Status != message.StatusInDoubt {
			return is
		}
	}
	return ""
}

// ActRedrive does it. See redrive.Door.
func (d *Redrives) ActRedrive(ctx context.Context, r *message.Redrive, i message.RedriveItem) message.RedriveItem {
	m, err := d.Record.WholeMessage(ctx, i.MessageID)
	switch {
	case message.ReasonOf(err) == message.ReasonNotFound:
		return passed(i, "it is no longer kept")
	case err != nil:
		return unknown(i, err)
	}
	if i.Try > 1 && r.Action != message.RedriveRetry {
		done, err := d.doneBefore(ctx, r, m)
		if err != nil {
			return unknown(i, err)
		}
		if done {
			i.State, i.Error = message.ItemDone, nil
			return i
		}
	}
	if why := passedOver(r, m); why != "" { // it has come on since it was taken on
		return passed(i, why)
	}
	if r.Action == message.RedriveRetry {
		return d.retry(ctx, r, m, i)
	}
	return judgedAct(i, d.act(ctx, r, i.MessageID))
}

func passed(i message.RedriveItem, why string) message.RedriveItem {
	i.State, i.Error = message.ItemPassed, message.Refuse(message.ReasonConflict, "%s", why)
	return i
}

// unknown is an item that is to be tried again, since nobody knows what became of this try.
func unknown(i message.RedriveItem, err error) message.RedriveItem {
	i.State, i.Error = message.ItemClaimed, message.AsError(err)
	return i
}

// note is what timelines say of the actions of a re-drive. Customers see that of a refusal.
func note(r *message.Redrive) string {
	if r.Action == message.RedriveRefuse {
		return r.Reason
	}
	return fmt.Sprintf("redrive %s: %s", r.ID, r.Reason)
}

// doneBefore reports whether an earlier try has done it: its timeline says so, or it is
// withdrawn.
func (d *Redrives) doneBefore(ctx context.Context, r *message.Redrive, m *message.Message) (bool, error) {
	if r.Action == message.RedriveCancel {
		return m.Status == message.StatusCanceled, nil
	}
	events, err := d.Record.Events(ctx, m.ID, 0, maxTimeline)
	for _, e := range events {
		if e.Type == message.EventStaffAction && e.Detail["note"] == note(r) && e.Detail["actor"] == r.By.Name {
			return true, nil
		}
	}
	return false, err
}

// act does what is not a retry.
func (d *Redrives) act(ctx context.Context, r *message.Redrive, id message.ID) error {
	switch r.Action {
	case message.RedriveCancel:
		return d.In.Cancel(ctx, id)
	case message.RedriveReroute:
		return d.Reroute(ctx, r.By, id, r.Vendor, note(r))
	case message.RedriveResolve:
		return d.In.Resolve(ctx, Resolution{MessageID: id, As: r.As, By: r.By, Note: note(r)})
	}
	verdict := message.VerdictRelease
	if r.Action == message.RedriveRefuse {
		verdict = message.VerdictRefuse
	}
	if err := d.Record.Review(ctx, r.By, id, verdict, note(r)); err != nil {
		return err
	}
	if err := d.In.Reconsider(ctx, id); err != nil {
		d.In.Log.Debug("workflow not told of a verdict, the sweep will", "message_id", id, "error", err)
	}
	return nil
}

// judgedAct says what has become of an item by the error of its action.
func judgedAct(i message.RedriveItem, err error) message.RedriveItem {
	if err == nil {
		i.State, i.Error = message.ItemDone, nil
		return i
	}
	i.Error = message.AsError(err)
	switch {
	case broken(err):
		i.State = message.ItemClaimed
	case i.Error.Reason == message.ReasonConflict: // it has come on in this moment
		i.State = message.ItemPassed
	default:
		i.State = message.ItemRefused
	}
	return i
}

// broken reports whether nobody knows what has become of a call.
func broken(err error) bool {
	switch message.ReasonOf(err) {
	case message.ReasonUnavailable, message.ReasonIdempotencyInProgress:
		return true
	}
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// retry makes the new message under the id that the item has.
func (d *Redrives) retry(ctx context.Context, r *message.Redrive, m *message.Message, i message.RedriveItem) message.RedriveItem {
	request := OnceMore(m, batchEdge)
	request.ID = i.NewMessageID
	request.Rate = message.TrailEntry{Rule: policy.RuleRate, Result: message.Pass, Detail: fmt.Sprintf("sent again by redrive %s, at its own rate", r.ID)}
	out, err := d.In.Accept(ctx, request)
	switch {
	case err == nil:
		i.State, i.Error = message.ItemDone, nil
		return i
	case out.Message != nil:
		i.State, i.Error, i.Sure = message.ItemRefused, message.AsError(err), true
		return i
	case broken(err):
		return unknown(i, err)
	}
	i.Error = message.AsError(err)
	switch i.Error.Reason {
	case message.ReasonRateLimitExceeded, message.ReasonQueueFull: // these come before the journal
		i.State = message.ItemWaits
	default:
		i.State = message.ItemRefused
		if i.Error.Reason == message.ReasonInternal && i.Error.Err != nil {
			i.Error = message.Because(message.ReasonInternal, i.Error.Err, "the message could not be made")
		}
	}
	return i
}

// RedriveChanged says that there is something in the record to tell the workflow of a
// re-drive: it was made, or is to stop. It does not block.
func (in *Ingress) RedriveChanged(id message.ID) { in.BatchChanged(id) }

// describeRedrive is what support staff read in the Temporal UI.
func describeRedrive(t message.BatchTell) About {
	return About{Priority: message.ClassBulk.Priority(), Summary: fmt.Sprintf("re-drive: %s, at most %d messages", t.Name, t.Total),
		Details: fmt.Sprintf("- %s\n- made %s\n- at most %d messages\n", t.Name, t.CreatedAt.UTC().Format(time.RFC3339), t.Total)}
}
