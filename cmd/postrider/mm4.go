package main

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/postrider/postrider/edges/mm4"
	"github.com/postrider/postrider/edges/mm4/desk"
	"github.com/postrider/postrider/edges/mm4/postman"
	"github.com/postrider/postrider/internal/limit"
	"github.com/postrider/postrider/internal/message"
	wire "github.com/postrider/postrider/internal/mm4"
	"github.com/postrider/postrider/internal/mm4out"
	"github.com/postrider/postrider/internal/smtpout"
)

// mm4Edge is the MM4 side of a process with the role mm4.
type mm4Edge struct {
	server  *mm4.Server
	postman *postman.Postman
}

// mm4Domains are the domains of our numbers' addresses, lower case. The first is the one
// that is written.
func (c Config) mm4Domains() []string {
	var out []string
	for _, d := range strings.FieldsFunc(strings.ToLower(c.MM4Domain), func(r rune) bool { return r == ',' || r == ' ' }) {
		out = append(out, strings.TrimSuffix(d, "."))
	}
	if len(out) > 0 {
		return out
	}
	if u, err := url.Parse(c.PublicURL); err == nil && u.Hostname() != "" && net.ParseIP(u.Hostname()) == nil {
		return []string{strings.ToLower(u.Hostname())}
	}
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "localhost"
	}
	return []string{strings.ToLower(host)}
}

// mm4System is our side as MM4 peers know it.
func (c Config) mm4System() mm4out.System {
	domain := c.mm4Domains()[0]
	return mm4out.System{Domain: domain, Host: cmp.Or(c.MM4Hostname, domain)}
}

// checkMM4 checks what cannot be seen of one field alone.
func (c Config) checkMM4() error {
	for _, d := range c.mm4Domains() {
		a, err := wire.ParseAddress("+12025550101/TYPE=PLMN@" + d)
		if err != nil || a.Domain != d {
			return fmt.Errorf("MM4_DOMAIN has %q; want domains such as mms.example.com, separated by commas", d)
		}
	}
	if (c.MM4TLSCert == "") != (c.MM4TLSKey == "") {
		return fmt.Errorf("set both of MM4_TLS_CERT and MM4_TLS_KEY, or neither")
	}
	return nil
}

// mails is what hands mails to peers, which the process makes when it first needs it.
func (g *Gateway) mails() *smtpout.Sender {
	if g.mailer == nil {
		g.mailer = smtpout.New(smtpout.Config{Log: g.Log.With("part", "mm4")})
	}
	return g.mailer
}

// joinMM4 makes the server of MM4 peers, the desk that takes their mails, and the
// postman who sends what they are owed. Nothing runs yet.
func (g *Gateway) joinMM4() {
	c, log := g.Config, g.Log.With("part", "mm4")
	g.mm4.postman = &postman.Postman{Journal: g.db, Sender: g.mails(), Snapshot: g.config.Current, Receipt: g.ingress.Receipt, Own: c.mm4System(),
		Instance: g.instance(), Log: log, Now: g.db.Now,
		Metrics: postman.Metrics{Tried: func(kind wire.Type, state message.MM4MailState) {
			g.metrics.MM4Messages.WithLabelValues("out", string(kind), string(state)).Inc()
		}}}
	g.db.OnMM4Owed(g.mm4.postman.Poke)
	if g.media == nil {
		log.Warn("MM4 is not served: there is no media store; set MEDIA_STORE")
		return
	}
	peers := &desk.Directory{Snapshot: g.config.Current, Log: log}
	g.mm4.server = &mm4.Server{
		Desk: &desk.Desk{Ingress: g.ingress, Journal: g.db, Snapshot: g.config.Current, Domains: c.mm4Domains(), Numbers: g.limiter(), Log: log, Now: g.db.Now,
			Metrics: desk.Metrics{
				Taken: func(kind wire.Type, status wire.Status) {
					g.metrics.MM4Messages.WithLabelValues("in", string(kind), string(status)).Inc()
				},
				RateLimited: func(account message.ID, scope string, n int) { g.rateRefused(account, message.EdgeMM4, scope, n) },
			}},
		Spool: g.media, Peers: peers.Current, Rates: g.mailRates(), Hostname: c.MM4Hostname, Domains: c.mm4Domains(), ProxyFrom: c.MM4ProxyFrom, Log: log,
		Registry: g.db, Instance: g.instance(),
		Limits: mm4.Limits{Sessions: c.MM4MaxSessions, SessionsPerAddress: c.MM4MaxPerAddress, ConnectRate: c.MM4ConnectRate},
		Metrics: mm4.Metrics{
			Sessions: func(delta int) { g.metrics.MM4Sessions.Add(float64(delta)) },
			Refused:  func(cause string) { g.metrics.MM4Refused.WithLabelValues(cause).Inc() },
			Mail: func(_ string, kind wire.Type, code int, _ int64, took time.Duration) {
				g.metrics.MM4Mails.WithLabelValues(fmt.Sprint(code)).Observe(took.Seconds())
				if !kind.Valid() || code == 0 {
					g.metrics.MM4Messages.WithLabelValues("in", "", "unread").Inc()
				}
			},
		},
	}
}

// mailRates counts the mails of a peer, over all replicas if rates are shared.
func (g *Gateway) mailRates() mm4.Rates {
	if g.shared == nil {
		return limit.New(0)
	}
	return g.shared
}

// startMM4 sends what peers are owed, and listens for them.
func (g *Gateway) startMM4(ctx context.Context) error {
	g.mm4.postman.Start(ctx)
	c, server := g.Config, g.mm4.server
	if server == nil || c.MM4Port == 0 {
		return nil
	}
	if c.MM4TLSCert != "" {
		var err error
		if server.TLS, err = g.tlsOf("mm4", c.MM4TLSCert, c.MM4TLSKey); err != nil {
			return err
		}
	}
	l, err := listen(c.MM4Host, c.MM4Port)
	if err != nil {
		return err
	}
	g.serve("MM4", func() error { return server.Serve(context.WithoutCancel(ctx), l) })
	return nil
}

// stopMM4 lets mails under way end, and then stops sending: what is owed stays in the
// journal.
func (g *Gateway) stopMM4() {
	if g.mm4.server != nil {
		drain, cancel := context.WithTimeout(context.Background(), unbindTimeout)
		defer cancel()
		if err := g.mm4.server.Shutdown(drain); err != nil {
			g.Log.Warn("MM4 sessions were cut off", "error", err)
		}
	}
	if g.mm4.postman != nil {
		g.mm4.postman.Stop()
	}
}
