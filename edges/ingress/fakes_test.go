package ingress_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/postrider/postrider/activities/record"
	"github.com/postrider/postrider/edges/ingress"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
	"github.com/postrider/postrider/workflows"
)

var errAway = errors.New("away")

// journal keeps messages, outbox and work tables in memory. Rows age by the
// clock of the test.
type journal struct {
	mu       sync.Mutex
	down     error
	slow     chan struct{} // acceptances from the edge "slow" wait for it
	accepted []message.Acceptance
	keys     map[string]*message.Idempotency
	outbox   map[message.ID]outboxRow
	reads    map[message.ID]int // how often a row was handed out by Unstarted
	looks    int                // calls of Unstarted
	matched  message.Matched    // the answer to Receipt
	receipts []message.Receipt
	due      []message.ID
	again    map[message.ID]time.Time     // before which nobody takes a settlement on
	pauses   map[message.ID]time.Duration // after which a workflow was told last
	ended    map[message.ID]bool          // messages whose record shows their end
	waiting  []message.Receipt
	settled  map[message.ID]message.Matched // the answers to SettleDoubt
	doubts   int                            // calls of SettleDoubt
	overdue  []message.ID
	deferred []message.ID
	moved    *sync.Cond
	stored   map[message.ID]bool // ids of accepted
	entered  []message.ID
	line     []message.Start // what waits for its turn; acceptances with Hold join it when waits is set
	waits    bool
	free     int // how many of line have their turn
	turns    int // calls of TakeTurns
	backlog  []message.Backlog
	counts   int               // calls of Backlog
	queue    []message.Waiting // what Waiting says
	parts    []*partRow
	joined   map[string]message.ID                   // what the parts of whole sets said
	forgot   int                                     // calls of ForgetJoined
	fault    func(step string) (before, after error) // of AddPart, Accept, MarkJoined and Revise; nil: none

	fit    message.Fit // of metered messages
	fitted int         // calls of Fits
	usages int         // calls of SettleUsage

	revisions []message.Revision
	untold    []message.RevisionDue
	stale     []message.ID // what StaleHolds has to give
	holdLooks int          // calls of it

	inbounds inbounds
}

type partRow struct {
	message.SMPPPart
	message message.ID
	decided time.Time
	repeats message.ID
}

type outboxRow struct {
	message.Start
	at time.Time
}

func newJournal() *journal {
	j := &journal{stored: map[message.ID]bool{}, joined: map[string]message.ID{}, keys: map[string]*message.Idempotency{}, outbox: map[message.ID]outboxRow{}, reads: map[message.ID]int{}, settled: map[message.ID]message.Matched{}, again: map[message.ID]time.Time{}, pauses: map[message.ID]time.Duration{}}
	j.moved = sync.NewCond(&j.mu)
	return j
}

func (j *journal) do(f func()) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.down != nil {
		return j.down
	}
	f()
	j.moved.Broadcast()
	return nil
}

// all is what was accepted so far.
func (j *journal) all() []message.Acceptance {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.accepted)
}

// until waits for the journal to look as it should.
func (j *journal) until(what func() bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for !what() {
		j.moved.Wait()
	}
}

func (j *journal) Accept(_ context.Context, a message.Acceptance) (out message.Accepted, err error) {
	if a.Message.Edge == "slow" {
		<-j.slow
	}
	fail := j.step("accept", func() {
		if k := a.Idempotency; k != nil {
			if first := j.keys[k.Key]; first != nil {
				if first.BodyHash != k.BodyHash {
					err = message.Refuse(message.ReasonIdempotencyMismatch, "another body")
				}
				out.Replay = first
				return
			}
			j.keys[k.Key] = k
		}
		if out.Repeated = j.stored[a.Message.ID]; out.Repeated {
			return
		}
		j.stored[a.Message.ID] = true
		j.accepted = append(j.accepted, a)
		if j.meter(&j.accepted[len(j.accepted)-1], &out); out.Fit.Refused != nil {
			return
		}
		switch m := a.Message; {
		case m.Status != message.StatusAccepted:
		case j.waits && a.Hold > 0:
			out.Waits = true
			j.line = append(j.line, message.Start{MessageID: m.ID, AccountID: m.AccountID, Class: m.Class})
		default:
			j.put(message.Start{MessageID: m.ID, AccountID: m.AccountID, Class: m.Class})
		}
	})
	return out, errors.Join(err, fail)
}

// Enter notes the order in which messages enter; the rest is Accept.
func (j *journal) Enter(a message.Acceptance) func(context.Context) (message.Accepted, error) {
	j.mu.Lock()
	j.entered = append(j.entered, a.Message.ID)
	j.mu.Unlock()
	return func(ctx context.Context) (message.Accepted, error) { return j.Accept(ctx, a) }
}

func (j *journal) TakeTurns(_ context.Context, limit int) (free []message.Start, waiting bool, err error) {
	err = j.do(func() {
		j.turns++
		waiting = len(j.line) > 0
		n := min(j.free, limit, len(j.line))
		free, j.line, j.free = j.line[:n:n], j.line[n:], j.free-n
		for _, s := range free {
			j.put(s)
		}
	})
	return free, waiting, err
}

func (j *journal) ListStatuses(context.Context) (more bool, err error) { return false, j.do(func() {}) }

func (j *journal) Backlog(context.Context) (rows []message.Backlog, err error) {
	err = j.do(func() { rows = j.backlog; j.counts++ })
	return rows, err
}

func (j *journal) Waiting(context.Context) (rows []message.Waiting, err error) {
	err = j.do(func() { rows = j.queue })
	return rows, err
}

// step is do for what a test may let fail: before it was done, or after.
func (j *journal) step(name string, f func()) error {
	j.mu.Lock()
	fault := j.fault
	j.mu.Unlock()
	var before, after error
	if fault != nil {
		before, after = fault(name)
	}
	if before != nil {
		return before
	}
	return errors.Join(j.do(f), after)
}

func (j *journal) AddPart(_ context.Context, p message.SMPPPart, key *message.Idempotency) (out message.SMPPPartAdded, err error) {
	fail := j.step("add", func() {
		if key != nil {
			if out.Replay = j.keys[key.Key]; out.Replay != nil {
				return
			}
			j.keys[key.Key] = key
		}
		p.CreatedAt = time.Now()
		j.decide(p, message.SMPPPartWait)
		row := &partRow{SMPPPart: p}
		if key == nil {
			row.repeats = j.joined[said(p)]
		}
		j.parts = append(j.parts, row)
		if sets := j.decide(p, 0); len(sets) > 0 {
			out.Set = &sets[0]
		}
	})
	if fail != nil {
		out = message.SMPPPartAdded{}
	}
	return out, fail
}

func sameSet(a, b message.SMPPPart) bool {
	return a.Origin.CredentialID == b.Origin.CredentialID && a.Origin.Source == b.Origin.Source && a.Origin.Dest == b.Origin.Dest && a.Reference == b.Reference && a.Total == b.Total
}

// said is what a part says, as the journal remembers it.
func said(p message.SMPPPart) string {
	return fmt.Sprint(p.Origin.CredentialID, p.Origin.Source, p.Origin.Dest, p.Reference, p.Total, p.Number, p.Coding, string(p.Octets))
}

// decide settles the sets of a part that are whole, or all when the newest part is
// older than wait; 0: never. Those that repeat a message stand apart.
func (j *journal) decide(p message.SMPPPart, wait time.Duration) (settled []message.SMPPPartSet) {
	var rows []*partRow
	numbers, fresh := map[int]bool{}, map[int]bool{}
	var newest time.Time
	for _, r := range j.parts {
		if r.message == (message.ID{}) && sameSet(r.SMPPPart, p) {
			rows, numbers[r.Number] = append(rows, r), true
			if r.repeats == (message.ID{}) {
				fresh[r.Number] = true
			}
			if r.CreatedAt.After(newest) {
				newest = r.CreatedAt
			}
		}
	}
	over := wait > 0 && time.Since(newest) >= wait
	sets := map[message.ID]*message.SMPPPartSet{}
	for _, r := range rows {
		if over && len(numbers) == p.Total && len(fresh) > 0 && !fresh[r.Number] {
			r.repeats = message.ID{}
		}
		if sets[r.repeats] == nil {
			sets[r.repeats] = &message.SMPPPartSet{Repeats: r.repeats}
		}
		sets[r.repeats].Parts = append(sets[r.repeats].Parts, r.SMPPPart)
	}
	for _, set := range sets {
		set.Sort()
		_, whole := set.Text()
		if !whole && !over {
			continue
		}
		set.MessageID = set.Parts[0].ID
		for _, r := range rows {
			if r.repeats == set.Repeats {
				r.message, r.decided = set.MessageID, time.Now()
				if whole && set.Repeats == (message.ID{}) {
					j.joined[said(r.SMPPPart)] = set.MessageID
				}
			}
		}
		settled = append(settled, *set)
	}
	return settled
}

func (j *journal) PartsDue(_ context.Context, join, missing time.Duration, limit int) (due []message.SMPPPartSet, err error) {
	err = j.do(func() {
		sets := map[message.ID]*message.SMPPPartSet{}
		for _, r := range j.parts {
			if r.message != (message.ID{}) && time.Since(r.decided) >= join {
				if sets[r.message] == nil {
					sets[r.message] = &message.SMPPPartSet{MessageID: r.message, Repeats: r.repeats}
				}
				sets[r.message].Parts = append(sets[r.message].Parts, r.SMPPPart)
			}
		}
		for _, r := range j.parts {
			if set := sets[r.message]; set != nil {
				r.decided = time.Now()
			}
		}
		for _, set := range sets {
			set.Sort()
			due = append(due, *set)
		}
		for _, r := range j.parts {
			if r.message == (message.ID{}) {
				due = append(due, j.decide(r.SMPPPart, missing)...)
			}
		}
		due = due[:min(limit, len(due))]
	})
	return due, err
}

// RepeatParts makes the answers known the first time, and ends the set the second.
func (j *journal) RepeatParts(_ context.Context, set message.SMPPPartSet) (done bool, err error) {
	err = j.do(func() {
		for i := range j.accepted {
			a := &j.accepted[i]
			if a.Message.ID != set.Repeats {
				continue
			}
			if done = slices.ContainsFunc(a.More, func(o message.SMPPOrigin) bool { return o.AnswerID == set.Parts[0].Origin.AnswerID }); !done {
				for _, p := range set.Parts {
					a.More = append(a.More, p.Origin)
				}
			}
		}
		if done {
			j.parts = slices.DeleteFunc(j.parts, func(r *partRow) bool { return r.message == set.MessageID })
		}
	})
	return done, err
}

func (j *journal) ForgetJoined(context.Context, int) error {
	return j.do(func() { j.forgot++ })
}

func (j *journal) MarkJoined(_ context.Context, id message.ID) error {
	return j.step("mark", func() {
		j.parts = slices.DeleteFunc(j.parts, func(r *partRow) bool { return r.message == id })
	})
}

func (j *journal) put(s message.Start) { j.outbox[s.MessageID] = outboxRow{Start: s, at: time.Now()} }

func (j *journal) Unstarted(_ context.Context, _ string, age time.Duration, limit int, underway []message.ID) (out []message.Start, err error) {
	err = j.do(func() {
		j.looks++
		var rows []outboxRow
		named := make(map[message.ID]bool, len(underway))
		for _, id := range underway {
			named[id] = true
		}
		for id, r := range j.outbox {
			if time.Since(r.at) > age && !named[id] {
				rows = append(rows, r)
			}
		}
		slices.SortFunc(rows, func(a, b outboxRow) int {
			return cmp.Or(a.Class.Priority()-b.Class.Priority(), bytes.Compare(a.MessageID[:], b.MessageID[:]))
		})
		for _, r := range rows[:min(limit, len(rows))] {
			j.reads[r.MessageID]++
			out = append(out, r.Start)
		}
	})
	return out, err
}

func (j *journal) Started(_ context.Context, ids []message.ID) error {
	return j.do(func() {
		for _, id := range ids {
			delete(j.outbox, id)
		}
	})
}

func (j *journal) Receipt(_ context.Context, r message.Receipt) (out message.Matched, err error) {
	err = j.do(func() {
		j.receipts = append(j.receipts, r)
		out = j.matched
	})
	return out, err
}

func (j *journal) SettleDoubt(_ context.Context, r message.Receipt) (out message.Matched, err error) {
	err = j.do(func() {
		j.doubts++
		out = j.settled[r.ID]
		if out.Known {
			j.waiting = slices.DeleteFunc(j.waiting, func(w message.Receipt) bool { return w.ID == r.ID })
		}
	})
	return out, err
}

func (j *journal) Unmatched(_ context.Context, _ time.Duration, limit int) (out []message.Receipt, err error) {
	err = j.do(func() { out = slices.Clone(j.waiting[:min(limit, len(j.waiting))]) })
	return out, err
}

// SettlementsDue counts only from when a row was first asked for: all are old.
func (j *journal) SettlementsDue(_ context.Context, age time.Duration, limit int) (out []message.ID, err error) {
	err = j.do(func() {
		for _, id := range j.due {
			if len(out) < limit && !time.Now().Before(j.again[id]) {
				out = append(out, id)
				j.again[id] = time.Now().Add(age)
			}
		}
	})
	return out, err
}

// SettlementTold takes those that are among ended off the list, and has the others wait
// twice as long as the last time.
func (j *journal) SettlementTold(_ context.Context, id message.ID) error {
	return j.do(func() {
		if j.ended[id] {
			j.due = slices.DeleteFunc(j.due, func(due message.ID) bool { return due == id })
			return
		}
		j.pauses[id] = min(max(2*j.pauses[id], 10*time.Second), time.Hour)
		j.again[id] = time.Now().Add(j.pauses[id])
	})
}

func (j *journal) OverdueNotifications(_ context.Context, _ time.Duration, limit int) (out []message.ID, err error) {
	err = j.do(func() { out = slices.Clone(j.overdue[:min(limit, len(j.overdue))]) })
	return out, err
}

func (j *journal) DeferNotifications(_ context.Context, ids []message.ID, _ time.Duration) error {
	return j.do(func() {
		j.deferred = append(j.deferred, ids...)
		j.overdue = slices.DeleteFunc(j.overdue, func(id message.ID) bool { return slices.Contains(ids, id) })
	})
}

// server is Temporal in memory.
type server struct {
	mu           sync.Mutex
	down         error
	takes        time.Duration // of one start
	asked        int           // for starts
	begun        map[message.ID]int
	inputs       []workflows.OutboundInput
	about        []ingress.About
	now          int // starts under way
	most         int // of them at once
	told         map[message.ID]int
	closed       map[message.ID]bool
	posted       []string
	cancels      []message.ID
	revised      []message.ID
	reconsidered []message.ID
	rerouted     []message.ID
	moved        *sync.Cond

	cancel      error         // the answer to Cancel
	cancelTakes time.Duration // of one
}

func newServer() *server {
	s := &server{begun: map[message.ID]int{}, told: map[message.ID]int{}, closed: map[message.ID]bool{}}
	s.moved = sync.NewCond(&s.mu)
	return s
}

func (s *server) until(what func() bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for !what() {
		s.moved.Wait()
	}
}

func (s *server) setDown(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = err
}

func (s *server) Start(ctx context.Context, id message.ID, in workflows.OutboundInput, about ingress.About) (bool, error) {
	s.mu.Lock()
	s.asked++
	s.now++
	s.most = max(s.most, s.now)
	takes, down := s.takes, s.down
	s.mu.Unlock()
	if takes > 0 {
		timer := time.NewTimer(takes)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			down = ctx.Err()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.moved.Broadcast()
	s.now--
	if down != nil {
		return false, down
	}
	s.begun[id]++
	s.inputs, s.about = append(s.inputs, in), append(s.about, about)
	return s.begun[id] > 1, nil
}

func (s *server) Decided(_ context.Context, id message.ID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.moved.Broadcast()
	if s.down != nil {
		return s.down
	}
	if s.closed[id] {
		return message.Refuse(message.ReasonNotFound, "closed")
	}
	s.told[id]++
	return nil
}

func (s *server) Cancel(ctx context.Context, id message.ID) error {
	s.mu.Lock()
	s.cancels = append(s.cancels, id)
	takes, answer := s.cancelTakes, s.cancel
	s.mu.Unlock()
	if takes > 0 {
		timer := time.NewTimer(takes)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return answer
}

func (s *server) PostWebhook(_ context.Context, label string, delivery message.ID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.moved.Broadcast()
	if s.down != nil {
		return s.down
	}
	s.posted = append(s.posted, label+" "+delivery.String())
	return nil
}

type bundle struct {
	*ingress.Ingress
	journal  *journal
	server   *server
	config   *snapshot.Snapshot
	account  *snapshot.Account
	outcomes []record.Input // asked of the record for workflows that have ended
	outcome  record.Result
	mu       sync.Mutex

	outcomeErr error
}

const (
	number   = message.Address("+12025550143")
	longCode = message.Address("+12025550150") // without a campaign
)

func setup(t testing.TB) *bundle {
	t.Helper()
	b := &bundle{journal: newJournal(), server: newServer()}
	campaign, vendor := message.NewID(), message.NewID()
	b.account = &snapshot.Account{ID: message.NewID(), Status: snapshot.AccountActive, DefaultClass: message.ClassConversation, Delivery: message.AtMostOnce, MaxParts: 10}
	id := b.account.ID
	b.config = &snapshot.Snapshot{
		Accounts:  map[message.ID]*snapshot.Account{id: b.account},
		Campaigns: map[message.ID]*snapshot.Campaign{campaign: {ID: campaign, AccountID: id, CampaignID: "C1", Status: snapshot.CampaignActive}},
		Numbers:   map[message.Address]*snapshot.Number{number: {Number: number, AccountID: id, SMSEnabled: true, Campaign: campaign}},
		Vendors:   map[message.ID]*snapshot.Vendor{vendor: {ID: vendor, Name: "acme", ProviderType: "smpp", Active: true, SupportsUnicode: true}},
		Routes:    []snapshot.Route{{ID: 1, VendorID: vendor, RatePerMsg: 4500}},
	}
	b.config.Index()
	b.Ingress = &ingress.Ingress{Journal: b.journal, Temporal: b.server, Snapshot: func() *snapshot.Snapshot { return b.config },
		Outcome: func(_ context.Context, in record.Input) (record.Result, error) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.outcomes = append(b.outcomes, in)
			return b.outcome, b.outcomeErr
		},
		Log: slog.New(slog.DiscardHandler), Now: time.Now, Currency: "USD"}
	return b
}

func (b *bundle) request() ingress.Request {
	return ingress.Request{AccountID: b.account.ID, Edge: "rest", From: string(number), To: "+13105550117", Body: "hello"}
}

// count reads a count of the journal.
func (j *journal) count(read func() int) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return read()
}
