package postgres

import (
	"testing"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// A system_id is an account's or a vendor's, and of one that is there.
func TestSMPPCredentialOfAVendor(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.configured()
	c := snapshot.SMPPCredential{ID: message.NewID(), VendorID: b.vendor.ID, SystemID: "north", PasswordHash: "x", Enabled: true}
	if err := b.CreateSMPPCredential(b.ctx, actor, c); err != nil {
		t.Fatal(err)
	}
	s, err := b.LoadSnapshot(b.ctx)
	if err != nil {
		t.Fatal(err)
	}
	if got := s.SMPPCredentials["north"]; got == nil || got.VendorID != b.vendor.ID || got.AccountID != (message.ID{}) {
		t.Errorf("%+v", got)
	}
	list, err := b.SMPPCredentials(b.ctx, message.ID{})
	if err != nil || len(list) == 0 || list[len(list)-1].VendorID != b.vendor.ID {
		t.Errorf("%+v, %v", list, err)
	}
	stranger := snapshot.SMPPCredential{ID: message.NewID(), VendorID: message.NewID(), SystemID: "stranger"}
	if err := b.CreateSMPPCredential(b.ctx, actor, stranger); message.ReasonOf(err) != message.ReasonNotFound {
		t.Errorf("a vendor that is not there: %v", err)
	}
	for _, bad := range []snapshot.SMPPCredential{{SystemID: "nobody"}, {SystemID: "both", AccountID: b.owner, VendorID: b.vendor.ID}} {
		bad.ID = message.NewID()
		if err := b.CreateSMPPCredential(b.ctx, actor, bad); err == nil {
			t.Errorf("%s was made", bad.SystemID)
		}
	}
}
