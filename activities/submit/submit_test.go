package submit_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.temporal.io/sdk/temporal"

	"github.com/postrider/postrider/activities"
	"github.com/postrider/postrider/activities/journaltest"
	"github.com/postrider/postrider/activities/submit"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

var now = time.Date(2026, 11, 21, 20, 0, 0, 0, time.UTC)

// vendor is a connector that remembers what it wrote to the wire and answers as
// it is told.
type vendor struct {
	// answer says what becomes of a part; nil: the vendor takes it. written is
	// how often the part was written before.
	answer func(s message.Submission, written int) (message.SubmitResult, error)
	// gate is called before the wire and after it; an error before keeps the
	// part from being written.
	gate func(done bool) error

	mu    sync.Mutex
	wire  map[int]int // writes by part
	tries []message.Submission
}

func (v *vendor) Whole() bool { return false }

func (v *vendor) Repeats() bool { return false }

func (v *vendor) Submit(_ context.Context, s message.Submission) (message.SubmitResult, error) {
	if v.gate != nil {
		if err := v.gate(false); err != nil {
			return message.SubmitResult{}, &message.SubmitError{Reason: message.ReasonVendorUnreachable, Again: true, Err: err}
		}
	}
	if err := s.Allowed(); err != nil {
		return message.SubmitResult{}, err
	}
	v.mu.Lock()
	if v.wire == nil {
		v.wire = make(map[int]int)
	}
	before := v.wire[s.Part]
	r, err := message.SubmitResult{VendorMessageID: fmt.Sprintf("ID-%d-%d", s.Part, s.Attempt), NormalizedID: fmt.Sprintf("id-%d-%d", s.Part, s.Attempt)}, error(nil)
	if v.answer != nil {
		r, err = v.answer(s, before)
	}
	var no *message.SubmitError
	if !errors.As(err, &no) || no.Written {
		v.wire[s.Part]++
	}
	v.tries = append(v.tries, s)
	v.mu.Unlock()
	if v.gate != nil {
		if err := v.gate(true); err != nil {
			return message.SubmitResult{}, &message.SubmitError{Reason: message.ReasonInternal, Written: true, Err: err}
		}
	}
	return r, err
}

func (v *vendor) written(part int) int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.wire[part]
}

type bundle struct {
	journal *journaltest.Journal
	vendor  *vendor
	config  *snapshot.Snapshot
	steps   *submit.Activities
	m       message.Message
	in      submit.Input
	acme    message.ID // the vendor that has it, when it is sent again
}

func setup(t testing.TB, parts int, delivery message.Delivery) *bundle {
	t.Helper()
	b := &bundle{journal: &journaltest.Journal{}, vendor: &vendor{}}
	body := strings.Repeat("a", 100)
	if parts > 1 {
		body = strings.Repeat("a", 153*parts)
	}
	b.m = message.Message{ID: message.NewID(), AccountID: message.NewID(), Status: message.StatusQueued, From: "+12025550143", To: "+13105550117",
		Body: body, Encoding: message.EncodingGSM7, Segments: parts, Delivery: delivery, ExpiresAt: now.Add(time.Hour), WebhookURL: "https://shop.example/hook"}
	b.journal.Put(b.m)
	b.in = submit.Input{MessageID: b.m.ID, Vendor: message.VendorRef{ID: message.NewID(), Name: "acme"}}
	b.config = config(b.m)
	b.steps = &submit.Activities{Journal: b.journal, Connector: func(message.ID) submit.Connector { return b.vendor }, Instance: "test",
		Gate: activities.Gate{Snapshot: func() *snapshot.Snapshot { return b.config }, Reviews: b.journal, Now: func() time.Time { return now }}}
	return b
}

// config is one in which the message may go.
func config(m message.Message) *snapshot.Snapshot {
	campaign := message.NewID()
	s := &snapshot.Snapshot{
		Accounts:  map[message.ID]*snapshot.Account{m.AccountID: {ID: m.AccountID, Status: snapshot.AccountActive}},
		Numbers:   map[message.Address]*snapshot.Number{m.From: {Number: m.From, AccountID: m.AccountID, SMSEnabled: true, Campaign: campaign}},
		Campaigns: map[message.ID]*snapshot.Campaign{campaign: {ID: campaign, AccountID: m.AccountID, CampaignID: "C8X2KQ1", Status: snapshot.CampaignActive}},
	}
	s.Index()
	return s
}

// first makes a message that nobody has submitted before, in the process that
// has just accepted it: the record does not show it queued yet.
func first(t testing.TB, parts int, delivery message.Delivery) *bundle {
	t.Helper()
	b := setup(t, parts, delivery)
	b.m.Status = message.StatusAccepted
	b.journal.Put(b.m)
	b.journal.Remembers = true
	b.in.Here = true
	b.in.Queued = &submit.Queued{Trail: []message.TrailEntry{{Rule: "route", Result: message.Pass}}, Candidates: 2, Why: "health"}
	return b
}

// setups are the two ways that a submit begins, with what the timeline says
// before it.
var setups = []struct {
	name   string
	make   func(t testing.TB, parts int, delivery message.Delivery) *bundle
	before []message.EventType
}{{"queued", setup, nil}, {"first", first, []message.EventType{"admitted", "queued"}}}

func (b *bundle) submit(t testing.TB) submit.Result {
	t.Helper()
	r, err := b.steps.Submit(context.Background(), b.in)
	if err != nil {
		t.Fatalf("Submit: %v", err)
	}
	return r
}

func (b *bundle) receipt(t testing.TB, id string, state message.ReceiptState) {
	t.Helper()
	if _, err := b.journal.Receipt(context.Background(), message.Receipt{ID: message.NewID(), VendorID: b.in.Vendor.ID, VendorMessageID: id, State: state}); err != nil {
		t.Fatal(err)
	}
}

func refuse(e message.SubmitError) func(message.Submission, int) (message.SubmitResult, error) {
	return func(message.Submission, int) (message.SubmitResult, error) { return message.SubmitResult{}, &e }
}

// only answers one part with an error and lets the others through.
func only(part int, e message.SubmitError) func(message.Submission, int) (message.SubmitResult, error) {
	return func(s message.Submission, _ int) (message.SubmitResult, error) {
		if s.Part == part {
			return message.SubmitResult{}, &e
		}
		return message.SubmitResult{VendorMessageID: "x", NormalizedID: fmt.Sprintf("id-%d-%d", s.Part, s.Attempt)}, nil
	}
}

var (
	answeredNo = message.SubmitError{Reason: message.ReasonVendorRejected, VendorCode: "45", Detail: "no", Written: true, Answered: true}
	throttled  = message.SubmitError{Reason: message.ReasonVendorThrottled, VendorCode: "58", Written: true, Answered: true, Again: true, After: 7 * time.Second}
	troubled   = message.SubmitError{Reason: message.ReasonVendorRejected, Written: true, Answered: true, Again: true}
	linkLost   = message.SubmitError{Reason: message.ReasonVendorUnreachable, Again: true, After: 5 * time.Second}
	silent     = message.SubmitError{Reason: message.ReasonSubmitInDoubt, Written: true}
)

func TestOutcomes(t *testing.T) {
	for _, c := range []struct {
		name     string
		parts    int
		delivery message.Delivery
		answer   func(message.Submission, int) (message.SubmitResult, error)
		want     submit.Result
		status   message.Status
		states   []message.PartState // of the first part
		told     bool                // the customer hears of it
	}{
		{name: "sent", parts: 1, want: submit.Result{Outcome: submit.Sent}, status: message.StatusSent, states: []message.PartState{message.PartSubmitted}, told: true},
		{name: "sent in parts", parts: 3, want: submit.Result{Outcome: submit.Sent}, status: message.StatusSent, states: []message.PartState{message.PartSubmitted}, told: true},
		{name: "refused", parts: 2, answer: refuse(answeredNo), want: submit.Result{Outcome: submit.Refused, Reason: message.ReasonVendorRejected, VendorCode: "45", Detail: "no"},
			status: message.StatusQueued, states: []message.PartState{message.PartRefused}},
		{name: "throttled", parts: 1, answer: refuse(throttled), want: submit.Result{Outcome: submit.Busy, Reason: message.ReasonVendorThrottled, VendorCode: "58", RetryAfter: 7 * time.Second, Throttled: true},
			status: message.StatusQueued, states: []message.PartState{message.PartRefused}},
		{name: "busy", parts: 1, answer: refuse(troubled), want: submit.Result{Outcome: submit.Busy, Reason: message.ReasonVendorRejected},
			status: message.StatusQueued, states: []message.PartState{message.PartRefused}},
		{name: "link lost before the write", parts: 1, answer: refuse(linkLost), want: submit.Result{Outcome: submit.Busy, Reason: message.ReasonVendorUnreachable, RetryAfter: 5 * time.Second},
			status: message.StatusQueued, states: []message.PartState{message.PartRefused}},
		{name: "silence", parts: 1, answer: refuse(silent), want: submit.Result{Outcome: submit.InDoubt, Reason: message.ReasonSubmitInDoubt},
			status: message.StatusInDoubt, states: []message.PartState{message.PartInDoubt}, told: true},
		{name: "silence for one part", parts: 2, answer: only(2, silent), want: submit.Result{Outcome: submit.InDoubt, Reason: message.ReasonSubmitInDoubt},
			status: message.StatusInDoubt, states: []message.PartState{message.PartSubmitted}, told: true},
		{name: "one part refused", parts: 2, answer: only(2, answeredNo), want: submit.Result{Outcome: submit.Partial, Reason: message.ReasonVendorRejected, VendorCode: "45", Detail: "no"},
			status: message.StatusSending, states: []message.PartState{message.PartSubmitted}},
		{name: "one part busy", parts: 2, answer: only(2, troubled), want: submit.Result{Outcome: submit.Busy, Reason: message.ReasonVendorRejected, Left: true},
			status: message.StatusQueued, states: []message.PartState{message.PartSubmitted}},
		{name: "a foreign error counts as written", parts: 1,
			answer: func(message.Submission, int) (message.SubmitResult, error) {
				return message.SubmitResult{}, errors.New("strange")
			},
			want: submit.Result{Outcome: submit.InDoubt, Reason: message.ReasonSubmitInDoubt}, status: message.StatusInDoubt, states: []message.PartState{message.PartInDoubt}, told: true},
		{name: "a panic counts as written", parts: 1, answer: func(message.Submission, int) (message.SubmitResult, error) { panic("bug") },
			want: submit.Result{Outcome: submit.InDoubt, Reason: message.ReasonSubmitInDoubt}, status: message.StatusInDoubt, states: []message.PartState{message.PartInDoubt}, told: true},
	} {
		for _, how := range setups {
			t.Run(how.name+", "+c.name, func(t *testing.T) {
				b := how.make(t, c.parts, message.AtMostOnce)
				b.vendor.answer = c.answer
				if c.name == "a panic counts as written" {
					b.steps.Connector = func(message.ID) submit.Connector { return panicky{} }
				}
				got := b.submit(t)
				told := got.Notify
				got.Notify = nil
				if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", c.want) {
					t.Errorf("result %+v, want %+v", got, c.want)
				}
				if s := b.journal.Status(b.m.ID); s != c.status {
					t.Errorf("status %s, want %s", s, c.status)
				}
				if s := b.journal.States(b.m.ID, 1); !slices.Equal(s, c.states) {
					t.Errorf("attempts %v, want %v", s, c.states)
				}
				if (len(told) > 0) != c.told {
					t.Errorf("told %d, want told: %v", len(told), c.told)
				}
				if got := b.journal.Timeline(b.m.ID); !slices.Equal(got[:len(how.before)], how.before) || slices.Contains(got[len(how.before):], "admitted") {
					t.Errorf("timeline %v", got)
				}
				if i := b.journal.Illegal(); len(i) > 0 {
					t.Errorf("illegal changes: %v", i)
				}
			})
		}
	}
}

type panicky struct{}

func (panicky) Whole() bool { return false }

func (panicky) Repeats() bool { return false }

func (panicky) Submit(context.Context, message.Submission) (message.SubmitResult, error) {
	panic("bug")
}

func TestSubmissionCarriesWhatTheWireNeeds(t *testing.T) {
	b := setup(t, 3, message.AtMostOnce)
	b.submit(t)
	slices.SortFunc(b.vendor.tries, func(x, y message.Submission) int { return x.Part - y.Part })
	var text string
	for i, s := range b.vendor.tries {
		if s.Part != i+1 || s.Parts != 3 || s.Attempt != 1 || s.Reference != b.vendor.tries[0].Reference || s.From != b.m.From || s.To != b.m.To || !s.ExpiresAt.Equal(b.m.ExpiresAt) {
			t.Errorf("part %d: %+v", i+1, s)
		}
		text += s.Text
	}
	if text != b.m.Body {
		t.Error("the parts do not make the text")
	}
	want := []message.EventType{"sending", "sending", "sending", "sent"}
	if got := b.journal.Timeline(b.m.ID); !slices.Equal(got, want) {
		t.Errorf("timeline %v", got)
	}
}

// The subject is an MMS's; one of text alone has no files, and needs none.
func TestSubjectAndFiles(t *testing.T) {
	for kind, want := range map[message.Kind]string{message.SMS: "", message.MMS: "Lunch?"} {
		b := setup(t, 1, message.AtMostOnce)
		b.m.Kind, b.m.Subject = kind, "Lunch?"
		b.journal.Put(b.m)
		n := b.config.Numbers[b.m.From]
		n.MMSEnabled = true
		b.submit(t)
		if len(b.vendor.tries) != 1 || b.vendor.tries[0].Subject != want || len(b.vendor.tries[0].Media) > 0 {
			t.Errorf("%s: the vendor has %+v", kind, b.vendor.tries)
		}
	}
}

func TestNoConnector(t *testing.T) {
	b := setup(t, 1, message.AtMostOnce)
	b.steps.Connector = func(message.ID) submit.Connector { return nil }
	r := b.submit(t)
	if r.Outcome != submit.Busy || r.Reason != message.ReasonVendorUnreachable || r.RetryAfter <= 0 {
		t.Errorf("result %+v", r)
	}
	if s := b.journal.States(b.m.ID, 1); len(s) != 0 {
		t.Errorf("journalled %v without a link", s)
	}
}

func TestAfterTheValidityNothingIsSent(t *testing.T) {
	b := setup(t, 1, message.AtMostOnce)
	b.steps.Gate.Now = func() time.Time { return b.m.ExpiresAt }
	r := b.submit(t)
	if r.Outcome != submit.Busy || r.Reason != message.ReasonExpired || b.vendor.written(1) != 0 {
		t.Errorf("result %+v, written %d", r, b.vendor.written(1))
	}
}

func TestMessageThatHasEnded(t *testing.T) {
	for _, status := range []message.Status{message.StatusCanceled, message.StatusExpired, message.StatusDelivered} {
		b := setup(t, 1, message.AtMostOnce)
		b.journal.SetStatus(b.m.ID, status)
		if r := b.submit(t); r.Outcome != submit.Ended || r.Status != status || b.vendor.written(1) != 0 {
			t.Errorf("%s: %+v", status, r)
		}
	}
}

func TestWithdrawnBetweenReadingAndJournalling(t *testing.T) {
	b := setup(t, 1, message.AtMostOnce)
	b.journal.Step = func(op string, done bool) error {
		if op == "parts" && done {
			b.journal.SetStatus(b.m.ID, message.StatusCanceled)
		}
		return nil
	}
	if r := b.submit(t); r.Outcome != submit.Ended || r.Status != message.StatusCanceled || b.vendor.written(1) != 0 {
		t.Errorf("%+v, written %d", r, b.vendor.written(1))
	}
}

func TestOnlyWhatIsMissingGoesAgain(t *testing.T) {
	b := setup(t, 3, message.AtMostOnce)
	b.vendor.answer = only(2, troubled)
	b.submit(t)
	b.vendor.answer = nil
	if r := b.submit(t); r.Outcome != submit.Sent {
		t.Fatalf("%+v", r)
	}
	if b.vendor.written(1) != 1 || b.vendor.written(2) != 2 || b.vendor.written(3) != 1 {
		t.Errorf("written %v", b.vendor.wire)
	}
	if s := b.journal.States(b.m.ID, 2); !slices.Equal(s, []message.PartState{message.PartRefused, message.PartSubmitted}) {
		t.Errorf("attempts of part 2: %v", s)
	}
}

func TestReceiptBeforeTheAnswer(t *testing.T) {
	b := setup(t, 1, message.AtMostOnce)
	b.receipt(t, "id-1-1", message.ReceiptDelivered)
	if r := b.submit(t); r.Outcome != submit.Sent || !r.Decided || !b.journal.Due(b.m.ID) {
		t.Errorf("%+v, due %v", r, b.journal.Due(b.m.ID))
	}
}

func TestEarlyReceiptOfOnePartDecidesNothing(t *testing.T) {
	b := setup(t, 2, message.AtMostOnce)
	b.receipt(t, "id-1-1", message.ReceiptDelivered)
	if r := b.submit(t); r.Outcome != submit.Sent || r.Decided {
		t.Errorf("%+v", r)
	}
}

// One part was lost at the vendor while another waits for it: nothing more is
// sent, and the receipts decide.
func TestLostPartStopsTheOthers(t *testing.T) {
	b := setup(t, 2, message.AtMostOnce)
	b.vendor.answer = only(2, troubled)
	b.submit(t)
	b.receipt(t, "id-1-1", message.ReceiptUndeliverable)
	b.vendor.answer = nil
	if r := b.submit(t); r.Outcome != submit.Settled || !r.Decided || b.vendor.written(2) != 1 {
		t.Errorf("%+v, written %d", r, b.vendor.written(2))
	}
}

// The early receipt of a part that was taken counts although another part keeps
// the message in the queue.
func TestEarlyReceiptBesideABusyPart(t *testing.T) {
	b := setup(t, 2, message.AtMostOnce)
	b.receipt(t, "id-1-1", message.ReceiptUndeliverable)
	b.vendor.answer = only(2, troubled)
	if r := b.submit(t); r.Outcome != submit.Busy || !r.Decided {
		t.Errorf("%+v", r)
	}
}

func TestPartialIsPartialAgain(t *testing.T) {
	b := setup(t, 2, message.AtMostOnce)
	b.vendor.answer = only(2, answeredNo)
	first := b.submit(t)
	b.vendor.answer = nil
	again := b.submit(t)
	if again.Outcome != submit.Partial || again.Reason != first.Reason || again.VendorCode != first.VendorCode || b.vendor.written(2) != 1 {
		t.Errorf("%+v, written %d", again, b.vendor.written(2))
	}
}

// A run that was cut off after the wire leaves a row in state sending.
func TestCutOffAfterTheWire(t *testing.T) {
	for _, c := range []struct {
		delivery message.Delivery
		outcome  submit.Outcome
		writes   int
		doubled  bool
		timeline []message.EventType
	}{
		{message.AtMostOnce, submit.InDoubt, 1, false, []message.EventType{"sending", "submit_unknown", "in_doubt"}},
		{message.AtLeastOnce, submit.Sent, 2, true, []message.EventType{"sending", "submit_unknown", "in_doubt", "queued", "sending", "sent"}},
	} {
		for _, how := range setups {
			t.Run(how.name+", "+string(c.delivery), func(t *testing.T) {
				b := how.make(t, 1, c.delivery)
				dead := false
				b.vendor.gate = func(done bool) error {
					dead = done
					return nil
				}
				b.journal.Step = func(string, bool) error {
					if dead {
						return journaltest.ErrDead
					}
					return nil
				}
				if _, err := b.steps.Submit(context.Background(), b.in); err == nil {
					t.Fatal("the dead process has an answer")
				}
				b.vendor.gate, b.journal.Step = nil, nil
				if r := b.submit(t); r.Outcome != c.outcome {
					t.Errorf("%+v", r)
				}
				if b.vendor.written(1) != c.writes {
					t.Errorf("written %d times, want %d", b.vendor.written(1), c.writes)
				}
				m, err := b.journal.Message(context.Background(), b.m.ID)
				if err != nil || m.DuplicatePoss != c.doubled {
					t.Errorf("possible duplicate %v, want %v (%v)", m.DuplicatePoss, c.doubled, err)
				}
				if got := b.journal.Timeline(b.m.ID); !slices.Equal(got, slices.Concat(how.before, c.timeline)) {
					t.Errorf("timeline %v, want %v after %v", got, c.timeline, how.before)
				}
				if i := b.journal.Illegal(); len(i) > 0 {
					t.Errorf("illegal changes: %v", i)
				}
			})
		}
	}
}

// A resend after the validity would be worse than the doubt.
func TestDoubtAfterTheValidityStaysDoubt(t *testing.T) {
	b := setup(t, 1, message.AtLeastOnce)
	b.vendor.answer = refuse(silent)
	b.submit(t)
	b.steps.Gate.Now = func() time.Time { return b.m.ExpiresAt }
	if r := b.submit(t); r.Outcome != submit.InDoubt || b.vendor.written(1) != 1 {
		t.Errorf("%+v, written %d", r, b.vendor.written(1))
	}
}

func TestTextThatDoesNotFitTheRecord(t *testing.T) {
	b := setup(t, 1, message.AtMostOnce)
	b.m.Segments = 2
	b.journal.Put(b.m)
	_, err := b.steps.Submit(context.Background(), b.in)
	var app *temporal.ApplicationError
	if !errors.As(err, &app) || app.Type() != string(message.ReasonInternal) {
		t.Errorf("error %v", err)
	}
}

func TestUnknownMessage(t *testing.T) {
	b := setup(t, 1, message.AtMostOnce)
	b.in.MessageID = message.NewID()
	_, err := b.steps.Submit(context.Background(), b.in)
	var app *temporal.ApplicationError
	if !errors.As(err, &app) || !app.NonRetryable() || app.Type() != string(message.ReasonNotFound) {
		t.Errorf("error %v", err)
	}
}

// Who looks at a timeline sees which vendor did not take a message, and what it said.
func TestTimelineNamesTheVendor(t *testing.T) {
	b := setup(t, 1, message.AtMostOnce)
	b.vendor.answer = refuse(throttled)
	if r := b.submit(t); r.Outcome != submit.Busy {
		t.Fatalf("%+v", r)
	}
	want := map[string]any{"part": 1, "attempt": 1, "vendor": b.in.Vendor.Name, "vendor_code": "58", "code": message.ReasonVendorThrottled}
	if got := b.journal.Details(b.m.ID, message.EventSubmitRefused); len(got) != 1 || !maps.Equal(got[0], want) {
		t.Errorf("%v, want %v", got, want)
	}
	b.vendor.answer = refuse(silent)
	if r := b.submit(t); r.Outcome != submit.InDoubt {
		t.Fatalf("%+v", r)
	}
	if got := b.journal.Details(b.m.ID, message.EventSubmitUnknown); len(got) != 1 || got[0]["vendor"] != b.in.Vendor.Name {
		t.Errorf("%v", got)
	}
}
