package postgres

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// revised writes a new text of a message as it stands in the record, and reports
// whether the message still took it.
func (b *bundle) revised(db *DB, id message.ID, change func(r *message.Revision)) bool {
	b.tb.Helper()
	m, err := db.Message(b.ctx, id)
	if err != nil {
		b.tb.Fatal(err)
	}
	r := message.Revision{Message: m, Detail: map[string]any{"changed": []string{"body"}}}
	change(&r)
	done, err := db.Revise(b.ctx, r)
	if err != nil {
		b.tb.Fatal(err)
	}
	return done
}

func says(text string) func(*message.Revision) {
	return func(r *message.Revision) { r.Message.Body = text }
}

func TestReviseWrites(t *testing.T) {
	t.Parallel()
	b := setup(t)
	credential := b.esme(b.owner, "acme")
	other := b.taken(b.submitted(credential, 1))
	m := b.taken(b.submitted(credential, 1))
	if got, err := b.Envelope(b.ctx, m.ID); err != nil || got.Body != m.Body {
		t.Fatalf("%+v, %v", got, err)
	}
	before := *must2(b.Message(b.ctx, m.ID))
	at := time.Now().Add(time.Hour).UTC().Truncate(time.Millisecond)
	registered := byte(0x12)
	if !b.revised(b.DB, m.ID, func(r *message.Revision) {
		r.Message.Body, r.Message.Encoding, r.Message.Segments = "жук", message.EncodingUCS2, 3
		r.Message.SendAt, r.Message.ExpiresAt = at, at.Add(time.Hour)
		r.Message.Price, r.Message.CampaignID = message.Price{Amount: 77, Currency: "EUR", Estimated: true}, "C2"
		r.Message.ClientReference, r.Message.To = "not this", "+13105550199"
		r.Registered, r.Tell = &registered, true
	}) {
		t.Fatal("not revised")
	}
	want := before
	want.Body, want.Encoding, want.Segments, want.SendAt, want.ExpiresAt, want.Revision = "жук", message.EncodingUCS2, 3, at, at.Add(time.Hour), 1
	want.Price, want.CampaignID = message.Price{Amount: 77, Currency: "EUR", Estimated: true}, "C2"
	for name, read := range map[string]func() (*message.Message, error){
		"row":      func() (*message.Message, error) { return b.Message(b.ctx, m.ID) },
		"envelope": func() (*message.Message, error) { return b.Envelope(b.ctx, m.ID) },
	} {
		got := *must2(read())
		if got.UpdatedAt.Before(before.UpdatedAt) {
			t.Errorf("updated at %s", got.UpdatedAt)
		}
		if !got.Times().Equal(want.Times()) {
			t.Errorf("%s: %+v", name, got.Times())
		}
		got.UpdatedAt, got.SendAt, got.ExpiresAt = want.UpdatedAt, want.SendAt, want.ExpiresAt
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
	events := b.timeline(m)
	if last := events[len(events)-1]; len(events) != 2 || last.Type != message.EventRevised || last.Detail["changed"] == nil {
		t.Errorf("%+v", events)
	}
	for id, want := range map[message.ID]byte{m.ID: registered, other.ID: 1} {
		if _, origins := b.answeredAs(credential, message.Hex32(id)); origins[0].Registered != want {
			t.Errorf("registered_delivery %x, want %x", origins[0].Registered, want)
		}
	}
	// One that names no registered_delivery leaves it.
	if !b.revised(b.DB, m.ID, says("again")) {
		t.Fatal("not revised")
	}
	if _, origins := b.answeredAs(credential, message.Hex32(m.ID)); origins[0].Registered != registered {
		t.Errorf("%+v", origins)
	}
}

func must2[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// A revision leaves no trace of a message that has left, or that was revised since
// it was read.
func TestReviseByStatus(t *testing.T) {
	t.Parallel()
	b := setup(t)
	registered := byte(1)
	for _, s := range message.Statuses() {
		m := b.accepted(1)
		b.exec("update messages set status = $2 where id = $1", m.ID, string(s))
		before := b.traces(m)
		done := b.revised(b.DB, m.ID, func(r *message.Revision) { r.Message.Body, r.Registered, r.Tell = "new", &registered, true })
		want := s == message.StatusAccepted || s == message.StatusScheduled
		if done != want || !done && b.traces(m) != before {
			t.Errorf("%s: %v", s, done)
		}
		b.exec("delete from revisions_due")
	}
	m := b.accepted(1)
	before := b.traces(m)
	for _, wrong := range []int{-1, 1} {
		if b.revised(b.DB, m.ID, func(r *message.Revision) { r.Message.Revision += wrong; r.Tell = true }) || b.traces(m) != before {
			t.Errorf("revision %d was overwritten", wrong)
		}
	}
	if n := b.count("select count(*) from revisions_due"); n != 0 {
		t.Errorf("%d to be told", n)
	}
}

// Every step that names a revision is made of that one only. What another process
// remembers of an older one is forgotten when it finds out.
func TestAdvanceNamesItsRevision(t *testing.T) {
	t.Parallel()
	b := setup(t)
	theirs := b.replica()
	zero, one := 0, 1
	for _, c := range []message.Change{
		{Via: message.StatusQueued, To: message.StatusQueued}, {Via: message.StatusQueued, To: message.StatusSending},
		{To: message.StatusRejected}, {To: message.StatusExpired}, {To: message.StatusFailed},
	} {
		m := b.accepted(1)
		if !b.revised(theirs, m.ID, says("new")) {
			t.Fatal("not revised")
		}
		if got := must2(b.Envelope(b.ctx, m.ID)); got.Body != m.Body || got.Revision != 0 {
			t.Fatalf("remembered %+v", got)
		}
		c.MessageID, c.Events, c.Started, c.Revision = m.ID, line(c.To), true, &zero
		before := b.traces(m)
		adv, err := b.Advance(b.ctx, c)
		if err != nil || adv.Changed || !adv.Revised || adv.Was != message.StatusAccepted || b.traces(m) != before {
			t.Errorf("to %s: %+v, %v", c.To, adv, err)
		}
		if got := must2(b.Envelope(b.ctx, m.ID)); got.Body != "new" || got.Revision != 1 {
			t.Errorf("read %+v", got)
		}
		c.Revision = &one
		if adv, err = b.Advance(b.ctx, c); err != nil || !adv.Changed || adv.Revised {
			t.Errorf("to %s: %+v, %v", c.To, adv, err)
		}
		// Where the status does not allow it either, that is the reason.
		c.Revision = &zero
		if adv, err = b.Advance(b.ctx, c); err != nil || adv.Changed || adv.Revised || adv.Was != c.To {
			t.Errorf("again to %s: %+v, %v", c.To, adv, err)
		}
	}
}

// TestReviseRace lets two processes revise messages while two others, of which one
// remembers what it accepted, try to send them. What was answered as revised is
// what leaves, whatever the order, and every message leaves once.
func TestReviseRace(t *testing.T) {
	t.Parallel()
	b := setup(t)
	theirs := b.replica()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for round := range 12 {
		var ids []message.ID
		for range 8 {
			ids = append(ids, b.accepted(1).ID)
		}
		var mu sync.Mutex
		last, sent, taken := map[message.ID]string{}, map[message.ID][]string{}, map[message.ID]int{}
		var all sync.WaitGroup
		for n := range 6 {
			db, random := b.DB, rand.New(rand.NewPCG(seed, uint64(round*10+n)))
			if n%2 == 1 {
				db = theirs
			}
			order := random.Perm(len(ids))
			all.Go(func() {
				for try := range 3 {
					for _, i := range order {
						id := ids[i]
						if n < 4 {
							text := fmt.Sprintf("%d by %d", try, n)
							if b.revised(db, id, says(text)) {
								mu.Lock()
								taken[id]++
								mu.Unlock()
							}
							continue
						}
						if random.IntN(3) > try { // not all at first
							continue
						}
						m := must2(db.Envelope(b.ctx, id))
						adv := must2(db.Advance(b.ctx, message.Change{MessageID: id, Via: message.StatusQueued, To: message.StatusSending, Revision: &m.Revision,
							Events: append(line(message.StatusQueued), line(message.StatusSending)...)}))
						if adv.Changed {
							mu.Lock()
							sent[id] = append(sent[id], m.Body)
							mu.Unlock()
						}
					}
				}
			})
		}
		all.Wait()
		for _, id := range ids {
			m := must2(b.Message(b.ctx, id))
			last[id] = m.Body
			if m.Revision != taken[id] {
				t.Errorf("revision %d after %d that were taken", m.Revision, taken[id])
			}
			if m.Status == message.StatusAccepted && len(sent[id]) == 0 {
				continue // the tries of those who send came to nothing
			}
			if m.Status != message.StatusSending || !slices.Equal(sent[id], []string{m.Body}) {
				t.Errorf("sent %q, the record is %s with %q", sent[id], m.Status, m.Body)
			}
			b.timeline(m)
		}
	}
}

func TestRevisionsDue(t *testing.T) {
	t.Parallel()
	b := setup(t)
	told := func(d message.RevisionDue) {
		if err := b.RevisionTold(b.ctx, d); err != nil {
			t.Fatal(err)
		}
	}
	due := func(age time.Duration) []message.RevisionDue { return must2(b.RevisionsDue(b.ctx, age, 10)) }
	first, second := b.accepted(1), b.accepted(1)
	tell := func(r *message.Revision) { r.Tell = true }
	b.revised(b.DB, first.ID, tell)
	b.revised(b.DB, second.ID, tell)
	b.revised(b.DB, b.accepted(1).ID, says("nobody waits"))
	want := []message.RevisionDue{{MessageID: first.ID, Revision: 1}, {MessageID: second.ID, Revision: 1}}
	if got := due(0); !slices.Equal(got, want) || len(due(time.Hour)) != 0 {
		t.Errorf("%v", got)
	}
	b.revised(b.DB, first.ID, tell)
	told(want[0]) // of the one before
	told(want[1])
	if got := due(0); !slices.Equal(got, []message.RevisionDue{{MessageID: first.ID, Revision: 2}}) {
		t.Errorf("%v", got)
	}
	told(message.RevisionDue{MessageID: first.ID, Revision: 2})
	if got := due(0); len(got) != 0 {
		t.Errorf("%v", got)
	}
}
