package smpp

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/smpp"
)

const (
	settleLimit = 256 // deliveries that one statement settles

	journalTimeout  = 10 * time.Second // of one call
	journalBackoff  = 250 * time.Millisecond
	journalMaxPause = 5 * time.Second
	journalLogEvery = 10 * time.Second

	lateFor   = 5 * time.Minute // after its lease; see takenLate
	lateEvery = 5 * time.Second // between two offers of what was taken
	lateLimit = 1024            // of what is kept
)

func (d *deliverer) unsettled() int { return len(d.tried) + len(d.given) }

func (d *deliverer) settleAt() time.Time { return laterOf(d.lastSettle.Add(claimPace), d.quiet) }

// settle writes to the journal what became of deliveries, and gives back those
// that were not tried. A claim that has run out is no longer ours to settle, but
// what the ESME has taken is told all the same: nobody has to try it again.
func (d *deliverer) settle() {
	now := time.Now()
	before := d.unsettled()
	over := func(s settlement) bool {
		if now.Before(s.lease) {
			return false
		}
		if s.State == message.NotificationDelivered {
			d.takenLate(s)
		}
		return true
	}
	d.tried = slices.DeleteFunc(d.tried, over)
	d.given = slices.DeleteFunc(d.given, over)
	d.lapsed += before - d.unsettled()
	d.recordLate(now)
	if d.unsettled() == 0 || now.Before(d.settleAt()) {
		return
	}
	d.lastSettle = now
	if d.record() {
		d.release()
	}
}

// takenLate keeps what the ESME has taken and the journal did not, though its claim
// is over: the journal takes it from anybody, and each try that it spares is one that
// would double it. Other verdicts go with the lease: whoever has the delivery by then
// finds out for himself.
func (d *deliverer) takenLate(s settlement) {
	if len(d.late) < lateLimit {
		d.late = append(d.late, s)
	}
}

// recordLate offers the journal some of what was taken late. It keeps nothing else
// waiting: what is refused here may be refused for its own sake.
func (d *deliverer) recordLate(now time.Time) {
	d.late = slices.DeleteFunc(d.late, func(s settlement) bool { return !now.Before(s.lease.Add(lateFor)) })
	if len(d.late) == 0 || now.Before(d.lateAt()) {
		return
	}
	d.lastLate = now
	n := min(len(d.late), max(1, d.lateBatch))
	ctx, cancel := context.WithTimeout(context.Background(), journalTimeout)
	defer cancel()
	if err := d.server.Journal.Delivered(ctx, d.server.Instance, tries(d.late[:n])); err != nil {
		d.complain("record late", err)
		d.late = slices.Concat(d.late[n:], d.late[:n])
		d.lateBatch = n / 2
		return
	}
	d.told(d.late[:n])
	d.late = slices.Delete(d.late, 0, n)
	d.lateBatch = min(settleLimit, 2*n)
	d.lastLate = time.Time{}
}

func (d *deliverer) lateAt() time.Time { return laterOf(d.lastLate.Add(lateEvery), d.quiet) }

// isTaken reports whether the ESME has the delivery, though the journal does not
// know it yet.
func (d *deliverer) isTaken(id message.ID) bool {
	is := func(s settlement) bool { return s.ID == id && s.State == message.NotificationDelivered }
	return slices.ContainsFunc(d.late, is) || slices.ContainsFunc(d.tried, is)
}

func tries(list []settlement) []message.SMPPDelivered {
	out := make([]message.SMPPDelivered, len(list))
	for i, s := range list {
		out[i] = s.SMPPDelivered
	}
	return out
}

// told counts what was recorded.
func (d *deliverer) told(list []settlement) {
	if count := d.server.Metrics.Delivered; count != nil {
		for _, s := range list {
			count(s.Kind, s.State)
		}
	}
}

// record writes a batch of answers. When the journal does not take it, fewer
// and others go next: one bad row must not hold up the rest until they lapse.
func (d *deliverer) record() bool {
	n := min(len(d.tried), d.batch)
	if n == 0 {
		return true
	}
	ctx, cancel := context.WithTimeout(context.Background(), journalTimeout)
	defer cancel()
	if !d.journal("record", d.server.Journal.Delivered(ctx, d.server.Instance, tries(d.tried[:n]))) {
		d.tried = slices.Concat(d.tried[n:], d.tried[:n])
		d.batch = max(1, n/2)
		return false
	}
	d.told(d.tried[:n])
	d.tried = slices.Delete(d.tried, 0, n)
	d.batch = min(settleLimit, 2*d.batch)
	return true
}

// release gives back a batch of claims.
func (d *deliverer) release() {
	n := min(len(d.given), settleLimit)
	if n == 0 {
		return
	}
	ids := make([]message.ID, n)
	for i := range ids {
		ids[i] = d.given[i].ID
	}
	ctx, cancel := context.WithTimeout(context.Background(), journalTimeout)
	defer cancel()
	if d.journal("release", d.server.Journal.ReleaseDeliveries(ctx, d.server.Instance, ids)) {
		d.given = slices.Delete(d.given, 0, n)
	}
}

// journal looks at the error of a call to the journal: after one it is left
// alone for a while, longer each time. It reports whether there was none.
func (d *deliverer) journal(operation string, err error) bool {
	if err == nil {
		d.pause = 0
		return true
	}
	d.pause = min(max(2*d.pause, journalBackoff), journalMaxPause)
	d.quiet = time.Now().Add(d.pause)
	d.complain(operation, err)
	return false
}

// complain logs what the journal says, but not too often.
func (d *deliverer) complain(operation string, err error) {
	now := time.Now()
	if now.Sub(d.lastLog) < journalLogEvery {
		return
	}
	d.log().Error("smpp deliveries wait for the journal", "operation", operation, "lapsed", d.lapsed, "error", err)
	d.lastLog, d.lapsed = now, 0
}

func (d *deliverer) log() *slog.Logger {
	if d.server.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return d.server.Log
}

func laterOf(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// verdict is what becomes of a delivery. The zero verdict: the ESME took it.
type verdict struct {
	release bool          // not tried
	failed  bool          // for good
	again   time.Duration // above 0: not yet
	status  smpp.Status   // of the answer, if there was one
	why     string        // if there was none
}

// Why there is no answer, as the timeline tells it.
const (
	whySilent     = "no answer in time"
	whyEnded      = "the session ended before the answer"
	whyUnreadable = "the answer cannot be read"
	whyNack       = "generic_nack" // which answers no deliver_sm in particular
	whyUnwritable = "the deliver_sm cannot be written"
)

// of is the verdict as the journal keeps it.
func (v verdict) of(t *delivery) message.SMPPDelivered {
	s := message.SMPPDelivered{
		ID: t.ID, MessageID: t.Message.ID, Kind: t.Kind, Number: t.Attempts + 1,
		State: message.NotificationDelivered, Status: uint32(v.status), Error: v.why,
	}
	switch {
	case v.failed:
		s.State = message.NotificationFailed
	case v.again > 0:
		s.State, s.Again = message.NotificationPending, v.again
	}
	return s
}

// judge is the verdict on the end of a call (api.md §8, SMPP 3.4 §5.1.3).
func judge(t *delivery, err error) verdict {
	var refused *smpp.StatusError
	var silent *smpp.RequestError
	gap := deliveryGap(t.Attempts + 1)
	switch {
	case err == nil:
		return verdict{}
	case errors.As(err, &refused) && refused.Nack:
		return verdict{failed: true, status: refused.Status, why: whyNack}
	case errors.As(err, &refused):
		switch refused.Status {
		case smpp.StatusTempAppError, smpp.StatusSystemError, smpp.StatusMsgQueueFull, smpp.StatusThrottled:
			return verdict{again: gap, status: refused.Status}
		}
		return verdict{failed: true, status: refused.Status}
	case errors.As(err, &silent) && !silent.Written:
		return unsent(t)
	case errors.Is(err, smpp.ErrUnbound), errors.Is(err, smpp.ErrClosed):
		return verdict{again: orderlyGap, why: whyEnded}
	case errors.Is(err, smpp.ErrTimeout):
		return verdict{again: gap, why: whySilent}
	}
	var odd *smpp.DecodeError
	if errors.As(err, &odd) {
		return verdict{again: gap, why: whyUnreadable}
	}
	return verdict{again: gap, why: whyEnded}
}

// unsent is the verdict on a deliver_sm that was not written to the wire: as if
// never claimed, unless parts before it were taken.
func unsent(t *delivery) verdict {
	if t.sent > 1 {
		return verdict{again: orderlyGap, why: whyEnded}
	}
	return verdict{release: true}
}

// unwritable is the verdict on a delivery of which no deliver_sm can be made. It
// names fields and rules, never a value.
func unwritable(err error) verdict {
	var field *smpp.FieldError
	if errors.As(err, &field) || errors.Is(err, errTextGone) || errors.Is(err, errTextLong) {
		return verdict{failed: true, why: err.Error()}
	}
	return verdict{failed: true, why: whyUnwritable}
}

// orderlyGap follows a try whose session was ended in order: it says nothing
// against the delivery.
const orderlyGap = 5 * time.Second

// deliveryGaps lie between the tries of a delivery; the last one repeats until
// the delivery expires.
var deliveryGaps = [...]time.Duration{
	5 * time.Second, 15 * time.Second, 45 * time.Second, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute,
}

// deliveryGap is the time from the try of the number, from 1, to the next.
func deliveryGap(number int) time.Duration {
	return deliveryGaps[min(max(number, 1), len(deliveryGaps))-1]
}
