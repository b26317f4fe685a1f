package main

import (
	"context"
	"errors"

	"github.com/postrider/postrider/internal/message"
)

// campaignOf makes the account of the campaign, bounds the vendor, measures, and takes
// the bound away.
func campaignOf(ctx context.Context, o options, t *target, r *runner, sim *simulator, a *api) (x *campaign, err error) {
	op, err := openOperator(r.meter)
	if err != nil {
		return nil, err
	}
	account, err := op.addSender(ctx, campaignSender, maxMessages)
	if err != nil {
		return nil, err
	}
	if err := op.throttle(ctx, o.CampaignRate); err != nil {
		return nil, err
	}
	if t.own == nil {
		defer func() { err = errors.Join(err, op.throttle(context.WithoutCancel(ctx), 0)) }()
	}
	bulk, err := newAPI(t.env["POSTRIDER_URL"], basic(account.key, account.secret), account.from, a.webhook)
	if err != nil {
		return nil, err
	}
	bulk.class = o.CampaignClass
	c := &campaigner{runner: r, o: &o, sim: sim, bulk: newLoad(bulk, r.load.numbers, r.records, o.BurstConns), others: map[message.Class]*load{}}
	defer c.bulk.close()
	for _, class := range probeClasses {
		own := *a
		own.class = string(class)
		c.others[class] = newLoad(&own, r.load.numbers, r.records, probeConnections)
		defer c.others[class].close()
	}
	return c.run(ctx)
}

const (
	// campaignSender is the number of the campaign's account; the demo's is another.
	campaignSender = "+12025550144"
	// probeConnections lets the other account's messages leave when they are due,
	// however long the ones before them take.
	probeConnections = 32
)
