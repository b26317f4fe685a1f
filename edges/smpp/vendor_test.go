package smpp

import (
	"testing"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/smpp"
	"github.com/postrider/postrider/internal/snapshot"
)

// vendorSetup makes acme a vendor's credential. Each request that is handed on is
// answered with ROK and put into the channel.
func vendorSetup(t *testing.T) (w *serverWorld, v *snapshot.Vendor, came chan smpp.PDU) {
	w = serverSetup(t)
	v = &snapshot.Vendor{ID: message.NewID(), Name: "north", Active: true}
	w.cred.AccountID, w.cred.VendorID = message.ID{}, v.ID
	w.publishVendor(2, v)
	came = make(chan smpp.PDU, 10)
	w.FromVendor = func(from *snapshot.Vendor, r *smpp.Request) {
		if from.ID != v.ID {
			t.Errorf("handed on as of vendor %s", from.Name)
		}
		came <- r.Body
		_ = r.Respond(smpp.StatusOK, nil)
	}
	return w, v, came
}

func (w *serverWorld) publishVendor(version int64, v *snapshot.Vendor) {
	cred, vendor := *w.cred, *v
	snap := &snapshot.Snapshot{
		Version: version, Vendors: map[message.ID]*snapshot.Vendor{vendor.ID: &vendor},
		SMPPCredentials: map[string]*snapshot.SMPPCredential{cred.SystemID: &cred},
	}
	snap.Index()
	w.setSnapshot(snap)
}

const (
	deliverHi = ` 00 01 01 "13105550117"00 01 01 "12025550143"00 00 00 00 00 00 00 00 00 00 02 "hi"`
	dataHi    = ` 00 01 01 "13105550117"00 01 01 "12025550143"00 00 00 00 0424 0002 "hi"`
)

// What a vendor sends that has bound to us is handed on, and it may ask for nothing.
func TestVendorBinds(t *testing.T) {
	w, _, came := vendorSetup(t)
	p := serverDial(t, w.listen())
	p.bind(bindTRX)
	w.events.await("binds acme +1", 1)
	p.pdu("00000004 00000000 00000002" + deliverHi)
	if m, ok := (<-came).(*smpp.SubmitSM); !ok || m.Source.Text != "13105550117" {
		t.Errorf("submit_sm came as %T", m)
	}
	if b := p.read(); b[7] != 4 || b[11] != 0 {
		t.Errorf("submit_sm was answered %x", b)
	}
	p.pdu("00000005 00000000 00000003" + deliverHi)
	if _, ok := (<-came).(*smpp.DeliverSM); !ok {
		t.Error("no deliver_sm")
	}
	if b := p.read(); b[7] != 5 || b[11] != 0 {
		t.Errorf("deliver_sm was answered %x", b)
	}
	p.pdu("00000103 00000000 00000004" + dataHi)
	if _, ok := (<-came).(*smpp.DataSM); !ok {
		t.Error("no data_sm")
	}
	p.read()
	p.pdu(`00000003 00000000 00000005 "1"00 00 00 00`) // query_sm
	if b := p.read(); b[11] != byte(smpp.StatusInvCmdID) {
		t.Errorf("query_sm was answered %x", b)
	}
	p.alive()
	_ = p.Close()
}

// A vendor that is not there, or not active, does not bind, and does not stay bound.
func TestVendorGone(t *testing.T) {
	w, v, _ := vendorSetup(t)
	addr := w.listen()
	p := serverDial(t, addr)
	p.bind(bindRX)
	w.events.await("binds acme +1", 1)
	v.Active = false
	w.publishVendor(3, v)
	w.Recheck()
	p.unbound()
	again := serverDial(t, addr)
	if st := again.tryBind(bindTRX, "acme", serverPassword, 0x34); st != smpp.StatusBindFail {
		t.Errorf("an inactive vendor's bind was answered %s", st)
	}
	again.wantEnd()
}

// An edge that knows no vendors lets none bind.
func TestNoVendors(t *testing.T) {
	w, _, _ := vendorSetup(t)
	w.FromVendor = nil
	p := serverDial(t, w.listen())
	if st := p.tryBind(bindTRX, "acme", serverPassword, 0x34); st != smpp.StatusBindFail {
		t.Errorf("answered %s", st)
	}
	p.wantEnd()
}
