package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/postgres"
	"github.com/postrider/postrider/internal/registry"
	"github.com/postrider/postrider/internal/secret"
	"github.com/postrider/postrider/internal/snapshot"
)

// maxParts bounds what may be said of a campaign's or brand's pace.
const maxParts = 100_000_000

func numberSetCommand() *cobra.Command {
	var verification, leased, reply, host string
	var sms, mms bool
	cmd := &cobra.Command{Use: "set NUMBER", Short: "Change what a number may send, what it answers and who hosts it", Long: "Change the settings that are given; the others stay.",
		Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
			number, err := message.ParseRecipient(args[0])
			if err != nil {
				return err
			}
			var c postgres.NumberChange
			given := cmd.Flags().Changed
			if given("verification") {
				c.Verification = &verification
				err = checkWord("verification", verification, "unverified", "pending", "approved", "rejected")
			}
			if given("leased-until") {
				var at time.Time
				if at, err = leaseEnd(leased); err == nil {
					c.LeasedUntil = &at
				}
			}
			if given("sms") {
				c.SMSEnabled = &sms
			}
			if given("mms") {
				c.MMSEnabled = &mms
			}
			if given("auto-reply") {
				c.AutoReply = &reply
				if n := utf8.RuneCountInString(reply); n > maxReply || !utf8.ValidString(reply) || strings.ContainsRune(reply, 0) {
					err = errors.Join(err, fmt.Errorf("--auto-reply: want a text of at most %d characters", maxReply))
				}
			}
			switch {
			case err != nil:
				return err
			case c == (postgres.NumberChange{}) && !given("vendor"):
				return errors.New("nothing to set: give at least one flag")
			}
			return withDB(cmd.Context(), func(db *postgres.DB, _ *secret.Keyring) error {
				if given("vendor") {
					id, err := hostingVendor(cmd.Context(), db, host)
					if err != nil {
						return err
					}
					c.VendorID = &id
				}
				return db.ChangeNumber(cmd.Context(), shellActor(), number, c)
			})
		}}
	f := cmd.Flags()
	f.StringVar(&host, "vendor", "", "the vendor that hosts it, by name or id, and is asked first for what it sends; empty: none in particular")
	f.StringVar(&verification, "verification", "", "of a toll-free number: unverified, pending, approved or rejected")
	f.StringVar(&leased, "leased-until", "", "the day on which the lease of a short code ends, such as 2027-03-31 (it may send until the day is over, in UTC); none: not known")
	f.BoolVar(&sms, "sms", true, "whether it may send SMS")
	f.BoolVar(&mms, "mms", false, "whether it may send MMS")
	f.StringVar(&reply, "auto-reply", "", "what it answers to people who write to it, at most once an hour and three times a day each; empty: nothing")
	return cmd
}

// hostingVendor is the vendor that is meant to host a number; the zero id when none is.
func hostingVendor(ctx context.Context, db *postgres.DB, given string) (message.ID, error) {
	if given == "" {
		return message.ID{}, nil
	}
	id, err := vendorID(ctx, db, given)
	if err == nil {
		_, err = db.Vendor(ctx, id)
	}
	return id, err
}

// leaseEnd is the end of the lease's last day; the zero time for none.
func leaseEnd(day string) (time.Time, error) {
	if day == "none" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.DateOnly, day)
	if err != nil {
		return time.Time{}, fmt.Errorf("--leased-until %q: want a day such as 2027-03-31, or none", day)
	}
	return t.AddDate(0, 0, 1), nil
}

var destinationPrefix = regexp.MustCompile(`^[1-9][0-9]{0,14}$`)

func accountDestinationsCommand() *cobra.Command {
	return &cobra.Command{Use: "destinations ACCOUNT any | PREFIX...", Short: "Set where the customer may send to",
		Long: "Set the digits, without +, that recipients must begin with, such as 1 44 4917; any opens everything.",
		Args: cobra.MinimumNArgs(2), RunE: func(cmd *cobra.Command, args []string) error {
			id, err := message.ParseID(args[0])
			if err != nil {
				return err
			}
			prefixes := args[1:]
			if slices.Equal(prefixes, []string{"any"}) {
				prefixes = nil
			}
			for _, p := range prefixes {
				if !destinationPrefix.MatchString(p) {
					return fmt.Errorf("prefix %q: want 1 to 15 digits without +, such as 44, or any", p)
				}
			}
			return withDB(cmd.Context(), func(db *postgres.DB, _ *secret.Keyring) error {
				return db.SetDestinations(cmd.Context(), shellActor(), id, prefixes)
			})
		}}
}

func campaignPaceCommand() *cobra.Command {
	var throughput, mms, daily int
	var perNumber bool
	cmd := &cobra.Command{Use: "pace CAMPAIGN", Short: "Set how fast a campaign may send, as the vendor has said",
		Long: "Set how fast a campaign may send. What is not given stays; 0 takes a limit away. A sync with the campaign registry that reports other figures sets those.",
		Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
			id, err := message.ParseID(args[0])
			if err != nil {
				return err
			}
			var p postgres.CampaignPace
			var errs []error
			for _, n := range []struct {
				flag string
				from *int
				to   **int
			}{{"throughput", &throughput, &p.Throughput}, {"mms-throughput", &mms, &p.MMSThroughput}, {"daily-cap", &daily, &p.DailyCap}} {
				if cmd.Flags().Changed(n.flag) {
					errs = append(errs, checkRange(n.flag, *n.from, 0, maxParts))
					*n.to = n.from
				}
			}
			if cmd.Flags().Changed("per-number") {
				p.PerNumber = &perNumber
			}
			switch err := errors.Join(errs...); {
			case err != nil:
				return err
			case p == (postgres.CampaignPace{}):
				return errors.New("nothing to set: give at least one flag")
			}
			return withDB(cmd.Context(), func(db *postgres.DB, _ *secret.Keyring) error {
				return db.SetCampaignPace(cmd.Context(), shellActor(), id, p)
			})
		}}
	f := cmd.Flags()
	f.IntVar(&throughput, "throughput", 0, "parts of SMS a minute")
	f.IntVar(&mms, "mms-throughput", 0, "parts of MMS a minute")
	f.IntVar(&daily, "daily-cap", 0, "parts a day in US Pacific time, beside the brand's")
	f.BoolVar(&perNumber, "per-number", false, "the parts a minute are each number's (classes G and N)")
	return cmd
}

func brandCapCommand() *cobra.Command {
	var parts int
	cmd := &cobra.Command{Use: "cap BRAND", Short: "Set how many parts a brand may send a day (US Pacific time) over all vendors; 0: as many as it likes",
		Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
			id, err := message.ParseID(args[0])
			if err == nil {
				err = checkRange("parts", parts, 0, maxParts)
			}
			if err != nil {
				return err
			}
			return withDB(cmd.Context(), func(db *postgres.DB, _ *secret.Keyring) error {
				return db.SetBrandCap(cmd.Context(), shellActor(), id, parts)
			})
		}}
	cmd.Flags().IntVar(&parts, "parts", 0, "parts a day")
	_ = cmd.MarkFlagRequired("parts")
	return cmd
}

func brandAddCommand() *cobra.Command {
	var account idFlag
	b := snapshot.Brand{Status: string(registry.BrandApproved), VettingScore: -1}
	cmd := &cobra.Command{Use: "add", Short: "Add a brand that somebody else has registered",
		Long: "Add a brand as the registry knows it, such as one that a vendor has registered. Brands that are to be registered here are described over the API.",
		Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
			if err := errors.Join(checkRange("daily-cap", b.DailyCap, 0, maxParts), checkRange("score", b.VettingScore, -1, 100)); err != nil {
				return err
			}
			b.ID, b.AccountID = message.NewID(), account.id
			return withDB(cmd.Context(), func(db *postgres.DB, _ *secret.Keyring) error {
				if err := db.CreateBrand(cmd.Context(), shellActor(), b); err != nil {
					return err
				}
				return printJSON(cmd.OutOrStdout(), map[string]any{"id": b.ID, "brand_id": b.BrandID, "name": b.Name, "daily_cap": b.DailyCap})
			})
		}}
	f := cmd.Flags()
	f.Var(&account, "account", "whose brand it is")
	f.StringVar(&b.Name, "name", "", "the company")
	f.StringVar(&b.BrandID, "brand-id", "", "the registry's id")
	f.StringVar(&b.Tier, "tier", "", "T-Mobile's")
	f.IntVar(&b.VettingScore, "score", -1, "of the vetting, 0 to 100; -1: not vetted")
	f.IntVar(&b.DailyCap, "daily-cap", 0, "parts a day in US Pacific time, over all vendors; 0: as many as it likes")
	f.StringVar(&b.CapKey, "cap-key", "", "any word that brands of one company share, and with it the cap; empty: it is alone")
	_ = cmd.MarkFlagRequired("account")
	_ = cmd.MarkFlagRequired("name")
	return cmd
}
