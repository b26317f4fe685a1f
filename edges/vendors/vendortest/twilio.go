package vendortest

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"sort"
	"strconv"
	"strings"

	"github.com/postrider/postrider/internal/message"
)

// NewTwilio starts a vendor with the API of Twilio. User is the account's SID, Password
// and Key are its auth token. Close ends it.
func NewTwilio(cfg HTTPConfig) (*HTTPVendor, error) { return startHTTP(&twilio{cfg}, cfg) }

type twilio struct{ cfg HTTPConfig }

func (d *twilio) authorized(r *http.Request) bool {
	user, password, ok := r.BasicAuth()
	return ok && user == d.cfg.User && password == d.cfg.Password
}

func (d *twilio) submission(r *http.Request, body []byte) (Came, string, bool) {
	form, err := url.ParseQuery(string(body))
	if err != nil || r.URL.Path != "/2010-04-01/Accounts/"+d.cfg.User+"/Messages.json" {
		return Came{}, "", false
	}
	c := Came{From: form.Get("From"), To: form.Get("To"), Text: form.Get("Body"), Media: form["MediaUrl"]}
	return c, form.Get("StatusCallback"), form.Has("Body") || form.Has("MediaUrl")
}

func (d *twilio) name(n int) string { return fmt.Sprintf("SM%032x", n) }

func (d *twilio) reply(c Came, kind ReplyKind) (int, string) {
	refuse := func(status, code int, words string) (int, string) {
		return status, fmt.Sprintf(`{"code":%d,"message":%q,"more_info":"https://www.twilio.com/docs/errors/%d","status":%d}`, code, words, code, status)
	}
	switch kind {
	case Throttle:
		return refuse(http.StatusTooManyRequests, 20429, "Too Many Requests")
	case Temporary:
		return refuse(http.StatusServiceUnavailable, 20503, "Service is unavailable")
	case Permanent:
		return refuse(http.StatusBadRequest, 21211, "The 'To' number "+c.To+" is not a valid phone number.")
	}
	return http.StatusCreated, fmt.Sprintf(`{"sid":%q,"status":"queued","num_segments":"1","num_media":"0","error_code":null,"error_message":null,"price":null,"direction":"outbound-api"}`, c.ID)
}

// twilioStates are its words, with codes for those that say no.
var twilioStates = map[message.ReceiptState][2]string{
	message.ReceiptAccepted: {"queued", ""}, message.ReceiptEnroute: {"sent", ""}, message.ReceiptDelivered: {"delivered", ""},
	message.ReceiptUndeliverable: {"undelivered", "30005"}, message.ReceiptRejected: {"failed", "30007"}, message.ReceiptExpired: {"undelivered", "30036"},
	message.ReceiptDeleted: {"canceled", ""}, message.ReceiptUnknown: {"partially_delivered", ""},
}

const formType = "application/x-www-form-urlencoded"

func (d *twilio) receipt(c Came, state message.ReceiptState) (string, string) {
	word := twilioStates[state]
	form := url.Values{
		"MessageSid": {c.ID}, "SmsSid": {c.ID}, "MessageStatus": {word[0]}, "SmsStatus": {word[0]}, "AccountSid": {d.cfg.User},
		"From": {c.From}, "To": {c.To}, "ApiVersion": {"2010-04-01"}, "FieldOfTomorrow": {"is signed too"},
	}
	if word[1] != "" {
		form.Set("ErrorCode", word[1])
	}
	return formType, form.Encode()
}

func (d *twilio) inbound(m Inbound) (string, string) {
	form := url.Values{
		"MessageSid": {m.ID}, "SmsSid": {m.ID}, "SmsMessageSid": {m.ID}, "SmsStatus": {"received"}, "AccountSid": {d.cfg.User},
		"From": {m.From}, "To": {m.To}, "Body": {m.Text}, "NumMedia": {strconv.Itoa(len(m.Media))}, "NumSegments": {"1"}, "ApiVersion": {"2010-04-01"},
	}
	for i, at := range m.Media {
		form.Set("MediaUrl"+strconv.Itoa(i), at)
		form.Set("MediaContentType"+strconv.Itoa(i), "image/png")
	}
	return formType, form.Encode()
}

// sign is written without what the gateway checks it with.
func (d *twilio) sign(r *http.Request, body string) {
	form, _ := url.ParseQuery(body) // bodies that are none are signed as the URL alone
	var lines []string
	for name, values := range form {
		seen := make(map[string]bool)
		for _, v := range values {
			if !seen[v] {
				lines = append(lines, name+"\x00"+v)
			}
			seen[v] = true
		}
	}
	sort.Strings(lines)
	mac := hmac.New(sha1.New, []byte(d.cfg.Key))
	mac.Write([]byte(r.URL.String() + strings.ReplaceAll(strings.Join(lines, ""), "\x00", "")))
	r.Header.Set("X-Twilio-Signature", base64.StdEncoding.EncodeToString(mac.Sum(nil)))
}

func (d *twilio) thanked(contentType, body string) error {
	if contentType != "text/xml" || body != "<Response/>" {
		return fmt.Errorf("vendortest: Twilio would send %q, %s, to the handset", body, contentType)
	}
	return nil
}
