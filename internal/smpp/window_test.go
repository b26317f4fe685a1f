package smpp

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
)

// begins sends n requests one after the other, and counts those that have a place.
type begins struct {
	s     *Session
	ended chan error
	mu    sync.Mutex
	begun int
}

func (b *begins) start(ctx context.Context, n int) {
	for range n {
		go func() {
			err := b.s.Start(ctx, textSM("x"), func(Packet, error) {})
			b.mu.Lock()
			if err == nil {
				b.begun++
			}
			b.mu.Unlock()
			b.ended <- err
		}()
	}
}

func (b *begins) count() int {
	synctest.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.begun
}

// answer reads n submits and answers them.
func (p *peer) answer(n int) {
	p.t.Helper()
	for range n {
		q := p.read()
		p.send(StatusOK, q.Sequence, &SubmitSMResp{MessageID: "m"})
	}
}

func TestSetWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := esmeOver(t, DialConfig{Config: Config{Window: 2}}, pipePair)
		b := &begins{s: s, ended: make(chan error, 100)}
		b.start(t.Context(), 10)
		if n := b.count(); n != 2 || s.InFlight() != 2 || s.Window() != 2 {
			t.Errorf("%d begun, %d in flight of %d", n, s.InFlight(), s.Window())
		}
		s.SetWindow(5, 0) // more at once
		if n := b.count(); n != 5 || s.InFlight() != 5 || s.Window() != 5 {
			t.Errorf("%d begun, %d in flight of %d", n, s.InFlight(), s.Window())
		}
		s.SetWindow(1, 0) // what is under way goes on, nothing new begins
		p.answer(4)
		if n := b.count(); n != 5 || s.InFlight() != 1 {
			t.Errorf("%d begun, %d in flight", n, s.InFlight())
		}
		p.answer(1)
		if n := b.count(); n != 6 || s.InFlight() != 1 {
			t.Errorf("%d begun, %d in flight", n, s.InFlight())
		}
		s.SetWindow(0, -1) // as it was
		if s.Window() != 1 {
			t.Errorf("window %d", s.Window())
		}
		// Those who wait may leave, and the place goes to the next.
		ctx, cancel := context.WithCancel(t.Context())
		late := &begins{s: s, ended: make(chan error, 1)}
		late.start(ctx, 1)
		synctest.Wait()
		cancel()
		var unsent *RequestError
		if err := <-late.ended; !errors.As(err, &unsent) || unsent.Written || !errors.Is(err, context.Canceled) {
			t.Errorf("left: %v", err)
		}
		for range 4 {
			p.answer(1)
		}
		if n := b.count(); n != 10 {
			t.Errorf("%d begun of 10", n)
		}
		p.answer(1)
		synctest.Wait()
		if s.InFlight() != 0 {
			t.Errorf("%d in flight", s.InFlight())
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.waiters) != 0 {
			t.Errorf("%d wait", len(s.waiters))
		}
	})
}

// Those who wait for a place when the session ends are told.
func TestWaitersAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := esmeOver(t, DialConfig{Config: Config{Window: 1}}, pipePair)
		b := &begins{s: s, ended: make(chan error, 10)}
		b.start(t.Context(), 5)
		if n := b.count(); n != 1 {
			t.Fatalf("%d begun", n)
		}
		s.Close()
		failed := 0
		for range 5 {
			if err := <-b.ended; errors.Is(err, ErrClosed) {
				failed++
			}
		}
		s.SetWindow(10, 10)
		if failed != 4 || b.count() != 1 {
			t.Errorf("%d were told, %d begun", failed, b.begun)
		}
	})
}

// The window of the peer's requests changes while its socket is not read for want of
// room.
func TestSetInboundWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, c := pipePair(t)
		held := make(chan *Request, 100)
		s := serve(t, c, ServerConfig{Config: Config{Inbound: 2, EnquireLink: -1, Handler: HandlerFunc(func(r *Request) { held <- r })}})
		p := newPeer(t, a)
		p.bind(ModeTransceiver)
		go func() {
			for i := range 6 {
				b, err := Append(nil, StatusOK, uint32(10+i), textSM("x"))
				if err != nil {
					t.Error(err)
				}
				_, _ = p.c.Write(b)
			}
		}()
		synctest.Wait()
		if n := len(held); n != 2 {
			t.Errorf("%d read", n)
		}
		s.SetWindow(0, 4)
		synctest.Wait()
		if n := len(held); n != 4 {
			t.Errorf("%d read after the window has grown", n)
		}
		s.SetWindow(0, 1)
		answer := func() {
			r := <-held
			if err := r.Respond(StatusOK, nil); err != nil {
				t.Error(err)
			}
			p.read()
			synctest.Wait()
		}
		for range 3 {
			answer()
		}
		if n := len(held); n != 1 {
			t.Errorf("%d are held after the window has shrunk, want 1", n)
		}
		answer()
		if n := len(held); n != 1 {
			t.Errorf("%d are held, want the next", n)
		}
	})
}

// Who gets a place at the moment at which it leaves gives it back.
func TestPlaceOfOneWhoLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := esmeOver(t, DialConfig{Config: Config{Window: 1}}, pipePair)
		for range 100 {
			if err := s.takePlace(t.Context()); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error)
			go func() { ended <- s.takePlace(ctx) }()
			synctest.Wait()
			s.mu.Lock()
			cancel()
			s.freeLocked()
			s.mu.Unlock()
			if <-ended == nil {
				s.freePlace()
			}
			if n := s.InFlight(); n != 0 {
				t.Fatalf("%d places are taken by nobody", n)
			}
		}
	})
}
