package main

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"go.temporal.io/server/common/metrics"
)

// executionWrites are the persistence operations that write a workflow's state: each is two
// transactions on SQL, and their number is a message's cost. Writes
// that happen once per queue or shard, and the deletions of retention, are not a message's.
var executionWrites = []string{
	metrics.PersistenceCreateWorkflowExecutionScope,
	metrics.PersistenceUpdateWorkflowExecutionScope,
	metrics.PersistenceSetWorkflowExecutionScope,
	metrics.PersistenceConflictResolveWorkflowExecutionScope,
}

// stats is the body of GET /stats. The counters start with the process; a test reads twice and
// subtracts. NamespacePersistenceRequests, ExecutionWrites and StateTransitions count the served
// namespace only, the rest also the server's own workflows.
type stats struct {
	Namespace                    string           `json:"namespace"`
	ExecutionWrites              int64            `json:"execution_writes"`
	StateTransitions             int64            `json:"state_transitions"`
	WorkflowEagerExecution       int64            `json:"workflow_eager_execution"`
	WorkflowEagerExecutionDenied int64            `json:"workflow_eager_execution_denied"`
	ActivityEagerExecution       int64            `json:"activity_eager_execution"`
	NamespacePersistenceRequests map[string]int64 `json:"namespace_persistence_requests"`
	PersistenceRequests          map[string]int64 `json:"persistence_requests"`
	PersistenceErrors            map[string]int64 `json:"persistence_errors"`
	VisibilityRequests           map[string]int64 `json:"visibility_persistence_requests"`
	ServiceRequests              map[string]int64 `json:"service_requests"`
}

func (c *counters) stats() stats {
	own := byLabel(&c.own, metrics.PersistenceRequests.Name())
	s := stats{
		Namespace:                    c.namespace,
		StateTransitions:             sum(byLabel(&c.own, metrics.StateTransitionCount.Name())),
		WorkflowEagerExecution:       sum(byLabel(&c.all, metrics.WorkflowEagerExecutionCounter.Name())),
		WorkflowEagerExecutionDenied: sum(byLabel(&c.all, metrics.WorkflowEagerExecutionDeniedCounter.Name())),
		ActivityEagerExecution:       sum(byLabel(&c.all, metrics.ActivityEagerExecutionCounter.Name())),
		NamespacePersistenceRequests: own,
		PersistenceRequests:          byLabel(&c.all, metrics.PersistenceRequests.Name()),
		PersistenceErrors:            byLabel(&c.all, metrics.PersistenceFailures.Name()),
		VisibilityRequests:           byLabel(&c.all, metrics.VisibilityPersistenceRequests.Name()),
		ServiceRequests:              byLabel(&c.all, metrics.ServiceRequests.Name()),
	}
	for _, operation := range executionWrites {
		s.ExecutionWrites += own[operation]
	}
	return s
}

// everything lists all counters by name, then by operation, for a look at what /stats leaves out.
func (c *counters) everything() map[string]map[string]int64 {
	values := map[string]map[string]int64{}
	c.all.Range(func(key, _ any) bool {
		if name := key.(series).name; values[name] == nil {
			values[name] = byLabel(&c.all, name)
		}
		return true
	})
	return values
}

// statsServer answers GET /stats, /counters and /healthz. It listens before the server starts, so that
// /healthz can say 503 until the ready line is out, and again once a stop began.
type statsServer struct {
	ready  atomic.Bool
	server http.Server
	addr   string // as bound, so that port 0 can be used
}

func startStats(addr string, c *counters) (*statsServer, error) {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	s := &statsServer{addr: listener.Addr().String()}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /stats", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, c.stats())
	})
	mux.HandleFunc("GET /counters", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, c.everything())
	})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if !s.ready.Load() {
			http.Error(w, "not ready", http.StatusServiceUnavailable)
		}
	})
	s.server = http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = s.server.Serve(listener) }() // returns when stop closes the server
	return s, nil
}

func writeJSON(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(value) // fails only when the reader has gone
}

func (s *statsServer) stop(ctx context.Context) error { return s.server.Shutdown(ctx) }
