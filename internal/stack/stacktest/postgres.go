// Package stacktest gives tests the real parts: one private Postgres per test binary, started at its
// first use, with a database per test. A package that uses it hands its tests to Main, so that
// everything is stopped and removed at the end:
//
//	func TestMain(m *testing.M) { stacktest.Main(m) }
//
//	var migrated = stacktest.NewTemplate(func(ctx context.Context, dsn string) error { … })
//
//	func TestAccept(t *testing.T) {
//		t.Parallel()
//		dsn := migrated.Database(t)
//		…
//	}
//
// Tests that stop, kill or restart a server start their own with StartPostgres, never the shared one.
package stacktest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/stack"
)

const (
	// startPatience ends a hanging start; it measures nothing. Machines that run all tests at once are
	// slow.
	startPatience = 2 * time.Minute
	folderPrefix  = "postrider-test-"
	newPrefix     = "postrider-new-"
	lockName      = "lock"
)

// shared are the parts that the tests of this binary have in common.
var shared struct {
	mu       sync.Mutex
	folder   string   // everything of this test binary; empty until the first use
	lock     *os.File // held while the binary lives, so that others leave folder alone
	postgres *stack.Postgres
	temporal *stack.Temporal
	programs map[string]string // paths of what was built, by name
}

var databases atomic.Int64 // numbers them

// Main runs the tests, then stops what they started and removes its files. Call it from TestMain.
// Checks of what the tests have done together run after them; an error fails the package.
func Main(m *testing.M, checks ...func() error) {
	code := m.Run()
	for _, check := range checks {
		if err := check(); err != nil && code == 0 {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	if err := stopShared(); err != nil {
		fmt.Fprintln(os.Stderr, "stacktest:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

func stopShared() error {
	shared.mu.Lock()
	defer shared.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), startPatience)
	defer cancel()
	var errs []error
	if shared.temporal != nil {
		errs = append(errs, shared.temporal.Kill()) // its data ends with it
	}
	if shared.postgres != nil {
		errs = append(errs, shared.postgres.StopImmediate(ctx))
	}
	if shared.folder != "" {
		errs = append(errs, os.RemoveAll(shared.folder), shared.lock.Close())
	}
	shared.temporal, shared.postgres, shared.folder, shared.programs = nil, nil, "", nil
	return errors.Join(errs...)
}

// Folder is a new folder of this test that Postgres's user can enter, which t.TempDir is not for root.
// It is removed at the test's end.
func Folder(tb testing.TB) string {
	tb.Helper()
	shared.mu.Lock()
	defer shared.mu.Unlock()
	return folder(tb, "test-*")
}

// SharedFolder is as Folder, for what the tests of this binary have in common: it lasts until Main
// ends, which must have stopped by then what writes there.
func SharedFolder(tb testing.TB) string {
	tb.Helper()
	shared.mu.Lock()
	defer shared.mu.Unlock()
	return folder(tb, "shared-*")
}

// folder makes one in the binary's own. The caller holds shared.mu.
func folder(tb testing.TB, pattern string) string {
	tb.Helper()
	if shared.folder == "" {
		removeAbandoned()
		dir, held, err := ownFolder()
		if err != nil {
			tb.Fatal(err)
		}
		shared.lock = held
		shared.folder = dir
	}
	dir, err := os.MkdirTemp(shared.folder, pattern)
	if err != nil {
		tb.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		tb.Fatal(err)
	}
	if strings.HasPrefix(pattern, "test-") {
		tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	}
	return dir
}

// ownFolder is a new folder with its lock held. It has its name, by which removeAbandoned of another
// binary finds it, only when it is locked: between making the lock and holding it anyone else could
// hold it, and take the folder for abandoned.
func ownFolder() (string, *os.File, error) {
	bare, err := os.MkdirTemp("", newPrefix)
	if err != nil {
		return "", nil, err
	}
	if err := os.Chmod(bare, 0o755); err != nil {
		return "", nil, err
	}
	held, err := lock(bare)
	if err != nil {
		return "", nil, err
	}
	dir := filepath.Join(filepath.Dir(bare), folderPrefix+strings.TrimPrefix(filepath.Base(bare), newPrefix))
	return dir, held, os.Rename(bare, dir)
}

// removeAbandoned removes what killed test binaries left. A folder whose lock is held is in use; one
// without a lock file is being removed.
func removeAbandoned() {
	folders, _ := filepath.Glob(filepath.Join(os.TempDir(), folderPrefix+"*"))
	for _, dir := range folders {
		if _, err := os.Stat(filepath.Join(dir, lockName)); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		held, err := lock(dir)
		if err != nil {
			continue
		}
		_ = os.RemoveAll(dir) // another user's stays
		_ = held.Close()
	}
}

func lock(dir string) (*os.File, error) { return stack.TryLock(filepath.Join(dir, lockName)) }

// Context ends with the test, or after two minutes so that a start that hangs is reported.
func Context(tb testing.TB) context.Context {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), startPatience)
	tb.Cleanup(cancel)
	return ctx
}

// Postgres is the server that all tests of this binary share, started at the first call. Nothing of it
// is synced to disk, and it asks for no password. Use Database for a database of one's own.
func Postgres(tb testing.TB) *stack.Postgres {
	tb.Helper()
	shared.mu.Lock()
	defer shared.mu.Unlock()
	return sharedPostgres(tb)
}

func sharedPostgres(tb testing.TB) *stack.Postgres {
	tb.Helper()
	if shared.postgres == nil {
		ctx, cancel := context.WithTimeout(context.Background(), startPatience)
		defer cancel()
		pg, err := stack.StartPostgres(ctx, stack.PostgresConfig{Dir: folder(tb, "postgres-*"), Throwaway: true})
		if err != nil {
			tb.Fatal(err)
		}
		shared.postgres = pg
	}
	return shared.postgres
}

// StartPostgres is a server of the test's own, which it may kill and restart. It is stopped and removed
// at the test's end.
func StartPostgres(tb testing.TB, cfg stack.PostgresConfig) *stack.Postgres {
	tb.Helper()
	if cfg.Dir == "" {
		cfg.Dir = Folder(tb)
	}
	pg, err := stack.StartPostgres(Context(tb), cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), startPatience)
		defer cancel()
		if err := pg.StopImmediate(ctx); err != nil {
			tb.Error(err)
		}
	})
	return pg
}

// Database is the URL of a new, empty database on the shared server, dropped at the test's end.
func Database(tb testing.TB) string {
	tb.Helper()
	return database(tb, "template1")
}

// Template is a database that is prepared once per test binary and copied for each test: much cheaper
// than migrating each time. Safe for concurrent use.
type Template struct {
	prepare func(ctx context.Context, dsn string) error
	once    sync.Once
	name    string
	err     error
}

// NewTemplate returns a template that prepare fills at its first use: it gets the URL of an empty
// database, and must have closed its connections when it returns.
func NewTemplate(prepare func(ctx context.Context, dsn string) error) *Template {
	return &Template{prepare: prepare}
}

// Database is the URL of a new copy, dropped at the test's end.
func (t *Template) Database(tb testing.TB) string {
	tb.Helper()
	pg := Postgres(tb)
	t.once.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), startPatience)
		defer cancel()
		t.name = nextName("template")
		if t.err = pg.CreateDatabase(ctx, t.name); t.err == nil {
			t.err = t.prepare(ctx, pg.DSN(t.name))
		}
	})
	if t.err != nil {
		tb.Fatalf("the template database: %v", t.err)
	}
	return database(tb, t.name)
}

func nextName(kind string) string { return fmt.Sprintf("%s_%d", kind, databases.Add(1)) }

func database(tb testing.TB, template string) string {
	tb.Helper()
	pg, name := Postgres(tb), nextName("test")
	if err := pg.CloneDatabase(Context(tb), name, template); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), startPatience)
		defer cancel()
		if err := pg.DropDatabase(ctx, name); err != nil {
			tb.Error(err)
		}
	})
	return pg.DSN(name)
}
