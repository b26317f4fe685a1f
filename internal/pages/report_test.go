package pages

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/pages/browser"
)

var report = flag.String("report", "", "measure the pages, and write FILE.md")

// rounds of each page: the median of them is told.
const rounds = 5

// TestMeasure is no test: it measures, when asked to.
func TestMeasure(t *testing.T) {
	if *report == "" {
		t.Skip("measures with -report FILE")
	}
	tab := browser.Open(t, demo(t).url)
	var b strings.Builder
	fmt.Fprintf(&b, "# Web pages\n\n`make pages-report` at commit %s, %s, %s, %s.\n\n", commit(), time.Now().UTC().Format(time.RFC3339), tab.Browser(), machine())
	fmt.Fprintf(&b, "Each is loaded %d times with an empty cache from the demo's gateway, over loopback: what the network adds is in none of the times. ", rounds)
	fmt.Fprintf(&b, "Bytes are headers and bodies as they were encoded; a test lets no page have more than %d. First paint is the first contentful paint, from the navigation's beginning.\n\n", browser.MaxBytes)
	b.WriteString("| page | requests | bytes | first paint, median, ms |\n|---|---|---|---|\n")
	for _, path := range public {
		var loads []browser.Load
		for range rounds {
			loads = append(loads, tab.Measure(path))
		}
		slices.SortFunc(loads, func(a, b browser.Load) int { return int(a.FirstPaint - b.FirstPaint) })
		median := loads[rounds/2]
		fmt.Fprintf(&b, "| `%s` | %d | %d | %d |\n", path, median.Requests, median.Bytes, median.FirstPaint.Milliseconds())
	}
	if err := os.WriteFile(*report+".md", []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

func commit() string {
	out, _ := exec.Command("git", "describe", "--always", "--dirty", "--abbrev=7").Output() // empty: no checkout
	return strings.TrimSpace(string(out))
}

// machine is its size, and what else it has to do.
func machine() string {
	kilobytes, _, _ := strings.Cut(value("/proc/meminfo", "MemTotal"), " ")
	n, _ := strconv.ParseFloat(kilobytes, 64) // 0: unknown
	load, _ := os.ReadFile("/proc/loadavg")
	return fmt.Sprintf("%d cores (%s), %.1f GB of memory; load average %s after the gateway's start: above the number of cores, other work is in the times", runtime.NumCPU(), value("/proc/cpuinfo", "model name"), n*1024/1e9, strings.TrimSpace(string(load)))
}

// value is that of a file of lines "name : value".
func value(path, name string) string {
	b, _ := os.ReadFile(path) // elsewhere than on Linux there is none
	for line := range strings.Lines(string(b)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}
