package rest

import (
	"context"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/secret"
	"github.com/postrider/postrider/internal/snapshot"
)

// SMPPUserTable keeps the SMPP credentials of all accounts and vendors. A method that
// changes something leaves a line in the audit log, without the password.
type SMPPUserTable interface {
	// SMPPUsers lists them, newest first, older than before.
	SMPPUsers(ctx context.Context, f snapshot.SMPPUserFilter, before message.ID, limit int) ([]snapshot.SMPPCredentialState, error)
	// SMPPUser reads one; ReasonNotFound when there is none.
	SMPPUser(ctx context.Context, id message.ID) (snapshot.SMPPCredentialState, error)
	// SMPPCredentialID finds one by its system_id; ReasonNotFound when there is none.
	SMPPCredentialID(ctx context.Context, systemID string) (message.ID, error)
	// CreateSMPPCredential refuses a system_id that is taken with ReasonConflict, and an
	// account or vendor that is not there with ReasonNotFound.
	CreateSMPPCredential(ctx context.Context, by message.Actor, c snapshot.SMPPCredential) error
	ChangeSMPPUser(ctx context.Context, by message.Actor, id message.ID, change func(*snapshot.SMPPCredentialState) error) (snapshot.SMPPCredentialState, error)
	RegenerateSMPPUser(ctx context.Context, by message.Actor, id message.ID, hash string) (snapshot.SMPPCredentialState, error)
	// RemoveSMPPUser is ReasonConflict while inbound messages are set to go to it.
	RemoveSMPPUser(ctx context.Context, by message.Actor, id message.ID, check func(snapshot.SMPPCredentialState) error) error
}

const smppUserPath = adminPrefix + "/smpp-users"

// smppAlphabets are what data_coding 0 may mean.
var smppAlphabets = []string{"gsm7", "latin1", "ascii"}

// ESMEResource is esmeResource: the name is exported only because huma looks into
// embedded types no other way.
type ESMEResource = esmeResource

type smppUserResource struct {
	Kind      string  `json:"kind" enum:"customer,vendor" doc:"vendor: what it submits are inbound messages and receipts of that vendor"`
	AccountID *string `json:"account_id" format:"uuid" doc:"null: it is a vendor's"`
	VendorID  *string `json:"vendor_id" format:"uuid" doc:"null: it is a customer's"`
	Alphabet  string  `json:"default_alphabet" enum:"gsm7,latin1,ascii" doc:"What data_coding 0 means"`
	ESMEResource
}

// TransformSchema says what the customers' resource says of itself: clients ignore what
// they do not know.
func (smppUserResource) TransformSchema(_ huma.Registry, s *huma.Schema) *huma.Schema {
	s.AdditionalProperties = true
	return s
}

func (s *Server) smppUserOf(c snapshot.SMPPCredentialState) smppUserResource {
	r := smppUserResource{Kind: string(snapshot.OwnerCustomer), AccountID: optionalID(c.AccountID), VendorID: optionalID(c.VendorID), Alphabet: c.Alphabet, ESMEResource: s.esmeOf(c)}
	if c.VendorID != (message.ID{}) {
		r.Kind = string(snapshot.OwnerVendor)
	}
	return r
}

func (s *Server) showSMPPUser(c snapshot.SMPPCredentialState) *entity[smppUserResource] {
	return &entity[smppUserResource]{ETag: esmeTag(c), Body: s.smppUserOf(c)}
}

// SMPPUserSettings is what staff set beside what customers do. The name is exported only
// because huma looks into embedded types no other way.
type SMPPUserSettings struct {
	Alphabet string `json:"default_alphabet,omitempty" enum:"gsm7,latin1,ascii" doc:"What data_coding 0 means; gsm7 if it was never said"`
}

// ESMEBody and ESMEPatch are esmeBody and esmePatch, exported as ESMEResource is.
type (
	ESMEBody  = esmeBody
	ESMEPatch = esmePatch
)

type smppUserBody struct {
	AccountID *string `json:"account_id,omitempty" format:"uuid" nullable:"true" doc:"The customer whose it is; this or vendor_id, which never change"`
	VendorID  *string `json:"vendor_id,omitempty" format:"uuid" nullable:"true" doc:"The vendor that binds to us"`
	SMPPUserSettings
	ESMEBody
}

type smppUserPatch struct {
	SMPPUserSettings
	ESMEPatch
}

// anyThroughput lifts what binds customers alone.
func anyThroughput(s *huma.Schema) *huma.Schema {
	p := *s.Properties["throughput"]
	most := float64(maxRate)
	p.Maximum, p.Description = &most, "Parts a second over all binds"
	s.Properties["throughput"] = &p
	return s
}

// TransformSchema lifts what binds customers alone.
func (smppUserBody) TransformSchema(_ huma.Registry, s *huma.Schema) *huma.Schema {
	return anyThroughput(s)
}

// TransformSchema lifts what binds customers alone.
func (smppUserPatch) TransformSchema(_ huma.Registry, s *huma.Schema) *huma.Schema {
	return anyThroughput(s)
}

// quotaBody is what PUT …/quota takes.
type quotaBody struct {
	Throughput int `json:"throughput" minimum:"1" maximum:"100000" doc:"Parts a second over all binds"`
	MaxBinds   int `json:"max_binds" minimum:"1" maximum:"1000" doc:"At once, over all of the gateway's processes"`
	Window     int `json:"window" minimum:"1" maximum:"1000" doc:"Unanswered requests of a session, each way"`
}

func (s *Server) registerSMPPUsers(api huma.API) {
	schemas := api.OpenAPI().Components.Schemas
	tags := []string{"SMPP users"}
	write := staff(snapshot.RoleOperator)
	takes := write.taking()
	takes.bodies = append(takes.bodies, patchType)
	register(api, s.operation(huma.Operation{
		OperationID: "listSMPPUsers", Method: http.MethodGet, Path: smppUserPath, Tags: tags, Summary: "List the SMPP credentials of all customers and vendors",
		Description: "Newest first.",
	}, anyStaff()), s.listSMPPUsers, nil)
	register(api, s.operation(huma.Operation{
		OperationID: "createSMPPUser", Method: http.MethodPost, Path: smppUserPath, Tags: tags, Summary: "Make a system_id and password for a customer or vendor",
		Description: "The password is shown once. It may bind within seconds.", DefaultStatus: http.StatusCreated,
	}, write.taking(), 400, 404, 409, 413, 415), s.createSMPPUser, bodyOf[smppUserBody](schemas))
	register(api, s.operation(huma.Operation{
		OperationID: "getSMPPUser", Method: http.MethodGet, Path: smppUserPath + "/{uid}", Tags: tags, Summary: "Read an SMPP credential",
	}, anyStaff(), 404), s.getSMPPUser, nil)
	register(api, s.operation(huma.Operation{
		OperationID: "changeSMPPUser", Method: http.MethodPatch, Path: smppUserPath + "/{uid}", Tags: tags, Summary: "Change an SMPP credential",
		Description: "A merge patch: what is left out stays. It reaches live sessions within 5 seconds: one that could not bind any more is unbound.",
	}, takes, 400, 404, 412, 413, 415), s.changeSMPPUser, bodyOf[smppUserPatch](schemas))
	register(api, s.operation(huma.Operation{
		OperationID: "setSMPPUserQuota", Method: http.MethodPut, Path: smppUserPath + "/{uid}/quota", Tags: tags, Summary: "Set how much an SMPP credential may take at a time",
		Description: "All three. Live binds beyond a lower max_binds are unbound within seconds, the newest first. What a customer may send in a day or month is set at `" + customerPath + "/{account}/limits`.",
	}, write.taking(), 400, 404, 412, 413, 415), s.setSMPPUserQuota, bodyOf[quotaBody](schemas))
	register(api, s.operation(huma.Operation{
		OperationID: "removeSMPPUser", Method: http.MethodDelete, Path: smppUserPath + "/{uid}", Tags: tags, Summary: "Take an SMPP credential away",
		Description: "Its sessions are unbound within 5 seconds, and what is held for them ends in its time. Its system_id is not given out again. While inbound messages are set to go there it stays.", DefaultStatus: http.StatusNoContent,
	}, write, 404, 409, 412), s.removeSMPPUser, nil)
	body := bodyOf[passwordBody](schemas)
	body.Required = false
	register(api, s.operation(huma.Operation{
		OperationID: "regenerateSMPPUser", Method: http.MethodPost, Path: smppUserPath + "/{uid}/regenerate", Tags: tags, Summary: "Make a new password for a system_id",
		Description: "It is shown once. Sessions of the one before are unbound within 5 seconds.",
	}, write.taking(), 400, 404, 413, 415), s.regenerateSMPPUser, body)
}

type smppUserListInput struct {
	Page
	AccountID string `query:"account_id" maxLength:"36" doc:"Of this customer alone"`
	VendorID  string `query:"vendor_id" maxLength:"36" doc:"Of this vendor alone"`
	Kind      string `query:"kind" enum:"customer,vendor" doc:"who binds with it"`
	SystemID  string `query:"system_id" maxLength:"15" example:"acme1" doc:"what it binds as, whole"`
}

func (s *Server) listSMPPUsers(ctx context.Context, in *smppUserListInput) (*output[list[smppUserResource]], error) {
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	x := exchangeOf(ctx)
	f := snapshot.SMPPUserFilter{Kind: snapshot.OwnerKind(in.Kind), SystemID: in.SystemID}
	var faults faults
	faults.owners(in.AccountID, in.VendorID, &f.AccountID, &f.VendorID)
	queryText(&faults, "query.system_id", in.SystemID)
	if refusal := faults.refusal(); refusal != nil {
		return nil, s.problem(x, refusal, 0)
	}
	before, refusal := in.before()
	if refusal != nil {
		return nil, s.problem(x, refusal, 0)
	}
	rows, err := s.Admin.SMPPUsers.SMPPUsers(ctx, f, before, in.size()+1)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	rows, next := page(rows, in.Page, func(c snapshot.SMPPCredentialState) string { return encodeRowCursor(c.ID) })
	return listed(rows, next, s.smppUserOf), nil
}

// owners reads the filters of whose something is; empty ones are none.
func (f *faults) owners(account, vendor string, ofAccount, ofVendor *message.ID) {
	if account != "" {
		f.account("query.account_id", account, ofAccount)
	}
	if vendor != "" {
		f.account("query.vendor_id", vendor, ofVendor)
	}
}

// SMPPUserInput names an SMPP credential. It is exported only because huma looks into
// embedded types no other way.
type SMPPUserInput struct {
	UID string `path:"uid" maxLength:"36" doc:"The credential's id or its system_id" example:"acme1"`
}

// smppUserID finds out which one is meant: a system_id is too short to be taken for an id.
func (s *Server) smppUserID(ctx context.Context, given string) (message.ID, error) {
	if id, err := message.ParseID(given); err == nil {
		return id, nil
	}
	return s.Admin.SMPPUsers.SMPPCredentialID(ctx, given)
}

func (s *Server) getSMPPUser(ctx context.Context, in *SMPPUserInput) (*entity[smppUserResource], error) {
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	id, err := s.smppUserID(ctx, in.UID)
	var c snapshot.SMPPCredentialState
	if err == nil {
		c, err = s.Admin.SMPPUsers.SMPPUser(ctx, id)
	}
	if err != nil {
		return nil, s.problem(exchangeOf(ctx), err, 0)
	}
	return s.showSMPPUser(c), nil
}

// smppUserMember reads a member of either body.
func smppUserMember(by *caller, c *snapshot.SMPPCredential) func(d *decoder, name, location string) (bool, error) {
	settings := esmeMember(by, c)
	return func(d *decoder, name, location string) (bool, error) {
		switch name {
		case "default_alphabet":
			return true, d.choice(location, &c.Alphabet, smppAlphabets...)
		case "kind", "account_id", "vendor_id":
			d.invalid(location, "says whose it is, which never changes")
			return true, d.skip()
		}
		return settings(d, name, location)
	}
}

// newSMPPUser reads the body of a new one. All but its password is in what it gives.
func newSMPPUser(by *caller, body []byte) (c snapshot.SMPPCredential, length, status int, refusal *message.Error) {
	c, length = snapshot.SMPPCredential{ID: message.NewID(), Enabled: true, ReceiptTLVs: true}, smppPasswordLength
	known := smppUserMember(by, &c)
	status, refusal = readObject(body, func(d *decoder, name, location string) (bool, error) {
		switch name {
		case "account_id":
			return true, d.parsed(location, func(id string) { d.account(location, id, &c.AccountID) })
		case "vendor_id":
			return true, d.parsed(location, func(id string) { d.account(location, id, &c.VendorID) })
		case "system_id":
			return true, d.parsed(location, func(id string) { d.systemID(location, id, &c.SystemID) })
		case "password_length":
			return true, d.ranged(location, &length, smppPasswordLength, smppPasswordMost)
		}
		return known(d, name, location)
	}, func(d *decoder) {
		if (c.AccountID == message.ID{}) == (c.VendorID == message.ID{}) && !d.faulty("body.account_id") && !d.faulty("body.vendor_id") {
			d.invalid("body.account_id", "say whose it is: account_id or vendor_id, one of the two")
		}
	})
	if c.SystemID == "" {
		c.SystemID = secret.NewSystemID()
	}
	return c, length, status, refusal
}

// systemID checks a system_id that somebody chose.
func (d *decoder) systemID(location, id string, into *string) {
	if len(id) < 1 || len(id) > 15 || strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r > '~' }) {
		d.invalid(location, "must be 1 to 15 printable ASCII characters without spaces")
	}
	*into = id
}

func (s *Server) createSMPPUser(ctx context.Context, in *rawInput) (*createdTagged[smppUserResource], error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.answerTimeout())
	defer cancel()
	x := exchangeOf(ctx)
	c, length, status, refusal := newSMPPUser(&x.caller, in.RawBody)
	if refusal != nil {
		return nil, s.problem(x, refusal, status)
	}
	word, hash, err := s.newPassword(ctx, length)
	if err == nil {
		c.PasswordHash = hash
		err = s.Admin.SMPPUsers.CreateSMPPCredential(ctx, x.actor(), c)
	}
	var made snapshot.SMPPCredentialState
	if err == nil {
		made, err = s.Admin.SMPPUsers.SMPPUser(ctx, c.ID)
	}
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	out := &createdTagged[smppUserResource]{Location: smppUserPath + "/" + c.ID.String(), ETag: esmeTag(made), Body: s.smppUserOf(made)}
	out.Body.Password = new(word.Reveal())
	return out, nil
}

type smppUserChangeInput struct {
	SMPPUserInput
	IfMatch
	RawBody []byte
}

// changeESMEOf changes one as read says, which is called with what it is now.
func (s *Server) changeESMEOf(ctx context.Context, in *smppUserChangeInput, read func(c *snapshot.SMPPCredential) (int, *message.Error)) (*entity[smppUserResource], error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.answerTimeout())
	defer cancel()
	x := exchangeOf(ctx)
	status := 0
	id, err := s.smppUserID(ctx, in.UID)
	var c snapshot.SMPPCredentialState
	if err == nil {
		c, err = s.Admin.SMPPUsers.ChangeSMPPUser(ctx, x.actor(), id, func(c *snapshot.SMPPCredentialState) error {
			if err := in.check(esmeTag(*c)); err != nil {
				return err
			}
			var refusal *message.Error
			if status, refusal = read(&c.SMPPCredential); refusal != nil {
				return refusal
			}
			return nil
		})
	}
	if err != nil {
		return nil, s.problem(x, err, max(status, changeStatus(err)))
	}
	return s.showSMPPUser(c), nil
}

func (s *Server) changeSMPPUser(ctx context.Context, in *smppUserChangeInput) (*entity[smppUserResource], error) {
	by := &exchangeOf(ctx).caller
	return s.changeESMEOf(ctx, in, func(c *snapshot.SMPPCredential) (int, *message.Error) {
		return readObject(in.RawBody, smppUserMember(by, c), nil)
	})
}

func (s *Server) setSMPPUserQuota(ctx context.Context, in *smppUserChangeInput) (*entity[smppUserResource], error) {
	by := &exchangeOf(ctx).caller
	return s.changeESMEOf(ctx, in, func(c *snapshot.SMPPCredential) (int, *message.Error) {
		given := map[string]bool{}
		known := esmeMember(by, c)
		return readObject(in.RawBody, func(d *decoder, name, location string) (bool, error) {
			if !contains(quotaMembers, name) {
				return false, nil
			}
			null := d.peek() == 'n' // which would leave it as it is
			given[name] = !null
			return known(d, name, location)
		}, func(d *decoder) {
			for _, name := range quotaMembers {
				if !given[name] && !d.faulty("body."+name) {
					d.invalid("body."+name, "is required: a quota is set whole")
				}
			}
		})
	})
}

var quotaMembers = []string{"throughput", "max_binds", "window"}

func (s *Server) regenerateSMPPUser(ctx context.Context, in *smppUserChangeInput) (*entity[smppUserResource], error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.answerTimeout())
	defer cancel()
	x := exchangeOf(ctx)
	length, status, refusal := readPasswordLength(in.RawBody)
	if refusal != nil {
		return nil, s.problem(x, refusal, status)
	}
	id, err := s.smppUserID(ctx, in.UID)
	var word secret.String
	var hash string
	if err == nil {
		word, hash, err = s.newPassword(ctx, length)
	}
	var c snapshot.SMPPCredentialState
	if err == nil {
		c, err = s.Admin.SMPPUsers.RegenerateSMPPUser(ctx, x.actor(), id, hash)
	}
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	out := s.showSMPPUser(c)
	out.Body.Password = new(word.Reveal())
	return out, nil
}

type smppUserRemoveInput struct {
	SMPPUserInput
	IfMatch
}

func (s *Server) removeSMPPUser(ctx context.Context, in *smppUserRemoveInput) (*nothing, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.answerTimeout())
	defer cancel()
	x := exchangeOf(ctx)
	id, err := s.smppUserID(ctx, in.UID)
	if err == nil {
		err = s.Admin.SMPPUsers.RemoveSMPPUser(ctx, x.actor(), id, func(c snapshot.SMPPCredentialState) error { return in.check(esmeTag(c)) })
	}
	if err != nil {
		return nil, s.problem(x, err, changeStatus(err))
	}
	return &nothing{}, nil
}
