package vendortest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postrider/postrider/edges/vendors"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/telemetry/logtest"
)

// Vendor is a vendor that does as it is told, as the conformance suite sees it: the
// far end of a link, on a real socket. Script has the first four of its methods. Safe
// for concurrent use.
type Vendor interface {
	Answer(replies ...Reply)
	Came() []Came
	WaitCame(ctx context.Context, n int) ([]Came, error)
	Peak() int

	// Binds is how often a link has bound to it; always 0 at a vendor without binds.
	Binds() int
	// SendReceipt sends a receipt for a submission, which may be one that never came,
	// and waits until the link has answered: nil when it was acknowledged,
	// ErrAskedAgain when the link wants it once more.
	SendReceipt(ctx context.Context, c Came, state message.ReceiptState) error
	// SendInbound sends a message of a handset, with the results of SendReceipt.
	SendInbound(ctx context.Context, m Inbound) error
	// CutAll ends every connection, at once and without a word; new ones are welcome.
	CutAll()
}

// ErrAskedAgain means that the link did not acknowledge what the vendor sent, and
// wants it to be sent again.
var ErrAskedAgain = errors.New("vendortest: asked to send again")

// Inbound is a message of a handset to one of our numbers.
type Inbound struct {
	ID       string   // the vendor's; a vendor that gives none leaves it out
	From, To string   // as in E.164, with +
	Text     string   // GSM 7-bit
	Media    []string // URLs of its files, of vendors that have MMS
}

// Options is what the suite asks of a link that it wants made.
type Options struct {
	OnReceipt vendors.OnReceipt
	OnInbound vendors.OnInbound
	Log       *slog.Logger
	// Window is how many submissions may be unanswered.
	Window int
	// AnswerTimeout is when an answer is no longer waited for; 0: a minute or so, which
	// no test waits for.
	AnswerTimeout time.Duration
}

// Subject is a kind of connector for the suite.
type Subject struct {
	// Make gives a vendor and a link to it, which the suite starts, gives a share and
	// stops. The vendor ends with t. What it sends gets to the functions of o the
	// way it does in the gateway, by a bind or a webhook with its signature.
	Make func(t *testing.T, o Options) (vendors.Link, Vendor)
	// Octets says that the link takes binary messages; else it refuses them.
	Octets bool
	// Without are cases of the suite that the kind does not have, with the reason.
	Without map[string]string
	// Secrets are passwords and the like of the vendors that Make makes. They are
	// looked for in all errors and logs.
	Secrets []string
}

// Conformance runs the suite that every connector passes, as subtests. What is special
// to one kind is tested beside it.
func Conformance(t *testing.T, s Subject) {
	for _, tt := range []struct {
		name string
		run  func(t *testing.T, s Subject)
	}{
		{"accept", conformAccept},
		{"throttle", conformThrottle},
		{"temporary", conformTemporary},
		{"permanent", conformPermanent},
		{"silence", conformSilence},
		{"slow", conformSlow},
		{"cut in mid-window", conformCut},
		{"caller leaves", conformCallerLeaves},
		{"not allowed any more", conformStill},
		{"long messages", conformLong},
		{"octets", conformOctets},
		{"window", conformWindow},
		{"rate", conformRate},
		{"rate that changes", conformRateChanges},
		{"no share", conformNoShare},
		{"share is taken away", conformShareTaken},
		{"receipts whenever they come", conformReceipts},
		{"receipts of nobody", conformUnknownReceipt},
		{"receipt is not committed", conformReceiptAgain},
		{"inbound", conformInbound},
		{"inbound is not committed", conformInboundAgain},
		{"stop waits", conformStop},
		{"stop gives up", conformStopGivesUp},
		{"stop before start", conformStopBeforeStart},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if why, out := s.Without[tt.name]; out {
				t.Skip(why)
			}
			tt.run(t, s)
		})
	}
}

// The suite's numbers and words. They may be in no log.
const (
	suiteFrom = message.Address("+12025550143")
	suiteTo   = message.Address("+13105550117")
	suiteText = "suite words"
)

// scene is a link, its vendor and what it hands up.
type scene struct {
	t       *testing.T
	subject Subject
	link    vendors.Link
	vendor  Vendor
	log     logtest.Log

	receipts chan message.Receipt
	inbound  chan message.InboundMessage

	mu   sync.Mutex
	fail error // of the next commits; nil: they work
	said []string
}

// full is a share without a limit.
var full = vendors.Share{Binds: 1}

// setUp makes a link and starts it with a share.
func setUp(t *testing.T, s Subject, o Options, share vendors.Share) *scene {
	t.Helper()
	sc := prepare(t, s, o)
	sc.link.Start(context.Background())
	sc.link.Start(context.Background()) // harmless
	sc.link.SetShare(share)
	return sc
}

// ready is setUp with the full share, and waits for the link.
func ready(t *testing.T, s Subject, o Options) *scene {
	t.Helper()
	sc := setUp(t, s, o, full)
	sc.waitReady()
	return sc
}

// prepare makes a link that is not started.
func prepare(t *testing.T, s Subject, o Options) *scene {
	t.Helper()
	sc := &scene{t: t, subject: s, receipts: make(chan message.Receipt, 100), inbound: make(chan message.InboundMessage, 100)}
	o.OnReceipt = func(_ context.Context, r message.Receipt) error {
		if err := sc.commit(); err != nil {
			return err
		}
		sc.receipts <- r
		return nil
	}
	o.OnInbound = func(_ context.Context, m message.InboundMessage) error {
		if err := sc.commit(); err != nil {
			return err
		}
		sc.inbound <- m
		return nil
	}
	o.Log = slog.New(&sc.log)
	if o.Window == 0 {
		o.Window = 10
	}
	sc.link, sc.vendor = s.Make(t, o)
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		sc.link.Stop(ctx)
		sc.checkWords()
	})
	return sc
}

func (sc *scene) commit() error {
	sc.mu.Lock()
	defer sc.mu.Unlock()
	return sc.fail
}

// setFail lets the commits that follow fail; nil ends it.
func (sc *scene) setFail(err error) {
	sc.mu.Lock()
	defer sc.mu.Unlock()
	sc.fail = err
}

// checkWords looks for what belongs into no error and no log.
func (sc *scene) checkWords() {
	sc.mu.Lock()
	defer sc.mu.Unlock()
	secrets := append([]string{}, sc.subject.Secrets...)
	for _, line := range sc.said {
		for _, s := range secrets {
			if strings.Contains(line, s) {
				sc.t.Errorf("a secret is in an error: %s", line)
			}
		}
	}
	secrets = append(secrets, suiteFrom.Digits(), suiteTo.Digits(), suiteText)
	for _, line := range sc.log.Lines() {
		for _, s := range secrets {
			if strings.Contains(line, s) {
				sc.t.Errorf("a secret, a number or a text is in the log: %s", line)
			}
		}
	}
}

func (sc *scene) waitReady() {
	sc.t.Helper()
	if err := sc.link.WaitReady(sc.t.Context()); err != nil {
		sc.t.Fatalf("never ready: %v", err)
	}
}

// came waits until exactly n submissions have come.
func (sc *scene) came(n int) []Came {
	sc.t.Helper()
	got, err := sc.vendor.WaitCame(sc.t.Context(), n)
	if err != nil || len(got) != n {
		sc.t.Fatalf("%d submissions came, want %d: %v", len(got), n, err)
	}
	return got
}

// whole is a message of one part.
func whole() message.Submission {
	return message.Submission{
		MessageID: message.NewID(), Part: 1, Parts: 1, Attempt: 1, From: suiteFrom, To: suiteTo,
		Encoding: message.EncodingGSM7, Text: suiteText, ExpiresAt: time.Now().Add(time.Hour),
	}
}

// outcome is the end of a submit.
type outcome struct {
	sent   message.Submission
	result message.SubmitResult
	no     *message.SubmitError // nil: accepted
}

// submit submits and checks that an error is of the contract's kind.
func (sc *scene) submit(ctx context.Context, s message.Submission) outcome {
	r, err := sc.link.Submit(ctx, s)
	if err == nil {
		return outcome{s, r, nil}
	}
	var no *message.SubmitError
	if !errors.As(err, &no) {
		sc.t.Errorf("Submit gives a foreign error: %v", err)
		no = &message.SubmitError{Reason: message.ReasonInternal, Err: err}
	}
	if !no.Reason.Known() {
		sc.t.Errorf("Submit gives no known reason: %v", err)
	}
	if no.Answered && !no.Written {
		sc.t.Errorf("answered and not written: %v", err)
	}
	sc.mu.Lock()
	sc.said = append(sc.said, err.Error(), sc.link.Status().LastError)
	sc.mu.Unlock()
	return outcome{s, r, no}
}

// begin submits beside the test.
func (sc *scene) begin(ctx context.Context, s message.Submission) <-chan outcome {
	ch := make(chan outcome, 1)
	go func() { ch <- sc.submit(ctx, s) }()
	return ch
}

// accepted is a submit that must be accepted.
func (sc *scene) accepted(s message.Submission) message.SubmitResult {
	sc.t.Helper()
	o := sc.submit(sc.t.Context(), s)
	if o.no != nil {
		sc.t.Fatalf("refused: %v", o.no)
	}
	return o.result
}

// fate is what the journal must know of a submit that was not accepted.
type fate struct{ wire, ambiguous, again bool }

// The fates.
var (
	notSent   = fate{again: true}                 // may go elsewhere, or here later
	refused   = fate{wire: true}                  // for good
	later     = fate{wire: true, again: true}     // the vendor has said so
	ambiguous = fate{wire: true, ambiguous: true} // the vendor may have it
)

func (o outcome) fate() fate {
	if o.no == nil {
		return fate{}
	}
	return fate{o.no.OnWire(), o.no.Ambiguous(), o.no.Retryable()}
}

// expect checks a submit that was not accepted.
func (sc *scene) expect(o outcome, want fate, reasons ...message.Reason) {
	sc.t.Helper()
	if o.no == nil {
		sc.t.Fatalf("accepted, want %+v", want)
	}
	if got := o.fate(); got != want {
		sc.t.Errorf("%+v, want %+v: %v", got, want, o.no)
	}
	for _, r := range reasons {
		if o.no.Reason == r {
			return
		}
	}
	if len(reasons) > 0 {
		sc.t.Errorf("reason %s, want %v", o.no.Reason, reasons)
	}
}

// stopped waits until the link takes nothing new. What is asked meanwhile is kept from
// the wire.
func (sc *scene) stopped() {
	sc.t.Helper()
	kept := &message.SubmitError{Reason: message.ReasonCanceled, Detail: "only asked"}
	for {
		s := whole()
		s.Still = func() error { return kept }
		_, err := sc.link.Submit(sc.t.Context(), s)
		switch {
		case err == nil:
			sc.t.Fatal("what is not allowed was submitted")
		case !errors.Is(err, kept):
			return
		}
	}
}

// belongs reports whether a receipt is for the submit.
func (o outcome) belongs(r message.Receipt) error {
	if r.VendorMessageID != o.result.NormalizedID && r.Attempt != o.sent.Ref() {
		return fmt.Errorf("it is of %q, attempt %v, and the submit was %q, attempt %v", r.VendorMessageID, r.Attempt, o.result.NormalizedID, o.sent.Ref())
	}
	return nil
}
