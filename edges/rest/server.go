package rest

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/postrider/postrider/internal/limit"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// maxBody is the largest body of a request: 1 MiB.
const maxBody = 1 << 20

// Defaults of the fields of Server.
const (
	DefaultMaxConnections   = 4096
	DefaultMaxHeaderBytes   = 16 << 10
	DefaultReadHeader       = 5 * time.Second
	DefaultRead             = 15 * time.Second
	DefaultWrite            = 45 * time.Second
	DefaultIdle             = 120 * time.Second
	DefaultAnswer           = 20 * time.Second
	DefaultFailedPerMinute  = 20
	DefaultSignOnsPerMinute = 120
	DefaultIssuer           = "postrider"
)

// Server is the customers' HTTP edge. Set the fields, then call Handler or
// Serve; a field that is changed afterwards has no effect. The fields without a
// default must be set.
type Server struct {
	// Accounts keeps what customers may see and change of their accounts and numbers. Nil:
	// those operations answer 503, as do those of the other stores that are nil.
	Accounts Accounts
	// Admin is what the internal API under /api/v1 works with. Nil: there is none.
	Admin *Admin
	// AnswerTimeout is how long ingress or the journal may take for one request
	// before it is answered 503. Zero: DefaultAnswer.
	AnswerTimeout time.Duration
	// Audience is the aud claim of access tokens. Empty: the issuer.
	Audience string
	// Away reports whether an error means that the journal cannot be reached now, so that
	// the same request may pass later: it is answered 503. Nil: none does.
	Away func(error) bool
	// Batches keeps batches. Nil: those operations answer 503.
	Batches Batches
	// CapUsed tells how much of a daily cap is used up, and when it begins anew. The
	// key is one of package pace, of a brand or campaign that the caller may see. Nil:
	// used_today and resets_at are null.
	CapUsed func(ctx context.Context, key string) (used int, resets time.Time, err error)
	// CheckURL says whether a customer may name the URL of a webhook, which is an
	// absolute URL without user name; what its error says is shown to the
	// customer. Nil: https on port 443 or 8443, and no address written out that
	// is not public.
	CheckURL func(*url.URL) error
	// Connection is where customers reach the gateway.
	Connection Connection
	// Credentials keeps their API credentials.
	Credentials Credentials
	// CredentialUsed is told, at most once a minute for each, that a credential
	// was used. It must not block. Nil: nobody wants to know.
	CredentialUsed func(credential message.ID)
	// Doors are the interfaces of other gateways that are served beside this one. Nil: none.
	Doors []Door
	// ESMEs keeps their SMPP credentials.
	ESMEs ESMEs
	// FailedPerMinute is how many wrong credentials an address (a /64 in IPv6)
	// may send in a minute before it is held back. Zero:
	// DefaultFailedPerMinute.
	FailedPerMinute int
	// Feed is the events of accounts. Nil: the operation answers 503.
	Feed Feed
	// HashSecret gives the keyed hash of a secret that was made here: Secrets checks what
	// it makes. It must be set where Credentials or Users is.
	HashSecret func(secret string) []byte
	// Hooks takes the webhooks of vendors, under /inbound/ and /status/. The RemoteAddr
	// of a request that it is given is the client's, also behind a trusted proxy. Nil:
	// there are none.
	Hooks http.Handler
	// IdleTimeout ends a kept connection without requests. Zero: DefaultIdle.
	IdleTimeout time.Duration
	// Inbound keeps where inbound messages go, and the messages. Nil: those operations
	// answer 503.
	Inbound Inbound
	// Ingress takes new messages.
	Ingress Ingress
	// Invite hands the link of an invitation over to whoever it is for; what its error says
	// is logged. Nil: nobody can be invited.
	Invite func(ctx context.Context, i Invitation) error
	// Issuer is the iss claim of access tokens. Empty: DefaultIssuer.
	Issuer string
	// Journal answers what customers ask about their messages.
	Journal Journal
	// Limiter counts requests. Nil: one in the memory of this process.
	Limiter Limiter
	// Log gets what goes wrong, and each request at debug. Nil: nothing is
	// logged.
	Log *slog.Logger
	// MaxConnections is how many connections are served at a time; more wait to
	// be accepted. Zero: DefaultMaxConnections.
	MaxConnections int
	// MaxHeaderBytes bounds a request's header. Zero: DefaultMaxHeaderBytes.
	MaxHeaderBytes int
	// Media keeps files. Nil: those operations answer 503, and there is nothing under
	// /media.
	Media Media
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
	// Observe is told of each answer: the operationId of the document (empty if
	// none was found), its status and how long it took. It feeds the histogram
	// api_request_duration_seconds. Nil: nobody wants to know.
	Observe func(operation string, status int, took time.Duration)
	// OptOuts keeps who has stopped whom.
	OptOuts OptOuts
	// Pages are web pages, by the prefix of their paths, such as "/console". The RemoteAddr
	// of a request that they are given is the client's, also behind a trusted proxy. Nil:
	// there are none.
	Pages map[string]http.Handler
	// PagesOnly says that Pages and the probes alone are served to others; the operations
	// are there for the pages of this process. See WithVisitor.
	PagesOnly bool
	// PublicURL is where customers reach this edge, without a slash at the end.
	// It stands in the pages' examples. Empty: http://localhost:8080.
	PublicURL string
	// RateLimited is told when a request was refused for a rate; scope says whose:
	// limit.ScopeKey, ScopeAccount or ScopeNumber for a new message, ScopeRequest for
	// another request. It must not block. Nil: nobody wants to know.
	RateLimited func(account message.ID, scope string)
	// ReadHeaderTimeout, ReadTimeout and WriteTimeout bound one request on its
	// connection. Zero: DefaultReadHeader, DefaultRead, DefaultWrite.
	ReadHeaderTimeout, ReadTimeout, WriteTimeout time.Duration
	// Ready looks at what the process needs. Nil: nothing is looked at.
	Ready func(context.Context) map[string]Check
	// Registry keeps 10DLC brands and campaigns. Nil: those operations answer 503.
	Registry Registry
	// Secrets checks the secrets of API keys.
	Secrets Secrets
	// SignOnsPerMinute is how many access tokens an address may ask for in a
	// minute; one key may use up half of it. Zero: DefaultSignOnsPerMinute.
	SignOnsPerMinute int
	// Snapshot gives the configuration in force.
	Snapshot func() *snapshot.Snapshot
	// TestEndpoint makes one try with a test event at a webhook endpoint, within the time
	// that ctx leaves, and records it. Nil: it is not offered.
	TestEndpoint func(ctx context.Context, account, id message.ID) (message.WebhookTested, error)
	// TestInbound tries the destinations of a number with a message that nobody sent,
	// within the time that ctx leaves. Nil: it is not offered.
	TestInbound func(ctx context.Context, account message.ID, number message.Address) []message.DestinationTest
	// TrustedProxies are the addresses whose X-Forwarded-For is believed.
	TrustedProxies []netip.Prefix
	// Turns bound the passwords that are checked at a time, with whoever else has them.
	// Nil: those of this edge alone.
	Turns limit.Turns
	// Webhooks keeps the endpoints of accounts and what was sent to them. Nil: those
	// operations answer 503.
	Webhooks Webhooks

	// Users keeps who may use the portal for an account.
	Users Users

	once     sync.Once
	handler  http.Handler
	http     http.Server
	log      *slog.Logger
	tokens   tokens // of customers
	internal tokens // of staff and services
	turns    limit.Turns
	recent   *limit.Limiter // when a credential's use was last told
	uploads  uploads
	pollers  pollers
	closing  context.Context // ended by Shutdown, for who waits for events
	close    context.CancelFunc
	bodies   batchBodies
	overview overviewKept
	draining atomic.Bool
}

func (s *Server) now() time.Time {
	if s.Now != nil {
		return s.Now()
	}
	return time.Now()
}

func (s *Server) answerTimeout() time.Duration { return cmp.Or(s.AnswerTimeout, DefaultAnswer) }
func (s *Server) failedPerMinute() int         { return cmp.Or(s.FailedPerMinute, DefaultFailedPerMinute) }
func (s *Server) signOnsPerMinute() int        { return cmp.Or(s.SignOnsPerMinute, DefaultSignOnsPerMinute) }

func (s *Server) checkURL() func(*url.URL) error {
	if s.CheckURL != nil {
		return s.CheckURL
	}
	return publicHTTPS
}

// Handler is the edge without a listener.
func (s *Server) Handler() http.Handler {
	s.once.Do(s.build)
	return s.handler
}

func (s *Server) build() {
	s.log = s.Log
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.Limiter == nil {
		s.Limiter = limit.New(0)
	}
	s.recent = limit.New(0)
	s.closing, s.close = context.WithCancel(context.Background())
	s.tokens.issuer = cmp.Or(s.Issuer, DefaultIssuer)
	s.tokens.audience = cmp.Or(s.Audience, s.tokens.issuer)
	s.tokens.refusal = "the access token is not valid or has expired; ask for a new one at POST /v1/auth/token"
	// An audience of its own keeps the tokens of one API from being taken at the
	// other: the keys are the same.
	s.internal.issuer, s.internal.audience = s.tokens.issuer, s.tokens.audience+internalPrefix
	s.internal.refusal = "the access token is not valid or has expired; ask for a new one at POST " + loginPath
	if s.turns = s.Turns; s.turns == nil {
		s.turns = limit.NewTurns()
	}
	s.handler = s.receive(s.router())
	s.http = http.Server{
		Handler:           s.handler,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		IdleTimeout:       cmp.Or(s.IdleTimeout, DefaultIdle),
		MaxHeaderBytes:    cmp.Or(s.MaxHeaderBytes, DefaultMaxHeaderBytes),
		ReadHeaderTimeout: cmp.Or(s.ReadHeaderTimeout, DefaultReadHeader),
		ReadTimeout:       cmp.Or(s.ReadTimeout, DefaultRead),
		WriteTimeout:      cmp.Or(s.WriteTimeout, DefaultWrite),
	}
}

// Closing is closed when Shutdown begins, for what answers for longer than a moment.
func (s *Server) Closing() <-chan struct{} {
	s.once.Do(s.build)
	return s.closing.Done()
}

// Serve answers on l until Shutdown, then returns nil. It closes l.
func (s *Server) Serve(l net.Listener) error {
	s.once.Do(s.build)
	err := s.http.Serve(bound(l, cmp.Or(s.MaxConnections, DefaultMaxConnections)))
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// Shutdown fails readiness, stops accepting and waits until the requests under
// way are answered; when ctx ends first it cuts them off and returns its error.
// Calling it again is harmless.
func (s *Server) Shutdown(ctx context.Context) error {
	s.once.Do(s.build)
	s.draining.Store(true)
	s.close()
	err := s.http.Shutdown(ctx)
	if err != nil {
		_ = s.http.Close() // the error that matters is that time ran out
	}
	return err
}
