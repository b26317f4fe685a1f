package vendortest

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// HTTPConfig is a vendor with an HTTP API. User and Password are what a request must
// show; Key signs webhooks, see NewTwilio and NewTelnyx.
type HTTPConfig struct {
	User, Password, Key string
	// Hooks is where webhooks go that belong to no submission: the gateway's public URL
	// with the vendor's name or id, as https://gateway/inbound/name. It may be set by
	// SetHooks later.
	Hooks string
	TLS   *tls.Config // nil: none
}

// HTTPVendor is a vendor with an HTTP API on a real socket, which does as it is told.
// It is a Vendor; each kind has its dialect. Safe for concurrent use.
type HTTPVendor struct {
	Script
	dialect dialect
	cfg     HTTPConfig
	ln      net.Listener
	server  http.Server
	done    context.Context // ends with Close
	end     context.CancelFunc
	running sync.WaitGroup

	mu     sync.Mutex
	conns  map[net.Conn]struct{}
	raw    []http.HandlerFunc
	probes int
	sick   int // status of probes; 0: well
	closed bool
}

// dialect is what differs between vendors.
type dialect interface {
	// authorized reports whether a request shows what cfg says.
	authorized(r *http.Request) bool
	// submission reads a submission, and where its status is to be reported; false: the
	// request is none.
	submission(r *http.Request, body []byte) (Came, string, bool)
	// name is the id of the n-th submission.
	name(n int) string
	// reply is the answer to one that is accepted, or refused.
	reply(c Came, kind ReplyKind) (status int, body string)
	// receipt and inbound make the bodies of webhooks, with their type.
	receipt(c Came, state message.ReceiptState) (contentType, body string)
	inbound(m Inbound) (contentType, body string)
	// sign signs a webhook.
	sign(r *http.Request, body string)
	// thanked checks the answer to a webhook that was taken.
	thanked(contentType, body string) error
}

func startHTTP(d dialect, cfg HTTPConfig) (*HTTPVendor, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	v := &HTTPVendor{dialect: d, cfg: cfg, ln: ln, conns: make(map[net.Conn]struct{})}
	v.done, v.end = context.WithCancel(context.Background())
	v.server.Handler = http.HandlerFunc(v.serve)
	v.server.ConnState = v.connState
	v.server.ErrorLog = nil
	if cfg.TLS != nil {
		ln = tls.NewListener(ln, cfg.TLS)
	}
	v.running.Go(func() { _ = v.server.Serve(ln) }) // ends by Close
	return v, nil
}

// URL is where its API is.
func (v *HTTPVendor) URL() string {
	scheme := "http://"
	if v.cfg.TLS != nil {
		scheme = "https://"
	}
	return scheme + v.ln.Addr().String()
}

// SetHooks says where webhooks go, see HTTPConfig.
func (v *HTTPVendor) SetHooks(url string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.cfg.Hooks = url
}

// Do lets the next submissions be served by functions, one for each, before anything
// that Answer was told. They are counted as any other.
func (v *HTTPVendor) Do(serve ...http.HandlerFunc) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.raw = append(v.raw, serve...)
}

// SetSick lets reads of the account fail with a status; 0 ends it.
func (v *HTTPVendor) SetSick(status int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.sick = status
}

// Probes is how often the account was read.
func (v *HTTPVendor) Probes() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.probes
}

// Close ends every connection and waits.
func (v *HTTPVendor) Close() {
	v.mu.Lock()
	v.closed = true
	v.mu.Unlock()
	v.end()
	_ = v.server.Close()
	v.running.Wait()
}

// Binds is 0: there are none.
func (v *HTTPVendor) Binds() int { return 0 }

// CutAll ends every connection without a word.
func (v *HTTPVendor) CutAll() {
	v.mu.Lock()
	defer v.mu.Unlock()
	for c := range v.conns {
		reset(c)
	}
}

func (v *HTTPVendor) connState(c net.Conn, s http.ConnState) {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch s {
	case http.StateNew:
		v.conns[c] = struct{}{}
	case http.StateClosed, http.StateHijacked:
		delete(v.conns, c)
	}
}

func reset(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	_ = c.Close()
}

func (v *HTTPVendor) serve(w http.ResponseWriter, r *http.Request) {
	v.mu.Lock()
	if v.closed {
		v.mu.Unlock()
		return
	}
	v.running.Add(1)
	v.mu.Unlock()
	defer v.running.Done()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	if r.Method == http.MethodGet {
		v.probe(w, r)
		return
	}
	c, callback, ok := v.dialect.submission(r, body)
	switch {
	case !v.dialect.authorized(r):
		w.WriteHeader(http.StatusUnauthorized)
		return
	case !ok:
		w.WriteHeader(http.StatusNotFound)
		return
	}
	c.Ref = callback
	c, reply := v.Arrive(c, v.dialect.name)
	left := sync.OnceFunc(v.Left)
	defer left()
	v.mu.Lock()
	var raw http.HandlerFunc
	if len(v.raw) > 0 {
		raw, v.raw = v.raw[0], v.raw[1:]
	}
	v.mu.Unlock()
	if raw != nil {
		left()
		raw(w, r)
		return
	}
	if !v.held(r, reply.Hold) {
		return
	}
	if reply.First != "" {
		if err := v.SendReceipt(r.Context(), c, reply.First); err != nil {
			w.WriteHeader(http.StatusTeapot) // which fails the test that asked for it
			return
		}
	}
	left()
	v.answer(w, r, c, reply.Kind)
}

// held waits until hold is closed; false: nobody waits for the answer any more.
func (v *HTTPVendor) held(r *http.Request, hold <-chan struct{}) bool {
	if hold == nil {
		return true
	}
	select {
	case <-hold:
		return true
	case <-r.Context().Done():
	case <-v.done.Done():
	}
	return false
}

func (v *HTTPVendor) answer(w http.ResponseWriter, r *http.Request, c Came, kind ReplyKind) {
	switch kind {
	case Silent:
		v.held(r, make(chan struct{}))
		return
	case Cut:
		if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
			reset(conn)
		}
		return
	case Throttle:
		w.Header().Set("Retry-After", "1")
	}
	status, body := v.dialect.reply(c, kind)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

// probe answers a read of the account.
func (v *HTTPVendor) probe(w http.ResponseWriter, r *http.Request) {
	v.mu.Lock()
	v.probes++
	status := v.sick
	v.mu.Unlock()
	switch {
	case status != 0:
	case !v.dialect.authorized(r):
		status = http.StatusUnauthorized
	default:
		status = http.StatusOK
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, `{"data":[]}`)
}

// SendReceipt posts the status of a submission to where it asked for it, or, of one
// that never came, to the vendor's own address.
func (v *HTTPVendor) SendReceipt(ctx context.Context, c Came, state message.ReceiptState) error {
	at, _ := c.Ref.(string)
	if at == "" {
		at = v.hooks()
	}
	kind, body := v.dialect.receipt(c, state)
	return v.Post(ctx, at, kind, body)
}

// SendInbound posts a message of a handset.
func (v *HTTPVendor) SendInbound(ctx context.Context, m Inbound) error {
	kind, body := v.dialect.inbound(m)
	return v.Post(ctx, v.hooks(), kind, body)
}

func (v *HTTPVendor) hooks() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.cfg.Hooks
}

// Webhook makes a signed webhook, without the fragment of its URL.
func (v *HTTPVendor) Webhook(ctx context.Context, at, contentType, body string) (*http.Request, error) {
	at, _, _ = strings.Cut(at, "#")
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, at, bytes.NewReader([]byte(body)))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", contentType)
	v.dialect.sign(r, body)
	return r, nil
}

// hookClient has connections of its own, which do not stay.
var hookClient = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}

// Post sends a signed webhook: nil when it was taken, ErrAskedAgain when it was not
// committed.
func (v *HTTPVendor) Post(ctx context.Context, at, contentType, body string) error {
	r, err := v.Webhook(ctx, at, contentType, body)
	if err != nil {
		return err
	}
	resp, err := hookClient.Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	said, err := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
	switch {
	case err != nil:
		return err
	case resp.StatusCode == http.StatusServiceUnavailable:
		return ErrAskedAgain
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("vendortest: the webhook was answered %d", resp.StatusCode)
	}
	kind, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil {
		return errors.New("vendortest: the answer to the webhook has no type")
	}
	return v.dialect.thanked(kind, string(said))
}
