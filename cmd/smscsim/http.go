package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

const (
	defaultRows = 1000
	maxRows     = 100_000
	maxBody     = 1 << 20
	httpTimeout = 30 * time.Second
)

func newHTTPServer(s *simulator) *http.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	mux.HandleFunc("GET /stats", func(w http.ResponseWriter, _ *http.Request) {
		show(w, http.StatusOK, s.stats.view(s.ledger.counts(), time.Now()))
	})
	mux.HandleFunc("GET /destinations", s.getDestinations)
	mux.HandleFunc("GET /messages", s.getMessages)
	mux.HandleFunc("GET /config", func(w http.ResponseWriter, _ *http.Request) { show(w, http.StatusOK, s.config.Load()) })
	mux.HandleFunc("PUT /config", s.putConfig)
	mux.HandleFunc("POST /mo", s.postInbound)
	mux.HandleFunc("POST /reset", func(w http.ResponseWriter, _ *http.Request) {
		s.reset()
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("POST /disconnect", func(w http.ResponseWriter, r *http.Request) {
		show(w, http.StatusOK, map[string]int{"closed": s.disconnect(r.URL.Query().Get("system_id"))})
	})
	return &http.Server{
		Handler: mux, ReadHeaderTimeout: httpTimeout, ReadTimeout: httpTimeout,
		WriteTimeout: 2 * httpTimeout, IdleTimeout: 2 * httpTimeout,
	}
}

func (s *simulator) serveHTTP() {
	if err := s.http.Serve(s.httpListener); !errors.Is(err, http.ErrServerClosed) {
		s.ended(fmt.Errorf("http listener: %w", err))
	}
}

func show(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

func refuse(w http.ResponseWriter, status int, err error) {
	show(w, status, map[string]string{"error": err.Error()})
}

// getDestinations lists rows after ?since=, which is a row's number, or those
// submitted to since a time (RFC 3339). X-Next-Since is the number to go on
// with.
func (s *simulator) getDestinations(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	after, since, limit := 0, time.Time{}, defaultRows
	var err error
	if v := q.Get("since"); v != "" {
		if after, err = strconv.Atoi(v); err != nil {
			after = 0
			if since, err = time.Parse(time.RFC3339Nano, v); err != nil {
				refuse(w, http.StatusBadRequest, fmt.Errorf("since is %q; want a row's number or an RFC 3339 time", v))
				return
			}
		}
	}
	if v := q.Get("limit"); v != "" {
		if limit, err = strconv.Atoi(v); err != nil || limit < 1 || limit > maxRows {
			refuse(w, http.StatusBadRequest, fmt.Errorf("limit is %q; want 1 to %d", v, maxRows))
			return
		}
	}
	rows := s.ledger.list(after, since, limit)
	if len(rows) > 0 {
		after = rows[len(rows)-1].Number
	}
	w.Header().Set("X-Next-Since", strconv.Itoa(after))
	show(w, http.StatusOK, rows)
}

func (s *simulator) getMessages(w http.ResponseWriter, r *http.Request) {
	destination := r.URL.Query().Get("destination")
	if destination == "" {
		refuse(w, http.StatusBadRequest, errors.New("destination is missing"))
		return
	}
	show(w, http.StatusOK, s.ledger.shown(destination))
}

func (s *simulator) putConfig(w http.ResponseWriter, r *http.Request) {
	c, err := s.configure(func(c config) (config, error) { return c.with(http.MaxBytesReader(w, r.Body, maxBody)) })
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	show(w, http.StatusOK, c)
}

func (s *simulator) postInbound(w http.ResponseWriter, r *http.Request) {
	var in inbound
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&in); err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	q, err := s.inject(in)
	switch {
	case errors.Is(err, errNoAccount), errors.Is(err, errNoAddress):
		refuse(w, http.StatusConflict, err)
	case errors.Is(err, errTooMuch):
		refuse(w, http.StatusServiceUnavailable, err)
	case err != nil:
		refuse(w, http.StatusBadRequest, err)
	default:
		show(w, http.StatusAccepted, q)
	}
}
