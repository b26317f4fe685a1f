package rest

import (
	"github.com/danielgtaylor/huma/v2"

	"github.com/postrider/postrider/internal/message"
)

// PlaceResource is what the method of a destination needs. It is exported for huma's
// sake, as Page is.
type PlaceResource struct {
	Method          string  `json:"method" enum:"webhook,smpp,mm4,email,storage" doc:"storage: it is fetched by GET /v1/inbound-messages" example:"webhook"`
	WebhookURL      *string `json:"webhook_url" doc:"null: the account's webhook endpoints" example:"https://shop.example/sms"`
	WebhookFailover *string `json:"webhook_failover_url" doc:"Tried from the second try on when webhook_url fails"`
	WebhookMethod   *string `json:"webhook_method" enum:"POST,PUT" doc:"null: no webhook of its own"`
	Format          *string `json:"format" enum:"event,flat" doc:"null: no webhook of its own"`
	SMPPSystemID    *string `json:"smpp_system_id" example:"acme"`
	EmailAddress    *string `json:"email_address" example:"inbox@shop.example"`
}

// DestinationResource is a place where inbound messages go.
type DestinationResource struct {
	PlaceResource
	WebhookSecret     *string           `json:"webhook_secret" doc:"Shown once, when it was made"`
	WebhookSecretSet  bool              `json:"webhook_secret_set" doc:"false: the account's secret signs"`
	WebhookRetryCount *int              `json:"webhook_retry_count" doc:"After the first try; null: the whole schedule"`
	Active            bool              `json:"active"`
	Fallback          *FallbackResource `json:"fallback" doc:"Where a message goes that was not taken here"`
}

// FallbackResource is where a message goes that a destination has not taken.
type FallbackResource struct {
	_            struct{} `json:"-" additionalProperties:"true"`
	AfterSeconds int      `json:"after_seconds" doc:"0: when the destination has failed for good"`
	PlaceResource
}

// InboundResource is where the messages to a number go, or those to all numbers of the
// account that have nothing of their own. Its own members are those of the first
// destination.
type InboundResource struct {
	_         struct{} `json:"-" additionalProperties:"true"`
	Number    *string  `json:"number" doc:"null: the account's default" example:"+12025550143"`
	Inherited bool     `json:"inherited" doc:"Nothing is set here: the account's default holds, or without one the webhook endpoints that want message.received, or else storage"`
	DestinationResource
	Destinations []DestinationResource `json:"destinations" nullable:"false" doc:"All of them, in order; each gets every message"`
	AutoReply    *string               `json:"auto_reply" doc:"What the number answers by itself; null: nothing"`
	UpdatedAt    *string               `json:"updated_at" format:"date-time"`
}

// TransformSchema is as for the message.
func (InboundResource) TransformSchema(_ huma.Registry, s *huma.Schema) *huma.Schema {
	return orNull(s, "fallback")
}

// TransformSchema is as for the message.
func (DestinationResource) TransformSchema(_ huma.Registry, s *huma.Schema) *huma.Schema {
	return orNull(s, "fallback")
}

func placeOf(p message.Place) PlaceResource {
	r := PlaceResource{Method: string(p.Method), WebhookURL: optional(p.URL), WebhookFailover: optional(p.FailoverURL), SMPPSystemID: optional(p.SystemID), EmailAddress: optional(p.Email)}
	if p.URL != "" {
		r.WebhookMethod, r.Format = optional(p.HTTPMethod), optional(p.Format)
	}
	return r
}

func inboundOf(set message.DestinationSet, number message.Address, inherited bool) InboundResource {
	r := InboundResource{Number: optional(string(number)), Inherited: inherited, Destinations: make([]DestinationResource, 0, len(set.List)), UpdatedAt: optionalTime(set.UpdatedAt)}
	if number != "" {
		r.AutoReply = set.AutoReply
	}
	for _, d := range set.List {
		one := DestinationResource{PlaceResource: placeOf(d.Place), WebhookSecret: optional(d.WebhookSecret), WebhookSecretSet: set.Secrets[d.Position], WebhookRetryCount: d.Retries, Active: d.Active}
		if d.Fallback != nil {
			one.Fallback = &FallbackResource{AfterSeconds: d.Fallback.AfterSeconds, PlaceResource: placeOf(d.Fallback.Place)}
		}
		r.Destinations = append(r.Destinations, one)
	}
	if len(r.Destinations) > 0 {
		r.DestinationResource = r.Destinations[0]
	}
	return r
}

// receivedResource is an inbound message: the fields of the event message.received and
// what became of it.
type receivedResource struct {
	_          struct{}               `json:"-" additionalProperties:"true"`
	MessageID  string                 `json:"message_id" format:"uuid" example:"01a1ffc0-fcb6-7b0e-b1c9-6f0d2b8a3c55"`
	From       string                 `json:"from" example:"+13105550117"`
	To         string                 `json:"to" example:"+12025550143"`
	Body       *string                `json:"body" doc:"null once content_retention_days have passed, and for octets that are no text" example:"Where is it?"`
	ReceivedAt string                 `json:"received_at" format:"date-time" example:"2026-11-21T20:16:40.118Z"`
	Type       string                 `json:"type" enum:"sms,mms"`
	Segments   int                    `json:"segments"`
	Complete   bool                   `json:"complete" doc:"false: parts of it never came"`
	Keyword    *string                `json:"keyword" doc:"The stop, start or help word that it is"`
	Tag        *string                `json:"tag" doc:"Of the number"`
	Group      *string                `json:"group" doc:"Of the number"`
	GroupTo    []string               `json:"group_recipients" nullable:"false" doc:"Of a group MMS: all its recipients, this number among them; else empty"`
	Subject    *string                `json:"subject" doc:"Of an MMS; null: it has none, or its text is gone"`
	Media      []mediaResource        `json:"media" nullable:"false"`
	Delivery   deliveryResource       `json:"delivery" doc:"The best that its destinations have come to"`
	Deliveries []inboundTriedResource `json:"deliveries" nullable:"false" doc:"Each destination; the fall-back of one comes after all others"`
}

type deliveryResource struct {
	_         struct{} `json:"-" additionalProperties:"true"`
	Method    *string  `json:"method" enum:"webhook,smpp,mm4,email,storage" doc:"null: it is not decided yet"`
	State     string   `json:"state" enum:"pending,delivered,stored,failed"`
	Attempts  int      `json:"attempts"`
	LastError *string  `json:"last_error"`
}

type inboundTriedResource struct {
	_         struct{} `json:"-" additionalProperties:"true"`
	Method    string   `json:"method" enum:"webhook,smpp,mm4,email,storage"`
	State     string   `json:"state" enum:"pending,delivered,stored,failed"`
	Attempts  int      `json:"attempts"`
	LastError *string  `json:"last_error"`
	Fallback  bool     `json:"fallback" doc:"It is the fall-back of another"`
	DoneAt    *string  `json:"done_at" format:"date-time"`
}

func (s *Server) receivedOf(m message.ReceivedState) receivedResource {
	r := receivedResource{MessageID: m.ID.String(), From: string(m.From), To: string(m.To), ReceivedAt: stamp(m.ReceivedAt), Type: string(m.Kind), Segments: m.Segments,
		Complete: m.Complete, Keyword: optional(m.Keyword), GroupTo: wordsOf(m.Group), Media: s.filesOf(m.Files), Deliveries: make([]inboundTriedResource, 0, len(m.Deliveries)),
		Delivery: deliveryResource{State: string(message.InboundPending)}}
	if text, shown := m.Text(); shown {
		r.Body, r.Subject = &text, optional(m.Subject)
	}
	if n := s.Snapshot().Numbers[m.To]; n != nil && n.AccountID == m.AccountID {
		r.Tag, r.Group = optional(n.Tag), optional(n.Group)
	}
	if len(m.Deliveries) > 0 {
		r.Delivery.State = string(message.SumUp(m.Deliveries))
	}
	for _, d := range m.Deliveries {
		one := inboundTriedResource{Method: string(d.Method), State: string(d.State), Attempts: d.Attempts, LastError: optional(d.LastError),
			Fallback: d.Position > message.FallbackPosition, DoneAt: optionalTime(d.DoneAt)}
		if r.Deliveries = append(r.Deliveries, one); one.State == r.Delivery.State && r.Delivery.Method == nil {
			r.Delivery.Method, r.Delivery.Attempts, r.Delivery.LastError = &one.Method, one.Attempts, one.LastError
		}
	}
	return r
}
