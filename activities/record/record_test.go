package record_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/temporal"

	"github.com/postrider/postrider/activities/journaltest"
	"github.com/postrider/postrider/activities/record"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

var (
	now    = time.Date(2026, 11, 21, 20, 0, 0, 0, time.UTC)
	vendor = message.VendorRef{ID: message.NewID(), Name: "acme"}
)

type bundle struct {
	journal  *journaltest.Journal
	steps    *record.Activities
	m        message.Message
	recorded []string
}

// setup makes a message of so many parts that the vendor took under the ids
// part-1, part-2, …
func setup(t testing.TB, parts int, status message.Status) *bundle {
	t.Helper()
	b := &bundle{journal: &journaltest.Journal{}}
	b.m = message.Message{ID: message.NewID(), AccountID: message.NewID(), Status: message.StatusQueued, Segments: parts,
		Price: message.Price{Amount: 4500, Currency: "USD", Estimated: true}, WebhookURL: "https://shop.example/hook"}
	b.journal.Put(b.m)
	c := message.Change{MessageID: b.m.ID, To: message.StatusSending}
	for p := 1; p <= parts; p++ {
		c.Attempts = append(c.Attempts, message.Attempt{Part: p, Number: 1, Vendor: vendor})
		c.Answers = append(c.Answers, message.Answer{Part: p, Attempt: 1, State: message.PartSubmitted, NormalizedID: id(p)})
	}
	if _, err := b.journal.Advance(context.Background(), c); err != nil {
		t.Fatal(err)
	}
	b.journal.SetStatus(b.m.ID, status)
	s := &snapshot.Snapshot{}
	b.steps = &record.Activities{Journal: b.journal, Snapshot: func() *snapshot.Snapshot { return s }, Now: func() time.Time { return now },
		Recorded: func(_ *message.Message, s message.Status, r message.Reason) {
			b.recorded = append(b.recorded, string(s)+" "+string(r))
		}}
	return b
}

func id(part int) string { return "part-" + string(rune('0'+part)) }

func (b *bundle) receipt(t testing.TB, part int, state message.ReceiptState, reason message.Reason) {
	t.Helper()
	m, err := b.journal.Receipt(context.Background(), message.Receipt{ID: message.NewID(), VendorID: vendor.ID, VendorMessageID: id(part), State: state, Err: "042", Reason: reason, DoneAt: now})
	if err != nil || !m.Known {
		t.Fatalf("receipt: %+v, %v", m, err)
	}
}

func (b *bundle) record(t testing.TB, in record.Input) record.Result {
	t.Helper()
	in.MessageID = b.m.ID
	r, err := b.steps.RecordOutcome(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestWhatReceiptsDecide(t *testing.T) {
	for _, c := range []struct {
		name   string
		from   message.Status
		states []message.ReceiptState
		reason message.Reason
		want   message.Status
		why    message.Reason
	}{
		{"delivered", message.StatusSent, []message.ReceiptState{"DELIVRD", "DELIVRD"}, "", message.StatusDelivered, ""},
		{"before sent was written", message.StatusSending, []message.ReceiptState{"DELIVRD"}, "", message.StatusDelivered, ""},
		{"out of doubt", message.StatusInDoubt, []message.ReceiptState{"DELIVRD"}, "", message.StatusDelivered, ""},
		{"late", message.StatusUnconfirmed, []message.ReceiptState{"DELIVRD"}, "", message.StatusDelivered, ""},
		{"undelivered", message.StatusSent, []message.ReceiptState{"UNDELIV"}, message.ReasonUnreachable, message.StatusUndelivered, message.ReasonUnreachable},
		{"without a reason", message.StatusSent, []message.ReceiptState{"REJECTD"}, "", message.StatusUndelivered, message.ReasonVendorRejected},
		{"expired", message.StatusSent, []message.ReceiptState{"EXPIRED"}, "", message.StatusExpired, message.ReasonExpired},
		{"the worst part decides", message.StatusSent, []message.ReceiptState{"DELIVRD", "EXPIRED", "DELIVRD"}, "", message.StatusExpired, message.ReasonExpired},
		{"one failure is enough", message.StatusSent, []message.ReceiptState{"", "UNDELIV"}, message.ReasonFiltered, message.StatusUndelivered, message.ReasonFiltered},
		{"while a part waits in the queue", message.StatusQueued, []message.ReceiptState{"UNDELIV", ""}, message.ReasonFiltered, message.StatusUndelivered, message.ReasonFiltered},
		{"delivered out of the queue", message.StatusQueued, []message.ReceiptState{"DELIVRD"}, "", message.StatusDelivered, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := setup(t, len(c.states), c.from)
			for i, s := range c.states {
				if s != "" {
					b.receipt(t, i+1, s, c.reason)
				}
			}
			if !b.journal.Due(b.m.ID) {
				t.Fatal("no settlement is due")
			}
			r := b.record(t, record.Input{})
			if r.Status != c.want || r.Reason != c.why || !r.Changed || r.Open || len(r.Notify) != 1 {
				t.Errorf("%+v", r)
			}
			if b.journal.Due(b.m.ID) {
				t.Error("the settlement is still due")
			}
			if want := []string{string(c.want) + " " + string(c.why)}; !slices.Equal(b.recorded, want) {
				t.Errorf("recorded %q, want %q", b.recorded, want)
			}
			again := b.record(t, record.Input{})
			if again.Changed || again.Status != c.want || again.Reason != c.why || !slices.Equal(again.Notify, r.Notify) || len(b.recorded) != 1 {
				t.Errorf("again %+v", again)
			}
			if i := b.journal.Illegal(); len(i) > 0 {
				t.Errorf("illegal changes: %v", i)
			}
		})
	}
}

func TestOpenReceiptsWriteNothing(t *testing.T) {
	b := setup(t, 2, message.StatusSent)
	b.receipt(t, 1, message.ReceiptDelivered, "")
	if r := b.record(t, record.Input{}); !r.Open || r.Changed || r.Status != message.StatusSent || b.journal.Status(b.m.ID) != message.StatusSent {
		t.Errorf("%+v", r)
	}
}

func TestSilence(t *testing.T) {
	b := setup(t, 1, message.StatusSent)
	if r := b.record(t, record.Input{To: message.StatusUnconfirmed, Reason: message.ReasonNoReceipt}); r.Status != message.StatusUnconfirmed || r.Reason != message.ReasonNoReceipt || !r.Changed {
		t.Errorf("%+v", r)
	}
}

// The receipt came, and the workflow that would record silence has not heard.
func TestSilenceIsAskedOnceMore(t *testing.T) {
	b := setup(t, 1, message.StatusSent)
	b.receipt(t, 1, message.ReceiptDelivered, "")
	if r := b.record(t, record.Input{To: message.StatusUnconfirmed, Reason: message.ReasonNoReceipt}); r.Status != message.StatusDelivered || r.Reason != "" {
		t.Errorf("%+v", r)
	}
}

// The receipt comes after the question and before the write: its row must stay,
// or nobody would ever settle the message.
func TestSilenceLeavesTheSettlementOfAReceiptThatCrosses(t *testing.T) {
	b := setup(t, 1, message.StatusSent)
	crossed := false
	b.journal.Step = func(op string, done bool) error {
		if op == "message" && done && !crossed {
			crossed = true
			b.receipt(t, 1, message.ReceiptDelivered, "")
		}
		return nil
	}
	if r := b.record(t, record.Input{To: message.StatusUnconfirmed, Reason: message.ReasonNoReceipt}); r.Status != message.StatusUnconfirmed {
		t.Fatalf("%+v", r)
	}
	if !b.journal.Due(b.m.ID) {
		t.Fatal("the settlement is lost")
	}
	if r := b.record(t, record.Input{Late: true}); r.Status != message.StatusDelivered {
		t.Errorf("%+v", r)
	}
	notes := b.journal.Notifications(b.m.ID)
	if len(notes) != 2 || !strings.Contains(notes[1].Payload, `"late":true`) || !strings.Contains(notes[1].Payload, `"status":"delivered"`) {
		t.Errorf("the customer is told %d things", len(notes))
	}
}

// A workflow that was told may die before it has noted the outcome: who told it keeps
// the settlement until he has its answer.
func TestToldOfReceipts(t *testing.T) {
	b := setup(t, 1, message.StatusSent)
	b.receipt(t, 1, message.ReceiptDelivered, "")
	for range 2 {
		if r := b.record(t, record.Input{Told: true}); r.Status != message.StatusDelivered || !b.journal.Due(b.m.ID) {
			t.Errorf("%+v, due %v", r, b.journal.Due(b.m.ID))
		}
	}
	if err := b.journal.DropSettlement(t.Context(), b.m.ID); err != nil || b.journal.Due(b.m.ID) {
		t.Errorf("%v, due %v", err, b.journal.Due(b.m.ID))
	}
}

// Receipts of a message that has ended otherwise change nothing and are done
// with.
func TestReceiptsAfterAnotherEnd(t *testing.T) {
	for _, end := range []message.Status{message.StatusFailed, message.StatusCanceled, message.StatusExpired} {
		b := setup(t, 1, end)
		b.receipt(t, 1, message.ReceiptDelivered, "")
		if r := b.record(t, record.Input{Late: true}); r.Changed || r.Status != end || b.journal.Due(b.m.ID) || len(b.recorded) != 0 {
			t.Errorf("%s: %+v, due %v, recorded %v", end, r, b.journal.Due(b.m.ID), b.recorded)
		}
	}
}

func TestGivenStatuses(t *testing.T) {
	for _, c := range []struct {
		from    message.Status
		in      record.Input
		changed bool
		price   message.Price
		told    int
	}{
		{message.StatusAccepted, record.Input{To: message.StatusScheduled}, true, message.Price{Amount: 4500, Currency: "USD", Estimated: true}, 0},
		{message.StatusQueued, record.Input{To: message.StatusFailed, Reason: message.ReasonVendorUnreachable, Code: "0D"}, true, message.Price{Currency: "USD"}, 1},
		{message.StatusQueued, record.Input{To: message.StatusExpired, Reason: message.ReasonExpired}, true, message.Price{Currency: "USD"}, 1},
		{message.StatusQueued, record.Input{To: message.StatusCanceled, Reason: message.ReasonCanceled}, true, message.Price{Currency: "USD"}, 1},
		{message.StatusSending, record.Input{To: message.StatusCanceled, Reason: message.ReasonCanceled}, false, message.Price{Amount: 4500, Currency: "USD", Estimated: true}, 0},
		{message.StatusSent, record.Input{To: message.StatusUnconfirmed, Reason: message.ReasonNoReceipt}, true, message.Price{Amount: 4500, Currency: "USD"}, 1},
	} {
		b := setup(t, 1, c.from)
		r := b.record(t, c.in)
		m, err := b.journal.Message(context.Background(), b.m.ID)
		if err != nil {
			t.Fatal(err)
		}
		if r.Changed != c.changed || r.Status != m.Status || m.Price != c.price || len(r.Notify) != c.told || b.journal.Code(b.m.ID) != c.in.Code {
			t.Errorf("%s to %s: %+v, price %+v", c.from, c.in.To, r, m.Price)
		}
		if c.changed && c.in.Reason != "" && (m.Error == nil || m.Error.Reason != c.in.Reason || m.Error.Detail == "") {
			t.Errorf("%s to %s: error %v", c.from, c.in.To, m.Error)
		}
	}
}

// An event is told once, whatever dies in between.
func TestCutOffBetweenWritingAndTelling(t *testing.T) {
	b := setup(t, 1, message.StatusSent)
	b.receipt(t, 1, message.ReceiptDelivered, "")
	b.journal.Step = func(op string, done bool) error {
		if op == "advance" && done {
			return journaltest.ErrDead
		}
		return nil
	}
	if _, err := b.steps.RecordOutcome(context.Background(), record.Input{MessageID: b.m.ID}); !retryable(err) {
		t.Fatalf("error %v", err)
	}
	b.journal.Step = nil
	if r := b.record(t, record.Input{}); r.Changed || r.Status != message.StatusDelivered || len(r.Notify) != 1 {
		t.Errorf("%+v", r)
	}
}

// operations notes what is done to the journal from here on.
func (b *bundle) operations() *[]string {
	var list []string
	b.journal.Step = func(op string, done bool) error {
		if !done {
			list = append(list, op)
		}
		return nil
	}
	return &list
}

// Nobody waits here, or receipts have not decided in time: that is no outcome,
// and the record is not even looked at.
func TestWaitThatBringsNothing(t *testing.T) {
	for name, await := range map[string]func(context.Context, message.ID) bool{
		"nobody waits": nil,
		"in vain":      func(context.Context, message.ID) bool { return false },
	} {
		t.Run(name, func(t *testing.T) {
			b := setup(t, 1, message.StatusSent)
			b.receipt(t, 1, message.ReceiptDelivered, "") // it came in elsewhere, or in this moment
			b.steps.Await = await
			done := b.operations()
			if r := b.record(t, record.Input{Wait: true}); !r.Open || r.Changed || r.Status != "" || r.Reason != "" || len(r.Notify) != 0 {
				t.Errorf("%+v", r)
			}
			if len(*done) != 0 || len(b.recorded) != 0 {
				t.Errorf("done %v, recorded %v", *done, b.recorded)
			}
			if b.journal.Status(b.m.ID) != message.StatusSent || !b.journal.Due(b.m.ID) {
				t.Errorf("status %s, due %v", b.journal.Status(b.m.ID), b.journal.Due(b.m.ID))
			}
		})
	}
}

// Receipts decide while the step waits for them: it records what they say, with
// one reading of the message.
func TestWaitThatBringsTheDecision(t *testing.T) {
	for state, want := range map[message.ReceiptState]message.Status{message.ReceiptDelivered: message.StatusDelivered, message.ReceiptExpired: message.StatusExpired} {
		t.Run(string(want), func(t *testing.T) {
			b := setup(t, 1, message.StatusSent)
			var asked []message.ID
			var done *[]string
			type key struct{}
			ctx := context.WithValue(t.Context(), key{}, "the caller's")
			b.steps.Await = func(ctx context.Context, id message.ID) bool {
				if ctx.Value(key{}) == nil {
					t.Error("the wait cannot be given up")
				}
				asked = append(asked, id)
				b.receipt(t, 1, state, "")
				done = b.operations()
				return true
			}
			r, err := b.steps.RecordOutcome(ctx, record.Input{MessageID: b.m.ID, Wait: true})
			if err != nil || r.Status != want || !r.Changed || r.Open || len(r.Notify) != 1 {
				t.Errorf("%+v, %v", r, err)
			}
			if !slices.Equal(asked, []message.ID{b.m.ID}) || len(b.recorded) != 1 || b.journal.Due(b.m.ID) {
				t.Errorf("asked %d times, recorded %v, due %v", len(asked), b.recorded, b.journal.Due(b.m.ID))
			}
			if !slices.Equal(*done, []string{"message", "deciding", "advance"}) {
				t.Errorf("operations %v", *done)
			}
		})
	}
}

func TestNobodyWaitsUnasked(t *testing.T) {
	b := setup(t, 1, message.StatusSent)
	b.receipt(t, 1, message.ReceiptDelivered, "")
	b.steps.Await = func(context.Context, message.ID) bool {
		t.Error("waited")
		return false
	}
	if r := b.record(t, record.Input{}); r.Status != message.StatusDelivered {
		t.Errorf("%+v", r)
	}
}

// The decision was waited for, and then the database is away. Nobody waits again,
// so the step ends without an outcome; the settlement stays due, for whoever
// sweeps.
func TestDecisionThatCannotBeRecorded(t *testing.T) {
	for _, op := range []string{"message", "deciding", "advance"} {
		t.Run(op, func(t *testing.T) {
			b := setup(t, 1, message.StatusSent)
			b.receipt(t, 1, message.ReceiptDelivered, "")
			waits := 0
			b.steps.Await = func(context.Context, message.ID) bool {
				waits++
				return waits == 1 // one call takes it
			}
			b.journal.Step = func(name string, done bool) error {
				if name == op && !done {
					return journaltest.ErrDead
				}
				return nil
			}
			if _, err := b.steps.RecordOutcome(context.Background(), record.Input{MessageID: b.m.ID, Wait: true}); !retryable(err) {
				t.Fatalf("error %v", err)
			}
			b.journal.Step = nil
			if r := b.record(t, record.Input{Wait: true}); !r.Open || r.Changed || waits != 2 {
				t.Errorf("%+v after %d waits", r, waits)
			}
			if !b.journal.Due(b.m.ID) {
				t.Fatal("the settlement is lost")
			}
			if r := b.record(t, record.Input{}); r.Status != message.StatusDelivered || !r.Changed {
				t.Errorf("%+v", r)
			}
		})
	}
}

func TestUnknownMessage(t *testing.T) {
	b := setup(t, 1, message.StatusSent)
	if _, err := b.steps.RecordOutcome(context.Background(), record.Input{MessageID: message.NewID()}); retryable(err) {
		t.Errorf("error %v", err)
	}
}

func retryable(err error) bool {
	var app *temporal.ApplicationError
	return errors.As(err, &app) && !app.NonRetryable()
}

// What waited with the rest of its parts when receipts decided it waits no more.
func TestDecidedWhileHeld(t *testing.T) {
	b := setup(t, 1, message.StatusQueued)
	hold := message.Hold{Rule: "daily_cap"}
	if _, err := b.journal.Advance(t.Context(), message.Change{MessageID: b.m.ID, Hold: &hold}); err != nil {
		t.Fatal(err)
	}
	b.receipt(t, 1, "DELIVRD", "")
	if r := b.record(t, record.Input{}); r.Status != message.StatusDelivered {
		t.Fatalf("%+v", r)
	}
	if m, err := b.journal.Message(t.Context(), b.m.ID); err != nil || m.Hold != nil {
		t.Errorf("the record shows %+v, %v", m, err)
	}
}

// A receipt that tells of the carrier's cap is passed on, until somebody has heard it.
func TestCapReachedByReceipt(t *testing.T) {
	b := setup(t, 1, message.StatusSent)
	told, away := 0, errors.New("the database is away")
	b.steps.CapReached = func(_ context.Context, m *message.Message) error {
		told++
		if m.ID != b.m.ID {
			t.Errorf("told of %s", m.ID)
		}
		err := away
		away = nil
		return err
	}
	if _, err := b.journal.Receipt(t.Context(), message.Receipt{ID: message.NewID(), VendorID: vendor.ID, VendorMessageID: id(1), State: "UNDELIV", Err: "64", Reason: message.ReasonDailyCapReached}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.steps.RecordOutcome(t.Context(), record.Input{MessageID: b.m.ID}); err == nil {
		t.Fatal("recorded though nobody heard")
	}
	if r := b.record(t, record.Input{}); r.Status != message.StatusUndelivered || r.Reason != message.ReasonDailyCapReached || told != 2 {
		t.Errorf("%+v, told %d times", r, told)
	}
}

// Who records may have the customer told as well; what needs more tries comes back.
func TestRecordAndTell(t *testing.T) {
	for name, taken := range map[string]bool{"taken": true, "not taken": false} {
		t.Run(name, func(t *testing.T) {
			b := setup(t, 1, message.StatusSent)
			var told []message.ID
			b.steps.Tell = func(_ context.Context, deliveries []message.ID) []message.ID {
				if told = deliveries; taken {
					return nil
				}
				return deliveries
			}
			b.receipt(t, 1, message.ReceiptDelivered, "")
			r := b.record(t, record.Input{Tell: true})
			if left := len(r.Notify); !r.Tried || len(told) != 1 || taken != (left == 0) || r.Status != message.StatusDelivered {
				t.Errorf("%+v, told of %v", r, told)
			}
		})
	}
	t.Run("unasked", func(t *testing.T) {
		b := setup(t, 1, message.StatusSent)
		b.steps.Tell = func(context.Context, []message.ID) []message.ID { t.Error("told"); return nil }
		b.receipt(t, 1, message.ReceiptDelivered, "")
		if r := b.record(t, record.Input{}); r.Tried || len(r.Notify) != 1 {
			t.Errorf("%+v", r)
		}
	})
}
