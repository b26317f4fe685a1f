package text

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
	"pgregory.net/rapid"

	"github.com/postrider/postrider/internal/fuzztest"
	"github.com/postrider/postrider/internal/message"
)

func TestEncodeGSM7(t *testing.T) {
	for _, c := range []struct{ text, wire string }{
		{"", ""},
		{"hello", "68656c6c6f"},
		{"@£$¥èéùìòÇ\nØø\rÅå", "000102030405060708090a0b0c0d0e0f"},
		{"Δ_ΦΓΛΩΠΨΣΘΞÆæßÉ", "101112131415161718191a1c1d1e1f"},
		{"¤¡ÄÖÑÜ§¿äöñüà", "24405b5c5d5e5f607b7c7d7e7f"},
		{"\f^{}\\[~]|€", "1b0a1b141b281b291b2f1b3c1b3d1b3e1b401b65"},
	} {
		got, err := EncodeGSM7(c.text)
		if err != nil || hex.EncodeToString(got) != c.wire {
			t.Errorf("EncodeGSM7(%q) = %x, %v; want %s", c.text, got, err, c.wire)
		}
		if back := DecodeGSM7(got); back != c.text {
			t.Errorf("DecodeGSM7(%x) = %q, want %q", got, back, c.text)
		}
	}
}

func TestDecodeGSM7IsLenient(t *testing.T) {
	for _, c := range []struct{ wire, text string }{
		{"1b", " "},                 // lone escape at the end
		{"411b", "A "},              //
		{"1b41", "A"},               // unknown pair: the basic character
		{"1b00", "@"},               //
		{"1b1b", " "},               // reserved for another table: a space
		{"1b1b65", " e"},            //
		{"80ff41", "\ufffd\ufffdA"}, // no septets
		{"1b80", " \ufffd"},         //
	} {
		in, _ := hex.DecodeString(c.wire)
		if got := DecodeGSM7(in); got != c.text {
			t.Errorf("DecodeGSM7(%s) = %q, want %q", c.wire, got, c.text)
		}
	}
}

func TestUCS2(t *testing.T) {
	for _, c := range []struct{ text, wire string }{
		{"", ""},
		{"aд", "00610434"},
		{"😀", "d83dde00"},
		{"\uffff\U00010000\U0010ffff", "ffffd800dc00dbffdfff"},
	} {
		if got := EncodeUCS2(c.text); hex.EncodeToString(got) != c.wire {
			t.Errorf("EncodeUCS2(%q) = %x", c.text, got)
		}
		in, _ := hex.DecodeString(c.wire)
		if got := DecodeUCS2(in); got != c.text {
			t.Errorf("DecodeUCS2(%s) = %q", c.wire, got)
		}
	}
	for _, c := range []struct{ wire, text string }{
		{"00", "\ufffd"},
		{"006100", "a\ufffd"},
		{"d83d", "\ufffd"},
		{"d83d0061", "\ufffda"},
		{"de00d83d", "\ufffd\ufffd"},
		{"d83dd83dde00", "\ufffd😀"},
	} {
		in, _ := hex.DecodeString(c.wire)
		if got := DecodeUCS2(in); got != c.text {
			t.Errorf("DecodeUCS2(%s) = %q, want %q", c.wire, got, c.text)
		}
	}
	if got := EncodeUCS2("\xff"); hex.EncodeToString(got) != "fffd" {
		t.Errorf("invalid UTF-8 gives %x", got)
	}
}

func TestUCS2AgreesWithTheStandardLibrary(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := rapid.SliceOf(rapid.Byte()).Draw(t, "octets")
		var u []uint16
		for i := 0; i+1 < len(b); i += 2 {
			u = append(u, uint16(b[i])<<8|uint16(b[i+1]))
		}
		want := string(utf16.Decode(u))
		if len(b)%2 == 1 {
			want += "\ufffd"
		}
		if got := DecodeUCS2(b); got != want {
			t.Fatalf("%q, want %q", got, want)
		}
	})
}

func TestPackVectors(t *testing.T) {
	for _, c := range []struct {
		text   string
		fill   int
		packed string
	}{
		{"hello", 0, "e8329bfd06"},
		{"hellohello", 0, "e8329bfd4697d9ec37"}, // the example of every SMS textbook
		{"AB", 1, "8242"},
		{"", 0, ""},
		{"@", 0, "00"},
	} {
		septets, err := EncodeGSM7(c.text)
		if err != nil {
			t.Fatal(err)
		}
		got := Pack(septets, c.fill)
		if hex.EncodeToString(got) != c.packed {
			t.Errorf("Pack(%q, %d) = %x, want %s", c.text, c.fill, got, c.packed)
		}
		if back := Unpack(got, c.fill, len(septets)); !bytes.Equal(back, septets) {
			t.Errorf("Unpack(%x) = %x", got, back)
		}
	}
}

func TestPackLeavesNoAt(t *testing.T) {
	for n := 1; n <= 32; n++ {
		text := strings.Repeat("x", n)
		septets, _ := EncodeGSM7(text)
		for fill := range 7 {
			packed := Pack(septets, fill)
			if got := DecodeGSM7(Unpack(packed, fill, -1)); got != text {
				t.Errorf("%d septets after %d bits come back as %q", n, fill, got)
			}
			// The same text from a peer that pads with zero bits.
			zero := append([]byte(nil), packed...)
			if spare := len(packed)*8 - fill - 7*n; spare == 7 {
				zero[len(zero)-1] &= byte(1)
				if fill+7*n > 0 && (fill+7*n)%8 == 1 && packed[len(packed)-1]>>1 != cr {
					t.Errorf("%d septets after %d bits are not padded with CR: %x", n, fill, packed)
				}
			}
			if got := DecodeGSM7(Unpack(zero, fill, -1)); got != text {
				t.Errorf("%d septets after %d bits, zero padded, come back as %q", n, fill, got)
			}
		}
	}
}

func TestFillBits(t *testing.T) {
	for n, want := range []int{0, 6, 5, 4, 3, 2, 1, 0, 6} {
		if got := FillBits(n); got != want {
			t.Errorf("FillBits(%d) = %d, want %d", n, got, want)
		}
	}
}

func TestPackProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		septets := rapid.SliceOfN(rapid.ByteRange(0, 0x7F), 0, 200).Draw(t, "septets")
		fill := rapid.IntRange(0, 6).Draw(t, "fill")
		packed := Pack(septets, fill)
		if got := Unpack(packed, fill, len(septets)); !bytes.Equal(got, septets) {
			t.Fatalf("%x came back as %x", septets, got)
		}
		// An independent packer: a string of bits, low bit first.
		var bits strings.Builder
		bits.WriteString(strings.Repeat("0", fill))
		for _, s := range septets {
			for k := range 7 {
				bits.WriteByte('0' + s>>k&1)
			}
		}
		want := bits.String()
		for i := range want {
			if got := '0' + packed[i/8]>>(i%8)&1; got != want[i] {
				t.Fatalf("bit %d is %c", i, got)
			}
		}
	})
}

func TestConcatUDH(t *testing.T) {
	for _, c := range []struct {
		ref        uint16
		wide       bool
		total, seq byte
		wire       string
	}{
		{0x12AB, false, 3, 2, "050003ab0302"},
		{0x12AB, true, 3, 2, "06080412ab0302"},
		{0, false, 255, 255, "05000300ffff"},
	} {
		got := ConcatUDH(c.ref, c.wide, c.total, c.seq)
		if hex.EncodeToString(got) != c.wire {
			t.Errorf("ConcatUDH = %x, want %s", got, c.wire)
		}
		ref := c.ref
		if !c.wide {
			ref &= 0xFF
		}
		u, n, err := ParseUDH(append(got, "text"...))
		if err != nil || n != len(got) || u.Ref != ref || u.Wide != c.wide || u.Total != c.total || u.Seq != c.seq || u.Others != nil {
			t.Errorf("ParseUDH(%x) = %+v, %d, %v", got, u, n, err)
		}
	}
}

func TestParseUDH(t *testing.T) {
	for _, c := range []struct {
		name   string
		body   string
		want   UDH
		n      int
		others string // ids of the other elements
		fails  bool
	}{
		{"empty body", "", UDH{}, 0, "", true},
		{"header beyond the body", "050003ab03", UDH{}, 0, "", true},
		{"length alone beyond", "ff", UDH{}, 0, "", true},
		{"empty header", "00", UDH{}, 1, "", false},
		{"empty header and text", "0041", UDH{}, 1, "", false},
		{"total 0", "050003ab000141", UDH{}, 6, "", false},
		{"seq 0", "050003ab0300", UDH{}, 6, "", false},
		{"seq above total", "050003ab0304", UDH{}, 6, "", false},
		{"one of one", "050003ab0101", UDH{Ref: 0xAB, Total: 1, Seq: 1}, 6, "", false},
		{"wrong length of 00", "0600040cab0302", UDH{}, 7, "", false},
		{"wrong length of 08", "05080312ab03", UDH{}, 6, "", false},
		{"ports before", "0b0504158a0000" + "0003ab0302", UDH{Ref: 0xAB, Total: 3, Seq: 2}, 12, "05", false},
		{"ports and language after", "0e0003ab0302" + "0504158a0000" + "240101", UDH{Ref: 0xAB, Total: 3, Seq: 2}, 15, "0524", false},
		{"the last sensible one counts", "0a0003010201" + "0003020202", UDH{Ref: 2, Total: 2, Seq: 2}, 11, "", false},
		{"a senseless one after does not", "0a0003010201" + "0003020200", UDH{Ref: 1, Total: 2, Seq: 1}, 11, "", false},
		{"wide after narrow", "0b0003010201" + "080412340202", UDH{Ref: 0x1234, Total: 2, Seq: 2, Wide: true}, 12, "", false},
		{"last element too long", "070003ab03020104", UDH{}, 8, "", false},
		{"half an element", "060003ab030201", UDH{}, 7, "", false},
		{"element without data", "020400", UDH{}, 3, "04", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			in, err := hex.DecodeString(c.body)
			if err != nil {
				t.Fatal(err)
			}
			u, n, err := ParseUDH(in)
			if errors.Is(err, ErrUDH) != c.fails || (err != nil) != c.fails {
				t.Fatalf("error %v", err)
			}
			ids := ""
			for _, e := range u.Others {
				ids += hex.EncodeToString([]byte{e.ID})
			}
			u.Others = nil
			if n != c.n || ids != c.others || u.Ref != c.want.Ref || u.Total != c.want.Total || u.Seq != c.want.Seq || u.Wide != c.want.Wide {
				t.Errorf("%+v, n %d, others %s", u, n, ids)
			}
			if u.Concatenated() != (c.want.Total > 0) {
				t.Error("Concatenated is wrong")
			}
		})
	}
	u, _, _ := ParseUDH([]byte{6, 5, 4, 0x15, 0x8A, 0, 1, 'x'})
	if len(u.Others) != 1 || hex.EncodeToString(u.Others[0].Data) != "158a0001" {
		t.Errorf("the data of an unknown element is not kept: %+v", u.Others)
	}
}

func FuzzParseUDH(f *testing.F) {
	f.Add([]byte{5, 0, 3, 1, 2, 1, 'x'})
	f.Add([]byte{11, 5, 4, 1, 2, 3, 4, 0, 3, 1, 2, 1})
	// Headers of no length, longer than the message, of elements that are longer
	// than the header, doubled, or of no use.
	for _, s := range []string{"", "00", "0041", "ff", "ff41", "05", "0500", "0500ff010201", "050003010200", "050003010003", "050003000101", "0608040001020141",
		"060804000102", "0a00030102010003020201", "0b0003010201080400020201", "04000201ff", "0400030102", "020000", "01ff", "8c" + strings.Repeat("0000", 70)} {
		b, err := hex.DecodeString(s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var u UDH
		var n int
		var err error
		fuzztest.Within(t, 64*len(b)+16<<10, func() { u, n, err = ParseUDH(b) })
		if err != nil {
			if n != 0 || u.Concatenated() {
				t.Fatal("an error with a result")
			}
			return
		}
		if n < 1 || n > len(b) {
			t.Fatalf("header of %d in %d", n, len(b))
		}
		if u.Concatenated() && (u.Seq == 0 || u.Seq > u.Total) {
			t.Fatalf("senseless: %+v", u)
		}
	})
}

func TestDecodeByDataCoding(t *testing.T) {
	for _, c := range []struct {
		dc       byte
		alphabet string
		body     string
		text     string
		ok       bool
	}{
		{0, "", "00411b65", "@A€", true},
		{0, AlphabetGSM7, "00", "@", true},
		{0, AlphabetLatin1, "40e9", "@é", true},
		{0, AlphabetASCII, "40e9", "@\ufffd", true},
		{0, "ebcdic", "40", "", false},
		{1, "", "40e9", "@\ufffd", true},
		{2, "", "40", "", false},
		{3, "", "40e9ff", "@éÿ", true},
		{4, "", "40", "", false},
		{5, "", "40", "", false},
		{6, "", "b0f0f1fd", "А№ё§", true},
		{7, "", "e0faaa", "את×", true},
		{8, "", "0434d83dde00", "д😀", true},
		{8, "", "00000434", "д", true},
		{1, "", "414200", "AB", true},
		{9, "", "40", "", false},
		{10, "", "40", "", false},
		{13, "", "40", "", false},
		{14, "", "40", "", false},
		{0x10, AlphabetLatin1, "00", "@", true},
		{0x18, "", "0434", "д", true},
		{0x11, AlphabetLatin1, "00", "@", true},
		{0x14, "", "00", "", false},
		{0x1B, "", "0434", "д", true},
		{0xC0, "", "00", "@", true},
		{0xD8, "", "00", "@", true},
		{0xE0, "", "0434", "д", true},
		{0xF0, "", "00", "@", true},
		{0xF3, "", "00", "@", true},
		{0xF4, "", "00", "", false},
		{0xF5, "", "00", "", false},
	} {
		in, _ := hex.DecodeString(c.body)
		if got, ok := Decode(c.dc, c.alphabet, in); got != c.text || ok != c.ok {
			t.Errorf("Decode(%#x, %q, %s) = %q, %v; want %q, %v", c.dc, c.alphabet, c.body, got, ok, c.text, c.ok)
		}
	}
}

func TestTablesAgreeWithCharmap(t *testing.T) {
	for dc, m := range map[byte]*charmap.Charmap{3: charmap.ISO8859_1, 6: charmap.ISO8859_5, 7: charmap.ISO8859_8} {
		for c := 1; c < 256; c++ {
			got, ok := Decode(dc, "", []byte{byte(c)})
			if want := string(m.DecodeByte(byte(c))); !ok || got != want {
				t.Errorf("data_coding %d, octet %#x: %q, want %q", dc, c, got, want)
			}
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(byte(0), []byte("hello\x1b"))
	f.Add(byte(8), []byte{0xD8, 0x3D, 0xDE})
	f.Add(byte(0), []byte{0x80, 0xFF, 0x1B, 0x1B, 0x1B, 0x41})
	f.Add(byte(5), []byte("x"))
	f.Add(byte(0xF1), []byte{0x1B})
	f.Fuzz(func(t *testing.T, dc byte, b []byte) {
		var s string
		var ok bool
		fuzztest.Within(t, 32*len(b)+16<<10, func() { s, ok = Decode(dc, AlphabetGSM7, b) })
		if !utf8.ValidString(s) || strings.Contains(s, "\x00") {
			t.Fatal("not text that can be stored")
		}
		if !ok && s != "" {
			t.Fatal("text without ok")
		}
		if dc == 0 && !strings.Contains(s, "\ufffd") {
			if back, err := EncodeGSM7(s); err != nil || len(back) > len(b) || DecodeGSM7(back) != s {
				t.Fatalf("%x decodes to what encodes as %x (%v)", b, back, err)
			}
		}
		_ = Unpack(b, int(dc)%7, -1)
		_ = Unpack(b, int(dc)%7, int(dc))
	})
}

func TestIsGSM7(t *testing.T) {
	for s, want := range map[string]bool{"": true, "hello €": true, "a\xff": false, "д": false, "é\x1b": false, "\x00": false, "`": false} {
		if IsGSM7(s) != want {
			t.Errorf("IsGSM7(%q) = %v", s, !want)
		}
	}
	if _, err := EncodeGSM7("д"); message.ReasonOf(err) != message.ReasonEncodingMismatch {
		t.Errorf("%v", err)
	}
}
