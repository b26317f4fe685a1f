package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/stack"
	"github.com/postrider/postrider/internal/stack/stacktest"
)

const clockProgram = "./internal/chaos/testdata/clock"

// teller is a running testdata/clock.
type teller struct {
	tb  testing.TB
	in  io.Writer
	out *bufio.Reader
}

func startTeller(tb testing.TB, path, env string) *teller {
	tb.Helper()
	cmd := exec.Command(path)
	cmd.Env = append(os.Environ(), env)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = in.Close()
		if err := cmd.Wait(); err != nil {
			tb.Error(err)
		}
	})
	return &teller{tb, in, bufio.NewReader(out)}
}

// is fails unless the program's clock is ahead of the machine's by so much, and the span
// that it measured is no longer than the one here.
func (t *teller) is(ahead time.Duration, began time.Time) {
	t.tb.Helper()
	before := time.Now()
	if _, err := io.WriteString(t.in, "now\n"); err != nil {
		t.tb.Fatal(err)
	}
	line, err := t.out.ReadString('\n')
	if err != nil {
		t.tb.Fatal(err)
	}
	after := time.Now()
	var now, fired, span int64
	if _, err := fmt.Sscan(line, &now, &fired, &span); err != nil {
		t.tb.Fatal(err)
	}
	for what, told := range map[string]int64{"time.Now": now, "a timer": fired} {
		if got := time.Unix(0, told).Add(-ahead); got.Before(before.Round(0)) || got.After(after.Round(0)) {
			t.tb.Errorf("%s is %s; want %s on top of %s to %s", what, time.Unix(0, told), ahead, before, after)
		}
	}
	if longest := time.Since(began); span < 0 || time.Duration(span) > longest {
		t.tb.Errorf("it has run for %s by its own clock, and for %s at most", time.Duration(span), longest)
	}
}

// TestClockSteps builds one program twice. One has a clock that goes ahead, back and
// right again while it runs, and spans that do not; the other one's clock is the machine's.
func TestClockSteps(t *testing.T) {
	root, err := stack.RepoRoot()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	stepped, err := buildStepped(t.Context(), root, clockProgram, filepath.Join(dir, "stepped"))
	if err != nil {
		t.Fatal(err)
	}
	plain := filepath.Join(dir, "plain")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", plain, clockProgram)
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	clock, err := newClock(filepath.Join(dir, "clock"))
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	odd, even, none := startTeller(t, stepped, clock.Env()), startTeller(t, plain, clock.Env()), startTeller(t, stepped, clockVariable+"=")
	for _, ahead := range []time.Duration{0, 10 * time.Minute, 10*time.Minute + 999_999_999, -10 * time.Minute, -1, 0} {
		if err := clock.Step(ahead); err != nil {
			t.Fatal(err)
		}
		odd.is(ahead, began)
		even.is(0, began)
		none.is(0, began)
	}
	for path, want := range map[string]bool{stepped: true, plain: false, stacktest.Postrider(t): false} {
		body, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := bytes.Contains(body, []byte(clockVariable)); got != want {
			t.Errorf("%s knows a clock's file: %t; want %t", filepath.Base(path), got, want)
		}
	}
}

// TestPostgresClockSteps steps the clock of a Postgres that runs. Without libfaketime
// there is no such clock, and the events that need it say so.
func TestPostgresClockSteps(t *testing.T) {
	dir := stacktest.Folder(t)
	clock, err := newPostgresClock(dir)
	if err != nil {
		t.Fatal(err)
	}
	if missing := missingFakeTime(); missing != "" {
		if clock.Env() != nil || clock.Step(time.Minute) == nil {
			t.Errorf("there is a clock although %s", missing)
		}
		return
	}
	pg := stacktest.StartPostgres(t, stack.PostgresConfig{Dir: filepath.Join(dir, "cluster"), Throwaway: true, Env: clock.Env()})
	conn, err := pgx.Connect(t.Context(), pg.DSN("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	for _, ahead := range []time.Duration{0, 10 * time.Minute, -10 * time.Minute, 0} {
		if err := clock.Step(ahead); err != nil {
			t.Fatal(err)
		}
		deadline := time.Now().Add(patience)
		for {
			before := time.Now()
			var now time.Time
			if err := conn.QueryRow(t.Context(), "select clock_timestamp()").Scan(&now); err != nil {
				t.Fatal(err)
			}
			after := time.Now()
			// Postgres keeps microseconds.
			if got := now.Add(-ahead); !got.Before(before.Truncate(time.Microsecond)) && !got.After(after.Round(0)) {
				break
			}
			if after.After(deadline) {
				t.Fatalf("Postgres has %s at %s; want it ahead by %s", now, after, ahead)
			}
		}
	}
}
