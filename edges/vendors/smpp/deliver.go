package smpp

import (
	"strings"
	"time"
	"unicode/utf8"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/smpp"
	"github.com/postrider/postrider/internal/snapshot"
	"github.com/postrider/postrider/internal/text"
)

// maxRaw bounds what is kept of a receipt's text.
const maxRaw = 255

// latin1Coding is how a receipt's text is read: its keys and ids are ASCII even
// where data_coding 0 means GSM 7-bit, which has other signs for _ and @.
const latin1Coding = 3

// reader reads what one vendor writes.
type reader struct {
	vendor *snapshot.Vendor
	format smpp.IDFormat
}

// receipt reads m as a receipt; false: it is a message.
func (v reader) receipt(m *smpp.Message, c smpp.Content, received time.Time) (message.Receipt, bool) {
	words := receiptText(m.DataCoding, c.Octets)
	r, ok := smpp.ReceiptOf(m, words)
	if !ok || !v.believed(m, r) {
		return message.Receipt{}, false
	}
	out := message.Receipt{
		ID: message.NewID(), VendorID: v.vendor.ID, VendorMessageID: v.format.OfAt(smpp.ReceiptID(v.vendor.ReceiptID), r), State: r.State, Err: clean(r.Err, 32),
		Source: clean(m.Source.Text, 64), Destination: clean(m.Dest.Text, 64), DoneAt: r.Done,
		Raw: withoutText(words), ReceivedAt: received,
	}
	out.VendorMessageID = clean(out.VendorMessageID, 64)
	if out.VendorMessageID == "" {
		// Without an id it can only be matched by its addresses. It gets one of
		// its own, or all of a vendor's would be one receipt to the journal.
		out.VendorMessageID = "none-" + message.Hex32(out.ID)
	}
	out.Reason = v.receiptReason(out.State, out.Err)
	return out, true
}

// believed reports whether what reads like a receipt is one. Without the bits of
// esm_class anybody with a handset could write one, unless it has the optional
// parameters, which nobody can write there; so the vendor's row must say that its
// receipts come like that.
func (v reader) believed(m *smpp.Message, r smpp.Receipt) bool {
	if v.vendor.ReceiptsUnmarked || m.Marked() {
		return true
	}
	_, hasState := m.TLVs.Byte(smpp.TagMessageState)
	return r.TLVID != "" && hasState
}

func receiptText(coding byte, octets []byte) string {
	if coding != smpp.CodingUCS2 {
		coding = latin1Coding
	}
	s, _ := text.Decode(coding, "", octets)
	return s
}

// withoutText cuts the customer's own words, which stand after text:, off a
// receipt.
func withoutText(s string) string {
	if i := strings.Index(strings.ToLower(s), "text:"); i >= 0 && i <= len(s) {
		s = s[:i]
	}
	return clean(s, maxRaw)
}

// clean makes a vendor's string fit to be stored: valid, bounded, without
// control characters.
func clean(s string, n int) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == utf8.RuneError {
			return -1
		}
		return r
	}, s)
	for len(s) > n {
		_, size := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-size]
	}
	return strings.TrimSpace(s)
}

// inbound is m as an inbound message.
func (v reader) inbound(m *smpp.Message, c smpp.Content, received time.Time) message.InboundMessage {
	out := message.InboundMessage{
		VendorID: v.vendor.ID, From: clean(m.Source.Text, 64), To: clean(m.Dest.Text, 64), FromTON: m.Source.TON, ToTON: m.Dest.TON,
		DataCoding: m.DataCoding, Alphabet: v.vendor.DefaultAlphabet, Encoding: message.EncodingBinary,
		Reference: c.Reference, Part: c.Part, Parts: c.Parts, ReceivedAt: received,
	}
	if len(c.Header) > 0 {
		out.Header = append([]byte(nil), c.Header...)
	}
	if id, ok := m.TLVs.Text(smpp.TagReceiptedMessageID); ok {
		out.VendorRef = clean(id, 64)
	}
	s, ok := text.Decode(m.DataCoding, v.vendor.DefaultAlphabet, c.Octets)
	if !ok || !out.Whole() { // a character may lie across two parts
		out.Raw = append([]byte{}, c.Octets...)
	}
	if !ok {
		return out
	}
	out.Text, out.Encoding = s, message.EncodingUCS2
	if text.IsGSM7(s) {
		out.Encoding = message.EncodingGSM7
	}
	return out
}
