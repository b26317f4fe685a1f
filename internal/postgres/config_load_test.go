package postgres

import (
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// dials are one value of each table that a snapshot is read from: how a test turns
// it, and where it shows.
var dials = map[string]struct {
	turn string // $1 is the value, 1 to 250
	read func(b *bundle, s *snapshot.Snapshot) int
}{
	"accounts":            {"update accounts set max_parts = $1", func(b *bundle, s *snapshot.Snapshot) int { return s.Accounts[b.owner].MaxParts }},
	"api_credentials":     {"update api_credentials set burst = $1", func(b *bundle, s *snapshot.Snapshot) int { return s.Credentials["key-"+b.owner.String()].Burst }},
	"smpp_credentials":    {"update smpp_credentials set max_binds = $1", func(_ *bundle, s *snapshot.Snapshot) int { return s.SMPPCredentials["acme"].MaxBinds }},
	"mm4_peers":           {"update mm4_peers set port = $1", func(_ *bundle, s *snapshot.Snapshot) int { return first(s.MM4Peers).Port }},
	"numbers":             {"update numbers set rate_limit = $1", func(b *bundle, s *snapshot.Snapshot) int { return s.NumbersOf(b.owner)[0].RateLimit }},
	"brands":              {"update brands set daily_cap = $1", func(_ *bundle, s *snapshot.Snapshot) int { return first(s.Brands).DailyCap }},
	"campaigns":           {"update campaigns set throughput_limit = $1", func(_ *bundle, s *snapshot.Snapshot) int { return first(s.Campaigns).Throughput }},
	"vendors":             {"update vendors set port = $1", func(b *bundle, s *snapshot.Snapshot) int { return s.Vendors[b.vendor.ID].Port }},
	"routing_rules":       {"update routing_rules set weight = $1", func(_ *bundle, s *snapshot.Snapshot) int { return s.Routes[0].Weight }},
	"webhook_endpoints":   {"update webhook_endpoints set event_types = array_fill('x'::text, array[$1::integer])", func(b *bundle, s *snapshot.Snapshot) int { return len(s.Endpoints[b.owner][0].EventTypes) }},
	"staff":               {"update staff set name = $1::integer::text", func(_ *bundle, s *snapshot.Snapshot) int { return number(first(s.Staff).Name) }},
	"service_credentials": {"update service_credentials set name = $1::integer::text", func(_ *bundle, s *snapshot.Snapshot) int { return number(first(s.ServiceCredentials).Name) }},
	"signing_keys":        {"update signing_keys set retired_at = 'epoch'::timestamptz + $1 * interval '1 second'", func(_ *bundle, s *snapshot.Snapshot) int { return int(s.SigningKeys[0].RetiredAt.Unix()) }},
}

// number reads one that a test wrote as text; 0 if it is none.
func number(s string) int {
	n, _ := strconv.Atoi(s)
	return n
}

func first[K comparable, V any](m map[K]V) (v V) {
	for _, v = range m {
		break
	}
	return v
}

// dialled is a configuration of one row in each table with its dials at 1, and an
// unheard-of table.
func dialled(t *testing.T) *bundle {
	t.Helper()
	b := setup(t)
	b.configured()
	b.exec("insert into mm4_peers (account_id, name) values ($1, 'acme')", b.owner)
	b.exec("insert into brands (id, account_id, name, cap_key) values (gen_random_uuid(), $1, 'Acme', 'EIN-1')", b.owner)
	b.exec("insert into staff (id, email, password_hash, password_id, role) values (gen_random_uuid(), 'o@example.com', 'h', gen_random_uuid(), 'admin')")
	b.exec("insert into service_credentials (id, name, key, secret_hash, scopes) values (gen_random_uuid(), 'crm', 'k', 'h', '{service:messages}')")
	b.exec("create table unheard_of (value integer)")
	b.exec("create trigger unheard_of_changed after insert or update or delete on unheard_of for each statement execute function config_changed()")
	b.exec("insert into unheard_of values (1)")
	for _, d := range dials {
		b.exec(d.turn, 1)
	}
	return b
}

// state is what the dials of a snapshot show.
func (b *bundle) state(s *snapshot.Snapshot) map[string]int {
	out := map[string]int{}
	for table, d := range dials {
		out[table] = d.read(b, s)
	}
	return out
}

// model is what the configuration was at each version.
type model struct {
	mu     sync.Mutex
	states map[int64]map[string]int
	newest int64
}

func (m *model) at(version int64) map[string]int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.states[version]
}

// turn changes some dials in one transaction, or takes it back.
func (m *model) turn(b *bundle, db *DB, random *rand.Rand) {
	err := pgx.BeginFunc(b.ctx, db.pool, func(tx pgx.Tx) error {
		// Two that each hold a row which the other wants next would wait for ever.
		if _, err := tx.Exec(b.ctx, "select from config_version for update"); err != nil {
			return err
		}
		next := maps.Clone(m.at(m.newest))
		for range 1 + random.IntN(3) {
			if random.IntN(8) == 0 {
				if _, err := tx.Exec(b.ctx, "update unheard_of set value = value + 1"); err != nil {
					return err
				}
				continue
			}
			table := slices.Sorted(maps.Keys(dials))[random.IntN(len(dials))]
			next[table] = 1 + random.IntN(250)
			if _, err := tx.Exec(b.ctx, dials[table].turn, next[table]); err != nil {
				return err
			}
		}
		if random.IntN(6) == 0 {
			return pgx.ErrTxCommitRollback // any error: it is taken back
		}
		var version int64
		if err := tx.QueryRow(b.ctx, selectVersion).Scan(&version); err != nil {
			return err
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		m.states[version], m.newest = next, version // before the commit shows it; the lock keeps others out
		return nil
	})
	if err != nil && err != pgx.ErrTxCommitRollback {
		b.tb.Error(err)
	}
}

// Whatever changes over two connections while snapshots are refreshed one out of the
// other, each is the configuration of one version, and stays it.
func TestRefreshIsOfOneVersion(t *testing.T) {
	t.Parallel()
	b := dialled(t)
	start, err := b.LoadSnapshot(b.ctx)
	if err != nil {
		t.Fatal(err)
	}
	m := &model{states: map[int64]map[string]int{start.Version: b.state(start)}, newest: start.Version}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)

	const enough = 10 // versions that each reader sees
	var writers, readers sync.WaitGroup
	var served atomic.Int32 // readers that have seen enough
	done := make(chan struct{})
	for i := range 2 {
		db, random := b.replica(), rand.New(rand.NewPCG(seed, uint64(i)))
		writers.Go(func() {
			for n := 0; n < 150 || served.Load() < 2 && n < 15_000; n++ {
				m.turn(b, db, random)
			}
		})
	}
	check := func(s *snapshot.Snapshot) {
		if got, want := b.state(s), m.at(s.Version); !maps.Equal(got, want) {
			t.Errorf("version %d shows %v, want %v", s.Version, got, want)
		}
	}
	for range 2 {
		db := b.replica()
		readers.Go(func() {
			s, seen := start, []*snapshot.Snapshot{}
			for over := false; !over; {
				select {
				case <-done:
					over = true // one more, of the end
				default:
				}
				next, err := db.RefreshSnapshot(b.ctx, s)
				if err != nil {
					t.Error(err)
					return
				}
				if next != s {
					check(next)
					if seen = append(seen, next); len(seen) == enough {
						served.Add(1)
					}
				}
				s = next
			}
			if s.Version != m.newest {
				t.Errorf("the last is of version %d, want %d", s.Version, m.newest)
			}
			for _, s := range seen {
				check(s) // nobody has written to it since
			}
			if len(seen) < enough {
				t.Errorf("only %d snapshots", len(seen))
			}
		})
	}
	h := snapshot.NewHolder(b.replica(), slog.New(slog.DiscardHandler))
	h.OnChange(check)
	if err := h.Start(b.ctx); err != nil {
		t.Fatal(err)
	}
	writers.Wait()
	close(done)
	readers.Wait()
	b.until("the holder has the last version", func() bool { return h.Current().Version == m.newest })
	h.Stop()
}

// A refresh reads the tables that have changed and no others; one that it has not
// heard of makes it read everything.
func TestRefreshReadsWhatChanged(t *testing.T) {
	t.Parallel()
	b := dialled(t)
	old, err := b.LoadSnapshot(b.ctx)
	if err != nil {
		t.Fatal(err)
	}
	refresh := func(what string) *snapshot.Snapshot {
		t.Helper()
		s, err := b.RefreshSnapshot(b.ctx, old)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		return s
	}
	if s := refresh("nothing"); s != old {
		t.Error("without a change it is another snapshot")
	}
	for table, d := range dials {
		b.exec(d.turn, 2)
		s := refresh(table)
		if got := read(old, s); got != table {
			t.Errorf("a change of %s: read %s", table, got)
		}
		if d.read(b, s) != 2 || d.read(b, old) != 1 {
			t.Errorf("%s: %d, and %d in the old one", table, d.read(b, s), d.read(b, old))
		}
		old = s
	}
	b.exec("update unheard_of set value = 2")
	if s := refresh("unheard_of"); len(strings.Fields(read(old, s))) != len(dials) {
		t.Errorf("a change of an unheard-of table: read %s", read(old, s))
	}
	// A restored database may count to the same version again.
	old = refresh("unheard_of")
	b.exec("update accounts set max_parts = 9")
	b.exec("update config_version set version = $1", old.Version)
	if s := refresh("restored"); s.Version != old.Version || s.Accounts[b.owner].MaxParts != 9 {
		t.Errorf("the same version with another content: %d parts", s.Accounts[b.owner].MaxParts)
	}
}

// read names the tables whose rows in s are not those of old.
func read(old, s *snapshot.Snapshot) string {
	at := func(v any) uintptr { return reflect.ValueOf(v).Pointer() }
	var list []string
	for table, of := range map[string]func(*snapshot.Snapshot) uintptr{
		"accounts":            func(s *snapshot.Snapshot) uintptr { return at(s.Accounts) },
		"api_credentials":     func(s *snapshot.Snapshot) uintptr { return at(s.Credentials) },
		"smpp_credentials":    func(s *snapshot.Snapshot) uintptr { return at(s.SMPPCredentials) },
		"mm4_peers":           func(s *snapshot.Snapshot) uintptr { return at(s.MM4Peers) },
		"numbers":             func(s *snapshot.Snapshot) uintptr { return at(s.Numbers) },
		"brands":              func(s *snapshot.Snapshot) uintptr { return at(s.Brands) },
		"campaigns":           func(s *snapshot.Snapshot) uintptr { return at(s.Campaigns) },
		"vendors":             func(s *snapshot.Snapshot) uintptr { return at(s.Vendors) },
		"routing_rules":       func(s *snapshot.Snapshot) uintptr { return at(s.Routes) },
		"webhook_endpoints":   func(s *snapshot.Snapshot) uintptr { return at(s.Endpoints) },
		"staff":               func(s *snapshot.Snapshot) uintptr { return at(s.Staff) },
		"service_credentials": func(s *snapshot.Snapshot) uintptr { return at(s.ServiceCredentials) },
		"signing_keys":        func(s *snapshot.Snapshot) uintptr { return at(s.SigningKeys) },
	} {
		if of(old) != of(s) {
			list = append(list, table)
		}
	}
	slices.Sort(list)
	return strings.Join(list, " ")
}

// A section is kept by what it says it reads, so it must say all of it; and each of
// its tables must tell of its changes.
func TestSectionsNameTheirTables(t *testing.T) {
	t.Parallel()
	b := dialled(t)
	named := map[string]bool{}
	for _, part := range b.sections() {
		tx, err := b.pool.Begin(b.ctx)
		if err != nil {
			t.Fatal(err)
		}
		if err := part.load(b.ctx, tx, &snapshot.Snapshot{}); err != nil {
			t.Fatal(err)
		}
		// A statement locks the tables that it reads until the transaction ends.
		rows, err := tx.Query(b.ctx, "select c.relname from pg_locks l join pg_class c on c.oid = l.relation where l.pid = pg_backend_pid() and c.relkind = 'r' and c.relnamespace = current_schema()::regnamespace")
		if err != nil {
			t.Fatal(err)
		}
		locked, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatal(err)
		}
		_ = tx.Rollback(b.ctx)
		tables := strings.Fields(part.tables)
		slices.Sort(tables)
		slices.Sort(locked)
		if len(tables) > 0 && !slices.Equal(tables, locked) {
			t.Errorf("a section names the tables %v and reads %v", tables, locked)
		}
		for _, table := range locked {
			named[table] = true
			if n := b.count("select count(*) from pg_trigger where tgrelid = $1::regclass and tgfoid = 'config_changed'::regproc", table); n != 1 {
				t.Errorf("%s has %d triggers that tell of its changes", table, n)
			}
		}
	}
	for table := range dials {
		if !named[table] {
			t.Errorf("nothing reads %s", table)
		}
	}
}

// A broken row leaves the last snapshot in force, and names itself until it is
// mended; what else has changed meanwhile then is there as well.
func TestHolderOutlivesABrokenRow(t *testing.T) {
	t.Parallel()
	b := dialled(t)
	h := snapshot.NewHolder(b.DB, slog.New(slog.DiscardHandler))
	if err := h.Start(b.ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Stop)
	good := b.version()
	b.exec("update webhook_endpoints set secret = 'x'::bytea || secret")
	b.exec("update accounts set max_parts = 7")
	b.until("the failure is told", func() bool { return h.Failing() != nil })
	if s := h.Current(); s.Version > good || s.Accounts[b.owner].MaxParts != 1 {
		t.Errorf("in force is version %d with %d parts", s.Version, s.Accounts[b.owner].MaxParts)
	}
	if err := h.Failing(); !strings.Contains(err.Error(), "secret of webhook endpoint") {
		t.Errorf("%v does not name the row", err)
	}
	b.exec("update webhook_endpoints set secret = substring(secret from 2)")
	b.until("it is mended", func() bool { return h.Failing() == nil && h.Current().Version == b.version() })
	if s := h.Current(); s.Accounts[b.owner].MaxParts != 7 {
		t.Errorf("mended, with %d parts", s.Accounts[b.owner].MaxParts)
	}
}

// Ids go to the database and come back as they are, alone, as null and in lists.
func TestIDs(t *testing.T) {
	t.Parallel()
	b := setup(t)
	one, two := message.NewID(), message.NewID()
	var back, none message.ID
	var null, some *message.ID
	var list []message.ID
	var text string
	var isNull bool
	err := b.pool.QueryRow(b.ctx, "select $1::uuid, null::uuid, null::uuid, $2::uuid, $3::uuid[], $4::uuid is null",
		one, &two, []message.ID{one, two}, (*message.ID)(nil)).Scan(&back, &none, &null, &some, &list, &isNull)
	if err != nil || !isNull || back != one || none != (message.ID{}) || null != nil || some == nil || *some != two || fmt.Sprint(list) != fmt.Sprint([]message.ID{one, two}) {
		t.Errorf("%v: %v %v %v %v %v", err, back, none, null, some, list)
	}
	if err := b.pool.QueryRow(b.ctx, "select $1::uuid::text", one).Scan(&text); err != nil || text != one.String() {
		t.Errorf("%v: %s", err, text)
	}
	if err := b.pool.QueryRow(b.ctx, "select $1::uuid = $2::uuid", one.String(), one).Scan(new(bool)); err != nil {
		t.Errorf("an id as text: %v", err)
	}
}
