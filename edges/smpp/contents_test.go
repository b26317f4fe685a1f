package smpp

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/smpp"
	"github.com/postrider/postrider/internal/snapshot"
	"github.com/postrider/postrider/internal/text"
)

// noSMPPVendor leaves vendors that take texts only.
func noSMPPVendor(w *reqWorld) {
	for _, v := range w.config.Vendors {
		v.ProviderType = "twilio"
	}
}

// passing lets the vendor have optional parameters.
func (w *reqWorld) passing(active bool, tags ...uint16) {
	for _, v := range w.config.Vendors {
		v.PassTLVs = tags
	}
	id := message.NewID()
	w.config.Vendors[id] = &snapshot.Vendor{ID: id, ProviderType: "smpp", Active: active, PassTLVs: []uint16{0x1404}}
	w.config.Index()
}

// What a header or data_coding asks for that is no plain text, and what becomes
// of it.
func TestSubmitContents(t *testing.T) {
	const raw = "\x00\xff\x1b\x80"
	const ports, national = "\x05\x04\x0B\x84\x23\xF0", "\x24\x01\x01"
	binary := message.EncodingBinary
	for _, c := range []struct {
		name     string
		coding   byte
		header   string // without its length
		octets   string
		body     string
		encoding message.Encoding
		told     byte // what SMPP vendors are told
		elements string
		segments int
	}{
		{"octets", 4, "", raw, raw, binary, 4, "", 1},
		{"octets of another name", 2, "", raw, raw, binary, 2, "", 1},
		{"octets with a class", 0xF5, "", raw, raw, binary, 0xF5, "", 1},
		{"full", 4, "", strings.Repeat("\xff", 140), strings.Repeat("\xff", 140), binary, 4, "", 1},
		{"two parts", 4, "", strings.Repeat("\xff", 141), strings.Repeat("\xff", 141), binary, 4, "", 2},
		{"octets for ports", 4, ports, raw, raw, binary, 4, ports, 1},
		{"octets for ports in two parts", 4, ports, strings.Repeat("\xff", 134), strings.Repeat("\xff", 134), binary, 4, ports, 2},
		{"octets for ports, part 1 of 1", 4, "\x00\x03\x07\x01\x01" + ports, raw, raw, binary, 4, ports, 1},
		{"text for ports", 0, ports, "a\x00", "a@", message.EncodingGSM7, 0, ports, 1},
		{"text for 8-bit ports", 8, "\x04\x02\x01\x02", "\x04\x1F", "П", message.EncodingUCS2, 0, "\x04\x02\x01\x02", 1},
		{"flash for ports", 0xF0, ports, "a\x00", "a@", message.EncodingGSM7, 0xF0, ports, 1},
		{"waiting voice mails", 0, "\x01\x02\x80\x05", "", "", message.EncodingGSM7, 0, "\x01\x02\x80\x05", 1},
		{"SIM toolkit", 0xF6, "\x70\x00", raw, raw, binary, 0xF6, "\x70\x00", 1},
		{"septets of a national table", 0, national, "a\x1b\x69", "a\x1b\x69", binary, 0, national, 1},
		{"and with a class", 0xF1, national, "a\x1b\x69", "a\x1b\x69", binary, 0xF1, national, 1},
		{"UCS-2 needs none", 8, national, "\x04\x1F", "П", message.EncodingUCS2, 0, national, 1},
	} {
		w := reqSetup(t)
		octets := c.octets
		p := reqText(func(m *smpp.Message) {
			m.DataCoding = c.coding
			if c.header != "" {
				m.ESMClass |= smpp.ESMUDHI
				octets = string(byte(len(c.header))) + c.header + octets
			}
			m.ShortMessage = []byte(octets)
		})
		if got := w.ask(p); got.Status != smpp.StatusOK {
			t.Errorf("%s: %s", c.name, got.Status)
			continue
		}
		m := w.last().Message
		if m.Body != c.body || m.Encoding != c.encoding || m.DataCoding != c.told || string(m.Header) != c.elements || m.Segments != c.segments || len(m.Parts) != c.segments {
			t.Errorf("%s: %+v", c.name, m)
		}
	}
}

// What an octet message costs of the rate is its parts too.
func TestOctetsCost(t *testing.T) {
	for n, want := range map[int]int{1: 1, 140: 1, 141: 2, 269: 3, 1340: 10, 1341: 1, 60000: 1} {
		sub := submission{parts: 1, content: smpp.Content{Octets: make([]byte, n)}}
		if st := sub.readText(&smpp.Message{DataCoding: 4}, "", reqSetup(t).account); st != smpp.StatusOK || sub.parts != want {
			t.Errorf("%d octets cost %d, %s", n, sub.parts, st)
		}
	}
}

// Octets in parts are one message; its ports stay with it, and what else the first
// part asked for.
func TestSubmitOctetsInParts(t *testing.T) {
	const ports = "\x05\x04\x0B\x84\x23\xF0"
	part := func(n, total byte, header, octets string, coding byte) *smpp.SubmitSM {
		return reqText(func(m *smpp.Message) {
			m.DataCoding, m.ESMClass = coding, smpp.ESMUDHI
			m.ShortMessage = append(text.HeaderOf(7, total, n, []byte(header)), octets...)
			m.TLVs.Add(0x1403, []byte{n})
		})
	}
	w := reqSetup(t)
	w.passing(true, 0x1403)
	first, second := strings.Repeat("\x1b", 128), "\xff\x00 and on"
	w.taken(part(2, 2, ports, second, 0xF5))
	w.taken(part(1, 2, ports, first, 0xF5))
	m := w.last().Message
	if m.Body != first+second || m.Encoding != message.EncodingBinary || m.DataCoding != 0xF5 || string(m.Header) != ports || m.Segments != 2 ||
		!reflect.DeepEqual(m.TLVs, []message.TLV{{Tag: 0x1403, Value: []byte{1}}}) {
		t.Errorf("%+v", m)
	}

	// Flash stays flash.
	w = reqSetup(t)
	w.taken(part(1, 2, "", "a\x00", 0xF0))
	w.taken(part(2, 2, "", "b", 0xF0))
	if m := w.last().Message; m.Body != "a@b" || m.Encoding != message.EncodingGSM7 || m.DataCoding != 0xF0 || m.Header != nil {
		t.Errorf("%+v", m)
	}

	// Parts for two ports, or of two kinds, are no message.
	for name, last := range map[string]*smpp.SubmitSM{
		"other port": part(2, 2, "\x05\x04\x0B\x84\x23\xF1", "b", 4), "no port": part(2, 2, "", "b", 4), "other coding": part(2, 2, ports, "b", 2), "text": part(2, 2, "", "b", 0),
	} {
		w = reqSetup(t)
		w.taken(part(1, 2, ports, "a", 4))
		w.taken(last)
		if m := w.store.accepted[0].Message; m.Status != message.StatusRejected || m.Error.Reason != message.ReasonEncodingMismatch || m.Encoding != message.EncodingBinary {
			t.Errorf("%s: %+v", name, m)
		}
	}
}

// Octets that come in parts, however they are cut, go out as the same octets,
// however the vendor wants them.
func TestOctetsThroughTheGateway(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := reqSetup(t)
		w.account.MaxParts = 255
		total := rapid.IntRange(2, 12).Draw(rt, "parts")
		header := []byte(rapid.SampledFrom([]string{"", "\x05\x04\x0B\x84\x23\xF0", "\x04\x02\x01\x02"}).Draw(rt, "header"))
		sar := rapid.Bool().Draw(rt, "sar")
		var want []byte
		for n := range total {
			octets := rapid.SliceOfN(rapid.Byte(), 1, 134-len(header)).Draw(rt, fmt.Sprint("part ", n+1))
			want = append(want, octets...)
			w.taken(reqText(func(m *smpp.Message) {
				if err := m.SetText(smpp.Outgoing{Text: string(octets), Encoding: message.EncodingBinary, Coding: 4, Header: header, Ref: 9, Part: n + 1, Parts: total,
					Long: map[bool]smpp.LongMessage{true: smpp.LongSAR}[sar]}); err != nil {
					rt.Fatal(err)
				}
			}))
		}
		m := w.last().Message
		parts, err := text.SplitOctets(m.Body, m.DataCoding, m.Header, false)
		if err != nil || len(parts) != m.Segments || m.Body != string(want) || !bytes.Equal(m.Header, header) {
			rt.Fatalf("%d octets became %d in %d parts, %v", len(want), len(m.Body), m.Segments, err)
		}
		if strings.Join(parts, "") != string(want) {
			rt.Fatal("the octets have changed")
		}
		_ = w.conn.Close()
		w.session.Wait()
	})
}

func TestPassedParameters(t *testing.T) {
	w := reqSetup(t)
	w.passing(false, 0x1403, 0x020A)
	p := reqText(func(m *smpp.Message) {
		m.TLVs.Add(0x1403, []byte("\x00one"))
		m.TLVs.Add(0x1404, []byte("of a vendor that is closed"))
		m.TLVs.Add(0x020A, []byte{0x0B, 0x84})
		m.TLVs.Add(0x1403, nil)
		m.TLVs.Add(0x0381, []byte("of nobody's list"))
		m.TLVs.AddCString(smpp.TagClientReference, "order-1")
	})
	if got := w.ask(p); got.Status != smpp.StatusOK {
		t.Fatal(got.Status)
	}
	want := []message.TLV{{Tag: 0x1403, Value: []byte("\x00one")}, {Tag: 0x020A, Value: []byte{0x0B, 0x84}}, {Tag: 0x1403, Value: []byte{}}}
	if m := w.last().Message; fmt.Sprint(m.TLVs) != fmt.Sprint(want) || m.ClientReference != "order-1" {
		t.Errorf("%+v", m.TLVs)
	}
}

// What is kept is no part of the frame, which the reader uses again.
func TestPassedParametersAreCopied(t *testing.T) {
	w := reqSetup(t)
	w.passing(true, 0x1403)
	p := reqText(func(m *smpp.Message) {
		m.ESMClass, m.ShortMessage = smpp.ESMUDHI, []byte("\x04\x04\x02\x01\x02hello")
		m.TLVs.Add(0x1403, []byte("value"))
	})
	x := &exchange{s: w.server, b: w.bound}
	sub, st := x.read(w.smpp, &p.Message, []smpp.Address{p.Dest})
	clear(p.ShortMessage)
	clear(p.TLVs[0].Data)
	if st != smpp.StatusOK || sub.common.Body != "hello" || string(sub.common.Header) != "\x04\x02\x01\x02" || string(sub.common.TLVs[0].Value) != "value" {
		t.Errorf("%s %+v", st, sub.common)
	}
}

// Over the bounds the submit is refused; parameters that nobody takes do not count.
func TestPassedParametersBounds(t *testing.T) {
	many := func(n, size int) func(*smpp.Message) {
		return func(m *smpp.Message) {
			for i := range n {
				m.TLVs.Add(smpp.Tag(0x1400+i), make([]byte, size))
			}
		}
	}
	tags := make([]uint16, 64)
	for i := range tags {
		tags[i] = uint16(0x1400 + i)
	}
	for _, c := range []struct {
		n, size int
		tags    []uint16
		want    smpp.Status
	}{
		{16, 64, tags, smpp.StatusOK}, {1, 1024, tags, smpp.StatusOK}, {17, 1, tags, smpp.StatusOptParNotAllowed}, {16, 65, tags, smpp.StatusInvOptParamVal}, {1, 1025, tags, smpp.StatusInvOptParamVal},
		{64, 500, nil, smpp.StatusOK}, {64, 500, tags[:2], smpp.StatusOK},
	} {
		w := reqSetup(t)
		for _, v := range w.config.Vendors {
			v.PassTLVs = c.tags
		}
		w.config.Index()
		if got := w.ask(reqText(many(c.n, c.size))); got.Status != c.want {
			t.Errorf("%d of %d octets: %s, want %s", c.n, c.size, got.Status, c.want)
		}
	}
}

// Who sends a key again with other ports or parameters asks for something else.
func TestSubmitKeyOfContents(t *testing.T) {
	keyed := func(change func(*smpp.Message)) *smpp.SubmitSM {
		return reqText(func(m *smpp.Message) {
			m.DataCoding, m.ESMClass = 4, smpp.ESMUDHI
			m.ShortMessage = []byte("\x06\x05\x04\x0B\x84\x23\xF0hello")
			m.TLVs.AddCString(smpp.TagIdempotencyKey, "k")
			m.TLVs.Add(0x1403, []byte("a"))
			if change != nil {
				change(m)
			}
		})
	}
	w := reqSetup(t)
	first := w.taken(keyed(nil))
	w.passing(true, 0x1403) // what vendors take today does not matter
	if again := w.taken(keyed(nil)); again != first {
		t.Errorf("%s, then %s", first, again)
	}
	for name, change := range map[string]func(*smpp.Message){
		"ports":      func(m *smpp.Message) { m.ShortMessage[6]++ },
		"class":      func(m *smpp.Message) { m.DataCoding = 0xF4 },
		"parameter":  func(m *smpp.Message) { m.TLVs[1].Data = []byte("b") },
		"parameters": func(m *smpp.Message) { m.TLVs.Add(0x1404, nil) },
	} {
		if got := w.ask(keyed(change)); got.Status != smpp.StatusSubmitFail {
			t.Errorf("other %s: %s", name, got.Status)
		}
	}
}

// A submit without anything new has the hash that it had before there was anything
// new: keys outlive a release.
func TestHashIsKept(t *testing.T) {
	m := reqText(func(m *smpp.Message) {
		m.TLVs.AddUint16(smpp.TagUserMessageReference, 7)
		m.TLVs.AddCString(smpp.TagIdempotencyKey, "k")
	}).Message
	c, _ := m.Content()
	h := hashOf(&m, []smpp.Address{m.Dest}, c)
	if got := hex.EncodeToString(h[:]); got != oldHash {
		t.Errorf("%s", got)
	}
}

const oldHash = "9382962e39342fda637439ea7d54311be757fb5ab4757f26fa465ba5a75fa28f"

// The two statuses that accounts may choose, wherever a refusal comes from: read
// here, given by ingress, or stored with a key.
func TestStatusByAccount(t *testing.T) {
	optedOut := func(w *reqWorld) {
		w.store.down = func(message.Acceptance) error { return message.Refuse(message.ReasonOptedOut, "stop") }
	}
	keyed := func(m *smpp.Message) { m.DataCoding = 4; m.TLVs.AddCString(smpp.TagIdempotencyKey, "k") }
	for _, c := range []struct {
		name   string
		config func(*reqWorld)
		change func(*smpp.Message)
		plain  smpp.Status
		chosen smpp.Status
	}{
		{"data_coding", nil, func(m *smpp.Message) { m.DataCoding = 9 }, 0x45, 0x104},
		{"characters", nil, func(m *smpp.Message) { m.ShortMessage = []byte{0xE9} }, 0x45, 0x104},
		{"no SMPP vendor", noSMPPVendor, func(m *smpp.Message) { m.DataCoding = 4 }, 0x45, 0x104},
		{"with a key", noSMPPVendor, keyed, 0x45, 0x104},
		{"opted out", optedOut, nil, 0x0B, 0x45},
		{"another reason", func(w *reqWorld) { w.config.Routes = nil }, nil, 0x0B, 0x0B},
	} {
		for _, chosen := range []bool{false, true} {
			w := reqSetup(t)
			if c.config != nil {
				c.config(w)
			}
			want := c.plain
			if chosen {
				w.account.EncodingMismatchStatus, w.account.OptedOutStatus, want = 0x104, 0x45, c.chosen
			}
			for range 2 {
				if got := w.ask(reqText(c.change)); got.Status != want {
					t.Errorf("%s, chosen %v: %s, want %s", c.name, chosen, got.Status, want)
				}
			}
			multi := reqMulti(func(p *smpp.SubmitMulti) {
				if c.change != nil {
					c.change(&p.Message)
				}
			}, "13105550117", "13105550118")
			if got := w.ask(multi); got.Status != want {
				t.Errorf("%s, chosen %v: submit_multi %s, want %s", c.name, chosen, got.Status, want)
			}
		}
	}
}

// Every reason keeps its status for an account that has chosen others for two.
func TestStatusOfEveryReason(t *testing.T) {
	a := &snapshot.Account{EncodingMismatchStatus: 0x104, OptedOutStatus: 0x45}
	for _, e := range message.Catalogue() {
		want := smpp.StatusOf(e.Reason)
		if got := statusOf(nil, e.Reason); got != want {
			t.Errorf("%s: %s, want %s", e.Reason, got, want)
		}
		if got := statusOf(&snapshot.Account{}, e.Reason); got != want {
			t.Errorf("%s: %s, want %s", e.Reason, got, want)
		}
		switch e.Reason {
		case message.ReasonEncodingMismatch:
			want = smpp.StatusInvDataCoding
		case message.ReasonOptedOut:
			want = smpp.StatusSubmitFail
		}
		if got := statusOf(a, e.Reason); got != want {
			t.Errorf("%s: %s, want %s", e.Reason, got, want)
		}
	}
}
