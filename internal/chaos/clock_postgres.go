package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// fakeTimeLibraries are where packages of libfaketime put it (Debian and Ubuntu, Fedora,
// Alpine). deploy/install.sh brings it for the tests.
var fakeTimeLibraries = []string{
	"/usr/lib/*/faketime/libfaketime.so.1",
	"/usr/lib64/faketime/libfaketime.so.1",
	"/usr/lib/faketime/libfaketime.so.1",
}

// fakeTimeLibrary is the library's path, empty when it is not installed.
func fakeTimeLibrary() string {
	for _, pattern := range fakeTimeLibraries {
		if found, _ := filepath.Glob(pattern); len(found) > 0 { // the patterns are well-formed
			return found[0]
		}
	}
	return ""
}

func missingFakeTime() string {
	if fakeTimeLibrary() == "" {
		return "libfaketime is not installed (deploy/install.sh test)"
	}
	return ""
}

// PostgresClock is the wall clock of a Postgres that was started with Env in its
// environment, by libfaketime. Its monotonic clock and its timers stay right. The zero
// PostgresClock steps nothing.
type PostgresClock struct{ path string }

// newPostgresClock makes the clock's file in a folder that Postgres's user may enter. The
// clock goes right until its first Step. Without libfaketime it is the zero one.
func newPostgresClock(dir string) (PostgresClock, error) {
	if fakeTimeLibrary() == "" {
		return PostgresClock{}, nil
	}
	c := PostgresClock{filepath.Join(dir, "postgres.clock")}
	return c, c.Step(0)
}

// Env is for the environment of Postgres.
func (c PostgresClock) Env() []string {
	if c.path == "" {
		return nil
	}
	return []string{
		"LD_PRELOAD=" + fakeTimeLibrary(), "FAKETIME_TIMESTAMP_FILE=" + c.path,
		"FAKETIME_CACHE_DURATION=1", // seconds until a process of Postgres sees the step
		"FAKETIME_DONT_FAKE_MONOTONIC=1", "FAKETIME_FORCE_MONOTONIC_FIX=0", "NO_FAKE_STAT=1",
	}
}

// Step sets how far the clock is ahead of the machine's, in whole seconds; below zero it
// is behind. It counts a second later.
func (c PostgresClock) Step(ahead time.Duration) error {
	if c.path == "" {
		return errors.New("clock of postgres: " + missingFakeTime())
	}
	// Renamed into place, so that nobody reads half of it.
	fresh := c.path + ".new"
	if err := os.WriteFile(fresh, fmt.Appendf(nil, "%+d\n", int64(ahead/time.Second)), 0o644); err != nil {
		return fmt.Errorf("clock of postgres: %w", err)
	}
	if err := os.Rename(fresh, c.path); err != nil {
		return fmt.Errorf("clock of postgres: %w", err)
	}
	return nil
}
