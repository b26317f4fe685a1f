package rest

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/secret"
	"github.com/postrider/postrider/internal/snapshot"
)

// Services keeps the credentials of the platform's own services. A method that
// changes something leaves a line in the audit log.
type Services interface {
	ServiceCredentials(ctx context.Context, before message.ID, limit int) ([]snapshot.ServiceState, error)
	// ServiceCredential reads one; ReasonNotFound when there is none.
	ServiceCredential(ctx context.Context, id message.ID) (snapshot.ServiceState, error)
	CreateServiceCredential(ctx context.Context, by message.Actor, c snapshot.ServiceCredential) (snapshot.ServiceState, error)
	ChangeServiceCredential(ctx context.Context, by message.Actor, id message.ID, c snapshot.ServiceChange) (snapshot.ServiceState, error)
}

type serviceBody struct {
	Name      string     `json:"name" minLength:"1" maxLength:"200" doc:"What it is for" example:"billing"`
	ExpiresAt *time.Time `json:"expires_at,omitempty" doc:"Left out: never"`
}

type servicePatch struct {
	Name      string     `json:"name,omitempty" minLength:"1" maxLength:"200"`
	Active    *bool      `json:"active,omitempty" doc:"false: gets no access tokens, and those it has end."`
	ExpiresAt *time.Time `json:"expires_at,omitempty" nullable:"true" doc:"null: never"`
}

type serviceResource struct {
	_          struct{} `json:"-" additionalProperties:"true"`
	ID         string   `json:"id" format:"uuid"`
	Name       string   `json:"name" example:"billing"`
	Key        string   `json:"key"`
	Secret     *string  `json:"secret,omitempty" nullable:"false" doc:"Shown once, when it was made"`
	Scopes     []string `json:"scopes" nullable:"false"`
	Active     bool     `json:"active"`
	ExpiresAt  *string  `json:"expires_at" format:"date-time"`
	LastUsedAt *string  `json:"last_used_at" format:"date-time"`
	CreatedAt  string   `json:"created_at" format:"date-time"`
	UpdatedAt  string   `json:"updated_at" format:"date-time"`
}

func serviceOf(c snapshot.ServiceState) serviceResource {
	return serviceResource{
		ID: c.ID.String(), Name: c.Name, Key: c.Key, Scopes: c.Scopes, Active: c.Active, ExpiresAt: optionalTime(c.ExpiresAt),
		LastUsedAt: optionalTime(c.LastUsedAt), CreatedAt: stamp(c.CreatedAt), UpdatedAt: stamp(c.UpdatedAt),
	}
}

const servicePath = adminPrefix + "/service-credentials"

func (s *Server) registerServices(api huma.API) {
	schemas := api.OpenAPI().Components.Schemas
	tags := []string{"Staff"}
	register(api, s.operation(huma.Operation{
		OperationID: "listServiceCredentials", Method: http.MethodGet, Path: servicePath, Tags: tags, Summary: "List the credentials of services", Description: "Newest first.",
	}, staff()), s.listServices, nil)
	register(api, s.operation(huma.Operation{
		OperationID: "createServiceCredential", Method: http.MethodPost, Path: servicePath, Tags: tags, Summary: "Make a key and secret for a service",
		Description: "The secret is shown once. It may send messages for every account.", DefaultStatus: http.StatusCreated,
	}, staff().taking(), 400, 413, 415), s.createService, bodyOf[serviceBody](schemas))
	register(api, s.operation(huma.Operation{
		OperationID: "getServiceCredential", Method: http.MethodGet, Path: servicePath + "/{id}", Tags: tags, Summary: "Read a service's credential",
	}, staff(), 404), s.getService, nil)
	register(api, s.operation(huma.Operation{
		OperationID: "changeServiceCredential", Method: http.MethodPatch, Path: servicePath + "/{id}", Tags: tags, Summary: "Change a service's credential",
	}, staff().taking(), 400, 404, 413, 415), s.changeService, bodyOf[servicePatch](schemas))
	register(api, s.operation(huma.Operation{
		OperationID: "removeServiceCredential", Method: http.MethodDelete, Path: servicePath + "/{id}", Tags: tags, Summary: "End a service's credential and its tokens",
		DefaultStatus: http.StatusNoContent,
	}, staff(), 404), s.removeService, nil)
}

func (s *Server) listServices(ctx context.Context, in *Page) (*output[list[serviceResource]], error) {
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	x := exchangeOf(ctx)
	before, refusal := in.before()
	if refusal != nil {
		return nil, s.problem(x, refusal, 0)
	}
	rows, err := s.Admin.Services.ServiceCredentials(ctx, before, in.size()+1)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	rows, next := page(rows, *in, func(c snapshot.ServiceState) string { return encodeRowCursor(c.ID) })
	return listed(rows, next, serviceOf), nil
}

func (s *Server) getService(ctx context.Context, in *RowInput) (*output[serviceResource], error) {
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	id, err := in.row()
	if err != nil {
		return nil, s.problem(exchangeOf(ctx), err, 0)
	}
	c, err := s.Admin.Services.ServiceCredential(ctx, id)
	if err != nil {
		return nil, s.problem(exchangeOf(ctx), err, 0)
	}
	return &output[serviceResource]{Body: serviceOf(c)}, nil
}

func (s *Server) createService(ctx context.Context, in *rawInput) (*created[serviceResource], error) {
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	x := exchangeOf(ctx)
	c := snapshot.ServiceCredential{ID: message.NewID(), Key: secret.NewAPIKey(), Scopes: []string{snapshot.ScopeServiceMessages}, Active: true}
	status, refusal := readObject(in.RawBody, func(d *decoder, name, location string) (bool, error) {
		switch name {
		case "name":
			return true, d.text(location, &c.Name, oneLine)
		case "expires_at":
			return true, d.time(location, func(at time.Time) { c.ExpiresAt = at })
		}
		return false, nil
	}, func(d *decoder) {
		if c.Name == "" && !d.faulty("body.name") {
			d.invalid("body.name", "is required: what it is for")
		}
		d.most("body.name", c.Name, maxName)
	})
	if refusal != nil {
		return nil, s.problem(x, refusal, status)
	}
	word := secret.NewAPISecret().Reveal()
	c.SecretHash = s.Admin.HashSecret(word)
	made, err := s.Admin.Services.CreateServiceCredential(ctx, x.actor(), c)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	r := serviceOf(made)
	r.Secret = &word
	return &created[serviceResource]{Location: servicePath + "/" + r.ID, Body: r}, nil
}

func (s *Server) changeService(ctx context.Context, in *rowBody) (*output[serviceResource], error) {
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	x := exchangeOf(ctx)
	id, err := in.row()
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	var c snapshot.ServiceChange
	status, refusal := readObject(in.RawBody, func(d *decoder, name, location string) (bool, error) {
		switch name {
		case "name":
			return true, d.optional(location, &c.Name)
		case "active":
			return true, d.flag(location, &c.Active)
		case "expires_at":
			if d.peek() == 'n' { // merge patch (RFC 7396): null takes it away
				c.ExpiresAt = &time.Time{}
			}
			return true, d.time(location, func(at time.Time) { c.ExpiresAt = &at })
		}
		return false, nil
	}, func(d *decoder) {
		if c.Name != nil {
			d.most("body.name", *c.Name, maxName)
			if *c.Name == "" {
				d.invalid("body.name", "must not be empty")
			}
		}
	})
	if refusal != nil {
		return nil, s.problem(x, refusal, status)
	}
	made, err := s.Admin.Services.ChangeServiceCredential(ctx, x.actor(), id, c)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	return &output[serviceResource]{Body: serviceOf(made)}, nil
}

func (s *Server) removeService(ctx context.Context, in *RowInput) (*nothing, error) {
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	x := exchangeOf(ctx)
	id, err := in.row()
	if err == nil {
		_, err = s.Admin.Services.ChangeServiceCredential(ctx, x.actor(), id, snapshot.ServiceChange{Active: new(false)})
	}
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	return &nothing{}, nil
}
