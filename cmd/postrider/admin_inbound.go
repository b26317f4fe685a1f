package main

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/policy"
	"github.com/postrider/postrider/internal/postgres"
	"github.com/postrider/postrider/internal/secret"
	"github.com/postrider/postrider/internal/snapshot"
)

// maxReply bounds an answer of an account's own, in characters: three parts.
const maxReply = 459

func inboundCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "inbound", Short: "Messages from handsets"}
	var account idFlag
	var unrouted, human, texts bool
	var limit int
	list := &cobra.Command{
		Use: "list", Short: "List inbound messages, newest first", Args: cobra.NoArgs,
		Long: "List inbound messages and the parts of long ones, newest first: an account's, those to numbers that are nobody's, or those in which\n" +
			"somebody may ask for an end of the messages in words that no program should act on.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkRange("limit", limit, 1, 10_000); err != nil {
				return err
			}
			return withDB(cmd.Context(), func(db *postgres.DB, _ *secret.Keyring) error {
				var found []message.InboundRecord
				var err error
				switch {
				case unrouted:
					found, err = db.InboundUnrouted(cmd.Context(), "", message.ID{}, limit)
				case human:
					found, err = db.InboundForHuman(cmd.Context(), limit)
				default:
					found, err = db.InboundOf(cmd.Context(), account.id, limit)
				}
				if err != nil {
					return err
				}
				return showInbound(cmd, found, texts)
			})
		},
	}
	f := list.Flags()
	f.Var(&account, "account", "whose")
	f.BoolVar(&unrouted, "unrouted", false, "to numbers that are nobody's")
	f.BoolVar(&human, "for-human", false, "of all accounts, those that somebody should read")
	f.BoolVar(&texts, "text", false, "show the texts")
	f.IntVar(&limit, "limit", 20, "how many")
	list.MarkFlagsMutuallyExclusive("account", "unrouted", "for-human")
	list.MarkFlagsOneRequired("account", "unrouted", "for-human")
	cmd.AddCommand(list, redriveCommand())
	return cmd
}

func showInbound(cmd *cobra.Command, found []message.InboundRecord, texts bool) error {
	head := "ID\tRECEIVED\tFROM\tTO\tPART\tKEYWORD\tDOES\tCHANGED\tREAD"
	if texts {
		head += "\tTEXT"
	}
	w := table(cmd.OutOrStdout(), head)
	for _, r := range found {
		part := "whole"
		switch {
		case r.Parts > 1:
			part = fmt.Sprintf("%d of %d", r.Part, r.Parts)
		case r.Missing > 0:
			part = fmt.Sprintf("%d of %d came", r.Joined-r.Missing, r.Joined)
		case r.Joined > 0:
			part = fmt.Sprintf("all %d", r.Joined)
		}
		if r.RepeatOf != (message.ID{}) {
			part += ", again"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%t\t%t", r.ID, r.ReceivedAt.Format(time.RFC3339), r.From.Masked(), r.To.Masked(), part,
			r.Keyword, r.Action, r.Changed, r.ForHuman)
		if texts {
			fmt.Fprintf(w, "\t%q", r.Text)
		}
		fmt.Fprintln(w)
	}
	return w.Flush()
}

func accountAnswersCommand() *cobra.Command {
	var words snapshot.Keywords
	var stop, start, help string
	cmd := &cobra.Command{
		Use: "answers ACCOUNT", Short: "Set an account's own keywords and its answers to STOP, START and HELP", Args: cobra.ExactArgs(1),
		Long: "Set an account's own keywords, beside those of everybody, and its answers where a campaign has none of its own. {company} in an answer\n" +
			"is the company's name; an empty answer is the gateway's. If one list of words is given, all three are set.",
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := message.ParseID(args[0])
			if err != nil {
				return err
			}
			var c postgres.AnswersChange
			changed := cmd.Flags().Changed
			if changed("stop-words") || changed("start-words") || changed("help-words") {
				c.Keywords, err = &words, policy.CheckKeywords(words, time.Now())
			}
			errs := []error{err}
			for flag, reply := range map[string]struct {
				text string
				set  **string
			}{"stop-reply": {stop, &c.StopReply}, "start-reply": {start, &c.StartReply}, "help-reply": {help, &c.HelpReply}} {
				if !changed(flag) {
					continue
				}
				*reply.set = &reply.text
				if n := utf8.RuneCountInString(reply.text); n > maxReply || !utf8.ValidString(reply.text) || strings.ContainsRune(reply.text, 0) {
					errs = append(errs, fmt.Errorf("--%s: want a text of at most %d characters", flag, maxReply))
				}
			}
			if c == (postgres.AnswersChange{}) {
				errs = append(errs, errors.New("nothing to set"))
			}
			if err := errors.Join(errs...); err != nil {
				return err
			}
			return withDB(cmd.Context(), func(db *postgres.DB, _ *secret.Keyring) error {
				return db.ChangeAnswers(cmd.Context(), shellActor(), id, c)
			})
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&words.Stop, "stop-words", nil, "words that stop")
	f.StringSliceVar(&words.Start, "start-words", nil, "words that start again")
	f.StringSliceVar(&words.Help, "help-words", nil, "words that ask for help")
	f.StringVar(&stop, "stop-reply", "", "the answer to a word that stops")
	f.StringVar(&start, "start-reply", "", "the answer to a word that starts again")
	f.StringVar(&help, "help-reply", "", "the answer to a call for help")
	return cmd
}

func vendorRepliesCommand() *cobra.Command {
	return &cobra.Command{
		Use: "replies NAME vendor|gateway|default", Short: "Say who answers STOP, START and HELP that come over a vendor", Args: cobra.ExactArgs(2),
		Long: "Say who answers STOP, START and HELP that come over a vendor: the vendor itself (the gateway then never does), the gateway, or, as by\n" +
			"default, the gateway but for STOP and START to toll-free numbers, which their network answers.",
		RunE: func(cmd *cobra.Command, args []string) error {
			r := snapshot.VendorReplies(args[1])
			switch r {
			case snapshot.RepliesVendor, snapshot.RepliesGateway:
			case "default":
				r = snapshot.RepliesDefault
			default:
				return fmt.Errorf("%q is none of vendor, gateway, default", args[1])
			}
			return withDB(cmd.Context(), func(db *postgres.DB, _ *secret.Keyring) error {
				return db.SetVendorReplies(cmd.Context(), shellActor(), args[0], r)
			})
		},
	}
}
