package httpvendor

import "time"

// meterSeconds is how far back a link's errors are looked at.
const meterSeconds = 60

// rateSeconds is how far back its throughput is.
const rateSeconds = 10

// meter counts by the second over the last minute; the link's mu guards it.
type meter struct {
	at     int64 // the newest second
	counts [meterSeconds]struct{ parts, answers, faults int }
}

func (m *meter) advance(now time.Time) {
	second := now.Unix()
	for s := max(m.at+1, second-meterSeconds+1); s <= second; s++ {
		m.counts[s%meterSeconds] = struct{ parts, answers, faults int }{}
	}
	m.at = max(m.at, second)
}

// add counts one answer, or one that did not come.
func (m *meter) add(now time.Time, parts int, fault bool) {
	m.advance(now)
	c := &m.counts[m.at%meterSeconds]
	c.answers++
	c.parts += parts
	if fault {
		c.faults++
	}
}

// rate is the mean of parts taken in the whole seconds before now.
func (m *meter) rate(now time.Time) float64 {
	m.advance(now)
	n := 0
	for s := m.at - rateSeconds + 1; s < m.at; s++ {
		n += m.counts[s%meterSeconds].parts
	}
	return float64(n) / (rateSeconds - 1)
}

// faults is the share of answers that told of trouble, over the last minute.
func (m *meter) faults(now time.Time) float64 {
	m.advance(now)
	answers, faults := 0, 0
	for _, c := range m.counts {
		answers += c.answers
		faults += c.faults
	}
	if answers == 0 {
		return 0
	}
	return float64(faults) / float64(answers)
}
