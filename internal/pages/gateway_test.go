package pages

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/pages/browser"
	"github.com/postrider/postrider/internal/stack"
	"github.com/postrider/postrider/internal/stack/stacktest"
)

func TestMain(m *testing.M) { stacktest.Main(m, browser.Stop, stopGateway) }

// patience ends a start or stop that hangs; it measures nothing.
const patience = 3 * time.Minute

// gateway is `postrider dev` in a folder of its own: Postgres, Temporal, the gateway in every
// role, simulators, and the demo's account, staff and messages.
type gateway struct {
	process *stack.Process
	url     string // of API and pages
	// Of the demo; see writeEnv in cmd/postrider.
	env map[string]string
}

// shared is the gateway of this test binary.
var shared struct {
	mu      sync.Mutex
	gateway *gateway
	failed  bool // the first start did, and is not tried again
}

// demo is the gateway that all tests share, started at the first call; the demo's messages have
// ended by then. Tests add to its data and leave each other's alone.
func demo(t *testing.T) *gateway {
	t.Helper()
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.failed {
		t.Fatal("the gateway did not start; see the first test that failed")
	}
	if shared.gateway == nil {
		shared.failed = true
		shared.gateway = startGateway(t)
		shared.failed = false
	}
	return shared.gateway
}

func startGateway(t *testing.T) *gateway {
	t.Helper()
	folder := stacktest.SharedFolder(t)
	stacktest.Temporald(t) // a first build takes longer than patience
	ready := &watcher{words: []byte("Ctrl-C stops everything."), seen: make(chan struct{})}
	process, err := stack.StartProcess(stack.ProcessConfig{Name: "postrider dev", Path: stacktest.Postrider(t), Args: []string{"dev", "--dir", folder},
		Env: environment(t), LogFile: filepath.Join(folder, "dev.log"), Tee: ready})
	if err != nil {
		t.Fatal(err)
	}
	g := &gateway{process: process}
	select {
	case <-ready.seen:
	case <-process.Done():
		t.Fatalf("the gateway did not start:\n%s", process.LogTail())
	case <-time.After(patience):
		t.Fatalf("gave up waiting for the gateway:\n%s", errorText(process.Kill())+process.LogTail())
	}
	if g.env, err = readEnv(filepath.Join(folder, "demo.env")); err != nil {
		t.Fatal(err)
	}
	g.url = g.env["POSTRIDER_URL"]
	return g
}

func stopGateway() error {
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.gateway == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return shared.gateway.process.Stop(ctx)
}

// environment is that of this process without what would join the gateway to something that
// runs already, and with free ports.
func environment(t *testing.T) []string {
	t.Helper()
	var env []string
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		if strings.HasPrefix(name, "POSTGRES_") || strings.HasPrefix(name, "TEMPORAL_") || strings.HasPrefix(name, "POSTRIDER_") || strings.HasPrefix(name, "REDIS_") || name == "DEMO" {
			continue
		}
		env = append(env, v)
	}
	for _, name := range []string{"API_PORT", "SMPP_PORT", "MM4_PORT", "METRICS_PORT", "TEMPORAL_PORT", "TEMPORAL_UI_PORT", "SMSC_PORT"} {
		env = append(env, name+"="+strconv.Itoa(stacktest.FreePort(t)))
	}
	return append(env, "SMPP_TLS_PORT=0")
}

// watcher is told what a program says, and closes seen when it has said the words.
type watcher struct {
	words []byte
	seen  chan struct{}
	once  sync.Once
}

// Write takes one line.
func (w *watcher) Write(line []byte) (int, error) {
	if bytes.Contains(line, w.words) {
		w.once.Do(func() { close(w.seen) })
	}
	return len(line), nil
}

// readEnv reads a file of shell variables as `postrider dev` writes it.
func readEnv(path string) (map[string]string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	env := map[string]string{}
	for line := range strings.Lines(string(b)) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if !ok {
			return nil, fmt.Errorf("%s: the line %q is no variable", path, line)
		}
		env[name] = strings.ReplaceAll(strings.Trim(value, "'"), `'\''`, "'")
	}
	return env, nil
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error() + "\n"
}
