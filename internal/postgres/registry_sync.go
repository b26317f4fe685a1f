package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/registry"
	"github.com/postrider/postrider/internal/snapshot"
)

// errAlready rolls a transaction back that finds everything as it should be, so that
// it leaves no line in the audit log either.
var errAlready = errors.New("it is so already")

func orAlready(err error) error {
	if err == nil {
		return errAlready
	}
	return err
}

func ifNotAlready(err error) error {
	if errors.Is(err, errAlready) {
		return nil
	}
	return err
}

const claimSyncs = `
with mine as (
  select target
  from registry_syncs
  where next_at <= now()
  order by next_at
  limit $1
  for update skip locked
)
update registry_syncs s
set next_at = now() + $2::interval
from mine
where s.target = mine.target
returning s.kind, s.target, s.failures`

// DueSyncs claims what is to be compared with the registry, for as long as lease
// says.
func (db *DB) DueSyncs(ctx context.Context, limit int, lease time.Duration) ([]registry.Sync, error) {
	rows, err := db.pool.Query(ctx, claimSyncs, limit, lease)
	if err != nil {
		return nil, fmt.Errorf("claim syncs: %w", err)
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (s registry.Sync, err error) {
		err = row.Scan(&s.Kind, &s.Target, &s.Failures)
		return s, err
	})
}

const upsertSync = `
insert into registry_syncs (target, kind, next_at, failures, last_error)
values ($1, $2, now() + $3::interval, least(length($4::text), 1), $4)
on conflict (target) do update
set next_at = excluded.next_at,
    failures = case when excluded.last_error = '' then 0 else registry_syncs.failures + 1 end,
    last_at = now(),
    last_error = excluded.last_error`

// Synced sets when the next look is due, also of a target that had none.
func (db *DB) Synced(ctx context.Context, kind string, target message.ID, next time.Duration, why string) error {
	if _, err := db.pool.Exec(ctx, upsertSync, target, kind, next, storable(why)); err != nil {
		return fmt.Errorf("note the look at %s %s: %w", kind, target, err)
	}
	return nil
}

const lockBrand = `
select
from brands
where id = $1
for update`

const syncBrand = `
update brands
set status = $2, identity_status = $3, vetting_score = nullif($4, -1), tier = $5, daily_cap = $6, updated_at = now()
where id = $1`

const syncBrandDetails = `
update brand_details
set vetting_class = $2, vetted_at = $3, vetting_expires_at = $4, failure = $5, revision = revision + 1
where brand = $1`

// SyncBrand stores what the registry says of a brand. When that is what is known,
// nothing is written.
func (db *DB) SyncBrand(ctx context.Context, by registry.Actor, s registry.BrandSync) (bool, error) {
	shown := map[string]any{"status": s.State.Status, "identity_status": s.State.IdentityStatus, "vetting_score": s.State.Score, "tier": s.Tier,
		"daily_cap": s.Daily, "failure": s.State.Failure}
	err := db.audited(ctx, by, "brand.sync", s.ID.String(), shown, func(tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, lockBrand, s.ID).Scan(); err != nil {
			return noSuchRow(err, "brand", s.ID)
		}
		b, err := db.readBrand(ctx, tx, message.ID{}, s.ID)
		if err != nil {
			return err
		}
		core := b.Status != s.State.Status || b.IdentityStatus != s.State.IdentityStatus || b.VettingScore != s.State.Score || b.Tier != s.Tier || b.DailyCap != s.Daily
		rest := b.VettingClass != s.State.Class || !b.VettedAt.Equal(s.State.VettedAt) || !b.VettingExpiresAt.Equal(s.State.ExpiresAt) || b.Failure != storable(s.State.Failure)
		if !core && !rest {
			return errAlready
		}
		if core {
			if _, err := tx.Exec(ctx, syncBrand, s.ID, s.State.Status, storable(s.State.IdentityStatus), s.State.Score, storable(s.Tier), s.Daily); err != nil {
				return err
			}
		}
		_, err = tx.Exec(ctx, syncBrandDetails, s.ID, storable(s.State.Class), timeOrNull(s.State.VettedAt), timeOrNull(s.State.ExpiresAt), storable(s.State.Failure))
		return err
	})
	return err == nil, ifNotAlready(err)
}

const lockCampaignRow = `
select
from campaigns
where id = $1
for update`

const syncCampaign = `
update campaigns
set class = $2, throughput_limit = $3, mms_throughput = $4, per_number = $5, carriers = $6, updated_at = now()
where id = $1`

const syncCampaignDetails = `
update campaign_details
set registry_status = $2, revision = revision + 1
where campaign = $1`

const deleteCarriers = `
delete from campaign_carriers
where campaign = $1`

const insertCarrier = `
insert into campaign_carriers (campaign, network_id, network, status, class, tpm, mms_tpm, brand_tier, surcharge)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9)`

// SyncCampaign stores what registry and carriers say of a campaign, and tells its
// account when the status is another one. A suspension by staff holds whatever they
// say, but for the end of the campaign. When nothing is new, nothing is written.
func (db *DB) SyncCampaign(ctx context.Context, by registry.Actor, s registry.CampaignSync) (bool, error) {
	shown := map[string]any{"registry_status": s.RegistryStatus, "status": s.Status, "class": s.Limits.Class, "throughput": s.Limits.SMS,
		"mms_throughput": s.Limits.MMS, "carriers": snapshotCarriers(s.Carriers)}
	err := db.audited(ctx, by, "campaign.sync", s.ID.String(), shown, func(tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, lockCampaignRow, s.ID).Scan(); err != nil {
			return noSuchRow(err, "campaign", s.ID)
		}
		c, err := readCampaign(ctx, tx, message.ID{}, s.ID)
		if err != nil {
			return err
		}
		to := s.Status
		if c.SuspendedBy != "" && to != registry.Expired {
			to = registry.Suspended
		}
		l := s.Limits
		carriers := !slices.Equal(c.Carriers, s.Carriers)
		core := carriers || c.Class != l.Class || c.Throughput != l.SMS || c.MMSThroughput != l.MMS || c.PerNumber != l.PerNumber
		if !core && c.RegistryStatus == s.RegistryStatus && c.Status == to {
			return errAlready
		}
		if core {
			_, err := tx.Exec(ctx, syncCampaign, s.ID, storable(l.Class), l.SMS, l.MMS, l.PerNumber, snapshotCarriers(s.Carriers))
			if err != nil {
				return err
			}
		}
		if carriers {
			if err := writeCarriers(ctx, tx, s); err != nil {
				return err
			}
		}
		if _, err := tx.Exec(ctx, syncCampaignDetails, s.ID, storable(s.RegistryStatus)); err != nil {
			return err
		}
		_, err = campaignBecomes(ctx, tx, s.ID, to)
		return err
	})
	return err == nil, ifNotAlready(err)
}

func writeCarriers(ctx context.Context, tx pgx.Tx, s registry.CampaignSync) error {
	if _, err := tx.Exec(ctx, deleteCarriers, s.ID); err != nil {
		return err
	}
	for _, k := range s.Carriers {
		if _, err := tx.Exec(ctx, insertCarrier, s.ID, k.NetworkID, storable(k.Network), k.Status, storable(k.Class), k.TPM, k.MMSTPM, storable(k.BrandTier), k.Surcharge); err != nil {
			return err
		}
	}
	return nil
}

// snapshotCarriers is of it what sending needs.
func snapshotCarriers(list []registry.Carrier) []snapshot.Carrier {
	out := make([]snapshot.Carrier, len(list))
	for i, k := range list {
		out[i] = snapshot.Carrier{Network: k.Network, Status: k.Status, TPM: k.TPM}
	}
	return out
}

const suspendCampaign = `
update campaign_details
set suspended_by = $2
where campaign = $1 and (suspended_by = '') = ($2 <> '')`

// SuspendCampaign sets or lifts staff's own suspension; status is what the campaign
// is then.
func (db *DB) SuspendCampaign(ctx context.Context, by registry.Actor, id message.ID, suspend bool, status registry.Status, reason string) error {
	who, action := by.Name, "campaign.suspend"
	if !suspend {
		who, action = "", "campaign.resume"
	}
	return db.audited(ctx, by, action, id.String(), map[string]any{"status": status, "reason": reason}, func(tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, lockCampaignRow, id).Scan(); err != nil {
			return noSuchRow(err, "campaign", id)
		}
		tag, err := tx.Exec(ctx, suspendCampaign, id, who)
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			return message.Refuse(message.ReasonConflict, "the campaign's suspension was changed meanwhile")
		}
		_, err = campaignBecomes(ctx, tx, id, status)
		return err
	})
}
