package postgres

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/postrider/postrider/internal/message"
)

// leavingMark is the comment on a table that is to be dropped: one that was detached by
// hand, to be kept, has none.
const leavingMark = "postrider: its time is over"

const selectDetached = `
select c.relname
from pg_class c
where c.relnamespace = (select relnamespace from pg_class where oid = $1::text::regclass)
  and c.relkind = 'r' and not c.relispartition
  and c.relname like replace($1::text, '_', '\_') || '\_%'
  and obj_description(c.oid, 'pg_class') = $2`

// DropPartitions removes the partitions all of whose rows are older than before and
// finished, oldest first, and names what it removed. A partition of messages stays, with
// all after it, while one of them is under way or a deliver_sm about it is owed; what belongs to messages goes after
// them; webhook deliveries go when none of their partition is pending.
//
// It blocks nobody: a partition is detached concurrently, which waits for the
// transactions that may still look into it, while everybody else goes on, and is
// dropped when nobody knows it any more. Ended in between, by ctx or a crash, it is
// finished by the next call. Safe for concurrent use, in all processes.
func (db *DB) DropPartitions(ctx context.Context, before time.Time) ([]string, error) {
	var dropped []string
	err := db.upkeep(ctx, func(conn *pgxpool.Conn) error {
		drop := func(t partitioned, before message.ID, finished func(context.Context, *pgxpool.Conn, partition) (bool, error)) (message.ID, error) {
			names, kept, err := dropOld(ctx, conn, t, before, finished)
			dropped = append(dropped, names...)
			if err != nil {
				err = fmt.Errorf("%s: %w", t.table, err)
			}
			return kept, err
		}
		kept, err := drop(messagesTable, idAt(before), messagesFinished)
		for _, t := range ofMessages {
			if err == nil {
				_, err = drop(t, kept, nil)
			}
		}
		if err == nil {
			_, err = drop(deliveriesTable, idAt(before), deliveriesFinished)
		}
		return err
	})
	if err != nil {
		return dropped, fmt.Errorf("drop partitions: %w", err)
	}
	return dropped, nil
}

// dropOld removes what it may of one table, and tells from which id on it is kept; zero:
// all of it is.
func dropOld(ctx context.Context, conn *pgxpool.Conn, t partitioned, before message.ID,
	finished func(context.Context, *pgxpool.Conn, partition) (bool, error),
) (dropped []string, kept message.ID, err error) {
	list, err := partitions(ctx, conn, t)
	if err != nil {
		return nil, kept, err
	}
	// What was begun is brought to its end.
	for i, p := range list {
		if p.leaving {
			if _, err := conn.Exec(ctx, "alter table "+quoted(t.table)+" detach partition "+quoted(p.name)+" finalize"); err != nil {
				return nil, kept, err
			}
			list = append(list[:i:i], list[i+1:]...)
			break // there is one at most
		}
	}
	if dropped, err = dropDetached(ctx, conn, t); err != nil {
		return dropped, kept, err
	}
	n := 0
	for n < len(list) && list[n].to != (message.ID{}) && bytes.Compare(list[n].to[:], before[:]) <= 0 {
		if finished != nil {
			if ok, err := finished(ctx, conn, list[n]); err != nil {
				return dropped, kept, err
			} else if !ok {
				break
			}
		}
		n++
	}
	if n == 1 && list[0].isFloor(t) && list[1].from == list[0].to {
		n = 0 // it would only be made again
	}
	if n > 0 {
		for _, p := range list[:n] {
			if err := detach(ctx, conn, t, p); err != nil {
				return dropped, kept, err
			}
			names, err := dropDetached(ctx, conn, t)
			dropped = append(dropped, names...)
			if err != nil {
				return dropped, kept, err
			}
		}
		list = list[n:]
	}
	kept = list[0].from
	if list[0].isFloor(t) {
		kept = list[0].to
	}
	return dropped, kept, makeFloor(ctx, conn, t, list)
}

func detach(ctx context.Context, conn *pgxpool.Conn, t partitioned, p partition) error {
	if _, err := conn.Exec(ctx, "comment on table "+quoted(p.name)+" is '"+leavingMark+"'"); err != nil {
		return err
	}
	_, err := conn.Exec(ctx, "alter table "+quoted(t.table)+" detach partition "+quoted(p.name)+" concurrently")
	return err
}

// dropDetached drops the tables that were partitions and are to go.
func dropDetached(ctx context.Context, conn *pgxpool.Conn, t partitioned) ([]string, error) {
	rows, err := conn.Query(ctx, selectDetached, t.table, leavingMark)
	if err != nil {
		return nil, err
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, err
	}
	var dropped []string
	for _, name := range names {
		if _, err := conn.Exec(ctx, "drop table "+quoted(name)); err != nil {
			return dropped, err
		}
		if name != t.table+"_floor" {
			dropped = append(dropped, name)
		}
	}
	return dropped, nil
}

// messagesFinished reports whether nothing is to be done any more about any message of
// the partition. It reads the partition from end to end, unless it finds one.
func messagesFinished(ctx context.Context, conn *pgxpool.Conn, p partition) (bool, error) {
	final := pick(message.Statuses(), func(s message.Status) string {
		if s.Final() {
			return string(s)
		}
		return ""
	})
	open := false
	err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		// All of it is read, and in the order of an index that would take longer.
		if _, err := tx.Exec(ctx, "set local enable_seqscan = on"); err != nil {
			return err
		}
		return tx.QueryRow(ctx, "select exists (select from "+quoted(p.name)+" where status <> all ($1))", final).Scan(&open)
	})
	if err != nil || open {
		return false, err
	}
	// By the unique index, which begins with the message.
	err = conn.QueryRow(ctx, "select exists (select from smpp_deliveries where state = 'pending' and message_id >= $1 and message_id < $2)", p.from, p.to).Scan(&open)
	return !open, err
}

// deliveriesFinished reports whether no delivery of the partition is pending.
func deliveriesFinished(ctx context.Context, conn *pgxpool.Conn, p partition) (bool, error) {
	open := false
	err := conn.QueryRow(ctx, "select exists (select from webhooks_due where delivery_id >= $1 and delivery_id < $2)", p.from, p.to).Scan(&open)
	return !open, err
}
