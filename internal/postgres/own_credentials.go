package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

const credentialColumns = `
  id, account_id, name, key, previous_until, scopes, allowed_numbers, allowed_ips, rate_limit, burst, expires_at, last_used_at, created_at, updated_at`

const selectOwnCredentials = `select` + credentialColumns + `
from api_credentials
where account_id = $1 and revoked_at is null and ($2::uuid is null or id < $2)
order by id desc
limit $3`

const selectOwnCredential = `select` + credentialColumns + `
from api_credentials
where account_id = $1 and id = $2 and revoked_at is null`

// scanCredential leaves the hashes of the secrets in the database.
func scanCredential(row pgx.CollectableRow) (snapshot.CredentialState, error) {
	var c snapshot.CredentialState
	var until, expires, used *time.Time
	err := row.Scan(&c.ID, &c.AccountID, &c.Name, &c.Key, &until, &c.Scopes, &c.AllowedNumbers, &c.AllowedIPs, &c.RateLimit, &c.Burst, &expires, &used,
		&c.CreatedAt, &c.UpdatedAt)
	c.PreviousUntil, c.ExpiresAt, c.LastUsedAt = orZero(until), orZero(expires), orZero(used)
	return c, err
}

// OwnCredentials lists the API credentials of an account, newest first: at most limit,
// older than the one `before` when that is not zero. Those that are revoked are not
// among them.
func (db *DB) OwnCredentials(ctx context.Context, account, before message.ID, limit int) ([]snapshot.CredentialState, error) {
	rows, err := db.pool.Query(ctx, selectOwnCredentials, account, idOrNull(before), limit)
	if err != nil {
		return nil, fmt.Errorf("list API credentials: %w", err)
	}
	return pgx.CollectRows(rows, scanCredential)
}

// OwnCredential reads an API credential of an account; ReasonNotFound when that has none
// such, or it is revoked.
func (db *DB) OwnCredential(ctx context.Context, account, id message.ID) (snapshot.CredentialState, error) {
	return one(ctx, db.pool, scanCredential, "API credential", id, selectOwnCredential, account, id)
}

// lockPlaces keeps two requests from taking each the last place of an account.
const lockPlaces = `
select id
from accounts
where id = $1
for no key update`

const countCredentials = `
select count(*)
from api_credentials
where account_id = $1 and revoked_at is null`

// room is ReasonConflict when an account has the most of something that it may have.
func room(ctx context.Context, tx pgx.Tx, account message.ID, count, what string, most int) error {
	var n int
	if err := exactlyOne(tx.Exec(ctx, lockPlaces, account)); err != nil {
		return err
	}
	if err := tx.QueryRow(ctx, count, account).Scan(&n); err != nil {
		return err
	}
	if n >= most {
		return message.Refuse(message.ReasonConflict, "the account has %d %s, which is the most; remove one first", n, what)
	}
	return nil
}

// AddOwnCredential adds an API credential to an account that has fewer than `most`; else
// ReasonConflict. Only the keyed hash of its secret is given. For answer and replay see
// auditedOnce.
func (db *DB) AddOwnCredential(ctx context.Context, by Actor, c snapshot.Credential, most int, answer func(snapshot.CredentialState) (message.Idempotency, error)) (snapshot.CredentialState, *message.Idempotency, error) {
	shown := credentialShown(c)
	shown["account_id"], shown["key"] = c.AccountID, c.Key
	return auditedOnce(ctx, db, by, "api_credential.create", c.ID.String(), shown, answer, func(tx pgx.Tx) (made snapshot.CredentialState, err error) {
		if err = room(ctx, tx, c.AccountID, countCredentials, "API credentials", most); err != nil {
			return made, err
		}
		if _, err = tx.Exec(ctx, insertCredential, c.ID, c.AccountID, storable(c.Name), c.Key, c.SecretHash, texts(c.Scopes), texts(c.AllowedNumbers), networks(c.AllowedIPs),
			c.RateLimit, c.Burst, timeOrNull(c.ExpiresAt)); err != nil {
			return made, err
		}
		return one(ctx, tx, scanCredential, "API credential", c.ID, selectOwnCredential, c.AccountID, c.ID)
	})
}

func credentialShown(c snapshot.Credential) map[string]any {
	return map[string]any{"name": c.Name, "scopes": texts(c.Scopes), "allowed_numbers": texts(c.AllowedNumbers), "allowed_ips": networks(c.AllowedIPs),
		"rate_limit": c.RateLimit, "expires_at": timeOrNull(c.ExpiresAt)}
}

const lockOwnCredential = selectOwnCredential + `
for update`

const updateOwnCredential = `
update api_credentials
set name = $2, scopes = $3, allowed_numbers = $4, allowed_ips = $5, rate_limit = $6, expires_at = $7, updated_at = now()
where id = $1`

// ChangeOwnCredential changes an API credential of an account, but for its id, key and
// secret. It returns it as it is then; ReasonNotFound when the account has none such.
func (db *DB) ChangeOwnCredential(ctx context.Context, by Actor, account, id message.ID, change func(*snapshot.CredentialState) error) (snapshot.CredentialState, error) {
	var made snapshot.CredentialState
	before, after := map[string]any{}, map[string]any{}
	err := db.auditedChange(ctx, by, "api_credential.update", id.String(), before, after, func(tx pgx.Tx) error {
		was, err := one(ctx, tx, scanCredential, "API credential", id, lockOwnCredential, account, id)
		if err != nil {
			return err
		}
		c := was
		if err := change(&c); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, updateOwnCredential, id, storable(c.Name), texts(c.Scopes), texts(c.AllowedNumbers), networks(c.AllowedIPs), c.RateLimit, timeOrNull(c.ExpiresAt)); err != nil {
			return err
		}
		differences(credentialShown(was.Credential), credentialShown(c.Credential), before, after)
		made, err = one(ctx, tx, scanCredential, "API credential", id, selectOwnCredential, account, id)
		return err
	})
	return made, err
}

const replaceSecret = `
update api_credentials
set previous_secret_hash = case when $3 > interval '0' then secret_hash end,
    previous_until = case when $3 > interval '0' then now() + $3 end,
    secret_hash = $2,
    updated_at = now()
where id = $1`

// RegenerateOwnCredential gives an API credential of an account another secret, by its
// keyed hash. The one before holds for the overlap as well, and one from before that no
// longer. check may refuse what it is given. For answer and replay see auditedOnce.
func (db *DB) RegenerateOwnCredential(ctx context.Context, by Actor, account, id message.ID, hash []byte, overlap time.Duration, check func(snapshot.CredentialState) error,
	answer func(snapshot.CredentialState) (message.Idempotency, error)) (snapshot.CredentialState, *message.Idempotency, error) {
	shown := map[string]any{"overlap_seconds": wholeSeconds(overlap, 0)}
	return auditedOnce(ctx, db, by, "api_credential.regenerate", id.String(), shown, answer, func(tx pgx.Tx) (made snapshot.CredentialState, err error) {
		was, err := one(ctx, tx, scanCredential, "API credential", id, lockOwnCredential, account, id)
		if err == nil {
			err = check(was)
		}
		if err != nil {
			return made, err
		}
		if _, err = tx.Exec(ctx, replaceSecret, id, hash, overlap); err != nil {
			return made, err
		}
		return one(ctx, tx, scanCredential, "API credential", id, selectOwnCredential, account, id)
	})
}

// RevokeOwnCredential ends an API credential of an account and, within seconds, its
// access tokens. check may refuse what it is given.
func (db *DB) RevokeOwnCredential(ctx context.Context, by Actor, account, id message.ID, check func(snapshot.CredentialState) error) error {
	return db.audited(ctx, by, "api_credential.revoke", id.String(), map[string]any{"account_id": account}, func(tx pgx.Tx) error {
		was, err := one(ctx, tx, scanCredential, "API credential", id, lockOwnCredential, account, id)
		if err == nil {
			err = check(was)
		}
		if err != nil {
			return err
		}
		return exactlyOne(tx.Exec(ctx, revokeCredential, id))
	})
}
