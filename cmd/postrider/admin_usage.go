package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/postgres"
	"github.com/postrider/postrider/internal/secret"
)

// maxLimit is the most parts that a limit may have: a slip of the keyboard, not a
// customer, asks for more.
const maxLimit = 1_000_000_000_000

func accountLimitCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "limit", Short: "How many parts a customer may send in a minute, a day or a month"}
	var l message.UsageLimit
	var number, kind, period string
	read := func(args []string) (err error) {
		if l.AccountID, err = message.ParseID(args[0]); err != nil {
			return err
		}
		if number != "" {
			if l.Number, err = message.ParseSender(number); err != nil {
				return err
			}
		}
		l.Kind, l.Period = message.Kind(kind), message.Period(period)
		if l.Kind != message.SMS && l.Kind != message.MMS {
			return fmt.Errorf("--type: want sms or mms, not %s", kind)
		}
		if !l.Period.Valid() {
			return fmt.Errorf("--period: want minute, day or month, not %s", period)
		}
		return nil
	}
	flags := func(c *cobra.Command) {
		c.Flags().StringVar(&number, "number", "", "only from this sender; empty for all together")
		c.Flags().StringVar(&kind, "type", "sms", "sms or mms")
		c.Flags().StringVar(&period, "period", "day", "minute, day or month, of the account's time zone")
	}
	set := &cobra.Command{Use: "set ACCOUNT", Short: "Set a limit; what was sent in the running period counts", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		if err := read(args); err != nil {
			return err
		}
		if l.Parts < 0 || l.Parts > maxLimit {
			return fmt.Errorf("--parts: want 0 to %d", int64(maxLimit))
		}
		return withDB(cmd.Context(), func(db *postgres.DB, _ *secret.Keyring) error {
			return db.SetUsageLimit(cmd.Context(), shellActor(), l)
		})
	}}
	flags(set)
	set.Flags().Int64Var(&l.Parts, "parts", 0, "parts that may be sent in the period")
	_ = set.MarkFlagRequired("parts")
	remove := &cobra.Command{Use: "remove ACCOUNT", Short: "Take a limit away", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		if err := read(args); err != nil {
			return err
		}
		return withDB(cmd.Context(), func(db *postgres.DB, _ *secret.Keyring) error {
			return db.RemoveUsageLimit(cmd.Context(), shellActor(), l)
		})
	}}
	flags(remove)
	list := &cobra.Command{Use: "list ACCOUNT", Short: "Show the limits with what is taken of them now", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		id, err := message.ParseID(args[0])
		if err != nil {
			return err
		}
		return withDB(cmd.Context(), func(db *postgres.DB, _ *secret.Keyring) error {
			limits, err := db.Limits(cmd.Context(), id, time.Now())
			if err != nil {
				return err
			}
			out := make([]map[string]any, 0, len(limits))
			for _, u := range limits {
				out = append(out, map[string]any{"number": u.Number, "type": u.Kind, "period": u.Period, "limit": u.Parts, "used": u.Used, "resets_at": u.ResetsAt})
			}
			return printJSON(cmd.OutOrStdout(), out)
		})
	}}
	cmd.AddCommand(set, remove, list)
	return cmd
}

func accountCreditCommand() *cobra.Command {
	var kind, about string
	e := message.BalanceEntry{}
	cmd := &cobra.Command{Use: "credit ACCOUNT AMOUNT", Short: "Book a payment, a refund or a correction", Args: cobra.ExactArgs(2), RunE: func(cmd *cobra.Command, args []string) (err error) {
		if e.AccountID, err = message.ParseID(args[0]); err != nil {
			return err
		}
		amount, negative := strings.CutPrefix(args[1], "-")
		if e.Amount, err = micros(amount); err != nil {
			return err
		}
		if negative {
			e.Amount = -e.Amount
		}
		if about != "" {
			if e.MessageID, err = message.ParseID(about); err != nil {
				return err
			}
		}
		e.Kind = message.EntryKind(kind)
		return withDB(cmd.Context(), func(db *postgres.DB, _ *secret.Keyring) error {
			booked, err := db.Book(cmd.Context(), shellActor(), e)
			if err != nil {
				return err
			}
			return printJSON(cmd.OutOrStdout(), map[string]any{"id": booked.ID, "amount": booked.Amount.String(), "balance": booked.After.String(), "currency": booked.Currency})
		})
	}}
	f := cmd.Flags()
	f.StringVar(&kind, "kind", string(message.EntryCredit), "credit, refund, or adjustment, which may be negative (after --)")
	f.StringVar(&e.Currency, "currency", "USD", "ISO 4217; all of an account's entries have the same")
	f.StringVar(&e.Reason, "reason", "", "what the customer reads beside it")
	f.StringVar(&e.Reference, "reference", "", "of the payment: the same one is not booked twice")
	f.StringVar(&about, "message", "", "the message it is about")
	return cmd
}

func accountPrepaidCommand() *cobra.Command {
	return &cobra.Command{Use: "prepaid ACCOUNT on|off", Short: "Have a customer pay in advance, or afterwards", Args: cobra.ExactArgs(2), RunE: func(cmd *cobra.Command, args []string) error {
		id, err := message.ParseID(args[0])
		if err != nil {
			return err
		}
		if args[1] != "on" && args[1] != "off" {
			return errors.New("want on or off")
		}
		return withDB(cmd.Context(), func(db *postgres.DB, _ *secret.Keyring) error {
			return db.SetPrepaid(cmd.Context(), shellActor(), id, args[1] == "on")
		})
	}}
}

func accountBalanceCommand() *cobra.Command {
	return &cobra.Command{Use: "balance ACCOUNT", Short: "Show a customer's balance", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		id, err := message.ParseID(args[0])
		if err != nil {
			return err
		}
		return withDB(cmd.Context(), func(db *postgres.DB, _ *secret.Keyring) error {
			b, err := db.Balance(cmd.Context(), id)
			if err != nil {
				return err
			}
			return printJSON(cmd.OutOrStdout(), map[string]any{"prepaid": b.Prepaid, "balance": b.Amount.String(), "reserved": b.Reserved.String(), "currency": b.Currency})
		})
	}}
}
