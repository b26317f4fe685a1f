package main

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/postgres"
)

// judgedMMS is one that was accepted, delivered and told to both sides.
type judgedMMS struct {
	entry       entry
	fates, came []postgres.Fate
	unread      error
}

func mmsInOrder() *judgedMMS {
	id, in := message.NewID(), message.NewID()
	return &judgedMMS{
		entry: entry{Offer: Offer{Account: accountPrudent, Parts: 1, Hook: true, MMS: true}, answer: answerAccepted, ids: [maxParts]message.ID{id},
			events: []seen{{event: message.NewID(), word: "delivered", times: 1}}, file: &fileSeen{arrivals: []arrival{{message: in, event: in}}}},
		fates: []postgres.Fate{{ID: id, Status: message.StatusDelivered, Segments: 1, Attempts: 1, Since: time.Hour}},
		came:  []postgres.Fate{{ID: in, Status: message.StatusDelivered}},
	}
}

func TestAssessMMS(t *testing.T) {
	for _, c := range []struct {
		name    string
		change  func(j *judgedMMS)
		wrong   []string // of Verdict.Wrong
		settled bool
		says    string
	}{
		{"all in order", func(*judgedMMS) {}, nil, true, ""},
		{"delivered, and never came in", func(j *judgedMMS) { j.came, j.entry.file.arrivals = nil, nil }, []string{"1 lost"}, false, "no vendor has it"},
		{"came in twice", func(j *judgedMMS) { j.came = append(j.came, postgres.Fate{ID: message.NewID()}) }, []string{"1 doubled"}, true, "2 times"},
		{"told twice with two ids", func(j *judgedMMS) {
			j.entry.file.arrivals = append(j.entry.file.arrivals, arrival{message: message.NewID(), event: message.NewID()})
		}, []string{"1 doubled"}, true, "told of it 2 times"},
		{"told with two bodies", func(j *judgedMMS) { j.entry.file.arrivals[0].changed = true }, []string{"1 whose webhook-id changed"}, true, "two bodies"},
		{"told as another message", func(j *judgedMMS) { j.entry.file.arrivals[0].message = message.NewID() }, []string{"1 whose webhook-id changed"}, true, "it came in as"},
		{"not told yet", func(j *judgedMMS) { j.entry.file.arrivals, j.came[0].WebhooksPending = nil, 1 }, []string{"1 without a webhook"}, false, "was not told"},
		{"told later", func(j *judgedMMS) {
			j.entry.file.arrivals, j.came[0].WebhooksPending, j.came[0].NextWebhook = nil, 1, time.Hour
		}, nil, true, "again in 1h0m0s"},
		{"a file that cannot be read", func(j *judgedMMS) { j.unread = errors.New("404") }, []string{"1 without their file"}, false, "404"},
		{"refused for its file", func(j *judgedMMS) {
			j.came, j.entry.file.arrivals = nil, nil
			j.entry.events[0].word = "failed"
			j.fates[0].Status, j.fates[0].Reason = message.StatusFailed, message.ReasonMediaRejected
		}, []string{"1 lost"}, false, "nothing wrong with its file"},
		{"under way", func(j *judgedMMS) {
			j.came, j.entry.file.arrivals, j.entry.events, j.fates[0].Status = nil, nil, nil, message.StatusQueued
		}, []string{"1 not at their end"}, false, "queued"},
	} {
		t.Run(c.name, func(t *testing.T) {
			j := mmsInOrder()
			c.change(j)
			f := assessMMS(&j.entry, message.AtMostOnce, j.fates, j.came, j.unread)
			if v := verdictOf(f); v.MMS != 1 || !slices.Equal(v.Wrong(), c.wrong) || f.settled != c.settled || !strings.Contains(strings.Join(v.Details, "\n"), c.says) {
				t.Errorf("wrong %q, settled %t, %q", v.Wrong(), f.settled, v.Details)
			}
		})
	}
}
