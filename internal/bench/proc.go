package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// CPU and memory are read from /proc, so they are told on Linux alone; anywhere
// else the report leaves them out.

// ticksPerSecond is what /proc counts CPU time in; the kernel's ABI fixes it.
const ticksPerSecond = 100

// process is one line of /proc/<pid>/stat.
type process struct {
	pid, parent int
	command     string // base name of what was executed, cut to 15 characters
	// ticks is the CPU time of the process and of those of its children that
	// have ended and were waited for: a Postgres backend that is gone still
	// counts, by its postmaster.
	ticks int64
}

var errStat = errors.New("not a line of /proc/<pid>/stat")

// parseStat reads such a line; proc(5) numbers its fields.
func parseStat(line []byte) (process, error) {
	// The command is in brackets and may hold anything, brackets too.
	open, shut := bytes.IndexByte(line, '('), bytes.LastIndexByte(line, ')')
	if open < 1 || shut < open {
		return process{}, errStat
	}
	pid, err := strconv.Atoi(string(bytes.TrimSpace(line[:open])))
	fields := strings.Fields(string(line[shut+1:])) // from field 3 on
	if err != nil || len(fields) < 15 {
		return process{}, errStat
	}
	p := process{pid: pid, command: string(line[open+1 : shut])}
	if p.parent, err = strconv.Atoi(fields[1]); err != nil {
		return process{}, errStat
	}
	for _, field := range fields[11:15] { // utime, stime, cutime, cstime
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return process{}, errStat
		}
		p.ticks += n
	}
	return p, nil
}

// allProcesses reads the process table. Processes that end meanwhile are left
// out.
func allProcesses(proc string) ([]process, error) {
	paths, err := filepath.Glob(filepath.Join(proc, "[0-9]*", "stat"))
	if err != nil {
		return nil, err
	}
	var list []process
	for _, path := range paths {
		line, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		if p, err := parseStat(line); err == nil {
			list = append(list, p)
		}
	}
	return list, nil
}

// descendants are the processes below root, without it.
func descendants(all []process, root int) []process {
	children := map[int][]process{}
	for _, p := range all {
		children[p.parent] = append(children[p.parent], p)
	}
	var list []process
	queue := []int{root}
	for len(queue) > 0 {
		below := children[queue[0]]
		// The table is not read at one instant: a number that is used again
		// while it is read may seem to be its own ancestor.
		delete(children, queue[0])
		queue = queue[1:]
		for _, p := range below {
			list = append(list, p)
			queue = append(queue, p.pid)
		}
	}
	return list
}

// The parts that CPU and memory are told by, in the report's order.
const (
	partGateway  = "gateway"
	partTemporal = "temporald"
	partPostgres = "postgres"
	partSMSC     = "smscsim"
	partBench    = "bench"
)

var parts = []string{partGateway, partTemporal, partPostgres, partSMSC, partBench}

// partOf names what a process below `postrider dev` belongs to; empty: to none.
func partOf(command string) string {
	switch {
	case command == "postrider":
		return partGateway
	case strings.HasPrefix(command, "temporald"):
		return partTemporal
	case command == "postgres":
		return partPostgres
	case command == "smscsim":
		return partSMSC
	}
	return ""
}

// memory is part of /proc/<pid>/status, in octets.
type memory struct{ anon, file, shared int64 }

// parseMemory reads the resident set by kind; zero for what has none.
func parseMemory(status []byte) memory {
	var m memory
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(line, ":")
		var into *int64
		switch name {
		case "RssAnon":
			into = &m.anon
		case "RssFile":
			into = &m.file
		case "RssShmem":
			into = &m.shared
		default:
			continue
		}
		if fields := strings.Fields(value); len(fields) == 2 && fields[1] == "kB" {
			if n, err := strconv.ParseInt(fields[0], 10, 64); err == nil {
				*into = n << 10
			}
		}
	}
	return m
}

// parseWritten reads of /proc/<pid>/io how many octets the process, and those of its
// children that have ended, gave to the disk: what the kernel counts for pages that
// became dirty (write_bytes), but no more than was handed to write() (wchar). The first
// alone counts a whole folio of the page cache, which may be a megabyte, for the 8 kB
// that a commit adds to Postgres's log; the second alone has what Go writes to sockets.
func parseWritten(io []byte) int64 {
	counts := map[string]int64{}
	for line := range strings.Lines(string(io)) {
		name, value, _ := strings.Cut(line, ": ")
		n, err := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
		if err != nil {
			return 0
		}
		counts[name] = n
	}
	return min(counts["write_bytes"], counts["wchar"])
}

// machineTicks reads the time in which the machine's cores were busy, and the
// whole time that they had, from the first line of /proc/stat. Stolen time
// counts as busy: it was not ours.
func machineTicks(stat []byte) (busy, whole int64, ok bool) {
	line, _, _ := bytes.Cut(stat, []byte{'\n'})
	fields := strings.Fields(string(line))
	if len(fields) < 9 || fields[0] != "cpu" {
		return 0, 0, false
	}
	for i, field := range fields[1:9] { // user nice system idle iowait irq softirq steal
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, 0, false
		}
		whole += n
		if i != 3 && i != 4 {
			busy += n
		}
	}
	return busy, whole, true
}
