package smpp

import (
	"context"
	"crypto/tls"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/postrider/postrider/edges/vendors/vendortest"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/smpp"
	"github.com/postrider/postrider/internal/snapshot"
)

func TestProfiles(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range Profiles() {
		v := p.Vendor
		if p.Name == "" || seen[p.Name] || p.Description == "" || v.ProviderType != "smpp" || v.Port == 0 || v.MaxBinds == 0 {
			t.Errorf("%+v", p)
		}
		seen[p.Name] = true
		if v.Host != "" || v.Username != "" || v.Password != "" || v.Name != "" {
			t.Errorf("%s: the account's own fields are set", p.Name)
		}
		for code, r := range v.CodeMap {
			if !r.Known() {
				t.Errorf("%s: %s is mapped to %q", p.Name, code, r)
			}
		}
		if _, err := New(Config{Vendor: v, OnReceipt: newSink().receipt, OnInbound: newSink().message}); err != nil {
			t.Error(err)
		}
		v.CodeMap["0"] = message.ReasonFiltered
		if again, ok := ProfileNamed(p.Name); !ok || again.Vendor.CodeMap["0"] == message.ReasonFiltered {
			t.Errorf("%s: what a caller changes is changed for all", p.Name)
		}
	}
	if _, ok := ProfileNamed("no such"); ok {
		t.Error("found")
	}
}

// likeSinch is an SMSC with Sinch's behaviour: TLS 1.2, two binds, a window of 10, and
// every PDU beside bind, submit, deliver, enquire_link and unbind unknown.
func likeSinch(t *testing.T) (vendortest.Config, string) {
	t.Helper()
	cert, root := authority(t)
	return vendortest.Config{
		Session: smpp.Config{Inbound: 10},
		TLS:     &tls.Config{Certificates: []tls.Certificate{cert}, MaxVersion: tls.VersionTLS12},
	}, root
}

func TestSinchConformance(t *testing.T) {
	cfg, root := likeSinch(t)
	p, _ := ProfileNamed("sinch")
	vendortest.Conformance(t, subject(cfg, vendortest.UsualStatuses, func(v *snapshot.Vendor) {
		own := *v
		*v = p.Vendor
		v.ID, v.Name, v.Host, v.Username, v.Password = own.ID, own.Name, own.Host, own.Username, own.Password
		v.Port, v.Window = own.Port, own.Window
		if own.ResponseTimeout > 0 {
			v.ResponseTimeout = own.ResponseTimeout
		}
		v.TLSCA, v.ServerName = root, "vendor.test"
	}))
}

// What is special to Sinch: receipts of its codes, inbound messages with destinations of
// type 2, short codes of type 0, and no third bind.
func TestSinchTraffic(t *testing.T) {
	cfg, root := likeSinch(t)
	cfg.NewID = func(int) string { return "00Ab-1" }
	p, _ := ProfileNamed("sinch-short-code")
	st := play(t, cfg, func(c *Config) {
		own := c.Vendor
		c.Vendor = p.Vendor
		c.Vendor.ID, c.Vendor.Name, c.Vendor.Host, c.Vendor.Username, c.Vendor.Password = own.ID, own.Name, own.Host, own.Username, own.Password
		c.Vendor.Port, c.Vendor.TLSCA, c.Vendor.ServerName = own.Port, root, "vendor.test"
	})
	st.bound(2)
	s := part("text")
	s.From = "12345"
	r, no := st.submitPart(context.Background(), s)
	if no != nil {
		t.Fatal(no)
	}
	sub := st.smsc.Submits()[0]
	if sub.PDU.Source != (smpp.Address{TON: 0, NPI: 1, Text: "12345"}) || sub.PDU.Dest != (smpp.Address{TON: 1, NPI: 1, Text: "13105550117"}) {
		t.Errorf("addresses %+v %+v", sub.PDU.Source, sub.PDU.Dest)
	}
	for code, want := range map[string]message.Reason{
		"0": message.ReasonUnreachable, "000": message.ReasonUnreachable, "060": message.ReasonCampaignInactive, "15": message.ReasonFiltered,
		"64": message.ReasonDailyCapReached, "152": message.ReasonUnknownSubscriber, "321": message.ReasonRecipientRefused,
		"349": message.ReasonFiltered, "18": message.ReasonUnreachable, "310": message.ReasonUnauthorizedSender, "777": message.ReasonVendorRejected,
	} {
		if err := st.smsc.Deliver(t.Context(), vendortest.Receipt(sub, message.ReceiptUndeliverable, code)); err != nil {
			t.Fatal(err)
		}
		if got := <-st.sink.receipts; got.Reason != want || got.VendorMessageID != r.NormalizedID {
			t.Errorf("err %s: %q of %q, want %q of %q", code, got.Reason, got.VendorMessageID, want, r.NormalizedID)
		}
	}
	d := deliver("hello", 0, smpp.TLVs{{Tag: 0x1403, Data: []byte("310410")}})
	d.Dest = smpp.Address{TON: 2, NPI: 8, Text: "12345"}
	if err := st.smsc.Deliver(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	if m := <-st.sink.inbound; m.Text != "hello" || m.To != "12345" || m.ToTON != 2 {
		t.Errorf("%+v", m)
	}
	if n := st.smsc.Binds(); n != 2 {
		t.Errorf("%d binds", n)
	}
}

func TestProbe(t *testing.T) {
	cfg, root := likeSinch(t)
	cfg.SystemID, cfg.Password = "gw", "s3cret"
	smsc, err := vendortest.Listen("", cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer smsc.Close()
	v := row()
	v.Port, v.UseTLS, v.TLSCA, v.ServerName = smsc.Addr().(*net.TCPAddr).Port, true, root, "vendor.test"
	detail, err := Test(t.Context(), &v)
	if err != nil || !strings.Contains(detail, `bound as transceiver to "smsc"`) || !strings.Contains(detail, "SMPP 3.4, TLS 1.2") {
		t.Errorf("%q, %v", detail, err)
	}
	if err := smsc.WaitGone(t.Context()); err != nil || len(smsc.Submits()) != 0 {
		t.Error("it stays", err)
	}
	for what, edit := range map[string]func(*snapshot.Vendor){
		"RINVPASWD":   func(v *snapshot.Vendor) { v.Password = "wr0ng" },
		"RINVSYSID":   func(v *snapshot.Vendor) { v.Username = "wr0ng" },
		"certificate": func(v *snapshot.Vendor) { v.ServerName = "other.test" },
		"tls_ca":      func(v *snapshot.Vendor) { v.TLSCA = "no pem" },
		"bind type":   func(v *snapshot.Vendor) { v.BindType = "both" },
		"connect":     func(v *snapshot.Vendor) { v.Host = "127.0.0.1:no" },
	} {
		bad := v
		edit(&bad)
		if detail, err := Test(t.Context(), &bad); err == nil || detail != "" || !strings.Contains(err.Error(), what) ||
			strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), "wr0ng") {
			t.Errorf("%s: %q, %v", what, detail, err)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Test(ended, &v); err == nil {
		t.Error("no error of an ended context")
	}
}

// A vendor that is asked for a test with all its binds in use says so, and the link does
// not notice.
func TestProbeBesideALink(t *testing.T) {
	var binds atomic.Int32
	st := play(t, vendortest.Config{OnBind: func(*smpp.Bind) smpp.Decision {
		if binds.Add(1) > 1 {
			return smpp.Decision{Status: smpp.StatusAlreadyBound}
		}
		return smpp.Decision{}
	}}, nil)
	st.ready()
	if _, err := Test(t.Context(), &st.link.vendor); err == nil || !strings.Contains(err.Error(), "RALYBND") {
		t.Error(err)
	}
	if _, no := st.submit("text"); no != nil {
		t.Error(no)
	}
}
