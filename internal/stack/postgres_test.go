package stack_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/stack"
	"github.com/postrider/postrider/internal/stack/stacktest"
)

func connect(t *testing.T, dsn string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(stacktest.Context(t), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	return conn
}

func execute(t *testing.T, dsn, statement string) {
	t.Helper()
	if _, err := connect(t, dsn).Exec(stacktest.Context(t), statement); err != nil {
		t.Fatal(err)
	}
}

func value(t *testing.T, dsn, query string) string {
	t.Helper()
	var v string
	if err := connect(t, dsn).QueryRow(stacktest.Context(t), query).Scan(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

// The kind of cluster that `make run` has, through every way to end and start it.
func TestPostgresKeepsItsState(t *testing.T) {
	t.Parallel()
	dir, ctx := stacktest.Folder(t), stacktest.Context(t)
	var said bytes.Buffer
	pg := stacktest.StartPostgres(t, stack.PostgresConfig{Dir: dir, Log: &said, Settings: map[string]string{"work_mem": "5MB"}})
	if !strings.Contains(said.String(), "creating a Postgres") {
		t.Errorf("the person who waits was told %q", said.String())
	}
	for range 2 {
		if err := pg.CreateDatabase(ctx, "kept"); err != nil {
			t.Fatal(err)
		}
	}
	dsn := pg.DSN("kept")
	execute(t, dsn, "create table row (n int)")
	for n, end := range []func() error{
		func() error { return pg.Stop(ctx) },
		func() error { return pg.StopImmediate(ctx) },
		pg.Kill,
		func() error { return nil }, // Restart stops a running one
	} {
		connect(t, dsn) // a client that does not leave holds nothing up
		execute(t, dsn, fmt.Sprintf("insert into row values (%d)", n))
		if err := end(); err != nil {
			t.Fatal(err)
		}
		if err := pg.Restart(ctx); err != nil {
			t.Fatal(err)
		}
		if got, want := value(t, dsn, "select count(*)::text from row"), fmt.Sprint(n+1); got != want {
			t.Fatalf("%s rows after end %d, want %s", got, n, want)
		}
	}
	for setting, want := range map[string]string{
		"fsync": "on", "synchronous_commit": "on", "server_encoding": "UTF8", "data_checksums": "on", "work_mem": "5MB",
		"listen_addresses": "127.0.0.1", "TimeZone": "UTC",
	} {
		if got := value(t, dsn, "show "+setting); got != want {
			t.Errorf("%s is %s, want %s", setting, got, want)
		}
	}

	if err := pg.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	<-pg.Done()
	again := stacktest.StartPostgres(t, stack.PostgresConfig{Dir: dir}) // as a second `make run` does
	if got := value(t, again.Server().DSN("kept"), "select count(*)::text from row"); got != "4" {
		t.Errorf("%s rows in the next run", got)
	}
	if got := value(t, again.Server().DSN("kept"), "select coalesce(inet_server_addr()::text, 'socket')"); got != "socket" {
		t.Errorf("Server led to %s", got)
	}
	if err := stack.RemovePostgres(dir); err == nil || !strings.Contains(err.Error(), "stop what started it") {
		t.Errorf("removing a running one: %v", err)
	}
	if err := again.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	if err := stack.RemovePostgres(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after RemovePostgres: %v", err)
	}
}

func TestPostgresAsksForThePassword(t *testing.T) {
	t.Parallel()
	pg := stacktest.StartPostgres(t, stack.PostgresConfig{})
	server := pg.Server()
	for _, wrong := range []string{"", "guess"} {
		server.Password = wrong
		var refusal interface{ SQLState() string }
		if _, err := pgx.Connect(stacktest.Context(t), server.DSN("postgres")); !errors.As(err, &refusal) || refusal.SQLState() != "28P01" {
			t.Errorf("with the password %q: %v", wrong, err)
		}
	}
}

func TestPostgresNeverRunsAsRoot(t *testing.T) {
	t.Parallel()
	pg := stacktest.Postgres(t)
	info, err := os.Stat(value(t, pg.DSN("postgres"), "show data_directory"))
	if err != nil {
		t.Fatal(err)
	}
	owner := int(info.Sys().(*syscall.Stat_t).Uid)
	switch {
	case owner == 0:
		t.Error("the data belongs to root")
	case os.Getuid() != 0 && owner != os.Getuid():
		t.Errorf("the data belongs to user %d", owner)
	}
}

// A checkout under /root: Postgres's user cannot get there.
func TestPostgresInAClosedFolder(t *testing.T) {
	t.Parallel()
	closed := stacktest.Folder(t)
	if err := os.Chmod(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(closed, "postgres")
	var home string
	for run, want := range []int{1, 0} {
		var said bytes.Buffer
		pg := stacktest.StartPostgres(t, stack.PostgresConfig{Dir: dir, Log: &said, Throwaway: true})
		if os.Getuid() == 0 {
			if n := strings.Count(said.String(), "its files are in /var/tmp/postrider-"); n != want {
				t.Errorf("run %d told %d times where the files are, want %d: %q", run, n, want, said.String())
			}
		}
		data := value(t, pg.DSN("postgres"), "show data_directory")
		if home != "" && home != filepath.Dir(data) {
			t.Errorf("the second run is in %s, the first was in %s", filepath.Dir(data), home)
		}
		home = filepath.Dir(data)
		if err := pg.Stop(stacktest.Context(t)); err != nil {
			t.Fatal(err)
		}
	}
	if err := stack.RemovePostgres(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(home); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after RemovePostgres: %v", err)
	}
}

// The process id in the lock file may belong to somebody else since, as after a reboot. Postgres takes
// any process of its own user for a postmaster; here it is one of ours.
func TestPostgresStaleLock(t *testing.T) {
	t.Parallel()
	pg := stacktest.StartPostgres(t, stack.PostgresConfig{Throwaway: true})
	data := value(t, pg.DSN("postgres"), "show data_directory")
	if err := pg.Kill(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(data, "postmaster.pid")
	body, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := bytes.Cut(body, []byte("\n"))
	other := value(t, stacktest.Postgres(t).DSN("postgres"), "select pg_backend_pid()::text")
	if err := os.WriteFile(path, append([]byte(other+"\n"), rest...), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := pg.Restart(stacktest.Context(t)); err != nil {
		t.Error(err)
	}
}

// A backend that has not noticed the postmaster's death holds the shared memory.
func TestPostgresWaitsForBackends(t *testing.T) {
	t.Parallel()
	var backend int
	notices := writerFunc(func([]byte) { must(syscall.Kill(backend, syscall.SIGCONT)) })
	pg := stacktest.StartPostgres(t, stack.PostgresConfig{Log: notices, Throwaway: true})
	conn := connect(t, pg.DSN("postgres"))
	if err := conn.QueryRow(t.Context(), "select pg_backend_pid()").Scan(&backend); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(backend, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(backend, syscall.SIGCONT) }) // if the notice never came
	if err := pg.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := pg.Restart(stacktest.Context(t)); err != nil {
		t.Error(err)
	}
}

func TestPostgresRefusals(t *testing.T) {
	t.Parallel()
	plant := func(name, body string) string {
		dir := stacktest.Folder(t)
		if err := os.MkdirAll(filepath.Join(dir, "data"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "data", name), []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	for name, c := range map[string]struct {
		cfg  stack.PostgresConfig
		want string
	}{
		"no folder":         {stack.PostgresConfig{}, "names no Dir"},
		"another version":   {stack.PostgresConfig{Dir: plant("PG_VERSION", "9\n")}, "made by version 9"},
		"not a version":     {stack.PostgresConfig{Dir: plant("PG_VERSION", "x\n")}, "PG_VERSION"},
		"something else":    {stack.PostgresConfig{Dir: plant("letter", "dear")}, "not a cluster"},
		"a port in use":     {stack.PostgresConfig{Dir: stacktest.Folder(t), Port: stacktest.Postgres(t).Port(), Throwaway: true}, "could not bind"},
		"a setting unknown": {stack.PostgresConfig{Dir: stacktest.Folder(t), Settings: map[string]string{"absent": "1"}, Throwaway: true}, "unrecognized configuration parameter"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := stack.StartPostgres(stacktest.Context(t), c.cfg)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("the error is %v, want %q in it", err, c.want)
			}
		})
	}
}

func TestPostgresInUse(t *testing.T) {
	t.Parallel()
	dir := stacktest.Folder(t)
	pg := stacktest.StartPostgres(t, stack.PostgresConfig{Dir: dir, Throwaway: true})
	ctx, cancel := context.WithCancel(t.Context())
	notices := writerFunc(func([]byte) { cancel() })
	if _, err := stack.StartPostgres(ctx, stack.PostgresConfig{Dir: dir, Log: notices, Throwaway: true}); err == nil || !strings.Contains(err.Error(), "runs on "+dir) {
		t.Errorf("a second server on the same folder: %v", err)
	}
	if got := value(t, pg.DSN("postgres"), "select 'well'"); got != "well" {
		t.Error("the first one suffered")
	}
}

type writerFunc func([]byte)

func (f writerFunc) Write(p []byte) (int, error) {
	f(p)
	return len(p), nil
}
