package admit_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/postrider/postrider/activities/admit"
	"github.com/postrider/postrider/activities/journaltest"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// What was accepted a moment ago is remembered, and is not what the record has any
// more: a refusal of it is not written.
func TestRefusalOfAnOldRevision(t *testing.T) {
	for name, spoil := range map[string]func(b *bundle){
		"expired": func(b *bundle) {
			b.m.ExpiresAt = now
			b.journal.Put(b.m)
			b.journal.Revise(b.m.ID, func(m *message.Message) { m.ExpiresAt = now.Add(time.Hour) })
		},
		"policy": func(b *bundle) {
			b.config.Vendors = map[message.ID]*snapshot.Vendor{}
			b.journal.Revise(b.m.ID, func(m *message.Message) { m.Body = "new" })
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := setup(t)
			spoil(b)
			b.journal.Remembers = true
			if r := b.admit(t); !reflect.DeepEqual(r, admit.Result{Revised: true}) || b.journal.Status(b.m.ID) != message.StatusAccepted || len(b.journal.Timeline(b.m.ID)) != 0 {
				t.Errorf("%+v, %s", r, b.journal.Status(b.m.ID))
			}
			r, err := b.steps.Admit(t.Context(), admit.Input{MessageID: b.m.ID, Fresh: true})
			switch {
			case err != nil, r.Revised:
				t.Errorf("%+v, %v", r, err)
			case name == "expired" && (!r.Allowed || r.Revision != 1), name == "policy" && r.Status != message.StatusRejected:
				t.Errorf("%+v", r)
			}
		})
	}
}

// An ordinary message says nothing of revisions and times, and reads nothing.
func TestAdmitOrdinary(t *testing.T) {
	b := setup(t)
	b.journal.Remembers = true
	b.journal.Step = func(operation string, _ bool) error {
		t.Errorf("%s", operation)
		return nil
	}
	r, err := b.steps.Admit(t.Context(), admit.Input{MessageID: b.m.ID, Times: b.m.Times()})
	if err != nil || !r.Allowed || r.Revision != 0 || r.Times != nil || r.Revised {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestAdmitTimes(t *testing.T) {
	for _, c := range []struct {
		name             string
		known, sendAt    time.Duration // from now; 0: at once
		validity         time.Duration // of the record, from now
		revised, allowed bool
	}{
		{"as known", -time.Second, -time.Second, time.Hour, false, true},
		{"put off", -time.Second, time.Hour, 2 * time.Hour, true, false},
		{"put off, of one that waited for nothing", 0, time.Hour, 2 * time.Hour, true, false},
		{"brought forward", -time.Second, -time.Minute, time.Hour, false, true},
		{"valid for longer", -time.Second, -time.Second, 2 * time.Hour, false, true},
		// The workflow's clock is ahead of ours, and it has waited for this time.
		{"not yet by our clock", time.Millisecond, time.Millisecond, time.Hour, false, true},
	} {
		b := setup(t)
		when := func(d time.Duration) time.Time {
			if d == 0 {
				return time.Time{}
			}
			return now.Add(d)
		}
		known := message.Times{SendAt: when(c.known), ExpiresAt: now.Add(time.Hour)}
		b.m.SendAt, b.m.ExpiresAt, b.m.Revision = when(c.sendAt), now.Add(c.validity), 2
		b.journal.Put(b.m)
		r, err := b.steps.Admit(t.Context(), admit.Input{MessageID: b.m.ID, Times: known})
		if err != nil || r.Revised != c.revised || r.Allowed != c.allowed || r.Revision != 2 {
			t.Errorf("%s: %+v, %v", c.name, r, err)
		}
		if same := known.Equal(b.m.Times()); same != (r.Times == nil) || !same && !r.Times.Equal(b.m.Times()) {
			t.Errorf("%s: %+v", c.name, r.Times)
		}
	}
}

var _ admit.Journal = (*journaltest.Journal)(nil)
