package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/postrider/postrider/internal/message"
)

// The tables that grow with the traffic are made of partitions, each of the rows whose
// ids are of one span of time. What stays true of each table, whoever dies when:
//
//	floor      up to the oldest time that is kept; empty, but for rows of clocks that are wrong
//	…          spans of time, one after the other
//	the last   from a time ahead of us, without an end
//
// So there is a place for every id, and nothing that is inserted can fail for the want
// of a partition. There is no default partition instead: with one, Postgres detaches no
// partition concurrently, and each that is attached locks the default one, which every
// statement has open.
//
// The rule for all statements on these tables: say the id, or between which ids it lies.
// Before PostgreSQL 18 a generic plan locks every partition, and opens every one that
// its parameters do not rule out when it starts.

// partitioned says by which column a table is partitioned. The others of messages have
// what belongs to a message, and go after it.
type partitioned struct{ table, key string }

var (
	messagesTable   = partitioned{"messages", "id"}
	deliveriesTable = partitioned{"webhook_deliveries", "id"}
	ofMessages      = []partitioned{{"message_events", "message_id"}, {"segments", "message_id"}}
	partitionTables = append([]partitioned{messagesTable, deliveriesTable}, ofMessages...)
)

const (
	// partitionSpan is how much time a partition has. What is kept for 90 days is in
	// six of them, for 400 in seventeen: each costs every statement some microseconds, and each that
	// a receipt may belong to is looked into.
	partitionSpan = 28 * 24 * time.Hour
	// partitionMargin is how far the clock of a process that makes ids may be ahead of
	// that of one which makes partitions.
	partitionMargin = 24 * time.Hour
	// partitionLockWait is how long a statement that changes the partitions may stand
	// in the way of others while it waits for a lock itself.
	partitionLockWait = 100 * time.Millisecond
	// partitionLockTries is how often it is tried, partitionLockPause apart: something
	// long is running when that does not do.
	partitionLockTries = 20
	partitionLockPause = 500 * time.Millisecond
	// partitionLock names the advisory lock of whoever changes partitions: "partitio"
	// read as a number.
	partitionLock = 0x706172746974696f
)

// partition is one of a table's. A zero id means that there is no such bound; a row of
// the id `from` is in it, one of `to` is not.
type partition struct {
	name     string
	from, to message.ID
	leaving  bool // it is being detached
}

func (p partition) isFloor(t partitioned) bool { return p.name == t.table+"_floor" }

const selectPartitions = `
select c.relname, pg_get_expr(c.relpartbound, c.oid), i.inhdetachpending
from pg_inherits i
join pg_class c on c.oid = i.inhrelid
where i.inhparent = $1::text::regclass`

var (
	partitionBounds = regexp.MustCompile(`^FOR VALUES FROM \((.+)\) TO \((.+)\)$`)
	errNoPartitions = errors.New("the table has no partitions")
)

// partitions lists a table's partitions in the order of time.
func partitions(ctx context.Context, conn *pgxpool.Conn, t partitioned) ([]partition, error) {
	rows, err := conn.Query(ctx, selectPartitions, t.table)
	if err != nil {
		return nil, err
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (p partition, err error) {
		var bounds string
		if err := row.Scan(&p.name, &bounds, &p.leaving); err != nil {
			return p, err
		}
		m := partitionBounds.FindStringSubmatch(bounds)
		if m == nil {
			return p, fmt.Errorf("partition %s: %s", p.name, bounds)
		}
		if p.from, err = boundOf(m[1]); err == nil {
			p.to, err = boundOf(m[2])
		}
		return p, err
	})
	if err == nil && len(list) == 0 {
		err = errNoPartitions
	}
	slices.SortFunc(list, func(a, b partition) int { return bytes.Compare(a.from[:], b.from[:]) })
	return list, err
}

func boundOf(s string) (message.ID, error) {
	if s == "MINVALUE" || s == "MAXVALUE" {
		return message.ID{}, nil
	}
	return message.ParseID(strings.Trim(s, "'"))
}

// spanEnd is the end of the span of time that t is in, spans being counted from Monday,
// 5 January 1970.
func spanEnd(t time.Time) time.Time {
	monday := time.Unix(4*24*3600, 0)
	return monday.Add((t.Sub(monday)/partitionSpan + 1) * partitionSpan).UTC()
}

// timeOf is the time that an id of version 7 has (RFC 9562 §5.7).
func timeOf(id message.ID) time.Time {
	var ms int64
	for _, b := range id[:6] {
		ms = ms<<8 | int64(b)
	}
	return time.UnixMilli(ms).UTC()
}

// among are the arguments of a condition on some ids: them, the least and the greatest. Of
// a list alone Postgres does not see which partitions it has no ids of.
func among(ids []message.ID) []any {
	var low, high message.ID
	for i, id := range ids {
		if i == 0 || bytes.Compare(id[:], low[:]) < 0 {
			low = id
		}
		if i == 0 || bytes.Compare(id[:], high[:]) > 0 {
			high = id
		}
	}
	return []any{ids, low, high}
}

// upkeep has the one who changes partitions do it, over a connection of its own.
func (db *DB) upkeep(ctx context.Context, do func(conn *pgxpool.Conn) error) (err error) {
	conn, err := db.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	if _, err := conn.Exec(ctx, "select pg_advisory_lock($1)", int64(partitionLock)); err != nil {
		return err
	}
	defer func() {
		_, uerr := conn.Exec(context.WithoutCancel(ctx), "select pg_advisory_unlock($1)", int64(partitionLock))
		err = errors.Join(err, uerr)
	}()
	return do(conn)
}

// MakePartitions makes what is missing of the partitions from now to ahead from now,
// and names what it made. Concurrent calls are safe, in all processes: one waits for
// the other and finds nothing to do.
//
// A partition is made by giving the last one an end and putting another behind it. Rows
// that are in the last one by then stay in it, which happens when nobody made
// partitions for long, and the first time; those of clocks that run ahead by more than a
// day are moved to where they belong. The table is locked for a few milliseconds; while
// it waits for that, for at most a tenth of a second a try, others wait behind it, and
// while a transaction has the table for longer it does not try. After some seconds of
// that it gives up with an error, and nothing is lost: the last partition takes what
// comes.
func (db *DB) MakePartitions(ctx context.Context, ahead time.Duration) ([]string, error) {
	return db.makePartitions(ctx, time.Now(), ahead)
}

func (db *DB) makePartitions(ctx context.Context, now time.Time, ahead time.Duration) ([]string, error) {
	var made []string
	err := db.upkeep(ctx, func(conn *pgxpool.Conn) error {
		for _, t := range partitionTables {
			list, err := partitions(ctx, conn, t)
			if err == nil {
				err = makeFloor(ctx, conn, t, list)
			}
			if err != nil {
				return fmt.Errorf("%s: %w", t.table, err)
			}
			for last := list[len(list)-1]; !timeOf(last.from).After(now.Add(ahead)); {
				end := spanEnd(now.Add(partitionMargin))
				if last.from != (message.ID{}) && timeOf(last.from).After(now) {
					end = spanEnd(timeOf(last.from))
				}
				next := partition{name: t.table + end.Format("_20060102"), from: idAt(end)}
				if err := endAt(ctx, conn, t, last, next); err != nil {
					return fmt.Errorf("partition %s: %w", next.name, err)
				}
				made = append(made, next.name)
				last = next
			}
		}
		return nil
	})
	if err != nil {
		return made, fmt.Errorf("make partitions: %w", err)
	}
	return made, nil
}

// endAt ends a partition where next begins, which goes as far as it did.
func endAt(ctx context.Context, conn *pgxpool.Conn, t partitioned, last, next partition) error {
	used := false
	if err := conn.QueryRow(ctx, "select exists (select from "+quoted(last.name)+")").Scan(&used); err != nil {
		return err
	}
	if used {
		// The rows are looked through here, beside the traffic, so that nothing has to
		// be read under the lock.
		if err := promiseBounds(ctx, conn, t, last, next); err != nil {
			return err
		}
	}
	return patiently(ctx, conn, t, func(tx pgx.Tx) error {
		steps := append(twin(t, last, next.name),
			// Vacuuming is ended for us, while nobody else waits.
			"lock table only "+quoted(last.name)+" in share update exclusive mode",
			"set local lock_timeout = "+milliseconds(partitionLockWait),
			"lock table only "+quoted(t.table)+" in access exclusive mode",
			"lock table only "+quoted(last.name)+" in access exclusive mode",
			"alter table "+quoted(t.table)+" detach partition "+quoted(last.name),
			attach(t, next),
			"with ahead as (delete from "+quoted(last.name)+" where "+t.key+" >= "+literal(next.from)+" returning *) insert into "+quoted(t.table)+" select * from ahead",
			attach(t, partition{name: last.name, from: last.from, to: next.from}),
			"alter table "+quoted(last.name)+" drop constraint if exists "+boundsCheck)
		for _, sql := range steps {
			if _, err := tx.Exec(ctx, sql); err != nil {
				return err
			}
		}
		return nil
	})
}

// boundsCheck names the constraint that says what a partition's bounds are to be, until
// they are.
const boundsCheck = "partition_bounds"

// promiseBounds has Postgres find out that the partition can be attached with its end.
// Rows beyond it are no error: they are few, and the table is read under the lock then.
func promiseBounds(ctx context.Context, conn *pgxpool.Conn, t partitioned, last, next partition) error {
	beyond := false
	q := "select exists (select from " + quoted(last.name) + " where " + t.key + " >= " + literal(next.from) + ")"
	if err := conn.QueryRow(ctx, q).Scan(&beyond); err != nil || beyond {
		return err
	}
	check := t.key + " is not null and " + t.key + " < " + literal(next.from)
	if last.from != (message.ID{}) {
		check += " and " + t.key + " >= " + literal(last.from)
	}
	err := patiently(ctx, conn, t, func(tx pgx.Tx) error {
		for _, sql := range []string{
			"lock table only " + quoted(last.name) + " in share update exclusive mode",
			"set local lock_timeout = " + milliseconds(partitionLockWait),
			"alter table " + quoted(last.name) + " drop constraint if exists " + boundsCheck,
			"alter table " + quoted(last.name) + " add constraint " + boundsCheck + " check (" + check + ") not valid",
		} {
			if _, err := tx.Exec(ctx, sql); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, "alter table "+quoted(last.name)+" validate constraint "+boundsCheck)
	return err
}

// makeFloor closes the gap before the oldest partition. Nobody waits for it.
func makeFloor(ctx context.Context, conn *pgxpool.Conn, t partitioned, list []partition) error {
	if list[0].from == (message.ID{}) {
		return nil
	}
	floor := partition{name: t.table + "_floor", to: list[0].from}
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		for _, sql := range append(twin(t, list[0], floor.name), attach(t, floor)) {
			if _, err := tx.Exec(ctx, sql); err != nil {
				return err
			}
		}
		return nil
	})
}

// twin makes a table that can become a partition: what can be set for tables alone, and
// not for the whole, is as in the one beside it.
func twin(t partitioned, beside partition, name string) []string {
	return []string{
		"create table " + quoted(name) + " (like " + quoted(t.table) + " including defaults including constraints including storage including indexes)",
		`do $$
		declare
		  a record;
		begin
		  for a in select reloptions as options from pg_class where oid = ` + regclass(beside.name) + ` and reloptions is not null loop
		    execute ` + "format('alter table %I set (%s)', '" + name + `', array_to_string(a.options, ', '));
		  end loop;
		  for a in select attname as name, attoptions as options from pg_attribute where attrelid = ` + regclass(beside.name) + ` and attoptions is not null and attnum > 0 loop
		    execute ` + "format('alter table %I alter column %I set (%s)', '" + name + `', a.name, array_to_string(a.options, ', '));
		  end loop;
		end $$`,
	}
}

// selectBusy asks whether a transaction has had the table for longer than a statement
// of ours takes.
const selectBusy = `
select exists (
  select
  from pg_locks l
  join pg_stat_activity a on a.pid = l.pid
  where l.relation = $1::text::regclass and l.granted and l.pid <> pg_backend_pid() and a.xact_start < clock_timestamp() - $2::interval)`

// patiently runs a transaction that locks the table, at a moment at which it need not
// wait for long. While somebody has it for long it does not even ask, since others would
// have to wait behind it.
func patiently(ctx context.Context, conn *pgxpool.Conn, t partitioned, do func(pgx.Tx) error) error {
	for try := 1; ; try++ {
		busy := false
		err := conn.QueryRow(ctx, selectBusy, t.table, partitionLockWait).Scan(&busy)
		if err == nil && !busy {
			err = pgx.BeginFunc(ctx, conn, do)
		}
		waited := busy || sqlState(err) == lockNotAvailable || sqlState(err) == deadlockDetected
		switch {
		case !waited:
			return err
		case try == partitionLockTries:
			return errors.Join(err, fmt.Errorf("a transaction has had table %s for long", t.table))
		}
		select {
		case <-time.After(partitionLockPause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func attach(t partitioned, p partition) string {
	from, to := "minvalue", "maxvalue"
	if p.from != (message.ID{}) {
		from = literal(p.from)
	}
	if p.to != (message.ID{}) {
		to = literal(p.to)
	}
	return "alter table " + quoted(t.table) + " attach partition " + quoted(p.name) + " for values from (" + from + ") to (" + to + ")"
}

func quoted(name string) string           { return pgx.Identifier{name}.Sanitize() }
func regclass(name string) string         { return "'" + quoted(name) + "'::regclass" }
func literal(id message.ID) string        { return "'" + id.String() + "'" }
func milliseconds(d time.Duration) string { return fmt.Sprintf("'%dms'", d.Milliseconds()) }
