package main

import (
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/postgres"
)

// assessMMS is assess of an MMS. came is what the record says of it as it came in for the
// owner of its number: that is to an MMS what a vendor's copy is to others. unread is why
// its file cannot be read by him; nil: he was not told of it yet, or it can.
func assessMMS(e *entry, delivery message.Delivery, fates, came []postgres.Fate, unread error) finding {
	f := assess(e, delivery, fates, copies{whole: len(came), parts: len(came)})
	f.mms = true
	f.received(e, came)
	if unread != nil {
		f.fileMissing = true
		f.say("its receiver cannot read its file: %v", unread)
	}
	for _, fate := range fates {
		switch fate.Reason {
		case message.ReasonMediaRejected, message.ReasonMediaUnavailable:
			f.lost = true
			f.say("%s is %s (%s), and there is nothing wrong with its file", fate.ID, fate.Status, fate.Reason)
		}
	}
	f.settled = f.settled && !f.lost && !f.webhookMissing && !f.fileMissing
	return f
}

// received judges what its receiver was told.
func (f *finding) received(e *entry, came []postgres.Fate) {
	heard := e.file.arrivals
	for _, a := range heard {
		if a.changed {
			f.idsChanged = true
			f.say("the webhook %s of what came in had two bodies", a.event)
		}
	}
	if len(heard) > 1 {
		f.doubled = true
		f.say("its receiver was told of it %d times: %s, %s", len(heard), heard[0].message, heard[1].message)
	}
	if len(came) != 1 {
		return // assess has said so, unless it is under way
	}
	switch in := came[0]; {
	case len(heard) > 0 && heard[0].message != in.ID:
		f.idsChanged = true
		f.say("its receiver was told of %s, and it came in as %s", heard[0].message, in.ID)
	case len(heard) > 0:
	case in.WebhooksPending > 0 && in.NextWebhook > soon:
		f.webhookIsToCome, f.next = true, max(f.next, in.NextWebhook)
		f.say("its receiver is told of %s again in %s", in.ID, in.NextWebhook.Round(time.Second))
	default:
		f.webhookMissing = true
		f.say("its receiver was not told that it came in as %s: %d pending, the next in %s, %d failed", in.ID, in.WebhooksPending, in.NextWebhook.Round(time.Second), in.WebhooksFailed)
	}
}
