package smpp

import (
	"fmt"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/smpp"
	"github.com/postrider/postrider/internal/snapshot"
	"github.com/postrider/postrider/internal/text"
)

// aReceipt is the receipt of a message with a known id.
func receiptSample(edit func(*message.SMPPDelivery)) message.SMPPDelivery {
	at := time.Date(2026, 11, 21, 15, 4, 9, 0, time.FixedZone("", -5*3600))
	d := message.SMPPDelivery{
		Kind: message.DeliverReceipt, Status: message.StatusDelivered, FinalAt: at.Add(62 * time.Minute), CreatedAt: at.Add(time.Hour),
		Message: message.Message{Status: message.StatusDelivered, From: "+12025550143", To: "+13105550117", Body: "Your parcel is on its way", CreatedAt: at},
		Origin: message.SMPPOrigin{
			AnswerID: "01a1ffbf86767d359c440f6f2f1b7e21",
			Source:   message.SMPPAddress{TON: 5, NPI: 0, Text: "Shop"},
			Dest:     message.SMPPAddress{TON: 2, NPI: 8, Text: "3105550117"},
		},
	}
	if edit != nil {
		edit(&d)
	}
	return d
}

func receiptOf(t testing.TB, d message.SMPPDelivery, c snapshot.SMPPCredential, legacy bool) *smpp.DeliverSM {
	t.Helper()
	pdus, err := deliverySM(&d, &c, legacy)
	if err != nil || len(pdus) != 1 {
		t.Fatalf("%d PDUs: %v", len(pdus), err)
	}
	return deliverOverTheWire(t, pdus[0])
}

// overTheWire gives the deliver_sm as the peer reads it.
func deliverOverTheWire(t testing.TB, m *smpp.DeliverSM) *smpp.DeliverSM {
	t.Helper()
	b, err := smpp.Append(nil, smpp.StatusOK, 1, m)
	if err != nil {
		t.Fatal(err)
	}
	p, err := smpp.Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	return p.Body.(*smpp.DeliverSM)
}

func TestReceiptText(t *testing.T) {
	const head = "id:01a1ffbf86767d359c440f6f2f1b7e21 sub:001 dlvrd:001 submit date:2611212004 done date:2611212106 "
	tests := []struct {
		name  string
		edit  func(*message.SMPPDelivery)
		want  string
		state byte
		err   uint16
	}{
		{"delivered", nil, "stat:DELIVRD err:000 text:Your parcel is on it", 2, 0},
		{"undelivered", receiptIs(message.StatusUndelivered, message.ReasonUnknownSubscriber), "stat:UNDELIV err:404 text:Your parcel is on it", 5, 404},
		{"undelivered, no reason", receiptIs(message.StatusUndelivered, ""), "stat:UNDELIV err:505 text:Your parcel is on it", 5, 505},
		{"failed", receiptIs(message.StatusFailed, message.ReasonVendorUnreachable), "stat:UNDELIV err:506 text:Your parcel is on it", 5, 506},
		{"failed, no reason", receiptIs(message.StatusFailed, ""), "stat:UNDELIV err:505 text:Your parcel is on it", 5, 505},
		{"rejected", receiptIs(message.StatusRejected, message.ReasonOptedOut), "stat:REJECTD err:301 text:Your parcel is on it", 8, 301},
		{"rejected, no reason", receiptIs(message.StatusRejected, ""), "stat:REJECTD err:901 text:Your parcel is on it", 8, 901},
		{"expired", receiptIs(message.StatusExpired, message.ReasonVendorThrottled), "stat:EXPIRED err:501 text:Your parcel is on it", 3, 501},
		{"expired, no reason", receiptIs(message.StatusExpired, ""), "stat:EXPIRED err:509 text:Your parcel is on it", 3, 509},
		{"canceled", receiptIs(message.StatusCanceled, message.ReasonCanceled), "stat:DELETED err:510 text:Your parcel is on it", 4, 510},
		{"canceled, no reason", receiptIs(message.StatusCanceled, ""), "stat:DELETED err:510 text:Your parcel is on it", 4, 510},
		{"unconfirmed", receiptIs(message.StatusUnconfirmed, message.ReasonSubmitInDoubt), "stat:UNKNOWN err:507 text:Your parcel is on it", 7, 507},
		{"unconfirmed, no reason", receiptIs(message.StatusUnconfirmed, ""), "stat:UNKNOWN err:508 text:Your parcel is on it", 7, 508},
		{"a reason that receipts do not have", receiptIs(message.StatusRejected, message.ReasonInvalidRequest), "stat:REJECTD err:901 text:Your parcel is on it", 8, 901},
		{"an unknown reason", receiptIs(message.StatusRejected, "fax"), "stat:REJECTD err:901 text:Your parcel is on it", 8, 901},
		{"settled late: the old receipt", func(d *message.SMPPDelivery) {
			d.Status = message.StatusUnconfirmed
			d.Message.Status, d.Message.Error = message.StatusUndelivered, message.Refuse(message.ReasonUnreachable, "away")
		}, "stat:UNKNOWN err:508 text:Your parcel is on it", 7, 508},
		{"settled late: the new receipt", func(d *message.SMPPDelivery) {
			d.Message.Error = message.Refuse(message.ReasonNoReceipt, "silence")
		}, "stat:DELIVRD err:000 text:Your parcel is on it", 2, 0},
		{"notice", receiptNotice, "stat:ENROUTE err:000 text:Your parcel is on it", 1, 0},
		{"notice of what is settled by now", func(d *message.SMPPDelivery) {
			receiptIs(message.StatusUndelivered, message.ReasonUnreachable)(d)
			receiptNotice(d)
		}, "stat:ENROUTE err:000 text:Your parcel is on it", 1, 0},
		{"the vendor's own err", func(d *message.SMPPDelivery) {
			receiptIs(message.StatusUndelivered, message.ReasonUnreachable)(d)
			d.Message.Receipt = &message.ReceiptSummary{Stat: "UNDELIV", Err: "069"}
		}, "stat:UNDELIV err:405 text:Your parcel is on it", 5, 405},
		{"redacted", func(d *message.SMPPDelivery) { d.Message.Redacted = true }, "stat:DELIVRD err:000 text:", 2, 0},
		{"octets", func(d *message.SMPPDelivery) { d.Message.Encoding = message.EncodingBinary }, "stat:DELIVRD err:000 text:", 2, 0},
		{"no text", func(d *message.SMPPDelivery) { d.Message.Body = "" }, "stat:DELIVRD err:000 text:", 2, 0},
		{"short text", func(d *message.SMPPDelivery) { d.Message.Body = "Hi" }, "stat:DELIVRD err:000 text:Hi", 2, 0},
		{"odd characters", func(d *message.SMPPDelivery) {
			d.Message.Body = "日本\u00a0“Grüße”\r\n\tfür {you}, 20 € and more"
		},
			"stat:DELIVRD err:000 text:Grüße   für {you}, 2", 2, 0},
		{"nothing that fits", func(d *message.SMPPDelivery) { d.Message.Body = "日本語" }, "stat:DELIVRD err:000 text:", 2, 0},
		{"no time of the status", func(d *message.SMPPDelivery) {
			d.FinalAt = time.Time{}
			d.CreatedAt = d.Message.CreatedAt.Add(62 * time.Minute)
		},
			"stat:DELIVRD err:000 text:Your parcel is on it", 2, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := receiptSample(tt.edit)
			m := receiptOf(t, d, snapshot.SMPPCredential{ReceiptTLVs: true}, false)
			if got := text.DecodeGSM7(m.ShortMessage); got != head+tt.want {
				t.Errorf("says %q\nwant %q", got, head+tt.want)
			}
			class := byte(0x04)
			if d.Kind == message.DeliverNotice {
				class = 0x20
			}
			if m.ESMClass != class || m.DataCoding != 0 || m.RegisteredDelivery != 0 {
				t.Errorf("esm_class %02x data_coding %d registered_delivery %d", m.ESMClass, m.DataCoding, m.RegisteredDelivery)
			}
			if m.Source != (smpp.Address{TON: 2, NPI: 8, Text: "3105550117"}) || m.Dest != (smpp.Address{TON: 5, NPI: 0, Text: "Shop"}) {
				t.Errorf("from %+v to %+v", m.Source, m.Dest)
			}
			want := smpp.TLVs{
				{Tag: smpp.TagReceiptedMessageID, Data: []byte("01a1ffbf86767d359c440f6f2f1b7e21\x00")},
				{Tag: smpp.TagMessageState, Data: []byte{tt.state}},
				{Tag: smpp.TagNetworkErrorCode, Data: []byte{3, byte(tt.err >> 8), byte(tt.err)}},
			}
			if fmt.Sprint(m.TLVs) != fmt.Sprint(want) {
				t.Errorf("TLVs %v\nwant %v", m.TLVs, want)
			}
		})
	}
}

func receiptIs(s message.Status, r message.Reason) func(*message.SMPPDelivery) {
	return func(d *message.SMPPDelivery) {
		d.Status, d.Message.Status = s, s
		if r != "" {
			d.Message.Error = message.Refuse(r, "no")
		}
	}
}

func receiptNotice(d *message.SMPPDelivery) {
	d.Kind, d.Status = message.DeliverNotice, message.StatusSent
}

// Each status says what the table of statuses says, each reason its three
// digits of the catalogue, and smpp.ReceiptOf reads it back.
func TestReceiptOfEveryStatusAndReason(t *testing.T) {
	stats := map[message.Status]message.ReceiptState{ // api.md §4
		message.StatusAccepted: "ENROUTE", message.StatusScheduled: "ENROUTE", message.StatusQueued: "ENROUTE",
		message.StatusSending: "ENROUTE", message.StatusInDoubt: "ENROUTE", message.StatusSent: "ENROUTE",
		message.StatusDelivered: "DELIVRD", message.StatusUndelivered: "UNDELIV", message.StatusFailed: "UNDELIV",
		message.StatusRejected: "REJECTD", message.StatusExpired: "EXPIRED", message.StatusCanceled: "DELETED",
		message.StatusUnconfirmed: "UNKNOWN",
	}
	for _, s := range message.Statuses() {
		for _, e := range message.Catalogue() {
			d := receiptSample(receiptIs(s, e.Reason))
			m := receiptOf(t, d, snapshot.SMPPCredential{ReceiptTLVs: true}, false)
			r, ok := smpp.ReceiptOf(&m.Message, text.DecodeGSM7(m.ShortMessage))
			wantErr := e.ReceiptErr
			switch {
			case s == message.StatusDelivered || !s.Final():
				wantErr = "000"
			case wantErr == "":
				wantErr = "901"
			}
			if !ok || r.State != stats[s] || r.Stat != string(stats[s]) || r.Err != wantErr {
				t.Errorf("%s, %s: %v %+v, want %s %s", s, e.Reason, ok, r, stats[s], wantErr)
			}
			if r.ID != d.Origin.AnswerID || r.TLVID != d.Origin.AnswerID || r.Sub != 1 || r.Dlvrd != 1 || r.Text != d.Message.Body[:20] ||
				!r.Submit.Equal(d.Message.CreatedAt.Truncate(time.Minute)) || !r.Done.Equal(d.FinalAt.Truncate(time.Minute)) {
				t.Errorf("%s, %s: read back as %+v", s, e.Reason, r)
			}
		}
	}
}

func TestReceiptForm(t *testing.T) {
	reference := func(d *message.SMPPDelivery) { d.Origin.Reference = []byte{0x12, 0x34} }
	tests := []struct {
		name   string
		edit   func(*message.SMPPDelivery)
		tlvs   bool
		legacy bool
		want   []smpp.Tag
	}{
		{"text and parameters", nil, true, false, []smpp.Tag{0x001E, 0x0427, 0x0423}},
		{"with a reference", reference, true, false, []smpp.Tag{0x001E, 0x0427, 0x0423, 0x0204}},
		{"text alone", nil, false, false, nil},
		{"text alone with a reference", reference, false, false, []smpp.Tag{0x0204}},
		{"below version 3.4", reference, true, true, nil},
		{"a broken reference", func(d *message.SMPPDelivery) { d.Origin.Reference = []byte{1} }, false, false, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := receiptOf(t, receiptSample(tt.edit), snapshot.SMPPCredential{ReceiptTLVs: tt.tlvs}, tt.legacy)
			var tags []smpp.Tag
			for _, f := range m.TLVs {
				tags = append(tags, f.Tag)
			}
			if fmt.Sprint(tags) != fmt.Sprint(tt.want) {
				t.Errorf("TLVs %v, want %v", tags, tt.want)
			}
			if v, ok := m.TLVs.Uint16(smpp.TagUserMessageReference); ok && v != 0x1234 {
				t.Errorf("reference %04x", v)
			}
		})
	}
}

// A data_sm may have longer addresses than a deliver_sm.
func TestReceiptOfLongAddresses(t *testing.T) {
	d := receiptSample(func(d *message.SMPPDelivery) {
		d.Origin.Source.Text = "00000000012025550143x"
		d.Origin.Dest.Text = "00000000000003105550117"
	})
	m := receiptOf(t, d, snapshot.SMPPCredential{}, false)
	if m.Source != (smpp.Address{TON: 1, NPI: 1, Text: "13105550117"}) || m.Dest != (smpp.Address{TON: 1, NPI: 1, Text: "12025550143"}) {
		t.Errorf("from %+v to %+v", m.Source, m.Dest)
	}
	d.Message.From, d.Message.To = "", "411"
	m = receiptOf(t, d, snapshot.SMPPCredential{}, false)
	if m.Source != (smpp.Address{TON: 3, Text: "411"}) || m.Dest != (smpp.Address{}) {
		t.Errorf("from %+v to %+v", m.Source, m.Dest)
	}
}

// Whatever the text, a receipt fits, reads back in the peer's own alphabet, and
// no words of the message are taken for its keys.
func TestReceiptsReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		alphabet := rapid.SampledFrom([]string{"", text.AlphabetGSM7, text.AlphabetLatin1, text.AlphabetASCII}).Draw(t, "alphabet")
		d := receiptSample(func(d *message.SMPPDelivery) {
			d.Message.Body = rapid.OneOf(rapid.String(), rapid.Just(" stat:UNDELIV err:9 id:7"), rapid.StringMatching(`[{}€^\[\]@_a]{0,40}`)).Draw(t, "body")
			d.Origin.AnswerID = rapid.StringMatching(`[0-9a-f]{8}|[0-9a-f]{32}|[0-9A-Za-z-]{1,64}`).Draw(t, "id")
		})
		pdus, err := deliverySM(&d, &snapshot.SMPPCredential{ReceiptTLVs: rapid.Bool().Draw(t, "tlvs"), Alphabet: alphabet}, false)
		if err != nil {
			t.Fatal(err)
		}
		m := pdus[0]
		if m.DataCoding != 0 || len(m.ShortMessage) > 254 {
			t.Fatalf("data_coding %d, %d octets", m.DataCoding, len(m.ShortMessage))
		}
		words, ok := text.Decode(0, alphabet, m.ShortMessage)
		r, isReceipt := smpp.ReceiptOf(&m.Message, words)
		if !ok || !isReceipt || r.ID != d.Origin.AnswerID || r.State != message.ReceiptDelivered || r.Err != "000" {
			t.Fatalf("read %q as %+v", words, r)
		}
		if n := utf8.RuneCountInString(r.Text); n > 20 {
			t.Errorf("%d characters of the text", n)
		}
	})
}
