package smtpout

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// Config makes a Sender. The zero Config is fit for production.
type Config struct {
	// DialContext connects; nil: net.Dialer, which tries every address of a name.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)
	// Resolver looks mail exchangers up. Nil: the system's.
	Resolver Resolver
	// Roots are the authorities that certificates may come from. Nil: the system's.
	Roots *x509.CertPool
	// Log gets what a person may want to see: connections that are not made at warn,
	// mails at debug. Nil: nothing is logged.
	Log     *slog.Logger
	Metrics Metrics
}

// Metrics are told what happens; each may be nil. They must not block, nor call the
// Sender. Targets are given by name.
type Metrics struct {
	// Answered is called for each recipient of each mail, with why it was not taken ("":
	// it was), and how long the mail took.
	Answered func(target string, reason message.Reason, took time.Duration)
	// Connected is called for each host that was called, with the stage that failed (""
	// none), and how long it took.
	Connected func(target string, failed Stage, took time.Duration)
	// Redialled is called when a kept connection turned out to be dead.
	Redialled func(target string)
	// Open is called with the number of connections, also those being opened or closed,
	// when it changes.
	Open func(target string, connections int)
}

// Sender hands mails over, on connections that it keeps. Make one with New, and one
// for the process: the bounds of a Target hold per Sender. Safe for concurrent use.
type Sender struct {
	cfg Config
	log *slog.Logger

	ctx    context.Context // ends with Close
	cancel context.CancelCauseFunc
	work   sync.WaitGroup // of Sends, and of connections that say goodbye

	mu     sync.Mutex
	closed bool
	pools  map[string]*pool // by the target's name; those in use
}

// New makes a Sender. Close it after the last Send.
func New(cfg Config) *Sender {
	s := &Sender{cfg: cfg, log: cfg.Log, pools: make(map[string]*pool)}
	if s.cfg.DialContext == nil {
		s.cfg.DialContext = new(net.Dialer).DialContext
	}
	if s.cfg.Resolver == nil {
		s.cfg.Resolver = net.DefaultResolver
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	return s
}

// Send hands a mail to the target and says what became of each recipient, in the order of
// m.To. The error is nil when the peer has taken the mail for one recipient at least;
// else it is an *Error, of the recipients' the one that leaves most open: what is
// ambiguous before what may be sent again before what is refused.
//
// Send waits for a connection while Limits.Connections are in use. When ctx ends, or the
// Sender is closed, it returns at once and its connection is closed; a mail whose final
// dot had left is then ambiguous. Only m.Write is waited for.
func (s *Sender) Send(ctx context.Context, t *Target, m Mail) ([]Outcome, error) {
	begin := time.Now()
	f := newFate(t.Name, len(m.To))
	if err := t.Check(); err != nil {
		return s.settle(t, &m, f, misconfigured(t.Name, err), begin)
	}
	if err := m.check(); err != nil {
		return s.settle(t, &m, f, checked(t.Name, err), begin)
	}
	if !s.enter() {
		return s.settle(t, &m, f, lost(StageConnect, ErrClosed), begin)
	}
	defer s.work.Done()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(s.ctx, func() { cancel(ErrClosed) })()
	l, err := s.acquire(ctx, t)
	if err != nil {
		return s.settle(t, &m, f, lost(StageConnect, err), begin)
	}
	err = s.carry(ctx, l, &m, f)
	var link *connectionError
	if ended := whyEnded(ctx); ended != nil && errors.As(err, &link) {
		err = lost(link.stage, ended) // the connection broke because it was to
	}
	return s.settle(t, &m, f, err, begin)
}

// Probe makes a connection of its own to the target, as far as the greeting, EHLO, TLS and
// AUTH, and says goodbye: whether host, certificate and password are right. It sends
// nothing, and waits for no other connection; the peer may count it. The error is an
// *Error.
func (s *Sender) Probe(ctx context.Context, t *Target) error {
	if err := t.Check(); err != nil {
		return misconfigured(t.Name, err)
	}
	if !s.enter() {
		return explain(t.Name, lost(StageConnect, ErrClosed), false)
	}
	defer s.work.Done()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(s.ctx, func() { cancel(ErrClosed) })()
	own := t.clone()
	c, err := s.connect(ctx, &own)
	if err != nil {
		if ended := whyEnded(ctx); ended != nil {
			err = lost(StageConnect, ended)
		}
		return explain(t.Name, err, false)
	}
	c.quit()
	return nil
}

// whyEnded is ErrClosed or the error of ctx; nil: it goes on. What cause a caller had is
// its own.
func whyEnded(ctx context.Context) error {
	if errors.Is(context.Cause(ctx), ErrClosed) {
		return ErrClosed
	}
	return ctx.Err()
}

// enter counts a Send; false: the Sender is closed.
func (s *Sender) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.work.Add(1)
	return true
}

// carry hands the mail over on the lease's connection, or a new one. A kept connection
// that has died, or that the peer closes with 421, has heard nothing of the mail until it
// has answered MAIL; it is replaced once. The lease is given back.
func (s *Sender) carry(ctx context.Context, l *lease, m *Mail, f *fate) error {
	defer s.release(l) // also when m.Write panics
	kept := l.session != nil
	for {
		if l.session == nil {
			c, err := s.connect(ctx, &l.target)
			if err != nil {
				return err
			}
			c.generation = l.generation
			l.session = c
		}
		release := l.session.watch(ctx)
		err := l.session.hand(m, f)
		release()
		if !kept || !l.session.broken || stageOf(err) != StageMAIL || ctx.Err() != nil {
			return err
		}
		l.session.close()
		l.session, kept = nil, false
		if s.cfg.Metrics.Redialled != nil {
			s.cfg.Metrics.Redialled(l.target.Name)
		}
		s.log.Debug("smtp connection was dead", "target", l.target.Name, "error", err)
	}
}

// hand is the whole of one mail's dialogue. What concerns one recipient is in f; the error
// is about all those that have nothing there yet.
func (c *session) hand(m *Mail, f *fate) error {
	if most := c.sizeLimit(); most > 0 && m.Size > most {
		return &Error{
			target: c.target.Name, stage: StageMAIL, reason: message.ReasonMediaRejected,
			why: fmt.Sprintf("the mail has %d octets, the peer takes %d", m.Size, most),
		}
	}
	if _, ok := c.ext["8BITMIME"]; m.Body8Bit && !ok {
		return &Error{target: c.target.Name, stage: StageMAIL, reason: message.ReasonEncodingMismatch, why: "the peer takes no octets above 127"}
	}
	if err := c.begin(m); err != nil {
		return err
	}
	taken := false
	for i, to := range m.To {
		a, err := c.command(StageRCPT, "RCPT TO:<"+to+">")
		switch {
		case err != nil:
			return err
		case a.class() == 2:
			taken = true
		case a.class() == 3 || a.code == 421:
			return c.refusal(StageRCPT, a)
		default:
			f.refuse(i, &refusal{stage: StageRCPT, reply: a, crowd: taken}, false)
		}
	}
	if !taken {
		return nil
	}
	a, err := c.command(StageDATA, "DATA")
	if err != nil {
		return err
	}
	if a.code != 354 {
		return c.refusal(StageDATA, a)
	}
	a, f.onWire, err = c.transfer(m)
	if err != nil {
		return err
	}
	if a.class() != 2 {
		return c.refusal(StageEnd, a)
	}
	f.take(a)
	return nil
}

// fate is what is known of the recipients of a mail.
type fate struct {
	target   string
	outcomes []Outcome
	settled  []bool
	onWire   bool // the final dot has left
}

func newFate(target string, n int) *fate {
	return &fate{target: target, outcomes: make([]Outcome, n), settled: make([]bool, n)}
}

func (f *fate) refuse(i int, no *refusal, onWire bool) {
	f.outcomes[i] = Outcome{
		Code: no.reply.code, Enhanced: no.reply.enhanced, Text: no.reply.text(), Err: answered(f.target, no, onWire),
	}
	f.settled[i] = true
}

// take settles all who were not refused.
func (f *fate) take(a *reply) {
	for i := range f.outcomes {
		if !f.settled[i] {
			f.outcomes[i] = Outcome{Code: a.code, Enhanced: a.enhanced, Text: a.text()}
			f.settled[i] = true
		}
	}
}

// fail settles all who were not refused.
func (f *fate) fail(err error) {
	var no *refusal
	for i := range f.outcomes {
		switch {
		case f.settled[i]:
		case errors.As(err, &no):
			f.refuse(i, no, f.onWire)
		default:
			f.outcomes[i].Err = explain(f.target, err, f.onWire)
			f.settled[i] = true
		}
	}
}

// verdict is Send's error.
func (f *fate) verdict() *Error {
	var worst *Error
	for _, o := range f.outcomes {
		switch {
		case o.Err == nil:
			return nil
		case worst == nil, o.Err.ambiguous && !worst.ambiguous, o.Err.retry && !worst.retry && !worst.ambiguous:
			worst = o.Err
		}
	}
	return worst
}

// settle makes Send's answer, and tells of it.
func (s *Sender) settle(t *Target, m *Mail, f *fate, err error, begin time.Time) ([]Outcome, error) {
	if err != nil {
		f.fail(err)
	}
	took := time.Since(begin)
	for _, o := range f.outcomes {
		if s.cfg.Metrics.Answered != nil {
			var reason message.Reason
			if o.Err != nil {
				reason = o.Err.reason
			}
			s.cfg.Metrics.Answered(t.Name, reason, took)
		}
	}
	no := f.verdict()
	if no == nil && len(f.outcomes) == 0 {
		no = explain(t.Name, err, false) // a mail to nobody
	}
	if no != nil {
		s.log.Debug("mail not taken", "target", t.Name, "from", maskedList{m.From}, "to", maskedList(m.To), "reason", no.reason, "error", no)
		return f.outcomes, no
	}
	s.log.Debug("mail taken", "target", t.Name, "from", maskedList{m.From}, "to", maskedList(m.To), "took", took)
	return f.outcomes, nil
}

// connected tells of a host that was called.
func (s *Sender) connected(t *Target, host string, err error, took time.Duration) {
	if s.cfg.Metrics.Connected != nil {
		s.cfg.Metrics.Connected(t.Name, stageOf(err), took)
	}
	if err == nil {
		s.log.Debug("smtp connection made", "target", t.Name, "host", host, "took", took)
		return
	}
	e := explain(t.Name, err, false)
	s.log.Warn("smtp connection not made", "target", t.Name, "host", host, "configuration", e.configure, "error", e)
}
