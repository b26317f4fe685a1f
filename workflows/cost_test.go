package workflows_test

import (
	"os"
	"testing"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/postrider/postrider/workflows"
)

// BenchmarkReplay is what the workflow's own code costs of the most usual life, with
// the SDK's share: no network, no steps.
func BenchmarkReplay(b *testing.B) {
	file, err := os.Open("testdata/histories/straight-delivered-at-once.json")
	if err != nil {
		b.Fatal(err)
	}
	defer file.Close()
	history, err := client.HistoryFromJSON(file, client.HistoryJSONOptions{})
	if err != nil {
		b.Fatal(err)
	}
	replayer := worker.NewWorkflowReplayer()
	replayer.RegisterWorkflowWithOptions(workflows.Outbound, workflow.RegisterOptions{Name: workflows.OutboundType})
	b.ReportAllocs()
	for b.Loop() {
		if err := replayer.ReplayWorkflowHistory(quiet{}, history); err != nil {
			b.Fatal(err)
		}
	}
}
