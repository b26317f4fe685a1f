// Package ingress is the only door into the journal and to the workflows:
// messages, receipts and cancellations come in here, whatever edge or vendor
// link they came by.
//
// The rule not to break: commit, answer, and only then start or tell the
// workflow. What is lost between the two the sweeper finds.
package ingress

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/postrider/postrider/activities/record"
	"github.com/postrider/postrider/internal/limit"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/notification"
	"github.com/postrider/postrider/internal/policy"
	"github.com/postrider/postrider/internal/snapshot"
	"github.com/postrider/postrider/workflows"
)

// Journal is what ingress needs of the record.
type Journal interface {
	Accept(ctx context.Context, in message.Acceptance) (message.Accepted, error)
	// Enter is Accept in two halves: messages are committed in the order in which
	// they entered. It does not block; wait is called once.
	Enter(in message.Acceptance) (wait func(ctx context.Context) (message.Accepted, error))
	// TakeTurns lets go at most limit messages whose turn in their conversation has
	// come, and reports whether some were waiting when it looked.
	TakeTurns(ctx context.Context, limit int) (free []message.Start, waiting bool, err error)
	// ListStatuses lists a piece of the messages by their status, and reports whether
	// there is more to do.
	ListStatuses(ctx context.Context) (more bool, err error)
	// Backlog counts the messages that are on their way out.
	Backlog(ctx context.Context) ([]message.Backlog, error)
	// Waiting counts the messages whose workflow has not begun, but for those that wait
	// for their turn in a conversation.
	Waiting(ctx context.Context) ([]message.Waiting, error)
	// Unstarted takes on messages of the outbox for this process: others do not get
	// them within the next seconds.
	Unstarted(ctx context.Context, instance string, age time.Duration, limit int, underway []message.ID) ([]message.Start, error)
	Started(ctx context.Context, ids []message.ID) error
	Receipt(ctx context.Context, r message.Receipt) (message.Matched, error)
	SettleDoubt(ctx context.Context, r message.Receipt) (message.Matched, error)
	Unmatched(ctx context.Context, age time.Duration, limit int) ([]message.Receipt, error)
	// SettlementsDue takes on decided messages: nobody else gets them within age.
	SettlementsDue(ctx context.Context, age time.Duration, limit int) ([]message.ID, error)
	// SettlementTold notes that a workflow was told: the settlement is forgotten if the
	// record shows the message's end, and is else due again later and later.
	SettlementTold(ctx context.Context, id message.ID) error
	OverdueNotifications(ctx context.Context, age time.Duration, limit int) ([]message.ID, error)
	DeferNotifications(ctx context.Context, ids []message.ID, by time.Duration) error
	// AddPart commits a part, with its key if there is one; the set comes back when
	// the part made it whole.
	AddPart(ctx context.Context, p message.SMPPPart, key *message.Idempotency) (message.SMPPPartAdded, error)
	// PartsDue gives the sets that were settled longer than join ago and are not
	// joined, and those that stayed incomplete for missing, which it settles. An
	// error may come beside sets.
	PartsDue(ctx context.Context, join, missing time.Duration, limit int) ([]message.SMPPPartSet, error)
	// MarkJoined takes the parts of a stored message away.
	MarkJoined(ctx context.Context, id message.ID) error
	Revisions
	Holds
	Meter
	Inbounds
	// FirstAnswer finds the stored answer of a key: nil when the key is free, and
	// ReasonIdempotencyMismatch when it came with another body.
	FirstAnswer(ctx context.Context, k message.Idempotency) (*message.Idempotency, error)
	Batches
	// RepeatParts lets the answers of a set lead to the message that it repeats. It
	// is called until done is true, or the set is no longer due.
	RepeatParts(ctx context.Context, set message.SMPPPartSet) (done bool, err error)
	// ForgetJoined forgets parts that may no longer come again.
	ForgetJoined(ctx context.Context, limit int) error
}

// Temporal is what ingress needs of Temporal. Errors of Decided, Revised,
// Reconsider, Reroute and Cancel are message.ReasonNotFound when the workflow has ended or was never started.
type Temporal interface {
	// Start starts a message's workflow. Started before counts as done, and
	// already is true.
	Start(ctx context.Context, id message.ID, in workflows.OutboundInput, about About) (already bool, err error)
	Decided(ctx context.Context, id message.ID) error
	Cancel(ctx context.Context, id message.ID) error
	Revised(ctx context.Context, id message.ID) error
	// Reconsider tells the workflow of a message that waits to look again.
	Reconsider(ctx context.Context, id message.ID) error
	// Reroute tells the workflow of a message to route it anew.
	Reroute(ctx context.Context, id message.ID) error
	// StartInbound starts the workflow of an inbound message. Started before counts as
	// done.
	StartInbound(ctx context.Context, in workflows.InboundInput) error
	// TellBatch tells the workflow of a batch that the batch was changed, and starts it if
	// it is not running. One that has ended counts as told.
	TellBatch(ctx context.Context, in workflows.BatchInput, about About) error
	// TellRedrive is TellBatch for a re-drive.
	TellRedrive(ctx context.Context, in workflows.RedriveInput, about About) error
	// PostWebhook starts the delivery of a notification that no workflow works
	// on. Started before counts as done.
	PostWebhook(ctx context.Context, account string, delivery message.ID) error
}

// About is what the Temporal UI shows of a message.
type About struct {
	AccountID message.ID
	Campaign  string
	Vendor    string // that will be asked first, as far as is known; empty: not known
	Priority  int
	Summary   string // one line, addresses masked
	Details   string // markdown
}

// Ingress accepts. Fill in the fields, then Start.
type Ingress struct {
	Journal  Journal
	Temporal Temporal
	Snapshot func() *snapshot.Snapshot
	// Outcome records what receipts say of a message whose workflow has ended.
	Outcome func(ctx context.Context, in record.Input) (record.Result, error)
	// OptOuts knows who has stopped whom; nil: nobody has.
	OptOuts policy.OptOuts
	// Pacer says when a message of a campaign may leave, for a dry run; nil: nothing
	// is paced.
	Pacer Estimator
	// MediaFile finds a file that the account has uploaded, for rows of batches; nil: there
	// is no media store.
	MediaFile func(ctx context.Context, account, id message.ID) (message.MediaFile, error)
	// Rates counts rows of batches at the rate of their sender, as edges count messages;
	// nil: they are not counted.
	Rates limit.Many
	// MediaURL is where anybody reads a file, for accounts whose MMS may go as texts with
	// links; nil: none do.
	MediaURL func(f message.MediaFile) string
	// Health judges a vendor; nil: all are healthy. It decides what a message is expected
	// to cost and which vendor its workflow is expected to ask first, nothing more.
	Health func(vendor message.ID) message.VendorHealth
	// CheckURL refuses a webhook URL that may not be called; nil allows all.
	CheckURL func(url string) error
	Instance string // names this process among those that share the journal
	Log      *slog.Logger
	Now      func() time.Time
	// Starters is how many workflow starts may be under way at once. 0:
	// DefaultStarters. Acceptance and processing share the CPU, so a flood of
	// starts would starve the messages it starts.
	Starters int
	// Admission bounds what is accepted while more comes than can be worked on.
	Admission Admission
	// Calls tell processes of what they are to start; nil: they find it by their sweeps,
	// some seconds later.
	Calls    Calls
	Currency string // ISO 4217 of the routes' rates
	// FirstTries makes the first tries of webhooks about acceptance, and gives those that
	// need more; nil: the sweep makes them.
	FirstTries func(ctx context.Context, deliveries []message.ID) (left []message.ID)
	// PartsWait is how long after its newest part an inbound message waits for the
	// others before it is taken as it is. 0: message.InboundWait.
	PartsWait time.Duration
	// SweepEvery is how often the work tables are looked at when nothing pokes. 0: 2 s.
	SweepEvery time.Duration
	Metrics    Metrics

	// NoStarts is for a process without a worker for workflows: it takes receipts
	// in and sweeps, and leaves its messages in the outbox for those who start
	// them eagerly, whom it tells.
	NoStarts bool

	once      sync.Once    // for ready
	accepting atomic.Int64 // acceptances under way
	rush      rush
	away      atomic.Int64 // Unix nanoseconds until which Temporal counts as away for withdrawals
	starter   starter
	sweeper   sweeper
	replier   replier
	inStarter inboundStarter
	batches   batchTeller
	caller    caller
	hearer    hearer
	turns     turnTaker
	backlog   backlog
	firsts    firsts
	gate      gate
	expected  expected
}

// Metrics are called when something happened; nil fields are not called.
type Metrics struct {
	Accepted func(edge string, took time.Duration)
	Status   func(m *message.Message, status message.Status, reason message.Reason)
	Receipt  func(vendor message.ID, state message.ReceiptState)
	// Inbound is told of each message, or part of one, from a vendor. account is zero
	// when the number is nobody's. first is false for parts behind the first.
	Inbound func(vendor, account message.ID, first bool)
	// Joined is told of each inbound message that was made of parts, and how many of
	// them never came.
	Joined func(missing int)
	// Redriven is told of each inbound message that was nobody's and is the account's now.
	Redriven func(account message.ID)
	// Flagged is told of each class of content rules that flag or hold a message.
	Flagged func(m *message.Message, class string)
	// Backlog is told how many messages are on their way out, of all processes.
	Backlog func(now []message.Backlog)
	// Admission is told at each count how a class is taken, and how long its oldest
	// message has waited for its workflow (0: none waits).
	Admission func(class message.Class, state AdmissionState, oldest time.Duration)
	// Called is told after each call how many messages others were told of, and how many
	// they have to find by their sweeps.
	Called func(told, left int)
	// Heard is told how many messages this process has taken on because another told of
	// them.
	Heard func(n int)
	// NotAdmitted is told of each message that was refused because too many wait.
	NotAdmitted func(class message.Class, reason message.Reason)
}

// maxCharacters is the longest text that is taken, in characters.
const maxCharacters = 1600

// maxSchedule is how far ahead a message may be scheduled, and pastSchedule how
// far a send time may lie back without being a mistake.
const (
	maxSchedule  = 35 * 24 * time.Hour
	pastSchedule = 60 * time.Second
)

// Start runs the starters and the sweeper until Stop. Messages and receipts may
// come in before and after: they wait in their tables.
func (in *Ingress) Start(ctx context.Context) {
	in.ready()
	if in.NoStarts {
		in.caller.start(ctx)
	} else {
		in.starter.start(ctx)
		in.turns.start(ctx)
		in.hearer.start(ctx)
	}
	in.firsts.start(ctx)
	in.backlog.start(ctx)
	in.gate.start(ctx)
	in.replier.start(ctx)
	in.inStarter.start(ctx)
	in.batches.start(ctx)
	in.sweeper.start(ctx)
}

// ready makes what every caller may touch, whether or not Start was called.
func (in *Ingress) ready() {
	in.once.Do(func() {
		in.rush.make()
		in.starter.make(in)
		in.turns.make(in)
		in.caller.make(in)
		in.hearer.make(in)
		in.backlog.make(in)
		in.firsts.make(in)
		in.gate.make(in)
		in.sweeper.make(in)
		in.replier.make(in)
		in.inStarter.make(in)
		in.batches.make(in)
		in.expected.make(in.sweeper.settle)
	})
}

// Stop ends them. Messages whose start was under way stay in the outbox. Calling
// it again is harmless.
func (in *Ingress) Stop() {
	in.expected.close()
	in.sweeper.stop()
	in.batches.stop()
	in.inStarter.stop()
	in.replier.stop()
	in.gate.stop()
	in.backlog.stop()
	in.firsts.stop()
	in.hearer.stop()
	in.caller.stop()
	in.turns.stop()
	in.starter.stop()
}

// Left says that a message of the account, of a class of that priority, is out of the
// backlog. It does not block.
func (in *Ingress) Left(account message.ID, priority int) {
	in.ready()
	in.backlog.left(line{account, priority})
	in.turns.poke()
}

// Accept checks a request, commits it and returns. An error is a
// *message.Error: with Outcome.Message set when the refusal was recorded,
// without when nothing was stored. After a nil error the message is on disk and
// will reach a final status.
func (in *Ingress) Accept(ctx context.Context, r Request) (Outcome, error) { return in.Enter(r)(ctx) }

// Enter is Accept in two halves. The first checks the request and gives it its
// place in the order of acceptance; it does not block. The second, wait, is
// called once and does the rest: messages that entered one after another are in
// the journal in that order, and leave in it if they are of one conversation
// whose account asks for that.
func (in *Ingress) Enter(r Request) (wait func(ctx context.Context) (Outcome, error)) {
	in.ready()
	began := in.Now()
	s := in.Snapshot()
	m, err := in.read(s, r, began)
	if err != nil {
		return in.refuse(r, err)
	}
	if !r.DryRun {
		if err := in.gate.admit(m, began); err != nil {
			// What its key may have been answered with before is not looked up: the
			// customer comes back, and the look would cost what the refusal saves.
			return func(context.Context) (Outcome, error) { return Outcome{}, err }
		}
	}
	m, d := in.decideAny(s, r, m)
	if r.DryRun {
		return func(ctx context.Context) (Outcome, error) { return in.rehearse(ctx, s, m, d) }
	}
	out := Outcome{Message: m, Trail: d.Trail}
	account := s.Accounts[m.AccountID]
	a := message.Acceptance{Message: m, Trail: d.Trail, Hold: holdOf(account, m), Metered: metered(account, m), Unfit: in.unfit(r)}
	a.MM4 = r.MM4
	if r.SMPP != nil {
		origin := *r.SMPP
		if origin.AnswerID == "" {
			origin.AnswerID = message.Hex32(m.ID)
		}
		a.Origin = &origin
	}
	if r.Key != nil {
		if a.Idempotency, err = in.answer(r, m, d.Error); err != nil {
			return in.refuse(r, err)
		}
		if d.Error != nil && a.Idempotency.Status == http.StatusTooManyRequests {
			a.Idempotency = nil
		}
	}
	if d.Error == nil {
		if a.Notifications, err = notification.Of(s, m, false); err != nil {
			return in.refuse(r, err)
		}
		if err := in.backlog.enter(account, m); err != nil {
			return in.refuse(r, err)
		}
	}
	in.accepting.Add(1)
	in.rush.came(began)
	commit := in.Journal.Enter(a)
	return func(ctx context.Context) (Outcome, error) {
		accepted, err := commit(ctx)
		in.accepting.Add(-1)
		switch {
		case err != nil || accepted.Replay != nil:
			if d.Error == nil {
				in.backlog.left(lineOf(m))
			}
			return Outcome{Replay: accepted.Replay}, err
		}
		out.Trail = accepted.Fit.In(out.Trail)
		switch {
		case unfit(m, &d, accepted.Fit):
			in.backlog.left(lineOf(m))
		case !accepted.Repeated:
			in.firsts.offer(m.AccountID, a.Notifications)
		}
		in.tell(m, d, accepted.Waits, began)
		return out, refusal(d)
	}
}

// refuse is the end of a request that is not stored, unless it was answered
// before.
func (in *Ingress) refuse(r Request, err error) func(context.Context) (Outcome, error) {
	return func(ctx context.Context) (Outcome, error) {
		first, err := in.repeated(ctx, r, err)
		return Outcome{Replay: first}, err
	}
}

// holdOf is how long a message may hold up its conversation; 0 when it is in no
// order. One for later has its place in time, not among those of now.
func holdOf(account *snapshot.Account, m *message.Message) time.Duration {
	if account == nil || !account.Ordered(m.Edge) || m.SendAt.After(m.CreatedAt) {
		return 0
	}
	return cmp.Or(account.ConversationHold, snapshot.DefaultConversationHold)
}

// decide asks the policy and notes in the message what it says.
func (in *Ingress) decide(s *snapshot.Snapshot, r Request, m *message.Message) policy.Decision {
	d := policy.Evaluate(s, in.question(m, r.Credential))
	withRate(&d, r.Rate)
	m.CampaignID = d.CampaignID
	if len(d.Candidates) > 0 {
		m.Price = message.Price{Amount: d.Candidates[0].Rate * message.Micros(m.Segments), Currency: in.Currency, Estimated: true}
	}
	if d.Error != nil {
		m.Status, m.Error = message.StatusRejected, d.Error
	}
	return d
}

// decideAny is decide and, for an MMS to which no way leads, what it says of the text that
// may go instead. If that may not either, the first refusal stands.
func (in *Ingress) decideAny(s *snapshot.Snapshot, r Request, m *message.Message) (*message.Message, policy.Decision) {
	d := in.decide(s, r, m)
	if d.Error == nil || d.Error.Reason != message.ReasonNoRoute {
		return m, d
	}
	t := policy.AsText(s, m, in.MediaURL)
	if t == nil {
		return m, d
	}
	if instead := in.decide(s, r, t); instead.Error == nil {
		return t, instead
	}
	return m, d
}

// question is what the policy is asked about a message at the door.
func (in *Ingress) question(m *message.Message, cred *snapshot.Credential) policy.Question {
	return policy.Question{Message: m, Credential: cred, Now: in.Now(), OptOuts: in.OptOuts, Health: in.Health}
}

// tell passes on that a message is in the journal: to the starters, here or elsewhere,
// unless it was refused or waits for its turn, and to the metrics.
func (in *Ingress) tell(m *message.Message, d policy.Decision, waits bool, began time.Time) {
	switch {
	case d.Error != nil:
	case in.NoStarts:
		in.caller.tell(m, waits)
	case waits:
		in.turns.watch()
	default:
		in.starter.offer(startOf(m, d.Candidates[0].Vendor.Name))
	}
	if in.Metrics.Flagged != nil {
		for _, class := range d.Flagged {
			in.Metrics.Flagged(m, class)
		}
	}
	if in.Metrics.Accepted != nil {
		in.Metrics.Accepted(m.Edge, in.Now().Sub(began))
	}
	if in.Metrics.Status != nil {
		in.Metrics.Status(m, m.Status, message.ReasonOf(refusal(d)))
	}
}

// refusal keeps a nil *Error from becoming an error that is not nil.
func refusal(d policy.Decision) error {
	if d.Error == nil {
		return nil
	}
	return d.Error
}

func (in *Ingress) answer(r Request, m *message.Message, refused *message.Error) (*message.Idempotency, error) {
	status, body, err := r.Key.Render(m, refused)
	if err != nil {
		return nil, message.Because(message.ReasonInternal, err, "")
	}
	return &message.Idempotency{AccountID: r.AccountID, Operation: r.Key.Operation, Key: r.Key.Value, BodyHash: r.Key.BodyHash, Status: status, Response: body}, nil
}
