package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/postgres"
)

// verdictOf counts one finding.
func verdictOf(f finding) Verdict {
	var v Verdict
	v.count(7, f)
	return v
}

// world is one message that was accepted over SMPP, delivered and told, in all four
// places; a case changes one of them.
type judged struct {
	entry    entry
	delivery message.Delivery
	fates    []postgres.Fate
	copies   copies
}

func inOrder() *judged {
	id := message.NewID()
	return &judged{
		entry: entry{Offer: Offer{Account: accountPBX, ESME: "pbx-a", Parts: 1, Receipt: true, Hook: true}, answer: answerAccepted, ids: [maxParts]message.ID{id},
			events:   []seen{{event: message.NewID(), word: "sent", times: 1}, {event: message.NewID(), word: "delivered", times: 3}},
			receipts: [maxParts]receiptSeen{{final: true, stat: "DELIVRD", times: 1}}},
		delivery: message.AtMostOnce,
		fates:    []postgres.Fate{{ID: id, Status: message.StatusDelivered, Segments: 1, Attempts: 1, Since: time.Hour}},
		copies:   copies{whole: 1, parts: 1},
	}
}

func (j *judged) assess() finding { return assess(&j.entry, j.delivery, j.fates, j.copies) }

func TestAssess(t *testing.T) {
	for _, c := range []struct {
		name    string
		change  func(j *judged)
		wrong   []string // of Verdict.Wrong
		settled bool
		says    string // one of the details has it
	}{
		{"all in order", func(*judged) {}, nil, true, ""},

		{"not in the record", func(j *judged) { j.fates = nil }, []string{"1 lost"}, false, "not in the record"},
		{"in the record under another id", func(j *judged) { j.fates[0].ID = message.NewID() }, []string{"1 lost"}, false, "in the record as"},
		{"delivered to nobody", func(j *judged) { j.copies = copies{} }, []string{"1 lost"}, false, "no vendor has it"},
		{"delivered without one of its parts", func(j *judged) {
			j.fates[0].Segments, j.copies = 3, copies{parts: 2, incomplete: 1}
		}, []string{"1 lost"}, false, "no vendor has it"},
		{"one part at another vendor", func(j *judged) { j.fates[0].Segments, j.copies = 3, copies{parts: 3, incomplete: 2} }, nil, true, ""},
		{"one part at two vendors", func(j *judged) {
			j.fates[0].Segments, j.copies = 3, copies{whole: 1, parts: 4, incomplete: 1}
		}, []string{"1 doubled"}, true, "took it 1 times"},
		{"ended without a reason", func(j *judged) {
			j.end(message.StatusExpired, "")
			j.copies = copies{}
		}, []string{"1 lost"}, false, "nothing says why"},
		{"failed, and the vendor has it", func(j *judged) { j.end(message.StatusFailed, message.ReasonNoRoute) }, []string{"1 lost"}, false, "all the same"},
		{"failed for a reason", func(j *judged) {
			j.end(message.StatusFailed, message.ReasonNoRoute)
			j.copies = copies{}
		}, nil, true, "no_route"},

		{"twice at the vendors", func(j *judged) { j.copies = copies{whole: 2, parts: 2, duplicates: 1} }, []string{"1 doubled"}, true, "2 times"},
		{"a part twice", func(j *judged) { j.copies = copies{whole: 1, parts: 4, duplicates: 1} }, []string{"1 doubled"}, true, "1 parts of it again"},
		{"twice in the record", func(j *judged) { j.fates = append(j.fates, j.fates[0]) }, []string{"1 doubled"}, true, "2 times in the record"},
		{"twice and not marked, at_least_once", func(j *judged) {
			j.delivery, j.copies = message.AtLeastOnce, copies{whole: 2, parts: 2, duplicates: 1}
		}, []string{"1 doubled"}, true, "possible_duplicate false"},
		{"twice and marked, at_least_once", func(j *judged) {
			j.delivery, j.copies, j.fates[0].MaybeDoubled = message.AtLeastOnce, copies{whole: 2, parts: 2, duplicates: 1}, true
		}, nil, true, ""},
		{"twice and marked, at_most_once", func(j *judged) {
			j.copies, j.fates[0].MaybeDoubled = copies{whole: 2, parts: 2, duplicates: 1}, true
		}, []string{"1 doubled"}, true, ""},
		{"refused and sent", func(j *judged) { j.entry.answer = answerRefused }, []string{"1 doubled"}, true, "it was refused"},
		{"refused", func(j *judged) { j.entry.answer, j.fates, j.copies = answerRefused, nil, copies{} }, nil, true, ""},
		{"refused, and the record says so", func(j *judged) {
			j.entry.answer, j.fates[0].Status, j.copies = answerRefused, message.StatusRejected, copies{}
		}, nil, true, ""},

		{"nobody knows, and it is nowhere", func(j *judged) { j.entry.answer, j.fates, j.copies = answerUnknown, nil, copies{} }, nil, true, ""},
		{"nobody knows, and a vendor alone has it", func(j *judged) { j.entry.answer, j.fates = answerUnknown, nil }, []string{"1 lost"}, true, "vendors have"},
		{"nobody knows, and it went", func(j *judged) {
			j.entry.answer, j.entry.ids, j.entry.receipts = answerUnknown, [maxParts]message.ID{}, [maxParts]receiptSeen{}
		}, nil, true, ""},
		{"nobody knows, and it went without a webhook", func(j *judged) { j.entry.answer, j.entry.events = answerUnknown, nil }, []string{"1 without a webhook"}, false, ""},
		{"the sender still asks", func(j *judged) { j.entry.answer = answerNone }, []string{"1 not at their end"}, false, "still waits"},

		{"under way", func(j *judged) { j.fates[0].Status = message.StatusQueued }, []string{"1 not at their end"}, false, "is queued for 1h0m0s"},
		{"in doubt, and no vendor has it", func(j *judged) { j.fates[0].Status, j.copies = message.StatusInDoubt, copies{} }, nil, true, ""},
		{"in doubt, and a vendor has it", func(j *judged) { j.fates[0].Status, j.fates[0].Since = message.StatusInDoubt, time.Second }, []string{"1 not at their end"}, false, "receipt is missing"},
		{"in doubt for long, and no receipt came", func(j *judged) { j.fates[0].Status = message.StatusInDoubt }, nil, true, ""},
		{"in doubt for long, in parts", func(j *judged) { j.fates[0].Status, j.fates[0].Segments = message.StatusInDoubt, 3 }, nil, true, ""},

		{"no webhook", func(j *judged) { j.entry.events = nil }, []string{"1 without a webhook"}, false, "no webhook said"},
		{"no webhook of the last status", func(j *judged) { j.entry.events = j.entry.events[:1] }, []string{"1 without a webhook"}, false, ""},
		{"a webhook that failed for good", func(j *judged) { j.entry.events, j.fates[0].WebhooksFailed = nil, 1 }, []string{"1 without a webhook"}, false, "1 failed"},
		{"a webhook whose time will come", func(j *judged) {
			j.entry.events, j.fates[0].WebhooksPending, j.fates[0].NextWebhook = nil, 1, 5*time.Minute
		}, nil, true, "tried again in 5m0s"},
		{"a webhook whose time has come", func(j *judged) {
			j.entry.events, j.fates[0].WebhooksPending, j.fates[0].NextWebhook = nil, 1, -time.Hour
		}, []string{"1 without a webhook"}, false, ""},
		{"no endpoint", func(j *judged) { j.entry.Hook, j.entry.events = false, nil }, nil, true, ""},
		{"another id for the same event", func(j *judged) {
			j.entry.events = append(j.entry.events, seen{event: message.NewID(), word: "delivered", times: 1})
		}, []string{"1 whose webhook-id changed"}, true, "2 webhooks with ids of their own"},
		{"another body for the same id", func(j *judged) { j.entry.events[1].changed = true }, []string{"1 whose webhook-id changed"}, true, "two bodies"},
		{"a webhook that names another message", func(j *judged) { j.entry.foreign = 1 }, []string{"1 whose webhook-id changed"}, true, "another message"},
		{"in doubt twice", func(j *judged) {
			j.entry.events = append(j.entry.events, seen{event: message.NewID(), word: "in_doubt"}, seen{event: message.NewID(), word: "in_doubt"})
		}, nil, true, ""},

		{"no receipt", func(j *judged) { j.entry.receipts[0] = receiptSeen{} }, []string{"1 without a receipt"}, false, "no receipt for the answer 1"},
		{"a receipt that says otherwise", func(j *judged) { j.entry.receipts[0].stat = "UNDELIV" }, []string{"1 without a receipt"}, false, "says UNDELIV"},
		{"none for the second part", func(j *judged) {
			j.entry.Parts, j.entry.ids[1] = 2, message.NewID()
		}, []string{"1 without a receipt"}, false, "answer 2"},
	} {
		j := inOrder()
		c.change(j)
		f := j.assess()
		v := verdictOf(f)
		if !slices.Equal(v.Wrong(), c.wrong) || f.settled != c.settled || !strings.Contains(strings.Join(v.Details, "\n"), c.says) {
			t.Errorf("%s: wrong %q, settled %t: %q", c.name, v.Wrong(), f.settled, v.Details)
		}
	}
}

// end is another end than delivered, of which the customer was told.
func (j *judged) end(s message.Status, r message.Reason) {
	j.fates[0].Status, j.fates[0].Reason = s, r
	j.entry.events[1].word, j.entry.receipts[0].stat = string(s), "UNDELIV"
}

func TestVerdictIsBounded(t *testing.T) {
	var v Verdict
	for i := range 3 * mostDetails {
		v.detail("%d", i)
	}
	if len(v.Details) != mostDetails {
		t.Errorf("%d details", len(v.Details))
	}
}
