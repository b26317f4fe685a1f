// Package postman sends what peers of MM4 are owed beside messages: responses to their
// requests, and reports of messages that came from them (3GPP TS 23.140 §8.4). What is
// owed stands in the journal; the postman claims it, sends it, and records what became
// of it. It also tells the record of vendors' answers that nobody waits for any more.
//
// Read postman.go for the loops and peers.go for one peer; compose.go makes the
// mails.
//
// The rule not to break: a mail is sent under a claim that outlasts the try, so that
// two processes never send it at a time; what is not recorded goes again, with the same
// ids.
package postman

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/mm4"
	"github.com/postrider/postrider/internal/mm4out"
	"github.com/postrider/postrider/internal/smtpout"
	"github.com/postrider/postrider/internal/snapshot"
)

// Journal is what the postman needs of the record.
type Journal interface {
	// MM4MailsDue claims mails for two minutes. An error may come beside mails.
	MM4MailsDue(ctx context.Context, instance string, limit int) ([]message.MM4Mail, error)
	// MM4MailTried records a try and ends its claim.
	MM4MailTried(ctx context.Context, instance string, id message.ID, r message.MM4MailResult) error
	// ReleaseMM4 gives all claims of the instance back.
	ReleaseMM4(ctx context.Context, instance string) error
	// StaleMM4Answers gives answers that came longer than age ago to attempts that are in
	// doubt. Each comes back until MM4AnswerDone.
	StaleMM4Answers(ctx context.Context, age time.Duration, limit int) ([]message.MM4Answer, error)
	MM4AnswerDone(ctx context.Context, a message.MM4Answer) error
}

// Sender hands mails over. *smtpout.Sender is one.
type Sender interface {
	Send(ctx context.Context, t *smtpout.Target, m smtpout.Mail) ([]smtpout.Outcome, error)
}

// Metrics are called when something happened; nil fields are not called. They must not
// block.
type Metrics struct {
	// Tried is told of each try: what was sent, and what became of it.
	Tried func(kind mm4.Type, state message.MM4MailState)
}

// Postman sends. Fill in the fields, then Start.
type Postman struct {
	Journal  Journal
	Sender   Sender
	Snapshot func() *snapshot.Snapshot
	// Receipt tells the record of an answer. It is ingress's.
	Receipt  func(ctx context.Context, r message.Receipt) error
	Own      mm4out.System
	Instance string // names this process among those that share the journal
	Metrics  Metrics
	Log      *slog.Logger
	Now      func() time.Time

	once   sync.Once
	poke   chan struct{} // capacity 1, never closed, carries nothing: something is due
	slots  chan struct{} // one element a mail that was claimed and is not recorded
	cancel context.CancelFunc
	loops  sync.WaitGroup

	mu     sync.Mutex
	queues map[message.ID]*queue // of peers that something is sent to
	closed bool
}

const (
	// lookEvery is how often it is looked what is due when nothing pokes: for what other
	// processes owe, and for what is tried again.
	lookEvery = time.Second
	// mostClaimed is how many mails there may be at a time that were claimed and are not
	// recorded, claimBatch how many are claimed at once.
	mostClaimed = 256
	claimBatch  = 64
	// perPeer is how many mails a peer is sent at a time.
	perPeer = 2
	// sendTimeout and startWithin are together less than a claim, which is two minutes:
	// a mail that has waited longer than startWithin is left to whoever claims it next.
	sendTimeout = 80 * time.Second
	startWithin = 25 * time.Second
	// recordTimeout bounds a note in the journal.
	recordTimeout = 10 * time.Second
	// sweepEvery is how often it is looked for answers that nobody waits for, staleAge how
	// old they are then, and sweepBatch how many are told of at once.
	sweepEvery = 15 * time.Second
	staleAge   = time.Minute
	sweepBatch = 100
)

// ready makes what Poke may touch before Start.
func (p *Postman) ready() {
	p.once.Do(func() {
		p.poke = make(chan struct{}, 1)
		p.slots = make(chan struct{}, mostClaimed)
		p.queues = make(map[message.ID]*queue)
	})
}

// Start sends until Stop.
func (p *Postman) Start(ctx context.Context) {
	p.ready()
	ctx, p.cancel = context.WithCancel(context.WithoutCancel(ctx))
	p.loops.Go(func() { p.send(ctx) })
	p.loops.Go(func() { p.sweep(ctx) })
}

// Stop ends it: a mail on its way is cut off, and goes again with the same ids. Claims
// are given back. Calling it again is harmless.
func (p *Postman) Stop() {
	p.ready()
	if p.cancel == nil {
		return
	}
	p.mu.Lock()
	again := p.closed
	p.closed = true
	p.mu.Unlock()
	p.cancel()
	p.loops.Wait()
	if again {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), recordTimeout)
	defer cancel()
	if err := p.Journal.ReleaseMM4(ctx, p.Instance); err != nil {
		p.Log.Warn("mm4 mails not given back; they are free again in two minutes", "error", err)
	}
}

// Poke says that something is due. It does not block.
func (p *Postman) Poke() {
	p.ready()
	select {
	case p.poke <- struct{}{}:
	default:
	}
}

// send claims what is due whenever something may be, and gives it to the queues of its
// peers.
func (p *Postman) send(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	away := false
	for ctx.Err() == nil {
		n, err := p.claim(ctx)
		if err != nil && ctx.Err() == nil && !away {
			p.Log.Warn("mm4 mails that are due cannot be read, or not all", "error", err)
		}
		away = err != nil
		if n == claimBatch {
			continue // there may be more
		}
		select {
		case <-ctx.Done():
		case <-p.poke:
		case <-tick.C:
		}
	}
}

// claim takes on what there is room for.
func (p *Postman) claim(ctx context.Context) (int, error) {
	room := min(claimBatch, mostClaimed-len(p.slots))
	if room <= 0 {
		return 0, nil
	}
	mails, err := p.Journal.MM4MailsDue(ctx, p.Instance, room)
	for _, m := range mails {
		p.slots <- struct{}{} // there is room: nobody else fills it
		p.enqueue(ctx, m)
	}
	return len(mails), err
}

// sweep tells the record of answers that came when nobody waited for them any more.
func (p *Postman) sweep(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		if err := p.Sweep(ctx); err != nil && ctx.Err() == nil {
			p.Log.Warn("answers of mm4 vendors wait for the next look", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Sweep does once what is done every quarter of a minute while it runs.
func (p *Postman) Sweep(ctx context.Context) error {
	answers, err := p.Journal.StaleMM4Answers(ctx, staleAge, sweepBatch)
	for _, a := range answers {
		if told := p.tell(ctx, a); told != nil {
			return told
		}
	}
	return err
}

// tell tells the record of one. It may be done twice: a receipt that says what is known
// changes nothing.
func (p *Postman) tell(ctx context.Context, a message.MM4Answer) error {
	if a.Doubtful {
		status := mm4.Status(a.Status)
		_, id := mm4out.AttemptIDs(a.Ref(), p.Own.Domain)
		now := p.Now()
		r := message.Receipt{ID: message.NewID(), VendorID: a.VendorID, VendorMessageID: message.NormalizeVendorID(id), Attempt: a.Ref(),
			State: message.ReceiptAccepted, DoneAt: a.CameAt, Raw: "response:" + a.Status, ReceivedAt: now}
		if r.DoneAt.IsZero() {
			r.DoneAt = now
		}
		if status != mm4.StatusOK {
			r.State, r.Reason, r.Err = message.ReceiptRejected, status.Reason(), a.Status
		}
		if err := p.Receipt(ctx, r); err != nil {
			return err
		}
	}
	return p.Journal.MM4AnswerDone(ctx, a)
}
