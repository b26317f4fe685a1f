package rest

import (
	"bytes"
	"cmp"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// TokenLife is how long an access token is good for.
const TokenLife = 900 * time.Second

// clockSkew is how far the clocks of two replicas may lie apart.
const clockSkew = 5 * time.Second

// maxToken bounds what is looked at as a token; ours have some 500 octets.
const maxToken = 4096

// claims is what an access token says.
type claims struct {
	jwt.RegisteredClaims
	CredentialID string `json:"cid"`
	Scope        string `json:"scope"`
	Role         string `json:"role,omitempty"` // of staff
}

// grant is a verified token: what it was signed with, whose it is, what it may.
type grant struct {
	key        snapshot.SigningKey
	account    message.ID
	credential message.ID
	scopes     []string
	role       string // of staff; account is who, and credential the password's id
	expires    time.Time
}

// tokens signs and verifies access tokens with the keys of a snapshot.
// Verified ones are remembered, since an EdDSA signature costs more to check
// than all else an accepted message costs this package. Safe for concurrent
// use.
type tokens struct {
	issuer, audience string
	refusal          string // what is said of a token that is not valid

	mu     sync.Mutex
	recent map[[sha256.Size]byte]*grant // what was used since the last turn
	before map[[sha256.Size]byte]*grant // what was used in the turn before
}

// maxGrants is how many tokens one turn remembers: some 2 MB for both.
const maxGrants = 4096

var errNoSigningKey = errors.New("no signing key is in force")

// sign makes a token for c with the newest key that is in force.
func (t *tokens) sign(snap *snapshot.Snapshot, c *snapshot.Credential, scopes []string, now time.Time) (string, error) {
	return t.signed(snap, claims{
		RegisteredClaims: jwt.RegisteredClaims{Subject: c.AccountID.String()}, CredentialID: c.ID.String(), Scope: strings.Join(scopes, " "),
	}, now)
}

// signed fills in what every token says and signs it.
func (t *tokens) signed(snap *snapshot.Snapshot, c claims, now time.Time) (string, error) {
	key, ok := signingKey(snap, now)
	if !ok {
		return "", errNoSigningKey
	}
	c.RegisteredClaims = jwt.RegisteredClaims{
		Issuer: t.issuer, Audience: jwt.ClaimStrings{t.audience}, Subject: c.Subject,
		IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(TokenLife)),
		ID: message.NewID().String(),
	}
	token := jwt.NewWithClaims(jwt.GetSigningMethod(key.Algorithm), c)
	token.Header["kid"] = key.KID
	if key.Algorithm == jwt.SigningMethodHS256.Alg() {
		return token.SignedString(key.Secret)
	}
	return token.SignedString(ed25519.NewKeyFromSeed(key.Secret))
}

// signingKey is the newest key that signs now.
func signingKey(snap *snapshot.Snapshot, now time.Time) (snapshot.SigningKey, bool) {
	var best snapshot.SigningKey
	found := false
	for _, k := range snap.SigningKeys {
		if usable(k) && !k.SignsFrom.After(now) && (k.RetiredAt.IsZero() || k.RetiredAt.After(now)) &&
			(!found || k.SignsFrom.After(best.SignsFrom)) {
			best, found = k, true
		}
	}
	return best, found
}

// usable reports whether a key is one that we can sign and verify with.
func usable(k snapshot.SigningKey) bool {
	switch k.Algorithm {
	case jwt.SigningMethodEdDSA.Alg():
		return len(k.Secret) == ed25519.SeedSize
	case jwt.SigningMethodHS256.Alg():
		return len(k.Secret) >= sha256.Size // RFC 7518 §3.2
	}
	return false
}

// verifyingKey finds the key of a kid, until the last token that it may have
// signed has ended.
func verifyingKey(snap *snapshot.Snapshot, kid string, now time.Time) (snapshot.SigningKey, bool) {
	for _, k := range snap.SigningKeys {
		if k.KID == kid && usable(k) && (k.RetiredAt.IsZero() || now.Before(k.RetiredAt.Add(TokenLife+clockSkew))) {
			return k, true
		}
	}
	return snapshot.SigningKey{}, false
}

// KeyState says in a word what becomes of a key now: it waits, signs, is retired, which is
// when its tokens are still good, or has ended.
func KeyState(snap *snapshot.Snapshot, kid string, now time.Time) string {
	k, ok := verifyingKey(snap, kid, now)
	signs, _ := signingKey(snap, now)
	switch {
	case !ok:
		return "ended"
	case signs.KID == kid:
		return "signs"
	case k.SignsFrom.After(now):
		return "waits"
	}
	return "retired"
}

// known gives the grant of a token that was verified before and whose key is
// still in force, nil otherwise.
func (t *tokens) known(snap *snapshot.Snapshot, token string, now time.Time) *grant {
	sum := sha256.Sum256([]byte(token))
	t.mu.Lock()
	g := t.recent[sum]
	if g == nil {
		if g = t.before[sum]; g != nil {
			t.remember(sum, g)
		}
	}
	t.mu.Unlock()
	if g == nil || !now.Before(g.expires) {
		return nil
	}
	k, ok := verifyingKey(snap, g.key.KID, now)
	if !ok || k.Algorithm != g.key.Algorithm || !bytes.Equal(k.Secret, g.key.Secret) {
		return nil
	}
	return g
}

// remember keeps a grant. The caller holds the lock.
func (t *tokens) remember(sum [sha256.Size]byte, g *grant) {
	if t.recent == nil || len(t.recent) >= maxGrants {
		t.before, t.recent = t.recent, make(map[[sha256.Size]byte]*grant)
	}
	t.recent[sum] = g
}

// verify checks signature, issuer, audience and time of a token. Whether its
// credential still exists is for the caller.
func (t *tokens) verify(snap *snapshot.Snapshot, token string, now time.Time) (*grant, error) {
	if g := t.known(snap, token, now); g != nil {
		return g, nil
	}
	if len(token) > maxToken {
		return nil, jwt.ErrTokenMalformed
	}
	var c claims
	var key snapshot.SigningKey
	parser := jwt.NewParser(
		jwt.WithValidMethods([]string{jwt.SigningMethodEdDSA.Alg(), jwt.SigningMethodHS256.Alg()}),
		jwt.WithIssuer(t.issuer), jwt.WithAudience(t.audience), jwt.WithExpirationRequired(),
		jwt.WithTimeFunc(func() time.Time { return now }), jwt.WithLeeway(clockSkew), jwt.WithStrictDecoding(),
	)
	_, err := parser.ParseWithClaims(token, &c, func(parsed *jwt.Token) (any, error) {
		kid, _ := parsed.Header["kid"].(string)
		var ok bool
		// The key decides the algorithm, never the token: an EdDSA key's public
		// half must not serve as an HMAC key.
		if key, ok = verifyingKey(snap, kid, now); !ok || key.Algorithm != parsed.Method.Alg() {
			return nil, jwt.ErrTokenUnverifiable
		}
		if key.Algorithm == jwt.SigningMethodHS256.Alg() {
			return key.Secret, nil
		}
		return ed25519.NewKeyFromSeed(key.Secret).Public(), nil
	})
	if err != nil {
		return nil, err
	}
	g := &grant{key: key, scopes: strings.Fields(c.Scope), role: c.Role, expires: c.ExpiresAt.Time}
	if g.account, err = message.ParseID(c.Subject); err != nil {
		return nil, err
	}
	if g.credential, err = message.ParseID(c.CredentialID); err != nil {
		return nil, err
	}
	t.mu.Lock()
	t.remember(sha256.Sum256([]byte(token)), g)
	t.mu.Unlock()
	return g, nil
}

// jwk is a public key (RFC 8037 §2).
type jwk struct {
	KeyType   string `json:"kty"`
	Curve     string `json:"crv"`
	X         string `json:"x"`
	KeyID     string `json:"kid"`
	Algorithm string `json:"alg"`
	Use       string `json:"use"`
}

// jwks publishes the EdDSA keys: those in force, those that will sign later, so
// that verifiers know them in time, and those whose tokens still run.
func (s *Server) jwks(w http.ResponseWriter, r *http.Request) {
	set := struct {
		Keys []jwk `json:"keys"`
	}{Keys: []jwk{}}
	now := s.now()
	snap := cmp.Or(s.Snapshot(), &snapshot.Snapshot{})
	for _, k := range snap.SigningKeys {
		if _, ok := verifyingKey(snap, k.KID, now); !ok || k.Algorithm != jwt.SigningMethodEdDSA.Alg() {
			continue
		}
		public := ed25519.NewKeyFromSeed(k.Secret).Public().(ed25519.PublicKey)
		set.Keys = append(set.Keys, jwk{
			KeyType: "OKP", Curve: "Ed25519", X: base64.RawURLEncoding.EncodeToString(public),
			KeyID: k.KID, Algorithm: k.Algorithm, Use: "sig",
		})
	}
	w.Header().Set("Cache-Control", "public, max-age=300")
	writeJSON(w, r, http.StatusOK, "application/jwk-set+json", set)
}
