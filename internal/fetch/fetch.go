package fetch

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/secret"
	"github.com/postrider/postrider/internal/webhook"
)

// Defaults and limits of a try. The times are also the most: what is fetched while a message
// waits is tried again rather than waited for.
const (
	ConnectTimeout = 5 * time.Second  // for TCP, and again for TLS
	HeaderTimeout  = 10 * time.Second // from the request to the end of the answer's header, for each redirect again
	TotalTimeout   = 30 * time.Second // from the first connection to the last byte
	MaxRedirects   = 3

	maxHeader   = 64 << 10         // bytes of an answer's header; signed URLs in Location are long
	maxIdle     = 64               // connections kept, over all hosts
	maxIdleHost = 4                // and of one host: the files of one message come from one
	idleTimeout = 30 * time.Second // for which they are kept
)

// Options is what a Fetcher may be given. The zero Options is fit for production.
type Options struct {
	ConnectTimeout time.Duration // 0, or more than the constant: the constant
	HeaderTimeout  time.Duration // 0, or more than the constant: the constant
	TotalTimeout   time.Duration // 0, or more than the constant: the constant
	// Resolver looks names up. Nil: the system's.
	Resolver *net.Resolver
	// Roots are the certificate authorities that servers may use. Nil: the system's.
	Roots *x509.CertPool
	// UserAgent is sent with every request. Empty: Postrider.
	UserAgent string
}

// Fetcher gets files. It holds connections that are reused, so there is one per
// process. Safe for concurrent use.
type Fetcher struct {
	policy    webhook.Policy
	options   Options
	transport *http.Transport
}

// New makes a Fetcher. Policy says which URLs may be called. Close it after the last
// Fetch.
func New(policy webhook.Policy, o Options) *Fetcher {
	o.ConnectTimeout = bounded(o.ConnectTimeout, ConnectTimeout)
	o.HeaderTimeout = bounded(o.HeaderTimeout, HeaderTimeout)
	o.TotalTimeout = bounded(o.TotalTimeout, TotalTimeout)
	if o.UserAgent == "" {
		o.UserAgent = "Postrider"
	}
	dialer := &net.Dialer{Timeout: o.ConnectTimeout, Control: policy.Control, Resolver: o.Resolver}
	return &Fetcher{policy: policy, options: o, transport: &http.Transport{
		// No Proxy: a proxy would dial for us, past the guard.
		DialContext:            dialer.DialContext,
		TLSClientConfig:        &tls.Config{RootCAs: o.Roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    o.ConnectTimeout,
		ResponseHeaderTimeout:  o.HeaderTimeout,
		DisableCompression:     true, // a small answer that unpacks to a large one gains nothing
		MaxResponseHeaderBytes: maxHeader,
		MaxIdleConns:           maxIdle,
		MaxIdleConnsPerHost:    maxIdleHost,
		IdleConnTimeout:        idleTimeout,
	}}
}

func bounded(d, most time.Duration) time.Duration {
	if d <= 0 || d > most {
		return most
	}
	return d
}

// Close drops the idle connections.
func (f *Fetcher) Close() { f.transport.CloseIdleConnections() }

// Credentials are for hosts that want to know who fetches, such as a vendor's for media
// that came in. Bearer goes before Username and Password. They are sent over https
// alone, and only while the request is still at the host and port where it began.
type Credentials struct {
	Hosts    []string // as Request.Hosts; empty: none, so that nothing is sent
	Username string
	Password secret.String
	Bearer   secret.String
}

// Request is one try at one URL.
type Request struct {
	URL string
	// Limit is the most bytes that the file may have, 1 or more.
	Limit int64
	// Credentials are optional.
	Credentials *Credentials
	// Hosts are the ones that may be asked, redirects included: a name stands for itself
	// and for all names below it (twilio.com, not .twilio.com or *.twilio.com), an
	// address for itself. Empty: any that the policy allows.
	Hosts []string
}

// Response is a file on its way. Body ends with io.EOF after the last byte, or with an
// *Error: the file is too large, is cut short, or takes too long. Close it always.
type Response struct {
	Body io.ReadCloser
	// ContentType is what the server calls the file, without parameters and in lower
	// case; empty if it does not, or not readably. It is a claim: what the file is,
	// its bytes tell.
	ContentType string
	// Size is what the server says, at most the limit; -1 if it does not say.
	Size int64
}

// Fetch makes one try. It returns when the answer's header has come; the body comes
// as it is read. All of it takes TotalTimeout at most, and ctx ends it early. The error
// is an *Error, but for a Request that asks for nothing.
func (f *Fetcher) Fetch(ctx context.Context, r Request) (*Response, error) {
	if r.Limit < 1 {
		return nil, fmt.Errorf("fetch: a limit of %d bytes; give 1 or more", r.Limit)
	}
	ctx, cancel := context.WithTimeout(ctx, f.options.TotalTimeout)
	answer, err := f.follow(ctx, r)
	if err != nil {
		cancel()
		return nil, err
	}
	host := answer.Request.URL.Hostname()
	if err := usable(host, answer, r.Limit); err != nil {
		cancel()
		answer.Body.Close()
		return nil, err
	}
	kind, _, _ := mime.ParseMediaType(answer.Header.Get("Content-Type"))
	return &Response{
		ContentType: kind,
		Size:        answer.ContentLength,
		Body: &body{
			r: answer.Body, cancel: cancel, host: host,
			limit: r.Limit, left: r.Limit, timeout: f.options.TotalTimeout,
		},
	}, nil
}

// follow asks until something else than a redirect answers.
func (f *Fetcher) follow(ctx context.Context, r Request) (*http.Response, error) {
	at, no := f.judge(r.URL, r.Hosts)
	if no != nil {
		return nil, no
	}
	origin := at
	for redirects := 0; ; redirects++ {
		credentials := r.Credentials
		if !sameOrigin(origin, at) {
			credentials = nil
			// Also for the rest of the way: who was sent elsewhere and back brings what
			// that place chose.
			origin = nil
		}
		answer, err := f.ask(ctx, at, credentials)
		if err != nil {
			return nil, err
		}
		if !redirected(answer.StatusCode) {
			return answer, nil
		}
		answer.Body.Close()
		if redirects == MaxRedirects {
			return nil, useless(at.Hostname(), "redirects more than "+strconv.Itoa(MaxRedirects)+" times")
		}
		if at, err = f.next(at, answer.Header.Get("Location"), r.Hosts); err != nil {
			return nil, err
		}
	}
}

// judge reads a URL that is to be asked.
func (f *Fetcher) judge(raw string, hosts []string) (*url.URL, *Error) {
	host := webhook.HostOf(raw)
	if err := webhook.ValidateURL(raw, f.policy); err != nil {
		return nil, refused(host, err)
	}
	u, err := url.Parse(raw)
	if err != nil {
		return nil, unsafe("", "the URL cannot be read; give it as https://host/path")
	}
	if len(hosts) > 0 && !among(hosts, host) {
		return nil, unsafe(host, "the host is not one that this media may come from")
	}
	return u, nil
}

// next judges where a redirect leads.
func (f *Fetcher) next(from *url.URL, location string, hosts []string) (*url.URL, error) {
	if location == "" {
		return nil, useless(from.Hostname(), "redirects to nowhere")
	}
	to, err := from.Parse(location)
	if err != nil {
		return nil, useless(from.Hostname(), "redirects to what is no URL")
	}
	if from.Scheme == "https" && to.Scheme != "https" {
		return nil, unsafe(from.Hostname(), "redirects from https to another scheme")
	}
	u, no := f.judge(to.String(), hosts)
	if no != nil {
		// In the name of who redirects: where to is not the business of who asked.
		return nil, elsewhere(from.Hostname(), no)
	}
	return u, nil
}

func (f *Fetcher) ask(ctx context.Context, at *url.URL, c *Credentials) (*http.Response, error) {
	host := at.Hostname()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return nil, unsafe(host, "the URL cannot be read; give it as https://host/path") // err shows all of it
	}
	r.Header.Set("User-Agent", f.options.UserAgent)
	r.Header.Set("Accept", "*/*")
	r.Header.Set("Accept-Encoding", "identity")
	// An owner may have put a user and password of their own into the URL.
	if user := at.User; user != nil {
		password, _ := user.Password()
		r.SetBasicAuth(user.Username(), password)
	}
	if c != nil && at.Scheme == "https" && among(c.Hosts, host) {
		if c.Bearer.Empty() {
			r.SetBasicAuth(c.Username, c.Password.Reveal())
		} else {
			r.Header.Set("Authorization", "Bearer "+c.Bearer.Reveal())
		}
	}
	// By the transport: a client would follow redirects, keep cookies and send a
	// Referer in its own way.
	answer, err := f.transport.RoundTrip(r)
	if err != nil {
		return nil, broken(host, err, f.options.TotalTimeout)
	}
	return answer, nil
}

// among reports whether host is one of hosts, or below one of them.
func among(hosts []string, host string) bool {
	host = canonical(host)
	name := net.ParseIP(host) == nil
	for _, h := range hosts {
		if h = canonical(h); h != "" && (host == h || name && strings.HasSuffix(host, "."+h)) {
			return true
		}
	}
	return false
}

func canonical(host string) string { return strings.ToLower(strings.TrimSuffix(host, ".")) }

// sameOrigin reports whether two URLs have scheme, host and port in common.
func sameOrigin(a, b *url.URL) bool {
	return a != nil && a.Scheme == b.Scheme && canonical(a.Hostname()) == canonical(b.Hostname()) && portOf(a) == portOf(b)
}

func portOf(u *url.URL) string {
	switch p := u.Port(); {
	case p != "":
		return p
	case u.Scheme == "http":
		return "80"
	}
	return "443"
}

func redirected(status int) bool {
	switch status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	}
	return false
}

// usable judges an answer by its header.
func usable(host string, r *http.Response, limit int64) error {
	switch {
	case r.StatusCode != http.StatusOK:
		return answered(host, r.StatusCode)
	case r.ContentLength > limit:
		return tooLarge(host, limit)
	}
	for _, encoding := range r.Header.Values("Content-Encoding") {
		if e := strings.ToLower(strings.TrimSpace(encoding)); e != "" && e != "identity" {
			return useless(host, "sends the file compressed, which it was asked not to")
		}
	}
	return nil
}

// statusText is a status with its name, never with what the server wrote behind it.
func statusText(status int) string {
	return strings.TrimSpace(strconv.Itoa(status) + " " + http.StatusText(status))
}

// body is a file as it comes.
type body struct {
	r           io.ReadCloser
	cancel      context.CancelFunc
	host        string
	limit, left int64
	timeout     time.Duration
	err         error
}

func (b *body) Read(p []byte) (int, error) {
	if b.err != nil || len(p) == 0 {
		return 0, b.err
	}
	// One byte more than may be there tells a file that ends at the limit from one
	// that goes on.
	n, err := b.r.Read(p[:min(int64(len(p)), b.left+1)])
	switch {
	case int64(n) > b.left:
		n, b.err = int(b.left), tooLarge(b.host, b.limit)
	case errors.Is(err, io.EOF):
		b.err = io.EOF
	case errors.Is(err, io.ErrUnexpectedEOF):
		b.err = broken(b.host, errCut, b.timeout)
	case err != nil:
		b.err = broken(b.host, err, b.timeout)
	}
	b.left -= int64(n)
	return n, b.err
}

// Close ends the request, at once if it still runs.
func (b *body) Close() error {
	b.cancel()
	return b.r.Close()
}

var errCut = errors.New("the file is cut short")
