package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
)

// A search goes back through time along an index in the order of ids, its walk: that of all
// messages, of an account, of a recipient and so on. What the index does not know has to be
// read from the rows, and millions may be read before one fits. So the walk is cut into
// slices, after each of which the search may be told to stop. A slice is a range of ids that
// is looked up before it is searched: what is stored meanwhile moves no border of it, so
// that nothing is found twice. It is of so many rows, not of so much time, because how long
// it takes goes by the rows, and a day of a campaign may have more than the month before.
const (
	// sliceFirst is how many rows of the walk the first slice has. The next ones have twice
	// as many, up to sliceMost.
	sliceFirst = 500
	// sliceMost bounds how late a search notices that it is to stop: so many rows take 3 ms, or
	// some tens where they come from the disk. Larger slices were not faster, with three
	// million messages stored.
	sliceMost = 2000
)

// sliced says of how many rows slices are; zero: sliceFirst and sliceMost.
type sliced struct{ first, most int }

// Messages lists an account's messages, newest first, with their parts: at most limit,
// older than the message `before` when that is not zero. It looks as far as it takes.
func (db *DB) Messages(ctx context.Context, account message.ID, f message.Filter, before message.ID, limit int) ([]*message.Message, error) {
	found, err := db.SearchMessages(ctx, account, message.Search{Filter: f, Before: before, Limit: limit})
	return found.Messages, err
}

// SearchMessages looks for messages of an account, with their parts and what they wait for.
// The account of the filter does not count.
func (db *DB) SearchMessages(ctx context.Context, account message.ID, s message.Search) (message.Found, error) {
	if account == (message.ID{}) { // it would stand for all accounts
		return message.Found{}, nil
	}
	s.AccountID = account
	return db.search(ctx, s)
}

// SearchAllMessages looks for messages of all accounts, or of the filter's, with their parts
// and what they wait for.
func (db *DB) SearchAllMessages(ctx context.Context, s message.Search) (message.Found, error) {
	return db.search(ctx, s)
}

func (db *DB) search(ctx context.Context, s message.Search) (message.Found, error) {
	found, err := db.look(ctx, s)
	if err == nil {
		err = db.fill(ctx, found.Messages)
	}
	if err != nil {
		return message.Found{}, fmt.Errorf("search messages: %w", err)
	}
	return found, nil
}

// look searches slice by slice: one at least, and as many as a full page takes unless it is
// told to stop.
func (db *DB) look(ctx context.Context, s message.Search) (found message.Found, err error) {
	f, asked := s.Filter, spanOf(s.Filter)
	rest, rows := asked.below(s.Before), cmp.Or(db.sliced.first, sliceFirst)
	for !rest.empty() {
		slice := rest
		if !indexed(f) {
			if slice.from, err = db.border(ctx, f, rest, rows); err != nil {
				return found, err
			}
		}
		sql, args := searchQuery(f, slice, s.Limit+1-len(found.Messages))
		page, err := db.read(ctx, byStatus(f), sql, args)
		if err != nil || take(&found, page, s.Limit) {
			return found, err
		}
		if slice.from == rest.from && !mayBeLate(f, asked) {
			return found, nil
		}
		rest.to = slice.from
		if s.GoOn != nil && !s.GoOn() {
			found.Next = rest.to
			if len(found.Messages) < s.Limit {
				found.Until = timeOf(rest.to)
			}
			return found, nil
		}
		rows = min(2*rows, cmp.Or(db.sliced.most, sliceMost))
	}
	if mayBeLate(f, asked) {
		sql, args := lateQuery(f, asked.from, s.Before, s.Limit+1-len(found.Messages))
		page, err := db.read(ctx, false, sql, args)
		if err != nil {
			return found, err
		}
		take(&found, page, s.Limit)
	}
	return found, nil
}

// take adds messages to what was found, and reports whether there are more than the limit:
// the search goes on behind the last that fits.
func take(found *message.Found, page []*message.Message, limit int) bool {
	found.Messages = append(found.Messages, page...)
	if len(found.Messages) <= limit {
		return false
	}
	found.Messages = found.Messages[:limit]
	found.Next = found.Messages[limit-1].ID
	return true
}

// border is the id of the oldest of so many rows of the walk, the newest of the span, or the
// end of the span if it has fewer.
func (db *DB) border(ctx context.Context, f message.Filter, s span, rows int) (id message.ID, err error) {
	sql, args := borderQuery(f, s, rows)
	err = db.inOrder(ctx, byStatus(f), func(from querier) error {
		rows, err := from.Query(ctx, sql, args...)
		if err == nil {
			id, err = pgx.CollectExactlyOneRow(rows, pgx.RowTo[message.ID])
		}
		return err
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return s.from, nil
	}
	return id, err
}

// read reads the messages of a query, without what is kept beside them.
func (db *DB) read(ctx context.Context, ordered bool, sql string, args []any) (list []*message.Message, err error) {
	err = db.inOrder(ctx, ordered, func(from querier) error {
		rows, err := from.Query(ctx, sql, args...)
		if err == nil {
			list, err = pgx.CollectRows(rows, db.scanMessage)
		}
		return err
	})
	return list, err
}

// inOrder lets do read. Ordered: rows are to come in the order of indexes, however few the
// planner takes them for.
func (db *DB) inOrder(ctx context.Context, ordered bool, do func(querier) error) error {
	if !ordered {
		return do(db.pool)
	}
	return pgx.BeginTxFunc(ctx, db.pool, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, inOrder); err != nil {
			return err
		}
		return do(tx)
	})
}
