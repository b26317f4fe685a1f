package snapshot

import (
	"net/netip"
	"slices"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// MM4Peer is an MMSC that we exchange MMS with: a customer's, or a vendor's. A vendor's
// row says how we connect to it, so that Host to SendPassword are empty here but for MX.
type MM4Peer struct {
	ID        message.ID
	Name      string // for logs and metrics
	AccountID message.ID
	VendorID  message.ID // one of the two is zero
	Enabled   bool

	// It to us.
	Addresses     []netip.Prefix
	MailDomains   []string // of its MAIL FROM, lower case; empty: any
	RequireTLS    bool
	Username      string // of its AUTH, without which it sends nothing; empty: it has none
	PasswordHash  string // by bcrypt
	MaxSize       int64  // octets of a mail
	MaxSessions   int
	MaxRecipients int
	Rate          int           // mails a second; 0: without limit
	DataTime      time.Duration // for one mail, from DATA to its end; 0: the edge's own bound

	// We to it.
	Host         string // empty: nothing is sent to it
	Port         int    // 0: 25, or 465 with implicit TLS
	MX           bool   // Host, or its vendor's, is a domain whose mail exchangers are asked
	TLS          string // never, opportunistic, required, implicit
	TLSCA        string // PEM; empty: the system's roots
	ServerName   string // for TLS when it differs from Host
	SendUsername string
	SendPassword string // in clear only in memory; never logged

	Domain     string        // of its users' addresses; empty: its host
	SystemUser string        // its system's local part
	Version    string        // X-Mms-3GPP-MMS-Version that it is sent
	MOLifetime time.Duration // how long a message to it is tried
}

// Confused tells why two peers could not be told apart by where they connect from and
// what they say there, and the cure; empty: they can.
func (p *MM4Peer) Confused(q *MM4Peer) string {
	overlap := slices.ContainsFunc(p.Addresses, func(a netip.Prefix) bool { return slices.ContainsFunc(q.Addresses, a.Overlaps) })
	shared := slices.ContainsFunc(p.MailDomains, func(d string) bool { return slices.Contains(q.MailDomains, d) })
	auth := p.Username != "" && q.Username != ""
	switch {
	case !overlap || p.ID == q.ID:
		return ""
	case auth && p.Username == q.Username:
		return "both have the username behind one address; give each its own"
	case auth:
		return ""
	case len(p.MailDomains) == 0 && len(q.MailDomains) == 0:
		return "neither has mail_domains behind one address; give them to both, or a username to both"
	case shared:
		return "both have one of the mail_domains behind one address; give each its own, or a username to both"
	}
	return ""
}

// MM4PeerState is a peer with what staff see beside its settings.
type MM4PeerState struct {
	MM4Peer
	Broken    string // what of it cannot be read; empty: nothing. It is then in no snapshot
	Pending   int    // mails that it is owed beside messages
	CreatedAt time.Time
	UpdatedAt time.Time
}

// MM4PeerFilter narrows a list of peers. Zero fields do not.
type MM4PeerFilter struct{ AccountID, VendorID message.ID }

// MM4PeerOf is the peer that messages to an account's numbers go to: the first by name of
// those that are enabled and have a host; nil when there is none.
func (s *Snapshot) MM4PeerOf(account message.ID) *MM4Peer {
	return s.firstPeer(func(p *MM4Peer) bool { return p.AccountID == account && p.Host != "" })
}

// MM4PeerOfVendor is the row that says what a vendor's side is called: the first by name
// of those that are enabled; nil when there is none.
func (s *Snapshot) MM4PeerOfVendor(vendor message.ID) *MM4Peer {
	return s.firstPeer(func(p *MM4Peer) bool { return p.VendorID == vendor })
}

func (s *Snapshot) firstPeer(fits func(*MM4Peer) bool) *MM4Peer {
	var found *MM4Peer
	for _, p := range s.MM4Peers {
		if p.Enabled && fits(p) && (found == nil || p.Name < found.Name) {
			found = p
		}
	}
	return found
}
