package smtpout

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/secret"
)

// gauge is the most that Metrics.Open told.
type gauge struct {
	mu        sync.Mutex
	now, most int
}

func (g *gauge) open(_ string, n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.now, g.most = n, max(g.most, n)
}

func (g *gauge) read() (now, most int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.now, g.most
}

// Mails one after the other go over one connection, until it has carried its number.
func TestOneConnectionForManyMails(t *testing.T) {
	t.Parallel()
	p := newPeer(t, serve(nil))
	s := p.sender()
	to := target(func(t *Target) { t.Limits.PerConnection = 10 })
	for range 25 {
		if _, err := s.Send(t.Context(), to, mailOf("Hi")); err != nil {
			t.Fatal(err)
		}
	}
	if calls, _ := p.counts(); calls != 3 {
		t.Errorf("%d connections for 25 mails, ten each", calls)
	}
	s.Close()
	if n := p.count("QUIT"); n != 3 {
		t.Errorf("%d goodbyes", n)
	}
}

// There are never more connections than the target allows, and each mail gets one.
func TestConnectionsAreBounded(t *testing.T) {
	t.Parallel()
	const most, mails = 3, 30
	arrived, answer := make(chan struct{}), make(chan struct{})
	p := newPeer(t, func(k *talk) {
		k.say("220 hi")
		for {
			switch line := k.hear(); line[:4] {
			case "DATA":
				k.say("354 go on")
				k.content()
				arrived <- struct{}{}
				<-answer
				k.say("250 taken")
			case "QUIT":
				k.say("221 bye")
				return
			default:
				k.say("250 fine")
			}
		}
	})
	var g gauge
	s := p.sender(func(c *Config) { c.Metrics.Open = g.open })
	to := target(func(t *Target) { t.Limits.Connections, t.Limits.PerConnection = most, 4 })
	var all sync.WaitGroup
	for range mails {
		all.Go(func() {
			if _, err := s.Send(t.Context(), to, mailOf("Hi")); err != nil {
				t.Error(err)
			}
		})
	}
	for range most {
		<-arrived // as many as may be are at once under way
	}
	for range mails - most {
		answer <- struct{}{}
		<-arrived
	}
	for range most {
		answer <- struct{}{}
	}
	all.Wait()
	if _, n := g.read(); n != most {
		t.Errorf("%d connections at once are told, want %d", n, most)
	}
	if calls, n := p.counts(); n > most || calls < mails/4 {
		t.Errorf("the peer saw %d at once, and %d in all", n, calls)
	}
	s.Close()
	if n, _ := g.read(); n != 0 || len(s.pools) != 0 {
		t.Errorf("%d connections after the end, %d targets", n, len(s.pools))
	}
}

// Who waits for a connection stops when its context ends, and nobody behind it is
// forgotten.
func TestWaitingEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		answer := make(chan struct{})
		p := newPipes(t, func(k *talk) {
			k.say("220 hi")
			for {
				switch line := k.hear(); line[:4] {
				case "DATA":
					k.say("354 go on")
					k.content()
					<-answer
					k.say("250 taken")
				case "QUIT":
					k.say("221 bye")
					return
				default:
					k.say("250 fine")
				}
			}
		})
		s := p.sender()
		to := target(func(t *Target) { t.Limits.Connections = 1 })
		ctx, cancel := context.WithCancel(t.Context())
		errs := make([]error, 3)
		var all sync.WaitGroup
		for i, c := range []context.Context{t.Context(), ctx, t.Context()} {
			all.Go(func() { _, errs[i] = s.Send(c, to, mailOf("Hi")) })
			synctest.Wait()
		}
		cancel()
		synctest.Wait()
		if e := failure(t, errs[1]); !errors.Is(e, context.Canceled) || !e.Retryable() || e.OnWire() || e.Stage() != StageConnect {
			t.Errorf("%v", e)
		}
		answer <- struct{}{}
		answer <- struct{}{}
		all.Wait()
		if calls, _ := p.counts(); errs[0] != nil || errs[2] != nil || calls != 1 {
			t.Errorf("%v, %v, %d connections", errs[0], errs[2], calls)
		}
		s.Close()
		if len(s.pools) != 0 {
			t.Error("a target is kept")
		}
	})
}

// A connection that nobody wants says goodbye after its time, and its target is forgotten.
func TestIdleConnectionsEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPipes(t, serve(nil))
		s := p.sender()
		for range 3 {
			if _, err := s.Send(t.Context(), target(), mailOf("Hi")); err != nil {
				t.Fatal(err)
			}
			time.Sleep(DefaultIdle - time.Second)
		}
		if calls, _ := p.counts(); calls != 1 || p.count("QUIT") != 0 {
			t.Errorf("%d connections", calls)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if p.count("QUIT") != 1 || len(s.pools) != 0 {
			t.Errorf("%q, %d targets", p.commands(), len(s.pools))
		}
		if _, err := s.Send(t.Context(), target(), mailOf("Hi")); err != nil {
			t.Fatal(err)
		}
		if calls, _ := p.counts(); calls != 2 {
			t.Errorf("%d connections", calls)
		}
		s.Close()
		p.done.Wait()
	})
}

// A goodbye that is not answered holds nobody up for long.
func TestUnansweredGoodbye(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPipes(t, serve(answers{"QUIT": hang}))
		s := p.sender()
		if _, err := s.Send(t.Context(), target(), mailOf("Hi")); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		s.Close()
		if took := time.Since(begin); took != quitTimeout {
			t.Errorf("closed after %v", took)
		}
		s.Close()
		if _, err := s.Send(t.Context(), target(), mailOf("Hi")); !errors.Is(err, ErrClosed) {
			t.Errorf("after the end: %v", err)
		}
		p.done.Wait()
	})
}

// A kept connection that is dead, or dies before it has answered MAIL, is replaced; the mail
// arrives once.
func TestDeadConnectionIsReplaced(t *testing.T) {
	t.Parallel()
	// afterOne takes one mail and then does something; told is closed when it has.
	for name, then := range map[string]func(k *talk){
		"closed":            func(k *talk) {},
		"reset":             func(k *talk) { defer func() { _ = recover() }(); k.reset() },
		"goodbye":           func(k *talk) { k.say("421 4.4.2 too long idle") },
		"goodbye to MAIL":   func(k *talk) { k.hear(); k.say("421 4.4.2 too long idle") },
		"closed after MAIL": func(k *talk) { k.hear() },
		"nonsense":          func(k *talk) { k.hear(); k.say("what?") },
	} {
		done := make(chan struct{})
		waits := name == "closed" || name == "reset" || name == "goodbye"
		p := newPeer(t, func(k *talk) {
			takeOne(k)
			if waits {
				defer close(done)
			}
			then(k)
			_ = k.conn.Close()
		}, serve(nil))
		redialled := 0
		s := p.sender(func(c *Config) { c.Metrics.Redialled = func(string) { redialled++ } })
		if _, err := s.Send(t.Context(), target(), mailOf("one")); err != nil {
			t.Fatal(err)
		}
		if waits {
			<-done
		}
		if _, err := s.Send(t.Context(), target(), mailOf("two")); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if calls, _ := p.counts(); calls != 2 || redialled != 1 || !slices.Equal(p.contents(), []string{"one\r\n", "two\r\n"}) {
			t.Errorf("%s: %d connections, %d replaced, %q", name, calls, redialled, p.contents())
		}
	}
}

// Who answers what was not asked is not talked to further: the answers to come would be
// taken for those to other commands.
func TestAnswersOutOfTurn(t *testing.T) {
	t.Parallel()
	p := newPipes(t, func(k *talk) {
		k.say("220 hi")
		for _, a := range []string{"250 hi", "250 fine", "250 fine", "354 go on"} {
			k.hear()
			k.say(a)
		}
		k.content()
		k.raw("250 taken\r\n250 fine\r\n") // one read
		k.untilGone()
	}, func(k *talk) {
		k.say("220 hi")
		k.hear()
		k.say("250 hi")
		k.hear()
		k.raw("250 fine\r\n250 fine\r\n354 go on\r\n250 taken\r\n")
		k.untilGone()
	})
	s := p.sender()
	if _, err := s.Send(t.Context(), target(), mailOf("one")); err != nil {
		t.Fatal(err)
	}
	_, err := s.Send(t.Context(), target(), mailOf("two"))
	if e := failure(t, err); e.Stage() != StageRCPT || !errors.Is(err, errGarbled) || !e.Retryable() || p.count("MAIL") != 2 || p.count("RCPT") != 1 {
		t.Errorf("%v, heard %q", err, p.commands())
	}
}

// takeOne takes a mail.
func takeOne(k *talk) {
	k.say("220 hi")
	for _, a := range []string{"250 hi", "250 fine", "250 fine", "354 go on"} {
		k.hear()
		k.say(a)
	}
	k.content()
	k.say("250 taken")
}

// It is replaced once, and only before MAIL is answered; afterwards the caller decides.
func TestReplacedOnceOnly(t *testing.T) {
	t.Parallel()
	dying := func(k *talk) { k.say("220 hi"); k.hear(); k.say("250 hi"); k.hear() }
	p := newPeer(t, func(k *talk) { takeOne(k); k.hear() }, dying)
	s := p.sender()
	if _, err := s.Send(t.Context(), target(), mailOf("one")); err != nil {
		t.Fatal(err)
	}
	_, err := s.Send(t.Context(), target(), mailOf("two"))
	if e := failure(t, err); e.Stage() != StageMAIL || !e.Retryable() || e.Reason() != message.ReasonVendorUnreachable {
		t.Error(err)
	}
	if calls, _ := p.counts(); calls != 2 {
		t.Errorf("%d connections", calls)
	}

	p = newPeer(t, func(k *talk) { takeOne(k); k.hear(); k.say("250 fine"); k.hear() })
	s = p.sender()
	if _, err := s.Send(t.Context(), target(), mailOf("one")); err != nil {
		t.Fatal(err)
	}
	_, err = s.Send(t.Context(), target(), mailOf("two"))
	if e := failure(t, err); e.Stage() != StageRCPT || !e.Retryable() {
		t.Error(err)
	}
	if calls, _ := p.counts(); calls != 1 {
		t.Errorf("%d connections", calls)
	}
}

// A target that changes gets connections of its own, and other bounds; those of the old
// one end.
func TestTargetChanges(t *testing.T) {
	t.Parallel()
	changes := []func(*Target){
		func(t *Target) {},
		func(t *Target) { t.EHLO = "other.gw.example" },
		func(t *Target) { t.Limits.Idle = time.Minute },
		func(t *Target) { t.Host = "mx2.peer.example" },
		func(t *Target) { t.Pins = []Pin{{1}} },
		func(t *Target) { t.Pins = []Pin{{2}} },
	}
	p := newPeer(t, serve(nil))
	s := p.sender()
	for _, change := range changes {
		for range 2 {
			if _, err := s.Send(t.Context(), target(change), mailOf("Hi")); err != nil {
				t.Fatal(err)
			}
		}
	}
	if calls, _ := p.counts(); calls != len(changes) {
		t.Errorf("%d connections for %d forms of a target", calls, len(changes))
	}
	s.Close()
	if n := p.count("QUIT"); n != len(changes) {
		t.Errorf("%d goodbyes", n)
	}
	a, b := target(login("x")), target(login("x"))
	if !a.same(b) { // two copies of one password
		t.Error("the same target is taken for another")
	}
	if b.Password = secret.Conceal("y"); a.same(b) {
		t.Error("a new password is not seen")
	}
}

// A target that allows more lets in those who wait; one that allows fewer, none until it
// has room.
func TestBoundsChange(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		answer := make(chan struct{})
		p := newPipes(t, func(k *talk) {
			k.say("220 hi")
			for {
				switch line := k.hear(); line[:4] {
				case "DATA":
					k.say("354 go on")
					k.content()
					<-answer
					k.say("250 taken")
				case "QUIT":
					k.say("221 bye")
					return
				default:
					k.say("250 fine")
				}
			}
		})
		s := p.sender()
		allow := func(n int) *Target { return target(func(t *Target) { t.Limits.Connections = n }) }
		var all sync.WaitGroup
		send := func(n int) {
			all.Go(func() {
				if _, err := s.Send(t.Context(), allow(n), mailOf("Hi")); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		open := func(want int) {
			t.Helper()
			if p.mu.Lock(); p.open != want {
				t.Errorf("%d connections, want %d", p.open, want)
			}
			p.mu.Unlock()
		}
		send(1)
		send(1)
		open(1)
		send(3)
		open(3)
		send(2)
		open(3)
		answer <- struct{}{} // of those three one ends, and none begins
		synctest.Wait()
		open(2)
		for range 3 {
			answer <- struct{}{}
			synctest.Wait()
		}
		all.Wait()
		s.Close()
		p.done.Wait()
	})
}

// A content that calls back does not meet a lock that is held.
func TestSendWithinWrite(t *testing.T) {
	t.Parallel()
	p := newPeer(t, serve(nil))
	s := p.sender()
	m := mailOf("")
	m.Write = func(w io.Writer) error {
		if _, err := s.Send(t.Context(), target(), mailOf("inner")); err != nil {
			return err
		}
		_, err := io.WriteString(w, "outer")
		return err
	}
	if _, err := s.Send(t.Context(), target(), m); err != nil || !slices.Equal(p.contents(), []string{"inner\r\n", "outer\r\n"}) {
		t.Errorf("%v, %q", err, p.contents())
	}
}

// A connection that comes at the moment in which the wait for it ends is not lost.
func TestGivenAndGivenUpAtOnce(t *testing.T) {
	t.Parallel()
	for _, givenFirst := range []bool{true, false} { // who waits wakes by the first
		synctest.Test(t, func(t *testing.T) {
			p := newPipes(t, serve(answers{".": hang}))
			s := p.sender()
			to := target(func(t *Target) { t.Limits.Connections = 1 })
			ctx, cancel := context.WithCancel(t.Context())
			var all sync.WaitGroup
			all.Go(func() { _, _ = s.Send(t.Context(), to, mailOf("Hi")) })
			synctest.Wait()
			all.Go(func() {
				if _, err := s.Send(ctx, to, mailOf("Hi")); !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
			})
			synctest.Wait()
			s.mu.Lock()
			given := s.pools[to.Name]
			s.count(given, 1)
			if !givenFirst {
				cancel()
			}
			given.next().ready <- nil
			cancel()
			s.mu.Unlock()
			synctest.Wait()
			if s.mu.Lock(); given.used != 1 || len(given.waiters) != 0 {
				t.Errorf("%d connections count, %d wait", given.used, len(given.waiters))
			}
			s.mu.Unlock()
			s.Close()
			all.Wait()
			p.done.Wait()
		})
	}
}

// A connection that was closed with 421 is not kept, whichever command it answered.
func TestGoodbyeIsBelieved(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"MAIL", "RCPT", "DATA", "."} {
		p := newPeer(t, serve(answers{at: "421 4.3.2 closing"}), serve(nil))
		redialled := false
		s := p.sender(func(c *Config) { c.Metrics.Redialled = func(string) { redialled = true } })
		_, err := s.Send(t.Context(), target(), mailOf("one"))
		if e := failure(t, err); !e.Retryable() || e.Codes() != "421 4.3.2" {
			t.Errorf("%s: %v", at, err)
		}
		if _, err := s.Send(t.Context(), target(), mailOf("two")); err != nil || redialled {
			t.Errorf("%s: %v, found dead: %v", at, err, redialled)
		}
	}
}
