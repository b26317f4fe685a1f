package ingress_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider/activities/record"
	"github.com/postrider/postrider/edges/ingress"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// find gives the acceptance of a message, nil when there is none.
func (j *journal) find(id message.ID) *message.Acceptance {
	for i := range j.accepted {
		if j.accepted[i].Message.ID == id {
			return &j.accepted[i]
		}
	}
	return nil
}

func (j *journal) Message(_ context.Context, id message.ID) (out *message.Message, err error) {
	fail := j.do(func() {
		if a := j.find(id); a != nil {
			m := *a.Message
			out = &m
			return
		}
		err = message.Refuse(message.ReasonNotFound, "no message %s", id)
	})
	return out, errors.Join(fail, err)
}

// set changes a stored message behind everybody's back.
func (j *journal) set(id message.ID, change func(m *message.Message)) {
	_ = j.do(func() {
		a := j.find(id)
		m := *a.Message
		change(&m)
		a.Message = &m
	})
}

func (j *journal) Revise(_ context.Context, r message.Revision) (done bool, err error) {
	err = j.step("revise", func() {
		a := j.find(r.Message.ID)
		if done = a.Message.Status.Revisable() && a.Message.Revision == r.Message.Revision; !done {
			return
		}
		m := *r.Message
		m.Revision++
		a.Message = &m
		j.revisions = append(j.revisions, r)
		if r.Tell {
			j.untold = append(j.untold, message.RevisionDue{MessageID: m.ID, Revision: m.Revision})
		}
	})
	return done, err
}

func (j *journal) RevisionsDue(_ context.Context, _ time.Duration, limit int) (out []message.RevisionDue, err error) {
	err = j.do(func() { out = slices.Clone(j.untold[:min(limit, len(j.untold))]) })
	return out, err
}

func (j *journal) RevisionTold(_ context.Context, told message.RevisionDue) error {
	return j.do(func() {
		j.untold = slices.DeleteFunc(j.untold, func(d message.RevisionDue) bool {
			return d.MessageID == told.MessageID && d.Revision <= told.Revision
		})
	})
}

func (j *journal) FirstAnswer(_ context.Context, k message.Idempotency) (first *message.Idempotency, err error) {
	fail := j.do(func() {
		if first = j.keys[k.Key]; first != nil && first.BodyHash != k.BodyHash {
			first, err = nil, message.Refuse(message.ReasonIdempotencyMismatch, "another body")
		}
	})
	return first, errors.Join(fail, err)
}

func (s *server) Revised(_ context.Context, id message.ID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.moved.Broadcast()
	if s.down != nil {
		return s.down
	}
	if s.closed[id] {
		return message.Refuse(message.ReasonNotFound, "closed")
	}
	s.revised = append(s.revised, id)
	return nil
}

// scheduled accepts a message for tomorrow.
func (b *bundle) scheduled(t *testing.T) *message.Message {
	t.Helper()
	r := b.request()
	r.SendAt = time.Now().Add(24 * time.Hour)
	out, err := b.Accept(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return out.Message
}

func TestRevise(t *testing.T) {
	b := setup(t)
	was := b.scheduled(t)
	at := time.Now().Add(2 * time.Hour).UTC().Truncate(time.Millisecond)
	registered := byte(2)
	long := strings.Repeat("a", 161)
	m, err := b.Revise(t.Context(), ingress.Revision{MessageID: was.ID, AccountID: b.account.ID, Edge: "smpp", Body: long, SendAt: at, Validity: time.Hour, Registered: &registered})
	if err != nil {
		t.Fatal(err)
	}
	stored := b.journal.all()[0].Message
	if m.Body != long || m.Segments != 2 || m.Encoding != message.EncodingGSM7 || !m.SendAt.Equal(at) || !m.ExpiresAt.Equal(at.Add(time.Hour)) || m.Revision != 1 ||
		m.Price != (message.Price{Amount: 9000, Currency: "USD", Estimated: true}) || m.CampaignID != "C1" || m.Status != message.StatusAccepted || stored.Body != long || stored.Revision != 1 {
		t.Errorf("%+v", m)
	}
	if len(b.journal.all()) != 1 {
		t.Error("another message")
	}
	change := b.journal.revisions[0]
	if *change.Registered != registered || !change.Tell || !slices.Equal(b.server.revised, []message.ID{m.ID}) || len(b.journal.untold) != 0 {
		t.Errorf("%+v, told %v, not told %v", change, b.server.revised, b.journal.untold)
	}
	want := []string{"body", "send_at", "expires_at", "registered_delivery"}
	if got := change.Detail["changed"]; !slices.Equal(got.([]string), want) || change.Detail["segments"] != 2 || change.Detail["edge"] != "smpp" {
		t.Errorf("%v", change.Detail)
	}
	for k, v := range change.Detail {
		if s, ok := v.(string); ok && strings.Contains(s, "aaa") {
			t.Errorf("%s has the text", k)
		}
	}
	// What the next one does not name stays, and nobody need be told.
	m, err = b.Revise(t.Context(), ingress.Revision{MessageID: was.ID, AccountID: b.account.ID, Body: "short"})
	if err != nil || m.Body != "short" || m.Segments != 1 || m.Price.Amount != 4500 || !m.SendAt.Equal(at) || !m.ExpiresAt.Equal(at.Add(time.Hour)) || m.Revision != 2 {
		t.Errorf("%+v, %v", m, err)
	}
	if b.journal.revisions[1].Registered != nil || b.journal.revisions[1].Tell || len(b.server.revised) != 1 {
		t.Errorf("%+v", b.journal.revisions[1])
	}
}

// The alphabet stays unless a new one is asked for.
func TestReviseEncoding(t *testing.T) {
	for _, c := range []struct {
		name, body string
		was, wish  message.Encoding
		want       message.Encoding
		reason     message.Reason
	}{
		{"kept", "hi", message.EncodingUCS2, "", message.EncodingUCS2, ""},
		{"does not fit", "жук", message.EncodingGSM7, "", "", message.ReasonEncodingMismatch},
		{"chosen anew", "жук", message.EncodingGSM7, message.EncodingAuto, message.EncodingUCS2, ""},
		{"chosen anew, less", "hi", message.EncodingUCS2, message.EncodingAuto, message.EncodingGSM7, ""},
	} {
		b := setup(t)
		m := b.scheduled(t)
		b.journal.set(m.ID, func(m *message.Message) { m.Encoding = c.was })
		got, err := b.Revise(t.Context(), ingress.Revision{MessageID: m.ID, AccountID: b.account.ID, Body: c.body, Encoding: c.wish})
		if message.ReasonOf(err) != c.reason || err == nil && got.Encoding != c.want {
			t.Errorf("%s: %+v, %v", c.name, got, err)
		}
	}
}

// Times, all counted from now: those of the message, those asked for, and those
// that come of it.
func TestReviseTimes(t *testing.T) {
	const h, day = time.Hour, 24 * time.Hour
	for _, c := range []struct {
		name                     string
		created, sendAt, expires time.Duration // of the message; sendAt 0: at once
		at, validity, until      time.Duration // asked for; 0: nothing
		wantAt, wantUntil        time.Duration
		reason                   message.Reason
		field                    string
	}{
		{name: "later", sendAt: day, expires: day + 4*h, at: 2 * day, wantAt: 2 * day, wantUntil: 2*day + 4*h},
		{name: "earlier", sendAt: day, expires: day + 4*h, at: h, wantAt: h, wantUntil: 5 * h},
		{name: "now", sendAt: day, expires: day + 4*h, at: -time.Second, wantAt: -time.Second, wantUntil: 4 * h},
		{name: "validity alone", sendAt: day, expires: day + 4*h, validity: h, wantAt: day, wantUntil: day + h},
		{name: "end alone", sendAt: day, expires: day + 4*h, until: 26 * h, wantAt: day, wantUntil: 26 * h},
		{name: "end before the send time", sendAt: day, expires: day + 4*h, until: 23 * h, reason: message.ReasonInvalidSchedule, field: "body.validity_seconds"},
		{name: "both", sendAt: day, expires: day + 4*h, at: h, until: 3 * h, wantAt: h, wantUntil: 3 * h},
		{name: "of one that waits for nothing", created: -h, expires: 3 * h, at: day, wantAt: day, wantUntil: day + 4*h},
		{name: "its validity counts from acceptance", created: -h, expires: 3 * h, validity: 2 * h, wantUntil: h},
		{name: "its validity has gone by", created: -h, expires: 3 * h, validity: h / 2, reason: message.ReasonInvalidSchedule, field: "body.validity_seconds"},
		{name: "its end counts from now", created: -h, expires: 3 * h, until: 72 * h, wantUntil: 72 * h},
		{name: "its end is too far", created: -h, expires: 3 * h, until: 72*h + time.Second, reason: message.ReasonInvalidSchedule, field: "body.validity_seconds"},
		{name: "its end is too near", created: -h, expires: 3 * h, until: 59 * time.Second, reason: message.ReasonInvalidSchedule, field: "body.validity_seconds"},
		{name: "validity too long", sendAt: day, expires: day + 4*h, validity: 73 * h, reason: message.ReasonInvalidSchedule, field: "body.validity_seconds"},
		{name: "negative validity", sendAt: day, expires: day + 4*h, validity: -h, reason: message.ReasonInvalidSchedule, field: "body.validity_seconds"},
		{name: "too far ahead", sendAt: day, expires: day + 4*h, at: 36 * day, reason: message.ReasonInvalidSchedule, field: "body.send_at"},
		{name: "in the past", sendAt: day, expires: day + 4*h, at: -2 * time.Minute, reason: message.ReasonInvalidSchedule, field: "body.send_at"},
		{name: "a long validity is not carried beyond its bound", created: -h, expires: 72 * h, at: day, wantAt: day, wantUntil: 4 * day},
		{name: "nothing asked for, ended", created: -5 * h, expires: -h, reason: message.ReasonConflict},
		{name: "ended, and made valid again", created: -5 * h, expires: -h, until: 2 * h, wantUntil: 2 * h},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := setup(t)
				m := b.scheduled(t)
				now := time.Now()
				when := func(d time.Duration) time.Time {
					if d == 0 {
						return time.Time{}
					}
					return now.Add(d)
				}
				b.journal.set(m.ID, func(m *message.Message) {
					m.CreatedAt, m.SendAt, m.ExpiresAt = now.Add(c.created), when(c.sendAt), now.Add(c.expires)
				})
				got, err := b.Revise(t.Context(), ingress.Revision{MessageID: m.ID, AccountID: b.account.ID, SendAt: when(c.at), Validity: c.validity, ExpiresAt: when(c.until)})
				if c.reason != "" {
					e := message.AsError(err)
					if err == nil || e.Reason != c.reason || c.field != "" && (len(e.Fields) != 1 || e.Fields[0].Location != c.field) || len(b.journal.revisions) != 0 {
						t.Errorf("%+v", err)
					}
					return
				}
				if err != nil || !got.SendAt.Equal(when(c.wantAt)) || !got.ExpiresAt.Equal(when(c.wantUntil)) {
					t.Errorf("%v; send at %s, valid until %s", err, got.SendAt.Sub(now), got.ExpiresAt.Sub(now))
				}
			})
		})
	}
}

// A revision is refused as a new message would be, and leaves no trace.
func TestReviseRefused(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(b *bundle, m *message.Message, r *ingress.Revision)
		reason message.Reason
	}{
		{"unknown", func(_ *bundle, _ *message.Message, r *ingress.Revision) { r.MessageID = message.NewID() }, message.ReasonNotFound},
		{"another's", func(_ *bundle, _ *message.Message, r *ingress.Revision) { r.AccountID = message.NewID() }, message.ReasonNotFound},
		{"inbound", func(_ *bundle, m *message.Message, _ *ingress.Revision) { m.Direction = message.Inbound }, message.ReasonNotFound},
		{"redacted", func(_ *bundle, m *message.Message, _ *ingress.Revision) { m.Redacted = true }, message.ReasonConflict},
		{"too many characters", func(_ *bundle, _ *message.Message, r *ingress.Revision) { r.Body = strings.Repeat("a", 1601) }, message.ReasonMessageTooLong},
		{"too many parts", func(b *bundle, _ *message.Message, r *ingress.Revision) {
			r.Body, b.account.MaxParts = strings.Repeat("a", 161), 1
		}, message.ReasonMessageTooLong},
		{"suspended", func(b *bundle, _ *message.Message, _ *ingress.Revision) { b.account.Status = snapshot.AccountSuspended }, message.ReasonAccountSuspended},
		{"account gone", func(b *bundle, _ *message.Message, _ *ingress.Revision) { b.config.Accounts = nil }, message.ReasonAccountSuspended},
		{"no route", func(b *bundle, _ *message.Message, _ *ingress.Revision) { b.config.Routes = nil }, message.ReasonNoRoute},
		{"not for this key", func(_ *bundle, _ *message.Message, r *ingress.Revision) {
			r.Credential = &snapshot.Credential{AllowedNumbers: []string{"+12025550199"}}
		}, message.ReasonUnauthorizedSender},
		{"journal away", func(b *bundle, _ *message.Message, _ *ingress.Revision) {
			b.journal.fault = func(step string) (error, error) { return errAway, nil }
		}, message.ReasonInternal},
	} {
		b := setup(t)
		m := b.scheduled(t)
		r := ingress.Revision{MessageID: m.ID, AccountID: b.account.ID, Body: "new"}
		b.journal.set(m.ID, func(m *message.Message) { c.change(b, m, &r) })
		if _, err := b.Revise(t.Context(), r); message.ReasonOf(err) != c.reason || len(b.journal.revisions) != 0 || len(b.journal.all()) != 1 {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestReviseByStatus(t *testing.T) {
	for _, s := range message.Statuses() {
		b := setup(t)
		m := b.scheduled(t)
		b.journal.set(m.ID, func(m *message.Message) { m.Status = s })
		_, err := b.Revise(t.Context(), ingress.Revision{MessageID: m.ID, AccountID: b.account.ID, Body: "new"})
		want := message.ReasonConflict
		if s == message.StatusAccepted || s == message.StatusScheduled {
			want = ""
		}
		if message.ReasonOf(err) != want {
			t.Errorf("%s: %v", s, err)
		}
	}
}

// Somebody else changes the message, or takes it on, between read and write.
func TestReviseLosesTheRace(t *testing.T) {
	race := func(n int, change func(m *message.Message)) error {
		b := setup(t)
		m := b.scheduled(t)
		b.journal.fault = func(step string) (error, error) {
			if step == "revise" && n > 0 {
				n--
				b.journal.set(m.ID, change)
			}
			return nil, nil
		}
		got, err := b.Revise(t.Context(), ingress.Revision{MessageID: m.ID, AccountID: b.account.ID, Body: "new"})
		if err == nil && (got.Body != "new" || got.ClientReference != "theirs" || got.Revision != 4) {
			t.Errorf("%+v", got)
		}
		return err
	}
	theirs := func(m *message.Message) { m.ClientReference, m.Revision = "theirs", m.Revision+1 }
	if err := race(3, theirs); err != nil {
		t.Error(err)
	}
	if err := race(1000, theirs); message.ReasonOf(err) != message.ReasonConflict {
		t.Error(err)
	}
	if err := race(1, func(m *message.Message) { m.Status = message.StatusQueued }); message.ReasonOf(err) != message.ReasonConflict {
		t.Error(err)
	}
}

// Temporal is away while a message is revised: its workflow is told when it is
// back, by whoever sweeps, and one that has ended is not told again.
func TestRevisionIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := setup(t)
		b.NoStarts = true
		var ids []message.ID
		b.server.setDown(errAway)
		for range 3 {
			m := b.scheduled(t)
			if _, err := b.Revise(t.Context(), ingress.Revision{MessageID: m.ID, AccountID: b.account.ID, SendAt: time.Now().Add(time.Hour)}); err != nil {
				t.Fatal(err)
			}
			ids = append(ids, m.ID)
		}
		b.server.closed[ids[2]] = true
		b.Start(t.Context())
		defer b.Stop()
		pass(time.Minute)
		if len(b.journal.untold) != 3 || len(b.server.revised) != 0 {
			t.Fatalf("told %v, not told %v", b.server.revised, b.journal.untold)
		}
		b.server.setDown(nil)
		pass(time.Minute)
		synctest.Wait()
		if len(b.journal.untold) != 0 || !slices.Equal(b.server.revised, ids[:2]) {
			t.Errorf("told %v, not told %v", b.server.revised, b.journal.untold)
		}
	})
}

// Withdrawals whose workflow is not there: the record decides.
func TestCancelWithoutWorkflow(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer error          // of Temporal
		record message.Status // what the record shows then
		fault  error
		reason message.Reason
		posted bool
	}{
		{"not begun", message.Refuse(message.ReasonNotFound, "none"), message.StatusCanceled, nil, "", true},
		{"Temporal away", errAway, message.StatusCanceled, nil, "", false},
		{"sent", message.Refuse(message.ReasonNotFound, "none"), message.StatusSent, nil, message.ReasonConflict, false},
		{"no such message", message.Refuse(message.ReasonNotFound, "none"), "", message.Refuse(message.ReasonNotFound, "no message"), message.ReasonNotFound, false},
		{"record away", errAway, "", errAway, message.ReasonInternal, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := setup(t)
			id, note := message.NewID(), message.NewID()
			b.outcome = record.Result{Status: c.record, Notify: []message.ID{note}}
			b.outcomeErr = c.fault
			b.server.cancel = c.answer
			err := b.Cancel(t.Context(), id)
			if message.ReasonOf(err) != c.reason {
				t.Errorf("%v", err)
			}
			want := record.Input{MessageID: id, To: message.StatusCanceled, Reason: message.ReasonCanceled}
			if len(b.outcomes) != 1 || b.outcomes[0] != want {
				t.Errorf("the record was asked for %+v", b.outcomes)
			}
			if (len(b.server.posted) == 1) != c.posted {
				t.Errorf("posted %v", b.server.posted)
			}
		})
	}
}

// While Temporal does not answer, it is asked once, and again a while later: who
// withdraws hundreds of messages does not wait for each.
func TestCancelManyWithTemporalAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := setup(t)
		b.outcome = record.Result{Status: message.StatusCanceled}
		b.server.cancelTakes, b.server.cancel = time.Hour, errAway
		for range 100 {
			if err := b.Cancel(t.Context(), message.NewID()); err != nil {
				t.Fatal(err)
			}
		}
		if n := len(b.server.cancels); n != 1 || len(b.outcomes) != 100 {
			t.Errorf("Temporal was asked %d times, the record %d times", n, len(b.outcomes))
		}
		pass(time.Minute)
		if err := b.Cancel(t.Context(), message.NewID()); err != nil || len(b.server.cancels) != 2 {
			t.Errorf("%v, asked %d times", err, len(b.server.cancels))
		}
		b.Now = func() time.Time { return time.Now().Add(-10 * time.Minute) } // the clock is set back
		if err := b.Cancel(t.Context(), message.NewID()); err != nil || len(b.server.cancels) != 3 {
			t.Errorf("after the clock was set back: %v, asked %d times", err, len(b.server.cancels))
		}
	})
}

// A repeat whose times have gone by gets its first answer.
func TestRepeatAfterItsTime(t *testing.T) {
	key := func(hash byte) *ingress.Key {
		return &ingress.Key{Operation: "op", Value: "k", BodyHash: [32]byte{hash}, Render: func(m *message.Message, e *message.Error) (int, []byte, error) {
			return 202, []byte(m.ID.String()), nil
		}}
	}
	synctest.Test(t, func(t *testing.T) {
		b := setup(t)
		r := b.request()
		r.SendAt, r.Key = time.Now().Add(time.Hour), key(1)
		out, err := b.Accept(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		pass(2 * time.Hour)
		again, err := b.Accept(t.Context(), r)
		if err != nil || again.Replay == nil || string(again.Replay.Response) != out.Message.ID.String() {
			t.Errorf("%+v, %v", again, err)
		}
		late := message.Refuse(message.ReasonInvalidSchedule, "late")
		r.SendAt, r.Refused = time.Time{}, late // the edge has seen it first
		if again, err = b.Accept(t.Context(), r); err != nil || again.Replay == nil {
			t.Errorf("%+v, %v", again, err)
		}
		p, err := b.Part(t.Context(), ingress.Part{Request: r, Total: 2, Number: 1})
		if err != nil || p.Replay == nil {
			t.Errorf("%+v, %v", p, err)
		}
		r.Key = key(2)
		if _, err = b.Accept(t.Context(), r); message.ReasonOf(err) != message.ReasonIdempotencyMismatch {
			t.Errorf("another body: %v", err)
		}
		r.Key = key(1)
		r.Key.Value = "fresh"
		if _, err = b.Accept(t.Context(), r); message.ReasonOf(err) != message.ReasonInvalidSchedule {
			t.Errorf("a fresh key: %v", err)
		}
		r.Key = nil
		if _, err = b.Accept(t.Context(), r); err != error(late) {
			t.Errorf("no key: %v", err)
		}
		r.Key, b.journal.down = key(1), errAway
		if _, err = b.Accept(t.Context(), r); !errors.Is(err, errAway) {
			t.Errorf("journal away: %v", err)
		}
		if len(b.journal.accepted) != 1 {
			t.Errorf("%d messages", len(b.journal.accepted))
		}
	})
}
