package postgres

import (
	"testing"

	"github.com/postrider/postrider/internal/message"
)

// An MMS becomes the text that goes in its place while it is queued, once, with what it
// takes of the account's limits and balance; its files stay.
func TestMMSBecomesText(t *testing.T) {
	t.Parallel()
	b := setup(t)
	account := b.customer("UTC", 40_000)
	b.limit(account, "", message.SMS, message.PeriodDay, 5)
	b.limit(account, "", message.MMS, message.PeriodDay, 5)
	a := b.metered(account, 1)
	a.Message.Kind, a.Message.Price.Amount = message.MMS, 18_000
	a.Message.Media = []message.Media{{Position: 1, Source: "https://files.example/a.png"}}
	m := b.fits(a, "")
	b.must(message.Change{MessageID: m.ID, To: message.StatusQueued, Started: true})
	text := *m
	text.Kind, text.Requested, text.Body, text.Segments, text.Price.Amount = message.SMS, message.MMS, "look\nhttps://files.example/a.png", 2, 9000
	if done, err := b.Revise(b.ctx, message.Revision{Message: &text}); err != nil || done {
		t.Errorf("a customer's revision of what is queued: %t, %v", done, err)
	}
	r := message.Revision{Message: &text, FellBack: true, Detail: map[string]any{"segments": 2}}
	if done, err := b.Revise(b.ctx, r); err != nil || !done {
		t.Fatalf("%t, %v", done, err)
	}
	if done, err := b.Revise(b.ctx, r); err != nil || done {
		t.Errorf("twice: %t, %v", done, err)
	}
	got, err := b.AccountMessage(b.ctx, account, m.ID)
	if err != nil || got.Kind != message.SMS || got.Requested != message.MMS || got.Body != text.Body || got.Segments != 2 || got.Revision != 1 || got.Status != message.StatusQueued || len(got.Media) != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	if used := b.used(account, m.CreatedAt); used != "mms day 0/5; sms day 2/5; " {
		t.Errorf("it takes %s", used)
	}
	if money := b.money(account); money != "0.04 0.009" {
		t.Errorf("it takes %s", money)
	}
	events, err := b.Events(b.ctx, m.ID, 0, 100)
	if err != nil || events[len(events)-1].Type != message.EventFellBackToSMS {
		t.Errorf("%+v, %v", events, err)
	}
}
