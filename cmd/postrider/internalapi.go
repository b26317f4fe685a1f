package main

import (
	"context"
	"net/url"
	"strings"

	"github.com/postrider/postrider/edges/rest"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/secret"
	"github.com/postrider/postrider/workflows"
)

// internalAPI is what staff and the platform's own services work with.
func (g *Gateway) internalAPI() *rest.Admin {
	a := &rest.Admin{
		Audit:      g.db,
		Cancel:     g.ingress.Cancel,
		Content:    g.db,
		Customers:  g.db,
		HashSecret: g.keys.Hasher().HashSecret,
		LoggedIn: func(by message.Actor, staff message.ID, in bool) {
			g.note("login", func(ctx context.Context) error { return g.db.StaffTried(ctx, by, staff, in) })
		},
		Messages:   g.db,
		Passwords:  secret.Passwords{},
		Reclaim:    g.ingress,
		Reconsider: g.ingress.Reconsider,
		Reviews:    g.db,
		Services:   g.db,
		ServiceUsed: func(id message.ID) {
			g.note("use of a service credential", func(ctx context.Context) error { return g.db.ServiceCredentialUsed(ctx, id) })
		},
		Staff:  g.db,
		Strays: g.db,
	}
	if at := strings.TrimSuffix(g.Config.TemporalUIURL, "/"); at != "" {
		a.WorkflowURL = func(id message.ID) string {
			return at + "/namespaces/" + url.PathEscape(g.Config.TemporalNamespace) + "/workflows/" + url.PathEscape(workflows.OutboundID(id))
		}
	}
	return a
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
