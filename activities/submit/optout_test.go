package submit_test

import (
	"slices"
	"testing"

	"github.com/postrider/postrider/activities/submit"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// A vendor that refuses because the recipient has stopped the sender tells of an
// opt-out: it is recorded with the refusal, however much the vendor took.
func TestVendorsBlockIsRecorded(t *testing.T) {
	t.Parallel()
	stopped := message.SubmitError{Reason: message.ReasonOptedOut, VendorCode: "21610", Written: true, Answered: true}
	for _, c := range []struct {
		name   string
		parts  int
		answer func(message.Submission, int) (message.SubmitResult, error)
		want   submit.Outcome
	}{
		{"all of it", 1, refuse(stopped), submit.Refused},
		{"a part", 2, only(2, stopped), submit.Partial},
	} {
		for _, way := range setups {
			b := way.make(t, c.parts, message.AtMostOnce)
			endpoint := snapshot.Endpoint{ID: message.NewID(), AccountID: b.m.AccountID, URL: "https://shop.example/events"}
			b.config.Endpoints = map[message.ID][]snapshot.Endpoint{b.m.AccountID: {endpoint}}
			b.vendor.answer = c.answer
			if r := b.submit(t); r.Outcome != c.want || r.Reason != message.ReasonOptedOut {
				t.Fatalf("%s, %s: %+v", c.name, way.name, r)
			}
			list := b.journal.OptOuts()
			if len(list) != 1 {
				t.Fatalf("%s, %s: %+v", c.name, way.name, list)
			}
			if o := list[0]; o.AccountID != b.m.AccountID || o.Recipient != b.m.To || o.Sender != b.m.From || o.Scope != message.OptOutNumber ||
				o.Source != message.OptOutByVendor || o.MessageID != b.m.ID || o.Actor != "acme" || o.ID == (message.ID{}) || !o.Active() {
				t.Errorf("%s, %s: %+v", c.name, way.name, o)
			}
			if lines := b.journal.Timeline(b.m.ID); !slices.Contains(lines, message.EventOptOutRecorded) {
				t.Errorf("%s, %s: %v", c.name, way.name, lines)
			}
		}
	}
	for _, no := range []message.SubmitError{answeredNo, throttled, linkLost} {
		b := setup(t, 1, message.AtMostOnce)
		b.vendor.answer = refuse(no)
		b.submit(t)
		if list := b.journal.OptOuts(); len(list) != 0 {
			t.Errorf("%s: %+v", no.Reason, list)
		}
	}
}
