package e2e

import (
	"context"
	"fmt"
	"net"
	"regexp"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postrider/postrider/edges/vendors/vendortest"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/smpp"
	"github.com/postrider/postrider/internal/snapshot"
	"github.com/postrider/postrider/internal/stack/stacktest"
)

// smsc is a vendor in the test's own process: what it was given is known to the last
// submit, also after it was killed.
type smsc struct {
	*vendortest.SMSC
	s    *system
	name string
	id   message.ID

	owed  chan *smpp.DeliverSM // receipts
	dead  context.Context      // ends with Close
	die   context.CancelFunc
	posts sync.WaitGroup

	mu    sync.Mutex
	taken map[string]int // destinations of submits that it took, whether or not it could say so
}

// Close kills it.
func (v *smsc) Close() {
	v.die()
	v.SMSC.Close()
	v.posts.Wait()
}

// post sends what receipts are owed, each until it is answered.
func (v *smsc) post() {
	for {
		select {
		case <-v.dead.Done():
			return
		case p := <-v.owed:
			for v.Deliver(v.dead, p) != nil {
				select {
				case <-v.dead.Done():
					return
				case <-time.After(100 * time.Millisecond):
				}
			}
		}
	}
}

// mood decides about a submit: whether it is taken, and what else happens.
type mood func(n int) (taken bool, a vendortest.Answer)

// obliging takes everything and sends receipts.
func obliging(int) (bool, vendortest.Answer) { return true, vendortest.Answer{} }

// newSMSC starts an SMSC that is nobody's vendor yet.
func (s *system) newSMSC(name string, m mood, receipts bool) *smsc {
	s.tb.Helper()
	v := &smsc{s: s, name: name, id: message.NewID(), taken: map[string]int{}, owed: make(chan *smpp.DeliverSM, 100_000)}
	v.dead, v.die = context.WithCancel(context.Background())
	var err error
	v.SMSC, err = vendortest.Listen("", vendortest.Config{OnSubmit: func(sub vendortest.Submit) vendortest.Answer {
		taken, a := m(sub.Number)
		if taken {
			v.mu.Lock()
			v.taken["+"+sub.PDU.Dest.Text]++
			v.mu.Unlock()
		}
		if taken && receipts {
			v.owed <- vendortest.Receipt(sub, message.ReceiptDelivered, "000")
		}
		return a
	}, NewID: func(n int) string { return fmt.Sprintf("%s-%08d", name, n) }})
	if err != nil {
		s.tb.Fatal(err)
	}
	s.tb.Cleanup(v.Close)
	for range 8 {
		v.posts.Go(v.post)
	}
	return v
}

// newVendor starts an SMSC and makes a vendor of it, with a route for everything. Where
// the vendor is found may be somewhere else than where the SMSC listens.
func (s *system) newVendor(name string, m mood, receipts bool, change func(v *smsc, row *snapshot.Vendor)) *smsc {
	s.tb.Helper()
	v := s.newSMSC(name, m, receipts)
	row := snapshot.Vendor{ID: v.id, Name: name, Username: "postrider", Password: "test", Active: true, Window: 50, SupportsUnicode: true,
		ResponseTimeout: 3 * time.Second, EnquireLink: time.Second, ReceiptGrace: time.Second, ReceiptPercent: 50, ReceiptExpected: 5 * time.Second}
	row.Host, row.Port = hostPort(s.tb, v.Addr())
	if change != nil {
		change(v, &row)
	}
	ctx := stacktest.Context(s.tb)
	if err := s.db.CreateVendor(ctx, actor, row); err != nil {
		s.tb.Fatal(err)
	}
	if _, err := s.db.CreateRoute(ctx, actor, snapshot.Route{Priority: 10, DestPattern: regexp.MustCompile("^1"), VendorID: v.id, RatePerMsg: 4500}); err != nil {
		s.tb.Fatal(err)
	}
	return v
}

func hostPort(tb testing.TB, a net.Addr) (string, int) {
	tb.Helper()
	host, port, err := net.SplitHostPort(a.String())
	if err != nil {
		tb.Fatal(err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		tb.Fatal(err)
	}
	return host, n
}

// has is how often the vendor took a message to a destination.
func (v *smsc) has(to string) int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.taken[to]
}

// total is how many messages it took.
func (v *smsc) total() (n int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, c := range v.taken {
		n += c
	}
	return n
}

// bound waits until the vendor has a bind.
func (v *smsc) bound() {
	v.s.tb.Helper()
	ctx, cancel := context.WithTimeout(stacktest.Context(v.s.tb), patience)
	defer cancel()
	if err := v.WaitBinds(ctx, 1); err != nil {
		v.s.tb.Fatalf("vendor %s has no bind: %v", v.name, err)
	}
}

// outcome is what the record says of a message in the end.
type outcome struct {
	status message.Status
	reason message.Reason
}

func (s *system) outcome(id string) outcome {
	s.tb.Helper()
	parsed, err := message.ParseID(id)
	if err != nil {
		s.tb.Fatal(err)
	}
	m, err := s.db.Message(s.tb.Context(), parsed)
	if err != nil {
		s.tb.Fatal(err)
	}
	out := outcome{status: m.Status}
	if m.Error != nil {
		out.reason = m.Error.Reason
	}
	return out
}

// ended waits until all messages have ended and gives their outcomes.
func (s *system) ended(ids []string) []outcome {
	s.tb.Helper()
	out := make([]outcome, len(ids))
	s.until("every message has ended", func() bool {
		for i, id := range ids {
			if out[i].status.Final() {
				continue
			}
			if out[i] = s.outcome(id); !out[i].status.Final() {
				return false
			}
		}
		return true
	})
	return out
}

// shots sends n messages to destinations of their own over a few connections. before
// is called before each; nil: nothing is.
func (s *system) shots(n, connections int, fields map[string]any, before func(i int)) []string {
	s.tb.Helper()
	ids := make([]string, n)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range connections {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				if before != nil {
					before(i)
				}
				body := map[string]any{"from": from, "to": destination(i), "body": fmt.Sprintf("message %d", i)}
				for k, v := range fields {
					body[k] = v
				}
				ids[i] = s.post(body).ID
			}
		})
	}
	wg.Wait()
	return ids
}

// TestVendorsOnABadDay sends 2,000 messages over three vendors. One is killed in the
// middle, one throttles, and one lies: it takes everything and never sends a receipt.
// Each message ends with what is known of it, and none is sent twice.
func TestVendorsOnABadDay(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.alter("delete from routing_rules")
	const n = 2000
	dying := s.newVendor("dying", obliging, true, nil)
	var second atomic.Int64 // of the counter below
	var inIt atomic.Int64
	throttling := s.newVendor("throttling", func(int) (bool, vendortest.Answer) {
		now := time.Now().Unix()
		if second.Swap(now) != now {
			inIt.Store(0)
		}
		if inIt.Add(1) > 100 {
			return false, vendortest.Answer{Status: smpp.StatusThrottled}
		}
		return true, vendortest.Answer{}
	}, true, nil)
	lying := s.newVendor("lying", obliging, false, nil)
	for _, v := range []*smsc{dying, throttling, lying} {
		v.bound()
	}
	var kill sync.Once
	ids := s.shots(n, 8, map[string]any{"validity_seconds": 60}, func(i int) {
		if i > n/4 && dying.total() > 100 {
			kill.Do(dying.Close)
		}
	})
	// A burst is accepted before much of it leaves.
	s.until("the dying vendor is in the middle of it", func() bool { return dying.total() > 100 })
	kill.Do(dying.Close)
	counts := map[outcome]int{}
	for i, o := range s.ended(ids) {
		counts[o]++
		to := destination(i)
		d, th, l := dying.has(to), throttling.has(to), lying.has(to)
		if d+th+l > 1 {
			t.Errorf("message %d was taken %d times: dying %d, throttling %d, lying %d", i, d+th+l, d, th, l)
		}
		switch {
		case o.status == message.StatusDelivered && d+th == 1:
		case o == outcome{message.StatusUnconfirmed, message.ReasonNoReceipt} && d+l == 1:
		case o == outcome{message.StatusUnconfirmed, message.ReasonSubmitInDoubt} && th+l == 0: // who was killed may have had it
		case o.status == message.StatusExpired && d+th+l == 0:
		default:
			t.Errorf("message %d is %s (%s): dying has %d, throttling %d, lying %d", i, o.status, o.reason, d, th, l)
		}
	}
	t.Logf("outcomes: %v; taken: dying %d, throttling %d, lying %d", counts, dying.total(), throttling.total(), lying.total())
	// Who asked two vendors says so.
	moved := s.number("select count(*) from (select message_id from segments group by message_id having count(distinct vendor_id) > 1) m")
	told := s.number(`select count(*) from (select message_id from segments group by message_id having count(distinct vendor_id) > 1) m
		where (select count(*) from message_events e where e.message_id = m.message_id and e.type in ('submit_refused', 'queued')) > 1`)
	if moved == 0 || told != moved {
		t.Errorf("%d messages went to another vendor, %d of their timelines show it", moved, told)
	}
}
