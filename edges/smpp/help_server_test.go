package smpp

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/smpp"
	"github.com/postrider/postrider/internal/snapshot"
)

// serverEvents is what happened, in order; tests wait for it.
type serverEvents struct {
	mu   sync.Mutex
	cond sync.Cond
	list []string
}

func newServerEvents() *serverEvents {
	e := &serverEvents{}
	e.cond.L = &e.mu
	return e
}

func (e *serverEvents) add(format string, args ...any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = append(e.list, fmt.Sprintf(format, args...))
	e.cond.Broadcast()
}

// await waits until an event has happened so many times.
func (e *serverEvents) await(event string, times int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for e.countLocked(event) < times {
		e.cond.Wait()
	}
}

func (e *serverEvents) countLocked(event string) int {
	n := 0
	for _, l := range e.list {
		if l == event {
			n++
		}
	}
	return n
}

func (e *serverEvents) count(event string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.countLocked(event)
}

// with gives the events that begin so.
func (e *serverEvents) with(prefix string) []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []string
	for _, l := range e.list {
		if strings.HasPrefix(l, prefix) {
			out = append(out, l)
		}
	}
	return out
}

// serverJournal is the registry of binds in memory.
type serverJournal struct {
	Journal
	events *serverEvents
	// onBind, onUnbind and onAlive run first, on the caller's goroutine; an error
	// is given back.
	onBind, onAlive func() error
	onSurplus       func() error
	onUnbind        func(context.Context) error

	mu sync.Mutex
	// held and endHeld answer for what is held; held may be nil.
	held    func() ([]message.SMPPHeld, error)
	endHeld func(account message.ID, most int) (int, error)

	rows  map[message.ID]message.SMPPBind
	toEnd []message.ID
	alive [][]message.ID // what BindsAlive was told
}

func (j *serverJournal) Bind(_ context.Context, b message.SMPPBind, most int) (bool, error) {
	if j.onBind != nil {
		if err := j.onBind(); err != nil {
			return false, err
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	n := 0
	for _, r := range j.rows {
		if r.CredentialID == b.CredentialID {
			n++
		}
	}
	if n >= most {
		return false, nil
	}
	j.rows[b.ID] = b
	return true, nil
}

func (j *serverJournal) Unbind(ctx context.Context, id message.ID) error {
	if j.onUnbind != nil {
		if err := j.onUnbind(ctx); err != nil {
			return err
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	delete(j.rows, id)
	j.events.add("row out")
	return nil
}

func (j *serverJournal) BindsToEnd(context.Context, string) ([]message.ID, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.toEnd), nil
}

func (j *serverJournal) BindsAlive(_ context.Context, instance string, ids []message.ID) (missing []message.ID, err error) {
	j.mu.Lock()
	j.alive = append(j.alive, ids)
	for _, id := range ids {
		if _, there := j.rows[id]; !there {
			missing = append(missing, id)
		}
	}
	for id, r := range j.rows {
		if r.Instance == instance && !slices.Contains(ids, id) {
			delete(j.rows, id)
		}
	}
	j.mu.Unlock()
	j.events.add("alive %d", len(ids))
	if j.onAlive != nil {
		err = j.onAlive()
	}
	return missing, err
}

func (j *serverJournal) EnterAgain(_ context.Context, binds []message.SMPPBind) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, b := range binds {
		j.rows[b.ID] = b
		j.events.add("entered again %s", b.Mode)
	}
	return nil
}

func (j *serverJournal) SurplusBinds(_ context.Context, credential message.ID, most int) ([]message.ID, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.onSurplus != nil {
		if err := j.onSurplus(); err != nil {
			j.events.add("surplus not known")
			return nil, err
		}
	}
	j.events.add("surplus beyond %d", most)
	var binds []message.SMPPBind
	for _, b := range j.rows {
		if b.CredentialID == credential {
			binds = append(binds, b)
		}
	}
	slices.SortFunc(binds, func(a, b message.SMPPBind) int {
		return cmp.Or(a.BoundAt.Compare(b.BoundAt), bytes.Compare(a.ID[:], b.ID[:]))
	})
	var ids []message.ID
	for _, b := range binds[min(most, len(binds)):] {
		ids = append(ids, b.ID)
	}
	return ids, nil
}

func (j *serverJournal) HeldDeliveries(context.Context) ([]message.SMPPHeld, error) {
	if j.held == nil {
		return nil, nil
	}
	return j.held()
}

func (j *serverJournal) EndHeld(_ context.Context, account message.ID, most int) (int, error) {
	return j.endHeld(account, most)
}

func (j *serverJournal) AuditBind(_ context.Context, account message.ID, systemID, address, event, detail string) error {
	known := "known"
	if account == (message.ID{}) {
		known = "unknown"
	}
	j.events.add("%s %s %s %s: %s", event, known, systemID, address, detail)
	return nil
}

func (j *serverJournal) ClaimDeliveries(context.Context, string, map[message.ID]int, time.Duration) ([]message.SMPPDelivery, error) {
	return nil, nil
}

func (j *serverJournal) Delivered(context.Context, string, []message.SMPPDelivered) error { return nil }
func (j *serverJournal) ReleaseDeliveries(context.Context, string, []message.ID) error    { return nil }

func (j *serverJournal) row() []message.SMPPBind {
	j.mu.Lock()
	defer j.mu.Unlock()
	var list []message.SMPPBind
	for _, r := range j.rows {
		list = append(list, r)
	}
	return list
}

const serverPassword = "s3cret"

var serverHash = func() string {
	h, err := bcrypt.GenerateFromPassword([]byte(serverPassword), bcrypt.MinCost)
	if err != nil {
		panic(err)
	}
	return string(h)
}()

// serverWorld is a server with one credential, acme, over real sockets or over
// pipes with made-up addresses.
type serverWorld struct {
	*Server
	t       testing.TB
	journal *serverJournal
	events  *serverEvents // of the journal and of the metrics
	logged  *serverLog
	cred    *snapshot.SMPPCredential
	account *snapshot.Account

	mu   sync.Mutex
	snap *snapshot.Snapshot
}

func serverSetup(t testing.TB) *serverWorld {
	e := newServerEvents()
	w := &serverWorld{t: t, events: e, logged: &serverLog{}, journal: &serverJournal{events: e, rows: map[message.ID]message.SMPPBind{}}}
	w.account = &snapshot.Account{ID: message.NewID(), Status: snapshot.AccountActive}
	w.cred = &snapshot.SMPPCredential{
		ID: message.NewID(), AccountID: w.account.ID, SystemID: "acme", PasswordHash: serverHash, Enabled: true,
		MaxBinds: 10, Throughput: 1000, Window: 10, Receiver: true, Transmitter: true, Transceiver: true,
	}
	w.publish(1)
	w.Server = &Server{
		Journal: w.journal, Snapshot: w.current, Instance: "here", Log: slog.New(slog.NewTextHandler(w.logged, nil)),
		Metrics: Metrics{
			Connections:       func(d int) { e.add("connections %+d", d) },
			Binds:             func(id string, d int) { e.add("binds %s %+d", id, d) },
			BindRefused:       func(r message.Reason) { e.add("bind refused %s", r) },
			ConnectionRefused: func(cause string) { e.add("refused %s", cause) },
			AuditDropped:      func(n int) { e.add("audit dropped %d", n) },
		},
	}
	return w
}

// current is the snapshot in force; nil before there is one.
func (w *serverWorld) current() *snapshot.Snapshot {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.snap
}

// publish puts copies of the credential and the account in force.
func (w *serverWorld) publish(version int64) {
	cred, account := *w.cred, *w.account
	snap := &snapshot.Snapshot{
		Version: version, Accounts: map[message.ID]*snapshot.Account{account.ID: &account},
		SMPPCredentials: map[string]*snapshot.SMPPCredential{cred.SystemID: &cred},
	}
	snap.Index()
	w.setSnapshot(snap)
}

func (w *serverWorld) setSnapshot(snap *snapshot.Snapshot) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.snap = snap
}

// audited waits for so many equal lines of the audit log.
func (w *serverWorld) audited(line string, times int) {
	w.events.await(line, times)
}

// listen serves on a loopback port until the test ends, and checks that nothing
// is left.
func (w *serverWorld) listen() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	w.serveUntilEnd(l, w.Serve)
	return l.Addr().String()
}

func (w *serverWorld) listenTLS() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	w.serveUntilEnd(l, w.ServeTLS)
	return l.Addr().String()
}

// pipes serves connections that dial makes.
func (w *serverWorld) pipes() *serverPipes {
	l := newServerPipes(w.t)
	w.serveUntilEnd(l, w.Serve)
	return l
}

func (w *serverWorld) serveUntilEnd(l net.Listener, serve func(net.Listener) error) {
	served := make(chan error, 1)
	go func() { served <- serve(l) }()
	w.t.Cleanup(func() {
		if err := w.Shutdown(context.Background()); err != nil {
			w.t.Errorf("shutdown: %v", err)
		}
		if err := <-served; err != nil {
			w.t.Errorf("serve: %v", err)
		}
		if rows := w.journal.row(); len(rows) > 0 {
			w.t.Errorf("%d binds were left in the registry", len(rows))
		}
		up, down := w.events.count("connections +1"), w.events.count("connections -1")
		if up != down {
			w.t.Errorf("%d connections came and %d went", up, down)
		}
		if w.logged.contains(serverPassword) {
			w.t.Error("a password was logged")
		}
		for _, l := range w.events.with("smpp.") {
			if strings.Contains(l, serverPassword) {
				w.t.Error("a password was audited")
			}
		}
	})
}

// serverLog keeps what was logged.
type serverLog struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *serverLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *serverLog) contains(s string) bool { return l.count(s) > 0 }

func (l *serverLog) count(s string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.buf.String(), s)
}

// serverPipes is a listener without sockets, for tests with a fake clock and for
// addresses of choice.
type serverPipes struct {
	t      testing.TB
	conns  chan any // net.Conn or error
	closed chan struct{}
	once   sync.Once
}

func newServerPipes(t testing.TB) *serverPipes {
	return &serverPipes{t: t, conns: make(chan any), closed: make(chan struct{})}
}

func (l *serverPipes) Accept() (net.Conn, error) {
	select {
	case v := <-l.conns:
		if err, ok := v.(error); ok {
			return nil, err
		}
		return v.(net.Conn), nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *serverPipes) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *serverPipes) Addr() net.Addr { return &net.TCPAddr{} }

// dial connects from an address.
func (l *serverPipes) dial(address string) *serverPeer {
	ours, theirs := net.Pipe()
	from := net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(address), 40000))
	l.conns <- net.Conn(serverPipeConn{ours, from})
	return newServerPeer(l.t, theirs)
}

type serverPipeConn struct {
	net.Conn
	from net.Addr
}

func (c serverPipeConn) RemoteAddr() net.Addr { return c.from }

// serverPeer is an ESME, octet by octet.
type serverPeer struct {
	t testing.TB
	net.Conn
}

func newServerPeer(t testing.TB, c net.Conn) *serverPeer {
	t.Cleanup(func() { _ = c.Close() })
	return &serverPeer{t, c}
}

func serverDial(t testing.TB, address string) *serverPeer {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return newServerPeer(t, c)
}

// serverOctets reads hex with spaces; text in quotes stands for its octets.
func serverOctets(t testing.TB, s string) []byte {
	t.Helper()
	var out []byte
	for i, part := range strings.Split(s, `"`) {
		if i%2 == 1 {
			out = append(out, part...)
			continue
		}
		b, err := hex.DecodeString(strings.ReplaceAll(part, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, b...)
	}
	return out
}

// send writes octets as they are.
func (p *serverPeer) send(s string) {
	p.t.Helper()
	if _, err := p.Write(serverOctets(p.t, s)); err != nil {
		p.t.Fatalf("write: %v", err)
	}
}

// serverFramed puts the length before a PDU.
func serverFramed(t testing.TB, s string) []byte {
	t.Helper()
	b := serverOctets(t, s)
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(b)+4)), b...)
}

// pdu writes a PDU without its length, which is put before it.
func (p *serverPeer) pdu(s string) {
	p.t.Helper()
	if _, err := p.Write(serverFramed(p.t, s)); err != nil {
		p.t.Fatalf("write: %v", err)
	}
}

// want reads a PDU and compares it with octets after its length.
func (p *serverPeer) want(s string) {
	p.t.Helper()
	if got, want := p.read(), serverFramed(p.t, s); !bytes.Equal(got, want) {
		p.t.Fatalf("got  %x\nwant %x", got, want)
	}
}

func (p *serverPeer) read() []byte {
	p.t.Helper()
	b, err := p.next()
	if err != nil {
		p.t.Fatalf("read: %v", err)
	}
	return b
}

func (p *serverPeer) next() ([]byte, error) {
	head := make([]byte, 4)
	if _, err := io.ReadFull(p, head); err != nil {
		return nil, err
	}
	b := append(head, make([]byte, binary.BigEndian.Uint32(head)-4)...)
	_, err := io.ReadFull(p, b[4:])
	return b, err
}

// wantEnd reads to the end and fails on a PDU.
func (p *serverPeer) wantEnd() {
	p.t.Helper()
	if b, err := p.next(); err == nil {
		p.t.Fatalf("got %x, want the end", b)
	} else if errors.Is(err, io.ErrUnexpectedEOF) {
		p.t.Fatalf("the end came within a PDU")
	}
	_ = p.Close()
}

// Bind commands.
const (
	bindRX  = "00000001"
	bindTX  = "00000002"
	bindTRX = "00000009"
)

// tryBind binds with sequence number 1 and gives the status.
func (p *serverPeer) tryBind(command, systemID, password string, version byte) smpp.Status {
	p.t.Helper()
	p.pdu(fmt.Sprintf(`%s 00000000 00000001 "%s"00 "%s"00 00 %02x 00 00 00`, command, systemID, password, version))
	return smpp.Status(binary.BigEndian.Uint32(p.read()[8:]))
}

// bind binds as acme, which must be taken.
func (p *serverPeer) bind(command string) {
	p.t.Helper()
	if st := p.tryBind(command, "acme", serverPassword, 0x34); st != smpp.StatusOK {
		p.t.Fatalf("bind was answered %s", st)
	}
}

// alive checks that the session answers enquire_link.
func (p *serverPeer) alive() {
	p.t.Helper()
	p.pdu("00000015 00000000 00000063")
	p.want("80000015 00000000 00000063")
}

// unbound waits for our unbind, answers it and waits for the end.
func (p *serverPeer) unbound() {
	p.t.Helper()
	b := p.read()
	if binary.BigEndian.Uint32(b[4:]) != 6 {
		p.t.Fatalf("got %x, want unbind", b)
	}
	p.pdu(fmt.Sprintf("80000006 00000000 %08x", binary.BigEndian.Uint32(b[12:])))
	p.wantEnd()
}
