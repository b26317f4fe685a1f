package stack_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/postrider/postrider/internal/stack"
)

func TestStopAsksFirst(t *testing.T) {
	t.Parallel()
	c := start(t, roleChild, 1, nil)
	if !c.Running() {
		t.Fatal("not running after its start")
	}
	for range 2 { // the second one finds nothing to do
		if err := c.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	var exit *exec.ExitError
	if err := c.Wait(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGTERM {
		t.Errorf("it ended with %v, not by SIGTERM", err)
	}
	if c.Running() {
		t.Error("running after Stop")
	}
}

func TestStopKillsWhatDoesNotListen(t *testing.T) {
	t.Parallel()
	c := start(t, roleStubborn, 1, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // the patience is over at once
	if err := c.Stop(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Stop said %v, not that it had to kill", err)
	}
	c.gone(t)
}

func TestNobodyOfTheGroupIsLeft(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(cast) error{
		"Stop":  func(c cast) error { return c.Stop(t.Context()) },
		"Kill":  func(c cast) error { return c.Kill() },
		"crash": func(c cast) error { return c.Signal(syscall.SIGKILL) }, // the leader alone
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := start(t, roleFamily, 2, nil)
			if err := end(c); err != nil {
				t.Fatal(err)
			}
			c.gone(t)
		})
	}
}

func TestProgramsDieWithTheirOwner(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Log("only Linux tells programs that their owner died")
		return
	}
	c := start(t, roleOwner, 2, nil)
	if err := c.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	c.gone(t)
}

func TestOutput(t *testing.T) {
	t.Parallel()
	const said = "to stdout\nto stderr, without an end of line"
	for _, teed := range []bool{false, true} {
		var tee bytes.Buffer
		cfg := stack.ProcessConfig{
			Env: append(os.Environ(), roleEnv+"="+roleTalker), LogFile: filepath.Join(t.TempDir(), "log"),
			Name: "talker", Path: os.Args[0],
		}
		if teed {
			cfg.Tee = &tee
		}
		if err := os.WriteFile(cfg.LogFile, []byte("an earlier run\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		p, err := stack.StartProcess(cfg)
		if err != nil {
			t.Fatal(err)
		}
		var exit *exec.ExitError
		if err := p.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 3 {
			t.Errorf("it ended with %v, not with code 3", err)
		}
		if got := p.LogTail(); got != said {
			t.Errorf("tee %t: the log's end is %q", teed, got)
		}
		if whole, err := os.ReadFile(cfg.LogFile); err != nil || string(whole) != "an earlier run\n"+said {
			t.Errorf("tee %t: the log is %q, %v", teed, whole, err)
		}
		if want := "talker | to stdout\ntalker | to stderr, without an end of line\n"; teed && tee.String() != want {
			t.Errorf("the tee got %q", tee.String())
		}
	}
}

func TestLargeLogIsSetAside(t *testing.T) {
	t.Parallel()
	log := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(log, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(log, 17<<20); err != nil {
		t.Fatal(err)
	}
	p, err := stack.StartProcess(stack.ProcessConfig{
		Env: append(os.Environ(), roleEnv+"="+roleTalker), LogFile: log, Path: os.Args[0],
	})
	if err != nil {
		t.Fatal(err)
	}
	<-p.Done()
	if !strings.HasPrefix(p.LogTail(), "to stdout") {
		t.Errorf("the new log ends with %q", p.LogTail())
	}
	if _, err := os.Stat(log + ".1"); err != nil {
		t.Error(err)
	}
}

func TestStartFailure(t *testing.T) {
	t.Parallel()
	for _, tee := range []*bytes.Buffer{nil, {}} {
		cfg := stack.ProcessConfig{Path: filepath.Join(t.TempDir(), "absent")}
		if tee != nil {
			cfg.Tee = tee
		}
		if _, err := stack.StartProcess(cfg); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "absent") {
			t.Errorf("starting a program that is not there: %v", err)
		}
	}
}
