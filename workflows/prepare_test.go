package workflows_test

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/temporal"

	"github.com/postrider/postrider/activities/admit"
	"github.com/postrider/postrider/activities/prepare"
	"github.com/postrider/postrider/activities/record"
	"github.com/postrider/postrider/activities/route"
	"github.com/postrider/postrider/activities/submit"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/workflows"
)

// Prepare makes files ready as the test says.
func (s *steps) Prepare(_ context.Context, in prepare.Input) (prepare.Result, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := in.Vendor.Name
	if in.Smaller {
		name += " smaller"
	}
	s.prepared = append(s.prepared, name)
	if s.files == nil {
		return prepare.Result{Profile: name + "#1"}, nil
	}
	return s.files(name, len(s.prepared))
}

// FallBackToText makes it a text if the test says so.
func (s *steps) FallBackToText(_ context.Context, in route.FallBackInput) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.status.Final() || !s.texts {
		return false, nil
	}
	if s.status != message.StatusQueued || in.Revision != s.revision {
		s.wrong = append(s.wrong, "made a text of revision "+strconv.Itoa(in.Revision)+" while it is "+string(s.status))
	}
	s.revision++
	s.fell++
	return true, nil
}

func mms(t *testing.T) *bundle {
	b := setup(t)
	b.in.Kind = message.MMS
	return b
}

func (b *bundle) madeReady(want ...string) {
	b.t.Helper()
	if !slices.Equal(b.prepared, want) {
		b.t.Errorf("made ready for %v, want %v", b.prepared, want)
	}
}

func TestMMS(t *testing.T) {
	b := mms(t)
	b.receipt(time.Minute, delivered)
	b.run(delivered, "")
	b.madeReady("acme")
	if b.submits[0].Profile != "acme#1" {
		t.Errorf("submitted with %+v", b.submits[0])
	}
	for _, o := range b.options {
		if o.TaskQueue == workflows.QueueMedia && (o.HeartbeatTimeout == 0 || o.ScheduleToCloseTimeout != validity) {
			t.Errorf("options %+v", o)
		}
	}
}

func TestNoFilesToMakeReady(t *testing.T) {
	b := setup(t)
	b.receipt(time.Minute, delivered)
	b.run(delivered, "")
	b.madeReady()
}

// What one vendor does not take another one may.
func TestMMSForTheNextVendor(t *testing.T) {
	b := mms(t).second()
	b.files = func(vendor string, _ int) (prepare.Result, error) {
		if vendor == "acme" {
			return prepare.Result{Reason: message.ReasonMediaRejected, Detail: "part 1 (application/pdf): acme does not take this type"}, nil
		}
		return prepare.Result{Profile: "zeta#1"}, nil
	}
	b.receipt(time.Minute, delivered)
	b.run(delivered, "")
	b.offered("zeta")
}

func TestMMSForNoVendor(t *testing.T) {
	b := mms(t).second()
	b.files = func(string, int) (prepare.Result, error) {
		return prepare.Result{Reason: message.ReasonMediaRejected, Detail: "too large"}, nil
	}
	b.run(failed, message.ReasonMediaRejected)
	b.offered()
	b.madeReady("acme", "zeta")
}

// A step that fails is tried again while the message is valid.
func TestMMSLater(t *testing.T) {
	b := mms(t)
	b.files = func(_ string, n int) (prepare.Result, error) {
		if n < 5 {
			return prepare.Result{}, errors.New("the disk is full")
		}
		return prepare.Result{Profile: "acme#1"}, nil
	}
	b.receipt(time.Hour, delivered)
	b.run(delivered, "")
	b.offered("acme")
}

func TestMMSInVain(t *testing.T) {
	b := mms(t)
	b.files = func(string, int) (prepare.Result, error) { return prepare.Result{}, errors.New("the disk is full") }
	b.run(expired, message.ReasonMediaUnavailable)
	b.offered()
}

func TestMMSWithdrawn(t *testing.T) {
	b := mms(t)
	b.files = func(string, int) (prepare.Result, error) {
		return prepare.Result{}, temporal.NewApplicationErrorWithOptions("later", "x", temporal.ApplicationErrorOptions{NextRetryDelay: time.Hour})
	}
	b.cancel(time.Minute, func(err error) {
		if err != nil {
			t.Errorf("refused: %v", err)
		}
	})
	if took := b.run(message.StatusCanceled, message.ReasonCanceled); took != time.Minute {
		t.Errorf("took %s", took)
	}
	b.offered()
}

// Who is asked a second time gets what is ready for it then.
func TestMMSAskedAgain(t *testing.T) {
	b := mms(t)
	b.vendor = func(_ string, n int) (submit.Result, error) {
		if n == 1 {
			return trouble, nil
		}
		return taken, nil
	}
	b.files = func(_ string, n int) (prepare.Result, error) {
		return prepare.Result{Profile: []string{"old", "new"}[n-1]}, nil
	}
	b.receipt(time.Hour, delivered)
	b.run(delivered, "")
	if b.submits[0].Profile != "old" || b.submits[1].Profile != "new" {
		t.Errorf("submitted with %+v", b.submits)
	}
}

// A password as an MMS that nobody confirms goes to the next vendor as well, with the
// files made for that one.
func TestMMSSentAgain(t *testing.T) {
	b := mms(t).second()
	b.in.Class, b.resend = message.ClassOTP, 10*time.Second
	b.at(11*time.Second, func() { b.decide(delivered) })
	b.run(delivered, "")
	b.offered("acme", "zeta")
	b.madeReady("acme", "zeta")
	if b.submits[1].Profile != "zeta#1" {
		t.Errorf("submitted with %+v", b.submits[1])
	}
}

// Who refuses the files is asked once more, with smaller ones, before the next vendor.
func TestMMSMadeSmaller(t *testing.T) {
	b := mms(t).second()
	b.vendor = answers(tooLarge, taken)
	b.receipt(time.Minute, delivered)
	b.run(delivered, "")
	b.offered("acme", "acme")
	b.madeReady("acme", "acme smaller")
	if b.submits[0].Profile != "acme#1" || b.submits[1].Profile != "acme smaller#1" {
		t.Errorf("submitted with %+v", b.submits)
	}
}

func TestMMSMadeSmallerOnce(t *testing.T) {
	b := mms(t).second()
	b.vendor = func(string, int) (submit.Result, error) { return tooLarge, nil }
	b.run(failed, message.ReasonMediaRejected)
	b.offered("acme", "acme", "zeta", "zeta")
	b.madeReady("acme", "acme smaller", "zeta", "zeta smaller")
}

// Trouble on the second try is no other refusal: the vendor is asked again, with the
// smaller files.
func TestMMSStaysSmaller(t *testing.T) {
	b := mms(t)
	b.vendor = answers(tooLarge, trouble, taken)
	b.receipt(time.Hour, delivered)
	b.run(delivered, "")
	b.madeReady("acme", "acme smaller", "acme smaller")
}

// What cannot be made smaller goes to the next vendor; the end is what the vendor has said.
func TestMMSCannotBeSmaller(t *testing.T) {
	b := mms(t).second()
	b.files = func(vendor string, _ int) (prepare.Result, error) {
		if strings.HasSuffix(vendor, "smaller") {
			return prepare.Result{Reason: message.ReasonMediaRejected, Detail: "the files cannot be made smaller"}, nil
		}
		return prepare.Result{Profile: vendor}, nil
	}
	b.vendor = func(string, int) (submit.Result, error) { return tooLarge, nil }
	var ended record.Input
	b.recordErr = func(in record.Input) error {
		ended = in
		return nil
	}
	b.run(failed, message.ReasonMediaRejected)
	b.offered("acme", "zeta")
	if ended.Detail != tooLarge.Detail {
		t.Errorf("it ended with %+v", ended)
	}
}

// Neither files that go as they are, which have no profile, nor other refusals, nor an SMS
// get another try.
func TestNoSmallerTry(t *testing.T) {
	asIs := mms(t).second()
	asIs.files = func(string, int) (prepare.Result, error) { return prepare.Result{}, nil }
	other := mms(t).second()
	sms := setup(t).second()
	for name, c := range map[string]struct {
		b    *bundle
		says submit.Result
	}{"as it is": {asIs, tooLarge}, "refused for else": {other, refusal}, "an SMS": {sms, tooLarge}} {
		c.b.vendor = byVendor(c.says, taken)
		c.b.receipt(time.Minute, delivered)
		c.b.run(delivered, "")
		if !slices.Equal(c.b.offers, []string{"acme", "zeta"}) {
			t.Errorf("%s: offered to %v", name, c.b.offers)
		}
	}
}

// What all vendors refuse for its files goes as a text, once, if the account wants that:
// without files, to any vendor that takes texts.
func TestMMSGoesAsText(t *testing.T) {
	b := mms(t)
	b.texts = true
	b.vendor = answers(tooLarge, tooLarge, taken)
	b.relists = [][]route.Candidate{{{VendorID: message.NewID(), Name: "texts", Grace: grace}}}
	b.receipt(time.Minute, delivered)
	b.run(delivered, "")
	b.offered("acme", "acme", "texts")
	b.madeReady("acme", "acme smaller")
	if b.fell != 1 || b.submits[2].Profile != "" || b.submits[2].Revision != 1 || len(b.admits) != 2 || !b.admits[1].Fresh {
		t.Errorf("fell back %d times, submitted with %+v, admitted with %+v", b.fell, b.submits, b.admits)
	}
}

// The text is judged by the rules of a text, and when it is refused too there is nothing
// left to fall back on.
func TestTextOfMMSIsRefused(t *testing.T) {
	b := mms(t)
	b.texts = true
	b.vendor = answers(tooLarge, tooLarge)
	b.admissions = []admit.Result{{Allowed: true}, {Status: message.StatusRejected, Reason: message.ReasonProhibitedContent}}
	b.run(message.StatusRejected, message.ReasonProhibitedContent)
	again := mms(t)
	again.texts = true
	again.vendor = func(string, int) (submit.Result, error) { return tooLarge, nil }
	again.run(failed, message.ReasonMediaRejected)
	again.offered("acme", "acme", "acme")
}

// Neither what is refused for else, nor what a vendor may have, nor what nobody wants.
func TestMMSDoesNotGoAsText(t *testing.T) {
	for name, c := range map[string]struct {
		wants bool
		says  submit.Result
	}{
		"not wanted":         {false, tooLarge},
		"refused for else":   {true, refusal},
		"some may have left": {true, submit.Result{Outcome: submit.Refused, Reason: message.ReasonMediaRejected, Left: true}},
	} {
		b := mms(t)
		b.texts = c.wants
		b.vendor = func(string, int) (submit.Result, error) { return c.says, nil }
		b.run(failed, c.says.Reason)
		if b.fell != 0 {
			t.Errorf("%s: it went as a text", name)
		}
	}
}
