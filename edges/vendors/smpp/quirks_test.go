package smpp

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/edges/vendors/vendortest"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/smpp"
	"github.com/postrider/postrider/internal/snapshot"
)

func octet(b byte) *byte { return &b }

func TestTypesOfNumber(t *testing.T) {
	st := play(t, vendortest.Config{}, func(c *Config) {
		c.Vendor.SourceTON, c.Vendor.SourceNPI = octet(0), octet(9)
		c.Vendor.DestTON = octet(2)
	})
	st.ready()
	for from, want := range map[message.Address]smpp.Address{
		"+12025550143": {TON: 0, NPI: 9, Text: "12025550143"},
		"12345":        {TON: 0, NPI: 9, Text: "12345"},
		"ACME":         {TON: 5, NPI: 0, Text: "ACME"},
	} {
		s := part("text")
		s.From = from
		if _, no := st.submitPart(t.Context(), s); no != nil {
			t.Fatal(no)
		}
		all := st.smsc.Submits()
		m := all[len(all)-1].PDU.Message
		if m.Source != want || m.Dest != (smpp.Address{TON: 2, NPI: 1, Text: "13105550117"}) {
			t.Errorf("%s: %+v to %+v", from, m.Source, m.Dest)
		}
	}
}

func TestBindFields(t *testing.T) {
	binds := make(chan smpp.Bind, 1)
	st := play(t, vendortest.Config{OnBind: func(b *smpp.Bind) smpp.Decision { binds <- *b; return smpp.Decision{} }}, func(c *Config) {
		c.Vendor.SystemType, c.Vendor.AddressTON, c.Vendor.AddressNPI, c.Vendor.AddressRange = "cp", 1, 8, "^1202555"
		c.Vendor.Password = "longer-than-eight" // some peers take it
	})
	st.ready()
	want := smpp.Bind{
		Mode: smpp.ModeTransceiver, SystemID: "gw", Password: "longer-than-eight", SystemType: "cp",
		InterfaceVersion: smpp.Version34, AddressTON: 1, AddressNPI: 8, AddressRange: "^1202555",
	}
	if b := <-binds; b != want {
		t.Errorf("bound by %+v", b)
	}
}

// The octet for text in the vendor's default alphabet; other data has the octet that
// it always has.
func TestDefaultCoding(t *testing.T) {
	st := play(t, vendortest.Config{}, func(c *Config) { c.Vendor.DefaultCoding, c.Vendor.DefaultAlphabet = 3, "latin1" })
	st.ready()
	for _, tt := range []struct {
		name   string
		edit   func(*message.Submission)
		coding byte
		octets string
	}{
		{"default alphabet", func(s *message.Submission) { s.Text = "grüße" }, 3, "gr\xfc\xdfe"},
		{"another alphabet", func(s *message.Submission) { s.Text = "10 €" }, 8, "\x001\x000\x00 \x20\xac"},
		{"ucs2", func(s *message.Submission) { s.Text, s.Encoding = "П", message.EncodingUCS2 }, 8, "\x04\x1f"},
		{"flash", func(s *message.Submission) { s.DataCoding = 0x10 }, 0x10, "text"},
		{"octets", func(s *message.Submission) { s.Text, s.Encoding, s.DataCoding = "\x00\x01", message.EncodingBinary, 4 }, 4, "\x00\x01"},
		{"octets of no coding", func(s *message.Submission) { s.Text, s.Encoding = "\x00\x01", message.EncodingBinary }, 0, "\x00\x01"},
	} {
		s := part("text")
		tt.edit(&s)
		if _, no := st.submitPart(t.Context(), s); no != nil {
			t.Fatalf("%s: %v", tt.name, no)
		}
		all := st.smsc.Submits()
		if m := all[len(all)-1].PDU.Message; m.DataCoding != tt.coding || string(m.ShortMessage) != tt.octets {
			t.Errorf("%s: data_coding %d, %q", tt.name, m.DataCoding, m.ShortMessage)
		}
	}
}

func TestPlaceOfTheReceiptID(t *testing.T) {
	var both smpp.TLVs
	both.AddCString(smpp.TagReceiptedMessageID, "00FF")
	both.AddByte(smpp.TagMessageState, 2)
	for _, tt := range []struct {
		at, format string
		words      string
		tlvs       smpp.TLVs
		want       string
	}{
		{"", "same", "id:abc stat:DELIVRD", both, "ff"},
		{"auto", "hex_to_dec", "id:255 stat:DELIVRD", both, "255"},
		{"tlv", "hex_to_dec", "id:wrong stat:DELIVRD", both, "255"},
		{"tlv", "same", "id:Abc stat:DELIVRD", nil, "abc"},
		{"text", "same", "id:\x000Abc stat:DELIVRD", both, "abc"},
		{"text", "same", "stat:DELIVRD", both, "ff"},
		{"text", "dec_to_hex", "id: 00ff stat:DELIVRD", nil, "ff"},
	} {
		t.Run(tt.at+" "+tt.format+" "+tt.words, func(t *testing.T) {
			st := play(t, vendortest.Config{}, func(c *Config) { c.Vendor.ReceiptID, c.Vendor.IDFormat = tt.at, tt.format })
			st.ready()
			if err := st.smsc.Deliver(t.Context(), deliver(tt.words, 4, tt.tlvs)); err != nil {
				t.Fatal(err)
			}
			if r := <-st.sink.receipts; r.VendorMessageID != tt.want || r.State != message.ReceiptDelivered {
				t.Errorf("%q, %s", r.VendorMessageID, r.State)
			}
		})
	}
}

// A handset can write what reads like a receipt. It is one only where the vendor's row
// says that receipts come unmarked, or where it has what no handset can write.
func TestReceiptsWithoutTheirMark(t *testing.T) {
	const words = "id:1 sub:001 dlvrd:001 stat:DELIVRD err:000"
	var both smpp.TLVs
	both.AddCString(smpp.TagReceiptedMessageID, "1")
	both.AddByte(smpp.TagMessageState, 2)
	for _, tt := range []struct {
		name     string
		unmarked bool
		words    string
		tlvs     smpp.TLVs
		receipt  bool
	}{
		{"of a handset", false, words, nil, false},
		{"of a handset, with an id", false, words, smpp.TLVs{{Tag: smpp.TagReceiptedMessageID, Data: []byte("mo-1")}}, false},
		{"with parameters", false, words, both, true},
		{"of a vendor without marks", true, words, nil, true},
		{"words, of a vendor without marks", true, "id card: 1", nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			st := play(t, vendortest.Config{}, func(c *Config) { c.Vendor.ReceiptsUnmarked = tt.unmarked })
			st.ready()
			if err := st.smsc.Deliver(t.Context(), deliver(tt.words, 0, tt.tlvs)); err != nil {
				t.Fatal(err)
			}
			if got := len(st.sink.receipts) == 1; got != tt.receipt || len(st.sink.inbound)+len(st.sink.receipts) != 1 {
				t.Errorf("%d receipts, %d messages", len(st.sink.receipts), len(st.sink.inbound))
			}
		})
	}
}

// A status that means something else at the vendor concerns the message alone.
func TestMappedStatuses(t *testing.T) {
	st := play(t, vendortest.Config{OnSubmit: func(s vendortest.Submit) vendortest.Answer {
		return vendortest.Answer{Status: []smpp.Status{smpp.StatusInvBindState, smpp.StatusThrottled, smpp.StatusSubmitFail, 0x405}[s.Number-1]}
	}}, func(c *Config) {
		c.Vendor.CodeMap = map[string]message.Reason{
			"0x0004": message.ReasonInvalidDestination, "RTHROTTLED": message.ReasonQuotaExceeded,
			"0x45": message.ReasonVendorRejected, "0x405": message.ReasonVendorUnreachable,
		}
	})
	st.ready()
	for _, want := range []verdict{
		{reason: message.ReasonInvalidDestination, wire: true},
		{reason: message.ReasonQuotaExceeded, wire: true, re: true, after: time.Second},
		{reason: message.ReasonVendorRejected, wire: true},
		{reason: message.ReasonVendorUnreachable, wire: true, re: true, after: 5 * time.Second},
	} {
		if _, no := st.submit("text"); verdictOf(no) != want {
			t.Errorf("%+v, want %+v", no, want)
		}
		if st.link.Room() != defaultWindow {
			t.Errorf("room %d after %s", st.link.Room(), want.reason)
		}
	}
	if n := st.smsc.Binds(); n != 1 {
		t.Errorf("bound %d times", n)
	}
}

func TestClientCertificate(t *testing.T) {
	cert, root := authority(t)
	own, ownRoot := authority(t)
	key, err := x509.MarshalPKCS8PrivateKey(own.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	ownPEM := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}))
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(ownRoot))
	server := vendortest.Config{TLS: &tls.Config{
		Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequireAnyClientCert, ClientCAs: pool,
	}}
	with := func(edit func(*snapshot.Vendor)) func(*Config) {
		return func(c *Config) {
			c.Vendor.UseTLS, c.Vendor.TLSCA, c.Vendor.ServerName = true, root, "vendor.test"
			c.Vendor.ClientCert, c.Vendor.ClientKey = ownRoot, ownPEM
			if edit != nil {
				edit(&c.Vendor)
			}
		}
	}
	st := play(t, server, with(nil))
	st.ready()
	if _, no := st.submit("text"); no != nil {
		t.Error(no)
	}
	bare := st.link.vendor
	bare.ClientCert, bare.ClientKey = "", ""
	if _, err := Test(context.Background(), &bare); err == nil {
		t.Error("bound without a certificate")
	}
	for name, edit := range map[string]func(*snapshot.Vendor){
		"no key":      func(v *snapshot.Vendor) { v.ClientKey = "" },
		"another key": func(v *snapshot.Vendor) { v.ClientCert = root },
		"no PEM":      func(v *snapshot.Vendor) { v.ClientCert = "no pem" },
	} {
		cfg := Config{Vendor: row(), OnReceipt: newSink().receipt, OnInbound: newSink().message}
		with(edit)(&cfg)
		_, err := New(cfg)
		if err == nil || !strings.Contains(err.Error(), "tls_client") || strings.Contains(err.Error(), ownPEM[40:60]) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
