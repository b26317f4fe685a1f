package main

import (
	"context"
	"fmt"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/policy"
	"github.com/postrider/postrider/internal/postgres"
	"github.com/postrider/postrider/internal/snapshot"
)

// routing explains where messages go, for the internal API and the shell.
type routing struct {
	db     *postgres.DB
	config func() *snapshot.Snapshot
	health func(vendor message.ID) message.VendorHealth // nil: all are healthy
}

// shellRouting is routing with the configuration and the health of vendors as they are
// in the database.
func shellRouting(ctx context.Context, db *postgres.DB) (routing, error) {
	config, err := db.LoadSnapshot(ctx)
	if err != nil {
		return routing{}, err
	}
	seen := map[message.ID]message.VendorHealth{}
	err = eachVendor(ctx, db, func(v snapshot.VendorState) { seen[v.ID] = v.Health })
	return routing{db: db, config: func() *snapshot.Snapshot { return config }, health: func(id message.ID) message.VendorHealth { return seen[id] }}, err
}

// ExplainRoute tells what every route makes of a message that leaves then.
func (r routing) ExplainRoute(ctx context.Context, m *message.Message, at time.Time) ([]policy.Explained, []message.TrailEntry, error) {
	ways := policy.Ways{Now: at, Health: r.health}
	if m.AccountID != (message.ID{}) {
		var err error
		if ways.Last, err = r.db.LastVendor(ctx, m.AccountID, m.From, m.To); err != nil {
			return nil, nil, fmt.Errorf("vendor of the conversation: %w", err)
		}
	}
	list, trail := policy.Explain(r.config(), m, ways)
	return list, trail, nil
}

// WhatIf follows messages of the past through the configuration that a proposal leads to.
func (r routing) WhatIf(ctx context.Context, p policy.Proposal, from, until time.Time, limit int) (policy.Forecast, error) {
	before := r.config()
	after, err := policy.Propose(before, p)
	if err != nil {
		return policy.Forecast{}, err
	}
	w := policy.NewWhatIf(before, after)
	if err := r.db.SampleMessages(ctx, from, until, limit, w.Take); err != nil {
		return policy.Forecast{}, err
	}
	return w.Forecast(), nil
}
