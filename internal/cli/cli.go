// Package cli is the command line for customers and developers: postrider message, batch,
// listen and login. It speaks the public HTTP API and nothing else, so it works from
// anywhere; docs/cli.md is its page.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/postrider/postrider/internal/client"
)

// The exit codes. Scripts rely on them.
const (
	ExitRefused     = 1 // the gateway refused, or anything that has no code of its own
	ExitUsage       = 2 // words or flags that make no sense; nothing was asked of the gateway
	ExitUnavailable = 3 // no answer, or one that says to come back; the same command may pass later
	ExitUnwelcome   = 4 // done, and what came of it is not what was wanted: not delivered, rows refused
	ExitInterrupted = 130
)

// Commands are the commands of customers.
func Commands() []*cobra.Command {
	return (&app{location: time.Local, wait: wait, rows: 10_000}).commands()
}

// app is what the commands of one program have in common.
type app struct {
	location *time.Location // of the times that people read
	wait     func(context.Context, time.Duration) error
	rows     int // most rows of one list

	// Of the flags.
	url, output string
}

func (a *app) commands() []*cobra.Command {
	all := []*cobra.Command{a.messageCommand(), a.batchCommand(), a.listenCommand(), a.loginCommand()}
	for _, cmd := range all {
		flags := cmd.PersistentFlags()
		flags.StringVar(&a.url, "api-url", "", "where the API is (POSTRIDER_API_URL)")
		flags.StringVarP(&a.output, "output", "o", "table", "table, or json for scripts")
		complete(cmd, "output", "table", "json")
	}
	return all
}

// complete offers the values of a flag to the shell.
func complete(cmd *cobra.Command, flag string, values ...string) {
	// It fails for a flag that is not there, which the tests would see.
	if err := cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err)
	}
}

// coded is an error with an exit code.
type coded struct {
	error
	code int
}

func (e *coded) Unwrap() error { return e.error }

// Usage makes an error one of usage.
func Usage(err error) error { return &coded{err, ExitUsage} }

func usage(format string, args ...any) error { return Usage(fmt.Errorf(format, args...)) }

// unwelcome is the error of a command that has done its work.
func unwelcome(format string, args ...any) error {
	return &coded{fmt.Errorf(format, args...), ExitUnwelcome}
}

// ExitCode is what the program ends with after err. A context that was canceled is not an
// error of programs that run until then.
func ExitCode(err error) int {
	var own *coded
	var called *client.Error
	switch {
	case err == nil:
		return 0
	case errors.As(err, &own):
		return own.code
	case errors.As(err, &called):
		switch {
		case errors.Is(err, context.Canceled):
			return ExitInterrupted
		case called.Status == 0, called.Status >= 500, called.Status == http.StatusTooManyRequests:
			return ExitUnavailable
		}
		return ExitRefused
	case errors.Is(err, context.Canceled):
		return 0
	}
	return ExitRefused
}

// command finishes a command: what is wrong with its words and flags is an error of usage,
// and Ctrl-C says so instead of what it broke off.
func (a *app) command(cmd *cobra.Command, run func(cmd *cobra.Command, args []string) error) *cobra.Command {
	words := cmd.Args
	if words == nil {
		words = cobra.NoArgs
	}
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if err := words(cmd, args); err != nil {
			return usage("%w; the form is: %s", err, cmd.UseLine())
		}
		return nil
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if a.output != "table" && a.output != "json" {
			return usage("--output must be table or json, not %q", a.output)
		}
		err := run(cmd, args)
		if err != nil && cmd.Context().Err() != nil && errors.Is(err, context.Canceled) {
			return &coded{errors.New("interrupted"), ExitInterrupted}
		}
		return err
	}
	return cmd
}

// group finishes a command that only has others below it.
func group(cmd *cobra.Command) *cobra.Command {
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return usage("%s has no command %q; %s --help lists them", cmd.CommandPath(), args[0], cmd.CommandPath())
		}
		return nil
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	return cmd
}

// connect makes a client with the credentials of the environment or of the user's file.
func (a *app) connect(cmd *cobra.Command) (*client.Client, error) {
	s, err := a.settings()
	if err != nil {
		return nil, err
	}
	if s.Key == "" {
		return nil, usage("there is no API key: set POSTRIDER_API_KEY and POSTRIDER_API_SECRET, or run postrider login")
	}
	return a.connectAs(cmd, client.Config{URL: s.URL, Key: s.Key, Secret: s.Secret})
}

func (a *app) connectAs(cmd *cobra.Command, c client.Config) (*client.Client, error) {
	c.UserAgent, c.Wait = "Postrider-CLI", a.wait
	made, err := client.New(c)
	if err != nil {
		return nil, Usage(err)
	}
	if inClear(c.URL) {
		fmt.Fprintf(cmd.ErrOrStderr(), "postrider: %s is not https: everybody on the way can read the credentials\n", c.URL)
	}
	return made, nil
}

// openInput opens a file to read, - being standard input.
func openInput(cmd *cobra.Command, path string) (io.ReadCloser, error) {
	if path == "-" {
		return io.NopCloser(cmd.InOrStdin()), nil
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, Usage(err)
	}
	return file, nil
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
