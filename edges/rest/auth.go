package rest

import (
	"strings"
	"time"

	"github.com/postrider/postrider/internal/limit"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// Secrets compares the secret of a request with a stored hash, in constant
// time. A hash that it cannot read fits nothing.
type Secrets interface {
	CheckSecret(secret string, hash []byte) bool
}

// caller is who makes a request. The zero caller is nobody.
type caller struct {
	account    *snapshot.Account
	credential *snapshot.Credential
	scopes     []string
	user       string // the e-mail address of a user of the portal, who has no credential

	// Of the internal API one of these is set, and no credential; account is the one for
	// which staff use an operation of the customers.
	staff   *snapshot.Staff
	service *snapshot.ServiceCredential
}

func (c *caller) may(scope string) bool { return contains(c.scopes, scope) }

// errCredential is the one answer to every wrong credential: an unknown key and
// a wrong secret look alike.
var errCredential = message.Refuse(message.ReasonUnauthenticated,
	"the credential is not valid; send a bearer token from POST /v1/auth/token, or API key and secret by HTTP Basic")

// usedEvery is how often CredentialUsed is called for one credential.
const usedEvery = time.Minute

// authenticate finds out who makes the request.
func (s *Server) authenticate(x *exchange, now time.Time) (caller, error) {
	if s.Snapshot() == nil {
		return caller{}, message.Because(message.ReasonUnavailable, errNoSnapshot, "the gateway is starting; repeat the request")
	}
	if v, ok := x.visitor(); ok {
		return s.userVisit(x, v, now)
	}
	scheme, rest, _ := strings.Cut(x.request.Header.Get("Authorization"), " ")
	switch {
	case strings.EqualFold(scheme, "Bearer"):
		return s.bearer(x, strings.TrimSpace(rest), now)
	case strings.EqualFold(scheme, "Basic"):
		key, secret, ok := x.request.BasicAuth()
		if !ok {
			return caller{}, errCredential
		}
		return s.password(x, key, secret, now)
	case scheme == "":
		return caller{}, message.Refuse(message.ReasonUnauthenticated,
			"no Authorization header; send a bearer token from POST /v1/auth/token, or API key and secret by HTTP Basic")
	}
	return caller{}, message.Refuse(message.ReasonUnauthenticated, "the Authorization header must be Bearer or Basic")
}

// bearer takes an access token. Its account and credential are looked up in the
// snapshot each time, so that revoking them ends the token.
func (s *Server) bearer(x *exchange, token string, now time.Time) (caller, error) {
	snap := s.Snapshot()
	g, err := s.granted(x, &s.tokens, token, now)
	if err != nil {
		return caller{}, err
	}
	c := snap.CredentialByID(g.credential)
	if c == nil || c.AccountID != g.account {
		return caller{}, message.Refuse(message.ReasonUnauthenticated, "the credential of this access token has been revoked")
	}
	who, err := s.admit(x, snap, c, now)
	if err != nil {
		return caller{}, err
	}
	who.scopes = common(g.scopes, c.Scopes)
	return who, nil
}

// granted verifies an access token of one of the two APIs.
func (s *Server) granted(x *exchange, of *tokens, token string, now time.Time) (*grant, error) {
	snap := s.Snapshot()
	if g := of.known(snap, token, now); g != nil {
		return g, nil
	}
	// Only tokens that were not seen before are held back, so that someone who
	// guesses cannot lock out those who share the address.
	if err := s.holdBack(x, now); err != nil {
		return nil, err
	}
	g, err := of.verify(snap, token, now)
	if err != nil {
		s.failed(x, now)
		return nil, message.Because(message.ReasonUnauthenticated, err, "%s", of.refusal)
	}
	return g, nil
}

// common keeps the scopes of a token that its credential still has.
func common(token, credential []string) []string {
	for i, s := range token {
		if contains(credential, s) {
			continue
		}
		kept := append([]string(nil), token[:i]...)
		for _, s := range token[i+1:] {
			if contains(credential, s) {
				kept = append(kept, s)
			}
		}
		return kept
	}
	return token
}

// password takes key and secret.
func (s *Server) password(x *exchange, key, secret string, now time.Time) (caller, error) {
	if err := s.holdBack(x, now); err != nil {
		return caller{}, err
	}
	snap := s.Snapshot()
	c := snap.Credentials[key]
	if !s.checkSecret(snap, c, secret, now) {
		s.failed(x, now)
		return caller{}, errCredential
	}
	who, err := s.admit(x, snap, c, now)
	who.scopes = c.Scopes
	return who, err
}

// checkSecret compares twice whatever it is given, the current and the previous
// hash: neither an unknown key nor a rotation under way shows in the time.
func (s *Server) checkSecret(snap *snapshot.Snapshot, c *snapshot.Credential, secret string, now time.Time) bool {
	var current, previous []byte
	if c != nil {
		current, previous = c.SecretHash, c.PreviousSecretHash
	}
	known := len(current) > 0
	overlap := len(previous) > 0 && now.Before(c.PreviousUntil)
	if !known {
		current = anyHash(snap)
	}
	if !overlap {
		previous = anyHash(snap)
	}
	fitsCurrent := s.Secrets.CheckSecret(secret, current)
	fitsPrevious := s.Secrets.CheckSecret(secret, previous)
	return known && fitsCurrent || overlap && fitsPrevious
}

// anyHash is a hash to spend time on. What it says is not looked at.
func anyHash(snap *snapshot.Snapshot) []byte {
	for _, c := range snap.Credentials {
		return c.SecretHash
	}
	return nil
}

// admit checks what holds for a credential that was proved: expiry, account,
// address.
func (s *Server) admit(x *exchange, snap *snapshot.Snapshot, c *snapshot.Credential, now time.Time) (caller, error) {
	account := snap.Accounts[c.AccountID]
	switch {
	case account == nil:
		return caller{}, errCredential
	case !c.ExpiresAt.IsZero() && !now.Before(c.ExpiresAt):
		return caller{}, message.Refuse(message.ReasonUnauthenticated, "the credential has expired")
	case len(c.AllowedIPs) > 0 && !within(x.client, c.AllowedIPs):
		return caller{}, message.Refuse(message.ReasonForbidden, "the credential may not be used from this address")
	case account.Status != snapshot.AccountActive:
		return caller{}, message.Refuse(message.ReasonAccountSuspended, "the account is %s", account.Status)
	}
	if s.CredentialUsed != nil && s.recent.Take("used "+c.ID.String(), 1, usedEvery, now).OK {
		s.CredentialUsed(c.ID)
	}
	return caller{account: account, credential: c}, nil
}

// holdBack refuses an address that has failed too often, before anything is
// computed for it.
func (s *Server) holdBack(x *exchange, now time.Time) error {
	r, held := limit.FailedFrom(x.client, s.failedPerMinute()).Held(s.Limiter, now)
	if !held {
		return nil
	}
	return &limited{message.Refuse(message.ReasonRateLimitExceeded,
		"too many failed authentications from this address; wait, then check key and secret"), r.Reset}
}

// failed counts a wrong credential against the address.
func (s *Server) failed(x *exchange, now time.Time) {
	limit.FailedFrom(x.client, s.failedPerMinute()).Count(s.Limiter, now)
}

// limited is a refusal that knows when to come back.
type limited struct {
	refusal *message.Error
	wait    time.Duration
}

func (l *limited) Error() string { return l.refusal.Error() }

// Unwrap gives the refusal itself.
func (l *limited) Unwrap() error { return l.refusal }

// RetryAfter is when to come back.
func (l *limited) RetryAfter() time.Duration { return max(l.wait, time.Millisecond) }
