package registry

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// How often the registry is asked. It allows an account 20 reads a second, and a
// look is three or four.
const (
	syncPending = 3 * time.Minute // while something is expected
	syncSettled = time.Hour
	syncFinal   = 24 * time.Hour // expired, failed: nothing is expected, mistakes are found
	syncFailed  = time.Minute    // doubled with each failure in a row
	syncMost    = 6 * time.Hour
	// syncLease is longer than any look takes: three or four reads of three tries.
	syncLease = 10 * time.Minute
	batch     = 10
)

// Work completes filings that were interrupted and compares what is due with the
// registry. It reports how much it found to do, which a caller repeats while it is
// not 0. One that fails is put off and holds up nothing.
func (r *Registrar) Work(ctx context.Context) (int, error) {
	if r.Client == nil {
		return 0, nil
	}
	filed, err := r.completeFilings(ctx)
	if err != nil {
		return filed, err
	}
	due, err := r.Store.DueSyncs(ctx, batch, syncLease)
	if err != nil {
		return filed, err
	}
	for _, s := range due {
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		if err := r.look(ctx, System, s); err != nil && ctx.Err() == nil {
			r.log().Warn("campaign registry not read", "kind", s.Kind, "target", s.Target, "reason", message.ReasonOf(err), "error", err)
		}
	}
	return filed + len(due), nil
}

// completeFilings works on at most a batch of open filings and reports how many. Each
// is claimed when its turn comes: the lease is for one, and with a registry that does
// not answer those at the end of a batch would be sent by another process as well.
func (r *Registrar) completeFilings(ctx context.Context) (int, error) {
	for n := range batch {
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		filings, err := r.Store.OpenFilings(ctx, 1)
		if err != nil || len(filings) == 0 {
			return n, err
		}
		for _, f := range filings {
			if err := r.file(ctx, f); err != nil && ctx.Err() == nil {
				r.log().Debug("filing not completed", "kind", f.Kind, "target", f.Target, "reason", message.ReasonOf(err))
			}
		}
	}
	return batch, nil
}

// SyncBrand compares a brand with the registry now, and by schedule from then on.
func (r *Registrar) SyncBrand(ctx context.Context, by Actor, id message.ID) error {
	return r.look(ctx, by, Sync{Kind: KindBrand, Target: id})
}

// SyncCampaign is as SyncBrand.
func (r *Registrar) SyncCampaign(ctx context.Context, by Actor, id message.ID) error {
	return r.look(ctx, by, Sync{Kind: KindCampaign, Target: id})
}

func (r *Registrar) look(ctx context.Context, by Actor, s Sync) error {
	if r.Client == nil {
		return errNoRegistry
	}
	run := r.lookAtBrand
	if s.Kind == KindCampaign {
		run = r.lookAtCampaign
	}
	next, err := run(ctx, by, s.Target)
	if ctx.Err() != nil {
		return ctx.Err() // the lease brings it back
	}
	if message.ReasonOf(err) == message.ReasonConflict || errors.Is(err, errNoRow) {
		return err // there is nothing to look at
	}
	why := ""
	if err != nil {
		why = message.AsError(err).Detail
		if why == "" {
			why = "internal error"
		}
		next = max(min(syncFailed<<min(s.Failures, 10), syncMost), retryIn(err))
	}
	// Jitter keeps what was filed together from asking together for ever.
	next = time.Duration(float64(next) * (0.8 + 0.4*rand.Float64()))
	if serr := r.Store.Synced(ctx, s.Kind, s.Target, next, why); serr != nil {
		return serr
	}
	return err
}

// errNoRow is a target that we do not have ourselves, unlike one that the registry
// does not have.
var errNoRow = errors.New("there is no such row")

func noRow(err error) error {
	if message.ReasonOf(err) == message.ReasonNotFound {
		return message.Because(message.ReasonNotFound, errNoRow, "%s", message.AsError(err).Detail)
	}
	return err
}

func (r *Registrar) lookAtBrand(ctx context.Context, by Actor, id message.ID) (time.Duration, error) {
	b, err := r.Store.RegistryBrand(ctx, message.ID{}, id)
	if err != nil {
		return 0, noRow(err)
	}
	if b.BrandID == "" {
		return 0, message.Refuse(message.ReasonConflict, "the brand is %s: the registry does not know it", b.Status)
	}
	state, err := r.Client.Brand(ctx, b.BrandID)
	if err != nil {
		return 0, err
	}
	tier := r.tierOf(b, state)
	if _, err := r.Store.SyncBrand(ctx, by, BrandSync{ID: id, State: state, Tier: tier.Name, Daily: tier.PerDay}); err != nil {
		return 0, err
	}
	switch state.Status {
	case BrandPending:
		return syncPending, nil
	case BrandFailed:
		return syncFinal, nil
	}
	return syncSettled, nil
}

// tierOf is what T-Mobile reports, or what the table says. An unverified company
// has none: it may send nothing.
func (r *Registrar) tierOf(b *Brand, s BrandState) Tier {
	table := TableAt(r.now())
	score := s.Score
	if !s.ExpiresAt.IsZero() && s.ExpiresAt.Before(r.now()) {
		score = -1
	}
	byScore := table.TierFor(b.EntityType, score, s.Russell3000)
	if b.ReportedTier == "" {
		return byScore
	}
	if reported, ok := table.Tier(b.ReportedTier); ok {
		return reported
	}
	return Tier{Name: b.ReportedTier, PerDay: byScore.PerDay} // a new name: the figure of what we know it to be
}

func (r *Registrar) lookAtCampaign(ctx context.Context, by Actor, id message.ID) (time.Duration, error) {
	c, err := r.Store.RegistryCampaign(ctx, message.ID{}, id)
	if err != nil {
		return 0, noRow(err)
	}
	if c.CampaignID == "" {
		return 0, message.Refuse(message.ReasonConflict, "the campaign is a %s: the registry does not know it", c.Status)
	}
	state, err := r.Client.Campaign(ctx, c.CampaignID)
	if err != nil {
		return 0, err
	}
	carriers, err := r.Client.Carriers(ctx, c.CampaignID)
	if err != nil {
		return 0, err
	}
	score, tier := -1, ""
	if c.Brand != (message.ID{}) {
		b, err := r.Store.RegistryBrand(ctx, message.ID{}, c.Brand)
		if err != nil {
			return 0, err
		}
		if b.VettingExpiresAt.IsZero() || b.VettingExpiresAt.After(r.now()) {
			score = b.VettingScore
		}
		tier = b.Tier
	}
	limits := TableAt(r.now()).LimitsOf(c.UseCase, score, carriers)
	status := StatusOf(c.Status, state.Status, carriers)
	_, err = r.Store.SyncCampaign(ctx, by, CampaignSync{ID: id, Status: status, RegistryStatus: state.Status, Limits: limits, Carriers: carriers})
	if err != nil {
		return 0, err
	}
	if limits.Tier != "" && limits.Tier != tier && c.Brand != (message.ID{}) {
		// The brand has its cap from what was just reported.
		if err := r.Store.Synced(ctx, KindBrand, c.Brand, 0, ""); err != nil {
			return 0, err
		}
	}
	switch status {
	case Pending:
		return syncPending, nil
	case Expired, Rejected:
		return syncFinal, nil
	}
	return syncSettled, nil
}

// workEvery is how often a process looks for work.
const workEvery = 15 * time.Second

// Keeper runs Work in the background. Several processes may: each row is claimed by
// one of them.
type Keeper struct {
	Registrar *Registrar

	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// Start begins; without a client it does nothing.
func (k *Keeper) Start(ctx context.Context) {
	if k.Registrar.Client == nil || k.cancel != nil {
		return
	}
	ctx, k.cancel = context.WithCancel(context.WithoutCancel(ctx))
	k.wg.Go(func() {
		timer := time.NewTimer(time.Duration(rand.Int64N(int64(workEvery))))
		defer timer.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-timer.C:
			}
			n, err := k.Registrar.Work(ctx)
			if err != nil && ctx.Err() == nil {
				k.Registrar.log().Warn("registrations not looked at", "error", err)
			}
			if err == nil && n >= batch {
				timer.Reset(time.Second)
				continue
			}
			timer.Reset(workEvery)
		}
	})
}

// Stop ends it and waits for the look under way. Calling it again, or without Start,
// is harmless.
func (k *Keeper) Stop() {
	if k.cancel != nil {
		k.cancel()
	}
	k.wg.Wait()
}
