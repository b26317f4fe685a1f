package notification

import (
	"net/url"
	"strconv"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/twilio"
)

// callbacks are what a message's own URL is told of its status in the form of another
// gateway: the parameters of each request, mostly one.
func callbacks(m *message.Message) []url.Values {
	switch m.Callback.Format() {
	case message.FormatTwilio:
		return twilioCallbacks(m)
	case message.FormatJasmin:
		return jasminCallbacks(m)
	}
	return nil
}

// twilioCallbacks is a request to StatusCallback, or none: of a message in doubt Twilio has
// no word, and of one that stays unconfirmed it would say nothing more.
func twilioCallbacks(m *message.Message) []url.Values {
	if m.Status == message.StatusInDoubt || m.Status == message.StatusUnconfirmed {
		return nil
	}
	sid, status := twilio.MessageSID(m), twilio.Status(m)
	v := url.Values{
		"MessageSid": {sid}, "SmsSid": {sid}, "MessageStatus": {status}, "SmsStatus": {status},
		"AccountSid": {twilio.SID(twilio.AccountPrefix, m.AccountID)}, "From": {string(m.From)}, "To": {string(m.To)}, "ApiVersion": {twilio.APIVersion},
	}
	if code := twilio.ErrorCode(m); code != 0 {
		v.Set("ErrorCode", strconv.Itoa(code))
	}
	if m.Receipt != nil && !m.Receipt.At.IsZero() {
		v.Set("RawDlrDoneDate", m.Receipt.At.UTC().Format(receiptDate))
	}
	return []url.Values{v}
}

// receiptDate is how receipts of SMPP write a time (SMPP 3.4 appendix B).
const receiptDate = "0601021504"

// What Jasmin's callbacks say of a submit.
const (
	jasminTaken   = "ESME_ROK"
	jasminRefused = "ESME_RSUBMITFAIL"
	// jasminConnector stands for the connector that has sent it: which vendor that is, is
	// nobody else's business.
	jasminConnector = "postrider"
)

// jasminCallbacks are the requests to a dlr-url. Level 1 tells what came of the submit, level
// 2 of the delivery, 3 of both: what was never taken by a vendor has no delivery to tell of,
// but whoever asked for level 2 alone hears of the end all the same.
func jasminCallbacks(m *message.Message) []url.Values {
	level := m.Callback.JasminLevel()
	submit, final := level != 2, level != 1
	first := func(status string) url.Values {
		return url.Values{"id": {m.ID.String()}, "level": {"1"}, "message_status": {status}, "connector": {jasminConnector}}
	}
	switch m.Status {
	case message.StatusSent:
		if submit {
			return []url.Values{first(jasminTaken)}
		}
		return nil
	case message.StatusFailed, message.StatusRejected, message.StatusCanceled, message.StatusExpired:
		if m.Receipt == nil && m.SubmittedAt.IsZero() && submit {
			return []url.Values{first(jasminRefused)}
		}
	case message.StatusDelivered, message.StatusUndelivered, message.StatusUnconfirmed:
	default:
		return nil
	}
	var list []url.Values
	if submit && m.SubmittedAt.IsZero() && m.Status != message.StatusUnconfirmed {
		list = append(list, first(jasminTaken)) // the receipt was faster than the answer to the submit
	}
	if final {
		list = append(list, jasminReceipt(m))
	}
	return list
}

// jasminReceipt is a receipt of level 2, with the fields of one over SMPP. It does not repeat
// the text, which would outlive the message's own.
func jasminReceipt(m *message.Message) url.Values {
	stat, err := finalWords(m)
	submitted, done := m.SubmittedAt, m.UpdatedAt
	if submitted.IsZero() {
		submitted = m.CreatedAt
	}
	if m.Receipt != nil && !m.Receipt.At.IsZero() {
		done = m.Receipt.At
	}
	delivered := "000"
	if m.Status == message.StatusDelivered {
		delivered = "001"
	}
	return url.Values{
		"id": {m.ID.String()}, "id_smsc": {message.Hex32(m.ID)}, "level": {"2"}, "message_status": {stat}, "connector": {jasminConnector},
		"sub": {"001"}, "dlvrd": {delivered}, "subdate": {submitted.UTC().Format(receiptDate)}, "donedate": {done.UTC().Format(receiptDate)},
		"err": {err}, "text": {""},
	}
}

// finalWords are the word and the three digits of a receipt for a final status.
func finalWords(m *message.Message) (stat, err string) {
	stat, usual := "UNKNOWN", message.ReasonNoReceipt
	switch m.Status {
	case message.StatusDelivered:
		return "DELIVRD", "000"
	case message.StatusUndelivered, message.StatusFailed:
		stat, usual = "UNDELIV", message.ReasonVendorRejected
	case message.StatusRejected:
		stat, usual = "REJECTD", message.ReasonInternal
	case message.StatusExpired:
		stat, usual = "EXPIRED", message.ReasonExpired
	case message.StatusCanceled:
		stat, usual = "DELETED", message.ReasonCanceled
	}
	if m.Error != nil && m.Error.Reason.Entry().ReceiptErr != "" {
		usual = m.Error.Reason
	}
	return stat, usual.Entry().ReceiptErr
}
