package main

import (
	"context"
	"flag"
)

// extra is a measurement that a file of its own brings along: it adds itself to
// extras in an init.
type extra interface {
	flags(*flag.FlagSet)
	// messages is how many records it needs; 0 unless it was asked for.
	messages() int
	// run measures after the default phases and before the long ones, when it was
	// asked for, and gives what the report shows and keeps: a section without a
	// table is left out, and so is a nil value.
	run(ctx context.Context, r *runner) (section, any, error)
}

var extras []extra
