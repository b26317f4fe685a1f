package smtpout

import (
	"context"
	"slices"
	"time"
)

// pool is the connections to the targets of one name. The Sender's lock guards it.
type pool struct {
	target     Target // the latest
	generation uint64 // counts its changes
	used       int    // connections: idle, lent, being made, saying goodbye
	idle       []*rest
	waiters    []*waiter
}

// rest is a connection that waits for a mail, and its timer.
type rest struct {
	session *session
	timer   *time.Timer
}

// waiter is a Send that waits for a connection. One value comes, without blocking the
// giver: a session, or nil for the right to make one. Nobody closes the channel.
type waiter struct{ ready chan *session }

// lease is the right to one connection.
type lease struct {
	pool       *pool
	session    *session // nil: none was kept
	target     Target   // to make one
	generation uint64
}

// acquire gives a kept connection, the latest used first so that surplus ones come of
// age, or the right to make one. The error is that of ctx, or ErrClosed.
func (s *Sender) acquire(ctx context.Context, t *Target) (*lease, error) {
	if err := whyEnded(ctx); err != nil {
		return nil, err
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil, ErrClosed
	}
	p := s.pools[t.Name]
	switch {
	case p == nil:
		p = &pool{target: t.clone()}
		s.pools[t.Name] = p
	case !p.target.same(t):
		p.target, p.generation = t.clone(), p.generation+1
		for len(p.idle) > 0 {
			s.part(p, p.pop())
		}
		for len(p.waiters) > 0 && p.used < p.limit() { // it may allow more
			s.count(p, 1)
			p.next().ready <- nil
		}
	}
	l := &lease{pool: p, target: p.target, generation: p.generation}
	switch {
	case len(p.idle) > 0:
		l.session = p.pop()
		s.mu.Unlock()
		return l, nil
	case p.used < p.limit():
		s.count(p, 1)
		s.mu.Unlock()
		return l, nil
	}
	w := &waiter{ready: make(chan *session, 1)}
	p.waiters = append(p.waiters, w)
	s.mu.Unlock()
	select {
	case l.session = <-w.ready:
		s.mu.Lock()
		l.target, l.generation = p.target, p.generation
		s.mu.Unlock()
		return l, nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(p.waiters, w); i >= 0 {
		p.waiters = slices.Delete(p.waiters, i, i+1)
	} else {
		s.giveBack(p, <-w.ready) // it came at the same moment
	}
	return nil, whyEnded(ctx)
}

// release gives a lease back.
func (s *Sender) release(l *lease) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.giveBack(l.pool, l.session)
}

// giveBack hands a connection to who waits, keeps it, or ends it.
func (s *Sender) giveBack(p *pool, c *session) {
	switch {
	case c == nil:
		s.vacate(p)
	case c.broken:
		c.close()
		s.vacate(p)
	case s.closed || c.generation != p.generation || c.mails >= c.limits.PerConnection:
		s.part(p, c)
	case len(p.waiters) > 0:
		p.next().ready <- c
	default:
		r := &rest{session: c}
		r.timer = time.AfterFunc(c.limits.Idle, func() { s.expire(p, r) })
		p.idle = append(p.idle, r)
	}
}

// expire ends a connection that nobody wanted for too long.
func (s *Sender) expire(p *pool, r *rest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(p.idle, r); i >= 0 {
		p.idle = slices.Delete(p.idle, i, i+1)
		s.part(p, r.session)
	}
}

// part says goodbye beside the others. The connection counts until it is closed: a peer
// that allows four has four.
func (s *Sender) part(p *pool, c *session) {
	s.work.Go(func() {
		c.quit()
		s.mu.Lock()
		defer s.mu.Unlock()
		s.vacate(p)
	})
}

// vacate passes the right to a connection on.
func (s *Sender) vacate(p *pool) {
	if len(p.waiters) > 0 && p.used <= p.limit() { // it may allow fewer than it did
		p.next().ready <- nil
		return
	}
	s.count(p, -1)
	if p.used == 0 && s.pools[p.target.Name] == p {
		delete(s.pools, p.target.Name) // targets come and go
	}
}

func (s *Sender) count(p *pool, by int) {
	p.used += by
	if s.cfg.Metrics.Open != nil {
		s.cfg.Metrics.Open(p.target.Name, p.used)
	}
}

// Close ends all connections and waits for it: those that wait for a mail say goodbye,
// for at most two seconds; those that carry one are cut, and its Send returns an error.
// Calling it again is harmless.
func (s *Sender) Close() {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		for _, p := range s.pools {
			for len(p.idle) > 0 {
				s.part(p, p.pop())
			}
		}
		s.cancel(ErrClosed)
	}
	s.mu.Unlock()
	s.work.Wait()
}

// limit is how many connections there may be.
func (p *pool) limit() int { return p.target.Limits.orDefault().Connections }

// pop takes the connection that was used last.
func (p *pool) pop() *session {
	r := p.idle[len(p.idle)-1]
	p.idle = p.idle[:len(p.idle)-1]
	r.timer.Stop() // when it is too late for that, expire finds nothing
	return r.session
}

// next takes who has waited longest.
func (p *pool) next() *waiter {
	w := p.waiters[0]
	p.waiters = slices.Delete(p.waiters, 0, 1)
	return w
}
