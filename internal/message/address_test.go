package message

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/nyaruka/phonenumbers"
	"pgregory.net/rapid"
)

func TestParseRecipient(t *testing.T) {
	for _, c := range []struct {
		in   string
		want Address // empty: refused
		kind AddressKind
	}{
		{"+12025550143", "+12025550143", E164},
		{" +1 (202) 555-0143 ", "+12025550143", E164},
		{"+1.202.555.0143", "+12025550143", E164},
		{"+1\u00a0202\u00a0555\u00a00143", "+12025550143", E164},
		{"(+1)2025550143", "+12025550143", E164},
		{"+442079460018", "+442079460018", E164},
		{"+33612345678", "+33612345678", E164},
		{"+4930901820", "+4930901820", E164},
		{"+390669812345", "+390669812345", E164}, // Italy keeps its zero
		{"123", "123", ShortCode},
		{"72345", "72345", ShortCode},
		{"12345678", "12345678", ShortCode},
		{"7-23-45", "72345", ShortCode},

		{"", "", 0},
		{" ", "", 0},
		{"+", "", 0},
		{"()", "", 0},
		{"12", "", 0},
		{"123456789", "", 0},   // too long for a short code, no plus
		{"12025550143", "", 0}, // a number without its plus
		{"0012025550143", "", 0},
		{"+0123456789", "", 0},
		{"+012025550143", "", 0},
		{"++12025550143", "", 0},
		{"+1+2025550143", "", 0},
		{"12025550143+", "", 0},
		{"+1202555014", "", 0},   // ten digits of NANP
		{"+120255501431", "", 0}, // twelve
		{"+11025550143", "", 0},  // area code begins with 1
		{"+10025550143", "", 0},  //
		{"+12021550143", "", 0},  // exchange begins with 1
		{"+12020550143", "", 0},  //
		{"+19115550143", "", 0},  // N11 is a service, no area code
		{"+14115550143", "", 0},  //
		{"+999123456789", "", 0}, // no such country
		{"+442", "", 0},          // far too short
		{"+4420794600180000", "", 0},
		{"+1234567890123456", "", 0},
		{"tel:+12025550143", "", 0},
		{"+1202555O143", "", 0}, // a letter
		{"+١٢٠٢٥٥٥٠١٤٣", "", 0}, // digits of another script
		{"+1202555014３", "", 0},
		{"+1202555\x000143", "", 0},
		{"+1202555\t0143", "", 0},
		{"+12025550143;ext=5", "", 0},
		{"ACME", "", 0},
		{"a@example.com", "", 0},
		{strings.Repeat(" ", 60) + "+12025550143", "", 0}, // longer than any honest number
		{"+1" + strings.Repeat("-", 200) + "2025550143", "", 0},
	} {
		got, err := ParseRecipient(c.in)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("ParseRecipient(%q) = %q, %v; want %q", c.in, string(got), err, string(c.want))
			continue
		}
		if got.Kind() != c.kind {
			t.Errorf("%q is of kind %v, want %v", string(got), got.Kind(), c.kind)
		}
		if err != nil && ReasonOf(err) != ReasonInvalidDestination {
			t.Errorf("ParseRecipient(%q): reason %s", c.in, ReasonOf(err))
		}
	}
}

// One number has one canonical form, or an opt-out recorded for the one would
// not stop messages to the other.
func TestTrunkPrefixIsNoSecondForm(t *testing.T) {
	for _, in := range []string{"+44 (0)20 7946 0018", "+4402079460018"} {
		got, err := ParseRecipient(in)
		if err == nil && got != "+442079460018" {
			t.Errorf("ParseRecipient(%q) = %q: neither refused nor +442079460018", in, string(got))
		}
	}
	for _, in := range []string{"+33 (0)6 12 34 56 78", "+49 (0)30 901820", "+61 0412 345 678", "+7 8 495 123 4567"} {
		got, err := ParseRecipient(in)
		if err != nil {
			continue
		}
		num, err := phonenumbers.Parse(in, "")
		if err != nil {
			t.Fatal(err)
		}
		if want := phonenumbers.Format(num, phonenumbers.E164); string(got) != want {
			t.Errorf("ParseRecipient(%q) = %q, which is %s", in, string(got), want)
		}
	}
}

func TestParseSender(t *testing.T) {
	for _, c := range []struct {
		in   string
		want Address
		kind AddressKind
	}{
		{"+12025550143", "+12025550143", E164},
		{"72345", "72345", ShortCode},
		{"ACME", "ACME", Alphanumeric},
		{" Acme Ltd ", "Acme Ltd", Alphanumeric},
		{"A", "A", Alphanumeric},
		{"4U", "4U", Alphanumeric},
		{"A&B-c_d.e 1", "A&B-c_d.e 1", Alphanumeric},
		{"ABCDEFGHIJK", "ABCDEFGHIJK", Alphanumeric},

		{"", "", 0},
		{"ABCDEFGHIJKL", "", 0},
		{"12", "", 0},
		{"1234567890", "", 0},
		{"-_-", "", 0},
		{"Ácme", "", 0},
		{"A\nB", "", 0},
		{"A\x00", "", 0},
		{"+ACME", "", 0},
		{"A+B", "", 0},
		{"<b>", "", 0},
	} {
		got, err := ParseSender(c.in)
		if got != c.want || (err == nil) != (c.want != "") || got.Kind() != c.kind {
			t.Errorf("ParseSender(%q) = %q (kind %v), %v; want %q", c.in, string(got), got.Kind(), err, string(c.want))
		}
		if err != nil && ReasonOf(err) != ReasonInvalidRequest {
			t.Errorf("ParseSender(%q): reason %s", c.in, ReasonOf(err))
		}
	}
}

func TestParseWire(t *testing.T) {
	for _, c := range []struct {
		in   string
		want Address
	}{
		{"12025550143", "+12025550143"},
		{"+12025550143", "+12025550143"},
		{" 12025550143 ", "+12025550143"},
		{"442079460018", "+442079460018"},
		{"72345", "72345"},
		{"12345678", "12345678"},
		{"ACME", "ACME"},
		{"", ""},
		{"0012025550143", ""},
		{"1202555014", ""},
		{"12", ""},
		{"1234567890123456", ""},
	} {
		got, err := ParseWire(c.in)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("ParseWire(%q) = %q, %v; want %q", c.in, string(got), err, string(c.want))
		}
	}
}

func TestErrorsOfAddressesDoNotRepeatThem(t *testing.T) {
	for _, parse := range []func(string) (Address, error){ParseRecipient, ParseSender, ParseWire} {
		if _, err := parse("+1202555014398765"); err == nil || strings.Contains(err.Error(), "2025550143") {
			t.Errorf("the error %q shows the number, or there is none", err)
		}
	}
}

func TestMasked(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"", ""},
		{"123", "123"},
		{"1234", "1234"},
		{"72345", "7**45"},
		{"12345678", "1*****78"},
		{"+12025550143", "+1202*****43"},
		{"+442079460018", "+4420******18"},
		{"+1234567", "+*****67"},
		{"ACME", "ACME"},
		{"Acme Limit", "Acme Limit"},
	} {
		if got := Address(c.in).Masked(); got != c.want {
			t.Errorf("Masked(%q) = %q, want %q", c.in, got, c.want)
		}
	}
	var out bytes.Buffer
	slog.New(slog.NewJSONHandler(&out, nil)).Info("accepted", "to", Address("+12025550143"))
	if s := out.String(); strings.Contains(s, "2025550143") || !strings.Contains(s, "+1202*****43") {
		t.Errorf("the log shows %s", s)
	}
}

func TestDigits(t *testing.T) {
	for in, want := range map[Address]string{"": "", "+12025550143": "12025550143", "72345": "72345", "ACME": "ACME"} {
		if got := in.Digits(); got != want {
			t.Errorf("%q.Digits() = %q", string(in), got)
		}
	}
}

func TestKindsOfNANPNumbers(t *testing.T) {
	for _, c := range []struct {
		in                     Address
		tollFree, premium, usa bool
	}{
		{"+12025550143", false, false, true},
		{"+17875550143", false, false, true}, // Puerto Rico
		{"+16715550143", false, false, true}, // Guam
		{"+18005550143", true, false, false},
		{"+18335550143", true, false, false},
		{"+18445550143", true, false, false},
		{"+18555550143", true, false, false},
		{"+18665550143", true, false, false},
		{"+18775550143", true, false, false},
		{"+18885550143", true, false, false},
		{"+19005550143", false, true, false},
		{"+12029760143", false, true, false},
		{"+14165550143", false, false, false}, // Toronto
		{"+18765550143", false, false, false}, // Jamaica
		{"+18095550143", false, false, false}, // Dominican Republic
		{"+442079460018", false, false, false},
		{"+1202555014", false, false, false},
		{"72345", false, false, false},
		{"800", false, false, false},
		{"ACME", false, false, false},
		{"", false, false, false},
	} {
		if c.in.TollFree() != c.tollFree || c.in.Premium() != c.premium || c.in.USLongCode() != c.usa {
			t.Errorf("%q: toll-free %v, premium %v, US long code %v", string(c.in), c.in.TollFree(), c.in.Premium(), c.in.USLongCode())
		}
	}
}

// Where the metadata of phonenumbers knows an area code, it and our list say
// the same about its country.
func TestAreaCodesAgreeWithPhonenumbers(t *testing.T) {
	registered := map[string]bool{"US": true, "PR": true, "VI": true, "GU": true, "AS": true, "MP": true}
	for code := 200; code < 1000; code++ {
		a := Address(fmt.Sprintf("+1%d2345678", code))
		num, err := phonenumbers.Parse(string(a), "")
		if err != nil {
			t.Fatal(err)
		}
		region := phonenumbers.GetRegionCodeForNumber(num)
		if region == "" || a.TollFree() || a.Premium() {
			continue
		}
		if a.USLongCode() != registered[region] {
			t.Errorf("area code %d is in %s; USLongCode says %v", code, region, a.USLongCode())
		}
	}
}

func TestAddressProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.OneOf(
			rapid.StringMatching(`\+?[0-9 ().-]{0,20}`),
			rapid.StringMatching(`[A-Za-z0-9 &._-]{0,13}`),
			rapid.String(),
		).Draw(t, "input")
		checkAddress(t, s)
	})
}

func FuzzAddress(f *testing.F) {
	for _, s := range []string{"+12025550143", "+44 (0)20 7946 0018", "72345", "ACME", "\xff", "+1" + strings.Repeat("0", 70)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) { checkAddress(t, s) })
}

func checkAddress(t interface {
	Fatalf(format string, args ...any)
}, s string) {
	for _, parse := range []func(string) (Address, error){ParseRecipient, ParseSender, ParseWire} {
		a, err := parse(s)
		if err != nil {
			if a != "" {
				t.Fatalf("%q: an error and the address %q", s, string(a))
			}
			continue
		}
		if a.Kind() == NoAddress {
			t.Fatalf("%q: neither error nor address", s)
		}
		again, err := parse(string(a))
		if err != nil || again != a {
			t.Fatalf("%q gives %q, which gives %q, %v", s, string(a), string(again), err)
		}
		if a.Kind() != Alphanumeric {
			d := a.Digits()
			if !allDigits(d) || len(d) > 15 || len(d) < 3 {
				t.Fatalf("%q gives %q", s, string(a))
			}
			if wire, err := ParseWire(d); a.Kind() == E164 && len(d) > 8 && (err != nil || wire != a) {
				t.Fatalf("%q does not come back from the wire: %q, %v", string(a), string(wire), err)
			}
		}
		if m := a.Masked(); len(m) != len(a) {
			t.Fatalf("%q is masked as %q", string(a), m)
		}
	}
	_ = Address(s).Masked()
	_ = Address(s).USLongCode()
	_ = Address(s).Premium()
}
