// Package journaltest is the record of messages in memory, for tests: it knows
// which changes of status are legal, keeps attempts, receipts and notifications
// as the database does, and can be cut off at any step, as by the death of a
// process.
//
// The rule not to break: what it allows, the database allows, and the other way
// round; the tests of internal/postgres hold that side.
package journaltest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// ErrDead is the answer of a journal whose process has died.
var ErrDead = errors.New("the process is dead")

// Journal is the record in memory. The zero value is empty and ready. Safe for
// concurrent use.
type Journal struct {
	// Step is called before an operation (done is false) and after it (true),
	// outside of the lock; an error before keeps it from having an effect, an
	// error after hides its result. Nil: nothing is.
	Step func(operation string, done bool) error
	// Now is the database's clock; nil: time.Now.
	Now func() time.Time
	// Remembers is true for the journal of the process that has just accepted the
	// messages: Envelope gives them from memory, as they were put, without an
	// operation. Else it reads them.
	Remembers bool

	mu       sync.Mutex
	rows     map[message.ID]*row
	receipts []*receipt
	notes    map[message.ID]*note
	order    []message.ID // of the notifications
	due      map[message.ID]bool
	illegal  []string
	optOuts  []message.OptOut
	media    map[profiled][]message.Media
	// Of routes: the vendors that conversations used last, and those that staff have
	// named.
	last  map[conversation]message.ID
	named map[message.ID]message.ID
}

type row struct {
	put      message.Message // as it was accepted
	m        message.Message
	code     string
	attempts []*attempt
	events   []message.Event
	seq      int
	settled  int
	failed   int
	sequence int // of settling
	started  bool
	owed     []message.Status
	review   message.Review
}

type attempt struct {
	message.Attempt
	message.Answer
	receipt *message.Receipt
	at      int // order of settling
}

type receipt struct {
	message.Receipt
	matched bool
}

type note struct {
	message.Notification
	state message.NotificationState
	tries []message.NotificationAttempt
}

func (j *Journal) now() time.Time {
	if j.Now == nil {
		return time.Now()
	}
	return j.Now()
}

func (j *Journal) step(operation string, done bool) error {
	if j.Step == nil {
		return nil
	}
	return j.Step(operation, done)
}

// do runs one operation between its two steps.
func (j *Journal) do(operation string, run func() error) error {
	if err := j.step(operation, false); err != nil {
		return err
	}
	j.mu.Lock()
	if j.rows == nil {
		j.rows, j.notes, j.due = make(map[message.ID]*row), make(map[message.ID]*note), make(map[message.ID]bool)
	}
	err := run()
	j.mu.Unlock()
	if err != nil {
		return err
	}
	return j.step(operation, true)
}

// Put stores a message as it is.
func (j *Journal) Put(m message.Message) {
	_ = j.do("put", func() error {
		j.rows[m.ID] = &row{put: m, m: m, seq: 1}
		return nil
	})
}

func (j *Journal) find(id message.ID) (*row, error) {
	r := j.rows[id]
	if r == nil {
		return nil, message.Refuse(message.ReasonNotFound, "no message %s", id)
	}
	return r, nil
}

// Envelope is the message as Message has it or, when the journal Remembers, as
// it was accepted.
func (j *Journal) Envelope(ctx context.Context, id message.ID) (*message.Message, error) {
	if m := j.remembered(id); m != nil {
		return m, nil
	}
	return j.Message(ctx, id)
}

func (j *Journal) remembered(id message.ID) *message.Message {
	j.mu.Lock()
	defer j.mu.Unlock()
	r := j.rows[id]
	if !j.Remembers || r == nil {
		return nil
	}
	m := r.put
	return &m
}

// Message reads one message.
func (j *Journal) Message(_ context.Context, id message.ID) (*message.Message, error) {
	var out message.Message
	err := j.do("message", func() error {
		r, err := j.find(id)
		if err == nil {
			out = r.m
			out.Settled, out.Failed = r.settled, r.failed
		}
		return err
	})
	return &out, err
}

// Advance writes a change, or nothing when the status does not allow it.
func (j *Journal) Advance(_ context.Context, c message.Change) (message.Advanced, error) {
	var out message.Advanced
	err := j.do("advance", func() error {
		r, err := j.find(c.MessageID)
		if err != nil {
			return err
		}
		out = message.Advanced{Was: r.m.Status, Sequence: r.seq}
		if c.Revision != nil && *c.Revision != r.m.Revision && slices.Contains(c.From(), r.m.Status) {
			out.Revised = true
			return nil
		}
		if c.To != "" && !slices.Contains(c.From(), r.m.Status) {
			if c.To != r.m.Status && c.Via == "" { // passing through again is a repetition
				j.illegal = append(j.illegal, string(r.m.Status)+" to "+string(c.To))
			}
			return nil
		}
		if c.Hold != nil && c.To == "" && r.m.Status != message.StatusQueued {
			return nil
		}
		if c.While != "" && c.To == "" && r.m.Status != c.While {
			return nil
		}
		if c.Resend && !r.undecided(c) {
			return nil
		}
		if r.begun(c) {
			return errors.New("another run has journalled an attempt of the same number")
		}
		j.apply(r, c)
		out.Changed, out.Sequence = true, r.seq
		return nil
	})
	return out, err
}

// undecided reports whether the message may be given to another vendor although one
// has it, and nobody has begun to.
func (r *row) undecided(c message.Change) bool {
	return (r.m.Status == message.StatusSent || r.m.Status == message.StatusInDoubt) && !r.progress().Decided() && !r.begun(c)
}

// begun reports whether an attempt of the change is journalled already.
func (r *row) begun(c message.Change) bool {
	return slices.ContainsFunc(c.Attempts, func(a message.Attempt) bool { return r.attempt(a.Part, a.Number) != nil })
}

func (j *Journal) apply(r *row, c message.Change) {
	if c.To != "" {
		r.m.Status = c.To
	}
	for _, e := range c.Events {
		r.seq++
		e.MessageID, e.Sequence = c.MessageID, r.seq
		r.events = append(r.events, e)
	}
	if c.Vendor.Name != "" {
		r.m.VendorID, r.m.Vendor = c.Vendor.ID, c.Vendor.Name
	}
	if c.Error != nil {
		r.m.Error = &message.Error{Reason: c.Error.Reason, Detail: c.Error.Detail}
	}
	if c.Price != nil {
		r.m.Price = *c.Price
	}
	if c.Receipt != nil {
		r.m.Receipt = c.Receipt
	}
	if c.VendorCode != "" {
		r.code = c.VendorCode
	}
	r.m.DuplicatePoss = r.m.DuplicatePoss || c.MaybeDoubled
	for _, a := range c.Attempts {
		r.attempts = append(r.attempts, &attempt{Attempt: a, Answer: message.Answer{Part: a.Part, Attempt: a.Number, State: message.PartSending}})
	}
	for _, a := range c.TakenOver {
		if old := r.attempt(a.Part, a.Number); old != nil && old.State == message.PartSending {
			old.Instance = a.Instance
		}
	}
	for _, a := range c.Answers {
		if old := r.attempt(a.Part, a.Attempt); old != nil && (old.State == message.PartSending || old.State == message.PartInDoubt) {
			old.Answer = a
		}
	}
	if o := c.OptOut; o != nil && !slices.ContainsFunc(j.optOuts, func(is message.OptOut) bool {
		return is.AccountID == o.AccountID && is.Recipient == o.Recipient && is.Scope == o.Scope && is.Sender == o.Sender && is.CampaignID == o.CampaignID
	}) {
		j.optOuts = append(j.optOuts, *o)
	}
	for _, n := range c.Notifications {
		if j.notes[n.ID] == nil {
			n.EventID, n.Payload = message.EventID(c.MessageID, r.seq), message.Filled(n.Payload, r.seq, time.Now())
			j.notes[n.ID] = &note{Notification: n, state: message.NotificationPending}
			j.order = append(j.order, n.ID)
		}
	}
	switch {
	case c.Hold != nil:
		hold := *c.Hold
		r.m.Hold = &hold
	case c.Ends():
		r.m.Hold = nil
	}
	if c.Settled {
		delete(j.due, c.MessageID)
	}
	r.started = r.started || c.Started
	if (c.Owed || c.OwedMM4) && c.To != "" && !slices.Contains(r.owed, c.To) {
		r.owed = append(r.owed, c.To)
	}
}

func (r *row) attempt(part, number int) *attempt {
	for _, a := range r.attempts {
		if a.Answer.Part == part && a.Number == number {
			return a
		}
	}
	return nil
}

// newest is the newest attempt of a part, nil before the first.
func (r *row) newest(part int) *attempt {
	var best *attempt
	for _, a := range r.attempts {
		if a.Answer.Part == part && (best == nil || a.Number > best.Number) {
			best = a
		}
	}
	return best
}

// Parts reads the newest attempt of each part.
func (j *Journal) Parts(_ context.Context, id message.ID, segments int) ([]message.Part, error) {
	out := make([]message.Part, segments)
	err := j.do("parts", func() error {
		r, err := j.find(id)
		if err != nil {
			return err
		}
		for i := range out {
			out[i].Number = i + 1
			if a := r.newest(i + 1); a != nil {
				out[i].Attempt, out[i].State, out[i].Vendor = a.Number, a.State, a.Vendor.Name
				out[i].Instance = a.Instance
				out[i].VendorMessageID, out[i].VendorCode, out[i].Reason = a.VendorMessageID, a.Answer.VendorCode, a.Answer.Reason
			}
		}
		return nil
	})
	return out, err
}

// Progress reads how far the receipts have come.
func (j *Journal) Progress(_ context.Context, id message.ID) (message.Progress, error) {
	var out message.Progress
	err := j.do("progress", func() error {
		r, err := j.find(id)
		if err == nil {
			out = r.progress()
			out.Delivery = r.m.Delivery
		}
		return err
	})
	return out, err
}

func (r *row) progress() message.Progress {
	return message.Progress{Status: r.m.Status, Segments: r.m.Segments, Settled: r.settled, Failed: r.failed}
}

// Receipt stores a receipt and applies it to its part, if that is known.
func (j *Journal) Receipt(_ context.Context, in message.Receipt) (message.Matched, error) {
	var out message.Matched
	err := j.do("receipt", func() error {
		for _, old := range j.receipts {
			if old.VendorID == in.VendorID && old.VendorMessageID == in.VendorMessageID && old.State == in.State {
				out = message.Matched{Known: old.matched}
				if !old.matched {
					out = j.match(old)
				}
				return nil
			}
		}
		kept := &receipt{Receipt: in}
		j.receipts = append(j.receipts, kept)
		out = j.match(kept)
		return nil
	})
	return out, err
}

func (j *Journal) match(in *receipt) message.Matched {
	for id, r := range j.rows {
		for _, a := range r.attempts {
			if a.Vendor.ID != in.VendorID || a.NormalizedID == "" || a.NormalizedID != in.VendorMessageID {
				continue
			}
			in.matched = true
			out := message.Matched{Known: true}
			state, decides := in.State.PartState()
			if !decides || a.State.Settled() {
				return out
			}
			counted := slices.ContainsFunc(r.attempts, func(o *attempt) bool { return o.Answer.Part == a.Answer.Part && o.State.Settled() })
			a.State, a.receipt, a.at = state, &in.Receipt, r.sequence
			r.sequence++
			if !counted { // whichever attempt is heard of first speaks for the part
				r.settled++
				if state != message.PartDelivered {
					r.failed++
				}
			}
			r.seq++
			r.events = append(r.events, message.Event{MessageID: id, Sequence: r.seq, Type: message.EventReceipt})
			if r.progress().Decided() {
				j.due[id] = true
			}
			out.Applied, out.MessageID, out.Part, out.Progress = true, id, a.Answer.Part, r.progress()
			return out
		}
	}
	return message.Matched{}
}

// EarlyReceipts applies receipts that came before the vendor's ids were stored.
func (j *Journal) EarlyReceipts(_ context.Context, vendor message.ID, normalized []string) (bool, error) {
	came := false
	err := j.do("early", func() error {
		for _, in := range j.receipts {
			if !in.matched && in.VendorID == vendor && slices.Contains(normalized, in.VendorMessageID) {
				j.match(in)
				came = true
			}
		}
		return nil
	})
	return came, err
}

// DecidingReceipt reads the receipt that speaks for the message.
func (j *Journal) DecidingReceipt(_ context.Context, id message.ID) (message.PartState, message.ReceiptSummary, message.Reason, error) {
	var state message.PartState
	var summary message.ReceiptSummary
	var reason message.Reason
	err := j.do("deciding", func() error {
		r, err := j.find(id)
		if err != nil {
			return err
		}
		var best *attempt
		for _, a := range r.attempts {
			if !a.State.Settled() || slices.ContainsFunc(r.attempts, func(o *attempt) bool {
				return o.Answer.Part == a.Answer.Part && o.State.Settled() && o.at < a.at
			}) {
				continue
			}
			worse := best != nil && best.State == message.PartDelivered && a.State != message.PartDelivered
			same := best != nil && (best.State == message.PartDelivered) == (a.State == message.PartDelivered)
			if best == nil || worse || same && a.at < best.at {
				best = a
			}
		}
		if best == nil {
			return message.Refuse(message.ReasonNotFound, "no deciding receipt")
		}
		state, reason = best.State, best.receipt.Reason
		summary = message.ReceiptSummary{Stat: string(best.receipt.State), Err: best.receipt.Err, At: best.receipt.DoneAt}
		return nil
	})
	return state, summary, reason, err
}

// DropSettlement forgets that a message is due to be settled, if it has ended.
func (j *Journal) DropSettlement(_ context.Context, id message.ID) error {
	return j.do("drop", func() error {
		if s := j.rows[id].m.Status; s.Final() && s != message.StatusUnconfirmed {
			delete(j.due, id)
		}
		return nil
	})
}

// PendingNotifications lists the deliveries of a message that are not done.
func (j *Journal) PendingNotifications(_ context.Context, about message.ID) ([]message.ID, error) {
	var out []message.ID
	err := j.do("pending", func() error {
		for _, id := range j.order {
			if n := j.notes[id]; n.MessageID == about && n.state == message.NotificationPending {
				out = append(out, id)
			}
		}
		return nil
	})
	return out, err
}

// Notification reads one delivery.
func (j *Journal) Notification(_ context.Context, id message.ID) (message.Notification, message.NotificationState, error) {
	var out message.Notification
	var state message.NotificationState
	err := j.do("notification", func() error {
		n := j.notes[id]
		if n == nil {
			return message.Refuse(message.ReasonNotFound, "no webhook delivery %s", id)
		}
		out, state = n.Notification, n.state
		return nil
	})
	return out, state, err
}

// RecordAttempt writes one try at a delivery, once.
func (j *Journal) RecordAttempt(_ context.Context, a message.NotificationAttempt) error {
	return j.do("attempt", func() error {
		n := j.notes[a.DeliveryID]
		if n == nil || n.state != message.NotificationPending || n.Attempts >= a.Number {
			return nil
		}
		n.Attempts, n.state = a.Number, a.State
		if n.FirstTry.IsZero() {
			n.FirstTry = j.now()
		}
		n.tries = append(n.tries, a)
		return nil
	})
}
