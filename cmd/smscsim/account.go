package main

import (
	"slices"
	"strings"
	"sync"

	"github.com/postrider/postrider/internal/smpp"
)

// account is what belongs to a system_id beyond its sessions: the receipts and
// inbound messages that wait for a bind that takes them. It lives as long as the
// simulator.
type account struct {
	systemID string

	mu        sync.Mutex
	changed   sync.Cond   // something waits, or a session has ended
	front     []*delivery // goes before the queue, last one first
	queue     []*delivery
	head      int // queue[:head] is gone
	receivers int // sessions that take deliveries
	// The latest submit's addresses, for inbound messages without their own.
	lastFrom, lastTo string
}

func newAccount(systemID string) *account {
	a := &account{systemID: systemID}
	a.changed.L = &a.mu
	return a
}

// push adds deliveries at the end.
func (a *account) push(ds ...*delivery) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.queue = append(a.queue, ds...)
	a.changed.Broadcast()
}

// pushFirst adds one that goes before all others: it was on its way already, or
// an answer waits for it.
func (a *account) pushFirst(d *delivery) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.front = append(a.front, d)
	a.changed.Broadcast()
}

// next waits for a delivery; nil: the session takes no more.
func (a *account) next(s *smpp.Session) *delivery {
	a.mu.Lock()
	defer a.mu.Unlock()
	for len(a.front) == 0 && a.head == len(a.queue) {
		if st := s.State(); st == smpp.StateUnbound || st == smpp.StateClosed {
			return nil
		}
		a.changed.Wait()
	}
	if last := len(a.front) - 1; last >= 0 {
		d := a.front[last]
		a.front[last] = nil
		a.front = a.front[:last]
		return d
	}
	return a.popLocked()
}

// popLocked takes the head of the queue, whose array does not grow for ever.
func (a *account) popLocked() *delivery {
	d := a.queue[a.head]
	a.queue[a.head] = nil
	a.head++
	switch {
	case a.head == len(a.queue):
		a.queue, a.head = a.queue[:0], 0
	case a.head >= 1024 && a.head*2 >= len(a.queue):
		n := copy(a.queue, a.queue[a.head:])
		clear(a.queue[n:])
		a.queue, a.head = a.queue[:n], 0
	}
	return d
}

// wakeAll lets waiting pumps see that their session has ended.
func (a *account) wakeAll() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.changed.Broadcast()
}

func (a *account) addReceivers(n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.receivers += n
}

func (a *account) hasReceiver() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.receivers > 0
}

func (a *account) setLast(from, to string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.lastFrom, a.lastTo = from, to
}

func (a *account) last() (from, to string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.lastFrom, a.lastTo
}

func sortAccounts(as []*account) {
	slices.SortFunc(as, func(a, b *account) int { return strings.Compare(a.systemID, b.systemID) })
}
