package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
)

// countUnbegun leaves out those that wait for their turn: it is not the gateway that
// keeps them. Both sides are read from an index that has nothing but work in it.
const countUnbegun = `
select s.priority, count(*), extract(epoch from now() - min(s.created_at))::float8
from starts s
where not exists (select from backlog b where b.message_id = s.message_id and b.waits)
group by s.priority`

// Waiting counts the messages whose workflow has not begun, by class; a class of which
// none waits may be missing. Those that wait for their turn in their conversation do
// not count. It reads all of them: a tenth of a second for some hundred thousand.
func (db *DB) Waiting(ctx context.Context) ([]message.Waiting, error) {
	rows, err := db.pool.Query(ctx, countUnbegun)
	if err != nil {
		return nil, fmt.Errorf("count what waits for a start: %w", err)
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (w message.Waiting, err error) {
		var oldest float64
		err = row.Scan(&w.Priority, &w.Messages, &oldest)
		w.Oldest = time.Duration(max(0, oldest) * float64(time.Second))
		return w, err
	})
}
