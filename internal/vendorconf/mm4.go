package vendorconf

import (
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// MM4Peer is the settings of a peer of MM4. What it is called and whose it is never
// changes.
type MM4Peer struct {
	IsActive          bool     `json:"is_active" doc:"false: its connections are refused, and what is owed to it waits for its time"`
	Addresses         []string `json:"addresses" nullable:"false" maxItems:"100" doc:"Networks (CIDR) that it connects from; at least one" example:"[\"198.51.100.7/32\"]"`
	MailDomains       []string `json:"mail_domains" nullable:"false" maxItems:"100" doc:"Domains of its MAIL FROM, which tell peers behind one address apart; none: any that is no other peer's there" example:"[\"mms.carrier.example\"]"`
	RequireTLS        bool     `json:"require_tls" doc:"It must say STARTTLS first"`
	AuthUsername      string   `json:"auth_username" maxLength:"64" doc:"What it must say in AUTH, which needs TLS, with auth_password; empty: nothing"`
	SizeLimit         int      `json:"size_limit" minimum:"65536" maximum:"104857600" doc:"Octets of a mail"`
	MaxSessions       int      `json:"max_sessions" minimum:"1" maximum:"1000" doc:"Connections at once, to each process"`
	MaxRecipients     int      `json:"max_recipients" minimum:"1" maximum:"100" doc:"Recipients of a mail"`
	Rate              int      `json:"rate" minimum:"0" maximum:"100000" doc:"Mails a second, over all processes that share rates; 0: no limit"`
	DataSeconds       int      `json:"data_seconds" minimum:"60" maximum:"3600" doc:"How long it may take for one mail, from DATA to its end"`
	Host              string   `json:"host" maxLength:"253" doc:"Where a customer's peer takes mails; empty: nothing is sent to it. Of a vendor's its vendor says that" example:"mms.carrier.example"`
	Port              int      `json:"port" minimum:"0" maximum:"65535" doc:"0: 25, or 465 with implicit TLS"`
	MX                bool     `json:"mx" doc:"host, or of a vendor's its vendor's host, is a domain, whose mail exchangers take the mails"`
	TLS               string   `json:"tls" enum:"never,opportunistic,required,implicit" doc:"Toward host"`
	TLSCA             string   `json:"tls_ca" maxLength:"65536" lines:"true" doc:"PEM of who signs its certificate; empty: who the system trusts"`
	TLSServerName     string   `json:"tls_server_name" maxLength:"253" doc:"The name in its certificate, when that is not host"`
	SendUsername      string   `json:"send_username" maxLength:"64" doc:"What we say in AUTH, with send_password; empty: nothing"`
	Domain            string   `json:"domain" maxLength:"253" doc:"Of its users' addresses; empty: host"`
	SystemUser        string   `json:"system_user" maxLength:"64" doc:"Local part of its system's address"`
	MMSVersion        string   `json:"mms_version" maxLength:"16" doc:"X-Mms-3GPP-MMS-Version that it is sent"`
	MOLifetimeSeconds int      `json:"mo_lifetime_seconds" minimum:"60" maximum:"2592000" doc:"How long a message to it is tried"`
}

// MM4Secrets are what of a peer is written and never shown. Nil leaves what there is,
// the empty text takes it away.
type MM4Secrets struct {
	AuthPassword *string // that it must say
	SendPassword *string // that we say
	// Hash makes the bcrypt hash of AuthPassword, which is all of it that is kept.
	Hash func(password string) (string, error)
}

// What a password must have that is hashed: bcrypt takes no more.
const minPassword, maxPassword = 12, 72

// NewMM4Peer is a peer with the settings that it has when nothing else is said. What is
// wrong with its name goes into the faults, and that it is not exactly one's: an
// account's or a vendor's.
func NewMM4Peer(name string, account, vendor message.ID, f *Faults) snapshot.MM4Peer {
	none := message.ID{}
	if !peerNameRule.MatchString(name) {
		f.add("name", "must be 1 to 50 of letters, digits, _, . and -")
	}
	if (account == none) == (vendor == none) {
		f.add("account_id", "is required, or vendor_id, and not both")
	}
	return snapshot.MM4Peer{
		ID: message.NewID(), Name: name, AccountID: account, VendorID: vendor, Enabled: true, MaxSize: 8 << 20, MaxSessions: 20, MaxRecipients: 20, DataTime: 15 * time.Minute,
		TLS: "opportunistic", SystemUser: "system-user", Version: "6.10.0", MOLifetime: 72 * time.Hour,
	}
}

var (
	peerNameRule   = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,50}$`)
	systemUserRule = regexp.MustCompile(`^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$`) // a dot-atom (RFC 5322 §3.2.3) of what peers take
	versionRule    = regexp.MustCompile(`^[0-9]{1,2}(\.[0-9]{1,2}){1,2}$`)
)

// MM4PeerOf writes a peer's settings down.
func MM4PeerOf(p *snapshot.MM4Peer) MM4Peer {
	d := MM4Peer{
		IsActive: p.Enabled, Addresses: []string{}, MailDomains: append([]string{}, p.MailDomains...), RequireTLS: p.RequireTLS, AuthUsername: p.Username,
		SizeLimit: int(p.MaxSize), MaxSessions: p.MaxSessions, MaxRecipients: p.MaxRecipients, Rate: p.Rate, DataSeconds: int(p.DataTime / time.Second), Host: p.Host, Port: p.Port, MX: p.MX, TLS: p.TLS,
		TLSCA: p.TLSCA, TLSServerName: p.ServerName, SendUsername: p.SendUsername, Domain: p.Domain, SystemUser: p.SystemUser, MMSVersion: p.Version,
		MOLifetimeSeconds: int(p.MOLifetime / time.Second),
	}
	for _, a := range p.Addresses {
		d.Addresses = append(d.Addresses, a.String())
	}
	return d
}

// Into makes the peer what the document and the secrets say, unless something of it
// breaks a rule: then the peer is left half done, and the faults say why. The name and
// the owner stay.
func (d MM4Peer) Into(p *snapshot.MM4Peer, s MM4Secrets) Faults {
	f := checkAll(&d)
	p.Enabled, p.RequireTLS, p.Username = d.IsActive, d.RequireTLS, d.AuthUsername
	p.Addresses, p.MailDomains = f.networks("addresses", d.Addresses), d.domains(&f)
	p.MaxSize, p.MaxSessions, p.MaxRecipients, p.Rate = int64(d.SizeLimit), d.MaxSessions, d.MaxRecipients, d.Rate
	p.DataTime = seconds(d.DataSeconds)
	p.Host, p.Port, p.MX, p.TLS, p.TLSCA, p.ServerName = d.Host, d.Port, d.MX, d.TLS, d.TLSCA, d.TLSServerName
	p.SendUsername, p.Domain, p.SystemUser, p.Version = d.SendUsername, strings.ToLower(d.Domain), d.SystemUser, d.MMSVersion
	p.MOLifetime = seconds(d.MOLifetimeSeconds)
	s.into(p, &f)
	checkMM4Incoming(p, &f)
	checkMM4Outgoing(p, &f)
	return f
}

func (d MM4Peer) domains(f *Faults) []string {
	list := []string{}
	for _, word := range d.MailDomains {
		name := strings.ToLower(strings.TrimSuffix(word, "."))
		switch {
		case !isDomain(name):
			f.add("mail_domains", "%q is no domain, such as mms.carrier.example", clip(word))
		case !slices.Contains(list, name):
			list = append(list, name)
		}
	}
	return list
}

func isDomain(s string) bool {
	_, err := netip.ParseAddr(s)
	return err != nil && len(s) <= 253 && hostRule.MatchString(s)
}

// into takes over what is given. A fault never says what a secret is.
func (s MM4Secrets) into(p *snapshot.MM4Peer, f *Faults) {
	if w := s.SendPassword; w != nil {
		if p.SendPassword = *w; len(*w) > 512 || strings.ContainsRune(*w, 0) {
			f.add("send_password", "must have at most 512 octets, and none that is zero")
		}
	}
	switch w := s.AuthPassword; {
	case w == nil:
	case *w == "":
		p.PasswordHash = ""
	case len(*w) < minPassword || len(*w) > maxPassword || strings.ContainsRune(*w, 0):
		f.add("auth_password", "must have %d to %d octets, and none that is zero", minPassword, maxPassword)
	default:
		hash, err := s.Hash(*w)
		if p.PasswordHash = hash; err != nil {
			f.add("auth_password", "cannot be hashed")
		}
	}
}

// wide reports whether a network is wider than what one peer has: there, anybody could
// say that he is it.
func wide(n netip.Prefix) bool {
	if n.Addr().Is4() {
		return n.Bits() < 8
	}
	return n.Bits() < 16
}

// checkMM4Incoming looks at what tells who connects.
func checkMM4Incoming(p *snapshot.MM4Peer, f *Faults) {
	if len(p.Addresses) == 0 && !f.has("addresses") {
		f.add("addresses", "is required: a network that it connects from, such as 198.51.100.7/32")
	}
	switch word, hash := p.Username != "", p.PasswordHash != ""; {
	case word && !hash:
		if !f.has("auth_password") {
			f.add("auth_password", "is required with auth_username")
		}
	case hash && !word:
		f.add("auth_username", "is required with auth_password; to take both away, set auth_password to null as well")
	case !word && slices.ContainsFunc(p.Addresses, wide):
		f.add("auth_username", "is required with such wide addresses: whoever is there could say that he is it")
	}
}

// checkMM4Outgoing looks at where mails go.
func checkMM4Outgoing(p *snapshot.MM4Peer, f *Faults) {
	switch {
	case p.Host == "":
		if p.SendUsername != "" || p.SendPassword != "" || p.MX && p.VendorID == (message.ID{}) {
			f.add("host", "is required with send_username, send_password and mx")
		}
	case p.VendorID != (message.ID{}):
		f.add("host", "is for customers' peers: where a vendor takes mails its own settings say")
	case p.MX && !isDomain(p.Host), !isHost(p.Host):
		f.add("host", "must be a host name or an address, without a port; with mx a domain")
	}
	switch word, password := p.SendUsername != "", p.SendPassword != ""; {
	case word && !password:
		f.add("send_password", "is required with send_username")
	case password && !word:
		f.add("send_username", "is required with send_password")
	case word && (p.TLS == "never" || p.TLS == "opportunistic"):
		f.add("tls", "must be required or implicit with send_username: the password would go in clear")
	}
	if p.TLSCA != "" && !f.has("tls_ca") && !isChain(p.TLSCA) {
		f.add("tls_ca", "must be certificates in PEM, and nothing else")
	}
	if p.Domain != "" && !isDomain(p.Domain) {
		f.add("domain", "must be a domain, such as mms.carrier.example")
	}
	if !systemUserRule.MatchString(p.SystemUser) {
		f.add("system_user", "must be letters, digits, _ and -, with dots between")
	}
	if !versionRule.MatchString(p.Version) {
		f.add("mms_version", "must be a version such as 6.10.0")
	}
}
