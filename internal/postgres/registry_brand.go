package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/registry"
	"github.com/postrider/postrider/internal/secret"
)

// noSuchRow turns an empty answer into ReasonNotFound.
func noSuchRow(err error, what string, id message.ID) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return message.Refuse(message.ReasonNotFound, "there is no %s %s", what, id)
	}
	return err
}

// taxIDPlace binds a sealed tax id to its brand.
func taxIDPlace(brand message.ID) []byte { return append(brand[:], "tax_id"...) }

// offset 0 keeps the planner from reading the details of all accounts along with a page
// of one.
const selectBrandColumns = `
select b.id, b.account_id, coalesce(b.brand_id, ''), b.name, b.status, b.identity_status, coalesce(b.vetting_score, -1), b.tier, b.daily_cap, b.cap_key,
  b.created_at, b.updated_at,
  d.entity_type, d.legal_name, d.first_name, d.last_name, d.tax_id, d.tax_id_shown, d.tax_id_country, d.phone, d.email, d.website,
  d.street, d.city, d.state, d.postal_code, d.country, d.vertical, d.stock_symbol, d.stock_exchange, d.alt_business_id, d.alt_business_id_type,
  d.vetting_class, d.vetted_at, d.vetting_expires_at, d.failure, d.requested_at, d.filed_at, d.revision,
  coalesce((
    select k.brand_tier
    from campaigns c
    join campaign_carriers k on k.campaign = c.id
    where c.brand = b.id and k.network_id = 10035 and k.brand_tier <> ''
    order by k.updated_at desc
    limit 1), '')
from brands b
join lateral (select * from brand_details where brand = b.id offset 0) d on true`

func scanBrand(row pgx.CollectableRow) (*registry.Brand, []byte, error) {
	b := &registry.Brand{}
	var taxID []byte
	var vetted, expires, requested, filed *time.Time
	err := row.Scan(&b.ID, &b.AccountID, &b.BrandID, &b.Name, &b.Status, &b.IdentityStatus, &b.VettingScore, &b.Tier, &b.DailyCap, &b.CapKey,
		&b.CreatedAt, &b.UpdatedAt,
		&b.EntityType, &b.LegalName, &b.FirstName, &b.LastName, &taxID, &b.TaxIDShown, &b.TaxIDCountry, &b.Phone, &b.Email, &b.Website,
		&b.Street, &b.City, &b.State, &b.PostalCode, &b.Country, &b.Vertical, &b.StockSymbol, &b.StockExchange, &b.AltBusinessID, &b.AltBusinessIDType,
		&b.VettingClass, &vetted, &expires, &b.Failure, &requested, &filed, &b.Revision, &b.ReportedTier)
	b.VettedAt, b.VettingExpiresAt, b.RequestedAt, b.FiledAt = orZero(vetted), orZero(expires), orZero(requested), orZero(filed)
	return b, taxID, err
}

const selectBrand = selectBrandColumns + `
where b.id = $1 and ($2::uuid is null or b.account_id = $2)`

// RegistryBrand reads a brand with its tax id; another account's is ReasonNotFound.
// A zero account is any.
func (db *DB) RegistryBrand(ctx context.Context, account, id message.ID) (*registry.Brand, error) {
	return db.readBrand(ctx, db.pool, account, id)
}

func (db *DB) readBrand(ctx context.Context, q querier, account, id message.ID) (*registry.Brand, error) {
	rows, err := q.Query(ctx, selectBrand, id, idOrNull(account))
	if err != nil {
		return nil, fmt.Errorf("read brand %s: %w", id, err)
	}
	b, err := pgx.CollectExactlyOneRow(rows, func(row pgx.CollectableRow) (*registry.Brand, error) {
		b, sealed, err := scanBrand(row)
		if err != nil || sealed == nil {
			return b, err
		}
		clear, err := db.sealer.Open(sealed, taxIDPlace(b.ID))
		if err != nil {
			return nil, fmt.Errorf("tax id of brand %s: %w", b.ID, err)
		}
		b.TaxID = secret.Conceal(string(clear))
		return b, nil
	})
	if err != nil {
		return nil, noSuchRow(err, "brand", id)
	}
	return b, nil
}

const selectAccountBrands = selectBrandColumns + `
where b.account_id = $1 and ($2::uuid is null or b.id < $2)
order by b.id desc
limit $3`

const selectAllBrands = selectBrandColumns + `
where $1::uuid is null and ($2::uuid is null or b.id < $2)
order by b.id desc
limit $3`

// RegistryBrands lists an account's brands, newest first, older than before; those
// of all accounts for the zero id. They are without their tax ids.
func (db *DB) RegistryBrands(ctx context.Context, account, before message.ID, limit int) ([]*registry.Brand, error) {
	sql := selectAccountBrands
	if account == (message.ID{}) {
		sql = selectAllBrands
	}
	rows, err := db.pool.Query(ctx, sql, idOrNull(account), idOrNull(before), limit)
	if err != nil {
		return nil, fmt.Errorf("list brands: %w", err)
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (*registry.Brand, error) {
		b, _, err := scanBrand(row)
		return b, err
	})
}

// shownBrand is a brand for the audit log: no tax id.
func shownBrand(b *registry.Brand) map[string]any {
	return map[string]any{"account_id": b.AccountID, "name": b.Name, "entity_type": b.EntityType, "legal_name": b.LegalName, "country": b.Country,
		"website": b.Website, "vertical": b.Vertical, "tax_id_changed": !b.TaxID.Empty(), "registration_asked": !b.RequestedAt.IsZero()}
}

// lockAccount keeps others from adding to what is counted. Inserts that refer to the
// account go on.
const lockAccount = `
select
from accounts
where id = $1
for no key update`

const countBrands = `
select count(*)
from brands
where account_id = $1`

const insertBrandDraft = `
insert into brands (id, account_id, name, status, cap_key, created_at, updated_at)
values ($1, $2, $3, 'unregistered', $4, $5, $5)`

// AddBrandDraft stores a draft, with key the answer to the request as well.
func (db *DB) AddBrandDraft(ctx context.Context, by registry.Actor, b *registry.Brand, hashes [][]byte, key *message.Idempotency) error {
	return db.audited(ctx, by, "brand.draft", b.ID.String(), shownBrand(b), func(tx pgx.Tx) error {
		if err := db.keepAnswer(ctx, tx, key); err != nil {
			return err
		}
		if err := roomFor(ctx, tx, b.AccountID, countBrands, b.AccountID, registry.MaxBrands, "brands"); err != nil {
			return err
		}
		var err error
		if b.CapKey, err = capKey(ctx, tx, b.ID, hashes); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, insertBrandDraft, b.ID, b.AccountID, storable(b.Name), b.CapKey, b.CreatedAt); err != nil {
			return err
		}
		return db.writeBrandDetails(ctx, tx, b)
	})
}

// roomFor wants less than most rows to be there.
func roomFor(ctx context.Context, tx pgx.Tx, account message.ID, count string, of message.ID, most int, what string) error {
	if _, err := tx.Exec(ctx, lockAccount, account); err != nil {
		return err
	}
	var n int
	if err := tx.QueryRow(ctx, count, of).Scan(&n); err != nil {
		return err
	}
	if n >= most {
		return message.Refuse(message.ReasonConflict, "there are %d %s already, as many as may be", n, what)
	}
	return nil
}

const insertKeptAnswer = `
insert into idempotency_keys (account_id, operation, key, body_hash, http_status, response)
values ($1, $2, $3, $4, $5, $6)
on conflict do nothing`

// keepAnswer stores the answer to a keyed request by the transaction that does what
// it asks. A key that is there has been answered meanwhile: the request is repeated
// and gets that answer.
func (db *DB) keepAnswer(ctx context.Context, tx pgx.Tx, k *message.Idempotency) error {
	if k == nil {
		return nil
	}
	tag, err := tx.Exec(ctx, insertKeptAnswer, k.AccountID, k.Operation, k.Key, k.BodyHash[:], k.Status, db.sealer.Seal(k.Response, []byte(k.Key)))
	if err == nil && tag.RowsAffected() == 0 {
		return message.Refuse(message.ReasonIdempotencyInProgress, "another request with this Idempotency-Key has just been answered; repeat the request")
	}
	return err
}

const selectCapKey = `
select cap_key
from tax_ids
where hash = any($1::bytea[])
limit 1`

const insertTaxID = `
insert into tax_ids (hash, cap_key)
values ($1, $2)
on conflict (hash) do update
set cap_key = tax_ids.cap_key
returning cap_key`

// capKey is what brands of one company share; one without a tax id shares with
// nobody. Of two that come at once the second waits for the first.
func capKey(ctx context.Context, tx pgx.Tx, brand message.ID, hashes [][]byte) (string, error) {
	if len(hashes) == 0 {
		return brand.String(), nil
	}
	key := message.NewID().String() // the company's, not the brand's, which may get another tax id
	if err := tx.QueryRow(ctx, selectCapKey, hashes).Scan(&key); err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return "", err
	}
	err := tx.QueryRow(ctx, insertTaxID, hashes[0], key).Scan(&key)
	return key, err
}

const updateBrandDetails = `
update brand_details
set entity_type = $2, legal_name = $3, first_name = $4, last_name = $5,
    tax_id = $6, tax_id_shown = $7, tax_id_country = $8, phone = $9, email = $10, website = $11,
    street = $12, city = $13, state = $14, postal_code = $15, country = $16, vertical = $17,
    stock_symbol = $18, stock_exchange = $19, alt_business_id = $20, alt_business_id_type = $21,
    requested_at = $22, failure = $23, revision = $24
where brand = $1`

func (db *DB) writeBrandDetails(ctx context.Context, tx pgx.Tx, b *registry.Brand) error {
	var sealed []byte
	if !b.TaxID.Empty() {
		sealed = db.sealer.Seal([]byte(registry.TaxIDPlain(b.TaxID.Reveal())), taxIDPlace(b.ID))
	}
	return exactlyOne(tx.Exec(ctx, updateBrandDetails, b.ID, b.EntityType, storable(b.LegalName), storable(b.FirstName), storable(b.LastName),
		sealed, b.TaxIDShown, b.TaxIDCountry, b.Phone, storable(b.Email), storable(b.Website),
		storable(b.Street), storable(b.City), storable(b.State), storable(b.PostalCode), b.Country, b.Vertical,
		storable(b.StockSymbol), b.StockExchange, storable(b.AltBusinessID), b.AltBusinessIDType, timeOrNull(b.RequestedAt), storable(b.Failure), b.Revision))
}

// lockBrandDraft keeps a draft as it is until the transaction ends, which filing does
// as well.
const lockBrandDraft = `
select b.name, b.cap_key, b.status, d.revision, exists (
  select
  from registry_requests r
  where r.target = b.id and r.state = 'open')
from brands b
join brand_details d on d.brand = b.id
where b.id = $1 and b.account_id = $2
for update of b`

const updateBrandDraft = `
update brands
set name = $2, cap_key = $3, updated_at = now()
where id = $1`

// ChangeBrandDraft stores what was changed of a draft since b.Revision.
func (db *DB) ChangeBrandDraft(ctx context.Context, by registry.Actor, b *registry.Brand, hashes [][]byte) error {
	return db.audited(ctx, by, "brand.change", b.ID.String(), shownBrand(b), func(tx pgx.Tx) error {
		var name, key string
		var status registry.BrandStatus
		var revision int
		var filing bool
		if err := tx.QueryRow(ctx, lockBrandDraft, b.ID, b.AccountID).Scan(&name, &key, &status, &revision, &filing); err != nil {
			return noSuchRow(err, "brand", b.ID)
		}
		if err := changeable(filing, status == registry.BrandUnregistered, revision == b.Revision); err != nil {
			return err
		}
		var err error
		if b.CapKey, err = capKey(ctx, tx, b.ID, hashes); err != nil {
			return err
		}
		b.Revision++
		if err := db.writeBrandDetails(ctx, tx, b); err != nil {
			return err
		}
		if name == b.Name && key == b.CapKey {
			return nil // what every process reads has not changed
		}
		_, err = tx.Exec(ctx, updateBrandDraft, b.ID, storable(b.Name), b.CapKey)
		return err
	})
}

func changeable(filing, draft, same bool) error {
	switch {
	case filing:
		return message.Refuse(message.ReasonConflict, "it is being filed with the registry; it can be changed again if the registry refuses it")
	case !draft:
		return message.Refuse(message.ReasonConflict, "it has been filed with the registry meanwhile")
	case !same:
		return message.Because(message.ReasonConflict, registry.ErrStale, "it was changed meanwhile; read it again")
	}
	return nil
}
