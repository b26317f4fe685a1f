package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/postrider/postrider/activities/prepare"
	"github.com/postrider/postrider/activities/transcode"
	"github.com/postrider/postrider/edges/rest"
	"github.com/postrider/postrider/internal/fetch"
	"github.com/postrider/postrider/internal/media"
	"github.com/postrider/postrider/internal/mediaprofile"
	"github.com/postrider/postrider/internal/message"
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
	needed := g.Roles["rest"] || g.Roles["messages"] || g.Roles["media"] || g.Roles["mm4"]
	if location == "" || !needed && !g.Roles["vendors"] && !g.Roles["notify"] {
		return nil
	}
	var o media.Options
	if g.Config.MediaSealed {
		o.Keyring = g.keys
	}
	store, err := media.Open(ctx, location, o)
	if err != nil && !needed {
		// Only what goes over MM4 carries files from here.
		g.Log.Warn("the media store cannot be opened; MMS over MM4 wait", "part", "media", "error", err)
		return nil
	}
	if err != nil {
		return err
	}
	g.media = &media.Library{Store: store, Records: g.db}
	return nil
}

// mediaURL is where a vendor reads a file.
func (g *Gateway) mediaURL(f message.MediaFile) string {
	return g.publicURL() + media.Path(f)
}

// linkURL is where anybody reads a file, by a link in a text; nil: it cannot be told.
func (g *Gateway) linkURL() func(message.MediaFile) string {
	if g.publicURL() == "" {
		return nil
	}
	return g.mediaURL
}

func (g *Gateway) publicURL() string { return strings.TrimSuffix(g.Config.PublicURL, "/") }

// joinMedia makes the step that makes files ready.
func (g *Gateway) joinMedia(ctx context.Context) {
	if g.media == nil || !g.Roles["media"] {
		return
	}
	g.clearWork()
	g.fetcher = fetch.New(g.webhookPolicy(), fetch.Options{})
	converter := transcode.New(ctx, transcode.Config{})
	tools := converter.Tools()
	g.tools = &tools
	for _, missing := range tools.Missing {
		g.Log.Warn("some files cannot be converted here", "part", "media", "missing", missing)
	}
	g.steps.Prepare = &prepare.Activities{Journal: g.db, Library: g.media, Fetcher: g.fetcher, Converter: converter, Profile: g.mediaProfile, Access: g.mediaAccess, Own: g.ownMedia, Dir: os.TempDir(),
		Observe: func(r transcode.Result) {
			kind, _, _ := strings.Cut(r.From, "/")
			g.metrics.MediaTranscode.WithLabelValues(kind).Observe(r.Took.Seconds())
		}}
}

// clearWork removes the folders of runs whose process was killed.
func (g *Gateway) clearWork() {
	if n := prepare.Clear(os.TempDir()); n > 0 {
		g.Log.Info("what killed processes left of their work on files is removed", "part", "media", "folders", n)
	}
}

// mediaAccess is where a vendor's files may be fetched, and with what.
func (g *Gateway) mediaAccess(vendor message.ID) ([]string, *fetch.Credentials) {
	v := g.config.Current().Vendors[vendor]
	if v == nil {
		return nil, nil
	}
	if kind := g.fleet.Kinds[v.ProviderType]; kind.Files != nil {
		return kind.Files(v)
	}
	return nil, nil
}

// ownMedia recognises a file that came over the vendor who is ourselves.
func (g *Gateway) ownMedia(vendor message.ID, url string) (message.MediaToken, bool) {
	v := g.config.Current().Vendors[vendor]
	name, ours := strings.CutPrefix(url, g.publicURL()+"/media/")
	if v == nil || v.ProviderType != message.ProviderInternal || !ours {
		return message.MediaToken{}, false
	}
	name, _, _ = strings.Cut(name, ".")
	return message.ParseMediaToken(name)
}

// mediaProfile is what a vendor takes. That nothing takes its place silently: a profile
// that the vendor names and that is gone is logged and counted.
func (g *Gateway) mediaProfile(vendor message.ID) mediaprofile.Profile {
	config := g.config.Current()
	v := config.Vendors[vendor]
	p, known := config.MediaProfile(v)
	if !known {
		g.metrics.MediaProfileless.WithLabelValues(vendor.String()).Inc()
		g.Log.Warn("the media profile that a vendor names is not there: the files are made as for the profile default", "part", "media", "vendor", v.Name, "media_profile", v.MediaProfile)
	}
	return p
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
	if g.Roles["media"] {
		g.clearWork()
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
