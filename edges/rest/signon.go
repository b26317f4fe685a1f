package rest

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"

	"github.com/postrider/postrider/internal/limit"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

const formType = "application/x-www-form-urlencoded"

// signOn is the JSON body of POST /v1/auth/token.
type signOn struct {
	APIKey    string `json:"api_key,omitempty" maxLength:"128" doc:"The API key; required, unless key and secret come by HTTP Basic"`
	APISecret string `json:"api_secret,omitempty" maxLength:"256" doc:"Its secret; required, unless key and secret come by HTTP Basic"`
	Scope     string `json:"scope,omitempty" maxLength:"512" doc:"Scopes with blanks between, a part of the key's. Left out: all of them." example:"messages:write messages:read"`
}

// tokenForm is the form of OAuth's client credentials grant (RFC 6749 §4.4.2).
type tokenForm struct {
	GrantType    string `json:"grant_type" enum:"client_credentials"`
	ClientID     string `json:"client_id,omitempty" maxLength:"128" doc:"The API key, unless it is given by HTTP Basic"`
	ClientSecret string `json:"client_secret,omitempty" maxLength:"256" doc:"Its secret"`
	Scope        string `json:"scope,omitempty" maxLength:"512"`
}

type tokenResource struct {
	_           struct{} `json:"-" additionalProperties:"true"`
	AccessToken string   `json:"access_token" doc:"A JWT: send it as Authorization: Bearer"`
	TokenType   string   `json:"token_type" enum:"Bearer"`
	ExpiresIn   int      `json:"expires_in" doc:"Seconds" example:"900"`
	Scope       string   `json:"scope" example:"messages:write messages:read"`
}

// The error codes of RFC 6749 §5.2 that the token endpoint gives.
const (
	oauthInvalidRequest   = "invalid_request"
	oauthInvalidClient    = "invalid_client"
	oauthInvalidScope     = "invalid_scope"
	oauthUnsupportedGrant = "unsupported_grant_type"
	oauthUnauthorized     = "unauthorized_client"
	oauthUnavailable      = "temporarily_unavailable"
)

// maxSecret bounds what is hashed for somebody who is not known.
const maxSecret = 1024

func (s *Server) issueToken(ctx context.Context, in *rawInput) (*output[tokenResource], error) {
	x := exchangeOf(ctx)
	now := s.now()
	refuse := func(oauth string, err error, status int) (*output[tokenResource], error) {
		p := s.problem(x, err, status)
		p.OAuth = oauth
		return nil, p
	}
	if s.Snapshot() == nil {
		return refuse(oauthUnavailable, message.Because(message.ReasonUnavailable, errNoSnapshot, "the gateway is starting; repeat the request"), 0)
	}
	ask, oauth, err := credentials(x.request, in.RawBody)
	if err == nil {
		err = s.countSignOn(x, ask.APIKey, now)
	} else if r := s.countSignOn(x, "", now); r != nil {
		err, oauth = r, ""
	}
	if err != nil {
		var limited *limited
		status := http.StatusBadRequest
		if errors.As(err, &limited) {
			status = 0
		}
		return refuse(oauth, err, status)
	}
	who, err := s.password(x, ask.APIKey, ask.APISecret, now)
	switch message.ReasonOf(err) {
	case "":
	case message.ReasonUnauthenticated:
		return refuse(oauthInvalidClient, err, 0)
	case message.ReasonRateLimitExceeded:
		return refuse("", err, 0)
	default:
		return refuse(oauthUnauthorized, err, 0)
	}
	scopes, err := chosen(ask.Scope, who.credential)
	if err != nil {
		return refuse(oauthInvalidScope, err, http.StatusBadRequest)
	}
	token, err := s.tokens.sign(s.Snapshot(), who.credential, scopes, now)
	if err != nil {
		return refuse(oauthUnavailable, message.Because(message.ReasonUnavailable, err, "no access token can be made now; API key and secret by HTTP Basic work all the same"), 0)
	}
	x.caller = who
	x.Header().Set("Pragma", "no-cache") // RFC 6749 §5.1
	return &output[tokenResource]{Body: tokenResource{
		AccessToken: token, TokenType: "Bearer", ExpiresIn: int(TokenLife / time.Second), Scope: strings.Join(scopes, " "),
	}}, nil
}

// countSignOn takes a try from the limits of its key and of its address. The
// key's is counted for each address alone, so that a stranger who knows a key
// cannot use up its owner's tries.
func (s *Server) countSignOn(x *exchange, key string, now time.Time) error {
	most := s.signOnsPerMinute()
	r := s.Limiter.Take("token from "+limit.Network(x.client), most, time.Minute, now)
	if r.OK && key != "" {
		if byKey := s.Limiter.Take("token of "+clip(key)+" from "+limit.Network(x.client), most/2+1, time.Minute, now); byKey.Remaining < r.Remaining || !byKey.OK {
			r = byKey
		}
	}
	showLimit(x.Header(), r)
	if r.OK {
		return nil
	}
	return &limited{message.Refuse(message.ReasonRateLimitExceeded, "too many access tokens asked for; a token is good for 900 seconds"), r.Reset}
}

// credentials reads key, secret and scope from wherever they may be. The second
// result is OAuth's code for what is wrong.
func credentials(r *http.Request, body []byte) (signOn, string, error) {
	var in signOn
	var err error
	oauth := oauthInvalidRequest
	if isForm(r) {
		in, oauth, err = readForm(body)
	} else if len(body) > 0 {
		in, err = readSignOn(body)
	}
	if err != nil {
		return in, oauth, err
	}
	if header := r.Header.Get("Authorization"); header != "" {
		key, secret, ok := r.BasicAuth()
		switch {
		case !ok:
			return in, oauthInvalidRequest, message.Refuse(message.ReasonInvalidRequest, "the Authorization header must be Basic here: API key and secret")
		case in.APIKey != "" || in.APISecret != "":
			return in, oauthInvalidRequest, message.Refuse(message.ReasonInvalidRequest, "give API key and secret once, in the header or in the body")
		}
		in.APIKey, in.APISecret = key, secret
	}
	var f faults
	if in.APIKey == "" {
		f.invalid("body.api_key", "is required, unless API key and secret come by HTTP Basic")
	}
	if in.APISecret == "" {
		f.invalid("body.api_secret", "is required, unless API key and secret come by HTTP Basic")
	}
	if len(in.APIKey) > maxSecret || len(in.APISecret) > maxSecret {
		f.invalid("body", "API key or secret is longer than any of ours")
	}
	if refusal := f.refusal(); refusal != nil {
		return in, oauthInvalidRequest, refusal
	}
	return in, "", nil
}

func isForm(r *http.Request) bool {
	kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	return strings.EqualFold(strings.TrimSpace(kind), formType)
}

func readSignOn(body []byte) (signOn, error) {
	var in signOn
	d, err := decodeObject(body, func(d *decoder, name, location string) (bool, error) {
		switch name {
		case "api_key":
			return true, d.text(location, &in.APIKey, oneLine)
		case "api_secret":
			return true, d.text(location, &in.APISecret, oneLine)
		case "scope":
			return true, d.text(location, &in.Scope, oneLine)
		}
		return false, nil
	})
	if err != nil {
		return in, unreadable(err)
	}
	if refusal := d.refusal(); refusal != nil {
		return in, refusal
	}
	return in, nil
}

func readForm(body []byte) (signOn, string, error) {
	var f faults
	form, err := url.ParseQuery(string(body))
	if err != nil || !utf8.Valid(body) {
		f.invalid("body", "is no valid form (%s)", formType)
		return signOn{}, oauthInvalidRequest, f.refusal()
	}
	in := signOn{APIKey: form.Get("client_id"), APISecret: form.Get("client_secret"), Scope: form.Get("scope")}
	for name, values := range form {
		switch name {
		case "grant_type", "client_id", "client_secret", "scope":
			if len(values) > 1 {
				f.invalid("body."+name, "appears twice; send it once")
			}
		default:
			f.invalid("body."+clip(strings.ToValidUTF8(name, "?")), "there is no such field")
		}
	}
	if refusal := f.refusal(); refusal != nil {
		return in, oauthInvalidRequest, refusal
	}
	switch grant := form.Get("grant_type"); grant {
	case "client_credentials":
		return in, "", nil
	case "":
		f.invalid("body.grant_type", "is required: client_credentials")
		return in, oauthInvalidRequest, f.refusal()
	default:
		f.invalid("body.grant_type", "must be client_credentials")
		return in, oauthUnsupportedGrant, f.refusal()
	}
}

// chosen are the scopes of a token: those asked for, if the key has them all, or
// all of the key's.
func chosen(ask string, c *snapshot.Credential) ([]string, error) {
	wanted := strings.Fields(ask)
	if len(wanted) == 0 {
		return c.Scopes, nil
	}
	var f faults
	for _, scope := range wanted {
		if !contains(c.Scopes, scope) {
			f.invalid("body.scope", "the key does not have the scope %s", clip(scope))
		}
	}
	if refusal := f.refusal(); refusal != nil {
		return nil, refusal
	}
	return wanted, nil
}

// tokenBodies documents the two bodies.
func tokenBodies(r huma.Registry) *huma.RequestBody {
	return &huma.RequestBody{
		Description: "Left out when API key and secret come by HTTP Basic.",
		Content: map[string]*huma.MediaType{
			jsonType: {Schema: schemaOf[signOn](r)},
			formType: {Schema: schemaOf[tokenForm](r)},
		},
	}
}
