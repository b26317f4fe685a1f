package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/smpp"
	"github.com/postrider/postrider/internal/stack"
	"github.com/postrider/postrider/internal/stack/stacktest"
)

// node is one gateway of several that share a database.
type node struct {
	s             *system
	name          string
	env           []string
	metrics, smpp int
	log           string
	process       *stack.Process
}

func (s *system) newNode(name string, api, metrics, port int, log string) *node {
	return &node{s: s, name: name, metrics: metrics, smpp: port, log: log,
		env: append(slices.Clone(s.env), "API_PORT="+strconv.Itoa(api), "METRICS_PORT="+strconv.Itoa(metrics), "SMPP_PORT="+strconv.Itoa(port))}
}

func (n *node) start() {
	n.s.tb.Helper()
	n.process = stacktest.StartProcess(n.s.tb, stack.ProcessConfig{Name: n.name, Path: stacktest.Postrider(n.s.tb), Args: []string{"serve"},
		Env: append(os.Environ(), n.env...), LogFile: n.log})
	n.s.until(n.name+" is ready", func() bool { return n.s.ready(n.process, n.metrics) })
}

// stop asks the gateway to end, as an orchestrator does, and waits.
func (n *node) stop() {
	n.s.tb.Helper()
	if err := n.process.Signal(syscall.SIGTERM); err != nil {
		n.s.tb.Fatal(err)
	}
	if err := n.process.Wait(); err != nil {
		n.s.tb.Errorf("%s ended with %v:\n%s", n.name, err, n.process.LogTail())
	}
}

// roller is a customer whose ESMEs submit without a pause and bind to whichever
// gateway is up. It gives each message a key and repeats one under it until it
// is taken: when it was refused for now, and also when no answer came, for then
// it cannot know, and the key keeps it from being sent twice.
type roller struct {
	s     *system
	ports []int
	rush  atomic.Int64 // above 0: that many messages go without a pause

	mu      sync.Mutex
	taken   []string // message_ids by number; empty: not yet
	again   []int    // numbers to be repeated
	stopped bool     // no new messages

	esmes    []*esme             // all that were ever bound
	refused  map[smpp.Status]int // submits
	unsent   int                 // submits that found their session ended
	silent   int                 // submits that were written and had no answer
	notBound int                 // binds that failed
	odd      []string            // what should not have come
}

// rollerLanes are the submits that each ESME has under way.
const rollerLanes = 10

// run is one ESME, until all is submitted. It binds to the port of the number
// first, and to the next one when that fails. It leaves its last session bound,
// for the receipts.
func (r *roller) run(port int) {
	pace := time.NewTicker(25 * time.Millisecond)
	defer pace.Stop()
	for ; r.more(); port++ {
		e := r.s.newESME()
		if err := e.bind(smpp.ModeTransceiver, r.ports[port%len(r.ports)]); err != nil {
			r.bindFailed(err)
			<-pace.C
			continue
		}
		r.s.tb.Cleanup(e.session.Close)
		r.tell(func() { r.esmes = append(r.esmes, e) })
		var lanes sync.WaitGroup
		for range rollerLanes {
			lanes.Go(func() {
				for i, ok := r.take(); ok && r.one(e, i); i, ok = r.take() {
					if r.rush.Add(-1) < 0 {
						<-pace.C
					}
				}
			})
		}
		lanes.Wait()
	}
}

// more reports whether there is something to submit.
func (r *roller) more() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.stopped || len(r.again) > 0
}

// take gives the number of the next message; false: there is none.
func (r *roller) take() (i int, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch n := len(r.again); {
	case n > 0:
		i, r.again = r.again[n-1], r.again[:n-1]
	case r.stopped:
		return 0, false
	default:
		i = len(r.taken)
		r.taken = append(r.taken, "")
	}
	return i, true
}

func (r *roller) tell(fn func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fn()
}

// one submits one message; false: the session has ended.
func (r *roller) one(e *esme, i int) bool {
	m := submission(destination(i), fmt.Sprintf("message %d", i))
	m.TLVs.AddCString(smpp.TagIdempotencyKey, fmt.Sprintf("roll-%d", i))
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	resp, err := e.session.Submit(ctx, m)
	var status *smpp.StatusError
	var lost *smpp.RequestError
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case err == nil:
		r.taken[i] = resp.MessageID
		return true
	case errors.As(err, &status):
		r.refused[status.Status]++
	case errors.As(err, &lost) && lost.Written:
		r.silent++
	default:
		r.unsent++
	}
	r.again = append(r.again, i)
	return status != nil
}

// bindFailed notes a bind that was refused in a way that does not pass.
func (r *roller) bindFailed(err error) {
	var refused *smpp.BindError
	r.tell(func() {
		r.notBound++
		if errors.As(err, &refused) && refused.Status != smpp.StatusSystemError && refused.Status != smpp.StatusBindFail {
			r.odd = append(r.odd, err.Error())
		}
	})
}

// progress waits until n more messages were taken.
func (r *roller) progress(n int) {
	r.s.tb.Helper()
	count := func() (taken int) {
		r.tell(func() {
			for _, id := range r.taken {
				if id != "" {
					taken++
				}
			}
		})
		return taken
	}
	want := count() + n
	r.s.until(fmt.Sprintf("%d messages are taken", want), func() bool { return count() >= want })
}

// TestRollingRestart ends and starts one gateway after the other under two
// ESMEs. All that they notice is an unbind, and binds that fail for a while:
// what they submit is taken in the end, sent once, and each receipt comes.
func TestRollingRestart(t *testing.T) {
	t.Parallel()
	s := start(t, "--latency", "5ms", "--receipt-delay", "500ms", "--receipt-delay-jitter", "500ms")
	dir := stacktest.Folder(t)
	first := s.newNode("the first gateway", s.apiPort, s.metricsPort, s.smppPort, filepath.Join(dir, "first.log"))
	first.process = s.gateway
	second := s.newNode("the second gateway", stacktest.FreePort(t), stacktest.FreePort(t), stacktest.FreePort(t), filepath.Join(dir, "second.log"))
	second.start()

	r := &roller{s: s, ports: []int{first.smpp, second.smpp}, refused: map[smpp.Status]int{}}
	var esmes sync.WaitGroup
	esmes.Go(func() { r.run(0) })
	esmes.Go(func() { r.run(1) })
	r.progress(40)
	for _, n := range []*node{first, second} {
		r.rush.Store(400) // so that many are under way when it is told
		r.progress(50)
		n.stop()
		r.progress(20) // by the other one alone
		n.start()
		r.progress(20)
	}
	r.tell(func() { r.stopped = true })
	esmes.Wait()
	r.judge()
}

// judge waits until all is delivered and every receipt has come, and counts.
func (r *roller) judge() {
	t := r.s.tb
	t.Helper()
	for i, id := range r.taken {
		if id == "" {
			t.Fatalf("message %d was never taken", i)
		}
		r.s.until("message "+id+" is delivered", func() bool {
			switch st := r.s.status(messageID(t, id).String()); {
			case st == message.StatusDelivered:
				return true
			case st.Final(), st == message.StatusInDoubt:
				t.Fatalf("message %d is %s", i, st)
			}
			return false
		})
	}
	seen := r.s.destinations()
	for i, id := range r.taken {
		if n := seen[destination(i)]; n != 1 {
			t.Errorf("message %d, %s, was submitted %d times", i, id, n)
		}
	}
	stats := func(id string) (all []string) {
		for _, e := range r.esmes {
			all = append(all, e.has(id)...)
		}
		return all
	}
	repeated := 0
	for i, id := range r.taken {
		r.s.until("the receipt of "+id+" has come", func() bool { return len(stats(id)) > 0 })
		all := stats(id)
		repeated += len(all) - 1
		if slices.ContainsFunc(all, func(stat string) bool { return stat != "DELIVRD" }) {
			t.Errorf("message %d: receipts %v", i, all)
		}
	}
	for _, e := range r.esmes {
		e.mu.Lock()
		r.odd = append(r.odd, e.odd...)
		e.mu.Unlock()
	}
	for st := range r.refused {
		if st != smpp.StatusThrottled && st != smpp.StatusMsgQueueFull && st != smpp.StatusSystemError {
			t.Errorf("%d submits were refused with %s, which does not pass", r.refused[st], st)
		}
	}
	for _, odd := range r.odd {
		t.Error(odd)
	}
	if r.silent > 0 {
		t.Errorf("%d submits were written and had no answer: a gateway ended before it had drained", r.silent)
	}
	t.Logf("%d messages over %d binds: refused %v, not sent %d, without an answer %d, binds that failed %d, receipts repeated %d",
		len(r.taken), len(r.esmes), r.refused, r.unsent, r.silent, r.notBound, repeated)
}
