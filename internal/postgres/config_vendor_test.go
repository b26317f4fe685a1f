package postgres

import (
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// filled fails the test for a field that says nothing, beside those named.
func filled(t *testing.T, v any, empty ...string) {
	t.Helper()
	rv := reflect.ValueOf(v)
	for i := range rv.NumField() {
		name := rv.Type().Field(i).Name
		blank := false
		for _, e := range empty {
			blank = blank || e == name
		}
		if rv.Field(i).IsZero() != blank {
			t.Errorf("%s: %v", name, rv.Field(i))
		}
	}
}

// Every field of a vendor comes back as it was written.
func TestVendorAsWritten(t *testing.T) {
	t.Parallel()
	b := setup(t)
	one, two := byte(1), byte(2)
	want := snapshot.Vendor{ID: message.NewID(), Name: "full", DisplayName: "Full", ProviderType: "twilio", Active: true, Paused: true, Draining: true, Version: 1,
		Host: "192.0.2.1", Port: 2776, Username: "u", Password: "p", UseTLS: true, TLSCA: "ca", ServerName: "smsc.example", BindType: "receiver", SystemType: "x",
		ClientCert: "cert", ClientKey: "key", BaseURL: "https://api.example", AccountSID: "AC1", MessagingProfileID: "MG1", SigningKeys: []string{"new", "old"},
		Throughput: 5, Priority: 6, CostPerSMS: 7, CostPerMMS: 8, Window: 9, MaxBinds: 10, SupportsAlphanumeric: true, SupportsUnicode: true, SupportsMMS: true,
		IDFormat: "dec_to_hex", LongMessage: "payload", DefaultAlphabet: "ascii", CodeMap: map[string]message.Reason{"1": message.ReasonUnreachable},
		PassTLVs: []uint16{5}, MediaProfile: "att", SourceTON: &one, SourceNPI: &two, DestTON: &two, DestNPI: &one, AddressTON: 5, AddressNPI: 6, AddressRange: "^1",
		DefaultCoding: 3, ReceiptID: "text", ReceiptsUnmarked: true, OutbindSystemID: "smsc", OutbindPassword: "o", OutbindAllowed: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")},
		ReceiptPercent: 40, ReceiptExpected: time.Minute, EnquireLink: 2 * time.Second, ResponseTimeout: 3 * time.Second, ReceiptGrace: 4 * time.Second}
	filled(t, want, "Replies")
	if err := b.CreateVendor(b.ctx, actor, want); err != nil {
		t.Fatal(err)
	}
	s, err := b.LoadSnapshot(b.ctx)
	if err != nil {
		t.Fatal(err)
	}
	got := *s.Vendors[want.ID]
	if !reflect.DeepEqual(got, want) {
		t.Errorf("read\n%+v\nwant\n%+v", got, want)
	}
}

// So does every field of a route.
func TestRouteAsWritten(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.configured()
	zone, err := time.LoadLocation("America/Chicago")
	if err != nil {
		t.Fatal(err)
	}
	dest, source := "^1", "^1202"
	d, _ := compile(&dest)
	src, _ := compile(&source)
	from := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	want := snapshot.Route{Priority: 4, DestPattern: d, SourcePattern: src, VendorID: b.vendor.ID, AccountID: b.owner, MessageType: message.MMS, RatePerMsg: 5, Weight: 6,
		Name: "n", Class: message.ClassOTP, Capability: "long", Selection: "least_cost", MaxCost: 7, Sticky: true, Days: 3, FromMinute: 60, UntilMinute: 120, Zone: zone,
		EffectiveFrom: from, EffectiveUntil: from.Add(time.Hour)}
	if want.ID, err = b.CreateRoute(b.ctx, actor, want); err != nil {
		t.Fatal(err)
	}
	filled(t, want)
	s, err := b.LoadSnapshot(b.ctx)
	if err != nil {
		t.Fatal(err)
	}
	var got snapshot.Route
	for _, r := range s.Routes {
		if r.ID == want.ID {
			got = r
		}
	}
	got.EffectiveFrom, got.EffectiveUntil = got.EffectiveFrom.UTC(), got.EffectiveUntil.UTC()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("read\n%+v\nwant\n%+v", got, want)
	}
}
