package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/postgres"
	"github.com/postrider/postrider/internal/secret"
	"github.com/postrider/postrider/internal/snapshot"
	"github.com/postrider/postrider/internal/vendorconf"
)

func vendorCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "vendor", Short: "Upstream links",
		Long: "Upstream links. VENDOR is a vendor's name or id. Changes hold on every process within 5 s; a link is made anew only for what it is made from.",
	}
	cmd.AddCommand(vendorAddCommand(), vendorSetCommand(), vendorListCommand(), vendorShowCommand(), vendorStatusCommand(), vendorTestCommand(),
		vendorActCommand("restart", "Make a vendor's links anew on every process, each after its window has drained", func(v *snapshot.VendorState) { v.Restarts++ }),
		vendorActCommand("pause", "Give a vendor no messages; its binds stay, and receipts come", func(v *snapshot.VendorState) { v.Paused = true }),
		vendorActCommand("drain", "Have what waits for a vendor go to others; its binds stay, and receipts come", func(v *snapshot.VendorState) { v.Draining = true }),
		vendorActCommand("resume", "Give a vendor messages again: ends a pause and a draining", func(v *snapshot.VendorState) { v.Paused, v.Draining = false, false }),
		vendorThroughputCommand(), vendorRemoveCommand(), vendorRepliesCommand())
	return cmd
}

// vendorID finds the vendor that is meant by a name or an id.
func vendorID(ctx context.Context, db *postgres.DB, given string) (message.ID, error) {
	return idOf(ctx, given, db.VendorNamed)
}

// vendorSecrets is the file with a vendor's secrets.
type vendorSecrets struct{ secretsFile }

func (f *vendorSecrets) flag(cmd *cobra.Command) {
	f.secretsFile.flag(cmd, `"password", "tls_client_key", "outbind_password" and "signing_keys" (a list, newest first)`)
}

func (f *vendorSecrets) read(cmd *cobra.Command) (vendorconf.Secrets, error) {
	var given struct {
		Password        *string   `json:"password"`
		TLSClientKey    *string   `json:"tls_client_key"`
		OutbindPassword *string   `json:"outbind_password"`
		SigningKeys     *[]string `json:"signing_keys"`
	}
	if err := f.secretsFile.read(cmd, &given, 256<<10, "password, tls_client_key, outbind_password and signing_keys"); err != nil {
		return vendorconf.Secrets{}, err
	}
	return vendorconf.Secrets(given), nil
}

// smppPort is where SMSCs usually listen.
const smppPort = 2775

func vendorAddCommand() *cobra.Command {
	var flags settingFlags
	var secrets vendorSecrets
	var kind, profile, password string
	cmd := &cobra.Command{
		Use: "add NAME", Short: "Add a vendor", Args: cobra.ExactArgs(1),
		Long: "Add a vendor. It is linked to within seconds, and gets messages when a route leads there.",
		RunE: func(cmd *cobra.Command, args []string) error {
			given, err := secrets.read(cmd)
			if err != nil {
				return err
			}
			if cmd.Flags().Changed("password") {
				given.Password = &password
			}
			var faults vendorconf.Faults
			v := vendorconf.NewVendor(args[0], kind, &faults)
			if kind == "smpp" {
				v.Port = smppPort
			}
			if profile != "" {
				p, ok := vendorProfiles()[profile]
				if !ok || p.ProviderType != kind {
					return fmt.Errorf("--profile: want one of %s", strings.Join(profileNames(kind), ", "))
				}
				vendorconf.Overlay(&v, p)
			}
			doc := vendorconf.VendorOf(&v)
			if err := flags.lay(&doc); err != nil {
				return err
			}
			if err := flags.fault(append(faults, doc.Into(&v, given)...)); err != nil {
				return err
			}
			return withDB(cmd.Context(), func(db *postgres.DB, _ *secret.Keyring) error {
				made, err := db.AddVendor(cmd.Context(), shellActor(), v)
				if err != nil {
					return err
				}
				return printJSON(cmd.OutOrStdout(), map[string]any{"id": made.ID, "instance_name": made.Name})
			})
		},
	}
	cmd.Flags().StringVar(&kind, "provider-type", "smpp", strings.Join(vendorconf.Kinds(), ", "))
	cmd.Flags().StringVar(&profile, "profile", "", "a set of settings that is shipped, under the flags: "+strings.Join(profileNames(""), ", "))
	cmd.Flags().StringVar(&password, "password", "", "password; seen by whoever lists the processes, see --secrets")
	secrets.flag(cmd)
	flags.add(cmd, new(vendorconf.Vendor))
	return cmd
}

// profileNames are the profiles of a kind of vendor, empty for all.
func profileNames(kind string) []string {
	var names []string
	for name, p := range vendorProfiles() {
		if kind == "" || p.ProviderType == kind {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func vendorSetCommand() *cobra.Command {
	var flags settingFlags
	var secrets vendorSecrets
	cmd := &cobra.Command{
		Use: "set VENDOR", Short: "Change a vendor", Args: cobra.ExactArgs(1), Long: "Change the settings that are given; the others stay.",
		RunE: func(cmd *cobra.Command, args []string) error {
			given, err := secrets.read(cmd)
			if err != nil {
				return err
			}
			if len(flags.given) == 0 && given == (vendorconf.Secrets{}) {
				return errors.New("nothing to set: give at least one flag")
			}
			return changeVendor(cmd, args[0], "vendor.update", func(v *snapshot.VendorState) error {
				doc := vendorconf.VendorOf(&v.Vendor)
				if err := flags.lay(&doc); err != nil {
					return err
				}
				return flags.fault(doc.Into(&v.Vendor, given))
			})
		},
	}
	secrets.flag(cmd)
	flags.add(cmd, new(vendorconf.Vendor))
	return cmd
}

func changeVendor(cmd *cobra.Command, given, action string, change func(*snapshot.VendorState) error) error {
	return withDB(cmd.Context(), func(db *postgres.DB, _ *secret.Keyring) error {
		id, err := vendorID(cmd.Context(), db, given)
		if err == nil {
			_, err = db.ChangeVendor(cmd.Context(), shellActor(), id, action, change)
		}
		return err
	})
}

func vendorActCommand(word, short string, change func(*snapshot.VendorState)) *cobra.Command {
	return &cobra.Command{Use: word + " VENDOR", Short: short, Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		return changeVendor(cmd, args[0], "vendor."+word, func(v *snapshot.VendorState) error {
			change(v)
			return nil
		})
	}}
}

func vendorThroughputCommand() *cobra.Command {
	return &cobra.Command{
		Use: "throughput VENDOR PARTS", Short: "Set how many parts a second a vendor gets, over all processes; 0 for no limit", Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			n, err := strconv.Atoi(args[1])
			if err != nil || n < 0 || n > 100_000 {
				return fmt.Errorf("PARTS: want 0 to 100000, not %q", args[1])
			}
			return changeVendor(cmd, args[0], "vendor.throughput", func(v *snapshot.VendorState) error {
				v.Throughput = n
				return nil
			})
		},
	}
}

// eachVendor calls visit with every vendor, newest first.
func eachVendor(ctx context.Context, db *postgres.DB, visit func(snapshot.VendorState)) error {
	var before message.ID
	return eachPage(func(limit int) (int, error) {
		rows, err := db.Vendors(ctx, snapshot.VendorFilter{}, before, limit)
		for _, v := range rows {
			visit(v)
			before = v.ID
		}
		return len(rows), err
	})
}

func vendorListCommand() *cobra.Command {
	return &cobra.Command{Use: "list", Short: "Show vendors", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return withDB(cmd.Context(), func(db *postgres.DB, _ *secret.Keyring) error {
			w := table(cmd.OutOrStdout(), "ID\tNAME\tTYPE\tSTATE\tHEALTH\tWHERE\tPARTS/S\tBINDS\tPRIORITY\tCOST")
			err := eachVendor(cmd.Context(), db, func(v snapshot.VendorState) {
				where := v.BaseURL
				if v.Host != "" {
					where = fmt.Sprintf("%s:%d", v.Host, v.Port)
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%d\t%d\t%d\t%s\n", v.ID, v.Name, v.ProviderType, vendorStateWord(v), v.Health, where, v.Throughput, v.MaxBinds, v.Priority, v.CostPerSMS)
			})
			if err != nil {
				return err
			}
			return w.Flush()
		})
	}}
}

func vendorStateWord(v snapshot.VendorState) string {
	switch {
	case !v.Active:
		return "off"
	case v.Draining:
		return "draining"
	case v.Paused:
		return "paused"
	}
	return "on"
}

// vendorShown is a vendor as it is printed: no secrets.
type vendorShown struct {
	ID           message.ID `json:"id"`
	InstanceName string     `json:"instance_name"`
	ProviderType string     `json:"provider_type"`
	vendorconf.Vendor
	PasswordSet        bool                 `json:"password_set"`
	TLSClientKeySet    bool                 `json:"tls_client_key_set"`
	OutbindPasswordSet bool                 `json:"outbind_password_set"`
	SigningKeysSet     int                  `json:"signing_keys_set"`
	Paused             bool                 `json:"paused"`
	Draining           bool                 `json:"draining"`
	Health             message.VendorHealth `json:"health_status"`
	CreatedAt          time.Time            `json:"created_at"`
	UpdatedAt          time.Time            `json:"updated_at"`
}

func vendorShowCommand() *cobra.Command {
	return &cobra.Command{Use: "show VENDOR", Short: "Show a vendor's settings", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		return withVendor(cmd, args[0], func(_ *postgres.DB, v snapshot.VendorState) error {
			return printJSON(cmd.OutOrStdout(), vendorShown{ID: v.ID, InstanceName: v.Name, ProviderType: v.ProviderType, Vendor: vendorconf.VendorOf(&v.Vendor),
				PasswordSet: v.Password != "", TLSClientKeySet: v.ClientKey != "", OutbindPasswordSet: v.OutbindPassword != "", SigningKeysSet: len(v.SigningKeys),
				Paused: v.Paused, Draining: v.Draining, Health: v.Health, CreatedAt: v.CreatedAt, UpdatedAt: v.UpdatedAt})
		})
	}}
}

func withVendor(cmd *cobra.Command, given string, do func(db *postgres.DB, v snapshot.VendorState) error) error {
	return withDB(cmd.Context(), func(db *postgres.DB, _ *secret.Keyring) error {
		id, err := vendorID(cmd.Context(), db, given)
		if err != nil {
			return err
		}
		v, err := db.Vendor(cmd.Context(), id)
		if err != nil {
			return err
		}
		return do(db, v)
	})
}

func vendorStatusCommand() *cobra.Command {
	return &cobra.Command{
		Use: "status [VENDOR]", Short: "Show what vendors do now, by process", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withDB(cmd.Context(), func(db *postgres.DB, _ *secret.Keyring) error {
				links, err := db.VendorLinks(cmd.Context())
				if err != nil {
					return err
				}
				var only message.ID
				if len(args) == 1 {
					if only, err = vendorID(cmd.Context(), db, args[0]); err != nil {
						return err
					}
				}
				w := table(cmd.OutOrStdout(), "NAME\tSTATE\tHEALTH\tPROCESS\tBIND\tBINDS\tPARTS/S\tSHARE\tIN FLIGHT\tERRORS\tMS\tSINCE\tLAST ERROR")
				err = eachVendor(cmd.Context(), db, func(v snapshot.VendorState) {
					if only != (message.ID{}) && v.ID != only {
						return
					}
					head, n := fmt.Sprintf("%s\t%s\t%s", v.Name, vendorStateWord(v), v.Health), 0
					for _, l := range links {
						if l.VendorID == v.ID {
							fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%.1f\t%.1f\t%d\t%.0f %%\t%d\t%s\t%s\n", head, l.Instance, l.Bind, l.Binds, l.Throughput, l.RateShare, l.InFlight,
								100*l.ErrorRate, l.LatencyMillis, l.Since.UTC().Format(time.RFC3339), l.LastError)
							n++
						}
					}
					if n == 0 {
						fmt.Fprintf(w, "%s\t-\tdisconnected\t0\t\t\t\t\t\t\t\n", head)
					}
				})
				if err != nil {
					return err
				}
				return w.Flush()
			})
		},
	}
}

// vendorTestPatience bounds the test of a connection.
const vendorTestPatience = 30 * time.Second

func vendorTestCommand() *cobra.Command {
	return &cobra.Command{
		Use: "test VENDOR", Short: "Test the connection to a vendor, from here, over a connection of its own; no message is sent", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withVendor(cmd, args[0], func(db *postgres.DB, v snapshot.VendorState) error {
				ctx, cancel := context.WithTimeout(cmd.Context(), vendorTestPatience)
				defer cancel()
				if err := db.Audit(ctx, shellActor(), "vendor.test", v.ID.String(), nil); err != nil {
					return err
				}
				began := time.Now()
				detail, err := testVendor(ctx, &v.Vendor)
				if err != nil {
					return err
				}
				return printJSON(cmd.OutOrStdout(), map[string]any{"ok": true, "ms": time.Since(began).Milliseconds(), "detail": detail})
			})
		},
	}
}

// removePause is how long a removal waits before it looks again.
const removePause = 2 * time.Second

func vendorRemoveCommand() *cobra.Command {
	var drain bool
	var wait time.Duration
	cmd := &cobra.Command{
		Use: "remove VENDOR", Short: "Take a vendor away", Args: cobra.ExactArgs(1),
		Long: "Take a vendor away on which nothing waits and that no route or number names. With --drain what waits goes to other vendors, receipts are waited for,\n" +
			"and its routes go with it; the command waits for that as long as --wait says, and may be given again.",
		RunE: func(cmd *cobra.Command, args []string) error {
			return withDB(cmd.Context(), func(db *postgres.DB, _ *secret.Keyring) error {
				id, err := vendorID(cmd.Context(), db, args[0])
				if err != nil {
					return err
				}
				use, err := removeVendor(cmd.Context(), db, id, drain, wait)
				if err == nil && use != nil {
					err = fmt.Errorf("it drains, and is not gone yet: %d messages wait, %d parts are in doubt, receipts are waited for %s more; give the command again",
						use.Waiting, use.InDoubt, use.Rest.Round(time.Second))
				}
				return err
			})
		},
	}
	cmd.Flags().BoolVar(&drain, "drain", false, "what waits for it goes to others")
	cmd.Flags().DurationVar(&wait, "wait", 10*time.Minute, "with --drain: how long to wait until it is gone")
	return cmd
}

// removeVendor tries until the vendor is gone or the time is over; then it tells what is
// in the way.
func removeVendor(ctx context.Context, db *postgres.DB, id message.ID, drain bool, wait time.Duration) (*snapshot.VendorUse, error) {
	end := time.NewTimer(wait)
	defer end.Stop()
	tick := time.NewTicker(removePause)
	defer tick.Stop()
	for {
		use, gone, err := db.RemoveVendor(ctx, shellActor(), id, drain, func(snapshot.VendorState) error { return nil })
		if err != nil || gone {
			return nil, err
		}
		select {
		case <-tick.C:
		case <-end.C:
			return &use, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
