package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
)

const selectOptOutVersion = `
select version
from opt_outs_version`

// OptOutVersion is the version of the newest write to the opt-outs that has been
// committed: whoever has read them up to it has missed nothing.
func (db *DB) OptOutVersion(ctx context.Context) (int64, error) {
	var v int64
	err := db.pool.QueryRow(ctx, selectOptOutVersion).Scan(&v)
	return v, err
}

// ListenOptOuts calls changed once at the start and after each notification of a
// write to the opt-outs, until ctx ends or the connection is lost, and returns why.
func (db *DB) ListenOptOuts(ctx context.Context, changed func()) error {
	return db.listen(ctx, listening{channel: "optouts", began: changed, heard: func(context.Context, *pgx.Conn, string) error {
		changed()
		return nil
	}})
}

const selectOptOutsSince = `
select` + optOutColumns + `
from opt_outs
where (version, id) > ($1, $2)
order by version, id
limit $3`

// OptOutsSince reads what was written after a mark, in the order of the writing. The
// rows of one statement share a version and are told apart by their ids. Rows are as
// they are now: one that was ended is there once, under its newest version.
func (db *DB) OptOutsSince(ctx context.Context, version int64, id message.ID, limit int) ([]message.OptOut, error) {
	rows, err := db.pool.Query(ctx, selectOptOutsSince, version, id, limit)
	if err != nil {
		return nil, fmt.Errorf("read opt-outs since version %d: %w", version, err)
	}
	return pgx.CollectRows(rows, scanOptOut)
}

// selectInForce reads the table from end to end, on purpose.
const selectInForce = `
select id, account_id, recipient, scope, sender, campaign_id, keyword, source, created_at
from opt_outs
where active`

// LoadOptOuts calls each with every opt-out in force, without what a decision does not
// need, and returns the version that they are of.
func (db *DB) LoadOptOuts(ctx context.Context, each func(message.OptOut)) (int64, error) {
	tx, err := db.pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return 0, err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	var v int64
	if err := tx.QueryRow(ctx, selectOptOutVersion).Scan(&v); err != nil {
		return 0, err
	}
	if _, err := tx.Exec(ctx, "set local enable_seqscan = on"); err != nil {
		return 0, err
	}
	rows, err := tx.Query(ctx, selectInForce)
	if err != nil {
		return 0, err
	}
	var o message.OptOut
	targets := []any{&o.ID, &o.AccountID, &o.Recipient, &o.Scope, &o.Sender, &o.CampaignID, &o.Keyword, &o.Source, &o.At}
	_, err = pgx.ForEachRow(rows, targets, func() error {
		each(o)
		return nil
	})
	return v, err
}
