package main

import (
	"fmt"
	"sync"
	"testing"

	"go.temporal.io/server/common/metrics"
)

func TestCountersKeepTheServedNamespaceApart(t *testing.T) {
	c := &counters{namespace: "postrider"}
	root := metrics.Handler(metricsHandler{counters: c})
	write := func(namespace, operation string) {
		h := root.WithTags(metrics.ServiceNameTag("history"), metrics.NamespaceTag(namespace))
		metrics.PersistenceRequests.With(h.WithTags(metrics.OperationTag(operation))).Record(1)
	}
	var group sync.WaitGroup
	for range 50 {
		group.Go(func() {
			write("postrider", "CreateWorkflowExecution")
			write("postrider", "UpdateWorkflowExecution")
			write("postrider", "GetWorkflowExecution")
			write("temporal-system", "UpdateWorkflowExecution")
			h := root.WithTags(metrics.ServiceNameTag("frontend"))
			metrics.ServiceRequests.With(h).Record(1, metrics.OperationTag("StartWorkflowExecution"))
			metrics.StateTransitionCount.With(h).Record(17, metrics.NamespaceTag("postrider"))
		})
	}
	group.Wait()
	s := c.stats()
	if s.ExecutionWrites != 100 || s.StateTransitions != 50 ||
		s.PersistenceRequests["UpdateWorkflowExecution"] != 100 ||
		s.NamespacePersistenceRequests["UpdateWorkflowExecution"] != 50 ||
		s.ServiceRequests["frontend/StartWorkflowExecution"] != 50 {
		t.Errorf("%+v", s)
	}
}

func TestCountersAreBounded(t *testing.T) {
	c := &counters{}
	h := metricsHandler{counters: c}
	for i := range 2 * maxSeries {
		h.Counter("x").Record(1, metrics.OperationTag(fmt.Sprint(i)))
	}
	values := byLabel(&c.all, "x")
	if sum(values) != 2*maxSeries || len(values) > maxSeries+1 || values[overflowLabel] == 0 {
		t.Errorf("%d series, %d in all, %d beyond", len(values), sum(values), values[overflowLabel])
	}
}
