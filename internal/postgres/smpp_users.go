package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// $1 the id before, null: from the newest  $2 account  $3 vendor, each null for all
// $4 kind of owner  $5 system_id, each empty for all
const selectSMPPUsers = `select` + ownSMPPColumns + `
from smpp_credentials c
where c.deleted_at is null
  and ($1::uuid is null or c.id < $1)
  and ($2::uuid is null or c.account_id = $2)
  and ($3::uuid is null or c.vendor_id = $3)
  and ($4 = '' or ($4 = 'vendor') = (c.vendor_id is not null))
  and ($5 = '' or c.system_id = $5)
order by c.id desc
limit $6`

const selectSMPPUser = `select` + ownSMPPColumns + `
from smpp_credentials c
where c.id = $1 and c.deleted_at is null`

const lockSMPPUser = selectSMPPUser + `
for update of c`

func anyESME(id message.ID) oneESME {
	return oneESME{id, selectSMPPUser, lockSMPPUser, []any{id}}
}

// SMPPUsers lists the SMPP credentials of all accounts and vendors, newest first: at most
// limit, older than the one `before` when that is not zero.
func (db *DB) SMPPUsers(ctx context.Context, f snapshot.SMPPUserFilter, before message.ID, limit int) ([]snapshot.SMPPCredentialState, error) {
	rows, err := db.pool.Query(ctx, selectSMPPUsers, idOrNull(before), idOrNull(f.AccountID), idOrNull(f.VendorID), string(f.Kind), storable(f.SystemID), limit)
	if err != nil {
		return nil, fmt.Errorf("list SMPP credentials: %w", err)
	}
	return pgx.CollectRows(rows, scanOwnSMPP)
}

// SMPPUser reads an SMPP credential, whosever it is; ReasonNotFound when there is none.
func (db *DB) SMPPUser(ctx context.Context, id message.ID) (snapshot.SMPPCredentialState, error) {
	return anyESME(id).get(ctx, db.pool)
}

// ChangeSMPPUser is ChangeOwnSMPPCredential for one of any account or vendor.
func (db *DB) ChangeSMPPUser(ctx context.Context, by Actor, id message.ID, change func(*snapshot.SMPPCredentialState) error) (snapshot.SMPPCredentialState, error) {
	return db.changeSMPP(ctx, by, anyESME(id), change)
}

// RegenerateSMPPUser is RegenerateOwnSMPPCredential for one of any account or vendor.
func (db *DB) RegenerateSMPPUser(ctx context.Context, by Actor, id message.ID, hash string) (snapshot.SMPPCredentialState, error) {
	made, _, err := db.regenerateSMPP(ctx, by, anyESME(id), hash, nil)
	return made, err
}

// RemoveSMPPUser is RemoveOwnSMPPCredential for one of any account or vendor.
func (db *DB) RemoveSMPPUser(ctx context.Context, by Actor, id message.ID, check func(snapshot.SMPPCredentialState) error) error {
	return db.removeSMPP(ctx, by, anyESME(id), check)
}
