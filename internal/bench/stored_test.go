package main

import (
	"io"
	"strings"
	"testing"
)

func TestReportStored(t *testing.T) {
	r := example()
	x := &stored{Messages: 1000, Bytes: 4_000_000, Seconds: 2, DropSeconds: 1.5, Looks: 70, Dropped: []string{"messages_20260831"},
		Lists: []listed{{"the newest 50", quantiles{P50: 1}, quantiles{P50: 2.5}}}}
	r.further = append(r.further, x.section())
	for _, want := range []string{"4000 octets", "messages_20260831", "took 1.5 s", "in 70 looks", "| the newest 50 | 1.0 |"} {
		if got := r.markdown(); !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

func TestStoredOptions(t *testing.T) {
	plain, err := readOptions(nil, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	none := plain.messages()
	if _, err := readOptions([]string{"--stored", "10000000"}, io.Discard); err != nil {
		t.Fatal(err)
	}
	if n := plain.messages() - none; n != 2*storedFlood+1000 {
		t.Errorf("%d messages of its own", n)
	}
	if _, err := readOptions(nil, io.Discard); err != nil || plain.messages() != none {
		t.Errorf("messages of its own when it was not asked for, %v", err)
	}
	if _, _, err := (&storedBench{-1}).run(t.Context(), nil); err == nil {
		t.Error("less than nothing is stored")
	}
	if s, kept, err := (&storedBench{}).run(t.Context(), nil); err != nil || kept != nil || len(s.table) != 0 {
		t.Error("it measured unasked")
	}
}
