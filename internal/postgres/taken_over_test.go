package postgres

import (
	"testing"

	"github.com/postrider/postrider/internal/message"
)

// A process that goes on with attempts which another one left open has them under its
// name. One that is answered stays as it is, and so does all of a message that has moved
// on.
func TestTakenOver(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m := b.accepted(2)
	b.must(message.Change{MessageID: m.ID, To: message.StatusQueued, Started: true})
	b.must(message.Change{MessageID: m.ID, To: message.StatusSending, Vendor: b.vendor, Attempts: []message.Attempt{
		{Part: 1, Number: 1, Vendor: b.vendor, Instance: "one"}, {Part: 2, Number: 1, Vendor: b.vendor, Instance: "one"}}})
	b.must(message.Change{MessageID: m.ID, Answers: []message.Answer{{Part: 2, Attempt: 1, State: message.PartRefused}}})
	take := func(instance string) message.Change {
		return message.Change{MessageID: m.ID, While: message.StatusSending, Events: line(message.StatusSending),
			TakenOver: []message.Attempt{{Part: 1, Number: 1, Instance: instance}, {Part: 2, Number: 1, Instance: instance}}}
	}
	wants := func(first, second string) {
		t.Helper()
		parts, err := b.Parts(b.ctx, m.ID, 2)
		if err != nil || parts[0].Instance != first || parts[0].State != message.PartSending || parts[1].Instance != second || parts[1].State != message.PartRefused {
			t.Errorf("%+v, %v", parts, err)
		}
	}
	wants("one", "one")
	b.must(take("two"))
	wants("two", "one")
	b.must(message.Change{MessageID: m.ID, To: message.StatusInDoubt})
	before := b.traces(m)
	if adv, err := b.Advance(b.ctx, take("three")); err != nil || adv.Changed || adv.Was != message.StatusInDoubt {
		t.Errorf("%+v, %v", adv, err)
	}
	if after := b.traces(m); after != before {
		t.Errorf("wrote\n%s\nover\n%s", after, before)
	}
}
