package stacktest

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"

	"github.com/postrider/postrider/internal/stack"
)

// Redis is a server of a test's own. It keeps nothing on disk.
type Redis struct {
	Port int

	tb      testing.TB
	program string
	process *stack.Process
}

// StartRedis starts a server on a free port; it is killed at the test's end.
func StartRedis(tb testing.TB) *Redis {
	tb.Helper()
	port, err := stack.FreePort()
	if err != nil {
		tb.Fatal(err)
	}
	r := &Redis{Port: port, tb: tb, program: redisProgram(tb)}
	r.Start()
	tb.Cleanup(r.Kill)
	return r
}

// redisProgram finds the server. Debian has it in redis-tools under the name of one
// of its other uses, and does what the name says that it is called by.
func redisProgram(tb testing.TB) string {
	tb.Helper()
	if path, err := exec.LookPath("redis-server"); err == nil {
		return path
	}
	path, err := exec.LookPath("redis-check-rdb")
	if err != nil {
		tb.Fatal("no Redis server found: run deploy/install.sh test, or put redis-server in PATH")
	}
	link := filepath.Join(tb.TempDir(), "redis-server")
	if err := os.Symlink(path, link); err != nil {
		tb.Fatal(err)
	}
	return link
}

// Start starts the server again after Kill, empty, and waits until it answers.
func (r *Redis) Start() {
	r.tb.Helper()
	ready := &awaited{word: []byte("eady to accept connections"), came: make(chan struct{})}
	process, err := stack.StartProcess(stack.ProcessConfig{Path: r.program, Dir: r.tb.TempDir(), DeathSignal: syscall.SIGKILL, Tee: ready,
		Args: []string{"--port", strconv.Itoa(r.Port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--daemonize", "no"}})
	if err != nil {
		r.tb.Fatal(err)
	}
	r.process = process
	select {
	case <-ready.came:
	case <-process.Done():
		r.tb.Fatalf("redis-server ended: %v", process.Wait())
	case <-Context(r.tb).Done():
		r.tb.Fatal("redis-server does not start")
	}
}

// Kill ends the server at once.
func (r *Redis) Kill() {
	if err := r.process.Kill(); err != nil {
		r.tb.Error(err)
	}
}

// Signal stops (SIGSTOP) or resumes (SIGCONT) the server, which then takes
// connections and does not answer.
func (r *Redis) Signal(s syscall.Signal) {
	r.tb.Helper()
	if err := r.process.Signal(s); err != nil {
		r.tb.Fatal(err)
	}
}

// awaited is told of a program's output, and closes came at the first line that has
// the word.
type awaited struct {
	word []byte
	once sync.Once
	came chan struct{}
}

func (a *awaited) Write(p []byte) (int, error) {
	if bytes.Contains(p, a.word) {
		a.once.Do(func() { close(a.came) })
	}
	return len(p), nil
}
