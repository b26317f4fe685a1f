package door

import (
	"errors"
	"net"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// script is a listener whose Accept gives what is next: a net.Conn, or an error.
type script struct{ next chan any }

func (s script) Accept() (net.Conn, error) {
	switch v := (<-s.next).(type) {
	case net.Conn:
		return v, nil
	case error:
		return nil, v
	}
	return nil, net.ErrClosed
}
func (s script) Close() error   { return nil }
func (s script) Addr() net.Addr { return &net.TCPAddr{} }

func play(steps ...any) script {
	s := script{make(chan any, len(steps))}
	for _, step := range steps {
		s.next <- step
	}
	close(s.next)
	return s
}

func TestAcceptOutlivesFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, _ := net.Pipe()
		steps := slices.Repeat([]any{syscall.EMFILE}, 10)
		steps = append(steps, conn, syscall.EMFILE)
		taken, pauses := 0, []time.Duration{}
		a := Acceptor{
			Take: func(net.Conn) { taken++ }, Draining: func() bool { return false },
			Failed: func(err error, pause time.Duration) {
				if !errors.Is(err, syscall.EMFILE) {
					t.Errorf("told of %v", err)
				}
				pauses = append(pauses, pause)
			},
		}
		began := time.Now()
		if err := a.Accept(play(steps...)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("ended with %v", err)
		}
		const ms = time.Millisecond
		want := []time.Duration{5 * ms, 10 * ms, 20 * ms, 40 * ms, 80 * ms, 160 * ms, 320 * ms, 640 * ms, 1000 * ms, 1000 * ms, 5 * ms} // anew after a connection
		if !slices.Equal(pauses, want) || taken != 1 {
			t.Errorf("%d taken, pauses %v", taken, pauses)
		}
		var sum time.Duration
		for _, p := range want {
			sum += p
		}
		if took := time.Since(began); took != sum {
			t.Errorf("paused %v, want %v", took, sum)
		}
	})
}

// A pause is cut short, and what comes then is our own closing.
func TestAcceptEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cut := make(chan struct{})
		close(cut)
		draining := false
		a := Acceptor{Take: func(net.Conn) {}, Draining: func() bool { return draining }, Cut: cut, Failed: func(error, time.Duration) { draining = true }}
		began := time.Now()
		if err := a.Accept(play(syscall.EMFILE)); err != nil {
			t.Errorf("ended with %v", err)
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("paused %v", took)
		}
	})
}
