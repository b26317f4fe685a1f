// Command smscsim is an SMSC to talk to: it takes binds and submits, answers as
// a carrier's SMSC does or as badly as it is told to, sends receipts and inbound
// messages, and counts what it was given, so that loss and doubling can be
// proved. `smscsim --help` explains every flag.
//
// It holds everything in memory. Its HTTP side shows texts and whole numbers and
// has no authentication: it is for tests, and listens on the loopback unless
// told otherwise. Its log shows neither.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "smscsim:", err)
		os.Exit(1)
	}
}

// run serves until SIGTERM or SIGINT; a second one ends the process at once.
func run(args []string) error {
	o, err := readOptions(args, os.Environ(), os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	context.AfterFunc(ctx, stop)
	return serve(ctx, o)
}

// serve runs the simulator until ctx ends, then unbinds its peers.
func serve(ctx context.Context, o options) error {
	if o.ReadyFile != "" {
		_ = os.Remove(o.ReadyFile) // of one that was killed
	}
	sim, err := start(o)
	if err != nil {
		return err
	}
	if o.ReadyFile != "" {
		if err := sim.ready().write(o.ReadyFile); err != nil {
			sim.stop()
			return err
		}
		defer func() { _ = os.Remove(o.ReadyFile) }()
	}
	sim.log.Info("smscsim is ready", "smpp", sim.ready().SMPP, "http", sim.ready().HTTP)
	select {
	case <-ctx.Done():
	case err = <-sim.failed:
	}
	sim.stop()
	return err
}
