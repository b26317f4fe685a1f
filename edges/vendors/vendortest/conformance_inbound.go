package vendortest

import (
	"errors"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// A receipt is handed up before the answer to its submit, after it, twice, and when it
// contradicts an earlier one: what to make of them is the journal's business.
func conformReceipts(t *testing.T, s Subject) {
	sc := ready(t, s, Options{})
	sc.vendor.Answer(Reply{First: message.ReceiptDelivered})
	o := sc.submit(t.Context(), whole())
	if o.no != nil {
		t.Fatal(o.no)
	}
	c := sc.came(1)[0]
	states := []message.ReceiptState{message.ReceiptDelivered, message.ReceiptDelivered, message.ReceiptUndeliverable}
	for _, state := range states[1:] {
		if err := sc.vendor.SendReceipt(t.Context(), c, state); err != nil {
			t.Fatal(err)
		}
	}
	vendor := message.ID{}
	for i, want := range states {
		r := <-sc.receipts
		if err := o.belongs(r); err != nil {
			t.Errorf("receipt %d: %v", i, err)
		}
		if i == 0 {
			vendor = r.VendorID
		}
		if r.State != want || r.VendorID != vendor || vendor == (message.ID{}) || r.ID == (message.ID{}) ||
			r.ReceivedAt.IsZero() || r.ReceivedAt.After(time.Now()) {
			t.Errorf("receipt %d: %+v", i, r)
		}
		if failed := want != message.ReceiptDelivered; (r.Reason != "") != failed || failed && !r.Reason.Known() {
			t.Errorf("receipt %d, %s, has the reason %q", i, want, r.Reason)
		}
	}
	if len(sc.receipts) != 0 || len(sc.inbound) != 0 {
		t.Errorf("%d receipts and %d messages more", len(sc.receipts), len(sc.inbound))
	}
}

// The journal keeps receipts that belong to nothing yet: the link does not judge.
func conformUnknownReceipt(t *testing.T, s Subject) {
	sc := ready(t, s, Options{})
	c := Came{ID: "7f00ff7f", From: string(suiteFrom), To: string(suiteTo)}
	if err := sc.vendor.SendReceipt(t.Context(), c, message.ReceiptDelivered); err != nil {
		t.Fatal(err)
	}
	if r := <-sc.receipts; r.VendorMessageID == "" || r.State != message.ReceiptDelivered {
		t.Errorf("%+v", r)
	}
}

func conformReceiptAgain(t *testing.T, s Subject) {
	sc := ready(t, s, Options{})
	o := sc.submit(t.Context(), whole())
	if o.no != nil {
		t.Fatal(o.no)
	}
	c := sc.came(1)[0]
	sc.setFail(errors.New("database is away"))
	if err := sc.vendor.SendReceipt(t.Context(), c, message.ReceiptDelivered); !errors.Is(err, ErrAskedAgain) {
		t.Errorf("not committed, and the vendor heard %v", err)
	}
	sc.setFail(nil)
	if err := sc.vendor.SendReceipt(t.Context(), c, message.ReceiptDelivered); err != nil {
		t.Error(err)
	}
	if err := o.belongs(<-sc.receipts); err != nil {
		t.Error(err)
	}
}

func conformInbound(t *testing.T, s Subject) {
	sc := ready(t, s, Options{})
	in := Inbound{ID: "mo-1", From: string(suiteTo), To: string(suiteFrom), Text: suiteText}
	var refs [2]string
	for i := range refs { // doubled: both go up, and can be told to be one
		if err := sc.vendor.SendInbound(t.Context(), in); err != nil {
			t.Fatal(err)
		}
		m := <-sc.inbound
		if !sameNumber(m.From, suiteTo) || !sameNumber(m.To, suiteFrom) || m.Text != in.Text || m.Encoding != message.EncodingGSM7 ||
			!m.Whole() || m.VendorID == (message.ID{}) || m.ReceivedAt.IsZero() {
			t.Errorf("%+v", m)
		}
		refs[i] = m.VendorRef
	}
	if refs[0] != refs[1] {
		t.Errorf("the same message is %q and %q", refs[0], refs[1])
	}
	in.ID, in.Text = "mo-2", "other words"
	if err := sc.vendor.SendInbound(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	if m := <-sc.inbound; m.Text != in.Text || m.VendorRef != "" && m.VendorRef == refs[0] {
		t.Errorf("%+v", m)
	}
	if len(sc.inbound) != 0 || len(sc.receipts) != 0 {
		t.Errorf("%d messages and %d receipts more", len(sc.inbound), len(sc.receipts))
	}
}

func conformInboundAgain(t *testing.T, s Subject) {
	sc := ready(t, s, Options{})
	in := Inbound{ID: "mo-1", From: string(suiteTo), To: string(suiteFrom), Text: suiteText}
	sc.setFail(errors.New("database is away"))
	if err := sc.vendor.SendInbound(t.Context(), in); !errors.Is(err, ErrAskedAgain) {
		t.Errorf("not committed, and the vendor heard %v", err)
	}
	sc.setFail(nil)
	if err := sc.vendor.SendInbound(t.Context(), in); err != nil {
		t.Error(err)
	}
	if m := <-sc.inbound; m.Text != in.Text {
		t.Errorf("%+v", m)
	}
}
