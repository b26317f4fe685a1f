package workflows_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/postrider/postrider/activities/admit"
	"github.com/postrider/postrider/activities/prepare"
	"github.com/postrider/postrider/activities/record"
	"github.com/postrider/postrider/activities/route"
	"github.com/postrider/postrider/activities/submit"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/pace"
	"github.com/postrider/postrider/workflows"
)

// down is the answer of a vendor whose queue nobody polls.
const down submit.Outcome = "down"

// steps are the activities of a message's life over one message held in memory.
// A status moves only where it legally can; a test says what the policy, the
// routing, the vendors and the customer's endpoint answer.
type steps struct {
	mu        sync.Mutex
	status    message.Status
	reason    message.Reason
	history   []message.Status
	receipts  message.Status // what the receipts have decided; empty: nothing yet
	told      []message.Status
	pending   []message.ID // deliveries that are not done
	posts     int          // runs of PostWebhook
	tries     int          // first tries
	tried     []message.ID // deliveries that had theirs
	offers    []string     // vendors in the order they were asked, with "here" for a local submit
	offeredAt []time.Time
	listedAt  []time.Time // when the vendors were listed anew
	submits   []submit.Input
	notes     int // of a route whose queueing was left to the submit
	waits     int // for receipts that come at once
	wrong     []string

	admission  admit.Result
	admissions []admit.Result // of the first admissions; then admission's turn comes
	released   []pace.Slot
	candidates []route.Candidate
	relists    [][]route.Candidate                             // what is listed anew, one after the other; then candidates' turn comes
	resend     time.Duration                                   // that the routing asks for
	vendor     func(name string, n int) (submit.Result, error) // n counts from 1 over all submits
	inSubmit   func(n int)                                     // called while a submit is under way
	awaited    func() bool                                     // whether receipts decide while they are waited for; nil: never
	webhook    func(n int) bool                                // whether the endpoint takes the nth try; nil: always
	recordErr  func(in record.Input) error                     // a failure of the database; nil: none
	chooseErr  error
	noteErr    func(n int) error // of the nth note of a route; nil: none
	putBack    bool              // a process that was taken for dead has said that nothing left
	routed     []route.Input     // that were not left to the submit
	chosen     func()            // called after a route was chosen, before the step answers

	revision int           // of the record
	times    message.Times // of the record; zero: those of the workflow's input
	stale    bool          // the process of the first admission remembers the message as it was accepted
	admits   []admit.Input
	admitted func() // called after an admission, before the step answers

	prepared []string                                           // vendors that files were made ready for
	files    func(vendor string, n int) (prepare.Result, error) // n counts from 1; nil: all goes well

	texts bool // the account wants an MMS that is refused to go as a text
	fell  int  // how often it became one

	retryAfter time.Duration // of a webhook that was not taken
	apart      bool          // each step does one thing, as those of earlier processes did
	moved      *sync.Cond    // of mu; told of every step; nil: nobody waits

	recall  *recall // of the offer that was made last
	env     *testsuite.TestWorkflowEnvironment
	options []workflow.ActivityOptions // of the regular activities, in order
	attrs   []temporal.SearchAttributes
}

func (s *steps) move(to message.Status) bool {
	if !s.status.CanBecome(to) {
		return false
	}
	s.status = to
	s.history = append(s.history, to)
	return true
}

func (s *steps) tell() []message.ID {
	id := message.NewID()
	s.pending = append(s.pending, id)
	s.told = append(s.told, s.status)
	return []message.ID{id}
}

func (s *steps) Admit(ctx context.Context, in admit.Input) (admit.Result, error) {
	r, err := s.admit(in)
	if err != nil || s.apart || !in.Route || !r.Allowed || r.Revised {
		return r, err
	}
	if chosen, err := s.ChooseRoute(ctx, route.Input{MessageID: in.MessageID, Revision: r.Revision, Trail: r.Trail, Hold: r.Hold}); err == nil {
		r.Route = &chosen
	}
	return r, nil
}

func (s *steps) admit(in admit.Input) (admit.Result, error) {
	if s.admitted != nil {
		defer s.admitted()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.admits = append(s.admits, in)
	if s.status.Final() {
		return admit.Result{Status: s.status, Reason: s.reason, Notify: slices.Clone(s.pending)}, nil
	}
	r := s.admission
	if len(s.admissions) > 0 {
		r, s.admissions = s.admissions[0], s.admissions[1:]
	}
	if r.Revision = s.revision; s.stale && !in.Fresh {
		r.Revision = 0
	} else if t := s.others(in.Times); t != nil {
		r.Times = t
		if t.SendAt.After(in.Times.SendAt) && t.SendAt.After(s.now()) {
			return admit.Result{Revised: true, Revision: r.Revision, Times: t}, nil
		}
	}
	if !r.Allowed && s.move(r.Status) {
		s.reason = r.Reason
		r.Notify = s.tell()
	}
	return r, nil
}

func (s *steps) Release(_ context.Context, slot pace.Slot) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.released = append(s.released, slot)
	return nil
}

// others gives the record's times when they are not those that are known.
func (s *steps) others(known message.Times) *message.Times {
	if s.times.ExpiresAt.IsZero() || known.ExpiresAt.IsZero() || s.times.Equal(known) {
		return nil
	}
	t := s.times
	return &t
}

func (s *steps) now() time.Time {
	if s.env != nil {
		return s.env.Now()
	}
	return time.Now()
}

// ChooseRoute notes the queueing on the way forward only: a submit may have
// gone on since.
func (s *steps) ChooseRoute(_ context.Context, in route.Input) (route.Result, error) {
	if s.chosen != nil {
		defer s.chosen()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.chooseErr != nil {
		return route.Result{}, s.chooseErr
	}
	if s.fresh() && in.Revision != s.revision {
		return route.Result{Revised: true}, nil
	}
	if in.Again {
		return s.routedAgain(in), nil
	}
	if len(s.candidates) == 0 {
		s.move(message.StatusRejected)
		s.reason = message.ReasonNoRoute
		return route.Result{Status: s.status, Reason: message.ReasonNoRoute, Notify: s.tell()}, nil
	}
	if in.Record {
		s.notes++
		if s.noteErr != nil {
			if err := s.noteErr(s.notes); err != nil {
				return route.Result{}, err
			}
		}
	} else if s.candidates[0].Here && in.Hold == nil {
		return route.Result{Candidates: s.candidates, Unrecorded: true, ResendAfter: s.resend}, nil
	}
	if s.fresh() {
		s.move(message.StatusQueued)
	}
	s.routed = append(s.routed, in)
	if s.status.Final() {
		return route.Result{Status: s.status, Notify: slices.Clone(s.pending)}, nil
	}
	return route.Result{Candidates: s.candidates, ResendAfter: s.resend}, nil
}

// routedAgain lists the candidates of now.
func (s *steps) routedAgain(in route.Input) route.Result {
	s.routed = append(s.routed, in)
	if s.env != nil {
		s.listedAt = append(s.listedAt, s.env.Now())
	}
	if s.fresh() {
		s.move(message.StatusQueued)
	}
	if s.status.Final() {
		return route.Result{Status: s.status, Notify: slices.Clone(s.pending)}
	}
	if len(s.relists) > 0 {
		s.candidates, s.relists = s.relists[0], s.relists[1:]
	}
	return route.Result{Candidates: s.candidates, ResendAfter: s.resend}
}

// fresh reports whether the record does not show the queueing yet.
func (s *steps) fresh() bool {
	return s.status == message.StatusAccepted || s.status == message.StatusScheduled
}

func (s *steps) Submit(ctx context.Context, in submit.Input) (submit.Result, error) {
	r, err := s.submit(ctx, in)
	if err != nil || s.apart || !in.Through {
		return r, err
	}
	r.Notify, r.Tried = s.first(r.Notify), true
	if r.Outcome != submit.Sent {
		return r, nil
	}
	if recorded, err := s.RecordOutcome(ctx, record.Input{MessageID: in.MessageID, Wait: !r.Decided, Tell: true}); err == nil {
		r.Recorded = &recorded
	}
	return r, nil
}

func (s *steps) submit(ctx context.Context, in submit.Input) (submit.Result, error) {
	s.mu.Lock()
	local := activity.GetInfo(ctx).IsLocalActivity
	here := ""
	if local {
		here = " here"
	}
	s.offers, s.submits = append(s.offers, in.Vendor.Name+here), append(s.submits, in)
	if in.Here != local || in.Queued != nil && !local {
		s.wrong = append(s.wrong, fmt.Sprintf("submit%s with %+v", here, in))
	}
	if s.fresh() && in.Queued == nil {
		s.wrong = append(s.wrong, fmt.Sprintf("submit%s of a message that is %s", here, s.status))
	}
	if s.env != nil {
		s.offeredAt = append(s.offeredAt, s.env.Now())
	}
	n := len(s.offers)
	if s.status.Final() {
		defer s.mu.Unlock()
		return s.endedBefore(), nil
	}
	if s.fresh() && in.Revision != s.revision {
		defer s.mu.Unlock()
		return submit.Result{Outcome: submit.Revised}, nil
	}
	if s.receipts != "" || in.Resend && s.status != message.StatusSent && s.status != message.StatusInDoubt {
		defer s.mu.Unlock()
		// Of what a process that was taken for dead has put back, the workflow hears by
		// this answer; nothing is sent.
		if s.receipts == "" && !(s.putBack && s.status == message.StatusQueued) {
			s.wrong = append(s.wrong, fmt.Sprintf("sent again while it is %s", s.status))
		}
		return submit.Result{Outcome: submit.Settled, Decided: true}, nil
	}
	s.mu.Unlock()
	r, err := s.vendor(in.Vendor.Name, n)
	if s.inSubmit != nil {
		s.inSubmit(n)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Outcome == down && local { // nothing waits on a queue inside a task
		r = unreachable
	}
	if r.Outcome == down {
		return submit.Result{}, s.nobodyPolls(ctx)
	}
	if err != nil {
		return submit.Result{}, err
	}
	if s.status.Final() { // withdrawn meanwhile: the step to sending has lost
		return s.endedBefore(), nil
	}
	return s.answered(in, r), nil
}

func (s *steps) endedBefore() submit.Result {
	return submit.Result{Outcome: submit.Ended, Status: s.status, Reason: s.reason, Notify: slices.Clone(s.pending)}
}

// answered writes what the vendor has said.
func (s *steps) answered(in submit.Input, r submit.Result) submit.Result {
	if in.Resend { // only another yes changes anything
		if r.Outcome == submit.Sent && s.move(message.StatusSent) {
			r.Notify = s.tell()
		}
		r.Decided = s.receipts != ""
		return r
	}
	if r.Gone {
		return r // nothing is written
	}
	idle := r.Reason == message.ReasonVendorUnreachable || r.Reason == message.ReasonExpired
	if in.Queued != nil && r.Outcome == submit.Busy && idle {
		return r // without a link, or past the validity, the first submit writes nothing
	}
	if s.status == message.StatusInDoubt || in.Queued != nil && s.fresh() {
		s.move(message.StatusQueued)
	}
	s.move(message.StatusSending)
	switch r.Outcome {
	case submit.Sent:
		s.move(message.StatusSent)
		r.Notify = s.tell()
		r.Decided = s.receipts != ""
	case submit.InDoubt:
		s.move(message.StatusInDoubt)
		r.Notify = s.tell()
	case submit.Busy, submit.Refused, submit.Held:
		s.move(message.StatusQueued)
	}
	return r
}

// recall is the taking back of an offer over a vendor's queue.
type recall struct {
	waits  bool // the offer waits on the queue
	wanted bool
}

// nobodyPolls leaves the activity open until its time in the queue is over, as
// the server would.
func (s *steps) nobodyPolls(ctx context.Context) error {
	if s.recall.wanted {
		return temporal.NewCanceledError()
	}
	s.recall.waits = true
	token := activity.GetInfo(ctx).TaskToken
	wait := s.options[len(s.options)-1].ScheduleToStartTimeout
	s.env.RegisterDelayedCallback(func() {
		// The activity may have been canceled by then.
		_ = s.env.CompleteActivity(token, nil, temporal.NewTimeoutError(enumspb.TIMEOUT_TYPE_SCHEDULE_TO_START, nil))
	}, wait)
	return activity.ErrResultPending
}

// optionsOf notes the options of the activities that a workflow asks for.
type optionsOf struct {
	interceptor.WorkerInterceptorBase
	steps *steps
}

func (o *optionsOf) InterceptWorkflow(ctx workflow.Context, next interceptor.WorkflowInboundInterceptor) interceptor.WorkflowInboundInterceptor {
	return &inbound{WorkflowInboundInterceptorBase: interceptor.WorkflowInboundInterceptorBase{Next: next}, steps: o.steps}
}

type inbound struct {
	interceptor.WorkflowInboundInterceptorBase
	steps *steps
}

func (i *inbound) Init(out interceptor.WorkflowOutboundInterceptor) error {
	return i.Next.Init(&outbound{WorkflowOutboundInterceptorBase: interceptor.WorkflowOutboundInterceptorBase{Next: out}, steps: i.steps})
}

type outbound struct {
	interceptor.WorkflowOutboundInterceptorBase
	steps *steps
}

func (o *outbound) ExecuteActivity(ctx workflow.Context, name string, args ...any) workflow.Future {
	o.steps.mu.Lock()
	o.steps.options = append(o.steps.options, workflow.GetActivityOptions(ctx))
	o.steps.mu.Unlock()
	if !workflow.GetActivityOptions(ctx).WaitForCancellation {
		return o.Next.ExecuteActivity(ctx, name, args...)
	}
	return o.takenBackOnly(ctx, name, args...)
}

// takenBackOnly cancels an activity only while it waits on its queue, as the server
// does for one whose answer counts: the test environment itself drops the answer of
// one that runs.
func (o *outbound) takenBackOnly(ctx workflow.Context, name string, args ...any) workflow.Future {
	detached, _ := workflow.NewDisconnectedContext(ctx)
	offer, cancel := workflow.WithCancel(detached)
	recall := new(recall)
	o.steps.mu.Lock()
	o.steps.recall = recall
	o.steps.mu.Unlock()
	workflow.Go(ctx, func(ctx workflow.Context) {
		ctx.Done().Receive(ctx, nil)
		o.steps.mu.Lock()
		recall.wanted = true
		waits := recall.waits
		o.steps.mu.Unlock()
		if waits {
			cancel()
		}
	})
	return o.Next.ExecuteActivity(offer, name, args...)
}

func (o *outbound) UpsertTypedSearchAttributes(ctx workflow.Context, attributes ...temporal.SearchAttributeUpdate) error {
	o.steps.mu.Lock()
	o.steps.attrs = append(o.steps.attrs, temporal.NewSearchAttributes(attributes...))
	o.steps.mu.Unlock()
	return o.Next.UpsertTypedSearchAttributes(ctx, attributes...)
}

var start = time.Date(2026, 11, 21, 20, 0, 0, 0, time.UTC)

const (
	validity = 4 * time.Hour
	grace    = 15 * time.Minute
)

type bundle struct {
	*steps
	t  *testing.T
	in workflows.OutboundInput
}

// setup makes a world in which everything goes well over one vendor, acme,
// whose link is elsewhere.
func setup(t *testing.T) *bundle {
	t.Helper()
	b := &bundle{t: t, steps: &steps{status: message.StatusAccepted, retryAfter: time.Hour}}
	b.admission = admit.Result{Allowed: true}
	b.candidates = []route.Candidate{{VendorID: message.NewID(), Name: "acme", Grace: grace}}
	b.vendor = func(string, int) (submit.Result, error) { return submit.Result{Outcome: submit.Sent}, nil }
	b.in = workflows.OutboundInput{MessageID: message.NewID(), AccountID: message.NewID(), Class: message.ClassConversation, ExpiresAt: start.Add(validity)}
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(quiet{})
	b.env = suite.NewTestWorkflowEnvironment()
	b.env.SetTestTimeout(time.Minute)
	b.env.SetStartTime(start)
	// A machine that does many things at once may not come to a step for a second.
	b.env.SetWorkerOptions(worker.Options{DeadlockDetectionTimeout: time.Minute, Interceptors: []interceptor.WorkerInterceptor{&optionsOf{steps: b.steps}}})
	b.env.RegisterActivity(b.steps)
	b.env.RegisterWorkflowWithOptions(workflows.Outbound, workflow.RegisterOptions{Name: workflows.OutboundType})
	return b
}

// second adds a vendor, zeta, behind acme.
func (b *bundle) second() *bundle {
	b.candidates = append(b.candidates, route.Candidate{VendorID: message.NewID(), Name: "zeta", Grace: grace})
	return b
}

// at runs f so long after the start.
func (b *bundle) at(d time.Duration, f func()) { b.env.RegisterDelayedCallback(f, d) }

// receipt lets receipts decide the message and tells the workflow by update.
func (b *bundle) receipt(d time.Duration, status message.Status) {
	b.at(d, func() {
		b.decide(status)
		b.env.UpdateWorkflow(workflows.UpdateDecided, "", &testsuite.TestUpdateCallback{
			OnReject:   func(err error) { b.t.Errorf("the update was refused: %v", err) },
			OnAccept:   func() {},
			OnComplete: func(any, error) {},
		})
	})
}

func (b *bundle) decide(status message.Status) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.receipts = status
}

// cancel withdraws the message and gives its answer to check.
func (b *bundle) cancel(d time.Duration, check func(err error)) {
	b.at(d, func() {
		b.env.UpdateWorkflow(workflows.UpdateCancel, "", &testsuite.TestUpdateCallback{
			OnReject:   func(err error) { b.t.Errorf("the update was refused: %v", err) },
			OnAccept:   func() {},
			OnComplete: func(_ any, err error) { check(err) },
		})
	})
}

// run carries the message to its end, which must be final, the same for the
// workflow and the record, and told to the customer.
func (b *bundle) run(status message.Status, reason message.Reason) time.Duration {
	b.t.Helper()
	b.env.ExecuteWorkflow(workflows.OutboundType, b.in)
	if !b.env.IsWorkflowCompleted() {
		b.t.Fatal("the workflow has not ended")
	}
	var r workflows.OutboundResult
	if err := b.env.GetWorkflowResult(&r); err != nil {
		b.t.Fatalf("the workflow failed: %v", err)
	}
	b.check(r, status, reason)
	return b.env.Now().Sub(start)
}

func (b *bundle) check(r workflows.OutboundResult, status message.Status, reason message.Reason) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if r.Status != status || r.Reason != reason {
		b.t.Errorf("the workflow says %+v, want %s, %q", r, status, reason)
	}
	if b.status != status || !status.Final() {
		b.t.Errorf("the record says %s, want %s", b.status, status)
	}
	if len(b.wrong) > 0 {
		b.t.Errorf("wrong: %v", b.wrong)
	}
	if len(b.told) == 0 || b.told[len(b.told)-1] != status {
		b.t.Errorf("the customer was told %v", b.told)
	}
	if n := len(b.attrs); n == 0 {
		b.t.Error("no search attributes")
	} else if v, ok := b.attrs[n-1].GetKeyword(workflows.AttrOutcome); !ok || v != string(status) {
		b.t.Errorf("Outcome is %q", v)
	}
}

func (b *bundle) offered(want ...string) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if !slices.Equal(b.offers, want) {
		b.t.Errorf("offered to %v, want %v", b.offers, want)
	}
}

func (b *bundle) toldOf(want ...message.Status) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if !slices.Equal(b.told, want) {
		b.t.Errorf("told %v, want %v", b.told, want)
	}
}

// tooLarge is the refusal of an MMS that may be taken when it is smaller.
var tooLarge = submit.Result{Outcome: submit.Refused, Reason: message.ReasonMediaRejected, Detail: "the vendor says 40317"}

var errAway = errors.New("the database is away")

// quiet drops the log.
type quiet struct{}

func (quiet) Debug(string, ...any) {}
func (quiet) Info(string, ...any)  {}
func (quiet) Warn(string, ...any)  {}
func (quiet) Error(string, ...any) {}

func ignore() *testsuite.TestUpdateCallback {
	return &testsuite.TestUpdateCallback{OnReject: func(error) {}, OnAccept: func() {}, OnComplete: func(any, error) {}}
}
