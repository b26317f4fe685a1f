package workflows_test

import (
	"slices"
	"testing"
	"time"

	"github.com/postrider/postrider/activities/submit"
	"github.com/postrider/postrider/internal/message"
)

// password is a one-time password whose account wants it given to another vendor when
// no receipt has come after a minute.
func password(t *testing.T) *bundle {
	t.Helper()
	b := setup(t).second()
	b.in.Class, b.resend = message.ClassOTP, time.Minute
	return b
}

// given checks who was given the message again, and when.
func (b *bundle) given(want ...time.Duration) {
	b.t.Helper()
	var at []time.Duration
	for i, in := range b.submits {
		if in.Resend != (i > 0) || in.Resend && in.Slot != nil {
			b.t.Errorf("submit %d: %+v", i+1, in)
		}
		if in.Resend {
			at = append(at, b.offeredAt[i].Sub(start))
		}
	}
	if !slices.Equal(at, want) {
		b.t.Errorf("given to another vendor after %v, want %v", at, want)
	}
}

// No receipt comes: the next vendor gets it as well, and the first receipt decides.
func TestNoReceiptThenNext(t *testing.T) {
	b := password(t)
	b.receipt(2*time.Minute, delivered)
	if took := b.run(delivered, ""); took != 2*time.Minute {
		t.Errorf("took %s", took)
	}
	b.offered("acme", "zeta")
	b.given(time.Minute)
	b.toldOf(sent, delivered)
	if want := []message.Status{message.StatusQueued, message.StatusSending, sent, delivered}; !slices.Equal(b.history, want) {
		t.Errorf("%v", b.history)
	}
}

func TestReceiptInTime(t *testing.T) {
	b := password(t)
	b.receipt(59*time.Second, delivered)
	b.run(delivered, "")
	b.offered("acme")
}

// Nobody asks for it.
func TestNoReceiptAndNoNext(t *testing.T) {
	b := password(t)
	b.resend = 0
	if took := b.run(unconfirmed, message.ReasonNoReceipt); took != validity+grace {
		t.Errorf("took %s", took)
	}
	b.offered("acme")
}

// Every vendor gets it once, and then it is waited for as ever.
func TestNoReceiptFromAnybody(t *testing.T) {
	b := password(t)
	b.candidates = b.others("acme", "zeta", "nova")
	if took := b.run(unconfirmed, message.ReasonNoReceipt); took != validity+grace {
		t.Errorf("took %s", took)
	}
	b.offered("acme", "zeta", "nova")
	b.given(time.Minute, 2*time.Minute)
	if len(b.listedAt) != 3 { // the third has found nobody
		t.Errorf("listed at %v", b.listedAt)
	}
}

// What the second vendor says does not undo what the first one has said.
func TestRefusedTheSecondTime(t *testing.T) {
	for reason, want := range map[message.Reason][]string{
		message.ReasonVendorRejected: {"acme", "zeta", "nova"},
		message.ReasonOptedOut:       {"acme", "zeta"},
	} {
		b := password(t)
		b.candidates = b.others("acme", "zeta", "nova")
		b.vendor = says(map[string]submit.Result{"zeta": {Outcome: submit.Refused, Reason: reason}, "nova": {Outcome: submit.Refused, Reason: reason}})
		b.run(unconfirmed, message.ReasonNoReceipt)
		b.offered(want...)
		b.toldOf(sent, unconfirmed)
	}
}

// Those who cannot take it now are asked again, less and less often.
func TestBusyTheSecondTime(t *testing.T) {
	for name, answer := range map[string]submit.Result{"busy": trouble, "away": {Outcome: down}, "going": gone} {
		t.Run(name, func(t *testing.T) {
			b := password(t)
			b.vendor = says(map[string]submit.Result{"zeta": answer})
			b.run(unconfirmed, message.ReasonNoReceipt)
			if n := len(b.offers); n < 20 || n > 40 {
				t.Errorf("%d offers", n)
			}
			b.first("acme", "zeta", "zeta")
		})
	}
}

// A receipt comes while the message waits for the second vendor: it is taken back.
func TestReceiptWhileTheNextIsWaitedFor(t *testing.T) {
	b := password(t)
	b.vendor = says(map[string]submit.Result{"zeta": {Outcome: down}})
	b.receipt(70*time.Second, delivered)
	if took := b.run(delivered, ""); took != 70*time.Second {
		t.Errorf("took %s", took)
	}
	b.offered("acme", "zeta")
}

// In doubt is the same as sent, as far as the recipient is concerned.
func TestInDoubtThenNext(t *testing.T) {
	doubt := submit.Result{Outcome: submit.InDoubt, Reason: message.ReasonSubmitInDoubt}
	t.Run("taken by the next", func(t *testing.T) {
		b := password(t)
		b.vendor = says(map[string]submit.Result{"acme": doubt})
		b.receipt(2*time.Minute, delivered)
		b.run(delivered, "")
		b.given(time.Minute)
		b.toldOf(message.StatusInDoubt, sent, delivered)
	})
	t.Run("in doubt as well", func(t *testing.T) {
		b := password(t)
		b.vendor = says(map[string]submit.Result{"zeta": doubt})
		b.run(unconfirmed, message.ReasonNoReceipt)
		b.given(time.Minute)
		b.toldOf(sent, unconfirmed)
	})
}

// The validity ends before anybody could be asked again.
func TestNoReceiptTooLate(t *testing.T) {
	b := password(t)
	b.in.ExpiresAt = start.Add(time.Minute)
	b.run(unconfirmed, message.ReasonNoReceipt)
	b.offered("acme")
}
