package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/postrider/postrider/internal/email"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/postgres"
	"github.com/postrider/postrider/internal/secret"
	"github.com/postrider/postrider/internal/webhook"
)

func destinationCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "destination", Short: "Where the messages to numbers go", Long: "Where the messages to a number go, or those to all numbers of an account that have nothing of their own. Name either by NUMBER (with +, or a short code) or the account's id."}
	cmd.AddCommand(destinationListCommand(), destinationSetCommand(), destinationClearCommand())
	return cmd
}

// whose finds the account and number that an argument means; the number is empty for an
// account.
func whose(ctx context.Context, db *postgres.DB, arg string) (message.ID, message.Address, error) {
	if id, err := message.ParseID(arg); err == nil {
		return id, "", nil
	}
	number, err := message.ParseRecipient(arg)
	if err != nil {
		return message.ID{}, "", fmt.Errorf("%q is neither a number nor the id of an account", arg)
	}
	s, err := db.LoadSnapshot(ctx)
	if err != nil {
		return message.ID{}, "", err
	}
	n := s.Numbers[number]
	if n == nil {
		return message.ID{}, "", fmt.Errorf("no number %s", number)
	}
	return n.AccountID, number, nil
}

func destinationListCommand() *cobra.Command {
	return &cobra.Command{Use: "list NUMBER | ACCOUNT", Short: "Show where the messages go", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		return withDB(cmd.Context(), func(db *postgres.DB, _ *secret.Keyring) error {
			account, number, err := whose(cmd.Context(), db, args[0])
			if err != nil {
				return err
			}
			set, err := db.InboundRoutes(cmd.Context(), account, number)
			if err != nil {
				return err
			}
			showDestinations(cmd, set)
			return nil
		})
	}}
}

func showDestinations(cmd *cobra.Command, set message.DestinationSet) {
	if len(set.List) == 0 {
		fmt.Fprintln(cmd.OutOrStdout(), "nothing is set: the account's default holds, or its endpoints, or the store")
	}
	for _, d := range set.List {
		line := fmt.Sprintf("%d\t%s", d.Position, describePlace(d.Place))
		if !d.Active {
			line += "\tinactive"
		}
		if f := d.Fallback; f != nil {
			line += fmt.Sprintf("\telse after %d s %s", f.AfterSeconds, describePlace(f.Place))
		}
		if d.WebhookSecret != "" {
			line += "\tsecret " + d.WebhookSecret + " (shown once)"
		}
		fmt.Fprintln(cmd.OutOrStdout(), line)
	}
}

func describePlace(p message.Place) string {
	what := []string{string(p.Method)}
	for _, s := range []string{p.HTTPMethod, p.URL, p.SystemID, p.Email} {
		if s != "" && (s != p.HTTPMethod || p.URL != "") {
			what = append(what, s)
		}
	}
	return strings.Join(what, " ")
}

func destinationSetCommand() *cobra.Command {
	var fallback string
	var after int
	cmd := &cobra.Command{Use: "set NUMBER | ACCOUNT PLACE...", Short: "Set where the messages go, in place of what was set",
		Long: "Set where the messages go: to each PLACE, which is an https URL (webhook), endpoints (the account's webhook endpoints), smpp:SYSTEM_ID, mailto:ADDRESS, mm4 (the account's MM4 peer) or storage. " +
			"A URL's secret is made and shown once; one that is set stays.",
		Args: cobra.MinimumNArgs(2), RunE: func(cmd *cobra.Command, args []string) error {
			var list []message.Destination
			for _, arg := range args[1:] {
				p, err := parsePlace(arg)
				if err != nil {
					return err
				}
				list = append(list, message.Destination{Place: p, Active: true})
			}
			if fallback != "" {
				p, err := parsePlace(fallback)
				if err != nil {
					return err
				}
				if err := checkRange("after", after, 0, message.MaxFallbackSeconds); err != nil {
					return err
				}
				for i := range list {
					list[i].Fallback = &message.Fallback{AfterSeconds: after, Place: p}
				}
			}
			if len(list) > message.MaxDestinations {
				return fmt.Errorf("at most %d places", message.MaxDestinations)
			}
			return replaceDestinations(cmd, args[0], list)
		}}
	cmd.Flags().StringVar(&fallback, "fallback", "", "the PLACE for messages that were not taken")
	cmd.Flags().IntVar(&after, "after", 0, "seconds after which the fall-back's turn comes; 0: when a place has failed for good")
	return cmd
}

func destinationClearCommand() *cobra.Command {
	return &cobra.Command{Use: "clear NUMBER | ACCOUNT", Short: "Take the setting away", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		return replaceDestinations(cmd, args[0], nil)
	}}
}

func replaceDestinations(cmd *cobra.Command, arg string, list []message.Destination) error {
	return withDB(cmd.Context(), func(db *postgres.DB, _ *secret.Keyring) error {
		account, number, err := whose(cmd.Context(), db, arg)
		if err != nil {
			return err
		}
		s, err := db.LoadSnapshot(cmd.Context())
		if err != nil {
			return err
		}
		for _, d := range list {
			places := []message.Place{d.Place}
			if d.Fallback != nil {
				places = append(places, d.Fallback.Place)
			}
			for _, p := range places {
				if c := s.SMPPCredentials[p.SystemID]; p.Method == message.InboundSMPP && (c == nil || c.AccountID != account) {
					return fmt.Errorf("the account has no SMPP credential %s", p.SystemID)
				}
				if p.Method == message.InboundMM4 && s.MM4PeerOf(account) == nil {
					return errors.New("the account has no MM4 peer that is enabled and has a host")
				}
			}
		}
		set, err := db.SetInboundRoutes(cmd.Context(), shellActor(), message.DestinationSet{AccountID: account, Number: number, List: list}, "",
			func() string { return secret.NewWebhookSecret().Reveal() })
		if err != nil {
			return err
		}
		showDestinations(cmd, set)
		return nil
	})
}

// parsePlace reads a place as the shell names it.
func parsePlace(arg string) (message.Place, error) {
	if id, ok := strings.CutPrefix(arg, "smpp:"); ok && id != "" {
		return message.Place{Method: message.InboundSMPP, SystemID: id}, nil
	}
	if address, ok := strings.CutPrefix(arg, "mailto:"); ok {
		return message.Place{Method: message.InboundEmail, Email: address}, email.CheckAddress(address)
	}
	switch {
	case arg == "mm4":
		return message.Place{Method: message.InboundMM4}, nil
	case arg == "storage":
		return message.Place{Method: message.InboundStorage}, nil
	case arg == "endpoints":
		return message.Place{Method: message.InboundWebhook}, nil
	case strings.Contains(arg, "://"):
		// Loopback is for the process to judge: it knows whether it is for development.
		if err := webhook.ValidateURL(arg, webhook.Policy{AllowHTTP: true, AllowLoopback: true}); err != nil {
			return message.Place{}, err
		}
		return message.Place{Method: message.InboundWebhook, URL: arg}, nil
	}
	return message.Place{}, errors.New("a place is an https URL, endpoints, smpp:SYSTEM_ID, mailto:ADDRESS, mm4 or storage")
}
