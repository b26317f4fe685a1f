package smpp

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/linxGnu/gosmpp"
	"github.com/linxGnu/gosmpp/data"
	"github.com/linxGnu/gosmpp/pdu"
)

// gosmpp's client is a peer that is not ours.
func gosmppClient(t *testing.T, ln net.Listener, got chan<- pdu.PDU) (*gosmpp.Session, error) {
	t.Helper()
	s, err := gosmpp.NewSession(
		gosmpp.TRXConnector(gosmpp.NonTLSDialer, gosmpp.Auth{SMSC: ln.Addr().String(), SystemID: "acme", Password: "s3cret"}),
		gosmpp.Settings{
			ReadTimeout: time.Minute,
			OnAllPDU: func(p pdu.PDU) (pdu.PDU, bool) {
				got <- p
				if p.CanResponse() {
					return p.GetResponse(), false
				}
				return nil, false
			},
		}, -1)
	if err == nil {
		t.Cleanup(func() { _ = s.Close() })
	}
	return s, err
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	return ln
}

func TestGosmppClientAgainstServer(t *testing.T) {
	ln := listen(t)
	submitted := make(chan *SubmitSM, 1)
	bound := make(chan *Session, 1)
	go func() {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		serve(t, conn, ServerConfig{
			Config: Config{Handler: HandlerFunc(func(r *Request) {
				submitted <- r.Body.(*SubmitSM)
				_ = r.Respond(StatusOK, &SubmitSMResp{MessageID: "01a1ffbf"})
			})},
			Bind: func(_ context.Context, _ *Session, b *Bind) Decision {
				if b.SystemID != "acme" || b.Password != "s3cret" {
					return Decision{Status: StatusInvPassword}
				}
				return Decision{}
			},
			Bound: func(s *Session) { bound <- s },
		})
	}()
	got := make(chan pdu.PDU, 10)
	client, err := gosmppClient(t, ln, got)
	if err != nil {
		t.Fatal(err)
	}
	session := <-bound

	sm := pdu.NewSubmitSM().(*pdu.SubmitSM)
	_ = sm.DestAddr.SetAddress("15551230002")
	_ = sm.Message.SetMessageWithEncoding("grüße", data.UCS2)
	sm.RegisterOptionalParam(pdu.Field{Tag: pdu.TagUserMessageReference, Data: []byte{1, 2}})
	if err := client.Transceiver().Submit(sm); err != nil {
		t.Fatal(err)
	}
	m := <-submitted
	if ref, _ := m.TLVs.Uint16(TagUserMessageReference); m.Dest.Text != "15551230002" || m.DataCoding != 8 || len(m.ShortMessage) != 10 || ref != 0x0102 {
		t.Errorf("server read %+v", m)
	}
	if r, ok := (<-got).(*pdu.SubmitSMResp); !ok || r.MessageID != "01a1ffbf" || r.SequenceNumber != sm.SequenceNumber {
		t.Errorf("client read %+v", r)
	}

	receipt := &DeliverSM{Message{Source: Address{1, 1, "15551230002"}, ESMClass: 4, ShortMessage: []byte("id:1 stat:DELIVRD")}}
	receipt.TLVs.AddCString(TagReceiptedMessageID, "01a1ffbf")
	receipt.TLVs.AddByte(TagMessageState, 2)
	if err := session.Deliver(context.Background(), receipt); err != nil {
		t.Errorf("deliver: %v", err)
	}
	d, ok := (<-got).(*pdu.DeliverSM)
	if !ok || d.EsmClass != 4 {
		t.Fatalf("client read %+v", d)
	}
	id := d.OptionalParameters[pdu.TagReceiptedMessageID]
	if id.String() != "01a1ffbf" {
		t.Errorf("client read id %q", id.String())
	}

	if err := session.Unbind(context.Background()); err != nil {
		t.Errorf("unbind: %v", err)
	}
}

func TestGosmppClientSeesBindStatus(t *testing.T) {
	ln := listen(t)
	go func() {
		if conn, err := ln.Accept(); err == nil {
			serve(t, conn, ServerConfig{Bind: func(context.Context, *Session, *Bind) Decision { return Decision{Status: StatusInvPassword} }})
		}
	}()
	_, err := gosmppClient(t, ln, make(chan pdu.PDU, 1))
	var refused gosmpp.BindError
	if !errors.As(err, &refused) || refused.CommandStatus != data.ESME_RINVPASWD {
		t.Errorf("client's error %v", err)
	}
}
