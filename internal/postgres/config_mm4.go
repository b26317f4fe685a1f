package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

const mm4PeerColumns = `
  id, account_id, vendor_id, name, enabled, addresses, mail_domains, require_tls, username, password_hash,
  max_size, max_sessions, max_recipients, rate, host, port, mx, tls, tls_ca, tls_server_name, send_username, send_password,
  domain, system_user, mms_version, mo_lifetime_seconds, data_seconds`

const selectMM4Peers = `select` + mm4PeerColumns + `
from mm4_peers`

func (db *DB) loadMM4Peers(ctx context.Context, tx pgx.Tx, s *snapshot.Snapshot) error {
	s.MM4Peers = map[message.ID]*snapshot.MM4Peer{}
	return each(ctx, tx, selectMM4Peers, func(row pgx.CollectableRow) error {
		p := &snapshot.MM4Peer{}
		if out, err := leftOut(s, "mm4_peers", db.scanMM4Peer(row, p)); out || err != nil {
			return err
		}
		s.MM4Peers[p.ID] = p
		return nil
	})
}

// scanMM4Peer reads the mm4PeerColumns. With an error that is a brokenRow everything is
// read that can be.
func (db *DB) scanMM4Peer(row pgx.CollectableRow, p *snapshot.MM4Peer, more ...any) error {
	var account, vendor *message.ID
	var sealed []byte
	var lifetime, data int
	err := row.Scan(append([]any{&p.ID, &account, &vendor, &p.Name, &p.Enabled, &p.Addresses, &p.MailDomains, &p.RequireTLS, &p.Username, &p.PasswordHash,
		&p.MaxSize, &p.MaxSessions, &p.MaxRecipients, &p.Rate, &p.Host, &p.Port, &p.MX, &p.TLS, &p.TLSCA, &p.ServerName, &p.SendUsername, &sealed,
		&p.Domain, &p.SystemUser, &p.Version, &lifetime, &data}, more...)...)
	if err != nil {
		return fmt.Errorf("read MM4 peers: %w", err)
	}
	p.AccountID, p.VendorID, p.MOLifetime, p.DataTime = orZero(account), orZero(vendor), seconds(lifetime), seconds(data)
	if sealed == nil {
		return nil
	}
	if p.SendPassword, err = db.opened(sealed, p.ID); err != nil {
		return broken("send_password of MM4 peer %s: %w", p.Name, err)
	}
	return nil
}
