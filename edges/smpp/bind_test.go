package smpp

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/smpp"
	"github.com/postrider/postrider/internal/snapshot"
)

func TestBindRefused(t *testing.T) {
	for _, tt := range []struct {
		name    string
		change  func(*serverWorld)
		command string
		status  smpp.Status
		reason  message.Reason
		audit   string // the end of its line
	}{
		{"account suspended", func(w *serverWorld) { w.account.Status = snapshot.AccountSuspended }, bindTRX,
			smpp.StatusBindFail, message.ReasonAccountSuspended, "known acme 192.0.2.1: the account is suspended"},
		{"account closed", func(w *serverWorld) { w.account.Status = snapshot.AccountClosed }, bindTRX,
			smpp.StatusBindFail, message.ReasonAccountSuspended, "known acme 192.0.2.1: the account is closed"},
		{"account gone", func(w *serverWorld) { w.cred.AccountID = message.NewID() }, bindTRX,
			smpp.StatusBindFail, message.ReasonAccountSuspended, "known acme 192.0.2.1: the account is gone"},
		{"disabled", func(w *serverWorld) { w.cred.Enabled = false }, bindTRX,
			smpp.StatusBindFail, message.ReasonForbidden, "known acme 192.0.2.1: the credential is disabled"},
		{"address", func(w *serverWorld) { w.cred.AllowedIPs = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")} }, bindTRX,
			smpp.StatusBindFail, message.ReasonForbidden, "known acme 192.0.2.1: not from this address"},
		{"TLS demanded", func(w *serverWorld) { w.cred.RequireTLS = true }, bindTRX,
			smpp.StatusBindFail, message.ReasonForbidden, "known acme 192.0.2.1: not without TLS"},
		{"transceiver", func(w *serverWorld) { w.cred.Transceiver = false }, bindTRX,
			smpp.StatusBindFail, message.ReasonForbidden, "known acme 192.0.2.1: not as a transceiver"},
		{"transmitter", func(w *serverWorld) { w.cred.Transmitter = false }, bindTX,
			smpp.StatusBindFail, message.ReasonForbidden, "known acme 192.0.2.1: not as a transmitter"},
		{"receiver", func(w *serverWorld) { w.cred.Receiver = false }, bindRX,
			smpp.StatusBindFail, message.ReasonForbidden, "known acme 192.0.2.1: not as a receiver"},
		{"binds", func(w *serverWorld) { w.cred.MaxBinds = 0 }, bindTX,
			smpp.StatusBindFail, message.ReasonForbidden, "known acme 192.0.2.1: 0 binds, which is all it may have"},
		{"journal away", func(w *serverWorld) { w.journal.onBind = func() error { return errors.New("away") } }, bindTRX,
			smpp.StatusSystemError, message.ReasonUnavailable, "known acme 192.0.2.1: the bind was not entered"},
		{"no password hash", func(w *serverWorld) { w.cred.PasswordHash = "" }, bindTRX,
			smpp.StatusInvPassword, message.ReasonUnauthenticated, "known acme 192.0.2.1: wrong password"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := serverSetup(t)
			tt.change(w)
			w.publish(2)
			p := w.pipes().dial("192.0.2.1")
			if st := p.tryBind(tt.command, "acme", serverPassword, 0x34); st != tt.status {
				t.Errorf("answered %s, want %s", st, tt.status)
			}
			p.wantEnd()
			w.events.await("bind refused "+string(tt.reason), 1)
			w.audited("smpp.bind_refused "+tt.audit, 1)
			w.events.await("connections -1", 1)
			if n := w.events.with("binds"); len(n) > 0 {
				t.Errorf("counted as bound: %v", n)
			}
		})
	}
}

func TestBindBeforeTheConfigurationIsRead(t *testing.T) {
	w := serverSetup(t)
	w.setSnapshot(nil)
	p := w.pipes().dial("192.0.2.1")
	if st := p.tryBind(bindTRX, "acme", serverPassword, 0x34); st != smpp.StatusSystemError {
		t.Errorf("answered %s", st)
	}
	p.wantEnd()
}

// A stranger must not learn from the status whether there is such a system_id,
// or what is the matter with its account.
func TestStrangersLearnNothing(t *testing.T) {
	w := serverSetup(t)
	w.cred.Enabled, w.cred.RequireTLS, w.cred.MaxBinds = false, true, 0
	w.cred.AllowedIPs = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}
	w.account.Status = snapshot.AccountClosed
	w.publish(2)
	l := w.pipes()
	answers := map[string]bool{}
	for _, id := range []string{"acme", "nobody"} {
		p := l.dial("192.0.2.1")
		p.pdu(fmt.Sprintf(`%s 00000000 00000001 "%s"00 "wrong"00 00 34 00 00 00`, bindTRX, id))
		answers[fmt.Sprintf("%x", p.read())] = true
		p.wantEnd()
	}
	if len(answers) != 1 {
		t.Errorf("answers differ: %v", answers)
	}
}

func TestAnAllowedAddress(t *testing.T) {
	w := serverSetup(t)
	w.cred.AllowedIPs = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("192.0.2.1/32"), netip.MustParsePrefix("2001:db8::/32")}
	w.publish(2)
	l := w.pipes()
	for _, a := range []string{"192.0.2.1", "::ffff:192.0.2.1", "198.51.100.77", "2001:db8::1"} {
		l.dial(a).bind(bindTRX)
	}
	if st := l.dial("192.0.2.2").tryBind(bindTRX, "acme", serverPassword, 0x34); st != smpp.StatusBindFail {
		t.Errorf("answered %s", st)
	}
}

func TestMaxBinds(t *testing.T) {
	w := serverSetup(t)
	w.cred.MaxBinds = 2
	w.publish(2)
	l := w.pipes()
	a := l.dial("192.0.2.1")
	a.bind(bindTRX)
	l.dial("192.0.2.2").bind(bindRX)
	p := l.dial("192.0.2.3")
	if st := p.tryBind(bindTRX, "acme", serverPassword, 0x34); st != smpp.StatusBindFail {
		t.Errorf("third bind was answered %s", st)
	}
	p.wantEnd()
	a.dialogue("> 00000006 00000000 00000002\n< 80000006 00000000 00000002\nend")
	l.dial("192.0.2.3").bind(bindTRX) // though its predecessor's row may still be there
}

// The row of an ended bind is waited for.
func TestRebindIsNotRefusedForItsPredecessor(t *testing.T) {
	w := serverSetup(t)
	w.cred.MaxBinds = 1
	w.publish(2)
	ending, release := make(chan struct{}), make(chan struct{})
	asked := make(chan struct{}, 10)
	w.journal.onUnbind = func(context.Context) error {
		close(ending)
		<-release
		w.journal.onUnbind = nil
		return nil
	}
	w.journal.onBind = func() error { asked <- struct{}{}; return nil }
	l := w.pipes()
	a := l.dial("192.0.2.1")
	a.bind(bindTRX)
	<-asked
	_ = a.Close()
	<-ending
	b := l.dial("192.0.2.1")
	b.pdu(acmeTRX)
	<-asked // and is told that there is no room
	close(release)
	b.want(acmeTRXAck)
	if n := w.events.count("bind refused forbidden"); n != 0 {
		t.Errorf("%d refusals", n)
	}
}

// A journal that is slow to say that it is done keeps nobody past session_init.
func TestBindDecidedInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := serverSetup(t)
		w.cred.MaxBinds = 1
		w.publish(2)
		release := make(chan struct{})
		w.journal.onUnbind = func(context.Context) error { <-release; return nil }
		l := w.pipes()
		a := l.dial("192.0.2.1")
		a.bind(bindTRX)
		_ = a.Close()
		synctest.Wait()
		began := time.Now()
		b := l.dial("192.0.2.1")
		if st := b.tryBind(bindTRX, "acme", serverPassword, 0x34); st != smpp.StatusSystemError {
			t.Errorf("answered %s", st)
		}
		if took := time.Since(began); took != sessionInit {
			t.Errorf("after %v", took)
		}
		b.wantEnd()
		close(release)
	})
}

// A peer that hangs up while its bind is decided leaves nothing behind; the
// world checks it at its end.
func TestPeerLostWhileItBinds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := serverSetup(t)
		entering, release := make(chan struct{}), make(chan struct{})
		w.journal.onBind = func() error { close(entering); <-release; return nil }
		p := w.pipes().dial("192.0.2.1")
		p.pdu(acmeTRX)
		<-entering
		_ = p.Close()
		close(release)
		w.events.await("row out", 1)
		synctest.Wait()
	})
}

func TestBindWhileShuttingDown(t *testing.T) {
	w := serverSetup(t)
	entering, release := make(chan struct{}), make(chan struct{})
	w.journal.onBind = func() error { close(entering); <-release; return nil }
	l := newServerPipes(t)
	served := make(chan error, 1)
	go func() { served <- w.Serve(l) }()
	p := l.dial("192.0.2.1")
	p.pdu(acmeTRX)
	<-entering
	done := make(chan error, 1)
	go func() { done <- w.Shutdown(t.Context()) }()
	p.wantEnd()
	close(release)
	if err := errors.Join(<-done, <-served); err != nil {
		t.Error(err)
	}
	if rows := w.journal.row(); len(rows) > 0 {
		t.Errorf("%d rows left", len(rows))
	}
}

func TestWhatABindIsGiven(t *testing.T) {
	for _, tt := range []struct {
		version byte
		legacy  bool
	}{{0x34, false}, {0x33, true}, {0, true}, {0x50, false}} {
		w := serverSetup(t)
		w.cred.Window = 3
		w.publish(2)
		got := make(chan *bound, 1)
		w.request = func(b *bound, r *smpp.Request) { got <- b; _ = r.Respond(smpp.StatusOK, nil) }
		p := w.pipes().dial("192.0.2.1")
		if st := p.tryBind(bindTRX, "acme", serverPassword, tt.version); st != smpp.StatusOK {
			t.Fatal(st)
		}
		p.pdu("00000004 00000000 00000002" + submitHi)
		b := <-got
		p.read()
		if b.legacy != tt.legacy || b.systemID != "acme" || b.credential != w.cred.ID || b.account != w.account.ID {
			t.Errorf("version %x: %+v", tt.version, b)
		}
		if rows := w.journal.row(); len(rows) != 1 || rows[0].ID != b.id {
			t.Errorf("rows %v, want %s", rows, b.id)
		}
		if b.session.Window() != 3 || b.session.Mode() != smpp.ModeTransceiver {
			t.Errorf("window %d, mode %s", b.session.Window(), b.session.Mode())
		}
		if w.settings(b) == nil {
			t.Error("no settings")
		}
	}
}

// Above the window the socket is not read.
func TestWindowHoldsThePeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := serverSetup(t)
		w.cred.Window = 2
		w.publish(2)
		came := serverHeld(w)
		p := w.pipes().dial("192.0.2.1")
		p.bind(bindTRX)
		go func() {
			for seq := 2; seq <= 5; seq++ {
				p.pdu(fmt.Sprintf("00000004 00000000 %08x", seq) + submitHi)
			}
		}()
		synctest.Wait()
		if len(came) != 2 {
			t.Fatalf("%d requests came through a window of 2", len(came))
		}
		for seq := 2; seq <= 5; seq++ {
			_ = (<-came).Respond(smpp.StatusOK, &smpp.SubmitSMResp{MessageID: "1"})
			p.want(fmt.Sprintf(`80000004 00000000 %08x "1"00`, seq))
		}
	})
}

func TestChangedConfigurationUnbinds(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*serverWorld)
		audit  string
	}{
		{"disabled", func(w *serverWorld) { w.cred.Enabled = false }, "the credential is disabled"},
		{"gone", func(w *serverWorld) { w.cred.ID = message.NewID() }, "the credential is gone"},
		{"suspended", func(w *serverWorld) { w.account.Status = snapshot.AccountSuspended }, "the account is suspended"},
		{"address", func(w *serverWorld) { w.cred.AllowedIPs = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")} }, "not from this address"},
		{"TLS", func(w *serverWorld) { w.cred.RequireTLS = true }, "not without TLS"},
		{"bind type", func(w *serverWorld) { w.cred.Transceiver = false }, "not as a transceiver"},
		{"password", func(w *serverWorld) { w.cred.PasswordHash = "$2a$04$other" }, "the password has changed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := serverSetup(t)
				l := w.pipes()
				p := l.dial("192.0.2.1")
				p.bind(bindTRX)
				open := l.dial("192.0.2.1") // has nothing to lose yet
				w.Recheck()
				p.alive()
				began := time.Now()
				tt.change(w)
				w.publish(2)
				p.unbound()
				if took := time.Since(began); took > watchEvery {
					t.Errorf("took %v", took)
				}
				w.audited("smpp.unbind known acme 192.0.2.1: "+tt.audit, 1)
				open.alive()
			})
		})
	}
}

func TestRecheckOnDemand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := serverSetup(t)
		l := w.pipes()
		a, silent := l.dial("192.0.2.1"), l.dial("192.0.2.1")
		a.bind(bindRX)
		silent.bind(bindTX)
		w.cred.Enabled = false
		w.publish(1) // the same version: only the call finds out
		began := time.Now()
		w.Recheck()
		w.Recheck() // once is enough
		a.unbound()
		if took := time.Since(began); took != 0 {
			t.Errorf("took %v", took)
		}
		silent.read() // and does not answer
		silent.wantEnd()
		if took := time.Since(began); took != drainTime {
			t.Errorf("a peer that does not answer was cut off after %v", took)
		}
		w.events.await("row out", 2)
	})
}

// A change that comes while a bind is decided is seen as well, though neither
// the bind nor a Recheck has seen both.
func TestChangeWhileABindIsDecided(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := serverSetup(t)
		w.journal.onBind = func() error {
			w.cred.Enabled = false
			w.publish(2)
			w.Recheck()
			return nil
		}
		p := w.pipes().dial("192.0.2.1")
		began := time.Now()
		p.bind(bindTRX)
		p.unbound()
		if took := time.Since(began); took != 0 {
			t.Errorf("took %v", took)
		}
		w.audited("smpp.unbind known acme 192.0.2.1: the credential is disabled", 1)
	})
}

// The deliverer knows of sessions that can receive, until nothing can be sent
// to them any more.
func TestReceivingSessionsAreAttached(t *testing.T) {
	for _, tt := range []struct {
		command string
		want    attachment
	}{{bindRX, attached}, {bindTRX, attached}, {bindTX, unattached}} {
		w := serverSetup(t)
		came := serverHeld(w)
		p := w.pipes().dial("192.0.2.1")
		p.bind(tt.command)
		w.events.await("binds acme +1", 1)
		p.alive() // what follows the bind_resp is done
		c := w.registry.allBound()[0]
		state := func() attachment {
			c.receiving.Lock()
			defer c.receiving.Unlock()
			return c.attachment
		}
		if got := state(); got != tt.want {
			t.Errorf("%s: %d while bound", tt.command, got)
		}
		if tt.command == bindTRX { // our unbind waits for a request of the peer
			p.pdu("00000004 00000000 00000002" + submitHi)
			r := <-came
			c.unbind("the first cause")
			c.unbind("another")
			p.alive()
			_ = r.Respond(smpp.StatusOK, nil)
			p.read()
			p.read()
			if got := state(); got != detached {
				t.Errorf("%s: %d while unbinding", tt.command, got)
			}
		}
		_ = p.Close()
		<-c.gone
		if tt.command == bindTRX {
			w.audited("smpp.unbind known acme 192.0.2.1: the first cause", 1)
		}
		if got := state(); got != detached {
			t.Errorf("%s: %d at the end", tt.command, got)
		}
		c.attach() // too late
		if got := state(); got != detached {
			t.Errorf("%s: %d, attached after its end", tt.command, got)
		}
	}
}

// Other settings do not end a session.
func TestHarmlessChangesUnbindNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := serverSetup(t)
		p := w.pipes().dial("192.0.2.1")
		p.bind(bindTRX)
		w.cred.MaxBinds, w.cred.Throughput, w.cred.Window, w.cred.LongMO = 1, 1, 1, "sar"
		w.publish(2)
		<-time.After(2 * watchEvery)
		p.alive()
	})
}

func TestRefusalsAreAuditedOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := serverSetup(t)
		w.cred.RequireTLS = true
		w.publish(2)
		l := w.pipes()
		for range 40 {
			p := l.dial("192.0.2.1")
			if st := p.tryBind(bindTRX, "acme", serverPassword, 0x34); st != smpp.StatusBindFail {
				t.Fatal(st)
			}
			p.wantEnd()
		}
		other := l.dial("192.0.2.2")
		_ = other.tryBind(bindTRX, "acme", serverPassword, 0x34)
		other.wantEnd()
		const line = "smpp.bind_refused known acme 192.0.2.1: not without TLS"
		w.audited("smpp.bind_refused known acme 192.0.2.2: not without TLS", 1)
		<-time.After(refusalsEvery + watchEvery)
		w.audited(line+" (39 more)", 1)
		again := l.dial("192.0.2.1") // within the minute of that line
		_ = again.tryBind(bindTRX, "acme", serverPassword, 0x34)
		again.wantEnd()
		<-time.After(3 * refusalsEvery)
		if got := w.events.with(line); len(got) != 3 || got[2] != line+" (1 more)" {
			t.Errorf("audited %v", got)
		}
		if n := w.events.count("bind refused forbidden"); n != 42 {
			t.Errorf("%d refusals counted", n)
		}
	})
}

func TestStrangersNameIsMadePrintable(t *testing.T) {
	w := serverSetup(t)
	p := w.pipes().dial("192.0.2.1")
	p.pdu(`00000009 00000000 00000001 ff0a "DROP"00 "x"00 00 34 00 00 00`)
	p.read()
	w.audited("smpp.bind_refused unknown ??DROP 192.0.2.1: unknown system_id", 1)
	if strings.Contains(w.logged.buf.String(), "\xff") {
		t.Error("logged as it came")
	}
}

func TestAuditQueueIsBounded(t *testing.T) {
	e := newServerEvents()
	writing, release := make(chan struct{}, 1), make(chan struct{})
	a := newAudits(func(auditLine) error {
		select {
		case writing <- struct{}{}:
		default:
		}
		<-release
		return nil
	}, func(n int) { e.add("dropped %d", n) })
	a.start()
	a.put(auditLine{event: "first"})
	<-writing
	for range auditQueue + 3 {
		a.put(auditLine{event: "more"})
	}
	if n := e.count("dropped 1"); n != 3 {
		t.Errorf("%d dropped", n)
	}
	now := time.Now()
	for i := range maxRefusals + 2 {
		a.refused(auditLine{systemID: fmt.Sprint(i)}, now)
	}
	if len(a.gather) > maxRefusals {
		t.Errorf("%d kinds of refusals are kept", len(a.gather))
	}
	close(release)
	a.close(now)
	a.put(auditLine{}) // after the end: dropped, no panic
}

// A beat that cannot have all places holds none.
func TestBeatHeldUp(t *testing.T) {
	r := newRegistry()
	if !r.enterRow(t.Context()) {
		t.Fatal("no place")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if r.holdEntries(ctx) {
		t.Error("a bind was being entered")
	}
	if len(r.entry) != 1 {
		t.Errorf("%d places are taken", len(r.entry))
	}
	r.enteredRow()
	if !r.holdEntries(t.Context()) {
		t.Error("nothing was in the way")
	}
	r.releaseEntries()
}

func TestAuditLineNotWritten(t *testing.T) {
	e := newServerEvents()
	a := newAudits(func(auditLine) error { return errors.New("away") }, func(n int) { e.add("dropped %d", n) })
	a.start()
	a.put(auditLine{})
	a.close(time.Now())
	if e.count("dropped 1") != 1 {
		t.Error("a line that was not written was not counted")
	}
}
