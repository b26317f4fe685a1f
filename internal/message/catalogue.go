package message

// Entry is one row of the error catalogue: how a reason shows at every
// boundary. A zero HTTP, SMPP, or empty MM4 or ReceiptStat means that the
// reason cannot arise there; boundaries fall back to ReasonInternal's row.
type Entry struct {
	Reason Reason
	Class  ReasonClass
	Title  string // a few words, the problem's title
	Help   string // what it means and what would fix it

	HTTP int // status of the REST answer; 0: not answered synchronously

	SMPP     uint32 // command_status of a refused submit (SMPP 3.4 §5.1.3)
	SMPPBind uint32 // command_status of a refused bind; 0: not a bind's refusal

	// MM4 is X-Mms-Request-Status-Code without its "Error-" prefix (3GPP TS
	// 23.140 §8.4), or three digits where only an SMTP reply can say it.
	MM4 string

	ReceiptStat string // stat word of a receipt when decided after acceptance
	ReceiptErr  string // err field of that receipt, three digits
}

// The command_status values used by the catalogue, named in SMPP 3.4 §5.1.3.
const (
	esmeInvMsgLen    = 0x01
	esmeSysErr       = 0x08
	esmeInvSrcAddr   = 0x0A
	esmeInvDstAddr   = 0x0B
	esmeInvMsgID     = 0x0C
	esmeBindFail     = 0x0D
	esmeInvPassword  = 0x0E
	esmeCancelFail   = 0x11
	esmeMsgQueueFull = 0x14
	esmeSubmitFail   = 0x45
	esmeThrottled    = 0x58
	esmeInvSchedule  = 0x61
)

var catalogue = []Entry{
	{ReasonInvalidRequest, Permanent, "Request is not valid", "The request cannot be read, has the wrong content type, or a field breaks its rule. Correct the fields named in errors and send it again.", 422, esmeInvMsgLen, 0, "message-format-corrupt", "", ""},
	{ReasonUnauthenticated, Permanent, "Not authenticated", "The credential is missing, wrong or expired. Send a bearer token from POST /v1/auth/token, or API key and secret by HTTP Basic.", 401, 0, esmeInvPassword, "535", "", ""},
	{ReasonForbidden, Permanent, "Not allowed", "The credential lacks the scope, or its address, number of binds or transport is not allowed. Use a credential that has it.", 403, 0, esmeBindFail, "554", "", ""},
	{ReasonNotFound, Permanent, "Not found", "There is no such thing, or it belongs to another account.", 404, esmeInvMsgID, 0, "message-not-found", "", ""},
	{ReasonConflict, Permanent, "State does not allow it", "The resource has moved on, or If-Match named an older version. Read it again and decide.", 409, esmeCancelFail, 0, "", "", ""},
	{ReasonIdempotencyInProgress, Retry, "Request with this key still runs", "The first request with this Idempotency-Key has not ended. Repeat it after Retry-After.", 409, esmeSysErr, 0, "451", "", ""},
	{ReasonIdempotencyMismatch, Permanent, "Idempotency-Key was used for another request", "The key was seen with another body. Use a new key for a new request.", 422, esmeSubmitFail, 0, "", "", ""},
	{ReasonPayloadTooLarge, Permanent, "Request is too large", "The request or a file is over the size limit.", 413, esmeInvMsgLen, 0, "552", "", ""},
	{ReasonUnsafeURL, Permanent, "URL is not allowed", "The URL's scheme, port or address is not allowed. Use https on port 443 or 8443 with a public address.", 422, 0, 0, "", "", ""},
	{ReasonAccountSuspended, Permanent, "Account is suspended", "The account is closed or suspended. Talk to support.", 403, esmeSubmitFail, esmeBindFail, "service-denied", "REJECTD", "101"},
	{ReasonUnauthorizedSender, Permanent, "Sender is not yours", "The sender is not owned by the account, not enabled, or cannot send this type. Use one of the account's numbers.", 403, esmeInvSrcAddr, 0, "service-denied", "REJECTD", "102"},
	{ReasonSenderUnavailable, Retry, "Sender is blocked upstream", "The vendor has blocked the sender for a time. Try later or use another number.", 0, 0, 0, "network-problem", "UNDELIV", "103"},
	{ReasonInsufficientBalance, Permanent, "Balance is spent", "Top up the account and send again.", 402, esmeSubmitFail, 0, "service-denied", "REJECTD", "104"},
	{ReasonQuotaExceeded, Retry, "Quota is spent", "The daily or monthly quota is spent; Retry-After tells when it is reset.", 429, esmeMsgQueueFull, 0, "452", "REJECTD", "105"},
	{ReasonRateLimitExceeded, Retry, "Too many requests", "Over the account's rate. Wait for Retry-After seconds.", 429, esmeThrottled, 0, "450", "", ""},
	{ReasonQueueFull, Retry, "Backlog is full", "Too many messages are under way, of the account or of all together. Wait for Retry-After seconds; the detail says which it is.", 429, esmeMsgQueueFull, 0, "452", "", ""},
	{ReasonUnregisteredCampaign, FixRegistration, "Number has no 10DLC campaign", "US long codes need a registered campaign. Assign the number to one.", 422, esmeSubmitFail, 0, "service-denied", "REJECTD", "201"},
	{ReasonCampaignInactive, FixRegistration, "Campaign is not active", "The campaign is pending, suspended, expired or refused by the carrier. See its status at the registry.", 422, esmeSubmitFail, 0, "service-denied", "REJECTD", "202"},
	{ReasonSenderUnverified, FixRegistration, "Sender is not verified", "Toll-free numbers need an approved verification, short codes a running lease.", 422, esmeSubmitFail, 0, "service-denied", "REJECTD", "203"},
	{ReasonOptedOut, Permanent, "Recipient has opted out", "The recipient stopped messages from this sender. Only the recipient can lift it, by START.", 422, esmeInvDstAddr, 0, "service-denied", "REJECTD", "301"},
	{ReasonProhibitedContent, Permanent, "Content is not allowed", "A content rule refuses the text. Change the text.", 422, esmeSubmitFail, 0, "content-not-accepted", "REJECTD", "302"},
	{ReasonQuietHours, Permanent, "No permitted hour within its validity", "Promotional messages wait for the recipient's daytime, and none comes before the validity ends. Ask for a longer validity.", 422, esmeSubmitFail, 0, "service-denied", "REJECTD", "303"},
	{ReasonMessageTooLong, Permanent, "Message is too long", "Too many characters or parts. Shorten the text, or ask for a higher max_parts.", 422, esmeInvMsgLen, 0, "content-not-accepted", "REJECTD", "304"},
	{ReasonEncodingMismatch, Permanent, "Text does not fit the encoding", "The text or data_coding cannot go as asked. Use encoding auto, or smart_encoding.", 422, esmeSubmitFail, 0, "content-not-accepted", "REJECTD", "305"},
	{ReasonInvalidSchedule, Permanent, "Send time or validity is out of range", "send_at may lie up to 35 days ahead; validity_seconds runs from 60 to 259200.", 422, esmeInvSchedule, 0, "message-format-corrupt", "", ""},
	{ReasonMediaUnavailable, Retry, "Media could not be fetched", "The media URL did not answer with a file in time.", 0, 0, 0, "", "UNDELIV", "306"},
	{ReasonMediaRejected, Permanent, "Media is not accepted", "Type, size or number of the files is not allowed and cannot be made to fit.", 422, 0, 0, "content-not-accepted", "UNDELIV", "307"},
	{ReasonMissingPart, Permanent, "A part is missing", "A message sent in parts stayed incomplete.", 0, 0, 0, "", "UNDELIV", "308"},
	{ReasonInvalidDestination, Permanent, "Recipient is not a possible number", "Give the recipient as E.164 with a leading +, or as a short code.", 422, esmeInvDstAddr, 0, "sending-address-unresolved", "REJECTD", "401"},
	{ReasonDestinationNotAllowed, Permanent, "Destination is closed", "The country or number range is closed for the account.", 422, esmeInvDstAddr, 0, "service-denied", "REJECTD", "402"},
	{ReasonNoRoute, Permanent, "No vendor can take it", "No active route matches this sender and recipient.", 422, esmeInvDstAddr, 0, "sending-address-unresolved", "REJECTD", "403"},
	{ReasonUnknownSubscriber, Permanent, "Number is not in service", "The number is unassigned, a landline, or without SMS service.", 0, 0, 0, "", "UNDELIV", "404"},
	{ReasonUnreachable, Retry, "Recipient is unreachable", "The handset or its carrier was away until the validity ended.", 0, 0, 0, "", "UNDELIV", "405"},
	{ReasonRecipientRefused, Permanent, "Recipient refused", "The receiver refused the message.", 0, 0, 0, "", "UNDELIV", "406"},
	{ReasonVendorThrottled, Retry, "Vendor is throttling", "The vendor throttled until the validity ended.", 0, 0, 0, "", "EXPIRED", "501"},
	{ReasonDailyCapReached, Retry, "Carrier's daily cap is reached", "The brand's daily cap is reached; the message is held while its validity allows.", 429, esmeMsgQueueFull, 0, "network-problem", "EXPIRED", "502"},
	{ReasonFiltered, Permanent, "Blocked as spam", "The vendor or carrier blocked the message. Review the text and the campaign's samples.", 0, 0, 0, "", "UNDELIV", "503"},
	{ReasonFraudBlock, Retry, "Blocked for suspected fraud", "The vendor suspects traffic pumping and blocks the destination for 24 hours.", 0, 0, 0, "", "UNDELIV", "504"},
	{ReasonVendorRejected, Permanent, "Vendor refused", "The vendor refused without a clearer reason; staff can see its code.", 0, 0, 0, "", "UNDELIV", "505"},
	{ReasonVendorUnreachable, Retry, "No link to a vendor", "No vendor for this destination could be reached; staff are alerted.", 0, 0, 0, "", "UNDELIV", "506"},
	{ReasonSubmitInDoubt, Permanent, "Submission has no known answer", "The vendor never answered the submission and the delivery policy forbids sending again.", 0, 0, 0, "", "UNKNOWN", "507"},
	{ReasonNoReceipt, Permanent, "No delivery receipt came", "The vendor took the message and then stayed silent.", 0, 0, 0, "", "UNKNOWN", "508"},
	{ReasonExpired, Retry, "Validity ended", "The message could not be delivered within its validity.", 0, 0, 0, "", "EXPIRED", "509"},
	{ReasonCanceled, Permanent, "Withdrawn", "The customer or staff withdrew the message.", 0, 0, 0, "", "DELETED", "510"},
	{ReasonInternal, Retry, "Internal error", "Our fault; request_id finds it. Repeat with the same Idempotency-Key.", 500, esmeSysErr, 0, "451", "UNDELIV", "901"},
	{ReasonUnavailable, Retry, "Unavailable", "The journal cannot be written, or the process is shutting down. Nothing was stored; repeat after Retry-After.", 503, esmeSysErr, 0, "451", "", ""},
}

var catalogueIndex = func() map[Reason]int {
	m := make(map[Reason]int, len(catalogue))
	for i, e := range catalogue {
		m[e.Reason] = i
	}
	return m
}()

// Catalogue lists every reason in the order of the documentation. The caller
// may keep and change the slice.
func Catalogue() []Entry { return append([]Entry(nil), catalogue...) }

// Entry gives the reason's row. An unknown reason, which no code of ours makes,
// gets the row of ReasonInternal.
func (r Reason) Entry() Entry {
	i, ok := catalogueIndex[r]
	if !ok {
		i = catalogueIndex[ReasonInternal]
	}
	return catalogue[i]
}

// Class is the reason's class.
func (r Reason) Class() ReasonClass { return r.Entry().Class }

// Temporary reports whether the same thing may pass later.
func (r Reason) Temporary() bool { return r.Class() == Retry }

// Known reports whether r is in the catalogue.
func (r Reason) Known() bool {
	_, ok := catalogueIndex[r]
	return ok
}
