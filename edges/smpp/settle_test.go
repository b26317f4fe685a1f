package smpp

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/smpp"
	"github.com/postrider/postrider/internal/snapshot"
)

// A session may allow more time for an answer than a claim lasts.
func TestAnswerAfterTheLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := deliverPlay(t, deliverPipes)
		c := s.credential(nil)
		p := s.bind(c, deliverBind{window: 1, answer: deliverHold, config: smpp.Config{ResponseTimeout: time.Hour}})
		rows := s.owe(deliverReceipts(c, 2)...)
		start := time.Now()
		got := s.journal.tried(rows[0], 1)[0]
		if took := time.Since(start); took < 40*time.Second || took >= 45*time.Second {
			t.Errorf("recorded after %v of a lease of 45 s", took)
		}
		if got.State != message.NotificationPending || got.Error != "no answer in time" || got.Again != 5*time.Second {
			t.Errorf("recorded %+v", got)
		}
		<-time.After(time.Minute)
		if n := len(p.received()); n != 1 {
			t.Errorf("%d sent into a window of 1", n)
		}
		p.take(smpp.StatusOK) // late, but it has it: there is no second try
		p.take(smpp.StatusOK)
		s.journal.done()
		s.journal.edit(func(*deliverJournal) {
			if r := rows[0]; len(r.late) != 1 || len(r.tries) != 1 || r.late[0].Number != 1 || r.late[0].Error != "" {
				t.Errorf("late %+v after %+v", r.late, r.tries)
			}
		})
		if n := len(p.received()); n != 2 {
			t.Errorf("%d sent of 2", n)
		}
	})
}

// What a session has not written when its claim runs out was not tried.
func TestUnwrittenAtTheEndOfTheLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := deliverPlay(t, deliverPipes)
		c := s.credential(nil)
		release := make(chan struct{})
		defer close(release)
		s.bind(c, deliverBind{
			config:  smpp.Config{ResponseTimeout: time.Hour, WriteTimeout: time.Hour, EnquireLink: -1},
			handler: smpp.HandlerFunc(func(*smpp.Request) { <-release }),
		})
		var rows []*deliverRow
		for range 3 {
			rows = append(rows, s.owe(deliverReceipt(c))...)
			<-time.After(time.Second)
		}
		for _, r := range rows[:2] {
			if got := s.journal.tried(r, 1)[0]; got.State != message.NotificationPending || got.Error != whySilent {
				t.Errorf("recorded %+v", got)
			}
		}
		s.journal.await(func() bool { return rows[2].given == 1 })
	})
}

// The journal comes back after two minutes: it is asked seldom meanwhile, and
// the log is not flooded.
func TestJournalAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := deliverPlay(t, deliverPipes)
		s.journal.setRefuse(func(string, []message.ID) error { return errDeliverJournal })
		c := s.credential(nil)
		p := s.bind(c, deliverBind{answer: deliverTake})
		r := s.owe(deliverReceipt(c))[0]
		for range 240 {
			s.server.Poke() // does not shorten the pause
			<-time.After(500 * time.Millisecond)
		}
		if n := s.journal.failures(); n < 25 || n > 30 {
			t.Errorf("asked %d times in two minutes", n)
		}
		if n := len(s.log.Lines()); n < 10 || n > 12 {
			t.Errorf("%d lines in two minutes: %q", n, s.log.Lines())
		}
		s.journal.setRefuse(nil)
		s.journal.tried(r, 1)
		if n := len(p.received()); n != 1 {
			t.Errorf("delivered %d times", n)
		}
	})
}

// One delivery that the journal cannot read is no reason to leave the others.
func TestClaimWithOneUnreadable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := deliverPlay(t, deliverPipes)
		c := s.credential(nil)
		bad := deliverReceipt(c)
		s.journal.edit(func(j *deliverJournal) { j.unreadable = bad.ID })
		rows := s.journal.add(bad, deliverReceipt(c), deliverReceipt(c))
		s.bind(c, deliverBind{answer: deliverTake})
		start := time.Now()
		for _, r := range rows[1:] {
			s.journal.tried(r, 1)
		}
		s.journal.tried(s.owe(deliverReceipt(c))[0], 1)
		if took := time.Since(start); took > 5*claimPace {
			t.Errorf("the others took %v", took)
		}
		if lines := s.log.Lines(); len(lines) != 1 || !strings.Contains(lines[0], errDeliverJournal.Error()) {
			t.Errorf("logged %q", lines)
		}
		s.journal.edit(func(j *deliverJournal) { j.unreadable = message.ID{} })
		s.journal.done() // once the claim for nothing has lapsed
	})
}

// The journal ends what has expired in a claim: it is asked although nobody is
// bound, and although every window is full.
func TestExpiryWithoutReceivers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := deliverPlay(t, deliverPipes)
		asked := func() int {
			before := len(s.journal.claimCalls())
			for range 120 {
				s.server.Poke()
				<-time.After(500 * time.Millisecond)
			}
			return len(s.journal.claimCalls()) - before
		}
		if n := asked(); n < 5 || n > 7 {
			t.Errorf("asked %d times in a minute without receivers", n)
		}
		c := s.credential(nil)
		p := s.bind(c, deliverBind{window: 1, answer: deliverHold, config: smpp.Config{ResponseTimeout: time.Hour}})
		s.owe(deliverReceipt(c))
		<-p.held
		if n := asked(); n < 5 || n > 8 {
			t.Errorf("asked %d times in a minute with a full window", n)
		}
	})
}

// What the ESME has taken is kept until it is recorded, even if the claim lapses
// meanwhile: it does not go again.
func TestAnswerNotRecorded(t *testing.T) {
	for _, away := range []time.Duration{30 * time.Second, 50 * time.Second} {
		t.Run(away.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := deliverPlay(t, deliverPipes)
				back := time.Now().Add(away)
				s.journal.setRefuse(func(op string, _ []message.ID) error {
					if op == "delivered" && time.Now().Before(back) {
						return errDeliverJournal
					}
					return nil
				})
				c := s.credential(nil)
				p := s.bind(c, deliverBind{answer: deliverTake})
				r := s.owe(deliverReceipt(c))[0]
				s.journal.done()
				s.journal.edit(func(*deliverJournal) {
					got := append(r.tries, r.late...)
					if len(got) != 1 || got[0].State != message.NotificationDelivered || got[0].Number != 1 {
						t.Errorf("recorded %+v, late %+v", r.tries, r.late)
					}
				})
				if n := s.journal.failures(); n < 8 || n > 18 {
					t.Errorf("asked %d times in %v", n, away)
				}
				if all := p.received(); len(all) != 1 {
					t.Errorf("delivered %d times: %v", len(all), all)
				}
			})
		})
	}
}

// One row that the journal does not take holds up no other.
func TestRecordThatIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := deliverPlay(t, deliverPipes)
		c := s.credential(func(c *snapshot.SMPPCredential) { c.Window = 64 })
		p := s.bind(c, deliverBind{answer: deliverHold})
		rows := s.owe(deliverReceipts(c, 64)...)
		bad := rows[10]
		s.journal.setRefuse(func(_ string, ids []message.ID) error {
			if slices.Contains(ids, bad.ID) {
				return errDeliverJournal
			}
			return nil
		})
		start := time.Now()
		for range rows {
			p.take(smpp.StatusOK)
		}
		for _, r := range rows {
			if r != bad {
				s.journal.tried(r, 1)
			}
		}
		if took := time.Since(start); took > 20*time.Second {
			t.Errorf("the others were recorded after %v", took)
		}
		more := s.owe(deliverReceipt(c))[0]
		p.take(smpp.StatusOK)
		s.journal.tried(more, 1)
		s.journal.setRefuse(nil)
		s.journal.tried(bad, 1)
	})
}

// A row that the journal does not take is claimed anew when its claim has lapsed. Its
// ESME has it, and does not get it again.
func TestRecordThatIsRefusedPastTheLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := deliverPlay(t, deliverPipes)
		c := s.credential(nil)
		p := s.bind(c, deliverBind{answer: deliverTake})
		bad := deliverReceipt(c)
		s.journal.setRefuse(func(op string, ids []message.ID) error {
			if op == "delivered" && slices.Contains(ids, bad.ID) {
				return errDeliverJournal
			}
			return nil
		})
		row := s.owe(bad)[0]
		for range 20 { // others keep the deliverer at work
			s.owe(deliverReceipt(c))
			<-time.After(5 * time.Second)
		}
		s.journal.setRefuse(nil)
		s.journal.done()
		if row.claims < 2 {
			t.Errorf("claimed %d times in 100 s", row.claims)
		}
		if n := len(p.received()); n != 21 {
			t.Errorf("%d sent of 21", n)
		}
	})
}

// Answers that wait for the journal are bounded, however fast they come.
func TestAnswersWaitingAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := deliverPlay(t, deliverPipes)
		s.journal.setRefuse(func(operation string, ids []message.ID) error {
			if operation == "delivered" && len(ids) > 1 {
				return errDeliverJournal
			}
			return nil
		})
		c := s.credential(func(c *snapshot.SMPPCredential) { c.Window = 600 })
		s.bind(c, deliverBind{answer: deliverTake})
		rows := s.owe(deliverReceipts(c, 5000)...)
		<-time.After(30 * time.Second)
		s.journal.mu.Lock()
		held := 0
		for _, r := range rows {
			if r.held(time.Now()) {
				held++
			}
		}
		s.journal.mu.Unlock()
		if held > settleLimit+600 {
			t.Errorf("%d claimed and not settled", held)
		}
		s.journal.setRefuse(nil)
		s.journal.done()
	})
}

// What a slow journal hands out late has too little of its lease left.
func TestSlowClaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := deliverPlay(t, deliverPipes)
		s.journal.edit(func(j *deliverJournal) { j.slow = 11 * time.Second })
		c := s.credential(nil)
		p := s.bind(c, deliverBind{answer: deliverTake})
		r := s.owe(deliverReceipt(c))[0]
		s.journal.await(func() bool { return r.given > 0 })
		if n := len(p.received()); n != 0 {
			t.Errorf("sent %d times", n)
		}
		s.journal.edit(func(j *deliverJournal) { j.slow = 0 })
		s.journal.done()
	})
}

func TestStopWaitsForAnswers(t *testing.T) {
	s := deliverPlay(t, nil)
	c := s.credential(nil)
	p := s.bind(c, deliverBind{window: 2, answer: deliverHold})
	rows := s.owe(deliverReceipts(c, 5)...)
	first, second := <-p.held, <-p.held
	stopped := make(chan struct{})
	go func() { s.server.deliverer.stop(); close(stopped) }()
	p.answer(first, smpp.StatusOK)
	s.journal.await(func() bool { return len(rows[0].tries) == 1 })
	select {
	case <-stopped:
		t.Error("stopped before the answer")
	default:
	}
	p.answer(second, smpp.StatusTempAppError)
	<-stopped
	s.server.deliverer.stop() // again, and from anywhere
	s.server.Poke()
	s.server.deliverer.attach(p.bound)
	s.server.deliverer.detach(p.bound)
	s.journal.mu.Lock()
	defer s.journal.mu.Unlock()
	for i, r := range rows {
		if len(r.tries) != min(1, max(0, 2-i)) || r.held(time.Now()) {
			t.Errorf("row %d: %d tries, held %v", i, len(r.tries), r.held(time.Now()))
		}
	}
}

func TestStop(t *testing.T) {
	type stage struct {
		*deliverStage
		p    *deliverPeer
		rows []*deliverRow
	}
	tests := []struct {
		name   string
		during func(*stage) // while stop runs
		took   [2]time.Duration
		check  func(*testing.T, *stage)
	}{
		{"sessions end", func(s *stage) { s.p.bound.session.Close() }, [2]time.Duration{0, 50 * time.Millisecond}, func(t *testing.T, s *stage) {
			if r := s.rows[0]; len(r.tries) != 1 || r.tries[0].Again != 5*time.Second || r.tries[0].Error != whyEnded {
				t.Errorf("recorded %+v", r.tries)
			}
			if r := s.rows[1]; r.given != 1 { // not an octet of it was taken
				t.Errorf("recorded %+v, released %d times", r.tries, r.given)
			}
		}},
		{"a polite unbind with a silent peer", func(s *stage) { _ = s.p.bound.session.Unbind(context.Background()) }, [2]time.Duration{20 * time.Second, 21 * time.Second}, func(t *testing.T, s *stage) {
			for _, r := range s.rows[:2] {
				if len(r.tries) != 1 || r.tries[0].Again != 5*time.Second || r.tries[0].Error != whyEnded {
					t.Errorf("recorded %+v", r.tries)
				}
			}
		}},
		{"journal away", func(s *stage) {
			s.journal.setRefuse(func(string, []message.ID) error { return errDeliverJournal })
			s.p.bound.session.Close()
		}, [2]time.Duration{5 * time.Second, 5 * time.Second}, func(t *testing.T, s *stage) {
			for _, r := range s.rows[:2] {
				if len(r.tries) != 0 || !r.held(time.Now()) {
					t.Errorf("recorded %+v", r.tries)
				}
			}
			if lines := s.log.Lines(); !strings.Contains(lines[len(lines)-1], "left to lapse count=") {
				t.Errorf("logged %q", lines)
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &stage{deliverStage: deliverPlay(t, deliverPipes)}
				release := make(chan struct{})
				defer close(release)
				c := s.credential(nil)
				s.p = s.bind(c, deliverBind{config: smpp.Config{WriteTimeout: time.Hour}, handler: smpp.HandlerFunc(func(*smpp.Request) { <-release })})
				for range 3 {
					s.rows = append(s.rows, s.owe(deliverReceipt(c))...)
					<-time.After(time.Second)
				}
				start := time.Now()
				go tt.during(s)
				s.server.deliverer.stop()
				if took := time.Since(start); took < tt.took[0] || took > tt.took[1] {
					t.Errorf("stopped after %v", took)
				}
				tt.check(t, s)
				if r := s.rows[2]; len(r.tries) != 0 || tt.name != "journal away" && (r.given != 1 || r.settled.Sub(start) > claimPace) {
					t.Errorf("the unwritten one: %+v, released %d times, the last %v after the stop", r.tries, r.given, r.settled.Sub(start))
				}
			})
		})
	}
}

// At the stop the journal is asked at once, however long it has been away.
func TestStopAsksTheJournalAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := deliverPlay(t, deliverPipes)
		s.journal.setRefuse(func(string, []message.ID) error { return errDeliverJournal })
		c := s.credential(nil)
		p := s.bind(c, deliverBind{answer: deliverTake})
		<-time.After(time.Minute)
		s.journal.setRefuse(func(operation string, _ []message.ID) error {
			if operation == "delivered" {
				return errDeliverJournal
			}
			return nil
		})
		r := s.owe(deliverReceipt(c))[0]
		<-time.After(20 * time.Second)
		if n := len(p.received()); n != 1 {
			t.Fatalf("delivered %d times", n)
		}
		s.journal.setRefuse(nil)
		start := time.Now()
		s.server.deliverer.stop()
		if took := time.Since(start); took > claimPace || len(r.tries) != 1 {
			t.Errorf("stopped after %v, recorded %+v", took, r.tries)
		}
	})
}

func TestDelivererUnused(t *testing.T) {
	var s Server
	s.Poke()
	s.deliverer.stop()
	s.deliverer.start(&s) // after a stop it stays stopped
	s.deliverer.stop()
}

// Whatever happens, every claim ends once: recorded or released, or it lapses
// because the journal could not be told.
func TestEveryClaimEndsOnce(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		plan := drawDeliverPlan(rt)
		var problems []string
		synctest.Test(t, func(t *testing.T) { problems = plan.run(t) })
		for _, p := range problems {
			rt.Error(p)
		}
	})
}

// deliverPlan is a course of events, drawn at random.
type deliverPlan struct {
	customers int
	binds     []int // the customer of each
	windows   []int
	rows      []int           // the customer of each
	inbound   []int           // conversation of each; 0: a receipt
	answers   []int           // in turn, over all peers
	cuts      []time.Duration // when the bind of the same place is cut, 0: never
	away      time.Duration   // how long the journal is, from the first second
	stop      time.Duration
}

func drawDeliverPlan(t *rapid.T) deliverPlan {
	p := deliverPlan{customers: rapid.IntRange(1, 3).Draw(t, "customers")}
	customer := rapid.IntRange(0, p.customers-1)
	for range rapid.IntRange(1, 5).Draw(t, "binds") {
		p.binds = append(p.binds, customer.Draw(t, "customer of bind"))
		p.windows = append(p.windows, rapid.IntRange(1, 4).Draw(t, "window"))
		p.cuts = append(p.cuts, rapid.SampledFrom([]time.Duration{0, 0, time.Millisecond, time.Second, 31 * time.Second}).Draw(t, "cut"))
	}
	for range rapid.IntRange(1, 25).Draw(t, "rows") {
		p.rows = append(p.rows, customer.Draw(t, "customer of row"))
		p.inbound = append(p.inbound, rapid.IntRange(0, 3).Draw(t, "conversation"))
	}
	p.answers = rapid.SliceOfN(rapid.IntRange(0, 9), 1, 30).Draw(t, "answers")
	p.away = rapid.SampledFrom([]time.Duration{0, 0, 300 * time.Millisecond, 10 * time.Second, time.Minute}).Draw(t, "away")
	p.stop = rapid.SampledFrom([]time.Duration{0, time.Second, 30 * time.Second, 2 * time.Minute}).Draw(t, "stop")
	return p
}

func (plan deliverPlan) run(t *testing.T) (problems []string) {
	s := deliverPlay(t, deliverPipes)
	s.journal.edit(func(j *deliverJournal) { j.unordered = true })
	start := time.Now()
	s.journal.setRefuse(func(string, []message.ID) error {
		if at := time.Since(start) - time.Second; at >= 0 && at < plan.away {
			return errDeliverJournal
		}
		return nil
	})
	var customers []*snapshot.SMPPCredential
	for range plan.customers {
		customers = append(customers, s.credential(nil))
	}
	turn := 0
	answer := func(int, *smpp.DeliverSM) (smpp.Status, bool) {
		s.mu.Lock()
		defer s.mu.Unlock()
		turn++
		switch plan.answers[turn%len(plan.answers)] {
		case 0:
			return 0, false
		case 1:
			return smpp.StatusTempAppError, true
		case 2:
			return smpp.StatusPermAppError, true
		}
		return smpp.StatusOK, true
	}
	for i, c := range plan.rows {
		if conv := plan.inbound[i]; conv > 0 {
			s.owe(deliverInbound(customers[c], message.Address(fmt.Sprintf("+1310555011%d", conv)), strings.Repeat("long text ", 40*(i%2))))
			continue
		}
		s.owe(deliverReceipt(customers[c]))
	}
	for i, c := range plan.binds {
		p := s.bind(customers[c], deliverBind{window: plan.windows[i], answer: answer})
		if cut := plan.cuts[i]; cut > 0 {
			defer time.AfterFunc(cut, p.bound.session.Close).Stop()
		}
	}
	<-time.After(plan.stop)
	granted := time.AfterFunc(15*time.Second, func() { // by the server
		for _, p := range s.peers {
			p.bound.session.Close()
		}
	})
	s.server.deliverer.stop()
	granted.Stop()
	if took := time.Since(start); took > plan.stop+25*time.Second {
		problems = append(problems, fmt.Sprintf("stopped after %v", took))
	}
	told := time.Since(start) < time.Second || time.Since(start) > time.Second+plan.away
	s.end()
	s.journal.mu.Lock()
	defer s.journal.mu.Unlock()
	for i, r := range s.journal.rows {
		ends := len(r.tries) + r.given
		if told && plan.away < 20*time.Second && ends != r.claims {
			problems = append(problems, fmt.Sprintf("row %d: claimed %d times, recorded %d, released %d", i, r.claims, len(r.tries), r.given))
		}
		if ends > r.claims {
			problems = append(problems, fmt.Sprintf("row %d: ended %d times of %d", i, ends, r.claims))
		}
	}
	for i, p := range s.peers {
		if p.peak() > plan.windows[i] {
			problems = append(problems, fmt.Sprintf("bind %d: %d unanswered in a window of %d", i, p.peak(), plan.windows[i]))
		}
	}
	problems = append(problems, s.journal.wrong...)
	s.journal.wrong = nil
	return problems
}
