package ingress

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/notification"
	"github.com/postrider/postrider/internal/policy"
	"github.com/postrider/postrider/internal/snapshot"
)

// Inbounds is what ingress needs of the record for what comes from handsets.
type Inbounds interface {
	// Inbound commits a message from a vendor with what its keyword changes and the
	// answer that is owed then, once if the vendor gave it an id.
	Inbound(ctx context.Context, a message.Arrival) (message.Arrived, error)
	// RepliesDue takes on answers that were last taken on longer than age ago. An
	// error may come beside answers.
	RepliesDue(ctx context.Context, age time.Duration, limit int) ([]message.AutomaticReply, error)
	// DropReply forgets an answer that has become a message, or never will.
	DropReply(ctx context.Context, id message.ID) error
	// ForgetPairs forgets counts of answers that limit nothing any more.
	ForgetPairs(ctx context.Context, limit int) error
}

const (
	// replyAge is how long an owed answer stays with the process that took the
	// message in before a sweep takes it on.
	replyAge = 10 * time.Second
	// repliers is how many answers are accepted at once, replyWaiting how many may
	// wait in memory: they are hints, each has its row.
	repliers     = 4
	replyWaiting = 1024
	// replyTimeout bounds the acceptance of one; it is shorter than replyAge, so that
	// nobody else takes it on meanwhile.
	replyTimeout = 8 * time.Second
	// replyWorth is how long after the word an answer is worth sending: 47 CFR
	// 64.1200(a)(12) gives a confirmation five minutes.
	replyWorth = 5 * time.Minute
	// forgetPairs is how many counts one sweep forgets.
	forgetPairs = 1000
)

// Inbound commits a message from a handset, or a part of one, with what its keyword
// does. A nil error means that the vendor may be answered: the message is on disk,
// an opt-out that it asks for is in force for every process that reads the table,
// and the answer is owed. It is what vendor links call.
//
// Parts are kept each by itself, and no keyword is looked for in them: it is in the
// whole text or nowhere.
func (in *Ingress) Inbound(ctx context.Context, m message.InboundMessage) error {
	in.ready()
	a := arrival(in.Snapshot(), m, in.Now())
	arrived, err := in.Journal.Inbound(ctx, a)
	if err != nil {
		return err
	}
	if in.Metrics.Inbound != nil && !arrived.Again {
		in.Metrics.Inbound(a.VendorID, a.AccountID, m.Part <= 1)
	}
	if arrived.Reply != nil {
		in.replier.offer(*arrived.Reply)
	}
	return nil
}

// arrival finds out whose message it is and what it does.
func arrival(s *snapshot.Snapshot, m message.InboundMessage, now time.Time) message.Arrival {
	a := message.Arrival{InboundMessage: m, ID: message.NewID(), Number: message.Address(m.To), Sender: message.Address(m.From)}
	to, n := owner(s, m.ToTON, m.To)
	if to != "" {
		a.Number = to
	}
	var words policy.Words
	country := defaultCountry
	if n != nil {
		a.AccountID = n.AccountID
		if account := s.Accounts[n.AccountID]; account != nil {
			words = account.Keywords
			if account.DefaultCountry != "" {
				country = account.DefaultCountry
			}
		}
	}
	// A national number is one of the country in which the receiving number is, not of
	// the customer's: a STOP must be kept under the number that messages go to.
	for _, c := range []string{a.Number.Country(), country} {
		if from, err := message.ParseSender(message.Dialable(m.FromTON, m.From, c)); c != "" && err == nil {
			a.Sender = from
			break
		}
	}
	if m.Whole() && m.Encoding != message.EncodingBinary {
		apply(s, n, &a, policy.MatchKeyword(m.Text, words, now), now)
	}
	return a
}

// apply writes into an arrival what its text asks for, and what that changes if the
// number is somebody's. Whoever joins the parts of a message calls it with the
// keyword of the whole text.
func apply(s *snapshot.Snapshot, n *snapshot.Number, a *message.Arrival, k policy.Keyword, now time.Time) {
	a.Keyword, a.Action, a.IfStopped, a.ForHuman = k.Word, k.Action, k.IfStopped, k.ForHuman
	if n == nil {
		return
	}
	if a.Act = policy.ActOn(s, n, a.VendorID, a.Sender, k); a.Act == nil {
		return
	}
	a.Act.Tell = notification.OptOutTell(s, now)
	if a.Act.Reply != nil {
		a.Act.Reply.ID = message.NewID()
	}
}

// defaultCountry is where national numbers are read when the owner's country is not
// known.
const defaultCountry = "US"

// owner finds the number that a vendor means: written with a plus sign or without,
// as a national number of North America, or as a short code. Among what it may mean,
// the one that is somebody's counts. The address is empty if it is none.
func owner(s *snapshot.Snapshot, ton byte, written string) (message.Address, *snapshot.Number) {
	var first message.Address
	for _, form := range []string{message.Dialable(ton, written, defaultCountry), message.Dialable(0, written, defaultCountry), "+" + written, "+1" + written, written} {
		a, err := message.ParseSender(form)
		if err != nil {
			continue
		}
		if n := s.Numbers[a]; n != nil {
			return a, n
		}
		if first == "" {
			first = a
		}
	}
	return first, nil
}

// replier makes messages of the answers that are owed. What it does not come to, the
// sweeper finds.
type replier struct {
	in     *Ingress
	queue  chan message.AutomaticReply // never closed
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

func (r *replier) make(in *Ingress) {
	r.in = in
	r.queue = make(chan message.AutomaticReply, replyWaiting)
}

func (r *replier) start(ctx context.Context) {
	ctx, r.cancel = context.WithCancel(context.WithoutCancel(ctx))
	for range repliers {
		r.wg.Go(func() { r.run(ctx) })
	}
}

func (r *replier) stop() {
	if r.cancel != nil {
		r.cancel()
	}
	r.wg.Wait()
}

// offer hands an answer over if there is room.
func (r *replier) offer(a message.AutomaticReply) {
	select {
	case r.queue <- a:
	default:
	}
}

func (r *replier) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case a := <-r.queue:
			if err := r.in.reply(ctx, a); err != nil && ctx.Err() == nil {
				r.in.Log.Debug("answer not accepted yet, the sweep will", "message_id", a.ID, "error", err)
			}
		}
	}
}

// reply makes the message of an answer and then forgets that it is owed. It may be
// done twice, also at once and by two processes: the message has one id, and the
// first to store it wins. What the policy refuses is on record as a message like
// any refused one; what would come too late is none. A nil error: nothing is owed any
// more.
func (in *Ingress) reply(ctx context.Context, r message.AutomaticReply) error {
	ctx, cancel := context.WithTimeout(ctx, replyTimeout)
	defer cancel()
	if late := in.Now().Sub(r.CreatedAt); !r.CreatedAt.IsZero() && late > replyWorth {
		in.Log.Info("answer dropped, it would come too late", "message_id", r.ID, "account", r.AccountID, "late", late.Round(time.Second))
		return in.Journal.DropReply(ctx, r.ID)
	}
	out, err := in.Accept(ctx, replyRequest(r))
	switch reason := message.ReasonOf(err); {
	case err == nil:
	case out.Message != nil:
		in.Log.Info("answer refused", "message_id", r.ID, "account", r.AccountID, "reason", reason)
	case reason.Temporary():
		return err
	default:
		in.Log.Warn("answer dropped, it can never be accepted", "message_id", r.ID, "account", r.AccountID, "reason", reason)
	}
	return in.Journal.DropReply(ctx, r.ID)
}

// replyRequest is the answer as a message. It goes before all others and is not worth
// delivering late: a confirmation that comes long after the word is one more message
// to somebody who asked for none (47 CFR 64.1200(a)(12) gives it five minutes). Nor is
// it sent twice, whatever the account has chosen for its own.
func replyRequest(r message.AutomaticReply) Request {
	smart := true
	return Request{ID: r.ID, AccountID: r.AccountID, Edge: message.EdgeAutomatic, Automatic: true, From: string(r.From), To: string(r.To), Body: r.Text,
		SmartEncoding: &smart, Class: message.ClassOTP, Delivery: message.AtMostOnce}
}

// answers makes messages of the answers that were not accepted at once.
func (s *sweeper) answers(ctx context.Context) error {
	due, err := s.in.Journal.RepliesDue(ctx, replyAge, startBatch)
	errs := []error{err, s.in.Journal.ForgetPairs(ctx, forgetPairs)}
	for _, r := range due {
		if err := s.in.reply(ctx, r); err != nil {
			errs = append(errs, err)
			if ctx.Err() != nil {
				break
			}
		}
	}
	return errors.Join(errs...)
}
