// Package client is what Postrider's own programs and tests call the customer API with:
// the generated client of package api, with credentials, with repeats of what is safe to
// repeat, and with every refusal as an *Error.
//
//	c, err := client.New(client.Config{URL: "https://gw.example", Key: key, Secret: secret})
//	sent, err := c.SendMessageWithResponse(ctx, nil, api.CreateMessage{To: "+13105550117", Body: &body})
//	if err == nil {
//		fmt.Println(sent.JSON202.ID)
//	}
package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/postrider/postrider/internal/client/api"
	"github.com/postrider/postrider/internal/client/staffapi"
)

// Defaults and limits.
const (
	// DefaultTimeout is for one try with its whole answer: twice the longest poll of the feed.
	DefaultTimeout = time.Minute
	// DefaultTries is how often a request that may be repeated is made at most. With the
	// waits between them that is some 15 s, which outlasts a restart of the gateway.
	DefaultTries = 6
	// LongestWait is the longest Retry-After that is waited for; a longer one is the answer.
	LongestWait = time.Minute

	firstWait = 500 * time.Millisecond // it doubles
	mostWait  = 8 * time.Second
	maxAnswer = 64 << 20 // octets; a page of 200 messages has less than one
)

// HeaderKey names a request, so that making it again is not a second one.
const HeaderKey = "Idempotency-Key"

// Config is what a Client needs. URL is required; key and secret, or a token, are where the
// operation asks for them.
type Config struct {
	URL         string        // where the API is, without /v1
	Key, Secret string        // of an API credential
	Token       string        // an access token; it is used instead of Key and Secret
	Timeout     time.Duration // of a try; 0: DefaultTimeout
	Tries       int           // 1: nothing is repeated; 0: DefaultTries
	UserAgent   string        // empty: Postrider-Client
	// Transport makes the requests. Nil: one of its own, with the proxy of the environment.
	Transport http.RoundTripper
	// Wait waits between tries. Nil: time passes. It ends early, with its error, when the
	// context does.
	Wait func(context.Context, time.Duration) error
}

// Client calls the API. Its methods give an *Error for each answer that is not 2xx, so the
// member of the documented success is set whenever the error is nil. Safe for concurrent use.
type Client struct {
	*api.ClientWithResponses
	// Staff are operations of the internal API, for a Config with the token of staff.
	Staff *staffapi.ClientWithResponses
}

// New makes a client; it calls nobody. The error says what is wrong with the Config.
func New(c Config) (*Client, error) {
	at, err := url.Parse(c.URL)
	if err != nil || at.Scheme != "https" && at.Scheme != "http" || at.Host == "" {
		return nil, fmt.Errorf("the URL of the API must be like https://gw.example, not %q", shown(c.URL))
	}
	if at.User != nil {
		return nil, errors.New("the URL of the API must hold no key and secret; they are given apart from it")
	}
	if at.RawQuery != "" || at.Fragment != "" {
		return nil, fmt.Errorf("the URL of the API must end before ? and #: %q", shown(c.URL))
	}
	if c.Timeout <= 0 {
		c.Timeout = DefaultTimeout
	}
	if c.Tries <= 0 {
		c.Tries = DefaultTries
	}
	if c.UserAgent == "" {
		c.UserAgent = "Postrider-Client"
	}
	if c.Transport == nil {
		c.Transport = http.DefaultTransport
	}
	if c.Wait == nil {
		c.Wait = wait
	}
	d := &doer{config: c, client: &http.Client{
		Transport: c.Transport,
		// Credentials go nowhere but where they were meant to go.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	base := strings.TrimRight(c.URL, "/")
	customer, err := api.NewClientWithResponses(base, api.WithHTTPClient(d))
	if err != nil {
		return nil, err
	}
	staff, err := staffapi.NewClientWithResponses(base, staffapi.WithHTTPClient(d))
	if err != nil {
		return nil, err
	}
	return &Client{ClientWithResponses: customer, Staff: staff}, nil
}

// NewKey makes an Idempotency-Key that nobody has used.
func NewKey() string { return uuid.NewString() }

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// doer makes the requests of the generated clients.
type doer struct {
	config Config
	client *http.Client
}

// Do makes a request, again if it failed in a way that may pass and is safe to repeat: a
// read, or a POST, which gets an Idempotency-Key if it has none. The answer is 2xx, with
// its body read; all else is an error.
func (d *doer) Do(req *http.Request) (*http.Response, error) {
	if req.Method == http.MethodPost && req.Header.Get(HeaderKey) == "" {
		req.Header.Set(HeaderKey, NewKey())
	}
	req.Header.Set("User-Agent", d.config.UserAgent)
	switch {
	case d.config.Token != "":
		req.Header.Set("Authorization", "Bearer "+d.config.Token)
	case d.config.Key != "":
		req.SetBasicAuth(d.config.Key, d.config.Secret)
	}
	safe := req.Method != http.MethodPatch && (req.Body == nil || req.GetBody != nil)
	for try := 1; ; try++ {
		resp, failed := d.try(req, try)
		if failed == nil {
			return resp, nil
		}
		pause := backoff(try)
		if failed.RetryAfter > 0 {
			pause = failed.RetryAfter
		}
		if !safe || try >= d.config.Tries || !failed.Retryable() || failed.RetryAfter > LongestWait {
			return nil, failed
		}
		if err := d.config.Wait(req.Context(), pause); err != nil {
			return nil, failed.during(err)
		}
	}
}

// backoff is the wait after so many tries: doubled each time, by chance up to a fifth less,
// so that clients that failed together do not come back together.
func backoff(tries int) time.Duration {
	d := min(firstWait<<min(tries-1, 10), mostWait)
	return d - time.Duration(rand.Int64N(int64(d)/5))
}

func (d *doer) try(req *http.Request, number int) (*http.Response, *Error) {
	ctx, cancel := context.WithTimeout(req.Context(), d.config.Timeout)
	defer cancel()
	one := req.Clone(ctx)
	if number > 1 && req.GetBody != nil {
		body, err := req.GetBody()
		if err != nil {
			return nil, &Error{Cause: err}
		}
		one.Body = body
	}
	resp, err := d.client.Do(one)
	if err != nil {
		return nil, d.unanswered(req, err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return nil, d.unanswered(req, err)
	}
	if len(body) > maxAnswer {
		return nil, &Error{Status: resp.StatusCode, Cause: fmt.Errorf("%s answers with more than %d octets", req.URL.Host, maxAnswer)}
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return nil, refusal(req, resp, body)
	}
	if strings.Contains(resp.Header.Get("Content-Type"), "text/html") { // no operation gives it, every proxy does
		return nil, notOurs(req, resp)
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, nil
}

// unanswered is the error of a try that had no whole answer.
func (d *doer) unanswered(req *http.Request, err error) *Error {
	if ended := req.Context().Err(); ended != nil {
		return &Error{Cause: ended, Unanswered: true}
	}
	var u *url.Error
	if errors.As(err, &u) { // it repeats method and URL
		err = u.Err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("no answer within %v", d.config.Timeout)
	}
	return &Error{Cause: fmt.Errorf("%s cannot be reached: %w", req.URL.Host, err), Unanswered: true}
}

// retryAfter reads the header: seconds, or a time, of which what is left by this clock.
func retryAfter(h http.Header) time.Duration {
	given := h.Get("Retry-After")
	if n, err := strconv.ParseInt(given, 10, 32); err == nil && n > 0 {
		return time.Duration(n) * time.Second
	}
	if at, err := http.ParseTime(given); err == nil {
		return max(0, time.Until(at))
	}
	return 0
}

// shown is what was given, as much of it as an error repeats.
func shown(s string) string {
	if len(s) > 100 {
		s = s[:100] + "…"
	}
	return s
}
