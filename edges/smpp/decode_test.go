package smpp

import (
	"testing"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/smpp"
	"github.com/postrider/postrider/internal/text"
)

// How digits are read, message.Dialable tests; here, who gets which answer.
func TestAddresses(t *testing.T) {
	for _, c := range []struct {
		ton     byte
		text    string
		country string
		source  message.Address // empty: RINVSRCADR
		dest    string          // empty: RINVDSTADR
	}{
		{1, "13105550117", "US", "+13105550117", "+13105550117"},
		{0, "3105550117", "US", "+13105550117", "+13105550117"},
		{0, "01711234567", "DE", "+491711234567", "+491711234567"},
		{0, "72345", "US", "72345", "72345"},
		{0, "ACME", "US", "ACME", ""},
		{1, "+", "US", "", ""},
	} {
		a := smpp.Address{TON: c.ton, NPI: 1, Text: c.text}
		var sub submission
		st := sub.readAddresses(a, []smpp.Address{reqTo}, c.country)
		if (st == smpp.StatusOK) != (c.source != "") || st != smpp.StatusOK && st != smpp.StatusInvSource || sub.common.From != string(c.source) {
			t.Errorf("%+v as source: %s %q", c, st, sub.common.From)
		}
		r := readRecipient(a, c.country)
		if (r.status == smpp.StatusOK) != (c.dest != "") || r.status != smpp.StatusOK && r.status != smpp.StatusInvDest || r.number != c.dest || r.written != a {
			t.Errorf("%+v as destination: %+v", c, r)
		}
	}
}

func TestNumberingPlans(t *testing.T) {
	known := map[byte]bool{0: true, 1: true, 3: true, 4: true, 6: true, 8: true, 9: true, 10: true, 14: true, 18: true}
	for n := range 256 {
		if knownNPI(byte(n)) != known[byte(n)] {
			t.Errorf("npi %d", n)
		}
		if knownTON(byte(n)) != (n <= 6) {
			t.Errorf("ton %d", n)
		}
	}
}

// Every data_coding of api.md §8, and no other.
func TestDataCodings(t *testing.T) {
	const ucs2 = "\x04\x1F\x04\x40\x00\x21"
	type row struct {
		octets, alphabet, text string
		encoding               message.Encoding
	}
	const raw = "\x00\xff\x1b\x80" // not to be read
	auto := message.EncodingAuto
	taken := map[int][]row{
		0: {
			{"a@\x00\x1b\x65", "", "a¡@€", auto}, {"\x00\x11", text.AlphabetGSM7, "@_", auto},
			{"caf\xe9", text.AlphabetLatin1, "café", auto}, {"cafe@", text.AlphabetASCII, "cafe@", auto},
		},
		1: {{"a@b", "", "a@b", auto}},
		3: {{"caf\xe9", "", "café", auto}},
		6: {{"\xbf\xe0\xd8", "", "При", auto}},
		7: {{"\xf9\xec\xe5\xed", "", "שלום", auto}},
		8: {{ucs2, "", "Пр!", message.EncodingUCS2}, {"\x00h\x00i\x00", "", "hi", message.EncodingUCS2}, {"\xff\xfd", "", "\uFFFD", message.EncodingUCS2}},
	}
	class := map[int]byte{} // what SMPP vendors are told
	for n := range 4 {
		for _, group := range []int{0x10, 0xF0, 0xF8} {
			taken[group+n], class[group+n] = []row{{"a\x00", text.AlphabetLatin1, "a@", auto}}, byte(group+n)
		}
		taken[0x18+n], class[0x18+n] = []row{{ucs2, "", "Пр!", message.EncodingUCS2}}, byte(0x18+n)
		class[0xF8+n] = byte(0xF0 + n) // the bit between is reserved
		taken[0xF4+n], class[0xF4+n] = []row{{raw, "", raw, message.EncodingBinary}}, byte(0xF4+n)
	}
	for _, n := range []int{2, 4} {
		taken[n], class[n] = []row{{raw, "", raw, message.EncodingBinary}}, byte(n)
	}
	w := reqSetup(t)
	w.account.MaxParts = 255
	for coding := range 256 {
		rows := taken[coding]
		if rows == nil {
			m := smpp.Message{DataCoding: byte(coding)}
			sub := submission{content: smpp.Content{Octets: []byte("ab")}}
			if st := sub.readText(&m, "", w.account); st != smpp.StatusSubmitFail {
				t.Errorf("data_coding %#x: %s", coding, st)
			}
		}
		for _, r := range rows {
			m := smpp.Message{DataCoding: byte(coding)}
			sub := submission{content: smpp.Content{Octets: []byte(r.octets)}}
			if st := sub.readText(&m, r.alphabet, w.account); st != smpp.StatusOK || sub.common.Body != r.text || sub.common.Encoding != r.encoding || sub.common.DataCoding != class[coding] {
				t.Errorf("data_coding %#x, %q: %s %q %s %#x", coding, r.octets, st, sub.common.Body, sub.common.Encoding, sub.common.DataCoding)
			}
		}
	}
}

// What the alphabet lacks is refused: no handset gets a replacement character.
func TestDamagedText(t *testing.T) {
	for _, c := range []struct {
		coding   byte
		alphabet string
		octets   string
	}{
		{0, "", "caf\xe9"}, {0, text.AlphabetASCII, "caf\xe9"}, {0, "ebcdic", "abc"}, {1, "", "caf\xc3\xa9"}, {6, "", "\x80"}, {7, "", "\xff"},
		{8, "", "\x00h\x00i\x01"}, {8, "", "\xd8\x3d"}, {8, "", "\xff\xfd\xdc\x00"}, {0x18, "", "\xdc\x00"},
	} {
		if s, ok := text.DecodeStrict(c.coding, c.alphabet, []byte(c.octets)); ok {
			t.Errorf("%#x %q is %q", c.coding, c.octets, s)
		}
	}
}

// What a text costs of the rate is its parts, as ingress will cut it.
func TestCost(t *testing.T) {
	octets := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = 'a'
		}
		return b
	}
	ucs2 := func(n int) []byte { return text.EncodeUCS2(string(octets(n))) }
	for _, c := range []struct {
		coding byte
		octets []byte
		want   int
	}{
		{0, octets(160), 1}, {0, octets(161), 2}, {0, octets(10 * 153), 10}, {8, ucs2(70), 1}, {8, ucs2(71), 2}, {3, append(octets(70), 0xE7), 2},
		{0, octets(10*153 + 1), 1}, {0, octets(60000), 1}, // ingress refuses these
	} {
		sub := submission{parts: 1, content: smpp.Content{Octets: c.octets}}
		st := sub.readText(&smpp.Message{DataCoding: c.coding}, "", reqSetup(t).account)
		if st != smpp.StatusOK || sub.parts != c.want {
			t.Errorf("%d octets of %d cost %d, %s", len(c.octets), c.coding, sub.parts, st)
		}
	}
}

// The text of a part is left as octets: its last character may go on in the
// next one.
func TestPartIsNotDecoded(t *testing.T) {
	w := reqSetup(t)
	m := reqText(func(m *smpp.Message) {
		m.DataCoding, m.ESMClass, m.ShortMessage = 8, 0x40, []byte("\x05\x00\x03\x07\x02\x01\x00h\xd8\x3d")
	}).Message
	x := &exchange{s: w.server, b: w.bound}
	sub, st := x.read(w.smpp, &m, []smpp.Address{m.Dest})
	if st != smpp.StatusOK || sub.content.Parts != 2 || sub.content.Part != 1 || string(sub.content.Octets) != "\x00h\xd8\x3d" || sub.common.Body != "" || sub.parts != 1 {
		t.Errorf("%s %+v", st, sub)
	}
	for _, m.DataCoding = range []byte{5, 0xC8, 0x14, 0xFC, 0xFF} {
		if _, st := x.read(w.smpp, &m, []smpp.Address{m.Dest}); st != smpp.StatusSubmitFail {
			t.Errorf("part of %#x: %s", m.DataCoding, st)
		}
	}
}

// Two submits that differ in anything that matters have different hashes, and
// fields do not run into each other.
func TestHash(t *testing.T) {
	base := func() smpp.Message { return reqText(nil).Message }
	seen := map[[32]byte]string{}
	for name, change := range map[string]func(*smpp.Message){
		"":          func(*smpp.Message) {},
		"source":    func(m *smpp.Message) { m.Source.Text = "12025550144" },
		"ton":       func(m *smpp.Message) { m.Source.TON = 0 },
		"dest":      func(m *smpp.Message) { m.Dest.NPI = 0 },
		"coding":    func(m *smpp.Message) { m.DataCoding = 1 },
		"text":      func(m *smpp.Message) { m.ShortMessage = []byte("hell") },
		"priority":  func(m *smpp.Message) { m.Priority = 1 },
		"schedule":  func(m *smpp.Message) { m.Schedule = "1" },
		"validity":  func(m *smpp.Message) { m.Validity = "1" },
		"mark":      func(m *smpp.Message) { m.TLVs.AddUint16(smpp.TagUserMessageReference, 1) },
		"reference": func(m *smpp.Message) { m.TLVs.AddCString(smpp.TagClientReference, "a") },
		"class":     func(m *smpp.Message) { m.TLVs.AddCString(smpp.TagMessageClass, "a") },
		"ports": func(m *smpp.Message) {
			m.ESMClass, m.ShortMessage = 0x40, []byte("\x06\x05\x04\x0B\x84\x23\xF0hello")
		},
		"other ports": func(m *smpp.Message) {
			m.ESMClass, m.ShortMessage = 0x40, []byte("\x06\x05\x04\x0B\x84\x23\xF1hello")
		},
		"passed on":          func(m *smpp.Message) { m.TLVs.Add(0x1403, []byte("a")) },
		"passed on twice":    func(m *smpp.Message) { m.TLVs.Add(0x1403, []byte("a")); m.TLVs.Add(0x1403, []byte("a")) },
		"other one":          func(m *smpp.Message) { m.TLVs.Add(0x1404, []byte("a")) },
		"passed on, longer":  func(m *smpp.Message) { m.TLVs.Add(0x1403, []byte("aa")) },
		"passed on, nothing": func(m *smpp.Message) { m.TLVs.Add(0x1403, nil) },
	} {
		m := base()
		change(&m)
		c, _ := m.Content()
		h := hashOf(&m, []smpp.Address{m.Dest}, c)
		if other, ok := seen[h]; ok {
			t.Errorf("%q and %q have the same hash", name, other)
		}
		seen[h] = name
	}
	m := base()
	c, _ := m.Content()
	plain := hashOf(&m, []smpp.Address{m.Dest}, c)
	m.ServiceType, m.ESMClass = "CMT", 3
	m.TLVs.AddCString(smpp.TagIdempotencyKey, "k")
	if hashOf(&m, []smpp.Address{m.Dest}, c) != plain {
		t.Error("what does not matter changes the hash")
	}
}
