package main

import (
	"context"
	"time"

	"github.com/postrider/postrider/activities/batch"
	"github.com/postrider/postrider/edges/ingress"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/notification"
	"github.com/postrider/postrider/internal/postgres"
)

// batchSteps works the rows of batches.
func (g *Gateway) batchSteps() *batch.Activities {
	return &batch.Activities{Journal: g.db, Door: g.ingress, Now: g.db.Now,
		Tell: func(b message.BatchProgress, at time.Time) (message.AccountEvent, error) {
			return notification.OfBatch(g.config.Current(), b, at)
		},
		Worked: func(outcome string, rows int) { g.metrics.BatchRows.WithLabelValues(outcome).Add(float64(rows)) },
		Took:   func(d time.Duration) { g.metrics.BatchChunk.Observe(d.Seconds()) },
	}
}

// mediaFile finds an uploaded file; nil without a media store.
func (g *Gateway) mediaFile() func(context.Context, message.ID, message.ID) (message.MediaFile, error) {
	if g.media == nil {
		return nil
	}
	return g.media.File
}

// batchEdge is what the REST edge does with batches: the record, and ingress, which has
// their workflows told at once.
type batchEdge struct {
	*postgres.DB
	in *ingress.Ingress
}

// CreateBatch stores a batch and has its workflow started.
func (e batchEdge) CreateBatch(ctx context.Context, b *message.Batch, rows []message.BatchContent, key *message.Idempotency) (*message.Idempotency, error) {
	first, err := e.DB.CreateBatch(ctx, b, rows, key)
	if err == nil && first == nil {
		e.in.BatchChanged(b.ID)
	}
	return first, err
}

// SetBatch changes the status of a batch and has its workflow told.
func (e batchEdge) SetBatch(ctx context.Context, account, id message.ID, to message.BatchStatus, answer func(message.BatchProgress) (message.Idempotency, error)) (message.BatchProgress, *message.Idempotency, error) {
	p, first, err := e.DB.SetBatch(ctx, account, id, to, answer)
	if err == nil && first == nil {
		e.in.BatchChanged(id)
	}
	return p, first, err
}

// CheckBatch says what would become of a batch.
func (e batchEdge) CheckBatch(ctx context.Context, b *message.Batch, rows []message.BatchContent) (ingress.BatchCheck, error) {
	return e.in.CheckBatch(ctx, b, rows)
}

// BatchRate is how many rows of a batch are worked a second.
func (e batchEdge) BatchRate(b *message.Batch) int { return e.in.BatchRate(b) }
