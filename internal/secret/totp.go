package secret

import (
	"crypto/hmac"
	"crypto/sha1" // RFC 6238 as authenticator apps know it; HMAC does not need what SHA-1 lost
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// What authenticator apps all know (RFC 6238 with the defaults of RFC 4226): SHA-1, 6
// digits, 30 seconds. A code of the step before or after is taken too, as RFC 6238
// §5.2 allows for clocks that differ and people who type slowly.
const (
	totpStep   = 30 // seconds
	totpDigits = 6
	totpSkew   = 1  // steps
	totpSecret = 20 // octets, as RFC 4226 §4 recommends
)

var base32Plain = base32.StdEncoding.WithPadding(base32.NoPadding)

// NewTOTPSecret makes what an authenticator app and we share: 160 random bits in 32
// characters of base32, as they are typed and as the URL has them.
func NewTOTPSecret() String { return Conceal(base32Plain.EncodeToString(randomBytes(totpSecret))) }

// TOTPURL is the address that authenticator apps read from a QR code. Issuer and who are
// shown there; neither may have a colon, which is taken out.
func TOTPURL(shared String, issuer, who string) String {
	clean := func(s string) string { return strings.ReplaceAll(s, ":", " ") }
	label := url.PathEscape(clean(issuer)) + ":" + url.PathEscape(clean(who))
	return Conceal("otpauth://totp/" + label + "?secret=" + shared.Reveal() + "&issuer=" + url.QueryEscape(clean(issuer)))
}

// TOTPStep finds the step of time whose code is given, one after last: a step is taken
// once (RFC 6238 §5.2), so whoever calls it keeps the step and gives it as last the next
// time; 0: none was taken yet. Blanks in the code are ignored. ok is false for a code
// that is wrong, of a step too far off or not after last, and for a secret that is none.
func TOTPStep(shared String, code string, now time.Time, last int64) (step int64, ok bool) {
	key, err := base32Plain.DecodeString(shared.Reveal())
	code = strings.Join(strings.Fields(code), "")
	if err != nil || len(key) == 0 || len(code) != totpDigits {
		return 0, false
	}
	at := now.Unix() / totpStep
	for s := at - totpSkew; s <= at+totpSkew; s++ {
		// All are compared, so that the time does not show which fits.
		if hmac.Equal([]byte(totp(key, s)), []byte(code)) && s > last {
			step, ok = s, true
		}
	}
	return step, ok
}

// TOTPCode is the code of a secret at a time, for programs that sign in by themselves.
// Empty for a secret that is none.
func TOTPCode(shared String, now time.Time) string {
	key, err := base32Plain.DecodeString(shared.Reveal())
	if err != nil {
		return ""
	}
	return totp(key, now.Unix()/totpStep)
}

// totp is the code of a step (RFC 4226 §5.3).
func totp(key []byte, step int64) string {
	mac := hmac.New(sha1.New, key)
	_ = binary.Write(mac, binary.BigEndian, step) // a hash takes everything
	sum := mac.Sum(nil)
	at := sum[len(sum)-1] & 0xf
	return fmt.Sprintf("%0*d", totpDigits, binary.BigEndian.Uint32(sum[at:])&0x7fffffff%1_000_000)
}

// recoveryCodes are how many codes somebody gets who may lose his authenticator app.
const recoveryCodes = 10

// recoveryChars are the random characters of one: 49 bits, which nobody guesses within
// the few tries that there are.
const recoveryChars = 10

// lowerUnmistake is unmistake in one case: recovery codes are read from paper.
const lowerUnmistake = "23456789abcdefghjkmnpqrstuvwxyz"

// NewRecoveryCodes makes ten codes such as k7m2x-9qwer, each of which stands in for a
// second factor once.
func NewRecoveryCodes() []String {
	codes := make([]String, recoveryCodes)
	for i := range codes {
		c := random(lowerUnmistake, recoveryChars)
		codes[i] = Conceal(c[:recoveryChars/2] + "-" + c[recoveryChars/2:])
	}
	return codes
}

// RecoveryCode is a recovery code as it was made, from what somebody has typed: case,
// blanks and the dash do not matter. ok is false for what is none by its form.
func RecoveryCode(typed string) (code string, ok bool) {
	plain := strings.ToLower(strings.Join(strings.FieldsFunc(typed, func(r rune) bool { return r == ' ' || r == '-' || r == '\t' }), ""))
	if len(plain) != recoveryChars || strings.Trim(plain, lowerUnmistake) != "" {
		return "", false
	}
	return plain[:recoveryChars/2] + "-" + plain[recoveryChars/2:], true
}
