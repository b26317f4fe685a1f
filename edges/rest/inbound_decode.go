package rest

import (
	"fmt"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"github.com/postrider/postrider/internal/email"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/secret"
	"github.com/postrider/postrider/internal/webhook"
)

func newWebhookSecret() string { return secret.NewWebhookSecret().Reveal() }

// PlaceBody is what the method of a destination needs, as it is set. It is exported for
// huma's sake, as Page is.
type PlaceBody struct {
	Method          string `json:"method" enum:"webhook,smpp,mm4,email,storage,api_pull" doc:"api_pull is read as storage; mm4: to the MMSC that the account has with us" example:"webhook"`
	WebhookURL      string `json:"webhook_url,omitempty" maxLength:"2048" doc:"Left out: the account's webhook endpoints" example:"https://shop.example/sms"`
	WebhookFailover string `json:"webhook_failover_url,omitempty" maxLength:"2048"`
	WebhookMethod   string `json:"webhook_method,omitempty" enum:"POST,PUT" doc:"Left out: POST"`
	Format          string `json:"format,omitempty" enum:"event,flat" doc:"Left out: event"`
	SMPPSystemID    string `json:"smpp_system_id,omitempty" maxLength:"15" doc:"Of an SMPP credential of the account" example:"acme"`
	EmailAddress    string `json:"email_address,omitempty" maxLength:"254" example:"inbox@shop.example"`
}

// DestinationBody is a destination as it is set.
type DestinationBody struct {
	PlaceBody
	WebhookSecret     string        `json:"webhook_secret,omitempty" maxLength:"256" doc:"Signs what goes to webhook_url. Left out: the one that is set stays, or one is made and shown once."`
	WebhookRetryCount *int64        `json:"webhook_retry_count,omitempty" minimum:"0" maximum:"9" doc:"After the first try; left out: the whole schedule"`
	Active            *bool         `json:"active,omitempty" doc:"Left out: true. A message whose destinations are all inactive is stored."`
	Fallback          *FallbackBody `json:"fallback,omitempty" doc:"Where a message goes that was not taken here. It is then given up here."`
}

// FallbackBody is the fall-back of a destination as it is set.
type FallbackBody struct {
	AfterSeconds int64 `json:"after_seconds,omitempty" minimum:"0" maximum:"259200" doc:"Since the message came in; sooner when the destination has failed for good. Left out: only then"`
	PlaceBody
}

// inboundBody is the body of PUT: one destination, or a list of them.
type inboundBody struct {
	DestinationBody
	Destinations []DestinationBody `json:"destinations,omitempty" minItems:"0" maxItems:"10" doc:"Instead of method and its members: each gets every message. An empty list takes the setting away."`
	AutoReply    *string           `json:"auto_reply,omitempty" maxLength:"459" doc:"What the number answers by itself, at most once an hour and three times a day to each who writes; empty: nothing; left out: as it is. Not for the account's default."`
}

// TransformSchema leaves method out, which destinations stand for. That one of the two
// must be there is said in words: generated clients have no good type for it.
func (inboundBody) TransformSchema(_ huma.Registry, s *huma.Schema) *huma.Schema {
	s.Required = nil
	s.Properties["method"].Description += ". Required, unless destinations are given"
	return s
}

func (p *PlaceBody) member(d *decoder, name, at string) (bool, error) {
	switch name {
	case "method":
		return true, d.choice(at, &p.Method, "webhook", "smpp", "mm4", "email", "storage", "api_pull")
	case "webhook_url":
		return true, d.text(at, &p.WebhookURL, oneLine)
	case "webhook_failover_url":
		return true, d.text(at, &p.WebhookFailover, oneLine)
	case "webhook_method":
		return true, d.choice(at, &p.WebhookMethod, "POST", "PUT")
	case "format":
		return true, d.choice(at, &p.Format, "event", "flat")
	case "smpp_system_id":
		return true, d.text(at, &p.SMPPSystemID, oneLine)
	case "email_address":
		return true, d.text(at, &p.EmailAddress, oneLine)
	}
	return false, nil
}

func (b *DestinationBody) member(d *decoder, name, at string) (bool, error) {
	switch name {
	case "webhook_secret":
		return true, d.text(at, &b.WebhookSecret, oneLine)
	case "webhook_retry_count":
		return true, d.whole(at, &b.WebhookRetryCount)
	case "active":
		return true, d.flag(at, &b.Active)
	case "fallback":
		if null, err := d.null(); null || err != nil {
			return true, err
		}
		b.Fallback = &FallbackBody{}
		return true, d.nested(at, b.Fallback.member)
	}
	return b.PlaceBody.member(d, name, at)
}

func (b *FallbackBody) member(d *decoder, name, at string) (bool, error) {
	if name == "after_seconds" {
		var n *int64
		err := d.whole(at, &n)
		if n != nil {
			b.AfterSeconds = *n
		}
		return true, err
	}
	return b.PlaceBody.member(d, name, at)
}

// nested reads an object within the body.
func (d *decoder) nested(location string, member func(d *decoder, name, location string) (bool, error)) error {
	if d.peek() != '{' {
		d.invalid(location, "must be an object: {…}")
		return d.skip()
	}
	var names []string
	return d.object(func(name string) error {
		at := location + "." + clip(name)
		if len(names) >= maxMembers || contains(names, name) {
			d.invalid(at, "appears twice, or there are too many fields")
			return d.skip()
		}
		names = append(names, name)
		known, err := member(d, name, at)
		if known || err != nil {
			return err
		}
		d.invalid(at, "there is no such field; see /docs for those there are")
		return d.skip()
	})
}

// decodeInbound reads what is set. The status is 400 for a body that is not JSON.
func (s *Server) decodeInbound(account message.ID, number message.Address, body []byte) (message.DestinationSet, int, *message.Error) {
	var in inboundBody
	several := false
	set := message.DestinationSet{AccountID: account, Number: number}
	d, err := decodeObject(body, func(d *decoder, name, at string) (bool, error) {
		switch name {
		case "destinations":
			several = true
			return true, d.destinations(at, &in.Destinations)
		case "auto_reply":
			return true, d.autoReply(at, number, &in.AutoReply)
		}
		return in.DestinationBody.member(d, name, at)
	})
	if err != nil {
		return set, 400, unreadable(err)
	}
	if !several {
		in.Destinations = []DestinationBody{in.DestinationBody}
	} else if in.DestinationBody != (DestinationBody{}) {
		d.invalid("body.destinations", "stands alone: leave method and its members out beside it")
	}
	for i, b := range in.Destinations {
		at := "body."
		if several {
			at = fmt.Sprintf("body.destinations[%d].", i)
		}
		set.List = append(set.List, s.destination(d, account, at, b))
	}
	set.AutoReply = in.AutoReply
	return set, 0, d.refusal()
}

func (d *decoder) destinations(location string, into *[]DestinationBody) error {
	if null, err := d.null(); null || err != nil {
		return err
	}
	if d.peek() != '[' {
		d.invalid(location, "must be an array of objects")
		return d.skip()
	}
	return d.array(func() error {
		n := len(*into)
		if n == message.MaxDestinations {
			d.invalid(location, "has more than %d elements", message.MaxDestinations)
			return d.skip()
		}
		*into = append(*into, DestinationBody{})
		return d.nested(fmt.Sprintf("%s[%d]", location, n), (*into)[n].member)
	})
}

// maxAutoReply is three parts of GSM 7-bit text.
const maxAutoReply = 459

func (d *decoder) autoReply(at string, number message.Address, into **string) error {
	if null, err := d.null(); null || err != nil {
		return err
	}
	var text string
	err := d.text(at, &text, lines)
	switch {
	case number == "":
		d.invalid(at, "belongs to a number, not to the account's default")
	case len([]rune(text)) > maxAutoReply:
		d.invalid(at, "must have at most %d characters", maxAutoReply)
	}
	*into = &text
	return err
}

// destination checks one and puts it together.
func (s *Server) destination(d *decoder, account message.ID, at string, b DestinationBody) message.Destination {
	out := message.Destination{Place: s.place(d, account, at, b.PlaceBody), WebhookSecret: b.WebhookSecret, Active: b.Active == nil || *b.Active}
	if b.WebhookSecret != "" {
		if out.URL == "" {
			d.invalid(at+"webhook_secret", "belongs to a webhook_url; the account's endpoints have secrets of their own")
		} else if webhook.CheckSecret(b.WebhookSecret) != nil || len(b.WebhookSecret) > 256 {
			d.invalid(at+"webhook_secret", "must have at most 256 characters, and be base64 after whsec_ if it begins so")
		}
	}
	if n := b.WebhookRetryCount; n != nil {
		if *n < 0 || *n > message.MaxWebhookRetries {
			d.invalid(at+"webhook_retry_count", "must be from 0 to %d", message.MaxWebhookRetries)
		}
		out.Retries = new(int(*n))
	}
	if f := b.Fallback; f != nil {
		if f.AfterSeconds < 0 || f.AfterSeconds > message.MaxFallbackSeconds {
			d.invalid(at+"fallback.after_seconds", "must be from 0 to %d", message.MaxFallbackSeconds)
		}
		out.Fallback = &message.Fallback{AfterSeconds: int(f.AfterSeconds), Place: s.place(d, account, at+"fallback.", f.PlaceBody)}
	}
	return out
}

// place checks that the method has what it needs, and nothing of another.
func (s *Server) place(d *decoder, account message.ID, at string, b PlaceBody) message.Place {
	p := message.Place{Method: message.InboundMethod(b.Method), URL: b.WebhookURL, FailoverURL: b.WebhookFailover, HTTPMethod: b.WebhookMethod, Format: b.Format, SystemID: b.SMPPSystemID, Email: b.EmailAddress}
	if b.Method == "api_pull" {
		p.Method = message.InboundStorage
	}
	for _, m := range []struct {
		name, value string
		method      message.InboundMethod
	}{{"webhook_url", b.WebhookURL, message.InboundWebhook}, {"smpp_system_id", b.SMPPSystemID, message.InboundSMPP}, {"email_address", b.EmailAddress, message.InboundEmail}} {
		if m.value != "" && p.Method != m.method {
			d.invalid(at+m.name, "belongs to method %s", m.method)
		}
	}
	if b.WebhookURL == "" && (b.WebhookFailover != "" || b.WebhookMethod != "" || b.Format != "") {
		d.invalid(at+"webhook_url", "is missing: webhook_failover_url, webhook_method and format belong to it")
	}
	switch p.Method {
	case "":
		if !slices.ContainsFunc(d.list, func(f message.FieldError) bool { return f.Location == at+"method" }) {
			d.invalid(at+"method", "is required: webhook, smpp, mm4, email or storage")
		}
	case message.InboundMM4:
		if s.Snapshot().MM4PeerOf(account) == nil {
			d.invalid(at+"method", "mm4 needs an MM4 peer of the account that is enabled and has a host; ask support for one")
		}
	case message.InboundWebhook:
		d.url(at+"webhook_url", p.URL, s.checkURL())
		d.url(at+"webhook_failover_url", p.FailoverURL, s.checkURL())
	case message.InboundSMPP:
		if c := s.Snapshot().SMPPCredentials[p.SystemID]; c == nil || c.AccountID != account {
			d.invalid(at+"smpp_system_id", "must be the system_id of an SMPP credential of the account")
		}
	case message.InboundEmail:
		if err := email.CheckAddress(p.Email); err != nil {
			d.invalid(at+"email_address", "must be an e-mail address such as inbox@shop.example")
		}
	}
	return p
}
