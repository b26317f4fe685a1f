package rest

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
	"github.com/postrider/postrider/internal/vendorconf"
)

// VendorTable keeps the vendors. A method that changes something leaves a line in the
// audit log, without secrets.
type VendorTable interface {
	// Vendors lists them with their secrets, newest first, older than before.
	Vendors(ctx context.Context, f snapshot.VendorFilter, before message.ID, limit int) ([]snapshot.VendorState, error)
	// Vendor reads one; ReasonNotFound when there is none.
	Vendor(ctx context.Context, id message.ID) (snapshot.VendorState, error)
	// VendorNamed finds one; ReasonNotFound when there is none.
	VendorNamed(ctx context.Context, name string) (message.ID, error)
	// AddVendor refuses a name that is taken with ReasonConflict.
	AddVendor(ctx context.Context, by message.Actor, v snapshot.Vendor) (snapshot.VendorState, error)
	// ChangeVendor has change make a vendor into what it is to be.
	ChangeVendor(ctx context.Context, by message.Actor, id message.ID, action string, change func(*snapshot.VendorState) error) (snapshot.VendorState, error)
	// RemoveVendor takes one away when nothing is in the way, and tells whether it did.
	RemoveVendor(ctx context.Context, by message.Actor, id message.ID, drain bool, check func(snapshot.VendorState) error) (snapshot.VendorUse, bool, error)
	// Reread has every process read tables of the configuration anew; all, when none is named.
	Reread(ctx context.Context, by message.Actor, tables ...string) error
}

// VendorSettings is what staff set of a vendor. The name is exported only because huma
// looks into embedded types no other way.
type VendorSettings = vendorconf.Vendor

// VendorSecrets is what is written and never shown.
type VendorSecrets struct {
	Password        *string   `json:"password,omitempty" nullable:"true" writeOnly:"true" doc:"smpp: password; twilio: auth token, or secret of the key in username; telnyx: API key. null: none"`
	TLSClientKey    *string   `json:"tls_client_key,omitempty" nullable:"true" writeOnly:"true" doc:"PEM. null: none"`
	OutbindPassword *string   `json:"outbind_password,omitempty" nullable:"true" writeOnly:"true" doc:"smpp: what it shows in an outbind. null: none"`
	SigningKeys     *[]string `json:"signing_keys,omitempty" nullable:"true" writeOnly:"true" maxItems:"5" doc:"HTTP vendors: what its webhooks are signed with, newest first"`
}

type vendorBody struct {
	InstanceName string `json:"instance_name" minLength:"1" maxLength:"50" pattern:"^[A-Za-z0-9_-]+$" doc:"Its name in paths, queues, logs and metrics; it never changes" example:"acme-1"`
	ProviderType string `json:"provider_type" enum:"smpp,mm4,twilio,telnyx" doc:"Its kind, which never changes"`
	Profile      string `json:"profile,omitempty" doc:"A set of settings that is shipped, under those of the body" example:"sinch"`
	VendorSettings
	VendorSecrets
}

type vendorPatch struct {
	VendorSettings
	VendorSecrets
}

// TransformSchema leaves settings out that have a default.
func (vendorBody) TransformSchema(_ huma.Registry, s *huma.Schema) *huma.Schema {
	s.Required = []string{"instance_name", "provider_type"}
	return s
}

// TransformSchema asks for nothing.
func (vendorPatch) TransformSchema(_ huma.Registry, s *huma.Schema) *huma.Schema {
	s.Required = nil
	return s
}

type vendorResource struct {
	_            struct{} `json:"-" additionalProperties:"true"`
	ID           string   `json:"id" format:"uuid"`
	InstanceName string   `json:"instance_name" example:"acme-1"`
	ProviderType string   `json:"provider_type" enum:"smpp,mm4,twilio,telnyx,internal" doc:"internal: the gateway itself, for messages between its own numbers"`
	VendorSettings
	PasswordSet        bool    `json:"password_set"`
	TLSClientKeySet    bool    `json:"tls_client_key_set"`
	OutbindPasswordSet bool    `json:"outbind_password_set"`
	SigningKeysSet     int     `json:"signing_keys_set" doc:"How many there are"`
	Paused             bool    `json:"paused" doc:"It takes no messages; its binds stay, and receipts come"`
	Draining           bool    `json:"draining" doc:"It takes no messages, and those that wait for it go to others"`
	DrainingSince      *string `json:"draining_since" format:"date-time"`
	HealthStatus       string  `json:"health_status" enum:"unknown,healthy,degraded,down"`
	LastBindTime       *string `json:"last_bind_time" format:"date-time"`
	Problem            *string `json:"problem" doc:"What of it cannot be read: it is out of the configuration until that is set anew. null: nothing"`
	CreatedAt          string  `json:"created_at" format:"date-time"`
	UpdatedAt          string  `json:"updated_at" format:"date-time"`
}

func vendorOf(v snapshot.VendorState) vendorResource {
	return vendorResource{
		ID: v.ID.String(), InstanceName: v.Name, ProviderType: v.ProviderType, VendorSettings: vendorconf.VendorOf(&v.Vendor),
		PasswordSet: v.Password != "", TLSClientKeySet: v.ClientKey != "", OutbindPasswordSet: v.OutbindPassword != "", SigningKeysSet: len(v.SigningKeys),
		Paused: v.Paused, Draining: v.Draining, DrainingSince: optionalTime(v.DrainingSince), HealthStatus: string(healthOf(v.Health)),
		LastBindTime: optionalTime(v.LastBind), Problem: optional(v.Broken), CreatedAt: stamp(v.CreatedAt), UpdatedAt: stamp(v.UpdatedAt),
	}
}

// healthOf is a health of the list: former releases wrote one more word.
func healthOf(h message.VendorHealth) message.VendorHealth {
	switch h {
	case message.HealthHealthy, message.HealthDegraded, message.HealthDown:
		return h
	case "unhealthy":
		return message.HealthDown
	}
	return message.HealthUnknown
}

// vendorTag stands for what staff have set. Of the secrets it knows only that they
// changed: then the version is another one.
func vendorTag(v snapshot.VendorState) string {
	return contentTag(v.ID, vendorconf.VendorOf(&v.Vendor), v.Paused, v.Draining, v.Version)
}

func showVendor(v snapshot.VendorState) *entity[vendorResource] {
	return &entity[vendorResource]{ETag: vendorTag(v), Body: vendorOf(v)}
}

const vendorPath = adminPrefix + "/vendors"

func (s *Server) registerVendors(api huma.API) {
	schemas := api.OpenAPI().Components.Schemas
	tags := []string{"Vendors"}
	register(api, s.operation(huma.Operation{
		OperationID: "listVendors", Method: http.MethodGet, Path: vendorPath, Tags: tags, Summary: "List vendors", Description: "Newest first.",
	}, anyStaff()), s.listVendors, nil)
	register(api, s.operation(huma.Operation{
		OperationID: "createVendor", Method: http.MethodPost, Path: vendorPath, Tags: tags, Summary: "Add a vendor",
		Description: "It is linked to within seconds. It gets messages when a route leads there.", DefaultStatus: http.StatusCreated,
	}, staff(snapshot.RoleOperator).taking(), 400, 409, 413, 415), s.createVendor, bodyOf[vendorBody](schemas))
	register(api, s.operation(huma.Operation{
		OperationID: "getVendor", Method: http.MethodGet, Path: vendorPath + "/{id}", Tags: tags, Summary: "Read a vendor",
	}, anyStaff(), 404), s.getVendor, nil)
	register(api, s.operation(huma.Operation{
		OperationID: "changeVendor", Method: http.MethodPatch, Path: vendorPath + "/{id}", Tags: tags, Summary: "Change a vendor",
		Description: "It holds on every process within 5 seconds. A link is made anew only for what it is made from, after its window has drained: not for throughput, max_binds, priority, costs and what the vendor supports.",
	}, staff(snapshot.RoleOperator).taking(), 400, 404, 409, 412, 413, 415), s.changeVendor, bodyOf[vendorPatch](schemas))
	remove := s.operation(huma.Operation{
		OperationID: "removeVendor", Method: http.MethodDelete, Path: vendorPath + "/{id}", Tags: tags, Summary: "Take a vendor away",
		Description: "Refused with 409 while messages wait for it, parts are in doubt there, or routes and numbers name it. With `drain=true` the vendor drains: what waits goes to others. " +
			"It is answered with 202 until nothing waits, nothing is in doubt and the receipts of what it had have had `receipt_expected_seconds`; ask again until 204. Its routes go with it, and numbers that name it name none.",
		DefaultStatus: http.StatusNoContent,
		Responses: map[string]*huma.Response{
			"202": {Description: "It drains; ask again", Content: contentOf[vendorUseResource](schemas)},
			"204": {Description: "It is gone"},
		},
	}, staff(snapshot.RoleOperator), 404, 409, 412)
	register(api, remove, s.removeVendor, nil)
	remove.Responses["204"].Content = nil
	s.registerVendorWork(api)
}

type vendorListInput struct {
	Page
	ProviderType string `query:"provider_type" enum:"smpp,mm4,twilio,telnyx,internal" doc:"Of this kind alone"`
	Active       bool   `query:"active" doc:"Without those that are not in use"`
}

func (s *Server) listVendors(ctx context.Context, in *vendorListInput) (*output[list[vendorResource]], error) {
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	rows, next, err := s.vendorPage(ctx, in)
	if err != nil {
		return nil, s.problem(exchangeOf(ctx), err, 0)
	}
	return listed(rows, next, vendorOf), nil
}

func (s *Server) vendorPage(ctx context.Context, in *vendorListInput) ([]snapshot.VendorState, *string, error) {
	before, refusal := in.before()
	if refusal != nil {
		return nil, nil, refusal
	}
	rows, err := s.Admin.Vendors.Vendors(ctx, snapshot.VendorFilter{ProviderType: in.ProviderType, Active: in.Active}, before, in.size()+1)
	if err != nil {
		return nil, nil, err
	}
	rows, next := page(rows, in.Page, func(v snapshot.VendorState) string { return encodeRowCursor(v.ID) })
	return rows, next, nil
}

// VendorInput names a vendor. It is exported only because huma looks into embedded
// types no other way.
type VendorInput struct {
	ID string `path:"id" maxLength:"50" doc:"The vendor's id or its instance_name" example:"acme-1"`
}

// vendorID finds out which vendor is meant.
func (s *Server) vendorID(ctx context.Context, given string) (message.ID, error) {
	if id, err := message.ParseID(given); err == nil {
		return id, nil
	}
	return s.Admin.Vendors.VendorNamed(ctx, given)
}

func (s *Server) getVendor(ctx context.Context, in *VendorInput) (*entity[vendorResource], error) {
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	v, err := s.vendor(ctx, in.ID)
	if err != nil {
		return nil, s.problem(exchangeOf(ctx), err, 0)
	}
	return showVendor(v), nil
}

func (s *Server) vendor(ctx context.Context, given string) (snapshot.VendorState, error) {
	id, err := s.vendorID(ctx, given)
	if err != nil {
		return snapshot.VendorState{}, err
	}
	return s.Admin.Vendors.Vendor(ctx, id)
}

// secretMember reads a member that is a secret.
func secretMember(in *vendorconf.Secrets) func(d *decoder, name, location string) (bool, error) {
	return func(d *decoder, name, location string) (bool, error) {
		switch name {
		case "password":
			return true, d.merged(location, &in.Password, oneLine)
		case "tls_client_key":
			return true, d.merged(location, &in.TLSClientKey, lines)
		case "outbind_password":
			return true, d.merged(location, &in.OutbindPassword, oneLine)
		case "signing_keys":
			return true, d.texts(location, &in.SigningKeys, 5)
		}
		return false, nil
	}
}

// vendorHead is what says on what the settings of a new vendor are laid.
type vendorHead struct{ name, kind, profile string }

// member reads one of the head's members.
func (h *vendorHead) member(d *decoder, name, location string) (bool, error) {
	switch name {
	case "instance_name":
		return true, d.text(location, &h.name, oneLine)
	case "provider_type":
		return true, d.text(location, &h.kind, oneLine)
	case "profile":
		return true, d.text(location, &h.profile, oneLine)
	}
	return false, nil
}

// newVendor reads the body of a new vendor.
func (s *Server) newVendor(body []byte) (snapshot.Vendor, int, error) {
	var head vendorHead
	_, _ = readObject(body, func(d *decoder, name, location string) (bool, error) { // what is wrong is said below
		if known, err := head.member(d, name, location); known || err != nil {
			return true, err
		}
		return true, d.skip()
	}, nil)
	var faults vendorconf.Faults
	v := vendorconf.NewVendor(head.name, head.kind, &faults)
	if head.profile != "" {
		if profile, ok := s.Admin.VendorProfiles[head.profile]; ok && profile.ProviderType == head.kind {
			vendorconf.Overlay(&v, profile)
		} else {
			faults = append(faults, message.FieldError{Location: "profile", Message: "must be one of those for this provider_type; there are " + strings.Join(s.profiles(), ", ")})
		}
	}
	doc, secrets := vendorconf.VendorOf(&v), vendorconf.Secrets{}
	read := secretMember(&secrets)
	status, refusal := readObject(body, settings(&doc, func(d *decoder, name, location string) (bool, error) {
		if known, err := read(d, name, location); known || err != nil {
			return known, err
		}
		return new(vendorHead).member(d, name, location)
	}), nil)
	if refusal != nil {
		return v, status, refusal
	}
	faults = append(faults, doc.Into(&v, secrets)...)
	return v, 0, inBody(faults.Refusal())
}

func (s *Server) profiles() []string {
	names := []string{}
	for name := range s.Admin.VendorProfiles {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (s *Server) createVendor(ctx context.Context, in *rawInput) (*createdTagged[vendorResource], error) {
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	x := exchangeOf(ctx)
	v, status, err := s.newVendor(in.RawBody)
	if err != nil {
		return nil, s.problem(x, err, status)
	}
	made, err := s.Admin.Vendors.AddVendor(ctx, x.actor(), v)
	if err != nil {
		return nil, s.problem(x, inBody(err), 0)
	}
	return &createdTagged[vendorResource]{Location: vendorPath + "/" + made.ID.String(), ETag: vendorTag(made), Body: vendorOf(made)}, nil
}

type vendorChangeInput struct {
	VendorInput
	IfMatch
	RawBody []byte
}

func (s *Server) changeVendor(ctx context.Context, in *vendorChangeInput) (*entity[vendorResource], error) {
	read := func(doc *vendorconf.Vendor) (vendorconf.Secrets, int, *message.Error) {
		var secrets vendorconf.Secrets
		status, refusal := readObject(in.RawBody, settings(doc, secretMember(&secrets)), nil)
		return secrets, status, refusal
	}
	if _, status, refusal := read(&vendorconf.Vendor{CodeMap: map[string]string{}}); refusal != nil {
		return nil, s.problem(exchangeOf(ctx), refusal, status)
	}
	return s.withVendor(ctx, in.ID, in.IfMatch, "vendor.update", func(v *snapshot.VendorState) error {
		doc := vendorconf.VendorOf(&v.Vendor)
		secrets, _, _ := read(&doc)
		return inBody(doc.Into(&v.Vendor, secrets).Refusal())
	})
}

// withVendor changes a vendor and shows it as it is then.
func (s *Server) withVendor(ctx context.Context, given string, want IfMatch, action string, change func(*snapshot.VendorState) error) (*entity[vendorResource], error) {
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	x := exchangeOf(ctx)
	id, err := s.vendorID(ctx, given)
	var v snapshot.VendorState
	if err == nil {
		v, err = s.Admin.Vendors.ChangeVendor(ctx, x.actor(), id, action, func(v *snapshot.VendorState) error {
			if err := want.check(vendorTag(*v)); err != nil {
				return err
			}
			return change(v)
		})
	}
	if err != nil {
		return nil, s.problem(x, inBody(err), changeStatus(err))
	}
	return showVendor(v), nil
}

type vendorRemoveInput struct {
	VendorInput
	IfMatch
	Drain bool `query:"drain" doc:"What waits for it goes to others"`
}

type vendorUseResource struct {
	_         struct{} `json:"-" additionalProperties:"true"`
	VendorID  string   `json:"vendor_id" format:"uuid"`
	Waiting   int      `json:"waiting" doc:"Messages that wait for it, counted up to 10,000"`
	InDoubt   int      `json:"in_doubt" doc:"Parts of which it is not known whether it has them"`
	Routes    []int64  `json:"routes" nullable:"false" doc:"That go with it"`
	Numbers   int      `json:"numbers" doc:"That name it"`
	RestInSec int      `json:"rest_seconds" doc:"How long receipts of what it had are still waited for"`
}

// removal is the answer to a removal: what is in the way, or nothing at all.
type removal struct {
	Status int
	Body   *vendorUseResource
}

func (s *Server) removeVendor(ctx context.Context, in *vendorRemoveInput) (*removal, error) {
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	x := exchangeOf(ctx)
	id, err := s.vendorID(ctx, in.ID)
	var use snapshot.VendorUse
	var gone bool
	if err == nil {
		use, gone, err = s.Admin.Vendors.RemoveVendor(ctx, x.actor(), id, in.Drain, func(v snapshot.VendorState) error { return in.check(vendorTag(v)) })
	}
	switch {
	case err != nil:
		return nil, s.problem(x, err, changeStatus(err))
	case gone:
		return &removal{Status: http.StatusNoContent}, nil
	}
	return &removal{Status: http.StatusAccepted, Body: &vendorUseResource{VendorID: id.String(), Waiting: use.Waiting, InDoubt: use.InDoubt,
		Routes: append([]int64{}, use.Routes...), Numbers: use.Numbers, RestInSec: int(use.Rest.Seconds() + 1)}}, nil
}
