package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
)

const (
	// statusesBehind is how far the watermark of message_statuses is back at least: the
	// triggers of migration 0049 begin after a minute, and a transaction has ended after
	// two more.
	statusesBehind = 3 * time.Minute
	// statusesStep is how far the watermark moves at least: a look that finds less to do
	// writes nothing.
	statusesStep = 30 * time.Second
	// statusesPiece is how many messages are looked at in one step: some tens of
	// milliseconds' work.
	statusesPiece = 5000
)

// takeStatusesTurn holds the watermark; who finds it held has nothing to do.
const takeStatusesTurn = `
select until_id, now()
from message_statuses_until
for update skip locked`

// listPiece lists a piece of the journal. The share locks keep a status from changing
// between the look and the row: whoever changes it later writes the row by the trigger.
const listPiece = `
insert into message_statuses (message_id, account_id, status)
select m.id, m.account_id, m.status
from messages m
where m.id >= $1 and m.id < $2 and m.status <> 'delivered'
  and not exists (select from backlog b where b.message_id = m.id)
for share of m
on conflict (message_id) do update
set status = excluded.status
where message_statuses.status <> excluded.status`

const moveStatuses = `
update message_statuses_until
set until_id = $1`

// ListStatuses moves the watermark of the statuses that few messages have on by a piece,
// and reports whether there is more to do. Any number of processes may call it: one at a
// time does anything.
func (db *DB) ListStatuses(ctx context.Context) (more bool, err error) {
	err = pgx.BeginFunc(ctx, db.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, limitUpkeep); err != nil {
			return err
		}
		var from message.ID
		var now time.Time
		switch err := tx.QueryRow(ctx, takeStatusesTurn).Scan(&from, &now); {
		case errors.Is(err, pgx.ErrNoRows):
			return nil
		case err != nil:
			return err
		}
		end := idAt(now.Add(-statusesBehind))
		if timeOf(end).Sub(timeOf(from)) < statusesStep {
			return nil
		}
		to := end
		switch err := tx.QueryRow(ctx, selectUsagePiece, from, end, statusesPiece).Scan(&to); {
		case errors.Is(err, pgx.ErrNoRows):
			to = end
		case err != nil:
			return err
		default:
			more = true
		}
		if _, err := tx.Exec(ctx, listPiece, from, to); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, moveStatuses, to)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("list statuses: %w", err)
	}
	return more, nil
}

// inOrder has a transaction read branches in the order of their indexes. The planner
// takes an account for one of average size, and would read all it has and sort it.
const inOrder = `
select set_config('enable_sort', 'off', true), set_config('enable_bitmapscan', 'off', true)`

// waitingStatuses are those of a message that is in the backlog.
var waitingStatuses = []message.Status{message.StatusAccepted, message.StatusScheduled, message.StatusQueued, message.StatusSending}

// byStatus reports whether what the filter says is best found by its statuses: few
// messages have one of them, and nothing else narrows more.
func byStatus(f message.Filter) bool {
	return len(f.Statuses) > 0 && !slices.Contains(f.Statuses, message.StatusDelivered) &&
		f.To == "" && f.ClientReference == "" && f.BatchID == (message.ID{}) && f.VendorMessageID == ""
}

// statuses writes the ids of messages with one of the statuses, as a table f with the column
// found: of the account if that is not zero, and within bounds. Each branch is in the order
// of ids, so that the newest are found without the rest. No message is in two of them. Of
// those that wait there may be some in another of the statuses that messages wait in.
func (q *listing) statuses(account message.ID, list []message.Status, within bounds) {
	const mark = "(select until_id from message_statuses_until)"
	owner, columns, values := "", "status, message_id", ""
	if account != (message.ID{}) {
		values = fmt.Sprintf("$%d, ", q.put(account))
		owner = "account_id = " + strings.TrimSuffix(values, ", ") + " and "
		columns = "account_id, " + columns
	}
	var branches []string
	branch := func(id, rest string) {
		branches = append(branches, fmt.Sprintf("\n  (select %s as found from %s order by %[1]s desc)", id, rest))
	}
	statuses := slices.Compact(slices.Sorted(slices.Values(list)))
	for _, s := range statuses {
		// Rows are compared, and not the ids alone: by those the planner would rather go
		// through all statuses of a time.
		n := q.put(string(s))
		row := append(bounds{{"<", mark}}, within...).of("("+columns+")", fmt.Sprintf("(%s$%d, ", values, n), ")")
		branch("message_id", fmt.Sprintf("message_statuses where %sstatus = $%d", owner, n)+row)
	}
	if slices.ContainsFunc(statuses, waits) {
		branch("message_id", "backlog where "+owner+"message_id < "+mark+" and not exists (select from message_statuses s where s.message_id = backlog.message_id)"+within.on("message_id"))
	}
	branch("id", fmt.Sprintf("messages where %sstatus = any($%d) and id >= %s", owner, q.put(statusNames(statuses)), mark)+within.on("id"))
	q.WriteString("(" + strings.Join(branches, "\n  union all") + "\n) f")
}

func waits(s message.Status) bool { return slices.Contains(waitingStatuses, s) }
