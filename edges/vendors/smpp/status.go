package smpp

import (
	"time"

	"github.com/postrider/postrider/edges/vendors"
)

// Status is what the link looks like now. Its Binds are those that we have made, up to
// the moment that they have ended; not those over which the vendor has called us.
func (l *Link) Status() vendors.LinkStatus {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	st := vendors.LinkStatus{
		Bind: l.state, Since: l.since, Binds: l.upLocked() + len(l.leaving), Throughput: l.answered.Rate(now),
		Errors: l.answered.Faults(now), Share: l.share,
		SlowestMilli: int(l.answerMilli + 0.5), LastError: l.lastErr,
	}
	for b := range l.binds {
		st.InFlight += b.session.InFlight()
	}
	return st
}
