package smpp

import (
	"bufio"
	"encoding/binary"
	"io"
	"time"
)

// frameReader cuts a stream into frames. It waits for the first octet of a
// frame without a limit (that is what enquire_link is for) and for the rest of
// it under one deadline, so a peer cannot hold a half PDU open.
type frameReader struct {
	br          *bufio.Reader
	timeout     time.Duration
	setDeadline func(time.Time)
	armed       bool // a deadline is set
}

// readBuffer is small because a server holds a thousand of them; it takes some
// twenty short messages in one read.
const readBuffer = 4096

func newFrameReader(r io.Reader, timeout time.Duration, setDeadline func(time.Time)) *frameReader {
	return &frameReader{br: bufio.NewReaderSize(r, readBuffer), timeout: timeout, setDeadline: setDeadline}
}

// next reads one frame. A length outside 16..limit is a *DecodeError that is
// out of step; nothing is allocated for it. Other errors are the stream's;
// io.EOF only between two frames.
func (f *frameReader) next(limit int) ([]byte, error) {
	if f.armed {
		f.setDeadline(time.Time{})
		f.armed = false
	}
	if _, err := f.br.Peek(1); err != nil {
		return nil, err
	}
	head, err := f.peek(4)
	if err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head)
	if n < HeaderSize || uint64(n) > uint64(limit) {
		return nil, f.badLength(n)
	}
	f.arm(int(n))
	frame := make([]byte, n)
	if _, err := io.ReadFull(f.br, frame); err != nil {
		return nil, noEOF(err)
	}
	return frame, nil
}

// badLength reads the header of a PDU that is too long, if it comes, to know
// which sequence number to answer.
func (f *frameReader) badLength(n uint32) error {
	e := &DecodeError{Header: Header{Length: n}, Status: StatusInvCmdLen, Field: "command_length", OutOfStep: true}
	if n < HeaderSize {
		return e
	}
	if head, err := f.peek(HeaderSize); err == nil {
		e.Header = parseHeader(head)
	}
	return e
}

func (f *frameReader) peek(n int) ([]byte, error) {
	f.arm(n)
	b, err := f.br.Peek(n)
	if err != nil {
		return nil, noEOF(err)
	}
	return b, nil
}

// arm sets the deadline of the frame, once, unless its n octets are here.
func (f *frameReader) arm(n int) {
	if !f.armed && f.br.Buffered() < n && f.timeout > 0 {
		f.setDeadline(time.Now().Add(f.timeout))
		f.armed = true
	}
}

func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
