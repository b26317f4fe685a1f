package postgres

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/pace"
	"github.com/postrider/postrider/internal/stack"
)

// callers is how many goroutines per CPU call at once: a commit is worth sharing.
const callers = 64

func benchmark(b *testing.B, prepare func(*bundle, int), call func(*bundle, int) error) {
	b.Helper()
	_, j := own(b, stack.PostgresConfig{}) // with fsync, as in production
	j.ctx = b.Context()
	if prepare != nil {
		prepare(j, b.N)
	}
	var next atomic.Int64
	b.SetParallelism(callers)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := call(j, int(next.Add(1)-1)); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
}

func BenchmarkAccept(b *testing.B) {
	for name, key := range map[string]bool{"plain": false, "with key": true} {
		b.Run(name, func(b *testing.B) {
			benchmark(b, nil, func(j *bundle, i int) error {
				a := message.Acceptance{Message: j.draft()}
				if key {
					a = keyed(a.Message, fmt.Sprintf("order-%d", i), 1)
				}
				_, err := j.Accept(j.ctx, a)
				return err
			})
		})
	}
}

// journalled fills in n messages that are under way to a vendor.
func journalled(j *bundle, n int) (all []*message.Message) {
	for range n {
		all = append(all, j.draft())
	}
	done := make(chan error)
	step := make(chan struct{}, 256)
	go func() {
		for _, m := range all {
			step <- struct{}{}
			go func() {
				_, err := j.Accept(j.ctx, message.Acceptance{Message: m})
				<-step
				done <- err
			}()
		}
	}()
	for range all {
		if err := <-done; err != nil {
			j.tb.Fatal(err)
		}
	}
	j.exec("update messages set status = 'sending'")
	j.exec(`insert into segments (message_id, part, attempt, vendor_id, vendor_name, instance, state) select id, 1, 1, $1, 'north', 'one', 'sending' from messages`, j.vendor.ID)
	j.exec("vacuum analyze")
	return all
}

// BenchmarkAdvance is the fullest of a message's changes: the vendor's answer
// with an event and a notification.
func BenchmarkAdvance(b *testing.B) {
	var all []*message.Message
	benchmark(b, func(j *bundle, n int) { all = journalled(j, n) }, func(j *bundle, i int) error {
		m := all[i]
		c := j.answered(m, m.ID.String())
		c.Notifications, c.Started = []message.Notification{j.notification(m, "message.sent")}, true
		adv, err := j.Advance(j.ctx, c)
		if err == nil && !adv.Changed {
			return fmt.Errorf("not changed, was %s", adv.Was)
		}
		return err
	})
}

func BenchmarkReceipt(b *testing.B) {
	var all []*message.Message
	benchmark(b, func(j *bundle, n int) {
		all = journalled(j, n)
		j.exec("update messages set status = 'sent'")
		j.exec("update segments set state = 'submitted', normalized_id = 'v' || message_id")
		j.exec("vacuum analyze")
	}, func(j *bundle, i int) error {
		got, err := j.Receipt(j.ctx, j.receipt("v"+all[i].ID.String(), message.ReceiptDelivered))
		if err == nil && !got.Applied {
			return fmt.Errorf("not applied: %+v", got)
		}
		return err
	})
}

// BenchmarkReserve is a slot of a campaign and a brand that all callers share: with
// room for everybody, and at the end of a queue.
func BenchmarkReserve(b *testing.B) {
	for name, parts := range map[string]int{"room": 1 << 30, "queue of 4500 a minute": 4500} {
		b.Run(name, func(b *testing.B) {
			limits, _ := paced(parts, 0, 1<<30)
			benchmark(b, nil, func(j *bundle, _ int) error {
				_, err := j.Reserve(j.ctx, pace.Demand{Limits: limits[0], Parts: 1})
				return err
			})
		})
	}
}
