package workflows_test

import (
	"path/filepath"
	"strings"
	"testing"

	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/postrider/postrider/workflows"
)

// TestReplay is the gate for a change of the workflow's steps: messages that
// are under way must go on with the new code. A history that no longer replays
// says that the change belongs behind workflow.GetVersion; the histories are
// made anew (go test ./workflows -run TestHistories -update) only when no
// message that was started by the old code can be open.
func TestReplay(t *testing.T) {
	replayer := worker.NewWorkflowReplayer()
	replayer.RegisterWorkflowWithOptions(workflows.Outbound, workflow.RegisterOptions{Name: workflows.OutboundType})
	for _, file := range stored(t) {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
			if err := replayer.ReplayWorkflowHistoryFromJSONFile(quiet{}, file); err != nil {
				t.Error(err)
			}
		})
	}
}

// The gate closes: a step that comes earlier than it did is refused by every
// history.
func TestReplayRefusesAReorderedStep(t *testing.T) {
	replayer := worker.NewWorkflowReplayer()
	replayer.RegisterWorkflowWithOptions(func(ctx workflow.Context, in workflows.OutboundInput) (workflows.OutboundResult, error) {
		if err := workflow.UpsertTypedSearchAttributes(ctx, workflows.AttrOutcome.ValueSet("early")); err != nil {
			return workflows.OutboundResult{}, err
		}
		return workflows.Outbound(ctx, in)
	}, workflow.RegisterOptions{Name: workflows.OutboundType})
	for _, file := range stored(t) {
		if err := replayer.ReplayWorkflowHistoryFromJSONFile(quiet{}, file); err == nil {
			t.Errorf("%s replays", filepath.Base(file))
		}
	}
}

func stored(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/histories/*.json")
	if err != nil {
		t.Fatal(err)
	}
	if want := len(allPaths()); len(files) != want {
		t.Fatalf("%d histories, and %d ways through the workflow", len(files), want)
	}
	return files
}
