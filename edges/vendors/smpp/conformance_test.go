package smpp

import (
	"net"
	"testing"

	"github.com/postrider/postrider/edges/vendors"
	"github.com/postrider/postrider/edges/vendors/vendortest"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/smpp"
	"github.com/postrider/postrider/internal/snapshot"
)

const secret = "s3cret-word"

// subject makes links with a vendor row that edit has changed.
func subject(cfg vendortest.Config, st vendortest.Statuses, edit func(*snapshot.Vendor)) vendortest.Subject {
	return vendortest.Subject{
		Octets: true, Secrets: []string{secret},
		Make: func(t *testing.T, o vendortest.Options) (vendors.Link, vendortest.Vendor) {
			cfg.SystemID, cfg.Password = "gw", secret
			vendor, err := vendortest.ListenScripted(cfg, st)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(vendor.SMSC.Close)
			v := row()
			v.Password, v.Port = secret, vendor.SMSC.Addr().(*net.TCPAddr).Port
			v.Window, v.ResponseTimeout = o.Window, o.AnswerTimeout
			if edit != nil {
				edit(&v)
			}
			link, err := New(Config{Vendor: v, OnReceipt: o.OnReceipt, OnInbound: o.OnInbound, Log: o.Log})
			if err != nil {
				t.Fatal(err)
			}
			return link, vendor
		},
	}
}

func TestConformance(t *testing.T) {
	vendortest.Conformance(t, subject(vendortest.Config{}, vendortest.UsualStatuses, nil))
}

// A vendor that cuts texts itself, with codes of its own.
func TestConformanceWhole(t *testing.T) {
	st := vendortest.Statuses{Throttle: 0x401, Temporary: 0x402, Permanent: smpp.StatusInvBindState}
	vendortest.Conformance(t, subject(vendortest.Config{}, st, func(v *snapshot.Vendor) {
		v.LongMessage = "payload"
		v.CodeMap = map[string]message.Reason{
			"0x401": message.ReasonVendorThrottled, "0x402": message.ReasonVendorUnreachable, "0x04": message.ReasonInvalidDestination,
		}
	}))
}
