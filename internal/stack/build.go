package stack

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	modulePath = "github.com/postrider/postrider"
	// progressEvery is how often a long build says that it lives.
	progressEvery = 10 * time.Second
	// keptBuilds of each program stay in the cache, the newest; a server is over 100 MB.
	keptBuilds = 3
	// buildTail is how much of a failed build's output its error quotes; the first errors come last
	// only in the sense that the compiler stops soon after them.
	buildTail = 8 << 10
)

// RepoRoot is the folder of the checkout: the nearest one above the working directory, or above this
// program, that holds the module's go.mod.
func RepoRoot() (string, error) {
	var starts []string
	if dir, err := os.Getwd(); err == nil {
		starts = append(starts, dir)
	}
	if program, err := os.Executable(); err == nil {
		starts = append(starts, filepath.Dir(program))
	}
	for _, dir := range starts {
		for ; ; dir = filepath.Dir(dir) {
			body, err := os.ReadFile(filepath.Join(dir, "go.mod"))
			if err == nil && slices.Contains(strings.Split(string(body), "\n"), "module "+modulePath) {
				return dir, nil
			}
			if dir == filepath.Dir(dir) {
				break
			}
		}
	}
	return "", fmt.Errorf("no checkout of %s here: run this inside one", modulePath)
}

// BuildPrograms builds the gateway and the simulator into the folder and links the embedded Temporal
// server there, so that everything stands under its plain name. out is told what takes long.
func BuildPrograms(ctx context.Context, repoRoot, dir string, out io.Writer) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, name := range []string{"postrider", "smscsim"} {
		if _, err := buildCommand(ctx, repoRoot, dir, name, out); err != nil {
			return err
		}
	}
	server, err := BuildTemporald(ctx, repoRoot, out)
	if err != nil {
		return err
	}
	link := filepath.Join(dir, "temporald")
	if err := os.Remove(link); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.Symlink(server, link)
}

// BuildPostrider builds the gateway into the folder and returns the program's path.
func BuildPostrider(ctx context.Context, repoRoot, dir string) (string, error) {
	return buildCommand(ctx, repoRoot, dir, "postrider", io.Discard)
}

// BuildSMSCSim builds the simulator into the folder and returns the program's path.
func BuildSMSCSim(ctx context.Context, repoRoot, dir string) (string, error) {
	return buildCommand(ctx, repoRoot, dir, "smscsim", io.Discard)
}

// buildCommand leaves caching to the go command, whose second build takes a second.
func buildCommand(ctx context.Context, repoRoot, dir, name string, out io.Writer) (string, error) {
	path, err := filepath.Abs(filepath.Join(dir, name))
	if err != nil {
		return "", err
	}
	build := goBuild{name: name, out: out, path: path, pkg: "./cmd/" + name, source: repoRoot}
	return path, build.run(ctx)
}

// BuildTemporald returns the path of the embedded Temporal server, building it unless the cache has it
// for exactly these sources and this toolchain. A build takes minutes on a new machine; out is told so,
// and how far it is, every 10 s. Processes that need it at the same time build it once.
func BuildTemporald(ctx context.Context, repoRoot string, out io.Writer) (string, error) {
	return buildCached(ctx, filepath.Join(repoRoot, "deploy", "temporal"), filepath.Join(cacheDir(), "bin"), "temporald", out)
}

// buildCached builds the main package in the folder source, a module of its own, as cache/name-<key>.
func buildCached(ctx context.Context, source, cache, name string, out io.Writer) (string, error) {
	key, err := sourceKey(ctx, source)
	if err != nil {
		return "", fmt.Errorf("build %s: %w", name, err)
	}
	path := filepath.Join(cache, name+"-"+key)
	if isBuilt(path) {
		return path, nil
	}
	held, err := waitLock(ctx, filepath.Join(cache, name+".lock"), func() {
		fmt.Fprintf(out, "waiting for another process that builds %s\n", name)
	})
	if err != nil {
		return "", fmt.Errorf("build %s: %w", name, err)
	}
	defer func() { _ = held.Close() }()
	if isBuilt(path) { // by whoever held the lock
		return path, nil
	}
	fmt.Fprintf(out, "building the embedded Temporal server (%s); this takes some minutes the first time\n", name)
	// Symbols and debug information are half of the file, and stack traces do not need them.
	build := goBuild{flags: []string{"-ldflags=-s -w"}, name: name, out: out, path: path + ".new", pkg: ".", source: source}
	began := time.Now()
	if err := build.run(ctx); err != nil {
		return "", err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return "", fmt.Errorf("build %s: %w", name, err)
	}
	fmt.Fprintf(out, "built %s in %s\n", name, time.Since(began).Round(time.Second))
	return path, prune(cache, name)
}

// isBuilt also marks the program as used, which keeps it from being pruned.
func isBuilt(path string) bool {
	now := time.Now()
	return os.Chtimes(path, now, now) == nil
}

// goBuild is one run of `go build`.
type goBuild struct {
	flags     []string
	name      string    // for messages
	out       io.Writer // told every 10 s how far it is
	path, pkg string    // what to build, and as which file
	source    string    // the module's folder
}

// run fails with the compiler's words. The version control's state is left out of the program: asking
// for it fails where the checkout belongs to another user, as under sudo.
func (b goBuild) run(ctx context.Context) error {
	progress := &buildProgress{}
	args := append([]string{"build", "-v", "-buildvcs=false"}, b.flags...)
	cmd := exec.CommandContext(ctx, "go", append(args, "-o", b.path, b.pkg)...)
	cmd.Dir = b.source
	cmd.Stdout, cmd.Stderr = progress, progress
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("build %s: %w", b.name, err)
	}
	finished := make(chan struct{})
	var reporter sync.WaitGroup
	reporter.Go(func() {
		ticker := time.NewTicker(progressEvery)
		defer ticker.Stop()
		for {
			select {
			case <-finished:
				return
			case <-ticker.C:
				fmt.Fprintf(b.out, "  %s: %s so far, %s\n", b.name, time.Since(began).Round(time.Second), progress)
			}
		}
	})
	err := cmd.Wait()
	close(finished)
	reporter.Wait()
	if err != nil {
		return errors.Join(fmt.Errorf("build %s: %w\n%s", b.name, err, progress.tail()), ctx.Err())
	}
	return nil
}

// buildProgress counts the lines of `go build -v`, one per package and one per module that is fetched,
// and keeps the last ones.
type buildProgress struct {
	mu                sync.Mutex
	fetched, compiled int
	last              []byte // at most buildTail bytes
	rest              []byte // of an unfinished line, at most as much as one write
}

func (b *buildProgress) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	lines := bytes.Split(append(b.rest, p...), []byte("\n"))
	for _, line := range lines[:len(lines)-1] {
		if bytes.HasPrefix(line, []byte("go: downloading ")) {
			b.fetched++
		} else {
			b.compiled++
		}
	}
	b.rest = lines[len(lines)-1]
	b.last = append(b.last, p...)
	if excess := len(b.last) - buildTail; excess > 0 {
		b.last = append(b.last[:0], b.last[excess:]...)
	}
	return len(p), nil
}

func (b *buildProgress) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return fmt.Sprintf("%d modules fetched, %d packages compiled", b.fetched, b.compiled)
}

func (b *buildProgress) tail() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return string(bytes.TrimSpace(b.last))
}

// sourceKey identifies what a build depends on: the module's Go files, its pinned dependencies, and the
// toolchain. Files that Go code embeds would belong here too; this module has none.
func sourceKey(ctx context.Context, source string) (string, error) {
	sum := sha256.New()
	cmd := exec.CommandContext(ctx, "go", "env", "GOVERSION", "GOOS", "GOARCH", "GOEXPERIMENT", "CGO_ENABLED", "GOFLAGS")
	cmd.Dir = source
	env, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go env: %w", err)
	}
	sum.Write(env)
	err = filepath.WalkDir(source, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !isSource(entry.Name()) {
			return err
		}
		body, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(source, path)
		fmt.Fprintf(sum, "%s %d\n", name, len(body))
		sum.Write(body)
		return err
	})
	if err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)[:8]), nil
}

func isSource(name string) bool {
	if name == "go.mod" || name == "go.sum" {
		return true
	}
	return strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go")
}

// prune removes all but the newest builds. A running one goes on without its file.
func prune(cache, name string) error {
	paths, err := filepath.Glob(filepath.Join(cache, name+"-*"))
	if err != nil {
		return err
	}
	used := map[string]time.Time{}
	for _, path := range paths {
		if info, err := os.Stat(path); err == nil {
			used[path] = info.ModTime()
		}
	}
	slices.SortFunc(paths, func(a, b string) int { return used[b].Compare(used[a]) })
	for _, path := range paths[min(keptBuilds, len(paths)):] {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
