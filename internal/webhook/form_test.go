package webhook

import (
	"io"
	"net/http"
	"strings"
	"testing"

	twilio "github.com/twilio/twilio-go/client"

	"github.com/postrider/postrider/internal/message"
)

// The vector of the reference, which Twilio's own libraries confirm.
func TestTwilioVector(t *testing.T) {
	const body = "AccountSid=AC00112233445566778899aabbccddeeff&Body=caf%C3%A9+%26+more&From=%2B15551230001&MediaContentType0=image%2Fjpeg" +
		"&MediaUrl0=https%3A%2F%2Fmedia.example.com%2Fa%2F1&MessageSid=MM00112233445566778899aabbccddeeff&NumMedia=1&To=%2B15551230002"
	got, err := SignTwilio("https://gw.example.com/v1/hooks/twilio/inbound?acct=7#rc=2", []byte(body), "gw-test-auth-token-0001")
	if want := "uU0T694jNr3AXXSBBB9g/EZVlZM="; err != nil || got != want {
		t.Errorf("%s, %v", got, err)
	}
	if _, err := SignTwilio("https://gw.example.com", []byte(body), ""); err == nil {
		t.Error("an empty secret signs")
	}
	if _, err := SignTwilio("https://gw.example.com", []byte("a=%zz&b=s3cr3t"), testSecret); err == nil || strings.Contains(err.Error(), "s3cr3t") {
		t.Errorf("%v", err)
	}
}

// A callback in Twilio's form passes the check of Twilio's own library.
func TestTwilioCallback(t *testing.T) {
	validator := twilio.NewRequestValidator(testSecret)
	var at string
	good := false
	srv := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		good = validator.ValidateBody(at, body, r.Header.Get("X-Twilio-Signature")) && r.Header.Get("Content-Type") == formType &&
			r.Header.Get("I-Twilio-Idempotency-Token") == r.Header.Get("webhook-id")
	})
	at = srv.URL + "/status?order=7"
	r := to(at)
	r.Format, r.Body = message.FormatTwilio, []byte("MessageSid=SM1&MessageStatus=sent&To=%2B13105550117")
	if result := sender(t, Config{Policy: loopback}).Send(t.Context(), r); result.Outcome() != Delivered || !good {
		t.Errorf("%+v, valid: %t", result, good)
	}
}

// A callback in Jasmin's form is delivered when it was acknowledged.
func TestJasminCallback(t *testing.T) {
	const params = "id=1&level=1&message_status=ESME_ROK"
	for name, c := range map[string]struct {
		method, answer string
		status         int
		want           Outcome
	}{
		"by POST":       {"", "ACK/Jasmin", 200, Delivered},
		"by GET":        {"GET", " ACK/Jasmin\n", 200, Delivered},
		"no word":       {"GET", "", 200, Retry},
		"another word":  {"", "OK", 200, Retry},
		"a failure":     {"", "ACK/Jasmin", 500, Retry},
		"gone for good": {"", "ACK/Jasmin", 410, Gone},
	} {
		t.Run(name, func(t *testing.T) {
			var method, query, body string
			srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
				b, _ := io.ReadAll(r.Body)
				method, query, body = r.Method, r.URL.RawQuery, string(b)
				w.WriteHeader(c.status)
				_, _ = io.WriteString(w, c.answer)
			})
			r := to(srv.URL + "/dlr?k=v")
			r.Format, r.Method, r.Body = message.FormatJasmin, c.method, []byte(params)
			result := sender(t, Config{Policy: loopback}).Send(t.Context(), r)
			if result.Outcome() != c.want || (c.want == Delivered) != (result.Err == nil) && c.status == 200 {
				t.Errorf("%+v", result)
			}
			want := [3]string{"POST", "k=v", params}
			if c.method == "GET" {
				want = [3]string{"GET", "k=v&" + params, ""}
			}
			if got := [3]string{method, query, body}; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
	r := to("https://shop.example")
	r.Method = "GET"
	if got := sender(t, Config{}).Send(t.Context(), r); got.Err == nil {
		t.Error("an event goes by GET")
	}
}
