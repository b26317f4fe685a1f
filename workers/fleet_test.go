package workers_test

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"sync"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"github.com/postrider/postrider/activities/submit"
	"github.com/postrider/postrider/edges/vendors"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
	"github.com/postrider/postrider/internal/stack/stacktest"
	"github.com/postrider/postrider/workers"
	"github.com/postrider/postrider/workflows"
)

// harbour makes the links of a fleet and remembers them in order.
type harbour struct {
	mu    sync.Mutex
	links []*link
	made  *sync.Cond
	fail  error
}

func (h *harbour) make(*snapshot.Vendor) (vendors.Link, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	defer h.made.Broadcast()
	if err := h.fail; err != nil {
		h.fail = nil
		return nil, err
	}
	l := newLink()
	l.room = 7
	h.links = append(h.links, l)
	return l, nil
}

// nth waits for the nth link, from 0.
func (h *harbour) nth(n int) *link {
	h.mu.Lock()
	defer h.mu.Unlock()
	for len(h.links) <= n {
		h.made.Wait()
	}
	return h.links[n]
}

func fleet(t *testing.T) (*workers.Fleet, *harbour) {
	t.Helper()
	server := stacktest.Temporal(t)
	c, err := client.Dial(client.Options{HostPort: server.Address(), Namespace: server.Namespace(), Logger: quiet{}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	h := &harbour{}
	h.made = sync.NewCond(&h.mu)
	f := &workers.Fleet{Client: c, Namespace: server.Namespace(), Submit: &submit.Activities{}, Log: slog.New(slog.DiscardHandler),
		Kinds: map[string]vendors.Kind{"smpp": {New: h.make}}}
	f.Start(t.Context())
	t.Cleanup(func() {
		f.StopWorkers()
		f.Unbind(context.Background())
	})
	return f, h
}

func config(list ...snapshot.Vendor) *snapshot.Snapshot {
	s := &snapshot.Snapshot{Vendors: map[message.ID]*snapshot.Vendor{}}
	for _, v := range list {
		s.Vendors[v.ID] = &v
	}
	return s
}

// The fleet follows the configuration: what is added is bound, what changes is
// bound anew, what goes is unbound, and what is not ours is left alone.
func TestFleetFollowsTheConfiguration(t *testing.T) {
	f, h := fleet(t)
	v := snapshot.Vendor{ID: message.NewID(), Name: "fleet-a", ProviderType: "smpp", Active: true, Version: 1}
	foreign := snapshot.Vendor{ID: message.NewID(), Name: "fleet-b", ProviderType: "twilio", Active: true, Version: 1}
	idle := snapshot.Vendor{ID: message.NewID(), Name: "fleet-c", ProviderType: "smpp", Version: 1}

	f.Apply(config(v, foreign, idle))
	first := h.nth(0)
	first.until(func() bool { return first.started == 1 })

	v.Version = 2
	f.Apply(config(v, foreign, idle))
	second := h.nth(1)
	second.until(func() bool { return second.started == 1 })
	first.until(func() bool { return first.stopped == 1 })

	v.Active, idle.Active = false, true
	f.Apply(config(v, foreign, idle))
	third := h.nth(2)
	third.until(func() bool { return third.started == 1 })
	second.until(func() bool { return second.stopped == 1 })

	// Another link that comes after it proves that an unchanged configuration
	// has changed nothing.
	f.Apply(config(idle, foreign))
	last := snapshot.Vendor{ID: message.NewID(), Name: "fleet-d", ProviderType: "smpp", Active: true}
	f.Apply(config(idle, foreign, last))
	fourth := h.nth(3)
	fourth.until(func() bool { return fourth.started == 1 })
	if third.stopped != 0 || third.started != 1 {
		t.Errorf("an unchanged vendor's link was started %d times and stopped %d", third.started, third.stopped)
	}
	if f.Connector(v.ID) != nil || f.Connector(foreign.ID) != nil || f.Room(v.ID, "") != 0 {
		t.Error("there are links that should not be")
	}

	f.StopWorkers()
	if f.Connector(idle.ID) == nil || f.Room(idle.ID, "") != 7 {
		t.Error("the link went before the work under way had ended")
	}
	if status := f.Status(); len(status) != 2 {
		t.Errorf("%d links", len(status))
	}
	f.Unbind(t.Context())
	if third.stopped != 1 || fourth.stopped != 1 || f.Connector(idle.ID) != nil {
		t.Error("links are left")
	}
}

// A link that cannot be made keeps nobody else from binding, and is tried again
// with the next configuration.
func TestFleetWithABrokenVendor(t *testing.T) {
	f, h := fleet(t)
	v := snapshot.Vendor{ID: message.NewID(), Name: "fleet-e", ProviderType: "smpp", Active: true}
	h.mu.Lock()
	h.fail = errors.New("no certificate")
	h.mu.Unlock()
	f.Apply(config(v))
	h.mu.Lock()
	for h.fail != nil {
		h.made.Wait()
	}
	h.mu.Unlock()
	f.Apply(config(v))
	l := h.nth(0)
	l.until(func() bool { return l.started == 1 })
}

// What a link can be told while it runs it is told; it is not made anew for it.
func TestFleetTellsItsLinks(t *testing.T) {
	f, h := fleet(t)
	v := snapshot.Vendor{ID: message.NewID(), Name: "fleet-f", ProviderType: "smpp", Active: true, Throughput: 50, MaxBinds: 2}
	f.Apply(config(v))
	l := h.nth(0)
	l.until(func() bool { return l.share == vendors.Share{Binds: 2, Rate: 50} })
	v.Throughput, v.MaxBinds = 10, 3
	f.Apply(config(v))
	l.until(func() bool { return l.share == vendors.Share{Binds: 3, Rate: 10} })
	v.Throughput = 0
	f.Apply(config(v))
	l.until(func() bool { return l.share == vendors.Share{Binds: 3} })
	if l.stopped != 0 || len(h.links) != 1 {
		t.Errorf("%d links, stopped %d times", len(h.links), l.stopped)
	}
}

// A vendor whose link takes its time to unbind keeps nobody else waiting.
func TestFleetWithASlowVendor(t *testing.T) {
	f, h := fleet(t)
	slow := snapshot.Vendor{ID: message.NewID(), Name: "fleet-g", ProviderType: "smpp", Active: true, Version: 1}
	f.Apply(config(slow))
	first := h.nth(0)
	first.until(func() bool { return first.started == 1 })
	first.hold = make(chan struct{})
	slow.Version = 2
	quick := snapshot.Vendor{ID: message.NewID(), Name: "fleet-h", ProviderType: "smpp", Active: true}
	f.Apply(config(slow, quick))
	first.until(func() bool { return first.stopped == 1 })
	second := h.nth(1)
	second.until(func() bool { return second.started == 1 })
	if f.Connector(quick.ID) == nil || f.Connector(slow.ID) != nil {
		t.Error("the link that is there is not the one of the vendor that did not change")
	}
	close(first.hold)
	third := h.nth(2)
	third.until(func() bool { return third.started == 1 })
}

// While a vendor is paused nothing is sent to it and its link stays; what waits is sent
// when it goes on. What waits for one that is drained is not its link's business.
func TestPauseAndDrain(t *testing.T) {
	b := setup(t, false)
	change := func(f func(*snapshot.Vendor)) {
		v, next := *b.vendor, *b.config
		f(&v)
		b.vendor = &v
		next.Vendors = map[message.ID]*snapshot.Vendor{v.ID: &v}
		b.fleet.Apply(&next)
	}
	first := b.accept()
	b.awaiting(first)
	change(func(v *snapshot.Vendor) { v.Paused = true })
	for b.fleet.Connector(b.vendor.ID) != nil {
		runtime.Gosched() // until the ship has heard of it
	}
	if n := b.fleet.Room(b.vendor.ID, ""); n != 0 {
		t.Errorf("room for %d", n)
	}
	second := b.accept()
	for queued := 0; queued == 0; {
		var err error
		if queued, err = workers.QueueSize(t.Context(), b.client, b.fleet.Namespace, b.vendor.Name); err != nil {
			t.Fatal(err)
		}
	}
	b.link.mu.Lock()
	if b.link.sent[second] != 0 || b.link.stopped != 0 {
		t.Errorf("sent %d times, stopped %d times", b.link.sent[second], b.link.stopped)
	}
	b.link.mu.Unlock()
	b.receipt(first) // receipts still come
	change(func(v *snapshot.Vendor) { v.Paused = false })
	b.awaiting(second)
	b.receipt(second)
	for _, id := range []message.ID{first, second} {
		if err := b.starter.Decided(t.Context(), id); err != nil {
			t.Error(err)
		}
		b.delivered(id)
	}
	if b.fleet.Draining(b.vendor.ID) || b.fleet.Draining(message.NewID()) {
		t.Error("a vendor is drained that should not be")
	}
	change(func(v *snapshot.Vendor) { v.Draining = true })
	if !b.fleet.Draining(b.vendor.ID) {
		t.Error("it is not drained")
	}
	change(func(v *snapshot.Vendor) { v.Draining, v.Active = false, false })
	if !b.fleet.Draining(b.vendor.ID) {
		t.Error("what waits for a vendor that is out of use stays there")
	}
}

// What waits for a vendor that is drained goes elsewhere at once, and not at the rate of
// the vendor, which may be what it is drained for.
func TestDrainIsNotHeldBack(t *testing.T) {
	f, h := fleet(t)
	rate := func(name string) float32 {
		t.Helper()
		r, err := f.Client.WorkflowService().DescribeTaskQueue(t.Context(), &workflowservice.DescribeTaskQueueRequest{
			Namespace: f.Namespace, TaskQueue: &taskqueuepb.TaskQueue{Name: workflows.VendorQueue(name)},
			TaskQueueType: enumspb.TASK_QUEUE_TYPE_ACTIVITY, ReportConfig: true})
		if err != nil {
			t.Fatal(err)
		}
		return r.GetConfig().GetQueueRateLimit().GetRateLimit().GetRequestsPerSecond()
	}
	v := snapshot.Vendor{ID: message.NewID(), Name: "slow", Active: true, ProviderType: "smpp", MaxBinds: 1, Throughput: 3}
	f.Apply(config(v))
	h.nth(0)
	for rate(v.Name) != 3 {
		runtime.Gosched() // until the server was told
	}
	v.Draining = true
	f.Apply(config(v))
	for rate(v.Name) != 0 {
		runtime.Gosched()
	}
	v.Draining = false
	f.Apply(config(v))
	for rate(v.Name) != 3 {
		runtime.Gosched()
	}
}

// What waits for a vendor that is paused and then drained goes elsewhere as well: its
// queue is polled.
func TestDrainEndsAPause(t *testing.T) {
	f, h := fleet(t)
	polled := func(name string) bool {
		t.Helper()
		r, err := f.Client.DescribeTaskQueue(t.Context(), workflows.VendorQueue(name), enumspb.TASK_QUEUE_TYPE_ACTIVITY)
		if err != nil {
			t.Fatal(err)
		}
		return len(r.GetPollers()) > 0
	}
	id := message.NewID()
	v := snapshot.Vendor{ID: id, Name: "paused-" + message.Hex32(id), Active: true, ProviderType: "smpp", MaxBinds: 1, Paused: true}
	f.Apply(config(v))
	h.nth(0)
	if polled(v.Name) {
		t.Error("what waits for a paused vendor is taken up")
	}
	v.Draining = true
	f.Apply(config(v))
	for !polled(v.Name) {
		runtime.Gosched()
	}
}

// A message finds room while its turn in the rate is near, by its class: who would wait
// behind others goes to the queue, where accounts share.
func TestRoomIsAMatterOfClass(t *testing.T) {
	f, h := fleet(t)
	v := snapshot.Vendor{ID: message.NewID(), Name: "fleet-i", ProviderType: "smpp", Active: true, Throughput: 10}
	f.Apply(config(v))
	l := h.nth(0)
	l.until(func() bool { return l.started == 1 })
	l.do(func() {
		l.room, l.wait = 7, map[message.Class]time.Duration{message.ClassBulk: time.Second, message.ClassConversation: 90 * time.Millisecond}
	})
	for class, want := range map[message.Class]int{message.ClassOTP: 7, message.ClassConversation: 7, message.ClassBulk: 0} {
		if got := f.Room(v.ID, class); got != want {
			t.Errorf("%s: room %d, want %d", class, got, want)
		}
	}
}
