package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/webhook"
)

// system stands in for gateway and simulator. What becomes of a message is
// decided by its number.
type system struct {
	tb     testing.TB
	server *httptest.Server
	of     numbers
	secret string
	// fate gives the answer's status, the types of event that follow, and how
	// often the vendor sees it.
	fate func(i int) (status int, events []string, submits int)
	// hold, when it is set, keeps every answer until it is closed.
	hold <-chan struct{}

	mu      sync.Mutex
	order   []string // destinations at the vendor
	first   map[string]time.Time
	classes map[string]int // of what was accepted
	counts  map[string]int
	peers   map[string]bool // connections that requests came over
	arrived chan struct{}   // capacity enough; one element a request
	hooks   sync.WaitGroup
}

func startSystem(tb testing.TB, fate func(int) (int, []string, int)) *system {
	s := &system{tb: tb, of: numbers{from: 77}, fate: fate, counts: map[string]int{}, first: map[string]time.Time{}, classes: map[string]int{}, peers: map[string]bool{}, arrived: make(chan struct{}, 10_000)}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/auth/token", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if string(body) != `{"api_key":"key","api_secret":"secret"}` {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = io.WriteString(w, `{"access_token":"opaque"}`)
	})
	mux.HandleFunc("POST /v1/messages", s.create)
	mux.HandleFunc("GET /stats", func(w http.ResponseWriter, _ *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		_ = json.NewEncoder(w).Encode(map[string]int{"destinations": len(s.order), "overflow": 0})
	})
	mux.HandleFunc("GET /destinations", s.destinations)
	s.server = httptest.NewServer(mux)
	tb.Cleanup(func() { s.server.Close(); s.hooks.Wait() })
	return s
}

func (s *system) create(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var in struct {
		From, To, Body string
		Webhook        string `json:"webhook_url"`
		Reference      string `json:"client_reference"`
		Class          string `json:"message_class"`
	}
	if err == nil {
		err = json.Unmarshal(body, &in)
	}
	i, ok := s.of.index(in.To)
	if err != nil || !ok || in.From != "+12025550143" || in.Body == "" {
		s.tb.Errorf("request %s: %v", body, err)
	}
	s.mu.Lock()
	s.peers[r.RemoteAddr] = true
	s.classes[in.Class]++
	s.mu.Unlock()
	s.arrived <- struct{}{}
	if s.hold != nil {
		<-s.hold
	}
	status, events, submits := s.fate(i)
	s.submit(in.To, submits)
	s.hooks.Go(func() {
		for sequence, word := range events {
			s.tell(in.Webhook, fmt.Sprintf(`{"type":"message.%s","timestamp":"2026-11-21T20:15:09.412Z","data":{"message_id":"x","sequence":%d,"type":"sms","status":%q,"client_reference":%q}}`,
				word, sequence, word, in.Reference))
		}
	})
	if status == 0 {
		panic(http.ErrAbortHandler) // the connection breaks
	}
	w.WriteHeader(status)
	if status != http.StatusAccepted {
		_, _ = io.WriteString(w, `{"type":"/docs/errors/x","status":422,"code":"opted_out"}`)
		return
	}
	_, _ = io.WriteString(w, strings.Repeat(" ", 5000)+`{"id":"x"}`) // long enough to be chunked
}

func (s *system) submit(to string, times int) {
	if times == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.order = append(s.order, to)
	if s.first[to].IsZero() {
		s.first[to] = time.Now()
	}
	s.counts[to] += times
}

func (s *system) tell(address, body string) {
	req, err := http.NewRequest(http.MethodPost, address, bytes.NewReader([]byte(body)))
	if err != nil {
		s.tb.Error(err)
		return
	}
	if s.secret != "" {
		if err := webhook.Sign(req.Header, "id", time.Now(), []byte(body), s.secret, ""); err != nil {
			s.tb.Error(err)
		}
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.tb.Error(err)
		return
	}
	_ = resp.Body.Close()
}

func (s *system) destinations(w http.ResponseWriter, r *http.Request) {
	since, _ := strconv.Atoi(r.FormValue("since"))
	limit, _ := strconv.Atoi(r.FormValue("limit"))
	s.mu.Lock()
	defer s.mu.Unlock()
	rows := []map[string]any{}
	for n := since; n < len(s.order) && len(rows) < limit; n++ {
		rows = append(rows, map[string]any{"number": n + 1, "destination": strings.TrimPrefix(s.order[n], "+"), "count": s.counts[s.order[n]], "first_at": s.first[s.order[n]]})
	}
	_ = json.NewEncoder(w).Encode(rows)
}

// bench joins a runner to the system.
func (s *system) bench(n, connections int) *runner {
	s.tb.Helper()
	r := newRecords(n, "test")
	hooks, err := startConsumer(r, s.secret)
	if err != nil {
		s.tb.Fatal(err)
	}
	a, err := newAPI(s.server.URL, basic("key", "secret"), "+12025550143", hooks.url())
	if err != nil {
		s.tb.Fatal(err)
	}
	l := newLoad(a, s.of, r, connections)
	s.tb.Cleanup(func() {
		l.close()
		s.hooks.Wait()
		if err := hooks.stop(); err != nil {
			s.tb.Error(err)
		}
	})
	return &runner{load: l, records: r, meter: meter{proc: s.tb.TempDir()}, patience: time.Minute, out: io.Discard}
}

var good = []string{"sent", "delivered"}

func TestSteady(t *testing.T) {
	s := startSystem(t, func(int) (int, []string, int) { return http.StatusAccepted, good, 1 })
	r := s.bench(60, 4)
	x := r.steady(t.Context(), "steady", 1000, evenly(20, 1000), 4)
	y := r.steady(t.Context(), "steady", 1000, randomly(40, 1000, 1), 4)
	for _, x := range []*result{x, y} {
		if !x.Drained || x.Accepted != x.Sent || x.EndToEnd.Count != x.Sent || len(x.Errors) != 0 {
			t.Errorf("%+v", x)
		}
		if x.Accept.Count != x.Sent || x.Accept.P50 <= 0 || x.EndToEnd.Max < x.EndToEnd.P50 {
			t.Errorf("latencies %+v, %+v", x.Accept, x.EndToEnd)
		}
	}
	if len(s.peers) > 4 {
		t.Errorf("4 connections became %d: they are not kept", len(s.peers))
	}
	if x.of.last != y.of.first || y.of.last != 60 {
		t.Errorf("messages %d to %d, then %d to %d", x.of.first, x.of.last, y.of.first, y.of.last)
	}
}

// A message is due when the schedule says so, however long the ones before it
// take: the bench may not thin out its load with the gateway's stalls.
func TestOpenLoopDoesNotWait(t *testing.T) {
	s := startSystem(t, func(int) (int, []string, int) { return http.StatusAccepted, good, 1 })
	hold := make(chan struct{})
	s.hold = hold
	r := s.bench(10, 1)
	due := evenly(10, 100_000)
	of := r.take(10)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r.load.open(t.Context(), of, due, r.load.over(1))
	}()
	<-s.arrived // the first request is held, and with it the only connection
	released := r.records.now()
	close(hold)
	<-ended
	first := r.records.list[0].due.Load()
	for i := range of.last {
		m := &r.records.list[i]
		if got := time.Duration(m.due.Load() - first); got != due[i] {
			t.Errorf("message %d was due after %s, want %s", i, got, due[i])
		}
		if m.answered.Load() < released {
			t.Errorf("message %d was answered while the gateway stood still", i)
		}
		if wait := of.acceptLatencies()[i]; int64(wait) != m.answered.Load()-m.due.Load() {
			t.Errorf("message %d: the latency %s leaves out some of its wait", i, wait)
		}
	}
}

func TestOpenLoopUsesAllConnections(t *testing.T) {
	s := startSystem(t, func(int) (int, []string, int) { return http.StatusAccepted, good, 1 })
	hold := make(chan struct{})
	s.hold = hold
	r := s.bench(8, 8)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r.load.open(t.Context(), r.take(8), evenly(8, 100_000), r.load.over(8))
	}()
	for range 8 { // all come although none is answered
		<-s.arrived
	}
	close(hold)
	<-ended
}

func TestFloodCountsWhatGoesWrong(t *testing.T) {
	s := startSystem(t, func(i int) (int, []string, int) {
		switch i {
		case 3:
			return http.StatusUnprocessableEntity, nil, 0
		case 4:
			return 0, good, 1 // sent although nobody knows it
		case 5:
			return http.StatusAccepted, nil, 0 // lost
		case 6:
			return http.StatusAccepted, good, 2
		case 7:
			return http.StatusAccepted, []string{"sent", "undelivered"}, 1
		case 8:
			return http.StatusAccepted, []string{"delivered", "delivered"}, 1
		}
		return http.StatusAccepted, good, 1
	})
	sim, err := openSimulator(t.Context(), s.server.URL+"/stats")
	if err != nil {
		t.Fatal(err)
	}
	r := s.bench(40, 3)
	r.patience = 0 // the lost one never ends
	x := r.flood(t.Context(), "burst", 40, 3)
	s.hooks.Wait()
	arrived, err := sim.arrivals(t.Context(), s.of, r.records)
	if err != nil {
		t.Fatal(err)
	}
	r.settle(arrived)
	if x.Drained || x.Accepted != 38 || x.Delivered != 36 || x.Otherwise["undelivered"] != 1 || x.Missing != 1 || x.Repeated != 1 {
		t.Errorf("%+v", x)
	}
	if x.Lost != 1 || x.Doubled != 1 || x.Unasked != 1 {
		t.Errorf("lost %d, doubled %d, unasked %d", x.Lost, x.Doubled, x.Unasked)
	}
	if x.Backlog < 1 {
		t.Errorf("a backlog of %d, with one that never ends", x.Backlog)
	}
	if len(x.Errors) != 2 || x.Errors["422 opted_out"] != 1 || x.Errors["connection closed"] != 1 {
		t.Errorf("errors %v", x.Errors)
	}
	if err := (&report{Phases: r.results}).verdict(); err == nil || err.Error() != "1 lost, 1 doubled, 1 webhooks missing, 0 badly signed" {
		t.Errorf("verdict: %v", err)
	}
}

// What the simulator saw before a run does not count.
func TestSimulatorSkipsEarlierRuns(t *testing.T) {
	s := startSystem(t, nil)
	s.submit(s.of.at(0), 1)
	sim, err := openSimulator(t.Context(), s.server.URL+"/stats")
	if err != nil {
		t.Fatal(err)
	}
	s.submit(s.of.at(1), 2)
	s.submit("+13105550117", 1) // by somebody else
	arrived, err := sim.arrivals(t.Context(), s.of, newRecords(2, "test"))
	if err != nil || len(arrived) != 1 || arrived[1].count != 2 {
		t.Errorf("%v, %v", arrived, err)
	}
	if _, err := openSimulator(t.Context(), s.server.URL); err == nil {
		t.Error("an address without /stats was taken")
	}
}

func TestFloodStopsWithItsContext(t *testing.T) {
	s := startSystem(t, func(int) (int, []string, int) { return http.StatusAccepted, good, 1 })
	r := s.bench(1000, 2)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	x := r.flood(ctx, "burst", 1000, 2)
	if x.Accepted != 0 || len(s.arrived) != 0 {
		t.Errorf("%d accepted, %d requests", x.Accepted, len(s.arrived))
	}
}

func TestVerify(t *testing.T) {
	const secret = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
	s := startSystem(t, func(int) (int, []string, int) { return http.StatusAccepted, good, 1 })
	s.secret = secret
	r := newRecords(2, "test")
	hooks, err := startConsumer(r, secret)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = hooks.stop() }()
	body := `{"type":"message.delivered","data":{"client_reference":"bench-test-1"}}`
	s.tell(hooks.url(), body)
	s.secret = ""
	s.tell(hooks.url(), body)
	s.secret = "whsec_" + strings.Repeat("A", 43) + "="
	s.tell(hooks.url(), body)
	if n, bad := r.list[1].finals.Load(), hooks.forged.Load(); n != 1 || bad != 2 {
		t.Errorf("%d taken, %d refused", n, bad)
	}
}

func TestConsumerLeavesForeignEvents(t *testing.T) {
	r := newRecords(2, "test")
	for _, reference := range []string{"", "bench-test-", "bench-test-2", "bench-test--1", "bench-other-0", "order-7"} {
		r.event(reference, "delivered")
	}
	if n := r.strange.Load(); n != 6 {
		t.Errorf("%d of 6 were foreign", n)
	}
	for _, body := range []string{"", `"type":"message.`, `{"type":"message.delivered`} {
		if got := stringMember([]byte(body), `"type":"message.`); got != "" {
			t.Errorf("%q gave %q", body, got)
		}
	}
}

func TestAuthorization(t *testing.T) {
	s := startSystem(t, func(int) (int, []string, int) { return http.StatusAccepted, good, 1 })
	for auth, want := range map[string]string{"basic": "Basic a2V5OnNlY3JldA==", "token": "Bearer opaque"} {
		env := map[string]string{"POSTRIDER_URL": s.server.URL, "POSTRIDER_API_KEY": "key", "POSTRIDER_API_SECRET": "secret", "POSTRIDER_FROM": "+12025550143"}
		a, err := openAPI(t.Context(), options{Auth: auth}, &target{env: env}, "http://127.0.0.1:9/hooks")
		if err != nil {
			t.Fatal(err)
		}
		if head := *a.head.Load(); !bytes.Contains(head, []byte("\r\nAuthorization: "+want+"\r\n")) {
			t.Errorf("%s: %q", auth, head)
		}
	}
	if _, err := bearer(t.Context(), s.server.URL, "key", "wrong"); err == nil {
		t.Error("a token for a wrong secret")
	}
	if _, err := newAPI("https://gw.example", "", "", ""); err == nil {
		t.Error("an address without a port was taken")
	}
}
