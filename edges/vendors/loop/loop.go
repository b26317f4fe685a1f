// Package loop is the vendor that stands for the gateway itself: a message to a number
// of ours comes in again as a message from a handset does, and is delivered, by its
// receipt, once it is committed for the one it is for.
//
// Nothing is in doubt here. The message that comes in has the id of the one that goes
// out, so a submit that is repeated, because its answer or its receipt was lost, finds
// the message there and makes no second one.
package loop

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/postrider/postrider/edges/vendors"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

const (
	// window is how many messages are on their way at once: each is a few commits.
	window = 32
	// idleDelay is when a message may come again that the link could not take.
	idleDelay = time.Second
	// submitTimeout bounds the commits of one message.
	submitTimeout = 20 * time.Second
	// averageOf is over how many submits the time of one is averaged.
	averageOf = 16
)

// Types of number as SMPP 3.4 §5.2.5 has them.
const (
	tonInternational = 1
	tonShort         = 3
	tonAlphanumeric  = 5
)

// Config says who takes what comes out of the loop.
type Config struct {
	Vendor snapshot.Vendor
	// Enabled reports whether the number is somebody's and takes messages of the kind.
	Enabled   func(number message.Address, kind message.Kind) bool
	OnInbound vendors.OnInbound
	OnReceipt vendors.OnReceipt
	Now       func() time.Time // nil: time.Now
}

// Link is the loop. Make it with New. Safe for concurrent use.
type Link struct {
	cfg    Config
	bucket vendors.Bucket

	mu       sync.Mutex
	share    vendors.Share
	started  time.Time // zero: not yet
	stopping bool
	inFlight int
	changed  chan struct{} // closed and made anew when something changes
	average  time.Duration // of a submit
	recent   [10]second    // what was taken
	lastErr  string
}

// second is how many messages were taken in one.
type second struct {
	at int64 // Unix
	n  int
}

// New makes the link of the internal vendor.
func New(cfg Config) (*Link, error) {
	if cfg.Enabled == nil || cfg.OnInbound == nil || cfg.OnReceipt == nil {
		return nil, errors.New("loop: nobody takes its messages")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Link{cfg: cfg, changed: make(chan struct{})}, nil
}

// Whole reports true: texts are not cut on their way from us to us.
func (l *Link) Whole() bool { return true }

// Repeats is false: what becomes of a try that was cut off its receipt says.
func (l *Link) Repeats() bool { return false }

// Start makes the link ready. There is nothing to be bound.
func (l *Link) Start(context.Context) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.started.IsZero() {
		l.started = l.cfg.Now()
	}
	l.changeLocked()
}

// Stop takes no more messages and waits for those on their way until ctx ends.
func (l *Link) Stop(ctx context.Context) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stopping = true
	l.changeLocked()
	for l.inFlight > 0 {
		if err := l.waitLocked(ctx); err != nil {
			return
		}
	}
}

// SetShare says whether, and how fast, the loop may be used.
func (l *Link) SetShare(s vendors.Share) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.share = s
	if s.Binds > 0 { // without a share the rate stays: none would be one without a limit
		l.bucket.SetRate(s.Rate)
	}
	l.changeLocked()
}

// Room is how many more messages could be taken at once.
func (l *Link) Room() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.roomLocked()
}

// Wait is how long a message of the class would wait for the share's rate.
func (l *Link) Wait(class message.Class) time.Duration { return l.bucket.Wait(class) }

func (l *Link) roomLocked() int {
	if !l.openLocked() {
		return 0
	}
	return max(0, window-l.inFlight)
}

func (l *Link) openLocked() bool { return !l.started.IsZero() && !l.stopping && l.share.Binds > 0 }

// WaitReady blocks until Room is positive or ctx ends.
func (l *Link) WaitReady(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.roomLocked() == 0 {
		if err := l.waitLocked(ctx); err != nil {
			return err
		}
	}
	return nil
}

// waitLocked waits for a change, without the lock.
func (l *Link) waitLocked(ctx context.Context) error {
	changed := l.changed
	l.mu.Unlock()
	defer l.mu.Lock()
	select {
	case <-changed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l *Link) changeLocked() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// Status is a snapshot for health pages and metrics.
func (l *Link) Status() vendors.LinkStatus {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := vendors.LinkStatus{Bind: "disconnected", Since: l.started, InFlight: l.inFlight, Share: l.share, SlowestMilli: int(l.average.Milliseconds()), LastError: l.lastErr}
	if l.openLocked() {
		s.Bind, s.Binds = "connected", 1
	}
	now, n := l.cfg.Now().Unix(), 0
	for _, r := range l.recent {
		if now-r.at < int64(len(l.recent)) {
			n += r.n
		}
	}
	s.Throughput = float64(n) / float64(len(l.recent))
	return s
}

// Submit commits the message for the one that it is for, and then its receipt. The
// errors are final when the number takes no messages; any other may be tried again.
func (l *Link) Submit(ctx context.Context, s message.Submission) (message.SubmitResult, error) {
	if err := l.enter(ctx, s.Class); err != nil {
		return message.SubmitResult{}, err
	}
	began := l.cfg.Now()
	result, err := l.submit(ctx, s)
	l.leave(began, err)
	return result, err
}

// enter takes a place in the window, and a token of the rate.
func (l *Link) enter(ctx context.Context, class message.Class) error {
	l.mu.Lock()
	for l.openLocked() && l.inFlight >= window {
		if err := l.waitLocked(ctx); err != nil {
			l.mu.Unlock()
			return later(message.ReasonVendorUnreachable, "the wait for the loop ended", err)
		}
	}
	if !l.openLocked() {
		l.mu.Unlock()
		return later(message.ReasonVendorUnreachable, "the loop may not be used here", nil)
	}
	l.inFlight++
	l.mu.Unlock()
	if err := l.bucket.Take(ctx, class, 1, nil); err != nil {
		l.mu.Lock()
		l.inFlight--
		l.changeLocked()
		l.mu.Unlock()
		return later(message.ReasonVendorThrottled, "the loop's rate leaves no room in time", err)
	}
	return nil
}

func (l *Link) leave(began time.Time, err error) {
	now := l.cfg.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inFlight--
	l.changeLocked()
	if err != nil {
		l.lastErr = string(reasonOf(err))
		return
	}
	l.average += (now.Sub(began) - l.average) / averageOf
	slot := &l.recent[now.Unix()%int64(len(l.recent))]
	if slot.at != now.Unix() {
		*slot = second{at: now.Unix()}
	}
	slot.n++
}

func (l *Link) submit(ctx context.Context, s message.Submission) (message.SubmitResult, error) {
	m := l.inbound(s)
	switch now := m.ReceivedAt; {
	case !s.ExpiresAt.IsZero() && !s.ExpiresAt.After(now):
		return message.SubmitResult{}, &message.SubmitError{Reason: message.ReasonExpired, Detail: "validity ended before the submit"}
	case !l.cfg.Enabled(s.To, m.Kind):
		return message.SubmitResult{}, &message.SubmitError{Reason: message.ReasonUnknownSubscriber, Written: true, Answered: true, Detail: "the number takes no messages"}
	}
	if err := s.Allowed(); err != nil {
		return message.SubmitResult{}, err
	}
	// What has begun is ended, whoever goes: repeated it would do no harm, but it would
	// have to be.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), submitTimeout)
	defer cancel()
	if err := l.cfg.OnInbound(ctx, m); err != nil {
		return message.SubmitResult{}, later(message.ReasonVendorUnreachable, "the message could not be committed", err)
	}
	id := message.Hex32(s.MessageID)
	r := message.Receipt{ID: message.NewID(), VendorID: l.cfg.Vendor.ID, VendorMessageID: message.NormalizeVendorID(id), Attempt: s.Ref(), State: message.ReceiptDelivered,
		Err: "000", Source: s.To.Digits(), Destination: s.From.Digits(), DoneAt: m.ReceivedAt, ReceivedAt: m.ReceivedAt}
	if err := l.cfg.OnReceipt(ctx, r); err != nil {
		return message.SubmitResult{}, later(message.ReasonVendorUnreachable, "the receipt could not be committed", err)
	}
	return message.SubmitResult{VendorMessageID: id, NormalizedID: message.NormalizeVendorID(id)}, nil
}

// inbound is the submission as it comes in again.
func (l *Link) inbound(s message.Submission) message.InboundMessage {
	m := message.InboundMessage{
		VendorID: l.cfg.Vendor.ID, VendorRef: message.Hex32(s.MessageID), From: s.From.Digits(), FromTON: tonOf(s.From), To: s.To.Digits(), ToTON: tonOf(s.To),
		Kind: message.SMS, Subject: s.Subject, Text: s.Text, Encoding: s.Encoding, DataCoding: s.DataCoding, Header: s.Header, ReceivedAt: l.cfg.Now(),
	}
	if s.Encoding == message.EncodingBinary {
		m.Text, m.Raw = "", []byte(s.Text)
	}
	for _, f := range s.Media {
		m.Media = append(m.Media, message.InboundMedia{URL: f.URL, ContentType: f.ContentType, Size: f.Size})
	}
	if len(s.Media) > 0 || s.Subject != "" {
		m.Kind = message.MMS
	}
	return m
}

func tonOf(a message.Address) byte {
	switch a.Kind() {
	case message.E164:
		return tonInternational
	case message.ShortCode:
		return tonShort
	}
	return tonAlphanumeric
}

// later is an error after which the same message may come again: nothing is doubled by
// that.
func later(reason message.Reason, detail string, err error) error {
	return &message.SubmitError{Reason: reason, Detail: detail, Again: true, After: idleDelay, Err: err}
}

func reasonOf(err error) message.Reason {
	var no *message.SubmitError
	if errors.As(err, &no) {
		return no.Reason
	}
	return message.ReasonInternal
}
