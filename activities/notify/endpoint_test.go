package notify_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/postrider/postrider/activities/notify"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/secret"
	"github.com/postrider/postrider/internal/webhook"
)

// judge remembers what it is told.
type judge struct {
	failed []message.ID
	gone   []string
}

func (j *judge) EndpointFailed(_ context.Context, id message.ID, tries int, within time.Duration) (bool, error) {
	if tries != 100 || within != 5*24*time.Hour {
		return false, errors.New("other bounds")
	}
	j.failed = append(j.failed, id)
	return false, nil
}

func (j *judge) DisableEndpoint(_ context.Context, id message.ID, reason string) (bool, error) {
	j.gone = append(j.gone, id.String()+" "+reason)
	return true, nil
}

func TestEndpointGone(t *testing.T) {
	b, j := setup(t), &judge{}
	b.steps.Endpoints = j
	b.sender.script[mainURL] = []webhook.Result{{HTTPStatus: 410}}
	if !b.first(t) || b.state(t) != message.NotificationFailed {
		t.Errorf("%s", b.state(t))
	}
	if len(j.gone) != 1 || j.gone[0] != b.n.EndpointID.String()+" it answered 410 Gone" || len(j.failed) != 0 {
		t.Errorf("%+v", j)
	}
	// Of a message's own URL it ends that delivery alone.
	own := setup(t)
	own.steps.Endpoints = j
	own.n.EndpointID = message.ID{}
	own.journal.PutNotification(own.n)
	own.sender.script[mainURL] = []webhook.Result{{HTTPStatus: 410}}
	if !own.first(t) || own.state(t) != message.NotificationFailed || len(j.gone) != 1 {
		t.Errorf("%s, %+v", own.state(t), j)
	}
}

// What the failover URL answers says nothing of the endpoint.
func TestFailoverGone(t *testing.T) {
	b, j := setup(t), &judge{}
	b.steps.Endpoints = j
	b.config.Endpoints[b.n.AccountID][0].FailoverURL = otherURL
	b.sender.script[mainURL] = []webhook.Result{{HTTPStatus: 500}}
	b.sender.script[otherURL] = []webhook.Result{{HTTPStatus: 410}}
	b.first(t)
	b.clock = b.clock.Add(5 * time.Second)
	if b.post(t) == 0 || b.state(t) != message.NotificationPending || len(j.gone) != 0 {
		t.Errorf("%s, %+v", b.state(t), j)
	}
}

// Each try in vain is told of, but not every second; a busy host has not failed.
func TestEndpointFailed(t *testing.T) {
	b, j := setup(t), &judge{}
	b.steps.Endpoints = j
	b.sender.script[mainURL] = []webhook.Result{realBusy(t), {HTTPStatus: 500}}
	b.first(t)
	if len(j.failed) != 0 {
		t.Error("a busy host counts")
	}
	b.post(t)
	b.clock = b.clock.Add(5 * time.Second)
	b.post(t)
	if len(j.failed) != 1 || j.failed[0] != b.n.EndpointID {
		t.Errorf("%+v", j)
	}
	b.clock = b.clock.Add(10 * time.Second)
	b.post(t)
	if len(j.failed) != 2 {
		t.Errorf("%+v", j)
	}
	delivered, none := setup(t), &judge{}
	delivered.steps.Endpoints = none
	if !delivered.first(t) || len(none.failed)+len(none.gone) != 0 {
		t.Errorf("%+v", none)
	}
}

// A delivery goes to where its endpoint is by now, not where it was.
func TestEndpointMoved(t *testing.T) {
	b := setup(t)
	b.config.Endpoints[b.n.AccountID][0].URL = otherURL
	if !b.first(t) || b.sender.urls()[0] != otherURL {
		t.Errorf("%v", b.sender.urls())
	}
}

// The account's secret before the last rotation signs as well, for as long as it may.
func TestAccountSecretOverlap(t *testing.T) {
	b := setup(t)
	b.n.EndpointID = message.ID{}
	b.journal.PutNotification(b.n)
	a := b.config.Accounts[b.n.AccountID]
	a.WebhookSecret, a.WebhookOldSecret, a.WebhookOldUntil = "newest", "before", b.clock.Add(time.Second)
	b.sender.script[mainURL] = []webhook.Result{{HTTPStatus: 500}}
	b.first(t)
	b.clock = b.clock.Add(5 * time.Second)
	b.post(t)
	if c := b.sender.calls; c[0].Secret != "newest" || c[0].OldSecret != "before" || c[1].OldSecret != "" || !c[0].Quick || c[1].Quick {
		t.Errorf("%+v", c)
	}
}

// consumer checks what it gets with the published library.
type consumer struct {
	*httptest.Server
	hooks  []*standardwebhooks.Webhook
	status []int // of the answers, in order; the last goes on
	ids    []string
	bodies []string
	bad    []error
}

func consume(t *testing.T, secrets []string, status ...int) *consumer {
	t.Helper()
	c := &consumer{status: status}
	for _, s := range secrets {
		h, err := standardwebhooks.NewWebhook(s)
		if err != nil {
			t.Fatal(err)
		}
		c.hooks = append(c.hooks, h)
	}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		for _, h := range c.hooks {
			if err := h.Verify(body, r.Header); err != nil {
				c.bad = append(c.bad, err)
			}
		}
		c.ids, c.bodies = append(c.ids, r.Header.Get("webhook-id")), append(c.bodies, string(body))
		w.WriteHeader(c.status[min(len(c.ids)-1, len(c.status)-1)])
	}))
	t.Cleanup(c.Close)
	return c
}

// The published library of Standard Webhooks takes every try and replay, with the new
// secret and with the old one while both hold, under one id with one body.
func TestStandardWebhooksConsumer(t *testing.T) {
	newest, older := secret.NewWebhookSecret().Reveal(), secret.NewWebhookSecret().Reveal()
	c := consume(t, []string{newest, older}, 503, 200)
	b := setup(t)
	real := webhook.NewSender(webhook.Config{Policy: webhook.Policy{AllowHTTP: true, AllowLoopback: true}})
	defer real.Close()
	b.steps.Sender = real
	e := &b.config.Endpoints[b.n.AccountID][0]
	e.URL, e.Secret, e.OldSecret = c.URL, newest, older
	if b.first(t) {
		t.Fatal("503 was taken for success")
	}
	b.clock = b.clock.Add(5 * time.Second)
	if b.post(t) != 0 || b.state(t) != message.NotificationDelivered {
		t.Fatal(b.state(t))
	}
	b.n.Replays, b.n.Attempts = 1, 0 // as the journal puts it back
	b.journal.PutNotification(b.n)
	if b.post(t) != 0 {
		t.Fatal(b.state(t))
	}
	if len(c.bad) != 0 || len(c.ids) != 3 || c.ids[0] != b.n.EventID.String() || c.ids[1] != c.ids[0] || c.ids[2] != c.ids[0] || c.bodies[2] != b.n.Payload {
		t.Errorf("%v, %v, %q", c.bad, c.ids, c.bodies)
	}
	// Once the overlap is over, who still has the old secret alone refuses it.
	b.clock = e.OldUntil.Add(time.Second)
	b.journal.PutNotification(b.n)
	if b.post(t); len(c.bad) != 1 {
		t.Errorf("%v", c.bad)
	}
}

// tested is the journal of a Tester.
type tested struct {
	e  message.WebhookEndpoint
	n  message.Notification
	at message.NotificationAttempt
}

func (j *tested) WebhookEndpoint(_ context.Context, account, id message.ID) (message.WebhookEndpoint, error) {
	if account != j.e.AccountID || id != j.e.ID {
		return message.WebhookEndpoint{}, message.Refuse(message.ReasonNotFound, "no such endpoint")
	}
	return j.e, nil
}

func (j *tested) RecordTested(_ context.Context, n message.Notification, a message.NotificationAttempt) error {
	j.n, j.at = n, a
	return nil
}

func TestTester(t *testing.T) {
	key := secret.NewWebhookSecret().Reveal()
	c := consume(t, []string{key}, 200, 410)
	real := webhook.NewSender(webhook.Config{Policy: webhook.Policy{AllowHTTP: true, AllowLoopback: true}})
	defer real.Close()
	j := &tested{e: message.WebhookEndpoint{ID: message.NewID(), AccountID: message.NewID(), URL: c.URL, Secret: key, Format: "event"}}
	tester := &notify.Tester{Journal: j, Sender: real, Now: time.Now}
	got, err := tester.Test(t.Context(), j.e.AccountID, j.e.ID)
	if err != nil || !got.OK || got.HTTPStatus != 200 || j.at.State != message.NotificationDelivered || len(c.bad) != 0 ||
		!strings.HasPrefix(c.bodies[0], `{"type":"endpoint.test","timestamp":"`) || j.n.Payload != c.bodies[0] || got.EventID.String() != c.ids[0] || got.DeliveryID != j.n.ID {
		t.Errorf("%+v, %v, %+v, %v, %q", got, err, j, c.bad, c.bodies)
	}
	j.e.Format = "flat"
	got, err = tester.Test(t.Context(), j.e.AccountID, j.e.ID)
	if err != nil || got.OK || got.HTTPStatus != 410 || j.at.State != message.NotificationFailed || !strings.HasPrefix(c.bodies[1], `{"endpoint_id":`) {
		t.Errorf("%+v, %v, %+v", got, err, j)
	}
	if _, err := tester.Test(t.Context(), message.NewID(), j.e.ID); message.ReasonOf(err) != message.ReasonNotFound {
		t.Errorf("another account: %v", err)
	}
}
