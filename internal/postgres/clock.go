package postgres

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"
)

// clockDrift is how far two clocks that are not corrected move apart: 200 parts in a
// million, twice what a bad quartz does.
const clockDrift = 200e-6

// clock is the database's, as far as this process knows it. It goes on by this
// machine's monotonic clock, so a machine whose time is wrong, or is put right while
// messages are under way, does not make them expire or leave early, and all processes
// go by the same time. The zero clock is the machine's own. Safe for concurrent use.
type clock struct{ known atomic.Pointer[reading] }

// reading is what the database said.
type reading struct {
	said time.Time     // the database's time
	here time.Time     // this machine's, with its monotonic part, at that moment
	off  time.Duration // said is wrong by so much at most: half of the way there and back
}

// at is the database's time at a moment of this machine.
func (r *reading) at(here time.Time) time.Time { return r.said.Add(here.Sub(r.here)) }

// doubt is how wrong at may be.
func (r *reading) doubt(here time.Time) time.Duration {
	return r.off + time.Duration(clockDrift*float64(here.Sub(r.here)))
}

// now is the database's time.
func (c *clock) now() time.Time {
	here := time.Now()
	r := c.known.Load()
	if r == nil {
		return here
	}
	return r.at(here).In(time.Local)
}

// learn takes what the database said between two moments of this machine, unless more
// is known already. What contradicts it counts, since then the database's clock was set.
func (c *clock) learn(asked time.Time, said time.Time, answered time.Time) {
	off := answered.Sub(asked) / 2
	fresh := &reading{said: said.Round(0), here: asked.Add(off), off: off}
	for {
		old := c.known.Load()
		if old != nil {
			apart, doubt := old.at(fresh.here).Sub(fresh.said).Abs(), old.doubt(fresh.here)
			if off > doubt && apart <= off+doubt {
				return
			}
		}
		if c.known.CompareAndSwap(old, fresh) {
			return
		}
	}
}

// Now is the database's time, by which all processes go: each asks for it every time it
// looks for a new configuration, and at its start. While Postgres is away it goes on.
func (db *DB) Now() time.Time { return db.clock.now() }

const selectClock = `
select clock_timestamp()`

// askClock reads the database's clock.
func (db *DB) askClock(ctx context.Context) error {
	var said time.Time
	asked := time.Now()
	if err := db.pool.QueryRow(ctx, selectClock).Scan(&said); err != nil {
		return fmt.Errorf("read the database's clock: %w", err)
	}
	db.clock.learn(asked, said, time.Now())
	return nil
}
