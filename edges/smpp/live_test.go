package smpp

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider/internal/limit"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/smpp"
	"github.com/postrider/postrider/internal/stack/stacktest"
)

// A changed window holds for sessions that are bound, both ways.
func TestChangedWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := serverSetup(t)
		w.cred.Window = 2
		w.publish(2)
		came := serverHeld(w)
		p := w.pipes().dial("192.0.2.1")
		p.bind(bindTRX)
		go func() {
			for seq := 2; seq <= 7; seq++ {
				p.pdu(fmt.Sprintf("00000004 00000000 %08x", seq) + submitHi)
			}
		}()
		synctest.Wait()
		if len(came) != 2 {
			t.Fatalf("%d requests came through a window of 2", len(came))
		}
		session := w.registry.allBound()[0].own.session
		w.cred.Window = 5
		w.publish(3)
		<-time.After(watchEvery)
		synctest.Wait()
		if len(came) != 5 || session.Window() != 5 {
			t.Errorf("%d requests came through a window of 5, ours is %d", len(came), session.Window())
		}
		w.cred.Window = 1
		w.publish(4)
		<-time.After(watchEvery)
		synctest.Wait()
		for seq := 2; seq <= 5; seq++ {
			_ = (<-came).Respond(smpp.StatusOK, &smpp.SubmitSMResp{MessageID: "1"})
			p.want(fmt.Sprintf(`80000004 00000000 %08x "1"00`, seq))
		}
		synctest.Wait()
		if len(came) != 1 || session.Window() != 1 {
			t.Errorf("%d requests are held in a window of 1, ours is %d", len(came), session.Window())
		}
		for seq := 6; seq <= 7; seq++ {
			_ = (<-came).Respond(smpp.StatusOK, &smpp.SubmitSMResp{MessageID: "1"})
			p.want(fmt.Sprintf(`80000004 00000000 %08x "1"00`, seq))
		}
	})
}

// With a lower max_binds the newest go, whichever process they are of; the rest stay.
func TestLoweredMaxBinds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := serverSetup(t)
		var away atomic.Bool
		w.journal.onSurplus = func() error {
			if away.Load() {
				return errors.New("away")
			}
			return nil
		}
		l := w.pipes()
		var peers []*serverPeer
		for i := range 4 {
			p := l.dial(fmt.Sprintf("192.0.2.%d", i+1))
			p.bind(bindTRX)
			peers = append(peers, p)
			<-time.After(10 * time.Millisecond)
		}
		// One that another process has held for longer.
		foreign := message.SMPPBind{ID: message.NewID(), CredentialID: w.cred.ID, Instance: "there", BoundAt: time.Now().Add(-time.Hour)}
		w.journal.mu.Lock()
		w.journal.rows[foreign.ID] = foreign
		w.journal.mu.Unlock()

		away.Store(true)
		w.cred.MaxBinds = 3
		w.publish(2)
		w.events.await("surplus not known", 1)
		away.Store(false) // the next watch asks again
		peers[3].unbound()
		peers[2].unbound()
		w.audited("smpp.unbind known acme 192.0.2.4: more binds than it may have now", 1)
		w.audited("smpp.unbind known acme 192.0.2.3: more binds than it may have now", 1)
		peers[0].alive()
		peers[1].alive()
		asked := w.events.count("surplus beyond 3")
		if asked != 1 {
			t.Errorf("asked %d times", asked)
		}
		// Other changes judge nobody again, and a higher number is no reason to.
		w.cred.MaxBinds = 10
		w.publish(3)
		<-time.After(2 * watchEvery)
		peers[0].alive()
		if n := w.events.count("surplus beyond 3") + w.events.count("surplus beyond 10"); n != asked {
			t.Errorf("asked %d times", n)
		}
		// Lower than it was raised to since.
		w.cred.MaxBinds = 2
		w.publish(4)
		peers[1].unbound()
		peers[0].alive()
		w.journal.mu.Lock()
		defer w.journal.mu.Unlock()
		delete(w.journal.rows, foreign.ID)
	})
}

// A process whose rows others have deleted enters its sessions again. What is just
// being taken out stays out.
func TestBindsAreEnteredAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := serverSetup(t)
		l := w.pipes()
		l.dial("192.0.2.1").bind(bindTRX)
		b := l.dial("192.0.2.1")
		b.bind(bindTX)
		before := w.journal.row()
		w.journal.mu.Lock()
		clear(w.journal.rows)
		w.journal.mu.Unlock()
		w.events.await("alive 2", 1)
		synctest.Wait()
		after := w.journal.row()
		if len(after) != 2 || !w.logged.contains("entered again") {
			t.Fatalf("%d rows after an outage", len(after))
		}
		for _, r := range before {
			if now := w.journal.rows[r.ID]; now != r {
				t.Errorf("%+v, was %+v", now, r)
			}
		}
		out := make(chan struct{})
		hold := make(chan struct{})
		w.journal.mu.Lock()
		clear(w.journal.rows)
		w.journal.mu.Unlock()
		first := true
		w.journal.onUnbind = func(context.Context) error {
			if first {
				first = false
				close(out)
				<-hold
			}
			return nil
		}
		_ = b.Close()
		<-out
		w.events.await("alive 2", 2)
		synctest.Wait()
		if rows := w.journal.row(); len(rows) != 1 || rows[0].Mode != "transceiver" {
			t.Errorf("rows %+v, want that of the live one", rows)
		}
		close(hold)
		w.events.await("alive 1", 1)
	})
}

// What is held is told of every 10 s, and what is beyond a cap ends in batches.
func TestHeldIsWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := serverSetup(t)
		full, other := message.NewID(), message.NewID()
		var pending atomic.Int64
		pending.Store(12_500)
		w.journal.held = func() ([]message.SMPPHeld, error) {
			if pending.Load() == 0 {
				return nil, errors.New("away")
			}
			return []message.SMPPHeld{{AccountID: full, Pending: int(pending.Load()), Cap: 10_000}, {AccountID: other, Pending: 5, Cap: 10}}, nil
		}
		w.journal.endHeld = func(account message.ID, most int) (int, error) {
			if account != full || most > heldBatch {
				t.Errorf("%d of %s are to end", most, account)
			}
			pending.Add(-int64(most))
			w.events.add("ended %d", most)
			return most, nil
		}
		w.Metrics.Held = func(held []message.SMPPHeld) { w.events.add("held %d", len(held)) }
		began := time.Now()
		w.pipes()
		w.events.await("held 2", 1)
		if took := time.Since(began); took != heldEvery {
			t.Errorf("looked after %v", took)
		}
		w.events.await("held 2", 2)
		synctest.Wait()
		if pending.Load() != 10_000 || w.events.count("ended 1000") != 2 || w.events.count("ended 500") != 1 {
			t.Errorf("%d are left: %v", pending.Load(), w.events.with("ended"))
		}
		// An account that grows faster does not keep the others waiting for ever.
		pending.Store(1_000_000)
		w.events.await("held 2", 3)
		synctest.Wait()
		if n := w.events.count("ended 1000") - 2; n != heldBatches {
			t.Errorf("%d batches in one look", n)
		}
		pending.Store(0)
		w.events.await("held 0", 1)
		if !w.logged.contains("not counted") {
			t.Error("what could not be counted was not logged")
		}
	})
}

// Two processes on one Redis admit a credential's rate together, not each; without it
// each admits it, and nobody is held up.
func TestRateOverReplicas(t *testing.T) {
	redis := stacktest.StartRedis(t)
	id := message.NewID()
	process := func() *Server {
		shared := limit.NewShared(limit.SharedConfig{Host: "127.0.0.1", Port: redis.Port, Timeout: time.Minute})
		t.Cleanup(shared.Close)
		for { // until its connections stand
			if _, err := shared.TakeTokens("warm", 1, 1); err == nil {
				return &Server{Rates: shared}
			}
		}
	}
	a, b := process(), process()
	const rate = 10
	now := time.Now() // Redis has its own
	admitted := func(s *Server) int {
		n := 0
		for range 100 {
			if ok, _ := s.take(id, rate, 1, now); ok {
				n++
			}
		}
		return n
	}
	began := time.Now()
	got := admitted(a) + admitted(b)
	if most := rate + int(time.Since(began).Seconds()*rate) + 1; got < rate || got > most {
		t.Errorf("%d admitted by two processes, want %d to %d", got, rate, most)
	}
	redis.Kill()
	if x, y := admitted(a), admitted(b); x != rate || y != rate {
		t.Errorf("%d and %d admitted without Redis, want %d each", x, y, rate)
	}
}
