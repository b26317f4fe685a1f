package rest

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/secret"
	"github.com/postrider/postrider/internal/snapshot"
	"github.com/postrider/postrider/internal/vendorconf"
)

// MM4PeerTable keeps the peers of MM4. A method that changes something leaves a line in
// the audit log, without secrets.
type MM4PeerTable interface {
	// MM4Peers lists them with their secrets, newest first, older than before.
	MM4Peers(ctx context.Context, f snapshot.MM4PeerFilter, before message.ID, limit int) ([]snapshot.MM4PeerState, error)
	// MM4Peer reads one; ReasonNotFound when there is none.
	MM4Peer(ctx context.Context, id message.ID) (snapshot.MM4PeerState, error)
	// MM4PeerNamed finds one; ReasonNotFound when there is none.
	MM4PeerNamed(ctx context.Context, name string) (message.ID, error)
	// CreateMM4Peer refuses a name that is taken, and a peer that could not be told from
	// another one, with ReasonConflict.
	CreateMM4Peer(ctx context.Context, by message.Actor, p snapshot.MM4Peer) (snapshot.MM4PeerState, error)
	// UpdateMM4Peer has change make a peer into what it is to be, and refuses as
	// CreateMM4Peer does.
	UpdateMM4Peer(ctx context.Context, by message.Actor, id message.ID, change func(*snapshot.MM4PeerState) error) (snapshot.MM4PeerState, error)
	// DeleteMM4Peer takes one away unless check has something against it.
	DeleteMM4Peer(ctx context.Context, by message.Actor, id message.ID, check func(snapshot.MM4PeerState) error) error
}

// MM4PeerSettings is what staff set of a peer. The name is exported only because huma
// looks into embedded types no other way.
type MM4PeerSettings = vendorconf.MM4Peer

// MM4PeerSecrets is what is written and never shown.
type MM4PeerSecrets struct {
	AuthPassword *string `json:"auth_password,omitempty" nullable:"true" writeOnly:"true" minLength:"12" maxLength:"72" doc:"What it must say in AUTH with auth_username. null: none"`
	SendPassword *string `json:"send_password,omitempty" nullable:"true" writeOnly:"true" maxLength:"512" doc:"What we say in AUTH with send_username. null: none"`
}

type mm4PeerBody struct {
	Name      string  `json:"name" minLength:"1" maxLength:"50" pattern:"^[A-Za-z0-9_.-]+$" doc:"Its name in paths, logs and metrics; it never changes" example:"acme"`
	AccountID *string `json:"account_id,omitempty" format:"uuid" nullable:"true" doc:"The customer whose it is; this or vendor_id, which never change"`
	VendorID  *string `json:"vendor_id,omitempty" format:"uuid" nullable:"true" doc:"The vendor, of provider_type mm4, whose it is"`
	MM4PeerSettings
	MM4PeerSecrets
}

type mm4PeerPatch struct {
	MM4PeerSettings
	MM4PeerSecrets
}

// TransformSchema leaves settings out that have a default.
func (mm4PeerBody) TransformSchema(_ huma.Registry, s *huma.Schema) *huma.Schema {
	s.Required = []string{"name", "addresses"}
	return s
}

// TransformSchema asks for nothing.
func (mm4PeerPatch) TransformSchema(_ huma.Registry, s *huma.Schema) *huma.Schema {
	s.Required = nil
	return s
}

type mm4PeerResource struct {
	_         struct{} `json:"-" additionalProperties:"true"`
	ID        string   `json:"id" format:"uuid"`
	Name      string   `json:"name" example:"acme"`
	AccountID *string  `json:"account_id" format:"uuid" doc:"null: it is a vendor's"`
	VendorID  *string  `json:"vendor_id" format:"uuid" doc:"null: it is a customer's"`
	MM4PeerSettings
	AuthPasswordSet bool    `json:"auth_password_set"`
	SendPasswordSet bool    `json:"send_password_set"`
	Pending         int     `json:"pending" doc:"Responses and reports that it is owed"`
	Problem         *string `json:"problem" doc:"What of it cannot be read: it is out of the configuration until that is set anew. null: nothing"`
	CreatedAt       string  `json:"created_at" format:"date-time"`
	UpdatedAt       string  `json:"updated_at" format:"date-time"`
}

func mm4PeerOf(p snapshot.MM4PeerState) mm4PeerResource {
	return mm4PeerResource{
		ID: p.ID.String(), Name: p.Name, AccountID: optionalID(p.AccountID), VendorID: optionalID(p.VendorID), MM4PeerSettings: vendorconf.MM4PeerOf(&p.MM4Peer),
		AuthPasswordSet: p.PasswordHash != "", SendPasswordSet: p.SendPassword != "", Pending: p.Pending, Problem: optional(p.Broken),
		CreatedAt: stamp(p.CreatedAt), UpdatedAt: stamp(p.UpdatedAt),
	}
}

// mm4PeerTag stands for what staff have set. Of the secrets it knows only that somebody
// changed something.
func mm4PeerTag(p snapshot.MM4PeerState) string {
	return contentTag(p.ID, vendorconf.MM4PeerOf(&p.MM4Peer), p.UpdatedAt)
}

func showMM4Peer(p snapshot.MM4PeerState) *entity[mm4PeerResource] {
	return &entity[mm4PeerResource]{ETag: mm4PeerTag(p), Body: mm4PeerOf(p)}
}

const mm4PeerPath = adminPrefix + "/mm4-peers"

func (s *Server) registerMM4Peers(api huma.API) {
	schemas := api.OpenAPI().Components.Schemas
	tags := []string{"MM4 peers"}
	register(api, s.operation(huma.Operation{
		OperationID: "listMM4Peers", Method: http.MethodGet, Path: mm4PeerPath, Tags: tags, Summary: "List the peers of MM4", Description: "Newest first.",
	}, anyStaff()), s.listMM4Peers, nil)
	register(api, s.operation(huma.Operation{
		OperationID: "createMM4Peer", Method: http.MethodPost, Path: mm4PeerPath, Tags: tags, Summary: "Add a peer of MM4",
		Description: "It may connect within seconds. Refused with 409 if, once active, it could not be told from another one that is: two behind one address need different `mail_domains`, or an `auth_username` each.", DefaultStatus: http.StatusCreated,
	}, staff(snapshot.RoleOperator).taking(), 400, 404, 409, 413, 415), s.createMM4Peer, bodyOf[mm4PeerBody](schemas))
	register(api, s.operation(huma.Operation{
		OperationID: "getMM4Peer", Method: http.MethodGet, Path: mm4PeerPath + "/{id}", Tags: tags, Summary: "Read a peer of MM4",
	}, anyStaff(), 404), s.getMM4Peer, nil)
	register(api, s.operation(huma.Operation{
		OperationID: "changeMM4Peer", Method: http.MethodPatch, Path: mm4PeerPath + "/{id}", Tags: tags, Summary: "Change a peer of MM4",
		Description: "It holds on every process within 5 seconds, from the next mail on.",
	}, staff(snapshot.RoleOperator).taking(), 400, 404, 409, 412, 413, 415), s.changeMM4Peer, bodyOf[mm4PeerPatch](schemas))
	register(api, s.operation(huma.Operation{
		OperationID: "removeMM4Peer", Method: http.MethodDelete, Path: mm4PeerPath + "/{id}", Tags: tags, Summary: "Take a peer of MM4 away",
		Description: "Responses and reports that it is owed (`pending`) end as failed.", DefaultStatus: http.StatusNoContent,
	}, staff(snapshot.RoleOperator), 404, 412), s.removeMM4Peer, nil)
}

type mm4PeerListInput struct {
	Page
	AccountID string `query:"account_id" maxLength:"36" doc:"Of this account alone"`
	VendorID  string `query:"vendor_id" maxLength:"36" doc:"Of this vendor alone"`
}

func (s *Server) listMM4Peers(ctx context.Context, in *mm4PeerListInput) (*output[list[mm4PeerResource]], error) {
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	x := exchangeOf(ctx)
	var f snapshot.MM4PeerFilter
	var faults faults
	if in.AccountID != "" {
		faults.account("query.account_id", in.AccountID, &f.AccountID)
	}
	if in.VendorID != "" {
		faults.account("query.vendor_id", in.VendorID, &f.VendorID)
	}
	if refusal := faults.refusal(); refusal != nil {
		return nil, s.problem(x, refusal, 0)
	}
	before, refusal := in.before()
	if refusal != nil {
		return nil, s.problem(x, refusal, 0)
	}
	rows, err := s.Admin.MM4Peers.MM4Peers(ctx, f, before, in.size()+1)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	rows, next := page(rows, in.Page, func(p snapshot.MM4PeerState) string { return encodeRowCursor(p.ID) })
	return listed(rows, next, mm4PeerOf), nil
}

// MM4PeerInput names a peer. It is exported only because huma looks into embedded types
// no other way.
type MM4PeerInput struct {
	ID string `path:"id" maxLength:"50" doc:"The peer's id or its name" example:"acme"`
}

// mm4PeerID finds out which peer is meant.
func (s *Server) mm4PeerID(ctx context.Context, given string) (message.ID, error) {
	if id, err := message.ParseID(given); err == nil {
		return id, nil
	}
	return s.Admin.MM4Peers.MM4PeerNamed(ctx, given)
}

func (s *Server) getMM4Peer(ctx context.Context, in *MM4PeerInput) (*entity[mm4PeerResource], error) {
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	id, err := s.mm4PeerID(ctx, in.ID)
	var p snapshot.MM4PeerState
	if err == nil {
		p, err = s.Admin.MM4Peers.MM4Peer(ctx, id)
	}
	if err != nil {
		return nil, s.problem(exchangeOf(ctx), err, 0)
	}
	return showMM4Peer(p), nil
}

// mm4Secret reads a member that is a secret. Null takes it away.
func (s *Server) mm4Secret(in *vendorconf.MM4Secrets) func(d *decoder, name, location string) (bool, error) {
	in.Hash = secret.HashPeerPassword
	return func(d *decoder, name, location string) (bool, error) {
		switch name {
		case "auth_password":
			return true, d.merged(location, &in.AuthPassword, oneLine)
		case "send_password":
			return true, d.merged(location, &in.SendPassword, oneLine)
		}
		return false, nil
	}
}

// newMM4Peer reads the body of a new peer.
func (s *Server) newMM4Peer(body []byte) (p snapshot.MM4Peer, status int, err error) {
	var name string
	var account, vendor message.ID
	blank := vendorconf.NewMM4Peer("x", message.NewID(), message.ID{}, new(vendorconf.Faults))
	doc, secrets := vendorconf.MM4PeerOf(&blank), vendorconf.MM4Secrets{}
	secret := s.mm4Secret(&secrets)
	status, refusal := readObject(body, settings(&doc, func(d *decoder, member, location string) (bool, error) {
		owner := map[string]*message.ID{"account_id": &account, "vendor_id": &vendor}[member]
		switch {
		case member == "name":
			return true, d.text(location, &name, oneLine)
		case owner != nil:
			var word *string
			err := d.merged(location, &word, oneLine)
			if word != nil && *word != "" {
				if *owner, err = message.ParseID(*word); err != nil {
					d.invalid(location, "must be a UUID of 32 hex digits, hyphens optional")
					err = nil
				}
			}
			return true, err
		}
		return secret(d, member, location)
	}), nil)
	if refusal != nil {
		return p, status, refusal
	}
	var faults vendorconf.Faults
	p = vendorconf.NewMM4Peer(name, account, vendor, &faults)
	return p, 0, inBody(append(faults, doc.Into(&p, secrets)...).Refusal())
}

func (s *Server) createMM4Peer(ctx context.Context, in *rawInput) (*createdTagged[mm4PeerResource], error) {
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	x := exchangeOf(ctx)
	p, status, err := s.newMM4Peer(in.RawBody)
	if err != nil {
		return nil, s.problem(x, err, status)
	}
	made, err := s.Admin.MM4Peers.CreateMM4Peer(ctx, x.actor(), p)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	return &createdTagged[mm4PeerResource]{Location: mm4PeerPath + "/" + made.ID.String(), ETag: mm4PeerTag(made), Body: mm4PeerOf(made)}, nil
}

type mm4PeerChangeInput struct {
	MM4PeerInput
	IfMatch
	RawBody []byte
}

func (s *Server) changeMM4Peer(ctx context.Context, in *mm4PeerChangeInput) (*entity[mm4PeerResource], error) {
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	x := exchangeOf(ctx)
	read := func(doc *vendorconf.MM4Peer) (vendorconf.MM4Secrets, int, *message.Error) {
		var secrets vendorconf.MM4Secrets
		status, refusal := readObject(in.RawBody, settings(doc, s.mm4Secret(&secrets)), nil)
		return secrets, status, refusal
	}
	if _, status, refusal := read(new(vendorconf.MM4Peer)); refusal != nil {
		return nil, s.problem(x, refusal, status)
	}
	id, err := s.mm4PeerID(ctx, in.ID)
	var p snapshot.MM4PeerState
	if err == nil {
		p, err = s.Admin.MM4Peers.UpdateMM4Peer(ctx, x.actor(), id, func(p *snapshot.MM4PeerState) error {
			if err := in.check(mm4PeerTag(*p)); err != nil {
				return err
			}
			doc := vendorconf.MM4PeerOf(&p.MM4Peer)
			secrets, _, _ := read(&doc)
			return inBody(doc.Into(&p.MM4Peer, secrets).Refusal())
		})
	}
	if err != nil {
		return nil, s.problem(x, err, changeStatus(err))
	}
	return showMM4Peer(p), nil
}

type mm4PeerRemoveInput struct {
	MM4PeerInput
	IfMatch
}

func (s *Server) removeMM4Peer(ctx context.Context, in *mm4PeerRemoveInput) (*nothing, error) {
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	x := exchangeOf(ctx)
	id, err := s.mm4PeerID(ctx, in.ID)
	if err == nil {
		err = s.Admin.MM4Peers.DeleteMM4Peer(ctx, x.actor(), id, func(p snapshot.MM4PeerState) error { return in.check(mm4PeerTag(p)) })
	}
	if err != nil {
		return nil, s.problem(x, err, changeStatus(err))
	}
	return &nothing{}, nil
}
