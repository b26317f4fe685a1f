package httpvendor

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/snapshot"
)

const (
	// connectTimeout bounds the connection and the TLS handshake, each.
	connectTimeout = 5 * time.Second
	// defaultAnswer is how long a vendor may take whose row says nothing: from the
	// request to the end of its answer.
	defaultAnswer = 30 * time.Second
	// maxAnswer is how much of an answer is read: 256 KiB. What is longer is no answer
	// to a message.
	maxAnswer = 256 << 10
	// idleTimeout is how long a connection is kept without a request. A request on a
	// connection that the vendor closes at that moment is one of which nobody knows; a
	// new connection costs less.
	idleTimeout = 15 * time.Second
)

// api is a vendor's API with the credentials for it. Safe for concurrent use.
type api struct {
	spec   Spec
	vendor *snapshot.Vendor
	base   string
	test   string // path of the probe
	client *http.Client
}

// newAPI checks the vendor's row. The error names the field; it never holds a
// secret.
func newAPI(spec Spec, v *snapshot.Vendor) (*api, error) {
	a := &api{spec: spec, vendor: v}
	var err error
	if a.base, err = baseURL(spec, v); err == nil {
		a.test, err = fill(spec.Probe, v)
	}
	if err == nil && v.Password == "" {
		err = errors.New("password is needed")
	}
	if err == nil && spec.Auth == Basic && v.Username == "" {
		err = errors.New("username is needed")
	}
	if err != nil {
		return nil, fmt.Errorf("vendor %s: %w", v.Name, err)
	}
	secure := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: v.ServerName}
	if v.TLSCA != "" {
		secure.RootCAs = x509.NewCertPool()
		if !secure.RootCAs.AppendCertsFromPEM([]byte(v.TLSCA)) {
			return nil, fmt.Errorf("vendor %s: tls_ca holds no PEM certificate", v.Name)
		}
	}
	// HTTP/1.1: one request a connection, so that what was written of a request is
	// known when its connection ends.
	one := new(http.Protocols)
	one.SetHTTP1(true)
	a.client = &http.Client{
		Transport: &http.Transport{
			DialContext:         (&net.Dialer{Timeout: connectTimeout}).DialContext,
			TLSClientConfig:     secure,
			TLSHandshakeTimeout: connectTimeout,
			MaxIdleConnsPerHost: window(v),
			IdleConnTimeout:     idleTimeout,
			Protocols:           one,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return a, nil
}

func (a *api) close() { a.client.CloseIdleConnections() }

func (a *api) timeout() time.Duration {
	if a.vendor.ResponseTimeout > 0 {
		return a.vendor.ResponseTimeout
	}
	return defaultAnswer
}

// answer is what came of a request.
type answer struct {
	written bool // some of it may have reached the vendor
	status  int  // 0: no answer came
	header  http.Header
	body    []byte
	cut     error // the body is not whole; nil: it is
	err     error // why no answer came
}

// do makes one request and reads its answer within the vendor's time.
func (a *api) do(ctx context.Context, method, path, contentType string, body []byte) answer {
	ctx, cancel := context.WithTimeout(ctx, a.timeout())
	defer cancel()
	var out answer
	// Written is what may be on the wire: the transport tries another connection only
	// when nothing was written on the one before, and has ended its writing when it
	// returns an error.
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn:      func(httptrace.GotConnInfo) { out.written = false },
		WroteHeaders: func() { out.written = true },
	})
	req, err := http.NewRequestWithContext(ctx, method, a.base+path, bytes.NewReader(body))
	if err != nil {
		return answer{err: errors.New("the request cannot be made")}
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "postrider")
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	if a.spec.Auth == Bearer {
		req.Header.Set("Authorization", "Bearer "+a.vendor.Password)
	} else {
		req.SetBasicAuth(a.vendor.Username, a.vendor.Password)
	}
	resp, err := a.client.Do(req)
	if err != nil {
		var outer *url.Error // its text repeats the URL
		if errors.As(err, &outer) {
			err = outer.Err
		}
		out.err = err
		return out
	}
	defer func() { _ = resp.Body.Close() }()
	out.status, out.header = resp.StatusCode, resp.Header
	if out.body, out.cut = io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1)); len(out.body) > maxAnswer {
		out.body, out.cut = nil, errors.New("the answer is too long")
	}
	return out
}

// submit posts the request for a message.
func (a *api) submit(ctx context.Context, r encoded) answer {
	return a.do(ctx, http.MethodPost, r.path, r.contentType, r.body)
}

// probe reads something that only the account can read. What it says holds no
// secret.
func (a *api) probe(ctx context.Context) (string, error) {
	got := a.do(ctx, http.MethodGet, a.test, "", nil)
	switch {
	case got.err != nil:
		return "", got.err
	case got.status == http.StatusUnauthorized, got.status == http.StatusForbidden:
		return "", fmt.Errorf("HTTP %d: the vendor refuses the credentials%s", got.status, a.codeOf(got.body, ", code "))
	case got.status < 200 || got.status > 299:
		return "", fmt.Errorf("HTTP %d%s", got.status, a.codeOf(got.body, ", code "))
	case got.cut != nil:
		return "", got.cut
	case !json.Valid(got.body):
		return "", fmt.Errorf("HTTP %d, and not JSON: base_url leads elsewhere", got.status)
	}
	return fmt.Sprintf("HTTP %d, the account can be read", got.status), nil
}

// codeOf is the code in a body behind a text, or nothing without one.
func (a *api) codeOf(body []byte, before string) string {
	if code := lookup(body, a.spec.Code); code != "" {
		return before + code
	}
	return ""
}

// encoded is a request that is ready to be written.
type encoded struct {
	path        string
	contentType string
	body        []byte
}

func (a *api) encode(r Request) (encoded, error) {
	path, err := fill(r.Path, a.vendor)
	if err != nil {
		return encoded{}, err
	}
	if r.Form != nil {
		return encoded{path, "application/x-www-form-urlencoded", []byte(r.Form.Encode())}, nil
	}
	body, err := json.Marshal(r.JSON)
	return encoded{path, "application/json", body}, err
}

// maxCode bounds an id or a code that a vendor gives.
const maxCode = 64

// lookup finds a string or a number in JSON; empty when it is not there. Codes come
// as either.
func lookup(body []byte, path string) string {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var at any
	if d.Decode(&at) != nil {
		return ""
	}
	for name := range strings.SplitSeq(path, ".") {
		switch in := at.(type) {
		case map[string]any:
			at = in[name]
		case []any:
			i, err := strconv.Atoi(name)
			if err != nil || i < 0 || i >= len(in) {
				return ""
			}
			at = in[i]
		default:
			return ""
		}
	}
	switch v := at.(type) {
	case string:
		return clean(v, maxCode)
	case json.Number:
		return clean(v.String(), maxCode)
	}
	return ""
}

// clean makes a vendor's string fit to be stored: valid, bounded, without control
// characters.
func clean(s string, n int) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == '\uFFFD' || r == 0x7F {
			return -1
		}
		return r
	}, s)
	if len(s) > n {
		s = strings.ToValidUTF8(s[:n], "")
	}
	return strings.TrimSpace(s)
}
