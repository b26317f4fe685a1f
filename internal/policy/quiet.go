package policy

import (
	"hash/fnv"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/quiet"
)

// openingSpread is over how long after an opening messages that have waited for it
// leave, so that nobody's morning begins with a flood.
const openingSpread = 10 * time.Minute

// quietHours keeps bulk messages from people's nights. One for later is asked about
// the time at which it would leave.
func (e *evaluation) quietHours() verdict {
	policy := e.account.QuietHours
	switch {
	case e.m.Class != message.ClassBulk:
		return pass("it is not bulk")
	case e.m.Automatic:
		return pass("it is an automatic answer")
	case policy == quiet.PolicyOff:
		return pass("the account has none")
	}
	at := e.Now
	if e.m.SendAt.After(at) {
		at = e.m.SendAt
	}
	q := quiet.Query{To: e.m.To, At: at, Override: e.account.QuietWindows}
	// Without a zone of its own the account has UTC.
	q.Account, _ = quiet.Zone(e.account.TimeZone)
	a := quiet.Ask(q)
	switch {
	case a.Open:
		return pass("%s", a)
	case policy == quiet.PolicyRefuse:
		return refuse(message.ReasonQuietHours, "%s", a)
	case a.Opens.IsZero() || !a.Opens.Before(e.m.ExpiresAt):
		return refuse(message.ReasonQuietHours, "%s, and the validity ends at %s", a, e.m.ExpiresAt.UTC().Format(time.RFC3339))
	}
	until := a.Opens.Add(spread(e.m))
	q.At = until
	if !until.Before(e.m.ExpiresAt) || !quiet.Ask(q).Open {
		until = a.Opens
	}
	return verdict{hold: &message.Hold{Until: until.UTC(), Detail: a.String()}}
}

// spread is a part of openingSpread, in whole milliseconds, that is the same for all
// messages of a conversation, so that it does not turn them round.
func spread(m *message.Message) time.Duration {
	h := fnv.New64a()
	h.Write(m.AccountID[:])
	h.Write([]byte(m.From))
	h.Write([]byte{0})
	h.Write([]byte(m.To))
	return time.Duration(mix(h.Sum64())%uint64(openingSpread/time.Millisecond)) * time.Millisecond
}
