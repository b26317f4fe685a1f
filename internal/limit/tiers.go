package limit

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"runtime"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// Counter is what counts: *Limiter, and the one that replicas share.
type Counter interface {
	Take(key string, limit int, window time.Duration, now time.Time) Result
	Peek(key string, limit int, window time.Duration, now time.Time) Result
}

// Tier is how often something may happen within a time.
type Tier struct {
	Key    string
	Most   int
	Window time.Duration
}

// Tiers are limits that hold together: few in a short time, and not many more in a long
// one.
type Tiers []Tier

// Held says whether one of the tiers is full: the one that stays so for longest, whose
// Reset is when to come back. It counts nothing.
func (t Tiers) Held(c Counter, now time.Time) (worst Result, held bool) {
	for _, tier := range t {
		if r := c.Peek(tier.Key, tier.Most, tier.Window, now); !r.OK && (!held || r.Reset > worst.Reset) {
			worst, held = r, true
		}
	}
	return worst, held
}

// Count counts one event in every tier.
func (t Tiers) Count(c Counter, now time.Time) {
	for _, tier := range t {
		c.Take(tier.Key, tier.Most, tier.Window, now)
	}
}

// How many wrong passwords an e-mail address may be given: in a minute and an hour
// from one place (a /64 in IPv6), and in an hour from everywhere. Who guesses from
// many places can keep somebody out for that hour, but not try more.
const (
	WrongPerMinute   = 5
	WrongPerHour     = 20
	WrongFromAnyHour = 100
)

// WrongPasswords are the limits for an e-mail address, known or not, wherever its
// password is asked for. The address is hashed, so that keys are short and lie readable
// nowhere.
func WrongPasswords(email string, client netip.Addr) Tiers {
	who := Hidden(email)
	from := who + " from " + Network(client)
	return Tiers{
		{"login minute " + from, WrongPerMinute, time.Minute},
		{"login hour " + from, WrongPerHour, time.Hour},
		{"login any " + who, WrongFromAnyHour, time.Hour},
	}
}

// How often somebody whose password was right may give a wrong code of a second factor,
// from everywhere: with three codes in force at a time, 50 tries a day find one within a
// year with a chance of 5 in 100.
const (
	WrongCodesPerMinute = 5
	WrongCodesPerHour   = 20
	WrongCodesPerDay    = 50
)

// WrongCodes are the limits for a person, wherever the code is asked for.
func WrongCodes(person message.ID) Tiers {
	return Tiers{
		{"code minute " + person.String(), WrongCodesPerMinute, time.Minute},
		{"code hour " + person.String(), WrongCodesPerHour, time.Hour},
		{"code day " + person.String(), WrongCodesPerDay, 24 * time.Hour},
	}
}

// Hidden is a short name for a text that must not be read in a key.
func Hidden(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:16])
}

// FailedFrom is the limit on wrong credentials of any kind that come from one place.
func FailedFrom(client netip.Addr, perMinute int) Tiers {
	return Tiers{{"auth failed " + Network(client), perMinute, time.Minute}}
}

// Network is what an address counts as: itself, or its /64 in IPv6, where one
// host has a whole network to choose from.
func Network(a netip.Addr) string {
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.String()
		}
	}
	return a.String()
}

// Turns bound how many passwords are checked at a time, an element each: that takes a
// core for long, and those who are signed in need the others. All who check passwords in
// a process share one. Never closed.
type Turns chan struct{}

// NewTurns makes turns for half of the cores, for one at least.
func NewTurns() Turns { return make(Turns, max(1, runtime.GOMAXPROCS(0)/2)) }

// Take waits for a turn, which the caller gives back. ReasonUnavailable when ctx ends
// before there is one.
func (t Turns) Take(ctx context.Context) error {
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return message.Because(message.ReasonUnavailable, ctx.Err(), "too many passwords are being checked; try again later")
	}
}

// Give gives a turn back.
func (t Turns) Give() { <-t }
