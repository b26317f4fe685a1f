package optout_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/optout"
	"github.com/postrider/postrider/internal/policy"
	"github.com/postrider/postrider/internal/postgres"
	"github.com/postrider/postrider/internal/secret"
	"github.com/postrider/postrider/internal/snapshot"
	"github.com/postrider/postrider/internal/stack/stacktest"
	"github.com/postrider/postrider/migrations"
)

func TestMain(m *testing.M) { stacktest.Main(m) }

var migrated = stacktest.NewTemplate(func(ctx context.Context, dsn string) error {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	_, err = migrations.Apply(ctx, conn)
	return errors.Join(err, conn.Close(ctx))
})

// world is a database with the processes on it.
type world struct {
	testing.TB
	ctx context.Context
	dsn string
	cfg postgres.Config
}

func setup(tb testing.TB) *world {
	tb.Helper()
	dsn := migrated.Database(tb)
	c, err := pgx.ParseConfig(dsn)
	if err != nil {
		tb.Fatal(err)
	}
	return &world{tb, stacktest.Context(tb), dsn, postgres.Config{Host: c.Host, Port: int(c.Port), User: c.User, Password: c.Password, Database: c.Database, SSLMode: "disable", MaxConns: 6}}
}

// process is a handle of its own on the database with a set that follows it.
type process struct {
	*postgres.DB
	set *optout.Set
}

func (w *world) process() process {
	w.Helper()
	ring, err := secret.ParseKeyring("test:" + base64.StdEncoding.EncodeToString([]byte("0123456789abcdef0123456789abcdef")))
	if err != nil {
		w.Fatal(err)
	}
	db, err := postgres.Open(w.ctx, w.cfg, ring.Box(secret.Content))
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(db.Close)
	p := process{db, optout.New(db, slog.New(slog.DiscardHandler))}
	db.OnOptOut(p.set.Add)
	if err := p.set.Start(w.ctx); err != nil {
		w.Fatal(err)
	}
	w.Cleanup(p.set.Stop)
	return p
}

const (
	sender    message.Address = "+12025550143"
	recipient message.Address = "+13105550117"
)

func optOutOf(account message.ID) message.OptOut {
	return message.OptOut{ID: message.NewID(), AccountID: account, Recipient: recipient, Scope: message.OptOutNumber, Sender: sender, Keyword: "STOP", Source: message.OptOutByKeyword}
}

func (w *world) record(p process, o message.OptOut) message.OptOut {
	w.Helper()
	r, err := p.RecordOptOut(w.ctx, o, message.OptOutWrite{})
	if err != nil {
		w.Fatal(err)
	}
	return r.OptOut
}

// decide asks the policy for a message from sender to recipient.
func decide(p process, account message.ID) policy.Decision {
	campaign := message.NewID()
	s := &snapshot.Snapshot{
		Accounts:  map[message.ID]*snapshot.Account{account: {ID: account, Status: snapshot.AccountActive}},
		Numbers:   map[message.Address]*snapshot.Number{sender: {Number: sender, AccountID: account, SMSEnabled: true, Campaign: campaign}},
		Campaigns: map[message.ID]*snapshot.Campaign{campaign: {ID: campaign, AccountID: account, CampaignID: "C8X2KQ1", Status: snapshot.CampaignActive}},
	}
	s.Index()
	m := &message.Message{ID: message.NewID(), AccountID: account, Kind: message.SMS, From: sender, To: recipient, Encoding: message.EncodingGSM7, Segments: 1}
	return policy.Gate(s, policy.Question{Message: m, OptOuts: p.set})
}

// An opt-out that one process writes is refused by it at once and by another as soon as
// that has heard of it; when it has ended both send again.
func TestTwoProcesses(t *testing.T) {
	t.Parallel()
	w := setup(t)
	one, two := w.process(), w.process()
	account := message.NewID()
	if d := decide(two, account); !d.Allowed() {
		t.Fatal(d.Error)
	}
	o := w.record(one, optOutOf(account))
	if d := decide(one, account); d.Allowed() || d.Error.Reason != message.ReasonOptedOut {
		t.Errorf("the process that has written it: %v", d.Error)
	}
	if err := two.set.Await(w.ctx, o.Version); err != nil {
		t.Fatal(err)
	}
	if d := decide(two, account); d.Allowed() || d.Error.Reason != message.ReasonOptedOut || !strings.Contains(d.Error.Detail, "STOP") {
		t.Errorf("the other process: %v", d.Error)
	}
	if d := decide(two, message.NewID()); !d.Allowed() {
		t.Errorf("another account: %v", d.Error)
	}
	ended, err := two.EndOptOut(w.ctx, account, o.ID, message.OptOutEnd{Reason: "came back"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if d := decide(two, account); !d.Allowed() {
		t.Errorf("the process that has ended it: %v", d.Error)
	}
	if err := one.set.Await(w.ctx, ended.Version); err != nil {
		t.Fatal(err)
	}
	if d := decide(one, account); !d.Allowed() {
		t.Errorf("the other process: %v", d.Error)
	}
	if err := errors.Join(one.set.Behind(), two.set.Behind()); err != nil {
		t.Error(err)
	}
}

// A process that starts knows what was written before.
func TestAfterRestart(t *testing.T) {
	t.Parallel()
	w := setup(t)
	account, other := message.NewID(), message.NewID()
	one := w.process()
	w.record(one, optOutOf(account))
	gone := w.record(one, optOutOf(other))
	if _, err := one.EndOptOut(w.ctx, other, gone.ID, message.OptOutEnd{Reason: "x"}, nil); err != nil {
		t.Fatal(err)
	}
	one.set.Stop()
	one.Close()
	two := w.process()
	if d := decide(two, account); d.Allowed() || d.Error.Reason != message.ReasonOptedOut {
		t.Errorf("%v", d.Error)
	}
	if d := decide(two, other); !d.Allowed() || two.set.Len() != 1 {
		t.Errorf("%v, %d entries", d.Error, two.set.Len())
	}
	// What is written now it hears of as well.
	o := w.record(w.process(), optOutOf(other))
	if err := two.set.Await(w.ctx, o.Version); err != nil {
		t.Fatal(err)
	}
	if d := decide(two, other); d.Allowed() {
		t.Error("it does not follow after a restart")
	}
}

// Many writers at the same time over two processes: both sets end as the table is.
func TestSetsConverge(t *testing.T) {
	t.Parallel()
	w := setup(t)
	procs := []process{w.process(), w.process()}
	account := message.NewID()
	numbers := []message.Address{"+13105550001", "+13105550002", "+13105550003"}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			p := procs[i%2]
			for j := range 15 {
				o := optOutOf(account)
				o.Recipient = numbers[(i+j)%3]
				r, err := p.RecordOptOut(w.ctx, o, message.OptOutWrite{})
				if err == nil && (i+j)%2 == 0 {
					_, err = p.EndOptOut(w.ctx, account, r.OptOut.ID, message.OptOutEnd{Reason: "x"}, nil)
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	version, err := procs[0].OptOutVersion(w.ctx)
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range procs {
		if err := p.set.Await(w.ctx, version); err != nil {
			t.Fatal(err)
		}
		for _, n := range numbers {
			want, stopped, err := p.StoppedBy(w.ctx, account, sender, n, "")
			if err != nil {
				t.Fatal(err)
			}
			if got, ok := p.set.Stopped(account, sender, n, ""); ok != stopped || got.ID != want.ID {
				t.Errorf("process %d, %s: %v, want %v", i, n.Masked(), ok, stopped)
			}
		}
	}
}

// A file with rows that break the rules, into the database and out again.
func TestImportAndExport(t *testing.T) {
	t.Parallel()
	w := setup(t)
	p := w.process()
	account, stranger := message.NewID(), message.NewID()
	file := "recipient,sender\n+13105550001,12345\n0\n+13105550002\n+13105550001,12345\n"
	r, err := optout.Import{Account: account, Actor: "tester", Now: time.Now()}.Read(w.ctx, strings.NewReader(file), p)
	if err != nil || r.Created != 2 || r.Already != 1 || r.Invalid != 1 || r.Bad[0].Line != 3 {
		t.Fatalf("%+v, %v", r, err)
	}
	w.record(p, optOutOf(stranger))
	var out strings.Builder
	if err := optout.Export(w.ctx, p, account, message.OptOutFilter{}, &out, nil); err != nil {
		t.Fatal(err)
	}
	if lines := strings.Split(strings.TrimSpace(out.String()), "\n"); len(lines) != 3 || !strings.HasPrefix(lines[1], "+13105550002,account,") || strings.Contains(out.String(), string(recipient)) {
		t.Errorf("%s", out.String())
	}
	r, err = optout.Import{Account: stranger, Actor: "tester", Now: time.Now()}.Read(w.ctx, strings.NewReader(out.String()), p)
	if err != nil || r.Created != 2 {
		t.Errorf("%+v, %v", r, err)
	}
	if o, ok := p.set.Stopped(stranger, "12345", "+13105550001", ""); !ok || o.Source != message.OptOutByImport {
		t.Errorf("%+v", o)
	}
}

// BenchmarkSet loads a table of a million opt-outs and looks up in the set: half of what
// is asked for is there.
func BenchmarkSet(b *testing.B) {
	w := setup(b)
	const rows = 1_000_000
	conn, err := pgx.Connect(w.ctx, w.dsn)
	if err != nil {
		b.Fatal(err)
	}
	account := message.NewID()
	if _, err := conn.Exec(w.ctx, `insert into opt_outs (id, account_id, recipient, scope, sender, keyword, source)
		select gen_random_uuid(), $1, '+1310' || lpad(n::text, 7, '0'), 'number', '+12025550143', 'STOP', 'keyword' from generate_series(1, $2::int) n`, account, rows); err != nil {
		b.Fatal(err)
	}
	_ = conn.Close(w.ctx)
	before := heap()
	began := time.Now()
	p := w.process()
	load := time.Since(began)
	used := heap() - before
	if p.set.Len() != rows {
		b.Fatal(p.set.Len())
	}
	numbers := make([]message.Address, 1<<16)
	for i := range numbers {
		numbers[i] = message.Address(fmt.Sprintf("+1310%07d", i*31%(2*rows)))
	}
	i := 0
	for b.Loop() {
		p.set.Stopped(account, sender, numbers[i&(1<<16-1)], "C8X2KQ1")
		i++
	}
	b.ReportMetric(load.Seconds(), "load-s")
	b.ReportMetric(float64(used)/rows, "B/entry")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "lookups/s")
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkImport records a file of a hundred thousand rows.
func BenchmarkImport(b *testing.B) {
	w := setup(b)
	p := w.process()
	var file strings.Builder
	file.WriteString("recipient,sender\n")
	const rows = 100_000
	for i := range rows {
		fmt.Fprintf(&file, "+1310%07d,+12025550143\n", 2_000_000+i)
	}
	for b.Loop() {
		r, err := optout.Import{Account: message.NewID(), Now: time.Now()}.Read(w.ctx, strings.NewReader(file.String()), p)
		if err != nil || r.Created != rows {
			b.Fatal(r.Created, err)
		}
	}
	b.ReportMetric(float64(b.N*rows)/b.Elapsed().Seconds(), "rows/s")
}
