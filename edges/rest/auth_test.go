package rest

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// token asks for one.
func (b *bundle) token(key string) string {
	b.t.Helper()
	r := b.do("POST", "/v1/auth/token", "", as(key))
	if r.StatusCode != 200 {
		b.t.Fatalf("token: %d %s", r.StatusCode, r.body)
	}
	return r.json(b.t)["access_token"].(string)
}

func TestTokenByEveryWay(t *testing.T) {
	b := setup(t, nil)
	form := header("Content-Type", formType)
	for name, r := range map[string]*reply{
		"basic":           b.do("POST", "/v1/auth/token", "", as("keyA")),
		"json":            b.do("POST", "/v1/auth/token", `{"api_key":"keyA","api_secret":"secretA"}`),
		"form":            b.do("POST", "/v1/auth/token", "grant_type=client_credentials&client_id=keyA&client_secret=secretA", form),
		"form and header": b.do("POST", "/v1/auth/token", "grant_type=client_credentials", form, as("keyA")),
		"json and header": b.do("POST", "/v1/auth/token", `{"scope":"messages:write messages:read"}`, as("keyA")),
	} {
		if r.StatusCode != 200 {
			t.Errorf("%s: %d %s", name, r.StatusCode, r.body)
			continue
		}
		document(t).check("post", "/v1/auth/token", r)
		got := r.json(t)
		if got["token_type"] != "Bearer" || got["expires_in"] != 900.0 || got["scope"] != "messages:write messages:read" {
			t.Errorf("%s: %s", name, r.body)
		}
		if r.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: Cache-Control %q", name, r.Header.Get("Cache-Control"))
		}
		if r := b.do("GET", "/v1/messages", "", bearer(got["access_token"].(string))); r.StatusCode != 200 {
			t.Errorf("%s: the token gets %d %s", name, r.StatusCode, r.body)
		}
	}
}

func TestTokenSaysWhatItShould(t *testing.T) {
	b := setup(t, nil)
	var c claims
	parsed, _, err := jwt.NewParser().ParseUnverified(b.token("keyA"), &c)
	if err != nil {
		t.Fatal(err)
	}
	if parsed.Header["kid"] != "one" || parsed.Header["alg"] != "EdDSA" || c.Issuer != DefaultIssuer || c.Audience[0] != DefaultIssuer ||
		c.Subject != accountA.String() || c.CredentialID != credentialA.String() || c.Scope != "messages:write messages:read" ||
		!c.IssuedAt.Equal(began.Truncate(time.Second)) || c.ExpiresAt.Sub(c.IssuedAt.Time) != TokenLife || c.ID == "" {
		t.Errorf("%v %+v", parsed.Header, c)
	}
}

func TestTokenRefusals(t *testing.T) {
	b := setup(t, nil)
	form := header("Content-Type", formType)
	none := func(*http.Request) {}
	for _, c := range []struct {
		name   string
		body   string
		with   func(*http.Request)
		status int
		code   message.Reason
		oauth  string
	}{
		{"nothing", "", none, 400, message.ReasonInvalidRequest, "invalid_request"},
		{"unknown key", "", as("keyX"), 401, message.ReasonUnauthenticated, "invalid_client"},
		{"wrong secret", `{"api_key":"keyA","api_secret":"secretB"}`, none, 401, message.ReasonUnauthenticated, "invalid_client"},
		{"no secret", `{"api_key":"keyA"}`, none, 400, message.ReasonInvalidRequest, "invalid_request"},
		{"no JSON", `{"api_key"`, none, 400, message.ReasonInvalidRequest, "invalid_request"},
		{"unknown field", `{"api_key":"keyA","api_secret":"secretA","x":1}`, none, 400, message.ReasonInvalidRequest, "invalid_request"},
		{"twice", `{"api_key":"keyA","api_secret":"secretA"}`, as("keyA"), 400, message.ReasonInvalidRequest, "invalid_request"},
		{"bearer", "", bearer("x"), 400, message.ReasonInvalidRequest, "invalid_request"},
		{"more than the key has", `{"api_key":"keyRO","api_secret":"secretRO","scope":"messages:write"}`, none, 400, message.ReasonInvalidRequest, "invalid_scope"},
		{"no grant", "client_id=keyA&client_secret=secretA", form, 400, message.ReasonInvalidRequest, "invalid_request"},
		{"other grant", "grant_type=password&client_id=keyA&client_secret=secretA", form, 400, message.ReasonInvalidRequest, "unsupported_grant_type"},
		{"form field twice", "grant_type=client_credentials&client_id=keyA&client_id=keyB&client_secret=secretA", form, 400, message.ReasonInvalidRequest, "invalid_request"},
		{"bad form", "grant_type=%zz", form, 400, message.ReasonInvalidRequest, "invalid_request"},
		{"wrong secret in a form", "grant_type=client_credentials&client_id=keyA&client_secret=x", form, 401, message.ReasonUnauthenticated, "invalid_client"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := b.do("POST", "/v1/auth/token", c.body, c.with)
			p := wantProblem(t, r, c.status, c.code)
			if p["error"] != c.oauth {
				t.Errorf("error is %v, want %s", p["error"], c.oauth)
			}
			document(t).check("post", "/v1/auth/token", r)
			if strings.Contains(string(r.body), "secretA") {
				t.Error("the answer repeats a secret")
			}
			if c.status == 401 && len(r.Header.Values("WWW-Authenticate")) == 0 {
				t.Error("no WWW-Authenticate")
			}
		})
	}
	wantProblem(t, b.do("POST", "/v1/auth/token", "<x/>", header("Content-Type", "text/xml")), 415, message.ReasonInvalidRequest)
}

func TestTokenNarrowsScopes(t *testing.T) {
	b := setup(t, nil)
	r := b.do("POST", "/v1/auth/token", `{"api_key":"keyA","api_secret":"secretA","scope":"messages:read"}`)
	token := r.json(t)["access_token"].(string)
	if r := b.do("GET", "/v1/messages", "", bearer(token)); r.StatusCode != 200 {
		t.Errorf("read: %d", r.StatusCode)
	}
	p := wantProblem(t, b.do("POST", "/v1/messages", parcel, bearer(token)), 403, message.ReasonForbidden)
	if !strings.Contains(p["detail"].(string), scopeMessagesWrite) {
		t.Errorf("detail %v does not name the scope", p["detail"])
	}
}

// An unknown key costs as much work, and gets the same answer, as a wrong
// secret.
func TestUnknownKeyAndWrongSecretLookAlike(t *testing.T) {
	b := setup(t, nil)
	answers := map[string]string{}
	checks := map[string]int{}
	for name, auth := range map[string][2]string{"unknown": {"keyX", "x"}, "wrong": {"keyA", "x"}, "other's": {"keyA", "secretB"}, "empty": {"keyA", ""}} {
		before := b.secrets.count()
		r := b.do("GET", "/v1/messages", "", func(r *http.Request) { r.SetBasicAuth(auth[0], auth[1]) })
		p := wantProblem(t, r, 401, message.ReasonUnauthenticated)
		delete(p, "request_id")
		answers[fmt.Sprint(p)] = name
		checks[name] = b.secrets.count() - before
	}
	if len(answers) != 1 {
		t.Errorf("answers differ: %v", answers)
	}
	for name, n := range checks {
		if n != 2 {
			t.Errorf("%s: %d secrets were checked, want 2", name, n)
		}
	}
}

func TestPreviousSecretDuringOverlap(t *testing.T) {
	b := setup(t, nil)
	b.reconfigure(func(s *snapshot.Snapshot) {
		c := *s.Credentials["keyA"]
		c.PreviousSecretHash, c.SecretHash, c.PreviousUntil = c.SecretHash, []byte("hash of new"), began.Add(time.Minute)
		s.Credentials["keyA"] = &c
	})
	fresh := func(r *http.Request) { r.SetBasicAuth("keyA", "new") }
	for _, with := range []func(*http.Request){fresh, as("keyA")} {
		if r := b.do("GET", "/v1/messages", "", with); r.StatusCode != 200 {
			t.Errorf("during the overlap: %d", r.StatusCode)
		}
	}
	b.clock.advance(time.Minute)
	if r := b.do("GET", "/v1/messages", "", fresh); r.StatusCode != 200 {
		t.Errorf("the new secret: %d", r.StatusCode)
	}
	wantProblem(t, b.do("GET", "/v1/messages", "", as("keyA")), 401, message.ReasonUnauthenticated)
}

// Every scoped operation, with everything that can be wrong with a credential,
// by password and by token.
func TestAuthMatrix(t *testing.T) {
	operations := []struct{ method, path, body, scope string }{
		{"POST", "/v1/messages", parcel, scopeMessagesWrite},
		{"GET", "/v1/messages", "", scopeMessagesRead},
		{"GET", "/v1/messages/" + message.NewID().String(), "", scopeMessagesRead},
		{"GET", "/v1/messages/" + message.NewID().String() + "/events", "", scopeMessagesRead},
	}
	alter := func(f func(*snapshot.Snapshot, *snapshot.Credential, *snapshot.Account)) func(*snapshot.Snapshot) {
		return func(s *snapshot.Snapshot) {
			c, a := *s.Credentials["keyA"], *s.Accounts[accountA]
			s.Credentials["keyA"], s.Accounts[accountA] = &c, &a
			f(s, &c, &a)
		}
	}
	states := []struct {
		name   string
		change func(*snapshot.Snapshot)
		status int
		code   message.Reason
	}{
		{"revoked", alter(func(s *snapshot.Snapshot, _ *snapshot.Credential, _ *snapshot.Account) { delete(s.Credentials, "keyA") }), 401, message.ReasonUnauthenticated},
		{"of another account", alter(func(_ *snapshot.Snapshot, c *snapshot.Credential, _ *snapshot.Account) { c.AccountID = message.NewID() }), 401, message.ReasonUnauthenticated},
		{"expired", alter(func(_ *snapshot.Snapshot, c *snapshot.Credential, _ *snapshot.Account) { c.ExpiresAt = began }), 401, message.ReasonUnauthenticated},
		{"from elsewhere", alter(func(_ *snapshot.Snapshot, c *snapshot.Credential, _ *snapshot.Account) {
			c.AllowedIPs = prefixes("192.0.2.0/24")
		}), 403, message.ReasonForbidden},
		{"suspended", alter(func(_ *snapshot.Snapshot, _ *snapshot.Credential, a *snapshot.Account) {
			a.Status = snapshot.AccountSuspended
		}), 403, message.ReasonAccountSuspended},
		{"closed", alter(func(_ *snapshot.Snapshot, _ *snapshot.Credential, a *snapshot.Account) {
			a.Status = snapshot.AccountClosed
		}), 403, message.ReasonAccountSuspended},
		{"without scopes", alter(func(_ *snapshot.Snapshot, c *snapshot.Credential, _ *snapshot.Account) { c.Scopes = nil }), 403, message.ReasonForbidden},
	}
	for _, state := range states {
		t.Run(state.name, func(t *testing.T) {
			b := setup(t, nil)
			both := []func(*http.Request){as("keyA"), bearer(b.token("keyA"))}
			for _, op := range operations {
				for _, with := range both {
					if r := b.do(op.method, op.path, op.body, with); r.StatusCode != 200 && r.StatusCode != 202 && r.StatusCode != 404 {
						t.Fatalf("before: %d %s", r.StatusCode, r.body)
					}
				}
			}
			calls, _ := b.ingress.count()
			b.reconfigure(state.change)
			for _, op := range operations {
				for _, with := range both {
					r := b.do(op.method, op.path, op.body, with)
					wantProblem(t, r, state.status, state.code)
					if r.Header.Get("X-Ratelimit-Limit") == "" {
						t.Errorf("%s %s: no x-ratelimit-limit", op.method, op.path)
					}
				}
			}
			if after, _ := b.ingress.count(); after != calls {
				t.Error("ingress was called")
			}
		})
	}
	for _, op := range operations {
		b := setup(t, nil)
		wrong := map[string]func(*http.Request){
			"nothing": func(*http.Request) {}, "digest": header("Authorization", `Digest username="keyA"`), "empty bearer": bearer(""),
			"bad basic": header("Authorization", "Basic !"), "no token": bearer("abc"), "secret as a token": bearer("secretA"),
		}
		for name, with := range wrong {
			r := b.do(op.method, op.path, op.body, with)
			wantProblem(t, r, 401, message.ReasonUnauthenticated)
			if got := r.Header.Values("WWW-Authenticate"); len(got) != 2 {
				t.Errorf("%s: WWW-Authenticate %v", name, got)
			}
		}
		missing := "keyRO"
		if op.scope == scopeMessagesWrite {
			p := wantProblem(t, b.do(op.method, op.path, op.body, as(missing)), 403, message.ReasonForbidden)
			if !strings.Contains(p["detail"].(string), op.scope) {
				t.Errorf("detail %v", p["detail"])
			}
		}
	}
}

// forge signs claims that we would not make.
func forge(t *testing.T, method jwt.SigningMethod, key any, kid any, change func(*claims)) string {
	t.Helper()
	c := claims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: DefaultIssuer, Audience: jwt.ClaimStrings{DefaultIssuer}, Subject: accountA.String(),
			IssuedAt: jwt.NewNumericDate(began), ExpiresAt: jwt.NewNumericDate(began.Add(TokenLife)), ID: "x",
		},
		CredentialID: credentialA.String(), Scope: "messages:read",
	}
	if change != nil {
		change(&c)
	}
	token := jwt.NewWithClaims(method, c)
	if kid != nil {
		token.Header["kid"] = kid
	}
	s, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestForgedTokens(t *testing.T) {
	b := setup(t, func(b *bundle) {
		b.server.FailedPerMinute = 1000
		b.config.SigningKeys = append(b.config.SigningKeys,
			snapshot.SigningKey{KID: "hmac", Algorithm: "HS256", Secret: keyHMAC, SignsFrom: began.Add(-2 * time.Hour)},
			snapshot.SigningKey{KID: "short", Algorithm: "HS256", Secret: []byte("x"), SignsFrom: began.Add(-2 * time.Hour)})
	})
	private := ed25519.NewKeyFromSeed(keyOneSeed)
	public := private.Public().(ed25519.PublicKey)
	if r := b.do("GET", "/v1/messages", "", bearer(forge(t, jwt.SigningMethodEdDSA, private, "one", nil))); r.StatusCode != 200 {
		t.Fatalf("the honest one: %d %s", r.StatusCode, r.body)
	}
	if r := b.do("GET", "/v1/messages", "", bearer(forge(t, jwt.SigningMethodHS256, keyHMAC, "hmac", nil))); r.StatusCode != 200 {
		t.Fatalf("the honest HMAC one: %d %s", r.StatusCode, r.body)
	}
	honest := forge(t, jwt.SigningMethodEdDSA, private, "one", nil)
	parts := strings.Split(honest, ".")
	body := func(f func(*claims)) string { return forge(t, jwt.SigningMethodEdDSA, private, "one", f) }
	for name, token := range map[string]string{
		"the public key as an HMAC key":  forge(t, jwt.SigningMethodHS256, []byte(public), "one", nil),
		"the seed as an HMAC key":        forge(t, jwt.SigningMethodHS256, keyOneSeed, "one", nil),
		"another algorithm of the kind":  forge(t, jwt.SigningMethodHS512, keyHMAC, "hmac", nil),
		"none":                           forge(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, "one", nil),
		"another key":                    forge(t, jwt.SigningMethodEdDSA, ed25519.NewKeyFromSeed(keyTwoSeed), "one", nil),
		"an unknown kid":                 forge(t, jwt.SigningMethodEdDSA, private, "two", nil),
		"no kid":                         forge(t, jwt.SigningMethodEdDSA, private, nil, nil),
		"a kid that is a number":         forge(t, jwt.SigningMethodEdDSA, private, 1, nil),
		"a key too short to sign":        forge(t, jwt.SigningMethodHS256, []byte("x"), "short", nil),
		"another issuer":                 body(func(c *claims) { c.Issuer = "x" }),
		"another audience":               body(func(c *claims) { c.Audience = jwt.ClaimStrings{"x"} }),
		"expired":                        body(func(c *claims) { c.ExpiresAt = jwt.NewNumericDate(began.Add(-time.Minute)) }),
		"without an end":                 body(func(c *claims) { c.ExpiresAt = nil }),
		"not yet valid":                  body(func(c *claims) { c.NotBefore = jwt.NewNumericDate(began.Add(time.Hour)) }),
		"no subject":                     body(func(c *claims) { c.Subject = "" }),
		"no credential":                  body(func(c *claims) { c.CredentialID = "" }),
		"credential of another account":  body(func(c *claims) { c.CredentialID = credentialB.String() }),
		"a changed body":                 parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(`{}`)) + "." + parts[2],
		"no signature":                   parts[0] + "." + parts[1] + ".",
		"a cut signature":                honest[:len(honest)-4],
		"more than any of ours":          honest + strings.Repeat("x", maxToken),
		"two parts":                      parts[0] + "." + parts[1],
		"a body that is not base64":      parts[0] + ".!!." + parts[2],
		"an encryption instead":          "a.b.c.d.e",
		"padding that decodes all alike": honest + "=",
	} {
		if r := b.do("GET", "/v1/messages", "", bearer(token)); r.StatusCode != 401 {
			t.Errorf("%s: %d %s", name, r.StatusCode, r.body)
		}
	}
}

func TestTokenEnds(t *testing.T) {
	b := setup(t, nil)
	token := b.token("keyA")
	for _, c := range []struct {
		after  time.Duration
		status int
	}{{0, 200}, {TokenLife - time.Second, 200}, {2*clockSkew + time.Second, 401}} {
		b.clock.advance(c.after)
		if r := b.do("GET", "/v1/messages", "", bearer(token)); r.StatusCode != c.status {
			t.Errorf("%s later: %d, want %d", c.after, r.StatusCode, c.status)
		}
	}
}

func TestSigningKeyRotation(t *testing.T) {
	b := setup(t, nil)
	kid := func() any {
		parsed, _, err := jwt.NewParser().ParseUnverified(b.token("keyA"), &claims{})
		if err != nil {
			t.Fatal(err)
		}
		return parsed.Header["kid"]
	}
	published := func() string {
		var set struct{ Keys []jwk }
		r := b.do("GET", "/.well-known/jwks.json", "")
		if err := json.Unmarshal(r.body, &set); err != nil || r.Header.Get("Content-Type") != "application/jwk-set+json" {
			t.Fatalf("%v %s", err, r.body)
		}
		var kids []string
		for _, k := range set.Keys {
			if k.KeyType != "OKP" || k.Curve != "Ed25519" || k.Algorithm != "EdDSA" || len(k.X) != 43 {
				t.Errorf("key %+v", k)
			}
			kids = append(kids, k.KeyID)
		}
		return strings.Join(kids, " ")
	}
	old := b.token("keyA")
	retired := time.Time{}
	rotate := func(s *snapshot.Snapshot) {
		s.SigningKeys = []snapshot.SigningKey{
			{KID: "two", Algorithm: "EdDSA", Secret: keyTwoSeed, SignsFrom: began.Add(TokenLife)},
			{KID: "hmac", Algorithm: "HS256", Secret: keyHMAC, SignsFrom: began.Add(-2 * time.Hour)},
			{KID: "one", Algorithm: "EdDSA", Secret: keyOneSeed, SignsFrom: began.Add(-time.Hour), RetiredAt: retired},
		}
	}
	b.reconfigure(rotate)
	if kid() != "one" || published() != "two one" {
		t.Errorf("before it signs: signed by %v, published %s", kid(), published())
	}
	b.clock.advance(TokenLife - time.Minute)
	b.clock.advance(time.Minute)
	if kid() != "two" {
		t.Errorf("signed by %v, want two", kid())
	}
	retired = b.clock.now()
	b.reconfigure(rotate)
	if published() != "two one" {
		t.Errorf("just retired: published %s", published())
	}
	b.clock.advance(TokenLife + clockSkew)
	if published() != "two" {
		t.Errorf("after its last token: published %s", published())
	}
	wantProblem(t, b.do("GET", "/v1/messages", "", bearer(old)), 401, message.ReasonUnauthenticated)
}

// A verified token is remembered, but not beyond its key.
func TestRememberedTokenEndsWithItsKey(t *testing.T) {
	b := setup(t, nil)
	token := bearer(b.token("keyA"))
	for range 2 {
		if r := b.do("GET", "/v1/messages", "", token); r.StatusCode != 200 {
			t.Fatalf("%d %s", r.StatusCode, r.body)
		}
	}
	b.reconfigure(func(s *snapshot.Snapshot) { s.SigningKeys[0].Secret = keyTwoSeed })
	wantProblem(t, b.do("GET", "/v1/messages", "", token), 401, message.ReasonUnauthenticated)
	b.reconfigure(func(s *snapshot.Snapshot) { s.SigningKeys = nil })
	wantProblem(t, b.do("GET", "/v1/messages", "", token), 401, message.ReasonUnauthenticated)
	p := wantProblem(t, b.do("POST", "/v1/auth/token", "", as("keyA")), 503, message.ReasonUnavailable)
	if p["error"] != oauthUnavailable {
		t.Errorf("%v", p)
	}
}

func TestRememberedTokensAreBounded(t *testing.T) {
	var k tokens
	for i := range 3 * maxGrants {
		k.remember([32]byte{byte(i), byte(i >> 8), byte(i >> 16)}, &grant{})
	}
	if n := len(k.recent) + len(k.before); n > 2*maxGrants {
		t.Errorf("%d tokens are remembered", n)
	}
}

func TestScopesThatTheCredentialHasLost(t *testing.T) {
	for _, c := range []struct{ token, credential, want string }{
		{"a b", "a b c", "a b"}, {"a b", "b", "b"}, {"a b c", "a c", "a c"}, {"a", "", ""}, {"", "a", ""},
	} {
		if got := strings.Join(common(strings.Fields(c.token), strings.Fields(c.credential)), " "); got != c.want {
			t.Errorf("%q of %q is %q, want %q", c.token, c.credential, got, c.want)
		}
	}
}

func TestClientAddress(t *testing.T) {
	s := &Server{TrustedProxies: prefixes("10.0.0.0/8", "fd00::/8")}
	for _, c := range []struct {
		peer, forwarded, want string
	}{
		{"192.0.2.1:1", "198.51.100.7", "192.0.2.1"}, // not a proxy: not believed
		{"10.0.0.1:1", "", "10.0.0.1"},
		{"10.0.0.1:1", "198.51.100.7", "198.51.100.7"},
		{"10.0.0.1:1", "6.6.6.6, 198.51.100.7, 10.2.3.4", "198.51.100.7"},
		{"10.0.0.1:1", "198.51.100.7, junk, 10.2.3.4", "10.2.3.4"},
		{"10.0.0.1:1", "10.9.9.9", "10.9.9.9"},
		{"[::ffff:10.0.0.1]:1", "2001:db8::1", "2001:db8::1"},
		{"[fd00::1]:1", "::ffff:198.51.100.7", "198.51.100.7"},
	} {
		r := &http.Request{RemoteAddr: c.peer, Header: http.Header{}}
		if c.forwarded != "" {
			r.Header.Set("X-Forwarded-For", c.forwarded)
		}
		if got := s.clientAddr(r).String(); got != c.want {
			t.Errorf("%s for %q: %s, want %s", c.peer, c.forwarded, got, c.want)
		}
	}
}

func TestAllowedAddressBehindAProxy(t *testing.T) {
	b := setup(t, func(b *bundle) { b.server.TrustedProxies = prefixes("127.0.0.0/8") })
	b.reconfigure(func(s *snapshot.Snapshot) {
		c := *s.Credentials["keyA"]
		c.AllowedIPs = prefixes("198.51.100.0/24")
		s.Credentials["keyA"] = &c
	})
	if r := b.do("GET", "/v1/messages", "", as("keyA"), header("X-Forwarded-For", "198.51.100.7")); r.StatusCode != 200 {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	wantProblem(t, b.do("GET", "/v1/messages", "", as("keyA"), header("X-Forwarded-For", "198.51.100.7, 203.0.113.9")), 403, message.ReasonForbidden)
}

func TestSecretsStayOutOfTheLog(t *testing.T) {
	b := setup(t, nil)
	token := b.token("keyA")
	b.do("GET", "/v1/messages", "", bearer(token))
	b.do("GET", "/v1/messages", "", bearer(token+"x"))
	b.do("GET", "/v1/messages?to="+url.QueryEscape("+13105550117"), "", as("keyA"))
	b.do("POST", "/v1/messages", parcel, as("keyA"))
	b.do("POST", "/v1/messages", `{"body":"Your parcel is on its way`, as("keyA"))
	log := b.log.String()
	for _, word := range []string{"secretA", token, "3105550117", "parcel", "Authorization"} {
		if strings.Contains(log, word) {
			t.Errorf("the log holds %q", word)
		}
	}
	if !strings.Contains(log, "operation=sendMessage status=202") || !strings.Contains(log, accountA.String()) {
		t.Errorf("the log lacks the requests:\n%s", log)
	}
}
