package main

import (
	"hash/maphash"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// fileSeen is what the two sides of an MMS know of its file.
type fileSeen struct {
	sum      [32]byte // of what was uploaded
	fits     bool     // nobody has to convert it
	arrivals []arrival
}

// arrival is an MMS as the owner of its number was told of it. Of two with one id that
// say the same there is one.
type arrival struct {
	message message.ID // as it came in
	event   message.ID // webhook-id
	body    uint64     // a hash of the first one's
	changed bool       // it came with another body
	files   []mediaLink
}

// mediaLink is a file as a webhook names it. All is empty of one that could not be had.
type mediaLink struct {
	URL         string
	ContentType string `json:"content_type"`
	SizeBytes   int64  `json:"size_bytes"`
	SHA256      string
}

// isMMS reports whether message i is one, and whose.
func (l *Ledger) isMMS(i int) (account string, mms bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.list[i].Account, l.list[i].MMS
}

// maxRefusals is how many times of uploads that were answered 503 are remembered.
const maxRefusals = 100_000

// Uploaded enters what the file of message i is.
func (l *Ledger) Uploaded(i int, sum [32]byte, fits bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list[i].file.sum, l.list[i].file.fits = sum, fits
}

// NoRoom enters that an upload was answered 503.
func (l *Ledger) NoRoom() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.noRoom) < maxRefusals {
		l.noRoom = append(l.noRoom, time.Now())
	}
}

// Refusals is how many uploads were answered 503 from the one moment until the other. A
// zero moment is no bound.
func (l *Ledger) Refusals(from, until time.Time) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, at := range l.noRoom {
		if !at.Before(from) && (until.IsZero() || !at.After(until)) {
			n++
		}
	}
	return n
}

// Arrived enters a webhook that the owner of the number has taken of the MMS with the key.
func (l *Ledger) Arrived(account, key string, a arrival, body []byte) {
	a.body = maphash.Bytes(l.seed, body)
	l.mu.Lock()
	defer l.mu.Unlock()
	i, ok := indexOf(key)
	if !ok || i >= len(l.list) || !l.list[i].MMS || account != accountNeighbour {
		l.strangeLocked("a message came in for %s that nobody has sent there", account)
		return
	}
	f := l.list[i].file
	for k := range f.arrivals {
		if was := &f.arrivals[k]; was.message == a.message && was.event == a.event {
			was.changed = was.changed || was.body != a.body
			return
		}
	}
	if len(f.arrivals) < maxSeen {
		f.arrivals = append(f.arrivals, a)
	}
}

// meanwhile counts what happened from the one moment until the other: text messages that
// were offered and known to be delivered, and MMS that were accepted and were not.
func (l *Ledger) meanwhile(from, until time.Time) (texts, waiting int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.list {
		if e.offered.After(until) {
			break
		}
		delivered := false
		for _, s := range e.events {
			delivered = delivered || message.Status(s.word) == message.StatusDelivered && s.at.Before(until)
		}
		switch {
		case !e.MMS && delivered && e.offered.After(from):
			texts++
		case e.MMS && !delivered && e.answer == answerAccepted && e.answered.After(from) && e.answered.Before(until):
			waiting++
		}
	}
	return texts, waiting
}
