package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"time"

	"github.com/postrider/postrider/activities/notify"
	jasmindoor "github.com/postrider/postrider/edges/compat/jasmin"
	twiliodoor "github.com/postrider/postrider/edges/compat/twilio"
	"github.com/postrider/postrider/edges/rest"
	"github.com/postrider/postrider/edges/vendors"
	"github.com/postrider/postrider/edges/vendors/hooks"
	"github.com/postrider/postrider/edges/vendors/httpvendor"
	"github.com/postrider/postrider/edges/vendors/loop"
	vendormm4 "github.com/postrider/postrider/edges/vendors/mm4"
	vendorsmpp "github.com/postrider/postrider/edges/vendors/smpp"
	"github.com/postrider/postrider/edges/vendors/telnyx"
	"github.com/postrider/postrider/edges/vendors/twilio"
	"github.com/postrider/postrider/internal/limit"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/postgres"
	"github.com/postrider/postrider/internal/snapshot"
	"github.com/postrider/postrider/internal/webhook"
)

// vendorKinds are the kinds of vendor that this build can link to. Tests of a connection
// need nothing of g, which may be the zero Gateway for them.
func (g *Gateway) vendorKinds() map[string]vendors.Kind {
	log := g.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	overHTTP := httpvendor.Config{PublicURL: g.Config.PublicURL, Log: log.With("part", "vendor"), Now: g.db.Now}
	return map[string]vendors.Kind{
		twilio.Name:    twilio.Kind(overHTTP),
		telnyx.Name:    telnyx.Kind(overHTTP),
		vendormm4.Name: vendormm4.Kind(g.mm4Config(log.With("part", "vendor"))),
		message.ProviderInternal: {New: func(v *snapshot.Vendor) (vendors.Link, error) {
			return loop.New(loop.Config{Vendor: *v, Enabled: g.takesMessages, OnReceipt: g.ingress.Receipt, OnInbound: g.ingress.Inbound, Now: g.db.Now})
		}},
		"smpp": {New: func(v *snapshot.Vendor) (vendors.Link, error) {
			return vendorsmpp.New(vendorsmpp.Config{Vendor: *v, OnReceipt: g.ingress.Receipt, OnInbound: g.ingress.Inbound, Log: g.Log.With("part", "vendor"), Now: g.db.Now})
		}, Test: vendorsmpp.Test},
	}
}

// takesMessages reports whether a number is somebody's and enabled.
func (g *Gateway) takesMessages(number message.Address, kind message.Kind) bool {
	n := g.config.Current().Numbers[number]
	return n != nil && (kind == message.MMS && n.MMSEnabled || kind != message.MMS && n.SMSEnabled)
}

// noteTimeout bounds a note in the database that nobody waits for.
const noteTimeout = 5 * time.Second

func (g *Gateway) startREST(ctx context.Context) error {
	if err := g.ensureSigningKey(ctx); err != nil {
		return err
	}
	server := g.restServer()
	if g.Roles["console"] {
		server.Pages, server.PagesOnly = g.pages(server), !g.Roles["rest"]
	}
	l, err := listen(g.Config.APIHost, g.Config.APIPort)
	if err != nil {
		return err
	}
	g.rest = server
	g.serve("customer API", func() error { return server.Serve(l) })
	return nil
}

// doors are the interfaces of other gateways that the installation serves.
func (c Config) doors() []rest.Door {
	var list []rest.Door
	if c.TwilioDoor {
		list = append(list, twiliodoor.Door{})
	}
	if c.JasminDoor {
		list = append(list, jasmindoor.Door{})
	}
	return list
}

// restServer is the REST edge with what it works with.
func (g *Gateway) restServer() *rest.Server {
	policy := g.webhookPolicy()
	return &rest.Server{
		Accounts:    g.db,
		Admin:       g.internalAPI(),
		Away:        postgres.Unavailable,
		CapUsed:     g.capUsed,
		Feed:        g.db,
		Batches:     batchEdge{g.db, g.ingress},
		Connection:  g.Config.connection(),
		Credentials: g.db,
		Doors:       g.Config.doors(),
		ESMEs:       g.db,
		HashSecret:  g.keys.Hasher().HashSecret,
		Invite:      g.inviter(),
		Users:       g.db,
		Limiter:     g.limiter(),
		Inbound:     g.db,
		Ingress:     g.ingress,
		Media:       g.mediaEdge(),
		Journal:     g.db,
		OptOuts:     g.db,
		Registry:    registryEdge{g.registry.registrar, g.db},
		Snapshot:    g.config.Current,
		Secrets:     g.keys.Hasher(),
		TestInbound: g.tester().Test,
		Turns:       limit.NewTurns(),
		Webhooks:    g.db,
		Log:         g.Log.With("part", "rest"),
		Now:         g.db.Now,
		CheckURL:    func(u *url.URL) error { return webhook.ValidateURL(u.String(), policy) },
		Ready:       g.checks,
		CredentialUsed: func(id message.ID) {
			// The edge calls this once a minute for each key, and must not wait.
			g.background.Go(func() {
				ctx, cancel := context.WithTimeout(context.Background(), noteTimeout)
				defer cancel()
				if err := g.db.CredentialUsed(ctx, id); err != nil {
					g.Log.Debug("use of a key not noted", "error", err)
				}
			})
		},
		Observe: func(operation string, status int, took time.Duration) {
			g.metrics.APIRequests.WithLabelValues(operation, fmt.Sprint(status)).Observe(took.Seconds())
		},
		RateLimited: func(account message.ID, scope string) { g.rateRefused(account, "rest", scope, 1) },
		PublicURL:   g.Config.PublicURL,

		TestEndpoint:   (&notify.Tester{Journal: g.db, Sender: g.sender, Now: g.db.Now}).Test,
		TrustedProxies: g.Config.TrustedProxies,
		Hooks:          g.vendorHooks(),
	}
}

// vendorHooks takes the webhooks of vendors.
func (g *Gateway) vendorHooks() *hooks.Handler {
	return &hooks.Handler{
		Snapshot:  g.config.Current,
		Kinds:     g.vendorKinds(),
		Now:       g.db.Now,
		PublicURL: g.Config.PublicURL,
		OnReceipt: g.ingress.Receipt,
		OnInbound: g.ingress.Inbound,
		Limiter:   g.limiter(),
		Observe: func(vendor message.ID, result hooks.Result, took time.Duration) {
			label := ""
			if vendor != (message.ID{}) {
				label = vendor.String()
			}
			g.metrics.VendorWebhooks.WithLabelValues(label, string(result)).Inc()
			g.metrics.VendorWebhooksTook.WithLabelValues(label, string(result)).Observe(took.Seconds())
		},
		Log: g.Log.With("part", "vendor"),
	}
}

// ensureSigningKey makes the first key for access tokens. Two processes that
// start at once may make two; both are published and either may sign.
func (g *Gateway) ensureSigningKey(ctx context.Context) error {
	for _, k := range g.config.Current().SigningKeys {
		if k.RetiredAt.IsZero() {
			return nil
		}
	}
	k, err := newSigningKey("EdDSA")
	if err != nil {
		return err
	}
	k.SignsFrom = g.db.Now()
	if err := g.db.AddSigningKey(ctx, postgres.Actor{Name: "postrider", Role: "system"}, k); err != nil {
		return fmt.Errorf("first signing key: %w", err)
	}
	return g.config.Reload(ctx)
}
