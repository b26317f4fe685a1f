package webhook

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/postrider/postrider/internal/message"
)

// The headers of a callback in Twilio's form.
const (
	HeaderTwilio      = "X-Twilio-Signature"
	HeaderTwilioToken = "I-Twilio-Idempotency-Token" // the same on every try and replay
)

const formType = "application/x-www-form-urlencoded"

// form gives a request what its format has beside the headers that every delivery has.
func (s *Sender) form(req *http.Request, r Request, inQuery bool) error {
	switch r.Format {
	case message.FormatTwilio:
		signature, err := SignTwilio(r.URL, r.Body, r.Secret)
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", formType)
		req.Header.Set(HeaderTwilio, signature)
		req.Header.Set(HeaderTwilioToken, r.EventID)
	case message.FormatJasmin:
		if !inQuery {
			req.Header.Set("Content-Type", formType)
			break
		}
		if req.URL.RawQuery != "" {
			req.URL.RawQuery += "&"
		}
		req.URL.RawQuery += string(r.Body)
	default:
		req.Header.Set("Content-Type", "application/json")
	}
	return nil
}

// SignTwilio is what Twilio would say in X-Twilio-Signature: the base64 of an HMAC-SHA1 over
// the URL without its fragment and each field of the form, name and value, in the order of
// names. It is keyed with the octets of the whole secret, prefix and all, since that is what
// a customer gives his library as the auth token. The error is ErrSecret, or that of a body
// that is no form; it holds neither.
func SignTwilio(target string, form []byte, secret string) (string, error) {
	if secret == "" {
		return "", ErrSecret
	}
	fields, err := url.ParseQuery(string(form))
	if err != nil {
		return "", errors.New("the body of the callback is no form")
	}
	names := make([]string, 0, len(fields))
	for name := range fields {
		names = append(names, name)
	}
	slices.Sort(names)
	target, _, _ = strings.Cut(target, "#")
	mac := hmac.New(sha1.New, []byte(secret))
	mac.Write([]byte(target))
	for _, name := range names {
		mac.Write([]byte(name))
		mac.Write([]byte(fields.Get(name)))
	}
	return base64.StdEncoding.EncodeToString(mac.Sum(nil)), nil
}

// demand makes a 2xx that does not say word into a try in vain.
func (r *Result) demand(word, host string) {
	if r.HTTPStatus < 200 || r.HTTPStatus > 299 || strings.TrimSpace(r.Body) == word {
		return
	}
	r.unread = true
	r.Err = &attemptError{host: host, why: fmt.Sprintf("answered %d without %s", r.HTTPStatus, word)}
}
