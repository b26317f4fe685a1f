package registry

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/secret"
)

// Client is the campaign registry. An error tells by Uncertain whether what was
// asked may have been done all the same. The calls that read may be repeated; the
// two that file may not, before a look for their reference.
type Client interface {
	// RegisterBrand files a brand and gives the registry's id of it. What the
	// registry finds wrong is ReasonInvalidRequest with the fields; a reference
	// that it has seen is ReasonConflict.
	RegisterBrand(ctx context.Context, b *Brand, reference string) (brandID string, err error)
	// FindBrand gives the id of the brand filed under a reference, empty if there
	// is none.
	FindBrand(ctx context.Context, reference string) (brandID string, err error)
	// Brand reads a brand with its vetting; ReasonNotFound when there is none.
	Brand(ctx context.Context, brandID string) (BrandState, error)
	// SubmitCampaign files a campaign of a brand, as RegisterBrand does.
	SubmitCampaign(ctx context.Context, c *Campaign, brandID, reference string) (campaignID string, err error)
	// FindCampaign is as FindBrand.
	FindCampaign(ctx context.Context, reference string) (campaignID string, err error)
	// Campaign reads a campaign; ReasonNotFound when there is none.
	Campaign(ctx context.Context, campaignID string) (CampaignState, error)
	// Carriers reads what the carriers say of a campaign, by network id.
	Carriers(ctx context.Context, campaignID string) ([]Carrier, error)
}

// Defaults of HTTP.
const (
	DefaultTimeout  = 20 * time.Second
	DefaultTries    = 3
	DefaultMaxPause = 10 * time.Second
	// maxAnswer bounds what is read of an answer: a list of ten campaigns is some
	// hundred kilobytes.
	maxAnswer = 1 << 20
)

// HTTP is a Client of a registry over its REST API. Set the fields before the first
// call; it is then safe for concurrent use.
type HTTP struct {
	// URL is the API's root with its version, such as
	// https://registry.example/v2. Only a loopback address may be plain http.
	URL string
	// Key and Secret are the account's, sent by HTTP Basic.
	Key    string
	Secret secret.String
	// Timeout bounds one try with its answer. Zero: DefaultTimeout.
	Timeout time.Duration
	// Tries bounds how often a call that reads is made. Zero: DefaultTries.
	Tries int
	// MaxPause bounds the wait between two tries, also one that the registry asks
	// for; beyond it the call ends and its error says when. Zero: DefaultMaxPause.
	MaxPause time.Duration
	// Observe is told of each try: the operation and ok, refused, limited, failed
	// or uncertain. Nil: nobody wants to know.
	Observe func(operation, result string)
	// Pause waits; tests set it. Nil: a timer.
	Pause func(ctx context.Context, d time.Duration) error
	// Transport is for tests. Nil: one of its own.
	Transport http.RoundTripper
}

// NewHTTP checks the settings.
func NewHTTP(h HTTP) (*HTTP, error) {
	u, err := url.Parse(h.URL)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("the registry's URL must be such as https://registry.example/v2, without user name and query")
	}
	if u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())) {
		return nil, errors.New("the registry's URL must begin with https://: key and secret go with every request")
	}
	if h.Key == "" || h.Secret.Empty() {
		return nil, errors.New("the registry's key and secret are both needed")
	}
	h.URL = strings.TrimSuffix(h.URL, "/")
	h.Timeout, h.Tries, h.MaxPause = cmp.Or(h.Timeout, DefaultTimeout), cmp.Or(h.Tries, DefaultTries), cmp.Or(h.MaxPause, DefaultMaxPause)
	if h.Pause == nil {
		h.Pause = pause
	}
	if h.Observe == nil {
		h.Observe = func(string, string) {}
	}
	if h.Transport == nil {
		h.Transport = &http.Transport{Proxy: http.ProxyFromEnvironment, DialContext: (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
			TLSHandshakeTimeout: 5 * time.Second, MaxIdleConns: 4, IdleConnTimeout: 30 * time.Second, MaxResponseHeaderBytes: 64 << 10}
	}
	return &h, nil
}

// Close drops kept connections.
func (h *HTTP) Close() {
	if t, ok := h.Transport.(*http.Transport); ok {
		t.CloseIdleConnections()
	}
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// failure is a call that did not end well.
type failure struct {
	refusal   *message.Error
	uncertain bool          // the registry may have done it
	again     bool          // another try may help
	wait      time.Duration // what the registry asks for
}

func (f *failure) Error() string { return f.refusal.Error() }

// Unwrap gives the refusal itself.
func (f *failure) Unwrap() error { return f.refusal }

// RetryAfter is when to come back; 0: the registry did not say.
func (f *failure) RetryAfter() time.Duration { return f.wait }

// Uncertain reports whether what was asked may have been done although there is an
// error: the request left and no answer came that says otherwise.
func Uncertain(err error) bool {
	var f *failure
	return errors.As(err, &f) && f.uncertain
}

// read makes a call that changes nothing, again when that may help.
func (h *HTTP) read(ctx context.Context, operation, path string, into any) error {
	for try := 1; ; try++ {
		err := h.call(ctx, operation, http.MethodGet, path, nil, into)
		var f *failure
		if err == nil || !errors.As(err, &f) || !f.again || try >= h.Tries {
			return err
		}
		wait := max(f.wait, time.Duration(float64(250*time.Millisecond)*float64(int(1)<<try)*(0.75+rand.Float64()/2)))
		if wait > h.MaxPause {
			return err
		}
		if h.Pause(ctx, wait) != nil {
			return err
		}
	}
}

// call makes one try. into is left alone unless the answer is 2xx.
func (h *HTTP) call(ctx context.Context, operation, method, path string, body, into any) error {
	err := h.exchange(ctx, operation, method, path, body, into)
	var f *failure
	result := "ok"
	switch {
	case err == nil:
	case !errors.As(err, &f):
		result = "failed"
	case f.refusal.Reason == message.ReasonRateLimitExceeded:
		result = "limited"
	case f.uncertain && method != http.MethodGet:
		result = "uncertain"
	case f.refusal.Reason == message.ReasonUnavailable:
		result = "failed"
	default:
		result = "refused"
	}
	h.Observe(operation, result)
	return err
}

func (h *HTTP) exchange(ctx context.Context, operation, method, path string, body, into any) error {
	ctx, cancel := context.WithTimeout(ctx, h.Timeout)
	defer cancel()
	var content io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("%s: %w", operation, err)
		}
		content = bytes.NewReader(b)
	}
	request, err := http.NewRequestWithContext(ctx, method, h.URL+path, content)
	if err != nil {
		return fmt.Errorf("%s: %w", operation, err)
	}
	request.SetBasicAuth(h.Key, h.Secret.Reveal())
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", "postrider")
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
		request.GetBody = nil // nothing below sends it a second time
	}
	// The transport alone follows no redirect, which would take the secret elsewhere.
	answer, err := h.Transport.RoundTrip(request)
	if err != nil {
		return lost(operation, err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1))
	if answer.StatusCode/100 != 2 {
		return refused(operation, answer, text)
	}
	switch {
	case err != nil:
		return lost(operation, err)
	case len(text) > maxAnswer:
		return lost(operation, fmt.Errorf("the answer is larger than %d octets", maxAnswer))
	case into == nil:
		return nil
	}
	if err := json.Unmarshal(text, into); err != nil {
		return lost(operation, fmt.Errorf("the answer is not as documented: %w", err))
	}
	return nil
}

// lost is a call without an answer, or with one that cannot be read. Where no
// connection came about, nothing was asked.
func lost(operation string, err error) error {
	var dial *net.OpError
	unasked := errors.As(err, &dial) && dial.Op == "dial"
	return &failure{refusal: message.Because(message.ReasonUnavailable, fmt.Errorf("%s: %w", operation, err), "the campaign registry did not answer"),
		uncertain: !unasked, again: true}
}

// registryError is one of the list that a refusal carries.
type registryError struct {
	Code        int    `json:"code"`
	Field       string `json:"field"`
	Description string `json:"description"`
}

// codeNotFound is the one code of the registry that is documented to mean more than
// "refused": a brand that was deleted.
const codeNotFound = 502

func refused(operation string, answer *http.Response, text []byte) error {
	cause := fmt.Errorf("%s: the registry answered %d", operation, answer.StatusCode)
	var list []registryError
	if json.Unmarshal(text, &list) != nil {
		var one registryError
		if json.Unmarshal(text, &one) == nil && (one.Code != 0 || one.Description != "") {
			list = []registryError{one}
		}
	}
	because := func(r message.Reason, format string, args ...any) *message.Error {
		return message.Because(r, cause, format, args...)
	}
	switch status := answer.StatusCode; {
	case status == http.StatusTooManyRequests:
		return &failure{refusal: because(message.ReasonRateLimitExceeded, "the campaign registry takes no more requests for the moment"), again: true, wait: retryAfter(answer)}
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return &failure{refusal: because(message.ReasonUnavailable, "the campaign registry refuses our key; staff must check REGISTRY_KEY and REGISTRY_SECRET")}
	case status >= 500:
		return &failure{refusal: because(message.ReasonUnavailable, "the campaign registry failed (%d)", status), uncertain: true, again: true, wait: retryAfter(answer)}
	case status/100 == 3:
		return &failure{refusal: because(message.ReasonUnavailable, "the campaign registry redirects; staff must correct REGISTRY_URL")}
	case status == http.StatusNotFound, hasCode(list, codeNotFound):
		return &failure{refusal: because(message.ReasonNotFound, "the campaign registry has no such brand or campaign")}
	case status == http.StatusConflict, isDuplicate(list):
		return &failure{refusal: because(message.ReasonConflict, "the campaign registry has a registration with this reference")}
	}
	return &failure{refusal: invalid(list, cause)}
}

func hasCode(list []registryError, code int) bool {
	for _, e := range list {
		if e.Code == code {
			return true
		}
	}
	return false
}

// isDuplicate knows the refusal of a reference that was used by its field, because
// the number of its code is not documented. Whoever gets it looks for the reference.
func isDuplicate(list []registryError) bool {
	for _, e := range list {
		if strings.EqualFold(e.Field, "referenceId") {
			return true
		}
	}
	return false
}

// maxErrors and maxErrorText bound what is kept of a refusal.
const maxErrors, maxErrorText = 20, 300

// invalid names the fields in our words. What the registry says of them is public:
// it is about what the customer wrote.
func invalid(list []registryError, cause error) *message.Error {
	e := &message.Error{Reason: message.ReasonInvalidRequest, Detail: "the campaign registry refuses the registration", Err: cause}
	for i, r := range list {
		if i == maxErrors {
			break
		}
		says := cmp.Or(clip(r.Description), "is not as the registry wants it")
		field := ourField(r.Field)
		if field == "" {
			e.Detail += ": " + says
			continue
		}
		e.Fields = append(e.Fields, message.FieldError{Location: "body." + field, Message: "the registry says: " + says})
		e.Detail += "; " + field + ": " + says
	}
	return e
}

func clip(s string) string {
	s = strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", ""), "")
	if r := []rune(s); len(r) > maxErrorText {
		return string(r[:maxErrorText]) + "…"
	}
	return s
}

// retryAfter reads the header in its two forms.
func retryAfter(answer *http.Response) time.Duration {
	s := answer.Header.Get("Retry-After")
	if n, err := strconv.Atoi(s); err == nil && n > 0 {
		return time.Duration(min(n, 86_400)) * time.Second
	}
	if at, err := http.ParseTime(s); err == nil {
		return max(0, time.Until(at))
	}
	return 0
}
