package ingress_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider/edges/ingress"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

const (
	otp          = 1 // the priorities
	conversation = 3
	bulk         = 5
)

// overloaded is a bundle with small bounds whose outbox a test sets.
func overloaded(t *testing.T) *bundle {
	b := setup(t)
	b.Admission = ingress.Admission{Busy: 100, Rate: 4, Full: 1000}
	b.Start(t.Context())
	t.Cleanup(b.Stop)
	return b
}

// holds lets the gate count an outbox.
func (b *bundle) holds(rows ...message.Waiting) {
	_ = b.journal.do(func() { b.journal.queue = rows })
	pass(1500 * time.Millisecond)
	synctest.Wait()
}

// offer asks for n messages of a class within one moment, and gives how many came in
// and how the last one was refused.
func (b *bundle) offer(account message.ID, c message.Class, n int) (accepted int, refused error) {
	for range n {
		r := b.request()
		r.AccountID, r.Class = account, c
		if _, err := b.Accept(context.Background(), r); err == nil {
			accepted++
		} else {
			refused = err
		}
	}
	return accepted, refused
}

// wantLater checks a refusal for the moment, and when it says to come back.
func wantLater(t *testing.T, err error, reason message.Reason, wait time.Duration) {
	t.Helper()
	var later interface{ RetryAfter() time.Duration }
	if message.ReasonOf(err) != reason || !errors.As(err, &later) || later.RetryAfter() != wait {
		t.Errorf("refused with %v", err)
	}
}

func TestAdmissionTakesABurstWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := overloaded(t)
		b.holds(message.Waiting{Priority: bulk, Messages: 99})
		if n, err := b.offer(b.account.ID, message.ClassBulk, 300); n != 300 {
			t.Errorf("%d of 300: %v", n, err)
		}
	})
}

func TestAdmissionOfAClassFollowsWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := overloaded(t)
		const many = 50
		for _, step := range []struct {
			name                  string
			otp, talk, bulk       int // that wait
			takesO, takesC, takeB int // of many offered
		}{
			{"few wait", 5, 5, 80, many, many, many},
			{"much bulk", 5, 5, 90, many, many, 4},
			{"bulk stays busy until half of it is gone", 5, 5, 41, many, many, 4},
			{"half is gone", 5, 5, 39, many, many, many},
			{"bulk is full", 5, 5, 990, many, many, 0},
			{"and stays it while nine tenths wait", 0, 0, 900, many, many, 0},
			{"then it is busy", 0, 0, 899, many, many, 4},
			{"many conversations: no bulk", 5, 95, 0, many, 4, 0},
			{"many of all", 5, 995, 3000, many, 0, 0},
			{"even passwords, in the end", 100, 0, 0, 4, 0, 0},
			{"which nothing else keeps out", 1000, 0, 0, 0, 0, 0},
			{"all is worked on", 0, 0, 0, many, many, many},
		} {
			b.holds(message.Waiting{Priority: otp, Messages: step.otp}, message.Waiting{Priority: conversation, Messages: step.talk}, message.Waiting{Priority: bulk, Messages: step.bulk})
			for _, c := range []struct {
				class message.Class
				want  int
			}{{message.ClassOTP, step.takesO}, {message.ClassConversation, step.takesC}, {message.ClassBulk, step.takeB}} {
				pass(1500 * time.Millisecond) // another second's share
				pass(1500 * time.Millisecond) // one that nobody asked before
				n, err := b.offer(b.account.ID, c.class, many)
				if n != c.want {
					t.Errorf("%s: %d of class %s, want %d", step.name, n, c.class, c.want)
				}
				switch {
				case n == 0:
					wantLater(t, err, message.ReasonQueueFull, 30*time.Second)
				case n < many:
					wantLater(t, err, message.ReasonRateLimitExceeded, time.Second)
				}
			}
		}
	})
}

// A refused message leaves nothing: no row, no place in its account's backlog, and its
// key is free.
func TestNotAdmittedLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := overloaded(t)
		b.account.MaxBacklog = 1
		b.holds(message.Waiting{Priority: conversation, Messages: 2000})
		r := b.request()
		r.Key = &ingress.Key{Operation: "POST /v1/messages", Value: "k", Render: func(*message.Message, *message.Error) (int, []byte, error) { return 202, []byte("{}"), nil }}
		out, err := b.Accept(t.Context(), r)
		wantLater(t, err, message.ReasonQueueFull, 30*time.Second)
		if out.Message != nil || len(b.journal.all()) != 0 {
			t.Error("it was stored")
		}
		b.holds()
		if out, err := b.Accept(t.Context(), r); err != nil || out.Replay != nil {
			t.Errorf("the same request later: %v %v", out.Replay, err)
		}
	})
}

func TestAdmissionIsSharedFairly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := overloaded(t)
		other := *b.account
		other.ID = message.NewID()
		b.config.Accounts[other.ID] = &other
		b.config.Numbers["+12025550144"] = &snapshot.Number{Number: "+12025550144", AccountID: other.ID, SMSEnabled: true, Campaign: b.config.Numbers[number].Campaign}
		b.holds(message.Waiting{Priority: conversation, Messages: 150})
		r := b.request()
		r.AccountID, r.From = other.ID, "+12025550144"
		b.offer(b.account.ID, message.ClassConversation, 500) // both ask in one second
		_, _ = b.Accept(t.Context(), r)
		_, _ = b.Accept(t.Context(), r)
		pass(time.Second)
		if n, err := b.offer(b.account.ID, message.ClassConversation, 500); n != 2 {
			t.Errorf("%d of the loud account: %v", n, err)
		}
		for range 2 {
			if _, err := b.Accept(t.Context(), r); message.ReasonOf(err) == message.ReasonRateLimitExceeded {
				t.Errorf("the quiet account: %v", err)
			}
		}
	})
}

// What the gateway answers itself, dry runs and further parts of what was let in are
// not held back.
func TestAdmissionLetsPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := overloaded(t)
		b.holds(message.Waiting{Priority: otp, Messages: 5000})
		automatic, dry := b.request(), b.request()
		automatic.Automatic, dry.DryRun = true, true
		for name, r := range map[string]ingress.Request{"an answer to STOP": automatic, "a dry run": dry} {
			if _, err := b.Accept(t.Context(), r); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		part := ingress.Part{Request: b.request(), Total: 2, Number: 2, Octets: []byte("x")}
		part.Request.SMPP = &message.SMPPOrigin{}
		if _, err := b.Part(t.Context(), part); err != nil {
			t.Errorf("a second part: %v", err)
		}
		part.Number = 1
		_, err := b.Part(t.Context(), part)
		wantLater(t, err, message.ReasonQueueFull, 30*time.Second)
	})
}

// An urgent message that waits for a minute slows bulk down, however few wait.
func TestAdmissionOfBulkWhenUrgentOnesAreLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := overloaded(t)
		for _, step := range []struct {
			priority int
			oldest   time.Duration
			bulk     int
		}{{conversation, 59 * time.Second, 20}, {bulk, time.Hour, 20}, {conversation, time.Minute, 4}, {otp, 31 * time.Second, 4}, {otp, 29 * time.Second, 20}} {
			b.holds(message.Waiting{Priority: step.priority, Messages: 1, Oldest: step.oldest})
			if n, _ := b.offer(b.account.ID, message.ClassBulk, 20); n != step.bulk {
				t.Errorf("oldest of priority %d %s: %d of bulk, want %d", step.priority, step.oldest, n, step.bulk)
			}
			if n, _ := b.offer(b.account.ID, message.ClassConversation, 20); n != 20 {
				t.Errorf("%d conversation messages", n)
			}
			pass(2 * time.Second)
		}
	})
}

func TestAdmissionIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := setup(t)
		b.Admission = ingress.Admission{Busy: 100, Rate: 4, Full: 1000}
		states, ages, refused := map[message.Class]ingress.AdmissionState{}, map[message.Class]time.Duration{}, map[message.Reason]int{}
		b.Metrics.Admission = func(c message.Class, s ingress.AdmissionState, oldest time.Duration) { states[c], ages[c] = s, oldest }
		b.Metrics.NotAdmitted = func(_ message.Class, r message.Reason) { refused[r]++ }
		b.Start(t.Context())
		b.holds(message.Waiting{Priority: conversation, Messages: 100, Oldest: 3 * time.Second})
		b.offer(b.account.ID, message.ClassConversation, 10)
		b.offer(b.account.ID, message.ClassBulk, 10)
		b.Stop()
		if states[message.ClassOTP] != ingress.AdmissionOpen || states[message.ClassConversation] != ingress.AdmissionBusy || states[message.ClassBulk] != ingress.AdmissionClosed {
			t.Errorf("states %v", states)
		}
		if ages[message.ClassConversation] != 3*time.Second || ages[message.ClassBulk] != 0 {
			t.Errorf("ages %v", ages)
		}
		if refused[message.ReasonRateLimitExceeded] != 6 || refused[message.ReasonQueueFull] != 10 {
			t.Errorf("refused %v", refused)
		}
	})
}

// A journal that is away leaves admission as it was.
func TestAdmissionStaysWhenNobodyCanCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := overloaded(t)
		b.holds(message.Waiting{Priority: conversation, Messages: 1000})
		_ = b.journal.do(func() { b.journal.down = errAway })
		pass(5 * time.Second)
		_, err := b.offer(b.account.ID, message.ClassConversation, 1)
		wantLater(t, err, message.ReasonQueueFull, 30*time.Second)
	})
}

// While much waits, or something for long, starts make no room for acceptances.
func TestStartsMakeNoRoomWhenMuchWaits(t *testing.T) {
	for name, waits := range map[string]message.Waiting{"much": {Priority: conversation, Messages: 500}, "for long": {Priority: bulk, Messages: 1, Oldest: 5 * time.Second}} {
		t.Run(name, func(t *testing.T) { startsMakeNoRoom(t, waits) })
	}
}

func startsMakeNoRoom(t *testing.T, waits message.Waiting) {
	synctest.Test(t, func(t *testing.T) {
		b := setup(t)
		b.Admission = ingress.Admission{Busy: 1000}
		b.journal.slow = make(chan struct{})
		b.Start(t.Context())
		b.holds(waits)
		for range 20 { // more than a crowd
			go func() {
				r := b.request()
				r.Edge = "slow"
				_, _ = b.Accept(context.Background(), r)
			}()
		}
		synctest.Wait()
		began := time.Now()
		out, err := b.Accept(t.Context(), b.request())
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if took := time.Since(began); b.server.begun[out.Message.ID] != 1 || took != 0 {
			t.Errorf("started %d times after %s of the test's clock", b.server.begun[out.Message.ID], took)
		}
		close(b.journal.slow)
		synctest.Wait()
		b.Stop()
	})
}
