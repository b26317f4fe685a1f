// Package migrations holds the database's schema as numbered SQL files and
// applies them. Files only ever go forward, are never edited once released
// (a checksum is kept), and are safe while the previous release still runs.
package migrations

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"sort"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
)

//go:embed *.sql
var files embed.FS

// lockKey names the advisory lock that keeps two processes from migrating at
// once: "postride" read as a number.
const lockKey = 0x706f737472696465

// createTable makes the list of what was applied.
const createTable = `
create table if not exists schema_migrations (
  version    integer primary key,
  name       text not null,
  checksum   text not null,
  applied_at timestamptz not null default now()
)`

// Migration is one file.
type Migration struct {
	Version  int
	Name     string
	SQL      string
	Checksum string
}

// All lists the migrations in order. It fails on a gap or a bad name, which a
// test turns into a build failure.
func All() ([]Migration, error) {
	names, err := fs.Glob(files, "*.sql")
	if err != nil {
		return nil, err
	}
	sort.Strings(names)
	var all []Migration
	for i, name := range names {
		number, _, ok := strings.Cut(name, "_")
		v, err := strconv.Atoi(number)
		if !ok || err != nil || v != i+1 {
			return nil, fmt.Errorf("migration %s: want number %04d and an underscore first", name, i+1)
		}
		sql, err := files.ReadFile(name)
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(sql)
		all = append(all, Migration{Version: v, Name: name, SQL: string(sql), Checksum: hex.EncodeToString(sum[:])})
	}
	return all, nil
}

// Apply brings the database that conn is connected to, in its current schema,
// to the newest version, and returns what it applied. Each file is one
// transaction. Concurrent calls wait for each other. It refuses a database that
// is newer than this program or whose applied files have another content.
func Apply(ctx context.Context, conn *pgx.Conn) (applied []Migration, err error) {
	all, err := All()
	if err != nil {
		return nil, err
	}
	if _, err := conn.Exec(ctx, "select pg_advisory_lock($1)", int64(lockKey)); err != nil {
		return nil, fmt.Errorf("migrate: lock: %w", err)
	}
	defer func() {
		_, uerr := conn.Exec(context.WithoutCancel(ctx), "select pg_advisory_unlock($1)", int64(lockKey))
		err = errors.Join(err, uerr)
	}()
	if _, err := conn.Exec(ctx, createTable); err != nil {
		return nil, fmt.Errorf("migrate: %w", err)
	}
	done, err := appliedVersions(ctx, conn)
	if err != nil {
		return nil, err
	}
	for v := range done {
		if v > len(all) {
			return nil, fmt.Errorf("migrate: the database has version %d, this program knows %d: run a newer release", v, len(all))
		}
	}
	for _, m := range all {
		if sum, ok := done[m.Version]; ok {
			if sum != m.Checksum {
				return nil, fmt.Errorf("migrate: %s was applied with another content", m.Name)
			}
			continue
		}
		if err := applyOne(ctx, conn, m); err != nil {
			return applied, fmt.Errorf("migrate %s: %w", m.Name, err)
		}
		applied = append(applied, m)
	}
	return applied, nil
}

// Pending counts the migrations that the database lacks: a process that serves
// refuses to start while it is not zero.
func Pending(ctx context.Context, conn *pgx.Conn) (int, error) {
	all, err := All()
	if err != nil {
		return 0, err
	}
	var exists bool
	if err := conn.QueryRow(ctx, "select to_regclass('schema_migrations') is not null").Scan(&exists); err != nil {
		return 0, err
	}
	if !exists {
		return len(all), nil
	}
	done, err := appliedVersions(ctx, conn)
	if err != nil {
		return 0, err
	}
	return max(0, len(all)-len(done)), nil
}

func appliedVersions(ctx context.Context, conn *pgx.Conn) (map[int]string, error) {
	rows, err := conn.Query(ctx, "select version, checksum from schema_migrations")
	if err != nil {
		return nil, fmt.Errorf("migrate: %w", err)
	}
	done := map[int]string{}
	var v int
	var sum string
	_, err = pgx.ForEachRow(rows, []any{&v, &sum}, func() error {
		done[v] = sum
		return nil
	})
	return done, err
}

func applyOne(ctx context.Context, conn *pgx.Conn, m Migration) error {
	tx, err := conn.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	// The simple protocol takes a whole file of statements.
	if _, err := tx.Conn().PgConn().Exec(ctx, m.SQL).ReadAll(); err != nil {
		return err
	}
	const mark = "insert into schema_migrations (version, name, checksum) values ($1, $2, $3)"
	if _, err := tx.Exec(ctx, mark, m.Version, m.Name, m.Checksum); err != nil {
		return err
	}
	return tx.Commit(ctx)
}
