package httpvendor_test

import (
	"context"
	"strings"
	"testing"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// bad puts toxiproxy between a link and its vendor.
func bad(t *testing.T, timeout time.Duration) (*bundle, *toxiproxy.Proxy) {
	t.Helper()
	zerolog.SetGlobalLevel(zerolog.Disabled) // toxics log past the one that they are given
	var p *toxiproxy.Proxy
	b := setup(t, func(v *snapshot.Vendor) {
		p = toxiproxy.NewProxy(toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop()), "link", "127.0.0.1:0", strings.TrimPrefix(v.BaseURL, "http://"))
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.Stop)
		v.BaseURL, v.ResponseTimeout = "http://"+p.Listen, timeout
	})
	return b, p
}

// However the way to the vendor breaks, what may have arrived is in doubt, what came
// in time is sent, nothing is sent twice, and the link is up again once the way is.
func TestBadWays(t *testing.T) {
	for name, c := range map[string]struct {
		toxic   string
		timeout time.Duration
		sent    bool // it is accepted all the same
		came    int  // at the vendor; -1: there is no telling
	}{
		"latency":                 {`{"name":"x","type":"latency","stream":"downstream","attributes":{"latency":100}}`, time.Minute, true, 1},
		"answer in crumbs":        {`{"name":"x","type":"slicer","stream":"downstream","attributes":{"average_size":3,"delay":100}}`, time.Minute, true, 1},
		"answers are swallowed":   {`{"name":"x","type":"timeout","stream":"downstream","attributes":{"timeout":0}}`, 300 * time.Millisecond, false, 1},
		"requests are swallowed":  {`{"name":"x","type":"timeout","stream":"upstream","attributes":{"timeout":0}}`, 300 * time.Millisecond, false, 0},
		"cut after a few octets":  {`{"name":"x","type":"limit_data","stream":"downstream","attributes":{"bytes":20}}`, time.Minute, false, 1},
		"reset":                   {`{"name":"x","type":"reset_peer","stream":"downstream","attributes":{"timeout":50}}`, time.Minute, false, -1},
		"half open, both streams": {`{"name":"x","type":"timeout","attributes":{"timeout":0}}`, 300 * time.Millisecond, false, 1},
	} {
		t.Run(name, func(t *testing.T) {
			b, p := bad(t, c.timeout)
			b.accepted()
			if _, err := p.Toxics.AddToxicJson(strings.NewReader(c.toxic)); err != nil {
				t.Fatal(err)
			}
			_, err := b.link.Submit(t.Context(), one())
			if c.sent != (err == nil) {
				t.Errorf("%v", err)
			}
			if no, ok := err.(*message.SubmitError); ok && !no.Ambiguous() {
				t.Errorf("%v", no)
			}
			if came := len(b.far.Came()) - 1; c.came >= 0 && came != c.came {
				t.Errorf("%d came", came)
			}
			if err := p.Toxics.RemoveToxic(context.Background(), "x"); err != nil {
				t.Fatal(err)
			}
			b.ready()
			before := len(b.far.Came())
			b.accepted()
			if came := len(b.far.Came()) - before; came != 1 {
				t.Errorf("%d came afterwards", came)
			}
		})
	}
}
