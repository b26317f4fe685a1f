package e2e

import (
	"fmt"
	"strconv"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"github.com/postrider/postrider/edges/vendors/vendortest"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/smpp"
	"github.com/postrider/postrider/internal/snapshot"
	"github.com/postrider/postrider/internal/stack/stacktest"
)

// writing is a text of a handset to our number.
func writing(sender, text string) smpp.Message {
	return smpp.Message{Source: smpp.AddressOf(message.Address(sender)), Dest: smpp.AddressOf(from), ShortMessage: []byte(text)}
}

// TestVendorOutbindAndBind has two vendors that we bind to as transmitters only: one
// calls us by outbind, one binds to us. What handsets write and what became of messages
// comes over the connections that they have made.
func TestVendorOutbindAndBind(t *testing.T) {
	t.Parallel()
	s := start(t)
	port := stacktest.FreePort(t)
	s.env = append(s.env, "SMPP_OUTBIND_PORT="+strconv.Itoa(port))
	s.restartGateway()
	t.Run("outbind", func(t *testing.T) { s.calledBy(t, port) })
	t.Run("bind", s.boundBy)
}

// calledBy: a vendor that calls by outbind.
func (s *system) calledBy(t *testing.T, port int) {
	ctx, address := stacktest.Context(t), fmt.Sprintf("127.0.0.1:%d", port)
	s.alter("delete from routing_rules")
	v := s.newVendor("caller", obliging, true, func(_ *smsc, row *snapshot.Vendor) {
		row.BindType, row.OutbindSystemID, row.OutbindPassword = "transmitter", "caller", "secret"
	})
	v.bound()
	id := s.post(map[string]any{"from": from, "to": destination(1), "body": "hello"}).ID
	s.is(id, message.StatusSent) // its receipt waits at the vendor
	binds := v.Binds()
	for _, password := range []string{"wrong", "secret"} {
		if err := v.Call(ctx, address, "caller", password); err != nil {
			t.Fatal(err)
		}
	}
	s.is(id, message.StatusDelivered)
	if err := v.Deliver(ctx, &smpp.DeliverSM{Message: writing(destination(2), "over the outbind")}); err != nil {
		t.Fatal(err)
	}
	s.receives(t, destination(2), "over the outbind")
	if n := v.Binds() - binds; n != 1 {
		t.Errorf("%d binds came of a call with the wrong password and one with the right", n)
	}
}

// boundBy: a vendor that binds to us with a credential of its own.
func (s *system) boundBy(t *testing.T) {
	ctx := stacktest.Context(t)
	s.alter("delete from routing_rules")
	v := s.newVendor("visitor", obliging, false, func(_ *smsc, row *snapshot.Vendor) { row.BindType = "transmitter" })
	v.bound()
	hash, err := bcrypt.GenerateFromPassword([]byte("visiting"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.db.CreateSMPPCredential(ctx, actor, snapshot.SMPPCredential{ID: message.NewID(), VendorID: v.id, SystemID: "visitor", PasswordHash: string(hash), Enabled: true,
		MaxBinds: 1, Throughput: 1000, Window: 10, Receiver: true, Transmitter: true, Transceiver: true, LongMO: "udh", Alphabet: "gsm7"}); err != nil {
		t.Fatal(err)
	}
	id := s.post(map[string]any{"from": from, "to": destination(3), "body": "hello"}).ID
	s.is(id, message.StatusSent)
	submits, err := v.WaitSubmits(ctx, 1)
	if err != nil {
		t.Fatal(err)
	}
	s.current()
	session, err := smpp.Dial(ctx, smpp.DialConfig{Address: fmt.Sprintf("127.0.0.1:%d", s.smppPort),
		Config: smpp.Config{Handler: smpp.HandlerFunc(func(r *smpp.Request) { _ = r.Respond(smpp.StatusInvCmdID, nil) }), Window: 10},
		Bind:   smpp.Bind{Mode: smpp.ModeTransceiver, SystemID: "visitor", Password: "visiting", InterfaceVersion: smpp.Version34}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(session.Close)
	for _, p := range []smpp.PDU{
		&smpp.SubmitSM{Message: writing(destination(4), "by submission")},
		&smpp.DeliverSM{Message: writing(destination(5), "by delivery")},
		vendortest.Receipt(submits[0], message.ReceiptDelivered, "000"),
	} {
		if _, err := session.Request(ctx, p); err != nil {
			t.Fatalf("%T: %v", p, err)
		}
	}
	s.is(id, message.StatusDelivered)
	s.receives(t, destination(4), "by submission")
	s.receives(t, destination(5), "by delivery")
}
