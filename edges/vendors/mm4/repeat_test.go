package mm4_test

import (
	"testing"

	"github.com/postrider/postrider/edges/vendors/vendortest"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/mm4"
	"github.com/postrider/postrider/internal/mm4out"
)

// again is a submission whose process died.
func again() message.Submission {
	s := submission()
	s.Again = true
	return s
}

// What a dead process has sent, or may have, goes again with its ids.
func TestAgain(t *testing.T) {
	sc := set(t, vendortest.MM4Config{}, nil)
	s := again()
	if _, err := sc.link.Submit(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	mails := sc.vendor.Mails()
	if got, ok := mm4out.AttemptOf(mails[0].Header.TransactionID); len(mails) != 1 || !ok || got != s.Ref() {
		t.Errorf("%d mails, transaction %s", len(mails), mails[0].Header.TransactionID)
	}
}

// An answer that came to the dead process, or after it, is the answer: no mail goes.
func TestAgainButAnswered(t *testing.T) {
	for status, want := range map[mm4.Status]message.Reason{mm4.StatusOK: "", mm4.StatusAddress: message.ReasonUnknownSubscriber} {
		sc := set(t, vendortest.MM4Config{}, nil)
		s := again()
		transaction, id := mm4out.AttemptIDs(s.Ref(), own.Domain)
		sc.journal.put(mm4.Header{TransactionID: transaction, MessageID: id}, status)
		r, err := sc.link.Submit(t.Context(), s)
		if want == "" && (err != nil || r.VendorMessageID != id) {
			t.Errorf("%+v, %v", r, err)
		}
		if want != "" {
			if no := refusal(t, err); no.Reason != want || !no.Answered {
				t.Errorf("%+v", no)
			}
		}
		if n := len(sc.vendor.Mails()); n != 0 {
			t.Errorf("%s: %d mails", status, n)
		}
	}
}

// A refusal by SMTP is of the mail that goes again, and says nothing of the one before it.
func TestAgainRefused(t *testing.T) {
	for kind, may := range map[vendortest.ReplyKind]bool{vendortest.Temporary: true, vendortest.Permanent: false} {
		sc := set(t, vendortest.MM4Config{}, nil)
		sc.vendor.Answer(vendortest.Reply{Kind: kind})
		_, err := sc.link.Submit(t.Context(), again())
		if no := refusal(t, err); no.Answered || no.Retryable() != may || no.OnWire() == may {
			t.Errorf("%v: %+v", kind, no)
		}
	}
}

// One mail is on its way once from this process, however often it is asked for.
func TestAgainBesideItself(t *testing.T) {
	sc := set(t, vendortest.MM4Config{}, nil)
	sc.vendor.Answer(vendortest.Reply{Kind: vendortest.Silent})
	s, done := again(), make(chan error, 1)
	go func() {
		_, err := sc.link.Submit(t.Context(), s)
		done <- err
	}()
	if _, err := sc.vendor.WaitCame(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	_, err := sc.link.Submit(t.Context(), s)
	if no := refusal(t, err); no.OnWire() || !no.Retryable() {
		t.Errorf("%+v", no)
	}
	sc.journal.put(sc.vendor.Mails()[0].Header, mm4.StatusOK)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if n := len(sc.vendor.Mails()); n != 1 {
		t.Errorf("%d mails", n)
	}
}
