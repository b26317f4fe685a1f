package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/postrider/postrider/internal/stack/stacktest"
)

// shortSeed is what the short form draws from: the same each time, so that a run that
// failed is run again.
const shortSeed = 1

// TestDurabilityContract is the short form of the suite.
func TestDurabilityContract(t *testing.T) {
	dir := stacktest.Folder(t)
	o := options{Short: true, Seed: shortSeed, Load: LoadOptions{RESTPerSecond: 10, SMPPPerSecond: 10}}
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
