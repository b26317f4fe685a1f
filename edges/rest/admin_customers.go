package rest

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
	"github.com/postrider/postrider/internal/vendorconf"
)

// Customers keeps the accounts. A method that changes something leaves a line in
// the audit log.
type Customers interface {
	Customers(ctx context.Context, f snapshot.CustomerFilter, before message.ID, limit int) ([]snapshot.Customer, error)
	// Customer reads one; ReasonNotFound when there is none.
	Customer(ctx context.Context, id message.ID) (snapshot.Customer, error)
	// SuspendCustomer suspends one, or lets it go on; ReasonConflict for one that is
	// closed.
	SuspendCustomer(ctx context.Context, by message.Actor, id message.ID, suspended bool, reason string) (snapshot.Customer, error)
	// CreateCustomer refuses an external_id that another one has with ReasonConflict.
	CreateCustomer(ctx context.Context, by message.Actor, a snapshot.Account) (snapshot.Customer, error)
	// UpdateCustomer has change make an account into what it is to be. ReasonConflict as
	// CreateCustomer, and for one that is closed.
	UpdateCustomer(ctx context.Context, by message.Actor, id message.ID, change func(*snapshot.Customer) error) (snapshot.Customer, error)
	// CloseCustomer closes one for good; ReasonConflict while messages of it are on their
	// way, unless forced.
	CloseCustomer(ctx context.Context, by message.Actor, id message.ID, forced bool, reason string) error
	// SetUsageLimits replaces all limits of an account.
	SetUsageLimits(ctx context.Context, by message.Actor, account message.ID, limits []message.UsageLimit) error
	// BookOnce adds an entry to a ledger. answer, if not nil, makes the answer that is
	// kept under the request's key; the second result is the first answer, if there is
	// one.
	BookOnce(ctx context.Context, by message.Actor, e message.BalanceEntry, answer func(message.BalanceEntry) (message.Idempotency, error)) (message.BalanceEntry, *message.Idempotency, error)
}

type customerResource struct {
	_        struct{} `json:"-" additionalProperties:"true"`
	ID       string   `json:"id" format:"uuid"`
	Status   string   `json:"status" enum:"active,suspended,closed"`
	AuthType *string  `json:"auth_type" enum:"API_KEY,SMPP,BOTH" doc:"Which credentials in force it has; null: none"`
	CustomerSettings
	WebhookSecret *string `json:"webhook_secret,omitempty" nullable:"false" doc:"Signs for URLs without a secret of their own. Shown once, when the customer was made"`
	CreatedAt     string  `json:"created_at" format:"date-time"`
	UpdatedAt     string  `json:"updated_at" format:"date-time"`
}

func customerOf(c snapshot.Customer) customerResource {
	kind := ""
	switch {
	case c.APIKeys && c.ESMEs:
		kind = "BOTH"
	case c.APIKeys:
		kind = "API_KEY"
	case c.ESMEs:
		kind = "SMPP"
	}
	return customerResource{ID: c.ID.String(), Status: string(c.Status), AuthType: optional(kind), CustomerSettings: vendorconf.CustomerOf(&c.Account),
		CreatedAt: stamp(c.CreatedAt), UpdatedAt: stamp(c.UpdatedAt)}
}

// reasonBody is the body of what staff do to somebody: why.
type reasonBody struct {
	Reason string `json:"reason,omitempty" maxLength:"500" doc:"Why, for the audit log" example:"Invoice 2026-104 is not paid"`
}

const maxReason = 500

func (in *reasonBody) member(d *decoder, name, location string) (bool, error) {
	if name == "reason" {
		return true, d.text(location, &in.Reason, lines)
	}
	return false, nil
}

func (in *reasonBody) check(d *decoder) { d.most("body.reason", in.Reason, maxReason) }

// read takes a body that may be left out.
func (in *reasonBody) read(body []byte) (int, *message.Error) {
	if len(body) == 0 {
		return 0, nil
	}
	return readObject(body, in.member, in.check)
}

type customersInput struct {
	Page
	Status     string `query:"status" enum:"active,suspended,closed" doc:"In this state alone"`
	ExternalID string `query:"external_id" maxLength:"200" doc:"The one that has this id elsewhere"`
	Name       string `query:"company_name" maxLength:"200" doc:"Those whose name contains this, in capitals or not"`
}

const customerPath = adminPrefix + "/customers"

func (s *Server) registerCustomers(api huma.API) {
	tags := []string{"Customers"}
	reason := optionalReason(api)
	register(api, s.operation(huma.Operation{
		OperationID: "listCustomers", Method: http.MethodGet, Path: customerPath, Tags: tags, Summary: "List customers", Description: "Newest first.",
	}, anyStaff()), s.listCustomers, nil)
	register(api, s.operation(huma.Operation{
		OperationID: "getCustomer", Method: http.MethodGet, Path: customerPath + "/{id}", Tags: tags, Summary: "Read a customer",
	}, anyStaff(), 404), s.getCustomer, nil)
	s.registerCustomerChanges(api)
	register(api, s.operation(huma.Operation{
		OperationID: "suspendCustomer", Method: http.MethodPost, Path: customerPath + "/{id}/suspend", Tags: tags, Summary: "Suspend a customer",
		Description: "Within seconds nothing more is taken from it, and what waits is refused at its next step.",
	}, staff(snapshot.RoleOperator).taking(), 400, 404, 409, 413, 415), s.suspendCustomer, reason)
	register(api, s.operation(huma.Operation{
		OperationID: "resumeCustomer", Method: http.MethodPost, Path: customerPath + "/{id}/resume", Tags: tags, Summary: "Let a suspended customer go on",
	}, staff(snapshot.RoleOperator).taking(), 400, 404, 409, 413, 415), s.resumeCustomer, reason)
}

func (s *Server) listCustomers(ctx context.Context, in *customersInput) (*output[list[customerResource]], error) {
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	x := exchangeOf(ctx)
	before, refusal := in.before()
	if refusal == nil {
		var f faults
		queryText(&f, "query.external_id", in.ExternalID)
		queryText(&f, "query.company_name", in.Name)
		refusal = f.refusal()
	}
	if refusal != nil {
		return nil, s.problem(x, refusal, 0)
	}
	filter := snapshot.CustomerFilter{Status: snapshot.AccountStatus(in.Status), ExternalID: in.ExternalID, Name: in.Name}
	rows, err := s.Admin.Customers.Customers(ctx, filter, before, in.size()+1)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	rows, next := page(rows, in.Page, func(c snapshot.Customer) string { return encodeRowCursor(c.ID) })
	return listed(rows, next, customerOf), nil
}

func (s *Server) getCustomer(ctx context.Context, in *RowInput) (*entity[customerResource], error) {
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	id, err := in.row()
	if err != nil {
		return nil, s.problem(exchangeOf(ctx), err, 0)
	}
	c, err := s.Admin.Customers.Customer(ctx, id)
	if err != nil {
		return nil, s.problem(exchangeOf(ctx), err, 0)
	}
	return showCustomer(c), nil
}

func (s *Server) suspendCustomer(ctx context.Context, in *rowBody) (*output[customerResource], error) {
	return s.setCustomer(ctx, in, true)
}

func (s *Server) resumeCustomer(ctx context.Context, in *rowBody) (*output[customerResource], error) {
	return s.setCustomer(ctx, in, false)
}

func (s *Server) setCustomer(ctx context.Context, in *rowBody, suspended bool) (*output[customerResource], error) {
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	x := exchangeOf(ctx)
	id, err := in.row()
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	var why reasonBody
	if status, refusal := why.read(in.RawBody); refusal != nil {
		return nil, s.problem(x, refusal, status)
	}
	c, err := s.Admin.Customers.SuspendCustomer(ctx, x.actor(), id, suspended, why.Reason)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	return &output[customerResource]{Body: customerOf(c)}, nil
}
