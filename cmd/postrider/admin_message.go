package main

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/postgres"
	"github.com/postrider/postrider/internal/secret"
	"github.com/postrider/postrider/workflows"
)

// adminMessageCommand looks into the record itself, where there is more than the API tells
// customers; theirs is package cli.
func adminMessageCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "message", Short: "Look at messages, and review those that are held"}
	var account idFlag
	var limit int
	list := &cobra.Command{Use: "list", Short: "List an account's messages, newest first", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return withDB(cmd.Context(), func(db *postgres.DB, _ *secret.Keyring) error {
			found, err := db.Messages(cmd.Context(), account.id, message.Filter{}, message.ID{}, limit)
			if err != nil {
				return err
			}
			w := table(cmd.OutOrStdout(), "ID\tCREATED\tFROM\tTO\tPARTS\tSTATUS\tVENDOR\tREASON")
			for _, m := range found {
				reason := ""
				if m.Error != nil {
					reason = string(m.Error.Reason)
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%s\t%s\t%s\n", m.ID, m.CreatedAt.Format(time.RFC3339), m.From.Masked(), m.To.Masked(), m.Segments, m.Status, m.Vendor, reason)
			}
			return w.Flush()
		})
	}}
	list.Flags().Var(&account, "account", "whose messages")
	list.Flags().IntVar(&limit, "limit", 20, "how many")
	_ = list.MarkFlagRequired("account")
	show := &cobra.Command{Use: "show MESSAGE", Short: "Show where a message is and its timeline", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		id, err := message.ParseID(args[0])
		if err != nil {
			return err
		}
		return withDB(cmd.Context(), func(db *postgres.DB, _ *secret.Keyring) error { return show(cmd, db, id) })
	}}
	cmd.AddCommand(list, show)
	cmd.AddCommand(messageReviewCommands()...)
	return cmd
}

func show(cmd *cobra.Command, db *postgres.DB, id message.ID) error {
	ctx, out := cmd.Context(), cmd.OutOrStdout()
	m, err := db.Message(ctx, id)
	if err != nil {
		return err
	}
	parts, err := db.Parts(ctx, id, m.Segments)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "message   %s\naccount   %s\nworkflow  %s\nstatus    %s\nfrom      %s\nto        %s\nvendor    %s\nvalid     until %s\n",
		m.ID, m.AccountID, workflows.MessageID(m.Direction, id), m.Status, m.From.Masked(), m.To.Masked(), m.Vendor, m.ExpiresAt.Format(time.RFC3339))
	if m.Error != nil {
		fmt.Fprintf(out, "reason    %s: %s\n", m.Error.Reason, m.Error.Detail)
	}
	w := table(out, "\nPART\tATTEMPT\tSTATE\tVENDOR\tVENDOR'S ID\tVENDOR'S CODE\tRECEIPT")
	for _, p := range parts {
		receipt := ""
		if p.Receipt != nil {
			receipt = p.Receipt.Stat + " " + p.Receipt.Err
		}
		fmt.Fprintf(w, "%d\t%d\t%s\t%s\t%s\t%s\t%s\n", p.Number, p.Attempt, p.State, p.Vendor, p.VendorMessageID, p.VendorCode, receipt)
	}
	events, err := db.Events(ctx, id, 0, 1000)
	if err != nil {
		return err
	}
	fmt.Fprintln(w, "\n#\tAT\tEVENT\tDETAIL")
	for _, e := range events {
		detail := ""
		if len(e.Detail) > 0 {
			b, err := json.Marshal(e.Detail)
			if err != nil {
				return err
			}
			detail = string(b)
		}
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\n", e.Sequence, e.At.UTC().Format("15:04:05.000"), e.Type, detail)
	}
	return w.Flush()
}
