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

// Search is what a look through stored messages asks for.
type Search struct {
	Filter
	// Before is where a search before it came to (Found.Next): older messages are looked
	// for. Zero: the newest.
	Before ID
	Limit  int // how many messages at most, from 1
	// Left is asked before the search and now and then during it for the time that it has left.
	// Nil: it looks as far as it takes. One whose time is up, or would be before it came much
	// further, stops, though the page is not full; it has come further than where it began, so
	// that searches one after the other come to the end. It is called by one goroutine.
	Left func() time.Duration
}

// Found is what a search has found, newest first: fewer messages than asked for, or none, do
// not mean that there are no more.
type Found struct {
	Messages []*Message
	// Next is where the search goes on (Search.Before). Zero: there is no more.
	Next ID
	// Until is how far back the search has come when it was told to stop before the page was
	// full, by the time when messages got their ids. Zero: it was not.
	Until time.Time
}
