package smpp

import (
	"crypto/tls"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/postrider/postrider/internal/smpp"
)

// Strangers who say nothing make room for those who come after them, and never for
// want of those who are bound.
func TestOldestUnboundMakesRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := serverSetup(t)
		w.MaxConnections, w.MaxUnbound = 10, 2
		l := w.pipes()
		var bound []*serverPeer
		for range 4 {
			p := l.dial("192.0.2.1")
			p.bind(bindTRX)
			bound = append(bound, p)
		}
		var strangers []*serverPeer
		for i := range 20 {
			strangers = append(strangers, l.dial(fmt.Sprint("192.0.2.", 10+i)))
			synctest.Wait()
		}
		for _, p := range strangers[:18] {
			p.wantEnd()
		}
		for _, p := range strangers[18:] {
			p.alive()
		}
		customer := l.dial("192.0.2.2")
		customer.bind(bindTRX)
		strangers[18].wantEnd()
		strangers[19].alive()
		l.dial("192.0.2.3").alive() // the customer's place is free again
		strangers[19].alive()
		for _, p := range append(bound, customer) {
			p.alive()
		}
		synctest.Wait()
		if n := w.events.count("refused " + RefusedUnbound); n != 19 {
			t.Errorf("%d counted", n)
		}
		if got := w.events.with("refused "); len(got) != 19 {
			t.Errorf("counted %v", got)
		}
	})
}

// Who is pushed out within a TLS handshake is counted once, and as that.
func TestPushedOutOfAHandshake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := serverSetup(t)
		w.MaxUnbound = 1
		w.TLS = &tls.Config{}
		l := newServerPipes(t)
		w.serveUntilEnd(l, w.ServeTLS)
		p := l.dial("192.0.2.1")
		synctest.Wait()
		other := l.dial("192.0.2.2")
		p.wantEnd()
		synctest.Wait()
		if got := w.events.with("refused "); len(got) != 1 || got[0] != "refused "+RefusedUnbound {
			t.Errorf("counted %v", got)
		}
		_ = other.Close()
	})
}

// Who is refused itself does not push others out, nor does a proxy whose header has
// not come.
func TestRefusedDoNotPushOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := serverSetup(t)
		w.MaxUnbound, w.MaxPerAddress = 1, 1
		w.ProxyFrom = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}
		l := w.pipes()
		p := l.dial("192.0.2.1")
		p.alive()
		l.dial("192.0.2.1").wantEnd()
		w.events.await("refused "+RefusedAddress, 1)
		behind := l.dial("198.51.100.1")
		synctest.Wait()
		p.alive()
		if _, err := behind.Write([]byte("PROXY TCP4 192.0.2.9 203.0.113.1 4000 2775\r\n")); err != nil {
			t.Fatal(err)
		}
		behind.alive()
		p.wantEnd()
		w.events.await("refused "+RefusedUnbound, 1)
	})
}

// One that waits for its password to be checked goes at once, and is not bound in
// the end.
func TestPushedOutWhileItIsDecided(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := serverSetup(t)
		w.MaxUnbound = 1
		w.prepare()
		for range cap(w.passwords.turns) {
			w.passwords.turns <- struct{}{}
		}
		l := w.pipes()
		p := l.dial("192.0.2.1")
		p.pdu(acmeTRX)
		synctest.Wait()
		other := l.dial("192.0.2.2")
		w.events.await("connections -1", 1)
		p.wantEnd()
		for range cap(w.passwords.turns) {
			<-w.passwords.turns
		}
		other.bind(bindTRX)
		w.events.await("binds acme +1", 1) // it is counted after its answer
		synctest.Wait()
		if n := w.events.count("refused " + RefusedUnbound); n != 1 || w.events.count("binds acme +1") != 1 {
			t.Errorf("%d counted; %v", n, w.events.with("binds"))
		}
	})
}

// One that has proved its password while it was chosen to go is not bound.
func TestProvedTooLate(t *testing.T) {
	w := serverSetup(t)
	w.prepare()
	compare := w.passwords.compare
	w.passwords.compare = func(h, g []byte) error {
		w.unbound.mu.Lock()
		for e := w.unbound.list.Front(); e != nil; e = w.unbound.list.Front() {
			w.unbound.list.Remove(e).(*connection).unproved = nil
		}
		w.unbound.mu.Unlock()
		return compare(h, g)
	}
	if st := w.pipes().dial("192.0.2.1").tryBind(bindTRX, "acme", serverPassword, 0x34); st != smpp.StatusSystemError {
		t.Errorf("answered %s", st)
	}
}

func TestUnboundAreFewerThanAll(t *testing.T) {
	for _, tt := range []struct{ most, unbound, want int }{
		{5000, 1000, 1000}, {5000, 5000, 4999}, {100, 1000, 99}, {2, 1000, 1}, {1, 1000, 1},
	} {
		if u := newUnboundList(tt.most, tt.unbound); u.most != tt.want {
			t.Errorf("%d of %d: %d", tt.unbound, tt.most, u.most)
		}
	}
}

func TestHalfOfTheCoresCompute(t *testing.T) {
	for cores, want := range map[int]int{1: 1, 2: 1, 3: 1, 4: 2, 5: 2, 16: 8} {
		if got := turnsOn(cores); got != want {
			t.Errorf("%d of %d cores", got, cores)
		}
	}
}

// Made-up ids compute one at a time, and customers go before all of them but that
// one.
func TestStrangersHaveALineOfTheirOwn(t *testing.T) {
	for _, turns := range []int{1, 3} {
		t.Run(fmt.Sprint(turns), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, _ := serverPasswords()
				p.turns = make(chan struct{}, turns)
				compare, release := p.compare, make(chan struct{})
				var strangers, customers atomic.Int64
				p.compare = func(h, g []byte) error {
					if string(h) == hashOfCost(bcrypt.MinCost) {
						strangers.Add(1)
						defer strangers.Add(-1)
						<-release
						return bcrypt.ErrMismatchedHashAndPassword
					}
					return compare(h, g)
				}
				var all sync.WaitGroup
				for i := range 100 {
					all.Go(func() {
						_, _ = p.check(t.Context(), password{nil, fmt.Sprint(i), "x"}, bcrypt.MinCost, serverNotHeld)
					})
				}
				synctest.Wait()
				if n := strangers.Load(); n != 1 {
					t.Errorf("%d strangers at a time", n)
				}
				for range 20 {
					all.Go(func() {
						c := serverCredential("x")
						if ok, err := p.check(t.Context(), password{c, c.PasswordHash, "x"}, bcrypt.MinCost, serverNotHeld); ok && err == nil {
							customers.Add(1)
						}
					})
				}
				synctest.Wait()
				if turns == 1 {
					release <- struct{}{}
					synctest.Wait()
				}
				if n := customers.Load(); n != 20 {
					t.Errorf("%d customers were served before the strangers", n)
				}
				close(release)
				all.Wait()
				if len(p.turns)+len(p.stranger)+len(p.flights) != 0 {
					t.Error("places are left taken")
				}
			})
		})
	}
}

// Wrong passwords wait in that line as well, whoever's they are: an answer that
// comes sooner would tell that the system_id exists. A right one does not wait, and
// two made-up ids with one password are computed twice, as two customers are.
func TestStrangersLineTellsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := serverSetup(t)
		w.prepare()
		compare := w.passwords.compare
		var computed atomic.Int64
		w.passwords.compare = func(h, g []byte) error { computed.Add(1); return compare(h, g) }
		w.passwords.stranger <- struct{}{}
		l := w.pipes()
		l.dial("192.0.2.1").bind(bindTRX)
		answered := make(chan smpp.Status, 3)
		for i, id := range []string{"acme", "made-up", "made-up-2"} {
			p := l.dial(fmt.Sprint("192.0.2.", 2+i))
			go func() { answered <- p.tryBind(bindTRX, id, "guess", 0x34) }()
		}
		synctest.Wait()
		if len(answered) != 0 {
			t.Errorf("%d did not wait", len(answered))
		}
		if n := computed.Load(); n != 2 {
			t.Errorf("%d computed, want those of acme", n)
		}
		<-w.passwords.stranger
		for range 3 {
			if st := <-answered; st != smpp.StatusInvPassword {
				t.Errorf("answered %s", st)
			}
		}
		if n := computed.Load(); n != 4 {
			t.Errorf("%d computed", n)
		}

		// Without time left, both are told the same; the failure of the known one counts.
		w.passwords.stranger <- struct{}{}
		defer func() { <-w.passwords.stranger }()
		for i, id := range []string{"acme", "made-up"} {
			p := l.dial(fmt.Sprint("192.0.2.", 7+i))
			if st := p.tryBind(bindTRX, id, "guess", 0x34); st != smpp.StatusSystemError {
				t.Errorf("%s was answered %s", id, st)
			}
		}
		w.failures.mu.Lock()
		defer w.failures.mu.Unlock()
		if w.failures.keys[idKey(netip.MustParseAddr("192.0.2.7"), "acme")] == nil {
			t.Error("the failure was not counted")
		}
	})
}

// A customer that comes and goes all the time makes ten lines a minute and one for
// the rest, of its binds as of its unbinds.
func TestFlappingIsGathered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := serverSetup(t)
		l := w.pipes()
		flap := func(address string) {
			p := l.dial(address)
			p.bind(bindTX)
			p.dialogue("> 00000006 00000000 00000002\n< 80000006 00000000 00000002")
			p.wantEnd()
		}
		const address = "192.0.2.1"
		for range 45 {
			flap(address)
		}
		flap("192.0.2.2") // another address has its own
		synctest.Wait()
		const bind, unbind = "smpp.bind known acme 192.0.2.1: ", "smpp.unbind known acme 192.0.2.1: "
		const mode = "transmitter, plain, interface_version 34"
		check := func(lines int, last string) {
			t.Helper()
			for prefix, detail := range map[string]string{bind: mode, unbind: "unbound"} {
				got := w.events.with(prefix)
				want := prefix + last + detail
				if len(got) != lines || got[len(got)-1] != want {
					t.Errorf("%d lines, the last %q; want %d and %q", len(got), got[len(got)-1], lines, want)
				}
			}
		}
		check(maxSessionLines, "")
		if n := len(w.events.with("smpp.bind known acme 192.0.2.2")); n != 1 {
			t.Errorf("%d lines of another address", n)
		}
		<-time.After(sessionsEvery + watchEvery)
		check(maxSessionLines+1, "35 more, the last: ")
		flap(address) // a minute later it is a line again
		synctest.Wait()
		check(maxSessionLines+2, "")
		<-time.After(sessionsEvery + 2*watchEvery)
		check(maxSessionLines+2, "")
		w.audits.mu.Lock()
		defer w.audits.mu.Unlock()
		if n := len(w.audits.flaps); n != 0 {
			t.Errorf("%d are still counted", n)
		}
	})
}

// What is gathered is written at the end, is counted when it cannot be, and takes
// bounded memory: beyond that lines are written as they come.
func TestFlappingIsBounded(t *testing.T) {
	e := newServerEvents()
	a := newAudits(func(l auditLine) error { e.add("%s: %s", l.systemID, l.detail); return nil }, func(n int) { e.add("dropped %d", n) })
	now := time.Now()
	for range maxSessionLines + 3 {
		a.session(auditLine{systemID: "acme", detail: "unbound"}, now)
	}
	a.start()
	a.close(now)
	if got := e.with("acme: 3 more, the last: unbound"); len(got) != 1 {
		t.Errorf("written %v", e.with(""))
	}
	for range maxSessionLines + 2 { // after the end
		a.session(auditLine{systemID: "late"}, now)
	}
	a.flush(now.Add(sessionsEvery))
	if e.count("dropped 1") != maxSessionLines || e.count("dropped 2") != 1 {
		t.Errorf("dropped %v", e.with("dropped"))
	}

	a = newAudits(func(auditLine) error { return nil }, nil)
	for i := range maxFlapping {
		a.flaps[auditLine{systemID: fmt.Sprint(i)}] = &flapping{since: now}
	}
	for range maxSessionLines + 5 {
		a.session(auditLine{systemID: "one more"}, now)
	}
	if len(a.flaps) != maxFlapping || len(a.queue) != maxSessionLines+5 {
		t.Errorf("%d are counted, %d lines wait", len(a.flaps), len(a.queue))
	}
}
