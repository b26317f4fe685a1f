package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/postrider/postrider/internal/content"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/policy"
	"github.com/postrider/postrider/internal/postgres"
	"github.com/postrider/postrider/internal/secret"
)

func contentRuleCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "content-rule", Short: "What texts are looked at for",
		Long: "Rules of all accounts, or of one with --account. The strongest action of those that match wins (refuse, hold, flag); an account's rule that allows a class overrules\n" +
			"global ones that flag or hold it. Texts are compared without case, accents, invisible characters and letters that only look like Latin ones.",
	}
	cmd.AddCommand(contentAddCommand(), contentSetCommand(), contentListCommand(), contentRemoveCommand(), contentTestCommand(), contentStarterCommand())
	return cmd
}

// contentFlags are a rule as flags.
type contentFlags struct {
	account                          idFlag
	name, kind, class, pattern, file string
	action, messageClass, effective  string
	active                           bool
}

func (s *contentFlags) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&s.name, "name", "", "name, shown in trails")
	f.StringVar(&s.kind, "kind", "word", "word (words or phrases, one a line, word* for beginnings), regex (RE2), link (domains, *, @shorteners, @ip, @userinfo, @undeclared) or phone (+1900, *, @undeclared)")
	f.StringVar(&s.class, "class", "other", "what it is about: "+strings.Join(content.Classes, ", "))
	f.StringVar(&s.pattern, "pattern", "", "what it looks for")
	f.StringVar(&s.file, "pattern-file", "", "a file with the pattern; - for standard input")
	f.StringVar(&s.action, "action", "flag", "allow (for --account only), flag, hold or refuse")
	f.StringVar(&s.messageClass, "message-class", "", "only for otp, conversation or bulk; empty for all")
	f.StringVar(&s.effective, "effective-from", "", "since when it counts, as 2026-11-21T20:15:04Z; now, if not given")
	f.BoolVar(&s.active, "active", true, "whether it is in force")
}

// into changes the rule as the flags that were given say; all: those that were not, too.
func (s *contentFlags) into(cmd *cobra.Command, r *content.Rule, all bool) error {
	given := func(flag string) bool { return all || cmd.Flags().Changed(flag) }
	if given("name") {
		r.Name = s.name
	}
	if given("kind") {
		r.Kind = content.Kind(s.kind)
	}
	if given("class") {
		r.Class = s.class
	}
	if given("action") {
		r.Action = content.Action(s.action)
	}
	if given("message-class") {
		r.MessageClass = message.Class(s.messageClass)
	}
	if given("active") {
		r.Active = s.active
	}
	if s.effective != "" {
		at, err := time.Parse(time.RFC3339, s.effective)
		if err != nil {
			return fmt.Errorf("--effective-from: %w", err)
		}
		r.From = at
	}
	switch {
	case s.file != "" && s.pattern != "":
		return errors.New("give --pattern or --pattern-file, not both")
	case s.file != "":
		text, err := readUpTo(cmd, s.file)
		if err != nil {
			return fmt.Errorf("--pattern-file: %w", err)
		}
		r.Pattern = text
	case given("pattern"):
		r.Pattern = s.pattern
	}
	return r.Check()
}

// readUpTo reads a file, or standard input for -, of at most 64 KiB.
func readUpTo(cmd *cobra.Command, name string) (string, error) {
	const most = 64 << 10
	in, err := openInput(cmd, name)
	if err != nil {
		return "", err
	}
	defer func() { _ = in.Close() }()
	b, err := io.ReadAll(io.LimitReader(in, most+1))
	if err == nil && len(b) > most {
		err = fmt.Errorf("more than %d octets", most)
	}
	return string(b), err
}

func contentAddCommand() *cobra.Command {
	var s contentFlags
	cmd := &cobra.Command{Use: "add", Short: "Add a rule", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		r := content.Rule{ID: message.NewID(), AccountID: s.account.id}
		if err := s.into(cmd, &r, true); err != nil {
			return err
		}
		return withDB(cmd.Context(), func(db *postgres.DB, _ *secret.Keyring) error {
			if err := db.CreateContentRule(cmd.Context(), shellActor(), r); err != nil {
				return err
			}
			return printJSON(cmd.OutOrStdout(), map[string]any{"id": r.ID, "name": r.Name})
		})
	}}
	s.add(cmd)
	cmd.Flags().Var(&s.account, "account", "only for this account")
	_ = cmd.MarkFlagRequired("name")
	return cmd
}

func contentSetCommand() *cobra.Command {
	var s contentFlags
	cmd := &cobra.Command{Use: "set RULE", Short: "Change a rule; what is not given stays", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		id, err := message.ParseID(args[0])
		if err != nil {
			return err
		}
		return withDB(cmd.Context(), func(db *postgres.DB, _ *secret.Keyring) error {
			_, err := db.ChangeContentRule(cmd.Context(), shellActor(), id, func(r *content.Rule) error { return s.into(cmd, r, false) })
			return err
		})
	}}
	s.add(cmd)
	return cmd
}

func contentListCommand() *cobra.Command {
	var account idFlag
	cmd := &cobra.Command{Use: "list", Short: "List rules, and which cannot be used", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return withDB(cmd.Context(), func(db *postgres.DB, _ *secret.Keyring) error {
			w := table(cmd.OutOrStdout(), "ID\tACCOUNT\tNAME\tKIND\tCLASS\tACTION\tFOR\tFROM\tSTATE")
			var after message.ID
			err := eachPage(func(limit int) (int, error) {
				list, err := db.ContentRules(cmd.Context(), content.Filter{AccountID: account.id}, after, limit)
				for _, r := range list {
					state := "off"
					if r.Active {
						state = "on"
						if err := r.Check(); err != nil {
							state = "LEFT OUT: " + message.AsError(err).Detail
						}
					}
					owner := "(all)"
					if r.AccountID != (message.ID{}) {
						owner = r.AccountID.String()
					}
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.ID, owner, r.Name, r.Kind, r.Class, r.Action, r.MessageClass, r.From.UTC().Format(time.DateOnly), state)
					after = r.ID
				}
				return len(list), err
			})
			if err != nil {
				return err
			}
			return w.Flush()
		})
	}}
	cmd.Flags().Var(&account, "account", "only the rules of this account")
	return cmd
}

func contentRemoveCommand() *cobra.Command {
	return &cobra.Command{Use: "remove RULE", Short: "Take a rule away", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		id, err := message.ParseID(args[0])
		if err != nil {
			return err
		}
		return withDB(cmd.Context(), func(db *postgres.DB, _ *secret.Keyring) error {
			return db.DeleteContentRule(cmd.Context(), shellActor(), id)
		})
	}}
}

func contentTestCommand() *cobra.Command {
	var account idFlag
	var class string
	var inactive bool
	cmd := &cobra.Command{
		Use: "test TEXT", Short: "Show what rules find in a text; nothing is sent", Args: cobra.ExactArgs(1),
		Long: "TEXT is a text, or - for standard input.",
		RunE: func(cmd *cobra.Command, args []string) error {
			text := args[0]
			if text == "-" {
				var err error
				if text, err = readUpTo(cmd, "-"); err != nil {
					return err
				}
			}
			if class != "" && !slices.Contains([]message.Class{message.ClassOTP, message.ClassConversation, message.ClassBulk}, message.Class(class)) {
				return errors.New("--message-class: want otp, conversation or bulk")
			}
			return withDB(cmd.Context(), func(db *postgres.DB, _ *secret.Keyring) error {
				rules, err := db.AllContentRules(cmd.Context(), inactive)
				if err != nil {
					return err
				}
				o := policy.Try(rules, content.Query{Account: account.id, Class: message.Class(class), Text: text, Now: time.Now()})
				type match struct {
					Rule      string         `json:"rule"`
					Name      string         `json:"name"`
					Class     string         `json:"class"`
					Action    content.Action `json:"action"`
					From      int            `json:"from"` // octets
					To        int            `json:"to"`
					Text      string         `json:"text"`
					Overruled bool           `json:"overruled,omitempty"`
				}
				shown := struct {
					Action  content.Action `json:"action"`
					Matches []match        `json:"matches"`
				}{Action: o.Action, Matches: []match{}}
				for _, m := range o.Matches {
					shown.Matches = append(shown.Matches, match{m.Rule.ID.String(), m.Rule.Name, m.Rule.Class, m.Rule.Action, m.From, m.To, text[m.From:m.To], m.Overruled})
				}
				return printJSON(cmd.OutOrStdout(), shown)
			})
		},
	}
	cmd.Flags().Var(&account, "account", "with the rules of this account")
	cmd.Flags().StringVar(&class, "message-class", "conversation", "as a message of this class")
	cmd.Flags().BoolVar(&inactive, "all", false, "also by rules that are not active")
	return cmd
}

func contentStarterCommand() *cobra.Command {
	return &cobra.Command{
		Use: "import-starter", Short: "Add the shipped global rules that are not there yet", Args: cobra.NoArgs,
		Long: "Rules that flag are active at once and show what they would find. Those that hold or refuse are not: lists of words also catch what a customer's programme allows.\n" +
			"Look at them, try them (content-rule test --all), and switch on what is wanted: content-rule set RULE --active.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withDB(cmd.Context(), func(db *postgres.DB, _ *secret.Keyring) error {
				n, err := db.ImportStarterRules(cmd.Context(), shellActor())
				if err != nil {
					return err
				}
				return printJSON(cmd.OutOrStdout(), map[string]any{"added": n})
			})
		},
	}
}

// messageReviewCommands list what content rules hold, and say what is to become of it.
func messageReviewCommands() []*cobra.Command {
	var account, after idFlag
	var limit int
	held := &cobra.Command{Use: "held", Short: "List messages that content rules hold for a review, oldest first", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return withDB(cmd.Context(), func(db *postgres.DB, _ *secret.Keyring) error {
			list, err := db.HeldMessages(cmd.Context(), account.id, after.id, limit)
			if err != nil {
				return err
			}
			w := table(cmd.OutOrStdout(), "ID\tACCOUNT\tSINCE\tEXPIRES\tFROM\tTO\tWHY")
			for _, m := range list {
				why := ""
				if m.Hold != nil {
					why = m.Hold.Detail
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", m.ID, m.AccountID, m.CreatedAt.Format(time.RFC3339), m.ExpiresAt.Format(time.RFC3339), m.From.Masked(), m.To.Masked(), why)
			}
			return w.Flush()
		})
	}}
	held.Flags().Var(&account, "account", "only messages of this account")
	held.Flags().Var(&after, "after", "behind this message")
	held.Flags().IntVar(&limit, "limit", 50, "how many")
	say := func(use, short string, verdict message.Verdict, needed bool) *cobra.Command {
		var reason string
		cmd := &cobra.Command{
			Use: use + " MESSAGE", Short: short, Args: cobra.ExactArgs(1),
			Long: short + ". Its workflow is told within half a minute.",
			RunE: func(cmd *cobra.Command, args []string) error {
				id, err := message.ParseID(args[0])
				if err != nil {
					return err
				}
				return withDB(cmd.Context(), func(db *postgres.DB, _ *secret.Keyring) error {
					return db.Review(cmd.Context(), shellActor(), id, verdict, reason)
				})
			},
		}
		cmd.Flags().StringVar(&reason, "reason", "", "why")
		if needed {
			_ = cmd.MarkFlagRequired("reason")
		}
		return cmd
	}
	return []*cobra.Command{
		held,
		say("release", "Let a message go that a content rule holds", message.VerdictRelease, false),
		say("refuse", "Refuse a message that a content rule holds; the customer sees the reason", message.VerdictRefuse, true),
	}
}
