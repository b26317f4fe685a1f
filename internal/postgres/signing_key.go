package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// signingKeyKept is how long a retired key stays in the table: longer than its last token.
const signingKeyKept = 24 * time.Hour

const lockSigningKeys = `lock table signing_keys in share row exclusive mode`

// selectNextSigningKey finds a key that is to sign later, by the database's clock.
const selectNextSigningKey = `
select kid, signs_from
from signing_keys
where signs_from > now() and (retired_at is null or retired_at > now())
limit 1`

const addNextSigningKey = `
insert into signing_keys (kid, algorithm, secret, signs_from)
values ($1, $2, $3, now() + $4::interval)
returning signs_from`

// retireSigningKeys ends the others when the new one begins. Those that are to end at once
// are retired for so long that no token of theirs is good any more.
const retireSigningKeys = `
update signing_keys
set retired_at = case when $2 then now() - $3::interval else $4 end
where kid <> $1 and (retired_at is null or retired_at > now() or $2)`

const deleteSigningKeys = `
delete from signing_keys
where retired_at < now() - $1::interval`

// RotateSigningKey adds a key for access tokens that signs from lead on, and retires the
// others at that moment: until then the new one is published and does not sign, and the
// tokens of the old ones are good until they end. With atOnce the new one signs from now
// on, and the others are of no use any more, nor are their tokens. Keys that were retired
// more than a day ago go. ReasonConflict when a key waits already, unless atOnce is set.
// The moment from which it signs comes back.
func (db *DB) RotateSigningKey(ctx context.Context, by Actor, k snapshot.SigningKey, lead time.Duration, atOnce bool) (time.Time, error) {
	sealed := db.sealer.Seal(k.Secret, []byte(k.KID))
	if atOnce {
		lead = 0
	}
	var from time.Time
	shown := map[string]any{"algorithm": k.Algorithm, "at_once": atOnce}
	err := db.audited(ctx, by, "signing_key.rotate", k.KID, shown, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, lockSigningKeys); err != nil {
			return err
		}
		var waits string
		switch err := tx.QueryRow(ctx, selectNextSigningKey).Scan(&waits, &from); {
		case err == nil && !atOnce:
			return message.Refuse(message.ReasonConflict, "a rotation is under way: key %s signs from %s", waits, from.UTC().Format(time.RFC3339))
		case err != nil && !errors.Is(err, pgx.ErrNoRows):
			return err
		}
		if err := tx.QueryRow(ctx, addNextSigningKey, k.KID, k.Algorithm, sealed, lead).Scan(&from); err != nil {
			return err
		}
		shown["signs_from"] = from
		if _, err := tx.Exec(ctx, retireSigningKeys, k.KID, atOnce, signingKeyKept, from); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, deleteSigningKeys, signingKeyKept)
		return err
	})
	return from, err
}
