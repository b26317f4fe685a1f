package rest

import (
	"context"
	"net/http"
	"time"

	"github.com/postrider/postrider/internal/message"
)

type webhookDeliveriesInput struct {
	Page
	WebhookDeliveryFilter
}

// WebhookDeliveryFilter is what lists of deliveries are narrowed by. It is exported only
// because huma looks into embedded types no other way.
type WebhookDeliveryFilter struct {
	EndpointID string `query:"endpoint_id" maxLength:"36" doc:"To this endpoint alone"`
	MessageID  string `query:"message_id" maxLength:"36" doc:"About this message alone"`
	State      string `query:"state" enum:"pending,delivered,failed" doc:"In this state alone"`
}

func (in *WebhookDeliveryFilter) filter() (message.WebhookFilter, *message.Error) {
	var f faults
	out := message.WebhookFilter{State: message.NotificationState(in.State), Endpoint: queryID(&f, "query.endpoint_id", in.EndpointID), Message: queryID(&f, "query.message_id", in.MessageID)}
	return out, f.refusal()
}

// queryID reads an id of a query; zero for none.
func queryID(f *faults, location, given string) message.ID {
	if given == "" {
		return message.ID{}
	}
	id, err := message.ParseID(given)
	if err != nil {
		f.invalid(location, "must be a UUID of 32 hex digits, hyphens optional")
	}
	return id
}

func (s *Server) listWebhookDeliveries(ctx context.Context, in *webhookDeliveriesInput) (*output[list[webhookDeliveryResource]], error) {
	ctx, cancel, x, err := s.beginWebhooks(ctx)
	defer cancel()
	if err != nil {
		return nil, err
	}
	found, next, err := s.deliveriesPage(ctx, x.caller.account.ID, in)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	return listed(found, next, webhookDeliveryOf), nil
}

// deliveriesPage reads a page, of all accounts for the zero one.
func (s *Server) deliveriesPage(ctx context.Context, account message.ID, in *webhookDeliveriesInput) ([]message.WebhookDelivery, *string, error) {
	f, refusal := in.filter()
	if refusal != nil {
		return nil, nil, refusal
	}
	before, refusal := in.before()
	if refusal != nil {
		return nil, nil, refusal
	}
	found, behind, err := s.Webhooks.WebhookDeliveries(ctx, account, f, before, in.size()+1)
	if err != nil {
		return nil, nil, err
	}
	found, next := page(found, in.Page, func(d message.WebhookDelivery) string { return encodeRowCursor(d.ID) })
	if next == nil && behind != (message.ID{}) {
		next = optional(encodeRowCursor(behind))
	}
	return found, next, nil
}

func (s *Server) getWebhookDelivery(ctx context.Context, in *idInput) (*output[webhookDeliveryResource], error) {
	ctx, cancel, x, err := s.beginWebhooks(ctx)
	defer cancel()
	if err != nil {
		return nil, err
	}
	d, err := s.ownDelivery(ctx, x, in.ID)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	return &output[webhookDeliveryResource]{Body: webhookDeliveryOf(d)}, nil
}

func (s *Server) ownDelivery(ctx context.Context, x *exchange, given string) (message.WebhookDelivery, error) {
	id, err := pathID("webhook delivery", given)
	if err != nil {
		return message.WebhookDelivery{}, err
	}
	d, err := s.Webhooks.WebhookDelivery(ctx, x.caller.account.ID, id)
	if err == nil && d.AccountID != x.caller.account.ID { // the store has checked it; nothing else stands between two customers
		err = message.Refuse(message.ReasonNotFound, "there is no webhook delivery %s", id)
	}
	return d, err
}

func (s *Server) replayWebhookDelivery(ctx context.Context, in *idInput) (*rawOutput, error) {
	return s.keyed(ctx, nil, keyedWork{http.MethodPost + " /v1/webhook-deliveries/" + clip(in.ID) + "/replay", func(ctx context.Context, x *exchange, key *message.Idempotency) (*rawOutput, error) {
		d, err := s.ownDelivery(ctx, x, in.ID)
		if err != nil {
			return nil, err
		}
		// It is on its way afterwards, whoever has put it back.
		shown := replayedResource{Queued: 1}
		out, err := rendered(http.StatusAccepted, shown, shown, key)
		if err != nil {
			return nil, err
		}
		_, err = s.Webhooks.ReplayDelivery(ctx, customerActor(x), d.AccountID, d.ID, key)
		out.Location = "/v1/webhook-deliveries/" + d.ID.String()
		return out, err
	}})
}

func (s *Server) replayEndpoint(ctx context.Context, in *rawIDInput) (*rawOutput, error) {
	return s.keyed(ctx, in.RawBody, keyedWork{http.MethodPost + " " + endpointPath + "/" + clip(in.ID) + "/replay", func(ctx context.Context, x *exchange, key *message.Idempotency) (*rawOutput, error) {
		e, err := s.ownEndpoint(ctx, x, in.ID)
		if err != nil {
			return nil, err
		}
		r, status, refusal := decodeReplay(in.RawBody, s.now(), nil)
		if refusal != nil {
			return nil, s.problem(x, refusal, status)
		}
		r.Account, r.Endpoint = e.AccountID, e.ID
		var answer func(message.WebhookReplayed) (*message.Idempotency, error)
		if key != nil {
			answer = func(done message.WebhookReplayed) (*message.Idempotency, error) {
				_, err := rendered(http.StatusAccepted, replayedOf(done), replayedOf(done), key)
				return key, err
			}
		}
		done, err := s.Webhooks.ReplayDeliveries(ctx, customerActor(x), r, answer)
		if err != nil {
			return nil, err
		}
		out, err := rendered(http.StatusAccepted, replayedOf(done), nil, nil)
		if err == nil {
			out.Location = "/v1/webhook-deliveries?endpoint_id=" + e.ID.String()
		}
		return out, err
	}})
}

func replayedOf(r message.WebhookReplayed) replayedResource {
	return replayedResource{Queued: r.Queued, NextAfter: optionalTime(r.NextAfter)}
}

// decodeReplay reads which deliveries are meant. more takes members that only staff has.
func decodeReplay(body []byte, now time.Time, more func(d *decoder, name, location string) (bool, error)) (message.WebhookReplay, int, *message.Error) {
	r := message.WebhookReplay{Before: now}
	status, refusal := readObject(body, func(d *decoder, name, location string) (bool, error) {
		switch name {
		case "after":
			return true, d.time(location, func(t time.Time) { r.After = t })
		case "before":
			return true, d.time(location, func(t time.Time) { r.Before = t })
		case "types":
			return true, readTypes(d, location, func(list []string) { r.Types = list })
		case "state":
			return true, d.parsedChoice(location, []string{"failed", "all"}, func(s string) { r.All = s == "all" })
		}
		if more != nil {
			return more(d, name, location)
		}
		return false, nil
	}, func(d *decoder) {
		switch {
		case d.faulty("body.after"):
		case r.After.IsZero():
			d.invalid("body.after", "is required: from when on, such as 2026-11-21T20:15:04Z")
		case !r.After.Before(r.Before):
			d.invalid("body.after", "must lie before body.before")
		}
	})
	return r, status, refusal
}
