package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
)

const selectReadAsked = `
select read_report
from mm4_origins
where message_id = $1`

// ReadAsked reports whether whoever sent a message over MM4 wants to be told when it was
// read. False when it came otherwise, or is not there.
func (db *DB) ReadAsked(ctx context.Context, id message.ID) (asked bool, err error) {
	err = db.pool.QueryRow(ctx, selectReadAsked, id).Scan(&asked)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return false, fmt.Errorf("read what the sender of %s asked for: %w", id, err)
	}
	return asked, nil
}
