package smpp

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/smpp"
	"github.com/postrider/postrider/internal/snapshot"
)

// Times of deliveries. A claim outlives the longest answer: what is handed to a
// session within startWithin has its 30 s (smpp.DefaultResponseTimeout) and is
// recorded before the claim lapses.
const (
	claimLease  = 45 * time.Second
	startWithin = 10 * time.Second // of the claim; later the delivery is given back
	settleTime  = 3 * time.Second  // of the lease, for writing what became of a delivery

	claimIdle    = 250 * time.Millisecond // between claims while nothing is due
	claimPace    = 20 * time.Millisecond  // between two claims at least
	claimLimit   = 1000                   // deliveries that one claim asks for
	expireEvery  = 10 * time.Second       // claims of nothing: the journal ends what has expired in a claim
	overdueEvery = time.Second

	stopTimeout = 20 * time.Second // for answers; the server ends its sessions before
	stopRecords = 5 * time.Second  // after the last of them, for the journal to take the rest
)

// deliverer brings to the bound sessions what their customers are owed. The
// zero deliverer is ready for use; start comes once. Its methods are safe for
// concurrent use, and all but stop return at once.
//
// One goroutine, the owner, claims, sends and records. Others leave it mail:
// the server about sessions, the sessions about answers. Nothing here is kept
// anywhere else, for all of it is in the journal: a claim that nobody settles
// lapses, and the delivery goes again with the same text and id.
//
// Memory is bounded by the windows of the sessions: nothing is claimed that has
// no place in one.
type deliverer struct {
	mu      sync.Mutex
	mail    []func()      // for the owner, in order
	poked   bool          // claim at once
	closing bool          // stop was called
	closed  bool          // the owner is gone: mail is dropped
	wake    chan struct{} // there is mail; capacity 1, never closed, carries nothing
	ended   chan struct{} // closed by the owner when it is gone; nil before start

	// The rest is the owner's alone.
	server    *Server
	receivers map[message.ID][]*receiver // by credential
	turn      uint64
	live      map[*delivery]struct{}   // handed to a session and not ended
	orders    map[orderKey][]*delivery // the first is live, the others wait for it
	waiting   map[message.ID]int       // in orders behind the first, by credential
	tried     []settlement             // to be recorded
	given     []settlement             // to be released
	late      []settlement             // taken by the ESME, and to be recorded though the claim is over
	lateBatch int                      // how many of them are offered together
	batch     int                      // how many are settled together now

	soon        bool // claim without waiting for claimIdle
	lastClaim   time.Time
	lastAsked   time.Time // when the journal was, for something or nothing
	lastSettle  time.Time
	lastLate    time.Time
	lastOverdue time.Time
	quiet       time.Time     // the journal is left alone until then
	pause       time.Duration // that led to it
	lastLog     time.Time
	lapsed      int       // claims that ran out before they could be settled, since lastLog
	stopBy      time.Time // for answers; zero: not stopping
	recordBy    time.Time // for the journal; zero: answers are awaited
}

// receiver is a session that takes deliver_sm.
type receiver struct {
	b    *bound
	used int    // places of its window that our deliveries hold
	turn uint64 // when it was last given one
}

// room is the number of deliver_sm that the session takes now without waiting.
func (r *receiver) room() int {
	s := r.b.session
	if st := s.State(); st != smpp.StateBoundRX && st != smpp.StateBoundTRX {
		return 0
	}
	return max(0, s.Window()-max(r.used, s.InFlight()))
}

// delivery is a claimed delivery until it is recorded or released.
type delivery struct {
	message.SMPPDelivery
	lease time.Time // when the claim lapses
	order orderKey
	to    *receiver
	pdus  []*smpp.DeliverSM // the parts of a long text go one after the other
	sent  int               // of them, handed to the session
	call  *smpp.Call        // the one that has no answer yet
	ended bool              // settled, though an answer may still come
}

// orderKey names deliveries that must not overtake each other: a message's
// notice and receipt, and the inbound messages of one conversation.
type orderKey struct {
	credential message.ID
	message    message.ID // zero for a conversation
	from, to   message.Address
}

func orderOf(d *message.SMPPDelivery) orderKey {
	if d.Kind == message.DeliverMessage {
		return orderKey{credential: d.CredentialID, from: d.Message.From, to: d.Message.To}
	}
	return orderKey{credential: d.CredentialID, message: d.Message.ID}
}

// settlement is what the journal has to be told of a delivery before the lease
// is over.
type settlement struct {
	message.SMPPDelivered
	lease time.Time
}

// Poke says that a delivery may have become due. It returns at once.
func (s *Server) Poke() { s.deliverer.poke() }

func (d *deliverer) poke() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.poked = true
	d.signalLocked()
}

// start runs the owner until stop.
func (d *deliverer) start(s *Server) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ended != nil {
		return
	}
	d.server = s
	d.receivers = make(map[message.ID][]*receiver)
	d.live = make(map[*delivery]struct{})
	d.orders = make(map[orderKey][]*delivery)
	d.waiting = make(map[message.ID]int)
	d.batch = settleLimit
	d.wake, d.ended = make(chan struct{}, 1), make(chan struct{})
	go d.run()
}

// stop claims nothing more, gives back what has not been written to a session,
// waits for the answers of the rest and records them. It returns when the owner
// is gone: once all is answered or its session has ended, at most 20 s after the
// call; 5 s later when the journal takes nothing. Ending the sessions is the
// server's part, at the same time or before.
func (d *deliverer) stop() {
	d.mu.Lock()
	if d.ended == nil {
		d.closing, d.closed = true, true
		d.mu.Unlock()
		return
	}
	d.closing = true
	d.signalLocked()
	d.mu.Unlock()
	<-d.ended
}

// attach and detach tell of sessions that can receive. After detach a session
// is given no more deliveries, and what it has not written is taken from it; the
// rest is still its own to answer.
func (d *deliverer) attach(b *bound) { d.post(func() { d.attached(b) }) }
func (d *deliverer) detach(b *bound) { d.post(func() { d.detached(b) }) }

// post leaves the owner something to do.
func (d *deliverer) post(fn func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return
	}
	d.mail = append(d.mail, fn)
	d.signalLocked()
}

func (d *deliverer) signalLocked() {
	select {
	case d.wake <- struct{}{}:
	default: // it is awake, or has not started
	}
}

// run is the owner.
func (d *deliverer) run() {
	defer close(d.ended)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		closing := d.read()
		if closing && d.stopBy.IsZero() {
			d.leaveAll()
		}
		d.overdue()
		d.settle()
		if closing && d.finished() {
			d.mu.Lock()
			d.closed, d.mail = true, nil
			d.mu.Unlock()
			return
		}
		if !closing {
			d.claim()
		}
		timer.Reset(time.Until(d.next(closing)))
		select {
		case <-d.wake:
		case <-timer.C:
		}
	}
}

// read does what was left in the mail, and reports whether stop was called.
func (d *deliverer) read() bool {
	d.mu.Lock()
	mail, closing := d.mail, d.closing
	d.mail = nil
	if d.poked {
		d.poked, d.soon = false, true
	}
	d.mu.Unlock()
	for _, fn := range mail {
		fn()
	}
	return closing
}

// next is when there is something to do without mail.
func (d *deliverer) next(closing bool) time.Time {
	next := time.Now().Add(time.Hour)
	earlier := func(t time.Time) {
		if t.Before(next) {
			next = t
		}
	}
	if d.unsettled() > 0 {
		earlier(d.settleAt())
	}
	if len(d.late) > 0 {
		earlier(d.lateAt())
	}
	if !closing && d.mayClaim() {
		earlier(d.claimAt())
	}
	if len(d.live) > 0 {
		earlier(d.lastOverdue.Add(overdueEvery))
	}
	if !d.recordBy.IsZero() {
		earlier(d.recordBy)
	}
	return next
}

func (d *deliverer) attached(b *bound) {
	for _, r := range d.receivers[b.credential] {
		if r.b == b {
			return
		}
	}
	d.receivers[b.credential] = append(d.receivers[b.credential], &receiver{b: b})
	d.soon = true
}

func (d *deliverer) detached(b *bound) {
	rs := d.receivers[b.credential]
	for i, r := range rs {
		if r.b != b {
			continue
		}
		rest := append(rs[:i:i], rs[i+1:]...)
		if d.receivers[b.credential] = rest; len(rest) == 0 {
			delete(d.receivers, b.credential)
		}
		for t := range d.live {
			if t.to == r && d.takeBack(t) {
				d.end(t, unsent(t))
			}
		}
		return
	}
}

// leaveAll begins the stop: what is not on the wire is given back.
func (d *deliverer) leaveAll() {
	d.stopBy = time.Now().Add(stopTimeout)
	for key, queue := range d.orders {
		for _, t := range queue[1:] {
			d.giveBack(t)
		}
		d.orders[key] = queue[:1]
	}
	clear(d.waiting)
	for t := range d.live {
		if d.takeBack(t) {
			d.end(t, unsent(t))
		}
	}
}

// finished reports whether nothing is under way and nothing is left to write,
// or the time for it is over.
func (d *deliverer) finished() bool {
	switch {
	case len(d.live) > 0:
		return false
	case d.unsettled() == 0:
		return true
	case d.recordBy.IsZero():
		d.recordBy = time.Now().Add(stopRecords)
		d.quiet, d.pause = time.Time{}, 0 // there is no time to be patient
	}
	if time.Now().Before(d.recordBy) {
		return false
	}
	d.log().Warn("smpp deliveries left to lapse", "count", d.unsettled())
	return true
}

// overdue ends what has no answer when the lease, or the time of the stop, is
// about to end. The call keeps its place in the window until the session has
// ended it; of the answers after this only ROK counts.
func (d *deliverer) overdue() {
	now := time.Now()
	stopped := !d.stopBy.IsZero() && !now.Before(d.stopBy)
	if now.Sub(d.lastOverdue) < overdueEvery && !stopped {
		return
	}
	d.lastOverdue = now
	for t := range d.live {
		switch {
		case !stopped && t.lease.Sub(now) > settleTime:
		case d.takeBack(t):
			d.end(t, unsent(t))
		case stopped:
			d.end(t, verdict{again: orderlyGap, why: whyEnded})
		default:
			d.end(t, verdict{again: deliveryGap(t.Attempts + 1), why: whySilent})
		}
	}
}

// claim takes from the journal what there is room for, and hands it out.
func (d *deliverer) claim() {
	if !d.mayClaim() || time.Now().Before(d.claimAt()) {
		return
	}
	d.lastClaim, d.soon = time.Now(), false
	wanted := d.wanted()
	if len(wanted) == 0 && d.lastClaim.Sub(d.lastAsked) < expireEvery {
		return
	}
	d.lastAsked = d.lastClaim
	ctx, cancel := context.WithTimeout(context.Background(), journalTimeout)
	defer cancel()
	claimed, err := d.server.Journal.ClaimDeliveries(ctx, d.server.Instance, wanted, claimLease)
	if err != nil && len(claimed) > 0 {
		d.complain("claim", err) // some could not be read, and are claimed for nothing
	} else if !d.journal("claim", err) {
		return
	}
	for i := range claimed {
		if d.isTaken(claimed[i].ID) {
			continue // it lapsed before that could be recorded
		}
		t := &delivery{SMPPDelivery: claimed[i], lease: d.lastClaim.Add(claimLease), order: orderOf(&claimed[i])}
		queue := append(d.orders[t.order], t)
		d.orders[t.order] = queue
		if len(queue) > 1 {
			d.waiting[t.CredentialID]++
			continue
		}
		d.begin(t)
	}
	d.soon = d.soon || len(claimed) > 0
}

// mayClaim reports whether the journal keeps up with what it is told.
func (d *deliverer) mayClaim() bool { return d.unsettled() < settleLimit }

func (d *deliverer) claimAt() time.Time {
	wait := claimIdle
	switch {
	case d.soon:
		wait = claimPace
	case len(d.receivers) == 0:
		wait = expireEvery
	}
	return laterOf(d.lastClaim.Add(wait), d.quiet)
}

// wanted is how many deliveries each credential has room for. When that is more
// than one claim asks for, the order of the map, which is random, sees to it
// that all have their turn.
func (d *deliverer) wanted() map[message.ID]int {
	wanted := make(map[message.ID]int, len(d.receivers))
	left := claimLimit
	for credential, rs := range d.receivers {
		if left == 0 {
			break
		}
		if d.server.settings(rs[0].b) == nil {
			continue // the server is about to end these sessions
		}
		free := -d.waiting[credential]
		for _, r := range rs {
			free += r.room()
		}
		if free = min(free, left); free > 0 {
			wanted[credential] = free
			left -= free
		}
	}
	return wanted
}

// begin sends a delivery by the session that has the least to answer.
func (d *deliverer) begin(t *delivery) {
	d.live[t] = struct{}{}
	if time.Until(t.lease) < claimLease-startWithin {
		d.end(t, verdict{release: true}) // the journal was slow
		return
	}
	t.to = d.pick(t.CredentialID)
	if t.to == nil {
		d.end(t, verdict{release: true})
		return
	}
	c := d.server.settings(t.to.b)
	if c == nil {
		d.end(t, verdict{release: true})
		return
	}
	written := t.SMPPDelivery
	written.Message.Body = d.server.withLinks(&t.Message)
	var err error
	if t.pdus, err = deliverySM(&written, c, t.to.b.legacy); err != nil {
		d.end(t, unwritable(err))
		return
	}
	d.turn++
	t.to.turn = d.turn
	t.to.used++
	d.send(t)
}

// pick is the receiver with room that has the least in flight, of equal ones
// the one that has waited longest; nil when none has room.
func (d *deliverer) pick(credential message.ID) *receiver {
	var best *receiver
	for _, r := range d.receivers[credential] {
		if best != nil && (r.used > best.used || r.used == best.used && r.turn > best.turn) {
			continue
		}
		if r.room() > 0 {
			best = r
		}
	}
	return best
}

// send hands the next part to the session, in the place that the delivery
// holds. Begin has that place at once: nothing else of ours takes any.
func (d *deliverer) send(t *delivery) {
	call, err := t.to.b.session.Begin(context.Background(), t.pdus[t.sent], func(_ smpp.Packet, err error) {
		d.post(func() { d.answered(t, err) })
	})
	if err == nil {
		t.call = call
		t.sent++
		return
	}
	d.free(t)
	var field *smpp.FieldError
	switch {
	case errors.As(err, &field):
		d.end(t, unwritable(err))
	case t.sent == 0:
		d.end(t, verdict{release: true})
	default:
		d.end(t, verdict{again: orderlyGap, why: whyEnded})
	}
}

// answered is the end of a call, by an answer or without.
func (d *deliverer) answered(t *delivery, err error) {
	t.call = nil
	if err == nil && !t.ended && t.sent < len(t.pdus) {
		d.send(t)
		return
	}
	d.free(t)
	switch {
	case !t.ended:
		d.end(t, judge(t, err))
	case err == nil && t.sent == len(t.pdus):
		// It took its time, and has it: a later try would double it.
		d.tried = append(d.tried, settlement{verdict{}.of(t), t.lease})
	}
}

// free gives back the delivery's place in the window.
func (d *deliverer) free(t *delivery) {
	t.to.used--
	d.soon = true
}

// takeBack withdraws what the session has not written yet; false when it has,
// and then the end of the call still comes.
func (d *deliverer) takeBack(t *delivery) bool {
	if t.call == nil || !t.call.TakeBack() {
		return false
	}
	t.call = nil
	d.free(t)
	return true
}

// end is the one way out: the delivery is recorded, or given back, once. What
// waits for it goes next if it is done with, and is given back if it goes
// again.
func (d *deliverer) end(t *delivery, v verdict) {
	t.ended = true
	delete(d.live, t)
	followers := d.orders[t.order][1:]
	delete(d.orders, t.order)
	if v.release {
		d.giveBack(t)
	} else {
		d.tried = append(d.tried, settlement{v.of(t), t.lease})
	}
	switch {
	case len(followers) == 0:
	case v.release || v.again > 0:
		d.unwait(t.CredentialID, len(followers))
		for _, f := range followers {
			d.giveBack(f)
		}
	default:
		d.unwait(t.CredentialID, 1)
		d.orders[t.order] = followers
		d.begin(followers[0])
	}
}

func (d *deliverer) unwait(credential message.ID, n int) {
	if d.waiting[credential] -= n; d.waiting[credential] == 0 {
		delete(d.waiting, credential)
	}
}

func (d *deliverer) giveBack(t *delivery) {
	d.given = append(d.given, settlement{message.SMPPDelivered{ID: t.ID}, t.lease})
}

// deliverySM makes what goes out for a delivery: one deliver_sm, or the parts
// of a long text in order. A repetition gets the same.
func deliverySM(d *message.SMPPDelivery, c *snapshot.SMPPCredential, legacy bool) ([]*smpp.DeliverSM, error) {
	switch d.Kind {
	case message.DeliverMessage:
		return inboundSM(&d.Message, c, legacy)
	case message.DeliverReceipt, message.DeliverNotice:
		m, err := receiptSM(d, c, legacy)
		return []*smpp.DeliverSM{m}, err
	}
	return nil, errors.New("unknown kind of delivery")
}
