package e2e

import (
	"encoding/json"
	"net/http"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/client/api"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// feedPage is an answer of GET /v1/events.
type feedPage struct {
	Data []struct {
		ID        string
		Type      string
		Timestamp string
		Data      json.RawMessage
	}
	NextCursor string `json:"next_cursor"`
}

// TestFeedUnderLoad reads the pull feed while messages are sent as fast as the machine
// lets, and counts: each message's events are there once, under the ids and with the bodies
// of the webhooks.
func TestFeedUnderLoad(t *testing.T) {
	const messages, senders = 160, 8
	s := start(t)
	if err := s.db.CreateEndpoint(t.Context(), actor, snapshot.Endpoint{ID: message.NewID(), AccountID: s.account, URL: s.hooks.server.URL, Secret: s.hook, Format: "event"}); err != nil {
		t.Fatal(err)
	}
	bodies := map[string]string{}
	done := map[string]bool{}
	types := map[string]map[string]int{}
	cursor := ""
	read := func(wait int64) int {
		t.Helper()
		limit := int64(200)
		a, err := s.api().ListAccountEventsWithResponse(t.Context(), &api.ListAccountEventsParams{Limit: &limit, WaitSeconds: &wait, Cursor: &cursor})
		if err != nil {
			t.Fatal(err)
		}
		var page feedPage // the client's has the time as a time, which a webhook may write otherwise
		if err := json.Unmarshal(a.Body, &page); err != nil || a.JSON200 == nil || page.NextCursor == "" {
			t.Fatalf("%s %s %v", a.Status(), a.Body, err)
		}
		cursor = page.NextCursor
		for _, e := range page.Data {
			if bodies[e.ID] != "" {
				t.Errorf("%s came twice: %s", e.Type, e.ID)
			}
			b, err := json.Marshal(map[string]any{"type": e.Type, "timestamp": e.Timestamp, "data": e.Data})
			if err != nil {
				t.Fatal(err)
			}
			bodies[e.ID] = string(b)
			var d struct {
				MessageID string `json:"message_id"`
			}
			if err := json.Unmarshal(e.Data, &d); err != nil {
				t.Fatal(err)
			}
			if types[d.MessageID] == nil {
				types[d.MessageID] = map[string]int{}
			}
			types[d.MessageID][e.Type]++
			if e.Type == "message.delivered" {
				done[d.MessageID] = true
			}
		}
		return len(page.Data)
	}
	s.until("the gateway knows the endpoint, and the feed has what came before", func() bool {
		id := s.post(map[string]any{"from": from, "to": "+13105550100", "body": "first"}).ID
		s.final(id)
		for !done[id] {
			read(1)
		}
		return s.hooks.told(id, "message.delivered")
	})
	clear(bodies)
	clear(done)
	clear(types)
	var sending sync.WaitGroup
	for range senders {
		sending.Go(func() {
			for range messages / senders {
				s.postPatiently(map[string]any{"from": from, "to": "+13105550100", "body": "Your parcel is on its way"})
			}
		})
	}
	sent := make(chan struct{})
	go func() { sending.Wait(); close(sent) }()
	for open := true; open; {
		read(1)
		select {
		case <-sent:
			open = false
		default:
		}
	}
	all := messages / senders * senders
	s.until("all messages are delivered in the feed", func() bool { read(1); return len(done) == all })
	for read(0) > 0 { //nolint:revive // to the end
	}
	if len(types) != all {
		t.Errorf("the feed has %d messages, %d were accepted", len(types), all)
	}
	for id, n := range types {
		if n["message.accepted"] != 1 || n["message.sent"] != 1 || n["message.delivered"] != 1 || len(n) != 3 {
			t.Errorf("the feed has of %s: %v", id, n)
		}
	}
	s.until("the webhooks have said the same", func() bool {
		s.hooks.mu.Lock()
		defer s.hooks.mu.Unlock()
		for id := range bodies {
			if s.hooks.ids[id] == "" {
				return false
			}
		}
		return true
	})
	s.hooks.mu.Lock()
	defer s.hooks.mu.Unlock()
	for id, body := range bodies {
		by := s.hooks.ids[id]
		var a, b any
		if json.Unmarshal([]byte(by), &a) != nil || json.Unmarshal([]byte(body), &b) != nil || !reflect.DeepEqual(a, b) {
			t.Errorf("by webhook %s\nin the feed %s", by, body)
		}
	}
}

// postPatiently posts a message again when its rate refuses it.
func (s *system) postPatiently(fields map[string]any) {
	b, err := json.Marshal(fields)
	if err != nil {
		s.tb.Error(err)
		return
	}
	for until := time.Now().Add(patience); time.Now().Before(until); {
		a, err := s.submit("", b)
		switch {
		case err != nil:
			s.tb.Error(err)
			return
		case a.JSON202 != nil:
			return
		case a.StatusCode() != http.StatusTooManyRequests:
			s.tb.Errorf("%s %s", a.Status(), a.Body)
			return
		}
	}
}
