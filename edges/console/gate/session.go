package gate

import (
	"crypto/hmac"
	"encoding/base64"
	"encoding/hex"
	"mime"
	"net/http"
	"net/url"
	"path"
	"strings"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/secret"
)

// The uses of the keyed hashes: each text that is hashed begins with one, so that none of
// one use is one of another.
const (
	ofSession  = "session "
	ofForm     = "form " // of somebody who is signed in, by session
	ofPre      = "form before the sign-in "
	ofRecovery = "recovery "
)

// The largest bodies of forms. A form with a file has as much as a batch may have, and
// what multipart adds.
const (
	maxForm   = 1 << 20
	maxUpload = 11 << 20
)

// The names of CSRF tokens.
const (
	csrfField  = "csrf"
	csrfHeader = "X-CSRF-Token"
)

// newToken makes what a cookie or a link carries: 256 random bits in 43 characters of
// URL-safe base64.
func newToken() string {
	return strings.TrimPrefix(secret.NewAPISecret().Reveal(), secret.APISecretPrefix)
}

// isToken reports whether s can be one of newToken.
func isToken(s string) bool {
	b, err := base64.RawURLEncoding.DecodeString(s)
	return err == nil && len(b) == 32
}

// cookieName is of the session, or with an ending of another cookie. The prefix makes
// browsers refuse one that did not come over TLS (RFC 6265bis §4.1.3.1).
func (g *Gate) cookieName(ending string) string {
	name := "postrider_" + string(g.Door) + ending
	if g.secure {
		name = "__Secure-" + name
	}
	return name
}

// preEnding names the cookie that forms before the sign-in belong to.
const preEnding = "_form"

// setCookie lasts until the browser is closed; an empty value takes it away. Lax lets
// links in e-mails lead to pages.
func (v *visit) setCookie(ending, value string) {
	c := &http.Cookie{Name: v.gate.cookieName(ending), Value: value, Path: v.gate.prefix(), HttpOnly: true, Secure: v.gate.secure, SameSite: http.SameSiteLaxMode}
	if value == "" {
		c.MaxAge = -1
	}
	http.SetCookie(v.w, c)
}

func (v *visit) cookie(ending string) string {
	c, err := v.r.Cookie(v.gate.cookieName(ending))
	if err != nil || !isToken(c.Value) {
		return ""
	}
	return c.Value
}

// load reads the session of the request, if it has one.
func (v *visit) load() error {
	v.pre = v.cookie(preEnding)
	token := v.cookie("")
	if token == "" {
		return nil
	}
	next := newToken()
	s, rotated, err := v.gate.Store.WebSession(v.ctx, v.gate.Door, v.gate.hasher.Hashes(ofSession+token), v.gate.hasher.HashSecret(ofSession+next))
	if err != nil && message.ReasonOf(err) == message.ReasonUnauthenticated {
		v.setCookie("", "")
		return nil
	}
	if err != nil {
		return err
	}
	if rotated {
		v.setCookie("", next)
	}
	v.session, v.in = s, true
	return nil
}

// csrf is the token of the forms that are shown now.
func (v *visit) csrf() string {
	text := ofForm + v.session.ID.String()
	if !v.in {
		text = ofPre + v.pre
	}
	return hex.EncodeToString(v.gate.hasher.MACs(text)[0].Sum)
}

// formCSRF is csrf for a page before the sign-in, which needs a cookie.
func (v *visit) formCSRF() string {
	if !v.in && v.pre == "" {
		v.pre = newToken()
		v.setCookie(preEnding, v.pre)
	}
	return v.csrf()
}

// checkForm reads the body of whatever is no GET or HEAD, and refuses it unless it comes
// from a page of ours that was shown in this browser. A form with a file may be larger.
func (v *visit) checkForm(most int64) error {
	switch v.r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return nil
	}
	given := v.r.Header.Get(csrfHeader)
	kind, _, _ := mime.ParseMediaType(v.r.Header.Get("Content-Type"))
	switch kind {
	case "application/x-www-form-urlencoded":
		v.r.Body = http.MaxBytesReader(v.w, v.r.Body, most)
		if err := v.r.ParseForm(); err != nil {
			return errForm
		}
	case "multipart/form-data":
		if !v.in || v.session.Waiting {
			return errForm // strangers fill no disk
		}
		v.r.Body = http.MaxBytesReader(v.w, v.r.Body, maxUpload)
		if err := v.r.ParseMultipartForm(maxForm); err != nil { // the rest of it lies in files meanwhile
			return errForm
		}
	}
	if given == "" {
		given = v.r.PostForm.Get(csrfField)
	}
	text := ofForm + v.session.ID.String()
	if !v.in {
		text = ofPre + v.pre
		if v.pre == "" {
			return errStale
		}
	}
	sum, err := hex.DecodeString(given)
	if err != nil {
		return errStale
	}
	for _, mac := range v.gate.hasher.MACs(text) {
		if hmac.Equal(mac.Sum, sum) {
			return nil
		}
	}
	return errStale
}

// safeNext is a path below the prefix with its query, to which somebody who has signed in
// is sent; the prefix itself for anything else, such as another host.
func (g *Gate) safeNext(next string) string {
	home := g.prefix()
	if len(next) > 2000 || strings.ContainsAny(next, "\\\r\n\t\x00") {
		return home
	}
	u, err := url.Parse(next)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || u.Opaque != "" || !strings.HasPrefix(next, home) {
		return home
	}
	at := path.Clean(u.Path)
	if at != home && !strings.HasPrefix(at, home+"/") || at != strings.TrimSuffix(u.Path, "/") {
		return home
	}
	// Not back to where one signs in or out, nor to a link.
	for _, no := range []string{"/sign-in", "/sign-out", "/forgot", "/links", "/invitations"} {
		if at == home+no || strings.HasPrefix(at, home+no+"/") {
			return home
		}
	}
	return (&url.URL{Path: at, RawQuery: u.RawQuery}).String()
}

// here is the page that the request is for, or the one that asks for a fragment.
func (v *visit) here() string {
	at := v.r.URL.RequestURI()
	if v.fragment() {
		u, err := url.Parse(v.r.Header.Get("HX-Current-URL"))
		if err != nil {
			return v.gate.prefix()
		}
		at = u.RequestURI()
	} else if v.r.Method != http.MethodGet && v.r.Method != http.MethodHead {
		at = v.gate.prefix() // what was posted is not posted again
	}
	return v.gate.safeNext(at)
}

// fragment reports whether a script of a page asks for a part of it.
func (v *visit) fragment() bool { return v.r.Header.Get("HX-Request") == "true" }

// toSignIn sends somebody who is not signed in to where one signs in, and then back. A
// script is answered 401, since what it wanted was not done.
func (v *visit) toSignIn() error {
	return v.leave(http.StatusUnauthorized, v.at("/sign-in", "next", v.here()))
}

// to sends the browser to a page of the gate; query are names and values.
func (v *visit) to(page string, query ...string) error { return v.away(v.at(page, query...)) }

func (v *visit) at(page string, query ...string) string {
	q := url.Values{}
	for i := 0; i+1 < len(query); i += 2 {
		if query[i+1] != "" && query[i+1] != v.gate.prefix() { // there is nothing to say
			q.Set(query[i], query[i+1])
		}
	}
	at := v.gate.prefix() + page
	if len(q) > 0 {
		at += "?" + q.Encode()
	}
	return at
}

func (v *visit) away(at string) error { return v.leave(http.StatusOK, at) }

// leave sends the browser to another page. A script is answered with a status, and told
// to load that page as a whole.
func (v *visit) leave(script int, at string) error {
	if v.fragment() {
		v.w.Header().Set("HX-Redirect", at)
		v.w.WriteHeader(script)
		return nil
	}
	v.w.Header().Set("Location", at)
	v.w.WriteHeader(http.StatusSeeOther)
	return nil
}
