package postgres

import (
	"cmp"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/stack"
)

// usageTriggers makes the triggers of usage as the last migration that has them does.
var usageTriggers = []string{
	`create trigger messages_usage_changed after update on messages for each row
  when (old.created_at < now() - interval '10 minutes'
    and (old.status, old.segments, old.price_micros, old.price_final) is distinct from (new.status, new.segments, new.price_micros, new.price_final))
  execute function usage_late()`,
	`create trigger messages_usage_added after insert on messages for each row
  when (uuid_send(new.id) < substring(int8send((date_part('epoch', now()) * 1000)::bigint - 600000) from 3))
  execute function usage_late()`,
}

// BenchmarkUsageTriggers tells what the triggers that usage is counted by add to what is
// written to messages: the same 2,000 rows by one statement, with them and without them in
// turn, nothing else in between. Ratios of medians: 1.05 is 5 % more. Acceptance does more
// than this statement, and a commit, so its share is smaller.
func BenchmarkUsageTriggers(b *testing.B) {
	_, j := own(b, stack.PostgresConfig{})
	j.ctx = b.Context()
	journalled(j, 2000)
	c, err := j.pool.Acquire(j.ctx)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Release()
	exec := func(sql string) {
		b.Helper()
		if _, err := c.Exec(j.ctx, sql); err != nil {
			b.Fatal(err)
		}
	}
	exec("create temporary table given as select * from messages")
	exec("update given set id = overlay(gen_random_uuid()::text placing left(id_at(clock_timestamp())::text, 15) from 1 for 15)::uuid")
	for name, sql := range map[string]string{
		"insert": "insert into messages select * from given",
		"update": "update messages set status = 'sent', updated_at = now()",
	} {
		b.Run(name, func(b *testing.B) {
			took := map[bool][]time.Duration{}
			for b.Loop() {
				for _, with := range []bool{true, false} {
					err := pgx.BeginFunc(j.ctx, c, func(tx pgx.Tx) error {
						for _, drop := range []string{"messages_usage_changed", "messages_usage_added"} {
							if _, err := tx.Exec(j.ctx, "drop trigger "+drop+" on messages"); err != nil {
								return err
							}
						}
						for _, create := range usageTriggers {
							if !with {
								break
							}
							if _, err := tx.Exec(j.ctx, create); err != nil {
								return err
							}
						}
						began := time.Now()
						if _, err := tx.Exec(j.ctx, sql); err != nil {
							return err
						}
						took[with] = append(took[with], time.Since(began))
						return pgx.ErrTxCommitRollback // nothing stays
					})
					if err != pgx.ErrTxCommitRollback {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(median(took[true]))/float64(median(took[false])), "with/without")
			b.ReportMetric(float64(median(took[true]).Microseconds())/2000, "µs/row")
		})
	}
}

func median(d []time.Duration) time.Duration {
	slices.SortFunc(d, cmp.Compare[time.Duration])
	return d[len(d)/2]
}
