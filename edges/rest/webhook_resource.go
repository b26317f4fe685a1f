package rest

import (
	"slices"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/notification"
)

const endpointPath = "/v1/webhook-endpoints"

// endpointResource is a webhook endpoint as its owner sees it.
type endpointResource struct {
	_              struct{} `json:"-" additionalProperties:"true"`
	ID             string   `json:"id" format:"uuid" example:"01a1ffbf-8676-7d35-9c44-0f6f2f1b7e21"`
	URL            string   `json:"url" format:"uri" example:"https://shop.example/hooks"`
	FailoverURL    *string  `json:"failover_url" doc:"Tried at once from the second try on, when url fails"`
	EventTypes     []string `json:"event_types" nullable:"false" doc:"Empty: all"`
	Format         string   `json:"format" enum:"event,flat"`
	Active         bool     `json:"active"`
	DisabledReason *string  `json:"disabled_reason" doc:"Why it was disabled; null: it was not, or its owner has done it"`
	FailingSince   *string  `json:"failing_since" format:"date-time" doc:"No try has succeeded since; null: the last one has, or there was none"`
	Secret         *string  `json:"secret" doc:"Shown once, when it is made; null in every other answer, also to the same request again" example:"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"`
	OldSecretUntil *string  `json:"old_secret_until" format:"date-time" doc:"The secret before the last rotation signs as well until then"`
	CreatedAt      string   `json:"created_at" format:"date-time"`
	UpdatedAt      string   `json:"updated_at" format:"date-time"`
}

func wordsList(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

func endpointOf(e message.WebhookEndpoint) endpointResource {
	return endpointResource{ID: e.ID.String(), URL: e.URL, FailoverURL: optional(e.FailoverURL), EventTypes: wordsList(e.EventTypes), Format: e.Format, Active: e.Active,
		DisabledReason: optional(e.DisabledReason), FailingSince: optionalTime(e.FailingSince), OldSecretUntil: optionalTime(e.OldUntil),
		CreatedAt: stamp(e.CreatedAt), UpdatedAt: stamp(e.UpdatedAt)}
}

// endpointBody is what POST and PATCH of an endpoint take.
type endpointBody struct {
	URL         *string   `json:"url,omitempty" format:"uri" maxLength:"2048" doc:"https, port 443 or 8443, a public host. Needed from the start." example:"https://shop.example/hooks"`
	FailoverURL *string   `json:"failover_url,omitempty" maxLength:"2048" doc:"As url; null takes it away" example:"https://spare.example/hooks"`
	EventTypes  *[]string `json:"event_types,omitempty" maxItems:"50" nullable:"false" doc:"Left out or empty: all, also those of later releases" example:"[\"message.delivered\",\"message.failed\"]"`
	Format      *string   `json:"format,omitempty" enum:"event,flat" doc:"Left out: event. flat: data alone, for consumers of the older body"`
	Active      *bool     `json:"active,omitempty" doc:"false: it gets nothing; true: as POST …/enable"`
}

// decodeEndpoint reads a body. fresh is one of a new endpoint, which must have a URL.
func (s *Server) decodeEndpoint(body []byte, fresh bool) (*endpointBody, int, *message.Error) {
	in := &endpointBody{}
	status, refusal := readObject(body, func(d *decoder, name, location string) (bool, error) {
		switch name {
		case "url":
			return true, d.merged(location, &in.URL, oneLine)
		case "failover_url":
			return true, d.merged(location, &in.FailoverURL, oneLine)
		case "event_types":
			return true, readTypes(d, location, func(list []string) { in.EventTypes = &list })
		case "format":
			return true, d.parsedChoice(location, []string{"event", "flat"}, func(v string) { in.Format = &v })
		case "active":
			return true, d.flag(location, &in.Active)
		}
		return false, nil
	}, func(d *decoder) {
		if (fresh && in.URL == nil || in.URL != nil && *in.URL == "") && !d.faulty("body.url") {
			d.invalid("body.url", "is required: where the events go, such as https://shop.example/hooks")
		}
		for at, u := range map[string]*string{"body.url": in.URL, "body.failover_url": in.FailoverURL} {
			if u != nil {
				d.url(at, *u, s.checkURL())
			}
		}
	})
	return in, status, refusal
}

// readTypes reads types of events; null is none.
func readTypes(d *decoder, location string, take func([]string)) error {
	var list *[]string
	err := d.texts(location, &list, 50)
	if err != nil || list == nil {
		return err
	}
	known := notification.Types()
	for _, kind := range *list {
		if !slices.Contains(known, kind) {
			d.invalid(location, "there are no events of type %q; there are %s", clip(kind), strings.Join(known, ", "))
			return nil
		}
	}
	slices.Sort(*list)
	take(slices.Compact(*list))
	return nil
}

func (in *endpointBody) apply(e *message.WebhookEndpoint) {
	for _, f := range []struct{ from, to *string }{{in.URL, &e.URL}, {in.FailoverURL, &e.FailoverURL}, {in.Format, &e.Format}} {
		if f.from != nil {
			*f.to = *f.from
		}
	}
	if in.EventTypes != nil {
		e.EventTypes = *in.EventTypes
	}
	if in.Active != nil {
		e.Active = *in.Active
	}
}

type rotationBody struct {
	OverlapSeconds *int64 `json:"overlap_seconds,omitempty" minimum:"0" maximum:"604800" default:"86400" doc:"How long the secret before signs as well; 0: no longer"`
}

type rotationResource struct {
	_              struct{} `json:"-" additionalProperties:"true"`
	Secret         *string  `json:"secret" doc:"Shown once; null in the answer to the same request again" example:"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"`
	OldSecretUntil *string  `json:"old_secret_until" format:"date-time" doc:"null: the secret before signs no more"`
}

func decodeRotation(body []byte) (time.Duration, int, *message.Error) {
	overlap := message.DefaultSecretOverlap
	if len(body) == 0 {
		return overlap, 0, nil
	}
	var given *int64
	status, refusal := readObject(body, func(d *decoder, name, location string) (bool, error) {
		if name != "overlap_seconds" {
			return false, nil
		}
		return true, d.whole(location, &given)
	}, func(d *decoder) {
		most := int64(message.MaxSecretOverlap / time.Second)
		switch {
		case given == nil:
		case *given < 0 || *given > most:
			d.invalid("body.overlap_seconds", "must be 0 to %d", most)
		default:
			overlap = time.Duration(*given) * time.Second
		}
	})
	return overlap, status, refusal
}

type testedEndpoint struct {
	_          struct{} `json:"-" additionalProperties:"true"`
	DeliveryID string   `json:"delivery_id" format:"uuid" doc:"See GET /v1/webhook-deliveries/{id}"`
	EventID    string   `json:"event_id" format:"uuid" doc:"The webhook-id"`
	OK         bool     `json:"ok" doc:"The answer was 2xx"`
	HTTPStatus *int     `json:"http_status" doc:"null: there was no answer"`
	MS         int      `json:"ms" doc:"How long it took"`
	Error      *string  `json:"error" doc:"Why there was no answer"`
	Answer     *string  `json:"answer" doc:"The first KiB of it"`
}

// webhookDeliveryResource is an event on its way to one place.
type webhookDeliveryResource struct {
	_ struct{} `json:"-" additionalProperties:"true"`
	WebhookDeliveryFields
}

// WebhookDeliveryFields are its fields, for staff as well. It is exported only because
// huma looks into embedded types no other way.
type WebhookDeliveryFields struct {
	ID            string               `json:"id" format:"uuid" example:"01a1ffbf-8676-7d35-9c44-0f6f2f1b7e21"`
	EventID       string               `json:"event_id" format:"uuid" doc:"The webhook-id, the same on every try and replay"`
	EndpointID    *string              `json:"endpoint_id" format:"uuid" doc:"null: it goes to a URL of the message's or the number's own"`
	MessageID     *string              `json:"message_id" format:"uuid" doc:"null: the event is about no message"`
	Type          string               `json:"type" example:"message.delivered"`
	URL           string               `json:"url" doc:"Where it was addressed to; of an endpoint that has moved since, tries go to its new one"`
	State         string               `json:"state" enum:"pending,delivered,failed"`
	Attempts      []webhookTryResource `json:"attempts" nullable:"false" doc:"All tries, oldest first; empty in lists"`
	AttemptCount  int                  `json:"attempt_count" doc:"Tries since it was made or last replayed"`
	Replays       int                  `json:"replays" doc:"How often it was replayed"`
	NextAttemptAt *string              `json:"next_attempt_at" format:"date-time" doc:"null: there is none"`
	LastStatus    *int                 `json:"last_http_status" doc:"Of the last try; null: there was no answer, or no try"`
	LastError     *string              `json:"last_error"`
	Answer        *string              `json:"answer" doc:"The first KiB of the last answer"`
	CreatedAt     string               `json:"created_at" format:"date-time"`
	LastAttemptAt *string              `json:"last_attempt_at" format:"date-time"`
}

type webhookTryResource struct {
	_          struct{} `json:"-" additionalProperties:"true"`
	At         string   `json:"at" format:"date-time"`
	HTTPStatus *int     `json:"http_status" doc:"null: there was no answer"`
	MS         int      `json:"ms"`
	Error      *string  `json:"error"`
}

func statusOrNull(n int) *int {
	if n == 0 {
		return nil
	}
	return &n
}

func webhookDeliveryOf(d message.WebhookDelivery) webhookDeliveryResource {
	return webhookDeliveryResource{WebhookDeliveryFields: deliveryFields(d)}
}

func deliveryFields(d message.WebhookDelivery) WebhookDeliveryFields {
	r := WebhookDeliveryFields{ID: d.ID.String(), EventID: d.EventID.String(), EndpointID: optionalID(d.EndpointID), MessageID: optionalID(d.MessageID), Type: d.Type, URL: d.URL,
		State: string(d.State), Attempts: make([]webhookTryResource, 0, len(d.Tries)), AttemptCount: d.Notification.Attempts, Replays: d.Replays, NextAttemptAt: optionalTime(d.NextAttemptAt),
		LastStatus: statusOrNull(d.LastStatus), LastError: optional(d.LastError), Answer: optional(d.LastAnswer), CreatedAt: stamp(d.CreatedAt), LastAttemptAt: optionalTime(d.LastAttemptAt)}
	for _, t := range d.Tries {
		r.Attempts = append(r.Attempts, webhookTryResource{At: stamp(t.At), HTTPStatus: statusOrNull(t.HTTPStatus), MS: t.Millis, Error: optional(t.Error)})
	}
	return r
}

// replayBody says which deliveries are replayed.
type replayBody struct {
	After  string   `json:"after" format:"date-time" doc:"Made at or after" example:"2026-11-21T20:15:04Z"`
	Before string   `json:"before,omitempty" format:"date-time" doc:"Made before; left out: now"`
	Types  []string `json:"types,omitempty" maxItems:"50" nullable:"false" doc:"Of events; left out or empty: all"`
	State  string   `json:"state,omitempty" enum:"failed,all" default:"failed" doc:"all: also what was delivered"`
}

type replayedResource struct {
	_         struct{} `json:"-" additionalProperties:"true"`
	Queued    int      `json:"queued" doc:"Deliveries that are on their way again. Of a range at most 10,000, the oldest first; what was on its way already is left as it is and not counted"`
	NextAfter *string  `json:"next_after" format:"date-time" doc:"There may be more: ask again with this as after. null: that was all"`
}
