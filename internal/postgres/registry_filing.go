package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/registry"
)

// filingLease is how long a process that sends a filing has it to itself: longer
// than a look-up of three tries, the request and a second look-up take.
const filingLease = 5 * time.Minute

const lockFiledBrand = `
select account_id, status = 'unregistered'
from brands
where id = $1
for update`

const lockFiledCampaign = `
select account_id, status = 'draft'
from campaigns
where id = $1
for update`

const insertFiling = `
insert into registry_requests (id, operation, target, account_id, reference, actor)
values ($1, $2, $3, $4, $5, $6)
on conflict (target) where state = 'open' do nothing`

const claimFiling = `
update registry_requests
set sends = sends + 1, claimed_until = now() + $2::interval
where target = $1 and state = 'open' and claimed_until <= now()
returning id, operation, target, reference, sends, actor`

// BeginFiling journals that a draft is about to be sent, and claims the row.
func (db *DB) BeginFiling(ctx context.Context, by registry.Actor, kind string, target message.ID) (f registry.Filing, err error) {
	lock := lockFiledBrand
	if kind == registry.KindCampaign {
		lock = lockFiledCampaign
	}
	err = db.audited(ctx, by, kind+".submit", target.String(), nil, func(tx pgx.Tx) error {
		var account message.ID
		var draft bool
		if err := tx.QueryRow(ctx, lock, target).Scan(&account, &draft); err != nil {
			return noSuchRow(err, kind, target)
		}
		if !draft {
			return message.Refuse(message.ReasonConflict, "the %s has been filed already", kind)
		}
		// The reference is the row's own id: whatever becomes of the journal, the
		// registry never gets the same thing under two.
		if _, err := tx.Exec(ctx, insertFiling, message.NewID(), kind, target, account, message.Hex32(target), by.Name); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, claimFiling, target, filingLease)
		if err != nil {
			return err
		}
		list, err := pgx.CollectRows(rows, scanFiling)
		if err == nil && len(list) == 0 {
			return message.Refuse(message.ReasonConflict, "the %s is being filed at this moment, or waits for its next try", kind)
		}
		if err == nil {
			f = list[0]
		}
		return err
	})
	return f, err
}

func scanFiling(row pgx.CollectableRow) (f registry.Filing, err error) {
	err = row.Scan(&f.ID, &f.Kind, &f.Target, &f.Reference, &f.Sends, &f.By)
	return f, err
}

const claimFilings = `
with mine as (
  select id
  from registry_requests
  where state = 'open' and claimed_until <= now()
  order by claimed_until
  limit $1
  for update skip locked
)
update registry_requests r
set sends = r.sends + 1, claimed_until = now() + $2::interval
from mine
where r.id = mine.id
returning r.id, r.operation, r.target, r.reference, r.sends, r.actor`

// OpenFilings claims journal rows that nobody works on, and counts the send.
func (db *DB) OpenFilings(ctx context.Context, limit int) ([]registry.Filing, error) {
	rows, err := db.pool.Query(ctx, claimFilings, limit, filingLease)
	if err != nil {
		return nil, fmt.Errorf("claim filings: %w", err)
	}
	return pgx.CollectRows(rows, scanFiling)
}

const endFiling = `
update registry_requests
set state = $2, registry_id = $3, error = $4, done_at = now()
where id = $1 and state = 'open'`

const fileBrand = `
update brands
set brand_id = $2, status = 'pending', updated_at = now()
where id = $1`

const fileBrandDetails = `
update brand_details
set filed_at = now(), failure = '', revision = revision + 1
where brand = $1`

const fileCampaign = `
update campaigns
set campaign_id = $2, tcr_submission_date = current_date, updated_at = now()
where id = $1`

const fileCampaignDetails = `
update campaign_details
set filed_at = now(), failure = ''
where campaign = $1`

// EndFiling stores the registry's id; the first look at it is due at once. One that
// was ended before changes nothing.
func (db *DB) EndFiling(ctx context.Context, f registry.Filing, registryID string) error {
	by := Actor{Name: f.By, Role: "registry"}
	err := db.audited(ctx, by, f.Kind+".filed", f.Target.String(), map[string]any{"registry_id": registryID}, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, endFiling, f.ID, "done", storable(registryID), "")
		if err != nil || tag.RowsAffected() == 0 {
			return orAlready(err)
		}
		if f.Kind == registry.KindCampaign {
			if _, err = tx.Exec(ctx, fileCampaign, f.Target, storable(registryID)); err == nil {
				_, err = tx.Exec(ctx, fileCampaignDetails, f.Target)
			}
			if err == nil {
				_, err = campaignBecomes(ctx, tx, f.Target, registry.Pending)
			}
		} else if _, err = tx.Exec(ctx, fileBrand, f.Target, storable(registryID)); err == nil {
			_, err = tx.Exec(ctx, fileBrandDetails, f.Target)
		}
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, upsertSync, f.Target, f.Kind, time.Duration(0), "")
		return err
	})
	return ifNotAlready(err)
}

const failBrand = `
update brand_details
set failure = $2, revision = revision + 1
where brand = $1`

const failCampaign = `
update campaign_details
set failure = $2, revision = revision + 1
where campaign = $1`

// RefuseFiling stores what the registry found wrong. The draft may be changed, and
// filed anew.
func (db *DB) RefuseFiling(ctx context.Context, f registry.Filing, why string) error {
	fail := failBrand
	if f.Kind == registry.KindCampaign {
		fail = failCampaign
	}
	by := Actor{Name: f.By, Role: "registry"}
	err := db.audited(ctx, by, f.Kind+".refused", f.Target.String(), map[string]any{"failure": why}, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, endFiling, f.ID, "refused", "", storable(why))
		if err != nil || tag.RowsAffected() == 0 {
			return orAlready(err)
		}
		_, err = tx.Exec(ctx, fail, f.Target, storable(why))
		return err
	})
	return ifNotAlready(err)
}

const postponeFiling = `
update registry_requests
set claimed_until = now() + $2::interval, error = $3
where id = $1 and state = 'open'`

// PostponeFiling leaves the row open for a later try.
func (db *DB) PostponeFiling(ctx context.Context, f registry.Filing, by time.Duration, why string) error {
	if _, err := db.pool.Exec(ctx, postponeFiling, f.ID, by, storable(why)); err != nil {
		return fmt.Errorf("put off filing %s: %w", f.ID, err)
	}
	return nil
}
