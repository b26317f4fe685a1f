package httpvendor

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"mime"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/postrider/postrider/edges/vendors"
)

// Signature is a way in which webhooks are signed.
type Signature struct {
	// Key checks a key when the vendor's row is read; the error does not hold it.
	Key func(key string) error
	// Signed reports whether r carries the signature of one of the keys. It compares
	// in constant time.
	Signed func(keys []string, r vendors.HookRequest) bool
}

// FormHMAC is a header with the base64 of an HMAC-SHA1 over the URL and the fields of
// the form, sorted; of a body that is no form, over the URL, whose bodySHA256 is the
// hash of the body. The key is a token as it is. There is no time in it: repetitions
// are found by what they say.
func FormHMAC(header string) Signature {
	return Signature{
		Key: func(key string) error {
			if strings.TrimSpace(key) == "" {
				return errors.New("it is empty")
			}
			return nil
		},
		Signed: func(keys []string, r vendors.HookRequest) bool {
			given, err := base64.StdEncoding.DecodeString(r.Header.Get(header))
			if err != nil || len(given) != sha1.Size {
				return false
			}
			tail, ok := signedFields(r)
			if !ok {
				return false
			}
			match := false
			for _, key := range keys {
				for _, at := range portForms(r.URL) {
					mac := hmac.New(sha1.New, []byte(key))
					mac.Write([]byte(at))
					mac.Write([]byte(tail))
					match = hmac.Equal(mac.Sum(nil), given) || match
				}
			}
			return match
		},
	}
}

// signedFields is what stands behind the URL in what is signed; false: the body is not
// covered by any signature.
func signedFields(r vendors.HookRequest) (string, bool) {
	if want := r.URL.Query().Get("bodySHA256"); want != "" {
		sum := sha256.Sum256(r.Body)
		return "", hmac.Equal([]byte(strings.ToLower(want)), []byte(hex.EncodeToString(sum[:])))
	}
	if !isForm(r.Header) {
		return "", len(r.Body) == 0
	}
	form, err := url.ParseQuery(string(r.Body))
	if err != nil {
		return "", false
	}
	names := make([]string, 0, len(form))
	for name := range form {
		names = append(names, name)
	}
	slices.Sort(names)
	var b strings.Builder
	for _, name := range names {
		values := slices.Clone(form[name])
		slices.Sort(values)
		for _, v := range slices.Compact(values) {
			b.WriteString(name)
			b.WriteString(v)
		}
	}
	return b.String(), true
}

func isForm(h http.Header) bool {
	kind, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	return err == nil && kind == "application/x-www-form-urlencoded"
}

// portForms are the URL as it is, and the URL without its port or, if it has none, with
// the default one of its scheme: which of them was signed depends on the vendor's day.
func portForms(u *url.URL) []string {
	other := *u
	other.Fragment, other.RawFragment = "", ""
	out := []string{other.String()}
	if u.Port() != "" {
		other.Host = strings.TrimSuffix(u.Host, ":"+u.Port())
		return append(out, other.String())
	}
	if standard := map[string]string{"https": "443", "http": "80"}[u.Scheme]; standard != "" {
		other.Host = net.JoinHostPort(u.Hostname(), standard)
		out = append(out, other.String())
	}
	return out
}

// TimedEd25519 is a header with the base64 of an Ed25519 signature over the time in
// another one (Unix seconds), a bar and the body as it came. A time that is further
// away than tolerance is refused. The keys are the base64 of public keys.
func TimedEd25519(signature, at string, tolerance time.Duration) Signature {
	return Signature{
		Key: func(key string) error {
			_, err := publicKey(key)
			return err
		},
		Signed: func(keys []string, r vendors.HookRequest) bool {
			given, err := base64.StdEncoding.DecodeString(r.Header.Get(signature))
			if err != nil || len(given) != ed25519.SignatureSize {
				return false
			}
			stamp := r.Header.Get(at)
			seconds, err := strconv.ParseInt(stamp, 10, 64)
			if err != nil || time.Unix(seconds, 0).Sub(r.Received).Abs() > tolerance {
				return false
			}
			signed := append([]byte(stamp+"|"), r.Body...)
			for _, key := range keys {
				if public, err := publicKey(key); err == nil && ed25519.Verify(public, signed, given) {
					return true
				}
			}
			return false
		},
	}
}

func publicKey(key string) (ed25519.PublicKey, error) {
	b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(key))
	if err != nil || len(b) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("it is not the base64 of %d octets", ed25519.PublicKeySize)
	}
	return b, nil
}
