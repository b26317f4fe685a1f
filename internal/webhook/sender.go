package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// Defaults and limits of a try.
const (
	DefaultTimeout = 15 * time.Second // for the whole try; also the most
	connectTimeout = 5 * time.Second  // for TCP, and again for TLS

	// DefaultPerHost lets a consumer that answers in 100 ms take 160 events a
	// second from one process, and a stuck one hold 16 of its slots.
	DefaultPerHost = 16
	// DefaultHostWait is how long a try waits for its turn before it makes room
	// for other hosts' events.
	DefaultHostWait = time.Second

	maxAnswer       = 1 << 10  // octets of the answer that are read
	maxAnswerHeader = 16 << 10 // octets of its header
	maxIdle         = 512      // connections kept, over all hosts
	idleTimeout     = 60 * time.Second
)

// Config is what a Sender needs. The zero Config is fit for production.
type Config struct {
	// HostWait is how long Send waits while PerHost tries run to the same host,
	// before it answers Busy. 0: DefaultHostWait.
	HostWait time.Duration
	// Now tells the time of day for timestamps and pauses. Nil: time.Now.
	Now func() time.Time
	// PerHost is how many tries run to one host (name and port) at a time, and
	// how many connections it gets. 0: DefaultPerHost.
	PerHost int
	// Policy says which URLs may be called.
	Policy Policy
	// Resolver looks names up. Nil: the system's.
	Resolver *net.Resolver
	// Roots are the certificate authorities that servers may use. Nil: the
	// system's.
	Roots *x509.CertPool
	// Timeout is for a whole try: connecting, sending and reading. 0, or more
	// than DefaultTimeout: DefaultTimeout.
	Timeout time.Duration
	// UserAgent is sent with every request. Empty: Postrider-Webhooks.
	UserAgent string
}

// Sender makes single tries. It holds connections that are reused, so there is
// one per process. Safe for concurrent use.
type Sender struct {
	config Config
	client *http.Client
	hosts  *hosts
}

// NewSender makes a Sender. Close it after the last Send.
func NewSender(c Config) *Sender {
	if c.HostWait <= 0 {
		c.HostWait = DefaultHostWait
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.PerHost <= 0 {
		c.PerHost = DefaultPerHost
	}
	if c.Timeout <= 0 || c.Timeout > DefaultTimeout {
		c.Timeout = DefaultTimeout
	}
	if c.UserAgent == "" {
		c.UserAgent = "Postrider-Webhooks"
	}
	dialer := &net.Dialer{Timeout: connectTimeout, Control: c.Policy.Control, Resolver: c.Resolver}
	transport := &http.Transport{
		// No Proxy: a proxy would dial for us, past the guard.
		DialContext:            dialer.DialContext,
		TLSClientConfig:        &tls.Config{RootCAs: c.Roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    connectTimeout,
		DisableCompression:     true, // a small answer that unpacks to a large one gains nothing
		MaxResponseHeaderBytes: maxAnswerHeader,
		MaxIdleConns:           maxIdle,
		MaxIdleConnsPerHost:    c.PerHost,
		MaxConnsPerHost:        c.PerHost,
		IdleConnTimeout:        idleTimeout,
	}
	return &Sender{
		config: c,
		hosts:  &hosts{limit: c.PerHost, byKey: make(map[string]*host)},
		client: &http.Client{
			Transport: transport,
			// The answer to a redirect is the redirect: following it would
			// hand the event to a place that its owner did not name.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// Close drops the idle connections.
func (s *Sender) Close() { s.client.CloseIdleConnections() }

// Request is one try at one URL.
type Request struct {
	Body      []byte // sent and signed as it is: JSON, or what Format says
	EventID   string // webhook-id
	Format    string // message.FormatTwilio, message.FormatJasmin; empty: JSON
	Method    string // POST or PUT, of FormatJasmin also GET; empty: POST
	OldSecret string // signs as well while an overlap runs; empty: none does
	Quick     bool   // it holds something that others wait for: at a slow host it makes room at once
	Secret    string
	URL       string
}

// ErrMethod is the answer to a Request with a method that its format has not.
var ErrMethod = errors.New("webhook method must be POST or PUT")

// Send makes one try. It may take HostWait and Timeout together; ctx ends it
// early. Everything that goes wrong is in the Result: Send sends at most once,
// and a Result without HTTPStatus does not say that the peer saw nothing.
func (s *Sender) Send(ctx context.Context, r Request) Result {
	req, err := s.request(ctx, r)
	if err != nil {
		return Result{Err: err}
	}
	turn, again, err := s.hosts.enter(ctx, strings.ToLower(req.URL.Host), s.config.Now(), s.config.HostWait, r.Quick)
	if err != nil {
		return Result{Err: explain(req.URL.Hostname(), s.config.Timeout, err), busy: true}
	}
	if turn == nil {
		return Result{RetryAfter: again, busy: true, Err: fmt.Errorf("%s: not tried, the host is busy or asked for a pause", req.URL.Hostname())}
	}
	result := s.try(req)
	if r.Format == message.FormatJasmin {
		result.demand(message.JasminAcknowledgement, req.URL.Hostname())
	}
	pause := time.Duration(0)
	if result.Outcome() == SlowDown {
		pause = defaultPause
		if result.RetryAfter > 0 {
			pause = result.RetryAfter
		}
	}
	s.hosts.leave(turn, s.config.Now(), time.Duration(result.Millis)*time.Millisecond, pause)
	return result
}

// request builds and signs; it judges the URL once more, for a row may be older
// than the policy.
func (s *Sender) request(ctx context.Context, r Request) (*http.Request, error) {
	method := r.Method
	if method == "" {
		method = http.MethodPost
	}
	inQuery := method == http.MethodGet && r.Format == message.FormatJasmin
	if method != http.MethodPost && method != http.MethodPut && !inQuery {
		return nil, ErrMethod
	}
	if err := ValidateURL(r.URL, s.config.Policy); err != nil {
		return nil, err
	}
	body := r.Body
	if inQuery {
		body = nil
	}
	req, err := http.NewRequestWithContext(ctx, method, r.URL, bytes.NewReader(body))
	if err != nil {
		return nil, errors.New("webhook URL cannot be read") // err shows all of it
	}
	req.Header.Set("User-Agent", s.config.UserAgent)
	if err := s.form(req, r, inQuery); err != nil {
		return nil, err
	}
	if err := Sign(req.Header, r.EventID, s.config.Now(), r.Body, r.Secret, r.OldSecret); err != nil {
		return nil, err
	}
	return req, nil
}

func (s *Sender) try(req *http.Request) Result {
	start, timeout := time.Now(), s.config.Timeout
	if deadline, ok := req.Context().Deadline(); ok && deadline.Sub(start) < timeout {
		timeout = max(deadline.Sub(start), 0).Round(100 * time.Millisecond) // the caller's, for the error's words
	}
	ctx, cancel := context.WithTimeout(req.Context(), s.config.Timeout)
	defer cancel()
	resp, err := s.client.Do(req.WithContext(ctx))
	if err != nil {
		return Result{Millis: millisSince(start), Err: explain(req.URL.Hostname(), timeout, err)}
	}
	defer resp.Body.Close()
	// The status is the answer. A body that breaks off or is too long to read
	// changes nothing about it; the connection is then not used again.
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	result := Result{HTTPStatus: resp.StatusCode, Millis: millisSince(start), Body: storable(body)}
	if resp.StatusCode >= 300 {
		result.RetryAfter = retryAfter(resp.Header.Get("Retry-After"), s.config.Now())
	}
	return result
}

func millisSince(start time.Time) int { return int(time.Since(start).Milliseconds()) }

// HostOf gives the host of a URL, for logs and errors: all of it that may be
// shown. What cannot be read is empty.
func HostOf(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	return u.Hostname()
}
