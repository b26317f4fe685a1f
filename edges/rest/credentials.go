package rest

import (
	"context"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/secret"
	"github.com/postrider/postrider/internal/snapshot"
)

// Credentials keeps the API credentials of accounts: see Accounts. Where an answer is
// given it is kept for the key of the request, see making.
type Credentials interface {
	OwnCredentials(ctx context.Context, account, before message.ID, limit int) ([]snapshot.CredentialState, error)
	OwnCredential(ctx context.Context, account, id message.ID) (snapshot.CredentialState, error)
	// AddOwnCredential is ReasonConflict for an account that has `most` already.
	AddOwnCredential(ctx context.Context, by message.Actor, c snapshot.Credential, most int, answer func(snapshot.CredentialState) (message.Idempotency, error)) (snapshot.CredentialState, *message.Idempotency, error)
	ChangeOwnCredential(ctx context.Context, by message.Actor, account, id message.ID, change func(*snapshot.CredentialState) error) (snapshot.CredentialState, error)
	RegenerateOwnCredential(ctx context.Context, by message.Actor, account, id message.ID, hash []byte, overlap time.Duration, check func(snapshot.CredentialState) error,
		answer func(snapshot.CredentialState) (message.Idempotency, error)) (snapshot.CredentialState, *message.Idempotency, error)
	RevokeOwnCredential(ctx context.Context, by message.Actor, account, id message.ID, check func(snapshot.CredentialState) error) error
}

// Bounds of what one account has.
const (
	maxCredentials    = 100 // API credentials, and as many SMPP credentials
	maxAllowedNumbers = 1000
	maxNetworks       = 100
	maxOverlap        = 7 * 24 * 60 * 60 // seconds
	maxRate           = 100_000
)

type credentialResource struct {
	_              struct{} `json:"-" additionalProperties:"true"`
	ID             string   `json:"id" format:"uuid"`
	Name           string   `json:"name" example:"shop"`
	Key            string   `json:"key" doc:"The name of HTTP Basic, and api_key of POST /v1/auth/token"`
	Secret         *string  `json:"secret,omitempty" nullable:"true" doc:"Shown once, when it was made; null when the answer is repeated: regenerate it then"`
	Scopes         []string `json:"scopes" nullable:"false"`
	AllowedNumbers []string `json:"allowed_numbers" nullable:"false" doc:"Senders that it may use; empty: all of the account's"`
	AllowedIPs     []string `json:"allowed_ips" nullable:"false" doc:"Networks that it may come from; empty: any"`
	RateLimit      *int     `json:"rate_limit" doc:"Messages a second; null: as many as the account may"`
	ExpiresAt      *string  `json:"expires_at" format:"date-time" doc:"null: never"`
	PreviousUntil  *string  `json:"previous_until" format:"date-time" doc:"Until when the secret before holds as well"`
	LastUsedAt     *string  `json:"last_used_at" format:"date-time" doc:"Up to a minute late; null: never"`
	CreatedAt      string   `json:"created_at" format:"date-time"`
	UpdatedAt      string   `json:"updated_at" format:"date-time"`
}

// credentialOf shows a credential. The overlap that is over is not shown.
func (s *Server) credentialOf(c snapshot.CredentialState) credentialResource {
	r := credentialResource{ID: c.ID.String(), Name: c.Name, Key: c.Key, Scopes: append([]string{}, c.Scopes...), AllowedNumbers: append([]string{}, c.AllowedNumbers...),
		AllowedIPs: networksOf(c.AllowedIPs), RateLimit: optionalPort(c.RateLimit), ExpiresAt: optionalTime(c.ExpiresAt), LastUsedAt: optionalTime(c.LastUsedAt),
		CreatedAt: stamp(c.CreatedAt), UpdatedAt: stamp(c.UpdatedAt)}
	if s.now().Before(c.PreviousUntil) {
		r.PreviousUntil = optionalTime(c.PreviousUntil)
	}
	return r
}

// credentialTag is of what is set, not of what use makes of it.
func credentialTag(c snapshot.CredentialState) string {
	return contentTag("credential", c.ID, c.Name, c.Scopes, c.AllowedNumbers, c.AllowedIPs, c.RateLimit, c.ExpiresAt.UnixMicro(), c.PreviousUntil.UnixMicro())
}

type credentialBody struct {
	Name           string     `json:"name,omitempty" maxLength:"200" example:"shop"`
	Scopes         []string   `json:"scopes" minItems:"1" nullable:"false" doc:"Only such as your own credential has" example:"[\"messages:write\",\"messages:read\"]"`
	AllowedNumbers []string   `json:"allowed_numbers,omitempty" maxItems:"1000" nullable:"false" doc:"Senders that it may use; left out: all of the account's"`
	AllowedIPs     []string   `json:"allowed_ips,omitempty" maxItems:"100" nullable:"false" doc:"Networks that it may come from; left out: any" example:"[\"192.0.2.0/24\"]"`
	RateLimit      int        `json:"rate_limit,omitempty" minimum:"0" maximum:"100000" doc:"Messages a second, of the account's; 0: as many as the account may"`
	ExpiresAt      *time.Time `json:"expires_at,omitempty" nullable:"true" doc:"null: never"`
}

type credentialPatch struct {
	Name           string     `json:"name,omitempty" maxLength:"200"`
	Scopes         []string   `json:"scopes,omitempty" minItems:"1" nullable:"false"`
	AllowedNumbers []string   `json:"allowed_numbers,omitempty" maxItems:"1000" nullable:"true" doc:"null: all of the account's"`
	AllowedIPs     []string   `json:"allowed_ips,omitempty" maxItems:"100" nullable:"true" doc:"null: any"`
	RateLimit      int        `json:"rate_limit,omitempty" minimum:"0" maximum:"100000"`
	ExpiresAt      *time.Time `json:"expires_at,omitempty" nullable:"true" doc:"null: never"`
}

type overlapBody struct {
	OverlapSeconds int `json:"overlap_seconds,omitempty" minimum:"0" maximum:"604800" default:"0" doc:"How long the secret before holds as well"`
}

// credentialMember reads a member of either body.
func credentialMember(c *snapshot.Credential) func(d *decoder, name, location string) (bool, error) {
	return func(d *decoder, name, location string) (bool, error) {
		switch name {
		case "name":
			return true, d.text(location, &c.Name, oneLine)
		case "scopes":
			var list *[]string
			err := d.texts(location, &list, maxListed)
			if list != nil {
				c.Scopes = sorted(*list)
			}
			return true, err
		case "allowed_numbers":
			var list *[]string
			err := d.texts(location, &list, maxAllowedNumbers)
			if list != nil {
				c.AllowedNumbers = d.senders(location, *list)
			}
			return true, err
		case "allowed_ips":
			return true, d.networks(location, &c.AllowedIPs, maxNetworks)
		case "rate_limit":
			if d.peek() == 'n' { // merge patch (RFC 7396): as many as the account may
				c.RateLimit = 0
			}
			return true, d.ranged(location, &c.RateLimit, 0, maxRate)
		case "expires_at":
			if d.peek() == 'n' { // never
				c.ExpiresAt = time.Time{}
			}
			return true, d.time(location, func(at time.Time) { c.ExpiresAt = at })
		case "id", "key", "secret", "previous_until", "last_used_at", "created_at", "updated_at":
			d.invalid(location, "is shown, and made by the gateway; for another secret there is POST …/regenerate")
			return true, d.skip()
		}
		return false, nil
	}
}

// senders reads addresses, each as it is stored.
func (d *decoder) senders(location string, list []string) []string {
	out := []string{}
	for _, s := range list {
		a, err := message.ParseSender(s)
		if err != nil {
			d.invalid(location, "%q is no sender: E.164 with a leading +, a short code, or up to 11 letters and digits", clip(s))
			continue
		}
		out = append(out, string(a))
	}
	return sorted(out)
}

// checkCredential checks what is to be, given what was, which is empty for a new one: a
// credential hands on nothing that it has not got itself.
func (s *Server) checkCredential(d *decoder, by *caller, was, c *snapshot.Credential) {
	d.most("body.name", c.Name, maxName)
	if len(c.Scopes) == 0 && !d.faulty("body.scopes") {
		d.invalid("body.scopes", "is required: what it may do, such as [\"messages:write\"]")
	}
	by.handsOn(&d.faults, "body.scopes", c.Scopes, was.Scopes)
	for _, number := range c.AllowedNumbers {
		if n := s.Snapshot().Numbers[message.Address(number)]; (n == nil || n.AccountID != by.account.ID) && !slices.Contains(by.account.AllowedSourceAddresses, number) && !contains(was.AllowedNumbers, number) {
			d.invalid("body.allowed_numbers", "%s is no number of the account", clip(number))
		}
	}
	if !c.ExpiresAt.Equal(was.ExpiresAt) && !c.ExpiresAt.IsZero() && !s.now().Before(c.ExpiresAt) {
		d.invalid("body.expires_at", "must be in the future; to end it now, delete it")
	}
	if own := by.credential; own != nil && !by.operator() {
		narrower(d, own, was, c)
	}
}

// narrower refuses a credential that is bound less than the one which makes or changes
// it.
func narrower(d *decoder, own, was, c *snapshot.Credential) {
	const yours = "must be within your own credential's"
	if !slices.Equal(c.AllowedNumbers, was.AllowedNumbers) || was.Key == "" {
		if len(own.AllowedNumbers) > 0 && (len(c.AllowedNumbers) == 0 || slices.ContainsFunc(c.AllowedNumbers, func(n string) bool { return !slices.Contains(own.AllowedNumbers, n) })) {
			d.add(message.ReasonForbidden, "body.allowed_numbers", yours)
		}
	}
	if !slices.Equal(c.AllowedIPs, was.AllowedIPs) || was.Key == "" {
		if outside(c.AllowedIPs, own.AllowedIPs) {
			d.add(message.ReasonForbidden, "body.allowed_ips", yours)
		}
	}
	if (c.RateLimit != was.RateLimit || was.Key == "") && own.RateLimit > 0 && (c.RateLimit == 0 || c.RateLimit > own.RateLimit) {
		d.add(message.ReasonForbidden, "body.rate_limit", yours)
	}
	if (!c.ExpiresAt.Equal(was.ExpiresAt) || was.Key == "") && !own.ExpiresAt.IsZero() && (c.ExpiresAt.IsZero() || c.ExpiresAt.After(own.ExpiresAt)) {
		d.add(message.ReasonForbidden, "body.expires_at", yours)
	}
}

// covered reports whether all of a network is in one of the others.
// outside reports whether networks go beyond others; none are any.
func outside(networks, of []netip.Prefix) bool {
	return len(of) > 0 && (len(networks) == 0 || slices.ContainsFunc(networks, func(p netip.Prefix) bool { return !covered(p, of) }))
}

func covered(p netip.Prefix, of []netip.Prefix) bool {
	return slices.ContainsFunc(of, func(o netip.Prefix) bool { return o.Bits() <= p.Bits() && o.Contains(p.Addr()) })
}

const credentialPath = "/v1/api-credentials"

func (s *Server) registerCredentials(api huma.API) {
	schemas := api.OpenAPI().Components.Schemas
	tags := []string{"Access"}
	plain := access{scope: scopeCredentialsWrite, rate: asRequest}
	takes := access{scope: scopeCredentialsWrite, rate: asRequest, bodies: []string{jsonType, patchType}}
	const auth, one = ` -u "$API_KEY:$API_SECRET"`, credentialPath + "/01a1ffbf-8676-7d35-9c44-0f6f2f1b7e21"
	register(api, s.operation(keyed[credentialResource](api, huma.Operation{
		OperationID: "createCredential", Method: http.MethodPost, Path: credentialPath, Tags: tags, Summary: "Make an API key and secret",
		Description: "The secret is shown once. It can do nothing that your own credential cannot. An account has at most 100.",
		Extensions:  example(`curl -sS ` + exampleHost + credentialPath + auth + ` -H 'Content-Type: application/json' -d '{"name":"shop","scopes":["messages:write"]}'`),
	}), access{scope: scopeCredentialsWrite, rate: asRequest, bodies: []string{jsonType}}, 400, 409, 413, 415), s.createCredential, bodyOf[credentialBody](schemas))
	register(api, s.operation(huma.Operation{
		OperationID: "listCredentials", Method: http.MethodGet, Path: credentialPath, Tags: tags, Summary: "List the API credentials", Description: "Newest first. Those that were revoked are not among them.",
		Extensions: example(`curl -sS ` + exampleHost + credentialPath + auth),
	}, plain), s.listCredentials, nil)
	register(api, s.operation(huma.Operation{
		OperationID: "getCredential", Method: http.MethodGet, Path: credentialPath + "/{id}", Tags: tags, Summary: "Read an API credential",
		Extensions: example(`curl -sS ` + exampleHost + one + auth),
	}, plain, 404), s.getCredential, nil)
	register(api, s.operation(huma.Operation{
		OperationID: "changeCredential", Method: http.MethodPatch, Path: credentialPath + "/{id}", Tags: tags, Summary: "Change an API credential",
		Description: "A merge patch: what is left out stays. It holds everywhere within 5 seconds, also for access tokens.",
		Extensions:  example(`curl -sS -X PATCH ` + exampleHost + one + auth + ` -H 'Content-Type: application/json' -d '{"allowed_ips":["192.0.2.0/24"]}'`),
	}, takes, 400, 404, 412, 413, 415), s.changeCredential, bodyOf[credentialPatch](schemas))
	register(api, s.operation(huma.Operation{
		OperationID: "revokeCredential", Method: http.MethodDelete, Path: credentialPath + "/{id}", Tags: tags, Summary: "Revoke an API credential",
		Description: "Its key and its access tokens end everywhere within 5 seconds. The credential that asks cannot revoke itself.", DefaultStatus: http.StatusNoContent,
		Extensions: example(`curl -sS -X DELETE ` + exampleHost + one + auth),
	}, plain, 404, 409, 412), s.revokeCredential, nil)
	regenerate := s.operation(keyed[credentialResource](api, huma.Operation{
		OperationID: "regenerateCredential", Method: http.MethodPost, Path: credentialPath + "/{id}/regenerate", Tags: tags, Summary: "Make a new secret for an API key",
		Description: "The secret is shown once. The one before holds for the overlap as well; access tokens go on. The credential must have nothing that your own has not.", DefaultStatus: http.StatusOK,
		Extensions: example(`curl -sS ` + exampleHost + one + `/regenerate` + auth + ` -H 'Content-Type: application/json' -d '{"overlap_seconds":86400}'`),
	}), access{scope: scopeCredentialsWrite, rate: asRequest, bodies: []string{jsonType}}, 400, 404, 409, 413, 415)
	body := bodyOf[overlapBody](schemas)
	body.Required = false
	register(api, regenerate, s.regenerateCredential, body)
}

var errNoCredentials = message.Refuse(message.ReasonUnavailable, "credentials are not served here")

func (s *Server) createCredential(ctx context.Context, in *rawInput) (*madeOutput, error) {
	x := exchangeOf(ctx)
	if s.Credentials == nil {
		return nil, s.problem(x, errNoCredentials, 0)
	}
	c := snapshot.Credential{ID: message.NewID(), AccountID: x.caller.account.ID, Key: secret.NewAPIKey()}
	word := secret.NewAPISecret()
	return perform(ctx, s, in.RawBody, making[snapshot.CredentialState]{
		status: http.StatusCreated,
		read: func() (int, *message.Error) {
			return readObject(in.RawBody, credentialMember(&c), func(d *decoder) { s.checkCredential(d, &x.caller, &snapshot.Credential{}, &c) })
		},
		do: func(ctx context.Context, answer func(snapshot.CredentialState) (message.Idempotency, error)) (snapshot.CredentialState, *message.Idempotency, error) {
			c.SecretHash = s.HashSecret(word.Reveal())
			return s.Credentials.AddOwnCredential(ctx, x.changer(), c, maxCredentials, answer)
		},
		show: s.credentialKept, once: func(c snapshot.CredentialState) any { return s.credentialOnce(c, word) },
		path: credentialPath,
	})
}

// credentialKept is the answer that is kept: the secret is null in it.
func (s *Server) credentialKept(c snapshot.CredentialState) any {
	return struct {
		credentialResource
		Secret *string `json:"secret"`
	}{s.credentialOf(c), nil}
}

func (s *Server) credentialOnce(c snapshot.CredentialState, word secret.String) any {
	r := s.credentialOf(c)
	r.Secret = new(word.Reveal())
	return r
}

func (s *Server) listCredentials(ctx context.Context, in *Page) (*output[list[credentialResource]], error) {
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	x := exchangeOf(ctx)
	if s.Credentials == nil {
		return nil, s.problem(x, errNoCredentials, 0)
	}
	before, refusal := in.before()
	if refusal != nil {
		return nil, s.problem(x, refusal, 0)
	}
	rows, err := s.Credentials.OwnCredentials(ctx, x.caller.account.ID, before, in.size()+1)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	rows, next := page(rows, *in, func(c snapshot.CredentialState) string { return encodeRowCursor(c.ID) })
	return listed(rows, next, s.credentialOf), nil
}

func (s *Server) getCredential(ctx context.Context, in *RowInput) (*entity[credentialResource], error) {
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	x := exchangeOf(ctx)
	if s.Credentials == nil {
		return nil, s.problem(x, errNoCredentials, 0)
	}
	id, err := in.row()
	var c snapshot.CredentialState
	if err == nil {
		c, err = s.Credentials.OwnCredential(ctx, x.caller.account.ID, id)
	}
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	return &entity[credentialResource]{ETag: credentialTag(c), Body: s.credentialOf(c)}, nil
}

func (s *Server) changeCredential(ctx context.Context, in *idChange) (*entity[credentialResource], error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.answerTimeout())
	defer cancel()
	x := exchangeOf(ctx)
	if s.Credentials == nil {
		return nil, s.problem(x, errNoCredentials, 0)
	}
	status := 0
	id, err := in.row()
	var c snapshot.CredentialState
	if err == nil {
		c, err = s.Credentials.ChangeOwnCredential(ctx, x.changer(), x.caller.account.ID, id, func(c *snapshot.CredentialState) error {
			if err := in.check(credentialTag(*c)); err != nil {
				return err
			}
			was := c.Credential
			var refusal *message.Error
			if status, refusal = readObject(in.RawBody, credentialMember(&c.Credential), func(d *decoder) { s.checkCredential(d, &x.caller, &was, &c.Credential) }); refusal != nil {
				return refusal
			}
			return nil
		})
	}
	if err != nil {
		return nil, s.problem(x, err, max(status, changeStatus(err)))
	}
	return &entity[credentialResource]{ETag: credentialTag(c), Body: s.credentialOf(c)}, nil
}

func (s *Server) regenerateCredential(ctx context.Context, in *rowBody) (*madeOutput, error) {
	x := exchangeOf(ctx)
	if s.Credentials == nil {
		return nil, s.problem(x, errNoCredentials, 0)
	}
	id, err := in.row()
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	word, overlap := secret.NewAPISecret(), time.Duration(0)
	return perform(ctx, s, in.RawBody, making[snapshot.CredentialState]{
		status: http.StatusOK,
		read: func() (int, *message.Error) {
			if len(in.RawBody) == 0 {
				return 0, nil
			}
			return readObject(in.RawBody, func(d *decoder, name, location string) (bool, error) {
				if name != "overlap_seconds" {
					return false, nil
				}
				return true, d.span(location, &overlap, 0, maxOverlap)
			}, nil)
		},
		do: func(ctx context.Context, answer func(snapshot.CredentialState) (message.Idempotency, error)) (snapshot.CredentialState, *message.Idempotency, error) {
			// Whoever gets a secret can do what it can.
			check := func(c snapshot.CredentialState) error { return s.mayHold(&x.caller, &c.Credential) }
			return s.Credentials.RegenerateOwnCredential(ctx, x.changer(), x.caller.account.ID, id, s.HashSecret(word.Reveal()), overlap, check, answer)
		},
		show: s.credentialKept, once: func(c snapshot.CredentialState) any { return s.credentialOnce(c, word) },
	})
}

// mayHold is nil if the caller could have made the credential.
func (s *Server) mayHold(by *caller, c *snapshot.Credential) error {
	if by.operator() || by.credential != nil && by.credential.ID == c.ID {
		return nil
	}
	d := &decoder{}
	by.handsOn(&d.faults, "scopes", c.Scopes, nil)
	if own := by.credential; own != nil {
		narrower(d, own, &snapshot.Credential{}, c)
	}
	if len(d.list) > 0 {
		return message.Refuse(message.ReasonForbidden, "the credential can do more than your own; change it first, or ask somebody whose can as much")
	}
	return nil
}

func (s *Server) revokeCredential(ctx context.Context, in *idRemoval) (*nothing, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.answerTimeout())
	defer cancel()
	x := exchangeOf(ctx)
	if s.Credentials == nil {
		return nil, s.problem(x, errNoCredentials, 0)
	}
	id, err := in.row()
	if err == nil {
		err = s.Credentials.RevokeOwnCredential(ctx, x.changer(), x.caller.account.ID, id, func(c snapshot.CredentialState) error {
			if own := x.caller.credential; own != nil && own.ID == id {
				return message.Refuse(message.ReasonConflict, "this is the credential that asks; revoke it with another one, so that nobody locks himself out by mistake")
			}
			return in.check(credentialTag(c))
		})
	}
	if err != nil {
		return nil, s.problem(x, err, changeStatus(err))
	}
	return &nothing{}, nil
}
