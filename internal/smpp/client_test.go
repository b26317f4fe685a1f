package smpp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestDialBinds(t *testing.T) {
	s, _ := esme(t, DialConfig{})
	if s.State() != StateBoundTRX || s.PeerID() != "smsc" || s.PeerVersion() != Version34 || s.Window() != DefaultWindow {
		t.Errorf("state %v peer %q version %x", s.State(), s.PeerID(), s.PeerVersion())
	}
}

func TestDialRefused(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer string
		want   BindError
	}{
		{"without body", "00000010 80000009 0000000e 00000001", BindError{Status: StatusInvPassword}},
		{"with body", "00000011 80000009 0000000f 00000001 00", BindError{Status: StatusInvSystemID}},
		{"by nack", "00000010 80000000 00000003 00000001", BindError{Status: StatusInvCmdID, Nack: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, b := tcpPair(t)
			p := newPeer(t, b)
			go func() {
				p.want(IDBindTransceiver, StatusOK, 1)
				p.write(unhex(t, tt.answer))
			}()
			_, err := Dial(context.Background(), DialConfig{Bind: Bind{Mode: ModeTransceiver},
				DialContext: func(context.Context, string, string) (net.Conn, error) { return a, nil }})
			var refused *BindError
			if !errors.As(err, &refused) || *refused != tt.want {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestDialGivesUpOnSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		go func() { _, _ = io.Copy(io.Discard, b) }()
		start := time.Now()
		_, err := Dial(context.Background(), DialConfig{Bind: Bind{Mode: ModeReceiver}, Timeout: 7 * time.Second,
			DialContext: func(context.Context, string, string) (net.Conn, error) { return a, nil }})
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 7*time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

func TestAnswersInAnyOrder(t *testing.T) {
	s, p := esme(t, DialConfig{Config: Config{Window: 5}})
	var wg sync.WaitGroup
	for i := range 5 {
		wg.Go(func() {
			want := fmt.Sprint(i)
			r, err := s.Submit(context.Background(), textSM(want))
			if err != nil || r.MessageID != want {
				t.Errorf("%s: %+v %v", want, r, err)
			}
		})
	}
	var got []Packet
	for range 5 {
		got = append(got, p.read())
	}
	for i := len(got) - 1; i >= 0; i-- {
		p.send(StatusOK, got[i].Sequence, &SubmitSMResp{MessageID: string(got[i].Body.(*SubmitSM).ShortMessage)})
	}
	wg.Wait()
	if s.InFlight() != 0 {
		t.Errorf("in flight %d", s.InFlight())
	}
}

func TestWindowFull(t *testing.T) {
	s, p := esme(t, DialConfig{Config: Config{Window: 2}})
	results := make(chan error, 3)
	start := func(ctx context.Context) error {
		return s.Start(ctx, textSM("x"), func(_ Packet, err error) { results <- err })
	}
	for range 2 {
		if err := start(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	blocked := make(chan error)
	go func() { blocked <- start(ctx) }()
	cancel()
	var e *RequestError
	if err := <-blocked; !errors.As(err, &e) || e.Written || !errors.Is(err, context.Canceled) {
		t.Errorf("full window, ended context: %v", err)
	}
	go func() { blocked <- start(context.Background()) }()
	first := p.read()
	p.send(StatusOK, first.Sequence, &SubmitSMResp{})
	if err := <-results; err != nil {
		t.Error(err)
	}
	if err := <-blocked; err != nil {
		t.Errorf("window freed: %v", err)
	}
	if s.InFlight() != 2 {
		t.Errorf("in flight %d", s.InFlight())
	}
}

func TestRefusals(t *testing.T) {
	s, p := esme(t, DialConfig{})
	for _, tt := range []struct {
		send func(seq uint32)
		want StatusError
	}{
		{func(seq uint32) { p.send(StatusThrottled, seq, &SubmitSMResp{}) }, StatusError{IDSubmitSM, StatusThrottled, false}},
		{func(seq uint32) { p.send(StatusInvCmdID, seq, &GenericNack{}) }, StatusError{IDSubmitSM, StatusInvCmdID, true}},
		{func(seq uint32) { p.write(frame(IDSubmitSMResp, 0x401, seq, []byte("zz"))) }, StatusError{IDSubmitSM, 0x401, false}},
	} {
		go func() { tt.send(p.read().Sequence) }()
		_, err := s.Submit(context.Background(), textSM("x"))
		var refused *StatusError
		if !errors.As(err, &refused) || *refused != tt.want {
			t.Errorf("error %v, want %v", err, &tt.want)
		}
	}
}

func TestUnreadableAnswerIsAmbiguous(t *testing.T) {
	s, p := esme(t, DialConfig{})
	go func() {
		seq := p.read().Sequence
		p.write(frame(IDSubmitSMResp, 0, seq, make([]byte, 0)))
		seq = p.read().Sequence
		id := make([]byte, 70)
		for i := range id {
			id[i] = 'x'
		}
		p.write(frame(IDSubmitSMResp, 0, seq, id))
	}()
	if r, err := s.Submit(context.Background(), textSM("x")); err != nil || r.MessageID != "" {
		t.Errorf("answer without body: %v", err)
	}
	_, err := s.Submit(context.Background(), textSM("x"))
	var e *RequestError
	var bad *DecodeError
	if !errors.As(err, &e) || !e.Ambiguous() || !errors.As(err, &bad) {
		t.Errorf("unreadable answer: %v", err)
	}
}

func TestResponseTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := esmeOver(t, DialConfig{Config: Config{Window: 1, EnquireLink: -1, ResponseTimeout: 12 * time.Second}}, pipePair)
		start := time.Now()
		seqs := make(chan uint32, 2)
		go func() { seqs <- p.read().Sequence }()
		_, err := s.Submit(context.Background(), textSM("x"))
		var e *RequestError
		if !errors.As(err, &e) || !e.Written || !errors.Is(err, ErrTimeout) || time.Since(start) != 12*time.Second {
			t.Fatalf("%v after %v", err, time.Since(start))
		}
		// The late answer is dropped, the window is free, the session lives.
		p.send(StatusOK, <-seqs, &SubmitSMResp{MessageID: "late"})
		go func() { p.send(StatusOK, p.read().Sequence, &SubmitSMResp{MessageID: "b"}) }()
		if r, err := s.Submit(context.Background(), textSM("y")); err != nil || r.MessageID != "b" {
			t.Errorf("%v %v", r, err)
		}
	})
}

func TestContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := esmeOver(t, DialConfig{Config: Config{Window: 3, EnquireLink: -1}}, pipePair)
		ctx, cancel := context.WithCancel(context.Background())
		results := make(chan error, 2)
		go func() { // the writer takes this one and waits for the peer
			_, err := s.Submit(ctx, textSM("a"))
			results <- err
		}()
		synctest.Wait()
		go func() { // this one stays in the queue
			_, err := s.Submit(ctx, textSM("b"))
			results <- err
		}()
		synctest.Wait()
		cancel()
		written := 0
		for range 2 {
			var e *RequestError
			if err := <-results; !errors.As(err, &e) || !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			} else if e.Written {
				written++
			}
		}
		if written != 1 {
			t.Errorf("%d of 2 count as written", written)
		}
		go func() { _, _ = s.Submit(context.Background(), textSM("c")) }()
		if m := p.read().Body.(*SubmitSM); string(m.ShortMessage) != "a" {
			t.Errorf("first %q", m.ShortMessage)
		}
		if m := p.read().Body.(*SubmitSM); string(m.ShortMessage) != "c" {
			t.Errorf("a request was written that its caller took back: %q", m.ShortMessage)
		}
		if s.InFlight() != 2 { // a's answer may still come
			t.Errorf("in flight %d", s.InFlight())
		}
	})
}

// What the socket took is ambiguous; what it did not is safe to send again.
func TestLossInMidWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := esmeOver(t, DialConfig{Config: Config{Window: 4, EnquireLink: -1}}, pipePair)
		results := map[string]error{}
		var mu sync.Mutex
		start := func(name string) {
			if err := s.Start(context.Background(), textSM(name), func(_ Packet, err error) {
				mu.Lock()
				defer mu.Unlock()
				results[name] = err
			}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		start("a")
		p.read()
		start("b") // the writer is stuck in it
		start("c")
		start("d")
		if _, err := io.ReadFull(p.c, make([]byte, 10)); err != nil {
			t.Fatal(err)
		}
		_ = p.c.Close()
		<-s.Done()
		for name, written := range map[string]bool{"a": true, "b": true, "c": false, "d": false} {
			var e *RequestError
			if !errors.As(results[name], &e) || e.Written != written {
				t.Errorf("%s: %v, want written %v", name, results[name], written)
			}
		}
		if _, err := s.Submit(context.Background(), textSM("e")); !errors.As(err, new(*RequestError)) {
			t.Errorf("after the loss: %v", err)
		}
	})
}

// Answers to what was not asked, or with another command, end nothing.
func TestStrayResponses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := esmeOver(t, DialConfig{Config: Config{EnquireLink: -1}}, pipePair)
		results := make(chan string, 2)
		for _, name := range []string{"a", "b"} {
			if err := s.Start(context.Background(), textSM(name), func(pk Packet, err error) {
				if err != nil {
					results <- err.Error()
					return
				}
				results <- pk.Body.(*SubmitSMResp).MessageID
			}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait() // a is being written, b waits
		}
		p.send(StatusOK, 3, &SubmitSMResp{MessageID: "too early"})
		p.send(StatusOK, 99, &SubmitSMResp{MessageID: "nobody's"})
		synctest.Wait()
		p.want(IDSubmitSM, StatusOK, 2)
		p.want(IDSubmitSM, StatusOK, 3)
		synctest.Wait()
		p.send(StatusOK, 2, &DataSMResp{MessageID: "another command"})
		p.send(StatusOK, 2, &SubmitSMResp{MessageID: "A"})
		p.send(StatusOK, 3, &SubmitSMResp{MessageID: "B"})
		if a, b := <-results, <-results; a != "A" || b != "B" {
			t.Errorf("results %q %q", a, b)
		}
	})
}

func TestWriteStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := esmeOver(t, DialConfig{Config: Config{EnquireLink: -1}}, pipePair)
		_, err := s.Submit(context.Background(), textSM("x"))
		var e *RequestError
		if !errors.As(err, &e) || e.Written {
			t.Errorf("nothing was taken by the socket: %v", err)
		}
	})
}

func TestSequenceWraps(t *testing.T) {
	s, p := esme(t, DialConfig{Config: Config{Window: 4}})
	s.mu.Lock()
	s.sequence = maxSequence - 1
	s.mu.Unlock()
	held := make(chan error, 1)
	if err := s.Start(context.Background(), textSM("held"), func(_ Packet, err error) { held <- err }); err != nil {
		t.Fatal(err)
	}
	p.want(IDSubmitSM, StatusOK, maxSequence)
	for _, want := range []uint32{1, 2} {
		go func() {
			p.want(IDSubmitSM, StatusOK, want)
			p.send(StatusOK, want, &SubmitSMResp{})
		}()
		if _, err := s.Submit(context.Background(), textSM("x")); err != nil {
			t.Fatal(err)
		}
	}
	// A number that still waits for its answer is passed over.
	s.mu.Lock()
	s.sequence = maxSequence - 1
	s.mu.Unlock()
	go func() {
		p.want(IDSubmitSM, StatusOK, 1)
		p.send(StatusOK, 1, &SubmitSMResp{})
	}()
	if _, err := s.Submit(context.Background(), textSM("x")); err != nil {
		t.Fatal(err)
	}
	p.send(StatusOK, maxSequence, &SubmitSMResp{})
	if err := <-held; err != nil {
		t.Error(err)
	}
}

func TestUnbind(t *testing.T) {
	s, p := esme(t, DialConfig{})
	outstanding := make(chan error, 1)
	if err := s.Start(context.Background(), textSM("x"), func(_ Packet, err error) { outstanding <- err }); err != nil {
		t.Fatal(err)
	}
	seq := p.read().Sequence
	unbound := make(chan error, 1)
	go func() { unbound <- s.Unbind(context.Background()) }()
	<-s.refusing
	if err := s.Start(context.Background(), textSM("y"), func(Packet, error) {}); !errors.Is(err, ErrUnbound) {
		t.Errorf("new request: %v", err)
	}
	p.send(StatusOK, seq, &SubmitSMResp{}) // before the unbind goes out
	if err := <-outstanding; err != nil {
		t.Errorf("outstanding: %v", err)
	}
	p.send(StatusOK, p.want(IDUnbind, StatusOK, seq+1).Sequence, &UnbindResp{})
	p.wantEOF()
	_ = p.c.Close()
	if err := <-unbound; err != nil || !errors.Is(s.Err(), ErrUnbound) {
		t.Errorf("%v, ended with %v", err, s.Err())
	}
	if err := s.Unbind(context.Background()); err != nil {
		t.Errorf("again: %v", err)
	}
}

// A deliver_sm that crosses our unbind was taken and is answered, though the peer
// has answered the unbind already.
func TestUnbindAnswersWhatCrossesIt(t *testing.T) {
	held := make(chan *Request, 1)
	s, p := esme(t, DialConfig{Config: Config{Handler: HandlerFunc(func(r *Request) { held <- r })}})
	unbound := make(chan error, 1)
	go func() { unbound <- s.Unbind(context.Background()) }()
	unbind := p.want(IDUnbind, StatusOK, 2)
	p.send(StatusOK, 7, &DeliverSM{Message{Source: Address{1, 1, "15551230002"}, ShortMessage: []byte("x")}})
	r := <-held
	p.send(StatusOK, unbind.Sequence, &UnbindResp{})
	p.send(StatusOK, 8, &EnquireLink{})
	p.want(IDEnquireLinkResp, StatusOK, 8) // so the unbind_resp was read
	_ = r.Respond(StatusOK, nil)
	p.want(IDDeliverSMResp, StatusOK, 7)
	p.wantEOF()
	_ = p.c.Close()
	if err := <-unbound; err != nil || !errors.Is(s.Err(), ErrUnbound) {
		t.Errorf("%v, ended with %v", err, s.Err())
	}
}

func TestUnbindGivesUpWithItsContext(t *testing.T) {
	s, p := esme(t, DialConfig{})
	ended := make(chan error, 1)
	if err := s.Start(context.Background(), textSM("x"), func(_ Packet, err error) { ended <- err }); err != nil {
		t.Fatal(err)
	}
	p.read()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Unbind(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("unbind: %v", err)
	}
	var e *RequestError
	if err := <-ended; !errors.As(err, &e) || !e.Written {
		t.Errorf("outstanding: %v", err)
	}
}

func TestBothUnbindAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := esmeOver(t, DialConfig{}, pipePair)
		unbound := make(chan error, 1)
		start := time.Now()
		go func() { unbound <- s.Unbind(context.Background()) }()
		q := p.want(IDUnbind, StatusOK, 2)
		p.send(StatusOK, 7, &Unbind{})
		p.want(IDUnbindResp, StatusOK, 7)
		p.send(StatusOK, q.Sequence, &UnbindResp{})
		p.wantEOF()
		if err := <-unbound; err != nil || time.Since(start) != 0 {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

func TestESMEStates(t *testing.T) {
	s, p := esme(t, DialConfig{Config: Config{Handler: answerAll}, Bind: Bind{Mode: ModeTransmitter}})
	p.send(StatusOK, 5, &DeliverSM{})
	p.want(IDDeliverSMResp, StatusInvBindState, 5)
	p.send(StatusOK, 6, textSM("x"))
	p.want(IDSubmitSMResp, StatusInvBindState, 6)
	p.send(StatusOK, 7, &Bind{Mode: ModeReceiver})
	p.want(IDBindReceiverResp, StatusInvBindState, 7)
	if s.State() != StateBoundTX {
		t.Error(s.State())
	}
	r, rp := esme(t, DialConfig{Config: Config{Handler: answerAll}, Bind: Bind{Mode: ModeReceiver}})
	rp.send(StatusOK, 5, &DeliverSM{})
	rp.want(IDDeliverSMResp, StatusOK, 5)
	rp.send(StatusOK, 6, &DataSM{})
	rp.want(IDDataSMResp, StatusOK, 6)
	if r.State() != StateBoundRX {
		t.Error(r.State())
	}
}

// Two of our own sessions against each other, many senders, both directions.
func TestManyRequestsBothWays(t *testing.T) {
	a, b := tcpPair(t)
	asyncAnswer := HandlerFunc(func(r *Request) {
		r.Go(func() {
			body := ResponseTo(r.ID)
			if m, ok := r.Body.(*SubmitSM); ok {
				body = &SubmitSMResp{MessageID: string(m.ShortMessage)}
			}
			_ = r.Respond(StatusOK, body)
		})
	})
	srv := serve(t, a, ServerConfig{Config: Config{Handler: asyncAnswer, Window: 50, Inbound: 20}})
	cli, err := Dial(context.Background(), DialConfig{Config: Config{Handler: asyncAnswer, Window: 50, Inbound: 20},
		Bind: Bind{Mode: ModeTransceiver, SystemID: "acme"}, DialContext: func(context.Context, string, string) (net.Conn, error) { return b, nil }})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	const senders, each = 20, 100
	for i := range senders {
		wg.Go(func() {
			for j := range each {
				want := fmt.Sprint(i, "-", j)
				if r, err := cli.Submit(context.Background(), textSM(want)); err != nil || r.MessageID != want {
					t.Errorf("%s: %v %v", want, r, err)
					return
				}
			}
		})
		wg.Go(func() {
			for range each {
				if err := srv.Deliver(context.Background(), &DeliverSM{}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if err := cli.Unbind(context.Background()); err != nil {
		t.Error(err)
	}
	cli.Wait()
	srv.Wait()
}
