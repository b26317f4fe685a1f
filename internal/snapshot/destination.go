package snapshot

import "github.com/postrider/postrider/internal/message"

// Destinations are those of all accounts.
type Destinations struct {
	byNumber map[ownNumber][]*message.Destination // of the account's default under the empty number
	byID     map[message.ID]*message.Destination
}

// ownNumber is a number as one account has it: what an earlier owner has set for it may
// be there still.
type ownNumber struct {
	account message.ID
	number  message.Address
}

// Add puts the next destination in. Those of a number or account come in the order of
// their positions.
func (d *Destinations) Add(one *message.Destination) {
	if d.byID == nil {
		d.byNumber, d.byID = map[ownNumber][]*message.Destination{}, map[message.ID]*message.Destination{}
	}
	d.byID[one.ID] = one
	at := ownNumber{one.AccountID, one.Number}
	d.byNumber[at] = append(d.byNumber[at], one)
}

// Of lists where messages to an account's number go: its own destinations, or the
// account's. None: nothing is set. Those of an earlier owner of the number do not
// count.
func (d *Destinations) Of(account message.ID, number message.Address) []*message.Destination {
	if own := d.byNumber[ownNumber{account, number}]; len(own) > 0 {
		return own
	}
	return d.byNumber[ownNumber{account, ""}]
}

// ByID finds a destination, nil when it is gone.
func (d *Destinations) ByID(id message.ID) *message.Destination { return d.byID[id] }
