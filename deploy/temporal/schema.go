package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/persistence/sql/sqlplugin/postgresql"
	v12 "go.temporal.io/server/schema/postgresql/v12"
	"go.temporal.io/server/tools/common/schema"
	sqltool "go.temporal.io/server/tools/sql"
)

// SQLSTATE codes, from appendix A of the Postgres manual.
const (
	sqlstateUnknownDatabase   = "3D000"
	sqlstateDuplicateDatabase = "42P04"
	sqlstateStartingUp        = "57P03"
)

const (
	coreSchema       = "postgresql/v12/temporal"
	visibilitySchema = "postgresql/v12/visibility"

	// The server measured best between 40 and 80 connections to the core database and 10 to 20 to
	// visibility; the low ends leave room under Postgres' default of 100.
	coreConns       = 40
	visibilityConns = 10

	// postgresPatience covers a Postgres that starts together with temporald, as under compose.
	postgresPatience = 30 * time.Second
	postgresRetry    = 100 * time.Millisecond
)

// postgresOptions says where the two databases are. Connections are unencrypted: temporald is for
// one node, next to its Postgres.
type postgresOptions struct {
	Database           string
	Host               string // a name, an address or the folder of a Unix socket
	Password           string
	Port               int
	User               string
	VisibilityDatabase string
}

func (p postgresOptions) validate() error {
	var errs []error
	for _, name := range []string{p.Database, p.VisibilityDatabase} {
		if !databasePattern.MatchString(name) {
			errs = append(errs, fmt.Errorf("database name %q: lower-case letters, digits and _ only", name))
		}
	}
	if p.Database == p.VisibilityDatabase {
		errs = append(errs, errors.New("--pg-db and --pg-visibility-db must differ: only visibility may lose its last commits"))
	}
	if !userPattern.MatchString(p.User) {
		errs = append(errs, fmt.Errorf("--pg-user %q: letters, digits, _ . - only", p.User))
	}
	if p.Host == "" || p.Port < 1 || p.Port > 65535 {
		errs = append(errs, fmt.Errorf("Postgres at %q port %d cannot be reached", p.Host, p.Port))
	}
	return errors.Join(errs...)
}

func (p postgresOptions) address() string {
	return net.JoinHostPort(p.Host, strconv.Itoa(p.Port))
}

// target is the address in a URL, which has no room for the folder of a Unix socket; a parameter
// then names it, and wins.
func (p postgresOptions) target() (address string, parameters url.Values) {
	if !filepath.IsAbs(p.Host) {
		return p.address(), url.Values{}
	}
	return net.JoinHostPort("socket", strconv.Itoa(p.Port)), url.Values{"host": {p.Host}}
}

// connect opens one connection for work that the server's own pools do not do.
func (p postgresOptions) connect(ctx context.Context, database string) (*pgx.Conn, error) {
	address, parameters := p.target()
	parameters.Set("sslmode", "disable")
	parameters.Set("connect_timeout", "5")
	parameters.Set("application_name", "temporald")
	target := url.URL{
		Scheme:   "postgres",
		User:     url.UserPassword(p.User, p.Password),
		Host:     address,
		Path:     database,
		RawQuery: parameters.Encode(),
	}
	return pgx.Connect(ctx, target.String())
}

// sqlConfig is the server's view of one of the databases.
func (p postgresOptions) sqlConfig(database string, conns int) *config.SQL {
	address, parameters := p.target()
	// The statements are few and their plans do not depend on the values; planning them anew took a
	// twentieth of the database's time.
	attributes := map[string]string{"plan_cache_mode": "force_generic_plan"}
	for name := range parameters {
		attributes[name] = parameters.Get(name)
	}
	return &config.SQL{
		PluginName:        postgresql.PluginNamePGX,
		ConnectAddr:       address,
		ConnectProtocol:   "tcp",
		User:              p.User,
		Password:          p.Password,
		DatabaseName:      database,
		MaxConns:          conns,
		MaxIdleConns:      conns, // an idle limit below the maximum reconnects under every burst
		MaxConnLifetime:   time.Hour,
		ConnectAttributes: attributes,
	}
}

// prepare makes both databases exist at the schema version that this server expects. On a database
// that is already there, it costs two connections and two reads.
func (p postgresOptions) prepare(ctx context.Context, logger log.Logger) error {
	stores := []struct {
		database, schema, version string
	}{
		{p.Database, coreSchema, v12.Version},
		{p.VisibilityDatabase, visibilitySchema, v12.VisibilityVersion},
	}
	for _, store := range stores {
		if err := p.ensureDatabase(ctx, store.database); err != nil {
			return fmt.Errorf("database %s at %s: %w", store.database, p.address(), err)
		}
		if err := applySchema(p.sqlConfig(store.database, 1), store.schema, store.version, logger); err != nil {
			return fmt.Errorf("schema of %s: %w", store.database, err)
		}
	}
	return relaxVisibilityCommits(ctx, p)
}

// ensureDatabase waits for Postgres and creates the database if it is missing. It connects to the
// database itself first, so that an owner without CREATEDB works once somebody made the database.
func (p postgresOptions) ensureDatabase(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, postgresPatience)
	defer cancel()
	for {
		conn, err := p.connect(ctx, name)
		if err == nil {
			return conn.Close(ctx)
		}
		if hasCode(err, sqlstateUnknownDatabase) {
			return p.createDatabase(ctx, name)
		}
		if !startingUp(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not reachable: %w", err)
		case <-time.After(postgresRetry):
		}
	}
}

func (p postgresOptions) createDatabase(ctx context.Context, name string) error {
	conn, err := p.connect(ctx, "postgres")
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, "create database "+pgx.Identifier{name}.Sanitize())
	if hasCode(err, sqlstateDuplicateDatabase) {
		return nil
	}
	return err
}

func hasCode(err error, code string) bool {
	var pgErr *pgconn.PgError
	return errors.As(err, &pgErr) && pgErr.Code == code
}

// startingUp is true for the two ways in which a Postgres that is about to be there refuses.
func startingUp(err error) bool {
	var dial *net.OpError
	return errors.As(err, &dial) || hasCode(err, sqlstateStartingUp)
}

// applySchema brings one database to the given version. It uses the steps below the SQL tool's
// RunTool, which would call os.Exit and print on an error. Both steps may run again after a crash
// half-way: the tool ignores what already exists.
func applySchema(cfg *config.SQL, name, version string, logger log.Logger) error {
	conn, err := sqltool.NewConnection(cfg, logger)
	if err != nil {
		return err
	}
	defer conn.Close()
	current, err := conn.ReadSchemaVersion()
	if err == nil && current == version {
		return nil
	}
	if err != nil { // no version table or no row in it: a new database
		setup := schema.NewSetupSchemaTask(conn, &schema.SetupConfig{InitialVersion: "0.0"}, logger)
		if err := setup.Run(); err != nil {
			return err
		}
	}
	return schema.NewUpdateSchemaTask(conn, &schema.UpdateConfig{SchemaName: name}, logger).Run()
}
