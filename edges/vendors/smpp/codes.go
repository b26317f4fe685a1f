package smpp

import (
	"strings"

	"github.com/postrider/postrider/internal/message"
)

// receiptReasons reads the err of a receipt: the list that Twilio and others
// share, and Sinch's. Sinch's temporary 0 is left out: everywhere else 000 is
// "no error". A vendor with other numbers has them in its code map.
var receiptReasons = map[string]message.Reason{
	"1": message.ReasonUnreachable,
	"2": message.ReasonUnreachable, // handset's memory is full
	"5": message.ReasonUnknownSubscriber,

	"15":  message.ReasonFiltered,
	"60":  message.ReasonCampaignInactive,
	"62":  message.ReasonFiltered,
	"64":  message.ReasonDailyCapReached,
	"152": message.ReasonUnknownSubscriber,
	"300": message.ReasonUnknownSubscriber,
	"310": message.ReasonUnauthorizedSender,
	"321": message.ReasonRecipientRefused,
	"349": message.ReasonFiltered,
	"399": message.ReasonVendorRejected,

	// Sinch: handset or network away until the end.
	"18": message.ReasonUnreachable, "40": message.ReasonUnreachable, "50": message.ReasonUnreachable,
	"51": message.ReasonUnreachable, "52": message.ReasonUnreachable, "56": message.ReasonUnreachable,
	"101": message.ReasonUnreachable, "102": message.ReasonUnreachable, "106": message.ReasonUnreachable,
	"107": message.ReasonUnreachable, "111": message.ReasonUnreachable, "112": message.ReasonUnreachable,
	"113": message.ReasonUnreachable, "114": message.ReasonUnreachable, "153": message.ReasonUnreachable,
	"155": message.ReasonUnreachable, "158": message.ReasonUnreachable, "159": message.ReasonUnreachable,
}

// receiptReason is why a part was not delivered: by the vendor's code map, then
// by the built-in table, then by the state. Empty when it was delivered or
// nothing is decided.
func (v reader) receiptReason(state message.ReceiptState, err string) message.Reason {
	part, final := state.PartState()
	if !final || part == message.PartDelivered {
		return ""
	}
	short := strings.TrimLeft(err, "0")
	for _, key := range []string{err, short} {
		if r, ok := v.vendor.CodeMap[key]; ok && key != "" && r.Known() {
			return r
		}
	}
	if r, ok := receiptReasons[short]; ok {
		return r
	}
	if part == message.PartExpired {
		return message.ReasonExpired
	}
	return message.ReasonVendorRejected
}
