// Package mm4 is the link to a vendor that takes MMS over MM4 (3GPP TS 23.140 §8.4): a
// mail for each message, and the vendor's answer to it, which is a mail of its own that
// comes to the gateway's server, to whichever process. The journal brings the two
// together: the server commits answers, and the link looks for those that it waits for.
//
// A mail that the vendor has taken (250) and not answered is sent once more, with the
// same ids, by which the vendor knows it; so is one of which nobody knows whether it was
// taken.
//
// The rule not to break: what may have been taken and was not answered is ambiguous, and
// nothing with new ids leaves from here for it.
package mm4

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/postrider/postrider/edges/vendors"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/mm4out"
	"github.com/postrider/postrider/internal/smtpout"
	"github.com/postrider/postrider/internal/snapshot"
)

// Name is the provider_type of such vendors.
const Name = "mm4"

const (
	// DefaultWindow is how many messages wait for their answers when the vendor's row says
	// nothing. An answer may take minutes.
	DefaultWindow = 50
	// DefaultWait is how long an answer is waited for, each of two times: peers answer
	// within 10 to 30 min, or never.
	DefaultWait = 20 * time.Minute
	// DefaultPoll is how often answers are looked for while a message waits that went a
	// moment ago; slowPoll is it when all have waited for longer.
	DefaultPoll = 250 * time.Millisecond
	slowPoll    = 2 * time.Second
	freshFor    = 10 * time.Second
	// connections is how many mails go to a vendor at once from this process.
	connections = smtpout.DefaultConnections
	// placeWait is how long a message waits for a place among those that wait for their
	// answers, and for a connection: then another vendor may have its turn.
	placeWait = 30 * time.Second
	// sendTimeout bounds one dialogue: the answer to a final dot may take 10 min (RFC 5321
	// §4.5.3.2.6). With two waits, and each mail twice, a submit ends within 64 min; see
	// policy.SubmitTime.
	sendTimeout = 12 * time.Minute
	// command bounds the answer to one command. RFC 5321 §4.5.3.2 asks for five minutes of
	// a mail that nobody waits for; here the next vendor does.
	command = time.Minute
)

// Answers has what vendors have answered.
type Answers interface {
	// TakeMM4Answers gives those of the attempts that are answered, once.
	TakeMM4Answers(ctx context.Context, vendor message.ID, attempts []message.AttemptRef) ([]message.MM4Answer, error)
}

// Config is what the links of all vendors of the kind share.
type Config struct {
	Own mm4out.System
	// Peer finds the row that says what the vendor's side is called; it may find nil.
	Peer    func(vendor message.ID) *snapshot.MM4Peer
	Store   mm4out.Store // of the files; nil: this process has none
	Answers Answers
	// ReadAsked tells whether the sender of a message wants to hear when it was read; nil:
	// nobody does.
	ReadAsked func(context.Context, message.ID) (bool, error)
	Log       *slog.Logger // nil: nothing is logged
	// Retry is as in vendors.GateConfig. Wait and Poll: 0 is DefaultWait and DefaultPoll.
	Retry, Wait, Poll time.Duration
	// Now is the clock by which messages expire; nil: time.Now.
	Now func() time.Time
}

// Kind is the kind of vendor.
func Kind(cfg Config) vendors.Kind {
	return vendors.Kind{
		Requests: true,
		New: func(v *snapshot.Vendor) (vendors.Link, error) {
			l, err := New(cfg, v)
			if err != nil {
				return nil, err
			}
			return l, nil
		},
		Test: cfg.test,
	}
}

// test makes a connection as far as AUTH, and says goodbye.
func (cfg Config) test(ctx context.Context, v *snapshot.Vendor) (string, error) {
	to, err := mm4out.VendorPeer(v, cfg.peer(v.ID), cfg.Own)
	if err != nil {
		return "", err
	}
	sender := smtpout.New(smtpout.Config{})
	defer sender.Close()
	to.Target.Limits.Command = command
	if err := sender.Probe(ctx, &to.Target); err != nil {
		return "", err
	}
	detail := "the mail server lets us in"
	if v.UseTLS {
		detail += ", over TLS"
	}
	if cfg.Peer != nil && cfg.peer(v.ID) == nil {
		detail += "; it has no row among the MM4 peers, so its answers, reports and messages are not taken"
	}
	return detail, nil
}

func (cfg Config) peer(vendor message.ID) *snapshot.MM4Peer {
	if cfg.Peer == nil {
		return nil
	}
	return cfg.Peer(vendor)
}

// Link is a vendors.Link over MM4. Make one with New; it is safe for concurrent use. A
// changed vendor row needs a new Link; what its peer is called is asked for each message.
type Link struct {
	*vendors.Gate
	cfg    Config
	vendor *snapshot.Vendor
	sender *smtpout.Sender
	lines  chan struct{} // of connections; a token is a mail on its way

	mu      sync.Mutex
	waiting map[message.AttemptRef]*waiter
	looking bool // a goroutine looks for answers
	looks   sync.WaitGroup
}

// New checks the vendor's row. The error names the field; it never holds a secret.
func New(cfg Config, v *snapshot.Vendor) (*Link, error) {
	if cfg.Answers == nil {
		return nil, fmt.Errorf("vendor %s: this process does not hear of its answers", v.Name)
	}
	if _, err := mm4out.VendorPeer(v, nil, cfg.Own); err != nil {
		return nil, err
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Wait <= 0 {
		cfg.Wait = DefaultWait
	}
	if cfg.Poll <= 0 {
		cfg.Poll = DefaultPoll
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	cfg.Log = cfg.Log.With("vendor", v.Name)
	l := &Link{cfg: cfg, vendor: v, lines: make(chan struct{}, connections), waiting: make(map[message.AttemptRef]*waiter)}
	l.sender = smtpout.New(smtpout.Config{Log: cfg.Log})
	l.Gate = vendors.NewGate(vendors.GateConfig{Window: window(v), PlaceWait: placeWait, Retry: cfg.Retry, Log: cfg.Log, Probe: l.probe})
	return l, nil
}

func window(v *snapshot.Vendor) int {
	if v.Window > 0 {
		return v.Window
	}
	return DefaultWindow
}

func (l *Link) target() (mm4out.Peer, error) {
	to, err := mm4out.VendorPeer(l.vendor, l.cfg.peer(l.vendor.ID), l.cfg.Own)
	to.Target.Limits = smtpout.Limits{Connections: connections, Command: command}
	return to, err
}

func (l *Link) probe(ctx context.Context) error {
	to, err := l.target()
	if err != nil {
		return err
	}
	return l.sender.Probe(ctx, &to.Target)
}

// Whole is true: an MMS is one mail.
func (l *Link) Whole() bool { return true }

// Repeats is true: the vendor knows a mail by its ids, which are those of the attempt.
func (l *Link) Repeats() bool { return true }

// Stop takes no more submits, waits for the answers under way until ctx ends, then
// gives them up: they are ambiguous then. A second call waits as well.
func (l *Link) Stop(ctx context.Context) {
	l.Gate.Stop(ctx)
	l.sender.Close()
	l.looks.Wait()
}

// errStore is of a link whose process has no files to send.
var errStore = errors.New("this process has no media store: set MEDIA_STORE")
