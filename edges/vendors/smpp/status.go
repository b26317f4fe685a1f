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
		Bind: l.state, Since: l.since, Binds: l.upLocked() + len(l.leaving), Throughput: l.answered.rate(now),
		Errors: l.troubles.share(now), Share: l.share,
		SlowestMilli: int(l.answerMilli + 0.5), LastError: l.lastErr,
	}
	for b := range l.binds {
		st.InFlight += b.session.InFlight()
	}
	return st
}

// meter counts per second over the last ten; the link's mu guards it.
type meter struct {
	counts [meterSeconds]int
	at     int64 // the newest second
}

const meterSeconds = 10

func (m *meter) advance(now time.Time) {
	sec := now.Unix()
	for s := max(m.at+1, sec-meterSeconds+1); s <= sec; s++ {
		m.counts[s%meterSeconds] = 0
	}
	m.at = max(m.at, sec)
}

func (m *meter) add(now time.Time) {
	m.advance(now)
	m.counts[m.at%meterSeconds]++
}

// rate is the mean of the whole seconds before now.
func (m *meter) rate(now time.Time) float64 {
	m.advance(now)
	n := 0
	for i, c := range m.counts {
		if int64(i) != m.at%meterSeconds {
			n += c
		}
	}
	return float64(n) / (meterSeconds - 1)
}

// minute counts the answers of the last minute and those that tell of trouble, by the
// second; the link's mu guards it.
type minute struct {
	all, bad [60]int
	at       int64 // the newest second
}

func (m *minute) advance(now time.Time) {
	sec := now.Unix()
	for s := max(m.at+1, sec-int64(len(m.all))+1); s <= sec; s++ {
		m.all[s%int64(len(m.all))], m.bad[s%int64(len(m.bad))] = 0, 0
	}
	m.at = max(m.at, sec)
}

func (m *minute) add(now time.Time, trouble bool) {
	m.advance(now)
	i := m.at % int64(len(m.all))
	m.all[i]++
	if trouble {
		m.bad[i]++
	}
}

// share is what of the answers tells of trouble; 0 without answers.
func (m *minute) share(now time.Time) float64 {
	m.advance(now)
	all, bad := 0, 0
	for i := range m.all {
		all, bad = all+m.all[i], bad+m.bad[i]
	}
	if all == 0 {
		return 0
	}
	return float64(bad) / float64(all)
}
