package snapshot

import (
	"testing"

	"github.com/postrider/postrider/internal/message"
)

func TestMM4PeerOf(t *testing.T) {
	account, vendor := message.NewID(), message.NewID()
	s := &Snapshot{MM4Peers: map[message.ID]*MM4Peer{
		{1}: {Name: "c", AccountID: account, Enabled: true, Host: "c.example"}, {2}: {Name: "b", AccountID: account, Enabled: true, Host: "b.example"},
		{3}: {Name: "a", AccountID: account, Host: "a.example"}, {4}: {Name: "a", AccountID: account, Enabled: true}, {5}: {Name: "a", AccountID: message.NewID(), Enabled: true, Host: "x.example"},
		{6}: {Name: "v", VendorID: vendor, Enabled: true}, {7}: {Name: "u", VendorID: vendor},
	}}
	if p := s.MM4PeerOf(account); p == nil || p.Name != "b" {
		t.Errorf("%+v", p)
	}
	if p := s.MM4PeerOfVendor(vendor); p == nil || p.Name != "v" {
		t.Errorf("%+v", p)
	}
	if s.MM4PeerOf(message.NewID()) != nil || s.MM4PeerOfVendor(account) != nil || new(Snapshot).MM4PeerOf(account) != nil {
		t.Error("another's peer")
	}
}
