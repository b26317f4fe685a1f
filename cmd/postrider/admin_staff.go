package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/mail"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/postgres"
	"github.com/postrider/postrider/internal/secret"
	"github.com/postrider/postrider/internal/snapshot"
)

// staffPasswordLength is how long a password is that is made here.
const staffPasswordLength = 20

func staffCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "staff", Short: "Who may log in at the internal API and the console",
		Long: "Who may log in at the internal API and the console. The first admin is made here; admins make the others here or there.",
	}
	cmd.AddCommand(staffCreateCommand(), staffListCommand(), staffActiveCommand("enable", true), staffActiveCommand("disable", false), staffPasswordCommand(), staffInviteCommand(), staffFactorCommand())
	return cmd
}

func staffCreateCommand() *cobra.Command {
	m := snapshot.Staff{Active: true}
	var role string
	var given stdinPassword
	cmd := &cobra.Command{Use: "create EMAIL", Short: "Let somebody log in; a password that is made is shown once", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		var email error
		m.Email, email = staffEmail(args[0])
		if err := errors.Join(email, checkWord("role", role, roleWords()...)); err != nil {
			return err
		}
		made, err := given.take(cmd, &m.PasswordHash)
		if err != nil {
			return err
		}
		m.ID, m.Role = message.NewID(), snapshot.Role(role)
		return withDB(cmd.Context(), func(db *postgres.DB, _ *secret.Keyring) error {
			if _, err := db.CreateStaff(cmd.Context(), shellActor(), m); err != nil {
				return err
			}
			return printJSON(cmd.OutOrStdout(), made.beside(map[string]any{"id": m.ID, "email": m.Email, "role": m.Role}))
		})
	}}
	cmd.Flags().StringVar(&m.Name, "name", "", "the person's name")
	cmd.Flags().StringVar(&role, "role", "", strings.Join(roleWords(), ", "))
	given.flag(cmd)
	_ = cmd.MarkFlagRequired("role")
	return cmd
}

func roleWords() []string {
	var words []string
	for _, r := range snapshot.Roles() {
		words = append(words, string(r))
	}
	return words
}

// staffEmail is an address as the table has it.
func staffEmail(s string) (string, error) {
	a, err := mail.ParseAddress(s)
	if err != nil || a.Address != s || len(s) > 254 || strings.ContainsAny(s, " \t") {
		return "", fmt.Errorf("EMAIL: want an address such as ada@gw.example, not %q", s)
	}
	return strings.ToLower(s), nil
}

// stdinPassword is a password that comes by standard input, because flags are seen
// by whoever lists the processes, and stay in the shell's history. Without it one is
// made.
type stdinPassword struct{ wanted bool }

// madePassword is a password that nobody knows yet, empty if somebody gave his own.
type madePassword string

func (p *stdinPassword) flag(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&p.wanted, "password-stdin", false, fmt.Sprintf("read the password from standard input: one line of %d to %d octets; made when not given", secret.MinPassword, secret.MaxPassword))
}

// take reads the password, or makes one, and puts its hash into hash.
func (p *stdinPassword) take(cmd *cobra.Command, hash *string) (madePassword, error) {
	password := secret.NewPassword(staffPasswordLength).Reveal()
	made := madePassword(password)
	if p.wanted {
		line, err := bufio.NewReader(io.LimitReader(cmd.InOrStdin(), 1024)).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", fmt.Errorf("read the password: %w", err)
		}
		password, made = strings.TrimRight(line, "\r\n"), ""
	}
	var err error
	*hash, err = secret.Passwords{}.HashPassword(password)
	return made, err
}

// beside adds the password to what is printed, if it was made here.
func (p madePassword) beside(shown map[string]any) map[string]any {
	if p != "" {
		shown["password"] = string(p)
	}
	return shown
}

func staffListCommand() *cobra.Command {
	return &cobra.Command{Use: "list", Short: "Show who may log in, and when they did", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return withDB(cmd.Context(), func(db *postgres.DB, _ *secret.Keyring) error {
			list := []map[string]any{}
			var before message.ID
			err := eachPage(func(limit int) (int, error) {
				members, err := db.StaffList(cmd.Context(), before, limit)
				for _, m := range members {
					list = append(list, staffShown(m))
					before = m.ID
				}
				return len(members), err
			})
			if err != nil {
				return err
			}
			return printJSON(cmd.OutOrStdout(), list)
		})
	}}
}

// staffShown is somebody as the list has them: nothing secret.
func staffShown(m snapshot.StaffMember) map[string]any {
	shown := map[string]any{"id": m.ID, "email": m.Email, "name": m.Name, "role": m.Role, "active": m.Active, "failed_tries": m.FailedTries, "last_login_at": nil}
	if !m.LastLoginAt.IsZero() {
		shown["last_login_at"] = m.LastLoginAt.UTC().Format(time.RFC3339)
	}
	return shown
}

func staffActiveCommand(word string, active bool) *cobra.Command {
	short := "Let somebody log in again"
	if !active {
		short = "Let somebody log in no longer; their access tokens end within seconds"
	}
	return &cobra.Command{Use: word + " EMAIL", Short: short, Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		return changeStaff(cmd, args[0], snapshot.StaffChange{Active: &active}, nil)
	}}
}

func staffPasswordCommand() *cobra.Command {
	var given stdinPassword
	cmd := &cobra.Command{Use: "password EMAIL", Short: "Give somebody another password; the access tokens of the one before end", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		var c snapshot.StaffChange
		made, err := given.take(cmd, &c.PasswordHash)
		if err != nil {
			return err
		}
		return changeStaff(cmd, args[0], c, func(m snapshot.StaffMember) error {
			return printJSON(cmd.OutOrStdout(), made.beside(map[string]any{"id": m.ID, "email": m.Email}))
		})
	}}
	given.flag(cmd)
	return cmd
}

func changeStaff(cmd *cobra.Command, email string, c snapshot.StaffChange, show func(snapshot.StaffMember) error) error {
	return withDB(cmd.Context(), func(db *postgres.DB, _ *secret.Keyring) error {
		id, err := db.StaffID(cmd.Context(), strings.ToLower(email))
		if err != nil {
			return err
		}
		m, err := db.ChangeStaff(cmd.Context(), shellActor(), id, c)
		if err != nil || show == nil {
			return err
		}
		return show(m)
	})
}
