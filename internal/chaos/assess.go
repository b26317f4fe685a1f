package main

import (
	"fmt"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/postgres"
)

// copies is how often the vendors have a message.
type copies struct {
	whole      int // complete messages
	parts      int // short messages
	duplicates int // of those, taken before
	incomplete int // sets that lack parts
}

func (c copies) add(o copies) copies {
	return copies{c.whole + o.whole, c.parts + o.parts, c.duplicates + o.duplicates, c.incomplete + o.incomplete}
}

// twice reports whether anything of a message of so many segments was taken more than
// once.
func (c copies) twice(segments int) bool {
	return c.whole > 1 || c.duplicates > 0 || segments > 1 && c.parts > segments
}

// all reports whether the vendors have all of a message of so many segments: one of them
// has it whole, or they have it between them. A message of which a vendor took some
// parts and refused others goes on at the next vendor with those alone.
func (c copies) all(segments int) bool {
	return c.whole > 0 || segments > 1 && c.parts-c.duplicates >= segments
}

// finding is what can be said of one message. settled: nothing that is wrong with it can
// still come right, and nothing right is still to come.
type finding struct {
	accepted, refused, unknown      bool
	final, open, inDoubt            bool
	lost, doubled, idsChanged       bool
	receiptMissing                  bool
	mms, fileMissing                bool
	webhookMissing, webhookIsToCome bool          // the latter: it failed, and has its time at which it is tried again
	next                            time.Duration // until then, of the latter
	settled                         bool
	why                             []string
}

func (f *finding) say(format string, args ...any) {
	f.why = append(f.why, fmt.Sprintf(format, args...))
}

// enough is how long a message in doubt may wait for receipts that settle it.
const enough = time.Minute

// soon is how far off a webhook's next try may be while it is waited for.
const soon = 30 * time.Second

// assess compares what a message's sender knows (e), what the record says (fates: all
// messages to its number) and what the vendors have (c). It changes nothing; the same
// arguments give the same finding.
func assess(e *entry, delivery message.Delivery, fates []postgres.Fate, c copies) finding {
	f := finding{accepted: e.answer == answerAccepted, refused: e.answer == answerRefused, unknown: e.answer == answerUnknown}
	fate, found := f.record(e, fates)
	switch {
	case e.answer == answerNone:
		f.open = true
		f.say("its sender still waits for an answer, since %s", e.offered.Format(time.TimeOnly))
		return f
	case f.refused:
		if c.whole > 0 || found && fate.Status != message.StatusRejected {
			f.doubled = true
			f.say("it was refused (%s), is %s, and %d vendors have it", e.why, fate.Status, c.whole)
		}
		f.settled = true
		return f
	case !found && f.accepted:
		f.lost = true
		f.say("it was accepted as %s, and is not in the record", e.ids[0])
		return f
	case !found:
		if c.parts > 0 {
			f.lost = true
			f.say("vendors have %d parts of it, and it is not in the record", c.parts)
		}
		f.settled = true
		return f
	}
	f.state(delivery, fate, c)
	f.customer(e, fate)
	if f.final || fate.Status == message.StatusInDoubt {
		f.settled = !f.open && !f.lost && !f.receiptMissing && !f.webhookMissing
	}
	return f
}

// record finds the message in the record: one, by the id that was answered.
func (f *finding) record(e *entry, fates []postgres.Fate) (postgres.Fate, bool) {
	if len(fates) == 0 {
		return postgres.Fate{}, false
	}
	if len(fates) > 1 {
		f.doubled = true
		f.say("it is %d times in the record", len(fates))
	}
	if e.answer != answerAccepted || e.Parts > 1 {
		return fates[0], true
	}
	for _, fate := range fates {
		if fate.ID == e.ids[0] {
			return fate, true
		}
	}
	f.say("it is in the record as %s", fates[0].ID)
	return postgres.Fate{}, false
}

// state judges the status by what the vendors have.
func (f *finding) state(delivery message.Delivery, fate postgres.Fate, c copies) {
	name := fmt.Sprintf("%s is %s", fate.ID, fate.Status)
	if fate.Reason != "" {
		name += " (" + string(fate.Reason) + ")"
	}
	if c.twice(fate.Segments) && (delivery == message.AtMostOnce || !fate.MaybeDoubled) {
		f.doubled = true
		f.say("%s, and the vendors took it %d times, %d parts of it again, possible_duplicate %t", name, c.whole, c.duplicates, fate.MaybeDoubled)
	}
	switch fate.Status {
	case message.StatusInDoubt, message.StatusUnconfirmed:
		f.inDoubt = true
		f.final = fate.Status.Final()
		// A receipt that comes settles it, if one comes: some vendors send none, and of
		// parts that are all in doubt nobody can say which one it is about. One that came
		// and settled nothing breaks an invariant of the record.
		if c.all(fate.Segments) && fate.Since < enough {
			f.open = true
			f.say("%s, and a vendor has it, so that its receipt is missing", name)
		}
	case message.StatusDelivered:
		f.final = true
		if !c.all(fate.Segments) {
			f.lost = true
			f.say("%s, and no vendor has it: %+v", name, c)
		}
	case message.StatusUndelivered, message.StatusFailed, message.StatusRejected, message.StatusExpired, message.StatusCanceled:
		f.final = true
		if fate.Reason == "" && fate.Status != message.StatusCanceled {
			f.lost = true
			f.say("%s, and nothing says why", name)
			return
		}
		f.say("%s", name)
		if fate.Status != message.StatusUndelivered && c.all(fate.Segments) {
			f.lost = true
			f.say("a vendor has it all the same")
		}
	default:
		f.open = true
		f.say("%s for %s, with %d attempts; to be started: %t", name, fate.Since.Round(time.Second), fate.Attempts, fate.Waits)
	}
}

// customer judges what the customer was told.
func (f *finding) customer(e *entry, fate postgres.Fate) {
	events := map[string]int{}
	for _, s := range e.events {
		events[s.word]++
		if s.changed {
			f.idsChanged = true
			f.say("the webhook %s of it came with two bodies", s.event)
		}
	}
	for word, n := range events {
		// A message may be in doubt more than once when it is sent again.
		if n > 1 && message.Status(word) != message.StatusInDoubt {
			f.idsChanged = true
			f.say("%d webhooks with ids of their own said that it is %s", n, word)
		}
	}
	if e.foreign > 0 {
		f.idsChanged = true
		f.say("%d webhooks about it name another message", e.foreign)
	}
	if !f.final {
		return
	}
	if e.Hook && events[string(fate.Status)] == 0 {
		switch {
		case fate.WebhooksPending > 0 && fate.NextWebhook > soon:
			f.webhookIsToCome, f.next = true, fate.NextWebhook
			f.say("the webhook of %s (%s) is tried again in %s", fate.ID, fate.Status, fate.NextWebhook.Round(time.Second))
		default:
			f.webhookMissing = true
			f.say("no webhook said that %s is %s: %d pending, the next in %s, %d failed", fate.ID, fate.Status, fate.WebhooksPending, fate.NextWebhook.Round(time.Second), fate.WebhooksFailed)
		}
	}
	if !e.Receipt || e.answer != answerAccepted {
		return
	}
	for part, r := range e.receipts[:e.Parts] {
		switch {
		case !r.final:
			f.receiptMissing = true
			f.say("%s (%s) got no receipt for the answer %d: %d pending, %d delivered, %d given up", fate.ID, fate.Status, part+1, fate.ReceiptsPending, fate.ReceiptsFinished, fate.ReceiptsGivenUp)
		case (r.stat == "DELIVRD") != (fate.Status == message.StatusDelivered):
			f.receiptMissing = true
			f.say("%s is %s, and its last receipt says %s", fate.ID, fate.Status, r.stat)
		}
	}
}

// count adds a finding to a verdict.
func (v *Verdict) count(i int, f finding) {
	for _, of := range []struct {
		holds bool
		n     *int
	}{
		{f.accepted, &v.Accepted}, {f.refused, &v.Refused}, {f.unknown, &v.Unknown}, {f.final, &v.Final}, {f.open, &v.Open},
		{f.lost, &v.Lost}, {f.doubled, &v.Doubled}, {f.inDoubt, &v.InDoubt}, {f.receiptMissing, &v.ReceiptsMissing},
		{f.webhookMissing, &v.WebhooksMissing}, {f.webhookIsToCome, &v.WebhooksToCome}, {f.idsChanged, &v.WebhookIDsChanged},
		{f.mms && f.accepted, &v.MMS}, {f.fileMissing, &v.FilesMissing},
	} {
		if of.holds {
			*of.n++
		}
	}
	for _, why := range f.why {
		v.detail("message %d: %s", i, why)
	}
}

// mostDetails bounds what a verdict tells.
const mostDetails = 200

func (v *Verdict) detail(format string, args ...any) {
	if len(v.Details) < mostDetails {
		v.Details = append(v.Details, fmt.Sprintf(format, args...))
	}
}
