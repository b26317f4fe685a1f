package smpp

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

func TestServerAnswersWhateverTheSplit(t *testing.T) {
	var stream []byte
	for i, body := range []PDU{
		&Bind{Mode: ModeTransceiver, SystemID: "acme", InterfaceVersion: Version34},
		textSM("Hi @"), &EnquireLink{}, &Unbind{},
	} {
		var err error
		if stream, err = Append(stream, StatusOK, uint32(i+1), body); err != nil {
			t.Fatal(err)
		}
	}
	for cut := range stream {
		a, b := net.Pipe()
		serve(t, a, ServerConfig{Config: Config{Handler: answerAll}})
		p := newPeer(t, b)
		go func() {
			_, _ = b.Write(stream[:cut])
			_, _ = b.Write(stream[cut:])
		}()
		// Responses to requests that are answered at once come in order; only
		// unbind_resp waits for the others.
		p.want(IDBindTransceiverResp, StatusOK, 1)
		if id := p.want(IDSubmitSMResp, StatusOK, 2).Body.(*SubmitSMResp).MessageID; id != "Hi @" {
			t.Fatalf("cut %d: id %q", cut, id)
		}
		p.want(IDEnquireLinkResp, StatusOK, 3)
		p.want(IDUnbindResp, StatusOK, 4)
		p.wantEOF()
	}
}

func TestServerRefusesBadLengths(t *testing.T) {
	for _, tt := range []struct {
		name  string
		octet string
		bound bool
		seq   uint32
	}{
		{"0", "00000000", false, 0},
		{"15", "0000000f 00000004 00000000 00000007", false, 0},
		{"513 before bind", "00000201 00000009 00000000 00000007", false, 7},
		{"65553", "00010011 00000004 00000000 00000007", true, 7},
		{"negative", "ffffffff 00000004 00000000 00000007", true, 7},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, b := tcpPair(t)
			s := serve(t, a, ServerConfig{})
			p := newPeer(t, b)
			if tt.bound {
				p.bind(ModeTransmitter)
			}
			p.write(unhex(t, tt.octet))
			p.want(IDGenericNack, StatusInvCmdLen, tt.seq)
			p.wantEOF()
			_ = b.Close()
			<-s.Done()
			if !errors.Is(s.Err(), ErrFraming) {
				t.Errorf("ended with %v", s.Err())
			}
		})
	}
}

func TestServerStaysInStep(t *testing.T) {
	a, b := tcpPair(t)
	serve(t, a, ServerConfig{Config: Config{Handler: answerAll}})
	p := newPeer(t, b)
	p.send(StatusOK, 5, &EnquireLink{}) // answered before the bind as well
	p.want(IDEnquireLinkResp, StatusOK, 5)
	p.bind(ModeTransceiver)
	p.write(frame(0x77, 0, 6, []byte("whatever")))
	p.want(IDGenericNack, StatusInvCmdID, 6)
	p.write(frame(IDSubmitSM, 0, 7, []byte{0}))
	p.want(IDSubmitSMResp, StatusInvMsgLen, 7)
	p.write(frame(IDQuerySM, 0, 8, make([]byte, 8)))
	p.want(IDQuerySMResp, StatusOK, 8)
	p.send(StatusOK, 9, &AlertNotification{})
	p.write(frame(IDSubmitSMResp, 0, 99, []byte("id\x00"))) // answers nothing
	p.send(StatusOK, 10, textSM("x"))
	p.want(IDSubmitSMResp, StatusOK, 10)
}

func TestServerStates(t *testing.T) {
	m := textSM("x").Message
	for _, tt := range []struct {
		name string
		mode Mode
		send PDU
		resp CommandID
		want Status
	}{
		{"submit while open", ModeNone, &SubmitSM{m}, IDSubmitSMResp, StatusInvBindState},
		{"submit as receiver", ModeReceiver, &SubmitSM{m}, IDSubmitSMResp, StatusInvBindState},
		{"query as receiver", ModeReceiver, &QuerySM{}, IDQuerySMResp, StatusInvBindState},
		{"data_sm as receiver", ModeReceiver, &DataSM{}, IDDataSMResp, StatusInvBindState},
		{"deliver_sm by an ESME", ModeTransceiver, &DeliverSM{m}, IDDeliverSMResp, StatusInvBindState},
		{"second bind", ModeTransmitter, &Bind{Mode: ModeReceiver}, IDBindReceiverResp, StatusAlreadyBound},
		{"submit as transmitter", ModeTransmitter, &SubmitSM{m}, IDSubmitSMResp, StatusOK},
		{"submit as transceiver", ModeTransceiver, &SubmitSM{m}, IDSubmitSMResp, StatusOK},
		{"data_sm as transceiver", ModeTransceiver, &DataSM{}, IDDataSMResp, StatusOK},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, b := tcpPair(t)
			serve(t, a, ServerConfig{Config: Config{Handler: answerAll}})
			p := newPeer(t, b)
			if tt.mode != ModeNone {
				p.bind(tt.mode)
			}
			p.send(StatusOK, 9, tt.send)
			p.want(tt.resp, tt.want, 9)
			p.send(StatusOK, 10, &EnquireLink{})
			p.want(IDEnquireLinkResp, StatusOK, 10)
		})
	}
}

func TestVendorBindMayDeliver(t *testing.T) {
	a, b := tcpPair(t)
	serve(t, a, ServerConfig{Config: Config{Handler: answerAll},
		Bind: func(context.Context, *Session, *Bind) Decision { return Decision{AllowDeliver: true} }})
	p := newPeer(t, b)
	p.bind(ModeTransceiver)
	p.send(StatusOK, 2, &DeliverSM{textSM("x").Message})
	p.want(IDDeliverSMResp, StatusOK, 2)
}

func TestBindRefused(t *testing.T) {
	for _, tt := range []struct {
		mode Mode
		want string
	}{
		{ModeTransceiver, "00000011 80000009 0000000e 00000001 00"},
		{ModeTransmitter, "00000010 80000002 0000000e 00000001"},
	} {
		a, b := tcpPair(t)
		s := serve(t, a, ServerConfig{Bind: func(context.Context, *Session, *Bind) Decision { return Decision{Status: StatusInvPassword} }})
		p := newPeer(t, b)
		p.send(StatusOK, 1, &Bind{Mode: tt.mode, SystemID: "acme"})
		if got := p.read().Raw; string(got) != string(unhex(t, tt.want)) {
			t.Errorf("%v: answered %x", tt.mode, got)
		}
		p.wantEOF()
		_ = b.Close()
		<-s.Done()
		var refused *BindError
		if !errors.As(s.Err(), &refused) || !refused.Credentials() {
			t.Errorf("ended with %v", s.Err())
		}
	}
}

func TestBindUnreadable(t *testing.T) {
	a, b := tcpPair(t)
	serve(t, a, ServerConfig{})
	p := newPeer(t, b)
	p.write(frame(IDBindTransceiver, 0, 3, []byte("acme"))) // ends too early
	p.want(IDBindTransceiverResp, StatusInvMsgLen, 3)
	p.wantEOF()
}

func TestOldPeerGetsNoTLV(t *testing.T) {
	a, b := tcpPair(t)
	s := serve(t, a, ServerConfig{})
	p := newPeer(t, b)
	p.send(StatusOK, 1, &Bind{Mode: ModeReceiver, SystemID: "acme", InterfaceVersion: 0x33})
	if r := p.want(IDBindReceiverResp, StatusOK, 1).Body.(*BindResp); len(r.TLVs) != 0 || r.SystemID != "gw" {
		t.Errorf("answered %+v", r)
	}
	if s.PeerVersion() != 0x33 || s.PeerID() != "acme" || s.Mode() != ModeReceiver || s.State() != StateBoundRX {
		t.Error("session does not know its peer")
	}
}

// The bound callback may deliver at once; the bind_resp is first all the same.
func TestBoundDeliversAfterBindResp(t *testing.T) {
	a, b := tcpPair(t)
	s := serve(t, a, ServerConfig{Bound: func(s *Session) {
		_ = s.Start(context.Background(), &DeliverSM{textSM("mo").Message}, func(Packet, error) {})
	}})
	p := newPeer(t, b)
	p.bind(ModeReceiver)
	p.want(IDDeliverSM, StatusOK, 1)
	if s.InFlight() != 1 {
		t.Errorf("in flight %d", s.InFlight())
	}
}

func TestInboundLimitStopsReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		got := make(chan *Request, 10)
		serve(t, a, ServerConfig{
			Config: Config{Handler: HandlerFunc(func(r *Request) { got <- r })},
			Bind:   func(context.Context, *Session, *Bind) Decision { return Decision{Inbound: 2} },
		})
		p := newPeer(t, b)
		p.bind(ModeTransmitter)
		go func() {
			for i := range 5 {
				b, _ := Append(nil, StatusOK, uint32(i+2), textSM("x"))
				_, _ = p.c.Write(b)
			}
		}()
		synctest.Wait()
		if len(got) != 2 {
			t.Fatalf("%d requests were handed out", len(got))
		}
		first, second := <-got, <-got
		_ = second.Respond(StatusOK, &SubmitSMResp{MessageID: "2"}) // out of order
		p.want(IDSubmitSMResp, StatusOK, 3)
		synctest.Wait()
		if len(got) != 1 {
			t.Fatalf("%d requests were handed out for one answer", len(got))
		}
		third := <-got
		_ = first.Respond(StatusOK, nil)
		p.want(IDSubmitSMResp, StatusOK, 2)
		_ = third.Respond(StatusThrottled, nil)
		p.want(IDSubmitSMResp, StatusThrottled, 4)
		if err := third.Respond(StatusOK, nil); !errors.Is(err, ErrAnswered) {
			t.Errorf("second answer: %v", err)
		}
		if err := third.Ignore(); !errors.Is(err, ErrAnswered) {
			t.Errorf("ignored after the answer: %v", err)
		}
		if err := (<-got).Ignore(); err != nil {
			t.Error(err)
		}
		_ = (<-got).Respond(StatusOK, nil)
		p.want(IDSubmitSMResp, StatusOK, 6)
	})
}

// A reader that is held by its handlers does not see enquire_link_resp: that is
// no reason to end the session.
func TestHeldReaderIsNoDeadPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		got := make(chan *Request, 10)
		s := serve(t, a, ServerConfig{Config: Config{Inbound: 1, Handler: HandlerFunc(func(r *Request) { got <- r })}})
		p := newPeer(t, b)
		p.bind(ModeTransmitter)
		p.send(StatusOK, 2, textSM("x"))
		p.send(StatusOK, 3, textSM("y")) // read, and held
		<-time.After(10 * time.Minute)
		if s.Err() != nil {
			t.Fatalf("ended with %v", s.Err())
		}
		_ = (<-got).Respond(StatusOK, nil)
		p.want(IDSubmitSMResp, StatusOK, 2)
		_ = (<-got).Respond(StatusOK, nil)
		p.want(IDSubmitSMResp, StatusOK, 3)
		p.want(IDEnquireLink, StatusOK, 1)
	})
}

func TestUnwritableResponseBecomesSystemError(t *testing.T) {
	a, b := tcpPair(t)
	serve(t, a, ServerConfig{Config: Config{Handler: HandlerFunc(func(r *Request) {
		if err := r.Respond(StatusOK, &SubmitSMResp{MessageID: "a\x00b"}); err == nil {
			t.Error("bad id was written")
		}
	})}})
	p := newPeer(t, b)
	p.bind(ModeTransmitter)
	p.send(StatusOK, 2, textSM("x"))
	p.want(IDSubmitSMResp, StatusSystemError, 2)
}

func TestHandlerPanicEndsOnlyTheSession(t *testing.T) {
	for name, h := range map[string]HandlerFunc{
		"in Handle": func(*Request) { panic("boom") },
		"in Go":     func(r *Request) { r.Go(func() { panic("boom") }) },
	} {
		t.Run(name, func(t *testing.T) {
			a, b := tcpPair(t)
			s := serve(t, a, ServerConfig{Config: Config{Handler: h}})
			p := newPeer(t, b)
			p.bind(ModeTransmitter)
			p.send(StatusOK, 2, textSM("x"))
			s.Wait()
			if !errors.Is(s.Err(), ErrPanic) {
				t.Errorf("ended with %v", s.Err())
			}
		})
	}
}

func TestWaitWaitsForHandlers(t *testing.T) {
	a, b := tcpPair(t)
	release, started, ended := make(chan struct{}), make(chan struct{}), false
	s := serve(t, a, ServerConfig{Config: Config{Handler: HandlerFunc(func(r *Request) {
		r.Go(func() { close(started); <-release; <-r.Context().Done(); ended = true })
	})}})
	p := newPeer(t, b)
	p.bind(ModeTransmitter)
	p.send(StatusOK, 2, textSM("x"))
	<-started
	s.Close()
	<-s.Done()
	close(release)
	s.Wait()
	if !ended {
		t.Error("Wait did not wait")
	}
}

func TestPeerUnbindFinishesOutstanding(t *testing.T) {
	a, b := tcpPair(t)
	held := make(chan *Request, 1)
	s := serve(t, a, ServerConfig{Config: Config{Handler: HandlerFunc(func(r *Request) { held <- r })}})
	p := newPeer(t, b)
	p.bind(ModeTransceiver)
	p.send(StatusOK, 2, textSM("x"))
	r := <-held
	answered := make(chan error, 1)
	if err := s.Start(context.Background(), &DeliverSM{}, func(_ Packet, err error) { answered <- err }); err != nil {
		t.Fatal(err)
	}
	p.want(IDDeliverSM, StatusOK, 1)
	p.send(StatusOK, 3, &Unbind{})
	p.send(StatusOK, 4, &EnquireLink{}) // read after the unbind
	p.want(IDEnquireLinkResp, StatusOK, 4)
	var refused *RequestError
	if err := s.Start(context.Background(), &DeliverSM{}, func(Packet, error) {}); !errors.As(err, &refused) || refused.Written {
		t.Errorf("new request while unbinding: %v", err)
	}
	p.send(StatusOK, 1, &DeliverSMResp{})
	if err := <-answered; err != nil {
		t.Errorf("outstanding request: %v", err)
	}
	_ = r.Respond(StatusOK, nil)
	p.want(IDSubmitSMResp, StatusOK, 2)
	p.want(IDUnbindResp, StatusOK, 3)
	p.wantEOF()
	_ = b.Close()
	<-s.Done()
	if !errors.Is(s.Err(), ErrUnbound) {
		t.Errorf("ended with %v", s.Err())
	}
}

// A peer that keeps its window full is told to come again, so that what was taken
// before can end and the unbind comes.
func TestUnbindOfABusyPeer(t *testing.T) {
	a, b := tcpPair(t)
	held := make(chan *Request, 10)
	s := serve(t, a, ServerConfig{Config: Config{Handler: HandlerFunc(func(r *Request) { held <- r })}})
	p := newPeer(t, b)
	p.bind(ModeTransceiver)
	p.send(StatusOK, 2, textSM("taken"))
	r := <-held
	done := make(chan error, 1)
	go func() { done <- s.Unbind(context.Background()) }()
	<-s.refusing
	for seq := range uint32(20) { // more than the window
		p.send(StatusOK, 3+seq, textSM("later"))
		p.want(IDSubmitSMResp, StatusSystemError, 3+seq)
	}
	p.send(StatusOK, 99, &EnquireLink{})
	p.want(IDEnquireLinkResp, StatusOK, 99)
	if err := r.Respond(StatusOK, &SubmitSMResp{MessageID: "1"}); err != nil {
		t.Error(err)
	}
	p.want(IDSubmitSMResp, StatusOK, 2)
	unbind := p.want(IDUnbind, StatusOK, 1)
	p.send(StatusOK, 100, textSM("crossed"))
	p.send(StatusOK, unbind.Sequence, &UnbindResp{})
	p.want(IDSubmitSMResp, StatusSystemError, 100)
	p.wantEOF()
	_ = b.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if len(held) != 0 {
		t.Errorf("%d requests were taken while unbinding", len(held))
	}
}

func TestSessionInit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := net.Pipe()
		start := time.Now()
		s := serve(t, a, ServerConfig{})
		<-s.Done()
		if !errors.Is(s.Err(), ErrSessionInit) || time.Since(start) != DefaultSessionInit {
			t.Errorf("ended with %v after %v", s.Err(), time.Since(start))
		}
	})
}

func TestSlowBindDecision(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		serve(t, a, ServerConfig{Bind: func(context.Context, *Session, *Bind) Decision {
			<-time.After(time.Minute)
			return Decision{}
		}})
		synctest.Wait()
		newPeer(t, b).bind(ModeReceiver)
	})
}

func TestHalfAPDU(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		s := serve(t, a, ServerConfig{})
		p := newPeer(t, b)
		p.bind(ModeReceiver)
		start := time.Now()
		p.write([]byte{0, 0, 0, 0x10, 0})
		<-s.Done()
		var nerr net.Error
		if !errors.As(s.Err(), &nerr) || !nerr.Timeout() || time.Since(start) != DefaultReadTimeout {
			t.Errorf("ended with %v after %v", s.Err(), time.Since(start))
		}
	})
}

func TestEnquireLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		s := serve(t, a, ServerConfig{})
		p := newPeer(t, b)
		p.bind(ModeReceiver)
		start := time.Now()
		p.want(IDEnquireLink, StatusOK, 1)
		p.send(StatusOK, 1, &EnquireLinkResp{})
		p.want(IDEnquireLink, StatusOK, 2)
		if time.Since(start) != 2*DefaultEnquireLink {
			t.Errorf("second enquire_link after %v", time.Since(start))
		}
		<-s.Done()
		if !errors.Is(s.Err(), ErrEnquireTimeout) || time.Since(start) != 2*DefaultEnquireLink+DefaultEnquireTimeout {
			t.Errorf("ended with %v after %v", s.Err(), time.Since(start))
		}
	})
}

func TestTrafficIsASignOfLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		s := serve(t, a, ServerConfig{Config: Config{Handler: answerAll}})
		p := newPeer(t, b)
		p.bind(ModeTransmitter)
		p.want(IDEnquireLink, StatusOK, 1)
		<-time.After(5 * time.Second)
		p.send(StatusOK, 2, textSM("x"))
		p.want(IDSubmitSMResp, StatusOK, 2)
		p.want(IDEnquireLink, StatusOK, 2)
		if s.Err() != nil {
			t.Error(s.Err())
		}
	})
}

func TestInactivity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		s := serve(t, a, ServerConfig{Config: Config{Inactivity: 100 * time.Second}})
		p := newPeer(t, b)
		p.bind(ModeReceiver)
		start := time.Now()
		for i := uint32(1); ; i++ {
			q := p.read()
			if q.ID == IDUnbind {
				p.send(StatusOK, q.Sequence, &UnbindResp{})
				break
			}
			p.send(StatusOK, q.Sequence, &EnquireLinkResp{})
		}
		<-s.Done()
		if time.Since(start) != 100*time.Second || !errors.Is(s.Err(), ErrUnbound) {
			t.Errorf("ended with %v after %v", s.Err(), time.Since(start))
		}
	})
}

func TestPeerThatDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		s := serve(t, a, ServerConfig{Config: Config{Handler: answerAll}})
		p := newPeer(t, b)
		p.bind(ModeTransmitter)
		link, err := Append(nil, StatusOK, 2, &EnquireLink{})
		if err != nil {
			t.Fatal(err)
		}
		sent := 0
		for { // until the server stops reading, then closes
			if _, err := b.Write(link); err != nil {
				break
			}
			sent++
		}
		<-s.Done()
		if sent > 2*maxResponses+flushSize/HeaderSize+readBuffer/HeaderSize {
			t.Errorf("%d responses were held for a peer that does not read", sent)
		}
	})
}

func TestUnbindDoesNotWaitForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		serve(t, a, ServerConfig{Config: Config{Handler: HandlerFunc(func(*Request) {})}})
		p := newPeer(t, b)
		p.bind(ModeTransmitter)
		p.send(StatusOK, 2, textSM("x"))
		p.send(StatusOK, 3, &Unbind{})
		start := time.Now()
		p.want(IDUnbindResp, StatusOK, 3)
		if time.Since(start) != DefaultUnbindTimeout {
			t.Errorf("unbind_resp after %v", time.Since(start))
		}
	})
}

// A session that has ended must not read the same broken length for ever: its
// frames are still in the buffer when a handler closes it.
func TestBrokenLengthAfterTheEnd(t *testing.T) {
	for _, length := range []string{"0000000f", "ffffffff", "ffffffff 00000015 00000000 00000001"} {
		a, b := tcpPair(t)
		s := serve(t, a, ServerConfig{Config: Config{Handler: HandlerFunc(func(r *Request) {
			r.Session().Close()
			_ = r.Respond(StatusOK, nil)
		})}})
		p := newPeer(t, b)
		p.bind(ModeTransceiver)
		p.write(append(unhex(t, submitVector), unhex(t, length)...))
		s.Wait()
		if err := s.Err(); !errors.Is(err, ErrClosed) {
			t.Errorf("%s: %v", length, err)
		}
	}
}

// What is not on the wire when the peer unbinds stays off it, and its caller
// knows: the peer may be gone before it could answer.
func TestPeerUnbindsWithRequestsQueued(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe() // holds nothing: the writer waits until the peer reads
		s := serve(t, a, ServerConfig{})
		p := newPeer(t, b)
		p.bind(ModeTransceiver)
		m := &DeliverSM{Message{Source: Address{1, 1, "15551230002"}, ShortMessage: []byte("x")}}
		first, second := make(chan error, 1), make(chan error, 1)
		if err := s.Start(context.Background(), m, func(_ Packet, err error) { first <- err }); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // the writer has it
		if err := s.Start(context.Background(), m, func(_ Packet, err error) { second <- err }); err != nil {
			t.Fatal(err)
		}
		p.send(StatusOK, 3, &Unbind{})
		var e *RequestError
		if err := <-second; !errors.As(err, &e) || e.Written || !errors.Is(err, ErrUnbound) {
			t.Errorf("the queued one: %v", err)
		}
		p.send(StatusOK, p.want(IDDeliverSM, StatusOK, 1).Sequence, &DeliverSMResp{})
		if err := <-first; err != nil {
			t.Errorf("the written one: %v", err)
		}
		p.want(IDUnbindResp, StatusOK, 3)
		p.wantEOF()
	})
}
