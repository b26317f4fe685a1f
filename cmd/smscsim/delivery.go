package main

import (
	"strings"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/smpp"
)

// delivery is a receipt or an inbound message on its way to an ESME. It is held
// until the ESME takes it. Between queues and sessions it has one owner at a
// time.
type delivery struct {
	account *account
	receipt *receipt        // nil: an inbound message
	inbound *smpp.DeliverSM // nil: a receipt
	// tried is called when the first attempt has ended, however; it may be nil.
	tried func()
}

// receipt is what a delivery receipt is made of. The PDU is made when it is
// sent: a million held receipts take memory.
type receipt struct {
	answerID, receiptID string
	from, to            smpp.Address // of the receipt: the submit's, turned around
	state               message.ReceiptState
	err                 string
	submitted           time.Time
	text                string // its beginning, when it is plain
	reference           []byte // the submit's user_message_reference, or nil
}

// receiptTextLen is how much of the text a receipt repeats (SMPP 3.4 appendix B).
const receiptTextLen = 20

// wants reports whether registered_delivery asks for a receipt with the state
// (SMPP 3.4 §5.2.17; 3 is success alone in SMPP 5.0 §4.7.21).
func wants(registered byte, st message.ReceiptState) bool {
	switch registered & 3 {
	case 1:
		return true
	case 2:
		return st != message.ReceiptDelivered
	case 3:
		return st == message.ReceiptDelivered
	}
	return false
}

// pdu makes the deliver_sm for a peer; one of SMPP 3.3 gets no optional
// parameters.
func (d *delivery) pdu(tlvs string, version byte) *smpp.DeliverSM {
	if d.inbound != nil {
		return d.inbound
	}
	r := d.receipt
	words := smpp.Receipt{
		ID: r.receiptID, Sub: 1, Submit: r.submitted, Done: time.Now(), State: r.state, Err: r.err, Text: r.text,
	}
	if r.state == message.ReceiptDelivered {
		words.Dlvrd = 1
	}
	m := &smpp.DeliverSM{Message: smpp.Message{Source: r.from, Dest: r.to, ESMClass: smpp.ESMReceipt}}
	old := version != 0 && version < smpp.Version34
	if tlvs != receiptTLV || old {
		m.ShortMessage = []byte(words.String())
	}
	if tlvs != receiptText && !old {
		words.ID = r.answerID // SMPP 3.4 §5.3.2.12: as in the answer
		words.AppendTLVs(&m.TLVs)
		if r.reference != nil {
			m.TLVs.Add(smpp.TagUserMessageReference, r.reference)
		}
	}
	return m
}

// plainStart is the beginning of a text if the default alphabet and ASCII agree
// on it, else empty: a receipt has no alphabet of its own.
func plainStart(s string) string {
	s = s[:min(len(s), receiptTextLen)]
	plain := func(r rune) bool {
		return r >= ' ' && r < 0x7F && !strings.ContainsRune("@$_[\\]^`{|}~", r)
	}
	if strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) >= 0 {
		return ""
	}
	return strings.Clone(s)
}
