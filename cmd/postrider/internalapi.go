package main

import (
	"cmp"
	"context"
	"net/url"
	"strings"
	"time"

	"github.com/postrider/postrider/edges/console/gate"
	"github.com/postrider/postrider/edges/console/temporal"
	"github.com/postrider/postrider/edges/rest"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/secret"
	"github.com/postrider/postrider/internal/snapshot"
	"github.com/postrider/postrider/workers"
	"github.com/postrider/postrider/workflows"
)

// internalAPI is what staff and the platform's own services work with.
func (g *Gateway) internalAPI() *rest.Admin {
	a := &rest.Admin{
		Audit:      g.db,
		Cancel:     g.ingress.Cancel,
		Content:    g.db,
		Decode:     g.decodePayloads,
		Customers:  g.db,
		HashSecret: g.keys.Hasher().HashSecret,
		LoggedIn: func(by message.Actor, staff message.ID, in bool) {
			g.note("login", func(ctx context.Context) error { return g.db.StaffTried(ctx, by, staff, in) })
		},
		MediaProfiles: g.db,
		Reclaim:       g.ingress,
		Messages:      g.db,
		Passwords:     secret.Passwords{},
		MM4Peers:      g.db,
		Numbers:       g.db,
		OptOuts:       g.db,
		QueueSize: func(ctx context.Context, vendor string) (int, error) {
			return workers.QueueSize(ctx, g.temporal, g.Config.TemporalNamespace, vendor)
		},
		Reconsider: g.ingress.Reconsider,
		Redrives:   redriveEdge{g.db, g.ingress},
		Registry:   registryEdge{g.registry.registrar, g.db},
		Reload:     g.config.Reload,
		Reroute:    g.reroute,
		Resolve:    g.ingress.Resolve,
		Reviews:    g.db,
		Routes:     g.db,
		Routing:    routing{db: g.db, config: g.config.Current, health: g.health.board.Health},
		// Without it the password alone would let in here who asks for more at the console.
		SecondFactor: gate.NewFactors(g.db, g.keys).Check,
		Services:     g.db,
		ServiceUsed: func(id message.ID) {
			g.note("use of a service credential", func(ctx context.Context) error { return g.db.ServiceCredentialUsed(ctx, id) })
		},
		Sessions:  g.db,
		SMPPUsers: g.db,
		Strays:    g.db,
		Staff:     g.db,
		StaffLink: func() (string, []byte) {
			token, hash := gate.NewLink(g.keys)
			return gate.LinkURL(cmp.Or(g.Config.PublicURL, gate.DefaultPublicURL), snapshot.Console, token), hash
		},
		TestVendor:     g.testVendor,
		Traffic:        g.db,
		VendorLinks:    g.db.VendorLinks,
		VendorProfiles: vendorProfiles(),
		Vendors:        g.db,
	}
	if mail := g.relay(); mail != nil {
		a.SendStaffLink = func(ctx context.Context, to, link string, until time.Time) error {
			subject, text := gate.InvitationText(link, until)
			return mail(ctx, to, subject, text)
		}
	}
	a.CodecOrigin = originOf(g.Config.TemporalUIURL)
	if at := g.temporalUI(); at != "" {
		workflowAt := func(id string) string {
			return at + "/namespaces/" + url.PathEscape(g.Config.TemporalNamespace) + "/workflows/" + url.PathEscape(id)
		}
		a.WorkflowURL = func(m *message.Message) string {
			return workflowAt(workflows.MessageID(m.Direction, m.ID))
		}
		a.RedriveURL = func(id message.ID) string { return workflowAt(workflows.RedriveID(id)) }
	}
	return a
}

// temporalUI is where staff look at workflows, without a slash at the end; empty: nowhere.
func (g *Gateway) temporalUI() string {
	at := g.Config.TemporalUIURL
	if at == "" && g.Config.TemporalUIServer != "" {
		at = cmp.Or(g.Config.PublicURL, gate.DefaultPublicURL) + temporal.Path
	}
	return strings.TrimSuffix(at, "/")
}

// reroute names the vendor of a message, and has its workflow look. What was named is in
// the database then: that the workflow cannot be told is no failure, for it reads it at
// its next look.
func (g *Gateway) reroute(ctx context.Context, by message.Actor, id, vendor message.ID, reason string) error {
	if err := g.db.SetRouteOverride(ctx, by, id, vendor, reason); err != nil {
		return err
	}
	if err := g.ingress.Reroute(ctx, id); err != nil {
		g.Log.Warn("workflow not told of another vendor", "message_id", id, "error", err)
	}
	return nil
}

// note writes something that nobody waits for.
func (g *Gateway) note(what string, write func(ctx context.Context) error) {
	g.background.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), noteTimeout)
		defer cancel()
		if err := write(ctx); err != nil {
			g.Log.Warn("not noted", "what", what, "error", err)
		}
	})
}
