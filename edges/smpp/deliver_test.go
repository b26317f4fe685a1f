package smpp

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/smpp"
	"github.com/postrider/postrider/internal/snapshot"
)

func TestDeliveryAnswers(t *testing.T) {
	tests := []struct {
		status   smpp.Status
		attempts int
		want     message.SMPPDelivered
	}{
		{smpp.StatusOK, 0, message.SMPPDelivered{State: message.NotificationDelivered}},
		{smpp.StatusOK, 9, message.SMPPDelivered{State: message.NotificationDelivered}},
		{smpp.StatusTempAppError, 0, message.SMPPDelivered{State: message.NotificationPending, Again: 5 * time.Second, Status: 0x64}},
		{smpp.StatusSystemError, 1, message.SMPPDelivered{State: message.NotificationPending, Again: 15 * time.Second, Status: 0x08}},
		{smpp.StatusMsgQueueFull, 2, message.SMPPDelivered{State: message.NotificationPending, Again: 45 * time.Second, Status: 0x14}},
		{smpp.StatusThrottled, 3, message.SMPPDelivered{State: message.NotificationPending, Again: 2 * time.Minute, Status: 0x58}},
		{smpp.StatusTempAppError, 4, message.SMPPDelivered{State: message.NotificationPending, Again: 5 * time.Minute, Status: 0x64}},
		{smpp.StatusTempAppError, 5, message.SMPPDelivered{State: message.NotificationPending, Again: 10 * time.Minute, Status: 0x64}},
		{smpp.StatusTempAppError, 200, message.SMPPDelivered{State: message.NotificationPending, Again: 10 * time.Minute, Status: 0x64}},
		{smpp.StatusPermAppError, 0, message.SMPPDelivered{State: message.NotificationFailed, Status: 0x65}},
		{smpp.StatusRejectAppError, 0, message.SMPPDelivered{State: message.NotificationFailed, Status: 0x66}},
		{smpp.StatusInvDest, 0, message.SMPPDelivered{State: message.NotificationFailed, Status: 0x0B}},
		{smpp.StatusUnknownError, 0, message.SMPPDelivered{State: message.NotificationFailed, Status: 0xFF}},
		{0x400, 0, message.SMPPDelivered{State: message.NotificationFailed, Status: 0x400}},
		{deliverNack | smpp.StatusInvCmdID, 0, message.SMPPDelivered{State: message.NotificationFailed, Status: 3, Error: "generic_nack"}},
		{deliverNack | smpp.StatusTempAppError, 0, message.SMPPDelivered{State: message.NotificationFailed, Status: 0x64, Error: "generic_nack"}},
		{deliverNack | smpp.StatusOK, 0, message.SMPPDelivered{State: message.NotificationFailed, Error: "generic_nack"}},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%v after %d", tt.status, tt.attempts), func(t *testing.T) {
			s := deliverPlay(t, nil)
			c := s.credential(nil)
			s.bind(c, deliverBind{answer: func(int, *smpp.DeliverSM) (smpp.Status, bool) { return tt.status, true }})
			d := deliverReceipt(c)
			d.Attempts = tt.attempts
			got := s.journal.tried(s.owe(d)[0], 1)[0]
			tt.want.ID, tt.want.MessageID, tt.want.Kind, tt.want.Number = d.ID, d.Message.ID, d.Kind, tt.attempts+1
			if got != tt.want {
				t.Errorf("recorded %+v\nwant     %+v", got, tt.want)
			}
			s.end() // Metrics are told after the record
			if n := s.counted("receipt " + string(tt.want.State)); n != 1 {
				t.Errorf("counted %d times", n)
			}
		})
	}
}

// Every status has one meaning: taken, later, or never.
func TestDeliveryVerdicts(t *testing.T) {
	later := []smpp.Status{0x08, 0x14, 0x58, 0x64}
	d := &delivery{sent: 1}
	for st := smpp.Status(1); st <= 0x4FF; st++ {
		v := judge(d, &smpp.StatusError{ID: smpp.IDDeliverSM, Status: st})
		if again := v.again > 0; again != slices.Contains(later, st) || v.failed == again || v.release || v.status != st || v.why != "" {
			t.Errorf("%v: %+v", st, v)
		}
	}
}

func TestDeliverySilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := deliverPlay(t, deliverPipes)
		c := s.credential(nil)
		p := s.bind(c, deliverBind{window: 1, answer: func(n int, _ *smpp.DeliverSM) (smpp.Status, bool) { return 0, n > 2 }})
		r := s.owe(deliverReceipt(c))[0]
		start := time.Now()
		s.journal.tried(r, 1)
		if took := time.Since(start); took > 30*time.Second+claimPace || took < 30*time.Second {
			t.Errorf("recorded after %v", took)
		}
		got := s.journal.tried(r, 3)
		for i, want := range []message.SMPPDelivered{
			{State: message.NotificationPending, Again: 5 * time.Second, Error: "no answer in time"},
			{State: message.NotificationPending, Again: 15 * time.Second, Error: "no answer in time"},
			{State: message.NotificationDelivered},
		} {
			want.ID, want.MessageID, want.Kind, want.Number = r.ID, r.Message.ID, r.Kind, i+1
			if got[i] != want {
				t.Errorf("recorded %+v\nwant     %+v", got[i], want)
			}
		}
		for i, m := range p.received() {
			if string(m.ShortMessage) != string(p.received()[0].ShortMessage) {
				t.Errorf("try %d says %q", i+1, m.ShortMessage)
			}
		}
	})
}

// A lost link says something against the delivery, an unbind does not.
func TestDeliveryLinkEnds(t *testing.T) {
	tests := []struct {
		name  string
		end   func(*deliverPeer)
		again time.Duration
	}{
		{"lost", func(p *deliverPeer) { _ = p.esme.Conn().Close() }, 2 * time.Minute},
		{"unbound by the peer", func(p *deliverPeer) {
			// At once, where Session.Unbind would answer first.
			_, _ = p.esme.Begin(context.Background(), &smpp.Unbind{}, func(smpp.Packet, error) {})
		}, 5 * time.Second},
		{"closed by us", func(p *deliverPeer) { p.bound.session.Close() }, 5 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := deliverPlay(t, deliverPipes)
				c := s.credential(nil)
				p := s.bind(c, deliverBind{answer: deliverHold})
				d := deliverReceipt(c)
				d.Attempts = 3
				r := s.owe(d)[0]
				<-p.held
				go tt.end(p)
				got := s.journal.tried(r, 1)[0]
				want := message.SMPPDelivered{
					ID: d.ID, MessageID: d.Message.ID, Kind: d.Kind, Number: 4,
					State: message.NotificationPending, Again: tt.again, Error: "the session ended before the answer",
				}
				if got != want {
					t.Errorf("recorded %+v\nwant     %+v", got, want)
				}
			})
		})
	}
}

func TestDeliveriesAreShared(t *testing.T) {
	s := deliverPlay(t, nil)
	c := s.credential(nil)
	var peers []*deliverPeer
	for range 3 {
		peers = append(peers, s.bind(c, deliverBind{window: 4, answer: deliverHold}))
	}
	s.bind(c, deliverBind{mode: smpp.ModeTransmitter, answer: deliverTake}) // is given nothing
	rows := s.owe(deliverReceipts(c, 30)...)
	for range 10 {
		for _, p := range peers {
			p.take(smpp.StatusOK)
		}
	}
	s.journal.done()
	for i, p := range peers {
		if n := len(p.received()); n != 10 {
			t.Errorf("peer %d got %d of %d", i, n, len(rows))
		}
		if p.peak() > 4 {
			t.Errorf("peer %d had %d unanswered in a window of 4", i, p.peak())
		}
	}
}

// One after the other they go round, although every session is equally idle.
func TestDeliveriesGoRound(t *testing.T) {
	s := deliverPlay(t, nil)
	c := s.credential(nil)
	var peers []*deliverPeer
	for range 3 {
		peers = append(peers, s.bind(c, deliverBind{answer: deliverTake}))
	}
	for range 6 {
		s.journal.tried(s.owe(deliverReceipt(c))[0], 1)
	}
	for i, p := range peers {
		if n := len(p.received()); n != 2 {
			t.Errorf("peer %d got %d of 6", i, n)
		}
	}
}

// The session with the least to answer is given the next, whoever's turn it is.
func TestLeastInFlightIsNext(t *testing.T) {
	s := deliverPlay(t, nil)
	c := s.credential(nil)
	slow := s.bind(c, deliverBind{answer: deliverHold})
	s.owe(deliverReceipt(c))
	held := <-slow.held
	quick := s.bind(c, deliverBind{answer: deliverTake})
	for range 8 {
		r := s.owe(deliverReceipt(c))[0]
		s.journal.await(func() bool { return len(r.tries) > 0 || len(slow.held) > 0 })
	}
	if a, b := len(slow.received()), len(quick.received()); a != 1 || b != 8 {
		t.Errorf("the slow one got %d, the quick one %d", a, b)
	}
	slow.answer(held, smpp.StatusOK)
}

func TestWindowIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := deliverPlay(t, deliverPipes)
		c := s.credential(nil)
		p := s.bind(c, deliverBind{window: 5, answer: deliverHold})
		s.owe(deliverReceipts(c, 40)...)
		<-time.After(time.Second) // of the bubble's clock, here and below
		if n := len(p.received()); n != 5 {
			t.Fatalf("%d sent into a window of 5", n)
		}
		before := len(s.journal.claimCalls())
		<-time.After(10 * time.Second)
		for _, call := range s.journal.claimCalls()[before:] {
			if len(call.wanted) > 0 {
				t.Errorf("a claim of %v while the window was full", call.wanted)
			}
		}
		<-time.After(100 * time.Millisecond) // between two claims
		before = len(s.journal.claimCalls())
		start := time.Now()
		p.take(smpp.StatusOK)
		p.take(smpp.StatusOK)
		s.journal.await(func() bool { return len(s.journal.calls) > before })
		if took := time.Since(start); took > claimPace {
			t.Errorf("claimed %v after a place was free", took)
		}
		if got := s.journal.claimCalls()[before].wanted[c.ID]; got < 1 || got > 2 {
			t.Errorf("claim of %d for 2 places", got)
		}
		for range 38 {
			p.take(smpp.StatusOK)
		}
		s.journal.done()
		if p.peak() != 5 {
			t.Errorf("%d unanswered in a window of 5", p.peak())
		}
	})
}

// A place that another request holds is not ours to give.
func TestWindowOfOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := deliverPlay(t, deliverPipes)
		c := s.credential(nil)
		p := s.bind(c, deliverBind{window: 1, answer: deliverHold})
		synctest.Wait()
		other, err := p.bound.session.Begin(context.Background(), &smpp.DeliverSM{}, func(smpp.Packet, error) {})
		if err != nil || !other.Pending() {
			t.Fatal("no place", err)
		}
		r := s.owe(deliverReceipt(c))[0]
		<-time.After(time.Second)
		if r.claims != 0 {
			t.Errorf("claimed %d times for a full window", r.claims)
		}
		p.take(smpp.StatusOK)
		p.take(smpp.StatusOK)
		s.journal.done()
	})
}

// A peer that never answers, and one that never reads, fill their windows and
// hold up nobody: not other customers, not other sessions of their own.
func TestSilentPeerHoldsUpNobody(t *testing.T) {
	s := deliverPlay(t, nil)
	mute, fine := s.credential(nil), s.credential(nil)
	silent := s.bind(mute, deliverBind{window: 3, answer: deliverHold})
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	s.bind(mute, deliverBind{window: 2, handler: smpp.HandlerFunc(func(*smpp.Request) { <-release })})
	talks := s.bind(mute, deliverBind{window: 2, answer: deliverTake})
	other := s.bind(fine, deliverBind{answer: deliverTake})
	s.owe(deliverReceipts(mute, 100)...)
	s.owe(deliverReceipts(fine, 200)...)
	s.journal.await(func() bool {
		open := 0
		for _, r := range s.journal.rows {
			if r.state == message.NotificationPending {
				open++
			}
		}
		return open == 3+2
	})
	if n := len(other.received()); n != 200 {
		t.Errorf("the other customer got %d", n)
	}
	if n := len(talks.received()); n != 95 {
		t.Errorf("the session that answers got %d", n)
	}
	if n := len(silent.received()); n != 3 {
		t.Errorf("the silent session got %d", n)
	}
}

// At the end of a session what has left it may have arrived, and what has not
// is as if never claimed.
func TestDetachInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := deliverPlay(t, deliverPipes)
		c := s.credential(nil)
		release := make(chan struct{})
		// The peer reads one and then no more: on a pipe the next stands before
		// it, and the rest waits in the session.
		p := s.bind(c, deliverBind{handler: smpp.HandlerFunc(func(*smpp.Request) { <-release })})
		var rows []*deliverRow
		for _, n := range []int{1, 1, 3} {
			rows = append(rows, s.owe(deliverReceipts(c, n)...)...)
			<-time.After(time.Second)
		}
		s.server.deliverer.detach(p.bound) // the peer is still there
		s.journal.await(func() bool { return rows[2].given+rows[3].given+rows[4].given == 3 })
		for i, r := range rows {
			if len(r.tries) != 0 || (r.given > 0) != (i >= 2) {
				t.Errorf("row %d: %d tries, released %d times before the end", i, len(r.tries), r.given)
			}
		}
		p.bound.session.Close()
		if got := s.journal.tried(rows[0], 1)[0]; got.State != message.NotificationPending || got.Again != 5*time.Second {
			t.Errorf("recorded %+v", got)
		}
		s.journal.await(func() bool { return rows[1].given == 1 }) // not an octet of it was taken
		close(release)
		<-time.After(time.Minute)
		for i, r := range rows {
			if r.claims != 1 {
				t.Errorf("row %d was claimed %d times though nobody is bound", i, r.claims)
			}
		}
	})
}

// While a session drains, its answers count.
func TestAnswerAfterDetach(t *testing.T) {
	s := deliverPlay(t, nil)
	c := s.credential(nil)
	p := s.bind(c, deliverBind{answer: deliverHold})
	rows := s.owe(deliverReceipts(c, 2)...)
	first, second := <-p.held, <-p.held // in the order of the rows
	s.server.deliverer.detach(p.bound)
	p.answer(second, smpp.StatusPermAppError)
	p.answer(first, smpp.StatusOK)
	s.journal.done()
	for i, want := range []message.NotificationState{message.NotificationDelivered, message.NotificationFailed} {
		if got := s.journal.tried(rows[i], 1)[0]; got.State != want {
			t.Errorf("row %d: recorded %+v", i, got)
		}
	}
}

func TestPokeAndIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := deliverPlay(t, deliverPipes)
		s.server.Poke()
		c := s.credential(nil)
		p := s.bind(c, deliverBind{answer: deliverTake})
		<-time.After(time.Minute)
		before := len(s.journal.claimCalls())
		<-time.After(time.Second)
		if n := len(s.journal.claimCalls()) - before; n < 3 || n > 5 {
			t.Errorf("%d claims in an idle second", n)
		}
		<-time.After(50 * time.Millisecond) // between two claims
		start := time.Now()
		r := s.owe(deliverReceipt(c))[0]
		s.journal.tried(r, 1)
		if took := time.Since(start); took != 0 {
			t.Errorf("delivered %v after the poke", took)
		}
		other := s.credential(nil)
		late := s.journal.add(deliverReceipt(other))[0]
		<-time.After(2 * claimIdle)
		before = len(s.journal.claimCalls())
		s.journal.await(func() bool { return len(s.journal.calls) > before })
		<-time.After(50 * time.Millisecond)
		start = time.Now()
		s.bind(other, deliverBind{answer: deliverTake})
		s.journal.tried(late, 1)
		if took := time.Since(start); took != 0 {
			t.Errorf("delivered %v after the bind", took)
		}
		before = len(s.journal.claimCalls())
		for range 1000 {
			s.server.Poke()
			<-time.After(time.Millisecond)
		}
		if n := len(s.journal.claimCalls()) - before; n < 40 || n > 51 {
			t.Errorf("%d claims in a second of pokes", n)
		}
		if n := len(p.received()); n != 1 {
			t.Errorf("delivered %d times", n)
		}
		start = time.Now()
		rows := s.journal.add(deliverReceipts(c, 100)...)
		s.journal.done()
		if took := time.Since(start); took > claimIdle+10*claimPace || len(rows) != 100 {
			t.Errorf("100 in a window of 10 took %v", took)
		}
	})
}

// Nothing is claimed for a credential that is gone or disabled, and no more
// than a statement can carry for all of them.
func TestClaimsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := deliverPlay(t, deliverPipes)
		off := s.credential(func(c *snapshot.SMPPCredential) { c.Enabled = false })
		s.bind(off, deliverBind{answer: deliverTake})
		left := s.owe(deliverReceipt(off))[0]
		for range 3 {
			c := s.credential(func(c *snapshot.SMPPCredential) { c.Window = 600 })
			s.bind(c, deliverBind{answer: deliverTake})
			s.owe(deliverReceipts(c, 700)...)
		}
		s.journal.await(func() bool {
			return !slices.ContainsFunc(s.journal.rows, func(r *deliverRow) bool {
				return r != left && r.state == message.NotificationPending
			})
		})
		for _, call := range s.journal.claimCalls() {
			sum := 0
			for id, n := range call.wanted {
				sum += n
				if id == off.ID {
					t.Error("claimed for a disabled credential")
				}
			}
			if sum > 1000 {
				t.Errorf("a claim of %d", sum)
			}
		}
		off.Enabled = true
		s.publish(off)
		s.journal.done()
	})
}

// What one claim could not ask for is claimed next.
func TestLargeWindowsFill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := deliverPlay(t, deliverPipes)
		for range 3 {
			c := s.credential(func(c *snapshot.SMPPCredential) { c.Window = 600 })
			s.journal.add(deliverReceipts(c, 600)...)
			s.bind(c, deliverBind{answer: deliverHold})
		}
		start := time.Now()
		s.journal.await(func() bool {
			return !slices.ContainsFunc(s.journal.rows, func(r *deliverRow) bool { return r.claims == 0 })
		})
		if took := time.Since(start); took > 3*claimPace {
			t.Errorf("1800 claimed in %v", took)
		}
	})
}

// A notice and its receipt, and the messages of a conversation, go one after
// the other even if the journal hands them out together.
func TestDeliveriesKeepTheirOrder(t *testing.T) {
	s := deliverPlay(t, nil)
	s.journal.edit(func(j *deliverJournal) { j.unordered = true })
	c := s.credential(nil)
	held := s.bind(c, deliverBind{answer: deliverHold})
	receipt := deliverReceipt(c)
	notice := receipt
	notice.ID, notice.Kind, notice.Status = message.NewID(), message.DeliverNotice, message.StatusSent
	rows := s.owe(notice, receipt, deliverInbound(c, "+13105550117", "one"), deliverInbound(c, "+13105550117", "two"), deliverInbound(c, "+13105550118", "else"))
	var open []*smpp.Request
	for range 3 {
		open = append(open, <-held.held)
	}
	for _, r := range open {
		switch m := deliverOf(r); {
		case m.ESMClass == smpp.ESMIntermediate, string(m.ShortMessage) == "one", string(m.ShortMessage) == "else":
		default:
			t.Errorf("first came esm_class %02x %q", m.ESMClass, m.ShortMessage)
		}
	}
	for _, r := range open {
		held.answer(r, smpp.StatusPermAppError) // for good: what follows goes
	}
	held.take(smpp.StatusOK)
	held.take(smpp.StatusOK)
	s.journal.done()
	for i, r := range rows {
		if got := s.journal.tried(r, 1); len(got) != 1 || (got[0].State == message.NotificationDelivered) != (i == 1 || i == 3) || r.given != 0 {
			t.Errorf("row %d: %+v, released %d times", i, got, r.given)
		}
	}
	if live, orders, waiting := s.underWay(); live+orders+waiting > 0 {
		t.Errorf("still %d live, %d orders, %d waiting", live, orders, waiting)
	}
}

// What waits for another delivery counts as in the window: memory is bounded by
// it.
func TestWaitingTakesRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := deliverPlay(t, deliverPipes)
		s.journal.edit(func(j *deliverJournal) { j.unordered = true })
		c := s.credential(nil)
		p := s.bind(c, deliverBind{window: 4, answer: deliverHold})
		var all []message.SMPPDelivery
		for i := range 40 {
			all = append(all, deliverInbound(c, "+13105550117", fmt.Sprint(i)))
		}
		rows := s.owe(all...)
		<-time.After(5 * time.Second)
		n := 0
		for _, r := range rows {
			n += r.claims
		}
		if n != 4 || len(p.received()) != 1 {
			t.Errorf("%d claimed for a window of 4, %d sent", n, len(p.received()))
		}
		for i := range rows {
			if m := p.take(smpp.StatusOK); string(m.ShortMessage) != fmt.Sprint(i) {
				t.Fatalf("message %q came as number %d", m.ShortMessage, i)
			}
		}
		s.journal.done()
	})
}

// What follows a delivery that goes again does not overtake it.
func TestFollowersOfARetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := deliverPlay(t, deliverPipes)
		s.journal.edit(func(j *deliverJournal) { j.unordered = true })
		c := s.credential(nil)
		var rows []*deliverRow
		p := s.bind(c, deliverBind{answer: func(n int, _ *smpp.DeliverSM) (smpp.Status, bool) {
			if n == 1 {
				s.journal.edit(func(j *deliverJournal) { j.unordered = false })
				return smpp.StatusTempAppError, true
			}
			return smpp.StatusOK, true
		}})
		rows = s.owe(deliverInbound(c, "+13105550117", "one"), deliverInbound(c, "+13105550117", "two"), deliverInbound(c, "+13105550117", "three"))
		s.journal.done()
		var said []string
		for _, m := range p.received() {
			said = append(said, string(m.ShortMessage))
		}
		if want := []string{"one", "one", "two", "three"}; !slices.Equal(said, want) {
			t.Errorf("came %q", said)
		}
		for i, r := range rows {
			if (r.given == 1) != (i > 0) {
				t.Errorf("row %d released %d times", i, r.given)
			}
		}
		if live, orders, waiting := s.underWay(); live+orders+waiting > 0 {
			t.Errorf("still %d live, %d orders, %d waiting", live, orders, waiting)
		}
	})
}

// What cannot be written is failed, and does not come back every 20 ms.
func TestUnwritableDelivery(t *testing.T) {
	s := deliverPlay(t, nil)
	c := s.credential(nil)
	p := s.bind(c, deliverBind{answer: deliverTake})
	long, gone, odd := deliverReceipt(c), deliverInbound(c, "+13105550117", ""), deliverReceipt(c)
	long.Origin.AnswerID = strings.Repeat("7", 300)
	gone.Message.Redacted = true
	odd.Kind = "fax"
	rows := s.owe(long, gone, odd, deliverReceipt(c))
	s.journal.done()
	for i, why := range []string{"smpp: field short_message: longer than 254 octets", "the text is no longer kept", "the deliver_sm cannot be written", ""} {
		got := s.journal.tried(rows[i], 1)
		if len(got) != 1 || got[0].Error != why || (got[0].State == message.NotificationFailed) != (why != "") {
			t.Errorf("row %d: %+v", i, got)
		}
	}
	if n := len(p.received()); n != 1 {
		t.Errorf("%d were written", n)
	}
}
