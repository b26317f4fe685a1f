package smpp

import (
	"bytes"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/text"
)

const portsElement = "\x05\x04\x0B\x84\x23\xF0" // 16-bit ports of a WAP push

func TestSetTextOfOtherKinds(t *testing.T) {
	octets := string([]byte{0, 0xFF, 0x1B, 0x80})
	ports := []byte(portsElement)
	long := strings.Repeat("x", 133)
	whole := func(m Message, coding byte, esm byte, short string) bool {
		return m.DataCoding == coding && m.ESMClass == esm && string(m.ShortMessage) == short && len(m.TLVs) == 0
	}
	payload := func(m Message) string { v, _ := m.TLVs.Get(TagMessagePayload); return string(v) }
	for _, tt := range []struct {
		name  string
		o     Outgoing
		check func(Message) bool
	}{
		{"octets", Outgoing{Text: octets, Encoding: message.EncodingBinary, Coding: 4}, func(m Message) bool { return whole(m, 4, 0, octets) }},
		{"octets with a class", Outgoing{Text: octets, Encoding: message.EncodingBinary, Coding: 0xF6}, func(m Message) bool { return whole(m, 0xF6, 0, octets) }},
		{"octets for ports", Outgoing{Text: octets, Encoding: message.EncodingBinary, Coding: 4, Header: ports}, func(m Message) bool { return whole(m, 4, 0x40, "\x06"+portsElement+octets) }},
		{"a part of them", Outgoing{Text: octets, Encoding: message.EncodingBinary, Coding: 4, Header: ports, Ref: 7, Part: 2, Parts: 3}, func(m Message) bool {
			return whole(m, 4, 0x40, "\x0B\x00\x03\x07\x03\x02"+portsElement+octets)
		}},
		{"a part of them by sar", Outgoing{Text: octets, Encoding: message.EncodingBinary, Coding: 4, Header: ports, Ref: 7, Part: 2, Parts: 3, Long: LongSAR}, func(m Message) bool {
			n, _ := m.TLVs.Byte(TagSarTotalSegments)
			return m.ESMClass == 0x40 && string(m.ShortMessage) == "\x06"+portsElement+octets && n == 3
		}},
		{"full by payload", Outgoing{Text: long, Encoding: message.EncodingBinary, Coding: 4, Header: ports, Long: LongPayload}, func(m Message) bool {
			return whole(m, 4, 0x40, "\x06"+portsElement+long)
		}},
		{"over it by payload", Outgoing{Text: long + "x", Encoding: message.EncodingBinary, Coding: 4, Header: ports, Long: LongPayload}, func(m Message) bool {
			return m.ESMClass == 0x40 && len(m.ShortMessage) == 0 && payload(m) == "\x06"+portsElement+long+"x"
		}},
		{"septets we cannot read", Outgoing{Text: "a\x1b", Encoding: message.EncodingBinary, Header: []byte("\x24\x01\x01")}, func(m Message) bool { return whole(m, 0, 0x40, "\x03\x24\x01\x01a\x1b") }},
		{"text for ports", Outgoing{Text: "@", Header: ports, Alphabet: text.AlphabetLatin1}, func(m Message) bool { return whole(m, 0, 0x40, "\x06"+portsElement+"@") }},
		{"flash", Outgoing{Text: "@", Coding: 0x10, Alphabet: text.AlphabetLatin1}, func(m Message) bool { return whole(m, 0x10, 0, "\x00") }},
		{"flash as it was given", Outgoing{Text: "@", Coding: 0xF0}, func(m Message) bool { return whole(m, 0xF0, 0, "\x00") }},
		{"another class", Outgoing{Text: "@", Coding: 0xF2}, func(m Message) bool { return whole(m, 0xF2, 0, "\x00") }},
		{"flash, whole by payload", Outgoing{Text: strings.Repeat("a", 160), Coding: 0x10, Long: LongPayload}, func(m Message) bool { return len(m.ShortMessage) == 160 }},
		{"flash in UCS-2", Outgoing{Text: "@", Encoding: message.EncodingUCS2, Coding: 0x19}, func(m Message) bool { return whole(m, 0x19, 0, "\x00@") }},
		{"flash that became UCS-2", Outgoing{Text: "@", Encoding: message.EncodingUCS2, Coding: 0xF1}, func(m Message) bool { return whole(m, 0x19, 0, "\x00@") }},
		{"flash that became GSM", Outgoing{Text: "@", Encoding: message.EncodingGSM7, Coding: 0x1A}, func(m Message) bool { return whole(m, 0x12, 0, "\x00") }},
	} {
		var m Message
		if err := m.SetText(tt.o); err != nil || !tt.check(m) {
			t.Errorf("%s: %+v, %v", tt.name, m, err)
		}
	}
	for name, o := range map[string]Outgoing{
		"no room":           {Text: strings.Repeat("x", 249), Encoding: message.EncodingBinary, Header: ports},
		"header alone":      {Encoding: message.EncodingBinary, Header: make([]byte, 141)},
		"header in a part":  {Encoding: message.EncodingBinary, Header: make([]byte, 300), Part: 1, Parts: 2},
		"flash, other text": {Text: "\u6f22", Coding: 0x10},
	} {
		if err := new(Message).SetText(o); err == nil {
			t.Errorf("%s: set", name)
		}
	}
}

// Octets in are octets out: cut as they are for a vendor, written, read back by what
// numbers the parts, and joined.
func TestOctetsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		header := []byte(rapid.SampledFrom([]string{"", portsElement, "\x04\x02\x01\x02"}).Draw(t, "header"))
		coding := rapid.SampledFrom([]byte{2, 4, 0xF4, 0xF5, 0xF6, 0xF7}).Draw(t, "coding")
		long := rapid.SampledFrom([]LongMessage{LongUDH, LongSAR, LongPayload}).Draw(t, "long")
		most := text.MaxParts * (text.PartOctets - len(header))
		n := rapid.OneOf(rapid.IntRange(0, 500), rapid.IntRange(most-300, most)).Draw(t, "octets")
		octets := rapid.SliceOfN(rapid.Byte(), 64, 64).Draw(t, "start")
		for i := len(octets); i < n; i++ {
			octets = append(octets, octets[i-64]+byte(i>>6))
		}
		octets = octets[:n]
		parts, err := text.SplitOctets(string(octets), coding, header, false)
		if err != nil {
			t.Fatal(err)
		}
		var joined []byte
		for i, p := range parts {
			var m SubmitSM
			err := m.SetText(Outgoing{Text: p, Encoding: message.EncodingBinary, Coding: coding, Header: header, Long: long, Ref: 0x1234, Part: i + 1, Parts: len(parts)})
			if err != nil {
				t.Fatal(err)
			}
			frame, err := Append(nil, StatusOK, 1, &m)
			if err != nil {
				t.Fatal(err)
			}
			packet, err := Decode(frame)
			if err != nil {
				t.Fatal(err)
			}
			got := packet.Body.(*SubmitSM)
			c, st := got.Content()
			if st != StatusOK || got.DataCoding != coding || !bytes.Equal(c.Header, header) || len(got.ShortMessage) > text.SingleOctets {
				t.Fatalf("%s %+v", st, got)
			}
			if len(parts) > 1 && (c.Part != i+1 || c.Parts != len(parts)) {
				t.Fatalf("part %d of %d", c.Part, c.Parts)
			}
			joined = append(joined, c.Octets...)
		}
		if !bytes.Equal(joined, octets) {
			t.Fatal("the octets have changed")
		}
	})
}

// Nothing that is ours, or that says what the text is and where its parts and
// receipts belong, is passed on.
func TestPassable(t *testing.T) {
	for _, tag := range []Tag{TagReceiptedMessageID, TagUserMessageReference, TagSarMsgRefNum, TagSarTotalSegments, TagSarSegmentSeqnum, TagNetworkErrorCode, TagMessagePayload,
		TagDeliveryFailureReason, TagMessageState, TagMsAvailabilityStatus, TagSCInterfaceVersion, TagIdempotencyKey, TagClientReference, TagMessageClass, 0, 0x13FF, 0x4000, 0xFFFF} {
		if Passable(tag) {
			t.Errorf("%04X is passed on", uint16(tag))
		}
	}
	for _, tag := range []Tag{0x0019, 0x0202, 0x0203, 0x020A, 0x020B, 0x0381, 0x1400, 0x1403, 0x2A00, 0x2A04, 0x3FFF} {
		if !Passable(tag) {
			t.Errorf("%04X is not passed on", uint16(tag))
		}
	}
}
