package main

import (
	"strings"
	"testing"
	"time"

	"github.com/linxGnu/gosmpp"
	"github.com/linxGnu/gosmpp/data"
	"github.com/linxGnu/gosmpp/pdu"
)

// gosmpp's client is a peer that is not ours.
func gosmppClient(t *testing.T, s *simulator) (*gosmpp.Session, <-chan pdu.PDU) {
	t.Helper()
	got := make(chan pdu.PDU, 100)
	client, err := gosmpp.NewSession(
		gosmpp.TRXConnector(gosmpp.NonTLSDialer, gosmpp.Auth{SMSC: s.ready().SMPP, SystemID: "acme", Password: "pw"}),
		gosmpp.Settings{ReadTimeout: time.Minute, OnAllPDU: func(p pdu.PDU) (pdu.PDU, bool) {
			got <- p
			if p.CanResponse() {
				return p.GetResponse(), false
			}
			return nil, false
		}}, -1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client, got
}

func gosmppSubmit(t *testing.T, destination, words string, enc data.Encoding) *pdu.SubmitSM {
	t.Helper()
	m := pdu.NewSubmitSM().(*pdu.SubmitSM)
	_ = m.SourceAddr.SetAddress("15550001000")
	_ = m.DestAddr.SetAddress(destination)
	m.RegisteredDelivery = 1
	if err := m.Message.SetMessageWithEncoding(words, enc); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestGosmppClient(t *testing.T) {
	s := configured(t, func(c *config) { c.Magic = true })
	client, got := gosmppClient(t, s)
	for _, row := range []struct {
		destination, words string
		enc                data.Encoding
		stat               string
	}{
		{"15551239991", "Hello [gosmpp]", data.GSM7BIT, "stat:DELIVRD err:000"},
		{"15551230001", "grüße 你好", data.UCS2, "stat:UNDELIV err:001"},
	} {
		if err := client.Transceiver().Submit(gosmppSubmit(t, row.destination, row.words, row.enc)); err != nil {
			t.Fatal(err)
		}
		resp, ok := (<-got).(*pdu.SubmitSMResp)
		if !ok || resp.CommandStatus != data.ESME_ROK || resp.MessageID == "" {
			t.Fatalf("answer %+v", resp)
		}
		d, ok := (<-got).(*pdu.DeliverSM)
		if !ok || d.EsmClass != 4 || d.SourceAddr.Address() != row.destination {
			t.Fatalf("receipt %+v", d)
		}
		words, err := d.Message.GetMessage()
		id := d.OptionalParameters[pdu.TagReceiptedMessageID]
		if err != nil || !strings.HasPrefix(words, "id:"+resp.MessageID+" ") || !strings.Contains(words, row.stat) || id.String() != resp.MessageID {
			t.Errorf("receipt %q, %v", words, err)
		}
		if rows := s.ledger.shown(row.destination); len(rows) != 1 || rows[0].Text != row.words {
			t.Errorf("shown %+v", rows)
		}
	}
	if err := client.Transceiver().Submit(gosmppSubmit(t, "15551230008", "x", data.GSM7BIT)); err != nil {
		t.Fatal(err)
	}
	if resp, ok := (<-got).(*pdu.SubmitSMResp); !ok || resp.CommandStatus != data.ESME_RINVDSTADR {
		t.Errorf("answer %+v", resp)
	}
}
