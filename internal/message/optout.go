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
	Actor      string // who entered it: a key, a person, or the vendor; empty: nobody did
	Reason     string
	At         time.Time // since when; zero in one that is to be recorded: now
	Ended      OptOutEnd // with a zero At: it is in force
	// Version orders what the table has seen; 0: it is not recorded yet. Rows that
	// were written together have the same.
	Version int64
}

// OptOutEnd is how an opt-out came to its end.
type OptOutEnd struct {
	At        time.Time
	Actor     string // who ended it; empty: the recipient did
	Reason    string
	MessageID ID // the recipient's message that ended it; zero: none
}

// Active reports whether it is in force.
func (o OptOut) Active() bool { return o.Ended.At.IsZero() }

// Stops reports whether an opt-out that is in force keeps the account's sender from
// sending. campaign is the registry's id of the sender's campaign, empty for none.
func (o OptOut) Stops(sender Address, campaign string) bool {
	switch o.Scope {
	case OptOutAccount:
		return true
	case OptOutCampaign:
		return campaign != "" && o.CampaignID == campaign
	}
	return o.Sender == sender
}

// Limits of what stands in an opt-out, in characters.
const (
	MaxOptOutKeyword = 32
	MaxOptOutReason  = 256
)

// OptOutFilter narrows a list of opt-outs; zero fields do not.
type OptOutFilter struct {
	Recipient  Address
	Sender     Address
	CampaignID string
	Active     *bool
}

// OptOutTell gives the event of an opt-out that has just been recorded or, when it is
// not active, ended. It does no I/O.
type OptOutTell func(o OptOut) (AccountEvent, error)

// OptOutWrite is how an opt-out is recorded.
type OptOutWrite struct {
	// Tell gives the event that is written in the same transaction; nil: there is none.
	Tell OptOutTell
	// Key makes the first answer of a request that has an Idempotency-Key, of the
	// opt-out that is in force then and whether it is a fresh one; nil: it has none.
	Key func(o OptOut, fresh bool) (Idempotency, error)
	// Staff is who records it for the account, of whom the audit log tells; nil: the
	// account itself does.
	Staff *Actor
}

// OptOutRecorded says what became of an opt-out.
type OptOutRecorded struct {
	OptOut OptOut // that is in force
	Fresh  bool   // false: it was before, and nothing was written
	// Replay is the first answer when the request's key was seen before: nothing was
	// stored this time.
	Replay *Idempotency
}

// VendorBlock is the opt-out that a vendor's refusal tells of: it keeps the sender
// from the recipient on its own account, so the gateway does so as well.
func VendorBlock(account ID, sender, recipient Address, vendor string, about ID) OptOut {
	return OptOut{ID: NewID(), AccountID: account, Recipient: recipient, Scope: OptOutNumber, Sender: sender,
		Source: OptOutByVendor, MessageID: about, Actor: vendor}
}
