package smpp

import (
	"slices"
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/smpp"
	"github.com/postrider/postrider/internal/text"
)

// partUDH is a part that its user data header numbers.
func partUDH(ref uint16, wide bool, number, total byte, octets string) *smpp.SubmitSM {
	return reqText(func(m *smpp.Message) {
		m.ESMClass |= smpp.ESMUDHI
		m.ShortMessage = append(text.ConcatUDH(ref, wide, total, number), octets...)
	})
}

func partSAR(ref uint16, number, total byte, octets string) *smpp.SubmitSM {
	return reqText(func(m *smpp.Message) {
		m.ShortMessage = []byte(octets)
		m.TLVs.AddUint16(smpp.TagSarMsgRefNum, ref)
		m.TLVs.AddByte(smpp.TagSarTotalSegments, total)
		m.TLVs.AddByte(smpp.TagSarSegmentSeqnum, number)
	})
}

// taken is the id that a part was answered with.
func (w *reqWorld) taken(p smpp.PDU) string {
	w.t.Helper()
	got := w.ask(p)
	if got.Status != smpp.StatusOK {
		w.t.Fatalf("%s", got.Status)
	}
	return got.Body.(*smpp.SubmitSMResp).MessageID
}

func TestSubmitInParts(t *testing.T) {
	body := strings.Repeat("Grüße €5, ", 40)
	cut, err := text.Split(body, message.EncodingGSM7, false)
	if err != nil || len(cut) != 3 {
		t.Fatalf("%d parts, %v", len(cut), err)
	}
	septets := make([]string, len(cut))
	for i, s := range cut {
		octets, err := text.EncodeGSM7(s)
		if err != nil {
			t.Fatal(err)
		}
		septets[i] = string(octets)
	}
	for name, make := range map[string]func(number byte) *smpp.SubmitSM{
		"8 bit":  func(n byte) *smpp.SubmitSM { return partUDH(7, false, n, 3, septets[n-1]) },
		"16 bit": func(n byte) *smpp.SubmitSM { return partUDH(0x1234, true, n, 3, septets[n-1]) },
		"sar":    func(n byte) *smpp.SubmitSM { return partSAR(0x1234, n, 3, septets[n-1]) },
	} {
		for _, legacy := range []bool{false, true} {
			w := reqSetup(t)
			w.bound.legacy = legacy
			ids := [3]string{}
			for _, n := range []byte{3, 1, 2} {
				if len(w.store.taken()) != 0 {
					t.Fatalf("%s: joined before the last part", name)
				}
				ids[n-1] = w.taken(make(n))
			}
			a := w.last()
			known := []string{a.Origin.AnswerID, a.More[0].AnswerID, a.More[1].AnswerID}
			if !slices.Equal(known, ids[:]) || a.Message.Body != body || a.Message.Segments != 3 || a.Origin.Registered != 1 || a.Message.To != "+13105550117" {
				t.Errorf("%s: answered %v, %+v", name, ids, a)
			}
			if legacy == (ids[0] == message.Hex32(a.Message.ID)) || legacy && len(ids[1]) != shortIDDigits {
				t.Errorf("%s, legacy %v: answered %v for %s", name, legacy, ids, a.Message.ID)
			}
		}
	}
}

// The sender has chosen UCS-2, and cuts where he likes.
func TestSubmitInPartsUCS2(t *testing.T) {
	w := reqSetup(t)
	for n, octets := range []string{"\x00h\xd8\x3d", "\xde\x00"} {
		p := partUDH(1, false, byte(n+1), 2, octets)
		p.DataCoding = smpp.CodingUCS2
		w.taken(p)
	}
	if m := w.last().Message; m.Body != "h\U0001F600" || m.Encoding != message.EncodingUCS2 {
		t.Errorf("%q as %s", m.Body, m.Encoding)
	}
}

func TestSubmitPartRefused(t *testing.T) {
	for name, c := range map[string]struct {
		config func(*reqWorld)
		change func(*smpp.Message)
		want   smpp.Status
	}{
		"journal away": {config: func(w *reqWorld) { w.store.partDown = message.Refuse(message.ReasonUnavailable, "away") }, want: smpp.StatusOf(message.ReasonUnavailable)},
		"foreign":      {change: func(m *smpp.Message) { m.Source.Text = "12025550199" }, want: smpp.StatusOf(message.ReasonUnauthorizedSender)},
		"no validity":  {change: func(m *smpp.Message) { m.Validity = "000030000000000R" }, want: smpp.StatusInvExpiry},
		"not in a part": {change: func(m *smpp.Message) {
			m.TLVs.Add(smpp.TagMessagePayload, append(m.ShortMessage, make([]byte, 300)...))
			m.ShortMessage = nil
		}, want: smpp.StatusInvMsgLen},
		"octets": {config: noSMPPVendor, change: func(m *smpp.Message) { m.DataCoding = 4 }, want: smpp.StatusOf(message.ReasonEncodingMismatch)},
		"text for ports": {change: func(m *smpp.Message) {
			m.ShortMessage = append([]byte("\x0B\x05\x04\x0B\x84\x23\xF0"), m.ShortMessage[1:]...)
		}, want: smpp.StatusOf(message.ReasonEncodingMismatch)},
		"octets with an element of their place": {change: func(m *smpp.Message) {
			m.DataCoding, m.ShortMessage = 4, append([]byte("\x07\x70\x00"), m.ShortMessage[1:]...)
		}, want: smpp.StatusOf(message.ReasonEncodingMismatch)},
	} {
		w := reqSetup(t)
		if c.config != nil {
			c.config(w)
		}
		p := partUDH(1, false, 1, 2, "one")
		if c.change != nil {
			c.change(&p.Message)
		}
		if got := w.ask(p); got.Status != c.want || len(w.store.parts)+w.store.stored() != 0 {
			t.Errorf("%s: %s, want %s, %d parts", name, got.Status, c.want, len(w.store.parts))
		}
	}
}

// What a part says twice under its key is one part; under another's key it is not.
func TestSubmitPartWithKey(t *testing.T) {
	w := reqSetup(t)
	keyed := func(number byte) *smpp.SubmitSM {
		p := partUDH(1, false, number, 2, "same")
		p.TLVs.Add(smpp.TagIdempotencyKey, []byte("k"))
		return p
	}
	first := w.taken(keyed(1))
	if again := w.taken(keyed(1)); again != first || len(w.store.parts) != 1 {
		t.Errorf("answered %s and %s", first, again)
	}
	if got := w.ask(keyed(2)); got.Status != smpp.StatusOf(message.ReasonIdempotencyMismatch) {
		t.Errorf("another part under the key: %s", got.Status)
	}
}

// Over the rate no part is stored.
func TestSubmitPartThrottled(t *testing.T) {
	w := reqSetup(t)
	w.smpp.Throughput = 1
	w.taken(partUDH(1, false, 1, 3, "one"))
	if got := w.ask(partUDH(1, false, 2, 3, "two")); got.Status != smpp.StatusThrottled || len(w.store.parts) != 1 {
		t.Errorf("%s, %d parts", got.Status, len(w.store.parts))
	}
}

// Parts that are sent without waiting for answers are worked on at once.
func TestSubmitPartsAtOnce(t *testing.T) {
	w := reqSetup(t)
	const parts = 8
	var want strings.Builder
	for n := range byte(parts) {
		one := strings.Repeat(string('a'+rune(n)), 100)
		want.WriteString(one)
		w.send(partSAR(1, n+1, parts, one))
	}
	for range parts {
		if p := w.read(); p.Status != smpp.StatusOK {
			t.Errorf("%s", p.Status)
		}
	}
	if m := w.last().Message; m.Body != want.String() {
		t.Errorf("joined to %q", m.Body)
	}
}
