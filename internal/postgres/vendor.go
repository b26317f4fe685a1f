package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
)

const updateVendorAddress = `
update vendors
set host = $2, port = $3
where id = $1 and (host, port) is distinct from ($2, $3)`

// SetVendorAddress moves a vendor to another host and port. Its links are made
// anew within seconds; the same address again changes nothing.
func (db *DB) SetVendorAddress(ctx context.Context, by Actor, id message.ID, host string, port int) error {
	return db.audited(ctx, by, "vendor.address", id.String(), map[string]any{"host": host, "port": port}, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, updateVendorAddress, id, host, port)
		return err
	})
}
