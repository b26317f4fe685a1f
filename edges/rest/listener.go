package rest

import (
	"net"
	"sync"
)

// boundListener accepts no more than so many connections at a time; others wait
// in the system's queue. It costs a slow flood its sockets, not ours.
type boundListener struct {
	net.Listener
	slots  chan struct{} // one element a live connection; never closed
	closed chan struct{} // closed by Close
	once   sync.Once
}

func bound(l net.Listener, most int) net.Listener {
	return &boundListener{Listener: l, slots: make(chan struct{}, most), closed: make(chan struct{})}
}

// Accept waits for a slot and a connection.
func (l *boundListener) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	return &boundConn{Conn: c, slots: l.slots}, nil
}

// Close ends a waiting Accept too.
func (l *boundListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

type boundConn struct {
	net.Conn
	slots chan struct{}
	once  sync.Once
}

// Close gives the slot back, once.
func (c *boundConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() { <-c.slots })
	return err
}
