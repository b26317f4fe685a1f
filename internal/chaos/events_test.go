package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestEventsAreTold(t *testing.T) {
	names, short := map[string]bool{}, 0
	for _, e := range Events {
		if e.Name == "" || e.Promise == "" || e.Run == nil || names[e.Name] {
			t.Errorf("event %q has no name of its own, no promise, or does nothing", e.Name)
		}
		names[e.Name] = true
		if e.Short {
			short++
		}
	}
	if short == 0 {
		t.Error("the short form has no events")
	}
	wires := slices.Sorted(slices.Values(allWires))
	if n := len(slices.Compact(wires)); n != len(allWires) {
		t.Errorf("%d of %d wires have a name of their own", n, len(allWires))
	}
}

// TestLastingHeals ends an event in each of its moments: it always heals, with a context
// that goes on.
func TestLastingHeals(t *testing.T) {
	broken, unhealed := errors.New("broken"), errors.New("not healed")
	for _, c := range []struct {
		name        string
		ended       bool // ctx, beforehand
		breaks, was error
		want        []error
	}{
		{"all goes well", false, nil, nil, nil},
		{"breaking fails halfway", false, broken, nil, []error{broken}},
		{"the run ends meanwhile", true, nil, nil, []error{context.Canceled}},
		{"healing fails", false, nil, unhealed, []error{unhealed}},
		{"both fail", false, broken, unhealed, []error{broken, unhealed}},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var did []string
			event := lasting(exactly(0), func(context.Context, *World, *rand.Rand) error {
				did = append(did, "breaks")
				if c.ended {
					cancel()
				}
				return c.breaks
			}, func(ctx context.Context, _ *World, _ *rand.Rand) error {
				did = append(did, "heals")
				if _, bounded := ctx.Deadline(); ctx.Err() != nil || !bounded {
					t.Error("it heals in a context that has ended, or that never does")
				}
				return c.was
			})
			if c.ended {
				event = again(3, event, func(context.Context, *World, *rand.Rand) error { return nil })
			}
			err := event(ctx, nil, seeded(1))
			for _, want := range c.want {
				if !errors.Is(err, want) {
					t.Errorf("it returns %v; want %v", err, want)
				}
			}
			if len(c.want) == 0 && err != nil || strings.Join(did, " ") != "breaks heals" {
				t.Errorf("it did %q and returns %v", did, err)
			}
		})
	}
}

func TestSpanIsDrawn(t *testing.T) {
	r := seeded(1)
	s := span{time.Second, 2 * time.Second}
	for range 1000 {
		if d := s.draw(r); d < s.shortest || d > s.longest {
			t.Fatalf("%s is not within %v", d, s)
		}
	}
	if d := exactly(time.Minute).draw(r); d != time.Minute {
		t.Errorf("exactly a minute is %s", d)
	}
}

// TestDisk fills a disk of its own and frees it. Where none can be mounted the event
// that needs it says so.
func TestDisk(t *testing.T) {
	dir := t.TempDir()
	if missing := missingDisk(); missing != "" {
		if d, err := mountDisk(t.Context(), dir, trialSize); err == nil {
			t.Errorf("a disk can be mounted, although %s: %v", missing, d.Close())
		}
		return
	}
	d, err := mountDisk(t.Context(), dir, trialSize)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unmountDisk(dir); err != nil {
			t.Error(err)
		}
		if err := unmountDisk(dir); err != nil {
			t.Errorf("what is not mounted: %v", err)
		}
	}()
	name := filepath.Join(d.Dir, "file")
	for range 2 {
		if err := d.Fill(); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, make([]byte, 8192), 0o600); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("writing to a full disk: %v", err)
		}
		if err := errors.Join(d.Free(), d.Free()); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, make([]byte, 8192), 0o600); err != nil {
			t.Errorf("writing to a disk that was freed: %v", err)
		}
		if err := os.Remove(name); err != nil { // or it would be written over
			t.Fatal(err)
		}
	}
}
