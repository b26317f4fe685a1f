package main

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/postrider/postrider/internal/stack/stacktest"
)

// shortSeed is what the short form draws from: the same each time, so that a run that
// failed is run again.
const shortSeed = 1

// testedEvents are those of the short form for which a test run has the time: one of each
// kind. `go run ./internal/chaos --short` has them all.
var testedEvents = regexp.MustCompile("^(kill -9 (messages-1|vendors-1|postgres)|rolling restart of two replicas|temporal stopped for 5 s|" +
	"a wire half open, drawn by the seed|the customer's endpoint answers 503 for 4 s|ESMEs die mid-window)$")

// TestDurabilityContract is a part of the short form of the suite.
func TestDurabilityContract(t *testing.T) {
	dir := stacktest.Folder(t)
	o := options{Short: true, Only: testedEvents, Seed: shortSeed, Load: LoadOptions{RESTPerSecond: 10, SMPPPerSecond: 10}}
	if chosen, leftOut := choose(Events, o); len(chosen) != 8 || len(leftOut) > 0 {
		t.Fatalf("%d events are tested, and left out are %v", len(chosen), leftOut)
	}
	report, err := runSuite(t.Context(), dir, o, t.Logf)
	if err != nil {
		t.Error(err)
	}
	report.Setting = describe(t.Context(), o, []string{"--short"})
	t.Logf("\n%s", report.markdown())
	if err := report.verdict(); err != nil {
		t.Error(err)
	}
	if !t.Failed() {
		return
	}
	logs, err := filepath.Glob(filepath.Join(dir, "*.log"))
	if err != nil {
		t.Error(err)
	}
	for _, log := range logs {
		body, err := os.ReadFile(log)
		if err != nil {
			t.Error(err)
		}
		t.Logf("%s ends:\n%s", filepath.Base(log), body[max(0, len(body)-tailOfLog):])
	}
}

// tailOfLog is how much of each log a failed run shows.
const tailOfLog = 4 << 10
