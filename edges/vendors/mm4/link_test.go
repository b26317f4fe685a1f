package mm4_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postrider/postrider/edges/vendors"
	vendormm4 "github.com/postrider/postrider/edges/vendors/mm4"
	"github.com/postrider/postrider/edges/vendors/vendortest"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/mm4"
	"github.com/postrider/postrider/internal/mm4out"
	"github.com/postrider/postrider/internal/snapshot"
)

var own = mm4out.System{Domain: "mms.gw.example", Host: "mm4.gw.example"}

// journal has the answers, as the gateway's server commits them.
type journal struct {
	mu      sync.Mutex
	answers []message.MM4Answer
	fail    error
	looked  chan struct{} // gets a value for each look, unless it is full
}

func newJournal() *journal { return &journal{looked: make(chan struct{}, 1)} }

// put commits what the vendor has answered.
func (j *journal) put(h mm4.Header, s mm4.Status) {
	ref, ok := mm4out.AttemptOf(h.TransactionID)
	if !ok {
		panic("a transaction id that leads to no attempt: " + h.TransactionID)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.answers = append(j.answers, message.MM4Answer{MessageID: ref.MessageID, Attempt: ref.Attempt, Status: string(s)})
}

func (j *journal) setFail(err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.fail = err
}

// TakeMM4Answers gives what is there of the attempts; it stays.
func (j *journal) TakeMM4Answers(_ context.Context, _ message.ID, refs []message.AttemptRef) ([]message.MM4Answer, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	select {
	case j.looked <- struct{}{}:
	default:
	}
	if j.fail != nil {
		return nil, j.fail
	}
	var got []message.MM4Answer
	for _, a := range j.answers {
		if slices.ContainsFunc(refs, func(r message.AttemptRef) bool { return r.MessageID == a.MessageID && r.Attempt == a.Attempt }) {
			got = append(got, a)
		}
	}
	return got, nil
}

const picture = "GIF89a and so on"

func store(context.Context, message.MediaFile) (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader(picture)), nil
}

type scene struct {
	*testing.T
	vendor  *vendortest.MM4Vendor
	journal *journal
	link    *vendormm4.Link
}

func row(port int) snapshot.Vendor {
	return snapshot.Vendor{ID: message.NewID(), Name: "hub", ProviderType: vendormm4.Name, Host: "127.0.0.1", Port: port}
}

func set(t *testing.T, vc vendortest.MM4Config, change func(*vendormm4.Config, *snapshot.Vendor)) *scene {
	t.Helper()
	sc := build(t, vc, change)
	sc.link.Start(t.Context())
	sc.link.SetShare(vendors.Share{Binds: 1})
	return sc
}

func build(t *testing.T, vc vendortest.MM4Config, change func(*vendormm4.Config, *snapshot.Vendor)) *scene {
	t.Helper()
	sc := &scene{T: t, journal: newJournal()}
	if vc.Answer == nil {
		vc.Answer = sc.journal.put
	}
	var err error
	if sc.vendor, err = vendortest.NewMM4(vc); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sc.vendor.Close)
	v := row(sc.vendor.Port())
	cfg := vendormm4.Config{Own: own, Store: store, Answers: sc.journal, Wait: time.Minute, Poll: time.Millisecond, Retry: time.Millisecond,
		Peer: func(message.ID) *snapshot.MM4Peer { return &snapshot.MM4Peer{Domain: "mms.peer.example"} }}
	if change != nil {
		change(&cfg, &v)
	}
	if sc.link, err = vendormm4.New(cfg, &v); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		sc.link.Stop(ctx)
	})
	return sc
}

func submission() message.Submission {
	return message.Submission{MessageID: message.NewID(), Part: 1, Parts: 1, Attempt: 1, Whole: true, From: "+15551230001", To: "+15551230002", Subject: "Lunch?",
		Encoding: message.EncodingUCS2, Text: "Café at noon?", ExpiresAt: time.Now().Add(48 * time.Hour), Class: message.ClassConversation,
		Media: []message.MediaLink{{URL: "https://gw.example/media/x.gif", ContentType: "image/gif", Size: int64(len(picture)),
			File: message.MediaFile{ID: message.NewID(), ContentType: "image/gif", Size: int64(len(picture))}}}}
}

func refusal(t *testing.T, err error) *message.SubmitError {
	t.Helper()
	var no *message.SubmitError
	if !errors.As(err, &no) {
		t.Fatalf("the error is %v, want a *SubmitError", err)
	}
	return no
}

func subject(byResponse bool) vendortest.Subject {
	elsewhere := "reports and messages of the vendor come over connections of its own, to the gateway's server"
	return vendortest.Subject{
		Secrets: []string{"hunter2"},
		Without: map[string]string{
			"receipts whenever they come": elsewhere, "receipts of nobody": elsewhere, "receipt is not committed": elsewhere, "inbound": elsewhere, "inbound is not committed": elsewhere,
			"cut in mid-window": "answers do not come over the connection that is cut; see TestLostReply",
		},
		Make: func(t *testing.T, o vendortest.Options) (vendors.Link, vendortest.Vendor) {
			sc := build(t, vendortest.MM4Config{ByResponse: byResponse}, func(cfg *vendormm4.Config, v *snapshot.Vendor) {
				cfg.Log, v.Window = o.Log, o.Window
				if o.AnswerTimeout > 0 {
					cfg.Wait = o.AnswerTimeout
				}
			})
			return sc.link, sc.vendor
		},
	}
}

func TestConformance(t *testing.T) { vendortest.Conformance(t, subject(false)) }

func TestConformanceByResponses(t *testing.T) { vendortest.Conformance(t, subject(true)) }

// The mail has the ids that lead back to the attempt, and its file.
func TestSubmit(t *testing.T) {
	sc := set(t, vendortest.MM4Config{}, nil)
	s := submission()
	r, err := sc.link.Submit(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	mail := sc.vendor.Mails()[0]
	h := mail.Header
	if got, ok := mm4out.AttemptOf(h.TransactionID); !ok || got != s.Ref() {
		t.Errorf("transaction %s", h.TransactionID)
	}
	if got, ok := mm4out.AttemptOf(h.MessageID); !ok || got != s.Ref() || r.VendorMessageID != h.MessageID || r.NormalizedID != message.NormalizeVendorID(h.MessageID) {
		t.Errorf("message %s, result %+v", h.MessageID, r)
	}
	if h.AckRequest != mm4.Yes || h.DeliveryReport != mm4.Yes || h.OriginatorSystem != "system-user@mms.gw.example" || h.Subject != "Lunch?" || h.Expiry.After < 47*time.Hour || h.Expiry.After > 48*time.Hour {
		t.Errorf("%+v", h)
	}
	if mail.From != "+15551230001/TYPE=PLMN@mms.gw.example" || mail.To != "+15551230002/TYPE=PLMN@mms.peer.example" {
		t.Errorf("from %s to %s", mail.From, mail.To)
	}
	if c := sc.vendor.Came()[0]; c.Text != "Café at noon?" || len(c.Media) != 1 || c.Media[0] != picture {
		t.Errorf("came as %+v", c)
	}
}

// A report that a message was read can come only if it was asked for.
func TestReadReportIsAskedFor(t *testing.T) {
	asking, away := submission(), submission()
	sc := set(t, vendortest.MM4Config{}, func(cfg *vendormm4.Config, _ *snapshot.Vendor) {
		cfg.ReadAsked = func(_ context.Context, id message.ID) (bool, error) {
			if id == away.MessageID {
				return false, errors.New("the database is away")
			}
			return id == asking.MessageID, nil
		}
	})
	for i, s := range []message.Submission{asking, submission()} {
		if _, err := sc.link.Submit(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		if got, want := sc.vendor.Mails()[i].Header.ReadReply, mm4.FlagOf(i == 0); got != want {
			t.Errorf("mail %d asks %s, want %s", i, got, want)
		}
	}
	_, err := sc.link.Submit(t.Context(), away)
	if no := refusal(t, err); no.Written || !no.Again || len(sc.vendor.Mails()) != 2 {
		t.Errorf("%+v", no)
	}
}

// Every status of a response has its meaning.
func TestStatuses(t *testing.T) {
	want := map[mm4.Status]message.SubmitError{
		mm4.StatusUnspecified:     {Reason: message.ReasonVendorUnreachable, Again: true},
		mm4.StatusNetworkProblem:  {Reason: message.ReasonVendorUnreachable, Again: true},
		mm4.StatusServiceDenied:   {Reason: message.ReasonVendorRejected},
		mm4.StatusFormatCorrupt:   {Reason: message.ReasonVendorRejected},
		mm4.StatusAddress:         {Reason: message.ReasonUnknownSubscriber},
		mm4.StatusMessageNotFound: {Reason: message.ReasonVendorRejected},
		mm4.StatusContent:         {Reason: message.ReasonMediaRejected},
		mm4.StatusUnsupported:     {Reason: message.ReasonVendorRejected},
	}
	var say mm4.Status
	var sc *scene
	sc = set(t, vendortest.MM4Config{Answer: func(h mm4.Header, _ mm4.Status) { sc.journal.put(h, say) }}, func(_ *vendormm4.Config, v *snapshot.Vendor) {
		v.CodeMap = map[string]message.Reason{"Error-service-denied": message.ReasonFiltered}
	})
	for _, say = range mm4.RequestStatuses() {
		if say == mm4.StatusOK {
			continue
		}
		row, ok := want[say]
		if !ok {
			t.Errorf("%s is in no row", say)
		}
		_, err := sc.link.Submit(t.Context(), submission())
		no := refusal(t, err)
		if say == mm4.StatusServiceDenied {
			row.Reason = message.ReasonFiltered // by the vendor's row
		}
		if no.Reason != row.Reason || no.Again != row.Again || !no.Written || !no.Answered || no.VendorCode != string(say) || no.Again && no.After <= 0 {
			t.Errorf("%s: %+v", say, no)
		}
		if got := vendormm4.Refusal(say); got.Again != row.Again {
			t.Errorf("%s: %+v", say, got)
		}
	}
	say = "Error-of-tomorrow"
	if no := refusal(t, func() error { _, err := sc.link.Submit(t.Context(), submission()); return err }()); !no.Again || no.VendorCode != string(mm4.StatusUnspecified) {
		t.Errorf("an unknown word: %+v", no)
	}
}

// A mail whose 250 is lost goes once more at once, with the same ids.
func TestLostReply(t *testing.T) {
	sc := set(t, vendortest.MM4Config{}, nil)
	sc.vendor.AfterCut(vendortest.Accept)
	sc.vendor.Answer(vendortest.Reply{Kind: vendortest.Cut})
	if _, err := sc.link.Submit(t.Context(), submission()); err != nil {
		t.Fatal(err)
	}
	sc.twice()
}

func (sc *scene) twice() {
	sc.Helper()
	mails := sc.vendor.Mails()
	if len(mails) != 2 || mails[0].Text != mails[1].Text || len(sc.vendor.Came()) != 1 {
		sc.Errorf("%d mails, of %d messages", len(mails), len(sc.vendor.Came()))
	}
}

// Lost twice it is in doubt, and also when the vendor refuses the second: it may have the
// first.
func TestLostTwice(t *testing.T) {
	for _, then := range []vendortest.ReplyKind{vendortest.Cut, vendortest.Permanent, vendortest.Temporary} {
		sc := set(t, vendortest.MM4Config{}, nil)
		sc.vendor.AfterCut(then)
		sc.vendor.Answer(vendortest.Reply{Kind: vendortest.Cut})
		_, err := sc.link.Submit(t.Context(), submission())
		if no := refusal(t, err); !no.Ambiguous() || no.Reason != message.ReasonSubmitInDoubt {
			t.Errorf("%v: %+v", then, no)
		}
		sc.twice()
	}
}

// A vendor that does not answer gets the mail once more; its answer then counts.
func TestSilenceThenAnswer(t *testing.T) {
	second := make(chan struct{})
	sc := set(t, vendortest.MM4Config{}, func(cfg *vendormm4.Config, _ *snapshot.Vendor) { cfg.Wait = 300 * time.Millisecond })
	sc.vendor.Answer(vendortest.Reply{Kind: vendortest.Silent})
	s := submission()
	go func() {
		defer close(second)
		for len(sc.vendor.Mails()) < 2 && t.Context().Err() == nil {
			<-sc.journal.looked
		}
		sc.journal.put(sc.vendor.Mails()[0].Header, mm4.StatusOK)
	}()
	if _, err := sc.link.Submit(t.Context(), s); err != nil {
		t.Error(err)
	}
	<-second
	sc.twice()
	if room := sc.link.Room(); room != vendormm4.DefaultWindow {
		t.Errorf("room %d", room)
	}
}

// An answer that comes before its 250 is found, and while the journal is away it is
// waited for.
func TestAnswerWhileTheJournalIsAway(t *testing.T) {
	sc := set(t, vendortest.MM4Config{}, nil)
	sc.journal.setFail(errors.New("the database is away"))
	done := make(chan error, 1)
	go func() {
		_, err := sc.link.Submit(t.Context(), submission())
		done <- err
	}()
	if _, err := sc.vendor.WaitCame(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	<-sc.journal.looked
	<-sc.journal.looked
	sc.journal.setFail(nil)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A silent vendor holds its window and no more: further messages are not taken on.
func TestSilentVendorFillsItsWindow(t *testing.T) {
	sc := set(t, vendortest.MM4Config{}, func(_ *vendormm4.Config, v *snapshot.Vendor) { v.Window = 3 })
	ctx, leave := context.WithCancel(t.Context())
	results := make(chan error, 3)
	for range 3 {
		sc.vendor.Answer(vendortest.Reply{Kind: vendortest.Silent})
		go func() {
			_, err := sc.link.Submit(ctx, submission())
			results <- err
		}()
	}
	if _, err := sc.vendor.WaitCame(t.Context(), 3); err != nil {
		t.Fatal(err)
	}
	if room := sc.link.Room(); room != 0 {
		t.Errorf("room %d", room)
	}
	leave()
	for range 3 {
		if no := refusal(t, <-results); !no.Ambiguous() {
			t.Errorf("%+v", no)
		}
	}
	if err := sc.link.WaitReady(t.Context()); err != nil {
		t.Error(err)
	}
}

// Nobody is there, and a vendor that does not let us in: nothing was written, and the link
// waits.
func TestNotLetIn(t *testing.T) {
	sc := set(t, vendortest.MM4Config{}, func(cfg *vendormm4.Config, v *snapshot.Vendor) {
		v.UseTLS, v.Username, v.Password, cfg.Retry = true, "gw", "hunter2", time.Hour
	})
	_, err := sc.link.Submit(t.Context(), submission())
	if no := refusal(t, err); no.OnWire() || !no.Retryable() || no.Reason != message.ReasonVendorUnreachable || strings.Contains(no.Error(), "hunter2") {
		t.Errorf("%+v", no)
	}
	if st := sc.link.Status(); st.Bind != "disconnected" || sc.link.Room() != 0 || st.LastError == "" {
		t.Errorf("status %+v", st)
	}
	sc = set(t, vendortest.MM4Config{}, nil)
	sc.vendor.Close()
	_, err = sc.link.Submit(t.Context(), submission())
	if no := refusal(t, err); no.OnWire() || !no.Retryable() || no.Reason != message.ReasonVendorUnreachable {
		t.Errorf("%+v", no)
	}
}

// A file that cannot be read is no fault of the vendor's, and nothing of the mail counts.
func TestStoreAway(t *testing.T) {
	away := true
	sc := set(t, vendortest.MM4Config{}, func(cfg *vendormm4.Config, _ *snapshot.Vendor) {
		cfg.Store = func(ctx context.Context, f message.MediaFile) (io.ReadCloser, error) {
			if away {
				return nil, message.Refuse(message.ReasonUnavailable, "the store is away")
			}
			return store(ctx, f)
		}
	})
	_, err := sc.link.Submit(t.Context(), submission())
	if no := refusal(t, err); no.OnWire() || !no.Retryable() || no.Reason != message.ReasonUnavailable || no.After <= 0 {
		t.Errorf("%+v", no)
	}
	away = false
	if _, err := sc.link.Submit(t.Context(), submission()); err != nil || len(sc.vendor.Came()) != 1 {
		t.Errorf("%v, %d came", err, len(sc.vendor.Came()))
	}
	none := set(t, vendortest.MM4Config{}, func(cfg *vendormm4.Config, _ *snapshot.Vendor) { cfg.Store = nil })
	if no := refusal(t, func() error { _, err := none.link.Submit(t.Context(), submission()); return err }()); no.OnWire() || !no.Retryable() {
		t.Errorf("%+v", no)
	}
}

func TestTest(t *testing.T) {
	sc := set(t, vendortest.MM4Config{}, nil)
	v := row(sc.vendor.Port())
	kind := vendormm4.Kind(vendormm4.Config{Own: own, Peer: func(message.ID) *snapshot.MM4Peer { return nil }})
	detail, err := kind.Test(t.Context(), &v)
	if err != nil || !strings.Contains(detail, "lets us in") || !strings.Contains(detail, "no row among the MM4 peers") || len(sc.vendor.Mails()) != 0 || sc.vendor.Dials() != 1 {
		t.Errorf("%q, %v", detail, err)
	}
	v.UseTLS = true
	if _, err := kind.Test(t.Context(), &v); err == nil {
		t.Error("it offers no STARTTLS, and the test passed")
	}
	if _, err := vendormm4.Kind(vendormm4.Config{}).Test(t.Context(), &v); err == nil || !strings.Contains(err.Error(), "MM4_DOMAIN") {
		t.Errorf("without a domain: %v", err)
	}
	if _, err := vendormm4.New(vendormm4.Config{Own: own}, &v); err == nil {
		t.Error("a link without answers")
	}
	if _, err := kind.New(&v); err == nil {
		t.Error("a link without answers, of the kind")
	}
	if vendormm4.Name != "mm4" || !kind.Requests {
		t.Error("the kind is another")
	}
}
