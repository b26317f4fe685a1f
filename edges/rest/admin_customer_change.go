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

// CustomerSettings is what staff set of a customer. The name is exported only because
// huma looks into embedded types no other way.
type CustomerSettings = vendorconf.Customer

type customerBody struct {
	CustomerSettings
}

// TransformSchema leaves settings out that have a default.
func (customerBody) TransformSchema(_ huma.Registry, s *huma.Schema) *huma.Schema {
	s.Required = []string{"company_name"}
	return s
}

type customerPatch struct {
	CustomerSettings
}

// TransformSchema asks for nothing.
func (customerPatch) TransformSchema(_ huma.Registry, s *huma.Schema) *huma.Schema {
	s.Required = nil
	return s
}

// customerTag stands for what staff set of a customer, and for its status.
func customerTag(c snapshot.Customer) string {
	return contentTag(c.ID, c.Status, vendorconf.CustomerOf(&c.Account))
}

func showCustomer(c snapshot.Customer) *entity[customerResource] {
	return &entity[customerResource]{ETag: customerTag(c), Body: customerOf(c)}
}

// registerCustomerChanges adds the operations that make and change customers.
func (s *Server) registerCustomerChanges(api huma.API) {
	schemas := api.OpenAPI().Components.Schemas
	tags := []string{"Customers"}
	register(api, s.operation(huma.Operation{
		OperationID: "createCustomer", Method: http.MethodPost, Path: customerPath, Tags: tags, Summary: "Add a customer",
		Description: "It is active at once. Its webhook secret is shown once.", DefaultStatus: http.StatusCreated,
	}, staff(snapshot.RoleOperator).taking(), 400, 409, 413, 415), s.createCustomer, bodyOf[customerBody](schemas))
	register(api, s.operation(huma.Operation{
		OperationID: "changeCustomer", Method: http.MethodPatch, Path: customerPath + "/{id}", Tags: tags, Summary: "Change a customer",
		Description: "It holds on every process within 5 seconds. A customer that is closed stays as it is.",
	}, staff(snapshot.RoleOperator).taking(), 400, 404, 409, 412, 413, 415), s.changeCustomer, bodyOf[customerPatch](schemas))
	register(api, s.operation(huma.Operation{
		OperationID: "closeCustomer", Method: http.MethodDelete, Path: customerPath + "/{id}", Tags: tags, Summary: "Close a customer for good",
		Description:   "Its keys, binds and users are refused within seconds; its messages, ledger and opt-outs are kept as long as those of others. Refused with 409 while messages of it are on their way to a vendor, unless `force` has them refused at their next step.",
		DefaultStatus: http.StatusNoContent,
	}, staff(snapshot.RoleOperator), 404, 409), s.closeCustomer, nil)
	s.registerCustomerMoney(api)
}

// decodeCustomer reads the members of a body into a document.
func decodeCustomer(body []byte, doc *vendorconf.Customer) (int, *message.Error) {
	return readObject(body, settings(doc, unknown), nil)
}

func (s *Server) createCustomer(ctx context.Context, in *rawInput) (*createdTagged[customerResource], error) {
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	x := exchangeOf(ctx)
	doc := vendorconf.NewCustomer()
	if status, refusal := decodeCustomer(in.RawBody, &doc); refusal != nil {
		return nil, s.problem(x, refusal, status)
	}
	word := secret.NewWebhookSecret().Reveal()
	a := snapshot.Account{ID: message.NewID(), WebhookSecret: word}
	if err := inBody(doc.Into(&a, s.PublicURL != "").Refusal()); err != nil {
		return nil, s.problem(x, err, 0)
	}
	made, err := s.Admin.Customers.CreateCustomer(ctx, x.actor(), a)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	out := &createdTagged[customerResource]{Location: customerPath + "/" + made.ID.String(), ETag: customerTag(made), Body: customerOf(made)}
	out.Body.WebhookSecret = &word
	return out, nil
}

type customerChangeInput struct {
	RowInput
	IfMatch
	RawBody []byte
}

func (s *Server) changeCustomer(ctx context.Context, in *customerChangeInput) (*entity[customerResource], error) {
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	x := exchangeOf(ctx)
	if status, refusal := decodeCustomer(in.RawBody, new(vendorconf.Customer)); refusal != nil {
		return nil, s.problem(x, refusal, status)
	}
	id, err := in.row()
	var c snapshot.Customer
	if err == nil {
		c, err = s.Admin.Customers.UpdateCustomer(ctx, x.actor(), id, func(c *snapshot.Customer) error {
			if err := in.check(customerTag(*c)); err != nil {
				return err
			}
			doc := vendorconf.CustomerOf(&c.Account)
			links := s.PublicURL != "" || c.MMSFallback == snapshot.MMSFallbackLink // what there is may stay
			_, _ = decodeCustomer(in.RawBody, &doc)                                 // it was read before
			return inBody(doc.Into(&c.Account, links).Refusal())
		})
	}
	if err != nil {
		return nil, s.problem(x, err, changeStatus(err))
	}
	return showCustomer(c), nil
}

type customerCloseInput struct {
	RowInput
	Force  bool   `query:"force" doc:"true: messages on their way are refused at their next step"`
	Reason string `query:"reason" maxLength:"500" doc:"Why, for the audit log"`
}

func (s *Server) closeCustomer(ctx context.Context, in *customerCloseInput) (*nothing, error) {
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	x := exchangeOf(ctx)
	var f faults
	queryText(&f, "query.reason", in.Reason)
	if refusal := f.refusal(); refusal != nil {
		return nil, s.problem(x, refusal, 0)
	}
	id, err := in.row()
	if err == nil {
		err = s.Admin.Customers.CloseCustomer(ctx, x.actor(), id, in.Force, in.Reason)
	}
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	return &nothing{}, nil
}
