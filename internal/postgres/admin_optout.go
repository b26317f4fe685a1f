package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
)

// AddOptOut is RecordOptOut for staff: it is written to the audit log, with the number
// masked.
func (db *DB) AddOptOut(ctx context.Context, by Actor, o message.OptOut, tell message.OptOutTell) (message.OptOut, bool, error) {
	var is message.OptOut
	var fresh bool
	err := db.audited(ctx, by, "opt_out.create", o.ID.String(), shownOptOut(o), func(tx pgx.Tx) (err error) {
		is, fresh, err = db.recordOptOut(ctx, tx, o, tell)
		return err
	})
	if err == nil {
		db.optedOut([]message.OptOut{is})
	}
	return is, fresh, err
}

const selectAnyOptOut = `
select` + optOutColumns + `
from opt_outs
where id = $1`

// AnyOptOut reads an opt-out, in force or not, whosever it is; ReasonNotFound when there is
// none.
func (db *DB) AnyOptOut(ctx context.Context, id message.ID) (message.OptOut, error) {
	return one(ctx, db.pool, scanOptOut, "opt-out", id, selectAnyOptOut, id)
}

// RemoveOptOut is EndOptOut for staff: it is written to the audit log.
func (db *DB) RemoveOptOut(ctx context.Context, by Actor, account, id message.ID, end message.OptOutEnd, tell message.OptOutTell) (message.OptOut, error) {
	var is message.OptOut
	shown := map[string]any{"account_id": account, "reason": end.Reason}
	err := db.audited(ctx, by, "opt_out.end", id.String(), shown, func(tx pgx.Tx) (err error) {
		is, err = endOptOut(ctx, tx, account, id, end, tell)
		return err
	})
	if err == nil {
		db.optedOut([]message.OptOut{is})
	}
	return is, err
}

// NoteOptOuts writes to the audit log that staff import or export the opt-outs of an
// account: action is opt_out.import or opt_out.export, shown what is known of it.
func (db *DB) NoteOptOuts(ctx context.Context, by Actor, action string, account message.ID, shown map[string]any) error {
	return db.audited(ctx, by, action, account.String(), shown, func(pgx.Tx) error { return nil })
}

func shownOptOut(o message.OptOut) map[string]any {
	return map[string]any{"account_id": o.AccountID, "recipient": o.Recipient.Masked(), "scope": o.Scope, "sender": o.Sender,
		"campaign_id": o.CampaignID, "source": o.Source, "reason": o.Reason}
}

const updateOptOutScope = `
update accounts
set opt_out_scope = $2, updated_at = now()
where id = $1`

// SetOptOutScope says what recipients stop who write STOP to a number of the account.
// What they have stopped before stays as it is.
func (db *DB) SetOptOutScope(ctx context.Context, by Actor, account message.ID, scope message.OptOutScope) error {
	return db.audited(ctx, by, "account.update", account.String(), map[string]any{"opt_out_scope": scope}, func(tx pgx.Tx) error {
		return exactlyOne(tx.Exec(ctx, updateOptOutScope, account, string(scope)))
	})
}
