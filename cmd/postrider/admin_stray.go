package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/postrider/postrider/edges/ingress"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/postgres"
	"github.com/postrider/postrider/internal/secret"
	"github.com/postrider/postrider/internal/snapshot"
)

// withDoor gives a door to the journal that starts nothing: what it lets in waits for
// the sweep of a running gateway, which comes within seconds.
func withDoor(ctx context.Context, do func(in *ingress.Ingress) error) error {
	return withDB(ctx, func(db *postgres.DB, _ *secret.Keyring) error {
		s, err := db.LoadSnapshot(ctx)
		if err != nil {
			return err
		}
		return do(&ingress.Ingress{Journal: db, Snapshot: func() *snapshot.Snapshot { return s }, Log: slog.New(slog.DiscardHandler), Now: time.Now})
	})
}

func redriveCommand() *cobra.Command {
	var number string
	var all bool
	cmd := &cobra.Command{
		Use: "redrive [ID]", Short: "Take in anew what came to numbers of nobody's", Args: cobra.MaximumNArgs(1),
		Long: "Take in anew messages to numbers that were nobody's, or not enabled, when they came: one, those to a number, or all. Those whose number is\n" +
			"somebody's by now are delivered to them; the others stay.",
		RunE: func(cmd *cobra.Command, args []string) error {
			if (len(args) == 1) == (number != "" || all) {
				return errors.New("give either the id of a message, or --number or --all")
			}
			return withDoor(cmd.Context(), func(in *ingress.Ingress) error {
				if len(args) == 1 {
					id, err := message.ParseID(args[0])
					if err != nil {
						return err
					}
					return in.Redrive(cmd.Context(), shellActor(), id)
				}
				return redriveAll(cmd, in, number)
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&number, "number", "", "to this number")
	f.BoolVar(&all, "all", false, "to all numbers")
	cmd.MarkFlagsMutuallyExclusive("number", "all")
	return cmd
}

// redriveAll goes through them to the last.
func redriveAll(cmd *cobra.Command, in *ingress.Ingress, number string) error {
	var to message.Address
	if number != "" {
		var err error
		if to, err = message.ParseWire(number); err != nil {
			return err
		}
	}
	var sum ingress.Redriven
	var after message.ID
	for {
		out, last, err := in.RedriveAll(cmd.Context(), shellActor(), to, after)
		sum.Taken, sum.Left, after = sum.Taken+out.Taken, sum.Left+out.Left, last
		if err != nil || !out.More {
			fmt.Fprintf(cmd.OutOrStdout(), "%d on their way, %d left\n", sum.Taken, sum.Left)
			return err
		}
	}
}

func receiptCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "receipt", Short: "Receipts that match nothing"}
	var limit int
	list := &cobra.Command{
		Use: "unmatched", Short: "List final receipts whose id is no part's, newest first", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkRange("limit", limit, 1, 10_000); err != nil {
				return err
			}
			return withDB(cmd.Context(), func(db *postgres.DB, _ *secret.Keyring) error {
				found, err := db.UnmatchedReceipts(cmd.Context(), message.ID{}, limit)
				if err != nil {
					return err
				}
				w := table(cmd.OutOrStdout(), "ID\tRECEIVED\tVENDOR\tVENDOR'S ID\tSTATE\tERR\tFROM\tTO")
				for _, r := range found {
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.ID, r.ReceivedAt.Format(time.RFC3339), r.VendorID, r.VendorMessageID, r.State, r.Err,
						message.Address(r.Destination).Masked(), message.Address(r.Source).Masked())
				}
				return w.Flush()
			})
		},
	}
	list.Flags().IntVar(&limit, "limit", 20, "how many")
	var part int
	match := &cobra.Command{
		Use: "match RECEIPT MESSAGE", Short: "Say whose a receipt is", Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			receipt, err := message.ParseID(args[0])
			if err != nil {
				return err
			}
			id, err := message.ParseID(args[1])
			if err != nil {
				return err
			}
			if err := checkRange("part", part, 1, 255); err != nil {
				return err
			}
			return withDoor(cmd.Context(), func(in *ingress.Ingress) error {
				return in.MatchReceipt(cmd.Context(), shellActor(), receipt, id, part)
			})
		},
	}
	match.Flags().IntVar(&part, "part", 1, "of the message's parts, from 1")
	cmd.AddCommand(list, match)
	return cmd
}
