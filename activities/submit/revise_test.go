package submit_test

import (
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postrider/postrider/activities/submit"
	"github.com/postrider/postrider/internal/message"
)

// texts notes what the vendor is given.
func (b *bundle) texts() func() string {
	var mu sync.Mutex
	var list []string
	b.vendor.answer = func(s message.Submission, _ int) (message.SubmitResult, error) {
		mu.Lock()
		defer mu.Unlock()
		list = append(list, s.Text)
		return message.SubmitResult{VendorMessageID: "x", NormalizedID: "x"}, nil
	}
	return func() string {
		mu.Lock()
		defer mu.Unlock()
		return strings.Join(list, "|")
	}
}

func (b *bundle) revise(t *testing.T, text string) {
	t.Helper()
	if !b.journal.Revise(b.m.ID, func(m *message.Message) { m.Body = text }) {
		t.Error("too late to revise")
	}
}

// The message is revised at every moment before it is journalled: nothing is sent,
// nothing is written, and the next run, of the new revision, sends the new text.
func TestRevisedBeforeTheSubmit(t *testing.T) {
	for name, arrange := range map[string]func(t *testing.T, b *bundle){
		"by another process":         func(t *testing.T, b *bundle) { b.revise(t, "new") },
		"and read from the record":   func(t *testing.T, b *bundle) { b.revise(t, "new"); b.journal.Remembers = false },
		"between read and write":     func(t *testing.T, b *bundle) { b.reviseAt(t, "advance") },
		"between its row and a read": func(t *testing.T, b *bundle) { b.journal.Remembers = false; b.reviseAt(t, "message") },
		"without a link": func(t *testing.T, b *bundle) {
			b.revise(t, "new")
			there := b.steps.Connector
			b.steps.Connector = func(id message.ID) submit.Connector {
				b.steps.Connector = there
				return nil
			}
		},
		"to be valid for longer": func(t *testing.T, b *bundle) {
			b.m.ExpiresAt = now
			b.journal.Put(b.m)
			b.journal.Revise(b.m.ID, func(m *message.Message) { m.Body, m.ExpiresAt = "new", now.Add(time.Hour) })
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := first(t, 1, message.AtMostOnce)
			sent := b.texts()
			arrange(t, b)
			if r := b.submit(t); !reflect.DeepEqual(r, submit.Result{Outcome: submit.Revised}) || sent() != "" {
				t.Errorf("%+v, sent %q", r, sent())
			}
			if s := b.journal.Status(b.m.ID); s != message.StatusAccepted || len(b.journal.Timeline(b.m.ID)) != 0 || b.journal.Started(b.m.ID) || len(b.journal.States(b.m.ID, 1)) != 0 {
				t.Errorf("%s, %v", s, b.journal.Timeline(b.m.ID))
			}
			b.in.Revision = 1
			if r := b.submit(t); r.Outcome != submit.Sent || sent() != "new" {
				t.Errorf("again %+v, sent %q", r, sent())
			}
		})
	}
}

// reviseAt revises the message just before the next operation of the kind.
func (b *bundle) reviseAt(t *testing.T, operation string) {
	b.journal.Step = func(op string, done bool) error {
		if op == operation && !done {
			b.journal.Step = nil
			b.revise(t, "new")
		}
		return nil
	}
}

// It is withdrawn after it was revised: that is what the submit says.
func TestRevisedAndWithdrawn(t *testing.T) {
	b := first(t, 1, message.AtMostOnce)
	sent := b.texts()
	b.revise(t, "new")
	b.journal.SetStatus(b.m.ID, message.StatusCanceled)
	if r := b.submit(t); r.Outcome != submit.Ended || r.Status != message.StatusCanceled || sent() != "" {
		t.Errorf("%+v, sent %q", r, sent())
	}
}
