package smtpout

import (
	"strings"

	"github.com/postrider/postrider/internal/message"
)

// verdict is what a refusal means.
type verdict struct {
	reason    message.Reason
	configure bool // about us and the peer, not about the mail
}

// retry follows from the reason: what the catalogue says may pass later goes again.
func (v verdict) retry() bool { return v.reason.Temporary() }

var (
	unreachable  = verdict{reason: message.ReasonVendorUnreachable}
	notLetIn     = verdict{message.ReasonVendorUnreachable, true}
	throttled    = verdict{reason: message.ReasonVendorThrottled}
	away         = verdict{reason: message.ReasonUnreachable}
	rejected     = verdict{reason: message.ReasonVendorRejected}
	unknown      = verdict{reason: message.ReasonUnknownSubscriber}
	refused      = verdict{reason: message.ReasonRecipientRefused}
	noAddress    = verdict{reason: message.ReasonInvalidDestination}
	noSender     = verdict{reason: message.ReasonUnauthorizedSender}
	notThisMedia = verdict{reason: message.ReasonMediaRejected}
)

// byEnhanced has the enhanced codes that say more than the code that they come with
// (RFC 3463 §3; 5.1.10 is RFC 7505, 5.7.8 and 5.7.9 RFC 4954). A key of two numbers
// is for a whole subject.
var byEnhanced = map[string]verdict{
	"4.2":   away, // the mailbox: full, busy, not available
	"4.3":   unreachable,
	"4.3.1": throttled, // no storage: too much for it at the moment
	"4.4":   unreachable,
	"4.5.3": throttled, // too many recipients: the rest goes later
	"4.7":   throttled, // policy, in time: too fast

	"5.1.1":  unknown,
	"5.1.2":  noAddress,
	"5.1.3":  noAddress,
	"5.1.6":  unknown, // moved
	"5.1.7":  noSender,
	"5.1.8":  noSender,
	"5.1.10": noAddress, // the domain takes no mail
	"5.2":    refused,   // the mailbox: disabled, full
	"5.2.3":  notThisMedia,
	"5.3.4":  notThisMedia, // too large for the system
	"5.5.3":  throttled,    // too many recipients: permanent by its number alone
	"5.6":    notThisMedia, // the content: type, conversion
	"5.7.8":  notLetIn,
	"5.7.9":  notLetIn,
}

// byCode has the codes with a meaning of their own (RFC 5321 §4.2.3; RFC 4954 §6 for
// 432, 454, 530, 534, 535 and 538; RFC 7504 for 556).
var byCode = map[int]verdict{
	421: unreachable, // closing
	432: notLetIn,    // the password has to be changed
	450: throttled,
	451: unreachable,
	452: throttled,
	454: unreachable,

	530: notLetIn,
	534: notLetIn,
	535: notLetIn,
	538: notLetIn,
	551: unknown, // not local
	552: notThisMedia,
	556: noAddress,
}

// verdictOf says what a refusal means, for every stage, code and enhanced code. Crowd:
// it is of a recipient, and others were taken before.
func verdictOf(s Stage, code int, enhanced string, crowd bool) verdict {
	if s.setUp() {
		return verdict{message.ReasonVendorUnreachable, code >= 500 || byCode[code].configure}
	}
	if v, ok := byCode[code]; ok && v.configure { // whatever the rest says
		return v
	}
	if v, ok := byEnhanced[enhanced]; ok {
		return v
	}
	if i := strings.LastIndexByte(enhanced, '.'); i > 0 {
		if v, ok := byEnhanced[enhanced[:i]]; ok {
			return v
		}
	}
	switch {
	case code == 552 && crowd && enhanced == "":
		return throttled // too many recipients, as RFC 821 had it (RFC 5321 §4.5.3.1.10)
	case code == 553 && s == StageMAIL:
		return noSender // the name of the mailbox is not allowed
	case code == 553:
		return noAddress
	}
	if v, ok := byCode[code]; ok {
		return v
	}
	if code/100 == 4 {
		return unreachable
	}
	return rejected
}
