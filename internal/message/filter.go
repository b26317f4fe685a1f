package message

import "time"

// Filter narrows a list of messages. Zero fields do not narrow.
type Filter struct {
	Direction       Direction
	Statuses        []Status
	Kind            Kind
	From, To        Address
	ClientReference string
	BatchID         ID
	CampaignID      string
	Reason          Reason
	Class           Class
	CreatedAfter    time.Time
	CreatedBefore   time.Time

	// AccountID and Vendor (name or id) are for lists of all accounts.
	AccountID ID
	Vendor    string
}
