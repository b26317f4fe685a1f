package rest

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"net/http"
	"net/netip"
	"strings"
	"sync"

	"golang.org/x/crypto/bcrypt"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// AdmitESME lets in who has the password of an account's SMPP credential: customers of
// gateways whose HTTP interface has the same users as their SMPP. It may send and read. Its
// throughput is the rate of its messages here, beside the account's own.
func (d *Desk) AdmitESME(r *http.Request, systemID, password string) (*Guest, error) {
	s, x, now := d.s, exchangeOf(r.Context()), d.s.now()
	snap := s.Snapshot()
	if snap == nil {
		return nil, message.Because(message.ReasonUnavailable, errNoSnapshot, "the gateway is starting; repeat the request")
	}
	held := func() error { return s.holdBack(x, now) }
	if err := held(); err != nil {
		return nil, err
	}
	c := snap.SMPPCredentials[systemID]
	if c != nil && c.VendorID != (message.ID{}) {
		c = nil
	}
	ctx, cancel := d.Context(r)
	defer cancel()
	fits, err := d.esmes.check(ctx, s, snap, c, password, held)
	switch {
	case err != nil:
		return nil, err
	case !fits:
		s.failed(x, now)
		return nil, message.Refuse(message.ReasonUnauthenticated, "the credential is not valid")
	}
	account := snap.Accounts[c.AccountID]
	switch {
	case account == nil:
		return nil, message.Refuse(message.ReasonUnauthenticated, "the credential is not valid")
	case account.Status != snapshot.AccountActive:
		return nil, message.Refuse(message.ReasonAccountSuspended, "the account is %s", account.Status)
	case !c.Enabled, !c.Transmitter && !c.Transceiver:
		return nil, message.Refuse(message.ReasonForbidden, "the credential is disabled, or may receive only")
	case len(c.AllowedIPs) > 0 && !within(x.client, c.AllowedIPs):
		return nil, message.Refuse(message.ReasonForbidden, "the credential may not be used from this address")
	case c.RequireTLS && !s.overTLS(r):
		return nil, message.Refuse(message.ReasonForbidden, "the credential may not be used without TLS")
	}
	scopes := []string{scopeMessagesWrite, scopeMessagesRead, scopeUsageRead}
	x.caller = caller{account: account, scopes: scopes,
		credential: &snapshot.Credential{ID: c.ID, AccountID: c.AccountID, Name: c.SystemID, Scopes: scopes, RateLimit: c.Throughput}}
	return &Guest{s, x}, nil
}

// overTLS reports whether a trusted proxy says that the client's connection is encrypted: TLS
// ends there.
func (s *Server) overTLS(r *http.Request) bool {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	return r.TLS != nil || err == nil && within(peer.Addr().Unmap().WithZone(""), s.TrustedProxies) && strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https")
}

// esmePasswords checks passwords against bcrypt hashes, few at a time. One that was right is
// known again without bcrypt, which takes longer than a message may; what is kept is an HMAC
// under a key of this process over the hash too, so a changed password ends it. The zero
// value is ready.
type esmePasswords struct {
	once   sync.Once
	secret [32]byte
	mu     sync.Mutex
	known  map[[sha256.Size]byte]struct{}
}

// maxKnownPasswords bounds them; they are forgotten then, and computed once more.
const maxKnownPasswords = 4096

// check reports whether the password is the credential's, which is nil for a stranger: he
// waits as long.
func (p *esmePasswords) check(ctx context.Context, s *Server, snap *snapshot.Snapshot, c *snapshot.SMPPCredential, password string, held func() error) (bool, error) {
	hash := strangersHash(snap)
	if c != nil {
		hash = c.PasswordHash
	}
	key := p.key(c, hash, password)
	p.mu.Lock()
	_, known := p.known[key]
	p.mu.Unlock()
	if known {
		return true, nil
	}
	if err := s.turns.Take(ctx); err != nil {
		return false, err
	}
	defer s.turns.Give()
	if err := held(); err != nil { // others may have failed meanwhile
		return false, err
	}
	if bcrypt.CompareHashAndPassword([]byte(hash), []byte(password)) != nil || c == nil {
		return false, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.known == nil || len(p.known) >= maxKnownPasswords {
		p.known = make(map[[sha256.Size]byte]struct{})
	}
	p.known[key] = struct{}{}
	return true, nil
}

// strangersHash is a hash to spend time on: what it says is not looked at.
func strangersHash(snap *snapshot.Snapshot) string {
	for _, c := range snap.SMPPCredentials {
		return c.PasswordHash
	}
	return ""
}

func (p *esmePasswords) key(c *snapshot.SMPPCredential, hash, password string) [sha256.Size]byte {
	p.once.Do(func() { _, _ = rand.Read(p.secret[:]) }) // never fails: it ends the process before
	mac := hmac.New(sha256.New, p.secret[:])
	var id message.ID
	if c != nil {
		id = c.ID
	}
	for _, field := range [][]byte{id[:], []byte(hash), []byte(password)} {
		mac.Write(binary.BigEndian.AppendUint64(nil, uint64(len(field)))) // the length keeps them apart
		mac.Write(field)
	}
	return [sha256.Size]byte(mac.Sum(nil))
}
