package message

// another says of each reason whether another vendor may take what one has refused
// for it, and in a word why. No: the reason lies with the recipient, with the message
// or with a registry that all vendors ask; asking the next would cost the customer
// time, and for what filters or people refuse it would be a way around them, which
// carriers punish.
var another = map[Reason]struct {
	helps bool
	why   string
}{
	ReasonInvalidRequest:        {true, "dialect"},
	ReasonUnauthenticated:       {true, "credentials"},
	ReasonForbidden:             {true, "credentials"},
	ReasonNotFound:              {true, "settings"},
	ReasonConflict:              {false, "doubling"},
	ReasonIdempotencyInProgress: {false, "doubling"},
	ReasonIdempotencyMismatch:   {false, "doubling"},
	ReasonPayloadTooLarge:       {true, "limits"},
	ReasonUnsafeURL:             {false, "message"},
	ReasonAccountSuspended:      {true, "contract"},
	ReasonUnauthorizedSender:    {true, "provisioning"},
	ReasonSenderUnavailable:     {true, "vendor"},
	ReasonInsufficientBalance:   {true, "contract"},
	ReasonQuotaExceeded:         {true, "contract"},
	ReasonRateLimitExceeded:     {true, "pace"},
	ReasonQueueFull:             {true, "pace"},
	ReasonUnregisteredCampaign:  {true, "provisioning"}, // a number is linked to its campaign at the vendor that hosts it
	ReasonCampaignInactive:      {false, "registry"},
	ReasonSenderUnverified:      {false, "registry"},
	ReasonOptedOut:              {false, "recipient"},
	ReasonProhibitedContent:     {false, "message"},
	ReasonQuietHours:            {false, "recipient"},
	ReasonMessageTooLong:        {false, "message"},
	ReasonEncodingMismatch:      {true, "capability"},
	ReasonInvalidSchedule:       {true, "limits"},
	ReasonMediaUnavailable:      {true, "reach"},
	ReasonMediaRejected:         {true, "limits"},
	ReasonMissingPart:           {false, "message"},
	ReasonInvalidDestination:    {true, "numbering"}, // it is a possible number, or we had refused it: a vendor says so of ranges that it does not reach
	ReasonDestinationNotAllowed: {true, "contract"},
	ReasonNoRoute:               {true, "reach"},
	ReasonUnknownSubscriber:     {false, "recipient"},
	ReasonUnreachable:           {true, "reach"},
	ReasonRecipientRefused:      {false, "recipient"},
	ReasonVendorThrottled:       {true, "pace"},
	ReasonDailyCapReached:       {false, "carrier"},
	ReasonFiltered:              {false, "filter"},
	ReasonFraudBlock:            {false, "filter"},
	ReasonVendorRejected:        {true, "vendor"},
	ReasonVendorUnreachable:     {true, "vendor"},
	ReasonSubmitInDoubt:         {false, "doubling"},
	ReasonNoReceipt:             {false, "doubling"}, // what is sent again for it is sent by the account's wish, not for the reason
	ReasonExpired:               {false, "time"},
	ReasonCanceled:              {false, "withdrawn"},
	ReasonInternal:              {true, "bug"},
	ReasonUnavailable:           {true, "vendor"},
}

// FailsOver reports whether another vendor may take what one has refused for good
// for this reason. Where it does not, the message fails at once and for this reason.
// A reason that nobody knows fails over.
func (r Reason) FailsOver() bool {
	a, known := another[r]
	return a.helps || !known
}
