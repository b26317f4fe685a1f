package postgres

import (
	"context"
	"maps"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// section is a part of the configuration that is read by itself.
type section struct {
	// tables are those that load reads, and no others, by name with a space between.
	// Empty: the section is read at every refresh.
	tables string
	load   func(context.Context, pgx.Tx, *snapshot.Snapshot) error
	// keep takes over what load made for an older snapshot, which may be shared since
	// it is never changed. Nil: the section is read at every refresh.
	keep func(to, from *snapshot.Snapshot)
}

// sections are what a snapshot is read from. A table that has the trigger
// config_changed and is not named here is no mistake: when it changes everything is
// read.
func (db *DB) sections() []section {
	type s = *snapshot.Snapshot
	return []section{
		{"accounts usage_limits", both(db.loadAccounts, loadKeywords), func(to, from s) { to.Accounts = from.Accounts; to.KeepProblems("accounts", from) }},
		{"api_credentials", loadCredentials, func(to, from s) { to.Credentials = from.Credentials }},
		{"smpp_credentials", loadSMPPCredentials, func(to, from s) { to.SMPPCredentials = from.SMPPCredentials }},
		{"mm4_peers", db.loadMM4Peers, func(to, from s) { to.MM4Peers = from.MM4Peers; to.KeepProblems("mm4_peers", from) }},
		{"numbers", loadNumbers, func(to, from s) { to.Numbers = from.Numbers }},
		{"brands", loadBrands, func(to, from s) { to.Brands = from.Brands }},
		{"campaigns campaign_details", loadCampaigns, func(to, from s) { to.Campaigns = from.Campaigns }},
		{"vendors", both(db.loadVendors, loadReplies), func(to, from s) { to.Vendors = from.Vendors; to.KeepProblems("vendors", from) }},
		{"routing_rules", loadRoutes, func(to, from s) { to.Routes = from.Routes; to.KeepProblems("routing_rules", from) }},
		{"webhook_endpoints", db.loadEndpoints, func(to, from s) { to.Endpoints = from.Endpoints }},
		{"inbound_routes", db.loadDestinations, func(to, from s) { to.Destinations = from.Destinations; to.KeepProblems("inbound_routes", from) }},
		// Compiling the rules takes a while, if there are many.
		{"content_rules", loadContentRules, func(to, from s) { to.Content = from.Content; to.KeepProblems("content_rules", from) }},
		{"media_profiles", loadMediaProfiles, func(to, from s) { to.MediaProfiles = from.MediaProfiles; to.KeepProblems("media_profiles", from) }},
		{"staff", loadStaff, func(to, from s) { to.Staff = from.Staff }},
		{"service_credentials", loadServiceCredentials, func(to, from s) { to.ServiceCredentials = from.ServiceCredentials }},
		{"signing_keys", db.loadSigningKeys, func(to, from s) { to.SigningKeys = from.SigningKeys }},
	}
}

// both loads one after the other.
func both(a, b func(context.Context, pgx.Tx, *snapshot.Snapshot) error) func(context.Context, pgx.Tx, *snapshot.Snapshot) error {
	return func(ctx context.Context, tx pgx.Tx, s *snapshot.Snapshot) error {
		if err := a(ctx, tx, s); err != nil {
			return err
		}
		return b(ctx, tx, s)
	}
}

// LoadSnapshot reads the whole configuration in one transaction. A route whose
// pattern does not compile, or a vendor whose password does not authenticate, is left
// out and is a problem of the snapshot that names it: no row of one vendor stops what
// concerns all others. A secret of which this process lacks the key is an error.
func (db *DB) LoadSnapshot(ctx context.Context) (*snapshot.Snapshot, error) {
	return db.RefreshSnapshot(ctx, nil)
}

// RefreshSnapshot is LoadSnapshot that reads only what has changed since old was
// read, and takes over the rest of it. It gives old itself back when nothing has
// changed, and reads everything when old is nil.
func (db *DB) RefreshSnapshot(ctx context.Context, old *snapshot.Snapshot) (*snapshot.Snapshot, error) {
	// One transaction that sees one moment: what is read now and what is kept are
	// both of the state that the stamps stand for.
	tx, err := db.pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return nil, err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	s := &snapshot.Snapshot{LoadedAt: time.Now()}
	if err := tx.QueryRow(ctx, selectVersion).Scan(&s.Version); err != nil {
		return nil, err
	}
	if s.Tables, err = loadStamps(ctx, tx); err != nil {
		return nil, err
	}
	if old != nil && old.Version == s.Version && maps.Equal(old.Tables, s.Tables) {
		return old, nil
	}
	sections := db.sections()
	unchanged := unchanged(sections, old, s.Tables)
	for i, part := range sections {
		if unchanged[i] {
			part.keep(s, old)
		} else if err := part.load(ctx, tx, s); err != nil {
			return nil, err
		}
	}
	s.IndexAfter(old)
	return s, nil
}

const selectStamps = `
select name, stamp
from config_tables`

func loadStamps(ctx context.Context, tx pgx.Tx) (map[string]message.ID, error) {
	stamps := map[string]message.ID{}
	return stamps, each(ctx, tx, selectStamps, func(row pgx.CollectableRow) error {
		var name string
		var stamp message.ID
		err := row.Scan(&name, &stamp)
		stamps[name] = stamp
		return err
	})
}

// unchanged says which sections are in old as they are in the database now.
func unchanged(sections []section, old *snapshot.Snapshot, now map[string]message.ID) []bool {
	out := make([]bool, len(sections))
	if old == nil {
		return out
	}
	named := map[string]bool{}
	for i, part := range sections {
		tables := strings.Fields(part.tables)
		out[i] = part.keep != nil && len(tables) > 0
		for _, t := range tables {
			named[t] = true
			out[i] = out[i] && now[t] == old.Tables[t]
		}
	}
	for _, stamps := range []map[string]message.ID{now, old.Tables} {
		for t := range stamps {
			if !named[t] && now[t] != old.Tables[t] {
				return make([]bool, len(sections)) // who reads it is not known
			}
		}
	}
	return out
}

// words gives the same string for the same octets, so that what stands in a hundred
// thousand rows is held once. It is of one reading.
type words map[string]string

// word is a column whose values repeat. Its text is that of the row last read.
type word struct {
	seen words
	text string
}

// ScanBytes is called by pgx with octets that are its own.
func (w *word) ScanBytes(b []byte) error {
	s, ok := w.seen[string(b)]
	if !ok {
		s = string(b)
		w.seen[s] = s
	}
	w.text = s
	return nil
}
