package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// steps are the first n of a schedule, as text.
func steps(s Schedule, n int) []string {
	var list []string
	for step := range s {
		list = append(list, fmt.Sprintf("%s %d %s", step.Event.Name, step.Seed, step.Pause))
		if len(list) == n {
			break
		}
	}
	return list
}

func always() bool { return true }

func TestOneAtATimeIsEachOnce(t *testing.T) {
	var got []string
	seeds := map[uint64]bool{}
	for step := range OneAtATime(Events, 7) {
		got = append(got, step.Event.Name)
		seeds[step.Seed] = true
	}
	if want := namesOf(Events); !slices.Equal(got, want) || len(seeds) != len(want) {
		t.Errorf("one at a time is\n%q with %d seeds; want\n%q", got, len(seeds), want)
	}
	if a, b := steps(OneAtATime(Events, 7), 1000), steps(OneAtATime(Events, 7), 1000); !slices.Equal(a, b) {
		t.Error("one seed has two orders")
	}
}

func namesOf(events []Event) []string {
	var list []string
	for _, e := range events {
		list = append(list, e.Name)
	}
	return list
}

func TestAtRandomIsItsSeed(t *testing.T) {
	a, b := steps(atRandom(Events, 7, always), 500), steps(atRandom(Events, 7, always), 500)
	if !slices.Equal(a, b) {
		t.Error("the same seed has two orders")
	}
	if slices.Equal(a, steps(atRandom(Events, 8, always), 500)) {
		t.Error("two seeds have one order")
	}
}

// TestAtRandomDrawsAll also says that what has no weight never comes, and that no two
// events meet that need the same part.
func TestAtRandomDrawsAll(t *testing.T) {
	came := map[string]int{}
	parts := map[string][]string{}
	for _, e := range Events {
		parts[e.Name] = e.alone
	}
	n, pairs := 0, 0
	for step := range atRandom(Events, 7, always) {
		came[step.Event.Name]++
		if _, single := parts[step.Event.Name]; !single {
			pairs++
			sorted := slices.Sorted(slices.Values(step.Event.alone))
			if len(slices.Compact(sorted)) != len(step.Event.alone) {
				t.Errorf("%s meet, which need %q", step.Event.Name, step.Event.alone)
			}
		}
		if step.Pause < 0 || step.Pause > longestPause {
			t.Errorf("the calm before %s is %s", step.Event.Name, step.Pause)
		}
		if n++; n == 20_000 {
			break
		}
	}
	for _, e := range Events {
		if got := came[e.Name] > 0; got != (e.Weight > 0) {
			t.Errorf("%s has weight %d and came %d times", e.Name, e.Weight, came[e.Name])
		}
	}
	if pairs == 0 || pairs > n/togetherEvery*2 {
		t.Errorf("%d of %d steps are two events", pairs, n)
	}
	for range atRandom([]Event{{Name: "never"}}, 7, always) {
		t.Fatal("an event without weight came")
	}
}

func TestAtRandomEnds(t *testing.T) {
	left := 3
	got := steps(atRandom(Events, 7, func() bool { left--; return left >= 0 }), 100)
	if want := steps(atRandom(Events, 7, always), 3); !slices.Equal(got, want) {
		t.Errorf("until its end it is %q; want %q", got, want)
	}
	for range AtRandom(Events, 7, 0) {
		t.Fatal("a step in no time")
	}
	for range AtRandom(Events, 7, time.Hour) {
		break
	}
}

// TestTogether runs two events at once, each of which waits for the other.
func TestTogether(t *testing.T) {
	met := make(chan int)
	broken := errors.New("broken")
	event := func(name string, err error) Event {
		return Event{Name: name, alone: []string{name}, Run: func(ctx context.Context, _ *World, r *rand.Rand) error {
			select {
			case met <- 1:
			case <-met:
			case <-ctx.Done():
				return ctx.Err()
			}
			return err
		}}
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	both := together(event("a", nil), event("b", broken))
	if err := both.Run(ctx, nil, seeded(1)); err == nil || err.Error() != broken.Error() {
		t.Errorf("two events return %v; want %v", err, broken)
	}
	if both.Name != "a + b" || !slices.Equal(both.alone, []string{"a", "b"}) {
		t.Errorf("two events are %q, which need %q", both.Name, both.alone)
	}
	if apart(both, event("b", nil)) || !apart(both, event("c", nil)) || apart(Event{}, both) {
		t.Error("events share what they must not")
	}
}
