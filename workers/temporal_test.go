package workers_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.temporal.io/sdk/client"

	"github.com/postrider/postrider/activities"
	"github.com/postrider/postrider/activities/admit"
	"github.com/postrider/postrider/activities/deliver"
	"github.com/postrider/postrider/activities/journaltest"
	"github.com/postrider/postrider/activities/notify"
	"github.com/postrider/postrider/activities/record"
	"github.com/postrider/postrider/activities/route"
	"github.com/postrider/postrider/activities/submit"
	"github.com/postrider/postrider/edges/ingress"
	"github.com/postrider/postrider/edges/vendors"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
	"github.com/postrider/postrider/internal/stack/stacktest"
	"github.com/postrider/postrider/internal/webhook"
	"github.com/postrider/postrider/workers"
	"github.com/postrider/postrider/workflows"

	sdkworker "go.temporal.io/sdk/worker"
)

func TestMain(m *testing.M) { stacktest.Main(m) }

// link is a vendor that takes everything at once, as a link of this process.
type link struct {
	vendors.Link

	mu      sync.Mutex
	moved   *sync.Cond // of mu
	room    int
	wait    map[message.Class]time.Duration
	started int
	stopped int
	share   vendors.Share
	hold    chan struct{} // nil, or Stop waits until it is closed
	sent    map[message.ID]int
	gate    chan struct{} // closed while there is room
}

func newLink() *link {
	l := &link{sent: map[message.ID]int{}, gate: make(chan struct{})}
	l.moved = sync.NewCond(&l.mu)
	close(l.gate)
	return l
}

func (l *link) Start(context.Context) { l.do(func() { l.started++ }) }
func (l *link) Stop(context.Context) {
	l.do(func() { l.stopped++ })
	if l.hold != nil {
		<-l.hold
	}
}

func (l *link) do(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
	l.moved.Broadcast()
}

// until waits for the link to look as it should.
func (l *link) until(what func() bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for !what() {
		l.moved.Wait()
	}
}
func (l *link) Wait(c message.Class) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.wait[c]
}
func (l *link) Room() int { l.mu.Lock(); defer l.mu.Unlock(); return l.room }
func (l *link) SetShare(s vendors.Share) {
	l.do(func() { l.share = s })
}

func (l *link) Whole() bool { return false }

func (l *link) Repeats() bool { return false }

func (l *link) Status() vendors.LinkStatus {
	return vendors.LinkStatus{Bind: "connected"}
}

func (l *link) WaitReady(ctx context.Context) error {
	select {
	case <-l.gate:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l *link) Submit(_ context.Context, s message.Submission) (message.SubmitResult, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent[s.MessageID]++
	id := fmt.Sprintf("%s-%d", s.MessageID, s.Part)
	return message.SubmitResult{VendorMessageID: id, NormalizedID: id}, nil
}

// customer takes every webhook.
type customer struct {
	mu    sync.Mutex
	calls []string
}

func (c *customer) Send(_ context.Context, r webhook.Request) webhook.Result {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls = append(c.calls, string(r.Body))
	return webhook.Result{HTTPStatus: 200}
}

// bundle is a gateway's inside on a real Temporal server: the real steps and
// workers, the record in memory, a vendor and a customer that do as they are
// told.
type bundle struct {
	t        *testing.T
	client   client.Client
	journal  *journaltest.Journal
	config   *snapshot.Snapshot
	account  *snapshot.Account
	vendor   *snapshot.Vendor
	link     *link
	customer *customer
	fleet    *workers.Fleet
	starter  workers.Starter
	deliver  *deliver.Activities // nil: nothing goes by e-mail
	atOnce   bool                // receipts come while they are waited for inside the first task
}

// receiving is the journal of an ingress that only takes receipts in.
type receiving struct {
	ingress.Journal
	journal *journaltest.Journal
}

func (r receiving) Receipt(ctx context.Context, in message.Receipt) (message.Matched, error) {
	return r.journal.Receipt(ctx, in)
}

// confirmAtOnce joins the steps to an ingress as the daemon does, and lets the
// receipt come in when the step that waits for it has begun. The ingress runs no
// settlers: a workflow that the receipt does not meet here is not told.
func (b *bundle) confirmAtOnce(steps workers.Steps) {
	door := &ingress.Ingress{Journal: receiving{journal: b.journal}, Now: time.Now}
	b.t.Cleanup(door.Stop)
	steps.Submit.Expect = door.Expect
	steps.Record.Await = func(ctx context.Context, id message.ID) bool {
		if err := door.Receipt(ctx, b.says(id)); err != nil {
			b.t.Error(err)
		}
		return door.AwaitDecision(ctx, id)
	}
}

// setup starts the workers of a process on queues that all tests of the binary
// share, one test after the other. With here the vendor's link has room for
// local submits; change is made before anything runs.
func setup(t *testing.T, here bool, change ...func(*bundle)) *bundle {
	t.Helper()
	b := &bundle{t: t, journal: &journaltest.Journal{}, customer: &customer{}}
	b.account = &snapshot.Account{ID: message.NewID(), Status: snapshot.AccountActive, WebhookSecret: "s"}
	b.vendor = &snapshot.Vendor{ID: message.NewID(), Name: "acme", ProviderType: "smpp", Active: true, Version: 1, Window: 100, Throughput: 1000}
	for _, f := range change {
		f(b)
	}
	b.config = &snapshot.Snapshot{
		Version:  1,
		Accounts: map[message.ID]*snapshot.Account{b.account.ID: b.account},
		Numbers:  map[message.Address]*snapshot.Number{"72345": {Number: "72345", AccountID: b.account.ID, SMSEnabled: true}},
		Vendors:  map[message.ID]*snapshot.Vendor{b.vendor.ID: b.vendor},
		Routes:   []snapshot.Route{{ID: 1, VendorID: b.vendor.ID}},
	}
	b.config.Index()
	b.link = newLink()
	if here {
		b.link.room = 100
	}
	server := stacktest.Temporal(t)
	codec := workers.Codec{Sealer: box(t)}
	var err error
	if b.client, err = client.Dial(client.Options{HostPort: server.Address(), Namespace: server.Namespace(), DataConverter: codec.DataConverter(), Logger: quiet{}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.client.Close)
	b.starter = workers.Starter{Client: b.client}
	log := slog.New(slog.DiscardHandler)
	b.fleet = &workers.Fleet{Client: b.client, Namespace: server.Namespace(), Log: log,
		Kinds: map[string]vendors.Kind{"smpp": {New: func(*snapshot.Vendor) (vendors.Link, error) { return b.link, nil }}}}
	current := func() *snapshot.Snapshot { return b.config }
	gate := activities.Gate{Snapshot: current, Reviews: b.journal, Now: time.Now}
	steps := workers.Steps{
		Admit:   &admit.Activities{Journal: b.journal, Gate: gate},
		Route:   &route.Activities{Journal: b.journal, Snapshot: current, Links: b.fleet, Now: time.Now},
		Submit:  &submit.Activities{Journal: b.journal, Gate: gate, Connector: b.fleet.Connector, Instance: "test"},
		Record:  &record.Activities{Journal: b.journal, Snapshot: current, Now: time.Now},
		Notify:  &notify.Activities{Journal: b.journal, Snapshot: current, Sender: b.customer, Now: time.Now},
		Deliver: b.deliver,
	}
	if b.atOnce {
		b.confirmAtOnce(steps)
	}
	b.fleet.Submit = steps.Submit
	b.fleet.Start(t.Context())
	b.fleet.Apply(b.config)
	messages := &workers.Keeper{Name: "messages", Log: log, New: func() sdkworker.Worker { return workers.Messages(b.client, steps) }}
	notices := &workers.Keeper{Name: "notify", Log: log, New: func() sdkworker.Worker { return workers.Notify(b.client, steps) }}
	mails := &workers.Keeper{Name: "mail", Log: log, New: func() sdkworker.Worker { return workers.Mail(b.client, steps) }}
	messages.Start(t.Context())
	notices.Start(t.Context())
	mails.Start(t.Context())
	t.Cleanup(func() {
		b.fleet.StopWorkers()
		messages.Stop()
		notices.Stop()
		mails.Stop()
		b.fleet.Unbind(context.Background())
	})
	return b
}

// accept stores a message as the edge does and starts its workflow.
func (b *bundle) accept() message.ID {
	b.t.Helper()
	m := message.Message{ID: message.NewID(), AccountID: b.account.ID, Kind: message.SMS, Status: message.StatusAccepted, From: "72345", To: "+13105550117", Body: "hello",
		Encoding: message.EncodingGSM7, Segments: 1, Delivery: message.AtMostOnce, ExpiresAt: time.Now().Add(time.Hour), WebhookURL: "https://shop.example/hook"}
	b.journal.Put(m)
	if already := b.start(m); already {
		b.t.Error("started before")
	}
	return m.ID
}

func (b *bundle) start(m message.Message) bool {
	b.t.Helper()
	already, err := b.starter.Start(b.t.Context(), m.ID, workflows.OutboundInput{MessageID: m.ID, AccountID: m.AccountID, Class: message.ClassConversation, Vendor: "acme", ExpiresAt: m.ExpiresAt},
		ingress.About{AccountID: m.AccountID, Vendor: "acme", Priority: 3, Summary: "sms", Details: "- details"})
	if err != nil {
		b.t.Fatal(err)
	}
	return already
}

// awaiting waits until the workflow waits for its receipt.
func (b *bundle) awaiting(id message.ID) {
	b.t.Helper()
	it := b.client.GetWorkflowHistory(b.t.Context(), workflows.OutboundID(id), "", true, 0)
	for it.HasNext() {
		e, err := it.Next()
		if err != nil {
			b.t.Fatal(err)
		}
		if e.GetTimerStartedEventAttributes() != nil {
			return
		}
	}
	b.t.Fatal("the workflow ended before it waited")
}

// says is the vendor's receipt of a message that was delivered.
func (b *bundle) says(id message.ID) message.Receipt {
	return message.Receipt{ID: message.NewID(), VendorID: b.vendor.ID, VendorMessageID: id.String() + "-1", State: message.ReceiptDelivered, DoneAt: time.Now()}
}

// receipt stores what the vendor says of a message.
func (b *bundle) receipt(id message.ID) {
	b.t.Helper()
	m, err := b.journal.Receipt(b.t.Context(), b.says(id))
	if err != nil || !m.Applied {
		b.t.Fatalf("receipt: %+v, %v", m, err)
	}
}

func (b *bundle) result(id message.ID) workflows.OutboundResult {
	b.t.Helper()
	var r workflows.OutboundResult
	if err := b.client.GetWorkflow(b.t.Context(), workflows.OutboundID(id), "").Get(b.t.Context(), &r); err != nil {
		b.t.Fatal(err)
	}
	return r
}

// inOneTask waits until the workflow has ended, and fails when it waits for
// anything from outside.
func (b *bundle) inOneTask(id message.ID) {
	b.t.Helper()
	tasks := 0
	it := b.client.GetWorkflowHistory(b.t.Context(), workflows.OutboundID(id), "", true, 0)
	for it.HasNext() {
		e, err := it.Next()
		if err != nil {
			b.t.Fatal(err)
		}
		if e.GetTimerStartedEventAttributes() != nil {
			b.t.Fatal("the workflow waits for its receipt")
		}
		if e.GetWorkflowTaskCompletedEventAttributes() != nil {
			tasks++
		}
	}
	if tasks != 1 {
		b.t.Errorf("%d workflow tasks", tasks)
	}
}

func (b *bundle) delivered(id message.ID) {
	b.t.Helper()
	if r := b.result(id); r.Status != message.StatusDelivered {
		b.t.Errorf("ended as %+v", r)
	}
}

// counters are what the server counts of this namespace.
type counters struct {
	Writes int64            `json:"execution_writes"`
	Eager  int64            `json:"workflow_eager_execution"`
	Denied int64            `json:"workflow_eager_execution_denied"`
	Own    map[string]int64 `json:"namespace_persistence_requests"`
}

func read(t *testing.T) counters {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, stacktest.Temporal(t).Stats()+"/stats", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var c counters
	if err := json.NewDecoder(resp.Body).Decode(&c); err != nil {
		t.Fatal(err)
	}
	return c
}

// A delivered SMS costs at most seven writes to Temporal's execution store
// (reference: one create, two a workflow task, two a regular activity, one an
// update). What is measured here is what the README's throughput stands on.
func TestWritesPerMessage(t *testing.T) {
	const n = 40
	for _, c := range []struct {
		name string
		here bool
		told string // how the workflow hears of its receipt
		most float64
	}{
		{"here, at once", true, "at once", 2},
		{"here, update", true, "update", 3},
		{"here, signal", true, "signal", 5},
		{"vendor's queue, update", false, "update", 7},
		{"vendor's queue, signal", false, "signal", 9}, // the fall-back may cost more
	} {
		t.Run(c.name, func(t *testing.T) {
			b := setup(t, c.here, func(b *bundle) { b.atOnce = c.told == "at once" })
			carry := func(count int) {
				ids := make([]message.ID, count)
				for i := range ids {
					ids[i] = b.accept()
				}
				for _, id := range ids {
					b.tell(id, c.told)
				}
				for _, id := range ids {
					b.delivered(id)
				}
			}
			carry(3) // pollers, caches
			before := read(t)
			carry(n)
			after := read(t)
			writes := float64(after.Writes-before.Writes) / n
			t.Logf("%.2f writes a message; %d of %d starts were eager", writes, after.Eager-before.Eager, n)
			if writes > c.most {
				t.Errorf("%.2f writes a message, at most %.0f are planned: %v", writes, c.most, difference(before.Own, after.Own))
			}
			if after.Eager-before.Eager < n*9/10 {
				t.Errorf("%d of %d starts were eager, %d denied", after.Eager-before.Eager, n, after.Denied-before.Denied)
			}
			b.link.mu.Lock()
			defer b.link.mu.Unlock()
			for id, times := range b.link.sent {
				if times != 1 {
					t.Errorf("%s was submitted %d times", id, times)
				}
			}
			if calls := len(b.customer.calls); calls != 2*(n+3) {
				t.Errorf("%d webhooks of %d", calls, 2*(n+3))
			}
		})
	}
}

// tell lets the receipt of a message come in and tells its workflow, in the way
// given.
func (b *bundle) tell(id message.ID, how string) {
	b.t.Helper()
	if how == "at once" {
		b.inOneTask(id)
		return
	}
	b.awaiting(id)
	b.receipt(id)
	tell := b.starter.Decided
	if how == "signal" {
		tell = func(ctx context.Context, id message.ID) error {
			return b.client.SignalWorkflow(ctx, workflows.OutboundID(id), "", workflows.SignalDecided, nil)
		}
	}
	if err := tell(b.t.Context(), id); err != nil {
		b.t.Fatal(err)
	}
}

func difference(before, after map[string]int64) (out []string) {
	for k, v := range after {
		if d := v - before[k]; d > 0 {
			out = append(out, fmt.Sprintf("%s %d", k, d))
		}
	}
	slices.Sort(out)
	return out
}

func TestStartedBeforeCountsAsDone(t *testing.T) {
	b := setup(t, true)
	id := b.accept()
	m, err := b.journal.Message(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if !b.start(*m) {
		t.Error("started twice while it runs")
	}
	b.awaiting(id)
	b.receipt(id)
	if err := b.starter.Decided(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	b.delivered(id)
	if !b.start(*m) {
		t.Error("started twice after its end")
	}
}

// What the UI shows is readable for those who hold the key, and for nobody else;
// search attributes are in clear and say nothing of the message.
func TestWhatTheServerKnows(t *testing.T) {
	b := setup(t, true)
	id := b.accept()
	b.awaiting(id)
	for it := b.client.GetWorkflowHistory(t.Context(), workflows.OutboundID(id), "", false, 0); it.HasNext(); {
		e, err := it.Next()
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range []string{"hello", "13105550117", "72345", "shop.example"} {
			if s := e.String(); strings.Contains(s, secret) {
				t.Errorf("event %d shows %q", e.GetEventId(), secret)
			}
		}
	}
	d, err := b.client.DescribeWorkflow(t.Context(), workflows.OutboundID(id), "")
	if err != nil {
		t.Fatal(err)
	}
	if v, ok := d.TypedSearchAttributes.GetKeyword(workflows.AttrVendor); !ok || v != "acme" {
		t.Errorf("Vendor is %q", v)
	}
	b.receipt(id)
	if err := b.starter.Decided(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	b.delivered(id)
}

func TestDecided(t *testing.T) {
	b := setup(t, true)
	if err := b.starter.Decided(t.Context(), message.NewID()); message.ReasonOf(err) != message.ReasonNotFound {
		t.Errorf("a workflow that never was: %v", err)
	}
	id := b.accept()
	b.awaiting(id)
	b.receipt(id)
	if err := b.starter.Decided(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	b.delivered(id)
	if err := b.starter.Decided(t.Context(), id); message.ReasonOf(err) != message.ReasonNotFound {
		t.Errorf("a workflow that has ended: %v", err)
	}
}

// An update that the workflow refuses comes back without an error of the call:
// the signal has to take its place.
func TestDecidedWithoutAHandler(t *testing.T) {
	b := setup(t, true)
	w := sdkworker.New(b.client, "deaf", sdkworker.Options{})
	w.RegisterWorkflow(deaf)
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	id := message.NewID()
	run, err := b.client.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: workflows.OutboundID(id), TaskQueue: "deaf"}, deaf)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.starter.Decided(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if err := run.Get(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
}

func TestCancel(t *testing.T) {
	// Nobody polls its queue: messages wait there.
	b := setup(t, false, func(b *bundle) { b.vendor.Name, b.vendor.ProviderType = "nobody", "none" })
	if err := b.starter.Cancel(t.Context(), message.NewID()); message.ReasonOf(err) != message.ReasonNotFound {
		t.Errorf("a workflow that never was: %v", err)
	}
	id := b.accept()
	if err := b.starter.Cancel(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if r := b.result(id); r.Status != message.StatusCanceled || r.Reason != message.ReasonCanceled || b.journal.Status(id) != message.StatusCanceled {
		t.Errorf("ended as %+v, record %s", r, b.journal.Status(id))
	}
	if err := b.starter.Cancel(t.Context(), id); message.ReasonOf(err) != message.ReasonNotFound {
		t.Errorf("a workflow that has ended: %v", err)
	}
}

func TestCancelTooLate(t *testing.T) {
	b := setup(t, true)
	id := b.accept()
	b.awaiting(id)
	if err := b.starter.Cancel(t.Context(), id); message.ReasonOf(err) != message.ReasonConflict {
		t.Errorf("%v", err)
	}
	b.receipt(id)
	if err := b.starter.Decided(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	b.delivered(id)
}

// A delivery that no workflow works on is an activity of its own; starting it
// twice is one.
func TestPostWebhook(t *testing.T) {
	b := setup(t, true)
	n := message.Notification{ID: message.NewID(), EventID: message.NewID(), AccountID: b.account.ID, MessageID: message.NewID(), URL: "https://shop.example/hook", Payload: `{"late":true}`}
	b.journal.PutNotification(n)
	b.starter.DeliveryAccount = func(_ context.Context, id message.ID) (message.ID, error) {
		if id != n.ID {
			t.Errorf("asked for %s", id)
		}
		return n.AccountID, nil
	}
	for range 3 {
		if err := b.starter.PostWebhook(t.Context(), "late", n.ID); err != nil {
			t.Fatal(err)
		}
	}
	about, err := b.client.GetActivityHandle(client.GetActivityHandleOptions{ActivityID: "webhook-" + n.ID.String()}).Describe(t.Context(), client.DescribeActivityOptions{})
	if err != nil || about.Priority.FairnessKey != n.AccountID.String() {
		t.Errorf("accounts do not share the queue: %+v, %v", about, err)
	}
	if err := b.client.GetActivityHandle(client.GetActivityHandleOptions{ActivityID: "webhook-" + n.ID.String()}).Get(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if tries := b.journal.Tries(n.ID); len(tries) != 1 || tries[0].State != message.NotificationDelivered {
		t.Errorf("%+v", tries)
	}
}
