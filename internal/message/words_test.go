package message

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestReceiptWords(t *testing.T) {
	for _, c := range []struct {
		word  string
		want  ReceiptState
		known bool
		part  PartState // empty: decides nothing
	}{
		{"DELIVRD", ReceiptDelivered, true, PartDelivered},
		{"delivrd", ReceiptDelivered, true, PartDelivered},
		{" Delivered ", ReceiptDelivered, true, PartDelivered},
		{"EXPIRED", ReceiptExpired, true, PartExpired},
		{"DELETED", ReceiptDeleted, true, PartUndelivered},
		{"UNDELIV", ReceiptUndeliverable, true, PartUndelivered},
		{"UNDELIVERABLE", ReceiptUndeliverable, true, PartUndelivered},
		{"REJECTD", ReceiptRejected, true, PartUndelivered},
		{"REJECTED", ReceiptRejected, true, PartUndelivered},
		{"ACCEPTD", ReceiptAccepted, true, ""},
		{"ACCEPTED", ReceiptAccepted, true, ""},
		{"ENROUTE", ReceiptEnroute, true, ""},
		{"UNKNOWN", ReceiptUnknown, true, ""},
		{"", ReceiptUnknown, false, ""},
		{"SKIPPED", ReceiptUnknown, false, ""},
		{"DELIV", ReceiptUnknown, false, ""},
		{"DELIVRD!", ReceiptUnknown, false, ""},
	} {
		got, known := ParseReceiptState(c.word)
		if got != c.want || known != c.known {
			t.Errorf("ParseReceiptState(%q) = %s, %v; want %s, %v", c.word, got, known, c.want, c.known)
		}
		part, decides := got.PartState()
		if part != c.part || decides != (c.part != "") {
			t.Errorf("%s.PartState() = %q, %v", got, part, decides)
		}
		if decides && !part.Settled() {
			t.Errorf("%s is not settled", part)
		}
	}
}

// The numbers are those of message_state, SMPP 3.4 §5.2.28.
func TestReceiptNumbers(t *testing.T) {
	words := []ReceiptState{"", "ENROUTE", "DELIVRD", "EXPIRED", "DELETED", "UNDELIV", "ACCEPTD", "UNKNOWN", "REJECTD"}
	for n := 1; n < len(words); n++ {
		if got := ReceiptStateOf(byte(n)); got != words[n] {
			t.Errorf("ReceiptStateOf(%d) = %s, want %s", n, got, words[n])
		}
		if got := words[n].Number(); got != byte(n) {
			t.Errorf("%s.Number() = %d, want %d", words[n], got, n)
		}
		if got, ok := ParseReceiptState(string(words[n])); !ok || got != words[n] {
			t.Errorf("%s does not parse as itself", words[n])
		}
	}
	for _, n := range []byte{0, 9, 10, 255} {
		if got := ReceiptStateOf(n); got != ReceiptUnknown {
			t.Errorf("ReceiptStateOf(%d) = %s", n, got)
		}
	}
}

func TestNumberOfAnOddWord(t *testing.T) {
	for _, s := range []ReceiptState{"", "SKIPPED", "delivrd"} {
		if got := s.Number(); got != 7 {
			t.Errorf("%q.Number() = %d, want 7", s, got)
		}
	}
}

func TestPartStates(t *testing.T) {
	for _, c := range []struct {
		state   PartState
		status  Status
		settled bool
	}{
		{PartSending, StatusSending, false},
		{PartSubmitted, StatusSent, false},
		{PartRefused, StatusFailed, false},
		{PartInDoubt, StatusInDoubt, false},
		{PartDelivered, StatusDelivered, true},
		{PartUndelivered, StatusUndelivered, true},
		{PartExpired, StatusExpired, true},
		{"", StatusAccepted, false},
	} {
		if c.state.Status() != c.status || c.state.Settled() != c.settled {
			t.Errorf("%q: %s, settled %v", c.state, c.state.Status(), c.state.Settled())
		}
	}
}

func TestNormalizeVendorID(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"", ""},
		{"abc", "abc"},
		{"ABCDEF01", "abcdef01"},
		{" 12 ", "12"},
		{"000123", "123"},
		{"0", "0"},
		{"0000", "0"},
		{"123000", "123000"},
		{"12\x00", "12"},
		{"00aF\x00\x00", "af"},
		{"\x00", ""},
		{"SM0123456789abcdef0123456789abcdef", "sm0123456789abcdef0123456789abcdef"},
		{"0x1F", "x1f"},
	} {
		if got := NormalizeVendorID(c.in); got != c.want {
			t.Errorf("NormalizeVendorID(%q) = %q, want %q", c.in, got, c.want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		id := rapid.StringMatching(`[0-9A-Za-z-]{1,40}`).Draw(t, "id")
		once := NormalizeVendorID(id)
		if once == "" || NormalizeVendorID(once) != once {
			t.Fatalf("%q gives %q, which gives %q", id, once, NormalizeVendorID(once))
		}
		padded := "00" + strings.ToUpper(id) + "\x00"
		if id[0] == '0' {
			padded = "0" + padded
		}
		if got := NormalizeVendorID(padded); got != once {
			t.Fatalf("%q gives %q, %q gives %q", id, once, padded, got)
		}
	})
}

// Fixed-length fields come padded with blanks and NULs in either order.
func TestNormalizeVendorIDMixedPadding(t *testing.T) {
	for _, in := range []string{"12 \x00", "12\x00 ", "\x00 12", " \x0012"} {
		if got := NormalizeVendorID(in); got != "12" {
			t.Errorf("NormalizeVendorID(%q) = %q, want 12", in, got)
		}
	}
}

func TestMicros(t *testing.T) {
	for _, c := range []struct {
		in   Micros
		want string
	}{
		{0, "0.00"},
		{1, "0.000001"},
		{10, "0.00001"},
		{4500, "0.0045"},
		{7500, "0.0075"},
		{10_000, "0.01"},
		{100_000, "0.10"},
		{120_000, "0.12"},
		{123_456, "0.123456"},
		{1_000_000, "1.00"},
		{12_000_000, "12.00"},
		{-4500, "-0.0045"},
		{-1_500_000, "-1.50"},
		{1234_567_890, "1234.56789"},
		{1<<63 - 1, "9223372036854.775807"},
	} {
		if got := c.in.String(); got != c.want {
			t.Errorf("Micros(%d) = %q, want %q", int64(c.in), got, c.want)
		}
	}
}

func TestParseID(t *testing.T) {
	id := NewID()
	bare := strings.ReplaceAll(id.String(), "-", "")
	if Hex32(id) != bare {
		t.Errorf("Hex32 = %q, want %q", Hex32(id), bare)
	}
	for _, s := range []string{id.String(), bare, strings.ToUpper(id.String()), strings.ToUpper(bare)} {
		if got, err := ParseID(s); err != nil || got != id {
			t.Errorf("ParseID(%q) = %v, %v", s, got, err)
		}
	}
	for _, s := range []string{
		"", "1", "{" + id.String() + "}", "urn:uuid:" + id.String(), bare[:31], bare + "0", bare[:31] + "g",
		id.String()[:35] + "-", strings.Repeat("-", 36), " " + bare[:31], strings.Repeat("é", 16), strings.Repeat("é", 18),
		"01a1ffbf86767d359c440f6f2f1b7e21----", "{1a1ffbf86767d359c440f6f2f1b7e2}", strings.Repeat("x", 1000),
	} {
		got, err := ParseID(s)
		if err == nil || got != (ID{}) {
			t.Errorf("ParseID(%q) = %v, no error", s, got)
		} else if len(err.Error()) > 200 {
			t.Errorf("the error repeats %d octets of input", len(s))
		}
	}
}

func FuzzParseID(f *testing.F) {
	f.Add("01a1ffbf-8676-7d35-9c44-0f6f2f1b7e21")
	f.Add("01a1ffbf86767d359c440f6f2f1b7e21")
	f.Fuzz(func(t *testing.T, s string) {
		id, err := ParseID(s)
		if err == nil && !strings.EqualFold(strings.ReplaceAll(s, "-", ""), Hex32(id)) {
			t.Fatalf("%q is read as %s", s, id)
		}
	})
}

func TestIDsAreInOrder(t *testing.T) {
	last := NewID()
	if last.Version() != 7 {
		t.Errorf("version %d", last.Version())
	}
	for range 10_000 {
		id := NewID()
		if bytes.Compare(id[:], last[:]) <= 0 {
			t.Fatalf("%s does not come after %s", id, last)
		}
		last = id
	}
}

func TestClasses(t *testing.T) {
	for _, c := range []struct {
		class    Class
		valid    bool
		priority int
		validity time.Duration
	}{
		{ClassOTP, true, 1, 600 * time.Second},
		{ClassConversation, true, 3, 14_400 * time.Second},
		{ClassBulk, true, 5, 86_400 * time.Second},
		{"", false, 3, 14_400 * time.Second},
	} {
		if c.class.Valid() != c.valid || c.class.Priority() != c.priority || c.class.Validity() != c.validity {
			t.Errorf("%q: %v, %d, %v", c.class, c.class.Valid(), c.class.Priority(), c.class.Validity())
		}
		if v := c.class.Validity(); v < MinValidity || v > MaxValidity {
			t.Errorf("%q: its validity is out of range", c.class)
		}
	}
	if !AtMostOnce.Valid() || !AtLeastOnce.Valid() || Delivery("").Valid() || Delivery("exactly_once").Valid() {
		t.Error("Delivery.Valid is wrong")
	}
}

func TestProgressDecided(t *testing.T) {
	for _, c := range []struct {
		p    Progress
		want bool
	}{
		{Progress{Segments: 1}, false},
		{Progress{Segments: 1, Settled: 1}, true},
		{Progress{Segments: 3, Settled: 2}, false},
		{Progress{Segments: 3, Settled: 1, Failed: 1}, true},
		{Progress{Segments: 3, Settled: 3}, true},
	} {
		if got := c.p.Decided(); got != c.want {
			t.Errorf("%+v: %v", c.p, got)
		}
	}
}
