package smpp

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/smpp"
	"github.com/postrider/postrider/internal/snapshot"
)

// serverPasswords counts what is computed; a password fits a hash "$2a$04$" and
// itself, filled up.
func serverPasswords() (*passwords, *atomic.Int64) {
	p := newPasswords()
	var computed atomic.Int64
	p.compare = func(hash, given []byte) error {
		computed.Add(1)
		if string(hash) != serverHashOf(string(given)) {
			return bcrypt.ErrMismatchedHashAndPassword
		}
		return nil
	}
	return p, &computed
}

func serverHashOf(password string) string { return "$2a$04$" + fmt.Sprintf("%-53s", password) }

func serverCredential(password string) *snapshot.SMPPCredential {
	return &snapshot.SMPPCredential{ID: message.NewID(), PasswordHash: serverHashOf(password)}
}

func serverNotHeld() error { return nil }

func TestRightPasswordsAreKnownAgain(t *testing.T) {
	p, computed := serverPasswords()
	c := serverCredential("right")
	check := func(c *snapshot.SMPPCredential, given string, want bool, cost int64) {
		t.Helper()
		before := computed.Load()
		hash := ""
		if c != nil {
			hash = c.PasswordHash
		}
		got, err := p.check(t.Context(), password{c, hash, given}, bcrypt.MinCost, serverNotHeld)
		if got != want || err != nil || computed.Load()-before != cost {
			t.Errorf("%q: %v %v for %d computations, want %v for %d", given, got, err, computed.Load()-before, want, cost)
		}
	}
	check(c, "right", true, 1)
	check(c, "right", true, 0)
	check(c, "wrong", false, 1)
	check(c, "wrong", false, 1) // failures are not kept
	check(nil, "right", false, 1)
	check(nil, "other", false, 1) // it is what the stranger's time is spent on
	check(nil, "other", false, 1)
	check(serverCredential("right"), "right", true, 1) // another credential
	check(&snapshot.SMPPCredential{ID: c.ID, PasswordHash: "unreadable"}, "other", false, 1)
	changed := &snapshot.SMPPCredential{ID: c.ID, PasswordHash: serverHashOf("new")}
	check(changed, "right", false, 1)
	check(changed, "new", true, 1)
	check(changed, "new", true, 0)
}

func TestKnownPasswordsAreBounded(t *testing.T) {
	p, computed := serverPasswords()
	ask := func(c *snapshot.SMPPCredential) {
		if ok, err := p.check(t.Context(), password{c, c.PasswordHash, "x"}, bcrypt.MinCost, serverNotHeld); !ok || err != nil {
			t.Fatal(ok, err)
		}
	}
	first, second := serverCredential("x"), serverCredential("x")
	ask(first)
	ask(second)
	for range maxKnown - 2 {
		ask(serverCredential("x"))
	}
	ask(first) // used again: the second is older now
	ask(serverCredential("x"))
	if len(p.known) != maxKnown || p.recent.Len() != maxKnown || len(p.flights) != 0 {
		t.Errorf("%d and %d kept, %d under way", len(p.known), p.recent.Len(), len(p.flights))
	}
	before := computed.Load()
	ask(first)
	ask(second)
	if n := computed.Load() - before; n != 1 {
		t.Errorf("%d computed, want the second only", n)
	}
}

// The secret differs, so a dump of one process tells nothing in another.
func TestPasswordKeysAreOfTheProcess(t *testing.T) {
	a, b := newPasswords(), newPasswords()
	pw := password{serverCredential("x"), serverHashOf("x"), "x"}
	if again := a.key(pw); a.key(pw) == b.key(pw) || a.key(pw) != again {
		t.Error("keys")
	}
	shifted := pw
	shifted.hash, shifted.given = pw.hash+"x", ""
	if a.key(pw) == a.key(shifted) {
		t.Error("fields run into each other")
	}
}

func TestOnePasswordIsComputedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, computed := serverPasswords()
		compare, release := p.compare, make(chan struct{})
		p.compare = func(h, g []byte) error { <-release; return compare(h, g) }
		c := serverCredential("x")
		var all sync.WaitGroup
		var right atomic.Int64
		for range 1000 {
			all.Go(func() {
				if ok, err := p.check(t.Context(), password{c, c.PasswordHash, "x"}, bcrypt.MinCost, serverNotHeld); ok && err == nil {
					right.Add(1)
				}
			})
		}
		synctest.Wait()
		close(release)
		all.Wait()
		if right.Load() != 1000 || computed.Load() != 1 {
			t.Errorf("%d right by %d computations", right.Load(), computed.Load())
		}
	})
}

func TestComputationsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, computed := serverPasswords()
		compare, release := p.compare, make(chan struct{})
		var now, most atomic.Int64
		p.compare = func(h, g []byte) error {
			most.Store(max(most.Load(), now.Add(1)))
			defer now.Add(-1)
			<-release
			return compare(h, g)
		}
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				_, _ = p.check(t.Context(), password{serverCredential("x"), serverHashOf("x"), "x"}, bcrypt.MinCost, serverNotHeld)
			})
		}
		synctest.Wait()
		if n := now.Load(); n != int64(cap(p.turns)) {
			t.Errorf("%d at a time, want %d", n, cap(p.turns))
		}
		// Who runs out of time gives up its turn, and computes nothing.
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := p.check(ctx, password{serverCredential("y"), serverHashOf("y"), "y"}, bcrypt.MinCost, serverNotHeld)
		if message.ReasonOf(err) != message.ReasonUnavailable {
			t.Errorf("out of time: %v", err)
		}
		close(release)
		all.Wait()
		if computed.Load() != 100 || len(p.flights) != 0 {
			t.Errorf("%d computed, %d left under way", computed.Load(), len(p.flights))
		}
	})
}

// Those who wait for one who gives up compute themselves.
func TestAnothersTimeIsNotOurs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := serverPasswords()
		for range cap(p.turns) { // all turns are taken
			p.turns <- struct{}{}
		}
		c := serverCredential("x")
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var all sync.WaitGroup
		all.Go(func() {
			if _, err := p.check(short, password{c, c.PasswordHash, "x"}, bcrypt.MinCost, serverNotHeld); message.ReasonOf(err) != message.ReasonUnavailable {
				t.Errorf("out of time: %v", err)
			}
		})
		synctest.Wait()
		all.Go(func() {
			if ok, err := p.check(t.Context(), password{c, c.PasswordHash, "x"}, bcrypt.MinCost, serverNotHeld); !ok || err != nil {
				t.Errorf("with time: %v %v", ok, err)
			}
		})
		<-time.After(2 * time.Second)
		<-p.turns
		all.Wait()
	})
}

// What others fail while a bind waits for its turn counts.
func TestHeldBackWhileWaiting(t *testing.T) {
	p, computed := serverPasswords()
	held := errors.New("held")
	c := serverCredential("x")
	if _, err := p.check(t.Context(), password{c, c.PasswordHash, "x"}, bcrypt.MinCost, func() error { return held }); !errors.Is(err, held) || computed.Load() != 0 {
		t.Errorf("%v after %d computations", err, computed.Load())
	}
}

func TestPanicInAComparisonLeavesNothing(t *testing.T) {
	p, _ := serverPasswords()
	good := p.compare
	p.compare = func(_, _ []byte) error { panic("boom") }
	c := serverCredential("x")
	func() {
		defer func() { _ = recover() }()
		_, _ = p.check(t.Context(), password{c, c.PasswordHash, "x"}, bcrypt.MinCost, serverNotHeld)
	}()
	p.compare = good
	if ok, err := p.check(t.Context(), password{c, c.PasswordHash, "x"}, bcrypt.MinCost, serverNotHeld); !ok || err != nil || len(p.turns) != 0 {
		t.Errorf("%v %v, %d turns taken", ok, err, len(p.turns))
	}
}

// A system_id that does not exist, a hash that cannot be read and hashes of any cost
// take the same time: what a hash of the highest cost among the credentials takes.
func TestEverySystemIDCostsTheSame(t *testing.T) {
	at := func(cost int) *snapshot.SMPPCredential {
		return &snapshot.SMPPCredential{ID: message.NewID(), PasswordHash: hashOfCost(cost)}
	}
	odd := &snapshot.SMPPCredential{ID: message.NewID(), PasswordHash: "?"}
	snap := &snapshot.Snapshot{SMPPCredentials: map[string]*snapshot.SMPPCredential{"a": at(5), "b": odd, "c": at(9), "d": at(4)}}
	p := newPasswords()
	spent := 0
	p.compare = func(hash, _ []byte) error {
		cost, err := bcrypt.Cost(hash)
		if err != nil {
			t.Error(err)
		}
		spent += 1 << cost
		return bcrypt.ErrMismatchedHashAndPassword
	}
	for name, c := range map[string]*snapshot.SMPPCredential{"unknown": nil, "unreadable": odd, "cost 4": at(4), "cost 5": at(5), "cost 9": at(9)} {
		pw := password{c, "", "x"}
		if c != nil {
			pw.hash = c.PasswordHash
		}
		spent = 0
		if ok, err := p.check(t.Context(), pw, p.costIn(snap), serverNotHeld); ok || err != nil || spent != 1<<9 {
			t.Errorf("%s: %v, %v, %d spent, want %d", name, ok, err, spent, 1<<9)
		}
	}
	if cost := p.costIn(&snapshot.Snapshot{}); cost != bcrypt.DefaultCost {
		t.Errorf("cost %d without credentials", cost)
	}
	if err := bcrypt.CompareHashAndPassword([]byte(hashOfCost(4)), []byte("x")); !errors.Is(err, bcrypt.ErrMismatchedHashAndPassword) {
		t.Errorf("a hash to spend time on: %v", err)
	}
}

var (
	serverHome  = netip.MustParseAddr("192.0.2.1")
	serverOther = netip.MustParseAddr("192.0.2.2")
)

func TestFailuresHoldBack(t *testing.T) {
	f := newFailures()
	now := time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)
	held := func(a netip.Addr, id string, want bool) {
		t.Helper()
		if got := f.held(a, id, now) != nil; got != want {
			t.Errorf("%s at %s, %s: held %v", id, a, now.Format(time.TimeOnly), got)
		}
	}
	for range maxFailures - 1 {
		f.failed(serverHome, "acme", now)
		now = now.Add(time.Second)
	}
	held(serverHome, "acme", false)
	f.failed(serverHome, "acme", now)
	held(serverHome, "acme", true)
	held(serverHome, "other", false) // neither another ESME there
	held(serverOther, "acme", false) // nor the same one elsewhere
	for _, hold := range []time.Duration{5 * time.Second, 10 * time.Second, 20 * time.Second, 40 * time.Second, time.Minute, time.Minute} {
		now = now.Add(hold - 1)
		held(serverHome, "acme", true)
		now = now.Add(1)
		held(serverHome, "acme", false)
		f.failed(serverHome, "acme", now)
	}
	held(serverHome, "other", false)
	now = now.Add(time.Minute)
	f.succeeded(serverHome, "acme")
	for range maxFailures - 1 {
		f.failed(serverHome, "acme", now)
	}
	held(serverHome, "acme", false) // forgotten by the success
}

func TestSlowFailuresAreNotHeld(t *testing.T) {
	f := newFailures()
	now := time.Now()
	for range 100 {
		f.failed(serverHome, "acme", now)
		now = now.Add(failuresWindow/(maxFailures-1) + 1)
		if f.held(serverHome, "acme", now) != nil {
			t.Fatal("held")
		}
	}
}

func TestFailuresOfAnAddress(t *testing.T) {
	f := newFailures()
	now := time.Now()
	for i := range maxAddressFailures {
		if h := f.held(serverHome, "new", now); h != nil {
			t.Fatalf("held after %d: %v", i, h)
		}
		f.failed(serverHome, fmt.Sprint(i), now)
	}
	h := f.held(serverHome, "new", now)
	if h == nil || !h.address {
		t.Errorf("held %v", h)
	}
	if f.held(serverOther, "0", now) != nil {
		t.Error("another address is held")
	}
	f.succeeded(serverHome, "0") // who has one password may be guessing at others
	if f.held(serverHome, "new", now) == nil {
		t.Error("no longer held")
	}
	// Once held, it is not held again for a single failure.
	now = now.Add(2 * failuresWindow)
	f.failed(serverHome, "0", now)
	if f.held(serverHome, "new", now) != nil {
		t.Error("held for one failure")
	}
	a, b := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
	for range maxFailures {
		f.failed(a, "acme", now)
	}
	if f.held(b, "acme", now) == nil {
		t.Error("the same /64 is another address")
	}
}

// One ESME with a wrong password that goes on for ever does not take its
// neighbours along.
func TestBrokenESMEHarmsItself(t *testing.T) {
	f := newFailures()
	now := time.Now()
	for range 24 * 60 * 60 {
		if f.held(serverHome, "broken", now) == nil {
			f.failed(serverHome, "broken", now)
		}
		if f.held(serverHome, "acme", now) != nil {
			t.Fatal("held for its neighbour")
		}
		now = now.Add(time.Second)
	}
}

func TestFailuresAreForgotten(t *testing.T) {
	f := newFailures()
	now := time.Now()
	for range maxFailures {
		f.failed(serverHome, "acme", now)
	}
	f.tidy(now.Add(failuresKept - 1))
	if len(f.keys) != 2 {
		t.Errorf("%d keys", len(f.keys))
	}
	f.tidy(now.Add(failuresKept))
	if len(f.keys) != 0 || f.recent.Len() != 0 {
		t.Errorf("%d keys", len(f.keys))
	}
	for i := range 2 * maxFailing {
		f.failed(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), "acme", now)
	}
	if len(f.keys) > maxFailing || f.recent.Len() != len(f.keys) {
		t.Errorf("%d keys, %d in the list", len(f.keys), f.recent.Len())
	}
}

// Over a session: the sixth bind is refused without work though its password is
// right; the same from elsewhere is not.
func TestBackOffOfASession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := serverSetup(t)
		var computed atomic.Int64
		w.prepare()
		compare := w.passwords.compare
		w.passwords.compare = func(h, g []byte) error { computed.Add(1); return compare(h, g) }
		l := w.pipes()
		try := func(address, password string, want smpp.Status) {
			t.Helper()
			p := l.dial(address)
			if st := p.tryBind(bindTRX, "acme", password, 0x34); st != want {
				t.Errorf("%s from %s was answered %s", password, address, st)
			}
			_ = p.Close()
		}
		for range maxFailures {
			try("192.0.2.1", "guess", smpp.StatusInvPassword)
		}
		try("192.0.2.1", serverPassword, smpp.StatusInvPassword)
		if n := computed.Load(); n != maxFailures {
			t.Errorf("%d computations", n)
		}
		w.audited("smpp.bind_refused unknown acme 192.0.2.1: held back: too many failures of the system_id at the address", 1)
		try("192.0.2.2", serverPassword, smpp.StatusOK)
		<-time.After(holdMin)
		try("192.0.2.1", serverPassword, smpp.StatusOK)
		if n := computed.Load(); n != maxFailures+1 {
			t.Errorf("%d computations", n)
		}
		for i := range 2 * maxAddressFailures { // who makes up names makes one line
			p := l.dial("192.0.2.3")
			_ = p.tryBind(bindTRX, fmt.Sprint("made-up-", i), "guess", 0x34)
			_ = p.Close()
		}
		w.audited("smpp.bind_refused unknown  192.0.2.3: held back: too many failures of the address", 1)
		synctest.Wait()
		if got := w.events.with("smpp.bind_refused unknown made-up"); len(got) != maxAddressFailures {
			t.Errorf("%d lines", len(got))
		}
	})
}

// A storm of reconnects costs one bcrypt.
func TestReconnectStorm(t *testing.T) {
	w := serverSetup(t)
	w.cred.MaxBinds = 1000
	w.publish(2)
	w.MaxPerAddress, w.ConnectRate = 1000, 1000
	var computed atomic.Int64
	w.prepare()
	compare := w.passwords.compare
	w.passwords.compare = func(h, g []byte) error { computed.Add(1); return compare(h, g) }
	addr := w.listen()
	var all sync.WaitGroup
	for range 200 {
		p := serverDial(t, addr)
		all.Go(func() {
			p.pdu(acmeTRX)
			if b, err := p.next(); err != nil || string(b) != string(serverFramed(t, acmeTRXAck)) {
				t.Errorf("%x %v", b, err)
			}
		})
	}
	all.Wait()
	if n := computed.Load(); n != 1 {
		t.Errorf("%d computations", n)
	}
}
