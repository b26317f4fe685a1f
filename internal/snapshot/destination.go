package snapshot

import "github.com/postrider/postrider/internal/message"

// Destinations are those of all accounts.
type Destinations struct {
	ByNumber  map[message.Address][]*message.Destination
	ByAccount map[message.ID][]*message.Destination
	byID      map[message.ID]*message.Destination
}

// Add puts the next destination in. Those of a number or account come in the order of
// their positions.
func (d *Destinations) Add(one *message.Destination) {
	if d.byID == nil {
		d.ByNumber, d.ByAccount = map[message.Address][]*message.Destination{}, map[message.ID][]*message.Destination{}
		d.byID = map[message.ID]*message.Destination{}
	}
	d.byID[one.ID] = one
	if one.Number == "" {
		d.ByAccount[one.AccountID] = append(d.ByAccount[one.AccountID], one)
	} else {
		d.ByNumber[one.Number] = append(d.ByNumber[one.Number], one)
	}
}

// Of lists where messages to an account's number go: its own destinations, or the
// account's. None: nothing is set. Those of an earlier owner of the number do not
// count.
func (d *Destinations) Of(account message.ID, number message.Address) []*message.Destination {
	if own := d.ByNumber[number]; len(own) > 0 && own[0].AccountID == account {
		return own
	}
	return d.ByAccount[account]
}

// ByID finds a destination, nil when it is gone.
func (d *Destinations) ByID(id message.ID) *message.Destination { return d.byID[id] }
