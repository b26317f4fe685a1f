package main

import (
	"net"
	"net/http"
	"net/http/pprof"
	"strconv"
	"time"
)

// startProfiles serves the Go runtime's profiles under /debug/pprof/ to this machine alone: they show
// memory, and taking one costs CPU. The server's own way to do so, Global.PProf, listens until the
// process ends and only logs that it could not.
func startProfiles(port int) (*http.Server, error) {
	listener, err := net.Listen("tcp", net.JoinHostPort(loopback, strconv.Itoa(port)))
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	// No write timeout: a profile is as long in coming as its reader asks for.
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = server.Serve(listener) }() // returns when the daemon's stop closes the server
	return server, nil
}
