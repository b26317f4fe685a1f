package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// clockVariable names the file of a Clock to a program that was built by buildStepped.
const clockVariable = "POSTRIDER_CHAOS_CLOCK"

// clockSize is that of a Clock's file: one int64 in the byte order of the machine.
const clockSize = 8

// Clock is the wall clock of a process that was built by buildStepped and started with
// Env in its environment. It is the machine's, stepped by an offset in a file that the
// process has in its memory, so a step counts from the next look at the clock on. What
// measures spans (deadlines, timers) does not move with it, as on a machine whose clock is
// stepped. Safe for concurrent use, also by several processes.
type Clock struct{ path string }

// newClock makes the file; the clock goes right until its first Step.
func newClock(path string) (*Clock, error) {
	if err := os.WriteFile(path, make([]byte, clockSize), 0o644); err != nil {
		return nil, fmt.Errorf("clock: %w", err)
	}
	return &Clock{path}, nil
}

// Env is the variable of the process, as name=value.
func (c *Clock) Env() string { return clockVariable + "=" + c.path }

// Step sets how far the clock is ahead of the machine's; below zero it is behind.
func (c *Clock) Step(ahead time.Duration) error {
	file, err := os.OpenFile(c.path, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("clock: %w", err)
	}
	// Through the same pages as the reader's, since a write need not be seen in one piece.
	page, err := syscall.Mmap(int(file.Fd()), 0, clockSize, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		return errors.Join(fmt.Errorf("clock: %w", err), file.Close())
	}
	atomic.StoreInt64((*int64)(unsafe.Pointer(&page[0])), int64(ahead))
	return errors.Join(syscall.Munmap(page), file.Close())
}

// What buildStepped changes in the standard library's time.Now, which is where all of a
// Go program's times come from.
const (
	nowBegins  = "\nfunc Now() Time {\n\tsec, nsec, mono := runtimeNow()\n"
	nowStepped = nowBegins + "\tsec, nsec = chaosStep(sec, nsec)\n"
)

// stepSource is added to package time. The offset is read from memory, not from the file:
// the runtime asks for the time also where nothing may block and no system call may be
// made (a timer's channel is filled by the scheduler).
const stepSource = `package time

import (
	"sync/atomic"
	"syscall"
	"unsafe"
)

// chaosAhead is the offset in nanoseconds, in memory that other processes write to. Nil:
// the clock is right.
var chaosAhead = openChaosClock()

func openChaosClock() *int64 {
	path, found := syscall.Getenv("` + clockVariable + `")
	if !found || path == "" {
		return nil
	}
	fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		panic("` + clockVariable + `: " + err.Error())
	}
	defer syscall.Close(fd)
	var info syscall.Stat_t
	if err := syscall.Fstat(fd, &info); err != nil || info.Size < 8 {
		panic("` + clockVariable + `: the file has no 8 bytes")
	}
	page, err := syscall.Mmap(fd, 0, 8, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		panic("` + clockVariable + `: " + err.Error())
	}
	return (*int64)(unsafe.Pointer(&page[0]))
}

func chaosStep(sec int64, nsec int32) (int64, int32) {
	if chaosAhead == nil {
		return sec, nsec
	}
	ahead := atomic.LoadInt64(chaosAhead)
	sec += ahead / 1e9
	n := int64(nsec) + ahead%1e9
	if n < 0 {
		sec, n = sec-1, n+1e9
	} else if n >= 1e9 {
		sec, n = sec+1, n-1e9
	}
	return sec, int32(n)
}
`

// buildStepped builds a program of ours as the file path, with a clock that can be
// stepped, and returns path. Its other code, and the product's own binary, are what they
// are: the standard library's source is replaced for this one build. The first one
// compiles everything anew, a minute or two.
func buildStepped(ctx context.Context, root, pkg, path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	overlay, err := writeOverlay(ctx, root, path+".overlay")
	if err != nil {
		return "", fmt.Errorf("build with a clock to step: %w", err)
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-overlay", overlay, "-o", path, pkg)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", errors.Join(fmt.Errorf("build %s with a clock to step: %w\n%s", pkg, err, bytes.TrimSpace(out)), ctx.Err())
	}
	return path, nil
}

// writeOverlay writes the changed sources and the file that tells the go command of them,
// whose path it returns, into the folder.
func writeOverlay(ctx context.Context, root, dir string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", "env", "GOROOT")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go env: %w", err)
	}
	library := filepath.Join(strings.TrimSpace(string(out)), "src", "time")
	source, err := os.ReadFile(filepath.Join(library, "time.go"))
	if err != nil {
		return "", err
	}
	if strings.Count(string(source), nowBegins) != 1 {
		return "", errors.New("this toolchain's time.Now is not the one that is known here: see nowBegins")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	names := map[string]string{ // by what they stand in for
		filepath.Join(library, "time.go"):       filepath.Join(dir, "time.go"),
		filepath.Join(library, "chaos_step.go"): filepath.Join(dir, "chaos_step.go"),
	}
	list, err := json.Marshal(map[string]any{"Replace": names})
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "overlay.json")
	for name, body := range map[string]string{
		filepath.Join(dir, "time.go"):       strings.Replace(string(source), nowBegins, nowStepped, 1),
		filepath.Join(dir, "chaos_step.go"): stepSource,
		path:                                string(list),
	} {
		if err := os.WriteFile(name, []byte(body), 0o644); err != nil {
			return "", err
		}
	}
	return path, nil
}
