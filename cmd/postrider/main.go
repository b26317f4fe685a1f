// Postrider is a durable SMS gateway: customers hand it messages, one Temporal
// workflow a message carries them to a vendor, and back come receipts and
// webhooks.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	_ "time/tzdata" // the days of accounts are those of their time zones, also on machines that know none

	"github.com/spf13/cobra"

	"github.com/postrider/postrider/internal/cli"
	"github.com/postrider/postrider/internal/postgres"
	"github.com/postrider/postrider/internal/secret"
	"github.com/postrider/postrider/internal/telemetry"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	go func() { // lives as long as the process: a second signal ends it at once
		<-ctx.Done()
		stop()
	}()
	err := root().ExecuteContext(ctx)
	if code := cli.ExitCode(err); code != 0 {
		fmt.Fprintln(os.Stderr, "postrider:", err)
		os.Exit(code)
	}
}

func root() *cobra.Command {
	cmd := &cobra.Command{
		Use:           "postrider",
		Short:         "A durable SMS gateway",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	cmd.AddCommand(serveCommand(), migrateCommand(), adminCommand(), devCommand())
	cmd.AddCommand(cli.Commands()...)
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return cli.Usage(err) })
	return cmd
}

// gcPercent lets the heap grow to five times what lives before it is collected:
// what lives is small (tens of megabytes), and collecting it again and again
// took a tenth of the process's time. GOGC overrides it.
const gcPercent = 400

func serveCommand() *cobra.Command {
	var roles string
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the gateway until SIGTERM",
		Long: `Runs the gateway with every role, or with those of --roles:
  rest      the customer API
  smpp      the SMSC that customers bind to
  messages  the workflows of messages, and the start of accepted ones
  notify    retries of webhooks
  vendors   links to vendors
The environment is described in docs/operations.md.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := readConfig()
			if err != nil {
				return err
			}
			set, err := parseRoles(roles)
			if err != nil {
				return err
			}
			log, err := telemetry.NewLogger(os.Stderr, c.LogLevel, c.LogFormat)
			if err != nil {
				return err
			}
			if os.Getenv("GOGC") == "" {
				debug.SetGCPercent(gcPercent)
			}
			g := &Gateway{Config: c, Roles: set, Log: log}
			return g.Run(cmd.Context())
		},
	}
	cmd.Flags().StringVar(&roles, "roles", "", "comma-separated roles; all when empty")
	return cmd
}

func migrateCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "migrate",
		Short: "Bring the database's schema to this release",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := readConfig()
			if err != nil {
				return err
			}
			applied, err := postgres.Migrate(cmd.Context(), c.postgres())
			for _, name := range applied {
				fmt.Fprintln(cmd.OutOrStdout(), "applied", name)
			}
			if err == nil && len(applied) == 0 {
				fmt.Fprintln(cmd.OutOrStdout(), "the schema is up to date")
			}
			return err
		},
	}
}

// withDB runs f with the database of the environment.
func withDB(ctx context.Context, f func(db *postgres.DB, keys *secret.Keyring) error) error {
	c, err := readConfig()
	if err != nil {
		return err
	}
	keys, err := c.keyring()
	if err != nil {
		return err
	}
	db, err := postgres.Open(ctx, c.postgres(), keys.Box(secret.Content))
	if err != nil {
		return err
	}
	defer db.Close()
	return f(db, keys)
}
