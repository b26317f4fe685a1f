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

// How long sessions of the web pages last. The OWASP Session Management Cheat Sheet
// names 15 to 30 minutes of idle time for what is worth little and 4 to 8 hours of use in
// an office; ours last a long shift, and customers' that of a customer who leaves a page
// open beside other work.
const (
	webAbsolute   = 12 * time.Hour   // from the sign-in, however it is used
	webWaiting    = 10 * time.Minute // to give the second factor
	consoleIdle   = 30 * time.Minute // without a request
	portalIdle    = 2 * time.Hour
	webRotation   = 15 * time.Minute // then the token is another one
	webGrace      = time.Minute      // for the token before, after the newer one was seen first
	webSeenEvery  = time.Minute      // seen_at is written no more often
	maxWebPeople  = 16               // accounts that one address may sign in to
	maxWebBrowser = 200              // characters of a User-Agent
)

// doorSQL is what differs between the doors.
type doorSQL struct {
	thing   string // first half of the actions in the audit log
	idle    time.Duration
	people  string
	session string
	link    string
	owner   string // the insert's columns and values of whose a row is, of person $1
	// active says whether person $1 with password $2 may sign in, and locks him as the
	// change to come does: two who shared a lock would wait for each other.
	active   string
	signedIn string
	password string // of person $1: hash $2, id $3, if the id was $4 or that is null
	rehash   string
}

const hasFactor = `exists (select from second_factors f where f.person = p.id and f.confirmed_at is not null)`

const (
	consolePerson = `
  p.id, p.email, p.name, p.role, null::uuid, '', '{}'::text[], p.password_hash, p.password_id, p.active, ` + hasFactor
	portalPerson = `
  p.id, p.email, p.name, '', p.account_id, a.company_name, p.scopes, coalesce(p.password_hash, ''), p.password_id, p.active and a.status = 'active', ` + hasFactor

	sessionColumns = `
select s.id, s.waiting, s.second_factor, s.address, s.user_agent, s.created_at, s.seen_at, s.expires_at,
  s.token_hash = any($1), s.token_used_at is not null, s.rotated_at < now() - $3::interval, s.rotated_at < now() - $4::interval, s.seen_at < now() - $5::interval,`
	// A token that has been replaced is good until the answer that brought the newer one
	// has certainly arrived, and for requests that were under way then.
	liveSession = `
where (s.token_hash = any($1) or s.before_hash = any($1) and (s.token_used_at is null or s.token_used_at > now() - $4::interval))
  and s.expires_at > now() and s.seen_at > now() - $2::interval and s.password_id = p.password_id and p.active`

	selectConsolePeople = `
select` + consolePerson + `
from staff p
where p.email = $1
limit $2`
	selectPortalPeople = `
select` + portalPerson + `
from portal_users p
join accounts a on a.id = p.account_id
where p.email = $1
order by p.last_login_at desc nulls last, p.id
limit $2`

	selectConsoleSession = sessionColumns + consolePerson + `
from web_sessions s
join staff p on p.id = s.staff_id` + liveSession
	selectPortalSession = sessionColumns + portalPerson + `
from web_sessions s
join portal_users p on p.id = s.user_id
join accounts a on a.id = p.account_id` + liveSession + `
  and a.status = 'active'`

	// $1 the hashes of a token.
	selectConsoleLink = `
select l.purpose,` + consolePerson + `
from sign_in_links l
join staff p on p.id = l.staff_id
where l.token_hash = any($1) and l.expires_at > now() and p.active`
	selectPortalLink = `
select l.purpose,` + portalPerson + `
from (
  select user_id, purpose
  from sign_in_links
  where token_hash = any($1) and expires_at > now() and user_id is not null
  union all
  select user_id, 'invitation'
  from portal_invitations
  where token_hash = any($1) and expires_at > now()
) l
join portal_users p on p.id = l.user_id
join accounts a on a.id = p.account_id
where p.active and a.status = 'active'`
)

var doors = map[snapshot.Door]doorSQL{
	snapshot.Console: {thing: "staff", idle: consoleIdle, people: selectConsolePeople, session: selectConsoleSession, link: selectConsoleLink, owner: "staff_id",
		active:   "select from staff where id = $1 and password_id = $2 and active for no key update",
		signedIn: staffIn,
		password: "update staff set password_hash = $2, password_id = $3, failed_tries = 0, updated_at = now() where id = $1 and ($4::uuid is null or password_id = $4)",
		rehash:   "update staff set password_hash = $3 where id = $1 and password_hash = $2"},
	snapshot.Portal: {thing: "portal_user", idle: portalIdle, people: selectPortalPeople, session: selectPortalSession, link: selectPortalLink, owner: "user_id",
		active:   "select from portal_users u join accounts a on a.id = u.account_id where u.id = $1 and u.password_id = $2 and u.active and a.status = 'active' for no key update of u",
		signedIn: "update portal_users set last_login_at = now() where id = $1",
		password: "update portal_users set password_hash = $2, password_id = $3, updated_at = now() where id = $1 and ($4::uuid is null or password_id = $4)",
		rehash:   "update portal_users set password_hash = $3 where id = $1 and password_hash = $2"},
}

// intoPerson is where the columns of a person are scanned to; account is taken over after
// it.
func intoPerson(p *snapshot.Person, account **message.ID) []any {
	return []any{&p.ID, &p.Email, &p.Name, &p.Role, account, &p.AccountName, &p.Scopes, &p.PasswordHash, &p.PasswordID, &p.Active, &p.SecondFactor}
}

// People reads who signs in at a door by an address, in lower case: of the portal one in
// each account, who was there last first, at most 16. Those who may not are among them.
func (db *DB) People(ctx context.Context, door snapshot.Door, email string) ([]snapshot.Person, error) {
	rows, err := db.pool.Query(ctx, doors[door].people, storable(email), maxWebPeople)
	if err != nil {
		return nil, fmt.Errorf("read who signs in: %w", err)
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (snapshot.Person, error) {
		p := snapshot.Person{Door: door}
		var account *message.ID
		err := row.Scan(intoPerson(&p, &account)...)
		p.Account = orZero(account)
		return p, err
	})
}

// errPersonGone: the password was right, and is no longer.
var errPersonGone = message.Refuse(message.ReasonUnauthenticated, "the password has changed, or its owner may not sign in any more")

// OpenWebSession opens a session for somebody whose password was right.
// ReasonUnauthenticated when it has changed since, or its owner may not sign in any more.
// A session that does not wait for the second factor is a line of the audit log.
func (db *DB) OpenWebSession(ctx context.Context, by Actor, s snapshot.NewWebSession) error {
	d := doors[s.Door]
	open := func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, d.active, s.Person, s.PasswordID)
		if err == nil && tag.RowsAffected() == 0 {
			err = errPersonGone
		}
		if err != nil {
			return err
		}
		life := webAbsolute
		if s.Waiting {
			life = webWaiting
		} else if _, err := tx.Exec(ctx, d.signedIn, s.Person); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `
insert into web_sessions (id, `+d.owner+`, password_id, token_hash, waiting, address, user_agent, expires_at)
values ($2, $1, $3, $4, $5, $6, left($7, $8), now() + $9::interval)`,
			s.Person, s.ID, s.PasswordID, s.TokenHash, s.Waiting, s.Address, storable(s.UserAgent), maxWebBrowser, life)
		return err
	}
	if s.Waiting {
		if err := pgx.BeginFunc(ctx, db.pool, open); err != nil {
			return fmt.Errorf("open a session of %s: %w", s.Person, err)
		}
		return nil
	}
	return db.audited(ctx, by, d.thing+".login", s.Person.String(), map[string]any{"session": s.ID}, open)
}

// sessionState is what is to be done about a session that was read.
type sessionState struct {
	current bool // the newer token was shown
	used    bool // it was so before
	settled bool // the token is older than webGrace
	due     bool // and than webRotation
	unseen  bool // seen_at is to be written
}

// WebSession reads the session of a token by its keyed hashes, one for each key of the
// ring. ReasonUnauthenticated when there is none, or it has ended: by time, with the
// password, with its owner's right to sign in. When rotated is true, the session's token
// is from now on the one that next is the hash of: the answer must carry it. Only one of
// several requests at a time is told so, and the others' token is good for a minute more.
func (db *DB) WebSession(ctx context.Context, door snapshot.Door, hashes [][]byte, next []byte) (s snapshot.WebSession, rotated bool, err error) {
	d := doors[door]
	var is sessionState
	var account *message.ID
	s.Person.Door = door
	err = db.pool.QueryRow(ctx, d.session, hashes, d.idle, webRotation, webGrace, webSeenEvery).Scan(append(
		[]any{&s.ID, &s.Waiting, &s.SecondFactor, &s.Address, &s.UserAgent, &s.CreatedAt, &s.SeenAt, &s.ExpiresAt, &is.current, &is.used, &is.due, &is.settled, &is.unseen},
		intoPerson(&s.Person, &account)...)...)
	s.Person.Account = orZero(account)
	if errors.Is(err, pgx.ErrNoRows) {
		return snapshot.WebSession{}, false, message.Refuse(message.ReasonUnauthenticated, "the session has ended; sign in again")
	}
	if err == nil {
		rotated, err = db.seen(ctx, s.ID, is, hashes, next)
	}
	if err != nil {
		return snapshot.WebSession{}, false, fmt.Errorf("read a session: %w", err)
	}
	return s, rotated, nil
}

const rotateSession = `
update web_sessions
set before_hash = token_hash, token_hash = $3, rotated_at = now(), token_used_at = null, seen_at = now()
where id = $1 and token_hash = any($2)`

// The answer with the newer token was lost: nobody has it, so it is replaced.
const rotateAgain = `
update web_sessions
set token_hash = $3, rotated_at = now(), seen_at = now()
where id = $1 and before_hash = any($2) and token_used_at is null`

const sessionSeen = `
update web_sessions
set seen_at = now(), token_used_at = case when $2 then coalesce(token_used_at, now()) else token_used_at end
where id = $1`

// seen notes a request, and reports whether the session has another token now.
func (db *DB) seen(ctx context.Context, id message.ID, is sessionState, hashes [][]byte, next []byte) (rotated bool, err error) {
	rotate := ""
	switch {
	case is.current && is.due:
		rotate = rotateSession
	case !is.current && !is.used && is.settled:
		rotate = rotateAgain
	case is.unseen || is.current && !is.used:
		_, err = db.pool.Exec(ctx, sessionSeen, id, is.current)
		return false, err
	default:
		return false, nil
	}
	tag, err := db.pool.Exec(ctx, rotate, id, hashes, next)
	return tag.RowsAffected() == 1, err
}

// A token that somebody knew before the second factor was passed opens nothing after it:
// there is no grace.
const passSession = `
update web_sessions
set waiting = false, second_factor = true, token_hash = $2, before_hash = null, rotated_at = now(), token_used_at = null, seen_at = now(),
    expires_at = now() + $3::interval
where id = $1 and waiting`

// PassWebSession lets a session in whose second factor was right. Its token is from now
// on the one that next is the hash of. ReasonNotFound when it waits no longer.
func (db *DB) PassWebSession(ctx context.Context, by Actor, p snapshot.Person, id message.ID, next []byte, how string) error {
	d := doors[p.Door]
	return db.audited(ctx, by, d.thing+".login", p.ID.String(), map[string]any{"session": id, "second_factor": how}, func(tx pgx.Tx) error {
		if err := exactlyOne(tx.Exec(ctx, passSession, id, next, webAbsolute)); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, d.signedIn, p.ID)
		return err
	})
}

const selectPersonSessions = `
select s.id, s.waiting, s.second_factor, s.address, s.user_agent, s.created_at, s.seen_at, s.expires_at
from web_sessions s
where s.person = $1 and not s.waiting and s.expires_at > now() and s.seen_at > now() - $2::interval and s.password_id = $3
order by s.seen_at desc, s.id
limit 100`

// WebSessions lists the sessions in which somebody is signed in, used last first, at most
// 100.
func (db *DB) WebSessions(ctx context.Context, p snapshot.Person) ([]snapshot.WebSession, error) {
	rows, err := db.pool.Query(ctx, selectPersonSessions, p.ID, doors[p.Door].idle, p.PasswordID)
	if err != nil {
		return nil, fmt.Errorf("list the sessions of %s: %w", p.ID, err)
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (snapshot.WebSession, error) {
		s := snapshot.WebSession{Person: p}
		err := row.Scan(&s.ID, &s.Waiting, &s.SecondFactor, &s.Address, &s.UserAgent, &s.CreatedAt, &s.SeenAt, &s.ExpiresAt)
		return s, err
	})
}

const deleteSession = `
delete from web_sessions
where person = $1 and id = $2`

// EndWebSession signs somebody out of one session. ReasonNotFound when it is not his.
func (db *DB) EndWebSession(ctx context.Context, by Actor, p snapshot.Person, id message.ID) error {
	return db.audited(ctx, by, doors[p.Door].thing+".logout", p.ID.String(), map[string]any{"session": id}, func(tx pgx.Tx) error {
		return exactlyOne(tx.Exec(ctx, deleteSession, p.ID, id))
	})
}

const deleteOtherSessions = `
delete from web_sessions
where person = $1 and id is distinct from $2`

// EndWebSessions signs somebody out everywhere but in the session `except`; zero:
// everywhere.
func (db *DB) EndWebSessions(ctx context.Context, by Actor, p snapshot.Person, except message.ID) error {
	return db.audited(ctx, by, doors[p.Door].thing+".logout", p.ID.String(), map[string]any{"sessions": "all others", "except": idOrNull(except)}, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, deleteOtherSessions, p.ID, idOrNull(except))
		return err
	})
}

// SignInFailed notes that somebody gave a wrong password or code. It is a line of the
// audit log.
func (db *DB) SignInFailed(ctx context.Context, by Actor, p snapshot.Person, what string) error {
	return db.audited(ctx, by, doors[p.Door].thing+".login_failed", p.ID.String(), map[string]any{"wrong": what}, func(tx pgx.Tx) error {
		if p.Door != snapshot.Console {
			return nil
		}
		_, err := tx.Exec(ctx, staffFailed, p.ID)
		return err
	})
}
