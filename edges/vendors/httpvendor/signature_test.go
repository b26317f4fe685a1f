package httpvendor_test

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	twilioclient "github.com/twilio/twilio-go/client"
	"pgregory.net/rapid"

	"github.com/postrider/postrider/edges/vendors"
	"github.com/postrider/postrider/edges/vendors/httpvendor"
)

var (
	formHMAC = httpvendor.FormHMAC("X-Twilio-Signature")
	timed    = httpvendor.TimedEd25519("telnyx-signature-ed25519", "telnyx-timestamp", 300*time.Second)
)

const formType = "application/x-www-form-urlencoded"

// signed is a request with the header of the form scheme.
func signed(t rapid.TB, at, contentType, body, signature string) vendors.HookRequest {
	u, err := url.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	h := http.Header{}
	h.Set("Content-Type", contentType)
	h.Set("X-Twilio-Signature", signature)
	return vendors.HookRequest{Method: http.MethodPost, URL: u, Header: h, Body: []byte(body)}
}

const vectorToken = "gw-test-auth-token-0001"

// vectorT1 is the body of the form vector.
var vectorT1 = url.Values{
	"AccountSid": {"AC00112233445566778899aabbccddeeff"}, "Body": {"café & more"}, "From": {"+15551230001"}, "MediaContentType0": {"image/jpeg"},
	"MediaUrl0": {"https://media.example.com/a/1"}, "MessageSid": {"MM00112233445566778899aabbccddeeff"}, "NumMedia": {"1"}, "To": {"+15551230002"},
}.Encode()

// The vectors were computed by other implementations.
func TestFormHMACVectors(t *testing.T) {
	const at, signature = "https://gw.example.com/v1/hooks/twilio/inbound?acct=7", "uU0T694jNr3AXXSBBB9g/EZVlZM="
	const json = "https://gw.example.com/v1/hooks/twilio/events?bodySHA256=015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862"
	const jsonSignature = "/pxwGSLlQlxQqyFH7K4BuiTXrsQ="
	keys := []string{"the next token", vectorToken}
	for name, c := range map[string]struct {
		r    vendors.HookRequest
		keys []string
		want bool
	}{
		"form":                  {signed(t, at, formType, vectorT1, signature), keys, true},
		"form, charset":         {signed(t, at, formType+"; charset=UTF-8", vectorT1, signature), keys, true},
		"form, default port":    {signed(t, strings.Replace(at, ".com/", ".com:443/", 1), formType, vectorT1, signature), keys, true},
		"form, fragment":        {signed(t, at+"#rc=3", formType, vectorT1, signature), keys, true},
		"form, another key":     {signed(t, at, formType, vectorT1, signature), keys[:1], false},
		"form, no key":          {signed(t, at, formType, vectorT1, signature), nil, false},
		"form, another path":    {signed(t, strings.Replace(at, "inbound", "status", 1), formType, vectorT1, signature), keys, false},
		"form, another query":   {signed(t, at+"&x=1", formType, vectorT1, signature), keys, false},
		"form, a field more":    {signed(t, at, formType, vectorT1+"&Z=1", signature), keys, false},
		"form, another word":    {signed(t, at, formType, strings.Replace(vectorT1, "more", "less", 1), signature), keys, false},
		"form, as JSON":         {signed(t, at, "application/json", vectorT1, signature), keys, false},
		"form, cut signature":   {signed(t, at, formType, vectorT1, signature[:20]), keys, false},
		"form, no signature":    {signed(t, at, formType, vectorT1, ""), keys, false},
		"JSON":                  {signed(t, json, "application/json", `{"a":1}`, jsonSignature), keys, true},
		"JSON, another body":    {signed(t, json, "application/json", `{"a":2}`, jsonSignature), keys, false},
		"JSON, without a hash":  {signed(t, strings.Split(json, "?")[0], "application/json", `{"a":1}`, jsonSignature), keys, false},
		"JSON, as a form":       {signed(t, json, formType, `a=1`, jsonSignature), keys, false},
		"JSON, no body":         {signed(t, json, "application/json", ``, jsonSignature), keys, false},
		"JSON, URL alone":       {signed(t, at, "application/json", `{"a":1}`, sign(vectorToken, at, nil)), keys, false},
		"nothing, URL alone":    {signed(t, at, "", "", sign(vectorToken, at, nil)), keys, true},
		"form that is no form":  {signed(t, at, formType, "%zz", signature), keys, false},
		"signature of one part": {signed(t, at, formType, "", signature), keys, false},
	} {
		if got := formHMAC.Signed(c.keys, c.r); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestTimedEd25519Vector(t *testing.T) {
	const (
		key       = "A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg="
		body      = `{"data":{"event_type":"message.received","id":"e1","payload":{"id":"m1","text":"hi"}}}`
		signature = "hlp+W3Mr2OO9cV1gihwe1kvBPymBa/YH9qGgOQpuIizeilK39kT4qZtEOrMQCdNpIlum7dUGlUA44AG/jpQ5Aw=="
	)
	other := base64.StdEncoding.EncodeToString(make([]byte, 32))
	at := time.Unix(1700000000, 0)
	for name, c := range map[string]struct {
		keys             []string
		stamp, body, sig string
		received         time.Time
		want             bool
	}{
		"right":               {[]string{key}, "1700000000", body, signature, at.Add(100 * time.Second), true},
		"second key":          {[]string{other, key}, "1700000000", body, signature, at, true},
		"as late as may be":   {[]string{key}, "1700000000", body, signature, at.Add(300 * time.Second), true},
		"too late":            {[]string{key}, "1700000000", body, signature, at.Add(301 * time.Second), false},
		"too early":           {[]string{key}, "1700000000", body, signature, at.Add(-301 * time.Second), false},
		"another key":         {[]string{other}, "1700000000", body, signature, at, false},
		"no key":              {nil, "1700000000", body, signature, at, false},
		"another time":        {[]string{key}, "1700000001", body, signature, at, false},
		"no time":             {[]string{key}, "", body, signature, at, false},
		"time out of reach":   {[]string{key}, "9223372036854775807", body, signature, at, false},
		"another body":        {[]string{key}, "1700000000", strings.Replace(body, "hi", "ho", 1), signature, at, false},
		"no signature":        {[]string{key}, "1700000000", body, "", at, false},
		"a broken signature":  {[]string{key}, "1700000000", body, signature[:40], at, false},
		"a key that is none":  {[]string{"none"}, "1700000000", body, signature, at, false},
		"body encoded anew":   {[]string{key}, "1700000000", strings.Replace(body, ":", ": ", 1), signature, at, false},
		"a blank at the time": {[]string{key}, " 1700000000", body, signature, at, false},
	} {
		h := http.Header{}
		h.Set("telnyx-timestamp", c.stamp)
		h.Set("telnyx-signature-ed25519", c.sig)
		if got := timed.Signed(c.keys, vendors.HookRequest{Header: h, Body: []byte(c.body), Received: c.received}); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	if timed.Key(key) != nil || timed.Key("none") == nil || timed.Key(base64.StdEncoding.EncodeToString(make([]byte, 31))) == nil {
		t.Error("keys are not told from what is none")
	}
}

// Twilio's own library agrees, whatever is in the form, and whatever is changed in it.
func TestFormHMACAgreesWithTwilio(t *testing.T) {
	name := rapid.StringMatching(`[A-Za-z][A-Za-z0-9]{0,12}`)
	rapid.Check(t, func(t *rapid.T) {
		form := url.Values{}
		for k, v := range rapid.MapOfN(name, rapid.String(), 0, 6).Draw(t, "fields") {
			form.Set(k, v)
		}
		key := rapid.StringMatching(`[0-9a-f]{32}`).Draw(t, "key")
		at := rapid.SampledFrom([]string{"https", "http"}).Draw(t, "scheme") + "://gw.example.com" +
			rapid.SampledFrom([]string{"", ":443", ":80", ":8443"}).Draw(t, "port") + "/status/x" + rapid.SampledFrom([]string{"", "?a=1-1-1", "?b=%20+%2F"}).Draw(t, "query")
		signature := sign(key, at, form)
		body := form.Encode()
		if rapid.Bool().Draw(t, "changed") {
			body += "&Extra=" + url.QueryEscape(rapid.String().Draw(t, "extra"))
		}
		seenAt := at
		if rapid.Bool().Draw(t, "other port") {
			seenAt = strings.NewReplacer("gw.example.com:8443", "gw.example.com", "gw.example.com:443", "gw.example.com", "gw.example.com/", "gw.example.com:443/").Replace(at)
		}
		validator := twilioclient.NewRequestValidator(key)
		theirs := validator.ValidateBody(seenAt, []byte(body), signature)
		if ours := formHMAC.Signed([]string{key}, signed(t, seenAt, formType, body, signature)); ours != theirs {
			t.Fatalf("%s signed as %s: we say %v, Twilio %v", seenAt, at, ours, theirs)
		}
	})
}

// The same for bodies that are covered by a hash.
func TestBodyHashAgreesWithTwilio(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		body := rapid.SliceOf(rapid.Byte()).Draw(t, "body")
		sum := sha256.Sum256(body)
		at := "https://gw.example.com/inbound/x?bodySHA256=" + hex.EncodeToString(sum[:])
		signature := sign(vectorToken, at, nil)
		if rapid.Bool().Draw(t, "changed") {
			body = append(body, 'x')
		}
		validator := twilioclient.NewRequestValidator(vectorToken)
		theirs := validator.ValidateBody(at, body, signature)
		if ours := formHMAC.Signed([]string{vectorToken}, signed(t, at, "application/json", string(body), signature)); ours != theirs {
			t.Fatalf("we say %v, Twilio %v", ours, theirs)
		}
	})
}

// sign is the scheme as the vendor's page says it.
func sign(key, at string, form url.Values) string {
	mac := hmac.New(sha1.New, []byte(key))
	mac.Write([]byte(at))
	for _, pair := range strings.Split(form.Encode(), "&") { // sorted by name
		name, value, _ := strings.Cut(pair, "=")
		value, _ = url.QueryUnescape(value)
		mac.Write([]byte(name + value))
	}
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// A field that comes more than once is signed once for each of its values.
func TestRepeatedFields(t *testing.T) {
	const at = "https://gw.example.com/inbound/x"
	mac := hmac.New(sha1.New, []byte(vectorToken))
	mac.Write([]byte(at + "Mab" + "Mcd" + "N1"))
	r := signed(t, at, formType, "M=cd&N=1&M=ab&M=cd", base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	if !formHMAC.Signed([]string{vectorToken}, r) {
		t.Error("refused")
	}
}
