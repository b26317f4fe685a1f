package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/notification"
	"github.com/postrider/postrider/internal/optout"
	"github.com/postrider/postrider/internal/policy"
	"github.com/postrider/postrider/internal/postgres"
	"github.com/postrider/postrider/internal/secret"
	"github.com/postrider/postrider/internal/snapshot"
)

func optOutCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "opt-out", Short: "Who wants no more messages from whom",
		Long: "An opt-out is in force on every running process within two seconds. Ended ones are kept as history and never deleted."}
	cmd.AddCommand(optOutAddCommand(), optOutEndCommand(), optOutListCommand(), optOutCheckCommand(), optOutImportCommand(), optOutExportCommand(), optOutScopeCommand())
	return cmd
}

// withOptOuts opens the database with the configuration of now.
func withOptOuts(ctx context.Context, account message.ID, f func(db *postgres.DB, s *snapshot.Snapshot) error) error {
	return withDB(ctx, func(db *postgres.DB, _ *secret.Keyring) error {
		s, err := db.LoadSnapshot(ctx)
		if err != nil {
			return err
		}
		if s.Accounts[account] == nil {
			return fmt.Errorf("there is no account %s", account)
		}
		return f(db, s)
	})
}

// ownCampaign refuses a campaign that is not the account's.
func ownCampaign(s *snapshot.Snapshot) func(message.OptOut) error {
	type owned struct {
		account  message.ID
		campaign string
	}
	known := map[owned]bool{} // asked for each row of a file
	for _, c := range s.Campaigns {
		known[owned{c.AccountID, c.CampaignID}] = true
	}
	return func(o message.OptOut) error {
		if o.Scope == message.OptOutCampaign && !known[owned{o.AccountID, o.CampaignID}] {
			return fmt.Errorf("campaign_id: the account has no campaign %s", o.CampaignID)
		}
		return nil
	}
}

// optOutShown is an opt-out as the commands print it.
func optOutShown(o message.OptOut) map[string]any {
	shown := map[string]any{"id": o.ID, "recipient": string(o.Recipient), "scope": o.Scope, "sender": string(o.Sender), "campaign_id": o.CampaignID,
		"active": o.Active(), "keyword": o.Keyword, "source": o.Source, "actor": o.Actor, "reason": o.Reason, "at": o.At}
	if o.MessageID != (message.ID{}) {
		shown["message_id"] = o.MessageID
	}
	if !o.Active() {
		shown["ended_at"], shown["ended_by"], shown["end_reason"] = o.Ended.At, o.Ended.Actor, o.Ended.Reason
	}
	return shown
}

// shellName names in the record who runs a command.
func shellName() string { return "shell:" + shellActor().Name }

func optOutAddCommand() *cobra.Command {
	var account idFlag
	var sender, campaign, scope, reason string
	cmd := &cobra.Command{Use: "add RECIPIENT", Short: "Record that a recipient wants no more messages", Args: cobra.ExactArgs(1),
		Long: "Without --sender and --campaign-id all of the account is stopped.",
		RunE: func(cmd *cobra.Command, args []string) error {
			o := message.OptOut{ID: message.NewID(), AccountID: account.id, Reason: reason, Source: message.OptOutByAPI, Actor: shellName()}
			if err := optout.Fill(&o, args[0], scope, sender, campaign); err != nil {
				return err
			}
			return withOptOuts(cmd.Context(), account.id, func(db *postgres.DB, s *snapshot.Snapshot) error {
				if err := ownCampaign(s)(o); err != nil {
					return err
				}
				is, fresh, err := db.AddOptOut(cmd.Context(), shellActor(), o, notification.OptOutTell(s, time.Now()))
				if err != nil {
					return err
				}
				shown := optOutShown(is)
				shown["fresh"] = fresh
				return printJSON(cmd.OutOrStdout(), shown)
			})
		}}
	f := cmd.Flags()
	f.Var(&account, "account", "whose messages are stopped")
	f.StringVar(&sender, "sender", "", "the one sender that is stopped")
	f.StringVar(&campaign, "campaign-id", "", "the registry's id of the campaign that is stopped")
	f.StringVar(&scope, "scope", "", "number, campaign or account; empty: by what is given")
	f.StringVar(&reason, "reason", "", "why, for the record")
	_ = cmd.MarkFlagRequired("account")
	return cmd
}

func optOutEndCommand() *cobra.Command {
	var account idFlag
	var reason string
	cmd := &cobra.Command{Use: "end OPT-OUT", Short: "End an opt-out, with the recipient's consent only", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := message.ParseID(args[0])
			if err != nil {
				return err
			}
			if reason = strings.TrimSpace(reason); reason == "" {
				return errors.New("--reason: say why the recipient may be written to again")
			}
			if err := optout.Text("reason", reason, message.MaxOptOutReason); err != nil {
				return err
			}
			return withOptOuts(cmd.Context(), account.id, func(db *postgres.DB, s *snapshot.Snapshot) error {
				is, err := db.RemoveOptOut(cmd.Context(), shellActor(), account.id, id, message.OptOutEnd{Actor: shellName(), Reason: reason}, notification.OptOutTell(s, time.Now()))
				if err != nil {
					return err
				}
				return printJSON(cmd.OutOrStdout(), optOutShown(is))
			})
		}}
	cmd.Flags().Var(&account, "account", "whose opt-out it is")
	cmd.Flags().StringVar(&reason, "reason", "", "why the recipient may be written to again")
	_ = cmd.MarkFlagRequired("account")
	_ = cmd.MarkFlagRequired("reason")
	return cmd
}

// optOutFilterFlags narrow a list.
type optOutFilterFlags struct {
	account                     idFlag
	recipient, sender, campaign string
	active, ended               bool
}

func (o *optOutFilterFlags) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.Var(&o.account, "account", "whose opt-outs")
	f.StringVar(&o.recipient, "recipient", "", "only of this recipient")
	f.StringVar(&o.sender, "sender", "", "only of this sender")
	f.StringVar(&o.campaign, "campaign-id", "", "only of this campaign")
	f.BoolVar(&o.active, "active", false, "only those in force")
	f.BoolVar(&o.ended, "ended", false, "only those that have ended")
	_ = cmd.MarkFlagRequired("account")
	cmd.MarkFlagsMutuallyExclusive("active", "ended")
}

func (o *optOutFilterFlags) read() (message.OptOutFilter, error) {
	f := message.OptOutFilter{CampaignID: o.campaign}
	var errs [2]error
	if o.recipient != "" {
		f.Recipient, errs[0] = message.ParseRecipient(o.recipient)
	}
	if o.sender != "" {
		f.Sender, errs[1] = message.ParseSender(o.sender)
	}
	if o.active || o.ended {
		f.Active = new(o.active)
	}
	return f, errors.Join(errs[:]...)
}

func optOutListCommand() *cobra.Command {
	var flags optOutFilterFlags
	var limit int
	cmd := &cobra.Command{Use: "list", Short: "List opt-outs, newest first", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		f, err := flags.read()
		if err != nil {
			return err
		}
		return withDB(cmd.Context(), func(db *postgres.DB, _ *secret.Keyring) error {
			list, err := db.OptOuts(cmd.Context(), flags.account.id, f, message.ID{}, min(max(limit, 1), 10_000))
			if err != nil {
				return err
			}
			shown := make([]map[string]any, 0, len(list))
			for _, o := range list {
				shown = append(shown, optOutShown(o))
			}
			return printJSON(cmd.OutOrStdout(), shown)
		})
	}}
	flags.add(cmd)
	cmd.Flags().IntVar(&limit, "limit", 100, "at most so many, up to 10,000; export has no bound")
	return cmd
}

func optOutCheckCommand() *cobra.Command {
	var account idFlag
	cmd := &cobra.Command{Use: "check RECIPIENT SENDER", Short: "Show what keeps a sender from a recipient", Args: cobra.ExactArgs(2), RunE: func(cmd *cobra.Command, args []string) error {
		recipient, err := message.ParseRecipient(args[0])
		if err != nil {
			return err
		}
		sender, err := message.ParseSender(args[1])
		if err != nil {
			return err
		}
		return withOptOuts(cmd.Context(), account.id, func(db *postgres.DB, s *snapshot.Snapshot) error {
			o, stopped, err := db.StoppedBy(cmd.Context(), account.id, sender, recipient, policy.CampaignOf(s, account.id, sender))
			if err != nil {
				return err
			}
			shown := map[string]any{"stopped": stopped}
			if stopped {
				shown["opt_out"] = optOutShown(o)
			}
			return printJSON(cmd.OutOrStdout(), shown)
		})
	}}
	cmd.Flags().Var(&account, "account", "whose sender it is")
	_ = cmd.MarkFlagRequired("account")
	return cmd
}

func optOutImportCommand() *cobra.Command {
	var account idFlag
	cmd := &cobra.Command{Use: "import FILE", Short: "Record opt-outs from CSV, - for standard input", Args: cobra.ExactArgs(1),
		Long: fmt.Sprintf("The first line names the columns: recipient, and any of scope, sender, campaign_id, keyword, reason, created_at.\n"+
			"A row is one line; at most %d rows. Rows that break a rule are left out and told, the others are recorded in batches:\n"+
			"after an error the file may be given again. Webhooks are not told of imported opt-outs.", optout.MaxRows),
		RunE: func(cmd *cobra.Command, args []string) error {
			in, err := openInput(cmd, args[0])
			if err != nil {
				return err
			}
			defer func() { _ = in.Close() }()
			return withOptOuts(cmd.Context(), account.id, func(db *postgres.DB, s *snapshot.Snapshot) error {
				return importOptOuts(cmd, db, s, account.id, in)
			})
		}}
	cmd.Flags().Var(&account, "account", "whose messages are stopped")
	_ = cmd.MarkFlagRequired("account")
	return cmd
}

// importOptOuts notes in the audit log that an import begins and what became of it.
func importOptOuts(cmd *cobra.Command, db *postgres.DB, s *snapshot.Snapshot, account message.ID, in io.Reader) error {
	ctx := cmd.Context()
	if err := db.NoteOptOuts(ctx, shellActor(), "opt_out.import", account, map[string]any{"state": "begun"}); err != nil {
		return err
	}
	r, err := optout.Import{Account: account, Actor: shellName(), Now: time.Now(), Check: ownCampaign(s)}.Read(ctx, in, db)
	shown := map[string]any{"state": "ended", "rows": r.Rows, "created": r.Created, "already": r.Already, "invalid": r.Invalid}
	if err != nil {
		shown["state"] = "broken off"
	}
	err = errors.Join(err, db.NoteOptOuts(context.WithoutCancel(ctx), shellActor(), "opt_out.import", account, shown))
	shown["errors"] = r.Bad
	return errors.Join(err, printJSON(cmd.OutOrStdout(), shown))
}

func optOutExportCommand() *cobra.Command {
	var flags optOutFilterFlags
	cmd := &cobra.Command{Use: "export", Short: "Write opt-outs as CSV, newest first", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		f, err := flags.read()
		if err != nil {
			return err
		}
		return withDB(cmd.Context(), func(db *postgres.DB, _ *secret.Keyring) error {
			if err := db.NoteOptOuts(cmd.Context(), shellActor(), "opt_out.export", flags.account.id, map[string]any{"active": f.Active}); err != nil {
				return err
			}
			return optout.Export(cmd.Context(), db, flags.account.id, f, cmd.OutOrStdout(), nil)
		})
	}}
	flags.add(cmd)
	return cmd
}

func optOutScopeCommand() *cobra.Command {
	return &cobra.Command{Use: "scope ACCOUNT number|campaign|account", Short: "Say what a recipient stops who writes STOP to a number of the account", Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := message.ParseID(args[0])
			if err != nil {
				return err
			}
			scope := message.OptOutScope(args[1])
			switch scope {
			case message.OptOutNumber, message.OptOutCampaign, message.OptOutAccount:
			default:
				return errors.New("want number, campaign or account")
			}
			return withDB(cmd.Context(), func(db *postgres.DB, _ *secret.Keyring) error {
				return db.SetOptOutScope(cmd.Context(), shellActor(), id, scope)
			})
		}}
}
