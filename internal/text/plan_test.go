package text

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf16"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/postrider/postrider/internal/message"
)

func TestPlanAtTheEdges(t *testing.T) {
	rep := strings.Repeat
	for _, c := range []struct {
		name  string
		text  string
		enc   message.Encoding
		units int
		parts []int // units of each part
	}{
		{"empty", "", message.EncodingGSM7, 0, []int{0}},
		{"one", "a", message.EncodingGSM7, 1, []int{1}},
		{"160", rep("a", 160), message.EncodingGSM7, 160, []int{160}},
		{"161", rep("a", 161), message.EncodingGSM7, 161, []int{153, 8}},
		{"306", rep("a", 306), message.EncodingGSM7, 306, []int{153, 153}},
		{"307", rep("a", 307), message.EncodingGSM7, 307, []int{153, 153, 1}},
		{"160 of é", rep("é", 160), message.EncodingGSM7, 160, []int{160}},
		{"161 of é", rep("é", 161), message.EncodingGSM7, 161, []int{153, 8}},
		{"80 braces", rep("{", 80), message.EncodingGSM7, 160, []int{160}},
		{"81 braces", rep("{", 81), message.EncodingGSM7, 162, []int{152, 10}},
		{"200 braces", rep("{", 200), message.EncodingGSM7, 400, []int{152, 152, 96}},
		{"escape pair across the cut", rep("a", 152) + "€" + rep("b", 10), message.EncodingGSM7, 164, []int{152, 12}},
		{"escape pair before the cut", rep("a", 151) + "€" + rep("b", 10), message.EncodingGSM7, 163, []int{153, 10}},
		{"escape pair at the very end", rep("a", 159) + "€", message.EncodingGSM7, 161, []int{153, 8}},
		{"greek", "ΔΦΓΛΩΠΨΣΘΞ", message.EncodingGSM7, 10, []int{10}},
		{"backtick", "`", message.EncodingUCS2, 1, []int{1}},
		{"small ç", "ça va", message.EncodingUCS2, 5, []int{5}},
		{"tabulator", "a\tb", message.EncodingUCS2, 3, []int{3}},
		{"escape character", "a\x1bb", message.EncodingUCS2, 3, []int{3}},
		{"70", rep("д", 70), message.EncodingUCS2, 70, []int{70}},
		{"71", rep("д", 71), message.EncodingUCS2, 71, []int{67, 4}},
		{"134", rep("д", 134), message.EncodingUCS2, 134, []int{67, 67}},
		{"135", rep("д", 135), message.EncodingUCS2, 135, []int{67, 67, 1}},
		{"one ç makes 160 UCS-2", rep("a", 159) + "ç", message.EncodingUCS2, 160, []int{67, 67, 26}},
		{"35 emoji", rep("😀", 35), message.EncodingUCS2, 70, []int{70}},
		{"36 emoji", rep("😀", 36), message.EncodingUCS2, 72, []int{66, 6}},
		{"60 emoji", rep("😀", 60), message.EncodingUCS2, 120, []int{66, 54}},
		{"70 emoji", rep("😀", 70), message.EncodingUCS2, 140, []int{66, 66, 8}},
		{"emoji across the cut", rep("д", 66) + "😀" + rep("д", 10), message.EncodingUCS2, 78, []int{66, 12}},
		{"emoji before the cut", rep("д", 65) + "😀" + rep("д", 10), message.EncodingUCS2, 77, []int{67, 10}},
		{"emoji over the single limit", rep("д", 69) + "😀", message.EncodingUCS2, 71, []int{67, 4}},
		{"most septets", rep("a", 255*153), message.EncodingGSM7, 255 * 153, nil},
		{"most escape pairs", rep("€", 255*76), message.EncodingGSM7, 255 * 152, nil},
		{"most units", rep("д", 255*67), message.EncodingUCS2, 255 * 67, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Plan(c.text, message.EncodingAuto, false)
			if err != nil {
				t.Fatal(err)
			}
			if got.Encoding != c.enc || got.Units != c.units || got.Text != c.text {
				t.Errorf("encoding %s, %d units; want %s, %d", got.Encoding, got.Units, c.enc, c.units)
			}
			if strings.Join(got.Parts, "") != c.text {
				t.Error("the parts do not join to the text")
			}
			if c.parts == nil {
				if len(got.Parts) != MaxParts {
					t.Errorf("%d parts, want %d", len(got.Parts), MaxParts)
				}
				return
			}
			if len(got.Parts) != len(c.parts) {
				t.Fatalf("%d parts, want %d", len(got.Parts), len(c.parts))
			}
			for i, p := range got.Parts {
				if n := naiveUnits(t, p, got.Encoding); n != c.parts[i] {
					t.Errorf("part %d has %d units, want %d", i+1, n, c.parts[i])
				}
			}
		})
	}
}

func TestSplitWithWideReference(t *testing.T) {
	for _, c := range []struct {
		text  string
		enc   message.Encoding
		parts []int
	}{
		{strings.Repeat("a", 160), message.EncodingGSM7, []int{160}},
		{strings.Repeat("a", 304), message.EncodingGSM7, []int{152, 152}},
		{strings.Repeat("a", 305), message.EncodingGSM7, []int{152, 152, 1}},
		{strings.Repeat("a", 151) + strings.Repeat("^", 10), message.EncodingGSM7, []int{151, 20}},
		{strings.Repeat("д", 132), message.EncodingUCS2, []int{66, 66}},
		{strings.Repeat("😀", 36), message.EncodingUCS2, []int{66, 6}},
		{strings.Repeat("a", 133), message.EncodingUCS2, []int{66, 66, 1}},
	} {
		parts, err := Split(c.text, c.enc, true)
		if err != nil || len(parts) != len(c.parts) {
			t.Fatalf("%.8q…: %d parts, %v; want %d", c.text, len(parts), err, len(c.parts))
		}
		for i, p := range parts {
			if n := naiveUnits(t, p, c.enc); n != c.parts[i] {
				t.Errorf("%.8q… part %d has %d units, want %d", c.text, i+1, n, c.parts[i])
			}
		}
	}
	if _, err := Split("д", message.EncodingGSM7, false); message.ReasonOf(err) != message.ReasonEncodingMismatch {
		t.Errorf("Cyrillic as gsm7: %v", err)
	}
	if _, err := Split("a", message.EncodingAuto, false); message.ReasonOf(err) != message.ReasonInvalidRequest {
		t.Errorf("auto is no encoding to split in: %v", err)
	}
	if parts, err := Split("a\xff", message.EncodingUCS2, false); err != nil || parts[0] != "a\ufffd" {
		t.Errorf("invalid UTF-8: %q, %v", parts, err)
	}
}

func TestPlanByWish(t *testing.T) {
	for _, c := range []struct {
		name  string
		text  string
		want  message.Encoding
		smart bool
		enc   message.Encoding
		out   string
		err   message.Reason
	}{
		{"auto plain", "it's", "auto", false, "gsm7", "it's", ""},
		{"no wish is auto", "it's", "", false, "gsm7", "it's", ""},
		{"auto curly", "it’s", "auto", false, "ucs2", "it’s", ""},
		{"auto curly smart", "it’s", "auto", true, "gsm7", "it's", ""},
		{"auto smart, no cure", "it’s 你", "auto", true, "ucs2", "it’s 你", ""},
		{"auto smart, nothing to do", "it's {}", "auto", true, "gsm7", "it's {}", ""},
		{"gsm7 curly", "it’s", "gsm7", false, "", "", message.ReasonEncodingMismatch},
		{"gsm7 curly smart", "“it’s” — now…\u00a0`x`", "gsm7", true, "gsm7", "\"it's\" - now... 'x'", ""},
		{"gsm7 smart, no cure", "it’s 你", "gsm7", true, "", "", message.ReasonEncodingMismatch},
		{"smart leaves letters alone", "ça", "auto", true, "ucs2", "ça", ""},
		{"smart drops the unseen", "a\u200bb\ufeff\u00ad", "auto", true, "gsm7", "ab", ""},
		{"ucs2 plain", "it's", "ucs2", false, "ucs2", "it's", ""},
		{"ucs2 ignores smart", "it’s", "ucs2", true, "ucs2", "it’s", ""},
		{"unknown wish", "a", "latin1", false, "", "", message.ReasonInvalidRequest},
		{"invalid UTF-8", "a\xff\xfeb", "auto", true, "ucs2", "a\ufffdb", ""},
		{"invalid UTF-8 as gsm7", "a\xffb", "gsm7", false, "", "", message.ReasonEncodingMismatch},
		{"a part too many", strings.Repeat("a", 255*153+1), "auto", false, "", "", message.ReasonMessageTooLong},
		{"a part too many by wasted units", strings.Repeat("€", 255*76+1), "auto", false, "", "", message.ReasonMessageTooLong},
		{"far too long", strings.Repeat("д", 20000), "auto", false, "", "", message.ReasonMessageTooLong},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Plan(c.text, c.want, c.smart)
			if r := message.ReasonOf(err); r != c.err {
				t.Fatalf("reason %q (%v), want %q", r, err, c.err)
			}
			if got.Encoding != c.enc || got.Text != c.out {
				t.Errorf("%s %q, want %s %q", got.Encoding, got.Text, c.enc, c.out)
			}
		})
	}
}

func TestLookAlikesAreGSM7(t *testing.T) {
	for r, s := range lookAlikes {
		if IsGSM7(string(r)) {
			t.Errorf("%U needs no look-alike", r)
		}
		if !IsGSM7(s) {
			t.Errorf("the look-alike %q of %U is not GSM 7-bit", s, r)
		}
	}
}

func TestEncodingErrorNamesTheCharacters(t *testing.T) {
	_, err := Plan("day ’ ’ 你", message.EncodingGSM7, false)
	var e *EncodingError
	if !errors.As(err, &e) {
		t.Fatalf("%T is no *EncodingError", err)
	}
	if string(e.Runes) != "’你" || e.Count != 3 || e.First != 5 {
		t.Errorf("%q, %d, first at %d", string(e.Runes), e.Count, e.First)
	}
	if want := "encoding_mismatch: 3 characters are not in the GSM 7-bit alphabet; the first is U+2019 at character 5"; err.Error() != want {
		t.Errorf("says %q", err)
	}
	var many strings.Builder
	for r := rune(0x4E00); r < 0x4F00; r++ {
		many.WriteRune(r)
	}
	if _, err = EncodeGSM7(many.String()); !errors.As(err, &e) || len(e.Runes) != maxListedRunes || e.Count != 256 {
		t.Errorf("a long list is not bounded: %d of %d", len(e.Runes), e.Count)
	}
	if _, err = EncodeGSM7("d\u0434"); err.Error() != "encoding_mismatch: 1 character is not in the GSM 7-bit alphabet; the first is U+0434 at character 2" {
		t.Errorf("says %q", err)
	}
}

// mixed draws texts rich in characters that sit badly at a cut.
var mixed = rapid.Custom(func(t *rapid.T) string {
	var b strings.Builder
	for i, n := 0, rapid.IntRange(0, 12).Draw(t, "runs"); i < n; i++ {
		r := rapid.SampledFrom([]string{"a", "é", "{", "€", "\f", "@", "Δ", "д", "ç", "😀", "\u2019", "\uffff", "한"}).Draw(t, "char")
		b.WriteString(strings.Repeat(r, rapid.IntRange(1, 90).Draw(t, "times")))
	}
	return b.String()
})

func TestPlanProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.OneOf(mixed, rapid.String()).Draw(t, "text")
		smart := rapid.Bool().Draw(t, "smart")
		p, err := Plan(s, message.EncodingAuto, smart)
		if err != nil {
			t.Fatal(err)
		}
		if !smart && p.Text != s {
			t.Fatalf("the text changed")
		}
		if (p.Encoding == message.EncodingGSM7) != IsGSM7(p.Text) {
			t.Fatalf("%s for GSM %v", p.Encoding, IsGSM7(p.Text))
		}
		checkParts(t, p.Text, p.Parts, p.Encoding, false)
		if n := naiveUnits(t, p.Text, p.Encoding); n != p.Units {
			t.Fatalf("%d units, counted %d", p.Units, n)
		}
		wide, err := Split(p.Text, p.Encoding, true)
		if err != nil {
			t.Fatal(err)
		}
		checkParts(t, p.Text, wide, p.Encoding, true)
	})
}

type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

// checkParts encodes every part and holds it against the 140 octets of a short
// message: septets are packed, and the header is counted.
func checkParts(t fataler, s string, parts []string, enc message.Encoding, wide bool) {
	t.Helper()
	if strings.Join(parts, "") != s {
		t.Fatalf("the parts do not join to the text")
	}
	var wire []byte
	for i, p := range parts {
		if len(parts) > 1 && p == "" {
			t.Fatalf("part %d of %d is empty", i+1, len(parts))
		}
		if !utf8.ValidString(p) {
			t.Fatalf("part %d is not valid UTF-8", i+1)
		}
		var header []byte
		if len(parts) > 1 {
			header = ConcatUDH(uint16(0x1234), wide, byte(len(parts)), byte(i+1))
		}
		var body []byte
		if enc == message.EncodingGSM7 {
			b, err := EncodeGSM7(p)
			if err != nil {
				t.Fatalf("part %d: %v", i+1, err)
			}
			if len(b) > 0 && b[len(b)-1] == esc {
				t.Fatalf("part %d ends in an escape", i+1)
			}
			wire = append(wire, b...)
			bits := FillBits(len(header)) + 7*len(b)
			if header == nil {
				bits = 7 * len(b)
			}
			body = make([]byte, (bits+7)/8)
		} else {
			body = EncodeUCS2(p)
			wire = append(wire, body...)
			if n := len(body); n >= 2 && body[n-2] >= 0xD8 && body[n-2] < 0xDC {
				t.Fatalf("part %d ends in half a pair", i+1)
			}
		}
		if len(header)+len(body) > 140 {
			t.Fatalf("part %d has %d octets", i+1, len(header)+len(body))
		}
	}
	back := ""
	if enc == message.EncodingGSM7 {
		back = DecodeGSM7(wire)
	} else {
		back = DecodeUCS2(wire)
	}
	if back != s {
		t.Fatalf("the octets decode to another text")
	}
}

// naiveUnits counts in a way that shares nothing with the package: by strings
// of characters, and by the standard library's UTF-16.
func naiveUnits(t fataler, s string, enc message.Encoding) int {
	t.Helper()
	if enc == message.EncodingUCS2 {
		return len(utf16.Encode([]rune(s)))
	}
	const one = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?" +
		"¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
	n := 0
	for _, r := range s {
		switch {
		case strings.ContainsRune(one, r):
			n++
		case strings.ContainsRune("\f^{}\\[~]|€", r):
			n += 2
		default:
			t.Fatalf("%q is not GSM 7-bit", r)
		}
	}
	return n
}

func FuzzPlan(f *testing.F) {
	f.Add("hello", true)
	f.Add(strings.Repeat("{", 81), false)
	f.Add(strings.Repeat("😀", 36), false)
	f.Add("a\xff’", true)
	f.Fuzz(func(t *testing.T, s string, smart bool) {
		p, err := Plan(s, message.EncodingAuto, smart)
		if err != nil {
			if message.ReasonOf(err) != message.ReasonMessageTooLong {
				t.Fatal(err)
			}
			return
		}
		checkParts(t, p.Text, p.Parts, p.Encoding, false)
		if again, err := Plan(p.Text, p.Encoding, false); err != nil || len(again.Parts) != len(p.Parts) {
			t.Fatalf("a planned text plans differently: %v", err)
		}
	})
}

func BenchmarkPlan(b *testing.B) {
	for _, c := range []struct{ name, text string }{
		{"ascii160", strings.Repeat("abcd ", 32)},
		{"latin160", strings.Repeat("abcé ", 32)},
		{"ascii459", strings.Repeat("abc", 153)},
		{"emoji70", strings.Repeat("😀", 70)},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Plan(c.text, message.EncodingAuto, false); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
