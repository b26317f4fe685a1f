package door

import (
	"errors"
	"net"
	"time"
)

// Pauses after an accept that failed, for want of file descriptors for example:
// trying at once would take the processor from those who could free some.
const (
	acceptPauseMin = 5 * time.Millisecond
	acceptPauseMax = time.Second
)

// Acceptor takes the connections of listeners. It is safe for concurrent use if its
// functions are.
type Acceptor struct {
	Take     func(net.Conn)  // must not wait for the connection
	Draining func() bool     // whether it was we who closed the listener
	Cut      <-chan struct{} // closed to end a pause; nil: each is waited out
	// Failed is told of an accept that failed, before the pause that follows it.
	Failed func(err error, pause time.Duration)
}

// Accept takes what comes until the listener is closed. It returns nil when we have
// closed it, and else its error, which is net.ErrClosed.
func (a *Acceptor) Accept(l net.Listener) error {
	var pause time.Duration
	for {
		conn, err := l.Accept()
		switch {
		case err == nil:
			pause = 0
			a.Take(conn)
		case a.Draining():
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		default:
			// Whatever it is, it may pass; giving the port up would not help.
			pause = min(max(2*pause, acceptPauseMin), acceptPauseMax)
			a.Failed(err, pause)
			a.rest(pause)
		}
	}
}

func (a *Acceptor) rest(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-a.Cut:
	}
}
