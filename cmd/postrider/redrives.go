package main

import (
	"context"

	"github.com/postrider/postrider/activities/redrive"
	"github.com/postrider/postrider/edges/ingress"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/postgres"
)

// redriveSteps works re-drives.
func (g *Gateway) redriveSteps() *redrive.Activities {
	return &redrive.Activities{Journal: g.db, Now: g.db.Now,
		Door: &ingress.Redrives{In: g.ingress, Record: g.db, Reroute: g.reroute},
		Worked: func(action message.RedriveAction, outcome message.RedriveItemState, n int) {
			g.metrics.Redriven.WithLabelValues(string(action), string(outcome)).Add(float64(n))
		},
	}
}

// redriveEdge is what the REST edge does with re-drives: the record, and ingress, which
// has their workflows told at once.
type redriveEdge struct {
	*postgres.DB
	in *ingress.Ingress
}

// CreateRedrive stores a re-drive and has its workflow started.
func (e redriveEdge) CreateRedrive(ctx context.Context, r *message.Redrive, key *message.Idempotency) (*message.Idempotency, error) {
	first, err := e.DB.CreateRedrive(ctx, r, key)
	if err == nil && first == nil {
		e.in.RedriveChanged(r.ID)
	}
	return first, err
}

// StopRedrive stops a re-drive and has its workflow told.
func (e redriveEdge) StopRedrive(ctx context.Context, by message.Actor, id message.ID) (*message.Redrive, error) {
	r, err := e.DB.StopRedrive(ctx, by, id)
	if err == nil {
		e.in.RedriveChanged(id)
	}
	return r, err
}
