package smpp

import (
	"context"
	"slices"

	"github.com/postrider/postrider/edges/vendors"
)

// slot is the right to hold one bind, with the loop that keeps it up.
type slot struct {
	ctx  context.Context // of dial and backoff; ends when the slot is given up
	stop context.CancelFunc
	bind *bind // live; nil: none. The link's mu guards it.
}

// SetShare says what of the vendor this process may use, at once and without a
// reconnect. Before the first call nothing is bound. With fewer binds than before, those
// that are down go first, then those with the least under way: they take nothing new
// and unbind when they have their answers. Until then LinkStatus.Binds counts them, also
// one that is just being made: what it says is never less than what the vendor sees
// of a share that was given back.
func (l *Link) SetShare(s vendors.Share) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.Binds > 0 { // without a share the rate stays: none would be one without a limit
		l.bucket.SetRate(s.Rate)
	}
	l.share = s
	l.arrangeLocked()
	l.wakeLocked()
}

// arrangeLocked begins and gives up binds until there are as many as the share says.
func (l *Link) arrangeLocked() {
	if !l.started || l.stopping {
		return
	}
	for len(l.slots) < l.share.Binds {
		s := &slot{}
		s.ctx, s.stop = context.WithCancel(l.dialing)
		l.slots = append(l.slots, s)
		l.loops.Go(func() { l.keepBound(s) })
	}
	for len(l.slots) > max(0, l.share.Binds) {
		s := l.surplusLocked()
		l.slots = slices.DeleteFunc(l.slots, func(x *slot) bool { return x == s })
		l.leaving[s] = struct{}{}
		s.stop()
		if s.bind != nil {
			l.retireLocked(s.bind)
		}
	}
	l.judgeLocked()
}

// surplusLocked is the slot that is missed least.
func (l *Link) surplusLocked() *slot {
	least := l.slots[len(l.slots)-1]
	for _, s := range l.slots {
		switch {
		case s.bind == nil || s.bind.retiring:
			return s
		case least.bind != nil && s.bind.used < least.bind.used:
			least = s
		}
	}
	return least
}

// upLocked counts the binds that we have made and may use.
func (l *Link) upLocked() int {
	n := 0
	for _, s := range l.slots {
		if s.bind != nil {
			n++
		}
	}
	return n
}

// judgeLocked finds the state of the link after something has changed.
func (l *Link) judgeLocked() {
	switch {
	case l.upLocked() > 0:
		l.setStateLocked(stateUp)
	case l.stopping || l.share.Binds <= 0 || !l.started:
		l.setStateLocked(stateDown)
	case l.state == stateUp, l.lastErr == "":
		l.setStateLocked(stateConnecting)
	}
}
