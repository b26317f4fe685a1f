package smpp

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/smpp"
)

// visited is a session of a vendor that has bound to us, and the vendor's end of it.
func visited(t *testing.T, d *Desk) *smpp.Session {
	t.Helper()
	ours, theirs := net.Pipe()
	v := row()
	server := smpp.NewServerSession(ours, smpp.ServerConfig{
		Config: smpp.Config{Handler: smpp.HandlerFunc(func(r *smpp.Request) { d.Take(context.Background(), &v, r) })}, SystemID: "us", SessionInit: time.Minute,
		Bind: func(context.Context, *smpp.Session, *smpp.Bind) smpp.Decision {
			return smpp.Decision{AllowDeliver: true, Window: 10, Inbound: 10}
		},
	})
	client, err := smpp.Dial(t.Context(), smpp.DialConfig{Config: smpp.Config{Handler: smpp.HandlerFunc(func(*smpp.Request) {})}, Address: "x:1",
		DialContext: func(context.Context, string, string) (net.Conn, error) { return theirs, nil }, Bind: smpp.Bind{Mode: smpp.ModeTransceiver, SystemID: "north", Password: "x"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		client.Close()
		server.Close()
		client.Wait()
		server.Wait()
	})
	return client
}

// What a vendor submits to us is a message of a handset or a receipt, and is answered
// once it is committed.
func TestDeskOfAVisitor(t *testing.T) {
	sink := newSink()
	d := &Desk{OnReceipt: sink.receipt, OnInbound: sink.message}
	s := visited(t, d)
	m := smpp.Message{Source: smpp.AddressOf("+13105550117"), Dest: smpp.AddressOf("+12025550143")}
	if err := m.SetText(smpp.Outgoing{Text: "Where is it?", Encoding: message.EncodingGSM7}); err != nil {
		t.Fatal(err)
	}
	p, err := s.Request(t.Context(), &smpp.SubmitSM{Message: m})
	if err != nil {
		t.Fatal(err)
	}
	if id := p.Body.(*smpp.SubmitSMResp).MessageID; len(id) != 32 {
		t.Errorf("submit_sm was answered with id %q", id)
	}
	if got := <-sink.inbound; got.Text != "Where is it?" || got.From != "13105550117" {
		t.Errorf("message: %+v", got)
	}
	m.ESMClass = 4
	if err := m.SetText(smpp.Outgoing{Text: "id:0A1 sub:001 dlvrd:001 submit date:2611220900 done date:2611220901 stat:DELIVRD err:000 text:", Encoding: message.EncodingGSM7}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Request(t.Context(), &smpp.DeliverSM{Message: m}); err != nil {
		t.Fatal(err)
	}
	if got := <-sink.receipts; got.State != message.ReceiptDelivered || got.VendorMessageID != "a1" {
		t.Errorf("receipt: %+v", got)
	}
}

// What could not be committed is to be sent again.
func TestDeskRefuses(t *testing.T) {
	d := &Desk{OnInbound: func(context.Context, message.InboundMessage) error { return errors.New("no journal") }}
	s := visited(t, d)
	m := smpp.Message{Source: smpp.AddressOf("+13105550117"), Dest: smpp.AddressOf("+12025550143")}
	var refused *smpp.StatusError
	if _, err := s.Request(t.Context(), &smpp.SubmitSM{Message: m}); !errors.As(err, &refused) || refused.Status != smpp.StatusTempAppError {
		t.Errorf("answered %v", err)
	}
}
