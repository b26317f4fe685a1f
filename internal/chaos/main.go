// Chaos proves the durability contract of the README: it starts a whole Postrider with
// everything around it, keeps messages coming over REST and SMPP, breaks one part after
// the other, then several at random, and judges what became of every message. `make
// chaos` runs it; docs/durability.md has the table and says how to read it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"syscall"
	"time"
)

// options say what is done to the world.
type options struct {
	For      time.Duration // at random
	Seed     uint64
	Only     *regexp.Regexp // of the events one at a time; nil: all
	Short    bool
	List     bool
	Dir      string
	Keep     bool
	Markdown string
	JSON     string
	Load     LoadOptions
}

func readOptions(args []string, help io.Writer) (options, error) {
	o := options{}
	fs := flag.NewFlagSet("chaos", flag.ContinueOnError)
	fs.SetOutput(help)
	fs.DurationVar(&o.For, "for", 20*time.Minute, "how long events come at random, after each came once by itself; 0: not")
	fs.Uint64Var(&o.Seed, "seed", 0, "of everything that is drawn; 0: a new one, which the report names")
	fs.Func("only", "`expression`: the events, one at a time, whose names match it; nothing comes at random then, unless --for is given", func(s string) error {
		var err error
		o.Only, err = regexp.Compile(s)
		return err
	})
	fs.BoolVar(&o.Short, "short", false, "the short form: the short events, one at a time; the tests run some of them")
	fs.BoolVar(&o.List, "list", false, "name the events and end")
	fs.IntVar(&o.Load.RESTPerSecond, "rest", defaultREST, "messages a second over REST, 1 to 1000")
	fs.IntVar(&o.Load.SMPPPerSecond, "smpp", defaultSMPP, "messages a second over SMPP, 1 to 1000")
	fs.IntVar(&o.Load.MMSPerSecond, "mms", defaultMMS, "MMS a second over REST, between numbers of ours, 1 to 20")
	fs.StringVar(&o.Dir, "dir", filepath.Join(".run", "chaos"), "folder of the world's state and logs")
	fs.BoolVar(&o.Keep, "keep", false, "do not remove that folder at the end; after a fault it stays in any case")
	fs.StringVar(&o.Markdown, "markdown", "", "write the table to this `file`: between its marks when it has them")
	fs.StringVar(&o.JSON, "json", "", "write the report to this `file`")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	if fs.NArg() > 0 {
		return o, fmt.Errorf("%q is no flag", fs.Arg(0))
	}
	if o.For < 0 {
		return o, errors.New("--for is negative")
	}
	if o.Load.RESTPerSecond < 1 || o.Load.RESTPerSecond > 1000 || o.Load.SMPPPerSecond < 1 || o.Load.SMPPPerSecond > 1000 {
		return o, errors.New("--rest and --smpp are 1 to 1000")
	}
	if o.Load.MMSPerSecond < 1 || o.Load.MMSPerSecond > 20 {
		return o, errors.New("--mms is 1 to 20")
	}
	given := map[string]bool{}
	fs.Visit(func(f *flag.Flag) { given[f.Name] = true })
	if (o.Only != nil || o.Short) && !given["for"] {
		o.For = 0
	}
	for o.Seed == 0 {
		o.Seed = rand.Uint64N(1_000_000)
	}
	return o, nil
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the suite at once
	o, err := readOptions(os.Args[1:], os.Stderr)
	if err == nil {
		err = chaos(ctx, o)
	}
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(1)
	}
}

// chaos runs the suite in a folder of its own and writes its report. The error says
// which promises were broken.
func chaos(ctx context.Context, o options) error {
	if o.List {
		listEvents(os.Stdout)
		return nil
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return err
	}
	if err := renewFolder(dir); err != nil {
		return err
	}
	began := time.Now()
	report, err := runSuite(ctx, dir, o, func(format string, args ...any) {
		fmt.Fprintf(os.Stderr, "%7.1fs  %s\n", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
	})
	report.Setting = describe(ctx, o, os.Args[1:])
	err = errors.Join(err, report.write(os.Stdout, o), report.verdict())
	if err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("%w\nthe logs are in %s", err, dir)
	}
	if o.Keep {
		return err
	}
	return errors.Join(err, removeFolder(dir))
}

func listEvents(out io.Writer) {
	for _, e := range Events {
		notes := ""
		if e.Short {
			notes += ", short"
		}
		if e.Weight == 0 {
			notes += ", never at random"
		}
		if e.Missing != nil {
			if missing := e.Missing(); missing != "" {
				notes += ", not here: " + missing
			}
		}
		fmt.Fprintf(out, "%s (%s%s)\n", e.Name, e.Promise, notes)
	}
}
