package vendorconf

import (
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// Every setting can be said in a word of the shell and says something of itself.
func TestEverySettingHasItsWords(t *testing.T) {
	for _, doc := range []any{new(Vendor), new(MM4Peer), new(Route)} {
		seen := map[string]bool{}
		for _, s := range Settings(doc) {
			word := map[reflect.Kind]string{reflect.Bool: "true", reflect.Int: "1", reflect.Map: "a=b,c=d"}[valueKind(s.Value)]
			if word == "" {
				word = "x"
			}
			if s.Name == "" || s.Doc == "" || seen[s.Name] || strings.ToLower(s.Name) != s.Name {
				t.Errorf("%+v", s)
			}
			seen[s.Name] = true
			if err := s.Set(word); err != nil || s.Value.IsZero() {
				t.Errorf("%s: %v", s.Name, err)
			}
			if s.Value.Kind() == reflect.Pointer {
				if err := s.Set(""); err != nil || !s.Value.IsNil() {
					t.Errorf("%s: %v", s.Name, err)
				}
			}
		}
	}
}

func valueKind(v reflect.Value) reflect.Kind {
	if v.Kind() == reflect.Pointer {
		return v.Type().Elem().Kind()
	}
	return v.Kind()
}

func TestSetRefuses(t *testing.T) {
	settings := map[string]Setting{}
	for _, s := range Settings(new(Vendor)) {
		settings[s.Name] = s
	}
	for name, word := range map[string]string{"port": "many", "use_tls": "perhaps", "code_map": "45", "source_ton": "x"} {
		if err := settings[name].Set(word); err == nil {
			t.Errorf("%s takes %q", name, word)
		}
	}
}

// What a vendor's settings say makes the same settings again, whatever the profile.
func TestVendorOfInto(t *testing.T) {
	for _, kind := range Kinds() {
		var f Faults
		v := NewVendor("a", kind, &f)
		v.Host, v.Port, v.Username, v.Password = "smsc.example", 1, "AC7", "x"
		v.UseTLS = kind == kindMM4
		doc := VendorOf(&v)
		again := v
		if f = append(f, doc.Into(&again, Secrets{})...); len(f) > 0 {
			t.Errorf("%s: %v", kind, f)
		}
		if got := VendorOf(&again); !reflect.DeepEqual(got, doc) || again.Password != "x" {
			t.Errorf("%s: %+v, want %+v", kind, got, doc)
		}
	}
	var f Faults
	v := NewVendor("a", kindSMPP, &f)
	Overlay(&v, snapshot.Vendor{ProviderType: kindSMPP, Port: 3601, UseTLS: true, CodeMap: map[string]message.Reason{"000": message.ReasonUnreachable}})
	if v.Port != 3601 || !v.UseTLS || v.Name != "a" || v.Window != 10 || !v.Active || len(v.CodeMap) != 1 {
		t.Errorf("%+v", v)
	}
}

func TestDaysTravel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bits := rapid.Uint8Range(1, 127).Draw(t, "days")
		var f Faults
		if got := f.days("days", daysText(bits)); got != bits || len(f) > 0 {
			t.Fatalf("%07b is %s is %07b, %v", bits, daysText(bits), got, f)
		}
	})
	for bits, want := range map[uint8]string{0: "mon-sun", 127: "mon-sun", 1: "mon", 0b1100000: "sat,sun", 0b0011111: "mon-fri", 0b1011011: "mon,tue,thu,fri,sun"} {
		if got := daysText(bits); got != want {
			t.Errorf("%07b: %s", bits, got)
		}
	}
}

func TestAmount(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := message.Micros(rapid.Int64Range(0, 9_999_999_999).Draw(t, "micros"))
		if got, ok := Amount(n.String()); !ok || got != n {
			t.Fatalf("%s is %d", n, got)
		}
	})
	for text, want := range map[string]message.Micros{"0": 0, "1": 1_000_000, "0.0045": 4500, "9999.999999": 9_999_999_999, "2.": 2_000_000} {
		if got, ok := Amount(text); !ok || got != want {
			t.Errorf("%q: %d, %v", text, got, ok)
		}
	}
	for _, text := range []string{"", ".5", "-1", "+1", "1e3", "10000", "0.0000001", "1.-1", "0x1", "1,5", "99999999999999999999"} {
		if got, ok := Amount(text); ok {
			t.Errorf("%q is %d", text, got)
		}
	}
}

func TestPlaces(t *testing.T) {
	for host, want := range map[string]bool{"smsc.example": true, "smsc_1.internal.": true, "127.0.0.1": true, "2001:db8::1": true, "h:1": false, "a b": false, "-a": false, "a..b": false, "[::1]": false, "a/b": false} {
		if isHost(host) != want {
			t.Errorf("host %s: %v", host, !want)
		}
	}
	for at, want := range map[string]bool{"https://api.example": true, "https://api.example:8443/v2": true, "http://127.0.0.1:9": true, "http://localhost/x": true, "http://[::1]:9": true,
		"http://api.example": false, "http://127.0.0.1.example": false, "https://u@api.example": false, "https://api.example?x": false, "https://api.example#x": false, "https:": false, "ftp://api.example": false, "//api.example": false} {
		if isBaseURL(at) != want {
			t.Errorf("%s: %v", at, !want)
		}
	}
}
