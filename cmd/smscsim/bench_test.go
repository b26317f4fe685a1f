package main

import (
	"fmt"
	"sync"
	"testing"

	"github.com/postrider/postrider/internal/smpp"
)

// BenchmarkSubmit counts submits with their receipts, both ends in this process;
// -cpu 1 puts them on one core.
func BenchmarkSubmit(b *testing.B) {
	s := simulate(b, func(o *options) { o.Config.ReceiptDelay = duration(defaultReceiptDelay) })
	var receipts sync.WaitGroup
	receipts.Add(b.N)
	session, err := smpp.Dial(within(b), smpp.DialConfig{
		Config: smpp.Config{Window: 100, Inbound: 100, Handler: smpp.HandlerFunc(func(r *smpp.Request) {
			_ = r.Respond(smpp.StatusOK, nil)
			receipts.Done()
		})},
		Address: s.ready().SMPP, Bind: smpp.Bind{Mode: smpp.ModeTransceiver, SystemID: "acme"},
	})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { session.Close(); session.Wait() }()
	ctx := b.Context()
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		m := sms(fmt.Sprintf("1555%07d", i), fmt.Sprintf("Message %d of the benchmark, about as long as most", i))
		if err := session.Start(ctx, m, func(_ smpp.Packet, err error) {
			if err != nil {
				b.Error(err)
			}
		}); err != nil {
			b.Fatal(err)
		}
	}
	receipts.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "submits/s")
	if got := s.seen(); got.DistinctMessages != b.N || got.Duplicates != 0 {
		b.Errorf("stats %+v", got)
	}
}
