package smpp

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider/internal/smpp"
)

// A dialogue is what an ESME sends (>) and gets (<), PDUs without their length.
// >> sends octets as they are. "end" waits for the end of the connection, which
// must come without a further PDU.
func (p *serverPeer) dialogue(script string) {
	p.t.Helper()
	for line := range strings.Lines(script) {
		line, _, _ = strings.Cut(strings.TrimSpace(line), "#")
		switch {
		case line == "":
		case strings.HasPrefix(line, ">>"):
			p.send(line[2:])
		case strings.HasPrefix(line, ">"):
			p.pdu(line[1:])
		case strings.HasPrefix(line, "<"):
			p.want(line[1:])
		case strings.TrimSpace(line) == "end":
			p.wantEnd()
		default:
			p.t.Fatalf("dialogue: %q", line)
		}
	}
}

const (
	acmeTRX    = `00000009 00000000 00000001 "acme"00 "s3cret"00 00 34 00 00 00`
	acmeTRXAck = `80000009 00000000 00000001 "postrider"00 0210 0001 34`
	boundTRX   = "\n> " + acmeTRX + "\n< " + acmeTRXAck + "\n"
	boundTX    = "\n" + `> 00000002 00000000 00000001 "acme"00 "s3cret"00 00 34 00 00 00
		< 80000002 00000000 00000001 "postrider"00 0210 0001 34` + "\n"
	boundRX = "\n" + `> 00000001 00000000 00000001 "acme"00 "s3cret"00 00 34 00 00 00
		< 80000001 00000000 00000001 "postrider"00 0210 0001 34` + "\n"
	// A submit_sm of "Hi @" from 15551230001 to 15551230002.
	submitHi = `"" 00 0101 "15551230001"00 0101 "15551230002"00 00 00 00 00 00 01 00 00 00 04 "Hi "00`
	stays    = "\n> 00000015 00000000 00000063\n< 80000015 00000000 00000063\n"
)

// The rows of api.md §8 that are about the connection, its frames and its
// binds, and those of SMPP 3.4 §2.3 about states.
var conformance = []struct{ name, script string }{
	{"bind_transceiver", boundTRX + stays},
	{"bind_transmitter", boundTX + stays},
	{"bind_receiver", boundRX + stays},
	{"version 3.3 gets no TLV", `
		> 00000009 00000000 00000001 "acme"00 "s3cret"00 00 33 00 00 00
		< 80000009 00000000 00000001 "postrider"00` + stays},
	{"version 0 gets no TLV", `
		> 00000002 00000000 00000001 "acme"00 "s3cret"00 00 00 00 00 00
		< 80000002 00000000 00000001 "postrider"00` + stays},
	{"version 5.0", `
		> 00000001 00000000 00000001 "acme"00 "s3cret"00 00 50 00 00 00
		< 80000001 00000000 00000001 "postrider"00 0210 0001 34` + stays},
	{"system_type, addr_ton, address_range and a large sequence number", `
		> 00000009 00000000 7fffffff "acme"00 "s3cret"00 "cp"00 34 01 01 "^1555"00
		< 80000009 00000000 7fffffff "postrider"00 0210 0001 34` + stays},
	{"wrong password", `
		> 00000009 00000000 00000001 "acme"00 "wrong"00 00 34 00 00 00
		< 80000009 0000000e 00000001 00
		end`},
	{"unknown system_id", `
		> 00000009 00000000 00000001 "nobody"00 "s3cret"00 00 34 00 00 00
		< 80000009 0000000e 00000001 00
		end`},
	{"no system_id and no password", `
		> 00000009 00000000 00000001 00 00 00 34 00 00 00
		< 80000009 0000000e 00000001 00
		end`},
	{"refused transmitter has no body", `
		> 00000002 00000000 00000001 "acme"00 "wrong"00 00 34 00 00 00
		< 80000002 0000000e 00000001
		end`},
	{"refused receiver has no body", `
		> 00000001 00000000 00000001 "acme"00 "wrong"00 00 34 00 00 00
		< 80000001 0000000e 00000001
		end`},
	{"bind that ends within a field", `
		> 00000009 00000000 00000001 "acme"00 "s3cr"
		< 80000009 00000001 00000001 00
		end`},
	{"second bind", boundTRX + `
		> 00000009 00000000 00000002 "acme"00 "s3cret"00 00 34 00 00 00
		< 80000009 00000005 00000002 00
		> 00000001 00000000 00000003 "nobody"00 "x"00 00 34 00 00 00
		< 80000001 00000005 00000003` + stays},
	{"requests before the bind", `
		> 00000004 00000000 00000001 ` + submitHi + `
		< 80000004 00000004 00000001
		> 00000003 00000000 00000002 "a"00 00 00 00
		< 80000003 00000004 00000002 00 00 00 00
		> 00000005 00000000 00000003 ` + submitHi + `
		< 80000005 00000004 00000003 00
		> 00000008 00000000 00000004 00 "a"00 00 00 00 00 00 00
		< 80000008 00000004 00000004` + stays + boundTRX},
	{"enquire_link before the bind", stays + boundTRX},
	{"unbind before the bind", `
		> 00000006 00000000 00000005
		< 80000006 00000000 00000005
		end`},
	{"outbind and alert_notification have no answer", `
		> 0000000b 00000000 00000001 "acme"00 "s3cret"00` + boundTRX + `
		> 00000102 00000000 00000002 01 01 "1"00 01 01 "2"00` + stays},
	{"unknown command", `
		> 00000099 00000000 00000007 "whatever"
		< 80000000 00000003 00000007` + stays + boundTRX + `
		> 000000ff 00000000 00000008
		< 80000000 00000003 00000008` + stays},
	{"a response that nobody waits for", boundTRX + `
		> 80000005 00000000 00000042 00
		> 80000000 00000003 00000043` + stays},
	{"submit by a receiver", boundRX + `
		> 00000004 00000000 00000002 ` + submitHi + `
		< 80000004 00000004 00000002
		> 00000103 00000000 00000003 00 00 00 "1"00 00 00 "2"00 00 00 00
		< 80000103 00000004 00000003 00` + stays},
	{"deliver_sm by an ESME", boundTRX + `
		> 00000005 00000000 00000002 ` + submitHi + `
		< 80000005 00000004 00000002 00` + stays},
	{"unbind", boundTRX + `
		> 00000006 00000000 00000002
		< 80000006 00000000 00000002
		end`},
	{"enquire_link with a body", boundTRX + `
		> 00000015 00000000 00000002 00000000
		< 80000015 00000000 00000002` + stays},
	{"command_length 0", `
		>> 00000000
		< 80000000 00000002 00000000
		end`},
	{"command_length 15", `
		>> 0000000f 00000009 00000000 00000007
		< 80000000 00000002 00000000
		end`},
	{"command_length 513 before the bind", `
		>> 00000201 00000009 00000000 00000007
		< 80000000 00000002 00000007
		end`},
	{"command_length 15 when bound", boundTRX + `
		>> 0000000f 00000004 00000000 00000007
		< 80000000 00000002 00000000
		end`},
	{"command_length 65,553", boundTRX + `
		>> 00010011 00000004 00000000 00000007
		< 80000000 00000002 00000007
		end`},
	{"command_length 2^32-1", boundTRX + `
		>> ffffffff 00000004 00000000 00000007
		< 80000000 00000002 00000007
		end`},
	{"two PDUs and a half in one segment", `
		>> 00000010 00000015 00000000 00000001 00000010 00000015 00000000 00000002 00000010 0000
		< 80000015 00000000 00000001
		< 80000015 00000000 00000002
		>> 0015 00000000 00000003
		< 80000015 00000000 00000003`},
}

func TestConformance(t *testing.T) {
	for _, tt := range conformance {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := serverSetup(t)
			serverDial(t, w.listen()).dialogue(tt.script)
		})
	}
}

// The same octets one by one: no answer may depend on how TCP cuts the stream.
func TestConformanceOctetByOctet(t *testing.T) {
	w := serverSetup(t)
	p := serverDial(t, w.listen())
	for _, b := range serverFramed(t, acmeTRX) {
		if _, err := p.Write([]byte{b}); err != nil {
			t.Fatal(err)
		}
	}
	p.want(acmeTRXAck)
}

func TestLargestFrames(t *testing.T) {
	w := serverSetup(t)
	p := serverDial(t, w.listen())
	frame := func(n int, id, seq uint32) []byte {
		b := make([]byte, n)
		binary.BigEndian.PutUint32(b, uint32(n))
		binary.BigEndian.PutUint32(b[4:], id)
		binary.BigEndian.PutUint32(b[12:], seq)
		return b
	}
	for _, f := range [][]byte{frame(512, 0x15, 1), serverFramed(t, acmeTRX), frame(65_552, 0x15, 2), frame(65_552, 0x99, 3)} {
		if _, err := p.Write(f); err != nil {
			t.Fatal(err)
		}
	}
	p.dialogue("< 80000015 00000000 00000001\n< " + acmeTRXAck + `
		< 80000015 00000000 00000002
		< 80000000 00000003 00000003`)
}

func TestNoBindInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, during := range map[string]func(p *serverPeer){
			"silence":     func(*serverPeer) {},
			"half a bind": func(p *serverPeer) { p.send("00000021 00000009 00000000") },
			"talk": func(p *serverPeer) {
				<-time.After(9 * time.Second)
				p.alive()
			},
		} {
			w := serverSetup(t)
			l := w.pipes()
			began := time.Now()
			p := l.dial("192.0.2.1")
			during(p)
			p.wantEnd()
			if took := time.Since(began); took != sessionInit {
				t.Errorf("%s: ended after %v", name, took)
			}
			w.events.await("connections -1", 1)
		}
	})
}

func TestHalfAPDUEndsABoundSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := serverSetup(t)
		p := w.pipes().dial("192.0.2.1")
		p.bind(bindTRX)
		<-time.After(5 * time.Second)
		began := time.Now()
		p.send("00000010 000000")
		p.wantEnd()
		if took := time.Since(began); took != 10*time.Second {
			t.Errorf("ended after %v", took)
		}
		w.audited("smpp.unbind known acme 192.0.2.1: connection lost", 1)
		w.events.await("row out", 1)
	})
}

func TestEnquireLinkTimers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := serverSetup(t)
		p := w.pipes().dial("192.0.2.1")
		p.bind(bindRX)
		began := time.Now()
		for n := range 2 * 60 * 3 { // for three hours; there is no inactivity timer
			p.want(fmt.Sprintf("00000015 00000000 %08x", n+1))
			p.pdu(fmt.Sprintf("80000015 00000000 %08x", n+1))
		}
		if took := time.Since(began); took != 3*time.Hour {
			t.Errorf("three hours' enquire_link took %v", took)
		}
		p.read() // and no answer
		p.wantEnd()
		if took := time.Since(began); took != 3*time.Hour+40*time.Second {
			t.Errorf("ended after %v", took)
		}
		w.audited("smpp.unbind known acme 192.0.2.1: no answer to enquire_link", 1)
		w.events.await("binds acme -1", 1)
	})
}

// With a time set, enquire_link alone does not keep a session.
func TestInactiveIsUnbound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := serverSetup(t)
		w.Inactivity = 100 * time.Second
		p := w.pipes().dial("192.0.2.1")
		p.bind(bindTX)
		began := time.Now()
		n := 1
		for b := p.read(); b[7] == 0x15; b = p.read() {
			p.pdu(fmt.Sprintf("80000015 00000000 %08x", n))
			n++
		}
		if took := time.Since(began); took != 100*time.Second {
			t.Errorf("unbound after %v and %d enquire_link", took, n-1)
		}
		p.pdu(fmt.Sprintf("80000006 00000000 %08x", n))
		p.wantEnd()
		w.audited("smpp.unbind known acme 192.0.2.1: unbound", 1)
	})
}

func TestPeerUnbinds(t *testing.T) {
	w := serverSetup(t)
	p := serverDial(t, w.listen())
	p.bind(bindTRX)
	w.events.await("binds acme +1", 1)
	rows := w.journal.row()
	if len(rows) != 1 {
		t.Fatalf("%d rows", len(rows))
	}
	r := rows[0]
	if r.CredentialID != w.cred.ID || r.Instance != "here" || r.Mode != "transceiver" || r.Address != "127.0.0.1" || r.TLS || r.Version != 0x34 || r.BoundAt.IsZero() {
		t.Errorf("row %+v", r)
	}
	w.audited("smpp.bind known acme 127.0.0.1: transceiver, plain, interface_version 34", 1)
	p.dialogue("> 00000006 00000000 00000002\n< 80000006 00000000 00000002\nend")
	w.events.await("binds acme -1", 1)
	w.audited("smpp.unbind known acme 127.0.0.1: unbound", 1)
	if rows := w.journal.row(); len(rows) > 0 {
		t.Errorf("%d rows after unbind", len(rows))
	}
}

// serverHeld lets requests wait: each is told of, and answered when the test
// says so.
func serverHeld(w *serverWorld) (came chan *smpp.Request) {
	came = make(chan *smpp.Request, 100)
	w.request = func(_ *bound, r *smpp.Request) { came <- r }
	return came
}

func TestShutdownDrains(t *testing.T) {
	w := serverSetup(t)
	came := serverHeld(w)
	addr := w.listen()
	p, open := serverDial(t, addr), serverDial(t, addr)
	open.alive() // not bound
	p.bind(bindTRX)
	p.pdu("00000004 00000000 00000002" + submitHi)
	r := <-came

	done := make(chan error, 1)
	go func() { done <- w.Shutdown(context.Background()) }()
	open.wantEnd()
	if c, err := net.Dial("tcp", addr); err == nil {
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("a connection was served while shutting down")
		}
		_ = c.Close()
	}
	p.alive()
	if err := r.Respond(smpp.StatusOK, &smpp.SubmitSMResp{MessageID: "1"}); err != nil {
		t.Error(err)
	}
	p.want(`80000004 00000000 00000002 "1"00`)
	select {
	case err := <-done:
		t.Errorf("shutdown did not wait: %v", err)
	default:
	}
	p.unbound()
	if err := <-done; err != nil {
		t.Error(err)
	}
	w.audited("smpp.unbind known acme 127.0.0.1: shutting down", 1)
	if n := w.events.count("row out"); n != 1 {
		t.Errorf("%d rows were taken out", n)
	}
	if err := w.Shutdown(context.Background()); err != nil {
		t.Errorf("second shutdown: %v", err)
	}
	l := newServerPipes(t)
	if err := w.Serve(l); err != nil {
		t.Errorf("serve after shutdown: %v", err)
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Error("the listener was not closed")
	}
}

func TestShutdownCutsOff(t *testing.T) {
	for _, tt := range []struct {
		name string
		ctx  time.Duration // 0: none
		want time.Duration
	}{
		{"after its own time", 0, drainTime},
		{"when the context ends", 3 * time.Second, 3 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := serverSetup(t)
				came := serverHeld(w)
				l := newServerPipes(t)
				served := make(chan error, 1)
				go func() { served <- w.Serve(l) }()
				p := l.dial("192.0.2.1")
				p.bind(bindTRX)
				p.pdu("00000004 00000000 00000002" + submitHi)
				<-came // and is never answered

				ctx := context.Background()
				if tt.ctx > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, tt.ctx)
					defer cancel()
				}
				began := time.Now()
				err := w.Shutdown(ctx)
				if took := time.Since(began); took != tt.want || !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("ended with %v after %v", err, took)
				}
				if err := <-served; err != nil {
					t.Error(err)
				}
				if rows := w.journal.row(); len(rows) > 0 {
					t.Errorf("%d rows left", len(rows))
				}
				p.wantEnd()
			})
		})
	}
}

// A journal that does not answer must not keep the process.
func TestShutdownLeavesAStuckRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := serverSetup(t)
		release, stuck := make(chan struct{}), make(chan struct{})
		w.request = func(_ *bound, r *smpp.Request) {
			r.Go(func() { close(stuck); <-release })
		}
		l := newServerPipes(t)
		served := make(chan error, 1)
		go func() { served <- w.Serve(l) }()
		p := l.dial("192.0.2.1")
		p.bind(bindTX)
		p.pdu("00000004 00000000 00000002" + submitHi)
		<-stuck
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		began := time.Now()
		if err := w.Shutdown(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("shutdown: %v", err)
		}
		if took := time.Since(began); took > 2*lastTime {
			t.Errorf("took %v", took)
		}
		<-served
		close(release)
		_ = p.Close()
	})
}

// What the sessions could not say to the journal is said at the end, in one
// statement.
func TestShutdownWithASlowJournal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := serverSetup(t)
		w.journal.onUnbind = func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		}
		l := newServerPipes(t)
		served := make(chan error, 1)
		go func() { served <- w.Serve(l) }()
		p := l.dial("192.0.2.1")
		p.bind(bindTX)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		go p.unbound()
		if err := w.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("shutdown: %v after %v", err, time.Since(began))
		}
		<-served
		if rows := w.journal.row(); len(rows) > 0 {
			t.Errorf("%d rows left", len(rows))
		}
	})
}

func TestShutdownWithoutServe(t *testing.T) {
	w := serverSetup(t)
	if err := w.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	if n := w.events.count("alive 0"); n != 0 {
		t.Error("a registry that was never used was written to")
	}
}

func TestHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := serverSetup(t)
		var fail atomic.Bool
		w.journal.onAlive = func() error {
			if fail.Load() {
				return errors.New("away")
			}
			return nil
		}
		l := w.pipes()
		a, b := l.dial("192.0.2.1"), l.dial("192.0.2.1")
		a.bind(bindTRX)
		b.bind(bindTX)
		began := time.Now()
		w.events.await("alive 2", 1)
		if took := time.Since(began); took != beatEvery {
			t.Errorf("first beat after %v", took)
		}
		fail.Store(true)
		w.events.await("alive 2", 2)
		synctest.Wait()
		if w.logged.count("heartbeat not written") != 1 {
			t.Error("a failed beat was not logged")
		}
		fail.Store(false)
		_ = b.Close()
		w.events.await("alive 1", 1)
		if took := time.Since(began); took != 3*beatEvery {
			t.Errorf("third beat after %v", took)
		}
	})
}

// A beat takes out of the registry what it does not name, so it must not pass a
// bind that is being entered.
func TestHeartbeatAndBindExcludeEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := serverSetup(t)
		entering := make(chan struct{})
		l := w.pipes()
		<-time.After(beatEvery - time.Second)
		w.journal.onBind = func() error { // from 9 s to 12 s, the beat being due at 10 s
			close(entering)
			<-time.After(3 * time.Second)
			return nil
		}
		p := l.dial("192.0.2.1")
		p.pdu(acmeTRX)
		<-entering
		p.want(acmeTRXAck)
		w.events.await("alive 1", 1)
		w.journal.mu.Lock()
		defer w.journal.mu.Unlock()
		if len(w.journal.alive) != 1 || len(w.journal.rows) != 1 {
			t.Errorf("beats %v, rows %v", w.journal.alive, w.journal.rows)
		}
	})
}

// BenchmarkBinds holds 1,000 binds and reports what each of them takes in this
// process, the ESME's socket not counted but its net.Conn.
func BenchmarkBinds(b *testing.B) {
	const binds, most = 1000, 100 << 10
	for b.Loop() {
		w := serverSetup(b)
		w.cred.MaxBinds = binds
		w.publish(1)
		w.MaxPerAddress, w.ConnectRate = binds, 2*binds
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		served := make(chan error, 1)
		go func() { served <- w.Serve(l) }()
		before := memoryInUse()
		peers := make([]*serverPeer, binds)
		for i := range peers {
			peers[i] = serverDial(b, l.Addr().String())
			peers[i].bind(bindTRX)
		}
		each := (memoryInUse() - before) / binds
		b.ReportMetric(float64(each), "octets/bind")
		if each > most {
			b.Errorf("%d octets a bind, want %d at most", each, most)
		}
		for _, p := range peers {
			_ = p.Close()
		}
		if err := errors.Join(w.Shutdown(context.Background()), <-served); err != nil {
			b.Error(err)
		}
	}
}

func memoryInUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}
