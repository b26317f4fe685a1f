package postgres

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// batch stores one with so many rows.
func (b *bundle) batch(rows int) *message.Batch {
	b.tb.Helper()
	batch := &message.Batch{ID: message.NewID(), AccountID: b.owner, Credential: message.NewID(), Name: "spring", CreatedAt: time.Now().UTC(),
		Defaults: message.BatchDefaults{Body: "Hello {{name}}", Class: message.ClassBulk}, WebhookURL: "https://shop.example/hooks", Total: rows, Status: message.BatchRunning}
	if _, err := b.CreateBatch(b.ctx, batch, contents(rows), nil); err != nil {
		b.tb.Fatal(err)
	}
	return batch
}

func contents(n int) []message.BatchContent {
	out := make([]message.BatchContent, n)
	for i := range out {
		out[i] = message.BatchContent{To: fmt.Sprintf("+1310555%04d", i), Variables: map[string]string{"name": "Ann"}}
	}
	return out
}

// claims takes rows on and fails the test unless it can.
func (b *bundle) claims(batch *message.Batch, limit int) []message.BatchRow {
	b.tb.Helper()
	_, list, err := b.ClaimBatch(b.ctx, batch.ID, limit, nil)
	if err != nil {
		b.tb.Fatal(err)
	}
	return list
}

// make stores the message of a row.
func (b *bundle) make(batch *message.Batch, r message.BatchRow, status message.Status) *message.Message {
	b.tb.Helper()
	m := b.draft()
	m.ID, m.BatchID, m.To = r.MessageID, batch.ID, message.Address(r.Content.To)
	if m.Status = status; status == message.StatusRejected {
		m.Error = message.Refuse(message.ReasonOptedOut, "no")
	}
	b.store(m)
	return m
}

func (b *bundle) recordRows(batch *message.Batch, list ...message.BatchRow) *message.Batch {
	b.tb.Helper()
	out, err := b.RecordBatch(b.ctx, batch.ID, list)
	if err != nil {
		b.tb.Fatal(err)
	}
	return out
}

func as(state message.BatchRowState, r message.BatchRow) message.BatchRow {
	if r.State = state; state == message.RowRefused {
		r.Error = message.Refuse(message.ReasonInvalidRequest, "no")
	}
	return r
}

func (b *bundle) unviolated() {
	b.tb.Helper()
	if found, err := b.Violations(b.ctx, 0); err != nil || len(found) > 0 {
		b.tb.Errorf("%+v, %v", found, err)
	}
}

// A life from the first row to the last, with each thing that a row can become.
func TestBatchLife(t *testing.T) {
	t.Parallel()
	b := setup(t)
	batch := b.batch(5)
	first := b.claims(batch, 3)
	if len(first) != 3 || first[0].Row != 1 || first[2].Row != 3 || first[0].State != message.RowClaimed || first[0].Content.Variables["name"] != "Ann" {
		t.Fatalf("%+v", first)
	}
	again := b.claims(batch, 3)
	for i := range first {
		if again[i].MessageID != first[i].MessageID || again[i].State != message.RowClaimed {
			t.Errorf("row %d has got another id: %+v", i+1, again[i])
		}
	}
	b.make(batch, first[0], message.StatusAccepted)
	b.make(batch, first[1], message.StatusRejected)
	if again = b.claims(batch, 3); again[0].State != message.RowMade || again[1].State != message.RowMade || again[2].State != message.RowClaimed {
		t.Errorf("what is there is not seen: %+v", again)
	}
	b.recordRows(batch, as(message.RowPending, again[2]))
	b.exec("update batch_rows set claimed_at = now() - interval '1 day' where row = 3") // the first tries are long over
	refused := b.claims(batch, 3)[2]
	for range 2 { // twice is once
		got := b.recordRows(batch, as(message.RowMade, first[0]), as(message.RowMade, first[1]), as(message.RowRefused, refused))
		if got.Worked != 3 || got.Refused != 1 || got.StartedAt.IsZero() || got.Defaults.Body != "Hello {{name}}" {
			t.Fatalf("%+v", got)
		}
	}
	rest := b.claims(batch, 10)
	if len(rest) != 2 || rest[0].Row != 4 {
		t.Fatalf("%+v", rest)
	}
	// One that waits loses its id, for nobody can have it.
	b.recordRows(batch, as(message.RowPending, rest[0]))
	if other := b.claims(batch, 1); other[0].MessageID == rest[0].MessageID {
		t.Error("a row that was given back has kept its id")
	}
	b.unviolated()
	var told []message.BatchProgress
	complete := func() {
		if err := b.CompleteBatch(b.ctx, batch.ID, func(p message.BatchProgress) (message.AccountEvent, error) {
			told = append(told, p)
			n := b.notification(&message.Message{ID: message.NewID(), AccountID: b.owner}, "batch.completed")
			n.MessageID = message.ID{}
			return message.AccountEvent{ID: n.EventID, AccountID: b.owner, Type: "batch.completed", Payload: "{}", Deliveries: []message.Notification{n}}, nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	if complete(); len(told) != 0 {
		t.Error("it completed with rows left")
	}
	rest = b.claims(batch, 10)
	b.make(batch, rest[0], message.StatusAccepted)
	b.make(batch, rest[1], message.StatusAccepted)
	b.recordRows(batch, as(message.RowMade, rest[0]), as(message.RowMade, rest[1]))
	complete()
	complete()
	if len(told) != 1 || told[0].Statuses[message.StatusAccepted] != 3 || told[0].Refused != 1 || told[0].Price.Amount != 3*4500 || !told[0].Price.Estimated {
		t.Fatalf("told %+v", told)
	}
	if n := b.count("select count(*) from webhook_deliveries d join webhooks_due w on w.delivery_id = d.id where d.type = 'batch.completed' and w.due_at < now()"); n != 1 {
		t.Errorf("%d deliveries", n)
	}
	if n := b.count("select count(*) from account_events where type = 'batch.completed'"); n != 1 {
		t.Errorf("%d events", n)
	}
	p, err := b.Batch(b.ctx, b.owner, batch.ID)
	if err != nil || p.Status != message.BatchCompleted || p.CompletedAt.IsZero() || p.Running != 0 || p.Statuses[message.StatusRejected] != 1 {
		t.Errorf("%+v, %v", p, err)
	}
	if n := b.count("select count(*) from batch_rows where content is not null"); n != 1 {
		t.Errorf("%d rows have kept what their messages have", n)
	}
	b.unviolated()
}

// The rows of a batch as they are listed.
func TestBatchRows(t *testing.T) {
	t.Parallel()
	b := setup(t)
	batch := b.batch(5)
	list := b.claims(batch, 3)
	b.make(batch, list[0], message.StatusAccepted)
	b.make(batch, list[1], message.StatusRejected)
	b.recordRows(batch, as(message.RowMade, list[0]), as(message.RowMade, list[1]), as(message.RowRefused, list[2]))
	rows := func(after int, statuses ...string) string {
		t.Helper()
		list, err := b.BatchRows(b.ctx, b.owner, batch.ID, statuses, after, 10)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, r := range list {
			reason := message.Reason("")
			if r.Error != nil {
				reason = r.Error.Reason
			}
			to := string(r.To)
			if r.Content != nil {
				to = r.Content.To
			}
			out = append(out, fmt.Sprintf("%d %s %s %s %s", r.Row, r.State, r.Status, to, reason))
		}
		return strings.Join(out, ", ")
	}
	all := "1 made accepted +13105550000 , 2 made rejected +13105550001 opted_out, 3 refused rejected +13105550002 invalid_request, 4 pending pending +13105550003 , 5 pending pending +13105550004 "
	if got := rows(0); got != all {
		t.Errorf("%s", got)
	}
	for status, want := range map[string]string{"rejected": "2 made rejected +13105550001 opted_out, 3 refused rejected +13105550002 invalid_request", "accepted": "1 made accepted +13105550000 ", "pending": "4 pending pending +13105550003 , 5 pending pending +13105550004 ", "canceled": ""} {
		if got := rows(0, status); got != want {
			t.Errorf("%s: %s", status, got)
		}
	}
	if got := rows(4); got != "5 pending pending +13105550004 " {
		t.Errorf("%s", got)
	}
	if _, _, err := b.SetBatch(b.ctx, b.owner, batch.ID, message.BatchCanceled, nil); err != nil {
		t.Fatal(err)
	}
	if got := rows(3, "canceled", "pending"); got != "4 pending canceled +13105550003 , 5 pending canceled +13105550004 " || rows(0, "pending") != "" {
		t.Errorf("of a canceled batch: %s", got)
	}
	if _, err := b.BatchRows(b.ctx, message.NewID(), batch.ID, nil, 0, 10); message.ReasonOf(err) != message.ReasonNotFound {
		t.Errorf("another account's: %v", err)
	}
}

// All of a batch is stored or nothing, and a key once.
func TestCreateBatchOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var wg sync.WaitGroup
	var fresh, replayed int
	var mu sync.Mutex
	for range 8 {
		wg.Go(func() {
			batch := &message.Batch{ID: message.NewID(), AccountID: b.owner, Credential: b.owner, CreatedAt: time.Now()}
			key := &message.Idempotency{AccountID: b.owner, Operation: "POST /v1/messages/batch", Key: "k", Status: 202, Response: []byte(batch.ID.String())}
			first, err := b.CreateBatch(b.ctx, batch, contents(50), key)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			if first == nil {
				fresh++
			} else if replayed++; first.Status != 202 || len(first.Response) != 36 {
				t.Errorf("%+v", first)
			}
		})
	}
	wg.Wait()
	if fresh != 1 || replayed != 7 || b.count("select count(*) from batches") != 1 || b.count("select count(*) from batch_rows") != 50 || b.count("select count(*) from batch_tells") != 1 {
		t.Errorf("%d fresh, %d replayed", fresh, replayed)
	}
	bad := &message.Batch{ID: message.NewID(), AccountID: b.owner, Credential: b.owner, Name: "a\x00b", CreatedAt: time.Now()}
	if _, err := b.CreateBatch(b.ctx, bad, contents(2), nil); message.ReasonOf(err) != message.ReasonInvalidRequest {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(b.ctx)
	cancel()
	if _, err := b.CreateBatch(ctx, &message.Batch{ID: message.NewID(), AccountID: b.owner}, contents(2), nil); err == nil {
		t.Error("no error")
	}
	if n := b.count("select count(*) from batch_rows"); n != 50 {
		t.Errorf("%d rows: something was half stored", n)
	}
}

// Pause, resume, cancel, and what is told of them.
func TestSetBatch(t *testing.T) {
	t.Parallel()
	b := setup(t)
	batch := b.batch(2)
	set := func(to message.BatchStatus) error {
		_, _, err := b.SetBatch(b.ctx, b.owner, batch.ID, to, nil)
		return err
	}
	tell, found, err := b.BatchToTell(b.ctx, batch.ID)
	if err != nil || !found || tell.Name != "spring" || tell.Total != 2 || tell.Asked != 1 {
		t.Fatalf("%+v, %v, %v", tell, found, err)
	}
	if err := set(message.BatchPaused); err != nil {
		t.Fatal(err)
	}
	if list := b.claims(batch, 5); len(list) != 0 {
		t.Error("rows of a paused batch are worked")
	}
	// What was told covers what was asked for before, and no more.
	if err := b.BatchTold(b.ctx, batch.ID, tell.Asked); err != nil {
		t.Fatal(err)
	}
	if _, found, _ = b.BatchToTell(b.ctx, batch.ID); !found {
		t.Error("a word that was not told is forgotten")
	}
	list, err := b.BatchesToTell(b.ctx, 0, 10)
	if err != nil || len(list) != 1 || list[0].Asked != 2 {
		t.Fatalf("%+v, %v", list, err)
	}
	if again, _ := b.BatchesToTell(b.ctx, time.Minute, 10); len(again) != 0 {
		t.Error("two have taken it on")
	}
	if err := b.BatchTold(b.ctx, batch.ID, 2); err != nil {
		t.Fatal(err)
	}
	if _, found, _ = b.BatchToTell(b.ctx, batch.ID); found {
		t.Error("what was told is still to be told")
	}
	for _, to := range []message.BatchStatus{message.BatchPaused, message.BatchRunning, message.BatchRunning, message.BatchCanceled, message.BatchCanceled} {
		if err := set(to); err != nil {
			t.Errorf("%s: %v", to, err)
		}
	}
	for _, to := range []message.BatchStatus{message.BatchPaused, message.BatchRunning} {
		if err := set(to); message.ReasonOf(err) != message.ReasonConflict {
			t.Errorf("%s of a canceled batch: %v", to, err)
		}
	}
	if _, _, err := b.SetBatch(b.ctx, message.NewID(), batch.ID, message.BatchPaused, nil); message.ReasonOf(err) != message.ReasonNotFound {
		t.Errorf("another account's: %v", err)
	}
	// With a key the first answer comes again, whatever has happened meanwhile.
	other := b.batch(1)
	answer := func(p message.BatchProgress) (message.Idempotency, error) {
		return message.Idempotency{AccountID: b.owner, Operation: "x", Key: "k", Status: 200, Response: []byte(p.Status)}, nil
	}
	if _, first, err := b.SetBatch(b.ctx, b.owner, other.ID, message.BatchPaused, answer); err != nil || first != nil {
		t.Fatalf("%v, %v", first, err)
	}
	if _, first, err := b.SetBatch(b.ctx, b.owner, other.ID, message.BatchCanceled, answer); err != nil || first == nil || string(first.Response) != "paused" {
		t.Fatalf("%+v, %v", first, err)
	}
	if p, _ := b.Batch(b.ctx, b.owner, other.ID); p.Status != message.BatchPaused {
		t.Errorf("a repeated key has changed it: %s", p.Status)
	}
}

// What is dropped and withdrawn of a canceled batch.
func TestCanceledBatch(t *testing.T) {
	t.Parallel()
	b := setup(t)
	batch := b.batch(4)
	list := b.claims(batch, 3)
	made := b.make(batch, list[0], message.StatusAccepted)
	there := b.make(batch, list[1], message.StatusAccepted) // and the process died
	b.recordRows(batch, as(message.RowMade, list[0]))
	if _, _, err := b.SetBatch(b.ctx, b.owner, batch.ID, message.BatchCanceled, nil); err != nil {
		t.Fatal(err)
	}
	if open, err := b.DroppedBatch(b.ctx, batch.ID); err != nil || open != 1 {
		t.Errorf("%d open, %v: the third may still come", open, err)
	}
	b.exec("update batch_rows set claimed_at = now() - interval '1 day' where state = 'claimed'")
	if open, err := b.DroppedBatch(b.ctx, batch.ID); err != nil || open != 0 {
		t.Errorf("%d open, %v", open, err)
	}
	ids, err := b.CancelableOfBatch(b.ctx, batch.ID, message.ID{}, 10)
	if err != nil || !slices.Equal(ids, []message.ID{made.ID, there.ID}) {
		t.Errorf("%v, %v", ids, err)
	}
	if ids, _ = b.CancelableOfBatch(b.ctx, batch.ID, made.ID, 10); !slices.Equal(ids, []message.ID{there.ID}) {
		t.Errorf("%v", ids)
	}
	if err := b.EndCanceledBatch(b.ctx, batch.ID); err != nil {
		t.Fatal(err)
	}
	p, err := b.Batch(b.ctx, b.owner, batch.ID)
	if err != nil || p.Worked != 2 || p.Pending() != 0 || p.CompletedAt.IsZero() {
		t.Errorf("%+v, %v", p, err)
	}
	b.unviolated()
}

// An id that has waited too long is not given out again, so that no text comes into the
// record behind the purge.
func TestClaimGrowsOld(t *testing.T) {
	t.Parallel()
	b := setup(t)
	batch := b.batch(2)
	list := b.claims(batch, 2)
	b.make(batch, list[0], message.StatusAccepted)
	b.exec("update batch_rows set claimed_at = now() - interval '1 day'")
	again := b.claims(batch, 2)
	if again[0].State != message.RowMade || again[0].MessageID != list[0].MessageID || again[1].MessageID == list[1].MessageID {
		t.Errorf("%+v", again)
	}
	b.exec("update batch_rows set claimed_at = now()")
	if third := b.claims(batch, 2); third[1].MessageID != again[1].MessageID {
		t.Error("a young claim has got another id")
	}
}

// A try of which nobody knows the end may still make its message: until it cannot, a later
// try that comes to nothing neither gives the row another id nor refuses it.
func TestLateTryOfARow(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		state message.BatchRowState
		late  bool // the first try makes its message after the second has ended
		want  string
	}{
		{message.RowPending, true, "made"},
		{message.RowPending, false, "another id"},
		{message.RowRefused, true, "made"},
		{message.RowRefused, false, "refused"},
	} {
		t.Run(fmt.Sprint(c.state, " ", c.late), func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			batch := b.batch(1)
			first := b.claims(batch, 1)[0]
			second := b.claims(batch, 1)[0]
			if second.MessageID != first.MessageID || !second.Before.Equal(first.Claimed) || !first.Before.IsZero() || !second.Claimed.After(first.Claimed) {
				t.Fatalf("%+v, then %+v", first, second)
			}
			if got := b.recordRows(batch, as(c.state, second)); got.Worked != 0 {
				t.Fatalf("%+v", got)
			}
			third := b.claims(batch, 1)
			if c.state == message.RowRefused && len(third) != 0 || c.state == message.RowPending && third[0].MessageID != first.MessageID {
				t.Fatalf("%+v", third)
			}
			if len(third) > 0 {
				b.recordRows(batch, as(c.state, third[0]))
			}
			b.recordRows(batch, as(c.state, second)) // again, too late
			if c.late {
				b.make(batch, first, message.StatusAccepted)
			}
			b.exec("update batch_rows set claimed_at = claimed_at - interval '6 minutes'")
			last := b.claims(batch, 1)[0]
			got := string(last.State)
			if last.State == message.RowClaimed && last.MessageID != first.MessageID && last.Before.IsZero() {
				got = "another id"
			}
			if got != c.want || c.want == "refused" && last.Error.Detail != "no" {
				t.Fatalf("%s: %+v, want %s", got, last, c.want)
			}
			if last.State != message.RowClaimed {
				if done := b.recordRows(batch, last); done.Worked != 1 {
					t.Errorf("%+v", done)
				}
			}
			b.unviolated()
		})
	}
}

// Each time that a row is given out lengthens its claim, but not for ever: an id that has
// grown old is not given out until nobody can use it, and then the row gets another.
func TestClaimIsOfTheLastTry(t *testing.T) {
	t.Parallel()
	b := setup(t)
	batch := b.batch(1)
	first := b.claims(batch, 1)[0]
	b.exec("update batch_rows set claimed_at = claimed_at - interval '4 minutes'")
	b.claims(batch, 1)
	b.exec("update batch_rows set claimed_at = claimed_at - interval '4 minutes'")
	if again := b.claims(batch, 1)[0]; again.MessageID != first.MessageID {
		t.Fatal("a row has got another id four minutes after it was given out")
	}
	old := idAt(time.Now().Add(-idLasts - time.Minute))
	b.exec("update batch_rows set message_id = $1", old)
	if list := b.claims(batch, 1); len(list) != 0 {
		t.Fatalf("an old id was given out: %+v", list)
	}
	b.exec("update batch_rows set claimed_at = claimed_at - interval '6 minutes'")
	if again := b.claims(batch, 1)[0]; again.MessageID == old || !again.Before.IsZero() {
		t.Errorf("%+v", again)
	}
}

// Many processes work one batch at once, and die: each row has one message.
func TestBatchWorkedByMany(t *testing.T) {
	t.Parallel()
	b := setup(t)
	batch := b.batch(60)
	seed := rand.Uint64()
	t.Logf("drawn with seed %d", seed)
	var wg sync.WaitGroup
	for w := range 4 {
		db, r := b.replica(), rand.New(rand.NewPCG(seed, uint64(w)))
		wg.Go(func() {
			for {
				got, list, err := db.ClaimBatch(b.ctx, batch.ID, 1+r.IntN(10), nil)
				if err != nil {
					t.Error(err)
					return
				}
				if len(list) == 0 {
					if got.Worked != got.Total {
						t.Errorf("%d of %d worked", got.Worked, got.Total)
					}
					return
				}
				var done []message.BatchRow
				for _, row := range list {
					die := r.IntN(4) == 0
					if row.State == message.RowClaimed && !(die && r.IntN(2) == 0) {
						m := b.draft()
						m.ID, m.BatchID, m.To = row.MessageID, batch.ID, message.Address(row.Content.To)
						if _, err := db.Accept(b.ctx, message.Acceptance{Message: m}); err != nil {
							t.Error(err)
						}
						row.State = message.RowMade
					}
					if !die && row.State == message.RowMade {
						done = append(done, row)
					}
				}
				if _, err := db.RecordBatch(b.ctx, batch.ID, done); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if n := b.count("select count(distinct to_addr) from messages where batch_id = $1", batch.ID); n != 60 || b.count("select count(*) from messages") != 60 {
		t.Errorf("%d recipients of %d messages", n, b.count("select count(*) from messages"))
	}
	b.unviolated()
}

// Those who share a rate share its time, whoever asks.
func TestPaceBatch(t *testing.T) {
	t.Parallel()
	b := setup(t)
	account, key, one, two := message.NewID(), message.NewID(), message.NewID(), message.NewID()
	var waits []time.Duration
	for i := range 10 {
		db := []*DB{b.DB, b.replica()}[i%2]
		wait, err := db.PaceBatch(b.ctx, []message.BatchPace{{Of: account, PerSecond: 1}, {Of: key, PerSecond: 100}, {Of: []message.ID{one, two}[i%2], PerSecond: 5}}, 10)
		if err != nil {
			t.Fatal(err)
		}
		waits = append(waits, wait)
	}
	for i, w := range waits { // ten seconds of the account's each; what the test itself takes makes it less
		if want := time.Duration(i) * 10 * time.Second; w > want || w < want-9*time.Second {
			t.Errorf("the %d. waits %s, want %s", i+1, w, want)
		}
	}
	if wait, err := b.PaceBatch(b.ctx, []message.BatchPace{{Of: one, PerSecond: 1}}, 1); err != nil || wait > 10*time.Second {
		t.Errorf("%s, %v: a batch has paid for another", wait, err)
	}
}

// Its texts go when its account keeps texts of that time no more, and it goes with the
// messages of its time.
func TestBatchRetention(t *testing.T) {
	t.Parallel()
	b := setup(t)
	if err := b.CreateAccount(b.ctx, actor, snapshot.Account{ID: b.owner, CompanyName: "Shop", ContentRetentionDays: 7}); err != nil {
		t.Fatal(err)
	}
	ended, running := b.batch(3), b.batch(3)
	list := b.claims(ended, 1)
	b.recordRows(ended, as(message.RowRefused, list[0]))
	if _, _, err := b.SetBatch(b.ctx, b.owner, ended.ID, message.BatchCanceled, nil); err != nil {
		t.Fatal(err)
	}
	if err := b.EndCanceledBatch(b.ctx, ended.ID); err != nil {
		t.Fatal(err)
	}
	texts := func(batch *message.Batch) int {
		return b.count("select count(content) + (select count(defaults) from batches where id = $1) from batch_rows where batch_id = $1", batch.ID)
	}
	b.upkeep()
	if n := texts(ended); n != 4 {
		t.Fatalf("%d texts: some went before their time", n)
	}
	b.exec("update batches set completed_at = now() - interval '8 days' where completed_at is not null")
	b.upkeep()
	if texts(ended) != 0 || texts(running) != 4 {
		t.Errorf("%d and %d texts", texts(ended), texts(running))
	}
	p, err := b.Batch(b.ctx, b.owner, ended.ID)
	if err != nil || !p.Purged {
		t.Errorf("%+v, %v", p, err)
	}
	if rows, err := b.BatchRows(b.ctx, b.owner, ended.ID, nil, 0, 10); err != nil || len(rows) != 3 || rows[0].Content != nil || rows[0].Error == nil {
		t.Errorf("%+v, %v", rows, err)
	}
	b.upkeepBy(message.Retention{Messages: -time.Hour, Strays: aDay}) // as if it were long ago
	if b.count("select count(*) from batches") != 1 || b.count("select count(*) from batch_rows") != 3 {
		t.Error("a batch that has ended stays, or one that runs went")
	}
}

// Rows of a sender that is held are left to others, those before and behind them are not.
func TestClaimLeavesHeldSenders(t *testing.T) {
	t.Parallel()
	b := setup(t)
	batch := &message.Batch{ID: message.NewID(), AccountID: b.owner, Credential: message.NewID(), CreatedAt: time.Now().UTC(), Total: 6, Status: message.BatchRunning}
	list := contents(6)
	list[0].From, list[1].From, list[4].From = "+12025550143", "+12025550143", "72345"
	if _, err := b.CreateBatch(b.ctx, batch, list, nil); err != nil {
		t.Fatal(err)
	}
	claimed := func(held ...string) (senders []string) {
		t.Helper()
		_, rows, err := b.ClaimBatch(b.ctx, batch.ID, 3, held)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rows {
			senders = append(senders, fmt.Sprint(r.Row, r.Sender))
		}
		return senders
	}
	for _, want := range []struct {
		held []string
		rows []string
	}{
		{nil, []string{"1+12025550143", "2+12025550143", "3"}},
		{[]string{"+12025550143"}, []string{"3", "4", "572345"}},
		{[]string{"+12025550143", ""}, []string{"572345"}},
		{[]string{"+12025550143", "", "72345"}, nil},
	} {
		if got := claimed(want.held...); !slices.Equal(got, want.rows) {
			t.Errorf("with %v held: %v", want.held, got)
		}
	}
}

// A batch that nobody works although it is not done with is told of again; one that is
// worked, is paused or has ended is not.
func TestStalledBatches(t *testing.T) {
	t.Parallel()
	b := setup(t)
	running, worked, paused, canceled, ended := b.batch(2), b.batch(2), b.batch(2), b.batch(2), b.batch(2)
	b.exec("update batches set status = 'paused' where id = $1", paused.ID)
	b.exec("update batches set status = 'canceled' where id = any($1)", []message.ID{canceled.ID, ended.ID})
	b.exec("update batches set completed_at = now() where id = $1", ended.ID)
	b.exec("delete from batch_tells")
	b.exec("update batches set looked_at = now() - interval '6 minutes'")
	b.recordRows(worked, as(message.RowMade, b.claims(worked, 1)[0]))
	stalled := func(want ...message.ID) {
		t.Helper()
		n, err := b.TellStalledBatches(b.ctx, 5*time.Minute, 10)
		if err != nil || n != len(want) {
			t.Errorf("%d, %v", n, err)
		}
		if got := b.count("select count(*) from batch_tells where batch_id = any($1)", want); got != len(want) {
			t.Errorf("%d of %v are told of", got, want)
		}
	}
	stalled(running.ID, canceled.ID)
	stalled() // they have their five minutes
	b.exec("update batches set looked_at = now() - interval '6 minutes' where id = $1", running.ID)
	stalled(running.ID)
	if b.count("select count(*) from batch_tells where asked = 2") != 1 || b.count("select count(*) from batch_tells") != 2 {
		t.Error("what is to be told already is told once more")
	}
}

// What is asked of batches goes by an index, and ten thousand rows are counted at once.
func TestBatchPlans(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.fill()
	for _, sql := range []string{
		`insert into batches (id, account_id, credential_id, total, status, completed_at, purged)
		 select id, gen_random_uuid(), account_id, 1, case when n % 100 = 0 then 'running' else 'completed' end, case when n % 100 > 0 then now() end, n % 50 > 0
		 from (select *, row_number() over (order by id) n from messages) m where n % 10 = 0`,
		`insert into batch_rows (batch_id, row, state, message_id) select id, 1, case when n % 20 = 0 then 'pending' else 'made' end, case when n % 20 > 0 then id end
		 from (select *, row_number() over (order by id) n from messages) m`,
		`update messages set batch_id = id where client_reference like '%7'`,
		`insert into batch_tells (batch_id, account_id, taken_at) select id, account_id, now() - n * interval '1 second' from (select *, row_number() over (order by id) n from batches) b`,
		`insert into batch_paces (of_id, next_at) select id, now() from batches`,
		analyze,
	} {
		b.exec(sql)
	}
	for _, q := range []struct {
		name, sql string
		params    int
		uses      string
	}{
		{"Batch", selectAccountBatch, 2, "batches_"},
		{"Batches", selectBatches, 3, "batches_account"},
		{"count", countBatches, 3, "messages_batch"},
		{"running", countRunning, 1, "batches_running"},
		{"rows", selectBatchRows, 6, "batch_rows_pkey"},
		{"open rows", selectOpenRows, 5, "batch_rows_open"},
		{"claim", claimRows, 3, "batch_rows_pkey"},
		{"record", recordRows, 8, "batch_rows_"},
		{"pace", takePace, 3, "batch_paces_pkey"},
		{"drop", dropClaims, 3, "batch_rows_open"},
		{"cancelable", selectCancelable, 4, "messages_batch"},
		{"stalled", tellStalled, 2, "batches_unfinished"},
		{"tells", takeBatchTells, 2, "batch_tells_taken"},
		{"tell", selectBatchTell, 1, "batch_tells_pkey"},
		{"texts", selectBatchTexts, 2, "batches_texts"},
		{"purge", purgeBatchRows, 1, "batch_rows_pkey"},
	} {
		plan := b.explain(q.sql, q.params, "off")
		if !strings.Contains(plan, q.uses) || strings.Contains(plan, "Seq Scan") {
			t.Errorf("%s:\n%s", q.name, plan)
		}
	}
	if sql, args := listQuery(b.owner, message.Filter{BatchID: b.owner}, message.ID{}, 50); !strings.Contains(b.explain(sql, len(args), "off"), "messages_batch") {
		t.Errorf("the messages of a batch:\n%s", b.explain(sql, len(args), "off"))
	}
}
