package main

import (
	"context"
	"io"
	"log/slog"

	vendormm4 "github.com/postrider/postrider/edges/vendors/mm4"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/mm4out"
	"github.com/postrider/postrider/internal/snapshot"
)

// mm4Config is what links to vendors over MM4 are made of. For a test of a connection it
// needs nothing of g.
func (g *Gateway) mm4Config(log *slog.Logger) vendormm4.Config {
	cfg := vendormm4.Config{Own: g.Config.mm4System(), Log: log, Now: g.db.Now, Store: g.mediaStoreOpen()}
	if g.config != nil {
		cfg.Peer = g.mm4PeerOf
	}
	if g.db != nil {
		// What takes the answers belongs to the journal of the role mm4.
		cfg.Answers, _ = any(g.db).(vendormm4.Answers)
	}
	return cfg
}

// mediaStoreOpen opens files for those who carry them; nil without a store.
func (g *Gateway) mediaStoreOpen() mm4out.Store {
	if g.media == nil {
		return nil
	}
	library := g.media
	return func(ctx context.Context, f message.MediaFile) (io.ReadCloser, error) { return library.Open(ctx, f) }
}

// mm4PeerOf is the row that says what a vendor's side is called: the first by name, of
// several that are enabled.
func (g *Gateway) mm4PeerOf(vendor message.ID) *snapshot.MM4Peer {
	var found *snapshot.MM4Peer
	for _, p := range g.config.Current().MM4Peers {
		if p.VendorID == vendor && p.Enabled && (found == nil || p.Name < found.Name) {
			found = p
		}
	}
	return found
}
