package main

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/postrider/postrider/edges/rest"
)

// readiness is whether the process wants traffic.
type readiness struct {
	once  sync.Once
	fails chan error
	mu    sync.Mutex
	state string // starting, up, stopping
}

func (r *readiness) init() { r.once.Do(func() { r.fails = make(chan error, 1) }) }

func (r *readiness) up()   { r.set("up") }
func (r *readiness) down() { r.set("stopping") }

func (r *readiness) set(s string) {
	r.mu.Lock()
	r.state = s
	r.mu.Unlock()
}

func (r *readiness) get() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state
}

func (r *readiness) failed() <-chan error {
	r.init()
	return r.fails
}

// fail reports that a part has ended by itself; the first report ends the
// process.
func (r *readiness) fail(err error) {
	r.init()
	select {
	case r.fails <- err:
	default:
	}
}

var errNotUp = errors.New("starting or shutting down")

// checks asks what the process depends on. Temporal is shown but does not
// count: while it is away messages wait. Nor does a configuration that cannot be
// read as it is now: the last one stays in force, on every process alike.
func (g *Gateway) checks(ctx context.Context) map[string]rest.Check {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	out := map[string]rest.Check{"journal": {Err: g.db.Ping(ctx)}}
	_, err := g.temporal.CheckHealth(ctx, nil)
	out["temporal"] = rest.Check{Err: err, Advisory: true}
	if g.config.Current() == nil {
		out["configuration"] = rest.Check{Err: errors.New("no configuration is loaded")}
	} else {
		out["configuration"] = rest.Check{Err: g.config.Failing(), Advisory: true}
	}
	// Away from its table, the set keeps what it has: messages are decided by that.
	out["opt_outs"] = rest.Check{Err: g.optOuts.Behind(), Advisory: true}
	if g.tools != nil { // what is missing is refused by name, and the rest goes on
		out["media_tools"] = rest.Check{Err: lacking(g.tools.Missing), Advisory: true}
		out["media_isolation"] = rest.Check{Err: unless(g.tools.Isolated, errNotIsolated), Advisory: true}
	}
	var state error
	if g.ready.get() != "up" {
		state = errNotUp
	}
	out["listeners"] = rest.Check{Err: state}
	return out
}

var errNotIsolated = errors.New("programs that read customers' files have the network: this system lets nobody take it from them")

func lacking(tools []string) error {
	return unless(len(tools) == 0, errors.New(strings.Join(tools, "; ")))
}

func unless(well bool, err error) error {
	if well {
		return nil
	}
	return err
}

// checkTimeout bounds one look at everything.
const checkTimeout = 2 * time.Second

// opsServer serves metrics and health on the port that is not public.
type opsServer struct {
	g      *Gateway
	server *http.Server
}

func newOpsServer(g *Gateway) *opsServer {
	mux := http.NewServeMux()
	o := &opsServer{g: g, server: &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: time.Minute}}
	mux.Handle("GET /metrics", g.metrics.Handler())
	mux.Handle("/", rest.HealthHandler(g.checks, g.Log))
	return o
}

func (o *opsServer) start() error {
	l, err := listen(o.g.Config.MetricsHost, o.g.Config.MetricsPort)
	if err != nil {
		return err
	}
	o.g.serve("metrics server", func() error { return o.server.Serve(l) })
	return nil
}

func (o *opsServer) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if err := o.server.Shutdown(ctx); err != nil && !errors.Is(err, http.ErrServerClosed) {
		_ = o.server.Close()
	}
}
