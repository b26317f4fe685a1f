package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/postrider/postrider/edges/rest"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/postgres"
	"github.com/postrider/postrider/internal/secret"
	"github.com/postrider/postrider/internal/snapshot"
	"github.com/postrider/postrider/internal/vendorconf"
)

func routeCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "route", Short: "Routing rules"}
	cmd.AddCommand(routeAddCommand(), routeSetCommand(), routeListCommand(), routeRemoveCommand(), routeTestCommand(), routeWhatIfCommand())
	return cmd
}

// namedVendor puts a vendor's id where the flags have its name.
func namedVendor(cmd *cobra.Command, db *postgres.DB, doc *vendorconf.Route) error {
	if doc.VendorID == "" {
		return nil
	}
	id, err := vendorID(cmd.Context(), db, doc.VendorID)
	if err != nil {
		return fmt.Errorf("--vendor: %w", err)
	}
	doc.VendorID = id.String()
	return nil
}

func routeAddCommand() *cobra.Command {
	var flags settingFlags
	cmd := &cobra.Command{
		Use: "add", Short: "Send what matches to a vendor", Args: cobra.NoArgs, Long: "Send what matches to a vendor, which is given by its name or id.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			doc := vendorconf.NewRoute()
			if err := flags.lay(&doc); err != nil {
				return err
			}
			// All but the vendor is looked at before the database is.
			tried := doc
			tried.VendorID = message.NewID().String()
			if err := flags.fault(tried.Into(new(snapshot.Route))); err != nil {
				return err
			}
			return withDB(cmd.Context(), func(db *postgres.DB, _ *secret.Keyring) error {
				if err := namedVendor(cmd, db, &doc); err != nil {
					return err
				}
				r := snapshot.RouteState{Active: doc.IsActive}
				if err := flags.fault(doc.Into(&r.Route)); err != nil {
					return err
				}
				made, err := db.AddRoute(cmd.Context(), shellActor(), r)
				if err != nil {
					return flags.said(err)
				}
				return printJSON(cmd.OutOrStdout(), map[string]any{"id": made.ID})
			})
		},
	}
	flags.add(cmd, new(vendorconf.Route))
	cmd.MarkFlagsOneRequired("vendor", "vendor-id")
	return cmd
}

// routeNumber reads the argument ROUTE.
func routeNumber(s string) (int64, error) {
	id, err := strconv.ParseInt(s, 10, 64)
	if err != nil || id < 1 {
		return 0, fmt.Errorf("ROUTE: want its number, not %q", s)
	}
	return id, nil
}

func routeSetCommand() *cobra.Command {
	var flags settingFlags
	cmd := &cobra.Command{
		Use: "set ROUTE", Short: "Change a route", Args: cobra.ExactArgs(1), Long: "Change the settings that are given; the others stay. An empty word takes away what may be missing.",
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := routeNumber(args[0])
			if err == nil && len(flags.given) == 0 {
				err = errors.New("nothing to set: give at least one flag")
			}
			if err != nil {
				return err
			}
			return withDB(cmd.Context(), func(db *postgres.DB, _ *secret.Keyring) error {
				var named vendorconf.Route
				if err := errors.Join(flags.lay(&named), namedVendor(cmd, db, &named)); err != nil {
					return err
				}
				_, err := db.ChangeRoute(cmd.Context(), shellActor(), id, func(r *snapshot.RouteState) error {
					doc := vendorconf.RouteOf(&r.Route, r.Active)
					was := doc.VendorID
					if err := flags.lay(&doc); err != nil {
						return err
					}
					if doc.VendorID != was {
						doc.VendorID = named.VendorID
					}
					r.Active = doc.IsActive
					return flags.fault(doc.Into(&r.Route))
				})
				return flags.said(err)
			})
		},
	}
	flags.add(cmd, new(vendorconf.Route))
	return cmd
}

func routeListCommand() *cobra.Command {
	var vendor string
	var account idFlag
	cmd := &cobra.Command{Use: "list", Short: "Show routes in the order in which they are asked", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return withDB(cmd.Context(), func(db *postgres.DB, _ *secret.Keyring) error {
			f := snapshot.RouteFilter{AccountID: account.id}
			names := map[message.ID]string{}
			err := eachVendor(cmd.Context(), db, func(v snapshot.VendorState) { names[v.ID] = v.Name })
			if err == nil && vendor != "" {
				f.VendorID, err = vendorID(cmd.Context(), db, vendor)
			}
			if err != nil {
				return err
			}
			w := table(cmd.OutOrStdout(), "ID\tPRIORITY\tSTATE\tVENDOR\tDEST\tSOURCE\tACCOUNT\tTYPE\tCLASS\tNEEDS\tSELECTION\tWEIGHT\tRATE\tWHEN\tNAME")
			priority, after := -1, int64(0)
			err = eachPage(func(limit int) (int, error) {
				rows, err := db.Routes(cmd.Context(), f, priority, after, limit)
				for _, r := range rows {
					d := vendorconf.RouteOf(&r.Route, r.Active)
					state := "on"
					if !r.Active {
						state = "off"
					}
					fmt.Fprintf(w, "%d\t%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s\t%s\n", r.ID, r.Priority, state, names[r.VendorID], orDash(d.DestPattern), orDash(d.SourcePattern),
						orDash(deref(d.AccountID)), orDash(string(r.MessageType)), orDash(string(r.Class)), orDash(r.Capability), d.Selection, d.Weight, d.RatePerMsg, routeTimes(d), d.Name)
					priority, after = r.Priority, r.ID
				}
				return len(rows), err
			})
			if err != nil {
				return err
			}
			return w.Flush()
		})
	}}
	cmd.Flags().StringVar(&vendor, "vendor", "", "only those to this vendor, by name or id")
	cmd.Flags().Var(&account, "account", "only those of this account")
	return cmd
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// routeTimes is when a route counts, in a word or two.
func routeTimes(d vendorconf.Route) string {
	if d.FromTime == d.UntilTime && d.Days == "mon-sun" {
		return "always"
	}
	return d.Days + " " + d.FromTime + "-" + d.UntilTime + " " + d.TimeZone
}

func routeRemoveCommand() *cobra.Command {
	return &cobra.Command{Use: "remove ROUTE", Short: "Take a route away", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		id, err := routeNumber(args[0])
		if err != nil {
			return err
		}
		return withDB(cmd.Context(), func(db *postgres.DB, _ *secret.Keyring) error {
			return db.RemoveRoute(cmd.Context(), shellActor(), id, func(snapshot.RouteState) error { return nil })
		})
	}}
}

func routeTestCommand() *cobra.Command {
	asked := map[string]*string{}
	cmd := &cobra.Command{
		Use: "test TO", Short: "Show where a message would go, and why other vendors lose", Args: cobra.ExactArgs(1),
		Long: "Show where a message to the number TO would go, and why other vendors lose. Nothing is stored or sent.",
		RunE: func(cmd *cobra.Command, args []string) error {
			body := map[string]string{"to": args[0]}
			for name, v := range asked {
				if *v != "" {
					body[name] = *v
				}
			}
			doc, err := json.Marshal(body)
			if err != nil {
				return err
			}
			if _, _, _, refusal := rest.ReadRouteTest(doc, time.Now(), nil); refusal != nil {
				return refusal
			}
			return withDB(cmd.Context(), func(db *postgres.DB, _ *secret.Keyring) error {
				routing, err := shellRouting(cmd.Context(), db)
				if err != nil {
					return err
				}
				m, at, _, refusal := rest.ReadRouteTest(doc, time.Now(), routing.config())
				if refusal != nil {
					return refusal
				}
				list, _, err := routing.ExplainRoute(cmd.Context(), m, at)
				if err != nil {
					return err
				}
				w := table(cmd.OutOrStdout(), "PLACE\tROUTE\tVENDOR\tHEALTH\tRATE\tCOST\tWHY")
				for _, e := range list {
					place := "-"
					if e.Place > 0 {
						place = strconv.Itoa(e.Place)
					}
					fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%s\t%s\n", place, e.Route, orDash(e.Vendor), e.Health, e.Rate, e.Cost, e.Reason)
				}
				return w.Flush()
			})
		},
	}
	for _, f := range []struct{ name, flag, usage string }{
		{"from", "from", "the sender"}, {"account_id", "account", "whose message it is"}, {"type", "type", "sms or mms"},
		{"message_class", "class", "otp, conversation or bulk"}, {"body", "body", "its text"}, {"at", "at", "when it leaves, as 2026-11-21T20:15:04Z; now, if not given"},
	} {
		asked[f.name] = cmd.Flags().String(f.flag, "", f.usage)
	}
	return cmd
}

func routeWhatIfCommand() *cobra.Command {
	return &cobra.Command{
		Use: "what-if FILE", Short: "Show what a change would have made of yesterday's messages", Args: cobra.ExactArgs(1),
		Long: `Show what a change of routes and vendors would have made of yesterday's messages. FILE, - for standard input, is a JSON object with any of
from, until, limit, routes, remove and vendors, as POST /api/v1/admin/routes/what-if takes it, such as
  {"routes": [{"id": 3, "weight": 10}], "remove": [7], "vendors": [{"vendor": "acme-1", "is_active": false}]}
Nothing is changed.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			body, err := readProposal(cmd, args[0])
			if err != nil {
				return err
			}
			return withDB(cmd.Context(), func(db *postgres.DB, _ *secret.Keyring) error {
				routing, err := shellRouting(cmd.Context(), db)
				if err != nil {
					return err
				}
				p, _, refusal := rest.ReadWhatIf(body, time.Now(), routing.config())
				if refusal != nil {
					return refusal
				}
				f, err := routing.WhatIf(cmd.Context(), p.Proposal, p.From, p.Until, p.Limit)
				if err != nil {
					return err
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%d messages from %s until %s, %d would have gone elsewhere\n\n", f.Messages, p.From.Format(time.RFC3339), p.Until.Format(time.RFC3339), f.Moved)
				w := table(cmd.OutOrStdout(), "VENDOR\tUSED\tFIRST BEFORE\tAFTER\tPARTS BEFORE\tAFTER\tCOST BEFORE\tAFTER")
				for _, v := range f.Vendors {
					fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%s\t%s\n", v.Name, v.Used, v.First.Before, v.First.After, v.Parts.Before, v.Parts.After, v.Cost.Before, v.Cost.After)
				}
				fmt.Fprintf(w, "(no route)\t\t%d\t%d\t\t\t\t\n(all)\t\t\t\t\t\t%s\t%s\n", f.Before.NoRoute, f.After.NoRoute, f.Before.Cost, f.After.Cost)
				fmt.Fprintf(w, "(price)\t\t\t\t\t\t%s\t%s\n", f.Before.Price, f.After.Price)
				return w.Flush()
			})
		},
	}
}

// maxProposal is the largest file of a proposal.
const maxProposal = 1 << 20

func readProposal(cmd *cobra.Command, path string) ([]byte, error) {
	in, err := openInput(cmd, path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = in.Close() }()
	return io.ReadAll(io.LimitReader(in, maxProposal))
}
