package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// setting is what a figure means nothing without.
type setting struct {
	Date     time.Time `json:"date"`
	Command  string    `json:"command"`
	Commit   string    `json:"commit"`
	Dirty    bool      `json:"dirty"` // the working tree differs from the commit
	Go       string    `json:"go"`
	System   string    `json:"system"`
	CPU      string    `json:"cpu"`
	Cores    int       `json:"cores"`
	Memory   int64     `json:"memory_bytes"`
	Disk     string    `json:"filesystem"`
	Sync     float64   `json:"fsync_ms"` // of 8 kB, the median
	Postgres string    `json:"postgres"` // what it promises when it commits
}

func describe(ctx context.Context, t *target, args []string) setting {
	s := setting{Date: time.Now().UTC(), Command: "go run ./internal/bench", Go: runtime.Version(), Cores: runtime.NumCPU(),
		System: runtime.GOOS + "/" + runtime.GOARCH, CPU: "unknown", Disk: "unknown"}
	if len(args) > 0 {
		s.Command += " " + strings.Join(args, " ")
	}
	s.Commit, s.Dirty = commit(ctx)
	if release, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		s.System += " " + strings.TrimSpace(string(release))
	}
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		s.CPU = firstValue(info, "model name")
	}
	if info, err := os.ReadFile("/proc/meminfo"); err == nil {
		kilobytes, _, _ := strings.Cut(firstValue(info, "MemTotal"), " ")
		if n, err := strconv.ParseInt(kilobytes, 10, 64); err == nil {
			s.Memory = n << 10
		}
	}
	if mounts, err := os.ReadFile("/proc/mounts"); err == nil {
		s.Disk = filesystem(mounts, t.dir)
	}
	if median, err := syncTime(t.dir); err == nil {
		s.Sync = milliseconds(median)
	}
	s.Postgres = durability(t.pid)
	return s
}

// commit is the checked-out commit, and whether files differ from it.
func commit(ctx context.Context) (string, bool) {
	hash, err := exec.CommandContext(ctx, "git", "rev-parse", "HEAD").Output()
	if err != nil {
		return "unknown", false
	}
	changes, err := exec.CommandContext(ctx, "git", "status", "--porcelain").Output()
	return strings.TrimSpace(string(hash)), err == nil && len(changes) > 0
}

// firstValue reads a file of "name : value" lines; "unknown" without the name.
func firstValue(body []byte, name string) string {
	for line := range strings.Lines(string(body)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

// filesystem is the type of the one that holds dir.
func filesystem(mounts []byte, dir string) string {
	kind, longest := "unknown", -1
	for line := range strings.Lines(string(mounts)) {
		fields := strings.Fields(line)
		if len(fields) < 3 {
			continue
		}
		below := fields[1] == "/" || dir == fields[1] || strings.HasPrefix(dir, fields[1]+"/")
		if below && len(fields[1]) >= longest { // a later mount hides an earlier one
			kind, longest = fields[2], len(fields[1])
		}
	}
	return kind
}

// Of syncTime: as many writes, each the size of a page of Postgres's log.
const (
	syncWrites = 100
	syncSize   = 8 << 10
)

// syncTime is how long the disk takes to keep 8 kB, which bounds how often one
// connection can commit.
func syncTime(dir string) (time.Duration, error) {
	file, err := os.CreateTemp(dir, "fsync")
	if err != nil {
		return 0, err
	}
	defer func() { _ = os.Remove(file.Name()) }()
	defer func() { _ = file.Close() }()
	page := make([]byte, syncSize)
	var took []time.Duration
	for i := range 2 * syncWrites {
		// The first round makes the file, as Postgres makes its log ahead.
		if _, err := file.WriteAt(page, int64(i%syncWrites)*syncSize); err != nil {
			return 0, err
		}
		began := time.Now()
		if err := file.Sync(); err != nil {
			return 0, err
		}
		if i >= syncWrites {
			took = append(took, time.Since(began))
		}
	}
	slices.Sort(took)
	return quantile(took, 0.5), nil
}

// durability reads the configuration of the Postgres below `postrider dev`.
func durability(dev int) string {
	const unknown = "not known: it is not below this stack"
	all, err := allProcesses("/proc")
	if err != nil || dev == 0 {
		return unknown
	}
	for _, p := range descendants(all, dev) {
		if p.command != "postgres" {
			continue
		}
		// The postmaster comes before its backends: it is nearer to the root.
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.pid))
		if err != nil {
			return unknown
		}
		for arg := range strings.SplitSeq(string(line), "\x00") {
			if path, ok := strings.CutPrefix(arg, "config_file="); ok {
				return settingsOf(path)
			}
		}
		return unknown
	}
	return unknown
}

// settingsOf tells of a configuration what decides whether a commit is on disk.
func settingsOf(path string) string {
	values := map[string]string{"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"} // Postgres's defaults
	auto := filepath.Join(filepath.Dir(path), "data", "postgresql.auto.conf")
	for _, file := range []string{path, auto} {
		body, err := os.ReadFile(file)
		if err != nil && file == path {
			return "not known: " + filepath.Base(path) + " cannot be read"
		}
		for line := range strings.Lines(string(body)) {
			name, value, _ := strings.Cut(line, "=")
			name = strings.TrimSpace(name)
			if _, wanted := values[name]; wanted {
				values[name] = strings.Trim(strings.TrimSpace(value), "'")
			}
		}
	}
	return fmt.Sprintf("fsync %s, synchronous_commit %s, full_page_writes %s", values["fsync"], values["synchronous_commit"], values["full_page_writes"])
}
