package fuzztest

import (
	"fmt"
	"runtime"
	"testing"
)

// judge is a test that is told to fail.
type judge struct {
	testing.TB
	said string
}

func (j *judge) Helper() {}
func (j *judge) Fatalf(format string, args ...any) {
	j.said = fmt.Sprintf(format, args...)
}

var sink []byte

func TestWithin(t *testing.T) {
	for _, tt := range []struct {
		name        string
		takes, most int
		fails       bool
	}{
		{"nothing", 0, 0, false},
		{"as much as it may", 1 << 20, 1<<20 + 64<<10, false},
		{"too much", 2 << 20, 1 << 20, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			j := &judge{TB: t}
			Within(j, tt.most, func() {
				for left := tt.takes; left > 0; left -= 1 << 10 {
					sink = make([]byte, 1<<10)
				}
			})
			if (j.said != "") != tt.fails {
				t.Errorf("said %q", j.said)
			}
		})
	}
}

// A collection within fn counts what came before it; that is no fault of fn.
func TestWithinForgivesCollections(t *testing.T) {
	for i := range 2000 {
		sink = make([]byte, i)
	}
	runs := 0
	Within(t, 64<<10, func() {
		runs++
		runtime.GC()
	})
	if runs > 4 {
		t.Errorf("%d runs", runs)
	}
}
