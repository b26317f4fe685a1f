package smpp

import (
	"sync"
	"time"
)

// outFrame is an encoded PDU on its way to the socket; call is nil for
// responses.
type outFrame struct {
	buf  *[]byte
	call *Call
}

const (
	// flushSize bounds how much is gathered for one write.
	flushSize = 16 << 10
	// maxResponses bounds the responses that wait for the socket. The reader
	// stops above it, so that a peer which asks and does not read is held by
	// TCP; handlers are bounded by Inbound and never wait.
	maxResponses = 256
	// maxPooled keeps a large message_payload's buffer out of the pool.
	maxPooled = 4 << 10
	// lingerTime is how long we read after our last PDU before the socket is
	// closed: closing with unread octets would reset the connection and take
	// the PDU away from the peer.
	lingerTime = time.Second
)

var buffers = sync.Pool{New: func() any {
	b := make([]byte, 0, 512)
	return &b
}}

func getBuffer() *[]byte { return buffers.Get().(*[]byte) }

func putBuffer(b *[]byte) {
	if cap(*b) <= maxPooled {
		buffers.Put(b)
	}
}

// span tells where a call's frame begins in a gathered write.
type span struct {
	call  *Call
	start int
}

// writeLoop is the only writer of the socket: responses first, several PDUs in
// one write.
func (s *Session) writeLoop() {
	var buf []byte
	var spans []span
	for {
		var more bool
		buf, spans, more = s.gather(buf[:0], spans[:0])
		if !more {
			s.linger()
			return
		}
		_ = s.conn.SetWriteDeadline(time.Now().Add(s.cfg.WriteTimeout))
		n, err := s.conn.Write(buf)
		if err != nil {
			s.unwritten(spans, n)
			s.fail(err)
			return
		}
		if cap(buf) > 2*flushSize {
			buf = nil
		}
	}
}

// gather waits for something to write and takes it; false: the session ends and
// nothing is left that should be written. Calls it takes count as written.
func (s *Session) gather(buf []byte, spans []span) ([]byte, []span, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		if s.err != nil {
			return buf, spans, false
		}
		n := 0
		for n < len(s.responses) && len(buf) < flushSize {
			buf = s.take(buf, s.responses[n])
			n++
		}
		s.responses = shift(s.responses, n)
		if n > 0 {
			s.responseRoom.Broadcast()
		}
		n = 0
		for n < len(s.requests) && len(buf) < flushSize {
			f := s.requests[n]
			n++
			if f.call.state != callQueued {
				putBuffer(f.buf) // taken back or timed out
				continue
			}
			f.call.state = callWritten
			spans = append(spans, span{f.call, len(buf)})
			buf = s.take(buf, f)
		}
		s.requests = shift(s.requests, n)
		if len(buf) > 0 {
			return buf, spans, true
		}
		if s.finishing != nil {
			return buf, spans, false
		}
		s.writable.Wait()
	}
}

func (s *Session) take(buf []byte, f outFrame) []byte {
	buf = append(buf, *f.buf...)
	putBuffer(f.buf)
	return buf
}

// shift drops the first n frames without growing the array for ever.
func shift(q []outFrame, n int) []outFrame {
	if n == 0 {
		return q
	}
	rest := copy(q, q[n:])
	clear(q[rest:])
	return q[:rest]
}

// unwritten puts back what a failed write did not reach: frames that begin at
// or after the n octets that the socket took never left.
func (s *Session) unwritten(spans []span, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sp := range spans {
		if sp.start >= n && sp.call.state == callWritten {
			sp.call.state = callQueued
		}
	}
}

// linger half-closes after the last PDU and leaves the rest to the reader,
// which ends at the peer's close or after lingerTime.
func (s *Session) linger() {
	half, ok := s.conn.(interface{ CloseWrite() error })
	if !s.ending() || !ok || half.CloseWrite() != nil {
		s.fail(ErrClosed)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lingering = true
	_ = s.conn.SetReadDeadline(time.Now().Add(lingerTime))
}

// respond queues a response. It does not wait.
func (s *Session) respond(st Status, sequence uint32, body PDU) error {
	buf := getBuffer()
	frame, err := Append((*buf)[:0], st, sequence, body)
	*buf = frame
	if err != nil {
		putBuffer(buf)
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.respondLocked(buf)
}

func (s *Session) respondLocked(buf *[]byte) error {
	if s.err != nil {
		putBuffer(buf)
		return s.err
	}
	s.responses = append(s.responses, outFrame{buf: buf})
	s.writable.Signal()
	return nil
}

// waitResponseRoom holds the reader while too many responses wait.
func (s *Session) waitResponseRoom() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.responses) >= maxResponses && s.err == nil {
		s.responseRoom.Wait()
	}
}
