package main

import (
	"context"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// testPostgres is a private Postgres. It runs as another user when the test runs as root, which Postgres
// refuses.
type testPostgres struct {
	postgresOptions
	t          *testing.T
	data       string
	credential *syscall.Credential
	cmd        *exec.Cmd
}

func newTestPostgres(t *testing.T) *testPostgres {
	t.Helper()
	c := &testPostgres{t: t}
	dir, err := os.MkdirTemp("", "temporald-postgres-") // not t.TempDir: its parent is closed to others
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if os.Getuid() == 0 {
		c.credential = unprivileged(t)
		if err := os.Chown(dir, int(c.credential.Uid), int(c.credential.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	c.data = filepath.Join(dir, "data")
	port, err := strconv.Atoi(freePort(t))
	if err != nil {
		t.Fatal(err)
	}
	c.postgresOptions = postgresOptions{
		Database: "temporal", Host: "127.0.0.1", Port: port, User: "temporal",
		Password: "s3cret/%+", VisibilityDatabase: "temporal_visibility", // a password that needs escaping
	}
	passwordFile := filepath.Join(dir, "password")
	if err := os.WriteFile(passwordFile, []byte(c.Password+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	initdb := c.command("initdb", "-D", c.data, "-U", c.User, "-A", "scram-sha-256", "--pwfile", passwordFile, "-N", "-E", "UTF8")
	if out, err := initdb.CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	c.start()
	t.Cleanup(c.stop)
	return c
}

// unprivileged is the user postgres, or nobody where there is none.
func unprivileged(t *testing.T) *syscall.Credential {
	t.Helper()
	for _, name := range []string{"postgres", "nobody"} {
		account, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(account.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(account.Gid, 10, 32)
		if err1 == nil && err2 == nil {
			return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		}
	}
	t.Fatal("running as root, and there is no user postgres or nobody to run Postgres")
	return nil
}

// command finds a Postgres program in PATH or where Debian keeps them, the newest version first.
func (c *testPostgres) command(name string, args ...string) *exec.Cmd {
	c.t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
		if len(found) == 0 {
			c.t.Fatalf("no %s in PATH or /usr/lib/postgresql: install Postgres to run this test", name)
		}
		path = slices.Max(found)
	}
	cmd := exec.Command(path, args...)
	cmd.Dir = filepath.Dir(c.data)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.credential, Pdeathsig: syscall.SIGQUIT}
	return cmd
}

// start does not wait: temporald itself has to cope with a Postgres that is coming up.
func (c *testPostgres) start() {
	c.t.Helper()
	c.cmd = c.command("postgres", "-D", c.data, "-p", strconv.Itoa(c.Port),
		"-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="+c.sockets(), "-c", "fsync=off")
	if err := c.cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
}

// sockets is the folder of the Unix socket.
func (c *testPostgres) sockets() string { return filepath.Dir(c.data) }

// stop ends Postgres, cutting its clients off.
func (c *testPostgres) stop() {
	if c.cmd.ProcessState == nil {
		_ = c.cmd.Process.Signal(syscall.SIGINT)
		_ = c.cmd.Wait()
	}
}

// flags and env point temporald at the cluster.
func (c *testPostgres) flags() []string {
	return []string{"--pg-host", c.Host, "--pg-port", strconv.Itoa(c.Port), "--pg-user", c.User}
}

func (c *testPostgres) env() []string { return []string{"TEMPORALD_PG_PASSWORD=" + c.Password} }

// scan reads one value from one of the databases.
func scan[T any](t *testing.T, c *testPostgres, database, query string) T {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	conn, err := c.connect(ctx, database)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, query)
	if err != nil {
		t.Fatal(err)
	}
	value, err := pgx.CollectExactlyOneRow(rows, pgx.RowTo[T])
	if err != nil {
		t.Fatal(err)
	}
	return value
}
