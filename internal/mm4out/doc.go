// Package mm4out puts MM4 messages on the way to a peer: it knows what our side is
// called, makes a peer of its row or of a vendor's, and makes the mail of a message
// (3GPP TS 23.140 §8.4.1), whose files it reads from the store while they go.
// internal/smtpout carries the mails.
//
// The rule not to break: the same message makes the same mail, with the same ids, each
// time, so that a peer that gets it twice can tell.
package mm4out

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/mm4"
	"github.com/postrider/postrider/internal/secret"
	"github.com/postrider/postrider/internal/smtpout"
	"github.com/postrider/postrider/internal/snapshot"
)

// defaultUser is the local part of a system's address where nothing else is said.
const defaultUser = "system-user"

// portImplicit is where TLS begins with the first octet (RFC 8314 §7.3).
const portImplicit = 465

// System is our side, as peers know it. It is a value.
type System struct {
	Domain string // of our numbers' addresses and of our ids
	User   string // local part of our system's address; empty: system-user
	Host   string // our name in EHLO and in the ids of mails; empty: Domain
}

// Check reports whether mails can be sent for the system.
func (s System) Check() error {
	if s.Domain == "" {
		return errors.New("the gateway has no domain for MM4: set MM4_DOMAIN")
	}
	return nil
}

// Address is our system's.
func (s System) Address() mm4.Address { return systemAddress(s.User, s.Domain) }

// AddressOf is the address of one of our senders.
func (s System) AddressOf(a message.Address) mm4.Address { return addressOf(a, s.Domain) }

// MailID is Message-ID of the mail (RFC 5322 §3.6.4) of a transaction of ours.
func (s System) MailID(transaction string) string { return transaction + "@" + s.host() }

func (s System) host() string {
	if s.Host != "" {
		return s.Host
	}
	return s.Domain
}

// Peer is an MMSC that takes mails of ours. It is a value.
type Peer struct {
	Target  smtpout.Target
	Domain  string // of its users' addresses
	User    string // local part of its system's address; empty: system-user
	Version string // X-Mms-3GPP-MMS-Version; empty: mm4.DefaultVersion
}

// System is the address of the peer's system.
func (p *Peer) System() mm4.Address { return systemAddress(p.User, p.Domain) }

// AddressOf is the address of one of the peer's users.
func (p *Peer) AddressOf(a message.Address) mm4.Address { return addressOf(a, p.Domain) }

var tlsModes = map[string]smtpout.TLSMode{
	"": smtpout.TLSOpportunistic, "opportunistic": smtpout.TLSOpportunistic, "never": smtpout.TLSNever,
	"required": smtpout.TLSRequired, "implicit": smtpout.TLSImplicit,
}

// CustomerPeer is how a customer's peer is reached. The error names the field of the row,
// and no secret.
func CustomerPeer(p *snapshot.MM4Peer, own System) (Peer, error) {
	mode, ok := tlsModes[p.TLS]
	out := Peer{Domain: p.Domain, User: p.SystemUser, Version: p.Version, Target: smtpout.Target{
		Name: p.Name, Host: p.Host, Port: p.Port, MX: p.MX, TLS: mode, CA: p.TLSCA, ServerName: p.ServerName,
		Username: p.SendUsername, Password: secret.Conceal(p.SendPassword), EHLO: own.host(),
	}}
	switch {
	case p.Host == "":
		return Peer{}, fmt.Errorf("peer %s: host is empty, so nothing can be sent to it", p.Name)
	case !ok:
		return Peer{}, fmt.Errorf("peer %s: tls: want opportunistic, never, required or implicit", p.Name)
	}
	return out.complete("peer", own)
}

// VendorPeer is how a vendor's MMSC is reached: by the vendor's row, and, for the names of
// its side and whether its host has mail exchangers, that of its peer, which may be nil. TLS is STARTTLS and required, or implicit
// on port 465.
func VendorPeer(v *snapshot.Vendor, p *snapshot.MM4Peer, own System) (Peer, error) {
	out := Peer{Target: smtpout.Target{
		Name: v.Name, Host: v.Host, Port: v.Port, TLS: smtpout.TLSNever, CA: v.TLSCA, ServerName: v.ServerName,
		Username: v.Username, Password: secret.Conceal(v.Password), EHLO: own.host(),
	}}
	switch {
	case v.UseTLS && v.Port == portImplicit:
		out.Target.TLS = smtpout.TLSImplicit
	case v.UseTLS:
		out.Target.TLS = smtpout.TLSRequired
	}
	if p != nil {
		out.Domain, out.User, out.Version, out.Target.MX = p.Domain, p.SystemUser, p.Version, p.MX
	}
	return out.complete("vendor", own)
}

func (p Peer) complete(what string, own System) (Peer, error) {
	p.Domain = DomainOf(p.Domain, p.Target.Host)
	err := own.Check()
	if err == nil {
		err = p.Target.Check()
	}
	if err != nil {
		return Peer{}, fmt.Errorf("%s %s: %w", what, p.Target.Name, err)
	}
	return p, nil
}

// DomainOf is the domain of a peer's addresses: that of its row, else its host, which
// stands in brackets when it is an IP address (RFC 5321 §4.1.3).
func DomainOf(domain, host string) string {
	ip, err := netip.ParseAddr(host)
	switch {
	case domain != "":
		return domain
	case err != nil:
		return host
	case ip.Is4():
		return "[" + host + "]"
	}
	return "[IPv6:" + host + "]"
}

func systemAddress(user, domain string) mm4.Address {
	if user == "" {
		user = defaultUser
	}
	return mm4.Address{Local: user, Type: mm4.Email, Domain: domain}
}

// addressOf writes a number as numbers are written. A word, as some senders are, has no
// form in TS 23.140: it becomes the local part of an e-mail address, whose other
// characters are given as the display name.
func addressOf(a message.Address, domain string) mm4.Address {
	switch a.Kind() {
	case message.E164:
		return mm4.Address{Local: string(a), Type: mm4.PLMN, Domain: domain}
	case message.ShortCode:
		return mm4.Address{Local: string(a), Type: mm4.ShortCode, Domain: domain}
	}
	local := strings.Trim(strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '-' || r == '_' {
			return r
		}
		return '-'
	}, string(a)), "-")
	if local == "" {
		local = "unknown"
	}
	out := mm4.Address{Local: local, Type: mm4.Email, Domain: domain}
	if local != string(a) {
		out.Name = string(a)
	}
	return out
}
