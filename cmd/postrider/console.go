package main

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/postrider/postrider/edges/console/call"
	"github.com/postrider/postrider/edges/console/gate"
	"github.com/postrider/postrider/edges/console/office"
	"github.com/postrider/postrider/edges/console/own"
	"github.com/postrider/postrider/edges/console/page"
	"github.com/postrider/postrider/edges/console/site"
	"github.com/postrider/postrider/edges/console/temporal"
	"github.com/postrider/postrider/edges/rest"
	"github.com/postrider/postrider/internal/email"
	"github.com/postrider/postrider/internal/secret"
	"github.com/postrider/postrider/internal/snapshot"
)

// mailTimeout bounds a mail that nobody waits for.
const mailTimeout = 45 * time.Second

// pages are the web pages: the console and the portal, each behind its gate. They use the
// operations of server, which serves them.
func (g *Gateway) pages(server *rest.Server) map[string]http.Handler {
	doors := []struct {
		door      snapshot.Door
		prefix    string
		pages     func(*site.Site) http.Handler
		frame     func(gate.Person) page.Frame
		passwords gate.Passwords
	}{
		{snapshot.Console, office.Prefix, office.Handler, office.Frame, secret.Passwords{}},
		{snapshot.Portal, own.Prefix, own.Handler, own.Frame, secret.Passwords{Fresh: true}},
	}
	out := map[string]http.Handler{}
	for _, d := range doors {
		log := g.Log.With("part", string(d.door))
		kit := page.New(d.prefix)
		entry := &gate.Gate{
			Background: g.afterwards, Door: d.door, Frame: d.frame, Keys: g.keys, Kit: kit, Limiter: g.limiter(), Log: log, Mail: g.relay(), Now: g.db.Now,
			Passwords: d.passwords, PublicURL: g.Config.PublicURL, Store: g.db, Turns: server.Turns,
		}
		api := &call.API{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { server.Handler().ServeHTTP(w, r) }), Visitor: visitor, Address: addressOf}
		behind := d.pages(&site.Site{Kit: kit, Log: log, Prefix: d.prefix, Frame: d.frame, Closing: server.Closing, Secure: strings.HasPrefix(g.Config.PublicURL, "https:"), API: api})
		if d.door == snapshot.Console {
			if ui := g.temporalUIServer(api, log); ui != nil {
				pages := behind
				entry.Foreign = temporal.Serves
				behind = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if temporal.Serves(r.URL.Path) {
						ui.ServeHTTP(w, r)
						return
					}
					pages.ServeHTTP(w, r)
				})
			}
		}
		handler := entry.Handler(behind)
		out[d.prefix] = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			handler.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), addressKey{}, r.RemoteAddr)))
		})
	}
	return out
}

// temporalUIServer shows staff the Temporal UI; nil: no server of it is known.
func (g *Gateway) temporalUIServer(api *call.API, log *slog.Logger) http.Handler {
	at, err := url.Parse(g.Config.TemporalUIServer)
	if g.Config.TemporalUIServer == "" || err != nil || at.Host == "" {
		return nil
	}
	return (&temporal.UI{Server: &url.URL{Scheme: at.Scheme, Host: at.Host}, Namespace: g.Config.TemporalNamespace, API: api, Log: log}).Handler()
}

type addressKey struct{}

// addressOf is where a request to a page comes from.
func addressOf(ctx context.Context) string {
	address, _ := ctx.Value(addressKey{}).(string)
	return address
}

// visitor says for whom a page uses the operations.
func visitor(ctx context.Context) context.Context {
	p := gate.PersonOf(ctx)
	if p.Kind == snapshot.Portal {
		return rest.WithVisitor(ctx, rest.Visitor{User: p.ID, Account: p.Account, Email: p.Email, Scopes: p.Scopes})
	}
	return rest.WithVisitor(ctx, rest.Visitor{Staff: p.ID})
}

// relay hands e-mails to the relay; nil without one, unless they are for the log.
func (g *Gateway) relay() func(ctx context.Context, to, subject, text string) error {
	if g.Config.EmailRelay.Empty() {
		if !g.Config.InvitationsLogged {
			return nil
		}
		return func(_ context.Context, to, subject, text string) error {
			g.Log.Warn("e-mail, for development only", "to", to, "subject", subject, "text", text)
			return nil
		}
	}
	relay, err := email.Parse(g.Config.EmailRelay.Reveal(), g.Config.EmailFrom, nil)
	if err != nil { // the role that sends messages by e-mail says so at the start
		return func(context.Context, string, string, string) error { return err }
	}
	return relay.Write
}

// afterwards does something for the pages that nobody waits for.
func (g *Gateway) afterwards(what string, do func(ctx context.Context) error) {
	g.background.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), mailTimeout)
		defer cancel()
		if err := do(ctx); err != nil {
			g.Log.Warn("not done", "what", what, "error", err)
		}
	})
}
