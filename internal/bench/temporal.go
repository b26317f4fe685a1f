package main

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
)

// temporalStats is part of what temporald tells of itself: how often it wrote a
// workflow's state, which is what a message costs on it.
type temporalStats struct {
	ExecutionWrites int64 `json:"execution_writes"`
}

// temporalCounter finds temporald's counters by the ready file that
// `postrider dev` lets it write; empty: the server is not ours.
func temporalCounter(dir string) string {
	body, err := os.ReadFile(filepath.Join(dir, "log", "temporald.ready"))
	if err != nil {
		return ""
	}
	var ready struct {
		Stats string `json:"stats"`
	}
	if err := json.Unmarshal(body, &ready); err != nil || ready.Stats == "" {
		return ""
	}
	return ready.Stats + "/stats"
}

// temporalWrites reads the counter; false: there is none.
func temporalWrites(ctx context.Context, counter string) (int64, bool) {
	if counter == "" {
		return 0, false
	}
	var s temporalStats
	if err := callJSON(ctx, http.MethodGet, counter, nil, &s); err != nil {
		return 0, false
	}
	return s.ExecutionWrites, true
}
