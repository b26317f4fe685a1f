package main

import (
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/postrider/postrider/internal/postgres"
	"github.com/postrider/postrider/internal/secret"
)

func partitionCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "partition", Short: "The partitions by time of the tables that grow",
		Long: "The partitions by time of messages, their events and parts, and webhook deliveries. `serve` makes and drops them by itself.",
	}
	list := &cobra.Command{Use: "list", Short: "What there is, with rows as Postgres estimates them and sizes", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return withDB(cmd.Context(), func(db *postgres.DB, _ *secret.Keyring) error {
			all, err := db.Partitions(cmd.Context())
			if err != nil {
				return err
			}
			return printJSON(cmd.OutOrStdout(), all)
		})
	}}
	var ahead time.Duration
	var since string
	mk := &cobra.Command{Use: "make", Short: "Make those of the time to come", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		if ahead < 0 || ahead > 3650*24*time.Hour {
			return errors.New("--ahead: want a duration of ten years at most")
		}
		return withDB(cmd.Context(), func(db *postgres.DB, _ *secret.Keyring) error {
			made, err := db.MakePartitions(cmd.Context(), ahead)
			if err == nil && since != "" {
				var at time.Time
				if at, err = time.Parse(time.DateOnly, since); err != nil {
					return errors.New("--since: want a day such as 2026-08-31")
				}
				var more []string
				more, err = db.DividePartitions(cmd.Context(), at)
				made = append(made, more...)
			}
			return errors.Join(err, printJSON(cmd.OutOrStdout(), map[string]any{"made": made}))
		})
	}}
	mk.Flags().DurationVar(&ahead, "ahead", 14*24*time.Hour, "how far from now there is to be one")
	mk.Flags().StringVar(&since, "since", "", "a day from which on the first partition is divided too, while it has few rows: before an import of old messages")
	var before string
	drop := &cobra.Command{Use: "drop", Short: "Remove those whose rows are all older than a day, and finished", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		at, err := time.Parse(time.DateOnly, before)
		if err != nil || at.After(time.Now()) {
			return errors.New("--before: want a day that is over, such as 2026-08-31")
		}
		return withDB(cmd.Context(), func(db *postgres.DB, _ *secret.Keyring) error {
			dropped, err := db.DropPartitions(cmd.Context(), at)
			return errors.Join(err, printJSON(cmd.OutOrStdout(), map[string]any{"dropped": dropped}))
		})
	}}
	drop.Flags().StringVar(&before, "before", "", "the day")
	_ = drop.MarkFlagRequired("before")
	cmd.AddCommand(list, mk, drop)
	return cmd
}
