package secret

import (
	"crypto/rand"
	"encoding/base64"
)

// What generated credentials begin with, so that people and scanners of
// repositories know one when they see it.
const (
	APIKeyPrefix        = "pk_"
	APISecretPrefix     = "sk_"
	WebhookSecretPrefix = "whsec_" // Standard Webhooks 1.0.0
)

// The alphabets of generated credentials. Passwords leave out what is misread
// (0 O 1 l I): they are typed into the forms of other people's SMPP clients.
const (
	base62    = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	unmistake = "23456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
)

// apiKeyChars are the random characters of an API key: 142 bits, so that two
// are never the same. The key is a name, no secret.
const apiKeyChars = 24

// NewAPIKey makes the public half of an API credential: pk_ and 24 letters and
// digits.
func NewAPIKey() string { return APIKeyPrefix + random(base62, apiKeyChars) }

// NewAPISecret makes the secret half: sk_ and 256 random bits in 43 characters
// of URL-safe base64.
func NewAPISecret() String {
	return Conceal(APISecretPrefix + base64.RawURLEncoding.EncodeToString(randomBytes(32)))
}

// NewWebhookSecret makes a signing secret: whsec_ and 256 random bits in
// base64 (Standard Webhooks 1.0.0).
func NewWebhookSecret() String {
	return Conceal(WebhookSecretPrefix + base64.StdEncoding.EncodeToString(randomBytes(32)))
}

// NewPassword makes a password of n characters, at least 8, with 5.8 bits in
// each: SMPP has room for 8 (SMPP 3.4 §5.2.2), anything else should ask for 20.
func NewPassword(n int) String { return Conceal(random(unmistake, max(n, 8))) }

// NewKey makes a key for a ring, in the form that ParseKeyring reads.
func NewKey(id string) String {
	return Conceal(id + ":" + base64.StdEncoding.EncodeToString(randomBytes(keySize)))
}

// random draws n characters, each as likely as any other: octets beyond the
// last whole multiple of the alphabet are thrown away.
func random(alphabet string, n int) string {
	limit := 256 - 256%len(alphabet)
	out := make([]byte, 0, n)
	for len(out) < n {
		for _, b := range randomBytes(2 * n) {
			if int(b) < limit && len(out) < n {
				out = append(out, alphabet[int(b)%len(alphabet)])
			}
		}
	}
	return string(out)
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails: the runtime stops the process instead
	return b
}

// NewSystemID makes a name for an ESME, of 12 letters and digits: SMPP has room for 15
// (SMPP 3.4 §5.2.1). It is no secret.
func NewSystemID() string { return random(unmistake, 12) }
