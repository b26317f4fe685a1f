package vendorconf

import (
	"slices"
	"testing"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

func TestMM4(t *testing.T) {
	for name, c := range map[string]struct {
		edit func(v *snapshot.Vendor)
		want []string
	}{
		"as it comes":          {func(*snapshot.Vendor) {}, nil},
		"with a login":         {func(v *snapshot.Vendor) { v.Username, v.Password, v.UseTLS = "gw", "x", true }, nil},
		"a login in the clear": {func(v *snapshot.Vendor) { v.Username, v.Password = "gw", "x" }, []string{"use_tls"}},
		"no password":          {func(v *snapshot.Vendor) { v.Username, v.UseTLS = "gw", true }, []string{"password"}},
		"no user name":         {func(v *snapshot.Vendor) { v.Password = "x" }, []string{"username"}},
		"no MMS":               {func(v *snapshot.Vendor) { v.SupportsMMS = false }, []string{"supports_mms"}},
		"no host":              {func(v *snapshot.Vendor) { v.Host = "" }, []string{"host"}},
		"no port":              {func(v *snapshot.Vendor) { v.Port = 0 }, []string{"port"}},
	} {
		var f Faults
		v := NewVendor("hub", kindMM4, &f)
		if !v.SupportsMMS || v.Window != mm4Window {
			t.Errorf("it begins as %+v", v)
		}
		v.Host, v.Port = "mm4.hub.example", 25
		c.edit(&v)
		var got []string
		for _, fault := range VendorOf(&v).Into(&v, Secrets{}) {
			got = append(got, fault.Location)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: faults at %v, want %v", name, got, c.want)
		}
	}
}

// A vendor's peer says that the vendor's host has mail exchangers, and nothing else of
// where mails go.
func TestMX(t *testing.T) {
	one, none := message.NewID(), message.ID{}
	for _, c := range []struct {
		account, vendor message.ID
		host            string
		want            []string
	}{{none, one, "", nil}, {none, one, "mm4.hub.example", []string{"host"}}, {one, none, "", []string{"host"}}, {one, none, "mms.pbx.example", nil}} {
		p := NewMM4Peer("a", c.account, c.vendor, new(Faults))
		d := MM4PeerOf(&p)
		d.Addresses, d.Host, d.MX = []string{"192.0.2.1/32"}, c.host, true
		var got []string
		for _, fault := range d.Into(&p, MM4Secrets{}) {
			got = append(got, fault.Location)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%+v: faults at %v", c, got)
		}
	}
}
