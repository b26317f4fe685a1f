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

// RehashPassword puts another hash of the same password in the place of one; nothing
// happens when that is there no longer. Sessions and tokens go on.
func (db *DB) RehashPassword(ctx context.Context, p snapshot.Person, to string) error {
	if _, err := db.pool.Exec(ctx, doors[p.Door].rehash, p.ID, p.PasswordHash, to); err != nil {
		return fmt.Errorf("hash the password of %s anew: %w", p.ID, err)
	}
	return nil
}

const keepSession = `
update web_sessions
set password_id = $2, token_hash = $3, before_hash = null, rotated_at = now(), token_used_at = null, seen_at = now()
where id = $1`

// ChangePassword gives somebody who is signed in another password. All his sessions end
// but the one named, whose token is from now on the one that next is the hash of, and so
// do his links. ReasonUnauthenticated when the password was changed meanwhile.
func (db *DB) ChangePassword(ctx context.Context, by Actor, p snapshot.Person, hash string, session message.ID, next []byte) error {
	d := doors[p.Door]
	return db.audited(ctx, by, d.thing+".password", p.ID.String(), map[string]any{"password": "changed"}, func(tx pgx.Tx) error {
		id := message.NewID()
		tag, err := tx.Exec(ctx, d.password, p.ID, hash, id, p.PasswordID)
		if err == nil && tag.RowsAffected() == 0 {
			err = errPersonGone
		}
		if err == nil {
			err = endLinks(ctx, tx, p.ID)
		}
		if err == nil {
			_, err = tx.Exec(ctx, deleteOtherSessions, p.ID, session)
		}
		if err == nil {
			err = exactlyOne(tx.Exec(ctx, keepSession, session, id, next))
		}
		return err
	})
}

const (
	deleteLinks = `
delete from sign_in_links
where person = $1`
	deleteInvitation = `
delete from portal_invitations
where user_id = $1`
)

// endLinks ends every link with which somebody could choose a password.
func endLinks(ctx context.Context, tx pgx.Tx, person message.ID) error {
	_, err := tx.Exec(ctx, deleteLinks, person)
	if err == nil {
		_, err = tx.Exec(ctx, deleteInvitation, person)
	}
	return err
}

// errNoLink is the answer to every link that opens nothing.
var errNoLink = message.Refuse(message.ReasonNotFound, "the link was used, has expired, or was replaced by another; ask for a new one")

// Link reads whom a link lets choose a password, by the keyed hashes of its token, and
// does not use it. An unknown token, one that was used or has expired, and one of
// somebody who may not sign in are all ReasonNotFound.
func (db *DB) Link(ctx context.Context, door snapshot.Door, hashes [][]byte) (snapshot.Person, snapshot.LinkPurpose, error) {
	return readLink(ctx, db.pool, door, hashes)
}

func readLink(ctx context.Context, q querier, door snapshot.Door, hashes [][]byte) (snapshot.Person, snapshot.LinkPurpose, error) {
	p := snapshot.Person{Door: door}
	var purpose snapshot.LinkPurpose
	rows, err := q.Query(ctx, doors[door].link, hashes)
	if err != nil {
		return p, "", fmt.Errorf("read a link: %w", err)
	}
	_, err = pgx.CollectExactlyOneRow(rows, func(row pgx.CollectableRow) (struct{}, error) {
		var account *message.ID
		err := row.Scan(append([]any{&purpose}, intoPerson(&p, &account)...)...)
		p.Account = orZero(account)
		return struct{}{}, err
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return snapshot.Person{}, "", errNoLink
	}
	return p, purpose, err
}

// takeLink says which of the links of $1 there were, and lets nobody else use them.
const takeLink = `
with l as (
  delete from sign_in_links
  where token_hash = any($1) and expires_at > now()
  returning person
), i as (
  delete from portal_invitations
  where token_hash = any($1) and expires_at > now()
  returning user_id
)
select person
from l
union all
select user_id
from i`

// RedeemLink sets the password of whom a link is for: see Link. The link ends with it,
// as do his other links and all his sessions. A second factor stays.
func (db *DB) RedeemLink(ctx context.Context, by Actor, door snapshot.Door, hashes [][]byte, passwordHash string) (snapshot.Person, error) {
	var p snapshot.Person
	d := doors[door]
	err := pgx.BeginFunc(ctx, db.pool, func(tx pgx.Tx) error {
		var purpose snapshot.LinkPurpose
		var err error
		if p, purpose, err = readLink(ctx, tx, door, hashes); err != nil {
			return err
		}
		var person message.ID
		err = tx.QueryRow(ctx, takeLink, hashes).Scan(&person)
		if errors.Is(err, pgx.ErrNoRows) || err == nil && person != p.ID {
			err = errNoLink // somebody else was first
		}
		if err == nil {
			err = exactlyOne(tx.Exec(ctx, d.password, p.ID, passwordHash, message.NewID(), nil))
		}
		if err == nil {
			err = endLinks(ctx, tx, p.ID)
		}
		if err == nil {
			_, err = tx.Exec(ctx, deleteOtherSessions, p.ID, nil)
		}
		if err == nil {
			row := auditRow{by: p.Actor(by.Address), action: d.thing + ".password", target: p.ID.String()}
			err = audit(ctx, tx, row, nil, map[string]any{"password": "chosen", "by": purpose})
		}
		return err
	})
	if err != nil {
		return snapshot.Person{}, fmt.Errorf("use a link: %w", err)
	}
	return p, nil
}

const overLink = `
on conflict (person, purpose) do update
set token_hash = excluded.token_hash, expires_at = excluded.expires_at, created_at = now()`

func putLink(ctx context.Context, tx pgx.Tx, door snapshot.Door, person message.ID, purpose snapshot.LinkPurpose, token []byte, good time.Duration) error {
	_, err := tx.Exec(ctx, `
insert into sign_in_links (`+doors[door].owner+`, purpose, token_hash, expires_at)
values ($1, $2, $3, now() + $4::interval)`+overLink, person, purpose, token, good)
	return err
}

// OfferReset gives somebody a link with which he chooses another password, good for so
// long; of its token the keyed hash is given. The one before ends.
func (db *DB) OfferReset(ctx context.Context, by Actor, p snapshot.Person, token []byte, good time.Duration) error {
	return db.audited(ctx, by, doors[p.Door].thing+".reset", p.ID.String(), map[string]any{"link": "made"}, func(tx pgx.Tx) error {
		return putLink(ctx, tx, p.Door, p.ID, snapshot.LinkReset, token, good)
	})
}

// InviteStaff gives somebody a link with which he chooses a password, good for so long; of
// its token the keyed hash is given. Who is not there yet is made, as m says. ReasonConflict
// for somebody who has a password already or is not active: roles and names are changed
// elsewhere.
func (db *DB) InviteStaff(ctx context.Context, by Actor, m snapshot.Staff, token []byte, good time.Duration) (snapshot.StaffMember, error) {
	var made snapshot.StaffMember
	err := pgx.BeginFunc(ctx, db.pool, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, insertStaff+`
on conflict (email) do nothing`, m.ID, m.Email, storable(m.Name), "", message.NewID(), m.Role, true)
		if err != nil {
			return err
		}
		var id message.ID
		var password string
		var active bool
		err = tx.QueryRow(ctx, `
select id, password_hash, active
from staff
where email = $1
for update`, m.Email).Scan(&id, &password, &active)
		switch {
		case err != nil:
			return err
		case password != "":
			return message.Refuse(message.ReasonConflict, "%s has a password already, and asks for another one at the sign-in", m.Email)
		case !active:
			return message.Refuse(message.ReasonConflict, "%s is not active; make them active first", m.Email)
		}
		if err := putLink(ctx, tx, snapshot.Console, id, snapshot.LinkInvitation, token, good); err != nil {
			return err
		}
		if made, err = oneStaff(ctx, tx, id); err != nil {
			return err
		}
		shown := map[string]any{"email": made.Email, "name": made.Name, "role": made.Role}
		return audit(ctx, tx, auditRow{by: by, action: "staff.invite", target: id.String()}, nil, shown)
	})
	if err != nil {
		return snapshot.StaffMember{}, fmt.Errorf("invite staff: %w", err)
	}
	return made, nil
}

const selectFactor = `
select secret, confirmed_at is not null, last_step, cardinality(recovery)
from second_factors
where person = $1`

// SecondFactor reads somebody's, or the one proposed to him. ReasonNotFound without one.
func (db *DB) SecondFactor(ctx context.Context, person message.ID) (snapshot.SecondFactor, error) {
	var f snapshot.SecondFactor
	err := db.pool.QueryRow(ctx, selectFactor, person).Scan(&f.Sealed, &f.Confirmed, &f.LastStep, &f.Codes)
	if errors.Is(err, pgx.ErrNoRows) {
		return f, message.Refuse(message.ReasonNotFound, "there is no second factor")
	}
	if err != nil {
		return f, fmt.Errorf("read the second factor of %s: %w", person, err)
	}
	return f, nil
}

// errFactorThere: taking one off comes before another one.
var errFactorThere = message.Refuse(message.ReasonConflict, "there is a second factor already; turn it off first")

// ProposeSecondFactor keeps what an authenticator app was just shown, sealed, until a code
// of it was right. ReasonConflict when there is one that is in force.
func (db *DB) ProposeSecondFactor(ctx context.Context, p snapshot.Person, sealed []byte) error {
	tag, err := db.pool.Exec(ctx, `
insert into second_factors (`+doors[p.Door].owner+`, secret)
values ($1, $2)
on conflict (person) do update
set secret = excluded.secret, created_at = now()
where second_factors.confirmed_at is null`, p.ID, sealed)
	if err != nil {
		return fmt.Errorf("propose a second factor to %s: %w", p.ID, err)
	}
	if tag.RowsAffected() == 0 {
		return errFactorThere
	}
	return nil
}

const confirmFactor = `
update second_factors
set confirmed_at = now(), last_step = $3, recovery = $4
where person = $1 and secret = $2 and confirmed_at is null`

const markSession = `
update web_sessions
set second_factor = true
where id = $1 and not waiting`

// ConfirmSecondFactor puts the proposed one in force, of which the sealed secret, the step
// of the code that was right, and the keyed hashes of recovery codes are given. The
// sessions end that were opened without it, but the one named. ReasonConflict when another
// one was proposed or put in force meanwhile.
func (db *DB) ConfirmSecondFactor(ctx context.Context, by Actor, p snapshot.Person, session message.ID, sealed []byte, step int64, recovery [][]byte) error {
	return db.audited(ctx, by, doors[p.Door].thing+".factor_add", p.ID.String(), map[string]any{"second_factor": "on"}, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, confirmFactor, p.ID, sealed, step, recovery)
		if err == nil && tag.RowsAffected() == 0 {
			err = errFactorThere
		}
		if err == nil {
			_, err = tx.Exec(ctx, deleteOtherSessions, p.ID, session)
		}
		if err == nil {
			_, err = tx.Exec(ctx, markSession, session)
		}
		return err
	})
}

const deleteFactor = `
delete from second_factors
where person = $1`

// RemoveSecondFactor takes somebody's second factor off. ReasonNotFound without one.
func (db *DB) RemoveSecondFactor(ctx context.Context, by Actor, door snapshot.Door, person message.ID) error {
	return db.audited(ctx, by, doors[door].thing+".factor_remove", person.String(), map[string]any{"second_factor": "off"}, func(tx pgx.Tx) error {
		return exactlyOne(tx.Exec(ctx, deleteFactor, person))
	})
}

const takeStep = `
update second_factors
set last_step = $2
where person = $1 and confirmed_at is not null and last_step < $2`

// TakeStep takes the code of a step of time, once: ok is false for one that was taken
// before, by whomever.
func (db *DB) TakeStep(ctx context.Context, person message.ID, step int64) (ok bool, err error) {
	tag, err := db.pool.Exec(ctx, takeStep, person, step)
	if err != nil {
		return false, fmt.Errorf("take a code of %s: %w", person, err)
	}
	return tag.RowsAffected() == 1, nil
}

const takeRecovery = `
update second_factors
set recovery = array(select r from unnest(recovery) r where r <> all($2::bytea[]))
where person = $1 and confirmed_at is not null and recovery && $2::bytea[]`

// TakeRecovery takes a recovery code, once, by its keyed hashes; ok is false for one that
// is none, or was taken before.
func (db *DB) TakeRecovery(ctx context.Context, person message.ID, hashes [][]byte) (ok bool, err error) {
	tag, err := db.pool.Exec(ctx, takeRecovery, person, hashes)
	if err != nil {
		return false, fmt.Errorf("take a recovery code of %s: %w", person, err)
	}
	return tag.RowsAffected() == 1, nil
}
