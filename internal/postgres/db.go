package postgres

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/migrations"
)

// Sealer encrypts what must not lie readable in the database. The associated
// data binds a sealed value to its row.
type Sealer interface {
	Seal(plaintext, associated []byte) []byte
	Open(sealed, associated []byte) ([]byte, error)
}

// Config says how to reach the database. The zero value of a field means its
// default.
type Config struct {
	Host     string // a name, an address or the folder of a Unix socket; default 127.0.0.1
	Port     int    // default 5432
	User     string // default postrider
	Password string
	Database string // default postrider
	Schema   string // default: the server's search path
	SSLMode  string // as libpq's sslmode; default prefer
	MaxConns int    // default 20
}

// Defaults of Config.
const (
	DefaultMaxConns = 20
	// connectTimeout bounds one attempt to connect.
	connectTimeout = 5 * time.Second
	// commitTimeout bounds one commit of a group. A server that has not answered by
	// then is taken for gone: TCP alone would hold every caller behind a vanished
	// server for a quarter of an hour.
	commitTimeout = 30 * time.Second
	// journalLanes is how many commits of the journal may be under way at once
	// beside the one of acceptance. One: two transactions that each change
	// several messages could wait for each other's rows.
	journalLanes = 1
)

func (c Config) pool() (*pgxpool.Config, error) {
	cfg, err := pgxpool.ParseConfig("")
	if err != nil {
		return nil, err
	}
	cc := cfg.ConnConfig
	cc.Host = orElse(c.Host, "127.0.0.1")
	cc.Port = uint16(orElse(c.Port, 5432))
	cc.User = orElse(c.User, "postrider")
	cc.Password = c.Password
	cc.Database = orElse(c.Database, "postrider")
	cc.ConnectTimeout = connectTimeout
	cc.Fallbacks = nil
	if cc.TLSConfig, err = tlsFor(c); err != nil {
		return nil, err
	}
	cc.RuntimeParams["application_name"] = "postrider"
	cc.RuntimeParams["timezone"] = "UTC"
	// The journal's statements are wide and their plans never depend on the
	// values: planning them anew each time would cost more than running them.
	cc.RuntimeParams["plan_cache_mode"] = "force_generic_plan"
	// A plan made while a table was young would read it from end to end, and be
	// kept when it has grown: every statement of the journal has its index.
	cc.RuntimeParams["enable_seqscan"] = "off"
	cc.RuntimeParams["jit"] = "off" // compiling a statement costs more than running it
	if c.Schema != "" {
		cc.RuntimeParams["search_path"] = c.Schema
	}
	cfg.AfterConnect = registerIDs
	cfg.MaxConns = int32(orElse(c.MaxConns, DefaultMaxConns))
	cfg.MinConns = 2
	cfg.MaxConnIdleTime = 5 * time.Minute
	cfg.HealthCheckPeriod = 15 * time.Second
	return cfg, nil
}

func orElse[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

// DB is the journal and the configuration. Safe for concurrent use.
type DB struct {
	pool   *pgxpool.Pool
	sealer Sealer
	accept *acceptor // of messages that take of no limit and balance
	meter  *acceptor // of those that do: they wait for locks, which others need not
	lanes  lanes
	groups *groups
	pacer  *pacer
	feed   *feedHub
	clock  clock
	sliced sliced // of searches

	onLeft func(account message.ID, priority int)

	envelopes *recent[*message.Message]
	untried   *recent[untried] // notifications of which no try was made
	parts     turns            // of AddPart
	inParts   turns            // of inboundPart

	onOwed    atomic.Pointer[func()]                 // see OnOwed
	onMM4Owed atomic.Pointer[func()]                 // see OnMM4Owed
	onOptOut  atomic.Pointer[func([]message.OptOut)] // see OnOptOut
}

// OnOwed has fn called after each commit of this process that owes somebody a
// deliver_sm: it is due now, and others find it only when they look. fn must not
// block. Safe for concurrent use; the last one counts.
func (db *DB) OnOwed(fn func()) { db.onOwed.Store(&fn) }

// owed calls what was given to OnOwed.
func (db *DB) owed() {
	if fn := db.onOwed.Load(); fn != nil {
		(*fn)()
	}
}

// Open connects and checks that the schema is complete. The caller closes the
// DB. Without migrations applied it fails and says which command helps.
func Open(ctx context.Context, c Config, sealer Sealer) (*DB, error) {
	cfg, err := c.pool()
	if err != nil {
		return nil, err
	}
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("connect to Postgres: %w", err)
	}
	conn, err := pool.Acquire(ctx)
	if err != nil {
		pool.Close()
		return nil, fmt.Errorf("connect to Postgres: %w", err)
	}
	pending, err := migrations.Pending(ctx, conn.Conn())
	conn.Release()
	if err == nil && pending > 0 {
		err = fmt.Errorf("the database lacks %d migrations: run `postrider migrate`", pending)
	}
	if err != nil {
		pool.Close()
		return nil, err
	}
	db := &DB{pool: pool, sealer: sealer, groups: newGroups(pool, journalLanes),
		envelopes: newRecent[*message.Message](recentSize), untried: newRecent[untried](recentSize), parts: make(turns, partTurns), inParts: make(turns, partTurns)}
	db.accept, db.meter = newAcceptor(db), newAcceptor(db)
	db.lanes = lanes{plain: db.accept, metered: db.meter, at: make(map[message.ID]*place)}
	db.pacer = newPacer(pool)
	db.feed = newFeedHub(db)
	if err := db.askClock(ctx); err != nil {
		pool.Close()
		return nil, err
	}
	return db, nil
}

// Migrate applies the migrations over a connection of its own and returns the
// names of the files it applied.
func Migrate(ctx context.Context, c Config) ([]string, error) {
	cfg, err := c.pool()
	if err != nil {
		return nil, err
	}
	conn, err := pgx.ConnectConfig(ctx, cfg.ConnConfig)
	if err != nil {
		return nil, fmt.Errorf("connect to Postgres: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	applied, err := migrations.Apply(ctx, conn)
	var names []string
	for _, m := range applied {
		names = append(names, m.Name)
	}
	return names, err
}

// OnLeft sets what is called after a commit by which a message of the account, of
// a class of that priority, has left the backlog: f must not block. Call it before
// anything is written.
func (db *DB) OnLeft(f func(account message.ID, priority int)) { db.onLeft = f }

// Close lets what is being written finish, then disconnects.
func (db *DB) Close() {
	db.accept.close()
	db.meter.close()
	db.pacer.close()
	db.feed.close()
	db.groups.close()
	db.pool.Close()
}

// Ping asks the database for one answer.
func (db *DB) Ping(ctx context.Context) error { return db.pool.Ping(ctx) }

// one runs a single statement through the group commit of the message.
func (db *DB) one(ctx context.Context, id message.ID, sql string, read func(pgx.Rows) error, args ...any) error {
	return db.groups.do(ctx, id[:], &statement{sql: sql, args: args, read: read})
}

// flag is the reader of a statement whose one row, if there is one, says whether something
// is so.
func flag(is *bool) func(pgx.Rows) error {
	return func(rows pgx.Rows) error {
		*is = false
		for rows.Next() {
			if err := rows.Scan(is); err != nil {
				return err
			}
		}
		return rows.Err()
	}
}

// none is the reader of a statement whose rows do not matter.
func none(rows pgx.Rows) error {
	for rows.Next() { //nolint:revive // drained for the error
	}
	return rows.Err()
}
