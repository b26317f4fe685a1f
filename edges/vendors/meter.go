package vendors

import "time"

// meterSeconds is how far back a link's errors are looked at.
const meterSeconds = 60

// rateSeconds is how far back its throughput is.
const rateSeconds = 10

// Meter counts the answers of a vendor by the second, over the last minute. The zero
// Meter has counted nothing; whoever has it guards it. Calls go forward in time.
type Meter struct {
	at     int64 // the newest second
	counts [meterSeconds]struct{ parts, answers, faults int }
}

func (m *Meter) advance(now time.Time) {
	second := now.Unix()
	for s := max(m.at+1, second-meterSeconds+1); s <= second; s++ {
		m.counts[s%meterSeconds] = struct{ parts, answers, faults int }{}
	}
	m.at = max(m.at, second)
}

// Add counts one answer, or one that did not come: so many parts came through with it,
// and whether it tells of the vendor's trouble.
func (m *Meter) Add(now time.Time, parts int, fault bool) {
	m.advance(now)
	c := &m.counts[m.at%meterSeconds]
	c.answers++
	c.parts += parts
	if fault {
		c.faults++
	}
}

// Rate is the mean of parts a second in the whole seconds before now.
func (m *Meter) Rate(now time.Time) float64 {
	m.advance(now)
	n := 0
	for s := m.at - rateSeconds + 1; s < m.at; s++ {
		n += m.counts[s%meterSeconds].parts
	}
	return float64(n) / (rateSeconds - 1)
}

// Faults is the share of answers that told of trouble, over the last minute.
func (m *Meter) Faults(now time.Time) float64 {
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
