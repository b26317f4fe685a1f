package e2e

import (
	"net"
	"strings"
	"testing"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// wire is the network between the gateway and a vendor.
type wire struct {
	tb    testing.TB
	proxy *toxiproxy.Proxy
}

func newWire(tb testing.TB, upstream net.Addr) *wire {
	tb.Helper()
	w := &wire{tb, toxiproxy.NewProxy(toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop()), "vendor", "127.0.0.1:0", upstream.String())}
	w.up()
	tb.Cleanup(w.proxy.Stop)
	return w
}

// poison adds a toxic in both directions.
func (w *wire) poison(kind, attributes string) {
	w.tb.Helper()
	for _, stream := range []string{"upstream", "downstream"} {
		toxic := `{"name":"` + kind + "-" + stream + `","type":"` + kind + `","stream":"` + stream + `","attributes":` + attributes + `}`
		if _, err := w.proxy.Toxics.AddToxicJson(strings.NewReader(toxic)); err != nil {
			w.tb.Fatal(err)
		}
	}
}

// addr is where the vendor is found behind it.
func (w *wire) addr() net.Addr {
	w.tb.Helper()
	a, err := net.ResolveTCPAddr("tcp", w.proxy.Listen)
	if err != nil {
		w.tb.Fatal(err)
	}
	return a
}

func (w *wire) heal() { w.proxy.Toxics.ResetToxics(w.tb.Context()) }

// down ends every connection and refuses new ones.
func (w *wire) down() { w.proxy.Stop() }

func (w *wire) up() {
	w.tb.Helper()
	if err := w.proxy.Start(); err != nil {
		w.tb.Fatal(err)
	}
}

// TestBadNetwork sends messages while the way to the only vendor is slow, is cut, and
// carries nothing any more without being closed. What the vendor has is delivered or in
// doubt, what it does not have is sent, and nothing is sent twice.
func TestBadNetwork(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.alter("delete from routing_rules")
	var w *wire
	v := s.newVendor("far", obliging, true, func(v *smsc, row *snapshot.Vendor) {
		w = newWire(t, v.Addr())
		row.Host, row.Port = hostPort(t, w.addr())
	})
	v.bound()
	const n, turn = 600, 100
	ids := s.shots(n, 4, map[string]any{"validity_seconds": 60}, func(i int) {
		switch i {
		case turn:
			w.poison("latency", `{"latency":150,"jitter":100}`)
		case 2 * turn:
			w.heal()
			w.down()
		case 3 * turn:
			w.up()
		case 4 * turn:
			w.poison("timeout", `{"timeout":0}`)
		case 5 * turn:
			w.heal()
		}
	})
	counts := map[outcome]int{}
	for i, o := range s.ended(ids) {
		counts[o]++
		has := v.has(destination(i))
		switch {
		case has > 1:
			t.Errorf("message %d was taken %d times", i, has)
		case o.status == message.StatusDelivered && has == 1:
		case o == outcome{message.StatusUnconfirmed, message.ReasonSubmitInDoubt} && has == 0: // it was lost on the way
		default:
			t.Errorf("message %d is %s (%s), and the vendor has it %d times", i, o.status, o.reason, has)
		}
	}
	t.Logf("outcomes: %v", counts)
}
