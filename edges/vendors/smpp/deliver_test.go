package smpp

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider/edges/vendors/vendortest"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/smpp"
)

func TestReceiptsWheneverTheyCome(t *testing.T) {
	st := play(t, vendortest.Config{OnSubmit: func(s vendortest.Submit) vendortest.Answer {
		r := vendortest.Receipt(s, message.ReceiptDelivered, "")
		return vendortest.Answer{Before: []smpp.PDU{r}, After: []smpp.PDU{r, vendortest.Receipt(s, message.ReceiptUndeliverable, "001")}}
	}}, nil)
	st.ready()
	result, no := st.submit("text")
	if no != nil {
		t.Fatal(no)
	}
	var got []message.Receipt
	for range 3 { // early, late and doubled, contradicted
		got = append(got, <-st.sink.receipts)
	}
	for i, r := range got {
		want := message.ReceiptDelivered
		if i == 2 {
			want = message.ReceiptUndeliverable
		}
		if r.VendorMessageID != result.NormalizedID || r.State != want || r.VendorID != st.link.vendor.ID ||
			r.Source != "13105550117" || r.Destination != "12025550143" || r.DoneAt.IsZero() || r.ReceivedAt.IsZero() || r.ID == (message.ID{}) {
			t.Errorf("receipt %d: %+v, submitted as %+v", i, r, result)
		}
	}
	if got[2].Reason != message.ReasonUnreachable || got[2].Err != "001" || got[0].Reason != "" {
		t.Errorf("reasons %q %q", got[0].Reason, got[2].Reason)
	}
}

func TestReceiptForms(t *testing.T) {
	st := play(t, vendortest.Config{}, func(c *Config) {
		c.Vendor.IDFormat = "hex_to_dec"
		c.Vendor.CodeMap = map[string]message.Reason{"042": message.ReasonFiltered, "7": message.ReasonFraudBlock}
	})
	st.ready()
	data := &smpp.DataSM{ESMClass: 4, TLVs: smpp.TLVs{{Tag: smpp.TagMessagePayload, Data: []byte("id:5 stat:DELIVRD")}}}
	for _, tt := range []struct {
		name string
		pdu  smpp.PDU
		want message.Receipt
	}{
		{"decimal in the text", deliver("id:0026259260 stat:UNDELIV err:042 text:secret words", 4, nil), message.Receipt{VendorMessageID: "26259260", State: "UNDELIV", Err: "042", Reason: message.ReasonFiltered, Raw: "id:0026259260 stat:UNDELIV err:042"}},
		{"mapped without zeros", deliver("id:1 stat:REJECTD err:007", 4, nil), message.Receipt{VendorMessageID: "1", State: "REJECTD", Err: "007", Reason: message.ReasonFraudBlock, Raw: "id:1 stat:REJECTD err:007"}},
		{"expired", deliver("id:1 stat:EXPIRED err:000", 4, nil), message.Receipt{VendorMessageID: "1", State: "EXPIRED", Err: "000", Reason: message.ReasonExpired, Raw: "id:1 stat:EXPIRED err:000"}},
		{"unlisted", deliver("id:1 stat:UNDELIV err:9999", 4, nil), message.Receipt{VendorMessageID: "1", State: "UNDELIV", Err: "9999", Reason: message.ReasonVendorRejected, Raw: "id:1 stat:UNDELIV err:9999"}},
		{"enroute", deliver("id:1 stat:ENROUTE err:001", 0x20, nil), message.Receipt{VendorMessageID: "1", State: "ENROUTE", Err: "001", Raw: "id:1 stat:ENROUTE err:001"}},
		{"underscore", deliver("id:a_b@c stat:DELIVRD", 4, nil), message.Receipt{VendorMessageID: "a_b@c", State: "DELIVRD", Raw: "id:a_b@c stat:DELIVRD"}},
		{"data_sm", data, message.Receipt{VendorMessageID: "5", State: "DELIVRD", Raw: "id:5 stat:DELIVRD"}},
		{"control characters", deliver("id:1 stat:DELIVRD err:\x00\x01\xff", 4, nil), message.Receipt{VendorMessageID: "1", State: "DELIVRD", Err: "ÿ", Raw: "id:1 stat:DELIVRD err:ÿ"}},
	} {
		if err := st.smsc.Deliver(context.Background(), tt.pdu); err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		got := <-st.sink.receipts
		got.ID, got.VendorID, got.ReceivedAt, got.Source, got.Destination = message.ID{}, message.ID{}, time.Time{}, "", ""
		if got != tt.want {
			t.Errorf("%s:\n got %+v\nwant %+v", tt.name, got, tt.want)
		}
	}
	// Two receipts without an id stay two.
	for range 2 {
		if err := st.smsc.Deliver(context.Background(), deliver("stat:DELIVRD", 4, nil)); err != nil {
			t.Fatal(err)
		}
	}
	if a, b := <-st.sink.receipts, <-st.sink.receipts; a.VendorMessageID == b.VendorMessageID || !strings.HasPrefix(a.VendorMessageID, "none-") {
		t.Errorf("ids %q %q", a.VendorMessageID, b.VendorMessageID)
	}
}

func TestVendorIsAskedAgain(t *testing.T) {
	st := play(t, vendortest.Config{}, nil)
	st.ready()
	st.sink.setFail(errors.New("database is away"))
	for _, pdu := range []smpp.PDU{deliver("id:1 stat:DELIVRD", 4, nil), deliver("hello", 0, nil), &smpp.DataSM{}} {
		var refused *smpp.StatusError
		if err := st.smsc.Deliver(context.Background(), pdu); !errors.As(err, &refused) || refused.Status != smpp.StatusTempAppError {
			t.Errorf("%T: %v", pdu, err)
		}
	}
	st.sink.setFail(nil)
	if err := st.smsc.Deliver(context.Background(), deliver("id:1 stat:DELIVRD", 4, nil)); err != nil {
		t.Error(err)
	}
}

func TestInbound(t *testing.T) {
	st := play(t, vendortest.Config{}, func(c *Config) { c.Vendor.DefaultAlphabet = "latin1" })
	st.ready()
	var sar smpp.TLVs
	sar.AddUint16(smpp.TagSarMsgRefNum, 7)
	sar.AddByte(smpp.TagSarTotalSegments, 2)
	sar.AddByte(smpp.TagSarSegmentSeqnum, 1)
	coded := func(dcs byte, text string, esm byte, tlvs smpp.TLVs) smpp.PDU {
		d := deliver(text, esm, tlvs)
		d.DataCoding = dcs
		return d
	}
	for _, tt := range []struct {
		name string
		pdu  smpp.PDU
		want message.InboundMessage
	}{
		{"default alphabet", deliver("gr\xfc\xdfe", 0, nil), message.InboundMessage{Text: "grüße", Encoding: "gsm7"}},
		{"ucs2", coded(8, "\x04\x1f", 0, nil), message.InboundMessage{Text: "П", Encoding: "ucs2", DataCoding: 8}},
		{"binary", coded(4, "\x01\x02", 0, nil), message.InboundMessage{Raw: []byte{1, 2}, DataCoding: 4, Encoding: "binary"}},
		{"udh", deliver("\x05\x00\x03\x09\x02\x01ab", 0x40, nil), message.InboundMessage{Text: "ab", Raw: []byte("ab"), Encoding: "gsm7", Reference: 9, Part: 1, Parts: 2}},
		{"sar", deliver("ab", 0, sar), message.InboundMessage{Text: "ab", Raw: []byte("ab"), Encoding: "gsm7", Reference: 2<<16 + 7, Part: 1, Parts: 2}},
		{"ports", deliver("\x06\x05\x04\x0b\x84\x23\xf0ab", 0x40, nil), message.InboundMessage{Text: "ab", Encoding: "gsm7", Header: []byte("\x05\x04\x0b\x84\x23\xf0")}},
		{"broken udh", deliver("\x7fab", 0x40, nil), message.InboundMessage{Text: "\x7fab", Encoding: "ucs2"}},
		{"user acknowledgement", deliver("ok", 0x10, nil), message.InboundMessage{Text: "ok", Encoding: "gsm7"}},
		{"data_sm", &smpp.DataSM{Source: smpp.Address{Text: "13105550117"}, Dest: smpp.Address{Text: "12025550143"}, TLVs: smpp.TLVs{{Tag: smpp.TagMessagePayload, Data: []byte("long")}}},
			message.InboundMessage{Text: "long", Encoding: "gsm7"}},
		{"with an id", deliver("x", 0, smpp.TLVs{{Tag: smpp.TagReceiptedMessageID, Data: []byte("mo-7\x00")}}), message.InboundMessage{Text: "x", Encoding: "gsm7", VendorRef: "mo-7"}},
	} {
		if err := st.smsc.Deliver(context.Background(), tt.pdu); err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		got := <-st.sink.inbound
		if got.VendorID != st.link.vendor.ID || got.From != "13105550117" || got.To != "12025550143" || got.ReceivedAt.IsZero() ||
			got.FromTON != tonOf(tt.pdu) || got.ToTON != tonOf(tt.pdu) || got.Alphabet != "latin1" || got.Whole() != (tt.want.Parts == 0) {
			t.Errorf("%s: %+v", tt.name, got)
		}
		w := tt.want
		if got.Text != w.Text || string(got.Header) != string(w.Header) || string(got.Raw) != string(w.Raw) || got.DataCoding != w.DataCoding || got.Encoding != w.Encoding ||
			got.Reference != w.Reference || got.Part != w.Part || got.Parts != w.Parts || got.VendorRef != w.VendorRef {
			t.Errorf("%s:\n got %+v\nwant %+v", tt.name, got, w)
		}
	}
}

// tonOf is the type of number that the tests write in a deliver_sm, and not in a
// data_sm.
func tonOf(p smpp.PDU) byte {
	if _, ok := p.(*smpp.DeliverSM); ok {
		return 1
	}
	return 0
}

// Inbound messages of one sender to one number are committed in the order in which
// they came, whatever becomes of each; others pass.
func TestInboundStaysInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		entered := make(chan string, 10)
		release := map[string]chan error{"STOP": make(chan error), "START": make(chan error), "STOP again": make(chan error), "hello": make(chan error)}
		st := playInMemory(t, vendortest.Config{}, func(c *Config) {
			c.OnInbound = func(_ context.Context, m message.InboundMessage) error {
				entered <- m.Text
				return <-release[m.Text]
			}
		})
		st.ready()
		var wg sync.WaitGroup
		answered := make(chan string, 10)
		send := func(text, from string) {
			d := deliver(text, 0, nil)
			d.Source.Text = from
			wg.Go(func() {
				if err := st.smsc.Deliver(context.Background(), d); err != nil {
					text += " refused"
				}
				answered <- text
			})
			synctest.Wait()
		}
		send("STOP", "13105550117")
		send("START", "13105550117")
		send("STOP again", "13105550117")
		send("hello", "13105550118")
		want := func(c chan string, what ...string) {
			t.Helper()
			synctest.Wait()
			var got []string
			for len(c) > 0 {
				got = append(got, <-c)
			}
			if strings.Join(got, ",") != strings.Join(what, ",") {
				t.Errorf("got %q, want %q", got, what)
			}
		}
		want(entered, "STOP", "hello")
		release["STOP"] <- errors.New("database is away")
		want(entered, "START")
		want(answered, "STOP refused")
		release["START"] <- nil
		want(entered, "STOP again")
		release["hello"] <- nil
		want(answered, "START", "hello")
		release["STOP again"] <- nil
		wg.Wait()
		want(answered, "STOP again")
		st.link.desk.line.mu.Lock()
		defer st.link.desk.line.mu.Unlock()
		if len(st.link.desk.line.last) != 0 {
			t.Errorf("%d pairs are still in line", len(st.link.desk.line.last))
		}
	})
}

// Commits of receipts run beside each other up to the bound; above it the
// vendor is not read.
func TestReceiptsAreCommittedTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		entered, release := make(chan struct{}, 200), make(chan struct{})
		st := playInMemory(t, vendortest.Config{Session: smpp.Config{Window: 200}}, func(c *Config) {
			c.OnReceipt = func(context.Context, message.Receipt) error {
				entered <- struct{}{}
				<-release
				return nil
			}
		})
		st.ready()
		var wg sync.WaitGroup
		send := func() {
			wg.Go(func() {
				if err := st.smsc.Deliver(context.Background(), deliver("id:1 stat:DELIVRD", 4, nil)); err != nil {
					t.Error(err)
				}
			})
		}
		for range maxInbound {
			send()
		}
		synctest.Wait()
		if len(entered) != maxInbound {
			t.Fatalf("%d commits at once", len(entered))
		}
		if _, no := st.submit("text"); no != nil { // still read and answered
			t.Error(no)
		}
		send()
		synctest.Wait()
		if len(entered) != maxInbound {
			t.Errorf("%d commits at once", len(entered))
		}
		close(release)
		wg.Wait()
		if len(entered) != maxInbound+1 {
			t.Errorf("%d commits in all", len(entered))
		}
	})
}

func TestUnsupportedRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := playInMemory(t, vendortest.Config{}, nil)
		st.ready()
		st.smsc.Disconnect()
		if err := st.smsc.WaitBinds(context.Background(), 2); err != nil {
			t.Fatal(err)
		}
		var refused *smpp.StatusError
		if err := st.smsc.Deliver(context.Background(), &smpp.SubmitSM{}); !errors.As(err, &refused) || refused.Status != smpp.StatusInvBindState {
			t.Errorf("submit_sm to an ESME: %v", err)
		}
	})
}

func TestMetrics(t *testing.T) {
	var mu sync.Mutex
	var got []string
	add := func(s string) {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, s)
	}
	st := play(t, vendortest.Config{OnSubmit: answerWith(vendortest.Answer{Status: smpp.StatusInvDest})}, func(c *Config) {
		c.Metrics = Metrics{
			Answered: func(v, status string, _ time.Duration) { add(v + " " + status) },
			Received: func(v, kind string, ok bool) { add(v + " " + kind) },
			Bound:    func(v string, n int) { add(v + " bound") },
		}
	})
	st.ready()
	if _, no := st.submit("text"); no == nil {
		t.Error("not refused")
	}
	if err := st.smsc.Deliver(context.Background(), deliver("hello", 0, nil)); err != nil {
		t.Error(err)
	}
	st.link.Stop(context.Background())
	mu.Lock()
	defer mu.Unlock()
	if s := strings.Join(got, ","); s != "acme bound,acme RINVDSTADR,acme inbound,acme bound" {
		t.Error(s)
	}
}
