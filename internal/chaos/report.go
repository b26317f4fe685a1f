package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// Report is what a run found.
type Report struct {
	Setting Setting  `json:"setting"`
	Seed    uint64   `json:"seed"`
	Rows    []Row    `json:"rows"`
	LeftOut []string `json:"left_out,omitempty"` // events that this machine cannot have, and why
}

// Row is of one event.
type Row struct {
	Event   string        `json:"event"`
	Promise string        `json:"promise"`
	Began   time.Time     `json:"began"`
	Took    time.Duration `json:"took_ns"` // until all was whole again
	Steps   []string      `json:"steps,omitempty"`
	Verdict Verdict       `json:"verdict"`
	Wrong   []string      `json:"wrong,omitempty"`
}

// fault notes what went wrong with the event itself.
func (r *Row) fault(err error) {
	if err != nil {
		r.Wrong = append(r.Wrong, err.Error())
	}
}

// Setting is what the figures mean nothing without.
type Setting struct {
	Date    time.Time `json:"date"`
	Command string    `json:"command"`
	Commit  string    `json:"commit"`
	Dirty   bool      `json:"dirty"` // the working tree differs from the commit
	Go      string    `json:"go"`
	System  string    `json:"system"`
	CPU     string    `json:"cpu"`
	Cores   int       `json:"cores"`
	Memory  int64     `json:"memory_bytes"`
}

// describe looks at the machine and the checkout. The command has the seed that was
// drawn, so that it can be given again.
func describe(ctx context.Context, o options, args []string) Setting {
	s := Setting{Date: time.Now().UTC(), Command: "go run ./internal/chaos", Commit: "unknown", Go: runtime.Version(),
		System: runtime.GOOS + "/" + runtime.GOARCH, CPU: "unknown", Cores: runtime.NumCPU()}
	seeded := false
	for _, arg := range args {
		seeded = seeded || strings.HasPrefix(strings.TrimLeft(arg, "-"), "seed")
		if strings.ContainsAny(arg, " |*$()") {
			arg = "'" + arg + "'"
		}
		s.Command += " " + arg
	}
	if !seeded {
		s.Command += " --seed " + strconv.FormatUint(o.Seed, 10)
	}
	ctx = context.WithoutCancel(ctx)
	if hash, err := exec.CommandContext(ctx, "git", "rev-parse", "HEAD").Output(); err == nil {
		s.Commit = strings.TrimSpace(string(hash))
		changes, err := exec.CommandContext(ctx, "git", "status", "--porcelain").Output()
		s.Dirty = err == nil && len(changes) > 0
	}
	if release, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		s.System += " " + strings.TrimSpace(string(release))
	}
	s.CPU = procValue("/proc/cpuinfo", "model name", s.CPU)
	kilobytes, _, _ := strings.Cut(procValue("/proc/meminfo", "MemTotal", "0"), " ")
	if n, err := strconv.ParseInt(kilobytes, 10, 64); err == nil {
		s.Memory = n << 10
	}
	return s
}

// procValue reads a file of "name : value" lines.
func procValue(path, name, otherwise string) string {
	body, err := os.ReadFile(path)
	if err != nil {
		return otherwise
	}
	for line := range strings.Lines(string(body)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return otherwise
}

// verdict is an error when a promise was broken, or when nothing was shown.
func (r *Report) verdict() error {
	var errs []error
	for _, row := range r.Rows {
		if len(row.Wrong) > 0 {
			errs = append(errs, fmt.Errorf("%s: %s", row.Event, strings.Join(row.Wrong, "; ")))
		}
	}
	if len(r.Rows) == 0 {
		errs = append(errs, errors.New("nothing was judged"))
	}
	return errors.Join(errs...)
}

// write prints the table and fills the files that were asked for.
func (r *Report) write(out io.Writer, o options) error {
	table := r.markdown()
	if _, err := io.WriteString(out, table); err != nil {
		return err
	}
	var errs []error
	if o.Markdown != "" {
		errs = append(errs, writeBetweenMarks(o.Markdown, table))
	}
	if o.JSON != "" {
		body, err := json.MarshalIndent(r, "", "  ")
		if err == nil {
			err = os.MkdirAll(filepath.Dir(o.JSON), 0o755)
		}
		if err == nil {
			err = os.WriteFile(o.JSON, append(body, '\n'), 0o644)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// The marks between which a file has the table.
const (
	tableBegins = "<!-- the table begins -->\n"
	tableEnds   = "<!-- the table ends -->\n"
)

// writeBetweenMarks replaces what stands between the marks of a file; one without them
// is replaced whole.
func writeBetweenMarks(path, table string) error {
	body, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	before, rest, found := bytes.Cut(body, []byte(tableBegins))
	_, after, ended := bytes.Cut(rest, []byte(tableEnds))
	if !found || !ended {
		return os.WriteFile(path, []byte(table), 0o644)
	}
	return os.WriteFile(path, []byte(string(before)+tableBegins+"\n"+table+"\n"+tableEnds+string(after)), 0o644)
}

func (r *Report) markdown() string {
	var b strings.Builder
	s := r.Setting
	fmt.Fprintf(&b, "Seed %d. %d cores (%s), %.1f GB, %s, %s, %s, commit %.12s", r.Seed, s.Cores, s.CPU, float64(s.Memory)/(1<<30), s.System, s.Go, s.Date.Format("2006-01-02"), s.Commit)
	if s.Dirty {
		b.WriteString(" with changes")
	}
	fmt.Fprintf(&b, ".\n\n    %s\n\n", s.Command)
	b.WriteString("| Event | Messages | Lost | Doubled | In doubt | Time to recover | Held |\n|---|---:|---:|---:|---:|---:|---|\n")
	for _, row := range r.Rows {
		v, held := row.Verdict, "yes"
		if len(row.Wrong) > 0 {
			held = "**no**: " + cell(strings.Join(row.Wrong, "; "))
		}
		again := "-"
		if v.Recover > 0 {
			again = fmt.Sprintf("%.1f s", v.Recover.Seconds())
		}
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %d | %s | %s |\n", cell(row.Event), v.Accepted, v.Lost, v.Doubled, v.InDoubt, again, held)
	}
	for i, out := range r.LeftOut {
		if i == 0 {
			b.WriteString("\nLeft out, because this machine cannot have it:\n\n")
		}
		fmt.Fprintf(&b, "- %s\n", out)
	}
	return b.String()
}

// maxCell bounds what stands in one cell of the table.
const maxCell = 300

// cell makes a text fit for one.
func cell(s string) string {
	s = strings.NewReplacer("\n", " ", "|", "\\|").Replace(s)
	if len(s) > maxCell {
		s = s[:maxCell] + "…"
	}
	return s
}
