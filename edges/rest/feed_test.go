package rest

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// fakeFeed has the events of some accounts, each at a transaction of its own.
type fakeFeed struct {
	mu      sync.Mutex
	events  map[message.ID][]message.FeedEvent
	err     error
	asked   []message.FeedQuery
	waiting chan struct{} // gets an element when somebody begins to wait
	grown   chan struct{} // closed: those who wait are told
}

func newFakeFeed() *fakeFeed {
	return &fakeFeed{events: map[message.ID][]message.FeedEvent{}, waiting: make(chan struct{}, 1000), grown: make(chan struct{})}
}

func (f *fakeFeed) add(account message.ID, e message.FeedEvent) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.events[account] = append(f.events[account], e)
	close(f.grown)
	f.grown = make(chan struct{})
}

func (f *fakeFeed) Feed(_ context.Context, q message.FeedQuery) (message.FeedPage, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, q)
	page := message.FeedPage{Next: q.Behind}
	for _, e := range f.events[q.AccountID] {
		if e.At.Before(began.Add(time.Duration(q.Behind.Transaction) * time.Second)) {
			continue
		}
		if len(page.Events) == q.Limit {
			page.More = true
			break
		}
		page.Events = append(page.Events, e)
		page.Next = message.FeedPosition{Transaction: uint64(e.At.Sub(began)/time.Second) + 1, ID: e.ID, Sequence: 7}
	}
	return page, f.err
}

func (f *fakeFeed) FeedGrows(ctx context.Context, _ message.ID, _ message.FeedPosition) error {
	f.mu.Lock()
	grown := f.grown
	f.mu.Unlock()
	f.waiting <- struct{}{}
	select {
	case <-grown:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// feedEvent is the n-th event of an account.
func feedEvent(n int) message.FeedEvent {
	return message.FeedEvent{ID: message.NewID(), Type: "message.delivered", At: began.Add(time.Duration(n) * time.Second), Sequence: 7, Message: &message.Message{
		ID: message.NewID(), AccountID: accountA, Direction: message.Outbound, Kind: message.SMS, Status: message.StatusDelivered, From: "+12025550143", To: "+13105550117", Segments: 1}}
}

func withFeed(f *fakeFeed) func(*bundle) { return func(b *bundle) { b.server.Feed = f } }

func events(t *testing.T, r *reply) (ids []string, next string) {
	t.Helper()
	if r.StatusCode != http.StatusOK {
		t.Fatalf("%d: %s", r.StatusCode, r.body)
	}
	body := r.json(t)
	for _, e := range body["data"].([]any) {
		ids = append(ids, e.(map[string]any)["id"].(string))
	}
	return ids, body["next_cursor"].(string)
}

// The feed is read from page to page; its cursor does not end, and leads on to what
// comes later.
func TestFeed(t *testing.T) {
	t.Parallel()
	f := newFakeFeed()
	b := setup(t, withFeed(f))
	if ids, next := events(t, b.do("GET", "/v1/events", "", as("keyA"))); len(ids) != 0 || next == "" {
		t.Errorf("an empty feed: %v, cursor %q", ids, next)
	}
	var want []string
	for n := range 5 {
		e := feedEvent(n)
		f.add(accountA, e)
		want = append(want, e.ID.String())
	}
	var got []string
	cursor := ""
	for range 4 {
		ids, next := events(t, b.do("GET", "/v1/events?limit=2&cursor="+url.QueryEscape(cursor), "", as("keyA")))
		got, cursor = append(got, ids...), next
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("read %v, want %v", got, want)
	}
	r := b.do("GET", "/v1/events?limit=1", "", as("keyA"))
	m := f.events[accountA][0].Message
	wantBody := `"type":"message.delivered","timestamp":"` + stamp(began) + `","data":{"message_id":"` + m.ID.String() + `","sequence":7,"direction":"outbound","type":"sms","status":"delivered"`
	if !strings.Contains(string(r.body), wantBody) {
		t.Errorf("%s, want %s in it", r.body, wantBody)
	}
	late := feedEvent(9)
	f.add(accountA, late)
	if ids, _ := events(t, b.do("GET", "/v1/events?cursor="+cursor, "", as("keyA"))); len(ids) != 1 || ids[0] != late.ID.String() {
		t.Errorf("after the end: %v", ids)
	}
	// Another account reads its own, whatever cursor it has.
	for _, path := range []string{"/v1/events", "/v1/events?cursor=" + cursor} {
		if ids, _ := events(t, b.do("GET", path, "", as("keyB"))); len(ids) != 0 {
			t.Errorf("another account reads %v", ids)
		}
	}
}

func TestFeedRefuses(t *testing.T) {
	t.Parallel()
	f := newFakeFeed()
	b := setup(t, withFeed(f))
	for _, path := range []string{
		"?cursor=x", "?cursor=" + encodeMessageCursor(message.NewID()), "?types=message.sent,nonsense", "?types=endpoint.test", "?types=,",
		"?wait_seconds=31", "?wait_seconds=-1", "?limit=0", "?limit=201", "?types=" + strings.Repeat("x", 5000),
	} {
		r := b.do("GET", "/v1/events"+path, "", as("keyA"))
		if r.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(string(r.body), "query.") {
			t.Errorf("%.60s: %d %s", path, r.StatusCode, r.body)
		}
	}
	events(t, b.do("GET", "/v1/events?types=message.sent,%20opt_out.created&types=batch.completed", "", as("keyA")))
	if got := f.asked[len(f.asked)-1].Types; fmt.Sprint(got) != "[message.sent opt_out.created batch.completed]" {
		t.Errorf("types %v", got)
	}
	f.err = message.Refuse(message.ReasonInvalidRequest, "this cursor has expired")
	if r := b.do("GET", "/v1/events", "", as("keyA")); r.StatusCode < 400 || r.StatusCode > 422 || !strings.Contains(string(r.body), "expired") {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
}

// Who waits is woken by an event, at most so many of an account wait, and they end with
// the process: with what there is.
func TestFeedWaits(t *testing.T) {
	t.Parallel()
	f := newFakeFeed()
	b := setup(t, withFeed(f))
	answers := make(chan *reply, maxAccountPollers)
	wait := func() {
		for range maxAccountPollers {
			go func() { answers <- b.do("GET", "/v1/events?wait_seconds=30", "", as("keyA")) }()
			<-f.waiting
		}
	}
	wait()
	if r := b.do("GET", "/v1/events?wait_seconds=30", "", as("keyA")); r.StatusCode != http.StatusTooManyRequests || r.Header.Get("Retry-After") == "" {
		t.Errorf("one more: %d %s", r.StatusCode, r.body)
	}
	if ids, _ := events(t, b.do("GET", "/v1/events", "", as("keyA"))); len(ids) != 0 {
		t.Errorf("who does not wait: %v", ids)
	}
	e := feedEvent(1)
	f.add(accountA, e)
	for range maxAccountPollers {
		if ids, _ := events(t, <-answers); len(ids) != 1 || ids[0] != e.ID.String() {
			t.Errorf("woken with %v", ids)
		}
	}
	f.mu.Lock()
	clear(f.events)
	f.mu.Unlock()
	b.clock.advance(time.Minute) // the window of the rate
	wait()
	if err := b.server.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range maxAccountPollers {
		if ids, next := events(t, <-answers); len(ids) != 0 || next == "" {
			t.Errorf("at the end: %v, cursor %q", ids, next)
		}
	}
}

// A client that goes leaves no waiter behind.
func TestFeedClientGoes(t *testing.T) {
	t.Parallel()
	f := newFakeFeed()
	b := setup(t, withFeed(f))
	for range maxAccountPollers + 2 {
		ctx, cancel := context.WithCancel(t.Context())
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, b.base+"/v1/events?wait_seconds=30", nil)
		if err != nil {
			t.Fatal(err)
		}
		as("keyA")(r)
		gone := make(chan struct{})
		go func() {
			defer close(gone)
			if resp, err := http.DefaultClient.Do(r); err == nil {
				_ = resp.Body.Close()
			}
		}()
		<-f.waiting
		cancel()
		<-gone
		for left := true; left; {
			b.server.pollers.mu.Lock()
			left = b.server.pollers.all > 0
			b.server.pollers.mu.Unlock()
		}
	}
}
