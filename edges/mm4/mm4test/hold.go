package mm4test

import (
	"bufio"
	"bytes"
	"context"
	"net/textproto"
	"slices"
	"sync"
)

// Point is a place in the dialogue in which a mail comes.
type Point int

const (
	// Within is the middle of the mail's content, by the SIZE that was said: the other
	// half is never read, and the connection is lost.
	Within Point = iota
	// Behind is after the final dot: the peer has the mail, and says so when it goes on.
	Behind
)

// Held is a mail that is to be held up, see Peer.Hold.
type Held struct {
	at      Point
	fits    func(Mail) bool
	reached chan struct{} // closed when the mail is there
	free    chan struct{} // closed by Release
	once    sync.Once
	mail    Mail // written before reached is closed
}

// Hold has the peer stop at a point of the next mail that fits, which is asked with the
// mail's envelope and header: it reads and says nothing on that connection, and sends no
// response, until Release or Close.
func (p *Peer) Hold(at Point, fits func(Mail) bool) *Held {
	h := &Held{at: at, fits: fits, reached: make(chan struct{}), free: make(chan struct{})}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.holds = append(p.holds, h)
	return h
}

// Reached is closed when the mail has come as far as the point.
func (h *Held) Reached() <-chan struct{} { return h.reached }

// Mail is what has come of it. Not before Reached.
func (h *Held) Mail() Mail { return h.mail }

// Release lets the peer go on. Calling it again is harmless.
func (h *Held) Release() { h.once.Do(func() { close(h.free) }) }

// held takes the hold that a mail runs into; nil: there is none.
func (p *Peer) held(at Point, m Mail) *Held {
	if m.Header == nil { // it ends with the half that is there, if not before
		m.Header, _ = textproto.NewReader(bufio.NewReader(bytes.NewReader(m.Raw))).ReadMIMEHeader()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.IndexFunc(p.holds, func(h *Held) bool { return h.at == at && h.fits(m) })
	if i < 0 {
		return nil
	}
	h := p.holds[i]
	p.holds = slices.Delete(p.holds, i, i+1)
	h.mail = m
	return h
}

// wait says that the point is reached, and holds the dialogue. A nil Held holds nothing.
func (h *Held) wait(done context.Context) {
	if h == nil {
		return
	}
	close(h.reached)
	h.goOn(done)
}

// goOn returns when the mail is held no longer.
func (h *Held) goOn(done context.Context) {
	if h == nil {
		return
	}
	select {
	case <-h.free:
	case <-done.Done():
	}
}
