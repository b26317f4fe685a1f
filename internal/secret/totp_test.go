package secret

import (
	"net/url"
	"strings"
	"testing"
	"time"
)

// rfcSecret is the one of RFC 6238, appendix B.
var rfcSecret = Conceal(base32Plain.EncodeToString([]byte("12345678901234567890")))

// The codes of RFC 6238, appendix B, of which six digits are the last six.
func TestTOTPOfTheRFC(t *testing.T) {
	for at, code := range map[int64]string{
		59: "287082", 1111111109: "081804", 1111111111: "050471", 1234567890: "005924", 2000000000: "279037", 20000000000: "353130",
	} {
		now := time.Unix(at, 0)
		if got := TOTPCode(rfcSecret, now); got != code {
			t.Errorf("at %d: %s, want %s", at, got, code)
		}
		if step, ok := TOTPStep(rfcSecret, code[:3]+" "+code[3:], now, 0); !ok || step != at/30 {
			t.Errorf("at %d: step %d, %v", at, step, ok)
		}
	}
}

func TestTOTPSteps(t *testing.T) {
	shared := NewTOTPSecret()
	now := time.Unix(1_800_000_000, 0)
	step := now.Unix() / 30
	for away, fits := range map[int64]bool{-2: false, -1: true, 0: true, 1: true, 2: false} {
		code := TOTPCode(shared, now.Add(time.Duration(away)*30*time.Second))
		got, ok := TOTPStep(shared, code, now, 0)
		if ok != fits || ok && got != step+away {
			t.Errorf("%d steps away: %d %v", away, got, ok)
		}
	}
	// A step is taken once, and with it those before.
	for away, last := range map[int64]int64{-1: step - 1, 0: step, 1: step + 1} {
		code := TOTPCode(shared, now.Add(time.Duration(away)*30*time.Second))
		if _, ok := TOTPStep(shared, code, now, last); ok {
			t.Errorf("%d steps away: taken twice", away)
		}
		if _, ok := TOTPStep(shared, code, now, last-1); !ok {
			t.Errorf("%d steps away: not taken after the one before", away)
		}
	}
	for _, code := range []string{"", "12345", "1234567", "abcdef", "١٢٣٤٥٦"} {
		if _, ok := TOTPStep(shared, code, now, 0); ok {
			t.Errorf("%q is taken", code)
		}
	}
	for _, broken := range []String{{}, Conceal("not base32!")} {
		if _, ok := TOTPStep(broken, totp(nil, step), now, 0); ok || broken.Reveal() != "" && TOTPCode(broken, now) != "" {
			t.Error("a secret that is none has codes")
		}
	}
}

func TestTOTPURL(t *testing.T) {
	u, err := url.Parse(TOTPURL(rfcSecret, "Postrider: console", "ada+x@gw.example").Reveal())
	if err != nil {
		t.Fatal(err)
	}
	if u.Scheme != "otpauth" || u.Host != "totp" || u.Path != "/Postrider  console:ada+x@gw.example" {
		t.Errorf("%s %s", u.Scheme, u.Path)
	}
	if q := u.Query(); q.Get("secret") != rfcSecret.Reveal() || q.Get("issuer") != "Postrider  console" {
		t.Errorf("%v", q)
	}
	if s := NewTOTPSecret().Reveal(); len(s) != 32 || s == NewTOTPSecret().Reveal() {
		t.Error(s)
	}
}

func TestRecoveryCodes(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range NewRecoveryCodes() {
		code := c.Reveal()
		seen[code] = true
		for _, typed := range []string{code, strings.ToUpper(code), " " + strings.Replace(code, "-", " ", 1), strings.Replace(code, "-", "", 1)} {
			if got, ok := RecoveryCode(typed); !ok || got != code {
				t.Errorf("%q: %q %v", typed, got, ok)
			}
		}
	}
	if len(seen) != 10 {
		t.Errorf("%d codes", len(seen))
	}
	for _, typed := range []string{"", "123456", "k7m2x-9qwe", "k7m2x-9qwer1", "k7m2x-9qwe0", "k7m2x-9qwé"} {
		if _, ok := RecoveryCode(typed); ok {
			t.Errorf("%q is one", typed)
		}
	}
}
