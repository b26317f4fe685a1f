package rest

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/golang-jwt/jwt/v5"

	"github.com/postrider/postrider/internal/limit"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

const loginPath = adminPrefix + "/auth/token"

// Passwords makes and checks slow hashes of what people choose. One that cannot be
// read fits nothing, and takes as long.
type Passwords interface {
	HashPassword(password string) (string, error)
	PasswordFits(hash, password string) bool
}

// login is the JSON body of the token endpoint of the internal API.
type login struct {
	Email     string `json:"email,omitempty" maxLength:"254" doc:"Of a member of staff" example:"ada@gw.example"`
	Password  string `json:"password,omitempty" maxLength:"72" doc:"With it"`
	Code      string `json:"code,omitempty" maxLength:"32" doc:"Of the second factor, for staff who have one: what the authenticator app shows, or a recovery code" example:"287082"`
	APIKey    string `json:"api_key,omitempty" maxLength:"128" doc:"Of a service"`
	APISecret string `json:"api_secret,omitempty" maxLength:"256" doc:"With it"`
	Scope     string `json:"scope,omitempty" maxLength:"512" doc:"Scopes with blanks between, a part of the service's. Left out: all of them." example:"service:messages"`
}

type staffTokenResource struct {
	_           struct{} `json:"-" additionalProperties:"true"`
	AccessToken string   `json:"access_token" doc:"A JWT: send it as Authorization: Bearer"`
	TokenType   string   `json:"token_type" enum:"Bearer"`
	ExpiresIn   int      `json:"expires_in" doc:"Seconds" example:"900"`
	Role        string   `json:"role,omitempty" enum:"admin,operator,support,compliance,viewer" doc:"Of staff"`
	Scope       string   `json:"scope,omitempty" doc:"Of services" example:"service:messages"`
}

var errLogin = message.Refuse(message.ReasonUnauthenticated,
	"the credential is not valid; send email and password of staff, or api_key and api_secret of a service")

func (s *Server) registerLogin(api huma.API) {
	schemas := api.OpenAPI().Components.Schemas
	token := s.operation(huma.Operation{
		OperationID: "issueStaffToken", Method: http.MethodPost, Path: loginPath, Tags: []string{"Access"},
		Summary:     "Get an access token",
		Description: "Staff send e-mail address and password, and the code of the second factor if they have turned one on. Services send key and secret as JSON, by HTTP Basic, or as the form of OAuth's client credentials grant.",
		Extensions: example(`curl -sS ` + exampleHost + loginPath + ` \
  -H 'Content-Type: application/json' \
  -d "{\"email\":\"$STAFF_EMAIL\",\"password\":\"$STAFF_PASSWORD\"}"`),
	}, access{rate: bySignOn, bodies: []string{jsonType, formType}}, 400, 401, 413, 415, 503)
	register(api, token, s.issueStaffToken, &huma.RequestBody{
		Description: "Left out when key and secret come by HTTP Basic.",
		Content: map[string]*huma.MediaType{
			jsonType: {Schema: schemaOf[login](schemas)},
			formType: {Schema: schemaOf[tokenForm](schemas)},
		},
	})
}

func (s *Server) issueStaffToken(ctx context.Context, in *rawInput) (*output[staffTokenResource], error) {
	x := exchangeOf(ctx)
	now := s.now()
	refuse := func(oauth string, err error, status int) (*output[staffTokenResource], error) {
		p := s.problem(x, err, status)
		p.OAuth = oauth
		return nil, p
	}
	if s.Snapshot() == nil {
		return refuse(oauthUnavailable, message.Because(message.ReasonUnavailable, errNoSnapshot, "the gateway is starting; repeat the request"), 0)
	}
	ask, oauth, err := readLogin(x.request, in.RawBody)
	if limited := s.countSignOn(x, ask.name(), now); limited != nil {
		return refuse("", limited, 0)
	}
	if err != nil {
		return refuse(oauth, err, http.StatusBadRequest)
	}
	var c claims
	if ask.Email != "" {
		c, err = s.login(ctx, x, ask, now)
	} else {
		c, err = s.serviceLogin(x, ask, now)
	}
	var scope *scopeError
	switch {
	case err == nil:
	case errors.As(err, &scope):
		return refuse(oauthInvalidScope, scope.refusal, http.StatusBadRequest)
	case message.ReasonOf(err) == message.ReasonUnauthenticated:
		return refuse(oauthInvalidClient, err, 0)
	default:
		return refuse("", err, 0)
	}
	token, err := s.internal.signed(s.Snapshot(), c, now)
	if err != nil {
		return refuse(oauthUnavailable, message.Because(message.ReasonUnavailable, err, "no access token can be made now"), 0)
	}
	x.Header().Set("Pragma", "no-cache") // RFC 6749 §5.1
	return &output[staffTokenResource]{Body: staffTokenResource{
		AccessToken: token, TokenType: "Bearer", ExpiresIn: int(TokenLife / time.Second), Role: c.Role, Scope: c.Scope,
	}}, nil
}

// scopeError is a refusal for what was asked beside a right credential.
type scopeError struct{ refusal error }

func (e *scopeError) Error() string { return e.refusal.Error() }

// name is whom a login is for, as the limits count it.
func (l *login) name() string {
	if l.Email != "" {
		return l.Email
	}
	return l.APIKey
}

// readLogin reads a login from wherever it may be. The second result is OAuth's
// code for what is wrong.
func readLogin(r *http.Request, body []byte) (login, string, error) {
	var in login
	if !isForm(r) && len(body) > 0 {
		var refusal *message.Error
		_, refusal = readObject(body, in.member, nil)
		if refusal != nil {
			return in, oauthInvalidRequest, refusal
		}
		body = nil
	}
	if in.Email == "" && in.Password == "" && in.APIKey == "" && in.APISecret == "" {
		key, oauth, err := credentials(r, body)
		in.APIKey, in.APISecret = key.APIKey, key.APISecret
		if key.Scope != "" {
			in.Scope = key.Scope
		}
		return in, oauth, err
	}
	in.Email = strings.ToLower(strings.TrimSpace(in.Email))
	var f faults
	switch {
	case r.Header.Get("Authorization") != "":
		f.invalid("header.Authorization", "give the credential once, in the header or in the body")
	case (in.Email != "" || in.Password != "" || in.Code != "") && (in.APIKey != "" || in.APISecret != "" || in.Scope != ""):
		f.invalid("body", "give email and password, or api_key and api_secret")
	case in.APIKey == "" && in.APISecret == "" && (in.Email == "" || in.Password == ""):
		f.invalid("body", "email and password go together")
	case in.Email == "" && (in.APIKey == "" || in.APISecret == ""):
		f.invalid("body", "api_key and api_secret go together")
	case len(in.Email)+len(in.Password)+len(in.Code) > maxSecret || len(in.APIKey)+len(in.APISecret) > maxSecret:
		f.invalid("body", "the credential is longer than any of ours")
	}
	if refusal := f.refusal(); refusal != nil {
		return in, oauthInvalidRequest, refusal
	}
	return in, "", nil
}

func (l *login) member(d *decoder, name, location string) (bool, error) {
	switch name {
	case "email":
		return true, d.text(location, &l.Email, oneLine)
	case "password":
		return true, d.text(location, &l.Password, oneLine)
	case "code":
		return true, d.text(location, &l.Code, oneLine)
	case "api_key":
		return true, d.text(location, &l.APIKey, oneLine)
	case "api_secret":
		return true, d.text(location, &l.APISecret, oneLine)
	case "scope":
		return true, d.text(location, &l.Scope, oneLine)
	}
	return false, nil
}

// login checks a password. An unknown address, a wrong password and somebody who is
// no longer active cost the same and are answered alike.
func (s *Server) login(ctx context.Context, x *exchange, ask login, now time.Time) (claims, error) {
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	held := func() error {
		if err := s.holdBack(x, now); err != nil {
			return err
		}
		return s.loginHeld(x, ask.Email, now)
	}
	if err := held(); err != nil {
		return claims{}, err
	}
	member := s.Snapshot().Staff[ask.Email]
	hash := ""
	if member != nil {
		hash = member.PasswordHash
	}
	// Asked again when the password's turn has come, so that what others have
	// failed meanwhile counts.
	fits, err := s.checkPassword(ctx, hash, ask.Password, held)
	if err != nil {
		return claims{}, err
	}
	in := member != nil && fits && member.Active
	if in && s.Admin.SecondFactor != nil {
		if err := s.checkCode(ctx, x, member, ask.Code, now); err != nil {
			return claims{}, err
		}
	}
	if member != nil && s.Admin.LoggedIn != nil {
		s.Admin.LoggedIn(message.Actor{Name: member.Email, Role: string(member.Role), Address: x.client.String()}, member.ID, in)
	}
	if !in {
		s.failed(x, now)
		limit.WrongPasswords(ask.Email, x.client).Count(s.Limiter, now)
		return claims{}, errLogin
	}
	return claims{
		RegisteredClaims: jwt.RegisteredClaims{Subject: member.ID.String()},
		CredentialID:     member.PasswordID.String(), Role: string(member.Role),
	}, nil
}

var errCode = message.Refuse(message.ReasonUnauthenticated, "the password is right; send a code of the second factor with it, as code, that was not used before")

// checkCode asks those who have a second factor for a code of it.
func (s *Server) checkCode(ctx context.Context, x *exchange, member *snapshot.Staff, code string, now time.Time) error {
	codes := limit.WrongCodes(member.ID)
	if r, held := codes.Held(s.Limiter, now); held {
		showLimit(x.Header(), r)
		return &limited{message.Refuse(message.ReasonRateLimitExceeded, "too many wrong codes; wait, then check the clock of the authenticator app"), r.Reset}
	}
	ok, err := s.Admin.SecondFactor(ctx, member.ID, code, now)
	if err != nil || ok {
		return err
	}
	if code != "" { // without one nobody guesses
		s.failed(x, now)
		codes.Count(s.Limiter, now)
		if s.Admin.LoggedIn != nil {
			s.Admin.LoggedIn(message.Actor{Name: member.Email, Role: string(member.Role), Address: x.client.String()}, member.ID, false)
		}
	}
	return errCode
}

// checkPassword waits for its turn, asks held, and compares: passwords take a core
// for long, and those who are logged in need the others.
func (s *Server) checkPassword(ctx context.Context, hash, password string, held func() error) (bool, error) {
	if err := s.turns.Take(ctx); err != nil {
		return false, err
	}
	defer s.turns.Give()
	if err := held(); err != nil {
		return false, err
	}
	return s.Admin.Passwords.PasswordFits(hash, password), nil
}

// loginHeld refuses an e-mail address for which too many wrong passwords came.
func (s *Server) loginHeld(x *exchange, email string, now time.Time) error {
	worst, held := limit.WrongPasswords(email, x.client).Held(s.Limiter, now)
	if !held {
		return nil
	}
	showLimit(x.Header(), worst)
	return &limited{message.Refuse(message.ReasonRateLimitExceeded, "too many wrong passwords; wait, then check it"), worst.Reset}
}

// serviceLogin checks a service's key and secret.
func (s *Server) serviceLogin(x *exchange, ask login, now time.Time) (claims, error) {
	if err := s.holdBack(x, now); err != nil {
		return claims{}, err
	}
	snap := s.Snapshot()
	c := snap.ServiceCredentials[ask.APIKey]
	hash := anyHash(snap)
	if c != nil {
		hash = c.SecretHash
	}
	if fits := s.Secrets.CheckSecret(ask.APISecret, hash); !fits || c == nil || !c.InForce(now) {
		s.failed(x, now)
		return claims{}, errLogin
	}
	scopes, err := chosen(ask.Scope, &snapshot.Credential{Scopes: c.Scopes})
	if err != nil {
		return claims{}, &scopeError{err}
	}
	s.serviceUsed(c, now)
	return claims{
		RegisteredClaims: jwt.RegisteredClaims{Subject: c.ID.String()},
		CredentialID:     c.ID.String(), Scope: strings.Join(scopes, " "),
	}, nil
}

func (s *Server) serviceUsed(c *snapshot.ServiceCredential, now time.Time) {
	if s.Admin.ServiceUsed != nil && s.recent.Take("used "+c.ID.String(), 1, usedEvery, now).OK {
		s.Admin.ServiceUsed(c.ID)
	}
}

// authenticateStaff finds out which member of staff, or which service, makes the
// request. Both are looked up in the snapshot each time, so that a token ends with
// what it was given for.
func (s *Server) authenticateStaff(x *exchange, now time.Time) (caller, error) {
	snap := s.Snapshot()
	if snap == nil {
		return caller{}, message.Because(message.ReasonUnavailable, errNoSnapshot, "the gateway is starting; repeat the request")
	}
	if v, ok := x.visitor(); ok {
		return s.staffVisit(v)
	}
	scheme, token, _ := strings.Cut(x.request.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return caller{}, message.Refuse(message.ReasonUnauthenticated, "send an access token from POST %s as Authorization: Bearer", loginPath)
	}
	g, err := s.granted(x, &s.internal, strings.TrimSpace(token), now)
	if err != nil {
		return caller{}, err
	}
	if g.role != "" {
		m := snap.StaffByID(g.account)
		if m == nil || !m.Active || m.PasswordID != g.credential || string(m.Role) != g.role {
			return caller{}, message.Refuse(message.ReasonUnauthenticated, "password, role or right to log in have changed since; log in again")
		}
		return caller{staff: m}, nil
	}
	c := snap.ServiceCredentialByID(g.account)
	if c == nil || c.ID != g.credential || !c.InForce(now) {
		return caller{}, message.Refuse(message.ReasonUnauthenticated, "the credential of this access token is no longer in force")
	}
	s.serviceUsed(c, now)
	return caller{service: c, scopes: common(g.scopes, c.Scopes)}, nil
}

// id is the staff's or the service's, zero for customers.
func (c *caller) id() message.ID {
	switch {
	case c.staff != nil:
		return c.staff.ID
	case c.service != nil:
		return c.service.ID
	}
	return message.ID{}
}
