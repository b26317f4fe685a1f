package main

import (
	"cmp"
	"errors"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/postrider/postrider/edges/console/gate"
	"github.com/postrider/postrider/internal/email"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/postgres"
	"github.com/postrider/postrider/internal/secret"
	"github.com/postrider/postrider/internal/snapshot"
)

func staffInviteCommand() *cobra.Command {
	var m snapshot.Staff
	var role string
	var send bool
	cmd := &cobra.Command{Use: "invite EMAIL", Short: "Let somebody choose a password for the console by a link, good once and for 72 hours", Args: cobra.ExactArgs(1),
		Long: "Let somebody choose a password for the console by a link, good once and for 72 hours. Who is not there yet is made, with role and name; " +
			"for somebody who was invited before the link takes the place of the one before. The link is printed, or with --send e-mailed.",
		RunE: func(cmd *cobra.Command, args []string) error {
			var malformed error
			m.Email, malformed = staffEmail(args[0])
			if err := errors.Join(malformed, checkWord("role", role, roleWords()...)); err != nil {
				return err
			}
			m.ID, m.Role = message.NewID(), snapshot.Role(role)
			config, err := readConfig()
			if err != nil {
				return err
			}
			if send && config.EmailRelay.Empty() {
				return errors.New("--send: this gateway sends no e-mail; set EMAIL_RELAY, or leave --send out to have the link printed")
			}
			return withDB(cmd.Context(), func(db *postgres.DB, keys *secret.Keyring) error {
				return inviteStaff(cmd, config, db, keys, m, send)
			})
		}}
	cmd.Flags().StringVar(&m.Name, "name", "", "the person's name")
	cmd.Flags().StringVar(&role, "role", "", strings.Join(roleWords(), ", "))
	cmd.Flags().BoolVar(&send, "send", false, "send the link by e-mail instead of printing it")
	_ = cmd.MarkFlagRequired("role")
	return cmd
}

func inviteStaff(cmd *cobra.Command, config Config, db *postgres.DB, keys *secret.Keyring, m snapshot.Staff, send bool) error {
	ctx := cmd.Context()
	token, hash := gate.NewLink(keys)
	made, err := db.InviteStaff(ctx, shellActor(), m, hash, gate.InvitationGood)
	if err != nil {
		return err
	}
	until := time.Now().Add(gate.InvitationGood)
	link := gate.LinkURL(cmp.Or(config.PublicURL, gate.DefaultPublicURL), snapshot.Console, token)
	shown := map[string]any{"id": made.ID, "email": made.Email, "role": made.Role, "expires_at": until.UTC().Format(time.RFC3339)}
	if !send {
		shown["link"] = link
		return printJSON(cmd.OutOrStdout(), shown)
	}
	relay, err := email.Parse(config.EmailRelay.Reveal(), config.EmailFrom, nil)
	if err != nil {
		return err
	}
	subject, text := gate.InvitationText(link, until)
	if err := relay.Write(ctx, made.Email, subject, text); err != nil {
		return err
	}
	return printJSON(cmd.OutOrStdout(), shown)
}

func staffFactorCommand() *cobra.Command {
	return &cobra.Command{Use: "second-factor-off EMAIL", Short: "Take somebody's second factor off who has lost it with all recovery codes", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withDB(cmd.Context(), func(db *postgres.DB, _ *secret.Keyring) error {
				id, err := db.StaffID(cmd.Context(), strings.ToLower(args[0]))
				if err != nil {
					return err
				}
				return db.RemoveSecondFactor(cmd.Context(), shellActor(), snapshot.Console, id)
			})
		}}
}
