package main

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"strings"

	"github.com/postrider/postrider/edges/rest"
	"github.com/postrider/postrider/internal/email"
)

// connection is what customers are told of where the gateway is.
func (c Config) connection() rest.Connection {
	out := rest.Connection{APIURL: c.PublicURL, SMPPHost: c.SMPPPublicHost, MM4Host: c.MM4PublicHost, SourceAddresses: c.SourceAddresses}
	// A port without the host in front of it is that of a machine which nobody reaches.
	if out.SMPPHost != "" {
		out.SMPPPort = cmp.Or(c.SMPPPublicPort, c.SMPPPort)
		out.SMPPTLSPort = c.SMPPPublicTLSPort
		if out.SMPPTLSPort == 0 && c.SMPPTLSCert != "" {
			out.SMPPTLSPort = c.SMPPTLSPort
		}
	}
	if out.MM4Host != "" {
		out.MM4Port = cmp.Or(c.MM4PublicPort, c.MM4Port)
		out.MM4Domain = c.mm4Domains()[0]
	}
	return out
}

// checkSources checks what customers will put into their firewalls.
func (c Config) checkSources() error {
	for _, s := range c.SourceAddresses {
		_, one := netip.ParseAddr(s)
		p, many := netip.ParsePrefix(s)
		if one != nil && (many != nil || p != p.Masked()) {
			return fmt.Errorf("SOURCE_ADDRESSES has %q; want addresses and networks such as 192.0.2.10,198.51.100.0/24", s)
		}
	}
	return nil
}

// inviter hands invitations to the e-mail relay; nil without one, unless they are for the
// log.
func (g *Gateway) inviter() func(context.Context, rest.Invitation) error {
	if g.Config.EmailRelay.Empty() {
		if !g.Config.InvitationsLogged {
			return nil
		}
		return func(_ context.Context, i rest.Invitation) error {
			g.Log.Warn("invitation to the portal, for development only", "to", i.To, "link", i.Link)
			return nil
		}
	}
	relay, err := email.Parse(g.Config.EmailRelay.Reveal(), g.Config.EmailFrom, nil)
	if err != nil { // the role that sends messages by e-mail says so at the start
		return func(context.Context, rest.Invitation) error { return err }
	}
	return func(ctx context.Context, i rest.Invitation) error {
		return relay.Write(ctx, i.To, "Your invitation to the messages of "+i.Account, invitationText(i))
	}
}

func invitationText(i rest.Invitation) string {
	return strings.Join([]string{
		"You are invited to see and manage the messages of " + i.Account + ".",
		"Choose a password here, once, until " + i.ExpiresAt.UTC().Format("2 January 2006 15:04 UTC") + ":",
		"", i.Link, "",
		"If you did not expect this, ignore it.", "",
	}, "\n")
}
