package main

import (
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/postgres"
	"github.com/postrider/postrider/internal/secret"
)

func accountRefusalsCommand() *cobra.Command {
	var since time.Duration
	cmd := &cobra.Command{
		Use: "refusals ACCOUNT", Short: "Show what was refused for a rate, by the minute", Args: cobra.ExactArgs(1),
		Long: "Show how often the customer was refused for a rate: an entry a minute, edge and scope (account, key, number, bind, request),\n" +
			"the newest first. Processes write what they count every few seconds. Entries are kept for 90 days.",
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := message.ParseID(args[0])
			if err != nil {
				return err
			}
			if since <= 0 {
				return errors.New("--since: want a time above 0, such as 24h")
			}
			return withDB(cmd.Context(), func(db *postgres.DB, _ *secret.Keyring) error {
				list, err := db.Refusals(cmd.Context(), id, time.Now().Add(-since))
				if err != nil {
					return err
				}
				out := make([]map[string]any, 0, len(list))
				for _, e := range list {
					out = append(out, map[string]any{"minute": e.Minute, "edge": e.Edge, "scope": e.Scope, "count": e.Count})
				}
				return printJSON(cmd.OutOrStdout(), out)
			})
		},
	}
	cmd.Flags().DurationVar(&since, "since", 24*time.Hour, "how far to look back")
	return cmd
}

// rateFlags are a rate and its burst as flags.
type rateFlags struct{ rate, burst int }

func (f *rateFlags) add(cmd *cobra.Command) {
	cmd.Flags().IntVar(&f.rate, "rate", 0, "messages a second")
	cmd.Flags().IntVar(&f.burst, "burst", 0, "how many more may come within one second; ten seconds hold ten times the rate all the same")
	_ = cmd.MarkFlagRequired("rate")
}

// check refuses what the database would, in words, and a burst that would do nothing.
func (f *rateFlags) check(least int) error {
	return errors.Join(checkRange("rate", f.rate, least, 100_000), checkRange("burst", f.burst, 0, 9*f.rate))
}

func accountRateCommand() *cobra.Command {
	var f rateFlags
	cmd := &cobra.Command{Use: "rate ACCOUNT", Short: "Set how many messages a second the customer may hand in over the API", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		id, err := message.ParseID(args[0])
		if err == nil {
			err = f.check(1)
		}
		if err != nil {
			return err
		}
		return withDB(cmd.Context(), func(db *postgres.DB, _ *secret.Keyring) error {
			return db.SetAccountRate(cmd.Context(), shellActor(), id, f.rate, f.burst)
		})
	}}
	f.add(cmd)
	return cmd
}

func credentialRateCommand() *cobra.Command {
	var f rateFlags
	cmd := &cobra.Command{Use: "rate CREDENTIAL", Short: "Set how many of the customer's messages a second may come with an API key; 0: all", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		id, err := message.ParseID(args[0])
		if err == nil {
			err = f.check(0)
		}
		if err != nil {
			return err
		}
		return withDB(cmd.Context(), func(db *postgres.DB, _ *secret.Keyring) error {
			return db.SetCredentialRate(cmd.Context(), shellActor(), id, f.rate, f.burst)
		})
	}}
	f.add(cmd)
	return cmd
}

func numberRateCommand() *cobra.Command {
	var rate int
	cmd := &cobra.Command{Use: "rate NUMBER", Short: "Set how many messages a second are taken with a number as sender; 0: as many as its customer may", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		number, err := message.ParseRecipient(args[0])
		if err == nil {
			err = checkRange("rate", rate, 0, 100_000)
		}
		if err != nil {
			return err
		}
		return withDB(cmd.Context(), func(db *postgres.DB, _ *secret.Keyring) error {
			return db.SetNumberRate(cmd.Context(), shellActor(), number, rate)
		})
	}}
	cmd.Flags().IntVar(&rate, "rate", 0, "messages a second, over all edges")
	_ = cmd.MarkFlagRequired("rate")
	return cmd
}
