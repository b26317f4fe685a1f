package postgres

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

const selectKeywords = `
select id, keywords, stop_reply, start_reply, help_reply
from accounts`

const selectReplies = `
select id, vendor_replies
from vendors
where vendor_replies is not null`

// loadKeywords reads the words and answers of accounts into what was just read of
// them.
func loadKeywords(ctx context.Context, tx pgx.Tx, s *snapshot.Snapshot) error {
	return each(ctx, tx, selectKeywords, func(row pgx.CollectableRow) error {
		var id message.ID
		var words []byte
		var stop, start, help string
		if err := row.Scan(&id, &words, &stop, &start, &help); err != nil {
			return fmt.Errorf("read keywords: %w", err)
		}
		a := s.Accounts[id]
		if err := json.Unmarshal(words, &a.Keywords); err != nil {
			return fmt.Errorf("keywords of account %s: %w", id, err)
		}
		a.StopReply, a.StartReply, a.HelpReply = stop, start, help
		return nil
	})
}

// loadReplies reads who answers at vendors into what was just read of them.
func loadReplies(ctx context.Context, tx pgx.Tx, s *snapshot.Snapshot) error {
	return each(ctx, tx, selectReplies, func(row pgx.CollectableRow) error {
		var id message.ID
		var itself bool
		if err := row.Scan(&id, &itself); err != nil {
			return fmt.Errorf("read who answers at vendors: %w", err)
		}
		s.Vendors[id].Replies = snapshot.RepliesGateway
		if itself {
			s.Vendors[id].Replies = snapshot.RepliesVendor
		}
		return nil
	})
}

// AnswersChange is what ChangeAnswers sets; nil fields leave what there is.
type AnswersChange struct {
	Keywords                         *snapshot.Keywords
	StopReply, StartReply, HelpReply *string // empty: the gateway's
}

const updateAnswers = `
update accounts
set keywords = coalesce($2::jsonb, keywords),
    stop_reply = coalesce($3, stop_reply),
    start_reply = coalesce($4, start_reply),
    help_reply = coalesce($5, help_reply),
    updated_at = now()
where id = $1`

// ChangeAnswers sets an account's own keywords and its answers. Whether they make
// sense the caller has checked.
func (db *DB) ChangeAnswers(ctx context.Context, by Actor, account message.ID, c AnswersChange) error {
	var words *string
	if c.Keywords != nil {
		b, err := json.Marshal(c.Keywords)
		if err != nil {
			return err
		}
		s := withoutNUL(string(b))
		words = &s
	}
	shown := map[string]any{"keywords": c.Keywords, "stop_reply": c.StopReply, "start_reply": c.StartReply, "help_reply": c.HelpReply}
	return db.audited(ctx, by, "account.answers", account.String(), shown, func(tx pgx.Tx) error {
		return exactlyOne(tx.Exec(ctx, updateAnswers, account, words, c.StopReply, c.StartReply, c.HelpReply))
	})
}

const updateVendorReplies = `
update vendors
set vendor_replies = $2
where instance_name = $1`

// SetVendorReplies says who answers STOP, START and HELP that come over the vendor of
// this name.
func (db *DB) SetVendorReplies(ctx context.Context, by Actor, vendor string, r snapshot.VendorReplies) error {
	return db.audited(ctx, by, "vendor.replies", vendor, map[string]any{"replies": r}, func(tx pgx.Tx) error {
		return exactlyOne(tx.Exec(ctx, updateVendorReplies, vendor, repliesColumn(r)))
	})
}

// repliesColumn is null when nobody has said who answers.
func repliesColumn(r snapshot.VendorReplies) *bool {
	if r == snapshot.RepliesDefault {
		return nil
	}
	b := r == snapshot.RepliesVendor
	return &b
}
