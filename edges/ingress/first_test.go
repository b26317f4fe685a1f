package ingress_test

import (
	"context"
	"slices"
	"sync"
	"testing"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// tries is a customer's side: it answers each first try when it is let.
type tries struct {
	mu    sync.Mutex
	ids   []message.ID
	began chan struct{} // gets an element for each
	let   chan struct{} // closed: they end
	left  bool          // they were not taken
}

func (f *tries) first(_ context.Context, ids []message.ID) []message.ID {
	f.mu.Lock()
	f.ids = append(f.ids, ids...)
	f.mu.Unlock()
	f.began <- struct{}{}
	<-f.let
	if f.left {
		return ids
	}
	return nil
}

// Acceptance is told to the endpoints that want it, whichever way the message came, and
// neither to the message's own URL nor of what was refused at once.
func TestAcceptanceIsTold(t *testing.T) {
	t.Parallel()
	b := setup(t)
	f := &tries{began: make(chan struct{}, 100), let: make(chan struct{}), left: true}
	b.FirstTries = f.first
	b.config.Endpoints = map[message.ID][]snapshot.Endpoint{b.account.ID: {
		{ID: message.NewID(), AccountID: b.account.ID, URL: "https://shop.example/all"},
		{ID: message.NewID(), AccountID: b.account.ID, URL: "https://shop.example/sent", EventTypes: []string{"message.sent"}},
	}}
	b.Start(t.Context())
	told := func(change func(edge, url *string)) []string {
		t.Helper()
		r := b.request()
		change(&r.Edge, &r.WebhookURL)
		out, err := b.Accept(t.Context(), r)
		var urls []string
		b.journal.count(func() int {
			for _, a := range b.journal.accepted {
				if out.Message != nil && a.Message.ID == out.Message.ID {
					for _, n := range a.Notifications {
						urls = append(urls, n.Type+" "+n.URL)
					}
				}
			}
			return 0
		})
		if (err != nil) != (out.Message == nil || out.Message.Status == message.StatusRejected) {
			t.Fatal(out, err)
		}
		return urls
	}
	want := []string{"message.accepted https://shop.example/all"}
	for _, edge := range []string{"rest", "smpp", "mm4"} {
		if got := told(func(e, _ *string) { *e = edge }); !slices.Equal(got, want) {
			t.Errorf("over %s: %v", edge, got)
		}
		<-f.began
	}
	if got := told(func(_, url *string) { *url = "https://shop.example/own" }); len(got) != 0 {
		t.Errorf("with a URL of its own: %v", got)
	}
	b.config.Routes = nil
	if got := told(func(_, _ *string) {}); len(got) != 0 {
		t.Errorf("refused: %v", got)
	}
	close(f.let)
	b.Stop()
	f.mu.Lock()
	defer f.mu.Unlock()
	b.server.mu.Lock()
	defer b.server.mu.Unlock()
	if len(b.server.posted) != len(f.ids) || len(f.ids) != 3 {
		t.Errorf("%d were tried and not taken, %v handed over", len(f.ids), b.server.posted)
	}
}

// A slow endpoint holds up neither acceptance nor a bounded number of tries: the sweep
// makes the rest.
func TestSlowEndpointOfAcceptances(t *testing.T) {
	t.Parallel()
	b := setup(t)
	f := &tries{began: make(chan struct{}, 100), let: make(chan struct{})}
	b.FirstTries = f.first
	b.config.Endpoints = map[message.ID][]snapshot.Endpoint{b.account.ID: {{ID: message.NewID(), AccountID: b.account.ID, URL: "https://slow.example"}}}
	b.Start(t.Context())
	for range 40 {
		if _, err := b.Accept(t.Context(), b.request()); err != nil {
			t.Fatal(err)
		}
	}
	close(f.let)
	b.Stop()
	if n := len(f.ids); n != 16 {
		t.Errorf("%d were tried at once", n)
	}
}
