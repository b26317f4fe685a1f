package ingress

import (
	"context"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/workflows"
)

// Batches is what ingress needs of the record for batches.
type Batches interface {
	// BatchesToTell takes on batches whose workflow was not told of something: nobody else
	// gets them within age.
	BatchesToTell(ctx context.Context, age time.Duration, limit int) ([]message.BatchTell, error)
	// BatchToTell is what the workflow of one is to be told; false: nothing.
	BatchToTell(ctx context.Context, id message.ID) (message.BatchTell, bool, error)
	// BatchTold notes that a workflow was told of what was asked for up to then.
	BatchTold(ctx context.Context, id message.ID, asked int64) error
	// TellStalledBatches puts batches among those to be told of that are not done with and
	// that nobody has worked for age, and says how many.
	TellStalledBatches(ctx context.Context, age time.Duration, limit int) (int, error)
}

const (
	// batchTellers is how many workflows of batches are told at once, batchWaiting how many
	// may wait in memory for it: they are hints, each has its row.
	batchTellers = 4
	batchWaiting = 1024
	// batchTellAge is how long a row stays with whoever took it on last; it is longer than
	// startTimeout.
	batchTellAge = 10 * time.Second
	// batchStalled is how long nobody has worked a batch whose workflow is told again: above
	// the longest pause between two chunks, a minute, and a chunk itself. batchLook is how
	// often a process looks for such.
	batchStalled = 5 * time.Minute
	batchLook    = time.Minute
)

// batchTeller starts the workflows of batches and re-drives, and tells them of changes, in
// any process.
// It holds no only copy.
type batchTeller struct {
	group
	in    *Ingress
	queue chan message.BatchTell // never closed; without a number it is read from the record
}

func (t *batchTeller) make(in *Ingress) {
	t.in = in
	t.queue = make(chan message.BatchTell, batchWaiting)
}

func (t *batchTeller) start(ctx context.Context) {
	ctx = t.own(ctx)
	for range batchTellers {
		t.wg.Go(func() { t.run(ctx) })
	}
	t.wg.Go(func() { t.sweep(ctx) })
}

// BatchChanged says that there is something in the record to tell the workflow of a batch:
// it was made, goes on, or was canceled. It does not block.
func (in *Ingress) BatchChanged(id message.ID) {
	in.ready()
	select {
	case in.batches.queue <- message.BatchTell{BatchID: id}:
	default: // the sweep finds it
	}
}

func (t *batchTeller) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case b := <-t.queue:
			if err := t.one(ctx, b); err != nil && ctx.Err() == nil {
				t.in.Log.Debug("workflow of a batch not told, the sweep will", "batch_id", b.BatchID, "error", err)
				rest(ctx, failPause) // Temporal is away, and the rows will still be there
			}
		}
	}
}

// one tells one workflow and clears its row, unless more has been asked for meanwhile.
func (t *batchTeller) one(ctx context.Context, b message.BatchTell) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if b.Asked == 0 {
		found := false
		var err error
		if b, found, err = t.in.Journal.BatchToTell(ctx, b.BatchID); err != nil || !found {
			return err
		}
	}
	var err error
	if b.Redrive {
		err = t.in.Temporal.TellRedrive(ctx, workflows.RedriveInput{RedriveID: b.BatchID}, describeRedrive(b))
	} else {
		err = t.in.Temporal.TellBatch(ctx, workflows.BatchInput{BatchID: b.BatchID, AccountID: b.AccountID}, describeBatch(b))
	}
	if err != nil {
		return err
	}
	return t.in.Journal.BatchTold(ctx, b.BatchID, b.Asked)
}

// stalled has the workflows told of batches that nobody works, though they are not done
// with: theirs was terminated, has failed, or Temporal does not know it any more.
func (t *batchTeller) stalled(ctx context.Context) {
	n, err := t.in.Journal.TellStalledBatches(ctx, batchStalled, startBatch)
	switch {
	case err != nil && ctx.Err() == nil:
		t.in.Log.Warn("batches that nobody works could not be looked for", "error", err)
	case n > 0:
		t.in.Log.Info("nobody has worked batches for some minutes: their workflows are told again", "batches", n, "for", batchStalled)
	}
}

// sweep feeds what was not told: without a pause while there is a full look of it.
func (t *batchTeller) sweep(ctx context.Context) {
	timer := time.NewTimer(0) // the first look is at what an earlier process left
	defer timer.Stop()
	var looked time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		if now := time.Now(); now.Sub(looked) >= batchLook {
			looked = now
			t.stalled(ctx)
		}
		due, err := t.in.Journal.BatchesToTell(ctx, batchTellAge, startBatch)
		if err != nil && ctx.Err() == nil {
			t.in.Log.Warn("batches to be told of could not be read", "error", err)
		}
		for _, b := range due {
			select {
			case t.queue <- b:
			case <-ctx.Done():
				return
			}
		}
		if len(due) == startBatch {
			timer.Reset(0)
		} else {
			timer.Reset(t.in.sweeper.every())
		}
	}
}
