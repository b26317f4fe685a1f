package rest

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/registry"
	"github.com/postrider/postrider/internal/snapshot"
)

// StaffRegistry is what staff do with the brands and campaigns of all accounts: the zero id
// of an account is all of them. A method that changes something leaves a line in the audit
// log. Filing and comparing need a campaign registry: ReasonUnavailable where none is
// configured.
type StaffRegistry interface {
	Brand(ctx context.Context, account, id message.ID) (*registry.Brand, error)
	Brands(ctx context.Context, account, before message.ID, limit int) ([]*registry.Brand, error)
	SubmitBrand(ctx context.Context, by message.Actor, id message.ID) error
	SyncBrand(ctx context.Context, by message.Actor, id message.ID) error
	Campaign(ctx context.Context, account, id message.ID) (*registry.Campaign, error)
	Campaigns(ctx context.Context, account, before message.ID, limit int) ([]*registry.Campaign, error)
	SubmitCampaign(ctx context.Context, by message.Actor, id message.ID) error
	SyncCampaign(ctx context.Context, by message.Actor, id message.ID) error
	SuspendCampaign(ctx context.Context, by message.Actor, id message.ID, reason string) error
	ResumeCampaign(ctx context.Context, by message.Actor, id message.ID, reason string) error
	// SetCampaignStatus is for one that was registered elsewhere.
	SetCampaignStatus(ctx context.Context, by message.Actor, id message.ID, status snapshot.CampaignStatus) error
}

const (
	staffBrandPath    = adminPrefix + "/brands"
	staffCampaignPath = adminPrefix + "/campaigns"
)

// BrandResource and CampaignResource are brandResource and campaignResource: the names are
// exported only because huma looks into embedded types no other way.
type (
	BrandResource    = brandResource
	CampaignResource = campaignResource
)

type staffBrandResource struct {
	AccountID string `json:"account_id" format:"uuid"`
	BrandResource
}

// TransformSchema says what the customers' resource says of itself.
func (staffBrandResource) TransformSchema(_ huma.Registry, s *huma.Schema) *huma.Schema {
	s.AdditionalProperties = true
	return s
}

func staffBrandOf(b *registry.Brand) staffBrandResource {
	return staffBrandResource{AccountID: b.AccountID.String(), BrandResource: brandOf(b)}
}

type staffCarrierResource struct {
	_         struct{} `json:"-" additionalProperties:"true"`
	NetworkID int      `json:"network_id" doc:"The registry's number of it"`
	Network   string   `json:"network" example:"AT&T"`
	Status    *string  `json:"status" enum:"review,approved,rejected,suspended" doc:"null: the carrier has not said"`
	Class     *string  `json:"class" doc:"AT&T's"`
	TPM       *int     `json:"tpm" doc:"SMS parts a minute that it reports"`
	MMSTPM    *int     `json:"mms_tpm"`
	BrandTier *string  `json:"brand_tier" doc:"T-Mobile's"`
	Surcharge *string  `json:"surcharge" doc:"A message, as a decimal"`
}

type staffCampaignResource struct {
	AccountID      string                 `json:"account_id" format:"uuid"`
	RegistryStatus *string                `json:"registry_status" doc:"The registry's own word; null: it has not said, or the campaign was registered elsewhere" example:"ACTIVE"`
	SuspendedBy    *string                `json:"suspended_by" doc:"The member of staff who has suspended it"`
	Explanation    string                 `json:"explanation" doc:"What it waits for, in a sentence"`
	CarrierStates  []staffCarrierResource `json:"carrier_states" nullable:"false" doc:"carriers, with all that each reports"`
	CampaignResource
}

// TransformSchema says what the customers' resource says of itself.
func (staffCampaignResource) TransformSchema(_ huma.Registry, s *huma.Schema) *huma.Schema {
	s.AdditionalProperties = true
	return s
}

func staffCampaignOf(c *registry.Campaign) staffCampaignResource {
	r := staffCampaignResource{AccountID: c.AccountID.String(), RegistryStatus: optional(c.RegistryStatus), SuspendedBy: optional(c.SuspendedBy), Explanation: c.Explain(),
		CarrierStates: []staffCarrierResource{}, CampaignResource: campaignOf(c)}
	for _, k := range c.Carriers {
		r.CarrierStates = append(r.CarrierStates, staffCarrierResource{NetworkID: k.NetworkID, Network: k.Network, Status: optional(k.Status), Class: optional(k.Class),
			TPM: capOf(k.TPM), MMSTPM: capOf(k.MMSTPM), BrandTier: optional(k.BrandTier), Surcharge: optional(k.Surcharge)})
	}
	return r
}

type brandStatusBody struct {
	Status string `json:"status" enum:"pending" doc:"pending: file it with the registry, which costs its fee. The rest is for the registry to say"`
}

type campaignStatusBody struct {
	Status      string `json:"status" enum:"pending,active,suspended,rejected,expired" doc:"pending: file a draft with the registry, which costs its fees; suspended: let it send no more, whatever the registry says; active: lift that, after which it is what registry and carriers last said. One that was registered elsewhere takes each word"`
	Reason      string `json:"reason,omitempty" maxLength:"256" doc:"For the audit log; required to suspend"`
	AcceptTerms bool   `json:"accept_terms,omitempty" doc:"Required to file: the registry wants its terms and conditions accepted for each campaign"`
}

func (s *Server) registerStaffRegistry(api huma.API) {
	schemas := api.OpenAPI().Components.Schemas
	tags := []string{"Registrations"}
	write := staff(snapshot.RoleCompliance)
	takes := write.taking()
	takes.bodies = append(takes.bodies, patchType)
	register(api, s.operation(huma.Operation{OperationID: "listAllBrands", Method: http.MethodGet, Path: staffBrandPath, Tags: tags, Summary: "List the brands of all customers", Description: "Newest first."},
		anyStaff()), s.listAllBrands, nil)
	register(api, s.operation(huma.Operation{OperationID: "getAnyBrand", Method: http.MethodGet, Path: staffBrandPath + "/{id}", Tags: tags, Summary: "Read a brand"}, anyStaff(), 404), s.getAnyBrand, nil)
	register(api, s.operation(huma.Operation{OperationID: "changeAnyBrandStatus", Method: http.MethodPatch, Path: staffBrandPath + "/{id}", Tags: tags, Summary: "File a brand with the registry",
		Description: "What the registry does not answer in time is completed by schedule, and filed once."}, takes, 400, 404, 409, 413, 415), s.changeBrandStatus, bodyOf[brandStatusBody](schemas))
	register(api, s.operation(huma.Operation{OperationID: "syncBrand", Method: http.MethodPost, Path: staffBrandPath + "/{id}/sync", Tags: tags, Summary: "Compare a brand with the registry now", DefaultStatus: http.StatusOK},
		write, 404, 409), s.syncBrand, nil)
	register(api, s.operation(huma.Operation{OperationID: "listAllCampaigns", Method: http.MethodGet, Path: staffCampaignPath, Tags: tags, Summary: "List the campaigns of all customers", Description: "Newest first."},
		anyStaff()), s.listAllCampaigns, nil)
	register(api, s.operation(huma.Operation{OperationID: "getAnyCampaign", Method: http.MethodGet, Path: staffCampaignPath + "/{id}", Tags: tags, Summary: "Read a campaign with what each carrier says"}, anyStaff(), 404), s.getAnyCampaign, nil)
	register(api, s.operation(huma.Operation{OperationID: "changeAnyCampaignStatus", Method: http.MethodPatch, Path: staffCampaignPath + "/{id}", Tags: tags, Summary: "File, suspend or resume a campaign",
		Description: "A change of status is told to the customer (`campaign.status_changed`) and holds on every process within 5 seconds."}, takes, 400, 404, 409, 413, 415), s.changeCampaignStatus, bodyOf[campaignStatusBody](schemas))
	register(api, s.operation(huma.Operation{OperationID: "syncCampaign", Method: http.MethodPost, Path: staffCampaignPath + "/{id}/sync", Tags: tags, Summary: "Compare a campaign with the registry now", DefaultStatus: http.StatusOK},
		write, 404, 409), s.syncCampaign, nil)
}

type staffRegistryInput struct {
	Page
	AccountID string `query:"account_id" maxLength:"36" doc:"Of this customer alone"`
}

// read gives the account and the row before the page.
func (in *staffRegistryInput) read() (account, before message.ID, refusal *message.Error) {
	var faults faults
	faults.owners(in.AccountID, "", &account, nil)
	if refusal = faults.refusal(); refusal == nil {
		before, refusal = in.before()
	}
	return account, before, refusal
}

func (s *Server) listAllBrands(ctx context.Context, in *staffRegistryInput) (*output[list[staffBrandResource]], error) {
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	x := exchangeOf(ctx)
	account, before, refusal := in.read()
	if refusal != nil {
		return nil, s.problem(x, refusal, 0)
	}
	rows, err := s.Admin.Registry.Brands(ctx, account, before, in.size()+1)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	rows, next := page(rows, in.Page, func(b *registry.Brand) string { return encodeRowCursor(b.ID) })
	return listed(rows, next, staffBrandOf), nil
}

func (s *Server) listAllCampaigns(ctx context.Context, in *staffRegistryInput) (*output[list[staffCampaignResource]], error) {
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	x := exchangeOf(ctx)
	account, before, refusal := in.read()
	if refusal != nil {
		return nil, s.problem(x, refusal, 0)
	}
	rows, err := s.Admin.Registry.Campaigns(ctx, account, before, in.size()+1)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	rows, next := page(rows, in.Page, func(c *registry.Campaign) string { return encodeRowCursor(c.ID) })
	return listed(rows, next, staffCampaignOf), nil
}

// withBrand does something to a brand, and shows it as it is then. do may be nil.
func (s *Server) withBrand(ctx context.Context, given string, do func(ctx context.Context, by message.Actor, id message.ID) error) (*output[staffBrandResource], error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.answerTimeout())
	defer cancel()
	x := exchangeOf(ctx)
	id, err := pathID("brand", given)
	if err == nil && do != nil {
		err = do(ctx, x.actor(), id)
	}
	var b *registry.Brand
	if err == nil {
		b, err = s.Admin.Registry.Brand(ctx, message.ID{}, id)
	}
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	return &output[staffBrandResource]{Body: staffBrandOf(b)}, nil
}

// withCampaign is withBrand for a campaign.
func (s *Server) withCampaign(ctx context.Context, given string, do func(ctx context.Context, by message.Actor, id message.ID) error) (*output[staffCampaignResource], error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.answerTimeout())
	defer cancel()
	x := exchangeOf(ctx)
	id, err := pathID("campaign", given)
	if err == nil && do != nil {
		err = do(ctx, x.actor(), id)
	}
	var c *registry.Campaign
	if err == nil {
		c, err = s.Admin.Registry.Campaign(ctx, message.ID{}, id)
	}
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	return &output[staffCampaignResource]{Body: staffCampaignOf(c)}, nil
}

func (s *Server) getAnyBrand(ctx context.Context, in *idInput) (*output[staffBrandResource], error) {
	return s.withBrand(ctx, in.ID, nil)
}

func (s *Server) getAnyCampaign(ctx context.Context, in *idInput) (*output[staffCampaignResource], error) {
	return s.withCampaign(ctx, in.ID, nil)
}

func (s *Server) syncBrand(ctx context.Context, in *idInput) (*output[staffBrandResource], error) {
	return s.withBrand(ctx, in.ID, s.Admin.Registry.SyncBrand)
}

func (s *Server) syncCampaign(ctx context.Context, in *idInput) (*output[staffCampaignResource], error) {
	return s.withCampaign(ctx, in.ID, s.Admin.Registry.SyncCampaign)
}

type statusInput struct {
	ID      string `path:"id" doc:"Its id here, with or without hyphens" example:"01a1ffbf-8676-7d35-9c44-0f6f2f1b7e21"`
	RawBody []byte
}

func (s *Server) changeBrandStatus(ctx context.Context, in *statusInput) (*output[staffBrandResource], error) {
	to := ""
	status, refusal := readObject(in.RawBody, func(d *decoder, name, location string) (bool, error) {
		if name != "status" {
			return false, nil
		}
		return true, d.choice(location, &to, string(registry.BrandPending))
	}, func(d *decoder) {
		if to == "" && !d.faulty("body.status") {
			d.invalid("body.status", "is required: pending, to file it")
		}
	})
	if refusal != nil {
		return nil, s.problem(exchangeOf(ctx), refusal, status)
	}
	return s.withBrand(ctx, in.ID, s.Admin.Registry.SubmitBrand)
}

func (s *Server) changeCampaignStatus(ctx context.Context, in *statusInput) (*output[staffCampaignResource], error) {
	var to campaignStatusBody
	status, refusal := readObject(in.RawBody, func(d *decoder, name, location string) (bool, error) {
		switch name {
		case "status":
			return true, d.choice(location, &to.Status, string(registry.Pending), string(registry.Active), string(registry.Suspended), string(registry.Rejected), string(registry.Expired))
		case "reason":
			return true, d.text(location, &to.Reason, oneLine)
		case "accept_terms":
			return true, d.bool(location, &to.AcceptTerms)
		}
		return false, nil
	}, func(d *decoder) {
		switch {
		case d.faulty("body.status"):
		case to.Status == "":
			d.invalid("body.status", "is required: what it is to be")
		case to.Status == string(registry.Suspended) && to.Reason == "":
			d.invalid("body.reason", "is required to suspend a campaign")
		}
		if len([]rune(to.Reason)) > 256 {
			d.invalid("body.reason", "must be at most 256 characters")
		}
	})
	if refusal != nil {
		return nil, s.problem(exchangeOf(ctx), refusal, status)
	}
	return s.withCampaign(ctx, in.ID, func(ctx context.Context, by message.Actor, id message.ID) error {
		return s.campaignTo(ctx, by, id, to)
	})
}

// campaignTo has a campaign become what staff want, in the way that this state of it allows.
func (s *Server) campaignTo(ctx context.Context, by message.Actor, id message.ID, to campaignStatusBody) error {
	c, err := s.Admin.Registry.Campaign(ctx, message.ID{}, id)
	if err != nil {
		return err
	}
	switch want := registry.Status(to.Status); {
	case want == registry.Suspended:
		return s.Admin.Registry.SuspendCampaign(ctx, by, id, to.Reason)
	case want == registry.Active && c.SuspendedBy != "":
		return s.Admin.Registry.ResumeCampaign(ctx, by, id, to.Reason)
	case c.Status == registry.Draft && want != registry.Pending:
		return message.Refuse(message.ReasonConflict, "the campaign is a draft: file it first, with status pending")
	case c.Status == registry.Draft && !to.AcceptTerms:
		var f faults
		f.invalid("body.accept_terms", "must be true: the registry wants its terms and conditions accepted for each campaign")
		return f.refusal()
	case c.Status == registry.Draft:
		return s.Admin.Registry.SubmitCampaign(ctx, by, id)
	case c.RegistryStatus != "" || c.SuspendedBy != "":
		return message.Refuse(message.ReasonConflict, "the campaign is %s; what else it becomes is for the registry to say", c.Status)
	}
	return s.Admin.Registry.SetCampaignStatus(ctx, by, id, snapshot.CampaignStatus(to.Status))
}
