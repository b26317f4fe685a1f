package main

import (
	"context"
	"io"
	"testing"
	"time"

	"go.temporal.io/sdk/client"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/stack/stacktest"
)

// Bare workflows end, and cost the writes that they are told to: the floor is no
// floor when they start the slow way.
func TestFloor(t *testing.T) {
	server := stacktest.Temporal(t)
	c, err := client.Dial(client.Options{HostPort: server.Address(), Namespace: server.Namespace()})
	if err != nil {
		t.Fatal(err)
	}
	r := &runner{records: newRecords(0, message.NewID().String()), meter: meter{proc: t.TempDir()}, counter: server.Stats() + "/stats", patience: time.Minute, out: io.Discard}
	f := &floor{plan: &plan{runner: r, report: &report{}}, client: c}
	defer f.close()
	if err := f.round(t.Context(), 40); err != nil {
		t.Fatal(err)
	}
	if len(f.report.Floor) != 2 {
		t.Fatalf("%+v", f.report.Floor)
	}
	for _, x := range f.report.Floor {
		// An eager start and one completed task; a task that times out on a busy
		// machine costs a few more, and ordinary starts cost one each.
		if x.Count != 40 || x.Rate <= 0 || x.Started <= 0 || x.Writes < 2 || x.Writes > 2.9 {
			t.Errorf("%+v", x)
		}
	}
	if f.report.floorRate(shapeBare) != f.report.Floor[0].Rate || f.report.floorRate(shapeOurs) != f.report.Floor[1].Rate {
		t.Errorf("%+v", f.report.Floor)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.run(ctx, shapeBare, 10); err == nil {
		t.Error("a run that was cut off has ended")
	}
}
