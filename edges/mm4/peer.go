package mm4

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/origin"
)

// Defaults of the fields of Peer.
const (
	DefaultMaxSize       = 8 << 20 // octets; what handsets and vendors take is far below
	DefaultMaxRecipients = 20
	DefaultMaxSessions   = 20
)

// maxMaxSize has as many digits as SIZE= is read with, see hugeSize.
const maxMaxSize = 999_999_999

// Peer is an MMSC that may send us mail. It does not change once it is in a Directory.
type Peer struct {
	ID   message.ID
	Name string // for logs and metrics
	// Exactly one of the two is set: whose messages these are.
	AccountID message.ID
	VendorID  message.ID

	Addresses []netip.Prefix // it connects from; at least one
	// Domains are those of its MAIL FROM, without regard to case. They tell peers behind
	// one address apart. Empty: any that is no other peer's there.
	Domains []string

	RequireTLS  bool
	RequireAuth bool
	// AuthWithoutTLS lets it say its password in clear.
	AuthWithoutTLS bool
	Username       string                     // empty: it has no AUTH
	Password       func(password string) bool // whether it is the password; may be slow

	MaxSize       int64 // octets of a mail, at most 999,999,999; 0: DefaultMaxSize
	MaxSessions   int   // at a time, to this process; 0: DefaultMaxSessions
	MaxRecipients int   // of a mail; 0: DefaultMaxRecipients
	Rate          int   // mails a second, by Server.Rates; 0: without limit
	// DataTime bounds the whole of DATA. 0: Limits.DataTime.
	DataTime time.Duration
}

// Directory is the peers at one moment. It is immutable.
type Directory struct {
	peers []*Peer
}

// NewDirectory checks the peers and takes copies of them. An error names the peer, the
// field and the cure; two peers behind one address must be told apart by a domain or a
// user name.
func NewDirectory(peers []Peer) (*Directory, error) {
	d, faults := UsableDirectory(peers)
	if len(faults) == 0 {
		return d, nil
	}
	var errs []error
	for _, p := range peers {
		if err := faults[p.Name]; err != nil {
			errs = append(errs, fmt.Errorf("mm4 peer %q: %w", p.Name, err))
			delete(faults, p.Name)
		}
	}
	return nil, errors.Join(errs...)
}

// UsableDirectory is NewDirectory without those peers that cannot be used, and why, by
// their names. Of two that cannot be told apart the later is left out.
func UsableDirectory(peers []Peer) (*Directory, map[string]error) {
	d, faults := &Directory{}, map[string]error{}
	for i := range peers {
		p := peers[i]
		p.Addresses = slices.Clone(p.Addresses)
		p.Domains = slices.Clone(p.Domains)
		for j := range p.Domains {
			p.Domains[j] = strings.ToLower(p.Domains[j])
		}
		err := p.complete()
		for _, q := range d.peers {
			if err != nil {
				break
			}
			if err = confused(&p, q); err != nil {
				err = fmt.Errorf("it cannot be told from %q: %w", q.Name, err)
			}
		}
		if err != nil {
			faults[p.Name] = errors.Join(faults[p.Name], err)
			continue
		}
		d.peers = append(d.peers, &p)
	}
	return d, faults
}

// complete checks one peer and fills in its defaults.
func (p *Peer) complete() error {
	none := message.ID{}
	switch {
	case p.ID == none:
		return errors.New("the ID is missing; set it")
	case (p.AccountID == none) == (p.VendorID == none):
		return errors.New("of AccountID and VendorID exactly one must be set")
	case len(p.Addresses) == 0:
		return errors.New("no Addresses; name a network that it connects from")
	case slices.ContainsFunc(p.Addresses, func(n netip.Prefix) bool { return !n.IsValid() }):
		return errors.New("one of Addresses is no network; write such as 198.51.100.7/32")
	case (p.Username == "") != (p.Password == nil):
		return errors.New("one of Username and Password is missing; set both or neither")
	case p.RequireAuth && p.Username == "":
		return errors.New("with RequireAuth it needs Username and Password; set them")
	case p.MaxSize > maxMaxSize:
		return fmt.Errorf("its MaxSize is more than %d; lower it", maxMaxSize)
	case p.MaxSize < 0 || p.MaxSessions < 0 || p.MaxRecipients < 0 || p.Rate < 0 || p.DataTime < 0:
		return errors.New("one of MaxSize, MaxSessions, MaxRecipients, Rate and DataTime is negative; 0 is its default")
	}
	if p.MaxSize == 0 {
		p.MaxSize = DefaultMaxSize
	}
	if p.MaxSessions == 0 {
		p.MaxSessions = DefaultMaxSessions
	}
	if p.MaxRecipients == 0 {
		p.MaxRecipients = DefaultMaxRecipients
	}
	return nil
}

// confused tells why two peers could not be told apart; nil: they can.
func confused(p, q *Peer) error {
	if p.ID == q.ID {
		return errors.New("the ID is the same; give each its own")
	}
	overlap := slices.ContainsFunc(p.Addresses, func(a netip.Prefix) bool {
		return slices.ContainsFunc(q.Addresses, a.Overlaps)
	})
	switch {
	case !overlap:
		return nil
	case p.Username != "" && p.Username == q.Username:
		return errors.New("the Username is the same behind one address; give each its own")
	case p.RequireAuth && q.RequireAuth:
		return nil
	case len(p.Domains) == 0 && len(q.Domains) == 0:
		return errors.New("no Domains for both behind one address; set them, or RequireAuth for both")
	case slices.ContainsFunc(p.Domains, func(d string) bool { return slices.Contains(q.Domains, d) }):
		return errors.New("one of Domains is the same behind one address; give each its own, or set RequireAuth for both")
	}
	return nil
}

// At lists the peers that connect from an address.
func (d *Directory) At(a netip.Addr) []*Peer {
	if d == nil {
		return nil
	}
	var out []*Peer
	for _, p := range d.peers {
		if origin.In(a, p.Addresses) {
			out = append(out, p)
		}
	}
	return out
}

// sends reports whether the peer may send from a domain; empty is the null sender's.
func (p *Peer) sends(domain string) bool {
	return domain == "" || len(p.Domains) == 0 || slices.Contains(p.Domains, strings.ToLower(domain))
}

// byDomain finds the one peer that a domain belongs to: who names it, else who names
// none, else the only one there is, if it sends from it. Nil: it cannot be told.
func byDomain(peers []*Peer, domain string) *Peer {
	if len(peers) == 1 {
		if peers[0].sends(domain) {
			return peers[0]
		}
		return nil
	}
	for _, match := range []func(*Peer) bool{
		func(p *Peer) bool { return domain != "" && slices.Contains(p.Domains, strings.ToLower(domain)) },
		func(p *Peer) bool { return domain != "" && len(p.Domains) == 0 },
	} {
		var found []*Peer
		for _, p := range peers {
			if match(p) {
				found = append(found, p)
			}
		}
		if len(found) == 1 {
			return found[0]
		}
		if len(found) > 1 {
			return nil
		}
	}
	return nil
}
