package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
)

// hold takes a lock that lets nothing be written to a table until release is
// called.
func (b *bundle) hold(table string) (release func()) {
	b.tb.Helper()
	conn, err := b.pool.Acquire(b.ctx)
	if err != nil {
		b.tb.Fatal(err)
	}
	tx, err := conn.Begin(b.ctx)
	if err != nil {
		b.tb.Fatal(err)
	}
	if _, err := tx.Exec(b.ctx, "lock table "+table+" in exclusive mode"); err != nil {
		b.tb.Fatal(err)
	}
	release = sync.OnceFunc(func() {
		_ = tx.Rollback(b.ctx) // the server may be gone, and the lock with it
		conn.Release()
	})
	b.tb.Cleanup(release) // before the DB is closed, which waits for its connections
	return release
}

// until waits for something that another goroutine is about to bring about.
func (b *bundle) until(what string, reached func() bool) {
	b.tb.Helper()
	for !reached() {
		if b.ctx.Err() != nil {
			b.tb.Fatalf("%s: never happened", what)
		}
		runtime.Gosched()
	}
}

// blocked waits until a statement waits for a lock.
func (b *bundle) blocked() {
	b.tb.Helper()
	b.waiting(1)
}

// waiting returns when so many statements wait for locks.
func (b *bundle) waiting(n int) {
	b.tb.Helper()
	b.until("statements wait for locks", func() bool {
		return b.count("select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'") >= n
	})
}

// queued is how many acceptances wait for the next commit.
func (db *DB) queued() int {
	db.accept.mu.Lock()
	defer db.accept.mu.Unlock()
	return len(db.accept.queue)
}

// accepting runs an Accept in the background.
func (b *bundle) accepting(ctx context.Context, a message.Acceptance) <-chan acceptResult {
	done := make(chan acceptResult, 1)
	go func() {
		got, err := b.Accept(ctx, a)
		done <- acceptResult{got, err}
	}()
	return done
}

type acceptResult struct {
	message.Accepted
	err error
}

// whole fails the test unless every message has its first event and, when it is
// accepted, its outbox row, and nothing has either without a message.
func (b *bundle) whole() {
	b.tb.Helper()
	for what, sql := range map[string]string{
		"messages without event":      "select count(*) from messages m where not exists (select from message_events e where e.message_id = m.id and e.sequence = 1)",
		"messages without outbox row": "select count(*) from messages m where status = 'accepted' and not exists (select from starts s where s.message_id = m.id)",
		"messages without backlog":    "select count(*) from messages m where status = 'accepted' and not exists (select from backlog b where b.message_id = m.id)",
		"backlog without message":     "select count(*) from backlog b where not exists (select from messages m where m.id = b.message_id and m.status = 'accepted')",
		"events without message":      "select count(*) from message_events e where not exists (select from messages m where m.id = e.message_id)",
		"outbox rows without message": "select count(*) from starts s where not exists (select from messages m where m.id = s.message_id and m.status = 'accepted')",
		"keys without message":        "select count(*) from idempotency_keys k where not exists (select from messages m where m.id = k.message_id)",
	} {
		if n := b.count(sql); n > 0 {
			b.tb.Errorf("%d %s", n, what)
		}
	}
}

func TestAcceptGroups(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const callers = 200
	release := b.hold("messages")
	first := b.accepting(b.ctx, message.Acceptance{Message: b.draft()})
	b.blocked()
	var waiting []<-chan acceptResult
	for range callers {
		waiting = append(waiting, b.accepting(b.ctx, message.Acceptance{Message: b.draft()}))
	}
	b.until("all callers wait", func() bool { return b.queued() == callers })
	release()
	for _, done := range append(waiting, first) {
		if r := <-done; r.err != nil || r.Replay != nil {
			t.Fatalf("accept: %+v", r)
		}
	}
	if n := b.count("select count(*) from messages"); n != callers+1 {
		t.Errorf("%d messages stored, want %d", n, callers+1)
	}
	if n := b.count("select count(distinct xmin::text) from messages"); n != 2 {
		t.Errorf("%d transactions for %d callers, want 2", n, callers+1)
	}
	b.whole()
}

// What goes in comes out, and the text cannot be read in the table.
func TestAcceptStores(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m := b.draft()
	m.Body, m.RequestedFrom, m.WebhookURL, m.WebhookFailover = "Code 4711 für dich", "+12025550100", "https://a.example/x", "https://b.example/y"
	m.RetryOf, m.SendAt, m.TraceParent, m.Class, m.Delivery = message.NewID(), m.CreatedAt.Add(time.Hour), "00-abc-def-01", message.ClassOTP, message.AtLeastOnce
	m.Segments = 3
	b.store(m)
	got, err := b.AccountMessage(b.ctx, b.owner, m.ID)
	if err != nil {
		t.Fatal(err)
	}
	m.Parts = []message.Part{{Number: 1}, {Number: 2}, {Number: 3}}
	if want, have := fmt.Sprintf("%+v", *m), fmt.Sprintf("%+v", *got); want != have {
		t.Errorf("stored\n%s\nread\n%s", want, have)
	}
	sealed := scalar[[]byte](b, "select body from messages")
	if bytes.Contains(sealed, []byte("4711")) || len(sealed) < len(m.Body)+28 {
		t.Errorf("the table holds %q", sealed)
	}
	events := b.timeline(m)
	if len(events) != 1 || events[0].Type != message.StatusEvent(message.StatusAccepted) || events[0].Detail["edge"] != "rest" || !events[0].At.Equal(m.CreatedAt) {
		t.Errorf("timeline: %+v", events)
	}
	starts, err := b.Unstarted(b.ctx, "one", 0, 10, nil)
	if err != nil || len(starts) != 1 {
		t.Fatalf("%d starts, %v", len(starts), err)
	}
	want := message.Start{MessageID: m.ID, AccountID: m.AccountID, From: m.From, To: m.To, Kind: m.Kind, Class: m.Class, Edge: m.Edge,
		Segments: 3, CampaignID: m.CampaignID, SendAt: m.SendAt, ExpiresAt: m.ExpiresAt, CreatedAt: m.CreatedAt}
	if fmt.Sprint(starts[0]) != fmt.Sprint(want) {
		t.Errorf("start\n%+v\nwant\n%+v", starts[0], want)
	}
}

func TestUnstarted(t *testing.T) {
	t.Parallel()
	b := setup(t)
	class := func(c message.Class) *message.Message {
		m := b.draft()
		m.Class = c
		b.store(m)
		return m
	}
	bulk, talk, code, other := class(message.ClassBulk), class(message.ClassConversation), class(message.ClassOTP), class(message.ClassOTP)
	list := func(age time.Duration, limit int, underway ...message.ID) []message.ID {
		t.Helper()
		starts, err := b.Unstarted(b.ctx, "one", age, limit, underway)
		if err != nil {
			t.Fatal(err)
		}
		return pick(starts, func(s message.Start) message.ID { return s.MessageID })
	}
	if got := list(0, 10); fmt.Sprint(got) != fmt.Sprint([]message.ID{code.ID, other.ID, talk.ID, bulk.ID}) {
		t.Errorf("not by urgency: %v", got)
	}
	if got := list(0, 2, code.ID, talk.ID); fmt.Sprint(got) != fmt.Sprint([]message.ID{other.ID, bulk.ID}) {
		t.Errorf("those under way or over the limit are not left out: %v", got)
	}
	if got := list(time.Hour, 10); len(got) != 0 {
		t.Errorf("%d rows are older than an hour", len(got))
	}
	if err := b.Started(b.ctx, []message.ID{code.ID, other.ID, message.NewID()}); err != nil {
		t.Fatal(err)
	}
	if n, err := b.CountUnstarted(b.ctx); err != nil || n != 2 {
		t.Errorf("%d left, %v", n, err)
	}
}

// Of two processes that start workflows each takes other rows, and what one that died
// had taken on the other finds some seconds later.
func TestUnstartedIsTakenOnByOne(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var all []message.ID
	for range 6 {
		m := b.draft()
		b.store(m)
		all = append(all, m.ID)
	}
	take := func(instance string, limit int, underway ...message.ID) []message.ID {
		t.Helper()
		starts, err := b.Unstarted(b.ctx, instance, 0, limit, underway)
		if err != nil {
			t.Fatal(err)
		}
		return pick(starts, func(s message.Start) message.ID { return s.MessageID })
	}
	if got := take("one", 3); !slices.Equal(got, all[:3]) {
		t.Fatalf("the first takes %v", got)
	}
	if got := take("two", 10); !slices.Equal(got, all[3:]) {
		t.Errorf("the second takes %v", got)
	}
	if got := take("one", 10, all[0], all[1]); !slices.Equal(got, all[2:3]) {
		t.Errorf("the first takes what it has let go: %v", got)
	}
	b.exec("update starts set claimed_until = now() - interval '1 millisecond' where claimed_by = 'one'")
	if got := take("two", 10, all[3:]...); !slices.Equal(got, all[:3]) {
		t.Errorf("the second takes of the dead one %v", got)
	}

	// A row that somebody is clearing is not waited for.
	tx, err := b.pool.Begin(b.ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(b.ctx)) }()
	if _, err := tx.Exec(b.ctx, "delete from starts where message_id = $1", all[0]); err != nil {
		t.Fatal(err)
	}
	if got := take("two", 10); !slices.Equal(got, all[1:]) {
		t.Errorf("beside a delete the second takes %v", got)
	}
}

func keyed(m *message.Message, key string, body byte) message.Acceptance {
	return message.Acceptance{Message: m, Idempotency: &message.Idempotency{AccountID: m.AccountID, Operation: "POST /v1/messages", Key: key,
		BodyHash: [32]byte{body}, Status: 202, Response: []byte(`{"id":"` + m.ID.String() + `"}`)}}
}

func TestIdempotency(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m := b.draft()
	a := keyed(m, "order-1", 1)
	if got, err := b.Accept(b.ctx, a); err != nil || got.Replay != nil {
		t.Fatalf("first: %+v, %v", got, err)
	}
	stored := scalar[[]byte](b, "select response from idempotency_keys")
	if bytes.Contains(stored, []byte(m.ID.String())) {
		t.Error("the stored answer can be read in the table")
	}
	replayed := func(a message.Acceptance) {
		t.Helper()
		got, err := b.Accept(b.ctx, a)
		if err != nil || got.Replay == nil {
			t.Fatalf("replay: %+v, %v", got, err)
		}
		if got.Replay.Status != 202 || string(got.Replay.Response) != `{"id":"`+m.ID.String()+`"}` {
			t.Errorf("not the first answer: %d %s", got.Replay.Status, got.Replay.Response)
		}
	}
	replayed(keyed(b.draft(), "order-1", 1))
	replayed(a) // the same message: a repeat after a lost connection

	_, err := b.Accept(b.ctx, keyed(b.draft(), "order-1", 2))
	if message.ReasonOf(err) != message.ReasonIdempotencyMismatch {
		t.Errorf("another body: %v", err)
	}
	if n := b.count("select count(*) from messages"); n != 1 {
		t.Fatalf("%d messages after repeats", n)
	}

	// A key belongs to an account and an operation.
	stranger := b.draft()
	stranger.AccountID = message.NewID()
	elsewhere := keyed(b.draft(), "order-1", 2)
	elsewhere.Idempotency.Operation = "POST /v1/messages/batch"
	for _, a := range []message.Acceptance{keyed(stranger, "order-1", 2), elsewhere, keyed(b.draft(), "order-2", 1)} {
		if got, err := b.Accept(b.ctx, a); err != nil || got.Replay != nil {
			t.Errorf("a key that is free: %+v, %v", got, err)
		}
	}
	if first, err := b.FirstAnswer(b.ctx, *keyed(m, "order-9", 1).Idempotency); first != nil || err != nil {
		t.Errorf("a free key: %+v, %v", first, err)
	}
	b.whole()
}

// Two requests with one key in the same commit: one is stored, the other gets
// its answer.
func TestIdempotencyWithinGroup(t *testing.T) {
	t.Parallel()
	b := setup(t)
	release := b.hold("messages")
	head := b.accepting(b.ctx, message.Acceptance{Message: b.draft()})
	b.blocked()
	one, two := b.draft(), b.draft()
	first, second := b.accepting(b.ctx, keyed(one, "twin", 1)), b.accepting(b.ctx, keyed(two, "twin", 1))
	mismatch := b.accepting(b.ctx, keyed(b.draft(), "twin", 2))
	b.until("all wait", func() bool { return b.queued() == 3 })
	release()
	if r := <-head; r.err != nil {
		t.Fatal(r.err)
	}
	var fresh, replays, refused int
	for _, done := range []<-chan acceptResult{first, second, mismatch} {
		switch r := <-done; {
		case message.ReasonOf(r.err) == message.ReasonIdempotencyMismatch:
			refused++
		case r.err != nil:
			t.Fatal(r.err)
		case r.Replay == nil:
			fresh++
		default:
			replays++
		}
	}
	// Whichever of the three came first into the group holds the key.
	if fresh != 1 || replays+refused != 2 || refused == 0 {
		t.Errorf("%d fresh, %d replays, %d refused", fresh, replays, refused)
	}
	if n := b.count("select count(*) from messages"); n != 2 {
		t.Errorf("%d messages", n)
	}
	b.whole()
}

// Groups of two replicas with the same keys in another order do not fail each
// other's callers.
func TestIdempotencyAcrossReplicas(t *testing.T) {
	t.Parallel()
	b := setup(t)
	other := b.replica()
	const keys = 40
	var wg sync.WaitGroup
	var mu sync.Mutex
	fresh := 0
	for i := range keys {
		for j, db := range []*DB{b.DB, other} {
			key := i
			if j == 1 {
				key = keys - 1 - i
			}
			wg.Go(func() {
				got, err := db.Accept(b.ctx, keyed(b.draft(), fmt.Sprintf("key-%d", key), 1))
				if err != nil {
					t.Error(err)
				}
				if got.Replay == nil {
					mu.Lock()
					fresh++
					mu.Unlock()
				}
			})
		}
	}
	wg.Wait()
	if n := b.count("select count(*) from messages"); n != keys || fresh != keys {
		t.Errorf("%d messages, %d fresh answers, want %d", n, fresh, keys)
	}
}

func TestAcceptRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m := b.draft()
	m.Status, m.Error = message.StatusRejected, message.Refuse(message.ReasonCampaignInactive, "the campaign is suspended")
	trail := []message.TrailEntry{{Rule: "account_active", Result: message.Pass}, {Rule: "campaign", Result: message.Refused, Detail: "the campaign is suspended"}}
	a := keyed(m, "refused", 1)
	a.Trail, a.Idempotency.Status = trail, 422
	if _, err := b.Accept(b.ctx, a); err != nil {
		t.Fatal(err)
	}
	got, err := b.Message(b.ctx, m.ID)
	if err != nil {
		t.Fatal(err)
	}
	if got.Status != message.StatusRejected || got.Error == nil || got.Error.Reason != message.ReasonCampaignInactive || got.Error.Detail != m.Error.Detail {
		t.Errorf("stored as %s, %v", got.Status, got.Error)
	}
	events := b.timeline(m)
	if len(events) != 1 || events[0].Type != "rejected" || events[0].Detail["code"] != "campaign_inactive" || len(events[0].Detail["trail"].([]any)) != 2 {
		t.Errorf("timeline: %+v", events)
	}
	if n := b.count("select count(*) from starts"); n != 0 {
		t.Error("a refused message waits to be started")
	}
	if r, err := b.Accept(b.ctx, a); err != nil || r.Replay == nil || r.Replay.Status != 422 {
		t.Errorf("the refusal is not repeated: %+v, %v", r, err)
	}
}

// A row that the database refuses fails alone.
func TestAcceptPoison(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*message.Message){
		"NUL in a text":  func(m *message.Message) { m.ClientReference = "a\x00b" },
		"broken UTF-8":   func(m *message.Message) { m.ClientReference = "a\xffb" },
		"NUL in JSON":    func(m *message.Message) { m.Metadata = map[string]string{"k": "a\x00b"} },
		"too many parts": func(m *message.Message) { m.Segments = 300 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			release := b.hold("messages")
			head := b.accepting(b.ctx, message.Acceptance{Message: b.draft()})
			b.blocked()
			bad := b.draft()
			spoil(bad)
			before := b.accepting(b.ctx, message.Acceptance{Message: b.draft()})
			poison := b.accepting(b.ctx, keyed(bad, "bad", 1))
			after := b.accepting(b.ctx, keyed(b.draft(), "good", 1))
			b.until("all wait", func() bool { return b.queued() == 3 })
			release()
			for _, done := range []<-chan acceptResult{head, before, after} {
				if r := <-done; r.err != nil {
					t.Errorf("an innocent caller: %v", r.err)
				}
			}
			r := <-poison
			if r.err == nil {
				t.Fatal("the bad row was accepted")
			}
			want := message.ReasonInvalidRequest
			if name == "too many parts" {
				want = message.ReasonInternal
			}
			if got := message.ReasonOf(r.err); got != want {
				t.Errorf("the bad row: %v", r.err)
			}
			if n := b.count("select count(*) from messages"); n != 3 {
				t.Errorf("%d messages", n)
			}
			b.whole()
		})
	}
}

// A caller who gives up does not take its message with it, and nobody else's.
func TestAcceptCallerLeaves(t *testing.T) {
	t.Parallel()
	b := setup(t)
	release := b.hold("messages")
	ctx, cancel := context.WithCancel(b.ctx)
	impatient := b.accepting(ctx, message.Acceptance{Message: b.draft()})
	b.blocked()
	patient := b.accepting(b.ctx, message.Acceptance{Message: b.draft()})
	b.until("the second waits", func() bool { return b.queued() == 1 })
	cancel()
	if r := <-impatient; !errors.Is(r.err, context.Canceled) {
		t.Errorf("who left got %v", r.err)
	}
	release()
	if r := <-patient; r.err != nil {
		t.Errorf("who stayed got %v", r.err)
	}
	if n := b.count("select count(*) from messages"); n != 2 {
		t.Errorf("%d messages", n)
	}
}

// Close waits for those who wait, and refuses those who come later.
func TestAcceptClose(t *testing.T) {
	t.Parallel()
	b := setup(t)
	db := b.replica()
	release := b.hold("messages")
	first := make(chan error, 1)
	go func() {
		_, err := db.Accept(b.ctx, message.Acceptance{Message: b.draft()})
		first <- err
	}()
	b.blocked()
	const callers = 2*maxAccepts + 10 // more than share a commit
	results := make(chan error, callers)
	for range callers {
		go func() {
			_, err := db.Accept(b.ctx, message.Acceptance{Message: b.draft()})
			results <- err
		}()
	}
	b.until("all wait", func() bool { return db.queued() == callers })
	closed := make(chan struct{})
	go func() {
		db.Close()
		close(closed)
	}()
	release()
	stored := 1
	if err := <-first; err != nil {
		t.Fatal(err)
	}
	for range callers {
		switch err := <-results; {
		case err == nil:
			stored++
		case message.ReasonOf(err) != message.ReasonUnavailable:
			t.Errorf("refused with %v", err)
		}
	}
	<-closed
	if n := b.count("select count(*) from messages"); n != stored {
		t.Errorf("%d callers were told yes, %d messages are stored", stored, n)
	}
	if stored != 1+callers {
		t.Errorf("only %d of the %d who had entered were served", stored, 1+callers)
	}
	_, err := db.Accept(b.ctx, message.Acceptance{Message: b.draft()})
	if message.ReasonOf(err) != message.ReasonUnavailable {
		t.Errorf("after the end: %v", err)
	}
	if _, err := db.Advance(b.ctx, message.Change{MessageID: message.NewID(), To: message.StatusQueued}); !Unavailable(err) {
		t.Errorf("advance after the end: %v", err)
	}
	db.Close() // twice does nothing
	b.whole()
}

// A yes is given only after the commit: a constraint that is checked there
// refuses the message.
func TestAcceptCommitFails(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.failCommits("starts")
	_, err := b.Accept(b.ctx, message.Acceptance{Message: b.draft()})
	if err == nil || !strings.Contains(err.Error(), "not at commit") {
		t.Fatalf("accepted although the commit failed: %v", err)
	}
	if n := b.count("select count(*) from messages"); n != 0 {
		t.Errorf("%d messages", n)
	}
}

// failCommits makes every transaction that inserts into a table fail at its
// commit.
func (b *bundle) failCommits(table string) {
	b.tb.Helper()
	b.exec("create function refuse() returns trigger language plpgsql as $$ begin raise exception 'not at commit'; end $$")
	b.exec("create constraint trigger refuse after insert on " + pgx.Identifier{table}.Sanitize() + " deferrable initially deferred for each row execute function refuse()")
}
