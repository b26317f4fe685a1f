package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// stored is what a journal that already holds many messages costs, and what it takes to
// be rid of the oldest.
type stored struct {
	Messages int         `json:"messages"`
	Seconds  float64     `json:"fill_seconds"`
	Bytes    int64       `json:"bytes"` // of all partitions, with indexes
	Sizes    []partition `json:"partitions"`
	Lists    []listed    `json:"lists"`
	Dropped  []string    `json:"dropped"`
	// Dropping the oldest, under load. The command's start and end are in it.
	DropSeconds float64 `json:"drop_seconds"`
	Looks       int     `json:"looks"`   // how often it was looked who waits meanwhile
	Waiting     int     `json:"waiting"` // statements of others seen waiting for a lock, all looks together
}

// partition is one as `postrider admin partition list` shows it.
type partition struct {
	Table string     `json:"table"`
	Name  string     `json:"name"`
	From  *time.Time `json:"from"`
	Until *time.Time `json:"until"`
	Bytes int64      `json:"bytes"`
}

const (
	storedFor      = 84 * 24 * time.Hour // they are spread over so long
	storedChunk    = 50_000              // messages a transaction
	storedAccounts = 20                  // one of them sends and lists
	// storedBytes is what one takes on the disk, with its timeline, part, webhook,
	// indexes and log, and something to spare.
	storedBytes = 4500
	listTries   = 100 // so that the 99th percentile leaves the slowest out
	waitLook    = 20 * time.Millisecond
)

// storedBench is the extra of --stored.
type storedBench struct{ messagesKept int }

func init() { extras = append(extras, &storedBench{}) }

func (b *storedBench) flags(fs *flag.FlagSet) {
	fs.IntVar(&b.messagesKept, "stored", 0, "finished messages to fill the journal with, measured before and after; 0: none. Some 4 kB of disk each")
}

func (b *storedBench) messages() int {
	if b.messagesKept <= 0 {
		return 0
	}
	return 2*storedFlood + arrivals(storedRate, storedSteady)
}

func (b *storedBench) run(ctx context.Context, r *runner) (_ section, _ any, err error) {
	switch {
	case b.messagesKept == 0:
		return section{}, nil, nil
	case b.messagesKept < 0 || b.messagesKept > mostStored:
		return section{}, nil, fmt.Errorf("--stored is 0 to %d", mostStored)
	}
	k := &keeper{runner: r, messages: b.messagesKept}
	if k.op, err = openOperator(r.meter); err != nil {
		return section{}, nil, err
	}
	if err := k.room(); err != nil {
		return section{}, nil, err
	}
	log, err := openLog(ctx, r.meter)
	if err != nil {
		return section{}, nil, err
	}
	defer log.close()
	k.conn = log.conn
	if k.staff, err = k.op.addStaff(ctx, "http://"+r.load.api.address); err != nil {
		return section{}, nil, err
	}
	// What is left behind may log in no more, also when the run was interrupted.
	defer func() { err = errors.Join(err, k.op.endStaff(context.WithoutCancel(ctx), k.staff)) }()
	x, err := k.run(ctx)
	if err != nil {
		return section{}, nil, err
	}
	return x.section(), x, nil
}

// keeper measures a journal that holds many messages.
type keeper struct {
	*runner
	messages int
	op       *operator
	conn     *pgx.Conn
	staff    staff
}

// room is an error when the disk of Postgres, which works in its data directory, has
// too little.
func (k *keeper) room() error {
	servers := k.meter.processes()[partPostgres]
	if len(servers) == 0 {
		return errors.New("--stored needs a Postgres on this machine, and of this user")
	}
	var disk syscall.Statfs_t
	if err := syscall.Statfs(filepath.Join(k.meter.proc, strconv.Itoa(servers[0].pid), "cwd"), &disk); err != nil {
		return fmt.Errorf("the disk of Postgres: %w", err)
	}
	if free := int64(disk.Bavail) * int64(disk.Bsize); free < int64(k.messages)*storedBytes+5<<30 {
		return fmt.Errorf("--stored %d takes some %d GB and 5 to spare; there are %d GB free", k.messages, int64(k.messages)*storedBytes>>30, free>>30)
	}
	return nil
}

func (k *keeper) run(ctx context.Context) (*stored, error) {
	x := &stored{Messages: k.messages}
	since := time.Now().Add(-storedFor).UTC()
	if err := k.op.admin(ctx, nil, "partition", "make", "--since", since.Format(time.DateOnly)); err != nil {
		return nil, err
	}
	k.flood(ctx, "nothing stored", storedFlood, storedConnections)
	before, err := k.lists(ctx)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	if err := k.fill(ctx, since); err != nil {
		return nil, fmt.Errorf("fill the journal: %w", err)
	}
	x.Seconds = time.Since(began).Seconds()
	if err := k.op.admin(ctx, &x.Sizes, "partition", "list"); err != nil {
		return nil, err
	}
	for _, p := range x.Sizes {
		x.Bytes += p.Bytes
	}
	fmt.Fprintf(k.out, "  %.1f GB in %.0f s\n", float64(x.Bytes)/(1<<30), x.Seconds)
	k.load.close() // the gateway has given up connections that were idle meanwhile; they are made anew
	k.flood(ctx, fmt.Sprintf("%d stored", k.messages), storedFlood, storedConnections)
	if x.Lists, err = k.lists(ctx); err != nil {
		return nil, err
	}
	for i := range before {
		x.Lists[i].Before = before[i].After
	}
	return x, k.drop(ctx, x)
}

// fillStatements write one chunk: $1 its first number, $2 its last, $3 the milliseconds of
// the first message of all, $4 how many milliseconds the next is later (a fraction), $5
// the sender's number. Rows are as large as those of messages that were sent, with
// their texts taken away as after their retention; what takes the place of those is in
// the metadata. One of five hundred was not delivered, one of a hundred thousand is of a
// campaign. What customers are told of them is in the feed, in the order of the chunks:
// of the others a transaction has a few messages, of these it has a chunk.
var fillStatements = []string{
	`create temp table chunk on commit drop as
	 select n, to_timestamp(ms / 1000.0) as at,
	   (lpad(to_hex(ms::bigint), 12, '0') || '7' || substr(h, 1, 3) || '8' || substr(h, 4, 15))::uuid as id,
	   (lpad(to_hex(ms::bigint + 900), 12, '0') || '7' || substr(h, 5, 3) || '9' || substr(h, 9, 15))::uuid as told,
	   case when n % 20 = 0 then own.account_id else ('00000000-0000-7000-a000-' || lpad(to_hex(n % 20), 12, '0'))::uuid end as account,
	   '+1310' || lpad((2000000 + n % 500000)::text, 7, '0') as recipient, h
	 from (select n, $3::double precision + n * $4::double precision as ms, md5(n::text) as h from generate_series($1::bigint, $2::bigint) n) g,
	   (select account_id from numbers where number = $5) own`,
	`insert into messages (id, account_id, direction, kind, status, from_addr, to_addr, encoding, segments, message_class, delivery, client_reference, metadata,
	   price_micros, currency, price_final, vendor_id, vendor_name, receipt_stat, receipt_err, receipt_at, edge, event_seq, parts_settled, parts_done,
	   expires_at, created_at, submitted_at, delivered_at, updated_at, reason, campaign_id)
	 select id, account, 'outbound', 'sms', case when n % 500 = 0 then 'undelivered' else 'delivered' end, '+12025550143', recipient, 'gsm7', 1, 'conversation', 'at_most_once', 'stored-' || n, jsonb_build_object('pad', h || h || h),
	   4500, 'USD', true, '00000000-0000-7000-b000-000000000001', 'smscsim', 'DELIVRD', '000', at + interval '800 ms', 'rest', 6, 1, '{1}',
	   at + interval '4 hours', at, at + interval '20 ms', at + interval '800 ms', at + interval '900 ms', case when n % 500 = 0 then 'unreachable' else '' end,
	   case when n % 100000 = 50000 then 'CSTORED' else '' end
	 from chunk`,
	`insert into message_events (message_id, sequence, at, type, detail, account_id, feed_xid)
	 select id, s, at + s * interval '100 ms', (array['accepted', 'queued', 'sending', 'sent', 'delivered', 'webhook_attempt'])[s],
	   case s when 1 then '{"edge": "rest"}'::jsonb when 6 then '{"ms": 4, "type": "message.delivered", "attempt": 1, "http_status": 200}' else '{"part": 1, "vendor": "smscsim", "attempt": 1}' end,
	   case when s in (1, 4, 5) then account end, case when s in (1, 4, 5) then pg_current_xact_id() end
	 from chunk, generate_series(1, 6) s
	 order by id, s`,
	// Somebody opts out with one message of a thousand.
	`insert into account_events (id, account_id, type, payload, at)
	 select told, account, 'opt_out.created', jsonb_build_object('type', 'opt_out.created', 'timestamp', at, 'data', jsonb_build_object('recipient', recipient, 'scope', 'number'))::text, at
	 from chunk
	 where n % 1000 = 0`,
	`insert into segments (message_id, part, attempt, vendor_id, vendor_name, instance, state, vendor_message_id, normalized_id, receipt_stat, receipt_err, receipt_at, sent_at, answered_at, settled_at)
	 select id, 1, 1, '00000000-0000-7000-b000-000000000001', 'smscsim', 'bench-stored', 'delivered', h, h, 'DELIVRD', '000', at, at, at, at
	 from chunk`,
	`insert into webhook_deliveries (id, event_id, account_id, message_id, type, url, payload, state, attempts, last_status, first_attempt_at, last_attempt_at, next_attempt_at, created_at)
	 select told, told, account, id, 'message.delivered', 'http://127.0.0.1:9/hooks', '{"type":"message.delivered","data":{"pad":"' || repeat(h, 14) || '"}}', 'delivered', 1, 200, at, at, at, at
	 from chunk`,
}

// fill writes the messages, oldest first, so that indexes grow at their end as they do
// in life.
func (k *keeper) fill(ctx context.Context, since time.Time) error {
	fmt.Fprintf(k.out, "filling the journal with %d messages of %d days\n", k.messages, int(storedFor.Hours()/24))
	// Nothing of it would be missed.
	if _, err := k.conn.Exec(ctx, "set synchronous_commit = off"); err != nil {
		return err
	}
	step := float64((storedFor - 24*time.Hour).Milliseconds()) / float64(k.messages)
	for first := 0; first < k.messages; first += storedChunk {
		err := pgx.BeginFunc(ctx, k.conn, func(tx pgx.Tx) error {
			for i, sql := range fillStatements {
				var args []any
				if i == 0 {
					args = []any{first, min(first+storedChunk, k.messages) - 1, float64(since.UnixMilli()), step, k.load.api.from}
				}
				if _, err := tx.Exec(ctx, sql, args...); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	// As autovacuum would have done long since; those without rows are left alone.
	_, err := k.conn.Exec(ctx, `do $$
		declare
		  t text;
		begin
		  for t in select inhrelid::regclass::text from pg_inherits where inhparent in ('messages'::regclass, 'message_events'::regclass, 'segments'::regclass, 'webhook_deliveries'::regclass) and pg_relation_size(inhrelid) > 0 loop
		    execute 'analyze ' || t;
		  end loop;
		  analyze account_events;
		  analyze message_statuses;
		  -- As the sweeps would have done in the course of the days.
		  update message_statuses_until set until_id = id_at(now() - interval '3 minutes');
		end $$`)
	return err
}

// drop removes the oldest partitions with messages while messages come, and looks who
// waits for it.
func (k *keeper) drop(ctx context.Context, x *stored) error {
	before := ""
	for _, p := range x.Sizes {
		if p.Table == "messages" && p.Until != nil && p.Bytes > 1<<20 {
			before = p.Until.Format(time.DateOnly)
			break
		}
	}
	if before == "" {
		return errors.New("no partition of messages is large enough to be dropped")
	}
	k.load.close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var gone struct{ Dropped []string }
	done := make(chan error, 1) // written once
	timer := time.AfterFunc(2*time.Second, func() {
		began := time.Now()
		err := k.op.admin(ctx, &gone, "partition", "drop", "--before", before)
		x.DropSeconds = time.Since(began).Seconds()
		done <- err
	})
	watched := make(chan error, 1) // written once
	go func() {
		for {
			select {
			case err := <-done:
				watched <- err
				return
			case <-time.After(waitLook):
			}
			n := 0
			err := k.conn.QueryRow(ctx, `
select count(*)
from pg_stat_activity
where datname = current_database() and cardinality(pg_blocking_pids(pid)) > 0 and query not like 'alter table%'`).Scan(&n)
			if err == nil {
				x.Looks, x.Waiting = x.Looks+1, x.Waiting+n
			}
		}
	}()
	k.steady(ctx, "while the oldest is dropped", storedRate, evenly(arrivals(storedRate, storedSteady), storedRate), storedConnections)
	if timer.Stop() {
		return ctx.Err() // interrupted before it began
	}
	err := <-watched
	x.Dropped = gone.Dropped
	return err
}

// The load while a partition is dropped, and before and with all that is stored.
const (
	storedRate   = 50
	storedSteady = 20 * time.Second
	// As in the capacity phase.
	storedFlood       = 3000
	storedConnections = 64
	mostStored        = 100_000_000
)

// section is what the report shows of it.
func (x *stored) section() section {
	t := table{{"list", "before p50 ms", "p99", "with all p50 ms", "p99"}}
	for _, l := range x.Lists {
		t = append(t, []string{l.Query, one(l.Before.P50), one(l.Before.P99), one(l.After.P50), one(l.After.P99)})
	}
	note := fmt.Sprintf("%d messages in %.1f GB (%.0f octets each with timeline, part, webhook and indexes), written in %.0f s. Dropping the oldest (%s) took %.1f s at %g messages/s; "+
		"%d statements were seen waiting for a lock in %d looks.", x.Messages, float64(x.Bytes)/(1<<30), float64(x.Bytes)/float64(max(x.Messages, 1)), x.Seconds, strings.Join(x.Dropped, ", "), x.DropSeconds, float64(storedRate), x.Waiting, x.Looks)
	return section{"With many messages stored", t, note + " " + x.judged()}
}
