package main

import (
	"sync"
	"time"

	"github.com/postrider/postrider/internal/smpp"
)

// earlyPatience is how long an answer waits for the receipt that goes before it:
// an ESME may hold its deliver_sm_resp until it knows the id.
const earlyPatience = 2 * time.Second

// handle takes what an ESME sends. As with many carriers, query_sm, cancel_sm,
// replace_sm and submit_multi are not supported.
func (p *peer) handle(r *smpp.Request) {
	switch m := r.Body.(type) {
	case *smpp.SubmitSM:
		p.submit(r, &m.Message)
	case *smpp.DataSM:
		message := m.Message()
		p.submit(r, &message)
	default:
		_ = r.Respond(smpp.StatusInvCmdID, nil)
	}
}

// submit decides about one short message.
func (p *peer) submit(r *smpp.Request, m *smpp.Message) {
	c, now := p.sim.config.Load(), time.Now()
	p.sim.stats.submit(now)
	if p.open.Add(1) > int64(c.window()) {
		p.refuse(r, smpp.StatusThrottled)
		return
	}
	content, st := m.Content()
	switch {
	case st == smpp.StatusOK && m.Dest.Text == "":
		st = smpp.StatusInvDest
	case st == smpp.StatusOK && !fits(m, content):
		st = smpp.StatusInvMsgLen
	}
	if st != smpp.StatusOK {
		p.refuse(r, st)
		return
	}
	o := p.sim.planner.plan(c, p.account.systemID, m.Dest.Text, now)
	switch {
	case o.refuse != smpp.StatusOK:
		p.sim.later.after(o.latency, func() { p.refuse(r, o.refuse) })
	case o.disconnect && o.lost:
		p.hangUp(r)
	default:
		p.take(r, m, content, c, o, now)
	}
}

// take records a short message and goes on as planned. It is taken from here on,
// whether its answer arrives or not.
func (p *peer) take(r *smpp.Request, m *smpp.Message, content smpp.Content, c *config, o plan, now time.Time) {
	text := p.sim.ledger.take(m, content, c.Alphabet, now)
	p.account.setLast(m.Source.Text, m.Dest.Text)
	answerID, receiptID := p.sim.ids.next(c.IDFormat)
	if !wants(m.RegisteredDelivery, o.state) {
		o.receipts = 0
	}
	reports := p.reports(o.receipts, c.ReceiptCap, &receipt{
		answerID: answerID, receiptID: receiptID, from: m.Dest, to: m.Source,
		state: o.state, err: o.err, submitted: now, text: plainStart(text), reference: reference(m),
	})
	p.sim.stats.count(func(n *counts) {
		n.Accepted++
		if o.silent && !o.disconnect {
			n.Silent++
		}
	})
	answer := func() { p.accept(r, answerID) }
	report := func() { p.account.push(reports...) }
	later := p.sim.later
	switch {
	case o.disconnect:
		p.hangUp(r)
		later.after(o.delay, report)
	case o.silent:
		p.open.Add(-1)
		later.after(o.latency+o.delay, report)
	case o.early && len(reports) > 0 && p.account.hasReceiver():
		later.after(o.latency, func() { p.reportFirst(answer, reports, o.delay) })
	default:
		later.after(o.latency, func() {
			answer()
			if len(reports) > 0 {
				later.after(o.delay, report)
			}
		})
	}
}

// reportFirst sends a receipt and answers once the ESME has answered it.
func (p *peer) reportFirst(answer func(), reports []*delivery, delay time.Duration) {
	once := sync.OnceFunc(answer)
	reports[0].tried = once
	p.account.pushFirst(reports[0])
	p.sim.later.after(earlyPatience, once)
	if len(reports) > 1 {
		p.sim.later.after(delay, func() { p.account.push(reports[1:]...) })
	}
}

// reports makes n receipts that count as pending, or fewer when too much is
// held.
func (p *peer) reports(n, limit int, r *receipt) []*delivery {
	var out []*delivery
	for range n {
		if p.sim.reserve(limit, true) {
			out = append(out, &delivery{account: p.account, receipt: r})
		}
	}
	return out
}

// reserve counts a delivery as pending; false: the limit is reached, it is
// counted as dropped.
func (s *simulator) reserve(limit int, isReceipt bool) bool {
	ok := false
	s.stats.count(func(c *counts) {
		pending, dropped := &c.MOPending, &c.MODropped
		if isReceipt {
			pending, dropped = &c.ReceiptsPending, &c.ReceiptsDropped
		}
		ok = c.ReceiptsPending+c.MOPending < limit
		if ok {
			*pending++
		} else {
			*dropped++
		}
	})
	return ok
}

func (p *peer) accept(r *smpp.Request, id string) {
	p.open.Add(-1)
	var body smpp.PDU = &smpp.SubmitSMResp{MessageID: id}
	if r.ID == smpp.IDDataSM {
		body = &smpp.DataSMResp{MessageID: id}
	}
	p.sim.stats.answered(1)
	if r.Respond(smpp.StatusOK, body) != nil {
		p.sim.stats.answered(-1)
		p.sim.stats.count(func(c *counts) { c.Unanswered++ })
	}
}

func (p *peer) refuse(r *smpp.Request, st smpp.Status) {
	p.open.Add(-1)
	p.sim.stats.refused(st, 1)
	if r.Respond(st, nil) != nil {
		p.sim.stats.refused(st, -1)
	}
}

func (p *peer) hangUp(r *smpp.Request) {
	p.open.Add(-1)
	p.sim.stats.count(func(c *counts) { c.Disconnected++ })
	r.Session().Close()
}

// What one short message holds (3GPP TS 23.040 §9.2.3.16), and what a
// concatenation header of 6 octets takes of it.
const (
	smOctets, smSeptets           = 140, 160
	headerOctets, headerSeptets   = 6, 7
	wideExtraOctet, wideExtraSept = 1, 1
)

// wideReference marks a 16-bit reference in smpp.Content.
const wideReference = 1 << 16

// fits reports whether the text is one short message, as a strict carrier wants
// it; a message_payload may be longer, the carrier cuts it.
func fits(m *smpp.Message, c smpp.Content) bool {
	if len(m.ShortMessage) == 0 {
		return true
	}
	octets := m.DataCoding != 0 && m.DataCoding != 1 && m.DataCoding != 3 && m.DataCoding&0xFC != 0x10 && m.DataCoding&0xFC != 0xF0
	room := smSeptets
	if octets {
		room = smOctets
	}
	if c.Parts > 1 {
		wide := c.Reference&wideReference != 0
		switch {
		case octets && wide:
			room -= headerOctets + wideExtraOctet
		case octets:
			room -= headerOctets
		case wide:
			room -= headerSeptets + wideExtraSept
		default:
			room -= headerSeptets
		}
	}
	return len(c.Octets) <= room
}

// reference is the submit's user_message_reference, which its receipts repeat.
func reference(m *smpp.Message) []byte {
	v, ok := m.TLVs.Get(smpp.TagUserMessageReference)
	if !ok || len(v) != 2 {
		return nil
	}
	return []byte{v[0], v[1]}
}
