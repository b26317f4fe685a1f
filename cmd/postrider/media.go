package main

import (
	"context"
	"path/filepath"
	"time"

	"github.com/postrider/postrider/edges/rest"
	"github.com/postrider/postrider/internal/media"
)

// Of the upkeep of the media store: how many files' bytes a round takes away at most, and
// how old what a process left when it died must be before it is taken for that.
const (
	mediaSwept = 10_000
	mediaStale = 24 * time.Hour
)

// mediaStore is where files of media are kept; empty: there is no such place.
func (c Config) mediaStore() string {
	if c.MediaStore != "" || c.KeyFile == "" {
		return c.MediaStore
	}
	return filepath.Join(filepath.Dir(filepath.Clean(c.KeyFile)), "media")
}

// openMedia opens the media store for the roles that need it.
func (g *Gateway) openMedia(ctx context.Context) error {
	location := g.Config.mediaStore()
	if location == "" || !g.Roles["rest"] && !g.Roles["messages"] {
		return nil
	}
	var o media.Options
	if g.Config.MediaSealed {
		o.Keyring = g.keys
	}
	store, err := media.Open(ctx, location, o)
	if err != nil {
		return err
	}
	g.media = &media.Library{Store: store, Records: g.db}
	return nil
}

// mediaEdge is the library for the REST edge, which takes nil for none.
func (g *Gateway) mediaEdge() rest.Media {
	if g.media == nil {
		return nil
	}
	return g.media
}

// sweepMedia takes away what nobody has any more.
func (g *Gateway) sweepMedia(ctx context.Context) {
	if g.media == nil {
		return
	}
	log := g.Log.With("part", "media")
	looked, err := g.media.Sweep(ctx, mediaSwept)
	if err != nil {
		log.Warn("files of media that nobody has any more wait for the next round", "error", err)
	}
	cleaned, err := g.media.Store.Clean(ctx, mediaStale)
	if err != nil {
		log.Warn("the media store could not be tidied; the next round tries again", "error", err)
	}
	if looked+cleaned > 0 {
		log.Info("media swept", "files", looked, "leftovers", cleaned)
	}
}
