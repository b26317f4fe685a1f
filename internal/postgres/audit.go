package postgres

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
)

// Actor is who changes the configuration: it goes into the audit log.
type Actor = message.Actor

// auditRow is a row of the audit log as its hash sees it.
type auditRow struct {
	at             time.Time
	by             Actor
	action, target string
	before, after  string // JSON, empty for none
}

// hash covers the row and the hash of the row before it. The documents are
// hashed in canonical form, because jsonb gives back neither the spaces nor the
// order of what was put in. Each field is preceded by its length, so that no
// two rows are written alike.
func (r auditRow) hash(previous []byte) ([]byte, error) {
	before, err := canonical(r.before)
	if err != nil {
		return nil, err
	}
	after, err := canonical(r.after)
	if err != nil {
		return nil, err
	}
	h := sha256.New()
	h.Write(previous)
	for _, part := range []string{r.at.UTC().Format(time.RFC3339Nano), r.by.Name, r.by.Role, r.action, r.target, before, after, r.by.Address} {
		fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	return h.Sum(nil), nil
}

// canonical is a JSON document with its members in order and without spaces.
func canonical(doc string) (string, error) {
	if doc == "" {
		return "", nil
	}
	d := json.NewDecoder(bytes.NewReader([]byte(doc)))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return "", err
	}
	b, err := json.Marshal(v)
	return string(b), err
}

const lockAudit = `
lock table audit_log in share row exclusive mode`

const insertAudit = `
insert into audit_log (at, actor, role, action, target, before, after, address, hash)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9)`

const lastAuditHash = `
select hash
from audit_log
order by id desc
limit 1`

// audited runs change in a transaction and writes one audit row with it. The
// row's hash covers the previous row's, so the table is locked against other
// writers until the transaction ends: changes of configuration are rare.
func (db *DB) audited(ctx context.Context, by Actor, action, target string, after any, change func(pgx.Tx) error) error {
	return db.auditedChange(ctx, by, action, target, nil, after, change)
}

// auditedChange is audited with what there was before. Change may fill in both
// documents.
func (db *DB) auditedChange(ctx context.Context, by Actor, action, target string, before map[string]any, after any, change func(pgx.Tx) error) error {
	tx, err := db.pool.Begin(ctx)
	if err != nil {
		return fmt.Errorf("%s %s: %w", action, target, err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	if err := change(tx); err != nil {
		return fmt.Errorf("%s %s: %w", action, target, err)
	}
	if err := audit(ctx, tx, auditRow{by: by, action: action, target: target}, before, after); err != nil {
		return fmt.Errorf("%s %s: audit: %w", action, target, err)
	}
	if err := tx.Commit(ctx); err != nil {
		return fmt.Errorf("%s %s: commit: %w", action, target, err)
	}
	return nil
}

// audit writes a row, which has everything but its time and documents.
func audit(ctx context.Context, tx pgx.Tx, row auditRow, before map[string]any, after any) error {
	if _, err := tx.Exec(ctx, lockAudit); err != nil {
		return err
	}
	var previous []byte
	if err := tx.QueryRow(ctx, lastAuditHash).Scan(&previous); err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return err
	}
	doc, err := json.Marshal(after)
	if err != nil {
		return err
	}
	row.after = string(doc)
	var was *string
	if len(before) > 0 {
		if doc, err = json.Marshal(before); err != nil {
			return err
		}
		row.before = string(doc)
		was = &row.before
	}
	// Microseconds are what Postgres keeps: the hash must be of what is read back.
	row.at = time.Now().UTC().Truncate(time.Microsecond)
	sum, err := row.hash(previous)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, insertAudit, row.at, row.by.Name, row.by.Role, row.action, row.target, was, row.after, row.by.Address, sum)
	return err
}

// Audit writes a line about something that changed nothing here, such as the
// reading of a text.
func (db *DB) Audit(ctx context.Context, by Actor, action, target string, after any) error {
	return db.audited(ctx, by, action, target, after, func(pgx.Tx) error { return nil })
}

// AuditLog lists the audit log, newest first: at most limit lines, older than the
// line `before` when that is not 0.
func (db *DB) AuditLog(ctx context.Context, f message.AuditFilter, before int64, limit int) ([]message.AuditEntry, error) {
	sql, args := auditQuery(f, before, limit)
	rows, err := db.pool.Query(ctx, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("read the audit log: %w", err)
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (message.AuditEntry, error) {
		var e message.AuditEntry
		err := row.Scan(&e.ID, &e.At, &e.By.Name, &e.By.Role, &e.Action, &e.Target, &e.Before, &e.After, &e.By.Address, &e.Hash)
		return e, err
	})
}

// auditSkew is how far the clocks of two processes may lie apart.
const auditSkew = time.Minute

func auditQuery(f message.AuditFilter, before int64, limit int) (string, []any) {
	q := listing{}
	q.WriteString("select id, at, actor, role, action, target, before, after, address, hash\nfrom audit_log\nwhere true")
	if before != 0 {
		q.and("id < $%d", before)
	}
	if f.Actor != "" {
		q.and("actor = $%d", f.Actor)
	}
	if f.Action != "" {
		q.and("action = $%d", f.Action)
	}
	if f.Target != "" {
		q.and("target = $%d", f.Target)
	}
	// Lines are in the order of their numbers, and of their times as far as the
	// clocks of the processes agree. So a time bounds the numbers that are read.
	if !f.After.IsZero() {
		q.and("at > $%d", f.After)
		q.and("id > coalesce((select id from audit_log where at <= $%d order by at desc limit 1), 0)", f.After.Add(-auditSkew))
	}
	if !f.Before.IsZero() {
		q.and("at < $%d", f.Before)
		q.and("id < coalesce((select id from audit_log where at >= $%d order by at limit 1), 9223372036854775807)", f.Before.Add(auditSkew))
	}
	return q.newest(limit)
}

const selectAudit = `
select id, at, actor, role, action, target, coalesce(before::text, ''), coalesce(after::text, ''), address, hash
from audit_log
order by id`

// VerifyAudit reads the audit log from its first row and returns the number of
// the first row that does not follow from the one before it, 0 when all do. A
// row altered, put in or taken out shows there; rows taken off the end do not
// show, so whoever wants to know keeps the newest hash elsewhere.
func (db *DB) VerifyAudit(ctx context.Context) (broken int64, err error) {
	rows, err := db.pool.Query(ctx, selectAudit)
	if err != nil {
		return 0, fmt.Errorf("read the audit log: %w", err)
	}
	defer rows.Close()
	var previous []byte
	for rows.Next() {
		var r auditRow
		var id int64
		var stored []byte
		if err := rows.Scan(&id, &r.at, &r.by.Name, &r.by.Role, &r.action, &r.target, &r.before, &r.after, &r.by.Address, &stored); err != nil {
			return 0, fmt.Errorf("read the audit log: %w", err)
		}
		sum, err := r.hash(previous)
		if err != nil {
			return 0, fmt.Errorf("audit row %d: %w", id, err)
		}
		if !bytes.Equal(sum, stored) {
			return id, nil
		}
		previous = stored
	}
	if err := rows.Err(); err != nil {
		return 0, fmt.Errorf("read the audit log: %w", err)
	}
	return 0, nil
}
