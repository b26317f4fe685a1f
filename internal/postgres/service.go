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

const selectServices = `
select id, name, key, secret_hash, scopes, active, expires_at
from service_credentials`

func loadServiceCredentials(ctx context.Context, tx pgx.Tx, s *snapshot.Snapshot) error {
	s.ServiceCredentials = map[string]*snapshot.ServiceCredential{}
	return each(ctx, tx, selectServices, func(row pgx.CollectableRow) error {
		c := &snapshot.ServiceCredential{}
		var expires *time.Time
		if err := row.Scan(&c.ID, &c.Name, &c.Key, &c.SecretHash, &c.Scopes, &c.Active, &expires); err != nil {
			return fmt.Errorf("read service credentials: %w", err)
		}
		c.ExpiresAt = orZero(expires)
		s.ServiceCredentials[c.Key] = c
		return nil
	})
}

const serviceColumns = `
  id, name, key, scopes, active, expires_at, last_used_at, created_at, updated_at`

const selectServiceList = `select` + serviceColumns + `
from service_credentials
where $1::uuid is null or id < $1
order by id desc
limit $2`

const selectService = `select` + serviceColumns + `
from service_credentials
where id = $1`

// scanService leaves the secret's hash in the database.
func scanService(row pgx.CollectableRow) (snapshot.ServiceState, error) {
	var c snapshot.ServiceState
	var expires, used *time.Time
	err := row.Scan(&c.ID, &c.Name, &c.Key, &c.Scopes, &c.Active, &expires, &used, &c.CreatedAt, &c.UpdatedAt)
	c.ExpiresAt, c.LastUsedAt = orZero(expires), orZero(used)
	return c, err
}

// ServiceCredentials lists the credentials of services, newest first: at most
// limit, older than the one `before` when that is not zero.
func (db *DB) ServiceCredentials(ctx context.Context, before message.ID, limit int) ([]snapshot.ServiceState, error) {
	rows, err := db.pool.Query(ctx, selectServiceList, idOrNull(before), limit)
	if err != nil {
		return nil, fmt.Errorf("list service credentials: %w", err)
	}
	return pgx.CollectRows(rows, scanService)
}

// ServiceCredential reads one of them. ReasonNotFound when there is none.
func (db *DB) ServiceCredential(ctx context.Context, id message.ID) (snapshot.ServiceState, error) {
	return oneService(ctx, db.pool, id)
}

func oneService(ctx context.Context, q querier, id message.ID) (snapshot.ServiceState, error) {
	rows, err := q.Query(ctx, selectService, id)
	if err != nil {
		return snapshot.ServiceState{}, fmt.Errorf("read service credential %s: %w", id, err)
	}
	c, err := pgx.CollectExactlyOneRow(rows, scanService)
	if errors.Is(err, pgx.ErrNoRows) {
		return c, message.Refuse(message.ReasonNotFound, "there is no service credential %s", id)
	}
	return c, err
}

const insertService = `
insert into service_credentials (id, name, key, secret_hash, scopes, active, expires_at)
values ($1, $2, $3, $4, $5, $6, $7)`

// CreateServiceCredential adds a credential of a service; only the keyed hash of
// its secret is given.
func (db *DB) CreateServiceCredential(ctx context.Context, by Actor, c snapshot.ServiceCredential) (snapshot.ServiceState, error) {
	var made snapshot.ServiceState
	shown := map[string]any{"name": c.Name, "key": c.Key, "scopes": c.Scopes, "active": c.Active, "expires_at": timeOrNull(c.ExpiresAt)}
	err := db.audited(ctx, by, "service_credential.create", c.ID.String(), shown, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, insertService, c.ID, c.Name, c.Key, c.SecretHash, c.Scopes, c.Active, timeOrNull(c.ExpiresAt))
		if err == nil {
			made, err = oneService(ctx, tx, c.ID)
		}
		return err
	})
	return made, err
}

const lockService = selectService + `
for update`

const updateService = `
update service_credentials
set name = coalesce($2, name),
    active = coalesce($3, active),
    expires_at = case when $4 then $5 else expires_at end,
    updated_at = now()
where id = $1`

// ChangeServiceCredential changes a credential of a service. One that is no longer
// active, or has expired, ends its access tokens within seconds.
func (db *DB) ChangeServiceCredential(ctx context.Context, by Actor, id message.ID, c snapshot.ServiceChange) (snapshot.ServiceState, error) {
	var made snapshot.ServiceState
	before, shown := map[string]any{}, map[string]any{}
	err := db.auditedChange(ctx, by, "service_credential.update", id.String(), before, shown, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, lockService, id); err != nil {
			return err
		}
		was, err := oneService(ctx, tx, id)
		if err != nil {
			return err
		}
		note(before, shown, "name", was.Name, c.Name)
		note(before, shown, "active", was.Active, c.Active)
		var expires *time.Time
		if c.ExpiresAt != nil {
			expires = timeOrNull(*c.ExpiresAt)
			before["expires_at"], shown["expires_at"] = timeOrNull(was.ExpiresAt), expires
		}
		if _, err := tx.Exec(ctx, updateService, id, c.Name, c.Active, c.ExpiresAt != nil, expires); err != nil {
			return err
		}
		made, err = oneService(ctx, tx, id)
		return err
	})
	return made, err
}

const touchService = `
update service_credentials
set last_used_at = now()
where id = $1`

// ServiceCredentialUsed notes that a service's credential was used. The caller
// thins the calls out; a lost one does not matter.
func (db *DB) ServiceCredentialUsed(ctx context.Context, id message.ID) error {
	_, err := db.pool.Exec(ctx, touchService, id)
	return err
}
