package main

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	const tail = " S 41 42 42 0 -1 4194304 99 7 0 0 120 30 5 2 20 0 1 0 406721 3133440 408 18446744073709551615"
	for _, c := range []struct {
		name, line string
		want       process
		bad        bool
	}{
		{name: "plain", line: "1819 (postgres)" + tail, want: process{pid: 1819, parent: 41, command: "postgres", ticks: 157}},
		{name: "brackets and spaces in the name", line: "7 (a) b (c)" + tail, want: process{pid: 7, parent: 41, command: "a) b (c", ticks: 157}},
		{name: "empty", line: "", bad: true},
		{name: "no brackets", line: "1 postgres" + tail, bad: true},
		{name: "turned brackets", line: "1 )postgres(" + tail, bad: true},
		{name: "cut off", line: "1 (postgres) S 41 42", bad: true},
		{name: "no number", line: "x (postgres)" + tail, bad: true},
		{name: "no parent", line: "1 (postgres) S x 42 42 0 -1 4194304 99 7 0 0 120 30 5 2", bad: true},
		{name: "no time", line: "1 (postgres) S 41 42 42 0 -1 4194304 99 7 0 0 120 x 5 2", bad: true},
	} {
		got, err := parseStat([]byte(c.line))
		if (err != nil) != c.bad || got != c.want {
			t.Errorf("%s: %+v, %v", c.name, got, err)
		}
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("1819 (cat) R 1814 1814 9886 0 -1 4194304 99 0 0 0 0 0 0 0 20"))
	f.Add([]byte("1 ()) R ("))
	f.Fuzz(func(t *testing.T, line []byte) {
		if p, err := parseStat(line); err != nil && p != (process{}) {
			t.Errorf("%q gave both %+v and %v", line, p, err)
		}
	})
}

func TestParseMemory(t *testing.T) {
	got := parseMemory([]byte("Name:\tpostgres\nVmRSS:\t 1696 kB\nRssAnon:\t     112 kB\nRssFile:\t    1584 kB\nRssShmem:\t 3 kB\n"))
	if want := (memory{112 << 10, 1584 << 10, 3 << 10}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := parseMemory([]byte("RssAnon: many kB\nRssFile: 3 MB\nRssShmem")); got != (memory{}) {
		t.Errorf("got %+v of nonsense", got)
	}
}

func TestMachineTicks(t *testing.T) {
	busy, whole, ok := machineTicks([]byte("cpu  100 1 20 1000 50 2 3 4 0 0\ncpu0 1 1 1 1\n"))
	if !ok || busy != 130 || whole != 1180 {
		t.Errorf("busy %d of %d, %v", busy, whole, ok)
	}
	for _, bad := range []string{"", "intr 1 2 3 4 5 6 7 8", "cpu 1 2 3", "cpu 1 2 3 4 5 6 7 x"} {
		if _, _, ok := machineTicks([]byte(bad)); ok {
			t.Errorf("%q was taken", bad)
		}
	}
}

// procDir makes a /proc of processes, given as pid, parent, name, own ticks and
// ticks of ended children.
func procDir(t *testing.T, busy int, list ...[5]any) string {
	t.Helper()
	dir := t.TempDir()
	write := func(path, body string) {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(body), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("stat", "cpu "+strconv.Itoa(busy)+" 0 0 1000 0 0 0 0 0 0\n")
	for _, p := range list {
		pid := strconv.Itoa(p[0].(int))
		write(pid+"/stat", pid+" ("+p[2].(string)+") S "+strconv.Itoa(p[1].(int))+" 1 1 0 -1 0 0 0 0 0 "+
			strconv.Itoa(p[3].(int))+" 0 "+strconv.Itoa(p[4].(int))+" 0 20 0 1 0 0\n")
		write(pid+"/status", "RssAnon: 1024 kB\nRssFile: 512 kB\nRssShmem: 2048 kB\n")
	}
	return dir
}

func TestMeter(t *testing.T) {
	before := meter{root: 20, self: 10, proc: procDir(t, 1000,
		[5]any{10, 1, "bench", 50, 900}, // it has built programs: that is not its own part here
		[5]any{20, 10, "postrider", 5, 300},
		[5]any{21, 20, "postgres", 10, 0}, [5]any{22, 21, "postgres", 100, 0}, [5]any{23, 21, "postgres", 40, 0},
		[5]any{24, 20, "temporald-1a2b", 200, 0}, [5]any{25, 20, "postrider", 300, 0}, [5]any{26, 20, "smscsim", 10, 0},
		[5]any{90, 1, "postgres", 7000, 0}, // another cluster
	)}
	after := before
	after.proc = procDir(t, 1500,
		[5]any{10, 1, "bench", 60, 900},
		[5]any{20, 10, "postrider", 5, 300},
		[5]any{21, 20, "postgres", 10, 60}, [5]any{22, 21, "postgres", 180, 0}, // 23 ended with 60
		[5]any{24, 20, "temporald-1a2b", 320, 0}, [5]any{25, 20, "postrider", 370, 0}, [5]any{26, 20, "smscsim", 15, 0},
		[5]any{90, 1, "postgres", 7100, 0},
	)
	u := difference(before.read(), after.read(), 2*time.Second)
	want := map[string]float64{partBench: 0.1, partGateway: 0.7, partTemporal: 1.2, partPostgres: 1.0, partSMSC: 0.05}
	for part, seconds := range want {
		if got := u.CPU[part]; got < seconds-1e-9 || got > seconds+1e-9 {
			t.Errorf("%s took %g s, want %g", part, got, seconds)
		}
	}
	if len(u.CPU) != len(want) {
		t.Errorf("parts: %v", u.CPU)
	}
	if want := (500.0 - 305) / 100 / 2; u.Others < want-1e-9 || u.Others > want+1e-9 {
		t.Errorf("others kept %g cores busy, want %g", u.Others, want)
	}
	// Three processes of 1 MB each, one copy of 0.5 MB of files, one of 2 MB of
	// buffers.
	if got := before.resident()[partPostgres]; got != 3<<20+512<<10+2<<20 {
		t.Errorf("Postgres has %d octets", got)
	}
}

func TestMeterWithoutProc(t *testing.T) {
	m := meter{proc: t.TempDir(), root: 1, self: 2}
	if got := m.read(); got != nil {
		t.Errorf("read %+v", got)
	}
	if u := difference(nil, nil, time.Second); len(u.CPU) != 0 || u.Seconds != 1 {
		t.Errorf("use %+v", u)
	}
}

func TestDescendants(t *testing.T) {
	list := descendants([]process{{pid: 2, parent: 1}, {pid: 3, parent: 2}, {pid: 4, parent: 9}}, 1)
	if len(list) != 2 || list[0].pid != 2 || list[1].pid != 3 {
		t.Errorf("got %+v", list)
	}
	if list := descendants([]process{{pid: 1, parent: 2}, {pid: 2, parent: 1}}, 1); len(list) != 2 {
		t.Errorf("a loop gave %+v", list)
	}
}

// Of what the kernel counted as dirty no more is told than was written.
func TestParseWritten(t *testing.T) {
	for io, want := range map[string]int64{
		"rchar: 1\nwchar: 8192\nwrite_bytes: 1048576\ncancelled_write_bytes: 9\n": 8192, // 8 kB into a large folio
		"rchar: 1\nwchar: 9999\nwrite_bytes: 4096\ncancelled_write_bytes: 9\n":    4096, // the rest went to sockets
		"":                              0,
		"cancelled_write_bytes: 9\n":    0,
		"wchar: 1\nwrite_bytes: many\n": 0,
	} {
		if got := parseWritten([]byte(io)); got != want {
			t.Errorf("got %d of %q, want %d", got, io, want)
		}
	}
}

// There is nothing to wait for when the stack's processes are not known, and nobody waits
// for an interrupted run.
func TestQuiet(t *testing.T) {
	if !(meter{proc: "/proc"}).quiet(t.Context()) {
		t.Error("no stack, and it is waited for")
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if (meter{proc: "/proc", root: 1}).quiet(over) {
		t.Error("an interrupted wait says that the stack is at rest")
	}
}
