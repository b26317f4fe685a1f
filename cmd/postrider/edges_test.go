package main

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/postrider/postrider/edges/ingress"
	"github.com/postrider/postrider/internal/pace"
	"github.com/postrider/postrider/internal/postgres"
	"github.com/postrider/postrider/internal/registry"
	"github.com/postrider/postrider/internal/secret"
	"github.com/postrider/postrider/internal/snapshot"
	"github.com/postrider/postrider/internal/stack/stacktest"
)

// The REST edge shows what the pacer has counted of a day.
func TestRESTShowsWhatIsUsedOfACap(t *testing.T) {
	startShell(t)
	err := withDB(stacktest.Context(t), func(db *postgres.DB, keys *secret.Keyring) error {
		log := slog.New(slog.DiscardHandler)
		g := &Gateway{db: db, keys: keys, Log: log, ingress: &ingress.Ingress{}, config: snapshot.NewHolder(db, log),
			registry: &registrations{registrar: &registry.Registrar{Store: db}}}
		if err := g.joinDeliver(); err != nil {
			return err
		}
		server := g.restServer()
		ctx := context.Background()
		day := pace.Limit{Key: pace.BrandDay("acme"), Parts: 2000, Window: pace.PacificDay, Name: "brand Acme"}
		slot, err := db.Reserve(ctx, pace.Demand{Limits: []pace.Limit{day}, Parts: 3})
		if err != nil {
			return err
		}
		// A slot at midnight may lie on the next day: then today has none.
		want, today := 0, pace.DayOf(time.Now())
		if pace.DayOf(slot.At) == today {
			want = 3
		}
		used, resets, err := server.CapUsed(ctx, day.Key)
		if pace.DayOf(time.Now()) != today {
			return err // midnight has just passed
		}
		if err != nil || used != want || !resets.Equal(pace.NextDay(time.Now())) {
			t.Errorf("%d used, want %d; anew at %s, %v", used, want, resets, err)
		}
		if used, _, err := server.CapUsed(ctx, pace.BrandDay("other")); used != 0 || err != nil {
			t.Errorf("of another company: %d, %v", used, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
