package rest

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

const adminDeliveryPath = adminPrefix + "/webhook-deliveries"

type adminWebhookDelivery struct {
	_         struct{} `json:"-" additionalProperties:"true"`
	AccountID string   `json:"account_id" format:"uuid"`
	WebhookDeliveryFields
}

func adminDeliveryOf(d message.WebhookDelivery) adminWebhookDelivery {
	return adminWebhookDelivery{AccountID: d.AccountID.String(), WebhookDeliveryFields: deliveryFields(d)}
}

func (s *Server) registerAdminWebhooks(api huma.API) {
	schemas := api.OpenAPI().Components.Schemas
	tags := []string{"Webhooks"}
	register(api, s.operation(huma.Operation{
		OperationID: "listAllWebhookDeliveries", Method: http.MethodGet, Path: adminDeliveryPath, Tags: tags, Summary: "List webhook deliveries of all accounts",
		Description: "Newest first. With endpoint_id a page may be short or empty while next_cursor is not null.",
	}, anyStaff()), s.listAllWebhookDeliveries, nil)
	register(api, s.operation(huma.Operation{
		OperationID: "getAnyWebhookDelivery", Method: http.MethodGet, Path: adminDeliveryPath + "/{id}", Tags: tags, Summary: "Read a webhook delivery", Description: "With all its tries.",
	}, anyStaff(), 404), s.getAnyWebhookDelivery, nil)
	register(api, s.operation(huma.Operation{
		OperationID: "replayAnyWebhookDelivery", Method: http.MethodPost, Path: adminDeliveryPath + "/{id}/replay", Tags: tags, Summary: "Replay a webhook delivery",
		Description: "As its owner could. 409: its endpoint is gone or not active.", DefaultStatus: http.StatusAccepted,
	}, staff(snapshot.RoleSupport), 404, 409), s.replayAnyWebhookDelivery, nil)
	register(api, s.operation(huma.Operation{
		OperationID: "replayAnyWebhookDeliveries", Method: http.MethodPost, Path: adminDeliveryPath + "/replay", Tags: tags, Summary: "Replay the webhook deliveries of an account",
		Description: "Of one endpoint, or of all and of URLs of messages and numbers. At most 10,000, the oldest first; `next_after` says where to go on.", DefaultStatus: http.StatusAccepted,
	}, staff(snapshot.RoleSupport).taking(), 400, 404, 409, 413, 415), s.replayAnyWebhookDeliveries, bodyOf[adminReplayBody](schemas))
}

type adminDeliveriesInput struct {
	Page
	WebhookDeliveryFilter
	AccountID string `query:"account_id" maxLength:"36" doc:"Of this account alone"`
}

func (s *Server) listAllWebhookDeliveries(ctx context.Context, in *adminDeliveriesInput) (*output[list[adminWebhookDelivery]], error) {
	ctx, cancel, x, err := s.beginWebhooks(ctx)
	defer cancel()
	if err != nil {
		return nil, err
	}
	var f faults
	account := queryID(&f, "query.account_id", in.AccountID)
	if refusal := f.refusal(); refusal != nil {
		return nil, s.problem(x, refusal, 0)
	}
	found, next, err := s.deliveriesPage(ctx, account, &webhookDeliveriesInput{in.Page, in.WebhookDeliveryFilter})
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	return listed(found, next, adminDeliveryOf), nil
}

func (s *Server) getAnyWebhookDelivery(ctx context.Context, in *RowInput) (*output[adminWebhookDelivery], error) {
	ctx, cancel, x, err := s.beginWebhooks(ctx)
	defer cancel()
	if err != nil {
		return nil, err
	}
	id, err := in.row()
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	d, err := s.Webhooks.WebhookDelivery(ctx, message.ID{}, id)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	return &output[adminWebhookDelivery]{Body: adminDeliveryOf(d)}, nil
}

func (s *Server) replayAnyWebhookDelivery(ctx context.Context, in *RowInput) (*output[replayedResource], error) {
	ctx, cancel, x, err := s.beginWebhooks(context.WithoutCancel(ctx))
	defer cancel()
	if err != nil {
		return nil, err
	}
	id, err := in.row()
	if err == nil {
		_, err = s.Webhooks.ReplayDelivery(ctx, x.actor(), message.ID{}, id, nil)
	}
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	return &output[replayedResource]{Body: replayedResource{Queued: 1}}, nil
}

type adminReplayBody struct {
	AccountID  string   `json:"account_id" format:"uuid"`
	EndpointID string   `json:"endpoint_id,omitempty" format:"uuid" doc:"Left out: all, and URLs of messages and numbers"`
	After      string   `json:"after" format:"date-time" doc:"Made at or after" example:"2026-11-21T20:15:04Z"`
	Before     string   `json:"before,omitempty" format:"date-time" doc:"Made before; left out: now"`
	Types      []string `json:"types,omitempty" maxItems:"50" nullable:"false" doc:"Of events; left out or empty: all"`
	State      string   `json:"state,omitempty" enum:"failed,all" default:"failed" doc:"all: also what was delivered"`
}

func (s *Server) replayAnyWebhookDeliveries(ctx context.Context, in *struct{ RawBody []byte }) (*output[replayedResource], error) {
	ctx, cancel, x, err := s.beginWebhooks(context.WithoutCancel(ctx))
	defer cancel()
	if err != nil {
		return nil, err
	}
	var account, endpoint message.ID
	id := func(d *decoder, location string, into *message.ID) error {
		return d.parsed(location, func(v string) {
			var err error
			if *into, err = message.ParseID(v); err != nil {
				d.invalid(location, "must be a UUID of 32 hex digits, hyphens optional")
			}
		})
	}
	r, status, refusal := decodeReplay(in.RawBody, s.now(), func(d *decoder, name, location string) (bool, error) {
		switch name {
		case "account_id":
			return true, id(d, location, &account)
		case "endpoint_id":
			return true, id(d, location, &endpoint)
		}
		return false, nil
	})
	if refusal == nil && account == (message.ID{}) {
		var f faults
		f.invalid("body.account_id", "is required: whose deliveries")
		refusal = f.refusal()
	}
	if refusal != nil {
		return nil, s.problem(x, refusal, status)
	}
	r.Account, r.Endpoint = account, endpoint
	done, err := s.Webhooks.ReplayDeliveries(ctx, x.actor(), r, nil)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	return &output[replayedResource]{Body: replayedOf(done)}, nil
}
