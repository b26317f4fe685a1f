package stacktest

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/stack"
)

// buildPatience covers a first build of the embedded Temporal server on a slow machine. `make test`
// builds it before it runs any test.
const buildPatience = 30 * time.Minute

// Temporal is the server that all tests of this binary share, on the shared Postgres, started at the
// first call. Tests keep out of each other's way by workflow ids and task queues of their own.
func Temporal(tb testing.TB) *stack.Temporal {
	tb.Helper()
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.temporal == nil {
		shared.temporal = startTemporal(tb, stack.TemporalConfig{
			Dir: folder(tb, "temporal-*"), Postgres: sharedPostgres(tb).Server(),
		})
	}
	return shared.temporal
}

// StartTemporal is a server of the test's own, which it may kill and restart; it is killed at the
// test's end. Empty fields are filled: the binary is built, and the Postgres is the shared one, which
// serves a single Temporal, so a test that also uses Temporal names another.
func StartTemporal(tb testing.TB, cfg stack.TemporalConfig) *stack.Temporal {
	tb.Helper()
	if cfg.Dir == "" {
		cfg.Dir = Folder(tb)
	}
	if cfg.Postgres == (stack.PostgresServer{}) {
		cfg.Postgres = Postgres(tb).Server()
	}
	temporal := startTemporal(tb, cfg)
	tb.Cleanup(func() {
		if err := temporal.Kill(); err != nil {
			tb.Error(err)
		}
	})
	return temporal
}

func startTemporal(tb testing.TB, cfg stack.TemporalConfig) *stack.Temporal {
	tb.Helper()
	if cfg.Binary == "" {
		cfg.Binary = Temporald(tb)
	}
	ctx, cancel := context.WithTimeout(context.Background(), startPatience)
	defer cancel()
	temporal, err := stack.StartTemporal(ctx, cfg)
	if err != nil {
		tb.Fatal(err)
	}
	return temporal
}

// Temporald is the path of the embedded Temporal server, which is built if need be.
func Temporald(tb testing.TB) string {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), buildPatience)
	defer cancel()
	path, err := stack.BuildTemporald(ctx, root(tb), os.Stderr)
	if err != nil {
		tb.Fatal(err)
	}
	return path
}

// Postrider is the path of the gateway, built once per test binary.
func Postrider(tb testing.TB) string {
	tb.Helper()
	return program(tb, "postrider", stack.BuildPostrider)
}

// SMSCSim is the path of the simulator, built once per test binary.
func SMSCSim(tb testing.TB) string {
	tb.Helper()
	return program(tb, "smscsim", stack.BuildSMSCSim)
}

func program(tb testing.TB, name string, build func(ctx context.Context, root, dir string) (string, error)) string {
	tb.Helper()
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if path := shared.programs[name]; path != "" {
		return path
	}
	ctx, cancel := context.WithTimeout(context.Background(), buildPatience)
	defer cancel()
	path, err := build(ctx, root(tb), folder(tb, "bin-*"))
	if err != nil {
		tb.Fatal(err)
	}
	if shared.programs == nil {
		shared.programs = map[string]string{}
	}
	shared.programs[name] = path
	return path
}

func root(tb testing.TB) string {
	tb.Helper()
	dir, err := stack.RepoRoot()
	if err != nil {
		tb.Fatal(err)
	}
	return dir
}

// StartProcess runs a program whose process group is killed at the test's end. When the test fails, the
// end of the program's log is shown.
func StartProcess(tb testing.TB, cfg stack.ProcessConfig) *stack.Process {
	tb.Helper()
	process, err := stack.StartProcess(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := process.Kill(); err != nil {
			tb.Error(err)
		}
		if tb.Failed() && cfg.LogFile != "" {
			tb.Logf("the end of %s:\n%s", cfg.LogFile, process.LogTail())
		}
	})
	return process
}

// FreePort is a port of 127.0.0.1 that nobody else gets.
func FreePort(tb testing.TB) int {
	tb.Helper()
	port, err := stack.FreePort()
	if err != nil {
		tb.Fatal(err)
	}
	return port
}
