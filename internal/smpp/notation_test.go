package smpp

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/postrider/postrider/internal/fuzztest"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/text"
)

func at(s string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		panic(err)
	}
	return t
}

func TestParseTime(t *testing.T) {
	now := at("2026-01-31T10:00:00Z")
	for _, tt := range []struct{ in, want string }{
		{"260102150405020-", "2026-01-02T20:04:05Z"},
		{"260102150405520+", "2026-01-02T10:04:05.5Z"},
		{"260102150405000+", "2026-01-02T15:04:05Z"},
		{"000001120000000R", "2026-02-01T22:00:00Z"},
		{"010000000000000R", "2027-01-31T10:00:00Z"},
		{"000000000130000R", "2026-01-31T10:01:30Z"},
		{"240229000000000+", "2024-02-29T00:00:00Z"},
		{"", ""},
		{"260102150405049+", "bad"}, {"261302150405000+", "bad"}, {"260230150405000+", "bad"},
		{"260100150405000+", "bad"}, {"260102240405000+", "bad"}, {"260102150460000+", "bad"},
		{"26010215040500+", "bad"}, {"2601021504050000", "bad"}, {"2601 2150405000+", "bad"}, {"-60102150405000+", "bad"},
	} {
		got, err := ParseTime(tt.in, now)
		switch {
		case tt.want == "bad":
			if err == nil || !errors.As(err, new(*TimeError)) {
				t.Errorf("%q: %v %v, want an error", tt.in, got, err)
			}
		case tt.want == "":
			if err != nil || !got.IsZero() {
				t.Errorf("%q: %v %v", tt.in, got, err)
			}
		case err != nil || !got.Equal(at(tt.want)):
			t.Errorf("%q: %v %v, want %s", tt.in, got, err, tt.want)
		}
	}
}

func TestFormatTime(t *testing.T) {
	if got := FormatTime(at("2026-01-02T15:04:05.25-05:00")); got != "260102200405200+" {
		t.Error(got)
	}
	if got := FormatTime(time.Time{}); got != "" {
		t.Error(got)
	}
	for d, want := range map[time.Duration]string{
		36 * time.Hour: "000001120000000R", 1500 * time.Millisecond: "000000000002000R",
		-time.Hour: "000000000001000R", 400 * 24 * time.Hour: "000030000000000R",
	} {
		if got := FormatRelative(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}

func TestTimeRoundTrip(t *testing.T) {
	now := at("2026-03-01T00:00:00Z")
	rapid.Check(t, func(t *rapid.T) {
		d := time.Duration(rapid.Int64Range(1, 30*86400).Draw(t, "seconds")) * time.Second
		if got, err := ParseTime(FormatRelative(d), now); err != nil || got.Sub(now) != d {
			t.Fatalf("relative %v: %v %v", d, got.Sub(now), err)
		}
		abs := now.Add(time.Duration(rapid.Int64Range(0, 20*365*864000).Draw(t, "tenths")) * 100 * time.Millisecond)
		if got, err := ParseTime(FormatTime(abs), now); err != nil || !got.Equal(abs) {
			t.Fatalf("absolute %v: %v %v", abs, got, err)
		}
	})
}

func receiptTLVs(id string, state byte, net ...byte) TLVs {
	var t TLVs
	if id != "" {
		t.AddCString(TagReceiptedMessageID, id)
	}
	if state != 0 {
		t.AddByte(TagMessageState, state)
	}
	if net != nil {
		t.Add(TagNetworkErrorCode, net)
	}
	return t
}

func TestReceiptVariants(t *testing.T) {
	done := at("2026-01-02T15:04:00Z")
	seconds := done.Add(5 * time.Second)
	for _, tt := range []struct {
		name, text string
		esm        byte
		tlvs       TLVs
		want       Receipt
		not        bool
	}{
		{name: "usual", esm: 4, text: "id:0190AF3C sub:001 dlvrd:001 submit date:2601021503 done date:2601021504 stat:DELIVRD err:000 text:Hello id:9 stat:X",
			want: Receipt{ID: "0190AF3C", Sub: 1, Dlvrd: 1, Submit: done.Add(-time.Minute), Done: done, Stat: "DELIVRD", State: "DELIVRD", Err: "000", Text: "Hello id:9 stat:X"}},
		{name: "esm_class 0", text: "id:7 sub:001 dlvrd:000 submit date:2601021503 done date:2601021504 stat:UNDELIV err:001 text:",
			want: Receipt{ID: "7", Sub: 1, Submit: done.Add(-time.Minute), Done: done, Stat: "UNDELIV", State: "UNDELIV", Err: "001"}},
		{name: "joined dates", esm: 4, text: "id:a-b_c.9 submitdate:2601021503 donedate:260102150405 stat:REJECTD err:62",
			want: Receipt{ID: "a-b_c.9", Submit: done.Add(-time.Minute), Done: seconds, Stat: "REJECTD", State: "REJECTD", Err: "62"}},
		{name: "four-digit year", esm: 4, text: "id:1 done date:202601021504 stat:EXPIRED",
			want: Receipt{ID: "1", Done: done, Stat: "EXPIRED", State: "EXPIRED"}},
		{name: "other order and case", esm: 4, text: "Stat:Delivered Err:0 ID:77 Text:x",
			want: Receipt{ID: "77", Stat: "Delivered", State: "DELIVRD", Err: "0", Text: "x"}},
		{name: "text before the state", esm: 4, text: "id:77 text: stat:DELIVRD",
			want: Receipt{ID: "77", Stat: "DELIVRD", State: "DELIVRD", Text: " stat:DELIVRD"}},
		{name: "keys in the customer's words", esm: 4, text: "id:77 stat:DELIVRD text:err:999 sub:003",
			want: Receipt{ID: "77", Stat: "DELIVRD", State: "DELIVRD", Text: "err:999 sub:003"}},
		{name: "blanks after colons", esm: 4, text: "id: 77 sub: 001 dlvrd: stat: DELIVRD err: 000",
			want: Receipt{ID: "77", Sub: 1, Stat: "DELIVRD", State: "DELIVRD", Err: "000"}},
		{name: "only tlvs", esm: 4, tlvs: receiptTLVs("0190AF3C", 5, 3, 0, 1),
			want: Receipt{TLVID: "0190AF3C", Stat: "UNDELIV", State: "UNDELIV", Err: "001"}},
		{name: "tlv state wins", esm: 4, text: "id:1 stat:ENROUTE err:007", tlvs: receiptTLVs("x", 2, 3, 0, 1),
			want: Receipt{ID: "1", TLVID: "x", Stat: "ENROUTE", State: "DELIVRD", Err: "007"}},
		{name: "tlvs without esm_class", text: "whatever", tlvs: receiptTLVs("9", 2),
			want: Receipt{TLVID: "9", Stat: "DELIVRD", State: "DELIVRD"}},
		{name: "wrong tlv lengths", esm: 4, text: "id:1 stat:DELIVRD", tlvs: TLVs{{Tag: TagMessageState, Data: []byte{0, 2}}, {Tag: TagNetworkErrorCode, Data: []byte{1}}},
			want: Receipt{ID: "1", Stat: "DELIVRD", State: "DELIVRD"}},
		{name: "intermediate", esm: 0x20, text: "id:1 stat:BUFFRED", want: Receipt{ID: "1", Stat: "BUFFRED", State: "ENROUTE"}},
		{name: "odd state", esm: 4, text: "id:1 stat:SKIPPED", want: Receipt{ID: "1", Stat: "SKIPPED", State: "UNKNOWN"}},
		{name: "nonsense is still a receipt", esm: 4, text: "hello", want: Receipt{State: "UNKNOWN"}},
		{name: "udhi", esm: 0x44, text: "id:1 stat:DELIVRD", want: Receipt{ID: "1", Stat: "DELIVRD", State: "DELIVRD"}},
		{name: "a message about id: and stat:", text: "my id:5 is stat:ok", not: true},
		{name: "a message", text: "Hello", not: true},
		{name: "a message with an id TLV", text: "Hello", tlvs: receiptTLVs("9", 0), not: true},
		{name: "user acknowledgement", esm: 0x10, text: "id:1 sub:001 stat:DELIVRD", not: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := ReceiptOf(&Message{ESMClass: tt.esm, TLVs: tt.tlvs}, tt.text)
			if ok == tt.not || got != tt.want {
				t.Errorf("%v\n got %+v\nwant %+v", ok, got, tt.want)
			}
		})
	}
}

func TestReceiptRoundTrip(t *testing.T) {
	states := []message.ReceiptState{message.ReceiptDelivered, message.ReceiptUndeliverable, message.ReceiptExpired, message.ReceiptRejected, message.ReceiptDeleted, message.ReceiptEnroute}
	rapid.Check(t, func(t *rapid.T) {
		r := Receipt{
			ID: rapid.StringMatching(`[0-9A-Za-z_\-]{1,64}`).Draw(t, "id"), Sub: 1, Dlvrd: rapid.IntRange(0, 1).Draw(t, "dlvrd"),
			Submit: time.Unix(rapid.Int64Range(1700000000, 2000000000).Draw(t, "submit")/60*60, 0).UTC(),
			Done:   time.Unix(rapid.Int64Range(1700000000, 2000000000).Draw(t, "done")/60*60, 0).UTC(),
			State:  rapid.SampledFrom(states).Draw(t, "state"), Err: fmt.Sprintf("%03d", rapid.IntRange(0, 999).Draw(t, "err")),
			Text: rapid.StringOfN(rapid.RuneFrom(nil, rangeASCII), 0, 20, -1).Draw(t, "text"),
		}
		var m Message
		m.ESMClass = ESMReceipt
		if rapid.Bool().Draw(t, "tlvs") {
			r.AppendTLVs(&m.TLVs)
			r.TLVID = r.ID
		}
		got, ok := ReceiptOf(&m, r.String())
		r.Stat = string(r.State)
		if !ok || got != r {
			t.Fatalf("\n got %+v\nwant %+v", got, r)
		}
	})
}

func TestReceiptText(t *testing.T) {
	r := Receipt{ID: "01a1ffbf", Sub: 1, Dlvrd: 1, Submit: at("2026-01-02T10:03:59-05:00"), Done: at("2026-01-02T15:04:05Z"), State: message.ReceiptDelivered, Text: "twenty characters are all there"}
	want := "id:01a1ffbf sub:001 dlvrd:001 submit date:2601021503 done date:2601021504 stat:DELIVRD err:000 text:twenty characters ar"
	if got := r.String(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	var tlvs TLVs
	r.Err = "505"
	r.AppendTLVs(&tlvs)
	m := &DeliverSM{Message{TLVs: tlvs}}
	if b, err := Append(nil, 0, 1, m); err != nil || !strings.HasSuffix(fmt.Sprintf("%x", b), "001e0009303161316666626600"+"0427000102"+"042300030301f9") {
		t.Errorf("%x %v", b, err)
	}
}

func FuzzReceipt(f *testing.F) {
	f.Add(byte(4), "id:0190AF3C sub:001 dlvrd:001 submit date:2601021503 done date:2601021504 stat:DELIVRD err:000 text:Hello", []byte{2})
	f.Add(byte(0), "id: sub: dlvrd: text: text: stat:", []byte{})
	f.Add(byte(0x20), "submit date:donedate:id:", []byte{0xFF})
	f.Add(byte(4), "id:1 submit date:999999999999999R done date:0000000000 stat:"+strings.Repeat("X", 300)+" err:-1", []byte{0})
	f.Add(byte(4), strings.Repeat("id:", 5000), []byte{9})
	f.Add(byte(4), strings.Repeat("a: ", 5000), []byte{9}) // words that may be keys
	f.Add(byte(0), "text:stat:DELIVRD id:7 sub:99999999999999999999 \x00\xff", []byte{})
	f.Fuzz(func(t *testing.T, esm byte, s string, state []byte) {
		var r Receipt
		var ok bool
		fuzztest.Within(t, 64*len(s)+16<<10, func() {
			r, ok = ReceiptOf(&Message{ESMClass: esm, TLVs: TLVs{{Tag: TagMessageState, Data: state}}}, s)
		})
		if ok && r.State == "" {
			t.Fatal("receipt without a state")
		}
		for _, f := range []IDFormat{IDSame, IDHexToDec, IDDecToHex} {
			_ = f.Of(r)
		}
	})
}

func TestIDFormats(t *testing.T) {
	for _, tt := range []struct {
		format                  IDFormat
		answer, receipt, common string
	}{
		{IDSame, "0190AF3C", "190af3c", "190af3c"},
		{"", " AB-12 ", "ab-12\x00", "ab-12"},
		{IDHexToDec, "0190AF3C", "26259260", "26259260"},
		{IDHexToDec, "0190AF3C", "0026259260", "26259260"},
		{IDHexToDec, "0190AF3C", "0190AF3C", "26259260"},
		{IDHexToDec, "FFFFFFFFFFFFFFFFFFFF", "1208925819614629174706175", "1208925819614629174706175"},
		{IDDecToHex, "26259260", "0190AF3C", "190af3c"},
		{IDHexToDec, "not-hex", "not-hex", "not-hex"},
		{IDDecToHex, "-5", "-5", "-5"},
		{IDHexToDec, "", "", ""},
	} {
		if a, r := tt.format.Answer(tt.answer), tt.format.Receipt(tt.receipt); a != tt.common || r != tt.common {
			t.Errorf("%s %q %q: %q and %q, want %q", tt.format, tt.answer, tt.receipt, a, r, tt.common)
		}
	}
	r := Receipt{ID: "26259260", TLVID: "0190AF3C"}
	if got := IDHexToDec.Of(r); got != "26259260" {
		t.Error(got)
	}
	if got := IDHexToDec.Of(Receipt{TLVID: "0190AF3C"}); got != "26259260" {
		t.Error(got)
	}
	if got := IDSame.Of(Receipt{ID: "longer text 1", TLVID: "01"}); got != "1" {
		t.Error(got)
	}
	if got := IDSame.Of(Receipt{ID: "07"}); got != "7" {
		t.Error(got)
	}
}

func TestIDFormatsAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Uint64().Draw(t, "id")
		hex, dec := fmt.Sprintf("%0*X", rapid.IntRange(1, 20).Draw(t, "width"), n), fmt.Sprint(n)
		if IDHexToDec.Answer(hex) != IDHexToDec.Receipt(dec) || IDDecToHex.Answer(dec) != IDDecToHex.Receipt(hex) {
			t.Fatalf("%s and %s", hex, dec)
		}
	})
}

func TestSetText(t *testing.T) {
	long := strings.Repeat("x", 161)
	for _, tt := range []struct {
		name  string
		o     Outgoing
		check func(m Message) bool
	}{
		{"gsm unpacked", Outgoing{Text: "Hi @"}, func(m Message) bool { return m.DataCoding == 0 && string(m.ShortMessage) == "Hi \x00" }},
		{"ucs2", Outgoing{Text: "é", Encoding: message.EncodingUCS2}, func(m Message) bool { return m.DataCoding == 8 && string(m.ShortMessage) == "\x00\xe9" }},
		{"latin1 peer", Outgoing{Text: "é@", Alphabet: text.AlphabetLatin1}, func(m Message) bool { return m.DataCoding == 0 && string(m.ShortMessage) == "\xe9@" }},
		{"latin1 peer, euro", Outgoing{Text: "€", Alphabet: text.AlphabetLatin1}, func(m Message) bool { return m.DataCoding == 8 && string(m.ShortMessage) == "\x20\xac" }},
		{"ascii peer, accent", Outgoing{Text: "é", Alphabet: text.AlphabetASCII}, func(m Message) bool { return m.DataCoding == 8 }},
		{"part by udh", Outgoing{Text: "AB", Ref: 0x12a, Part: 1, Parts: 2}, func(m Message) bool {
			return m.ESMClass == 0x40 && string(m.ShortMessage) == "\x05\x00\x03\x2a\x02\x01AB" && len(m.TLVs) == 0
		}},
		{"part by sar", Outgoing{Text: "AB", Ref: 0x12a, Part: 1, Parts: 2, Long: LongSAR}, func(m Message) bool {
			ref, _ := m.TLVs.Uint16(TagSarMsgRefNum)
			return m.ESMClass == 0 && string(m.ShortMessage) == "AB" && ref == 0x12a && len(m.TLVs) == 3
		}},
		{"whole by payload", Outgoing{Text: long, Long: LongPayload}, func(m Message) bool {
			v, _ := m.TLVs.Get(TagMessagePayload)
			return len(m.ShortMessage) == 0 && string(v) == long
		}},
		{"short by payload", Outgoing{Text: long[:160], Long: LongPayload}, func(m Message) bool { return string(m.ShortMessage) == long[:160] }},
	} {
		var m Message
		if err := m.SetText(tt.o); err != nil || !tt.check(m) {
			t.Errorf("%s: %v %+v", tt.name, err, m)
		}
	}
	for name, o := range map[string]Outgoing{
		"no such character": {Text: "`", Encoding: message.EncodingGSM7}, "too long": {Text: strings.Repeat("x", 255)},
		"part 0": {Text: "x", Parts: 2}, "256 parts": {Text: "x", Part: 1, Parts: 256},
		"no room for the header": {Text: strings.Repeat("x", 250), Part: 1, Parts: 2},
	} {
		if err := new(Message).SetText(o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestContent(t *testing.T) {
	sar := func(ref uint16, total, seq byte) TLVs {
		var t TLVs
		t.AddUint16(TagSarMsgRefNum, ref)
		t.AddByte(TagSarTotalSegments, total)
		t.AddByte(TagSarSegmentSeqnum, seq)
		return t
	}
	payload := TLVs{{Tag: TagMessagePayload, Data: []byte("\x05\x00\x03\x01\x02\x02AB")}}
	for _, tt := range []struct {
		name string
		m    Message
		text string
		want Content
		st   Status
	}{
		{"plain", Message{ShortMessage: []byte("AB")}, "AB", Content{}, 0},
		{"payload with header", Message{ESMClass: 0x40, TLVs: payload}, "AB", Content{Reference: 1, Part: 2, Parts: 2}, 0},
		{"both", Message{ShortMessage: []byte("AB"), TLVs: payload}, "AB", Content{}, StatusInvMsgLen},
		{"16-bit", Message{ESMClass: 0x40, ShortMessage: []byte("\x06\x08\x04\x01\x02\x03\x02AB")}, "AB", Content{Reference: refUDH16 + 0x102, Part: 2, Parts: 3}, 0},
		{"header without concatenation", Message{ESMClass: 0x40, ShortMessage: []byte("\x03\x24\x01\x01AB"), TLVs: sar(7, 2, 1)}, "AB", Content{Reference: refSAR + 7, Part: 1, Parts: 2}, 0},
		{"broken header", Message{ESMClass: 0x40, ShortMessage: []byte("\x09\x00AB")}, "\x09\x00AB", Content{}, StatusInvESMClass},
		{"sar", Message{ShortMessage: []byte("AB"), TLVs: sar(7, 2, 2)}, "AB", Content{Reference: refSAR + 7, Part: 2, Parts: 2}, 0},
		{"sar beyond", Message{ShortMessage: []byte("AB"), TLVs: sar(7, 2, 3)}, "AB", Content{}, StatusInvOptParamVal},
		{"sar incomplete", Message{ShortMessage: []byte("AB"), TLVs: sar(7, 2, 2)[:2]}, "AB", Content{}, StatusMissingOptParam},
	} {
		got, st := tt.m.Content()
		octets := string(got.Octets)
		got.Octets = nil
		if st != tt.st || octets != tt.text || got.Reference != tt.want.Reference || got.Part != tt.want.Part || got.Parts != tt.want.Parts {
			t.Errorf("%s: %v %q %+v", tt.name, st, octets, got)
		}
	}
}

// What SetText writes, Content and text.Decode read.
func TestTextRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := Outgoing{
			Text: rapid.StringOfN(rapid.RuneFrom([]rune("abc@{€äñ")), 0, 60, -1).Draw(t, "text"), Encoding: message.EncodingGSM7,
			Long: rapid.SampledFrom([]LongMessage{LongUDH, LongSAR, LongPayload}).Draw(t, "long"),
			Ref:  rapid.Uint16().Draw(t, "ref"), Parts: rapid.IntRange(0, 255).Draw(t, "parts"),
		}
		if rapid.Bool().Draw(t, "ucs2") {
			o.Encoding = message.EncodingUCS2
		}
		o.Part = rapid.IntRange(min(1, o.Parts), o.Parts).Draw(t, "part")
		var m Message
		if err := m.SetText(o); err != nil {
			t.Fatal(err)
		}
		c, st := m.Content()
		got, ok := text.Decode(m.DataCoding, "", c.Octets)
		if st != 0 || !ok || got != o.Text {
			t.Fatalf("%v %q, want %q", st, got, o.Text)
		}
		if o.Parts > 1 && (c.Part != o.Part || c.Parts != o.Parts) {
			t.Fatalf("part %d of %d, want %d of %d", c.Part, c.Parts, o.Part, o.Parts)
		}
	})
}

func TestEveryReasonHasAStatus(t *testing.T) {
	for _, e := range message.Catalogue() {
		got, bind := StatusOf(e.Reason), BindStatusOf(e.Reason)
		if got == StatusOK || bind == StatusOK {
			t.Errorf("%s is answered as success", e.Reason)
		}
		if strings.HasPrefix(got.String(), "0x") {
			t.Errorf("%s: status %s has no name", e.Reason, got)
		}
		if e.SMPP != 0 && got != Status(e.SMPP) || e.SMPPBind != 0 && bind != Status(e.SMPPBind) {
			t.Errorf("%s: %v %v differ from the catalogue", e.Reason, got, bind)
		}
	}
	if StatusOf("no such reason") != StatusSystemError || BindStatusOf(message.ReasonUnauthenticated) != StatusInvPassword {
		t.Error("fallbacks")
	}
}

// Every status has an outcome that can be acted on, and the ones that the
// documents name have theirs.
func TestEveryStatusHasAnOutcome(t *testing.T) {
	for st := Status(1); st <= 0x500; st++ {
		o := OutcomeOf(st)
		if !o.Reason.Known() {
			t.Errorf("%v: reason %q", st, o.Reason)
		}
		if o.Again(1) != (o.After(1) > 0) {
			t.Errorf("%v: again %v after %v", st, o.Again(1), o.After(1))
		}
	}
	for _, tt := range []struct {
		st      Status
		reason  message.Reason
		again   bool
		after   time.Duration
		final   int // attempt that is not repeated; 0: none
		pause   bool
		rebinds bool
	}{
		{StatusThrottled, message.ReasonVendorThrottled, true, time.Second, 0, true, false},
		{StatusMsgQueueFull, message.ReasonVendorThrottled, true, 30 * time.Second, 0, false, false},
		{StatusSystemError, message.ReasonVendorUnreachable, true, 5 * time.Second, 0, false, false},
		{StatusUnknownError, message.ReasonVendorUnreachable, true, 5 * time.Second, 4, false, false},
		{StatusTempAppError, message.ReasonVendorRejected, true, 5 * time.Second, 0, false, false},
		{StatusSubmitFail, message.ReasonVendorRejected, true, 30 * time.Second, 2, false, false},
		{StatusInvBindState, message.ReasonVendorRejected, true, 5 * time.Second, 4, false, true},
		{StatusAlreadyBound, message.ReasonVendorRejected, true, 5 * time.Second, 4, false, true},
		{StatusInvSource, message.ReasonUnauthorizedSender, false, 0, 1, false, false},
		{StatusInvDest, message.ReasonInvalidDestination, false, 0, 1, false, false},
		{StatusInvMsgLen, message.ReasonVendorRejected, false, 0, 1, false, false},
		{0x401, message.ReasonVendorRejected, false, 0, 1, false, false},
	} {
		o := OutcomeOf(tt.st)
		if o.Reason != tt.reason || o.Again(1) != tt.again || o.After(1) != tt.after || o.PauseLink != tt.pause || o.Rebind != tt.rebinds {
			t.Errorf("%v: %+v", tt.st, o)
		}
		if tt.final > 0 && o.Again(tt.final) || tt.final == 0 && !o.Again(1000) {
			t.Errorf("%v: tries %d", tt.st, o.Tries)
		}
	}
	if o := OutcomeOf(StatusThrottled); o.After(100) != 30*time.Second || o.After(0) != time.Second {
		t.Error("the last gap repeats")
	}
	if NackOutcome().Again(1) {
		t.Error("a nacked request would be repeated")
	}
}
