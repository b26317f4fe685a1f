package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
)

const selectKey = `
select body_hash, http_status, response
from idempotency_keys
where account_id = $1 and operation = $2 and key = $3`

// FirstAnswer finds the stored answer of a key: nil when the key is free. A
// key with another body is ReasonIdempotencyMismatch.
func (db *DB) FirstAnswer(ctx context.Context, k message.Idempotency) (*message.Idempotency, error) {
	var hash, sealed []byte
	found := k
	err := db.pool.QueryRow(ctx, selectKey, k.AccountID, k.Operation, k.Key).Scan(&hash, &found.Status, &sealed)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read idempotency key: %w", err)
	case len(hash) != len(k.BodyHash) || [32]byte(hash) != k.BodyHash:
		return nil, message.Refuse(message.ReasonIdempotencyMismatch, "this Idempotency-Key was used with another body; use a new key for a new request")
	}
	found.Response, err = db.sealer.Open(sealed, []byte(k.Key))
	if err != nil {
		return nil, fmt.Errorf("open the stored answer: %w", err)
	}
	return &found, nil
}

func (db *DB) replay(ctx context.Context, k message.Idempotency) (message.Accepted, error) {
	first, err := db.FirstAnswer(ctx, k)
	if err != nil {
		return message.Accepted{}, err
	}
	if first == nil {
		// The key went away between the conflict and this read: its 72 hours
		// ended. The customer may simply repeat.
		return message.Accepted{}, message.Refuse(message.ReasonIdempotencyInProgress, "the key's first request is being cleared away; repeat the request")
	}
	return message.Accepted{Replay: first}, nil
}
