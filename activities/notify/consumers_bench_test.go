package notify_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.temporal.io/sdk/temporal"

	"github.com/postrider/postrider/activities/journaltest"
	"github.com/postrider/postrider/activities/notify"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
	"github.com/postrider/postrider/internal/webhook"
)

// Sizes of the workers, as package workers has them, and of the load: so many consumers
// that answer in 20 ms get so many events a second each, and each of the two others as many
// as all of those together. One in twenty of the first tries is refused by those that are
// well, so that their second tries go where all later tries go.
const (
	taskSlots    = 512
	notifySlots  = 256
	consumers    = 98
	eventsEach   = 2
	eventsBad    = consumers * eventsEach
	refusedOne   = 20
	benchSeconds = 30
	answersIn    = 20 * time.Millisecond
)

// BenchmarkConsumers measures how long events take to consumers that are well, first
// while two others are well as they are, then while one of these answers never and one in
// 14 s: the ratio is what the two do to the rest. Everything is real (the activities, the sender, HTTP
// over loopback) but Temporal, whose slots and queue are made of goroutines, and the
// journal, which is in memory. `make bench-webhooks` runs it.
func BenchmarkConsumers(b *testing.B) {
	for b.Loop() {
		before := runConsumers(b, false)
		after := runConsumers(b, true)
		for _, p := range []float64{0.5, 0.99, 1} {
			x, y := before.at(p), after.at(p)
			name := fmt.Sprintf("p%g", 100*p)
			b.ReportMetric(float64(x.Microseconds())/1000, name+"-all-well-ms")
			b.ReportMetric(float64(y.Microseconds())/1000, name+"-two-bad-ms")
			b.ReportMetric(float64(y)/float64(x), name+"-ratio")
		}
		b.ReportMetric(before.second(0.99), "p99-second-all-well-ms")
		b.ReportMetric(after.second(0.99), "p99-second-two-bad-ms")
		b.ReportMetric(after.second(0.99)/before.second(0.99), "p99-second-ratio")
		b.ReportMetric(float64(len(after.took)), "events")
		b.ReportMetric(float64(after.missing), "missing")
		b.ReportMetric(float64(after.tasks), "tasks-held-most")
		b.ReportMetric(float64(after.slots), "notify-held-most")
	}
}

type consumed struct {
	took, again  []time.Duration // by the first try, and by a later one
	missing      int
	tasks, slots int64 // held at once at most
}

func (c consumed) at(p float64) time.Duration {
	return c.took[min(int(p*float64(len(c.took))), len(c.took)-1)]
}

// second is how long what needed a second try took, in ms.
func (c consumed) second(p float64) float64 {
	return float64(c.again[min(int(p*float64(len(c.again))), len(c.again)-1)].Milliseconds())
}

// most remembers the greatest of what runs.
type most struct{ now, top atomic.Int64 }

func (m *most) enter() {
	n := m.now.Add(1)
	for t := m.top.Load(); n > t && !m.top.CompareAndSwap(t, n); t = m.top.Load() {
	}
}
func (m *most) leave() { m.now.Add(-1) }

type consumersRun struct {
	mu      sync.Mutex
	made    map[string]time.Time // by webhook-id, of those that are well
	refused map[string]bool      // what was refused once
	took    []time.Duration
	later   []time.Duration // of what was refused once
	journal *journaltest.Journal
	steps   *notify.Activities
	fresh   chan message.ID // what waits for a workflow's task
	again   chan message.ID // what waits for a slot of the notify worker
	tasks   most
	slots   most
	wg      sync.WaitGroup
}

func runConsumers(b *testing.B, bad bool) consumed {
	b.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	const all = benchSeconds * (consumers*eventsEach + 2*eventsBad)
	r := &consumersRun{made: map[string]time.Time{}, refused: map[string]bool{}, journal: &journaltest.Journal{}, fresh: make(chan message.ID, all), again: make(chan message.ID, 4*all)}
	sender := webhook.NewSender(webhook.Config{Policy: webhook.Policy{AllowHTTP: true, AllowLoopback: true}})
	defer sender.Close()
	account := message.NewID()
	config := &snapshot.Snapshot{Accounts: map[message.ID]*snapshot.Account{account: {ID: account, WebhookSecret: "s"}}}
	r.steps = &notify.Activities{Journal: r.journal, Sender: sender, Snapshot: func() *snapshot.Snapshot { return config }, Now: time.Now}
	wait := func(d time.Duration) http.HandlerFunc {
		return func(_ http.ResponseWriter, req *http.Request) {
			select {
			case <-time.After(d):
			case <-req.Context().Done():
			case <-ctx.Done():
			}
		}
	}
	well := func(w http.ResponseWriter, req *http.Request) {
		wait(answersIn)(w, req)
		if !r.arrived(req.Header.Get("webhook-id")) {
			w.WriteHeader(http.StatusInternalServerError)
		}
	}
	var urls []string
	for i := range consumers + 2 {
		h := http.HandlerFunc(well)
		if i >= consumers {
			h = wait(answersIn)
			if bad {
				h = wait([]time.Duration{time.Hour, 14 * time.Second}[i-consumers])
			}
		}
		s := httptest.NewServer(h)
		defer s.Close()
		urls = append(urls, s.URL)
	}
	for range taskSlots {
		r.wg.Go(func() { r.work(ctx, r.fresh, &r.tasks, r.first) })
	}
	for range notifySlots {
		r.wg.Go(func() { r.work(ctx, r.again, &r.slots, r.post) })
	}
	r.load(account, urls)
	for range 200 { // what is on its way to those that are well
		if r.left() == 0 {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	cancel()
	r.wg.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	slices.Sort(r.took)
	slices.Sort(r.later)
	return consumed{took: r.took, again: r.later, missing: len(r.made), tasks: r.tasks.top.Load(), slots: r.slots.top.Load()}
}

func (r *consumersRun) left() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.made)
}

// arrived notes an event that has come to one that is well, and whether it is taken.
func (r *consumersRun) arrived(id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	at, ok := r.made[id]
	switch {
	case !ok:
		return true
	case r.refused[id]:
		r.later = append(r.later, time.Since(at))
	case rand.IntN(refusedOne) == 0:
		r.refused[id] = true
		return false
	default:
		r.took = append(r.took, time.Since(at))
	}
	delete(r.made, id)
	return true
}

// load makes the events on a schedule, spread over each second.
func (r *consumersRun) load(account message.ID, urls []string) {
	began := time.Now()
	each := consumers*eventsEach + 2*eventsBad
	for n := range benchSeconds * each {
		at := began.Add(time.Duration(n) * time.Second / time.Duration(each))
		time.Sleep(time.Until(at))
		to := n % each
		url := urls[to%consumers]
		isBad := to >= consumers*eventsEach
		if isBad {
			url = urls[consumers+to%2]
		}
		note := message.Notification{ID: message.NewID(), EventID: message.NewID(), AccountID: account, MessageID: message.NewID(), Type: "message.sent", URL: url, Payload: `{}`}
		if !isBad {
			r.mu.Lock()
			r.made[note.EventID.String()] = at
			r.mu.Unlock()
		}
		r.journal.PutNotification(note)
		r.fresh <- note.ID
	}
}

func (r *consumersRun) work(ctx context.Context, queue chan message.ID, held *most, do func(context.Context, message.ID)) {
	for {
		select {
		case <-ctx.Done():
			return
		case id := <-queue:
			held.enter()
			do(ctx, id)
			held.leave()
		}
	}
}

func (r *consumersRun) first(ctx context.Context, id message.ID) {
	if done, err := r.steps.TryWebhook(ctx, notify.Input{DeliveryID: id}); err != nil || !done {
		r.again <- id
	}
}

func (r *consumersRun) post(ctx context.Context, id message.ID) {
	err := r.steps.PostWebhook(ctx, notify.Input{DeliveryID: id})
	var app *temporal.ApplicationError
	if errors.As(err, &app) && app.NextRetryDelay() > 0 {
		time.AfterFunc(app.NextRetryDelay(), func() {
			if ctx.Err() == nil {
				r.again <- id
			}
		})
	}
}
