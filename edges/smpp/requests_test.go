package smpp

import (
	"bytes"
	"context"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/postrider/postrider/edges/ingress"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/smpp"
)

// What a customer may not ask, and what goes unanswered; the session goes on.
func TestNotForUs(t *testing.T) {
	w := reqSetup(t)
	if p := w.ask(&smpp.DeliverSM{Message: reqText(nil).Message}); p.Status != smpp.StatusInvBindState {
		t.Errorf("deliver_sm: %s", p.Status)
	}
	w.send(&smpp.AlertNotification{Source: reqTo, ESME: reqFrom})
	w.quiet()
	seq := w.write(0x77, []byte("whatever"))
	if p := w.read(); p.ID != smpp.IDGenericNack || p.Status != smpp.StatusInvCmdID || p.Sequence != seq {
		t.Errorf("unknown command: %+v", p.Header)
	}
	if p := w.ask(reqText(nil)); p.Status != smpp.StatusOK {
		t.Errorf("afterwards: %s", p.Status)
	}
	if w.counted() != "submit_sm ROK" {
		t.Errorf("counted %q", w.counted())
	}
}

// A deliver_sm is no customer's, should its bind allow one.
func TestDeliverSM(t *testing.T) {
	w := reqSetup(t)
	w.deliver = true
	w.connect()
	if p := w.ask(&smpp.DeliverSM{Message: reqText(nil).Message}); p.Status != smpp.StatusInvBindState {
		t.Errorf("deliver_sm: %s", p.Status)
	}
	if w.counted() != "other RINVBNDSTS" {
		t.Errorf("counted %q", w.counted())
	}
}

// What has not begun when the session ends is not begun: the peer will ask
// again.
func TestPeerGoesBeforeAccept(t *testing.T) {
	w := reqSetup(t)
	requests := make(chan *smpp.Request, 1)
	w.handle = func(r *smpp.Request) { requests <- r }
	w.connect()
	w.send(reqText(nil))
	r := <-requests
	_ = w.conn.Close()
	<-w.session.Done()
	w.server.handle(w.bound, r)
	w.session.Wait()
	if w.store.stored() != 0 {
		t.Error("it was stored")
	}
}

// A credential that was taken away while bound gets nothing more.
func TestCredentialGone(t *testing.T) {
	w := reqSetup(t)
	id := message.Hex32(w.journal.add(w, "", message.StatusQueued, nil))
	delete(w.config.SMPPCredentials, w.smpp.SystemID)
	w.config.Index()
	for _, c := range []struct {
		pdu  smpp.PDU
		want smpp.Status
	}{
		{reqText(nil), 0x45}, {&smpp.DataSM{Source: reqFrom, Dest: reqTo}, 0x45}, {reqMulti(nil, reqTo.Text), 0x45},
		{&smpp.QuerySM{MessageID: id, Source: reqFrom}, 0x67}, {&smpp.CancelSM{MessageID: id, Source: reqFrom}, 0x11},
		{&smpp.ReplaceSM{MessageID: id, Source: reqFrom}, 0x13},
	} {
		if p := w.ask(c.pdu); p.Status != c.want {
			t.Errorf("%T: %s, want %s", c.pdu, p.Status, c.want)
		}
	}
	if w.store.stored() != 0 || len(w.ingress.canceled) != 0 || len(w.journal.asked) != 0 {
		t.Error("something was done")
	}
}

// An answer comes within 30 s, whatever the journal does.
func TestSlowJournal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := reqSetup(t)
		w.ingress.accept = func(ctx context.Context, _ ingress.Request) (ingress.Outcome, error) {
			<-ctx.Done()
			return ingress.Outcome{}, ctx.Err()
		}
		for _, pdu := range []smpp.PDU{reqText(nil), reqMulti(nil, reqTo.Text, "13105550118")} {
			began := time.Now()
			if p := w.ask(pdu); p.Status != smpp.StatusSystemError || time.Since(began) != 30*time.Second {
				t.Errorf("%T: %s after %s", pdu, p.Status, time.Since(began))
			}
		}
	})
}

// A submit that has begun ends although its peer has gone.
func TestPeerGoesDuringAccept(t *testing.T) {
	w := reqSetup(t)
	entered, commit := make(chan struct{}), make(chan struct{})
	w.ingress.accept = func(ctx context.Context, r ingress.Request) (ingress.Outcome, error) {
		close(entered)
		<-commit
		if err := ctx.Err(); err != nil {
			return ingress.Outcome{}, err
		}
		return w.ingress.Ingress.Accept(ctx, r)
	}
	w.send(reqText(nil))
	<-entered
	_ = w.conn.Close()
	<-w.session.Done()
	close(commit)
	w.session.Wait()
	w.last()
}

// The property of the edge: every submit gets one answer, and ROK exactly when
// it was committed.
func TestEverySubmitIsAnswered(t *testing.T) {
	w := reqSetup(t)
	w.account.MaxParts = 255
	var fate error
	w.store.down = func(message.Acceptance) error { return fate }
	rapid.Check(t, func(rt *rapid.T) {
		m := drawSubmit(rt)
		fate = nil
		if r := rapid.SampledFrom([]message.Reason{"", "", "", message.ReasonUnavailable, message.ReasonQueueFull}).Draw(rt, "fate"); r != "" {
			fate = message.Refuse(r, "drawn")
		}
		before := len(w.store.taken())
		p := w.ask(&smpp.SubmitSM{Message: m})
		committed := len(w.store.taken()) - before
		if ok := p.Status == smpp.StatusOK; ok != (committed == 1) || committed > 1 {
			rt.Fatalf("answered %s, committed %d", p.Status, committed)
		}
		if p.Status == smpp.StatusOK {
			last := w.store.taken()[before]
			if p.Body.(*smpp.SubmitSMResp).MessageID != message.Hex32(last.Message.ID) || last.Origin.Source.Text != m.Source.Text || last.Origin.Dest.Text != m.Dest.Text {
				rt.Fatalf("answered %+v for %+v", p.Body, last.Origin)
			}
		}
		w.quiet()
	})
}

// drawSubmit draws a submit_sm that is right about half of the time. Those in
// parts have tests of their own.
func drawSubmit(t *rapid.T) smpp.Message {
	some := func(name string, usual []byte) byte {
		if rapid.IntRange(0, 9).Draw(t, name+" odd") == 0 {
			return rapid.Byte().Draw(t, name)
		}
		return rapid.SampledFrom(usual).Draw(t, name)
	}
	address := func(name string, usual ...string) smpp.Address {
		a := smpp.Address{TON: some(name+" ton", []byte{1}), NPI: some(name+" npi", []byte{0, 1}), Text: rapid.SampledFrom(usual).Draw(t, name)}
		if rapid.IntRange(0, 9).Draw(t, name+" any") == 0 {
			a.Text = rapid.StringMatching(`[+ -~]{0,20}`).Draw(t, name)
		}
		return a
	}
	at := func(name string) string {
		d := time.Duration(rapid.IntRange(-100, 300000).Draw(t, name)) * time.Second
		return rapid.SampledFrom([]string{"", "", "", smpp.FormatTime(reqNow.Add(d)), smpp.FormatRelative(d), "0123456789abcdef"}).Draw(t, name+" form")
	}
	m := smpp.Message{
		Source: address("source", reqFrom.Text, "72345"), Dest: address("dest", reqTo.Text, "447700900123"),
		ESMClass: some("esm_class", []byte{0, 3}) &^ smpp.ESMUDHI, Priority: some("priority", []byte{0, 1, 2, 3}), Schedule: at("schedule"), Validity: at("validity"),
		RegisteredDelivery: some("registered", []byte{0, 1, 2, 0x11}), ReplaceIfPresent: some("replace", []byte{0}),
		DataCoding: some("coding", []byte{0, 1, 3, 8, 0xF0}), DefaultMsgID: some("default", []byte{0}),
		ShortMessage: rapid.OneOf(rapid.Just([]byte("hi there")), rapid.SliceOfN(rapid.Byte(), 0, smpp.MaxShortMessage)).Draw(t, "text"),
	}
	if rapid.IntRange(0, 4).Draw(t, "payload") == 0 {
		m.ShortMessage = nil
		m.TLVs.Add(smpp.TagMessagePayload, bytes.Repeat([]byte("payload "), rapid.IntRange(0, 8000).Draw(t, "length")))
	}
	if rapid.IntRange(0, 4).Draw(t, "class") == 0 {
		m.TLVs.AddCString(smpp.TagMessageClass, rapid.SampledFrom([]string{"otp", "bulk", "other"}).Draw(t, "class name"))
	}
	return m
}

// FuzzHandle gives handle whatever a peer can frame. It must neither panic nor
// leave the stream out of step; every request gets one answer, and what is
// answered with ROK was stored.
func FuzzHandle(f *testing.F) {
	add := func(id smpp.CommandID, hex string) { f.Add(uint32(id), reqHex(f, hex)) }
	for _, p := range []smpp.PDU{
		reqText(nil), &smpp.DataSM{Source: reqFrom, Dest: reqTo, TLVs: smpp.TLVs{{Tag: smpp.TagMessagePayload, Data: []byte("hi")}}},
		reqMulti(nil, reqTo.Text, "1", "ACME"), &smpp.QuerySM{MessageID: "0190af3c", Source: reqFrom}, &smpp.CancelSM{Source: reqFrom, Dest: reqTo},
		&smpp.CancelSM{MessageID: "0190af3c", Source: reqFrom}, &smpp.ReplaceSM{MessageID: "0190af3c", Source: reqFrom}, &smpp.AlertNotification{}, &smpp.EnquireLink{},
		&smpp.DeliverSM{Message: reqText(nil).Message}, &smpp.Outbind{}, &smpp.Bind{Mode: smpp.ModeReceiver},
	} {
		frame, err := smpp.Append(nil, smpp.StatusOK, 1, p)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint32(p.CommandID()), frame[16:])
	}
	// The hostile inputs of the fact sheets, and vectors checked by hand.
	add(smpp.IDQuerySM, "00 00 00 00 00000000")
	add(smpp.IDSubmitSM, "00 0101 313535353132333030303100 0101 313535353132333030303200 00 00 00 00 00 01 00 00 00 04 48692000")
	add(smpp.IDSubmitSM, "00 0101 313535353132333030303100 0101 313535353132333030303200 40 00 00 00 00 01 00 00 00 04 ff692000") // UDHL beyond the text
	add(smpp.IDSubmitSM, "00 0101 313535353132333030303100 0101 313535353132333030303200 40 00 00 00 00 01 00 00 00 00")          // UDHI without text
	add(smpp.IDSubmitSM, "00 0101 313535353132333030303100 0101 313535353132333030303200 00 00 00 00 00 01 00 f4 00 ff")          // sm_length 255
	add(smpp.IDSubmitSM, "00 0101 313535353132333030303100 0101 313535353132333030303200 00 00 00 00 00 01 00 08 00 01 d8 0424 ffff 00")
	add(smpp.IDSubmitSM, "00 0101 313535353132333030303100 0101 313535353132333030303200 00 00 00 00 00 01 00 00 00 01 61 2a01 0001 00 2a02 0001 80 2a03 0000 0204 0001 00")
	add(smpp.IDSubmitMulti, "00 0101 313535353132333030303100 ff 01 0101 3100")
	add(smpp.IDSubmitMulti, "00 0101 313535353132333030303100 00")
	add(smpp.IDSubmitMulti, "00 0101 313535353132333030303100 01 02 00")
	add(0x77, "00")
	f.Add(uint32(smpp.IDSubmitSM), bytes.Repeat([]byte{1}, 300))                                                                         // strings without an end
	f.Add(uint32(smpp.IDDataSM), append([]byte("\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"), bytes.Repeat([]byte{0x14, 0, 0, 0}, 70)...)) // many empty parameters
	f.Add(uint32(smpp.IDDataSM), bytes.Repeat([]byte{0x04, 0x24, 0xFF, 0xFF, 0xD8}, 50))                                                 // a length beyond the PDU
	f.Fuzz(func(t *testing.T, command uint32, body []byte) {
		id := smpp.CommandID(int32(command))
		if len(body) > smpp.MaxFrame-smpp.HeaderSize || id == smpp.IDUnbind || inParts(id, body) {
			return
		}
		w := reqSetup(t)
		seq := w.write(id, body)
		answers := 0
		if id >= 0 && id != smpp.IDAlertNotification && id != smpp.IDOutbind {
			p := w.read()
			if p.Sequence != seq || p.ID >= 0 {
				t.Fatalf("%08x was answered with %08x %d", command, uint32(p.ID), p.Sequence)
			}
			switch p.ID {
			case smpp.IDSubmitSMResp, smpp.IDDataSMResp, smpp.IDSubmitMultiResp:
				if ok := p.Status == smpp.StatusOK; ok != (len(w.store.taken()) > 0) {
					t.Fatalf("answered %s, committed %d", p.Status, len(w.store.taken()))
				}
			}
			answers++
		}
		w.quiet()
		if n := len(w.counts); n > answers {
			t.Fatalf("%d answers were counted: %s", n, w.counted())
		}
	})
}

// inParts reports whether a frame is a part of a longer message: those have
// tests of their own.
func inParts(id smpp.CommandID, body []byte) bool {
	frame, err := smpp.Append(nil, smpp.StatusOK, 1, &smpp.EnquireLink{})
	if err != nil {
		return false
	}
	frame = append(frame, body...)
	frame[0], frame[1], frame[2], frame[3] = byte(len(frame)>>24), byte(len(frame)>>16), byte(len(frame)>>8), byte(len(frame))
	frame[4], frame[5], frame[6], frame[7] = byte(uint32(id)>>24), byte(uint32(id)>>16), byte(uint32(id)>>8), byte(id)
	p, err := smpp.Decode(frame)
	if err != nil {
		return false
	}
	var m smpp.Message
	switch b := p.Body.(type) {
	case *smpp.SubmitSM:
		m = b.Message
	case *smpp.DataSM:
		m = b.Message()
	}
	c, _ := m.Content()
	return c.Parts > 1
}
