package client

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/client/api"
)

// gateway answers in turn, the last answer again and again, and keeps what it was asked.
type gateway struct {
	*httptest.Server
	answers []http.HandlerFunc

	mu     sync.Mutex // a client that gives up leaves a handler behind
	asked  []*http.Request
	bodies []string
}

func startGateway(t *testing.T, answers ...http.HandlerFunc) *gateway {
	t.Helper()
	g := &gateway{answers: answers}
	g.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		g.mu.Lock()
		g.asked, g.bodies = append(g.asked, r), append(g.bodies, string(body))
		answer := g.answers[min(len(g.asked), len(g.answers))-1]
		g.mu.Unlock()
		answer(w, r)
	}))
	t.Cleanup(g.Close)
	return g
}

func says(status int, kind, body string, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", kind)
		for i := 0; i+1 < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func refuses(status int, body string, headers ...string) http.HandlerFunc {
	return says(status, "application/problem+json", body, headers...)
}

func breaks(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) }

const stored = `{"id":"01a1ffbf-8676-7d35-9c44-0f6f2f1b7e21","status":"accepted"}`

// clientOf gives a client that does not wait but says for how long it would have.
func (g *gateway) clientOf(t *testing.T, change func(*Config)) (*Client, *[]time.Duration) {
	t.Helper()
	var waits []time.Duration
	c := Config{URL: g.URL, Key: "key", Secret: "secret", Wait: func(ctx context.Context, d time.Duration) error {
		waits = append(waits, d)
		return ctx.Err()
	}}
	if change != nil {
		change(&c)
	}
	client, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return client, &waits
}

func send(t *testing.T, c *Client) (*api.SendMessageResponse, error) {
	text := "x"
	return c.SendMessageWithResponse(t.Context(), nil, api.CreateMessage{To: "+13105550117", Body: &text})
}

// A POST that was not answered, or may pass later, is made again as it was, under one key.
func TestRepeats(t *testing.T) {
	g := startGateway(t,
		breaks,
		refuses(429, `{"code":"rate_limit_exceeded","class":"retry"}`, "Retry-After", "3"),
		refuses(409, `{"code":"idempotency_in_progress","class":"retry"}`, "Retry-After", "1"),
		says(502, "text/html", "<h1>Bad Gateway</h1>"),
		says(202, "application/json", stored))
	c, waits := g.clientOf(t, nil)
	got, err := send(t, c)
	if err != nil || got.JSON202 == nil || got.JSON202.Status != api.MessageStatusAccepted {
		t.Fatalf("%+v, %v", got, err)
	}
	key := g.asked[0].Header.Get(HeaderKey)
	for i, r := range g.asked {
		user, secret, _ := r.BasicAuth()
		if r.Header.Get(HeaderKey) != key || key == "" || g.bodies[i] != g.bodies[0] || g.bodies[0] == "" || user != "key" || secret != "secret" {
			t.Errorf("try %d: key %q of %q, body %q, by %s", i+1, r.Header.Get(HeaderKey), key, g.bodies[i], user)
		}
	}
	if len(*waits) != 4 || (*waits)[1] != 3*time.Second || (*waits)[2] != time.Second || (*waits)[0] > firstWait || (*waits)[3] < 3*time.Second || (*waits)[3] > 4*time.Second {
		t.Errorf("waits of %v", *waits)
	}
}

func TestNoRepeats(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer http.HandlerFunc
		tries  int
		patch  bool
	}{
		{"refused", refuses(422, `{"code":"invalid_request","class":"permanent"}`), 1, false},
		{"internal error", refuses(500, `{"code":"internal","class":"retry"}`), 1, false},
		{"other conflict", refuses(409, `{"code":"conflict","class":"permanent"}`), 1, false},
		{"asked to wait too long", refuses(429, `{"code":"quota_exceeded","class":"retry"}`, "Retry-After", "3600"), 1, false},
		{"a change", refuses(503, `{"code":"unavailable","class":"retry"}`), 1, true},
		{"for good unavailable", refuses(503, `{"code":"unavailable","class":"retry"}`), DefaultTries, false},
	} {
		g := startGateway(t, c.answer)
		client, _ := g.clientOf(t, nil)
		_, err := send(t, client)
		if c.patch {
			g.asked = nil
			_, err = client.ChangeMessageWithResponse(t.Context(), "x", api.ChangeMessage{})
		}
		var e *Error
		if !errors.As(err, &e) || len(g.asked) != c.tries {
			t.Errorf("%s: %d tries, %v", c.name, len(g.asked), err)
		}
	}
}

// What ends the wait ends the request; whether it was carried out is not known then.
func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	g := startGateway(t, func(w http.ResponseWriter, r *http.Request) { cancel(); breaks(w, r) })
	client, _ := g.clientOf(t, nil)
	_, err := client.SendMessageWithResponse(ctx, nil, api.CreateMessage{To: "x"})
	var e *Error
	if !errors.As(err, &e) || !errors.Is(err, context.Canceled) || !e.Ambiguous() || e.Retryable() || len(g.asked) != 1 {
		t.Errorf("%v after %d tries", err, len(g.asked))
	}
}

func TestTimeout(t *testing.T) {
	hold := make(chan struct{})
	g := startGateway(t, func(http.ResponseWriter, *http.Request) { <-hold })
	t.Cleanup(func() { close(hold) }) // before the server waits for its handlers
	client, _ := g.clientOf(t, func(c *Config) { c.Timeout, c.Tries = 20*time.Millisecond, 2 })
	_, err := send(t, client)
	var e *Error
	if !errors.As(err, &e) || !e.Ambiguous() || !strings.Contains(err.Error(), "no answer within 20ms") {
		t.Errorf("%v", err)
	}
}

func TestErrorsAreSentences(t *testing.T) {
	for _, c := range []struct {
		answer http.HandlerFunc
		want   string
	}{
		{refuses(422, `{"code":"invalid_request","class":"permanent","title":"Invalid","detail":"to: is required","errors":[{"location":"body.to","message":"is required"},{"location":"body.body","message":"is longer than 1600."}],"request_id":"r1"}`),
			"to: is required; body: is longer than 1600 [invalid_request], request r1"},
		{refuses(422, `{"code":"campaign_inactive","class":"fix_registration","detail":"C8X2KQ1 is suspended.","message_id":"01a1ffbf-8676-7d35-9c44-0f6f2f1b7e21","request_id":"r2"}`),
			"C8X2KQ1 is suspended [campaign_inactive, needs a change at the campaign registry], kept as message 01a1ffbf-8676-7d35-9c44-0f6f2f1b7e21, request r2"},
		{refuses(429, `{"code":"quota_exceeded","class":"retry","title":"Quota is spent","detail":"","request_id":"r3"}`, "Retry-After", "7200"),
			"Quota is spent [quota_exceeded, may pass later], try again in 2h0m0s, request r3"},
		{refuses(422, `{"code":"invalid_request","detail":"Two things","errors":[{"location":"file","message":"line 3 has no to"}]}`), "Two things (file: line 3 has no to) [invalid_request]"},
		{says(404, "text/html", "<h1>nginx"), "HOST answers /v1/messages with 404 and text/html, as the API does not: see whether its URL is right, and whether a proxy answers in its place"},
		{says(200, "text/html", "<h1>log in"), "HOST answers /v1/messages with 200 and text/html, as the API does not: see whether its URL is right, and whether a proxy answers in its place"},
		{says(301, "text/html", "", "Location", "https://gw.example/v1/messages"), "HOST leads to https://gw.example/v1/messages: give that as the URL of the API, if it is right"},
	} {
		g := startGateway(t, c.answer)
		client, _ := g.clientOf(t, nil)
		_, err := send(t, client)
		if err == nil || strings.ReplaceAll(err.Error(), strings.TrimPrefix(g.URL, "http://"), "HOST") != c.want {
			t.Errorf("%v\nwant %s", err, c.want)
		}
	}
}

func TestNowhere(t *testing.T) {
	g := startGateway(t, breaks)
	g.Close()
	client, waits := g.clientOf(t, nil)
	_, err := send(t, client)
	if err == nil || !strings.Contains(err.Error(), "cannot be reached") || strings.Contains(err.Error(), "secret") || len(*waits) != DefaultTries-1 {
		t.Errorf("%v after waits of %v", err, *waits)
	}
}

func TestURLs(t *testing.T) {
	for given, ok := range map[string]bool{
		"https://gw.example": true, "http://127.0.0.1:8080/": true, "https://gw.example/sms": true,
		"": false, "gw.example": false, "ftp://gw.example": false, "https://": false, "https://k:s3cret@gw.example": false, "https://gw.example?x=1": false, "https://gw.example/#a": false,
	} {
		if _, err := New(Config{URL: given}); (err == nil) != ok || err != nil && strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q: %v", given, err)
		}
	}
	// Slashes at the end do no harm.
	g := startGateway(t, says(202, "application/json", stored))
	client, _ := g.clientOf(t, func(c *Config) { c.URL += "/sms/"; c.Token = "jwt" })
	if _, err := send(t, client); err != nil || g.asked[0].URL.Path != "/sms/v1/messages" || g.asked[0].Header.Get("Authorization") != "Bearer jwt" {
		t.Errorf("%v: %v", g.asked, err)
	}
}

func TestRetryAfter(t *testing.T) {
	for given, want := range map[string]time.Duration{"": 0, "x": 0, "-1": 0, "3": 3 * time.Second, "99999999999": 0, "Mon, 02 Jan 2006 15:04:05 GMT": 0} {
		if got := retryAfter(http.Header{"Retry-After": {given}}); got != want {
			t.Errorf("%q: %v, want %v", given, got, want)
		}
	}
	for try := 1; try < 40; try++ {
		if d := backoff(try); d <= 0 || d > mostWait {
			t.Errorf("%v after try %d", d, try)
		}
	}
}
