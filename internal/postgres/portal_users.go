package postgres

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

const userColumns = `
  u.id, u.account_id, u.email, u.name, u.scopes, u.active, u.password_hash is not null, u.password_id, i.expires_at, i.sent_at, u.last_login_at, u.created_at, u.updated_at`

const selectUsers = `select` + userColumns + `
from portal_users u
left join portal_invitations i on i.user_id = u.id
where u.account_id = $1 and ($2::uuid is null or u.id < $2)
order by u.id desc
limit $3`

const selectUser = `select` + userColumns + `
from portal_users u
left join portal_invitations i on i.user_id = u.id
where u.account_id = $1 and u.id = $2`

// scanUser leaves the password's hash in the database.
func scanUser(row pgx.CollectableRow) (snapshot.PortalUser, error) {
	var u snapshot.PortalUser
	var expires, sent, login *time.Time
	err := row.Scan(&u.ID, &u.AccountID, &u.Email, &u.Name, &u.Scopes, &u.Active, &u.Joined, &u.PasswordID, &expires, &sent, &login, &u.CreatedAt, &u.UpdatedAt)
	u.Invitation = snapshot.Invitation{ExpiresAt: orZero(expires), SentAt: orZero(sent)}
	u.LastLoginAt = orZero(login)
	return u, err
}

// PortalUsers lists the users of an account, newest first: at most limit, older than the
// one `before` when that is not zero.
func (db *DB) PortalUsers(ctx context.Context, account, before message.ID, limit int) ([]snapshot.PortalUser, error) {
	rows, err := db.pool.Query(ctx, selectUsers, account, idOrNull(before), limit)
	if err != nil {
		return nil, fmt.Errorf("list portal users: %w", err)
	}
	return pgx.CollectRows(rows, scanUser)
}

// PortalUser reads a user of an account; ReasonNotFound when that has none such.
func (db *DB) PortalUser(ctx context.Context, account, id message.ID) (snapshot.PortalUser, error) {
	return one(ctx, db.pool, scanUser, "user", id, selectUser, account, id)
}

const countUsers = `
select count(*)
from portal_users
where account_id = $1`

const insertUser = `
insert into portal_users (id, account_id, email, name, scopes, active, password_id)
values ($1, $2, $3, $4, $5, true, $6)`

// A new invitation takes the place of the one before.
const insertInvitation = `
insert into portal_invitations (user_id, token_hash, expires_at)
values ($1, $2, now() + $3::interval)
on conflict (user_id) do update
set token_hash = excluded.token_hash, expires_at = excluded.expires_at, sent_at = null, created_at = now()`

// InvitePortalUser adds a user to an account that has fewer than `most`, with an
// invitation of which the keyed hash of the token is given. An address that a user of the
// account has is ReasonConflict. For answer and replay see auditedOnce.
func (db *DB) InvitePortalUser(ctx context.Context, by Actor, u snapshot.PortalUser, most int, token []byte, good time.Duration, answer func(snapshot.PortalUser) (message.Idempotency, error)) (snapshot.PortalUser, *message.Idempotency, error) {
	shown := map[string]any{"account_id": u.AccountID, "email": u.Email, "name": u.Name, "scopes": texts(u.Scopes)}
	return auditedOnce(ctx, db, by, "portal_user.create", u.ID.String(), shown, answer, func(tx pgx.Tx) (made snapshot.PortalUser, err error) {
		if err = room(ctx, tx, u.AccountID, countUsers, "users", most); err != nil {
			return made, err
		}
		_, err = tx.Exec(ctx, insertUser, u.ID, u.AccountID, u.Email, storable(u.Name), texts(u.Scopes), message.NewID())
		if sqlState(err) == uniqueViolation {
			err = message.Because(message.ReasonConflict, err, "the account has a user with this address already")
		}
		if err != nil {
			return made, err
		}
		if _, err = tx.Exec(ctx, insertInvitation, u.ID, token, good); err != nil {
			return made, err
		}
		return one(ctx, tx, scanUser, "user", u.ID, selectUser, u.AccountID, u.ID)
	})
}

const lockUser = selectUser + `
for update of u`

// InviteAgain gives a user another link, by which he chooses a password anew: links from
// before end. ReasonConflict for one who is not active.
func (db *DB) InviteAgain(ctx context.Context, by Actor, account, id message.ID, token []byte, good time.Duration) (snapshot.PortalUser, error) {
	var made snapshot.PortalUser
	err := db.audited(ctx, by, "portal_user.invite", id.String(), map[string]any{"account_id": account}, func(tx pgx.Tx) error {
		was, err := one(ctx, tx, scanUser, "user", id, lockUser, account, id)
		if err != nil {
			return err
		}
		if !was.Active {
			return message.Refuse(message.ReasonConflict, "the user is not active; make him active first")
		}
		if _, err := tx.Exec(ctx, insertInvitation, id, token, good); err != nil {
			return err
		}
		made, err = one(ctx, tx, scanUser, "user", id, selectUser, account, id)
		return err
	})
	return made, err
}

const updateSent = `
update portal_invitations
set sent_at = now()
where user_id = $1 and token_hash = $2`

// InvitationSent notes that the e-mail relay has taken the link with the token.
func (db *DB) InvitationSent(ctx context.Context, user message.ID, token []byte) error {
	if _, err := db.pool.Exec(ctx, updateSent, user, token); err != nil {
		return fmt.Errorf("note the invitation of %s: %w", user, err)
	}
	return nil
}

const lockUsers = `
select id
from portal_users
where account_id = $1
order by id
for update`

const updateUser = `
update portal_users
set name = $2, scopes = $3, active = $4, updated_at = now()
where id = $1`

// errLastOwner: somebody must be left who can let others in.
var errLastOwner = message.Refuse(message.ReasonConflict, "this is the last active user with account:write; give it to another one first")

// lastOwner is errLastOwner if the user is the only one of the account who is active, has
// chosen a password and may change the account.
func lastOwner(ctx context.Context, tx pgx.Tx, u snapshot.PortalUser) error {
	if !owner(u) {
		return nil
	}
	rows, err := tx.Query(ctx, selectUsers, u.AccountID, nil, 1_000_000)
	if err != nil {
		return err
	}
	users, err := pgx.CollectRows(rows, scanUser)
	if err == nil && !slices.ContainsFunc(users, func(o snapshot.PortalUser) bool { return o.ID != u.ID && owner(o) }) {
		err = errLastOwner
	}
	return err
}

func owner(u snapshot.PortalUser) bool {
	return u.Active && u.Joined && slices.Contains(u.Scopes, snapshot.ScopeAccountWrite)
}

// lockedUser locks all users of an account, whose changes depend on each other, and reads
// one.
func lockedUser(ctx context.Context, tx pgx.Tx, account, id message.ID) (snapshot.PortalUser, error) {
	if _, err := tx.Exec(ctx, lockUsers, account); err != nil {
		return snapshot.PortalUser{}, err
	}
	return one(ctx, tx, scanUser, "user", id, selectUser, account, id)
}

// ChangePortalUser changes name, scopes and active of a user of an account, and nothing
// else of him whatever change does. ReasonConflict when the account had a user who could
// let others in and would have none. It returns the user as he is then.
func (db *DB) ChangePortalUser(ctx context.Context, by Actor, account, id message.ID, change func(*snapshot.PortalUser) error) (snapshot.PortalUser, error) {
	var made snapshot.PortalUser
	before, after := map[string]any{}, map[string]any{}
	err := db.auditedChange(ctx, by, "portal_user.update", id.String(), before, after, func(tx pgx.Tx) error {
		was, err := lockedUser(ctx, tx, account, id)
		if err != nil {
			return err
		}
		u := was
		if err := change(&u); err != nil {
			return err
		}
		if owner(was) && !owner(u) {
			if err := lastOwner(ctx, tx, was); err != nil {
				return err
			}
		}
		if _, err := tx.Exec(ctx, updateUser, id, storable(u.Name), texts(u.Scopes), u.Active); err != nil {
			return err
		}
		note(before, after, "name", was.Name, &u.Name)
		note(before, after, "scopes", was.Scopes, &u.Scopes)
		note(before, after, "active", was.Active, &u.Active)
		made, err = one(ctx, tx, scanUser, "user", id, selectUser, account, id)
		return err
	})
	return made, err
}

const deleteUser = `
delete from portal_users
where id = $1`

// RemovePortalUser removes a user of an account with his invitation. check may refuse
// what it is given; ReasonConflict as in ChangePortalUser.
func (db *DB) RemovePortalUser(ctx context.Context, by Actor, account, id message.ID, check func(snapshot.PortalUser) error) error {
	before := map[string]any{}
	return db.auditedChange(ctx, by, "portal_user.delete", id.String(), before, map[string]any{"account_id": account}, func(tx pgx.Tx) error {
		was, err := lockedUser(ctx, tx, account, id)
		if err == nil {
			err = check(was)
		}
		if err == nil {
			err = lastOwner(ctx, tx, was)
		}
		if err != nil {
			return err
		}
		before["email"] = was.Email
		return exactlyOne(tx.Exec(ctx, deleteUser, id))
	})
}
