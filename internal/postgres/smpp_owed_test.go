package postgres

import (
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/postrider/postrider/internal/message"
)

// owedRows lists what is owed about a message, oldest first, as kind and status.
func (b *bundle) owedRows(m *message.Message) []string {
	b.tb.Helper()
	return scalar[[]string](b, "select coalesce(array_agg(kind || ' ' || status order by created_at, id), '{}') from smpp_deliveries where message_id = $1", m.ID)
}

// Every status, with every registered_delivery: the database owes what message
// says.
func TestOwedAsRegistered(t *testing.T) {
	t.Parallel()
	b := setup(t)
	credential := b.esme(b.owner, "acme")
	for _, to := range message.Statuses() {
		from := message.Before(to)
		if len(from) == 0 {
			continue // nothing becomes accepted
		}
		all := make([]message.Acceptance, 256)
		var wg sync.WaitGroup
		each := func(do func(message.Acceptance) error) {
			for _, a := range all {
				wg.Go(func() {
					if err := do(a); err != nil {
						t.Errorf("%s: %v", to, err)
					}
				})
			}
			wg.Wait()
		}
		for registered := range all {
			all[registered] = b.submitted(credential, byte(registered))
		}
		each(func(a message.Acceptance) error { return second(b.Accept(b.ctx, a)) })
		b.exec("update messages set status = $1 where status = 'accepted'", string(from[0]))
		for range 2 { // the second time does nothing
			each(func(a message.Acceptance) error {
				return second(b.Advance(b.ctx, message.Change{MessageID: a.Message.ID, To: to, Events: line(to), Owed: true}))
			})
		}
		for _, a := range all {
			want := []string{}
			if a.Origin.WantsReceipt(to) {
				want = append(want, "receipt "+string(to))
			}
			if to == message.StatusSent && a.Origin.WantsNotice() {
				want = append(want, "notice sent")
			}
			if got := b.owedRows(a.Message); !slices.Equal(got, want) {
				t.Errorf("%s, registered_delivery %#02x: owed %v, want %v", to, a.Origin.Registered, got, want)
			}
		}
		b.exec("update messages set status = 'rejected'") // so that the next round leaves them alone
	}
}

// The whole life of a message whose sender wants to know everything.
func TestOwedOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	credential := b.esme(b.owner, "acme")
	b.exec("update smpp_credentials set mo_lifetime_seconds = 3600")
	m := b.taken(b.submitted(credential, 0x11))
	step := func(c message.Change, want ...string) {
		t.Helper()
		c.MessageID, c.Owed = m.ID, true
		if c.To != "" {
			c.Events = line(c.To)
		}
		b.must(c)
		if adv, err := b.Advance(b.ctx, c); err != nil || c.To != "" && adv.Changed {
			t.Errorf("%s again: %+v, %v", c.To, adv, err)
		}
		if got := b.owedRows(m); !slices.Equal(got, want) {
			t.Errorf("after %q: owed %v, want %v", c.To, got, want)
		}
	}
	step(message.Change{To: message.StatusQueued})
	step(message.Change{To: message.StatusSending})
	step(message.Change{To: message.StatusInDoubt})
	step(message.Change{Events: line("read")})
	step(message.Change{To: message.StatusSent}, "notice sent")
	step(message.Change{To: message.StatusUnconfirmed}, "notice sent", "receipt unconfirmed")
	// A late receipt is a second word.
	step(message.Change{To: message.StatusDelivered}, "notice sent", "receipt unconfirmed", "receipt delivered")
	if n := b.count(`select count(*) from smpp_deliveries where credential_id = $1 and account_id = $2 and state = 'pending' and attempts = 0 and claimed_until is null
		and due_at <= now() and expires_at = due_at + interval '1 hour' and done_at is null`, credential, b.owner); n != 3 {
		t.Errorf("%d rows are as they should be", n)
	}
	// The same status cannot be owed about twice, whoever writes it.
	_, err := b.pool.Exec(b.ctx, "insert into smpp_deliveries select (jsonb_populate_record(d, jsonb_build_object('id', gen_random_uuid()))).* from smpp_deliveries d")
	if sqlState(err) != uniqueViolation {
		t.Errorf("a second receipt for a status: %v", err)
	}
}

func TestOwedNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	gone := b.esme(b.owner, "gone")
	rest := b.accepted(1)
	of := b.taken(b.submitted(gone, 1))
	untold := b.taken(b.submitted(gone, 1))
	b.exec("delete from smpp_credentials")
	for _, m := range []*message.Message{rest, of} {
		b.must(message.Change{MessageID: m.ID, To: message.StatusExpired, Events: line(message.StatusExpired), Owed: true})
	}
	b.must(message.Change{MessageID: untold.ID, To: message.StatusExpired, Events: line(message.StatusExpired)})
	if n := b.count("select count(*) from smpp_deliveries"); n != 0 {
		t.Errorf("%d rows", n)
	}
}

// A Change that owes nothing is written by the same statement as ever.
func TestOwedStatements(t *testing.T) {
	t.Parallel()
	id := message.NewID()
	for _, to := range append(message.Statuses(), "") {
		c := message.Change{MessageID: id, To: to, Events: line(to)}
		plain, args := advanceStatement(c)
		c.Owed = true
		owed, more := advanceStatement(c)
		if strings.Contains(plain, "smpp") {
			t.Errorf("%q: without Owed it looks at the SMPP tables", to)
		}
		may := to == message.StatusSent || to.Final()
		if (owed != plain) != may || (len(more) != len(args)) != may {
			t.Errorf("%q: with Owed\n%s", to, owed)
		}
	}
}

// The status is there with what is owed about it or not at all.
func TestOwedInTheSameCommit(t *testing.T) {
	t.Parallel()
	b := setup(t)
	credential := b.esme(b.owner, "acme")
	m := b.taken(b.submitted(credential, 1))
	before := b.traces(m)
	c := message.Change{MessageID: m.ID, To: message.StatusExpired, Events: line(message.StatusExpired), Owed: true}
	nothing := func(what string, err error) {
		t.Helper()
		if err == nil {
			t.Errorf("%s: done", what)
		}
		if after := b.traces(m); after != before || len(b.owedRows(m)) != 0 {
			t.Errorf("%s: wrote\n%s\nover\n%s", what, after, before)
		}
	}
	release := b.hold("smpp_deliveries")
	done := make(chan error, 1)
	go func() { done <- second(b.Advance(b.ctx, c)) }()
	b.blocked()
	b.exec("select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'")
	err := <-done
	release()
	nothing("killed half way", err)
	b.failCommits("smpp_deliveries")
	_, err = b.Advance(b.ctx, c)
	nothing("the commit failed", err)
	b.exec("drop trigger refuse on smpp_deliveries")
	b.must(c)
	if got := b.owedRows(m); !slices.Equal(got, []string{"receipt expired"}) {
		t.Errorf("owed %v", got)
	}
}

// Two statuses of one message in one commit: what is owed about the first comes
// first.
func TestOwedInOneGroup(t *testing.T) {
	t.Parallel()
	b := setup(t)
	credential := b.esme(b.owner, "acme")
	m, head := b.taken(b.submitted(credential, 0x11)), b.accepted(1)
	b.exec("update messages set status = 'sending' where id = $1", m.ID)
	release := b.hold("messages")
	done := make(chan error, 3)
	advance := func(id message.ID, to message.Status) {
		waiting := len(b.groups.lanes[0])
		go func() {
			done <- second(b.Advance(b.ctx, message.Change{MessageID: id, To: to, Events: line(to), Owed: true}))
		}()
		if id == head.ID {
			b.blocked()
			return
		}
		b.until("it waits", func() bool { return len(b.groups.lanes[0]) > waiting })
	}
	advance(head.ID, message.StatusQueued)
	advance(m.ID, message.StatusSent)
	advance(m.ID, message.StatusDelivered)
	release()
	for range 3 {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	if got := b.owedRows(m); !slices.Equal(got, []string{"notice sent", "receipt delivered"}) {
		t.Errorf("owed %v", got)
	}
	if n := b.count("select count(distinct created_at) from smpp_deliveries"); n != 2 {
		t.Error("both were made at the same time")
	}
	if n := b.count("select count(distinct xmin::text) from smpp_deliveries"); n != 1 {
		t.Error("they were not made in one commit")
	}
}
