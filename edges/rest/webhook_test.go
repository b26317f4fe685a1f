package rest

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// fakeWebhooks keeps endpoints and deliveries in memory.
type fakeWebhooks struct {
	ingress *fakeIngress

	mu         sync.Mutex
	endpoints  []message.WebhookEndpoint
	deliveries []message.WebhookDelivery
	overlaps   []time.Duration
	replays    []message.WebhookReplay
	calls      int
}

func (f *fakeWebhooks) keep(key *message.Idempotency) {
	f.calls++
	if key != nil {
		f.ingress.mu.Lock()
		defer f.ingress.mu.Unlock()
		kept := *key
		kept.Response = bytes.Clone(key.Response)
		f.ingress.answers[key.AccountID.String()+key.Operation+key.Key] = kept
	}
}

func (f *fakeWebhooks) FirstAnswer(_ context.Context, k message.Idempotency) (*message.Idempotency, error) {
	return f.ingress.first(k)
}

func (f *fakeWebhooks) AddWebhookEndpoint(_ context.Context, _ message.Actor, e message.WebhookEndpoint, key *message.Idempotency) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.keep(key)
	f.endpoints = append(f.endpoints, e)
	return nil
}

func (f *fakeWebhooks) WebhookEndpoints(_ context.Context, account, before message.ID, limit int) (list []message.WebhookEndpoint, _ error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range slices.Backward(f.endpoints) {
		if e.AccountID == account && len(list) < limit && (before == (message.ID{}) || bytes.Compare(e.ID[:], before[:]) < 0) {
			list = append(list, e)
		}
	}
	return list, nil
}

func (f *fakeWebhooks) at(account, id message.ID) (int, error) {
	i := slices.IndexFunc(f.endpoints, func(e message.WebhookEndpoint) bool { return e.AccountID == account && e.ID == id })
	if i < 0 {
		return i, message.Refuse(message.ReasonNotFound, "there is no webhook endpoint %s", id)
	}
	return i, nil
}

func (f *fakeWebhooks) WebhookEndpoint(_ context.Context, account, id message.ID) (message.WebhookEndpoint, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i, err := f.at(account, id)
	if err != nil {
		return message.WebhookEndpoint{}, err
	}
	return f.endpoints[i], nil
}

func (f *fakeWebhooks) ChangeWebhookEndpoint(_ context.Context, _ message.Actor, account, id message.ID, change func(*message.WebhookEndpoint) error) (message.WebhookEndpoint, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i, err := f.at(account, id)
	if err != nil {
		return message.WebhookEndpoint{}, err
	}
	e := f.endpoints[i]
	if err := change(&e); err != nil {
		return e, fmt.Errorf("change: %w", err)
	}
	f.endpoints[i] = e
	return e, nil
}

func (f *fakeWebhooks) RemoveWebhookEndpoint(_ context.Context, _ message.Actor, account, id message.ID, check func(message.WebhookEndpoint) error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	i, err := f.at(account, id)
	if err == nil {
		err = check(f.endpoints[i])
	}
	if err == nil {
		f.endpoints = slices.Delete(f.endpoints, i, i+1)
	}
	return err
}

func (f *fakeWebhooks) RotateEndpointSecret(_ context.Context, _ message.Actor, account, id message.ID, secret string, overlap time.Duration, key *message.Idempotency) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	i, err := f.at(account, id)
	if err == nil {
		f.keep(key)
		f.endpoints[i].Secret = secret
		f.overlaps = append(f.overlaps, overlap)
	}
	return err
}

func (f *fakeWebhooks) RotateAccountSecret(_ context.Context, _ message.Actor, _ message.ID, _ string, overlap time.Duration, key *message.Idempotency) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.keep(key)
	f.overlaps = append(f.overlaps, overlap)
	return nil
}

func (f *fakeWebhooks) WebhookDeliveries(_ context.Context, account message.ID, _ message.WebhookFilter, _ message.ID, _ int) (list []message.WebhookDelivery, behind message.ID, _ error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, d := range f.deliveries {
		if d.AccountID == account {
			list = append(list, d)
		}
	}
	return list, behind, nil
}

func (f *fakeWebhooks) WebhookDelivery(_ context.Context, account, id message.ID) (message.WebhookDelivery, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, d := range f.deliveries {
		if d.AccountID == account && d.ID == id {
			return d, nil
		}
	}
	return message.WebhookDelivery{}, message.Refuse(message.ReasonNotFound, "there is no webhook delivery %s", id)
}

func (f *fakeWebhooks) ReplayDelivery(ctx context.Context, _ message.Actor, account, id message.ID, key *message.Idempotency) (bool, error) {
	_, err := f.WebhookDelivery(ctx, account, id)
	if err == nil {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.keep(key)
	}
	return err == nil, err
}

func (f *fakeWebhooks) ReplayDeliveries(_ context.Context, _ message.Actor, r message.WebhookReplay, answer func(message.WebhookReplayed) (*message.Idempotency, error)) (message.WebhookReplayed, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := message.WebhookReplayed{Queued: 3, NextAfter: began}
	f.replays = append(f.replays, r)
	if answer != nil {
		key, err := answer(out)
		if err != nil {
			return out, err
		}
		f.keep(key)
	}
	return out, nil
}

// withWebhooks has webhooks managed, for callers of every scope.
func withWebhooks(b *bundle) {
	b.server.Webhooks = &fakeWebhooks{ingress: b.ingress}
	b.server.TestEndpoint = func(context.Context, message.ID, message.ID) (message.WebhookTested, error) {
		return message.WebhookTested{DeliveryID: message.NewID(), EventID: message.NewID(), HTTPStatus: 503, Millis: 12, Answer: "busy"}, nil
	}
	for _, key := range []string{"keyA", "keyB"} {
		c := b.config.Credentials[key]
		c.Scopes = append(c.Scopes, scopeWebhooksRead, scopeWebhooksWrite)
	}
}

const hookBody = `{"url":"https://shop.example/hooks","event_types":["message.failed","message.delivered","message.failed"]}`

func (b *bundle) hook() string {
	b.t.Helper()
	r := b.do("POST", endpointPath, hookBody, as("keyA"))
	if r.StatusCode != 201 {
		b.t.Fatalf("%d %s", r.StatusCode, r.body)
	}
	return r.json(b.t)["id"].(string)
}

func TestWebhookEndpoint(t *testing.T) {
	b := setup(t, withWebhooks)
	doc := document(t)
	r := b.do("POST", endpointPath, hookBody, as("keyA"), header("Idempotency-Key", "k1"))
	doc.check("post", endpointPath, r)
	made := r.json(t)
	secret, _ := made["secret"].(string)
	if r.StatusCode != 201 || !strings.HasPrefix(secret, "whsec_") || r.Header.Get("Location") != endpointPath+"/"+made["id"].(string) || fmt.Sprint(made["event_types"]) != "[message.delivered message.failed]" || made["format"] != "event" {
		t.Fatalf("%d %v %s", r.StatusCode, r.Header, r.body)
	}
	again := b.do("POST", endpointPath, hookBody, as("keyA"), header("Idempotency-Key", "k1"))
	if a := again.json(t); again.StatusCode != 201 || a["id"] != made["id"] || a["secret"] != nil || again.Header.Get("Idempotency-Replayed") != "true" || again.Header.Get("Location") != r.Header.Get("Location") {
		t.Errorf("%v %s", again.Header, again.body)
	}
	wantProblem(t, b.do("POST", endpointPath, `{"url":"https://shop.example"}`, as("keyA"), header("Idempotency-Key", "k1")), 422, message.ReasonIdempotencyMismatch)
	path := endpointPath + "/" + made["id"].(string)
	got := b.do("GET", path, "", as("keyA"))
	doc.check("get", endpointPath+"/{id}", got)
	if bytes.Contains(got.body, []byte(secret)) || got.json(t)["secret"] != nil {
		t.Errorf("the secret is shown again: %s", got.body)
	}
	tag := got.Header.Get("ETag")
	patch := b.do("PATCH", path, `{"failover_url":"https://spare.example/hooks","active":false,"event_types":null}`, as("keyA"), header("If-Match", tag))
	doc.check("patch", endpointPath+"/{id}", patch)
	if p := patch.json(t); patch.StatusCode != 200 || p["failover_url"] != "https://spare.example/hooks" || p["active"] != false || p["url"] != made["url"] || len(p["event_types"].([]any)) != 0 {
		t.Errorf("%d %s", patch.StatusCode, patch.body)
	}
	wantProblem(t, b.do("PATCH", path, `{"active":true}`, as("keyA"), header("If-Match", tag)), 412, message.ReasonConflict)
	wantProblem(t, b.do("DELETE", path, "", as("keyA"), header("If-Match", tag)), 412, message.ReasonConflict)
	enabled := b.do("POST", path+"/enable", "", as("keyA"))
	doc.check("post", endpointPath+"/{id}/enable", enabled)
	if enabled.json(t)["active"] != true || enabled.Header.Get("ETag") == "" {
		t.Errorf("%s", enabled.body)
	}
	// With a key the first answer comes again, and the endpoint stays as it is by now.
	first := b.do("POST", path+"/enable", "", as("keyA"), header("Idempotency-Key", "e1"))
	b.do("PATCH", path, `{"active":false}`, as("keyA"))
	same := b.do("POST", path+"/enable", "", as("keyA"), header("Idempotency-Key", "e1"))
	if !bytes.Equal(first.body, same.body) || same.Header.Get("Idempotency-Replayed") != "true" || first.Header.Get("Idempotency-Replayed") != "" || b.do("GET", path, "", as("keyA")).json(t)["active"] != false {
		t.Errorf("%s\n%s", first.body, same.body)
	}
	if r := b.do("POST", path+"/enable", "", as("keyA"), header("Idempotency-Key", "e2")); r.json(t)["active"] != true {
		t.Errorf("another key: %s", r.body)
	}
	list := b.do("GET", endpointPath+"?limit=1", "", as("keyA"))
	doc.check("get", endpointPath, list)
	if len(list.json(t)["data"].([]any)) != 1 {
		t.Errorf("%s", list.body)
	}
	tested := b.do("POST", path+"/test", "", as("keyA"))
	doc.check("post", endpointPath+"/{id}/test", tested)
	if x := tested.json(t); x["ok"] != false || x["http_status"] != 503.0 || x["ms"] != 12.0 || x["answer"] != "busy" || x["error"] != nil {
		t.Errorf("%s", tested.body)
	}
	once, twice := b.do("POST", path+"/test", "", as("keyA"), header("Idempotency-Key", "t1")), b.do("POST", path+"/test", "", as("keyA"), header("Idempotency-Key", "t1"))
	if !bytes.Equal(once.body, twice.body) || twice.Header.Get("Idempotency-Replayed") != "true" { // each try has an id of its own
		t.Errorf("tried again: %s\n%s", once.body, twice.body)
	}
	if r := b.do("DELETE", path, "", as("keyA")); r.StatusCode != 204 {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	wantProblem(t, b.do("GET", path, "", as("keyA")), 404, message.ReasonNotFound)
}

func TestWebhookEndpointRefusals(t *testing.T) {
	b := setup(t, withWebhooks)
	for body, where := range map[string]string{
		`{}`:                            "body.url",
		`{"url":""}`:                    "body.url",
		`{"url":"ftp://shop.example"}`:  "body.url",
		`{"url":"https://127.0.0.1/x"}`: "body.url",
		`{"url":"https://shop.example","failover_url":"https://10.0.0.1"}`: "body.failover_url",
		`{"url":"https://shop.example","event_types":["message.lost"]}`:    "body.event_types",
		`{"url":"https://shop.example","format":"xml"}`:                    "body.format",
		`{"url":"https://shop.example","secret":"whsec_x"}`:                "body.secret",
		`{"url":"https://shop.example","event_types":"message.sent"}`:      "body.event_types",
	} {
		r := b.do("POST", endpointPath, body, as("keyA"))
		if r.StatusCode != 422 || !strings.Contains(string(r.body), where) {
			t.Errorf("%s: %d %s", body, r.StatusCode, r.body)
		}
	}
	wantProblem(t, b.do("POST", endpointPath, hookBody, as("keyRO")), 403, message.ReasonForbidden)
	wantProblem(t, b.do("GET", endpointPath, "", as("keyRO")), 403, message.ReasonForbidden)
	id := b.hook()
	wantProblem(t, b.do("PATCH", endpointPath+"/"+id, `{"url":null}`, as("keyA")), 422, message.ReasonInvalidRequest)
	none := setup(t, func(b *bundle) { withWebhooks(b); b.server.Webhooks = nil })
	wantProblem(t, none.do("GET", endpointPath, "", as("keyA")), 503, message.ReasonUnavailable)
}

// Both rotations: shown once, with the overlap that was asked for.
func TestRotateSecrets(t *testing.T) {
	b := setup(t, withWebhooks)
	doc, hooks := document(t), b.server.Webhooks.(*fakeWebhooks)
	id := b.hook()
	for template, path := range map[string]string{endpointPath + "/{id}/rotate-secret": endpointPath + "/" + id + "/rotate-secret", "/v1/webhook-secret/rotate": "/v1/webhook-secret/rotate"} {
		hooks.overlaps = nil
		r := b.do("POST", path, "", as("keyA"), header("Idempotency-Key", "k"))
		doc.check("post", template, r)
		first := r.json(t)
		if s, _ := first["secret"].(string); r.StatusCode != 200 || !strings.HasPrefix(s, "whsec_") || first["old_secret_until"] != "2026-11-22T20:15:04.310Z" {
			t.Errorf("%d %s", r.StatusCode, r.body)
		}
		again := b.do("POST", path, "", as("keyA"), header("Idempotency-Key", "k"))
		if a := again.json(t); a["secret"] != nil || a["old_secret_until"] != first["old_secret_until"] || again.Header.Get("Idempotency-Replayed") != "true" {
			t.Errorf("%s", again.body)
		}
		if r := b.do("POST", path, `{"overlap_seconds":0}`, as("keyA")); r.json(t)["old_secret_until"] != nil {
			t.Errorf("%s", r.body)
		}
		if !slices.Equal(hooks.overlaps, []time.Duration{24 * time.Hour, 0}) {
			t.Errorf("%v", hooks.overlaps)
		}
		for _, body := range []string{`{"overlap_seconds":-1}`, `{"overlap_seconds":604801}`, `{"overlap":1}`} {
			wantProblem(t, b.do("POST", path, body, as("keyA")), 422, message.ReasonInvalidRequest)
		}
	}
}

func TestWebhookDeliveriesOverREST(t *testing.T) {
	b := setup(t, withWebhooks)
	doc, hooks := document(t), b.server.Webhooks.(*fakeWebhooks)
	d := message.WebhookDelivery{Notification: message.Notification{ID: message.NewID(), EventID: message.NewID(), AccountID: accountA, EndpointID: message.NewID(), Type: "message.sent", URL: "https://shop.example"},
		State: message.NotificationPending, LastStatus: 503, LastAnswer: "busy", NextAttemptAt: began, CreatedAt: began,
		Tries: []message.WebhookTry{{At: began, Millis: 5, Error: "shop.example: dial: refused"}, {At: began, HTTPStatus: 503, Millis: 7}}}
	hooks.deliveries = append(hooks.deliveries, d)
	const path = "/v1/webhook-deliveries"
	list := b.do("GET", path+"?state=pending", "", as("keyA"))
	doc.check("get", path, list)
	one := b.do("GET", path+"/"+d.ID.String(), "", as("keyA"))
	doc.check("get", path+"/{id}", one)
	got := one.json(t)
	tries := got["attempts"].([]any)
	if got["event_id"] != d.EventID.String() || got["state"] != "pending" || len(tries) != 2 || tries[0].(map[string]any)["http_status"] != nil || tries[1].(map[string]any)["http_status"] != 503.0 ||
		got["next_attempt_at"] != "2026-11-21T20:15:04.310Z" || got["answer"] != "busy" {
		t.Errorf("%s", one.body)
	}
	for query, where := range map[string]string{"endpoint_id=x": "query.endpoint_id", "message_id=1": "query.message_id", "state=lost": "state", "cursor=x": "cursor"} {
		if r := b.do("GET", path+"?"+query, "", as("keyA")); r.StatusCode != 422 || !strings.Contains(string(r.body), where) {
			t.Errorf("%s: %d %s", query, r.StatusCode, r.body)
		}
	}
	replayed := b.do("POST", path+"/"+d.ID.String()+"/replay", "", as("keyA"), header("Idempotency-Key", "k"))
	doc.check("post", path+"/{id}/replay", replayed)
	again := b.do("POST", path+"/"+d.ID.String()+"/replay", "", as("keyA"), header("Idempotency-Key", "k"))
	if replayed.StatusCode != 202 || replayed.json(t)["queued"] != 1.0 || !bytes.Equal(again.body, replayed.body) || hooks.calls != 1 {
		t.Errorf("%d %s, %s, %d calls", replayed.StatusCode, replayed.body, again.body, hooks.calls)
	}
}

func TestReplayEndpointOverREST(t *testing.T) {
	b := setup(t, withWebhooks)
	doc, hooks := document(t), b.server.Webhooks.(*fakeWebhooks)
	id := b.hook()
	path := endpointPath + "/" + id + "/replay"
	const body = `{"after":"2026-11-20T00:00:00Z","types":["message.sent"],"state":"all"}`
	r := b.do("POST", path, body, as("keyA"), header("Idempotency-Key", "k"))
	doc.check("post", endpointPath+"/{id}/replay", r)
	again := b.do("POST", path, body, as("keyA"), header("Idempotency-Key", "k"))
	if r.StatusCode != http.StatusAccepted || r.json(t)["queued"] != 3.0 || r.json(t)["next_after"] != "2026-11-21T20:15:04.310Z" || !bytes.Equal(again.body, r.body) || len(hooks.replays) != 1 {
		t.Fatalf("%d %s, %s", r.StatusCode, r.body, again.body)
	}
	if got := hooks.replays[0]; got.Account != accountA || got.Endpoint.String() != id || !got.All || !slices.Equal(got.Types, []string{"message.sent"}) || !got.Before.Equal(began) {
		t.Errorf("%+v", got)
	}
	for body, where := range map[string]string{
		`{}`: "body.after", `{"after":"yesterday"}`: "body.after", `{"after":"2026-11-22T00:00:00Z"}`: "body.after",
		`{"after":"2026-11-20T00:00:00Z","state":"pending"}`: "body.state", `{"after":"2026-11-20T00:00:00Z","types":["x"]}`: "body.types", `{"after":"2026-11-20T00:00:00Z","account_id":"x"}`: "body.account_id",
	} {
		if r := b.do("POST", path, body, as("keyA")); r.StatusCode != 422 || !strings.Contains(string(r.body), where) {
			t.Errorf("%s: %d %s", body, r.StatusCode, r.body)
		}
	}
}
