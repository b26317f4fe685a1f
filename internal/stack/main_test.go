package stack_test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/postrider/postrider/internal/stack"
	"github.com/postrider/postrider/internal/stack/stacktest"
)

// The test binary plays the programs that the tests start. Each role writes one byte to a named pipe
// once it is as described and keeps the pipe open, so that a test sees it come up and, by the pipe's
// end, sees that all who held it are dead.
const (
	roleEnv = "STACK_TEST_ROLE"
	pipeEnv = "STACK_TEST_PIPE"

	roleChild    = "child"    // ends with SIGTERM
	roleStubborn = "stubborn" // does not
	roleFamily   = "family"   // has a child in its own process group
	roleOwner    = "owner"    // has a child that StartProcess started
	rolePorts    = "ports"    // claims ports and prints them
	roleTalker   = "talker"   // writes to both outputs and ends with code 3

	portsDrawn = 500
)

func TestMain(m *testing.M) {
	if role := os.Getenv(roleEnv); role != "" {
		play(role)
	}
	stacktest.Main(m)
}

func play(role string) {
	switch role {
	case roleStubborn:
		signal.Ignore(syscall.SIGTERM)
	case roleFamily:
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), roleEnv+"="+roleChild)
		must(child.Start())
	case roleOwner:
		_, err := stack.StartProcess(stack.ProcessConfig{
			Path: os.Args[0], Env: append(os.Environ(), roleEnv+"="+roleChild),
		})
		must(err)
	case rolePorts:
		ports, err := stack.FreePorts(portsDrawn)
		must(err)
		fmt.Println(strings.Trim(fmt.Sprint(ports), "[]"))
	case roleTalker:
		fmt.Println("to stdout")
		fmt.Fprint(os.Stderr, "to stderr, without an end of line")
		os.Exit(3)
	}
	pipe, err := os.OpenFile(os.Getenv(pipeEnv), os.O_WRONLY, 0)
	must(err)
	_, err = pipe.Write([]byte{'x'})
	must(err)
	signal.Notify(make(chan os.Signal, 1), syscall.SIGUSR1) // without it, waiting for ever is a deadlock
	select {}
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// cast is a role that runs, with everyone it brought along.
type cast struct {
	*stack.Process
	pipe *os.File
}

// start waits until as many programs as given are up. Their output goes to tee, if that is not nil.
func start(t *testing.T, role string, programs int, tee io.Writer) cast {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	process := stacktest.StartProcess(t, stack.ProcessConfig{
		Path: os.Args[0], Env: append(os.Environ(), roleEnv+"="+role, pipeEnv+"="+path),
		LogFile: filepath.Join(t.TempDir(), "log"), Tee: tee,
	})
	pipe, err := os.Open(path) // returns when the first one has opened it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pipe.Close() })
	if _, err := io.ReadFull(pipe, make([]byte, programs)); err != nil {
		t.Fatal(err)
	}
	return cast{process, pipe}
}

// gone returns when nobody of the cast lives any more.
func (c cast) gone(t *testing.T) {
	t.Helper()
	if rest, err := io.ReadAll(c.pipe); err != nil || len(rest) > 0 {
		t.Fatalf("after the end the pipe held %q, %v", rest, err)
	}
}
