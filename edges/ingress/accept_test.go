package ingress_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/edges/ingress"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

func TestAccept(t *testing.T) {
	b := setup(t)
	var seen []string
	b.Metrics = ingress.Metrics{Accepted: func(edge string, _ time.Duration) { seen = append(seen, edge) },
		Status: func(_ *message.Message, s message.Status, r message.Reason) {
			seen = append(seen, string(s)+string(r))
		}}
	r := b.request()
	r.ClientReference, r.Metadata = "order-1", map[string]string{"shop": "7"}
	out, err := b.Accept(context.Background(), r)
	if err != nil {
		t.Fatal(err)
	}
	m := out.Message
	if m.Status != message.StatusAccepted || m.From != number || m.RequestedFrom != "" || m.To != "+13105550117" || m.Body != "hello" || m.Encoding != message.EncodingGSM7 ||
		m.Segments != 1 || len(m.Parts) != 1 || m.Class != message.ClassConversation || m.Delivery != message.AtMostOnce || m.CampaignID != "C1" || m.Kind != message.SMS ||
		m.Direction != message.Outbound || m.Edge != "rest" || m.ClientReference != "order-1" || m.Metadata["shop"] != "7" || m.Price != (message.Price{Amount: 4500, Currency: "USD", Estimated: true}) {
		t.Errorf("%+v", m)
	}
	if got := m.ExpiresAt.Sub(m.CreatedAt); got != 4*time.Hour {
		t.Errorf("valid for %s", got)
	}
	if len(out.Trail) == 0 || len(b.journal.accepted) != 1 || b.journal.accepted[0].Message != m {
		t.Errorf("trail %v, stored %d", out.Trail, len(b.journal.accepted))
	}
	if strings.Join(seen, " ") != "rest accepted" {
		t.Errorf("metrics %q", seen)
	}
}

// What is wrong with a request itself is answered and not stored; what the
// policy refuses is stored as well.
func TestRefusals(t *testing.T) {
	at := func(d time.Duration) func(*ingress.Request) {
		return func(r *ingress.Request) { r.SendAt = time.Now().Add(d) }
	}
	for _, c := range []struct {
		name   string
		change func(r *ingress.Request)
		config func(b *bundle)
		reason message.Reason
		field  string
		stored bool
	}{
		{name: "no such account", change: func(r *ingress.Request) { r.AccountID = message.NewID() }, reason: message.ReasonAccountSuspended},
		{name: "suspended", config: func(b *bundle) { b.account.Status = snapshot.AccountSuspended }, reason: message.ReasonAccountSuspended, stored: true},
		{name: "no recipient", change: func(r *ingress.Request) { r.To = "" }, reason: message.ReasonInvalidDestination, field: "body.to"},
		{name: "recipient without plus", change: func(r *ingress.Request) { r.To = "13105550117" }, reason: message.ReasonInvalidDestination, field: "body.to"},
		{name: "sender unreadable", change: func(r *ingress.Request) { r.From = "<script>" }, reason: message.ReasonInvalidRequest, field: "body.from"},
		{name: "sender of others", change: func(r *ingress.Request) { r.From = "+12025550199" }, reason: message.ReasonUnauthorizedSender, stored: true},
		{name: "sender missing, none owned", change: func(r *ingress.Request) { r.From = "" }, config: func(b *bundle) {
			b.config.Numbers = nil
			b.config.Index()
		}, reason: message.ReasonInvalidRequest, field: "body.from"},
		{name: "no campaign", change: func(r *ingress.Request) { r.From = string(longCode) }, config: func(b *bundle) {
			b.config.Numbers[longCode] = &snapshot.Number{Number: longCode, AccountID: b.account.ID, SMSEnabled: true}
		}, reason: message.ReasonUnregisteredCampaign, stored: true},
		{name: "not for this key", change: func(r *ingress.Request) {
			r.Credential = &snapshot.Credential{AllowedNumbers: []string{"+12025550199"}}
		}, reason: message.ReasonUnauthorizedSender, stored: true},
		{name: "to itself", change: func(r *ingress.Request) { r.To = string(number) }, reason: message.ReasonInvalidDestination, stored: true},
		{name: "no route", config: func(b *bundle) { b.config.Routes = nil }, reason: message.ReasonNoRoute, stored: true},
		{name: "no text", change: func(r *ingress.Request) { r.Body = "" }, reason: message.ReasonInvalidRequest, field: "body.body"},
		{name: "too many characters", change: func(r *ingress.Request) { r.Body = strings.Repeat("a", 1601) }, reason: message.ReasonMessageTooLong, field: "body.body"},
		{name: "too many parts", change: func(r *ingress.Request) { r.Body = strings.Repeat("a", 161) }, config: func(b *bundle) { b.account.MaxParts = 1 }, reason: message.ReasonMessageTooLong, field: "body.body"},
		{name: "does not fit GSM 7", change: func(r *ingress.Request) { r.Body, r.Encoding = "“quoted”", message.EncodingGSM7 }, reason: message.ReasonEncodingMismatch, field: "body.body"},
		{name: "class", change: func(r *ingress.Request) { r.Class = "urgent" }, reason: message.ReasonInvalidRequest, field: "body.message_class"},
		{name: "delivery", change: func(r *ingress.Request) { r.Delivery = "twice" }, reason: message.ReasonInvalidRequest, field: "body.delivery"},
		{name: "validity too short", change: func(r *ingress.Request) { r.Validity = 59 * time.Second }, reason: message.ReasonInvalidSchedule, field: "body.validity_seconds"},
		{name: "validity below nothing", change: func(r *ingress.Request) { r.Validity = -time.Hour }, reason: message.ReasonInvalidSchedule, field: "body.validity_seconds"},
		{name: "validity too long", change: func(r *ingress.Request) { r.Validity = 72*time.Hour + time.Second }, reason: message.ReasonInvalidSchedule, field: "body.validity_seconds"},
		{name: "scheduled too far", change: at(35*24*time.Hour + time.Hour), reason: message.ReasonInvalidSchedule, field: "body.send_at"},
		{name: "scheduled in the past", change: at(-2 * time.Minute), reason: message.ReasonInvalidSchedule, field: "body.send_at"},
		{name: "webhook", change: func(r *ingress.Request) { r.WebhookURL = "http://127.0.0.1/" }, reason: message.ReasonUnsafeURL, field: "body.webhook_url"},
		{name: "failover", change: func(r *ingress.Request) { r.WebhookFailover = "http://127.0.0.1/" }, reason: message.ReasonUnsafeURL, field: "body.webhook_failover_url"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := setup(t)
			b.CheckURL = func(string) error { return message.Refuse(message.ReasonUnsafeURL, "not there") }
			if c.config != nil {
				c.config(b)
			}
			r := b.request()
			if c.change != nil {
				c.change(&r)
			}
			out, err := b.Accept(context.Background(), r)
			var e *message.Error
			if !errors.As(err, &e) || e.Reason != c.reason || e.Detail == "" {
				t.Fatalf("%v, want %s", err, c.reason)
			}
			if c.field != "" && (len(e.Fields) != 1 || e.Fields[0].Location != c.field || e.Fields[0].Message == "") {
				t.Errorf("fields %+v, want %s", e.Fields, c.field)
			}
			if stored := len(b.journal.accepted) == 1; stored != c.stored || (out.Message != nil) != c.stored {
				t.Errorf("stored %v, want %v", stored, c.stored)
			}
			if c.stored {
				m := b.journal.accepted[0]
				if m.Message.Status != message.StatusRejected || m.Message.Error == nil || m.Message.Error.Reason != c.reason || len(m.Trail) == 0 || m.Trail[len(m.Trail)-1].Result != message.Refused {
					t.Errorf("stored %+v", m.Message)
				}
				if len(b.journal.outbox) != 0 {
					t.Error("a refused message is to be started")
				}
			}
		})
	}
}

func TestSender(t *testing.T) {
	b := setup(t)
	r := b.request()
	r.From = ""
	out, err := b.Accept(context.Background(), r)
	if err != nil || out.Message.From != number || out.Message.RequestedFrom != "" {
		t.Errorf("the only number: %+v, %v", out.Message, err)
	}
	b.account.ForceSourceAddress = "72345"
	for from, requested := range map[string]message.Address{"": "", "72345": "", string(number): number, "ACME": "ACME"} {
		r.From = from
		out, err := b.Accept(context.Background(), r)
		if err != nil || out.Message.From != "72345" || out.Message.RequestedFrom != requested {
			t.Errorf("forced from %q: %+v, %v", from, out.Message, err)
		}
	}
	b.account.ForceSourceAddress = ""
	b.config.Numbers[longCode] = &snapshot.Number{Number: longCode, AccountID: b.account.ID, SMSEnabled: true}
	b.config.Index()
	r.From = ""
	if _, err := b.Accept(context.Background(), r); message.ReasonOf(err) != message.ReasonInvalidRequest {
		t.Errorf("two numbers and none named: %v", err)
	}
}

func TestDryRun(t *testing.T) {
	b := setup(t)
	r := b.request()
	r.DryRun, r.Key = true, &ingress.Key{Value: "k"}
	out, err := b.Accept(context.Background(), r)
	if err != nil || out.Message == nil || out.Message.Segments != 1 || len(out.Trail) == 0 {
		t.Errorf("%+v, %v", out, err)
	}
	r.From = "+12025550199"
	if out, err = b.Accept(context.Background(), r); message.ReasonOf(err) != message.ReasonUnauthorizedSender || len(out.Trail) == 0 {
		t.Errorf("%+v, %v", out, err)
	}
	if len(b.journal.accepted) != 0 || len(b.journal.keys) != 0 {
		t.Error("a dry run is stored")
	}
}

func TestTimes(t *testing.T) {
	for _, c := range []struct {
		class    message.Class
		validity time.Duration
		sendIn   time.Duration // 0: at once
		want     time.Duration // from acceptance, or the send time
	}{
		{"", 0, 0, 4 * time.Hour},
		{message.ClassOTP, 0, 0, 10 * time.Minute},
		{message.ClassBulk, 0, 0, 24 * time.Hour},
		{"", time.Minute, 0, time.Minute},
		{"", 72 * time.Hour, 0, 72 * time.Hour},
		{message.ClassOTP, 0, time.Hour, 10 * time.Minute},
		{"", time.Hour, 34 * 24 * time.Hour, time.Hour},
		{"", time.Hour, -30 * time.Second, time.Hour},
	} {
		b := setup(t)
		now := time.Date(2026, 11, 21, 20, 0, 0, 123456789, time.UTC)
		b.Now = func() time.Time { return now }
		r := b.request()
		r.Class, r.Validity = c.class, c.validity
		from := now.Truncate(time.Millisecond)
		if c.sendIn != 0 {
			r.SendAt = now.Add(c.sendIn)
		}
		if c.sendIn > 0 {
			from = r.SendAt.Truncate(time.Millisecond)
		}
		out, err := b.Accept(context.Background(), r)
		if err != nil {
			t.Errorf("%+v: %v", c, err)
			continue
		}
		if m := out.Message; !m.ExpiresAt.Equal(from.Add(c.want)) || (c.sendIn != 0) != !m.SendAt.IsZero() {
			t.Errorf("%+v: expires %s, send at %s", c, m.ExpiresAt, m.SendAt)
		}
	}
}

func TestSmartEncoding(t *testing.T) {
	yes, no := true, false
	for _, c := range []struct {
		account bool
		asked   *bool
		want    message.Encoding
	}{{false, nil, message.EncodingUCS2}, {true, nil, message.EncodingGSM7}, {false, &yes, message.EncodingGSM7}, {true, &no, message.EncodingUCS2}} {
		b := setup(t)
		b.account.SmartEncoding = c.account
		r := b.request()
		r.Body, r.SmartEncoding = "“quoted”", c.asked
		out, err := b.Accept(context.Background(), r)
		if err != nil || out.Message.Encoding != c.want || (out.Message.Body == r.Body) != (c.want == message.EncodingUCS2) {
			t.Errorf("%+v: %+v, %v", c, out.Message, err)
		}
	}
}

func TestParts(t *testing.T) {
	b := setup(t)
	r := b.request()
	r.Body = strings.Repeat("a", 161)
	out, err := b.Accept(context.Background(), r)
	if err != nil || out.Message.Segments != 2 || len(out.Message.Parts) != 2 || out.Message.Parts[1].Number != 2 || out.Message.Price.Amount != 9000 {
		t.Errorf("%+v, %v", out.Message, err)
	}
}

func TestIdempotency(t *testing.T) {
	b := setup(t)
	r := b.request()
	rendered := 0
	r.Key = &ingress.Key{Operation: "POST /v1/messages", Value: "order-1", BodyHash: [32]byte{1}, Render: func(m *message.Message, e *message.Error) (int, []byte, error) {
		rendered++
		if e != nil {
			return 403, []byte(e.Reason), nil
		}
		return 202, []byte(m.ID.String()), nil
	}}
	first, err := b.Accept(context.Background(), r)
	if err != nil || first.Replay != nil || first.Message == nil {
		t.Fatalf("%+v, %v", first, err)
	}
	if k := b.journal.keys["order-1"]; k.Status != 202 || string(k.Response) != first.Message.ID.String() || k.AccountID != b.account.ID || k.Operation != "POST /v1/messages" {
		t.Errorf("stored %+v", k)
	}
	again, err := b.Accept(context.Background(), r)
	if err != nil || again.Message != nil || again.Replay == nil || string(again.Replay.Response) != first.Message.ID.String() || len(b.journal.accepted) != 1 {
		t.Errorf("%+v, %v", again, err)
	}
	other := *r.Key
	other.BodyHash = [32]byte{2}
	r.Key = &other
	if _, err := b.Accept(context.Background(), r); message.ReasonOf(err) != message.ReasonIdempotencyMismatch {
		t.Errorf("%v", err)
	}
	refused := *r.Key
	refused.Value = "order-2"
	r.Key, r.From = &refused, "+12025550199"
	if _, err := b.Accept(context.Background(), r); message.ReasonOf(err) != message.ReasonUnauthorizedSender || b.journal.keys["order-2"].Status != 403 {
		t.Errorf("%v, %+v", err, b.journal.keys["order-2"])
	}
	broken := *r.Key
	broken.Value, broken.Render = "order-3", func(*message.Message, *message.Error) (int, []byte, error) { return 0, nil, errAway }
	r.Key = &broken
	if _, err := b.Accept(context.Background(), r); message.ReasonOf(err) != message.ReasonInternal || b.journal.keys["order-3"] != nil {
		t.Errorf("%v", err)
	}
}

func TestJournalAway(t *testing.T) {
	b := setup(t)
	b.journal.down = message.Refuse(message.ReasonUnavailable, "away")
	if out, err := b.Accept(context.Background(), b.request()); message.ReasonOf(err) != message.ReasonUnavailable || out.Message != nil {
		t.Errorf("%+v, %v", out, err)
	}
}
