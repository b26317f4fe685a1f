package rest

import (
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

// wantLimit checks the headers that every answer under /v1 has.
func wantLimit(t testing.TB, r *reply, limit, remaining, reset string) {
	t.Helper()
	got := []string{r.Header.Get("x-ratelimit-limit"), r.Header.Get("x-ratelimit-remaining"), r.Header.Get("x-ratelimit-reset")}
	if want := []string{limit, remaining, reset}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%d: x-ratelimit %v, want %v", r.StatusCode, got, want)
	}
}

func TestRateOfMessages(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*snapshot.Account, *snapshot.Credential)
		limit  int
		shared bool // with the account's other credentials
		scope  string
	}{
		{"default", func(a *snapshot.Account, _ *snapshot.Credential) { a.APIRateLimit = 0 }, defaultCreates, true, limit.ScopeAccount},
		{"account's", func(a *snapshot.Account, _ *snapshot.Credential) { a.APIRateLimit = 3 }, 3, true, limit.ScopeAccount},
		{"credential's", func(a *snapshot.Account, k *snapshot.Credential) { a.APIRateLimit = 8; k.RateLimit = 5 }, 5, false, limit.ScopeKey},
		{"stricter than the credential's", func(a *snapshot.Account, k *snapshot.Credential) { a.APIRateLimit = 3; k.RateLimit = 5 }, 3, true, limit.ScopeAccount},
	} {
		t.Run(c.name, func(t *testing.T) {
			var mu sync.Mutex
			told := 0
			b := setup(t, func(b *bundle) {
				b.server.RateLimited = func(account message.ID, scope string) {
					mu.Lock()
					defer mu.Unlock()
					if account == accountA && scope == c.scope {
						told++
					}
				}
			})
			b.reconfigure(func(s *snapshot.Snapshot) {
				a, k := *s.Accounts[accountA], *s.Credentials["keyA"]
				c.change(&a, &k)
				second := *s.Credentials["keyB"]
				second.AccountID, second.ID = accountA, message.NewID()
				s.Accounts[accountA], s.Credentials["keyA"], s.Credentials["keyB"] = &a, &k, &second
			})
			most := fmt.Sprint(c.limit)
			for i := range c.limit {
				r := b.do("POST", "/v1/messages", parcel, as("keyA"))
				if r.StatusCode != 202 {
					t.Fatalf("message %d: %d %s", i, r.StatusCode, r.body)
				}
				wantLimit(t, r, most, fmt.Sprint(c.limit-i-1), "1")
			}
			r := b.do("POST", "/v1/messages", parcel, as("keyA"))
			wantProblem(t, r, 429, message.ReasonRateLimitExceeded)
			wantLimit(t, r, most, "0", "1")
			if r.Header.Get("Retry-After") != "1" {
				t.Errorf("Retry-After %q", r.Header.Get("Retry-After"))
			}
			document(t).check("post", "/v1/messages", r)
			other := b.do("POST", "/v1/messages", parcel, as("keyB"))
			if (other.StatusCode == 429) != c.shared {
				t.Errorf("another credential gets %d", other.StatusCode)
			}
			if r := b.do("GET", "/v1/messages", "", as("keyA")); r.StatusCode != 200 {
				t.Errorf("reading is refused for messages: %d", r.StatusCode)
			}
			mu.Lock()
			if told == 0 {
				t.Error("nobody was told")
			}
			mu.Unlock()
			if _, stored := b.ingress.count(); stored > c.limit+1 {
				t.Errorf("%d messages stored", stored)
			}
			b.clock.advance(time.Second)
			if r := b.do("POST", "/v1/messages", parcel, as("keyA")); r.StatusCode != 202 {
				t.Errorf("a second later: %d", r.StatusCode)
			}
		})
	}
}

func TestRateOfRequests(t *testing.T) {
	b := setup(t, nil)
	id := b.send("keyA")
	paths := []string{"/v1/messages", "/v1/messages/" + id, "/v1/messages/" + id + "/events"}
	for i := range requestRate {
		r := b.do("GET", paths[i%len(paths)], "", as([]string{"keyA", "keyRO"}[i%2]))
		if r.StatusCode != 200 {
			t.Fatalf("request %d: %d %s", i, r.StatusCode, r.body)
		}
		wantLimit(t, r, "50", fmt.Sprint(requestRate-i-1), "1")
	}
	r := b.do("GET", "/v1/messages", "", as("keyRO"))
	wantProblem(t, r, 429, message.ReasonRateLimitExceeded)
	wantLimit(t, r, "50", "0", "1")
	if r := b.do("POST", "/v1/messages", parcel, as("keyA")); r.StatusCode != 202 {
		t.Errorf("sending is refused for requests: %d", r.StatusCode)
	}
	if r := b.do("GET", "/v1/messages", "", as("keyB")); r.StatusCode != 200 {
		t.Errorf("another account: %d", r.StatusCode)
	}
}

// Whatever is answered under /v1, its limit is shown.
func TestEveryAnswerShowsALimit(t *testing.T) {
	b := setup(t, nil)
	for _, c := range []struct {
		method, path, body string
		with               func(*http.Request)
		status             int
	}{
		{"POST", "/v1/messages", parcel, as("keyA"), 202},
		{"POST", "/v1/messages", "{", as("keyA"), 400},
		{"POST", "/v1/messages", "{}", as("keyA"), 422},
		{"POST", "/v1/messages", parcel, as("keyRO"), 403},
		{"POST", "/v1/messages", parcel, as("keyX"), 401},
		{"GET", "/v1/messages?limit=0", "", as("keyA"), 422},
		{"GET", "/v1/messages/x", "", as("keyA"), 404},
		{"GET", "/v1/nothing", "", as("keyA"), 404},
		{"DELETE", "/v1/messages", "", as("keyA"), 405},
		{"OPTIONS", "/v1/messages", "", as("keyA"), 204},
		{"HEAD", "/v1/messages", "", as("keyA"), 200},
		{"GET", "/v1/errors", "", as("keyA"), 200},
		{"POST", "/v1/auth/token", "", as("keyA"), 200},
		{"POST", "/v1/auth/token", "", as("keyX"), 401},
		{"POST", "/v1/auth/token", "{", as("keyX"), 400},
	} {
		r := b.do(c.method, c.path, c.body, c.with)
		if r.StatusCode != c.status {
			t.Errorf("%s %s: %d, want %d: %s", c.method, c.path, r.StatusCode, c.status, r.body)
		}
		for _, h := range []string{"x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset", "X-Request-Id"} {
			if r.Header.Get(h) == "" {
				t.Errorf("%s %s %d: no %s", c.method, c.path, r.StatusCode, h)
			}
		}
	}
}

func TestPublicRequestsAreCountedByAddress(t *testing.T) {
	b := setup(t, func(b *bundle) { b.server.TrustedProxies = prefixes("127.0.0.0/8") })
	from := func(a string) func(*http.Request) { return header("X-Forwarded-For", a) }
	for range requestRate {
		b.do("GET", "/v1/errors", "", from("2001:db8::1"))
	}
	for _, path := range []string{"/v1/errors", "/v1/nothing"} {
		wantProblem(t, b.do("GET", path, "", from("2001:db8::ffff")), 429, message.ReasonRateLimitExceeded)
	}
	wantProblem(t, b.do("DELETE", "/v1/messages", "", from("2001:db8::1")), 429, message.ReasonRateLimitExceeded)
	if r := b.do("GET", "/v1/errors", "", from("2001:db8:1::1")); r.StatusCode != 200 {
		t.Errorf("another network: %d", r.StatusCode)
	}
	if r := b.do("GET", "/docs", "", from("2001:db8::1")); r.StatusCode != 200 {
		t.Errorf("the pages: %d", r.StatusCode)
	}
}

func TestFailedAuthenticationHoldsAnAddressBack(t *testing.T) {
	b := setup(t, func(b *bundle) {
		b.server.FailedPerMinute = 5
		b.server.TrustedProxies = prefixes("127.0.0.0/8")
	})
	from := func(a string) func(*http.Request) { return header("X-Forwarded-For", a) }
	token := bearer(b.token("keyA"))
	if r := b.do("GET", "/v1/messages", "", token, from("198.51.100.7")); r.StatusCode != 200 {
		t.Fatalf("%d", r.StatusCode)
	}
	wrong := []func(){
		func() { b.do("GET", "/v1/messages", "", as("keyX"), from("198.51.100.7")) },
		func() { b.do("GET", "/v1/messages", "", bearer("x"), from("198.51.100.7")) },
		func() { b.do("POST", "/v1/auth/token", "", as("keyX"), from("198.51.100.7")) },
	}
	for i := range 5 {
		wrong[i%len(wrong)]()
	}
	checks := b.secrets.count()
	for _, r := range []*reply{
		b.do("GET", "/v1/messages", "", as("keyA"), from("198.51.100.7")),
		b.do("GET", "/v1/messages", "", bearer("y"), from("198.51.100.7")),
		b.do("POST", "/v1/auth/token", "", as("keyA"), from("198.51.100.7")),
	} {
		wantProblem(t, r, 429, message.ReasonRateLimitExceeded)
		if r.Header.Get("Retry-After") != "60" {
			t.Errorf("Retry-After %q", r.Header.Get("Retry-After"))
		}
	}
	if b.secrets.count() != checks {
		t.Error("secrets were checked for an address that is held back")
	}
	if r := b.do("GET", "/v1/messages", "", token, from("198.51.100.7")); r.StatusCode != 200 {
		t.Errorf("a token in use: %d", r.StatusCode)
	}
	if r := b.do("GET", "/v1/messages", "", as("keyA"), from("198.51.100.8")); r.StatusCode != 200 {
		t.Errorf("another address: %d", r.StatusCode)
	}
	b.clock.advance(time.Minute)
	if r := b.do("GET", "/v1/messages", "", as("keyA"), from("198.51.100.7")); r.StatusCode != 200 {
		t.Errorf("a minute later: %d", r.StatusCode)
	}
}

func TestTokenTriesAreLimited(t *testing.T) {
	b := setup(t, func(b *bundle) {
		b.server.SignOnsPerMinute = 10
		b.server.TrustedProxies = prefixes("127.0.0.0/8")
	})
	from := func(a string) func(*http.Request) { return header("X-Forwarded-For", a) }
	codes := func(key, address string, n int) string {
		var list []string
		for range n {
			list = append(list, fmt.Sprint(b.do("POST", "/v1/auth/token", "", as(key), from(address)).StatusCode))
		}
		return strings.Join(list, " ")
	}
	if got := codes("keyA", "198.51.100.7", 7); got != "200 200 200 200 200 200 429" {
		t.Errorf("one key: %s", got)
	}
	if got := codes("keyB", "198.51.100.7", 4); got != "200 200 200 429" {
		t.Errorf("one address: %s", got)
	}
	r := b.do("POST", "/v1/auth/token", "", as("keyB"), from("198.51.100.7"))
	wantProblem(t, r, 429, message.ReasonRateLimitExceeded)
	wantLimit(t, r, "10", "0", "60")
	if got := codes("keyA", "198.51.100.8", 1); got != "200" {
		t.Errorf("the key from another address: %s", got)
	}
}

func TestCredentialUsedIsToldOnceAMinute(t *testing.T) {
	used := make(chan message.ID, 100)
	b := setup(t, func(b *bundle) { b.server.CredentialUsed = func(id message.ID) { used <- id } })
	for range 3 {
		b.do("GET", "/v1/messages", "", as("keyA"))
		b.do("GET", "/v1/messages", "", as("keyB"))
		b.do("GET", "/v1/messages", "", as("keyX"))
	}
	b.clock.advance(time.Minute)
	b.do("GET", "/v1/messages", "", as("keyA"))
	close(used)
	var got []message.ID
	for id := range used {
		got = append(got, id)
	}
	if fmt.Sprint(got) != fmt.Sprint([]message.ID{credentialA, credentialB, credentialA}) {
		t.Errorf("told %v", got)
	}
}
