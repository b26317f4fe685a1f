package smpp

import (
	"context"
	"net"
	"testing"
)

// BenchmarkSubmitOverLoopback keeps a window of 200 open from one goroutine:
// what a session costs for both ends together.
func BenchmarkSubmitOverLoopback(b *testing.B) {
	c1, c2 := tcpPair(b)
	srv := NewServerSession(c1, ServerConfig{Bind: acceptAll, Config: Config{Inbound: 200, Handler: HandlerFunc(func(r *Request) {
		_ = r.Respond(StatusOK, &SubmitSMResp{MessageID: "01a1ffbf86767d359c440f6f2f1b7e21"})
	})}})
	cli, err := Dial(context.Background(), DialConfig{Config: Config{Window: 200}, Bind: Bind{Mode: ModeTransceiver, SystemID: "acme"},
		DialContext: func(context.Context, string, string) (net.Conn, error) { return c2, nil }})
	if err != nil {
		b.Fatal(err)
	}
	m := textSM("Hello, this is a usual text.")
	b.ReportAllocs()
	for b.Loop() {
		if err := cli.Start(context.Background(), m, func(_ Packet, err error) {
			if err != nil {
				b.Error(err)
			}
		}); err != nil {
			b.Fatal(err)
		}
	}
	if err := cli.Unbind(context.Background()); err != nil {
		b.Error(err)
	}
	srv.Wait()
}
