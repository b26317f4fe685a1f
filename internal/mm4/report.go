package mm4

import "github.com/postrider/postrider/internal/message"

// mmStatuses says to whoever sent a message where it is.
var mmStatuses = map[message.Status]struct {
	status    MMStatus
	extension Extension
}{
	message.StatusAccepted:    {Deferred, ""},
	message.StatusScheduled:   {Deferred, ""},
	message.StatusQueued:      {Deferred, ""},
	message.StatusSending:     {Deferred, ""},
	message.StatusInDoubt:     {Deferred, ""},
	message.StatusSent:        {Deferred, ""},
	message.StatusDelivered:   {Retrieved, ""},
	message.StatusUndelivered: {Rejected, ""},
	message.StatusFailed:      {Rejected, RejectedByOtherRS},
	message.StatusRejected:    {Rejected, RejectedByOtherRS},
	message.StatusExpired:     {Expired, ""},
	message.StatusCanceled:    {Rejected, RejectedByOtherRS},
	message.StatusUnconfirmed: {Indeterminate, ""},
}

// MMStatusOf is what a delivery report says of a message in status s, which failed
// for r, if it did. Only a final status is reported; one that is none of message's is
// Indeterminate.
func MMStatusOf(s message.Status, r message.Reason) (MMStatus, Extension) {
	if s == message.StatusUndelivered {
		switch r {
		case message.ReasonUnreachable:
			return Unreachable, ""
		case message.ReasonMediaRejected:
			return Unrecognised, ""
		case message.ReasonRecipientRefused:
			return Rejected, RejectedByRecipient
		}
	}
	if w, ok := mmStatuses[s]; ok {
		return w.status, w.extension
	}
	return Indeterminate, ""
}

// receipts says what a vendor's delivery report means to our message.
var receipts = map[MMStatus]struct {
	state  message.ReceiptState
	reason message.Reason
}{
	Retrieved:     {message.ReceiptDelivered, ""},
	Forwarded:     {message.ReceiptDelivered, ""},
	Expired:       {message.ReceiptExpired, message.ReasonExpired},
	Rejected:      {message.ReceiptRejected, message.ReasonVendorRejected},
	Unrecognised:  {message.ReceiptUndeliverable, message.ReasonMediaRejected},
	Unreachable:   {message.ReceiptUndeliverable, message.ReasonUnreachable},
	Deferred:      {message.ReceiptEnroute, ""},
	Indeterminate: {message.ReceiptUnknown, ""},
}

// Receipt is what a vendor's delivery report with s and e means to our message.
// Deferred, Indeterminate and what is none of the constants decide nothing and have no
// reason.
func (s MMStatus) Receipt(e Extension) (message.ReceiptState, message.Reason) {
	w, ok := receipts[s]
	if !ok {
		return message.ReceiptUnknown, ""
	}
	if s == Rejected && e == RejectedByRecipient {
		return w.state, message.ReasonRecipientRefused
	}
	return w.state, w.reason
}
