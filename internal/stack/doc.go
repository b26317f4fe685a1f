// Package stack starts the real parts that Postrider runs on: a private Postgres, the embedded
// Temporal server, and programs built from this repository. `postrider dev`, the tests and the
// bench use it; a production start does not, there the parts are somebody else's.
//
// Everything started here belongs to the caller: it runs in a process group of its own, so a Ctrl-C
// in the terminal reaches only the caller, who stops the parts in the right order; and on Linux it is
// told to stop by the kernel when the caller dies in any other way.
//
//	pg, err := stack.StartPostgres(ctx, stack.PostgresConfig{Dir: ".run/postgres", Log: os.Stdout})
//	temporald, err := stack.BuildTemporald(ctx, root, os.Stdout)
//	temporal, err := stack.StartTemporal(ctx, stack.TemporalConfig{
//		Binary: temporald, Dir: ".run/temporal", Postgres: pg.Server(),
//	})
//
// The rule for changes: the package imports nothing else of this repository, and nothing it starts
// listens on anything but the loopback interface.
package stack

import (
	"os"
	"path/filepath"
	"strconv"
)

// cacheDir holds what outlives a checkout: built servers and the claims on ports. Deleting it costs
// time and nothing else.
func cacheDir() string {
	base, err := os.UserCacheDir()
	if err != nil { // no HOME, as in some service managers
		return filepath.Join(os.TempDir(), "postrider-"+strconv.Itoa(os.Getuid()))
	}
	return filepath.Join(base, "postrider")
}
