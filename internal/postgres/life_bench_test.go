package postgres

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/stack"
)

// lives is how many messages are under way at once: as many as share a commit in a flood.
const lives = 32

// BenchmarkLife takes messages through the usual life, over REST with a receipt soon after
// and two webhooks, and tells what one costs Postgres: octets and records of its log, and
// the processor time of the backends. Which statement costs what it logs. The log and the
// calls are counts, alike on each machine; the processor time is not.
//
//	go test -run '^$' -bench Life -benchtime 3000x ./internal/postgres
func BenchmarkLife(b *testing.B) {
	for _, spans := range []int{2, 15} {
		b.Run(fmt.Sprintf("%d partitions", spans+2), func(b *testing.B) {
			// Checkpoints and vacuuming are a cost of time, and not of messages.
			_, j := own(b, stack.PostgresConfig{Settings: map[string]string{"shared_preload_libraries": "pg_stat_statements",
				"pg_stat_statements.track_planning": "on", "checkpoint_timeout": "1h", "autovacuum": "off"}})
			j.ctx = b.Context()
			if _, err := j.makePartitions(j.ctx, time.Now().Add(-time.Duration(spans-1)*partitionSpan), time.Duration(spans-1)*partitionSpan); err != nil {
				b.Fatal(err)
			}
			j.exec("create extension pg_stat_statements")
			j.lives(500) // each connection prepares its statements, and all pages of the catalogue are read
			if err := j.live(); err != nil {
				b.Fatal(err)
			}
			j.exec("checkpoint")
			j.lives(100) // pages that are written the first time after a checkpoint are logged whole
			j.exec("select pg_stat_statements_reset()")
			before := j.spent()
			b.ResetTimer()
			j.lives(b.N)
			b.StopTimer()
			spent := j.spent()
			n := float64(b.N)
			b.ReportMetric((spent.cpu-before.cpu)*1e3/n, "CPU-ms/message")
			b.ReportMetric(float64(spent.octets-before.octets)/n, "WAL-B/message")
			b.ReportMetric(float64(spent.records-before.records)/n, "WAL-records/message")
			b.ReportMetric(j.hot("messages"), "%HOT-messages")
			b.ReportMetric(j.hot("segments"), "%HOT-segments")
			b.ReportMetric(j.hot("webhook_deliveries"), "%HOT-deliveries")
			if b.N > 1 {
				b.Log(j.statements(b.N))
			}
		})
	}
}

// lives takes n messages through their life.
func (b *bundle) lives(n int) {
	var left atomic.Int64
	left.Store(int64(n))
	done := make(chan error)
	for range lives {
		go func() {
			var err error
			for err == nil && left.Add(-1) >= 0 {
				err = b.live()
			}
			done <- err
		}()
	}
	for range lives {
		if err := <-done; err != nil {
			b.tb.Error(err)
		}
	}
}

// live is one message's usual life.
func (b *bundle) live() error {
	m := b.draft()
	if _, err := b.Accept(b.ctx, message.Acceptance{Message: m}); err != nil {
		return err
	}
	if _, err := b.Message(b.ctx, m.ID); err != nil {
		return err
	}
	trail := map[string]any{"trail": []string{"north: the only one that takes it"}, "candidates": 1, "vendor": b.vendor.Name, "why": "the first of its priority"}
	queued := message.Change{MessageID: m.ID, Via: message.StatusQueued, To: message.StatusSending, Vendor: b.vendor, Revision: new(int), Started: true,
		Events: []message.Event{{Type: message.StatusEvent(message.StatusQueued), Detail: trail},
			{Type: message.StatusEvent(message.StatusSending), Detail: map[string]any{"part": 1, "attempt": 1, "vendor": b.vendor.Name}}},
		Attempts: []message.Attempt{{Part: 1, Number: 1, Vendor: b.vendor, Instance: "one"}}}
	sent := b.answered(m, m.ID.String())
	sent.Vendor, sent.Notifications = b.vendor, []message.Notification{b.wide(m, "message.sent")}
	end := message.Change{MessageID: m.ID, To: message.StatusDelivered, Delivered: true, Started: true, Settled: true, Revision: new(int), Events: line(message.StatusDelivered),
		Price: &message.Price{Amount: m.Price.Amount, Currency: "USD"}, Receipt: &message.ReceiptSummary{Stat: "DELIVRD", Err: "000", At: time.Now()},
		Notifications: []message.Notification{b.wide(m, "message.delivered")}}
	for i, c := range []message.Change{queued, sent, end} {
		if i == 2 {
			if _, err := b.EarlyReceipts(b.ctx, b.vendor.ID, []string{m.ID.String()}); err != nil {
				return err
			}
			if got, err := b.Receipt(b.ctx, b.receipt(m.ID.String(), message.ReceiptDelivered)); err != nil || !got.Applied {
				return fmt.Errorf("receipt: %+v, %w", got, err)
			}
			if _, err := b.Progress(b.ctx, m.ID); err != nil {
				return err
			}
		}
		if adv, err := b.Advance(b.ctx, c); err != nil || !adv.Changed {
			return fmt.Errorf("advance to %s: %+v, %w", c.To, adv, err)
		}
		for _, n := range c.Notifications {
			if _, _, err := b.Notification(b.ctx, n.ID); err != nil {
				return err
			}
			if err := b.RecordAttempt(b.ctx, message.NotificationAttempt{DeliveryID: n.ID, MessageID: m.ID, Number: 1, State: message.NotificationDelivered,
				HTTPStatus: 200, Millis: 3, Type: n.Type}); err != nil {
				return err
			}
		}
	}
	return nil
}

// wide is a notification of the usual size.
func (b *bundle) wide(m *message.Message, kind string) message.Notification {
	n := b.notification(m, kind)
	n.FailoverURL = ""
	n.Payload = strings.TrimSuffix(n.Payload, "}}") + `,"filler":"` + strings.Repeat("0123456789abcdef", 40) + `"}}`
	return n
}

// spending is what the server has spent since its start.
type spending struct {
	cpu             float64 // seconds of this database's backends; 0 where there is no /proc
	octets, records int64   // of the log
}

func (b *bundle) spent() (s spending) {
	b.tb.Helper()
	if err := b.pool.QueryRow(b.ctx, "select wal_bytes::bigint, wal_records from pg_stat_wal").Scan(&s.octets, &s.records); err != nil {
		b.tb.Fatal(err)
	}
	pids := scalar[[]int32](b, "select array_agg(pid) from pg_stat_activity where datname = current_database()")
	for _, pid := range pids {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/schedstat", pid))
		if err != nil {
			continue
		}
		if ns, err := strconv.ParseInt(strings.Fields(string(stat))[0], 10, 64); err == nil {
			s.cpu += float64(ns) / 1e9
		}
	}
	return s
}

// hot is which share of a table's updates, in per cent, wrote no index.
func (b *bundle) hot(table string) float64 {
	return scalar[float64](b, "select coalesce(100.0 * sum(n_tup_hot_upd) / nullif(sum(n_tup_upd), 0), 0)::float8 from pg_stat_user_tables where relname like $1 || '\\_%' and relname not like 'message_events%'", table)
}

// statements is what each statement cost a message.
func (b *bundle) statements(n int) string {
	b.tb.Helper()
	rows, err := b.pool.Query(b.ctx, `
select regexp_replace(left(regexp_replace(query, '^\s*with [a-z]+ as \(\s*', ''), 46) || ' … ' || right(query, 34), '\s+', ' ', 'g'),
  calls / $1::float8, total_exec_time / $1, total_plan_time / $1, wal_bytes::float8 / $1, wal_records / $1::float8, (shared_blks_hit + shared_blks_read) / $1::float8
from pg_stat_statements
where dbid = (select oid from pg_database where datname = current_database()) and calls >= $1::float8 / 1000
order by total_exec_time desc`, n)
	if err != nil {
		b.tb.Fatal(err)
	}
	defer rows.Close()
	var out strings.Builder
	fmt.Fprintf(&out, "a message:\n%-84s %6s %8s %8s %7s %7s %7s\n", "", "calls", "exec ms", "plan ms", "WAL B", "records", "blocks")
	for rows.Next() {
		var query string
		var v [6]float64
		if err := rows.Scan(&query, &v[0], &v[1], &v[2], &v[3], &v[4], &v[5]); err != nil {
			b.tb.Fatal(err)
		}
		fmt.Fprintf(&out, "%-84s %6.2f %8.4f %8.4f %7.0f %7.1f %7.1f\n", query, v[0], v[1], v[2], v[3], v[4], v[5])
	}
	return out.String()
}
