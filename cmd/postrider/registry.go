package main

import (
	"context"
	"errors"
	"log/slog"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/postgres"
	"github.com/postrider/postrider/internal/registry"
	"github.com/postrider/postrider/internal/secret"
	"github.com/postrider/postrider/internal/snapshot"
)

// checkRegistry looks at the settings before anything is opened.
func (c Config) checkRegistry() error {
	if c.RegistryURL == "" && c.RegistryKey == "" && c.RegistrySecret.Empty() {
		return nil
	}
	if _, err := registry.NewHTTP(registry.HTTP{URL: c.RegistryURL, Key: c.RegistryKey, Secret: c.RegistrySecret}); err != nil {
		return errors.Join(errors.New("set all of REGISTRY_URL, REGISTRY_KEY and REGISTRY_SECRET, or none"), err)
	}
	return nil
}

// registrations are brands and campaigns, and the campaign registry if there is one.
type registrations struct {
	registrar *registry.Registrar
	client    *registry.HTTP // nil: none is configured
	keeper    registry.Keeper
}

// openRegistrations joins store and client.
func openRegistrations(c Config, db *postgres.DB, keys *secret.Keyring, log *slog.Logger, observe func(operation, result string)) (*registrations, error) {
	r := &registrations{registrar: &registry.Registrar{Store: db, Hashes: keys.Hasher().Hashes, Log: log}}
	if c.RegistryURL == "" {
		return r, nil
	}
	client, err := registry.NewHTTP(registry.HTTP{URL: c.RegistryURL, Key: c.RegistryKey, Secret: c.RegistrySecret, Observe: observe})
	if err != nil {
		return nil, err
	}
	r.client, r.registrar.Client = client, client
	return r, nil
}

func (g *Gateway) joinRegistry() (err error) {
	g.registry, err = openRegistrations(g.Config, g.db, g.keys, g.Log.With("part", "registry"),
		func(operation, result string) { g.metrics.Registry.WithLabelValues(operation, result).Inc() })
	return err
}

// start looks at what is due from then on, in the processes that tell customers of
// it.
func (r *registrations) start(ctx context.Context, roles map[string]bool) {
	if roles["notify"] {
		r.keeper.Registrar = r.registrar
		r.keeper.Start(ctx)
	}
}

func (r *registrations) stop() {
	r.keeper.Stop()
	r.close()
}

func (r *registrations) close() {
	if r.client != nil {
		r.client.Close()
	}
}

// registryEdge is what the customers' edge needs: the registrar's rules, the store's
// reads.
type registryEdge struct {
	*registry.Registrar
	db *postgres.DB
}

func (e registryEdge) Brand(ctx context.Context, account, id message.ID) (*registry.Brand, error) {
	return e.db.RegistryBrand(ctx, account, id)
}

func (e registryEdge) Brands(ctx context.Context, account, before message.ID, limit int) ([]*registry.Brand, error) {
	return e.db.RegistryBrands(ctx, account, before, limit)
}

func (e registryEdge) Campaign(ctx context.Context, account, id message.ID) (*registry.Campaign, error) {
	return e.db.RegistryCampaign(ctx, account, id)
}

func (e registryEdge) Campaigns(ctx context.Context, account, before message.ID, limit int) ([]*registry.Campaign, error) {
	return e.db.RegistryCampaigns(ctx, account, before, limit)
}

func (e registryEdge) SetCampaignStatus(ctx context.Context, by registry.Actor, id message.ID, status snapshot.CampaignStatus) error {
	return e.db.SetCampaignStatus(ctx, by, id, status)
}

func (e registryEdge) AssignNumbers(ctx context.Context, by registry.Actor, account, campaign message.ID, numbers []message.Address) error {
	return e.db.AssignNumbers(ctx, by, account, campaign, numbers)
}

func (e registryEdge) ReleaseNumber(ctx context.Context, by registry.Actor, account, campaign message.ID, number message.Address) error {
	return e.db.ReleaseNumber(ctx, by, account, campaign, number)
}
