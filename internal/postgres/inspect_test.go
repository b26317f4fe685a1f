package postgres

import (
	"slices"
	"testing"

	"github.com/postrider/postrider/internal/message"
)

func TestFatesReferred(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m := b.draft()
	m.ClientReference = "order-1"
	b.store(m)
	other := b.draft()
	other.AccountID, other.ClientReference = message.NewID(), "order-1"
	b.store(other)
	list, err := b.FatesReferred(b.ctx, m.AccountID, []string{"order-1", "order-2"})
	if err != nil || len(list) != 1 || list[0].ID != m.ID || list[0].Reference != "order-1" {
		t.Errorf("%v: %+v", err, list)
	}
}

// What came in of a message between our own numbers is found by what went out.
func TestArrived(t *testing.T) {
	t.Parallel()
	b := setup(t)
	sent, under := message.NewID(), message.NewID()
	a := b.owned(b.arrival("next door"))
	a.VendorID, a.VendorRef = message.InternalVendor, message.Hex32(sent)
	b.came(b.toRecord(a))
	b.came(b.owned(b.arrival("from a handset")))
	list, err := b.Arrived(b.ctx, []message.ID{sent, under})
	if err != nil || len(list) != 1 || len(list[sent]) != 1 || list[sent][0].ID != a.ID {
		t.Errorf("%v: %+v", err, list)
	}
}

func TestKeptMedia(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ready, waits := b.kept("a picture"), b.file("another one")
	if err := b.AddMedia(b.ctx, &waits); err != nil {
		t.Fatal(err)
	}
	list, err := b.KeptMedia(b.ctx)
	if err != nil || len(list) != 2 || !slices.Contains(list, KeptMedia{ready.SHA256, ready.Size, true}) || !slices.Contains(list, KeptMedia{waits.SHA256, waits.Size, false}) {
		t.Errorf("%v: %+v", err, list)
	}
}
