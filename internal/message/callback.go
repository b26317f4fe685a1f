package message

import "strings"

// Callback is the form in which a message's own URL is told of it. The zero value is an
// event of the API (events in JSON, signed by Standard Webhooks 1.0.0).
type Callback string

// CallbackTwilio is a form as Twilio's StatusCallback has it.
const CallbackTwilio Callback = "twilio"

// What Format gives.
const (
	FormatEvent  = ""       // JSON; also of endpoints, whatever their own format
	FormatTwilio = "twilio" // a form, signed as Twilio does
	FormatJasmin = "jasmin" // parameters, acknowledged by JasminAcknowledgement
)

// JasminAcknowledgement is what the answer to a callback of FormatJasmin must say.
const JasminAcknowledgement = "ACK/Jasmin"

// CallbackJasmin is Jasmin's dlr-url: parameters in the query or the body. Level is 1 for
// what the vendor said, 2 for the final receipt, 3 for both.
func CallbackJasmin(level int, get bool) Callback {
	c := Callback(FormatJasmin + "-" + string(rune('0'+level)))
	if get {
		c += "-get"
	}
	return c
}

// Format is what a request of the form looks like.
func (c Callback) Format() string {
	format, _, _ := strings.Cut(string(c), "-")
	return format
}

// JasminLevel is the level of a CallbackJasmin; 0 of all others.
func (c Callback) JasminLevel() int {
	if rest, ok := strings.CutPrefix(string(c), FormatJasmin+"-"); ok && rest != "" && rest[0] >= '1' && rest[0] <= '3' {
		return int(rest[0] - '0')
	}
	return 0
}

// Get reports whether its request is a GET, with everything in the query.
func (c Callback) Get() bool { return strings.HasSuffix(string(c), "-get") }
