package vendors

import (
	"testing"
	"time"
)

func TestMeter(t *testing.T) {
	var m Meter
	start := time.Unix(1000, 0)
	for i := range 90 {
		m.Add(start.Add(time.Duration(i)*100*time.Millisecond), 1, i%3 == 0)
	}
	m.Add(start.Add(8900*time.Millisecond), 0, true)
	for _, c := range []struct {
		after        time.Duration
		rate, faults float64
	}{{9 * time.Second, 10, 31. / 91}, {18 * time.Second, 0, 31. / 91}, {time.Hour, 0, 0}} {
		if rate, faults := m.Rate(start.Add(c.after)), m.Faults(start.Add(c.after)); rate != c.rate || faults != c.faults {
			t.Errorf("after %v: %v a second, faults %v", c.after, rate, faults)
		}
	}
}
