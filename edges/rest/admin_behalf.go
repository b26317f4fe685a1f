package rest

import (
	"context"
	"net/http"
	"strings"
	"unicode"

	"github.com/danielgtaylor/huma/v2"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// behalfPath begins the paths under which staff use the customers' operations for one
// account: /v1/opt-outs is behalfPath + "/opt-outs".
const behalfPath = customerPath + "/{account}"

// behalf is an API that takes the customers' operations and offers them to staff, with
// the account in the path. The handlers are the same, so that a rule is written once:
// they find the account at the caller, as they do for a customer, and name the actor with
// customerActor. An operation that is added to the customers' API is served here without
// a further line, unless behalfRoles leaves its scope out.
type behalf struct {
	huma.API
	server *Server
}

// behalfRoles are the roles that may use a customers' operation of a scope for an
// account; none: staff have operations of their own for them. Messages and media are
// those of all accounts, with the texts for those who may read them.
func behalfRoles(method, scope string) []snapshot.Role {
	family, _, _ := strings.Cut(scope, ":")
	switch {
	case scope == "", family == "messages", family == "media":
		return nil
	case method == http.MethodGet:
		return snapshot.Roles()
	case family == "registry", family == "optouts":
		return []snapshot.Role{snapshot.RoleOperator, snapshot.RoleCompliance}
	}
	return []snapshot.Role{snapshot.RoleOperator}
}

// take makes a customers' operation into that of staff; false: it is not offered.
func (b *behalf) take(op huma.Operation) (huma.Operation, bool) {
	its, _ := op.Metadata["access"].(access)
	roles := behalfRoles(op.Method, its.scope)
	if len(roles) == 0 {
		return op, false
	}
	a := staff(roles...)
	a.bodies, a.answers, a.behalf = its.bodies, its.answers, true
	refusals, _ := op.Metadata["refusals"].([]int)
	size, skip := op.MaxBodyBytes, op.SkipValidateBody
	op.Path = behalfPath + strings.TrimPrefix(op.Path, "/v1")
	op.OperationID = behalfName(op.OperationID)
	op.Tags = []string{behalfTag}
	op.Extensions = nil // examples with a customer's key
	op.Parameters = append([]*huma.Param{{
		Name: "account", In: "path", Required: true, Description: "The customer's id, with or without hyphens",
		Schema: &huma.Schema{Type: "string"}, Example: "01a1ffbf-8676-7d35-9c44-0f6f2f1b7e21",
	}}, op.Parameters...)
	op = b.server.operation(op, a, append([]int{http.StatusNotFound}, refusals...)...)
	op.MaxBodyBytes, op.SkipValidateBody = size, skip
	return op, true
}

// behalfTag heads these operations in the document.
const behalfTag = "For a customer"

// behalfName is the operationId of a customers' operation when staff use it.
func behalfName(operation string) string {
	name := []rune(operation)
	name[0] = unicode.ToUpper(name[0])
	return "customer" + string(name)
}

// registerBehalf offers the customers' operations to staff.
func (s *Server) registerBehalf(api huma.API) {
	doc := api.OpenAPI()
	tags := doc.Tags // the customers' own groups are none here
	s.register(&behalf{API: api, server: s})
	doc.Tags = tags
}

// actFor makes a member of staff the caller for the account of the path.
func (s *Server) actFor(x *exchange, given string) error {
	id, err := message.ParseID(given)
	if err != nil {
		return message.Refuse(message.ReasonNotFound, "there is no such customer: an id is a UUID of 32 hex digits, hyphens optional")
	}
	account := s.Snapshot().Accounts[id]
	if account == nil {
		if account, err = s.newAccount(x.request.Context(), id); err != nil {
			return err
		}
	}
	x.caller.account = account
	x.base = customerPath + "/" + id.String()
	return nil
}

// newAccount looks for an account that the configuration in force does not have: one that
// was made a moment ago.
func (s *Server) newAccount(ctx context.Context, id message.ID) (*snapshot.Account, error) {
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	if _, err := s.Admin.Customers.Customer(ctx, id); err != nil {
		return nil, err
	}
	if s.Admin.Reload != nil {
		if err := s.Admin.Reload(ctx); err != nil {
			return nil, err
		}
	}
	if account := s.Snapshot().Accounts[id]; account != nil {
		return account, nil
	}
	return nil, message.Refuse(message.ReasonUnavailable, "the customer is not in force here yet; repeat the request")
}

// customerActor names the caller of a customers' operation in the audit log: a
// credential, a user of the portal, or the member of staff who acts for the account.
func customerActor(x *exchange) message.Actor {
	if x.caller.staff != nil {
		return x.actor()
	}
	if x.caller.user != "" {
		return message.Actor{Name: x.caller.user, Role: "portal", Address: x.client.String()}
	}
	return message.Actor{Name: "credential " + x.caller.credential.ID.String(), Role: "customer", Address: x.client.String()}
}

// name says who the caller is in a row that tells by whom it was made: the key, or the
// e-mail address of the member of staff.
func (c *caller) name() string {
	if c.staff != nil {
		return c.staff.Email
	}
	return c.credential.Key
}

// staffActor is the member of staff who acts for an account, nil if it is the account
// itself.
func (x *exchange) staffActor() *message.Actor {
	if x.caller.staff == nil {
		return nil
	}
	by := x.actor()
	return &by
}
