package postgres

import (
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// wire is a connection to the server that a test may cut between a commit and
// the word of it.
type wire struct {
	cut   atomic.Bool  // the next answers are lost, with their connections
	cutAt atomic.Int64 // counts answers down: the one at which it comes to 0 is lost, with its connection
	lost  atomic.Int64
	mu    sync.Mutex
	conns []net.Conn
	all   sync.WaitGroup
}

// through opens the bundle's database by a wire.
func (b *bundle) through() (*wire, *DB) {
	b.tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.tb.Fatal(err)
	}
	network, address := "tcp", net.JoinHostPort(b.cfg.Host, strconv.Itoa(b.cfg.Port))
	if strings.HasPrefix(b.cfg.Host, "/") {
		network, address = "unix", filepath.Join(b.cfg.Host, fmt.Sprintf(".s.PGSQL.%d", b.cfg.Port))
	}
	w := &wire{}
	w.all.Go(func() {
		for {
			ours, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial(network, address)
			if err != nil {
				_ = ours.Close()
				continue
			}
			w.mu.Lock()
			w.conns = append(w.conns, ours, server)
			w.mu.Unlock()
			w.all.Go(func() { _, _ = io.Copy(server, ours); _ = server.Close() })
			w.all.Go(func() { w.answers(ours, server) })
		}
	})
	cfg := b.cfg
	cfg.Host, cfg.Port = "127.0.0.1", l.Addr().(*net.TCPAddr).Port
	db, err := Open(b.ctx, cfg, sealer(b.tb))
	if err != nil {
		b.tb.Fatal(err)
	}
	b.tb.Cleanup(func() {
		db.Close()
		_ = l.Close()
		w.mu.Lock()
		for _, c := range w.conns {
			_ = c.Close()
		}
		w.mu.Unlock()
		w.all.Wait()
	})
	return w, db
}

func (w *wire) answers(to, from net.Conn) {
	defer to.Close()
	buf := make([]byte, 1<<16)
	for {
		n, err := from.Read(buf)
		if n > 0 && (w.cut.Load() || w.cutAt.Load() > 0 && w.cutAt.Add(-1) == 0) {
			w.lost.Add(1)
			_ = from.Close()
			return
		}
		if _, werr := to.Write(buf[:n]); err != nil || werr != nil {
			return
		}
	}
}

// A commit whose answer is lost on its way is found out about, not reported as a
// failure that the customer would answer with a second message.
func TestLostCommit(t *testing.T) {
	t.Parallel()
	b := setup(t)
	w, db := b.through()
	if _, err := db.Accept(b.ctx, b.ordered("+13105550117")); err != nil { // the statement is prepared
		t.Fatal(err)
	}
	w.cut.Store(true)
	plain, with := b.ordered("+13105550117"), keyed(b.draft(), "lost", 1)
	type result struct {
		message.Accepted
		err error
	}
	results := make(chan result, 2)
	for _, a := range []message.Acceptance{plain, with} {
		wait := db.Enter(a)
		go func() {
			got, err := wait(b.ctx)
			results <- result{got, err}
		}()
	}
	b.until("the answer is lost", func() bool { return w.lost.Load() > 0 })
	w.cut.Store(false)
	for range 2 {
		if r := <-results; r.err != nil {
			t.Errorf("%+v, %v", r.Accepted, r.err)
		}
	}
	if n := b.count("select count(*) from messages"); n != 3 {
		t.Errorf("%d messages, want 3", n)
	}
	if n := b.count("select count(*) from backlog where message_id = $1 and waits", plain.Message.ID); n != 1 {
		t.Error("it does not wait for its turn")
	}
	b.whole()
}

// A server that stays away is reported, with the word that leaves open what
// became of the message.
func TestLostCommitStaysOpen(t *testing.T) {
	t.Parallel()
	b := setup(t)
	w, db := b.through()
	db.accept.mu.Lock()
	db.accept.repeatFor = 300 * time.Millisecond
	db.accept.mu.Unlock()
	w.cut.Store(true)
	_, err := db.Accept(b.ctx, message.Acceptance{Message: b.draft()})
	if message.ReasonOf(err) != message.ReasonUnavailable || !strings.Contains(err.Error(), "before it confirmed") {
		t.Errorf("told %v", err)
	}
}
