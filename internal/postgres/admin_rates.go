package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
)

const updateAccountRate = `
update accounts
set api_rate_limit = $2, api_burst = $3, updated_at = now()
where id = $1`

// SetAccountRate says how many messages a second an account may hand in over the
// API, 1 to 100,000, and how many more may come within one second, 0 to 900,000 (see
// limit.Rate).
func (db *DB) SetAccountRate(ctx context.Context, by Actor, id message.ID, rate, burst int) error {
	shown := map[string]any{"api_rate_limit": rate, "api_burst": burst}
	return db.audited(ctx, by, "account.rate", id.String(), shown, func(tx pgx.Tx) error {
		return exactlyOne(tx.Exec(ctx, updateAccountRate, id, rate, burst))
	})
}

const updateCredentialRate = `
update api_credentials
set rate_limit = $2, burst = $3, updated_at = now()
where id = $1 and revoked_at is null`

// SetCredentialRate says how many of its account's messages a second may come with an
// API key, up to 100,000 (0: all of them), and how many more may come within one
// second.
func (db *DB) SetCredentialRate(ctx context.Context, by Actor, id message.ID, rate, burst int) error {
	shown := map[string]any{"rate_limit": rate, "burst": burst}
	return db.audited(ctx, by, "api_credential.rate", id.String(), shown, func(tx pgx.Tx) error {
		return exactlyOne(tx.Exec(ctx, updateCredentialRate, id, rate, burst))
	})
}

const updateNumberRate = `
update numbers
set rate_limit = $2, updated_at = now()
where number = $1`

// SetNumberRate says how many messages a second are taken with a number as sender,
// over all edges, up to 100,000; 0: as many as its account may.
func (db *DB) SetNumberRate(ctx context.Context, by Actor, number message.Address, rate int) error {
	shown := map[string]any{"rate_limit": rate}
	return db.audited(ctx, by, "number.rate", string(number), shown, func(tx pgx.Tx) error {
		return exactlyOne(tx.Exec(ctx, updateNumberRate, string(number), rate))
	})
}
