package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/crypto/bcrypt"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/postgres"
	"github.com/postrider/postrider/internal/secret"
	"github.com/postrider/postrider/internal/snapshot"
)

// smppPasswordLength is what a peer of SMPP 3.4 can send (§5.2.2), and
// smppPasswordMost what the edge lets through.
const smppPasswordLength, smppPasswordMost = 8, 64

func smppCredentialCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "smpp-credential", Short: "What customers' ESMEs bind with, and vendors that bind to us",
		Long: "What customers' ESMEs bind with, and vendors that bind to us (--vendor): what those send are inbound messages and receipts. Changes reach live sessions within seconds: one that could not bind any more is unbound.",
	}
	cmd.AddCommand(smppCreateCommand(), smppListCommand(), smppEnabledCommand("enable", true), smppEnabledCommand("disable", false), smppRegenerateCommand())
	return cmd
}

func smppCreateCommand() *cobra.Command {
	var account idFlag
	var vendor string
	var s smppFlags
	var password string
	cmd := &cobra.Command{Use: "create SYSTEM_ID", Short: "Make a system_id; its password is shown once", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		c, err := s.read()
		if err = errors.Join(checkSystemID(args[0]), err, checkPassword(cmd, password)); err != nil {
			return err
		}
		c.ID, c.AccountID, c.SystemID = message.NewID(), account.id, args[0]
		if password, c.PasswordHash, err = smppPassword(cmd, password); err != nil {
			return err
		}
		return withDB(cmd.Context(), func(db *postgres.DB, _ *secret.Keyring) error {
			if vendor != "" {
				if c.VendorID, err = db.VendorNamed(cmd.Context(), vendor); err != nil {
					return err
				}
			}
			err := db.CreateSMPPCredential(cmd.Context(), shellActor(), c)
			switch {
			case message.ReasonOf(err) == message.ReasonNotFound:
				return fmt.Errorf("--account: %w", err)
			case err != nil:
				return err
			}
			return printJSON(cmd.OutOrStdout(), map[string]any{"id": c.ID, "system_id": c.SystemID, "password": password})
		})
	}}
	cmd.Flags().Var(&account, "account", "the customer whose it is")
	cmd.Flags().StringVar(&vendor, "vendor", "", "the vendor whose it is, by name")
	cmd.MarkFlagsOneRequired("account", "vendor")
	cmd.MarkFlagsMutuallyExclusive("account", "vendor")
	passwordFlag(cmd, &password)
	s.add(cmd)
	return cmd
}

// smppFlags are the settings of an SMPP credential as flags.
type smppFlags struct {
	c                snapshot.SMPPCredential
	addresses, binds []string
}

var smppBindTypes = []string{"receiver", "transmitter", "transceiver"}

func (s *smppFlags) add(cmd *cobra.Command) {
	c, f := &s.c, cmd.Flags()
	f.StringSliceVar(&s.addresses, "allowed-ips", nil, "networks (CIDR) that may bind; all when empty")
	f.StringSliceVar(&s.binds, "bind-types", smppBindTypes, "what it may bind as")
	f.IntVar(&c.MaxBinds, "max-binds", 2, "binds at once, over all processes: 1 to 1000")
	f.IntVar(&c.Throughput, "throughput", 100, "parts a second: 1 to 100000")
	f.IntVar(&c.Window, "window", 10, "unanswered requests of a session, each way: 1 to 1000")
	f.BoolVar(&c.RequireTLS, "require-tls", false, "refuse binds without TLS")
	f.BoolVar(&c.ReceiptTLVs, "receipt-tlvs", true, "receipts carry optional parameters beside their text")
	f.StringVar(&c.LongMO, "long-mo", "udh", "how long inbound texts go out: udh, sar or payload")
	f.DurationVar(&c.MOLifetime, "mo-lifetime", 72*time.Hour, "how long a deliver_sm is held while nobody is bound: 1m to 720h")
	f.StringVar(&c.Alphabet, "alphabet", "gsm7", "what data_coding 0 means: gsm7, latin1 or ascii")
}

// read checks everything, so that nothing is written of what is wrong in part.
func (s *smppFlags) read() (snapshot.SMPPCredential, error) {
	c := s.c
	c.Enabled = true
	var networks, types error
	c.AllowedIPs, networks = readNetworks("allowed-ips", s.addresses)
	if len(s.binds) == 0 {
		types = fmt.Errorf("--bind-types: want some of %s", strings.Join(smppBindTypes, ", "))
	}
	for _, b := range s.binds {
		types = errors.Join(types, checkWord("bind-types", b, smppBindTypes...))
	}
	c.Receiver, c.Transmitter, c.Transceiver = slices.Contains(s.binds, "receiver"), slices.Contains(s.binds, "transmitter"), slices.Contains(s.binds, "transceiver")
	return c, errors.Join(networks, types,
		checkRange("max-binds", c.MaxBinds, 1, 1000),
		checkRange("throughput", c.Throughput, 1, 100_000),
		checkRange("window", c.Window, 1, 1000),
		checkWord("long-mo", c.LongMO, "udh", "sar", "payload"),
		checkSeconds("mo-lifetime", c.MOLifetime, time.Minute, 30*24*time.Hour),
		checkWord("alphabet", c.Alphabet, "gsm7", "latin1", "ascii"))
}

func passwordFlag(cmd *cobra.Command, into *string) {
	cmd.Flags().StringVar(into, "password", "", "a password of your own, 8 to 64 printable characters; made when not given")
}

func checkSystemID(id string) error {
	if len(id) < 1 || len(id) > 15 || strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return fmt.Errorf("SYSTEM_ID: want 1 to 15 printable ASCII characters without spaces, not %q", id)
	}
	return nil
}

// checkPassword never says what the password is.
func checkPassword(cmd *cobra.Command, password string) error {
	switch {
	case !cmd.Flags().Changed("password"):
		return nil
	case len(password) < smppPasswordLength || len(password) > smppPasswordMost:
		return fmt.Errorf("--password: want %d to %d characters", smppPasswordLength, smppPasswordMost)
	case strings.ContainsFunc(password, func(r rune) bool { return r < ' ' || r > '~' }):
		return errors.New("--password: want printable ASCII characters only")
	}
	return nil
}

// smppPassword is the password that was given, or a new one, and its hash.
func smppPassword(cmd *cobra.Command, given string) (password, hash string, err error) {
	password = given
	if password == "" {
		password = secret.NewPassword(smppPasswordLength).Reveal()
	}
	if len(password) > smppPasswordLength {
		fmt.Fprintf(cmd.ErrOrStderr(), "warning: the password is longer than %d characters, which peers that keep strictly to SMPP 3.4 cannot send\n", smppPasswordLength)
	}
	b, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.DefaultCost)
	return password, string(b), err
}

func smppListCommand() *cobra.Command {
	var account idFlag
	cmd := &cobra.Command{
		Use: "list", Short: "Show system_ids, their settings and live binds", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withDB(cmd.Context(), func(db *postgres.DB, _ *secret.Keyring) error {
				states, err := db.SMPPCredentials(cmd.Context(), account.id)
				if err != nil {
					return err
				}
				list := make([]map[string]any, len(states))
				for i, c := range states {
					list[i] = smppShown(c)
				}
				return printJSON(cmd.OutOrStdout(), list)
			})
		},
	}
	cmd.Flags().Var(&account, "account", "only those of this account")
	return cmd
}

// smppShown is a credential as the list has it: nothing secret.
func smppShown(c postgres.SMPPState) map[string]any {
	types := []string{}
	for i, may := range []bool{c.Receiver, c.Transmitter, c.Transceiver} {
		if may {
			types = append(types, smppBindTypes[i])
		}
	}
	return map[string]any{"id": c.ID, "system_id": c.SystemID, "account_id": idOrNil(c.AccountID), "vendor_id": idOrNil(c.VendorID), "enabled": c.Enabled, "live_binds": c.Binds,
		"max_binds": c.MaxBinds, "throughput": c.Throughput, "window": c.Window, "allowed_ips": c.AllowedIPs, "bind_types": types,
		"require_tls": c.RequireTLS, "receipt_tlvs": c.ReceiptTLVs, "long_mo": c.LongMO, "mo_lifetime_seconds": int(c.MOLifetime / time.Second), "alphabet": c.Alphabet}
}

// idOrNil is an id as a list shows it, null for none.
func idOrNil(id message.ID) any {
	if id == (message.ID{}) {
		return nil
	}
	return id
}

func smppEnabledCommand(word string, enabled bool) *cobra.Command {
	short := "Let it bind again"
	if !enabled {
		short = "Unbind its sessions and refuse new ones; what is owed to it waits"
	}
	return &cobra.Command{Use: word + " SYSTEM_ID", Short: short, Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		return withDB(cmd.Context(), func(db *postgres.DB, _ *secret.Keyring) error {
			id, err := db.SMPPCredentialID(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return db.SetSMPPEnabled(cmd.Context(), shellActor(), id, enabled)
		})
	}}
}

func smppRegenerateCommand() *cobra.Command {
	var given string
	cmd := &cobra.Command{
		Use: "regenerate SYSTEM_ID", Short: "Make a new password, shown once; sessions of the old one are unbound", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkPassword(cmd, given); err != nil {
				return err
			}
			password, hash, err := smppPassword(cmd, given)
			if err != nil {
				return err
			}
			return withDB(cmd.Context(), func(db *postgres.DB, _ *secret.Keyring) error {
				id, err := db.SMPPCredentialID(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				if err := db.SetSMPPPassword(cmd.Context(), shellActor(), id, hash); err != nil {
					return err
				}
				return printJSON(cmd.OutOrStdout(), map[string]any{"id": id, "system_id": args[0], "password": password})
			})
		},
	}
	passwordFlag(cmd, &given)
	return cmd
}

func smppHeldCommand() *cobra.Command {
	return &cobra.Command{
		Use: "smpp-held", Short: "What waits for customers' ESMEs", Args: cobra.NoArgs,
		Long: "For each account that deliver_sm wait for: how many are pending (counted at most 100,000 beyond the cap), since when the oldest, and the cap.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withDB(cmd.Context(), func(db *postgres.DB, _ *secret.Keyring) error {
				held, err := db.HeldDeliveries(cmd.Context())
				if err != nil {
					return err
				}
				list := make([]map[string]any, len(held))
				for i, h := range held {
					list[i] = map[string]any{"account_id": h.AccountID, "company_name": h.CompanyName, "pending": h.Pending, "cap": h.Cap,
						"oldest": h.Oldest.UTC().Format(time.RFC3339)}
				}
				return printJSON(cmd.OutOrStdout(), list)
			})
		},
	}
}
