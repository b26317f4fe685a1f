package text

import (
	"bytes"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/postrider/postrider/internal/message"
)

const (
	portsElement    = "\x05\x04\x0B\x84\x23\xF0" // 16-bit ports of a WAP push
	nationalElement = "\x24\x01\x01"             // Turkish single shift
)

func TestCodings(t *testing.T) {
	for c := range 256 {
		coding := byte(c)
		binary := coding == 2 || coding == 4 || coding >= 0xF4 && coding <= 0xF7
		ucs2 := coding == 8 || coding >= 0x18 && coding <= 0x1B
		var class byte
		switch {
		case coding >= 0x10 && coding <= 0x13, coding >= 0x18 && coding <= 0x1B, coding >= 0xF0 && coding <= 0xF3:
			class = coding
		case coding >= 0xF8 && coding <= 0xFB:
			class = coding - 8
		}
		if IsBinary(coding) != binary || IsUCS2(coding) != ucs2 || ClassOf(coding) != class {
			t.Errorf("%#x: binary %v, ucs2 %v, class %#x", c, IsBinary(coding), IsUCS2(coding), ClassOf(coding))
		}
	}
}

// The table of the fact sheet, and what a header of its own leaves.
func TestSingleRoom(t *testing.T) {
	for _, c := range []struct {
		enc      message.Encoding
		elements int
		want     int
	}{
		{message.EncodingGSM7, 0, SingleSeptets}, {message.EncodingUCS2, 0, SingleUnits}, {message.EncodingBinary, 0, SingleOctets},
		{message.EncodingGSM7, 5, PartSeptets}, {message.EncodingGSM7, 6, WidePartSeptets}, {message.EncodingUCS2, 5, PartUnits}, {message.EncodingUCS2, 6, WidePartUnits},
		{message.EncodingBinary, 5, PartOctets}, {message.EncodingBinary, 6, WidePartOctets}, {message.EncodingGSM7, 3, 155}, {message.EncodingBinary, 139, 0},
	} {
		if got := SingleRoom(c.enc, c.elements); got != c.want {
			t.Errorf("%s beside %d: %d, want %d", c.enc, c.elements, got, c.want)
		}
	}
	if SingleRoom(message.EncodingBinary, 200) > 0 {
		t.Error("room beside a header that does not fit")
	}
}

func TestSplitOctets(t *testing.T) {
	for _, c := range []struct {
		octets int
		coding byte
		header string
		wide   bool
		want   int // parts; 0: too long
	}{
		{0, 4, portsElement, false, 1}, {140, 4, "", false, 1}, {141, 4, "", false, 2}, {268, 2, "", false, 2}, {269, 0xF4, "", false, 3},
		{266, 4, "", true, 2}, {267, 4, "", true, 3}, {255 * 134, 4, "", false, 255}, {255*134 + 1, 4, "", false, 0}, {255*133 + 1, 4, "", true, 0},
		{133, 4, portsElement, false, 1}, {134, 4, portsElement, false, 2}, {256, 4, portsElement, false, 2}, {257, 4, portsElement, false, 3}, {255, 4, portsElement, true, 3},
		{137, 4, "\x70\x00", false, 1}, {138, 4, "\x70\x00", false, 0}, // what it means in several parts we do not know
		{155, 0, nationalElement, false, 1}, {156, 0, nationalElement, false, 0}, {155, 0xF1, nationalElement, false, 1}, {136, 4, nationalElement, false, 1}, {137, 4, nationalElement, false, 0},
		{1, 4, strings.Repeat("\x04\x02\x00\x00", 34), false, 1}, {4, 4, strings.Repeat("\x04\x02\x00\x00", 34), false, 0},
	} {
		parts, err := SplitOctets(strings.Repeat("x", c.octets), c.coding, []byte(c.header), c.wide)
		if len(parts) != c.want || (err == nil) != (c.want > 0) || err != nil && message.ReasonOf(err) != message.ReasonMessageTooLong {
			t.Errorf("%+v: %d parts, %v", c, len(parts), err)
		}
	}
}

// Joined, the parts are the octets; with its header none is over a short message.
func TestSplitOctetsProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		octets := string(rapid.SliceOfN(rapid.Byte(), 0, 2000).Draw(t, "octets"))
		header := rapid.SampledFrom([]string{"", portsElement, "\x04\x02\x01\x02", nationalElement, "\x70\x00"}).Draw(t, "header")
		wide := rapid.Bool().Draw(t, "wide")
		parts, err := SplitOctets(octets, 4, []byte(header), wide)
		if err != nil {
			if len(octets)+1+len(header) <= SingleOctets || OnlyPorts([]byte(header)) {
				t.Fatal(err)
			}
			return
		}
		if strings.Join(parts, "") != octets {
			t.Fatal("the octets have changed")
		}
		for i, p := range parts {
			n := len(p) + len(HeaderOf(1, byte(len(parts)), byte(i+1), []byte(header)))
			if wide && len(parts) > 1 {
				n++
			}
			if n > SingleOctets || i < len(parts)-1 && n != SingleOctets {
				t.Fatalf("part %d has %d octets with its header", i+1, n)
			}
		}
	})
}

func TestPlanBeside(t *testing.T) {
	smart := "\u201cquoted\u201d"
	for _, c := range []struct {
		text   string
		want   message.Encoding
		header int
		enc    message.Encoding // empty: refused
		reason message.Reason
	}{
		{"", message.EncodingAuto, 6, message.EncodingGSM7, ""},
		{strings.Repeat("a", 152), "", 6, message.EncodingGSM7, ""},
		{strings.Repeat("a", 153), "", 6, "", message.ReasonMessageTooLong},
		{strings.Repeat("{", 76), "", 6, message.EncodingGSM7, ""},
		{strings.Repeat("{", 77), "", 6, "", message.ReasonMessageTooLong},
		{strings.Repeat("a", 66), message.EncodingUCS2, 6, message.EncodingUCS2, ""},
		{strings.Repeat("a", 67), message.EncodingUCS2, 6, "", message.ReasonMessageTooLong},
		{strings.Repeat("a", 500), "", 6, "", message.ReasonMessageTooLong},
		{"a", "", 140, "", message.ReasonMessageTooLong},
		{smart, message.EncodingAuto, 6, message.EncodingUCS2, ""},
		{"\u6f22", message.EncodingGSM7, 6, "", message.ReasonEncodingMismatch},
	} {
		l, err := PlanBeside(c.text, c.want, make([]byte, c.header))
		if c.enc == "" {
			if message.ReasonOf(err) != c.reason {
				t.Errorf("%q beside %d: %v", c.text, c.header, err)
			}
			continue
		}
		if err != nil || l.Encoding != c.enc || l.Text != c.text || len(l.Parts) != 1 {
			t.Errorf("%q beside %d: %+v, %v", c.text, c.header, l, err)
		}
	}
}

func TestElements(t *testing.T) {
	for _, c := range []struct {
		header          string // without the length
		elements        string
		ports, national bool
	}{
		{"", "", true, false},
		{"\x00\x03\x07\x02\x01", "", true, false},
		{portsElement, portsElement, true, false},
		{"\x00\x03\x07\x02\x01" + portsElement, portsElement, true, false},
		{portsElement + "\x08\x04\x00\x07\x02\x01" + "\x04\x02\x01\x02", portsElement + "\x04\x02\x01\x02", true, false},
		{nationalElement, nationalElement, false, true},
		{portsElement + "\x25\x01\x03", portsElement + "\x25\x01\x03", false, true},
		{"\x01\x02\x80\x05", "\x01\x02\x80\x05", false, false}, // five voice mails
		{portsElement + "\x70\x00", portsElement + "\x70\x00", false, false},
	} {
		u, n, err := ParseUDH(append([]byte{byte(len(c.header))}, c.header...))
		e := u.Elements()
		if err != nil || n != len(c.header)+1 || string(e) != c.elements || (e == nil) != (c.elements == "") || OnlyPorts(e) != c.ports || NeedsNational(e) != c.national {
			t.Errorf("%x: %x, ports %v, national %v, %v", c.header, e, OnlyPorts(e), NeedsNational(e), err)
		}
	}
	for _, broken := range []string{"\x05", "\x05\x04\x00", "\x24\x02\x00"} {
		if OnlyPorts([]byte(broken)) {
			t.Errorf("%x is taken for ports", broken)
		}
	}
}

func TestHeaderOf(t *testing.T) {
	for _, c := range []struct {
		total    byte
		elements string
		want     string
	}{
		{0, "", ""}, {1, "", ""}, {1, portsElement, "\x06" + portsElement}, {3, "", "\x05\x00\x03\x07\x03\x02"}, {3, portsElement, "\x0B\x00\x03\x07\x03\x02" + portsElement},
	} {
		got := HeaderOf(0x0107, c.total, 2, []byte(c.elements))
		if !bytes.Equal(got, []byte(c.want)) {
			t.Errorf("%d parts, %x: %x", c.total, c.elements, got)
		}
		if len(got) > 0 {
			u, n, err := ParseUDH(got)
			if err != nil || n != len(got) || string(u.Elements()) != c.elements || c.total > 1 && (u.Total != c.total || u.Seq != 2 || u.Ref != 7) {
				t.Errorf("%x reads as %+v, %v", got, u, err)
			}
		}
	}
}
