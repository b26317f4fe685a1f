package rest

import (
	"context"
	"net/http"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// The scopes of webhooks.
const (
	scopeWebhooksRead  = "webhooks:read"
	scopeWebhooksWrite = "webhooks:write"
)

// Webhooks keeps the endpoints of accounts and what was sent to them. Every call is for
// one account; what is another's is ReasonNotFound. The zero account is every account,
// for reading deliveries and putting one back.
type Webhooks interface {
	// AddWebhookEndpoint stores a new one, with key the answer to the request as well.
	AddWebhookEndpoint(ctx context.Context, by message.Actor, e message.WebhookEndpoint, key *message.Idempotency) error
	WebhookEndpoints(ctx context.Context, account, before message.ID, limit int) ([]message.WebhookEndpoint, error)
	WebhookEndpoint(ctx context.Context, account, id message.ID) (message.WebhookEndpoint, error)
	// ChangeWebhookEndpoint has change alter what is stored; its error ends it.
	ChangeWebhookEndpoint(ctx context.Context, by message.Actor, account, id message.ID, change func(*message.WebhookEndpoint) error) (message.WebhookEndpoint, error)
	// RemoveWebhookEndpoint takes one away, if check finds nothing against it.
	RemoveWebhookEndpoint(ctx context.Context, by message.Actor, account, id message.ID, check func(message.WebhookEndpoint) error) error
	RotateEndpointSecret(ctx context.Context, by message.Actor, account, id message.ID, secret string, overlap time.Duration, key *message.Idempotency) error
	RotateAccountSecret(ctx context.Context, by message.Actor, account message.ID, secret string, overlap time.Duration, key *message.Idempotency) error

	// WebhookDeliveries lists them, newest first, older than before. behind is not zero if
	// the list ended early and more may lie behind it.
	WebhookDeliveries(ctx context.Context, account message.ID, f message.WebhookFilter, before message.ID, limit int) (list []message.WebhookDelivery, behind message.ID, err error)
	WebhookDelivery(ctx context.Context, account, id message.ID) (message.WebhookDelivery, error)
	// ReplayDelivery puts one back, and tells whether it was not on its way anyhow.
	ReplayDelivery(ctx context.Context, by message.Actor, account, id message.ID, key *message.Idempotency) (queued bool, err error)
	// ReplayDeliveries puts back what r names. answer renders what a key keeps; nil: there
	// is no key.
	ReplayDeliveries(ctx context.Context, by message.Actor, r message.WebhookReplay, answer func(message.WebhookReplayed) (*message.Idempotency, error)) (message.WebhookReplayed, error)
	FirstAnswer(ctx context.Context, k message.Idempotency) (*message.Idempotency, error)
}

var errNoWebhooks = message.Refuse(message.ReasonUnavailable, "webhooks are not managed here")

// beginWebhooks is what every operation on webhooks starts with.
func (s *Server) beginWebhooks(ctx context.Context) (context.Context, context.CancelFunc, *exchange, error) {
	x := exchangeOf(ctx)
	if s.Webhooks == nil {
		return ctx, func() {}, x, s.problem(x, errNoWebhooks, 0)
	}
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	return ctx, cancel, x, nil
}

// keyedWork is a POST that does something once for each Idempotency-Key. do gets the key
// without its answer, nil if there is none, and gives what is answered and what is kept:
// the same without its secrets.
type keyedWork struct {
	operation string // method and path, with the ids in it
	do        func(ctx context.Context, x *exchange, key *message.Idempotency) (*rawOutput, error)
}

// keyed answers such a request, or gives its first answer again.
func (s *Server) keyed(ctx context.Context, body []byte, w keyedWork) (*rawOutput, error) {
	ctx, cancel, x, err := s.beginWebhooks(context.WithoutCancel(ctx))
	defer cancel()
	if err != nil {
		return nil, err
	}
	key, err := s.operationKey(x, w.operation, body)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	if key != nil {
		first, err := s.Webhooks.FirstAnswer(ctx, *key)
		switch {
		case err != nil:
			return nil, s.problem(x, err, 0)
		case first != nil:
			return replay(first), nil
		}
	}
	out, err := w.do(ctx, x, key)
	if err != nil {
		if p, ok := err.(*problem); ok {
			return nil, p
		}
		return nil, s.problem(x, late(ctx, err), 0)
	}
	return out, nil
}

// repeatable answers a POST to an endpoint that does no harm when it is done twice.
func (s *Server) repeatable(ctx context.Context, given, what string, do func(ctx context.Context, x *exchange) (any, error)) (*rawOutput, error) {
	ctx, cancel, x, err := s.beginWebhooks(context.WithoutCancel(ctx))
	defer cancel()
	if err != nil {
		return nil, err
	}
	key, err := s.operationKey(x, http.MethodPost+" "+endpointPath+"/"+clip(given)+"/"+what, nil)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	return s.onceKept(ctx, x, key, func() (*rawOutput, error) {
		shown, err := do(ctx, x)
		if err != nil {
			if p, ok := err.(*problem); ok {
				return nil, p
			}
			return nil, s.problem(x, err, 0)
		}
		return rendered(http.StatusOK, shown, nil, nil)
	})
}

// rendered makes an answer, and what of it a key keeps: kept instead of shown.
func rendered(status int, shown, kept any, key *message.Idempotency) (*rawOutput, error) {
	body, err := encode(shown)
	if err != nil {
		return nil, err
	}
	if key != nil {
		key.Status = status
		if key.Response, err = encode(kept); err != nil {
			return nil, err
		}
	}
	return &rawOutput{Status: status, ContentType: jsonType, Body: body}, nil
}

func (s *Server) createEndpoint(ctx context.Context, in *rawInput) (*rawOutput, error) {
	return s.keyed(ctx, in.RawBody, keyedWork{http.MethodPost + " " + endpointPath, func(ctx context.Context, x *exchange, key *message.Idempotency) (*rawOutput, error) {
		now := s.now().UTC().Truncate(time.Millisecond)
		e := message.WebhookEndpoint{ID: message.NewID(), AccountID: x.caller.account.ID, Format: "event", Active: true, Secret: newWebhookSecret(), CreatedAt: now, UpdatedAt: now}
		body, status, refusal := s.decodeEndpoint(in.RawBody, true)
		if refusal != nil {
			return nil, s.problem(x, refusal, status)
		}
		body.apply(&e)
		kept := endpointOf(e)
		shown := kept
		shown.Secret = &e.Secret
		out, err := rendered(http.StatusCreated, shown, kept, key)
		if err != nil {
			return nil, err
		}
		out.Location = endpointPath + "/" + e.ID.String()
		return out, s.Webhooks.AddWebhookEndpoint(ctx, customerActor(x), e, key)
	}})
}

func (s *Server) listEndpoints(ctx context.Context, in *pageInput) (*output[list[endpointResource]], error) {
	ctx, cancel, x, err := s.beginWebhooks(ctx)
	defer cancel()
	if err != nil {
		return nil, err
	}
	before, refusal := in.before()
	if refusal != nil {
		return nil, s.problem(x, refusal, 0)
	}
	found, err := s.Webhooks.WebhookEndpoints(ctx, x.caller.account.ID, before, in.size()+1)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	found, next := page(found, in.Page, func(e message.WebhookEndpoint) string { return encodeRowCursor(e.ID) })
	return listed(found, next, endpointOf), nil
}

func shownEndpoint(e message.WebhookEndpoint) *entity[endpointResource] {
	r := endpointOf(e)
	return &entity[endpointResource]{ETag: endpointTag(e), Body: r}
}

// endpointTag names what the owner has set of an endpoint, not what has become of it.
func endpointTag(e message.WebhookEndpoint) string {
	return contentTag(e.ID, e.URL, e.FailoverURL, wordsList(e.EventTypes), e.Format, e.Active)
}

// ownEndpoint reads one of the caller's.
func (s *Server) ownEndpoint(ctx context.Context, x *exchange, given string) (message.WebhookEndpoint, error) {
	id, err := pathID("webhook endpoint", given)
	if err != nil {
		return message.WebhookEndpoint{}, err
	}
	e, err := s.Webhooks.WebhookEndpoint(ctx, x.caller.account.ID, id)
	if err == nil && e.AccountID != x.caller.account.ID { // the store has checked it; nothing else stands between two customers
		err = message.Refuse(message.ReasonNotFound, "there is no webhook endpoint %s", id)
	}
	return e, err
}

func (s *Server) getEndpoint(ctx context.Context, in *idInput) (*entity[endpointResource], error) {
	ctx, cancel, x, err := s.beginWebhooks(ctx)
	defer cancel()
	if err != nil {
		return nil, err
	}
	e, err := s.ownEndpoint(ctx, x, in.ID)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	return shownEndpoint(e), nil
}

// EndpointInput names an endpoint. It is exported only because huma looks into embedded
// types no other way.
type EndpointInput struct {
	ID string `path:"id" doc:"Its id, with or without hyphens" example:"01a1ffbf-8676-7d35-9c44-0f6f2f1b7e21"`
}

type changeEndpointInput struct {
	EndpointInput
	IfMatch
	RawBody []byte
}

func (s *Server) changeEndpoint(ctx context.Context, in *changeEndpointInput) (*entity[endpointResource], error) {
	ctx, cancel, x, err := s.beginWebhooks(context.WithoutCancel(ctx))
	defer cancel()
	if err != nil {
		return nil, err
	}
	body, status, refusal := s.decodeEndpoint(in.RawBody, false)
	if refusal != nil {
		return nil, s.problem(x, refusal, status)
	}
	return s.alterEndpoint(ctx, x, in.ID, in.IfMatch, body.apply)
}

func (s *Server) alterEndpoint(ctx context.Context, x *exchange, given string, seen IfMatch, alter func(*message.WebhookEndpoint)) (*entity[endpointResource], error) {
	id, err := pathID("webhook endpoint", given)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	e, err := s.Webhooks.ChangeWebhookEndpoint(ctx, customerActor(x), x.caller.account.ID, id, func(e *message.WebhookEndpoint) error {
		if err := seen.check(endpointTag(*e)); err != nil {
			return err
		}
		alter(e)
		return nil
	})
	if err != nil {
		return nil, s.problem(x, err, changeStatus(err))
	}
	return shownEndpoint(e), nil
}

// enabledOutput is encoded already, as an answer that a key keeps. One that comes again
// has no ETag: the endpoint may have been changed since.
type enabledOutput struct {
	Status      int
	ContentType string `header:"Content-Type" hidden:"true"`
	ETag        string `header:"ETag" doc:"Names this state of it, for If-Match"`
	Replayed    string `header:"Idempotency-Replayed" enum:"true" doc:"true if this is the first answer again"`
	Body        []byte
}

func (s *Server) enableEndpoint(ctx context.Context, in *idInput) (*enabledOutput, error) {
	tag := ""
	out, err := s.repeatable(ctx, in.ID, "enable", func(ctx context.Context, x *exchange) (any, error) {
		e, err := s.alterEndpoint(ctx, x, in.ID, IfMatch{}, func(e *message.WebhookEndpoint) { e.Active = true })
		if err != nil {
			return nil, err
		}
		tag = e.ETag
		return e.Body, nil
	})
	if err != nil {
		return nil, err
	}
	if out.Replayed != "" {
		tag = ""
	}
	return &enabledOutput{out.Status, out.ContentType, tag, out.Replayed, out.Body}, nil
}

type removeEndpointInput struct {
	EndpointInput
	IfMatch
}

func (s *Server) removeEndpoint(ctx context.Context, in *removeEndpointInput) (*nothing, error) {
	ctx, cancel, x, err := s.beginWebhooks(context.WithoutCancel(ctx))
	defer cancel()
	if err != nil {
		return nil, err
	}
	id, err := pathID("webhook endpoint", in.ID)
	if err == nil {
		err = s.Webhooks.RemoveWebhookEndpoint(ctx, customerActor(x), x.caller.account.ID, id, func(e message.WebhookEndpoint) error { return in.check(endpointTag(e)) })
	}
	if err != nil {
		return nil, s.problem(x, err, changeStatus(err))
	}
	return &nothing{}, nil
}

// rawIDInput is a path with an id, and a body.
type rawIDInput struct {
	EndpointInput
	RawBody []byte
}

func (s *Server) rotateEndpoint(ctx context.Context, in *rawIDInput) (*rawOutput, error) {
	return s.keyed(ctx, in.RawBody, keyedWork{http.MethodPost + " " + endpointPath + "/" + clip(in.ID) + "/rotate-secret", func(ctx context.Context, x *exchange, key *message.Idempotency) (*rawOutput, error) {
		e, err := s.ownEndpoint(ctx, x, in.ID)
		if err != nil {
			return nil, err
		}
		return s.rotated(x, in.RawBody, key, func(secret string, overlap time.Duration) error {
			return s.Webhooks.RotateEndpointSecret(ctx, customerActor(x), e.AccountID, e.ID, secret, overlap, key)
		})
	}})
}

func (s *Server) rotateAccountSecret(ctx context.Context, in *rawInput) (*rawOutput, error) {
	return s.keyed(ctx, in.RawBody, keyedWork{http.MethodPost + " /v1/webhook-secret/rotate", func(ctx context.Context, x *exchange, key *message.Idempotency) (*rawOutput, error) {
		return s.rotated(x, in.RawBody, key, func(secret string, overlap time.Duration) error {
			return s.Webhooks.RotateAccountSecret(ctx, customerActor(x), x.caller.account.ID, secret, overlap, key)
		})
	}})
}

// rotated makes a new secret and has it stored.
func (s *Server) rotated(x *exchange, body []byte, key *message.Idempotency, store func(secret string, overlap time.Duration) error) (*rawOutput, error) {
	overlap, status, refusal := decodeRotation(body)
	if refusal != nil {
		return nil, s.problem(x, refusal, status)
	}
	kept := rotationResource{}
	if overlap > 0 {
		kept.OldSecretUntil = optionalTime(s.now().Add(overlap))
	}
	shown := kept
	shown.Secret = new(newWebhookSecret())
	out, err := rendered(http.StatusOK, shown, kept, key)
	if err != nil {
		return nil, err
	}
	return out, store(*shown.Secret, overlap)
}

func (s *Server) testEndpoint(ctx context.Context, in *idInput) (*rawOutput, error) {
	return s.repeatable(ctx, in.ID, "test", func(ctx context.Context, x *exchange) (any, error) {
		if s.TestEndpoint == nil {
			return nil, message.Refuse(message.ReasonUnavailable, "endpoints are not tested here")
		}
		e, err := s.ownEndpoint(ctx, x, in.ID)
		if err != nil {
			return nil, err
		}
		if by := x.staffActor(); by != nil {
			if err := s.Admin.Audit.Audit(ctx, *by, "webhook.test", e.ID.String(), map[string]any{"account_id": e.AccountID}); err != nil {
				return nil, err
			}
		}
		r, err := s.TestEndpoint(ctx, e.AccountID, e.ID)
		if err != nil {
			return nil, err
		}
		out := testedEndpoint{DeliveryID: r.DeliveryID.String(), EventID: r.EventID.String(), OK: r.OK, MS: r.Millis, Error: optional(r.Error), Answer: optional(r.Answer)}
		if r.HTTPStatus != 0 {
			out.HTTPStatus = &r.HTTPStatus
		}
		return out, nil
	})
}
