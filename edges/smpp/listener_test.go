package smpp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider/internal/door"
)

func TestAcceptErrorsBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := serverSetup(t)
		l := w.pipes()
		began := time.Now()
		for range 20 {
			l.conns <- syscall.EMFILE
		}
		p := l.dial("192.0.2.1") // accepted after the last pause
		if took := time.Since(began); took < 10*time.Second || took > 20*time.Second {
			t.Errorf("20 errors took %v", took)
		}
		p.bind(bindTRX)
	})
}

func TestListenerLost(t *testing.T) {
	w := serverSetup(t)
	l := newServerPipes(t)
	_ = l.Close()
	if err := w.Serve(l); !errors.Is(err, net.ErrClosed) {
		t.Errorf("serve: %v", err)
	}
	if err := w.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
}

func TestTooManyConnections(t *testing.T) {
	for _, tt := range []struct {
		name, cause         string
		change              func(*Server)
		first, other, third string
	}{
		{"in all", RefusedTotal, func(s *Server) { s.MaxConnections = 2 }, "192.0.2.1", "192.0.2.2", "192.0.2.3"},
		{"of an address", RefusedAddress, func(s *Server) { s.MaxPerAddress = 2 }, "192.0.2.1", "192.0.2.1", "192.0.2.1"},
		{"of a network", RefusedAddress, func(s *Server) { s.MaxPerAddress = 2 }, "2001:db8::1", "2001:db8::2", "2001:db8::ffff:1"},
		{"of a mapped address", RefusedAddress, func(s *Server) { s.MaxPerAddress = 2 }, "192.0.2.1", "::ffff:192.0.2.1", "192.0.2.1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := serverSetup(t)
			tt.change(w.Server)
			l := w.pipes()
			a := l.dial(tt.first)
			a.bind(bindTRX) // then it is not among the unbound
			b := l.dial(tt.other)
			b.alive()
			l.dial(tt.third).wantEnd()
			w.events.await("refused "+tt.cause, 1)
			a.alive() // those who are there are not touched
			_ = a.Close()
			w.events.await("connections -1", 1)
			l.dial(tt.third).bind(bindTRX)
		})
	}
}

func TestConnectRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := serverSetup(t)
		w.ConnectRate = 3
		l := w.pipes()
		for range 3 {
			p := l.dial("192.0.2.1")
			p.alive()
			_ = p.Close()
		}
		l.dial("192.0.2.1").wantEnd()
		w.events.await("refused "+RefusedRate, 1)
		l.dial("192.0.2.2").alive()
		<-time.After(door.ConnectWindow)
		l.dial("192.0.2.1").alive()
	})
}

func TestRefusalsAreLoggedSparingly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := serverSetup(t)
		w.MaxConnections = 1
		l := w.pipes()
		l.dial("192.0.2.1").bind(bindTX)
		for range 1000 {
			l.dial("192.0.2.2").wantEnd()
		}
		w.events.await("refused "+RefusedTotal, 1000)
		synctest.Wait()
		if n := w.logged.count("smpp connection refused"); n != quietLines {
			t.Errorf("%d lines for 1000 refusals", n)
		}
		<-time.After(quietEvery)
		l.dial("192.0.2.2").wantEnd()
		w.events.await("refused "+RefusedTotal, 1001)
		synctest.Wait()
		if !w.logged.contains(fmt.Sprint("left_out=", 1000-quietLines)) {
			t.Error("the lines that were left out are not told")
		}
	})
}

// What a stranger does before its bind is logged by the session; that has the
// same limit.
func TestStrangersCannotFillTheLog(t *testing.T) {
	w := serverSetup(t)
	p := serverDial(t, w.listen())
	for range 200 {
		p.dialogue("> 00000099 00000000 00000007\n< 80000000 00000003 00000007")
	}
	if n := w.logged.count("smpp unknown command"); n > 2*quietLines {
		t.Errorf("%d lines for 200 PDUs", n)
	}
}
