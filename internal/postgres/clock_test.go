package postgres

import (
	"testing"
	"time"
)

// clockBundle is a clock of a database that is ahead of this machine.
type clockBundle struct {
	clock
	here  time.Time
	ahead time.Duration
}

// say lets the database be asked so long after the test's beginning; the answer takes
// some time, of which this share is the way there.
func (b *clockBundle) say(after, took time.Duration, there float64) {
	asked := b.here.Add(after)
	b.learn(asked, asked.Add(time.Duration(float64(took)*there)).Add(b.ahead).Round(0), asked.Add(took))
}

// wrong is how far the clock is from the database's at a moment.
func (b *clockBundle) wrong(after time.Duration) time.Duration {
	at := b.here.Add(after)
	return b.known.Load().at(at).Sub(at.Add(b.ahead).Round(0)).Abs()
}

func TestClockLearns(t *testing.T) {
	const ms = time.Millisecond
	b := &clockBundle{here: time.Now(), ahead: 10 * time.Minute}
	for _, c := range []struct {
		what        string
		ahead       time.Duration
		after, took time.Duration
		there       float64
		want        time.Duration // wrong by so much at most, a second later
	}{
		{"the first answer counts, however slow", b.ahead, 0, 800 * ms, 0.9, 321 * ms},
		{"a quick one is better", b.ahead, 2 * time.Second, 2 * ms, 0.9, 2 * ms},
		{"a slow one is worse", b.ahead, 4 * time.Second, 900 * ms, 0.1, 3 * ms},
		{"a slow one counts when the clock was set", -10 * time.Minute, 6 * time.Second, 600 * ms, 0.5, ms},
		{"and the next quick one makes it right", -10 * time.Minute, 8 * time.Second, 2 * ms, 0.2, 2 * ms},
		{"what is old is worth less than what is not quick", -10*time.Minute + 50*ms, 10 * time.Minute, 100 * ms, 0.5, ms},
	} {
		b.ahead = c.ahead
		b.say(c.after, c.took, c.there)
		if got := b.wrong(c.after + time.Second); got > c.want {
			t.Errorf("%s: it is wrong by %s; want %s at most", c.what, got, c.want)
		}
	}
}

func TestClockGoesOn(t *testing.T) {
	var c clock
	before := time.Now()
	if now := c.now(); now.Before(before) || now.After(time.Now()) {
		t.Errorf("a clock that knows nothing says %s at %s", now, before)
	}
	here := time.Now()
	c.learn(here, here.Add(time.Hour), here)
	first, second := c.now(), c.now()
	if first.Before(before.Add(time.Hour)) || second.Before(first) || second.After(time.Now().Add(time.Hour)) {
		t.Errorf("an hour ahead is %s and then %s at %s", first, second, before)
	}
}

// TestNowIsTheDatabases compares with the server's own words.
func TestNowIsTheDatabases(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, ask := range []func() error{
		func() error { return nil }, // Open did
		func() error { b.clock.known.Store(nil); _, err := b.ConfigVersion(b.ctx); return err },
	} {
		if err := ask(); err != nil {
			t.Fatal(err)
		}
		r := b.clock.known.Load()
		if r == nil {
			t.Fatal("the database's clock is not known")
		}
		var before, after time.Time
		if err := b.pool.QueryRow(b.ctx, selectClock).Scan(&before); err != nil {
			t.Fatal(err)
		}
		now := b.Now()
		if err := b.pool.QueryRow(b.ctx, selectClock).Scan(&after); err != nil {
			t.Fatal(err)
		}
		doubt := r.doubt(time.Now())
		if now.Before(before.Add(-doubt)) || now.After(after.Add(doubt)) {
			t.Errorf("now is %s; the database said %s before and %s after, give or take %s", now, before, after, doubt)
		}
	}
}
