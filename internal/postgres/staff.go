package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

const selectStaff = `
select id, email, name, password_hash, password_id, role, active
from staff`

func loadStaff(ctx context.Context, tx pgx.Tx, s *snapshot.Snapshot) error {
	s.Staff = map[string]*snapshot.Staff{}
	return each(ctx, tx, selectStaff, func(row pgx.CollectableRow) error {
		m := &snapshot.Staff{}
		if err := row.Scan(&m.ID, &m.Email, &m.Name, &m.PasswordHash, &m.PasswordID, &m.Role, &m.Active); err != nil {
			return fmt.Errorf("read staff: %w", err)
		}
		s.Staff[m.Email] = m
		return nil
	})
}

const staffColumns = `
  id, email, name, role, active, last_login_at, failed_tries, last_failed_at, created_at, updated_at, password_hash <> '',
  exists (select from second_factors f where f.person = staff.id and f.confirmed_at is not null),
  (select l.expires_at from sign_in_links l where l.person = staff.id and l.purpose = 'invitation')`

const selectStaffList = `select` + staffColumns + `
from staff
where $1::uuid is null or id < $1
order by id desc
limit $2`

const selectStaffMember = `select` + staffColumns + `
from staff
where id = $1`

// scanStaff leaves the password's hash in the database.
func scanStaff(row pgx.CollectableRow) (snapshot.StaffMember, error) {
	var m snapshot.StaffMember
	var login, failed, invited *time.Time
	err := row.Scan(&m.ID, &m.Email, &m.Name, &m.Role, &m.Active, &login, &m.FailedTries, &failed, &m.CreatedAt, &m.UpdatedAt, &m.Joined, &m.SecondFactor, &invited)
	m.LastLoginAt, m.LastFailedAt, m.InvitedUntil = orZero(login), orZero(failed), orZero(invited)
	return m, err
}

// StaffList lists staff, newest first: at most limit, older than the one `before`
// when that is not zero.
func (db *DB) StaffList(ctx context.Context, before message.ID, limit int) ([]snapshot.StaffMember, error) {
	rows, err := db.pool.Query(ctx, selectStaffList, idOrNull(before), limit)
	if err != nil {
		return nil, fmt.Errorf("list staff: %w", err)
	}
	return pgx.CollectRows(rows, scanStaff)
}

// StaffMember reads one of them. ReasonNotFound when there is none.
func (db *DB) StaffMember(ctx context.Context, id message.ID) (snapshot.StaffMember, error) {
	return oneStaff(ctx, db.pool, id)
}

// querier is a pool or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

func oneStaff(ctx context.Context, q querier, id message.ID) (snapshot.StaffMember, error) {
	rows, err := q.Query(ctx, selectStaffMember, id)
	if err != nil {
		return snapshot.StaffMember{}, fmt.Errorf("read staff %s: %w", id, err)
	}
	m, err := pgx.CollectExactlyOneRow(rows, scanStaff)
	if errors.Is(err, pgx.ErrNoRows) {
		return m, message.Refuse(message.ReasonNotFound, "there is no member of staff %s", id)
	}
	return m, err
}

const selectStaffID = `
select id
from staff
where email = $1`

// StaffID finds a member of staff by e-mail address, in lower case.
// ReasonNotFound when there is none.
func (db *DB) StaffID(ctx context.Context, email string) (message.ID, error) {
	var id message.ID
	err := db.pool.QueryRow(ctx, selectStaffID, email).Scan(&id)
	if errors.Is(err, pgx.ErrNoRows) {
		return id, message.Refuse(message.ReasonNotFound, "there is no member of staff %s", email)
	}
	return id, err
}

const insertStaff = `
insert into staff (id, email, name, password_hash, password_id, role, active)
values ($1, $2, $3, $4, $5, $6, $7)`

// CreateStaff adds a member of staff with the bcrypt hash of a password. An e-mail
// address that somebody has is ReasonConflict.
func (db *DB) CreateStaff(ctx context.Context, by Actor, m snapshot.Staff) (snapshot.StaffMember, error) {
	var made snapshot.StaffMember
	shown := map[string]any{"email": m.Email, "name": m.Name, "role": m.Role, "active": m.Active}
	err := db.audited(ctx, by, "staff.create", m.ID.String(), shown, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, insertStaff, m.ID, m.Email, m.Name, m.PasswordHash, message.NewID(), m.Role, m.Active)
		if sqlState(err) == uniqueViolation {
			return message.Because(message.ReasonConflict, err, "there is a member of staff with the address %s already", m.Email)
		}
		if err == nil {
			made, err = oneStaff(ctx, tx, m.ID)
		}
		return err
	})
	return made, err
}

// lockAdmins keeps two changes from taking each the other's last admin away.
const lockAdmins = `
select id
from staff
where role = 'admin' and active
order by id
for update`

const updateStaff = `
update staff
set name = coalesce($2, name),
    role = coalesce($3, role),
    active = coalesce($4, active),
    password_hash = coalesce($5, password_hash),
    password_id = case when $5::text is null then password_id else $6 end,
    failed_tries = case when $5::text is null then failed_tries else 0 end,
    updated_at = now()
where id = $1`

// ChangeStaff changes a member of staff, and ends the access tokens of a password
// or role that is changed. ReasonConflict when nobody would be left who is admin.
func (db *DB) ChangeStaff(ctx context.Context, by Actor, id message.ID, c snapshot.StaffChange) (snapshot.StaffMember, error) {
	var made snapshot.StaffMember
	shown := map[string]any{}
	before := map[string]any{}
	err := db.auditedChange(ctx, by, "staff.update", id.String(), before, shown, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, lockAdmins)
		if err != nil {
			return err
		}
		admins, err := pgx.CollectRows(rows, pgx.RowTo[message.ID])
		if err != nil {
			return err
		}
		was, err := oneStaff(ctx, tx, id)
		if err != nil {
			return err
		}
		losesAdmin := c.Role != nil && *c.Role != snapshot.RoleAdmin || c.Active != nil && !*c.Active
		if losesAdmin && len(admins) == 1 && admins[0] == id {
			return message.Refuse(message.ReasonConflict, "%s is the last active admin; make another one first", was.Email)
		}
		note(before, shown, "name", was.Name, c.Name)
		note(before, shown, "role", was.Role, c.Role)
		note(before, shown, "active", was.Active, c.Active)
		var hash *string
		if c.PasswordHash != "" {
			hash, shown["password"] = &c.PasswordHash, "changed"
		}
		if _, err := tx.Exec(ctx, updateStaff, id, c.Name, c.Role, c.Active, hash, message.NewID()); err != nil {
			return err
		}
		made, err = oneStaff(ctx, tx, id)
		return err
	})
	return made, err
}

// note puts a field that is to change into both sides of an audit line.
func note[T any](before, after map[string]any, name string, was T, is *T) {
	if is != nil {
		before[name], after[name] = was, *is
	}
}

const staffIn = `
update staff
set last_login_at = now(), failed_tries = 0
where id = $1`

const staffFailed = `
update staff
set last_failed_at = now(), failed_tries = failed_tries + 1
where id = $1`

// StaffTried notes that a member of staff has logged in, or that somebody gave a
// wrong password. It is a line of the audit log.
func (db *DB) StaffTried(ctx context.Context, by Actor, id message.ID, in bool) error {
	action, sql := "staff.login", staffIn
	if !in {
		action, sql = "staff.login_failed", staffFailed
	}
	return db.audited(ctx, by, action, id.String(), nil, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, sql, id)
		return err
	})
}
