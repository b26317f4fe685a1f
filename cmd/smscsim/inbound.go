package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/smpp"
	"github.com/postrider/postrider/internal/text"
)

// inbound is the body of POST /mo: a message from a handset.
type inbound struct {
	SystemID string           `json:"system_id"` // who gets it; empty: who is bound to receive, in turn
	From     string           `json:"from"`      // empty: the recipient of the latest submit
	To       string           `json:"to"`        // empty: the sender of the latest submit
	Text     string           `json:"text"`
	Encoding message.Encoding `json:"encoding"` // auto (or empty), gsm7 or ucs2
	Long     smpp.LongMessage `json:"long"`     // udh (or empty), sar or payload
}

// queued is the answer to it.
type queued struct {
	SystemID string `json:"system_id"`
	Parts    int    `json:"parts"`
	Held     bool   `json:"held"` // nobody is bound to receive now
}

// Refusals of inbound messages.
var (
	errNoAccount  = errors.New("nobody is bound to receive: bind, or name a system_id that was bound before or will be")
	errNoAddress  = errors.New("from and to are needed until there was a submit to answer")
	errTooMuch    = errors.New("too many receipts and inbound messages are held")
	errNoLong     = errors.New("long is none of udh, sar, payload")
	errBadAddress = errors.New("an address has more than 20 octets or a character that is not ASCII")
)

// inject queues an inbound message, its parts in order.
func (s *simulator) inject(in inbound) (queued, error) {
	a := s.receiver(in.SystemID)
	if a == nil {
		return queued{}, errNoAccount
	}
	from, to := a.last()
	if in.From == "" {
		in.From = to
	}
	if in.To == "" {
		in.To = from
	}
	if in.From == "" || in.To == "" {
		return queued{}, errNoAddress
	}
	pdus, err := s.cut(in)
	if err != nil {
		return queued{}, err
	}
	var ds []*delivery
	for _, m := range pdus {
		if !s.reserve(s.config.Load().ReceiptCap, false) {
			s.stats.count(func(c *counts) { c.MOPending -= len(ds) })
			return queued{}, errTooMuch
		}
		ds = append(ds, &delivery{account: a, inbound: m})
	}
	a.push(ds...)
	return queued{SystemID: a.systemID, Parts: len(ds), Held: !a.hasReceiver()}, nil
}

// receiver is the account that is named, or the next of those that are bound to
// receive.
func (s *simulator) receiver(systemID string) *account {
	if systemID != "" {
		return s.account(systemID)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var bound []*account
	seen := make(map[*account]bool)
	for p := range s.peers {
		if p.session.Mode().CanDeliver() {
			if a := s.accounts[p.session.PeerID()]; a != nil && !seen[a] && p.session.Err() == nil {
				seen[a] = true
				bound = append(bound, a)
			}
		}
	}
	if len(bound) == 0 {
		return nil
	}
	s.turn++
	first := bound[0]
	if len(bound) > 1 {
		sortAccounts(bound)
		first = bound[s.turn%len(bound)]
	}
	return first
}

// cut makes the deliver_sm of each part.
func (s *simulator) cut(in inbound) ([]*smpp.DeliverSM, error) {
	source, err := address(in.From)
	if err != nil {
		return nil, err
	}
	dest, err := address(in.To)
	if err != nil {
		return nil, err
	}
	want := in.Encoding
	if want == "" {
		want = message.EncodingAuto
	}
	layout, err := text.Plan(in.Text, want, false)
	if err != nil {
		return nil, err
	}
	parts := layout.Parts
	switch in.Long {
	case "", smpp.LongUDH, smpp.LongSAR:
	case smpp.LongPayload:
		parts = []string{layout.Text}
	default:
		return nil, errNoLong
	}
	ref := uint16(s.reference.Add(1))
	if in.Long != smpp.LongSAR {
		ref &= 0xFF
	}
	var out []*smpp.DeliverSM
	for i, part := range parts {
		m := &smpp.DeliverSM{Message: smpp.Message{Source: source, Dest: dest}}
		err := m.SetText(smpp.Outgoing{
			Text: part, Encoding: layout.Encoding, Alphabet: s.config.Load().Alphabet,
			Long: in.Long, Ref: ref, Part: i + 1, Parts: len(parts),
		})
		if err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	return out, nil
}

// address writes an address as a carrier does: digits without a plus sign as
// international, anything with a letter as alphanumeric.
func address(s string) (smpp.Address, error) {
	digits := strings.TrimPrefix(s, "+")
	if len(digits) > 20 || strings.ContainsFunc(digits, func(r rune) bool { return r < ' ' || r > '~' }) {
		return smpp.Address{}, errBadAddress
	}
	if strings.Trim(digits, "0123456789") != "" {
		return smpp.Address{TON: 5, Text: digits}, nil
	}
	if len(digits) <= 8 && digits == s { // a short code
		return smpp.Address{TON: 3, Text: digits}, nil
	}
	return smpp.Address{TON: 1, NPI: 1, Text: digits}, nil
}

// sendInbound makes inbound messages at the configured rate until stop.
func (s *simulator) sendInbound() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for n := 1; ; {
		c, changed := s.behaviour()
		wait := time.Hour
		if c.MORate > 0 {
			wait = time.Duration(float64(time.Second) / c.MORate)
		}
		timer.Reset(wait)
		select {
		case <-s.ctx.Done():
			return
		case <-changed:
			continue
		case <-timer.C:
		}
		if c.MORate == 0 {
			continue
		}
		_, err := s.inject(inbound{SystemID: c.MOAccount, From: c.MOFrom, To: c.MOTo, Text: fmt.Sprintf("%s %d", c.MOText, n)})
		if err == nil {
			n++
		}
	}
}
