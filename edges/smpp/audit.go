package smpp

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/postrider/postrider/internal/message"
)

const (
	// auditQueue is how many lines may wait to be written. A thousand binds that
	// end and come back at once fit.
	auditQueue = 2048
	// refusalsEvery is how often refusals of one kind are written at most.
	refusalsEvery = time.Minute
	// maxRefusals bounds the kinds that are remembered within that time; what is
	// beyond counts as dropped.
	maxRefusals = 4096
	// maxSessionLines is how many binds, and as many unbinds, of one credential at
	// one address are written in sessionsEvery; those beyond become one line.
	maxSessionLines = 10
	sessionsEvery   = time.Minute
	// maxFlapping bounds the credentials and addresses that are counted; what is
	// beyond is written as it comes.
	maxFlapping = 20_000
)

// auditLine is one line of the audit log about a bind. It never holds a
// password.
type auditLine struct {
	account  message.ID // zero: unknown
	systemID string
	address  string
	event    string // smpp.bind, smpp.bind_refused, smpp.unbind
	detail   string
}

// audits writes lines of the audit log without holding up those who have them.
// Equal refusals are gathered, and so are sessions that come and go too often. Lines
// wait in memory only: what cannot be written in time, or when the process dies, is
// lost, and counted where that is possible. It is safe for concurrent use.
type audits struct {
	write   func(auditLine) error
	dropped func(lines int) // may be nil
	writer  sync.WaitGroup

	mu     sync.Mutex
	closed bool
	queue  chan auditLine // closed with closed
	gather map[auditLine]*gathered
	flaps  map[auditLine]*flapping // by the line without its detail
}

type gathered struct {
	since time.Time
	more  int // after the one that was written
}

// flapping are the binds or the unbinds of one credential at one address.
type flapping struct {
	since time.Time
	lines int    // that were written
	more  int    // after those
	last  string // detail of the last of more
}

func newAudits(write func(auditLine) error, dropped func(int)) *audits {
	return &audits{
		write: write, dropped: dropped, queue: make(chan auditLine, auditQueue),
		gather: make(map[auditLine]*gathered), flaps: make(map[auditLine]*flapping),
	}
}

// start begins to write; close ends it.
func (a *audits) start() {
	a.writer.Go(func() {
		for l := range a.queue {
			if a.write(l) != nil {
				a.drop(1)
			}
		}
	})
}

// close writes what is left and waits for it.
func (a *audits) close(now time.Time) {
	a.flush(now.Add(max(refusalsEvery, sessionsEvery)))
	a.mu.Lock()
	if !a.closed {
		a.closed = true
		close(a.queue)
	}
	a.mu.Unlock()
	a.writer.Wait()
}

func (a *audits) drop(n int) {
	if a.dropped != nil && n > 0 {
		a.dropped(n)
	}
}

// put hands a line on, or drops it when too many wait.
func (a *audits) put(l auditLine) {
	a.mu.Lock()
	ok := a.putLocked(l)
	a.mu.Unlock()
	if !ok {
		a.drop(1)
	}
}

func (a *audits) putLocked(l auditLine) bool {
	if a.closed {
		return false
	}
	select {
	case a.queue <- l:
		return true
	default:
		return false
	}
}

// refused puts the line of a refused bind, or counts it with an equal one that
// was put within refusalsEvery.
func (a *audits) refused(l auditLine, now time.Time) {
	a.mu.Lock()
	ok := true
	switch g := a.gather[l]; {
	case g != nil:
		g.more++
	case len(a.gather) >= maxRefusals:
		ok = false
	default:
		a.gather[l] = &gathered{since: now}
		ok = a.putLocked(l)
	}
	a.mu.Unlock()
	if !ok {
		a.drop(1)
	}
}

// session puts the line of a bind or an unbind, or counts it when there were
// maxSessionLines of them within sessionsEvery.
func (a *audits) session(l auditLine, now time.Time) {
	key := l
	key.detail = ""
	a.mu.Lock()
	f := a.flaps[key]
	if f == nil {
		f = &flapping{since: now}
		if len(a.flaps) < maxFlapping {
			a.flaps[key] = f
		}
	}
	ok := true
	if f.lines < maxSessionLines {
		f.lines++
		ok = a.putLocked(l)
	} else {
		f.more++
		f.last = l.detail
	}
	a.mu.Unlock()
	if !ok {
		a.drop(1)
	}
}

// flushSessions puts a line for the sessions counted in sessionsEvery, and gives
// how many could not be told of. The caller holds mu.
func (a *audits) flushSessions(now time.Time) (lost int) {
	for l, f := range a.flaps {
		if now.Sub(f.since) < sessionsEvery {
			continue
		}
		delete(a.flaps, l)
		if f.more == 0 {
			continue
		}
		l.detail = fmt.Sprintf("%d more, the last: %s", f.more, f.last)
		if !a.putLocked(l) {
			lost += f.more
		}
	}
	return lost
}

// flush puts lines for what was gathered for long enough, and forgets kinds that
// had nothing more.
func (a *audits) flush(now time.Time) {
	a.mu.Lock()
	lost := a.flushSessions(now)
	for l, g := range a.gather {
		if now.Sub(g.since) < refusalsEvery {
			continue
		}
		if g.more == 0 {
			delete(a.gather, l)
			continue
		}
		counted := l
		counted.detail = fmt.Sprintf("%s (%d more)", l.detail, g.more)
		if !a.putLocked(counted) {
			lost += g.more
		}
		*g = gathered{since: now}
	}
	a.mu.Unlock()
	a.drop(lost)
}

func (s *Server) writeAudit(l auditLine) error {
	ctx, cancel := context.WithTimeout(s.life, journalTime)
	defer cancel()
	err := s.Journal.AuditBind(ctx, l.account, l.systemID, l.address, l.event, l.detail)
	if err != nil {
		s.log.Warn("smpp audit line not written", "event", l.event, "error", err)
	}
	return err
}
