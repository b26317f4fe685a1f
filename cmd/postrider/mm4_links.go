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
		cfg.Peer = func(vendor message.ID) *snapshot.MM4Peer { return g.config.Current().MM4PeerOfVendor(vendor) }
	}
	if g.db != nil {
		cfg.Answers, cfg.ReadAsked = g.db, g.db.ReadAsked
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
