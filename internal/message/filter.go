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

	// AccountID, Vendor (name or id) and VendorMessageID, the id that a vendor gave a part, are
	// for lists of all accounts.
	AccountID       ID
	Vendor          string
	VendorMessageID string
}
