package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/postgres"
	"github.com/postrider/postrider/internal/registry"
	"github.com/postrider/postrider/internal/secret"
)

// withRegistry opens database and registry for one command.
func withRegistry(ctx context.Context, f func(db *postgres.DB, r *registry.Registrar) error) error {
	return withDB(ctx, func(db *postgres.DB, keys *secret.Keyring) error {
		c, err := readConfig()
		if err != nil {
			return err
		}
		r, err := openRegistrations(c, db, keys, slog.New(slog.DiscardHandler), nil)
		if err != nil {
			return err
		}
		defer r.close()
		return f(db, r.registrar)
	})
}

// explained puts the fields of a refusal into its text: a shell shows nothing else.
func explained(err error) error {
	for _, f := range message.AsError(err).Fields {
		err = errors.Join(err, fmt.Errorf("%s: %s", f.Location, f.Message))
	}
	return err
}

// registryCommand does something to one brand or campaign and shows what it is then.
func registryCommand(use, short string, of string, do func(ctx context.Context, r *registry.Registrar, id message.ID) error) *cobra.Command {
	return &cobra.Command{Use: use, Short: short, Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		id, err := message.ParseID(args[0])
		if err != nil {
			return err
		}
		return withRegistry(cmd.Context(), func(db *postgres.DB, r *registry.Registrar) error {
			if do != nil {
				if err := do(cmd.Context(), r, id); err != nil {
					return explained(err)
				}
			}
			var shown any
			if of == registry.KindBrand {
				b, err := db.RegistryBrand(cmd.Context(), message.ID{}, id)
				if err != nil {
					return err
				}
				shown = brandShown(b)
			} else {
				c, err := db.RegistryCampaign(cmd.Context(), message.ID{}, id)
				if err != nil {
					return err
				}
				shown = campaignShown(c)
			}
			return printJSON(cmd.OutOrStdout(), shown)
		})
	}}
}

// listMost is how many rows a list shows.
const listMost = 1000

func brandCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "brand", Short: "10DLC brands"}
	cmd.AddCommand(
		brandAddCommand(),
		brandCapCommand(),
		registryCommand("show BRAND", "Show a brand; its tax id by its end", registry.KindBrand, nil),
		registryCommand("submit BRAND", "File it with the campaign registry, which costs its fee", registry.KindBrand, func(ctx context.Context, r *registry.Registrar, id message.ID) error {
			return r.SubmitBrand(ctx, shellActor(), id)
		}),
		registryCommand("sync BRAND", "Compare it with the campaign registry now", registry.KindBrand, func(ctx context.Context, r *registry.Registrar, id message.ID) error {
			return r.SyncBrand(ctx, shellActor(), id)
		}),
		registryList("List brands, newest first", func(ctx context.Context, db *postgres.DB, account message.ID, asked bool) ([]map[string]any, error) {
			brands, err := db.RegistryBrands(ctx, account, message.ID{}, listMost)
			list := []map[string]any{}
			for _, b := range brands {
				if !asked || b.Status == registry.BrandUnregistered && !b.RequestedAt.IsZero() {
					list = append(list, brandShown(b))
				}
			}
			return list, err
		}))
	return cmd
}

// registryList lists those of an account or all, or what customers wait for.
func registryList(short string, read func(ctx context.Context, db *postgres.DB, account message.ID, asked bool) ([]map[string]any, error)) *cobra.Command {
	var account idFlag
	var asked bool
	cmd := &cobra.Command{Use: "list", Short: short, Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return withDB(cmd.Context(), func(db *postgres.DB, _ *secret.Keyring) error {
			list, err := read(cmd.Context(), db, account.id, asked)
			if err != nil {
				return err
			}
			return printJSON(cmd.OutOrStdout(), list)
		})
	}}
	cmd.Flags().Var(&account, "account", "only this account's")
	cmd.Flags().BoolVar(&asked, "asked", false, "only drafts whose registration the customer has asked for")
	return cmd
}

func campaignRegistryCommands() []*cobra.Command {
	var terms bool
	submit := registryCommand("submit CAMPAIGN", "File it with the campaign registry, which costs its fees", registry.KindCampaign, func(ctx context.Context, r *registry.Registrar, id message.ID) error {
		if !terms {
			return errors.New("--accept-terms: the registry wants its terms and conditions accepted for each campaign")
		}
		return r.SubmitCampaign(ctx, shellActor(), id)
	})
	submit.Flags().BoolVar(&terms, "accept-terms", false, "accept the registry's terms and conditions for this campaign")
	var why, lifted string
	suspend := registryCommand("suspend CAMPAIGN", "Let it send no more, whatever the registry says", registry.KindCampaign, func(ctx context.Context, r *registry.Registrar, id message.ID) error {
		return r.SuspendCampaign(ctx, shellActor(), id, why)
	})
	suspend.Flags().StringVar(&why, "reason", "", "for the audit log")
	_ = suspend.MarkFlagRequired("reason")
	resume := registryCommand("resume CAMPAIGN", "Lift the suspension; it is then what registry and carriers last said", registry.KindCampaign, func(ctx context.Context, r *registry.Registrar, id message.ID) error {
		return r.ResumeCampaign(ctx, shellActor(), id, lifted)
	})
	resume.Flags().StringVar(&lifted, "reason", "", "for the audit log")
	return []*cobra.Command{
		submit, suspend, resume,
		registryCommand("show CAMPAIGN", "Show a campaign with what each carrier says", registry.KindCampaign, nil),
		registryCommand("sync CAMPAIGN", "Compare it with the campaign registry now, and by schedule from then on", registry.KindCampaign, func(ctx context.Context, r *registry.Registrar, id message.ID) error {
			return r.SyncCampaign(ctx, shellActor(), id)
		}),
		registryList("List campaigns, newest first", func(ctx context.Context, db *postgres.DB, account message.ID, asked bool) ([]map[string]any, error) {
			campaigns, err := db.RegistryCampaigns(ctx, account, message.ID{}, listMost)
			list := []map[string]any{}
			for _, c := range campaigns {
				if !asked || c.Status == registry.Draft && !c.RequestedAt.IsZero() {
					list = append(list, campaignShown(c))
				}
			}
			return list, err
		}),
	}
}

func shownTime(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC().Format(time.RFC3339)
}

// brandShown is a brand for staff: no tax id but its end.
func brandShown(b *registry.Brand) map[string]any {
	return map[string]any{"id": b.ID, "account_id": b.AccountID, "brand_id": b.BrandID, "name": b.Name, "legal_name": b.LegalName, "entity_type": b.EntityType,
		"status": b.Status, "identity_status": b.IdentityStatus, "vetting_score": b.VettingScore, "vetting_expires_at": shownTime(b.VettingExpiresAt),
		"tier": b.Tier, "daily_cap": b.DailyCap, "ein_ends_in": b.TaxIDShown, "website": b.Website, "failure": b.Failure,
		"requested_at": shownTime(b.RequestedAt), "filed_at": shownTime(b.FiledAt)}
}

func campaignShown(c *registry.Campaign) map[string]any {
	carriers := []map[string]any{}
	for _, k := range c.Carriers {
		carriers = append(carriers, map[string]any{"network_id": k.NetworkID, "network": k.Network, "status": k.Status, "class": k.Class, "tpm": k.TPM,
			"mms_tpm": k.MMSTPM, "brand_tier": k.BrandTier, "surcharge": k.Surcharge})
	}
	return map[string]any{"id": c.ID, "account_id": c.AccountID, "campaign_id": c.CampaignID, "brand": c.Brand, "use_case": c.UseCase, "status": c.Status,
		"explanation": c.Explain(), "registry_status": c.RegistryStatus, "suspended_by": c.SuspendedBy, "class": c.Class, "throughput_limit": c.Throughput,
		"mms_throughput_limit": c.MMSThroughput, "per_number": c.PerNumber, "carriers": carriers, "numbers": len(c.Numbers), "failure": c.Failure,
		"requested_at": shownTime(c.RequestedAt), "filed_at": shownTime(c.FiledAt)}
}
