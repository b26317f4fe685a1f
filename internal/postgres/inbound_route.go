package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

const routeColumns = `
  id, account_id, coalesce(number, ''), position, method, webhook_url, webhook_method, webhook_secret, webhook_failover_url,
  webhook_retry_count, format, smpp_system_id, email_address, active, fallback, updated_at`

const selectDestinations = `select` + routeColumns + `
from inbound_routes
order by account_id, number, position`

// loadDestinations leaves out a destination whose secret cannot be opened: what it
// sends would be signed by another.
func (db *DB) loadDestinations(ctx context.Context, tx pgx.Tx, s *snapshot.Snapshot) error {
	s.Destinations = snapshot.Destinations{}
	return each(ctx, tx, selectDestinations, func(row pgx.CollectableRow) error {
		d, secret, _, err := scanDestination(row)
		if err != nil {
			return fmt.Errorf("read inbound routes: %w", err)
		}
		if secret != nil {
			if d.WebhookSecret, err = db.opened(secret, d.ID); err != nil {
				s.Problem("inbound_routes", "webhook secret of inbound route %s: %v", d.ID, err)
				return nil
			}
		}
		s.Destinations.Add(&d)
		return nil
	})
}

// scanDestination reads a row with its sealed secret.
func scanDestination(row pgx.CollectableRow) (d message.Destination, secret []byte, updated time.Time, err error) {
	var number, method string
	var fallback []byte
	err = row.Scan(&d.ID, &d.AccountID, &number, &d.Position, &method, &d.URL, &d.HTTPMethod, &secret, &d.FailoverURL,
		&d.Retries, &d.Format, &d.SystemID, &d.Email, &d.Active, &fallback, &updated)
	if err != nil {
		return d, nil, updated, err
	}
	d.Number, d.Method = message.Address(number), message.InboundMethod(method)
	d.Fallback, err = fallbackOf(fallback)
	return d, secret, updated, err
}

func fallbackOf(doc []byte) (*message.Fallback, error) {
	if doc == nil {
		return nil, nil
	}
	f := &message.Fallback{}
	if err := json.Unmarshal(doc, f); err != nil {
		return nil, fmt.Errorf("fallback: %w", err)
	}
	return f, nil
}

func fallbackJSON(f *message.Fallback) *string {
	if f == nil {
		return nil
	}
	b, _ := json.Marshal(f) // it holds nothing that cannot be written
	return new(string(b))
}

const selectDestinationsOf = `select` + routeColumns + `
from inbound_routes
where account_id = $1 and number is not distinct from $2
order by position`

// InboundRoutes reads where messages to an account's number go or, for an empty number,
// to those of its numbers that have nothing of their own. The number must be the
// account's: else ReasonNotFound. Secrets are left out.
func (db *DB) InboundRoutes(ctx context.Context, account message.ID, number message.Address) (message.DestinationSet, error) {
	return destinationsOf(ctx, db.pool, account, number, "")
}

const selectOwned = `
select auto_reply
from numbers
where number = $2 and account_id = $1`

// destinationsOf reads them; lock is an ending of the statement that asks for the number.
func destinationsOf(ctx context.Context, q querier, account message.ID, number message.Address, lock string) (message.DestinationSet, error) {
	set := message.DestinationSet{AccountID: account, Number: number, Secrets: map[int]bool{}}
	if number != "" {
		rows, err := q.Query(ctx, selectOwned+lock, account, string(number))
		if err != nil {
			return set, fmt.Errorf("read number: %w", err)
		}
		replies, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return set, fmt.Errorf("read number: %w", err)
		}
		if set.AutoReply = nil; len(replies) == 1 && replies[0] != "" {
			set.AutoReply = &replies[0]
		}
		if len(replies) == 0 {
			return set, message.Refuse(message.ReasonNotFound, "the account has no number %s", number)
		}
	}
	rows, err := q.Query(ctx, selectDestinationsOf, account, textOrNull(string(number)))
	if err != nil {
		return set, fmt.Errorf("read inbound routes: %w", err)
	}
	h := fnv.New64a()
	set.List, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (message.Destination, error) {
		d, secret, updated, err := scanDestination(row)
		if secret != nil {
			set.Secrets[d.Position] = true
		}
		if updated.After(set.UpdatedAt) {
			set.UpdatedAt = updated
		}
		fmt.Fprint(h, d.ID, updated.UnixMicro())
		return d, err
	})
	if set.AutoReply != nil {
		fmt.Fprint(h, *set.AutoReply)
	}
	set.Stamp = strconv.FormatUint(h.Sum64(), 16)
	return set, err
}

func textOrNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// upsertDestination keeps the id of the destination that had the position: what is
// under way to it is signed by its secret.
//
//	$1 id  $2 account  $3 number  $4 position  $5 method  $6 url  $7 HTTP method  $8 failover url
//	$9 retries  $10 format  $11 system_id  $12 address  $13 active  $14 fallback
const upsertDestination = `
insert into inbound_routes (id, account_id, number, position, method, webhook_url, webhook_method, webhook_failover_url, webhook_retry_count,
  format, smpp_system_id, email_address, active, fallback, updated_at)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, clock_timestamp())
on conflict (account_id, number, position) do update
set method = excluded.method, webhook_url = excluded.webhook_url, webhook_method = excluded.webhook_method,
    webhook_failover_url = excluded.webhook_failover_url, webhook_retry_count = excluded.webhook_retry_count, format = excluded.format,
    smpp_system_id = excluded.smpp_system_id, email_address = excluded.email_address, active = excluded.active, fallback = excluded.fallback,
    updated_at = excluded.updated_at
returning id, webhook_secret is not null`

const setDestinationSecret = `
update inbound_routes
set webhook_secret = $2
where id = $1`

const setAutoReply = `
update numbers
set auto_reply = $2, updated_at = now()
where number = $1`

const trimDestinations = `
delete from inbound_routes
where account_id = $1 and number is not distinct from $2 and position > $3`

// SetInboundRoutes replaces the destinations of an account's number, or of the account,
// by those of the set, in their order; none takes the setting away. A destination that
// is new at its position and has a webhook of its own gets the secret that newSecret
// makes, unless one is given; one that has a secret keeps it if none is given. The
// answer shows the secrets that were made, once. stamp, if not empty, is that of the
// set which the caller has read: ReasonConflict when it was changed since.
func (db *DB) SetInboundRoutes(ctx context.Context, by Actor, set message.DestinationSet, stamp string, newSecret func() string) (message.DestinationSet, error) {
	target := string(set.Number)
	if target == "" {
		target = set.AccountID.String()
	}
	var out message.DestinationSet
	before, shown := map[string]any{}, map[string]any{"account_id": set.AccountID}
	err := db.auditedChange(ctx, by, "inbound_routes.set", target, before, shown, func(tx pgx.Tx) error {
		// Two who set the same at once go one after the other.
		if _, err := tx.Exec(ctx, "select from accounts where id = $1 for no key update", set.AccountID); err != nil {
			return err
		}
		was, err := destinationsOf(ctx, tx, set.AccountID, set.Number, "\nfor share")
		if err != nil {
			return err
		}
		if stamp != "" && stamp != was.Stamp {
			return message.Refuse(message.ReasonConflict, "the settings were changed since you have read them; read them again")
		}
		made := map[int]string{}
		for i, d := range set.List {
			secret, err := db.setDestination(ctx, tx, set, i+1, d, newSecret)
			if err != nil {
				return err
			}
			made[i+1] = secret
		}
		if _, err := tx.Exec(ctx, trimDestinations, set.AccountID, textOrNull(string(set.Number)), len(set.List)); err != nil {
			return err
		}
		if set.AutoReply != nil && set.Number != "" {
			if _, err := tx.Exec(ctx, setAutoReply, string(set.Number), storable(*set.AutoReply)); err != nil {
				return err
			}
			before["auto_reply"], shown["auto_reply"] = was.AutoReply, set.AutoReply
		}
		if out, err = destinationsOf(ctx, tx, set.AccountID, set.Number, ""); err != nil {
			return err
		}
		before["destinations"], shown["destinations"] = auditDestinations(was), auditDestinations(out)
		for i := range out.List {
			out.List[i].WebhookSecret = made[out.List[i].Position]
		}
		return nil
	})
	return out, err
}

// setDestination writes one, and returns its secret if it was made here.
func (db *DB) setDestination(ctx context.Context, tx pgx.Tx, set message.DestinationSet, position int, d message.Destination, newSecret func() string) (string, error) {
	var id message.ID
	var has bool
	err := tx.QueryRow(ctx, upsertDestination, message.NewID(), set.AccountID, textOrNull(string(set.Number)), position, string(d.Method), d.URL,
		orElse(d.HTTPMethod, "POST"), d.FailoverURL, d.Retries, orElse(d.Format, "event"), d.SystemID, d.Email, d.Active, fallbackJSON(d.Fallback)).Scan(&id, &has)
	if err != nil {
		return "", err
	}
	secret, made := d.WebhookSecret, ""
	if d.Method == message.InboundWebhook && d.URL != "" && secret == "" && !has {
		secret = newSecret()
		made = secret
	}
	var sealed []byte
	switch {
	case secret != "":
		sealed = db.sealer.Seal([]byte(secret), id[:])
	case !has || d.Method == message.InboundWebhook && d.URL != "":
		return "", nil
	}
	_, err = tx.Exec(ctx, setDestinationSecret, id, sealed)
	return made, err
}

// auditDestinations is what the audit log shows of them: no secrets, and of addresses
// only what tells them apart.
func auditDestinations(set message.DestinationSet) []map[string]any {
	out := make([]map[string]any, 0, len(set.List))
	for _, d := range set.List {
		row := map[string]any{"method": d.Method, "active": d.Active, "has_secret": set.Secrets[d.Position]}
		if d.URL != "" {
			row["webhook_url"] = d.URL
		}
		if d.SystemID != "" {
			row["smpp_system_id"] = d.SystemID
		}
		if d.Email != "" {
			row["email_address"] = d.Email
		}
		if d.Fallback != nil {
			row["fallback"] = d.Fallback.Method
		}
		out = append(out, row)
	}
	return out
}
