package ingress_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/postrider/postrider/edges/ingress"
	"github.com/postrider/postrider/internal/message"
)

// kept is the record of one message, and what was done to it.
type kept struct {
	m        *message.Message
	events   []message.Event
	err      error // of reading it
	said     error // of a verdict or a route
	verdicts []string
}

func (k *kept) WholeMessage(context.Context, message.ID) (*message.Message, error) {
	return k.m, k.err
}

func (k *kept) Events(context.Context, message.ID, int, int) ([]message.Event, error) {
	return k.events, nil
}

func (k *kept) Review(_ context.Context, by message.Actor, _ message.ID, verdict message.Verdict, reason string) error {
	k.verdicts = append(k.verdicts, by.Name+" "+string(verdict)+" "+reason)
	return k.said
}

func (k *kept) reroute(_ context.Context, by message.Actor, _, _ message.ID, reason string) error {
	k.verdicts = append(k.verdicts, by.Name+" reroute "+reason)
	return k.said
}

func redrives(t *testing.T, status message.Status) (*bundle, *kept, *ingress.Redrives, *message.Redrive) {
	t.Helper()
	b := setup(t)
	k := &kept{m: &message.Message{ID: message.NewID(), AccountID: b.account.ID, Direction: message.Outbound, Kind: message.SMS, Status: status, From: number, To: "+13105550117", Body: "Hello",
		Encoding: message.EncodingGSM7, Segments: 1, Class: message.ClassConversation, Delivery: message.AtMostOnce, CreatedAt: time.Now(), ExpiresAt: time.Now().Add(time.Hour)}}
	return b, k, &ingress.Redrives{In: b.Ingress, Record: k, Reroute: k.reroute},
		&message.Redrive{ID: message.NewID(), By: message.Actor{Name: "ada"}, Reason: "it was down", Action: message.RedriveRetry, Status: message.RedriveRunning}
}

// Each action is for some messages, and passes the others over.
func TestRedriveJudges(t *testing.T) {
	t.Parallel()
	held := &message.Hold{Rule: "content"}
	for _, c := range []struct {
		action message.RedriveAction
		status message.Status
		change func(*message.Message, *message.Redrive)
		why    string
	}{
		{message.RedriveRetry, message.StatusFailed, nil, ""},
		{message.RedriveRetry, message.StatusDelivered, nil, "it is delivered"},
		{message.RedriveRetry, message.StatusUnconfirmed, nil, "it is unconfirmed: the recipient may have it"},
		{message.RedriveRetry, message.StatusUnconfirmed, func(_ *message.Message, r *message.Redrive) { r.AcceptDuplicate = true }, ""},
		{message.RedriveRetry, message.StatusFailed, func(m *message.Message, _ *message.Redrive) { m.Redacted = true }, "its text is no longer kept"},
		{message.RedriveRetry, message.StatusFailed, func(m *message.Message, _ *message.Redrive) { m.From = "" }, "its sender or recipient could not be read"},
		{message.RedriveRetry, message.StatusFailed, func(m *message.Message, _ *message.Redrive) { m.Direction = message.Inbound }, "it came from a handset"},
		{message.RedriveCancel, message.StatusQueued, nil, ""},
		{message.RedriveCancel, message.StatusSent, nil, "it is sent"},
		{message.RedriveRelease, message.StatusQueued, func(m *message.Message, _ *message.Redrive) { m.Hold = held }, ""},
		{message.RedriveRefuse, message.StatusQueued, nil, "it is queued, and no content rule holds it"},
		{message.RedriveReroute, message.StatusQueued, nil, ""},
		{message.RedriveReroute, message.StatusSent, nil, "it is sent"},
		{message.RedriveReroute, message.StatusInDoubt, nil, "it is in doubt, and may be sent once only"},
		{message.RedriveResolve, message.StatusInDoubt, nil, ""},
		{message.RedriveResolve, message.StatusFailed, nil, "it is failed"},
	} {
		_, k, d, r := redrives(t, c.status)
		if r.Action = c.action; c.change != nil {
			c.change(k.m, r)
		}
		got, why := d.JudgeRedrive(t.Context(), r, k.m), ""
		if got.Error != nil {
			why = got.Error.Detail
		}
		if want := map[bool]message.RedriveItemState{true: message.ItemDone, false: message.ItemPassed}[c.why == ""]; got.State != want || why != c.why {
			t.Errorf("%s of %s: %s, %q, want %q", c.action, c.status, got.State, why, c.why)
		}
	}
	// A dry run asks the rules too.
	b, k, d, r := redrives(t, message.StatusFailed)
	r.DryRun = true
	b.config.Routes = nil
	if got := d.JudgeRedrive(t.Context(), r, k.m); got.State != message.ItemRefused || got.Error.Reason != message.ReasonNoRoute {
		t.Errorf("%+v", got)
	}
}

// A retry makes the message of the id that was given, and says what has become of it.
func TestRedriveRetries(t *testing.T) {
	t.Parallel()
	item := func() message.RedriveItem {
		return message.RedriveItem{State: message.ItemClaimed, NewMessageID: message.NewID(), Try: 1}
	}
	b, _, d, r := redrives(t, message.StatusFailed)
	i := item()
	if got := d.ActRedrive(t.Context(), r, i); got.State != message.ItemDone || got.NewMessageID != i.NewMessageID {
		t.Errorf("%+v", got)
	}
	if a := b.journal.accepted; len(a) != 1 || a[0].Message.ID != i.NewMessageID || a[0].Message.RetryOf == (message.ID{}) {
		t.Errorf("%+v", a)
	}
	b.config.Routes = nil
	if got := d.ActRedrive(t.Context(), r, item()); got.State != message.ItemRefused || !got.Sure || got.Error.Reason != message.ReasonNoRoute {
		t.Errorf("%+v", got)
	}
	for want, err := range map[message.RedriveItemState]error{message.ItemClaimed: message.Refuse(message.ReasonUnavailable, "away"), message.ItemWaits: message.Refuse(message.ReasonQueueFull, "full"), message.ItemRefused: errors.New("a check")} {
		b, _, d, r := redrives(t, message.StatusFailed)
		b.journal.down = err
		if got := d.ActRedrive(t.Context(), r, item()); got.State != want || got.Error == nil || got.Sure {
			t.Errorf("%v: %+v", err, got)
		}
	}
	// It has come on since, is gone, or cannot be read.
	_, k, d, r := redrives(t, message.StatusDelivered)
	if got := d.ActRedrive(t.Context(), r, item()); got.State != message.ItemPassed {
		t.Errorf("%+v", got)
	}
	k.err = message.Refuse(message.ReasonNotFound, "gone")
	if got := d.ActRedrive(t.Context(), r, item()); got.State != message.ItemPassed {
		t.Errorf("%+v", got)
	}
	k.err = errors.New("away")
	if got := d.ActRedrive(t.Context(), r, item()); got.State != message.ItemClaimed {
		t.Errorf("%+v", got)
	}
}

// What an earlier try has done is not done again.
func TestRedriveKnowsWhatItDid(t *testing.T) {
	t.Parallel()
	_, k, d, r := redrives(t, message.StatusQueued)
	r.Action = message.RedriveReroute
	first := message.RedriveItem{MessageID: k.m.ID, State: message.ItemClaimed, Try: 1}
	if got := d.ActRedrive(t.Context(), r, first); got.State != message.ItemDone || len(k.verdicts) != 1 || k.verdicts[0] != "ada reroute redrive "+r.ID.String()+": it was down" {
		t.Fatalf("%+v, %v", got, k.verdicts)
	}
	second := first
	second.Try = 2
	if d.ActRedrive(t.Context(), r, second); len(k.verdicts) != 2 {
		t.Error("a try that had done nothing was believed")
	}
	k.events = []message.Event{{Type: message.EventStaffAction, Detail: map[string]any{"actor": "ada", "note": "redrive " + r.ID.String() + ": it was down"}}}
	k.m.Status = message.StatusSent // it has gone on
	if got := d.ActRedrive(t.Context(), r, second); got.State != message.ItemDone || len(k.verdicts) != 2 {
		t.Errorf("%+v, %v", got, k.verdicts)
	}
	r.Action, k.m.Status = message.RedriveCancel, message.StatusCanceled
	if got := d.ActRedrive(t.Context(), r, second); got.State != message.ItemDone {
		t.Errorf("%+v", got)
	}
	if got := d.ActRedrive(t.Context(), r, first); got.State != message.ItemPassed {
		t.Errorf("somebody else withdrew it: %+v", got)
	}
}

// Verdicts carry the actor; the customer sees the reason of a refusal as it was given.
func TestRedriveReviews(t *testing.T) {
	t.Parallel()
	_, k, d, r := redrives(t, message.StatusQueued)
	k.m.Hold = &message.Hold{Rule: "content"}
	i := message.RedriveItem{MessageID: k.m.ID, Try: 1}
	for _, r.Action = range []message.RedriveAction{message.RedriveRelease, message.RedriveRefuse} {
		if got := d.ActRedrive(t.Context(), r, i); got.State != message.ItemDone {
			t.Errorf("%+v", got)
		}
	}
	if k.verdicts[0] != "ada release redrive "+r.ID.String()+": it was down" || k.verdicts[1] != "ada refuse it was down" {
		t.Errorf("%v", k.verdicts)
	}
	for want, err := range map[message.RedriveItemState]error{message.ItemPassed: message.Refuse(message.ReasonConflict, "somebody has"), message.ItemClaimed: context.DeadlineExceeded, message.ItemRefused: errors.New("a check")} {
		k.said = err
		if got := d.ActRedrive(t.Context(), r, i); got.State != want {
			t.Errorf("%v: %+v", err, got)
		}
	}
}
