package twilio

import (
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/twilio"
)

// refusal is an error as Twilio's API writes it.
type refusal struct {
	Code     int    `json:"code"`
	Message  string `json:"message"`
	MoreInfo string `json:"more_info"`
	Status   int    `json:"status"`
}

func refusalOf(status, code int, text string) []byte {
	body, err := json.Marshal(refusal{code, text, "https://www.twilio.com/docs/errors/" + strconv.Itoa(code), status})
	if err != nil {
		panic(err) // numbers and a string: it cannot happen
	}
	return body
}

func refuse(w http.ResponseWriter, status, code int, text string) {
	write(w, status, refusalOf(status, code, text))
}

func notFound(w http.ResponseWriter) {
	refuse(w, http.StatusNotFound, twilio.CodeNotFound, "The requested resource was not found: only messages, their media and the account itself are here")
}

func unauthenticated(w http.ResponseWriter) {
	w.Header().Set("WWW-Authenticate", `Basic realm="Twilio API"`)
	refuse(w, http.StatusUnauthorized, twilio.CodeAuthenticate, "Authenticate")
}

// fail answers with an error of the gateway's.
func (c *call) fail(err error) {
	r := c.desk.Refusal(c.r, err)
	if r.Reason == message.ReasonUnauthenticated {
		unauthenticated(c.w)
		return
	}
	if r.RetryAfter > 0 {
		c.w.Header().Set("Retry-After", r.Seconds())
	}
	status, code := statusOf(r.Reason, r.Status), codeOf(r.Reason, r.Fields)
	refuse(c.w, status, code, r.Detail)
}

// statusOf is the HTTP status that Twilio gives for a reason: 400 for all that is wrong with
// a message itself.
func statusOf(reason message.Reason, ours int) int {
	switch reason {
	case message.ReasonAccountSuspended, message.ReasonForbidden:
		return http.StatusForbidden
	}
	switch ours {
	case http.StatusUnauthorized, http.StatusNotFound, http.StatusConflict, http.StatusTooManyRequests:
		return ours
	}
	if ours >= http.StatusInternalServerError {
		return ours
	}
	return http.StatusBadRequest
}

// codeOf is the code of a reason, which for a field that is wrong says which.
func codeOf(reason message.Reason, fields []message.FieldError) int {
	if reason == message.ReasonInvalidRequest || reason == message.ReasonUnsafeURL {
		for _, f := range fields {
			if code := fieldCodes[f.Location]; code != 0 {
				return code
			}
		}
	}
	return twilio.Code(reason)
}

// fieldCodes are the codes of the fields of a new message that ingress looks at.
var fieldCodes = map[string]int{
	"body.to": twilio.CodeInvalidTo, "body.from": twilio.CodeInvalidFrom, "body.body": twilio.CodeNoBody, "body.webhook_url": twilio.CodeInvalidCallback,
}
