package main

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"
)

// meter reads the CPU time and the memory of the stack's parts. The zero meter
// (root 0: the processes are not known) reads nothing but its own.
type meter struct {
	proc string // "/proc"
	root int    // pid of `postrider dev`
	more []int  // pids of further processes of the stack, which are not below it
	self int    // own pid
}

// ticks is CPU time since the machine's start.
type ticks struct {
	parts       map[string]int64
	written     map[string]int64 // octets given to the disk, by part; without a part: not known
	busy, whole int64            // of all cores
}

// read gives nil when there is no /proc.
func (m meter) read() *ticks {
	stat, err := os.ReadFile(filepath.Join(m.proc, "stat"))
	if err != nil {
		return nil
	}
	t := &ticks{parts: map[string]int64{}, written: map[string]int64{}}
	t.busy, t.whole, _ = machineTicks(stat)
	for part, list := range m.processes() {
		for _, p := range list {
			t.parts[part] += p.ticks
			if io, err := os.ReadFile(filepath.Join(m.proc, strconv.Itoa(p.pid), "io")); err == nil {
				t.written[part] += parseWritten(io)
			}
		}
	}
	return t
}

// processes are the stack's and the bench's own, by part.
func (m meter) processes() map[string][]process {
	all, err := allProcesses(m.proc)
	if err != nil {
		return nil
	}
	found := map[string][]process{}
	if m.root != 0 {
		for _, p := range descendants(all, m.root) {
			// A stack that the bench started has the bench above it, not below.
			if part := partOf(p.command); part != "" {
				found[part] = append(found[part], p)
			}
		}
	}
	for _, p := range all {
		if p.pid == m.self {
			found[partBench] = append(found[partBench], p)
		}
		if part := partOf(p.command); part != "" && slices.Contains(m.more, p.pid) {
			found[part] = append(found[part], p)
		}
	}
	return found
}

// resident gives the parts' memory in octets. Pages that processes share are
// counted once: all of Postgres's backends map the same buffers.
func (m meter) resident() map[string]int64 {
	sizes := map[string]int64{}
	for part, list := range m.processes() {
		var anon, file, shared int64
		for _, p := range list {
			status, err := os.ReadFile(filepath.Join(m.proc, strconv.Itoa(p.pid), "status"))
			if err != nil {
				continue
			}
			one := parseMemory(status)
			anon += one.anon
			file, shared = max(file, one.file), max(shared, one.shared)
		}
		sizes[part] = anon + file + shared
	}
	return sizes
}

// usage is what a phase took.
type usage struct {
	Seconds float64            `json:"seconds"`
	CPU     map[string]float64 `json:"cpu_seconds"`      // by part; empty: not known
	Others  float64            `json:"others_cpu_cores"` // cores that other programs kept busy
	Memory  map[string]int64   `json:"memory_bytes"`     // the most of each part
	// Written is what each part gave to the disk, its journal's and pages' among it;
	// empty: not known. Log is what Postgres appended to its write-ahead log, for all
	// databases; 0: not known.
	Written map[string]int64 `json:"written_bytes"`
	Log     int64            `json:"wal_bytes"`
}

// difference is the use between two readings, either of which may be nil.
func difference(before, after *ticks, took time.Duration) usage {
	u := usage{Seconds: took.Seconds(), CPU: map[string]float64{}, Memory: map[string]int64{}, Written: map[string]int64{}}
	if before == nil || after == nil {
		return u
	}
	known := int64(0)
	for part, now := range after.parts {
		// A process that ended meanwhile without a parent that waited takes its
		// time with it; less than nothing is never right.
		n := max(now-before.parts[part], 0)
		known += n
		u.CPU[part] = float64(n) / ticksPerSecond
	}
	for part, now := range after.written {
		u.Written[part] = max(now-before.written[part], 0)
	}
	if took > 0 {
		u.Others = max(float64(after.busy-before.busy-known)/ticksPerSecond/took.Seconds(), 0)
	}
	return u
}

// memoryEvery is how often memory is looked at. A look takes some 30 ms of CPU,
// for Postgres has dozens of processes.
const memoryEvery = 5 * time.Second

const (
	// quietLook is how long a look at what the stack still does takes.
	quietLook = 500 * time.Millisecond
	// quietCores is what a stack that nobody uses stays below, of one core.
	quietCores = 0.2
	// quietMost is how long is waited for it at most.
	quietMost = 15 * time.Second
)

// quiet waits until the stack has worked off what the phase before left behind: after
// a message's end Temporal still indexes and closes, and Postgres vacuums. Whoever
// measures at once measures that among it. False: it went on for longer than is waited.
// Without known processes there is nothing to wait for.
func (m meter) quiet(ctx context.Context) bool {
	for until := time.Now().Add(quietMost); m.root != 0 && ctx.Err() == nil && time.Now().Before(until); {
		before, began := m.read(), time.Now()
		pause(ctx, quietLook)
		took := time.Since(began)
		cores := 0.0
		for part, seconds := range difference(before, m.read(), took).CPU {
			if part != partBench {
				cores += seconds / took.Seconds()
			}
		}
		if cores < quietCores {
			return true
		}
	}
	return m.root == 0
}

// watch is a running measurement.
type watch struct {
	meter  meter
	before *ticks
	began  time.Time
	cancel context.CancelFunc
	done   sync.WaitGroup
	memory map[string]int64 // of the goroutine until done
}

// watch starts to measure; stop must be called.
func (m meter) watch(ctx context.Context) *watch {
	ctx, cancel := context.WithCancel(ctx)
	w := &watch{meter: m, cancel: cancel, memory: map[string]int64{}, began: time.Now()}
	w.before = m.read()
	w.done.Go(func() {
		tick := time.NewTicker(memoryEvery)
		defer tick.Stop()
		for {
			w.look()
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	})
	return w
}

func (w *watch) look() {
	for part, size := range w.meter.resident() {
		w.memory[part] = max(w.memory[part], size)
	}
}

// soFar is the use until now, without memory.
func (w *watch) soFar() usage {
	return difference(w.before, w.meter.read(), time.Since(w.began))
}

func (w *watch) stop() usage {
	u := w.soFar()
	w.cancel()
	w.done.Wait()
	w.look()
	u.Memory = w.memory
	return u
}
