package smpp

import (
	"strings"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/smpp"
	"github.com/postrider/postrider/internal/snapshot"
	"github.com/postrider/postrider/internal/text"
)

const (
	receiptText = 20 // characters of the message that a receipt repeats
	maxAddress  = 20 // octets in a deliver_sm (SMPP 3.4 §5.2.8); data_sm has 64
)

// noErr is the err of a receipt with nothing to complain of.
const noErr = "000"

// receiptSM makes a receipt or an intermediate notice (SMPP 3.4 appendix B): from
// the recipient to the sender, both as the ESME wrote them. Without ReceiptTLVs
// the text says it all; a peer below version 3.4 gets no optional parameters.
func receiptSM(d *message.SMPPDelivery, c *snapshot.SMPPCredential, legacy bool) (*smpp.DeliverSM, error) {
	r := smpp.Receipt{
		ID: d.Origin.AnswerID, Sub: 1, Dlvrd: 1, Submit: d.Message.CreatedAt, Done: d.FinalAt,
		State: message.ReceiptEnroute, Err: noErr, Text: receiptWords(&d.Message, c.Alphabet),
	}
	if r.Done.IsZero() {
		r.Done = d.CreatedAt
	}
	m := &smpp.DeliverSM{Message: smpp.Message{
		Source: asWritten(d.Origin.Dest, d.Message.To), Dest: asWritten(d.Origin.Source, d.Message.From),
		ESMClass: smpp.ESMIntermediate,
	}}
	if d.Kind == message.DeliverReceipt {
		m.ESMClass = smpp.ESMReceipt
		r.State, r.Err = receiptState(d.Status), receiptErr(d.Status, &d.Message)
	}
	// Encoding GSM7 asks for data_coding 0, in which all of the text was chosen
	// to fit.
	if err := m.SetText(smpp.Outgoing{Text: r.String(), Encoding: message.EncodingGSM7, Alphabet: c.Alphabet}); err != nil {
		return nil, err
	}
	if legacy {
		return m, nil
	}
	if c.ReceiptTLVs {
		r.AppendTLVs(&m.TLVs)
	}
	if len(d.Origin.Reference) == 2 {
		m.TLVs.Add(smpp.TagUserMessageReference, d.Origin.Reference)
	}
	return m, nil
}

// asWritten is an address of the submit, or the one that we made of it when it
// came by data_sm and is too long for a deliver_sm.
func asWritten(a message.SMPPAddress, ours message.Address) smpp.Address {
	if len(a.Text) > maxAddress {
		return smpp.AddressOf(ours)
	}
	return smpp.Address{TON: a.TON, NPI: a.NPI, Text: a.Text}
}

// receiptState is the state that SMPP peers are told of a status: by
// message_state and by the word in receipts (api.md §4).
func receiptState(s message.Status) message.ReceiptState {
	switch s {
	case message.StatusDelivered:
		return message.ReceiptDelivered
	case message.StatusUndelivered, message.StatusFailed:
		return message.ReceiptUndeliverable
	case message.StatusRejected:
		return message.ReceiptRejected
	case message.StatusExpired:
		return message.ReceiptExpired
	case message.StatusCanceled:
		return message.ReceiptDeleted
	case message.StatusUnconfirmed:
		return message.ReceiptUnknown
	}
	return message.ReceiptEnroute
}

// receiptErr is the three digits that SMPP peers are told of a status: those of
// the message's reason in the catalogue, 000 while there is nothing to complain
// of. The message may have moved on since the status: then its reason belongs
// to another one.
func receiptErr(s message.Status, m *message.Message) string {
	if s == message.StatusDelivered || !s.Final() {
		return noErr
	}
	reason := usualReason(s)
	if m.Status == s && m.Error != nil {
		reason = m.Error.Reason
	}
	if code := reason.Entry().ReceiptErr; code != "" {
		return code
	}
	return message.ReasonInternal.Entry().ReceiptErr
}

// usualReason stands for a reason that is not known.
func usualReason(s message.Status) message.Reason {
	switch s {
	case message.StatusUndelivered, message.StatusFailed:
		return message.ReasonVendorRejected
	case message.StatusExpired:
		return message.ReasonExpired
	case message.StatusCanceled:
		return message.ReasonCanceled
	case message.StatusUnconfirmed:
		return message.ReasonNoReceipt
	}
	return message.ReasonInternal
}

// receiptWords are the first characters of the text that the peer's default
// alphabet has. Line ends become spaces: many peers read receipts by the line.
func receiptWords(m *message.Message, alphabet string) string {
	body, ok := m.Text()
	if !ok {
		return ""
	}
	var b strings.Builder
	n := 0
	for _, r := range body {
		switch r {
		case '\n', '\r', '\f', '\t':
			r = ' '
		}
		if r < ' ' || !hasRune(alphabet, r) {
			continue
		}
		b.WriteRune(r)
		if n++; n == receiptText {
			break
		}
	}
	return b.String()
}

// hasRune reports whether data_coding 0 has the character, by the alphabet that
// it stands for.
func hasRune(alphabet string, r rune) bool {
	switch alphabet {
	case text.AlphabetLatin1:
		return r <= 0xFF
	case text.AlphabetASCII:
		return r <= 0x7F
	}
	return text.IsGSM7(string(r))
}
