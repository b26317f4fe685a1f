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

// ESMEs keeps the SMPP credentials of accounts: see Accounts. Where an answer is given it
// is kept for the key of the request, see making.
type ESMEs interface {
	OwnSMPPCredentials(ctx context.Context, account, before message.ID, limit int) ([]snapshot.SMPPCredentialState, error)
	OwnSMPPCredential(ctx context.Context, account, id message.ID) (snapshot.SMPPCredentialState, error)
	// AddOwnSMPPCredential is ReasonConflict for an account that has `most` already, and
	// for a system_id that is taken.
	AddOwnSMPPCredential(ctx context.Context, by message.Actor, c snapshot.SMPPCredential, most int, answer func(snapshot.SMPPCredentialState) (message.Idempotency, error)) (snapshot.SMPPCredentialState, *message.Idempotency, error)
	ChangeOwnSMPPCredential(ctx context.Context, by message.Actor, account, id message.ID, change func(*snapshot.SMPPCredentialState) error) (snapshot.SMPPCredentialState, error)
	RegenerateOwnSMPPCredential(ctx context.Context, by message.Actor, account, id message.ID, hash string, answer func(snapshot.SMPPCredentialState) (message.Idempotency, error)) (snapshot.SMPPCredentialState, *message.Idempotency, error)
	RemoveOwnSMPPCredential(ctx context.Context, by message.Actor, account, id message.ID, check func(snapshot.SMPPCredentialState) error) error
	OwnSMPPSessions(ctx context.Context, account, id message.ID) ([]snapshot.SMPPSession, error)
}

// contractThroughput is from where on the throughput of a credential is by contract.
const contractThroughput = 500

// Lengths of a password: what a peer of SMPP 3.4 can send (§5.2.2), and what the edge
// lets through.
const smppPasswordLength, smppPasswordMost = 8, 64

var bindTypes = []string{"receiver", "transmitter", "transceiver"}

type esmeResource struct {
	_             struct{}  `json:"-" additionalProperties:"true"`
	ID            string    `json:"id" format:"uuid"`
	Enabled       bool      `json:"enabled" doc:"false: it cannot bind, and what is owed to it waits"`
	SystemID      string    `json:"system_id" example:"acme1"`
	Password      *string   `json:"password,omitempty" nullable:"true" doc:"Shown once, when it was made; null when the answer is repeated: regenerate it then"`
	AllowedIPs    []string  `json:"allowed_ips" nullable:"false" doc:"Networks that may bind; empty: any"`
	MaxBinds      int       `json:"max_binds" doc:"At once, over all of the gateway's processes"`
	Throughput    int       `json:"throughput" doc:"Parts a second over all binds"`
	Window        int       `json:"window" doc:"Unanswered requests of a session, each way"`
	BindTypes     []string  `json:"bind_types" nullable:"false" enum:"receiver,transmitter,transceiver"`
	RequireTLS    bool      `json:"require_tls"`
	ReceiptFormat string    `json:"receipt_format" enum:"text,text_tlv" doc:"text_tlv: with optional parameters beside the text"`
	LongMO        string    `json:"long_mo" enum:"udh,payload,sar" doc:"How long inbound texts go out"`
	MOLifetime    int       `json:"mo_lifetime_seconds" doc:"How long a deliver_sm is held while nobody is bound"`
	Binds         int       `json:"live_binds" doc:"Over all of the gateway's processes"`
	Connection    smppPlace `json:"connection_info" doc:"Where it binds"`
	CreatedAt     string    `json:"created_at" format:"date-time"`
	UpdatedAt     string    `json:"updated_at" format:"date-time"`
}

func (s *Server) esmeOf(c snapshot.SMPPCredentialState) esmeResource {
	r := esmeResource{ID: c.ID.String(), Enabled: c.Enabled, SystemID: c.SystemID, AllowedIPs: networksOf(c.AllowedIPs), MaxBinds: c.MaxBinds, Throughput: c.Throughput,
		Window: c.Window, BindTypes: []string{}, RequireTLS: c.RequireTLS, ReceiptFormat: "text", LongMO: c.LongMO, MOLifetime: int(c.MOLifetime / time.Second), Binds: c.Binds,
		Connection: s.Connection.smpp(), CreatedAt: stamp(c.CreatedAt), UpdatedAt: stamp(c.UpdatedAt)}
	if c.ReceiptTLVs {
		r.ReceiptFormat = "text_tlv"
	}
	for i, may := range []bool{c.Receiver, c.Transmitter, c.Transceiver} {
		if may {
			r.BindTypes = append(r.BindTypes, bindTypes[i])
		}
	}
	return r
}

// esmeTag is of what is set, not of who is bound.
func esmeTag(c snapshot.SMPPCredentialState) string { return contentTag("esme", c.SMPPCredential) }

// esmeBody is what POST takes; PATCH takes the same but system_id and password_length.
type esmeBody struct {
	SystemID       string   `json:"system_id,omitempty" minLength:"1" maxLength:"15" doc:"Printable ASCII without spaces, nobody else's; left out: one is made" example:"acme1"`
	PasswordLength int      `json:"password_length,omitempty" minimum:"8" maximum:"64" default:"8" doc:"Peers that keep strictly to SMPP 3.4 cannot send more than 8"`
	Enabled        *bool    `json:"enabled,omitempty" default:"true"`
	AllowedIPs     []string `json:"allowed_ips,omitempty" maxItems:"100" nullable:"true"`
	MaxBinds       int      `json:"max_binds,omitempty" minimum:"1" maximum:"1000" default:"2"`
	Throughput     int      `json:"throughput,omitempty" minimum:"1" maximum:"499" default:"100" doc:"Parts a second; 500 and more are set by the operator"`
	Window         int      `json:"window,omitempty" minimum:"1" maximum:"1000" default:"10"`
	BindTypes      []string `json:"bind_types,omitempty" nullable:"false" enum:"receiver,transmitter,transceiver"`
	RequireTLS     *bool    `json:"require_tls,omitempty" default:"false"`
	ReceiptFormat  string   `json:"receipt_format,omitempty" enum:"text,text_tlv" default:"text_tlv"`
	LongMO         string   `json:"long_mo,omitempty" enum:"udh,payload,sar" default:"udh"`
	MOLifetime     int      `json:"mo_lifetime_seconds,omitempty" minimum:"60" maximum:"2592000" default:"259200"`
}

type esmePatch struct {
	Enabled       *bool    `json:"enabled,omitempty"`
	AllowedIPs    []string `json:"allowed_ips,omitempty" maxItems:"100" nullable:"true"`
	MaxBinds      int      `json:"max_binds,omitempty" minimum:"1" maximum:"1000"`
	Throughput    int      `json:"throughput,omitempty" minimum:"1" maximum:"499"`
	Window        int      `json:"window,omitempty" minimum:"1" maximum:"1000"`
	BindTypes     []string `json:"bind_types,omitempty" nullable:"false" enum:"receiver,transmitter,transceiver"`
	RequireTLS    *bool    `json:"require_tls,omitempty"`
	ReceiptFormat string   `json:"receipt_format,omitempty" enum:"text,text_tlv"`
	LongMO        string   `json:"long_mo,omitempty" enum:"udh,payload,sar"`
	MOLifetime    int      `json:"mo_lifetime_seconds,omitempty" minimum:"60" maximum:"2592000"`
}

type passwordBody struct {
	PasswordLength int `json:"password_length,omitempty" minimum:"8" maximum:"64" default:"8"`
}

// esmeMember reads a member of either body.
func esmeMember(by *caller, c *snapshot.SMPPCredential) func(d *decoder, name, location string) (bool, error) {
	return func(d *decoder, name, location string) (bool, error) {
		switch name {
		case "enabled":
			return true, d.bool(location, &c.Enabled)
		case "allowed_ips":
			return true, d.networks(location, &c.AllowedIPs, maxNetworks)
		case "max_binds":
			return true, d.ranged(location, &c.MaxBinds, 1, 1000)
		case "throughput":
			had := c.Throughput
			err := d.ranged(location, &c.Throughput, 1, maxRate)
			if c.Throughput >= contractThroughput && c.Throughput > had && !by.operator() {
				d.invalid(location, "%d parts a second and more are by contract: ask the operator", contractThroughput)
			}
			return true, err
		case "window":
			return true, d.ranged(location, &c.Window, 1, 1000)
		case "bind_types":
			return true, d.bindTypes(location, c)
		case "require_tls":
			return true, d.bool(location, &c.RequireTLS)
		case "receipt_format":
			return true, d.parsedChoice(location, []string{"text", "text_tlv"}, func(s string) { c.ReceiptTLVs = s == "text_tlv" })
		case "long_mo":
			return true, d.choice(location, &c.LongMO, "udh", "payload", "sar")
		case "mo_lifetime_seconds":
			return true, d.span(location, &c.MOLifetime, 60, 2_592_000)
		case "id", "password", "live_binds", "connection_info", "created_at", "updated_at", "system_id":
			d.invalid(location, "is shown, and not changed here; for another password there is POST …/regenerate")
			return true, d.skip()
		}
		return false, nil
	}
}

func (d *decoder) bindTypes(location string, c *snapshot.SMPPCredential) error {
	var list *[]string
	if err := d.texts(location, &list, len(bindTypes)); err != nil || list == nil {
		return err
	}
	if len(*list) == 0 {
		d.invalid(location, "must have one or more of %s", quoted(bindTypes))
	}
	for _, t := range *list {
		if !contains(bindTypes, t) {
			d.invalid(location, "%q is none of %s", clip(t), quoted(bindTypes))
		}
	}
	c.Receiver, c.Transmitter, c.Transceiver = slices.Contains(*list, "receiver"), slices.Contains(*list, "transmitter"), slices.Contains(*list, "transceiver")
	return nil
}

const esmePath = "/v1/smpp-credentials"

func (s *Server) registerESMEs(api huma.API) {
	schemas := api.OpenAPI().Components.Schemas
	tags := []string{"Access"}
	plain := access{scope: scopeCredentialsWrite, rate: asRequest}
	takes := access{scope: scopeCredentialsWrite, rate: asRequest, bodies: []string{jsonType, patchType}}
	const auth, one = ` -u "$API_KEY:$API_SECRET"`, esmePath + "/01a1ffbf-8676-7d35-9c44-0f6f2f1b7e21"
	register(api, s.operation(keyed[esmeResource](api, huma.Operation{
		OperationID: "createSMPPCredential", Method: http.MethodPost, Path: esmePath, Tags: tags, Summary: "Make a system_id and password for SMPP",
		Description: "The password is shown once. Whoever binds with it sends and receives for the account, so your own credential needs `messages:write` and `messages:read`, and no list of numbers. An account has at most 100.",
		Extensions:  example(`curl -sS ` + exampleHost + esmePath + auth + ` -H 'Content-Type: application/json' -d '{"max_binds":4,"throughput":200}'`),
	}), access{scope: scopeCredentialsWrite, rate: asRequest, bodies: []string{jsonType}}, 400, 409, 413, 415), s.createESME, bodyOf[esmeBody](schemas))
	register(api, s.operation(huma.Operation{
		OperationID: "listSMPPCredentials", Method: http.MethodGet, Path: esmePath, Tags: tags, Summary: "List the SMPP credentials", Description: "Newest first.",
		Extensions: example(`curl -sS ` + exampleHost + esmePath + auth),
	}, plain), s.listESMEs, nil)
	register(api, s.operation(huma.Operation{
		OperationID: "getSMPPCredential", Method: http.MethodGet, Path: esmePath + "/{id}", Tags: tags, Summary: "Read an SMPP credential",
		Extensions: example(`curl -sS ` + exampleHost + one + auth),
	}, plain, 404), s.getESME, nil)
	register(api, s.operation(huma.Operation{
		OperationID: "changeSMPPCredential", Method: http.MethodPatch, Path: esmePath + "/{id}", Tags: tags, Summary: "Change an SMPP credential",
		Description: "A merge patch: what is left out stays. It reaches live sessions within 5 seconds: one that could not bind any more is unbound.",
		Extensions:  example(`curl -sS -X PATCH ` + exampleHost + one + auth + ` -H 'Content-Type: application/json' -d '{"enabled":false}'`),
	}, takes, 400, 404, 412, 413, 415), s.changeESME, bodyOf[esmePatch](schemas))
	register(api, s.operation(huma.Operation{
		OperationID: "removeSMPPCredential", Method: http.MethodDelete, Path: esmePath + "/{id}", Tags: tags, Summary: "Take an SMPP credential away",
		Description: "Its sessions are unbound within 5 seconds, and what is held for them ends in its time. Its system_id is not given out again. While inbound messages are set to go there it stays.", DefaultStatus: http.StatusNoContent,
		Extensions: example(`curl -sS -X DELETE ` + exampleHost + one + auth),
	}, plain, 404, 409, 412), s.removeESME, nil)
	regenerate := s.operation(keyed[esmeResource](api, huma.Operation{
		OperationID: "regenerateSMPPCredential", Method: http.MethodPost, Path: esmePath + "/{id}/regenerate", Tags: tags, Summary: "Make a new password for a system_id",
		Description: "It is shown once. Sessions of the one before are unbound within 5 seconds.", DefaultStatus: http.StatusOK,
		Extensions: example(`curl -sS -X POST ` + exampleHost + one + `/regenerate` + auth),
	}), access{scope: scopeCredentialsWrite, rate: asRequest, bodies: []string{jsonType}}, 400, 404, 409, 413, 415)
	body := bodyOf[passwordBody](schemas)
	body.Required = false
	register(api, regenerate, s.regenerateESME, body)
	register(api, s.operation(huma.Operation{
		OperationID: "listSMPPSessions", Method: http.MethodGet, Path: esmePath + "/{id}/sessions", Tags: tags, Summary: "List the live binds of an SMPP credential",
		Description: "Of all of the gateway's processes, the oldest first. A process that dies is noticed after 30 seconds.",
		Extensions:  example(`curl -sS ` + exampleHost + one + `/sessions` + auth),
	}, plain, 404), s.listSessions, nil)
}

// mayBind is nil if the caller may do himself what a bind does for the account.
func mayBind(by *caller) error {
	switch own := by.credential; {
	case by.operator():
		return nil
	case !by.may(scopeMessagesWrite) || !by.may(scopeMessagesRead):
		return message.Refuse(message.ReasonForbidden, "whoever binds sends and receives for the account: your own credential lacks messages:write or messages:read")
	case own != nil && !own.ExpiresAt.IsZero():
		return message.Refuse(message.ReasonForbidden, "an SMPP credential has no end, and your own credential has one")
	case own != nil && len(own.AllowedNumbers) > 0:
		return message.Refuse(message.ReasonForbidden, "whoever binds may use every number of the account, and your own credential may not")
	}
	return nil
}

// bindsFrom refuses networks to bind from that the caller's own credential may not come from.
func bindsFrom(d *decoder, by *caller, networks []netip.Prefix) {
	if own := by.credential; !by.operator() && own != nil && outside(networks, own.AllowedIPs) {
		d.add(message.ReasonForbidden, "body.allowed_ips", "must be within your own credential's")
	}
}

func (s *Server) createESME(ctx context.Context, in *rawInput) (*madeOutput, error) {
	x := exchangeOf(ctx)
	if s.ESMEs == nil {
		return nil, s.problem(x, errNoCredentials, 0)
	}
	if err := mayBind(&x.caller); err != nil {
		return nil, s.problem(x, err, 0)
	}
	c := snapshot.SMPPCredential{ID: message.NewID(), AccountID: x.caller.account.ID, Enabled: true, ReceiptTLVs: true}
	var word secret.String
	length := smppPasswordLength
	known := esmeMember(&x.caller, &c)
	return perform(ctx, s, in.RawBody, making[snapshot.SMPPCredentialState]{
		status: http.StatusCreated,
		read: func() (int, *message.Error) {
			return readObject(in.RawBody, func(d *decoder, name, location string) (bool, error) {
				switch name {
				case "system_id":
					return true, d.parsed(location, func(id string) { d.systemID(location, id, &c.SystemID) })
				case "password_length":
					return true, d.ranged(location, &length, smppPasswordLength, smppPasswordMost)
				}
				return known(d, name, location)
			}, func(d *decoder) { bindsFrom(d, &x.caller, c.AllowedIPs) })
		},
		do: func(ctx context.Context, answer func(snapshot.SMPPCredentialState) (message.Idempotency, error)) (made snapshot.SMPPCredentialState, replay *message.Idempotency, err error) {
			if c.SystemID == "" {
				c.SystemID = secret.NewSystemID()
			}
			if word, c.PasswordHash, err = s.newPassword(ctx, length); err != nil {
				return made, nil, err
			}
			return s.ESMEs.AddOwnSMPPCredential(ctx, x.changer(), c, maxCredentials, answer)
		},
		show: s.esmeKept, once: func(c snapshot.SMPPCredentialState) any { return s.esmeOnce(c, word) },
		path: esmePath,
	})
}

// newPassword makes a password and hashes it, which takes a core for a while.
func (s *Server) newPassword(ctx context.Context, length int) (word secret.String, hash string, err error) {
	if err := s.turns.Take(ctx); err != nil {
		return word, "", err
	}
	defer s.turns.Give()
	word = secret.NewPassword(length)
	hash, err = secret.HashSMPPPassword(word.Reveal())
	return word, hash, err
}

// esmeKept is the answer that is kept: the password is null in it.
func (s *Server) esmeKept(c snapshot.SMPPCredentialState) any {
	return struct {
		esmeResource
		Password *string `json:"password"`
	}{s.esmeOf(c), nil}
}

func (s *Server) esmeOnce(c snapshot.SMPPCredentialState, word secret.String) any {
	r := s.esmeOf(c)
	r.Password = new(word.Reveal())
	return r
}

func (s *Server) listESMEs(ctx context.Context, in *Page) (*output[list[esmeResource]], error) {
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	x := exchangeOf(ctx)
	if s.ESMEs == nil {
		return nil, s.problem(x, errNoCredentials, 0)
	}
	before, refusal := in.before()
	if refusal != nil {
		return nil, s.problem(x, refusal, 0)
	}
	rows, err := s.ESMEs.OwnSMPPCredentials(ctx, x.caller.account.ID, before, in.size()+1)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	rows, next := page(rows, *in, func(c snapshot.SMPPCredentialState) string { return encodeRowCursor(c.ID) })
	return listed(rows, next, s.esmeOf), nil
}

func (s *Server) getESME(ctx context.Context, in *RowInput) (*entity[esmeResource], error) {
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	x := exchangeOf(ctx)
	if s.ESMEs == nil {
		return nil, s.problem(x, errNoCredentials, 0)
	}
	id, err := in.row()
	var c snapshot.SMPPCredentialState
	if err == nil {
		c, err = s.ESMEs.OwnSMPPCredential(ctx, x.caller.account.ID, id)
	}
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	return &entity[esmeResource]{ETag: esmeTag(c), Body: s.esmeOf(c)}, nil
}

func (s *Server) changeESME(ctx context.Context, in *idChange) (*entity[esmeResource], error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.answerTimeout())
	defer cancel()
	x := exchangeOf(ctx)
	if s.ESMEs == nil {
		return nil, s.problem(x, errNoCredentials, 0)
	}
	status := 0
	id, err := in.row()
	var c snapshot.SMPPCredentialState
	if err == nil {
		c, err = s.ESMEs.ChangeOwnSMPPCredential(ctx, x.changer(), x.caller.account.ID, id, func(c *snapshot.SMPPCredentialState) error {
			if err := in.check(esmeTag(*c)); err != nil {
				return err
			}
			var refusal *message.Error
			was := slices.Clone(c.AllowedIPs)
			check := func(d *decoder) {
				if !slices.Equal(was, c.AllowedIPs) {
					bindsFrom(d, &x.caller, c.AllowedIPs)
				}
			}
			if status, refusal = readObject(in.RawBody, esmeMember(&x.caller, &c.SMPPCredential), check); refusal != nil {
				return refusal
			}
			return nil
		})
	}
	if err != nil {
		return nil, s.problem(x, err, max(status, changeStatus(err)))
	}
	return &entity[esmeResource]{ETag: esmeTag(c), Body: s.esmeOf(c)}, nil
}

func (s *Server) regenerateESME(ctx context.Context, in *rowBody) (*madeOutput, error) {
	x := exchangeOf(ctx)
	if s.ESMEs == nil {
		return nil, s.problem(x, errNoCredentials, 0)
	}
	id, err := in.row()
	if err == nil {
		err = mayBind(&x.caller)
	}
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	var word secret.String
	length := smppPasswordLength
	return perform(ctx, s, in.RawBody, making[snapshot.SMPPCredentialState]{
		status: http.StatusOK,
		read: func() (status int, refusal *message.Error) {
			length, status, refusal = readPasswordLength(in.RawBody)
			return status, refusal
		},
		do: func(ctx context.Context, answer func(snapshot.SMPPCredentialState) (message.Idempotency, error)) (made snapshot.SMPPCredentialState, replay *message.Idempotency, err error) {
			var hash string
			if word, hash, err = s.newPassword(ctx, length); err != nil {
				return made, nil, err
			}
			return s.ESMEs.RegenerateOwnSMPPCredential(ctx, x.changer(), x.caller.account.ID, id, hash, answer)
		},
		show: s.esmeKept, once: func(c snapshot.SMPPCredentialState) any { return s.esmeOnce(c, word) },
	})
}

// readPasswordLength reads the body of a request for a new password, which may be empty.
func readPasswordLength(body []byte) (length, status int, refusal *message.Error) {
	length = smppPasswordLength
	if len(body) == 0 {
		return length, 0, nil
	}
	status, refusal = readObject(body, func(d *decoder, name, location string) (bool, error) {
		if name != "password_length" {
			return false, nil
		}
		return true, d.ranged(location, &length, smppPasswordLength, smppPasswordMost)
	}, nil)
	return length, status, refusal
}

func (s *Server) removeESME(ctx context.Context, in *idRemoval) (*nothing, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.answerTimeout())
	defer cancel()
	x := exchangeOf(ctx)
	if s.ESMEs == nil {
		return nil, s.problem(x, errNoCredentials, 0)
	}
	id, err := in.row()
	if err == nil {
		err = s.ESMEs.RemoveOwnSMPPCredential(ctx, x.changer(), x.caller.account.ID, id, func(c snapshot.SMPPCredentialState) error { return in.check(esmeTag(c)) })
	}
	if err != nil {
		return nil, s.problem(x, err, changeStatus(err))
	}
	return &nothing{}, nil
}

type sessionResource struct {
	_                struct{} `json:"-" additionalProperties:"true"`
	ID               string   `json:"id" format:"uuid"`
	BindType         string   `json:"bind_type" enum:"receiver,transmitter,transceiver"`
	Address          *string  `json:"address" doc:"Where it was bound from" example:"192.0.2.7"`
	TLS              bool     `json:"tls"`
	InterfaceVersion *int     `json:"interface_version" doc:"As the ESME said, 52 for 3.4"`
	BoundAt          string   `json:"bound_at" format:"date-time"`
	SeenAt           string   `json:"seen_at" format:"date-time"`
}

// listSessions gives all of them on one page: a credential has 1000 binds at most.
func (s *Server) listSessions(ctx context.Context, in *RowInput) (*output[list[sessionResource]], error) {
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	x := exchangeOf(ctx)
	if s.ESMEs == nil {
		return nil, s.problem(x, errNoCredentials, 0)
	}
	id, err := in.row()
	var rows []snapshot.SMPPSession
	if err == nil {
		rows, err = s.ESMEs.OwnSMPPSessions(ctx, x.caller.account.ID, id)
	}
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	return listed(rows, nil, func(b snapshot.SMPPSession) sessionResource {
		return sessionResource{ID: b.ID.String(), BindType: b.Mode, Address: optional(b.Address), TLS: b.TLS, InterfaceVersion: optionalPort(int(b.Version)),
			BoundAt: stamp(b.BoundAt), SeenAt: stamp(b.SeenAt)}
	}), nil
}
