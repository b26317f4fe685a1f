package ingress_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/limit"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// batchOf is a batch of the account by an API key of its own.
func batchOf(b *bundle) *message.Batch {
	key := &snapshot.Credential{ID: message.NewID(), AccountID: b.account.ID, Key: "k"}
	b.config.Credentials = map[string]*snapshot.Credential{"k": key}
	return &message.Batch{ID: message.NewID(), AccountID: b.account.ID, Credential: key.ID, Status: message.BatchRunning, Total: 1,
		Defaults: message.BatchDefaults{From: string(number), Body: "Hello {{name}}", ClientReference: "r"}, WebhookURL: "https://shop.example/hooks"}
}

func rowTo(to string, variables map[string]string) message.BatchRow {
	return message.BatchRow{Row: 1, State: message.RowClaimed, MessageID: message.NewID(), Content: &message.BatchContent{To: to, Variables: variables}}
}

// A row becomes the message that was promised, with the defaults of its batch, or says why
// it does not.
func TestBatchRow(t *testing.T) {
	named := map[string]string{"name": "Ann"}
	for _, c := range []struct {
		name   string
		change func(b *bundle, batch *message.Batch, row *message.BatchRow)
		state  message.BatchRowState
		reason message.Reason
		say    string
	}{
		{name: "accepted", state: message.RowMade},
		{"a variable is missing", func(_ *bundle, _ *message.Batch, r *message.BatchRow) { r.Content.Variables = nil }, message.RowRefused, message.ReasonInvalidRequest, "{{name}}"},
		{"no number", func(_ *bundle, _ *message.Batch, r *message.BatchRow) { r.Content.To = "x" }, message.RowRefused, message.ReasonInvalidDestination, ""},
		{"a rule refuses it: its message says so", func(_ *bundle, _ *message.Batch, r *message.BatchRow) { r.Content.From = "+19995550100" }, message.RowMade, "", ""},
		{"the key was removed", func(b *bundle, batch *message.Batch, _ *message.BatchRow) {
			b.config.Credentials, batch.CreatedAt = nil, time.Now().Add(-time.Minute)
		}, message.RowRefused, message.ReasonForbidden, "API key"},
		{"the key is not here yet", func(b *bundle, batch *message.Batch, _ *message.BatchRow) {
			b.config.Credentials, batch.CreatedAt = nil, time.Now()
		}, message.RowPending, message.ReasonUnavailable, "not here yet"},
		{"a user of the portal made it, whom no key binds", func(b *bundle, batch *message.Batch, _ *message.BatchRow) {
			b.config.Credentials, batch.Credential, batch.CreatedAt = nil, message.ID{}, time.Now().Add(-time.Minute)
		}, message.RowMade, "", ""},
		{"its content is gone", func(_ *bundle, _ *message.Batch, r *message.BatchRow) { r.Content = nil }, message.RowRefused, message.ReasonInternal, ""},
		{"the backlog is full", func(b *bundle, _ *message.Batch, _ *message.BatchRow) { b.account.MaxBacklog = -1 }, message.RowPending, message.ReasonQueueFull, ""},
		{"the number has its rate", func(b *bundle, _ *message.Batch, _ *message.BatchRow) {
			b.config.Numbers[number].RateLimit = 1
			limits := limit.New(0)
			b.Rates = limits
			b.OpenBatch(batchOf(b)) // nothing is taken by looking
			_, accept := b.OpenBatch(batchOf(b))
			accept(b.ctx(), rowTo("+13105550118", named))
		}, message.RowPending, message.ReasonRateLimitExceeded, ""},
		{"the journal is away", func(b *bundle, _ *message.Batch, _ *message.BatchRow) {
			b.journal.mu.Lock()
			b.journal.down = message.Refuse(message.ReasonUnavailable, "away")
			b.journal.mu.Unlock()
		}, message.RowClaimed, message.ReasonUnavailable, ""},
		{"the time is over", func(b *bundle, _ *message.Batch, _ *message.BatchRow) {
			b.journal.mu.Lock()
			b.journal.down = context.DeadlineExceeded
			b.journal.mu.Unlock()
		}, message.RowClaimed, message.ReasonInternal, ""},
		{"the journal refuses it for good", func(b *bundle, _ *message.Batch, _ *message.BatchRow) {
			b.journal.mu.Lock()
			b.journal.down = errors.New("a check of the table")
			b.journal.mu.Unlock()
		}, message.RowRefused, message.ReasonInternal, "could not be worked"},
		{"a send time that has come", func(_ *bundle, batch *message.Batch, _ *message.BatchRow) {
			batch.Defaults.SendAt = time.Now().Add(-time.Hour)
		}, message.RowMade, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := setup(t)
			batch, row := batchOf(b), rowTo("+13105550117", named)
			id := row.MessageID
			if c.change != nil {
				c.change(b, batch, &row)
				if c.name == "the number has its rate" {
					batch = batchOf(b)
				}
			}
			_, accept := b.OpenBatch(batch)
			got := accept(b.ctx(), row)
			if got.State != c.state || message.ReasonOf(asError(got.Error)) != c.reason || c.say != "" && !strings.Contains(got.Error.Detail, c.say) {
				t.Fatalf("%s, %v", got.State, got.Error)
			}
			if c.state != message.RowMade {
				return
			}
			b.journal.mu.Lock()
			defer b.journal.mu.Unlock()
			var m *message.Message
			for _, a := range b.journal.accepted {
				if a.Message.ID == id {
					m = a.Message
				}
			}
			if m == nil || m.BatchID != batch.ID || m.Body != "Hello Ann" || m.ClientReference != "r" || m.WebhookURL != batch.WebhookURL || !m.SendAt.IsZero() {
				t.Errorf("%+v", m)
			}
		})
	}
}

// asError keeps a nil *Error from becoming an error that is not nil.
func asError(e *message.Error) error {
	if e == nil {
		return nil
	}
	return e
}

func (b *bundle) ctx() context.Context { return context.Background() }

// The rates of a batch are those of its account, its key, and its own.
func TestBatchRates(t *testing.T) {
	b := setup(t)
	batch := batchOf(b)
	if got := b.BatchRate(batch); got != 10 {
		t.Errorf("by default: %d", got)
	}
	b.account.APIRateLimit = 50
	b.config.Credentials["k"].RateLimit = 20
	batch.Throttle = 5
	if rates, _ := b.OpenBatch(batch); len(rates) != 3 || rates[0] != (message.BatchPace{Of: b.account.ID, PerSecond: 50}) || rates[1].PerSecond != 20 || rates[2] != (message.BatchPace{Of: batch.ID, PerSecond: 5}) {
		t.Errorf("%+v", rates)
	}
	if got := b.BatchRate(batch); got != 5 {
		t.Errorf("%d", got)
	}
}

// A check stores nothing and says what each row would come to.
func TestCheckBatchRows(t *testing.T) {
	b := setup(t)
	batch := batchOf(b)
	named := map[string]string{"name": "Ann"}
	check, err := b.CheckBatch(b.ctx(), batch, []message.BatchContent{{To: "+13105550117", Variables: named}, {To: "+13105550118"}, {To: "x", Variables: named}, {To: "+13105550119", From: "+19995550100", Variables: named}})
	if err != nil || check.Segments != 1 || len(check.Refused) != 3 || check.Refused[0].Row != 2 || check.Refused[2].Error.Reason != message.ReasonUnauthorizedSender {
		t.Errorf("%+v, %v", check, err)
	}
	b.journal.mu.Lock()
	defer b.journal.mu.Unlock()
	if len(b.journal.accepted) != 0 {
		t.Error("something was stored")
	}
}

// What the record has to tell is told, at once or by the sweep, and until it was.
func TestBatchIsTold(t *testing.T) {
	b := setup(t)
	b.SweepEvery = time.Millisecond
	now, swept, stalled := message.NewID(), message.NewID(), message.NewID()
	b.journal.inbounds.stalled = []message.ID{stalled}
	tell := func(id message.ID, at time.Time) {
		b.journal.mu.Lock()
		defer b.journal.mu.Unlock()
		if b.journal.inbounds.tells == nil {
			b.journal.inbounds.tells = map[message.ID]message.BatchTell{}
		}
		b.journal.inbounds.tells[id] = message.BatchTell{BatchID: id, AccountID: b.account.ID, Asked: 1, CreatedAt: at}
	}
	b.server.mu.Lock()
	b.server.down = errors.New("away")
	b.server.mu.Unlock()
	tell(swept, time.Now().Add(-time.Hour))
	b.Start(t.Context())
	defer b.Stop()
	b.server.mu.Lock()
	b.server.down = nil
	b.server.mu.Unlock()
	tell(swept, time.Now().Add(-time.Hour))
	tell(now, time.Now().Add(time.Hour)) // no sweep finds it
	b.BatchChanged(now)
	b.server.mu.Lock()
	for b.server.begun[now] == 0 || b.server.begun[swept] == 0 || b.server.begun[stalled] == 0 {
		b.server.moved.Wait()
	}
	b.server.mu.Unlock()
	b.Stop()
	b.journal.mu.Lock()
	defer b.journal.mu.Unlock()
	if n := len(b.journal.inbounds.tells); n > 1 {
		t.Errorf("%d are still to be told", n)
	}
}
