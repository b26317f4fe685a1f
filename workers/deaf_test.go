package workers_test

import (
	"go.temporal.io/sdk/workflow"

	"github.com/postrider/postrider/workflows"
)

// deaf knows no update, and ends with the signal.
func deaf(ctx workflow.Context) error {
	workflow.GetSignalChannel(ctx, workflows.SignalDecided).Receive(ctx, nil)
	return nil
}

// quiet drops the log.
type quiet struct{}

func (quiet) Debug(string, ...any) {}
func (quiet) Info(string, ...any)  {}
func (quiet) Warn(string, ...any)  {}
func (quiet) Error(string, ...any) {}
