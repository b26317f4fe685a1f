package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
)

// reviseStatement writes a revision. As in advanceStatement everything hangs on
// the update of the message: if it has left, or was revised by somebody else since
// it was read, nothing is written.
//
// A message with a reservation is revised under its account's lock, with what it
// takes then (metered). Without that, the statement finds no such message.
func reviseStatement(r message.Revision, body []byte, metered bool) (string, []any) {
	m := r.Message
	w := &writer{}
	id := w.arg(m.ID, "uuid")
	unmetered := ""
	if !metered {
		unmetered = " and not exists (select from reservations where message_id = " + id + " and ended_at is null)"
	}
	from, line := revisable(), message.EventRevised
	if r.FellBack {
		from, line = append(from, string(message.StatusQueued)), message.EventFellBackToSMS
	}
	w.clause("moved", `update messages
  set kind = `+w.arg(string(m.Kind), "text")+`,
      requested_kind = nullif(`+w.arg(string(m.Requested), "text")+`, ''),
      body = `+w.arg(body, "bytea")+`,
      encoding = `+w.arg(string(m.Encoding), "text")+`,
      segments = `+w.arg(m.Segments, "int")+`,
      send_at = `+w.arg(timeOrNull(m.SendAt), "timestamptz")+`,
      expires_at = `+w.arg(m.ExpiresAt, "timestamptz")+`,
      campaign_id = `+w.arg(m.CampaignID, "text")+`,
      price_micros = `+w.arg(int64(m.Price.Amount), "bigint")+`,
      currency = `+w.arg(m.Price.Currency, "text")+`,
      revision = revision + 1,
      event_seq = event_seq + 1,
      updated_at = now()
  where id = `+id+` and revision = `+w.arg(m.Revision, "int")+` and status = any(`+w.arg(from, "text[]")+")"+unmetered+`
  returning id, event_seq, revision, account_id, clock_timestamp() as at`)
	w.events(message.Change{Events: []message.Event{{Type: line, Detail: r.Detail}}})
	if r.Registered != nil {
		w.clause("origin", `update smpp_origins o
  set registered = `+w.arg(int16(*r.Registered), "smallint")+`
  from moved m
  where o.message_id = `+id) // by name: moved is one row or none, which the planner does not know
	}
	if r.Tell {
		w.clause("due", `insert into revisions_due (message_id, revision)
  select id, revision
  from moved
  on conflict (message_id) do update set revision = excluded.revision, since = now()`)
	}
	w.sql.WriteString("\nselect revision\nfrom moved")
	return w.sql.String(), w.args
}

func revisable() []string {
	var out []string
	for _, s := range message.Statuses() {
		if s.Revisable() {
			out = append(out, string(s))
		}
	}
	return out
}

// Revise writes a message's new text and times, its line in the timeline and what
// its sender over SMPP is owed from now on, and returns after the commit. False:
// the message has left or was revised since it was read, and nothing was written.
// An error that is a *message.Error says that it does not fit into its account's
// limits or balance any more, and nothing was written either.
// After true no step goes on from what it had read of the message before: each
// names the revision it has read when it writes.
func (db *DB) Revise(ctx context.Context, r message.Revision) (bool, error) {
	body := db.sealer.Seal([]byte(r.Message.Body), r.Message.ID[:])
	held, err := db.reserved(ctx, r.Message.ID)
	changed := false
	switch {
	case err != nil:
	case held:
		changed, err = db.reviseMetered(ctx, r, body)
	default:
		sql, args := reviseStatement(r, body, false)
		err = db.one(ctx, r.Message.ID, sql, func(rows pgx.Rows) error {
			changed = false
			for rows.Next() {
				changed = true
			}
			return rows.Err()
		}, args...)
	}
	if err != nil {
		return false, fmt.Errorf("revise %s: %w", r.Message.ID, err)
	}
	if changed {
		// The steps would find out all the same, and begin anew.
		db.envelopes.take(r.Message.ID)
	}
	return changed, nil
}

const selectRevisionsDue = `
select message_id, revision
from revisions_due
where since <= now() - $1::interval
order by since
limit $2`

// RevisionsDue lists messages that were revised longer than age ago and whose
// workflows were not told, oldest first.
func (db *DB) RevisionsDue(ctx context.Context, age time.Duration, limit int) ([]message.RevisionDue, error) {
	rows, err := db.pool.Query(ctx, selectRevisionsDue, age, limit)
	if err != nil {
		return nil, fmt.Errorf("list revisions to be told: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[message.RevisionDue])
}

const deleteRevisionDue = `
delete from revisions_due
where message_id = $1 and revision <= $2`

// RevisionTold notes that a message's workflow was told of a revision. A later one
// stays due.
func (db *DB) RevisionTold(ctx context.Context, told message.RevisionDue) error {
	if _, err := db.pool.Exec(ctx, deleteRevisionDue, told.MessageID, told.Revision); err != nil {
		return fmt.Errorf("note that the workflow of %s was told: %w", told.MessageID, err)
	}
	return nil
}
