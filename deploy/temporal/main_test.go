package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// runMainEnv makes the test binary behave as temporald, so the tests drive a real process, with its
// signals and exit codes, without linking 200 MB a second time.
const runMainEnv = "TEMPORALD_TEST_RUN_MAIN"

// Deadlines are generous on purpose: they end a hanging test, they measure nothing.
const (
	startDeadline = 90 * time.Second
	stopDeadline  = 30 * time.Second
)

func TestMain(m *testing.M) {
	if os.Getenv(runMainEnv) != "" {
		main() // exits
	}
	os.Exit(m.Run())
}

// process is a temporald under test.
type process struct {
	readiness
	readyFile string
	readyLine string
	cmd       *exec.Cmd
	stderr    *lockedBuffer
	exited    chan struct{} // closed once cmd.Wait returned
}

type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// launch starts temporald and returns the first line of its stdout, empty if it ended without one.
func launch(t *testing.T, env []string, args ...string) (*process, string) {
	t.Helper()
	p := &process{stderr: &lockedBuffer{}, exited: make(chan struct{})}
	p.cmd = exec.Command(os.Args[0], args...)
	p.cmd.Env = append(append(os.Environ(), runMainEnv+"=1"), env...)
	p.cmd.Stderr = p.stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	reader, writer := io.Pipe()
	p.cmd.Stdout = writer
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait()
		_ = writer.Close()
		close(p.exited)
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.exited
		if t.Failed() {
			t.Logf("temporald's stderr:\n%s", p.stderr)
		}
	})
	lines := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(reader).ReadString('\n')
		lines <- line
		_, _ = io.Copy(io.Discard, reader)
	}()
	select {
	case line := <-lines:
		return p, line
	case <-time.After(startDeadline):
		t.Fatal("temporald neither got ready nor ended")
		return nil, ""
	}
}

// start launches temporald on free ports and waits until it is ready.
func start(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	readyFile := filepath.Join(t.TempDir(), "ready.json")
	if err := os.WriteFile(readyFile, []byte("stale"), 0o644); err != nil {
		t.Fatal(err)
	}
	args = append([]string{"--port", "0", "--stats-addr", "127.0.0.1:0", "--ready-file", readyFile}, args...)
	p, line := launch(t, env, args...)
	if line == "" {
		<-p.exited
		t.Fatalf("temporald ended before it was ready (%s):\n%s", p.cmd.ProcessState, p.stderr)
	}
	p.readyFile, p.readyLine = readyFile, line
	body, err := os.ReadFile(readyFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(body, &p.readiness); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	return p
}

// stop sends the signals and returns the exit code.
func (p *process) stop(t *testing.T, signals ...os.Signal) int {
	t.Helper()
	for _, s := range signals {
		if err := p.cmd.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
	}
	return p.exitCode(t)
}

func (p *process) exitCode(t *testing.T) int {
	t.Helper()
	select {
	case <-p.exited:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(stopDeadline):
		t.Fatal("temporald did not end")
		return -1
	}
}

func (p *process) readStats(t *testing.T) stats {
	t.Helper()
	body, status := get(t, p.Stats+"/stats")
	var s stats
	if err := json.Unmarshal(body, &s); err != nil || status != http.StatusOK {
		t.Fatalf("stats: %d %s: %v", status, body, err)
	}
	return s
}

func get(t *testing.T, url string) ([]byte, int) {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return body, response.StatusCode
}

// freePort is for the UI, whose port 0 means none.
func freePort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return strconv.Itoa(listener.Addr().(*net.TCPAddr).Port)
}

func TestVersionAndMistakes(t *testing.T) {
	p, line := launch(t, nil, "--version")
	if code := p.exitCode(t); code != 0 || !strings.HasPrefix(line, "temporald ") {
		t.Errorf("--version: %d %q", code, line)
	}
	p, _ = launch(t, nil, "--retention", "5m")
	if code := p.exitCode(t); code != 2 || !strings.Contains(p.stderr.String(), "--retention") {
		t.Errorf("bad retention: %d %q", code, p.stderr)
	}
	occupied, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer occupied.Close()
	p, _ = launch(t, nil, "--sqlite", "--stats-addr", occupied.Addr().String())
	if code := p.exitCode(t); code != 1 || !strings.Contains(p.stderr.String(), "address already in use") {
		t.Errorf("occupied port: %d %q", code, p.stderr)
	}
}

func TestSecondSignalExitsAtOnce(t *testing.T) {
	p := start(t, nil, "--sqlite", "--ui-port", "0")
	// Two different signals, because two of one kind may arrive as one.
	if code := p.stop(t, syscall.SIGTERM, syscall.SIGINT); code != 1 {
		t.Errorf("exit code %d", code)
	}
	if !strings.Contains(p.stderr.String(), "second signal") {
		t.Errorf("stderr: %s", p.stderr)
	}
}

func fileExists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, os.ErrNotExist)
}
