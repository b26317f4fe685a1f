package mm4

import (
	"fmt"
	"strings"
)

// Type is X-Mms-Message-Type (TS 23.140 §8.4.1-8.4.3). The zero Type means "none".
type Type string

// The types of messages.
const (
	ForwardREQ         Type = "MM4_forward.REQ"
	ForwardRES         Type = "MM4_forward.RES"
	DeliveryReportREQ  Type = "MM4_delivery_report.REQ"
	DeliveryReportRES  Type = "MM4_delivery_report.RES"
	ReadReplyReportREQ Type = "MM4_read_reply_report.REQ"
	ReadReplyReportRES Type = "MM4_read_reply_report.RES"
)

// Types lists every type once, a request before its response.
func Types() []Type {
	return []Type{ForwardREQ, ForwardRES, DeliveryReportREQ, DeliveryReportRES, ReadReplyReportREQ, ReadReplyReportRES}
}

// TypeError tells of an X-Mms-Message-Type that is none of ours. It is the cause of
// a Fault with StatusUnsupported.
type TypeError struct {
	Value string // as written, cut to 40 octets
}

// Error names the type.
func (e *TypeError) Error() string { return fmt.Sprintf("mm4: message type %q is not known", e.Value) }

// ParseType reads a type without regard to case. The error is a *TypeError.
func ParseType(s string) (Type, error) {
	t := strings.TrimSpace(s)
	for _, k := range Types() {
		if strings.EqualFold(t, string(k)) {
			return k, nil
		}
	}
	return "", &TypeError{Value: clip(t, 40)}
}

// Valid reports whether t is one of the constants.
func (t Type) Valid() bool {
	for _, k := range Types() {
		if t == k {
			return true
		}
	}
	return false
}

// Request reports whether t asks for a response.
func (t Type) Request() bool { return strings.HasSuffix(string(t), ".REQ") }

// Response is the type of the answer to t; empty when t is an answer itself, or none
// of the constants.
func (t Type) Response() Type {
	if !t.Valid() || !t.Request() {
		return ""
	}
	return Type(strings.TrimSuffix(string(t), ".REQ") + ".RES")
}

// clip cuts s to n octets, at a rune.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}
