package main

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/crypto/bcrypt"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/postgres"
	"github.com/postrider/postrider/internal/secret"
	"github.com/postrider/postrider/internal/snapshot"
)

// smppPasswordLength is what a peer of SMPP 3.4 can send (§5.2.3).
const smppPasswordLength = 8

func smppCredentialCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "smpp-credential", Short: "What customers' ESMEs bind with"}
	var account idFlag
	var addresses []string
	c := snapshot.SMPPCredential{Enabled: true, Receiver: true, Transmitter: true, Transceiver: true}
	create := &cobra.Command{Use: "create SYSTEM_ID", Short: "Make a system_id; its password is shown once", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		c.ID, c.AllowedIPs = message.NewID(), nil
		for _, a := range addresses {
			p, err := netip.ParsePrefix(a)
			if err != nil {
				return fmt.Errorf("--allowed-ips: %w; want CIDR, such as 198.51.100.0/24", err)
			}
			c.AllowedIPs = append(c.AllowedIPs, p)
		}
		password := secret.NewPassword(smppPasswordLength).Reveal()
		hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.DefaultCost)
		if err != nil {
			return err
		}
		return withDB(cmd.Context(), func(db *postgres.DB, _ *secret.Keyring) error {
			if err := db.CreateSMPPCredential(cmd.Context(), shellActor(), c.ID, account.id, args[0], string(hash)); err != nil {
				return err
			}
			if err := db.UpdateSMPPCredential(cmd.Context(), shellActor(), c.ID, c); err != nil {
				return err
			}
			return printJSON(cmd.OutOrStdout(), map[string]any{"id": c.ID, "system_id": args[0], "password": password})
		})
	}}
	f := create.Flags()
	f.Var(&account, "account", "whose it is")
	f.StringSliceVar(&addresses, "allowed-ips", nil, "networks (CIDR) that may bind; all when empty")
	f.IntVar(&c.MaxBinds, "max-binds", 2, "binds at once, over all processes")
	f.IntVar(&c.Throughput, "throughput", 100, "parts a second")
	f.IntVar(&c.Window, "window", 10, "unanswered requests of a session, each way")
	f.BoolVar(&c.RequireTLS, "require-tls", false, "refuse binds without TLS")
	f.BoolVar(&c.ReceiptTLVs, "receipt-tlvs", true, "receipts carry optional parameters beside their text")
	f.StringVar(&c.LongMO, "long-mo", "udh", "how long inbound texts go out: udh, sar or payload")
	f.DurationVar(&c.MOLifetime, "mo-lifetime", 72*time.Hour, "how long a deliver_sm is held while nobody is bound")
	f.StringVar(&c.Alphabet, "alphabet", "gsm7", "what data_coding 0 means: gsm7, latin1 or ascii")
	_ = create.MarkFlagRequired("account")
	cmd.AddCommand(create)
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
