package webhook

import "time"

// Window is how long an event is tried: no try starts later after the first.
const Window = 72 * time.Hour

// gaps lie between the tries, before they are shortened by chance: the schedule
// that Standard Webhooks 1.0.0 proposes. Their sum is 71 h 35 min 5 s.
var gaps = [...]time.Duration{
	5 * time.Second, 5 * time.Minute, 30 * time.Minute,
	2 * time.Hour, 5 * time.Hour, 10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 20 * time.Hour,
}

// MaxTries is how often an event is tried at most.
const MaxTries = len(gaps) + 1

// Next tells how long to wait after the try numbered made (from 1), elapsed
// after the first try, or false when it was the last.
//
// Chance, from 0 to 1, shortens the gap to between 0.8 and all of it, so that
// what failed together does not come back together; the caller draws it, for a
// workflow must draw the same again. A Retry-After of the peer lengthens the
// gap. Nothing goes past Window: a gap that would is cut to its end, and the
// try there is the last.
func Next(made int, elapsed, retryAfter time.Duration, chance float64) (time.Duration, bool) {
	if made < 1 {
		return 0, true
	}
	if made >= MaxTries || elapsed >= Window {
		return 0, false
	}
	chance = min(max(chance, 0), 1)
	gap := time.Duration(float64(gaps[made-1]) * (0.8 + 0.2*chance))
	gap = max(gap, retryAfter)
	return min(gap, Window-max(elapsed, 0)), true
}
