package ingress

import (
	"context"
	"errors"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/notification"
	"github.com/postrider/postrider/internal/policy"
	"github.com/postrider/postrider/internal/snapshot"
	"github.com/postrider/postrider/internal/text"
)

// Inbounds is what ingress needs of the record for what comes from handsets.
type Inbounds interface {
	// Inbound commits a message from a vendor with what its keyword changes and the
	// answer that is owed then, once if the vendor gave it an id, and puts it into the
	// record and the outbox if a.Message says so. Of a part it does that with the
	// message which the part makes whole.
	Inbound(ctx context.Context, a message.Arrival) (message.Arrived, error)
	// InboundOver makes messages of the parts of which no other has come for longer
	// than wait. An error may come beside messages.
	InboundOver(ctx context.Context, wait time.Duration, limit int, join func(message.InboundSet) message.Arrival) ([]message.ArrivedWhole, error)
	// InboundUnstarted takes on messages of the outbox that were last taken on longer
	// than age ago; InboundStarted takes one out.
	InboundUnstarted(ctx context.Context, age time.Duration, limit int) ([]message.InboundStart, error)
	InboundStarted(ctx context.Context, id message.ID) error
	// UnroutedMessage reads a message that is nobody's. UnroutedMessages reads those to
	// a number, or all, oldest first, from behind one.
	UnroutedMessage(ctx context.Context, id message.ID) (message.Unrouted, error)
	UnroutedMessages(ctx context.Context, number message.Address, after message.ID, limit int) ([]message.Unrouted, error)
	// Redrive gives a message that was nobody's to its account, with a line in the
	// audit log; ReasonConflict when it is somebody's already.
	Redrive(ctx context.Context, by message.Actor, a message.Arrival) (message.Arrived, error)
	// MatchReceipt gives a receipt that matches nothing to a part, with a line in the
	// audit log; ReasonConflict when the part cannot have it.
	MatchReceipt(ctx context.Context, by message.Actor, receipt, id message.ID, part int) (message.Matched, error)
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
	// ownValidity is how long a number's own answer may wait on its way.
	ownValidity = time.Hour
	// forgetPairs is how many counts one sweep forgets.
	forgetPairs = 1000
)

// Inbound commits a message from a handset, or a part of one, with what its keyword
// does. A nil error means that the vendor may be answered: the message is on disk,
// an opt-out that it asks for is in force for every process that reads the table,
// and the answer is owed. It is what vendor links call.
//
// Parts are kept each by itself until the last has come, or no other comes for a time:
// then they are one message. No keyword is looked for in them: it is in the whole text
// or nowhere.
func (in *Ingress) Inbound(ctx context.Context, m message.InboundMessage) error {
	in.ready()
	if !m.Whole() && (m.Part < 1 || m.Part > m.Parts || m.Parts > 255) {
		m.Part, m.Parts, m.Reference = 0, 0, 0 // no set can ever have it
	}
	a := in.arrival(m)
	arrived, err := in.Journal.Inbound(ctx, a)
	if err != nil {
		return err
	}
	if in.Metrics.Inbound != nil && !arrived.Again {
		in.Metrics.Inbound(a.VendorID, a.AccountID, m.Part <= 1)
	}
	in.arrived(arrived)
	return nil
}

// arrived passes on what was committed: it is all in its tables, so nothing is lost
// that finds no room.
func (in *Ingress) arrived(a message.Arrived) {
	if a.Reply != nil {
		in.replier.offer(*a.Reply)
	}
	if a.Start != nil {
		in.inStarter.offer(*a.Start)
	}
	for _, w := range a.Wholes {
		in.arrivedWhole(w)
	}
}

func (in *Ingress) arrivedWhole(w message.ArrivedWhole) {
	if in.Metrics.Joined != nil {
		in.Metrics.Joined(w.Missing)
	}
	in.arrived(message.Arrived{Reply: w.Reply, Start: w.Start})
}

// arrival finds out whose message it is and what it does.
func (in *Ingress) arrival(m message.InboundMessage) message.Arrival {
	if m.Whole() {
		return in.whole(m, 0, 0)
	}
	a, _, _ := addressed(in.Snapshot(), message.NewID(), m)
	a.Join, a.Wait = in.joinInbound, in.partsWait()
	return a
}

// whole is the arrival of a message that came whole, or was joined from parts, of which
// some may be missing.
func (in *Ingress) whole(m message.InboundMessage, parts, missing int) message.Arrival {
	s, now := in.Snapshot(), in.Now()
	a, n, words := addressed(s, message.NewID(), m)
	a.Joined, a.Missing = parts, missing
	in.complete(s, n, words, &a, now)
	return a
}

// complete writes into the arrival of a message what it does, and what it becomes.
func (in *Ingress) complete(s *snapshot.Snapshot, n *snapshot.Number, words policy.Words, a *message.Arrival, now time.Time) {
	k := policy.Keyword{}
	if a.Encoding != message.EncodingBinary {
		k = policy.MatchKeyword(a.Text, words, now)
	}
	if a.Missing > 0 { // a word is one when nothing else was said
		k = policy.Keyword{ForHuman: k.ForHuman || k.Action == message.KeywordStop}
	}
	apply(s, n, a, k, now)
	if a.AccountID == (message.ID{}) {
		return
	}
	if a.Missing == 0 && k == (policy.Keyword{}) {
		ownAnswer(s, n, a)
	}
	if late := now.Sub(a.ReceivedAt); late > replyWorth {
		tooLate(a)
	}
	a.Message = recorded(s, a)
	if !a.Message.ExpiresAt.After(now) {
		a.Message = nil
	}
}

// tooLate takes out of an arrival what is worth doing at once or not at all. A stop is
// done whenever it comes; of a start nobody knows what was said since.
func tooLate(a *message.Arrival) {
	if a.Act == nil {
		return
	}
	if a.Act.Reply = nil; a.Action != message.KeywordStop {
		a.Act = nil
		a.ForHuman = a.ForHuman || a.Action == message.KeywordStart
	}
}

// recorded is the message of the record that an arrival becomes.
func recorded(s *snapshot.Snapshot, a *message.Arrival) *message.Message {
	m := &message.Message{ID: a.ID, AccountID: a.AccountID, Direction: message.Inbound, Kind: a.Kind, Status: message.StatusAccepted,
		From: a.Sender, To: a.Number, Body: a.Text, Encoding: a.Encoding, DataCoding: text.ClassOf(a.DataCoding), Header: a.Header, Segments: 1,
		Class: message.ClassConversation, Delivery: message.AtLeastOnce, VendorID: a.VendorID, Edge: edgeUnknown, Incomplete: a.Missing > 0,
		ExpiresAt: a.ReceivedAt.Add(message.InboundValidity), CreatedAt: a.ReceivedAt}
	if v := s.Vendors[a.VendorID]; v != nil {
		m.Vendor, m.Edge = v.Name, v.ProviderType
	}
	switch {
	case a.Encoding == message.EncodingBinary:
		m.Body, m.DataCoding, m.Segments = string(a.Raw), a.DataCoding, max(1, a.Joined)
	case a.Joined > 0:
		m.Segments = a.Joined
	case a.Kind != message.MMS:
		// A vendor that joins parts itself does not always say how many there were.
		if l, err := text.Plan(a.Text, a.Encoding, false); err == nil {
			m.Segments = len(l.Parts)
		}
	}
	return m
}

// edgeUnknown is the Edge of a message from a vendor that was removed a moment ago.
const edgeUnknown = "unknown"

// addressed finds who wrote to whom, whose number it is and the keywords of its owner.
// The arrival has an account only if the number is enabled; the number is nil if it is
// nobody's.
func addressed(s *snapshot.Snapshot, id message.ID, m message.InboundMessage) (message.Arrival, *snapshot.Number, policy.Words) {
	if m.Kind == "" {
		m.Kind = message.SMS
	}
	a := message.Arrival{InboundMessage: m, ID: id, Number: message.Address(m.To), Sender: message.Address(m.From)}
	to, n := owner(s, m.ToTON, m.To)
	if to != "" {
		a.Number = to
	}
	var words policy.Words
	country := defaultCountry
	if n != nil {
		if n.SMSEnabled && m.Kind == message.SMS || n.MMSEnabled && m.Kind == message.MMS {
			a.AccountID = n.AccountID
		}
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
	a.Recipients = recipients(m, a.Number.Country(), country)
	return a, n, words
}

// ownAnswer is what the number answers by itself.
func ownAnswer(s *snapshot.Snapshot, n *snapshot.Number, a *message.Arrival) {
	if r := policy.OwnAnswer(s, n, a.Sender); r != nil {
		r.ID = message.NewID()
		a.Act = &message.KeywordAct{Reply: r}
	}
}

// arrivalOf is the arrival of a message that is in the journal already.
func (in *Ingress) arrivalOf(u message.Unrouted) message.Arrival {
	s, now := in.Snapshot(), in.Now()
	a, n, words := addressed(s, u.ID, u.InboundMessage)
	a.Joined, a.Missing = u.Joined, u.Missing
	in.complete(s, n, words, &a, now)
	if a.AccountID != (message.ID{}) {
		a.Message = recorded(s, &a)
		a.Message.ExpiresAt = now.Add(message.InboundValidity) // it begins anew
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

// Owner finds the number that is meant by an address without a type, as vendors write
// them; nil: it is nobody's.
func Owner(s *snapshot.Snapshot, written string) (message.Address, *snapshot.Number) {
	return owner(s, 0, written)
}

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
	group
	in    *Ingress
	queue chan message.AutomaticReply // never closed
}

func (r *replier) make(in *Ingress) {
	r.in = in
	r.queue = make(chan message.AutomaticReply, replyWaiting)
}

func (r *replier) start(ctx context.Context) {
	ctx = r.own(ctx)
	for range repliers {
		r.wg.Go(func() { r.run(ctx) })
	}
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
//
// What a number answers by itself is a message of the customer's that the rules look
// at as at any other, so it does not go to who has stopped them.
func replyRequest(r message.AutomaticReply) Request {
	smart := true
	if r.Action == message.KeywordNone {
		return Request{ID: r.ID, AccountID: r.AccountID, Edge: message.EdgeAutomatic, From: string(r.From), To: string(r.To), Body: r.Text,
			SmartEncoding: &smart, Class: message.ClassConversation, Delivery: message.AtMostOnce, Validity: ownValidity}
	}
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
