package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/postgres"
	"github.com/postrider/postrider/internal/quiet"
	"github.com/postrider/postrider/internal/secret"
	"github.com/postrider/postrider/internal/snapshot"
)

func accountCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "account", Short: "Customers"}
	cmd.AddCommand(accountCreateCommand(), accountSetCommand(), accountRateCommand(), accountRefusalsCommand())
	cmd.AddCommand(accountLimitCommand(), accountPrepaidCommand(), accountCreditCommand(), accountBalanceCommand())
	cmd.AddCommand(accountAnswersCommand(), accountDestinationsCommand())
	for word, status := range map[string]snapshot.AccountStatus{"suspend": snapshot.AccountSuspended, "resume": snapshot.AccountActive, "close": snapshot.AccountClosed} {
		cmd.AddCommand(accountStatusCommand(word, status))
	}
	return cmd
}

// accountStatusCommand does what the internal API does under the same word.
func accountStatusCommand(word string, status snapshot.AccountStatus) *cobra.Command {
	var reason string
	var forced bool
	cmd := &cobra.Command{Use: word + " ACCOUNT", Short: "Make the account " + string(status), Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		id, err := message.ParseID(args[0])
		if err != nil {
			return err
		}
		return withDB(cmd.Context(), func(db *postgres.DB, _ *secret.Keyring) error {
			if status == snapshot.AccountClosed {
				return db.CloseCustomer(cmd.Context(), shellActor(), id, forced, reason)
			}
			_, err := db.SuspendCustomer(cmd.Context(), shellActor(), id, status == snapshot.AccountSuspended, reason)
			return err
		})
	}}
	cmd.Flags().StringVar(&reason, "reason", "", "for the audit log")
	if status == snapshot.AccountClosed {
		cmd.Short += ", for good: refused while messages are on their way"
		cmd.Flags().BoolVar(&forced, "force", false, "close it all the same: what waits is refused at its next step")
	}
	return cmd
}

func accountCreateCommand() *cobra.Command {
	var name, external string
	var rate int
	s := accountFlags{
		ordered: orderedFlag{&postgres.Ordered{}}, hold: snapshot.DefaultConversationHold, backlog: snapshot.DefaultMaxBacklog, held: snapshot.DefaultMaxHeld,
		mismatch: hexFlag{0x45}, optedOut: hexFlag{0x0B}, quiet: string(quiet.PolicyWait), texts: 30, fallback: string(snapshot.MMSFallbackNone),
	}
	cmd := &cobra.Command{Use: "create", Short: "Add a customer", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		c, err := s.read(cmd)
		if err != nil {
			return err
		}
		return withDB(cmd.Context(), func(db *postgres.DB, _ *secret.Keyring) error {
			hook := secret.NewWebhookSecret().Reveal()
			a := snapshot.Account{ID: message.NewID(), CompanyName: name, ExternalID: external, APIRateLimit: rate, WebhookSecret: hook,
				ConversationHold: c.ConversationHold, MaxBacklog: c.MaxBacklog, MaxHeld: c.MaxHeld,
				EncodingMismatchStatus: c.EncodingMismatchStatus, OptedOutStatus: c.OptedOutStatus, QuietHours: c.QuietHours,
				InternalDelivery: s.internal, ResendAfter: s.resend, MMSFallback: c.MMSFallback}
			if c.QuietWindows != nil {
				a.QuietWindows = c.QuietWindows.Override
			}
			if c.OrderedConversations != nil {
				a.OrderedConversations = c.OrderedConversations.Always
			}
			if err := db.CreateAccount(cmd.Context(), shellActor(), a); err != nil {
				return err
			}
			if c.ContentRetentionDays != nil { // none at all is no default
				if err := db.ChangeAccount(cmd.Context(), shellActor(), a.ID, postgres.AccountChange{ContentRetentionDays: c.ContentRetentionDays}); err != nil {
					return err
				}
			}
			return printJSON(cmd.OutOrStdout(), map[string]any{"id": a.ID, "company_name": name, "webhook_secret": hook})
		})
	}}
	f := cmd.Flags()
	f.StringVar(&name, "name", "", "company name")
	f.StringVar(&external, "external-id", "", "the customer's id in other systems")
	f.IntVar(&rate, "rate", 10, "messages accepted a second")
	s.add(cmd)
	_ = cmd.MarkFlagRequired("name")
	return cmd
}

func accountSetCommand() *cobra.Command {
	var s accountFlags
	cmd := &cobra.Command{
		Use: "set ACCOUNT", Short: "Change settings of a customer", Args: cobra.ExactArgs(1),
		Long: "Change the settings that are given; the others stay.",
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := message.ParseID(args[0])
			if err != nil {
				return err
			}
			c, err := s.read(cmd)
			if err != nil {
				return err
			}
			if c == (postgres.AccountChange{}) {
				return errors.New("nothing to set: give at least one flag")
			}
			return withDB(cmd.Context(), func(db *postgres.DB, _ *secret.Keyring) error {
				return db.ChangeAccount(cmd.Context(), shellActor(), id, c)
			})
		},
	}
	s.add(cmd)
	return cmd
}

// accountFlags are settings of an account as flags. What they hold when they are
// added is shown as their default.
type accountFlags struct {
	ordered            orderedFlag
	hold               time.Duration
	backlog, held      int
	mismatch, optedOut hexFlag
	quiet, windows     string
	internal           bool
	resend             time.Duration
	texts              int
	fallback           string
}

func (s *accountFlags) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.Var(&s.ordered, "ordered", "whether messages of a conversation leave in order: yes, no, or edge (yes for those that come over SMPP)")
	f.DurationVar(&s.hold, "conversation-hold", s.hold, "how long a message that does not go holds up its conversation: 1s to 1h")
	f.IntVar(&s.backlog, "max-backlog", s.backlog, "messages that may be on their way out at once; more are refused")
	f.IntVar(&s.held, "smpp-max-held", s.held, "deliver_sm that may wait for its ESMEs; beyond it the oldest end as failed")
	f.Var(&s.mismatch, "smpp-encoding-mismatch", "command_status in hex for what cannot go in its encoding: 45 or 104")
	f.Var(&s.optedOut, "smpp-opted-out", "command_status in hex for a recipient who has opted out: 0B or 45")
	f.StringVar(&s.quiet, "quiet-hours", s.quiet, "what is done with bulk messages that would arrive in the recipient's quiet hours: off, wait or refuse")
	f.StringVar(&s.windows, "quiet-windows", s.windows, `own hours for bulk messages in place of those of the recipient's state, as {"zone": "recipient", "windows": [{"days": "mon-fri", "from": "09:00", "to": "18:00"}]}; zone may be account; none takes them away`)
	f.BoolVar(&s.internal, "internal-delivery", s.internal, "whether messages to numbers of ours stay in the house")
	f.DurationVar(&s.resend, "resend-after", s.resend, "how long after it was sent a one-time password (otp, at_least_once) without a final receipt goes to the next vendor as well: up to 1h; 0: never")
	f.StringVar(&s.fallback, "mms-fallback", s.fallback, "what becomes of an MMS that no vendor takes: none, or sms_link (it goes as a text with links to its files; PUBLIC_URL must be set)")
	f.IntVar(&s.texts, "content-retention-days", s.texts, "days after which the texts of finished messages are removed: 0 to 3650; 0: within hours. The rest of a message stays, see admin retention")
}

// read is what the flags change that were given.
func (s *accountFlags) read(cmd *cobra.Command) (postgres.AccountChange, error) {
	var c postgres.AccountChange
	var errs []error
	given := func(flag string, read func() error) {
		if cmd.Flags().Changed(flag) {
			errs = append(errs, read())
		}
	}
	given("ordered", func() error { c.OrderedConversations = s.ordered.to; return nil })
	given("conversation-hold", func() error {
		c.ConversationHold = s.hold
		return checkSeconds("conversation-hold", s.hold, time.Second, time.Hour)
	})
	given("max-backlog", func() error { c.MaxBacklog = s.backlog; return checkRange("max-backlog", s.backlog, 1, 100_000_000) })
	given("smpp-max-held", func() error { c.MaxHeld = s.held; return checkRange("smpp-max-held", s.held, 1, 10_000_000) })
	given("smpp-encoding-mismatch", func() (err error) {
		c.EncodingMismatchStatus, err = readStatus("smpp-encoding-mismatch", s.mismatch, 0x45, 0x104)
		return err
	})
	given("smpp-opted-out", func() (err error) {
		c.OptedOutStatus, err = readStatus("smpp-opted-out", s.optedOut, 0x0B, 0x45)
		return err
	})
	given("quiet-hours", func() error {
		c.QuietHours = quiet.Policy(s.quiet)
		if !c.QuietHours.Valid() {
			return errors.New("--quiet-hours: want off, wait or refuse")
		}
		return nil
	})
	given("quiet-windows", func() (err error) {
		c.QuietWindows = &postgres.Windows{}
		if s.windows == "none" {
			return nil
		}
		if c.QuietWindows.Override, err = quiet.ParseOverride([]byte(s.windows)); err != nil {
			return fmt.Errorf("--quiet-windows: %w", err)
		}
		return nil
	})
	given("internal-delivery", func() error { c.InternalDelivery = &s.internal; return nil })
	given("resend-after", func() error {
		c.ResendAfter = &s.resend
		return checkSeconds("resend-after", s.resend, 0, time.Hour)
	})
	given("content-retention-days", func() error {
		c.ContentRetentionDays = &s.texts
		return checkRange("content-retention-days", s.texts, 0, 3650)
	})
	given("mms-fallback", func() error {
		c.MMSFallback = snapshot.MMSFallback(s.fallback)
		switch {
		case !c.MMSFallback.Valid():
			return errors.New("--mms-fallback: want none or sms_link")
		case c.MMSFallback == snapshot.MMSFallbackLink && os.Getenv("PUBLIC_URL") == "":
			return errors.New("--mms-fallback sms_link: PUBLIC_URL is not set, under which recipients read the files; set it for the gateway and for this command")
		}
		return nil
	})
	return c, errors.Join(errs...)
}

func readStatus(flag string, list hexFlag, one, other uint32) (uint32, error) {
	if len(list) != 1 || !slices.Contains([]uint32{one, other}, list[0]) {
		return 0, fmt.Errorf("--%s: want %02X or %02X, not %s", flag, one, other, &list)
	}
	return list[0], nil
}

// orderedFlag is yes, no or edge.
type orderedFlag struct{ to *postgres.Ordered }

func (f *orderedFlag) String() string {
	switch {
	case f.to == nil:
		return ""
	case f.to.Always == nil:
		return "edge"
	case *f.to.Always:
		return "yes"
	}
	return "no"
}
func (f *orderedFlag) Type() string { return "word" }
func (f *orderedFlag) Set(s string) error {
	switch strings.ToLower(s) {
	case "yes":
		f.to = &postgres.Ordered{Always: new(true)}
	case "no":
		f.to = &postgres.Ordered{Always: new(false)}
	case "edge":
		f.to = &postgres.Ordered{}
	default:
		return errors.New("want yes, no or edge")
	}
	return nil
}
