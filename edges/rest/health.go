package rest

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
)

// Check is what was found out about one thing that the process needs.
type Check struct {
	Err      error // nil: it is well
	Advisory bool  // shown, but the process is ready all the same (Temporal: messages wait)
}

var errNoSnapshot = errors.New("no configuration is loaded")

// HealthHandler answers /healthz, /health and /readyz, for the metrics port of
// processes that have no REST edge. ready may be nil.
func HealthHandler(ready func(context.Context) map[string]Check, log *slog.Logger) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", alive)
	mux.HandleFunc("GET /health", alive)
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		var checks map[string]Check
		if ready != nil {
			checks = ready(r.Context())
		}
		answerReady(w, r, checks, log)
	})
	return mux
}

// alive asks nothing of anybody: it says that the process runs.
func alive(w http.ResponseWriter, r *http.Request) {
	writeJSON(w, r, http.StatusOK, jsonType, map[string]string{"status": "ok"})
}

func (s *Server) ready(w http.ResponseWriter, r *http.Request) {
	checks := map[string]Check{}
	if s.Ready != nil {
		for name, c := range s.Ready(r.Context()) {
			checks[name] = c
		}
	}
	checks["shutdown"] = Check{}
	if s.draining.Load() {
		checks["shutdown"] = Check{Err: http.ErrServerClosed}
	}
	if s.Snapshot() == nil {
		checks["configuration"] = Check{Err: errNoSnapshot}
	}
	answerReady(w, r, checks, s.log)
}

// answerReady says what is wrong, not why: an error may name hosts and users,
// and belongs in the log.
func answerReady(w http.ResponseWriter, r *http.Request, checks map[string]Check, log *slog.Logger) {
	status, word := http.StatusOK, "ready"
	shown := make(map[string]string, len(checks))
	for name, c := range checks {
		switch {
		case c.Err == nil:
			shown[name] = "ok"
			continue
		case c.Advisory:
			shown[name] = "degraded"
		default:
			shown[name] = "failing"
			status, word = http.StatusServiceUnavailable, "not_ready"
		}
		log.Info("readiness check", "check", name, "result", shown[name], "error", c.Err)
	}
	if status != http.StatusOK {
		w.Header().Set("Retry-After", seconds(retryLater))
	}
	w.Header().Set("Cache-Control", "no-store")
	writeJSON(w, r, status, jsonType, map[string]any{"status": word, "checks": shown})
}
