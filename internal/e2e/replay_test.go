package e2e

import (
	"maps"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/client/api"
)

// endpoint adds one at the consumer, which trusts its secret from now on, and gives its id
// when the gateway tells it of events.
func (s *system) endpoint(types ...string) string {
	s.tb.Helper()
	a, err := s.api().CreateWebhookEndpointWithResponse(s.tb.Context(), &api.CreateWebhookEndpointParams{}, api.EndpointBody{URL: &s.hooks.server.URL, EventTypes: &types})
	if err != nil {
		s.tb.Fatal(err)
	}
	made := a.JSON201
	if made == nil || made.Secret == nil {
		s.tb.Fatalf("%s: %s", a.Status(), a.Body)
	}
	s.hooks.trust(*made.Secret)
	s.restartGateway() // it knows the endpoint from its first message on
	return made.ID.String()
}

// arrived is how often each webhook-id has come.
func (h *hooks) arrived() map[string]int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return maps.Clone(h.times)
}

// TestKillWhileDeliveriesAreReplayed puts back one delivery and then a range of some
// hundred, and kills the gateway in the middle of it: each is tried again under the
// webhook-id that it had, none is lost and none stays behind.
func TestKillWhileDeliveriesAreReplayed(t *testing.T) {
	t.Parallel()
	s := start(t, "--latency", "2ms", "--receipt-delay", "100ms")
	began := time.Now().Add(-time.Minute).UTC().Truncate(time.Second)
	const n = 300
	id := s.endpoint("message.delivered")
	s.batch("replayed", 0, n, nil)
	done := func(replays int) bool {
		return queried[int](s, "select count(*) from webhook_deliveries where state = 'delivered' and replays = $1", replays) == n &&
			queried[int](s, "select count(*) from webhooks_due") == 0
	}
	s.until("every message was told of", func() bool { return done(0) })
	before := s.hooks.arrived()
	if len(before) != n {
		t.Fatalf("%d events of %d messages", len(before), n)
	}

	one := queried[string](s, "select id::text from webhook_deliveries order by id limit 1")
	event := queried[string](s, "select event_id::text from webhook_deliveries where id = $1", one)
	key := "one"
	if a, err := s.api().ReplayWebhookDeliveryWithResponse(t.Context(), one, &api.ReplayWebhookDeliveryParams{IdempotencyKey: &key}); err != nil || a.JSON202 == nil {
		t.Fatalf("%v, %+v", err, a)
	}
	s.until("the one came again", func() bool { return s.hooks.arrived()[event] == before[event]+1 })
	s.until("it is on record", func() bool {
		return queried[bool](s, "select state = 'delivered' and replays = 1 from webhook_deliveries where id = $1", one)
	})

	all, rangeKey := api.ReplayBodyState("all"), "range"
	replay := func() (*api.ReplayWebhookEndpointResponse, error) {
		return s.api().ReplayWebhookEndpointWithResponse(t.Context(), id, &api.ReplayWebhookEndpointParams{IdempotencyKey: &rangeKey}, api.ReplayBody{After: began, State: &all})
	}
	open := s.hooks.shutAfter(n / 2) // so that it is not over before the kill
	defer open()
	a, err := replay()
	if err != nil || a.JSON202 == nil || a.JSON202.Queued != n {
		t.Fatalf("%v, %+v", err, a)
	}
	replayed := func() (ids int) {
		for event, times := range s.hooks.arrived() {
			if times > before[event] {
				ids++
			}
		}
		return ids
	}
	s.until("a third of them came again", func() bool { return replayed() >= n/3 })
	s.kill()
	if replayed() == n {
		t.Fatal("all came again before the kill: the test is blind")
	}
	open()
	s.until("each was delivered again", func() bool {
		return replayed() == n && queried[int](s, "select count(*) from webhook_deliveries where state = 'delivered' and replays > 0") == n
	})
	s.until("nothing is left to do", func() bool { return queried[int](s, "select count(*) from webhooks_due") == 0 })
	after := s.hooks.arrived()
	bad, forged := s.hooks.faults()
	most := 0
	for _, times := range after {
		most = max(most, times)
	}
	t.Logf("%d events, at most %d times each", len(after), most)
	if len(after) != n || bad > 0 || forged > 0 {
		t.Errorf("%d webhook-ids of %d events, %d badly signed, %d with another body", len(after), n, bad, forged)
	}
	// Its key gives the first answer again, and puts nothing back.
	if again, err := replay(); err != nil || string(again.Body) != string(a.Body) {
		t.Errorf("%v, %+v", err, again)
	}
	if queried[int](s, "select count(*) from webhook_deliveries where state = 'pending'") != 0 {
		t.Error("the key put them back once more")
	}
	s.wantUnviolated()
}
