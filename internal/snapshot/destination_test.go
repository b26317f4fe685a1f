package snapshot

import (
	"testing"

	"github.com/postrider/postrider/internal/message"
)

// What an earlier owner of a number has set for it neither gets the messages of the one
// who has it now, nor hides what that one has set.
func TestDestinationsOfEarlierOwner(t *testing.T) {
	const number = "+12025550143"
	for range 2 {
		before, now := message.NewID(), message.NewID()
		var d Destinations
		for _, account := range []message.ID{before, now, before} {
			d.Add(&message.Destination{ID: message.NewID(), AccountID: account, Number: number})
		}
		d.Add(&message.Destination{ID: message.NewID(), AccountID: now})
		for account, n := range map[message.ID]int{before: 2, now: 1, message.NewID(): 0} {
			list := d.Of(account, number)
			if len(list) != n {
				t.Errorf("%d destinations, want %d", len(list), n)
			}
			for _, one := range list {
				if one.AccountID != account {
					t.Error("one of them is another account's")
				}
			}
		}
		if list := d.Of(now, "+12025550144"); len(list) != 1 || list[0].Number != "" {
			t.Errorf("a number without any: %+v", list)
		}
	}
}
