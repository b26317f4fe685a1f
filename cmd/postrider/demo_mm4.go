package main

import (
	"context"
	"net/netip"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/mm4"
	"github.com/postrider/postrider/internal/postgres"
	"github.com/postrider/postrider/internal/snapshot"
)

const (
	// demoDomain is of the numbers' addresses over MM4, where nothing else is said.
	demoDomain = "mms.postrider.example"
	// demoMMSC is where the demo account's MMSC would listen: responses and reports go
	// there once something does.
	demoMMSC = 2567
)

// prepareMM4 gives the demo account a peer of MM4 on this machine, if it has none.
func (d *dev) prepareMM4(ctx context.Context, db *postgres.DB) error {
	snap, err := db.LoadSnapshot(ctx)
	if err != nil {
		return err
	}
	for _, p := range snap.MM4Peers {
		if p.AccountID == d.demo.AccountID {
			return nil
		}
	}
	_, err = db.CreateMM4Peer(ctx, demoActor, snapshot.MM4Peer{ID: message.NewID(), Name: "demo-" + message.Hex32(d.demo.AccountID)[24:], AccountID: d.demo.AccountID, Enabled: true,
		Addresses: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, MailDomains: []string{"mms.demo.example"}, MaxSize: 8 << 20, MaxSessions: 20, MaxRecipients: 20, DataTime: 15 * time.Minute,
		Host: "127.0.0.1", Port: demoMMSC, TLS: "never", Domain: "mms.demo.example", SystemUser: "system-user", Version: mm4.DefaultVersion, MOLifetime: 72 * time.Hour})
	return err
}
