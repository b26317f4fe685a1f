package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/postgres"
	"github.com/postrider/postrider/internal/secret"
	"github.com/postrider/postrider/internal/snapshot"
	"github.com/postrider/postrider/internal/vendorconf"
)

func mm4PeerCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "mm4-peer", Short: "MMSCs of customers and vendors that speak MM4",
		Long: "MMSCs of customers (--account) and vendors (--vendor) that speak MM4. PEER is a peer's name or id. Changes hold on every process within 5 s, from the next mail on.",
	}
	cmd.AddCommand(mm4PeerCreateCommand(), mm4PeerSetCommand(), mm4PeerListCommand(), mm4PeerShowCommand(), mm4PeerActiveCommand("enable", true), mm4PeerActiveCommand("disable", false), mm4PeerDeleteCommand())
	return cmd
}

// mm4PeerID finds the peer that is meant by a name or an id.
func mm4PeerID(ctx context.Context, db *postgres.DB, given string) (message.ID, error) {
	return idOf(ctx, given, db.MM4PeerNamed)
}

// mm4Secrets is the file with a peer's passwords.
type mm4Secrets struct{ secretsFile }

func (f *mm4Secrets) flag(cmd *cobra.Command) {
	f.secretsFile.flag(cmd, `"auth_password" (that it must say) and "send_password" (that we say); empty takes one away`)
}

func (f *mm4Secrets) read(cmd *cobra.Command) (vendorconf.MM4Secrets, error) {
	var given struct {
		AuthPassword *string `json:"auth_password"`
		SendPassword *string `json:"send_password"`
	}
	err := f.secretsFile.read(cmd, &given, 64<<10, "auth_password and send_password")
	return vendorconf.MM4Secrets{AuthPassword: given.AuthPassword, SendPassword: given.SendPassword, Hash: secret.HashPeerPassword}, err
}

func mm4PeerCreateCommand() *cobra.Command {
	var flags settingFlags
	var secrets mm4Secrets
	var account idFlag
	var vendor string
	cmd := &cobra.Command{
		Use: "create NAME", Short: "Add a peer of MM4", Args: cobra.ExactArgs(1), Long: "Add a peer of MM4. It may connect within seconds.",
		RunE: func(cmd *cobra.Command, args []string) error {
			given, err := secrets.read(cmd)
			if err != nil {
				return err
			}
			owner := account.id
			if vendor != "" { // whose id is asked of the database
				owner = message.NewID()
			}
			var faults vendorconf.Faults
			p := vendorconf.NewMM4Peer(args[0], owner, message.ID{}, &faults)
			if vendor != "" {
				p.AccountID, p.VendorID = message.ID{}, owner
			}
			doc := vendorconf.MM4PeerOf(&p)
			if err := flags.lay(&doc); err != nil {
				return err
			}
			if err := flags.fault(append(faults, doc.Into(&p, given)...)); err != nil {
				return err
			}
			return withDB(cmd.Context(), func(db *postgres.DB, _ *secret.Keyring) error {
				if vendor != "" {
					if p.VendorID, err = vendorID(cmd.Context(), db, vendor); err != nil {
						return err
					}
				}
				made, err := db.CreateMM4Peer(cmd.Context(), shellActor(), p)
				if err != nil {
					return err
				}
				return printJSON(cmd.OutOrStdout(), map[string]any{"id": made.ID, "name": made.Name})
			})
		},
	}
	cmd.Flags().Var(&account, "account", "the customer whose it is")
	cmd.Flags().StringVar(&vendor, "vendor", "", "the vendor whose it is, by name or id")
	cmd.MarkFlagsOneRequired("account", "vendor")
	cmd.MarkFlagsMutuallyExclusive("account", "vendor")
	secrets.flag(cmd)
	flags.add(cmd, new(vendorconf.MM4Peer))
	return cmd
}

func mm4PeerSetCommand() *cobra.Command {
	var flags settingFlags
	var secrets mm4Secrets
	cmd := &cobra.Command{
		Use: "set PEER", Short: "Change a peer of MM4", Args: cobra.ExactArgs(1), Long: "Change the settings that are given; the others stay.",
		RunE: func(cmd *cobra.Command, args []string) error {
			given, err := secrets.read(cmd)
			if err != nil {
				return err
			}
			if len(flags.given) == 0 && given.AuthPassword == nil && given.SendPassword == nil {
				return errors.New("nothing to set: give at least one flag")
			}
			return changeMM4Peer(cmd, args[0], func(p *snapshot.MM4PeerState) error {
				doc := vendorconf.MM4PeerOf(&p.MM4Peer)
				if err := flags.lay(&doc); err != nil {
					return err
				}
				return flags.fault(doc.Into(&p.MM4Peer, given))
			})
		},
	}
	secrets.flag(cmd)
	flags.add(cmd, new(vendorconf.MM4Peer))
	return cmd
}

func changeMM4Peer(cmd *cobra.Command, given string, change func(*snapshot.MM4PeerState) error) error {
	return withDB(cmd.Context(), func(db *postgres.DB, _ *secret.Keyring) error {
		id, err := mm4PeerID(cmd.Context(), db, given)
		if err == nil {
			_, err = db.UpdateMM4Peer(cmd.Context(), shellActor(), id, change)
		}
		return err
	})
}

func mm4PeerActiveCommand(word string, active bool) *cobra.Command {
	short := "Let it connect again, and send to it"
	if !active {
		short = "Refuse its connections; what is owed to it waits for its time"
	}
	return &cobra.Command{Use: word + " PEER", Short: short, Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		return changeMM4Peer(cmd, args[0], func(p *snapshot.MM4PeerState) error {
			p.Enabled = active
			return nil
		})
	}}
}

func mm4PeerListCommand() *cobra.Command {
	var account idFlag
	cmd := &cobra.Command{Use: "list", Short: "Show peers of MM4", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return withDB(cmd.Context(), func(db *postgres.DB, _ *secret.Keyring) error {
			w := table(cmd.OutOrStdout(), "ID\tNAME\tOF\tSTATE\tFROM\tDOMAINS\tAUTH\tTO\tPENDING")
			err := eachMM4Peer(cmd.Context(), db, snapshot.MM4PeerFilter{AccountID: account.id}, func(p snapshot.MM4PeerState) {
				of, state := "account "+p.AccountID.String(), "on"
				if p.VendorID != (message.ID{}) {
					of = "vendor " + p.VendorID.String()
				}
				switch {
				case p.Broken != "":
					state = "broken"
				case !p.Enabled:
					state = "off"
				}
				d := vendorconf.MM4PeerOf(&p.MM4Peer)
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%d\n", p.ID, p.Name, of, state, strings.Join(d.Addresses, ","), orDash(strings.Join(d.MailDomains, ",")), orDash(p.Username), orDash(p.Host), p.Pending)
			})
			if err != nil {
				return err
			}
			return w.Flush()
		})
	}}
	cmd.Flags().Var(&account, "account", "only those of this account")
	return cmd
}

// eachMM4Peer calls visit with every peer, newest first.
func eachMM4Peer(ctx context.Context, db *postgres.DB, f snapshot.MM4PeerFilter, visit func(snapshot.MM4PeerState)) error {
	var before message.ID
	return eachPage(func(limit int) (int, error) {
		rows, err := db.MM4Peers(ctx, f, before, limit)
		for _, p := range rows {
			visit(p)
			before = p.ID
		}
		return len(rows), err
	})
}

// mm4PeerShown is a peer as it is printed: no secrets.
type mm4PeerShown struct {
	ID        message.ID `json:"id"`
	Name      string     `json:"name"`
	AccountID any        `json:"account_id"`
	VendorID  any        `json:"vendor_id"`
	vendorconf.MM4Peer
	AuthPasswordSet bool `json:"auth_password_set"`
	SendPasswordSet bool `json:"send_password_set"`
	Pending         int  `json:"pending"`
}

func mm4PeerShowCommand() *cobra.Command {
	return &cobra.Command{Use: "show PEER", Short: "Show a peer's settings", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		return withDB(cmd.Context(), func(db *postgres.DB, _ *secret.Keyring) error {
			id, err := mm4PeerID(cmd.Context(), db, args[0])
			if err != nil {
				return err
			}
			p, err := db.MM4Peer(cmd.Context(), id)
			if err != nil {
				return err
			}
			return printJSON(cmd.OutOrStdout(), mm4PeerShown{ID: p.ID, Name: p.Name, AccountID: idOrNil(p.AccountID), VendorID: idOrNil(p.VendorID),
				MM4Peer: vendorconf.MM4PeerOf(&p.MM4Peer), AuthPasswordSet: p.PasswordHash != "", SendPasswordSet: p.SendPassword != "", Pending: p.Pending})
		})
	}}
}

func mm4PeerDeleteCommand() *cobra.Command {
	return &cobra.Command{Use: "delete PEER", Short: "Take a peer away; responses and reports that it is owed end as failed", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		return withDB(cmd.Context(), func(db *postgres.DB, _ *secret.Keyring) error {
			id, err := mm4PeerID(cmd.Context(), db, args[0])
			if err != nil {
				return err
			}
			return db.DeleteMM4Peer(cmd.Context(), shellActor(), id, func(snapshot.MM4PeerState) error { return nil })
		})
	}}
}
