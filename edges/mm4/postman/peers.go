package postman

import (
	"context"
	"errors"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/mm4"
	"github.com/postrider/postrider/internal/mm4out"
	"github.com/postrider/postrider/internal/smtpout"
)

// queue is what waits for one peer. It is there while something does, and after that
// while the peer is held not to be there: the mails of the next claim are spared, too.
type queue struct {
	mails   []claimed
	working int       // goroutines that send to it
	until   time.Time // it was not reached, and nothing is sent to it before
}

// claimed is a mail with when it was claimed.
type claimed struct {
	message.MM4Mail
	at time.Time
}

// enqueue gives a mail to its peer's queue, for which at most perPeer work: one that is
// dead holds up nobody else.
func (p *Postman) enqueue(ctx context.Context, m message.MM4Mail) {
	p.mu.Lock()
	defer p.mu.Unlock()
	q := p.queues[m.PeerID]
	if q == nil {
		q = &queue{}
		p.queues[m.PeerID] = q
	}
	q.mails = append(q.mails, claimed{m, p.Now()})
	if q.working < perPeer {
		q.working++
		p.loops.Go(func() { p.work(ctx, m.PeerID, q) })
	}
}

// work sends a peer's mails until there are none.
func (p *Postman) work(ctx context.Context, peer message.ID, q *queue) {
	for {
		p.mu.Lock()
		if len(q.mails) == 0 || ctx.Err() != nil {
			for range q.mails {
				<-p.slots
			}
			q.mails = nil
			if q.working--; q.working == 0 && !p.Now().Before(q.until) {
				delete(p.queues, peer)
			}
			p.mu.Unlock()
			return
		}
		m, down := q.mails[0], p.Now().Before(q.until)
		q.mails = q.mails[1:]
		p.mu.Unlock()
		if reached := p.try(ctx, m, down); !reached {
			p.mu.Lock()
			q.until = p.Now().Add(pauses[0])
			p.mu.Unlock()
		}
		<-p.slots
	}
}

// pauses are after the first, second, … try that failed; the last is repeated until
// the mail expires.
var pauses = []time.Duration{time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour}

// pauseAfter is how long after a try that failed the next is made.
func pauseAfter(tries int) time.Duration {
	return pauses[min(max(tries, 1), len(pauses))-1]
}

// try sends one mail and records what became of it. It reports whether the peer was
// there; to one that is down nothing is sent.
func (p *Postman) try(ctx context.Context, m claimed, down bool) (reached bool) {
	if p.Now().Sub(m.at) > startWithin {
		return true // its claim may lapse before it has gone
	}
	kind := typeOf(m.Kind)
	result, reached := message.MM4MailResult{State: message.MM4MailPending, Error: "the peer was not reached a moment ago", Next: pauseAfter(m.Attempts + 1)}, true
	if !down {
		result, reached = p.attempt(ctx, m.MM4Mail)
	}
	if ctx.Err() != nil && result.State != message.MM4MailSent {
		return reached // it was cut off, and is given back
	}
	if p.Metrics.Tried != nil {
		p.Metrics.Tried(kind, result.State)
	}
	switch result.State {
	case message.MM4MailFailed:
		p.Log.Warn("mm4 mail refused for good", "type", string(kind), "peer_id", m.PeerID, "message_id", m.MessageID, "code", result.Code, "error", result.Error)
	case message.MM4MailPending:
		p.Log.Info("mm4 mail not sent yet", "type", string(kind), "peer_id", m.PeerID, "message_id", m.MessageID, "code", result.Code, "error", result.Error, "next", result.Next)
	default:
		p.Log.Debug("mm4 mail sent", "type", string(kind), "peer_id", m.PeerID, "message_id", m.MessageID, "code", result.Code)
	}
	// What was sent is noted even while we stop: else it goes twice.
	note, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout)
	defer cancel()
	if err := p.Journal.MM4MailTried(note, p.Instance, m.ID, result); err != nil {
		p.Log.Warn("mm4 mail not recorded; it may go again", "type", string(kind), "message_id", m.MessageID, "error", err)
	}
	return reached
}

// attempt sends one mail, and says what became of it and whether the peer was there.
func (p *Postman) attempt(ctx context.Context, m message.MM4Mail) (message.MM4MailResult, bool) {
	later := message.MM4MailResult{State: message.MM4MailPending, Next: pauseAfter(m.Attempts + 1)}
	no := message.MM4MailResult{State: message.MM4MailFailed}
	s := p.Snapshot()
	row := s.MM4Peers[m.PeerID]
	var to mm4out.Peer
	var err error
	switch {
	case row == nil: // this process may not have read of it yet
		later.Error = "the peer is not known"
		return later, true
	case !row.Enabled:
		later.Error = "the peer is disabled"
		return later, true
	case row.VendorID == (message.ID{}):
		to, err = mm4out.CustomerPeer(row, p.Own)
	case s.Vendors[row.VendorID] == nil:
		later.Error = "the peer's vendor is not known"
		return later, true
	default:
		to, err = mm4out.VendorPeer(s.Vendors[row.VendorID], row, p.Own)
	}
	if err != nil { // a person has to mend the row
		later.Error = err.Error()
		return later, true
	}
	h, rcpt, err := compose(m, p.Own, to.Version)
	if err != nil {
		no.Error = err.Error()
		return no, true
	}
	mail, err := mm4out.MailOf(h, nil, p.Own.Address(), rcpt)
	if err != nil {
		no.Error = err.Error()
		return no, true
	}
	// A vendor may have the name of a customer's peer, and peers with one name share their
	// connections. Messages to the same peer have others: they may take longer.
	to.Target.Name = "owed to " + row.Name
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	outcomes, err := p.Sender.Send(ctx, &to.Target, mail)
	return resultOf(outcomes, err, later)
}

// resultOf makes the record's words of what the sender says. A mail that may be there
// goes again as well: its ids tell the peer that it has it.
func resultOf(outcomes []smtpout.Outcome, err error, later message.MM4MailResult) (message.MM4MailResult, bool) {
	var failed *smtpout.Error
	switch {
	case err == nil:
		r := message.MM4MailResult{State: message.MM4MailSent}
		if len(outcomes) > 0 {
			r.Code = codeOf(outcomes[0])
		}
		return r, true
	case !errors.As(err, &failed):
		later.Error = err.Error()
		return later, true
	}
	later.Code, later.Error = failed.Codes(), failed.Error()
	if !failed.Retryable() && !failed.Ambiguous() {
		later.State, later.Next = message.MM4MailFailed, 0
	}
	return later, !unreached[failed.Stage()]
}

// unreached are the stages at which the peer has said nothing yet.
var unreached = map[smtpout.Stage]bool{smtpout.StageLookup: true, smtpout.StageConnect: true, smtpout.StageTLS: true, smtpout.StageGreeting: true}

func typeOf(k message.MM4MailKind) mm4.Type {
	switch k {
	case message.MM4ForwardRES:
		return mm4.ForwardRES
	case message.MM4DeliveryReport:
		return mm4.DeliveryReportREQ
	case message.MM4DeliveryReportRES:
		return mm4.DeliveryReportRES
	case message.MM4ReadReport:
		return mm4.ReadReplyReportREQ
	case message.MM4ReadReportRES:
		return mm4.ReadReplyReportRES
	}
	return ""
}
