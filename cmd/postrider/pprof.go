package main

import (
	"net"
	"net/http"
	"net/http/pprof"
	"strconv"
	"time"
)

// pprofHost is the only address on which profiles are served: they show memory, and
// taking one costs CPU.
const pprofHost = "127.0.0.1"

// profiles serves the Go runtime's profiles (/debug/pprof/) to this machine. It has a
// listener of its own, since the one for metrics may be reached from elsewhere.
type profiles struct{ server *http.Server }

// newProfiles is nil for port 0.
func newProfiles(port int) *profiles {
	if port == 0 {
		return nil
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	// No write timeout: a profile is as long in coming as its reader asks for.
	return &profiles{server: &http.Server{Addr: net.JoinHostPort(pprofHost, strconv.Itoa(port)), Handler: mux, ReadHeaderTimeout: 5 * time.Second}}
}

// start begins to serve under g's watch.
func (p *profiles) start(g *Gateway) error {
	if p == nil {
		return nil
	}
	l, err := net.Listen("tcp", p.server.Addr)
	if err != nil {
		return err
	}
	g.serve("profiles", func() error { return p.server.Serve(l) })
	return nil
}

// stop cuts off whoever still reads a profile.
func (p *profiles) stop() {
	if p != nil {
		_ = p.server.Close()
	}
}
