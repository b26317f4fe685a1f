package hooks_test

import (
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/postrider/postrider/edges/vendors"
	"github.com/postrider/postrider/edges/vendors/hooks"
	"github.com/postrider/postrider/edges/vendors/httpvendor"
	"github.com/postrider/postrider/edges/vendors/telnyx"
	"github.com/postrider/postrider/edges/vendors/twilio"
	"github.com/postrider/postrider/edges/vendors/vendortest"
	"github.com/postrider/postrider/internal/limit"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// kind is a kind of HTTP vendor with its double. A new kind is one more row.
type kind struct {
	name string
	make func(httpvendor.Config) vendors.Kind
	fake func(vendortest.HTTPConfig) (*vendortest.HTTPVendor, error)
	far  vendortest.HTTPConfig
	key  string // what the gateway checks webhooks with
}

const seed = "a seed has exactly 32 octets: yes"

var kinds = []kind{
	{twilio.Name, twilio.Kind, vendortest.NewTwilio, vendortest.HTTPConfig{User: "AC00112233445566778899aabbccddeeff", Password: "token-of-the-account", Key: "token-of-the-account"}, "token-of-the-account"},
	{telnyx.Name, telnyx.Kind, vendortest.NewTelnyx, vendortest.HTTPConfig{Password: "KEY0175-secret", Key: seed[:32]}, vendortest.TelnyxPublicKey(seed[:32])},
}

// door is a handler on a real socket, and what it hands up.
type door struct {
	*hooks.Handler
	config *snapshot.Snapshot
	url    string
}

func openDoor(t *testing.T) *door {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &door{url: "http://" + l.Addr().String(), config: &snapshot.Snapshot{Vendors: make(map[message.ID]*snapshot.Vendor)}}
	d.Handler = &hooks.Handler{Snapshot: func() *snapshot.Snapshot { return d.config }, Kinds: make(map[string]vendors.Kind), PublicURL: d.url, Limiter: limit.New(0)}
	server := &http.Server{Handler: d.Handler}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l)
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-done
	})
	return d
}

// add makes a vendor of a kind, its double and its row. It is done before the first
// request.
func (d *door) add(t *testing.T, k kind, cfg httpvendor.Config) (*snapshot.Vendor, *vendortest.HTTPVendor) {
	t.Helper()
	far, err := k.fake(k.far)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(far.Close)
	v := &snapshot.Vendor{
		ID: message.NewID(), Name: k.name + "-1", ProviderType: k.name, Active: true, BaseURL: far.URL(),
		Username: k.far.User, AccountSID: k.far.User, Password: k.far.Password, SigningKeys: []string{k.key},
	}
	far.SetHooks(d.url + "/inbound/" + v.Name)
	d.config.Vendors[v.ID] = v
	cfg.PublicURL = d.url
	d.Kinds[k.name] = k.make(cfg)
	return v, far
}

func TestConformance(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			vendortest.Conformance(t, vendortest.Subject{
				Secrets: []string{k.far.Password, k.key},
				Make: func(t *testing.T, o vendortest.Options) (vendors.Link, vendortest.Vendor) {
					d := openDoor(t)
					d.OnReceipt, d.OnInbound, d.Log = o.OnReceipt, o.OnInbound, o.Log
					v, far := d.add(t, k, httpvendor.Config{Log: o.Log, Retry: time.Millisecond})
					v.Window, v.ResponseTimeout = o.Window, o.AnswerTimeout
					if v.ResponseTimeout == 0 {
						v.ResponseTimeout = time.Minute
					}
					link, err := d.Kinds[k.name].New(v)
					if err != nil {
						t.Fatal(err)
					}
					return link, far
				},
			})
		})
	}
}
