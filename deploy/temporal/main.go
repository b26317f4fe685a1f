// Command temporald is a whole Temporal for one node: the four server roles and the Web UI in one
// process, on Postgres (or on SQLite in memory for quick tests), with the schemas, the namespace,
// the search attributes and the settings that Postrider's cost and throughput figures rest on.
//
// It exists because the official CLI cannot be built as a module dependency, and because the
// server's defaults (4 partitions a queue, 1,200 matching calls a second, 74 visibility indexes)
// are made for clusters of many hosts and tenants. Production clusters use the official images.
//
// The rule for changes: nothing here may be needed by the product. Postrider talks to any Temporal
// through the SDK; what temporald adds is a good one to talk to.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	uiversion "github.com/temporalio/ui-server/v2/server/version"
	sdktemporal "go.temporal.io/sdk/temporal"
	"go.temporal.io/server/common/headers"
)

// version is set by the linker: -ldflags "-X main.version=…".
var version = "dev"

// gcPercent trades memory for CPU. With Go's default of 100 and a heap this small, over a tenth of
// the server's CPU went into marking; 400 was worth 10–20 % of throughput.
const gcPercent = 400

// memoryLimit, in octets, is where collecting garbage becomes more frequent instead of the heap larger.
// What lives stays below a third of it (the history cache is bounded), so the limit is never a strain.
const memoryLimit = 1 << 30

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run is main without the process: it returns the exit code, 0 after a requested stop, 1 for a
// failure, 2 for a mistake in the arguments.
func run(args []string, stdout, stderr io.Writer) int {
	opts, err := parseOptions(args, os.LookupEnv, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintln(stderr, "temporald:", err)
		return 2
	case opts.Version:
		fmt.Fprintf(stdout, "temporald %s (server %s, ui %s, sdk %s)\n",
			version, headers.ServerVersion, uiversion.UIVersion, sdktemporal.SDKVersion)
		return 0
	}
	if _, set := os.LookupEnv("GOGC"); !set {
		debug.SetGCPercent(gcPercent)
	}
	if _, set := os.LookupEnv("GOMEMLIMIT"); !set {
		debug.SetMemoryLimit(memoryLimit)
	}

	logger := newLogger(opts.LogLevel, opts.LogFormat)
	ctx := stopContext(stderr)
	d := &daemon{opts: opts, logger: logger, stdout: stdout}
	err = d.start(ctx)
	if err == nil {
		<-ctx.Done()
	} else if ctx.Err() != nil {
		err = nil // asked to stop while starting: whatever failed then, failed for that
	}
	err = errors.Join(err, d.stop())
	if err != nil {
		fmt.Fprintln(stderr, "temporald:", err)
		return 1
	}
	return 0
}

// stopContext ends with the first SIGTERM or SIGINT. The second one exits at once: whoever sends it
// has stopped waiting, and everything that matters is in Postgres.
func stopContext(stderr io.Writer) context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-signals
		cancel()
		<-signals
		fmt.Fprintln(stderr, "temporald: second signal, exiting without waiting")
		os.Exit(1)
	}()
	return ctx
}
