package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

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
	// sliceMost is the most that one has. Larger slices were not faster, with three million
	// messages stored: so many rows take 3 ms. Where they come from the disk they take a hundred,
	// so that the slices of a search whose time ends get smaller.
	sliceMost = 2000
	// sliceLeast is the part of sliceFirst that a slice has to have: for fewer rows it is not
	// worth its two statements.
	sliceLeast = 4
)

// sliced says of how many rows slices are; zero: sliceFirst and sliceMost.
type sliced struct{ first, most int }

// strides are the sizes of the slices of a search.
type strides struct {
	sliced
	rows int                  // of the slice that is searched
	left func() time.Duration // see message.Search
	had  time.Duration        // what was left before the slice
}

// strides begins with the first slice.
func (s sliced) strides(left func() time.Duration) strides {
	s.first, s.most = cmp.Or(s.first, sliceFirst), cmp.Or(s.most, sliceMost)
	st := strides{sliced: s, rows: s.first, left: left}
	if left != nil {
		st.had = left()
	}
	return st
}

// next goes on to the next slice: of no more rows than the last ones let expect in the time
// that is left. It reports whether there is the time for one.
func (s *strides) next() bool {
	last := s.rows
	s.rows = min(2*last, s.most)
	if s.left == nil {
		return true
	}
	left := s.left()
	took := s.had - left
	s.had = left
	if left <= 0 {
		return false
	}
	if took > 0 {
		s.rows = min(s.rows, int(int64(last)*int64(left)/int64(took)))
	}
	return s.rows >= max(s.first/sliceLeast, 1)
}

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
	rest, stride := asked.below(s.Before), db.sliced.strides(s.Left)
	for !rest.empty() {
		slice := rest
		if !indexed(f) {
			if slice.from, err = db.border(ctx, f, rest, stride.rows); err != nil {
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
		if !stride.next() {
			found.Next = rest.to
			if len(found.Messages) < s.Limit {
				found.Until = timeOf(rest.to)
			}
			return found, nil
		}
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
