package e2e

import (
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
	"github.com/postrider/postrider/internal/stack/stacktest"
)

// stream is traffic at a steady pace, from its start to stop.
type stream struct {
	s     *system
	began time.Time
	done  chan struct{} // closed by stop
	works sync.WaitGroup

	mu  sync.Mutex
	ids []string // by message number; empty: under way
}

// mostAhead is how many messages of a stream may have reached no vendor: a machine that
// is too slow for the pace gets less.
const mostAhead = 1000

// stream sends messages to destinations of their own, so many a second, to vendors.
func (s *system) stream(perSecond int, to ...*smsc) *stream {
	ahead := func(sent int) int {
		for _, v := range to {
			sent -= v.total()
		}
		return sent
	}
	st := &stream{s: s, began: time.Now(), done: make(chan struct{})}
	turns := make(chan int, perSecond) // closed by the pacer
	st.works.Go(func() {
		defer close(turns)
		tick := time.NewTicker(time.Second / time.Duration(perSecond))
		defer tick.Stop()
		for i := 0; ; {
			select {
			case <-st.done:
				return
			case now := <-tick.C:
				due := int(now.Sub(st.began).Seconds() * float64(perSecond))
				for ; i < due && ahead(i) < mostAhead; i++ {
					st.mu.Lock()
					st.ids = append(st.ids, "")
					st.mu.Unlock()
					turns <- i
				}
			}
		}
	})
	for range 16 {
		st.works.Go(func() {
			for i := range turns {
				id := s.post(map[string]any{"from": from, "to": destination(i), "body": fmt.Sprintf("message %d", i)}).ID
				st.mu.Lock()
				st.ids[i] = id
				st.mu.Unlock()
			}
		})
	}
	return st
}

// next is the number that no message has yet.
func (st *stream) next() int {
	st.mu.Lock()
	defer st.mu.Unlock()
	return len(st.ids)
}

// goOn lets it flow for a time from a moment on.
func (st *stream) goOn(from time.Time, d time.Duration) {
	st.s.tb.Helper()
	st.s.until("the traffic has gone on", func() bool { return time.Since(from) >= d })
}

// stop ends it and gives the messages.
func (st *stream) stop() []string {
	close(st.done)
	st.works.Wait()
	st.s.tb.Logf("%d messages in %s", len(st.ids), time.Since(st.began).Round(100*time.Millisecond))
	return st.ids
}

// phase says in the test's log when something is over.
func (st *stream) phase(what string) {
	st.s.tb.Logf("%s after %s", what, time.Since(st.began).Round(100*time.Millisecond))
}

// between is how many submits came in a time.
func (v *smsc) between(from, until time.Time) (n int) {
	for _, sub := range v.Submits() {
		if !sub.At.Before(from) && sub.At.Before(until) {
			n++
		}
	}
	return n
}

// want makes a request and expects its status.
func (o *office) want(code int, method, path string, body, into any) {
	o.s.tb.Helper()
	if got := o.do(method, path, body, into); got != code {
		o.s.tb.Fatalf("%s %s answered %d, want %d", method, path, got, code)
	}
}

// patch changes what is at a path, going by the version that it has read; the version
// before must not do for it any more.
func (o *office) patch(path string, body any) {
	o.s.tb.Helper()
	_, etag := o.change(http.MethodGet, path, "", nil)
	a, newer := o.change(http.MethodPatch, path, etag, body)
	if a.status != http.StatusOK || newer == etag {
		o.s.tb.Fatalf("PATCH %s answered %d, with the ETag %s after %s: %s", path, a.status, newer, etag, a.body)
	}
	if a, _ = o.change(http.MethodPatch, path, etag, body); a.status != http.StatusPreconditionFailed {
		o.s.tb.Fatalf("PATCH %s of a version that is over answered %d", path, a.status)
	}
}

// add makes a vendor of an SMSC and a route to it, and gives the route's path.
func (o *office) add(v *smsc, route map[string]any) string {
	o.s.tb.Helper()
	host, port := hostPort(o.s.tb, v.Addr())
	o.want(http.StatusCreated, http.MethodPost, "/vendors", map[string]any{"instance_name": v.name, "provider_type": "smpp", "host": host, "port": port,
		"username": "postrider", "password": "test", "throughput": 0, "max_binds": 2, "window": 50, "enquire_link_seconds": 1,
		"response_timeout_seconds": 5, "receipt_expected_seconds": 3}, nil)
	var made struct{ ID string }
	o.want(http.StatusOK, http.MethodGet, "/vendors/"+v.name, nil, &made)
	var err error
	if v.id, err = message.ParseID(made.ID); err != nil {
		o.s.tb.Fatal(err)
	}
	var test struct{ OK bool }
	if o.want(http.StatusOK, http.MethodPost, "/vendors/"+v.name+"/test", nil, &test); !test.OK {
		o.s.tb.Fatalf("the test of %s failed", v.name)
	}
	var rule struct{ ID int64 }
	body := map[string]any{"vendor_id": made.ID, "priority": 10, "dest_pattern": "^1", "rate_per_msg": "0.0045"}
	for k, value := range route {
		body[k] = value
	}
	o.want(http.StatusCreated, http.MethodPost, "/routes", body, &rule)
	return fmt.Sprintf("/routes/%d", rule.ID)
}

// remove takes away what is at a path, asking again while the answer is meanwhile.
func (o *office) remove(path string, meanwhile int) {
	o.s.tb.Helper()
	next := time.Now()
	o.s.until(path+" is gone", func() bool {
		if time.Now().Before(next) {
			return false
		}
		next = time.Now().Add(200 * time.Millisecond)
		a, _ := o.change(http.MethodDelete, path, "", nil)
		if a.status != meanwhile && a.status != http.StatusNoContent {
			o.s.tb.Fatalf("DELETE %s answered %d: %s", path, a.status, a.body)
		}
		return a.status == http.StatusNoContent
	})
}

// serves waits until the vendor has its binds and messages.
func (v *smsc) serves() {
	v.s.tb.Helper()
	v.s.until(v.name+" has its binds and messages", func() bool { return v.Bound() == 2 && v.total() > 0 })
}

// waiting are the messages that wait for a vendor.
func (s *system) waiting(v *smsc) (ids []string) {
	s.tb.Helper()
	rows, err := s.sql().Query(stacktest.Context(s.tb), "select id from messages where vendor_id = $1 and status = 'queued'", v.id)
	if err != nil {
		s.tb.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var id message.ID
		if err := rows.Scan(&id); err != nil {
			s.tb.Fatal(err)
		}
		ids = append(ids, id.String())
	}
	return ids
}

// TestVendorsComeAndGo has staff add, test, change, slow down, pause, restart, drain and
// remove vendors and their routes over the API while 100 messages a second come. None
// fails, and each is taken by one vendor, once.
func TestVendorsComeAndGo(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.alter("delete from routing_rules")
	staff := s.office(snapshot.RoleOperator)
	alpha, beta, gamma := s.newSMSC("alpha", obliging, true), s.newSMSC("beta", obliging, true), s.newSMSC("gamma", obliging, true)
	staff.add(alpha, nil)
	s.current()
	traffic := s.stream(100, alpha, beta, gamma)
	alpha.serves()
	staff.add(beta, nil)
	toGamma := staff.add(gamma, map[string]any{"weight": 2})
	beta.serves()
	gamma.serves()
	traffic.phase("three vendors have messages")

	// A new link is made beside what is under way.
	binds := alpha.Binds()
	staff.patch("/vendors/alpha", map[string]any{"system_type": "gw", "display_name": "Alpha"})
	s.until("alpha is bound anew", func() bool { return alpha.Binds() == binds+2 && alpha.Bound() == 2 })

	traffic.phase("alpha has a new link")

	slowed, paused := beta.Binds(), gamma.Binds()
	const tps = 10
	staff.want(http.StatusOK, http.MethodPut, "/vendors/beta/throughput", map[string]any{"tps": tps}, nil)
	staff.want(http.StatusOK, http.MethodPost, "/vendors/gamma/pause", nil, nil)
	set := time.Now()
	// A change holds within soon. What comes in the window after that may be a second's
	// worth more than the window's.
	const soon, window = 5 * time.Second, 3 * time.Second
	traffic.goOn(set, soon+window)
	if n := beta.between(set.Add(soon), set.Add(soon+window)); n > tps*4 {
		t.Errorf("beta has taken %d in %s, and may take %d a second", n, window, tps)
	}
	if n := gamma.between(set.Add(soon), set.Add(soon+window)); n > 0 {
		t.Errorf("gamma is paused and has taken %d", n)
	}
	if beta.Binds() != slowed || gamma.Binds() != paused || gamma.Bound() != 2 {
		t.Errorf("binds made: beta %d and then %d, gamma %d and then %d, of which %d are left", slowed, beta.Binds(), paused, gamma.Binds(), gamma.Bound())
	}
	hadBeta, hadGamma := beta.total(), gamma.total()
	staff.want(http.StatusOK, http.MethodPost, "/vendors/gamma/resume", nil, nil)
	s.until("gamma goes on, and beta slowly", func() bool { return gamma.total() > hadGamma && beta.total() > hadBeta })
	if gamma.Binds() != paused {
		t.Error("gamma was bound anew for that")
	}

	traffic.phase("gamma was paused and goes on, beta is slow")

	// What waits for beta when it goes, goes to others.
	staff.want(http.StatusOK, http.MethodPut, "/vendors/beta/throughput", map[string]any{"tps": 1}, nil)
	var waited []string
	s.until("messages wait for beta", func() bool {
		waited = s.waiting(beta)
		return len(waited) >= 10
	})
	staff.remove("/vendors/beta?drain=true", http.StatusAccepted)
	staff.want(http.StatusNotFound, http.MethodGet, "/vendors/beta", nil, nil)
	withoutBeta := traffic.next()
	traffic.phase("beta is gone")

	binds = gamma.Binds()
	staff.want(http.StatusOK, http.MethodPost, "/vendors/gamma/restart", nil, nil)
	s.until("gamma is bound anew", func() bool { return gamma.Binds() == binds+2 && gamma.Bound() == 2 })
	staff.patch(toGamma, map[string]any{"weight": 5})
	staff.want(http.StatusNoContent, http.MethodDelete, toGamma, nil, nil)
	s.current()
	withoutGamma := traffic.next()
	staff.remove("/vendors/gamma", http.StatusConflict)
	traffic.phase("gamma is gone")
	traffic.goOn(traffic.began, 20*time.Second)

	ids := traffic.stop()
	moved := 0
	for i, o := range s.ended(ids) {
		to := destination(i)
		a, b, g := alpha.has(to), beta.has(to), gamma.has(to)
		if o.status != message.StatusDelivered || a+b+g != 1 {
			t.Errorf("message %d is %s (%s) and was taken %d times: alpha %d, beta %d, gamma %d", i, o.status, o.reason, a+b+g, a, b, g)
		}
		if b > 0 && i >= withoutBeta || g > 0 && i >= withoutGamma {
			t.Errorf("message %d went to a vendor that was gone: beta %d, gamma %d", i, b, g)
		}
		if b == 0 && slices.Contains(waited, ids[i]) {
			moved++
		}
	}
	t.Logf("taken: alpha %d, beta %d, gamma %d; %d of the %d that waited for beta went elsewhere", alpha.total(), beta.total(), gamma.total(), moved, len(waited))
	if moved == 0 {
		t.Error("beta had nothing to leave to others")
	}
}
