package postgres

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/stack"
)

// ear is a process that listens for starts.
type ear struct {
	heard chan []message.Start // nil: of turns
	ended chan error
	end   context.CancelFunc
}

// ear listens with a process of its own, until the test ends.
func (b *bundle) ear(db *DB) *ear {
	b.tb.Helper()
	ctx, cancel := context.WithCancel(b.ctx)
	e := &ear{make(chan []message.Start, 1000), make(chan error, 1), cancel}
	began := make(chan struct{})
	go func() {
		e.ended <- db.ListenStarts(ctx, func() { close(began) }, func(starts []message.Start, turns bool) {
			if turns {
				starts = nil
			}
			e.heard <- starts
		})
	}()
	b.tb.Cleanup(cancel)
	select {
	case <-began:
	case err := <-e.ended:
		b.tb.Fatal(err)
	}
	return e
}

// until gives what was heard up to the news of turns.
func (e *ear) until() (ids []message.ID) {
	for {
		starts := <-e.heard
		if starts == nil {
			return ids
		}
		for _, s := range starts {
			ids = append(ids, s.MessageID)
		}
	}
}

func (b *bundle) call(turns bool, ids ...message.ID) {
	b.tb.Helper()
	if err := b.CallStarts(b.ctx, ids, turns); err != nil {
		b.tb.Fatal(err)
	}
}

// A call brings what is needed to start its messages, the most urgent first, and
// leaves out what has been started and what waits for its turn.
func TestCallStarts(t *testing.T) {
	t.Parallel()
	b := setup(t)
	e := b.ear(b.replica())
	talk, code, done := b.draft(), b.draft(), b.accepted(1)
	code.Class, talk.SendAt, talk.Segments = message.ClassOTP, talk.CreatedAt.Add(time.Hour), 3
	b.store(talk)
	b.store(code)
	if err := b.Started(b.ctx, []message.ID{done.ID}); err != nil {
		t.Fatal(err)
	}
	var line [2]*message.Message
	for i := range line {
		line[i] = b.draft()
		line[i].To = "+13105550199"
		if _, err := b.Accept(b.ctx, message.Acceptance{Message: line[i], Hold: time.Minute}); err != nil {
			t.Fatal(err)
		}
	}
	b.exec("select pg_notify('starts', 'what is this'), pg_notify('starts', 'AAAA')") // hurts nobody
	b.call(false, talk.ID, code.ID, done.ID, line[0].ID, line[1].ID)
	got := <-e.heard
	if ids := pick(got, func(s message.Start) message.ID { return s.MessageID }); fmt.Sprint(ids) != fmt.Sprint([]message.ID{code.ID, talk.ID, line[0].ID}) {
		t.Fatalf("heard of %v", ids)
	}
	want := message.Start{MessageID: talk.ID, AccountID: talk.AccountID, From: talk.From, To: talk.To, Kind: talk.Kind, Class: talk.Class, Edge: talk.Edge,
		Segments: 3, CampaignID: talk.CampaignID, SendAt: talk.SendAt, ExpiresAt: talk.ExpiresAt, CreatedAt: talk.CreatedAt}
	if fmt.Sprint(got[1]) != fmt.Sprint(want) {
		t.Errorf("start\n%+v\nwant\n%+v", got[1], want)
	}
	b.call(true, done.ID) // nothing to start
	if ids := e.until(); len(ids) != 0 {
		t.Errorf("heard of %v", ids)
	}
}

// More messages than one notification holds.
func TestCallManyStarts(t *testing.T) {
	t.Parallel()
	b := setup(t)
	e := b.ear(b.replica())
	ids := make([]message.ID, 600)
	for i := range ids {
		ids[i] = b.accepted(1).ID
	}
	b.call(false, ids...)
	b.call(true)
	if got := e.until(); len(got) != len(ids) {
		t.Errorf("heard of %d", len(got))
	}
}

// Of several processes one takes a call on, whoever is first, and lets go of it later;
// who is left alone takes on all.
func TestCallIsTakenOnOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ears := []*ear{b.ear(b.replica()), b.ear(b.replica()), b.ear(b.replica())}
	var all []message.ID
	for range 4 * maxClaims { // one of them has to let go of some
		id := b.accepted(1).ID
		all = append(all, id)
		b.call(false, id)
		b.call(true)
		var got []message.ID
		for _, e := range ears { // each has heard of it then
			got = append(got, e.until()...)
		}
		if fmt.Sprint(got) != fmt.Sprint([]message.ID{id}) {
			t.Fatalf("taken on %v, called for %s", got, id)
		}
	}
	if n := b.advisory("*"); n == 0 || n > len(ears)*maxClaims || n == len(all) {
		t.Errorf("%d of %d are kept from others", n, len(all))
	}
	for _, e := range ears[1:] {
		e.end()
		if err := <-e.ended; err == nil {
			t.Error("ended without saying why")
		}
	}
	b.until("the others are gone", func() bool { return b.advisory("distinct pid") <= 1 })
	b.call(false, all...)
	b.call(true)
	if got := ears[0].until(); len(got) != len(all) {
		t.Errorf("heard of %d", len(got))
	}
}

// advisory counts the advisory locks that are held, or something of them.
func (b *bundle) advisory(what string) int {
	b.tb.Helper()
	return b.count("select count(" + what + ") from pg_locks where locktype = 'advisory' and granted and database = (select oid from pg_database where datname = current_database())")
}

// Nothing is heard for a time, and then something: the connection is still there. And
// the server ends, which is told, and listening again works.
func TestListenStartsOutage(t *testing.T) {
	t.Parallel()
	server, b := own(t, stack.PostgresConfig{Throwaway: true})
	db := b.replica()
	e := b.ear(db)
	first := b.count("select count(*) from pg_stat_activity where query = 'listen starts'")
	began := scalar[time.Time](b, "select query_start from pg_stat_activity where query = 'listen starts'")
	b.until("it is asked for a sign of life", func() bool {
		return b.count("select count(*) from pg_stat_activity where query = 'listen starts' and query_start > $1 and state = 'idle'", began) == first
	})
	m := b.accepted(1)
	b.call(true, m.ID)
	if got := e.until(); len(got) != 0 { // turns are told of first
		t.Errorf("heard of %v", got)
	}
	if got := <-e.heard; len(got) != 1 || got[0].MessageID != m.ID {
		t.Errorf("heard of %v", got)
	}
	if err := server.StopImmediate(b.ctx); err != nil {
		t.Fatal(err)
	}
	if err := <-e.ended; !Unavailable(err) {
		t.Errorf("told %v", err)
	}
	if err := db.ListenStarts(b.ctx, func() { t.Error("it listens to nobody") }, nil); !Unavailable(err) {
		t.Errorf("told %v", err)
	}
	if err := server.Restart(b.ctx); err != nil {
		t.Fatal(err)
	}
	b.until("it works again", func() bool {
		_, err := b.ConfigVersion(b.ctx)
		return err == nil
	})
	e = b.ear(db)
	b.call(false, m.ID)
	if got := <-e.heard; len(got) != 1 {
		t.Errorf("heard of %v", got)
	}
}
