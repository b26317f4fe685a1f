package smpp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/smpp"
	"github.com/postrider/postrider/internal/snapshot"
	"github.com/postrider/postrider/internal/telemetry/logtest"
)

// deliverRow is a delivery as the journal has it.
type deliverRow struct {
	message.SMPPDelivery
	due     time.Time
	claimed time.Time // zero: not claimed
	lease   time.Time
	state   message.NotificationState
	tries   []message.SMPPDelivered
	late    []message.SMPPDelivered // after the end of their claim
	given   int                     // how often it was released
	claims  int
	settled time.Time // the last end of a claim
}

func (r *deliverRow) held(now time.Time) bool { return !r.claimed.IsZero() && now.Before(r.lease) }

// deliverClaim is a call of ClaimDeliveries.
type deliverClaim struct {
	at     time.Time
	wanted map[message.ID]int
	got    int
}

// deliverJournal keeps deliveries as internal/postgres does: oldest first,
// claims that lapse, and nothing of a message while something older of it is
// open. It notes what must not happen.
type deliverJournal struct {
	Journal // of which nothing else is called

	// unordered hands out everything that is due, as if it knew nothing of order.
	unordered bool
	// refuse makes a call fail; it may be nil. The ids are those of the
	// deliveries, none in a claim.
	refuse func(operation string, ids []message.ID) error
	// unreadable makes claims leave these out, with an error beside the others.
	unreadable message.ID
	// slow is how long a claim takes after it was made.
	slow time.Duration

	mu      sync.Mutex
	rows    []*deliverRow
	calls   []deliverClaim
	failed  int // calls that refuse made fail
	wrong   []string
	changed chan struct{} // closed and replaced at each change
}

func (j *deliverJournal) add(ds ...message.SMPPDelivery) []*deliverRow {
	j.mu.Lock()
	defer j.mu.Unlock()
	var out []*deliverRow
	for _, d := range ds {
		r := &deliverRow{SMPPDelivery: d, state: message.NotificationPending}
		j.rows = append(j.rows, r)
		out = append(out, r)
	}
	j.changedLocked()
	return out
}

func (j *deliverJournal) changedLocked() {
	if j.changed != nil {
		close(j.changed)
	}
	j.changed = make(chan struct{})
}

func (j *deliverJournal) wrongLocked(format string, a ...any) {
	j.wrong = append(j.wrong, fmt.Sprintf(format, a...))
}

// await waits until the journal is as wanted; ok runs under its lock.
func (j *deliverJournal) await(ok func() bool) {
	for {
		j.mu.Lock()
		if ok() {
			j.mu.Unlock()
			return
		}
		if j.changed == nil {
			j.changed = make(chan struct{})
		}
		ch := j.changed
		j.mu.Unlock()
		<-ch
	}
}

// tried waits until the row has n tries and gives them.
func (j *deliverJournal) tried(r *deliverRow, n int) []message.SMPPDelivered {
	j.await(func() bool { return len(r.tries) >= n })
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(r.tries)
}

// done waits until all rows have been delivered or have failed for good.
func (j *deliverJournal) done() {
	j.await(func() bool {
		return !slices.ContainsFunc(j.rows, func(r *deliverRow) bool { return r.state == message.NotificationPending })
	})
}

func (j *deliverJournal) claimCalls() []deliverClaim {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.calls)
}

func (j *deliverJournal) failures() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.failed
}

// edit changes how the journal behaves.
func (j *deliverJournal) edit(fn func(*deliverJournal)) {
	j.mu.Lock()
	defer j.mu.Unlock()
	fn(j)
}

func (j *deliverJournal) setRefuse(fn func(string, []message.ID) error) {
	j.edit(func(j *deliverJournal) { j.refuse = fn })
}

func (j *deliverJournal) refusedLocked(operation string, ids []message.ID) error {
	if j.refuse == nil {
		return nil
	}
	err := j.refuse(operation, ids)
	if err != nil {
		j.failed++
		j.changedLocked()
	}
	return err
}

func (j *deliverJournal) ClaimDeliveries(_ context.Context, instance string, wanted map[message.ID]int, lease time.Duration) ([]message.SMPPDelivery, error) {
	out, slow, err := j.claim(instance, wanted, lease)
	if slow > 0 {
		<-time.After(slow)
	}
	return out, err
}

func (j *deliverJournal) claim(instance string, wanted map[message.ID]int, lease time.Duration) ([]message.SMPPDelivery, time.Duration, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	now := time.Now()
	call := deliverClaim{at: now, wanted: wanted}
	defer func() { j.calls = append(j.calls, call); j.changedLocked() }()
	if instance != "here" || lease != 45*time.Second {
		j.wrongLocked("claim for %q with a lease of %v", instance, lease)
	}
	for _, n := range wanted {
		if n <= 0 {
			j.wrongLocked("claim of %d", n)
		}
	}
	if err := j.refusedLocked("claim", nil); err != nil {
		return nil, 0, err
	}
	var out []message.SMPPDelivery
	var unread error
	got := make(map[message.ID]int)
	open := make(map[orderKey]bool)
	for _, r := range j.rows {
		key := orderOf(&r.SMPPDelivery)
		if r.state != message.NotificationPending {
			continue
		}
		blocked := open[key] && !j.unordered
		open[key] = true
		if blocked || r.held(now) || r.due.After(now) || got[r.CredentialID] >= wanted[r.CredentialID] {
			continue
		}
		got[r.CredentialID]++
		r.claimed, r.lease = now, now.Add(lease)
		r.claims++
		if r.ID == j.unreadable {
			unread = errDeliverJournal
			continue
		}
		out = append(out, r.SMPPDelivery)
	}
	call.got = len(out)
	return out, j.slow, unread
}

func (j *deliverJournal) Delivered(_ context.Context, instance string, tries []message.SMPPDelivered) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.instanceLocked(instance)
	var ids []message.ID
	for _, t := range tries {
		ids = append(ids, t.ID)
	}
	if err := j.refusedLocked("delivered", ids); err != nil {
		return err
	}
	for _, t := range tries {
		if j.lateLocked(t) {
			continue
		}
		r := j.settledLocked(t.ID, "recorded")
		if r == nil {
			continue
		}
		if t.Number != r.Attempts+1 || t.MessageID != r.Message.ID || t.Kind != r.Kind {
			j.wrongLocked("recorded %+v of try %d of %s", t, r.Attempts+1, r.Kind)
		}
		if (t.State == message.NotificationPending) != (t.Again > 0) {
			j.wrongLocked("state %s, again after %v", t.State, t.Again)
		}
		r.tries = append(r.tries, t)
		r.Attempts++
		r.state = t.State
		r.due = time.Now().Add(t.Again)
	}
	j.changedLocked()
	return nil
}

func (j *deliverJournal) ReleaseDeliveries(_ context.Context, instance string, ids []message.ID) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.instanceLocked(instance)
	if err := j.refusedLocked("release", ids); err != nil {
		return err
	}
	for _, id := range ids {
		if r := j.settledLocked(id, "released"); r != nil {
			r.given++
		}
	}
	j.changedLocked()
	return nil
}

// settledLocked ends a claim; a claim ends once.
func (j *deliverJournal) settledLocked(id message.ID, how string) *deliverRow {
	for _, r := range j.rows {
		if r.ID != id {
			continue
		}
		if !r.held(time.Now()) {
			j.wrongLocked("%s %s without a claim", r.Kind, how)
			return nil
		}
		r.claimed, r.settled = time.Time{}, time.Now()
		return r
	}
	j.wrongLocked("an unknown delivery was %s", how)
	return nil
}

// deliverStage is a server of which only the deliverer works, its journal and
// its peers.
type deliverStage struct {
	t       testing.TB
	server  *Server
	journal *deliverJournal
	log     *logtest.Log
	// pair connects a peer; nil: by a loopback socket.
	pair  func(testing.TB) (net.Conn, net.Conn)
	sides sync.WaitGroup
	snap  atomic.Pointer[snapshot.Snapshot]
	peers []*deliverPeer

	mu        sync.Mutex
	delivered map[string]int // by kind and state, from Metrics
}

// deliverPlay starts a deliverer that ends with the test.
func deliverPlay(t testing.TB, pair func(testing.TB) (net.Conn, net.Conn)) *deliverStage {
	t.Helper()
	s := &deliverStage{t: t, journal: &deliverJournal{}, log: &logtest.Log{}, pair: pair, delivered: map[string]int{}}
	if pair == nil {
		s.pair = deliverSockets
	}
	s.snap.Store(&snapshot.Snapshot{})
	s.server = &Server{
		Journal: s.journal, Snapshot: s.snap.Load, Log: slog.New(s.log), Instance: "here",
		Metrics: Metrics{Delivered: func(k message.DeliveryKind, st message.NotificationState) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.delivered[string(k)+" "+string(st)]++
		}},
	}
	s.server.deliverer.start(s.server)
	t.Cleanup(s.end)
	return s
}

// end ends the sessions, then the deliverer, and reports what was wrong.
func (s *deliverStage) end() {
	for _, p := range s.peers {
		p.close()
	}
	s.sides.Wait()
	d := &s.server.deliverer
	d.stop()
	if n := len(d.live) + len(d.orders) + len(d.waiting) + len(d.mail); n > 0 {
		s.t.Errorf("left behind: %d live, %d orders, %d waiting, %d mail", len(d.live), len(d.orders), len(d.waiting), len(d.mail))
	}
	s.journal.mu.Lock()
	defer s.journal.mu.Unlock()
	for _, w := range s.journal.wrong {
		s.t.Error(w)
	}
}

// underWay asks the owner what it holds.
func (s *deliverStage) underWay() (live, orders, waiting int) {
	d := &s.server.deliverer
	told := make(chan struct{})
	d.post(func() {
		live, orders, waiting = len(d.live), len(d.orders), len(d.waiting)
		close(told)
	})
	<-told
	return live, orders, waiting
}

// owe enters deliveries and tells the deliverer.
func (s *deliverStage) owe(ds ...message.SMPPDelivery) []*deliverRow {
	rows := s.journal.add(ds...)
	s.server.Poke()
	return rows
}

func (s *deliverStage) counted(key string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.delivered[key]
}

// credential enters one into the snapshot.
func (s *deliverStage) credential(edit func(*snapshot.SMPPCredential)) *snapshot.SMPPCredential {
	c := &snapshot.SMPPCredential{
		ID: message.NewID(), AccountID: message.NewID(), Enabled: true, Window: 10, ReceiptTLVs: true, MOLifetime: time.Hour,
	}
	c.SystemID = "esme" + message.Hex32(c.ID)[26:]
	if edit != nil {
		edit(c)
	}
	s.publish(c)
	return c
}

// publish replaces the snapshot by one that has c as it is now.
func (s *deliverStage) publish(c *snapshot.SMPPCredential) {
	next := &snapshot.Snapshot{SMPPCredentials: map[string]*snapshot.SMPPCredential{}}
	for id, old := range s.snap.Load().SMPPCredentials {
		next.SMPPCredentials[id] = old
	}
	own := *c
	next.SMPPCredentials[c.SystemID] = &own
	next.Index()
	s.snap.Store(next)
}

// deliverPeer is an ESME and our session with it.
type deliverPeer struct {
	bound *bound
	esme  *smpp.Session
	// held are the deliver_sm that answer left open.
	held chan *smpp.Request

	mu   sync.Mutex
	got  []*smpp.DeliverSM
	open map[*smpp.Request]time.Time // unanswered, by when they came
	most int
}

// deliverAnswer tells what the peer does with its n-th deliver_sm, from 1.
// False: it is held.
type deliverAnswer func(n int, m *smpp.DeliverSM) (smpp.Status, bool)

func deliverTake(int, *smpp.DeliverSM) (smpp.Status, bool) { return smpp.StatusOK, true }
func deliverHold(int, *smpp.DeliverSM) (smpp.Status, bool) { return 0, false }

// deliverNack asks for a generic_nack of the status without these bits.
const deliverNack = smpp.Status(1 << 31)

// deliverBind is how a peer binds.
type deliverBind struct {
	mode    smpp.Mode // ModeNone: receiver
	window  int       // 0: the credential's
	legacy  bool
	answer  deliverAnswer
	handler smpp.Handler // instead of answer
	config  smpp.Config  // of our session
}

// bind connects a peer and attaches its session.
func (s *deliverStage) bind(c *snapshot.SMPPCredential, o deliverBind) *deliverPeer {
	s.t.Helper()
	p := &deliverPeer{held: make(chan *smpp.Request, 10000), open: make(map[*smpp.Request]time.Time)}
	if o.mode == smpp.ModeNone {
		o.mode = smpp.ModeReceiver
	}
	if o.window == 0 {
		o.window = c.Window
	}
	if o.handler == nil {
		o.handler = smpp.HandlerFunc(func(r *smpp.Request) { p.handle(r, o.answer) })
	}
	near, far := s.pair(s.t)
	p.bound = &bound{id: message.NewID(), systemID: c.SystemID, credential: c.ID, account: c.AccountID, legacy: o.legacy}
	p.bound.session = smpp.NewServerSession(near, smpp.ServerConfig{
		Config: o.config, SystemID: "gw",
		Bind: func(context.Context, *smpp.Session, *smpp.Bind) smpp.Decision {
			return smpp.Decision{Window: o.window}
		},
	})
	session := p.bound.session
	var err error
	p.esme, err = smpp.Dial(context.Background(), smpp.DialConfig{
		// More than any window of ours, so that what overruns it is seen.
		Config:      smpp.Config{Handler: o.handler, Inbound: 10000, EnquireLink: -1},
		Bind:        smpp.Bind{Mode: o.mode, SystemID: c.SystemID},
		DialContext: func(context.Context, string, string) (net.Conn, error) { return far, nil },
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.server.deliverer.attach(p.bound)
	s.sides.Go(func() {
		<-session.Done()
		s.server.deliverer.detach(p.bound)
	})
	s.peers = append(s.peers, p)
	return p
}

func (p *deliverPeer) handle(r *smpp.Request, answer deliverAnswer) {
	m := deliverOf(r)
	p.mu.Lock()
	p.got = append(p.got, m)
	n := len(p.got)
	now, unanswered := time.Now(), 1
	for _, came := range p.open {
		if now.Sub(came) < smpp.DefaultResponseTimeout {
			unanswered++
		}
	}
	p.open[r] = now
	p.most = max(p.most, unanswered)
	p.mu.Unlock()
	st, ok := answer(n, m)
	if !ok {
		p.held <- r
		return
	}
	p.answer(r, st)
}

// answer counts before the answer leaves: after it the next may come.
func (p *deliverPeer) answer(r *smpp.Request, st smpp.Status) {
	p.mu.Lock()
	delete(p.open, r)
	p.mu.Unlock()
	if st&deliverNack != 0 {
		_ = r.Respond(st&^deliverNack, &smpp.GenericNack{})
		return
	}
	_ = r.Respond(st, nil)
}

// take answers the next held deliver_sm and gives it.
func (p *deliverPeer) take(st smpp.Status) *smpp.DeliverSM {
	r := <-p.held
	p.answer(r, st)
	return deliverOf(r)
}

// deliverOf copies the request's deliver_sm, which aliases the frame.
func deliverOf(r *smpp.Request) *smpp.DeliverSM {
	pk, err := smpp.Decode(slices.Clone(r.Raw))
	if err != nil {
		return &smpp.DeliverSM{}
	}
	return pk.Body.(*smpp.DeliverSM)
}

func (p *deliverPeer) received() []*smpp.DeliverSM {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.got)
}

// peak is the most that was unanswered at one time, not counting what had no
// answer in its time.
func (p *deliverPeer) peak() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.most
}

// close cuts the connection.
func (p *deliverPeer) close() {
	p.esme.Close()
	p.esme.Wait()
	p.bound.session.Close()
	p.bound.session.Wait()
}

// deliverSockets gives both ends of a loopback connection.
func deliverSockets(t testing.TB) (near, far net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	type accepted struct {
		c   net.Conn
		err error
	}
	ch := make(chan accepted, 1)
	go func() {
		c, err := ln.Accept()
		ch <- accepted{c, err}
	}()
	far, err = net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	a := <-ch
	if a.err != nil {
		t.Fatal(a.err)
	}
	return a.c, far
}

// deliverPipes gives both ends of a connection in memory: with it, synctest's
// clock rules both.
func deliverPipes(testing.TB) (near, far net.Conn) { return net.Pipe() }

var errDeliverJournal = errors.New("the journal is away")

// deliverReceipt is the receipt of a message of its own.
func deliverReceipt(c *snapshot.SMPPCredential) message.SMPPDelivery {
	id := message.NewID()
	at := time.Date(2026, 11, 21, 20, 15, 9, 0, time.UTC)
	return message.SMPPDelivery{
		ID: message.NewID(), CredentialID: c.ID, Kind: message.DeliverReceipt, Status: message.StatusDelivered,
		ExpiresAt: at.Add(72 * time.Hour), CreatedAt: at.Add(time.Minute), FinalAt: at.Add(time.Minute),
		Message: message.Message{
			ID: id, AccountID: c.AccountID, Status: message.StatusDelivered, From: "+12025550143", To: "+13105550117",
			Body: "Your parcel is on its way", CreatedAt: at, Edge: message.EdgeSMPP,
		},
		Origin: message.SMPPOrigin{
			CredentialID: c.ID, Registered: 1, AnswerID: message.Hex32(id),
			Source: message.SMPPAddress{TON: 1, NPI: 1, Text: "12025550143"}, Dest: message.SMPPAddress{TON: 0, NPI: 1, Text: "+13105550117"},
		},
	}
}

func deliverReceipts(c *snapshot.SMPPCredential, n int) []message.SMPPDelivery {
	out := make([]message.SMPPDelivery, n)
	for i := range out {
		out[i] = deliverReceipt(c)
	}
	return out
}

// deliverInbound is an inbound message from a handset of its own.
func deliverInbound(c *snapshot.SMPPCredential, from message.Address, body string) message.SMPPDelivery {
	at := time.Date(2026, 11, 21, 20, 15, 9, 0, time.UTC)
	return message.SMPPDelivery{
		ID: message.NewID(), CredentialID: c.ID, Kind: message.DeliverMessage, ExpiresAt: at.Add(72 * time.Hour), CreatedAt: at,
		Message: message.Message{ID: message.NewID(), AccountID: c.AccountID, Direction: message.Inbound, From: from, To: "+12025550143", Body: body, CreatedAt: at},
	}
}
