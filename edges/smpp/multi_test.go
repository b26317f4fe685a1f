package smpp

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/postrider/postrider/edges/ingress"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/smpp"
)

func reqMulti(change func(*smpp.SubmitMulti), numbers ...string) *smpp.SubmitMulti {
	p := &smpp.SubmitMulti{Message: reqText(nil).Message}
	for _, n := range numbers {
		p.Dests = append(p.Dests, smpp.Destination{Address: smpp.Address{TON: 1, NPI: 1, Text: n}})
	}
	if change != nil {
		change(p)
	}
	return p
}

func TestMulti(t *testing.T) {
	for _, legacy := range []bool{false, true} {
		w := reqSetup(t)
		w.bound.legacy = legacy
		p := w.ask(reqMulti(nil, "13105550117", "12025550143", "13105550118", "1", "13105550117"))
		resp := p.Body.(*smpp.SubmitMultiResp)
		want := []smpp.Unsuccess{
			{Address: smpp.Address{TON: 1, NPI: 1, Text: "12025550143"}, Status: smpp.StatusInvDest}, // the sender itself
			{Address: smpp.Address{TON: 1, NPI: 1, Text: "1"}, Status: smpp.StatusInvDest},
		}
		if p.Status != smpp.StatusOK || !slices.Equal(resp.Unsuccess, want) {
			t.Errorf("%s %+v", p.Status, resp)
		}
		if id, ok := readMessageID(resp.MessageID); !ok || id != resp.MessageID || legacy != (len(id) == 8) {
			t.Errorf("batch id %q", resp.MessageID)
		}
		var numbers []string
		ids := map[message.ID]bool{}
		for _, a := range w.store.taken() {
			numbers = append(numbers, string(a.Message.To))
			ids[a.Message.ID] = true
			if a.Origin.AnswerID != resp.MessageID || "+"+a.Origin.Dest.Text != string(a.Message.To) || a.Message.Body != "hello" || a.Origin.Registered != 1 {
				t.Errorf("%+v %+v", a.Message, a.Origin)
			}
		}
		slices.Sort(numbers)
		if got := strings.Join(numbers, " "); got != "+13105550117 +13105550117 +13105550118" || len(ids) != 3 {
			t.Errorf("sent to %s, %d ids", got, len(ids))
		}
		if w.counted() != "submit_multi ROK" {
			t.Errorf("counted %q", w.counted())
		}
	}
}

func TestMultiRefused(t *testing.T) {
	for _, c := range []struct {
		name   string
		pdu    *smpp.SubmitMulti
		config func(*reqWorld)
		want   smpp.Status
	}{
		{name: "list", pdu: reqMulti(func(p *smpp.SubmitMulti) { p.Dests[1] = smpp.Destination{List: "staff"} }, "13105550117", ""), want: 0x44},
		{name: "list goes before the flag", pdu: reqMulti(func(p *smpp.SubmitMulti) {
			p.Dests[0], p.ReplaceIfPresent = smpp.Destination{List: "staff"}, 1
		}, ""), want: 0x44},
		{name: "no number is one", pdu: reqMulti(nil, "1", "2"), want: 0x0B},
		{name: "first refusal", pdu: reqMulti(func(p *smpp.SubmitMulti) { p.Dests[1].Address.TON = 9 }, "1", "2"), want: 0x0B},
		{name: "text twice", pdu: reqMulti(func(p *smpp.SubmitMulti) { p.TLVs.Add(smpp.TagMessagePayload, []byte("x")) }, "13105550117"), want: 0x01},
		{name: "replace", pdu: reqMulti(func(p *smpp.SubmitMulti) { p.ReplaceIfPresent = 1 }, "13105550117"), want: 0x54},
		{name: "sender", pdu: reqMulti(func(p *smpp.SubmitMulti) { p.Source.Text = "12025550199" }, "13105550117", "13105550118"), want: 0x0A},
		{name: "part by header", pdu: reqMulti(func(p *smpp.SubmitMulti) {
			p.ESMClass, p.ShortMessage = 0x40, []byte{5, 0, 3, 1, 2, 1, 'a'}
		}, "13105550117"), want: 0x43},
		{name: "part by sar", pdu: reqMulti(func(p *smpp.SubmitMulti) {
			p.TLVs.AddUint16(smpp.TagSarMsgRefNum, 1)
			p.TLVs.AddByte(smpp.TagSarTotalSegments, 2)
			p.TLVs.AddByte(smpp.TagSarSegmentSeqnum, 1)
		}, "13105550117"), want: 0xC1},
		{name: "journal away", pdu: reqMulti(nil, "13105550117", "13105550118"), config: func(w *reqWorld) {
			w.store.down = func(message.Acceptance) error { return message.Refuse(message.ReasonUnavailable, "away") }
		}, want: 0x08},
		{name: "disabled", pdu: reqMulti(nil, "13105550117"), config: func(w *reqWorld) { w.smpp.Enabled = false }, want: 0x45},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := reqSetup(t)
			if c.config != nil {
				c.config(w)
			}
			p := w.ask(c.pdu)
			if resp := p.Body.(*smpp.SubmitMultiResp); p.Status != c.want || resp.MessageID != "" || len(resp.Unsuccess) != 0 {
				t.Errorf("%s %+v, want %s", p.Status, resp, c.want)
			}
			if n := len(w.store.taken()); n != 0 {
				t.Errorf("%d were accepted", n)
			}
			w.quiet()
		})
	}
}

// The largest submit_multi: some are refused in the middle, all are answered.
func TestMultiFull(t *testing.T) {
	w := reqSetup(t)
	var numbers []string
	for i := range 254 {
		numbers = append(numbers, fmt.Sprintf("1310555%04d", i))
	}
	w.store.down = func(a message.Acceptance) error {
		if a.Message.To[len(a.Message.To)-1] == '7' {
			return message.Refuse(message.ReasonQueueFull, "full")
		}
		return nil
	}
	resp := w.ask(reqMulti(nil, numbers...)).Body.(*smpp.SubmitMultiResp)
	if len(resp.Unsuccess) != 25 || len(w.store.taken()) != 229 {
		t.Fatalf("%d refused, %d accepted", len(resp.Unsuccess), len(w.store.taken()))
	}
	for i, u := range resp.Unsuccess {
		if u.Status != smpp.StatusMsgQueueFull || u.Address.Text != numbers[10*i+7] {
			t.Errorf("%d: %+v", i, u)
		}
	}
}

// With a key a repetition answers the first id, and completes what the first
// one could not store.
func TestMultiKey(t *testing.T) {
	for _, legacy := range []bool{false, true} {
		w := reqSetup(t)
		w.bound.legacy = legacy
		keyed := func(numbers ...string) *smpp.SubmitMulti {
			return reqMulti(func(p *smpp.SubmitMulti) { p.TLVs.AddCString(smpp.TagIdempotencyKey, "batch-1") }, numbers...)
		}
		w.store.down = func(a message.Acceptance) error {
			if a.Message.To == "+13105550119" {
				return message.Refuse(message.ReasonUnavailable, "away")
			}
			return nil
		}
		numbers := []string{"1", "13105550117", "13105550118", "13105550119"}
		first := w.ask(keyed(numbers...)).Body.(*smpp.SubmitMultiResp)
		if len(first.Unsuccess) != 2 || len(w.store.taken()) != 2 {
			t.Fatalf("%+v, %d accepted", first, len(w.store.taken()))
		}
		w.store.down = nil
		again := w.ask(keyed(numbers...)).Body.(*smpp.SubmitMultiResp)
		if again.MessageID != first.MessageID || legacy != (len(first.MessageID) == 8) || len(again.Unsuccess) != 1 || len(w.store.taken()) != 3 {
			t.Errorf("%+v, then %+v, %d accepted", first, again, len(w.store.taken()))
		}
		for _, a := range w.store.taken() {
			if a.Origin.AnswerID != first.MessageID {
				t.Errorf("%s belongs to %s", a.Message.To, a.Origin.AnswerID)
			}
		}
		if p := w.ask(keyed("13105550117", "13105550118", "13105550119", "13105550120")); p.Status != smpp.StatusSubmitFail {
			t.Errorf("other numbers: %s", p.Status)
		}
		if n := len(w.store.taken()); n != 3 {
			t.Errorf("%d accepted after all", n)
		}
	}
}

// The batch id of a keyed request follows from all that it asks, and from who
// asks.
func TestBatchID(t *testing.T) {
	w := reqSetup(t)
	x := &exchange{s: w.server, b: w.bound}
	seen := map[string]bool{}
	for _, sub := range []submission{{key: "a"}, {key: "b"}, {key: "a", hash: [32]byte{1}}} {
		first, again := x.batchID(&sub), x.batchID(&sub)
		if seen[first] = true; first != again {
			t.Errorf("%+v has the batch ids %s and %s", sub, first, again)
		}
	}
	other := &bound{account: message.NewID()}
	seen[(&exchange{s: w.server, b: other}).batchID(&submission{key: "a"})] = true
	if len(seen) != 4 {
		t.Errorf("%d batch ids, want 4", len(seen))
	}
	if one, two := x.batchID(&submission{}), x.batchID(&submission{}); one == two {
		t.Errorf("two requests have the batch id %s", one)
	}
}

// A panic for one number ends the session, and nothing is called taken.
func TestMultiPanic(t *testing.T) {
	w := reqSetup(t)
	w.ingress.accept = func(_ context.Context, r ingress.Request) (ingress.Outcome, error) { panic("ingress") }
	w.send(reqMulti(nil, "13105550117", "13105550118"))
	<-w.session.Done()
	w.session.Wait()
	if got := w.counted(); got != "" {
		t.Errorf("counted %q", got)
	}
}
