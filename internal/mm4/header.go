package mm4

import (
	"slices"
	"strings"
	"time"
)

// DefaultVersion is the X-Mms-3GPP-MMS-Version that is written when none is asked for:
// the last one of release 6.
const DefaultVersion = "6.10.0"

// Header is what the header of an MM4 message says (TS 23.140 §8.4.4). A field is zero
// when its header is absent. Which ones a type must have is checked by NewReader
// and by Write.
type Header struct {
	Type    Type
	Version string // as written; Write takes empty for DefaultVersion

	// TransactionID joins a request and its response, MessageID names the message
	// along the whole way. Both are without the quotes and brackets that
	// they may come in, and compared with regard to case.
	TransactionID string
	MessageID     string
	MailID        string // Message-ID of the mail (RFC 5322 §3.6.4), without brackets; optional

	// OriginatorSystem is where the response goes: an address of a system, as written,
	// without brackets.
	OriginatorSystem string
	Sender           Address
	From             Address   // of a report: the recipient of the message that it is about
	To               []Address // of a report: the sender of that message
	Cc               []Address
	Bcc              []Address // read, never written
	Subject          string
	Date             time.Time // zero: absent or not readable; of a report: when it happened

	AckRequest          Flag // a response is due
	DeliveryReport      Flag
	ReadReply           Flag
	ForwardToOriginator Flag

	Expiry           Expiry
	Class            Class
	Priority         Priority
	SenderVisibility Visibility
	ForwardCounter   int // 0: absent; else 1 or more

	RequestStatus     Status // of a response; StatusUnspecified for a word that is not known
	StatusText        string
	RequestRecipients []Address // whom RequestStatus is for; empty: all
	MMStatus          MMStatus  // of a delivery report; Indeterminate for a word that is not known
	MMStatusExtension Extension
	ReadStatus        ReadStatus

	// Other holds, in their order, the X-Mms-* headers that have no field here, and
	// those whose value could not be read; Write writes the former.
	Other []Field
}

// Field is a header that is kept as it came.
type Field struct{ Name, Value string }

// maxOther bounds Header.Other; more are dropped.
const maxOther = 64

// maxNamed bounds the recipients that a header names, each of which is compared with
// others. A group has some ten, and 64 KiB have room for thousands.
const maxNamed = 1000

// Expiry is when a message ends: at a time, or after a while. The zero Expiry says
// nothing.
type Expiry struct {
	At    time.Time
	After time.Duration // whole seconds
}

// maxExpiry is what seconds are believed up to. Ten years are more than any peer
// means; a number beyond is no number of seconds.
const maxExpiry = 10 * 366 * 24 * time.Hour

// Time is when it ends for a message that was sent, or taken, at begin; zero when
// nothing was said.
func (e Expiry) Time(begin time.Time) time.Time {
	if e.After > 0 {
		return begin.Add(e.After)
	}
	return e.At
}

// required lists the headers without which a message of a type cannot be worked on:
// fewer than TS 23.140 makes mandatory, because a response that lacks the Message-ID
// is found by its Transaction-ID, and a report by its Message-ID, whoever it is from.
var required = map[Type][]string{
	ForwardREQ:         {hTransactionID, hMessageID, hFrom},
	ForwardRES:         {hTransactionID, hRequestStatus},
	DeliveryReportREQ:  {hTransactionID, hMessageID, hMMStatus},
	DeliveryReportRES:  {hTransactionID, hRequestStatus},
	ReadReplyReportREQ: {hTransactionID, hMessageID, hReadStatus},
	ReadReplyReportRES: {hTransactionID, hRequestStatus},
}

// check looks for the headers that the type must have.
func (h *Header) check() error {
	if !h.Type.Valid() {
		return &Fault{Status: StatusUnsupported, Header: hType, Detail: "the message type is not known; it is one of the six of MM4", Err: &TypeError{Value: clip(string(h.Type), 40)}}
	}
	for _, name := range required[h.Type] {
		if h.get(name) == "" {
			f := corrupt(name, "%s needs this header, in a form that can be read; add it", h.Type)
			if name == hFrom {
				f.Status = StatusAddress
			}
			return f
		}
	}
	named := len(h.To) + len(h.Cc) + len(h.Bcc)
	if named > maxNamed {
		return corrupt(hTo, "more than %d recipients are named; send several messages", maxNamed)
	}
	if h.Type == ForwardREQ && named == 0 {
		return &Fault{Status: StatusAddress, Header: hTo, Detail: "no recipient is named; name one in To or Cc"}
	}
	return nil
}

// get is the value that Write would write; empty: none.
func (h *Header) get(name string) string {
	for _, f := range fields {
		if f.name == name {
			return f.write(h)
		}
	}
	return ""
}

// ResponseTo is where the request wants its response; false when it does not say, or
// says it as no address. Then the envelope's sender is the next best.
func (h *Header) ResponseTo() (Address, bool) {
	a, err := ParseAddress(h.OriginatorSystem)
	return a, err == nil
}

// Response is the response to the request h: with its ids, from our system to theirs.
// Its MailID is the caller's to set. It has no Type, and cannot be written, when h is no
// request.
func (h *Header) Response(s Status, text string, own, to Address, now time.Time) Header {
	return Header{
		Type: h.Type.Response(), Version: h.Version, TransactionID: h.TransactionID, MessageID: h.MessageID,
		RequestStatus: s, StatusText: text, Sender: own, From: own, To: []Address{to}, Date: now,
	}
}

// Recipients lists To, Cc and Bcc, each number or e-mail address once.
func (h *Header) Recipients() []Address {
	var out []Address
	for _, list := range [][]Address{h.To, h.Cc, h.Bcc} {
		for _, a := range list {
			same := func(b Address) bool {
				return a.Local == b.Local && a.Type == b.Type && (a.Number() != "" || strings.EqualFold(a.Domain, b.Domain))
			}
			if !slices.ContainsFunc(out, same) {
				out = append(out, a)
			}
		}
	}
	return out
}
