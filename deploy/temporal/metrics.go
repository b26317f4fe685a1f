package main

import (
	"sync"
	"sync/atomic"
	"time"

	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/metrics"
)

// maxSeries bounds the memory of counters whatever the server invents as an operation; its own
// names make some hundreds of series. What comes beyond is counted under overflowLabel.
const (
	maxSeries     = 4096
	overflowLabel = "_other"
)

// Keys of the server's tags; its package exports only the third, metrics.OperationTagName.
const (
	namespaceTag = "namespace"
	serviceTag   = "service_name"
)

// series is one counter: a metric name and what it is broken down by, the operation.
type series struct{ name, label string }

// counters is the process's only metrics store: totals by name and operation, and beside them the
// same restricted to the served namespace, without the server's own system workflows. That second
// set is what a test of the writes per message reads.
type counters struct {
	namespace string
	all, own  sync.Map // series → *atomic.Int64
	size      atomic.Int64
}

func (c *counters) add(set *sync.Map, s series, n int64) {
	value, ok := set.Load(s)
	if !ok {
		if c.size.Load() >= maxSeries {
			s.label = overflowLabel
		}
		var loaded bool
		if value, loaded = set.LoadOrStore(s, new(atomic.Int64)); !loaded {
			c.size.Add(1)
		}
	}
	value.(*atomic.Int64).Add(n)
}

// byLabel returns the counters of one metric.
func byLabel(set *sync.Map, name string) map[string]int64 {
	values := map[string]int64{}
	set.Range(func(key, value any) bool {
		if s := key.(series); s.name == name {
			values[s.label] = value.(*atomic.Int64).Load()
		}
		return true
	})
	return values
}

func sum(values map[string]int64) (total int64) {
	for _, value := range values {
		total += value
	}
	return total
}

// metricsHandler implements metrics.Handler. It keeps the three tags that matter and drops the rest,
// so task queues, workflow types and error texts never become labels. It is a small value, copied
// when tags change, because the server makes one for nearly every call.
type metricsHandler struct {
	counters                      *counters
	namespace, operation, service string
}

var _ metrics.BatchHandler = metricsHandler{}

func (h metricsHandler) WithTags(tags ...metrics.Tag) metrics.Handler { return h.tagged(tags) }

func (h metricsHandler) tagged(tags []metrics.Tag) metricsHandler {
	for _, tag := range tags {
		switch tag.Key {
		case namespaceTag:
			h.namespace = tag.Value
		case metrics.OperationTagName:
			h.operation = tag.Value
		case serviceTag:
			h.service = tag.Value
		}
	}
	return h
}

func (h metricsHandler) record(name string, n int64, tags []metrics.Tag) {
	h = h.tagged(tags)
	s := series{name, h.operation}
	if name == metrics.ServiceRequests.Name() {
		s.label = h.service + "/" + h.operation // every role has operations of the same names
	}
	h.counters.add(&h.counters.all, s, n)
	if h.namespace == h.counters.namespace {
		h.counters.add(&h.counters.own, s, n)
	}
}

func (h metricsHandler) Counter(name string) metrics.CounterIface {
	return metrics.CounterFunc(func(n int64, tags ...metrics.Tag) { h.record(name, n, tags) })
}

// Histogram counts the recordings of state_transition_count: each is one committed transition, and
// its value only the workflow's running total. Other distributions are not kept.
func (h metricsHandler) Histogram(name string, _ metrics.MetricUnit) metrics.HistogramIface {
	if name != metrics.StateTransitionCount.Name() {
		return metrics.NoopHistogramMetricFunc
	}
	return metrics.HistogramFunc(func(_ int64, tags ...metrics.Tag) { h.record(name, 1, tags) })
}

func (h metricsHandler) Gauge(string) metrics.GaugeIface {
	return metrics.GaugeFunc(func(float64, ...metrics.Tag) {})
}

func (h metricsHandler) Timer(string) metrics.TimerIface {
	return metrics.TimerFunc(func(time.Duration, ...metrics.Tag) {})
}

func (h metricsHandler) StartBatch(string) metrics.BatchHandler { return h }
func (h metricsHandler) Stop(log.Logger)                        {}
func (h metricsHandler) Close() error                           { return nil }
