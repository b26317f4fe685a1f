package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/notification"
	"github.com/postrider/postrider/internal/postgres"
	"github.com/postrider/postrider/internal/secret"
)

func webhookCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "webhook", Short: "What customers' endpoints are told"}
	cmd.AddCommand(webhookEndpointsCommand(), webhookEnableCommand(), webhookListCommand(), webhookShowCommand(), webhookReplayCommand(), webhookReplayRangeCommand())
	return cmd
}

func webhookEndpointsCommand() *cobra.Command {
	return &cobra.Command{Use: "endpoints ACCOUNT", Short: "List the endpoints of an account", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		account, err := message.ParseID(args[0])
		if err != nil {
			return err
		}
		return withDB(cmd.Context(), func(db *postgres.DB, _ *secret.Keyring) error {
			list, err := db.WebhookEndpoints(cmd.Context(), account, message.ID{}, 1000)
			if err != nil {
				return err
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 8, 2, ' ', 0)
			fmt.Fprintln(w, "ID\tURL\tTYPES\tSTATE")
			for _, e := range list {
				state := "active"
				switch {
				case !e.Active:
					state = strings.TrimSuffix("off: "+e.DisabledReason, ": ")
				case !e.FailingSince.IsZero():
					state = "failing since " + e.FailingSince.UTC().Format(time.RFC3339)
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", e.ID, e.URL, orAll(e.EventTypes), state)
			}
			return w.Flush()
		})
	}}
}

func orAll(list []string) string {
	if len(list) == 0 {
		return "all"
	}
	return strings.Join(list, ",")
}

func webhookEnableCommand() *cobra.Command {
	var account idFlag
	cmd := &cobra.Command{Use: "enable ENDPOINT", Short: "Enable an endpoint; what it failed before counts no more", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		id, err := message.ParseID(args[0])
		if err != nil {
			return err
		}
		return withDB(cmd.Context(), func(db *postgres.DB, _ *secret.Keyring) error {
			_, err := db.ChangeWebhookEndpoint(cmd.Context(), shellActor(), account.id, id, func(e *message.WebhookEndpoint) error { e.Active = true; return nil })
			return err
		})
	}}
	cmd.Flags().Var(&account, "account", "whose endpoint")
	_ = cmd.MarkFlagRequired("account")
	return cmd
}

func webhookListCommand() *cobra.Command {
	var account, endpoint, about idFlag
	var state string
	var limit int
	cmd := &cobra.Command{Use: "list", Short: "List deliveries, newest first", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		if !slices.Contains([]string{"", "pending", "delivered", "failed"}, state) {
			return errors.New("--state: want pending, delivered or failed")
		}
		if err := checkRange("limit", limit, 1, 1000); err != nil {
			return err
		}
		return withDB(cmd.Context(), func(db *postgres.DB, _ *secret.Keyring) error {
			list, _, err := db.WebhookDeliveries(cmd.Context(), account.id,
				message.WebhookFilter{Endpoint: endpoint.id, Message: about.id, State: message.NotificationState(state)}, message.ID{}, limit)
			if err != nil {
				return err
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 8, 2, ' ', 0)
			fmt.Fprintln(w, "ID\tMADE\tTYPE\tSTATE\tTRIES\tLAST")
			for _, d := range list {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%s\n", d.ID, d.CreatedAt.UTC().Format(time.RFC3339), d.Type, d.State, d.Notification.Attempts, outcome(d.LastStatus, d.LastError))
			}
			return w.Flush()
		})
	}}
	f := cmd.Flags()
	f.Var(&account, "account", "of this account alone")
	f.Var(&endpoint, "endpoint", "to this endpoint alone; the newest 10,000 are looked at")
	f.Var(&about, "message", "about this message alone")
	f.StringVar(&state, "state", "", "pending, delivered or failed")
	f.IntVar(&limit, "limit", 50, "how many at most")
	return cmd
}

// outcome is what came of a try, in a word.
func outcome(status int, why string) string {
	switch {
	case why != "":
		return why
	case status != 0:
		return fmt.Sprintf("HTTP %d", status)
	}
	return "-"
}

func webhookShowCommand() *cobra.Command {
	return &cobra.Command{Use: "show DELIVERY", Short: "Show a delivery with all its tries", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		id, err := message.ParseID(args[0])
		if err != nil {
			return err
		}
		return withDB(cmd.Context(), func(db *postgres.DB, _ *secret.Keyring) error {
			d, err := db.WebhookDelivery(cmd.Context(), message.ID{}, id)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s to %s, webhook-id %s: %s\n", d.Type, d.URL, d.EventID, d.State)
			for _, t := range d.Tries {
				fmt.Fprintf(cmd.OutOrStdout(), "%s\t%d ms\t%s\n", t.At.UTC().Format(time.RFC3339), t.Millis, outcome(t.HTTPStatus, t.Error))
			}
			if !d.NextAttemptAt.IsZero() {
				fmt.Fprintf(cmd.OutOrStdout(), "next try at %s\n", d.NextAttemptAt.UTC().Format(time.RFC3339))
			}
			if d.LastAnswer != "" {
				fmt.Fprintf(cmd.OutOrStdout(), "answer: %q\n", d.LastAnswer)
			}
			return nil
		})
	}}
}

func webhookReplayCommand() *cobra.Command {
	return &cobra.Command{Use: "replay DELIVERY", Short: "Try a delivery anew, with the same webhook-id", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		id, err := message.ParseID(args[0])
		if err != nil {
			return err
		}
		return withDB(cmd.Context(), func(db *postgres.DB, _ *secret.Keyring) error {
			queued, err := db.ReplayDelivery(cmd.Context(), shellActor(), message.ID{}, id, nil)
			if err == nil && !queued {
				fmt.Fprintln(cmd.OutOrStdout(), "it is on its way already")
			}
			return err
		})
	}}
}

func webhookReplayRangeCommand() *cobra.Command {
	var endpoint idFlag
	var after, before, state string
	var types []string
	cmd := &cobra.Command{Use: "replay-range ACCOUNT", Short: "Try the deliveries of an account anew: at most 10,000, the oldest first", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		account, err := message.ParseID(args[0])
		if err != nil {
			return err
		}
		r := message.WebhookReplay{Account: account, Endpoint: endpoint.id, Types: types, Before: time.Now(), All: state == "all"}
		if state != "failed" && state != "all" {
			return errors.New("--state: want failed or all")
		}
		for _, kind := range types {
			if !slices.Contains(notification.Types(), kind) {
				return fmt.Errorf("--types: there are no events of type %q; there are %s", kind, strings.Join(notification.Types(), ", "))
			}
		}
		if r.After, err = time.Parse(time.RFC3339, after); err != nil {
			return errors.New("--after: want a time such as 2026-11-21T20:15:04Z")
		}
		if before != "" {
			if r.Before, err = time.Parse(time.RFC3339, before); err != nil {
				return errors.New("--before: want a time such as 2026-11-21T20:15:04Z")
			}
		}
		return withDB(cmd.Context(), func(db *postgres.DB, _ *secret.Keyring) error {
			done, err := db.ReplayDeliveries(cmd.Context(), shellActor(), r, nil)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%d are on their way\n", done.Queued)
			if !done.NextAfter.IsZero() {
				fmt.Fprintf(cmd.OutOrStdout(), "there may be more: go on with --after %s\n", done.NextAfter.UTC().Format("2006-01-02T15:04:05.000Z"))
			}
			return nil
		})
	}}
	f := cmd.Flags()
	f.Var(&endpoint, "endpoint", "of this endpoint alone; left out: all, and URLs of messages and numbers")
	f.StringVar(&after, "after", "", "made at or after this time")
	f.StringVar(&before, "before", "", "made before this time; left out: now")
	f.StringSliceVar(&types, "types", nil, "types of events; empty for all")
	f.StringVar(&state, "state", "failed", "failed, or all: also what was delivered")
	_ = cmd.MarkFlagRequired("after")
	return cmd
}
