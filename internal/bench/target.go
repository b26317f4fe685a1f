package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/stack"
)

// target is a running stack.
type target struct {
	dir string            // of its state and logs
	env map[string]string // demo.env
	pid int               // of `postrider dev`; 0: not found

	own *stack.Process // nil: somebody else's
}

// hush passes a stack's output on, line by line, until it says that all is up.
// What follows are credentials and examples for people.
type hush struct {
	to   io.Writer
	done bool
}

// upLine is part of what `postrider dev` says then.
const upLine = "everything is up"

// Write never fails: the stack must not notice who listens.
func (h *hush) Write(line []byte) (int, error) {
	if !h.done {
		_, _ = h.to.Write(line)
		h.done = bytes.Contains(line, []byte(upLine))
	}
	return len(line), nil
}

// Times that bound the start and the stop of a stack. The first start builds
// the Temporal server, which takes minutes on a new machine.
const (
	startPatience = 15 * time.Minute
	stopPatience  = 2 * time.Minute
	readyEvery    = 100 * time.Millisecond
)

// mark is the file by which the bench knows a folder that it made: only such a
// one is removed.
const mark = "made-by-bench"

// openTarget uses a stack that runs.
func openTarget(envFile string) (*target, error) {
	body, err := os.ReadFile(envFile)
	if err != nil {
		return nil, fmt.Errorf("%w (is the stack running? `DEMO=0 make run` starts it)", err)
	}
	dir, err := filepath.Abs(filepath.Dir(envFile))
	if err != nil {
		return nil, err
	}
	t := &target{dir: dir, env: parseEnv(body)}
	t.pid = findDev("/proc", dir)
	return t, t.complete()
}

// startTarget builds the gateway, and starts a stack of its own in dir.
func startTarget(ctx context.Context, dir string, out io.Writer) (*target, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if findDev("/proc", dir) != 0 {
		return nil, fmt.Errorf("a stack runs in %s already: stop it, or use it with --env %s", dir, filepath.Join(dir, "demo.env"))
	}
	if err := renew(dir); err != nil {
		return nil, err
	}
	root, err := stack.RepoRoot()
	if err != nil {
		return nil, err
	}
	gateway, err := stack.BuildPostrider(ctx, root, filepath.Join(dir, "bin"))
	if err != nil {
		return nil, err
	}
	env, err := freePorts(os.Environ())
	if err != nil {
		return nil, err
	}
	process, err := stack.StartProcess(stack.ProcessConfig{Name: "dev", Path: gateway, Args: []string{"dev", "--dir", dir}, Dir: root,
		Env: append(env, "DEMO=0"), LogFile: filepath.Join(dir, "dev.log"), Tee: &hush{to: out}})
	if err != nil {
		return nil, err
	}
	t := &target{dir: dir, pid: process.PID(), own: process}
	if err := t.await(ctx); err != nil {
		return nil, errors.Join(err, t.stop())
	}
	return t, nil
}

// renew makes an empty folder, and removes what an earlier run left in it.
func renew(dir string) error {
	_, err := os.Stat(filepath.Join(dir, mark))
	if err == nil {
		if err := remove(dir); err != nil {
			return err
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if len(entries) > 0 {
		return fmt.Errorf("%s is not empty, and the bench did not make it: choose another --dir", dir)
	}
	if err := os.MkdirAll(filepath.Join(dir, "bin"), 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, mark), nil, 0o644)
}

// remove deletes a stack's folder, and its Postgres cluster wherever that is.
func remove(dir string) error {
	return errors.Join(stack.RemovePostgres(filepath.Join(dir, "postgres")), os.RemoveAll(dir))
}

// freePorts adds the ports that the caller did not choose, so that a `make run`
// beside it is not disturbed.
func freePorts(env []string) ([]string, error) {
	names := []string{"API_PORT", "METRICS_PORT", "TEMPORAL_PORT", "TEMPORAL_UI_PORT", "SMSC_PORT", "SMPP_PORT", "MM4_PORT"}
	ports, err := stack.FreePorts(len(names))
	if err != nil {
		return nil, err
	}
	for i, name := range names {
		if os.Getenv(name) == "" {
			env = append(env, name+"="+strconv.Itoa(ports[i]))
		}
	}
	return env, nil
}

// await returns when demo.env is there, which the stack writes once all is up.
func (t *target) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	tick := time.NewTicker(readyEvery)
	defer tick.Stop()
	for {
		body, err := os.ReadFile(filepath.Join(t.dir, "demo.env"))
		if err == nil {
			t.env = parseEnv(body)
			return t.complete()
		}
		select {
		case <-tick.C:
		case <-t.own.Done():
			return fmt.Errorf("the stack did not come up (logs in %s):\n%s", t.dir, t.own.LogTail())
		case <-ctx.Done():
			return fmt.Errorf("the stack is not up (logs in %s): %w", t.dir, ctx.Err())
		}
	}
}

// complete tells what demo.env lacks.
func (t *target) complete() error {
	for _, name := range []string{"POSTRIDER_URL", "POSTRIDER_API_KEY", "POSTRIDER_API_SECRET", "POSTRIDER_FROM", "POSTRIDER_SMSC_STATS"} {
		if t.env[name] == "" {
			return fmt.Errorf("%s has no %s", filepath.Join(t.dir, "demo.env"), name)
		}
	}
	return nil
}

// webhookSecret is what the demo account's events are signed with.
func (t *target) webhookSecret() (string, error) {
	body, err := os.ReadFile(filepath.Join(t.dir, "demo.json"))
	if err != nil {
		return "", err
	}
	var demo struct {
		WebhookSecret string `json:"webhook_secret"`
	}
	if err := json.Unmarshal(body, &demo); err != nil || demo.WebhookSecret == "" {
		return "", errors.New("demo.json has no webhook_secret")
	}
	return demo.WebhookSecret, nil
}

// stop ends a stack that the bench started, and no other.
func (t *target) stop() error {
	if t.own == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopPatience)
	defer cancel()
	return t.own.Stop(ctx)
}

// ended is closed when a stack of its own has ended; nil for another.
func (t *target) ended() <-chan struct{} {
	if t.own == nil {
		return nil
	}
	return t.own.Done()
}

// parseEnv reads shell assignments, name='value'. A quotation mark in a value is
// closed, escaped and opened again.
func parseEnv(body []byte) map[string]string {
	env := map[string]string{}
	for line := range strings.Lines(string(body)) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if !ok || strings.HasPrefix(name, "#") {
			continue
		}
		if inner := strings.TrimSuffix(strings.TrimPrefix(value, "'"), "'"); len(inner) == len(value)-2 {
			value = strings.ReplaceAll(inner, `'\''`, "'")
		}
		env[strings.TrimPrefix(name, "export ")] = value
	}
	return env
}

// findDev looks for the `postrider dev` whose folder is dir; 0: there is none,
// or no /proc to look in.
func findDev(proc, dir string) int {
	all, err := allProcesses(proc)
	if err != nil {
		return 0
	}
	for _, p := range all {
		if p.command != "postrider" {
			continue
		}
		folder := filepath.Join(proc, strconv.Itoa(p.pid))
		line, err := os.ReadFile(filepath.Join(folder, "cmdline"))
		if err != nil {
			continue
		}
		work, err := os.Readlink(filepath.Join(folder, "cwd"))
		if err != nil {
			continue
		}
		if of, ok := devDir(strings.Split(strings.TrimSuffix(string(line), "\x00"), "\x00")); ok {
			if !filepath.IsAbs(of) {
				of = filepath.Join(work, of)
			}
			if filepath.Clean(of) == dir {
				return p.pid
			}
		}
	}
	return 0
}

// devDir reads --dir of a command line of `postrider dev`; false: it is another
// command.
func devDir(args []string) (string, bool) {
	dir, is := ".run", false
	for i, arg := range args {
		switch value, isDir := strings.CutPrefix(arg, "--dir="); {
		case i == 0:
		case isDir:
			dir = value
		case arg == "--dir" && i+1 < len(args):
			dir = args[i+1]
		case arg == "dev":
			is = true
		}
	}
	return dir, is
}
