package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/notification"
	"github.com/postrider/postrider/internal/postgres"
	"github.com/postrider/postrider/internal/secret"
	"github.com/postrider/postrider/internal/snapshot"
)

// allScopes are what a key may be given.
var allScopes = []string{"messages:write", "messages:read", "media:write", "numbers:read", "numbers:write", "webhooks:read", "webhooks:write",
	"credentials:write", "registry:read", "registry:write", "optouts:read", "optouts:write", "usage:read", "account:write"}

func adminCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "admin",
		Short: "Configure accounts, numbers, vendors and routes",
		Long:  "Changes take effect on every running process within seconds, and each is written to the audit log.",
	}
	cmd.AddCommand(accountCommand(), credentialCommand(), smppCredentialCommand(), smppHeldCommand(), mm4PeerCommand(), campaignCommand(), numberCommand(), destinationCommand(), vendorCommand(), routeCommand(), endpointCommand())
	cmd.AddCommand(staffCommand())
	cmd.AddCommand(adminMessageCommand())
	cmd.AddCommand(partitionCommand())
	cmd.AddCommand(optOutCommand())
	cmd.AddCommand(inboundCommand())
	cmd.AddCommand(receiptCommand())
	cmd.AddCommand(brandCommand())
	cmd.AddCommand(contentRuleCommand())
	cmd.AddCommand(mediaProfileCommand())
	cmd.AddCommand(retentionCommand())
	cmd.AddCommand(signingKeyCommand())
	cmd.AddCommand(webhookCommand())
	return cmd
}

// shellActor names who runs a command.
func shellActor() postgres.Actor {
	name := "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	return postgres.Actor{Name: name, Role: "shell"}
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false) // passwords are read by people
	return e.Encode(v)
}

// table prints rows of tab-separated cells under a head, in columns, once it is flushed.
func table(out io.Writer, head string) *tabwriter.Writer {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, head)
	return w
}

// eachPage reads a list page by page, until one is not full. read goes on where it ended,
// and says how many rows there were.
func eachPage(read func(limit int) (rows int, err error)) error {
	const page = 200
	for {
		if n, err := read(page); err != nil || n < page {
			return err
		}
	}
}

// idOf reads what is given by its id or its name, which named looks up.
func idOf(ctx context.Context, given string, named func(context.Context, string) (message.ID, error)) (message.ID, error) {
	if id, err := message.ParseID(given); err == nil {
		return id, nil
	}
	return named(ctx, given)
}

// openInput opens a file to read, - being standard input.
func openInput(cmd *cobra.Command, path string) (io.ReadCloser, error) {
	if path == "-" {
		return io.NopCloser(cmd.InOrStdin()), nil
	}
	return os.Open(path)
}

// idFlag is an id given as a flag.
type idFlag struct{ id message.ID }

func (f *idFlag) String() string {
	if f.id == (message.ID{}) {
		return ""
	}
	return f.id.String()
}
func (f *idFlag) Type() string { return "id" }
func (f *idFlag) Set(s string) (err error) {
	f.id, err = message.ParseID(s)
	return err
}

// hexFlag is numbers in hex, as SMPP's documents write them.
type hexFlag []uint32

func (f *hexFlag) String() string {
	var list []string
	for _, n := range *f {
		list = append(list, fmt.Sprintf("%02X", n))
	}
	return strings.Join(list, ",")
}
func (f *hexFlag) Type() string { return "hex" }
func (f *hexFlag) Set(s string) error {
	var list []uint32
	for word := range strings.SplitSeq(s, ",") {
		n, err := strconv.ParseUint(strings.TrimPrefix(strings.TrimSpace(word), "0x"), 16, 32)
		if err != nil {
			return fmt.Errorf("%q is no number in hex", word)
		}
		list = append(list, uint32(n))
	}
	*f = list
	return nil
}

func credentialCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "credential", Short: "API keys"}
	var account idFlag
	var name string
	var scopes []string
	create := &cobra.Command{Use: "create", Short: "Make an API key; its secret is shown once", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return withDB(cmd.Context(), func(db *postgres.DB, keys *secret.Keyring) error {
			word := secret.NewAPISecret().Reveal()
			c := snapshot.Credential{ID: message.NewID(), AccountID: account.id, Name: name, Key: secret.NewAPIKey(), SecretHash: keys.Hasher().HashSecret(word), Scopes: scopes}
			if err := db.CreateCredential(cmd.Context(), shellActor(), c); err != nil {
				return err
			}
			return printJSON(cmd.OutOrStdout(), map[string]any{"id": c.ID, "key": c.Key, "secret": word, "scopes": scopes})
		})
	}}
	create.Flags().Var(&account, "account", "whose key it is")
	create.Flags().StringVar(&name, "name", "", "what it is for")
	create.Flags().StringSliceVar(&scopes, "scopes", allScopes, "what it may do")
	_ = create.MarkFlagRequired("account")
	revoke := &cobra.Command{Use: "revoke CREDENTIAL", Short: "End a key and its tokens", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		id, err := message.ParseID(args[0])
		if err != nil {
			return err
		}
		return withDB(cmd.Context(), func(db *postgres.DB, _ *secret.Keyring) error {
			return db.RevokeCredential(cmd.Context(), shellActor(), id)
		})
	}}
	cmd.AddCommand(create, revoke, credentialRateCommand())
	return cmd
}

func campaignCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "campaign", Short: "10DLC campaigns"}
	var account, brand idFlag
	c := snapshot.Campaign{}
	var status string
	add := &cobra.Command{Use: "add", Short: "Add a campaign as the registry knows it", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return withDB(cmd.Context(), func(db *postgres.DB, _ *secret.Keyring) error {
			c.ID, c.AccountID, c.Brand, c.Status = message.NewID(), account.id, brand.id, snapshot.CampaignStatus(status)
			if err := db.CreateCampaign(cmd.Context(), shellActor(), c, ""); err != nil {
				return err
			}
			return printJSON(cmd.OutOrStdout(), map[string]any{"id": c.ID, "campaign_id": c.CampaignID, "status": c.Status})
		})
	}}
	add.Flags().Var(&account, "account", "whose campaign it is")
	add.Flags().StringVar(&c.CampaignID, "campaign-id", "", "the registry's id")
	add.Flags().Var(&brand, "brand", "row id of its brand")
	add.Flags().StringVar(&c.UseCase, "use-case", "", "such as 2FA or MARKETING")
	add.Flags().StringVar(&status, "status", "pending", "draft, pending, active, suspended, rejected or expired")
	_ = add.MarkFlagRequired("account")
	set := &cobra.Command{Use: "set-status CAMPAIGN STATUS", Short: "Record what the registry says", Args: cobra.ExactArgs(2), RunE: func(cmd *cobra.Command, args []string) error {
		id, err := message.ParseID(args[0])
		if err != nil {
			return err
		}
		return withDB(cmd.Context(), func(db *postgres.DB, _ *secret.Keyring) error {
			return db.SetCampaignStatus(cmd.Context(), shellActor(), id, snapshot.CampaignStatus(args[1]))
		})
	}}
	cmd.AddCommand(add, set, campaignPaceCommand())
	cmd.AddCommand(campaignRegistryCommands()...)
	return cmd
}

func numberCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "number", Short: "Numbers that customers send from"}
	var account, campaign idFlag
	var verification, host string
	add := &cobra.Command{Use: "add NUMBER", Short: "Give a number to an account", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		a, err := message.ParseRecipient(args[0])
		if err != nil {
			return err
		}
		n := snapshot.Number{Number: a, AccountID: account.id, Type: snapshot.NumberTypeOf(a), SMSEnabled: true, Campaign: campaign.id, Verification: verification}
		return withDB(cmd.Context(), func(db *postgres.DB, _ *secret.Keyring) error {
			var err error
			if n.VendorID, err = hostingVendor(cmd.Context(), db, host); err == nil {
				err = db.CreateNumber(cmd.Context(), shellActor(), n)
			}
			if err != nil {
				return err
			}
			return printJSON(cmd.OutOrStdout(), map[string]any{"number": n.Number, "type": n.Type})
		})
	}}
	add.Flags().Var(&account, "account", "whose number it is")
	add.Flags().Var(&campaign, "campaign", "row id of its 10DLC campaign")
	add.Flags().StringVar(&verification, "verification", "unverified", "of a toll-free number: unverified, pending, approved or rejected")
	add.Flags().StringVar(&host, "vendor", "", "the vendor that hosts it, by name or id, and is asked first for what it sends")
	_ = add.MarkFlagRequired("account")
	cmd.AddCommand(add, numberSetCommand(), numberRateCommand())
	return cmd
}

// micros reads a decimal price with at most six decimals.
func micros(s string) (message.Micros, error) {
	whole, frac, _ := strings.Cut(s, ".")
	if len(frac) > 6 {
		return 0, fmt.Errorf("rate %q: at most six decimals", s)
	}
	n, err := strconv.ParseInt(whole+frac+strings.Repeat("0", 6-len(frac)), 10, 64)
	if err != nil || n < 0 || whole == "" {
		return 0, fmt.Errorf("rate %q: want a decimal number such as 0.0045", s)
	}
	return message.Micros(n), nil
}

func endpointCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "endpoint", Short: "Webhook endpoints"}
	var account idFlag
	e := snapshot.Endpoint{}
	add := &cobra.Command{Use: "add URL", Short: "Send an account's events to a URL; the secret is shown once", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		for _, kind := range e.EventTypes {
			if !slices.Contains(notification.Types(), kind) {
				return fmt.Errorf("--types: there are no events of type %q; there are %s", kind, strings.Join(notification.Types(), ", "))
			}
		}
		e.ID, e.AccountID, e.URL, e.Secret = message.NewID(), account.id, args[0], secret.NewWebhookSecret().Reveal()
		return withDB(cmd.Context(), func(db *postgres.DB, _ *secret.Keyring) error {
			if err := db.CreateEndpoint(cmd.Context(), shellActor(), e); err != nil {
				return err
			}
			return printJSON(cmd.OutOrStdout(), map[string]any{"id": e.ID, "url": e.URL, "secret": e.Secret})
		})
	}}
	add.Flags().Var(&account, "account", "whose events")
	add.Flags().StringSliceVar(&e.EventTypes, "types", nil, "event types, of "+strings.Join(notification.Types(), ", ")+"; empty for all")
	add.Flags().StringVar(&e.Format, "format", "event", "event or flat")
	_ = add.MarkFlagRequired("account")
	cmd.AddCommand(add)
	return cmd
}
