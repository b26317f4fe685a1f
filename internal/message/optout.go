package message

import "time"

// OptOutScope is how much of an account's traffic a recipient has stopped.
type OptOutScope string

// The scopes.
const (
	OptOutNumber   OptOutScope = "number"   // from one sender
	OptOutCampaign OptOutScope = "campaign" // from every number of one campaign
	OptOutAccount  OptOutScope = "account"  // from the account
)

// OptOutSource is how an opt-out came to be known.
type OptOutSource string

// The sources.
const (
	OptOutByKeyword OptOutSource = "keyword" // the recipient wrote it
	OptOutByAPI     OptOutSource = "api"
	OptOutByVendor  OptOutSource = "vendor" // the vendor or the network refused for it
	OptOutByImport  OptOutSource = "import"
)

// OptOut says that a recipient wants no more messages.
type OptOut struct {
	ID         ID
	AccountID  ID
	Recipient  Address
	Scope      OptOutScope
	Sender     Address // of OptOutNumber; else empty
	CampaignID string  // the registry's id, of OptOutCampaign; else empty
	Keyword    string  // what the recipient wrote, as it is listed; empty: nothing
	Source     OptOutSource
	MessageID  ID     // the message it came by, or for; zero: none
	Actor      string // who entered it; empty: nobody did
	Reason     string
	At         time.Time
}
