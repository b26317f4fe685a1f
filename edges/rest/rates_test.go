package rest

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/limit"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

const (
	shop  = message.Address("+12025550143")
	other = message.Address("+12025550144")
)

// rated publishes rates of an account, its key and its two numbers.
func (b *bundle) rated(account, burst, key, keyBurst, number int) {
	b.reconfigure(func(s *snapshot.Snapshot) {
		a, k := *s.Accounts[accountA], *s.Credentials["keyA"]
		a.APIRateLimit, a.APIBurst, k.RateLimit, k.Burst = account, burst, key, keyBurst
		second := *s.Credentials["keyB"]
		second.AccountID, second.ID = accountA, message.NewID()
		s.Accounts[accountA], s.Credentials["keyA"], s.Credentials["keyB"] = &a, &k, &second
		s.Numbers = map[message.Address]*snapshot.Number{
			shop:           {Number: shop, AccountID: accountA, SMSEnabled: true, RateLimit: number},
			other:          {Number: other, AccountID: accountA, SMSEnabled: true},
			"+12025550199": {Number: "+12025550199", AccountID: accountB, SMSEnabled: true, RateLimit: 1},
		}
	})
}

func parcelFrom(sender message.Address) string {
	return fmt.Sprintf(`{"from":"%s","to":"+13105550117","body":"Your parcel is on its way"}`, sender)
}

// The stricter of several rates holds, the headers are those of the one that binds,
// and what is refused for one uses up nothing of the others.
func TestRatesTogether(t *testing.T) {
	type step struct {
		wait    time.Duration // before it
		key     string
		body    string
		status  int
		headers string // limit remaining reset
		scope   string // of a refusal
	}
	for _, c := range []struct {
		name                                  string
		account, burst, key, keyBurst, number int
		steps                                 []step
	}{
		{"the number before the account", 5, 0, 0, 0, 2, []step{
			{0, "keyA", parcelFrom(shop), 202, "2 1 1", ""},
			{0, "keyA", parcelFrom(shop), 202, "2 0 1", ""},
			{0, "keyA", parcelFrom(shop), 429, "2 0 1", limit.ScopeNumber},
			{0, "keyA", parcelFrom(shop), 429, "2 0 1", limit.ScopeNumber}, // nothing of the account is used up
			{0, "keyA", parcelFrom(other), 202, "5 2 1", ""},
			{0, "keyB", parcelFrom(other), 202, "5 1 1", ""},
			{0, "keyB", parcelFrom(other), 202, "5 0 1", ""},
			{0, "keyA", parcelFrom(other), 429, "5 0 1", limit.ScopeAccount},
			{0, "keyA", parcelFrom(shop), 429, "5 0 1", limit.ScopeAccount},
			{time.Second, "keyA", parcelFrom(shop), 202, "2 1 1", ""},
		}},
		{"the key before the account", 4, 0, 2, 0, 0, []step{
			{0, "keyA", parcelFrom(shop), 202, "2 1 1", ""},
			{0, "keyA", parcelFrom(shop), 202, "2 0 1", ""},
			{0, "keyA", parcelFrom(shop), 429, "2 0 1", limit.ScopeKey},
			{0, "keyA", parcelFrom(shop), 429, "2 0 1", limit.ScopeKey},
			{0, "keyB", parcelFrom(shop), 202, "4 1 1", ""},
			{0, "keyB", parcelFrom(shop), 202, "4 0 1", ""},
			{0, "keyB", parcelFrom(shop), 429, "4 0 1", limit.ScopeAccount},
		}},
		{"the account before the key", 2, 0, 3, 0, 3, []step{
			{0, "keyA", parcelFrom(shop), 202, "2 1 1", ""},
			{0, "keyA", parcelFrom(shop), 202, "2 0 1", ""},
			{0, "keyA", parcelFrom(shop), 429, "2 0 1", limit.ScopeAccount},
			{time.Second, "keyA", parcelFrom(shop), 202, "2 1 1", ""},
		}},
		{"a request that cannot be read", 3, 0, 0, 0, 1, []step{
			{0, "keyA", "{", 400, "3 2 1", ""},
			{0, "keyA", "{}", 422, "3 1 1", ""},
			{0, "keyA", parcelFrom(shop), 202, "3 0 1", ""}, // both have nothing left
			{0, "keyA", "{", 429, "3 0 1", limit.ScopeAccount},
		}},
		{"a dry run is a request, and no message of the number", 3, 0, 0, 0, 1, []step{
			{0, "keyA", strings.Replace(parcelFrom(shop), "{", `{"dry_run":true,`, 1), 200, "3 2 1", ""},
			{0, "keyA", parcelFrom(shop), 202, "1 0 1", ""},
			{0, "keyA", strings.Replace(parcelFrom(shop), "{", `{"dry_run":true,`, 1), 200, "3 0 1", ""},
		}},
		{"a number of somebody else's, and one of nobody's", 3, 0, 0, 0, 1, []step{
			{0, "keyA", parcelFrom("+12025550199"), 202, "3 2 1", ""},
			{0, "keyA", parcelFrom("+12025550199"), 202, "3 1 1", ""},
			{0, "keyA", parcelFrom("ACME"), 202, "3 0 1", ""},
		}},
		{"a burst", 2, 3, 0, 0, 0, []step{
			{0, "keyA", parcelFrom(shop), 202, "5 4 1", ""},
			{0, "keyA", parcelFrom(shop), 202, "5 3 1", ""},
			{0, "keyA", parcelFrom(shop), 202, "5 2 1", ""},
			{0, "keyA", parcelFrom(shop), 202, "5 1 1", ""},
			{0, "keyA", parcelFrom(shop), 202, "5 0 1", ""},
			{0, "keyA", parcelFrom(shop), 429, "5 0 1", limit.ScopeAccount},
			{time.Second, "keyA", parcelFrom(shop), 202, "5 4 1", ""},
		}},
		{"a burst of the key within the account's rate", 3, 0, 1, 9, 0, []step{
			{0, "keyA", parcelFrom(shop), 202, "3 2 1", ""},
			{0, "keyA", parcelFrom(shop), 202, "3 1 1", ""},
			{0, "keyA", parcelFrom(shop), 202, "3 0 1", ""},
			{0, "keyA", parcelFrom(shop), 429, "3 0 1", limit.ScopeAccount},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var mu sync.Mutex
			var told []string
			b := setup(t, func(b *bundle) {
				b.server.RateLimited = func(_ message.ID, scope string) {
					mu.Lock()
					defer mu.Unlock()
					told = append(told, scope)
				}
			})
			b.rated(c.account, c.burst, c.key, c.keyBurst, c.number)
			for i, s := range c.steps {
				b.clock.advance(s.wait)
				told = nil
				_, before := b.ingress.count()
				r := b.do("POST", "/v1/messages", s.body, as(s.key))
				if r.StatusCode != s.status {
					t.Fatalf("step %d: %d %s", i, r.StatusCode, r.body)
				}
				h := strings.Fields(s.headers)
				wantLimit(t, r, h[0], h[1], h[2])
				if want := strings.Fields(s.scope); fmt.Sprint(told) != fmt.Sprint(want) {
					t.Errorf("step %d: told of %v, want %v", i, told, want)
				}
				if s.status != 429 {
					continue
				}
				wantProblem(t, r, 429, message.ReasonRateLimitExceeded)
				if r.Header.Get("Retry-After") != h[2] {
					t.Errorf("step %d: Retry-After %q", i, r.Header.Get("Retry-After"))
				}
				if _, after := b.ingress.count(); after != before {
					t.Errorf("step %d: something was stored", i)
				}
			}
		})
	}
}

// A burst is made up for: ten seconds hold ten times the rate, and the answer says
// when to come back.
func TestBurstIsMadeUpFor(t *testing.T) {
	b := setup(t, nil)
	b.rated(2, 18, 0, 0, 0)
	for i := range 20 {
		if r := b.do("POST", "/v1/messages", parcel, as("keyA")); r.StatusCode != 202 {
			t.Fatalf("message %d: %d", i, r.StatusCode)
		}
	}
	b.clock.advance(2500 * time.Millisecond)
	r := b.do("POST", "/v1/messages", parcel, as("keyA"))
	wantProblem(t, r, 429, message.ReasonRateLimitExceeded)
	wantLimit(t, r, "20", "0", "8")
	if r.Header.Get("Retry-After") != "8" { // 7.5, rounded up
		t.Errorf("Retry-After %q", r.Header.Get("Retry-After"))
	}
	b.clock.advance(7499 * time.Millisecond)
	wantProblem(t, b.do("POST", "/v1/messages", parcel, as("keyA")), 429, message.ReasonRateLimitExceeded)
	b.clock.advance(time.Millisecond)
	if r := b.do("POST", "/v1/messages", parcel, as("keyA")); r.StatusCode != 202 {
		t.Errorf("after ten seconds: %d", r.StatusCode)
	}
}

// What was counted goes to ingress for the trail; a dry run hears what the rates
// would say.
func TestRateIsInTheTrail(t *testing.T) {
	b := setup(t, nil)
	b.rated(9, 0, 4, 0, 1)
	last := func() message.TrailEntry {
		b.ingress.mu.Lock()
		defer b.ingress.mu.Unlock()
		return b.ingress.calls[len(b.ingress.calls)-1].Rate
	}
	dry := strings.Replace(parcelFrom(shop), "{", `{"dry_run":true,`, 1)
	for _, c := range []struct {
		body string
		want message.TrailEntry
	}{
		{dry, message.TrailEntry{Rule: "rate", Result: message.Pass,
			Detail: "0 of 4 messages in a second with this API key, 0 of 9 messages in a second of this account, 0 of 1 messages in a second from +12025550143"}},
		{parcelFrom(shop), message.TrailEntry{Rule: "rate", Result: message.Pass,
			Detail: "2 of 4 messages in a second with this API key, 2 of 9 messages in a second of this account, 1 of 1 messages in a second from +12025550143"}},
		{dry, message.TrailEntry{Rule: "rate", Result: message.Refused, Detail: "more than 1 messages in a second from +12025550143"}},
	} {
		if r := b.do("POST", "/v1/messages", c.body, as("keyA")); r.StatusCode >= 300 {
			t.Fatalf("%d %s", r.StatusCode, r.body)
		}
		if got := last(); got != c.want {
			t.Errorf("%+v, want %+v", got, c.want)
		}
	}
}

// However many ask at once, with what they write being readable or not, no more are
// taken than the rates allow, and each rate is used up.
func TestRatesUnderConcurrency(t *testing.T) {
	b := setup(t, nil)
	b.rated(20, 0, 0, 0, 5)
	var all sync.WaitGroup
	for i := range 200 {
		all.Go(func() {
			body := parcelFrom(shop)
			if i%2 == 0 {
				body = parcelFrom(other)
			}
			r, err := http.NewRequestWithContext(context.Background(), "POST", b.base+"/v1/messages", strings.NewReader(body))
			if err != nil {
				t.Error(err)
				return
			}
			as("keyA")(r)
			answer, err := b.client.Do(r)
			if err != nil {
				t.Error(err)
				return
			}
			_ = answer.Body.Close()
		})
	}
	all.Wait()
	taken := map[string]int{}
	for _, m := range b.ingress.calls {
		taken[m.From]++
	}
	if taken[string(shop)] > 5 || len(b.ingress.calls) != 20 {
		t.Errorf("taken %v of 20 and 5", taken)
	}
}
