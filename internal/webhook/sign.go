package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The headers of a delivery.
const (
	HeaderID        = "webhook-id"        // of the event: the same on every try and replay
	HeaderTimestamp = "webhook-timestamp" // Unix seconds of this try
	HeaderSignature = "webhook-signature" // v1,base64 for each secret in force
	HeaderHex       = "X-Signature"       // hex, of the body alone
)

// secretPrefix marks a secret whose rest is base64 of its key octets (Standard
// Webhooks 1.0.0).
const secretPrefix = "whsec_"

// ErrSecret is the answer to a secret that cannot sign: an empty one, or one
// that begins with whsec_ and goes on with something else than base64.
var ErrSecret = errors.New("webhook secret is empty, or not base64 after whsec_")

// CheckSecret reports whether a secret can sign: for the moment in which a
// customer sets one. The error is ErrSecret.
func CheckSecret(secret string) error {
	_, err := key(secret)
	return err
}

// key gives the octets that key webhook-signature: the decoded ones after
// whsec_, else those of the whole string.
func key(secret string) ([]byte, error) {
	encoded, prefixed := strings.CutPrefix(secret, secretPrefix)
	if !prefixed {
		if secret == "" {
			return nil, ErrSecret
		}
		return []byte(secret), nil
	}
	k, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(encoded, "="))
	if err != nil || len(k) == 0 {
		return nil, ErrSecret
	}
	return k, nil
}

// Sign sets the four headers for a body that leaves at the given time. Older is
// the secret before the last rotation while it still counts, else empty: then
// webhook-signature has two values, the newest first. X-Signature is keyed with
// the newest alone, by the octets of the whole string, prefix and all. The
// error is ErrSecret; nothing is set then.
func Sign(h http.Header, id string, at time.Time, body []byte, newest, older string) error {
	timestamp := strconv.FormatInt(at.Unix(), 10)
	signature, err := v1(newest, id, timestamp, body)
	if err != nil {
		return err
	}
	if older != "" && older != newest {
		second, err := v1(older, id, timestamp, body)
		if err != nil {
			return err
		}
		signature += " " + second
	}
	mac := hmac.New(sha256.New, []byte(newest))
	mac.Write(body)
	h.Set(HeaderID, id)
	h.Set(HeaderTimestamp, timestamp)
	h.Set(HeaderSignature, signature)
	h.Set(HeaderHex, hex.EncodeToString(mac.Sum(nil)))
	return nil
}

// v1 signs id.timestamp.body (Standard Webhooks 1.0.0, symmetric).
func v1(secret, id, timestamp string, body []byte) (string, error) {
	k, err := key(secret)
	if err != nil {
		return "", err
	}
	mac := hmac.New(sha256.New, k)
	mac.Write([]byte(id + "." + timestamp + "."))
	mac.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)), nil
}
